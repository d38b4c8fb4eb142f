/* Odd certificates and keys. */
#include "odd.h"

#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include <string.h>

X509 *odd_expired(apr_pool_t *p)
{
    X509 *cert = fixture_cert("old", fixture_key(0), NULL, NULL, false, 0, p);

    FIXTURE_MUST(X509_gmtime_adj(X509_getm_notBefore(cert), -7200) &&
                 X509_gmtime_adj(X509_getm_notAfter(cert), -3600));
    fixture_resign(cert, fixture_key(0));
    return cert;
}

X509 *odd_not_yet_valid(apr_pool_t *p)
{
    X509 *cert = fixture_cert("new", fixture_key(0), NULL, NULL, false, 0, p);

    FIXTURE_MUST(X509_gmtime_adj(X509_getm_notBefore(cert), 3600));
    fixture_resign(cert, fixture_key(0));
    return cert;
}

X509 *odd_for_certificates_only(apr_pool_t *p)
{
    return fixture_cert("odd", fixture_key(0), NULL, NULL, false, KU_KEY_CERT_SIGN, p);
}

static X509 *with_serial(const char *hex, apr_pool_t *p)
{
    X509 *cert = fixture_cert("device", fixture_key(0), NULL, NULL, false, 0, p);
    BIGNUM *serial = NULL;

    FIXTURE_MUST(BN_hex2bn(&serial, hex) &&
                 BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)));
    BN_free(serial);
    fixture_resign(cert, fixture_key(0));
    return cert;
}

X509 *odd_negative_serial(apr_pool_t *p)
{
    return with_serial("-1234567890ABCDEF", p);
}

X509 *odd_long_serial(apr_pool_t *p)
{
    return with_serial("4134414343424630314442413532303642443141394435383137374635463830", p);
}

X509 *odd_version_1(apr_pool_t *p)
{
    X509 *cert = fixture_cert("device", fixture_key(0), NULL, NULL, false, 0, p);

    while (X509_get_ext_count(cert) > 0)
        X509_EXTENSION_free(X509_delete_ext(cert, 0));
    FIXTURE_MUST(X509_set_version(cert, X509_VERSION_1));
    fixture_resign(cert, fixture_key(0));
    return cert;
}

X509 *odd_signed_with_md5(apr_pool_t *p)
{
    X509 *cert = fixture_cert("device", fixture_key(0), NULL, NULL, false, 0, p);

    FIXTURE_MUST(X509_sign(cert, fixture_key(0), EVP_md5()) > 0);
    return cert;
}

X509 *odd_badly_signed(apr_pool_t *p)
{
    X509 *cert = fixture_cert("device", fixture_key(0), NULL, NULL, false, 0, p);

    fixture_resign(cert, fixture_key(1));
    return cert;
}

X509 *odd_issued(apr_pool_t *p)
{
    const fixture_ca *ca = fixture_ca_get();

    return fixture_cert("device", fixture_key(0), ca->root, ca->root_key, false, 0, p);
}

EVP_PKEY *odd_rsa_1024(apr_pool_t *p)
{
    return fixture_key_make(1024, NULL, p);
}

EVP_PKEY *odd_rsa_768(apr_pool_t *p)
{
    return fixture_key_make(768, NULL, p);
}

EVP_PKEY *odd_p256(apr_pool_t *p)
{
    return fixture_key_make(0, "P-256", p);
}

EVP_PKEY *odd_ed25519(apr_pool_t *p)
{
    EVP_PKEY *key = scep_EVP_PKEY(p, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));

    FIXTURE_MUST(key);
    return key;
}

EVP_PKEY *odd_p384(apr_pool_t *p)
{
    return fixture_key_make(0, "P-384", p);
}

EVP_PKEY *odd_p521(apr_pool_t *p)
{
    return fixture_key_make(0, "P-521", p);
}

EVP_PKEY *odd_secp256k1(apr_pool_t *p)
{
    return fixture_key_make(0, "secp256k1", p);
}

EVP_PKEY *odd_explicit_curve(apr_pool_t *p)
{
    EVP_PKEY *named = fixture_key_make(0, "P-256", p), *read;
    unsigned char *der = NULL;
    const unsigned char *at;
    int len;

    FIXTURE_MUST(EVP_PKEY_set_utf8_string_param(named, OSSL_PKEY_PARAM_EC_ENCODING, "explicit"));
    len = i2d_PrivateKey(named, &der);
    at = der;
    read = scep_EVP_PKEY(p, d2i_AutoPrivateKey(NULL, &at, len));
    OPENSSL_free(der);
    FIXTURE_MUST(len > 0 && read);
    return read;
}

/* 2^64 + 13: a prime of 65 bits. */
EVP_PKEY *odd_long_exponent(apr_pool_t *p)
{
    EVP_PKEY_CTX *ctx = scep_EVP_PKEY_CTX(p, EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL));
    EVP_PKEY *key = NULL;
    BIGNUM *e = NULL;

    FIXTURE_MUST(ctx && BN_hex2bn(&e, "1000000000000000D") && EVP_PKEY_keygen_init(ctx) > 0 &&
                 EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 1024) > 0 &&
                 EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) > 0 &&
                 EVP_PKEY_generate(ctx, &key) > 0);
    BN_free(e);
    return scep_EVP_PKEY(p, key);
}

X509 *odd_elliptic_recipient(apr_pool_t *p)
{
    return fixture_cert("ec", odd_p256(p), NULL, NULL, false, 0, p);
}

X509 *odd_other_certificate(apr_pool_t *p)
{
    return fixture_cert("other", fixture_key(1), NULL, NULL, false, 0, p);
}

/* Names what the SignerInfo of odd_long_serial(p) names, but has another key. */
X509 *odd_same_name_other_key(apr_pool_t *p)
{
    X509 *cert = odd_long_serial(p);

    FIXTURE_MUST(X509_set_pubkey(cert, fixture_key(1)));
    fixture_resign(cert, fixture_key(1));
    return cert;
}

X509 *odd_edwards_key(apr_pool_t *p)
{
    X509 *cert = odd_long_serial(p);

    FIXTURE_MUST(X509_set_pubkey(cert, odd_ed25519(p)));
    fixture_resign(cert, fixture_key(0));
    return cert;
}

/* S-43: the modulus has 16384 bits; nobody needs to know its factors. */
X509 *odd_huge_key(apr_pool_t *p)
{
    unsigned char modulus[2048], der[2200];
    const unsigned char head[] = { 0x30, 0x82, 0x08, 0x0A, 0x02, 0x82, 0x08, 0x01, 0x00 };
    const unsigned char tail[] = { 0x02, 0x03, 0x01, 0x00, 0x01 };
    const unsigned char *at = der;
    X509 *cert = odd_long_serial(p);
    EVP_PKEY *key;

    memset(modulus, 0xA5, sizeof(modulus));
    memcpy(der, head, sizeof(head));
    memcpy(der + sizeof(head), modulus, sizeof(modulus));
    memcpy(der + sizeof(head) + sizeof(modulus), tail, sizeof(tail));
    key = scep_EVP_PKEY(p, d2i_PublicKey(EVP_PKEY_RSA, NULL, &at,
                                         (long)(sizeof(head) + sizeof(modulus) + sizeof(tail))));
    FIXTURE_MUST(key && X509_set_pubkey(cert, key));
    fixture_resign(cert, fixture_key(0));
    return cert;
}
