/* OpenSSL objects and secrets adopted by pools. */
#include "own.h"

#include <apr_strings.h>
#include <openssl/crypto.h>

static void X509_STACK_free(X509_STACK *stack)
{
    sk_X509_pop_free(stack, X509_free);
}

static void X509_EXTENSIONS_free(X509_EXTENSIONS *list)
{
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
}

static void BIO_drop(BIO *bio)
{
    (void)BIO_free(bio);
}
#define BIO_free BIO_drop

/* One thunk a type: calling T_free through a pointer of another type is undefined behaviour. */
#define X(T)                                                                               \
    static apr_status_t T##_drop_cleanup(void *object)                                     \
    {                                                                                      \
        T##_free(object);                                                                  \
        return APR_SUCCESS;                                                                \
    }                                                                                      \
    T *scep_##T(apr_pool_t *p, T *object)                                                  \
    {                                                                                      \
        if (object)                                                                        \
            apr_pool_cleanup_register(p, object, T##_drop_cleanup, apr_pool_cleanup_null); \
        return object;                                                                     \
    }
SCEP_ADOPTED(X)
#undef X

static apr_status_t borrowed_drop(void *stack)
{
    sk_X509_free(stack);
    return APR_SUCCESS;
}

STACK_OF(X509) * scep_borrowed_stack(apr_pool_t *p)
{
    STACK_OF(X509) *stack = sk_X509_new_null();

    if (!stack)
        abort();
    apr_pool_cleanup_register(p, stack, borrowed_drop, apr_pool_cleanup_null);
    return stack;
}

typedef struct secret {
    size_t len;
    unsigned char bytes[];
} secret;

static apr_status_t secret_wipe(void *data)
{
    secret *s = data;

    OPENSSL_cleanse(s->bytes, s->len);
    return APR_SUCCESS;
}

unsigned char *scep_secret(apr_pool_t *p, size_t len)
{
    secret *s = apr_pcalloc(p, sizeof(*s) + len + 1);

    s->len = len;
    apr_pool_cleanup_register(p, s, secret_wipe, apr_pool_cleanup_null);
    return s->bytes;
}

const scep_err *scep_item_der(scep_bytes *out, const void *object, const ASN1_ITEM *type,
                              const char *name, bool wiped, apr_pool_t *p)
{
    int len = object ? ASN1_item_i2d(object, NULL, type) : 0;
    unsigned char *der = NULL;

    if (len > 0) {
        unsigned char *to = der = wiped ? scep_secret(p, (size_t)len) : apr_palloc(p, (size_t)len);

        len = ASN1_item_i2d(object, &to, type);
    }
    if (len <= 0)
        return scep_fail(p, INTERNAL, "a structure %s cannot be encoded", name);
    *out = (scep_bytes){ der, (size_t)len };
    return NULL;
}
