/*
 * The one connection and who writes on it: of the callers that wait, the first one leads. It takes
 * all jobs that wait, commits them as one group, names the first of those that came meanwhile as
 * the next to lead, and wakes each caller once. No thread of its own: where nobody else is at the
 * store, a job runs without a hand-off.
 *
 * Jobs that only read go first: they meet what is committed, and their callers are woken before the
 * commit. Where one of them leads, it takes no others, and the one that writes leads next.
 */
#include "store_int.h"
#include "log.h"

#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <errno.h>
#include <semaphore.h>

#define PAUSE apr_time_from_msec(50)

/* Lives on the stack of the caller, who waits until it is done. */
typedef struct job {
    store_job_fn fn;
    void *baton;
    apr_pool_t *pool;
    const scep_err *err;
    bool reads; /* it writes nothing */
    sem_t turn; /* posted once, except for who leads at once: it is done, or its caller leads */
    bool leads; /* set before that; read after it */
    struct job *next;
} job;

/* What one transaction runs. */
typedef struct group {
    job *readers, *writers;
} group;

struct store {
    const char *where;
    apr_interval_time_t patience;

    /* of who leads */
    apr_pool_t *pool; /* parent of every connection's pool and of the group's */
    apr_pool_t *scratch;
    store_conn *conn; /* NULL: lost, to be opened anew */
    char why[256];    /* what it was lost for */

    /* under the mutex */
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *idle; /* nobody leads any more; waited for by who closes */
    job *first, **last;
    bool led; /* somebody leads, or was named to; false: nothing waits either */
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
static bool begin(store *s, bool reads, apr_time_t deadline)
{
    for (;;) {
        if (!s->conn) {
            const scep_err *err = store_conn_open(&s->conn, s->where, s->pool, s->scratch);

            if (err)
                drop_connection(s, err->detail);
        }
        if (s->conn) {
            if (store_conn_exec(s->conn, reads ? s->conn->begin_reading : s->conn->begin,
                                s->scratch))
                return true;
            drop_connection(s, s->conn->why);
        }
        if (apr_time_now() >= deadline)
            return false;
        apr_sleep(PAUSE);
    }
}

static bool run_apart(store *s, job *j)
{
    store_tx tx = { s->conn, j->pool, s->scratch, j->reads };

    if (!store_conn_exec(s->conn, "SAVEPOINT scep_job", s->scratch))
        return false;
    j->err = j->fn(&tx, j->baton);
    if (j->err && !store_conn_exec(s->conn, "ROLLBACK TO SAVEPOINT scep_job", s->scratch))
        return false;
    return store_conn_exec(s->conn, "RELEASE SAVEPOINT scep_job", s->scratch);
}

/* @return how many of the jobs have an error of their own */
static int run_together(store *s, job *first)
{
    int objections = 0;

    for (job *j = first; j && !s->conn->broken; j = j->next) {
        store_tx tx = { s->conn, j->pool, s->scratch, j->reads };

        j->err = j->fn(&tx, j->baton);
        objections += j->err != NULL;
    }
    return objections;
}

/* @return false: nothing of it happened, the handle is gone */
static bool end(store *s, const char *word)
{
    bool done = store_conn_exec(s->conn, word, s->scratch);

    if (!done)
        drop_connection(s, s->conn->why);
    return done;
}

/*
 * Jobs seldom have errors, and a savepoint for each of them costs as much as a short job: so they
 * run without any, and where one has an error, the group is rolled back and run once more with
 * savepoints. @return as end()
 */
static bool run_group(store *s, job *first)
{
    bool objected = run_together(s, first) > 0;
    bool done = true;

    if (!objected || s->conn->broken)
        return end(s, s->conn->commit);
    if (!end(s, "ROLLBACK"))
        return false;
    if (!first->next)
        return true;
    if (!begin(s, false, apr_time_now() + s->patience))
        return false;
    for (job *j = first; done && j; j = j->next)
        done = run_apart(s, j);
    return end(s, s->conn->commit);
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
    job *next;

    for (job *j = first; j; j = next) {
        next = j->next;
        if (!begin(s, false, apr_time_now() + s->patience)) {
            for (; j; j = j->next)
                failed += give_up(s, j);
            break;
        }
        j->next = NULL; /* a group of one */
        if (!run_group(s, j))
            failed += give_up(s, j);
        j->next = next;
    }
    return failed;
}

static void give_turn(job *j)
{
    /* fails only where more turns are given than an int counts, and each job gets one */
    (void)sem_post(&j->turn);
}

static void await_turn(job *j)
{
    while (sem_wait(&j->turn) != 0 && errno == EINTR)
        continue;
}

/* All but the leader's own. */
static void wake(job *first, const job *own)
{
    job *next;

    for (job *j = first; j; j = next) {
        next = j->next; /* a job is gone as soon as its caller may look at it */
        if (j != own)
            give_turn(j);
    }
}

/* Those that only read: what they met is there, whatever becomes of the others.
 * @return false: the handle is gone, and they are to run once more */
static bool run_readers(store *s, group *g, const job *own)
{
    (void)run_together(s, g->readers);
    if (s->conn->broken) {
        drop_connection(s, s->conn->why);
        return false;
    }
    wake(g->readers, own);
    g->readers = NULL;
    return g->writers || end(s, "COMMIT");
}

static int give_all_up(store *s, job *first)
{
    int failed = 0;

    for (job *j = first; j; j = j->next)
        failed += give_up(s, j);
    return failed;
}

/* Wakes the callers of those of @a g that are left. */
static void run_all(store *s, group *g, const job *own)
{
    int failed = 0;

    if (!begin(s, !g->writers, apr_time_now() + s->patience)) {
        failed = give_all_up(s, g->readers) + give_all_up(s, g->writers);
    } else if (!run_readers(s, g, own) || (g->writers && !run_group(s, g->writers))) {
        log_line(LOG_LEVEL_WARN,
                 "SCEP0280: the database failed (%s): it is opened anew and the calls are "
                 "run once more",
                 s->why);
        failed = run_singly(s, g->readers) + run_singly(s, g->writers);
    }
    if (failed)
        log_line(LOG_LEVEL_ERROR,
                 "SCEP0281: the database failed (%s): calls answered with \"try again later\": %d",
                 s->why, failed);
    apr_pool_clear(s->scratch);
}

/* All that waits, or all that only reads where the leader's own does. */
static group take_group(store *s, const job *own)
{
    group g = { NULL, NULL };
    job **readers = &g.readers, **writers = &g.writers;

    apr_thread_mutex_lock(s->mutex);
    for (job *j = s->first; j; j = j->next) {
        job ***list = j->reads ? &readers : &writers;

        **list = j;
        *list = &j->next;
    }
    *readers = *writers = NULL;
    s->first = NULL;
    s->last = &s->first;
    if (own->reads && g.writers) {
        s->first = g.writers;
        s->last = writers;
        g.writers = NULL;
    }
    apr_thread_mutex_unlock(s->mutex);
    return g;
}

/* Whoever came meanwhile and waits for longest leads next. */
static void name_next(store *s)
{
    job *next;

    apr_thread_mutex_lock(s->mutex);
    next = s->first;
    if (next)
        next->leads = true;
    s->led = next != NULL;
    if (!next)
        apr_thread_cond_broadcast(s->idle);
    apr_thread_mutex_unlock(s->mutex);
    if (next)
        give_turn(next);
}

static void lead(store *s, const job *own)
{
    group g = take_group(s, own);

    run_all(s, &g, own);
    name_next(s);
    wake(g.readers, own);
    wake(g.writers, own);
}

/* @param first nobody leads, so the caller does at once; otherwise its turn comes
 * @return false: the store is closed */
static bool enqueue(store *s, job *j, bool *first)
{
    bool open;

    apr_thread_mutex_lock(s->mutex);
    open = !s->closing;
    if (open) {
        *s->last = j;
        s->last = &j->next;
        *first = !s->led;
        s->led = true;
    }
    apr_thread_mutex_unlock(s->mutex);
    return open;
}

static const scep_err *run(store *s, bool reads, store_job_fn fn, void *baton, apr_pool_t *p)
{
    job j = { .fn = fn, .baton = baton, .pool = p, .reads = reads };
    bool first = false;

    if (sem_init(&j.turn, 0, 0) != 0)
        return scep_fail(p, UNAVAILABLE, "no semaphore");
    if (!enqueue(s, &j, &first)) {
        (void)sem_destroy(&j.turn);
        return scep_fail(p, UNAVAILABLE, "the store is closed");
    }
    /* who leads may write j.leads until the turn is given */
    if (!first)
        await_turn(&j);
    if (first || j.leads)
        lead(s, &j);
    (void)sem_destroy(&j.turn);
    return j.err;
}

const scep_err *store_run(store *s, store_job_fn fn, void *baton, apr_pool_t *p)
{
    return run(s, false, fn, baton, p);
}

const scep_err *store_read(store *s, store_job_fn fn, void *baton, apr_pool_t *p)
{
    return run(s, true, fn, baton, p);
}

void store_close(store *s)
{
    bool first;

    apr_thread_mutex_lock(s->mutex);
    first = !s->closing;
    s->closing = true;
    while (s->led)
        apr_thread_cond_wait(s->idle, s->mutex);
    apr_thread_mutex_unlock(s->mutex);
    if (!first)
        return;
    store_conn_close(s->conn);
    s->conn = NULL;
    apr_pool_destroy(s->pool);
}

static apr_status_t close_cleanup(void *data)
{
    store_close(data);
    return APR_SUCCESS;
}

static const scep_err *make_locks(store *s, apr_pool_t *p)
{
    if (apr_thread_mutex_create(&s->mutex, APR_THREAD_MUTEX_DEFAULT, p) ||
        apr_thread_cond_create(&s->idle, p))
        return scep_fail(p, CONFIG, "the store's locks cannot be made");
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
    /* A root of its own: who leads allocates from it while others use @a p. */
    if (apr_dbd_init(p) || apr_pool_create(&s->pool, NULL))
        return scep_fail(p, CONFIG, "apr_dbd cannot be initialised");
    if (apr_pool_create(&s->scratch, s->pool))
        err = scep_fail(p, CONFIG, "out of memory");
    else
        err = store_conn_open(&s->conn, s->where, s->pool, p);
    if (!err)
        err = make_locks(s, p);
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

int store_waiting(store *s)
{
    int n = 0;

    apr_thread_mutex_lock(s->mutex);
    for (const job *j = s->first; j; j = j->next)
        n++;
    apr_thread_mutex_unlock(s->mutex);
    return n;
}
