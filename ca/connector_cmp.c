/*
 * A CA that speaks CMP. RFC 4210, RFC 9480, RFC 9483; the messages are OpenSSL's.
 *
 * The transactionID is kept before anything is sent. If no answer is known, a new transaction could
 * make a second certificate, and CMP has no way to ask after one that is over: then an
 * administrator decides, unless ca.conf says that a second one does not matter.
 */
#include "connector_cmp_int.h"

#include "certs.h"
#include "file.h"
#include "key.h"
#include "log.h"
#include "own.h"

#include <apr_strings.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <string.h>

#define SECRET_MOST 1024

/* ---- asking for a certificate ---- */

static const scep_err *keep(const connector_ask *ask, const cmp_talk *t, const cmp_kept *kept)
{
    const char *cookie;

    if (!ask->keep)
        return NULL;
    SCEP_TRY(cmp_kept_write(&cookie, kept, t->ca->server_cert != NULL, t->p));
    return ask->keep(ask->baton, cookie, t->p);
}

static void lost(connector_answer *out, const cmp_kept *kept, const char *why, apr_pool_t *p)
{
    out->outcome = CONNECTOR_LOST;
    out->reason = apr_psprintf(p,
                               "%s; whether there is a certificate stands in the CA's records of "
                               "the CMP transaction %s",
                               why, scep_hex(p, (scep_bytes){ kept->id, CMP_ID_SIZE }));
}

static void waits(connector_answer *out, const cmp_talk *t, int after)
{
    STACK_OF(ASN1_UTF8STRING) *words = OSSL_CMP_CTX_get0_statusString(t->ctx);
    const scep_err *err = cmp_kept_write(&out->cookie, &t->kept, t->ca->server_cert != NULL, t->p);

    /* the CA has the request, and cannot be asked after it: another one could make a second
     * certificate */
    if (err) {
        lost(out, &t->kept, err->detail, t->p);
        return;
    }
    out->outcome = CONNECTOR_PENDING;
    out->after = after > HTTP_RETRY_MOST ? HTTP_RETRY_MOST : after;
    if (sk_ASN1_UTF8STRING_num(words) > 0)
        out->reason = cmp_words(t->ctx, t->p);
}

static const scep_err *issued(connector_answer *out, const cmp_talk *t)
{
    out->outcome = CONNECTOR_ISSUED;
    return scep_cert_der(&out->der, OSSL_CMP_CTX_get0_newCert(t->ctx), t->p);
}

/* What OpenSSL says of it adds nothing to the CA's words, and would come up in another's error. */
static bool is_rejected(const cmp_talk *t)
{
    if (OSSL_CMP_CTX_get_status(t->ctx) != OSSL_CMP_PKISTATUS_rejection)
        return false;
    ERR_clear_error();
    return true;
}

/* The CA's own word, which its protection vouches for: nothing was issued. */
static const scep_err *rejected(connector_answer *out, const cmp_talk *t, const connector_ask *ask)
{
    const char *words = cmp_words(t->ctx, t->p);

    out->asked = false;
    switch (cmp_judge(OSSL_CMP_CTX_get_failInfoCode(t->ctx), t->ca->command == OSSL_CMP_P10CR)) {
    case CMP_MEND:
        return scep_fail(t->p, CONFIG, "the CA refuses this service and not the device: %s", words);
    case CMP_LATER:
        return scep_fail(t->p, UNAVAILABLE, "%s", words);
    case CMP_FAILED: /* no fault that leaves the CA alone: one request could bring that about */
        return scep_fail(t->p, CONFIG, "the CA fails at this request: %s", words);
    case CMP_DENIED:
        break;
    }
    out->outcome = CONNECTOR_DENIED;
    out->reason = words;
    /* of a transaction that ended while nobody heard it, a CA says that there is none */
    if (t->resumed && (ask->lost || t->was_broken))
        lost(out, &t->kept,
             apr_psprintf(t->p, "an answer was lost, and then the CA said: %s", words), t->p);
    return NULL;
}

/* RFC 4210 5.3.18: what is not confirmed, the CA may revoke. An error after the certificate is no
 * word on the request, which was granted. */
static void unconfirmed(connector_answer *out, const cmp_talk *t)
{
    bool refused = is_rejected(t);
    const char *serial = scep_cert_serial(OSSL_CMP_CTX_get0_newCert(t->ctx), t->p);

    lost(out, &t->kept,
         apr_psprintf(t->p, "the CA sent certificate %s and %s, so that it may have revoked it: %s",
                      serial,
                      refused ? "refused its confirmation" : "did not acknowledge that it came",
                      refused ? cmp_words(t->ctx, t->p) : cmp_talk_error(t)->detail),
         t->p);
}

/* Neither a certificate that is confirmed nor "wait". */
static const scep_err *judge(connector_answer *out, cmp_talk *t, const connector_ask *ask)
{
    if (OSSL_CMP_CTX_get0_newCert(t->ctx)) {
        /* a wrong key was refused in certConf; the office keeps such a one and tells of it */
        if (t->wrong_key)
            return issued(out, t);
        unconfirmed(out, t);
        return NULL;
    }
    if (is_rejected(t))
        return rejected(out, t, ask);
    /* it said so, and only the first look after it failed: the request stands there already */
    if (OSSL_CMP_CTX_get_status(t->ctx) == OSSL_CMP_PKISTATUS_waiting && t->kept.waits.len &&
        !t->resumed) {
        t->kept.broken = t->sent;
        ERR_clear_error(); /* as in is_rejected() */
        waits(out, t, 0);
        return NULL;
    }
    return cmp_talk_error(t);
}

static const scep_err *converse(connector_answer *out, cmp_talk *t, const connector_ask *ask)
{
    int after = 0, said = OSSL_CMP_try_certreq(t->ctx, t->ca->command, NULL, &after);

    /* what was played is as far as it was before: now it is asked */
    if (said == -1 && !t->exchanged)
        said = OSSL_CMP_try_certreq(t->ctx, t->ca->command, NULL, &after);
    out->asked = t->sent;
    if (said == -1) {
        cmp_talk_believe(t);
        t->kept.broken = false;
        waits(out, t, after);
        return NULL;
    }
    return said == 1 ? issued(out, t) : judge(out, t, ask);
}

static const scep_err *ask_first(connector_answer *out, cmp_talk *t, const connector_ask *ask)
{
    unsigned char id[CMP_ID_SIZE];

    if (RAND_bytes(id, sizeof(id)) != 1)
        return scep_fail(t->p, INTERNAL, "no random bytes");
    SCEP_TRY(cmp_talk_name(t, id));
    if (t->ca->conf->profile)
        SCEP_TRY(cmp_talk_profile(t, ask->template->ca_template));
    SCEP_TRY(keep(ask, t, &t->kept));
    return converse(out, t, ask);
}

static const scep_err *ask_again(connector_answer *out, cmp_talk *t, const connector_ask *ask,
                                 const cmp_kept *kept)
{
    const scep_err *err;

    SCEP_TRY(cmp_talk_name(t, kept->id));
    t->kept = *kept;
    t->was_broken = kept->broken;
    t->kept.broken = t->resumed = true;
    t->replay[0] = kept->waits;
    t->replay[1] = kept->polled;
    /* until its answer is known: it may be the certificate, and it may be lost */
    SCEP_TRY(keep(ask, t, &t->kept));
    err = converse(out, t, ask);
    if (err && !t->sent && !kept->broken)
        SCEP_TRY(keep(ask, t, kept));
    if (err && !t->exchanged)
        return scep_fail(t->p, CONFIG,
                         "what the CA said before does not hold any more (was its secret or its "
                         "certificate replaced since, or does trusted lack an intermediate?): %s",
                         err->detail);
    return err;
}

static const scep_err *cmp_submit(connector_answer *out, connector *self, const connector_ask *ask,
                                  apr_pool_t *p)
{
    const cmp_ca *ca = self->data;
    cmp_kept kept = { .waits = { NULL, 0 } };
    cmp_talk *t;

    SCEP_TRY(cmp_talk_begin(&t, ca, ask->csr, ask->until, p));
    if (*ask->cookie)
        SCEP_TRY(cmp_kept_read(&kept, ask->cookie, p));
    if (kept.waits.len)
        return ask_again(out, t, ask, &kept);
    /* nothing was kept, and so nothing was sent, where there is who keeps */
    if (ask->lost && (*ask->cookie || !ask->keep)) {
        if (!ca->conf->resubmit) {
            lost(out, &kept, "the CA was asked and its answer was lost", p);
            return NULL;
        }
        log_line(LOG_LEVEL_WARN,
                 "SCEP0340: [authority %s]: submission %s is asked for anew, as ca.conf says "
                 "(resubmit): the CA may have issued for CMP transaction %s, whose answer was lost",
                 ca->authority, ask->id, scep_hex(p, (scep_bytes){ kept.id, CMP_ID_SIZE }));
    }
    return ask_first(out, t, ask);
}

/* ---- the other operations ---- */

static const scep_err *cmp_revoke(connector *self, scep_bytes der, int reason, moment until,
                                  apr_pool_t *p)
{
    cmp_talk *t;
    X509 *cert;

    SCEP_TRY(scep_cert_read(&cert, der, p));
    SCEP_TRY(cmp_talk_begin(&t, self->data, NULL, until, p));
    if (!OSSL_CMP_CTX_set1_oldCert(t->ctx, cert) ||
        !OSSL_CMP_CTX_set_option(t->ctx, OSSL_CMP_OPT_REVOCATION_REASON, reason))
        return scep_fail(p, INTERNAL, "a revocation cannot be prepared");
    if (OSSL_CMP_exec_RR_ses(t->ctx) == 1)
        return NULL;
    if (!is_rejected(t)) {
        const scep_err *err = cmp_talk_error(t);

        return scep_fail(p, UNAVAILABLE, "%s", err->detail);
    }
    if (OSSL_CMP_CTX_get_failInfoCode(t->ctx) & OSSL_CMP_CTX_FAILINFO_certRevoked)
        return NULL; /* it is, already */
    return scep_fail(p, REFUSED, "%s", cmp_words(t->ctx, p));
}

/* A general message that asks for nothing: any protected answer shows that both know each other. */
static const scep_err *cmp_check(connector *self, moment until, apr_pool_t *p)
{
    STACK_OF(OSSL_CMP_ITAV) * lines;
    bool answered;
    cmp_talk *t;

    SCEP_TRY(cmp_talk_begin(&t, self->data, NULL, until, p));
    lines = OSSL_CMP_exec_GENM_ses(t->ctx);
    answered = lines != NULL;
    sk_OSSL_CMP_ITAV_pop_free(lines, OSSL_CMP_ITAV_free);
    if (answered)
        return NULL;
    if (!is_rejected(t))
        return cmp_talk_error(t);
    if (cmp_judge(OSSL_CMP_CTX_get_failInfoCode(t->ctx), true) == CMP_MEND)
        return scep_fail(p, CONFIG, "the CA refuses this service: %s", cmp_words(t->ctx, p));
    return NULL;
}

/* ---- open ---- */

const scep_err *cmp_name(const X509_NAME **out, const char *text, apr_pool_t *p)
{
    X509_NAME *name = scep_X509_NAME(p, X509_NAME_new());
    char *part = apr_palloc(p, strlen(text) + 1);
    const char *at = text;

    while (name && *at == '/') {
        char *to = part, *value;

        for (at++; *at && *at != '/'; at++)
            *to++ = *at == '\\' && at[1] ? *++at : *at;
        *to = '\0';
        value = strchr(part, '=');
        if (!value)
            break;
        *value++ = '\0';
        if (!X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                        -1, 0))
            break;
        /* encoded here, once: whoever encodes a name writes into it, and clerks share this one */
        if (!*at && X509_NAME_get0_der(name, NULL, NULL) == 1) {
            *out = name;
            return NULL;
        }
    }
    return scep_fail(p, CONFIG, "recipient \"%s\": a name as /DC=test/O=Example/CN=CA is accepted",
                     scep_printable(p, scep_bytes_of(text), 255));
}

static const scep_err *load_own(cmp_ca *ca, const conf_cmp *how, apr_pool_t *p)
{
    if (how->secret)
        return file_secret(&ca->secret, how->secret, 1, SECRET_MOST, p);
    SCEP_TRY(scep_key_load(&ca->key, how->client_key, p));
    SCEP_TRY(scep_certs_load(&ca->own, how->client_cert, p));
    if (X509_check_private_key(sk_X509_value(ca->own, 0), ca->key) != 1)
        return scep_fail(p, CONFIG, "%s: its first certificate is not of the key %s",
                         how->client_cert, how->client_key);
    return NULL;
}

static const scep_err *load_theirs(cmp_ca *ca, const conf_cmp *how, apr_pool_t *p)
{
    STACK_OF(X509) * certs;

    ca->trusted = ca->chain;
    if (how->trusted)
        SCEP_TRY(scep_certs_load(&ca->trusted, how->trusted, p));
    if (how->server_cert) {
        SCEP_TRY(scep_certs_load(&certs, how->server_cert, p));
        ca->server_cert = sk_X509_value(certs, 0);
    }
    ca->recipient = X509_get_subject_name(sk_X509_value(ca->chain, 0));
    return how->recipient ? cmp_name(&ca->recipient, how->recipient, p) : NULL;
}

static const scep_err *load(cmp_ca *ca, const conf_authority *authority, apr_pool_t *p)
{
    const conf_cmp *how = &authority->cmp;
    const http_source source = { .ca_file = how->tls_ca ? how->tls_ca : authority->ca_cert,
                                 .cert = how->tls_cert,
                                 .key = how->tls_key,
                                 .plain = true };

    SCEP_TRY(load_own(ca, how, p));
    SCEP_TRY(load_theirs(ca, how, p));
    return http_peer_make(&ca->peer, &source, p);
}

const scep_err *connector_cmp_open(connector *c, const conf_authority *authority, apr_pool_t *p)
{
    cmp_ca *ca = apr_pcalloc(p, sizeof(*ca));
    const char *command = authority->cmp.command;
    const scep_err *err;

    *ca = (cmp_ca){ .authority = authority->name, .conf = &authority->cmp, .chain = c->chain };
    ca->command = !strcmp(command, "ir")   ? OSSL_CMP_IR
                  : !strcmp(command, "cr") ? OSSL_CMP_CR
                                           : OSSL_CMP_P10CR;
    err = load(ca, authority, p);
    if (err)
        return scep_fail(p, CONFIG, "[authority %s]: %s", authority->name, err->detail);
    c->submit = cmp_submit;
    c->check = cmp_check;
    c->revoke = cmp_revoke;
    c->data = ca;
    return NULL;
}
