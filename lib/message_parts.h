/*
 * What scep_message_open() and scep_proof_check() have in common: the signed attributes, read from
 * their DER by the bounded cursor, and the envelope. Private to the library.
 */
#ifndef SCEP_MESSAGE_PARTS_H
#define SCEP_MESSAGE_PARTS_H

#include "message.h"

typedef enum scep_attribute_name {
    SCEP_ATTRIBUTE_CONTENT_TYPE,
    SCEP_ATTRIBUTE_MESSAGE_DIGEST,
    SCEP_ATTRIBUTE_SIGNING_TIME,
    SCEP_ATTRIBUTE_MESSAGE_TYPE,
    SCEP_ATTRIBUTE_TRANSACTION_ID,
    SCEP_ATTRIBUTE_SENDER_NONCE,
    SCEP_ATTRIBUTE_COUNT
} scep_attribute_name;

typedef struct scep_attribute {
    bool found;
    bool good; /* once, with one value: RFC 8894 3.2.1 */
    uint8_t tag;
    scep_bytes value;
} scep_attribute;

typedef struct scep_attributes {
    scep_attribute of[SCEP_ATTRIBUTE_COUNT];
} scep_attributes;

/**
 * What is signed: the DER of the attributes as a SET OF, in the order in which they were sent, as
 * OpenSSL and others do it. RFC 5652 5.4.
 * @param sent a SignerInfo's [0], with tag and length. @return NULL, or UNDECODABLE
 */
SCEP_MUST const scep_err *scep_attributes_encode(scep_bytes *out, scep_bytes sent, apr_pool_t *p);

/** Read a SET OF Attribute; what is not in the list above is stepped over.
 *  @param set DER as it is signed, with tag and length. @return NULL, or UNDECODABLE: not that to
 *         the last byte, none, or over 64 */
SCEP_MUST const scep_err *scep_attributes_read(scep_attributes *out, scep_bytes set, apr_pool_t *p);

/** Set m->transaction_id. @return NULL, or UNDECODABLE */
SCEP_MUST const scep_err *scep_attributes_identify(scep_message *m, const scep_attributes *a,
                                                   apr_pool_t *p);

/** Set m->message_type and m->sender_nonce, look at signingTime.
 *  @return NULL, or BAD_REQUEST or BAD_TIME as scep_message_open() */
SCEP_MUST const scep_err *scep_attributes_request(scep_message *m, const scep_attributes *a,
                                                  const scep_accept *accept, apr_pool_t *p);

/** RFC 5652 5.4, 5.6: contentType is data and messageDigest the digest of m->content by m->digest.
 *  @param strict contentType must be there. @return NULL, or BAD_MESSAGE */
SCEP_MUST const scep_err *scep_attributes_fit(const scep_message *m, const scep_attributes *a,
                                              bool strict, apr_pool_t *p);

/** Set m->envelope, m->cipher and m->context from m->content.
 *  @return NULL, or BAD_REQUEST or BAD_ALG as scep_message_open() */
SCEP_MUST const scep_err *scep_envelope_read(scep_message *m, const scep_accept *accept,
                                             apr_pool_t *p);

#endif
