/*
 * What a worker knows of its endpoints: RAs, chains, and the bodies made of them. It comes from
 * READY first, then from scep-ca, which renews RAs while workers live: what was fetched a minute
 * ago is asked for again, by one thread.
 */
#include "mod_scep_places.h"
#include "mod_scep_worker.h"

#include <apr_strings.h>

#define FRESH apr_time_from_sec(60)
#define AGAIN_AFTER apr_time_from_sec(10) /* a try that failed */
#define ANEW_AFTER apr_time_from_sec(2)   /* for a recipient that is not known */

/* The digests that SCEPHashAlgorithm can name. */
enum { DIGESTS = 4 };

/* What is known at one time. Threads that use it hold it; the last one lets go. */
typedef struct version {
    scep_known known;           /* first, so that a scep_known leads to its version */
    apr_pool_t *pool;           /* nobody's child: ends on any thread, or not at all */
    int holders;                /* under worker->lock; the entry is one of them */
    apr_thread_mutex_t *making; /* of the bodies below, and of the pool */
    const EVP_MD *digest[DIGESTS];
    scep_bytes next[DIGESTS]; /* GetNextCACert by digest; len 0: not asked for yet */
} version;

typedef struct entry {
    const char *name;
    version *now;
    apr_time_t due;               /* when to ask for news */
    apr_time_t tried;             /* the last time it was asked */
    bool busy;                    /* somebody asks because it is due */
    apr_thread_mutex_t *fetching; /* of the four below: one thread asks, others wait for it */
    unsigned int tries;           /* under worker->lock */
    scep_code failure;            /* of the last try; SCEP_OK: none */
    char reason[256];
} entry;

typedef struct hold {
    scep_worker *worker;
    version *version;
} hold;

static entry *find_entry(const scep_worker *w, const char *endpoint, apr_pool_t *p)
{
    char *name = apr_pstrdup(p, endpoint);

    ap_str_tolower(name);
    return w ? apr_hash_get(w->entries, name, APR_HASH_KEY_STRING) : NULL;
}

/* ---- versions ---- */

/* @param p of errors, which outlive a version that could not be made */
static const scep_err *make_version(version **out, const scep_wire_public *public,
                                    const apr_array_header_t *keys, apr_pool_t *p)
{
    const scep_err *err;
    apr_pool_t *pool;
    version *v;

    if (apr_pool_create_unmanaged(&pool) != APR_SUCCESS)
        return scep_fail(p, INTERNAL, "no memory");
    v = apr_pcalloc(pool, sizeof(*v));
    v->pool = pool;
    v->holders = 1;
    err = scep_known_read(&v->known, public, keys, pool);
    if (!err && apr_thread_mutex_create(&v->making, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS)
        err = scep_fail(pool, INTERNAL, "no mutex");
    if (err) {
        err = scep_err_make(p, err->code, err->file, err->line, "%s", err->detail);
        apr_pool_destroy(pool);
        return err;
    }
    *out = v;
    return NULL;
}

static void let_go(scep_worker *w, version *v)
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

    /* a connection that outlives the worker: the process ends, and what is held with it */
    if (!h->worker->ended)
        let_go(h->worker, h->version);
    return APR_SUCCESS;
}

/* What is known now, until the request ends. @param tries of fetches so far; may be NULL */
static const scep_known *hold_now(scep_worker *w, entry *e, unsigned int *tries, apr_pool_t *p)
{
    hold *h = apr_palloc(p, sizeof(*h));

    apr_thread_mutex_lock(w->lock);
    *h = (hold){ w, e->now };
    h->version->holders++;
    if (tries)
        *tries = e->tries;
    apr_thread_mutex_unlock(w->lock);
    apr_pool_cleanup_register(p, h, let_go_at_end, apr_pool_cleanup_null);
    return &h->version->known;
}

const scep_known *scep_known_at_hand(request_rec *r, const char *endpoint)
{
    scep_worker *w = scep_worker_find(r->server);
    entry *e = find_entry(w, endpoint, r->pool);

    return e ? hold_now(w, e, NULL, r->pool) : NULL;
}

/* ---- a new worker ---- */

static const scep_err *add_entry(scep_worker *w, const scep_wire_public *public, apr_pool_t *p)
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
    scep_worker *w = data;

    for (apr_hash_index_t *i = apr_hash_first(NULL, w->entries); i; i = apr_hash_next(i)) {
        entry *e = apr_hash_this_val(i);

        let_go(w, e->now);
    }
    w->ended = true;
    return APR_SUCCESS;
}

const scep_err *scep_worker_learn(scep_worker *w, const scep_wire_ready *ready, apr_pool_t *pchild)
{
    apr_pool_cleanup_register(pchild, w, forget_all, apr_pool_cleanup_null);
    for (int i = 0; i < ready->endpoints->nelts; i++)
        SCEP_TRY(add_entry(w, &APR_ARRAY_IDX(ready->endpoints, i, scep_wire_public), pchild));
    return NULL;
}

/* ---- news ---- */

/* @param new NULL: nothing changed */
static void settle(scep_worker *w, entry *e, version *new, bool good)
{
    version *old = NULL;

    apr_thread_mutex_lock(w->lock);
    if (new) {
        old = e->now;
        e->now = new;
    }
    e->tried = apr_time_now();
    e->due = e->tried + (good ? FRESH : AGAIN_AFTER);
    e->tries++;
    apr_thread_mutex_unlock(w->lock);
    if (old)
        let_go(w, old);
}

static const scep_err *fetch(scep_worker *w, entry *e, apr_pool_t *p)
{
    const scep_wire_public *public;
    scep_wire_identities got;
    version *new = NULL;
    const scep_err *err = scep_ca_client_identities(&got, w->client, e->name, p);

    if (!err && got.endpoint->nelts != 1)
        err = scep_fail(p, INTERNAL, "scep-ca sent %d endpoints", got.endpoint->nelts);
    if (!err) {
        public = &APR_ARRAY_IDX(got.endpoint, 0, scep_wire_public);
        /* only a thread that fetches changes e->now, and it is this one */
        if (!e->now->known.has_keys || e->now->known.generation != public->generation)
            err = make_version(&new, public, got.keys, p);
    }
    settle(w, e, new, !err);
    e->failure = err ? err->code : SCEP_OK;
    apr_cpystrn(e->reason, err ? err->detail : "", sizeof(e->reason));
    return err;
}

/* One thread asks; those that waited for it share its outcome, lest each of them wait for scep-ca
 * in turn. */
static const scep_err *fetch_once(scep_worker *w, entry *e, unsigned int tries, request_rec *r)
{
    const scep_err *err = NULL;
    unsigned int tries_now;
    scep_call call;

    SCEP_TRY(scep_call_enter(&call, r));
    apr_thread_mutex_lock(e->fetching);
    apr_thread_mutex_lock(w->lock);
    tries_now = e->tries;
    apr_thread_mutex_unlock(w->lock);
    if (tries_now == tries)
        err = fetch(w, e, r->pool);
    else if (e->failure != SCEP_OK)
        err = scep_err_make(r->pool, e->failure, __FILE__, __LINE__, "%s", e->reason);
    apr_thread_mutex_unlock(e->fetching);
    scep_call_leave(&call, r);
    return err;
}

/* One thread asks where it is time to; the others go on. Without an answer what is known stays, and
 * whoever needs more than that says so. */
static void refresh(scep_worker *w, entry *e, request_rec *r)
{
    const scep_err *err;
    unsigned int tries;
    bool mine;

    /* scep-ca has enough to do, or hangs: what is known serves until it has not */
    if (scep_places_are_full(r))
        return;
    apr_thread_mutex_lock(w->lock);
    mine = !e->busy && apr_time_now() >= e->due;
    e->busy = e->busy || mine;
    tries = e->tries;
    apr_thread_mutex_unlock(w->lock);
    if (!mine)
        return;
    err = fetch_once(w, e, tries, r);
    if (err)
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "SCEP0141: no news of the endpoint '%s', what is known stays: %s", e->name,
                      err->detail);
    apr_thread_mutex_lock(w->lock);
    e->busy = false;
    apr_thread_mutex_unlock(w->lock);
}

void scep_worker_notice(scep_worker *w, const char *endpoint, uint64_t generation, apr_pool_t *p)
{
    entry *e = generation ? find_entry(w, endpoint, p) : NULL;

    if (!e)
        return;
    apr_thread_mutex_lock(w->lock);
    if (e->now->known.generation != generation)
        e->due = 0;
    apr_thread_mutex_unlock(w->lock);
}

/* ---- requests ---- */

const scep_known *scep_known_public(request_rec *r, const char *endpoint)
{
    scep_worker *w = scep_worker_find(r->server);
    entry *e = find_entry(w, endpoint, r->pool);

    if (!e)
        return NULL;
    refresh(w, e, r);
    return hold_now(w, e, NULL, r->pool);
}

const scep_err *scep_known_keys(const scep_known **out, request_rec *r, const char *endpoint)
{
    scep_worker *w = scep_worker_find(r->server);
    entry *e = find_entry(w, endpoint, r->pool);
    unsigned int tries;

    if (!e)
        return scep_fail(r->pool, UNAVAILABLE, "scep-ca knows no endpoint \"%s\"", endpoint);
    *out = hold_now(w, e, &tries, r->pool);
    if ((*out)->has_keys)
        refresh(w, e, r);
    else
        SCEP_TRY(fetch_once(w, e, tries, r));
    *out = hold_now(w, e, NULL, r->pool);
    if (!(*out)->has_keys)
        return scep_fail(r->pool, UNAVAILABLE, "the RA of \"%s\" is not known yet", endpoint);
    return NULL;
}

bool scep_known_anew(const scep_known **out, request_rec *r, const char *endpoint)
{
    scep_worker *w = scep_worker_find(r->server);
    entry *e = find_entry(w, endpoint, r->pool);
    const scep_known *before = *out;
    unsigned int tries;
    bool may;

    if (!e)
        return false;
    apr_thread_mutex_lock(w->lock);
    may = apr_time_now() >= e->tried + ANEW_AFTER;
    tries = e->tries;
    apr_thread_mutex_unlock(w->lock);
    if (may && fetch_once(w, e, tries, r))
        return false;
    *out = hold_now(w, e, NULL, r->pool);
    return *out != before && (*out)->has_keys;
}

const scep_err *scep_known_next(scep_bytes *out, const scep_known *known, const EVP_MD *digest,
                                apr_pool_t *p)
{
    version *v = (version *)(uintptr_t)known; /* every scep_known is one's first member */
    STACK_OF(X509) *certs = scep_borrowed_stack(p);
    const scep_err *err = NULL;
    int i = 0;

    SCEP_TRY(scep_known_list_next(certs, known->next, p));
    apr_thread_mutex_lock(v->making);
    while (i < DIGESTS && v->digest[i] && v->digest[i] != digest)
        i++;
    if (i < DIGESTS && v->digest[i]) {
        *out = v->next[i];
    } else {
        err = scep_certs_next(out, certs, &known->identities[0].ra.sign, digest, p);
        if (!err && i < DIGESTS) {
            v->next[i] = scep_bytes_dup(v->pool, *out);
            v->digest[i] = digest;
        }
    }
    apr_thread_mutex_unlock(v->making);
    return err;
}

X509 *scep_known_top(const scep_known *known)
{
    const STACK_OF(X509) *chain = known->identities[0].chain;

    return sk_X509_value(chain, sk_X509_num(chain) - 1);
}
