/*
 * The pages that people and programs read: challenges, and what stands where no operation is
 * asked for. Every MDM scrapes them by the marker sentences, byte by byte.
 */
#include "mod_scep.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

/* ---- the information page ---- */

int scep_page_info(request_rec *r)
{
    const char *folder = scep_settings_text(scep_server_settings(r->server), SCEP_SET_PasswordVDir);
    const char *path =
        ap_os_escape_path(r->pool, apr_pstrcat(r->pool, "/", folder, NULL), /* partial */ 1);
    const char *url = scep_html(r, ap_construct_url(r->pool, path, r));
    const char *const parts[] = {
        "<P> Routers and other devices of a network get their certificates here, with the Simple "
        "Certificate Enrollment Protocol (SCEP).\r\n"
        "<P> This address is for devices, which send their certificate requests to it. The "
        "enrollment challenge password that a device needs is given out at the admin URL, which "
        "unless set up otherwise is <A HREF=\"",
        url,
        "\">",
        url,
        "</A>",
        NULL,
    };

    return scep_send_page(r, parts);
}

/* ---- the challenge page ---- */

static const char *use_of(request_rec *r, const scep_wire_minted *minted)
{
    if (minted->single)
        return "This password can be used multiple times and will not expire.";
    return apr_psprintf(r->pool,
                        "This password can be used only once and will expire within %u minutes. "
                        "<P> Each enrollment requires a new challenge password. You can refresh "
                        "this web page to obtain a new challenge password.",
                        minted->minutes);
}

/* Made before there is a challenge, which nobody would see if these failed. */
typedef struct thumbprints {
    const char *usual;
    const char *sha256;
} thumbprints;

/* Digests stand in groups: a longer run of digits would be taken for the password. SHA-256 comes
 * after it, since some clients take what comes first. */
static int page_challenge(request_rec *r, const scep_wire_minted *minted, const thumbprints *of_ca)
{
    const char *const parts[] = {
        "<P> What a device needs to enroll with the Simple Certificate Enrollment Protocol "
        "(SCEP):\r\n"
        "<P> The thumbprint (hash value) for the CA certificate is: <B> ",
        of_ca->usual,
        " </B>\r\n <P> The enrollment challenge password is: <B> ",
        minted->challenge,
        " </B> <P> ",
        use_of(r, minted),
        "\r\n<P> The SHA-256 hash value of the same certificate is: <B> ",
        of_ca->sha256,
        " </B>",
        NULL,
    };

    return scep_send_page(r, parts);
}

/* One client believes only a page that has the words before the password. */
static int page_full(request_rec *r)
{
    static const char *const parts[] = {
        "<P> The password cache is full. <P> As many passwords as may wait for their devices "
        "(SCEPPasswordMax) are out, all of them unused. The enrollment challenge password is not "
        "shown, as none was made.\r\n<P> Use one of those, wait until one expires, or have the "
        "number raised.",
        NULL,
    };

    return scep_send_page(r, parts);
}

static int page_not_permitted(request_rec *r)
{
    static const char *const parts[] = {
        "<P> You do not have sufficient permission to enroll with SCEP.  Please contact your "
        "system administrator. </P>",
        NULL,
    };

    return scep_send_page(r, parts);
}

/* NDES has no such page: what mints in a loop reads the status. */
static int too_often(request_rec *r, unsigned int seconds)
{
    scep_retry_after(r, seconds);
    return scep_send(r, HTTP_TOO_MANY_REQUESTS, "text/plain",
                     scep_bytes_of("too many challenges asked for: try again later\n"));
}

static int send_answer(request_rec *r, const scep_wire_minted *minted, const thumbprints *of_ca)
{
    switch (minted->outcome) {
    case SCEP_MINT_DONE:
        return page_challenge(r, minted, of_ca);
    case SCEP_MINT_FULL:
        return page_full(r);
    case SCEP_MINT_NOT_PERMITTED:
        return page_not_permitted(r);
    case SCEP_MINT_TOO_OFTEN:
        return too_often(r, minted->retry);
    default:
        return scep_no_challenge(r, scep_fail(r->pool, INTERNAL, "an answer of another version"));
    }
}

static const scep_err *make_thumbprints(thumbprints *out, request_rec *r, X509 *top)
{
    out->usual = scep_usual_thumbprint(r, top, 4);
    out->sha256 = scep_thumbprint(r->pool, top, EVP_sha256(), 4);
    if (!out->usual || !out->sha256)
        return scep_fail(r->pool, INTERNAL,
                         "no %s thumbprint can be made; set SCEPThumbprint to another digest",
                         scep_settings_text(scep_request_settings(r), SCEP_SET_Thumbprint));
    return NULL;
}

static int mint(request_rec *r)
{
    scep_wire_mint order = { .endpoint = scep_request_endpoint(r),
                             .user = r->user,
                             .peer = r->useragent_ip };
    bool bound = scep_bound_is_wanted(r);
    bool json = bound || scep_json_is_wanted(r);
    const char *wrong = bound ? scep_bound_read(&order, r) : NULL;
    const scep_known *known;
    const scep_err *err = NULL;
    scep_wire_minted minted;
    thumbprints of_ca;

    if (wrong)
        return scep_bound_refuse(r, wrong);
    known = scep_known_public(r, order.endpoint);
    if (!known)
        err = scep_fail(r->pool, UNAVAILABLE, "nothing is known of the endpoint '%s'",
                        order.endpoint);
    else if (!json)
        err = make_thumbprints(&of_ca, r, scep_known_top(known));
    if (!err)
        err = scep_ca_mint(&minted, r, &order);
    if (err && bound && err->code == SCEP_BAD_REQUEST)
        return scep_bound_refuse(r, err->detail);
    if (err)
        return scep_no_challenge(r, err);
    scep_log_unminted(r, order.endpoint, &minted);
    return json ? scep_json_send(r, &minted, scep_known_top(known))
                : send_answer(r, &minted, &of_ca);
}

/* Whoever asks like this counts on a policy module; a challenge that nobody reads would fill the
 * cache. */
static bool is_for_a_module(request_rec *r)
{
    const char *operation = scep_query_get(r->args, "operation", r->pool);

    return operation && !strncasecmp(operation, "NDES", 4);
}

int scep_page_admin(request_rec *r)
{
    int status;

    scep_no_store(r);
    status = scep_may_ask(r);
    if (status != OK)
        return status;
    if (is_for_a_module(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SCEP0091: an operation of policy modules was asked for by user %s at "
                      "endpoint '%s', which has none: see SCEPPolicyModule",
                      r->user, scep_request_endpoint(r));
        return HTTP_NOT_FOUND;
    }
    if (r->header_only) {
        static const scep_bytes nothing;

        return scep_send(r, HTTP_OK, scep_json_is_wanted(r) ? SCEP_JSON_TYPE : "text/html",
                         nothing);
    }
    if (!scep_bound_is_wanted(r)) {
        /* Some scripts POST a form here; whatever it says, the page is the answer. */
        status = ap_discard_request_body(r);
        if (status != OK)
            return status;
    }
    return mint(r);
}
