/* The office: challenges for authenticated users. */
#include "office_int.h"

#include "log.h"
#include "single.h"
#include "template.h"

#include <apr_strings.h>
#include <string.h>

/* What is to be minted. */
typedef struct minting {
    office *o;
    office_endpoint *e;
    const scep_wire_mint *in;
    bool administrator; /* scepctl's: whoever may use its socket may have any challenge */
    challenge_order order;
    const char *reason; /* of what is not minted and no error, for the audit line */
    apr_pool_t *p;
} minting;

#define TEMPLATES 3

/* The distinct templates of an endpoint. @return how many */
static int templates_of(const conf_template *out[TEMPLATES], const office_endpoint *e)
{
    static const uint32_t usages[TEMPLATES] = { KU_DIGITAL_SIGNATURE, KU_KEY_ENCIPHERMENT, 0 };
    int n = 0;

    for (int i = 0; i < TEMPLATES; i++) {
        const conf_template *t = template_pick(e->authority->conf, &e->settings, usages[i]);
        bool known = !t;

        for (int k = 0; k < n; k++)
            known = known || t == out[k];
        if (!known)
            out[n++] = t;
    }
    return n;
}

/* One that no request at this endpoint gets would be of no use. */
static const scep_err *bind_template(const char **out, const office_endpoint *e, const char *name,
                                     apr_pool_t *p)
{
    const conf_template *all[TEMPLATES];
    int n = templates_of(all, e);

    *out = name;
    if (!*name)
        return NULL;
    for (int i = 0; i < n; i++)
        if (!strcmp(all[i]->name, name))
            return NULL;
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

/* The templates that the challenge will be good for. @return how many */
static int templates_wanted(const conf_template *out[TEMPLATES], minting *m)
{
    const char *bound = m->order.bound.template_name, *names = "";
    const conf_template *all[TEMPLATES];
    int n = templates_of(all, m->e), wanted = 0;

    for (int i = 0; i < n; i++) {
        if (*bound && strcmp(bound, all[i]->name) != 0)
            continue;
        names = apr_pstrcat(m->p, names, *names ? ", " : "", all[i]->name, NULL);
        out[wanted++] = all[i];
    }
    m->order.templates = names;
    return wanted;
}

/* As NDES has it: whoever gets a challenge may enrol on each template that it is good for. Both
 * ca.conf and the directory have to say so; the directory is asked last, as it takes its time. */
static const scep_err *permit(bool *out, minting *m)
{
    const conf_template *wanted[TEMPLATES];
    int n = templates_wanted(wanted, m);

    *out = m->administrator;
    if (*out)
        return NULL;
    for (int i = 0; i < n; i++) {
        if (conf_may_enroll(wanted[i], m->in->user))
            continue;
        m->reason = apr_psprintf(m->p, "template %s does not name this user in its enroll",
                                 wanted[i]->name);
        return NULL;
    }
    SCEP_TRY(office_directory_permits(&m->reason, m->e->authority, wanted, n, m->in->user, m->p));
    *out = !*m->reason;
    return NULL;
}

/* @return seconds to wait; 0: go on */
static int too_often(const minting *m)
{
    const char *key = apr_pstrcat(m->p, m->e->name, "\n", m->in->user, NULL);
    long most = scep_settings_number(&m->e->settings, SCEP_SET_MintMax);

    return m->administrator ? 0 : scep_limit_hit(m->o->minted, scep_bytes_of(key), (int)most);
}

static const scep_err *mint_single(scep_wire_minted *out, const minting *m, long length)
{
    const policy_binding *b = &m->order.bound;

    if (*b->template_name || (b->subject && *b->subject) || (b->names && *b->names))
        return scep_fail(m->p, BAD_REQUEST,
                         "the single password cannot be bound; turn SCEPUseSinglePassword off");
    SCEP_TRY(single_password(&out->challenge, m->o->store, m->o->key, m->e->name, length, &m->order,
                             m->p));
    out->single = 1;
    out->outcome = SCEP_MINT_DONE;
    return NULL;
}

static bool has_single(const office_endpoint *e)
{
    return !e->module && scep_settings_flag(&e->settings, SCEP_SET_UseSinglePassword);
}

/* Said now, as the page may not be visited for months: whoever raised SCEPPasswordLength believes
 * that the short password is gone. */
void office_singles_judge(const office *o, apr_pool_t *p)
{
    for (int i = 0; i < o->endpoints->nelts; i++) {
        const office_endpoint *e = APR_ARRAY_IDX(o->endpoints, i, office_endpoint *);
        const scep_err *err = NULL;

        if (has_single(e))
            err = single_password_fits(o->store, o->key, e->name,
                                       scep_settings_number(&e->settings, SCEP_SET_PasswordLength),
                                       p);
        if (err)
            log_err(LOG_LEVEL_WARN, "SCEP0297", "NDES-49 the challenge page will show an error",
                    err);
    }
}

static const scep_err *mint_one(scep_wire_minted *out, const minting *m)
{
    const scep_settings *s = &m->e->settings;
    const challenge_limits limits = { .max = scep_settings_number(s, SCEP_SET_PasswordMax),
                                      .minutes = scep_settings_number(s, SCEP_SET_PasswordValidity),
                                      .length = scep_settings_number(s, SCEP_SET_PasswordLength) };
    apr_int64_t expires = 0;

    if (scep_settings_flag(s, SCEP_SET_UseSinglePassword))
        return mint_single(out, m, limits.length);
    SCEP_TRY(challenge_mint(&out->challenge, &expires, m->o->store, m->o->key, m->e->name, &limits,
                            &m->order, m->p));
    out->outcome = out->challenge ? SCEP_MINT_DONE : SCEP_MINT_FULL;
    out->expires = (uint64_t)expires;
    return NULL;
}

static const scep_err *mint(scep_wire_minted *out, minting *m)
{
    bool may;

    SCEP_TRY(office_endpoint_wanted(&m->e, m->o, m->in->endpoint, m->p));
    out->minutes = (uint32_t)scep_settings_number(&m->e->settings, SCEP_SET_PasswordValidity);
    out->outcome = SCEP_MINT_NOT_PERMITTED;
    m->reason = "nobody was authenticated";
    /* The worker should not have asked. */
    if (!*m->in->user)
        return NULL;
    out->retry = (uint32_t)too_often(m);
    out->outcome = SCEP_MINT_TOO_OFTEN;
    m->reason = "";
    if (out->retry)
        return NULL;
    if (m->e->module || m->in->generate)
        SCEP_TRY(office_module_template(&m->order.bound.template_name, m->e, m->in, m->p));
    else
        SCEP_TRY(bind_all(&m->order.bound, m->e, m->in, m->p));
    out->outcome = SCEP_MINT_NOT_PERMITTED;
    SCEP_TRY(permit(&may, m));
    if (!may)
        return NULL;
    return m->e->module ? office_module_mint(out, m->e, m->order.bound.template_name, m->in, m->p)
                        : mint_one(out, m);
}

/* The names that a challenge is bound to, as one line. */
static const char *one_line(const char *lines, apr_pool_t *p)
{
    char *text = apr_pstrdup(p, lines ? lines : "");

    for (char *at = text; (at = strchr(at, '\n')); at++)
        *at = ',';
    return scep_printable(p, scep_bytes_of(text), 300);
}

static const scep_err *mint_and_say(scep_wire_minted *out, minting *m)
{
    static const char *const words[] = { "failed", "minted", "full", "not-permitted", "too-often" };
    const scep_wire_mint *in = m->in;
    apr_pool_t *p = m->p;
    const scep_err *err;

    *out = (scep_wire_minted){ 0 };
    m->order = (challenge_order){ .user = in->user, .peer = in->peer };
    err = mint(out, m);
    log_line(LOG_LEVEL_INFO,
             "SCEP0241: mint endpoint=\"%s\" verdict=%s reason=\"%s\" user=\"%s\" from=\"%s\" "
             "expires=%" APR_UINT64_T_FMT " subject=\"%s\" names=\"%s\" template=\"%s\"",
             scep_printable(p, scep_bytes_of(in->endpoint), 80), words[err ? 0 : out->outcome],
             err ? scep_in_quotes(p, err->detail, 300) : m->reason,
             scep_printable(p, scep_bytes_of(in->user), 80),
             scep_printable(p, scep_bytes_of(in->peer), 64), (apr_uint64_t)out->expires,
             scep_printable(p, scep_bytes_of(m->order.bound.subject), 300),
             one_line(m->order.bound.names, p),
             scep_printable(p, scep_bytes_of(m->order.bound.template_name), 80));
    office_count_mint(m->e, out);
    return err;
}

const scep_err *office_mint(scep_wire_minted *out, office *o, const scep_wire_mint *in,
                            apr_pool_t *p)
{
    return mint_and_say(out, &(minting){ .o = o, .in = in, .reason = "", .p = p });
}

const scep_err *office_mint_for_administrator(scep_wire_minted *out, office *o,
                                              const scep_wire_mint *in, apr_pool_t *p)
{
    return mint_and_say(
        out, &(minting){ .o = o, .in = in, .administrator = true, .reason = "", .p = p });
}
