/* The store when something goes wrong: locks, lost handles, kill -9. */
#include "store_room.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(a_changed_schema_gets_a_fresh_handle)
{
    other o = other_open();

    ck_assert_ptr_null(room_put_one("1", room_pool));
    other_says(&o, "CREATE INDEX an_operators_own ON scep_certificate (subject)");
    other_close(&o);
    ck_assert_ptr_null(room_put_one("2", room_pool));
    room_expect_rows(2);
}
END_TEST

/* The child commits and says what was committed; it dies in the middle. */
static void commit_until_killed(int to)
{
    for (int i = 0;; i++) {
        if (room_put_one(apr_itoa(room_pool, i), room_pool) ||
            write(to, &i, sizeof(i)) != sizeof(i))
            _exit(1);
    }
}

START_TEST(what_was_reported_survives_kill_9)
{
    int ends[2], number, reported = 0;
    int status;
    pid_t child;

    store_close(room_store);
    ck_assert_int_eq(pipe(ends), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (store_open(&room_store, room_where, room_pool))
            _exit(2);
        commit_until_killed(ends[1]);
    }
    close(ends[1]);
    while (read(ends[0], &number, sizeof(number)) == sizeof(number))
        if (++reported == 100)
            ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_ge(reported, 100);
    room_open();
    for (int i = 0; i < reported; i++)
        ck_assert_msg(room_has(apr_itoa(room_pool, i)), "row %d of %d is lost", i, reported);
}
END_TEST

static void *APR_THREAD_FUNC unlock_later(apr_thread_t *thread, void *data)
{
    apr_sleep(apr_time_from_msec(4500)); /* longer than the driver tries */
    other_says(data, "ROLLBACK");
    return NULL;
}

START_TEST(the_database_locked_by_another_connection_is_waited_for)
{
    other o = other_open();
    apr_thread_t *thread;
    apr_status_t status;

    other_says(&o, "BEGIN IMMEDIATE");
    ck_assert_int_eq(apr_thread_create(&thread, NULL, unlock_later, &o, room_pool), 0);
    ck_assert_ptr_null(room_put_one("1", room_pool));
    ck_assert_int_eq(apr_thread_join(&status, thread), 0);
    other_close(&o);
    room_expect_rows(1);
}
END_TEST

START_TEST(a_database_locked_for_too_long_is_unavailable_and_then_serves_again)
{
    other o = other_open();
    const scep_err *err;

    store_patience_set(room_store, 0);
    other_says(&o, "BEGIN IMMEDIATE");
    err = room_put_one("1", room_pool);
    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->code, SCEP_UNAVAILABLE);
    other_says(&o, "ROLLBACK");
    other_close(&o);
    room_expect_rows(0);
    ck_assert_ptr_null(room_put_one("1", room_pool));
    room_expect_rows(1);
}
END_TEST

START_TEST(what_is_no_store_is_refused)
{
    static const char *const wrong[] = { "",
                                         "store.db",
                                         "sqlite3:",
                                         "pgsql:",
                                         ":x",
                                         "mysql:host=localhost",
                                         "sqlite2:/tmp/x",
                                         "sqlite3:/nowhere/at/all/store.db",
                                         "pgsql:host=/nowhere/at/all password=hush" };
    const scep_err *err;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        err = store_open(&room_store, wrong[i], room_pool);
        ck_assert_msg(err && err->code == SCEP_CONFIG, "\"%s\" was taken", wrong[i]);
        ck_assert_ptr_null(strstr(err->detail, "hush"));
    }
}
END_TEST

START_TEST(the_file_is_its_owners_alone)
{
    struct stat info;

    umask(0);
    room_open();
    ck_assert_ptr_null(room_put_one("1", room_pool));
    ck_assert_int_eq(stat(apr_psprintf(room_pool, "%s/store.db", room_folder), &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0600);
    ck_assert_int_eq(stat(apr_psprintf(room_pool, "%s/store.db-wal", room_folder), &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0600);
}
END_TEST

Suite *store_faults_suite(void)
{
    Suite *suite = suite_create("store faults");
    TCase *anywhere = tcase_create("anywhere");
    TCase *faults = tcase_create("SQLite");
    TCase *opening = tcase_create("opening");

    tcase_add_checked_fixture(anywhere, room_up_portable, room_down);
    tcase_set_timeout(anywhere, 60);
    tcase_add_test(anywhere, what_was_reported_survives_kill_9);
    suite_add_tcase(suite, anywhere);

    tcase_add_checked_fixture(faults, room_up, room_down);
    tcase_set_timeout(faults, 60);
    tcase_add_test(faults, a_changed_schema_gets_a_fresh_handle);
    tcase_add_test(faults, the_database_locked_by_another_connection_is_waited_for);
    tcase_add_test(faults, a_database_locked_for_too_long_is_unavailable_and_then_serves_again);
    suite_add_tcase(suite, faults);

    tcase_add_checked_fixture(opening, room_up_folder, room_down);
    tcase_add_test(opening, what_is_no_store_is_refused);
    tcase_add_test(opening, the_file_is_its_owners_alone);
    suite_add_tcase(suite, opening);
    return suite;
}
