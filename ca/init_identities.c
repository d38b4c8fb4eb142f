/* `scep-ca init`: keys and certificates of a CA and its RA. */
#include "init.h"

#include "certs.h"
#include "clock.h"
#include "issue.h"
#include "key.h"
#include "subject.h"

#include <apr_strings.h>
#include <string.h>
#include <time.h>

#define SKEW 300
#define SERIAL_BITS 159

static const scep_err *ca_dates(X509 *cert, int days, apr_pool_t *p)
{
    apr_int64_t now = apr_time_sec(scep_now());

    if (!ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now - SKEW)) ||
        !ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(now + (apr_int64_t)days * 86400)))
        return scep_fail(p, INTERNAL, "the CA certificate's validity cannot be set");
    return NULL;
}

/* A root that issues end entities only. RFC 5280 4.2.1.3, 4.2.1.9 */
static const scep_err *ca_extensions(X509 *cert, apr_pool_t *p)
{
    static const struct {
        int nid;
        const char *value;
    } extensions[] = {
        { NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
        { NID_key_usage, "critical,keyCertSign,cRLSign" },
        { NID_subject_key_identifier, "hash" },
    };
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    for (size_t i = 0; i < sizeof(extensions) / sizeof(*extensions); i++) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, &ctx, extensions[i].nid, extensions[i].value);
        bool ok = extension && X509_add_ext(cert, extension, -1);

        X509_EXTENSION_free(extension);
        if (!ok)
            return scep_fail(p, INTERNAL, "an extension of the CA certificate cannot be made");
    }
    return NULL;
}

static const scep_err *ca_serial(X509 *cert, apr_pool_t *p)
{
    BIGNUM *serial = BN_new();
    bool ok = serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
              BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert));

    BN_free(serial);
    return ok ? NULL : scep_fail(p, INTERNAL, "a serial number cannot be made");
}

static const scep_err *ca_make(scep_signer *out, const init_plan *plan, apr_pool_t *p)
{
    X509 *cert = scep_X509(p, X509_new());
    X509_NAME *name;
    bool p384;

    SCEP_TRY(subject_read(&name, plan->ca_name, p));
    SCEP_TRY(scep_key_make(&out->key, plan->ca_key, p));
    p384 = !EVP_PKEY_is_a(out->key, "RSA") && EVP_PKEY_get_bits(out->key) > 256;
    if (!cert || !X509_set_version(cert, X509_VERSION_3) || !X509_set_subject_name(cert, name) ||
        !X509_set_issuer_name(cert, name) || !X509_set_pubkey(cert, out->key))
        return scep_fail(p, INTERNAL, "the CA certificate cannot be made");
    SCEP_TRY(ca_serial(cert, p));
    SCEP_TRY(ca_dates(cert, plan->ca_days, p));
    SCEP_TRY(ca_extensions(cert, p));
    if (!X509_sign(cert, out->key, p384 ? EVP_sha384() : EVP_sha256()))
        return scep_fail(p, INTERNAL, "the CA certificate cannot be signed");
    out->cert = cert;
    return NULL;
}

/* As NDES's own: one key usage each and Certificate Request Agent. */
static const scep_err *ra_make(scep_signer *out, const init_plan *plan, const scep_signer *ca,
                               uint32_t key_usage, apr_pool_t *p)
{
    const conf_template template = {
        .name = "RA",
        .days = plan->ra_days,
        .key_usage = key_usage,
        .extended_key_usage = "1.3.6.1.4.1.311.20.2.1",
        .crl_url = plan->crl_url,
        .issuer_url = plan->issuer_url,
    };
    const issue_ca *issuer;
    const issued_cert *made;
    X509_PUBKEY *key = NULL;
    scep_csr csr = { 0 };
    const scep_err *err;
    X509_NAME *name;

    SCEP_TRY(subject_read(&name, plan->ra_name, p));
    SCEP_TRY(scep_key_make(&out->key, plan->ra_key, p));
    if (!X509_PUBKEY_set(&key, out->key))
        return scep_fail(p, INTERNAL, "an RA certificate cannot be made");
    err = scep_spki_of(&csr.spki, key, p);
    X509_PUBKEY_free(key);
    if (err)
        return err;
    csr.key = out->key;
    csr.subject = name;
    SCEP_TRY(scep_spki_hash(csr.key_hash, csr.spki, p));
    SCEP_TRY(issue_ca_make(&issuer, ca->cert, ca->key, NULL, p));
    SCEP_TRY(issue_certificate(&made, issuer, &template, &csr, p));
    return scep_cert_read(&out->cert, made->der, p);
}

const scep_err *init_identities(init_made *out, const init_plan *plan, apr_pool_t *p)
{
    SCEP_TRY(ca_make(&out->ca, plan, p));
    SCEP_TRY(ra_make(&out->ra_sign, plan, &out->ca, KU_DIGITAL_SIGNATURE, p));
    return ra_make(&out->ra_decrypt, plan, &out->ca, KU_KEY_ENCIPHERMENT, p);
}
