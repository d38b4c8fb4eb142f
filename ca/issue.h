/* A certificate from a template and a CSR. RFC 5280. */
#ifndef CA_ISSUE_H
#define CA_ISSUE_H

#include "conf.h"
#include "csr.h"

/** A CA that signs: made once, then read by any thread. What stands in each of its certificates is
 *  encoded beforehand, and a signature begins with a copy of a context that is ready for it. */
typedef struct issue_profile issue_profile;
typedef struct issue_ca {
    X509 *cert;
    EVP_PKEY *key;
    EVP_MD_CTX *signing;
    const EVP_MD *sha1;
    scep_bytes issuer, algorithm, authority_id; /* DER */
    apr_int64_t begins, ends;
    const issue_profile *profiles; /* of its templates */
    int n;
} issue_ca;

/**
 * A certificate as it was issued: the bytes that leave, and what is recorded of them, so that
 * nobody has to encode or read it again.
 */
typedef struct issued_cert {
    scep_bytes der;
    scep_bytes spki;          /* the SubjectPublicKeyInfo in it */
    const char *key_hash;     /* SHA-256 of spki, base64 */
    const char *serial;       /* as scep_cert_serial() gives it */
    const char *subject;      /* as scep_name_line() gives it */
    apr_int64_t begins, ends; /* seconds since 1970 */
} issued_cert;

/** @param cert, key live as long as @a p
 *  @param templates of conf_template *, likewise; NULL: none is encoded beforehand
 *  @return NULL, or INTERNAL */
SCEP_MUST const scep_err *issue_ca_make(const issue_ca **out, X509 *cert, EVP_PKEY *key,
                                        const apr_array_header_t *templates, apr_pool_t *p);

/**
 * Sign a certificate: subject and subjectAltName from the request; key usage, EKU, validity,
 * AIA and CDP from the template; SKI, AKI, basicConstraints CA:FALSE; a random serial of 159 bits.
 * notBefore is five minutes ago (clocks of devices), notAfter never beyond the CA's own.
 * SAN is critical where the subject is empty. With template->allow_sid the SID extension is copied.
 * @param csr its subject, key, spki, key_hash and extensions count
 * @return NULL, or INTERNAL (also where the CA itself has ended)
 */
SCEP_MUST const scep_err *issue_certificate(const issued_cert **out, const issue_ca *ca,
                                            const conf_template *template, const scep_csr *csr,
                                            apr_pool_t *p);

/** The digest with which a CA's key signs certificates and CRLs. */
const EVP_MD *issue_digest(const EVP_PKEY *key);

/** What names a CA's key in what it signs: its subjectKeyIdentifier, or SHA-1 of its key.
 *  @return NULL: no memory. The caller frees it */
AUTHORITY_KEYID *issue_authority_id(X509 *ca);

#endif
