/* The room of the store's tests. */
#include "store_room.h"

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

void room_up_portable(void)
{
    const char *named = getenv("SCEP_TEST_STORE");

    room_up_folder();
    if (named) {
        other o;

        room_where = named;
        o = other_open();
        other_says(&o, "DROP TABLE IF EXISTS scep_meta, scep_endpoint, scep_challenge,"
                       " scep_binding, scep_transaction, scep_certificate");
        other_close(&o);
    }
    room_open();
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
    scep_bytes der;
} has_job;

static const scep_err *look_up(store_tx *tx, void *baton)
{
    has_job *j = baton;

    return store_certificate_get(tx, "a", j->serial, &j->der);
}

bool room_has(const char *serial)
{
    has_job j = { .serial = serial };

    ck_assert_ptr_null(store_run(room_store, look_up, &j, room_pool));
    return j.der.len != 0;
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
