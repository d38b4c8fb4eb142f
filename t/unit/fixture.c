/* Identities and replies of the test client; its requests are in fixture_request.c. */
#include "fixture.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 3

static EVP_PKEY *client_keys[KEYS];

void fixture_abort(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: fixture failed: %s\n", file, line, what);
    ERR_print_errors_fp(stderr);
    abort();
}

/* ---- identities ---- */

EVP_PKEY *fixture_key(int i)
{
    EVP_PKEY **key = &client_keys[i % KEYS];

    if (!*key)
        FIXTURE_MUST((*key = EVP_RSA_gen(2048)));
    return *key;
}

EVP_PKEY *fixture_key_make(int rsa_bits, const char *curve, apr_pool_t *p)
{
    EVP_PKEY *key = scep_EVP_PKEY(p, curve ? EVP_EC_gen(curve) : EVP_RSA_gen((unsigned)rsa_bits));

    FIXTURE_MUST(key);
    return key;
}

/* Values must not hold a comma: tests have no need of one. */
void fixture_set_name(X509_NAME *name, const char *text)
{
    char copy[1024];
    char *state = NULL;

    FIXTURE_MUST(strlen(text) < sizeof(copy) - 3);
    apr_snprintf(copy, sizeof(copy), "%s%s", *text && !strchr(text, '=') ? "CN=" : "", text);
    for (char *part = apr_strtok(copy, ",", &state); part; part = apr_strtok(NULL, ",", &state)) {
        char *value = strchr(part, '=');

        FIXTURE_MUST(value);
        *value++ = '\0';
        FIXTURE_MUST(X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8, (unsigned char *)value,
                                                -1, -1, 0));
    }
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    FIXTURE_MUST(extension && X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

static const char *usage_text(uint32_t usage, apr_pool_t *p)
{
    return apr_pstrcat(p, "critical", usage & KU_DIGITAL_SIGNATURE ? ",digitalSignature" : "",
                       usage & KU_KEY_ENCIPHERMENT ? ",keyEncipherment" : "",
                       usage & KU_KEY_CERT_SIGN ? ",keyCertSign" : "",
                       usage & KU_CRL_SIGN ? ",cRLSign" : "", NULL);
}

bool fixture_is(const scep_cert *view, const X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    bool same;

    FIXTURE_MUST(len > 0);
    same = scep_bytes_equal(view->der, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    return same;
}

void fixture_resign(X509 *cert, EVP_PKEY *issuer_key)
{
    FIXTURE_MUST(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
}

X509 *fixture_cert(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, bool is_ca,
                   uint32_t usage, apr_pool_t *p)
{
    X509 *cert = scep_X509(p, X509_new());
    BIGNUM *serial = BN_new();

    FIXTURE_MUST(cert && serial);
    FIXTURE_MUST(X509_set_version(cert, X509_VERSION_3));
    FIXTURE_MUST(BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
                 BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)));
    BN_free(serial);
    fixture_set_name(X509_get_subject_name(cert), cn);
    FIXTURE_MUST(X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)));
    FIXTURE_MUST(X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
                 X509_gmtime_adj(X509_getm_notAfter(cert), 30L * 86400));
    FIXTURE_MUST(X509_set_pubkey(cert, key));
    add_extension(cert, issuer ? issuer : cert, NID_subject_key_identifier, "hash");
    if (is_ca)
        add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
    if (usage)
        add_extension(cert, cert, NID_key_usage, usage_text(usage, p));
    fixture_resign(cert, issuer ? issuer_key : key);
    return cert;
}

const fixture_ca *fixture_ca_get(void)
{
    static apr_pool_t *pool;
    static fixture_ca ca;

    if (pool)
        return &ca;
    FIXTURE_MUST(apr_pool_create(&pool, NULL) == APR_SUCCESS);
    ca.root_key = fixture_key_make(2048, NULL, pool);
    ca.root = fixture_cert("CN=Test CA,O=Fixture", ca.root_key, NULL, NULL, true,
                           KU_KEY_CERT_SIGN | KU_CRL_SIGN, pool);
    ca.ra.sign.key = fixture_key_make(2048, NULL, pool);
    ca.ra.sign.cert = fixture_cert("CN=Test RA signing,O=Fixture", ca.ra.sign.key, ca.root,
                                   ca.root_key, false, KU_DIGITAL_SIGNATURE, pool);
    ca.ra.decrypt.key = fixture_key_make(2048, NULL, pool);
    ca.ra.decrypt.cert = fixture_cert("CN=Test RA encryption,O=Fixture", ca.ra.decrypt.key, ca.root,
                                      ca.root_key, false, KU_KEY_ENCIPHERMENT, pool);
    return &ca;
}

void fixture_prepare(void)
{
    (void)fixture_ca_get();
    for (int i = 0; i < KEYS; i++)
        (void)fixture_key(i);
}

/* ---- replies ---- */

X509_STACK *fixture_certs(scep_bytes body, apr_pool_t *p)
{
    const unsigned char *at = body.data;
    X509 *one = scep_X509(p, d2i_X509(NULL, &at, (long)body.len));
    X509_STACK *certs = scep_borrowed_stack(p);
    PKCS7 *list;

    ERR_clear_error();
    if (one && at == body.data + body.len) {
        FIXTURE_MUST(sk_X509_push(certs, one));
        return certs;
    }
    /* PKCS7_* keeps the order in which the certificates were sent */
    at = body.data;
    list = scep_PKCS7(p, d2i_PKCS7(NULL, &at, (long)body.len));
    ERR_clear_error();
    if (!list || at != body.data + body.len || !PKCS7_type_is_signed(list) ||
        !PKCS7_type_is_data(list->d.sign->contents) || list->d.sign->contents->d.data ||
        sk_PKCS7_SIGNER_INFO_num(list->d.sign->signer_info) > 0 ||
        sk_X509_CRL_num(list->d.sign->crl) > 0)
        return NULL;
    for (int i = 0; i < sk_X509_num(list->d.sign->cert); i++)
        FIXTURE_MUST(sk_X509_push(certs, sk_X509_value(list->d.sign->cert, i)));
    return certs;
}

/* A SCEP attribute; false where it is there but not once, with one value of this type. */
static bool attribute(scep_bytes *out, CMS_SignerInfo *si, const char *oid, int type, apr_pool_t *p)
{
    ASN1_OBJECT *object = scep_ASN1_OBJECT(p, OBJ_txt2obj(oid, 1));
    int first, count;
    X509_ATTRIBUTE *found;
    ASN1_STRING *value;

    *out = (scep_bytes){ 0 };
    first = CMS_signed_get_attr_by_OBJ(si, object, -1);
    if (first < 0)
        return true;
    found = CMS_signed_get_attr(si, first);
    count = X509_ATTRIBUTE_count(found);
    value = X509_ATTRIBUTE_get0_data(found, 0, type, NULL);
    ERR_clear_error();
    if (count != 1 || !value || CMS_signed_get_attr_by_OBJ(si, object, first) >= 0)
        return false;
    *out = scep_bytes_dup(
        p, (scep_bytes){ ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value) });
    return true;
}

static bool text_attribute(const char **out, CMS_SignerInfo *si, const char *oid, int type,
                           apr_pool_t *p)
{
    scep_bytes value;

    if (!attribute(&value, si, oid, type, p) || (value.len && memchr(value.data, 0, value.len)))
        return false;
    *out = (const char *)value.data;
    return true;
}

static bool attributes(fixture_reply *r, CMS_SignerInfo *si, apr_pool_t *p)
{
    const int printable = V_ASN1_PRINTABLESTRING, octets = V_ASN1_OCTET_STRING;

    return text_attribute(&r->message_type, si, "2.16.840.1.113733.1.9.2", printable, p) &&
           text_attribute(&r->pki_status, si, "2.16.840.1.113733.1.9.3", printable, p) &&
           text_attribute(&r->fail_info, si, "2.16.840.1.113733.1.9.4", printable, p) &&
           text_attribute(&r->fail_info_text, si, "1.3.6.1.5.5.7.24.1", V_ASN1_UTF8STRING, p) &&
           text_attribute(&r->transaction_id, si, "2.16.840.1.113733.1.9.7", printable, p) &&
           attribute(&r->sender_nonce, si, "2.16.840.1.113733.1.9.5", octets, p) &&
           attribute(&r->recipient_nonce, si, "2.16.840.1.113733.1.9.6", octets, p);
}

/* Into ContentInfo -> [0] -> SEQUENCE -> version; what follows the version is left in c. */
static bool enter(scep_cursor *c, int *version)
{
    uint8_t tag;
    scep_bytes b;
    const uint8_t way[] = { 0x30, 0x06, 0xA0, 0x30, 0x02 };

    for (size_t i = 0; i < sizeof(way); i++) {
        if (!scep_cursor_der(c, &tag, &b) || tag != way[i])
            return false;
        if (tag == 0x30 || tag == 0xA0)
            *c = (scep_cursor){ b.data, b.len };
    }
    *version = b.len == 1 ? b.data[0] : -1;
    return true;
}

/* The content-encryption algorithm has no getter: recipientInfos, then SEQUENCE { type, alg }. */
static bool content_cipher(int *nid, int *version, scep_bytes der)
{
    scep_cursor c = { der.data, der.len };
    uint8_t tag;
    scep_bytes b;
    const unsigned char *at;
    ASN1_OBJECT *oid;

    if (!enter(&c, version) || !scep_cursor_der(&c, &tag, &b) || tag != 0x31 ||
        !scep_cursor_der(&c, &tag, &b) || tag != 0x30)
        return false;
    c = (scep_cursor){ b.data, b.len };
    if (!scep_cursor_der(&c, &tag, &b) || tag != 0x06 || !scep_cursor_der(&c, &tag, &b) ||
        tag != 0x30)
        return false;
    at = b.data;
    oid = d2i_ASN1_OBJECT(NULL, &at, (long)b.len);
    *nid = OBJ_obj2nid(oid);
    ASN1_OBJECT_free(oid);
    return true;
}

static const char *open_content(fixture_reply *r, scep_bytes envelope, X509 *signer_cert,
                                EVP_PKEY *key, apr_pool_t *p)
{
    const unsigned char *at = envelope.data;
    CMS_ContentInfo *cms =
        scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)envelope.len));
    STACK_OF(CMS_RecipientInfo) *recipients = cms ? CMS_get0_RecipientInfos(cms) : NULL;
    CMS_RecipientInfo *to;
    X509_ALGOR *transport;
    BIO *plain = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *data;
    long len;

    if (!cms || at != envelope.data + envelope.len ||
        OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_enveloped)
        return "content is not an EnvelopedData";
    if (!content_cipher(&r->cipher_nid, &r->enveloped_version, envelope))
        return "EnvelopedData is not DER";
    if (sk_CMS_RecipientInfo_num(recipients) != 1)
        return "not one recipient";
    to = sk_CMS_RecipientInfo_value(recipients, 0);
    if (CMS_RecipientInfo_type(to) != CMS_RECIPINFO_TRANS ||
        CMS_RecipientInfo_ktri_get0_algs(to, NULL, NULL, &transport) != 1)
        return "recipient is not one of key transport";
    r->key_transport_nid = OBJ_obj2nid(transport->algorithm);
    if (CMS_RecipientInfo_ktri_cert_cmp(to, signer_cert) != 0)
        return "encrypted to another certificate";
    FIXTURE_MUST(plain);
    if (CMS_decrypt(cms, key, signer_cert, NULL, plain, CMS_BINARY) != 1)
        return "content does not decrypt";
    len = BIO_get_mem_data(plain, &data);
    r->certs = fixture_certs((scep_bytes){ (unsigned char *)data, (size_t)len }, p);
    return r->certs ? NULL : "messageData is not a degenerate SignedData";
}

/* DER is what a definite-length, sorted encoding of the same value gives. */
static bool is_der(const CMS_ContentInfo *cms, scep_bytes der)
{
    unsigned char *again = NULL;
    int len = i2d_CMS_ContentInfo(cms, &again);
    bool same = len == (int)der.len && memcmp(again, der.data, der.len) == 0;

    OPENSSL_free(again);
    return same;
}

static const char *open_reply(fixture_reply *r, scep_bytes der, X509 *signer_cert, EVP_PKEY *key,
                              apr_pool_t *p)
{
    const unsigned char *at = der.data;
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)der.len));
    STACK_OF(CMS_SignerInfo) *signers = cms ? CMS_get0_SignerInfos(cms) : NULL;
    X509_STACK *sent = cms ? scep_X509_STACK(p, CMS_get1_certs(cms)) : NULL;
    BIO *empty = scep_BIO(p, BIO_new_mem_buf("", 0));
    BIO *out = scep_BIO(p, BIO_new(BIO_s_mem()));
    scep_cursor c = { der.data, der.len };
    ASN1_OCTET_STRING **content;
    CMS_SignerInfo *si;
    X509_ALGOR *digest;

    if (!cms || at != der.data + der.len || OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
        return "not a SignedData to the last byte";
    if (!is_der(cms, der) || !enter(&c, &r->signed_version))
        return "not DER";
    if (sk_CMS_SignerInfo_num(signers) != 1 ||
        OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data)
        return "not one signer over content of type data";
    si = sk_CMS_SignerInfo_value(signers, 0);
    if (!attributes(r, si, p))
        return "an attribute is doubled or has another type or number of values";
    content = CMS_get0_content(cms);
    r->outer_certs = sk_X509_num(sent);
    r->verified = CMS_verify(cms, NULL, NULL, content && *content ? NULL : empty, out,
                             CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) == 1;
    CMS_SignerInfo_get0_algs(si, NULL, &r->ra, &digest, NULL);
    if (!r->ra)
        return "signer's certificate was not sent";
    r->digest_nid = OBJ_obj2nid(digest->algorithm);
    if (!content || !*content || !signer_cert)
        return NULL;
    return open_content(
        r, (scep_bytes){ ASN1_STRING_get0_data(*content), (size_t)ASN1_STRING_length(*content) },
        signer_cert, key, p);
}

fixture_reply *fixture_open(scep_bytes der, X509 *signer_cert, EVP_PKEY *key, const char **why,
                            apr_pool_t *p)
{
    fixture_reply *r = apr_pcalloc(p, sizeof(*r));

    r->enveloped_version = -1;
    *why = open_reply(r, der, signer_cert, key, p);
    ERR_clear_error();
    return *why ? NULL : r;
}
