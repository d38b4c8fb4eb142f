/*
 * Who may have a challenge, and what the error log says where there is none.
 */
#include "mod_scep.h"

#include <apr_strings.h>
#include <http_main.h>
#include <string.h>
#include <strings.h>

/* A browser that fetches ahead, or that another site sends here, would use up a place among the
 * unused challenges for nobody. */
static bool unwanted(request_rec *r)
{
    static const char *const ahead[] = { "Sec-Purpose", "Purpose", "X-Purpose", "X-Moz" };
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    const char *as = apr_table_get(r->headers_in, "Sec-Fetch-Dest");
    size_t i;

    if (r->main || (site && ap_strcasestr(site, "-site")))
        return true;
    /* an image, a frame, a script; "empty" is what a script of our own origin asks for */
    if (as && strcasecmp(as, "document") != 0 && strcasecmp(as, "empty") != 0)
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
                      "endpoint '%s': permit it on the template, unless the policy module said no",
                      r->user, endpoint);
    if (minted->outcome == SCEP_MINT_TOO_OFTEN)
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SCEP0078: no challenge for user %s: more than SCEPMintMax of endpoint '%s' "
                      "in a minute; see what asks for them, or raise it",
                      r->user, endpoint);
}

/* NDES shows its 500 and no more. Who may see the page may see the password, so may know why it
 * is not there; SCEPPasswordLength was changed, mostly. */
static int no_single_password(request_rec *r, const char *detail)
{
    if (scep_bound_is_wanted(r) || scep_json_is_wanted(r))
        return scep_json_error(r, HTTP_INTERNAL_SERVER_ERROR, detail);
    return scep_send(r, HTTP_INTERNAL_SERVER_ERROR, "text/plain",
                     scep_bytes_of(apr_pstrcat(r->pool, detail, "\n", NULL)));
}

int scep_no_challenge(request_rec *r, const scep_err *err)
{
    int status = scep_code_describe(err->code)->http_status;

    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "SCEP0075: %sno challenge was made for user %s: %s; see that scep-ca runs and "
                  "what it says",
                  scep_event(r, err->code), r->user, err->detail);
    if (err->code == SCEP_SINGLE_PASSWORD)
        return no_single_password(r, err->detail);
    return status == HTTP_INTERNAL_SERVER_ERROR ? status : scep_try_later(r);
}
