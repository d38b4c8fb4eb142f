/* A certificate from a template and a CSR. RFC 5280. */
#ifndef CA_ISSUE_H
#define CA_ISSUE_H

#include "conf.h"
#include "csr.h"

typedef struct issue_ca {
    X509 *cert;
    EVP_PKEY *key;
} issue_ca;

/**
 * Sign a certificate: subject and subjectAltName from the request; key usage, EKU, validity,
 * AIA and CDP from the template; SKI, AKI, basicConstraints CA:FALSE; a random serial of 159 bits.
 * notBefore is five minutes ago (clocks of devices), notAfter never beyond the CA's own.
 * SAN is critical where the subject is empty. With template->allow_sid the SID extension is copied.
 * @return NULL, or INTERNAL (also where the CA itself has ended)
 */
SCEP_MUST const scep_err *issue_certificate(X509 **out, const issue_ca *ca,
                                            const conf_template *template, const scep_csr *csr,
                                            apr_pool_t *p);

/** The digest with which a CA's key signs certificates and CRLs. */
const EVP_MD *issue_digest(const EVP_PKEY *key);

/** What names a CA's key in what it signs: its subjectKeyIdentifier, or SHA-1 of its key.
 *  @return NULL: no memory. The caller frees it */
AUTHORITY_KEYID *issue_authority_id(X509 *ca);

/** notBefore or notAfter in seconds since 1970. @return NULL, or INTERNAL */
SCEP_MUST const scep_err *issue_seconds(apr_int64_t *out, const ASN1_TIME *time, apr_pool_t *p);

#endif
