/* What the suites of an RA's life share: a clock, a CA, a store, and a keeper of RAs. */
#ifndef IDENTITIES_ROOM_H
#define IDENTITIES_ROOM_H

#include "fixture.h"
#include "identities.h"

#include <check.h>

#define DAY 86400
#define YEARS (3650LL * DAY)

extern const store_key life_key;
extern apr_int64_t life_now; /* seconds */
extern scep_signer life_ca;
extern connector life_connector;
extern conf_authority life_authority;

/* What the CA here is asked for, and what it does. */
extern int life_asked;
extern connector_outcome life_outcome;
extern bool life_is_away;

/** For each test; room_down() is its end. */
void life_up(void);
void life_clock_at(apr_int64_t seconds);

/** A certificate of the CA's key, which becomes the CA. */
void life_ca_set(apr_int64_t ends);

/** ca.conf's RA, in seconds from now. */
scep_ra *life_ra(apr_int64_t from, apr_int64_t to);

/** @param first NULL: none */
identities_keeper *life_keeper(const scep_ra *first);
const scep_err *life_keep(identities_keeper *k);

int life_lines_with(const char *what);
void life_expect_same(const identities *a, const identities *b);

Suite *draft_suite(void);

#endif
