/* A queue to put requests into and to decide them, in a store's room. */
#ifndef REQUEST_ROOM_H
#define REQUEST_ROOM_H

#include "request.h"
#include "store_room.h"

#define WEEK (7 * ROOM_DAY)

/* A hundred that wait for a week. */
extern const request_limits request_room_limits;

/** Seconds since ROOM_START. */
void at(apr_int64_t seconds);

/* ---- putting into the queue ---- */

typedef struct pend_job {
    transaction *t;
    const char *peer;
    const X509 *old;
    const request_limits *limits;
    const char *id;
    bool done;
} pend_job;

/** A job of the store. @param baton pend_job */
const scep_err *pend_in_store(store_tx *tx, void *baton);

/** @param id NULL where nothing was put */
const scep_err *pend_from(transaction *t, const char *peer, const request_limits *within,
                          const char **id);

/** One that is taken. @return its id */
const char *pend(const char *transaction_id, char key, char csr);

/** What was answered before. */
transaction_answer found(const char *transaction_id, char key, char csr);

/* ---- deciding ---- */

typedef struct decide_job {
    store *store;
    apr_pool_t *pool;
    const char *id;
    X509 *cert;                 /* NULL: deny */
    const store_request *known; /* NULL: to be looked up */
    const scep_err *err;
} decide_job;

/** Jobs of the store. @param baton decide_job */
const scep_err *look_up(store_tx *tx, void *baton);
const scep_err *decide_in_store(store_tx *tx, void *baton);

/** @param cert NULL: deny */
const scep_err *decide(const char *id, X509 *cert);

const store_request *row_of(const char *id);

#endif
