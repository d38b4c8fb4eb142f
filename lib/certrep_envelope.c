/* The envelope of a reply. RFC 5652 6, RFC 8894 3.1. */
#include "algorithm.h"
#include "certrep_parts.h"
#include "cms.h"

#include <openssl/rand.h>
#include <openssl/rsa.h>

/* Of PBKDF2, in front of a challenge: some milliseconds for either side. */
enum { PASSWORD_ROUNDS = 10000 };

/* ---- to whoever knows the challenge, as OpenSSL's CMS does it ---- */

static const scep_err *to_challenge(CMS_ContentInfo *cms, scep_bytes challenge, apr_pool_t *p)
{
    unsigned char *copy = OPENSSL_memdup(challenge.data, challenge.len);
    CMS_RecipientInfo *to = NULL;

    /* given in a second step: of the first one nobody can tell whether it took it when it fails */
    if (copy)
        to = CMS_add0_recipient_password(cms, PASSWORD_ROUNDS, NID_id_alg_PWRI_KEK, NID_undef, NULL,
                                         0, NULL);
    if (to && CMS_RecipientInfo_set0_password(to, copy, (ossl_ssize_t)challenge.len))
        return NULL;
    OPENSSL_clear_free(copy, challenge.len);
    return scep_fail(p, INTERNAL, "a reply cannot be encrypted by the challenge");
}

static const scep_err *encrypt_by_password(scep_bytes *out, const scep_message *request,
                                           scep_bytes content, scep_bytes challenge, apr_pool_t *p)
{
    unsigned flags = CMS_PARTIAL | CMS_BINARY;
    BIO *data = scep_BIO(p, BIO_new_mem_buf(content.data, (int)content.len));
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(
        p, CMS_encrypt_ex(NULL, NULL, request->cipher, flags, request->context, NULL));

    if (!data || !cms)
        return scep_fail(p, INTERNAL, "a reply's envelope cannot be made");
    SCEP_TRY(to_challenge(cms, challenge, p));
    if (!CMS_final(cms, data, NULL, CMS_BINARY))
        return scep_fail(p, INTERNAL, "a reply cannot be encrypted");
    return scep_cms_der(out, cms, p);
}

/* ---- to the certificate that signed the request, whatever it is otherwise worth ---- */

/* What is encrypted with, and what comes of it. */
typedef struct sealed {
    unsigned char *key, iv[EVP_MAX_IV_LENGTH];
    size_t key_len, iv_len;
    scep_bytes content;
} sealed;

static bool run(sealed *s, EVP_CIPHER_CTX *ctx, scep_bytes content, apr_pool_t *p)
{
    unsigned char *out = apr_palloc(p, content.len + (size_t)EVP_CIPHER_CTX_get_block_size(ctx));
    int len = 0, last = 0;

    if (EVP_EncryptInit_ex(ctx, NULL, NULL, s->key, s->iv) != 1 ||
        EVP_EncryptUpdate(ctx, out, &len, content.data, (int)content.len) != 1 ||
        EVP_EncryptFinal_ex(ctx, out + len, &last) != 1)
        return false;
    s->content = (scep_bytes){ out, (size_t)len + (size_t)last };
    return true;
}

/* With a fresh key. Single DES is in a context of its own only (legacy.h). */
static const scep_err *seal(sealed *s, const scep_message *request, scep_bytes content,
                            apr_pool_t *p)
{
    const char *name = EVP_CIPHER_get0_name(request->cipher);
    EVP_CIPHER_CTX *ctx = scep_EVP_CIPHER_CTX(p, EVP_CIPHER_CTX_new());
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(request->context, name, NULL);
    bool good = ctx && cipher && EVP_EncryptInit_ex(ctx, cipher, NULL, NULL, NULL) == 1;

    EVP_CIPHER_free(cipher);
    s->key = scep_secret(p, EVP_MAX_KEY_LENGTH);
    if (!good || EVP_CIPHER_CTX_rand_key(ctx, s->key) <= 0)
        return scep_fail(p, INTERNAL, "a reply's content key cannot be made");
    s->key_len = (size_t)EVP_CIPHER_CTX_get_key_length(ctx);
    s->iv_len = (size_t)EVP_CIPHER_CTX_get_iv_length(ctx);
    if (s->iv_len > sizeof(s->iv) || RAND_bytes(s->iv, (int)s->iv_len) != 1 ||
        !run(s, ctx, content, p))
        return scep_fail(p, INTERNAL, "a reply cannot be encrypted");
    return NULL;
}

static bool set_padding(EVP_PKEY_CTX *ctx, const scep_mask *oaep)
{
    if (!oaep->digest)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) > 0;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, oaep->digest) > 0 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, oaep->mask) > 0;
}

/* RFC 4055 4.1: with the request's digests, and no label. */
static const scep_err *oaep_algorithm(X509_ALGOR **out, const X509_ALGOR *request, apr_pool_t *p)
{
    const ASN1_ITEM *item = ASN1_ITEM_rptr(RSA_OAEP_PARAMS);
    scep_bytes der = scep_asn1_bytes(request->parameter->value.sequence);
    RSA_OAEP_PARAMS *read = scep_asn1_read(item, der, p);

    if (!read)
        return scep_fail(p, INTERNAL, "a request's RSA-OAEP cannot be mirrored");
    X509_ALGOR_free(read->pSourceFunc);
    read->pSourceFunc = NULL;
    SCEP_TRY(scep_asn1_write(&der, item, read, p));
    *out = cms_algorithm(NID_rsaesOaep, cms_any(V_ASN1_SEQUENCE, der, p), p);
    return NULL;
}

/* The same padding and digests as the request: what the client wrote it can read. */
static const scep_err *transport(cms_recipient *to, const sealed *s, const scep_message *request,
                                 apr_pool_t *p)
{
    EVP_PKEY_CTX *ctx =
        scep_EVP_PKEY_CTX(p, EVP_PKEY_CTX_new_from_pkey(NULL, request->signer_key, NULL));
    size_t len = (size_t)EVP_PKEY_get_size(request->signer_key);
    unsigned char *made = apr_palloc(p, len);
    scep_oaep oaep;

    SCEP_TRY(scep_algorithm_transport(&oaep, request->envelope->transport, p));
    if (!ctx || EVP_PKEY_encrypt_init(ctx) <= 0 || !set_padding(ctx, &oaep.mask) ||
        EVP_PKEY_encrypt(ctx, made, &len, s->key, s->key_len) <= 0)
        return scep_fail(p, INTERNAL, "a reply cannot be encrypted to the request's signer");
    to->key = cms_string(V_ASN1_OCTET_STRING, (scep_bytes){ made, len }, p);
    if (oaep.mask.digest)
        return oaep_algorithm(&to->transport, request->envelope->transport, p);
    to->transport =
        cms_algorithm(NID_rsaEncryption, cms_any(V_ASN1_NULL, (scep_bytes){ NULL, 0 }, p), p);
    return NULL;
}

/* RFC 5652 6.2.1: by issuer and serial number, which is version 0. */
static const scep_err *recipient(scep_bytes *out, const sealed *s, const scep_message *request,
                                 apr_pool_t *p)
{
    /* read only, by i2d */
    cms_issuer_serial of = { (X509_NAME *)(uintptr_t)request->signer->issuer,
                             (ASN1_INTEGER *)(uintptr_t)request->signer->serial };
    cms_identifier id = { .type = CMS_BY_ISSUER_SERIAL, .d.issuer_serial = &of };
    cms_recipient to = { .version = 0, .id = &id };

    SCEP_TRY(transport(&to, s, request, p));
    return scep_asn1_write(out, cms_recipient_it(), &to, p);
}

static const scep_err *encrypt_to_signer(scep_bytes *out, const scep_message *request,
                                         scep_bytes content, apr_pool_t *p)
{
    cms_encrypted encrypted = { .type = OBJ_nid2obj(NID_pkcs7_data) };
    cms_enveloped cms = { .version = 0, .encrypted = &encrypted };
    const cms_enveloped_info info = { OBJ_nid2obj(NID_pkcs7_enveloped), &cms };
    scep_bytes to;
    sealed s;

    SCEP_TRY(seal(&s, request, content, p));
    SCEP_TRY(recipient(&to, &s, request, p));
    encrypted.cipher =
        cms_algorithm(EVP_CIPHER_get_nid(request->cipher),
                      cms_any(V_ASN1_OCTET_STRING, (scep_bytes){ s.iv, s.iv_len }, p), p);
    encrypted.content = cms_string(V_ASN1_OCTET_STRING, s.content, p);
    cms.recipients = cms_encoded(&to, 1, p);
    if (!cms.recipients)
        return scep_fail(p, INTERNAL, "out of memory");
    return scep_asn1_write(out, cms_enveloped_info_it(), &info, p);
}

/* RFC 8894 3.1 */
const scep_err *scep_certrep_envelope(scep_bytes *out, const scep_message *request,
                                      scep_bytes content, scep_bytes challenge, apr_pool_t *p)
{
    if (EVP_PKEY_get_base_id(request->signer_key) == EVP_PKEY_RSA)
        return encrypt_to_signer(out, request, content, p);
    return encrypt_by_password(out, request, content, challenge, p);
}
