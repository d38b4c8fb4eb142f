/* The time, which tests can set. */
#include "clock.h"

#include <stdatomic.h>

static _Atomic apr_time_t fixed_time;

apr_time_t scep_now(void)
{
    apr_time_t fixed = atomic_load_explicit(&fixed_time, memory_order_relaxed);

    return fixed ? fixed : apr_time_now();
}

void scep_clock_set(apr_time_t fixed)
{
    atomic_store(&fixed_time, fixed);
}
