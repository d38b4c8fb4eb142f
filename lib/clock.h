/* The time, which tests can set. */
#ifndef SCEP_CLOCK_H
#define SCEP_CLOCK_H

#include "err.h"

#include <apr_time.h>

/** Microseconds since 1970, UTC. */
SCEP_API apr_time_t scep_now(void);

/** For tests: from now on scep_now() says @a fixed; 0 gives the real clock back. Any thread. */
SCEP_API void scep_clock_set(apr_time_t fixed);

#endif
