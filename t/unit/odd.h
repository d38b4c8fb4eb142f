/*
 * Odd certificates and keys, as devices really send them or an attacker would. The certificates
 * are of fixture_key(0) where nothing else is said, and self-signed.
 */
#ifndef ODD_H
#define ODD_H

#include "fixture.h"

X509 *odd_expired(apr_pool_t *p);
X509 *odd_not_yet_valid(apr_pool_t *p);
X509 *odd_for_certificates_only(apr_pool_t *p);
X509 *odd_negative_serial(apr_pool_t *p);
X509 *odd_long_serial(apr_pool_t *p);
X509 *odd_version_1(apr_pool_t *p);
X509 *odd_signed_with_md5(apr_pool_t *p);
/* Issuer and subject are the same, and another key signed it. */
X509 *odd_badly_signed(apr_pool_t *p);
/* Issued by the fixture's CA. */
X509 *odd_issued(apr_pool_t *p);
EVP_PKEY *odd_rsa_1024(apr_pool_t *p);
EVP_PKEY *odd_rsa_768(apr_pool_t *p);
EVP_PKEY *odd_p256(apr_pool_t *p);
EVP_PKEY *odd_p384(apr_pool_t *p);
EVP_PKEY *odd_p521(apr_pool_t *p);
EVP_PKEY *odd_secp256k1(apr_pool_t *p);
EVP_PKEY *odd_ed25519(apr_pool_t *p);
/* P-256, with the curve's parameters written out instead of its name. */
EVP_PKEY *odd_explicit_curve(apr_pool_t *p);
/* RSA with a public exponent of 65 bits. */
EVP_PKEY *odd_long_exponent(apr_pool_t *p);
X509 *odd_elliptic_recipient(apr_pool_t *p);
/* Of fixture_key(1). */
X509 *odd_other_certificate(apr_pool_t *p);
/* Named as odd_long_serial() is, but of fixture_key(1). */
X509 *odd_same_name_other_key(apr_pool_t *p);
/* Named as odd_long_serial() is, but of an RSA key of 16384 bits. */
X509 *odd_huge_key(apr_pool_t *p);
/* Named as odd_long_serial() is, but of an Ed25519 key. */
X509 *odd_edwards_key(apr_pool_t *p);

#endif
