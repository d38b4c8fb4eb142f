/* What the fuzz targets share: keys, and messages signed at once. */
#include "fuzz.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

apr_pool_t *fuzz_begin(void)
{
    static apr_pool_t *root;
    apr_pool_t *p;

    if (!root) {
        FIXTURE_MUST(apr_initialize() == APR_SUCCESS);
        FIXTURE_MUST(apr_pool_create(&root, NULL) == APR_SUCCESS);
        (void)fuzz_keys_get();
    }
    FIXTURE_MUST(apr_pool_create(&p, root) == APR_SUCCESS);
    ERR_clear_error();
    return p;
}

void fuzz_end(apr_pool_t *p)
{
    apr_pool_destroy(p);
}

/* ---- keys ---- */

static BIO *open_file(const char *name)
{
    char path[4096];
    BIO *in;

    FIXTURE_MUST(apr_snprintf(path, sizeof(path), "%s/%s", FUZZ_FOLDER, name) <
                 (int)sizeof(path) - 1);
    in = BIO_new_file(path, "r");
    FIXTURE_MUST(in);
    return in;
}

static X509 *read_cert(const char *name)
{
    BIO *in = open_file(name);
    X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);

    FIXTURE_MUST(cert);
    BIO_free(in);
    return cert;
}

static EVP_PKEY *read_key(const char *name)
{
    BIO *in = open_file(name);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);

    FIXTURE_MUST(key);
    BIO_free(in);
    return key;
}

const fuzz_keys *fuzz_keys_get(void)
{
    static fuzz_keys keys;

    if (keys.ca.cert)
        return &keys;
    keys.ra.sign.cert = keys.ra.decrypt.cert = read_cert("../vectors/ra.pem");
    keys.ra.sign.key = keys.ra.decrypt.key = read_key("../vectors/ra.key");
    keys.rsa = (fuzz_party){ read_cert("keys/rsa.pem"), read_key("keys/rsa.key") };
    keys.elliptic = (fuzz_party){ read_cert("keys/elliptic.pem"), read_key("keys/elliptic.key") };
    keys.device = (fuzz_party){ read_cert("keys/device.pem"), keys.rsa.key };
    keys.ca = (fuzz_party){ read_cert("keys/ca.pem"), read_key("keys/ca.key") };
    return &keys;
}

/* ---- messages ---- */

static const char *const names[] = {
    "2.16.840.1.113733.1.9.2", /* messageType */
    "2.16.840.1.113733.1.9.7", /* transactionID */
    "2.16.840.1.113733.1.9.5", /* senderNonce */
    "1.2.840.113549.1.9.5",    /* signingTime */
    "2.16.840.1.113733.1.9.6", /* recipientNonce */
    "2.16.840.1.113733.1.9.3", /* pkiStatus */
    "1.2.840.113549.1.9.25.3", /* randomNonce */
    "1.2.840.113549.1.9.52",   /* CMSAlgorithmProtection */
};

static const int types[] = {
    V_ASN1_PRINTABLESTRING, V_ASN1_OCTET_STRING, V_ASN1_UTCTIME,    V_ASN1_GENERALIZEDTIME,
    V_ASN1_UTF8STRING,      V_ASN1_IA5STRING,    V_ASN1_T61STRING,  V_ASN1_BMPSTRING,
    V_ASN1_SEQUENCE,        V_ASN1_SET,          V_ASN1_BIT_STRING, V_ASN1_NUMERICSTRING,
};

static void add_attributes(CMS_SignerInfo *si, scep_cursor *c, uint8_t count, apr_pool_t *p)
{
    uint8_t name, type, len;
    scep_bytes value;

    while (count-- && scep_cursor_u8(c, &name) && scep_cursor_u8(c, &type) &&
           scep_cursor_u8(c, &len) && scep_cursor_take(c, len, &value)) {
        ASN1_OBJECT *oid = scep_ASN1_OBJECT(p, OBJ_txt2obj(names[name % COUNT(names)], 1));

        FIXTURE_MUST(oid);
        /* an attribute that is there already is refused, and then stands once */
        (void)CMS_signed_add1_attr_by_OBJ(si, oid, types[type % COUNT(types)], value.data,
                                          (int)value.len);
    }
}

scep_bytes fuzz_message(const uint8_t *data, size_t size, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    const fuzz_party *const signers[] = { &keys->rsa, &keys->elliptic, &keys->device };
    const EVP_MD *const digests[] = { EVP_sha256(), EVP_sha1(),   EVP_sha512(),
                                      EVP_sha384(), EVP_sha224(), EVP_md5() };
    const unsigned flags = CMS_PARTIAL | CMS_BINARY;
    scep_cursor c = { data, size };
    uint8_t recipe, signer, digest, count;
    unsigned char *der = NULL;
    CMS_ContentInfo *cms;
    CMS_SignerInfo *si;
    scep_bytes made;
    BIO *content;
    int len;

    if (!scep_cursor_u8(&c, &recipe) || recipe != 'R' || !scep_cursor_u8(&c, &signer) ||
        !scep_cursor_u8(&c, &digest) || !scep_cursor_u8(&c, &count))
        return (scep_bytes){ data, size };
    cms = scep_CMS_ContentInfo(p, CMS_sign(NULL, NULL, NULL, NULL, flags));
    FIXTURE_MUST(cms);
    signer %= COUNT(signers);
    si = CMS_add1_signer(cms, signers[signer]->cert, signers[signer]->key,
                         digests[digest % COUNT(digests)], flags | CMS_NOSMIMECAP);
    if (!si) /* there is no ECDSA with MD5 */
        return (scep_bytes){ data, size };
    add_attributes(si, &c, count, p);
    content = scep_BIO(p, BIO_new_mem_buf(c.at, (int)c.left));
    FIXTURE_MUST(content);
    /* OpenSSL does not sign attributes that contradict themselves */
    if (!CMS_final(cms, content, NULL, CMS_BINARY) || (len = i2d_CMS_ContentInfo(cms, &der)) <= 0)
        return (scep_bytes){ data, size };
    made = scep_bytes_dup(p, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    ERR_clear_error();
    return made;
}

/* ---- CSRs ---- */

/* Identifier and length of a DER element. */
static size_t put_header(unsigned char *to, unsigned char tag, size_t len)
{
    const unsigned char head[] = { tag, 0x83, (unsigned char)(len >> 16), (unsigned char)(len >> 8),
                                   (unsigned char)len };
    const size_t skip = len < 0x80 ? 3 : len < 0x100 ? 2 : len < 0x10000 ? 1 : 0;

    FIXTURE_MUST(len < 1u << 24);
    to[0] = tag;
    if (skip == 3)
        to[1] = (unsigned char)len;
    else {
        to[1] = (unsigned char)(0x83 - skip);
        memcpy(to + 2, head + 2 + skip, 3 - skip);
    }
    return 5 - skip;
}

scep_bytes fuzz_csr(const uint8_t *data, size_t size, apr_pool_t *p)
{
    static const unsigned char ecdsa_with_sha256[] = { 0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86,
                                                       0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02 };
    const fuzz_keys *keys = fuzz_keys_get();
    unsigned char signature[256], tail[300], head[8], *made;
    size_t len = sizeof(signature), tail_len = 0, head_len;
    EVP_MD_CTX *ctx;

    if (!size || *data != 'S')
        return (scep_bytes){ data, size };
    data++, size--;
    ctx = scep_EVP_MD_CTX(p, EVP_MD_CTX_new());
    FIXTURE_MUST(ctx &&
                 EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, keys->elliptic.key) == 1 &&
                 EVP_DigestSign(ctx, signature, &len, data, size) == 1);
    memcpy(tail, ecdsa_with_sha256, sizeof(ecdsa_with_sha256));
    tail_len = sizeof(ecdsa_with_sha256);
    tail_len += put_header(tail + tail_len, V_ASN1_BIT_STRING, len + 1);
    tail[tail_len++] = 0; /* no unused bits */
    memcpy(tail + tail_len, signature, len);
    tail_len += len;
    head_len = put_header(head, 0x30, size + tail_len);
    made = apr_palloc(p, head_len + size + tail_len);
    memcpy(made, head, head_len);
    memcpy(made + head_len, data, size);
    memcpy(made + head_len + size, tail, tail_len);
    return (scep_bytes){ made, head_len + size + tail_len };
}

bool fuzz_is_name(scep_bytes der, const X509_NAME *theirs)
{
    const unsigned char *at = der.data;
    X509_NAME *read = d2i_X509_NAME(NULL, &at, (long)der.len);
    bool same = read && at == der.data + der.len && !X509_NAME_cmp(read, theirs);

    X509_NAME_free(read);
    return same;
}
