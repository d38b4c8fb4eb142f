/* The clerks come and go. */
#include "clerks_int.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

static bool make_cond(pthread_cond_t *cond)
{
    pthread_condattr_t how;
    bool made;

    if (pthread_condattr_init(&how) != 0)
        return false;
    made =
        pthread_condattr_setclock(&how, CLOCK_MONOTONIC) == 0 && pthread_cond_init(cond, &how) == 0;
    (void)pthread_condattr_destroy(&how);
    return made;
}

const scep_err *clerks_make(clerks **out, store *s, clerks_tell_fn tell, clerks_judge_fn judge,
                            void *baton, apr_pool_t *p)
{
    clerks *c = apr_pcalloc(p, sizeof(*c));

    c->store = s;
    c->tell = tell;
    c->judge = judge;
    c->baton = baton;
    if (pthread_mutex_init(&c->lock, NULL) != 0 || !make_cond(&c->tick) || !make_cond(&c->ended))
        return scep_fail(p, INTERNAL, "the locks of the clerks cannot be made");
    *out = c;
    return NULL;
}

const scep_err *clerks_add(clerks *c, const conf_authority *a, connector *remote, apr_pool_t *p)
{
    window *w = apr_pcalloc(p, sizeof(*w));

    w->all = c;
    w->conf = a;
    w->connector = remote;
    w->clerks = apr_pcalloc(p, (apr_size_t)a->concurrency * sizeof(*w->clerks));
    if (!make_cond(&w->work) || !make_cond(&w->done))
        return scep_fail(p, INTERNAL, "the locks of the clerks cannot be made");
    for (int i = 0; i < a->concurrency; i++)
        w->clerks[i].window = w;
    w->next = c->windows;
    c->windows = w;
    return NULL;
}

static bool start_all(clerks *c)
{
    for (window *w = c->windows; w; w = w->next)
        for (int i = 0; i < w->conf->concurrency; i++) {
            clerk *k = &w->clerks[i];

            k->started = pthread_create(&k->thread, NULL, clerks_serve, k) == 0;
            if (!k->started)
                return false;
            c->alive++;
        }
    c->dispatches = pthread_create(&c->dispatcher, NULL, clerks_dispatch, c) == 0;
    c->alive += c->dispatches;
    return c->dispatches;
}

const scep_err *clerks_start(clerks *c, apr_pool_t *p)
{
    sigset_t all, before;
    bool started;

    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_BLOCK, &all, &before) != 0)
        return scep_fail(p, INTERNAL, "cannot block signals");
    pthread_mutex_lock(&c->lock);
    started = start_all(c);
    pthread_mutex_unlock(&c->lock);
    if (pthread_sigmask(SIG_SETMASK, &before, NULL) != 0)
        return scep_fail(p, INTERNAL, "cannot set the signal mask");
    if (started)
        return NULL;
    (void)clerks_stop(c, apr_time_from_sec(60)); /* they have nothing to do yet */
    return scep_fail(p, INTERNAL, "the threads that ask the CAs cannot be started");
}

static void join_all(clerks *c)
{
    for (window *w = c->windows; w; w = w->next)
        for (int i = 0; i < w->conf->concurrency; i++)
            if (w->clerks[i].started)
                (void)pthread_join(w->clerks[i].thread, NULL);
    if (c->dispatches)
        (void)pthread_join(c->dispatcher, NULL);
}

void clerks_leave(clerks *c)
{
    pthread_mutex_lock(&c->lock);
    c->leaving = true;
    pthread_mutex_unlock(&c->lock);
}

bool clerks_stop(clerks *c, apr_interval_time_t within)
{
    moment until = deadline_in(within);
    bool ended;

    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->tick);
    for (window *w = c->windows; w; w = w->next) {
        clerks_forget(w);
        pthread_cond_broadcast(&w->work);
    }
    while (c->alive && deadline_left(until) > 0)
        clerks_wait(&c->ended, &c->lock, until);
    ended = c->alive == 0;
    pthread_mutex_unlock(&c->lock);
    if (ended)
        join_all(c);
    return ended;
}
