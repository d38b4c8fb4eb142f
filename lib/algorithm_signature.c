/* Signatures are verified, and private keys made ready for use. */
#include "algorithm.h"
#include "asn1.h"
#include "fetched.h"
#include "legacy.h"

#include <openssl/asn1t.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

/* @return false: OpenSSL cannot do it; what it says is left in its queue */
static bool set_pss(EVP_PKEY_CTX *settings, const scep_scheme *s)
{
    return !s->pss.digest || (EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) > 0 &&
                              EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, s->salt_length) > 0 &&
                              EVP_PKEY_CTX_set_rsa_mgf1_md(settings, s->pss.mask) > 0);
}

/* By an algorithm that OpenSSL has in a context of its own only (legacy.h). */
static bool verifies_apart(const scep_scheme *s, EVP_PKEY *key, scep_bytes what,
                           scep_bytes signature, OSSL_LIB_CTX *context)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *settings = NULL;
    bool good = ctx &&
                EVP_DigestVerifyInit_ex(ctx, &settings, EVP_MD_get0_name(s->digest), context, NULL,
                                        key, NULL) == 1 &&
                set_pss(settings, s) &&
                EVP_DigestVerify(ctx, signature.data, signature.len, what.data, what.len) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

/* @param by NULL: the scheme's digest and no more */
static bool begin(EVP_PKEY_CTX *ctx, const EVP_MD *digest, const scep_scheme *by)
{
    /* read only */
    char *name = (char *)(uintptr_t)EVP_MD_get0_name(digest);
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST,
                                                                   name, 0),
                                  OSSL_PARAM_construct_end() };

    return EVP_PKEY_verify_init_ex(ctx, params) == 1 && (!by || set_pss(ctx, by));
}

/* Hashed and verified in two steps, which takes no EVP_PKEY_CTX of its own: to make one goes
 * through all names that OpenSSL knows. */
static bool verifies(const EVP_MD *digest, const scep_scheme *by, EVP_PKEY *key,
                     const EVP_PKEY_CTX *made, scep_bytes what, scep_bytes signature)
{
    EVP_PKEY_CTX *ctx = made ? EVP_PKEY_CTX_dup(made) : EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len;
    bool good = ctx && begin(ctx, digest, by) &&
                EVP_Digest(what.data, what.len, hash, &len, digest, NULL) == 1 &&
                EVP_PKEY_verify(ctx, signature.data, signature.len, hash, len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return good;
}

const scep_err *scep_algorithm_verify(const scep_scheme *scheme, EVP_PKEY *key,
                                      const EVP_PKEY_CTX *made, scep_bytes what,
                                      scep_bytes signature, apr_pool_t *p)
{
    OSSL_LIB_CTX *context = NULL;
    bool good;

    if (EVP_PKEY_get_base_id(key) != scheme->key_type)
        return scep_fail(p, BAD_ALG, "the signature algorithm does not fit the signer's key");
    if (EVP_MD_get_type(scheme->digest) == NID_md5) {
        SCEP_TRY(scep_legacy(&context, p));
        good = verifies_apart(scheme, key, what, signature, context);
    } else {
        good = verifies(scheme->digest, scheme, key, made, what, signature);
    }
    return good ? NULL : scep_fail(p, BAD_MESSAGE, "the signature does not verify");
}

/* RSA-PSS, and digests that are not on the allow-list: what OpenSSL makes of them. */
static bool openssl_verifies(const X509_ALGOR *algorithm, EVP_PKEY *key, scep_bytes what,
                             scep_bytes signature, apr_pool_t *p)
{
    const ASN1_STRING *data = scep_asn1_string(V_ASN1_SEQUENCE, what, p);
    const ASN1_BIT_STRING *bits = scep_asn1_string(V_ASN1_BIT_STRING, signature, p);

    return ASN1_item_verify(ASN1_ITEM_rptr(ASN1_SEQUENCE), algorithm, bits, data, key) == 1;
}

bool scep_algorithm_is_signed(const X509_ALGOR *algorithm, EVP_PKEY *key, const EVP_PKEY_CTX *made,
                              scep_bytes what, scep_bytes signature, apr_pool_t *p)
{
    const EVP_MD *digest = NULL;
    int digest_nid, key_nid;

    if (OBJ_find_sigid_algs(OBJ_obj2nid(algorithm->algorithm), &digest_nid, &key_nid))
        digest = scep_fetched_digest(digest_nid);
    if (!digest)
        return openssl_verifies(algorithm, key, what, signature, p);
    return EVP_PKEY_is_a(key, OBJ_nid2sn(key_nid)) &&
           verifies(digest, NULL, key, made, what, signature);
}

EVP_PKEY_CTX *scep_signer_ctx(const scep_signer *signer, apr_pool_t *p)
{
    bool ready = signer->ctx && EVP_PKEY_CTX_get0_pkey(signer->ctx) == signer->key;

    return scep_EVP_PKEY_CTX(p, ready ? EVP_PKEY_CTX_dup(signer->ctx)
                                      : EVP_PKEY_CTX_new_from_pkey(NULL, signer->key, NULL));
}
