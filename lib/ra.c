/* A registration authority's two identities. RFC 8894 2.1.2, 7.2. */
#include "ra.h"
#include "clock.h"

#include <openssl/err.h>
#include <stdbool.h>
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
    return NULL;
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

const scep_err *scep_ra_check_dates(const scep_ra *ra, apr_pool_t *p)
{
    SCEP_TRY(check_dates(ra->sign.cert, "signing", p));
    return check_dates(ra->decrypt.cert, "encryption", p);
}

/* ---- whom an envelope is meant for ---- */

/* What an envelope may name, the best first. */
typedef enum naming { DECRYPTION, SIGNING, SERIAL, NAMINGS } naming;

static bool names(CMS_RecipientInfo *recipient, X509 *cert)
{
    return !CMS_RecipientInfo_ktri_cert_cmp(recipient, cert);
}

/* Some clients write the issuer's name in another order or encoding. */
static bool has_serial(CMS_RecipientInfo *recipient, const X509 *cert)
{
    ASN1_INTEGER *serial = NULL;

    return CMS_RecipientInfo_ktri_get0_signer_id(recipient, NULL, NULL, &serial) && serial &&
           !ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(cert));
}

/* @return the pair of @a ra that is named in that way; NULL: neither is */
static const scep_signer *named_pair(const scep_ra *ra, CMS_RecipientInfo *recipient, naming way)
{
    /* of the certificate: whose envelope it is can be asked without having the keys */
    bool both = EVP_PKEY_get_base_id(X509_get0_pubkey(ra->sign.cert)) == EVP_PKEY_RSA;

    switch (way) {
    case DECRYPTION:
        return names(recipient, ra->decrypt.cert) ? &ra->decrypt : NULL;
    case SIGNING:
        return both && names(recipient, ra->sign.cert) ? &ra->sign : NULL;
    case SERIAL:
        if (has_serial(recipient, ra->decrypt.cert))
            return &ra->decrypt;
        return both && has_serial(recipient, ra->sign.cert) ? &ra->sign : NULL;
    case NAMINGS:
        break;
    }
    return NULL;
}

const scep_ra *scep_ra_pick(const scep_ra *const *list, int n, const scep_message *message)
{
    const scep_ra *found = NULL;

    for (naming way = DECRYPTION; message->recipient && way < NAMINGS && !found; way++)
        for (int i = 0; i < n && !found; i++)
            if (named_pair(list[i], message->recipient, way))
                found = list[i];
    ERR_clear_error(); /* a certificate without key identifier is no fault */
    return found;
}

/* ---- opening it ---- */

/*
 * A certificate that bears the name by which the recipient is named: with one, CMS_decrypt() works
 * on that recipient alone, and a wrong RSA block gives way to a random key (S-15). It is made
 * whoever is named, so that all take the same time.
 */
static X509 *named(CMS_RecipientInfo *recipient, const X509 *ours, apr_pool_t *p)
{
    ASN1_OCTET_STRING *key_id = NULL;
    ASN1_INTEGER *serial = NULL;
    X509_NAME *issuer = NULL;
    X509 *cert;

    if (!CMS_RecipientInfo_ktri_get0_signer_id(recipient, &key_id, &issuer, &serial))
        return NULL;
    /* OpenSSL reads an extension of nothing less than a whole certificate */
    cert = scep_X509(p, key_id ? X509_dup(ours) : X509_new());
    if (!cert)
        return NULL;
    if (key_id)
        return X509_add1_ext_i2d(cert, NID_subject_key_identifier, key_id, 0, X509V3_ADD_REPLACE) ==
                       1
                   ? cert
                   : NULL;
    return X509_set_issuer_name(cert, issuer) && X509_set_serialNumber(cert, serial) ? cert : NULL;
}

const scep_err *scep_ra_decrypt(scep_bytes *plain, const scep_ra *ra, const scep_message *message,
                                apr_pool_t *p)
{
    X509 *cert = named(message->recipient, ra->decrypt.cert, p);
    BIO *memory = scep_BIO(p, BIO_new(BIO_s_mem()));
    const scep_signer *pair = NULL;
    unsigned char *copy;
    char *data;
    long len;
    int good;

    if (!memory || !cert)
        return scep_fail(p, INTERNAL, "no memory to open an envelope");
    for (naming way = DECRYPTION; way < NAMINGS && !pair; way++)
        pair = named_pair(ra, message->recipient, way);
    /* meant for nobody here: the same work, so that it takes as long as a failure does (S-15) */
    good = CMS_decrypt(message->envelope, pair ? pair->key : ra->decrypt.key, cert, NULL, memory,
                       CMS_BINARY);
    /* what OpenSSL says here tells a wrong RSA block from wrong padding: nobody may learn it */
    ERR_clear_error();
    len = BIO_get_mem_data(memory, &data);
    copy = scep_secret(p, (size_t)(len > 0 ? len : 0));
    if (len > 0)
        memcpy(copy, data, (size_t)len);
    if (!pair)
        return scep_fail(p, UNREADABLE,
                         "the request is encrypted to another certificate than the RA's");
    if (!good)
        return scep_fail(p, UNREADABLE, "the request does not decrypt");
    *plain = (scep_bytes){ copy, (size_t)len };
    return NULL;
}
