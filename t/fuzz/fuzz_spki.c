/*
 * lib/spki.h, lib/cert.h: input is a SubjectPublicKeyInfo, or a certificate. What is accepted
 * OpenSSL reads as the same, and whatever key OpenSSL reads and writes again byte for byte is
 * accepted where it is of a kind that SCEP knows.
 */
#include "fuzz.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <string.h>

static bool is_good_rsa(const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    BIGNUM *e = NULL;
    bool good = bits >= 1024 && bits <= 8192 &&
                EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) && BN_is_odd(e) &&
                !BN_is_one(e) && BN_num_bits(e) <= 64;

    BN_free(e);
    return good;
}

static bool is_good_ec(const EVP_PKEY *key)
{
    char group[32], form[32];
    int explicit_curve = 1;
    size_t len;

    return EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                                  &explicit_curve) &&
           !explicit_curve && EVP_PKEY_get_group_name(key, group, sizeof(group), &len) &&
           (!strcmp(group, SN_X9_62_prime256v1) || !strcmp(group, SN_secp384r1) ||
            !strcmp(group, SN_secp521r1)) &&
           EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, form,
                                          sizeof(form), &len) &&
           strcmp(form, "hybrid") != 0;
}

static bool is_written_again(const EVP_PKEY *key, scep_bytes der)
{
    unsigned char *again = NULL;
    int len = i2d_PUBKEY(key, &again);
    bool same = len > 0 && scep_bytes_equal(der, (scep_bytes){ again, (size_t)len });

    OPENSSL_free(again);
    return same;
}

static void check_key(scep_bytes der, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    EVP_PKEY *theirs = scep_EVP_PKEY(p, d2i_PUBKEY(NULL, &at, (long)der.len)), *key;
    const scep_err *err;
    scep_bytes spki;
    bool good = false;

    if (theirs && EVP_PKEY_get_base_id(theirs) == EVP_PKEY_RSA)
        good = is_good_rsa(theirs);
    else if (theirs && EVP_PKEY_get_base_id(theirs) == EVP_PKEY_EC)
        good = is_good_ec(theirs);
    err = scep_spki_read(&key, &spki, der, p);
    if (err) {
        FIXTURE_MUST(err->code == SCEP_BAD_ALG);
        FIXTURE_MUST(!good || !is_written_again(theirs, der));
        return;
    }
    FIXTURE_MUST(good && at == der.data + der.len && EVP_PKEY_eq(key, theirs) == 1);
}

static void check_certificate(scep_bytes der, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    scep_cert *cert;
    X509 *theirs;

    if (scep_cert_look(&cert, der, p) || scep_cert_x509(&theirs, cert, p))
        return;
    FIXTURE_MUST(fuzz_is_name(cert->issuer, X509_get_issuer_name(theirs)) &&
                 fuzz_is_name(cert->subject, X509_get_subject_name(theirs)) &&
                 scep_cert_names_issuer(cert, X509_get_issuer_name(theirs)) &&
                 !ASN1_INTEGER_cmp(cert->serial, X509_get0_serialNumber(theirs)));
    FIXTURE_MUST(scep_cert_is_signed_by(cert, keys->ca.key) ==
                 (X509_verify(theirs, keys->ca.key) == 1));
    if (!scep_cert_read_key(cert, p))
        FIXTURE_MUST(EVP_PKEY_eq(cert->key, X509_get0_pubkey(theirs)) == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();

    check_key((scep_bytes){ data, size }, p);
    check_certificate((scep_bytes){ data, size }, p);
    ERR_clear_error();
    fuzz_end(p);
    return 0;
}
