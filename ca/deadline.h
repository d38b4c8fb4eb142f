/*
 * Deadlines that a change of the clock does not move: moments of the monotonic clock.
 */
#ifndef CA_DEADLINE_H
#define CA_DEADLINE_H

#include "err.h"

#include <apr_time.h>
#include <stdint.h>

/** A moment; a structure, so that it is not taken for an apr_time_t. */
typedef struct moment {
    int64_t at; /* microseconds */
} moment;

/** So long from this moment. */
moment deadline_in(apr_interval_time_t length);

/** The earlier of two. */
moment deadline_earlier(moment a, moment b);

/** Microseconds that are left; 0: over. */
apr_interval_time_t deadline_left(moment d);

/** Wait until poll() says one of @a events of @a fd, or that it ended.
 *  @return NULL, or UNAVAILABLE: the time is over */
SCEP_MUST const scep_err *deadline_wait(int fd, short events, moment d, apr_pool_t *p);

#endif
