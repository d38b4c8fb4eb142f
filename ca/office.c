/* The office: loading, opening, and the verbs that hand out what is known. */
#include "office.h"

#include "certs.h"
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

/* The first bytes of a hash over what workers remember, so that a change is a new number. */
static const scep_err *generation_set(office_authority *a, apr_pool_t *p)
{
    const STACK_OF(X509) *chain = a->connector->chain;
    size_t n = 2 + (size_t)sk_X509_num(chain);
    scep_bytes *parts = apr_pcalloc(p, n * sizeof(*parts));
    unsigned char hash[32];
    scep_cursor c = { hash, sizeof(hash) };

    SCEP_TRY(scep_cert_der(&parts[0], a->ra.sign.cert, p));
    SCEP_TRY(scep_cert_der(&parts[1], a->ra.decrypt.cert, p));
    for (size_t i = 2; i < n; i++)
        SCEP_TRY(scep_cert_der(&parts[i], sk_X509_value(chain, (int)i - 2), p));
    SCEP_TRY(scep_sha256(hash, parts, n, p));
    if (!scep_cursor_u64(&c, &a->generation))
        return scep_fail(p, INTERNAL, "a hash of 32 bytes has no first eight");
    return NULL;
}

static const scep_err *authority_load(office *o, const conf_authority *section, apr_pool_t *p)
{
    office_authority *a = apr_pcalloc(p, sizeof(*a));
    const scep_err *err;

    a->conf = section;
    SCEP_TRY(connector_open(&a->connector, section, p));
    SCEP_TRY(signer_load(&a->ra.sign, section->ra_sign_cert, section->ra_sign_key, p));
    SCEP_TRY(signer_load(&a->ra.decrypt, section->ra_decrypt_cert, section->ra_decrypt_key, p));
    err = scep_ra_check(&a->ra, sk_X509_value(a->connector->chain, 0), p);
    if (err)
        return scep_fail(p, CONFIG, "%s: [authority %s]: %s", o->conf->path, section->name,
                         err->detail);
    APR_ARRAY_PUSH(o->authorities, office_authority *) = a;
    return generation_set(a, p);
}

static office_authority *authority_find(const office *o, const char *name)
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
static const scep_err *templates_check(const office *o, const office_endpoint *e, apr_pool_t *p)
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
        const conf_authority *a = e->authority->conf;

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

static const scep_err *endpoint_load(office *o, const scep_wire_endpoint *in, apr_pool_t *p)
{
    office_endpoint *e = apr_pcalloc(p, sizeof(*e));
    const char *authority;

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
    authority = scep_settings_text(&e->settings, SCEP_SET_Authority);
    e->authority = authority_find(o, authority);
    if (!e->authority)
        return scep_fail(p, CONFIG,
                         "endpoint %s: SCEPAuthority %s: %s has no section [authority %s]", e->name,
                         authority, o->conf->path, authority);
    APR_ARRAY_PUSH(o->endpoints, office_endpoint *) = e;
    return templates_check(o, e, p);
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
    for (int i = 0; endpoints && i < endpoints->nelts; i++)
        SCEP_TRY(endpoint_load(o, &APR_ARRAY_IDX(endpoints, i, scep_wire_endpoint), p));
    qsort(o->endpoints->elts, (size_t)o->endpoints->nelts, sizeof(office_endpoint *), by_name);
    *out = o;
    return NULL;
}

const scep_err *office_open(office *o, apr_pool_t *p)
{
    SCEP_TRY(reservations_make(&o->reservations, p));
    return store_open(&o->store, o->conf->store, p);
}

office_endpoint *office_endpoint_find(const office *o, const char *name)
{
    for (int i = 0; i < o->endpoints->nelts; i++)
        if (!strcasecmp(APR_ARRAY_IDX(o->endpoints, i, office_endpoint *)->name, name))
            return APR_ARRAY_IDX(o->endpoints, i, office_endpoint *);
    return NULL;
}

static const scep_err *public_make(scep_wire_public *out, const office_endpoint *e, apr_pool_t *p)
{
    const STACK_OF(X509) *chain = e->authority->connector->chain;

    out->endpoint = e->name;
    out->generation = e->authority->generation;
    SCEP_TRY(scep_cert_der(&out->sign_cert, e->authority->ra.sign.cert, p));
    SCEP_TRY(scep_cert_der(&out->decrypt_cert, e->authority->ra.decrypt.cert, p));
    out->chain = apr_array_make(p, sk_X509_num(chain), sizeof(scep_wire_cert));
    for (int i = 0; i < sk_X509_num(chain); i++) {
        scep_wire_cert *cert = apr_array_push(out->chain);

        SCEP_TRY(scep_cert_der(&cert->der, sk_X509_value(chain, i), p));
    }
    return NULL;
}

const scep_err *office_hello(scep_wire_ready *out, const office *o, apr_pool_t *p)
{
    out->endpoints = apr_array_make(p, o->endpoints->nelts, sizeof(scep_wire_public));
    for (int i = 0; i < o->endpoints->nelts; i++)
        SCEP_TRY(public_make(apr_array_push(out->endpoints),
                             APR_ARRAY_IDX(o->endpoints, i, office_endpoint *), p));
    return NULL;
}

static const scep_err *endpoint_wanted(office_endpoint **out, const office *o, const char *name,
                                       apr_pool_t *p)
{
    *out = office_endpoint_find(o, name);
    if (*out)
        return NULL;
    return scep_fail(p, REFUSED, "there is no endpoint \"%s\"",
                     scep_printable(p, scep_bytes_of(name), 80));
}

const scep_err *office_bundle(scep_wire_identities *out, const office *o,
                              const scep_wire_endpoint_name *in, apr_pool_t *p)
{
    office_endpoint *e;

    SCEP_TRY(endpoint_wanted(&e, o, in->endpoint, p));
    out->endpoint = apr_array_make(p, 1, sizeof(scep_wire_public));
    SCEP_TRY(public_make(apr_array_push(out->endpoint), e, p));
    SCEP_TRY(scep_key_der(&out->sign_key, e->authority->ra.sign.key, p));
    return scep_key_der(&out->decrypt_key, e->authority->ra.decrypt.key, p);
}

static const scep_err *mint(scep_wire_minted *out, const office *o, const scep_wire_mint *in,
                            apr_pool_t *p)
{
    office_endpoint *e;
    challenge_limits limits;
    apr_int64_t expires = 0;

    SCEP_TRY(endpoint_wanted(&e, o, in->endpoint, p));
    limits.max = scep_settings_number(&e->settings, SCEP_SET_PasswordMax);
    limits.minutes = scep_settings_number(&e->settings, SCEP_SET_PasswordValidity);
    limits.length = scep_settings_number(&e->settings, SCEP_SET_PasswordLength);
    out->minutes = (uint32_t)limits.minutes;
    out->outcome = SCEP_MINT_NOT_PERMITTED;
    /* Nobody was authenticated: the worker should not have asked. */
    if (!*in->user)
        return NULL;
    SCEP_TRY(challenge_mint(&out->challenge, &expires, o->store, o->key, e->name, &limits, in->user,
                            in->peer, p));
    out->outcome = out->challenge ? SCEP_MINT_DONE : SCEP_MINT_FULL;
    out->expires = (uint64_t)expires;
    return NULL;
}

const scep_err *office_mint(scep_wire_minted *out, office *o, const scep_wire_mint *in,
                            apr_pool_t *p)
{
    static const char *const words[] = { "failed", "minted", "full", "not-permitted" };
    const scep_err *err;

    *out = (scep_wire_minted){ 0 };
    err = mint(out, o, in, p);
    log_line(LOG_LEVEL_INFO,
             "SCEP0241: mint endpoint=\"%s\" verdict=%s reason=\"%s\" user=\"%s\" from=\"%s\" "
             "expires=%" APR_UINT64_T_FMT,
             scep_printable(p, scep_bytes_of(in->endpoint), 80), words[err ? 0 : out->outcome],
             err ? scep_printable(p, scep_bytes_of(err->detail), 300) : "",
             scep_printable(p, scep_bytes_of(in->user), 80),
             scep_printable(p, scep_bytes_of(in->peer), 64), (apr_uint64_t)out->expires);
    return err;
}
