/* An office is made of ca.conf and what httpd says of its endpoints; then its store is opened. */
#include "office_int.h"

#include "certs.h"
#include "clock.h"
#include "key.h"
#include "log.h"
#include "template.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

static const scep_err *signer_load(scep_signer *out, const char *cert, const char *key,
                                   apr_pool_t *p)
{
    STACK_OF(X509) * certs;

    SCEP_TRY(scep_certs_load(&certs, cert, p));
    out->cert = sk_X509_value(certs, 0);
    return scep_key_load(&out->key, key, p);
}

/* The RA of ca.conf. It may have ended: those in the store come after it. NULL: none; the CA makes
 * it. */
static const scep_err *ra_load(scep_ra **out, const office *o, const conf_authority *section,
                               X509 *ca, apr_pool_t *p)
{
    scep_ra *ra = apr_pcalloc(p, sizeof(*ra));
    const scep_err *err;

    *out = NULL;
    if (!section->ra_sign_cert)
        return NULL;
    SCEP_TRY(signer_load(&ra->sign, section->ra_sign_cert, section->ra_sign_key, p));
    SCEP_TRY(signer_load(&ra->decrypt, section->ra_decrypt_cert, section->ra_decrypt_key, p));
    err = scep_ra_check(ra, ca, p);
    if (err)
        return scep_fail(p, CONFIG, "%s: [authority %s]: %s (NDES-10)", o->conf->path,
                         section->name, err->detail);
    *out = ra;
    return NULL;
}

static const scep_err *authority_load(office *o, const conf_authority *section, apr_pool_t *p)
{
    office_authority *a = apr_pcalloc(p, sizeof(*a));
    scep_ra *ra;

    a->conf = section;
    SCEP_TRY(connector_open(&a->connector, section, p));
    SCEP_TRY(ra_load(&ra, o, section, sk_X509_value(a->connector->chain, 0), p));
    SCEP_TRY(identities_make(&a->identities, section, a->connector, ra, p));
    APR_ARRAY_PUSH(o->authorities, office_authority *) = a;
    return NULL;
}

/* Workers of httpd log in to the token of an RA: what else is in there would be in their hands. */
static const scep_err *token_check(const office *o, const conf_authority *ra, const char *key,
                                   const char *ra_key, apr_pool_t *p)
{
    const char *token = scep_key_token(ra_key, p);

    for (int i = 0; token && i < o->conf->authorities->nelts; i++) {
        const conf_authority *a = APR_ARRAY_IDX(o->conf->authorities, i, conf_authority *);
        bool of_ca = scep_key_same_token(a->ca_key, ra_key, p);

        if (of_ca || scep_key_same_token(a->adcs.agent_key, ra_key, p))
            return scep_fail(p, CONFIG,
                             "%s: [authority %s]: %s is in the same %s as %s of [authority %s]: "
                             "httpd's workers use the keys of an RA, and could use that one as "
                             "well; keep them in two tokens, with a PIN each",
                             o->conf->path, ra->name, key, token, of_ca ? "ca_key" : "agent_key",
                             a->name);
    }
    return NULL;
}

/* Once all of them are loaded. */
static const scep_err *tokens_check(const office *o, apr_pool_t *p)
{
    for (int i = 0; i < o->conf->authorities->nelts; i++) {
        const conf_authority *a = APR_ARRAY_IDX(o->conf->authorities, i, conf_authority *);

        SCEP_TRY(token_check(o, a, "ra_sign_key", a->ra_sign_key, p));
        SCEP_TRY(token_check(o, a, "ra_decrypt_key", a->ra_decrypt_key, p));
    }
    return NULL;
}

static const scep_err *issuer_add(office_authority *a, X509 *issuer, apr_pool_t *p)
{
    if (!sk_X509_push(a->trust.issuers, issuer))
        return scep_fail(p, INTERNAL, "out of memory");
    return NULL;
}

/* Whose certificates an authority renews: its own, its successor's, and those of renewal_ca. */
static const scep_err *trust_load(office_authority *a, apr_pool_t *p)
{
    STACK_OF(X509) *more = NULL;

    a->trust.elsewhere = a->connector->remote;
    a->trust.issuers = scep_borrowed_stack(p);
    SCEP_TRY(issuer_add(a, sk_X509_value(a->connector->chain, 0), p));
    if (a->next)
        SCEP_TRY(issuer_add(a, sk_X509_value(a->next->connector->chain, 0), p));
    if (a->conf->renewal_ca)
        SCEP_TRY(scep_certs_load(&more, a->conf->renewal_ca, p));
    for (int i = 0; i < sk_X509_num(more); i++)
        SCEP_TRY(issuer_add(a, sk_X509_value(more, i), p));
    return foreign_make(&a->trust.foreign, a->conf->foreign_crl, a->trust.issuers, p);
}

static const char *template_names(const conf_authority *a, apr_pool_t *p)
{
    const char *names = "";

    for (int i = 0; i < a->templates->nelts; i++)
        names = apr_pstrcat(p, names, i ? ", " : "",
                            APR_ARRAY_IDX(a->templates, i, const conf_template *)->name, NULL);
    return names;
}

/* Each of the three templates of an endpoint has to be there before a device asks for it. */
static const scep_err *templates_check(const office *o, const office_endpoint *e,
                                       const conf_authority *a, apr_pool_t *p)
{
    static const struct {
        uint32_t key_usage;
        scep_setting setting;
    } picks[] = {
        { KU_DIGITAL_SIGNATURE, SCEP_SET_SignatureTemplate },
        { KU_KEY_ENCIPHERMENT, SCEP_SET_EncryptionTemplate },
        { 0, SCEP_SET_GeneralPurposeTemplate },
    };

    for (size_t i = 0; i < sizeof(picks) / sizeof(*picks); i++) {
        if (!template_pick(a, &e->settings, picks[i].key_usage))
            return scep_fail(p, CONFIG,
                             "endpoint %s: SCEPTemplate %s %s: [authority %s] of %s has the "
                             "templates %s; set SCEPTemplate to one of them or add it there",
                             e->name, scep_setting_describe(picks[i].setting)->name,
                             scep_settings_text(&e->settings, picks[i].setting), a->name,
                             o->conf->path, template_names(a, p));
    }
    return NULL;
}

/* What SCEPConfiguration could have named. */
static const char *configurations(const conf *c, apr_pool_t *p)
{
    const char *list = "";

    for (int i = 0; i < c->authorities->nelts; i++) {
        const conf_authority *a = APR_ARRAY_IDX(c->authorities, i, const conf_authority *);

        list = apr_pstrcat(p, list, i ? ", " : "", "[authority ", a->name, "] has ",
                           a->configuration ? a->configuration : "none", NULL);
    }
    return list;
}

/* As it is written in ca.conf: each backslash twice. */
static const char *in_conf(const char *text, apr_pool_t *p)
{
    char *out = apr_palloc(p, 2 * strlen(text) + 1), *to = out;

    for (; *text; text++) {
        if (*text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to = '\0';
    return out;
}

/* By SCEPConfiguration, as NDES's registry names its CA, or by SCEPAuthority. */
static const scep_err *authority_choose(const office *o, office_endpoint *e, apr_pool_t *p)
{
    const char *configuration = e->settings.value[SCEP_SET_Configuration];
    const char *authority = scep_settings_text(&e->settings, SCEP_SET_Authority);
    const conf_authority *configured = NULL;

    if (configuration) {
        configured = conf_configuration_find(o->conf, configuration);
        if (!configured)
            return scep_fail(p, CONFIG,
                             "endpoint %s: SCEPConfiguration %s: no [authority] of %s has that "
                             "configuration (%s); add 'configuration = %s' to the one that "
                             "is meant",
                             e->name, configuration, o->conf->path, configurations(o->conf, p),
                             in_conf(configuration, p));
        if (e->settings.value[SCEP_SET_Authority] && strcmp(configured->name, authority))
            return scep_fail(p, CONFIG,
                             "endpoint %s: SCEPConfiguration %s is [authority %s] of %s, but "
                             "SCEPAuthority is %s; leave one of the two out",
                             e->name, configuration, configured->name, o->conf->path, authority);
        authority = configured->name;
    }
    e->authority = office_authority_find(o, authority);
    if (e->authority)
        return NULL;
    return scep_fail(p, CONFIG, "endpoint %s: SCEPAuthority %s: %s has no section [authority %s]",
                     e->name, authority, o->conf->path, authority);
}

static const scep_err *endpoint_load(office *o, const scep_wire_endpoint *in, apr_pool_t *p)
{
    office_endpoint *e = apr_pcalloc(p, sizeof(*e));

    if (!in->name || !*in->name)
        return scep_fail(p, CONFIG, "an endpoint has no name; set SCEPEndpoint or ServerName");
    if (office_endpoint_find(o, in->name))
        return scep_fail(p, CONFIG, "endpoint %s was sent twice", in->name);
    e->name = apr_pstrdup(p, in->name);
    for (int i = 0; in->settings && i < in->settings->nelts; i++) {
        const scep_wire_setting *s = &APR_ARRAY_IDX(in->settings, i, scep_wire_setting);
        scep_setting which = scep_setting_find(s->name);

        if (which == SCEP_SET_COUNT)
            return scep_fail(p, CONFIG,
                             "endpoint %s: there is no setting \"%s\"; httpd's mod_scep and this "
                             "scep-ca are of different versions",
                             e->name, scep_printable(p, scep_bytes_of(s->name), 64));
        SCEP_TRY(scep_settings_set(&e->settings, which, s->value, p));
    }
    SCEP_TRY(authority_choose(o, e, p));
    APR_ARRAY_PUSH(o->endpoints, office_endpoint *) = e;
    SCEP_TRY(templates_check(o, e, e->authority->conf, p));
    return e->authority->next ? templates_check(o, e, e->authority->next->conf, p) : NULL;
}

/* Once all of them are loaded. */
static const scep_err *authorities_link(office *o, apr_pool_t *p)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);

        if (a->conf->next)
            a->next = office_authority_find(o, a->conf->next->name);
        SCEP_TRY(trust_load(a, p));
    }
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const office_endpoint *const *x = a;
    const office_endpoint *const *y = b;

    return strcasecmp((*x)->name, (*y)->name);
}

const scep_err *office_load(office **out, const char *conf_path,
                            const apr_array_header_t *endpoints, apr_pool_t *p)
{
    office *o = apr_pcalloc(p, sizeof(*o));
    conf *c;

    SCEP_TRY(conf_load(&c, conf_path, p));
    o->conf = c;
    o->authorities = apr_array_make(p, c->authorities->nelts, sizeof(office_authority *));
    o->endpoints = apr_array_make(p, 4, sizeof(office_endpoint *));
    SCEP_TRY(store_key_load(&o->key, c->store_key, p));
    for (int i = 0; i < c->authorities->nelts; i++)
        SCEP_TRY(authority_load(o, APR_ARRAY_IDX(c->authorities, i, conf_authority *), p));
    SCEP_TRY(tokens_check(o, p));
    SCEP_TRY(authorities_link(o, p));
    SCEP_TRY(office_directories_load(o, p));
    for (int i = 0; endpoints && i < endpoints->nelts; i++)
        SCEP_TRY(endpoint_load(o, &APR_ARRAY_IDX(endpoints, i, scep_wire_endpoint), p));
    qsort(o->endpoints->elts, (size_t)o->endpoints->nelts, sizeof(office_endpoint *), by_name);
    *out = o;
    return NULL;
}

/* What was not done about an RA is a fault where nothing serves without it. */
static const scep_err *ra_judge(const office *o, const office_authority *a, const scep_err *err,
                                apr_pool_t *p)
{
    const identities *now = identities_now(a->identities);

    if (!err)
        return NULL;
    if (!now || scep_ra_check_dates(now->ra[0], p))
        return scep_fail(p, CONFIG, "%s: [authority %s]: %s (NDES-10)", o->conf->path,
                         a->conf->name, err->detail);
    log_err(LOG_LEVEL_WARN, "SCEP0248", "NDES-10 an RA was not renewed", err);
    return NULL;
}

/* A CA elsewhere may hang: an RA is asked of it here only where nothing serves without one. Chores
 * renew in time. */
static const scep_err *ra_open(const office *o, office_authority *a, bool serves, apr_pool_t *p)
{
    const identities *now;
    const scep_err *err;

    if (!a->connector->remote)
        return ra_judge(o, a, identities_keep(a->identities, o->store, o->key, p), p);
    err = identities_look(a->identities, o->store, o->key, p);
    now = identities_now(a->identities);
    if (!err && serves && (!now || scep_ra_check_dates(now->ra[0], p)))
        err = identities_keep(a->identities, o->store, o->key, p);
    return ra_judge(o, a, err, p);
}

bool office_makes_ra(const office_authority *a)
{
    return !a->connector->remote || a->conf->ra_sign_template;
}

const scep_err *office_open(office *o, bool serves, apr_pool_t *p)
{
    o->since = scep_now();
    SCEP_TRY(office_directories_look(o, p));
    SCEP_TRY(reservations_make(&o->reservations, p));
    SCEP_TRY(scep_limit_make(&o->failed, p));
    SCEP_TRY(scep_limit_make(&o->minted, p));
    SCEP_TRY(store_open(&o->store, o->conf->store, p));
    for (int i = 0; i < o->authorities->nelts; i++) {
        office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);

        SCEP_TRY(ra_open(o, a, serves, p));
    }
    office_singles_judge(o, p);
    return NULL;
}
