/* Timed work, in a thread of its own, once a minute. */
#include "chores.h"
#include "clock.h"
#include "ending.h"
#include "log.h"
#include "request.h"

#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <signal.h>
#include <string.h>

#define PERIOD apr_time_from_sec(60)
#define SWEPT_AT_ONCE 100

/* Challenges of a roll-out end together. Not so many at once that an enrolment waits long, and not
 * so long that other work is late. */
#define CHALLENGES_AT_ONCE 250
#define SWEEP_MOST (PERIOD / 4) /* of each kind */

/* A transaction is remembered for a week after its certificate has ended: a device that was
 * switched off may still ask for the answer. */
#define KEEP_SECONDS (7 * 24 * 60 * 60)

/* What stays wrong is said once an hour; a foreign_crl that cannot be fetched at each try, which is
 * every five minutes, as between two of them nothing wrong is heard of it. */
#define SAY_AGAIN apr_time_from_sec(60 * 60)

typedef struct complaint {
    char text[512];
    apr_time_t at;
} complaint;

/* Of one authority. */
typedef struct complaints {
    complaint identities, crl, foreign, directory;
} complaints;

struct chores {
    office *office;
    complaints *complaints; /* one for each authority */
    complaint dates;
    ending *ending;
    apr_pool_t *pool; /* of one chore */
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *wake;
    apr_thread_t *thread; /* NULL: stopped */
    bool stopping;
};

/* Is it to be said now? Nothing wrong is noted as well. */
static bool is_news(complaint *c, const scep_err *err)
{
    apr_time_t now = apr_time_now();
    bool same = err && !strncmp(c->text, err->detail, sizeof(c->text) - 1);

    if (same && now >= c->at && now - c->at < SAY_AGAIN)
        return false;
    apr_cpystrn(c->text, err ? err->detail : "", sizeof(c->text));
    c->at = now;
    return err != NULL;
}

static void swept(chores *c, const char *what, const scep_err *err)
{
    if (err)
        log_err(LOG_LEVEL_WARN, "SCEP0290", apr_psprintf(c->pool, "clean-up of %s failed", what),
                err);
    apr_pool_clear(c->pool);
}

static const scep_err *ra_sweep(store_tx *tx, void *baton)
{
    int removed;

    return store_ra_sweep(tx, apr_time_sec(scep_now()), SWEPT_AT_ONCE, &removed);
}

/* @return false: it is to stop */
static bool pause_sweep(chores *c, apr_interval_time_t pause)
{
    bool go_on;

    apr_thread_mutex_lock(c->mutex);
    if (!c->stopping)
        (void)apr_thread_cond_timedwait(c->wake, c->mutex, pause);
    go_on = !c->stopping;
    apr_thread_mutex_unlock(c->mutex);
    return go_on;
}

static const scep_err *step_challenges(bool *more, chores *c)
{
    return challenge_sweep(more, c->office->store, CHALLENGES_AT_ONCE, c->pool);
}

static const scep_err *step_transactions(bool *more, chores *c)
{
    return transaction_sweep(more, c->office->store, KEEP_SECONDS, c->pool);
}

static const scep_err *step_requests(bool *more, chores *c)
{
    return request_sweep(more, c->office->store, KEEP_SECONDS, c->pool);
}

/* Rests as long as it works: for the enrolments, and for another node that waits for the lock of
 * the database. @return there is more to do */
static bool sweep_all(chores *c, const char *what, const scep_err *(*step)(bool *more, chores *c))
{
    apr_time_t start = apr_time_now();

    for (;;) {
        apr_time_t begin = apr_time_now();
        bool more;
        const scep_err *err = step(&more, c);
        apr_interval_time_t took = apr_time_now() - begin;

        more = more && !err;
        swept(c, what, err);
        /* negative: the clock was set back */
        if (!more || took < 0 || begin - start > SWEEP_MOST || !pause_sweep(c, took))
            return more;
    }
}

/* @return there is more to do */
static bool sweep(chores *c)
{
    bool more = sweep_all(c, "challenges", step_challenges);

    more = sweep_all(c, "transactions", step_transactions) || more;
    more = sweep_all(c, "requests", step_requests) || more;
    swept(c, "ended RAs", store_run(c->office->store, ra_sweep, NULL, c->pool));
    return more;
}

static void keep_crl(chores *c, const office_authority *a, complaints *said)
{
    const scep_err *err = crl_keep(c->office->store, a->conf, a->connector, c->pool);

    if (is_news(&said->crl, err))
        log_err(LOG_LEVEL_ERROR, "SCEP0292", "the CRL cannot be kept up to date", err);
    apr_pool_clear(c->pool);
}

/* After all CRLs: a CA elsewhere may let it wait. */
static void keep_ra(chores *c, const office_authority *a, complaints *said)
{
    office *o = c->office;
    const scep_err *err = identities_keep(a->identities, o->store, o->key, c->pool);

    if (is_news(&said->identities, err))
        log_err(LOG_LEVEL_ERROR, "SCEP0291", "NDES-10 the RA cannot be kept up to date", err);
    apr_pool_clear(c->pool);
}

/* After all else, as it may take long. */
static void fetch(chores *c, const office_authority *a, complaints *said)
{
    const scep_err *err = foreign_refresh(a->trust.foreign, c->pool);

    if (is_news(&said->foreign, err))
        log_err(LOG_LEVEL_ERROR, "SCEP0293",
                apr_psprintf(c->pool, "NDES-8 [authority %s]: foreign_crl", a->conf->name), err);
    apr_pool_clear(c->pool);
    err = office_directory_refresh(a, c->pool);
    if (is_news(&said->directory, err))
        log_err(LOG_LEVEL_ERROR, "SCEP0381",
                "NDES-8 the directory is not asked any more, or is not as it should be; what was "
                "read of it holds on",
                err);
    apr_pool_clear(c->pool);
}

/* After the RAs were kept: one that was just renewed is not named. */
static void warn(chores *c)
{
    const scep_err *err = ending_warn(c->ending, c->office, c->pool);

    if (is_news(&c->dates, err))
        log_err(LOG_LEVEL_ERROR, "SCEP0296", "NDES-8 when certificates end cannot be told", err);
    apr_pool_clear(c->pool);
}

static bool is_stopping(chores *c)
{
    bool stopping;

    apr_thread_mutex_lock(c->mutex);
    stopping = c->stopping;
    apr_thread_mutex_unlock(c->mutex);
    return stopping;
}

/* Who stops it waits for one authority at most. */
static void for_each(chores *c,
                     void (*chore)(chores *c, const office_authority *a, complaints *said))
{
    const apr_array_header_t *list = c->office->authorities;

    for (int i = 0; i < list->nelts && !is_stopping(c); i++)
        chore(c, APR_ARRAY_IDX(list, i, office_authority *), &c->complaints[i]);
}

/* @return the next round is due at once */
static bool do_chores(chores *c)
{
    bool more = sweep(c);

    for_each(c, keep_crl);
    for_each(c, keep_ra);
    warn(c);
    for_each(c, fetch);
    return more;
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
        next = do_chores(c) ? 0 : apr_time_now() + PERIOD;
        apr_thread_mutex_lock(c->mutex);
    }
    apr_thread_mutex_unlock(c->mutex);
    return NULL;
}

const scep_err *chores_start(chores **out, office *o, apr_pool_t *p)
{
    chores *c = apr_pcalloc(p, sizeof(*c));

    c->office = o;
    c->complaints =
        apr_pcalloc(p, (apr_size_t)(o->authorities->nelts + 1) * sizeof(*c->complaints));
    c->ending = ending_make(p);
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
