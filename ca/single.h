/* The single password of an endpoint: one challenge for all devices (SCEPUseSinglePassword). */
#ifndef CA_SINGLE_H
#define CA_SINGLE_H

#include "challenge.h"

/**
 * The endpoint's single password, made where there is none yet: sealed in the store, good for any
 * number of devices, without end. Nodes that share the database have one together.
 * @param length PasswordLength, bytes
 * @param out upper-case hex, wiped with @a p
 * @return NULL; SINGLE_PASSWORD: the one that is there cannot be opened, or has another length. It
 *         is not made anew by itself: that would lock out every device that was given it.
 */
SCEP_MUST const scep_err *single_password(const char **out, store *s, const store_key *key,
                                          const char *endpoint, long length,
                                          const challenge_order *order, apr_pool_t *p);

/** Could single_password() show the one that is there? None is made. @return as that one */
SCEP_MUST const scep_err *single_password_fits(store *s, const store_key *key, const char *endpoint,
                                               long length, apr_pool_t *p);

/** In a job: is that the endpoint's single password? */
SCEP_MUST const scep_err *single_password_check(store_tx *tx, const char *endpoint,
                                                const char *hash, bool *good);
/** The same, in a job of its own. */
SCEP_MUST const scep_err *single_password_is(bool *good, store *s, const char *endpoint,
                                             const char *hash, apr_pool_t *p);

#endif
