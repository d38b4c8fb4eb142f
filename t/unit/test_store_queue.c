/* The words of the store for requests that wait, RAs and leases: each outcome, on whichever
 * database. */
#include "store_room.h"

#include <apr_strings.h>
#include <string.h>

/* ---- requests ---- */

static store_request request(const char *id, const char *key, const char *peer, apr_int64_t ends)
{
    return (store_request){ .id = id,
                            .endpoint = "e",
                            .authority = "ca",
                            .template_name = "template",
                            .transaction = "t",
                            .key_hash = key,
                            .csr_hash = "c",
                            .transaction_id = "printable",
                            .subject = "CN=x",
                            .peer = peer,
                            .message_type = 19,
                            .csr = scep_bytes_of("csr"),
                            .old = scep_bytes_of("old"),
                            .challenged = true,
                            .state = "pending",
                            .created = 1,
                            .ends = ends };
}

static void put_request(store_tx *tx, const char *id, const char *key, const char *peer,
                        apr_int64_t ends)
{
    store_request r = request(id, key, peer, ends);
    bool done;

    OK(store_request_put(tx, &r, &done));
    ck_assert(done);
    OK(store_request_put(tx, &r, &done));
    ck_assert(!done);
}

static const scep_err *request_words(store_tx *tx, void *baton)
{
    store_request decision = { .id = "R1",
                               .state = "denied",
                               .reason = "unknown device",
                               .by = "root",
                               .decided = 50,
                               .ends = 51 };
    const store_request *found;
    bool done;

    OK(store_request_get(tx, "R1", &found));
    ck_assert_ptr_null(found);
    put_request(tx, "R1", "k", "p", 100);
    OK(store_request_get(tx, "R1", &found));
    ck_assert_str_eq(found->endpoint, "e");
    ck_assert_str_eq(found->authority, "ca");
    ck_assert_str_eq(found->template_name, "template");
    ck_assert_str_eq(found->transaction, "t");
    ck_assert_str_eq(found->key_hash, "k");
    ck_assert_str_eq(found->csr_hash, "c");
    ck_assert_str_eq(found->transaction_id, "printable");
    ck_assert_str_eq(found->subject, "CN=x");
    ck_assert_str_eq(found->peer, "p");
    ck_assert_str_eq(found->state, "pending");
    ck_assert_str_eq(found->by, "");
    ck_assert_int_eq(found->message_type, 19);
    ck_assert_int_eq(found->decided, 0);
    ck_assert(scep_bytes_equal(found->csr, scep_bytes_of("csr")));
    ck_assert(scep_bytes_equal(found->old, scep_bytes_of("old")));
    ck_assert(found->challenged);

    OK(store_request_decide(tx, &decision, &done));
    ck_assert(done);
    OK(store_request_decide(tx, &decision, &done));
    ck_assert(!done);
    OK(store_request_get(tx, "R1", &found));
    ck_assert_str_eq(found->state, "denied");
    ck_assert_str_eq(found->reason, "unknown device");
    ck_assert_str_eq(found->by, "root");
    ck_assert_int_eq(found->decided, 50);
    ck_assert_int_eq(found->ends, 51);

    put_request(tx, "R2", "k", "p", 100);
    decision.id = "R2";
    decision.decided = 100; /* too late */
    OK(store_request_decide(tx, &decision, &done));
    ck_assert(!done);
    return NULL;
}

START_TEST(a_request_is_put_and_decided_once)
{
    room_job_of(request_words);
}
END_TEST

static const scep_err *waiting_words(store_tx *tx, void *baton)
{
    store_request decision = { .id = "5", .state = "issued", .decided = 2, .ends = 2 };
    apr_int64_t all, of_key, of_peer;
    bool done;

    put_request(tx, "1", "k", "p", 100);
    put_request(tx, "2", "k", "q", 100);
    put_request(tx, "3", "l", "p", 200);
    put_request(tx, "4", "l", "q", 200);
    put_request(tx, "5", "k", "p", 200);
    put_request(tx, "6", "k", "p", 200);
    OK(store_request_decide(tx, &decision, &done));
    OK(store_request_waiting(tx, "e", "k", "p", 99, &all, &of_key, &of_peer));
    ck_assert_int_eq(all, 5);
    ck_assert_int_eq(of_key, 3);
    ck_assert_int_eq(of_peer, 3);
    OK(store_request_waiting(tx, "e", "k", "q", 100, &all, &of_key, &of_peer));
    ck_assert_int_eq(all, 3);
    ck_assert_int_eq(of_key, 1);
    ck_assert_int_eq(of_peer, 1);
    OK(store_request_waiting(tx, "f", "k", "p", 99, &all, &of_key, &of_peer));
    ck_assert_int_eq(all + of_key + of_peer, 0);
    return NULL;
}

START_TEST(those_that_wait_are_counted)
{
    room_job_of(waiting_words);
}
END_TEST

static void expect_requests(store_tx *tx, const char *state, const char *after, int most,
                            const char *line)
{
    apr_array_header_t *rows;
    const char *was = "";

    OK(store_request_list(tx, state, after, most, &rows));
    for (int i = 0; i < rows->nelts; i++) {
        const store_request *r = &APR_ARRAY_IDX(rows, i, store_request);

        ck_assert_uint_eq(r->csr.len, 0);
        ck_assert_str_eq(r->subject, "CN=x");
        was = apr_pstrcat(room_pool, was, i ? " " : "", r->id, "=", r->state, NULL);
    }
    ck_assert_str_eq(was, line);
}

static const scep_err *sweep_requests(store_tx *tx, void *baton)
{
    store_request decision = { .id = "3", .state = "issued", .decided = 2, .ends = 60 };
    int changed;
    bool done;

    for (int i = 1; i <= 5; i++)
        put_request(tx, apr_itoa(room_pool, i), "k", "p", 50 + i);
    OK(store_request_decide(tx, &decision, &done));
    expect_requests(tx, "pending", "", 2, "1=pending 2=pending");
    expect_requests(tx, "pending", "2", 9, "4=pending 5=pending");
    expect_requests(tx, "issued", "", 9, "3=issued");
    expect_requests(tx, "", "2", 2, "3=issued 4=pending");

    OK(store_request_sweep(tx, 50, 0, 9, &changed));
    ck_assert_int_eq(changed, 0);
    OK(store_request_sweep(tx, 54, 0, 2, &changed));
    ck_assert_int_eq(changed, 2);
    OK(store_request_sweep(tx, 54, 0, 2, &changed));
    ck_assert_int_eq(changed, 1);
    expect_requests(tx, "", "", 9, "1=expired 2=expired 3=issued 4=expired 5=pending");
    OK(store_request_sweep(tx, 54, 60, 2, &changed));
    ck_assert_int_eq(changed, 2);
    OK(store_request_sweep(tx, 54, 60, 2, &changed));
    ck_assert_int_eq(changed, 1);
    expect_requests(tx, "", "", 9, "3=issued 5=pending");
    OK(store_request_sweep(tx, 54, 61, 2, &changed));
    ck_assert_int_eq(changed, 1);
    expect_requests(tx, "", "", 9, "5=pending");
    return NULL;
}

START_TEST(requests_are_listed_expire_and_are_forgotten)
{
    room_job_of(sweep_requests);
}
END_TEST

/* ---- RAs, leases ---- */

static const scep_err *ra_words(store_tx *tx, void *baton)
{
    unsigned char key[] = { 0, 0xff, 0 };
    store_ra ra = { .authority = "a",
                    .id = "1",
                    .sign_cert = scep_bytes_of("sc"),
                    .decrypt_cert = scep_bytes_of("dc"),
                    .sign_key = { key, 3 },
                    .decrypt_key = { key, 2 },
                    .created = 1,
                    .ends = 100 };
    apr_array_header_t *rows;
    const store_ra *found;
    int removed;
    bool done;

    OK(store_ra_put(tx, &ra, &done));
    ck_assert(done);
    OK(store_ra_put(tx, &ra, &done));
    ck_assert(!done);
    ra.id = "2";
    ra.created = 2;
    ra.ends = 200;
    OK(store_ra_put(tx, &ra, &done));
    ra.authority = "b";
    OK(store_ra_put(tx, &ra, &done));
    ck_assert(done);
    OK(store_ra_list(tx, "a", 99, &rows));
    ck_assert_int_eq(rows->nelts, 2);
    found = &APR_ARRAY_IDX(rows, 0, store_ra);
    ck_assert_str_eq(found->id, "2");
    ck_assert_int_eq(found->created, 2);
    ck_assert_int_eq(found->ends, 200);
    ck_assert(scep_bytes_equal(found->sign_cert, ra.sign_cert));
    ck_assert(scep_bytes_equal(found->decrypt_cert, ra.decrypt_cert));
    ck_assert(scep_bytes_equal(found->sign_key, ra.sign_key));
    ck_assert(scep_bytes_equal(found->decrypt_key, ra.decrypt_key));
    ck_assert_str_eq(APR_ARRAY_IDX(rows, 1, store_ra).id, "1");
    OK(store_ra_list(tx, "a", 100, &rows));
    ck_assert_int_eq(rows->nelts, 1);
    OK(store_ra_sweep(tx, 100, 9, &removed));
    ck_assert_int_eq(removed, 0);
    OK(store_ra_sweep(tx, 201, 2, &removed));
    ck_assert_int_eq(removed, 2);
    OK(store_ra_sweep(tx, 201, 2, &removed));
    ck_assert_int_eq(removed, 1);
    return NULL;
}

START_TEST(an_ra_is_kept_until_it_ends)
{
    room_job_of(ra_words);
}
END_TEST

static bool take(store_tx *tx, const char *holder, apr_int64_t now, apr_int64_t until)
{
    bool held;

    OK(store_lease_take(tx, "work", holder, now, until, &held));
    return held;
}

static const scep_err *lease_words(store_tx *tx, void *baton)
{
    bool held;

    ck_assert(take(tx, "first", 1, 10));
    ck_assert(!take(tx, "second", 9, 20));
    ck_assert(take(tx, "first", 5, 15));
    ck_assert(!take(tx, "second", 14, 20));
    ck_assert(take(tx, "second", 15, 20));
    ck_assert(!take(tx, "first", 16, 30));
    ck_assert(take(tx, "second", 16, 16)); /* given back */
    ck_assert(take(tx, "first", 16, 30));
    OK(store_lease_take(tx, "other work", "second", 1, 10, &held));
    ck_assert(held);
    return NULL;
}

START_TEST(a_lease_has_one_holder)
{
    room_job_of(lease_words);
}
END_TEST

Suite *store_queue_suite(void)
{
    Suite *suite = suite_create("store queue");
    TCase *words = tcase_create("words");

    tcase_add_checked_fixture(words, room_up_portable, room_down);
    tcase_add_test(words, a_request_is_put_and_decided_once);
    tcase_add_test(words, those_that_wait_are_counted);
    tcase_add_test(words, requests_are_listed_expire_and_are_forgotten);
    tcase_add_test(words, an_ra_is_kept_until_it_ends);
    tcase_add_test(words, a_lease_has_one_holder);
    suite_add_tcase(suite, words);
    return suite;
}
