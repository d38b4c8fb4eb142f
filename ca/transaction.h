/*
 * The identity of a request: (endpoint, transactionID, key that signed it, CSR). The same request
 * again gets the same answer and uses no second challenge; the same transactionID and key with
 * another CSR is a new request; the same transactionID with another key gets nothing (S-22, R-117,
 * A CertPoll names the transactionID and the key only.
 */
#ifndef CA_TRANSACTION_H
#define CA_TRANSACTION_H

#include "csr.h"
#include "issue.h"
#include "store.h"

/*
 * row.proven: a renewal: a certificate stands for its key, so that no other key's use of the
 * transactionID binds it, and it binds nobody else: any holder of a certificate could choose
 * another device's transactionID (S-22). Some devices hash the new key into it, and sign with the
 * old one, then with the new one; each key has its own answers all the same.
 */
typedef struct transaction {
    store_transaction row; /* hashes filled in; the rest once known */
    bool challenged;       /* a challenge is used up for it: whoever asks again after half of the
                              certificate's life has to bring another one, so the request is new then */
    const char *owner;     /* one text for the whole identity, for reservations */
} transaction;

/* What was answered before. */
typedef enum transaction_state {
    TRANSACTION_NEW,
    TRANSACTION_ISSUED,
    TRANSACTION_REVOKED,
    TRANSACTION_PENDING,
    TRANSACTION_DENIED
} transaction_state;

typedef struct transaction_answer {
    transaction_state state;
    scep_bytes certificate; /* where issued: DER */
    const char *authority;  /* where issued: whose */
    const char *request;    /* where it waited: its id; the queue may have forgotten it */
    apr_int64_t created;    /* when it was answered, or began to wait */
} transaction_answer;

/** @param key_hash SHA-256 of the SubjectPublicKeyInfo of the key that signed the request, 32
 *  bytes: for a self-signed request the CSR's own. @param csr NULL: a CertPoll */
SCEP_MUST const scep_err *transaction_make(transaction **out, const char *endpoint,
                                           scep_bytes transaction_id, scep_bytes key_hash,
                                           const scep_csr *csr, apr_pool_t *p);

/**
 * It is a renewal that @a old was proved to have signed: the same CSR signed by another certificate
 * is another request, as a device may keep its key and its CSR from one renewal to the next.
 */
SCEP_MUST const scep_err *transaction_prove(transaction *t, const scep_csr *csr, const X509 *old,
                                            apr_pool_t *p);

/** One text for the whole identity, for reservations. */
const char *transaction_owner(const store_transaction *row, apr_pool_t *p);

/**
 * In a job: was this request answered? Where it used a challenge up, and half of the certificate's
 * life has passed, or where that has ended, the request is new. Before, it stays REVOKED
 * where the certificate was: nobody who captured it gets another one by it (S-23).
 * @return NULL, or REFUSED: the transactionID belongs to another key
 */
SCEP_MUST const scep_err *transaction_find(store_tx *tx, const transaction *t,
                                           transaction_answer *answer);

/**
 * In a job: what became of the newest request of that transactionID and key? What waited once is
 * answered until its certificate ends, also after the half of its life; a revoked one is NEW (R-112
 * to R-114). What was answered at once is known to a CertPoll for @a minutes only, and NEW then
 * (SCEPCacheRequest); transaction_find() goes on knowing it.
 * @param t made without a CSR
 * @return NULL; NEW where there is none, or it belongs to another key
 */
SCEP_MUST const scep_err *transaction_poll(store_tx *tx, const transaction *t, long minutes,
                                           transaction_answer *answer);

/** t->row says that it was issued: serial, authority, and its times from the certificate's. */
void transaction_set_issued(transaction *t, const issued_cert *cert, const char *authority);

/**
 * In the job that settles the request, after row.state and what belongs to it were set.
 * @param done false: the same request was recorded meanwhile; nothing changed
 * @return NULL, or REFUSED as above
 */
SCEP_MUST const scep_err *transaction_record(store_tx *tx, const transaction *t, bool *done);

/**
 * In the job that decides what waited, after row.state and what belongs to it were set.
 * @param done false: it does not wait any more; nothing changed
 */
SCEP_MUST const scep_err *transaction_decide(store_tx *tx, const transaction *t, bool *done);

/** Forget a hundred at most of what ended more than @a keep_seconds ago. @param more perhaps */
SCEP_MUST const scep_err *transaction_sweep(bool *more, store *s, apr_int64_t keep_seconds,
                                            apr_pool_t *p);

#endif
