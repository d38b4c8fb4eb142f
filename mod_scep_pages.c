/*
 * The pages that people and programs read: challenges, and what stands where no operation is
 * asked for. Every MDM scrapes them by the marker sentences, byte by byte, and by the encoding:
 * UTF-16LE with a byte order mark and no charset in the Content-Type.
 */
#include "mod_scep.h"

#include <apr_strings.h>
#include <http_main.h>
#include <string.h>
#include <strings.h>

#define RETRY_AFTER 10 /* seconds */

void scep_no_store(request_rec *r)
{
    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
}

int scep_try_later(request_rec *r)
{
    scep_no_store(r);
    scep_retry_after(r, RETRY_AFTER);
    return HTTP_SERVICE_UNAVAILABLE;
}

void scep_retry_after(request_rec *r, unsigned int seconds)
{
    apr_table_setn(r->err_headers_out, "Retry-After",
                   apr_psprintf(r->pool, "%u", seconds ? seconds : 1));
}

int scep_send(request_rec *r, int status, const char *content_type, scep_bytes body)
{
    /* AddDefaultCharset works on r->content_type alone. */
    ap_set_content_type(r, NULL);
    apr_table_setn(r->headers_out, "Content-Type", content_type);
    ap_set_content_length(r, (apr_off_t)body.len);
    r->status = status;
    /* A failed write means that the client went away; nobody is left to be told. */
    if (!r->header_only)
        (void)ap_rwrite(body.data, (int)body.len, r);
    return OK;
}

/* ---- text ---- */

#define HEAD                                                                      \
    "<HTML>\r\n<Head>\r\n"                                                        \
    "<Meta HTTP-Equiv=\"Content-Type\" Content=\"text/html; charset=UTF-8\">\r\n" \
    "<Title>" TITLE "</Title>\r\n</Head>\r\n"                                     \
    "<Body>\r\n<P ID=locPageTitle> <B> " TITLE " </B>\r\n"
#define TITLE "Network Device Enrollment Service"
#define FOOT "\r\n</Body>\r\n</HTML>\r\n"

/* ASCII parts, NULL at the end, as UTF-16LE. They may hold a challenge: the page is wiped. */
static scep_bytes page(apr_pool_t *p, const char *const *parts)
{
    size_t len = 1, i;
    unsigned char *text, *at;
    const char *c;

    for (i = 0; parts[i]; i++)
        len += strlen(parts[i]);
    at = text = scep_secret(p, len * 2);
    *at++ = 0xff;
    *at++ = 0xfe;
    for (i = 0; parts[i]; i++) {
        for (c = parts[i]; *c; c++) {
            *at++ = (unsigned char)*c;
            *at++ = 0;
        }
    }
    return (scep_bytes){ text, len * 2 };
}

static int send_page(request_rec *r, const char *const *parts)
{
    return scep_send(r, HTTP_OK, "text/html", page(r->pool, parts));
}

/* What came from the configuration, as ASCII. */
static const char *html(request_rec *r, const char *text)
{
    return ap_escape_html2(r->pool, text, 1);
}

int scep_page_info(request_rec *r)
{
    const char *parts[] = {
        HEAD,
        "<P> Devices get their certificates at this address, with the Simple Certificate "
        "Enrollment Protocol (SCEP). There is nothing here for a browser.\r\n"
        "<P> The password that a device needs is found at ",
        html(r,
             apr_pstrcat(r->pool, "/",
                         scep_settings_text(scep_server_settings(r->server), SCEP_SET_PasswordVDir),
                         NULL)),
        ", unless the administrator gave another address.",
        FOOT,
        NULL,
    };

    return send_page(r, parts);
}

/* ---- the challenge page ---- */

/* Upper-case hex in groups of eight: a longer run would be taken for the password. */
static const scep_err *thumbprint(const char **out, request_rec *r, X509 *root)
{
    const char *name = scep_settings_text(scep_request_settings(r), SCEP_SET_Thumbprint);
    const EVP_MD *md = !strcmp(name, "sha256") ? EVP_sha256()
                       : !strcmp(name, "sha1") ? EVP_sha1()
                                               : EVP_md5();
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len, i;

    if (X509_digest(root, md, digest, &len) != 1)
        return scep_fail(r->pool, INTERNAL,
                         "no %s thumbprint can be made; set SCEPThumbprint to another digest",
                         name);
    *out = "";
    for (i = 0; i < len; i += 4) {
        scep_bytes four = { digest + i, 4 };

        *out = apr_pstrcat(r->pool, *out, i ? " " : "", scep_hex(r->pool, four), NULL);
    }
    return NULL;
}

/* A browser that fetches ahead, or that another site sends here, would use up a place among the
 * unused challenges for nobody. */
static bool unwanted(request_rec *r)
{
    static const char *const ahead[] = { "Sec-Purpose", "Purpose", "X-Purpose", "X-Moz" };
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    size_t i;

    if (r->main || (site && !strcasecmp(site, "cross-site")))
        return true;
    for (i = 0; i < sizeof(ahead) / sizeof(*ahead); i++) {
        const char *purpose = apr_table_get(r->headers_in, ahead[i]);

        if (purpose && (ap_strcasestr(purpose, "prefetch") || ap_strcasestr(purpose, "prerender") ||
                        ap_strcasestr(purpose, "preview")))
            return true;
    }
    return false;
}

int scep_may_ask(request_rec *r)
{
    if (!scep_settings_flag(scep_server_settings(ap_server_conf), SCEP_SET_Admin)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SCEP0070: the challenge page was asked for, but SCEPAdmin is off: turn it "
                      "on, or send administrators to the httpd that has it on");
        return HTTP_NOT_FOUND;
    }
    /* httpd copies the user to a redirect within the same sections and checks nothing anew: with
     * an ErrorDocument 401 that leads here, the user is the one whose password was wrong. */
    if (r->prev) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SCEP0076: NDES-6 no challenge for a request that httpd redirected here from "
                      "'%s' (ErrorDocument, a rewrite in a section): let the client be sent here, "
                      "or ask for the address itself",
                      r->prev->uri);
        return HTTP_FORBIDDEN;
    }
    if (scep_path_under_htaccess(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SCEP0077: NDES-6 no challenge at '%s', where a .htaccess has a say: its "
                      "author could let anybody in; write the challenge page into httpd.conf, with "
                      "AllowOverride None for the folders of that address",
                      r->uri);
        return HTTP_FORBIDDEN;
    }
    /* ap_auth_type as well: a name alone is set before a password is checked. */
    if (!r->user || !*r->user || !r->ap_auth_type) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SCEP0071: NDES-6 nobody was authenticated, so no challenge is given: add "
                      "AuthType, the provider of its users and 'Require valid-user' (or a group) "
                      "to <Location \"%s\">; 'Require all granted' or 'Require ip' is not enough",
                      !strcmp(r->uri, apr_pstrcat(r->pool, scep_admin_path(r->server, r->pool),
                                                  "/mscep.dll", NULL))
                          ? scep_admin_path(r->server, r->pool)
                          : r->uri);
        return HTTP_FORBIDDEN;
    }
    if (unwanted(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SCEP0072: no challenge for a page that was fetched ahead, embedded, or "
                      "linked to by another site (user %s): open its address itself",
                      r->user);
        return HTTP_FORBIDDEN;
    }
    return OK;
}

static int page_challenge(request_rec *r, const scep_wire_minted *minted, const char *digest)
{
    const char *parts[] = {
        HEAD,
        "<P> What a device needs to enroll with the Simple Certificate Enrollment Protocol "
        "(SCEP):\r\n"
        "<P> The thumbprint (hash value) for the CA certificate is: <B> ",
        digest,
        " </B>\r\n <P> The enrollment challenge password is: <B> ",
        minted->challenge,
        " </B> <P> This password can be used only once and will expire within ",
        apr_psprintf(r->pool, "%u", minted->minutes),
        " minutes. <P> Each enrollment requires a new challenge password. You can refresh this "
        "web page to obtain a new challenge password.",
        FOOT,
        NULL,
    };

    return send_page(r, parts);
}

void scep_log_unminted(request_rec *r, const char *endpoint, const scep_wire_minted *minted)
{
    if (minted->outcome == SCEP_MINT_FULL)
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SCEP0073: no challenge for user %s: SCEPPasswordMax unused challenges of "
                      "endpoint '%s' stand; raise it or lower SCEPPasswordValidity",
                      r->user, endpoint);
    if (minted->outcome == SCEP_MINT_NOT_PERMITTED)
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SCEP0074: NDES-6 no challenge for user %s: not permitted to enroll at "
                      "endpoint '%s'; permit it on the template or in the authority's policy",
                      r->user, endpoint);
    if (minted->outcome == SCEP_MINT_TOO_OFTEN)
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SCEP0078: no challenge for user %s: more than SCEPMintMax of endpoint '%s' "
                      "in a minute; see what asks for them, or raise it",
                      r->user, endpoint);
}

static int page_full(request_rec *r)
{
    static const char *const parts[] = {
        HEAD,
        "<P> The password cache is full. <P> As many passwords as may wait for their devices "
        "(SCEPPasswordMax) are out, all of them unused.\r\n<P> Use one of those, wait until one "
        "expires, or have the number raised.",
        FOOT,
        NULL,
    };

    return send_page(r, parts);
}

static int page_not_permitted(request_rec *r)
{
    static const char *const parts[] = {
        HEAD,
        "<P> You do not have sufficient permission to enroll with SCEP.  Please contact your "
        "system administrator. </P>",
        FOOT,
        NULL,
    };

    return send_page(r, parts);
}

/* NDES has no such page: what mints in a loop reads the status. */
static int too_often(request_rec *r, unsigned int seconds)
{
    scep_retry_after(r, seconds);
    return scep_send(r, HTTP_TOO_MANY_REQUESTS, "text/plain",
                     scep_bytes_of("too many challenges asked for: try again later\n"));
}

int scep_no_challenge(request_rec *r, const scep_err *err)
{
    int status = scep_code_describe(err->code)->http_status;

    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "SCEP0075: %sno challenge was made for user %s: %s; see that scep-ca runs and "
                  "what it says",
                  scep_event(r, err->code), r->user, err->detail);
    return status == HTTP_INTERNAL_SERVER_ERROR ? status : scep_try_later(r);
}

/* A device's profile holds the fingerprint of the top of the chain. */
static X509 *top_of(const scep_known *known)
{
    const STACK_OF(X509) *chain = known->identities[0].chain;

    return sk_X509_value(chain, sk_X509_num(chain) - 1);
}

static int mint(request_rec *r)
{
    scep_wire_mint request = { .endpoint = scep_request_endpoint(r),
                               .user = r->user,
                               .peer = r->useragent_ip };
    const scep_known *known = scep_known_public(r, request.endpoint);
    const scep_err *err;
    scep_wire_minted minted;
    const char *digest = "";

    if (known)
        err = thumbprint(&digest, r, top_of(known));
    else
        err = scep_fail(r->pool, UNAVAILABLE, "nothing is known of the endpoint '%s'",
                        request.endpoint);
    if (!err)
        err = scep_ca_mint(&minted, r, &request);
    if (err)
        return scep_no_challenge(r, err);
    scep_log_unminted(r, request.endpoint, &minted);
    switch (minted.outcome) {
    case SCEP_MINT_DONE:
        return page_challenge(r, &minted, digest);
    case SCEP_MINT_FULL:
        return page_full(r);
    case SCEP_MINT_NOT_PERMITTED:
        return page_not_permitted(r);
    case SCEP_MINT_TOO_OFTEN:
        return too_often(r, minted.retry);
    default:
        return scep_no_challenge(r, scep_fail(r->pool, INTERNAL, "an answer of another version"));
    }
}

int scep_page_admin(request_rec *r)
{
    int status;

    scep_no_store(r);
    status = scep_may_ask(r);
    if (status != OK)
        return status;
    if (r->header_only) {
        static const scep_bytes nothing;

        return scep_send(r, HTTP_OK, "text/html", nothing);
    }
    if (scep_bound_is_wanted(r))
        return scep_bound_mint(r);
    /* Some scripts POST a form here; whatever it says, the page is the answer. */
    status = ap_discard_request_body(r);
    return status == OK ? mint(r) : status;
}
