/* The threads that ask CAs elsewhere, and who waits for them. */
#include "clerks_int.h"

#include "log.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of one authority: what is beyond stays in the store until there is room. */
#define QUEUE_MOST 256
/* A CA is slow when an ask takes longer than this. So few wait for a slow one that most hands of
 * its authority stay free (hands.h). */
#define MOMENT apr_time_from_sec(2)
#define PATIENT 4
/* The answer still has to be written. */
#define RESERVE apr_time_from_sec(1)
#define TICK apr_time_from_sec(1)

/* ---- the queue; all with the lock held ---- */

static window *find(const clerks *c, const char *authority)
{
    window *w = c->windows;

    while (w && strcmp(w->conf->name, authority) != 0)
        w = w->next;
    return w;
}

static job *put(window *w, const char *id)
{
    job *j = calloc(1, sizeof(*j));

    if (!j)
        abort(); /* as pools do */
    apr_cpystrn(j->id, id, sizeof(j->id));
    if (w->first)
        w->last->next = j;
    else
        w->first = j;
    w->last = j;
    w->queued++;
    pthread_cond_signal(&w->work);
    return j;
}

static job *pop(window *w)
{
    job *j = w->first;

    w->first = j->next;
    w->queued--;
    return j;
}

static bool is_known(const window *w, const char *id)
{
    for (const job *j = w->first; j; j = j->next)
        if (!strcmp(j->id, id))
            return true;
    for (int i = 0; i < w->conf->concurrency; i++)
        if (!strcmp(w->clerks[i].id, id))
            return true;
    return false;
}

/* Whoever waits frees it, otherwise it is of no use any more. */
static void let_go(window *w, job *j)
{
    j->done = true;
    if (j->waited)
        pthread_cond_broadcast(&w->done);
    else
        free(j);
}

/* They stand in the store, and are found when they are due. */
void clerks_forget(window *w)
{
    while (w->first)
        let_go(w, pop(w));
}

static bool is_slow(const window *w)
{
    const moment now = deadline_in(0);

    for (int i = 0; i < w->conf->concurrency; i++)
        if (*w->clerks[i].id && now.at - w->clerks[i].since.at > MOMENT)
            return true;
    return false;
}

void clerks_wait(pthread_cond_t *cond, pthread_mutex_t *lock, moment until)
{
    const struct timespec at = { .tv_sec = (time_t)(until.at / APR_USEC_PER_SEC),
                                 .tv_nsec = (long)(until.at % APR_USEC_PER_SEC) * 1000 };

    (void)pthread_cond_timedwait(cond, lock, &at); /* whoever wakes looks at what changed */
}

/* ---- a clerk ---- */

/* With the lock held. @return NULL: to be stopped */
static job *take(window *w)
{
    while (!w->all->stopping) {
        if (w->first && breaker_take(&w->breaker, deadline_in(0)))
            return pop(w);
        if (!w->first && w->more)
            pthread_cond_signal(&w->all->tick);
        pthread_cond_wait(&w->work, &w->all->lock);
    }
    return NULL;
}

/* With the lock held. */
static void judge(window *w, const clerks_asked *asked)
{
    bool changed = false;

    if (!asked->tried)
        breaker_untried(&w->breaker);
    else if (asked->fault)
        changed = breaker_failed(&w->breaker, deadline_in(0));
    else
        changed = breaker_succeeded(&w->breaker);
    if (changed && asked->fault) {
        clerks_forget(w);
        log_line(LOG_LEVEL_ERROR,
                 "SCEP0251: [authority %s] is left alone for %ld seconds, as asking its CA failed "
                 "%d times in a row: %s",
                 w->conf->name, (long)apr_time_sec(w->breaker.pause), w->breaker.failures,
                 asked->fault->detail);
    } else if (changed) {
        log_line(LOG_LEVEL_INFO, "SCEP0252: [authority %s]: its CA answers again", w->conf->name);
    }
    pthread_cond_broadcast(&w->work); /* what the breaker kept back */
}

/* Without the lock. A clerk is busy until it has told, too: a policy module may take its time. */
static void serve(clerk *k, job *j, bool waited)
{
    window *w = k->window;
    clerks_asked asked = { .tried = false };
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS)
        abort(); /* as pools do */
    /* what was left of another ask is no reason of this one's */
    ERR_clear_error();
    clerks_work(&asked, w, j->id, waited, p);
    pthread_mutex_lock(&w->all->lock);
    judge(w, &asked);
    waited = j->waited; /* he may have left */
    let_go(w, j);
    if (!waited && asked.news.verdict) {
        pthread_mutex_unlock(&w->all->lock);
        w->all->tell(w->all->baton, &asked.news, p);
        pthread_mutex_lock(&w->all->lock);
    }
    *k->id = '\0';
    w->running--;
    pthread_mutex_unlock(&w->all->lock);
    apr_pool_destroy(p);
}

static void gone(clerks *c)
{
    c->alive--;
    pthread_cond_signal(&c->ended);
}

void *clerks_serve(void *data)
{
    clerk *k = data;
    window *w = k->window;
    clerks *c = w->all;
    bool waited;
    job *j;

    pthread_mutex_lock(&c->lock);
    while ((j = take(w)) != NULL) {
        waited = j->waited;
        apr_cpystrn(k->id, j->id, sizeof(k->id));
        k->since = deadline_in(0);
        w->running++;
        pthread_mutex_unlock(&c->lock);
        serve(k, j, waited);
        pthread_mutex_lock(&c->lock);
    }
    gone(c);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- the dispatcher: what is due in the store ---- */

/* With the lock held. @return how many clerks have nothing to do */
static int idle(const window *w)
{
    int n = w->conf->concurrency - w->running - w->queued;
    breaker_state is = breaker_is(&w->breaker, deadline_in(0));

    if (n <= 0 || !breaker_lets(&w->breaker, deadline_in(0)))
        return 0;
    return is == BREAKER_CLOSED ? n : 1;
}

/* With the lock held, but not while it reads. */
static void dispatch(window *w, apr_pool_t *p)
{
    clerks *c = w->all;
    int most = idle(w);
    apr_array_header_t *ids = NULL;
    const scep_err *err;

    if (!most || c->leaving)
        return;
    pthread_mutex_unlock(&c->lock);
    /* those that are being worked on may be due as well, where an ask takes too long */
    err = submission_due(&ids, c->store, w->conf->name, w->conf->concurrency + most, p);
    if (err && !w->deaf)
        log_err(LOG_LEVEL_WARN, "SCEP0258", "what is to be asked of a CA cannot be looked up", err);
    w->deaf = err != NULL;
    pthread_mutex_lock(&c->lock);
    w->more = ids && ids->nelts > most;
    for (int i = 0; ids && i < ids->nelts && most > 0 && !c->leaving; i++) {
        const char *id = APR_ARRAY_IDX(ids, i, const char *);

        if (is_known(w, id))
            continue;
        (void)put(w, id); /* nobody waits for it */
        most--;
    }
}

void *clerks_dispatch(void *data)
{
    clerks *c = data;
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS)
        abort(); /* as pools do */
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        for (window *w = c->windows; w && !c->stopping; w = w->next)
            dispatch(w, p);
        apr_pool_clear(p);
        if (!c->stopping)
            clerks_wait(&c->tick, &c->lock, deadline_in(TICK));
    }
    gone(c);
    pthread_mutex_unlock(&c->lock);
    apr_pool_destroy(p);
    return NULL;
}

/* ---- those who wait ---- */

const scep_err *clerks_ready(clerks *c, const char *authority, apr_pool_t *p)
{
    window *w;
    bool lets;

    pthread_mutex_lock(&c->lock);
    w = find(c, authority);
    lets = w && !c->stopping && breaker_lets(&w->breaker, deadline_in(0));
    pthread_mutex_unlock(&c->lock);
    return lets ? NULL
                : scep_fail(p, UNAVAILABLE,
                            "the CA of [authority %s] did not answer lately and is left alone for "
                            "a while",
                            authority);
}

/* Who waits, and leaves. */
typedef struct visitor {
    bool patient;
    moment until;
    clerks_leave_fn leaves;
    void *baton;
} visitor;

/* With the lock held, but not while he says so. */
static void leave(const window *w, const visitor *v)
{
    if (!v->leaves)
        return;
    pthread_mutex_unlock(&w->all->lock);
    v->leaves(v->baton);
    pthread_mutex_lock(&w->all->lock);
}

/* With the lock held. @return whether it was worked on */
static bool await(window *w, job *j, const visitor *v, moment until)
{
    bool done;

    while (!j->done && deadline_left(until) > 0)
        clerks_wait(&w->done, &w->all->lock, until);
    if (!j->done)
        leave(w, v);
    done = j->done;
    j->waited = false;
    if (done)
        free(j);
    return done;
}

/* With the lock held. */
static bool takes(const window *w)
{
    return !w->all->stopping && w->queued < QUEUE_MOST && breaker_lets(&w->breaker, deadline_in(0));
}

/* With the lock held. */
static bool ask(window *w, const char *id, const visitor *v)
{
    bool counts = !v->patient && w->patient < PATIENT, done;
    job *j;

    if (!takes(w) || (!v->patient && is_slow(w))) {
        leave(w, v);
        if (takes(w) && !is_known(w, id))
            (void)put(w, id);
        return false;
    }
    j = put(w, id);
    j->waited = true;
    if (counts)
        w->patient++;
    done = await(w, j, v,
                 v->patient || counts ? v->until : deadline_earlier(v->until, deadline_in(MOMENT)));
    if (counts)
        w->patient--;
    return done;
}

bool clerks_ask(clerks *c, const char *authority, const char *id, apr_time_t deadline, bool patient,
                clerks_leave_fn leaves, void *baton)
{
    const visitor v = { .patient = patient,
                        .until = deadline_in(deadline - apr_time_now() - RESERVE),
                        .leaves = leaves,
                        .baton = baton };
    window *w;
    bool done;

    pthread_mutex_lock(&c->lock);
    w = find(c, authority);
    done = w && ask(w, id, &v);
    pthread_mutex_unlock(&c->lock);
    return done;
}

bool clerks_look(clerks *c, const char *authority, clerks_state *out)
{
    const window *w;

    pthread_mutex_lock(&c->lock);
    w = find(c, authority);
    if (w)
        *out = (clerks_state){ .open = breaker_is(&w->breaker, deadline_in(0)) != BREAKER_CLOSED,
                               .running = w->running,
                               .queued = w->queued };
    pthread_mutex_unlock(&c->lock);
    return w != NULL;
}
