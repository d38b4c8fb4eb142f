/*
 * The RAs of an authority and their life: made and renewed by scep-ca, kept sealed in the store,
 * shared by the nodes. One node makes a new one (lease row), all take it up. A former RA opens what
 * is enveloped to it until its certificates end.
 */
#ifndef CA_IDENTITIES_H
#define CA_IDENTITIES_H

#include "connector.h"
#include "ra.h"
#include "seal.h"

/* What holds at one time. Never changes; lives as long as the process. */
typedef struct identities {
    const scep_ra *const *ra; /* the current one first, then the newest of the former ones */
    int n;                    /* at least 1 */
    uint64_t generation;      /* another number for another content, the CA's chain included */
} identities;

typedef struct identities_keeper identities_keeper;

/**
 * @param first the RA that ca.conf names; checked but for its dates: after them the store's count.
 *        NULL: there is none, and the CA, elsewhere, makes it from its templates
 * Opens nothing.
 */
SCEP_MUST const scep_err *identities_make(identities_keeper **out, const conf_authority *a,
                                          connector *c, const scep_ra *first, apr_pool_t *p);

/**
 * Look into the store; where the current RA ends within conf_authority.ra_renew_days (or a third of
 * its life, if that is less), make a new one, on the node that gets the lease. Called at start and
 * by chores. Nothing current and none can be made: CONFIG. Current is the newest that is valid now,
 * so a newer pair in ca.conf takes over too. A renewal that failed is tried again hourly, on the
 * last day at each call. Where nothing is current it waits up to ten seconds for a node that makes
 * one.
 * @return NULL, or what failed; what held before goes on to hold
 */
SCEP_MUST const scep_err *identities_keep(identities_keeper *k, store *s, const store_key *key,
                                          apr_pool_t *p);

/**
 * Take up what another node has made since; makes nothing and waits for nobody. For a worker that
 * asks, as a device may have met that node's new RA already.
 * @return NULL, or what failed; what held before goes on to hold
 */
SCEP_MUST const scep_err *identities_look(identities_keeper *k, store *s, const store_key *key,
                                          apr_pool_t *p);

/** What holds now. Any thread. NULL: nothing yet, where there was no first one and
 * identities_keep() has not succeeded. */
const identities *identities_now(const identities_keeper *k);

#endif
