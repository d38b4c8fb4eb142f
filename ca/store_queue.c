/* The words of the store for what is rare beside enrolments: requests that wait, CRLs, RAs, and
 * leases. */
#include "store_int.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_COLUMNS 20
#define REQUEST_MORE 4
#define RA_COLUMNS 7

static const char *cell(const apr_array_header_t *cells, int i)
{
    return APR_ARRAY_IDX(cells, i, const char *);
}

static apr_int64_t number(const apr_array_header_t *cells, int i)
{
    return apr_atoi64(cell(cells, i));
}

const scep_err *store_request_put(store_tx *tx, const store_request *r, bool *done)
{
    const char *csr = scep_base64(tx->scratch, r->csr), *old = scep_base64(tx->scratch, r->old);
    const char *answer = scep_base64(tx->scratch, r->answer);
    apr_int64_t challenged = r->challenged;
    int rows = 0;

    SCEP_TRY(store_change(
        tx, STORE_REQUEST_PUT,
        STORE_ARGS(r->id, r->endpoint, r->authority, store_text(r->template_name), r->transaction,
                   r->key_hash, r->csr_hash, store_text(r->transaction_id), store_text(r->subject),
                   store_text(r->peer), &r->message_type, r->state, store_text(r->reason),
                   store_text(r->by), store_text(r->serial), &r->created, &r->ends, &r->decided,
                   store_text(r->cookie), &r->next_ask, csr, old, &challenged, answer),
        &rows));
    *done = rows == 1;
    return NULL;
}

/* Of STORE_REQUEST_COLUMNS from the cell @a i on. */
static store_request request(const apr_array_header_t *cells, int i)
{
    return (store_request){
        .id = cell(cells, i),
        .endpoint = cell(cells, i + 1),
        .authority = cell(cells, i + 2),
        .template_name = cell(cells, i + 3),
        .transaction = cell(cells, i + 4),
        .key_hash = cell(cells, i + 5),
        .csr_hash = cell(cells, i + 6),
        .transaction_id = cell(cells, i + 7),
        .subject = cell(cells, i + 8),
        .peer = cell(cells, i + 9),
        .message_type = number(cells, i + 10),
        .state = cell(cells, i + 11),
        .reason = cell(cells, i + 12),
        .by = cell(cells, i + 13),
        .serial = cell(cells, i + 14),
        .created = number(cells, i + 15),
        .ends = number(cells, i + 16),
        .decided = number(cells, i + 17),
        .cookie = cell(cells, i + 18),
        .next_ask = number(cells, i + 19),
    };
}

const scep_err *store_request_get(store_tx *tx, const char *id, const store_request **found)
{
    apr_array_header_t *cells;
    store_request *r;

    *found = NULL;
    SCEP_TRY(
        store_look(tx, STORE_REQUEST_GET, STORE_ARGS(id), REQUEST_COLUMNS + REQUEST_MORE, &cells));
    if (!cells->nelts)
        return NULL;
    r = apr_palloc(tx->pool, sizeof(*r));
    *r = request(cells, 0);
    SCEP_TRY(scep_unbase64(&r->csr, cell(cells, REQUEST_COLUMNS), tx->pool));
    SCEP_TRY(scep_unbase64(&r->old, cell(cells, REQUEST_COLUMNS + 1), tx->pool));
    r->challenged = number(cells, REQUEST_COLUMNS + 2) != 0;
    SCEP_TRY(scep_unbase64(&r->answer, cell(cells, REQUEST_COLUMNS + 3), tx->pool));
    *found = r;
    return NULL;
}

const scep_err *store_request_turn(store_tx *tx, const store_request *from, const store_request *to,
                                   apr_int64_t now, bool *done)
{
    const char *answer = scep_base64(tx->scratch, to->answer);
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_REQUEST_TURN,
                          STORE_ARGS(to->state, store_text(to->reason), store_text(to->by),
                                     store_text(to->serial), &to->decided, &to->ends,
                                     store_text(to->cookie), &to->next_ask, answer, from->id,
                                     from->state, &from->next_ask, &now),
                          &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_request_due(store_tx *tx, const char *authority, apr_int64_t now, int most,
                                  apr_array_header_t **ids)
{
    apr_int64_t limit = most;

    return store_look(tx, STORE_REQUEST_DUE, STORE_ARGS(authority, &now, &now, &limit), 1, ids);
}

const scep_err *store_request_waiting(store_tx *tx, const char *endpoint, const char *key_hash,
                                      const char *peer, apr_int64_t now, apr_int64_t *all,
                                      apr_int64_t *of_key, apr_int64_t *of_peer)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(
        tx, STORE_REQUEST_WAITING,
        STORE_ARGS(endpoint, &now, endpoint, key_hash, &now, endpoint, store_text(peer), &now), 3,
        &cells));
    *all = number(cells, 0);
    *of_key = number(cells, 1);
    *of_peer = number(cells, 2);
    return NULL;
}

static const scep_err *list_state(store_tx *tx, const char *state, const char *after, int most,
                                  apr_array_header_t *rows)
{
    apr_int64_t limit = most;
    apr_array_header_t *cells;

    if (*state)
        SCEP_TRY(store_look(tx, STORE_REQUEST_LIST_STATE, STORE_ARGS(state, after, &limit),
                            REQUEST_COLUMNS, &cells));
    else
        SCEP_TRY(
            store_look(tx, STORE_REQUEST_LIST, STORE_ARGS(after, &limit), REQUEST_COLUMNS, &cells));
    for (int i = 0; i < cells->nelts; i += REQUEST_COLUMNS)
        APR_ARRAY_PUSH(rows, store_request) = request(cells, i);
    return NULL;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const store_request *)a)->id, ((const store_request *)b)->id);
}

const scep_err *store_request_list(store_tx *tx, const char *state, const char *after, int most,
                                   apr_array_header_t **rows)
{
    static const char *const stuck[] = { "pending", "lost", "withheld" };

    *rows = apr_array_make(tx->pool, most, sizeof(store_request));
    if (strcmp(state, STORE_REQUEST_STUCK) != 0)
        return list_state(tx, state, after, most, *rows);
    /* a page of each, as the database would sort all of them */
    for (size_t i = 0; i < sizeof(stuck) / sizeof(*stuck); i++)
        SCEP_TRY(list_state(tx, stuck[i], after, most, *rows));
    qsort((*rows)->elts, (size_t)(*rows)->nelts, sizeof(store_request), by_id);
    if ((*rows)->nelts > most)
        (*rows)->nelts = most;
    return NULL;
}

const scep_err *store_request_sweep(store_tx *tx, apr_int64_t now, apr_int64_t before, int most,
                                    int *changed)
{
    static const char *const undecided[] = { "pending", "queued", "asked",
                                             "waits",   "lost",   "withheld" };
    static const char *const decided[] = { "issued", "denied", "expired" };
    apr_int64_t limit = most;
    int rows = 0;

    *changed = 0;
    /* one state after the other, as the index has them: of several at once all would be sorted */
    for (size_t i = 0; i < sizeof(undecided) / sizeof(*undecided); i++) {
        SCEP_TRY(
            store_change(tx, STORE_REQUEST_EXPIRE, STORE_ARGS(undecided[i], &now, &limit), &rows));
        limit -= rows;
        *changed += rows;
    }
    limit = most;
    for (size_t i = 0; i < sizeof(decided) / sizeof(*decided); i++) {
        SCEP_TRY(
            store_change(tx, STORE_REQUEST_FORGET, STORE_ARGS(decided[i], &before, &limit), &rows));
        limit -= rows;
        *changed += rows;
    }
    return NULL;
}

/* From the cells of CRL_HEAD, with which CRL_GET begins, too. */
static store_crl crl_of(const apr_array_header_t *cells, const char *authority)
{
    store_crl crl = { .authority = authority };

    if (cells->nelts) {
        crl.wanted = number(cells, 0);
        crl.holds = number(cells, 1);
        crl.number = number(cells, 2);
        crl.this_update = number(cells, 3);
        crl.next_update = number(cells, 4);
    }
    return crl;
}

const scep_err *store_crl_get(store_tx *tx, const char *authority, store_crl *out)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_CRL_GET, STORE_ARGS(authority), 6, &cells));
    *out = crl_of(cells, authority);
    return cells->nelts ? scep_unbase64(&out->der, cell(cells, 5), tx->pool) : NULL;
}

const scep_err *store_crl_head(store_tx *tx, const char *authority, store_crl *out)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_CRL_HEAD, STORE_ARGS(authority), 5, &cells));
    *out = crl_of(cells, authority);
    return NULL;
}

const scep_err *store_crl_put(store_tx *tx, const store_crl *c, bool *done)
{
    const char *der = scep_base64(tx->scratch, c->der);
    apr_int64_t former = c->number - 1;
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_CRL_NEXT,
                          STORE_ARGS(&c->holds, &c->number, &c->this_update, &c->next_update, der,
                                     c->authority, &former),
                          &rows));
    if (rows == 0 && former == 0)
        SCEP_TRY(store_change(tx, STORE_CRL_FIRST,
                              STORE_ARGS(c->authority, &c->wanted, &c->holds, &c->number,
                                         &c->this_update, &c->next_update, der),
                              &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_ra_put(store_tx *tx, const store_ra *ra, bool *done)
{
    int rows = 0;

    SCEP_TRY(
        store_change(tx, STORE_RA_PUT,
                     STORE_ARGS(ra->authority, ra->id, scep_base64(tx->scratch, ra->sign_cert),
                                scep_base64(tx->scratch, ra->sign_key),
                                scep_base64(tx->scratch, ra->decrypt_cert),
                                scep_base64(tx->scratch, ra->decrypt_key), &ra->created, &ra->ends),
                     &rows));
    *done = rows == 1;
    return NULL;
}

const scep_err *store_ra_list(store_tx *tx, const char *authority, apr_int64_t now,
                              apr_array_header_t **rows)
{
    apr_array_header_t *cells;

    SCEP_TRY(store_look(tx, STORE_RA_LIST, STORE_ARGS(authority, &now), RA_COLUMNS, &cells));
    *rows = apr_array_make(tx->pool, cells->nelts / RA_COLUMNS, sizeof(store_ra));
    for (int i = 0; i < cells->nelts; i += RA_COLUMNS) {
        store_ra *ra = apr_array_push(*rows);

        *ra = (store_ra){ .authority = authority,
                          .id = cell(cells, i),
                          .created = number(cells, i + 5),
                          .ends = number(cells, i + 6) };
        SCEP_TRY(scep_unbase64(&ra->sign_cert, cell(cells, i + 1), tx->pool));
        SCEP_TRY(scep_unbase64(&ra->sign_key, cell(cells, i + 2), tx->pool));
        SCEP_TRY(scep_unbase64(&ra->decrypt_cert, cell(cells, i + 3), tx->pool));
        SCEP_TRY(scep_unbase64(&ra->decrypt_key, cell(cells, i + 4), tx->pool));
    }
    return NULL;
}

const scep_err *store_ra_sweep(store_tx *tx, apr_int64_t before, int most, int *removed)
{
    apr_int64_t limit = most;

    *removed = 0;
    return store_change(tx, STORE_RA_SWEEP, STORE_ARGS(&before, &limit), removed);
}

const scep_err *store_lease_take(store_tx *tx, const char *name, const char *holder,
                                 apr_int64_t now, apr_int64_t until, bool *held)
{
    int rows = 0;

    SCEP_TRY(store_change(tx, STORE_LEASE_TAKE, STORE_ARGS(name, holder, &until, &now), &rows));
    *held = rows == 1;
    return NULL;
}
