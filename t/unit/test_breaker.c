/* When a CA that fails may be asked again. */
#include "breaker.h"
#include "suite.h"

static moment at(apr_interval_time_t when)
{
    return (moment){ 1000 * APR_USEC_PER_SEC + when };
}

static void break_it(breaker *b, int times, moment now)
{
    for (int i = 0; i < times; i++) {
        ck_assert_msg(breaker_take(b, now), "failure %d", i);
        (void)breaker_failed(b, now);
    }
}

START_TEST(failures_in_a_row_open_it_and_fewer_do_not)
{
    breaker b = { 0 };

    row = "in a row";

    break_it(&b, BREAKER_FAILURES - 1, at(0));
    ck_assert_int_eq(breaker_is(&b, at(0)), BREAKER_CLOSED);
    ck_assert(!breaker_succeeded(&b));
    break_it(&b, BREAKER_FAILURES - 1, at(0));
    ck_assert_int_eq(breaker_is(&b, at(0)), BREAKER_CLOSED);
    ck_assert(breaker_take(&b, at(0)));
    ck_assert(breaker_failed(&b, at(0)));
    ck_assert_int_eq(breaker_is(&b, at(0)), BREAKER_OPEN);
    ck_assert(!breaker_lets(&b, at(BREAKER_PAUSE - 1)));
    ck_assert(!breaker_take(&b, at(BREAKER_PAUSE - 1)));
}
END_TEST

START_TEST(after_its_pause_one_ask_goes_through_and_closes_it)
{
    breaker b = { 0 };

    break_it(&b, BREAKER_FAILURES, at(0));
    ck_assert_int_eq(breaker_is(&b, at(BREAKER_PAUSE)), BREAKER_HALF_OPEN);
    ck_assert(breaker_take(&b, at(BREAKER_PAUSE)));
    ck_assert(!breaker_lets(&b, at(BREAKER_PAUSE)));
    ck_assert(!breaker_take(&b, at(BREAKER_PAUSE)));
    ck_assert(breaker_succeeded(&b));
    ck_assert_int_eq(breaker_is(&b, at(BREAKER_PAUSE)), BREAKER_CLOSED);
    break_it(&b, BREAKER_FAILURES - 1, at(BREAKER_PAUSE));
    ck_assert_int_eq(breaker_is(&b, at(BREAKER_PAUSE)), BREAKER_CLOSED);
}
END_TEST

START_TEST(one_that_was_not_asked_after_all_lets_another_through)
{
    breaker b = { 0 };

    break_it(&b, BREAKER_FAILURES, at(0));
    ck_assert(breaker_take(&b, at(BREAKER_PAUSE)));
    breaker_untried(&b);
    ck_assert(breaker_take(&b, at(BREAKER_PAUSE)));
}
END_TEST

START_TEST(each_further_failure_doubles_its_pause_up_to_the_most)
{
    breaker b = { 0 };
    apr_interval_time_t pause = BREAKER_PAUSE, now = 0;

    break_it(&b, BREAKER_FAILURES, at(0));
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(b.pause, pause);
        ck_assert(!breaker_lets(&b, at(now + pause - 1)));
        now += pause;
        ck_assert(breaker_take(&b, at(now)));
        ck_assert(breaker_failed(&b, at(now)));
        pause = 2 * pause < BREAKER_PAUSE_MOST ? 2 * pause : BREAKER_PAUSE_MOST;
    }
    ck_assert_int_eq(pause, BREAKER_PAUSE_MOST);
}
END_TEST

START_TEST(what_fails_late_after_it_opened_lengthens_nothing)
{
    breaker b = { 0 };

    break_it(&b, BREAKER_FAILURES, at(0));
    ck_assert(!breaker_failed(&b, at(1)));
    ck_assert_int_eq(b.pause, BREAKER_PAUSE);
    ck_assert_int_eq(b.until.at, at(BREAKER_PAUSE).at);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, failures_in_a_row_open_it_and_fewer_do_not);
    tcase_add_test(cases, after_its_pause_one_ask_goes_through_and_closes_it);
    tcase_add_test(cases, one_that_was_not_asked_after_all_lets_another_through);
    tcase_add_test(cases, each_further_failure_doubles_its_pause_up_to_the_most);
    tcase_add_test(cases, what_fails_late_after_it_opened_lengthens_nothing);
}

int main(void)
{
    return run_suite("breaker", add_tests);
}
