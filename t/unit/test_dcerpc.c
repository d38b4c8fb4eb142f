/* A connection of DCE/RPC to a peer that says what it likes. Sealing needs a KDC: t/80-adcs-rpc.t.
 */
#include "suite.h"

#include "icpr.h"
#include "rpc_room.h"

#include <apr_strings.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a connection: its peer's words are there before it asks ---- */

static dcerpc *connection(int *peer)
{
    dcerpc *c = apr_pcalloc(p, sizeof(*c));
    int pair[2];

    FIXTURE_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    c->fd = pair[0];
    c->call_id = 6;
    c->send_most = 4280;
    FIXTURE_MUST(apr_pool_create(&c->p, p) == APR_SUCCESS);
    *peer = pair[1];
    return c;
}

static void say(int peer, text t)
{
    FIXTURE_MUST(write(peer, t.data, t.len) == (ssize_t)t.len);
}

static moment soon(void)
{
    return deadline_in(apr_time_from_sec(10));
}

/* For an answer that does not come. */
static moment at_once(void)
{
    return deadline_in(apr_time_from_msec(100));
}

START_TEST(fragments_of_a_response_are_put_together)
{
    scep_bytes answer;
    bool asked;
    int peer;
    dcerpc *c = connection(&peer);

    row = "three fragments";
    say(peer, reply(1, 7, "one "));
    say(peer, reply(0, 7, "two "));
    say(peer, reply(2, 7, "three"));
    assert_ok(dcerpc_call(&answer, &asked, c, 0, scep_bytes_of("ask"), soon(), p));
    assert_bytes(answer, scep_bytes_of("one two three"));
    ck_assert(asked && dcerpc_is_usable(c));
    row = "the next call";
    say(peer, reply(3, 8, "again"));
    ck_assert_msg(!dcerpc_is_usable(c), "a server that speaks first is not asked");
    assert_ok(dcerpc_call(&answer, &asked, c, 0, scep_bytes_of("ask"), soon(), p));
    assert_bytes(answer, scep_bytes_of("again"));
    row = "an empty one";
    say(peer, reply(3, 9, ""));
    assert_ok(dcerpc_call(&answer, &asked, c, 0, scep_bytes_of("ask"), soon(), p));
    ck_assert_uint_eq(answer.len, 0);
    close(peer);
    ck_assert_msg(!dcerpc_is_usable(c), "a server that left is not asked");
}
END_TEST

START_TEST(a_response_that_is_not_in_order_is_none)
{
    text request = reply(3, 7, "x"), refused = { .len = 0 }, other = reply(3, 7, "x");
    struct {
        const char *name;
        text first, second;
        const char *says;
    } rows[] = {
        { "of another call", reply(3, 8, "x"), { .len = 0 }, "not expected" },
        { "of the call before", reply(3, 6, "x"), { .len = 0 }, "not expected" },
        { "begins in the middle", reply(2, 7, "x"), { .len = 0 }, "disorder" },
        { "begins twice", reply(1, 7, "x"), reply(3, 7, "y"), "disorder" },
        { "is another one's later", reply(1, 7, "x"), reply(2, 8, "y"), "not expected" },
        { "an empty fragment", reply(1, 7, ""), { .len = 0 }, "empty fragment" },
        { "never ends", reply(1, 7, "x"), reply(0, 7, "y"), "no answer in time" },
        { "a request", request, { .len = 0 }, "not expected" },
        { "a fault", refused, { .len = 0 }, "access denied" },
        { "another context", other, { .len = 0 }, "not of the context" },
        { "a token", with_token(reply(3, 7, "x")), { .len = 0 }, "none was agreed upon" },
        { "nothing", { .len = 0 }, { .len = 0 }, "no answer in time" },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        apr_time_t began = apr_time_now();
        scep_bytes answer;
        bool asked = false;
        int peer;
        dcerpc *c = connection(&peer);

        row = rows[i].name;
        if (strcmp(row, "a request") == 0)
            rows[i].first.data[2] = DCERPC_REQUEST;
        if (strcmp(row, "another context") == 0)
            rows[i].first.data[20] = 1;
        if (strcmp(row, "a fault") == 0) {
            text body = fault(5);

            rows[i].first = pdu_of(DCERPC_FAULT, 3, 7, &body);
        }
        say(peer, rows[i].first);
        say(peer, rows[i].second);
        assert_says(rows[i].says,
                    dcerpc_call(&answer, &asked, c, 0, scep_bytes_of("ask"),
                                strcmp(rows[i].says, "no answer in time") ? soon() : at_once(), p));
        ck_assert_msg(asked, "%s: it was asked", row);
        ck_assert_msg(apr_time_now() - began < apr_time_from_sec(20), "%s: too late", row);
        ck_assert_msg(!dcerpc_is_usable(c), "%s: usable", row);
        assert_says("broke before",
                    dcerpc_call(&answer, &asked, c, 0, scep_bytes_of("ask"), soon(), p));
        ck_assert_msg(!asked, "%s: nothing was asked any more", row);
        close(peer);
        close(c->fd);
    }
}
END_TEST

START_TEST(a_server_that_leaves_in_the_middle_is_no_answer)
{
    text whole = reply(3, 7, "stub");

    for (size_t len = 0; len < whole.len; len++) {
        text t = whole;
        scep_bytes answer;
        bool asked;
        int peer;
        dcerpc *c = connection(&peer);

        t.len = len;
        row = apr_psprintf(p, "%lu bytes", (unsigned long)len);
        say(peer, t);
        FIXTURE_MUST(shutdown(peer, SHUT_WR) == 0);
        assert_says("closed the connection",
                    dcerpc_call(&answer, &asked, c, 0, scep_bytes_of("ask"), soon(), p));
        ck_assert(asked);
        close(peer);
        close(c->fd);
    }
    {
        scep_bytes answer;
        bool asked;
        int peer;
        dcerpc *c = connection(&peer);

        row = "gone before";
        close(peer);
        assert_says("cannot send",
                    dcerpc_call(&answer, &asked, c, 0, scep_bytes_of("ask"), soon(), p));
        close(c->fd);
    }
}
END_TEST

/* Says fragments without an end, until the connection is closed. */
static void *flood(void *data)
{
    text t = { .len = 0 }, body = { .len = 0 };
    int *peer = data;

    add32(&body, 0);
    add32(&body, 0);
    body.len = 5000;
    t = pdu_of(DCERPC_RESPONSE, 0, 7, &body);
    while (send(*peer, t.data, t.len, MSG_NOSIGNAL) > 0)
        ;
    return NULL;
}

START_TEST(a_response_without_an_end_is_cut_off)
{
    moment d = deadline_in(apr_time_from_sec(30));
    pthread_t thread;
    scep_bytes answer;
    bool asked;
    int peer;
    dcerpc *c = connection(&peer);

    row = "flood";
    say(peer, reply(1, 7, "x"));
    FIXTURE_MUST(pthread_create(&thread, NULL, flood, &peer) == 0);
    assert_says("more than 1048576 bytes",
                dcerpc_call(&answer, &asked, c, 0, scep_bytes_of("ask"), d, p));
    close(c->fd);
    FIXTURE_MUST(pthread_join(thread, NULL) == 0);
    close(peer);
}
END_TEST

START_TEST(a_long_request_goes_in_fragments_that_the_server_takes)
{
    unsigned char stub[13000], got[13000];
    size_t at = 0, fragments = 0;
    scep_bytes answer;
    bool asked, last = false;
    int peer;
    dcerpc *c = connection(&peer);

    for (size_t i = 0; i < sizeof(stub); i++)
        stub[i] = (unsigned char)(i * 7 / 3);
    c->send_most = 1432;
    row = "13,000 bytes";
    say(peer, reply(3, 7, "x"));
    assert_ok(dcerpc_call(&answer, &asked, c, 5, (scep_bytes){ stub, sizeof(stub) }, soon(), p));
    while (!last) {
        unsigned char pdu[1432];
        size_t len;

        FIXTURE_MUST(read(peer, pdu, 24) == 24);
        len = pdu[8] | (size_t)pdu[9] << 8;
        ck_assert_msg(len > 24 && len <= sizeof(pdu), "%lu bytes", (unsigned long)len);
        ck_assert_msg(((pdu[3] & 1) != 0) == (fragments == 0), "first");
        last = (pdu[3] & 2) != 0;
        ck_assert_uint_eq(pdu[12], 7);
        ck_assert_uint_eq(pdu[16] | (unsigned)pdu[17] << 8, sizeof(stub) - at);
        ck_assert_uint_eq(pdu[22], 5);
        ck_assert(at + len - 24 <= sizeof(got));
        FIXTURE_MUST(read(peer, got + at, len - 24) == (ssize_t)(len - 24));
        at += len - 24;
        fragments++;
    }
    assert_bytes(((scep_bytes){ got, at }), ((scep_bytes){ stub, sizeof(stub) }));
    ck_assert_uint_gt(fragments, 9);
    close(peer);
    close(c->fd);
}
END_TEST

START_TEST(a_request_that_is_not_sent_whole_was_not_asked)
{
    static unsigned char stub[DCERPC_STUB_MOST + 1];
    scep_bytes answer, large = { stub, DCERPC_STUB_MOST };
    bool asked = true;
    int peer;
    dcerpc *c = connection(&peer);

    row = "nobody reads";
    assert_says("no answer in time", dcerpc_call(&answer, &asked, c, 0, large, at_once(), p));
    ck_assert(!asked);
    close(peer);
    close(c->fd);
    row = "too long";
    c = connection(&peer);
    large.len++;
    assert_says("more than", dcerpc_call(&answer, &asked, c, 0, large, soon(), p));
    ck_assert(!asked);
    close(peer);
    close(c->fd);
}
END_TEST

/* ---- connecting ---- */

START_TEST(whom_nobody_serves_is_said)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    moment d = deadline_in(apr_time_from_sec(30));
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    aside *place;
    dcerpc *c;

    /* bound, not listening: nobody else gets the port */
    FIXTURE_MUST(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
                 getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    assert_ok(aside_make(&place, p));
    row = "refused";
    assert_says("Connection refused",
                dcerpc_connect(&c, "127.0.0.1", ntohs(at.sin_port), place, d, p));
    row = "no such name";
    assert_says("cannot connect to host.invalid",
                dcerpc_connect(&c, "host.invalid", 135, place, deadline_in(2000000), p));
    row = "no time";
    assert_says("no answer in time",
                dcerpc_connect(&c, "127.0.0.1", ntohs(at.sin_port), place, deadline_in(0), p));
    close(fd);
}
END_TEST

START_TEST(a_login_has_a_principal_and_a_keytab)
{
    dcerpc_login *login;

    row = "no principal";
    assert_code(SCEP_CONFIG, dcerpc_login_make(&login, "", "/dev/null", p));
    assert_code(SCEP_CONFIG, dcerpc_login_make(&login, NULL, "/dev/null", p));
    row = "no keytab";
    assert_code(SCEP_CONFIG, dcerpc_login_make(&login, "ndes@CORP.TEST", NULL, p));
    assert_code(SCEP_CONFIG, dcerpc_login_make(&login, "ndes@CORP.TEST", "/nowhere/keytab", p));
}
END_TEST

/* The keytab has no key, so no KDC is asked. */
START_TEST(the_reason_why_there_is_no_ticket_outlives_the_connection)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    dcerpc_server server = { .target = { .mechanism = DCERPC_KERBEROS, .host = "127.0.0.1" } };
    moment d = deadline_in(apr_time_from_sec(30));
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const scep_err *err;
    apr_pool_t *next;
    dcerpc *c;

    FIXTURE_MUST(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
                 getsockname(fd, (struct sockaddr *)&at, &size) == 0 && listen(fd, 1) == 0);
    server.port = ntohs(at.sin_port);
    assert_ok(dcerpc_login_make(&server.target.login, "ndes@CORP.TEST", "/dev/null", p));
    err = dcerpc_open(&c, &server, &icpr_interface, d, p);
    FIXTURE_MUST(apr_pool_create(&next, NULL) == APR_SUCCESS);
    for (int i = 0; i < 16; i++)
        memset(apr_palloc(next, 7000), 'A', 7000);
    assert_says("Kerberos, ndes@CORP.TEST for host@127.0.0.1: ", err);
    apr_pool_destroy(next);
    close(fd);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, fragments_of_a_response_are_put_together);
    tcase_add_test(cases, a_response_that_is_not_in_order_is_none);
    tcase_add_test(cases, a_server_that_leaves_in_the_middle_is_no_answer);
    tcase_add_test(cases, a_response_without_an_end_is_cut_off);
    tcase_add_test(cases, a_long_request_goes_in_fragments_that_the_server_takes);
    tcase_add_test(cases, a_request_that_is_not_sent_whole_was_not_asked);
    tcase_add_test(cases, whom_nobody_serves_is_said);
    tcase_add_test(cases, a_login_has_a_principal_and_a_keytab);
    tcase_add_test(cases, the_reason_why_there_is_no_ticket_outlives_the_connection);
}

int main(void)
{
    return run_suite("dcerpc", add_tests);
}
