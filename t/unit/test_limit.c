/* The limiter: what it lets through, what it remembers, and what it costs nobody else. */
#include "suite.h"

#include <apr_atomic.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <string.h>

/* The time of the tests stands still and is moved by hand. */
static apr_time_t now;
static scep_limit *limit;

static void move(double seconds)
{
    now += (apr_time_t)(seconds * (double)APR_USEC_PER_SEC);
    scep_clock_set(now);
}

static void make(void)
{
    now = apr_time_from_sec(1700000000);
    scep_clock_set(now);
    assert_ok(scep_limit_make(&limit, p));
}

static int hit(const char *key, int per_minute)
{
    return scep_limit_hit(limit, scep_bytes_of(key), per_minute);
}

static const int rates[] = { 1, 2, 7, 20, 600, 100000 };

START_TEST(S_27_as_many_as_the_limit_are_within_it_and_one_more_is_not)
{
    int wait;

    make();
    for (int i = 0; i < rates[_i]; i++)
        ck_assert_int_eq(hit("192.0.2.1", rates[_i]), 0);
    wait = hit("192.0.2.1", rates[_i]);
    ck_assert_int_ge(wait, 1);
    ck_assert_int_le(wait, 60);
    /* Retry-After is kept: then there is one more, and what was refused has postponed nothing */
    ck_assert_int_eq(hit("192.0.2.1", rates[_i]), wait);
    move(wait);
    ck_assert_int_eq(hit("192.0.2.1", rates[_i]), 0);
}
END_TEST

START_TEST(S_27_the_wait_is_that_of_one_more_event)
{
    make();
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(hit("a", 20), 0);
    ck_assert_int_eq(hit("a", 20), 3); /* 60 s / 20 */
    move(2.5);
    ck_assert_int_eq(hit("a", 20), 1);
    move(0.5);
    ck_assert_int_eq(hit("a", 20), 0);
    ck_assert_int_eq(hit("a", 20), 3);
}
END_TEST

START_TEST(S_27_over_hours_no_more_get_through_than_the_limit_says)
{
    int through = 0;

    make();
    for (int second = 0; second < 7200; second++) {
        for (int i = 0; i < 3; i++)
            through += hit("a", 20) == 0;
        move(1);
    }
    ck_assert_int_ge(through, 20 * 120);
    ck_assert_int_le(through, 20 * 120 + 20);
}
END_TEST

START_TEST(S_27_a_minute_of_quiet_fills_the_bucket_and_no_more)
{
    make();
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(hit("a", 20), 0);
    move(3600);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(hit("a", 20), 0);
    ck_assert_int_gt(hit("a", 20), 0);
}
END_TEST

START_TEST(S_27_one_address_over_the_limit_is_no_matter_of_another)
{
    make();
    while (!hit("192.0.2.1 endpoint", 20))
        ;
    ck_assert_int_eq(hit("192.0.2.2 endpoint", 20), 0);
    ck_assert_int_eq(hit("192.0.2.1 other", 20), 0);
    ck_assert_int_eq(hit("192.0.2.1 endpoin", 20), 0);
    ck_assert_int_eq(hit("", 20), 0);
    ck_assert_int_gt(hit("192.0.2.1 endpoint", 20), 0);
}
END_TEST

/* A clock that is set back must not lock anybody out for as long as it was set back. */
START_TEST(a_clock_that_is_set_back_costs_a_minute_at_most)
{
    make();
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(hit("a", 20), 0);
    move(-86400);
    ck_assert_int_le(hit("a", 20), 60);
    move(60);
    ck_assert_int_eq(hit("a", 20), 0);
}
END_TEST

/* Someone with many addresses fills the memory: it does not grow, nobody who comes later is
 * refused for it, and of those who are over the limit most are remembered. */
START_TEST(S_27_a_flood_of_addresses_makes_nobody_else_wait)
{
    enum { FLOOD = 100000, OFFENDERS = 50 };
    int remembered = 0;

    make();
    for (int i = 0; i < OFFENDERS; i++)
        while (!hit(apr_psprintf(p, "offender %d", i), 20))
            ;
    for (int i = 0; i < FLOOD; i++)
        ck_assert_int_eq(hit(apr_psprintf(p, "flood %d", i), 20), 0);
    for (int i = 0; i < OFFENDERS; i++)
        remembered += hit(apr_psprintf(p, "offender %d", i), 20) > 0;
    ck_assert_int_eq(hit("honest", 20), 0);
    ck_assert_msg(remembered == OFFENDERS, "%d of %d remembered", remembered, OFFENDERS);
}
END_TEST

/* Two limiters place the same keys differently: which keys share a place cannot be computed. */
START_TEST(S_27_nobody_can_choose_keys_that_push_out_each_other)
{
    enum { KEYS = 20000 };
    char kept[2][KEYS];

    for (int round = 0; round < 2; round++) {
        make();
        for (int i = 0; i < KEYS; i++)
            (void)hit(apr_psprintf(p, "%d", i), 1);
        for (int i = 0; i < KEYS; i++) {
            /* asked in the other order, so that what is found was kept and not just put there */
            int key = KEYS - 1 - i;

            kept[round][key] = hit(apr_psprintf(p, "%d", key), 1) > 0;
        }
    }
    ck_assert(memchr(kept[0], 1, KEYS) && memcmp(kept[0], kept[1], KEYS) != 0);
}
END_TEST

static volatile apr_uint32_t through;

static void *APR_THREAD_FUNC many(apr_thread_t *thread, void *unused)
{
    (void)thread;
    (void)unused;
    for (int i = 0; i < 1000; i++)
        if (!hit("shared", 500))
            (void)apr_atomic_inc32(&through);
    return NULL;
}

START_TEST(S_27_threads_together_get_as_many_as_one)
{
    apr_thread_t *threads[4];
    apr_status_t status;

    make();
    for (int i = 0; i < 4; i++)
        FIXTURE_MUST(apr_thread_create(&threads[i], NULL, many, NULL, p) == APR_SUCCESS);
    for (int i = 0; i < 4; i++)
        FIXTURE_MUST(apr_thread_join(&status, threads[i]) == APR_SUCCESS);
    ck_assert_uint_eq(apr_atomic_read32(&through), 500);
}
END_TEST

static const struct {
    const char *ip, *key;
} addresses[] = {
    { "192.0.2.1", "192.0.2.1" },
    { "::ffff:192.0.2.1", "192.0.2.1" },
    { "::FFFF:c000:201", "192.0.2.1" },
    { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" },
    { "2001:0DB8:1:2::", "2001:db8:1:2::/64" },
    { "2001:db8:1:3::6", "2001:db8:1:3::/64" },
    { "2001:db8::1", "2001:db8::/64" },
    { "::1", "::/64" },
    { "fe80::1%eth0", "fe80::1%eth0" },
    { "unix:/socket", "unix:/socket" },
    { "", "" },
};

START_TEST(S_27_an_ipv6_network_of_64_bits_is_one_address)
{
    ck_assert_str_eq(scep_limit_address(addresses[_i].ip, p), addresses[_i].key);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, S_27_an_ipv6_network_of_64_bits_is_one_address, 0, ROWS(addresses));
    tcase_add_loop_test(cases, S_27_as_many_as_the_limit_are_within_it_and_one_more_is_not, 0,
                        ROWS(rates));
    tcase_add_test(cases, S_27_the_wait_is_that_of_one_more_event);
    tcase_add_test(cases, S_27_over_hours_no_more_get_through_than_the_limit_says);
    tcase_add_test(cases, S_27_a_minute_of_quiet_fills_the_bucket_and_no_more);
    tcase_add_test(cases, S_27_one_address_over_the_limit_is_no_matter_of_another);
    tcase_add_test(cases, a_clock_that_is_set_back_costs_a_minute_at_most);
    tcase_add_test(cases, S_27_a_flood_of_addresses_makes_nobody_else_wait);
    tcase_add_test(cases, S_27_nobody_can_choose_keys_that_push_out_each_other);
    tcase_add_test(cases, S_27_threads_together_get_as_many_as_one);
}

int main(void)
{
    return run_suite("limit", add_tests);
}
