/* A service for tests, in a thread of this process: http, or https, on loopback. One connection at
 * a time, one request each. */
#ifndef SERVICE_ROOM_H
#define SERVICE_ROOM_H

#include "fixture.h"

/** A request as it came. */
typedef struct service_asked {
    const char *head; /* request line and headers */
    scep_bytes body;
    const char *peer; /* subject of the client's certificate; "": it showed none */
} service_asked;

/** What is answered: status 0: the connection is closed without a word; -1: nothing, until the
 *  service stops. */
typedef struct service_said {
    int status;
    const char *type;    /* NULL: no Content-Type */
    const char *headers; /* more, each with its line's end; NULL: none */
    scep_bytes body;
} service_said;

typedef void service_fn(service_said *out, const service_asked *asked, void *baton, apr_pool_t *p);

typedef struct service service;

/** @param cert, key of the server: https. NULL: http. @param trusted who may have certified a
 * client, which is then asked for a certificate (but needs none); NULL: none is asked for */
service *service_start(service_fn *answer, void *baton, X509 *cert, EVP_PKEY *key, X509 *trusted,
                       apr_pool_t *p);
int service_port(const service *s);

/** How many requests came. */
int service_count(const service *s);

void service_stop(service *s);

#endif
