/*
 * A CA that speaks EST. RFC 7030, RFC 8951: one POST over TLS a request.
 *
 * EST has no transactions: whether the same request again gets the same certificate or a second one
 * is up to the server. While it says "later" (202), asking again is the protocol's own way (4.2.3);
 * else a request whose answer was lost is an administrator's to decide, unless ca.conf says that a
 * second certificate does not matter.
 */
#include "connector.h"

#include "certs.h"
#include "conf_values.h"
#include "file.h"
#include "http.h"
#include "log.h"
#include "own.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <limits.h>
#include <openssl/err.h>
#include <string.h>

#define ANSWER_MOST (256 * 1024)
#define WORDS_MOST 300
#define PASSWORD_MOST 1024

#define COOKIE_ASKED "asked" /* kept before the first POST */
#define COOKIE_WAITS "waits" /* after a 202 */

typedef struct est_ca {
    const conf_authority *authority;
    const conf_est *conf;
    http_peer *peer;
    STACK_OF(X509) * chain;
} est_ca;

/* ---- what came ---- */

/* The server's own words, where they are meant for reading (4.2.3). */
static const char *words(const http_answer *answer, apr_pool_t *p)
{
    const char *status = apr_psprintf(p, "HTTP status %ld", answer->status);

    if (strncasecmp(answer->type, "text/plain", 10) || !answer->body.len)
        return status;
    return apr_pstrcat(p, status, ": ", scep_printable(p, answer->body, WORDS_MOST), NULL);
}

/* RFC 8951: base64 with or without line breaks, whatever Content-Transfer-Encoding says. */
static const scep_err *unwrap(scep_bytes *out, scep_bytes body, apr_pool_t *p)
{
    char *text = apr_palloc(p, body.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < body.len; i++)
        if (!apr_isspace(body.data[i]))
            text[n++] = (char)body.data[i];
    text[n] = '\0';
    return strlen(text) == n ? scep_unbase64(out, text, p)
                             : scep_fail(p, INTERNAL, "a NUL in base64");
}

/* The certificates of a certs-only answer (4.1.3, 4.2.3). */
static const scep_err *read_certs(STACK_OF(X509) * *out, const http_answer *answer, apr_pool_t *p)
{
    CMS_ContentInfo *cms = NULL;
    const unsigned char *at;
    scep_bytes der;

    if (strncasecmp(answer->type, "application/pkcs7-mime", 22))
        return scep_fail(p, UNAVAILABLE,
                         "the answer has Content-Type \"%s\" instead of application/pkcs7-mime",
                         scep_printable(p, scep_bytes_of(answer->type), 80));
    if (!unwrap(&der, answer->body, p) && der.len) {
        at = der.data;
        cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)der.len));
        if (cms && at != der.data + der.len)
            cms = NULL;
    }
    *out = cms ? scep_X509_STACK(p, CMS_get1_certs(cms)) : NULL;
    if (sk_X509_num(*out) < 1)
        return scep_fail(p, UNAVAILABLE, "the answer is no base64 of a certs-only PKCS#7");
    return NULL;
}

/* The order is not said to mean anything: the device's is the one with its key. Where there is none
 * the first one goes on, for the office to withhold. */
static X509 *pick(const STACK_OF(X509) * certs, const scep_csr *csr)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        EVP_PKEY *key = X509_get0_pubkey(sk_X509_value(certs, i));

        if (key && EVP_PKEY_eq(key, csr->key) == 1)
            return sk_X509_value(certs, i);
    }
    ERR_clear_error(); /* a key of a kind that OpenSSL does not know */
    return sk_X509_value(certs, 0);
}

static const scep_err *refused_us(const http_answer *answer, const char *url, apr_pool_t *p)
{
    if (answer->status == 401 || answer->status == 403)
        return scep_fail(p, CONFIG,
                         "%s of %s: the CA does not accept client_cert, or user and password, or "
                         "does not allow them to enrol",
                         words(answer, p), url);
    return scep_fail(p, CONFIG, "%s of %s: are url and label right?", words(answer, p), url);
}

static const scep_err *judge(connector_answer *out, const http_answer *answer, const char *url,
                             const connector_ask *ask, apr_pool_t *p)
{
    STACK_OF(X509) * certs;

    switch (answer->status) {
    case 200:
        out->asked = true;
        SCEP_TRY(read_certs(&certs, answer, p));
        out->outcome = CONNECTOR_ISSUED;
        return scep_cert_der(&out->der, pick(certs, ask->csr), p);
    case 202:
        out->outcome = CONNECTOR_PENDING;
        out->cookie = COOKIE_WAITS;
        out->after = answer->retry_after;
        return NULL;
    case 400:
    case 409:
    case 422:
        out->outcome = CONNECTOR_DENIED;
        out->reason = words(answer, p);
        /* a server may refuse for the very certificate that nobody got */
        if (ask->lost && *ask->cookie) {
            out->outcome = CONNECTOR_LOST;
            out->reason =
                apr_psprintf(p, "an answer was lost, and then the CA said: %s", out->reason);
        }
        return NULL;
    case 408:
    case 429:
    case 503:
        return scep_fail(p, UNAVAILABLE, "%s", words(answer, p));
    default:
        if (answer->status >= 300 && answer->status < 500)
            return refused_us(answer, url, p);
        out->asked = true; /* it broke at it, or is no EST server */
        return scep_fail(p, UNAVAILABLE, "%s", words(answer, p));
    }
}

/* ---- submit ---- */

/* 3.2.2: an optional label stands before the operation. */
static const char *address(const est_ca *ca, const conf_template *template, const char *operation,
                           apr_pool_t *p)
{
    const char *label = ca->conf->profile ? template->ca_template : ca->conf->label;
    size_t len = strlen(ca->conf->url);
    const char *end = len && ca->conf->url[len - 1] == '/' ? "" : "/";

    return apr_pstrcat(p, ca->conf->url, end, ".well-known/est/", label ? label : "",
                       label ? "/" : "", operation, NULL);
}

static const scep_err *post(connector_answer *out, const est_ca *ca, const connector_ask *ask,
                            apr_pool_t *p)
{
    static const char *const headers[] = { "Content-Transfer-Encoding: base64", NULL };
    const http_ask what = { .url = address(ca, ask->template, "simpleenroll", p),
                            .type = "application/pkcs10",
                            .headers = headers,
                            .body = scep_bytes_of(scep_base64(p, ask->csr->der)),
                            .most = ANSWER_MOST,
                            .until = ask->until };
    http_answer answer = { .status = 0 };
    const scep_err *err = http_call(&answer, ca->peer, &what, p);

    if (!err)
        return judge(out, &answer, what.url, ask, p);
    out->asked = answer.sent;
    return err;
}

static const scep_err *est_submit(connector_answer *out, connector *self, const connector_ask *ask,
                                  apr_pool_t *p)
{
    const est_ca *ca = self->data;
    const bool waits = !strcmp(ask->cookie, COOKIE_WAITS);
    const scep_err *err;

    /* without a cookie nothing was sent, where there is who keeps them */
    if (ask->lost && (*ask->cookie || !ask->keep)) {
        const char *subject = scep_name_line(ask->csr->subject, p);

        if (!waits && !ca->conf->resubmit) {
            out->outcome = CONNECTOR_LOST;
            out->reason = apr_psprintf(p,
                                       "the CA was asked and its answer was lost; whether there is "
                                       "a certificate for \"%s\" stands in its records",
                                       subject);
            return NULL;
        }
        log_line(LOG_LEVEL_WARN,
                 "SCEP0350: [authority %s]: submission %s is sent again, as %s: if the answer that "
                 "was lost was a certificate for \"%s\", the CA may issue a second one",
                 ca->authority->name, ask->id,
                 waits ? "EST asks after what waits" : "ca.conf says (resubmit)", subject);
    }
    if (!waits && ask->keep)
        SCEP_TRY(ask->keep(ask->baton, COOKIE_ASKED, p));
    err = post(out, ca, ask, p);
    if (err && waits && out->asked)
        log_line(
            LOG_LEVEL_WARN,
            "SCEP0351: [authority %s]: the answer to submission %s is lost, and EST asks after "
            "it by sending it again: if it was a certificate for \"%s\", the CA may issue a "
            "second one",
            ca->authority->name, ask->id, scep_name_line(ask->csr->subject, p));
    return err;
}

/* ---- check ---- */

static const scep_err *check_chain(const est_ca *ca, const STACK_OF(X509) * certs, const char *url,
                                   apr_pool_t *p)
{
    X509 *issuer = sk_X509_value(ca->chain, 0);
    const char *names = NULL;

    for (int i = 0; i < sk_X509_num(certs); i++) {
        const char *name = scep_name_line(X509_get_subject_name(sk_X509_value(certs, i)), p);

        if (!X509_cmp(sk_X509_value(certs, i), issuer))
            return NULL;
        names = names ? apr_pstrcat(p, names, "\", \"", name, NULL) : name;
    }
    return scep_fail(
        p, CONFIG, "the issuing CA of ca_cert, \"%s\", is not among the certificates of %s: \"%s\"",
        scep_name_line(X509_get_subject_name(issuer), p), url, names);
}

static const scep_err *check_at(const est_ca *ca, const char *url, moment until, apr_pool_t *p)
{
    const http_ask what = { .url = url, .most = ANSWER_MOST, .until = until };
    http_answer answer = { .status = 0 };
    STACK_OF(X509) * certs;

    SCEP_TRY(http_call(&answer, ca->peer, &what, p));
    if (answer.status >= 300 && answer.status < 500 && answer.status != 408 && answer.status != 429)
        return refused_us(&answer, url, p);
    if (answer.status != 200)
        return scep_fail(p, UNAVAILABLE, "%s of %s", words(&answer, p), url);
    SCEP_TRY(read_certs(&certs, &answer, p));
    return check_chain(ca, certs, url, p);
}

static const scep_err *est_check(connector *self, moment until, apr_pool_t *p)
{
    const est_ca *ca = self->data;
    const apr_array_header_t *templates = ca->authority->templates;

    if (!ca->conf->profile)
        return check_at(ca, address(ca, NULL, "cacerts", p), until, p);
    for (int i = 0; i < templates->nelts; i++)
        SCEP_TRY(check_at(
            ca, address(ca, APR_ARRAY_IDX(templates, i, const conf_template *), "cacerts", p),
            until, p));
    return NULL;
}

/* ---- open ---- */

/* A label is one segment of a path, and no operation's name. */
static const scep_err *check_labels(const conf_authority *a, apr_pool_t *p)
{
    for (int i = 0; a->est.profile && i < a->templates->nelts; i++) {
        const conf_template *t = APR_ARRAY_IDX(a->templates, i, const conf_template *);

        if (!conf_is_name(t->ca_template))
            return scep_fail(p, CONFIG,
                             "profile = yes makes ca_template of template %s a label of EST: 1 to "
                             "64 letters, digits, '-', '_' and '.' are accepted",
                             t->name);
    }
    return NULL;
}

static const scep_err *load(est_ca *ca, const conf_authority *authority, apr_pool_t *p)
{
    const conf_est *how = &authority->est;
    http_source source = { .ca_file = how->tls_ca ? how->tls_ca : authority->ca_cert,
                           .cert = how->client_cert,
                           .key = how->client_key,
                           .user = how->user };

    SCEP_TRY(check_labels(authority, p));
    if (how->password)
        SCEP_TRY(file_secret(&source.password, how->password, 1, PASSWORD_MOST, p));
    return http_peer_make(&ca->peer, &source, p);
}

const scep_err *connector_est_open(connector *c, const conf_authority *authority, apr_pool_t *p)
{
    est_ca *ca = apr_pcalloc(p, sizeof(*ca));
    const scep_err *err;

    *ca = (est_ca){ .authority = authority, .conf = &authority->est, .chain = c->chain };
    err = load(ca, authority, p);
    if (err)
        return scep_fail(p, CONFIG, "[authority %s]: %s", authority->name, err->detail);
    c->submit = est_submit;
    c->check = est_check;
    c->data = ca;
    return NULL;
}
