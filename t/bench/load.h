/* The load's parts: load.c runs it, exchange.c speaks on its connections. */
#ifndef SCEP_BENCH_LOAD_H
#define SCEP_BENCH_LOAD_H

#include "bench.h"

#include <netinet/in.h>

#define LOAD_SECOND UINT64_C(1000000000)

typedef struct connection {
    int fd; /* -1: none */
    bool connected, busy;
    uint32_t message;
    uint64_t begin;
    size_t served; /* answers on this connection */
    unsigned char *out, *in;
    size_t out_len, out_at, out_room, in_len, in_room;
} connection;

typedef struct load {
    struct sockaddr_in to;
    const char *host, *path;
    apr_array_header_t *messages; /* NULL: GET */
    uint32_t *queue;              /* a ring of messages that wait */
    size_t head, waiting;
    bool again; /* what was refused waits once more */
    long arrivals;
    FILE *replies;
    connection *connections;
    int clients, epoll, busy;
    bool over;
    scep_bytes first; /* the first answer to a GET: all others must be the same */
    uint64_t last;    /* when the last answer came */
    uint64_t warm;    /* when the server is taken for warm */
    load_result result;
    apr_pool_t *pool;
} load;

uint64_t load_now(void);

/** Give a connection its next request. @return false: nothing is left to send */
bool load_begin(load *l, connection *c);
/** A new connection for the request that it has. */
void load_connect(load *l, connection *c);
void load_disconnect(connection *c);
void load_on_event(load *l, connection *c, uint32_t events);
/** A request is over. @param answer NULL: there was none */
void load_settle(load *l, connection *c, const http_answer *answer);
/** After that: the next one, unless every request has a connection of its own.
 *  @param closes the connection cannot be used any more */
void load_go_on(load *l, connection *c, bool closes);
/** Put a message behind those that wait. */
void load_wait(load *l, uint32_t message);

#endif
