/* A worker's calls to scep-ca. */
#include "mod_scep_places.h"
#include "mod_scep_worker.h"

#include <apr_strings.h>
#include <limits.h>

#define WORKER_KEY "mod_scep: worker"
/* A load balancer does not wait for long either. */
#define STATUS_TIME apr_time_from_sec(2)
/* httpd gives connections to a process whose threads are all taken. Where scep-ca hangs, the last
 * one of them is soon back, to answer all else and to turn away. */
#define LAST_WAITS apr_time_from_sec(1)

scep_worker *scep_worker_find(server_rec *s)
{
    void *found = NULL;

    (void)apr_pool_userdata_get(&found, WORKER_KEY, s->process->pconf);
    return found;
}

/* How many threads of this process may wait for scep-ca as long as it takes. */
static int may_wait(void)
{
    int threads = 1;

    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS || threads < 2)
        return INT_MAX;
    return threads - 1;
}

static const scep_err *make_worker(const scep_inheritance *from, apr_pool_t *pchild, server_rec *s)
{
    /* connections may end after pchild did, and look at w->ended */
    scep_worker *w = apr_pcalloc(s->process->pool, sizeof(*w));

    w->entries = apr_hash_make(pchild);
    w->places = from->places;
    w->operations = scep_places_count(s, SCEP_PLACE_OPERATION);
    w->calls = scep_places_count(s, SCEP_PLACE_CALL);
    w->seats = scep_seats_count();
    w->unseated = scep_places_unseated();
    w->waiting_most = may_wait();
    if (apr_thread_mutex_create(&w->lock, APR_THREAD_MUTEX_DEFAULT, pchild) != APR_SUCCESS)
        return scep_fail(pchild, INTERNAL, "no mutex");
    SCEP_TRY(scep_limit_make(&w->failed, pchild));
    SCEP_TRY(scep_told_make(&w->told, pchild));
    SCEP_TRY(scep_ca_client_make(&w->client, from->socket, from->enrol_secret, from->mint_secret,
                                 apr_time_from_sec(from->timeout), pchild));
    SCEP_TRY(scep_worker_learn(w, from->ready, pchild));
    if (apr_pool_userdata_set(w, WORKER_KEY, NULL, s->process->pconf) != APR_SUCCESS)
        return scep_fail(pchild, INTERNAL, "no memory");
    return NULL;
}

void scep_call_child_init(const scep_inheritance *from, apr_pool_t *pchild, server_rec *s)
{
    const scep_err *err = make_worker(from, pchild, s);

    if (err)
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "SCEP0140: this worker process cannot answer SCEP requests: %s", err->detail);
}

static const scep_err *no_way(request_rec *r)
{
    return scep_fail(r->pool, UNAVAILABLE, "this worker process has no way to scep-ca");
}

const scep_err *scep_ca_verdict(scep_wire_verdict *out, request_rec *r, const char *endpoint,
                                scep_bytes frame)
{
    scep_worker *w = scep_worker_find(r->server);
    const scep_err *err;
    bool seated, last;

    if (!w)
        return no_way(r);
    last = atomic_fetch_add(&w->waiting, 1) >= w->waiting_most;
    seated = scep_seat_give(r);
    err = scep_ca_client_verdict(out, w->client, frame, last ? LAST_WAITS : 0, r->pool);
    (void)atomic_fetch_sub(&w->waiting, 1);
    if (seated)
        scep_seat_take(r);
    SCEP_TRY(err);
    scep_worker_notice(w, endpoint, out->generation, r->pool);
    return NULL;
}

const scep_err *scep_call_enter(scep_call *call, request_rec *r)
{
    scep_worker *w = scep_worker_find(r->server);

    if (!w)
        return no_way(r);
    if (!scep_place_take(&call->placed, r, SCEP_PLACE_CALL))
        return scep_fail(r->pool, UNAVAILABLE, "too many requests wait for scep-ca already");
    call->seated = scep_seat_give(r);
    return NULL;
}

void scep_call_leave(const scep_call *call, request_rec *r)
{
    if (call->seated)
        scep_seat_take(r);
    if (call->placed)
        scep_place_give(r);
}

/* What became of it, for CustomLog. */
static void note_minted(request_rec *r, const scep_wire_mint *request, const scep_err *err,
                        const scep_wire_minted *minted)
{
    static const char *const words[] = {
        [SCEP_MINT_DONE] = "minted",
        [SCEP_MINT_FULL] = "full",
        [SCEP_MINT_NOT_PERMITTED] = "not-permitted",
        [SCEP_MINT_TOO_OFTEN] = "too-often",
    };
    size_t known = sizeof(words) / sizeof(*words);
    const char *word = err || minted->outcome >= known ? NULL : words[minted->outcome];

    apr_table_set(r->notes, SCEP_NOTE_ENDPOINT, request->endpoint);
    apr_table_setn(r->notes, SCEP_NOTE_STATUS, word ? word : "failed");
}

const scep_err *scep_ca_mint(scep_wire_minted *out, request_rec *r, const scep_wire_mint *request)
{
    scep_worker *w = scep_worker_find(r->server);
    const scep_err *err;
    scep_call call;

    SCEP_TRY(scep_call_enter(&call, r));
    err = scep_ca_client_mint(out, w->client, request, r->pool);
    scep_call_leave(&call, r);
    note_minted(r, request, err, out);
    return err;
}

const scep_err *scep_ca_status(scep_wire_state *out, request_rec *r)
{
    scep_worker *w = scep_worker_find(r->server);

    if (!w)
        return no_way(r);
    return scep_ca_client_status(out, w->client, STATUS_TIME, r->pool);
}

int scep_failed_too_often(request_rec *r, const char *endpoint, long per_minute)
{
    const char *address = scep_limit_address(r->useragent_ip, r->pool);
    const char *key = apr_pstrcat(r->pool, endpoint, "\n", address, NULL);
    scep_worker *w = scep_worker_find(r->server);

    return w ? scep_limit_hit(w->failed, scep_bytes_of(key), (int)per_minute) : 0;
}
