/* A PKCS#10 certification request and its facts. RFC 2986, RFC 8894 2.4. */
#include "csr.h"
#include "asn1.h"
#include "ber.h"
#include "oid.h"

#include <openssl/asn1t.h>
#include <openssl/crypto.h>
#include <string.h>

enum { CSR_MOST = 65536, ATTRIBUTES_MOST = 32, CHALLENGE_MOST = 8192, EXTENSIONS_MOST = 64 };

/* RFC 2986 4.2; what is signed stays as it was received */
typedef struct request {
    ASN1_STRING *info;
    X509_ALGOR *algorithm;
    ASN1_BIT_STRING *signature;
} request;

ASN1_SEQUENCE(request) = {
    ASN1_SIMPLE(request, info, ASN1_SEQUENCE),
    ASN1_SIMPLE(request, algorithm, X509_ALGOR),
    ASN1_SIMPLE(request, signature, ASN1_BIT_STRING),
} static_ASN1_SEQUENCE_END(request)

/* RFC 2986 4.1; some leave the attributes out */
typedef struct request_info {
    ASN1_INTEGER *version;
    X509_NAME *subject;
    ASN1_STRING *key;
    STACK_OF(X509_ATTRIBUTE) * attributes;
} request_info;

ASN1_SEQUENCE(request_info) = {
    ASN1_SIMPLE(request_info, version, ASN1_INTEGER),
    ASN1_SIMPLE(request_info, subject, X509_NAME),
    ASN1_SIMPLE(request_info, key, ASN1_SEQUENCE),
    ASN1_IMP_SET_OF_OPT(request_info, attributes, X509_ATTRIBUTE, 0),
} static_ASN1_SEQUENCE_END(request_info)

/* @param value NULL: no such attribute */
static const scep_err *find_attribute(const ASN1_TYPE **value, const request_info *info,
                                      const ASN1_OBJECT *oid, const char *what, apr_pool_t *p)
{
    X509_ATTRIBUTE *attribute = NULL;
    int found = 0;

    *value = NULL;
    for (int i = 0; i < sk_X509_ATTRIBUTE_num(info->attributes); i++) {
        X509_ATTRIBUTE *one = sk_X509_ATTRIBUTE_value(info->attributes, i);

        if (OBJ_cmp(X509_ATTRIBUTE_get0_object(one), oid))
            continue;
        attribute = one;
        found++;
    }
    if (!found)
        return NULL;
    if (found > 1 || X509_ATTRIBUTE_count(attribute) != 1)
        return scep_fail(p, UNREADABLE, "CSR: attribute %s is doubled or has not one value", what);
    *value = X509_ATTRIBUTE_get0_type(attribute, 0);
    if (!*value)
        return scep_fail(p, UNREADABLE, "CSR: attribute %s cannot be read", what);
    return NULL;
}

/* PKCS #9 wants a DirectoryString; IA5String and OCTET STRING are met as well.
 * @return length of *utf8, which is to be freed; -1: not text */
static int challenge_text(unsigned char **utf8, const ASN1_TYPE *value)
{
    int len;

    switch (ASN1_TYPE_get(value)) {
    case V_ASN1_UTF8STRING:
    case V_ASN1_NUMERICSTRING:
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_T61STRING:
    case V_ASN1_IA5STRING:
    case V_ASN1_VISIBLESTRING:
    case V_ASN1_UNIVERSALSTRING:
    case V_ASN1_BMPSTRING:
        return ASN1_STRING_to_UTF8(utf8, value->value.asn1_string);
    case V_ASN1_OCTET_STRING:
        len = ASN1_STRING_length(value->value.asn1_string);
        *utf8 = OPENSSL_malloc((size_t)len + 1);
        if (!*utf8)
            return -1;
        if (len)
            memcpy(*utf8, ASN1_STRING_get0_data(value->value.asn1_string), (size_t)len);
        return len;
    default:
        return -1;
    }
}

static const scep_err *read_challenge(scep_csr *csr, const request_info *info, apr_pool_t *p)
{
    unsigned char *utf8 = NULL, *copy;
    const ASN1_TYPE *value;
    bool good;
    int len;

    SCEP_TRY(find_attribute(&value, info, OBJ_nid2obj(NID_pkcs9_challengePassword),
                            "challengePassword", p));
    if (!value)
        return NULL;
    len = challenge_text(&utf8, value);
    good = len >= 0 && len <= CHALLENGE_MOST && !(len && memchr(utf8, 0, (size_t)len));
    if (good && len) {
        copy = scep_secret(p, (size_t)len);
        memcpy(copy, utf8, (size_t)len);
        csr->challenge = (scep_bytes){ copy, (size_t)len };
    }
    OPENSSL_clear_free(utf8, len > 0 ? (size_t)len : 0);
    if (!good)
        return scep_fail(p, UNREADABLE, "CSR: challengePassword is no text of at most %d bytes",
                         CHALLENGE_MOST);
    return NULL;
}

static const scep_err *check_extensions(scep_csr *csr, apr_pool_t *p)
{
    int n = sk_X509_EXTENSION_num(csr->extensions);

    if (n > EXTENSIONS_MOST)
        return scep_fail(p, UNREADABLE, "CSR: %d extensions: %d are accepted", n, EXTENSIONS_MOST);
    for (int i = 0; i < n; i++) {
        ASN1_OBJECT *oid = X509_EXTENSION_get_object(X509v3_get_ext(csr->extensions, i));

        if (X509v3_get_ext_by_OBJ(csr->extensions, oid, i) >= 0)
            return scep_fail(p, UNREADABLE, "CSR: the same extension twice");
    }
    return NULL;
}

/* The first of the three attributes counts, but none of them may be doubled. */
static const scep_err *read_extensions(scep_csr *csr, const request_info *info, apr_pool_t *p)
{
    const struct {
        const ASN1_OBJECT *oid;
        const char *name;
    } attributes[] = {
        { OBJ_nid2obj(NID_ext_req), "extensionRequest" },
        { OBJ_nid2obj(NID_ms_ext_req), "1.3.6.1.4.1.311.2.1.14" },
        { scep_oid(SCEP_OID_VERISIGN_EXTENSION_REQUEST), "2.16.840.1.113733.1.9.8" },
    };
    const ASN1_TYPE *first = NULL, *value;
    const unsigned char *at, *end;

    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        SCEP_TRY(find_attribute(&value, info, attributes[i].oid, attributes[i].name, p));
        if (!first)
            first = value;
    }
    if (!first)
        return NULL;
    if (ASN1_TYPE_get(first) != V_ASN1_SEQUENCE)
        return scep_fail(p, UNREADABLE, "CSR: the extensions asked for are no SEQUENCE");
    at = ASN1_STRING_get0_data(first->value.sequence);
    end = at + ASN1_STRING_length(first->value.sequence);
    csr->extensions = scep_X509_EXTENSIONS(p, d2i_X509_EXTENSIONS(NULL, &at, (long)(end - at)));
    if (!csr->extensions || at != end)
        return scep_fail(p, UNREADABLE, "CSR: the extensions asked for cannot be read");
    SCEP_TRY(check_extensions(csr, p));
    if (!sk_X509_EXTENSION_num(csr->extensions))
        csr->extensions = NULL;
    return NULL;
}

static const scep_err *read_key_usage(scep_csr *csr, apr_pool_t *p)
{
    int found = -1;
    ASN1_BIT_STRING *usage = X509V3_get_d2i(csr->extensions, NID_key_usage, &found, NULL);

    if (!usage && found == -1)
        return NULL;
    if (!usage)
        return scep_fail(p, UNREADABLE, "CSR: keyUsage cannot be read");
    for (int i = 0; i < 2 && i < ASN1_STRING_length(usage); i++)
        csr->key_usage |= (uint32_t)ASN1_STRING_get0_data(usage)[i] << 8 * i;
    ASN1_BIT_STRING_free(usage);
    return NULL;
}

/* RFC 8894 7.6: over the bytes received. */
static const scep_err *read_key(scep_csr *csr, const request *read, const scep_cert *signer,
                                apr_pool_t *p)
{
    const scep_err *err = NULL;

    if (signer && signer->key && scep_bytes_equal(signer->spki, csr->spki))
        csr->key = signer->key;
    else
        err = scep_spki_read(&csr->key, &csr->spki, csr->spki, p);
    if (err)
        return scep_fail(p, UNREADABLE, "CSR: the key is not accepted: %s", err->detail);
    if (ASN1_item_verify(ASN1_ITEM_rptr(ASN1_SEQUENCE), read->algorithm, read->signature,
                         read->info, csr->key) != 1)
        return scep_fail(p, UNREADABLE, "CSR: the signature does not verify");
    return NULL;
}

static const scep_err *hash(scep_csr *csr, apr_pool_t *p)
{
    SCEP_TRY(scep_spki_hash(csr->key_hash, csr->spki, p));
    if (EVP_Digest(csr->der.data, csr->der.len, csr->hash, NULL, EVP_sha256(), NULL) != 1)
        return scep_fail(p, INTERNAL, "a CSR cannot be hashed");
    return NULL;
}

/* One DER element within bounds and nothing else: another encoding of the same CSR would be
 * another CSR. */
static bool is_acceptable(scep_bytes der)
{
    scep_cursor c = { der.data, der.len };
    scep_bytes content;
    uint8_t tag;

    return der.len && der.len <= CSR_MOST && scep_cursor_der(&c, &tag, &content) && !c.left &&
           scep_ber_is_bounded(der);
}

/* @return NULL: not one PKCS#10 to the last byte */
static const request_info *read_info(const request *read, apr_pool_t *p)
{
    return read ? scep_asn1_read(ASN1_ITEM_rptr(request_info), scep_asn1_bytes(read->info), p)
                : NULL;
}

const scep_err *scep_csr_read(scep_csr **out, scep_bytes der, apr_pool_t *p)
{
    return scep_csr_read_by(out, der, NULL, p);
}

const scep_err *scep_csr_read_by(scep_csr **out, scep_bytes der, const scep_cert *signer,
                                 apr_pool_t *p)
{
    scep_csr *csr = apr_pcalloc(p, sizeof(*csr));
    const request *read =
        is_acceptable(der) ? scep_asn1_read(ASN1_ITEM_rptr(request), der, p) : NULL;
    const request_info *info = read_info(read, p);

    if (!info)
        return scep_fail(p, UNREADABLE,
                         "CSR: the envelope does not hold one PKCS#10 of at most %d "
                         "bytes",
                         CSR_MOST);
    if (sk_X509_ATTRIBUTE_num(info->attributes) > ATTRIBUTES_MOST)
        return scep_fail(p, UNREADABLE, "CSR: %d attributes: %d are accepted",
                         sk_X509_ATTRIBUTE_num(info->attributes), ATTRIBUTES_MOST);
    *csr = (scep_csr){
        .der = der,
        .subject = info->subject,
        .spki = scep_asn1_bytes(info->key),
        .signature = read->algorithm,
    };
    SCEP_TRY(read_key(csr, read, signer, p));
    SCEP_TRY(read_challenge(csr, info, p));
    SCEP_TRY(read_extensions(csr, info, p));
    SCEP_TRY(read_key_usage(csr, p));
    SCEP_TRY(hash(csr, p));
    *out = csr;
    return NULL;
}
