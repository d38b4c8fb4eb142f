/*
 * A reply: CertRep. RFC 8894 3.3.2. The keys are handed in; nothing here loads or keeps one.
 */
#ifndef SCEP_CERTREP_H
#define SCEP_CERTREP_H

#include "message.h"

/** Who signs. */
typedef struct scep_signer {
    X509 *cert;
    EVP_PKEY *key;
} scep_signer;

/**
 * SUCCESS: @a certs (leaf first) in a degenerate SignedData, encrypted to the request's signer
 * certificate with the request's cipher, signed with the request's digest.
 * @param request one that scep_message_open() accepted
 * @return NULL; BAD_ALG where the request's signer key cannot receive key transport (not RSA);
 *         INTERNAL
 */
SCEP_API SCEP_MUST const scep_err *scep_certrep_success(scep_bytes *out,
                                                        const scep_message *request,
                                                        const STACK_OF(X509) * certs,
                                                        const scep_signer *ra, apr_pool_t *p);

/**
 * FAILURE: no content (RFC 8894 3.3.2.2), a fresh senderNonce, transactionID and nonce of the
 * request copied.
 * @param request may be one that scep_message_open() returned together with an error
 * @param fail_info 0 to 4
 * @param text failInfoText in UTF-8, at most 255 bytes; NULL: none
 * @param fallback digest where the request's own is unknown or not acceptable
 */
SCEP_API SCEP_MUST const scep_err *scep_certrep_failure(scep_bytes *out,
                                                        const scep_message *request, int fail_info,
                                                        const char *text, const EVP_MD *fallback,
                                                        const scep_signer *ra, apr_pool_t *p);

/** PENDING: no content, no failInfo (RFC 8894 3.3.2.3). */
SCEP_API SCEP_MUST const scep_err *scep_certrep_pending(scep_bytes *out,
                                                        const scep_message *request,
                                                        const scep_signer *ra, apr_pool_t *p);

#endif
