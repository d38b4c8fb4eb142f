/* The store's writer: groups, neighbours, threads, closing. */
#include "store_room.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <stdatomic.h>

/* ---- threads: each runs its jobs and counts what came of them ---- */

typedef struct worker {
    apr_thread_t *thread;
    apr_pool_t *pool;
    int number, jobs;
    bool every_third_fails, every_fifth_is_poison;
    atomic_int committed;
    int refused, unavailable;
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
    for (int i = 0; i < 10000 && !w[0].committed; i++)
        apr_sleep(apr_time_from_msec(1));
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

/* ---- jobs that only read ---- */

typedef struct look_job {
    apr_int64_t seen;
    bool fail, write;
} look_job;

static const scep_err *look(store_tx *tx, void *baton)
{
    look_job *j = baton;

    if (j->write)
        SCEP_TRY(store_unused_add(tx, "e", 1));
    SCEP_TRY(store_certificate_count(tx, &j->seen));
    return j->fail ? scep_fail(store_tx_pool(tx), REFUSED, "no") : NULL;
}

START_TEST(a_job_that_reads_meets_what_is_committed_and_writes_nothing)
{
    look_job j = { .seen = -1 };
    const scep_err *err;

    ck_assert_ptr_null(room_put_one("1", room_pool));
    OK(store_read(room_store, look, &j, room_pool));
    ck_assert_int_eq(j.seen, 1);
    j.fail = true;
    err = store_read(room_store, look, &j, room_pool);
    room_expect(err, SCEP_REFUSED);
    j.write = true;
    err = store_read(room_store, look, &j, room_pool);
    room_expect(err, SCEP_INTERNAL);
    ck_assert_ptr_null(room_put_one("2", room_pool));
    room_expect_rows(2);
    store_close(room_store);
    room_expect(store_read(room_store, look, &j, room_pool), SCEP_UNAVAILABLE);
}
END_TEST

/* One leads and waits until two others wait; of these the one that writes leads next, and will not
 * end before the one that reads has its answer. */
typedef struct queue_test {
    apr_thread_t *thread;
    apr_pool_t *pool;
    const scep_err *err;
    atomic_bool *wait_for; /* NULL: for two in the queue */
    atomic_bool running, waited, answered;
    look_job look;
} queue_test;

static bool is_so(const queue_test *q)
{
    return q->wait_for ? *q->wait_for : store_waiting(room_store) == 2;
}

static const scep_err *wait_and_put(store_tx *tx, void *baton)
{
    queue_test *q = baton;
    room_job j = { .serial = q->wait_for ? "2" : "1" };

    q->running = true;
    for (int i = 0; i < 10000 && !is_so(q); i++)
        apr_sleep(apr_time_from_msec(1));
    q->waited = is_so(q);
    return room_put(tx, &j);
}

static void *APR_THREAD_FUNC run_wait(apr_thread_t *thread, void *data)
{
    queue_test *q = data;

    q->err = store_run(room_store, wait_and_put, q, q->pool);
    return NULL;
}

static void *APR_THREAD_FUNC run_look(apr_thread_t *thread, void *data)
{
    queue_test *q = data;

    q->err = store_read(room_store, look, &q->look, q->pool);
    q->answered = true;
    return NULL;
}

static void begin_thread(queue_test *q, apr_thread_start_t fn)
{
    ck_assert_int_eq(apr_pool_create(&q->pool, NULL), 0);
    ck_assert_int_eq(apr_thread_create(&q->thread, NULL, fn, q, room_pool), 0);
}

START_TEST(who_reads_is_answered_before_the_group_writes)
{
    queue_test leader = { .waited = false }, writer = { .waited = false }, reader = { .waited = 0 };
    queue_test *all[] = { &leader, &writer, &reader };

    writer.wait_for = &reader.answered;
    begin_thread(&leader, run_wait);
    for (int i = 0; i < 10000 && !leader.running; i++)
        apr_sleep(apr_time_from_msec(1));
    begin_thread(&writer, run_wait);
    for (int i = 0; i < 10000 && store_waiting(room_store) < 1; i++)
        apr_sleep(apr_time_from_msec(1));
    begin_thread(&reader, run_look);
    for (int i = 0; i < 3; i++) {
        apr_status_t status;

        ck_assert_int_eq(apr_thread_join(&status, all[i]->thread), 0);
        OK(all[i]->err);
        apr_pool_destroy(all[i]->pool);
    }
    ck_assert(leader.waited && writer.waited);
    ck_assert_int_eq(reader.look.seen, 1); /* the leader's, not yet the writer's */
    room_expect_rows(2);
}
END_TEST

static void *APR_THREAD_FUNC look_often(apr_thread_t *thread, void *data)
{
    worker *w = data;
    apr_int64_t last = 0;

    for (int i = 0; i < w->jobs; i++) {
        look_job j = { .fail = i % 7 == 0 };
        const scep_err *err = store_read(room_store, look, &j, w->pool);

        w->refused += err && err->code == SCEP_REFUSED && j.fail;
        w->committed += !err && j.seen >= last; /* what was seen once does not go again */
        last = j.seen;
    }
    return NULL;
}

START_TEST(many_that_read_and_many_that_write_leave_each_other_alone)
{
    worker w[ROOM_THREADS] = { 0 };

    for (int i = 0; i < ROOM_THREADS; i++) {
        w[i].number = i;
        w[i].jobs = 70;
        w[i].every_third_fails = true;
        ck_assert_int_eq(apr_pool_create(&w[i].pool, NULL), 0);
        ck_assert_int_eq(
            apr_thread_create(&w[i].thread, NULL, i % 2 ? look_often : run_jobs, &w[i], room_pool),
            0);
    }
    join_workers(w);
    ck_assert_int_eq(w->committed, ROOM_THREADS / 2 * (60 + 46));
    ck_assert_int_eq(w->refused, ROOM_THREADS / 2 * (10 + 24));
    room_expect_rows(ROOM_THREADS / 2 * 46);
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
    tcase_add_test(jobs, a_job_that_reads_meets_what_is_committed_and_writes_nothing);
    tcase_add_test(jobs, who_reads_is_answered_before_the_group_writes);
    tcase_add_test(jobs, many_that_read_and_many_that_write_leave_each_other_alone);
    suite_add_tcase(suite, jobs);

    return suite;
}

int main(void)
{
    Suite *(*const make[])(
        void) = { store_suite,       store_words_suite,        store_transactions_suite,
                  store_queue_suite, store_certificates_suite, store_schema_suite,
                  store_faults_suite };

    return room_main(make, 7);
}
