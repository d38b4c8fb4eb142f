/*
 * Keys of tokens by OpenSSL's engine "pkcs11" (libp11), for systems that have no provider for them.
 *
 * ENGINE is deprecated in OpenSSL 3 and not declared where OPENSSL_NO_DEPRECATED is, which the
 * whole project is built with: it is taken back in this one file, which therefore does nothing
 * else.
 */
#undef OPENSSL_NO_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED

#include "config.h"

#include "key_parts.h"

#ifdef HAVE_PKCS11

#include <openssl/err.h>

#ifdef HAVE_OPENSSL_ENGINE

#include <openssl/engine.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* One for a process, and one module for it: libp11 refuses to be a second one. Kept for as long as
 * the process lives. */
static ENGINE *engine;
static const char *engine_module;
static pthread_mutex_t engine_mutex = PTHREAD_MUTEX_INITIALIZER;

static const scep_err *engine_begin(const scep_token_key *key, apr_pool_t *p)
{
    ENGINE *e = NULL;

    if (engine && strcmp(engine_module, key->token->module))
        return scep_fail(p, CONFIG,
                         "%s: OpenSSL's engine pkcs11 has the module %s in this process and takes "
                         "no other one: name p11-kit-proxy.so, which joins several, for all keys",
                         key->where, engine_module);
    if (engine)
        return NULL;
    if (OPENSSL_init_crypto(OPENSSL_INIT_ENGINE_DYNAMIC, NULL) == 1)
        e = ENGINE_by_id("pkcs11");
    if (!e)
        return scep_fail(p, CONFIG,
                         "%s: OpenSSL has neither a provider nor an engine \"pkcs11\": install "
                         "pkcs11-provider or libengine-pkcs11-openssl",
                         key->where);
    engine_module = strdup(key->token->module);
    if (!engine_module || ENGINE_ctrl_cmd_string(e, "MODULE_PATH", engine_module, 0) != 1 ||
        ENGINE_init(e) != 1) {
        ENGINE_free(e);
        free((char *)engine_module);
        return scep_fail(p, CONFIG, "%s: OpenSSL's engine pkcs11 does not begin", key->where);
    }
    engine = e;
    return NULL;
}

/* It lists all tokens of the module, and fails where one of them cannot be read. */
static EVP_PKEY *load(const scep_token_key *key)
{
    EVP_PKEY *found = NULL;

    for (int i = 0; !found && i < SCEP_TOKEN_TRIES; i++) {
        if (i)
            apr_sleep(SCEP_TOKEN_PAUSE);
        found = ENGINE_load_private_key(engine, key->exact, scep_token_ui(), (void *)key->token);
    }
    return found;
}

const scep_err *scep_engine_key(EVP_PKEY **out, const scep_token_key *key, apr_pool_t *p)
{
    const scep_err *err;

    /* it searches, and keeps whom it asks for PINs, without a lock */
    (void)pthread_mutex_lock(&engine_mutex);
    err = engine_begin(key, p);
    if (!err) {
        *out = scep_EVP_PKEY(p, load(key));
        if (!*out)
            err = scep_fail(p, CONFIG, "%s: OpenSSL's engine pkcs11 cannot use it", key->where);
    }
    (void)pthread_mutex_unlock(&engine_mutex);
    if (!err)
        ERR_clear_error(); /* of looks without login */
    return err;
}

#else

const scep_err *scep_engine_key(EVP_PKEY **out, const scep_token_key *key, apr_pool_t *p)
{
    return scep_fail(p, CONFIG, "%s: OpenSSL has no provider \"pkcs11\": install pkcs11-provider",
                     key->where);
}

#endif
#endif
