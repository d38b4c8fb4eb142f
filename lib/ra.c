/* A registration authority's two identities. RFC 8894 2.1.2, 7.2. */
#include "ra.h"
#include "algorithm.h"
#include "asn1.h"
#include "clock.h"
#include "key.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdbool.h>

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
    int type = EVP_PKEY_get_base_id(ra->sign.key);

    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
        return scep_fail(p, CONFIG, "RA signing key must be RSA (rsaEncryption) or EC");
    SCEP_TRY(check_pair(&ra->sign, ca, KU_DIGITAL_SIGNATURE, "signing", p));
    if (EVP_PKEY_get_base_id(ra->decrypt.key) != EVP_PKEY_RSA ||
        EVP_PKEY_get_bits(ra->decrypt.key) < DECRYPTION_BITS_LEAST)
        return scep_fail(p, CONFIG, "RA encryption key must be RSA of at least %d bits",
                         DECRYPTION_BITS_LEAST);
    return check_pair(&ra->decrypt, ca, KU_KEY_ENCIPHERMENT, "encryption", p);
}

static void prepare(scep_signer *pair, apr_pool_t *p)
{
    if (pair->key)
        pair->ctx = scep_EVP_PKEY_CTX(p, EVP_PKEY_CTX_new_from_pkey(NULL, pair->key, NULL));
    ERR_clear_error();
}

void scep_ra_prepare(scep_ra *ra, apr_pool_t *p)
{
    prepare(&ra->sign, p);
    prepare(&ra->decrypt, p);
}

const scep_err *scep_ra_check_dates(const scep_ra *ra, apr_pool_t *p)
{
    SCEP_TRY(check_dates(ra->sign.cert, "signing", p));
    return check_dates(ra->decrypt.cert, "encryption", p);
}

/* ---- whom an envelope is meant for ---- */

/* What an envelope may name, the best first. */
typedef enum naming { DECRYPTION, SIGNING, SERIAL, NAMINGS } naming;

static bool names(const scep_envelope *envelope, X509 *cert)
{
    const ASN1_OCTET_STRING *key_id;
    scep_bytes issuer;

    if (envelope->issuer.len)
        return !ASN1_INTEGER_cmp(envelope->serial, X509_get0_serialNumber(cert)) &&
               X509_NAME_get0_der(X509_get_issuer_name(cert), &issuer.data, &issuer.len) == 1 &&
               scep_asn1_same_name(envelope->issuer, issuer);
    key_id = X509_get0_subject_key_id(cert);
    return key_id && scep_bytes_equal(envelope->key_id, scep_asn1_bytes(key_id));
}

/* Some clients write the issuer's name in another order or encoding. */
static bool has_serial(const scep_envelope *envelope, const X509 *cert)
{
    return envelope->serial && !ASN1_INTEGER_cmp(envelope->serial, X509_get0_serialNumber(cert));
}

/* @return the pair of @a ra that is named in that way; NULL: neither is */
static const scep_signer *named_pair(const scep_ra *ra, const scep_envelope *envelope, naming way)
{
    /* of the certificate: whose envelope it is can be asked without having the keys */
    bool both = EVP_PKEY_get_base_id(X509_get0_pubkey(ra->sign.cert)) == EVP_PKEY_RSA;

    switch (way) {
    case DECRYPTION:
        return names(envelope, ra->decrypt.cert) ? &ra->decrypt : NULL;
    case SIGNING:
        return both && names(envelope, ra->sign.cert) ? &ra->sign : NULL;
    case SERIAL:
        if (has_serial(envelope, ra->decrypt.cert))
            return &ra->decrypt;
        return both && has_serial(envelope, ra->sign.cert) ? &ra->sign : NULL;
    case NAMINGS:
        break;
    }
    return NULL;
}

const scep_ra *scep_ra_pick(const scep_ra *const *list, int n, const scep_message *message)
{
    const scep_ra *found = NULL;

    for (naming way = DECRYPTION; message->envelope && way < NAMINGS && !found; way++)
        for (int i = 0; i < n && !found; i++)
            if (named_pair(list[i], message->envelope, way))
                found = list[i];
    ERR_clear_error(); /* a certificate without key identifier is no fault */
    return found;
}

/* ---- opening it ---- */

/* RFC 8017 A.2.1: the label is the pSourceAlgorithm's. */
static bool set_label(EVP_PKEY_CTX *ctx, scep_bytes label)
{
    unsigned char *copy;

    if (!label.len)
        return true;
    copy = OPENSSL_memdup(label.data, label.len);
    if (copy && EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, copy, (int)label.len) > 0)
        return true;
    OPENSSL_free(copy);
    return false;
}

static bool set_padding(EVP_PKEY_CTX *ctx, const scep_oaep *oaep)
{
    if (!oaep->mask.digest)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, oaep->mask.digest) > 0 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, oaep->mask.mask) > 0 && set_label(ctx, oaep->label);
}

/*
 * The content key: what the RSA block holds, or random bytes where it does not open or holds
 * another number of them. RFC 3218 2.3.2: which of the two it was nobody learns (S-15), so both
 * are always made, and chosen between without a branch; a mask that is not volatile becomes a
 * choice between two addresses with some compilers.
 */
static bool open_key(unsigned char *key, size_t len, const scep_signer *with,
                     const scep_envelope *envelope, const scep_oaep *oaep, apr_pool_t *p)
{
    EVP_PKEY_CTX *ctx = scep_signer_ctx(with, p);
    size_t room = (size_t)EVP_PKEY_get_size(with->key), opened = room;
    unsigned char *block = scep_secret(p, room > len ? room : len);
    volatile unsigned char mask;
    int good;

    if (!ctx || EVP_PKEY_decrypt_init(ctx) <= 0 || !set_padding(ctx, oaep))
        return false;
    good = EVP_PKEY_decrypt(ctx, block, &opened, envelope->key.data, envelope->key.len);
    mask = (unsigned char)(0u - (unsigned)((good == 1) & (opened == len)));
    for (size_t i = 0; i < len; i++)
        key[i] ^= (unsigned char)(mask & (key[i] ^ block[i]));
    return true;
}

/* @return false: it does not decrypt. How far it came is told by nothing but the plaintext. */
static bool open_content(scep_bytes *plain, EVP_CIPHER_CTX *ctx, const scep_envelope *envelope,
                         const unsigned char *key, apr_pool_t *p)
{
    const ASN1_TYPE *iv = envelope->cipher->parameter;
    size_t block = (size_t)EVP_CIPHER_CTX_get_block_size(ctx);
    unsigned char *out = scep_secret(p, envelope->content.len + block);
    int len = 0, last = 0;

    if (EVP_DecryptInit_ex(ctx, NULL, NULL, key, ASN1_STRING_get0_data(iv->value.octet_string)) !=
            1 ||
        EVP_DecryptUpdate(ctx, out, &len, envelope->content.data, (int)envelope->content.len) !=
            1 ||
        EVP_DecryptFinal_ex(ctx, out + len, &last) != 1)
        return false;
    *plain = (scep_bytes){ out, (size_t)len + (size_t)last };
    return true;
}

/* Single DES is in a context of its own only (legacy.h). */
static bool begin(EVP_CIPHER_CTX *ctx, const scep_message *message)
{
    EVP_CIPHER *cipher;
    bool good;

    if (!message->context)
        return EVP_DecryptInit_ex(ctx, message->cipher, NULL, NULL, NULL) == 1;
    cipher = EVP_CIPHER_fetch(message->context, EVP_CIPHER_get0_name(message->cipher), NULL);
    good = cipher && EVP_DecryptInit_ex(ctx, cipher, NULL, NULL, NULL) == 1;
    EVP_CIPHER_free(cipher);
    return good;
}

static bool open_envelope(scep_bytes *plain, const scep_signer *with, const scep_message *message,
                          apr_pool_t *p)
{
    EVP_CIPHER_CTX *ctx = scep_EVP_CIPHER_CTX(p, EVP_CIPHER_CTX_new());
    unsigned char *key = scep_secret(p, EVP_MAX_KEY_LENGTH);
    scep_oaep oaep;

    if (!ctx || scep_algorithm_transport(&oaep, message->envelope->transport, p) ||
        !begin(ctx, message) || EVP_CIPHER_CTX_rand_key(ctx, key) <= 0 ||
        !open_key(key, (size_t)EVP_CIPHER_CTX_get_key_length(ctx), with, message->envelope, &oaep,
                  p))
        return false;
    return open_content(plain, ctx, message->envelope, key, p);
}

/*
 * A token is asked after every decryption whether it is there, whatever came of that: asked only
 * where the padding was wrong, its calls and its answer would tell (S-15). Where its session was
 * opened anew meanwhile, the decryption may have failed for the old one: it is made once more.
 */
static const scep_err *open_surely(scep_bytes *plain, bool *good, const scep_signer *with,
                                   const scep_message *message, apr_pool_t *p)
{
    unsigned session = scep_key_session(with->key), now = session;

    for (int i = 0; i == 0 || (i == 1 && now != session); i++) {
        *good = open_envelope(plain, with, message, p);
        /* what OpenSSL says here tells a wrong RSA block from wrong padding: nobody may learn it */
        ERR_clear_error();
        SCEP_TRY(scep_key_away(with->key, p));
        now = scep_key_session(with->key);
    }
    return NULL;
}

const scep_err *scep_ra_decrypt(scep_bytes *plain, const scep_ra *ra, const scep_message *message,
                                apr_pool_t *p)
{
    const scep_signer *pair = NULL;
    scep_bytes opened;
    bool good = false;

    for (naming way = DECRYPTION; way < NAMINGS && !pair; way++)
        pair = named_pair(ra, message->envelope, way);
    /* meant for nobody here: the same work, so that it takes as long as a failure does (S-15) */
    SCEP_TRY(open_surely(&opened, &good, pair ? pair : &ra->decrypt, message, p));
    if (!pair)
        return scep_fail(p, UNREADABLE,
                         "the request is encrypted to another certificate than the RA's");
    if (!good)
        return scep_fail(p, UNREADABLE, "the request does not decrypt");
    *plain = opened;
    return NULL;
}
