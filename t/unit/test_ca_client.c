/* A worker's calls: against a scep-ca made of a script, in threads of the test. */
#include "suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* What the fake does with its n-th frame after the greeting, counted over all connections. */
typedef enum act {
    ANSWER,
    ANSWER_AND_CLOSE, /* what is kept then is stale */
    ANSWER_TWICE,     /* and so is this */
    CLOSE,            /* the call is read, not answered */
    SILENCE,
    NONSENSE,
    REFUSE,
    REFUSE_BUSY
} act;

#define TALKS_MOST 64

typedef struct fake {
    char folder[64], path[96];
    struct {
        pthread_t thread;
        int fd;
    } talks[TALKS_MOST];
    int talk_count;
    int listener;
    pthread_t thread;
    const act *script; /* the last act goes on for ever */
    int acts;
    bool deaf;              /* greets nobody */
    atomic_int calls;       /* frames read after greetings */
    atomic_int played;      /* of them, answered */
    atomic_int connections; /* greeted */
    atomic_bool good;       /* secrets and frames were as expected */
} fake;

static fake server;

static const unsigned char enrol_bytes[SCEP_WIRE_SECRET] = "enrol secret enrol secret enrol";
static const unsigned char mint_bytes[SCEP_WIRE_SECRET] = "mint secret mint secret mint se";

static apr_time_t in_ms(int ms)
{
    return apr_time_now() + ms * 1000;
}

static scep_bytes answer_to(int verb, apr_pool_t *own)
{
    scep_wire_verdict verdict = { .status = SCEP_STATUS_PENDING, .detail = "fake" };
    scep_wire_minted minted = { .outcome = SCEP_MINT_DONE, .challenge = "0123456789ABCDEF" };
    scep_wire_keys keys = { .sign_key = scep_bytes_of("k") };
    scep_wire_identities identities = { .keys = apr_array_make(own, 1, sizeof(keys)) };

    APR_ARRAY_PUSH(identities.keys, scep_wire_keys) = keys;
    if (verb >= SCEP_VERB_ENROL && verb <= SCEP_VERB_FIND)
        return scep_wire_put_verdict(SCEP_VERB_VERDICT, &verdict, own);
    if (verb == SCEP_VERB_STATUS)
        return scep_wire_put_state(SCEP_VERB_STATE, &(scep_wire_state){ .version = "7.8" }, own);
    if (verb == SCEP_VERB_MINT)
        return scep_wire_put_minted(SCEP_VERB_MINTED, &minted, own);
    return scep_wire_put_identities(SCEP_VERB_IDENTITIES, &identities, own);
}

/* @return whether the connection goes on */
static bool play(fake *f, int fd, int verb, apr_pool_t *own)
{
    int n = atomic_fetch_add(&f->calls, 1);
    act now = f->script[n < f->acts ? n : f->acts - 1];
    scep_wire_refused refused = { SCEP_REFUSED, "no such endpoint" };

    if (now == CLOSE)
        return false;
    if (now == SILENCE)
        return true;
    if (now == NONSENSE)
        return send(fd, "nonsense nonsense", 17, MSG_NOSIGNAL) == 17;
    if (now == REFUSE_BUSY)
        refused = (scep_wire_refused){ SCEP_UNAVAILABLE, "too many calls" };
    if (now == REFUSE || now == REFUSE_BUSY)
        return !scep_wire_write(fd, scep_wire_put_refused(SCEP_VERB_REFUSED, &refused, own),
                                in_ms(5000), own);
    if (now == ANSWER_TWICE && scep_wire_write(fd, answer_to(verb, own), in_ms(5000), own))
        return false;
    if (scep_wire_write(fd, answer_to(verb, own), in_ms(5000), own))
        return false;
    if (now == ANSWER_AND_CLOSE)
        shutdown(fd, SHUT_RDWR);
    atomic_fetch_add(&f->played, 1);
    return now != ANSWER_AND_CLOSE;
}

/* Until @a n answers are sent to their ends, what follows the answer included. */
static void await_played(int n)
{
    for (int i = 0; i < 10000 && server.played < n; i++)
        usleep(1000);
    ck_assert_int_ge(server.played, n);
}

/* The connection stays open, nothing is said. */
static void *sit_deaf(void *data)
{
    return data;
}

static void *converse(void *data)
{
    int fd = *(int *)data, verb;
    fake *f = &server;
    scep_wire_hello hello = { 0 };
    apr_pool_t *own;
    scep_bytes body;

    FIXTURE_MUST(apr_pool_create_ex(&own, NULL, NULL, NULL) == APR_SUCCESS);
    if (!scep_wire_read(fd, &verb, &body, in_ms(30000), own)) {
        if (verb != SCEP_VERB_HELLO || scep_wire_get_hello(&hello, body, own) ||
            !scep_bytes_equal(hello.enrol_secret, (scep_bytes){ enrol_bytes, SCEP_WIRE_SECRET }) ||
            !scep_bytes_equal(hello.mint_secret, (scep_bytes){ mint_bytes, SCEP_WIRE_SECRET }))
            f->good = false;
        atomic_fetch_add(&f->connections, 1);
        if (!scep_wire_write(fd, scep_wire_put_empty(SCEP_VERB_WELCOME, own), in_ms(5000), own)) {
            while (!scep_wire_read(fd, &verb, &body, in_ms(30000), own) && play(f, fd, verb, own))
                ;
        }
    }
    shutdown(fd, SHUT_RDWR);
    apr_pool_destroy(own);
    return NULL;
}

static void *serve(void *data)
{
    fake *f = data;

    for (;; f->talk_count++) {
        int *fd = &f->talks[f->talk_count].fd;

        FIXTURE_MUST(f->talk_count < TALKS_MOST);
        *fd = accept(f->listener, NULL, NULL);
        if (*fd < 0)
            return NULL;
        FIXTURE_MUST(pthread_create(&f->talks[f->talk_count].thread, NULL,
                                    f->deaf ? sit_deaf : converse, fd) == 0);
    }
}

static void set_up(void)
{
    memset(&server, 0, sizeof(server));
    server.good = true;
    server.listener = -1;
    strcpy(server.folder, "/tmp/scep-client.XXXXXX");
    FIXTURE_MUST(mkdtemp(server.folder));
    FIXTURE_MUST(snprintf(server.path, sizeof(server.path), "%s/s", server.folder) > 0);
}

static void tear_down(void)
{
    if (server.listener >= 0) {
        shutdown(server.listener, SHUT_RDWR);
        FIXTURE_MUST(pthread_join(server.thread, NULL) == 0);
        close(server.listener);
    }
    for (int i = 0; i < server.talk_count; i++) {
        shutdown(server.talks[i].fd, SHUT_RDWR);
        FIXTURE_MUST(pthread_join(server.talks[i].thread, NULL) == 0);
        close(server.talks[i].fd);
    }
    unlink(server.path);
    rmdir(server.folder);
}

static void start(const act *script, int acts)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    server.script = script;
    server.acts = acts;
    memcpy(address.sun_path, server.path, sizeof(server.path));
    server.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    FIXTURE_MUST(bind(server.listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    FIXTURE_MUST(listen(server.listener, 16) == 0);
    FIXTURE_MUST(pthread_create(&server.thread, NULL, serve, &server) == 0);
}

static scep_ca_client *client_with(int timeout_ms)
{
    scep_ca_client *client = NULL;

    assert_ok(
        scep_ca_client_make(&client, server.path, (scep_bytes){ enrol_bytes, SCEP_WIRE_SECRET },
                            (scep_bytes){ mint_bytes, SCEP_WIRE_SECRET }, timeout_ms * 1000, p));
    return client;
}

/* One of the four calls that a verdict answers. */
static const scep_err *ask(scep_ca_client *client, scep_bytes frame)
{
    scep_wire_verdict verdict = { 0 };
    const scep_err *err = scep_ca_client_verdict(&verdict, client, frame, 0, p);

    ck_assert(err || verdict.status == SCEP_STATUS_PENDING);
    return err;
}

static const scep_err *enrol(scep_ca_client *client)
{
    scep_wire_enrol request = { .endpoint = "e", .message_type = 19, .peer = "127.0.0.1" };

    return ask(client, scep_wire_put_enrol(SCEP_VERB_ENROL, &request, p));
}

static const scep_err *renew(scep_ca_client *client)
{
    scep_wire_renew request = { .endpoint = "e", .signature = scep_bytes_of("s") };

    return ask(client, scep_wire_put_renew(SCEP_VERB_RENEW, &request, p));
}

static const scep_err *poll_once(scep_ca_client *client)
{
    scep_wire_poll request = { .endpoint = "e", .key_hash = scep_bytes_of("h") };

    return ask(client, scep_wire_put_poll(SCEP_VERB_POLL, &request, p));
}

static const scep_err *find(scep_ca_client *client)
{
    scep_wire_find request = { .endpoint = "e", .message_type = 21, .serial = "01" };

    return ask(client, scep_wire_put_find(SCEP_VERB_FIND, &request, p));
}

static const scep_err *mint(scep_ca_client *client)
{
    scep_wire_mint request = { .endpoint = "e", .user = "admin" };
    scep_wire_minted minted = { 0 };
    const scep_err *err = scep_ca_client_mint(&minted, client, &request, p);

    ck_assert(err || !strcmp(minted.challenge, "0123456789ABCDEF"));
    return err;
}

static const scep_err *state_within(scep_ca_client *client, int ms)
{
    scep_wire_state state = { 0 };
    const scep_err *err = scep_ca_client_status(&state, client, (apr_interval_time_t)ms * 1000, p);

    ck_assert(err || !strcmp(state.version, "7.8"));
    return err;
}

static const scep_err *state(scep_ca_client *client)
{
    return state_within(client, 5000);
}

static const scep_err *identities(scep_ca_client *client)
{
    scep_wire_identities got = { 0 };
    const scep_err *err = scep_ca_client_identities(&got, client, "e", p);

    ck_assert(err || (got.keys->nelts == 1 &&
                      APR_ARRAY_IDX(got.keys, 0, scep_wire_keys).sign_key.len == 1));
    return err;
}

/* clang-format off */
static const struct {
    const char *what;
    const scep_err *(*call)(scep_ca_client *client);
    act script[3];
    int acts;
    scep_code code;
    int calls, connections; /* that the other side saw */
} scripts[] = {
    { "an enrolment is answered", enrol, { ANSWER }, 1, SCEP_OK, 1, 1 },
    { "a renewal is answered", renew, { ANSWER }, 1, SCEP_OK, 1, 1 },
    { "a poll is answered", poll_once, { ANSWER }, 1, SCEP_OK, 1, 1 },
    { "a search is answered", find, { ANSWER }, 1, SCEP_OK, 1, 1 },
    { "a challenge is minted", mint, { ANSWER }, 1, SCEP_OK, 1, 1 },
    { "the state is told", state, { ANSWER }, 1, SCEP_OK, 1, 1 },
    { "a broken question for the state is repeated", state, { CLOSE, ANSWER }, 2, SCEP_OK, 2, 2 },
    { "identities are fetched", identities, { ANSWER }, 1, SCEP_OK, 1, 1 },
    { "a broken enrolment is repeated", enrol, { CLOSE, ANSWER }, 2, SCEP_OK, 2, 2 },
    { "a broken renewal is repeated", renew, { CLOSE, ANSWER }, 2, SCEP_OK, 2, 2 },
    { "a broken poll is repeated", poll_once, { CLOSE, ANSWER }, 2, SCEP_OK, 2, 2 },
    { "a broken search is repeated", find, { CLOSE, ANSWER }, 2, SCEP_OK, 2, 2 },
    { "broken identities are repeated", identities, { CLOSE, ANSWER }, 2, SCEP_OK, 2, 2 },
    { "a broken mint is not repeated", mint, { CLOSE, ANSWER }, 2, SCEP_UNAVAILABLE, 1, 1 },
    { "an enrolment is repeated once", enrol, { CLOSE }, 1, SCEP_UNAVAILABLE, 2, 2 },
    { "identities are repeated once", identities, { CLOSE }, 1, SCEP_UNAVAILABLE, 2, 2 },
    { "a refused enrolment says why", enrol, { REFUSE }, 1, SCEP_REFUSED, 1, 1 },
    { "a refused mint says why", mint, { REFUSE }, 1, SCEP_REFUSED, 1, 1 },
    { "a busy enrolment may come again", enrol, { REFUSE_BUSY }, 1, SCEP_UNAVAILABLE, 1, 1 },
    { "who is too busy to tell its state is there", state, { REFUSE_BUSY }, 1, SCEP_TOO_OFTEN, 1, 1 },
    { "who is silent is not busy", state, { CLOSE }, 1, SCEP_UNAVAILABLE, 2, 2 },
    { "nonsense is not answered with a repetition", enrol, { NONSENSE }, 1, SCEP_INTERNAL, 1, 1 },
};
/* clang-format on */

START_TEST(calls_are_repeated_once_or_never)
{
    row = scripts[_i].what;
    start(scripts[_i].script, scripts[_i].acts);
    assert_code(scripts[_i].code, scripts[_i].call(client_with(5000)));
    ck_assert_msg(server.calls == scripts[_i].calls, "%s: %d calls", row, server.calls);
    ck_assert_msg(server.connections == scripts[_i].connections, "%s: %d connections", row,
                  server.connections);
    ck_assert_msg(server.good, "%s: greeting", row);
}
END_TEST

/* A load balancer does not wait for SCEPCATimeout. */
START_TEST(a_question_for_the_state_has_a_time_of_its_own)
{
    static const act script[] = { SILENCE };
    apr_time_t begin = apr_time_now();

    start(script, 1);
    assert_code(SCEP_UNAVAILABLE, state_within(client_with(600000), 200));
    ck_assert(apr_time_now() - begin < apr_time_from_sec(30));
}
END_TEST

/* The last thread of a process does not either. */
START_TEST(a_verdict_may_have_a_time_of_its_own)
{
    static const act script[] = { SILENCE };
    scep_wire_enrol request = { .endpoint = "e" };
    scep_wire_verdict verdict;
    apr_time_t begin = apr_time_now();

    start(script, 1);
    assert_code(SCEP_UNAVAILABLE,
                scep_ca_client_verdict(&verdict, client_with(600000),
                                       scep_wire_put_enrol(SCEP_VERB_ENROL, &request, p), 200000,
                                       p));
    ck_assert(apr_time_now() - begin < apr_time_from_sec(30));
}
END_TEST

START_TEST(a_connection_is_kept_for_the_next_call)
{
    static const act script[] = { ANSWER };
    scep_ca_client *client;

    start(script, 1);
    client = client_with(5000);
    for (int i = 0; i < 5; i++)
        assert_ok(i % 2 ? mint(client) : enrol(client));
    ck_assert_int_eq(server.calls, 5);
    ck_assert_int_eq(server.connections, 1);
}
END_TEST

START_TEST(a_connection_that_the_other_side_closed_is_replaced_and_no_repetition)
{
    static const act script[] = { ANSWER_AND_CLOSE, ANSWER_AND_CLOSE, CLOSE, ANSWER };
    scep_ca_client *client;

    start(script, 4);
    client = client_with(5000);
    assert_ok(enrol(client));
    await_played(1);
    assert_ok(mint(client));
    await_played(2);
    assert_ok(enrol(client)); /* the one repetition is still there */
    ck_assert_int_eq(server.calls, 4);
}
END_TEST

START_TEST(an_answer_nobody_asked_for_is_not_taken_for_the_next)
{
    static const act script[] = { ANSWER_TWICE, ANSWER };
    scep_ca_client *client;

    start(script, 2);
    client = client_with(5000);
    assert_ok(enrol(client));
    await_played(1);
    assert_ok(mint(client));
    ck_assert_int_eq(server.connections, 2);
}
END_TEST

START_TEST(a_silent_other_side_is_given_up_at_the_deadline)
{
    static const act script[] = { SILENCE };
    apr_time_t start_time = apr_time_now();

    start(script, 1);
    assert_code(SCEP_UNAVAILABLE, enrol(client_with(2000)));
    ck_assert_int_ge(apr_time_now() - start_time, 1990000);
    ck_assert_int_lt(apr_time_now() - start_time, 30000000);
    ck_assert_int_eq(server.calls, 1);
}
END_TEST

START_TEST(nobody_greeting_is_given_up_at_the_deadline)
{
    static const act script[] = { ANSWER };
    apr_time_t start_time = apr_time_now();

    server.deaf = true;
    start(script, 1);
    assert_code(SCEP_UNAVAILABLE, mint(client_with(300)));
    ck_assert_int_ge(apr_time_now() - start_time, 290000);
    ck_assert_int_lt(apr_time_now() - start_time, 30000000);
}
END_TEST

START_TEST(no_socket_or_nobody_behind_it_is_said_at_once)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    apr_time_t start_time = apr_time_now();
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_code(SCEP_UNAVAILABLE, enrol(client_with(30000)));
    memcpy(address.sun_path, server.path, sizeof(server.path));
    FIXTURE_MUST(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    assert_code(SCEP_UNAVAILABLE, enrol(client_with(30000)));
    ck_assert_int_lt(apr_time_now() - start_time, 15000000);
    close(fd);
}
END_TEST

START_TEST(a_path_that_does_not_fit_is_refused_not_cut)
{
    char path[200];
    scep_ca_client *client;

    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[108] = 0;
    assert_code(SCEP_CONFIG,
                scep_ca_client_make(&client, path, (scep_bytes){ 0 }, (scep_bytes){ 0 }, 1000, p));
    path[107] = 0;
    assert_ok(scep_ca_client_make(&client, path, (scep_bytes){ 0 }, (scep_bytes){ 0 }, 1000, p));
}
END_TEST

static void *many(void *client)
{
    apr_pool_t *own;
    intptr_t failed = 0;

    FIXTURE_MUST(apr_pool_create_ex(&own, NULL, NULL, NULL) == APR_SUCCESS);
    for (int i = 0; i < 50; i++) {
        scep_wire_enrol request = { .endpoint = "e" };
        scep_wire_verdict verdict;

        failed += scep_ca_client_verdict(&verdict, client,
                                         scep_wire_put_enrol(SCEP_VERB_ENROL, &request, own), 0,
                                         own) != NULL;
        apr_pool_clear(own);
    }
    apr_pool_destroy(own);
    return (void *)failed;
}

START_TEST(many_threads_share_a_client)
{
    static const act script[] = { ANSWER };
    scep_ca_client *client;
    pthread_t threads[8];

    start(script, 1);
    client = client_with(10000);
    for (int i = 0; i < 8; i++)
        FIXTURE_MUST(pthread_create(&threads[i], NULL, many, client) == 0);
    for (int i = 0; i < 8; i++) {
        void *failed;

        FIXTURE_MUST(pthread_join(threads[i], &failed) == 0);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(server.calls, 400);
    ck_assert_int_le(server.connections, 8);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, calls_are_repeated_once_or_never, 0, ROWS(scripts));
    tcase_add_test(cases, a_question_for_the_state_has_a_time_of_its_own);
    tcase_add_test(cases, a_verdict_may_have_a_time_of_its_own);
    tcase_add_test(cases, a_connection_is_kept_for_the_next_call);
    tcase_add_test(cases, a_connection_that_the_other_side_closed_is_replaced_and_no_repetition);
    tcase_add_test(cases, an_answer_nobody_asked_for_is_not_taken_for_the_next);
    tcase_add_test(cases, a_silent_other_side_is_given_up_at_the_deadline);
    tcase_add_test(cases, nobody_greeting_is_given_up_at_the_deadline);
    tcase_add_test(cases, no_socket_or_nobody_behind_it_is_said_at_once);
    tcase_add_test(cases, a_path_that_does_not_fit_is_refused_not_cut);
    tcase_add_test(cases, many_threads_share_a_client);
}

int main(void)
{
    return run_suite("ca_client", add_tests);
}
