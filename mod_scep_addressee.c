/* Whom a PKIOperation is for: the RA that its envelope names, and so the endpoint and the CA. */
#include "mod_scep_pki.h"

#include <openssl/err.h>

const scep_settings *scep_issuance_of(const scep_exchange *x, const char *endpoint)
{
    const scep_settings *issuance = scep_endpoint_settings(endpoint);

    return issuance ? issuance : x->section;
}

/* All RAs that may be meant, those of the next CAs last, and the section's own endpoint first. */
typedef struct candidates {
    apr_array_header_t *known;    /* of const scep_known *, by endpoint */
    apr_array_header_t *ra;       /* of const scep_ra * */
    apr_array_header_t *identity; /* of const scep_identity *, as ra */
    apr_array_header_t *owner;    /* of const scep_known *, as ra */
} candidates;

static void add_identities(candidates *c, const scep_known *known, bool next)
{
    for (int i = 0; i < known->n; i++) {
        const scep_identity *one = &known->identities[i];

        if ((one->role == SCEP_ROLE_NEXT) != next)
            continue;
        APR_ARRAY_PUSH(c->ra, const scep_ra *) = &one->ra;
        APR_ARRAY_PUSH(c->identity, const scep_identity *) = one;
        APR_ARRAY_PUSH(c->owner, const scep_known *) = known;
    }
}

/* The next CA of one endpoint may be what GetCACert gives for another one, whose rules hold for its
 * RA then (D-10, S-04): whatever is somebody's now comes before whatever will be somebody's. */
static void add_all_identities(candidates *c)
{
    for (int next = 0; next < 2; next++)
        for (int i = 0; i < c->known->nelts; i++)
            add_identities(c, APR_ARRAY_IDX(c->known, i, const scep_known *), next);
}

static candidates no_candidates(apr_pool_t *p)
{
    return (candidates){ .known = apr_array_make(p, 2, sizeof(const scep_known *)),
                         .ra = apr_array_make(p, 8, sizeof(const scep_ra *)),
                         .identity = apr_array_make(p, 8, sizeof(const scep_identity *)),
                         .owner = apr_array_make(p, 8, sizeof(const scep_known *)) };
}

/* All of them must be known: a request would otherwise be taken for another endpoint's. */
static const scep_err *gather(candidates *out, const scep_exchange *x,
                              const apr_array_header_t *served)
{
    *out = no_candidates(x->r->pool);
    for (int i = 0; i < served->nelts; i++) {
        const scep_known *known;

        SCEP_TRY(scep_known_keys(&known, x->r, APR_ARRAY_IDX(served, i, const char *)));
        APR_ARRAY_PUSH(out->known, const scep_known *) = known;
    }
    add_all_identities(out);
    return NULL;
}

static bool pick(scep_exchange *x, const candidates *c)
{
    const scep_ra *const *list = (const scep_ra *const *)c->ra->elts;
    const scep_ra *found = scep_ra_pick(list, c->ra->nelts, x->message);

    for (int i = 0; found && i < c->ra->nelts; i++) {
        if (list[i] != found)
            continue;
        x->identity = APR_ARRAY_IDX(c->identity, i, const scep_identity *);
        x->known = APR_ARRAY_IDX(c->owner, i, const scep_known *);
        x->endpoint = x->known->endpoint;
        x->issuance = scep_issuance_of(x, x->endpoint);
        x->addressed = true;
        return true;
    }
    return false;
}

/* Another node or worker may have shown a device an RA that this worker does not know yet. */
static void pick_anew(scep_exchange *x, const candidates *old)
{
    candidates now = no_candidates(x->r->pool);
    bool news = false;

    for (int i = 0; i < old->known->nelts; i++) {
        const scep_known *known = APR_ARRAY_IDX(old->known, i, const scep_known *);

        news = scep_known_anew(&known, x->r, known->endpoint) || news;
        APR_ARRAY_PUSH(now.known, const scep_known *) = known;
    }
    add_all_identities(&now);
    if (news)
        (void)pick(x, &now);
}

const scep_err *scep_find_addressee(scep_exchange *x, const apr_array_header_t *served)
{
    candidates all;

    SCEP_TRY(gather(&all, x, served));
    x->known = APR_ARRAY_IDX(all.known, 0, const scep_known *);
    x->identity = &x->known->identities[0];
    if (x->message->envelope && !pick(x, &all))
        pick_anew(x, &all);
    return NULL;
}
