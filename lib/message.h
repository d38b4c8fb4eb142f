/*
 * A request: a pkiMessage taken apart and verified, without any private key. RFC 8894 3.1, 3.2.
 *
 * Cheap checks come before dear ones: structure, one signer, attributes, algorithm allow-list,
 * signature. Nothing here says who the signer is (that is policy) or opens the envelope (ra.h).
 */
#ifndef SCEP_MESSAGE_H
#define SCEP_MESSAGE_H

#include "bytes.h"
#include "own.h"

#include <stdbool.h>

/* RFC 8894 3.2.1.2; others are undefined and refused. */
enum {
    SCEP_CERT_REP = 3,
    SCEP_RENEWAL_REQ = 17,
    SCEP_PKCS_REQ = 19,
    SCEP_CERT_POLL = 20,
    SCEP_GET_CERT = 21,
    SCEP_GET_CRL = 22
};

/* What an administrator accepts. */
typedef struct scep_accept {
    int minimum_hash_bits; /* output size of the weakest digest: 160 for SHA-1, 256 for SHA-256 */
} scep_accept;

typedef struct scep_message {
    int message_type;          /* as sent; 0 where it is missing or no number */
    scep_bytes transaction_id; /* 1 to 255 bytes, verbatim */
    scep_bytes sender_nonce;   /* at most 64 bytes, verbatim; len 0: none was sent */
    X509 *signer;              /* found by the SignerInfo's sid among the certificates sent */
    EVP_PKEY *signer_key;
    bool self_signed;          /* issuer name is subject name, and its own key verifies it */
    const EVP_MD *digest;      /* of the signature; NULL where it is not one of ours */
    const EVP_CIPHER *cipher;  /* of the envelope's content; NULL until it was found acceptable */
    CMS_ContentInfo *envelope; /* EnvelopedData with exactly one key-transport recipient */
    CMS_RecipientInfo *recipient; /* that one; belongs to the envelope */
} scep_message;

/**
 * Take a request apart and verify its signature.
 * @param out the message, in @a p. Set even together with an error once the transactionID was
 *        read: such a request is answered by a signed FAILURE. NULL with an error: not answerable
 * @param der bytes from the network; BER is accepted; must live as long as @a p
 * @return NULL, or
 *   UNDECODABLE  not a CMS SignedData, bytes behind it, no signer or several, no signed
 *                attributes, no usable transactionID (*out is NULL)
 *   BAD_REQUEST  messageType missing, doubled, not a PrintableString, not decimal or not defined
 * for a request; senderNonce doubled or over 64 bytes; eContent missing or not data; the content is
 * not an EnvelopedData with one key-transport recipient BAD_ALG      a digest, signature, cipher or
 * key transport outside the allow-list (the detail names it and what to do) BAD_MESSAGE  signer
 * certificate not sent, or the signature does not verify Allow-list: SHA-1/224/256/384/512 down to
 * accept->minimum_hash_bits; RSA PKCS#1 v1.5, RSA-PSS and ECDSA signatures, RSA keys of 1024 to
 * 8192 bits; AES-128/192/256-CBC and 3DES; RSA PKCS#1 v1.5 and OAEP key transport. It is checked
 * before the signature and before any private-key operation. The message type is returned as sent
 * when it is one of 17, 19, 20, 21, 22; whether the service serves it is the caller's business. Not
 * checked: validity time, key usage and self-signature quality of the signer certificate, which
 * mean nothing in SCEP (draft-23 8.6).
 */
SCEP_API SCEP_MUST const scep_err *scep_message_open(scep_message **out, scep_bytes der,
                                                     const scep_accept *accept, apr_pool_t *p);

#endif
