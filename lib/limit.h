/*
 * How often something may happen: a token bucket for each key, in memory of a fixed size.
 *
 * Made for counting failures (wrong challenges of an address) and what one user asks for. A
 * caller that counts failures only, and asks before it answers a failure and never before it
 * serves a good request, refuses no good request: a site behind one address is not locked out
 * by one broken device of its own (S-27).
 */
#ifndef SCEP_LIMIT_H
#define SCEP_LIMIT_H

#include "bytes.h"

typedef struct scep_limit scep_limit;

/**
 * An empty limiter in @a p, which every thread of the process may use. It keeps 4096 keys in 64 kB
 * and never grows.
 * Keys are told apart by a hash whose seed is random, so that nobody can choose keys that fall
 * together. Where there is no room for one more, a key that did the least is
 * forgotten: it starts afresh, which lets through too much and never too little.
 * @return NULL, or INTERNAL
 */
SCEP_API SCEP_MUST const scep_err *scep_limit_make(scep_limit **out, apr_pool_t *p);

/**
 * Count one event for @a key.
 * @param key anything: an address, a user, with the endpoint in front
 * @param per_minute how many are within the limit, 1 or more: as many at once, and then one every
 *        60 / per_minute seconds. All calls for one key give the same number
 * @return 0: within the limit; else the seconds until one would be, at least 1, which is what
 *         Retry-After says. An event over the limit is not counted: it postpones nothing
 */
SCEP_API int scep_limit_hit(scep_limit *l, scep_bytes key, int per_minute);

/**
 * The part of an address that its owner cannot choose, for a key: whoever has an IPv6 address has
 * the 2^64 of his network.
 * @param ip as text
 * @return IPv4 as it stands, also where it is mapped into IPv6; of IPv6 the first 64 bits, with
 *         "/64"; what is no address as it stands. In @a p, or @a ip itself
 */
SCEP_API const char *scep_limit_address(const char *ip, apr_pool_t *p);

#endif
