/* The envelope of a reply. RFC 5652 6, RFC 8894 3.1. */
#include "algorithm.h"
#include "asn1.h"
#include "certrep_parts.h"
#include "certs.h"
#include "der.h"

#include <openssl/rand.h>
#include <openssl/rsa.h>

/* Of PBKDF2, in front of a challenge: some milliseconds for either side. */
enum { PASSWORD_ROUNDS = 10000 };

/* Tags, lengths, object identifiers, an IV and small numbers around what varies. */
enum { ENVELOPE_ROOM = 512 };

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

/* Single DES is in a context of its own only (legacy.h). */
static bool begin(EVP_CIPHER_CTX *ctx, const scep_message *request)
{
    EVP_CIPHER *cipher;
    bool good;

    if (!request->context)
        return EVP_EncryptInit_ex(ctx, request->cipher, NULL, NULL, NULL) == 1;
    cipher = EVP_CIPHER_fetch(request->context, EVP_CIPHER_get0_name(request->cipher), NULL);
    good = cipher && EVP_EncryptInit_ex(ctx, cipher, NULL, NULL, NULL) == 1;
    EVP_CIPHER_free(cipher);
    return good;
}

/* With a fresh key. */
static const scep_err *seal(sealed *s, const scep_message *request, scep_bytes content,
                            apr_pool_t *p)
{
    EVP_CIPHER_CTX *ctx = scep_EVP_CIPHER_CTX(p, EVP_CIPHER_CTX_new());

    s->key = scep_secret(p, EVP_MAX_KEY_LENGTH);
    if (!ctx || !begin(ctx, request) || EVP_CIPHER_CTX_rand_key(ctx, s->key) <= 0)
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

/* RFC 4055 4.1: with the request's digests, and no label. @param out DER of the parameters */
static const scep_err *oaep_parameters(scep_bytes *out, const X509_ALGOR *request, apr_pool_t *p)
{
    const ASN1_ITEM *item = ASN1_ITEM_rptr(RSA_OAEP_PARAMS);
    scep_bytes der = scep_asn1_bytes(request->parameter->value.sequence);
    RSA_OAEP_PARAMS *read = scep_asn1_read(item, der, p);

    if (!read)
        return scep_fail(p, INTERNAL, "a request's RSA-OAEP cannot be mirrored");
    X509_ALGOR_free(read->pSourceFunc);
    read->pSourceFunc = NULL;
    return scep_asn1_write(out, item, read, p);
}

/* A content key for whoever signed the request, and how it is transported. */
typedef struct transported {
    scep_bytes key;        /* encrypted */
    scep_bytes parameters; /* DER; len 0: PKCS#1 v1.5 */
} transported;

/* The same padding and digests as the request: what the client wrote it can read. */
static const scep_err *transport(transported *to, const sealed *s, const scep_message *request,
                                 apr_pool_t *p)
{
    EVP_PKEY_CTX *ctx = scep_EVP_PKEY_CTX(p, EVP_PKEY_CTX_dup(request->signer->ctx));
    size_t len = (size_t)EVP_PKEY_get_size(request->signer_key);
    unsigned char *made = apr_palloc(p, len);
    scep_oaep oaep;

    SCEP_TRY(scep_algorithm_transport(&oaep, request->envelope->transport, p));
    if (!ctx || EVP_PKEY_encrypt_init(ctx) <= 0 || !set_padding(ctx, &oaep.mask) ||
        EVP_PKEY_encrypt(ctx, made, &len, s->key, s->key_len) <= 0)
        return scep_fail(p, INTERNAL, "a reply cannot be encrypted to the request's signer");
    *to = (transported){ .key = { made, len } };
    return oaep.mask.digest ? oaep_parameters(&to->parameters, request->envelope->transport, p)
                            : NULL;
}

/* RFC 5652 6.2.1: by issuer and serial number, which is version 0. */
static const scep_err *put_recipient(scep_der *d, const transported *to,
                                     const scep_message *request, apr_pool_t *p)
{
    const scep_cert *signer = request->signer;
    size_t mark = scep_der_mark(d), inner;
    scep_bytes serial;

    SCEP_TRY(scep_asn1_write(&serial, ASN1_ITEM_rptr(ASN1_INTEGER), signer->serial, p));
    scep_der_element(d, SCEP_DER_OCTETS, to->key);
    inner = scep_der_mark(d);
    if (to->parameters.len)
        scep_der_put(d, to->parameters);
    else
        scep_der_null(d);
    scep_der_object(d, OBJ_nid2obj(to->parameters.len ? NID_rsaesOaep : NID_rsaEncryption));
    scep_der_wrap(d, SCEP_DER_SEQUENCE, inner);
    inner = scep_der_mark(d);
    scep_der_put(d, serial);
    scep_der_put(d, signer->issuer);
    scep_der_wrap(d, SCEP_DER_SEQUENCE, inner);
    scep_der_small(d, 0);
    scep_der_wrap(d, SCEP_DER_SEQUENCE, mark);
    return NULL;
}

/* RFC 5652 6.1 EncryptedContentInfo */
static void put_encrypted(scep_der *d, const sealed *s, const scep_message *request)
{
    size_t mark = scep_der_mark(d), inner;

    scep_der_element(d, SCEP_DER_TAG_0_PRIMITIVE, s->content);
    inner = scep_der_mark(d);
    scep_der_element(d, SCEP_DER_OCTETS, (scep_bytes){ s->iv, s->iv_len });
    scep_der_object(d, OBJ_nid2obj(EVP_CIPHER_get_nid(request->cipher)));
    scep_der_wrap(d, SCEP_DER_SEQUENCE, inner);
    scep_der_object(d, OBJ_nid2obj(NID_pkcs7_data));
    scep_der_wrap(d, SCEP_DER_SEQUENCE, mark);
}

static const scep_err *encrypt_to_signer(scep_bytes *out, const scep_message *request,
                                         scep_bytes content, apr_pool_t *p)
{
    transported to;
    size_t mark;
    scep_der d;
    sealed s;

    SCEP_TRY(seal(&s, request, content, p));
    SCEP_TRY(transport(&to, &s, request, p));
    scep_der_begin(&d,
                   ENVELOPE_ROOM + s.content.len + to.key.len + to.parameters.len +
                       request->signer->der.len,
                   p);
    put_encrypted(&d, &s, request);
    mark = scep_der_mark(&d);
    SCEP_TRY(put_recipient(&d, &to, request, p));
    scep_der_wrap(&d, SCEP_DER_SET, mark);
    scep_der_small(&d, 0);
    scep_der_wrap(&d, SCEP_DER_SEQUENCE, 0);
    scep_der_wrap(&d, SCEP_DER_TAG_0, 0);
    scep_der_object(&d, OBJ_nid2obj(NID_pkcs7_enveloped));
    scep_der_wrap(&d, SCEP_DER_SEQUENCE, 0);
    return scep_der_end(out, &d, p);
}

/* RFC 8894 3.1 */
const scep_err *scep_certrep_envelope(scep_bytes *out, const scep_message *request,
                                      scep_bytes content, scep_bytes challenge, apr_pool_t *p)
{
    if (EVP_PKEY_get_base_id(request->signer_key) == EVP_PKEY_RSA)
        return encrypt_to_signer(out, request, content, p);
    return encrypt_by_password(out, request, content, challenge, p);
}

/* RFC 8017 7.1.1: two digests and two bytes stand beside what is encrypted. With PKCS#1 v1.5 every
 * key that is accepted is long enough. */
static const scep_err *check_room(const scep_message *request, apr_pool_t *p)
{
    int size = EVP_PKEY_get_size(request->signer_key), digest;
    scep_oaep oaep;

    SCEP_TRY(scep_algorithm_transport(&oaep, request->envelope->transport, p));
    if (!oaep.mask.digest)
        return NULL;
    digest = EVP_MD_get_size(oaep.mask.digest);
    if (size >= EVP_CIPHER_get_key_length(request->cipher) + 2 * digest + 2)
        return NULL;
    return scep_fail(p, BAD_ALG,
                     "the request's signer key of %d bits is too short for RSA-OAEP with a digest "
                     "of %d bits, so no reply can be encrypted: have the client use a longer key, "
                     "or SHA-256",
                     EVP_PKEY_get_bits(request->signer_key), 8 * digest);
}

const scep_err *scep_certrep_is_possible(const scep_message *request, scep_bytes challenge,
                                         apr_pool_t *p)
{
    if (EVP_PKEY_get_base_id(request->signer_key) == EVP_PKEY_RSA)
        return check_room(request, p);
    if (challenge.len)
        return NULL;
    return scep_fail(p, BAD_ALG,
                     "the request's signer key is not RSA and there is no challenge, so no reply "
                     "can be encrypted: have the client use an RSA key, or a challenge");
}
