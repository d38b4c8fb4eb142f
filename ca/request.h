/*
 * The queue: requests that wait (RFC 8894 3.3.2.3, 4.4), for an administrator or for a CA elsewhere
 * (submission.h). Their number is bounded, in all, for each key and for each address (S-24); after
 * a time they are forgotten.
 */
#ifndef CA_REQUEST_H
#define CA_REQUEST_H

#include "transaction.h"

typedef struct request_limits {
    long most; /* PendingMax; a tenth of it, at least 5, for one key or one address */
    long days; /* Refresh */
} request_limits;

/** What is known of a request that shall wait. */
typedef struct request_facts {
    const char *authority, *template_name, *peer;
    const char *subject; /* one line */
    scep_bytes transaction_id;
    int message_type;
    const scep_csr *csr;
    const X509 *old; /* a renewal: the certificate that stands for it; NULL: none */
    bool to_ca;      /* nobody has to approve it: a CA elsewhere is asked at once */
} request_facts;

/* Whoever put a request to a CA into the queue gives it to the clerks of its own process: only if
 * nobody asked after so many seconds is it due for all of them. */
#define REQUEST_HEAD_START 5

/**
 * In a job: put it into the queue and record the transaction as pending.
 * @param done false: the same request was recorded meanwhile; nothing changed
 * @return NULL; REFUSED: too many wait (UNAVAILABLE where the CA is asked at once), or the
 *         transactionID belongs to another key
 */
SCEP_MUST const scep_err *request_pend(store_tx *tx, transaction *t, const request_facts *facts,
                                       const request_limits *limits, const char **id, bool *done);

/** In a job: one that is undecided still, whatever it waits for. @return NULL, or BAD_CERT_ID with
 *  a sentence: there is none, or it was decided or has expired */
SCEP_MUST const scep_err *request_waiting(store_tx *tx, const char *id,
                                          const store_request **found);

/** Has an administrator to decide it? Otherwise it is on its way to the CA. */
bool request_is_stuck(const store_request *r);

/** In the job that decides: the certificate was issued (t's row is set to issued), or denied with
 *  a reason. @param r as it was read. @return NULL, or BAD_CERT_ID: somebody else decided
 *  meanwhile */
SCEP_MUST const scep_err *request_issued(store_tx *tx, const store_request *r, const transaction *t,
                                         const char *by);
SCEP_MUST const scep_err *request_denied(store_tx *tx, const store_request *r, const char *reason,
                                         const char *by);

/** The transaction of a request in the queue, to be settled. The certificate that stands for it is
 *  to be judged anew. */
SCEP_MUST const scep_err *request_transaction(transaction **out, const store_request *r,
                                              apr_pool_t *p);

/** Expire what waited too long, forget what was decided @a keep_seconds ago: a hundred of each at
 *  most. @param more perhaps */
SCEP_MUST const scep_err *request_sweep(bool *more, store *s, apr_int64_t keep_seconds,
                                        apr_pool_t *p);

#endif
