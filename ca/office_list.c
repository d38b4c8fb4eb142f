/* The office: what an administrator looks at, a page at a time. */
#include "office_int.h"

#include <apr_strings.h>
#include <string.h>

/* A page ends before its frame would be too long, whatever subjects the rows have. */
#define PAGE_ROWS 200
#define PAGE_BYTES (SCEP_WIRE_MAX / 2)
#define ROW_BYTES 512 /* more than the numbers and fixed texts of a row */

/* ---- the queue ---- */

typedef struct request_list_job {
    const char *state, *after;
    apr_array_header_t *rows;
} request_list_job;

static const scep_err *list_requests(store_tx *tx, void *baton)
{
    request_list_job *j = baton;

    return store_request_list(tx, j->state, j->after, PAGE_ROWS, &j->rows);
}

static const scep_err *state_wanted(const char **out, const char *state, apr_pool_t *p)
{
    static const char *const states[] = {
        STORE_REQUEST_STUCK, "pending", "queued", "asked",  "waits", "lost",
        "withheld",          "issued",  "denied", "expired"
    };

    *out = *state ? state : STORE_REQUEST_STUCK;
    for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
        if (!strcmp(*out, states[i]))
            return NULL;
    *out = "";
    if (!strcmp(state, "all"))
        return NULL;
    return scep_fail(p, BAD_REQUEST,
                     "no request is ever \"%s\"; pending, queued, asked, waits, lost, withheld, "
                     "issued, denied, expired and all are accepted",
                     office_typed(state, p));
}

static scep_wire_request request_row(const store_request *r)
{
    return (scep_wire_request){
        .id = r->id,
        .endpoint = r->endpoint,
        .authority = r->authority,
        .template_name = r->template_name,
        .transaction_id = r->transaction_id,
        .message_type = (uint32_t)r->message_type,
        .subject = r->subject,
        .peer = r->peer,
        .state = r->state,
        .reason = r->reason,
        .by = r->by,
        .serial = r->serial,
        .created = (uint64_t)r->created,
        .decided = (uint64_t)r->decided,
        .ends = (uint64_t)r->ends,
    };
}

const scep_err *office_requests(scep_wire_request_page *out, office *o, const scep_wire_list *in,
                                apr_pool_t *p)
{
    request_list_job j = { .after = in->after };
    size_t bytes = 0;
    int n = 0;

    out->requests = apr_array_make(p, PAGE_ROWS, sizeof(scep_wire_request));
    out->after = "";
    SCEP_TRY(state_wanted(&j.state, in->state, p));
    SCEP_TRY(store_read(o->store, list_requests, &j, p));
    for (; n < j.rows->nelts && bytes < PAGE_BYTES; n++) {
        const store_request *r = &APR_ARRAY_IDX(j.rows, n, store_request);

        APR_ARRAY_PUSH(out->requests, scep_wire_request) = request_row(r);
        bytes += ROW_BYTES + strlen(r->subject) + strlen(r->transaction_id) + strlen(r->reason);
        out->after = r->id;
    }
    if (n == j.rows->nelts && n < PAGE_ROWS)
        out->after = "";
    return NULL;
}

/* ---- the inventory ---- */

typedef struct certificate_list_job {
    const char *authority, *serial;
    apr_array_header_t *rows;
} certificate_list_job;

static const scep_err *list_certificates(store_tx *tx, void *baton)
{
    certificate_list_job *j = baton;

    return store_certificate_list(tx, j->authority, j->serial, PAGE_ROWS, &j->rows);
}

/* "AUTHORITY SERIAL", as the page before it ended. */
static const scep_err *list_begin(certificate_list_job *j, const scep_wire_list *in, apr_pool_t *p)
{
    const char *space = strrchr(in->after, ' ');

    j->authority = in->authority;
    j->serial = "";
    if (!*in->after)
        return NULL;
    if (!space)
        return scep_fail(p, BAD_REQUEST, "\"%s\" is no end of a page", office_typed(in->after, p));
    j->authority = apr_pstrmemdup(p, in->after, (apr_size_t)(space - in->after));
    j->serial = space + 1;
    return NULL;
}

/* The form of a name's line (certs.h): bytes beyond ASCII stand in hex there. */
static const char *as_in_line(const char *text, apr_pool_t *p)
{
    char *out = apr_palloc(p, 3 * strlen(text) + 1), *at = out;

    for (const char *c = text; *c; c++) {
        unsigned char byte = (unsigned char)*c;

        if (byte < 0x80)
            *at++ = *c;
        else
            at += apr_snprintf(at, 4, "\\%02X", byte);
    }
    *at = '\0';
    return out;
}

static scep_wire_certificate certificate_row(const store_certificate *c)
{
    return (scep_wire_certificate){
        .authority = c->authority,
        .serial = c->serial,
        .subject = c->subject,
        .template_name = c->template_name,
        .endpoint = c->endpoint,
        .not_before = (uint64_t)c->not_before,
        .not_after = (uint64_t)c->not_after,
        .issued = (uint64_t)c->issued,
        .revoked = (uint64_t)c->revoked,
        .reason = (uint32_t)c->reason,
    };
}

/* Subjects are compared here and not by the database, so that no job reads the whole table. */
const scep_err *office_certificates(scep_wire_certificate_page *out, office *o,
                                    const scep_wire_list *in, apr_pool_t *p)
{
    const char *subject = as_in_line(in->subject, p);
    certificate_list_job j = { 0 };
    size_t bytes = 0;
    int n = 0;

    out->certificates = apr_array_make(p, PAGE_ROWS, sizeof(scep_wire_certificate));
    out->after = "";
    SCEP_TRY(list_begin(&j, in, p));
    SCEP_TRY(store_read(o->store, list_certificates, &j, p));
    for (; n < j.rows->nelts && bytes < PAGE_BYTES; n++) {
        const store_certificate *c = &APR_ARRAY_IDX(j.rows, n, store_certificate);

        out->after = "";
        if (*in->authority && strcmp(c->authority, in->authority) != 0)
            return NULL;
        out->after = apr_pstrcat(p, c->authority, " ", c->serial, NULL);
        if (!strcasestr(c->subject, subject))
            continue;
        APR_ARRAY_PUSH(out->certificates, scep_wire_certificate) = certificate_row(c);
        bytes += ROW_BYTES + strlen(c->subject);
    }
    if (n == j.rows->nelts && n < PAGE_ROWS)
        out->after = "";
    return NULL;
}
