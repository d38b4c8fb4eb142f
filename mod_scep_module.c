/*
 * Where an endpoint has a policy module: what NDES answers then. The device's address has no page
 * (403, by which scripts see that a module is there), and the administrator's two operations that
 * programs ask for.
 */
#include "mod_scep.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PARAMS_MOST 4096
#define PLAIN "text/plain"

bool scep_module_is_there(request_rec *r)
{
    const scep_settings *all = scep_endpoint_settings(scep_request_endpoint(r));

    return all && *scep_settings_text(all, SCEP_SET_PolicyModule);
}

int scep_module_info(request_rec *r)
{
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "SCEP0086: a GET without an operation, which is answered 403 where the endpoint "
                  "has a policy module: the address works");
    return HTTP_FORBIDDEN;
}

static int send_text(request_rec *r, const char *text)
{
    return scep_send(r, HTTP_OK, PLAIN, scep_bytes_of(text));
}

static int bad_request(request_rec *r, const char *what)
{
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "SCEP0087: no challenge for user %s: %s; correct the program that asks", r->user,
                  what);
    return scep_send(r, HTTP_BAD_REQUEST, PLAIN,
                     scep_bytes_of(apr_pstrcat(r->pool, what, "\n", NULL)));
}

/* As decimal, as "0xA0", and as "A0" where a letter says that it is hex. */
static bool read_key_usage(uint32_t *out, const char *text)
{
    bool prefixed = text && !strncasecmp(text, "0x", 2);
    const char *digits = prefixed ? text + 2 : text;
    bool hex;

    *out = 0;
    if (!text || !*text)
        return true;
    hex = prefixed || strspn(digits, "0123456789") != strlen(digits);
    if (!*digits || strlen(digits) > 8 ||
        strspn(digits, "0123456789abcdefABCDEF") != strlen(digits))
        return false;
    *out = (uint32_t)strtoul(digits, NULL, hex ? 16 : 10);
    return true;
}

static int answer_minted(request_rec *r, const char *endpoint, const scep_wire_minted *minted)
{
    switch (minted->outcome) {
    case SCEP_MINT_DONE:
        return send_text(r, minted->challenge);
    case SCEP_MINT_NOT_PERMITTED:
        scep_log_unminted(r, endpoint, minted);
        return HTTP_FORBIDDEN;
    case SCEP_MINT_TOO_OFTEN:
        scep_log_unminted(r, endpoint, minted);
        scep_retry_after(r, minted->retry);
        return scep_send(r, HTTP_TOO_MANY_REQUESTS, PLAIN,
                         scep_bytes_of("too many challenges asked for: try again later\n"));
    default:
        return scep_no_challenge(r, scep_fail(r->pool, INTERNAL, "an answer of another version"));
    }
}

static int generate(request_rec *r)
{
    const char *params = scep_query_get(r->args, "params", r->pool);
    scep_wire_mint request = { .endpoint = scep_request_endpoint(r),
                               .user = r->user,
                               .peer = r->useragent_ip,
                               .generate = 1,
                               .params = params ? params : "" };
    scep_wire_minted minted;
    const scep_err *err;
    size_t at;

    if (!read_key_usage(&request.key_usage, scep_query_get(r->args, "keyUsage", r->pool)))
        return bad_request(r, "keyUsage is no number; 0x80, 0x20, 0xA0 and the like are accepted");
    if (strlen(request.params) > PARAMS_MOST)
        return bad_request(r, "params has over 4096 bytes");
    if (!scep_is_utf8(scep_bytes_of(request.params), &at))
        return bad_request(r, "params is no UTF-8");
    if (r->header_only) /* a challenge that nobody receives */
        return send_text(r, "");
    err = scep_ca_mint(&minted, r, &request);
    if (err)
        return scep_no_challenge(r, err);
    return answer_minted(r, request.endpoint, &minted);
}

/* MD5 as NDES has it, unless SCEPThumbprint says otherwise, in one run of hex digits. */
static int thumbprint(request_rec *r)
{
    const scep_known *known = scep_known_public(r, scep_request_endpoint(r));
    const char *text;

    if (!known)
        return scep_try_later(r);
    text = scep_usual_thumbprint(r, scep_known_top(known), EVP_MAX_MD_SIZE);
    if (text)
        return send_text(r, text);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "SCEP0088: no %s thumbprint can be made; set SCEPThumbprint to another digest",
                  scep_settings_text(scep_request_settings(r), SCEP_SET_Thumbprint));
    return HTTP_INTERNAL_SERVER_ERROR;
}

int scep_module_admin(request_rec *r)
{
    const char *operation = scep_query_get(r->args, "operation", r->pool);
    int status;

    scep_no_store(r);
    status = scep_may_ask(r);
    if (status == OK)
        status = ap_discard_request_body(r);
    if (status != OK)
        return status;
    if (operation && !strcasecmp(operation, "NDESGenerateChallenge"))
        return generate(r);
    if (operation && !strcasecmp(operation, "NDESGetCACertThumbprint"))
        return thumbprint(r);
    ap_log_rerror(
        APLOG_MARK, APLOG_WARNING, 0, r,
        "SCEP0089: no challenge page for user %s: the endpoint has a policy module, which "
        "makes its challenges; ask for them by ?operation=NDESGenerateChallenge",
        r->user);
    return HTTP_FORBIDDEN;
}
