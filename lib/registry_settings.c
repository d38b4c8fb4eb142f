/* What the values of the MSCEP key are here, and why some of them are nothing. */
#include "registry_parts.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define ROWS(table) (sizeof(table) / sizeof(*(table)))

/* Values of NDES that have a setting. Subkey and value have one name, or the value stands in the
 * MSCEP key itself; only the CA's has a key of another name. */
static const struct {
    scep_setting which;
    const char *key; /* NULL: the value's own name, or none */
} known[] = {
    { SCEP_SET_SignatureTemplate, NULL },
    { SCEP_SET_EncryptionTemplate, NULL },
    { SCEP_SET_GeneralPurposeTemplate, NULL },
    { SCEP_SET_EnforcePassword, NULL },
    { SCEP_SET_UseSinglePassword, NULL },
    { SCEP_SET_PasswordLength, NULL },
    { SCEP_SET_PasswordMax, NULL },
    { SCEP_SET_PasswordValidity, NULL },
    { SCEP_SET_PasswordVDir, NULL },
    { SCEP_SET_CacheRequest, NULL },
    { SCEP_SET_Refresh, NULL },
    { SCEP_SET_HashAlgorithm, NULL },
    { SCEP_SET_DisableRenewalSubjectNameMatch, NULL },
    { SCEP_SET_Configuration, "CAInfo" },
};

/* Values that have none, by the first part of their key. */
static const struct {
    const char *key, *why;
} without[] = {
    { "CAType", "which kind of CA it is stands in ca.conf, as the connector of an [authority]" },
    { "CertsInMYStore", "the RA's certificates are files that ca.conf names" },
    { "EncryptedPassword",
      "it is encrypted for the Windows machine alone; with UseSinglePassword 1 the challenge page "
      "shows the new single password, which goes to the devices" },
    { "Modules",
      "a policy module of Windows does not run here; SCEPPolicyModule names a program or "
      "a service in its place" },
};

static const char no_setting[] = "there is no such setting";

/* The end of a path, letter case ignored. */
static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), len = strlen(end);

    return n >= len && !strcasecmp(path + n - len, end);
}

static const char *why_left(const scep_registry_value *v)
{
    size_t first = strcspn(v->key, "\\");

    if (!v->mscep && ends_in(v->key, "\\HTTP\\Parameters"))
        return "not of the MSCEP key; httpd's LimitRequestLine bounds the length of a GET";
    if (!v->mscep && ends_in(v->key, "\\ADCS\\NDES"))
        return "not of the MSCEP key; it tells Windows' Server Manager that NDES is set up";
    if (!v->mscep)
        return "not of the MSCEP key";
    for (size_t i = 0; i < ROWS(without); i++) {
        const char *key = without[i].key;

        if ((strlen(key) == first && !strncasecmp(v->key, key, first)) ||
            (!first && !strcasecmp(v->name, key)))
            return without[i].why;
    }
    return no_setting;
}

static scep_setting setting_of(const scep_registry_value *v)
{
    for (size_t i = 0; v->mscep && i < ROWS(known); i++) {
        const char *name = scep_setting_describe(known[i].which)->name;

        if (strcasecmp(v->name, name))
            continue;
        if (known[i].key ? !strcasecmp(v->key, known[i].key)
                         : !*v->key || !strcasecmp(v->key, name))
            return known[i].which;
    }
    return SCEP_SET_COUNT;
}

/* As a directive would be written: "\CertSrv\mscep_admin\" is "CertSrv/mscep_admin". */
static const char *folder(const char *text, apr_pool_t *p)
{
    char *path = apr_pstrdup(p, text);
    size_t len;

    for (char *at = path; *at; at++)
        if (*at == '\\')
            *at = '/';
    path += strspn(path, "/");
    len = strlen(path);
    while (len && path[len - 1] == '/')
        path[--len] = '\0';
    return path;
}

/* "SHA-256" is "SHA256". */
static const char *digest(const char *text, apr_pool_t *p)
{
    if (strncasecmp(text, "sha-", 4))
        return text;
    return apr_pstrcat(p, "sha", text + 4, NULL);
}

static const char *spelling(const scep_registry_value *v, scep_setting which, apr_pool_t *p)
{
    if (which == SCEP_SET_PasswordVDir)
        return folder(v->text, p);
    return which == SCEP_SET_HashAlgorithm ? digest(v->text, p) : v->text;
}

/* A number written as text is understood, a text written as a number is not one. */
static const scep_err *check_type(const scep_registry_value *v, const scep_setting_info *row,
                                  apr_pool_t *p)
{
    bool number = row->kind == SCEP_KIND_NUMBER || row->kind == SCEP_KIND_FLAG;

    if (v->type == SCEP_REGISTRY_TEXT || (number && v->type == SCEP_REGISTRY_NUMBER))
        return NULL;
    return scep_fail(p, CONFIG, "%s: %s is expected", row->name,
                     number ? "dword:" : "a text in quotes");
}

static void leave(scep_registry *out, const scep_registry_value *v, const char *why, bool fatal,
                  apr_pool_t *p)
{
    scep_registry_left *left = apr_array_push(out->left);

    left->name = apr_pstrcat(p, v->key, *v->key ? "\\" : "", *v->name ? v->name : "@", NULL);
    left->why = why;
    left->fatal = fatal;
    left->line = v->line;
}

/* In one setting, whichever of its two places a value stands in. */
static scep_registry_setting *place_of(scep_registry *out, scep_setting which)
{
    for (int i = 0; i < out->settings->nelts; i++)
        if (APR_ARRAY_IDX(out->settings, i, scep_registry_setting).which == which)
            return &APR_ARRAY_IDX(out->settings, i, scep_registry_setting);
    return apr_array_push(out->settings);
}

static void map_value(scep_registry *out, const scep_registry_value *v, apr_pool_t *p)
{
    scep_setting which = setting_of(v);
    scep_settings checked = { { 0 } };
    const scep_err *err;
    const char *text;

    if (which == SCEP_SET_COUNT) {
        leave(out, v, why_left(v), false, p);
        return;
    }
    text = spelling(v, which, p);
    err = check_type(v, scep_setting_describe(which), p);
    if (!err && !*text) {
        leave(out, v, "it is empty, and the default holds", false, p);
        return;
    }
    if (!err)
        err = scep_settings_set(&checked, which, text, p);
    if (err)
        leave(out, v, err->detail, true, p);
    else
        *place_of(out, which) = (scep_registry_setting){ which, checked.value[which], v->line };
}

void registry_map(scep_registry *out, apr_pool_t *p)
{
    out->settings = apr_array_make(p, ROWS(known), sizeof(scep_registry_setting));
    out->left = apr_array_make(p, 8, sizeof(scep_registry_left));
    for (int i = 0; i < out->values->nelts; i++)
        map_value(out, &APR_ARRAY_IDX(out->values, i, scep_registry_value), p);
}

const scep_err *scep_registry_check(const scep_registry *registry, const char *path, apr_pool_t *p)
{
    const scep_registry_left *first = NULL;
    int more = 0;

    for (int i = 0; i < registry->left->nelts; i++) {
        const scep_registry_left *left = &APR_ARRAY_IDX(registry->left, i, scep_registry_left);

        if (left->fatal && first)
            more++;
        else if (left->fatal)
            first = left;
    }
    if (!first)
        return NULL;
    if (!more)
        return scep_fail(p, CONFIG, "%s:%d: %s", path, first->line, first->why);
    return scep_fail(p, CONFIG,
                     "%s:%d: %s (values out of range beside it: %d; 'scepctl "
                     "import-registry' names each)",
                     path, first->line, first->why, more);
}
