/*
 * How mod_scep is: a page for people, JSON for programs and load balancers, and a section of
 * mod_status's page.
 */
#include "mod_scep_status.h"

#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <http_main.h>
#include <jansson.h>
#include <mod_status.h>
#include <scoreboard.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is there to tell ---- */

/* SCEPEngine is a server's; a worker without a way to scep-ca does not prove that it is off. */
static bool is_on_somewhere(void)
{
    const server_rec *s = ap_server_conf;

    while (s && !scep_settings_flag(scep_server_settings((server_rec *)s), SCEP_SET_Engine))
        s = s->next;
    return s != NULL;
}

static bool is_down(const scep_status_view *v)
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
    return text && *text ? json_string(scep_one_line(p, scep_bytes_of(text), 1024)) : json_null();
}

static json_t *count_json(const scep_status_view *v, uint64_t n)
{
    return v->counted ? json_integer((json_int_t)n) : json_null();
}

/* Whoever is too busy to tell has not said that it is down. */
static json_t *store_json(const scep_status_view *v)
{
    return v->answers && !v->counted ? json_null() : json_boolean(v->state.store != 0);
}

/* What only the store knows. */
static json_t *stored_json(const scep_status_view *v, uint64_t n)
{
    return v->state.store ? count_json(v, n) : json_null();
}

static json_t *authority_json(const scep_status_view *v, const scep_wire_authority_state *a,
                              apr_pool_t *p)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", text_json(a->name, p), "subject",
                     text_json(a->subject, p), "ca_ends", text_json(when(a->ca_ends, p), p),
                     "ra_ends", text_json(when(a->ra_ends, p), p), "crl_number",
                     a->crl_number ? stored_json(v, a->crl_number) : json_null(), "crl_next",
                     text_json(when(a->crl_next, p), p), "ca_left_alone",
                     v->counted ? json_boolean(a->left_alone) : json_null(), "ca_asks",
                     count_json(v, a->asks));
}

static json_t *endpoint_json(const scep_status_view *v, const scep_wire_endpoint_state *e,
                             apr_pool_t *p)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", text_json(e->name, p),
                     "authority", text_json(e->authority, p), "challenges_unused",
                     stored_json(v, e->unused), "challenges_most", count_json(v, e->most),
                     "waiting", stored_json(v, e->waiting), "issued", count_json(v, e->issued),
                     "refused", count_json(v, e->refused), "pending", count_json(v, e->pending),
                     "later", count_json(v, e->later), "minted", count_json(v, e->minted));
}

/* NULL: no memory. */
static json_t *make_json(const scep_status_view *v, apr_pool_t *p)
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
    return json_pack("{s:s,s:s,s:I,s:I,s:{s:b,s:o,s:o,s:o,s:o,s:o},s:o,s:o}", "status", v->word,
                     "version", SCEP_VERSION, "uptime", (json_int_t)age(httpd_since()),
                     "turned_away", (json_int_t)v->turned_away, "scep_ca", "answers",
                     (int)v->answers, "version", text_json(s->version, p), "since",
                     text_json(when(s->since, p), p), "uptime", count_json(v, age(s->since)),
                     "store", store_json(v), "detail", text_json(v->detail, p), "authorities",
                     authorities, "endpoints", endpoints);
}

static int send_json(request_rec *r, const scep_status_view *v, int status)
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
    const char *shown = text && *text ? scep_one_line(p, scep_bytes_of(text), 1024) : "-";

    return apr_pstrcat(p, "<td>", ap_escape_html(p, shown), "</td>", NULL);
}

static const char *number_cell(const json_t *value, apr_pool_t *p)
{
    return json_is_integer(value)
               ? cell(apr_psprintf(p, "%" APR_INT64_T_FMT, (apr_int64_t)json_integer_value(value)),
                      p)
               : cell(NULL, p);
}

static const char *counted_cell(const scep_status_view *v, uint64_t n, bool by_store, apr_pool_t *p)
{
    json_t *value = by_store ? stored_json(v, n) : count_json(v, n);
    const char *text = number_cell(value, p);

    json_decref(value);
    return text;
}

static const char *authority_rows(const scep_status_view *v, apr_pool_t *p)
{
    const char *rows = "";

    for (int i = 0; i < v->state.authorities->nelts; i++) {
        const scep_wire_authority_state *a =
            &APR_ARRAY_IDX(v->state.authorities, i, scep_wire_authority_state);

        rows = apr_pstrcat(p, rows, "<tr>", cell(a->name, p), cell(a->subject, p),
                           cell(when(a->ca_ends, p), p), cell(when(a->ra_ends, p), p),
                           counted_cell(v, a->crl_number, true, p), cell(when(a->crl_next, p), p),
                           counted_cell(v, a->asks, false, p),
                           cell(a->left_alone ? "left alone" : NULL, p), "</tr>\n", NULL);
    }
    return rows;
}

static const char *endpoint_rows(const scep_status_view *v, apr_pool_t *p)
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
static const char *make_html(const scep_status_view *v, apr_pool_t *p)
{
    return apr_pstrcat(
        p, "<p>Status: <b>", v->word, "</b>; scep-ca ",
        v->counted   ? ap_escape_html(p, scep_printable(p, scep_bytes_of(v->state.version), 64))
        : v->answers ? "answers"
                     : "does not answer",
        v->counted ? ", since " : "", v->counted ? when(v->state.since, p) : "",
        v->detail && *v->detail ? ": " : "",
        v->detail ? ap_escape_html(p, scep_one_line(p, scep_bytes_of(v->detail), 1024)) : "",
        apr_psprintf(p, "; turned away: %lu", v->turned_away),
        "</p>\n<table border=\"1\">\n<tr><th>Authority</th><th>CA</th><th>CA ends</th>"
        "<th>RA ends</th><th>CRL</th><th>CRL until</th><th>Asks</th><th></th></tr>\n",
        authority_rows(v, p),
        "</table>\n<table border=\"1\">\n<tr><th>Endpoint</th><th>Authority</th>"
        "<th>Challenges unused</th><th>at most</th><th>Waiting</th><th>Issued</th><th>Refused</th>"
        "<th>Pending</th><th>Later</th><th>Minted</th></tr>\n",
        endpoint_rows(v, p), "</table>\n", NULL);
}

static int send_html(request_rec *r, const scep_status_view *v, int status)
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
    scep_status_view v;
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
    scep_status_look(&v, r);
    status = is_down(&v) ? HTTP_SERVICE_UNAVAILABLE : HTTP_OK;
    return asks_for_json(r) ? send_json(r, &v, status) : send_html(r, &v, status);
}

/* ---- mod_status ---- */

/* Lines "key: value", sums over all endpoints; what is not known is left out. */
static void put_short(request_rec *r, const scep_status_view *v)
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
    ap_rprintf(r, "SCEPStatus: %s\nSCEPEndpoints: %d\nSCEPTurnedAway: %lu\n", v->word,
               v->state.endpoints->nelts, v->turned_away);
    if (v->counted)
        ap_rprintf(r,
                   "SCEPCAUptime: %" APR_UINT64_T_FMT "\nSCEPIssued: %" APR_UINT64_T_FMT
                   "\nSCEPRefused: %" APR_UINT64_T_FMT "\nSCEPPending: %" APR_UINT64_T_FMT
                   "\nSCEPLater: %" APR_UINT64_T_FMT "\nSCEPMinted: %" APR_UINT64_T_FMT "\n",
                   age(v->state.since), sum.issued, sum.refused, sum.pending, sum.later,
                   sum.minted);
    if (v->counted && v->state.store)
        ap_rprintf(
            r, "SCEPChallengesUnused: %" APR_UINT64_T_FMT "\nSCEPWaiting: %" APR_UINT64_T_FMT "\n",
            sum.unused, sum.waiting);
}

static int status_section(request_rec *r, int flags)
{
    scep_status_view v;

    if (!is_on_somewhere())
        return DECLINED;
    scep_status_look(&v, r);
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
