/*
 * A provider "pkcs11" for OpenSSL, for tests: it has one key, that of the file HSM_KEY (PKCS#8
 * DER), for whoever opens a store with a URI of a token and knows the PIN HSM_PIN. What it was told
 * stands in HSM_SEEN: the module's path of its configuration, a blank, and the URI.
 */
#include "config.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MOST = 8192 };

typedef struct store {
    bool read;
} store;

static char module_path[256];

static void *store_open(void *context, const char *uri)
{
    char seen[1024];
    int len = snprintf(seen, sizeof(seen), "%s %s", module_path, uri);

    if (len < 0 || len >= (int)sizeof(seen) || setenv("HSM_SEEN", seen, 1) != 0)
        return NULL;
    return calloc(1, sizeof(store));
}

static bool knows_pin(OSSL_PASSPHRASE_CALLBACK *ask, void *baton)
{
    const char *pin = getenv("HSM_PIN");
    char given[64];
    size_t len = 0;

    return pin && ask(given, sizeof(given), &len, NULL, baton) == 1 && len == strlen(pin) &&
           !memcmp(given, pin, len);
}

static int store_load(void *baton, OSSL_CALLBACK *take, void *to, OSSL_PASSPHRASE_CALLBACK *ask,
                      void *asked)
{
    static unsigned char der[KEY_MOST];
    const char *path = getenv("HSM_KEY");
    FILE *file = path && knows_pin(ask, asked) ? fopen(path, "rb") : NULL;
    int type = OSSL_OBJECT_PKEY;
    OSSL_PARAM object[4];
    size_t len;

    ((store *)baton)->read = true;
    if (!file)
        return 0;
    len = fread(der, 1, sizeof(der), file);
    (void)fclose(file);
    object[0] = OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type);
    object[1] = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE,
                                                 (char *)"PrivateKeyInfo", 0);
    object[2] = OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der, len);
    object[3] = OSSL_PARAM_construct_end();
    return take(object, to);
}

static int store_eof(void *baton)
{
    return ((store *)baton)->read;
}

static int store_close(void *baton)
{
    free(baton);
    return 1;
}

static int store_set(void *baton, const OSSL_PARAM params[])
{
    return 1;
}

static const OSSL_PARAM *store_settable(void *context)
{
    static const OSSL_PARAM all[] = { OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
                                      OSSL_PARAM_END };

    return all;
}

static const OSSL_DISPATCH store_calls[] = {
    { OSSL_FUNC_STORE_OPEN, (void (*)(void))store_open },
    { OSSL_FUNC_STORE_LOAD, (void (*)(void))store_load },
    { OSSL_FUNC_STORE_EOF, (void (*)(void))store_eof },
    { OSSL_FUNC_STORE_CLOSE, (void (*)(void))store_close },
    { OSSL_FUNC_STORE_SET_CTX_PARAMS, (void (*)(void))store_set },
    { OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, (void (*)(void))store_settable },
    { 0, NULL },
};

static const OSSL_ALGORITHM stores[] = {
    { "pkcs11", "provider=pkcs11", store_calls, "PKCS#11 URIs" },
    { NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache)
{
    *no_cache = 0;
    return operation == OSSL_OP_STORE ? stores : NULL;
}

static const OSSL_DISPATCH calls[] = {
    { OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query },
    { 0, NULL },
};

__attribute__((visibility("default"))) OSSL_provider_init_fn OSSL_provider_init;

int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                       const OSSL_DISPATCH **out, void **context)
{
    OSSL_FUNC_core_get_params_fn *get_params = NULL;
    char *path = NULL;
    OSSL_PARAM wanted[] = { OSSL_PARAM_utf8_ptr("pkcs11-module-path", &path, 0), OSSL_PARAM_END };

    for (; in->function_id; in++)
        if (in->function_id == OSSL_FUNC_CORE_GET_PARAMS)
            get_params = OSSL_FUNC_core_get_params(in);
    if (!get_params || get_params(handle, wanted) != 1 || !path ||
        strlen(path) >= sizeof(module_path))
        return 0;
    strcpy(module_path, path);
    *out = calls;
    *context = module_path;
    return 1;
}
