/* The directives, made from the one list of settings, and the settings of a request. */
#include "mod_scep.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define SPAWN "spawn:"

static const scep_settings nothing_set;

void *scep_section_create(apr_pool_t *p, char *path)
{
    return apr_pcalloc(p, sizeof(scep_section));
}

static void unset(scep_section *section, scep_setting which)
{
    section->settings.value[which] = section->where[which] = NULL;
    section->weak[which] = false;
}

/* SCEPAuthority and SCEPConfiguration say the same thing: the one of the inner section wins. */
static void one_name_of_the_ca(scep_section *out, const scep_section *inner)
{
    bool authority = inner->settings.value[SCEP_SET_Authority] != NULL;
    bool configuration = inner->settings.value[SCEP_SET_Configuration] != NULL;

    if (authority != configuration)
        unset(out, authority ? SCEP_SET_Configuration : SCEP_SET_Authority);
}

void *scep_section_merge(apr_pool_t *p, void *base, void *add)
{
    const scep_section *outer = base, *inner = add;
    scep_section *out = apr_pcalloc(p, sizeof(*out));
    int i;

    scep_settings_merge(&out->settings, &outer->settings, &inner->settings);
    for (i = 0; i < SCEP_SET_COUNT; i++)
        out->where[i] = inner->where[i] ? inner->where[i] : outer->where[i];
    out->registry = inner->registry;
    one_name_of_the_ca(out, inner);
    return out;
}

const scep_settings *scep_server_settings(server_rec *s)
{
    const scep_section *section = ap_get_module_config(s->lookup_defaults, &scep_module);

    return section ? &section->settings : &nothing_set;
}

static const scep_settings *section_settings(request_rec *r)
{
    const scep_section *section = ap_get_module_config(r->per_dir_config, &scep_module);

    return section ? &section->settings : &nothing_set;
}

const scep_settings *scep_request_settings(request_rec *r)
{
    const scep_settings *own = section_settings(r), *all;
    scep_settings *with;

    if (own->value[SCEP_SET_ClientProfile])
        return own;
    all = scep_endpoint_settings(scep_request_endpoint(r));
    if (!all || !all->value[SCEP_SET_ClientProfile])
        return own;
    with = apr_pmemdup(r->pool, own, sizeof(*own));
    with->value[SCEP_SET_ClientProfile] = all->value[SCEP_SET_ClientProfile];
    return with;
}

const char *scep_endpoint_name(const scep_settings *settings, server_rec *s, apr_pool_t *p)
{
    const char *name = scep_settings_text(settings, SCEP_SET_Endpoint);
    char *lower;

    if (!*name)
        name = s->server_hostname && *s->server_hostname ? s->server_hostname : "localhost";
    lower = apr_pstrdup(p, name);
    ap_str_tolower(lower);
    return lower;
}

const char *scep_request_endpoint(request_rec *r)
{
    return scep_endpoint_name(section_settings(r), r->server, r->pool);
}

/* httpd's own table knows "outside <VirtualHost>" and "no <Directory>" only as checks to be made
 * when the directive is read. */
static const char *misplaced(cmd_parms *cmd, const scep_setting_info *row)
{
    switch (row->scope) {
    case SCEP_SCOPE_SERVER:
        return ap_check_cmd_context(cmd, GLOBAL_ONLY);
    case SCEP_SCOPE_HOST:
        return ap_check_cmd_context(cmd, NOT_IN_DIR_LOC_FILE | NOT_IN_LIMIT);
    case SCEP_SCOPE_SECTION:
    case SCEP_SCOPE_ENDPOINT:
        /* No file stands behind an SCEP address, so that <Directory>, <Files> and <If> would say
         * something at best now and then. */
        return ap_check_cmd_context(cmd, NOT_IN_DIRECTORY | NOT_IN_FILES | NOT_IN_LIMIT);
    }
    return NULL;
}

/* What a former SCEPRegistry of this section gave. */
static void forget_registry(scep_section *section)
{
    for (int i = 0; i < SCEP_SET_COUNT; i++) {
        if (section->weak[i])
            unset(section, (scep_setting)i);
    }
}

/* A directive beside the registry names the CA in the other way. */
static bool is_said_otherwise(const scep_section *section, scep_setting which)
{
    return which == SCEP_SET_Configuration && section->settings.value[SCEP_SET_Authority];
}

/* SCEPRegistry, whatever stands before and behind it in the section: what a directive sets wins. */
static const char *read_registry(cmd_parms *cmd, scep_section *section)
{
    const char *file = section->settings.value[SCEP_SET_Registry];
    const char *path = ap_server_root_relative(cmd->pool, file);
    scep_registry *registry = apr_pcalloc(cmd->pool, sizeof(*registry));
    const scep_err *err;

    if (!path)
        return apr_psprintf(cmd->pool, "SCEPRegistry: '%s' is not a path", file);
    err = scep_registry_load(registry, path, cmd->pool);
    if (!err)
        err = scep_registry_check(registry, path, cmd->pool);
    if (err)
        return apr_pstrcat(cmd->pool, "SCEPRegistry: ", err->detail, NULL);
    forget_registry(section);
    section->registry = registry;
    for (int i = 0; i < registry->settings->nelts; i++) {
        const scep_registry_setting *s =
            &APR_ARRAY_IDX(registry->settings, i, scep_registry_setting);

        if (section->settings.value[s->which] || is_said_otherwise(section, s->which))
            continue;
        section->settings.value[s->which] = s->value;
        section->where[s->which] = apr_psprintf(cmd->pool, "%s:%d", path, s->line);
        section->weak[s->which] = true;
    }
    return NULL;
}

/* As the administrator may write it: "/CertSrv/mscep_admin/" is "CertSrv/mscep_admin". */
static const char *strip_slashes(apr_pool_t *p, const char *value)
{
    size_t len;

    while (*value == '/')
        value++;
    len = strlen(value);
    while (len && value[len - 1] == '/')
        len--;
    return apr_pstrmemdup(p, value, len);
}

static const char *set(cmd_parms *cmd, scep_section *section, scep_setting which, const char *value)
{
    const char *wrong = misplaced(cmd, scep_setting_describe(which));
    const scep_err *err;

    if (wrong)
        return wrong;
    if (which == SCEP_SET_Connector && strncmp(value, SPAWN, strlen(SPAWN)))
        return apr_psprintf(cmd->pool,
                            "SCEPConnector: '%s' does not begin with " SPAWN
                            "; write SCEPConnector " SPAWN "FILE, FILE being the ca.conf",
                            value);
    if (which == SCEP_SET_PasswordVDir)
        value = strip_slashes(cmd->pool, value);
    err = scep_settings_set(&section->settings, which, value, cmd->pool);
    if (err)
        return err->detail;
    section->where[which] =
        apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename, cmd->directive->line_num);
    section->weak[which] = false;
    if (which == SCEP_SET_Authority && section->weak[SCEP_SET_Configuration])
        unset(section, SCEP_SET_Configuration);
    return which == SCEP_SET_Registry ? read_registry(cmd, section) : NULL;
}

/* The setting stands in the command's own data. */
static const char *set_one(cmd_parms *cmd, void *section, const char *value)
{
    return set(cmd, section, (scep_setting)(intptr_t)cmd->info, value);
}

static const char *set_template(cmd_parms *cmd, void *section, const char *name, const char *value)
{
    bool all = !strcasecmp(name, "All"), found = false;
    int i;

    for (i = 0; i < SCEP_SET_COUNT; i++) {
        const scep_setting_info *row = scep_setting_describe((scep_setting)i);
        const char *wrong;

        if (row->kind != SCEP_KIND_TEMPLATE || (!all && strcasecmp(row->name, name)))
            continue;
        wrong = set(cmd, section, (scep_setting)i, value);
        if (wrong)
            return wrong;
        found = true;
    }
    if (found)
        return NULL;
    return apr_psprintf(cmd->pool,
                        "SCEPTemplate: '%s' is not SignatureTemplate, EncryptionTemplate, "
                        "GeneralPurposeTemplate or All",
                        name);
}

#define PLACE_SERVER RSRC_CONF
#define PLACE_HOST RSRC_CONF
#define PLACE_SECTION (RSRC_CONF | ACCESS_CONF)
#define PLACE_ENDPOINT (RSRC_CONF | ACCESS_CONF)

#define DIRECTIVE(name, place, says) \
    AP_INIT_TAKE1("SCEP" #name, set_one, (void *)(intptr_t)SCEP_SET_##name, place, says),
#define DIRECTIVE_FLAG(name, place, says) DIRECTIVE(name, place, says)
#define DIRECTIVE_NUMBER(name, place, says) DIRECTIVE(name, place, says)
#define DIRECTIVE_WORD(name, place, says) DIRECTIVE(name, place, says)
#define DIRECTIVE_TEXT(name, place, says) DIRECTIVE(name, place, says)
#define DIRECTIVE_TEMPLATE(name, place, says) /* set by SCEPTemplate */

const command_rec scep_commands[] = {
#define X(name, kind, scope, dflt, low, high, words, says) \
    DIRECTIVE_##kind(name, PLACE_##scope, says)
    SCEP_SETTINGS(X)
#undef X
        AP_INIT_TAKE2("SCEPTemplate", set_template, NULL, RSRC_CONF | ACCESS_CONF,
                      "SignatureTemplate, EncryptionTemplate, GeneralPurposeTemplate or All, and "
                      "the template's name"),
    { .name = NULL }
};
