/*
 * Which digests, signatures, ciphers, key transports and keys are accepted, and nothing else:
 * the allow-list of RFC 8894 2.9, and the verification of what it lets pass. Private to the
 * library.
 */
#ifndef SCEP_ALGORITHM_H
#define SCEP_ALGORITHM_H

#include "certs.h"
#include "own.h"

/* The two digests of RSA-OAEP and RSA-PSS. */
typedef struct scep_mask {
    const EVP_MD *digest;
    const EVP_MD *mask; /* of MGF1 */
} scep_mask;

/* How a key is transported. */
typedef struct scep_oaep {
    scep_mask mask; /* digests NULL: PKCS#1 v1.5 */
    scep_bytes label;
} scep_oaep;

/* How a SignerInfo is signed. */
typedef struct scep_scheme {
    int key_type; /* EVP_PKEY_RSA or EVP_PKEY_EC: what verifies it */
    const EVP_MD *digest;
    scep_mask pss; /* digests NULL: not RSA-PSS */
    int salt_length;
} scep_scheme;

/** SHA-1/224/256/384/512; MD5 with @a legacy where @a least is 160 or lower.
 *  @param least smallest output in bits; 0: any of them
 *  @return NULL, or BAD_ALG with a detail that names it and what to do */
SCEP_MUST const scep_err *scep_algorithm_digest(const EVP_MD **out, const X509_ALGOR *digest,
                                                int least, bool legacy, apr_pool_t *p);

/** RSA PKCS#1 v1.5, RSA-PSS (never with MD5, its digest that of @a digest, trailer field 1),
 *  ECDSA. @param digest, signature a SignerInfo's digestAlgorithm and signatureAlgorithm; digests
 *  in both obey @a least. @return NULL, or BAD_ALG; out->digest is set once it was acceptable */
SCEP_MUST const scep_err *scep_algorithm_signature(scep_scheme *out, const X509_ALGOR *digest,
                                                   const X509_ALGOR *signature, int least,
                                                   bool legacy, apr_pool_t *p);

/** Verify @a signature over @a what. @param made a context of @a key, which is duplicated; NULL:
 *  there is none yet
 *  @return NULL; BAD_ALG: the key is of another kind; BAD_MESSAGE: it does not verify; INTERNAL */
SCEP_MUST const scep_err *scep_algorithm_verify(const scep_scheme *scheme, EVP_PKEY *key,
                                                const EVP_PKEY_CTX *made, scep_bytes what,
                                                scep_bytes signature, apr_pool_t *p);

/** Does it verify by an algorithm that names both a digest and a kind of key (RFC 5280 4.1.1.2)?
 *  By any that OpenSSL knows: whether it is good enough is for others to say. @param made as above
 */
bool scep_algorithm_is_signed(const X509_ALGOR *algorithm, EVP_PKEY *key, const EVP_PKEY_CTX *made,
                              scep_bytes what, scep_bytes signature, apr_pool_t *p);

/** AES-128/192/256-CBC and 3DES with an IV of their size; single DES with @a legacy.
 *  @return NULL, or BAD_ALG */
SCEP_MUST const scep_err *scep_algorithm_cipher(const EVP_CIPHER **out, const X509_ALGOR *cipher,
                                                bool legacy, apr_pool_t *p);

/** RSA PKCS#1 v1.5 and OAEP. @param oaep its label is in @a p. @return NULL, or BAD_ALG */
SCEP_MUST const scep_err *scep_algorithm_transport(scep_oaep *oaep, const X509_ALGOR *transport,
                                                   apr_pool_t *p);

/** A context of its key for one use. @return NULL: there is none */
EVP_PKEY_CTX *scep_signer_ctx(const scep_signer *signer, apr_pool_t *p);

#define SCEP_FAULT_EC "an EC key must be on P-256, P-384 or P-521, given by name"

/** What is wrong with a public key; NULL where it is RSA of 1024 to 8192 bits with an odd
 *  exponent from 3 to 64 bits, or EC on P-256, P-384 or P-521, given by name. Static memory. */
const char *scep_algorithm_key_fault(const EVP_PKEY *key);

#endif
