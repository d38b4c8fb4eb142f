/* What is asked of a CA elsewhere, as sentences over the queue's rows. */
#include "submission.h"

#include "clock.h"
#include "inventory.h"

#include <apr_strings.h>
#include <openssl/rand.h>
#include <string.h>

typedef struct turn_job {
    const store_request *from, *to;
    bool done;
} turn_job;

static apr_int64_t seconds_now(void)
{
    return apr_time_sec(scep_now());
}

static bool is_same(scep_bytes a, scep_bytes b)
{
    return a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

/* A commit of which the store did not hear is made once more (store.h), and finds what it did. */
static const scep_err *is_turned(bool *done, store_tx *tx, const store_request *to)
{
    const store_request *now;

    SCEP_TRY(store_request_get(tx, to->id, &now));
    *done = now && !strcmp(now->state, to->state) && !strcmp(now->cookie, to->cookie) &&
            !strcmp(now->reason, to->reason) && is_same(now->answer, to->answer);
    return NULL;
}

static const scep_err *turn_in_store(store_tx *tx, void *baton)
{
    turn_job *j = baton;

    SCEP_TRY(store_request_turn(tx, j->from, j->to, seconds_now(), &j->done));
    return j->done ? NULL : is_turned(&j->done, tx, j->to);
}

static const scep_err *turn(bool *held, store *s, const store_request *from,
                            const store_request *to, apr_pool_t *p)
{
    turn_job j = { .from = from, .to = to };

    SCEP_TRY(store_run(s, turn_in_store, &j, p));
    *held = j.done;
    return NULL;
}

/* ---- the claim ---- */

typedef struct claim_job {
    const char *id;
    int seconds;
    scep_bytes token; /* nobody else's */
    bool lost, polled;
    submission *found;
} claim_job;

/* What was given to the clerks by its own process is asked before it is due; what another one may
 * still be busy with is not. */
static bool may_be_asked(const store_request *r, apr_int64_t now)
{
    if (r->decided || r->ends <= now || !r->next_ask)
        return false;
    return !strcmp(r->state, "queued") || r->next_ask <= now;
}

static void found(claim_job *j, const store_request *row, apr_pool_t *p)
{
    j->found = apr_pcalloc(p, sizeof(*j->found));
    j->found->row = row;
    j->found->lost = j->lost;
    j->found->polled = j->found->waited = j->polled;
    j->found->cookie = row->cookie;
}

static const scep_err *claim_in_store(store_tx *tx, void *baton)
{
    claim_job *j = baton;
    apr_pool_t *p = store_tx_pool(tx);
    const store_request *former;
    apr_int64_t now = seconds_now();
    store_request *row;
    bool done;

    j->found = NULL;
    SCEP_TRY(store_request_get(tx, j->id, &former));
    if (former && !strcmp(former->state, "asked") && is_same(former->answer, j->token)) {
        found(j, former, p); /* as above: what it was before is known from the first time */
        return NULL;
    }
    if (!former || !may_be_asked(former, now))
        return NULL;
    row = apr_pmemdup(p, former, sizeof(*former));
    row->state = "asked";
    row->answer = j->token;
    /* no two claims of a row are equal: where the clock was set back, too */
    row->next_ask = now + j->seconds > former->next_ask ? now + j->seconds : former->next_ask + 1;
    SCEP_TRY(store_request_turn(tx, former, row, now, &done));
    j->lost = !strcmp(former->state, "asked");
    j->polled = !strcmp(former->state, "waits");
    if (done)
        found(j, row, p);
    return NULL;
}

const scep_err *submission_claim(submission **out, store *s, const char *id, int seconds,
                                 apr_pool_t *p)
{
    unsigned char token[16];
    claim_job j = { .id = id, .seconds = seconds, .token = { token, sizeof(token) } };

    if (RAND_bytes(token, sizeof(token)) != 1)
        return scep_fail(p, INTERNAL, "no random bytes");
    j.token = scep_bytes_dup(p, j.token); /* the claim keeps it */
    SCEP_TRY(store_run(s, claim_in_store, &j, p));
    *out = j.found;
    return NULL;
}

const scep_err *submission_keep(submission *m, store *s, const char *cookie, apr_pool_t *p)
{
    store_request *to = apr_pmemdup(p, m->row, sizeof(*to));
    bool held;

    to->cookie = apr_pstrdup(p, cookie);
    SCEP_TRY(turn(&held, s, m->row, to, p));
    if (!held)
        return scep_fail(p, UNAVAILABLE,
                         "request %s is not ours any more: another node asks, or somebody decided",
                         m->row->id);
    m->row = to;
    m->polled = false;
    return NULL;
}

/* ---- what became of it ---- */

typedef struct settle_job {
    const submission *m;
    const issued_cert *cert; /* NULL: denied */
    const char *reason, *by;
    bool held;
} settle_job;

/* Is the claim, or what an administrator could have changed, as it was? */
static bool is_held(const store_request *now, const store_request *row)
{
    return now && !now->decided && !strcmp(now->state, row->state) &&
           now->next_ask == row->next_ask && is_same(now->answer, row->answer) &&
           now->ends > seconds_now();
}

/* As is_turned(). */
static bool is_settled(const store_request *now, const settle_job *j)
{
    if (!now)
        return false;
    if (j->cert)
        return !strcmp(now->state, "issued") && !strcmp(now->serial, j->cert->serial);
    return !strcmp(now->state, "denied") && !strcmp(now->by, j->by) &&
           !strcmp(now->reason, j->reason);
}

static const char *decided_by(const store_request *row)
{
    return *row->by ? row->by : SUBMISSION_THE_CA;
}

static const scep_err *issue_in_store(store_tx *tx, const settle_job *j)
{
    const store_request *row = j->m->row;
    apr_pool_t *p = store_tx_pool(tx);
    const store_certificate *known;
    transaction *t;

    SCEP_TRY(store_certificate_get(tx, row->authority, j->cert->serial, &known));
    if (known)
        return scep_fail(p, REFUSED, "certificate %s was issued before, for another request",
                         j->cert->serial);
    SCEP_TRY(request_transaction(&t, row, p));
    transaction_set_issued(t, j->cert, row->authority);
    SCEP_TRY(request_issued(tx, row, t, decided_by(row)));
    return inventory_record(tx, j->cert, t, row->authority, row->template_name);
}

static const scep_err *settle_in_store(store_tx *tx, void *baton)
{
    settle_job *j = baton;
    const store_request *now;

    SCEP_TRY(store_request_get(tx, j->m->row->id, &now));
    j->held = is_held(now, j->m->row);
    if (!j->held) {
        j->held = is_settled(now, j);
        return NULL;
    }
    return j->cert ? issue_in_store(tx, j) : request_denied(tx, j->m->row, j->reason, j->by);
}

const scep_err *submission_issued(bool *held, const submission *m, store *s,
                                  const issued_cert *cert, apr_pool_t *p)
{
    settle_job j = { .m = m, .cert = cert };

    SCEP_TRY(store_run(s, settle_in_store, &j, p));
    *held = j.held;
    return NULL;
}

static const scep_err *deny(bool *held, const submission *m, store *s, const char *reason,
                            const char *by, apr_pool_t *p)
{
    settle_job j = { .m = m, .reason = reason, .by = by };

    SCEP_TRY(store_run(s, settle_in_store, &j, p));
    *held = j.held;
    return NULL;
}

const scep_err *submission_denied(bool *held, const submission *m, store *s, const char *reason,
                                  apr_pool_t *p)
{
    return deny(held, m, s, reason, SUBMISSION_THE_CA, p);
}

const scep_err *submission_refused(bool *held, const submission *m, store *s, const char *reason,
                                   apr_pool_t *p)
{
    return deny(held, m, s, reason, SUBMISSION_SCEP_CA, p);
}

/* A row that stays undecided. */
static store_request next_of(const submission *m, const char *state, const char *reason,
                             apr_int64_t next_ask)
{
    store_request to = *m->row;

    to.state = state;
    to.reason = reason;
    to.next_ask = next_ask;
    to.answer = (scep_bytes){ NULL, 0 }; /* the claim is over */
    return to;
}

const scep_err *submission_waits(bool *held, const submission *m, store *s, const char *cookie,
                                 const char *reason, int after, apr_pool_t *p)
{
    store_request to = next_of(m, "waits", reason, seconds_now() + after);

    to.cookie = cookie;
    return turn(held, s, m->row, &to, p);
}

const scep_err *submission_lost(bool *held, const submission *m, store *s, const char *reason,
                                apr_pool_t *p)
{
    const store_request to = next_of(m, "lost", reason, 0);

    return turn(held, s, m->row, &to, p);
}

const scep_err *submission_withheld(bool *held, const submission *m, store *s, const char *reason,
                                    scep_bytes der, apr_pool_t *p)
{
    store_request to = next_of(m, "withheld", reason, 0);

    to.answer = der;
    return turn(held, s, m->row, &to, p);
}

/* Where nothing was sent, all is as it was before the claim: what was kept for it is void.
 * Otherwise a poll that failed leaves what it was; whoever was asked for the first time may have
 * been heard.
 */
const scep_err *submission_again(bool *held, const submission *m, store *s, const char *reason,
                                 int after, bool asked, apr_pool_t *p)
{
    const char *before = m->waited ? "waits" : m->lost ? "asked" : "queued";
    const char *state = !asked ? before : m->polled ? "waits" : "asked";
    store_request to = next_of(m, state, reason, seconds_now() + after);

    if (!asked)
        to.cookie = m->cookie;
    return turn(held, s, m->row, &to, p);
}

/* ---- whom to ask ---- */

const scep_err *submission_queue(store_tx *tx, const store_request *r, const char *by)
{
    store_request to = *r;
    apr_int64_t now = seconds_now();
    bool done;

    to.state = "queued";
    to.by = by;
    to.reason = to.cookie = "";
    to.answer = (scep_bytes){ NULL, 0 };
    to.next_ask = now + REQUEST_HEAD_START;
    SCEP_TRY(store_request_turn(tx, r, &to, now, &done));
    if (!done)
        return scep_fail(store_tx_pool(tx), BAD_CERT_ID,
                         "request %s was decided by somebody else meanwhile, or has expired",
                         r->id);
    return NULL;
}

typedef struct due_job {
    const char *authority;
    int most;
    apr_array_header_t *ids;
} due_job;

static const scep_err *due_in_store(store_tx *tx, void *baton)
{
    due_job *j = baton;

    return store_request_due(tx, j->authority, seconds_now(), j->most, &j->ids);
}

const scep_err *submission_due(apr_array_header_t **ids, store *s, const char *authority, int most,
                               apr_pool_t *p)
{
    due_job j = { .authority = authority, .most = most };

    SCEP_TRY(store_read(s, due_in_store, &j, p));
    *ids = j.ids;
    return NULL;
}

typedef struct look_job {
    const char *id;
    const store_request *found;
} look_job;

static const scep_err *look_in_store(store_tx *tx, void *baton)
{
    look_job *j = baton;

    return store_request_get(tx, j->id, &j->found);
}

const scep_err *submission_look(const store_request **out, store *s, const char *id, apr_pool_t *p)
{
    look_job j = { .id = id };

    SCEP_TRY(store_read(s, look_in_store, &j, p));
    *out = j.found;
    return NULL;
}
