/*
 * Inside the clerks: the threads and their queues (clerks.c, clerks_start.c), and one ask
 * (clerks_ask.c).
 */
#ifndef CA_CLERKS_INT_H
#define CA_CLERKS_INT_H

#include "breaker.h"
#include "clerks.h"

#include <pthread.h>

#define CLERKS_ID_MOST 32

/* On the heap: neither who waits nor who works owns it alone. */
typedef struct job {
    struct job *next;
    bool waited, done; /* somebody waits for it; it was worked on */
    char id[CLERKS_ID_MOST];
} job;

struct window;

typedef struct clerk {
    struct window *window;
    pthread_t thread;
    bool started;
    char id[CLERKS_ID_MOST]; /* of what it asks about, or tells of; "": idle */
    moment since;
} clerk;

/* Of one authority. */
typedef struct window {
    struct clerks *all;
    const conf_authority *conf;
    connector *connector;
    breaker breaker;
    job *first, *last;
    int queued, running;
    int patient;         /* who waits for longer than a moment */
    bool more;           /* the store has more that is due */
    bool deaf;           /* the store was not readable, and that was said */
    clerk *clerks;       /* conf->concurrency */
    pthread_cond_t work; /* for clerks */
    pthread_cond_t done; /* for those who wait */
    struct window *next;
} window;

struct clerks {
    store *store;
    clerks_tell_fn tell;
    clerks_judge_fn judge;
    void *baton;
    window *windows;
    pthread_mutex_t lock; /* of all that changes; nobody holds it while he asks or reads */
    pthread_cond_t tick, ended;
    pthread_t dispatcher;
    bool dispatches, leaving, stopping;
    int alive; /* threads */
};

/** What came of an ask. */
typedef struct clerks_asked {
    clerks_news news;      /* verdict NULL: there is nothing to tell of */
    bool tried;            /* the CA was asked, and has answered or failed */
    const scep_err *fault; /* of the CA's being asked: counts against it */
} clerks_asked;

/** The threads: of a clerk, of the clerks. */
void *clerks_serve(void *data);
void *clerks_dispatch(void *data);

/* With the lock held. */

/** Nobody works on what is in the queue: it stands in the store, and is found when it is due. */
void clerks_forget(window *w);
void clerks_wait(pthread_cond_t *cond, pthread_mutex_t *lock, moment until);

/** Claim it, ask, check what comes, settle. Without the lock.
 *  @param waited somebody waits for it, who has judged it just now. @param p of this ask */
void clerks_work(clerks_asked *out, const window *w, const char *id, bool waited, apr_pool_t *p);

#endif
