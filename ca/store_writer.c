/*
 * The writer: one thread that owns the only connection, takes all jobs that wait and commits them
 * as one group.
 */
#include "store_int.h"
#include "log.h"

#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <signal.h>

#define PAUSE apr_time_from_msec(50)

/* Lives on the stack of the caller, who waits until it is done. */
typedef struct job {
    store_job_fn fn;
    void *baton;
    apr_pool_t *pool;
    const scep_err *err;
    bool done;
    struct job *next;
} job;

struct store {
    const char *where;
    apr_interval_time_t patience;

    /* the writer's alone */
    apr_pool_t *pool; /* parent of every connection's pool and of the group's */
    apr_pool_t *scratch;
    store_conn *conn; /* NULL: lost, to be opened anew */
    char why[256];    /* what it was lost for */

    /* under the mutex */
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *work;    /* a job came, or closing */
    apr_thread_cond_t *settled; /* a group is done */
    job *first, **last;
    apr_thread_t *thread; /* NULL: not running */
    bool closing;
};

static void drop_connection(store *s, const char *why)
{
    apr_cpystrn(s->why, why, sizeof(s->why));
    store_conn_close(s->conn);
    s->conn = NULL;
}

/* A busy database and a lost connection look alike through the driver: both get a fresh handle,
 * until the deadline. */
static bool begin(store *s, apr_time_t deadline)
{
    for (;;) {
        if (!s->conn) {
            const scep_err *err = store_conn_open(&s->conn, s->where, s->pool, s->scratch);

            if (err)
                drop_connection(s, err->detail);
        }
        if (s->conn) {
            if (store_conn_exec(s->conn, s->conn->begin, s->scratch))
                return true;
            drop_connection(s, s->conn->why);
        }
        if (apr_time_now() >= deadline)
            return false;
        apr_sleep(PAUSE);
    }
}

/*
 * The last word before COMMIT is always a RELEASE: it fails where the transaction is gone, which
 * COMMIT does not (PostgreSQL answers it with success and rolls back).
 */
static bool run_job(store *s, job *j)
{
    store_tx tx = { s->conn, j->pool, s->scratch };

    if (!store_conn_exec(s->conn, "SAVEPOINT scep_job", s->scratch))
        return false;
    j->err = j->fn(&tx, j->baton);
    if (j->err && !store_conn_exec(s->conn, "ROLLBACK TO SAVEPOINT scep_job", s->scratch))
        return false;
    return store_conn_exec(s->conn, "RELEASE SAVEPOINT scep_job", s->scratch);
}

/* @param most how many of the list. @return false: nothing of it happened, the handle is gone */
static bool run_group(store *s, job *first, int most)
{
    bool done = true;

    for (job *j = first; done && j && most; j = j->next, most--)
        done = run_job(s, j);
    done = done && store_conn_exec(s->conn, "COMMIT", s->scratch);
    if (!done)
        drop_connection(s, s->conn->why);
    return done;
}

static int give_up(store *s, job *j)
{
    j->err = scep_fail(j->pool, UNAVAILABLE, "the database failed: %s", s->why);
    return 1;
}

/* Once more, each on its own, so that a job which the database cannot digest fails alone. */
static int run_singly(store *s, job *first)
{
    int failed = 0;

    for (job *j = first; j; j = j->next) {
        if (!begin(s, apr_time_now() + s->patience)) {
            for (; j; j = j->next)
                failed += give_up(s, j);
            break;
        }
        if (!run_group(s, j, 1))
            failed += give_up(s, j);
    }
    return failed;
}

static void run_all(store *s, job *first)
{
    int failed = 0;

    if (begin(s, apr_time_now() + s->patience)) {
        if (!run_group(s, first, -1)) {
            log_line(LOG_LEVEL_WARN,
                     "SCEP0280: the database failed (%s): it is opened anew and the calls are "
                     "run once more",
                     s->why);
            failed = run_singly(s, first);
        }
    } else {
        for (job *j = first; j; j = j->next)
            failed += give_up(s, j);
    }
    if (failed)
        log_line(LOG_LEVEL_ERROR,
                 "SCEP0281: the database failed (%s): calls answered with \"try again later\": %d",
                 s->why, failed);
    apr_pool_clear(s->scratch);
}

/* Signals belong to the thread that waits for them. */
static void block_signals(void)
{
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void *APR_THREAD_FUNC write_jobs(apr_thread_t *thread, void *data)
{
    store *s = data;

    block_signals();
    apr_thread_mutex_lock(s->mutex);
    for (;;) {
        job *first = s->first;

        if (first) {
            s->first = NULL;
            s->last = &s->first;
            apr_thread_mutex_unlock(s->mutex);
            run_all(s, first);
            apr_thread_mutex_lock(s->mutex);
            /* Under the mutex, as a job is gone as soon as its caller may look at it. */
            for (job *j = first; j; j = j->next)
                j->done = true;
            apr_thread_cond_broadcast(s->settled);
        } else if (s->closing) {
            break;
        } else {
            apr_thread_cond_wait(s->work, s->mutex);
        }
    }
    apr_thread_mutex_unlock(s->mutex);
    return NULL;
}

const scep_err *store_run(store *s, store_job_fn fn, void *baton, apr_pool_t *p)
{
    job j = { .fn = fn, .baton = baton, .pool = p };

    apr_thread_mutex_lock(s->mutex);
    if (s->closing) {
        apr_thread_mutex_unlock(s->mutex);
        return scep_fail(p, UNAVAILABLE, "the store is closed");
    }
    *s->last = &j;
    s->last = &j.next;
    apr_thread_cond_signal(s->work);
    while (!j.done)
        apr_thread_cond_wait(s->settled, s->mutex);
    apr_thread_mutex_unlock(s->mutex);
    return j.err;
}

void store_close(store *s)
{
    apr_thread_t *thread;
    apr_status_t status;

    apr_thread_mutex_lock(s->mutex);
    thread = s->thread;
    s->thread = NULL;
    s->closing = true;
    apr_thread_cond_signal(s->work);
    apr_thread_mutex_unlock(s->mutex);
    if (!thread)
        return;
    (void)apr_thread_join(&status, thread);
    store_conn_close(s->conn);
    s->conn = NULL;
    apr_pool_destroy(s->pool);
}

static apr_status_t close_cleanup(void *data)
{
    store_close(data);
    return APR_SUCCESS;
}

static const scep_err *start(store *s, apr_pool_t *p)
{
    if (apr_thread_mutex_create(&s->mutex, APR_THREAD_MUTEX_DEFAULT, p) ||
        apr_thread_cond_create(&s->work, p) || apr_thread_cond_create(&s->settled, p))
        return scep_fail(p, CONFIG, "the store's locks cannot be made");
    if (apr_thread_create(&s->thread, NULL, write_jobs, s, p))
        return scep_fail(p, CONFIG, "the store's thread cannot be started");
    /* before subpools go: the callers' results may be in them */
    apr_pool_pre_cleanup_register(p, s, close_cleanup);
    return NULL;
}

const scep_err *store_open(store **out, const char *where, apr_pool_t *p)
{
    store *s = apr_pcalloc(p, sizeof(*s));
    const scep_err *err;

    s->where = apr_pstrdup(p, where);
    s->patience = STORE_PATIENCE;
    s->last = &s->first;
    /* A root of its own: the writer allocates from it while others use @a p. */
    if (apr_dbd_init(p) || apr_pool_create(&s->pool, NULL))
        return scep_fail(p, CONFIG, "apr_dbd cannot be initialised");
    if (apr_pool_create(&s->scratch, s->pool))
        err = scep_fail(p, CONFIG, "out of memory");
    else
        err = store_conn_open(&s->conn, s->where, s->pool, p);
    if (!err)
        err = start(s, p);
    if (err) {
        store_conn_close(s->conn);
        apr_pool_destroy(s->pool);
        return err;
    }
    *out = s;
    return NULL;
}

void store_patience_set(store *s, apr_interval_time_t patience)
{
    s->patience = patience;
}
