/*
 * A registration authority's two identities: one signs replies, the other opens requests
 * (RFC 8894 2.1.2, 7.2). They may be one certificate with both key usages; neither is ever the
 * CA's issuing key.
 */
#ifndef SCEP_RA_H
#define SCEP_RA_H

#include "certrep.h"

typedef struct scep_ra {
    scep_signer sign;    /* RSA or EC */
    scep_signer decrypt; /* RSA: SCEP transports keys with RSA only */
} scep_ra;

/**
 * Check that two pairs make an RA under @a ca.
 * @param ca the issuing CA's certificate
 * @return NULL, or CONFIG: a key does not belong to its certificate; a key usage is missing
 *         (digitalSignature to sign, keyEncipherment to decrypt); the decryption key is not RSA
 *         of at least 2048 bits; a key is the CA's own; not signed by @a ca; not valid now
 * The pairs are not copied and must live as long as @a ra.
 */
SCEP_API SCEP_MUST const scep_err *scep_ra_check(const scep_ra *ra, X509 *ca, apr_pool_t *p);

/**
 * Open the envelope of a verified request: the first private-key operation of an enrolment.
 * The certificate is always given to CMS_decrypt, so that a wrong RSA block gives a random
 * content key instead of an answer (million message attack, S-15).
 * @param plain the messageData, wiped with @a p
 * @return NULL, or UNREADABLE: meant for another recipient, or it does not decrypt
 */
SCEP_API SCEP_MUST const scep_err *scep_ra_decrypt(scep_bytes *plain, const scep_ra *ra,
                                                   const scep_message *message, apr_pool_t *p);

#endif
