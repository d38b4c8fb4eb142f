/*
 * Structures read and written by OpenSSL's ASN.1 templates, which take BER and give DER. Private to
 * the library.
 */
#ifndef SCEP_ASN1_H
#define SCEP_ASN1_H

#include "bytes.h"

#include <openssl/asn1.h>

/** One element to its last byte. @return memory of OpenSSL, owned by @a p; NULL: it is none */
void *scep_asn1_read(const ASN1_ITEM *item, scep_bytes ber, apr_pool_t *p);

/** A new, empty structure of @a p. @return NULL: out of memory */
void *scep_asn1_new(const ASN1_ITEM *item, apr_pool_t *p);

/** DER of a structure. @return NULL, or INTERNAL */
SCEP_MUST const scep_err *scep_asn1_write(scep_bytes *out, const ASN1_ITEM *item, const void *value,
                                          apr_pool_t *p);

/** The contents of a string; nothing for NULL. */
scep_bytes scep_asn1_bytes(const ASN1_STRING *string);

#endif
