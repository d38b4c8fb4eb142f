/*
 * A request: a pkiMessage taken apart and verified, without any private key. RFC 8894 3.1, 3.2.
 *
 * Cheap checks come before dear ones: structure, one signer, attributes, algorithm allow-list,
 * signature. Nothing here says who the signer is (that is policy) or opens the envelope (ra.h).
 */
#ifndef SCEP_MESSAGE_H
#define SCEP_MESSAGE_H

#include "cert.h"

/* RFC 8894 3.2.1.2; others are undefined and refused. */
enum {
    SCEP_CERT_REP = 3,
    SCEP_RENEWAL_REQ = 17,
    SCEP_PKCS_REQ = 19,
    SCEP_CERT_POLL = 20,
    SCEP_GET_CERT = 21,
    SCEP_GET_CRL = 22
};

/* What an administrator accepts. Zeroed: everything but what legacy names. */
typedef struct scep_accept {
    int minimum_hash_bits; /* output size of the weakest digest: 160 for SHA-1, 256 for SHA-256 */
    bool legacy;           /* MD5 (where minimum_hash_bits is 160 or lower) and single DES too */
    bool nonce_required;   /* a request without senderNonce is refused */
    int clock_skew;        /* minutes that signingTime may be off; 0: it is not looked at */
} scep_accept;

/* An EnvelopedData with exactly one recipient, who uses key transport. RFC 5652 6.1, 6.2.1 */
typedef struct scep_envelope {
    scep_bytes issuer; /* of the recipient, a Name as received; len 0: it is named by its key_id */
    const ASN1_INTEGER *serial; /* NULL as above */
    scep_bytes key_id;
    const X509_ALGOR *transport;
    scep_bytes key; /* encrypted */
    const X509_ALGOR *cipher;
    scep_bytes content; /* encrypted */
} scep_envelope;

typedef struct scep_message {
    int message_type;          /* as sent; 0 where it is missing or no number */
    scep_bytes transaction_id; /* 1 to 255 bytes, verbatim */
    scep_bytes sender_nonce;   /* at most 64 bytes, verbatim; len 0: none was sent */
    const scep_cert *signer;   /* found by the SignerInfo's sid among the certificates sent */
    EVP_PKEY *signer_key;
    const EVP_MD *digest;     /* of the signature; NULL where it is not one of ours */
    const EVP_CIPHER *cipher; /* of the envelope's content; NULL until it was found acceptable */
    const scep_envelope *envelope; /* NULL: not found, or not looked for yet */
    OSSL_LIB_CTX *context; /* of cipher. NULL: OpenSSL's own; single DES lives in a private one */
    /* What a proof of renewal (proof.h) is made of. */
    scep_bytes digest_algorithm;    /* DER; empty: the message came out of a proof */
    scep_bytes signature_algorithm; /* likewise */
    scep_bytes signature;
    scep_bytes attributes; /* signed ones as DER SET OF, as they are signed; empty as above */
    scep_bytes content;    /* eContent */
} scep_message;

/**
 * Take a request apart and verify its signature.
 *
 * Allow-list: SHA-1/224/256/384/512 down to accept->minimum_hash_bits; RSA PKCS#1 v1.5, RSA-PSS
 * (its digest that of the message, trailer field 1) and ECDSA signatures; RSA keys of 1024 to 8192
 * bits, EC on P-256, P-384 and P-521; AES-128/192/256-CBC and 3DES; RSA PKCS#1 v1.5 and OAEP key
 * transport. With accept->legacy also MD5 (not in RSA-PSS or OAEP) and single DES, which are
 * computed in a library context of their own: the process's OpenSSL never learns them. It is
 * checked before the signature and before any private-key operation.
 *
 * Bounds, found on the bytes before OpenSSL decodes any: at most 16 certificates and 16 CRLs,
 * elements nested at most 24 deep, tag numbers below 31, in the message and in its envelope; and at
 * most 64 signed attributes.
 *
 * Not checked: validity time, key usage and self-signature quality of the signer's certificate,
 * which mean nothing in SCEP (draft-23 8.6); the form of the transactionID (draft-23 8.4); whether
 * the service serves the message type; anything of the other certificates that came along.
 *
 * @param out the message, in @a p. Set even together with an error once the transactionID was
 *        read: such a request is answered by a signed FAILURE. NULL with an error: not answerable
 * @param der bytes from the network; BER is accepted; must live as long as @a p
 * @return NULL, or
 *   UNDECODABLE  not a CMS SignedData, bytes behind it, beyond the bounds, no signer or several,
 *                no signed attributes, no usable transactionID (*out is NULL)
 *   BAD_REQUEST  messageType missing, doubled, not a PrintableString, not decimal or not defined
 *                for a request; senderNonce doubled, over 64 bytes or, if required, missing;
 *                eContent missing or not data; the content is not an EnvelopedData, within the
 *                bounds, with one key-transport recipient
 *   BAD_TIME     with accept->clock_skew: signingTime is further off, doubled or no time. One that
 *                is missing is no fault: RFC 8894 does not ask for it
 *   BAD_ALG      a digest, signature, cipher or key transport outside the allow-list (the detail
 *                names it and what to do); an AuthEnvelopedData
 *   BAD_MESSAGE  the signer's certificate was not sent, the signature does not verify, the
 *                messageDigest is not the content's, or the attribute contentType is there and is
 * not data INTERNAL     with accept->legacy: OpenSSL came without its legacy provider
 */
SCEP_API SCEP_MUST const scep_err *scep_message_open(scep_message **out, scep_bytes der,
                                                     const scep_accept *accept, apr_pool_t *p);

/** Is the issuer's name the subject's, and does the signer's own key verify its certificate?
 *  Whatever the extensions say, as SCEP's throw-away certificates carry odd ones. A verification,
 *  so it is done for whom it matters. @param m with its signer */
SCEP_API bool scep_message_is_self_signed(const scep_message *m);

#endif
