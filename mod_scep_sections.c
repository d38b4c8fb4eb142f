/* All sections together: which endpoints there are, and what is refused before httpd starts. */
#include "mod_scep.h"

#include <apr_strings.h>
#include <http_main.h>
#include <string.h>

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
    }
    for (s = main_server; s; s = s->next)
        if (scep_settings_flag(scep_server_settings(s), SCEP_SET_Engine))
            SCEP_TRY(check_identifiers(kept->endpoints, s, p));
    scep_notices(main_server, kept->endpoints, p);
    out->endpoints = wire_endpoints(kept->endpoints, p);
    out->timeout = scep_settings_number(settings, SCEP_SET_CATimeout);
    out->admin = scep_settings_flag(settings, SCEP_SET_Admin);
    return out->wanted ? scep_plan_process(out, main_server, kept->endpoints, p) : NULL;
}
