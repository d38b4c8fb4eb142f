/* The identity of a request, and what was answered to it. */
#include "transaction.h"
#include "certs.h"
#include "clock.h"

#include <apr_strings.h>
#include <string.h>

#define SWEPT_AT_ONCE 100
#define HASH_SIZE 32

const scep_err *transaction_make(transaction **out, const char *endpoint, scep_bytes transaction_id,
                                 scep_bytes key_hash, const scep_csr *csr, apr_pool_t *p)
{
    transaction *t = apr_pcalloc(p, sizeof(*t));
    store_transaction *row = &t->row;
    unsigned char hash[HASH_SIZE];

    if (key_hash.len != HASH_SIZE)
        return scep_fail(p, INTERNAL, "the hash of the signer's key has %lu bytes, not %d",
                         (unsigned long)key_hash.len, HASH_SIZE);
    /* Hashed, as a transactionID may have any length and any bytes (S-21). */
    SCEP_TRY(scep_sha256(hash, &transaction_id, 1, p));
    row->endpoint = apr_pstrdup(p, endpoint);
    row->transaction = scep_base64(p, (scep_bytes){ hash, sizeof(hash) });
    row->key_hash = scep_base64(p, key_hash);
    if (csr)
        row->csr_hash = scep_base64(p, (scep_bytes){ csr->hash, sizeof(csr->hash) });
    row->created = apr_time_sec(scep_now());
    t->owner = transaction_owner(row, p);
    *out = t;
    return NULL;
}

const scep_err *transaction_prove(transaction *t, const scep_csr *csr, const X509 *old,
                                  apr_pool_t *p)
{
    /* not the whole certificate: of a signature by an elliptic key there are two */
    scep_bytes parts[] = { { csr->hash, sizeof(csr->hash) },
                           { NULL, 0 },
                           scep_bytes_of(scep_cert_serial(old, p)) };
    unsigned char hash[HASH_SIZE];

    if (!X509_NAME_get0_der(X509_get_issuer_name(old), &parts[1].data, &parts[1].len))
        return scep_fail(p, INTERNAL, "a certificate's issuer cannot be encoded");
    SCEP_TRY(scep_sha256(hash, parts, sizeof(parts) / sizeof(parts[0]), p));
    t->row.csr_hash = scep_base64(p, (scep_bytes){ hash, sizeof(hash) });
    t->owner = transaction_owner(&t->row, p);
    t->row.proven = true;
    return NULL;
}

const char *transaction_owner(const store_transaction *row, apr_pool_t *p)
{
    /* Texts of fixed length at the end: no two identities give the same owner. */
    return apr_pstrcat(p, row->endpoint, " ", row->transaction, " ", row->key_hash, " ",
                       row->csr_hash ? row->csr_hash : "", NULL);
}

static const scep_err *check_key(store_tx *tx, const transaction *t, const char *bound)
{
    if (bound && !t->row.proven && strcmp(bound, t->row.key_hash) != 0)
        return scep_fail(store_tx_pool(tx), REFUSED,
                         "this transactionID was used with another key: the device must choose "
                         "another transactionID");
    return NULL;
}

/* A transaction may be bound for longer than its last certificate is valid. */
static const scep_err *read_issued(store_tx *tx, const store_transaction *row, apr_int64_t now,
                                   transaction_answer *answer)
{
    const store_certificate *certificate;

    SCEP_TRY(store_certificate_get(tx, row->authority, row->serial, &certificate));
    if (!certificate)
        return scep_fail(store_tx_pool(tx), INTERNAL,
                         "certificate %s of a recorded transaction is not in the inventory",
                         row->serial);
    if (certificate->not_after <= now)
        return NULL;
    answer->state = certificate->revoked ? TRANSACTION_REVOKED : TRANSACTION_ISSUED;
    if (certificate->revoked)
        return NULL;
    answer->certificate = certificate->der;
    answer->authority = certificate->authority;
    return NULL;
}

static const scep_err *read_answer(store_tx *tx, const store_transaction *key,
                                   transaction_answer *answer)
{
    const store_transaction *row;

    SCEP_TRY(store_transaction_get(tx, key, &row));
    if (!row)
        return NULL;
    answer->request = row->request;
    answer->created = row->created;
    if (strcmp(row->state, "issued") == 0)
        return read_issued(tx, row, key->created, answer);
    answer->state = strcmp(row->state, "denied") == 0 ? TRANSACTION_DENIED : TRANSACTION_PENDING;
    return NULL;
}

const scep_err *transaction_find(store_tx *tx, const transaction *t, transaction_answer *answer)
{
    const char *bound;

    *answer = (transaction_answer){ .state = TRANSACTION_NEW };
    SCEP_TRY(store_binding_get(tx, &t->row, &bound));
    SCEP_TRY(check_key(tx, t, bound));
    return read_answer(tx, &t->row, answer);
}

/* Answered at once, and longer ago than devices ask again. */
static bool is_past(const transaction_answer *answer, long minutes)
{
    bool waited = answer->request && *answer->request;

    return !waited && apr_time_sec(scep_now()) - answer->created >= (apr_int64_t)minutes * 60;
}

const scep_err *transaction_poll(store_tx *tx, const transaction *t, long minutes,
                                 transaction_answer *answer)
{
    *answer = (transaction_answer){ .state = TRANSACTION_NEW };
    SCEP_TRY(read_answer(tx, &t->row, answer));
    if (answer->state == TRANSACTION_REVOKED || is_past(answer, minutes))
        answer->state = TRANSACTION_NEW;
    return NULL;
}

void transaction_set_issued(transaction *t, const issued_cert *cert, const char *authority)
{
    store_transaction *row = &t->row;

    row->state = "issued";
    row->authority = authority;
    row->serial = cert->serial;
    row->created = apr_time_sec(scep_now());
    row->bound = cert->ends;
    row->ends =
        t->challenged ? cert->begins + (cert->ends - cert->begins) / 2 : cert->ends; /* */
}

const scep_err *transaction_record(store_tx *tx, const transaction *t, bool *done)
{
    const char *bound;

    SCEP_TRY(store_binding_get(tx, &t->row, &bound));
    SCEP_TRY(check_key(tx, t, bound));
    return store_transaction_put(tx, &t->row, done);
}

/* What waits was let in when it was recorded. */
const scep_err *transaction_decide(store_tx *tx, const transaction *t, bool *done)
{
    return store_transaction_decide(tx, &t->row, done);
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

const scep_err *transaction_sweep(bool *more, store *s, apr_int64_t keep_seconds, apr_pool_t *p)
{
    sweep_job j = { .before = apr_time_sec(scep_now()) - keep_seconds };

    *more = false;
    SCEP_TRY(store_run(s, sweep_in_store, &j, p));
    *more = j.removed >= SWEPT_AT_ONCE;
    return NULL;
}
