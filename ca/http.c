/* A service that is asked over http or https, by libcurl. */
#include "http.h"

#include "certs.h"
#include "file.h"
#include "key.h"
#include "own.h"

#include <apr_strings.h>
#include <curl/curl.h>
#include <openssl/err.h>
#include <string.h>

/* The texts are PEM, read while scep-ca may read them; len 0: none. */
struct http_peer {
    scep_bytes cert, key, anchors, password;
    const char *ca_file, *user;
    bool plain;
};

/* ---- make ---- */

static const scep_err *read_client(http_peer *peer, const http_source *source, apr_pool_t *p)
{
    STACK_OF(X509) * certs;
    EVP_PKEY *key;

    SCEP_TRY(scep_key_load(&key, source->key, p));
    SCEP_TRY(scep_certs_load(&certs, source->cert, p));
    if (X509_check_private_key(sk_X509_value(certs, 0), key) != 1) {
        ERR_clear_error();
        return scep_fail(p, CONFIG, "%s: its first certificate is not of the key %s", source->cert,
                         source->key);
    }
    SCEP_TRY(file_read_private(&peer->key, source->key, p));
    return file_read(&peer->cert, source->cert, p);
}

/* An empty file must not be taken for none: then the system's authorities were trusted. */
static const scep_err *read_anchors(http_peer *peer, const char *path, apr_pool_t *p)
{
    STACK_OF(X509) * certs;

    SCEP_TRY(scep_certs_load(&certs, path, p));
    peer->ca_file = apr_pstrdup(p, path);
    return file_read(&peer->anchors, path, p);
}

static apr_status_t curl_end(void *unused)
{
    curl_global_cleanup();
    return APR_SUCCESS;
}

const scep_err *http_peer_make(http_peer **out, const http_source *source, apr_pool_t *p)
{
    http_peer *peer = apr_pcalloc(p, sizeof(*peer));

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return scep_fail(p, CONFIG, "libcurl cannot be used");
    apr_pool_cleanup_register(p, NULL, curl_end, apr_pool_cleanup_null);
    peer->plain = source->plain;
    if (source->user && memchr(source->password.data, '\0', source->password.len))
        return scep_fail(p, CONFIG, "a NUL in the password of %s",
                         scep_printable(p, scep_bytes_of(source->user), 80));
    if (source->user) {
        peer->user = apr_pstrdup(p, source->user);
        peer->password = source->password;
    }
    if (source->cert)
        SCEP_TRY(read_client(peer, source, p));
    if (source->ca_file)
        SCEP_TRY(read_anchors(peer, source->ca_file, p));
    *out = peer;
    return NULL;
}

/* ---- call ---- */

typedef struct taken {
    unsigned char *text;
    size_t len, most;
    bool too_long;
} taken;

static size_t take(char *data, size_t size, size_t count, void *baton)
{
    taken *into = baton;
    size_t n = size * count;

    if (n > into->most - into->len) {
        into->too_long = true;
        return 0; /* ends the transfer with an error */
    }
    if (n)
        memcpy(into->text + into->len, data, n);
    into->len += n;
    return n;
}

static bool set_protocols(CURL *curl, bool plain)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, plain ? "http,https" : "https") ==
           CURLE_OK;
#else
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS,
                            (long)CURLPROTO_HTTPS | (plain ? (long)CURLPROTO_HTTP : 0L)) ==
           CURLE_OK;
#endif
}

static bool set_blob(CURL *curl, CURLoption option, scep_bytes bytes)
{
    struct curl_blob blob = { (void *)bytes.data, bytes.len, CURL_BLOB_NOCOPY };

    return bytes.len && curl_easy_setopt(curl, option, &blob) == CURLE_OK;
}

/* What is trusted in place of the system's. */
static bool set_anchors(CURL *curl, const http_peer *peer)
{
    if (!peer->ca_file)
        return true;
#if LIBCURL_VERSION_NUM >= 0x074d00
    return curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           set_blob(curl, CURLOPT_CAINFO_BLOB, peer->anchors);
#else
    return curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CAINFO, peer->ca_file) == CURLE_OK;
#endif
}

static bool set_client(CURL *curl, const http_peer *peer)
{
    if (peer->cert.len && !(set_blob(curl, CURLOPT_SSLCERT_BLOB, peer->cert) &&
                            set_blob(curl, CURLOPT_SSLKEY_BLOB, peer->key)))
        return false;
    return !peer->user ||
           (curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_USERNAME, peer->user) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_PASSWORD, (const char *)peer->password.data) ==
                CURLE_OK);
}

/* A resolver that does not answer is not waited for beyond the call's time. */
static bool set_time(CURL *curl, long ms)
{
#if LIBCURL_VERSION_NUM >= 0x075700
    if (curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK)
        return false;
#endif
    return curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ms) == CURLE_OK;
}

/* No signals: other threads are at work. */
static bool set_transport(CURL *curl, const http_peer *peer, const char *url, long ms)
{
    return set_protocols(curl, peer->plain) &&
           curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK && set_time(curl, ms) &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           set_anchors(curl, peer) && set_client(curl, peer);
}

static bool add_header(struct curl_slist **headers, const char *line)
{
    struct curl_slist *more = line ? curl_slist_append(*headers, line) : *headers;

    if (more)
        *headers = more;
    return more != NULL || !line;
}

/* "Expect:" takes away what libcurl would send by itself, and wait for. The connection ends with
 * the answer, which a server is told before it keeps one for what never comes. */
static bool add_headers(struct curl_slist **headers, const http_ask *ask, apr_pool_t *p)
{
    const char *type = ask->type ? apr_pstrcat(p, "Content-Type: ", ask->type, NULL) : NULL;
    bool added = add_header(headers, "Expect:") && add_header(headers, "Connection: close") &&
                 add_header(headers, type);

    for (const char *const *line = ask->headers; added && line && *line; line++)
        added = add_header(headers, *line);
    return added;
}

static bool set_body(CURL *curl, const http_ask *ask)
{
    if (!ask->type)
        return curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    return curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->body.data) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ask->body.len) ==
               CURLE_OK;
}

static bool set_exchange(CURL *curl, const http_ask *ask, struct curl_slist *headers, taken *into,
                         char *why)
{
    return set_body(curl, ask) && curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "mod_scep") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, into) == CURLE_OK;
}

static CURLcode look(http_answer *out, CURL *curl, apr_pool_t *p)
{
    curl_off_t after = 0;
    const char *type = NULL;
    CURLcode code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);

    if (code == CURLE_OK)
        code = curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &after);
    out->type = apr_pstrdup(p, type ? type : "");
    out->retry_after = after > HTTP_RETRY_MOST ? HTTP_RETRY_MOST : (int)(after > 0 ? after : 0);
    return code;
}

/* With TLS 1.3 a server judges the client's certificate when the request is on its way already, but
 * before it reads it (RFC 8446 4.4, 6.2). libcurl hands on OpenSSL's words only. */
static bool client_refused(const char *why)
{
    static const char *const alerts[] = {
        "alert bad certificate",     "alert unsupported certificate", "alert certificate revoked",
        "alert certificate expired", "alert certificate unknown",     "alert unknown ca",
        "alert access denied",       "alert certificate required",    "alert handshake failure",
    };

    for (size_t i = 0; i < sizeof(alerts) / sizeof(*alerts); i++)
        if (strstr(why, alerts[i]))
            return true;
    return false;
}

static const scep_err *explain(CURLcode code, const taken *into, long ms, const char *why,
                               apr_pool_t *p)
{
    if (into->too_long)
        return scep_fail(p, UNAVAILABLE, "the answer has more than %lu bytes",
                         (unsigned long)into->most);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return scep_fail(p, UNAVAILABLE, "timed out after %ld ms", ms);
    return scep_fail(p, UNAVAILABLE, "%s",
                     *why ? scep_printable(p, scep_bytes_of(why), 200) : curl_easy_strerror(code));
}

const scep_err *http_call(http_answer *out, const http_peer *peer, const http_ask *ask,
                          apr_pool_t *p)
{
    long ms = (long)(deadline_left(ask->until) / 1000), sent = 0;
    char why[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    CURLcode code = CURLE_FAILED_INIT;
    taken into = { .most = ask->most };
    CURL *curl;

    if (ms < 1) /* which libcurl takes for "never" */
        return scep_fail(p, UNAVAILABLE, "timed out before it was asked");
    into.text = scep_secret(p, ask->most);
    curl = curl_easy_init();
    if (curl && add_headers(&headers, ask, p) && set_transport(curl, peer, ask->url, ms) &&
        set_exchange(curl, ask, headers, &into, why)) {
        code = curl_easy_perform(curl);
        /* where it cannot be told, it was sent */
        out->sent =
            (curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent) != CURLE_OK || sent > 0) &&
            !client_refused(why);
    }
    if (code == CURLE_OK)
        code = look(out, curl, p);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    ERR_clear_error(); /* libcurl leaves OpenSSL's there, and says the same in its own words */
    if (code != CURLE_OK)
        return explain(code, &into, ms, why, p);
    out->body = (scep_bytes){ into.text, into.len };
    return NULL;
}
