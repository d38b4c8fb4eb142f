/* status: how a running scep-ca is, as the page of SetHandler scep-status tells it. */
#include "scepctl.h"

#include <apr_strings.h>
#include <inttypes.h>
#include <string.h>

/* Within this time of its end a certificate wants somebody's attention. */
#define SOON (30 * 24 * 60 * 60)

static const char *shown(const char *text, apr_pool_t *p)
{
    return *text ? clean(text, p) : "-";
}

static const char *date(uint64_t seconds, apr_pool_t *p)
{
    const char *text = when(seconds, p);

    return *text ? text : "-";
}

static const char *word_of(const scep_wire_state *s)
{
    uint64_t now = (uint64_t)apr_time_sec(apr_time_now());

    if (!s->store)
        return "down";
    for (int i = 0; i < s->authorities->nelts; i++) {
        const scep_wire_authority_state *a =
            &APR_ARRAY_IDX(s->authorities, i, scep_wire_authority_state);

        if (a->ca_ends < now + SOON || a->ra_ends < now + SOON ||
            (a->crl_next && a->crl_next < now) || a->left_alone)
            return "degraded";
    }
    return "ok";
}

/* ---- JSON ---- */

static json_t *authority_json(const scep_wire_authority_state *a, apr_pool_t *p)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:I}", "name", text_json(a->name, p), "subject",
                     text_json(a->subject, p), "ca_ends", time_json(a->ca_ends, p), "ra_ends",
                     time_json(a->ra_ends, p), "crl_number",
                     a->crl_number ? json_integer((json_int_t)a->crl_number) : json_null(),
                     "crl_next", time_json(a->crl_next, p), "ca_left_alone", (int)a->left_alone,
                     "ca_asks", (json_int_t)a->asks);
}

/* What only the store knows is null where it does not answer. */
static json_t *stored_json(const scep_wire_state *s, uint64_t n)
{
    return s->store ? json_integer((json_int_t)n) : json_null();
}

static json_t *endpoint_json(const scep_wire_state *s, const scep_wire_endpoint_state *e,
                             apr_pool_t *p)
{
    return json_pack("{s:o,s:o,s:o,s:I,s:o,s:I,s:I,s:I,s:I,s:I}", "name", text_json(e->name, p),
                     "authority", text_json(e->authority, p), "challenges_unused",
                     stored_json(s, e->unused), "challenges_most", (json_int_t)e->most, "waiting",
                     stored_json(s, e->waiting), "issued", (json_int_t)e->issued, "refused",
                     (json_int_t)e->refused, "pending", (json_int_t)e->pending, "later",
                     (json_int_t)e->later, "minted", (json_int_t)e->minted);
}

static json_t *state_json(const scep_wire_state *s, apr_pool_t *p)
{
    json_t *authorities = json_array(), *endpoints = json_array();
    bool good = authorities && endpoints;

    for (int i = 0; good && i < s->authorities->nelts; i++)
        good = json_array_append_new(
                   authorities,
                   authority_json(&APR_ARRAY_IDX(s->authorities, i, scep_wire_authority_state),
                                  p)) == 0;
    for (int i = 0; good && i < s->endpoints->nelts; i++)
        good = json_array_append_new(
                   endpoints,
                   endpoint_json(s, &APR_ARRAY_IDX(s->endpoints, i, scep_wire_endpoint_state),
                                 p)) == 0;
    if (!good)
        return NULL; /* no memory: the program ends */
    return json_pack("{s:s,s:{s:b,s:o,s:o,s:b,s:o},s:o,s:o}", "status", word_of(s), "scep_ca",
                     "answers", 1, "version", text_json(s->version, p), "since",
                     time_json(s->since, p), "store", (int)(s->store != 0), "detail",
                     text_json(s->detail, p), "authorities", authorities, "endpoints", endpoints);
}

/* ---- text ---- */

static void print_authority(const scep_wire_authority_state *a, apr_pool_t *p)
{
    printf("authority %s: %s\n  CA until %s, RA until %s", shown(a->name, p), shown(a->subject, p),
           date(a->ca_ends, p), date(a->ra_ends, p));
    if (a->crl_number)
        printf(", CRL %" PRIu64 " until %s", a->crl_number, date(a->crl_next, p));
    if (a->asks)
        printf(", the CA is asked %" PRIu64 " requests", a->asks);
    printf("%s\n", a->left_alone ? "; the CA failed too often and is left alone for a while" : "");
}

static void print_endpoint(const scep_wire_state *s, const scep_wire_endpoint_state *e,
                           apr_pool_t *p)
{
    printf("endpoint %s, authority %s\n", shown(e->name, p), shown(e->authority, p));
    if (s->store)
        printf("  challenges unused %" PRIu64 " of %" PRIu64 ", requests waiting %" PRIu64 "\n",
               e->unused, e->most, e->waiting);
    printf("  issued %" PRIu64 ", refused %" PRIu64 ", pending %" PRIu64 ", later %" PRIu64
           ", minted %" PRIu64 "\n",
           e->issued, e->refused, e->pending, e->later, e->minted);
}

static void print_state(const scep_wire_state *s, apr_pool_t *p)
{
    printf("status %s\nscep-ca %s, since %s\n", word_of(s), shown(s->version, p),
           date(s->since, p));
    if (!s->store)
        printf("the database does not answer: %s\n", shown(s->detail, p));
    for (int i = 0; i < s->authorities->nelts; i++)
        print_authority(&APR_ARRAY_IDX(s->authorities, i, scep_wire_authority_state), p);
    for (int i = 0; i < s->endpoints->nelts; i++)
        print_endpoint(s, &APR_ARRAY_IDX(s->endpoints, i, scep_wire_endpoint_state), p);
}

int show_status(scepctl *c, const words *w)
{
    scep_wire_state state;
    scep_bytes body;
    const scep_err *err =
        call(c, scep_wire_put_empty(SCEP_VERB_STATUS, c->p), SCEP_VERB_STATE, &body);

    if (!err)
        err = scep_wire_get_state(&state, body, c->p);
    if (err)
        return complain(err);
    if (w->json && print_json(state_json(&state, c->p)) != 0)
        return FAILED;
    if (!w->json)
        print_state(&state, c->p);
    return state.store ? DONE_WELL : FAILED;
}
