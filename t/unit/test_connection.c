/* What a connection may announce, and what counts as held. */
#include "suite.h"

#include "connection.h"

#include <sys/socket.h>
#include <unistd.h>

#define MOST 1000

static connection *worker; /* what the server holds */
static int peer;           /* the worker's end */
static atomic_size_t held;

static void set_up(void)
{
    int pair[2];

    FIXTURE_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    peer = pair[0];
    worker = connection_make(pair[1]);
    FIXTURE_MUST(worker);
    held = 0;
}

static void tear_down(void)
{
    close(peer);
    connection_close(worker);
}

/* The header alone of a frame. */
static const scep_err *announce(int verb, unsigned int length)
{
    const unsigned char header[SCEP_WIRE_HEADER] = { 'S',
                                                     'C',
                                                     'E',
                                                     'P',
                                                     SCEP_WIRE_VERSION,
                                                     (unsigned char)verb,
                                                     0,
                                                     0,
                                                     0,
                                                     0,
                                                     (unsigned char)(length / 256),
                                                     (unsigned char)(length % 256) };
    connection_step step;

    FIXTURE_MUST(send(peer, header, sizeof(header), MSG_NOSIGNAL) == (ssize_t)sizeof(header));
    return connection_read(&step, worker, &held, MOST);
}

/* clang-format off */
static const struct {
    const char *what;
    bool welcomed;
    size_t held; /* by others */
    unsigned int length;
    scep_code code;
} bodies[] = {
    { "a greeting", false, 0, 72, SCEP_OK },
    { "longer than a greeting", false, 0, 73, SCEP_INTERNAL },
    { "a call", true, 0, 73, SCEP_OK },
    { "a call that takes the rest", true, 600, 400, SCEP_OK },
    { "a call that takes more than the rest", true, 600, 401, SCEP_UNAVAILABLE },
    { "a call where all is taken", true, MOST, 1, SCEP_UNAVAILABLE },
    { "a call larger than everything", true, 0, MOST + 1, SCEP_UNAVAILABLE },
};
/* clang-format on */

START_TEST(what_is_refused_is_neither_held_nor_given_back)
{
    bool taken = bodies[_i].code == SCEP_OK;

    row = bodies[_i].what;
    worker->welcomed = bodies[_i].welcomed;
    held = bodies[_i].held;
    assert_code(bodies[_i].code,
                announce(worker->welcomed ? SCEP_VERB_BUNDLE : SCEP_VERB_HELLO, bodies[_i].length));
    ck_assert_msg(held == bodies[_i].held + (taken ? bodies[_i].length : 0), "%s: %lu held", row,
                  (unsigned long)held);
    connection_next(worker, &held);
    ck_assert_msg(held == bodies[_i].held, "%s: %lu held afterwards", row, (unsigned long)held);
}
END_TEST

START_TEST(the_reason_says_how_much_is_held)
{
    const scep_err *err;

    worker->welcomed = true;
    held = 987;
    err = announce(SCEP_VERB_BUNDLE, 500);
    ck_assert_ptr_nonnull(err);
    ck_assert_str_eq(err->detail, "987 bytes of requests are held already");
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, what_is_refused_is_neither_held_nor_given_back, 0, ROWS(bodies));
    tcase_add_test(cases, the_reason_says_how_much_is_held);
}

int main(void)
{
    return run_suite("connection", add_tests);
}
