/* The queue of requests that wait, and what is decided about them. */
#include "request.h"
#include "certs.h"
#include "clock.h"

#include <apr_strings.h>
#include <openssl/rand.h>
#include <string.h>

#define SWEPT_AT_ONCE 100
#define DAY (24 * 60 * 60)

/* As much of an id that was typed as an error shows. */
#define SHOWN 64
/* The longest transactionID that is read (lib/message.h): kept whole, as a policy module is told of
 * it again when the request is decided. */
#define TRANSACTION_ID_MOST 255

/* One key or one address gets a tenth of the places, but never fewer than this. */
#define FEW 5

/* @param code REFUSED; or UNAVAILABLE where they wait for a CA, which goes by itself */
static const scep_err *check_room(store_tx *tx, const store_request *r,
                                  const request_limits *limits, scep_code code)
{
    apr_int64_t each = limits->most / 10 > FEW ? limits->most / 10 : FEW;
    apr_int64_t all, of_key, of_peer;

    SCEP_TRY(store_request_waiting(tx, r->endpoint, r->key_hash, r->peer, r->created, &all, &of_key,
                                   &of_peer));
    if (all >= limits->most)
        return scep_err_make(store_tx_pool(tx), code, __FILE__, __LINE__,
                             "%ld requests wait for a decision at this endpoint, SCEPPendingMax "
                             "allows no more: decide some of them",
                             (long)all);
    if (of_key >= each)
        return scep_err_make(store_tx_pool(tx), code, __FILE__, __LINE__,
                             "%ld requests of this key wait for a decision, and no more than %ld "
                             "may",
                             (long)of_key, (long)each);
    if (of_peer >= each)
        return scep_err_make(store_tx_pool(tx), code, __FILE__, __LINE__,
                             "%ld requests from this address wait for a decision, and no more than "
                             "%ld may",
                             (long)of_peer, (long)each);
    return NULL;
}

static const scep_err *draw_id(const char **id, apr_pool_t *p)
{
    unsigned char bytes[8];

    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return scep_fail(p, INTERNAL, "no random bytes for the id of a request");
    *id = scep_hex(p, (scep_bytes){ bytes, sizeof(bytes) });
    return NULL;
}

const scep_err *request_pend(store_tx *tx, transaction *t, const request_facts *facts,
                             const request_limits *limits, const char **id, bool *done)
{
    apr_pool_t *p = store_tx_pool(tx);
    apr_int64_t now = apr_time_sec(scep_now());
    store_request r = {
        .endpoint = t->row.endpoint,
        .authority = facts->authority,
        .template_name = facts->template_name,
        .transaction = t->row.transaction,
        .key_hash = t->row.key_hash,
        .csr_hash = t->row.csr_hash,
        .transaction_id = scep_printable(p, facts->transaction_id, TRANSACTION_ID_MOST),
        .subject = facts->subject,
        .peer = facts->peer,
        .message_type = facts->message_type,
        .csr = facts->csr->der,
        .challenged = t->challenged,
        .state = facts->to_ca ? "queued" : "pending",
        .next_ask = facts->to_ca ? now + REQUEST_HEAD_START : 0,
        .created = now,
        .ends = now + (apr_int64_t)limits->days * DAY,
    };
    bool put;

    *id = NULL;
    if (facts->old)
        SCEP_TRY(scep_cert_der(&r.old, facts->old, p));
    SCEP_TRY(draw_id(&r.id, p));
    t->row.state = "pending";
    t->row.authority = t->row.serial = "";
    t->row.request = r.id;
    t->row.created = now;
    t->row.ends = t->row.bound = r.ends;
    SCEP_TRY(transaction_record(tx, t, done));
    if (!*done)
        return NULL;
    SCEP_TRY(check_room(tx, &r, limits, facts->to_ca ? SCEP_UNAVAILABLE : SCEP_REFUSED));
    SCEP_TRY(store_request_put(tx, &r, &put));
    *id = r.id;
    return put ? NULL : scep_fail(p, UNAVAILABLE, "the id %s was drawn twice", r.id);
}

const scep_err *request_waiting(store_tx *tx, const char *id, const store_request **found)
{
    apr_pool_t *p = store_tx_pool(tx);
    const char *name = scep_printable(p, scep_bytes_of(id), SHOWN);
    const store_request *r;

    SCEP_TRY(store_request_get(tx, id, &r));
    if (!r)
        return scep_fail(p, BAD_CERT_ID, "there is no request %s", name);
    if (!r->decided && r->ends > apr_time_sec(scep_now())) {
        *found = r;
        return NULL;
    }
    if (!r->decided || !strcmp(r->state, "expired"))
        return scep_fail(p, BAD_CERT_ID, "request %s has expired", name);
    return scep_fail(p, BAD_CERT_ID, "request %s was %s already, by %s", name, r->state, r->by);
}

bool request_is_stuck(const store_request *r)
{
    return !strcmp(r->state, "pending") || !strcmp(r->state, "lost") ||
           !strcmp(r->state, "withheld");
}

/* The row of the queue and its transaction, or neither: the caller's job fails with it. */
static const scep_err *settle(store_tx *tx, const store_request *from,
                              const store_request *decision, const transaction *t)
{
    bool done;

    SCEP_TRY(store_request_turn(tx, from, decision, decision->decided, &done));
    if (done)
        SCEP_TRY(transaction_decide(tx, t, &done));
    if (!done)
        return scep_fail(store_tx_pool(tx), BAD_CERT_ID,
                         "request %s was decided by somebody else meanwhile, or has expired",
                         from->id);
    return NULL;
}

const scep_err *request_issued(store_tx *tx, const store_request *r, const transaction *t,
                               const char *by)
{
    apr_int64_t now = apr_time_sec(scep_now());
    const store_request decision = {
        .state = "issued", .by = by, .serial = t->row.serial, .decided = now, .ends = now
    };

    return settle(tx, r, &decision, t);
}

const scep_err *request_denied(store_tx *tx, const store_request *r, const char *reason,
                               const char *by)
{
    apr_int64_t now = apr_time_sec(scep_now());
    const store_request decision = {
        .state = "denied", .reason = reason, .by = by, .decided = now, .ends = now
    };
    transaction *t;

    SCEP_TRY(request_transaction(&t, r, store_tx_pool(tx)));
    t->row.state = decision.state;
    return settle(tx, r, &decision, t);
}

const scep_err *request_transaction(transaction **out, const store_request *r, apr_pool_t *p)
{
    transaction *t = apr_pcalloc(p, sizeof(*t));

    t->row = (store_transaction){
        .endpoint = r->endpoint,
        .transaction = r->transaction,
        .key_hash = r->key_hash,
        .csr_hash = r->csr_hash,
        .state = "pending",
        .request = r->id,
        .created = apr_time_sec(scep_now()),
        .ends = r->ends,
        .bound = r->ends,
    };
    t->challenged = r->challenged;
    t->row.proven = r->old.len > 0;
    t->owner = transaction_owner(&t->row, p);
    *out = t;
    return NULL;
}

typedef struct sweep_job {
    apr_int64_t now, before;
    int changed;
} sweep_job;

static const scep_err *sweep_in_store(store_tx *tx, void *baton)
{
    sweep_job *j = baton;

    return store_request_sweep(tx, j->now, j->before, SWEPT_AT_ONCE, &j->changed);
}

const scep_err *request_sweep(bool *more, store *s, apr_int64_t keep_seconds, apr_pool_t *p)
{
    apr_int64_t now = apr_time_sec(scep_now());
    sweep_job j = { .now = now, .before = now - keep_seconds };

    *more = false;
    SCEP_TRY(store_run(s, sweep_in_store, &j, p));
    *more = j.changed >= SWEPT_AT_ONCE;
    return NULL;
}
