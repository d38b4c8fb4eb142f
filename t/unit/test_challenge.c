/* Challenges: the key, minting, use, clean-up. */
#include "challenge.h"
#include "clock.h"
#include "store_room.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CROWD 40

static const store_key key = { "0123456789abcdef0123456789abcdef" };
static const challenge_limits limits = { .max = 5, .minutes = 60, .length = 8 };
static challenge_order order = { .user = "admin", .peer = "127.0.0.1" };

/* NULL: the endpoint is full */
static const char *mint(const char *endpoint, const challenge_limits *within)
{
    apr_int64_t expires = 0;
    const char *challenge;

    room_expect(
        challenge_mint(&challenge, &expires, room_store, &key, endpoint, within, &order, room_pool),
        SCEP_OK);
    if (challenge)
        ck_assert_int_eq(expires, apr_time_sec(scep_now()) + 60 * within->minutes);
    return challenge;
}

typedef struct use_job {
    const char *endpoint;
    const char *hash;
    bool good;
    policy_binding bound;
} use_job;

static const scep_err *check_in_store(store_tx *tx, void *baton)
{
    use_job *j = baton;

    return challenge_check(tx, j->endpoint, j->hash, &j->good, &j->bound);
}

static const scep_err *use_in_store(store_tx *tx, void *baton)
{
    use_job *j = baton;

    return challenge_use(tx, j->endpoint, j->hash);
}

static use_job job_of(const char *endpoint, const char *challenge)
{
    use_job j = { .endpoint = endpoint };

    room_expect(challenge_hash(&j.hash, &key, endpoint, scep_bytes_of(challenge), room_pool),
                SCEP_OK);
    return j;
}

static bool is_good(const char *endpoint, const char *challenge)
{
    use_job j = job_of(endpoint, challenge);

    room_expect(store_run(room_store, check_in_store, &j, room_pool), SCEP_OK);
    return j.good;
}

static const scep_err *use(const char *endpoint, const char *challenge)
{
    use_job j = job_of(endpoint, challenge);

    return store_run(room_store, use_in_store, &j, room_pool);
}

static const scep_err *count_in_store(store_tx *tx, void *baton)
{
    return store_unused_get(tx, "e", baton);
}

static apr_int64_t unused(void)
{
    apr_int64_t count;

    room_expect(store_run(room_store, count_in_store, &count, room_pool), SCEP_OK);
    return count;
}

/* What the counter should say, counted. */
static apr_int64_t fresh_rows(void)
{
    other o = other_open();
    apr_array_header_t *cells = other_asks(&o, "SELECT count(*) FROM scep_challenge"
                                               " WHERE endpoint = 'e' AND state = 'fresh'");

    other_close(&o);
    ck_assert_int_eq(cells->nelts, 1);
    return apr_atoi64(APR_ARRAY_IDX(cells, 0, const char *));
}

static apr_int64_t all_rows(void)
{
    other o = other_open();
    apr_array_header_t *cells = other_asks(&o, "SELECT count(*) FROM scep_challenge");

    other_close(&o);
    return apr_atoi64(APR_ARRAY_IDX(cells, 0, const char *));
}

/* ---- the key ---- */

START_TEST(a_store_key_is_64_hex_digits_that_nobody_else_reads)
{
#define HEX16 "0123456789abcDEF"
    static const struct {
        const char *text;
        mode_t mode;
        bool good;
    } files[] = {
        { HEX16 HEX16 HEX16 HEX16 "\n", 0600, true },
        { HEX16 HEX16 HEX16 HEX16 "\n", 0400, true },
        { HEX16 HEX16 HEX16 HEX16 "\n", 0640, false },
        { HEX16 HEX16 HEX16 HEX16 "\n", 0604, false },
        { HEX16 HEX16 HEX16 HEX16, 0600, false },
        { HEX16 HEX16 HEX16 HEX16 "\n\n", 0600, false },
        { HEX16 HEX16 HEX16 HEX16 "0\n", 0600, false },
        { HEX16 HEX16 HEX16 "0123456789abcDEG\n", 0600, false },
        { HEX16 HEX16 HEX16 "0123456789abcDE\n", 0600, false },
        { "", 0600, false },
    };
    const char *path = apr_psprintf(room_pool, "%s/store.key", room_folder);
    store_key *loaded;

    room_expect(store_key_load(&loaded, path, room_pool), SCEP_CONFIG);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        size_t len = strlen(files[i].text);
        const scep_err *err;

        ck_assert_int_eq(write(fd, files[i].text, len), (ssize_t)len);
        ck_assert_int_eq(fchmod(fd, files[i].mode), 0);
        close(fd);
        err = store_key_load(&loaded, path, room_pool);
        ck_assert_msg(files[i].good == !err, "row %d", (int)i);
        if (!err)
            ck_assert_mem_eq(loaded->bytes + 24, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
        else
            ck_assert_ptr_null(strstr(err->detail, "0123"));
        ck_assert_int_eq(unlink(path), 0);
    }
}
END_TEST

START_TEST(R_161_what_is_stored_is_a_mac_of_endpoint_and_challenge)
{
    static const store_key other_key = { "another key, also of 32 bytes..." };
    const char *first, *second;

    room_expect(challenge_hash(&first, &key, "ab", scep_bytes_of("c"), room_pool), SCEP_OK);
    /* python3: hmac.new(key, b'\0'*7 + b'\2' + b'ab' + b'c', 'sha256') */
    ck_assert_str_eq(first, "s9SOqu3eiWXaq4p/7qbvtBiKzcSQ52ApNIHG9citVOE=");
    room_expect(challenge_hash(&second, &key, "a", scep_bytes_of("bc"), room_pool), SCEP_OK);
    ck_assert_str_ne(first, second);
    room_expect(challenge_hash(&second, &other_key, "ab", scep_bytes_of("c"), room_pool), SCEP_OK);
    ck_assert_str_ne(first, second);
}
END_TEST

/* ---- challenges ---- */

START_TEST(R_161_no_challenge_is_stored_in_clear)
{
    const char *challenge = mint("e", &limits), *row;
    other o = other_open();

    row = apr_array_pstrcat(room_pool, other_asks(&o, "SELECT * FROM scep_challenge"), ' ');
    other_close(&o);
    ck_assert_ptr_nonnull(strstr(row, job_of("e", challenge).hash));
    ck_assert_ptr_null(strstr(row, challenge));
}
END_TEST

START_TEST(a_minted_challenge_is_good_for_its_endpoint_only)
{
    const char *challenge = mint("e", &limits);

    ck_assert_uint_eq(strlen(challenge), 16);
    ck_assert_uint_eq(strspn(challenge, "0123456789ABCDEF"), 16);
    ck_assert(is_good("e", challenge));
    ck_assert(!is_good("f", challenge));
    ck_assert(!is_good("e", "0123456789ABCDEF"));
    ck_assert_str_ne(challenge, mint("e", &limits));
}
END_TEST

START_TEST(R_161_a_challenge_is_good_once)
{
    const char *challenge = mint("e", &limits);

    room_expect(use("e", challenge), SCEP_OK);
    ck_assert(!is_good("e", challenge));
    room_expect(use("e", challenge), SCEP_CHALLENGE);
    room_expect(use("e", "unknown"), SCEP_CHALLENGE);
    ck_assert_int_eq(unused(), 0);
}
END_TEST

START_TEST(R_161_an_expired_challenge_is_no_good)
{
    const char *challenge = mint("e", &limits);

    scep_clock_set(ROOM_START + apr_time_from_sec(3599));
    ck_assert(is_good("e", challenge));
    scep_clock_set(ROOM_START + apr_time_from_sec(3600));
    ck_assert(!is_good("e", challenge));
    room_expect(use("e", challenge), SCEP_CHALLENGE);
}
END_TEST

START_TEST(S_04_a_challenge_is_kept_with_what_it_is_bound_to)
{
    const policy_binding device = { "CN=a,O=b", "DNS:a.example\nIP:192.0.2.1", "T" };
    use_job j;

    order.bound = device;
    j = job_of("e", mint("e", &limits));
    order.bound = (policy_binding){ 0 };
    room_expect(store_run(room_store, check_in_store, &j, room_pool), SCEP_OK);
    ck_assert(j.good);
    ck_assert_str_eq(j.bound.subject, device.subject);
    ck_assert_str_eq(j.bound.names, device.names);
    ck_assert_str_eq(j.bound.template_name, device.template_name);
    /* and what is not bound, or no good, is bound to nothing */
    j.hash = job_of("e", mint("e", &limits)).hash;
    room_expect(store_run(room_store, check_in_store, &j, room_pool), SCEP_OK);
    ck_assert(j.good);
    ck_assert_str_eq(j.bound.subject, "");
    ck_assert_str_eq(j.bound.names, "");
    ck_assert_str_eq(j.bound.template_name, "");
    j.hash = "unknown";
    j.bound = device;
    room_expect(store_run(room_store, check_in_store, &j, room_pool), SCEP_OK);
    ck_assert(!j.good);
    ck_assert_ptr_null(j.bound.subject);
}
END_TEST

START_TEST(a_full_endpoint_mints_nothing_until_one_is_used)
{
    const char *first = mint("e", &limits);

    for (int i = 1; i < limits.max; i++)
        ck_assert_ptr_nonnull(mint("e", &limits));
    ck_assert_ptr_null(mint("e", &limits));
    ck_assert_int_eq(unused(), limits.max);
    ck_assert_int_eq(fresh_rows(), limits.max);
    ck_assert_ptr_nonnull(mint("f", &limits));
    room_expect(use("e", first), SCEP_OK);
    ck_assert_ptr_nonnull(mint("e", &limits));
    ck_assert_ptr_null(mint("e", &limits));
}
END_TEST

START_TEST(expired_ones_make_room)
{
    for (int i = 0; i < limits.max; i++)
        ck_assert_ptr_nonnull(mint("e", &limits));
    scep_clock_set(ROOM_START + apr_time_from_sec(3600));
    ck_assert_ptr_nonnull(mint("e", &limits));
    ck_assert_int_eq(unused(), 1);
    ck_assert_int_eq(fresh_rows(), 1);
}
END_TEST

START_TEST(a_mint_removes_a_hundred_at_most)
{
    const challenge_limits wide = { .max = 1000, .minutes = 60, .length = 8 };

    for (int i = 0; i < 130; i++)
        ck_assert_ptr_nonnull(mint("e", &wide));
    scep_clock_set(ROOM_START + apr_time_from_sec(3600));
    ck_assert_ptr_nonnull(mint("e", &wide));
    ck_assert_int_eq(unused(), 31);
    ck_assert_int_eq(fresh_rows(), 31);
}
END_TEST

/* As after a roll-out with a large PasswordMax. */
static void mint_many(const char *endpoint, int n)
{
    const challenge_limits wide = { .max = n, .minutes = 60, .length = 8 };

    for (int i = 0; i < n; i++)
        ck_assert_ptr_nonnull(mint(endpoint, &wide));
    ck_assert_ptr_null(mint(endpoint, &wide));
}

START_TEST(expired_ones_have_no_place_of_a_lowered_limit)
{
    mint_many("e", 150);
    scep_clock_set(ROOM_START + apr_time_from_sec(3599));
    ck_assert_ptr_null(mint("e", &limits)); /* 150 stand, all of them good */
    scep_clock_set(ROOM_START + apr_time_from_sec(3600));
    ck_assert_ptr_nonnull(mint("e", &limits)); /* 50 of 150 are still in the database */
    ck_assert_int_eq(unused(), 51);
    ck_assert_int_eq(fresh_rows(), 51);
}
END_TEST

START_TEST(a_lowered_limit_holds_among_expired_ones)
{
    mint_many("e", 950);
    scep_clock_set(ROOM_START + apr_time_from_sec(3600));
    for (int i = 0; i < limits.max; i++)
        ck_assert_ptr_nonnull(mint("e", &limits));
    ck_assert_int_gt(unused(), limits.max);
    ck_assert_ptr_null(mint("e", &limits));
    ck_assert_int_gt(unused(), limits.max); /* and expired ones stood even then */
    ck_assert_int_eq(unused(), fresh_rows());
}
END_TEST

/* @return more may stand */
static bool sweep(int most)
{
    bool more;

    room_expect(challenge_sweep(&more, room_store, most, room_pool), SCEP_OK);
    return more;
}

START_TEST(a_sweep_says_whether_more_may_stand)
{
    const char *used;

    mint_many("f", 1);
    used = mint("e", &limits);
    room_expect(use("e", used), SCEP_OK);
    mint_many("e", 4);
    scep_clock_set(ROOM_START + apr_time_from_sec(3600));
    ck_assert(sweep(2));
    ck_assert_int_eq(unused(), 2);
    ck_assert(sweep(2)); /* two were there, and it looked no further */
    ck_assert_int_eq(unused(), 0);
    ck_assert(!sweep(2)); /* the used one */
    ck_assert_int_eq(all_rows(), 0);
    ck_assert(!sweep(2));
}
END_TEST

START_TEST(counter_agrees_with_rows_after_a_sweep_of_all_endpoints)
{
    const char *one = mint("e", &limits), *two = mint("e", &limits);

    ck_assert_ptr_nonnull(mint("f", &limits));
    ck_assert_ptr_nonnull(mint("e", &limits));
    room_expect(use("e", one), SCEP_OK);
    scep_clock_set(ROOM_START + apr_time_from_sec(1800));
    ck_assert_ptr_nonnull(mint("e", &limits));
    scep_clock_set(ROOM_START + apr_time_from_sec(3600));
    ck_assert(!sweep(100));
    ck_assert_int_eq(unused(), 1);
    ck_assert_int_eq(fresh_rows(), 1);
    room_expect(use("e", two), SCEP_CHALLENGE);
    ck_assert_int_eq(unused(), 1);
}
END_TEST

/* ---- a crowd of threads at one thing ---- */

typedef struct member {
    apr_thread_t *thread;
    apr_pool_t *pool;
    store *store; /* of a node */
    use_job *job;
    const scep_err *err;
    const char *minted;
} member;

static void *APR_THREAD_FUNC use_it(apr_thread_t *thread, void *data)
{
    member *m = data;

    m->err = store_run(m->store, use_in_store, m->job, m->pool);
    return NULL;
}

static void *APR_THREAD_FUNC mint_one(apr_thread_t *thread, void *data)
{
    const challenge_order nobody = { 0 };
    member *m = data;
    apr_int64_t expires;

    m->err = challenge_mint(&m->minted, &expires, m->store, &key, "e", &limits, &nobody, m->pool);
    return NULL;
}

static void crowd_runs(member *crowd, apr_thread_start_t what, use_job *job)
{
    apr_status_t status;
    store *second;

    /* two nodes on one database */
    room_expect(store_open(&second, room_where, room_pool), SCEP_OK);
    for (int i = 0; i < CROWD; i++) {
        crowd[i].store = i % 2 ? second : room_store;
        crowd[i].job = job;
        ck_assert_int_eq(apr_pool_create(&crowd[i].pool, NULL), 0);
        ck_assert_int_eq(apr_thread_create(&crowd[i].thread, NULL, what, &crowd[i], room_pool), 0);
    }
    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(apr_thread_join(&status, crowd[i].thread), 0);
}

START_TEST(a_challenge_is_used_once_by_forty_threads_of_two_nodes)
{
    member crowd[CROWD] = { 0 };
    use_job j = job_of("e", mint("e", &limits));
    int won = 0;

    crowd_runs(crowd, use_it, &j);
    for (int i = 0; i < CROWD; i++) {
        won += !crowd[i].err;
        if (crowd[i].err)
            room_expect(crowd[i].err, SCEP_CHALLENGE);
    }
    ck_assert_int_eq(won, 1);
    ck_assert_int_eq(unused(), 0);
}
END_TEST

START_TEST(forty_threads_of_two_nodes_mint_no_more_than_the_limit)
{
    member crowd[CROWD] = { 0 };
    int minted = 0;

    crowd_runs(crowd, mint_one, NULL);
    for (int i = 0; i < CROWD; i++) {
        room_expect(crowd[i].err, SCEP_OK);
        minted += crowd[i].minted != NULL;
    }
    ck_assert_int_eq(minted, limits.max);
    ck_assert_int_eq(fresh_rows(), limits.max);
}
END_TEST

static Suite *challenge_suite(void)
{
    Suite *suite = suite_create("challenge");
    TCase *cases = tcase_create("challenges");

    tcase_add_checked_fixture(cases, room_up_at_start, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_store_key_is_64_hex_digits_that_nobody_else_reads);
    tcase_add_test(cases, R_161_what_is_stored_is_a_mac_of_endpoint_and_challenge);
    tcase_add_test(cases, R_161_no_challenge_is_stored_in_clear);
    tcase_add_test(cases, a_minted_challenge_is_good_for_its_endpoint_only);
    tcase_add_test(cases, R_161_a_challenge_is_good_once);
    tcase_add_test(cases, R_161_an_expired_challenge_is_no_good);
    tcase_add_test(cases, S_04_a_challenge_is_kept_with_what_it_is_bound_to);
    tcase_add_test(cases, a_full_endpoint_mints_nothing_until_one_is_used);
    tcase_add_test(cases, expired_ones_make_room);
    tcase_add_test(cases, a_mint_removes_a_hundred_at_most);
    tcase_add_test(cases, expired_ones_have_no_place_of_a_lowered_limit);
    tcase_add_test(cases, a_lowered_limit_holds_among_expired_ones);
    tcase_add_test(cases, a_sweep_says_whether_more_may_stand);
    tcase_add_test(cases, counter_agrees_with_rows_after_a_sweep_of_all_endpoints);
    tcase_add_test(cases, a_challenge_is_used_once_by_forty_threads_of_two_nodes);
    tcase_add_test(cases, forty_threads_of_two_nodes_mint_no_more_than_the_limit);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    Suite *(*const make[])(void) = { challenge_suite, transaction_suite, inventory_suite,
                                     reservation_suite };

    return room_main(make, 4);
}
