/*
 * A certificate as far as an enrolment must know it, read without a decoder for its key (spki.h).
 * Nothing is judged. Where more of it counts (a renewal), scep_cert_x509() has OpenSSL's object.
 */
#ifndef SCEP_CERT_H
#define SCEP_CERT_H

#include "spki.h"

#include <stdbool.h>

typedef struct scep_cert {
    scep_bytes der;  /* the bytes received; made anew where their outer element was BER */
    scep_bytes tbs;  /* what is signed, with tag and length, as received */
    scep_bytes spki; /* SubjectPublicKeyInfo; DER once the key was read */
    scep_bytes issuer, subject; /* DER, not decoded: whether each is a Name nobody has looked */
    const ASN1_INTEGER *serial;
    EVP_PKEY *key;     /* NULL: not read yet */
    EVP_PKEY_CTX *ctx; /* of key, to be duplicated: to make one costs more. NULL as key */
} scep_cert;

/**
 * All but the key: to choose among certificates takes none of their keys.
 * @param der one certificate to its last byte; not copied, must live as long as @a p
 * @return NULL; BAD_MESSAGE: no certificate
 */
SCEP_API SCEP_MUST const scep_err *scep_cert_look(scep_cert **out, scep_bytes der, apr_pool_t *p);

/** Its key, too. @return NULL; BAD_ALG: as scep_spki_read() */
SCEP_API SCEP_MUST const scep_err *scep_cert_read_key(scep_cert *cert, apr_pool_t *p);

/** Does it name @a name as its issuer, in whatever encoding? */
SCEP_API bool scep_cert_names_issuer(const scep_cert *cert, const X509_NAME *name);

/** Was it signed by @a key? */
SCEP_API bool scep_cert_is_signed_by(const scep_cert *cert, EVP_PKEY *key);

/** OpenSSL's object, made anew in @a p. @return NULL, or BAD_MESSAGE: OpenSSL reads it otherwise */
SCEP_API SCEP_MUST const scep_err *scep_cert_x509(X509 **out, const scep_cert *cert, apr_pool_t *p);

#endif
