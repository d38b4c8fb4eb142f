/* The words of the store for what every enrolment does, and for certificates: each one statement
 * or two, judged by the number of rows affected. */
#include "store_int.h"

#include <apr_strings.h>

const char *store_text(const char *value)
{
    return value ? value : "";
}

static const scep_err *unavailable(store_tx *tx)
{
    return scep_fail(tx->pool, UNAVAILABLE, "the database failed: %s", tx->conn->why);
}

const scep_err *store_change(store_tx *tx, store_statement which, const void **args, int *rows)
{
    store_conn *c = tx->conn;
    int code;

    if (tx->reads)
        return scep_fail(tx->pool, INTERNAL, "a job that was said to read would write");
    if (c->broken)
        return unavailable(tx);
    code = apr_dbd_pbquery(c->driver, tx->scratch, c->handle, rows, c->statement[which], args);
    if (code) {
        store_conn_fault(c, code, tx->scratch);
        return unavailable(tx);
    }
    return NULL;
}

const scep_err *store_look(store_tx *tx, store_statement which, const void **args, int columns,
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

    SCEP_TRY(store_change(tx, STORE_CHALLENGE_PUT,
                          STORE_ARGS(c->endpoint, c->hash, store_text(c->user), store_text(c->peer),
                                     &c->created, &c->expires, store_text(c->bound_subject),
                                     store_text(c->bound_names), store_text(c->bound_template),
                                     store_text(c->templates)),
                          &rows));
    return rows == 1 ? NULL : scep_fail(tx->pool, UNAVAILABLE, "this challenge exists already");
}

const scep_err *store_challenge_fresh(store_tx *tx, const char *endpoint, const char *hash,
                                      apr_int64_t now, const store_challenge **found)
{
    apr_array_header_t *cells;
    store_challenge *c;

    *found = NULL;
    SCEP_TRY(store_look(tx, STORE_CHALLENGE_FRESH, STORE_ARGS(endpoint, hash, &now), 3, &cells));
    if (!cells->nelts)
        return NULL;
    c = apr_pcalloc(tx->pool, sizeof(*c));
    c->bound_subject = cell(cells, 0);
    c->bound_names = cell(cells, 1);
    c->bound_template = cell(cells, 2);
    *found = c;
    return NULL;
}

const scep_err *store_challenge_use(store_tx *tx, const char *endpoint, const char *hash,
                                    apr_int64_t now, bool *done)
{
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_CHALLENGE_USE, STORE_ARGS(endpoint, hash, &now), &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_challenge_sweep(store_tx *tx, const char *endpoint, apr_int64_t now, int most,
                                      int *unused, int *removed)
{
    apr_int64_t limit = most;
    int used = 0;

    *unused = 0;
    SCEP_TRY(store_change(tx, STORE_CHALLENGE_SWEEP, STORE_ARGS(endpoint, "fresh", &now, &limit),
                          unused));
    limit -= *unused;
    SCEP_TRY(
        store_change(tx, STORE_CHALLENGE_SWEEP, STORE_ARGS(endpoint, "used", &now, &limit), &used));
    *removed = *unused + used;
    return NULL;
}

const scep_err *store_unused_get(store_tx *tx, const char *endpoint, apr_int64_t *count)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_UNUSED_GET, STORE_ARGS(endpoint), 1, &cells));
    *count = cells->nelts ? apr_atoi64(cell(cells, 0)) : 0;
    return NULL;
}

const scep_err *store_unused_add(store_tx *tx, const char *endpoint, int delta)
{
    apr_int64_t wide = delta;
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_UNUSED_ADD, STORE_ARGS(&wide, endpoint), &rows));
    if (rows == 1)
        return NULL;
    SCEP_TRY(store_change(tx, STORE_ENDPOINT_PUT, STORE_ARGS(endpoint), &rows));
    SCEP_TRY(store_change(tx, STORE_UNUSED_ADD, STORE_ARGS(&wide, endpoint), &rows));
    return rows == 1 ? NULL : scep_fail(tx->pool, UNAVAILABLE, "endpoint has no row");
}

const scep_err *store_endpoints(store_tx *tx, apr_array_header_t **names)
{
    return store_look(tx, STORE_ENDPOINT_LIST, STORE_ARGS(NULL), 1, names);
}

/* As it stands in its row. */
static const char *row_id(const store_tx *tx, const store_transaction *t)
{
    return t->proven ? apr_pstrcat(tx->scratch, STORE_PROVEN, t->transaction, NULL)
                     : t->transaction;
}

const scep_err *store_binding_get(store_tx *tx, const store_transaction *key, const char **bound)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_BINDING_GET,
                        STORE_ARGS(key->endpoint, key->transaction, &key->created, &key->created),
                        1, &cells));
    *bound = cell(cells, 0);
    return NULL;
}

const scep_err *store_transaction_put(store_tx *tx, const store_transaction *t, bool *done)
{
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_TRANSACTION_PUT,
                          STORE_ARGS(t->endpoint, row_id(tx, t), t->key_hash, t->csr_hash, t->state,
                                     store_text(t->authority), store_text(t->serial),
                                     store_text(t->request), &t->created, &t->ends, &t->bound),
                          &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_transaction_get(store_tx *tx, const store_transaction *key,
                                      const store_transaction **found)
{
    const char *proven = apr_pstrcat(tx->scratch, STORE_PROVEN, key->transaction, NULL);
    const apr_int64_t *now = &key->created;
    apr_array_header_t *cells;
    store_transaction *t;

    *found = NULL;
    if (key->csr_hash)
        SCEP_TRY(store_look(tx, STORE_TRANSACTION_GET,
                            STORE_ARGS(key->endpoint, row_id(tx, key), key->transaction,
                                       key->key_hash, key->csr_hash, now),
                            8, &cells));
    else
        SCEP_TRY(
            store_look(tx, STORE_TRANSACTION_NEWEST,
                       STORE_ARGS(key->endpoint, key->transaction, proven, key->key_hash, now, now),
                       8, &cells));
    if (!cells->nelts)
        return NULL;
    t = apr_pmemdup(tx->pool, key, sizeof(*key));
    t->csr_hash = cell(cells, 0);
    t->state = cell(cells, 1);
    t->authority = cell(cells, 2);
    t->serial = cell(cells, 3);
    t->request = cell(cells, 4);
    t->created = apr_atoi64(cell(cells, 5));
    t->ends = apr_atoi64(cell(cells, 6));
    t->bound = apr_atoi64(cell(cells, 7));
    *found = t;
    return NULL;
}

const scep_err *store_transaction_decide(store_tx *tx, const store_transaction *t, bool *done)
{
    int rows = 0;

    SCEP_TRY(
        store_change(tx, STORE_TRANSACTION_DECIDE,
                     STORE_ARGS(t->state, store_text(t->authority), store_text(t->serial), &t->ends,
                                &t->bound, &t->bound, t->endpoint, row_id(tx, t), t->transaction,
                                t->key_hash, t->csr_hash, store_text(t->request)),
                     &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_transaction_sweep(store_tx *tx, apr_int64_t before, int most, int *removed)
{
    apr_int64_t limit = most;

    return store_change(tx, STORE_TRANSACTION_SWEEP, STORE_ARGS(&before, &before, &limit), removed);
}

const scep_err *store_certificate_put(store_tx *tx, const store_certificate *c, bool *done)
{
    const char *der = scep_base64(tx->scratch, c->der);
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_CERTIFICATE_PUT,
                          STORE_ARGS(c->authority, c->serial, store_text(c->subject),
                                     store_text(c->template_name), c->endpoint, c->transaction,
                                     c->key_hash, &c->not_before, &c->not_after, &c->issued,
                                     &c->revoked, &c->reason, der),
                          &rows));
    *done = rows == 1;
    return NULL;
}

#define CERTIFICATE_COLUMNS 12

/* Rows of STORE_CERTIFICATE_COLUMNS, and of the certificate itself @a with_der. */
static const scep_err *certificates(apr_array_header_t **rows, const apr_array_header_t *cells,
                                    bool with_der, apr_pool_t *p)
{
    int columns = CERTIFICATE_COLUMNS + with_der;

    *rows = apr_array_make(p, cells->nelts / columns, sizeof(store_certificate));
    for (int i = 0; i < cells->nelts; i += columns) {
        store_certificate *c = apr_array_push(*rows);

        *c = (store_certificate){
            .authority = cell(cells, i),
            .serial = cell(cells, i + 1),
            .subject = cell(cells, i + 2),
            .template_name = cell(cells, i + 3),
            .endpoint = cell(cells, i + 4),
            .transaction = cell(cells, i + 5),
            .key_hash = cell(cells, i + 6),
            .not_before = apr_atoi64(cell(cells, i + 7)),
            .not_after = apr_atoi64(cell(cells, i + 8)),
            .issued = apr_atoi64(cell(cells, i + 9)),
            .revoked = apr_atoi64(cell(cells, i + 10)),
            .reason = apr_atoi64(cell(cells, i + 11)),
        };
        if (with_der)
            SCEP_TRY(scep_unbase64(&c->der, cell(cells, i + CERTIFICATE_COLUMNS), p));
    }
    return NULL;
}

const scep_err *store_certificate_get(store_tx *tx, const char *authority, const char *serial,
                                      const store_certificate **found)
{
    apr_array_header_t *cells, *rows;

    SCEP_TRY(store_look(tx, STORE_CERTIFICATE_GET, STORE_ARGS(authority, serial),
                        CERTIFICATE_COLUMNS + 1, &cells));
    SCEP_TRY(certificates(&rows, cells, true, tx->pool));
    *found = rows->nelts ? &APR_ARRAY_IDX(rows, 0, store_certificate) : NULL;
    return NULL;
}

const scep_err *store_certificate_of_serial(store_tx *tx, const char *serial,
                                            apr_array_header_t **rows)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_CERTIFICATE_OF_SERIAL, STORE_ARGS(serial),
                        CERTIFICATE_COLUMNS + 1, &cells));
    return certificates(rows, cells, true, tx->pool);
}

const scep_err *store_certificate_list(store_tx *tx, const char *authority, const char *serial,
                                       int most, apr_array_header_t **rows)
{
    apr_int64_t limit = most;
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_CERTIFICATE_LIST, STORE_ARGS(authority, serial, &limit),
                        CERTIFICATE_COLUMNS, &cells));
    return certificates(rows, cells, false, tx->pool);
}

const scep_err *store_certificate_revoke(store_tx *tx, const char *authority, const char *serial,
                                         apr_int64_t now, int reason, bool *done)
{
    apr_int64_t wide = reason;
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_CERTIFICATE_REVOKE, STORE_ARGS(&now, &wide, authority, serial),
                          &rows));
    *done = rows == 1;
    return *done ? store_change(tx, STORE_CRL_WANT, STORE_ARGS(authority), &rows) : NULL;
}

const scep_err *store_certificate_revoked(store_tx *tx, const char *authority,
                                          apr_int64_t not_after, const char *serial, int most,
                                          apr_array_header_t **rows)
{
    apr_int64_t limit = most;
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_CERTIFICATE_REVOKED,
                        STORE_ARGS(authority, &not_after, serial, &limit), 4, &cells));
    *rows = apr_array_make(tx->pool, cells->nelts / 4, sizeof(store_certificate));
    for (int i = 0; i < cells->nelts; i += 4) {
        store_certificate *c = apr_array_push(*rows);

        *c = (store_certificate){ .serial = cell(cells, i),
                                  .revoked = apr_atoi64(cell(cells, i + 1)),
                                  .reason = apr_atoi64(cell(cells, i + 2)),
                                  .not_after = apr_atoi64(cell(cells, i + 3)) };
    }
    return NULL;
}

const scep_err *store_certificate_count(store_tx *tx, apr_int64_t *count)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_CERTIFICATE_COUNT, STORE_ARGS(NULL), 1, &cells));
    *count = cells->nelts ? apr_atoi64(cell(cells, 0)) : 0;
    return NULL;
}
