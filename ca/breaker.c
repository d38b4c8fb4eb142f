/* When a CA that fails may be asked again. */
#include "breaker.h"

static bool is_over(moment until, moment now)
{
    return until.at <= now.at;
}

breaker_state breaker_is(const breaker *b, moment now)
{
    if (!b->pause)
        return BREAKER_CLOSED;
    return is_over(b->until, now) ? BREAKER_HALF_OPEN : BREAKER_OPEN;
}

bool breaker_lets(const breaker *b, moment now)
{
    return !b->pause || (!b->trying && is_over(b->until, now));
}

bool breaker_take(breaker *b, moment now)
{
    if (!breaker_lets(b, now))
        return false;
    b->trying = b->pause != 0;
    return true;
}

bool breaker_succeeded(breaker *b)
{
    bool closes = b->pause != 0;

    *b = (breaker){ 0 };
    return closes;
}

/* One that began before it opened and fails late says nothing new. */
static bool is_late(const breaker *b, moment now)
{
    return b->pause && !is_over(b->until, now);
}

bool breaker_failed(breaker *b, moment now)
{
    if (is_late(b, now))
        return false;
    b->trying = false;
    b->failures++;
    if (b->failures < BREAKER_FAILURES)
        return false;
    b->pause = b->pause ? 2 * b->pause : BREAKER_PAUSE;
    if (b->pause > BREAKER_PAUSE_MOST)
        b->pause = BREAKER_PAUSE_MOST;
    b->until.at = now.at + b->pause;
    return true;
}

void breaker_untried(breaker *b)
{
    b->trying = false;
}
