/*
 * The threads that run whole calls: a fixed number, one queue, and for each authority a limit of
 * calls queued or running, so that a slow CA does not tie up every worker of httpd.
 */
#ifndef CA_HANDS_H
#define CA_HANDS_H

#include "connection.h"

typedef struct hands hands;

/**
 * Start the threads.
 * @param in_flight most calls of one authority
 * @param wake an eventfd, written to whenever a call is done
 */
SCEP_MUST const scep_err *hands_start(hands **out, office *o, int in_flight, int wake,
                                      apr_pool_t *p);

/** Queue c->call. The connection belongs to the hands until hands_done() returns it.
 *  @return false: its authority is at the limit, or too many ask for the state; nothing is queued */
bool hands_give(hands *h, connection *c);

/** Connections whose call was answered since, linked by `queued`; NULL: none. */
connection *hands_done(hands *h);

/** Calls that hands_done() has not returned yet. */
int hands_busy(hands *h);

/** Stop and join the threads; nothing may be queued or running. */
void hands_stop(hands *h);

#endif
