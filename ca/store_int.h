/*
 * Inside the store: the connection, shared by the words (store.c, store_queue.c), the handle
 * (store_conn.c), its schema (store_schema.c) and the groups of jobs (store_writer.c). Nobody else
 * includes this, except the store's own test.
 */
#ifndef CA_STORE_INT_H
#define CA_STORE_INT_H

#include "store.h"

#include <apr_dbd.h>

#define STORE_SCHEMA 5

/* How long a group of jobs waits for a database that another process keeps locked, or that is
 * away: longer than a predecessor's last commits or a restart of the server take. */
#define STORE_PATIENCE apr_time_from_sec(10)

/* Columns in the order in which the words read them. */
#define STORE_CHALLENGE_COLUMNS                                 \
    "endpoint, hash, state, username, peer, created, expires, " \
    "bound_subject, bound_names, bound_template, templates"
#define STORE_SINGLE_COLUMNS "endpoint, sealed, hash, username, peer, templates, created"
#define STORE_TRANSACTION_COLUMNS \
    "csr_hash, state, authority, serial, request_id, created, ends, bound"
#define STORE_CERTIFICATE_COLUMNS                                           \
    "authority, serial, subject, template_name, endpoint, transaction_id, " \
    "key_hash, not_before, not_after, issued, revoked, reason"
#define STORE_REQUEST_COLUMNS                                                           \
    "id, endpoint, authority, template_name, transaction_id, key_hash, csr_hash, "      \
    "transaction_text, subject, peer, message_type, state, reason, decided_by, serial," \
    " created, ends, decided, cookie, next_ask"
#define STORE_REQUEST_MORE ", csr, old_cert, challenged, answer" /* in no list */

/*
 * The prepared statements: X(name, SQL in apr_dbd's notation). Deletions name real keys in a
 * subselect because DELETE … LIMIT is SQLite's alone.
 */
#define STORE_STATEMENTS(X)  \
    STORE_CHALLENGE_SQL(X)   \
    STORE_SINGLE_SQL(X)      \
    STORE_TRANSACTION_SQL(X) \
    STORE_CERTIFICATE_SQL(X) \
    STORE_REQUEST_SQL(X)     \
    STORE_CRL_SQL(X)         \
    STORE_RA_SQL(X)          \
    STORE_LEASE_SQL(X)

#define STORE_CHALLENGE_SQL(X)                                                             \
    X(CHALLENGE_PUT, "INSERT INTO scep_challenge"                                          \
                     " (endpoint, hash, state, username, peer, created, expires,"          \
                     " bound_subject, bound_names, bound_template, templates)"             \
                     " VALUES (%s, %s, 'fresh', %s, %s, %lld, %lld, %s, %s, %s, %s)"       \
                     " ON CONFLICT DO NOTHING")                                            \
    X(CHALLENGE_FRESH, "SELECT bound_subject, bound_names, bound_template"                 \
                       " FROM scep_challenge WHERE endpoint = %s AND hash = %s"            \
                       " AND state = 'fresh' AND expires > %lld")                          \
    X(CHALLENGE_USE, "UPDATE scep_challenge SET state = 'used' WHERE endpoint = %s"        \
                     " AND hash = %s AND state = 'fresh' AND expires > %lld")              \
    X(CHALLENGE_GET, "SELECT " STORE_CHALLENGE_COLUMNS " FROM scep_challenge"              \
                     " WHERE endpoint = %s AND hash = %s")                                 \
    X(CHALLENGE_LIST, "SELECT " STORE_CHALLENGE_COLUMNS " FROM scep_challenge"             \
                      " WHERE (endpoint, hash) > (%s, %s)"                                 \
                      " ORDER BY endpoint, hash LIMIT %lld")                               \
    X(CHALLENGE_DROP, "DELETE FROM scep_challenge WHERE endpoint = %s AND hash = %s"       \
                      " AND state = 'fresh'")                                              \
    X(CHALLENGE_SWEEP, "DELETE FROM scep_challenge WHERE (endpoint, hash) IN"              \
                       " (SELECT endpoint, hash FROM scep_challenge WHERE endpoint = %s"   \
                       " AND state = %s AND expires <= %lld ORDER BY expires LIMIT %lld)") \
    X(CHALLENGE_CROWD, "SELECT expires FROM scep_challenge WHERE endpoint = %s"            \
                       " AND state = 'fresh' AND expires > %lld"                           \
                       " ORDER BY expires LIMIT 1 OFFSET %lld")                            \
    X(CHALLENGE_EXPIRED, "SELECT count(*) FROM (SELECT expires FROM scep_challenge"        \
                         " WHERE endpoint = %s AND state = 'fresh' AND expires <= %lld"    \
                         " LIMIT %lld) AS some_of_them")                                   \
    X(CHALLENGE_STANDING, "SELECT count(*) FROM scep_challenge WHERE endpoint = %s"        \
                          " AND state = 'fresh' AND expires > %lld")                       \
    X(UNUSED_GET, "SELECT unused FROM scep_endpoint WHERE name = %s")                      \
    X(UNUSED_ADD, "UPDATE scep_endpoint SET unused = unused + %lld WHERE name = %s")       \
    X(ENDPOINT_PUT, "INSERT INTO scep_endpoint (name, unused) VALUES (%s, 0)"              \
                    " ON CONFLICT DO NOTHING")                                             \
    X(ENDPOINT_LIST, "SELECT name FROM scep_endpoint ORDER BY name")

#define STORE_SINGLE_SQL(X)                                                                        \
    X(SINGLE_PUT, "INSERT INTO scep_single_password (" STORE_SINGLE_COLUMNS ")"                    \
                  " VALUES (%s, %s, %s, %s, %s, %s, %lld) ON CONFLICT DO NOTHING")                 \
    X(SINGLE_GET, "SELECT " STORE_SINGLE_COLUMNS " FROM scep_single_password WHERE endpoint = %s") \
    X(SINGLE_LIST, "SELECT " STORE_SINGLE_COLUMNS " FROM scep_single_password ORDER BY endpoint")  \
    X(SINGLE_DROP, "DELETE FROM scep_single_password WHERE endpoint = %s AND hash = %s")

/*
 * What holds a transactionID for a key is the transaction itself. One that holds nothing has a
 * STORE_PROVEN in front of its transaction_id, so that however many there are of these, they are
 * not read by who asks for the key. What version 3 recorded of a renewal may lack it
 * (store_schema.c), so both are looked up; a renewal's csr_hash is no other request's, and of the
 * two rows that an identity may have one has ended. A row that is written again holds as long as it
 * did, at least: what it says now may wait for a week only, or have been denied. No "bound" is what
 * a node of version 1 writes that was not stopped: then "ends" holds.
 */
#define STORE_PROVEN "~" /* in no base64 */
#define STORE_TRANSACTION_SQL(X)                                                                \
    X(BINDING_GET, "SELECT key_hash FROM scep_transaction WHERE endpoint = %s"                  \
                   " AND transaction_id = %s AND (bound > %lld OR ends > %lld) LIMIT 1")        \
    X(TRANSACTION_PUT, "INSERT INTO scep_transaction (endpoint, transaction_id, "               \
                       "key_hash, " STORE_TRANSACTION_COLUMNS ")"                               \
                       " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %lld, %lld, %lld)"             \
                       " ON CONFLICT (endpoint, transaction_id, key_hash, csr_hash)"            \
                       " DO UPDATE SET state = excluded.state, authority = excluded.authority," \
                       " serial = excluded.serial, request_id = excluded.request_id,"           \
                       " created = excluded.created, ends = excluded.ends,"                     \
                       " bound = CASE WHEN scep_transaction.bound > excluded.bound"             \
                       " THEN scep_transaction.bound ELSE excluded.bound END"                   \
                       " WHERE scep_transaction.ends <= excluded.created")                      \
    X(TRANSACTION_GET, "SELECT " STORE_TRANSACTION_COLUMNS " FROM scep_transaction"             \
                       " WHERE endpoint = %s AND transaction_id IN (%s, %s) AND key_hash = %s"  \
                       " AND csr_hash = %s AND ends > %lld")                                    \
    X(TRANSACTION_NEWEST, "SELECT " STORE_TRANSACTION_COLUMNS " FROM scep_transaction"          \
                          " WHERE endpoint = %s AND transaction_id IN (%s, %s)"                 \
                          " AND key_hash = %s"                                                  \
                          " AND (ends > %lld OR (bound > %lld AND state = 'issued'))"           \
                          " ORDER BY created DESC, state DESC, csr_hash LIMIT 1")               \
    X(TRANSACTION_DECIDE,                                                                       \
      "UPDATE scep_transaction SET state = %s, authority = %s, serial = %s,"                    \
      " ends = %lld, bound = CASE WHEN bound > %lld THEN bound ELSE %lld END"                   \
      " WHERE endpoint = %s AND transaction_id IN (%s, %s)"                                     \
      " AND key_hash = %s AND csr_hash = %s AND request_id = %s AND state = 'pending'")         \
    X(TRANSACTION_SWEEP,                                                                        \
      "DELETE FROM scep_transaction"                                                            \
      " WHERE (endpoint, transaction_id, key_hash, csr_hash) IN"                                \
      " (SELECT endpoint, transaction_id, key_hash, csr_hash FROM scep_transaction"             \
      " WHERE bound < %lld AND ends < %lld ORDER BY bound LIMIT %lld)")

/* Of a serial number: looked up at one authority after the other, as an index by serial numbers
 * alone costs every enrolment a page. */
#define STORE_CERTIFICATE_SQL(X)                                                                \
    X(CERTIFICATE_PUT, "INSERT INTO scep_certificate (" STORE_CERTIFICATE_COLUMNS ", der)"      \
                       " VALUES (%s, %s, %s, %s, %s, %s, %s, %lld, %lld, %lld, %lld, %lld, %s)" \
                       " ON CONFLICT DO NOTHING")                                               \
    X(CERTIFICATE_GET, "SELECT " STORE_CERTIFICATE_COLUMNS ", der FROM scep_certificate"        \
                       " WHERE authority = %s AND serial = %s")                                 \
    X(CERTIFICATE_OF_SERIAL,                                                                    \
      "WITH RECURSIVE named (name) AS (SELECT min(authority) FROM scep_certificate UNION"       \
      " SELECT (SELECT min(authority) FROM scep_certificate WHERE authority > named.name)"      \
      " FROM named WHERE named.name IS NOT NULL)"                                               \
      " SELECT " STORE_CERTIFICATE_COLUMNS ", der FROM named JOIN scep_certificate"             \
      " ON authority = named.name WHERE serial = %s ORDER BY authority")                        \
    X(CERTIFICATE_LIST,                                                                         \
      "SELECT " STORE_CERTIFICATE_COLUMNS " FROM scep_certificate"                              \
      " WHERE (authority, serial) > (%s, %s) ORDER BY authority, serial LIMIT %lld")            \
    X(CERTIFICATE_REVOKE, "UPDATE scep_certificate SET revoked = %lld, reason = %lld"           \
                          " WHERE authority = %s AND serial = %s AND revoked = 0")              \
    X(CERTIFICATE_REVOKED,                                                                      \
      "SELECT serial, revoked, reason, not_after FROM scep_certificate"                         \
      " WHERE authority = %s AND (not_after, serial) > (%lld, %s) AND revoked > 0"              \
      " ORDER BY not_after, serial LIMIT %lld")                                                 \
    X(CERTIFICATE_COUNT, "SELECT count(*) FROM scep_certificate")

/*
 * Who is undecided has "decided" 0: those count, with the partial indexes. Whom the CA is to be
 * asked about has a next_ask, which is also the claim of whoever asks.
 */
#define STORE_REQUEST_SQL(X)                                                                       \
    X(REQUEST_PUT, "INSERT INTO scep_request (" STORE_REQUEST_COLUMNS STORE_REQUEST_MORE ")"       \
                   " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %lld, %s, %s, %s, %s, %lld,"  \
                   " %lld, %lld, %s, %lld, %s, %s, %lld, %s) ON CONFLICT DO NOTHING")              \
    X(REQUEST_GET,                                                                                 \
      "SELECT " STORE_REQUEST_COLUMNS STORE_REQUEST_MORE " FROM scep_request WHERE id = %s")       \
    X(REQUEST_TURN,                                                                                \
      "UPDATE scep_request SET state = %s, reason = %s, decided_by = %s,"                          \
      " serial = %s, decided = %lld, ends = %lld, cookie = %s, next_ask = %lld, answer = %s"       \
      " WHERE id = %s AND state = %s AND next_ask = %lld AND decided = 0 AND ends > %lld")         \
    X(REQUEST_DUE, "SELECT id FROM scep_request WHERE authority = %s AND next_ask > 0"             \
                   " AND next_ask <= %lld AND ends > %lld ORDER BY next_ask LIMIT %lld")           \
    X(REQUEST_WAITING, "SELECT (SELECT count(*) FROM scep_request WHERE endpoint = %s"             \
                       " AND decided = 0 AND ends > %lld),"                                        \
                       " (SELECT count(*) FROM scep_request WHERE endpoint = %s AND key_hash = %s" \
                       " AND decided = 0 AND ends > %lld),"                                        \
                       " (SELECT count(*) FROM scep_request WHERE endpoint = %s AND peer = %s"     \
                       " AND decided = 0 AND ends > %lld)")                                        \
    X(REQUEST_LIST, "SELECT " STORE_REQUEST_COLUMNS " FROM scep_request WHERE id > %s"             \
                    " ORDER BY id LIMIT %lld")                                                     \
    X(REQUEST_LIST_STATE, "SELECT " STORE_REQUEST_COLUMNS " FROM scep_request"                     \
                          " WHERE state = %s AND id > %s ORDER BY id LIMIT %lld")                  \
    X(REQUEST_EXPIRE, "UPDATE scep_request SET state = 'expired', decided = ends, next_ask = 0"    \
                      " WHERE id IN (SELECT id FROM scep_request WHERE state = %s"                 \
                      " AND ends <= %lld ORDER BY ends LIMIT %lld)")                               \
    X(REQUEST_FORGET, "DELETE FROM scep_request WHERE id IN"                                       \
                      " (SELECT id FROM scep_request WHERE state = %s"                             \
                      " AND ends < %lld ORDER BY ends LIMIT %lld)")

#define STORE_CRL_SQL(X)                                                                    \
    X(CRL_WANT, "INSERT INTO scep_crl (authority, wanted, holds, crl_number, this_update,"  \
                " next_update, der) VALUES (%s, 1, 0, 0, 0, 0, '') ON CONFLICT (authority)" \
                " DO UPDATE SET wanted = scep_crl.wanted + 1")                              \
    X(CRL_GET, "SELECT wanted, holds, crl_number, this_update, next_update, der"            \
               " FROM scep_crl WHERE authority = %s")                                       \
    X(CRL_HEAD, "SELECT wanted, holds, crl_number, this_update, next_update"                \
                " FROM scep_crl WHERE authority = %s")                                      \
    X(CRL_FIRST, "INSERT INTO scep_crl (authority, wanted, holds, crl_number, this_update," \
                 " next_update, der) VALUES (%s, %lld, %lld, %lld, %lld, %lld, %s)"         \
                 " ON CONFLICT DO NOTHING")                                                 \
    X(CRL_NEXT, "UPDATE scep_crl SET holds = %lld, crl_number = %lld, this_update = %lld,"  \
                " next_update = %lld, der = %s WHERE authority = %s AND crl_number = %lld")

#define STORE_RA_SQL(X)                                                                           \
    X(RA_PUT, "INSERT INTO scep_ra (authority, id, sign_cert, sign_key, decrypt_cert,"            \
              " decrypt_key, created, ends) VALUES (%s, %s, %s, %s, %s, %s, %lld, %lld)"          \
              " ON CONFLICT DO NOTHING")                                                          \
    X(RA_LIST, "SELECT id, sign_cert, sign_key, decrypt_cert, decrypt_key, created, ends"         \
               " FROM scep_ra WHERE authority = %s AND ends > %lld ORDER BY created DESC, id")    \
    X(RA_SWEEP, "DELETE FROM scep_ra WHERE (authority, id) IN (SELECT authority, id FROM scep_ra" \
                " WHERE ends < %lld ORDER BY ends LIMIT %lld)")

#define STORE_LEASE_SQL(X)                                                               \
    X(LEASE_TAKE,                                                                        \
      "INSERT INTO scep_lease (name, holder, ends) VALUES (%s, %s, %lld)"                \
      " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends = excluded.ends" \
      " WHERE scep_lease.holder = excluded.holder OR scep_lease.ends <= %lld")

typedef enum store_statement {
#define X(name, sql) STORE_##name,
    STORE_STATEMENTS(X)
#undef X
        STORE_STATEMENT_COUNT
} store_statement;

/*
 * One handle. The first failure of the driver sticks: everything after it fails too, without
 * asking the database, and the handle is thrown away.
 */
typedef struct store_conn {
    apr_pool_t *pool; /* lives and dies with the handle; queries never allocate from it */
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_dbd_prepared_t *statement[STORE_STATEMENT_COUNT];
    const char *begin, *commit; /* the words that open a transaction and end it */
    const char *begin_reading;  /* one that only reads; COMMIT ends it */
    bool broken;
    char why[256]; /* where broken: one printable line */
} store_conn;

struct store_tx {
    store_conn *conn;
    apr_pool_t *pool;    /* the caller's: results and errors */
    apr_pool_t *scratch; /* the group's: what the driver needs */
    bool reads;          /* it may not write */
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

/** The one cell that @a sql selects. @return false: it failed, or there is not one row; does not
 *  break the handle, as the caller knows what that means */
SCEP_MUST bool store_conn_text(store_conn *c, const char *sql, const char **out, apr_pool_t *p);

/**
 * See that the schema is there and of this version: made, or brought up from an older one, in one
 * transaction. Other nodes may do the same at the same time.
 * @return NULL, or CONFIG: it failed (the handle is broken: another try may find it done), or the
 *         schema is of a newer version
 */
SCEP_MUST const scep_err *store_schema_ready(store_conn *c, apr_pool_t *p);

/* For the words: arguments in apr_dbd's binary form (texts, and pointers to apr_int64_t), a
 * statement that changes rows, one that selects them. */
#define STORE_ARGS(...) \
    (const void *[])    \
    {                   \
        __VA_ARGS__     \
    }
SCEP_MUST const scep_err *store_change(store_tx *tx, store_statement which, const void **args,
                                       int *rows);
/** @param cells of const char *, row after row, in the caller's pool */
SCEP_MUST const scep_err *store_look(store_tx *tx, store_statement which, const void **args,
                                     int columns, apr_array_header_t **cells);
/** Columns are NOT NULL: what is unknown is empty. */
const char *store_text(const char *value);

/** For the store's test: how many jobs wait for the next group. */
int store_waiting(store *s);

/** For the store's test: another patience than STORE_PATIENCE. */
void store_patience_set(store *s, apr_interval_time_t patience);

#endif
