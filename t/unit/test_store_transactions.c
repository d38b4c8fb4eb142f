/* The words of the store for transactions: each outcome, on whichever database. */
#include "store_room.h"

#include <apr_strings.h>

static store_transaction row(const char *key, const char *serial, apr_int64_t created,
                             apr_int64_t ends)
{
    return (store_transaction){ .endpoint = "e",
                                .transaction = "t",
                                .key_hash = key,
                                .csr_hash = "c",
                                .state = "issued",
                                .authority = "authority",
                                .serial = serial,
                                .created = created,
                                .ends = ends,
                                .bound = ends };
}

static const char *holder(store_tx *tx, const store_transaction *t)
{
    const char *bound;

    OK(store_binding_get(tx, t, &bound));
    return bound ? bound : "nobody";
}

static const scep_err *binding_words(store_tx *tx, void *baton)
{
    store_transaction t = row("k", "01", 1, 100);
    store_transaction rival = row("other", "02", 99, 900);
    int removed;
    bool done;

    t.ends = 7; /* of no account to the binding */
    ck_assert_str_eq(holder(tx, &t), "nobody");
    OK(store_transaction_put(tx, &t, &done));
    ck_assert_str_eq(holder(tx, &t), "k");
    ck_assert_str_eq(holder(tx, &rival), "k");
    rival.endpoint = "f";
    ck_assert_str_eq(holder(tx, &rival), "nobody");
    OK(store_transaction_put(tx, &rival, &done));
    ck_assert_str_eq(holder(tx, &rival), "other");

    /* the longest certificate counts */
    for (int i = 0; i < 2; i++) {
        t.csr_hash = i ? "d" : "e";
        t.bound = i ? 200 : 150;
        OK(store_transaction_put(tx, &t, &done));
        ck_assert(done);
    }
    t.created = 199;
    ck_assert_str_eq(holder(tx, &t), "k");
    t.created = 200;
    ck_assert_str_eq(holder(tx, &t), "nobody");
    OK(store_transaction_sweep(tx, 200, 100, &removed));
    ck_assert_int_eq(removed, 2);
    OK(store_transaction_sweep(tx, 201, 100, &removed));
    ck_assert_int_eq(removed, 1);
    return NULL;
}

static const scep_err *ended_binding_words(store_tx *tx, void *baton)
{
    store_transaction t = row("k", "01", 1, 100);
    store_transaction rival = row("other", "02", 100, 900);
    bool done;

    OK(store_transaction_put(tx, &t, &done));
    ck_assert_str_eq(holder(tx, &rival), "nobody");
    OK(store_transaction_put(tx, &rival, &done));
    ck_assert_str_eq(holder(tx, &rival), "other");
    return NULL;
}

static const scep_err *shorter_words(store_tx *tx, void *baton)
{
    store_transaction t = row("k", "01", 1, 100);
    const store_transaction *found;
    bool done;

    t.ends = 50;
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(done);
    t.created = 60;
    t.state = "pending";
    t.request = "1";
    t.ends = t.bound = 67;
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(done);
    t.created = 99;
    ck_assert_str_eq(holder(tx, &t), "k");
    t.csr_hash = NULL;
    OK(store_transaction_get(tx, &t, &found));
    ck_assert_ptr_null(found); /* it waits no longer */

    t = row("k", "02", 60, 80);
    t.request = "1";
    OK(store_transaction_decide(tx, &t, &done));
    ck_assert(done);
    t.created = 99;
    ck_assert_str_eq(holder(tx, &t), "k");
    t.created = 100;
    ck_assert_str_eq(holder(tx, &t), "nobody");

    t = row("k", "03", 100, 300); /* and longer again */
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(done);
    t.created = 299;
    ck_assert_str_eq(holder(tx, &t), "k");
    return NULL;
}

START_TEST(S_22_no_word_makes_a_binding_shorter)
{
    room_job_of(shorter_words);
}
END_TEST

static const scep_err *proven_words(store_tx *tx, void *baton)
{
    store_transaction t = row("k", "01", 1, 100);
    const store_transaction *found;
    bool done;

    t.proven = true;
    t.state = "pending";
    t.request = "1";
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(done);
    ck_assert_str_eq(holder(tx, &t), "nobody");
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(!done);
    t.proven = false;
    OK(store_transaction_get(tx, &t, &found));
    ck_assert_ptr_null(found);
    OK(store_transaction_decide(tx, &t, &done));
    ck_assert(!done);

    /* whoever polls does not say */
    t.csr_hash = NULL;
    OK(store_transaction_get(tx, &t, &found));
    ck_assert_ptr_nonnull(found);
    t = row("k", "01", 1, 100);
    t.proven = true;
    t.request = "1";
    OK(store_transaction_decide(tx, &t, &done));
    ck_assert(done);
    OK(store_transaction_get(tx, &t, &found));
    ck_assert_str_eq(found->state, "issued");
    return NULL;
}

START_TEST(S_22_what_a_certificate_proves_holds_no_transaction_id)
{
    room_job_of(proven_words);
}
END_TEST

START_TEST(a_binding_that_ended_gives_way_to_another_key)
{
    room_job_of(ended_binding_words);
}
END_TEST

START_TEST(a_transaction_id_is_bound_to_the_first_key)
{
    room_job_of(binding_words);
}
END_TEST

static const scep_err *transaction_words(store_tx *tx, void *baton)
{
    store_transaction t = row("k", "01", 1, 100);
    store_transaction other_one = t;
    const store_transaction *found;
    bool done;

    OK(store_transaction_get(tx, &t, &found));
    ck_assert_ptr_null(found);
    t.bound = 200;
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(done);
    other_one.serial = "02";
    OK(store_transaction_put(tx, &other_one, &done));
    ck_assert(!done);
    OK(store_transaction_get(tx, &other_one, &found));
    ck_assert_str_eq(found->serial, "01");
    ck_assert_str_eq(found->authority, "authority");
    ck_assert_str_eq(found->state, "issued");
    ck_assert_str_eq(found->request, "");
    ck_assert_int_eq(found->created, 1);
    ck_assert_int_eq(found->ends, 100);
    ck_assert_int_eq(found->bound, 200);
    other_one.csr_hash = "d";
    OK(store_transaction_get(tx, &other_one, &found));
    ck_assert_ptr_null(found);
    OK(store_transaction_put(tx, &other_one, &done));
    ck_assert(done);
    return NULL;
}

START_TEST(a_transaction_is_put_once_and_found)
{
    room_job_of(transaction_words);
}
END_TEST

static const scep_err *newest_words(store_tx *tx, void *baton)
{
    static const struct {
        const char *csr, *state;
        apr_int64_t created, ends, bound;
    } rows[] = {
        { "a", "pending", 1, 50, 50 },
        { "b", "issued", 3, 10, 80 },
        { "c", "issued", 2, 90, 100 },
        { "d", "denied", 3, 10, 10 },
    };
    static const struct {
        apr_int64_t now;
        const char *csr; /* of the newest then; NULL: none */
    } asked[] = { { 4, "b" }, { 79, "b" }, { 80, "c" }, { 99, "c" }, { 100, NULL } };
    store_transaction key = row("k", "", 0, 0);
    const store_transaction *found;
    bool done;

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        store_transaction t = row("k", "01", rows[i].created, rows[i].ends);

        t.csr_hash = rows[i].csr;
        t.state = rows[i].state;
        t.bound = rows[i].bound;
        OK(store_transaction_put(tx, &t, &done));
        ck_assert(done);
    }
    key.csr_hash = NULL;
    for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
        key.created = asked[i].now;
        OK(store_transaction_get(tx, &key, &found));
        ck_assert_msg(!found == !asked[i].csr && (!found || !strcmp(found->csr_hash, asked[i].csr)),
                      "at %d: %s", (int)asked[i].now, found ? found->csr_hash : "none");
    }
    key.key_hash = "x";
    key.created = 4;
    OK(store_transaction_get(tx, &key, &found));
    ck_assert_ptr_null(found);
    return NULL;
}

START_TEST(without_a_csr_the_newest_that_is_bound_is_found)
{
    room_job_of(newest_words);
}
END_TEST

static const scep_err *decide_words(store_tx *tx, void *baton)
{
    store_transaction t = row("k", "", 1, 100), other_one, decision;
    const store_transaction *found;
    bool done;

    t.state = "pending";
    t.request = "R";
    OK(store_transaction_put(tx, &t, &done));
    decision = t;
    decision.state = "issued";
    decision.serial = "07";
    decision.ends = 500;
    decision.bound = 900;

    other_one = decision;
    other_one.key_hash = "x";
    OK(store_transaction_decide(tx, &other_one, &done));
    ck_assert(!done);
    other_one = decision;
    other_one.request = "S"; /* of which the same request waits anew */
    OK(store_transaction_decide(tx, &other_one, &done));
    ck_assert(!done);
    OK(store_transaction_decide(tx, &decision, &done));
    ck_assert(done);
    OK(store_transaction_get(tx, &t, &found));
    ck_assert_str_eq(found->state, "issued");
    ck_assert_str_eq(found->serial, "07");
    ck_assert_int_eq(found->ends, 500);
    ck_assert_int_eq(found->bound, 900);
    OK(store_transaction_decide(tx, &decision, &done));
    ck_assert(!done);
    return NULL;
}

START_TEST(what_waits_is_decided_once)
{
    room_job_of(decide_words);
}
END_TEST

static const scep_err *renewed_words(store_tx *tx, void *baton)
{
    store_transaction t = row("k", "01", 1, 100);
    const store_transaction *found;
    bool done;

    t.bound = 900;
    OK(store_transaction_put(tx, &t, &done));
    t.created = 99;
    t.serial = "02";
    OK(store_transaction_get(tx, &t, &found));
    ck_assert_str_eq(found->serial, "01");
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(!done);
    t.created = 100;
    t.ends = 200;
    OK(store_transaction_get(tx, &t, &found));
    ck_assert_ptr_null(found);
    OK(store_transaction_put(tx, &t, &done));
    ck_assert(done);
    OK(store_transaction_get(tx, &t, &found));
    ck_assert_str_eq(found->serial, "02");
    return NULL;
}

START_TEST(a_transaction_that_ended_is_no_answer_and_gives_way)
{
    room_job_of(renewed_words);
}
END_TEST

static const scep_err *ended_words(store_tx *tx, void *baton)
{
    static const int steps[] = { 5, 5, 2, 0 };
    int removed;
    bool done;

    for (int i = 0; i < 12; i++) {
        store_transaction t = row("k", "01", 1, i % 2 ? 50 : 100);

        t.transaction = apr_itoa(room_pool, i);
        t.bound = 100;
        OK(store_transaction_put(tx, &t, &done));
    }
    OK(store_transaction_sweep(tx, 100, 5, &removed)); /* bound to the last second */
    ck_assert_int_eq(removed, 0);
    for (int i = 0; i < 4; i++) {
        OK(store_transaction_sweep(tx, 101, 5, &removed));
        ck_assert_int_eq(removed, steps[i]);
    }
    return NULL;
}

START_TEST(ended_transactions_go_in_small_steps)
{
    room_job_of(ended_words);
}
END_TEST

Suite *store_transactions_suite(void)
{
    Suite *suite = suite_create("store transactions");
    TCase *words = tcase_create("words");

    tcase_add_checked_fixture(words, room_up_portable, room_down);
    tcase_add_test(words, a_transaction_id_is_bound_to_the_first_key);
    tcase_add_test(words, a_binding_that_ended_gives_way_to_another_key);
    tcase_add_test(words, S_22_no_word_makes_a_binding_shorter);
    tcase_add_test(words, S_22_what_a_certificate_proves_holds_no_transaction_id);
    tcase_add_test(words, a_transaction_is_put_once_and_found);
    tcase_add_test(words, without_a_csr_the_newest_that_is_bound_is_found);
    tcase_add_test(words, what_waits_is_decided_once);
    tcase_add_test(words, a_transaction_that_ended_is_no_answer_and_gives_way);
    tcase_add_test(words, ended_transactions_go_in_small_steps);
    suite_add_tcase(suite, words);
    return suite;
}
