/* The module record, the hooks of httpd's life, and the choice of what a request asks for. */
#include "mod_scep.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <errno.h>
#include <mpm_common.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>

/* ---- starting ---- */

/* A refusal to start belongs where the administrator looks: on the terminal and in the log. */
static int refuse_to_start(const scep_err *err, server_rec *s, apr_pool_t *p)
{
    const char *line = apr_pstrcat(p, "SCEP0001: NDES-2 ", err->detail, NULL);

    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, NULL, "%s", line);
    if (ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_NORMAL)
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "%s", line);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int check(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    scep_plan plan;
    const scep_err *err = scep_config_plan(&plan, s, pconf);

    if (!err && plan.wanted)
        err = scep_ca_check(&plan, s, ptemp);
    return err ? refuse_to_start(err, s, ptemp) : OK;
}

/* Checks for configtest alone: this hook runs for `-k stop` too, which must work whatever is
 * wrong. It runs before any module forks a daemon. */
static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    /* What may dump core may be read by all processes of its user. CoreDumpDirectory would permit
     * that to workers and to daemons that are forked from a parent with secrets; the parent may
     * have some even where SCEPEngine is off by now. */
    ap_coredumpdir_configured = 0;
    if (ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_TEST)
        return OK;
    return check(pconf, ptemp, s);
}

/* What the former configuration started must not serve one that was refused. */
static void retire(server_rec *s, apr_pool_t *pconf)
{
    const scep_plan nothing = { .endpoints = apr_array_make(pconf, 1, sizeof(scep_wire_endpoint)) };
    const scep_err *err = scep_ca_start(&nothing, s, pconf);

    if (err)
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "SCEP0005: NDES-4 the former scep-ca cannot be told to end: %s; restart httpd",
                     err->detail);
}

/* `httpd -k start` has left its terminal when the second pass runs, so that everything is tried
 * in the first. After that an error would end the parent, and with it a service that works. */
static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    bool restart = ap_state_query(AP_SQ_CONFIG_GEN) > 1;
    const scep_err *err;
    scep_plan plan;

    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return check(pconf, ptemp, s);
    err = scep_config_plan(&plan, s, pconf);
    if (!err)
        err = scep_ca_start(&plan, s, pconf);
    if (!err)
        return OK;
    if (!restart)
        return refuse_to_start(err, s, ptemp);
    ap_log_error(
        APLOG_MARK, APLOG_CRIT, 0, s,
        "SCEP0002: NDES-2 %s; httpd goes on without SCEP: correct the configuration and restart "
        "it gracefully",
        err->detail);
    retire(s, pconf);
    return OK;
}

/* Last of all: a change of the user may have made the process dumpable again. For what is no
 * worker, such as mod_cgid's daemon, this is the only hook. */
static int drop_privileges(apr_pool_t *pchild, server_rec *s)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, s,
                     "SCEP0006: PR_SET_DUMPABLE failed: other processes of httpd's User may read "
                     "the secrets of this one");
    return OK;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    const scep_inheritance *from = scep_ca_inherit(pchild, s);

    if (from)
        scep_call_child_init(from, pchild, s);
}

static int monitor(apr_pool_t *p, server_rec *s)
{
    scep_ca_monitor(p, s);
    scep_places_monitor(s);
    return DECLINED;
}

/* ---- requests ---- */

typedef enum operation {
    NONE,
    UNKNOWN,
    GET_CA_CAPS,
    GET_CA_CERT,
    GET_CA_CERT_CHAIN,
    GET_NEXT_CA_CERT,
    PKI_OPERATION
} operation;

/* Letter case is ignored; GetCACerts is what Microsoft's own test script asks for. */
static operation asked_for(request_rec *r)
{
    static const struct {
        const char *name;
        operation is;
    } known[] = {
        { "GetCACaps", GET_CA_CAPS },          { "GetCACert", GET_CA_CERT },
        { "GetCACerts", GET_CA_CERT },         { "GetCACertChain", GET_CA_CERT_CHAIN },
        { "GetNextCACert", GET_NEXT_CA_CERT }, { "PKIOperation", PKI_OPERATION },
    };
    const char *name = scep_query_get(r->args, "operation", r->pool);
    size_t i;

    if (!name || !*name)
        return NONE;
    for (i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (!strcasecmp(known[i].name, name))
            return known[i].is;
    return UNKNOWN;
}

/* The whole answer is made here: httpd's own would add TRACE to Allow. */
static int not_allowed(request_rec *r, const char *allowed)
{
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "SCEP0007: method %s is not served here, %s are; correct the client", r->method,
                  allowed);
    apr_table_setn(r->err_headers_out, "Allow", allowed);
    return scep_send(r, HTTP_METHOD_NOT_ALLOWED, "text/plain",
                     scep_bytes_of("method not allowed\n"));
}

/* RFC 8894 4.3: a POST is a PKIOperation, whatever it says or does not say of itself; only the
 * operations that carry nothing are taken at their word. */
static int serve_device(request_rec *r, operation op)
{
    bool ndes =
        !strcmp(scep_settings_text(scep_request_settings(r), SCEP_SET_Compatibility), "ndes");

    switch (op) {
    case GET_CA_CAPS:
        return scep_get_ca_caps(r);
    case GET_CA_CERT:
        return scep_get_ca_cert(r);
    case GET_CA_CERT_CHAIN:
        return scep_get_ca_cert_chain(r);
    case GET_NEXT_CA_CERT:
        return scep_get_next_ca_cert(r);
    case PKI_OPERATION:
    case NONE:
    case UNKNOWN:
        break;
    }
    if (r->method_number == M_POST || op == PKI_OPERATION) {
        if (r->header_only) /* would issue a certificate that nobody receives */
            return not_allowed(r, "GET, POST");
        return scep_pki_operation(r);
    }
    if (op == NONE && scep_module_is_there(r))
        return scep_module_info(r);
    if (op == NONE && ndes)
        return scep_page_info(r);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "SCEP0008: operation '%s' is not served; GetCACaps, GetCACert, GetCACertChain, "
                  "GetNextCACert and PKIOperation are: correct the client's URL",
                  op == NONE ? "" : scep_query_get(r->args, "operation", r->pool));
    return HTTP_BAD_REQUEST;
}

static int serve(request_rec *r)
{
    bool admin = r->handler && !strcmp(r->handler, "scep-admin");
    operation op;

    if (!admin && (!r->handler || strcmp(r->handler, "scep")))
        return DECLINED;
    /* What another module left in this thread's queue is no reason of ours. */
    ERR_clear_error();
    apr_table_set(r->notes, SCEP_NOTE_ENDPOINT, scep_request_endpoint(r));
    if (!scep_settings_flag(scep_server_settings(r->server), SCEP_SET_Engine)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SCEP0004: SetHandler %s stands in a server without SCEPEngine on; add that "
                      "to the server %s",
                      r->handler, ap_get_server_name(r));
        return HTTP_NOT_FOUND;
    }
    if (r->method_number != M_GET && r->method_number != M_POST)
        return not_allowed(r, "GET, HEAD, POST");
    op = asked_for(r);
    if (admin && (op == NONE || op == UNKNOWN))
        return scep_module_is_there(r) ? scep_module_admin(r) : scep_page_admin(r);
    return serve_device(r, op);
}

static void register_hooks(apr_pool_t *p)
{
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_drop_privileges(drop_privileges, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(scep_places_child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(serve, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(scep_status_page, NULL, NULL, APR_HOOK_MIDDLE);
    scep_register_status_hooks(p);
    scep_register_path_hooks(p);
}

module AP_MODULE_DECLARE_DATA scep_module = {
    STANDARD20_MODULE_STUFF, scep_section_create, scep_section_merge, scep_server_create, NULL,
    scep_commands,           register_hooks,      AP_MODULE_FLAG_NONE
};
