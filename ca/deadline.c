/* Deadlines by the monotonic clock. */
#include "deadline.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

static int64_t monotonic(void)
{
    struct timespec now = { 0, 0 };

    /* it fails for a clock that is not there only, and this one always is */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * APR_USEC_PER_SEC + now.tv_nsec / 1000;
}

moment deadline_in(apr_interval_time_t length)
{
    return (moment){ monotonic() + length };
}

moment deadline_earlier(moment a, moment b)
{
    return a.at < b.at ? a : b;
}

apr_interval_time_t deadline_left(moment d)
{
    int64_t left = d.at - monotonic();

    return left > 0 ? left : 0;
}

const scep_err *deadline_wait(int fd, short events, moment d, apr_pool_t *p)
{
    for (;;) {
        apr_interval_time_t left = deadline_left(d);
        struct pollfd pfd = { fd, events, 0 };
        int n;

        if (left == 0)
            return scep_fail(p, UNAVAILABLE, "no answer in time");
        /* rounded up, lest the last millisecond be spent spinning */
        n = poll(&pfd, 1, left > apr_time_from_sec(60) ? 60000 : (int)((left + 999) / 1000));
        if (n > 0)
            return NULL;
        if (n < 0 && errno != EINTR)
            return scep_fail(p, UNAVAILABLE, "poll: %s", strerror(errno));
    }
}
