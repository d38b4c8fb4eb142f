/*
 * NDES's addresses, which IIS serves in any letter case. They are made canonical before httpd
 * walks the <Location> sections for the last time, so that a rule written for one spelling, in
 * lower case, holds for all of them.
 */
#include "mod_scep.h"

#include <apr_fnmatch.h>
#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define DEVICES "certsrv/mscep"
#define LIBRARY "/mscep.dll"
/* The longest of the addresses in use, so that it begins with whatever an administrator writes. */
#define DEVICES_CANONICAL "/" DEVICES LIBRARY "/pkiclient.exe"
#define HTACCESS "scep-htaccess" /* note of a request */

const char *scep_admin_path(server_rec *s, apr_pool_t *p)
{
    char *path = apr_pstrcat(
        p, "/", scep_settings_text(scep_server_settings(s), SCEP_SET_PasswordVDir), NULL);

    ap_str_tolower(path);
    return path;
}

bool scep_path_is_for_devices(const char *folder)
{
    return !strcasecmp(folder, DEVICES);
}

bool scep_path_never_matches(const char *path, server_rec *s, apr_pool_t *p)
{
    const char *canonical[] = { DEVICES_CANONICAL,
                                apr_pstrcat(p, scep_admin_path(s, p), LIBRARY, NULL) };
    size_t len = strlen(path), i;

    while (len && path[len - 1] == '/')
        len--;
    for (i = 0; len && i < sizeof(canonical) / sizeof(*canonical); i++) {
        const char *c = canonical[i];

        if (!strncasecmp(path, c, len) && (c[len] == '/' || !c[len]) && strncmp(path, c, len))
            return true;
    }
    return false;
}

/* As httpd's core looks a section up. */
static bool holds(const core_dir_config *section, const char *uri)
{
    if (section->r)
        return ap_regexec(section->r, uri, 0, NULL, 0) == 0;
    return apr_fnmatch(section->d, uri, APR_FNM_PATHNAME) == APR_SUCCESS;
}

/* The same without regard to letter case. */
static bool meant_for(const core_dir_config *section, const char *uri, apr_pool_t *p)
{
    const ap_regex_t *any_case;

    if (!section->r)
        return apr_fnmatch(section->d, uri, APR_FNM_PATHNAME | APR_FNM_CASE_BLIND) == APR_SUCCESS;
    any_case = ap_pregcomp(p, section->d, AP_REG_EXTENDED | AP_REG_ICASE);
    return ap_regexec(any_case ? any_case : section->r, uri, 0, NULL, 0) == 0;
}

const char *scep_path_missed(const char **folder, const core_dir_config *section, server_rec *s,
                             apr_pool_t *p)
{
    static const char *const endings[] = { "", "/", LIBRARY, LIBRARY "/",
                                           LIBRARY "/pkiclient.exe" };
    const char *admin = scep_admin_path(s, p);
    const struct {
        const char *folder, *canonical;
    } addresses[] = {
        { "/" DEVICES, DEVICES_CANONICAL },
        { admin, apr_pstrcat(p, admin, LIBRARY, NULL) },
    };
    size_t i, j;

    for (i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
        if (holds(section, addresses[i].canonical))
            continue;
        for (j = 0; j < sizeof(endings) / sizeof(*endings); j++)
            if (meant_for(section, apr_pstrcat(p, addresses[i].folder, endings[j], NULL), p)) {
                *folder = addresses[i].folder;
                return addresses[i].canonical;
            }
    }
    return NULL;
}

/* FOLDER[/], FOLDER/mscep.dll[/ANYTHING] */
static bool leads_to(const char *uri, const char *folder)
{
    size_t len = strlen(folder);

    if (uri[0] != '/' || strncasecmp(uri + 1, folder, len))
        return false;
    uri += 1 + len;
    if (!strcmp(uri, "") || !strcmp(uri, "/"))
        return true;
    if (strncasecmp(uri, LIBRARY, strlen(LIBRARY)))
        return false;
    uri += strlen(LIBRARY);
    return !*uri || *uri == '/';
}

/* @return the handler of an SCEP address, or NULL: it is none */
static const char *handler_of(request_rec *r)
{
    const scep_settings *settings = scep_server_settings(r->server);

    if (r->proxyreq || !r->uri || !scep_settings_flag(settings, SCEP_SET_Engine))
        return NULL;
    if (leads_to(r->uri, DEVICES))
        return "scep";
    if (leads_to(r->uri, scep_settings_text(settings, SCEP_SET_PasswordVDir)))
        return "scep-admin";
    return NULL;
}

/* Before mod_rewrite, whose rules are written in lower case too. The length stays as the client
 * has it, so that a rule for the folder alone still finds it. */
static int lower_case(request_rec *r)
{
    if (handler_of(r)) {
        r->uri = apr_pstrdup(r->pool, r->uri);
        ap_str_tolower(r->uri);
    }
    return DECLINED;
}

static int translate(request_rec *r)
{
    const char *handler = handler_of(r), *canonical = DEVICES_CANONICAL;

    if (!handler)
        return DECLINED;
    if (strcmp(handler, "scep"))
        canonical = apr_pstrcat(r->pool, scep_admin_path(r->server, r->pool), LIBRARY, NULL);
    r->uri = apr_pstrdup(r->pool, canonical);
    r->handler = handler;
    /* No file: without a slash there is no folder either that a module could look into. */
    r->filename = r->canonical_filename = apr_pstrdup(r->pool, "scep");
    r->path_info = apr_pstrdup(r->pool, "");
    r->finfo.filetype = APR_NOFILE;
    ap_set_module_config(r->request_config, &scep_module, (void *)handler);
    return OK;
}

/* No walk through folders: <Directory> rules are for files. <Location> rules are applied after. */
static int map_to_storage(request_rec *r)
{
    return ap_get_module_config(r->request_config, &scep_module) ? OK : DECLINED;
}

static int keep_handler(request_rec *r)
{
    const char *handler = ap_get_module_config(r->request_config, &scep_module);

    if (!handler)
        return DECLINED;
    r->handler = handler;
    return OK;
}

/* A note, because it outlives the subrequest when mod_dir puts an index in a folder's place. */
static int note_htaccess(request_rec *r)
{
    const struct htaccess_result *one;

    for (one = r->htaccess; one; one = one->next)
        if (one->htaccess)
            apr_table_setn(r->notes, HTACCESS, "");
    return DECLINED;
}

bool scep_path_under_htaccess(request_rec *r)
{
    return apr_table_get(r->notes, HTACCESS) != NULL;
}

void scep_register_path_hooks(apr_pool_t *p)
{
    /* A rewrite that sends people to https comes first; what maps whole trees comes after. */
    static const char *const before[] = { "mod_rewrite.c", NULL };
    static const char *const after[] = { "mod_proxy.c", "mod_alias.c", "mod_userdir.c", NULL };

    ap_hook_translate_name(lower_case, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(translate, before, after, APR_HOOK_FIRST);
    ap_hook_map_to_storage(map_to_storage, NULL, NULL, APR_HOOK_FIRST);
    /* mod_mime's answer in the first, and a SetHandler around everything in the second. */
    ap_hook_type_checker(keep_handler, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_fixups(keep_handler, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_fixups(note_htaccess, NULL, NULL, APR_HOOK_REALLY_FIRST);
}
