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

static bool turn(store_tx *tx, const char *id, const char *state, apr_int64_t next_ask,
                 const store_request *to)
{
    const store_request from = { .id = id, .state = state, .next_ask = next_ask };
    bool done;

    OK(store_request_turn(tx, &from, to, to->decided ? to->decided : 1, &done));
    return done;
}

static const scep_err *request_words(store_tx *tx, void *baton)
{
    store_request decision = {
        .state = "denied", .reason = "unknown device", .by = "root", .decided = 50, .ends = 51
    };
    const store_request *found;

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

    ck_assert(!turn(tx, "R1", "queued", 0, &decision));
    ck_assert(!turn(tx, "R1", "pending", 1, &decision));
    ck_assert(turn(tx, "R1", "pending", 0, &decision));
    ck_assert(!turn(tx, "R1", "pending", 0, &decision));
    ck_assert(!turn(tx, "R1", "denied", 0, &decision));
    OK(store_request_get(tx, "R1", &found));
    ck_assert_str_eq(found->state, "denied");
    ck_assert_str_eq(found->reason, "unknown device");
    ck_assert_str_eq(found->by, "root");
    ck_assert_int_eq(found->decided, 50);
    ck_assert_int_eq(found->ends, 51);

    put_request(tx, "R2", "k", "p", 100);
    decision.decided = 100; /* too late */
    ck_assert(!turn(tx, "R2", "pending", 0, &decision));
    return NULL;
}

START_TEST(a_request_is_put_and_decided_once)
{
    room_job_of(request_words);
}
END_TEST

static const scep_err *waiting_words(store_tx *tx, void *baton)
{
    const store_request decision = { .state = "issued", .decided = 2, .ends = 2 };
    apr_int64_t all, of_key, of_peer;

    put_request(tx, "1", "k", "p", 100);
    put_request(tx, "2", "k", "q", 100);
    put_request(tx, "3", "l", "p", 200);
    put_request(tx, "4", "l", "q", 200);
    put_request(tx, "5", "k", "p", 200);
    put_request(tx, "6", "k", "p", 200);
    ck_assert(turn(tx, "5", "pending", 0, &decision));
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
    const store_request decision = { .state = "issued", .decided = 2, .ends = 60 };
    int changed;

    for (int i = 1; i <= 5; i++)
        put_request(tx, apr_itoa(room_pool, i), "k", "p", 50 + i);
    ck_assert(turn(tx, "3", "pending", 0, &decision));
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

/* ---- requests that a CA is asked about ---- */

static void put_queued(store_tx *tx, const char *id, const char *authority, apr_int64_t next_ask)
{
    store_request r = request(id, "k", "p", 1000);
    bool done;

    r.state = next_ask ? "queued" : "pending";
    r.authority = authority;
    r.next_ask = next_ask;
    r.cookie = "of the connector";
    r.answer = scep_bytes_of("what came");
    OK(store_request_put(tx, &r, &done));
    ck_assert(done);
}

static void expect_due(store_tx *tx, const char *authority, apr_int64_t now, int most,
                       const char *line)
{
    apr_array_header_t *ids;

    OK(store_request_due(tx, authority, now, most, &ids));
    ck_assert_str_eq(apr_array_pstrcat(room_pool, ids, ' '), line);
}

static const scep_err *ask_words(store_tx *tx, void *baton)
{
    const store_request asked = { .state = "asked", .cookie = "c", .next_ask = 60, .ends = 1000 };
    const store_request lost = { .state = "lost", .ends = 1000 };
    const store_request *found;

    put_queued(tx, "1", "ca", 20);
    put_queued(tx, "2", "ca", 10);
    put_queued(tx, "3", "ca", 0);
    put_queued(tx, "4", "other", 10);
    OK(store_request_get(tx, "1", &found));
    ck_assert_str_eq(found->cookie, "of the connector");
    ck_assert_int_eq(found->next_ask, 20);
    ck_assert(scep_bytes_equal(found->answer, scep_bytes_of("what came")));
    expect_due(tx, "ca", 9, 9, "");
    expect_due(tx, "ca", 19, 9, "2");
    expect_due(tx, "ca", 20, 9, "2 1");
    expect_due(tx, "ca", 20, 1, "2");
    ck_assert(turn(tx, "2", "queued", 10, &asked));
    ck_assert(!turn(tx, "2", "queued", 10, &asked)); /* another node was faster */
    expect_due(tx, "ca", 59, 9, "1");
    expect_due(tx, "ca", 60, 9, "1 2");
    expect_due(tx, "ca", 999, 9, "1 2");
    expect_due(tx, "ca", 1000, 9, ""); /* it ends then, whether it was swept or not */
    expect_requests(tx, STORE_REQUEST_STUCK, "", 9, "3=pending");
    ck_assert(turn(tx, "2", "asked", 60, &lost));
    expect_due(tx, "ca", 99, 9, "1");
    expect_requests(tx, STORE_REQUEST_STUCK, "", 9, "2=lost 3=pending");
    expect_requests(tx, STORE_REQUEST_STUCK, "2", 9, "3=pending");
    OK(store_request_get(tx, "2", &found));
    ck_assert_str_eq(found->cookie, "");
    ck_assert_uint_eq(found->answer.len, 0);
    return NULL;
}

START_TEST(whom_a_CA_is_to_be_asked_about_is_found_and_claimed_once)
{
    room_job_of(ask_words);
}
END_TEST

static const scep_err *expire_asked(store_tx *tx, void *baton)
{
    apr_int64_t all, of_key, of_peer;
    int changed;

    put_queued(tx, "1", "ca", 20);
    put_queued(tx, "2", "ca", 0);
    OK(store_request_waiting(tx, "e", "k", "p", 999, &all, &of_key, &of_peer));
    ck_assert_int_eq(all, 2); /* S-24: those that wait for a CA count, too */
    OK(store_request_sweep(tx, 1000, 0, 9, &changed));
    ck_assert_int_eq(changed, 2);
    expect_requests(tx, "", "", 9, "1=expired 2=expired");
    expect_due(tx, "ca", 5000, 9, "");
    return NULL;
}

START_TEST(S_24_what_waits_for_a_CA_counts_and_expires)
{
    room_job_of(expire_asked);
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
    tcase_add_test(words, whom_a_CA_is_to_be_asked_about_is_found_and_claimed_once);
    tcase_add_test(words, S_24_what_waits_for_a_CA_counts_and_expires);
    tcase_add_test(words, an_ra_is_kept_until_it_ends);
    tcase_add_test(words, a_lease_has_one_holder);
    suite_add_tcase(suite, words);
    return suite;
}
