/*
 * A circuit breaker: a CA that fails is left alone for a while. Pure: whoever asks says what time
 * it is, and keeps others from asking at the same moment.
 */
#ifndef CA_BREAKER_H
#define CA_BREAKER_H

#include "deadline.h"

#include <stdbool.h>

/* So many failures in a row open it, for so long; twice as long each further time. */
#define BREAKER_FAILURES 5
#define BREAKER_PAUSE apr_time_from_sec(10)
#define BREAKER_PAUSE_MOST apr_time_from_sec(300)

/** Zeroed: closed. */
typedef struct breaker {
    int failures;              /* in a row */
    apr_interval_time_t pause; /* 0: closed */
    moment until;              /* where open: from then on one ask is let through */
    bool trying;               /* that one is on its way */
} breaker;

typedef enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN } breaker_state;

breaker_state breaker_is(const breaker *b, moment now);

/** Would breaker_take() let an ask through? */
bool breaker_lets(const breaker *b, moment now);

/** An ask wants to begin. @return false: not now. After true, one of the three below follows */
SCEP_MUST bool breaker_take(breaker *b, moment now);

/** The CA answered, whatever it said. @return whether this closed it */
bool breaker_succeeded(breaker *b);
/** It did not. @return whether this opened it, or keeps it open */
bool breaker_failed(breaker *b, moment now);
/** It was not asked after all. */
void breaker_untried(breaker *b);

#endif
