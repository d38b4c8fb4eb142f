/*
 * A challenge for one device alone: a POST of JSON on the challenge page says what it shall be
 * bound to. What the words mean is scep-ca's business.
 */
#include "mod_scep.h"

#include <apr_strings.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#define MOST_BYTES 8192
#define MOST_NAMES 64

bool scep_bound_is_wanted(request_rec *r)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    size_t len = strlen(SCEP_JSON_TYPE);

    return r->method_number == M_POST && type && !strncasecmp(type, SCEP_JSON_TYPE, len) &&
           strchr("; \t", type[len]);
}

/* ---- what is asked for ---- */

/* @return NULL, or a sentence: what is wrong */
static const char *read_body(scep_bytes *out, request_rec *r)
{
    unsigned char *buffer = apr_palloc(r->pool, MOST_BYTES + 1);
    long got = 0;

    *out = (scep_bytes){ buffer, 0 };
    if (ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK) != OK)
        return "the body's length cannot be read";
    if (!ap_should_client_block(r))
        return NULL;
    do {
        out->len += (size_t)got;
        got = ap_get_client_block(r, (char *)buffer + out->len, MOST_BYTES + 1 - out->len);
    } while (got > 0 && out->len + (size_t)got <= MOST_BYTES);
    if (got < 0)
        return "the body did not arrive whole";
    return got > 0 ? "the body has over 8192 bytes" : NULL;
}

/* A text that says something; "" would bind to nothing without saying so. */
static bool take_text(const char **out, const json_t *value, apr_pool_t *p)
{
    if (!json_is_string(value) || !json_string_length(value))
        return false;
    *out = apr_pstrdup(p, json_string_value(value));
    return true;
}

static bool take_names(apr_array_header_t **out, const json_t *value, apr_pool_t *p)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 0;
    size_t i;

    *out = apr_array_make(p, (int)n, sizeof(scep_wire_alt_name));
    for (i = 0; i < n && n <= MOST_NAMES; i++) {
        scep_wire_alt_name *name = apr_array_push(*out);

        if (!take_text(&name->text, json_array_get(value, i), p))
            return false;
    }
    return n > 0 && n <= MOST_NAMES;
}

static const char *take_members(scep_wire_mint *out, json_t *asked, apr_pool_t *p)
{
    const char *key;
    json_t *value;

    if (!json_is_object(asked))
        return "the body is no JSON object";
    json_object_foreach(asked, key, value)
    {
        if (!strcmp(key, "subject")) {
            if (!take_text(&out->subject, value, p))
                return "subject is no text, or an empty one";
        } else if (!strcmp(key, "names")) {
            if (!take_names(&out->names, value, p))
                return "names is no list of 1 to 64 texts";
        } else if (!strcmp(key, "template")) {
            if (!take_text(&out->template_name, value, p))
                return "template is no text, or an empty one";
        } else {
            return "there is an unknown member: subject, names and template are accepted";
        }
    }
    return NULL;
}

const char *scep_bound_read(scep_wire_mint *out, request_rec *r)
{
    json_error_t error;
    scep_bytes body;
    const char *wrong = read_body(&body, r);
    json_t *asked;

    if (wrong)
        return wrong;
    asked = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &error);
    if (!asked)
        return apr_psprintf(r->pool, "the body is no JSON: line %d, column %d", error.line,
                            error.column);
    wrong = take_members(out, asked, r->pool);
    json_decref(asked);
    return wrong;
}

int scep_bound_refuse(request_rec *r, const char *sentence)
{
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "SCEP0079: no challenge for user %s, who asked for one to be bound: %s", r->user,
                  sentence);
    return scep_json_error(r, HTTP_BAD_REQUEST, sentence);
}
