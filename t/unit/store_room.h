/*
 * A folder and a store for each test. The database is SQLite in the folder; a test that is set up
 * by room_up_portable() takes what SCEP_TEST_STORE names, if it is set ("pgsql:host=/tmp/x
 * dbname=y"; the tables of scep-ca there are dropped).
 */
#ifndef STORE_ROOM_H
#define STORE_ROOM_H

#include "store_int.h"

#include <check.h>

#define ROOM_THREADS 16

extern apr_pool_t *room_pool;
extern const char *room_folder;
extern const char *room_where;
extern store *room_store;

/* Checked fixtures: folder only; folder and open store; the same, of any kind; gone again. */
void room_up_folder(void);
void room_up(void);
void room_up_portable(void);
void room_down(void);

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

/* Suites of files that test_store.c or test_challenge.c runs too. */
Suite *store_words_suite(void);
Suite *store_faults_suite(void);
Suite *transaction_suite(void);
Suite *reservation_suite(void);

/** Run all suites that @a make gives; the exit status. */
int room_main(Suite *(*const make[])(void), size_t n);

#endif
