/* What the challenge page says, for programs: the challenge with all that a device needs, or why
 * there is none, as JSON. */
#include "mod_scep.h"

#include <apr_strings.h>
#include <jansson.h>
#include <openssl/err.h>
#include <string.h>

#define DEVICES "/certsrv/mscep/mscep.dll"

/* ---- Accept (RFC 9110 12.5.1) ---- */

/* "q=0" and its like; @a item as ap_get_list_item() leaves it: in lower case, without spaces. */
static bool has_no_weight(const char *item)
{
    bool quoted = false;
    size_t digits;

    for (; *item; item++) {
        if (quoted && *item == '\\' && item[1])
            item++;
        else if (*item == '"')
            quoted = !quoted;
        else if (!quoted && !strncmp(item, ";q=", 3))
            break;
    }
    if (!*item)
        return false;
    digits = strspn(item + 3, "0.");
    return strchr(";", item[3 + digits]) != NULL;
}

bool scep_json_is_wanted(request_rec *r)
{
    const char *accept = apr_table_get(r->headers_in, "Accept");
    size_t len = strlen(SCEP_JSON_TYPE);
    const char *item;

    while (accept && (item = ap_get_list_item(r->pool, &accept)) != NULL) {
        if (!strncmp(item, SCEP_JSON_TYPE, len) && strchr(";", item[len]) && !has_no_weight(item))
            return true;
    }
    return false;
}

/* ---- answers ---- */

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

/* RFC 3339 */
static const char *date_text(uint64_t seconds, apr_pool_t *p)
{
    apr_time_exp_t t = { 0 };

    (void)apr_time_exp_gmt(&t, apr_time_from_sec((apr_time_t)seconds));
    return apr_psprintf(p, "\"%04d-%02d-%02dT%02d:%02d:%02dZ\"", t.tm_year + 1900, t.tm_mon + 1,
                        t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

/* A run of digits; null where OpenSSL has no such digest. */
static const char *digest_text(X509 *cert, const EVP_MD *md, apr_pool_t *p)
{
    const char *digits = scep_thumbprint(p, cert, md, EVP_MAX_MD_SIZE);

    if (!digits)
        ERR_clear_error();
    return digits ? apr_pstrcat(p, "\"", digits, "\"", NULL) : "null";
}

/* Put together here and not by jansson, whose memory nobody wipes: the challenge is among the
 * parts. It is hex, and needs no escaping. */
static int send_minted(request_rec *r, const scep_wire_minted *minted, X509 *top)
{
    const char *const parts[] = {
        "{\"password\": \"",
        minted->challenge,
        "\", \"expires\": ",
        minted->expires ? date_text(minted->expires, r->pool) : "null",
        ", \"thumbprints\": {\"md5\": ",
        digest_text(top, EVP_md5(), r->pool),
        ", \"sha1\": ",
        digest_text(top, EVP_sha1(), r->pool),
        ", \"sha256\": ",
        digest_text(top, EVP_sha256(), r->pool),
        "}, \"url\": ",
        quoted(ap_construct_url(r->pool, DEVICES, r), r->pool),
        "}\n",
        NULL,
    };

    return scep_send(r, HTTP_OK, SCEP_JSON_TYPE, scep_joined(r->pool, parts));
}

int scep_json_error(request_rec *r, int status, const char *sentence)
{
    const char *text = apr_pstrcat(r->pool, "{\"error\": ", quoted(sentence, r->pool), "}\n", NULL);

    return scep_send(r, status, SCEP_JSON_TYPE, scep_bytes_of(text));
}

int scep_json_send(request_rec *r, const scep_wire_minted *minted, X509 *top)
{
    switch (minted->outcome) {
    case SCEP_MINT_DONE:
        return send_minted(r, minted, top);
    case SCEP_MINT_FULL:
        return scep_json_error(
            r, HTTP_CONFLICT,
            "as many passwords as SCEPPasswordMax allows are out, all of them unused");
    case SCEP_MINT_NOT_PERMITTED:
        return scep_json_error(r, HTTP_FORBIDDEN, "this user may not enroll");
    case SCEP_MINT_TOO_OFTEN:
        scep_retry_after(r, minted->retry);
        return scep_json_error(r, HTTP_TOO_MANY_REQUESTS,
                               "too many challenges asked for: try again later");
    default:
        return scep_no_challenge(r, scep_fail(r->pool, INTERNAL, "an answer of another version"));
    }
}
