/* Public keys out of their SubjectPublicKeyInfo. RFC 5280 4.1.2.7, RFC 8017 A.1.1, RFC 5480 2. */
#include "spki.h"
#include "algorithm.h"
#include "asn1.h"
#include "fetched.h"

#include <apr_strings.h>
#include <openssl/asn1t.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <string.h>

/* RFC 5280 4.1.2.7 */
typedef struct key_info {
    X509_ALGOR *algorithm;
    ASN1_BIT_STRING *key;
} key_info;

ASN1_SEQUENCE(key_info) = {
    ASN1_SIMPLE(key_info, algorithm, X509_ALGOR),
    ASN1_SIMPLE(key_info, key, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(key_info)

enum { GROUP_MOST = 32, UNCOMPRESSED = 4, COMPRESSED_EVEN = 2 };
enum { INTEGER = 0x02, BITS = 0x03, NOTHING = 0x05, OBJECT = 0x06, SEQUENCE = 0x30 };

/* A key's info in DER, taken apart. */
typedef struct parts {
    scep_bytes algorithm;  /* contents of the object identifier */
    uint8_t type;          /* identifier byte of the parameters; 0: there are none */
    scep_bytes parameters; /* their contents */
    scep_bytes key;        /* contents of the BIT STRING, which are whole bytes */
} parts;

/* ---- made once per process ---- */

/* Contexts to be duplicated: to make one by its name goes through all names that OpenSSL knows. */
static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static EVP_PKEY_CTX *rsa_maker, *ec_maker; /* NULL: OpenSSL has no such keys */

static void make_makers(void)
{
    rsa_maker = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    ec_maker = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
}

/* @return NULL: OpenSSL does not make a key of it */
static EVP_PKEY *make(bool is_rsa, OSSL_PARAM *params, apr_pool_t *p)
{
    EVP_PKEY_CTX *ctx = NULL;
    EVP_PKEY *key = NULL;

    if (CRYPTO_THREAD_run_once(&once, make_makers) && rsa_maker && ec_maker)
        ctx = EVP_PKEY_CTX_dup(is_rsa ? rsa_maker : ec_maker);
    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params); /* leaves NULL */
    EVP_PKEY_CTX_free(ctx);
    return scep_EVP_PKEY(p, key);
}

/* ---- reading ---- */

static bool take(scep_cursor *c, uint8_t expected, scep_bytes *content)
{
    uint8_t tag;

    return scep_cursor_der(c, &tag, content) && tag == expected;
}

/* One that is not negative, in its shortest form (X.690 8.3.2), as a parameter, which has the
 * machine's byte order. A certificate gets the bytes that a request has: other encodings of the
 * same key would be other keys in the inventory, and in other hands unreadable ones. */
static bool take_number(OSSL_PARAM *param, const char *name, scep_cursor *c, apr_pool_t *p)
{
    unsigned char *native;
    scep_bytes number;

    if (!take(c, INTEGER, &number) || !number.len || number.data[0] & 0x80)
        return false;
    if (!number.data[0]) {
        if (number.len == 1 || !(number.data[1] & 0x80))
            return false;
        number = (scep_bytes){ number.data + 1, number.len - 1 };
    }
    native = apr_palloc(p, number.len);
    for (size_t i = 0; i < number.len; i++)
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        native[i] = number.data[i];
#else
        native[i] = number.data[number.len - 1 - i];
#endif
    *param = OSSL_PARAM_construct_BN(name, native, number.len);
    return true;
}

/* RFC 8017 A.1.1. RFC 3279 2.3.1: the parameters are NULL; some leave them out. */
static EVP_PKEY *read_rsa(const parts *info, apr_pool_t *p)
{
    scep_cursor c = { info->key.data, info->key.len };
    OSSL_PARAM params[3];
    scep_bytes inside;

    if ((info->type && info->type != NOTHING) || info->parameters.len ||
        !take(&c, SEQUENCE, &inside) || c.left)
        return NULL;
    c = (scep_cursor){ inside.data, inside.len };
    if (!take_number(&params[0], OSSL_PKEY_PARAM_RSA_N, &c, p) ||
        !take_number(&params[1], OSSL_PKEY_PARAM_RSA_E, &c, p) || c.left)
        return NULL;
    params[2] = OSSL_PARAM_construct_end();
    return make(true, params, p);
}

/* RFC 5480 2.1.1.1. @return NULL: none of those accepted */
static const char *curve_name(const parts *info)
{
    static const int curves[] = { NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1 };

    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++)
        if (info->type == OBJECT && scep_asn1_is(info->parameters, OBJ_nid2obj(curves[i])))
            return OBJ_nid2sn(curves[i]);
    return NULL;
}

/* RFC 5480 2.1.1, 2.2: a named curve, and a point on it, which OpenSSL sees to. Neither the point
 * at infinity nor the hybrid form. */
static EVP_PKEY *read_ec(const parts *info, apr_pool_t *p)
{
    const char *name = curve_name(info);
    scep_bytes point = info->key;
    char group[GROUP_MOST];
    unsigned char *copy;
    OSSL_PARAM params[3];

    if (!name || strlen(name) >= sizeof(group) || point.len < 2 ||
        (point.data[0] != UNCOMPRESSED && (point.data[0] & ~1) != COMPRESSED_EVEN))
        return NULL;
    memcpy(group, name, strlen(name) + 1);
    copy = apr_pmemdup(p, point.data, point.len);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, point.len);
    params[2] = OSSL_PARAM_construct_end();
    return make(false, params, p);
}

/* @return false: not one in DER to its last byte */
static bool walk(parts *out, scep_bytes der)
{
    scep_cursor c = { der.data, der.len }, in;
    scep_bytes inside, algorithm, bits;

    *out = (parts){ 0 };
    if (!take(&c, SEQUENCE, &inside) || c.left)
        return false;
    c = (scep_cursor){ inside.data, inside.len };
    if (!take(&c, SEQUENCE, &algorithm) || !take(&c, BITS, &bits) || c.left || !bits.len ||
        bits.data[0])
        return false;
    out->key = (scep_bytes){ bits.data + 1, bits.len - 1 };
    in = (scep_cursor){ algorithm.data, algorithm.len };
    if (!take(&in, OBJECT, &out->algorithm))
        return false;
    /* no type has the tag 0 (X.690 8.1.5), which is "none" here */
    return !in.left ||
           (scep_cursor_der(&in, &out->type, &out->parameters) && !in.left && out->type);
}

/* @param fault what is wrong where NULL is returned */
static EVP_PKEY *read_key(const char **fault, scep_bytes *spki, scep_bytes ber, apr_pool_t *p)
{
    const ASN1_ITEM *item = ASN1_ITEM_rptr(key_info);
    const key_info *info;
    parts info_parts;

    *fault = scep_algorithm_key_fault(NULL);
    *spki = scep_bytes_dup(p, ber);
    if (!walk(&info_parts, *spki)) {
        info = scep_asn1_read(item, ber, p);
        if (!info || scep_asn1_write(spki, item, info, p) || !walk(&info_parts, *spki))
            return NULL;
    }
    if (scep_asn1_is(info_parts.algorithm, OBJ_nid2obj(NID_rsaEncryption)))
        return read_rsa(&info_parts, p);
    if (!scep_asn1_is(info_parts.algorithm, OBJ_nid2obj(NID_X9_62_id_ecPublicKey)))
        return NULL;
    *fault = SCEP_FAULT_EC;
    return read_ec(&info_parts, p);
}

const scep_err *scep_spki_read(EVP_PKEY **out, scep_bytes *spki, scep_bytes ber, apr_pool_t *p)
{
    const char *fault;
    EVP_PKEY *key = read_key(&fault, spki, ber, p);

    if (key)
        fault = scep_algorithm_key_fault(key);
    ERR_clear_error(); /* the sentence says it */
    if (fault)
        return scep_fail(p, BAD_ALG, "%s", fault);
    *out = key;
    return NULL;
}

const scep_err *scep_spki_of(scep_bytes *out, const X509_PUBKEY *key, apr_pool_t *p)
{
    int len = i2d_X509_PUBKEY(key, NULL);
    unsigned char *der = len > 0 ? apr_palloc(p, (size_t)len) : NULL, *to = der;

    if (len <= 0 || i2d_X509_PUBKEY(key, &to) != len)
        return scep_fail(p, INTERNAL, "a public key cannot be encoded");
    *out = (scep_bytes){ der, (size_t)len };
    return NULL;
}

/* @param type, value of the parameters, as X509_ALGOR_get0() has them */
static bool put(X509_PUBKEY *to, const key_info *info, const ASN1_OBJECT *algorithm, int type,
                const void *value)
{
    scep_bytes key = scep_asn1_bytes(info->key);
    ASN1_OBJECT *algorithm_copy = OBJ_dup(algorithm);
    ASN1_OBJECT *curve_copy = type == V_ASN1_OBJECT ? OBJ_dup(value) : NULL;
    unsigned char *copy = OPENSSL_memdup(key.data, key.len);

    if (algorithm_copy && copy && (curve_copy || type != V_ASN1_OBJECT) &&
        X509_PUBKEY_set0_param(to, algorithm_copy, type, curve_copy, copy, (int)key.len))
        return true;
    ASN1_OBJECT_free(algorithm_copy);
    ASN1_OBJECT_free(curve_copy);
    OPENSSL_free(copy);
    return false;
}

const scep_err *scep_spki_put(X509 *cert, scep_bytes der, apr_pool_t *p)
{
    const key_info *info = scep_asn1_read(ASN1_ITEM_rptr(key_info), der, p);
    const ASN1_OBJECT *algorithm;
    const void *value = NULL;
    int type;

    if (!info)
        return scep_fail(p, INTERNAL, "a public key cannot be put into a certificate");
    X509_ALGOR_get0(&algorithm, &type, &value, info->algorithm);
    if (!put(X509_get_X509_PUBKEY(cert), info, algorithm, type, value))
        return scep_fail(p, INTERNAL, "a public key cannot be put into a certificate");
    return NULL;
}

const scep_err *scep_spki_hash(unsigned char out[SCEP_KEY_HASH], scep_bytes der, apr_pool_t *p)
{
    if (EVP_Digest(der.data, der.len, out, NULL, scep_fetched_digest(NID_sha256), NULL) != 1)
        return scep_fail(p, INTERNAL, "a public key cannot be hashed");
    return NULL;
}
