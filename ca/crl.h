/*
 * The CRL of an authority (RFC 5280 5): collected from the inventory in short jobs, signed by the
 * CA, kept in the store, and renamed into the public folder that httpd serves. Only an authority
 * with crl_file has one.
 */
#ifndef CA_CRL_H
#define CA_CRL_H

#include "connector.h"
#include "store.h"

/** How far it is. @param total 0: not known */
typedef void (*crl_progress_fn)(void *baton, const char *what, apr_int64_t done, apr_int64_t total);

/**
 * Sign a new one now.
 * @param progress NULL: nobody listens
 * @return NULL; CONFIG: this authority's CA signs no CRL here; UNAVAILABLE, INTERNAL
 */
SCEP_MUST const scep_err *crl_sign(store *s, const conf_authority *a, connector *c,
                                   crl_progress_fn progress, void *baton, apr_pool_t *p);

/** Sign one where it is due (none yet, something was revoked since, or a third of its time is
 *  left), and see that crl_file holds the newest one of the store. An authority without crl_file
 *  is left alone. */
SCEP_MUST const scep_err *crl_keep(store *s, const conf_authority *a, connector *c, apr_pool_t *p);

/** The newest, DER. @param out len 0: none was signed */
SCEP_MUST const scep_err *crl_get(scep_bytes *out, store *s, const char *authority, apr_pool_t *p);

#endif
