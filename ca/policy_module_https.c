/* Policy modules behind https. */
#include "policy_module_int.h"

#include "certs.h"
#include "key.h"
#include "own.h"

#include <apr_strings.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MOST (1 << 20)
#define SECRET_LEAST 16
#define SECRET_MOST 4096

/* Read while scep-ca may read them; the texts are PEM. */
struct module_https {
    scep_bytes secret, cert, key, anchors; /* len 0: none */
    const char *ca_file;
};

/* ---- make ---- */

static const scep_err *read_file(scep_bytes *out, const char *path, bool is_secret, apr_pool_t *p)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    unsigned char *text = NULL;
    ssize_t n = -1;
    struct stat st;

    if (fd < 0)
        return scep_fail(p, CONFIG, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_MOST) {
        text = scep_secret(p, (size_t)st.st_size);
        n = read(fd, text, (size_t)st.st_size);
    }
    (void)close(fd);
    if (n < 0)
        return scep_fail(p, CONFIG, "%s: not a file of at most %d bytes that can be read", path,
                         FILE_MOST);
    if (is_secret && (st.st_mode & (S_IRWXG | S_IRWXO)))
        return scep_fail(p, CONFIG, "%s: group or others may read this secret: chmod 600 it", path);
    *out = (scep_bytes){ text, (size_t)n };
    return NULL;
}

/* A line break at its end is the editor's. */
static const scep_err *read_secret(scep_bytes *out, const char *path, apr_pool_t *p)
{
    SCEP_TRY(read_file(out, path, true, p));
    while (out->len && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->len--;
    if (out->len < SECRET_LEAST || out->len > SECRET_MOST)
        return scep_fail(p, CONFIG, "%s: %d to %d bytes are accepted as a secret", path,
                         SECRET_LEAST, SECRET_MOST);
    return NULL;
}

static const scep_err *read_client(module_https *h, const conf_module *section, apr_pool_t *p)
{
    STACK_OF(X509) * certs;
    EVP_PKEY *key;

    SCEP_TRY(scep_key_load(&key, section->client_key, p));
    SCEP_TRY(scep_certs_load(&certs, section->client_cert, p));
    if (X509_check_private_key(sk_X509_value(certs, 0), key) != 1) {
        ERR_clear_error();
        return scep_fail(p, CONFIG, "%s: its first certificate is not of the key %s",
                         section->client_cert, section->client_key);
    }
    SCEP_TRY(read_file(&h->key, section->client_key, true, p));
    return read_file(&h->cert, section->client_cert, false, p);
}

/* An empty file must not be taken for none: then the system's authorities were trusted. */
static const scep_err *read_anchors(module_https *h, const char *path, apr_pool_t *p)
{
    STACK_OF(X509) * certs;

    SCEP_TRY(scep_certs_load(&certs, path, p));
    h->ca_file = apr_pstrdup(p, path);
    return read_file(&h->anchors, path, false, p);
}

static apr_status_t curl_end(void *unused)
{
    curl_global_cleanup();
    return APR_SUCCESS;
}

const scep_err *module_https_make(module_https **out, const char *url, const conf_module *section,
                                  apr_pool_t *p)
{
    module_https *h = apr_pcalloc(p, sizeof(*h));

    for (const char *at = url; *at; at++)
        if (*at <= ' ' || *at > '~')
            return scep_fail(p, CONFIG, "a URL has no blanks and nothing but ASCII");
    if (strchr(url, '@'))
        return scep_fail(p, CONFIG,
                         "a URL with a user in it: httpd's configuration is no place for a "
                         "password; use secret or client_cert of [policy_module] in ca.conf");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return scep_fail(p, CONFIG, "libcurl cannot be used");
    apr_pool_cleanup_register(p, NULL, curl_end, apr_pool_cleanup_null);
    if (section && section->secret)
        SCEP_TRY(read_secret(&h->secret, section->secret, p));
    if (section && section->client_cert)
        SCEP_TRY(read_client(h, section, p));
    if (section && section->ca_file)
        SCEP_TRY(read_anchors(h, section->ca_file, p));
    *out = h;
    return NULL;
}

/* ---- call ---- */

typedef struct reply {
    unsigned char *text;
    size_t len;
    bool too_long;
} reply;

static size_t take(char *data, size_t size, size_t count, void *baton)
{
    reply *r = baton;
    size_t n = size * count;

    if (n > POLICY_MODULE_ANSWER_MOST - r->len) {
        r->too_long = true;
        return 0; /* ends the transfer with an error */
    }
    if (n)
        memcpy(r->text + r->len, data, n);
    r->len += n;
    return n;
}

static bool https_only(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK;
#else
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)CURLPROTO_HTTPS) == CURLE_OK;
#endif
}

static bool set_blob(CURL *curl, CURLoption option, scep_bytes bytes)
{
    struct curl_blob blob = { (void *)bytes.data, bytes.len, CURL_BLOB_NOCOPY };

    return bytes.len && curl_easy_setopt(curl, option, &blob) == CURLE_OK;
}

/* What is trusted in place of the system's. */
static bool set_anchors(CURL *curl, const module_https *h)
{
    if (!h->ca_file)
        return true;
#if LIBCURL_VERSION_NUM >= 0x074d00
    return curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           set_blob(curl, CURLOPT_CAINFO_BLOB, h->anchors);
#else
    return curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CAINFO, h->ca_file) == CURLE_OK;
#endif
}

static bool set_client(CURL *curl, const module_https *h)
{
    return !h->cert.len || (set_blob(curl, CURLOPT_SSLCERT_BLOB, h->cert) &&
                            set_blob(curl, CURLOPT_SSLKEY_BLOB, h->key));
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

/* No redirect is followed and no proxy of the environment asked: what is sent holds challenges. No
 * signals: other threads are at work. */
static bool set_transport(CURL *curl, const policy_module *m, long ms)
{
    const module_https *h = m->https;

    return https_only(curl) && curl_easy_setopt(curl, CURLOPT_URL, m->address) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK && set_time(curl, ms) &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           set_anchors(curl, h) && set_client(curl, h);
}

static bool set_exchange(CURL *curl, scep_bytes body, struct curl_slist *headers, reply *into,
                         char *why)
{
    return curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "mod_scep") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, into) == CURLE_OK;
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

static bool add_header(struct curl_slist **headers, const char *line)
{
    struct curl_slist *more = line ? curl_slist_append(*headers, line) : *headers;

    if (more)
        *headers = more;
    return more != NULL;
}

static const scep_err *post(reply *into, long *status, const policy_module *m, scep_bytes body,
                            long ms, apr_pool_t *p)
{
    char why[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    CURLcode code = CURLE_FAILED_INIT;
    proof shown;
    CURL *curl;

    if (ms < 1) /* which libcurl takes for "never" */
        return scep_fail(p, UNAVAILABLE, "timed out before it was asked");
    SCEP_TRY(sign(&shown, m->https, body, p));
    curl = curl_easy_init();
    if (curl && add_header(&headers, "Content-Type: application/json") &&
        add_header(&headers, "Accept: application/json") && add_header(&headers, "Expect:") &&
        add_header(&headers, shown.timestamp) && add_header(&headers, shown.signature) &&
        set_transport(curl, m, ms) && set_exchange(curl, body, headers, into, why))
        code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    ERR_clear_error(); /* libcurl leaves OpenSSL's there, and says the same in its own words */
    if (code == CURLE_OK)
        return NULL;
    if (into->too_long)
        return scep_fail(p, UNAVAILABLE, "the answer has more than %d bytes",
                         POLICY_MODULE_ANSWER_MOST);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return scep_fail(p, UNAVAILABLE, "timed out after %ld ms", ms);
    return scep_fail(p, UNAVAILABLE, "%s",
                     *why ? scep_printable(p, scep_bytes_of(why), 200) : curl_easy_strerror(code));
}

const scep_err *module_call_https(module_answer *out, policy_module *m, const module_call *c,
                                  apr_pool_t *p)
{
    reply into = { .text = scep_secret(p, POLICY_MODULE_ANSWER_MOST) };
    long status = 0;

    SCEP_TRY(post(&into, &status, m, module_json_write(m, c, p), module_time_left(c), p));
    if (status != 200)
        return scep_fail(p, UNAVAILABLE, "HTTP status %ld instead of 200", status);
    return module_json_read(out, c, (scep_bytes){ into.text, into.len }, p);
}
