/*
 * How mod_scep is: a page for people, JSON for programs and load balancers, and a section of
 * mod_status's page. Where scep-ca is away, the same from what this worker knows.
 */
#include "mod_scep_worker.h"

#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <http_main.h>
#include <jansson.h>
#include <mod_status.h>
#include <scoreboard.h>
#include <stdlib.h>
#include <string.h>

/* Within this time of its end a certificate wants somebody's attention. */
#define SOON (30 * 24 * 60 * 60)

typedef struct view {
    scep_wire_state state;
    bool answered;      /* by scep-ca; else by what this worker knows: nothing is counted */
    const char *detail; /* why not, or what its store says; "": all is well */
    const char *word;   /* ok, degraded, down */
} view;

/* ---- what is there to tell ---- */

/* SCEPEngine is a server's; a worker without a way to scep-ca does not prove that it is off. */
static bool is_on_somewhere(void)
{
    const server_rec *s = ap_server_conf;

    while (s && !scep_settings_flag(scep_server_settings((server_rec *)s), SCEP_SET_Engine))
        s = s->next;
    return s != NULL;
}

/* 0: not known. */
static uint64_t end_of(const X509 *cert)
{
    struct tm parts;
    apr_time_exp_t t = { 0 };
    apr_time_t time;

    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &parts) != 1)
        return 0;
    t.tm_year = parts.tm_year;
    t.tm_mon = parts.tm_mon;
    t.tm_mday = parts.tm_mday;
    t.tm_hour = parts.tm_hour;
    t.tm_min = parts.tm_min;
    t.tm_sec = parts.tm_sec;
    if (apr_time_exp_gmt_get(&time, &t) != APR_SUCCESS || time < 0)
        return 0;
    return (uint64_t)apr_time_sec(time);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

static void add_known_authority(scep_wire_state *state, const scep_identity *from, apr_pool_t *p)
{
    const scep_ra *ra = &from->ra;
    scep_wire_authority_state *a;

    for (int i = 0; i < state->authorities->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(state->authorities, i, scep_wire_authority_state).name,
                    from->authority))
            return;
    a = apr_array_push(state->authorities);
    *a = (scep_wire_authority_state){ .name = apr_pstrdup(p, from->authority) };
    a->subject = scep_name_line(X509_get_subject_name(sk_X509_value(from->chain, 0)), p);
    for (int i = 0; i < sk_X509_num(from->chain); i++)
        a->ca_ends = earlier(a->ca_ends, end_of(sk_X509_value(from->chain, i)));
    a->ra_ends = earlier(end_of(ra->sign.cert), end_of(ra->decrypt.cert));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const scep_wire_endpoint_state *)a)->name,
                  ((const scep_wire_endpoint_state *)b)->name);
}

/* Asks nobody: what is known is from before scep-ca went away. */
static void tell_known(scep_wire_state *state, request_rec *r)
{
    const scep_worker *w = scep_worker_find(r->server);
    apr_hash_index_t *i = w ? apr_hash_first(r->pool, w->entries) : NULL;

    *state = (scep_wire_state){ .version = "", .detail = "" };
    state->authorities = apr_array_make(r->pool, 1, sizeof(scep_wire_authority_state));
    state->endpoints = apr_array_make(r->pool, 1, sizeof(scep_wire_endpoint_state));
    for (; i; i = apr_hash_next(i)) {
        const scep_known *known = scep_known_at_hand(r, apr_hash_this_key(i));
        scep_wire_endpoint_state *e = apr_array_push(state->endpoints);

        *e = (scep_wire_endpoint_state){ .name = known->endpoint,
                                         .authority = known->identities[0].authority };
        add_known_authority(state, &known->identities[0], r->pool);
    }
    qsort(state->endpoints->elts, (size_t)state->endpoints->nelts, sizeof(scep_wire_endpoint_state),
          by_name);
}

/* Does something work that will not for long? */
static bool is_degraded(const scep_wire_state *state)
{
    uint64_t now = (uint64_t)apr_time_sec(apr_time_now());

    for (int i = 0; i < state->authorities->nelts; i++) {
        const scep_wire_authority_state *a =
            &APR_ARRAY_IDX(state->authorities, i, scep_wire_authority_state);

        if (earlier(a->ca_ends, a->ra_ends) < now + SOON || (a->crl_next && a->crl_next < now))
            return true;
    }
    return false;
}

static void look(view *v, request_rec *r)
{
    const scep_err *err = scep_ca_status(&v->state, r);

    v->answered = !err;
    if (err)
        tell_known(&v->state, r);
    v->detail = err ? err->detail : v->state.detail;
    v->word = !v->answered || !v->state.store ? "down" : is_degraded(&v->state) ? "degraded" : "ok";
}

static bool is_down(const view *v)
{
    return !strcmp(v->word, "down");
}

/* ---- parts of both kinds of answer ---- */

static const char *when(uint64_t seconds, apr_pool_t *p)
{
    apr_time_exp_t t = { 0 };

    if (!seconds)
        return NULL;
    (void)apr_time_exp_gmt(&t, apr_time_from_sec((apr_time_t)seconds));
    return apr_psprintf(p, "%04d-%02d-%02dT%02d:%02d:%02dZ", t.tm_year + 1900, t.tm_mon + 1,
                        t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

/* Seconds since @a then; what is in the future is now. */
static uint64_t age(uint64_t then)
{
    uint64_t now = (uint64_t)apr_time_sec(apr_time_now());

    return then && then < now ? now - then : 0;
}

static uint64_t httpd_since(void)
{
    return (uint64_t)apr_time_sec(ap_scoreboard_image->global->restart_time);
}

/* ---- JSON ---- */

/* ASCII, whatever came: a name that is no UTF-8 must not spoil all of it. */
static json_t *text_json(const char *text, apr_pool_t *p)
{
    return text && *text ? json_string(scep_printable(p, scep_bytes_of(text), 1024)) : json_null();
}

static json_t *count_json(const view *v, uint64_t n)
{
    return v->answered ? json_integer((json_int_t)n) : json_null();
}

/* What only the store knows. */
static json_t *stored_json(const view *v, uint64_t n)
{
    return v->state.store ? count_json(v, n) : json_null();
}

static json_t *authority_json(const view *v, const scep_wire_authority_state *a, apr_pool_t *p)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "name", text_json(a->name, p), "subject",
                     text_json(a->subject, p), "ca_ends", text_json(when(a->ca_ends, p), p),
                     "ra_ends", text_json(when(a->ra_ends, p), p), "crl_number",
                     a->crl_number ? stored_json(v, a->crl_number) : json_null(), "crl_next",
                     text_json(when(a->crl_next, p), p));
}

static json_t *endpoint_json(const view *v, const scep_wire_endpoint_state *e, apr_pool_t *p)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", text_json(e->name, p),
                     "authority", text_json(e->authority, p), "challenges_unused",
                     stored_json(v, e->unused), "challenges_most", count_json(v, e->most),
                     "waiting", stored_json(v, e->waiting), "issued", count_json(v, e->issued),
                     "refused", count_json(v, e->refused), "pending", count_json(v, e->pending),
                     "later", count_json(v, e->later), "minted", count_json(v, e->minted));
}

/* NULL: no memory. */
static json_t *make_json(const view *v, apr_pool_t *p)
{
    const scep_wire_state *s = &v->state;
    json_t *authorities = json_array(), *endpoints = json_array();
    bool good = true;

    for (int i = 0; i < s->authorities->nelts; i++)
        good = good &&
               json_array_append_new(
                   authorities,
                   authority_json(v, &APR_ARRAY_IDX(s->authorities, i, scep_wire_authority_state),
                                  p)) == 0;
    for (int i = 0; i < s->endpoints->nelts; i++)
        good =
            good && json_array_append_new(
                        endpoints,
                        endpoint_json(v, &APR_ARRAY_IDX(s->endpoints, i, scep_wire_endpoint_state),
                                      p)) == 0;
    if (!good) {
        json_decref(authorities);
        json_decref(endpoints);
        return NULL;
    }
    return json_pack("{s:s,s:s,s:I,s:{s:b,s:o,s:o,s:o,s:b,s:o},s:o,s:o}", "status", v->word,
                     "version", SCEP_VERSION, "uptime", (json_int_t)age(httpd_since()), "scep_ca",
                     "answers", (int)v->answered, "version", text_json(s->version, p), "since",
                     text_json(when(s->since, p), p), "uptime", count_json(v, age(s->since)),
                     "store", (int)(s->store != 0), "detail", text_json(v->detail, p),
                     "authorities", authorities, "endpoints", endpoints);
}

static int send_json(request_rec *r, const view *v, int status)
{
    json_t *all = make_json(v, r->pool);
    char *text = all ? json_dumps(all, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    const char *copy = text ? apr_pstrcat(r->pool, text, "\n", NULL) : NULL;

    free(text);
    json_decref(all);
    if (!copy)
        return HTTP_INTERNAL_SERVER_ERROR;
    return scep_send(r, status, "application/json", scep_bytes_of(copy));
}

/* ---- HTML ---- */

static const char *cell(const char *text, apr_pool_t *p)
{
    const char *shown = text && *text ? scep_printable(p, scep_bytes_of(text), 1024) : "-";

    return apr_pstrcat(p, "<td>", ap_escape_html(p, shown), "</td>", NULL);
}

static const char *number_cell(const json_t *value, apr_pool_t *p)
{
    return json_is_integer(value)
               ? cell(apr_psprintf(p, "%" APR_INT64_T_FMT, (apr_int64_t)json_integer_value(value)),
                      p)
               : cell(NULL, p);
}

static const char *counted_cell(const view *v, uint64_t n, bool by_store, apr_pool_t *p)
{
    json_t *value = by_store ? stored_json(v, n) : count_json(v, n);
    const char *text = number_cell(value, p);

    json_decref(value);
    return text;
}

static const char *authority_rows(const view *v, apr_pool_t *p)
{
    const char *rows = "";

    for (int i = 0; i < v->state.authorities->nelts; i++) {
        const scep_wire_authority_state *a =
            &APR_ARRAY_IDX(v->state.authorities, i, scep_wire_authority_state);

        rows = apr_pstrcat(p, rows, "<tr>", cell(a->name, p), cell(a->subject, p),
                           cell(when(a->ca_ends, p), p), cell(when(a->ra_ends, p), p),
                           counted_cell(v, a->crl_number, true, p), cell(when(a->crl_next, p), p),
                           "</tr>\n", NULL);
    }
    return rows;
}

static const char *endpoint_rows(const view *v, apr_pool_t *p)
{
    apr_array_header_t *rows = apr_array_make(p, 8, sizeof(const char *));

    for (int i = 0; i < v->state.endpoints->nelts; i++) {
        const scep_wire_endpoint_state *e =
            &APR_ARRAY_IDX(v->state.endpoints, i, scep_wire_endpoint_state);

        APR_ARRAY_PUSH(rows, const char *) = apr_pstrcat(
            p, "<tr>", cell(e->name, p), cell(e->authority, p), counted_cell(v, e->unused, true, p),
            counted_cell(v, e->most, false, p), counted_cell(v, e->waiting, true, p),
            counted_cell(v, e->issued, false, p), counted_cell(v, e->refused, false, p),
            counted_cell(v, e->pending, false, p), counted_cell(v, e->later, false, p),
            counted_cell(v, e->minted, false, p), "</tr>\n", NULL);
    }
    return apr_array_pstrcat(p, rows, 0);
}

/* Between the heading of a page, this one or mod_status's, and its end. */
static const char *make_html(const view *v, apr_pool_t *p)
{
    return apr_pstrcat(
        p, "<p>Status: <b>", v->word, "</b>; scep-ca ",
        v->answered ? ap_escape_html(p, scep_printable(p, scep_bytes_of(v->state.version), 64))
                    : "does not answer",
        v->answered ? ", since " : "", v->answered ? when(v->state.since, p) : "",
        v->detail && *v->detail ? ": " : "",
        v->detail ? ap_escape_html(p, scep_printable(p, scep_bytes_of(v->detail), 1024)) : "",
        "</p>\n<table border=\"1\">\n<tr><th>Authority</th><th>CA</th><th>CA ends</th>"
        "<th>RA ends</th><th>CRL</th><th>CRL until</th></tr>\n",
        authority_rows(v, p),
        "</table>\n<table border=\"1\">\n<tr><th>Endpoint</th><th>Authority</th>"
        "<th>Challenges unused</th><th>at most</th><th>Waiting</th><th>Issued</th><th>Refused</th>"
        "<th>Pending</th><th>Later</th><th>Minted</th></tr>\n",
        endpoint_rows(v, p), "</table>\n", NULL);
}

static int send_html(request_rec *r, const view *v, int status)
{
    const char *text =
        apr_pstrcat(r->pool,
                    "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><title>SCEP status"
                    "</title></head>\n<body>\n<h1>SCEP status</h1>\n",
                    make_html(v, r->pool), "</body>\n</html>\n", NULL);

    return scep_send(r, status, "text/html; charset=utf-8", scep_bytes_of(text));
}

/* ---- the page ---- */

static bool asks_for_json(const request_rec *r)
{
    return r->args &&
           (!strcmp(r->args, "auto") || !strncmp(r->args, "auto&", 5) || strstr(r->args, "&auto"));
}

int scep_status_page(request_rec *r)
{
    view v;
    int status;

    if (!r->handler || strcmp(r->handler, "scep-status"))
        return DECLINED;
    if (r->method_number != M_GET) {
        apr_table_setn(r->err_headers_out, "Allow", "GET, HEAD");
        return scep_send(r, HTTP_METHOD_NOT_ALLOWED, "text/plain",
                         scep_bytes_of("method not allowed\n"));
    }
    if (!is_on_somewhere()) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SCEP0090: SetHandler scep-status, but no server has SCEPEngine on: there is "
                      "nothing to tell");
        return HTTP_NOT_FOUND;
    }
    scep_no_store(r);
    look(&v, r);
    status = is_down(&v) ? HTTP_SERVICE_UNAVAILABLE : HTTP_OK;
    return asks_for_json(r) ? send_json(r, &v, status) : send_html(r, &v, status);
}

/* ---- mod_status ---- */

/* Lines "key: value", sums over all endpoints; what is not known is left out. */
static void put_short(request_rec *r, const view *v)
{
    scep_wire_endpoint_state sum = { 0 };

    for (int i = 0; i < v->state.endpoints->nelts; i++) {
        const scep_wire_endpoint_state *e =
            &APR_ARRAY_IDX(v->state.endpoints, i, scep_wire_endpoint_state);

        sum.unused += e->unused;
        sum.waiting += e->waiting;
        sum.issued += e->issued;
        sum.refused += e->refused;
        sum.pending += e->pending;
        sum.later += e->later;
        sum.minted += e->minted;
    }
    ap_rprintf(r, "SCEPStatus: %s\nSCEPEndpoints: %d\n", v->word, v->state.endpoints->nelts);
    if (v->answered)
        ap_rprintf(r,
                   "SCEPCAUptime: %" APR_UINT64_T_FMT "\nSCEPIssued: %" APR_UINT64_T_FMT
                   "\nSCEPRefused: %" APR_UINT64_T_FMT "\nSCEPPending: %" APR_UINT64_T_FMT
                   "\nSCEPLater: %" APR_UINT64_T_FMT "\nSCEPMinted: %" APR_UINT64_T_FMT "\n",
                   age(v->state.since), sum.issued, sum.refused, sum.pending, sum.later,
                   sum.minted);
    if (v->answered && v->state.store)
        ap_rprintf(
            r, "SCEPChallengesUnused: %" APR_UINT64_T_FMT "\nSCEPWaiting: %" APR_UINT64_T_FMT "\n",
            sum.unused, sum.waiting);
}

static int status_section(request_rec *r, int flags)
{
    view v;

    if (!is_on_somewhere())
        return DECLINED;
    look(&v, r);
    if (flags & AP_STATUS_SHORT)
        put_short(r, &v);
    else
        ap_rprintf(r, "<hr />\n<h2>SCEP</h2>\n%s", make_html(&v, r->pool));
    return OK;
}

void scep_register_status_hooks(apr_pool_t *p)
{
    APR_OPTIONAL_HOOK(ap, status_hook, status_section, NULL, NULL, APR_HOOK_MIDDLE);
}
