/* scepctl's socket: who may speak, what is answered, and what a successor leaves. */
#include "office_room.h"
#include "suite.h"

#include "ctl.h"

#include <apr_strings.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static office *o;
static conf with_socket; /* the office's, and the path of a socket */
static ctl *running;

static apr_time_t soon(void)
{
    return apr_time_now() + apr_time_from_sec(10);
}

static ctl *start(void)
{
    ctl *c = NULL;

    assert_ok(ctl_start(&c, o, p));
    return c;
}

static void up(void)
{
    o = office_room_up(p);
    with_socket = *o->conf;
    with_socket.ctl =
        apr_pstrcat(p, apr_pstrndup(p, o->conf->path, strlen(o->conf->path) - strlen("ca.conf")),
                    "ctl.sock", NULL);
    o->conf = &with_socket;
    running = start();
}

static void down(void)
{
    ctl_stop(running);
    running = NULL;
    office_room_down(o);
}

/* @return -1: nobody listens */
static int try_to_connect(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    apr_cpystrn(at.sun_path, with_socket.ctl, sizeof(at.sun_path));
    ck_assert_int_ge(fd, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connected(void)
{
    int fd = try_to_connect();

    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Send a frame; the answer has to be @a verb. */
static scep_bytes ask(int fd, scep_bytes frame, scep_verb verb)
{
    scep_bytes body;
    int got;

    assert_ok(scep_wire_write(fd, frame, soon(), p));
    assert_ok(scep_wire_read(fd, &got, &body, soon(), p));
    ck_assert_int_eq(got, verb);
    return body;
}

static scep_bytes list_frame(scep_verb verb)
{
    return scep_wire_put_list(verb, &(scep_wire_list){ .state = "" }, p);
}

START_TEST(S_30_the_socket_is_for_its_owner_only)
{
    struct stat st;

    ck_assert_int_eq(stat(with_socket.ctl, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    ck_assert_int_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(lists_are_answered_one_after_the_other)
{
    scep_wire_certificate_page certificates;
    scep_wire_request_page requests;
    int fd = connected();

    assert_ok(scep_wire_get_request_page(
        &requests, ask(fd, list_frame(SCEP_VERB_REQUESTS), SCEP_VERB_REQUEST_PAGE), p));
    ck_assert_int_eq(requests.requests->nelts, 0);
    assert_ok(scep_wire_get_certificate_page(
        &certificates, ask(fd, list_frame(SCEP_VERB_CERTIFICATES), SCEP_VERB_CERTIFICATE_PAGE), p));
    ck_assert_int_eq(certificates.certificates->nelts, 0);
    close(fd);
}
END_TEST

START_TEST(an_issued_certificate_is_listed_and_revoked_once)
{
    const fixture_request r = { .challenge = office_room_mint(o, "devices", p),
                                .subject = "CN=listed" };
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", fixture_csr(&r, p), p);
    scep_wire_certificate_page page;
    scep_wire_revoke revoke = { .reason = 1 };
    scep_wire_refused refused;
    int fd = connected();

    ck_assert_int_eq(v.status, SCEP_STATUS_ISSUED);
    assert_ok(scep_wire_get_certificate_page(
        &page, ask(fd, list_frame(SCEP_VERB_CERTIFICATES), SCEP_VERB_CERTIFICATE_PAGE), p));
    ck_assert_int_eq(page.certificates->nelts, 1);
    revoke.serial = APR_ARRAY_IDX(page.certificates, 0, scep_wire_certificate).serial;
    (void)ask(
        fd,
        scep_wire_put_sign_crl(SCEP_VERB_CERTIFICATES, &(scep_wire_sign_crl){ .authority = "" }, p),
        SCEP_VERB_REFUSED);
    ck_assert(*revoke.serial);
    assert_ok(scep_wire_write(fd, scep_wire_put_revoke(SCEP_VERB_REVOKE, &revoke, p), soon(), p));
    for (int verb = SCEP_VERB_PROGRESS, n = 0; verb != SCEP_VERB_DONE; n++) {
        scep_bytes body;

        ck_assert_int_lt(n, 1000);
        assert_ok(scep_wire_read(fd, &verb, &body, soon(), p));
        ck_assert(verb == SCEP_VERB_PROGRESS || verb == SCEP_VERB_DONE);
    }
    assert_ok(scep_wire_get_refused(
        &refused, ask(fd, scep_wire_put_revoke(SCEP_VERB_REVOKE, &revoke, p), SCEP_VERB_REFUSED),
        p));
    ck_assert_int_eq(refused.code, SCEP_BAD_CERT_ID);
    close(fd);
}
END_TEST

START_TEST(the_state_is_told_to_scepctl_too)
{
    const scep_bytes none = scep_wire_put_empty(SCEP_VERB_STATUS, p);
    scep_wire_state state;
    int fd = connected();

    (void)office_room_mint(o, "devices", p);
    assert_ok(scep_wire_get_state(&state, ask(fd, none, SCEP_VERB_STATE), p));
    ck_assert_uint_eq(state.store, 1);
    for (int i = 0; i < state.endpoints->nelts; i++) {
        const scep_wire_endpoint_state *e =
            &APR_ARRAY_IDX(state.endpoints, i, scep_wire_endpoint_state);

        ck_assert_uint_eq(e->minted, !strcmp(e->name, "devices"));
    }
    (void)ask(fd, list_frame(SCEP_VERB_STATUS), SCEP_VERB_REFUSED);
    close(fd);
}
END_TEST

/* An approval waits for a CA and for a policy module: here it is callers who say nothing more. */
START_TEST(the_state_is_told_while_others_are_served)
{
    const apr_time_t begin = apr_time_now();
    int others[3], fd;

    for (int i = 0; i < ROWS(others); i++) {
        others[i] = connected();
        (void)ask(others[i], list_frame(SCEP_VERB_REQUESTS), SCEP_VERB_REQUEST_PAGE);
    }
    fd = connected();
    (void)ask(fd, scep_wire_put_empty(SCEP_VERB_STATUS, p), SCEP_VERB_STATE);
    ck_assert_int_lt(apr_time_now() - begin, apr_time_from_sec(8));
    for (int i = 0; i < ROWS(others); i++)
        close(others[i]);
    close(fd);
}
END_TEST

START_TEST(a_challenge_is_minted_listed_and_revoked)
{
    const scep_wire_mint mint = { .endpoint = "devices", .user = "alice", .peer = "192.0.2.66" };
    const scep_wire_challenges_of all = { "", "", "" };
    scep_wire_revoke_challenge revoke = { .by = "alice" };
    scep_wire_challenge_page page;
    scep_wire_minted minted;
    scep_wire_challenge c;
    scep_bytes frame;
    int fd = connected();

    assert_ok(scep_wire_get_minted(
        &minted, ask(fd, scep_wire_put_mint(SCEP_VERB_MINT, &mint, p), SCEP_VERB_MINTED), p));
    ck_assert_int_eq(minted.outcome, SCEP_MINT_DONE);
    frame = scep_wire_put_challenges_of(SCEP_VERB_CHALLENGES, &all, p);
    assert_ok(scep_wire_get_challenge_page(&page, ask(fd, frame, SCEP_VERB_CHALLENGE_PAGE), p));
    ck_assert_int_eq(page.challenges->nelts, 1);
    c = APR_ARRAY_IDX(page.challenges, 0, scep_wire_challenge);
    ck_assert_ptr_nonnull(strstr(c.user, " for alice"));
    ck_assert_str_eq(c.peer, "scepctl");
    revoke.id = c.id;
    frame = scep_wire_put_revoke_challenge(SCEP_VERB_REVOKE_CHALLENGE, &revoke, p);
    (void)ask(fd, frame, SCEP_VERB_DONE);
    (void)ask(fd, frame, SCEP_VERB_REFUSED);
    frame = scep_wire_put_challenges_of(SCEP_VERB_CHALLENGES, &all, p);
    assert_ok(scep_wire_get_challenge_page(&page, ask(fd, frame, SCEP_VERB_CHALLENGE_PAGE), p));
    ck_assert_int_eq(page.challenges->nelts, 0);
    (void)ask(fd, list_frame(SCEP_VERB_CHALLENGES), SCEP_VERB_REFUSED);
    close(fd);
}
END_TEST

START_TEST(a_verb_of_workers_is_refused)
{
    const scep_wire_endpoint_name in = { .endpoint = "devices" };
    scep_wire_refused refused;
    int fd = connected();

    assert_ok(scep_wire_get_refused(
        &refused, ask(fd, scep_wire_put_endpoint_name(SCEP_VERB_BUNDLE, &in, p), SCEP_VERB_REFUSED),
        p));
    ck_assert_int_eq(refused.code, SCEP_REFUSED);
    (void)ask(fd, list_frame(SCEP_VERB_REQUESTS), SCEP_VERB_REQUEST_PAGE);
    close(fd);
}
END_TEST

START_TEST(rubbish_ends_its_own_connection_only)
{
    static const char rubbish[] = "GET / HTTP/1.0\r\n\r\n";
    int fd = connected(), other;
    char byte;

    ck_assert_int_eq(send(fd, rubbish, sizeof(rubbish), MSG_NOSIGNAL), sizeof(rubbish));
    ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
    other = connected();
    (void)ask(other, list_frame(SCEP_VERB_REQUESTS), SCEP_VERB_REQUEST_PAGE);
    close(other);
    close(fd);
}
END_TEST

START_TEST(who_decides_is_said_by_the_kernel)
{
    scep_wire_decide decide = { .id = "0123456789ABCDEF", .approve = 1, .by = "mallory\n" };
    int fd = connected();

    (void)ask(fd, scep_wire_put_decide(SCEP_VERB_DECIDE, &decide, p), SCEP_VERB_REFUSED);
    close(fd);
    ck_assert_msg(strstr(office_room_log(p), geteuid() ? " for mallory" : "root for mallory"), "%s",
                  office_room_log(p));
}
END_TEST

START_TEST(a_successor_takes_the_path_and_keeps_it)
{
    ctl *successor = start();
    int fd;

    ctl_stop(running);
    running = NULL;
    fd = connected();
    (void)ask(fd, list_frame(SCEP_VERB_REQUESTS), SCEP_VERB_REQUEST_PAGE);
    close(fd);
    ctl_stop(successor);
    ck_assert_int_lt(try_to_connect(), 0);
    ck_assert_int_ne(access(with_socket.ctl, F_OK), 0);
}
END_TEST

START_TEST(a_caller_who_says_nothing_does_not_hold_up_the_end)
{
    int fd = connected();
    apr_time_t begin = apr_time_now();

    (void)ask(fd, list_frame(SCEP_VERB_REQUESTS), SCEP_VERB_REQUEST_PAGE);
    ctl_stop(running);
    running = NULL;
    ck_assert_int_lt(apr_time_now() - begin, apr_time_from_sec(8));
    close(fd);
}
END_TEST

START_TEST(without_a_path_nothing_is_served)
{
    ctl *none = running;

    with_socket.ctl = NULL;
    assert_ok(ctl_start(&none, o, p));
    ck_assert_ptr_null(none);
    ctl_stop(none);
}
END_TEST

START_TEST(a_path_that_is_too_long_or_not_there_stops_the_start)
{
    static const char *const paths[] = { "/nonexistent/ctl.sock", NULL };
    const char *long_path = "/tmp";
    ctl *none = NULL;

    for (int i = 0; i < 30; i++)
        long_path = apr_pstrcat(p, long_path, "/long", NULL);
    with_socket.ctl = paths[0];
    assert_code(SCEP_CONFIG, ctl_start(&none, o, p));
    with_socket.ctl = long_path;
    assert_code(SCEP_CONFIG, ctl_start(&none, o, p));
    ck_assert_ptr_null(none);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, S_30_the_socket_is_for_its_owner_only);
    tcase_add_test(cases, lists_are_answered_one_after_the_other);
    tcase_add_test(cases, an_issued_certificate_is_listed_and_revoked_once);
    tcase_add_test(cases, the_state_is_told_to_scepctl_too);
    tcase_add_test(cases, the_state_is_told_while_others_are_served);
    tcase_add_test(cases, a_challenge_is_minted_listed_and_revoked);
    tcase_add_test(cases, a_verb_of_workers_is_refused);
    tcase_add_test(cases, rubbish_ends_its_own_connection_only);
    tcase_add_test(cases, who_decides_is_said_by_the_kernel);
    tcase_add_test(cases, a_successor_takes_the_path_and_keeps_it);
    tcase_add_test(cases, a_caller_who_says_nothing_does_not_hold_up_the_end);
    tcase_add_test(cases, without_a_path_nothing_is_served);
    tcase_add_test(cases, a_path_that_is_too_long_or_not_there_stops_the_start);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("ctl", add_tests);
    office_room_done();
    return status;
}
