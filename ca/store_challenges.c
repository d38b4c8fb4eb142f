/* The words of the store for what is shown and taken back of challenges, and for single
 * passwords. */
#include "store_int.h"

#include <apr_strings.h>
#include <string.h>

#define CHALLENGE_COLUMNS 11
#define SINGLE_COLUMNS 7

/* As many that expired and are not swept yet are counted; where a roll-out has left more, what
 * stands is likely less. */
#define FEW 1000

static const char *cell(const apr_array_header_t *cells, int i)
{
    return APR_ARRAY_IDX(cells, i, const char *);
}

static apr_array_header_t *challenges(const apr_array_header_t *cells, apr_pool_t *p)
{
    apr_array_header_t *rows =
        apr_array_make(p, cells->nelts / CHALLENGE_COLUMNS, sizeof(store_challenge));

    for (int i = 0; i < cells->nelts; i += CHALLENGE_COLUMNS) {
        store_challenge *c = apr_array_push(rows);

        *c = (store_challenge){
            .endpoint = cell(cells, i),
            .hash = cell(cells, i + 1),
            .fresh = !strcmp(cell(cells, i + 2), "fresh"),
            .user = cell(cells, i + 3),
            .peer = cell(cells, i + 4),
            .created = apr_atoi64(cell(cells, i + 5)),
            .expires = apr_atoi64(cell(cells, i + 6)),
            .bound_subject = cell(cells, i + 7),
            .bound_names = cell(cells, i + 8),
            .bound_template = cell(cells, i + 9),
            .templates = cell(cells, i + 10),
        };
    }
    return rows;
}

const scep_err *store_challenge_get(store_tx *tx, const char *endpoint, const char *hash,
                                    const store_challenge **found)
{
    apr_array_header_t *cells, *rows;

    SCEP_TRY(
        store_look(tx, STORE_CHALLENGE_GET, STORE_ARGS(endpoint, hash), CHALLENGE_COLUMNS, &cells));
    rows = challenges(cells, tx->pool);
    *found = rows->nelts ? &APR_ARRAY_IDX(rows, 0, store_challenge) : NULL;
    return NULL;
}

const scep_err *store_challenge_list(store_tx *tx, const char *endpoint, const char *hash, int most,
                                     apr_array_header_t **rows)
{
    apr_int64_t limit = most;
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_CHALLENGE_LIST, STORE_ARGS(endpoint, hash, &limit),
                        CHALLENGE_COLUMNS, &cells));
    *rows = challenges(cells, tx->pool);
    return NULL;
}

const scep_err *store_challenge_drop(store_tx *tx, const char *endpoint, const char *hash,
                                     bool *done)
{
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_CHALLENGE_DROP, STORE_ARGS(endpoint, hash), &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_challenge_crowd(store_tx *tx, const char *endpoint, apr_int64_t now,
                                      apr_int64_t most, bool *crowd)
{
    apr_int64_t before = most - 1;
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_CHALLENGE_CROWD, STORE_ARGS(endpoint, &now, &before), 1, &cells));
    *crowd = cells->nelts > 0;
    return NULL;
}

const scep_err *store_challenge_count(store_tx *tx, const char *endpoint, apr_int64_t now,
                                      apr_int64_t *count)
{
    const apr_int64_t few = FEW;
    apr_int64_t unused, expired;
    apr_array_header_t *cells;

    SCEP_TRY(store_unused_get(tx, endpoint, &unused));
    SCEP_TRY(store_look(tx, STORE_CHALLENGE_EXPIRED, STORE_ARGS(endpoint, &now, &few), 1, &cells));
    expired = apr_atoi64(cell(cells, 0));
    *count = unused - expired;
    if (expired < few)
        return NULL;
    SCEP_TRY(store_look(tx, STORE_CHALLENGE_STANDING, STORE_ARGS(endpoint, &now), 1, &cells));
    *count = apr_atoi64(cell(cells, 0));
    return NULL;
}

/* ---- single passwords ---- */

const scep_err *store_single_put(store_tx *tx, const store_single *s, bool *done)
{
    const char *sealed = scep_base64(tx->scratch, s->sealed);
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_SINGLE_PUT,
                          STORE_ARGS(s->endpoint, sealed, s->hash, store_text(s->user),
                                     store_text(s->peer), store_text(s->templates), &s->created),
                          &rows));
    *done = rows == 1;
    return NULL;
}

static store_single *single(const apr_array_header_t *cells, int i, store_single *s)
{
    *s = (store_single){
        .endpoint = cell(cells, i),
        .hash = cell(cells, i + 2),
        .user = cell(cells, i + 3),
        .peer = cell(cells, i + 4),
        .templates = cell(cells, i + 5),
        .created = apr_atoi64(cell(cells, i + 6)),
    };
    return s;
}

const scep_err *store_single_get(store_tx *tx, const char *endpoint, const store_single **found)
{
    apr_array_header_t *cells;
    store_single *s;

    *found = NULL;
    SCEP_TRY(store_look(tx, STORE_SINGLE_GET, STORE_ARGS(endpoint), SINGLE_COLUMNS, &cells));
    if (!cells->nelts)
        return NULL;
    s = single(cells, 0, apr_palloc(tx->pool, sizeof(*s)));
    SCEP_TRY(scep_unbase64(&s->sealed, cell(cells, 1), tx->pool));
    *found = s;
    return NULL;
}

const scep_err *store_single_list(store_tx *tx, apr_array_header_t **rows)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_SINGLE_LIST, STORE_ARGS(NULL), SINGLE_COLUMNS, &cells));
    *rows = apr_array_make(tx->pool, cells->nelts / SINGLE_COLUMNS, sizeof(store_single));
    for (int i = 0; i < cells->nelts; i += SINGLE_COLUMNS)
        (void)single(cells, i, apr_array_push(*rows));
    return NULL;
}

const scep_err *store_single_drop(store_tx *tx, const char *endpoint, const char *hash, bool *done)
{
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_SINGLE_DROP, STORE_ARGS(endpoint, hash), &rows));
    *done = rows == 1;
    return NULL;
}
