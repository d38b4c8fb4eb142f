/* Secrets at rest in the store: AES-256-GCM under a key that is derived from store.key (HKDF,
 * RFC 5869). */
#ifndef CA_SEAL_H
#define CA_SEAL_H

#include "challenge.h"

/** @param about what the secret belongs to; has to be the same to open it
 *  @return NULL, or INTERNAL */
SCEP_MUST const scep_err *seal_close(scep_bytes *sealed, const store_key *key, const char *about,
                                     scep_bytes secret, apr_pool_t *p);

/** @param secret wiped with @a p. @return NULL, or INTERNAL: another key or use, or changed */
SCEP_MUST const scep_err *seal_open(scep_bytes *secret, const store_key *key, const char *about,
                                    scep_bytes sealed, apr_pool_t *p);

#endif
