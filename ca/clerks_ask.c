/* One ask: claimed, asked, checked, settled. */
#include "clerks_int.h"

#include "log.h"
#include "received.h"

#include <apr_strings.h>
#include <string.h>

/* A claim lasts longer than an ask may, by what it takes to settle it: the store is patient for as
 * long, where it runs a job once more. */
#define SETTLING 30
/* Likewise where the request is judged before, besides what the directory may take. */
#define JUDGING 15
/* Nobody else has what a CA has answered, so that a store that is away is waited for. Whether the
 * claim is ours still is looked at each time. */
#define UNSETTLED apr_time_from_sec(60)
#define PAUSE apr_time_from_sec(1)
/* An ask that failed is made again after so long, or when the breaker lets it. */
#define AGAIN 10
/* Likewise where an administrator has something to mend: a CA may keep a record of each. */
#define MENDED 300
/* Words of a CA, kept and logged. */
#define REASON_MOST 300

typedef struct asking {
    const window *w;
    submission *m;
    apr_pool_t *p;
    clerks_asked *out;
} asking;

static const char *words(const char *reason, apr_pool_t *p)
{
    return reason ? scep_one_line(p, scep_bytes_of(reason), REASON_MOST) : "";
}

static const scep_err *keep(void *baton, const char *cookie, apr_pool_t *p)
{
    asking *a = baton;
    const scep_err *err = submission_keep(a->m, a->w->all->store, cookie, a->p);

    return err ? scep_err_make(p, err->code, err->file, err->line, "%s", err->detail) : NULL;
}

static const scep_err *submit(connector_answer *answer, const scep_csr **csr, asking *a)
{
    const store_request *row = a->m->row;
    connector_ask ask = {
        .template = conf_template_find(a->w->conf, row->template_name),
        .id = row->id,
        .cookie = row->cookie,
        .lost = a->m->lost,
        .until = deadline_in(apr_time_from_sec(a->w->conf->timeout)),
        .keep = keep,
        .baton = a,
    };
    scep_csr *read;
    const scep_err *err;

    if (!ask.template)
        return scep_fail(a->p, INTERNAL,
                         "[authority %s] has no template %s any more: add it again, or deny the "
                         "request",
                         a->w->conf->name, row->template_name);
    SCEP_TRY(scep_csr_read(&read, row->csr, a->p));
    ask.csr = *csr = read;
    err = a->w->connector->submit(answer, a->w->connector, &ask, a->p);
    /* what is wrong with one template or account says nothing about the CA */
    a->out->tried = !err || err->code == SCEP_UNAVAILABLE;
    a->out->fault = a->out->tried ? err : NULL;
    return err;
}

/* ---- what came ---- */

static void news(asking *a, const char *verdict, const char *reason)
{
    a->out->news.verdict = verdict;
    a->out->news.reason = reason;
}

static const scep_err *withhold(bool *held, asking *a, scep_bytes der, const char *why)
{
    const store_request *row = a->m->row;

    news(a, "withheld", why);
    SCEP_TRY(submission_withheld(held, a->m, a->w->all->store, why, der, a->p));
    if (*held)
        log_line(LOG_LEVEL_ERROR,
                 "SCEP0254: [authority %s] sent a certificate that is withheld, request %s "
                 "subject=\"%.300s\": %s",
                 a->w->conf->name, row->id, row->subject, why);
    return NULL;
}

static const scep_err *issued(bool *held, asking *a, scep_bytes der, const scep_csr *csr)
{
    const issued_cert *cert;
    const scep_err *err = received_check(&cert, der, a->w->connector, csr, a->p);

    if (!err) {
        a->out->news.cert = cert;
        news(a, "issued", "");
        err = submission_issued(held, a->m, a->w->all->store, cert, a->p);
    }
    if (!err || err->code != SCEP_REFUSED)
        return err;
    a->out->news.cert = NULL;
    return withhold(held, a, der, words(err->detail, a->p));
}

/* Why it was asked before and not heard is what an administrator looks for at the CA. */
static const char *with_cause(const asking *a, const char *why)
{
    const char *cause = a->m->row->reason;

    return a->m->lost && *cause ? apr_psprintf(a->p, "%s; before that: %s", why, cause) : why;
}

static const scep_err *lost(bool *held, asking *a, const char *reason)
{
    const store_request *row = a->m->row;
    const char *why = with_cause(a, reason);

    news(a, "lost", why);
    SCEP_TRY(submission_lost(held, a->m, a->w->all->store, why, a->p));
    if (*held)
        log_line(LOG_LEVEL_ERROR,
                 "SCEP0255: [authority %s] may have issued a certificate that nobody got, request "
                 "%s subject=\"%.300s\": %s",
                 a->w->conf->name, row->id, row->subject, why);
    return NULL;
}

static const scep_err *waits(bool *held, asking *a, const connector_answer *answer)
{
    int after = answer->after > 0 ? answer->after : a->w->conf->poll;
    const char *reason = words(answer->reason, a->p);
    const char *cookie = answer->cookie ? answer->cookie : "";

    if (strlen(cookie) > CONNECTOR_COOKIE_MOST)
        return lost(held, a, "what it wants to be asked with is too long to be kept");
    /* of a poll that changed nothing nobody is told */
    if (!a->m->polled)
        news(a, "waits", reason);
    return submission_waits(held, a->m, a->w->all->store, cookie, reason, after, a->p);
}

static const scep_err *settle(bool *held, asking *a, const connector_answer *answer,
                              const scep_csr *csr)
{
    const char *reason = words(answer->reason, a->p);

    switch (answer->outcome) {
    case CONNECTOR_ISSUED:
        return issued(held, a, answer->der, csr);
    case CONNECTOR_PENDING:
        return waits(held, a, answer);
    case CONNECTOR_LOST:
        a->out->tried = false; /* it says nothing about how the CA is now */
        return lost(held, a, reason);
    case CONNECTOR_DENIED:
        break;
    }
    news(a, "denied", reason);
    return submission_denied(held, a->m, a->w->all->store, reason, a->p);
}

static void say_again(const asking *a, const scep_err *err, bool asked)
{
    log_line(err->code == SCEP_UNAVAILABLE ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR,
             "SCEP0253: [authority %s] is asked again about request %s, the CA %s: %s",
             a->w->conf->name, a->m->row->id, asked ? "may have got it" : "did not get it",
             words(err->detail, a->p));
}

static const scep_err *again(bool *held, asking *a, const scep_err *err, bool asked)
{
    return submission_again(held, a->m, a->w->all->store, words(err->detail, a->p),
                            err->code == SCEP_UNAVAILABLE ? AGAIN : MENDED, asked, a->p);
}

/* ---- what is asked about ---- */

/* Refused by what holds now. */
static const scep_err *refuse(bool *held, asking *a, const scep_err *why)
{
    const char *reason = words(why->detail, a->p);

    news(a, "denied", reason);
    return submission_refused(held, a->m, a->w->all->store, reason, a->p);
}

/* Whoever waited has judged it just now. What a CA may have heard of is its to decide. */
static bool is_judged(const asking *a, bool waited)
{
    return waited || a->m->lost || a->m->polled || *a->m->row->cookie;
}

static const scep_err *judge(const asking *a, bool waited)
{
    const clerks *c = a->w->all;

    return is_judged(a, waited) ? NULL : c->judge(c->baton, a->m->row, a->p);
}

static bool is_no_answer(const scep_err *err)
{
    return err->code == SCEP_UNAVAILABLE || err->code == SCEP_CONFIG || err->code == SCEP_INTERNAL;
}

typedef struct outcome {
    const scep_err *refused, *failed;
    connector_answer answer;
    const scep_csr *csr;
} outcome;

static void decide(outcome *o, asking *a, bool waited)
{
    const scep_err *err = judge(a, waited);

    if (err && !is_no_answer(err))
        o->refused = err;
    else
        o->failed = err ? err : submit(&o->answer, &o->csr, a);
    if (o->failed)
        say_again(a, o->failed, o->answer.asked);
}

static const scep_err *settle_once(bool *held, asking *a, const outcome *o)
{
    if (o->refused)
        return refuse(held, a, o->refused);
    if (o->failed)
        return again(held, a, o->failed, o->answer.asked);
    return settle(held, a, &o->answer, o->csr);
}

static const scep_err *settle_patiently(bool *held, asking *a, const outcome *o)
{
    const moment until = deadline_in(UNSETTLED);
    const scep_err *err;

    while ((err = settle_once(held, a, o)) != NULL && err->code == SCEP_UNAVAILABLE &&
           deadline_left(until) > 0)
        apr_sleep(PAUSE);
    return err;
}

/* What the CA said, or a certificate of it, is not recorded. */
static void unheld(const asking *a, const scep_err *err)
{
    const clerks_news *n = &a->out->news;

    log_line(LOG_LEVEL_ERROR,
             "SCEP0256: [authority %s]: what the CA answered to request %s is not recorded "
             "(verdict=%s serial=%s): %s",
             a->w->conf->name, a->m->row->id, n->verdict ? n->verdict : "later",
             n->cert ? n->cert->serial : "-",
             err ? err->detail : "another node asks, or it was decided or expired meanwhile");
}

void clerks_work(clerks_asked *out, const window *w, const char *id, bool waited, apr_pool_t *p)
{
    asking a = { .w = w, .p = p, .out = out };
    outcome o = { .refused = NULL };
    moment begin = deadline_in(0);
    int judging = JUDGING + (w->conf->directory ? w->conf->directory->timeout : 0);
    int seconds = w->conf->timeout + SETTLING + (waited ? 0 : judging);
    bool held = false;
    const scep_err *err = submission_claim(&a.m, w->all->store, id, seconds, p);

    if (err) {
        log_line(LOG_LEVEL_WARN, "SCEP0257: [authority %s]: request %s is not asked about now: %s",
                 w->conf->name, id, err->detail);
        return;
    }
    if (!a.m)
        return;
    decide(&o, &a, waited);
    out->news.row = a.m->row;
    out->news.reason = "";
    err = settle_patiently(&held, &a, &o);
    out->news.took = deadline_in(0).at - begin.at;
    if (err || !held) {
        unheld(&a, err);
        out->news.verdict = NULL;
    }
}
