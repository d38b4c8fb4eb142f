/*
 * A challenge for one device alone: a POST of JSON on the challenge page says what it shall be
 * bound to, and the answer is JSON. What the words mean is scep-ca's business.
 */
#include "mod_scep.h"

#include <apr_strings.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#define JSON_TYPE "application/json"
#define MOST_BYTES 8192
#define MOST_NAMES 64
#define DEVICES "/certsrv/mscep/mscep.dll"

bool scep_bound_is_wanted(request_rec *r)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    size_t len = strlen(JSON_TYPE);

    return r->method_number == M_POST && type && !strncasecmp(type, JSON_TYPE, len) &&
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

/* @return NULL, or a sentence: what is wrong */
static const char *read_order(scep_wire_mint *out, request_rec *r)
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

/* ---- the answer ---- */

/* A JSON string with its quotes. */
static const char *quoted(const char *text, apr_pool_t *p)
{
    json_t *value = json_string(text);
    char *dumped = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
    const char *copy = dumped ? apr_pstrdup(p, dumped) : "\"\"";

    free(dumped);
    json_decref(value);
    return copy;
}

static int send_error(request_rec *r, int status, const char *sentence)
{
    const char *text = apr_pstrcat(r->pool, "{\"error\": ", quoted(sentence, r->pool), "}\n", NULL);

    return scep_send(r, status, JSON_TYPE, scep_bytes_of(text));
}

static int bad_order(request_rec *r, const char *sentence)
{
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  "SCEP0079: no challenge for user %s, who asked for one to be bound: %s", r->user,
                  sentence);
    return send_error(r, HTTP_BAD_REQUEST, sentence);
}

/* RFC 3339 */
static const char *date_text(uint64_t seconds, apr_pool_t *p)
{
    apr_time_exp_t t = { 0 };

    (void)apr_time_exp_gmt(&t, apr_time_from_sec((apr_time_t)seconds));
    return apr_psprintf(p, "%04d-%02d-%02dT%02d:%02d:%02dZ", t.tm_year + 1900, t.tm_mon + 1,
                        t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

/* Put together here and not by jansson, whose memory nobody wipes: the challenge is among the
 * parts. It is hex, and needs no escaping. */
static int send_minted(request_rec *r, const scep_wire_minted *minted)
{
    const char *const parts[] = {
        "{\"password\": \"",
        minted->challenge,
        "\", \"expires\": \"",
        date_text(minted->expires, r->pool),
        "\", \"url\": ",
        quoted(ap_construct_url(r->pool, DEVICES, r), r->pool),
        "}\n",
    };
    size_t len = 0, at = 0, i;
    unsigned char *text;

    for (i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        len += strlen(parts[i]);
    text = scep_secret(r->pool, len);
    for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        memcpy(text + at, parts[i], strlen(parts[i]));
        at += strlen(parts[i]);
    }
    return scep_send(r, HTTP_OK, JSON_TYPE, (scep_bytes){ text, len });
}

int scep_bound_mint(request_rec *r)
{
    scep_wire_mint order = { .endpoint = scep_request_endpoint(r),
                             .user = r->user,
                             .peer = r->useragent_ip };
    const char *wrong = read_order(&order, r);
    scep_wire_minted minted;
    const scep_err *err;

    if (wrong)
        return bad_order(r, wrong);
    err = scep_ca_mint(&minted, r, &order);
    if (err && err->code == SCEP_BAD_REQUEST)
        return bad_order(r, err->detail);
    if (err)
        return scep_no_challenge(r, err);
    if (minted.outcome == SCEP_MINT_DONE)
        return send_minted(r, &minted);
    scep_log_unminted(r, order.endpoint, &minted);
    switch (minted.outcome) {
    case SCEP_MINT_FULL:
        return send_error(
            r, HTTP_CONFLICT,
            "as many passwords as SCEPPasswordMax allows are out, all of them unused");
    case SCEP_MINT_NOT_PERMITTED:
        return send_error(r, HTTP_FORBIDDEN, "this user may not enroll");
    case SCEP_MINT_TOO_OFTEN:
        scep_retry_after(r, minted.retry);
        return send_error(r, HTTP_TOO_MANY_REQUESTS,
                          "too many challenges asked for: try again later");
    default:
        return scep_no_challenge(r, scep_fail(r->pool, INTERNAL, "an answer of another version"));
    }
}
