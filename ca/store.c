/* The words of the store: each one statement or two, judged by the number of rows affected. */
#include "store_int.h"

#include <apr_strings.h>

/* Arguments in apr_dbd's binary form: texts, and pointers to apr_int64_t. */
#define ARGS(...)    \
    (const void *[]) \
    {                \
        __VA_ARGS__  \
    }

/* Columns are NOT NULL: what is unknown is empty. */
static const char *text(const char *value)
{
    return value ? value : "";
}

static const scep_err *unavailable(store_tx *tx)
{
    return scep_fail(tx->pool, UNAVAILABLE, "the database failed: %s", tx->conn->why);
}

static const scep_err *change(store_tx *tx, store_statement which, const void **args, int *rows)
{
    store_conn *c = tx->conn;
    int code;

    if (c->broken)
        return unavailable(tx);
    code = apr_dbd_pbquery(c->driver, tx->scratch, c->handle, rows, c->statement[which], args);
    if (code) {
        store_conn_fault(c, code, tx->scratch);
        return unavailable(tx);
    }
    return NULL;
}

/* @param cells of const char *, row after row, in the caller's pool */
static const scep_err *look(store_tx *tx, store_statement which, const void **args, int columns,
                            apr_array_header_t **cells)
{
    apr_dbd_results_t *results = NULL;
    store_conn *c = tx->conn;
    int code;

    if (c->broken)
        return unavailable(tx);
    *cells = apr_array_make(tx->pool, columns, sizeof(const char *));
    /* random access: the driver of PostgreSQL tells of a failure at once only then */
    code =
        apr_dbd_pbselect(c->driver, tx->scratch, c->handle, &results, c->statement[which], 1, args);
    if (code || !store_conn_cells(c, results, columns, *cells, tx->scratch)) {
        store_conn_fault(c, code, tx->scratch);
        return unavailable(tx);
    }
    return NULL;
}

static const char *cell(const apr_array_header_t *cells, int i)
{
    return i < cells->nelts ? APR_ARRAY_IDX(cells, i, const char *) : NULL;
}

apr_pool_t *store_tx_pool(store_tx *tx)
{
    return tx->pool;
}

const scep_err *store_challenge_put(store_tx *tx, const store_challenge *c)
{
    int rows = 0;

    SCEP_TRY(change(
        tx, STORE_CHALLENGE_PUT,
        ARGS(c->endpoint, c->hash, text(c->user), text(c->peer), &c->created, &c->expires), &rows));
    return rows == 1 ? NULL : scep_fail(tx->pool, UNAVAILABLE, "this challenge exists already");
}

const scep_err *store_challenge_is_fresh(store_tx *tx, const char *endpoint, const char *hash,
                                         apr_int64_t now, bool *fresh)
{
    apr_array_header_t *cells;

    SCEP_TRY(look(tx, STORE_CHALLENGE_FRESH, ARGS(endpoint, hash, &now), 1, &cells));
    *fresh = cells->nelts == 1;
    return NULL;
}

const scep_err *store_challenge_use(store_tx *tx, const char *endpoint, const char *hash,
                                    apr_int64_t now, bool *done)
{
    int rows = 0;

    SCEP_TRY(change(tx, STORE_CHALLENGE_USE, ARGS(endpoint, hash, &now), &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_challenge_sweep(store_tx *tx, const char *endpoint, apr_int64_t now, int most,
                                      int *unused)
{
    apr_int64_t limit = most;
    int used = 0;

    *unused = 0;
    SCEP_TRY(change(tx, STORE_CHALLENGE_SWEEP, ARGS(endpoint, "fresh", &now, &limit), unused));
    limit -= *unused;
    return change(tx, STORE_CHALLENGE_SWEEP, ARGS(endpoint, "used", &now, &limit), &used);
}

const scep_err *store_unused_get(store_tx *tx, const char *endpoint, apr_int64_t *count)
{
    apr_array_header_t *cells;

    SCEP_TRY(look(tx, STORE_UNUSED_GET, ARGS(endpoint), 1, &cells));
    *count = cells->nelts ? apr_atoi64(cell(cells, 0)) : 0;
    return NULL;
}

const scep_err *store_unused_add(store_tx *tx, const char *endpoint, int delta)
{
    apr_int64_t wide = delta;
    int rows = 0;

    SCEP_TRY(change(tx, STORE_UNUSED_ADD, ARGS(&wide, endpoint), &rows));
    if (rows == 1)
        return NULL;
    SCEP_TRY(change(tx, STORE_ENDPOINT_PUT, ARGS(endpoint), &rows));
    SCEP_TRY(change(tx, STORE_UNUSED_ADD, ARGS(&wide, endpoint), &rows));
    return rows == 1 ? NULL : scep_fail(tx->pool, UNAVAILABLE, "endpoint has no row");
}

const scep_err *store_endpoints(store_tx *tx, apr_array_header_t **names)
{
    return look(tx, STORE_ENDPOINT_LIST, ARGS(NULL), 1, names);
}

const scep_err *store_binding_put(store_tx *tx, const store_transaction *t, const char **bound)
{
    int rows = 0;

    SCEP_TRY(change(tx, STORE_BINDING_PUT,
                    ARGS(t->endpoint, t->transaction, t->key_hash, &t->ends, &t->created), &rows));
    *bound = t->key_hash;
    if (rows == 1)
        return NULL;
    SCEP_TRY(change(tx, STORE_BINDING_EXTEND,
                    ARGS(&t->ends, t->endpoint, t->transaction, t->key_hash, &t->ends), &rows));
    SCEP_TRY(store_binding_get(tx, t, bound));
    return *bound ? NULL : scep_fail(tx->pool, UNAVAILABLE, "another node removed the binding");
}

const scep_err *store_binding_get(store_tx *tx, const store_transaction *key, const char **bound)
{
    apr_array_header_t *cells;

    SCEP_TRY(look(tx, STORE_BINDING_GET, ARGS(key->endpoint, key->transaction, &key->created), 1,
                  &cells));
    *bound = cell(cells, 0);
    return NULL;
}

const scep_err *store_transaction_put(store_tx *tx, const store_transaction *t, bool *done)
{
    int rows = 0;

    SCEP_TRY(change(tx, STORE_TRANSACTION_PUT,
                    ARGS(t->endpoint, t->transaction, t->key_hash, t->csr_hash, t->authority,
                         t->serial, &t->created, &t->ends),
                    &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_transaction_get(store_tx *tx, const store_transaction *key,
                                      const char **authority, const char **serial)
{
    apr_array_header_t *cells;

    SCEP_TRY(
        look(tx, STORE_TRANSACTION_GET,
             ARGS(key->endpoint, key->transaction, key->key_hash, key->csr_hash, &key->created), 2,
             &cells));
    *authority = cell(cells, 0);
    *serial = cell(cells, 1);
    return NULL;
}

const scep_err *store_transaction_sweep(store_tx *tx, apr_int64_t before, int most, int *removed)
{
    apr_int64_t limit = most;
    int bindings = 0;

    *removed = 0;
    SCEP_TRY(change(tx, STORE_TRANSACTION_SWEEP, ARGS(&before, &limit), removed));
    limit -= *removed;
    SCEP_TRY(change(tx, STORE_BINDING_SWEEP, ARGS(&before, &limit), &bindings));
    *removed += bindings;
    return NULL;
}

const scep_err *store_certificate_put(store_tx *tx, const store_certificate *c, bool *done)
{
    const char *der = scep_base64(tx->scratch, c->der);
    int rows = 0;

    SCEP_TRY(
        change(tx, STORE_CERTIFICATE_PUT,
               ARGS(c->authority, c->serial, text(c->subject), text(c->template_name), c->endpoint,
                    c->transaction, c->key_hash, der, &c->not_before, &c->not_after, &c->issued),
               &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_certificate_get(store_tx *tx, const char *authority, const char *serial,
                                      scep_bytes *der)
{
    apr_array_header_t *cells;

    *der = (scep_bytes){ NULL, 0 };
    SCEP_TRY(look(tx, STORE_CERTIFICATE_GET, ARGS(authority, serial), 1, &cells));
    return cells->nelts ? scep_unbase64(der, cell(cells, 0), tx->pool) : NULL;
}

const scep_err *store_certificate_count(store_tx *tx, apr_int64_t *count)
{
    apr_array_header_t *cells;

    SCEP_TRY(look(tx, STORE_CERTIFICATE_COUNT, ARGS(NULL), 1, &cells));
    *count = cells->nelts ? apr_atoi64(cell(cells, 0)) : 0;
    return NULL;
}
