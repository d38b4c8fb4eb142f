/*
 * The one loader of private keys: from PEM files, and in PKCS#11 tokens. Everything that needs a
 * key from the configuration comes here.
 *
 * A key in a token is named by a PKCS#11 URI (RFC 7512):
 *   pkcs11:token=LABEL;object=LABEL;type=private?module-path=/PATH/MODULE.so&pin-source=file:/PATH
 * of the attributes token, serial, manufacturer, model, slot-id, object, id and type. The token is
 * found and logged in to at the first key of it, once in a process, and not before a fork: PKCS#11
 * has no state that a child could inherit. The login lasts until the process ends, whoever it has
 * become since; so a process that loads a key has this state, and its module, for good. While a
 * token is away each use is an error; scep_key_away() begins anew what ended with that.
 */
#ifndef SCEP_KEY_H
#define SCEP_KEY_H

#include "bytes.h"
#include "own.h"

#include <stdbool.h>

/**
 * Load a private key.
 * @param where a path, with or without "file:" before it, or a PKCS#11 URI
 * @return NULL, or CONFIG: the file is missing, readable by group or others, encrypted (no
 *         passphrase is ever asked for), or holds no private key: the detail names the file. In a
 *         token, which is used once to see that it works: no such module, token or key, a PIN that
 *         is wrong or missing, or a private key that is not that of its public one: the detail
 *         names slot and label, never the PIN
 */
SCEP_API SCEP_MUST const scep_err *scep_key_load(EVP_PKEY **out, const char *where, apr_pool_t *p);

/** Is that a URI as above? The text only: nothing is opened.
 *  @return NULL, or CONFIG: a sentence that begins with what is wrong; it repeats nothing of
 *          @a uri, which may hold a PIN by mistake */
SCEP_API SCEP_MUST const scep_err *scep_key_uri_check(const char *uri, apr_pool_t *p);

/** Where a key is, for an error or a log: 'key "a" in token "b" (slot 1)'. NULL: in memory. Lives
 * as long as @a key. */
SCEP_API const char *scep_key_where(const EVP_PKEY *key);

/** Is the token of @a key gone? To be asked after every decryption: what was decrypted makes no
 *  difference to the answer, and whether it is asked must not depend on it either (S-15). A session
 *  or a login that has ended is begun anew, by the PIN of the start, unless the token refused that
 *  before or has one try left for it; then the key is used once, to see that it works on.
 *  @return NULL: it is there, or the key is in memory, which costs nothing; UNAVAILABLE: the token
 *          is away, or of no use; the detail names slot and label */
SCEP_API SCEP_MUST const scep_err *scep_key_away(EVP_PKEY *key, apr_pool_t *p);

/** Which session of its token a key is used in, counted. Another one after a use than before it:
 *  the use may have failed for the old one's end alone. Of a key in memory always the same. */
SCEP_API unsigned scep_key_session(const EVP_PKEY *key);

/** What names the token of a key that was loaded in this process by @a where, the same for all of
 *  its keys: 'token "b" (slot 1) of MODULE'. NULL: a file, or nothing was loaded. */
SCEP_API const char *scep_key_token(const char *where, apr_pool_t *p);

/** Are two keys that were loaded in this process in the same token? By what the token says of
 * itself (manufacturer, model, serial number and label), as several modules may lead to it. false
 * where one is a file, or was not loaded. */
SCEP_API bool scep_key_same_token(const char *a, const char *b, apr_pool_t *p);

/** The key as PKCS#8 DER, wiped with the pool; of one in a token, which never leaves it, the URI.
 */
SCEP_API SCEP_MUST const scep_err *scep_key_der(scep_bytes *out, const EVP_PKEY *key,
                                                apr_pool_t *p);

/** The key of what scep_key_der() gave. @return NULL; INTERNAL; CONFIG: as scep_key_load() */
SCEP_API SCEP_MUST const scep_err *scep_key_read(EVP_PKEY **out, scep_bytes der, apr_pool_t *p);

/** A new key: "rsa2048", "rsa3072", "rsa4096", "p256", "p384".
 *  @return NULL, or CONFIG for another name */
SCEP_API SCEP_MUST const scep_err *scep_key_make(EVP_PKEY **out, const char *kind, apr_pool_t *p);

#endif
