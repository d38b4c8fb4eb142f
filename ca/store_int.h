/*
 * Inside the store: the connection, shared by the words (store.c), the handle (store_conn.c) and
 * the writer (store_writer.c). Nobody else includes this, except the store's own test.
 */
#ifndef CA_STORE_INT_H
#define CA_STORE_INT_H

#include "store.h"

#include <apr_dbd.h>

#define STORE_SCHEMA 1

/* How long a group of jobs waits for a database that another process keeps locked, or that is
 * away: longer than a predecessor's last commits or a restart of the server take. */
#define STORE_PATIENCE apr_time_from_sec(10)

/*
 * The prepared statements: X(name, SQL in apr_dbd's notation). Deletions name real keys in a
 * subselect because DELETE … LIMIT is SQLite's alone.
 */
#define STORE_STATEMENTS(X)                                                                     \
    X(CHALLENGE_PUT, "INSERT INTO scep_challenge"                                               \
                     " (endpoint, hash, state, username, peer, created, expires)"               \
                     " VALUES (%s, %s, 'fresh', %s, %s, %lld, %lld) ON CONFLICT DO NOTHING")    \
    X(CHALLENGE_FRESH, "SELECT expires FROM scep_challenge WHERE endpoint = %s AND hash = %s"   \
                       " AND state = 'fresh' AND expires > %lld")                               \
    X(CHALLENGE_USE, "UPDATE scep_challenge SET state = 'used' WHERE endpoint = %s"             \
                     " AND hash = %s AND state = 'fresh' AND expires > %lld")                   \
    X(CHALLENGE_SWEEP, "DELETE FROM scep_challenge WHERE (endpoint, hash) IN"                   \
                       " (SELECT endpoint, hash FROM scep_challenge WHERE endpoint = %s"        \
                       " AND state = %s AND expires <= %lld ORDER BY expires LIMIT %lld)")      \
    X(UNUSED_GET, "SELECT unused FROM scep_endpoint WHERE name = %s")                           \
    X(UNUSED_ADD, "UPDATE scep_endpoint SET unused = unused + %lld WHERE name = %s")            \
    X(ENDPOINT_PUT, "INSERT INTO scep_endpoint (name, unused) VALUES (%s, 0)"                   \
                    " ON CONFLICT DO NOTHING")                                                  \
    X(ENDPOINT_LIST, "SELECT name FROM scep_endpoint ORDER BY name")                            \
    X(BINDING_PUT, "INSERT INTO scep_binding (endpoint, transaction_id, key_hash, ends)"        \
                   " VALUES (%s, %s, %s, %lld) ON CONFLICT (endpoint, transaction_id)"          \
                   " DO UPDATE SET key_hash = excluded.key_hash, ends = excluded.ends"          \
                   " WHERE scep_binding.ends <= %lld")                                          \
    X(BINDING_EXTEND, "UPDATE scep_binding SET ends = %lld WHERE endpoint = %s"                 \
                      " AND transaction_id = %s AND key_hash = %s AND ends < %lld")             \
    X(BINDING_GET, "SELECT key_hash FROM scep_binding WHERE endpoint = %s"                      \
                   " AND transaction_id = %s AND ends > %lld")                                  \
    X(BINDING_SWEEP, "DELETE FROM scep_binding WHERE (endpoint, transaction_id) IN"             \
                     " (SELECT endpoint, transaction_id FROM scep_binding WHERE ends < %lld"    \
                     " ORDER BY ends LIMIT %lld)")                                              \
    X(TRANSACTION_PUT, "INSERT INTO scep_transaction (endpoint, transaction_id, key_hash,"      \
                       " csr_hash, authority, serial, created, ends)"                           \
                       " VALUES (%s, %s, %s, %s, %s, %s, %lld, %lld)"                           \
                       " ON CONFLICT (endpoint, transaction_id, key_hash, csr_hash)"            \
                       " DO UPDATE SET authority = excluded.authority,"                         \
                       " serial = excluded.serial, created = excluded.created,"                 \
                       " ends = excluded.ends WHERE scep_transaction.ends <= excluded.created") \
    X(TRANSACTION_GET, "SELECT authority, serial FROM scep_transaction WHERE endpoint = %s"     \
                       " AND transaction_id = %s AND key_hash = %s AND csr_hash = %s"           \
                       " AND ends > %lld")                                                      \
    X(TRANSACTION_SWEEP, "DELETE FROM scep_transaction"                                         \
                         " WHERE (endpoint, transaction_id, key_hash, csr_hash) IN"             \
                         " (SELECT endpoint, transaction_id, key_hash, csr_hash"                \
                         " FROM scep_transaction WHERE ends < %lld ORDER BY ends LIMIT %lld)")  \
    X(CERTIFICATE_PUT, "INSERT INTO scep_certificate (authority, serial, subject,"              \
                       " template_name, endpoint, transaction_id, key_hash, der, not_before,"   \
                       " not_after, issued)"                                                    \
                       " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %lld, %lld, %lld)"             \
                       " ON CONFLICT DO NOTHING")                                               \
    X(CERTIFICATE_GET, "SELECT der FROM scep_certificate WHERE authority = %s AND serial = %s") \
    X(CERTIFICATE_COUNT, "SELECT count(*) FROM scep_certificate")

typedef enum store_statement {
#define X(name, sql) STORE_##name,
    STORE_STATEMENTS(X)
#undef X
        STORE_STATEMENT_COUNT
} store_statement;

/*
 * One handle. The first failure of the driver sticks: everything after it fails too, without
 * asking the database, and the writer throws the handle away.
 */
typedef struct store_conn {
    apr_pool_t *pool; /* lives and dies with the handle; queries never allocate from it */
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_dbd_prepared_t *statement[STORE_STATEMENT_COUNT];
    const char *begin; /* the words that open a transaction */
    bool broken;
    char why[256]; /* where broken: one printable line */
} store_conn;

struct store_tx {
    store_conn *conn;
    apr_pool_t *pool;    /* the caller's: results and errors */
    apr_pool_t *scratch; /* the group's: what the driver needs */
};

/** Open a handle: driver, PRAGMAs, schema, statements.
 *  @param parent of the handle's own pool; @param p for the error
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *store_conn_open(store_conn **out, const char *where, apr_pool_t *parent,
                                          apr_pool_t *p);

/** What is not committed is lost. NULL: nothing to do. */
void store_conn_close(store_conn *c);

/** Run a text without results. @return false: the handle is broken */
SCEP_MUST bool store_conn_exec(store_conn *c, const char *sql, apr_pool_t *scratch);

/** Break the handle for what the driver says of @a code. */
void store_conn_fault(store_conn *c, int code, apr_pool_t *scratch);

/** Read all rows, as the driver wants it, and give the cells row after row. @return false: the
 *  rows have not @a columns columns */
SCEP_MUST bool store_conn_cells(store_conn *c, apr_dbd_results_t *results, int columns,
                                apr_array_header_t *cells, apr_pool_t *scratch);

/** For the store's test: another patience than STORE_PATIENCE. */
void store_patience_set(store *s, apr_interval_time_t patience);

#endif
