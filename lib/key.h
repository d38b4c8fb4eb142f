/*
 * The one loader of private keys. Today it reads PEM files; a PKCS#11 URI is refused with a
 * sentence that says so. Everything that needs a key from the configuration comes here.
 */
#ifndef SCEP_KEY_H
#define SCEP_KEY_H

#include "bytes.h"
#include "own.h"

/**
 * Load a private key.
 * @param where a path, with or without "file:" before it
 * @return NULL, or CONFIG: the file is missing, readable by group or others, encrypted (no
 *         passphrase is ever asked for), or holds no private key. The detail names the file
 */
SCEP_API SCEP_MUST const scep_err *scep_key_load(EVP_PKEY **out, const char *where, apr_pool_t *p);

/** The key as PKCS#8 DER, wiped with the pool. */
SCEP_API SCEP_MUST const scep_err *scep_key_der(scep_bytes *out, const EVP_PKEY *key,
                                                apr_pool_t *p);

/** The key of @a der (PKCS#8). @return NULL, or INTERNAL */
SCEP_API SCEP_MUST const scep_err *scep_key_read(EVP_PKEY **out, scep_bytes der, apr_pool_t *p);

/** A new key: "rsa2048", "rsa3072", "rsa4096", "p256", "p384".
 *  @return NULL, or CONFIG for another name */
SCEP_API SCEP_MUST const scep_err *scep_key_make(EVP_PKEY **out, const char *kind, apr_pool_t *p);

#endif
