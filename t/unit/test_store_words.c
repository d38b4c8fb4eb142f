/* The words of the store for challenges: each outcome, on whichever database; and the plans of all
 * words. */
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
    suite_add_tcase(suite, words);

    tcase_add_checked_fixture(plans, room_up, room_down);
    tcase_add_test(plans, no_word_reads_a_table_that_grows_or_sorts_what_it_has_not_bounded);
    suite_add_tcase(suite, plans);
    return suite;
}
