/* ca.conf: which sections and keys there are. */
#include "conf.h"
#include "conf_connector.h"
#include "conf_directory.h"
#include "conf_enroll.h"
#include "conf_lines.h"
#include "conf_values.h"

#include <apr_file_info.h>
#include <apr_strings.h>
#include <string.h>

#define DAYS_MOST 36500

static const conf_rule top_rules[] = {
    CONF_MUST(conf, store, store),
    CONF_MUST(conf, store_key, secret),
    CONF_MAY(conf, ctl, path),
    { 0 },
};

/* Of every kind of CA; conf_connector.c has what is one kind's. */
static const conf_rule authority_rules[] = {
    CONF_MUST(conf_authority, connector, word),
    CONF_MUST(conf_authority, ca_cert, path),
    CONF_NUMBER(conf_authority, ra_days, 1, DAYS_MOST),
    CONF_NUMBER(conf_authority, ra_renew_days, 1, DAYS_MOST),
    CONF_MUST(conf_authority, templates, list),
    { CONF_PLACE(conf_authority, foreign_crl), .parse = conf_parse_foreign, .required = true,
      .says = ": certificates that this CA issued without scep-ca may be renewed here, so it has "
              "to be said where their revocation is read: foreign_crl = file:PATH or a URL of "
              "that CA's CRL, or foreign_crl = none if there is none to be read" },
    CONF_MAY(conf_authority, renewal_ca, path),
    CONF_MAY(conf_authority, crl_url, url),
    CONF_MAY(conf_authority, issuer_url, url),
    CONF_MAY(conf_authority, ocsp_url, url),
    CONF_MAY(conf_authority, configuration, configuration),
    { .key = "directory",
      .member = offsetof(conf_authority, directory_name),
      .parse = conf_parse_word },
    CONF_MAY(conf_authority, enrollment_service, text),
    { .key = "next", .member = offsetof(conf_authority, next_name), .parse = conf_parse_word },
    { 0 },
};

static const conf_rule template_rules[] = {
    CONF_MAY(conf_template, ca_template, text),
    CONF_NUMBER(conf_template, days, 1, DAYS_MOST),
    CONF_MAY(conf_template, key_usage, key_usage),
    CONF_MAY(conf_template, extended_key_usage, purposes),
    CONF_NUMBER(conf_template, minimum_rsa_bits, 1024, 8192),
    CONF_MAY(conf_template, subject_required, flag),
    CONF_MAY(conf_template, allow_sid, sid),
    CONF_MAY(conf_template, from_directory, flag),
    CONF_MAY(conf_template, crl_url, url),
    CONF_MAY(conf_template, issuer_url, url),
    CONF_MAY(conf_template, ocsp_url, url),
    { CONF_PLACE(conf_template, approval), .parse = conf_parse_choice, .words = "no|enrol|always" },
    CONF_MAY(conf_template, enroll, list),
    { 0 },
};

static const conf_rule group_rules[] = {
    CONF_MUST(conf_group, members, members),
    { 0 },
};

static const conf_rule module_rules[] = {
    CONF_MAY(conf_module, secret, secret),
    CONF_MAY(conf_module, client_cert, path),
    CONF_MAY(conf_module, client_key, secret),
    CONF_MAY(conf_module, ca_file, path),
    { 0 },
};

static const conf_rule *rule_find(const conf_rule *rules, const char *key)
{
    while (rules->key && strcmp(rules->key, key))
        rules++;
    return rules->key ? rules : NULL;
}

static const char *rule_names(const conf_rule *rules, apr_pool_t *p)
{
    const char *names = rules->key;

    while ((++rules)->key)
        names = apr_pstrcat(p, names, ", ", rules->key, NULL);
    return names;
}

/* Put the values of one section where its rules say. */
static const scep_err *section_fill(void *into, const conf_section *section, const conf_rule *rules,
                                    conf_reader *r)
{
    apr_pool_t *p = r->p;

    for (int i = 0; i < section->entries->nelts; i++) {
        const conf_entry *entry = &APR_ARRAY_IDX(section->entries, i, conf_entry);
        const conf_rule *rule = rule_find(rules, entry->key);

        if (!rule)
            return conf_fail(p, r->path, entry->line, "%s is not known here; accepted are %s",
                             entry->key, rule_names(rules, p));
        r->line = entry->line;
        SCEP_TRY(rule->parse((char *)into + rule->member, r, rule, entry->value));
    }
    for (; rules->key; rules++) {
        bool there = !rules->required;

        for (int i = 0; i < section->entries->nelts; i++)
            there =
                there || !strcmp(APR_ARRAY_IDX(section->entries, i, conf_entry).key, rules->key);
        if (!there)
            return conf_fail(p, r->path, section->line, "%s is missing %s%s%s%s", rules->key,
                             *section->title ? "in [" : "before the first section", section->title,
                             *section->title ? "]" : "", rules->says ? rules->says : "");
    }
    return NULL;
}

/* The NAME of "[kind NAME]"; NULL: it is of another kind. */
static const char *title_name(const char *title, const char *kind)
{
    size_t len = strlen(kind);

    if (strncmp(title, kind, len) || (title[len] != ' ' && title[len] != '\t'))
        return NULL;
    return title + len + strspn(title + len, " \t");
}

static const scep_err *template_read(apr_array_header_t *templates, const char *name,
                                     const conf_section *section, conf_reader *r)
{
    conf_template *template = apr_pcalloc(r->p, sizeof(*template));

    for (int i = 0; i < templates->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(templates, i, conf_template *)->name, name))
            return conf_fail(r->p, r->path, section->line, "template %s is there twice", name);
    template->name = template->ca_template = apr_pstrdup(r->p, name);
    template->minimum_rsa_bits = 2048;
    template->approval = "no";
    APR_ARRAY_PUSH(templates, conf_template *) = template;
    SCEP_TRY(section_fill(template, section, template_rules, r));
    return conf_directory_template(template, section, r);
}

static const scep_err *authority_read(conf *c, const char *name, const conf_section *section,
                                      conf_reader *r)
{
    conf_authority *authority = apr_pcalloc(r->p, sizeof(*authority));
    const conf_rule *rules;

    if (conf_authority_find(c, name))
        return conf_fail(r->p, r->path, section->line, "authority %s is there twice", name);
    authority->name = apr_pstrdup(r->p, name);
    authority->ra_days = 365;
    authority->ra_renew_days = 30;
    conf_connector_defaults(authority);
    APR_ARRAY_PUSH(c->authorities, conf_authority *) = authority;
    SCEP_TRY(conf_connector_rules(&rules, section, authority_rules, r));
    SCEP_TRY(section_fill(authority, section, rules, r));
    return conf_connector_check(authority, section, r);
}

/* Its name is an endpoint's, which may be longer than those of the other sections. */
static const scep_err *module_read(conf *c, const char *name, const conf_section *section,
                                   conf_reader *r)
{
    conf_module *module = apr_pcalloc(r->p, sizeof(*module));

    if (conf_module_find(c, name))
        return conf_fail(r->p, r->path, section->line, "policy_module %s is there twice", name);
    module->endpoint = apr_pstrdup(r->p, name);
    APR_ARRAY_PUSH(c->modules, conf_module *) = module;
    SCEP_TRY(section_fill(module, section, module_rules, r));
    if (!module->client_cert != !module->client_key)
        return conf_fail(r->p, r->path, section->line,
                         "[policy_module %s]: client_cert and client_key go together", name);
    return NULL;
}

static const scep_err *group_read(apr_array_header_t *groups, const char *name,
                                  const conf_section *section, conf_reader *r)
{
    conf_group *group;

    if (conf_group_find(groups, name))
        return conf_fail(r->p, r->path, section->line, "group %s is there twice", name);
    group = apr_array_push(groups);
    group->name = apr_pstrdup(r->p, name);
    return section_fill(group, section, group_rules, r);
}

/* What is gathered before names become what they name. */
typedef struct conf_found {
    apr_array_header_t *templates; /* of conf_template *, in the order of their sections */
    apr_array_header_t *groups;    /* of conf_group */
} conf_found;

static const scep_err *section_read(conf *c, conf_found *f, const conf_section *section,
                                    conf_reader *r)
{
    const char *authority = title_name(section->title, "authority");
    const char *template = title_name(section->title, "template");
    const char *group = title_name(section->title, "group");
    const char *directory = title_name(section->title, "directory");
    const char *module = title_name(section->title, "policy_module");
    const char *name = authority ? authority : template ? template : group ? group : directory;

    if (!*section->title)
        return section_fill(c, section, top_rules, r);
    if (module && *module)
        return module_read(c, module, section, r);
    if (!name)
        return conf_fail(r->p, r->path, section->line,
                         "section [%s] is not known; [authority NAME], [template NAME], "
                         "[group NAME], [directory NAME] and [policy_module ENDPOINT] are accepted",
                         scep_printable(r->p, scep_bytes_of(section->title), 80));
    if (!conf_is_name(name))
        return conf_fail(r->p, r->path, section->line,
                         "[%s]: 1 to 64 letters, digits, '-', '_' and '.' are accepted as a name",
                         scep_printable(r->p, scep_bytes_of(section->title), 80));
    if (group)
        return group_read(f->groups, group, section, r);
    if (directory)
        return conf_directory_read(c, directory, section, r, section_fill);
    return authority ? authority_read(c, authority, section, r)
                     : template_read(f->templates, template, section, r);
}

/* A template that several authorities use names each one's own CRL. */
static const conf_template *template_for(const conf_authority *a, const conf_template *template,
                                         apr_pool_t *p)
{
    conf_template *own = apr_pmemdup(p, template, sizeof(*own));

    own->crl_url = a->crl_url ? a->crl_url : template->crl_url;
    own->issuer_url = a->issuer_url ? a->issuer_url : template->issuer_url;
    own->ocsp_url = a->ocsp_url ? a->ocsp_url : template->ocsp_url;
    return own;
}

/* The names that an authority lists become the templates themselves. */
static const scep_err *templates_resolve(conf_authority *authority, const conf *c,
                                         const apr_array_header_t *templates, apr_pool_t *p)
{
    apr_array_header_t *names = authority->templates;
    apr_array_header_t *found = apr_array_make(p, names->nelts, sizeof(const conf_template *));

    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        const conf_template *own;
        int at = 0;

        while (at < templates->nelts &&
               strcmp(APR_ARRAY_IDX(templates, at, conf_template *)->name, name))
            at++;
        if (at == templates->nelts)
            return scep_fail(p, CONFIG,
                             "%s: [authority %s] lists template \"%s\", and there is no section "
                             "[template %s]",
                             c->path, authority->name, scep_printable(p, scep_bytes_of(name), 80),
                             scep_printable(p, scep_bytes_of(name), 80));
        own = template_for(authority, APR_ARRAY_IDX(templates, at, conf_template *), p);
        /* what signs here has to know what */
        if (authority->ca_key && !own->from_directory && (!own->days || !own->key_usage))
            return scep_fail(p, CONFIG,
                             "%s: %s is missing in [template %s], which [authority %s] lists",
                             c->path, own->days ? "key_usage" : "days", name, authority->name);
        APR_ARRAY_PUSH(found, const conf_template *) = own;
    }
    authority->templates = found;
    return NULL;
}

/* The name that "next" gives becomes the authority itself; who follows whom has an end. */
static const scep_err *next_resolve(conf_authority *authority, const conf *c, apr_pool_t *p)
{
    if (!authority->next_name)
        return NULL;
    authority->next = conf_authority_find(c, authority->next_name);
    if (!authority->next)
        return scep_fail(p, CONFIG,
                         "%s: [authority %s] names next = %s, and there is no section "
                         "[authority %s]",
                         c->path, authority->name, authority->next_name, authority->next_name);
    /* earlier authorities are resolved, so the one that closes a circle finds it */
    for (const conf_authority *at = authority->next; at; at = at->next)
        if (at == authority)
            return scep_fail(p, CONFIG,
                             "%s: [authority %s] with next = %s leads back to itself; the CA that "
                             "takes over is another one",
                             c->path, authority->name, authority->next_name);
    return NULL;
}

/* Two CAs that rename their CRLs to one place would take turns. */
static const scep_err *crl_files_check(const conf *c, apr_pool_t *p)
{
    for (int i = 0; i < c->authorities->nelts; i++) {
        const conf_authority *a = APR_ARRAY_IDX(c->authorities, i, conf_authority *);

        for (int j = 0; a->crl_file && j < i; j++) {
            const conf_authority *b = APR_ARRAY_IDX(c->authorities, j, conf_authority *);

            if (b->crl_file && !strcmp(a->crl_file, b->crl_file))
                return scep_fail(p, CONFIG,
                                 "%s: crl_file %s is [authority %s]'s and [authority %s]'s; each "
                                 "needs one of its own",
                                 c->path, a->crl_file, b->name, a->name);
        }
    }
    return NULL;
}

/* SCEPConfiguration names one CA. */
static const scep_err *configurations_check(const conf *c, apr_pool_t *p)
{
    for (int i = 0; i < c->authorities->nelts; i++) {
        const conf_authority *a = APR_ARRAY_IDX(c->authorities, i, conf_authority *);
        const conf_authority *first =
            a->configuration ? conf_configuration_find(c, a->configuration) : a;

        if (first != a)
            return scep_fail(p, CONFIG,
                             "%s: configuration %s is [authority %s]'s and [authority %s]'s; it "
                             "names one of them only",
                             c->path, scep_printable(p, scep_bytes_of(a->configuration), 255),
                             first->name, a->name);
    }
    return NULL;
}

/* enroll is read with its section's line, in the order of the templates' sections. */
static const scep_err *enroll_resolve(const conf_found *f, const apr_array_header_t *sections,
                                      conf_reader *r)
{
    int next = 0;

    for (int i = 0; i < sections->nelts; i++) {
        const conf_section *section = &APR_ARRAY_IDX(sections, i, conf_section);

        if (!title_name(section->title, "template"))
            continue;
        SCEP_TRY(conf_enroll_resolve(APR_ARRAY_IDX(f->templates, next++, conf_template *), section,
                                     f->groups, r));
    }
    return NULL;
}

static const scep_err *names_resolve(conf *c, const apr_array_header_t *templates, apr_pool_t *p)
{
    for (int i = 0; i < c->authorities->nelts; i++) {
        conf_authority *a = APR_ARRAY_IDX(c->authorities, i, conf_authority *);

        SCEP_TRY(templates_resolve(a, c, templates, p));
        SCEP_TRY(conf_directory_resolve(a, c, p));
        SCEP_TRY(next_resolve(a, c, p));
    }
    SCEP_TRY(configurations_check(c, p));
    return crl_files_check(c, p);
}

const scep_err *conf_load(conf **out, const char *path, apr_pool_t *p)
{
    conf *c = apr_pcalloc(p, sizeof(*c));
    conf_reader r = { .p = p };
    conf_found f = { apr_array_make(p, 4, sizeof(conf_template *)),
                     apr_array_make(p, 4, sizeof(conf_group)) };
    apr_array_header_t *sections;
    char *full;

    if (apr_filepath_merge(&full, NULL, path, 0, p) != APR_SUCCESS)
        return scep_fail(p, CONFIG, "\"%s\" is no path of a ca.conf", path);
    c->path = r.path = full;
    r.folder = apr_pstrmemdup(p, full, (apr_size_t)(strrchr(full, '/') - full + 1));
    c->authorities = apr_array_make(p, 2, sizeof(conf_authority *));
    c->modules = apr_array_make(p, 1, sizeof(conf_module *));
    c->directories = apr_array_make(p, 1, sizeof(conf_directory *));
    SCEP_TRY(conf_lines_read(&sections, full, p));
    for (int i = 0; i < sections->nelts; i++)
        SCEP_TRY(section_read(c, &f, &APR_ARRAY_IDX(sections, i, conf_section), &r));
    if (!c->authorities->nelts)
        return scep_fail(p, CONFIG, "%s: an [authority default] section is needed", full);
    SCEP_TRY(enroll_resolve(&f, sections, &r));
    SCEP_TRY(names_resolve(c, f.templates, p));
    *out = c;
    return NULL;
}

const conf_authority *conf_configuration_find(const conf *c, const char *configuration)
{
    for (int i = 0; i < c->authorities->nelts; i++) {
        const conf_authority *a = APR_ARRAY_IDX(c->authorities, i, conf_authority *);

        if (a->configuration && !strcasecmp(a->configuration, configuration))
            return a;
    }
    return NULL;
}

const conf_authority *conf_authority_find(const conf *c, const char *name)
{
    for (int i = 0; i < c->authorities->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(c->authorities, i, conf_authority *)->name, name))
            return APR_ARRAY_IDX(c->authorities, i, conf_authority *);
    return NULL;
}

const conf_module *conf_module_find(const conf *c, const char *endpoint)
{
    for (int i = 0; i < c->modules->nelts; i++)
        if (!strcasecmp(APR_ARRAY_IDX(c->modules, i, conf_module *)->endpoint, endpoint))
            return APR_ARRAY_IDX(c->modules, i, conf_module *);
    return NULL;
}

const conf_template *conf_template_find(const conf_authority *a, const char *name)
{
    for (int i = 0; i < a->templates->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(a->templates, i, const conf_template *)->name, name))
            return APR_ARRAY_IDX(a->templates, i, const conf_template *);
    return NULL;
}
