/* httpd's parent and the scep-ca it started: one at a time serves, older ones finish. */
#include "mod_scep_places.h"
#include "mod_scep_spawn.h"
#include "mod_scep_state.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GENERATION_KEY "mod_scep: generation"

#define READY_TIME apr_time_from_sec(60)
#define FRAME_TIME (APR_USEC_PER_SEC / 2) /* for a frame that has begun */
#define AGAIN_AFTER apr_time_from_sec(10)

/* In pconf: what this reading of the configuration wants. */
typedef struct generation {
    scep_state *state;
    scep_plan plan;
    server_rec *server;
    apr_pool_t *pconf;
    apr_pool_t *ready_pool; /* of `ready`; NULL: it is empty */
    scep_wire_ready ready;
    scep_inheritance inheritance;
} generation;

/* In a pool of its own under pconf: one process whose end httpd's main loop reports. */
typedef struct watched {
    generation *generation;
    apr_pool_t *pool;
    apr_proc_t proc;
} watched;

static generation *find_generation(server_rec *s)
{
    void *found = NULL;

    (void)apr_pool_userdata_get(&found, GENERATION_KEY, s->process->pconf);
    return found;
}

/* ---- what scep-ca says ---- */

/* @param news whether it names endpoints; otherwise what is known stays */
static const scep_err *decode_ready(bool *news, generation *g, scep_bytes body, apr_pool_t *p)
{
    scep_wire_ready ready;
    apr_pool_t *pool;
    const scep_err *err;

    if (apr_pool_create(&pool, g->pconf) != APR_SUCCESS)
        return scep_fail(p, INTERNAL, "no memory");
    err = scep_wire_get_ready(&ready, scep_bytes_dup(pool, body), pool);
    if (err) {
        err = scep_fail(p, INTERNAL, "%s", err->detail);
        apr_pool_destroy(pool);
        return err;
    }
    *news = ready.endpoints->nelts > 0;
    if (!*news) {
        apr_pool_destroy(pool);
        return NULL;
    }
    if (g->ready_pool)
        apr_pool_destroy(g->ready_pool);
    g->ready_pool = pool;
    g->ready = ready;
    return NULL;
}

static const scep_err *read_ready(generation *g, int control, apr_time_t deadline, apr_pool_t *p)
{
    scep_wire_failed failed;
    const scep_err *err;
    scep_bytes body;
    bool news;
    int verb;

    err = scep_wire_read(control, &verb, &body, deadline, p);
    if (err && err->code == SCEP_UNAVAILABLE)
        return scep_fail(p, CONFIG, "scep-ca did not get ready: %s", err->detail);
    SCEP_TRY(err);
    if (verb == SCEP_VERB_FAILED) {
        SCEP_TRY(scep_wire_get_failed(&failed, body, p));
        return scep_fail(p, CONFIG, "%s", failed.detail);
    }
    if (verb != SCEP_VERB_READY)
        return scep_fail(p, INTERNAL, "scep-ca said verb %d instead of being ready", verb);
    SCEP_TRY(decode_ready(&news, g, body, p));
    if (news)
        scep_state_keep_ready(g->state, body, g->server);
    return NULL;
}

/* ---- processes ---- */

static void ended(int reason, void *data, int status);

/* In pconf: in the process's pool the record would call into an unloaded module. */
static void watch(generation *g, pid_t pid)
{
    apr_pool_t *pool;
    watched *w;

    /* does not return where there is no memory: httpd's pools end the process then */
    apr_pool_create(&pool, g->pconf);
    w = apr_pcalloc(pool, sizeof(*w));
    w->generation = g;
    w->pool = pool;
    w->proc.pid = pid;
    apr_proc_other_child_register(&w->proc, ended, w, NULL, pool);
}

/* @param respawn as in scep_wire_configure */
static const scep_err *launch(scep_living *out, generation *g, uint32_t respawn, apr_pool_t *p)
{
    scep_state *st = g->state;
    const scep_spawn how = { .plan = &g->plan,
                             .enrol_secret = scep_state_enrol_secret(st),
                             .mint_secret = scep_state_mint_secret(st),
                             .listener = st->listener,
                             .respawn = respawn };

    if (st->living_count == SCEP_LIVING_MOST)
        return scep_fail(p, UNAVAILABLE, "%d scep-ca processes still finish their calls",
                         SCEP_LIVING_MOST);
    *out = (scep_living){ .control = -1 };
    SCEP_TRY(scep_spawn_run(&out->pid, &out->control, &how, p));
    /* from the end of its pause */
    st->started = apr_time_now() + apr_time_from_sec(respawn ? respawn - 1 : 0);
    return NULL;
}

static void make_current(generation *g, const scep_living *new)
{
    scep_state *st = g->state;

    st->living[st->living_count++] = *new;
    st->current = new->pid;
    st->start_at = 0;
    watch(g, new->pid);
}

/* Start one without waiting for it: httpd's main loop must go on. */
static void start_again(generation *g, uint32_t pause)
{
    scep_state *st = g->state;
    const scep_err *err;
    scep_living new;
    apr_pool_t *p;

    st->current = 0;
    apr_pool_create(&p, g->pconf);
    err = launch(&new, g, pause + 1, p);
    if (err) {
        st->start_at = apr_time_now() + AGAIN_AFTER;
        ap_log_error(
            APLOG_MARK, APLOG_CRIT, 0, g->server,
            "SCEP0103: NDES-2 scep-ca cannot be started again, the next try is in %d seconds: %s",
            (int)apr_time_sec(AGAIN_AFTER), err->detail);
    } else {
        make_current(g, &new);
    }
    apr_pool_destroy(p);
}

static bool stopping(void)
{
    int mpm = AP_MPMQ_RUNNING;

    return ap_mpm_query(AP_MPMQ_MPM_STATE, &mpm) == APR_SUCCESS && mpm == AP_MPMQ_STOPPING;
}

/* apr's callback, in httpd's main loop: whatever else it is called for needs nothing done. */
static void ended(int reason, void *data, int status)
{
    watched *w = data;
    generation *g = w->generation;
    pid_t pid = w->proc.pid;
    char when[32] = "at once";
    uint32_t pause;
    bool was_ready;
    int i;

    if (reason != APR_OC_REASON_DEATH && reason != APR_OC_REASON_LOST)
        return;
    apr_proc_other_child_unregister(w);
    apr_pool_destroy(w->pool);
    i = scep_state_living(g->state, pid);
    was_ready = i >= 0 && g->state->living[i].ready;
    scep_state_forget(g->state, pid);
    if (pid != g->state->current || stopping())
        return;
    pause = scep_state_pause(g->state, was_ready);
    if (pause)
        apr_snprintf(when, sizeof(when), "in %u second%s", pause, pause == 1 ? "" : "s");
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, g->server,
                 "SCEP0102: scep-ca (pid %" APR_PID_T_FMT ") ended with status %d; it is started "
                 "again %s",
                 pid, status, when);
    start_again(g, pause);
}

/* ---- the configuration was read ---- */

/* Not where httpd only restarts: the socket then goes on. Never in a process forked from it. */
static apr_status_t leave(void *data)
{
    scep_state *st = data;

    if (getpid() != st->parent || ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_EXITING)
        return APR_SUCCESS;
    (void)unlink(st->path);
    scep_state_close(st);
    return APR_SUCCESS;
}

static const scep_err *begin_generation(generation **out, scep_state *st, const scep_plan *plan,
                                        server_rec *s, apr_pool_t *pconf)
{
    generation *g = apr_pcalloc(pconf, sizeof(*g));

    g->state = st;
    g->plan = *plan;
    g->server = s;
    g->pconf = pconf;
    g->ready.endpoints = apr_array_make(pconf, 1, sizeof(scep_wire_public));
    SCEP_TRY(scep_state_set_minting(st, plan->admin && plan->wanted, pconf));
    if (apr_pool_userdata_set(g, GENERATION_KEY, NULL, s->process->pconf) != APR_SUCCESS)
        return scep_fail(pconf, CONFIG, "no memory");
    apr_pool_cleanup_register(pconf, st, leave, apr_pool_cleanup_null);
    for (int i = st->living_count - 1; i >= 0; i--) {
        pid_t pid = st->living[i].pid;

        /* one that ended while nobody watched */
        if (waitpid(pid, NULL, WNOHANG) != 0)
            scep_state_forget(st, pid);
        else
            watch(g, pid);
    }
    if (scep_state_living(st, st->current) < 0)
        st->current = 0;
    *out = g;
    return NULL;
}

static const scep_err *start_and_wait(generation *g, apr_pool_t *p)
{
    const scep_err *err;
    scep_living new;

    SCEP_TRY(scep_state_offer(g->state, p));
    SCEP_TRY(launch(&new, g, 0, p));
    err = read_ready(g, new.control, apr_time_now() + READY_TIME, p);
    if (err) {
        close(new.control);
        /* nobody watches it yet, so it is reaped here */
        (void)kill(new.pid, SIGKILL);
        (void)waitpid(new.pid, NULL, 0);
        return err;
    }
    new.ready = true;
    make_current(g, &new);
    g->state->quick_deaths = 0;
    scep_state_drain(g->state, p);
    return NULL;
}

static void go_on_with_old(generation *g, const scep_err *why, apr_pool_t *p)
{
    scep_state *st = g->state;
    bool news;
    const scep_err *err = decode_ready(&news, g, (scep_bytes){ st->ready, st->ready_len }, p);

    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, g->server,
                 "SCEP0100: NDES-2 the new scep-ca cannot start, %s: %s%s%s",
                 st->current ? "the old one goes on with the old settings"
                             : "and there is no old one",
                 why->detail, err ? "; " : "", err ? err->detail : "");
    if (!st->current)
        st->start_at = apr_time_now() + AGAIN_AFTER;
}

const scep_err *scep_ca_start(const scep_plan *plan, server_rec *s, apr_pool_t *pconf)
{
    scep_state *st = scep_state_find(s);
    bool first = !st;
    const scep_err *err = NULL;
    generation *g;
    apr_pool_t *p;

    if (!plan->wanted && first)
        return NULL;
    /* A CGI under httpd's own user could read the secrets from the parent's memory otherwise. */
    if (geteuid() != 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return scep_fail(pconf, CONFIG, "PR_SET_DUMPABLE: %s", strerror(errno));
    if (first) {
        SCEP_TRY(scep_state_make(&st, s, pconf));
        SCEP_TRY(scep_places_make(&st->places, pconf));
    }
    SCEP_TRY(begin_generation(&g, st, plan, s, pconf));
    apr_pool_create(&p, pconf); /* for frames with secrets: workers must not inherit them */
    if (!plan->wanted) {
        st->current = 0;
        st->start_at = 0;
        scep_state_drain(st, p);
    } else {
        err = start_and_wait(g, p);
    }
    if (err && first)
        err = scep_fail(pconf, CONFIG, "%s", err->detail);
    else if (err)
        go_on_with_old(g, err, p);
    apr_pool_destroy(p);
    return first ? err : NULL;
}

/* ---- afterwards ---- */

void scep_ca_monitor(apr_pool_t *unused, server_rec *s)
{
    generation *g = find_generation(s);
    scep_living *now;
    const scep_err *err;
    struct pollfd pfd;
    apr_pool_t *p;
    int i;

    if (!g || !g->plan.wanted || stopping())
        return;
    if (g->state->start_at && apr_time_now() >= g->state->start_at) {
        start_again(g, 0);
        return;
    }
    i = scep_state_living(g->state, g->state->current);
    if (i < 0 || g->state->living[i].ready)
        return;
    now = &g->state->living[i];
    pfd = (struct pollfd){ now->control, POLLIN, 0 };
    if (poll(&pfd, 1, 0) != 1)
        return;
    apr_pool_create(&p, g->pconf);
    err = read_ready(g, now->control, apr_time_now() + FRAME_TIME, p);
    if (!err) {
        now->ready = true;
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "SCEP0104: NDES-1 scep-ca (pid %" APR_PID_T_FMT ") serves again", now->pid);
    } else if (err->code == SCEP_INTERNAL) { /* else it said itself why it ends */
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                     "SCEP0105: scep-ca (pid %" APR_PID_T_FMT ") is not understood and ended: %s",
                     now->pid, err->detail);
        (void)kill(now->pid, SIGTERM);
    }
    apr_pool_destroy(p);
}

/* httpd -X: this process is parent and worker, and ends with the worker's pool. */
static apr_status_t leave_alone(void *data)
{
    scep_state *st = data;

    (void)unlink(st->path);
    scep_state_close(st);
    return APR_SUCCESS;
}

const scep_inheritance *scep_ca_inherit(apr_pool_t *pchild, server_rec *s)
{
    scep_state *st = scep_state_find(s);
    generation *g = find_generation(s);

    if (!st)
        return NULL;
    /* Left open, scep-ca would not see httpd end, and a broken-into worker could accept calls. */
    if (getpid() != st->parent)
        scep_state_close(st);
    else
        apr_pool_cleanup_register(pchild, st, leave_alone, apr_pool_cleanup_null);
    if (!g || !g->plan.wanted)
        return NULL;
    g->inheritance = (scep_inheritance){ .socket = st->path,
                                         .enrol_secret = scep_state_enrol_secret(st),
                                         .mint_secret = scep_state_mint_secret(st),
                                         .timeout = g->plan.timeout,
                                         .ready = &g->ready,
                                         .places = st->places };
    return &g->inheritance;
}
