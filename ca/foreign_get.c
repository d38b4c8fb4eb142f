/* A foreign CRL's bytes, from a file or over http. */
#include "foreign_int.h"

#include <apr_strings.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FETCH_SECONDS 30L
#define CONNECT_SECONDS 10L
#define REDIRECTS 3L

static foreign_stamp stamp_of(const struct stat *st)
{
    return (foreign_stamp){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = (unsigned long long)st->st_size,
        .modified = st->st_mtim,
        .changed = st->st_ctim,
    };
}

void foreign_stamp_get(foreign_stamp *out, const char *path)
{
    struct stat st;

    *out = stat(path, &st) == 0 ? stamp_of(&st) : (foreign_stamp){ 0 };
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool foreign_stamp_same(const foreign_stamp *a, const foreign_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

static const scep_err *read_whole(scep_bytes *out, foreign_stamp *stamp, int fd, const char *path,
                                  apr_pool_t *p)
{
    unsigned char *bytes;
    struct stat st;
    size_t len = 0;
    ssize_t n;

    if (fstat(fd, &st))
        return scep_fail(p, UNAVAILABLE, "%s: %s", path, strerror(errno));
    *stamp = stamp_of(&st);
    if (!S_ISREG(st.st_mode) || st.st_size > FOREIGN_MOST)
        return scep_fail(p, UNAVAILABLE, "%s: not a file of at most %d bytes", path, FOREIGN_MOST);
    bytes = apr_palloc(p, (apr_size_t)st.st_size + 1);
    while ((n = read(fd, bytes + len, (size_t)st.st_size + 1 - len)) > 0)
        len += (size_t)n;
    if (n < 0)
        return scep_fail(p, UNAVAILABLE, "%s: %s", path, strerror(errno));
    if (len != (size_t)st.st_size)
        return scep_fail(p, UNAVAILABLE, "%s changed while it was read", path);
    *out = (scep_bytes){ bytes, len };
    return NULL;
}

const scep_err *foreign_read(scep_bytes *out, foreign_stamp *stamp, const char *path, apr_pool_t *p)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const scep_err *err;

    *stamp = (foreign_stamp){ 0 };
    if (fd < 0)
        return scep_fail(p, UNAVAILABLE, "%s: %s", path, strerror(errno));
    err = read_whole(out, stamp, fd, path, p);
    (void)close(fd); /* opened to read */
    return err;
}

/* ---- http ---- */

static apr_status_t curl_end(void *unused)
{
    curl_global_cleanup();
    return APR_SUCCESS;
}

const scep_err *foreign_begin(apr_pool_t *p)
{
    /* libcurl counts how often it was begun */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return scep_fail(p, CONFIG, "libcurl cannot be used");
    apr_pool_cleanup_register(p, NULL, curl_end, apr_pool_cleanup_null);
    return NULL;
}

typedef struct body {
    unsigned char *bytes;
    size_t len, room;
    apr_pool_t *pool;
} body;

static size_t take(char *data, size_t size, size_t count, void *baton)
{
    body *b = baton;
    size_t n = size * count;

    if (n > FOREIGN_MOST - b->len)
        return 0; /* ends the transfer with an error */
    if (b->len + n > b->room) {
        unsigned char *more;

        b->room = 2 * (b->len + n);
        more = apr_palloc(b->pool, b->room);
        if (b->len)
            memcpy(more, b->bytes, b->len);
        b->bytes = more;
    }
    if (n)
        memcpy(b->bytes + b->len, data, n);
    b->len += n;
    return n;
}

static bool schemes_set(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    long both = CURLPROTO_HTTP | CURLPROTO_HTTPS;

    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS, both) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, both) == CURLE_OK;
#endif
}

/* No signals: other threads are at work. */
static bool options_set(CURL *curl, const char *url, body *into, char *why)
{
    return schemes_set(curl) && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT, FETCH_SECONDS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_MAXREDIRS, REDIRECTS) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, (long)FOREIGN_MOST) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "mod_scep") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, into) == CURLE_OK;
}

const scep_err *foreign_fetch(scep_bytes *out, const char *url, apr_pool_t *p)
{
    body into = { .pool = p };
    char why[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_FAILED_INIT;

    if (curl && options_set(curl, url, &into, why))
        code = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK)
        return scep_fail(p, UNAVAILABLE, "%s: %s", url,
                         code == CURLE_WRITE_ERROR ? "more than 16 MiB"
                         : *why                    ? scep_printable(p, scep_bytes_of(why), 200)
                                                   : curl_easy_strerror(code));
    *out = (scep_bytes){ into.bytes, into.len };
    return NULL;
}
