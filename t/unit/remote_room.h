/*
 * An office whose authority "default" has its CA elsewhere: behind a connector that does what the
 * test says, and keeps what it was asked. Its certificates are those of the local connector.
 */
#ifndef REMOTE_ROOM_H
#define REMOTE_ROOM_H

#include "office_room.h"

#include <pthread.h>

typedef enum remote_does {
    REMOTE_ISSUES,
    REMOTE_PENDS, /* with the cookie "c1", "c2", … and words */
    REMOTE_DENIES,
    REMOTE_LOSES,
    REMOTE_IS_DOWN,    /* it cannot have got it */
    REMOTE_BREAKS,     /* it may have got it */
    REMOTE_IS_MISUSED, /* CONFIG */
    REMOTE_HANGS,      /* until the ask's end, or until it does something else */
    REMOTE_KEEPS,      /* has a cookie kept, and breaks */
    REMOTE_KEEPS_DOWN, /* likewise, and cannot have got it */
    REMOTE_SENDS       /* what .sends says */
} remote_does;

typedef struct remote {
    connector base; /* first: what the office has */
    connector *real;
    office_authority *authority;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    remote_does does;
    scep_bytes sends;
    int asked;       /* how often */
    char cookie[64]; /* that it was asked with, the last time */
    char id[32];
    _Atomic bool lost; /* likewise */
    _Atomic int hanging;
    _Atomic int issued;
} remote;

/** Put it in place of the authority's connector, and start the clerks. */
remote *remote_room_up(office *o, apr_pool_t *p);
/** Let go whoever hangs, stop the clerks. */
void remote_room_down(office *o, remote *r);

void remote_room_does(remote *r, remote_does what);
/** Wait until it was asked so often, some seconds at most. @return whether it was */
bool remote_room_asked(remote *r, int times);

/** The row of a request as it stands; by its transactionID. NULL: none */
const scep_wire_request *remote_room_row(office *o, const char *id, apr_pool_t *p);
/** Wait until it is in that state, some seconds at most. @return whether it is */
bool remote_room_is(office *o, const char *id, const char *state, apr_pool_t *p);
/** Likewise, until it is "asked" and that was recorded to have failed (REMOTE_BREAKS): while it is
 *  being asked it is in that state, too. */
bool remote_room_broke(office *o, const char *id, apr_pool_t *p);

#endif
