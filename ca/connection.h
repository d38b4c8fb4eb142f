/*
 * A worker's connection: reads one frame at a time without waiting, and knows what the worker may
 * ask. The server's thread owns it, except while a hand runs its call or waits for its next one.
 */
#ifndef CA_CONNECTION_H
#define CA_CONNECTION_H

#include "office.h"

#include <stdatomic.h>

#define CONNECTION_HELD_MOST ((size_t)64 << 20) /* bytes of requests in memory at one time */

/* A whole frame, decoded. Lives in the connection's pool until it is answered. */
typedef struct call {
    scep_verb verb; /* BUNDLE, ENROL, RENEW, POLL, FIND, MINT or STATUS */
    union {
        scep_wire_endpoint_name bundle;
        scep_wire_enrol enrol;
        scep_wire_renew renew;
        scep_wire_poll poll;
        scep_wire_find find;
        scep_wire_mint mint;
    } in;
    const office_endpoint *endpoint; /* NULL: unknown */
    apr_time_t deadline;
    int slot;   /* whose in-flight count it is in */
    int module; /* index of the endpoint whose policy module it may wait for; -1: none */
    bool asks;  /* it may wait for its authority's CA */
} call;

typedef struct connection {
    int fd;
    apr_pool_t *pool; /* of one frame and its answer; cleared after it */
    unsigned char header[SCEP_WIRE_HEADER];
    size_t have; /* bytes of the frame so far, header included */
    int verb;
    unsigned char *body;
    size_t length;
    bool welcomed, may_mint;
    bool running;      /* a hand has it */
    bool broken;       /* the answer could not be written */
    const char *fault; /* what the worker did wrong while a hand had it; NULL: nothing */
    apr_time_t since;  /* accepted, first byte of a frame, or last answer */
    call call;
    struct connection *previous, *next; /* the server's list, longest idle first */
    struct connection *queued;          /* the hands' lists */
} connection;

typedef enum connection_step {
    CONNECTION_WAITS, /* nothing more to read now */
    CONNECTION_FRAME, /* a whole frame: connection_body() */
    CONNECTION_ENDED  /* closed by the worker */
} connection_step;

/** Take over @a fd; closed by connection_close(). NULL: no memory for a pool. */
connection *connection_make(int fd);
void connection_close(connection *c);

/**
 * Read what is there, at most one frame.
 * @param held bytes of all bodies being held, by all threads; grows by this body's, unless it is
 *        refused
 * @param most the most that @a held may become
 * @return NULL and *step; INTERNAL: the worker breaks the rules; UNAVAILABLE: too much is held.
 *         After an error the connection is of no use
 */
SCEP_MUST const scep_err *connection_read(connection_step *step, connection *c, atomic_size_t *held,
                                          size_t most);

/** The frame was answered: forget it. @param held shrinks by its body */
void connection_next(connection *c, atomic_size_t *held);

/**
 * Check a HELLO against the secrets, in constant time.
 * @param mint_denied whether a wrong secret for minting was offered: the connection may enrol all
 *        the same, as a restart that failed leaves workers with a newer one
 * @param mint_secret len 0: nobody mints here, whatever the worker offers
 * @return NULL and the connection is welcomed; REFUSED: a wrong secret to enrol; INTERNAL
 */
SCEP_MUST const scep_err *connection_hello(bool *mint_denied, connection *c,
                                           scep_bytes enrol_secret, scep_bytes mint_secret);

/**
 * Decode the frame into c->call.
 * @return NULL; REFUSED: not a verb for workers, or not this worker's; INTERNAL: malformed
 */
SCEP_MUST const scep_err *connection_call(connection *c, const office *o, apr_time_t deadline);

/** The answer to a call that is not run: LATER where a verdict is expected and nothing was decided,
 *  else REFUSED. */
scep_bytes connection_refusal(const connection *c, scep_code code, const char *detail);

#endif
