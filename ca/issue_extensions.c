/* The extensions of a certificate: the template's, encoded once, and those of the request's own.
 * RFC 5280 4.2. */
#include "issue_int.h"

#include "oid.h"

#include <apr_strings.h>
#include <string.h>

#define SHA1_SIZE 20

static size_t length_of(const scep_bytes *parts, size_t n)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++)
        len += parts[i].len;
    return len;
}

static void put_all(unsigned char *to, const scep_bytes *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len)
            memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
}

scep_bytes issue_joined(const scep_bytes *parts, size_t n, apr_pool_t *p)
{
    size_t len = length_of(parts, n);
    unsigned char *all = apr_palloc(p, len);

    put_all(all, parts, n);
    return (scep_bytes){ all, len };
}

scep_bytes issue_der(uint8_t tag, const scep_bytes *parts, size_t n, apr_pool_t *p)
{
    size_t len = length_of(parts, n), digits = 0;
    unsigned char *der, *to;

    for (size_t rest = len; len > 0x7f && rest; rest >>= 8)
        digits++;
    to = der = apr_palloc(p, 2 + digits + len);
    *to++ = tag;
    *to++ = (unsigned char)(digits ? 0x80 | digits : len);
    for (size_t i = digits; i; i--)
        *to++ = (unsigned char)(len >> 8 * (i - 1));
    put_all(to, parts, n);
    return (scep_bytes){ der, 2 + digits + len };
}

static const scep_err *failed(apr_pool_t *p, const char *what)
{
    return scep_fail(p, INTERNAL, "%s cannot be put into a certificate", what);
}

static scep_bytes oid_der(const ASN1_OBJECT *object, apr_pool_t *p)
{
    const scep_bytes content = { OBJ_get0_data(object), OBJ_length(object) };

    return DER(p, DER_OID, content);
}

/* RFC 5280 4.1: critical is FALSE where it is left out. */
static scep_bytes extension(int nid, bool critical, scep_bytes value, apr_pool_t *p)
{
    static const unsigned char yes[] = { DER_BOOLEAN, 1, 0xff };
    const scep_bytes flag = { yes, critical ? sizeof(yes) : 0 };

    return DER(p, DER_SEQUENCE, oid_der(OBJ_nid2obj(nid), p), flag,
               DER(p, DER_OCTET_STRING, value));
}

/* ---- the template's ---- */

/* A named bit list without the zeros at its end: X.690 11.2.2. KU_... has bit n of the BIT STRING
 * at 0x80 >> n; the template knows the first five only. */
static scep_bytes usage_der(uint32_t bits, apr_pool_t *p)
{
    unsigned char *content = apr_palloc(p, 2);
    uint8_t first = (uint8_t)(bits & 0xff);

    content[0] = 0;
    content[1] = first;
    while (first && !(first >> content[0] & 1))
        content[0]++;
    return DER(p, DER_BIT_STRING, { content, first ? 2 : 1 });
}

/* basicConstraints CA:FALSE, which is its default; RFC 5280 4.2.1.9, 4.2.1.3 */
static scep_bytes usages(uint32_t bits, scep_bytes purposes, apr_pool_t *p)
{
    const scep_bytes nothing = issue_der(DER_SEQUENCE, NULL, 0, p);

    return issue_joined((const scep_bytes[]){ extension(NID_basic_constraints, true, nothing, p),
                                              extension(NID_key_usage, true, usage_der(bits, p), p),
                                              purposes },
                        3, p);
}

/* extKeyUsage. RFC 5280 4.2.1.12 */
static const scep_err *purposes_make(scep_bytes *out, const char *purposes, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(scep_bytes));
    char *state = NULL;

    *out = (scep_bytes){ NULL, 0 };
    if (!purposes)
        return NULL;
    for (char *name = apr_strtok(apr_pstrdup(p, purposes), ",", &state); name;
         name = apr_strtok(NULL, ",", &state)) {
        const ASN1_OBJECT *object = scep_ASN1_OBJECT(p, OBJ_txt2obj(name, 0));

        if (!object)
            return failed(p, "the extended key usage");
        APR_ARRAY_PUSH(list, scep_bytes) = oid_der(object, p);
    }
    *out = extension(NID_ext_key_usage, false,
                     issue_der(DER_SEQUENCE, (scep_bytes *)list->elts, (size_t)list->nelts, p), p);
    return NULL;
}

static scep_bytes uri_der(const char *uri, apr_pool_t *p)
{
    return DER(p, DER_TAG | 6, scep_bytes_of(uri));
}

/* cRLDistributionPoints: one, its fullName. RFC 5280 4.2.1.13 */
static scep_bytes crl_der(const char *uri, apr_pool_t *p)
{
    scep_bytes name = DER(p, DER_WRAP | 0, uri_der(uri, p));
    scep_bytes point = DER(p, DER_SEQUENCE, DER(p, DER_WRAP | 0, name));

    return extension(NID_crl_distribution_points, false, DER(p, DER_SEQUENCE, point), p);
}

static scep_bytes access_der(int method, const char *uri, apr_pool_t *p)
{
    if (!uri)
        return (scep_bytes){ NULL, 0 };
    return DER(p, DER_SEQUENCE, oid_der(OBJ_nid2obj(method), p), uri_der(uri, p));
}

/* authorityInfoAccess. RFC 5280 4.2.2.1 */
static scep_bytes accesses_der(const char *issuer, const char *ocsp, apr_pool_t *p)
{
    scep_bytes list = DER(p, DER_SEQUENCE, access_der(NID_ad_ca_issuers, issuer, p),
                          access_der(NID_ad_OCSP, ocsp, p));

    return extension(NID_info_access, false, list, p);
}

const scep_err *issue_profile_make(issue_profile *out, const conf_template *template, apr_pool_t *p)
{
    scep_bytes purposes, crl = { NULL, 0 }, accesses = { NULL, 0 };
    /* RFC 8813 3: no encipherment with an EC key; policy saw to it that something is left */
    uint32_t encipherment = KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT;

    SCEP_TRY(purposes_make(&purposes, template->extended_key_usage, p));
    if (template->crl_url)
        crl = crl_der(template->crl_url, p);
    if (template->issuer_url || template->ocsp_url)
        accesses = accesses_der(template->issuer_url, template->ocsp_url, p);
    *out = (issue_profile){
        .template = template,
        .rsa = usages(template->key_usage, purposes, p),
        .ec = usages(template->key_usage & ~encipherment, purposes, p),
        .places = issue_joined((const scep_bytes[]){ crl, accesses }, 2, p),
    };
    return NULL;
}

/* ---- keys ---- */

/* SHA-1 of the key, without what kind it is of (RFC 5280 4.2.1.2 (1)).
 * @param spki its SubjectPublicKeyInfo in DER. @return false: it is none */
static bool key_id(unsigned char id[SHA1_SIZE], scep_bytes spki, const EVP_MD *sha1)
{
    scep_cursor c = { spki.data, spki.len };
    scep_bytes content, algorithm, key;
    uint8_t tag;

    if (!scep_cursor_der(&c, &tag, &content))
        return false;
    c = (scep_cursor){ content.data, content.len };
    return scep_cursor_der(&c, &tag, &algorithm) && scep_cursor_der(&c, &tag, &key) &&
           tag == DER_BIT_STRING && key.len > 1 &&
           EVP_Digest(key.data + 1, key.len - 1, id, NULL, sha1, NULL) == 1;
}

/* RFC 5280 4.2.1.1 */
const scep_err *issue_authority(scep_bytes *out, X509 *ca, apr_pool_t *p)
{
    AUTHORITY_KEYID *id = issue_authority_id(ca);
    unsigned char *der = NULL;
    int len = id ? i2d_AUTHORITY_KEYID(id, &der) : -1;

    AUTHORITY_KEYID_free(id);
    if (len <= 0)
        return failed(p, "the CA's key identifier");
    *out = extension(NID_authority_key_identifier, false, (scep_bytes){ der, (size_t)len }, p);
    OPENSSL_free(der);
    return NULL;
}

/* ---- the request's own ---- */

/* Encoded anew from what was understood of it. RFC 5280 4.2.1.6: critical without a subject */
static const scep_err *alt_names(scep_bytes *out, const scep_csr *csr, apr_pool_t *p)
{
    GENERAL_NAMES *names;
    int critical = -1;
    scep_bytes der;

    *out = (scep_bytes){ NULL, 0 };
    names = scep_GENERAL_NAMES(
        p, X509V3_get_d2i(csr->extensions, NID_subject_alt_name, &critical, NULL));
    if (!names && critical != -1)
        return scep_fail(p, INTERNAL, "the subjectAltName of the request cannot be read");
    if (!names)
        return NULL;
    SCEP_TRY(SCEP_ITEM_DER(&der, GENERAL_NAMES, names, p));
    *out = extension(NID_subject_alt_name, X509_NAME_entry_count(csr->subject) == 0, der, p);
    return NULL;
}

/* S-12 */
static const scep_err *sid(scep_bytes *out, const scep_csr *csr, apr_pool_t *p)
{
    int at = X509v3_get_ext_by_OBJ(csr->extensions, scep_oid(SCEP_OID_MICROSOFT_SID), -1);

    *out = (scep_bytes){ NULL, 0 };
    return at < 0 ? NULL
                  : SCEP_ITEM_DER(out, X509_EXTENSION, X509v3_get_ext(csr->extensions, at), p);
}

const scep_err *issue_extensions(scep_bytes *out, const issue_ca *ca, const issue_profile *profile,
                                 const scep_csr *csr, apr_pool_t *p)
{
    unsigned char id[SHA1_SIZE];
    scep_bytes own, names = { NULL, 0 }, mapped = { NULL, 0 };

    if (!key_id(id, csr->spki, ca->sha1))
        return failed(p, "a key identifier");
    own = extension(NID_subject_key_identifier, false, DER(p, DER_OCTET_STRING, { id, sizeof(id) }),
                    p);
    if (csr->extensions)
        SCEP_TRY(alt_names(&names, csr, p));
    if (csr->extensions && profile->template->allow_sid)
        SCEP_TRY(sid(&mapped, csr, p));
    *out = DER(p, DER_WRAP | 3,
               DER(p, DER_SEQUENCE, EVP_PKEY_is_a(csr->key, "RSA") ? profile->rsa : profile->ec,
                   own, ca->authority_id, names, mapped, profile->places));
    return NULL;
}
