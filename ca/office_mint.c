/* The office: challenges for authenticated users. */
#include "office_int.h"

#include "log.h"
#include "template.h"

#include <apr_strings.h>
#include <string.h>

/* One that no request at this endpoint gets would be of no use. */
static const scep_err *bind_template(const char **out, const office_endpoint *e, const char *name,
                                     apr_pool_t *p)
{
    static const uint32_t usages[] = { KU_DIGITAL_SIGNATURE, KU_KEY_ENCIPHERMENT, 0 };

    *out = name;
    if (!*name)
        return NULL;
    for (size_t i = 0; i < sizeof(usages) / sizeof(*usages); i++) {
        const conf_template *t = template_pick(e->authority->conf, &e->settings, usages[i]);

        if (t && !strcmp(t->name, name))
            return NULL;
    }
    return scep_fail(p, BAD_REQUEST,
                     "the endpoint has no template \"%s\": one of its SCEPTemplate is accepted",
                     scep_printable(p, scep_bytes_of(name), 80));
}

static const scep_err *bind_all(policy_binding *out, const office_endpoint *e,
                                const scep_wire_mint *in, apr_pool_t *p)
{
    int n = in->names ? in->names->nelts : 0;
    apr_array_header_t *names = apr_array_make(p, n, sizeof(const char *));

    for (int i = 0; i < n; i++)
        APR_ARRAY_PUSH(names, const char *) = APR_ARRAY_IDX(in->names, i, scep_wire_alt_name).text;
    SCEP_TRY(policy_bind(out, in->subject ? in->subject : "", names, p));
    return bind_template(&out->template_name, e, in->template_name ? in->template_name : "", p);
}

static const scep_err *mint(scep_wire_minted *out, challenge_order *order, const office *o,
                            const scep_wire_mint *in, apr_pool_t *p)
{
    office_endpoint *e;
    challenge_limits limits;
    apr_int64_t expires = 0;
    const char *key;
    long most;

    SCEP_TRY(office_endpoint_wanted(&e, o, in->endpoint, p));
    limits.max = scep_settings_number(&e->settings, SCEP_SET_PasswordMax);
    limits.minutes = scep_settings_number(&e->settings, SCEP_SET_PasswordValidity);
    limits.length = scep_settings_number(&e->settings, SCEP_SET_PasswordLength);
    out->minutes = (uint32_t)limits.minutes;
    out->outcome = SCEP_MINT_NOT_PERMITTED;
    /* Nobody was authenticated: the worker should not have asked. */
    if (!*in->user)
        return NULL;
    key = apr_pstrcat(p, e->name, "\n", in->user, NULL);
    most = scep_settings_number(&e->settings, SCEP_SET_MintMax);
    out->retry = (uint32_t)scep_limit_hit(o->minted, scep_bytes_of(key), (int)most);
    out->outcome = SCEP_MINT_TOO_OFTEN;
    if (out->retry)
        return NULL;
    if (e->module || in->generate)
        return office_module_mint(out, &order->bound.template_name, e, in, p);
    SCEP_TRY(bind_all(&order->bound, e, in, p));
    SCEP_TRY(
        challenge_mint(&out->challenge, &expires, o->store, o->key, e->name, &limits, order, p));
    out->outcome = out->challenge ? SCEP_MINT_DONE : SCEP_MINT_FULL;
    out->expires = (uint64_t)expires;
    return NULL;
}

/* The names that a challenge is bound to, as one line. */
static const char *one_line(const char *lines, apr_pool_t *p)
{
    char *text = apr_pstrdup(p, lines ? lines : "");

    for (char *at = text; (at = strchr(at, '\n')); at++)
        *at = ',';
    return scep_printable(p, scep_bytes_of(text), 300);
}

const scep_err *office_mint(scep_wire_minted *out, office *o, const scep_wire_mint *in,
                            apr_pool_t *p)
{
    static const char *const words[] = { "failed", "minted", "full", "not-permitted", "too-often" };
    challenge_order order = { .user = in->user, .peer = in->peer };
    const scep_err *err;

    *out = (scep_wire_minted){ 0 };
    err = mint(out, &order, o, in, p);
    log_line(LOG_LEVEL_INFO,
             "SCEP0241: mint endpoint=\"%s\" verdict=%s reason=\"%s\" user=\"%s\" from=\"%s\" "
             "expires=%" APR_UINT64_T_FMT " subject=\"%s\" names=\"%s\" template=\"%s\"",
             scep_printable(p, scep_bytes_of(in->endpoint), 80), words[err ? 0 : out->outcome],
             err ? scep_printable(p, scep_bytes_of(err->detail), 300) : "",
             scep_printable(p, scep_bytes_of(in->user), 80),
             scep_printable(p, scep_bytes_of(in->peer), 64), (apr_uint64_t)out->expires,
             scep_printable(p, scep_bytes_of(order.bound.subject), 300),
             one_line(order.bound.names, p),
             scep_printable(p, scep_bytes_of(order.bound.template_name), 80));
    return err;
}
