/* The rules about names: subject, subjectAltName, and Microsoft's SID. */
#include "policy_int.h"

#include "oid.h"

#include <apr_strings.h>
#include <string.h>

#define MOST_RDNS 32
#define MOST_VALUE 1024
#define MOST_ALT_NAMES 64

/* Strong certificate mapping of Windows: whoever chooses it logs on as anybody. */
#define SID_URI "tag:microsoft.com,2022-09-14:sid:"
#define SID_OID "1.3.6.1.4.1.311.25.2"

/* Is what stands in @a value fit to be shown, compared and logged? NULL: yes */
static const char *text_fault(const ASN1_STRING *value, apr_pool_t *p)
{
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, value);
    const char *fault = NULL;

    if (len < 0)
        return "is no text";
    if (len > MOST_VALUE)
        fault = "is over 1024 bytes";
    for (int i = 0; !fault && i < len; i++) {
        /* C0, DEL; C1 is C2 80 to C2 9F in UTF-8 */
        if (utf8[i] < 0x20 || utf8[i] == 0x7f ||
            (utf8[i] == 0xc2 && i + 1 < len && utf8[i + 1] < 0xa0))
            fault = "holds a control character";
    }
    OPENSSL_free(utf8);
    return fault;
}

/* RDNs in the bytes of the name: OpenSSL's view drops empty ones. -1: there is one of those. */
static int rdn_count(const X509_NAME *name)
{
    const unsigned char *der;
    size_t len;
    scep_cursor c, inner;
    scep_bytes content;
    uint8_t tag;
    int n = 0;

    if (!X509_NAME_get0_der(name, &der, &len))
        return -1;
    c = (scep_cursor){ der, len };
    if (!scep_cursor_der(&c, &tag, &content))
        return -1;
    inner = (scep_cursor){ content.data, content.len };
    for (; inner.left; n++)
        if (!scep_cursor_der(&inner, &tag, &content) || !content.len)
            return -1;
    return n;
}

const char *policy_name_fault(const X509_NAME *name, apr_pool_t *p)
{
    int rdns = rdn_count(name);

    if (rdns < 0)
        return "has an empty part";
    if (rdns > MOST_RDNS || X509_NAME_entry_count(name) > MOST_RDNS)
        return "has more than 32 parts";
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        const char *fault = text_fault(X509_NAME_ENTRY_get_data(entry), p);

        if (fault)
            return apr_psprintf(p, "has a part that %s", fault);
    }
    return NULL;
}

int policy_alt_names(GENERAL_NAMES **out, const scep_csr *csr, apr_pool_t *p)
{
    int critical = -1;

    *out = NULL;
    if (!csr->extensions)
        return 0;
    *out = scep_GENERAL_NAMES(
        p, X509V3_get_d2i(csr->extensions, NID_subject_alt_name, &critical, NULL));
    if (*out)
        return sk_GENERAL_NAME_num(*out) > 0 ? 1 : -1;
    return critical == -1 ? 0 : -1;
}

const objection *policy_judge_subject(const policy_facts *f, apr_pool_t *p)
{
    const X509_NAME *subject = f->csr->subject;
    bool empty = X509_NAME_entry_count(subject) == 0;
    const char *fault = policy_name_fault(subject, p);
    GENERAL_NAMES *names;

    if (fault)
        return policy_object(p, SCEP_BAD_SUBJECT, apr_pstrcat(p, "the subject ", fault, NULL));
    if (empty && f->template->subject_required)
        return policy_object(
            p, SCEP_BAD_SUBJECT,
            apr_psprintf(p, "the subject is empty; template %s requires one", f->template->name));
    if (empty && policy_alt_names(&names, f->csr, p) == 0)
        return policy_object(p, SCEP_BAD_SUBJECT,
                             "there is neither a subject nor a subjectAltName");
    return NULL;
}

static const char *other_name_fault(const OTHERNAME *other, apr_pool_t *p)
{
    int type = other->value ? other->value->type : V_ASN1_UNDEF;

    if (type == V_ASN1_UTF8STRING || type == V_ASN1_PRINTABLESTRING || type == V_ASN1_IA5STRING ||
        type == V_ASN1_BMPSTRING)
        return text_fault(other->value->value.asn1_string, p);
    return NULL;
}

const char *policy_ia5_fault(const ASN1_IA5STRING *value)
{
    const unsigned char *at = ASN1_STRING_get0_data(value);
    int len = ASN1_STRING_length(value);

    if (len < 1 || len > MOST_VALUE)
        return "has not 1 to 1024 bytes";
    for (int i = 0; i < len; i++)
        if (at[i] < 0x20 || at[i] > 0x7e)
            return "holds a control character or one outside ASCII";
    return NULL;
}

static const char *alt_name_fault(const GENERAL_NAME *name, apr_pool_t *p)
{
    int len;

    switch (name->type) {
    case GEN_DNS:
    case GEN_EMAIL:
    case GEN_URI:
        return policy_ia5_fault(name->d.ia5);
    case GEN_IPADD:
        len = ASN1_STRING_length(name->d.iPAddress);
        return len == 4 || len == 16 ? NULL : "is no IP address";
    case GEN_DIRNAME:
        return policy_name_fault(name->d.directoryName, p);
    case GEN_OTHERNAME:
        return other_name_fault(name->d.otherName, p);
    case GEN_RID:
        return NULL;
    default:
        return "is of a kind that is not issued";
    }
}

const objection *policy_judge_alt_names(const policy_facts *f, apr_pool_t *p)
{
    GENERAL_NAMES *names;
    int there = policy_alt_names(&names, f->csr, p);

    if (there == 0)
        return NULL;
    if (there < 0)
        return policy_object(p, SCEP_BAD_SUBJECT, "the subjectAltName cannot be read or is empty");
    if (sk_GENERAL_NAME_num(names) > MOST_ALT_NAMES)
        return policy_object(p, SCEP_BAD_SUBJECT, "the subjectAltName has more than 64 names");
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const char *fault = alt_name_fault(sk_GENERAL_NAME_value(names, i), p);

        if (fault)
            return policy_object(p, SCEP_BAD_SUBJECT,
                                 apr_psprintf(p, "a name in the subjectAltName %s", fault));
    }
    return NULL;
}

static bool is_sid_name(const GENERAL_NAME *name)
{
    size_t len = strlen(SID_URI);
    char dotted[80];

    if (name->type == GEN_URI)
        return (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier) >= len &&
               !strncasecmp((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                            SID_URI, len);
    if (name->type != GEN_OTHERNAME ||
        OBJ_obj2txt(dotted, sizeof(dotted), name->d.otherName->type_id, 1) <= 0)
        return false;
    /* The content of the extension is such a name itself, 1.3.6.1.4.1.311.25.2.1. */
    len = strlen(SID_OID);
    return !strncmp(dotted, SID_OID, len) && (dotted[len] == '\0' || dotted[len] == '.');
}

const objection *policy_judge_sid(const policy_facts *f, apr_pool_t *p)
{
    GENERAL_NAMES *names;
    bool claimed;

    if (f->template->allow_sid == CONF_SID_YES)
        return NULL;
    claimed = X509v3_get_ext_by_OBJ(f->csr->extensions, scep_oid(SCEP_OID_MICROSOFT_SID), -1) >= 0;
    if (policy_alt_names(&names, f->csr, p) == 1)
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
            claimed = claimed || is_sid_name(sk_GENERAL_NAME_value(names, i));
    if (!claimed)
        return NULL;
    if (f->template->allow_sid == CONF_SID_DIRECTORY && f->sid_doubt)
        return *f->sid_doubt ? policy_object(p, SCEP_REFUSED,
                                             apr_pstrcat(p, "a Microsoft SID is claimed, and ",
                                                         f->sid_doubt, NULL))
                             : NULL;
    return policy_object(
        p, SCEP_REFUSED,
        apr_psprintf(p, "a Microsoft SID is claimed; template %s has not allow_sid = yes",
                     f->template->name));
}

/* ---- a renewal: no other names than the certificate has ---- */

static bool same_text(const ASN1_STRING *a, const ASN1_STRING *b)
{
    unsigned char *x = NULL, *y = NULL;
    int m = ASN1_STRING_to_UTF8(&x, a);
    int n = ASN1_STRING_to_UTF8(&y, b);
    bool same = m >= 0 && m == n && !memcmp(x, y, (size_t)n);

    OPENSSL_free(x);
    OPENSSL_free(y);
    return same;
}

/* The same parts in the same order, whatever the string types. X509_NAME_cmp() takes "CN=Admin"
 * for "CN=admin", which are two users to whoever reads the certificate. */
static bool same_name(const X509_NAME *a, const X509_NAME *b)
{
    int n = X509_NAME_entry_count(a);

    if (n != X509_NAME_entry_count(b))
        return false;
    for (int i = 0; i < n; i++) {
        const X509_NAME_ENTRY *x = X509_NAME_get_entry(a, i);
        const X509_NAME_ENTRY *y = X509_NAME_get_entry(b, i);

        if (X509_NAME_ENTRY_set(x) != X509_NAME_ENTRY_set(y) ||
            OBJ_cmp(X509_NAME_ENTRY_get_object(x), X509_NAME_ENTRY_get_object(y)) != 0 ||
            !same_text(X509_NAME_ENTRY_get_data(x), X509_NAME_ENTRY_get_data(y)))
            return false;
    }
    return true;
}

/* As same_name(), but byte for byte: for GENERAL_NAME_cmp(), too, letter case is nothing. */
static bool same_directory_name(const X509_NAME *a, const X509_NAME *b)
{
    scep_bytes x, y;

    return X509_NAME_get0_der(a, &x.data, &x.len) && X509_NAME_get0_der(b, &y.data, &y.len) &&
           scep_bytes_equal(x, y);
}

static bool same_alt_name(GENERAL_NAME *a, GENERAL_NAME *b)
{
    if (GENERAL_NAME_cmp(a, b) != 0)
        return false;
    return a->type != GEN_DIRNAME || same_directory_name(a->d.directoryName, b->d.directoryName);
}

static bool is_among(GENERAL_NAME *name, const GENERAL_NAMES *names)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (same_alt_name(name, sk_GENERAL_NAME_value(names, i)))
            return true;
    return false;
}

/* What the certificate does not say, or says in a way that cannot be read, may not be asked for. */
static bool has_new_alt_name(const policy_facts *f, apr_pool_t *p)
{
    GENERAL_NAMES *asked, *had;

    if (policy_alt_names(&asked, f->csr, p) != 1)
        return false;
    had = scep_GENERAL_NAMES(p, X509_get_ext_d2i(f->old, NID_subject_alt_name, NULL, NULL));
    for (int i = 0; i < sk_GENERAL_NAME_num(asked); i++)
        if (!is_among(sk_GENERAL_NAME_value(asked, i), had))
            return true;
    return false;
}

/* The SID is a name outside the subjectAltName. */
static bool has_new_sid(const policy_facts *f)
{
    const ASN1_OBJECT *sid = scep_oid(SCEP_OID_MICROSOFT_SID);
    int asked = X509v3_get_ext_by_OBJ(f->csr->extensions, sid, -1);
    int had = X509_get_ext_by_OBJ(f->old, sid, -1);

    if (asked < 0)
        return false;
    return had < 0 ||
           ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(X509v3_get_ext(f->csr->extensions, asked)),
                                 X509_EXTENSION_get_data(X509_get_ext(f->old, had))) != 0;
}

const objection *policy_judge_same_names(const policy_facts *f, apr_pool_t *p)
{
    if (!f->old || f->other_names)
        return NULL;
    if (!same_name(f->csr->subject, X509_get_subject_name(f->old)))
        return policy_object(p, SCEP_BAD_SUBJECT,
                             "a renewal asks for another subject than the certificate has; "
                             "SCEPDisableRenewalSubjectNameMatch is off");
    if (has_new_alt_name(f, p))
        return policy_object(p, SCEP_BAD_SUBJECT,
                             "a renewal asks for a subjectAltName that the certificate has not; "
                             "SCEPDisableRenewalSubjectNameMatch is off");
    if (has_new_sid(f))
        return policy_object(p, SCEP_REFUSED,
                             "a renewal asks for a Microsoft SID that the certificate has not");
    return NULL;
}
