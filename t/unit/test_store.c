/* The store's writer: groups, neighbours, threads, closing. */
#include "store_room.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>

/* ---- threads: each runs its jobs and counts what came of them ---- */

typedef struct worker {
    apr_thread_t *thread;
    apr_pool_t *pool;
    int number, jobs;
    bool every_third_fails, every_fifth_is_poison;
    int committed, refused, unavailable;
} worker;

static void *APR_THREAD_FUNC run_jobs(apr_thread_t *thread, void *data)
{
    worker *w = data;

    for (int i = 0; i < w->jobs; i++) {
        room_job j = { .serial = apr_psprintf(w->pool, "%d-%d", w->number, i),
                       .fail = w->every_third_fails && i % 3 == 0,
                       .poison = w->every_fifth_is_poison && i % 5 == 0 };
        const scep_err *err = store_run(room_store, room_put, &j, w->pool);

        w->committed += !err;
        w->refused += err && err->code == SCEP_REFUSED;
        w->unavailable += err && err->code == SCEP_UNAVAILABLE;
    }
    return NULL;
}

static void start_workers(worker *w, int jobs)
{
    for (int i = 0; i < ROOM_THREADS; i++) {
        w[i].number = i;
        w[i].jobs = jobs;
        ck_assert_int_eq(apr_pool_create(&w[i].pool, NULL), 0);
        ck_assert_int_eq(apr_thread_create(&w[i].thread, NULL, run_jobs, &w[i], room_pool), 0);
    }
}

/* The sums of all, in the first. */
static worker *join_workers(worker *w)
{
    for (int i = 0; i < ROOM_THREADS; i++) {
        apr_status_t status;

        ck_assert_int_eq(apr_thread_join(&status, w[i].thread), 0);
        apr_pool_destroy(w[i].pool);
        if (i) {
            w[0].committed += w[i].committed;
            w[0].refused += w[i].refused;
            w[0].unavailable += w[i].unavailable;
        }
    }
    return w;
}

START_TEST(a_committed_row_is_there_after_reopening)
{
    ck_assert_ptr_null(room_put_one("1", room_pool));
    store_close(room_store);
    room_open();
    ck_assert(room_has("1"));
    ck_assert(!room_has("2"));
    room_expect_rows(1);
}
END_TEST

START_TEST(a_job_that_fails_leaves_nothing)
{
    room_job j = { .serial = "1", .fail = true };
    const scep_err *err = store_run(room_store, room_put, &j, room_pool);

    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->code, SCEP_REFUSED);
    ck_assert_int_eq(j.runs, 1);
    room_expect_rows(0);
}
END_TEST

START_TEST(many_threads_many_jobs_all_committed)
{
    worker w[ROOM_THREADS] = { 0 };

    start_workers(w, 60);
    ck_assert_int_eq(join_workers(w)->committed, ROOM_THREADS * 60);
    store_close(room_store);
    room_open();
    room_expect_rows(ROOM_THREADS * 60);
}
END_TEST

START_TEST(failing_jobs_leave_their_neighbours_alone)
{
    worker w[ROOM_THREADS] = { 0 };

    for (int i = 0; i < ROOM_THREADS; i++)
        w[i].every_third_fails = true;
    start_workers(w, 60);
    join_workers(w);
    ck_assert_int_eq(w->refused, ROOM_THREADS * 20);
    ck_assert_int_eq(w->committed, ROOM_THREADS * 40);
    room_expect_rows(ROOM_THREADS * 40);
}
END_TEST

START_TEST(what_the_database_refuses_is_run_twice_and_fails_alone)
{
    worker w[ROOM_THREADS] = { 0 };
    room_job j = { .serial = "1", .poison = true };
    const scep_err *err = store_run(room_store, room_put, &j, room_pool);

    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->code, SCEP_UNAVAILABLE);
    ck_assert_int_eq(j.runs, 2);
    for (int i = 0; i < ROOM_THREADS; i++)
        w[i].every_fifth_is_poison = i % 4 == 0;
    start_workers(w, 10);
    join_workers(w);
    ck_assert_int_eq(w->unavailable, ROOM_THREADS / 4 * 2);
    ck_assert_int_eq(w->committed, ROOM_THREADS * 10 - ROOM_THREADS / 4 * 2);
    room_expect_rows(w->committed);
}
END_TEST

START_TEST(a_closed_store_refuses_and_closes_twice)
{
    const scep_err *err;

    store_close(room_store);
    store_close(room_store);
    err = room_put_one("1", room_pool);
    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->code, SCEP_UNAVAILABLE);
}
END_TEST

START_TEST(whoever_waits_while_the_store_closes_gets_an_answer_that_is_true)
{
    worker w[ROOM_THREADS] = { 0 };

    start_workers(w, 3000);
    apr_sleep(apr_time_from_msec(20));
    store_close(room_store);
    join_workers(w);
    ck_assert_int_gt(w->committed, 0);
    ck_assert_int_gt(w->unavailable, 0);
    ck_assert_int_eq(w->committed + w->unavailable, ROOM_THREADS * 3000);
    room_open();
    room_expect_rows(w->committed);
}
END_TEST

START_TEST(two_stores_on_one_database_both_commit)
{
    store *first = room_store, *second;

    ck_assert_ptr_null(store_open(&second, room_where, room_pool));
    for (int i = 0; i < 50; i++) {
        room_store = i % 2 ? first : second;
        ck_assert_ptr_null(room_put_one(apr_itoa(room_pool, i), room_pool));
    }
    room_expect_rows(50);
}
END_TEST

static Suite *store_suite(void)
{
    Suite *suite = suite_create("store");
    TCase *jobs = tcase_create("jobs");

    tcase_add_checked_fixture(jobs, room_up_portable, room_down);
    tcase_set_timeout(jobs, 60);
    tcase_add_test(jobs, a_committed_row_is_there_after_reopening);
    tcase_add_test(jobs, a_job_that_fails_leaves_nothing);
    tcase_add_test(jobs, many_threads_many_jobs_all_committed);
    tcase_add_test(jobs, failing_jobs_leave_their_neighbours_alone);
    tcase_add_test(jobs, what_the_database_refuses_is_run_twice_and_fails_alone);
    tcase_add_test(jobs, a_closed_store_refuses_and_closes_twice);
    tcase_add_test(jobs, whoever_waits_while_the_store_closes_gets_an_answer_that_is_true);
    tcase_add_test(jobs, two_stores_on_one_database_both_commit);
    suite_add_tcase(suite, jobs);

    return suite;
}

int main(void)
{
    Suite *(*const make[])(void) = { store_suite,        store_words_suite,
                                     store_queue_suite,  store_certificates_suite,
                                     store_schema_suite, store_faults_suite };

    return room_main(make, 6);
}
