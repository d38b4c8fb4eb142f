/*
 * Public keys out of their SubjectPublicKeyInfo. RFC 5280 4.1.2.7, RFC 8017 A.1.1, RFC 5480 2.
 *
 * OpenSSL 3.0 looks for a decoder anew for each key that it reads (a tenth of a millisecond, inside
 * d2i_X509(), d2i_X509_REQ() and X509_set_pubkey() as well). The two kinds of keys that are
 * accepted are read here by templates of OpenSSL's ASN.1 and handed to EVP_PKEY_fromdata().
 */
#ifndef SCEP_SPKI_H
#define SCEP_SPKI_H

#include "bytes.h"
#include "own.h"

#define SCEP_KEY_HASH 32

/**
 * Read a key: RSA of 1024 to 8192 bits with an odd exponent of at most 64 bits (rsaEncryption with
 * NULL or absent parameters), or EC on the named curves P-256, P-384 and P-521 with a point that is
 * on the curve, compressed or not. What is accepted here OpenSSL accepts, and reads as the same
 * key.
 * @param out in @a p
 * @param spki its DER, in @a p: what two encodings of one key have in common
 * @param ber one element to its last byte, not kept; the key inside of its BIT STRING is DER
 * @return NULL; BAD_ALG: another kind of key, or not readable; its detail is what
 *         scep_algorithm_key_fault() says
 */
SCEP_API SCEP_MUST const scep_err *scep_spki_read(EVP_PKEY **out, scep_bytes *spki, scep_bytes ber,
                                                  apr_pool_t *p);

/** SubjectPublicKeyInfo of a key that OpenSSL holds, encoded anew. @return NULL, or INTERNAL */
SCEP_API SCEP_MUST const scep_err *scep_spki_of(scep_bytes *out, const X509_PUBKEY *key,
                                                apr_pool_t *p);

/** Put a key into a certificate as it is: neither decoded nor encoded. OpenSSL has no EVP_PKEY of
 *  it afterwards. @param der of scep_spki_read(). @return NULL, or INTERNAL */
SCEP_API SCEP_MUST const scep_err *scep_spki_put(X509 *cert, scep_bytes der, apr_pool_t *p);

/** SHA-256 of a SubjectPublicKeyInfo, by which keys are told apart. @return NULL, or INTERNAL */
SCEP_API SCEP_MUST const scep_err *scep_spki_hash(unsigned char out[SCEP_KEY_HASH], scep_bytes der,
                                                  apr_pool_t *p);

#endif
