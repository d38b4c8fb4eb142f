/* The office: challenges for authenticated users. */
#include "office_int.h"

#include "log.h"

#include <apr_strings.h>

static const scep_err *mint(scep_wire_minted *out, const office *o, const scep_wire_mint *in,
                            apr_pool_t *p)
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
    SCEP_TRY(challenge_mint(&out->challenge, &expires, o->store, o->key, e->name, &limits, in->user,
                            in->peer, p));
    out->outcome = out->challenge ? SCEP_MINT_DONE : SCEP_MINT_FULL;
    out->expires = (uint64_t)expires;
    return NULL;
}

const scep_err *office_mint(scep_wire_minted *out, office *o, const scep_wire_mint *in,
                            apr_pool_t *p)
{
    static const char *const words[] = { "failed", "minted", "full", "not-permitted", "too-often" };
    const scep_err *err;

    *out = (scep_wire_minted){ 0 };
    err = mint(out, o, in, p);
    log_line(LOG_LEVEL_INFO,
             "SCEP0241: mint endpoint=\"%s\" verdict=%s reason=\"%s\" user=\"%s\" from=\"%s\" "
             "expires=%" APR_UINT64_T_FMT,
             scep_printable(p, scep_bytes_of(in->endpoint), 80), words[err ? 0 : out->outcome],
             err ? scep_printable(p, scep_bytes_of(err->detail), 300) : "",
             scep_printable(p, scep_bytes_of(in->user), 80),
             scep_printable(p, scep_bytes_of(in->peer), 64), (apr_uint64_t)out->expires);
    return err;
}
