/*
 * Structures read and written by OpenSSL's ASN.1 templates, which take BER and give DER. Private to
 * the library.
 */
#ifndef SCEP_ASN1_H
#define SCEP_ASN1_H

#include "ber.h"

#include <openssl/asn1.h>
#include <openssl/x509.h>

/** One element to its last byte. @return memory of OpenSSL, owned by @a p; NULL: it is none */
void *scep_asn1_read(const ASN1_ITEM *item, scep_bytes ber, apr_pool_t *p);

/** DER of a structure. @return NULL, or INTERNAL */
SCEP_MUST const scep_err *scep_asn1_write(scep_bytes *out, const ASN1_ITEM *item, const void *value,
                                          apr_pool_t *p);

/** A string, or a value of any type, for OpenSSL to read from: memory of @a p, whose bytes are
 *  borrowed. */
ASN1_STRING *scep_asn1_string(int type, scep_bytes bytes, apr_pool_t *p);
ASN1_TYPE *scep_asn1_any(int type, scep_bytes bytes, apr_pool_t *p);

/** The contents of a string; nothing for NULL. */
scep_bytes scep_asn1_bytes(const ASN1_STRING *string);

/*
 * Steps of a walk over BER that takes views instead of copies. OpenSSL's templates take memory for
 * each field and each string, which costs more than everything else that is done with a message.
 * Odd encodings are left to OpenSSL. Each is false where another or no such element follows.
 */

/** An OCTET STRING. @param primitive its identifier byte: 0x04, or that of a tag instead of it.
 *  @param out a view, or memory of @a p where the string came in pieces */
bool scep_asn1_octets(scep_bytes *out, scep_cursor *c, uint8_t primitive, apr_pool_t *p);

/** @param out in @a p, of a view */
bool scep_asn1_integer(const ASN1_INTEGER **out, scep_cursor *c, apr_pool_t *p);

/** An AlgorithmIdentifier (RFC 5280 4.1.1.2). @param out in @a p, its parameters a view.
 *  @param whole its bytes as received; NULL: not wanted */
bool scep_asn1_algorithm(const X509_ALGOR **out, scep_bytes *whole, scep_cursor *c, apr_pool_t *p);

/** A BIT STRING of whole bytes. @param out a view */
bool scep_asn1_bits(scep_bytes *out, scep_cursor *c);

/** Is this the contents of an object identifier, every arc in its shortest form? X.690 8.19 */
bool scep_asn1_is_oid(scep_bytes content);

/** Are these bytes that object identifier? */
bool scep_asn1_is(scep_bytes content, const ASN1_OBJECT *oid);

/** Is it the same name? Bytes that are the same are the same name, others are decoded and
 *  compared (RFC 5280 7.1). @param der, other a Name each, of which
 *  nothing else is known */
bool scep_asn1_same_name(scep_bytes der, scep_bytes other);

#endif
