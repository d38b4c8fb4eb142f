/* Transactions, the inventory, and their clean-up. */
#include "certs.h"
#include "chores.h"
#include "clock.h"
#include "inventory.h"
#include "store_room.h"
#include "transaction.h"

#include <apr_strings.h>
#include <string.h>

#define START apr_time_from_sec(1700000000)
#define WEEK (7 * 24 * 60 * 60)

static void assert_code(const scep_err *err, scep_code code)
{
    ck_assert_msg((err ? err->code : SCEP_OK) == code, "%s, not %s: %s",
                  scep_code_describe(err ? (int)err->code : SCEP_OK)->name,
                  scep_code_describe(code)->name, err ? err->detail : "");
}

static void set_up(void)
{
    room_up_portable();
    scep_clock_set(START);
}

/* A request, as far as its identity goes. */
static transaction *request(const char *endpoint, const char *id, char key, char csr)
{
    scep_csr facts = { .req = NULL };
    transaction *t;

    memset(facts.key_hash, key, sizeof(facts.key_hash));
    memset(facts.hash, csr, sizeof(facts.hash));
    assert_code(transaction_make(&t, endpoint, scep_bytes_of(id), &facts, room_pool), SCEP_OK);
    return t;
}

/* Ends on START plus an hour. */
static X509 *certificate(long serial)
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
    ck_assert_ptr_nonnull(ASN1_TIME_set(X509_getm_notBefore(cert), apr_time_sec(START)));
    ck_assert_ptr_nonnull(ASN1_TIME_set(X509_getm_notAfter(cert), apr_time_sec(START) + 3600));
    ck_assert(X509_set_pubkey(cert, key) && X509_sign(cert, key, EVP_sha256()));
    return cert;
}

typedef struct settle_job {
    transaction *t;
    X509 *cert;
    bool done;
    scep_bytes found;
} settle_job;

static const scep_err *settle_in_store(store_tx *tx, void *baton)
{
    settle_job *j = baton;

    SCEP_TRY(transaction_record(tx, j->t, &j->done));
    if (!j->done)
        return NULL;
    return inventory_record(tx, j->cert, j->t, "ca", "template");
}

static const scep_err *find_in_store(store_tx *tx, void *baton)
{
    settle_job *j = baton;

    return transaction_find(tx, j->t, &j->found);
}

static const scep_err *settle(transaction *t, X509 *cert, bool *done)
{
    settle_job j = { .t = t, .cert = cert };
    const scep_err *err;

    t->row.authority = "ca";
    t->row.serial = scep_cert_serial(cert, room_pool);
    t->row.ends = apr_time_sec(START) + 3600;
    err = store_run(room_store, settle_in_store, &j, room_pool);
    *done = j.done;
    return err;
}

static const scep_err *find(transaction *t, scep_bytes *certificate_out)
{
    settle_job j = { .t = t };
    const scep_err *err = store_run(room_store, find_in_store, &j, room_pool);

    *certificate_out = j.found;
    return err;
}

START_TEST(the_same_request_twice_gives_the_same_certificate)
{
    X509 *cert = certificate(0xab), *again;
    const unsigned char *at;
    scep_bytes found;
    bool done;

    assert_code(find(request("e", "id", 'k', 'c'), &found), SCEP_OK);
    ck_assert_uint_eq(found.len, 0);
    assert_code(settle(request("e", "id", 'k', 'c'), cert, &done), SCEP_OK);
    ck_assert(done);
    assert_code(find(request("e", "id", 'k', 'c'), &found), SCEP_OK);
    at = found.data;
    again = scep_X509(room_pool, d2i_X509(NULL, &at, (long)found.len));
    ck_assert(again && X509_cmp(cert, again) == 0);

    /* whoever comes second with it changes nothing */
    assert_code(settle(request("e", "id", 'k', 'c'), certificate(0xac), &done), SCEP_OK);
    ck_assert(!done);
}
END_TEST

START_TEST(another_csr_is_a_new_request)
{
    scep_bytes found;
    bool done;

    assert_code(settle(request("e", "id", 'k', 'c'), certificate(1), &done), SCEP_OK);
    assert_code(find(request("e", "id", 'k', 'd'), &found), SCEP_OK);
    ck_assert_uint_eq(found.len, 0);
    assert_code(settle(request("e", "id", 'k', 'd'), certificate(2), &done), SCEP_OK);
    ck_assert(done);
}
END_TEST

START_TEST(the_same_transaction_id_with_another_key_gets_nothing)
{
    scep_bytes found;
    bool done;

    assert_code(settle(request("e", "id", 'k', 'c'), certificate(1), &done), SCEP_OK);
    assert_code(find(request("e", "id", 'x', 'c'), &found), SCEP_REFUSED);
    assert_code(settle(request("e", "id", 'x', 'c'), certificate(2), &done), SCEP_REFUSED);
    assert_code(find(request("f", "id", 'x', 'c'), &found), SCEP_OK);
    assert_code(find(request("e", "di", 'x', 'c'), &found), SCEP_OK);
    ck_assert_uint_eq(found.len, 0);
}
END_TEST

START_TEST(every_part_of_the_identity_makes_another_owner)
{
    const transaction *all[] = { request("e", "id", 'k', 'c'), request("f", "id", 'k', 'c'),
                                 request("e", "di", 'k', 'c'), request("e", "id", 'l', 'c'),
                                 request("e", "id", 'k', 'd') };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(all[i]->owner, all[k]->owner);
    ck_assert_str_eq(all[0]->owner, request("e", "id", 'k', 'c')->owner);
}
END_TEST

START_TEST(a_serial_number_that_exists_is_refused_and_nothing_of_the_job_stays)
{
    scep_bytes found;
    bool done;

    assert_code(settle(request("e", "id", 'k', 'c'), certificate(7), &done), SCEP_OK);
    assert_code(settle(request("e", "di", 'k', 'c'), certificate(7), &done), SCEP_INTERNAL);
    assert_code(find(request("e", "di", 'x', 'c'), &found), SCEP_OK); /* not bound either */
}
END_TEST

START_TEST(a_transaction_cannot_name_another_certificate)
{
    settle_job j = { .t = request("e", "id", 'k', 'c'), .cert = certificate(7) };

    j.t->row.authority = "ca";
    j.t->row.serial = "08";
    assert_code(store_run(room_store, settle_in_store, &j, room_pool), SCEP_INTERNAL);
}
END_TEST

START_TEST(an_ended_transaction_is_no_answer_and_binds_no_key)
{
    scep_bytes found;
    bool done;

    assert_code(settle(request("e", "id", 'k', 'c'), certificate(1), &done), SCEP_OK);
    scep_clock_set(START + apr_time_from_sec(3599));
    assert_code(find(request("e", "id", 'k', 'c'), &found), SCEP_OK);
    ck_assert_uint_gt(found.len, 0);
    assert_code(find(request("e", "id", 'x', 'c'), &found), SCEP_REFUSED);
    scep_clock_set(START + apr_time_from_sec(3600));
    assert_code(find(request("e", "id", 'k', 'c'), &found), SCEP_OK);
    ck_assert_uint_eq(found.len, 0);
    assert_code(find(request("e", "id", 'x', 'c'), &found), SCEP_OK);
    ck_assert_uint_eq(found.len, 0);
}
END_TEST

typedef struct many_job {
    int n;
    apr_int64_t left;
} many_job;

static const scep_err *put_many(store_tx *tx, void *baton)
{
    many_job *j = baton;
    bool done;

    for (int i = 0; i < j->n; i++) {
        store_transaction t = { "e", apr_itoa(store_tx_pool(tx), i), "k", "c", "ca", "01", 1, 2 };

        SCEP_TRY(store_transaction_put(tx, &t, &done));
    }
    return NULL;
}

static const scep_err *count_left(store_tx *tx, void *baton)
{
    many_job *j = baton;
    const char *authority, *serial;

    j->left = 0;
    for (int i = 0; i < j->n; i++) {
        store_transaction t = { "e", apr_itoa(store_tx_pool(tx), i), "k", "c", NULL, NULL, 1, 2 };

        SCEP_TRY(store_transaction_get(tx, &t, &authority, &serial));
        j->left += serial != NULL;
    }
    return NULL;
}

START_TEST(a_sweep_goes_on_until_all_that_ended_is_gone)
{
    many_job j = { .n = 250 };

    assert_code(store_run(room_store, put_many, &j, room_pool), SCEP_OK);
    assert_code(store_run(room_store, count_left, &j, room_pool), SCEP_OK);
    ck_assert_int_eq(j.left, 250);
    assert_code(transaction_sweep(room_store, WEEK, room_pool), SCEP_OK);
    assert_code(store_run(room_store, count_left, &j, room_pool), SCEP_OK);
    ck_assert_int_eq(j.left, 0);
}
END_TEST

static const scep_err *row_count(store_tx *tx, void *baton)
{
    return store_unused_get(tx, "e", baton);
}

START_TEST(chores_remove_what_ended_and_stop)
{
    static const store_key key = { "0123456789abcdef0123456789abcdef" };
    const challenge_limits limits = { .max = 5, .minutes = 60, .length = 8 };
    office o = { .store = room_store };
    apr_int64_t expires, count = 1;
    const char *challenge;
    scep_bytes found = { NULL, 1 };
    chores *c;
    bool done;

    assert_code(
        challenge_mint(&challenge, &expires, room_store, &key, "e", &limits, "u", "p", room_pool),
        SCEP_OK);
    assert_code(settle(request("e", "id", 'k', 'c'), certificate(1), &done), SCEP_OK);
    scep_clock_set(START + apr_time_from_sec(3601 + WEEK));
    assert_code(chores_start(&c, &o, room_pool), SCEP_OK);
    for (int i = 0; i < 200 && (count || found.len); i++) {
        apr_sleep(apr_time_from_msec(10));
        assert_code(store_run(room_store, row_count, &count, room_pool), SCEP_OK);
        assert_code(find(request("e", "id", 'k', 'c'), &found), SCEP_OK);
    }
    ck_assert_int_eq(count, 0);
    ck_assert_uint_eq(found.len, 0);
    chores_stop(c);
    chores_stop(c);
}
END_TEST

START_TEST(the_inventory_tells_what_the_certificate_says)
{
    apr_dbd_results_t *results = NULL;
    apr_dbd_row_t *row = NULL;
    bool done;
    other o;
    static const char *const expected[] = { "AB",         "CN=device,O=\\C3\\84\\0A",
                                            "1700000000", "1700003600",
                                            "template",   "e" };

    assert_code(settle(request("e", "id", 'k', 'c'), certificate(0xab), &done), SCEP_OK);
    o = other_open();
    ck_assert_int_eq(apr_dbd_select(o.driver, room_pool, o.handle, &results,
                                    "SELECT serial, subject, not_before, not_after,"
                                    " template_name, endpoint FROM scep_certificate",
                                    1),
                     0);
    ck_assert_int_eq(apr_dbd_get_row(o.driver, room_pool, results, &row, -1), 0);
    for (int i = 0; i < 6; i++)
        ck_assert_str_eq(apr_dbd_get_entry(o.driver, row, i), expected[i]);
    ck_assert_int_eq(apr_dbd_get_row(o.driver, room_pool, results, &row, -1), -1);
    other_close(&o);
}
END_TEST

Suite *transaction_suite(void)
{
    Suite *suite = suite_create("transaction");
    TCase *cases = tcase_create("transactions");

    tcase_add_checked_fixture(cases, set_up, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, the_same_request_twice_gives_the_same_certificate);
    tcase_add_test(cases, another_csr_is_a_new_request);
    tcase_add_test(cases, the_same_transaction_id_with_another_key_gets_nothing);
    tcase_add_test(cases, every_part_of_the_identity_makes_another_owner);
    tcase_add_test(cases, a_serial_number_that_exists_is_refused_and_nothing_of_the_job_stays);
    tcase_add_test(cases, a_transaction_cannot_name_another_certificate);
    tcase_add_test(cases, an_ended_transaction_is_no_answer_and_binds_no_key);
    tcase_add_test(cases, a_sweep_goes_on_until_all_that_ended_is_gone);
    tcase_add_test(cases, chores_remove_what_ended_and_stop);
    tcase_add_test(cases, the_inventory_tells_what_the_certificate_says);
    suite_add_tcase(suite, cases);
    return suite;
}
