/* The words of the store: each outcome, on whichever database. */
#include "store_room.h"

#include <apr_strings.h>
#include <string.h>

#define OK(expr)                                                               \
    do {                                                                       \
        const scep_err *ok_err = (expr);                                       \
        ck_assert_msg(!ok_err, "%s: %s", #expr, ok_err ? ok_err->detail : ""); \
    } while (0)

/* A test's words are one job. */
static void in_a_job(store_job_fn fn)
{
    OK(store_run(room_store, fn, NULL, room_pool));
}

static void put_challenge(store_tx *tx, const char *endpoint, const char *hash, apr_int64_t expires)
{
    store_challenge c = { endpoint, hash, "admin", NULL, 1, expires };

    OK(store_challenge_put(tx, &c));
}

static bool is_fresh(store_tx *tx, const char *endpoint, const char *hash, apr_int64_t now)
{
    bool fresh;

    OK(store_challenge_is_fresh(tx, endpoint, hash, now, &fresh));
    return fresh;
}

static bool use(store_tx *tx, const char *endpoint, const char *hash, apr_int64_t now)
{
    bool done;

    OK(store_challenge_use(tx, endpoint, hash, now, &done));
    return done;
}

static const scep_err *challenge_words(store_tx *tx, void *baton)
{
    put_challenge(tx, "e", "h", 100);
    ck_assert(is_fresh(tx, "e", "h", 99));
    ck_assert(!is_fresh(tx, "e", "h", 100));
    ck_assert(!is_fresh(tx, "f", "h", 99));
    ck_assert(!is_fresh(tx, "e", "i", 99));
    ck_assert(!use(tx, "e", "h", 100));
    ck_assert(!use(tx, "f", "h", 99));
    ck_assert(use(tx, "e", "h", 99));
    ck_assert(!use(tx, "e", "h", 99));
    ck_assert(!is_fresh(tx, "e", "h", 99));
    return NULL;
}

START_TEST(a_challenge_is_fresh_until_it_is_used_or_ends)
{
    in_a_job(challenge_words);
}
END_TEST

static const scep_err *same_challenge(store_tx *tx, void *baton)
{
    store_challenge c = { "e", "h", "admin", "peer", 1, 100 };
    const scep_err *err;

    OK(store_challenge_put(tx, &c));
    err = store_challenge_put(tx, &c);
    ck_assert(err && err->code == SCEP_UNAVAILABLE);
    ck_assert(is_fresh(tx, "e", "h", 99)); /* and the database goes on */
    return NULL;
}

START_TEST(the_same_challenge_is_put_once)
{
    in_a_job(same_challenge);
}
END_TEST

static int sweep(store_tx *tx, const char *endpoint, apr_int64_t now, int most)
{
    int unused;

    OK(store_challenge_sweep(tx, endpoint, now, most, &unused));
    return unused;
}

/* A row of that name is in the way, whatever became of it. */
static bool is_taken(store_tx *tx, const char *endpoint, const char *hash)
{
    store_challenge c = { endpoint, hash, "admin", NULL, 1, 100 };

    return store_challenge_put(tx, &c) != NULL;
}

static const scep_err *sweep_words(store_tx *tx, void *baton)
{
    for (int i = 0; i < 10; i++)
        put_challenge(tx, "e", apr_psprintf(room_pool, "%d", i), 100 + i);
    put_challenge(tx, "f", "0", 100);
    ck_assert(use(tx, "e", "0", 1));
    ck_assert(use(tx, "e", "9", 1));
    ck_assert_int_eq(sweep(tx, "e", 99, 100), 0);
    ck_assert_int_eq(sweep(tx, "e", 104, 2), 2); /* 1 and 2: the oldest first */
    ck_assert(!is_fresh(tx, "e", "2", 99));
    ck_assert(is_fresh(tx, "e", "3", 99));
    ck_assert(is_taken(tx, "e", "0"));             /* used: there was no place in the two */
    ck_assert_int_eq(sweep(tx, "e", 104, 100), 2); /* 3, 4 and the used 0 */
    ck_assert(is_fresh(tx, "e", "5", 99));
    ck_assert(!is_taken(tx, "e", "0"));
    ck_assert(is_taken(tx, "e", "9")); /* used, and not yet over */
    ck_assert(is_fresh(tx, "f", "0", 99));
    return NULL;
}

START_TEST(a_sweep_takes_what_ended_and_no_more_than_it_may)
{
    in_a_job(sweep_words);
}
END_TEST

static const scep_err *counter_words(store_tx *tx, void *baton)
{
    apr_array_header_t *names;
    apr_int64_t count = -1;

    OK(store_unused_get(tx, "e", &count));
    ck_assert_int_eq(count, 0);
    OK(store_unused_add(tx, "f", 0));
    OK(store_unused_add(tx, "e", 3));
    OK(store_unused_add(tx, "e", -1));
    OK(store_unused_get(tx, "e", &count));
    ck_assert_int_eq(count, 2);
    OK(store_endpoints(tx, &names));
    ck_assert_int_eq(names->nelts, 2);
    ck_assert_str_eq(APR_ARRAY_IDX(names, 0, const char *), "e");
    ck_assert_str_eq(APR_ARRAY_IDX(names, 1, const char *), "f");
    return NULL;
}

START_TEST(an_endpoint_counts)
{
    in_a_job(counter_words);
}
END_TEST

static const scep_err *binding_words(store_tx *tx, void *baton)
{
    store_transaction t = { "e", "t", "k", "c", "authority", "01", 1, 100 };
    store_transaction rival = { "e", "t", "other", "c", "authority", "02", 99, 900 };
    const char *bound;
    int removed;

    OK(store_binding_get(tx, &t, &bound));
    ck_assert_ptr_null(bound);
    OK(store_binding_put(tx, &t, &bound));
    ck_assert_str_eq(bound, "k");
    OK(store_binding_put(tx, &rival, &bound));
    ck_assert_str_eq(bound, "k");
    rival.endpoint = "f";
    OK(store_binding_put(tx, &rival, &bound));
    ck_assert_str_eq(bound, "other");

    /* the longest certificate counts, and another key's try does not */
    t.ends = 200;
    OK(store_binding_put(tx, &t, &bound));
    t.ends = 150;
    OK(store_binding_put(tx, &t, &bound));
    OK(store_transaction_sweep(tx, 200, 100, &removed));
    ck_assert_int_eq(removed, 0);
    OK(store_transaction_sweep(tx, 201, 100, &removed));
    ck_assert_int_eq(removed, 1);
    OK(store_binding_get(tx, &t, &bound));
    ck_assert_ptr_null(bound);
    return NULL;
}

static const scep_err *ended_binding_words(store_tx *tx, void *baton)
{
    store_transaction t = { "e", "t", "k", "c", "authority", "01", 1, 100 };
    store_transaction rival = { "e", "t", "other", "c", "authority", "02", 100, 900 };
    const char *bound;

    OK(store_binding_put(tx, &t, &bound));
    OK(store_binding_get(tx, &rival, &bound));
    ck_assert_ptr_null(bound);
    OK(store_binding_put(tx, &rival, &bound));
    ck_assert_str_eq(bound, "other");
    OK(store_binding_put(tx, &t, &bound));
    ck_assert_str_eq(bound, "other");
    return NULL;
}

START_TEST(a_binding_that_ended_gives_way_to_another_key)
{
    in_a_job(ended_binding_words);
}
END_TEST

START_TEST(a_transaction_id_is_bound_to_the_first_key)
{
    in_a_job(binding_words);
}
END_TEST

static const scep_err *transaction_words(store_tx *tx, void *baton)
{
    store_transaction t = { "e", "t", "k", "c", "authority", "01", 1, 100 };
    store_transaction other_one = t;
    const char *authority, *serial;
    bool done;

    OK(store_transaction_get(tx, &t, &authority, &serial));
    ck_assert_ptr_null(serial);
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(done);
    other_one.serial = "02";
    OK(store_transaction_put(tx, &other_one, &done));
    ck_assert(!done);
    OK(store_transaction_get(tx, &other_one, &authority, &serial));
    ck_assert_str_eq(serial, "01");
    ck_assert_str_eq(authority, "authority");
    other_one.csr_hash = "d";
    OK(store_transaction_get(tx, &other_one, &authority, &serial));
    ck_assert_ptr_null(serial);
    OK(store_transaction_put(tx, &other_one, &done));
    ck_assert(done);
    return NULL;
}

START_TEST(a_transaction_is_put_once_and_found)
{
    in_a_job(transaction_words);
}
END_TEST

static const scep_err *renewed_words(store_tx *tx, void *baton)
{
    store_transaction t = { "e", "t", "k", "c", "authority", "01", 1, 100 };
    const char *authority, *serial;
    bool done;

    OK(store_transaction_put(tx, &t, &done));
    t.created = 99;
    t.serial = "02";
    OK(store_transaction_get(tx, &t, &authority, &serial));
    ck_assert_str_eq(serial, "01");
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(!done);
    t.created = 100;
    t.ends = 200;
    OK(store_transaction_get(tx, &t, &authority, &serial));
    ck_assert_ptr_null(serial);
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(done);
    OK(store_transaction_get(tx, &t, &authority, &serial));
    ck_assert_str_eq(serial, "02");
    return NULL;
}

START_TEST(a_transaction_that_ended_is_no_answer_and_gives_way)
{
    in_a_job(renewed_words);
}
END_TEST

static const scep_err *ended_words(store_tx *tx, void *baton)
{
    const char *bound;
    int removed;
    bool done;

    for (int i = 0; i < 6; i++) {
        store_transaction t = { "e", apr_itoa(room_pool, i), "k", "c", "a", "01", 1, 100 };

        OK(store_transaction_put(tx, &t, &done));
        OK(store_binding_put(tx, &t, &bound));
    }
    OK(store_transaction_sweep(tx, 101, 5, &removed));
    ck_assert_int_eq(removed, 5);
    OK(store_transaction_sweep(tx, 101, 5, &removed));
    ck_assert_int_eq(removed, 5);
    OK(store_transaction_sweep(tx, 101, 5, &removed));
    ck_assert_int_eq(removed, 2);
    OK(store_transaction_sweep(tx, 101, 5, &removed));
    ck_assert_int_eq(removed, 0);
    return NULL;
}

START_TEST(ended_transactions_go_in_small_steps)
{
    in_a_job(ended_words);
}
END_TEST

static const scep_err *certificate_words(store_tx *tx, void *baton)
{
    unsigned char bytes[256];
    store_certificate c = { .authority = "a'; DROP TABLE scep_certificate; --",
                            .serial = "01",
                            .endpoint = "e",
                            .transaction = "t",
                            .key_hash = "k",
                            .der = { bytes, sizeof(bytes) },
                            .not_before = -1,
                            .not_after = APR_INT64_MAX,
                            .issued = 0 };
    apr_int64_t count;
    scep_bytes der;
    bool done;

    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    OK(store_certificate_get(tx, c.authority, "01", &der));
    ck_assert_uint_eq(der.len, 0);
    OK(store_certificate_put(tx, &c, &done));
    ck_assert(done);
    bytes[0] = 1;
    OK(store_certificate_put(tx, &c, &done));
    ck_assert(!done);
    bytes[0] = 0;
    OK(store_certificate_get(tx, c.authority, "01", &der));
    ck_assert_mem_eq(der.data, bytes, sizeof(bytes));
    ck_assert_uint_eq(der.len, sizeof(bytes));
    c.authority = "b";
    OK(store_certificate_put(tx, &c, &done));
    ck_assert(done);
    OK(store_certificate_count(tx, &count));
    ck_assert_int_eq(count, 2);
    return NULL;
}

START_TEST(a_serial_number_is_put_once_for_each_authority)
{
    in_a_job(certificate_words);
}
END_TEST

Suite *store_words_suite(void)
{
    Suite *suite = suite_create("store words");
    TCase *words = tcase_create("words");

    tcase_add_checked_fixture(words, room_up_portable, room_down);
    tcase_add_test(words, a_challenge_is_fresh_until_it_is_used_or_ends);
    tcase_add_test(words, the_same_challenge_is_put_once);
    tcase_add_test(words, a_sweep_takes_what_ended_and_no_more_than_it_may);
    tcase_add_test(words, an_endpoint_counts);
    tcase_add_test(words, a_transaction_id_is_bound_to_the_first_key);
    tcase_add_test(words, a_binding_that_ended_gives_way_to_another_key);
    tcase_add_test(words, a_transaction_is_put_once_and_found);
    tcase_add_test(words, a_transaction_that_ended_is_no_answer_and_gives_way);
    tcase_add_test(words, ended_transactions_go_in_small_steps);
    tcase_add_test(words, a_serial_number_is_put_once_for_each_authority);
    suite_add_tcase(suite, words);
    return suite;
}
