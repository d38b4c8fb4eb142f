/* The room of the store's tests. */
#include "store_room.h"
#include "certs.h"
#include "clock.h"
#include "inventory.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

apr_pool_t *room_pool;
const char *room_folder;
const char *room_where;
store *room_store;

void room_expect(const scep_err *err, scep_code code)
{
    ck_assert_msg((err ? err->code : SCEP_OK) == code, "%s, not %s: %s",
                  scep_code_describe(err ? (int)err->code : SCEP_OK)->name,
                  scep_code_describe((int)code)->name, err ? err->detail : "");
}

other other_open(void)
{
    const char *colon = strchr(room_where, ':');
    const char *name = apr_pstrmemdup(room_pool, room_where, (size_t)(colon - room_where));
    other o;

    ck_assert_int_eq(apr_dbd_init(room_pool), 0);
    ck_assert_int_eq(apr_dbd_get_driver(room_pool, name, &o.driver), 0);
    ck_assert_int_eq(apr_dbd_open(o.driver, room_pool, colon + 1, &o.handle), 0);
    return o;
}

void other_says(const other *o, const char *sql)
{
    int rows;

    ck_assert_msg(apr_dbd_query(o->driver, o->handle, &rows, sql) == 0, "%s", sql);
}

apr_array_header_t *other_asks(const other *o, const char *sql)
{
    apr_array_header_t *cells = apr_array_make(room_pool, 8, sizeof(const char *));
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;

    ck_assert_msg(apr_dbd_select(o->driver, room_pool, o->handle, &results, sql, 1) == 0, "%s",
                  sql);
    while (apr_dbd_get_row(o->driver, room_pool, results, &row, -1) == 0)
        for (int i = 0; i < apr_dbd_num_cols(o->driver, results); i++)
            APR_ARRAY_PUSH(cells, const char *) =
                apr_pstrdup(room_pool, apr_dbd_get_entry(o->driver, row, i));
    return cells;
}

void other_close(other *o)
{
    ck_assert_int_eq(apr_dbd_close(o->driver, o->handle), 0);
}

void room_open(void)
{
    const scep_err *err = store_open(&room_store, room_where, room_pool);

    ck_assert_msg(!err, "%s", err ? err->detail : "");
}

void room_up_folder(void)
{
    static char name[64];

    ck_assert_int_eq(apr_initialize(), 0);
    ck_assert_int_eq(apr_pool_create(&room_pool, NULL), 0);
    strcpy(name, "/tmp/scep-store-XXXXXX");
    room_folder = mkdtemp(name);
    ck_assert_ptr_nonnull(room_folder);
    room_where = apr_psprintf(room_pool, "sqlite3:%s/store.db", room_folder);
}

void room_up(void)
{
    room_up_folder();
    room_open();
}

void room_empty(void)
{
    other o;

    if (!getenv("SCEP_TEST_STORE")) {
        (void)remove(apr_psprintf(room_pool, "%s/store.db", room_folder)); /* may not be there */
        return;
    }
    room_where = getenv("SCEP_TEST_STORE");
    o = other_open();
    other_says(&o, "DROP TABLE IF EXISTS scep_meta, scep_endpoint, scep_challenge,"
                   " scep_binding, scep_transaction, scep_certificate, scep_request,"
                   " scep_crl, scep_ra, scep_lease, scep_single_password");
    other_close(&o);
}

void room_up_empty(void)
{
    room_up_folder();
    room_empty();
}

void room_up_portable(void)
{
    room_up_empty();
    room_open();
}

void room_up_at_start(void)
{
    room_up_portable();
    scep_clock_set(ROOM_START);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    return remove(path);
}

void room_down(void)
{
    apr_pool_destroy(room_pool);
    ck_assert_int_eq(nftw(room_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    apr_terminate();
}

void room_job_of(store_job_fn fn)
{
    OK(store_run(room_store, fn, NULL, room_pool));
}

static store_certificate certificate(const char *serial)
{
    return (store_certificate){ .authority = "a",
                                .serial = serial,
                                .subject = "CN=x",
                                .template_name = "t",
                                .endpoint = "e",
                                .transaction = "tx",
                                .key_hash = "k",
                                .der = scep_bytes_of("der"),
                                .not_before = 1,
                                .not_after = 2,
                                .issued = 1 };
}

const scep_err *room_put(store_tx *tx, void *baton)
{
    room_job *j = baton;
    store_certificate c = certificate(j->serial);

    j->runs++;
    SCEP_TRY(store_unused_add(tx, "e", 1));
    if (j->poison)
        c.authority = NULL;
    SCEP_TRY(store_certificate_put(tx, &c, &j->done));
    return j->fail ? scep_fail(store_tx_pool(tx), REFUSED, "no") : NULL;
}

const scep_err *room_put_one(const char *serial, apr_pool_t *p)
{
    room_job j = { .serial = serial };

    return store_run(room_store, room_put, &j, p);
}

typedef struct counts {
    apr_int64_t certificates, unused;
} counts;

static const scep_err *count_in_store(store_tx *tx, void *baton)
{
    counts *c = baton;

    SCEP_TRY(store_certificate_count(tx, &c->certificates));
    return store_unused_get(tx, "e", &c->unused);
}

void room_expect_rows(apr_int64_t rows)
{
    counts c;

    ck_assert_ptr_null(store_run(room_store, count_in_store, &c, room_pool));
    ck_assert_int_eq(c.certificates, rows);
    ck_assert_int_eq(c.unused, rows);
}

typedef struct has_job {
    const char *serial;
    const store_certificate *found;
} has_job;

static const scep_err *look_up(store_tx *tx, void *baton)
{
    has_job *j = baton;

    return store_certificate_get(tx, "a", j->serial, &j->found);
}

bool room_has(const char *serial)
{
    has_job j = { .serial = serial };

    ck_assert_ptr_null(store_run(room_store, look_up, &j, room_pool));
    return j.found != NULL;
}

transaction *room_request(const char *endpoint, const char *id, char key, char csr)
{
    unsigned char key_hash[32];
    scep_csr facts = { .subject = NULL };
    transaction *t;

    memset(key_hash, key, sizeof(key_hash));
    memset(facts.hash, csr, sizeof(facts.hash));
    room_expect(transaction_make(&t, endpoint, scep_bytes_of(id),
                                 (scep_bytes){ key_hash, sizeof(key_hash) }, csr ? &facts : NULL,
                                 room_pool),
                SCEP_OK);
    t->challenged = csr != 0;
    return t;
}

X509 *room_certificate(long serial)
{
    EVP_PKEY *key = scep_EVP_PKEY(room_pool, EVP_EC_gen("P-256"));
    X509 *cert = scep_X509(room_pool, X509_new());
    X509_NAME *name;

    ck_assert(key && cert);
    name = X509_get_subject_name(cert);
    ck_assert(X509_set_version(cert, X509_VERSION_3));
    ck_assert(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial));
    ck_assert(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                         (const unsigned char *)"\xc3\x84\n", -1, -1, 0));
    ck_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"device",
                                         -1, -1, 0));
    ck_assert_ptr_nonnull(ASN1_TIME_set(X509_getm_notBefore(cert), apr_time_sec(ROOM_START)));
    ck_assert_ptr_nonnull(ASN1_TIME_set(X509_getm_notAfter(cert), apr_time_sec(ROOM_START) + 3600));
    ck_assert(X509_set_pubkey(cert, key) && X509_sign(cert, key, EVP_sha256()));
    return cert;
}

const issued_cert *room_issued(X509 *cert)
{
    issued_cert *out = apr_pcalloc(room_pool, sizeof(*out));
    unsigned char hash[SCEP_KEY_HASH];

    room_expect(scep_cert_der(&out->der, cert, room_pool), SCEP_OK);
    room_expect(scep_spki_of(&out->spki, X509_get_X509_PUBKEY(cert), room_pool), SCEP_OK);
    room_expect(scep_spki_hash(hash, out->spki, room_pool), SCEP_OK);
    out->key_hash = scep_base64(room_pool, (scep_bytes){ hash, sizeof(hash) });
    out->serial = scep_cert_serial(cert, room_pool);
    out->subject = scep_name_line(X509_get_subject_name(cert), room_pool);
    room_expect(scep_time_seconds(&out->begins, X509_get0_notBefore(cert), room_pool), SCEP_OK);
    room_expect(scep_time_seconds(&out->ends, X509_get0_notAfter(cert), room_pool), SCEP_OK);
    return out;
}

typedef struct settle_job {
    const transaction *t;
    const issued_cert *cert;
    bool done;
    long minutes;
    transaction_answer answer;
} settle_job;

static const scep_err *settle_in_store(store_tx *tx, void *baton)
{
    settle_job *j = baton;

    SCEP_TRY(transaction_record(tx, j->t, &j->done));
    if (!j->done)
        return NULL;
    return inventory_record(tx, j->cert, j->t, "ca", "template");
}

const scep_err *room_settle(transaction *t, X509 *cert, bool *done)
{
    settle_job j = { .t = t, .cert = room_issued(cert) };
    const scep_err *err;

    transaction_set_issued(t, j.cert, "ca");
    err = store_run(room_store, settle_in_store, &j, room_pool);
    *done = j.done;
    return err;
}

static const scep_err *find_in_store(store_tx *tx, void *baton)
{
    settle_job *j = baton;

    return transaction_find(tx, j->t, &j->answer);
}

const scep_err *room_find(const transaction *t, transaction_answer *answer)
{
    settle_job j = { .t = t };
    const scep_err *err = store_run(room_store, find_in_store, &j, room_pool);

    *answer = j.answer;
    return err;
}

static const scep_err *poll_in_store(store_tx *tx, void *baton)
{
    settle_job *j = baton;

    return transaction_poll(tx, j->t, j->minutes, &j->answer);
}

transaction_answer room_poll(const char *endpoint, const char *id, char key)
{
    return room_poll_within(120, endpoint, id, key);
}

transaction_answer room_poll_within(long minutes, const char *endpoint, const char *id, char key)
{
    settle_job j = { .t = room_request(endpoint, id, key, '\0'), .minutes = minutes };

    room_expect(store_run(room_store, poll_in_store, &j, room_pool), SCEP_OK);
    return j.answer;
}

int room_main(Suite *(*const make[])(void), size_t n)
{
    SRunner *runner = srunner_create(make[0]());
    int failed;

    for (size_t i = 1; i < n; i++)
        srunner_add_suite(runner, make[i]());
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
