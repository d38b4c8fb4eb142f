/* A registration authority's two identities. RFC 8894 2.1.2, 7.2. */
#include "ra.h"
#include "clock.h"

#include <openssl/err.h>
#include <string.h>

enum { DECRYPTION_BITS_LEAST = 2048 };

static const scep_err *check_dates(const X509 *cert, const char *what, apr_pool_t *p)
{
    time_t now = (time_t)apr_time_sec(scep_now());
    int begun = X509_cmp_time(X509_get0_notBefore(cert), &now);
    int ended = X509_cmp_time(X509_get0_notAfter(cert), &now);

    if (!begun || !ended)
        return scep_fail(p, CONFIG, "RA %s certificate: its dates cannot be read", what);
    if (begun > 0 || ended < 0)
        return scep_fail(p, CONFIG, "RA %s certificate is %s", what,
                         begun > 0 ? "not valid yet" : "expired");
    return NULL;
}

/* @param what "signing" or "encryption" */
static const scep_err *check_pair(const scep_signer *pair, X509 *ca, uint32_t usage,
                                  const char *what, apr_pool_t *p)
{
    EVP_PKEY *ca_key = X509_get0_pubkey(ca);
    uint32_t usages = X509_get_key_usage(pair->cert);
    bool same = EVP_PKEY_eq(pair->key, ca_key) == 1;

    ERR_clear_error(); /* keys of two types are an error to OpenSSL, not an answer */
    if (X509_check_private_key(pair->cert, pair->key) != 1)
        return scep_fail(p, CONFIG, "RA %s key does not belong to its certificate", what);
    /* RFC 8894 7.2: an oracle on a transport key must not be one on the CA's key */
    if (same)
        return scep_fail(p, CONFIG, "RA %s key is the CA's own: give the RA a key of its own",
                         what);
    /* no extension would mean any usage, but clients choose among RA certificates by it */
    if (usages == UINT32_MAX || !(usages & usage))
        return scep_fail(p, CONFIG, "RA %s certificate lacks the key usage %s", what,
                         usage == KU_DIGITAL_SIGNATURE ? "digitalSignature" : "keyEncipherment");
    if (X509_NAME_cmp(X509_get_issuer_name(pair->cert), X509_get_subject_name(ca)) ||
        X509_verify(pair->cert, ca_key) != 1)
        return scep_fail(p, CONFIG, "RA %s certificate was not signed by the CA", what);
    return check_dates(pair->cert, what, p);
}

const scep_err *scep_ra_check(const scep_ra *ra, X509 *ca, apr_pool_t *p)
{
    SCEP_TRY(check_pair(&ra->sign, ca, KU_DIGITAL_SIGNATURE, "signing", p));
    if (EVP_PKEY_get_base_id(ra->decrypt.key) != EVP_PKEY_RSA ||
        EVP_PKEY_get_bits(ra->decrypt.key) < DECRYPTION_BITS_LEAST)
        return scep_fail(p, CONFIG, "RA encryption key must be RSA of at least %d bits",
                         DECRYPTION_BITS_LEAST);
    return check_pair(&ra->decrypt, ca, KU_KEY_ENCIPHERMENT, "encryption", p);
}

/*
 * The certificate that CMS_decrypt() is given: ours, where the recipient is ours. Some clients
 * write the issuer's name in another order or encoding; if the serial number is ours, one that
 * bears the name they wrote takes its place, so that decryption never goes without a certificate.
 * @return NULL: meant for somebody else
 */
static X509 *recipient_certificate(CMS_RecipientInfo *recipient, X509 *ours, apr_pool_t *p)
{
    ASN1_INTEGER *serial = NULL;
    X509_NAME *issuer = NULL;
    X509 *named;

    if (!CMS_RecipientInfo_ktri_cert_cmp(recipient, ours))
        return ours;
    if (!CMS_RecipientInfo_ktri_get0_signer_id(recipient, NULL, &issuer, &serial) || !issuer ||
        !serial || ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(ours)))
        return NULL;
    named = scep_X509(p, X509_new());
    if (!named || !X509_set_issuer_name(named, issuer) || !X509_set_serialNumber(named, serial))
        return NULL;
    return named;
}

const scep_err *scep_ra_decrypt(scep_bytes *plain, const scep_ra *ra, const scep_message *message,
                                apr_pool_t *p)
{
    X509 *cert = recipient_certificate(message->recipient, ra->decrypt.cert, p);
    BIO *memory = scep_BIO(p, BIO_new(BIO_s_mem()));
    unsigned char *copy;
    char *data;
    long len;
    int good;

    if (!memory)
        return scep_fail(p, INTERNAL, "out of memory");
    if (!cert)
        return scep_fail(p, UNREADABLE,
                         "the request is encrypted to another certificate than the RA's");
    good = CMS_decrypt(message->envelope, ra->decrypt.key, cert, NULL, memory, CMS_BINARY);
    /* what OpenSSL says here tells a wrong RSA block from wrong padding: nobody may learn it */
    ERR_clear_error();
    if (!good)
        return scep_fail(p, UNREADABLE, "the request does not decrypt");
    len = BIO_get_mem_data(memory, &data);
    copy = scep_secret(p, (size_t)len);
    if (len > 0)
        memcpy(copy, data, (size_t)len);
    *plain = (scep_bytes){ copy, (size_t)len };
    return NULL;
}
