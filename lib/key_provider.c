/*
 * Keys of tokens by OpenSSL's provider "pkcs11" (pkcs11-provider), where there is one.
 *
 * It takes its module from OpenSSL's configuration, one module each. So each module gets a context
 * with a configuration of its own, made here; the system's says nothing about it.
 */
#include "config.h"

#include "key_parts.h"

#ifdef HAVE_PKCS11

#include <apr_strings.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct context_of {
    struct context_of *next;
    const char *module;
    OSSL_LIB_CTX *context;
} context_of;

/* Of this process; none is ever taken out, as keys refer to them. */
static context_of *contexts;
static pthread_mutex_t contexts_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Without a path for it, the provider is looked for where OpenSSL has its own. Of the token nothing
 * but the module's path has to be said: it is free of what is special here. */
static const char *configuration(const char *module, apr_pool_t *p)
{
    return apr_psprintf(p,
                        "openssl_conf = all\n[all]\nproviders = used\n[used]\n"
                        "default = own\npkcs11 = tokens\n[own]\nactivate = 1\n"
                        "[tokens]\npkcs11-module-path = %s\n"
                        "pkcs11-module-cache-pins = cache\nactivate = 1\n",
                        module);
}

static bool configure(OSSL_LIB_CTX *context, const char *module, apr_pool_t *p)
{
    CONF *conf = NCONF_new_ex(context, NULL);
    const char *text = configuration(module, p);
    BIO *bio = BIO_new_mem_buf(text, -1);
    bool good = conf && bio && NCONF_load_bio(conf, bio, NULL) > 0 &&
                CONF_modules_load(conf, NULL, 0) > 0 &&
                OSSL_PROVIDER_available(context, "pkcs11") == 1;

    BIO_free(bio);
    NCONF_free(conf);
    return good;
}

static OSSL_LIB_CTX *context_get(const char *module, apr_pool_t *p)
{
    context_of *of = contexts;

    while (of && strcmp(of->module, module))
        of = of->next;
    if (of)
        return of->context;
    of = calloc(1, sizeof(*of));
    if (of && (of->module = strdup(module)) && (of->context = OSSL_LIB_CTX_new()) &&
        configure(of->context, module, p)) {
        of->next = contexts;
        contexts = of;
        return of->context;
    }
    if (of) {
        OSSL_LIB_CTX_free(of->context);
        free((char *)of->module);
    }
    free(of);
    return NULL;
}

static EVP_PKEY *store_key(OSSL_LIB_CTX *context, const scep_token_key *key)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(key->exact, context, "?provider=pkcs11", scep_token_ui(),
                           (void *)key->token, NULL, NULL, NULL);
    EVP_PKEY *found = NULL;

    if (store && OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1) {
        while (!found && !OSSL_STORE_eof(store)) {
            OSSL_STORE_INFO *info = OSSL_STORE_load(store);

            if (!info)
                break;
            found = OSSL_STORE_INFO_get1_PKEY(info);
            OSSL_STORE_INFO_free(info);
        }
    }
    OSSL_STORE_close(store);
    return found;
}

const scep_err *scep_provider_key(EVP_PKEY **out, const scep_token_key *key, apr_pool_t *p)
{
    OSSL_LIB_CTX *context;

    *out = NULL;
    (void)pthread_mutex_lock(&contexts_mutex);
    context = context_get(key->token->module, p);
    (void)pthread_mutex_unlock(&contexts_mutex);
    if (!context) {
        ERR_clear_error(); /* there is none: no fault */
        return NULL;
    }
    *out = scep_EVP_PKEY(p, store_key(context, key));
    if (!*out)
        return scep_fail(p, CONFIG, "%s: OpenSSL's provider pkcs11 cannot use it", key->where);
    ERR_clear_error();
    return NULL;
}

#endif
