/* The office: endpoints whose requests a policy module judges. */
#include "office_int.h"

#include "certs.h"
#include "message.h"
#include "template.h"

#include <stdio.h>
#include <string.h>

/* What a device is told where no code of its own says it: E_FAIL. */
#define HRESULT_FAIL 0x80004005u

/* scepctl does not wait longer for a module to hear of what was decided anyway. */
#define DECIDED_TIME apr_time_from_sec(10)

static bool has_program(const apr_array_header_t *endpoints)
{
    const char *name = scep_setting_describe(SCEP_SET_PolicyModule)->name;

    for (int i = 0; endpoints && i < endpoints->nelts; i++) {
        const scep_wire_endpoint *e = &APR_ARRAY_IDX(endpoints, i, scep_wire_endpoint);

        for (int n = 0; e->settings && n < e->settings->nelts; n++) {
            const scep_wire_setting *s = &APR_ARRAY_IDX(e->settings, n, scep_wire_setting);

            if (!strcasecmp(s->name, name) && policy_module_is_program(s->value))
                return true;
        }
    }
    return false;
}

const scep_err *office_wants_runner(bool *out, const char *conf_path,
                                    const apr_array_header_t *endpoints, apr_pool_t *p)
{
    conf *c;

    SCEP_TRY(conf_load(&c, conf_path, p));
    *out = has_program(endpoints);
    for (int i = 0; i < c->authorities->nelts; i++)
        *out =
            *out || !strcmp(APR_ARRAY_IDX(c->authorities, i, conf_authority *)->connector, "exec");
    return NULL;
}

const scep_err *office_modules(office *o, runner *r, const char *exec_user, apr_pool_t *p)
{
    for (int i = 0; i < o->endpoints->nelts; i++) {
        office_endpoint *e = APR_ARRAY_IDX(o->endpoints, i, office_endpoint *);
        const policy_module_source source = {
            .endpoint = e->name,
            .text = scep_settings_text(&e->settings, SCEP_SET_PolicyModule),
            .seconds = scep_settings_number(&e->settings, SCEP_SET_PolicyModuleTimeout),
            .conf = conf_module_find(o->conf, e->name),
            .exec_user = exec_user,
            .runner = r,
        };

        if (*source.text)
            SCEP_TRY(policy_module_make(&e->module, &source, p));
    }
    return NULL;
}

/* ---- requests ---- */

/* An OCTET STRING holds any bytes, and neither JSON nor a program's locale takes them all. */
static bool is_text(scep_bytes challenge)
{
    size_t at;

    return scep_is_utf8(challenge, &at);
}

static const scep_err *verify(policy_module *m, const policy_module_request *r, apr_pool_t *p)
{
    if (!is_text(r->challenge))
        return scep_fail(p, CHALLENGE, "the challenge password is no UTF-8");
    return policy_module_verify(m, r, p);
}

static const scep_err *notify(policy_module *m, policy_module_request r,
                              policy_module_disposition disposition, uint32_t hresult,
                              scep_bytes certificate, apr_pool_t *p)
{
    if (!is_text(r.challenge))
        r.challenge = (scep_bytes){ NULL, 0 };
    return policy_module_notify(m, &r, disposition, hresult, certificate, p);
}

static policy_module_request request_of(const application *a)
{
    return (policy_module_request){
        .template_name = a->template ? a->template->name : "",
        .peer = a->peer,
        .transaction_id = a->transaction_id,
        /* A renewal has its certificate instead. */
        .challenge = a->csr && !a->old ? a->csr->challenge : (scep_bytes){ NULL, 0 },
        .csr = a->csr ? a->csr->der : (scep_bytes){ NULL, 0 },
        .old = a->old,
        .deadline = a->deadline,
    };
}

const scep_err *office_module_verify(const application *a)
{
    const policy_module_request r = request_of(a);

    return a->endpoint->module ? verify(a->endpoint->module, &r, a->p) : NULL;
}

/* Nothing was decided about it, so there is nothing to tell. */
static bool is_undecided(const scep_err *err)
{
    return err && !office_is_refusal(err->code);
}

static uint32_t hresult_of(const scep_err *err)
{
    uint32_t known = scep_code_describe(err->code)->hresult;

    return known ? known : HRESULT_FAIL;
}

const scep_err *office_module_notify(const application *a, const scep_err *err)
{
    const policy_module_request r = request_of(a);
    policy_module *m = a->endpoint->module;
    const scep_err *unheard;

    if (!m || is_undecided(err))
        return err;
    if (err) {
        unheard =
            notify(m, r, POLICY_MODULE_FAILURE, hresult_of(err), (scep_bytes){ NULL, 0 }, a->p);
        (void)unheard; /* it is in the log, and a refusal stands */
        return err;
    }
    if (a->answer.state == TRANSACTION_PENDING) {
        unheard = notify(m, r, POLICY_MODULE_PENDING, 0, (scep_bytes){ NULL, 0 }, a->p);
        (void)unheard; /* it will hear of the end */
        return NULL;
    }
    /* What it does not know of, it cannot revoke or count: the device asks again, gets the same
     * certificate, and the module hears of it once more. */
    return notify(m, r, POLICY_MODULE_SUCCESS, 0, a->answer.certificate, a->p);
}

/* ---- what waited ---- */

/* The inverse of scep_printable() for what it did not cut. */
static scep_bytes unprintable(const char *text, apr_pool_t *p)
{
    unsigned char *bytes = apr_palloc(p, strlen(text) + 1), *to = bytes;
    unsigned value;

    while (*text) {
        bool escaped = sscanf(text, "\\x%2X", &value) == 1;

        *to++ = (unsigned char)(escaped ? value : (unsigned char)*text);
        text += escaped ? 4 : 1;
    }
    return (scep_bytes){ bytes, (size_t)(to - bytes) };
}

/* As the module heard of it when it came. */
static const scep_err *request_of_queue(policy_module_request *out, const store_request *r,
                                        apr_time_t deadline, apr_pool_t *p)
{
    scep_csr *csr;
    X509 *old = NULL;

    SCEP_TRY(scep_csr_read(&csr, r->csr, p));
    if (r->old.len)
        SCEP_TRY(scep_cert_read(&old, r->old, p));
    *out = (policy_module_request){ .template_name = r->template_name,
                                    .peer = r->peer,
                                    .transaction_id = unprintable(r->transaction_id, p),
                                    .challenge = old ? (scep_bytes){ NULL, 0 } : csr->challenge,
                                    .csr = r->csr,
                                    .old = old,
                                    .deadline = deadline };
    return NULL;
}

const scep_err *office_module_delivered(const application *a, const store_request *r)
{
    policy_module_request told;

    SCEP_TRY(request_of_queue(&told, r, a->deadline, a->p));
    told.peer = a->peer;
    return notify(a->endpoint->module, told, POLICY_MODULE_SUCCESS, 0, a->answer.certificate, a->p);
}

const scep_err *office_module_verify_again(const office_endpoint *e, const store_request *r,
                                           apr_time_t deadline, apr_pool_t *p)
{
    policy_module_request asked;

    if (!e)
        return office_gone(r, p);
    if (!e->module)
        return NULL;
    SCEP_TRY(request_of_queue(&asked, r, deadline, p));
    return verify(e->module, &asked, p);
}

void office_module_decided(const office_endpoint *e, const store_request *r,
                           const issued_cert *cert, apr_pool_t *p)
{
    policy_module_request told;
    const scep_bytes certificate = cert ? cert->der : (scep_bytes){ NULL, 0 };
    const scep_err *err;

    if (!e || !e->module || request_of_queue(&told, r, apr_time_now() + DECIDED_TIME, p))
        return;
    err = notify(e->module, told, cert ? POLICY_MODULE_SUCCESS : POLICY_MODULE_FAILURE,
                 cert ? 0 : HRESULT_FAIL, certificate, p);
    (void)err; /* in the log; the decision stands, and a poll tells it again */
}

/* ---- challenges ---- */

const scep_err *office_module_template(const char **out, const office_endpoint *e,
                                       const scep_wire_mint *in, apr_pool_t *p)
{
    const conf_template *t;
    size_t at;

    if (!e->module)
        return scep_fail(p, BAD_REQUEST, "endpoint %s has no policy module that makes challenges",
                         e->name);
    if (in->generate != 1)
        return scep_fail(p, BAD_REQUEST,
                         "endpoint %s has a policy module, which makes its challenges: "
                         "operation=NDESGenerateChallenge asks for one",
                         e->name);
    if (!scep_is_utf8(scep_bytes_of(in->params), &at))
        return scep_fail(p, BAD_REQUEST, "params is no UTF-8");
    t = template_pick(e->authority->conf, &e->settings, in->key_usage);
    if (!t)
        return scep_fail(p, CONFIG, "the endpoint's template is not there");
    *out = t->name;
    return NULL;
}

const scep_err *office_module_mint(scep_wire_minted *out, const office_endpoint *e,
                                   const char *template_name, const scep_wire_mint *in,
                                   apr_pool_t *p)
{
    const scep_err *err =
        policy_module_generate(&out->challenge, e->module, template_name, in->params, in->peer, p);

    out->outcome = err ? SCEP_MINT_NOT_PERMITTED : SCEP_MINT_DONE;
    return err && err->code == SCEP_REFUSED ? NULL : err;
}
