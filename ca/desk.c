/* Connections at rest. */
#include "desk.h"

#include "log.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_TIME apr_time_from_sec(10) /* for a greeting, and for each frame's last byte */
#define COMPLAIN_EVERY apr_time_from_sec(10)

const scep_err *desk_watch(desk *d, int fd, void *about, apr_pool_t *p)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = about };

    if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return scep_fail(p, INTERNAL, "epoll: %s", strerror(errno));
    return NULL;
}

void desk_unwatch(desk *d, int fd)
{
    (void)epoll_ctl(d->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void list_remove(desk *d, connection *c)
{
    if (c->previous)
        c->previous->next = c->next;
    else
        d->first = c->next;
    if (c->next)
        c->next->previous = c->previous;
    else
        d->last = c->previous;
    c->previous = c->next = NULL;
    d->count--;
}

static void list_append(desk *d, connection *c)
{
    c->previous = d->last;
    c->next = NULL;
    if (d->last)
        d->last->next = c;
    else
        d->first = c;
    d->last = c;
    d->count++;
}

static void drop(desk *d, connection *c)
{
    desk_unwatch(d, c->fd);
    list_remove(d, c);
    connection_next(c, &d->held);
    c->queued = d->dead;
    d->dead = c;
}

void desk_bury(desk *d)
{
    while (d->dead) {
        connection *c = d->dead;

        d->dead = c->queued;
        connection_close(c);
    }
}

void desk_complain(desk *d, const char *what)
{
    apr_time_t now = apr_time_now();

    if (now - d->complained < COMPLAIN_EVERY) {
        d->unsaid++;
        return;
    }
    log_line(LOG_LEVEL_WARN, "SCEP0220: worker turned away: %s (%d more since the last such line)",
             what, d->unsaid);
    d->complained = now;
    d->unsaid = 0;
}

static void complain_and_drop(desk *d, connection *c, const char *what)
{
    desk_complain(d, what);
    drop(d, c);
}

/* A short answer, written by this thread: it fits the socket's empty buffer, or the worker is not
 * reading. @return false: it was not, and the connection is gone */
static bool answer_now(desk *d, connection *c, scep_bytes frame)
{
    const scep_err *err = scep_wire_write(c->fd, frame, 0, c->pool);

    if (err)
        drop(d, c);
    else
        connection_next(c, &d->held);
    return !err;
}

/* @return whether there may be more to read now */
static bool take_call(desk *d, connection *c)
{
    const scep_err *err = connection_call(c, d->office, apr_time_now() + d->options->timeout);
    const char *busy;

    if (err && err->code == SCEP_REFUSED) {
        desk_complain(d, err->detail);
        return answer_now(d, c, connection_refusal(c, SCEP_REFUSED, err->detail));
    }
    if (err) {
        complain_and_drop(d, c, err->detail);
        return false;
    }
    /* the hands may be done with it before hands_give() returns */
    desk_unwatch(d, c->fd);
    c->running = true;
    busy = hands_give(d->hands, c);
    if (!busy)
        return false;
    c->running = false;
    if (desk_watch(d, c->fd, c, c->pool)) {
        drop(d, c);
        return false;
    }
    return answer_now(d, c, connection_refusal(c, SCEP_UNAVAILABLE, busy));
}

static bool take_frame(desk *d, connection *c)
{
    const server_options *o = d->options;
    const scep_err *err;
    bool mint_denied;

    if (c->welcomed)
        return take_call(d, c);
    err = connection_hello(&mint_denied, c, o->enrol_secret, o->mint_secret);
    if (err) {
        complain_and_drop(d, c, err->detail);
        return false;
    }
    if (mint_denied)
        desk_complain(d, "wrong secret for minting; it may enrol");
    return answer_now(d, c, scep_wire_put_empty(SCEP_VERB_WELCOME, c->pool));
}

static void read_from(desk *d, connection *c)
{
    connection_step step = CONNECTION_FRAME;

    while (step == CONNECTION_FRAME) {
        const scep_err *err = connection_read(&step, c, &d->held, CONNECTION_HELD_MOST);

        if (err) {
            complain_and_drop(d, c, err->detail);
            return;
        }
        if (step == CONNECTION_ENDED) {
            drop(d, c);
            return;
        }
        if (step == CONNECTION_FRAME && !take_frame(d, c))
            return;
    }
}

void desk_welcome(desk *d, int fd, apr_pool_t *p)
{
    connection *c = connection_make(fd);

    if (!c) {
        close(fd);
        return;
    }
    list_append(d, c);
    if (desk_watch(d, fd, c, p))
        drop(d, c);
}

void desk_event(desk *d, connection *c)
{
    for (const connection *gone = d->dead; gone; gone = gone->queued) {
        if (gone == c)
            return;
    }
    if (!c->running)
        read_from(d, c);
}

/*
 * Close a connection that waits, without losing a call that its worker has sent already: after
 * SHUT_RD the worker's next write fails, which tells it that nothing was asked; what it wrote
 * before is still read and answered here.
 */
static void close_gently(desk *d, connection *c)
{
    if (shutdown(c->fd, SHUT_RD) != 0) {
        drop(d, c);
        return;
    }
    read_from(d, c);
}

void desk_take_back(desk *d)
{
    connection *next;

    for (connection *c = hands_done(d->hands); c; c = next) {
        next = c->queued;
        c->running = false;
        list_remove(d, c);
        list_append(d, c);
        if (c->fault)
            desk_complain(d, c->fault);
        if (c->fault || c->broken || desk_watch(d, c->fd, c, c->pool))
            drop(d, c);
        else if (d->leaving)
            close_gently(d, c);
        else if (c->have)
            read_from(d, c); /* what a hand began to read, or had no place for */
    }
}

bool desk_evict(desk *d)
{
    for (connection *c = d->first; c; c = c->next) {
        if (!c->running && c->have == 0) {
            drop(d, c);
            return true;
        }
    }
    return false;
}

void desk_hurry(desk *d)
{
    apr_time_t now = apr_time_now();
    connection *next;

    for (connection *c = d->first; c; c = next) {
        next = c->next;
        if (c->running || now - c->since < FRAME_TIME)
            continue;
        if (!c->welcomed || c->have)
            complain_and_drop(d, c,
                              c->welcomed ? "a frame came too slowly" : "no greeting in time");
    }
}

void desk_leave(desk *d)
{
    connection *next;

    d->leaving = true;
    hands_leave(d->hands);
    for (connection *c = d->first; c; c = next) {
        next = c->next;
        if (!c->running)
            close_gently(d, c);
    }
}
