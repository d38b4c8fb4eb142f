/* DCE/RPC over TCP: connecting, and whole PDUs in both directions, each until a deadline. */
#include "dcerpc_int.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESSES_MOST 8

/* ---- a name's addresses, looked up aside ---- */

typedef struct lookup {
    char *host;
    char port[8];
    struct addrinfo *found;
    int error; /* EAI_* */
} lookup;

static void drop_lookup(void *what)
{
    lookup *l = what;

    if (l->found)
        freeaddrinfo(l->found);
    free(l->host);
    free(l);
}

static void look_up(void *what)
{
    const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    lookup *l = what;

    l->error = getaddrinfo(l->host, l->port, &wanted, &l->found);
}

static const scep_err *resolve(lookup **out, const char *host, unsigned int port, aside *place,
                               moment d, apr_pool_t *p)
{
    static const aside_kind kind = { look_up, drop_lookup };
    lookup *l = calloc(1, sizeof(*l));

    if (!l || !(l->host = strdup(host))) {
        free(l);
        return scep_fail(p, UNAVAILABLE, "out of memory");
    }
    apr_snprintf(l->port, sizeof(l->port), "%u", port);
    SCEP_TRY(aside_do(place, &kind, l, d, p));
    *out = l;
    return NULL;
}

/* ---- connecting ---- */

static const scep_err *finish(int fd, moment d, apr_pool_t *p)
{
    socklen_t size = sizeof(int);
    int error = 0;

    SCEP_TRY(deadline_wait(fd, POLLOUT, d, p));
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    return error ? scep_fail(p, UNAVAILABLE, "%s", strerror(error)) : NULL;
}

static const scep_err *connect_one(int *out, const struct addrinfo *to, moment d, apr_pool_t *p)
{
    const int on = 1;
    const scep_err *err = NULL;
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return scep_fail(p, UNAVAILABLE, "no socket: %s", strerror(errno));
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        err = scep_fail(p, UNAVAILABLE, "TCP_NODELAY: %s", strerror(errno));
    else if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
        err = errno == EINPROGRESS ? finish(fd, d, p)
                                   : scep_fail(p, UNAVAILABLE, "%s", strerror(errno));
    if (err)
        close(fd);
    else
        *out = fd;
    return err;
}

/* Each address gets its share of the time that is left, so that a silent one leaves some for the
 * next. */
static const scep_err *connect_any(int *out, const struct addrinfo *found, moment d, apr_pool_t *p)
{
    const scep_err *err = scep_fail(p, UNAVAILABLE, "no address");
    int left = 0;

    for (const struct addrinfo *a = found; a && left < ADDRESSES_MOST; a = a->ai_next)
        left++;
    for (; left > 0; left--, found = found->ai_next) {
        err = connect_one(out, found, deadline_in(deadline_left(d) / left), p);
        if (!err)
            return NULL;
    }
    return err;
}

static apr_status_t close_socket(void *data)
{
    dcerpc *c = data;

    close(c->fd);
    return APR_SUCCESS;
}

const scep_err *dcerpc_connect(dcerpc **out, const char *host, unsigned int port, aside *place,
                               moment d, apr_pool_t *p)
{
    const scep_err *err;
    apr_pool_t *own;
    lookup *l;
    dcerpc *c;
    int fd = -1;

    SCEP_TRY(resolve(&l, host, port, place, d, p));
    err = l->error ? scep_fail(p, UNAVAILABLE, "%s", gai_strerror(l->error))
                   : connect_any(&fd, l->found, d, p);
    drop_lookup(l);
    if (err)
        return scep_fail(p, UNAVAILABLE, "cannot connect to %s, port %u: %s", host, port,
                         err->detail);
    if (apr_pool_create(&own, p) != APR_SUCCESS) {
        close(fd);
        return scep_fail(p, UNAVAILABLE, "out of memory");
    }
    c = apr_pcalloc(own, sizeof(*c));
    c->p = own;
    c->fd = fd;
    c->port = port;
    apr_pool_cleanup_register(own, c, close_socket, apr_pool_cleanup_null);
    *out = c;
    return NULL;
}

/* ---- PDUs ---- */

const scep_err *dcerpc_send(dcerpc *c, scep_bytes pdu, moment d, apr_pool_t *p)
{
    size_t sent = 0;

    while (sent < pdu.len) {
        ssize_t n = send(c->fd, pdu.data + sent, pdu.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            SCEP_TRY(deadline_wait(c->fd, POLLOUT, d, p));
        else if (errno != EINTR)
            return scep_fail(p, UNAVAILABLE, "cannot send: %s", strerror(errno));
    }
    return NULL;
}

static const scep_err *receive_some(dcerpc *c, size_t from, size_t to, moment d, apr_pool_t *p)
{
    while (from < to) {
        ssize_t n = recv(c->fd, c->in + from, to - from, MSG_DONTWAIT);

        if (n > 0)
            from += (size_t)n;
        else if (n == 0)
            return scep_fail(p, UNAVAILABLE, "the server closed the connection");
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            SCEP_TRY(deadline_wait(c->fd, POLLIN, d, p));
        else if (errno != EINTR)
            return scep_fail(p, UNAVAILABLE, "cannot receive: %s", strerror(errno));
    }
    return NULL;
}

const scep_err *dcerpc_receive(dcerpc_pdu *out, dcerpc *c, moment d, apr_pool_t *p)
{
    size_t length;

    SCEP_TRY(receive_some(c, 0, DCERPC_HEADER, d, p));
    SCEP_TRY(dcerpc_get_length(&length, (scep_bytes){ c->in, DCERPC_HEADER }, p));
    SCEP_TRY(receive_some(c, DCERPC_HEADER, length, d, p));
    return dcerpc_get(out, (scep_bytes){ c->in, length }, p);
}
