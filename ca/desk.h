/*
 * The desk: the connections of the workers that are at rest, between a greeting and a call, or
 * being read. All of it runs on the server's thread.
 */
#ifndef CA_DESK_H
#define CA_DESK_H

#include "hands.h"
#include "server.h"

typedef struct desk {
    const server_options *options;
    office *office;
    hands *hands;
    int epoll;
    connection *first, *last; /* all, longest idle first */
    int count;
    connection *dead;      /* closed at the end of a round: later events may still name them */
    atomic_size_t held;    /* bytes of all bodies; of the hands, too */
    bool leaving;          /* nobody is kept waiting for a next call */
    apr_time_t complained; /* when a worker was last complained of */
    int unsaid;            /* complaints since */
} desk;

/** Add a descriptor to the desk's epoll / take it away. @param about comes with its events */
SCEP_MUST const scep_err *desk_watch(desk *d, int fd, void *about, apr_pool_t *p);
void desk_unwatch(desk *d, int fd);

/** A new connection. */
void desk_welcome(desk *d, int fd, apr_pool_t *p);

/** An event names @a c: read from it, unless it was closed meanwhile. */
void desk_event(desk *d, connection *c);

/** Take back the connections whose calls are done. */
void desk_take_back(desk *d);

/** Close the connection that has been idle for longest. @return false: none is idle */
bool desk_evict(desk *d);

/** Close those that greet or send too slowly. */
void desk_hurry(desk *d);

/** From now on close every connection that is not in a call, without losing a call. */
void desk_leave(desk *d);

/** Free what was closed. Between rounds of events only. */
void desk_bury(desk *d);

/** Log what a worker did wrong, but not every time: one that was broken into must not fill the
 *  log. */
void desk_complain(desk *d, const char *what);

#endif
