/* A certificate from a template and a CSR. RFC 5280 4.1. */
#include "issue_int.h"

#include "certs.h"
#include "clock.h"

#include <apr_strings.h>
#include <openssl/rand.h>
#include <time.h>

#define SKEW 300       /* seconds a device's clock may be behind */
#define SERIAL_SIZE 20 /* RFC 5280 4.1.2.2: at most so many octets */

static const scep_err *failed(apr_pool_t *p, const char *what)
{
    return scep_fail(p, INTERNAL, "%s cannot be put into a certificate", what);
}

/* ---- the CA ---- */

const EVP_MD *issue_digest(const EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 384)
        return EVP_sha512();
    if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256)
        return EVP_sha384();
    return EVP_sha256();
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

static apr_status_t drop_digest(void *data)
{
    EVP_MD_free(data);
    return APR_SUCCESS;
}

/* Of the names of keys. */
static const scep_err *fetch_sha1(issue_ca *ca, apr_pool_t *p)
{
    EVP_MD *sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);

    if (!sha1)
        return scep_fail(p, INTERNAL, "OpenSSL has no SHA-1");
    apr_pool_cleanup_register(p, sha1, drop_digest, apr_pool_cleanup_null);
    ca->sha1 = sha1;
    return NULL;
}

/* The parameters are NULL with RSA (RFC 4055 5) and absent with ECDSA (RFC 5758 3.2). A context
 * would say so, but not that of an engine's key. */
static const scep_err *name_algorithm(issue_ca *ca, apr_pool_t *p)
{
    bool is_rsa = EVP_PKEY_is_a(ca->key, "RSA");
    X509_ALGOR *algorithm = X509_ALGOR_new();
    unsigned char *der = NULL;
    int nid, len = 0;

    if (algorithm &&
        OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(issue_digest(ca->key)),
                               is_rsa ? EVP_PKEY_RSA : EVP_PKEY_EC) &&
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), is_rsa ? V_ASN1_NULL : V_ASN1_UNDEF, NULL))
        len = i2d_X509_ALGOR(algorithm, &der);
    X509_ALGOR_free(algorithm);
    if (len > 0)
        ca->algorithm = scep_bytes_dup(p, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    return len > 0 ? NULL : failed(p, "the signature algorithm");
}

/* OpenSSL looks for the key's algorithm and its digest anew whenever a context is made ready. */
static const scep_err *make_ready(issue_ca *ca, apr_pool_t *p)
{
    ca->signing = scep_EVP_MD_CTX(p, EVP_MD_CTX_new());
    if (!ca->signing ||
        EVP_DigestSignInit(ca->signing, NULL, issue_digest(ca->key), NULL, ca->key) != 1)
        return scep_fail(p, INTERNAL, "the CA key cannot be made ready to sign");
    return name_algorithm(ca, p);
}

static const scep_err *profiles_make(issue_ca *ca, const apr_array_header_t *templates,
                                     apr_pool_t *p)
{
    issue_profile *all = apr_pcalloc(p, (size_t)templates->nelts * sizeof(*all));

    for (int i = 0; i < templates->nelts; i++)
        SCEP_TRY(
            issue_profile_make(&all[i], APR_ARRAY_IDX(templates, i, const conf_template *), p));
    ca->profiles = all;
    ca->n = templates->nelts;
    return NULL;
}

const scep_err *issue_ca_make(const issue_ca **out, X509 *cert, EVP_PKEY *key,
                              const apr_array_header_t *templates, apr_pool_t *p)
{
    issue_ca *ca = apr_pcalloc(p, sizeof(*ca));

    ca->cert = cert;
    ca->key = key;
    if (!X509_NAME_get0_der(X509_get_subject_name(cert), &ca->issuer.data, &ca->issuer.len))
        return failed(p, "the CA's name");
    SCEP_TRY(scep_time_seconds(&ca->begins, X509_get0_notBefore(cert), p));
    SCEP_TRY(scep_time_seconds(&ca->ends, X509_get0_notAfter(cert), p));
    SCEP_TRY(issue_authority(&ca->authority_id, cert, p));
    SCEP_TRY(make_ready(ca, p));
    SCEP_TRY(fetch_sha1(ca, p));
    if (templates)
        SCEP_TRY(profiles_make(ca, templates, p));
    *out = ca;
    return NULL;
}

/* ---- the certificate ---- */

/* 159 random bits: positive and at most 20 octets. RFC 5280 4.1.2.2
 * @param number without zeros before it */
static const scep_err *serial_make(scep_bytes *number, apr_pool_t *p)
{
    unsigned char *bytes = apr_palloc(p, SERIAL_SIZE);
    size_t at;

    do {
        if (RAND_bytes(bytes, SERIAL_SIZE) != 1)
            return failed(p, "a serial number");
        bytes[0] &= 0x7f;
        for (at = 0; at < SERIAL_SIZE && !bytes[at];)
            at++;
    } while (at == SERIAL_SIZE);
    *number = (scep_bytes){ bytes + at, SERIAL_SIZE - at };
    return NULL;
}

/* X.690 8.3: the first bit is the sign. */
static scep_bytes serial_der(scep_bytes number, apr_pool_t *p)
{
    static const unsigned char zero[] = { 0 };
    const scep_bytes positive = { zero, number.data[0] & 0x80 ? 1 : 0 };

    return DER(p, DER_INTEGER, positive, number);
}

static const scep_err *set_validity(issued_cert *cert, const issue_ca *ca, int days, apr_pool_t *p)
{
    apr_int64_t now = apr_time_sec(scep_now());

    if (now < ca->begins || now >= ca->ends)
        return scep_fail(p, INTERNAL,
                         "the CA certificate is not valid now; renew it or set the clock");
    cert->begins = now - SKEW < ca->begins ? ca->begins : now - SKEW;
    cert->ends = now + (apr_int64_t)days * 86400;
    cert->ends = cert->ends > ca->ends ? ca->ends : cert->ends;
    return NULL;
}

/* RFC 5280 4.1.2.5: UTCTime through the year 2049. */
static const scep_err *time_der(scep_bytes *out, apr_int64_t seconds, apr_pool_t *p)
{
    time_t then = (time_t)seconds;
    struct tm t;
    int year;
    bool utc;

    if (!gmtime_r(&then, &t) || t.tm_year < 0 || t.tm_year + 1900 > 9999)
        return failed(p, "the validity");
    year = t.tm_year + 1900;
    utc = year >= 1950 && year < 2050;
    *out = DER(p, utc ? DER_UTC_TIME : DER_GENERALIZED_TIME,
               scep_bytes_of(apr_psprintf(p, "%0*d%02d%02d%02d%02d%02dZ", utc ? 2 : 4,
                                          utc ? year % 100 : year, t.tm_mon + 1, t.tm_mday,
                                          t.tm_hour, t.tm_min, t.tm_sec)));
    return NULL;
}

static const scep_err *find_profile(const issue_profile **out, const issue_ca *ca,
                                    const conf_template *template, apr_pool_t *p)
{
    issue_profile *own;

    for (int i = 0; i < ca->n; i++) {
        *out = &ca->profiles[i];
        if ((*out)->template == template)
            return NULL;
    }
    own = apr_palloc(p, sizeof(*own));
    *out = own;
    return issue_profile_make(own, template, p);
}

/* TBSCertificate. RFC 5280 4.1 */
static const scep_err *tbs_make(scep_bytes *out, const issued_cert *cert, scep_bytes number,
                                const issue_ca *ca, const conf_template *template,
                                const scep_csr *csr, apr_pool_t *p)
{
    static const unsigned char v3[] = { DER_WRAP | 0, 3, DER_INTEGER, 1, X509_VERSION_3 };
    const issue_profile *profile;
    scep_bytes subject, begins, ends, extensions;

    if (!X509_NAME_get0_der(csr->subject, &subject.data, &subject.len))
        return failed(p, "a name");
    SCEP_TRY(time_der(&begins, cert->begins, p));
    SCEP_TRY(time_der(&ends, cert->ends, p));
    SCEP_TRY(find_profile(&profile, ca, template, p));
    SCEP_TRY(issue_extensions(&extensions, ca, profile, csr, p));
    *out = DER(p, DER_SEQUENCE, { v3, sizeof(v3) }, serial_der(number, p), ca->algorithm,
               ca->issuer, DER(p, DER_SEQUENCE, begins, ends), subject, csr->spki, extensions);
    return NULL;
}

/* @param out the contents of a BIT STRING: no unused bits, and the signature */
static const scep_err *sign(scep_bytes *out, const issue_ca *ca, scep_bytes tbs, apr_pool_t *p)
{
    size_t len = (size_t)EVP_PKEY_get_size(ca->key);
    unsigned char *to = apr_palloc(p, len + 1);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_MD_CTX_copy_ex(ctx, ca->signing) == 1;

    *to = 0;
    if (ok) {
        /* it is not gone on with afterwards, so that no copy has to be taken before the end */
        EVP_MD_CTX_set_flags(ctx, EVP_MD_CTX_FLAG_FINALISE);
        ok = EVP_DigestSign(ctx, to + 1, &len, tbs.data, tbs.len) == 1;
    }
    EVP_MD_CTX_free(ctx);
    *out = (scep_bytes){ to, len + 1 };
    return ok ? NULL : scep_fail(p, INTERNAL, "the CA key does not sign");
}

const scep_err *issue_certificate(const issued_cert **out, const issue_ca *ca,
                                  const conf_template *template, const scep_csr *csr, apr_pool_t *p)
{
    issued_cert *cert = apr_pcalloc(p, sizeof(*cert));
    scep_bytes number, tbs, signature;

    SCEP_TRY(serial_make(&number, p));
    SCEP_TRY(set_validity(cert, ca, template->days, p));
    SCEP_TRY(tbs_make(&tbs, cert, number, ca, template, csr, p));
    SCEP_TRY(sign(&signature, ca, tbs, p));
    cert->der = DER(p, DER_SEQUENCE, tbs, ca->algorithm, DER(p, DER_BIT_STRING, signature));
    cert->spki = csr->spki;
    cert->key_hash = scep_base64(p, (scep_bytes){ csr->key_hash, sizeof(csr->key_hash) });
    cert->serial = scep_hex(p, number);
    cert->subject = scep_name_line(csr->subject, p);
    *out = cert;
    return NULL;
}
