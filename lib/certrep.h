/*
 * A reply: CertRep. RFC 8894 3.3.2. The keys are handed in; nothing here loads or keeps one.
 *
 * Every reply copies the request's transactionID and senderNonce (where it has one) and carries
 * a fresh senderNonce; its signer's certificate is sent along.
 */
#ifndef SCEP_CERTREP_H
#define SCEP_CERTREP_H

#include "certs.h"
#include "message.h"

/**
 * Could a SUCCESS be encrypted? To be asked before there is a certificate that could then not be
 * delivered.
 * @param request one that scep_message_open() accepted
 * @param challenge of the request's CSR; len 0: none
 * @return NULL; BAD_ALG where the request's signer key is not RSA and there is no challenge, or is
 *         RSA and too short for RSA-OAEP with the request's digest (RFC 8017 7.1.1)
 */
SCEP_API SCEP_MUST const scep_err *scep_certrep_is_possible(const scep_message *request,
                                                            scep_bytes challenge, apr_pool_t *p);

/**
 * SUCCESS: @a leaf and @a certs behind it in a degenerate SignedData, encrypted with the request's
 * cipher and signed with the request's digest. DES and MD5, which only a request accepted
 * with SCEPLegacyAlgorithms has, are mirrored too.
 *
 * To whom (RFC 8894 3.1): a request signed by an RSA key is answered by key transport to the
 * certificate that signed it, with PKCS#1 v1.5 or OAEP as the request has it. Any other key
 * cannot receive that; its reply is encrypted by a password (RFC 3211), the challenge, whose
 * UTF-8 bytes are used as they are. Key agreement, which no SCEP client expects, is never used.
 * @param request one that scep_message_open() accepted
 * @param leaf the certificate, DER, not looked into; len 0: @a certs has it first
 * @param challenge of the request's CSR; len 0: none
 * @return NULL; BAD_ALG as scep_certrep_is_possible(); INTERNAL
 */
SCEP_API SCEP_MUST const scep_err *
scep_certrep_success(scep_bytes *out, const scep_message *request, scep_bytes leaf,
                     const STACK_OF(X509) * certs, scep_bytes challenge, const scep_signer *ra,
                     apr_pool_t *p);

/**
 * SUCCESS to a GetCRL: the one CRL and no certificate (RFC 8894 3.3.2.1, draft-23 3.2.2.1),
 * otherwise as scep_certrep_success().
 * @param crl_der one CRL to the last byte
 * @return NULL; BAD_ALG as above; INTERNAL, also where @a crl_der is no CRL
 */
SCEP_API SCEP_MUST const scep_err *scep_certrep_crl(scep_bytes *out, const scep_message *request,
                                                    scep_bytes crl_der, scep_bytes challenge,
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
