/* The office: the way that enrolments and renewals share, from the CSR to the committed answer. */
#include "office_int.h"

#include "certs.h"
#include "clock.h"
#include "inventory.h"
#include "issue.h"
#include "log.h"
#include "policy.h"
#include "request.h"
#include "single.h"

#include <apr_strings.h>
#include <string.h>

/* One text for all of them, so that the log tells no more than the device learns. A challenge that
 * comes a second time may have been stolen: RFC 8894 7.3 wants it noticed. */
#define NOT_FRESH "the challenge password is unknown, used or expired; it may have been stolen"

/* Job: is the answer there already, and would the challenge be good? */
static const scep_err *look_up(store_tx *tx, void *baton)
{
    application *a = baton;
    const scep_err *err;

    a->answer = (transaction_answer){ .state = TRANSACTION_NEW };
    err = transaction_find(tx, a->transaction, &a->answer);
    a->conflict = err && err->code == SCEP_REFUSED ? err : NULL;
    if (err && !a->conflict)
        return err;
    a->denied = NULL;
    if (a->answer.state == TRANSACTION_DENIED)
        return store_request_get(tx, a->answer.request, &a->denied);
    if (a->answer.state != TRANSACTION_NEW || !a->challenge_hash || a->endpoint->module)
        return NULL;
    if (a->single)
        return single_password_check(tx, a->endpoint->name, a->challenge_hash, &a->challenge_good);
    return challenge_check(tx, a->endpoint->name, a->challenge_hash, &a->challenge_good, &a->bound);
}

/* A single password is for all devices; it may have been taken back while the CA signed. */
static const scep_err *use_challenge(store_tx *tx, const application *a)
{
    bool good;

    /* A policy module uses its own up, when it is told of the certificate. */
    if (!a->uses_challenge || a->endpoint->module)
        return NULL;
    if (!a->single)
        return challenge_use(tx, a->endpoint->name, a->challenge_hash);
    SCEP_TRY(single_password_check(tx, a->endpoint->name, a->challenge_hash, &good));
    return good ? NULL : scep_fail(a->p, CHALLENGE, "the single password was revoked meanwhile");
}

/* Job: a refusal that ends the challenge, so that nobody tries one name after the other (S-04). */
static const scep_err *settle_contradicted(store_tx *tx, void *baton)
{
    return use_challenge(tx, baton);
}

/* Job: a challenge is used up exactly when its certificate exists. Recording comes first: where
 * the same request was answered by another node meanwhile, nothing at all changes. */
static const scep_err *settle_issued(store_tx *tx, void *baton)
{
    application *a = baton;
    bool done = false;

    SCEP_TRY(transaction_record(tx, a->transaction, &done));
    a->repeated = !done;
    if (!done)
        return NULL;
    SCEP_TRY(use_challenge(tx, a));
    return inventory_record(tx, a->cert, a->transaction, a->authority->conf->name,
                            a->template->name);
}

static const scep_err *issue(application *a)
{
    const char *authority = a->authority->conf->name;

    if (apr_time_now() > a->deadline)
        return scep_fail(a->p, UNAVAILABLE, "the request waited until its deadline was over");
    SCEP_TRY(office_ask_ca(&a->cert, a->authority, a->template, a->csr, a->p));
    transaction_set_issued(a->transaction, a->cert, authority);
    SCEP_TRY(store_run(a->o->store, settle_issued, a, a->p));
    a->answer = (transaction_answer){ .state = TRANSACTION_ISSUED,
                                      .certificate = a->cert->der,
                                      .authority = authority };
    return NULL;
}

/* Job: a challenge is used up, too, when its request waits: the place in the queue is what it
 * pays for (RFC 8894 3.3.2.3). */
static const scep_err *settle_pending(store_tx *tx, void *baton)
{
    application *a = baton;
    const scep_settings *s = &a->endpoint->settings;
    const request_facts facts = {
        .authority = a->authority->conf->name,
        .template_name = a->template->name,
        .peer = a->peer,
        .subject = scep_name_line(a->csr->subject, a->p),
        .transaction_id = a->transaction_id,
        .message_type = a->message_type,
        .csr = a->csr,
        .old = a->old,
        .to_ca = !a->pends,
    };
    const request_limits limits = { .most = scep_settings_number(s, SCEP_SET_PendingMax),
                                    .days = scep_settings_number(s, SCEP_SET_Refresh) };
    const char *id = NULL;
    bool done = false;

    SCEP_TRY(request_pend(tx, a->transaction, &facts, &limits, &id, &done));
    a->repeated = !done;
    a->answer = (transaction_answer){ .state = TRANSACTION_PENDING, .request = id };
    return done ? use_challenge(tx, a) : NULL;
}

static const scep_err *facts_of(policy_facts *out, const application *a)
{
    const scep_settings *s = &a->endpoint->settings;

    *out = (policy_facts){
        .message_type = a->message_type,
        .csr = a->csr,
        .template = a->template,
        .enforce_password = a->enforced,
        /* a policy module judges it by itself */
        .challenge_good = a->challenge_good || a->endpoint->module,
        .bound = a->bound,
        .minimum_hash_bits = scep_settings_hash_bits(s, SCEP_SET_MinimumHash),
        .legacy = scep_settings_flag(s, SCEP_SET_LegacyAlgorithms),
        .approval = scep_settings_text(s, SCEP_SET_Approval),
        .old = a->old,
        .old_known = a->old_known,
        .renewal = scep_settings_flag(s, SCEP_SET_Renewal),
        .renewal_by_pkcs_req = scep_settings_flag(s, SCEP_SET_RenewalByPKCSReq),
        .other_names = scep_settings_flag(s, SCEP_SET_DisableRenewalSubjectNameMatch),
        .window_days = scep_settings_number(s, SCEP_SET_RenewalWindow),
        .now = apr_time_sec(scep_now()),
    };
    if (a->old)
        SCEP_TRY(scep_time_seconds(&out->old_not_after, X509_get0_notAfter(a->old), a->p));
    return NULL;
}

static const scep_err *judge_by(application *a, const policy_facts *facts)
{
    const policy_verdict verdict = policy_judge(facts, a->p);

    a->pends = verdict.outcome == POLICY_PEND;
    a->uses_challenge = a->transaction->challenged = verdict.uses_challenge;
    if (verdict.outcome != POLICY_DENY)
        return NULL;
    if (a->uses_challenge)
        SCEP_TRY(store_run(a->o->store, settle_contradicted, a, a->p));
    return scep_err_make(a->p, verdict.code, __FILE__, __LINE__, "%s", verdict.reason);
}

/* Whoever has neither a challenge nor a certificate claims nothing that anybody stands for: the
 * directory is not asked about his SID. Where it is a policy module that knows challenges, that is
 * asked before; otherwise it is the last to be asked. */
static const scep_err *judge(application *a)
{
    bool module_first = a->endpoint->module && !a->old;
    policy_facts facts;

    SCEP_TRY(facts_of(&facts, a));
    if (module_first) {
        facts.sid_doubt = ""; /* a SID is judged below */
        SCEP_TRY(judge_by(a, &facts));
        SCEP_TRY(office_module_verify(a));
    }
    if (facts.challenge_good || a->old)
        SCEP_TRY(
            office_directory_confirms(&facts.sid_doubt, a->authority, a->template, a->csr, a->p));
    SCEP_TRY(judge_by(a, &facts));
    return module_first ? NULL : office_module_verify(a);
}

static const scep_err *as_answered(const application *a)
{
    if (a->answer.state == TRANSACTION_DENIED)
        return scep_fail(a->p, REFUSED, "%s", office_denial(a->denied, a->p));
    if (a->answer.state == TRANSACTION_REVOKED)
        return scep_fail(a->p, REFUSED,
                         "the certificate of this request was revoked; the device must make a new "
                         "request");
    return NULL;
}

/* Before a clerk may tell the policy module what became of it. */
static void leaves(void *baton)
{
    application *a = baton;
    const scep_err *unheard = office_module_notify(a, NULL);

    (void)unheard; /* as of any that waits */
    a->told_pending = true;
}

/* A CA elsewhere is asked after it was recorded what for, by somebody else. Nothing is, and the
 * challenge stays good, where it is not going to be asked now. */
static const scep_err *ask_elsewhere(application *a)
{
    SCEP_TRY(office_remote_ready(a->o, a->authority, a->p));
    SCEP_TRY(store_run(a->o->store, settle_pending, a, a->p));
    if (a->repeated ||
        !office_remote_ask(a->o, a->authority, a->answer.request, a->deadline, false, leaves, a))
        return NULL;
    SCEP_TRY(store_read(a->o->store, look_up, a, a->p));
    return as_answered(a);
}

/* With the reservation held. */
static const scep_err *decide(application *a)
{
    SCEP_TRY(store_read(a->o->store, look_up, a, a->p));
    a->repeated = a->answer.state != TRANSACTION_NEW;
    if (a->repeated)
        return as_answered(a);
    SCEP_TRY(judge(a));
    /* Not before: without a good challenge nobody learns which transactionIDs there are. */
    if (a->conflict)
        return a->conflict;
    if (a->pends)
        SCEP_TRY(store_run(a->o->store, settle_pending, a, a->p));
    else if (a->authority->connector->remote)
        SCEP_TRY(ask_elsewhere(a));
    else
        SCEP_TRY(issue(a));
    if (!a->repeated)
        return NULL;
    SCEP_TRY(store_read(a->o->store, look_up, a, a->p));
    if (a->answer.state == TRANSACTION_NEW)
        return scep_fail(a->p, UNAVAILABLE, "the answer of the same request is gone");
    return as_answered(a);
}

/* With SCEPUseSinglePassword on, one-time challenges that are still out stay good, too. */
static const scep_err *find_challenge(application *a)
{
    bool wanted = a->enforced || a->endpoint->module;

    if (!wanted || a->old || !a->csr->challenge.len)
        return NULL;
    SCEP_TRY(
        challenge_hash(&a->challenge_hash, a->o->key, a->endpoint->name, a->csr->challenge, a->p));
    if (a->endpoint->module ||
        !scep_settings_flag(&a->endpoint->settings, SCEP_SET_UseSinglePassword))
        return NULL;
    return single_password_is(&a->single, a->o->store, a->endpoint->name, a->challenge_hash, a->p);
}

const scep_err *office_apply(application *a)
{
    const scep_err *err;
    const char *reserved;

    a->enforced = scep_settings_flag(&a->endpoint->settings, SCEP_SET_EnforcePassword);
    SCEP_TRY(find_challenge(a));
    SCEP_TRY(transaction_make(&a->transaction, a->endpoint->name, a->transaction_id, a->key_hash,
                              a->csr, a->p));
    if (a->old)
        SCEP_TRY(transaction_prove(a->transaction, a->csr, a->old, a->p));
    /* two devices at once may have the single password */
    reserved = a->single ? NULL : a->challenge_hash;
    SCEP_TRY(
        reservation_take(a->o->reservations, reserved, a->transaction->owner, a->deadline, a->p));
    /* Told while the challenge is still held, so that a module has used it up before another
     * request may bring it. */
    err = decide(a);
    if (err || a->answer.state != TRANSACTION_PENDING || !a->told_pending)
        err = office_module_notify(a, err);
    reservation_drop(a->o->reservations, reserved, a->transaction->owner);
    return err;
}

/* ---- what is said of it ---- */

bool office_is_refusal(scep_code code)
{
    return code != SCEP_UNAVAILABLE && code != SCEP_INTERNAL && code != SCEP_CONFIG;
}

void office_verdict_fail(scep_wire_verdict *out, const scep_err *err)
{
    out->status = office_is_refusal(err->code) ? SCEP_STATUS_REFUSED : SCEP_STATUS_LATER;
    out->code = (uint32_t)err->code;
    out->detail = err->code == SCEP_CHALLENGE ? NOT_FRESH : err->detail;
    if (out->status == SCEP_STATUS_LATER)
        log_err(LOG_LEVEL_ERROR, "SCEP0242", "NDES-31 a request is put off", err);
}

/* Only what failed for its challenge is counted, and after it was judged: a good one is never
 * refused, whatever comes from the same address (S-27). */
static void count_failure(scep_wire_verdict *out, const application *a)
{
    long most = scep_settings_number(&a->endpoint->settings, SCEP_SET_FailedMax);
    const char *key =
        apr_pstrcat(a->p, a->endpoint->name, "\n", scep_limit_address(a->peer, a->p), NULL);
    int retry = scep_limit_hit(a->o->failed, scep_bytes_of(key), (int)most);

    if (!retry)
        return;
    out->code = SCEP_TOO_OFTEN;
    out->retry = (uint32_t)retry;
    out->detail = apr_psprintf(a->p, "over %ld failed challenges a minute from this address: %s",
                               most, out->detail);
}

/* At most 300 characters of what the device sent, so that the line stays whole. */
static const char *subject_of(const application *a)
{
    const char *line = a->cert  ? a->cert->subject
                       : a->csr ? scep_name_line(a->csr->subject, a->p)
                                : "";

    return strlen(line) <= 300 ? line
                               : apr_pstrcat(a->p, apr_pstrndup(a->p, line, 300), "...", NULL);
}

/* Of the certificate that leaves, which is not the one that was made where another came first. */
static const char *serial_of(const application *a, const scep_wire_verdict *verdict)
{
    X509 *cert;

    if (verdict->status != SCEP_STATUS_ISSUED)
        return "-";
    if (a->cert && !a->repeated)
        return a->cert->serial;
    return scep_cert_read(&cert, verdict->certificate, a->p) ? "-" : scep_cert_serial(cert, a->p);
}

/* With serial number and transactionID, so that a lost answer can be reconciled: RFC 8894 7.4. */
static void audit(const application *a, const scep_wire_verdict *verdict)
{
    static const char *const words[] = { "", "issued", "pending", "refused", "later" };
    bool failed = verdict->code != SCEP_OK;

    log_line(LOG_LEVEL_INFO,
             "SCEP0240: %s txid=\"%s\" endpoint=\"%s\" verdict=%s code=%s reason=\"%s\" "
             "subject=\"%s\" serial=%s template=%s from=\"%s\" ms=%" APR_TIME_T_FMT,
             a->verb, scep_printable(a->p, a->transaction_id, 64),
             scep_printable(a->p, scep_bytes_of(a->endpoint_name), 80),
             a->repeated && !failed ? "repeated" : words[verdict->status],
             failed ? scep_code_describe((int)verdict->code)->name : "OK",
             scep_in_quotes(a->p, verdict->detail, 300), subject_of(a), serial_of(a, verdict),
             a->template ? a->template->name : "-",
             scep_printable(a->p, scep_bytes_of(a->peer), 64),
             apr_time_as_msec(apr_time_now() - a->begin));
}

/* Which of the two is known of what came just now; the queue knows it of the others. */
static const char *waited_for(const application *a)
{
    const office_authority *asked = a->authority ? a->authority : a->endpoint->authority;

    if (!asked->connector->remote || a->pends)
        return "approval";
    return a->csr && !a->repeated ? "the CA" : "the CA or approval";
}

void office_answer(scep_wire_verdict *out, const application *a, const scep_err *err)
{
    *out = (scep_wire_verdict){ .status = SCEP_STATUS_ISSUED, .detail = "" };
    if (a->endpoint)
        out->generation = office_generation(a->endpoint);
    if (err) {
        office_verdict_fail(out, err);
        if (a->endpoint && a->endpoint->module)
            out->detail = err->detail; /* its own words, not those about challenges kept here */
    } else if (a->answer.state == TRANSACTION_PENDING) {
        out->status = SCEP_STATUS_PENDING;
        out->detail =
            apr_psprintf(a->p, "it waits for %s as request %s", waited_for(a), a->answer.request);
    } else {
        out->certificate = a->answer.certificate;
        out->authority = a->answer.authority;
    }
    if (out->code == SCEP_CHALLENGE || out->code == SCEP_CHALLENGE_ABSENT)
        count_failure(out, a);
    audit(a, out);
    office_count_answer(a->endpoint, out);
}
