/* A certificate from a template and a CSR. RFC 5280 4.1, 4.2. */
#include "issue.h"

#include "clock.h"
#include "oid.h"

#include <apr_strings.h>
#include <string.h>
#include <time.h>

#define SKEW 300 /* seconds a device's clock may be behind */
#define SERIAL_BITS 159

static const scep_err *failed(apr_pool_t *p, const char *what)
{
    return scep_fail(p, INTERNAL, "%s cannot be put into a certificate", what);
}

/* 159 random bits: positive and at most 20 octets. RFC 5280 4.1.2.2 */
static const scep_err *put_serial(X509 *cert, apr_pool_t *p)
{
    BIGNUM *serial = BN_new();
    bool ok = serial != NULL;

    do
        ok = ok && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY);
    while (ok && BN_is_zero(serial));
    ok = ok && BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert));
    BN_free(serial);
    return ok ? NULL : failed(p, "a serial number");
}

const scep_err *issue_seconds(apr_int64_t *out, const ASN1_TIME *time, apr_pool_t *p)
{
    struct tm parts;

    if (!ASN1_TIME_to_tm(time, &parts))
        return scep_fail(p, INTERNAL, "a certificate's validity cannot be read");
    *out = (apr_int64_t)timegm(&parts);
    return NULL;
}

static const scep_err *put_validity(X509 *cert, const issue_ca *ca, int days, apr_pool_t *p)
{
    apr_int64_t now = apr_time_sec(scep_now());
    apr_int64_t from = now - SKEW, to = now + (apr_int64_t)days * 86400;
    apr_int64_t ca_from, ca_to;

    SCEP_TRY(issue_seconds(&ca_from, X509_get0_notBefore(ca->cert), p));
    SCEP_TRY(issue_seconds(&ca_to, X509_get0_notAfter(ca->cert), p));
    if (now < ca_from || now >= ca_to)
        return scep_fail(p, INTERNAL,
                         "the CA certificate is not valid now; renew it or set the clock");
    from = from < ca_from ? ca_from : from;
    to = to > ca_to ? ca_to : to;
    if (!ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from) ||
        !ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)to))
        return failed(p, "the validity");
    return NULL;
}

static const scep_err *put_usage(X509 *cert, const conf_template *template, const scep_csr *csr,
                                 apr_pool_t *p)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
    uint32_t bits = template->key_usage;
    bool ok = constraints && usage &&
              X509_add1_ext_i2d(cert, NID_basic_constraints, constraints, 1, 0) == 1;

    /* RFC 8813 3: no encipherment with an EC key; policy saw to it that something is left */
    if (!EVP_PKEY_is_a(csr->key, "RSA"))
        bits &= ~(uint32_t)(KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT);
    /* KU_… has bit n of the BIT STRING at 0x80 >> n; the template knows the first five only. */
    for (int n = 0; n < 8; n++)
        ok = ok && (!(bits & (0x80u >> n)) || ASN1_BIT_STRING_set_bit(usage, n, 1));
    ok = ok && X509_add1_ext_i2d(cert, NID_key_usage, usage, 1, 0) == 1;
    BASIC_CONSTRAINTS_free(constraints);
    ASN1_BIT_STRING_free(usage);
    return ok ? NULL : failed(p, "the key usage");
}

static const scep_err *put_purposes(X509 *cert, const char *purposes, apr_pool_t *p)
{
    EXTENDED_KEY_USAGE *list;
    char *state = NULL;
    bool ok;

    if (!purposes)
        return NULL;
    list = sk_ASN1_OBJECT_new_null();
    ok = list != NULL;
    for (char *name = apr_strtok(apr_pstrdup(p, purposes), ",", &state); ok && name;
         name = apr_strtok(NULL, ",", &state)) {
        ASN1_OBJECT *object = OBJ_txt2obj(name, 0);

        ok = object && sk_ASN1_OBJECT_push(list, object);
        if (!ok)
            ASN1_OBJECT_free(object);
    }
    ok = ok && X509_add1_ext_i2d(cert, NID_ext_key_usage, list, 0, 0) == 1;
    sk_ASN1_OBJECT_pop_free(list, ASN1_OBJECT_free);
    return ok ? NULL : failed(p, "the extended key usage");
}

/* SHA-1 of the key (RFC 5280 4.2.1.2 (1)). @return NULL: no memory */
static ASN1_OCTET_STRING *key_id(const X509 *cert)
{
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int len;

    if (id && X509_pubkey_digest(cert, EVP_sha1(), hash, &len) &&
        ASN1_OCTET_STRING_set(id, hash, (int)len))
        return id;
    ASN1_OCTET_STRING_free(id);
    return NULL;
}

/* What the CA calls its own key. RFC 5280 4.2.1.1 */
AUTHORITY_KEYID *issue_authority_id(X509 *ca)
{
    const ASN1_OCTET_STRING *own = X509_get0_subject_key_id(ca);
    AUTHORITY_KEYID *id = AUTHORITY_KEYID_new();

    if (id)
        id->keyid = own ? ASN1_OCTET_STRING_dup(own) : key_id(ca);
    if (id && id->keyid)
        return id;
    AUTHORITY_KEYID_free(id);
    return NULL;
}

static const scep_err *put_key_ids(X509 *cert, const issue_ca *ca, apr_pool_t *p)
{
    ASN1_OCTET_STRING *mine = key_id(cert);
    AUTHORITY_KEYID *authority = issue_authority_id(ca->cert);
    bool ok = mine && authority &&
              X509_add1_ext_i2d(cert, NID_subject_key_identifier, mine, 0, 0) == 1 &&
              X509_add1_ext_i2d(cert, NID_authority_key_identifier, authority, 0, 0) == 1;

    ASN1_OCTET_STRING_free(mine);
    AUTHORITY_KEYID_free(authority);
    return ok ? NULL : failed(p, "a key identifier");
}

static GENERAL_NAME *uri_name(const char *uri)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    if (name && text && ASN1_STRING_set(text, uri, -1)) {
        GENERAL_NAME_set0_value(name, GEN_URI, text);
        return name;
    }
    GENERAL_NAME_free(name);
    ASN1_IA5STRING_free(text);
    return NULL;
}

static bool add_access(AUTHORITY_INFO_ACCESS *list, int method, const char *uri)
{
    ACCESS_DESCRIPTION *access;

    if (!uri)
        return true;
    access = ACCESS_DESCRIPTION_new();
    if (!access || !sk_ACCESS_DESCRIPTION_push(list, access)) {
        ACCESS_DESCRIPTION_free(access);
        return false;
    }
    ASN1_OBJECT_free(access->method);
    access->method = OBJ_nid2obj(method);
    GENERAL_NAME_free(access->location);
    access->location = uri_name(uri);
    return access->location != NULL;
}

/* authorityInfoAccess. RFC 5280 4.2.2.1 */
static const scep_err *put_access(X509 *cert, const conf_template *template, apr_pool_t *p)
{
    AUTHORITY_INFO_ACCESS *list;
    bool ok;

    if (!template->issuer_url && !template->ocsp_url)
        return NULL;
    list = sk_ACCESS_DESCRIPTION_new_null();
    ok = list && add_access(list, NID_ad_ca_issuers, template->issuer_url) &&
         add_access(list, NID_ad_OCSP, template->ocsp_url) &&
         X509_add1_ext_i2d(cert, NID_info_access, list, 0, 0) == 1;
    AUTHORITY_INFO_ACCESS_free(list);
    return ok ? NULL : failed(p, "issuer_url or ocsp_url");
}

/* cRLDistributionPoints. RFC 5280 4.2.1.13 */
static const scep_err *put_crl_url(X509 *cert, const char *url, apr_pool_t *p)
{
    CRL_DIST_POINTS *points;
    DIST_POINT *point;
    GENERAL_NAME *name;
    bool ok;

    if (!url)
        return NULL;
    points = sk_DIST_POINT_new_null();
    point = DIST_POINT_new();
    name = uri_name(url);
    ok = points && point && name;
    if (ok && (point->distpoint = DIST_POINT_NAME_new()) != NULL) {
        point->distpoint->type = 0; /* fullName */
        point->distpoint->name.fullname = GENERAL_NAMES_new();
    }
    ok = ok && point->distpoint && point->distpoint->name.fullname &&
         sk_GENERAL_NAME_push(point->distpoint->name.fullname, name);
    if (!ok)
        GENERAL_NAME_free(name);
    ok = ok && sk_DIST_POINT_push(points, point);
    if (!ok)
        DIST_POINT_free(point);
    ok = ok && X509_add1_ext_i2d(cert, NID_crl_distribution_points, points, 0, 0) == 1;
    CRL_DIST_POINTS_free(points);
    return ok ? NULL : failed(p, "crl_url");
}

/* What the request may say: names, and the SID where the template allows it (S-12). The SAN is
 * encoded anew from what was understood of it. RFC 5280 4.2.1.6: critical without a subject */
static const scep_err *put_requested(X509 *cert, const conf_template *template, const scep_csr *csr,
                                     apr_pool_t *p)
{
    int empty = X509_NAME_entry_count(X509_get_subject_name(cert)) == 0;
    GENERAL_NAMES *names;
    int critical = -1, at;

    if (!csr->extensions)
        return NULL;
    names = scep_GENERAL_NAMES(
        p, X509V3_get_d2i(csr->extensions, NID_subject_alt_name, &critical, NULL));
    if (!names && critical != -1)
        return scep_fail(p, INTERNAL, "the subjectAltName of the request cannot be read");
    if (names && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, empty, 0) != 1)
        return failed(p, "the subjectAltName");
    if (!template->allow_sid)
        return NULL;
    at = X509v3_get_ext_by_OBJ(csr->extensions, scep_oid(SCEP_OID_MICROSOFT_SID), -1);
    if (at >= 0 && !X509_add_ext(cert, X509v3_get_ext(csr->extensions, at), -1))
        return failed(p, "the SID");
    return NULL;
}

const EVP_MD *issue_digest(const EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 384)
        return EVP_sha512();
    if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256)
        return EVP_sha384();
    return EVP_sha256();
}

const scep_err *issue_certificate(X509 **out, const issue_ca *ca, const conf_template *template,
                                  const scep_csr *csr, apr_pool_t *p)
{
    X509 *cert = scep_X509(p, X509_new());

    if (!cert || !X509_set_version(cert, X509_VERSION_3) ||
        !X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) ||
        !X509_set_subject_name(cert, csr->subject))
        return failed(p, "a name");
    SCEP_TRY(scep_spki_put(cert, csr->spki, p));
    SCEP_TRY(put_serial(cert, p));
    SCEP_TRY(put_validity(cert, ca, template->days, p));
    SCEP_TRY(put_usage(cert, template, csr, p));
    SCEP_TRY(put_purposes(cert, template->extended_key_usage, p));
    SCEP_TRY(put_key_ids(cert, ca, p));
    SCEP_TRY(put_requested(cert, template, csr, p));
    SCEP_TRY(put_crl_url(cert, template->crl_url, p));
    SCEP_TRY(put_access(cert, template, p));
    if (!X509_sign(cert, ca->key, issue_digest(ca->key)))
        return scep_fail(p, INTERNAL, "the CA key does not sign");
    *out = cert;
    return NULL;
}
