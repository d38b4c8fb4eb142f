/* Secrets at rest in the store. A sealed one is version, nonce, ciphertext, tag. */
#include "seal.h"

#include "own.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

enum { VERSION = 1, HEAD = 1, NONCE = 12, TAG = 16, AROUND = HEAD + NONCE + TAG, KEY = 32 };

/* store.key also keys the hashes of challenges: a key of its own for each use (RFC 5869 3.2). */
static const scep_err *derive(unsigned char out[KEY], const store_key *key, apr_pool_t *p)
{
    static const char info[] = "mod_scep seal 1";
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    char digest[] = "SHA256", use[sizeof(info)];
    unsigned char *bytes = scep_secret(p, sizeof(key->bytes));
    OSSL_PARAM params[4];
    bool ok;

    memcpy(use, info, sizeof(info));
    memcpy(bytes, key->bytes, sizeof(key->bytes));
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, bytes, sizeof(key->bytes));
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, use, sizeof(info) - 1);
    params[3] = OSSL_PARAM_construct_end();
    ok = ctx && EVP_KDF_derive(ctx, out, KEY, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok ? NULL : scep_fail(p, INTERNAL, "no key can be derived from store.key");
}

/* @param head version and nonce @param about authenticated, not stored */
static const scep_err *cipher_begin(EVP_CIPHER_CTX **out, bool closing, const store_key *key,
                                    const unsigned char *head, const char *about, apr_pool_t *p)
{
    unsigned char *derived = scep_secret(p, KEY);
    EVP_CIPHER_CTX *ctx = scep_EVP_CIPHER_CTX(p, EVP_CIPHER_CTX_new());
    size_t len = strlen(about);
    int n;

    SCEP_TRY(derive(derived, key, p));
    /* the version is a part of what is authenticated */
    if (!ctx || len > INT_MAX ||
        EVP_CipherInit_ex2(ctx, EVP_aes_256_gcm(), derived, head + HEAD, closing, NULL) != 1 ||
        EVP_CipherUpdate(ctx, NULL, &n, head, HEAD) != 1 ||
        EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)about, (int)len) != 1)
        return scep_fail(p, INTERNAL, "AES-256-GCM cannot be used");
    *out = ctx;
    return NULL;
}

const scep_err *seal_close(scep_bytes *sealed, const store_key *key, const char *about,
                           scep_bytes secret, apr_pool_t *p)
{
    unsigned char *bytes = apr_palloc(p, secret.len + AROUND);
    unsigned char *body = bytes + HEAD + NONCE;
    EVP_CIPHER_CTX *ctx;
    int n = 0, rest = 0;

    bytes[0] = VERSION;
    if (secret.len > INT_MAX - AROUND || RAND_bytes(bytes + HEAD, NONCE) != 1)
        return scep_fail(p, INTERNAL, "no nonce for a secret of %lu bytes",
                         (unsigned long)secret.len);
    SCEP_TRY(cipher_begin(&ctx, true, key, bytes, about, p));
    if (EVP_CipherUpdate(ctx, body, &n, secret.data, (int)secret.len) != 1 ||
        EVP_CipherFinal_ex(ctx, body + n, &rest) != 1 || (size_t)(n + rest) != secret.len ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, body + secret.len) != 1)
        return scep_fail(p, INTERNAL, "a secret cannot be sealed");
    *sealed = (scep_bytes){ bytes, secret.len + AROUND };
    return NULL;
}

const scep_err *seal_open(scep_bytes *secret, const store_key *key, const char *about,
                          scep_bytes sealed, apr_pool_t *p)
{
    size_t len = sealed.len > AROUND ? sealed.len - AROUND : 0;
    unsigned char *plain = scep_secret(p, len);
    unsigned char tag[TAG];
    EVP_CIPHER_CTX *ctx;
    int n = 0, rest = 0;

    if (sealed.len < AROUND || sealed.len > INT_MAX || sealed.data[0] != VERSION)
        return scep_fail(p, INTERNAL, "%s: not a sealed secret of this version", about);
    memcpy(tag, sealed.data + HEAD + NONCE + len, TAG);
    SCEP_TRY(cipher_begin(&ctx, false, key, sealed.data, about, p));
    if (EVP_CipherUpdate(ctx, plain, &n, sealed.data + HEAD + NONCE, (int)len) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) != 1 ||
        EVP_CipherFinal_ex(ctx, plain + n, &rest) != 1 || (size_t)(n + rest) != len)
        return scep_fail(p, INTERNAL, "%s was sealed with another store.key, or was changed since",
                         about);
    *secret = (scep_bytes){ plain, len };
    return NULL;
}
