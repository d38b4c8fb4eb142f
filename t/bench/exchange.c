/* scep-bench load: what is said on one connection. */
#include "load.h"

#include <apr_strings.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROOM 16384

uint64_t load_now(void)
{
    struct timespec t;

    FIXTURE_MUST(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * LOAD_SECOND + (uint64_t)t.tv_nsec;
}

static void *must_grow(void *old, size_t size)
{
    void *grown = realloc(old, size);

    if (!grown)
        die("load", "no memory");
    return grown;
}

/* ---- what is to be sent ---- */

void load_wait(load *l, uint32_t message)
{
    l->queue[(l->head + l->waiting++) % (size_t)l->messages->nelts] = message;
}

static bool take(load *l, uint32_t *message)
{
    if (l->over)
        return false;
    if (!l->messages)
        return true;
    if (!l->waiting)
        return false;
    *message = l->queue[l->head];
    l->head = (l->head + 1) % (size_t)l->messages->nelts;
    l->waiting--;
    return true;
}

static void write_request(load *l, connection *c)
{
    const char *closing = l->arrivals ? "Connection: close\r\n" : "";
    scep_bytes body = { NULL, 0 };
    size_t room = strlen(l->path) + strlen(l->host) + 512;

    if (l->messages)
        body = APR_ARRAY_IDX(l->messages, (int)c->message, bench_message).der;
    if (c->out_room < room + body.len) {
        c->out_room = room + body.len;
        c->out = must_grow(c->out, c->out_room);
    }
    if (l->messages)
        c->out_len = (size_t)apr_snprintf((char *)c->out, c->out_room,
                                          "POST %s?operation=PKIOperation HTTP/1.1\r\nHost: %s\r\n"
                                          "Content-Type: application/x-pki-message\r\n"
                                          "Content-Length: %lu\r\n%s\r\n",
                                          l->path, l->host, (unsigned long)body.len, closing);
    else
        c->out_len = (size_t)apr_snprintf((char *)c->out, c->out_room,
                                          "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", l->path, l->host,
                                          closing);
    if (body.len)
        memcpy(c->out + c->out_len, body.data, body.len);
    c->out_len += body.len;
}

bool load_begin(load *l, connection *c)
{
    if (!take(l, &c->message))
        return false;
    c->busy = true;
    l->busy++;
    write_request(l, c);
    c->out_at = c->in_len = 0;
    c->begin = load_now();
    return true;
}

/* ---- connections ---- */

void load_disconnect(connection *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

void load_connect(load *l, connection *c)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data = { .ptr = c } };
    int on = 1;

    load_disconnect(c);
    c->connected = false;
    c->served = c->out_at = c->in_len = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        (connect(c->fd, (struct sockaddr *)&l->to, sizeof(l->to)) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("load: a connection cannot be made", strerror(errno));
}

static bool send_some(connection *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        c->out_at += (size_t)n;
    }
    return true;
}

/* @return false: the other side has ended it */
static bool receive_some(connection *c)
{
    for (;;) {
        ssize_t n;

        if (c->in_len + 1 >= c->in_room) {
            c->in_room = c->in_room ? 2 * c->in_room : ROOM;
            c->in = must_grow(c->in, c->in_room);
        }
        n = recv(c->fd, c->in + c->in_len, c->in_room - c->in_len - 1, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (n < 0 && errno == EAGAIN)
            return true;
        c->in_len += n > 0 ? (size_t)n : 0;
        c->in[c->in_len] = '\0';
    }
}

/* ---- answers ---- */

static void push(uint64_t **all, size_t *count, size_t *room, uint64_t took)
{
    if (*count == *room) {
        *room = *room ? 2 * *room : 4096;
        *all = must_grow(*all, *room * sizeof(**all));
    }
    (*all)[(*count)++] = took;
}

static void record_good(load *l, const connection *c)
{
    load_result *r = &l->result;
    uint64_t took = l->last - c->begin;

    push(&r->latencies, &r->good, &r->room, took);
    if (c->begin >= l->warm)
        push(&r->steady, &r->steady_count, &r->steady_room, took);
}

static bool same_as_first(load *l, scep_bytes body)
{
    if (!l->first.data)
        l->first = scep_bytes_dup(l->pool, body);
    return scep_bytes_equal(l->first, body);
}

void load_settle(load *l, connection *c, const http_answer *answer)
{
    bench_reply reply = { .message = c->message };

    c->busy = false;
    l->busy--;
    l->last = load_now();
    if (answer && l->again && answer->status == 503 && answer->retry_after) {
        l->result.refused++;
        load_wait(l, c->message);
        return;
    }
    if (answer) {
        reply.status = (uint32_t)answer->status;
        reply.body = answer->body;
    }
    if (reply.status == 200 && (l->messages || same_as_first(l, reply.body)))
        record_good(l, c);
    else
        l->result.wrong++;
    /* under overload a connection may be left without an answer; what was answered is checked */
    if (l->replies && (answer || !l->again))
        put_reply(l->replies, &reply);
}

void load_go_on(load *l, connection *c, bool closes)
{
    if (l->arrivals || closes)
        load_disconnect(c);
    if (l->arrivals || !load_begin(l, c))
        return;
    if (c->fd < 0)
        load_connect(l, c);
}

/* One request on one connection. @return true: another has begun on the same */
static bool progress(load *l, connection *c)
{
    bool ended = !send_some(c);
    http_answer answer;
    http_progress got;

    ended |= !receive_some(c);
    if (!c->busy) { /* nothing was asked: the server ended it */
        if (ended)
            load_disconnect(c);
        return false;
    }
    if (ended && c->served && !c->in_len) { /* it ended a kept connection meanwhile */
        load_connect(l, c);
        return false;
    }
    got = http_parse(&answer, (scep_bytes){ c->in, c->in_len }, ended);
    if (got == HTTP_MORE)
        return false;
    c->served++;
    load_settle(l, c, got == HTTP_WHOLE ? &answer : NULL);
    load_go_on(l, c, got == HTTP_ODD || answer.closes);
    return c->busy && c->connected && c->fd >= 0;
}

void load_on_event(load *l, connection *c, uint32_t events)
{
    int failed = 0;
    socklen_t len = sizeof(failed);

    if (c->fd < 0)
        return;
    if (!c->connected) {
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
            return;
        FIXTURE_MUST(getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failed, &len) == 0);
        c->connected = !failed;
    }
    if (!failed) {
        while (progress(l, c))
            ;
        return;
    }
    if (!l->again)
        die("load: a connection was refused", strerror(failed));
    load_settle(l, c, NULL);
    load_go_on(l, c, true);
}
