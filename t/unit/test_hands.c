/* The threads that run calls: what may wait for a policy module holds up nothing else. */
#include "suite.h"

#include "hands.h"

#include <apr_strings.h>

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 2048 /* connections of one test */

/* A poll at an endpoint that is not there, which needs no store; the endpoint that it is counted
 * for is another. Its answer goes where nobody reads, so that it runs until its deadline. */
static office o;
static office_authority authority, other;
static office_endpoint endpoints[5]; /* three have a policy module, the last two have none */
static connection *all[MOST];
static int theirs[MOST], count, wake;
static atomic_size_t held;
static hands *h;

enum { PLAIN = 3, OTHER = 4 }; /* OTHER: of the other authority */

static void set_up(void)
{
    static int somebody;

    memset(&o, 0, sizeof(o));
    count = 0;
    o.authorities = apr_array_make(p, 2, sizeof(office_authority *));
    APR_ARRAY_PUSH(o.authorities, office_authority *) = &authority;
    APR_ARRAY_PUSH(o.authorities, office_authority *) = &other;
    o.endpoints = apr_array_make(p, 5, sizeof(office_endpoint *));
    for (int i = 0; i <= OTHER; i++) {
        endpoints[i] =
            (office_endpoint){ .name = "e", .authority = i == OTHER ? &other : &authority };
        /* only whether there is one counts here */
        endpoints[i].module = i >= PLAIN ? NULL : (policy_module *)(void *)&somebody;
        APR_ARRAY_PUSH(o.endpoints, office_endpoint *) = &endpoints[i];
    }
    wake = eventfd(0, EFD_NONBLOCK);
    FIXTURE_MUST(wake >= 0);
}

static void start(int in_flight)
{
    const server_options options = { .in_flight = in_flight, .timeout = apr_time_from_sec(60) };

    held = 0;
    assert_ok(hands_start(&h, &o, &options, &held, wake, p));
}

static void close_all(void)
{
    apr_time_t until = apr_time_now() + apr_time_from_sec(20);

    for (int i = 0; i < count; i++)
        close(theirs[i]); /* whoever writes to it ends */
    while (hands_busy(h) > 0 && apr_time_now() < until) {
        struct pollfd pfd = { wake, POLLIN, 0 };

        (void)poll(&pfd, 1, 50);
        (void)hands_done(h);
    }
    ck_assert_int_eq(hands_busy(h), 0);
    hands_stop(h);
    for (int i = 0; i < count; i++)
        connection_close(all[i]);
    close(wake);
}

static void fill(int fd)
{
    static const char zeros[4096];

    FIXTURE_MUST(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    while (send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL) > 0)
        ;
}

/* @return NULL: taken */
static const char *give(int endpoint, scep_verb verb, bool hangs)
{
    int pair[2];
    connection *c;

    ck_assert_int_lt(count, MOST);
    FIXTURE_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    if (hangs)
        fill(pair[0]);
    c = connection_make(pair[0]);
    ck_assert_ptr_nonnull(c);
    c->verb = verb;
    c->call.verb = verb;
    c->call.endpoint = &endpoints[endpoint];
    c->call.deadline = apr_time_now() + apr_time_from_sec(60);
    if (verb == SCEP_VERB_BUNDLE)
        c->call.in.bundle.endpoint = "none";
    else if (verb == SCEP_VERB_ENROL)
        c->call.in.enrol = (scep_wire_enrol){ .endpoint = "none", .peer = "" };
    else if (verb == SCEP_VERB_FIND)
        c->call.in.find = (scep_wire_find){ .endpoint = "none", .peer = "", .serial = "" };
    else
        c->call.in.poll = (scep_wire_poll){ .endpoint = "none", .peer = "" };
    all[count] = c;
    theirs[count++] = pair[1];
    return hands_give(h, c);
}

static int taken(int endpoint, int tries)
{
    int n = 0;

    for (int i = 0; i < tries; i++)
        n += !give(endpoint, SCEP_VERB_POLL, true);
    return n;
}

static bool answered(int i)
{
    struct pollfd pfd = { theirs[i], POLLIN, 0 };

    return poll(&pfd, 1, 10000) == 1;
}

START_TEST(modules_that_hang_leave_half_of_the_hands_to_others)
{
    start(1000);
    ck_assert_int_eq(taken(0, HANDS_MODULE + 3), HANDS_MODULE);
    ck_assert_int_eq(taken(1, HANDS_MODULE + 3), HANDS_MODULE);
    ck_assert_int_eq(taken(2, HANDS_MODULE), HANDS_MODULES - 2 * HANDS_MODULE);
    ck_assert_ptr_nonnull(strstr(give(2, SCEP_VERB_POLL, true), "policy module"));
    ck_assert_int_eq(taken(PLAIN, HANDS - HANDS_MODULES - 1), HANDS - HANDS_MODULES - 1);
    ck_assert_ptr_null(give(PLAIN, SCEP_VERB_POLL, false));
    ck_assert(answered(count - 1));
    close_all();
}
END_TEST

START_TEST(what_asks_no_module_is_not_counted)
{
    start(1000);
    ck_assert_int_eq(taken(0, HANDS_MODULE + 1), HANDS_MODULE);
    ck_assert_ptr_null(give(0, SCEP_VERB_BUNDLE, false));
    ck_assert(answered(count - 1));
    ck_assert_ptr_null(give(0, SCEP_VERB_FIND, false));
    ck_assert(answered(count - 1));
    close_all();
}
END_TEST

START_TEST(a_place_is_free_again_when_its_call_is_over)
{
    start(1000);
    ck_assert_int_eq(taken(0, HANDS_MODULE), HANDS_MODULE);
    ck_assert_ptr_nonnull(give(0, SCEP_VERB_POLL, false));
    close(theirs[0]);
    theirs[0] = dup(wake);
    for (int i = 0; i < 200 && hands_busy(h) == HANDS_MODULE; i++) {
        struct pollfd pfd = { wake, POLLIN, 0 };

        (void)poll(&pfd, 1, 50);
        (void)hands_done(h);
    }
    ck_assert_ptr_null(give(0, SCEP_VERB_POLL, true));
    ck_assert_ptr_nonnull(give(0, SCEP_VERB_POLL, true));
    close_all();
}
END_TEST

START_TEST(a_small_httpd_loses_a_quarter_of_its_workers_to_a_module)
{
    static const struct {
        int in_flight, each, together;
    } rows[] = { { 1, 1, 1 }, { 2, 1, 1 }, { 6, 1, 3 }, { 12, 3, 6 } };
    int n;

    row = apr_psprintf(p, "%d", rows[_i].in_flight);
    start(rows[_i].in_flight);
    n = taken(0, HANDS);
    ck_assert_int_eq(n, rows[_i].each);
    n += taken(1, HANDS);
    n += taken(2, HANDS);
    ck_assert_int_eq(n,
                     rows[_i].together < 3 * rows[_i].each ? rows[_i].together : 3 * rows[_i].each);
    close_all();
}
END_TEST

/* ---- a slow CA ---- */

/* Hands for the calls of one authority that may ask its CA. */
static int of_ca(void)
{
    return (hands_number(h) - HANDS) / o.authorities->nelts;
}

/* These ask a CA that does not answer: as here nobody reads the answer. */
static void ask_slow_ca(int calls)
{
    for (int i = 0; i < calls; i++)
        ck_assert_ptr_null(give(PLAIN, SCEP_VERB_ENROL, true));
}

START_TEST(each_core_signs)
{
    start(1000);
    ck_assert_int_ge(of_ca(), (int)sysconf(_SC_NPROCESSORS_ONLN));
    ask_slow_ca(of_ca() - 1);
    ck_assert_ptr_null(give(PLAIN, SCEP_VERB_ENROL, false));
    ck_assert(answered(count - 1));
    close_all();
}
END_TEST

START_TEST(a_slow_ca_holds_up_nobody_else)
{
    static const scep_verb others[] = { SCEP_VERB_POLL, SCEP_VERB_FIND, SCEP_VERB_BUNDLE };

    start(1000);
    ask_slow_ca(3 * HANDS);
    ck_assert_ptr_null(give(OTHER, SCEP_VERB_ENROL, false));
    ck_assert(answered(count - 1));
    for (size_t i = 0; i < ROWS(others); i++) {
        ck_assert_ptr_null(give(PLAIN, others[i], false));
        ck_assert(answered(count - 1));
    }
    close_all();
}
END_TEST

START_TEST(what_waits_for_a_slow_ca_is_served_when_it_has_answered)
{
    struct pollfd pfd = { .events = POLLIN };

    start(1000);
    ask_slow_ca(of_ca());
    ck_assert_ptr_null(give(PLAIN, SCEP_VERB_ENROL, false));
    pfd.fd = theirs[count - 1];
    ck_assert_int_eq(poll(&pfd, 1, 100), 0);
    close(theirs[0]);
    theirs[0] = dup(wake);
    ck_assert(answered(count - 1));
    close_all();
}
END_TEST

/* ---- a hand keeps the connection that it has answered ---- */

/* Less than the longest time that a hand waits for a next call. */
#define AT_ONCE 900

/* The worker @a i asks once more. */
static void ask(int i)
{
    scep_wire_endpoint_name name = { "none" };
    apr_time_t soon = apr_time_now() + apr_time_from_sec(10);

    assert_ok(scep_wire_write(theirs[i], scep_wire_put_endpoint_name(SCEP_VERB_BUNDLE, &name, p),
                              soon, p));
}

static void expect_answer(int i)
{
    apr_time_t soon = apr_time_now() + apr_time_from_sec(10);
    scep_bytes body;
    int verb;

    assert_ok(scep_wire_read(theirs[i], &verb, &body, soon, p));
    ck_assert_int_eq(verb, SCEP_VERB_REFUSED);
}

/* NULL: none at once. */
static connection *given_back(void)
{
    struct pollfd pfd = { wake, POLLIN, 0 };
    uint64_t n;

    if (poll(&pfd, 1, AT_ONCE) != 1)
        return NULL;
    FIXTURE_MUST(read(wake, &n, sizeof(n)) == (ssize_t)sizeof(n));
    return hands_done(h);
}

static void give_and_keep(void)
{
    ck_assert_ptr_null(give(PLAIN, SCEP_VERB_BUNDLE, false));
    expect_answer(count - 1);
    all[count - 1]->welcomed = true;
}

START_TEST(a_worker_that_asks_again_is_answered_by_the_same_hand)
{
    start(1000);
    give_and_keep();
    for (int n = 0; n < 3; n++) {
        ask(0);
        expect_answer(0);
    }
    ck_assert_ptr_null(hands_done(h));
    ck_assert_int_eq(hands_busy(h), 1);
    close_all();
    ck_assert_int_eq(held, 0);
}
END_TEST

START_TEST(where_no_other_hand_is_free_those_that_keep_connections_come)
{
    apr_time_t begun;
    int rest;

    start(1000);
    for (int i = 0; i < hands_number(h) / 2; i++) {
        give_and_keep();
        /* a hand that has just answered keeps nothing while another call is queued */
        (void)poll(NULL, 0, 5);
    }
    begun = apr_time_now();
    rest = hands_number(h) - hands_number(h) / 2;
    ck_assert_int_eq(taken(PLAIN, rest), rest);
    ck_assert_ptr_null(give(PLAIN, SCEP_VERB_BUNDLE, false));
    expect_answer(count - 1);
    ck_assert_int_lt(apr_time_now() - begun, apr_time_from_msec(AT_ONCE));
    close_all();
}
END_TEST

START_TEST(who_leaves_gives_back_what_is_kept_and_keeps_no_more)
{
    start(1000);
    give_and_keep();
    hands_leave(h);
    ck_assert_ptr_eq(given_back(), all[0]);
    ck_assert_int_eq((int)all[0]->have, 0);
    ck_assert_ptr_null(all[0]->fault);
    give_and_keep();
    ck_assert_ptr_eq(given_back(), all[1]);
    close_all();
}
END_TEST

START_TEST(rubbish_on_a_kept_connection_is_its_workers_fault)
{
    static const char zeros[SCEP_WIRE_HEADER];

    start(1000);
    give_and_keep();
    FIXTURE_MUST(send(theirs[0], zeros, sizeof(zeros), 0) == (ssize_t)sizeof(zeros));
    ck_assert_ptr_eq(given_back(), all[0]);
    ck_assert_str_eq(all[0]->fault, "not a frame of scep-ca's protocol");
    close_all();
}
END_TEST

START_TEST(a_call_above_the_limit_is_given_back_unanswered)
{
    start(1);
    endpoints[PLAIN].authority = NULL; /* counted as a call to an endpoint that is not there */
    give_and_keep();
    /* a call is counted for a moment after it was answered */
    for (int i = 0; i < 2000 && give(PLAIN, SCEP_VERB_POLL, true); i++)
        (void)poll(NULL, 0, 5);
    ask(0);
    ck_assert_ptr_eq(given_back(), all[0]);
    ck_assert_int_gt((int)all[0]->have, SCEP_WIRE_HEADER);
    ck_assert_str_eq(hands_give(h, all[0]), "too many calls at one time");
    close_all();
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, modules_that_hang_leave_half_of_the_hands_to_others);
    tcase_add_test(cases, what_asks_no_module_is_not_counted);
    tcase_add_test(cases, a_place_is_free_again_when_its_call_is_over);
    tcase_add_test(cases, each_core_signs);
    tcase_add_test(cases, a_slow_ca_holds_up_nobody_else);
    tcase_add_test(cases, what_waits_for_a_slow_ca_is_served_when_it_has_answered);
    tcase_add_test(cases, a_worker_that_asks_again_is_answered_by_the_same_hand);
    tcase_add_test(cases, where_no_other_hand_is_free_those_that_keep_connections_come);
    tcase_add_test(cases, who_leaves_gives_back_what_is_kept_and_keeps_no_more);
    tcase_add_test(cases, rubbish_on_a_kept_connection_is_its_workers_fault);
    tcase_add_test(cases, a_call_above_the_limit_is_given_back_unanswered);
    tcase_add_loop_test(cases, a_small_httpd_loses_a_quarter_of_its_workers_to_a_module, 0, 4);
}

int main(void)
{
    return run_suite("hands", add_tests);
}
