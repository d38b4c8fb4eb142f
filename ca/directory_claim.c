/* A request's claim to be an account of Active Directory. [MS-WCCE] 2.2.2.7.7.4 */
#include "directory_claim.h"

#include "directory_sd.h"
#include "oid.h"

#include <apr_strings.h>
#include <string.h>

#define SID_URI "tag:microsoft.com,2022-09-14:sid:"
#define SID_ARC "1.3.6.1.4.1.311.25.2"
#define SID_NAME SID_ARC ".1"
#define UPN "1.3.6.1.4.1.311.20.2.3"
#define MOST 1024

/* The characters, where they are a C string. */
static const char *plain(const unsigned char *data, int len, apr_pool_t *p)
{
    if (len < 1 || len > MOST || memchr(data, '\0', (size_t)len))
        return NULL;
    return apr_pstrmemdup(p, (const char *)data, (size_t)len);
}

static const scep_err *unfit(apr_pool_t *p, const char *what)
{
    return scep_fail(p, BAD_SUBJECT, "the Microsoft SID of the request %s", what);
}

static const scep_err *add_sid(directory_claim *c, const char *text, apr_pool_t *p)
{
    scep_bytes sid;

    if (!text || !directory_sid_read(&sid, text, p))
        return unfit(p, "cannot be read; S-1-5-… is accepted");
    if (c->sid.len && !scep_bytes_equal(c->sid, sid))
        return unfit(p, "is there twice, and differently");
    c->sid = sid;
    return NULL;
}

/* The OID, dotted; "": too long to be one of ours. */
static const char *type_of(const OTHERNAME *other, apr_pool_t *p)
{
    char *dotted = apr_palloc(p, 128);
    int len = OBJ_obj2txt(dotted, 128, other->type_id, 1);

    return len > 0 && len < 128 ? dotted : "";
}

static const scep_err *read_other(directory_claim *c, const OTHERNAME *other, apr_pool_t *p)
{
    const char *type = type_of(other, p);
    const size_t arc = strlen(SID_ARC);
    const ASN1_TYPE *value = other->value;

    if (!strcmp(type, UPN)) {
        unsigned char *utf8 = NULL;
        int len = value && value->type == V_ASN1_UTF8STRING
                      ? ASN1_STRING_to_UTF8(&utf8, value->value.utf8string)
                      : -1;
        const char *upn = len < 0 ? NULL : plain(utf8, len, p);

        OPENSSL_free(utf8);
        if (!upn)
            return scep_fail(p, BAD_SUBJECT, "a user principal name of the request is no UTF-8");
        APR_ARRAY_PUSH(c->upns, const char *) = upn;
        return NULL;
    }
    if (strncmp(type, SID_ARC, arc) || (type[arc] && type[arc] != '.'))
        return NULL;
    if (strcmp(type, SID_NAME) || !value || value->type != V_ASN1_OCTET_STRING)
        return unfit(p, "is of an unknown form");
    return add_sid(c,
                   plain(ASN1_STRING_get0_data(value->value.octet_string),
                         ASN1_STRING_length(value->value.octet_string), p),
                   p);
}

static const scep_err *read_name(directory_claim *c, const GENERAL_NAME *name, apr_pool_t *p)
{
    const size_t prefix = strlen(SID_URI);
    const char *text;

    if (name->type == GEN_OTHERNAME)
        return read_other(c, name->d.otherName, p);
    if (name->type != GEN_URI && name->type != GEN_DNS)
        return NULL;
    text = plain(ASN1_STRING_get0_data(name->d.ia5), ASN1_STRING_length(name->d.ia5), p);
    if (name->type == GEN_DNS) {
        if (!text)
            return scep_fail(p, BAD_SUBJECT, "a DNS name of the request is no text");
        APR_ARRAY_PUSH(c->hosts, const char *) = text;
        return NULL;
    }
    if (!text)
        return scep_fail(p, BAD_SUBJECT, "a URI of the request is no text");
    return strncasecmp(text, SID_URI, prefix) ? NULL : add_sid(c, text + prefix, p);
}

static const scep_err *read_names(directory_claim *c, const GENERAL_NAMES *names, apr_pool_t *p)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        SCEP_TRY(read_name(c, sk_GENERAL_NAME_value(names, i), p));
    return NULL;
}

/* Its content is GeneralNames with the one otherName, or with others of its arc. */
static const scep_err *read_extension(directory_claim *c, X509_EXTENSION *extension, apr_pool_t *p)
{
    const ASN1_OCTET_STRING *content = X509_EXTENSION_get_data(extension);
    const unsigned char *at = ASN1_STRING_get0_data(content);
    const unsigned char *const end = at + ASN1_STRING_length(content);
    GENERAL_NAMES *names = scep_GENERAL_NAMES(p, d2i_GENERAL_NAMES(NULL, &at, (long)(end - at)));

    if (!names || at != end || sk_GENERAL_NAME_num(names) != 1 ||
        sk_GENERAL_NAME_value(names, 0)->type != GEN_OTHERNAME ||
        strcmp(type_of(sk_GENERAL_NAME_value(names, 0)->d.otherName, p), SID_NAME))
        return unfit(p, "is of an unknown form");
    return read_names(c, names, p);
}

static const char *common_name(const X509_NAME *subject, apr_pool_t *p)
{
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *utf8 = NULL;
    const char *name;
    int len;

    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return NULL;
    len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    name = len < 0 ? NULL : plain(utf8, len, p);
    OPENSSL_free(utf8);
    return name;
}

const scep_err *directory_claim_read(directory_claim *out, const scep_csr *csr, apr_pool_t *p)
{
    const ASN1_OBJECT *oid = scep_oid(SCEP_OID_MICROSOFT_SID);
    GENERAL_NAMES *names;
    int critical = -1;

    *out = (directory_claim){ .upns = apr_array_make(p, 1, sizeof(const char *)),
                              .hosts = apr_array_make(p, 1, sizeof(const char *)) };
    out->common_name = common_name(csr->subject, p);
    if (!csr->extensions)
        return NULL;
    for (int at = -1; (at = X509v3_get_ext_by_OBJ(csr->extensions, oid, at)) >= 0;)
        SCEP_TRY(read_extension(out, X509v3_get_ext(csr->extensions, at), p));
    names = scep_GENERAL_NAMES(
        p, X509V3_get_d2i(csr->extensions, NID_subject_alt_name, &critical, NULL));
    if (!names && critical != -1)
        return scep_fail(p, BAD_SUBJECT, "the subjectAltName of the request cannot be read");
    return names ? read_names(out, names, p) : NULL;
}

/* ---- does it fit? ---- */

static bool same(const char *a, const char *b)
{
    return a && b && !strcasecmp(a, b);
}

/* Each account has the name sAMAccountName@domain, whatever else is entered. [MS-ADTS] 5.1.1.1.1 */
static bool is_upn(const char *upn, const directory_account *a)
{
    size_t len = a->name ? strlen(a->name) : 0;

    return same(upn, a->upn) || (len && a->domain && !strncasecmp(upn, a->name, len) &&
                                 upn[len] == '@' && same(upn + len + 1, a->domain));
}

const char *directory_claim_fault(const directory_claim *c, const directory_account *a)
{
    if (a->disabled)
        return "the account is disabled";
    for (int i = 0; i < c->upns->nelts; i++)
        if (!is_upn(APR_ARRAY_IDX(c->upns, i, const char *), a))
            return "a user principal name is not the account's";
    for (int i = 0; i < c->hosts->nelts; i++)
        if (!same(APR_ARRAY_IDX(c->hosts, i, const char *), a->host))
            return "a DNS name is not the account's dNSHostName";
    if (c->upns->nelts || c->hosts->nelts)
        return NULL;
    if (c->common_name && (is_upn(c->common_name, a) || same(c->common_name, a->host) ||
                           same(c->common_name, a->name)))
        return NULL;
    return "the subject names another account, or none";
}
