/* Certificates in lists: PEM files in, degenerate SignedData out. */
#ifndef SCEP_CERTS_H
#define SCEP_CERTS_H

#include "bytes.h"
#include "own.h"

/**
 * A degenerate SignedData (no signer, no content; RFC 8894 3.4) of @a certs in the given order.
 * Built with PKCS7_*: CMS_* sorts the set, and clients take the first certificate as theirs.
 */
SCEP_API SCEP_MUST const scep_err *
scep_certs_degenerate(scep_bytes *out, const STACK_OF(X509) * certs, apr_pool_t *p);

/** Read all certificates of a PEM file. @param out never empty; certificates and stack belong to
 *  @a p. @return NULL, or CONFIG naming the file and what is wrong */
SCEP_API SCEP_MUST const scep_err *scep_certs_load(STACK_OF(X509) * *out, const char *path,
                                                   apr_pool_t *p);

/** DER of one certificate. */
SCEP_API SCEP_MUST const scep_err *scep_cert_der(scep_bytes *out, const X509 *cert, apr_pool_t *p);

/** The certificate of @a der, all of it. @return NULL, or INTERNAL */
SCEP_API SCEP_MUST const scep_err *scep_cert_read(X509 **out, scep_bytes der, apr_pool_t *p);

/** Upper-case hex of the serial number, without sign or leading zeros beyond whole bytes. */
SCEP_API char *scep_cert_serial(const X509 *cert, apr_pool_t *p);

/** The subject as one line in RFC 2253 order with UTF-8 escaped; safe to log. */
SCEP_API char *scep_name_line(const X509_NAME *name, apr_pool_t *p);

#endif
