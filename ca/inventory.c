/* The inventory: what a certificate says, as a row; and revocation. */
#include "inventory.h"
#include "certs.h"
#include "clock.h"

#include <apr_strings.h>
#include <string.h>

const scep_err *inventory_record(store_tx *tx, const issued_cert *cert, const transaction *t,
                                 const char *authority, const char *template_name)
{
    apr_pool_t *p = store_tx_pool(tx);
    const store_certificate row = {
        .authority = authority,
        .serial = cert->serial,
        .subject = cert->subject,
        .not_before = cert->begins,
        .not_after = cert->ends,
        .key_hash = cert->key_hash, /* the signer's, which the transaction has, may be another */
        .template_name = template_name,
        .endpoint = t->row.endpoint,
        .transaction = t->row.transaction,
        .issued = apr_time_sec(scep_now()),
        .der = cert->der,
    };
    bool done;

    /* The transaction finds its certificate by that number. */
    if (t->row.serial && strcmp(t->row.serial, row.serial) != 0)
        return scep_fail(p, INTERNAL, "the transaction names certificate %s, this is %s",
                         t->row.serial, row.serial);
    SCEP_TRY(store_certificate_put(tx, &row, &done));
    return done ? NULL : scep_fail(p, INTERNAL, "serial number %s exists already", row.serial);
}

/* What the CA has signed: the first part of a certificate. */
static const scep_err *tbs_of(scep_bytes *out, scep_bytes der, apr_pool_t *p)
{
    scep_cursor c = { der.data, der.len }, in;
    scep_bytes content;
    uint8_t tag;

    if (scep_cursor_der(&c, &tag, &content)) {
        in = (scep_cursor){ content.data, content.len };
        if (scep_cursor_der(&in, &tag, out))
            return NULL;
    }
    return scep_fail(p, REFUSED, "a certificate is not in DER");
}

/* Its signature does not count: whoever has one by an elliptic key can make another, so that a
 * revoked certificate would be one that nobody knows (S-08). */
const scep_err *inventory_find(store_tx *tx, X509 *cert, const store_certificate **found)
{
    apr_pool_t *p = store_tx_pool(tx);
    scep_bytes der, tbs, known;
    apr_array_header_t *rows;

    *found = NULL;
    SCEP_TRY(scep_cert_der(&der, cert, p));
    SCEP_TRY(tbs_of(&tbs, der, p));
    SCEP_TRY(store_certificate_of_serial(tx, scep_cert_serial(cert, p), &rows));
    for (int i = 0; i < rows->nelts && !*found; i++) {
        const store_certificate *row = &APR_ARRAY_IDX(rows, i, store_certificate);

        SCEP_TRY(tbs_of(&known, row->der, p));
        if (scep_bytes_equal(known, tbs))
            *found = row;
    }
    return NULL;
}

typedef struct revoke_job {
    const char *authority, *serial;
    int reason;
    store_certificate *row;
} revoke_job;

static const char *names_of(const apr_array_header_t *rows, apr_pool_t *p)
{
    const char *names = "";

    for (int i = 0; i < rows->nelts; i++)
        names = apr_pstrcat(p, names, i ? ", " : "",
                            APR_ARRAY_IDX(rows, i, store_certificate).authority, NULL);
    return names;
}

/* The one certificate that is meant. */
static const scep_err *pick(const store_certificate **out, store_tx *tx, const revoke_job *j)
{
    apr_pool_t *p = store_tx_pool(tx);
    const char *serial = scep_printable(p, scep_bytes_of(j->serial), 64);
    apr_array_header_t *rows;

    if (*j->authority) {
        SCEP_TRY(store_certificate_get(tx, j->authority, j->serial, out));
        if (!*out)
            return scep_fail(p, BAD_CERT_ID, "authority %s has no certificate %s",
                             scep_printable(p, scep_bytes_of(j->authority), 64), serial);
        return NULL;
    }
    SCEP_TRY(store_certificate_of_serial(tx, j->serial, &rows));
    if (!rows->nelts)
        return scep_fail(p, BAD_CERT_ID, "there is no certificate %s", serial);
    if (rows->nelts > 1)
        return scep_fail(p, BAD_CERT_ID,
                         "several authorities have a certificate %s, name one of them: %s", serial,
                         names_of(rows, p));
    *out = &APR_ARRAY_IDX(rows, 0, store_certificate);
    return NULL;
}

static const scep_err *revoked_already(const store_certificate *row, apr_pool_t *p)
{
    return scep_fail(p, BAD_CERT_ID, "certificate %s of authority %s is revoked already",
                     row->serial, row->authority);
}

static const scep_err *look_in_store(store_tx *tx, void *baton)
{
    revoke_job *j = baton;
    const store_certificate *row;

    SCEP_TRY(pick(&row, tx, j));
    j->row = apr_pmemdup(store_tx_pool(tx), row, sizeof(*row));
    return row->revoked ? revoked_already(row, store_tx_pool(tx)) : NULL;
}

const scep_err *inventory_look(store *s, const char *authority, const char *serial,
                               const store_certificate **found, apr_pool_t *p)
{
    revoke_job j = { .authority = authority, .serial = serial };

    SCEP_TRY(store_read(s, look_in_store, &j, p));
    *found = j.row;
    return NULL;
}

static const scep_err *revoke_in_store(store_tx *tx, void *baton)
{
    revoke_job *j = baton;
    apr_pool_t *p = store_tx_pool(tx);
    const store_certificate *row;
    bool done;

    SCEP_TRY(pick(&row, tx, j));
    j->row = apr_pmemdup(p, row, sizeof(*row));
    j->row->revoked = apr_time_sec(scep_now());
    j->row->reason = j->reason;
    SCEP_TRY(store_certificate_revoke(tx, row->authority, row->serial, j->row->revoked, j->reason,
                                      &done));
    return done ? NULL : revoked_already(row, p);
}

const scep_err *inventory_revoke(store *s, const char *authority, const char *serial, int reason,
                                 const store_certificate **revoked, apr_pool_t *p)
{
    revoke_job j = { .authority = authority, .serial = serial, .reason = reason };

    SCEP_TRY(store_run(s, revoke_in_store, &j, p));
    *revoked = j.row;
    return NULL;
}
