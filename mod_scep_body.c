/* The bytes of a PKIOperation: a POST's body, or what a GET carries. RFC 8894 4.1, 4.3. */
#include "mod_scep_pki.h"

#include <stddef.h>
#include <string.h>

/* Keep what a bucket holds, in a buffer that doubles up to the limit. */
static bool keep(unsigned char **buffer, size_t *room, size_t *have, const char *data, size_t len,
                 size_t limit, apr_pool_t *p)
{
    if (len > limit - *have)
        return false;
    if (len > *room - *have) {
        size_t larger = *room * 2 > *have + len ? *room * 2 : *have + len;
        unsigned char *moved = apr_palloc(p, larger);

        memcpy(moved, *buffer, *have);
        *buffer = moved;
        *room = larger;
    }
    memcpy(*buffer + *have, data, len);
    *have += len;
    return true;
}

/* APR_BRIGADE_SENTINEL, which subtracts null pointers and so does not compile everywhere. */
static const apr_bucket *end_of(const apr_bucket_brigade *bb)
{
    return (const apr_bucket *)((const char *)&bb->list - offsetof(apr_bucket, link));
}

/* Append one brigade. @return OK, DONE at the end of the body, or an HTTP status */
static int take(apr_bucket_brigade *bb, unsigned char **buffer, size_t *room, size_t *have,
                size_t limit, apr_pool_t *p)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != end_of(bb); b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t len;

        if (APR_BUCKET_IS_EOS(b))
            return DONE;
        if (APR_BUCKET_IS_METADATA(b))
            continue;
        if (apr_bucket_read(b, &data, &len, APR_BLOCK_READ) != APR_SUCCESS)
            return HTTP_BAD_REQUEST;
        if (!keep(buffer, room, have, data, len, limit, p))
            return HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    return OK;
}

/* Never more than @a limit is read or kept, whether a length is announced or the body comes in
 * chunks. */
static int read_body(scep_bytes *out, request_rec *r, size_t limit)
{
    const char *announced = apr_table_get(r->headers_in, "Content-Length");
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    size_t room = 4096, have = 0;
    unsigned char *buffer = apr_palloc(r->pool, room);
    int status = OK;
    apr_off_t length;

    if (announced && ap_parse_strict_length(&length, announced) && length > (apr_off_t)limit)
        return HTTP_REQUEST_ENTITY_TOO_LARGE;
    while (status == OK) {
        apr_status_t rv =
            ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, 8192);

        if (rv != APR_SUCCESS)
            return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        status = take(bb, &buffer, &room, &have, limit, r->pool);
        apr_brigade_cleanup(bb);
    }
    out->data = buffer;
    out->len = have;
    return status == DONE ? OK : status;
}

const scep_err *scep_receive(scep_bytes *der, int *status, const scep_exchange *x)
{
    request_rec *r = x->r;
    size_t limit = (size_t)scep_settings_number(x->section, SCEP_SET_MaxMessage);

    *status = OK;
    if (r->method_number == M_POST) {
        *status = read_body(der, r, limit);
    } else {
        const char *text = scep_query_get(r->args, "message", r->pool);

        SCEP_TRY(scep_query_message(der, text ? text : "", r->pool));
    }
    if (*status == HTTP_REQUEST_ENTITY_TOO_LARGE || (*status == OK && der->len > limit))
        return scep_fail(r->pool, TOO_LARGE, "more than SCEPMaxMessage's %lu bytes",
                         (unsigned long)limit);
    if (*status != OK)
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "SCEP0012: the request's body did not arrive whole: the client went away or "
                      "sent broken chunks");
    return NULL;
}
