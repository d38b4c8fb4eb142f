/*
 * Deadlines that a change of the clock does not move: moments of the monotonic clock.
 */
#ifndef CA_DEADLINE_H
#define CA_DEADLINE_H

#include "err.h"

#include <apr_time.h>
#include <stdint.h>

/** A moment; a structure, so that it is not taken for an apr_time_t. */
typedef struct deadline {
    int64_t at; /* microseconds */
} deadline;

/** So long from this moment. */
deadline deadline_in(apr_interval_time_t length);

/** The earlier of two. */
deadline deadline_earlier(deadline a, deadline b);

/** Microseconds that are left; 0: over. */
apr_interval_time_t deadline_left(deadline d);

/** Wait until poll() says one of @a events of @a fd, or that it ended.
 *  @return NULL, or UNAVAILABLE: the time is over */
SCEP_MUST const scep_err *deadline_wait(int fd, short events, deadline d, apr_pool_t *p);

#endif
