/*
 * The algorithms that OpenSSL keeps apart. Single DES is in no provider that OpenSSL loads by
 * itself, and loading that provider into the default context would switch it on for the whole
 * process, httpd's TLS included. So it lives in a library context of its own. Private to the
 * library.
 *
 * Objects of both contexts work together: CMS_decrypt() of an envelope that was read in this
 * context takes a key of the default one, CMS_encrypt_ex() a certificate of the default one, as
 * OpenSSL copies the key over. A private key that cannot leave its token cannot be copied: with
 * such an RA key, a DES envelope does not decrypt.
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
