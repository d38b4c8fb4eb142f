/*
 * The identity of a request: (endpoint, transactionID, public key, CSR). The same request again
 * gets the same answer and uses no second challenge; the same transactionID and key with another
 * CSR is a new request; the same transactionID with another key gets nothing (S-22, R-117, R-119).
 */
#ifndef CA_TRANSACTION_H
#define CA_TRANSACTION_H

#include "csr.h"
#include "store.h"

typedef struct transaction {
    store_transaction row; /* hashes filled in; serial and authority once known */
    const char *owner;     /* one text for the whole identity, for reservations */
} transaction;

SCEP_MUST const scep_err *transaction_make(transaction **out, const char *endpoint,
                                           scep_bytes transaction_id, const scep_csr *csr,
                                           apr_pool_t *p);

/**
 * In a job: was this request answered?
 * @param certificate DER of the certificate it got; len 0: no
 * @return NULL, or REFUSED: the transactionID belongs to another key
 */
SCEP_MUST const scep_err *transaction_find(store_tx *tx, const transaction *t,
                                           scep_bytes *certificate);

/**
 * In the job that records the certificate.
 * @param done false: the same request was recorded meanwhile; nothing changed
 * @return NULL, or REFUSED as above
 */
SCEP_MUST const scep_err *transaction_record(store_tx *tx, const transaction *t, bool *done);

/** Forget, a hundred at a time, what ended more than @a keep_seconds ago. */
SCEP_MUST const scep_err *transaction_sweep(store *s, apr_int64_t keep_seconds, apr_pool_t *p);

#endif
