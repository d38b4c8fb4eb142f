/* How an RA is made and how it is kept in the store. Private to identities*.c. */
#ifndef CA_IDENTITIES_INT_H
#define CA_IDENTITIES_INT_H

#include "identities.h"

/* When both certificates are valid, seconds since 1970. */
typedef struct identities_span {
    apr_int64_t begins, ends;
} identities_span;

SCEP_MUST const scep_err *identities_dates(identities_span *out, const scep_ra *ra, apr_pool_t *p);

/** New keys, and certificates of the CA for them; subjects and kinds of key as of @a like.
 *  @param out sealed, to be put into the store. @return NULL, or UNAVAILABLE, INTERNAL */
SCEP_MUST const scep_err *identities_renew(store_ra *out, const conf_authority *a, connector *c,
                                           const scep_ra *like, const store_key *key,
                                           apr_pool_t *p);

/** The RA of a row of the store. @param out keys are wiped with @a p
 *  @return NULL, or INTERNAL, CONFIG: sealed with another store.key, spoilt, or another CA's */
SCEP_MUST const scep_err *identities_open(scep_ra **out, const store_ra *row, X509 *ca,
                                          const store_key *key, apr_pool_t *p);

#endif
