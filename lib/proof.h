/*
 * A proof of renewal: the part of a verified pkiMessage that shows who signed what. Whoever takes
 * requests from the network hands it to whoever holds the CA's key, who believes nothing but the
 * signature and takes no SignedData apart: everything signed is read by the bounded cursor of
 * bytes.h. RFC 5652 5.4, RFC 8894 3.3.1.
 */
#ifndef SCEP_PROOF_H
#define SCEP_PROOF_H

#include "message.h"

typedef struct scep_proof {
    scep_bytes signer;              /* certificate, DER */
    scep_bytes attributes;          /* the signed attributes as DER SET OF, as they are signed */
    scep_bytes digest_algorithm;    /* AlgorithmIdentifier, DER */
    scep_bytes signature_algorithm; /* AlgorithmIdentifier, DER */
    scep_bytes signature;
    scep_bytes content; /* eContent: the EnvelopedData, BER or DER as it was signed */
} scep_proof;

/**
 * Take the proof out of a message.
 * @param message one that scep_message_open() accepted
 * @param out views of @a message and memory of @a p. @return NULL, or INTERNAL
 */
SCEP_API SCEP_MUST const scep_err *scep_proof_take(scep_proof *out, const scep_message *message,
                                                   apr_pool_t *p);

/**
 * Verify a proof and read what it proves. In this order: every part is one DER element to its last
 * byte; algorithms and key by the allow-list of message.h; the signature; the attributes
 * (contentType, messageDigest, messageType and transactionID once each with one value of its type,
 * senderNonce at most once; any other is stepped over); contentType is data; messageDigest
 * is the digest of the content; messageType is 17 or 19. The content is not looked into: anybody
 * can sign one, so its CMS comes after the rules of renewal.
 * Not checked, as with scep_message_open(): who the signer is, and whether its certificate is good.
 * @param out the message, for the rules of renewal and scep_proof_open(); no proof can be taken
 *        out of it again. NULL with any error
 * @param proof bytes that are not believed; they must live as long as @a p
 * @return NULL, or
 *   UNDECODABLE  the attributes are not DER, or transactionID is missing, doubled or not usable
 *   BAD_REQUEST, BAD_TIME, BAD_ALG  as scep_message_open(), and any other messageType
 *   BAD_MESSAGE  the signer's certificate cannot be read, the signature does not verify, or
 *                contentType or messageDigest is not what RFC 5652 5.4 demands
 */
SCEP_API SCEP_MUST const scep_err *scep_proof_check(scep_message **out, const scep_proof *proof,
                                                    const scep_accept *accept, apr_pool_t *p);

/**
 * Read the envelope of a proof whose signer is known to be good, with the checks of
 * scep_message_open().
 * @param m of scep_proof_check(), once; afterwards for scep_ra_decrypt()
 * @return NULL; BAD_REQUEST or BAD_ALG as scep_message_open(); INTERNAL: another message
 */
SCEP_API SCEP_MUST const scep_err *scep_proof_open(scep_message *m, const scep_accept *accept,
                                                   apr_pool_t *p);

#endif
