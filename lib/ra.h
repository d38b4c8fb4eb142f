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
 * Check that two pairs make an RA under @a ca, whatever the date is.
 * @param ca the issuing CA's certificate
 * @return NULL, or CONFIG: a key does not belong to its certificate; a key usage is missing
 *         (digitalSignature to sign, keyEncipherment to decrypt); the signing key is neither RSA
 *         nor EC, or the decryption key not RSA of at least 2048 bits; a key is the CA's own; not
 *         signed by @a ca
 * The pairs are not copied and must live as long as @a ra.
 */
SCEP_API SCEP_MUST const scep_err *scep_ra_check(const scep_ra *ra, X509 *ca, apr_pool_t *p);

/** Have ready what each use of the keys begins with: without it, which is no fault, each use makes
 *  it anew. To be called once, before other threads use @a ra. */
SCEP_API void scep_ra_prepare(scep_ra *ra, apr_pool_t *p);

/** Are both certificates valid now? @return NULL, or CONFIG: expired, or not valid yet */
SCEP_API SCEP_MUST const scep_err *scep_ra_check_dates(const scep_ra *ra, apr_pool_t *p);

/**
 * The RA that a request is encrypted to. The recipient is looked for, in the whole list each time,
 *   1. as a decryption certificate, by issuer and serial number or by key identifier;
 *   2. likewise as a signing certificate with an RSA key: some clients take the other one of two
 *      RA certificates;
 *   3. as a certificate of that serial number, where the issuer's name is written in another
 *      order or encoding.
 * Certificates are enough for it: the private keys may be NULL.
 * @param list the current RA first, then a next one and former ones that still open requests
 * @param message may be one that was refused before its recipient was found: that is nobody's
 * @return NULL: none of them. The envelope of an accepted message is then given to the first RA's
 * scep_ra_decrypt() nevertheless, which costs what a failed decryption costs
 */
SCEP_API const scep_ra *scep_ra_pick(const scep_ra *const *list, int n,
                                     const scep_message *message);

/**
 * Open the envelope of a verified request: the first private-key operation of an enrolment.
 * A wrong RSA block gives a random content key instead of an answer (million message attack, S-15;
 * RFC 3218 2.3.2). An envelope for somebody else costs the same private operation, and then fails
 * in the same way.
 * @param plain the messageData, wiped with @a p
 * @return NULL; UNREADABLE: meant for another recipient, or it does not decrypt; the detail
 *         tells these two apart for the operator and nothing more; UNAVAILABLE: it did not
 *         decrypt, and the token of the key is away, whatever was sent
 */
SCEP_API SCEP_MUST const scep_err *scep_ra_decrypt(scep_bytes *plain, const scep_ra *ra,
                                                   const scep_message *message, apr_pool_t *p);

#endif
