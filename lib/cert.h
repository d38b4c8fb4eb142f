/*
 * A certificate as far as an enrolment must know it, read without a decoder for its key (spki.h).
 * Nothing is judged. Where more of it counts (a renewal), scep_cert_x509() has OpenSSL's object.
 */
#ifndef SCEP_CERT_H
#define SCEP_CERT_H

#include "spki.h"

typedef struct scep_cert {
    scep_bytes der;            /* the bytes received; so are the next three, and parts of it */
    scep_bytes tbs;            /* what is signed */
    scep_bytes issuer_serial;  /* IssuerAndSerialNumber, DER, made of it: for a recipient */
    scep_bytes spki;
    const X509_NAME *issuer, *subject;
    const ASN1_INTEGER *serial;
    EVP_PKEY *key;
    const X509_ALGOR *signature_algorithm;
    scep_bytes signature;
} scep_cert;

/**
 * @param der DER, one certificate to its last byte; not copied, must live as long as @a p
 * @return NULL; BAD_MESSAGE: no certificate; BAD_ALG: its key, as scep_spki_read()
 */
SCEP_API SCEP_MUST const scep_err *scep_cert_view(scep_cert **out, scep_bytes der, apr_pool_t *p);

/** OpenSSL's object, made anew in @a p. @return NULL, or BAD_MESSAGE: OpenSSL reads it otherwise */
SCEP_API SCEP_MUST const scep_err *scep_cert_x509(X509 **out, const scep_cert *cert, apr_pool_t *p);

#endif
