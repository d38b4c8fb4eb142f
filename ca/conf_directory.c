/* ca.conf: [directory NAME], and what other sections say of one. */
#include "conf_directory.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400

static const conf_rule directory_rules[] = {
    { .key = "url",
      .member = offsetof(conf_directory, urls),
      .parse = conf_parse_servers,
      .required = true },
    CONF_MAY(conf_directory, starttls, flag),
    { .key = "bind",
      .member = offsetof(conf_directory, bind),
      .parse = conf_parse_choice,
      .required = true,
      .words = "gssapi|simple|external" },
    CONF_MAY(conf_directory, principal, text),
    CONF_MAY(conf_directory, keytab, secret),
    CONF_MAY(conf_directory, user, text),
    CONF_MAY(conf_directory, password, secret),
    CONF_MAY(conf_directory, tls_ca, path),
    CONF_MAY(conf_directory, tls_cert, path),
    CONF_MAY(conf_directory, tls_key, secret),
    CONF_NUMBER(conf_directory, timeout, 1, 120),
    CONF_NUMBER(conf_directory, cache, 0, DAY),
    { 0 },
};

/* ldap://HOST[:PORT] or ldaps://…, without a base or a filter: these come from the directory. */
static bool is_server(const char *url)
{
    const char *at = !strncmp(url, "ldap://", 7)    ? url + 7
                     : !strncmp(url, "ldaps://", 8) ? url + 8
                                                    : "";
    size_t host = 0, digits;
    long port;

    if (*at == '[') { /* RFC 3986 3.2.2: an IPv6 address */
        host = 1 + strspn(at + 1, "0123456789abcdefABCDEF:.");
        if (host < 3 || at[host++] != ']')
            return false;
    } else {
        while (apr_isalnum(at[host]) || (at[host] && strchr("-._", at[host])))
            host++;
    }
    if (!host || host > 255)
        return false;
    at += host;
    if (!*at)
        return true;
    digits = *at == ':' ? strspn(at + 1, "0123456789") : 0;
    port = digits && digits < 6 && !at[1 + digits] ? atol(at + 1) : 0;
    return port >= 1 && port <= 65535;
}

const scep_err *conf_parse_servers(void *member, const conf_reader *r, const conf_rule *rule,
                                   const char *value)
{
    apr_array_header_t *urls;

    SCEP_TRY(conf_parse_list(&urls, r, rule, value));
    for (int i = 0; i < urls->nelts; i++)
        if (!is_server(APR_ARRAY_IDX(urls, i, const char *)))
            return conf_fail(
                r->p, r->path, r->line,
                "%s: \"%s\" is none; ldaps://HOST, ldap://HOST, each with :PORT or without, are "
                "accepted, commas between several",
                rule->key,
                scep_printable(r->p, scep_bytes_of(APR_ARRAY_IDX(urls, i, const char *)), 80));
    *(apr_array_header_t **)member = urls;
    return NULL;
}

const scep_err *conf_parse_sid(void *member, const conf_reader *r, const conf_rule *rule,
                               const char *value)
{
    static const char *const words[] = { "no", "yes", "directory" };

    for (int i = 0; i < 3; i++)
        if (!strcmp(value, words[i])) {
            *(conf_sid *)member = (conf_sid)i;
            return NULL;
        }
    return conf_fail(r->p, r->path, r->line,
                     "%s: yes and no are accepted, and directory: where it confirms the account",
                     rule->key);
}

/* ---- a section ---- */

#define SAY(d, section, r, fmt, ...) \
    conf_fail((r)->p, (r)->path, (section)->line, "[directory %s]: " fmt, (d)->name, __VA_ARGS__)

/* Is each connection enciphered by TLS? */
static bool has_tls(const conf_directory *d)
{
    for (int i = 0; !d->starttls && i < d->urls->nelts; i++)
        if (strncmp(APR_ARRAY_IDX(d->urls, i, const char *), "ldaps:", 6))
            return false;
    return true;
}

static const scep_err *tls_check(const conf_directory *d, const conf_section *section,
                                 const conf_reader *r)
{
    for (int i = 0; d->starttls && i < d->urls->nelts; i++)
        if (strncmp(APR_ARRAY_IDX(d->urls, i, const char *), "ldap:", 5))
            return SAY(d, section, r,
                       "%s and starttls = yes exclude each other; ldap:// goes with it",
                       APR_ARRAY_IDX(d->urls, i, const char *));
    if (!has_tls(d) && strcmp(d->bind, "gssapi"))
        return SAY(d, section, r,
                   "bind = %s needs TLS: ldaps:// URLs, or starttls = yes; without it "
                   "bind = gssapi is accepted, which seals what is sent",
                   d->bind);
    if (!d->tls_cert != !d->tls_key)
        return SAY(d, section, r, "%s and tls_key go together", "tls_cert");
    return NULL;
}

/* What each way of logging on needs, and what would be without effect. */
static const scep_err *bind_check(const conf_directory *d, const conf_section *section,
                                  const conf_reader *r)
{
    const struct {
        const char *bind, *keys;
        bool all, any;
    } ways[] = {
        { "gssapi", "principal and keytab", d->principal && d->keytab, d->principal || d->keytab },
        { "simple", "user and password", d->user && d->password, d->user || d->password },
        { "external", "tls_cert and tls_key", d->tls_cert && d->tls_key, false },
    };

    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        bool own = !strcmp(d->bind, ways[i].bind);

        if (own && !ways[i].all)
            return SAY(d, section, r, "bind = %s needs %s", d->bind, ways[i].keys);
        if (!own && ways[i].any)
            return SAY(d, section, r, "%s belong to bind = %s, and bind is %s", ways[i].keys,
                       ways[i].bind, d->bind);
    }
    return NULL;
}

static conf_directory *find(const conf *c, const char *name)
{
    for (int i = 0; i < c->directories->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(c->directories, i, conf_directory *)->name, name))
            return APR_ARRAY_IDX(c->directories, i, conf_directory *);
    return NULL;
}

const scep_err *conf_directory_read(conf *c, const char *name, const conf_section *section,
                                    conf_reader *r,
                                    const scep_err *(*fill)(void *into, const conf_section *section,
                                                            const conf_rule *rules, conf_reader *r))
{
    conf_directory *d = apr_pcalloc(r->p, sizeof(*d));

    if (find(c, name))
        return conf_fail(r->p, r->path, section->line, "directory %s is there twice", name);
    d->name = apr_pstrdup(r->p, name);
    d->timeout = 10;
    d->cache = 300;
    APR_ARRAY_PUSH(c->directories, conf_directory *) = d;
    SCEP_TRY(fill(d, section, directory_rules, r));
    SCEP_TRY(tls_check(d, section, r));
    return bind_check(d, section, r);
}

/* ---- what others say of one ---- */

const scep_err *conf_directory_template(const conf_template *t, const conf_section *section,
                                        const conf_reader *r)
{
    if (!t->from_directory || (!t->days && !t->key_usage && !t->extended_key_usage))
        return NULL;
    return conf_fail(r->p, r->path, section->line,
                     "[template %s]: from_directory = yes has days, key_usage and "
                     "extended_key_usage from there; leave them out",
                     t->name);
}

const scep_err *conf_directory_resolve(conf_authority *a, const conf *c, apr_pool_t *p)
{
    a->directory = a->directory_name ? find(c, a->directory_name) : NULL;
    if (a->directory_name && !a->directory)
        return scep_fail(p, CONFIG,
                         "%s: [authority %s] names directory = %s, and there is no section "
                         "[directory %s]",
                         c->path, a->name, a->directory_name, a->directory_name);
    if (!a->directory && a->enrollment_service)
        return scep_fail(p, CONFIG,
                         "%s: [authority %s]: enrollment_service names an entry of a directory: "
                         "directory = NAME is missing",
                         c->path, a->name);
    if (a->directory && !a->enrollment_service)
        a->enrollment_service = a->adcs.ca_name;
    for (int i = 0; !a->directory && i < a->templates->nelts; i++) {
        const conf_template *t = APR_ARRAY_IDX(a->templates, i, const conf_template *);

        if (t->from_directory || t->allow_sid == CONF_SID_DIRECTORY)
            return scep_fail(p, CONFIG,
                             "%s: [template %s]: %s needs a directory: [authority %s], which lists "
                             "it, has no directory = NAME",
                             c->path, t->name,
                             t->from_directory ? "from_directory = yes" : "allow_sid = directory",
                             a->name);
    }
    return NULL;
}
