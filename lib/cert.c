/* A certificate as far as an enrolment must know it. RFC 5280 4.1. */
#include "cert.h"
#include "asn1.h"

#include <limits.h>
#include <openssl/asn1t.h>
#include <openssl/err.h>

enum { INTEGER = 0x02, BITS = 0x03, BITS_IN_PIECES = 0x23, SEQUENCE = 0x30 };
enum { VERSION = 0xA0, ISSUER_ID = 0x81, SUBJECT_ID = 0x82, EXTENSIONS = 0xA3, CONSTRUCTED = 0x20 };

/* RFC 5280 4.1; what is signed stays as it was received */
typedef struct certificate {
    ASN1_STRING *tbs;
    X509_ALGOR *algorithm;
    ASN1_BIT_STRING *signature;
} certificate;

ASN1_SEQUENCE(certificate) = {
    ASN1_SIMPLE(certificate, tbs, ASN1_SEQUENCE),
    ASN1_SIMPLE(certificate, algorithm, X509_ALGOR),
    ASN1_SIMPLE(certificate, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(certificate)

static const scep_err *not_one(scep_bytes der, apr_pool_t *p)
{
    return scep_fail(p, BAD_MESSAGE, "not one certificate of %lu bytes", (unsigned long)der.len);
}

/* Whoever gets it on (proof.h) takes DER only. @return false: it cannot be read */
static bool in_der(scep_bytes *out, scep_bytes der, apr_pool_t *p)
{
    scep_cursor c = { der.data, der.len };
    const certificate *read;
    scep_bytes content;
    uint8_t tag;

    *out = der;
    if (scep_cursor_der(&c, &tag, &content))
        return true;
    read = scep_asn1_read(ASN1_ITEM_rptr(certificate), der, p);
    return read && !scep_asn1_write(out, ASN1_ITEM_rptr(certificate), read, p);
}

/* @param out DER, as a reply names its recipient by it. @return false: no such element follows */
static bool take_name(scep_bytes *out, scep_cursor *c, apr_pool_t *p)
{
    const X509_NAME *read;

    if (!scep_ber_take(c, SEQUENCE, out))
        return false;
    if (scep_ber_is_der(*out))
        return true;
    read = scep_asn1_read(ASN1_ITEM_rptr(X509_NAME), *out, p);
    return read && !scep_asn1_write(out, ASN1_ITEM_rptr(X509_NAME), read, p);
}

static void step_over_optional(scep_cursor *c, uint8_t primitive)
{
    scep_cursor skipped;

    if (!scep_ber_step(c, primitive, &skipped))
        (void)scep_ber_step(c, primitive | CONSTRUCTED, &skipped); /* absent, or in pieces */
}

/* RFC 5280 4.1.2; the parts that nobody here asks for are stepped over */
static bool walk_tbs(scep_cert *cert, apr_pool_t *p)
{
    scep_cursor c = { cert->tbs.data, cert->tbs.len }, in, number;

    if (!scep_ber_step(&c, SEQUENCE, &c))
        return false;
    if (scep_ber_step(&c, VERSION, &in) && (!scep_ber_step(&in, INTEGER, &number) || in.left))
        return false;
    if (!scep_asn1_integer(&cert->serial, &c, p) || !scep_ber_step(&c, SEQUENCE, &in) ||
        !take_name(&cert->issuer, &c, p) || !scep_ber_step(&c, SEQUENCE, &in) ||
        !take_name(&cert->subject, &c, p) || !scep_ber_take(&c, SEQUENCE, &cert->spki))
        return false;
    step_over_optional(&c, ISSUER_ID);
    step_over_optional(&c, SUBJECT_ID);
    step_over_optional(&c, EXTENSIONS);
    return !c.left;
}

static bool walk(scep_cert *cert, scep_bytes der, apr_pool_t *p)
{
    scep_cursor c = { der.data, der.len }, inside, in;

    return scep_ber_step(&c, SEQUENCE, &inside) && !c.left &&
           scep_ber_take(&inside, SEQUENCE, &cert->tbs) && scep_ber_step(&inside, SEQUENCE, &in) &&
           (scep_ber_step(&inside, BITS, &in) || scep_ber_step(&inside, BITS_IN_PIECES, &in)) &&
           !inside.left && walk_tbs(cert, p);
}

const scep_err *scep_cert_look(scep_cert **out, scep_bytes der, apr_pool_t *p)
{
    scep_cert *cert = apr_pcalloc(p, sizeof(*cert));

    if (!der.len || der.len > INT_MAX || !walk(cert, der, p) || !in_der(&cert->der, der, p)) {
        ERR_clear_error();
        return not_one(der, p);
    }
    *out = cert;
    return NULL;
}

const scep_err *scep_cert_read_key(scep_cert *cert, apr_pool_t *p)
{
    EVP_PKEY *key;

    SCEP_TRY(scep_spki_read(&key, &cert->spki, cert->spki, p));
    cert->ctx = scep_EVP_PKEY_CTX(p, EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL));
    if (!cert->ctx)
        return scep_fail(p, INTERNAL, "a key cannot be used");
    cert->key = key;
    return NULL;
}

bool scep_cert_names_issuer(const scep_cert *cert, const X509_NAME *name)
{
    scep_bytes other;

    return X509_NAME_get0_der(name, &other.data, &other.len) == 1 &&
           scep_asn1_same_name(cert->issuer, other);
}

/* @return false: none could be found */
static bool take_inner_algorithm(scep_bytes *out, scep_bytes tbs)
{
    scep_cursor c = { tbs.data, tbs.len }, in;

    if (!scep_ber_step(&c, SEQUENCE, &c))
        return false;
    (void)scep_ber_step(&c, VERSION, &in); /* absent: version 1 */
    return scep_ber_step(&c, INTEGER, &in) && scep_ber_take(&c, SEQUENCE, out);
}

/* RFC 5280 4.1.1.2: the algorithm is named twice, and both are one. */
static bool names_one_algorithm(const certificate *read, scep_bytes tbs)
{
    scep_bytes inner = { NULL, 0 };
    X509_ALGOR *algorithm = NULL;
    bool one;

    if (take_inner_algorithm(&inner, tbs))
        algorithm = d2i_X509_ALGOR(NULL, &inner.data, (long)inner.len);
    one = algorithm && !X509_ALGOR_cmp(read->algorithm, algorithm);
    X509_ALGOR_free(algorithm);
    return one;
}

bool scep_cert_is_signed_by(const scep_cert *cert, EVP_PKEY *key)
{
    const unsigned char *at = cert->der.data;
    const ASN1_ITEM *item = ASN1_ITEM_rptr(certificate);
    certificate *read = (certificate *)ASN1_item_d2i(NULL, &at, (long)cert->der.len, item);
    bool is_signed = read && names_one_algorithm(read, cert->tbs) &&
                     ASN1_item_verify(ASN1_ITEM_rptr(ASN1_SEQUENCE), read->algorithm,
                                      read->signature, read->tbs, key) == 1;

    ASN1_item_free((ASN1_VALUE *)read, item);
    ERR_clear_error();
    return is_signed;
}

const scep_err *scep_cert_x509(X509 **out, const scep_cert *cert, apr_pool_t *p)
{
    const unsigned char *at = cert->der.data;
    X509 *made = NULL;

    if (cert->der.len <= INT_MAX)
        made = scep_X509(p, d2i_X509(NULL, &at, (long)cert->der.len));
    /* a key that OpenSSL does not read is NULL, which is nobody's key to who compares */
    if (!made || at != cert->der.data + cert->der.len || !X509_get0_pubkey(made))
        return not_one(cert->der, p);
    *out = made;
    return NULL;
}
