/* The office: authorities whose CA is elsewhere. */
#include "office_int.h"

#include "log.h"

#include <apr_strings.h>
#include <string.h>

/* ---- clerks ---- */

/* A clerk's own line: whoever asked for it has left with "pending". */
static void tell(void *baton, const clerks_news *news, apr_pool_t *p)
{
    const office *o = baton;
    const store_request *row = news->row;
    bool decided = !strcmp(news->verdict, "issued") || !strcmp(news->verdict, "denied");

    log_line(LOG_LEVEL_INFO,
             "SCEP0250: ask id=\"%s\" txid=\"%.300s\" endpoint=\"%s\" verdict=%s reason=\"%s\" "
             "subject=\"%.300s\" serial=%s authority=\"%s\" template=%s ms=%" APR_TIME_T_FMT,
             row->id, row->transaction_id, row->endpoint, news->verdict,
             scep_in_quotes(p, news->reason, 300), row->subject,
             news->cert ? news->cert->serial : "-", row->authority, row->template_name,
             apr_time_as_msec(news->took));
    if (decided)
        office_module_decided(office_endpoint_find(o, row->endpoint), row, news->cert, p);
}

/* How long a module may take. */
#define JUDGING apr_time_from_sec(10)

/* What waited in the queue was judged when it came. */
static const scep_err *judge(void *baton, const store_request *row, apr_pool_t *p)
{
    const office *o = baton;

    SCEP_TRY(office_renewal_again(o, row, p));
    SCEP_TRY(office_sid_again(o, row, p));
    return office_module_verify_again(office_endpoint_find(o, row->endpoint), row,
                                      apr_time_now() + JUDGING, p);
}

const scep_err *office_programs(const office *o, const char *exec_user, apr_pool_t *p)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        connector *c = APR_ARRAY_IDX(o->authorities, i, office_authority *)->connector;

        if (c->may_run)
            SCEP_TRY(c->may_run(c, exec_user, p));
    }
    return NULL;
}

const scep_err *office_connect(office *o, runner *r, apr_pool_t *p)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        connector *c = APR_ARRAY_IDX(o->authorities, i, office_authority *)->connector;

        if (c->start)
            SCEP_TRY(c->start(c, r, p));
    }
    return NULL;
}

const scep_err *office_clerks_start(office *o, apr_pool_t *p)
{
    bool wanted = false;

    SCEP_TRY(clerks_make(&o->clerks, o->store, tell, judge, o, p));
    for (int i = 0; i < o->authorities->nelts; i++) {
        const office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);

        if (!a->connector->remote)
            continue;
        SCEP_TRY(clerks_add(o->clerks, a->conf, a->connector, p));
        wanted = true;
    }
    return wanted ? clerks_start(o->clerks, p) : NULL;
}

bool office_clerks_stop(office *o, apr_interval_time_t within)
{
    return !o->clerks || clerks_stop(o->clerks, within);
}

void office_clerks_leave(const office *o)
{
    if (o->clerks)
        clerks_leave(o->clerks);
}

const scep_err *office_remote_ready(const office *o, const office_authority *a, apr_pool_t *p)
{
    if (!o->clerks)
        return scep_fail(p, UNAVAILABLE, "nobody asks the CA of [authority %s] here",
                         a->conf->name);
    return clerks_ready(o->clerks, a->conf->name, p);
}

bool office_remote_ask(const office *o, const office_authority *a, const char *id,
                       apr_time_t deadline, bool patient, clerks_leave_fn leaves, void *baton)
{
    return o->clerks && clerks_ask(o->clerks, a->conf->name, id, deadline, patient, leaves, baton);
}

/* ---- what an administrator lets go on ---- */

typedef struct certificate_job {
    const store_request *row;
    const store_certificate *found;
} certificate_job;

static const scep_err *find_certificate(store_tx *tx, void *baton)
{
    certificate_job *j = baton;

    return store_certificate_get(tx, j->row->authority, j->row->serial, &j->found);
}

static const scep_err *certificate_of(const issued_cert **out, const office *o,
                                      const store_request *row, apr_pool_t *p)
{
    certificate_job j = { .row = row };
    issued_cert *cert = apr_pcalloc(p, sizeof(*cert));

    SCEP_TRY(store_read(o->store, find_certificate, &j, p));
    if (!j.found)
        return scep_fail(p, INTERNAL, "certificate %s is not in the inventory", row->serial);
    cert->der = j.found->der;
    cert->serial = row->serial;
    cert->subject = j.found->subject;
    *out = cert;
    return NULL;
}

const scep_err *office_remote_outcome(const issued_cert **out, const store_request **row,
                                      const office *o, const char *id, apr_pool_t *p)
{
    *out = NULL;
    SCEP_TRY(submission_look(row, o->store, id, p));
    if (!*row)
        return scep_fail(p, BAD_CERT_ID, "there is no request %s any more", id);
    if (!strcmp((*row)->state, "issued"))
        return certificate_of(out, o, *row, p);
    return NULL;
}

const char *office_denial(const store_request *row, apr_pool_t *p)
{
    if (row && !strcmp(row->by, SUBMISSION_THE_CA))
        return apr_psprintf(p, "the CA denied: %s", *row->reason ? row->reason : "no reason given");
    if (row && !strcmp(row->by, SUBMISSION_SCEP_CA))
        return row->reason;
    return "denied by the administrator";
}
