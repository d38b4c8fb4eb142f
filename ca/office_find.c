/* The office: what was asked before, and what is in the inventory. */
#include "office_int.h"

#include "certs.h"
#include "log.h"
#include "message.h"

#include <string.h>

/* ---- poll: RFC 8894 3.3.3, 4.4 ---- */

typedef struct poll_job {
    const transaction *transaction;
    long minutes; /* SCEPCacheRequest */
    bool module;  /* is to be told what it delivers */
    transaction_answer answer;
    const store_request *waited; /* where a module is to be told, or why it was denied; NULL: not
                                    kept */
} poll_job;

static const scep_err *poll_in_store(store_tx *tx, void *baton)
{
    poll_job *j = baton;

    j->waited = NULL;
    SCEP_TRY(transaction_poll(tx, j->transaction, j->minutes, &j->answer));
    if (j->answer.state != TRANSACTION_DENIED &&
        !(j->module && j->answer.state == TRANSACTION_ISSUED && *j->answer.request))
        return NULL;
    return store_request_get(tx, j->answer.request, &j->waited);
}

/* A certificate leaves here that the module may not have heard of. A CertPoll brings no challenge,
 * and without it the module cannot know whether another certificate was had by the same one. */
static const scep_err *tell_module(const application *a, const store_request *waited)
{
    if (!waited)
        return scep_fail(a->p, BAD_CERT_ID,
                         "the request is not kept, so that the policy module cannot be told of it; "
                         "the device gets its certificate by sending the request itself again");
    return office_module_delivered(a, waited);
}

/* One answer for a transactionID that there is not and for one of another key: S-22. */
static const scep_err *poll(application *a)
{
    poll_job j = { 0 };

    SCEP_TRY(office_endpoint_wanted(&a->endpoint, a->o, a->endpoint_name, a->p));
    SCEP_TRY(transaction_make(&a->transaction, a->endpoint->name, a->transaction_id, a->key_hash,
                              NULL, a->p));
    j.transaction = a->transaction;
    j.module = a->endpoint->module != NULL;
    j.minutes = scep_settings_number(&a->endpoint->settings, SCEP_SET_CacheRequest);
    SCEP_TRY(store_read(a->o->store, poll_in_store, &j, a->p));
    a->answer = j.answer;
    if (a->answer.state == TRANSACTION_NEW)
        return scep_fail(a->p, BAD_CERT_ID, "no request of this transactionID and key is known");
    if (a->answer.state == TRANSACTION_DENIED)
        return scep_fail(a->p, REFUSED, "%s", office_denial(j.waited, a->p));
    return j.module && a->answer.state == TRANSACTION_ISSUED ? tell_module(a, j.waited) : NULL;
}

void office_poll(scep_wire_verdict *out, office *o, const scep_wire_poll *in, apr_time_t deadline,
                 apr_pool_t *p)
{
    application a = {
        .o = o,
        .verb = "poll",
        .endpoint_name = in->endpoint,
        .peer = in->peer,
        .transaction_id = in->transaction_id,
        .message_type = SCEP_CERT_POLL,
        .begin = apr_time_now(),
        .deadline = deadline,
        .key_hash = in->key_hash,
        .p = p,
    };
    const scep_err *err = poll(&a);

    office_answer(out, &a, err);
}

/* ---- find: RFC 8894 2.6, 2.7, 3.3.4, 3.3.5 ---- */

/* The two authorities that an endpoint may be asked about: its own, and the one that takes over. */
#define AUTHORITIES 2

/* What a verdict has room for, beside its other words. */
#define CRL_MOST (SCEP_WIRE_MAX - 4096)

typedef struct search {
    office *o;
    const scep_wire_find *in;
    apr_pool_t *p;

    office_endpoint *endpoint;
    X509 *signer;
    const office_authority *named[AUTHORITIES]; /* whose name the request says; the rest NULL */
    const store_certificate *found;
    const office_authority *of; /* where it was found */
    scep_bytes crl;
} search;

static X509 *ca_of(const office_authority *a)
{
    return sk_X509_value(a->connector->chain, 0);
}

static const scep_err *check_switch(const search *s)
{
    bool cert = s->in->message_type == SCEP_GET_CERT;

    if (!cert && s->in->message_type != SCEP_GET_CRL)
        return scep_fail(s->p, BAD_REQUEST, "messageType %u is neither GetCert nor GetCRL",
                         s->in->message_type);
    if (!scep_settings_flag(&s->endpoint->settings, cert ? SCEP_SET_GetCert : SCEP_SET_GetCRL))
        return scep_fail(s->p, BAD_REQUEST, "%s is off", cert ? "GetCert" : "GetCRL");
    return NULL;
}

/* This is not a general-purpose directory (RFC 8894 2.6): only a holder of one of the CA's good
 * certificates may ask, and those of renewal_ca are not the CA's. */
static const scep_err *check_signer(search *s)
{
    const office_authority *own = s->endpoint->authority;
    STACK_OF(X509) *issuers = scep_borrowed_stack(s->p);
    const renewal_trust trust = { .issuers = issuers,
                                  .foreign = own->trust.foreign,
                                  .elsewhere = own->trust.elsewhere };
    renewal_facts facts;

    if (scep_cert_read(&s->signer, s->in->signer, s->p))
        return scep_fail(s->p, REFUSED, "the signer's certificate cannot be read");
    if (!sk_X509_push(issuers, ca_of(own)) ||
        (own->next && !sk_X509_push(issuers, ca_of(own->next))))
        return scep_fail(s->p, INTERNAL, "out of memory");
    return renewal_check(&facts, s->signer, &trust, NULL, s->o->store, s->p);
}

/* The CA's name; for a CRL also the CA's own certificate, as some clients name that. */
static bool is_named(const search *s, const office_authority *a, const X509_NAME *issuer)
{
    X509 *ca = ca_of(a);

    if (X509_NAME_cmp(issuer, X509_get_subject_name(ca)) == 0)
        return true;
    return s->in->message_type == SCEP_GET_CRL &&
           X509_NAME_cmp(issuer, X509_get_issuer_name(ca)) == 0 &&
           !strcmp(s->in->serial, scep_cert_serial(ca, s->p));
}

static const scep_err *find_authorities(search *s)
{
    const office_authority *own = s->endpoint->authority;
    const unsigned char *at = s->in->issuer.data;
    X509_NAME *issuer = NULL;
    int n = 0;

    if (s->in->issuer.len && s->in->issuer.len <= SCEP_WIRE_MAX)
        issuer = scep_X509_NAME(s->p, d2i_X509_NAME(NULL, &at, (long)s->in->issuer.len));
    if (issuer && is_named(s, own, issuer))
        s->named[n++] = own;
    if (issuer && own->next && is_named(s, own->next, issuer))
        s->named[n++] = own->next;
    return n ? NULL : scep_fail(s->p, BAD_CERT_ID, "the issuer that is named is not the CA");
}

/* Job: a CA and its successor may have one name. */
static const scep_err *find_in_store(store_tx *tx, void *baton)
{
    search *s = baton;

    s->found = NULL;
    for (int i = 0; i < AUTHORITIES && s->named[i] && !s->found; i++) {
        SCEP_TRY(store_certificate_get(tx, s->named[i]->conf->name, s->in->serial, &s->found));
        s->of = s->named[i];
    }
    return NULL;
}

static const scep_err *find_crl(search *s)
{
    /* for a certificate that is not there, the CA's that is named first */
    if (!s->found)
        s->of = s->named[0];
    SCEP_TRY(crl_get(&s->crl, s->o->store, s->of->conf->name, s->p));
    if (!s->crl.len)
        return scep_fail(s->p, BAD_REQUEST, "authority %s has no CRL; crl_file makes one",
                         s->of->conf->name);
    if (s->crl.len > CRL_MOST)
        return scep_fail(s->p, BAD_REQUEST,
                         "the CRL of authority %s has %lu bytes, an answer holds %lu: devices get "
                         "it from where crl_url says",
                         s->of->conf->name, (unsigned long)s->crl.len, (unsigned long)CRL_MOST);
    return NULL;
}

static const scep_err *find(search *s)
{
    SCEP_TRY(office_endpoint_wanted(&s->endpoint, s->o, s->in->endpoint, s->p));
    SCEP_TRY(check_switch(s));
    SCEP_TRY(check_signer(s));
    SCEP_TRY(find_authorities(s));
    SCEP_TRY(store_read(s->o->store, find_in_store, s, s->p));
    if (s->in->message_type == SCEP_GET_CRL)
        return find_crl(s);
    if (!s->found)
        return scep_fail(s->p, BAD_CERT_ID, "no certificate of that serial number was issued");
    return NULL;
}

static void audit(const search *s, const scep_wire_verdict *verdict)
{
    static const char *const words[] = { "", "found", "", "refused", "later" };

    log_line(LOG_LEVEL_INFO,
             "SCEP0243: find %s txid=\"%s\" endpoint=\"%s\" verdict=%s code=%s reason=\"%s\" "
             "serial=\"%s\" by=%s from=\"%s\"",
             s->in->message_type == SCEP_GET_CRL ? "crl" : "certificate",
             scep_printable(s->p, s->in->transaction_id, 64),
             scep_printable(s->p, scep_bytes_of(s->in->endpoint), 80), words[verdict->status],
             verdict->code ? scep_code_describe((int)verdict->code)->name : "OK",
             scep_in_quotes(s->p, verdict->detail, 300),
             scep_printable(s->p, scep_bytes_of(s->in->serial), 80),
             s->signer ? scep_cert_serial(s->signer, s->p) : "-",
             scep_printable(s->p, scep_bytes_of(s->in->peer), 64));
}

void office_find(scep_wire_verdict *out, office *o, const scep_wire_find *in, apr_pool_t *p)
{
    search s = { .o = o, .in = in, .p = p };
    const scep_err *err = find(&s);

    *out = (scep_wire_verdict){ .status = SCEP_STATUS_ISSUED, .detail = "" };
    if (s.endpoint)
        out->generation = office_generation(s.endpoint);
    if (err) {
        office_verdict_fail(out, err);
    } else {
        out->crl = s.crl;
        out->certificate = s.crl.len ? out->certificate : s.found->der;
        out->authority = s.of->conf->name;
    }
    audit(&s, out);
}
