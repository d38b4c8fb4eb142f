/* A service for tests. */
#include "service_room.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MOST 65536

struct service {
    service_fn *answer;
    void *baton;
    SSL_CTX *tls;
    int fd, port, end[2];
    int count; /* written by the thread, read when no request is under way */
    pthread_t thread;
};

typedef struct line {
    int fd;
    SSL *ssl;
} line;

static int take(const line *l, void *to, size_t n)
{
    return l->ssl ? SSL_read(l->ssl, to, (int)n) : (int)read(l->fd, to, n);
}

static void give(const line *l, scep_bytes text)
{
    size_t done = 0;

    while (done < text.len) {
        int n = l->ssl ? SSL_write(l->ssl, text.data + done, (int)(text.len - done))
                       : (int)send(l->fd, text.data + done, text.len - done, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

/* @return false: the connection ended first */
static bool read_request(service_asked *out, const line *l, apr_pool_t *p)
{
    char *text = apr_pcalloc(p, REQUEST_MOST + 1);
    size_t have = 0, want = 0;
    char *end = NULL;

    while (!end || have < want) {
        int n = take(l, text + have, REQUEST_MOST - have);

        if (n <= 0)
            return false;
        have += (size_t)n;
        if (!end && (end = strstr(text, "\r\n\r\n"))) {
            const char *length = strcasestr(text, "\r\nContent-Length:");

            want = (size_t)(end + 4 - text) +
                   (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
        }
    }
    out->head = apr_pstrmemdup(p, text, (size_t)(end - text));
    out->body = (scep_bytes){ (unsigned char *)end + 4, have - (size_t)(end + 4 - text) };
    return true;
}

static const char *peer_of(const line *l, apr_pool_t *p)
{
    X509 *cert = l->ssl ? SSL_get0_peer_certificate(l->ssl) : NULL;

    return cert ? scep_name_line(X509_get_subject_name(cert), p) : "";
}

static void serve(service *s, const line *l, apr_pool_t *p)
{
    service_said said = { .status = 200 };
    struct pollfd until = { s->end[0], POLLIN, 0 };
    service_asked asked;
    const char *head;

    if (!read_request(&asked, l, p))
        return;
    asked.peer = peer_of(l, p);
    s->count++;
    s->answer(&said, &asked, s->baton, p);
    if (said.status < 0)
        (void)poll(&until, 1, 60000);
    if (said.status <= 0)
        return;
    head = apr_psprintf(
        p, "HTTP/1.1 %d said\r\nContent-Length: %lu\r\nConnection: close\r\n%s%s%s%s\r\n",
        said.status, (unsigned long)said.body.len, said.type ? "Content-Type: " : "",
        said.type ? said.type : "", said.type ? "\r\n" : "", said.headers ? said.headers : "");
    give(l, scep_bytes_of(head));
    give(l, said.body);
}

/* What was said last is read by a client only where nothing of his is left unread. */
static void linger(int fd)
{
    struct pollfd wait = { fd, POLLIN, 0 };
    char rest[4096];

    (void)shutdown(fd, SHUT_WR);
    while (poll(&wait, 1, 5000) > 0 && read(fd, rest, sizeof(rest)) > 0)
        ;
}

static void connection(service *s, int fd)
{
    line l = { .fd = fd };
    bool up = true;
    apr_pool_t *p;

    FIXTURE_MUST(apr_pool_create(&p, NULL) == APR_SUCCESS);
    if (s->tls) {
        l.ssl = SSL_new(s->tls);
        FIXTURE_MUST(l.ssl && SSL_set_fd(l.ssl, fd));
        up = SSL_accept(l.ssl) == 1;
    }
    if (up)
        serve(s, &l, p);
    else
        linger(fd);
    if (l.ssl && up)
        (void)SSL_shutdown(l.ssl);
    SSL_free(l.ssl);
    apr_pool_destroy(p);
}

static void *run(void *baton)
{
    service *s = baton;
    struct pollfd wait[] = { { s->fd, POLLIN, 0 }, { s->end[0], POLLIN, 0 } };

    while (poll(wait, 2, -1) > 0 && !wait[1].revents) {
        int fd = accept(s->fd, NULL, NULL);

        if (fd < 0)
            continue;
        connection(s, fd);
        close(fd);
    }
    return NULL;
}

static SSL_CTX *make_tls(X509 *cert, EVP_PKEY *key, X509 *trusted)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    FIXTURE_MUST(tls && SSL_CTX_use_certificate(tls, cert) == 1 &&
                 SSL_CTX_use_PrivateKey(tls, key) == 1);
    if (trusted) {
        FIXTURE_MUST(X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), trusted) == 1);
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    }
    return tls;
}

service *service_start(service_fn *answer, void *baton, X509 *cert, EVP_PKEY *key, X509 *trusted,
                       apr_pool_t *p)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    service *s = apr_pcalloc(p, sizeof(*s));

    (void)signal(SIGPIPE, SIG_IGN); /* of SSL_write() */
    *s = (service){ .answer = answer, .baton = baton };
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FIXTURE_MUST(s->fd >= 0 && bind(s->fd, (struct sockaddr *)&at, len) == 0 &&
                 listen(s->fd, 8) == 0 && getsockname(s->fd, (struct sockaddr *)&at, &len) == 0 &&
                 pipe(s->end) == 0);
    s->port = ntohs(at.sin_port);
    s->tls = cert ? make_tls(cert, key, trusted) : NULL;
    FIXTURE_MUST(pthread_create(&s->thread, NULL, run, s) == 0);
    return s;
}

int service_port(const service *s)
{
    return s->port;
}

int service_count(const service *s)
{
    return s->count;
}

void service_stop(service *s)
{
    FIXTURE_MUST(write(s->end[1], "", 1) == 1 && pthread_join(s->thread, NULL) == 0);
    SSL_CTX_free(s->tls);
    close(s->end[0]);
    close(s->end[1]);
    close(s->fd);
}
