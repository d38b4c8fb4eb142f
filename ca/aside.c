/* Work without a deadline of its own, in a thread that can be left behind. */
#include "aside.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

/* Counted, as a thread that was left behind may be the last to hold it. */
struct aside {
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t ended; /* a job is done, or the place is free */
    int holders;
    bool busy;
};

/* A job: held by its caller and its thread; the last one frees it. */
typedef struct job {
    aside *place;
    const aside_kind *kind;
    void *what;
    bool done, abandoned;
} job;

static void let_go(aside *a)
{
    bool last;

    pthread_mutex_lock(&a->lock);
    last = --a->holders == 0;
    pthread_mutex_unlock(&a->lock);
    if (!last)
        return;
    pthread_cond_destroy(&a->ended);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static apr_status_t leave(void *data)
{
    let_go(data);
    return APR_SUCCESS;
}

static bool make_condition(pthread_cond_t *out)
{
    pthread_condattr_t how;
    bool made;

    if (pthread_condattr_init(&how) != 0)
        return false;
    made =
        pthread_condattr_setclock(&how, CLOCK_MONOTONIC) == 0 && pthread_cond_init(out, &how) == 0;
    pthread_condattr_destroy(&how);
    return made;
}

const scep_err *aside_make(aside **out, apr_pool_t *p)
{
    aside *a = calloc(1, sizeof(*a));

    if (!a || !make_condition(&a->ended)) {
        free(a);
        return scep_fail(p, INTERNAL, "no condition variable");
    }
    if (pthread_mutex_init(&a->lock, NULL) != 0) {
        pthread_cond_destroy(&a->ended);
        free(a);
        return scep_fail(p, INTERNAL, "no mutex");
    }
    a->holders = 1;
    apr_pool_cleanup_register(p, a, leave, apr_pool_cleanup_null);
    *out = a;
    return NULL;
}

static void *run(void *data)
{
    job *j = data;
    aside *place = j->place;
    bool abandoned;

    j->kind->work(j->what);
    pthread_mutex_lock(&place->lock);
    j->done = true;
    abandoned = j->abandoned;
    place->busy = false;
    pthread_cond_broadcast(&place->ended);
    pthread_mutex_unlock(&place->lock);
    if (abandoned) {
        j->kind->drop(j->what);
        free(j);
    }
    let_go(place);
    return NULL;
}

/* Signals are for the threads that expect them. */
static bool start(job *j)
{
    sigset_t all, before;
    pthread_attr_t how;
    pthread_t thread;
    bool started;

    if (pthread_attr_init(&how) != 0)
        return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started = pthread_attr_setdetachstate(&how, PTHREAD_CREATE_DETACHED) == 0 &&
              pthread_create(&thread, &how, run, j) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&how);
    return started;
}

/* With the lock: until the flag is as wanted. false: the deadline came first. */
static bool await(aside *a, const bool *flag, bool wanted, moment d)
{
    struct timespec until = { (time_t)(d.at / APR_USEC_PER_SEC),
                              (long)(d.at % APR_USEC_PER_SEC) * 1000 };

    while (*flag != wanted)
        if (pthread_cond_timedwait(&a->ended, &a->lock, &until) != 0)
            return *flag == wanted;
    return true;
}

const scep_err *aside_do(aside *a, const aside_kind *kind, void *what, moment d, apr_pool_t *p)
{
    job *j = calloc(1, sizeof(*j));
    bool begun = false, done = false;

    if (!j) {
        kind->drop(what);
        return scep_fail(p, UNAVAILABLE, "out of memory");
    }
    *j = (job){ .place = a, .kind = kind, .what = what };
    pthread_mutex_lock(&a->lock);
    if (await(a, &a->busy, false, d)) {
        a->busy = true;
        a->holders++;
        begun = start(j);
        if (begun) {
            done = await(a, &j->done, true, d);
            j->abandoned = !done;
        } else {
            a->busy = false;
            a->holders--;
            pthread_cond_broadcast(&a->ended);
        }
    }
    pthread_mutex_unlock(&a->lock);
    if (done) {
        free(j);
        return NULL;
    }
    if (!begun) {
        kind->drop(what);
        free(j);
    }
    return scep_fail(p, UNAVAILABLE, "no answer in time");
}
