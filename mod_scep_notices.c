/* What the log says at each start of a configuration that is taken as it is. */
#include "mod_scep.h"

#include <apr_strings.h>

/* A GET of an enrolment, base64 and escaped: what iOS sends is above 8.7 kB, the default 8190. */
#define LONG_ENOUGH 16384

/* Nobody should have them on without knowing it: at each start. */
static void warn_of_legacy(apr_hash_t *endpoints, const server_rec *main_server, apr_pool_t *p)
{
    const char *names = "";

    for (apr_hash_index_t *at = apr_hash_first(p, endpoints); at; at = apr_hash_next(at)) {
        const scep_section *all = apr_hash_this_val(at);

        if (scep_settings_flag(&all->settings, SCEP_SET_LegacyAlgorithms))
            names = apr_pstrcat(p, names, *names ? ", " : "", apr_hash_this_key(at), NULL);
    }
    if (*names)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_server,
                     "SCEP0041: SCEPLegacyAlgorithms is on for %s: MD5 and single DES are "
                     "accepted, which protect nothing; turn it off when the last client that "
                     "needs them is gone",
                     names);
}

/* A registry export may have said so, for more endpoints than one thinks of: at each start. */
static void report_open(apr_hash_t *endpoints, const server_rec *main_server, apr_pool_t *p)
{
    static const struct {
        scep_setting which;
        bool when;
        const char *says;
    } doors[] = {
        { SCEP_SET_EnforcePassword, false, "whoever reaches it enrols without a challenge" },
        { SCEP_SET_UseSinglePassword, true,
          "whoever has its password once enrols as often as he likes" },
        { SCEP_SET_DisableRenewalSubjectNameMatch, true,
          "a certificate renews under any name that its template allows" },
    };

    for (apr_hash_index_t *at = apr_hash_first(p, endpoints); at; at = apr_hash_next(at)) {
        const scep_section *all = apr_hash_this_val(at);

        for (size_t i = 0; i < sizeof(doors) / sizeof(*doors); i++)
            if (scep_settings_flag(&all->settings, doors[i].which) == doors[i].when)
                ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, main_server,
                             "SCEP0043: endpoint '%s': SCEP%s is %s (%s): %s",
                             (const char *)apr_hash_this_key(at),
                             scep_setting_describe(doors[i].which)->name,
                             doors[i].when ? "on" : "off", all->where[doors[i].which],
                             doors[i].says);
    }
}

static const scep_registry *registry_of(const server_rec *s)
{
    const scep_section *section = ap_get_module_config(s->lookup_defaults, &scep_module);

    return section ? section->registry : NULL;
}

/* httpd hands the main server's own section to each virtual host that has none of ours. */
static bool is_reported(const server_rec *s, const server_rec *main_server)
{
    for (const server_rec *former = main_server; former != s; former = former->next)
        if (registry_of(former) == registry_of(s))
            return true;
    return false;
}

/* A value that goes unheeded is a rule that the administrator believes in. */
static void report_registry(server_rec *s, const server_rec *main_server)
{
    const scep_section *section = ap_get_module_config(s->lookup_defaults, &scep_module);
    const scep_registry *registry = registry_of(s);

    if (!registry || is_reported(s, main_server))
        return;
    for (int i = 0; i < registry->left->nelts; i++) {
        const scep_registry_left *left = &APR_ARRAY_IDX(registry->left, i, scep_registry_left);

        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, main_server,
                     "SCEP0042: %s:%d: %s is not carried over: %s",
                     section->settings.value[SCEP_SET_Registry], left->line, left->name, left->why);
    }
}

/* ---- the length of a GET ---- */

static bool same_address(const server_addr_rec *a, const server_addr_rec *b)
{
    return a->host_port == b->host_port && apr_sockaddr_equal(a->host_addr, b->host_addr);
}

/*
 * The request line is read before a Host is known, so the limit of the address's default server
 * counts: its first <VirtualHost>, which is the last in httpd's list. A vhost for the very address
 * and one for "*" are told apart, as httpd does.
 */
static const server_rec *default_server(const server_addr_rec *address,
                                        const server_rec *main_server)
{
    const server_rec *s, *found = main_server;

    for (s = main_server->next; s; s = s->next) {
        const server_addr_rec *a;

        for (a = s->addrs; a; a = a->next)
            if (same_address(a, address))
                found = s;
    }
    return found;
}

/* "*:80" is one address for IPv4 and one for IPv6, and one line is enough. */
static void warn_of_request_line(server_rec *s, const server_rec *main_server)
{
    const server_rec *reader = main_server;
    const server_addr_rec *address;

    for (address = s->is_virtual ? s->addrs : NULL; address; address = address->next) {
        reader = default_server(address, main_server);
        if (reader->limit_req_line < LONG_ENOUGH)
            break;
    }
    if (reader->limit_req_line >= LONG_ENOUGH)
        return;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "SCEP0040: devices that enrol by GET will get 414: LimitRequestLine is %d in the "
                 "server that reads the requests for %s: the first of its address (%s:%u); add "
                 "LimitRequestLine 65534 before the first <VirtualHost>",
                 reader->limit_req_line,
                 scep_endpoint_name(scep_server_settings(s), s, s->process->pconf),
                 reader->defn_name ? reader->defn_name : "main server", reader->defn_line_number);
}

void scep_notices(server_rec *main_server, apr_hash_t *endpoints, apr_pool_t *p)
{
    for (server_rec *s = main_server; s; s = s->next) {
        report_registry(s, main_server);
        if (scep_settings_flag(scep_server_settings(s), SCEP_SET_Engine))
            warn_of_request_line(s, main_server);
    }
    warn_of_legacy(endpoints, main_server, p);
    report_open(endpoints, main_server, p);
}
