/* Work aside: done in time it comes back, late it is left behind and cleans up after itself. */
#include "suite.h"

#include "aside.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* What is worked on: waits until its pipe is closed. */
typedef struct task {
    int wait;    /* read until its end; -1: no waiting */
    int dropped; /* closed when the task is dropped: -1: none */
    int result;
} task;

static void work(void *what)
{
    task *t = what;
    char byte;

    while (t->wait >= 0 && read(t->wait, &byte, 1) > 0)
        ;
    t->result = 42;
}

static void drop(void *what)
{
    task *t = what;

    if (t->wait >= 0)
        close(t->wait);
    if (t->dropped >= 0)
        close(t->dropped);
    free(t);
}

static const aside_kind kind = { work, drop };

static task *make_task(int wait, int dropped)
{
    task *t = malloc(sizeof(*t));

    FIXTURE_MUST(t);
    *t = (task){ wait, dropped, 0 };
    return t;
}

/* Does the other end get closed within ten seconds? */
static bool ends(int fd)
{
    struct pollfd pfd = { fd, POLLIN, 0 };

    return poll(&pfd, 1, 10000) == 1 && (pfd.revents & POLLHUP);
}

static void assert_done(aside *place)
{
    task *t = make_task(-1, -1);

    assert_ok(aside_do(place, &kind, t, deadline_in(apr_time_from_sec(30)), p));
    ck_assert_int_eq(t->result, 42);
    drop(t);
}

START_TEST(work_that_is_done_comes_back)
{
    aside *place;

    assert_ok(aside_make(&place, p));
    assert_done(place);
    assert_done(place);
}
END_TEST

START_TEST(work_that_is_late_is_left_behind_and_dropped_when_it_ends)
{
    const apr_interval_time_t short_time = 50000;
    int wait[2], dropped[2];
    apr_time_t began = apr_time_now();
    aside *place;

    FIXTURE_MUST(pipe(wait) == 0 && pipe(dropped) == 0);
    assert_ok(aside_make(&place, p));
    assert_code(SCEP_UNAVAILABLE,
                aside_do(place, &kind, make_task(wait[0], dropped[1]), deadline_in(short_time), p));
    ck_assert_int_ge(apr_time_now() - began, short_time - 1000);
    /* the next one waits for it, within its own deadline, and is dropped unworked */
    assert_code(SCEP_UNAVAILABLE,
                aside_do(place, &kind, make_task(-1, -1), deadline_in(short_time), p));
    close(wait[1]);
    ck_assert_msg(ends(dropped[0]), "the late one was never dropped");
    /* and now there is room */
    assert_done(place);
    close(dropped[0]);
}
END_TEST

START_TEST(what_is_left_behind_outlives_the_pool)
{
    int wait[2], dropped[2];
    apr_pool_t *own;
    aside *place;

    FIXTURE_MUST(pipe(wait) == 0 && pipe(dropped) == 0);
    FIXTURE_MUST(apr_pool_create(&own, p) == APR_SUCCESS);
    assert_ok(aside_make(&place, own));
    assert_code(SCEP_UNAVAILABLE,
                aside_do(place, &kind, make_task(wait[0], dropped[1]), deadline_in(1000), p));
    apr_pool_destroy(own);
    close(wait[1]);
    ck_assert_msg(ends(dropped[0]), "the late one was never dropped");
    close(dropped[0]);
}
END_TEST

/* Whoever comes while another is at work is served behind him. */
typedef struct second {
    aside *place;
    const scep_err *err;
    int result;
    apr_pool_t *p;
} second;

static void *run_second(void *data)
{
    second *s = data;
    task *t = make_task(-1, -1);

    s->err = aside_do(s->place, &kind, t, deadline_in(apr_time_from_sec(30)), s->p);
    if (!s->err) {
        s->result = t->result;
        drop(t);
    }
    return NULL;
}

START_TEST(the_next_one_waits_its_turn)
{
    second s = { .result = 0 };
    int wait[2], dropped[2];
    pthread_t thread;

    FIXTURE_MUST(pipe(wait) == 0 && pipe(dropped) == 0);
    assert_ok(aside_make(&s.place, p));
    FIXTURE_MUST(apr_pool_create(&s.p, p) == APR_SUCCESS);
    assert_code(SCEP_UNAVAILABLE,
                aside_do(s.place, &kind, make_task(wait[0], dropped[1]), deadline_in(1000), p));
    FIXTURE_MUST(pthread_create(&thread, NULL, run_second, &s) == 0);
    close(wait[1]);
    FIXTURE_MUST(pthread_join(thread, NULL) == 0);
    assert_ok(s.err);
    ck_assert_int_eq(s.result, 42);
    ck_assert(ends(dropped[0]));
    close(dropped[0]);
}
END_TEST

START_TEST(a_deadline_is_over_when_its_time_is)
{
    int ends_of[2];

    FIXTURE_MUST(pipe(ends_of) == 0);
    ck_assert_int_eq(deadline_left(deadline_in(0)), 0);
    ck_assert_int_eq(deadline_left(deadline_in(-5)), 0);
    ck_assert_int_gt(deadline_left(deadline_in(apr_time_from_sec(100))), apr_time_from_sec(90));
    ck_assert_int_lt(
        deadline_left(deadline_earlier(deadline_in(apr_time_from_sec(100)), deadline_in(1000))),
        2000);
    assert_code(SCEP_UNAVAILABLE, deadline_wait(ends_of[0], POLLIN, deadline_in(20000), p));
    FIXTURE_MUST(write(ends_of[1], "x", 1) == 1);
    assert_ok(deadline_wait(ends_of[0], POLLIN, deadline_in(apr_time_from_sec(10)), p));
    assert_code(SCEP_UNAVAILABLE, deadline_wait(ends_of[0], POLLIN, deadline_in(0), p));
    close(ends_of[0]);
    close(ends_of[1]);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, work_that_is_done_comes_back);
    tcase_add_test(cases, work_that_is_late_is_left_behind_and_dropped_when_it_ends);
    tcase_add_test(cases, what_is_left_behind_outlives_the_pool);
    tcase_add_test(cases, the_next_one_waits_its_turn);
    tcase_add_test(cases, a_deadline_is_over_when_its_time_is);
}

int main(void)
{
    return run_suite("aside", add_tests);
}
