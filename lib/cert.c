/* A certificate as far as an enrolment must know it. RFC 5280 4.1. */
#include "cert.h"
#include "asn1.h"

#include <limits.h>
#include <openssl/asn1t.h>
#include <openssl/err.h>

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

/* RFC 5280 4.1; the parts that nobody here asks for stay encoded */
typedef struct tbs_certificate {
    ASN1_INTEGER *version, *serial;
    X509_ALGOR *algorithm;
    X509_NAME *issuer;
    ASN1_STRING *validity;
    X509_NAME *subject;
    ASN1_STRING *key;
    ASN1_BIT_STRING *issuer_id, *subject_id;
    ASN1_TYPE *extensions;
} tbs_certificate;

ASN1_SEQUENCE(tbs_certificate) = {
    ASN1_EXP_OPT(tbs_certificate, version, ASN1_INTEGER, 0),
    ASN1_SIMPLE(tbs_certificate, serial, ASN1_INTEGER),
    ASN1_SIMPLE(tbs_certificate, algorithm, X509_ALGOR),
    ASN1_SIMPLE(tbs_certificate, issuer, X509_NAME),
    ASN1_SIMPLE(tbs_certificate, validity, ASN1_SEQUENCE),
    ASN1_SIMPLE(tbs_certificate, subject, X509_NAME),
    ASN1_SIMPLE(tbs_certificate, key, ASN1_SEQUENCE),
    ASN1_IMP_OPT(tbs_certificate, issuer_id, ASN1_BIT_STRING, 1),
    ASN1_IMP_OPT(tbs_certificate, subject_id, ASN1_BIT_STRING, 2),
    ASN1_EXP_OPT(tbs_certificate, extensions, ASN1_ANY, 3),
} static_ASN1_SEQUENCE_END(tbs_certificate)

static const scep_err *not_one(scep_bytes der, apr_pool_t *p)
{
    return scep_fail(p, BAD_MESSAGE, "not one certificate of %lu bytes", (unsigned long)der.len);
}

/* Whoever gets it on (proof.h) takes DER only. */
static const scep_err *in_der(scep_bytes *out, scep_bytes der, const certificate *read,
                              apr_pool_t *p)
{
    scep_cursor c = { der.data, der.len };
    scep_bytes content;
    uint8_t tag;

    *out = der;
    if (scep_cursor_der(&c, &tag, &content))
        return NULL;
    return scep_asn1_write(out, ASN1_ITEM_rptr(certificate), read, p);
}

const scep_err *scep_cert_look(scep_cert **out, scep_bytes der, apr_pool_t *p)
{
    const certificate *read = scep_asn1_read(ASN1_ITEM_rptr(certificate), der, p);
    const tbs_certificate *tbs = NULL;
    scep_cert *cert = apr_pcalloc(p, sizeof(*cert));

    if (read)
        tbs = scep_asn1_read(ASN1_ITEM_rptr(tbs_certificate), scep_asn1_bytes(read->tbs), p);
    if (!tbs)
        return not_one(der, p);
    SCEP_TRY(in_der(&der, der, read, p));
    *cert = (scep_cert){
        .der = der,
        .tbs = read->tbs,
        .spki = scep_asn1_bytes(tbs->key),
        .issuer = tbs->issuer,
        .subject = tbs->subject,
        .serial = tbs->serial,
        .algorithm = read->algorithm,
        .tbs_algorithm = tbs->algorithm,
        .signature = read->signature,
    };
    *out = cert;
    return NULL;
}

const scep_err *scep_cert_read_key(scep_cert *cert, apr_pool_t *p)
{
    return scep_spki_read(&cert->key, &cert->spki, cert->spki, p);
}

const scep_err *scep_cert_view(scep_cert **out, scep_bytes der, apr_pool_t *p)
{
    scep_cert *cert;

    SCEP_TRY(scep_cert_look(&cert, der, p));
    SCEP_TRY(scep_cert_read_key(cert, p));
    *out = cert;
    return NULL;
}

/* RFC 5280 4.1.1.2: the algorithm is named twice, and both are one. */
bool scep_cert_is_signed_by(const scep_cert *cert, EVP_PKEY *key)
{
    bool is_signed = !X509_ALGOR_cmp(cert->algorithm, cert->tbs_algorithm) &&
                     ASN1_item_verify(ASN1_ITEM_rptr(ASN1_SEQUENCE), cert->algorithm,
                                      cert->signature, cert->tbs, key) == 1;

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
