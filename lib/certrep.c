/* A reply: CertRep. RFC 8894 3.3.2. */
#include "certrep.h"
#include "certrep_parts.h"
#include "clock.h"
#include "cms.h"
#include "legacy.h"
#include "oid.h"

#include <apr_strings.h>
#include <openssl/rand.h>
#include <string.h>

/* RFC 8894 3.2.1.3 */
#define SUCCESS "0"
#define FAILURE "2"
#define PENDING "3"

enum { NONCE_LENGTH = 16, TEXT_MOST = 255 };

/* ---- signing ---- */

/* A reply under way. */
typedef struct reply {
    STACK_OF(X509_ATTRIBUTE) * attributes;
    const EVP_MD *digest;
    apr_pool_t *p;
} reply;

static apr_status_t drop_attributes(void *stack)
{
    sk_X509_ATTRIBUTE_pop_free(stack, X509_ATTRIBUTE_free);
    return APR_SUCCESS;
}

static bool add(reply *r, const ASN1_OBJECT *name, int type, scep_bytes value)
{
    /* a length of -1 would make OpenSSL take the bytes for an ASN1_TYPE */
    X509_ATTRIBUTE *one =
        X509_ATTRIBUTE_create_by_OBJ(NULL, name, type, value.data, (int)value.len);

    if (one && sk_X509_ATTRIBUTE_push(r->attributes, one))
        return true;
    X509_ATTRIBUTE_free(one);
    return false;
}

static bool add_attribute(reply *r, scep_oid_name name, int type, scep_bytes value)
{
    return add(r, scep_oid(name), type, value);
}

/* RFC 5652 11: what a signature with attributes needs, and when it was made. */
static bool add_standard(reply *r, scep_bytes content)
{
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)apr_time_sec(scep_now()));
    ASN1_OBJECT *data = OBJ_nid2obj(NID_pkcs7_data);
    X509_ATTRIBUTE *type =
        X509_ATTRIBUTE_create_by_NID(NULL, NID_pkcs9_contentType, V_ASN1_OBJECT, data, -1);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len;
    bool good = type && sk_X509_ATTRIBUTE_push(r->attributes, type);

    if (!good)
        X509_ATTRIBUTE_free(type);
    good = good && now && EVP_Digest(content.data, content.len, hash, &len, r->digest, NULL) == 1 &&
           add(r, OBJ_nid2obj(NID_pkcs9_messageDigest), V_ASN1_OCTET_STRING,
               (scep_bytes){ hash, len }) &&
           add(r, OBJ_nid2obj(NID_pkcs9_signingTime), ASN1_STRING_type(now), scep_asn1_bytes(now));
    ASN1_TIME_free(now);
    return good;
}

/* RFC 8894 3.2.1: what every CertRep carries. */
static const scep_err *begin(reply *r, const scep_message *request, const char *status,
                             const EVP_MD *digest, apr_pool_t *p)
{
    unsigned char nonce[NONCE_LENGTH];
    bool good;

    *r = (reply){ sk_X509_ATTRIBUTE_new_null(), digest, p };
    if (r->attributes)
        apr_pool_cleanup_register(p, r->attributes, drop_attributes, apr_pool_cleanup_null);
    if (RAND_bytes(nonce, sizeof(nonce)) != 1)
        return scep_fail(p, INTERNAL, "no random bytes for a nonce");
    good = r->attributes &&
           add_attribute(r, SCEP_OID_MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, scep_bytes_of("3")) &&
           add_attribute(r, SCEP_OID_PKI_STATUS, V_ASN1_PRINTABLESTRING, scep_bytes_of(status)) &&
           add_attribute(r, SCEP_OID_TRANSACTION_ID, V_ASN1_PRINTABLESTRING,
                         request->transaction_id) &&
           add_attribute(r, SCEP_OID_SENDER_NONCE, V_ASN1_OCTET_STRING,
                         (scep_bytes){ nonce, sizeof(nonce) });
    /* RFC 8894 3.2.1.5: copied as received; there is nothing to copy where none was sent */
    if (good && request->sender_nonce.len)
        good =
            add_attribute(r, SCEP_OID_RECIPIENT_NONCE, V_ASN1_OCTET_STRING, request->sender_nonce);
    return good ? NULL : scep_fail(p, INTERNAL, "a reply's attributes cannot be set");
}

/* RFC 8894 3.3.2.2 */
static const scep_err *add_failure(reply *r, int fail_info, const char *text)
{
    const char *number = apr_psprintf(r->p, "%d", fail_info);

    if (!add_attribute(r, SCEP_OID_FAIL_INFO, V_ASN1_PRINTABLESTRING, scep_bytes_of(number)))
        return scep_fail(r->p, INTERNAL, "failInfo cannot be set");
    if (text && *text &&
        !add_attribute(r, SCEP_OID_FAIL_INFO_TEXT, V_ASN1_UTF8STRING, scep_bytes_of(text)))
        return scep_fail(r->p, INTERNAL, "failInfoText cannot be set");
    return NULL;
}

/* RFC 5652 5.4. MD5 is computed apart from what the process knows (legacy.h). */
static const scep_err *sign(scep_bytes *signature, const reply *r, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = scep_EVP_MD_CTX(r->p, EVP_MD_CTX_new());
    size_t len = (size_t)EVP_PKEY_get_size(key);
    unsigned char *made = apr_palloc(r->p, len);
    OSSL_LIB_CTX *context = NULL;
    scep_bytes der;

    if (EVP_MD_is_a(r->digest, SN_md5))
        SCEP_TRY(scep_legacy(&context, r->p));
    SCEP_TRY(scep_asn1_write(&der, cms_attributes_it(), r->attributes, r->p));
    if (!ctx ||
        EVP_DigestSignInit_ex(ctx, NULL, EVP_MD_get0_name(r->digest), context, NULL, key, NULL) !=
            1 ||
        EVP_DigestSign(ctx, made, &len, der.data, der.len) != 1)
        return scep_fail(r->p, INTERNAL, "a reply cannot be signed");
    *signature = (scep_bytes){ made, len };
    return NULL;
}

/* RFC 3370 3.2, RFC 5754 3.3. @return NULL: nobody signs like that */
static X509_ALGOR *signature_algorithm(const reply *r, const EVP_PKEY *key)
{
    int nid;

    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
        return cms_algorithm(NID_rsaEncryption, cms_any(V_ASN1_NULL, (scep_bytes){ 0 }, r->p),
                             r->p);
    if (!OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(r->digest), EVP_PKEY_get_base_id(key)))
        return NULL;
    return cms_algorithm(nid, NULL, r->p);
}

/* RFC 5652 5.3 */
static const scep_err *sign_info(scep_bytes *out, const reply *r, X509_ALGOR *digest,
                                 const scep_signer *ra)
{
    cms_issuer_serial of = { X509_get_issuer_name(ra->cert), X509_get_serialNumber(ra->cert) };
    cms_identifier id = { .type = CMS_BY_ISSUER_SERIAL, .d.issuer_serial = &of };
    cms_signer signer = { .version = 1,
                          .id = &id,
                          .digest = digest,
                          .attributes = r->attributes,
                          .algorithm = signature_algorithm(r, ra->key) };
    scep_bytes signature;

    if (!signer.algorithm)
        return scep_fail(r->p, INTERNAL, "the RA cannot sign a reply with this digest");
    SCEP_TRY(sign(&signature, r, ra->key));
    signer.signature = cms_string(V_ASN1_OCTET_STRING, signature, r->p);
    return scep_asn1_write(out, cms_signer_it(), &signer, r->p);
}

/* RFC 5652 5.1. @param content len 0: none, and eContent is absent */
static const scep_err *finish(scep_bytes *out, reply *r, scep_bytes content, const scep_signer *ra)
{
    X509_ALGOR *digest = cms_algorithm(EVP_MD_get_type(r->digest), NULL, r->p);
    cms_content inside = { .type = OBJ_nid2obj(NID_pkcs7_data) };
    cms_signed cms = { .version = 1, .content = &inside };
    const cms_signed_info info = { OBJ_nid2obj(NID_pkcs7_signed), &cms };
    scep_bytes signer, cert;

    /* RFC 5754 2, RFC 3370 2.1: of SHA-2 the parameters are left out, of the older ones NULL */
    if (!(EVP_MD_get_flags(r->digest) & EVP_MD_FLAG_DIGALGID_ABSENT))
        digest->parameter = cms_any(V_ASN1_NULL, (scep_bytes){ 0 }, r->p);
    if (!add_standard(r, content))
        return scep_fail(r->p, INTERNAL, "a reply's attributes cannot be set");
    SCEP_TRY(sign_info(&signer, r, digest, ra));
    SCEP_TRY(scep_cert_der(&cert, ra->cert, r->p));
    if (content.len)
        inside.content = cms_string(V_ASN1_OCTET_STRING, content, r->p);
    cms.digests = cms_algorithms(digest, r->p);
    cms.certificates = cms_encoded(&cert, 1, r->p);
    cms.signers = cms_encoded(&signer, 1, r->p);
    if (!cms.digests || !cms.certificates || !cms.signers)
        return scep_fail(r->p, INTERNAL, "out of memory");
    return scep_asn1_write(out, cms_signed_info_it(), &info, r->p);
}

/* ---- which ---- */

/* @param list a degenerate SignedData */
static const scep_err *success(scep_bytes *out, const scep_message *request, scep_bytes list,
                               scep_bytes challenge, const scep_signer *ra, apr_pool_t *p)
{
    scep_bytes envelope;
    reply r;

    if (EVP_PKEY_get_base_id(request->signer_key) != EVP_PKEY_RSA && !challenge.len)
        return scep_fail(p, BAD_ALG,
                         "the request's signer key is not RSA and there is no challenge, so no "
                         "reply can be encrypted: have the client use an RSA key, or a challenge");
    SCEP_TRY(scep_certrep_envelope(&envelope, request, list, challenge, p));
    SCEP_TRY(begin(&r, request, SUCCESS, request->digest, p));
    return finish(out, &r, envelope, ra);
}

const scep_err *scep_certrep_success(scep_bytes *out, const scep_message *request, scep_bytes leaf,
                                     const STACK_OF(X509) * certs, scep_bytes challenge,
                                     const scep_signer *ra, apr_pool_t *p)
{
    scep_bytes list;

    SCEP_TRY(scep_certs_list(&list, leaf, certs, p));
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
    reply r;

    if (fail_info < 0 || fail_info > 4 || (text && strlen(text) > TEXT_MOST))
        return scep_fail(p, INTERNAL, "failInfo %d or its text is out of range", fail_info);
    SCEP_TRY(begin(&r, request, FAILURE, request->digest ? request->digest : fallback, p));
    SCEP_TRY(add_failure(&r, fail_info, text));
    return finish(out, &r, (scep_bytes){ NULL, 0 }, ra);
}

const scep_err *scep_certrep_pending(scep_bytes *out, const scep_message *request,
                                     const scep_signer *ra, apr_pool_t *p)
{
    reply r;

    SCEP_TRY(begin(&r, request, PENDING, request->digest, p));
    return finish(out, &r, (scep_bytes){ NULL, 0 }, ra);
}
