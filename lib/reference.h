/*
 * What GetCert and GetCRL ask for: a certificate named by issuer and serial number. RFC 8894 3.3.4,
 * 3.3.5. (What CertPoll sends, an IssuerAndSubject, is not read: the transactionID and the signer
 * say which request is meant, and some clients send nonsense there, R-111.)
 */
#ifndef SCEP_REFERENCE_H
#define SCEP_REFERENCE_H

#include "bytes.h"
#include "own.h"

typedef struct scep_reference {
    X509_NAME *issuer;
    scep_bytes issuer_der; /* as sent */
    const char *serial;    /* upper-case hex as scep_cert_serial() gives; "-" before a negative
                              one, so that it is never taken for the certificate without the sign */
} scep_reference;

/**
 * Read an IssuerAndSerialNumber (RFC 5652 10.2.4).
 * @param der messageData of a GetCert or GetCRL; not copied, must live as long as @a p
 * @return NULL, or UNREADABLE (the one code for everything inside an envelope, err.h): not exactly
 *         that in DER, bytes behind it, or a serial number of over 64 bytes
 */
SCEP_API SCEP_MUST const scep_err *scep_reference_serial(scep_reference *out, scep_bytes der,
                                                         apr_pool_t *p);

#endif
