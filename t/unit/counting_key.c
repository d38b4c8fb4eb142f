/*
 * An RSA key that counts what is asked of its private half. OpenSSL 3 leaves a key with a method
 * of its own to that method, so that nothing which works with the key can go past the count. The
 * functions for it are deprecated: this one file of the tests sees them.
 */
#undef OPENSSL_NO_DEPRECATED
#undef OPENSSL_API_COMPAT
#define OPENSSL_SUPPRESS_DEPRECATED

#include "counting_key.h"

#include <openssl/rsa.h>

static int decryptions;

static int decrypt(int len, const unsigned char *from, unsigned char *to, RSA *rsa, int padding)
{
    decryptions++;
    return RSA_meth_get_priv_dec(RSA_PKCS1_OpenSSL())(len, from, to, rsa, padding);
}

static apr_status_t drop_method(void *method)
{
    RSA_meth_free(method);
    return APR_SUCCESS;
}

EVP_PKEY *counting_key(EVP_PKEY *rsa, apr_pool_t *p)
{
    RSA_METHOD *method = RSA_meth_dup(RSA_PKCS1_OpenSSL());
    EVP_PKEY *counting = EVP_PKEY_new();
    unsigned char *der = NULL;
    const unsigned char *at;
    RSA *copy;
    int len = i2d_PrivateKey(rsa, &der);

    FIXTURE_MUST(method && counting && len > 0 && RSA_meth_set_priv_dec(method, decrypt));
    apr_pool_cleanup_register(p, method, drop_method, apr_pool_cleanup_null);
    at = der;
    copy = d2i_RSAPrivateKey(NULL, &at, len);
    OPENSSL_clear_free(der, (size_t)len);
    FIXTURE_MUST(copy && RSA_set_method(copy, method) && EVP_PKEY_assign_RSA(counting, copy));
    /* adopted after the method, and so freed before it */
    return scep_EVP_PKEY(p, counting);
}

int counting_key_decryptions(void)
{
    int n = decryptions;

    decryptions = 0;
    return n;
}
