/* Policy modules: what they are made of, and the three calls. */
#include "policy_module_int.h"

#include "certs.h"
#include "log.h"
#include "own.h"

#include <apr_strings.h>
#include <string.h>

#define EXEC "exec:"
#define PRG "prg:"
#define HTTPS "https://"

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

bool policy_module_is_program(const char *text)
{
    return begins(text, EXEC) || begins(text, PRG);
}

/* ---- make ---- */

#define module_fail(p, s, fmt, ...)                                                         \
    scep_fail((p), CONFIG, "NDES-53 endpoint %s: SCEPPolicyModule %s: " fmt, (s)->endpoint, \
              scep_printable((p), scep_bytes_of((s)->text), 300), __VA_ARGS__)

static const scep_err *check_program(const policy_module_source *s, const char *path, apr_pool_t *p)
{
    const scep_err *err = runner_check(path, s->exec_user, p);

    if (err)
        return module_fail(p, s, "%s", err->detail);
    if (s->conf)
        return module_fail(p, s, "[policy_module %s] of ca.conf is for https:// only: remove it",
                           s->conf->endpoint);
    return NULL;
}

static const scep_err *make_program(policy_module *m, const policy_module_source *s, apr_pool_t *p)
{
    m->address = apr_pstrdup(p, strchr(s->text, ':') + 1);
    m->runner = s->runner;
    m->kept = (runner_kept){ -1, -1 };
    m->call = begins(s->text, PRG) ? module_call_kept : module_call_exec;
    return check_program(s, m->address, p);
}

static const scep_err *make_https(policy_module *m, const policy_module_source *s, apr_pool_t *p)
{
    const scep_err *err;

    m->address = apr_pstrdup(p, s->text);
    m->call = module_call_https;
    err = module_https_make(&m->https, m->address, s->conf, p);
    return err ? module_fail(p, s, "%s", err->detail) : NULL;
}

const scep_err *policy_module_make(policy_module **out, const policy_module_source *source,
                                   apr_pool_t *p)
{
    policy_module *m = apr_pcalloc(p, sizeof(*m));

    module_json_begin();
    m->endpoint = apr_pstrdup(p, source->endpoint);
    m->timeout = apr_time_from_sec(source->seconds);
    *out = m;
    if (pthread_mutex_init(&m->lock, NULL) != 0)
        return scep_fail(p, CONFIG, "no mutex");
    if (policy_module_is_program(source->text))
        return make_program(m, source, p);
    if (begins(source->text, HTTPS) && source->text[strlen(HTTPS)])
        return make_https(m, source, p);
    return module_fail(p, source, "%s",
                       "exec:PROGRAM, prg:PROGRAM and https://HOST/PATH are accepted");
}

/* ---- calls ---- */

long module_time_left(const module_call *c)
{
    apr_interval_time_t left = c->deadline - apr_time_now();

    return left > 0 ? (long)(left / 1000) : 0;
}

bool module_challenge_fits(scep_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] > '~')
            return false;
    return text.len >= 1 && text.len <= POLICY_MODULE_CHALLENGE_MOST;
}

/* A line break in it would be one in what a program reads, and the request's author could write
 * what seems to be scep-ca's. */
static bool is_clean(scep_bytes challenge)
{
    for (size_t i = 0; i < challenge.len; i++)
        if (challenge.data[i] < ' ' || challenge.data[i] == 0x7f)
            return false;
    return true;
}

static module_call begin_call(const policy_module *m, const policy_module_request *r,
                              module_kind kind, apr_pool_t *p)
{
    static const char *const names[] = { "verify", "generate", "notify" };
    module_call c = {
        .kind = kind,
        .name = names[kind],
        .template_name = r->template_name ? r->template_name : "",
        .peer = r->peer ? r->peer : "",
        .transaction_id = scep_printable(p, r->transaction_id, 256),
        .params = "",
        .renewal = r->old != NULL,
        .challenge = r->challenge,
        .csr = r->csr,
        .deadline = apr_time_now() + m->timeout,
    };

    if (r->deadline && r->deadline < c.deadline)
        c.deadline = r->deadline;
    return c;
}

static const scep_err *perform(module_answer *out, policy_module *m, const module_call *c,
                               apr_pool_t *p)
{
    const scep_err *err;

    *out = (module_answer){ .reason = "" };
    if (!module_time_left(c))
        err = scep_fail(p, UNAVAILABLE, "the request's time is over already");
    else
        err = m->call(out, m, c, p);
    if (!err && (out->yes || c->kind != MODULE_NOTIFY)) {
        if (!out->yes)
            log_line(LOG_LEVEL_WARN,
                     "SCEP0322: the policy module of endpoint %s says no: %s txid=\"%s\" "
                     "from=\"%s\" reason=\"%s\"",
                     m->endpoint, c->name, c->transaction_id,
                     scep_printable(p, scep_bytes_of(c->peer), 64), out->reason);
        return NULL;
    }
    if (!err)
        err = scep_fail(p, UNAVAILABLE, "it says no to what has happened: %s", out->reason);
    log_line(
        LOG_LEVEL_ERROR,
        "SCEP0321: the policy module of endpoint %s failed: %s txid=\"%s\" from=\"%s\": %s: %s",
        m->endpoint, c->name, c->transaction_id, scep_printable(p, scep_bytes_of(c->peer), 64),
        scep_printable(p, scep_bytes_of(m->address), 200), err->detail);
    return scep_fail(p, UNAVAILABLE, "the policy module failed: %s: %s", c->name, err->detail);
}

const scep_err *policy_module_verify(policy_module *m, const policy_module_request *r,
                                     apr_pool_t *p)
{
    module_call c = begin_call(m, r, MODULE_VERIFY, p);
    module_answer answer;

    if (!is_clean(r->challenge))
        return scep_fail(p, CHALLENGE, "the challenge password holds control characters");
    if (r->old)
        SCEP_TRY(scep_cert_der(&c.certificate, r->old, p));
    SCEP_TRY(perform(&answer, m, &c, p));
    if (answer.yes)
        return NULL;
    return scep_err_make(p, r->old ? SCEP_REFUSED : SCEP_CHALLENGE, __FILE__, __LINE__,
                         "the policy module says no: %s",
                         *answer.reason ? answer.reason : "(no reason given)");
}

const scep_err *policy_module_generate(const char **challenge, policy_module *m,
                                       const char *template_name, const char *params,
                                       const char *peer, apr_pool_t *p)
{
    const policy_module_request r = { .template_name = template_name, .peer = peer };
    module_call c = begin_call(m, &r, MODULE_GENERATE, p);
    module_answer answer;

    c.params = params;
    SCEP_TRY(perform(&answer, m, &c, p));
    if (!answer.yes)
        return scep_fail(p, REFUSED, "the policy module says no: %s",
                         *answer.reason ? answer.reason : "(no reason given)");
    *challenge = answer.challenge;
    return NULL;
}

const scep_err *policy_module_notify(policy_module *m, const policy_module_request *r,
                                     policy_module_disposition disposition, uint32_t hresult,
                                     scep_bytes certificate, apr_pool_t *p)
{
    module_call c = begin_call(m, r, MODULE_NOTIFY, p);
    module_answer answer;

    if (!is_clean(r->challenge))
        c.challenge = (scep_bytes){ NULL, 0 };
    c.disposition = (int)disposition;
    c.hresult = hresult;
    c.certificate = certificate;
    return perform(&answer, m, &c, p);
}
