/* Public keys out of their SubjectPublicKeyInfo. RFC 5280 4.1.2.7, RFC 8017 A.1.1, RFC 5480 2. */
#include "spki.h"
#include "algorithm.h"
#include "asn1.h"

#include <apr_strings.h>
#include <openssl/asn1t.h>
#include <openssl/core_names.h>
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

/* RFC 8017 A.1.1 */
typedef struct rsa_key {
    BIGNUM *n, *e;
} rsa_key;

ASN1_SEQUENCE(rsa_key) = {
    ASN1_SIMPLE(rsa_key, n, BIGNUM),
    ASN1_SIMPLE(rsa_key, e, BIGNUM),
} static_ASN1_SEQUENCE_END(rsa_key)

enum { GROUP_MOST = 32, UNCOMPRESSED = 4, COMPRESSED_EVEN = 2, UNUSED_BITS = 7 };

/* Is it the DER of what was read? A certificate gets the bytes that a request has: other encodings
 * of the same key would be other keys in the inventory, and in other hands unreadable ones. */
static bool is_der_of(scep_bytes der, const ASN1_ITEM *item, const void *value, apr_pool_t *p)
{
    scep_bytes again;

    return !scep_asn1_write(&again, item, value, p) && again.len == der.len &&
           !memcmp(again.data, der.data, der.len);
}

/* @return NULL: OpenSSL does not make a key of it */
static EVP_PKEY *make(const char *type, OSSL_PARAM *params, apr_pool_t *p)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;

    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params); /* leaves NULL */
    EVP_PKEY_CTX_free(ctx);
    return scep_EVP_PKEY(p, key);
}

static bool put_number(OSSL_PARAM *param, const char *name, const BIGNUM *number, apr_pool_t *p)
{
    int len = BN_num_bytes(number);
    unsigned char *bytes = apr_palloc(p, (size_t)len);

    *param = OSSL_PARAM_construct_BN(name, bytes, (size_t)len);
    return len > 0 && BN_bn2nativepad(number, bytes, len) == len;
}

/* RFC 3279 2.3.1: the parameters are NULL; some leave them out. */
static EVP_PKEY *read_rsa(const key_info *info, int type, apr_pool_t *p)
{
    scep_bytes der = scep_asn1_bytes(info->key);
    const ASN1_ITEM *item = ASN1_ITEM_rptr(rsa_key);
    const rsa_key *read = scep_asn1_read(item, der, p);
    OSSL_PARAM params[3];

    if (!read || (type != V_ASN1_NULL && type != V_ASN1_UNDEF) || !is_der_of(der, item, read, p) ||
        !put_number(&params[0], OSSL_PKEY_PARAM_RSA_N, read->n, p) ||
        !put_number(&params[1], OSSL_PKEY_PARAM_RSA_E, read->e, p))
        return NULL;
    params[2] = OSSL_PARAM_construct_end();
    return make("RSA", params, p);
}

/* RFC 5480 2.1.1, 2.2: a named curve, and a point on it, which OpenSSL sees to. Neither the point
 * at infinity nor the hybrid form. */
static EVP_PKEY *read_ec(const key_info *info, int type, const void *curve, apr_pool_t *p)
{
    scep_bytes point = scep_asn1_bytes(info->key);
    const char *name = type == V_ASN1_OBJECT ? OBJ_nid2sn(OBJ_obj2nid(curve)) : NULL;
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
    return make("EC", params, p);
}

/* @param fault what is wrong where NULL is returned */
static EVP_PKEY *read_key(const char **fault, scep_bytes *spki, scep_bytes ber, apr_pool_t *p)
{
    const ASN1_ITEM *item = ASN1_ITEM_rptr(key_info);
    const key_info *info = scep_asn1_read(item, ber, p);
    const ASN1_OBJECT *algorithm;
    const void *value = NULL; /* not set where there are no parameters */
    int type;

    *fault = scep_algorithm_key_fault(NULL);
    if (!info || (info->key->flags & UNUSED_BITS) || scep_asn1_write(spki, item, info, p))
        return NULL;
    X509_ALGOR_get0(&algorithm, &type, &value, info->algorithm);
    switch (OBJ_obj2nid(algorithm)) {
    case NID_rsaEncryption:
        return read_rsa(info, type, p);
    case NID_X9_62_id_ecPublicKey:
        *fault = SCEP_FAULT_EC;
        return read_ec(info, type, value, p);
    default:
        return NULL;
    }
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
    if (EVP_Digest(der.data, der.len, out, NULL, EVP_sha256(), NULL) != 1)
        return scep_fail(p, INTERNAL, "a public key cannot be hashed");
    return NULL;
}
