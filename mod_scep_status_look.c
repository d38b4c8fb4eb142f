/*
 * How scep-ca is. A question costs it a job of its store, and anybody may come to see the page: one
 * thread of a process asks, once a second, and its answer is everybody's. Where scep-ca is away,
 * the same from what this worker knows.
 */
#include "mod_scep_status.h"

#include "mod_scep_places.h"
#include "mod_scep_worker.h"

#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <stdlib.h>
#include <string.h>

/* Within this time of its end a certificate wants somebody's attention. */
#define SOON (30 * 24 * 60 * 60)
/* What was told is told again. */
#define FRESH apr_time_from_sec(1)
/* While a thread asks, the others go on with an answer up to this age, so that a scep-ca that died
 * shows no later; with a failure for as long as trying again takes, lest all threads wait. */
#define ANSWER_MOST apr_time_from_sec(2)
#define FAILURE_MOST apr_time_from_sec(4)
/* For another thread's question, which takes two seconds at most. */
#define WAIT_MOST apr_time_from_sec(3)
/* scep-ca refuses to tell: after this time it is not busy, but stuck. */
#define BUSY_MOST apr_time_from_sec(10)
/* How old the numbers beside "busy" may be. */
#define NUMBERS_MOST apr_time_from_sec(60)

typedef enum outcome {
    SILENT, /* no answer */
    BUSY,   /* scep-ca is there, but has too many questions to answer this one */
    ANSWERED
} outcome;

struct scep_told {
    apr_thread_mutex_t *lock; /* of all below: never held while scep-ca is asked */
    apr_thread_cond_t *news;  /* a question came to its end */
    bool asking;
    unsigned int questions; /* that came to their end */
    outcome how;            /* the last one did, */
    apr_time_t at;          /* when; 0: none did yet */
    char detail[512];       /* why there is no answer; "" */
    bool well;              /* the last that was heard of its store, or nothing was yet */
    apr_time_t refused;     /* since when scep-ca is busy; 0: it is not */
    unsigned char *body;    /* scep_wire_state, of the last answer; NULL: none */
    size_t len;
    apr_time_t answered; /* when it came */
};

/* A copy for one request. */
typedef struct told {
    outcome how;
    bool well;
    const char *detail;
    scep_bytes body;
    apr_time_t answered;
} told;

static apr_status_t free_body(void *data)
{
    scep_told *t = data;

    free(t->body);
    t->body = NULL;
    return APR_SUCCESS;
}

const scep_err *scep_told_make(scep_told **out, apr_pool_t *pchild)
{
    scep_told *t = apr_pcalloc(pchild, sizeof(*t));

    t->well = true;
    if (apr_thread_mutex_create(&t->lock, APR_THREAD_MUTEX_DEFAULT, pchild) != APR_SUCCESS ||
        apr_thread_cond_create(&t->news, pchild) != APR_SUCCESS)
        return scep_fail(pchild, INTERNAL, "no mutex");
    apr_pool_cleanup_register(pchild, t, free_body, apr_pool_cleanup_null);
    *out = t;
    return NULL;
}

/* ---- asking ---- */

/* NULL: no memory. */
static unsigned char *copy_of(scep_bytes body)
{
    unsigned char *copy = malloc(body.len);

    if (copy)
        memcpy(copy, body.data, body.len);
    return copy;
}

/* Under the lock. @param body of malloc(), now @a t's; NULL: there was no answer */
static void settle(scep_told *t, outcome how, unsigned char *body, size_t len, bool store,
                   const char *detail)
{
    apr_time_t now = apr_time_now();

    if (body) {
        free(t->body);
        t->body = body;
        t->len = len;
        t->answered = now;
    }
    if (how != BUSY)
        t->refused = 0;
    else if (!t->refused)
        t->refused = now;
    if (how == BUSY)
        t->well = t->well && now - t->refused < BUSY_MOST;
    else
        t->well = how == ANSWERED && store;
    apr_cpystrn(t->detail, detail, sizeof(t->detail));
    t->how = how;
    t->at = now;
    t->questions++;
    t->asking = false;
}

static void ask(scep_told *t, request_rec *r)
{
    scep_wire_state state = { 0 };
    const scep_err *err = scep_ca_status(&state, r);
    outcome how = !err ? ANSWERED : err->code == SCEP_TOO_OFTEN ? BUSY : SILENT;
    scep_bytes body = { NULL, 0 };
    unsigned char *copy = NULL;

    if (!err) {
        body = scep_wire_put_state(SCEP_VERB_STATE, &state, r->pool);
        body = (scep_bytes){ body.data + SCEP_WIRE_HEADER, body.len - SCEP_WIRE_HEADER };
        copy = copy_of(body);
        if (!copy) {
            how = SILENT;
            err = scep_fail(r->pool, INTERNAL, "no memory");
        }
    }
    apr_thread_mutex_lock(t->lock);
    settle(t, how, copy, body.len, state.store != 0, err ? err->detail : "");
    apr_thread_cond_broadcast(t->news);
    apr_thread_mutex_unlock(t->lock);
}

/* ---- what was told ---- */

/* Under the lock. A clock that was set back makes it old. */
static bool is_younger(const scep_told *t, apr_interval_time_t most)
{
    apr_time_t now = apr_time_now();

    return t->at && t->at <= now && now - t->at < most;
}

/* Under the lock. @return false: nobody asked to the end, and nobody does */
static bool wait_for_news(scep_told *t)
{
    apr_time_t until = apr_time_now() + WAIT_MOST;
    unsigned int questions = t->questions;

    while (t->asking && t->questions == questions) {
        apr_interval_time_t left = until - apr_time_now();

        if (left <= 0 || apr_thread_cond_timedwait(t->news, t->lock, left) != APR_SUCCESS)
            break;
    }
    return t->questions != questions;
}

/* Under the lock. */
static void copy_told(told *out, const scep_told *t, apr_pool_t *p)
{
    *out = (told){
        .how = t->how, .well = t->well, .detail = apr_pstrdup(p, t->detail), .answered = t->answered
    };
    if (t->body && t->how != SILENT)
        out->body = scep_bytes_dup(p, (scep_bytes){ t->body, t->len });
}

/* @return false: it has to be asked, and this thread is the one that does */
static bool take_told(told *out, scep_told *t, apr_pool_t *p)
{
    bool good;

    apr_thread_mutex_lock(t->lock);
    good = is_younger(t, FRESH) ||
           (t->asking &&
            (is_younger(t, t->how == SILENT ? FAILURE_MOST : ANSWER_MOST) || wait_for_news(t)));
    if (good)
        copy_told(out, t, p);
    else if (t->asking) /* for longer than it can take: this thread does not ask as well */
        *out = (told){ .how = SILENT, .detail = "no answer in time" };
    else
        t->asking = true;
    good = good || out->detail;
    apr_thread_mutex_unlock(t->lock);
    return good;
}

static void get_told(told *out, request_rec *r)
{
    scep_worker *w = scep_worker_find(r->server);

    *out = (told){ .how = SILENT };
    if (!w) {
        out->detail = "this worker process has no way to scep-ca";
        return;
    }
    if (take_told(out, w->told, r->pool))
        return;
    ask(w->told, r);
    apr_thread_mutex_lock(w->told->lock);
    copy_told(out, w->told, r->pool);
    apr_thread_mutex_unlock(w->told->lock);
}

/* ---- what is known without scep-ca ---- */

/* Where an end cannot be read it is not known. */
static void end_no_later(uint64_t *ends, const X509 *cert, apr_pool_t *p)
{
    const scep_err *err = scep_cert_ends(ends, cert, p);

    (void)err;
}

static void add_known_authority(scep_wire_state *state, const scep_identity *from, apr_pool_t *p)
{
    const scep_ra *ra = &from->ra;
    scep_wire_authority_state *a;

    for (int i = 0; i < state->authorities->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(state->authorities, i, scep_wire_authority_state).name,
                    from->authority))
            return;
    a = apr_array_push(state->authorities);
    *a = (scep_wire_authority_state){ .name = apr_pstrdup(p, from->authority) };
    a->subject = scep_name_line(X509_get_subject_name(sk_X509_value(from->chain, 0)), p);
    for (int i = 0; i < sk_X509_num(from->chain); i++)
        end_no_later(&a->ca_ends, sk_X509_value(from->chain, i), p);
    end_no_later(&a->ra_ends, ra->sign.cert, p);
    end_no_later(&a->ra_ends, ra->decrypt.cert, p);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const scep_wire_endpoint_state *)a)->name,
                  ((const scep_wire_endpoint_state *)b)->name);
}

/* Asks nobody: what is known is from before scep-ca went away. */
static void tell_known(scep_wire_state *state, request_rec *r)
{
    const scep_worker *w = scep_worker_find(r->server);
    apr_hash_index_t *i = w ? apr_hash_first(r->pool, w->entries) : NULL;

    *state = (scep_wire_state){ .version = "", .detail = "" };
    state->authorities = apr_array_make(r->pool, 1, sizeof(scep_wire_authority_state));
    state->endpoints = apr_array_make(r->pool, 1, sizeof(scep_wire_endpoint_state));
    for (; i; i = apr_hash_next(i)) {
        const scep_known *known = scep_known_at_hand(r, apr_hash_this_key(i));
        scep_wire_endpoint_state *e = apr_array_push(state->endpoints);

        *e = (scep_wire_endpoint_state){ .name = known->endpoint,
                                         .authority = known->identities[0].authority };
        add_known_authority(state, &known->identities[0], r->pool);
    }
    qsort(state->endpoints->elts, (size_t)state->endpoints->nelts, sizeof(scep_wire_endpoint_state),
          by_name);
}

/* ---- both together ---- */

/* Does something work that will not for long? */
static bool is_degraded(const scep_wire_state *state)
{
    uint64_t now = (uint64_t)apr_time_sec(apr_time_now());

    for (int i = 0; i < state->authorities->nelts; i++) {
        const scep_wire_authority_state *a =
            &APR_ARRAY_IDX(state->authorities, i, scep_wire_authority_state);

        if (scep_earlier(a->ca_ends, a->ra_ends) < now + SOON ||
            (a->crl_next && a->crl_next < now) || a->left_alone)
            return true;
    }
    return false;
}

static const char *busy_detail(const told *t, bool counted, apr_pool_t *p)
{
    apr_int64_t age = (apr_int64_t)apr_time_sec(apr_time_now() - t->answered);

    if (!counted)
        return apr_psprintf(p, "scep-ca is busy: %s", t->detail);
    return apr_psprintf(p, "scep-ca is busy: %s; the numbers are %" APR_INT64_T_FMT " second%s old",
                        t->detail, age > 0 ? age : 0, age == 1 ? "" : "s");
}

static const char *word_of(const scep_status_view *v, bool busy)
{
    if (!v->answers || (!busy && !v->state.store))
        return "down";
    if (busy)
        return "busy";
    return is_degraded(&v->state) ? "degraded" : "ok";
}

void scep_status_look(scep_status_view *out, request_rec *r)
{
    told t;
    bool busy;
    const scep_err *err = NULL;

    get_told(&t, r);
    busy = t.how == BUSY && t.well;
    out->answers = t.how == ANSWERED || busy;
    out->counted =
        t.how == ANSWERED || (busy && t.body.len && apr_time_now() - t.answered < NUMBERS_MOST);
    if (out->counted)
        err = scep_wire_get_state(&out->state, t.body, r->pool);
    if (err) {
        out->answers = out->counted = busy = false;
        t.detail = err->detail;
    }
    if (!out->counted)
        tell_known(&out->state, r);
    out->detail = busy           ? busy_detail(&t, out->counted, r->pool)
                  : out->counted ? out->state.detail
                                 : t.detail;
    out->turned_away = scep_places_turned(r->server);
    out->word = word_of(out, busy);
}
