/* A PKCS#10 certification request and its facts. RFC 2986, RFC 8894 2.4. */
#include "csr.h"
#include "algorithm.h"
#include "asn1.h"
#include "fetched.h"
#include "oid.h"

#include <openssl/crypto.h>
#include <string.h>

enum { CSR_MOST = 65536, ATTRIBUTES_MOST = 32, CHALLENGE_MOST = 8192, EXTENSIONS_MOST = 64 };
enum { OBJECT = 0x06, SEQUENCE = 0x30, SET = 0x31, ATTRIBUTES = 0xA0 };

/* Attributes that are looked into; of the last three, which ask for extensions, the first counts.
 */
typedef enum kind { CHALLENGE, EXTENSIONS, MICROSOFT, VERISIGN, KINDS } kind;

/* Views of what was received. RFC 2986 4 */
typedef struct request {
    scep_bytes info;          /* what is signed, with tag and length */
    scep_bytes subject;       /* a Name, with tag and length */
    scep_bytes values[KINDS]; /* with tag and length; data NULL: no such attribute */
    int attributes;
    scep_bytes signature; /* contents of the BIT STRING, which are whole bytes */
} request;

static const ASN1_OBJECT *attribute_oid(kind k)
{
    switch (k) {
    case CHALLENGE:
        return OBJ_nid2obj(NID_pkcs9_challengePassword);
    case EXTENSIONS:
        return OBJ_nid2obj(NID_ext_req);
    case MICROSOFT:
        return OBJ_nid2obj(NID_ms_ext_req);
    default:
        return scep_oid(SCEP_OID_VERISIGN_EXTENSION_REQUEST);
    }
}

static const char *attribute_name(kind k)
{
    static const char *const names[KINDS] = { "challengePassword", "extensionRequest",
                                              "1.3.6.1.4.1.311.2.1.14", "2.16.840.1.113733.1.9.8" };

    return names[k];
}

/* @return KINDS: none of them */
static kind kind_of(scep_cursor oid)
{
    kind k = CHALLENGE;

    while (k < KINDS && !scep_asn1_is((scep_bytes){ oid.at, oid.left }, attribute_oid(k)))
        k++;
    return k;
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

static const scep_err *unreadable_attribute(kind k, apr_pool_t *p)
{
    return scep_fail(p, UNREADABLE, "CSR: attribute %s cannot be read", attribute_name(k));
}

static const scep_err *read_challenge(scep_csr *csr, const request *read, apr_pool_t *p)
{
    unsigned char *utf8 = NULL, *copy;
    const ASN1_TYPE *value;
    bool good;
    int len;

    if (!read->values[CHALLENGE].data)
        return NULL;
    value = scep_asn1_read(ASN1_ITEM_rptr(ASN1_ANY), read->values[CHALLENGE], p);
    if (!value)
        return unreadable_attribute(CHALLENGE, p);
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

/* Any of the three attributes, but where there are several they say the same: a CA that is handed
 * the whole CSR may read another one than what was judged. */
static const scep_err *find_extensions(scep_bytes *first, const request *read, apr_pool_t *p)
{
    *first = (scep_bytes){ NULL, 0 };
    for (kind k = EXTENSIONS; k < KINDS; k++) {
        if (!read->values[k].data)
            continue;
        if (first->data && !scep_bytes_equal(*first, read->values[k]))
            return scep_fail(p, UNREADABLE, "CSR: two attributes ask for different extensions");
        *first = read->values[k];
    }
    return NULL;
}

static const scep_err *read_extensions(scep_csr *csr, const request *read, apr_pool_t *p)
{
    const unsigned char *at;
    scep_bytes first;

    SCEP_TRY(find_extensions(&first, read, p));
    if (!first.data)
        return NULL;
    if (*first.data != SEQUENCE)
        return scep_fail(p, UNREADABLE, "CSR: the extensions asked for are no SEQUENCE");
    at = first.data;
    csr->extensions = scep_X509_EXTENSIONS(p, d2i_X509_EXTENSIONS(NULL, &at, (long)first.len));
    if (!csr->extensions || at != first.data + first.len)
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

static const scep_err *read_key(scep_csr *csr, const scep_cert *signer, apr_pool_t *p)
{
    const scep_err *err;

    if (signer && scep_bytes_equal(signer->spki, csr->spki)) {
        csr->key = signer->key;
        return NULL;
    }
    err = scep_spki_read(&csr->key, &csr->spki, csr->spki, p);
    return err ? scep_fail(p, UNREADABLE, "CSR: the key is not accepted: %s", err->detail) : NULL;
}

/* RFC 8894 7.6: over the bytes received. */
static const scep_err *verify(const scep_csr *csr, const request *read, apr_pool_t *p)
{
    if (!scep_algorithm_is_signed(csr->signature, csr->key, NULL, read->info, read->signature, p))
        return scep_fail(p, UNREADABLE, "CSR: the signature does not verify");
    return NULL;
}

static const scep_err *hash(scep_csr *csr, apr_pool_t *p)
{
    SCEP_TRY(scep_spki_hash(csr->key_hash, csr->spki, p));
    if (EVP_Digest(csr->der.data, csr->der.len, csr->hash, NULL, scep_fetched_digest(NID_sha256),
                   NULL) != 1)
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

/* Words to Microsoft's CA ("SAN:...", "CertificateTemplate:..."): one that is handed the whole CSR
 * may follow what nobody here has judged. Of the others OpenSSL says whether they are attributes at
 * all. */
static const scep_err *check_other(scep_cursor oid, scep_bytes whole, apr_pool_t *p)
{
    if (scep_asn1_is((scep_bytes){ oid.at, oid.left }, scep_oid(SCEP_OID_MICROSOFT_NAME_VALUE)))
        return scep_fail(
            p, UNREADABLE,
            "CSR: attribute 1.3.6.1.4.1.311.13.2.1 asks the CA for what is not judged");
    if (!scep_asn1_read(ASN1_ITEM_rptr(X509_ATTRIBUTE), whole, p))
        return scep_fail(p, UNREADABLE, "CSR: an attribute cannot be read");
    return NULL;
}

static const scep_err *note_attribute(request *read, scep_bytes whole, apr_pool_t *p)
{
    scep_cursor c = { whole.data, whole.len }, oid, values;
    scep_bytes value;
    kind k;

    if (!scep_ber_step(&c, SEQUENCE, &c) || !scep_ber_step(&c, OBJECT, &oid) ||
        !scep_ber_step(&c, SET, &values) || c.left)
        return scep_fail(p, UNREADABLE, "CSR: an attribute cannot be read");
    k = kind_of(oid);
    if (k == KINDS)
        return check_other(oid, whole, p);
    value.data = values.at;
    if (read->values[k].data || !scep_ber_skip(&values) || values.left)
        return scep_fail(p, UNREADABLE, "CSR: attribute %s is doubled or has not one value",
                         attribute_name(k));
    value.len = (size_t)(values.at - value.data);
    read->values[k] = value;
    return NULL;
}

/* RFC 2986 4.1; some leave them out. */
static const scep_err *note_attributes(request *read, scep_cursor attributes, apr_pool_t *p)
{
    scep_bytes one;

    for (; attributes.left; read->attributes++) {
        if (!scep_ber_take(&attributes, SEQUENCE, &one))
            return scep_fail(p, UNREADABLE, "CSR: an attribute cannot be read");
        if (read->attributes == ATTRIBUTES_MOST)
            return scep_fail(p, UNREADABLE, "CSR: more than %d attributes", ATTRIBUTES_MOST);
        SCEP_TRY(note_attribute(read, one, p));
    }
    return NULL;
}

/* RFC 2986 4. @param attributes at NULL: none. @return false: not one PKCS#10 to the last byte */
static bool walk(request *read, scep_csr *csr, scep_cursor *attributes, apr_pool_t *p)
{
    scep_cursor c = { csr->der.data, csr->der.len }, in;
    const ASN1_INTEGER *version;

    *read = (request){ 0 };
    *attributes = (scep_cursor){ NULL, 0 };
    if (!scep_ber_step(&c, SEQUENCE, &c) || !scep_ber_take(&c, SEQUENCE, &read->info) ||
        !scep_asn1_algorithm(&csr->signature, NULL, &c, p) ||
        !scep_asn1_bits(&read->signature, &c) || c.left)
        return false;
    in = (scep_cursor){ read->info.data, read->info.len };
    if (!scep_ber_step(&in, SEQUENCE, &in) || !scep_asn1_integer(&version, &in, p) ||
        !scep_ber_take(&in, SEQUENCE, &read->subject) || !scep_ber_take(&in, SEQUENCE, &csr->spki))
        return false;
    (void)scep_ber_step(&in, ATTRIBUTES, attributes);
    return !in.left;
}

/* What is in both: its parts and its key. */
static const scep_err *take_apart(scep_csr **out, request *read, scep_bytes der,
                                  const scep_cert *signer, apr_pool_t *p)
{
    scep_csr *csr = apr_pcalloc(p, sizeof(*csr));
    scep_cursor attributes;

    csr->der = der;
    if (!is_acceptable(der) || !walk(read, csr, &attributes, p))
        return scep_fail(p, UNREADABLE,
                         "CSR: the envelope does not hold one PKCS#10 of at most %d "
                         "bytes",
                         CSR_MOST);
    SCEP_TRY(note_attributes(read, attributes, p));
    SCEP_TRY(read_key(csr, signer, p));
    SCEP_TRY(read_challenge(csr, read, p));
    *out = csr;
    return NULL;
}

const scep_err *scep_csr_look(scep_csr **out, scep_bytes der, const scep_cert *signer,
                              apr_pool_t *p)
{
    request read;

    return take_apart(out, &read, der, signer, p);
}

const scep_err *scep_csr_read(scep_csr **out, scep_bytes der, apr_pool_t *p)
{
    scep_csr *csr;
    request read;

    SCEP_TRY(take_apart(&csr, &read, der, NULL, p));
    csr->subject = scep_asn1_read(ASN1_ITEM_rptr(X509_NAME), read.subject, p);
    if (!csr->subject)
        return scep_fail(p, UNREADABLE, "CSR: the subject is no Name");
    SCEP_TRY(verify(csr, &read, p));
    SCEP_TRY(read_extensions(csr, &read, p));
    SCEP_TRY(read_key_usage(csr, p));
    SCEP_TRY(hash(csr, p));
    *out = csr;
    return NULL;
}
