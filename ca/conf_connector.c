/* The keys of the kinds of CA: one table each. */
#include "conf_connector.h"

#include <apr_strings.h>
#include <string.h>

#define DAYS_MOST 36500
#define OF(kind, name, parses)                                                                    \
    {                                                                                             \
        .key = #name, .member = offsetof(conf_authority, kind.name), .parse = conf_parse_##parses \
    }
#define MUST_OF(kind, name, parses)                                                                \
    {                                                                                              \
        .key = #name, .member = offsetof(conf_authority, kind.name), .parse = conf_parse_##parses, \
        .required = true                                                                           \
    }

static const conf_rule local_rules[] = {
    CONF_MUST(conf_authority, ca_key, key),
    CONF_MUST(conf_authority, ra_sign_cert, path),
    CONF_MUST(conf_authority, ra_sign_key, key),
    CONF_MUST(conf_authority, ra_decrypt_cert, path),
    CONF_MUST(conf_authority, ra_decrypt_key, key),
    CONF_MAY(conf_authority, crl_file, path),
    CONF_NUMBER(conf_authority, crl_days, 1, DAYS_MOST),
    { 0 },
};

/* Of every CA that is not here. */
static const conf_rule remote_rules[] = {
    CONF_MAY(conf_authority, ra_sign_cert, path),
    CONF_MAY(conf_authority, ra_sign_key, key),
    CONF_MAY(conf_authority, ra_decrypt_cert, path),
    CONF_MAY(conf_authority, ra_decrypt_key, key),
    CONF_MAY(conf_authority, ra_sign_template, text),
    CONF_MAY(conf_authority, ra_decrypt_template, text),
    CONF_MAY(conf_authority, ra_subject, text),
    CONF_NUMBER(conf_authority, timeout, 1, 600),
    CONF_NUMBER(conf_authority, concurrency, 1, 64),
    CONF_NUMBER(conf_authority, poll, 1, 86400),
    { 0 },
};

static const conf_rule adcs_rules[] = {
    MUST_OF(adcs, server, word),
    MUST_OF(adcs, ca_name, text),
    OF(adcs, service, text),
    MUST_OF(adcs, principal, text),
    MUST_OF(adcs, keytab, secret),
    { .key = "mechanism",
      .member = offsetof(conf_authority, adcs.mechanism),
      .parse = conf_parse_choice,
      .words = "spnego|kerberos" },
    { .key = "port",
      .member = offsetof(conf_authority, adcs.port),
      .parse = conf_parse_number,
      .low = 1,
      .high = 65535 },
    OF(adcs, agent_cert, path),
    OF(adcs, agent_key, key),
    { 0 },
};

static const conf_rule cmp_rules[] = {
    MUST_OF(cmp, url, address),
    { .key = "command",
      .member = offsetof(conf_authority, cmp.command),
      .parse = conf_parse_choice,
      .words = "p10cr|ir|cr" },
    OF(cmp, recipient, text),
    OF(cmp, reference, text),
    OF(cmp, secret, secret),
    OF(cmp, client_cert, path),
    OF(cmp, client_key, secret),
    OF(cmp, trusted, path),
    OF(cmp, server_cert, path),
    OF(cmp, implicit_confirm, flag),
    OF(cmp, profile, flag),
    OF(cmp, resubmit, flag),
    OF(cmp, tls_ca, path),
    OF(cmp, tls_cert, path),
    OF(cmp, tls_key, secret),
    { 0 },
};

static const conf_rule est_rules[] = {
    MUST_OF(est, url, address),  OF(est, label, word),
    OF(est, profile, flag),      OF(est, user, text),
    OF(est, password, secret),   OF(est, client_cert, path),
    OF(est, client_key, secret), OF(est, tls_ca, path),
    OF(est, resubmit, flag),     { 0 },
};

/* apr_array_header_t * of const char *: words with blanks between them. No quotes: OpenSSL's syntax
 * eats them. */
static const scep_err *conf_parse_words(void *member, const conf_reader *r, const conf_rule *rule,
                                        const char *value)
{
    apr_array_header_t *list = apr_array_make(r->p, 4, sizeof(const char *));

    for (const char *at = value + strspn(value, " \t"); *at; at += strspn(at, " \t")) {
        size_t len = strcspn(at, " \t");

        APR_ARRAY_PUSH(list, const char *) = apr_pstrmemdup(r->p, at, len);
        at += len;
    }
    if (!list->nelts)
        return conf_fail(r->p, r->path, r->line, "%s: words with blanks between them are accepted",
                         rule->key);
    *(apr_array_header_t **)member = list;
    return NULL;
}

static const conf_rule exec_rules[] = {
    MUST_OF(exec, program, path),
    OF(exec, arguments, words),
    { 0 },
};

typedef struct kind {
    const char *name;
    bool remote;
    const conf_rule *rules;
} kind;

static const kind kinds[] = {
    { "local", false, local_rules }, { "adcs", true, adcs_rules }, { "cmp", true, cmp_rules },
    { "est", true, est_rules },      { "exec", true, exec_rules },
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

static const char *value_of(const conf_section *section, const char *key, int *line)
{
    for (int i = 0; i < section->entries->nelts; i++) {
        const conf_entry *entry = &APR_ARRAY_IDX(section->entries, i, conf_entry);

        if (!strcmp(entry->key, key)) {
            *line = entry->line;
            return entry->value;
        }
    }
    return NULL;
}

static const char *names(apr_pool_t *p)
{
    const char *list = kinds[0].name;

    for (size_t i = 1; i < KINDS; i++)
        list = apr_pstrcat(p, list, i + 1 == KINDS ? " and " : ", ", kinds[i].name, NULL);
    return list;
}

static void add(apr_array_header_t *all, const conf_rule *rules)
{
    for (; rules->key; rules++)
        *(conf_rule *)apr_array_push(all) = *rules;
}

const scep_err *conf_connector_rules(const conf_rule **out, const conf_section *section,
                                     const conf_rule *common, const conf_reader *r)
{
    apr_array_header_t *all = apr_array_make(r->p, 48, sizeof(conf_rule));
    int line = section->line;
    const char *value = value_of(section, "connector", &line);
    size_t at = 0;

    while (value && at < KINDS && strcmp(kinds[at].name, value))
        at++;
    if (at == KINDS)
        return conf_fail(r->p, r->path, line, "connector: there is no \"%s\"; %s are accepted",
                         scep_printable(r->p, scep_bytes_of(value), 80), names(r->p));
    add(all, common);
    add(all, kinds[at].rules); /* where there is none, section_fill() says that it is missing */
    if (kinds[at].remote)
        add(all, remote_rules);
    *(conf_rule *)apr_array_push(all) = (conf_rule){ 0 };
    *out = (const conf_rule *)all->elts;
    return NULL;
}

void conf_connector_defaults(conf_authority *a)
{
    a->crl_days = 7;
    a->timeout = 30;
    a->concurrency = 8;
    a->poll = 60;
    a->adcs.mechanism = "spnego";
    a->cmp.command = "p10cr";
}

static const scep_err *pair_check(const conf_authority *a, const conf_section *section,
                                  const conf_reader *r, const char *one, const char *one_name,
                                  const char *other, const char *other_name)
{
    if (!one == !other)
        return NULL;
    return conf_fail(r->p, r->path, section->line, "[authority %s]: %s and %s go together", a->name,
                     one_name, other_name);
}

/* A CA elsewhere has an RA from files, or makes it from its own templates, or both: then the first
 * one is from files and those that follow it are from templates. */
static const scep_err *ra_check(const conf_authority *a, const conf_section *section,
                                const conf_reader *r)
{
    const bool files = a->ra_sign_cert && a->ra_sign_key && a->ra_decrypt_cert && a->ra_decrypt_key;
    const bool any = a->ra_sign_cert || a->ra_sign_key || a->ra_decrypt_cert || a->ra_decrypt_key;

    SCEP_TRY(pair_check(a, section, r, a->ra_sign_template, "ra_sign_template",
                        a->ra_decrypt_template, "ra_decrypt_template"));
    if (any && !files)
        return conf_fail(r->p, r->path, section->line,
                         "[authority %s]: ra_sign_cert, ra_sign_key, ra_decrypt_cert and "
                         "ra_decrypt_key go together",
                         a->name);
    if (files || a->ra_sign_template)
        return NULL;
    return conf_fail(r->p, r->path, section->line,
                     "[authority %s] has no RA: either ra_sign_cert, ra_sign_key, ra_decrypt_cert "
                     "and ra_decrypt_key name its files, or ra_sign_template and "
                     "ra_decrypt_template the CA's templates for it",
                     a->name);
}

#define PAIR(a, section, r, one, other)                                          \
    pair_check((a), (section), (r), (a)->one, strchr(#one, '.') + 1, (a)->other, \
               strchr(#other, '.') + 1)

/* Those that NDES takes. */
static void ra_defaults(conf_authority *a)
{
    if (strcmp(a->connector, "adcs") || a->ra_sign_template || a->ra_decrypt_template)
        return;
    a->ra_sign_template = "EnrollmentAgentOffline";
    a->ra_decrypt_template = "CEPEncryption";
}

/* Everybody may read ca.conf. */
static const scep_err *user_check(const conf_authority *a, const char *url,
                                  const conf_section *section, const conf_reader *r)
{
    if (!url || !strchr(url, '@'))
        return NULL;
    return conf_fail(r->p, r->path, section->line,
                     "[authority %s]: url: a user stands in it; a secret goes into a file of its "
                     "own",
                     a->name);
}

/* RFC 7030 3.2.2: the path is the protocol's. */
static const scep_err *est_url_check(const conf_authority *a, const conf_section *section,
                                     const conf_reader *r)
{
    const char *path = strncmp(a->est.url, "https://", 8) ? NULL : strchr(a->est.url + 8, '/');

    if (strncmp(a->est.url, "https://", 8) || strpbrk(a->est.url, "?#") || (path && path[1]))
        return conf_fail(r->p, r->path, section->line,
                         "[authority %s]: url: https://HOST[:PORT] is accepted: EST is spoken over "
                         "TLS only and has its own path (RFC 7030 3.2.2), to which label adds",
                         a->name);
    return user_check(a, a->est.url, section, r);
}

const scep_err *conf_connector_check(conf_authority *a, const conf_section *section,
                                     const conf_reader *r)
{
    ra_defaults(a);
    SCEP_TRY(ra_check(a, section, r));
    SCEP_TRY(PAIR(a, section, r, adcs.agent_cert, adcs.agent_key));
    SCEP_TRY(PAIR(a, section, r, cmp.reference, cmp.secret));
    SCEP_TRY(PAIR(a, section, r, cmp.client_cert, cmp.client_key));
    SCEP_TRY(PAIR(a, section, r, cmp.tls_cert, cmp.tls_key));
    SCEP_TRY(PAIR(a, section, r, est.user, est.password));
    SCEP_TRY(PAIR(a, section, r, est.client_cert, est.client_key));
    if (a->cmp.url && !a->cmp.secret == !a->cmp.client_key)
        return conf_fail(
            r->p, r->path, section->line,
            "[authority %s]: either reference and secret or client_cert and client_key "
            "say how the CA knows who asks",
            a->name);
    if (a->est.url && !a->est.password && !a->est.client_key)
        return conf_fail(r->p, r->path, section->line,
                         "[authority %s]: client_cert and client_key, or user and password, say "
                         "how the CA knows who asks",
                         a->name);
    /* it is sent to whoever proves to be the server, and ca_cert certifies devices */
    if (a->est.password && !a->est.tls_ca)
        return conf_fail(r->p, r->path, section->line,
                         "[authority %s]: user and password need tls_ca, the CA of the server's "
                         "certificate: otherwise the password could be sent to a device that has "
                         "got a certificate with the server's name",
                         a->name);
    if (a->est.profile && a->est.label)
        return conf_fail(r->p, r->path, section->line,
                         "[authority %s]: either label, or profile = yes, which makes the "
                         "template's name the label",
                         a->name);
    SCEP_TRY(user_check(a, a->cmp.url, section, r));
    return a->est.url ? est_url_check(a, section, r) : NULL;
}
