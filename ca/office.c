/* The office: what stands where, and the verbs that hand out what is known. */
#include "office_int.h"

#include "key.h"
#include "received.h"

#include <apr_strings.h>
#include <string.h>

office_authority *office_authority_find(const office *o, const char *name)
{
    for (int i = 0; i < o->authorities->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(o->authorities, i, office_authority *)->conf->name, name))
            return APR_ARRAY_IDX(o->authorities, i, office_authority *);
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

const scep_err *office_ask_ca(const issued_cert **out, const office_authority *a,
                              const conf_template *template, const scep_csr *csr, apr_pool_t *p)
{
    const connector_ask ask = { .template = template, .csr = csr };
    connector_answer answer = { 0 };

    SCEP_TRY(a->connector->submit(&answer, a->connector, &ask, p));
    switch (answer.outcome) {
    case CONNECTOR_DENIED:
        return scep_fail(p, REFUSED, "the CA denied: %s", answer.reason);
    case CONNECTOR_PENDING:
    case CONNECTOR_LOST:
        return scep_fail(p, UNAVAILABLE, "the CA has put the request off");
    case CONNECTOR_ISSUED:
        break;
    }
    /* whatever a CA sends, a device gets a certificate for its own key only. */
    if (!answer.cert || !received_is_for(answer.cert->spki, csr, p))
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
