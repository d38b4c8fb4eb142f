/* The office: one enrolment from the CSR to the committed certificate. */
#include "office.h"

#include "certs.h"
#include "clock.h"
#include "inventory.h"
#include "issue.h"
#include "log.h"
#include "message.h"
#include "policy.h"
#include "template.h"
#include "transaction.h"

#include <apr_strings.h>
#include <string.h>

/* One text for all of them, so that the log tells no more than the device learns. A challenge that
 * comes a second time may have been stolen: RFC 8894 7.3 wants it noticed. */
#define NOT_FRESH "the challenge password is unknown, used or expired; it may have been stolen"

/* What is known of a request by and by. */
typedef struct enrolment {
    office *o;
    const scep_wire_enrol *in;
    apr_time_t deadline;
    apr_pool_t *p;

    office_endpoint *endpoint;
    scep_csr *csr;
    const conf_template *template;
    bool enforced;              /* EnforcePassword */
    const char *challenge_hash; /* NULL: none was sent, or none is required */
    transaction *transaction;
    const scep_err *conflict; /* the transactionID belongs to another key */
    bool challenge_good;
    bool uses_challenge;
    X509 *cert;             /* that was made for this request */
    bool repeated;          /* the answer was there already */
    scep_bytes certificate; /* the answer */
} enrolment;

/* Job: is the answer there already, and would the challenge be good? */
static const scep_err *look_up(store_tx *tx, void *baton)
{
    enrolment *e = baton;
    const scep_err *err = transaction_find(tx, e->transaction, &e->certificate);

    e->conflict = err && err->code == SCEP_REFUSED ? err : NULL;
    if (err && !e->conflict)
        return err;
    if (e->certificate.len || !e->challenge_hash)
        return NULL;
    return challenge_check(tx, e->endpoint->name, e->challenge_hash, &e->challenge_good);
}

/* Job: a challenge is used up exactly when its certificate exists. Recording comes first: where
 * the same request was answered by another node meanwhile, nothing at all changes. */
static const scep_err *settle(store_tx *tx, void *baton)
{
    enrolment *e = baton;
    bool done = false;

    SCEP_TRY(transaction_record(tx, e->transaction, &done));
    e->repeated = !done;
    if (!done)
        return NULL;
    if (e->uses_challenge)
        SCEP_TRY(challenge_use(tx, e->endpoint->name, e->challenge_hash));
    return inventory_record(tx, e->cert, e->transaction, e->endpoint->authority->conf->name,
                            e->template->name);
}

static const scep_err *judge(enrolment *e)
{
    policy_facts facts = {
        .message_type = (int)e->in->message_type,
        .csr = e->csr,
        .template = e->template,
        .enforce_password = e->enforced,
        .challenge_good = e->challenge_good,
        .minimum_hash_bits = scep_settings_hash_bits(&e->endpoint->settings, SCEP_SET_MinimumHash),
    };
    policy_verdict verdict = policy_judge(&facts, e->p);

    if (verdict.outcome != POLICY_GRANT)
        return scep_err_make(e->p, verdict.code, __FILE__, __LINE__, "%s", verdict.reason);
    e->uses_challenge = verdict.uses_challenge;
    return NULL;
}

static const scep_err *submit(enrolment *e)
{
    connector *c = e->endpoint->authority->connector;
    connector_answer answer = { 0 };

    if (apr_time_now() > e->deadline)
        return scep_fail(e->p, UNAVAILABLE, "the request waited until its deadline was over");
    SCEP_TRY(c->submit(&answer, c, e->template, e->csr, e->p));
    switch (answer.outcome) {
    case CONNECTOR_DENIED:
        return scep_fail(e->p, REFUSED, "the CA denied: %s", answer.reason);
    case CONNECTOR_PENDING:
        return scep_fail(e->p, UNAVAILABLE, "the CA has put the request off");
    case CONNECTOR_ISSUED:
        break;
    }
    /* whatever a CA sends, a device gets a certificate for its own key only. */
    if (EVP_PKEY_eq(X509_get0_pubkey(answer.cert), e->csr->key) != 1)
        return scep_fail(e->p, UNAVAILABLE, "the CA returned a certificate for another key");
    e->cert = answer.cert;
    e->transaction->row.authority = e->endpoint->authority->conf->name;
    e->transaction->row.serial = scep_cert_serial(e->cert, e->p);
    e->transaction->row.created = apr_time_sec(scep_now());
    return issue_seconds(&e->transaction->row.ends, X509_get0_notAfter(e->cert), e->p);
}

/* With the reservation held. */
static const scep_err *decide(enrolment *e)
{
    SCEP_TRY(store_run(e->o->store, look_up, e, e->p));
    e->repeated = e->certificate.len > 0;
    if (e->repeated)
        return NULL;
    SCEP_TRY(judge(e));
    /* Not before: without a good challenge nobody learns which transactionIDs there are. */
    if (e->conflict)
        return e->conflict;
    SCEP_TRY(submit(e));
    SCEP_TRY(store_run(e->o->store, settle, e, e->p));
    if (!e->repeated)
        return scep_cert_der(&e->certificate, e->cert, e->p);
    SCEP_TRY(store_run(e->o->store, look_up, e, e->p));
    if (!e->certificate.len)
        return scep_fail(e->p, UNAVAILABLE, "the answer of the same request is gone");
    return NULL;
}

static const scep_err *enrol(enrolment *e)
{
    const scep_err *err;

    e->endpoint = office_endpoint_find(e->o, e->in->endpoint);
    if (!e->endpoint)
        return scep_fail(e->p, REFUSED, "there is no endpoint \"%s\"",
                         scep_printable(e->p, scep_bytes_of(e->in->endpoint), 80));
    /* A remembered answer, too, is for PKCSReq only; policy says the same of new ones. */
    if (e->in->message_type != SCEP_PKCS_REQ)
        return scep_fail(e->p, BAD_REQUEST, "messageType %u is not served; 19 (PKCSReq) is",
                         e->in->message_type);
    SCEP_TRY(scep_csr_read(&e->csr, e->in->csr, e->p));
    e->template =
        template_pick(e->endpoint->authority->conf, &e->endpoint->settings, e->csr->key_usage);
    if (!e->template)
        return scep_fail(e->p, CONFIG, "the endpoint's template is not there");
    e->enforced = scep_settings_flag(&e->endpoint->settings, SCEP_SET_EnforcePassword);
    if (e->enforced && e->csr->challenge.len)
        SCEP_TRY(challenge_hash(&e->challenge_hash, e->o->key, e->endpoint->name, e->csr->challenge,
                                e->p));
    SCEP_TRY(
        transaction_make(&e->transaction, e->endpoint->name, e->in->transaction_id, e->csr, e->p));
    SCEP_TRY(reservation_take(e->o->reservations, e->challenge_hash, e->transaction->owner,
                              e->deadline, e->p));
    err = decide(e);
    reservation_drop(e->o->reservations, e->challenge_hash, e->transaction->owner);
    return err;
}

/* Was anything decided about the request, or is it the world that failed? */
static bool is_refusal(scep_code code)
{
    return code != SCEP_UNAVAILABLE && code != SCEP_INTERNAL && code != SCEP_CONFIG;
}

/* At most 300 characters of what the device sent, so that the line stays whole. */
static const char *subject_of(const enrolment *e)
{
    const char *line = e->csr ? scep_name_line(X509_REQ_get_subject_name(e->csr->req), e->p) : "";

    return strlen(line) <= 300 ? line
                               : apr_pstrcat(e->p, apr_pstrndup(e->p, line, 300), "...", NULL);
}

/* Of the certificate that leaves, which is not the one that was made where another came first. */
static const char *serial_of(const enrolment *e)
{
    X509 *cert = e->cert;

    if (!e->certificate.len || (e->repeated && scep_cert_read(&cert, e->certificate, e->p)))
        return "-";
    return scep_cert_serial(cert, e->p);
}

static void audit(const enrolment *e, const scep_wire_verdict *verdict, apr_time_t begin)
{
    static const char *const words[] = { "", "issued", "pending", "refused", "later" };
    bool issued = verdict->status == SCEP_STATUS_ISSUED;

    log_line(LOG_LEVEL_INFO,
             "SCEP0240: enrol txid=\"%s\" endpoint=\"%s\" verdict=%s code=%s reason=\"%s\" "
             "subject=\"%s\" serial=%s template=%s from=\"%s\" ms=%" APR_TIME_T_FMT,
             scep_printable(e->p, e->in->transaction_id, 64),
             scep_printable(e->p, scep_bytes_of(e->in->endpoint), 80),
             issued && e->repeated ? "repeated" : words[verdict->status],
             issued ? "OK" : scep_code_describe((int)verdict->code)->name,
             scep_printable(e->p, scep_bytes_of(verdict->detail), 300), subject_of(e),
             issued ? serial_of(e) : "-", e->template ? e->template->name : "-",
             scep_printable(e->p, scep_bytes_of(e->in->peer), 64),
             apr_time_as_msec(apr_time_now() - begin));
}

void office_enrol(scep_wire_verdict *out, office *o, const scep_wire_enrol *in, apr_time_t deadline,
                  apr_pool_t *p)
{
    enrolment e = { .o = o, .in = in, .deadline = deadline, .p = p };
    apr_time_t begin = apr_time_now();
    const scep_err *err = enrol(&e);

    *out = (scep_wire_verdict){ .status = SCEP_STATUS_ISSUED, .detail = "" };
    if (e.endpoint)
        out->generation = e.endpoint->authority->generation;
    if (err) {
        out->status = is_refusal(err->code) ? SCEP_STATUS_REFUSED : SCEP_STATUS_LATER;
        out->code = (uint32_t)err->code;
        out->detail = err->code == SCEP_CHALLENGE ? NOT_FRESH : err->detail;
    } else {
        out->certificate = e.certificate;
    }
    if (out->status == SCEP_STATUS_LATER)
        log_err(LOG_LEVEL_ERROR, "SCEP0242", "an enrolment is put off", err);
    audit(&e, out, begin);
}
