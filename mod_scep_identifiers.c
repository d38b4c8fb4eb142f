/*
 * SCEPCAIdentifiers: several endpoints behind one address. Devices name a CA in message= of
 * GetCACert (draft-23 5.2.1), mostly with whatever their maker put there, so that an unknown
 * identifier is as good as none. A PKIOperation names nobody; whom its envelope is meant for
 * says it.
 */
#include "mod_scep.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

static const scep_identifier *named(const apr_array_header_t *list, const char *name)
{
    for (int i = 0; i < list->nelts; i++) {
        const scep_identifier *one = &APR_ARRAY_IDX(list, i, scep_identifier);

        if (!strcasecmp(one->name, name))
            return one;
    }
    return NULL;
}

const scep_err *scep_identifiers_read(apr_array_header_t **out, const char *text, apr_pool_t *p)
{
    char *state = NULL, *part;

    *out = apr_array_make(p, 4, sizeof(scep_identifier));
    for (part = apr_strtok(apr_pstrdup(p, text), " ", &state); part;
         part = apr_strtok(NULL, " ", &state)) {
        char *equals = strchr(part, '=');
        scep_identifier one;

        if (!equals || equals == part || !equals[1])
            return scep_fail(p, CONFIG,
                             "'%s' is not IDENTIFIER=ENDPOINT; write it without blanks around "
                             "the '='",
                             part);
        *equals = 0;
        ap_str_tolower(equals + 1);
        one = (scep_identifier){ part, equals + 1 };
        if (named(*out, one.name))
            return scep_fail(p, CONFIG,
                             "identifier '%s' stands there twice (letter case is "
                             "ignored)",
                             one.name);
        APR_ARRAY_PUSH(*out, scep_identifier) = one;
    }
    return NULL;
}

/* ---- at configuration time ---- */

/* As is said of every setting: what is wrong, and where it stands. */
static const scep_err *wrong(const scep_section *section, const char *why, apr_pool_t *p)
{
    return scep_fail(p, CONFIG, "SCEPCAIdentifiers (%s): %s",
                     section->where[SCEP_SET_CAIdentifiers], why);
}

static const char *authority_of(apr_hash_t *endpoints, const char *name)
{
    const scep_section *all = apr_hash_get(endpoints, name, APR_HASH_KEY_STRING);

    return all ? scep_settings_text(&all->settings, SCEP_SET_Authority) : NULL;
}

/* An authority's RA is the same for all of its endpoints. */
static const char *shared(apr_hash_t *endpoints, const char *one, const char *other, apr_pool_t *p)
{
    const char *authority = authority_of(endpoints, one);

    if (!strcmp(one, other) || strcmp(authority, authority_of(endpoints, other)))
        return NULL;
    return apr_psprintf(p,
                        "the endpoints '%s' and '%s' share the authority '%s', so that requests "
                        "for them cannot be told apart; give each an SCEPAuthority of its own",
                        one, other, authority);
}

const scep_err *scep_identifiers_check(apr_hash_t *endpoints, const char *own,
                                       const scep_section *section, apr_pool_t *p)
{
    const char *text = scep_settings_text(&section->settings, SCEP_SET_CAIdentifiers);
    apr_array_header_t *list;
    const scep_err *err = scep_identifiers_read(&list, text, p);

    if (err)
        return wrong(section, err->detail, p);
    for (int i = 0; i < list->nelts; i++) {
        const scep_identifier *one = &APR_ARRAY_IDX(list, i, scep_identifier);
        const char *why = NULL;

        if (!authority_of(endpoints, one->endpoint))
            why = apr_psprintf(p, "'%s=%s': no section belongs to such an endpoint (SCEPEndpoint)",
                               one->name, one->endpoint);
        if (!why)
            why = shared(endpoints, own, one->endpoint, p);
        for (int k = 0; k < i && !why; k++)
            why = shared(endpoints, APR_ARRAY_IDX(list, k, scep_identifier).endpoint, one->endpoint,
                         p);
        if (why)
            return wrong(section, why, p);
    }
    return NULL;
}

/* ---- requests ---- */

/* Refused at start where it cannot be read. */
static const apr_array_header_t *identifiers_of(request_rec *r)
{
    const char *text = scep_settings_text(scep_request_settings(r), SCEP_SET_CAIdentifiers);
    apr_array_header_t *list;

    return *text && !scep_identifiers_read(&list, text, r->pool) ? list : NULL;
}

const char *scep_identified_endpoint(request_rec *r)
{
    const apr_array_header_t *list = identifiers_of(r);
    const char *message = list ? scep_query_get(r->args, "message", r->pool) : NULL;
    const scep_identifier *found = message ? named(list, message) : NULL;

    return found ? found->endpoint : scep_request_endpoint(r);
}

apr_array_header_t *scep_endpoints_served(request_rec *r)
{
    const apr_array_header_t *list = identifiers_of(r);
    apr_array_header_t *names = apr_array_make(r->pool, 4, sizeof(const char *));

    APR_ARRAY_PUSH(names, const char *) = scep_request_endpoint(r);
    for (int i = 0; list && i < list->nelts; i++) {
        const char *name = APR_ARRAY_IDX(list, i, scep_identifier).endpoint;
        bool there = false;

        for (int k = 0; k < names->nelts && !there; k++)
            there = !strcmp(APR_ARRAY_IDX(names, k, const char *), name);
        if (!there)
            APR_ARRAY_PUSH(names, const char *) = name;
    }
    return names;
}
