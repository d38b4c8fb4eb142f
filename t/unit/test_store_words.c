/* The words of the store for challenges and transactions: each outcome, on whichever database. */
#include "store_room.h"

#include <apr_strings.h>
#include <string.h>

static void put_challenge(store_tx *tx, const char *endpoint, const char *hash, apr_int64_t expires)
{
    store_challenge c = {
        .endpoint = endpoint, .hash = hash, .user = "admin", .created = 1, .expires = expires
    };

    OK(store_challenge_put(tx, &c));
}

static bool is_fresh(store_tx *tx, const char *endpoint, const char *hash, apr_int64_t now)
{
    const store_challenge *found;

    OK(store_challenge_fresh(tx, endpoint, hash, now, &found));
    return found != NULL;
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
    room_job_of(challenge_words);
}
END_TEST

static const scep_err *same_challenge(store_tx *tx, void *baton)
{
    store_challenge c = { .endpoint = "e", .hash = "h", .created = 1, .expires = 100 };
    const scep_err *err;

    OK(store_challenge_put(tx, &c));
    err = store_challenge_put(tx, &c);
    ck_assert(err && err->code == SCEP_UNAVAILABLE);
    ck_assert(is_fresh(tx, "e", "h", 99)); /* and the database goes on */
    return NULL;
}

START_TEST(the_same_challenge_is_put_once)
{
    room_job_of(same_challenge);
}
END_TEST

static int sweep(store_tx *tx, const char *endpoint, apr_int64_t now, int most, int used)
{
    int unused, removed;

    OK(store_challenge_sweep(tx, endpoint, now, most, &unused, &removed));
    ck_assert_int_eq(removed - unused, used);
    return unused;
}

/* A row of that name is in the way, whatever became of it. */
static bool is_taken(store_tx *tx, const char *endpoint, const char *hash)
{
    store_challenge c = { .endpoint = endpoint, .hash = hash, .created = 1, .expires = 100 };

    return store_challenge_put(tx, &c) != NULL;
}

static const scep_err *sweep_words(store_tx *tx, void *baton)
{
    for (int i = 0; i < 10; i++)
        put_challenge(tx, "e", apr_psprintf(room_pool, "%d", i), 100 + i);
    put_challenge(tx, "f", "0", 100);
    ck_assert(use(tx, "e", "0", 1));
    ck_assert(use(tx, "e", "9", 1));
    ck_assert_int_eq(sweep(tx, "e", 99, 100, 0), 0);
    ck_assert_int_eq(sweep(tx, "e", 104, 2, 0), 2); /* 1 and 2: the oldest first */
    ck_assert(!is_fresh(tx, "e", "2", 99));
    ck_assert(is_fresh(tx, "e", "3", 99));
    ck_assert(is_taken(tx, "e", "0"));                /* used: there was no place in the two */
    ck_assert_int_eq(sweep(tx, "e", 104, 100, 1), 2); /* 3, 4 and the used 0 */
    ck_assert(is_fresh(tx, "e", "5", 99));
    ck_assert(!is_taken(tx, "e", "0"));
    ck_assert(is_taken(tx, "e", "9")); /* used, and not yet over */
    ck_assert(is_fresh(tx, "f", "0", 99));
    return NULL;
}

START_TEST(a_sweep_takes_what_ended_and_no_more_than_it_may)
{
    room_job_of(sweep_words);
}
END_TEST

static bool is_crowd(store_tx *tx, const char *endpoint, apr_int64_t now, apr_int64_t most)
{
    bool crowd;

    OK(store_challenge_crowd(tx, endpoint, now, most, &crowd));
    return crowd;
}

static apr_int64_t standing(store_tx *tx, const char *endpoint, apr_int64_t now)
{
    apr_int64_t count;

    OK(store_challenge_count(tx, endpoint, now, &count));
    return count;
}

static const scep_err *crowd_words(store_tx *tx, void *baton)
{
    ck_assert(!is_crowd(tx, "e", 1, 1));
    ck_assert_int_eq(standing(tx, "e", 1), 0);
    for (int i = 0; i < 10; i++)
        put_challenge(tx, "e", apr_psprintf(room_pool, "%d", i), 100 + i);
    put_challenge(tx, "f", "0", 900);
    ck_assert(use(tx, "e", "9", 1));
    OK(store_unused_add(tx, "e", 9));
    OK(store_unused_add(tx, "f", 1));
    ck_assert(is_crowd(tx, "e", 99, 9));
    ck_assert(!is_crowd(tx, "e", 99, 10)); /* the used one is none */
    ck_assert_int_eq(standing(tx, "e", 99), 9);
    ck_assert(is_crowd(tx, "e", 104, 4)); /* 5 to 8: what ends now has ended */
    ck_assert(!is_crowd(tx, "e", 104, 5));
    ck_assert_int_eq(standing(tx, "e", 104), 4);
    ck_assert(is_crowd(tx, "e", 107, 1));
    ck_assert(!is_crowd(tx, "e", 108, 1));
    ck_assert_int_eq(standing(tx, "e", 108), 0);
    ck_assert_int_eq(standing(tx, "f", 108), 1);
    /* however many they are */
    for (int i = 10; i < 2010; i++)
        put_challenge(tx, "e", apr_psprintf(room_pool, "%d", i), i < 2007 ? 50 : 200);
    OK(store_unused_add(tx, "e", 2000));
    ck_assert_int_eq(standing(tx, "e", 49), 2009);
    ck_assert_int_eq(standing(tx, "e", 108), 3);
    return NULL;
}

START_TEST(what_expired_is_in_no_crowd_and_not_counted)
{
    room_job_of(crowd_words);
}
END_TEST

/* A statement as SQLite itself wants it. */
static const char *with_marks(const char *sql)
{
    char *out = apr_pstrdup(room_pool, sql), *to = out;

    for (const char *s = sql; *s; s++) {
        *to++ = *s == '%' ? '?' : *s;
        if (*s == '%')
            s += strncmp(s, "%lld", 4) == 0 ? 3 : 1;
    }
    *to = '\0';
    return out;
}

/* What has to stand in the plan of a statement of an enrolment, of the chores, of a CRL. */
static const struct {
    const char *name, *plan;
} plans_wanted[] = {
    { "CHALLENGE_FRESH", "sqlite_autoindex_scep_challenge_1 (endpoint=? AND hash=?)" },
    { "CHALLENGE_USE", "sqlite_autoindex_scep_challenge_1 (endpoint=? AND hash=?)" },
    { "CHALLENGE_SWEEP", "scep_challenge_expires (endpoint=? AND state=? AND expires<?)" },
    { "CHALLENGE_CROWD", "COVERING INDEX scep_challenge_expires" },
    { "CHALLENGE_EXPIRED", "COVERING INDEX scep_challenge_expires" },
    { "CHALLENGE_STANDING", "COVERING INDEX scep_challenge_expires" },
    { "UNUSED_ADD", "SEARCH scep_endpoint" },
    { "BINDING_GET", "(endpoint=? AND transaction_id=?)" },
    { "TRANSACTION_GET", "(endpoint=? AND transaction_id=? AND key_hash=? AND csr_hash=?)" },
    { "TRANSACTION_NEWEST", "(endpoint=? AND transaction_id=? AND key_hash=?)" },
    { "TRANSACTION_DECIDE", "(endpoint=? AND transaction_id=? AND key_hash=? AND csr_hash=?)" },
    { "TRANSACTION_SWEEP", "scep_transaction_bound (bound<?)" },
    { "CERTIFICATE_GET", "(authority=? AND serial=?)" },
    { "CERTIFICATE_OF_SERIAL", "(authority=? AND serial=?)" },
    { "CERTIFICATE_REVOKE", "(authority=? AND serial=?)" },
    { "CERTIFICATE_REVOKED",
      "COVERING INDEX scep_certificate_revoked (authority=? AND (not_after" },
    { "REQUEST_EXPIRE", "scep_request_ends (state=? AND ends<?)" },
    { "REQUEST_FORGET", "scep_request_ends (state=? AND ends<?)" },
};

static void expect_plan(const char *name, const char *plan)
{
    static const char *const growing[] = { "SCAN scep_challenge", "SCAN scep_transaction",
                                           "SCAN scep_certificate", "SCAN scep_request" };

    /* asked by tests alone */
    for (size_t i = 0; i < 4 && strcmp(name, "CERTIFICATE_COUNT") != 0; i++)
        ck_assert_msg(!strstr(plan, growing[i]), "%s: %s", name, plan);
    /* of one transactionID and key, or of one authority: few */
    if (strcmp(name, "TRANSACTION_NEWEST") != 0 && strcmp(name, "RA_LIST") != 0 &&
        strcmp(name, "RA_SWEEP") != 0 && strcmp(name, "CERTIFICATE_OF_SERIAL") != 0)
        ck_assert_msg(!strstr(plan, "TEMP B-TREE"), "%s: %s", name, plan);
    for (size_t i = 0; i < sizeof(plans_wanted) / sizeof(*plans_wanted); i++)
        if (!strcmp(name, plans_wanted[i].name))
            ck_assert_msg(strstr(plan, plans_wanted[i].plan) != NULL, "%s: %s", name, plan);
}

START_TEST(no_word_reads_a_table_that_grows_or_sorts_what_it_has_not_bounded)
{
#define X(name, sql) { #name, sql },
    static const struct {
        const char *name, *sql;
    } words[] = { STORE_STATEMENTS(X) };
#undef X
    other o = other_open();

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        const char *ask =
            apr_pstrcat(room_pool, "EXPLAIN QUERY PLAN ", with_marks(words[i].sql), NULL);

        expect_plan(words[i].name, apr_array_pstrcat(room_pool, other_asks(&o, ask), ' '));
    }
    other_close(&o);
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
    room_job_of(counter_words);
}
END_TEST

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

Suite *store_words_suite(void)
{
    Suite *suite = suite_create("store words");
    TCase *words = tcase_create("words"), *plans = tcase_create("plans of SQLite");

    tcase_add_checked_fixture(words, room_up_portable, room_down);
    tcase_add_test(words, a_challenge_is_fresh_until_it_is_used_or_ends);
    tcase_add_test(words, the_same_challenge_is_put_once);
    tcase_add_test(words, a_sweep_takes_what_ended_and_no_more_than_it_may);
    tcase_add_test(words, what_expired_is_in_no_crowd_and_not_counted);
    tcase_add_test(words, an_endpoint_counts);
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

    tcase_add_checked_fixture(plans, room_up, room_down);
    tcase_add_test(plans, no_word_reads_a_table_that_grows_or_sorts_what_it_has_not_bounded);
    suite_add_tcase(suite, plans);
    return suite;
}
