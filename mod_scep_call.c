/* A worker's calls to scep-ca, and what it remembers of the answers. */
#include "mod_scep.h"

#include <ap_mpm.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>

#define WORKER_KEY "mod_scep: worker"

/* What is known of an endpoint at one time. Threads that use it hold it; the last one lets go. */
typedef struct version {
    apr_pool_t *pool; /* without a parent: ends on any thread */
    int holders;      /* under worker->lock; the entry is one of them */
    scep_public public;
    bool has_ra;
    scep_ra ra;
} version;

typedef struct entry {
    const char *name;
    version *now;
    bool stale;                   /* scep-ca named another generation */
    apr_thread_mutex_t *fetching; /* of the four below: one thread asks, others wait for it */
    unsigned int tries;           /* under worker->lock */
    scep_code failure;            /* of the last try; SCEP_OK: none */
    char reason[256];
} entry;

/* In a worker process's pool. */
typedef struct worker {
    scep_ca_client *client;
    apr_hash_t *entries;      /* name in lower case -> entry *; fixed after child_init */
    apr_thread_mutex_t *lock; /* short holds only: pointers and counts */
} worker;

typedef struct hold {
    worker *worker;
    version *version;
} hold;

static worker *find_worker(server_rec *s)
{
    void *found = NULL;

    (void)apr_pool_userdata_get(&found, WORKER_KEY, s->process->pconf);
    return found;
}

static entry *find_entry(const worker *w, const char *endpoint, apr_pool_t *p)
{
    char *name = apr_pstrdup(p, endpoint);

    ap_str_tolower(name);
    return w ? apr_hash_get(w->entries, name, APR_HASH_KEY_STRING) : NULL;
}

/* ---- versions ---- */

static const scep_err *read_public(scep_public *out, const scep_wire_public *in, apr_pool_t *p)
{
    STACK_OF(X509) *all = scep_borrowed_stack(p);
    X509 *sign, *decrypt;

    out->endpoint = apr_pstrdup(p, in->endpoint);
    out->generation = in->generation;
    out->chain = scep_borrowed_stack(p);
    SCEP_TRY(scep_cert_read(&sign, in->sign_cert, p));
    SCEP_TRY(scep_cert_read(&decrypt, in->decrypt_cert, p));
    if (!sk_X509_push(all, sign) ||
        (!scep_bytes_equal(in->sign_cert, in->decrypt_cert) && !sk_X509_push(all, decrypt)))
        return scep_fail(p, INTERNAL, "no memory");
    for (int i = 0; i < in->chain->nelts; i++) {
        X509 *cert;

        SCEP_TRY(scep_cert_read(&cert, APR_ARRAY_IDX(in->chain, i, scep_wire_cert).der, p));
        if (!sk_X509_push(out->chain, cert) || !sk_X509_push(all, cert))
            return scep_fail(p, INTERNAL, "no memory");
    }
    if (in->chain->nelts == 0)
        return scep_fail(p, INTERNAL, "endpoint \"%s\" has no CA certificate", in->endpoint);
    out->ca = sk_X509_value(out->chain, 0);
    out->root = sk_X509_value(out->chain, in->chain->nelts - 1);
    return scep_certs_degenerate(&out->ca_cert_body, all, p);
}

static const scep_err *read_ra(scep_ra *out, const scep_wire_identities *in, apr_pool_t *p)
{
    const scep_wire_public *certs = &APR_ARRAY_IDX(in->endpoint, 0, scep_wire_public);

    SCEP_TRY(scep_cert_read(&out->sign.cert, certs->sign_cert, p));
    SCEP_TRY(scep_cert_read(&out->decrypt.cert, certs->decrypt_cert, p));
    SCEP_TRY(scep_key_read(&out->sign.key, in->sign_key, p));
    SCEP_TRY(scep_key_read(&out->decrypt.key, in->decrypt_key, p));
    if (X509_check_private_key(out->sign.cert, out->sign.key) != 1 ||
        X509_check_private_key(out->decrypt.cert, out->decrypt.key) != 1)
        return scep_fail(p, INTERNAL, "an RA key does not belong to its certificate");
    return NULL;
}

/* @param keys NULL: what everybody may know only
 * @param p of errors, which outlive a version that could not be made */
static const scep_err *make_version(version **out, const scep_wire_public *public,
                                    const scep_wire_identities *keys, apr_pool_t *p)
{
    const scep_err *err;
    apr_pool_t *pool;
    version *v;

    if (apr_pool_create_ex(&pool, NULL, NULL, NULL) != APR_SUCCESS)
        return scep_fail(p, INTERNAL, "no memory");
    v = apr_pcalloc(pool, sizeof(*v));
    v->pool = pool;
    v->holders = 1;
    v->has_ra = keys != NULL;
    err = read_public(&v->public, public, pool);
    if (!err && keys)
        err = read_ra(&v->ra, keys, pool);
    if (err) {
        err = scep_err_make(p, err->code, err->file, err->line, "%s", err->detail);
        apr_pool_destroy(pool);
        return err;
    }
    *out = v;
    return NULL;
}

static void let_go(worker *w, version *v)
{
    bool last;

    apr_thread_mutex_lock(w->lock);
    last = --v->holders == 0;
    apr_thread_mutex_unlock(w->lock);
    if (last)
        apr_pool_destroy(v->pool);
}

static apr_status_t let_go_at_end(void *data)
{
    hold *h = data;

    let_go(h->worker, h->version);
    return APR_SUCCESS;
}

/* What is known now, until the request ends. @param stale whether a newer one should be fetched;
 * tries: of fetches so far. Both may be NULL */
static version *hold_now(worker *w, entry *e, bool *stale, unsigned int *tries, apr_pool_t *p)
{
    hold *h = apr_palloc(p, sizeof(*h));

    apr_thread_mutex_lock(w->lock);
    *h = (hold){ w, e->now };
    h->version->holders++;
    if (stale)
        *stale = e->stale;
    if (tries)
        *tries = e->tries;
    apr_thread_mutex_unlock(w->lock);
    apr_pool_cleanup_register(p, h, let_go_at_end, apr_pool_cleanup_null);
    return h->version;
}

static void replace(worker *w, entry *e, version *new)
{
    version *old;

    apr_thread_mutex_lock(w->lock);
    old = e->now;
    e->now = new;
    e->stale = false;
    apr_thread_mutex_unlock(w->lock);
    let_go(w, old);
}

/* ---- a new worker ---- */

static const scep_err *add_entry(worker *w, const scep_wire_public *public, apr_pool_t *p)
{
    entry *e = apr_pcalloc(p, sizeof(*e));
    char *name = apr_pstrdup(p, public->endpoint);

    ap_str_tolower(name);
    e->name = name;
    if (apr_thread_mutex_create(&e->fetching, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS)
        return scep_fail(p, INTERNAL, "no mutex");
    SCEP_TRY(make_version(&e->now, public, NULL, p));
    apr_hash_set(w->entries, name, APR_HASH_KEY_STRING, e);
    return NULL;
}

/* Versions have no parent, so that they end here: later this module may be unloaded, and with it
 * the functions that free what they own. */
static apr_status_t forget_all(void *data)
{
    worker *w = data;

    for (apr_hash_index_t *i = apr_hash_first(NULL, w->entries); i; i = apr_hash_next(i)) {
        entry *e = apr_hash_this_val(i);

        let_go(w, e->now);
    }
    return APR_SUCCESS;
}

/* How many threads may wait for scep-ca at one time; the others answer everything else. 0: any
 * number, where a process has but one thread. */
static int places(void)
{
    int threads = 1;

    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS || threads < 2)
        return 0;
    return threads * 3 / 4;
}

static const scep_err *make_worker(const scep_inheritance *from, apr_pool_t *pchild, server_rec *s)
{
    worker *w = apr_pcalloc(pchild, sizeof(*w));
    const apr_array_header_t *all = from->ready->endpoints;

    w->entries = apr_hash_make(pchild);
    if (apr_thread_mutex_create(&w->lock, APR_THREAD_MUTEX_DEFAULT, pchild) != APR_SUCCESS)
        return scep_fail(pchild, INTERNAL, "no mutex");
    apr_pool_cleanup_register(pchild, w, forget_all, apr_pool_cleanup_null);
    SCEP_TRY(scep_ca_client_make(&w->client, from->socket, from->enrol_secret, from->mint_secret,
                                 apr_time_from_sec(from->timeout), places(), pchild));
    for (int i = 0; i < all->nelts; i++)
        SCEP_TRY(add_entry(w, &APR_ARRAY_IDX(all, i, scep_wire_public), pchild));
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

/* ---- requests ---- */

const scep_public *scep_ca_public(request_rec *r, const char *endpoint)
{
    worker *w = find_worker(r->server);
    entry *e = find_entry(w, endpoint, r->pool);

    return e ? &hold_now(w, e, NULL, NULL, r->pool)->public : NULL;
}

static const scep_err *fetch(worker *w, entry *e, apr_pool_t *p)
{
    scep_wire_identities got;
    const scep_err *err;
    version *new = NULL;

    err = scep_ca_client_identities(&got, w->client, e->name, p);
    if (!err && got.endpoint->nelts != 1)
        err = scep_fail(p, INTERNAL, "scep-ca sent %d identities", got.endpoint->nelts);
    if (!err)
        err = make_version(&new, &APR_ARRAY_IDX(got.endpoint, 0, scep_wire_public), &got, p);
    if (!err)
        replace(w, e, new);
    apr_thread_mutex_lock(w->lock);
    e->tries++;
    apr_thread_mutex_unlock(w->lock);
    e->failure = err ? err->code : SCEP_OK;
    apr_cpystrn(e->reason, err ? err->detail : "", sizeof(e->reason));
    return err;
}

/* One thread asks; those that waited for it share its outcome, lest each of them wait for scep-ca
 * in turn. */
static const scep_err *fetch_once(worker *w, entry *e, unsigned int tries, apr_pool_t *p)
{
    const scep_err *err = NULL;
    unsigned int tries_now;

    SCEP_TRY(scep_ca_client_enter(w->client, p));
    apr_thread_mutex_lock(e->fetching);
    apr_thread_mutex_lock(w->lock);
    tries_now = e->tries;
    apr_thread_mutex_unlock(w->lock);
    if (tries_now == tries)
        err = fetch(w, e, p);
    else if (e->failure != SCEP_OK)
        err = scep_err_make(p, e->failure, __FILE__, __LINE__, "%s", e->reason);
    apr_thread_mutex_unlock(e->fetching);
    scep_ca_client_leave(w->client);
    return err;
}

const scep_err *scep_ca_identity(const scep_ra **out, request_rec *r, const char *endpoint)
{
    worker *w = find_worker(r->server);
    entry *e = find_entry(w, endpoint, r->pool);
    unsigned int tries;
    version *v;
    bool stale;

    if (!e)
        return scep_fail(r->pool, UNAVAILABLE, "scep-ca knows no endpoint \"%s\"", endpoint);
    v = hold_now(w, e, &stale, &tries, r->pool);
    if (!v->has_ra || stale) {
        SCEP_TRY(fetch_once(w, e, tries, r->pool));
        v = hold_now(w, e, NULL, NULL, r->pool);
    }
    if (!v->has_ra)
        return scep_fail(r->pool, UNAVAILABLE, "the RA of \"%s\" is not known yet", endpoint);
    *out = &v->ra;
    return NULL;
}

/* 0: the answer came from nobody who knows. */
static void notice_generation(worker *w, const char *endpoint, uint64_t generation, apr_pool_t *p)
{
    entry *e = generation ? find_entry(w, endpoint, p) : NULL;

    if (!e)
        return;
    apr_thread_mutex_lock(w->lock);
    e->stale = e->now->public.generation != generation;
    apr_thread_mutex_unlock(w->lock);
}

const scep_err *scep_ca_enrol(scep_wire_verdict *out, request_rec *r,
                              const scep_wire_enrol *request)
{
    worker *w = find_worker(r->server);
    const scep_err *err;

    if (!w)
        return scep_fail(r->pool, UNAVAILABLE, "this worker process has no way to scep-ca");
    SCEP_TRY(scep_ca_client_enter(w->client, r->pool));
    err = scep_ca_client_enrol(out, w->client, request, r->pool);
    scep_ca_client_leave(w->client);
    SCEP_TRY(err);
    notice_generation(w, request->endpoint, out->generation, r->pool);
    return NULL;
}

const scep_err *scep_ca_mint(scep_wire_minted *out, request_rec *r, const scep_wire_mint *request)
{
    worker *w = find_worker(r->server);
    const scep_err *err;

    if (!w)
        return scep_fail(r->pool, UNAVAILABLE, "this worker process has no way to scep-ca");
    SCEP_TRY(scep_ca_client_enter(w->client, r->pool));
    err = scep_ca_client_mint(out, w->client, request, r->pool);
    scep_ca_client_leave(w->client);
    return err;
}
