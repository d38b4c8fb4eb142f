/* Which RA is the current one, which others still open requests, and when a new one is made. */
#include "identities_int.h"

#include "certs.h"
#include "clock.h"
#include "log.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400
#define HOUR 3600
#define WARN_BELOW (14 * DAY)

/* How long another node may take to make one, and how long a start waits for it. */
#define LEASE_SECONDS 60
#define WAIT_TRIES 50
#define WAIT_PAUSE apr_time_from_msec(200)

/* An RA, opened once. */
typedef struct known_ra {
    const char *id;    /* of its row; "": ca.conf's */
    const scep_ra *ra; /* NULL: its row cannot be opened, which was said */
    identities_span span;
} known_ra;

struct identities_keeper {
    const conf_authority *authority;
    connector *connector;
    const scep_ra *first; /* ca.conf's; NULL: none */
    const char *holder;   /* of the lease */
    _Atomic(const identities *) now;
    apr_thread_mutex_t *mutex; /* of all that follows */
    apr_pool_t *pool;          /* of what holds and held */
    apr_array_header_t *known; /* of known_ra */
    apr_int64_t retry;         /* seconds: not tried again before */
    apr_int64_t warned;        /* when it was said that the RA ends */
    char why[512];             /* it could not be renewed; "": it could */
};

/* What counts at one moment, the best first. */
typedef struct candidates {
    const known_ra **list;
    int n;
} candidates;

const identities *identities_now(const identities_keeper *k)
{
    return atomic_load_explicit(&k->now, memory_order_acquire);
}

/* The first bytes of a hash over what workers remember, so that a change is a new number. */
static const scep_err *generation_of(uint64_t *out, const identities_keeper *k,
                                     const scep_ra *const *list, int n, apr_pool_t *p)
{
    const STACK_OF(X509) *chain = k->connector->chain;
    int certs = 2 * n + sk_X509_num(chain);
    scep_bytes *parts = apr_pcalloc(p, (apr_size_t)certs * sizeof(*parts));
    unsigned char hash[32];
    scep_cursor c = { hash, sizeof(hash) };

    for (int i = 0; i < n; i++) {
        SCEP_TRY(scep_cert_der(&parts[2 * i], list[i]->sign.cert, p));
        SCEP_TRY(scep_cert_der(&parts[2 * i + 1], list[i]->decrypt.cert, p));
    }
    for (int i = 2 * n; i < certs; i++)
        SCEP_TRY(scep_cert_der(&parts[i], sk_X509_value(chain, i - 2 * n), p));
    SCEP_TRY(scep_sha256(hash, parts, (size_t)certs, p));
    if (!scep_cursor_u64(&c, out))
        return scep_fail(p, INTERNAL, "a hash of 32 bytes has no first eight");
    return NULL;
}

/* Workers may still read what held before, so it stays; there is one a year. */
static const scep_err *take_up(identities_keeper *k, const scep_ra *const *list, int n,
                               apr_pool_t *p)
{
    const identities *before = identities_now(k);
    identities *now;
    uint64_t generation;

    SCEP_TRY(generation_of(&generation, k, list, n, p));
    if (before && before->generation == generation)
        return NULL;
    now = apr_palloc(k->pool, sizeof(*now));
    *now = (identities){ apr_pmemdup(k->pool, list, (apr_size_t)n * sizeof(*list)), n, generation };
    atomic_store_explicit(&k->now, now, memory_order_release);
    return NULL;
}

const scep_err *identities_make(identities_keeper **out, const conf_authority *a, connector *c,
                                const scep_ra *first, apr_pool_t *p)
{
    identities_keeper *k = apr_pcalloc(p, sizeof(*k));
    known_ra known = { "", first, { 0, 0 } };
    unsigned char random[16];

    if (first) {
        SCEP_TRY(scep_ra_check(first, sk_X509_value(c->chain, 0), p));
        SCEP_TRY(identities_dates(&known.span, first, p));
    }
    if (RAND_bytes(random, sizeof(random)) != 1 || apr_pool_create(&k->pool, p) ||
        apr_thread_mutex_create(&k->mutex, APR_THREAD_MUTEX_DEFAULT, p))
        return scep_fail(p, CONFIG, "out of memory or random bytes");
    k->authority = a;
    k->connector = c;
    k->first = first;
    k->holder = scep_hex(p, (scep_bytes){ random, sizeof(random) });
    k->known = apr_array_make(k->pool, 4, sizeof(known_ra));
    APR_ARRAY_PUSH(k->known, known_ra) = known;
    if (first)
        SCEP_TRY(take_up(k, &k->first, 1, p));
    *out = k;
    return NULL;
}

/* ---- what the store has ---- */

typedef struct look_job {
    const identities_keeper *keeper;
    apr_int64_t now;
    bool want_lease, held;
    apr_array_header_t *rows; /* of store_ra */
} look_job;

static const char *lease_name(const identities_keeper *k, apr_pool_t *p)
{
    return apr_pstrcat(p, "ra ", k->authority->name, NULL);
}

static const scep_err *look_up(store_tx *tx, void *baton)
{
    look_job *j = baton;

    if (j->want_lease)
        SCEP_TRY(store_lease_take(tx, lease_name(j->keeper, store_tx_pool(tx)), j->keeper->holder,
                                  j->now, j->now + LEASE_SECONDS, &j->held));
    return store_ra_list(tx, j->keeper->authority->name, j->now, &j->rows);
}

/* Opened at first sight; where that fails, it is said once. */
static const known_ra *row_known(identities_keeper *k, const store_ra *row, const store_key *key)
{
    const scep_err *err;
    known_ra *known;
    scep_ra *ra = NULL;

    for (int i = 0; i < k->known->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(k->known, i, known_ra).id, row->id))
            return &APR_ARRAY_IDX(k->known, i, known_ra);
    known = apr_array_push(k->known);
    *known = (known_ra){ .id = apr_pstrdup(k->pool, row->id) };
    err = identities_open(&ra, row, sk_X509_value(k->connector->chain, 0), key, k->pool);
    if (!err)
        err = identities_dates(&known->span, ra, k->pool);
    if (err)
        log_line(LOG_LEVEL_ERROR,
                 "SCEP0301: NDES-10 [authority %s]: an RA of the store is left out, requests to it "
                 "fail: "
                 "%s",
                 k->authority->name, err->detail);
    known->ra = err ? NULL : ra;
    return known;
}

/* The newest is the current one, on every node. */
static int newest_first(const void *a, const void *b)
{
    const known_ra *x = *(const known_ra *const *)a;
    const known_ra *y = *(const known_ra *const *)b;

    if (x->span.begins != y->span.begins)
        return x->span.begins > y->span.begins ? -1 : 1;
    return strcmp(y->id, x->id);
}

static void candidate_add(candidates *c, const known_ra *known, apr_int64_t now)
{
    if (known->ra && known->span.begins <= now && known->span.ends > now)
        c->list[c->n++] = known;
}

/* @param held NULL: no lease is wanted */
static const scep_err *look(candidates *out, identities_keeper *k, store *s, const store_key *key,
                            bool *held, apr_pool_t *p)
{
    look_job j = { .keeper = k, .now = apr_time_sec(scep_now()), .want_lease = held != NULL };
    int rows;

    SCEP_TRY(store_run(s, look_up, &j, p));
    rows = j.rows->nelts;
    for (int i = 0; i < rows; i++)
        (void)row_known(k, &APR_ARRAY_IDX(j.rows, i, store_ra), key);
    /* the array has its final size, so what points into it stays */
    *out = (candidates){ apr_pcalloc(p, (apr_size_t)(rows + 1) * sizeof(*out->list)), 0 };
    candidate_add(out, &APR_ARRAY_IDX(k->known, 0, known_ra), j.now);
    for (int i = 0; i < rows; i++)
        candidate_add(out, row_known(k, &APR_ARRAY_IDX(j.rows, i, store_ra), key), j.now);
    qsort(out->list, (size_t)out->n, sizeof(*out->list), newest_first);
    if (held)
        *held = j.held;
    return NULL;
}

/* ---- when a new one is made ---- */

static apr_int64_t left_of(const candidates *c)
{
    return c->n ? c->list[0]->span.ends - apr_time_sec(scep_now()) : 0;
}

static bool is_near_its_end(const identities_keeper *k, const candidates *c)
{
    apr_int64_t days = (apr_int64_t)k->authority->ra_renew_days * DAY;
    apr_int64_t third;

    if (!c->n)
        return true;
    third = (c->list[0]->span.ends - c->list[0]->span.begins) / 3;
    return left_of(c) <= (third < days ? third : days);
}

/* Nothing lives longer than its CA: where the RA ends together with it, a new one is no help. */
static const scep_err *can_be_longer(const identities_keeper *k, const candidates *c, apr_pool_t *p)
{
    apr_int64_t ends;

    SCEP_TRY(
        scep_time_seconds(&ends, X509_get0_notAfter(sk_X509_value(k->connector->chain, 0)), p));
    if (ends > apr_time_sec(scep_now()) + left_of(c))
        return NULL;
    return scep_fail(p, UNAVAILABLE, "its CA ends at the same time; renew the CA");
}

typedef struct put_job {
    store_ra row;
    store_ra draft; /* that it came from, used up; authority NULL: none */
    bool done;
} put_job;

static const scep_err *put(store_tx *tx, void *baton)
{
    put_job *j = baton;

    if (j->draft.authority)
        SCEP_TRY(store_ra_put(tx, &j->draft, &j->done));
    return store_ra_put(tx, &j->row, &j->done);
}

/* @param held whether it is this node that makes it; false: another one has, or does */
static const scep_err *lease_take(bool *held, candidates *c, identities_keeper *k, store *s,
                                  const store_key *key, apr_pool_t *p)
{
    for (int i = 0; i < WAIT_TRIES; i++) {
        SCEP_TRY(look(c, k, s, key, held, p));
        *held = *held && is_near_its_end(k, c);
        if (*held || c->n)
            return NULL;
        apr_sleep(WAIT_PAUSE);
    }
    return scep_fail(p, UNAVAILABLE, "another node is about to make one, and did not yet");
}

/* Made, and put into the store. */
static const scep_err *make(identities_keeper *k, const scep_ra *like, store *s,
                            const store_key *key, apr_pool_t *p)
{
    put_job j = { 0 };

    if (k->connector->remote)
        SCEP_TRY(identities_enrol(&j.row, &j.draft, k->authority, k->connector, like, s, key, p));
    else
        SCEP_TRY(identities_renew(&j.row, k->authority, k->connector, like, key, p));
    return store_run(s, put, &j, p);
}

static const scep_err *give_back(store_tx *tx, void *baton)
{
    const identities_keeper *k = baton;
    apr_int64_t now = apr_time_sec(scep_now());
    bool held;

    return store_lease_take(tx, lease_name(k, store_tx_pool(tx)), k->holder, now, now, &held);
}

/* So that who starts next need not wait for its end, which comes anyway. */
static bool lease_end(identities_keeper *k, store *s, apr_pool_t *p)
{
    return store_run(s, give_back, k, p) == NULL;
}

static const scep_err *renew(candidates *c, identities_keeper *k, store *s, const store_key *key,
                             apr_pool_t *p)
{
    const scep_err *err;
    bool held;

    SCEP_TRY(can_be_longer(k, c, p));
    SCEP_TRY(lease_take(&held, c, k, s, key, p));
    if (!held)
        return NULL;
    err = make(k, c->n ? c->list[0]->ra : k->first, s, key, p);
    if (err) {
        (void)lease_end(k, s, p);
        return err;
    }
    SCEP_TRY(look(c, k, s, key, NULL, p));
    log_line(LOG_LEVEL_INFO, "SCEP0300: [authority %s]: a new RA was made, valid for %ld days",
             k->authority->name, (long)(left_of(c) / DAY));
    return NULL;
}

/* Tried at once, and then hourly as long as there is a day left. */
static const scep_err *renew_in_time(candidates *c, identities_keeper *k, store *s,
                                     const store_key *key, apr_pool_t *p)
{
    apr_int64_t now = apr_time_sec(scep_now());
    const scep_err *err;

    if (!is_near_its_end(k, c)) {
        k->why[0] = '\0';
        return NULL;
    }
    if (now < k->retry && now > k->retry - HOUR && left_of(c) > DAY)
        return NULL;
    err = renew(c, k, s, key, p);
    k->retry = err ? now + HOUR : 0;
    apr_cpystrn(k->why, err ? err->detail : "", sizeof(k->why));
    return err;
}

static void warn(identities_keeper *k, const candidates *c)
{
    apr_int64_t now = apr_time_sec(scep_now());

    if (!*k->why || left_of(c) >= WARN_BELOW || (now >= k->warned && now - k->warned < DAY))
        return;
    k->warned = now;
    log_line(
        LOG_LEVEL_WARN,
        "SCEP0302: NDES-10 [authority %s]: the RA ends in %ld days and could not be renewed: %s",
        k->authority->name, (long)(left_of(c) / DAY), k->why);
}

static const scep_err *take_up_all(identities_keeper *k, const candidates *c, apr_pool_t *p)
{
    const scep_ra **list = apr_palloc(p, (apr_size_t)c->n * sizeof(*list));

    for (int i = 0; i < c->n; i++)
        list[i] = c->list[i]->ra;
    return take_up(k, list, c->n, p);
}

static const scep_err *keep(identities_keeper *k, store *s, const store_key *key, apr_pool_t *p)
{
    const scep_err *renewal;
    candidates c;

    SCEP_TRY(look(&c, k, s, key, NULL, p));
    renewal = renew_in_time(&c, k, s, key, p);
    if (!c.n)
        return scep_fail(p, CONFIG, "[authority %s]: %s, and none can be made: %s",
                         k->authority->name,
                         k->first ? "the RA that ca.conf names is not valid now, the store has no "
                                    "other one"
                                  : "ca.conf names no RA, the store has none",
                         renewal ? renewal->detail : "set the clock");
    warn(k, &c);
    SCEP_TRY(take_up_all(k, &c, p));
    return renewal;
}

const scep_err *identities_keep(identities_keeper *k, store *s, const store_key *key, apr_pool_t *p)
{
    const scep_err *err;

    apr_thread_mutex_lock(k->mutex);
    err = keep(k, s, key, p);
    apr_thread_mutex_unlock(k->mutex);
    return err;
}

const scep_err *identities_look(identities_keeper *k, store *s, const store_key *key, apr_pool_t *p)
{
    const scep_err *err;
    candidates c;

    /* whoever holds it looks as well, and may be waiting for a CA */
    if (apr_thread_mutex_trylock(k->mutex) != APR_SUCCESS)
        return NULL;
    err = look(&c, k, s, key, NULL, p);
    if (!err && c.n)
        err = take_up_all(k, &c, p);
    apr_thread_mutex_unlock(k->mutex);
    return err;
}
