/*
 * DER written from its end to its beginning, so that each length is known when it is due and
 * nothing is moved (X.690 10). Private to the library.
 */
#ifndef SCEP_DER_H
#define SCEP_DER_H

#include "bytes.h"

#include <openssl/asn1.h>

enum {
    SCEP_DER_INTEGER = 0x02,
    SCEP_DER_OCTETS = 0x04,
    SCEP_DER_NULL = 0x05,
    SCEP_DER_OBJECT = 0x06,
    SCEP_DER_SEQUENCE = 0x30,
    SCEP_DER_SET = 0x31,
    SCEP_DER_TAG_0 = 0xA0,
    SCEP_DER_TAG_1 = 0xA1,
    SCEP_DER_TAG_0_PRIMITIVE = 0x80
};

typedef struct scep_der {
    unsigned char *first, *at, *end;
    bool full; /* something did not fit: what is there means nothing */
} scep_der;

/** @param room bytes that will do */
void scep_der_begin(scep_der *d, size_t room, apr_pool_t *p);

/** How many bytes stand there. */
size_t scep_der_mark(const scep_der *d);

/** Bytes as they are, in front of what is there. */
void scep_der_put(scep_der *d, scep_bytes bytes);

/** Tag and length of everything since @a mark. */
void scep_der_wrap(scep_der *d, uint8_t tag, size_t mark);

/** One element. */
void scep_der_element(scep_der *d, uint8_t tag, scep_bytes content);
void scep_der_object(scep_der *d, const ASN1_OBJECT *oid);
void scep_der_small(scep_der *d, uint8_t number); /* an INTEGER below 128 */
void scep_der_null(scep_der *d);

/** @return NULL, or INTERNAL where it did not fit */
SCEP_MUST const scep_err *scep_der_end(scep_bytes *out, const scep_der *d, apr_pool_t *p);

#endif
