/* Steps of a walk over BER that takes views instead of copies. X.690 8. */
#include "asn1.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <string.h>

enum {
    INTEGER = 0x02,
    BITS = 0x03,
    OCTETS = 0x04,
    NOTHING = 0x05,
    OBJECT = 0x06,
    SEQUENCE = 0x30,
    CONSTRUCTED = 0x20,
    HEADER_MOST = 6
};

/* The algorithms of the allow-list; of any other OpenSSL makes an object. */
static const int known[] = { NID_rsaEncryption,
                             NID_sha256,
                             NID_sha256WithRSAEncryption,
                             NID_aes_128_cbc,
                             NID_aes_256_cbc,
                             NID_sha1,
                             NID_sha224,
                             NID_sha384,
                             NID_sha512,
                             NID_sha1WithRSAEncryption,
                             NID_sha224WithRSAEncryption,
                             NID_sha384WithRSAEncryption,
                             NID_sha512WithRSAEncryption,
                             NID_X9_62_id_ecPublicKey,
                             NID_ecdsa_with_SHA1,
                             NID_ecdsa_with_SHA224,
                             NID_ecdsa_with_SHA256,
                             NID_ecdsa_with_SHA384,
                             NID_ecdsa_with_SHA512,
                             NID_rsassaPss,
                             NID_rsaesOaep,
                             NID_aes_192_cbc,
                             NID_des_ede3_cbc };

bool scep_asn1_is(scep_bytes content, const ASN1_OBJECT *oid)
{
    return content.len == OBJ_length(oid) && !memcmp(content.data, OBJ_get0_data(oid), content.len);
}

bool scep_asn1_is_oid(scep_bytes content)
{
    bool begins = true;

    for (size_t i = 0; i < content.len; i++) {
        if (begins && content.data[i] == 0x80)
            return false;
        begins = !(content.data[i] & 0x80);
    }
    return content.len && begins;
}

/* X.690 8.7.3: a string in pieces, under whatever tag, is what the same is under its own. */
static bool join(scep_bytes *out, scep_cursor inside, apr_pool_t *p)
{
    unsigned char *again = apr_palloc(p, HEADER_MOST + inside.left);
    const ASN1_OCTET_STRING *read;

    again[0] = OCTETS | CONSTRUCTED;
    again[1] = 0x84;
    for (int i = 0; i < 4; i++)
        again[2 + i] = (unsigned char)(inside.left >> 8 * (3 - i));
    memcpy(again + HEADER_MOST, inside.at, inside.left);
    read = scep_asn1_read(ASN1_ITEM_rptr(ASN1_OCTET_STRING),
                          (scep_bytes){ again, HEADER_MOST + inside.left }, p);
    if (!read)
        return false;
    *out = scep_asn1_bytes(read);
    return true;
}

bool scep_asn1_octets(scep_bytes *out, scep_cursor *c, uint8_t primitive, apr_pool_t *p)
{
    scep_cursor inside;

    if (!scep_ber_step(c, primitive, &inside))
        return scep_ber_step(c, primitive | CONSTRUCTED, &inside) && join(out, inside, p);
    *out = (scep_bytes){ inside.at, inside.left };
    return true;
}

bool scep_asn1_integer(const ASN1_INTEGER **out, scep_cursor *c, apr_pool_t *p)
{
    scep_bytes whole, view;
    scep_cursor in = *c;

    if (!scep_ber_step(&in, INTEGER, &in) || !scep_ber_take(c, INTEGER, &whole))
        return false;
    if (!in.left || *in.at & 0x80) { /* none, or a negative one */
        *out = scep_asn1_read(ASN1_ITEM_rptr(ASN1_INTEGER), whole, p);
        return *out != NULL;
    }
    if (in.left > 1 && !*in.at && !(in.at[1] & 0x80)) /* X.690 8.3.2 */
        return false;
    view = (scep_bytes){ in.at, in.left };
    if (in.left > 1 && !*in.at)
        view = (scep_bytes){ in.at + 1, in.left - 1 };
    *out = scep_asn1_string(V_ASN1_INTEGER, view, p);
    return true;
}

static ASN1_OBJECT *known_object(scep_bytes content)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        ASN1_OBJECT *oid = OBJ_nid2obj(known[i]);

        if (scep_asn1_is(content, oid))
            return oid;
    }
    return NULL;
}

/* Whose parameters are of the few types that any of the known algorithms has.
 * @return NULL: others, or not in DER */
static const X509_ALGOR *known_algorithm(scep_cursor inside, apr_pool_t *p)
{
    const unsigned char *start;
    X509_ALGOR *algorithm;
    scep_bytes content;
    ASN1_OBJECT *oid;
    uint8_t tag;

    if (!scep_cursor_der(&inside, &tag, &content) || tag != OBJECT)
        return NULL;
    oid = known_object(content);
    if (!oid)
        return NULL;
    algorithm = apr_pcalloc(p, sizeof(*algorithm));
    algorithm->algorithm = oid;
    start = inside.at;
    if (!inside.left)
        return algorithm;
    if (!scep_cursor_der(&inside, &tag, &content) || inside.left)
        return NULL;
    if (tag == NOTHING && !content.len)
        algorithm->parameter = scep_asn1_any(V_ASN1_NULL, content, p);
    else if (tag == OCTETS)
        algorithm->parameter = scep_asn1_any(V_ASN1_OCTET_STRING, content, p);
    else if (tag == SEQUENCE)
        algorithm->parameter =
            scep_asn1_any(V_ASN1_SEQUENCE, (scep_bytes){ start, (size_t)(inside.at - start) }, p);
    return algorithm->parameter ? algorithm : NULL;
}

bool scep_asn1_algorithm(const X509_ALGOR **out, scep_bytes *whole, scep_cursor *c, apr_pool_t *p)
{
    scep_cursor inside = *c;
    scep_bytes all;

    if (!scep_ber_step(&inside, SEQUENCE, &inside) || !scep_ber_take(c, SEQUENCE, &all))
        return false;
    *out = known_algorithm(inside, p);
    if (!*out)
        *out = scep_asn1_read(ASN1_ITEM_rptr(X509_ALGOR), all, p);
    if (whole)
        *whole = all;
    return *out != NULL;
}

bool scep_asn1_bits(scep_bytes *out, scep_cursor *c)
{
    scep_cursor inside;

    if (!scep_ber_step(c, BITS, &inside) || !inside.left || *inside.at)
        return false;
    *out = (scep_bytes){ inside.at + 1, inside.left - 1 };
    return true;
}

/* @return NULL: no Name */
static X509_NAME *read_name(scep_bytes der)
{
    const unsigned char *at = der.data;

    return der.len && der.len <= INT_MAX ? d2i_X509_NAME(NULL, &at, (long)der.len) : NULL;
}

bool scep_asn1_same_name(scep_bytes der, scep_bytes other)
{
    X509_NAME *one, *two;
    bool same;

    if (scep_bytes_equal(der, other))
        return true;
    one = read_name(der);
    two = read_name(other);
    same = one && two && !X509_NAME_cmp(one, two);
    X509_NAME_free(one);
    X509_NAME_free(two);
    ERR_clear_error();
    return same;
}
