/* How many threads of a worker may wait for scep-ca at one time. */
#include "suite.h"

#include <pthread.h>

static scep_ca_client *client_with_places(int most)
{
    scep_ca_client *client = NULL;

    assert_ok(scep_ca_client_make(&client, "/nowhere", (scep_bytes){ 0 }, (scep_bytes){ 0 }, 1000,
                                  most, p));
    return client;
}

START_TEST(no_more_enter_than_there_are_places)
{
    scep_ca_client *client = client_with_places(3);

    for (int i = 0; i < 3; i++)
        assert_ok(scep_ca_client_enter(client, p));
    assert_code(SCEP_UNAVAILABLE, scep_ca_client_enter(client, p));
    assert_code(SCEP_UNAVAILABLE, scep_ca_client_enter(client, p));
    scep_ca_client_leave(client);
    assert_ok(scep_ca_client_enter(client, p));
    assert_code(SCEP_UNAVAILABLE, scep_ca_client_enter(client, p));
}
END_TEST

START_TEST(without_a_limit_any_number_enters)
{
    scep_ca_client *client = client_with_places(0);

    for (int i = 0; i < 1000; i++)
        assert_ok(scep_ca_client_enter(client, p));
}
END_TEST

static void *enter_and_leave(void *client)
{
    apr_pool_t *own;

    FIXTURE_MUST(apr_pool_create_ex(&own, NULL, NULL, NULL) == APR_SUCCESS);
    for (int i = 0; i < 10000; i++) {
        if (!scep_ca_client_enter(client, own))
            scep_ca_client_leave(client);
        apr_pool_clear(own);
    }
    apr_pool_destroy(own);
    return NULL;
}

START_TEST(threads_give_back_what_they_take)
{
    scep_ca_client *client = client_with_places(3);
    pthread_t threads[8];

    for (int i = 0; i < 8; i++)
        FIXTURE_MUST(pthread_create(&threads[i], NULL, enter_and_leave, client) == 0);
    for (int i = 0; i < 8; i++)
        FIXTURE_MUST(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 3; i++)
        assert_ok(scep_ca_client_enter(client, p));
    assert_code(SCEP_UNAVAILABLE, scep_ca_client_enter(client, p));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, no_more_enter_than_there_are_places);
    tcase_add_test(cases, without_a_limit_any_number_enters);
    tcase_add_test(cases, threads_give_back_what_they_take);
}

int main(void)
{
    return run_suite("ca_places", add_tests);
}
