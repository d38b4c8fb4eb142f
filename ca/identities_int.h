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

/**
 * The same of a CA elsewhere, from its templates. It may take its time: keys, and what the CA said
 * so far, are kept sealed in the store, and the next call goes on from there.
 * @param like the RA to be followed; NULL: it is the first one
 * @param done to be put into the store with @a out: the draft is used up
 * @return NULL; UNAVAILABLE: not yet, or not at all, with the reason; CONFIG, INTERNAL
 */
SCEP_MUST const scep_err *identities_enrol(store_ra *out, store_ra *done, const conf_authority *a,
                                           connector *c, const scep_ra *like, store *s,
                                           const store_key *key, apr_pool_t *p);

/** A key for the certificate that comes after that of @a like: a new one, nothing weaker than it;
 *  but one in a token is kept, as keys in tokens are made by whoever owns them.
 *  @param like NULL: there was none */
SCEP_MUST const scep_err *identities_key(EVP_PKEY **out, EVP_PKEY *like, apr_pool_t *p);

/** A CA is asked as for any device: it gets a PKCS#10. */
SCEP_MUST const scep_err *identities_csr(scep_csr **out, EVP_PKEY *key, const X509_NAME *subject,
                                         apr_pool_t *p);

/** The row of an RA, its keys sealed. */
SCEP_MUST const scep_err *identities_close(store_ra *row, const scep_ra *ra, const char *authority,
                                           const store_key *key, apr_pool_t *p);

/** The RA of a row of the store. @param out keys are wiped with @a p
 *  @return NULL, or INTERNAL, CONFIG: sealed with another store.key, spoilt, or another CA's */
SCEP_MUST const scep_err *identities_open(scep_ra **out, const store_ra *row, X509 *ca,
                                          const store_key *key, apr_pool_t *p);

#endif
