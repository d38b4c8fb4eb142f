/* What the files of a worker's side share: its way to scep-ca, and what it knows. */
#ifndef MOD_SCEP_WORKER_H
#define MOD_SCEP_WORKER_H

#include "mod_scep.h"

#include <apr_thread_mutex.h>
#include <stdatomic.h>

typedef struct scep_told scep_told;

typedef struct scep_worker {
    scep_ca_client *client;
    scep_places *places;
    int operations, calls; /* how many of the places each kind has */
    int seats, unseated;
    atomic_int waiting;       /* threads of this process that wait for scep-ca, */
    int waiting_most;         /* and how many may as long as it takes */
    scep_limit *failed;       /* requests, by endpoint and address */
    scep_told *told;          /* what scep-ca said last of its state; has a lock of its own */
    apr_hash_t *entries;      /* name in lower case -> what is known; fixed after child_init */
    apr_thread_mutex_t *lock; /* short holds only: pointers and counts */
    bool ended;               /* nothing of the above is there any more */
} scep_worker;

/** NULL: this process has none, because no SCEPEngine is on or it could not be made. */
scep_worker *scep_worker_find(server_rec *s);

/* What a request has to wait for scep-ca: never a seat, but one of the places. */
typedef struct scep_call {
    bool placed, seated; /* it got a place for the call; it gave its seat away */
} scep_call;

/** Before a call that is no PKIOperation's verdict. @return NULL, or UNAVAILABLE: no place */
SCEP_MUST const scep_err *scep_call_enter(scep_call *call, request_rec *r);
void scep_call_leave(const scep_call *call, request_rec *r);

/** Fill w->entries from what READY said. It is old at once: the first request that uses an endpoint
 *  asks for news. @return NULL, or INTERNAL */
SCEP_MUST const scep_err *scep_worker_learn(scep_worker *w, const scep_wire_ready *ready,
                                            apr_pool_t *pchild);

/** A verdict named this generation: where it is another one than is known, news are asked for at
 *  the next request. 0: the verdict came from nobody who knows. */
void scep_worker_notice(scep_worker *w, const char *endpoint, uint64_t generation, apr_pool_t *p);

/** What this worker knows, old or not: asks nobody. NULL: no such endpoint. Until @a r ends. */
const scep_known *scep_known_at_hand(request_rec *r, const char *endpoint);

/** For scep_worker.told (mod_scep_status_look.c). @return NULL, or INTERNAL */
SCEP_MUST const scep_err *scep_told_make(scep_told **out, apr_pool_t *pchild);

/* ---- what is known, from the wire (mod_scep_bodies.c) ---- */

/**
 * Read what scep-ca says of an endpoint, and make the bodies.
 * @param keys of scep_wire_keys, in the order of the identities; NULL: what everybody may know only
 * @return NULL, or INTERNAL. The result lives in @a p
 */
SCEP_MUST const scep_err *scep_known_read(scep_known *out, const scep_wire_public *public,
                                          const apr_array_header_t *keys, apr_pool_t *p);

/** What the next CA will give as GetCACert, its certificate first, pushed to @a to. */
SCEP_MUST const scep_err *scep_known_list_next(STACK_OF(X509) * to, const scep_identity *next,
                                               apr_pool_t *p);

#endif
