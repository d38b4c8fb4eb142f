/*
 * NDES's addresses, which IIS serves in any letter case. They are made canonical before httpd
 * walks the <Location> sections for the last time, so that a rule written for one spelling, in
 * lower case, holds for all of them.
 */
#include "mod_scep.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define DEVICES "certsrv/mscep"
#define LIBRARY "/mscep.dll"
/* The longest of the addresses in use, so that it begins with whatever an administrator writes. */
#define DEVICES_CANONICAL "/" DEVICES LIBRARY "/pkiclient.exe"

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

static int translate(request_rec *r)
{
    const scep_settings *settings = scep_server_settings(r->server);
    const char *handler, *canonical;

    if (r->proxyreq || !r->uri || !scep_settings_flag(settings, SCEP_SET_Engine))
        return DECLINED;
    if (leads_to(r->uri, DEVICES)) {
        handler = "scep";
        canonical = DEVICES_CANONICAL;
    } else if (leads_to(r->uri, scep_settings_text(settings, SCEP_SET_PasswordVDir))) {
        handler = "scep-admin";
        canonical = apr_pstrcat(r->pool, scep_admin_path(r->server, r->pool), LIBRARY, NULL);
    } else {
        return DECLINED;
    }
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

void scep_register_path_hooks(apr_pool_t *p)
{
    /* A rewrite that sends people to https comes first; what maps whole trees comes after. */
    static const char *const before[] = { "mod_rewrite.c", NULL };
    static const char *const after[] = { "mod_proxy.c", "mod_alias.c", "mod_userdir.c", NULL };

    ap_hook_translate_name(translate, before, after, APR_HOOK_FIRST);
    ap_hook_map_to_storage(map_to_storage, NULL, NULL, APR_HOOK_FIRST);
    /* mod_mime's answer in the first, and a SetHandler around everything in the second. */
    ap_hook_type_checker(keep_handler, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_fixups(keep_handler, NULL, NULL, APR_HOOK_FIRST);
}
