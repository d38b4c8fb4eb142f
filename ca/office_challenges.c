/* The office: which challenges are out, and taking one back. */
#include "office_int.h"

#include "clock.h"
#include "log.h"

#include <apr_strings.h>
#include <string.h>

/* A page ends before its frame would be too long: what a challenge is bound to is short. */
#define PAGE_ROWS 200
#define PAGE_BYTES (SCEP_WIRE_MAX / 2)
#define ROW_BYTES 512

typedef struct challenge_list_job {
    const char *endpoint, *hash;
    apr_array_header_t *rows, *singles;
} challenge_list_job;

static const scep_err *list_singles(store_tx *tx, void *baton)
{
    challenge_list_job *j = baton;

    return store_single_list(tx, &j->singles);
}

static const scep_err *list_challenges(store_tx *tx, void *baton)
{
    challenge_list_job *j = baton;

    return store_challenge_list(tx, j->endpoint, j->hash, PAGE_ROWS, &j->rows);
}

/* As the store spells it; one that is not configured any more may still have some. */
static const char *endpoint_name(const office *o, const char *typed)
{
    const office_endpoint *e = office_endpoint_find(o, typed);

    return e ? e->name : typed;
}

/* "ENDPOINT HASH", as the page before it ended. */
static const scep_err *list_begin(challenge_list_job *j, const char *endpoint, const char *after,
                                  apr_pool_t *p)
{
    const char *space = strrchr(after, ' ');

    j->endpoint = endpoint;
    j->hash = "";
    if (!*after)
        return NULL;
    if (!space)
        return scep_fail(p, BAD_REQUEST, "\"%s\" is no end of a page", office_typed(after, p));
    j->endpoint = apr_pstrmemdup(p, after, (apr_size_t)(space - after));
    j->hash = space + 1;
    return NULL;
}

static bool is_wanted(const char *wanted, const char *is)
{
    return !*wanted || !strcmp(wanted, is);
}

static scep_wire_challenge challenge_row(const store_challenge *c, apr_pool_t *p)
{
    return (scep_wire_challenge){
        .id = challenge_id(c->hash, p),
        .endpoint = c->endpoint,
        .user = c->user,
        .peer = c->peer,
        .templates = c->templates,
        .subject = c->bound_subject,
        .names = c->bound_names,
        .created = (uint64_t)c->created,
        .expires = (uint64_t)c->expires,
    };
}

static const scep_err *add_singles(scep_wire_challenge_page *out, const office *o,
                                   const char *endpoint, const char *user, apr_pool_t *p)
{
    challenge_list_job j = { 0 };

    SCEP_TRY(store_read(o->store, list_singles, &j, p));
    for (int i = 0; i < j.singles->nelts; i++) {
        const store_single *s = &APR_ARRAY_IDX(j.singles, i, store_single);

        if (!is_wanted(endpoint, s->endpoint) || !is_wanted(user, s->user))
            continue;
        APR_ARRAY_PUSH(out->challenges, scep_wire_challenge) =
            (scep_wire_challenge){ .id = challenge_id(s->hash, p),
                                   .endpoint = s->endpoint,
                                   .user = s->user,
                                   .peer = s->peer,
                                   .templates = s->templates,
                                   .created = (uint64_t)s->created,
                                   .single = 1 };
    }
    return NULL;
}

/* Users are compared here and not by the database, so that no job reads the whole table. */
const scep_err *office_challenges(scep_wire_challenge_page *out, office *o,
                                  const scep_wire_challenges_of *in, apr_pool_t *p)
{
    const char *endpoint = endpoint_name(o, in->endpoint);
    const char *user = scep_printable(p, scep_bytes_of(in->user), 256); /* as it is stored */
    apr_int64_t now = apr_time_sec(scep_now());
    challenge_list_job j = { 0 };
    size_t bytes = 0;
    int n = 0;

    out->challenges = apr_array_make(p, PAGE_ROWS, sizeof(scep_wire_challenge));
    out->after = "";
    SCEP_TRY(list_begin(&j, endpoint, in->after, p));
    if (!*in->after)
        SCEP_TRY(add_singles(out, o, endpoint, user, p));
    SCEP_TRY(store_read(o->store, list_challenges, &j, p));
    for (; n < j.rows->nelts && bytes < PAGE_BYTES; n++) {
        const store_challenge *c = &APR_ARRAY_IDX(j.rows, n, store_challenge);

        out->after = "";
        if (!is_wanted(endpoint, c->endpoint))
            return NULL;
        out->after = apr_pstrcat(p, c->endpoint, " ", c->hash, NULL);
        if (!c->fresh || c->expires <= now || !is_wanted(user, c->user))
            continue;
        APR_ARRAY_PUSH(out->challenges, scep_wire_challenge) = challenge_row(c, p);
        bytes += ROW_BYTES + strlen(c->bound_subject) + strlen(c->bound_names);
    }
    if (n == j.rows->nelts && n < PAGE_ROWS)
        out->after = "";
    return NULL;
}

const scep_err *office_revoke_challenge(scep_wire_done *out, office *o,
                                        const scep_wire_revoke_challenge *in, apr_pool_t *p)
{
    const challenge_out *was = NULL;
    const char *endpoint = endpoint_name(o, in->endpoint);
    const scep_err *err = challenge_revoke(&was, o->store, in->id, endpoint, p);
    const store_challenge none = { .endpoint = endpoint, .user = "", .peer = "" };
    const store_challenge *c = err ? &none : &was->row;

    log_line(
        LOG_LEVEL_INFO,
        "SCEP0249: revoke-challenge id=\"%s\" endpoint=\"%s\" verdict=%s code=%s detail=\"%s\" "
        "single=%s user=\"%s\" from=\"%s\" by=\"%s\"",
        err ? office_typed(in->id, p) : challenge_id(c->hash, p), office_typed(c->endpoint, p),
        err ? "failed" : "revoked", err ? scep_code_describe(err->code)->name : "OK",
        err ? scep_in_quotes(p, err->detail, 300) : "",
        (err ? !*in->id : was->single) ? "yes" : "no", c->user, c->peer, office_typed(in->by, p));
    SCEP_TRY(err);
    out->serial = "";
    out->text = was->single
                    ? apr_psprintf(p,
                                   "the single password of %s was revoked; the next visit to "
                                   "its page makes another",
                                   c->endpoint)
                    : apr_psprintf(p, "a challenge of %s, fetched by %s, was revoked", c->endpoint,
                                   c->user);
    return NULL;
}
