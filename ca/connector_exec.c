/*
 * A CA behind a program, asked as certmonger asks its CA helpers: one call for each operation, the
 * request in the environment, the answer on standard output and in the exit status.
 *
 * What is kept as a cookie is "poll:" and the program's own, or AGAIN.
 */
#include "config.h"

#include "connector_exec_int.h"

#include "certs.h"
#include "spki.h"

#include <apr_strings.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define POLL "poll:"
/* For a program that said how long to wait and gave no cookie: it wants to be given the request
 * anew. */
#define AGAIN "submit"
#define REASON_MOST 400
#define CERTIFICATES_MOST 32

/* What an exit status means to certmonger. */
enum {
    STATUS_ISSUED = 0,
    STATUS_WAIT = 1,
    STATUS_REJECTED = 2,
    STATUS_UNREACHABLE = 3,
    STATUS_UNCONFIGURED = 4,
    STATUS_WAIT_SO_LONG = 5,
    STATUS_NOT_SUPPORTED = 6,
    STATUS_NEED_SCEP_MESSAGES = 16,
    STATUS_NEED_SCEP_RSA_MESSAGES = 17
};

typedef struct exec {
    const conf_authority *conf;
    runner *runner; /* of start() */
} exec;

/* ---- what it said ---- */

/* The first line that is not empty, for the operator: a program says why on standard output, one
 * that does not know the protocol on standard error. */
static const char *reason_of(const scep_wire_ran *ran, apr_pool_t *p)
{
    scep_bytes text = ran->output;
    size_t len = 0;

    while (text.len && (*text.data == '\n' || *text.data == '\r' || *text.data == ' '))
        text = (scep_bytes){ text.data + 1, text.len - 1 };
    while (len < text.len && text.data[len] != '\n' && text.data[len] != '\r')
        len++;
    if (len)
        return scep_printable(p, (scep_bytes){ text.data, len }, REASON_MOST);
    return *ran->complaint ? ran->complaint : "it gave no reason";
}

/* Many print the CA's certificates, too, and certmonger minds no order. */
static const scep_err *issued(connector_answer *out, const scep_csr *csr, const scep_wire_ran *ran,
                              apr_pool_t *p)
{
    BIO *bio = scep_BIO(p, BIO_new_mem_buf(ran->output.data, (int)ran->output.len));
    bool ours = false, more = bio != NULL;

    for (int i = 0; more && !ours && i < CERTIFICATES_MOST; i++) {
        unsigned char *der = NULL;
        long len = 0;
        scep_bytes copy, spki;
        X509 *cert;

        more = PEM_bytes_read_bio(&der, &len, NULL, PEM_STRING_X509, bio, NULL, NULL) == 1;
        if (!more)
            break;
        copy = scep_bytes_dup(p, (scep_bytes){ der, (size_t)len });
        OPENSSL_free(der);
        ours = !scep_cert_read(&cert, copy, p) &&
               !scep_spki_of(&spki, X509_get_X509_PUBKEY(cert), p) &&
               scep_bytes_equal(spki, csr->spki);
        if (ours || !out->der.len)
            out->der = copy;
    }
    ERR_clear_error();
    if (!out->der.len)
        return scep_fail(p, UNAVAILABLE,
                         "the program says that it issued (status 0), and its %lu bytes of output "
                         "hold no certificate in PEM",
                         (unsigned long)ran->output.len);
    out->outcome = CONNECTOR_ISSUED;
    return NULL;
}

/* The program's cookie, without the ends of line behind it. @return NULL: none that can be kept */
static const char *cookie_of(scep_bytes text, apr_pool_t *p)
{
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] > '~')
            return NULL;
    if (text.len > CONNECTOR_COOKIE_MOST - strlen(POLL))
        return NULL;
    return apr_pstrmemdup(p, (const char *)text.data, text.len);
}

/* A line of decimal digits, as certmonger takes it. */
static bool take_delay(int *out, scep_bytes *text)
{
    size_t len = 0;

    while (len < text->len && text->data[len] >= '0' && text->data[len] <= '9')
        len++;
    if (len < 1 || len > 9 ||
        (len < text->len && text->data[len] != '\n' && text->data[len] != '\r'))
        return false;
    *out = 0;
    for (size_t i = 0; i < len; i++)
        *out = *out * 10 + (text->data[i] - '0');
    while (len < text->len && (text->data[len] == '\n' || text->data[len] == '\r'))
        len++;
    *text = (scep_bytes){ text->data + len, text->len - len };
    return true;
}

static const scep_err *lost(connector_answer *out, const char *why)
{
    out->outcome = CONNECTOR_LOST;
    out->reason = why;
    return NULL;
}

/* Whoever says "wait" and not what to ask with has the request, and cannot be asked for it. */
static const scep_err *wait_without(connector_answer *out, const connector_ask *ask,
                                    const scep_wire_ran *ran, apr_pool_t *p)
{
    const char *why = apr_psprintf(
        p,
        "the program says wait (status %u), and its output is not what certmonger "
        "takes: %sa cookie, one line of 1 to %d printable characters of ASCII: %s",
        ran->number, ran->number == STATUS_WAIT_SO_LONG ? "a line of digits, then " : "",
        CONNECTOR_COOKIE_MOST - (int)strlen(POLL), reason_of(ran, p));

    /* It is asked with the former cookie again. */
    if (*ask->cookie)
        return scep_fail(p, UNAVAILABLE, "%s", why);
    return lost(out, why);
}

static const scep_err *waits(connector_answer *out, const connector_ask *ask,
                             const scep_wire_ran *ran, apr_pool_t *p)
{
    bool delayed = ran->number == STATUS_WAIT_SO_LONG;
    scep_bytes text = ran->output;
    const char *cookie;

    if (delayed && !take_delay(&out->after, &text))
        return wait_without(out, ask, ran, p);
    cookie = cookie_of(text, p);
    if (!cookie || (!*cookie && !delayed))
        return wait_without(out, ask, ran, p);
    out->outcome = CONNECTOR_PENDING;
    out->cookie = *cookie ? apr_pstrcat(p, POLL, cookie, NULL) : AGAIN;
    out->reason = *ran->complaint ? ran->complaint : NULL;
    return NULL;
}

/* @param out its asked is true */
static const scep_err *ended(connector_answer *out, const connector_ask *ask,
                             const scep_wire_ran *ran, apr_pool_t *p)
{
    switch (ran->number) {
    case STATUS_ISSUED:
        return issued(out, ask->csr, ran, p);
    case STATUS_WAIT:
    case STATUS_WAIT_SO_LONG:
        return waits(out, ask, ran, p);
    case STATUS_REJECTED:
        out->outcome = CONNECTOR_DENIED;
        out->reason = reason_of(ran, p);
        return NULL;
    case STATUS_UNREACHABLE: /* certmonger submits again, too */
        out->asked = false;
        return scep_fail(p, UNAVAILABLE, "the program cannot reach its CA (status 3): %s",
                         reason_of(ran, p));
    case STATUS_UNCONFIGURED:
        out->asked = false;
        return scep_fail(p, CONFIG, "the program lacks configuration (status 4): %s",
                         reason_of(ran, p));
    case STATUS_NOT_SUPPORTED:
        out->asked = false;
        return scep_fail(p, CONFIG, "the program does not know the operation %s (status 6): %s",
                         strncmp(ask->cookie, POLL, strlen(POLL)) ? "SUBMIT" : "POLL",
                         reason_of(ran, p));
    case STATUS_NEED_SCEP_MESSAGES:
    case STATUS_NEED_SCEP_RSA_MESSAGES:
        out->asked = false;
        return scep_fail(p, CONFIG,
                         "the program wants messages of SCEP that only a device can sign (status "
                         "%u): another helper is needed",
                         ran->number);
    default:
        return scep_fail(p, UNAVAILABLE, "the program %s", runner_describe(ran, p));
    }
}

/* ---- submit ---- */

/* Not the CA is at fault then, and no time mends it. */
static bool is_set_up_wrong(const scep_wire_ran *ran)
{
    return ran->outcome == SCEP_RAN_NOT &&
           (ran->number == EACCES || ran->number == ENOENT || ran->number == ENOEXEC);
}

static const scep_err *run(connector_answer *out, const exec *e, const connector_ask *ask,
                           const char *cookie, apr_pool_t *p)
{
    const apr_array_header_t *arguments = e->conf->exec.arguments;
    scep_wire_run what = { .program = e->conf->exec.program,
                           .ms = (uint32_t)apr_time_as_msec(deadline_left(ask->until)) };
    scep_wire_ran ran;
    const scep_err *err;

    if (!what.ms)
        return scep_fail(p, UNAVAILABLE, "the time is over before the program was started");
    if (arguments)
        what.arguments = apr_array_make(p, arguments->nelts, sizeof(scep_wire_word));
    for (int i = 0; arguments && i < arguments->nelts; i++)
        ((scep_wire_word *)apr_array_push(what.arguments))->text =
            APR_ARRAY_IDX(arguments, i, const char *);
    SCEP_TRY(exec_environment(&what.environment, e->conf->name, ask, cookie, p));
    err = runner_run(&ran, e->runner, &what, p);
    out->asked = ran.outcome != SCEP_RAN_NOT;
    if (err)
        return err;
    if (ran.outcome == SCEP_RAN_EXITED)
        return ended(out, ask, &ran, p);
    if (is_set_up_wrong(&ran))
        return scep_fail(p, CONFIG, "program %s: SCEPExecUser must be able to run it, but it %s",
                         e->conf->exec.program, runner_describe(&ran, p));
    return scep_fail(p, UNAVAILABLE, "the program %s", runner_describe(&ran, p));
}

static const scep_err *exec_submit(connector_answer *out, connector *self, const connector_ask *ask,
                                   apr_pool_t *p)
{
    const exec *e = self->data;
    bool poll = !strncmp(ask->cookie, POLL, strlen(POLL));
    const scep_err *err;

    if (!e->runner)
        return scep_fail(p, UNAVAILABLE, "no runner of programs was started");
    /* The protocol has no name for a request before the program gave it a cookie. */
    if (ask->lost && !poll)
        return lost(out, "the program was given the request and its answer is not known; it could "
                         "issue a second certificate if it was given it again");
    err = run(out, e, ask, poll ? ask->cookie + strlen(POLL) : NULL, p);
    /* with that cookie it would be given the request once more */
    if (err && out->asked && !strcmp(ask->cookie, AGAIN))
        return lost(out, err->detail);
    return err;
}

static const scep_err *exec_start(connector *self, runner *r, apr_pool_t *p)
{
    exec *e = self->data;

    if (!r)
        return scep_fail(p, CONFIG, "[authority %s]: no runner of programs was started",
                         e->conf->name);
    e->runner = r;
    return NULL;
}

/* @param user NULL: it is not known here; it is neither root nor who this is, where this is root */
static const scep_err *check_program(const exec *e, const char *user, apr_pool_t *p)
{
    const char *program = e->conf->exec.program;
    const scep_err *err = runner_check(program, user, p);

    if (!err)
        return NULL;
    return scep_fail(p, CONFIG, "[authority %s]: program %s: %s", e->conf->name,
                     scep_printable(p, scep_bytes_of(program), 300), err->detail);
}

static const scep_err *exec_may_run(connector *self, const char *user, apr_pool_t *p)
{
    SCEP_TRY(runner_check_user(user, p));
    return check_program(self->data, user, p);
}

const scep_err *connector_exec_open(connector *c, const conf_authority *authority, apr_pool_t *p)
{
    exec *e = apr_pcalloc(p, sizeof(*e));

    e->conf = authority;
    SCEP_TRY(check_program(e, NULL, p));
    c->data = e;
    c->submit = exec_submit;
    c->start = exec_start;
    c->may_run = exec_may_run;
    return NULL;
}
