/* All sections together: which endpoints there are, and what is refused before httpd starts. */
#include "mod_scep.h"

#include <apr_strings.h>
#include <http_main.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <unixd.h>

/* A GET of an enrolment, base64 and escaped: what iOS sends is above 8.7 kB, the default 8190. */
#define LONG_ENOUGH 16384

void *scep_server_create(apr_pool_t *p, server_rec *s)
{
    scep_server *server = apr_pcalloc(p, sizeof(*server));

    server->endpoints = apr_hash_make(p);
    return server;
}

const scep_settings *scep_endpoint_settings(const char *endpoint)
{
    const scep_server *server = ap_get_module_config(ap_server_conf->module_config, &scep_module);
    const scep_section *all = apr_hash_get(server->endpoints, endpoint, APR_HASH_KEY_STRING);

    return all ? &all->settings : NULL;
}

/* ---- endpoints ---- */

/* As it is written in a configuration. */
static const char *directive(const scep_setting_info *row, apr_pool_t *p)
{
    return apr_pstrcat(p, row->kind == SCEP_KIND_TEMPLATE ? "SCEPTemplate " : "SCEP", row->name,
                       NULL);
}

/* What this section says of issuance joins what the others of the same endpoint said. */
static const scep_err *join(apr_hash_t *endpoints, const char *name, const scep_section *section,
                            apr_pool_t *p)
{
    scep_section *all = apr_hash_get(endpoints, name, APR_HASH_KEY_STRING);
    int i;

    if (!all) {
        all = apr_pcalloc(p, sizeof(*all));
        apr_hash_set(endpoints, name, APR_HASH_KEY_STRING, all);
    }
    for (i = 0; i < SCEP_SET_COUNT; i++) {
        const scep_setting_info *row = scep_setting_describe((scep_setting)i);
        const char *value = section->settings.value[i], *other = all->settings.value[i];

        if (row->scope != SCEP_SCOPE_ENDPOINT || !value)
            continue;
        if (other && strcmp(value, other))
            return scep_fail(p, CONFIG,
                             "endpoint '%s': %s is '%s' (%s) and '%s' (%s); all sections of one "
                             "endpoint must agree",
                             name, directive(row, p), other, all->where[i], value,
                             section->where[i]);
        all->settings.value[i] = value;
        all->where[i] = section->where[i];
    }
    return NULL;
}

/* Issuance belongs to an endpoint: a <Location> that does not name one would change the rules of
 * the server's own endpoint for one address, which scep-ca cannot know. */
static const scep_err *check_nameless(const scep_section *section, const char *path, apr_pool_t *p)
{
    int i;

    for (i = 0; i < SCEP_SET_COUNT; i++) {
        const scep_setting_info *row = scep_setting_describe((scep_setting)i);

        if (row->scope == SCEP_SCOPE_ENDPOINT && section->settings.value[i])
            return scep_fail(p, CONFIG,
                             "%s of <Location \"%s\"> (%s) concerns issuance: write it "
                             "outside of the section, or add SCEPEndpoint NAME to it",
                             directive(row, p), path, section->where[i]);
    }
    return NULL;
}

/* A section that is skipped in silence is an access rule that protects nothing. */
static const scep_err *check_pattern(const core_dir_config *core, server_rec *s, apr_pool_t *p)
{
    const char *folder, *canonical;

    if (!core->r && !core->d_is_fnmatch) {
        if (!scep_path_never_matches(core->d, s, p))
            return NULL;
        return scep_fail(p, CONFIG,
                         "<Location \"%s\"> would never hold: SCEP addresses are matched in "
                         "lower case, however a client spells them; write it in lower case",
                         core->d);
    }
    canonical = scep_path_missed(&folder, core, s, p);
    if (!canonical)
        return NULL;
    return scep_fail(p, CONFIG,
                     "the pattern \"%s\" of a <%s> would not hold for an SCEP address that it "
                     "matches: every spelling is matched as '%s'; write <Location \"%s\">, or a "
                     "pattern that matches that address too",
                     core->d, core->r ? "LocationMatch" : "Location", canonical, folder);
}

static const scep_err *read_location(apr_hash_t *endpoints, server_rec *s,
                                     const ap_conf_vector_t *location, apr_pool_t *p)
{
    const core_dir_config *core = ap_get_core_module_config(location);
    scep_section *own = ap_get_module_config(location, &scep_module);
    void *outer = ap_get_module_config(s->lookup_defaults, &scep_module);
    const scep_section *whole;

    SCEP_TRY(check_pattern(core, s, p));
    if (!own)
        return NULL;
    if (!own->settings.value[SCEP_SET_Endpoint])
        return check_nameless(own, core->d, p);
    whole = outer ? scep_section_merge(p, outer, own) : own;
    return join(endpoints, scep_endpoint_name(&whole->settings, s, p), whole, p);
}

static const scep_err *read_server(apr_hash_t *endpoints, server_rec *s, apr_pool_t *p)
{
    const scep_section *section = ap_get_module_config(s->lookup_defaults, &scep_module);
    core_server_config *core = ap_get_core_module_config(s->module_config);
    ap_conf_vector_t **locations = (ap_conf_vector_t **)core->sec_url->elts;
    const char *admin = scep_settings_text(scep_server_settings(s), SCEP_SET_PasswordVDir);
    int i;

    if (scep_path_is_for_devices(admin))
        return scep_fail(p, CONFIG,
                         "SCEPPasswordVDir: '%s' (%s) is the address of the devices; choose "
                         "another, such as CertSrv/mscep_admin",
                         admin, section->where[SCEP_SET_PasswordVDir]);
    SCEP_TRY(join(endpoints, scep_endpoint_name(&section->settings, s, p), section, p));
    for (i = 0; i < core->sec_url->nelts; i++)
        SCEP_TRY(read_location(endpoints, s, locations[i], p));
    return NULL;
}

/* Once all endpoints are known. */
static const scep_err *check_identifiers(apr_hash_t *endpoints, server_rec *s, apr_pool_t *p)
{
    void *outer = ap_get_module_config(s->lookup_defaults, &scep_module);
    const scep_section *section = outer;
    core_server_config *core = ap_get_core_module_config(s->module_config);
    ap_conf_vector_t **locations = (ap_conf_vector_t **)core->sec_url->elts;

    SCEP_TRY(scep_identifiers_check(endpoints, scep_endpoint_name(&section->settings, s, p),
                                    section, p));
    for (int i = 0; i < core->sec_url->nelts; i++) {
        void *own = ap_get_module_config(locations[i], &scep_module);

        if (!own)
            continue;
        section = scep_section_merge(p, outer, own);
        SCEP_TRY(scep_identifiers_check(endpoints, scep_endpoint_name(&section->settings, s, p),
                                        section, p));
    }
    return NULL;
}

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

/* A value that goes unheeded is a rule that the administrator believes in. */
static void report_registry(server_rec *s, const server_rec *main_server)
{
    const scep_section *section = ap_get_module_config(s->lookup_defaults, &scep_module);
    const scep_registry *registry = section ? section->registry : NULL;

    for (int i = 0; registry && i < registry->left->nelts; i++) {
        const scep_registry_left *left = &APR_ARRAY_IDX(registry->left, i, scep_registry_left);

        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, main_server,
                     "SCEP0042: %s:%d: %s is not carried over: %s",
                     section->settings.value[SCEP_SET_Registry], left->line, left->name, left->why);
    }
}

static apr_array_header_t *wire_endpoints(apr_hash_t *endpoints, apr_pool_t *p)
{
    apr_array_header_t *list =
        apr_array_make(p, (int)apr_hash_count(endpoints), sizeof(scep_wire_endpoint));
    apr_hash_index_t *at;

    for (at = apr_hash_first(p, endpoints); at; at = apr_hash_next(at)) {
        const scep_section *all = apr_hash_this_val(at);
        scep_wire_endpoint *endpoint = apr_array_push(list);
        int i;

        endpoint->name = apr_hash_this_key(at);
        endpoint->settings = apr_array_make(p, SCEP_SET_COUNT, sizeof(scep_wire_setting));
        for (i = 0; i < SCEP_SET_COUNT; i++) {
            scep_wire_setting *setting;

            if (!all->settings.value[i])
                continue;
            setting = apr_array_push(endpoint->settings);
            setting->name = scep_setting_describe((scep_setting)i)->name;
            setting->value = all->settings.value[i];
        }
    }
    return list;
}

/* ---- scep-ca ---- */

static const scep_err *plan_paths(scep_plan *out, const scep_settings *settings, apr_pool_t *p)
{
    const char *connector = scep_settings_text(settings, SCEP_SET_Connector);
    const char *program = scep_settings_text(settings, SCEP_SET_CAProgram);
    const char *file;

    if (!*connector)
        return scep_fail(p, CONFIG,
                         "SCEPEngine is on, but nothing issues certificates: add SCEPConnector "
                         "spawn:FILE, FILE being the ca.conf that 'scep-ca init' wrote");
    file = strchr(connector, ':') + 1;
    out->ca_conf = *file ? ap_server_root_relative(p, file) : NULL;
    if (!out->ca_conf)
        return scep_fail(p, CONFIG, "SCEPConnector: '%s' does not name a file", connector);
    out->program = ap_server_root_relative(p, *program ? program : SCEP_CA_PROGRAM);
    if (!out->program)
        return scep_fail(p, CONFIG, "SCEPCAProgram: '%s' is not a path", program);
    return NULL;
}

/* Whoever runs as httpd's user could read scep-ca's memory and files: the keys would be lost with
 * the first worker that is broken into. */
static const scep_err *plan_user(scep_plan *out, const scep_settings *settings, apr_pool_t *p)
{
    const char *name = scep_settings_text(settings, SCEP_SET_CAUser);
    const struct passwd *user;

    if (geteuid() != 0)
        return NULL;
    if (!*name)
        return scep_fail(p, CONFIG,
                         "httpd starts as root, so scep-ca needs a user of its own: add "
                         "SCEPCAUser scep, after 'useradd --system --no-create-home --shell "
                         "/usr/sbin/nologin scep'");
    user = getpwnam(name);
    if (!user)
        return scep_fail(p, CONFIG,
                         "SCEPCAUser: there is no user '%s'; make it with 'useradd --system "
                         "--no-create-home --shell /usr/sbin/nologin %s'",
                         name, name);
    if (user->pw_uid == 0)
        return scep_fail(p, CONFIG, "SCEPCAUser: '%s' is root; name a user without rights", name);
    if (user->pw_uid == ap_unixd_config.user_id)
        return scep_fail(p, CONFIG,
                         "SCEPCAUser: '%s' is httpd's own User, which must not read the keys of "
                         "scep-ca; name another",
                         name);
    out->ca_user = apr_pstrdup(p, name);
    return NULL;
}

/* Does any endpoint have a policy module that is a program? */
static bool has_programs(apr_hash_t *endpoints, apr_pool_t *p)
{
    for (apr_hash_index_t *at = apr_hash_first(p, endpoints); at; at = apr_hash_next(at)) {
        const scep_section *all = apr_hash_this_val(at);
        const char *what = scep_settings_text(&all->settings, SCEP_SET_PolicyModule);

        if (!strncmp(what, "exec:", 5) || !strncmp(what, "prg:", 4))
            return true;
    }
    return false;
}

/* A program of somebody else's gets a user of its own, so that it reaches neither the store nor the
 * workers. After plan_user(). */
static const scep_err *plan_exec_user(scep_plan *out, apr_hash_t *endpoints,
                                      const scep_settings *settings, apr_pool_t *p)
{
    const char *name = scep_settings_text(settings, SCEP_SET_ExecUser);
    const struct passwd *user, *ca;
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0 || !has_programs(endpoints, p))
        return NULL;
    if (!*name)
        return scep_fail(p, CONFIG,
                         "NDES-53 a policy module is a program, which needs a user of its own: add "
                         "SCEPExecUser scep-exec, after 'useradd --system --no-create-home --shell "
                         "/usr/sbin/nologin scep-exec'");
    user = getpwnam(name);
    if (!user)
        return scep_fail(p, CONFIG,
                         "SCEPExecUser: there is no user '%s'; make it with 'useradd --system "
                         "--no-create-home --shell /usr/sbin/nologin %s'",
                         name, name);
    uid = user->pw_uid;
    gid = user->pw_gid;
    if (uid == 0 || gid == 0)
        return scep_fail(
            p, CONFIG, "SCEPExecUser: '%s' is root or in root's group; name a user without rights",
            name);
    if (uid == ap_unixd_config.user_id)
        return scep_fail(p, CONFIG,
                         "SCEPExecUser: '%s' is httpd's own User, and could read what workers have "
                         "in memory; name another",
                         name);
    ca = getpwnam(out->ca_user);
    if (!ca || uid == ca->pw_uid || gid == ca->pw_gid)
        return scep_fail(
            p, CONFIG,
            "SCEPExecUser: '%s' is SCEPCAUser too, or of its group, and could read the "
            "keys and the store of scep-ca; name another",
            name);
    out->exec_user = apr_pstrdup(p, name);
    return NULL;
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
static void check_request_line(server_rec *s, const server_rec *main_server)
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

/* scep-ca writes to the log that httpd opened; where that is syslog there is nothing to write to,
 * and every audit line would be lost. httpd takes any name that begins so for syslog. */
static const scep_err *check_error_log(const server_rec *main_server, apr_pool_t *p)
{
    if (strncasecmp(main_server->error_fname, "syslog", strlen("syslog")))
        return NULL;
    return scep_fail(p, CONFIG,
                     "ErrorLog %s of the main server: scep-ca writes its audit lines to httpd's "
                     "ErrorLog and cannot write there; use a file, or a pipe such as ErrorLog "
                     "\"|/usr/bin/logger -t httpd\"",
                     main_server->error_fname);
}

const scep_err *scep_config_plan(scep_plan *out, server_rec *main_server, apr_pool_t *p)
{
    const scep_settings *settings = scep_server_settings(main_server);
    scep_server *kept = ap_get_module_config(main_server->module_config, &scep_module);
    server_rec *s;

    memset(out, 0, sizeof(*out));
    kept->endpoints = apr_hash_make(p);
    for (s = main_server; s; s = s->next) {
        if (!scep_settings_flag(scep_server_settings(s), SCEP_SET_Engine))
            continue;
        out->wanted = true;
        SCEP_TRY(read_server(kept->endpoints, s, p));
        check_request_line(s, main_server);
    }
    for (s = main_server; s; s = s->next) {
        report_registry(s, main_server);
        if (scep_settings_flag(scep_server_settings(s), SCEP_SET_Engine))
            SCEP_TRY(check_identifiers(kept->endpoints, s, p));
    }
    warn_of_legacy(kept->endpoints, main_server, p);
    report_open(kept->endpoints, main_server, p);
    out->endpoints = wire_endpoints(kept->endpoints, p);
    out->timeout = scep_settings_number(settings, SCEP_SET_CATimeout);
    out->admin = scep_settings_flag(settings, SCEP_SET_Admin);
    if (!out->wanted)
        return NULL;
    SCEP_TRY(check_error_log(main_server, p));
    SCEP_TRY(plan_paths(out, settings, p));
    SCEP_TRY(plan_user(out, settings, p));
    return plan_exec_user(out, kept->endpoints, settings, p);
}
