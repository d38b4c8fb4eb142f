/* What the values of ca.conf may look like: one function a kind. */
#include "conf_values.h"
#include "conf_lines.h"
#include "key.h"

#include <apr_file_info.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const scep_err *absolute(const char **out, const conf_reader *r, const char *path)
{
    char *merged;

    if (apr_filepath_merge(&merged, r->folder, path, 0, r->p) != APR_SUCCESS)
        return conf_fail(r->p, r->path, r->line, "\"%s\" is no path", path);
    *out = merged;
    return NULL;
}

/* A certificate file: public, so the prefix is not needed. */
const scep_err *conf_parse_path(void *member, const conf_reader *r, const conf_rule *rule,
                                const char *value)
{
    if (!strncmp(value, "file:", 5))
        value += 5;
    if (!*value)
        return conf_fail(r->p, r->path, r->line, "%s is empty; the path of a file is accepted",
                         rule->key);
    return absolute(member, r, value);
}

/* A secret: "file:" says that the value is not the secret itself. */
const scep_err *conf_parse_secret(void *member, const conf_reader *r, const conf_rule *rule,
                                  const char *value)
{
    if (strncmp(value, "file:", 5) || !value[5])
        return conf_fail(r->p, r->path, r->line,
                         "%s is not named by \"file:\"; file:PATH is accepted", rule->key);
    return absolute(member, r, value + 5);
}

/* A private key: in a file or a token. Of the URI nothing is repeated: it may hold a PIN. */
const scep_err *conf_parse_key(void *member, const conf_reader *r, const conf_rule *rule,
                               const char *value)
{
    const scep_err *err;

    if (!strncmp(value, "file:", 5))
        return conf_parse_secret(member, r, rule, value);
    if (strncmp(value, "pkcs11:", 7))
        return conf_fail(r->p, r->path, r->line,
                         "%s: file:PATH and a PKCS#11 URI (pkcs11:...) are accepted", rule->key);
    err = scep_key_uri_check(value, r->p);
    if (err)
        return conf_fail(r->p, r->path, r->line, "%s: %s", rule->key, err->detail);
    *(const char **)member = apr_pstrdup(r->p, value);
    return NULL;
}

const scep_err *conf_parse_store(void *member, const conf_reader *r, const conf_rule *rule,
                                 const char *value)
{
    const char **out = member;
    const char *path;

    if (!strncmp(value, "sqlite3:", 8) && value[8]) {
        SCEP_TRY(absolute(&path, r, value + 8));
        *out = apr_pstrcat(r->p, "sqlite3:", path, NULL);
        return NULL;
    }
    if (strncmp(value, "pgsql:", 6) || !value[6])
        return conf_fail(r->p, r->path, r->line,
                         "%s: sqlite3:PATH and pgsql:PARAMETERS are accepted", rule->key);
    /* Everybody may read ca.conf. */
    if (strcasestr(value, "password") || strstr(value, "://"))
        return conf_fail(r->p, r->path, r->line,
                         "%s: KEY=VALUE parameters without a password are accepted; the password "
                         "goes into a file named by passfile=PATH",
                         rule->key);
    *out = apr_pstrdup(r->p, value);
    return NULL;
}

bool conf_is_name(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if (!apr_isalnum(text[i]) && !strchr("-_.", text[i]))
            return false;
    return len >= 1 && len <= 64;
}

const scep_err *conf_parse_word(void *member, const conf_reader *r, const conf_rule *rule,
                                const char *value)
{
    if (!conf_is_name(value))
        return conf_fail(r->p, r->path, r->line,
                         "%s: 1 to 64 letters, digits, '-', '_' and '.' are accepted", rule->key);
    *(const char **)member = apr_pstrdup(r->p, value);
    return NULL;
}

const scep_err *conf_parse_number(void *member, const conf_reader *r, const conf_rule *rule,
                                  const char *value)
{
    size_t digits = strspn(value, "0123456789");
    long number = digits && digits < 10 && !value[digits] ? atol(value) : LONG_MIN;

    if (number < rule->low || number > rule->high)
        return conf_fail(r->p, r->path, r->line, "%s: a number from %ld to %ld is accepted",
                         rule->key, rule->low, rule->high);
    *(int *)member = (int)number;
    return NULL;
}

const scep_err *conf_parse_flag(void *member, const conf_reader *r, const conf_rule *rule,
                                const char *value)
{
    bool yes = !strcmp(value, "yes");

    if (!yes && strcmp(value, "no"))
        return conf_fail(r->p, r->path, r->line, "%s: yes and no are accepted", rule->key);
    *(bool *)member = yes;
    return NULL;
}

/* One of "a|b|c", kept as the list's own word. */
const scep_err *conf_parse_choice(void *member, const conf_reader *r, const conf_rule *rule,
                                  const char *value)
{
    char *state = NULL;

    for (char *word = apr_strtok(apr_pstrdup(r->p, rule->words), "|", &state); word;
         word = apr_strtok(NULL, "|", &state)) {
        if (!strcmp(word, value)) {
            *(const char **)member = word;
            return NULL;
        }
    }
    return conf_fail(r->p, r->path, r->line, "%s: one of %s is accepted", rule->key, rule->words);
}

const scep_err *conf_parse_text(void *member, const conf_reader *r, const conf_rule *rule,
                                const char *value)
{
    size_t len = strlen(value), at;
    bool fits = len >= 1 && len <= 255 && scep_is_utf8(scep_bytes_of(value), &at);

    for (size_t i = 0; fits && i < len; i++)
        fits = !apr_iscntrl(value[i]);
    if (!fits)
        return conf_fail(r->p, r->path, r->line,
                         "%s: 1 to 255 bytes of UTF-8 without control characters are accepted",
                         rule->key);
    *(const char **)member = apr_pstrdup(r->p, value);
    return NULL;
}

const scep_err *conf_parse_address(void *member, const conf_reader *r, const conf_rule *rule,
                                   const char *value)
{
    if (strncmp(value, "http://", 7) && strncmp(value, "https://", 8))
        return conf_fail(r->p, r->path, r->line, "%s: an http:// or https:// URL is accepted",
                         rule->key);
    return conf_parse_url(member, r, rule, value);
}

const scep_err *conf_parse_url(void *member, const conf_reader *r, const conf_rule *rule,
                               const char *value)
{
    static const char *const schemes[] = { "http://", "https://", "ldap://" };
    bool known = false;

    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
        known = known || (!strncmp(value, schemes[i], strlen(schemes[i])) &&
                          value[strlen(schemes[i])] != '\0');
    for (const char *at = value; *at; at++)
        known = known && apr_isgraph(*at) && apr_isascii(*at);
    if (!known)
        return conf_fail(r->p, r->path, r->line,
                         "%s: a URL without spaces that begins with http://, https:// or ldap:// "
                         "is accepted",
                         rule->key);
    *(const char **)member = apr_pstrdup(r->p, value);
    return NULL;
}

/* Whoever has no such CRL says so: "none" is a decision, an empty value is not. */
const scep_err *conf_parse_foreign(void *member, const conf_reader *r, const conf_rule *rule,
                                   const char *value)
{
    if (!strcmp(value, "none")) {
        *(const char **)member = "none";
        return NULL;
    }
    if (!strncmp(value, "file:", 5) && value[5])
        return absolute(member, r, value + 5);
    if (!strncmp(value, "http://", 7) || !strncmp(value, "https://", 8))
        return conf_parse_url(member, r, rule, value);
    return conf_fail(r->p, r->path, r->line,
                     "%s: none, file:PATH and an http:// or https:// URL are accepted", rule->key);
}

/* "a, b" as an array of const char *, each without spaces around it and there once. */
const scep_err *conf_parse_list(void *member, const conf_reader *r, const conf_rule *rule,
                                const char *value)
{
    apr_array_header_t *list = apr_array_make(r->p, 4, sizeof(const char *));
    const char *comma;

    for (const char *at = value; at; at = comma ? comma + 1 : NULL) {
        size_t len;

        comma = strchr(at, ',');
        at += strspn(at, " \t");
        len = comma && comma > at ? (size_t)(comma - at) : (comma ? 0 : strlen(at));
        while (len && apr_isspace(at[len - 1]))
            len--;
        if (!len)
            return conf_fail(r->p, r->path, r->line,
                             "%s: names with one comma between them are accepted", rule->key);
        for (int i = 0; i < list->nelts; i++)
            if (strlen(APR_ARRAY_IDX(list, i, const char *)) == len &&
                !strncmp(APR_ARRAY_IDX(list, i, const char *), at, len))
                return conf_fail(r->p, r->path, r->line, "%s names %s twice", rule->key,
                                 APR_ARRAY_IDX(list, i, const char *));
        APR_ARRAY_PUSH(list, const char *) = apr_pstrmemdup(r->p, at, len);
    }
    *(apr_array_header_t **)member = list;
    return NULL;
}

const scep_err *conf_parse_members(void *member, const conf_reader *r, const conf_rule *rule,
                                   const char *value)
{
    apr_array_header_t *users;

    SCEP_TRY(conf_parse_list(&users, r, rule, value));
    for (int i = 0; i < users->nelts; i++)
        if (*APR_ARRAY_IDX(users, i, const char *) == '@')
            return conf_fail(
                r->p, r->path, r->line,
                "%s: \"%s\" is a group, and a group has users only: name its users "
                "here, or both groups where it is used",
                rule->key,
                scep_printable(r->p, scep_bytes_of(APR_ARRAY_IDX(users, i, const char *)), 80));
    *(apr_array_header_t **)member = users;
    return NULL;
}

const scep_err *conf_parse_configuration(void *member, const conf_reader *r, const conf_rule *rule,
                                         const char *value)
{
    const char *backslash = strchr(value, '\\');

    if (!backslash || backslash == value || !backslash[1] || strchr(backslash + 1, '\\') ||
        strlen(value) > 255)
        return conf_fail(r->p, r->path, r->line,
                         "%s: HOST\\\\NAME is accepted, the backslash written twice, at most 255 "
                         "bytes",
                         rule->key);
    *(const char **)member = apr_pstrdup(r->p, value);
    return NULL;
}

const scep_err *conf_parse_key_usage(void *member, const conf_reader *r, const conf_rule *rule,
                                     const char *value)
{
    /* What a certificate that is no CA's may have. RFC 5280 4.2.1.3 */
    static const struct {
        const char *name;
        uint32_t bit;
    } usages[] = {
        { "digitalSignature", KU_DIGITAL_SIGNATURE }, { "nonRepudiation", KU_NON_REPUDIATION },
        { "keyEncipherment", KU_KEY_ENCIPHERMENT },   { "dataEncipherment", KU_DATA_ENCIPHERMENT },
        { "keyAgreement", KU_KEY_AGREEMENT },
    };
    size_t n = sizeof(usages) / sizeof(*usages);
    apr_array_header_t *names;

    SCEP_TRY(conf_parse_list(&names, r, rule, value));
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        size_t u = 0;

        while (u < n && strcmp(usages[u].name, name))
            u++;
        if (u == n)
            return conf_fail(r->p, r->path, r->line,
                             "%s: \"%s\" is not digitalSignature, nonRepudiation, "
                             "keyEncipherment, dataEncipherment or keyAgreement",
                             rule->key, name);
        *(uint32_t *)member |= usages[u].bit;
    }
    return NULL;
}

/* Names below id-kp and Microsoft's arc only: OpenSSL would take "commonName" as well. */
static bool is_purpose(const char *name, apr_pool_t *p)
{
    ASN1_OBJECT *object = scep_ASN1_OBJECT(p, OBJ_txt2obj(name, 0));
    char dotted[80];
    int len;

    if (!object)
        return false;
    /* OpenSSL reads "1..2" as well. */
    if (apr_isdigit(*name))
        return name[strlen(name) - 1] != '.' && !strstr(name, "..");
    len = OBJ_obj2txt(dotted, sizeof(dotted), object, 1);
    return len > 0 && len < (int)sizeof(dotted) &&
           (!strncmp(dotted, "1.3.6.1.5.5.7.3.", 16) || !strncmp(dotted, "1.3.6.1.4.1.311.", 16));
}

const scep_err *conf_parse_purposes(void *member, const conf_reader *r, const conf_rule *rule,
                                    const char *value)
{
    apr_array_header_t *names;

    SCEP_TRY(conf_parse_list(&names, r, rule, value));
    for (int i = 0; i < names->nelts; i++)
        if (!is_purpose(APR_ARRAY_IDX(names, i, const char *), r->p))
            return conf_fail(r->p, r->path, r->line,
                             "%s: \"%s\" is no extended key usage; clientAuth, serverAuth, "
                             "ipsecIKE and the like, and dotted OIDs are accepted",
                             rule->key, APR_ARRAY_IDX(names, i, const char *));
    *(const char **)member = apr_array_pstrcat(r->p, names, ',');
    return NULL;
}
