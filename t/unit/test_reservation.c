/* Reservations: in memory, so without a store. */
#include "challenge.h"
#include "store_room.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <malloc.h>
#include <stdatomic.h>

#define CROWD 20

static reservations *table;

static void set_up(void)
{
    room_up_folder();
    ck_assert_ptr_null(reservations_make(&table, room_pool));
}

static scep_code take(const char *name, const char *owner, int milliseconds)
{
    const scep_err *err = reservation_take(
        table, name, owner, apr_time_now() + apr_time_from_msec(milliseconds), room_pool);

    return err ? err->code : SCEP_OK;
}

START_TEST(a_reserved_challenge_is_refused_to_another_request)
{
    ck_assert_int_eq(take("c", "first", 0), SCEP_OK);
    ck_assert_int_eq(take("c", "second", 5000), SCEP_CHALLENGE);
    ck_assert_int_eq(take("d", "second", 0), SCEP_OK);
    reservation_drop(table, "c", "first");
    ck_assert_int_eq(take("c", "third", 0), SCEP_OK);
}
END_TEST

START_TEST(the_same_owner_waits_until_its_deadline)
{
    apr_time_t began = apr_time_now();

    ck_assert_int_eq(take("c", "owner", 0), SCEP_OK);
    ck_assert_int_eq(take("c", "owner", 150), SCEP_UNAVAILABLE);
    ck_assert_int_ge(apr_time_now() - began, apr_time_from_msec(150));
    ck_assert_int_eq(take("c", "owner", -1), SCEP_UNAVAILABLE);
}
END_TEST

START_TEST(requests_without_a_challenge_reserve_their_owner_only)
{
    ck_assert_int_eq(take(NULL, "first", 0), SCEP_OK);
    ck_assert_int_eq(take(NULL, "second", 0), SCEP_OK);
    ck_assert_int_eq(take(NULL, "first", 0), SCEP_UNAVAILABLE);
    reservation_drop(table, NULL, "first");
    ck_assert_int_eq(take(NULL, "first", 0), SCEP_OK);
}
END_TEST

START_TEST(a_drop_of_what_is_not_held_does_nothing)
{
    reservation_drop(table, "c", "nobody");
    ck_assert_int_eq(take("c", "owner", 0), SCEP_OK);
    reservation_drop(table, "c", "nobody");
    ck_assert_int_eq(take("c", "other", 0), SCEP_CHALLENGE);
}
END_TEST

static void *APR_THREAD_FUNC drop_later(apr_thread_t *thread, void *data)
{
    apr_sleep(apr_time_from_msec(100));
    reservation_drop(table, "c", "owner");
    return NULL;
}

START_TEST(the_same_owner_goes_on_when_the_first_is_done)
{
    apr_thread_t *thread;
    apr_status_t status;

    ck_assert_int_eq(take("c", "owner", 0), SCEP_OK);
    ck_assert_int_eq(apr_thread_create(&thread, NULL, drop_later, NULL, room_pool), 0);
    ck_assert_int_eq(take("c", "owner", 5000), SCEP_OK);
    ck_assert_int_eq(take("c", "other", 0), SCEP_CHALLENGE);
    ck_assert_int_eq(apr_thread_join(&status, thread), 0);
}
END_TEST

static atomic_int inside, most, taken;

static void *APR_THREAD_FUNC one_at_a_time(apr_thread_t *thread, void *data)
{
    apr_pool_t *own;
    int now;

    ck_assert_int_eq(apr_pool_create(&own, NULL), 0);
    if (!reservation_take(table, "c", "owner", apr_time_now() + apr_time_from_sec(20), own)) {
        now = atomic_fetch_add(&inside, 1) + 1;
        if (now > atomic_load(&most))
            atomic_store(&most, now);
        apr_sleep(apr_time_from_msec(2));
        atomic_fetch_sub(&inside, 1);
        atomic_fetch_add(&taken, 1);
        reservation_drop(table, "c", "owner");
    }
    apr_pool_destroy(own);
    return NULL;
}

START_TEST(one_owner_works_one_at_a_time)
{
    apr_thread_t *thread[CROWD];
    apr_status_t status;

    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(apr_thread_create(&thread[i], NULL, one_at_a_time, NULL, room_pool), 0);
    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(apr_thread_join(&status, thread[i]), 0);
    ck_assert_int_eq(atomic_load(&taken), CROWD);
    ck_assert_int_eq(atomic_load(&most), 1);
}
END_TEST

START_TEST(a_hundred_thousand_reservations_leave_no_memory_behind)
{
    size_t before = 0;

    for (int i = 0; i < 100000; i++) {
        char name[32];

        apr_snprintf(name, sizeof(name), "%d", i);
        ck_assert_int_eq(take(name, name, 0), SCEP_OK);
        reservation_drop(table, name, name);
        if (i == 1000)
            before = mallinfo2().uordblks;
    }
    ck_assert_uint_le(mallinfo2().uordblks, before + 65536);
}
END_TEST

Suite *reservation_suite(void)
{
    Suite *suite = suite_create("reservation");
    TCase *cases = tcase_create("reservations");

    tcase_add_checked_fixture(cases, set_up, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_reserved_challenge_is_refused_to_another_request);
    tcase_add_test(cases, the_same_owner_waits_until_its_deadline);
    tcase_add_test(cases, requests_without_a_challenge_reserve_their_owner_only);
    tcase_add_test(cases, a_drop_of_what_is_not_held_does_nothing);
    tcase_add_test(cases, the_same_owner_goes_on_when_the_first_is_done);
    tcase_add_test(cases, one_owner_works_one_at_a_time);
    tcase_add_test(cases, a_hundred_thousand_reservations_leave_no_memory_behind);
    suite_add_tcase(suite, cases);
    return suite;
}
