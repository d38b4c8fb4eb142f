/*
 * The threads that run whole calls: a fixed number, one queue, and for each authority a limit of
 * calls queued or running, so that a slow CA does not tie up every worker of httpd. For each
 * authority there are as many threads as cores, so that each core signs, and its calls that may ask
 * its CA hold no more at one time; the others wait. So a slow CA holds up neither another authority
 * nor what asks no CA. Calls that may wait for a policy module have limits of their own as well:
 * whoever sends requests to an endpoint whose module hangs holds up no other endpoint. Where
 * nothing is queued, a thread that has answered waits a moment for its worker's next call, so that
 * a busy worker's call wakes that thread alone.
 */
#ifndef CA_HANDS_H
#define CA_HANDS_H

#include "connection.h"
#include "server.h"

typedef struct hands hands;

/* For what asks no CA; and at least, for each authority, for what may ask its own. */
#define HANDS 32
#define HANDS_CA (HANDS / 2)
/* Calls queued or running that may wait for one endpoint's policy module; for all of them. */
#define HANDS_MODULE (HANDS / 4)
#define HANDS_MODULES (HANDS / 2)

/**
 * Start the threads.
 * @param options its in_flight: most calls of one authority; a quarter of it is the most of one
 *        policy module, half of it of all of them, where that is less than HANDS_MODULE and
 *        HANDS_MODULES. Its timeout: of calls that a hand reads itself
 * @param held as connection_read() has it
 * @param wake an eventfd, written to whenever hands_done() has something new to return
 */
SCEP_MUST const scep_err *hands_start(hands **out, office *o, const server_options *options,
                                      atomic_size_t *held, int wake, apr_pool_t *p);

/** Queue c->call. The connection belongs to the hands until hands_done() returns it.
 *  @return NULL; or why nothing is queued: its authority or its endpoint's policy module is at the
 *          limit, or too many ask for the state */
const char *hands_give(hands *h, connection *c);

/** Connections whose call was answered since, linked by `queued`; NULL: none. Each waits for its
 *  next frame, is broken, has a fault, or holds a frame or the begin of one, to be read on. */
connection *hands_done(hands *h);

/** From now on give each connection back when its call is answered. */
void hands_leave(hands *h);

/** All threads. */
int hands_number(const hands *h);

/** Calls that hands_done() has not returned yet. */
int hands_busy(hands *h);

/** Stop and join the threads; nothing may be queued or running. */
void hands_stop(hands *h);

#endif
