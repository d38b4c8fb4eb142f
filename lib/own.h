/*
 * OpenSSL objects adopted by pools: after scep_X509(p, x) the object is freed when the pool is
 * cleared or destroyed, so no path has to free it. Also memory for secrets, wiped at that moment,
 * and such objects in DER.
 */
#ifndef SCEP_OWN_H
#define SCEP_OWN_H

#include "bytes.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/**
 * T *scep_T(apr_pool_t *p, T *object): register the freeing of @a object with @a p.
 * @return @a object; NULL in, NULL out, so that a failed constructor is tested after adoption
 */
#define SCEP_ADOPTED(X) \
    X(ASN1_INTEGER)     \
    X(ASN1_OBJECT)      \
    X(BIO)              \
    X(CMS_ContentInfo)  \
    X(EVP_CIPHER_CTX)   \
    X(EVP_MD_CTX)       \
    X(EVP_PKEY)         \
    X(EVP_PKEY_CTX)     \
    X(GENERAL_NAMES)    \
    X(PKCS7)            \
    X(X509)             \
    X(X509_CRL)         \
    X(X509_EXTENSIONS)  \
    X(X509_NAME)        \
    X(X509_REQ)         \
    X(X509_STACK)

/* Names for the stacks, so that the list above can treat them as one type each. */
typedef STACK_OF(X509) X509_STACK;

#define X(T) SCEP_API T *scep_##T(apr_pool_t *p, T *object);
SCEP_ADOPTED(X)
#undef X

/** A certificate stack of @a p whose certificates are not owned by it. Never NULL. */
SCEP_API STACK_OF(X509) * scep_borrowed_stack(apr_pool_t *p);

/**
 * Zeroed memory for a secret (challenge, key, plaintext): wiped with OPENSSL_cleanse when @a p is
 * cleared. Never NULL. @param len bytes, 0 allowed
 */
SCEP_API unsigned char *scep_secret(apr_pool_t *p, size_t len);

/**
 * The DER of an object: SCEP_ITEM_DER(&out, X509, cert, p).
 * @param T a type that OpenSSL has an ASN1_ITEM of
 * @param object NULL: as one that cannot be encoded
 * @param wiped it is to be wiped with @a p
 * @return NULL, or INTERNAL
 */
#define SCEP_ITEM_DER(out, T, object, p) \
    scep_item_der((out), (object), ASN1_ITEM_rptr(T), #T, false, (p))
#define SCEP_ITEM_DER_SECRET(out, T, object, p) \
    scep_item_der((out), (object), ASN1_ITEM_rptr(T), #T, true, (p))
SCEP_API SCEP_MUST const scep_err *scep_item_der(scep_bytes *out, const void *object,
                                                 const ASN1_ITEM *type, const char *name,
                                                 bool wiped, apr_pool_t *p);

#endif
