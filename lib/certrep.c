/* A reply: CertRep. RFC 8894 3.3.2. */
#include "certrep.h"
#include "algorithm.h"
#include "legacy.h"
#include "oid.h"

#include <apr_strings.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

/* RFC 8894 3.2.1.3 */
#define SUCCESS "0"
#define FAILURE "2"
#define PENDING "3"

enum { NONCE_LENGTH = 16, TEXT_MOST = 255 };

/* Of PBKDF2, in front of a challenge: some milliseconds for either side. */
enum { PASSWORD_ROUNDS = 10000 };

static bool add_attribute(CMS_SignerInfo *si, scep_oid_name name, int type, scep_bytes value)
{
    /* a length of -1 would make OpenSSL take the bytes for an ASN1_TYPE */
    return CMS_signed_add1_attr_by_OBJ(si, scep_oid(name), type, value.data, (int)value.len) == 1;
}

/* RFC 8894 3.2.1: what every CertRep carries. */
static const scep_err *add_attributes(CMS_SignerInfo *si, const scep_message *request,
                                      const char *status, apr_pool_t *p)
{
    unsigned char nonce[NONCE_LENGTH];
    bool good;

    if (RAND_bytes(nonce, sizeof(nonce)) != 1)
        return scep_fail(p, INTERNAL, "no random bytes for a nonce");
    good = add_attribute(si, SCEP_OID_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, scep_bytes_of("3")) &&
           add_attribute(si, SCEP_OID_PKI_STATUS, V_ASN1_PRINTABLESTRING, scep_bytes_of(status)) &&
           add_attribute(si, SCEP_OID_TRANSACTION_ID, V_ASN1_PRINTABLESTRING,
                         request->transaction_id) &&
           add_attribute(si, SCEP_OID_SENDER_NONCE, V_ASN1_OCTET_STRING,
                         (scep_bytes){ nonce, sizeof(nonce) });
    /* RFC 8894 3.2.1.5: copied as received; there is nothing to copy where none was sent */
    if (good && request->sender_nonce.len)
        good =
            add_attribute(si, SCEP_OID_RECIPIENT_NONCE, V_ASN1_OCTET_STRING, request->sender_nonce);
    return good ? NULL : scep_fail(p, INTERNAL, "a reply's attributes cannot be set");
}

/* RFC 8894 3.3.2.2 */
static const scep_err *add_failure(CMS_SignerInfo *si, int fail_info, const char *text,
                                   apr_pool_t *p)
{
    const char *number = apr_psprintf(p, "%d", fail_info);

    if (!add_attribute(si, SCEP_OID_FAIL_INFO, V_ASN1_PRINTABLESTRING, scep_bytes_of(number)))
        return scep_fail(p, INTERNAL, "failInfo cannot be set");
    if (text && *text &&
        !add_attribute(si, SCEP_OID_FAIL_INFO_TEXT, V_ASN1_UTF8STRING, scep_bytes_of(text)))
        return scep_fail(p, INTERNAL, "failInfoText cannot be set");
    return NULL;
}

/* A SignedData with a signer and its certificate, to be finished by finish(). */
static const scep_err *begin(CMS_ContentInfo **cms, CMS_SignerInfo **si, bool with_content,
                             const EVP_MD *digest, const scep_signer *ra, apr_pool_t *p)
{
    unsigned flags = CMS_PARTIAL | CMS_BINARY | (with_content ? 0u : CMS_DETACHED);
    OSSL_LIB_CTX *context = NULL;

    if (EVP_MD_is_a(digest, SN_md5))
        SCEP_TRY(scep_legacy(&context, p));
    *cms = scep_CMS_ContentInfo(p, CMS_sign_ex(NULL, NULL, NULL, NULL, flags, context, NULL));
    *si = *cms ? CMS_add1_signer(*cms, ra->cert, ra->key, digest, flags | CMS_NOSMIMECAP) : NULL;
    return *si ? NULL : scep_fail(p, INTERNAL, "the RA cannot sign a reply");
}

/* @param content len 0: none, and eContent is absent */
static const scep_err *finish(scep_bytes *out, CMS_ContentInfo *cms, scep_bytes content,
                              apr_pool_t *p)
{
    BIO *data = scep_BIO(
        p, BIO_new_mem_buf(content.len ? content.data : (const void *)"", (int)content.len));

    if (!data || !CMS_final(cms, data, NULL, CMS_BINARY))
        return scep_fail(p, INTERNAL, "a reply cannot be signed");
    return scep_cms_der(out, cms, p);
}

/* The same padding and digests as the request: what the client wrote it can read. */
static const scep_err *mirror_transport(CMS_RecipientInfo *to, const scep_mask *oaep, apr_pool_t *p)
{
    EVP_PKEY_CTX *ctx = CMS_RecipientInfo_get0_pkey_ctx(to);

    if (!ctx || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) <= 0 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(ctx, oaep->digest) <= 0 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, oaep->mask) <= 0)
        return scep_fail(p, INTERNAL, "RSA-OAEP cannot be set up for a reply");
    return NULL;
}

/* RFC 8894 3.1: to the certificate that signed the request, whatever it is otherwise worth. */
static const scep_err *to_signer(CMS_ContentInfo *cms, const scep_message *request, apr_pool_t *p)
{
    CMS_RecipientInfo *to;
    X509_ALGOR *transport;
    scep_mask oaep;

    if (!CMS_RecipientInfo_ktri_get0_algs(request->recipient, NULL, NULL, &transport))
        return scep_fail(p, INTERNAL, "a request's key transport is unknown");
    SCEP_TRY(scep_algorithm_transport(&oaep, transport, p));
    to = CMS_add1_recipient_cert(cms, request->signer, oaep.digest ? CMS_KEY_PARAM : 0);
    if (!to)
        return scep_fail(p, INTERNAL, "a reply cannot be encrypted to the request's signer");
    return oaep.digest ? mirror_transport(to, &oaep, p) : NULL;
}

/* RFC 8894 3.1: to whoever knows the challenge. */
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

static const scep_err *encrypt(scep_bytes *out, const scep_message *request, scep_bytes content,
                               scep_bytes challenge, apr_pool_t *p)
{
    unsigned flags = CMS_PARTIAL | CMS_BINARY;
    BIO *data = scep_BIO(p, BIO_new_mem_buf(content.data, (int)content.len));
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(
        p, CMS_encrypt_ex(NULL, NULL, request->cipher, flags, request->context, NULL));

    if (!data || !cms)
        return scep_fail(p, INTERNAL, "a reply's envelope cannot be made");
    /* of an EC certificate CMS_add1_recipient_cert() would make a key agreement by itself, which
     * no SCEP client understands */
    if (EVP_PKEY_get_base_id(request->signer_key) == EVP_PKEY_RSA)
        SCEP_TRY(to_signer(cms, request, p));
    else
        SCEP_TRY(to_challenge(cms, challenge, p));
    if (!CMS_final(cms, data, NULL, CMS_BINARY))
        return scep_fail(p, INTERNAL, "a reply cannot be encrypted");
    return scep_cms_der(out, cms, p);
}

/* @param list a degenerate SignedData */
static const scep_err *success(scep_bytes *out, const scep_message *request, scep_bytes list,
                               scep_bytes challenge, const scep_signer *ra, apr_pool_t *p)
{
    CMS_ContentInfo *cms;
    scep_bytes envelope;
    CMS_SignerInfo *si;

    if (EVP_PKEY_get_base_id(request->signer_key) != EVP_PKEY_RSA && !challenge.len)
        return scep_fail(p, BAD_ALG,
                         "the request's signer key is not RSA and there is no challenge, so no "
                         "reply can be encrypted: have the client use an RSA key, or a challenge");
    SCEP_TRY(encrypt(&envelope, request, list, challenge, p));
    SCEP_TRY(begin(&cms, &si, true, request->digest, ra, p));
    SCEP_TRY(add_attributes(si, request, SUCCESS, p));
    return finish(out, cms, envelope, p);
}

const scep_err *scep_certrep_success(scep_bytes *out, const scep_message *request,
                                     const STACK_OF(X509) * certs, scep_bytes challenge,
                                     const scep_signer *ra, apr_pool_t *p)
{
    scep_bytes list;

    SCEP_TRY(scep_certs_degenerate(&list, certs, p));
    return success(out, request, list, challenge, ra, p);
}

const scep_err *scep_certrep_crl(scep_bytes *out, const scep_message *request, scep_bytes crl_der,
                                 scep_bytes challenge, const scep_signer *ra, apr_pool_t *p)
{
    scep_bytes list;

    SCEP_TRY(scep_certs_degenerate_crl(&list, crl_der, p));
    return success(out, request, list, challenge, ra, p);
}

const scep_err *scep_certrep_failure(scep_bytes *out, const scep_message *request, int fail_info,
                                     const char *text, const EVP_MD *fallback,
                                     const scep_signer *ra, apr_pool_t *p)
{
    CMS_ContentInfo *cms;
    CMS_SignerInfo *si;

    if (fail_info < 0 || fail_info > 4 || (text && strlen(text) > TEXT_MOST))
        return scep_fail(p, INTERNAL, "failInfo %d or its text is out of range", fail_info);
    SCEP_TRY(begin(&cms, &si, false, request->digest ? request->digest : fallback, ra, p));
    SCEP_TRY(add_attributes(si, request, FAILURE, p));
    SCEP_TRY(add_failure(si, fail_info, text, p));
    return finish(out, cms, (scep_bytes){ NULL, 0 }, p);
}

const scep_err *scep_certrep_pending(scep_bytes *out, const scep_message *request,
                                     const scep_signer *ra, apr_pool_t *p)
{
    CMS_ContentInfo *cms;
    CMS_SignerInfo *si;

    SCEP_TRY(begin(&cms, &si, false, request->digest, ra, p));
    SCEP_TRY(add_attributes(si, request, PENDING, p));
    return finish(out, cms, (scep_bytes){ NULL, 0 }, p);
}
