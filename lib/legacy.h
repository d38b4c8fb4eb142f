/*
 * The algorithms that OpenSSL keeps apart. Single DES is in no provider that OpenSSL loads by
 * itself, and loading that provider into the default context would switch it on for the whole
 * process, httpd's TLS included. So it lives in a library context of its own. Private to the
 * library.
 *
 * Only the content cipher of an envelope is of this context, and MD5: EVP_DigestSignInit_ex() takes
 * a key of the default one, as OpenSSL copies it over. A private key that cannot leave its token
 * cannot be copied: with such an RA key, no reply is signed with MD5.
 */
#ifndef SCEP_LEGACY_H
#define SCEP_LEGACY_H

#include "err.h"

#include <openssl/types.h>

/**
 * The context with OpenSSL's default and legacy providers. Made at the first call, lives as long
 * as the process; any thread.
 * @return NULL, or INTERNAL: this OpenSSL came without the legacy provider
 */
SCEP_MUST const scep_err *scep_legacy(OSSL_LIB_CTX **out, apr_pool_t *p);

#endif
