/*
 * All that must survive: the only SQL of the project, on apr_dbd, in words that SQLite and
 * PostgreSQL both take.
 *
 * One writer thread owns one connection. Callers hand it jobs and wait; it takes all that wait,
 * BEGINs, runs each in a SAVEPOINT of its own, COMMITs and wakes them: a job that returned NULL is
 * durable when store_run() returns. Reasons, measured: docs/architecture.md, "State".
 *
 * Outcomes come from affected-row counts, never from error codes. Binary is base64 text, time is
 * seconds since 1970.
 */
#ifndef CA_STORE_H
#define CA_STORE_H

#include "bytes.h"

#include <apr_tables.h>
#include <apr_time.h>
#include <stdbool.h>

typedef struct store store;
typedef struct store_tx store_tx;

/**
 * Open the database, create or upgrade its schema, start the writer.
 * @param where "sqlite3:/path" or "pgsql:conninfo"
 * @return NULL, or CONFIG (unknown driver, driver not installed, cannot open, schema of a newer
 *         version)
 */
SCEP_MUST const scep_err *store_open(store **out, const char *where, apr_pool_t *p);

/** Run what is queued, stop the writer and close. Also done when the pool ends. A second time does
 *  nothing. */
void store_close(store *s);

/**
 * A job. Works in @a baton and the pool of the caller, who waits meanwhile; so it may use both.
 * An error rolls its savepoint back and is returned by store_run().
 *
 * It may be run twice: where the database fails, the handle is opened anew and every job of the
 * group is run once more. So a job sets its results from what it reads, and nothing outside the
 * database is changed in it. Rarely the first commit has happened although its answer was lost
 * (PostgreSQL only); then the second run meets its own rows: "there already" is therefore looked
 * at before "used up". It must not call store_run() or store_close().
 */
typedef const scep_err *(*store_job_fn)(store_tx *tx, void *baton);

/**
 * Run @a fn in the next commit group and wait until that is durable.
 * @return NULL: committed; the job's own error: nothing of it happened; UNAVAILABLE: the database
 *         failed (after the handle was opened anew and the job run once more), or the store closes
 */
SCEP_MUST const scep_err *store_run(store *s, store_job_fn fn, void *baton, apr_pool_t *p);

/** The pool of the caller of store_run(), for results. */
apr_pool_t *store_tx_pool(store_tx *tx);

/*
 * Words for jobs. Each returns NULL or UNAVAILABLE; "not there" is an outcome, not an error. After
 * UNAVAILABLE a job has nothing left to do but to return it. Texts are UTF-8.
 * Strings returned are in the caller's pool.
 */

typedef struct store_challenge {
    const char *endpoint;
    const char *hash;             /* keyed hash, base64 (challenge.h) */
    const char *user;             /* who asked */
    const char *peer;             /* from where */
    apr_int64_t created, expires; /* seconds */
} store_challenge;

SCEP_MUST const scep_err *store_challenge_put(store_tx *tx, const store_challenge *c);

/** Is there a fresh one that expires after @a now? */
SCEP_MUST const scep_err *store_challenge_is_fresh(store_tx *tx, const char *endpoint,
                                                   const char *hash, apr_int64_t now, bool *fresh);

/** Use it up: fresh and unexpired becomes used. @param done whether exactly one row changed */
SCEP_MUST const scep_err *store_challenge_use(store_tx *tx, const char *endpoint, const char *hash,
                                              apr_int64_t now, bool *done);

/** Remove at most @a most fresh but expired ones, and used ones that would have expired. @param
 *  unused how many of those removed had not been used */
SCEP_MUST const scep_err *store_challenge_sweep(store_tx *tx, const char *endpoint, apr_int64_t now,
                                                int most, int *unused);

/** The endpoint's number of unused challenges: read it, change it by @a delta. */
SCEP_MUST const scep_err *store_unused_get(store_tx *tx, const char *endpoint, apr_int64_t *count);
SCEP_MUST const scep_err *store_unused_add(store_tx *tx, const char *endpoint, int delta);

/** Names of all endpoints that have a row of their own, as const char *. */
SCEP_MUST const scep_err *store_endpoints(store_tx *tx, apr_array_header_t **names);

/* A request that was answered. All hashes base64. */
typedef struct store_transaction {
    const char *endpoint;
    const char *transaction; /* SHA-256 of the transactionID */
    const char *key_hash;    /* of the public key */
    const char *csr_hash;
    const char *authority, *serial; /* of its certificate */
    apr_int64_t created, ends;      /* seconds; ends: when the certificate does */
} store_transaction;

/**
 * Bind a transactionID to a public key until t->ends; a binding that ended by t->created gives way.
 * @param bound the key hash it is bound to now: this one, or the one that came first
 */
SCEP_MUST const scep_err *store_binding_put(store_tx *tx, const store_transaction *t,
                                            const char **bound);
/** @param key its created: now. @param bound NULL: not bound, or no longer */
SCEP_MUST const scep_err *store_binding_get(store_tx *tx, const store_transaction *key,
                                            const char **bound);

/**
 * @param t one that ended by t->created is replaced: the request is new then
 * @param done false: (endpoint, transaction, key_hash, csr_hash) is there already; nothing changed
 */
SCEP_MUST const scep_err *store_transaction_put(store_tx *tx, const store_transaction *t,
                                                bool *done);
/**
 * @param key its created: now
 * @param serial, authority of its certificate; NULL: no such transaction, or it has ended
 */
SCEP_MUST const scep_err *store_transaction_get(store_tx *tx, const store_transaction *key,
                                                const char **authority, const char **serial);
/** Remove at most @a most transactions and bindings that ended before @a before. */
SCEP_MUST const scep_err *store_transaction_sweep(store_tx *tx, apr_int64_t before, int most,
                                                  int *removed);

/* A certificate. */
typedef struct store_certificate {
    const char *authority;
    const char *serial;  /* upper-case hex */
    const char *subject; /* one line */
    const char *template_name;
    const char *endpoint;
    const char *transaction; /* SHA-256 of the transactionID, base64 */
    const char *key_hash;
    scep_bytes der;
    apr_int64_t not_before, not_after, issued; /* seconds */
} store_certificate;

/** @param done false: (authority, serial) is there already; nothing changed */
SCEP_MUST const scep_err *store_certificate_put(store_tx *tx, const store_certificate *c,
                                                bool *done);
/** @param der len 0: no such certificate. @return also INTERNAL: the row is spoilt */
SCEP_MUST const scep_err *store_certificate_get(store_tx *tx, const char *authority,
                                                const char *serial, scep_bytes *der);
/** How many there are, for tests and status. */
SCEP_MUST const scep_err *store_certificate_count(store_tx *tx, apr_int64_t *count);

#endif
