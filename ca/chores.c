/* Timed work, in a thread of its own, once a minute. */
#include "chores.h"
#include "log.h"
#include "transaction.h"

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <signal.h>

#define PERIOD apr_time_from_sec(60)
#define SWEPT_AT_ONCE 100

/* A transaction is remembered for a week after its certificate has ended: a device that was
 * switched off may still ask for the answer. */
#define KEEP_SECONDS (7 * 24 * 60 * 60)

struct chores {
    store *store;
    apr_pool_t *pool; /* of one round */
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *wake;
    apr_thread_t *thread; /* NULL: stopped */
    bool stopping;
};

static void do_chores(chores *c)
{
    const scep_err *err = challenge_sweep(c->store, SWEPT_AT_ONCE, c->pool);

    if (!err)
        err = transaction_sweep(c->store, KEEP_SECONDS, c->pool);
    if (err)
        log_err(LOG_LEVEL_WARN, "SCEP0290", "clean-up of the store failed", err);
    apr_pool_clear(c->pool);
}

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *data)
{
    chores *c = data;
    apr_time_t next = 0;
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    apr_thread_mutex_lock(c->mutex);
    while (!c->stopping) {
        apr_interval_time_t left = next - apr_time_now();

        if (left > 0 && left <= PERIOD) {
            (void)apr_thread_cond_timedwait(c->wake, c->mutex, left);
            continue;
        }
        /* due, or the clock was set back */
        apr_thread_mutex_unlock(c->mutex);
        do_chores(c);
        next = apr_time_now() + PERIOD;
        apr_thread_mutex_lock(c->mutex);
    }
    apr_thread_mutex_unlock(c->mutex);
    return NULL;
}

const scep_err *chores_start(chores **out, office *o, apr_pool_t *p)
{
    chores *c = apr_pcalloc(p, sizeof(*c));

    c->store = o->store;
    if (apr_pool_create(&c->pool, NULL))
        return scep_fail(p, INTERNAL, "out of memory");
    if (apr_thread_mutex_create(&c->mutex, APR_THREAD_MUTEX_DEFAULT, p) ||
        apr_thread_cond_create(&c->wake, p) || apr_thread_create(&c->thread, NULL, work, c, p)) {
        apr_pool_destroy(c->pool);
        return scep_fail(p, INTERNAL, "the thread for timed work cannot be started");
    }
    *out = c;
    return NULL;
}

void chores_stop(chores *c)
{
    apr_status_t status;

    apr_thread_mutex_lock(c->mutex);
    c->stopping = true;
    apr_thread_cond_signal(c->wake);
    apr_thread_mutex_unlock(c->mutex);
    if (!c->thread)
        return;
    (void)apr_thread_join(&status, c->thread);
    c->thread = NULL;
    apr_pool_destroy(c->pool);
}
