/*
 * A folder and a store for each test. The database is SQLite in the folder; a test that is set up
 * by room_up_portable() takes what SCEP_TEST_STORE names, if it is set ("pgsql:host=/tmp/x
 * dbname=y"; the tables of scep-ca there are dropped).
 */
#ifndef STORE_ROOM_H
#define STORE_ROOM_H

#include "store_int.h"
#include "transaction.h"

#include <check.h>

#define ROOM_THREADS 16

/* What the clock says in a test that room_up_at_start() sets up; a day. */
#define ROOM_START apr_time_from_sec(1700000000)
#define ROOM_DAY (24 * 60 * 60)

/* In jobs of tests: words that have to succeed. */
#define OK(expr) room_expect((expr), SCEP_OK)

/** @a err is of that code; SCEP_OK: it is NULL. */
void room_expect(const scep_err *err, scep_code code);

extern apr_pool_t *room_pool;
extern const char *room_folder;
extern const char *room_where;
extern store *room_store;

/* Checked fixtures: folder only; folder and open store; a place of any kind, with nothing in it;
 * the same, open; the same at ROOM_START; gone again. */
void room_up_folder(void);
void room_up(void);
void room_up_empty(void);
void room_up_portable(void);
void room_up_at_start(void);
void room_down(void);

/** Remove all that a closed store holds. */
void room_empty(void);

/** Open the store; a failure fails the test. */
void room_open(void);

/* Another connection to the same database. */
typedef struct other {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
} other;

other other_open(void);
void other_says(const other *o, const char *sql);
void other_close(other *o);

/** What @a sql selects: all cells, row after row, as const char *, in room_pool. */
apr_array_header_t *other_asks(const other *o, const char *sql);

/** Run a test's words as one job. */
void room_job_of(store_job_fn fn);

/* A job that puts a certificate and counts it. */
typedef struct room_job {
    const char *serial;
    bool fail;   /* the job gives up after it has written */
    bool poison; /* the job says what the database refuses */
    int runs;
    bool done;
} room_job;

const scep_err *room_put(store_tx *tx, void *baton);
const scep_err *room_put_one(const char *serial, apr_pool_t *p);

/** As many certificates and counts are there; a certificate is there. */
void room_expect_rows(apr_int64_t rows);
bool room_has(const char *serial);

/** A request, as far as its identity goes: @a key and @a csr fill the hashes; a
 *  challenge is used for it. */
transaction *room_request(const char *endpoint, const char *id, char key, char csr);

/** From ROOM_START, for an hour; its key is nobody else's. */
X509 *room_certificate(long serial);
/** What a CA tells of it. */
const issued_cert *room_issued(X509 *cert);

/** Record that @a cert was issued to @a t by "ca", as an enrolment does. */
const scep_err *room_settle(transaction *t, X509 *cert, bool *done);

/** What was answered before; what a poll is answered with a CacheRequest of two hours. */
const scep_err *room_find(const transaction *t, transaction_answer *answer);
transaction_answer room_poll(const char *endpoint, const char *id, char key);

/** The same with another CacheRequest. */
transaction_answer room_poll_within(long minutes, const char *endpoint, const char *id, char key);

/* Suites of files that test_store.c or test_challenge.c runs too. */
Suite *store_words_suite(void);
Suite *store_transactions_suite(void);
Suite *store_faults_suite(void);
Suite *store_schema_suite(void);
Suite *store_queue_suite(void);
Suite *store_certificates_suite(void);
Suite *transaction_suite(void);
Suite *inventory_suite(void);
Suite *reservation_suite(void);

/* Suites of files that test_identities.c and test_renewal.c run too. */
Suite *seal_suite(void);
Suite *foreign_suite(void);

/** Run all suites that @a make gives; the exit status. */
int room_main(Suite *(*const make[])(void), size_t n);

#endif
