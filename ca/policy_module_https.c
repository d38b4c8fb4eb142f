/* Policy modules behind https. */
#include "policy_module_int.h"

#include "file.h"
#include "http.h"
#include "own.h"

#include <apr_strings.h>
#include <openssl/evp.h>
#include <string.h>

#define SECRET_LEAST 16
#define SECRET_MOST 4096

struct module_https {
    http_peer *peer;
    scep_bytes secret; /* len 0: none */
};

const scep_err *module_https_make(module_https **out, const char *url, const conf_module *section,
                                  apr_pool_t *p)
{
    module_https *h = apr_pcalloc(p, sizeof(*h));
    http_source source = { .plain = false };

    for (const char *at = url; *at; at++)
        if (*at <= ' ' || *at > '~')
            return scep_fail(p, CONFIG, "a URL has no blanks and nothing but ASCII");
    if (strchr(url, '@'))
        return scep_fail(p, CONFIG,
                         "a URL with a user in it: httpd's configuration is no place for a "
                         "password; use secret or client_cert of [policy_module] in ca.conf");
    if (section && section->secret)
        SCEP_TRY(file_secret(&h->secret, section->secret, SECRET_LEAST, SECRET_MOST, p));
    if (section) {
        source.cert = section->client_cert;
        source.key = section->client_key;
        source.ca_file = section->ca_file;
    }
    SCEP_TRY(http_peer_make(&h->peer, &source, p));
    *out = h;
    return NULL;
}

/* Header lines; NULL: there is no secret. */
typedef struct proof {
    const char *timestamp, *signature;
} proof;

/* HMAC-SHA-256 of the time, a dot and the body: what was once sent is not good for ever. */
static const scep_err *sign(proof *out, const module_https *h, scep_bytes body, apr_pool_t *p)
{
    const char *time = apr_psprintf(p, "%" APR_TIME_T_FMT ".", apr_time_sec(apr_time_now()));
    size_t len = strlen(time), size = 0;
    unsigned char hash[32], *text;
    char *hex;

    *out = (proof){ NULL, NULL };
    if (!h->secret.len)
        return NULL;
    text = scep_secret(p, len + body.len);
    memcpy(text, time, len);
    memcpy(text + len, body.data, body.len);
    if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, h->secret.data, h->secret.len, text,
                   len + body.len, hash, sizeof(hash), &size) ||
        size != sizeof(hash))
        return scep_fail(p, INTERNAL, "HMAC-SHA256 failed");
    hex = scep_hex(p, (scep_bytes){ hash, sizeof(hash) });
    for (char *at = hex; *at; at++)
        if (*at >= 'A' && *at <= 'F')
            *at = (char)(*at - 'A' + 'a');
    out->timestamp = apr_psprintf(p, "X-SCEP-Timestamp: %.*s", (int)len - 1, time);
    out->signature = apr_pstrcat(p, "X-SCEP-Signature: sha256=", hex, NULL);
    return NULL;
}

const scep_err *module_call_https(module_answer *out, policy_module *m, const module_call *c,
                                  apr_pool_t *p)
{
    http_ask ask = { .url = m->address,
                     .type = "application/json",
                     .body = module_json_write(m, c, p),
                     .most = POLICY_MODULE_ANSWER_MOST,
                     .until = deadline_in(apr_time_from_msec(module_time_left(c))) };
    http_answer answer = { .status = 0 };
    proof shown;

    SCEP_TRY(sign(&shown, m->https, ask.body, p));
    ask.headers =
        (const char *const[]){ "Accept: application/json", shown.timestamp, shown.signature, NULL };
    SCEP_TRY(http_call(&answer, m->https->peer, &ask, p));
    if (answer.status != 200)
        return scep_fail(p, UNAVAILABLE, "HTTP status %ld instead of 200", answer.status);
    return module_json_read(out, c, answer.body, p);
}
