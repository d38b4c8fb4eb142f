/*
 * Revoked certificates that a CA issued without scep-ca: its CRL, from a file or an http URL. Read
 * anew when it changes; never trusted without the CA's signature; never used beyond nextUpdate.
 */
#ifndef CA_FOREIGN_H
#define CA_FOREIGN_H

#include "own.h"

typedef struct foreign foreign;

typedef enum foreign_status { FOREIGN_GOOD, FOREIGN_REVOKED } foreign_status;

/**
 * @param where conf_authority.foreign_crl: "none", a path, "http://…" or "https://…"
 * @param issuers CAs whose signature a CRL may have; lives as long as @a p
 * A file is read when it is asked for and has changed; a URL is fetched by foreign_refresh() alone.
 * Nothing that a certificate names is ever fetched (S-46). A file may hold several CRLs in PEM
 * form: one for each issuer.
 */
SCEP_MUST const scep_err *foreign_make(foreign **out, const char *where,
                                       const STACK_OF(X509) * issuers, apr_pool_t *p);

/** @return NULL; UNAVAILABLE: there is no usable CRL that is signed by the key that signed @a cert
 *  (the detail says why) */
SCEP_MUST const scep_err *foreign_check(foreign_status *out, foreign *f, X509 *cert, apr_pool_t *p);

/** Fetch a URL where it is due: at first, hourly, every ten minutes when nextUpdate is near or
 * over, and five minutes after a failure. At most 30 seconds, 16 MiB. A file is read where it has
 * changed. A failure keeps the former one. That a CRL has ended is no failure: foreign_check() says
 * so.
 *  @return NULL, or UNAVAILABLE: once for each failure, for the log */
SCEP_MUST const scep_err *foreign_refresh(foreign *f, apr_pool_t *p);

/** What is known now, in a few words, for the operator's screen. Fetches nothing. */
const char *foreign_describe(foreign *f, apr_pool_t *p);

#endif
