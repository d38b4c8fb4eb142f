/* The office: loading, opening, and the verbs that hand out what is known. */
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

/* The RA of ca.conf. It may have ended: those in the store come after it. */
static const scep_err *ra_load(scep_ra **out, const office *o, const conf_authority *section,
                               X509 *ca, apr_pool_t *p)
{
    scep_ra *ra = apr_pcalloc(p, sizeof(*ra));
    const scep_err *err;

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

office_authority *office_authority_find(const office *o, const char *name)
{
    for (int i = 0; i < o->authorities->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(o->authorities, i, office_authority *)->conf->name, name))
            return APR_ARRAY_IDX(o->authorities, i, office_authority *);
    return NULL;
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
    SCEP_TRY(authorities_link(o, p));
    for (int i = 0; endpoints && i < endpoints->nelts; i++)
        SCEP_TRY(endpoint_load(o, &APR_ARRAY_IDX(endpoints, i, scep_wire_endpoint), p));
    qsort(o->endpoints->elts, (size_t)o->endpoints->nelts, sizeof(office_endpoint *), by_name);
    *out = o;
    return NULL;
}

/* Where a new RA cannot be made, the one that holds serves on; without one nothing does. */
static const scep_err *ra_keep(office *o, office_authority *a, apr_pool_t *p)
{
    const scep_err *err = identities_keep(a->identities, o->store, o->key, p);

    if (!err)
        return NULL;
    if (scep_ra_check_dates(identities_now(a->identities)->ra[0], p))
        return scep_fail(p, CONFIG, "%s: [authority %s]: %s (NDES-10)", o->conf->path,
                         a->conf->name, err->detail);
    log_err(LOG_LEVEL_WARN, "SCEP0248", "NDES-10 an RA was not renewed", err);
    return NULL;
}

const scep_err *office_open(office *o, apr_pool_t *p)
{
    o->since = scep_now();
    SCEP_TRY(reservations_make(&o->reservations, p));
    SCEP_TRY(scep_limit_make(&o->failed, p));
    SCEP_TRY(scep_limit_make(&o->minted, p));
    SCEP_TRY(store_open(&o->store, o->conf->store, p));
    for (int i = 0; i < o->authorities->nelts; i++)
        SCEP_TRY(ra_keep(o, APR_ARRAY_IDX(o->authorities, i, office_authority *), p));
    office_singles_judge(o, p);
    return NULL;
}

office_endpoint *office_endpoint_find(const office *o, const char *name)
{
    for (int i = 0; i < o->endpoints->nelts; i++)
        if (!strcasecmp(APR_ARRAY_IDX(o->endpoints, i, office_endpoint *)->name, name))
            return APR_ARRAY_IDX(o->endpoints, i, office_endpoint *);
    return NULL;
}

const scep_err *office_endpoint_wanted(office_endpoint **out, const office *o, const char *name,
                                       apr_pool_t *p)
{
    *out = office_endpoint_find(o, name);
    if (*out)
        return NULL;
    return scep_fail(p, REFUSED, "there is no endpoint \"%s\"",
                     scep_printable(p, scep_bytes_of(name), 80));
}

const scep_err *office_authority_wanted(office_authority **out, const office_endpoint *e,
                                        const char *name, apr_pool_t *p)
{
    office_authority *own = e->authority;

    *out = own;
    if (!*name || !strcmp(name, own->conf->name))
        return NULL;
    *out = own->next;
    if (own->next && !strcmp(name, own->next->conf->name))
        return NULL;
    return scep_fail(p, REFUSED, "endpoint %s has no authority \"%s\"", e->name,
                     scep_printable(p, scep_bytes_of(name), 80));
}

renewal_place office_renewal_place(const office_endpoint *e)
{
    return (renewal_place){ e->name, scep_settings_text(&e->settings, SCEP_SET_RenewalFrom) };
}

const char *office_typed(const char *text, apr_pool_t *p)
{
    return scep_printable(p, scep_bytes_of(text), 300);
}

const scep_err *office_ask_ca(X509 **out, const office_authority *a, const conf_template *template,
                              const scep_csr *csr, apr_pool_t *p)
{
    connector_answer answer = { 0 };

    SCEP_TRY(a->connector->submit(&answer, a->connector, template, csr, p));
    switch (answer.outcome) {
    case CONNECTOR_DENIED:
        return scep_fail(p, REFUSED, "the CA denied: %s", answer.reason);
    case CONNECTOR_PENDING:
        return scep_fail(p, UNAVAILABLE, "the CA has put the request off");
    case CONNECTOR_ISSUED:
        break;
    }
    /* whatever a CA sends, a device gets a certificate for its own key only. */
    if (EVP_PKEY_eq(X509_get0_pubkey(answer.cert), csr->key) != 1)
        return scep_fail(p, UNAVAILABLE, "the CA returned a certificate for another key");
    *out = answer.cert;
    return NULL;
}

/* ---- what workers know ---- */

office_view office_view_of(const office_endpoint *e)
{
    const office_authority *next = e->authority->next;

    return (office_view){ identities_now(e->authority->identities),
                          next ? identities_now(next->identities) : NULL };
}

/* Both numbers are hashes already; the odd factor keeps an exchange of the two a change. */
static uint64_t generation_of(office_view view)
{
    return view.own->generation * 3 + (view.next ? view.next->generation : 0);
}

uint64_t office_generation(const office_endpoint *e)
{
    return generation_of(office_view_of(e));
}

static const scep_err *identity_make(scep_wire_identity *out, const office_authority *a,
                                     const scep_ra *ra, scep_wire_role role, apr_pool_t *p)
{
    const STACK_OF(X509) *chain = a->connector->chain;

    out->authority = a->conf->name;
    out->role = role;
    SCEP_TRY(scep_cert_der(&out->sign_cert, ra->sign.cert, p));
    SCEP_TRY(scep_cert_der(&out->decrypt_cert, ra->decrypt.cert, p));
    out->chain = apr_array_make(p, sk_X509_num(chain), sizeof(scep_wire_cert));
    for (int i = 0; i < sk_X509_num(chain); i++) {
        scep_wire_cert *cert = apr_array_push(out->chain);

        SCEP_TRY(scep_cert_der(&cert->der, sk_X509_value(chain, i), p));
    }
    return NULL;
}

/* From one view, so that the number belongs to what it is the number of. */
static const scep_err *public_make(scep_wire_public *out, const office_endpoint *e,
                                   office_view view, apr_pool_t *p)
{
    out->endpoint = e->name;
    out->generation = generation_of(view);
    out->identities = apr_array_make(p, view.own->n, sizeof(scep_wire_identity));
    for (int i = 0; i < view.own->n; i++)
        SCEP_TRY(identity_make(apr_array_push(out->identities), e->authority, view.own->ra[i],
                               i ? SCEP_ROLE_FORMER : SCEP_ROLE_CURRENT, p));
    for (int i = 0; view.next && i < view.next->n; i++)
        SCEP_TRY(identity_make(apr_array_push(out->identities), e->authority->next,
                               view.next->ra[i], SCEP_ROLE_NEXT, p));
    return NULL;
}

const scep_err *office_hello(scep_wire_ready *out, const office *o, apr_pool_t *p)
{
    out->endpoints = apr_array_make(p, o->endpoints->nelts, sizeof(scep_wire_public));
    for (int i = 0; i < o->endpoints->nelts; i++) {
        const office_endpoint *e = APR_ARRAY_IDX(o->endpoints, i, office_endpoint *);

        SCEP_TRY(public_make(apr_array_push(out->endpoints), e, office_view_of(e), p));
    }
    return NULL;
}

static const scep_err *keys_add(apr_array_header_t *keys, const identities *from, apr_pool_t *p)
{
    for (int i = 0; i < from->n; i++) {
        scep_wire_keys *pair = apr_array_push(keys);

        SCEP_TRY(scep_key_der(&pair->sign_key, from->ra[i]->sign.key, p));
        SCEP_TRY(scep_key_der(&pair->decrypt_key, from->ra[i]->decrypt.key, p));
    }
    return NULL;
}

/* Where the store is not open or cannot be asked, what is known is handed out; chores say so in the
 * log. */
static void look_for_news(const office *o, const office_authority *a, apr_pool_t *p)
{
    const scep_err *err =
        a && o->store ? identities_look(a->identities, o->store, o->key, p) : NULL;

    (void)err;
}

const scep_err *office_bundle(scep_wire_identities *out, const office *o,
                              const scep_wire_endpoint_name *in, apr_pool_t *p)
{
    office_endpoint *e;
    office_view view;

    SCEP_TRY(office_endpoint_wanted(&e, o, in->endpoint, p));
    look_for_news(o, e->authority, p);
    look_for_news(o, e->authority->next, p);
    view = office_view_of(e);
    out->endpoint = apr_array_make(p, 1, sizeof(scep_wire_public));
    SCEP_TRY(public_make(apr_array_push(out->endpoint), e, view, p));
    out->keys = apr_array_make(p, view.own->n, sizeof(scep_wire_keys));
    SCEP_TRY(keys_add(out->keys, view.own, p));
    return view.next ? keys_add(out->keys, view.next, p) : NULL;
}
