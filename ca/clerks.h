/*
 * The clerks: threads that ask the CAs elsewhere, a few for each authority (concurrency of
 * ca.conf), so that one that hangs ties up its own clerks and nobody else. What they ask was
 * recorded before (submission.h). What nobody gave them they find in the store: what a former
 * process or another node left, what a CA wanted to be asked again, what failed.
 */
#ifndef CA_CLERKS_H
#define CA_CLERKS_H

#include "connector.h"
#include "submission.h"

typedef struct clerks clerks;

/** What became of a submission for which nobody waited any more. */
typedef struct clerks_news {
    const store_request *row; /* as it was asked */
    const char *verdict;      /* "issued", "denied", "waits", "lost", "withheld" */
    const char *reason;       /* "": none */
    const issued_cert *cert;  /* where issued */
    apr_interval_time_t took;
} clerks_news;

typedef void (*clerks_tell_fn)(void *baton, const clerks_news *news, apr_pool_t *p);

/**
 * May a CA be asked about this still? Before it is for the first time, where nobody waits any more:
 * what was judged when the request came may be long ago.
 * @return NULL; UNAVAILABLE, INTERNAL or CONFIG: it is not known now; anything else: it is denied
 */
typedef const scep_err *(*clerks_judge_fn)(void *baton, const store_request *row, apr_pool_t *p);

/** Whoever waited for a request is about to leave before it was worked on. */
typedef void (*clerks_leave_fn)(void *baton);

/** How an authority's CA fares. */
typedef struct clerks_state {
    bool open;           /* it failed so often that it is left alone for a while */
    int running, queued; /* asks */
} clerks_state;

/** @param tell and @param judge are called by any of the threads. Without a thread yet. */
SCEP_MUST const scep_err *clerks_make(clerks **out, store *s, clerks_tell_fn tell,
                                      clerks_judge_fn judge, void *baton, apr_pool_t *p);

/** Before clerks_start(): an authority whose connector is remote and was started. */
SCEP_MUST const scep_err *clerks_add(clerks *c, const conf_authority *a, connector *remote,
                                     apr_pool_t *p);

SCEP_MUST const scep_err *clerks_start(clerks *c, apr_pool_t *p);

/** Look for nothing more in the store: another process or node does. Whoever calls is served. */
void clerks_leave(clerks *c);

/**
 * Ask nothing more, and wait for what is being asked, at most @a within.
 * @return whether all threads have ended; otherwise nothing of theirs may be freed, and the process
 *         is to end: whoever comes next finds what they asked
 */
bool clerks_stop(clerks *c, apr_interval_time_t within);

/** Before anything is recorded. @return NULL; UNAVAILABLE: the CA is being left alone */
SCEP_MUST const scep_err *clerks_ready(clerks *c, const char *authority, apr_pool_t *p);

/**
 * Give them a request that was put into the queue, and wait until it was worked on.
 * @param deadline apr_time_now()'s clock
 * @param patient wait until then. Otherwise it is not waited for a CA that is slow just now, and
 *        few wait for more than two seconds: the others' devices ask again
 * @param leaves NULL, or called before a clerk may tell of it, which is once at most and without a
 *        lock; it may have been worked on nevertheless
 * @return whether it was worked on (the store says what became of it). Otherwise it will be, and
 *         told of
 */
bool clerks_ask(clerks *c, const char *authority, const char *id, apr_time_t deadline, bool patient,
                clerks_leave_fn leaves, void *baton);

/** @return false: they do not know that authority */
bool clerks_look(clerks *c, const char *authority, clerks_state *out);

#endif
