/* A PKCS#10 certification request and the facts that SCEP needs of it. RFC 2986, RFC 8894 2.4. */
#ifndef SCEP_CSR_H
#define SCEP_CSR_H

#include "cert.h"

typedef struct scep_csr {
    const X509_NAME *subject;
    EVP_PKEY *key;
    scep_bytes spki;             /* SubjectPublicKeyInfo of key, DER */
    const X509_ALGOR *signature; /* what it was signed by */
    scep_bytes der;              /* the bytes received */
    scep_bytes challenge;        /* UTF-8, wiped with the pool; len 0: none, or the empty string */
    X509_EXTENSIONS *extensions; /* what was asked for; NULL: nothing */
    uint32_t key_usage;          /* KU_DIGITAL_SIGNATURE | … asked for; 0: none asked */
    unsigned char key_hash[32];  /* SHA-256 of spki */
    unsigned char hash[32];      /* SHA-256 of the bytes received */
} scep_csr;

/**
 * Read a CSR and verify its signature over the bytes received (proof of possession, RFC 8894 7.6).
 * Whether its digest is good enough is policy's business (signature).
 * Extensions are taken from PKCS #9 extensionRequest, Microsoft's attribute
 * (1.3.6.1.4.1.311.2.1.14) or Verisign's (draft-23 Appendix A). The challengePassword may have any
 * ASN.1 string type.
 * @param der not copied, must live as long as @a p
 * @return NULL, or UNREADABLE (one code for every fault: see err.h): not one PKCS#10 to the last
 *         byte, over 65536 bytes, nested deeper than 24; over 32 attributes; signature wrong; key
 *         not RSA of 1024 to 8192 bits with an odd exponent of at most 64 bits, nor EC on a named
 *         NIST curve P-256/384/521; an attribute doubled or with other than one value; two of those
 *         for extensions that do not say the same; challenge
 *         over 8192 bytes or with a NUL inside; over 64 extensions; the same extension twice
 */
SCEP_API SCEP_MUST const scep_err *scep_csr_read(scep_csr **out, scep_bytes der, apr_pool_t *p);

/**
 * Its key, spki, der and challenge only, for a worker: scep-ca, which takes nobody's word, reads all
 * of it and verifies the signature. Nothing is known of the rest, which is 0. No answer may depend
 * on what was found here: the CSR may be somebody else's, changed on its way (S-15).
 * Who enrols has mostly signed the message with the key that he asks a certificate for: if so, key
 * is signer->key and not made anew. @param signer NULL: nobody; lives as long as @a p
 * @return as scep_csr_read(), for the parts that are looked at
 */
SCEP_API SCEP_MUST const scep_err *scep_csr_look(scep_csr **out, scep_bytes der,
                                                 const scep_cert *signer, apr_pool_t *p);

#endif
