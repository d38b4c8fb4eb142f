/* The office: what an administrator decides. */
#include "office_int.h"

#include "certs.h"
#include "inventory.h"
#include "log.h"
#include "request.h"
#include "submission.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

/* ---- decisions ---- */

typedef struct decision {
    office *o;
    const char *id, *reason, *by;
    apr_pool_t *p;

    const store_request *request;
    const office_endpoint *endpoint; /* NULL: is not served any more */
    const office_authority *authority;
    const conf_template *template;
    transaction *transaction;
    const issued_cert *cert;
    const store_request *given; /* to the CA elsewhere, which has not decided: how it stands */
    bool told;                  /* the policy module hears of it from a clerk */
} decision;

static const scep_err *find_waiting(store_tx *tx, void *baton)
{
    decision *d = baton;

    return request_waiting(tx, d->id, &d->request);
}

static const scep_err *deny_in_store(store_tx *tx, void *baton)
{
    decision *d = baton;

    SCEP_TRY(request_waiting(tx, d->id, &d->request));
    return request_denied(tx, d->request, d->reason, d->by);
}

/* Certificate, inventory, queue and transaction in one job; where somebody else decided while the
 * CA signed, none of it happens and the certificate never leaves. */
static const scep_err *approve_in_store(store_tx *tx, void *baton)
{
    decision *d = baton;

    SCEP_TRY(request_issued(tx, d->request, d->transaction, d->by));
    return inventory_record(tx, d->cert, d->transaction, d->authority->conf->name,
                            d->template->name);
}

static const scep_err *find_rules(decision *d)
{
    const store_request *r = d->request;

    d->endpoint = office_endpoint_find(d->o, r->endpoint);
    d->authority = office_authority_find(d->o, r->authority);
    if (d->authority)
        d->template = conf_template_find(d->authority->conf, r->template_name);
    if (!d->template)
        return scep_fail(d->p, CONFIG,
                         "[authority %s] with template %s, which the request is for, is not in %s "
                         "any more: add it again, or deny the request",
                         r->authority, r->template_name, d->o->conf->path);
    return NULL;
}

const scep_err *office_gone(const store_request *r, apr_pool_t *p)
{
    return scep_fail(p, CONFIG,
                     "endpoint %s, where the request came, is not in httpd's configuration any "
                     "more: add it again, or deny the request",
                     r->endpoint);
}

const scep_err *office_renewal_again(const office *o, const store_request *r, apr_pool_t *p)
{
    const office_endpoint *e = office_endpoint_find(o, r->endpoint);
    renewal_place place;
    renewal_facts facts;
    X509 *old;

    if (!r->old.len)
        return NULL;
    if (!e)
        return office_gone(r, p);
    SCEP_TRY(scep_cert_read(&old, r->old, p));
    place = office_renewal_place(e);
    return renewal_check(&facts, old, &e->authority->trust, &place, o->store, p);
}

static const scep_err *queue_in_store(store_tx *tx, void *baton)
{
    decision *d = baton;

    return submission_queue(tx, d->request, d->by);
}

/* A CA elsewhere is asked by the clerks, and waited for. */
static const scep_err *approve_elsewhere(decision *d)
{
    apr_time_t deadline = apr_time_now() + apr_time_from_sec(d->authority->conf->timeout + 2);
    const store_request *row;

    SCEP_TRY(store_run(d->o->store, queue_in_store, d, d->p));
    /* its row tells what became of it, and the clerk the policy module where it was left alone */
    d->told = !office_remote_ask(d->o, d->authority, d->id, deadline, true, NULL, NULL);
    SCEP_TRY(office_remote_outcome(&d->cert, &row, d->o, d->id, d->p));
    if (d->cert)
        return NULL;
    if (strcmp(row->state, "denied") != 0) {
        d->given = row;
        return NULL;
    }
    if (!d->told)
        office_module_decided(d->endpoint, d->request, NULL, d->p);
    return scep_fail(d->p, REFUSED, "%s", office_denial(row, d->p));
}

static const scep_err *check_stuck(const decision *d)
{
    if (request_is_stuck(d->request))
        return NULL;
    return scep_fail(d->p, BAD_CERT_ID,
                     "request %s is on its way to the CA already (%s); it can be denied", d->id,
                     d->request->state);
}

static const scep_err *approve(decision *d)
{
    scep_csr *csr;

    SCEP_TRY(store_run(d->o->store, find_waiting, d, d->p));
    SCEP_TRY(check_stuck(d));
    SCEP_TRY(find_rules(d));
    SCEP_TRY(office_renewal_again(d->o, d->request, d->p));
    SCEP_TRY(office_sid_again(d->o, d->request, d->p));
    SCEP_TRY(scep_csr_read(&csr, d->request->csr, d->p));
    SCEP_TRY(
        office_module_verify_again(d->endpoint, d->request, apr_time_now() + d->o->timeout, d->p));
    if (d->authority->connector->remote)
        return approve_elsewhere(d);
    SCEP_TRY(office_ask_ca(&d->cert, d->authority, d->template, csr, d->p));
    SCEP_TRY(request_transaction(&d->transaction, d->request, d->p));
    transaction_set_issued(d->transaction, d->cert, d->authority->conf->name);
    return store_run(d->o->store, approve_in_store, d, d->p);
}

static const scep_err *deny(decision *d)
{
    if (!*d->reason)
        return scep_fail(d->p, BAD_REQUEST, "a denial needs a reason");
    return store_run(d->o->store, deny_in_store, d, d->p);
}

static void audit_decision(const decision *d, bool approved, const scep_err *err)
{
    const store_request *r = d->request;

    log_line(LOG_LEVEL_INFO,
             "SCEP0244: %s id=\"%s\" txid=\"%.300s\" verdict=%s code=%s reason=\"%s\" "
             "subject=\"%.300s\" serial=%s by=\"%s\"",
             approved ? "approve" : "deny", d->id, r ? r->transaction_id : "",
             err        ? "failed"
             : d->given ? "given"
             : approved ? "issued"
                        : "denied",
             err ? scep_code_describe(err->code)->name : "OK",
             scep_in_quotes(d->p, err ? err->detail : d->reason, 300), r ? r->subject : "",
             d->cert && !err ? d->cert->serial : "-", d->by);
}

const scep_err *office_decide(scep_wire_done *out, office *o, const scep_wire_decide *in,
                              apr_pool_t *p)
{
    decision d = { .o = o,
                   .id = office_typed(in->id, p),
                   .reason = scep_one_line(p, scep_bytes_of(in->reason), 300),
                   .by = office_typed(in->by, p),
                   .p = p };
    bool approved = in->approve == 1;
    const scep_err *err = approved ? approve(&d) : deny(&d);

    audit_decision(&d, approved, err);
    SCEP_TRY(err);
    if (d.given) {
        out->serial = "";
        out->text = apr_psprintf(p, "request %s was given to the CA%s%s", d.id,
                                 *d.given->reason ? ": " : "", d.given->reason);
        return NULL;
    }
    if (!d.told)
        office_module_decided(office_endpoint_find(o, d.request->endpoint), d.request, d.cert, p);
    out->serial = d.cert ? d.cert->serial : "";
    out->text = d.cert ? apr_psprintf(p, "request %s: certificate %s was issued", d.id, out->serial)
                       : apr_psprintf(p, "request %s was denied", d.id);
    return NULL;
}

/* ---- revocation ---- */

/* As scep_cert_serial() gives it; colons, as openssl writes them, and small letters are taken. */
static const scep_err *serial_read(const char **out, const char *text, apr_pool_t *p)
{
    char *digits = apr_palloc(p, strlen(text) + 2), *at = digits + 1;

    for (const char *c = text; *c; c++) {
        if (*c == ':')
            continue;
        if (!apr_isxdigit(*c))
            return scep_fail(p, BAD_REQUEST, "\"%s\" is no serial number; hex digits are accepted",
                             office_typed(text, p));
        *at++ = (char)apr_toupper(*c);
    }
    *at = '\0';
    *digits = '0';
    at = (at - digits) % 2 ? digits + 1 : digits;
    while (at[0] == '0' && at[1] == '0' && at[2])
        at += 2;
    *out = at;
    if (!*at)
        return scep_fail(p, BAD_REQUEST, "no serial number was given");
    return NULL;
}

/* CRLReason, RFC 5280 5.3.1. What cannot be taken back is not put on hold, and nothing is removed
 * from a CRL that is no delta CRL. */
static const scep_err *reason_check(uint32_t reason, apr_pool_t *p)
{
    if (reason <= 10 && reason != 6 && reason != 7 && reason != 8)
        return NULL;
    return scep_fail(p, BAD_REQUEST,
                     "reason %u is not accepted; 0 to 5, 9 and 10 of RFC 5280 5.3.1 are: a "
                     "revocation is for good",
                     reason);
}

/* A CA elsewhere that wants to hear of it does so first: what it refuses is not revoked. */
static const scep_err *revoke_elsewhere(const office *o, const char *serial,
                                        const scep_wire_revoke *in, apr_pool_t *p)
{
    const store_certificate *found;
    const office_authority *a;

    SCEP_TRY(inventory_look(o->store, in->authority, serial, &found, p));
    a = office_authority_find(o, found->authority);
    if (!a || !a->connector->revoke)
        return NULL;
    return a->connector->revoke(a->connector, found->der, (int)in->reason,
                                deadline_in(apr_time_from_sec(a->conf->timeout)), p);
}

static const scep_err *revoke_one(const store_certificate **out, const office *o,
                                  const scep_wire_revoke *in, apr_pool_t *p)
{
    const char *serial;

    SCEP_TRY(serial_read(&serial, in->serial, p));
    SCEP_TRY(reason_check(in->reason, p));
    SCEP_TRY(revoke_elsewhere(o, serial, in, p));
    return inventory_revoke(o->store, in->authority, serial, (int)in->reason, out, p);
}

const scep_err *office_revoke(scep_wire_done *out, office *o, const scep_wire_revoke *in,
                              crl_progress_fn progress, void *baton, apr_pool_t *p)
{
    const store_certificate *revoked = NULL;
    const office_authority *a;
    const scep_err *err = revoke_one(&revoked, o, in, p);

    log_line(LOG_LEVEL_INFO,
             "SCEP0245: revoke serial=\"%s\" authority=\"%s\" verdict=%s code=%s detail=\"%s\" "
             "reason=%u subject=\"%.300s\" by=\"%s\"",
             err ? office_typed(in->serial, p) : revoked->serial,
             err ? office_typed(in->authority, p) : revoked->authority, err ? "failed" : "revoked",
             err ? scep_code_describe(err->code)->name : "OK",
             err ? scep_in_quotes(p, err->detail, 300) : "", in->reason,
             err ? "" : revoked->subject, office_typed(in->by, p));
    SCEP_TRY(err);
    out->serial = revoked->serial;
    out->text = apr_psprintf(p, "certificate %s was revoked", revoked->serial);
    a = office_authority_find(o, revoked->authority);
    if (a && a->connector->remote && !a->connector->revoke)
        out->text =
            apr_pstrcat(p, out->text, "; the CA was not told: revoke it there as well", NULL);
    if (!a || !a->connector->sign_crl)
        return NULL;
    err = crl_sign(o->store, a->conf, a->connector, progress, baton, p);
    if (!err)
        return NULL;
    /* The revocation stands; chores sign where it is wanted. */
    log_err(LOG_LEVEL_WARN, "SCEP0246", "a CRL was not signed at once", err);
    out->text = apr_psprintf(p, "%s; its CRL is not signed yet: %s", out->text, err->detail);
    return NULL;
}

/* ---- CRLs ---- */

static const scep_err *sign_one(const office *o, const office_authority *a, const char *by,
                                crl_progress_fn progress, void *baton, apr_pool_t *p)
{
    const scep_err *err = crl_sign(o->store, a->conf, a->connector, progress, baton, p);

    log_line(LOG_LEVEL_INFO, "SCEP0247: crl authority=\"%s\" verdict=%s detail=\"%s\" by=\"%s\"",
             a->conf->name, err ? "failed" : "signed",
             err ? scep_in_quotes(p, err->detail, 300) : "", office_typed(by, p));
    return err;
}

const scep_err *office_sign_crl(scep_wire_done *out, office *o, const scep_wire_sign_crl *in,
                                crl_progress_fn progress, void *baton, apr_pool_t *p)
{
    const char *names = "";

    if (*in->authority && !office_authority_find(o, in->authority))
        return scep_fail(p, BAD_REQUEST, "there is no [authority %s] in %s",
                         office_typed(in->authority, p), o->conf->path);
    for (int i = 0; i < o->authorities->nelts; i++) {
        const office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);
        bool wanted =
            *in->authority ? !strcmp(a->conf->name, in->authority) : a->connector->sign_crl != NULL;

        if (!wanted)
            continue;
        SCEP_TRY(sign_one(o, a, in->by, progress, baton, p));
        names = apr_pstrcat(p, names, *names ? ", " : "", a->conf->name, NULL);
    }
    if (!*names)
        return scep_fail(p, CONFIG, "no authority of %s has a CRL that scep-ca signs",
                         o->conf->path);
    out->serial = "";
    out->text = apr_psprintf(p, "CRL signed: %s", names);
    return NULL;
}
