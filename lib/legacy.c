/* The algorithms that OpenSSL keeps apart. */
#include "legacy.h"

#include <openssl/crypto.h>
#include <openssl/provider.h>

static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;
static OSSL_LIB_CTX *context; /* NULL: the providers could not be loaded */

/* The providers stay loaded as long as the context, which is never freed: threads that still hold
 * objects of it may outlive any moment at which it could be. */
static void make_context(void)
{
    OSSL_LIB_CTX *made = OSSL_LIB_CTX_new();

    if (made && OSSL_PROVIDER_load(made, "legacy") && OSSL_PROVIDER_load(made, "default"))
        context = made;
    else
        OSSL_LIB_CTX_free(made);
}

const scep_err *scep_legacy(OSSL_LIB_CTX **out, apr_pool_t *p)
{
    if (!CRYPTO_THREAD_run_once(&once, make_context) || !context)
        return scep_fail(p, INTERNAL,
                         "OpenSSL's legacy provider cannot be loaded, and SCEPLegacyAlgorithms "
                         "needs it: install it, or set SCEPLegacyAlgorithms off");
    *out = context;
    return NULL;
}
