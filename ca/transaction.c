/* The identity of a request, and what was answered to it. */
#include "transaction.h"
#include "clock.h"

#include <apr_strings.h>
#include <string.h>

#define SWEPT_AT_ONCE 100

const scep_err *transaction_make(transaction **out, const char *endpoint, scep_bytes transaction_id,
                                 const scep_csr *csr, apr_pool_t *p)
{
    transaction *t = apr_pcalloc(p, sizeof(*t));
    store_transaction *row = &t->row;
    unsigned char hash[32];

    /* Hashed, as a transactionID may have any length and any bytes. */
    SCEP_TRY(scep_sha256(hash, &transaction_id, 1, p));
    row->endpoint = apr_pstrdup(p, endpoint);
    row->transaction = scep_base64(p, (scep_bytes){ hash, sizeof(hash) });
    row->key_hash = scep_base64(p, (scep_bytes){ csr->key_hash, sizeof(csr->key_hash) });
    row->csr_hash = scep_base64(p, (scep_bytes){ csr->hash, sizeof(csr->hash) });
    row->created = apr_time_sec(scep_now());
    /* Three texts of fixed length at the end: no two identities give the same owner. */
    t->owner = apr_pstrcat(p, endpoint, " ", row->transaction, " ", row->key_hash, " ",
                           row->csr_hash, NULL);
    *out = t;
    return NULL;
}

static const scep_err *check_key(store_tx *tx, const transaction *t, const char *bound)
{
    if (bound && strcmp(bound, t->row.key_hash) != 0)
        return scep_fail(store_tx_pool(tx), REFUSED,
                         "this transactionID was used with another key: the device must choose "
                         "another transactionID");
    return NULL;
}

const scep_err *transaction_find(store_tx *tx, const transaction *t, scep_bytes *certificate)
{
    const char *bound, *authority, *serial;

    *certificate = (scep_bytes){ NULL, 0 };
    SCEP_TRY(store_binding_get(tx, &t->row, &bound));
    SCEP_TRY(check_key(tx, t, bound));
    SCEP_TRY(store_transaction_get(tx, &t->row, &authority, &serial));
    if (!serial)
        return NULL;
    SCEP_TRY(store_certificate_get(tx, authority, serial, certificate));
    if (!certificate->len)
        return scep_fail(store_tx_pool(tx), INTERNAL,
                         "certificate %s of a recorded transaction is not in the inventory",
                         serial);
    return NULL;
}

const scep_err *transaction_record(store_tx *tx, const transaction *t, bool *done)
{
    const store_transaction *row = &t->row;
    const char *bound;

    SCEP_TRY(store_binding_put(tx, row, &bound));
    SCEP_TRY(check_key(tx, t, bound));
    return store_transaction_put(tx, row, done);
}

typedef struct sweep_job {
    apr_int64_t before;
    int removed;
} sweep_job;

static const scep_err *sweep_in_store(store_tx *tx, void *baton)
{
    sweep_job *j = baton;

    return store_transaction_sweep(tx, j->before, SWEPT_AT_ONCE, &j->removed);
}

const scep_err *transaction_sweep(store *s, apr_int64_t keep_seconds, apr_pool_t *p)
{
    sweep_job j = { .before = apr_time_sec(scep_now()) - keep_seconds };

    /* short jobs, so that enrolments come in between */
    do {
        SCEP_TRY(store_run(s, sweep_in_store, &j, p));
    } while (j.removed >= SWEPT_AT_ONCE);
    return NULL;
}
