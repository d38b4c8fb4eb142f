/* The workers' socket: who may speak, what is answered, and how it ends. */
#include "suite.h"

#include "server.h"

#include <apr_strings.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const unsigned char enrol_bytes[SCEP_WIRE_SECRET] = "enrol secret enrol secret enrol";
static const unsigned char mint_bytes[SCEP_WIRE_SECRET] = "mint secret mint secret mint se";
static const unsigned char other_bytes[SCEP_WIRE_SECRET] = "some other secret";

static scep_bytes enrol_secret = { enrol_bytes, SCEP_WIRE_SECRET };
static scep_bytes mint_secret = { mint_bytes, SCEP_WIRE_SECRET };
static scep_bytes other_secret = { other_bytes, SCEP_WIRE_SECRET };

static struct {
    char folder[64], path[96];
    int control; /* our end */
    server_options options;
    office office;
    apr_pool_t *pool; /* the server's own */
    pthread_t thread;
    bool running, in_order, replaced;
} up;

static apr_time_t soon(void)
{
    return apr_time_now() + apr_time_from_sec(10);
}

/* One endpoint, "e", whose keys can be asked for: all that is needed to see a call answered. A
 * verdict needs no store where the endpoint is another. */
static void make_office(void)
{
    static office_authority authority;
    static office_endpoint endpoint;
    static conf_authority section;
    static connector local;
    const fixture_ca *ca = fixture_ca_get();

    section.name = "default";
    local.chain = scep_borrowed_stack(up.pool);
    FIXTURE_MUST(sk_X509_push(local.chain, ca->root));
    authority = (office_authority){ .conf = &section, .connector = &local };
    FIXTURE_MUST(!identities_make(&authority.identities, &section, &local, &ca->ra, up.pool));
    endpoint = (office_endpoint){ .name = "e", .authority = &authority };
    up.office.authorities = apr_array_make(up.pool, 1, sizeof(office_authority *));
    up.office.endpoints = apr_array_make(up.pool, 1, sizeof(office_endpoint *));
    APR_ARRAY_PUSH(up.office.authorities, office_authority *) = &authority;
    APR_ARRAY_PUSH(up.office.endpoints, office_endpoint *) = &endpoint;
}

static void make_sockets(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int pair[2];

    strcpy(up.folder, "/tmp/scep-server.XXXXXX");
    FIXTURE_MUST(mkdtemp(up.folder));
    FIXTURE_MUST(snprintf(up.path, sizeof(up.path), "%s/s", up.folder) > 0);
    memcpy(address.sun_path, up.path, sizeof(up.path));
    up.options.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    FIXTURE_MUST(bind(up.options.listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    FIXTURE_MUST(listen(up.options.listener, 64) == 0);
    FIXTURE_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    up.control = pair[0];
    up.options.control = pair[1];
}

static void set_up(void)
{
    memset(&up, 0, sizeof(up));
    FIXTURE_MUST(apr_pool_create_ex(&up.pool, NULL, NULL, NULL) == APR_SUCCESS);
    make_office();
    make_sockets();
    up.options.worker_uid = geteuid();
    up.options.enrol_secret = enrol_secret;
    up.options.mint_secret = mint_secret;
    up.options.in_flight = 8;
    up.options.timeout = apr_time_from_sec(5);
}

static void *serve(void *data)
{
    up.in_order = server_run(&up.replaced, &up.office, &up.options, up.pool) == NULL;
    return data;
}

static void start(void)
{
    sigset_t term;

    /* for the whole process, as main() does before it starts threads */
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    FIXTURE_MUST(pthread_sigmask(SIG_BLOCK, &term, NULL) == 0);
    FIXTURE_MUST(pthread_create(&up.thread, NULL, serve, NULL) == 0);
    up.running = true;
}

static void wait_for_end(void)
{
    FIXTURE_MUST(pthread_join(up.thread, NULL) == 0);
    up.running = false;
    ck_assert_msg(up.in_order, "%s: ended out of order", row);
}

static void tear_down(void)
{
    if (up.control >= 0)
        close(up.control);
    if (up.running)
        wait_for_end();
    close(up.options.listener);
    close(up.options.control);
    unlink(up.path);
    rmdir(up.folder);
    apr_pool_destroy(up.pool);
}

static int dial(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(address.sun_path, up.path, sizeof(up.path));
    FIXTURE_MUST(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

/* What comes back: a verb, 0 for a closed connection. */
static int answer(int fd, scep_bytes *body)
{
    int verb = 0;
    const scep_err *err = scep_wire_read(fd, &verb, body, soon(), p);

    ck_assert_msg(!err || !strstr(err->detail, "in time"), "%s: no answer", row);
    return err ? 0 : verb;
}

static int ask(int fd, scep_bytes frame, scep_bytes *body)
{
    return scep_wire_write(fd, frame, soon(), p) ? 0 : answer(fd, body);
}

static int greet(int fd, scep_bytes enrol, scep_bytes mint)
{
    scep_wire_hello hello = { enrol, mint };
    scep_bytes body;

    return ask(fd, scep_wire_put_hello(SCEP_VERB_HELLO, &hello, p), &body);
}

static scep_bytes bundle_frame(const char *endpoint)
{
    return scep_wire_put_endpoint_name(SCEP_VERB_BUNDLE, &(scep_wire_endpoint_name){ endpoint }, p);
}

/* Of each verb that a verdict answers. */
static scep_bytes verdict_frame(scep_verb verb, const char *endpoint)
{
    switch (verb) {
    case SCEP_VERB_RENEW:
        return scep_wire_put_renew(verb, &(scep_wire_renew){ .endpoint = endpoint }, p);
    case SCEP_VERB_POLL:
        return scep_wire_put_poll(verb, &(scep_wire_poll){ .endpoint = endpoint }, p);
    case SCEP_VERB_FIND:
        return scep_wire_put_find(verb, &(scep_wire_find){ .endpoint = endpoint }, p);
    default:
        return scep_wire_put_enrol(verb, &(scep_wire_enrol){ .endpoint = endpoint }, p);
    }
}

static const scep_verb verdict_verbs[] = { SCEP_VERB_ENROL, SCEP_VERB_RENEW, SCEP_VERB_POLL,
                                           SCEP_VERB_FIND };

static scep_bytes mint_frame(void)
{
    return scep_wire_put_mint(SCEP_VERB_MINT,
                              &(scep_wire_mint){ .endpoint = "none", .user = "user" }, p);
}

static int welcomed(void)
{
    int fd = dial();

    ck_assert_int_eq(greet(fd, enrol_secret, mint_secret), SCEP_VERB_WELCOME);
    return fd;
}

static int refused_code(int verb, scep_bytes body)
{
    scep_wire_refused refused;

    ck_assert_msg(verb == SCEP_VERB_REFUSED, "%s: verb %d", row, verb);
    assert_ok(scep_wire_get_refused(&refused, body, p));
    return (int)refused.code;
}

/* ---- who may speak ---- */

static const struct {
    const char *what;
    const scep_bytes *enrol, *mint; /* NULL: empty */
    bool mint_closed;               /* this server has no secret that mints */
    bool welcome, mints;
} greetings[] = {
    { "both secrets", &enrol_secret, &mint_secret, false, true, true },
    { "enrol alone", &enrol_secret, NULL, false, true, false },
    { "mint alone", NULL, &mint_secret, false, false, false },
    { "none", NULL, NULL, false, false, false },
    { "another enrol secret", &other_secret, &mint_secret, false, false, false },
    { "another mint secret", &enrol_secret, &other_secret, false, true, false },
    { "the one for the other", &mint_secret, &enrol_secret, false, false, false },
    { "mint where nobody may", &enrol_secret, &mint_secret, true, true, false },
    { "no mint where nobody may", &enrol_secret, NULL, true, true, false },
};

START_TEST(each_verb_is_opened_by_its_own_secret)
{
    const scep_bytes none = { NULL, 0 };
    int fd, verb;
    scep_bytes body;

    row = greetings[_i].what;
    if (greetings[_i].mint_closed)
        up.options.mint_secret = none;
    start();
    fd = dial();
    verb = greet(fd, greetings[_i].enrol ? *greetings[_i].enrol : none,
                 greetings[_i].mint ? *greetings[_i].mint : none);
    ck_assert_msg(verb == (greetings[_i].welcome ? SCEP_VERB_WELCOME : 0), "%s: %d", row, verb);
    if (greetings[_i].welcome) {
        ck_assert_int_eq(ask(fd, bundle_frame("e"), &body), SCEP_VERB_IDENTITIES);
        verb = ask(fd, mint_frame(), &body);
        /* refused either way, as there is no such endpoint; but by whom? */
        ck_assert_int_eq(refused_code(verb, body), SCEP_REFUSED);
        ck_assert_msg(!strstr((const char *)body.data + 8, "may not mint") == greetings[_i].mints,
                      "%s: minting", row);
    }
    close(fd);
}
END_TEST

START_TEST(another_user_is_turned_away)
{
    int fd;

    up.options.worker_uid = geteuid() + 1;
    start();
    fd = dial();
    ck_assert_int_eq(greet(fd, enrol_secret, mint_secret), 0);
    close(fd);
}
END_TEST

static const struct {
    const char *what;
    const char *bytes;
    size_t len;
    bool greeted;
} rubbish[] = {
    { "no frame", "GET / HTTP/1.1\r\n\r\n", 18, false },
    { "no frame after the greeting", "GET / HTTP/1.1\r\n\r\n", 18, true },
    { "a call before the greeting", "SCEP\3\6\0\0\0\0\0\5\0\0\0\1e", 17, false },
    { "an empty greeting", "SCEP\3\5\0\0\0\0\0\0", 12, false },
    { "too long", "SCEP\3\7\0\0\xff\xff\xff\xff", 12, true },
    { "a bundle without a name", "SCEP\3\6\0\0\0\0\0\0", 12, true },
    { "an enrolment cut short", "SCEP\3\7\0\0\0\0\0\5\0\0\0\1e", 17, true },
};

START_TEST(rubbish_ends_the_connection_and_never_the_server)
{
    int fd, good;
    scep_bytes body;

    row = rubbish[_i].what;
    start();
    good = welcomed();
    fd = rubbish[_i].greeted ? welcomed() : dial();
    FIXTURE_MUST(send(fd, rubbish[_i].bytes, rubbish[_i].len, MSG_NOSIGNAL) ==
                 (ssize_t)rubbish[_i].len);
    ck_assert_msg(answer(fd, &body) == 0, "%s: answered", row);
    ck_assert_int_eq(ask(good, bundle_frame("e"), &body), SCEP_VERB_IDENTITIES);
    close(fd);
    close(good);
}
END_TEST

START_TEST(an_unknown_verb_or_endpoint_is_refused_and_the_connection_goes_on)
{
    /* the control channel's, and an administrator's */
    static const scep_verb others[] = { SCEP_VERB_DRAIN,  SCEP_VERB_REQUESTS,
                                        SCEP_VERB_DECIDE, SCEP_VERB_CERTIFICATES,
                                        SCEP_VERB_REVOKE, SCEP_VERB_CRL };
    scep_bytes body;
    int fd, verb;

    start();
    fd = welcomed();
    verb = ask(fd, scep_wire_put_empty((scep_verb)77, p), &body);
    ck_assert_int_eq(refused_code(verb, body), SCEP_REFUSED);
    for (int i = 0; i < ROWS(others); i++) {
        verb = ask(fd, scep_wire_put_empty(others[i], p), &body);
        ck_assert_int_eq(refused_code(verb, body), SCEP_REFUSED);
    }
    verb = ask(fd, bundle_frame("other"), &body);
    ck_assert_int_eq(refused_code(verb, body), SCEP_REFUSED);
    ck_assert_int_eq(ask(fd, bundle_frame("E"), &body), SCEP_VERB_IDENTITIES);
    close(fd);
}
END_TEST

START_TEST(each_verb_that_asks_for_a_verdict_gets_one)
{
    scep_wire_verdict verdict;
    scep_bytes body;
    int fd;

    start();
    fd = welcomed();
    for (int i = 0; i < ROWS(verdict_verbs); i++) {
        row = apr_itoa(p, (int)verdict_verbs[i]);
        ck_assert_int_eq(ask(fd, verdict_frame(verdict_verbs[i], "other"), &body),
                         SCEP_VERB_VERDICT);
        assert_ok(scep_wire_get_verdict(&verdict, body, p));
        ck_assert_int_eq(verdict.status, SCEP_STATUS_REFUSED);
        ck_assert_ptr_nonnull(strstr(verdict.detail, "no endpoint \"other\""));
    }
    close(fd);
}
END_TEST

static scep_wire_state state_of(int fd)
{
    scep_wire_state state = { 0 };
    scep_bytes body;

    ck_assert_int_eq(ask(fd, scep_wire_put_empty(SCEP_VERB_STATUS, p), &body), SCEP_VERB_STATE);
    assert_ok(scep_wire_get_state(&state, body, p));
    return state;
}

/* Nobody has this office's store open. */
START_TEST(the_state_is_told_even_where_an_authority_takes_no_more_calls)
{
    scep_wire_state state;
    scep_bytes body;
    int fd, verb;

    up.options.in_flight = 0;
    start();
    fd = welcomed();
    verb = ask(fd, bundle_frame("e"), &body);
    ck_assert_int_eq(refused_code(verb, body), SCEP_UNAVAILABLE);
    for (int i = 0; i < 50; i++)
        state = state_of(fd);
    ck_assert_int_eq(state.endpoints->nelts, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(state.endpoints, 0, scep_wire_endpoint_state).name, "e");
    ck_assert_uint_eq(state.store, 0);
    ck_assert_str_eq(state.detail, "the database is not open");
    close(fd);
}
END_TEST

START_TEST(a_question_for_the_state_has_no_body)
{
    scep_bytes body;
    int fd;

    start();
    fd = welcomed();
    ck_assert_int_eq(
        ask(fd, scep_wire_put_endpoint_name(SCEP_VERB_STATUS, &(scep_wire_endpoint_name){ "e" }, p),
            &body),
        0);
    close(fd);
    fd = welcomed();
    ck_assert_int_eq(state_of(fd).endpoints->nelts, 1);
    close(fd);
}
END_TEST

/* ---- too many, too late ---- */

START_TEST(calls_above_the_limit_or_past_the_deadline_are_told_to_come_later)
{
    scep_wire_verdict verdict;
    scep_bytes body;
    int fd, verb;

    row = _i ? "deadline" : "limit";
    if (_i)
        up.options.timeout = 0;
    else
        up.options.in_flight = 0;
    start();
    fd = welcomed();
    for (int i = 0; i < ROWS(verdict_verbs); i++) {
        ck_assert_int_eq(ask(fd, verdict_frame(verdict_verbs[i], "e"), &body), SCEP_VERB_VERDICT);
        assert_ok(scep_wire_get_verdict(&verdict, body, p));
        ck_assert_int_eq(verdict.status, SCEP_STATUS_LATER);
        ck_assert(verdict.generation == office_generation(office_endpoint_find(&up.office, "e")));
    }
    verb = ask(fd, bundle_frame("e"), &body);
    ck_assert_int_eq(refused_code(verb, body), SCEP_UNAVAILABLE);
    close(fd);
}
END_TEST

/* ---- the end ---- */

typedef enum ending { DRAIN, HTTPD_ENDS, TERMINATED } ending;

static void end_it(ending how)
{
    if (how == DRAIN) {
        assert_ok(scep_wire_write(up.control, scep_wire_put_empty(SCEP_VERB_DRAIN, p), soon(), p));
    } else if (how == HTTPD_ENDS) {
        close(up.control);
        up.control = -1;
    } else {
        FIXTURE_MUST(kill(getpid(), SIGTERM) == 0);
    }
}

START_TEST(idle_connections_are_closed_at_once_and_the_server_ends)
{
    static const char *const names[] = { "drain", "httpd ends", "terminated" };
    apr_time_t begun;
    int greeted, silent;
    scep_bytes body;

    row = names[_i];
    start();
    silent = dial();
    greeted = welcomed();
    begun = apr_time_now();
    end_it((ending)_i);
    ck_assert_int_eq(answer(greeted, &body), 0);
    ck_assert_int_eq(answer(silent, &body), 0);
    wait_for_end();
    ck_assert_int_lt(apr_time_now() - begun, apr_time_from_sec(2));
    ck_assert_int_eq(up.replaced, _i == DRAIN);
    close(greeted);
    close(silent);
}
END_TEST

typedef struct caller {
    int fd;
    int asked, answered;
    scep_bytes frame;
    sem_t *calling; /* raised with the first call that was written */
} caller;

static void *call_until_closed(void *data)
{
    caller *c = data;
    apr_pool_t *own;
    scep_bytes body;
    int verb;

    FIXTURE_MUST(apr_pool_create_ex(&own, NULL, NULL, NULL) == APR_SUCCESS);
    while (!scep_wire_write(c->fd, c->frame, soon(), own)) {
        if (!c->asked++)
            FIXTURE_MUST(sem_post(c->calling) == 0);
        if (scep_wire_read(c->fd, &verb, &body, soon(), own) || verb != SCEP_VERB_IDENTITIES)
            break;
        c->answered++;
        apr_pool_clear(own);
    }
    apr_pool_destroy(own);
    return NULL;
}

/* The worker whose write succeeded never repeats a mint; so it must get its answer. */
START_TEST(a_call_that_could_be_written_is_answered_while_draining)
{
    caller callers[6];
    pthread_t threads[6];
    struct timespec most;
    sem_t calling;

    FIXTURE_MUST(sem_init(&calling, 0, 0) == 0 && clock_gettime(CLOCK_REALTIME, &most) == 0);
    most.tv_sec += 10;
    start();
    for (int i = 0; i < 6; i++) {
        callers[i] = (caller){ welcomed(), 0, 0, bundle_frame("e"), &calling };
        FIXTURE_MUST(pthread_create(&threads[i], NULL, call_until_closed, &callers[i]) == 0);
    }
    for (int i = 0; i < 6; i++)
        FIXTURE_MUST(sem_timedwait(&calling, &most) == 0);
    end_it(DRAIN);
    for (int i = 0; i < 6; i++) {
        FIXTURE_MUST(pthread_join(threads[i], NULL) == 0);
        ck_assert_int_gt(callers[i].asked, 0);
        ck_assert_int_eq(callers[i].answered, callers[i].asked);
        close(callers[i].fd);
    }
    sem_destroy(&calling);
    wait_for_end();
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, each_verb_is_opened_by_its_own_secret, 0, ROWS(greetings));
    tcase_add_test(cases, another_user_is_turned_away);
    tcase_add_loop_test(cases, rubbish_ends_the_connection_and_never_the_server, 0, ROWS(rubbish));
    tcase_add_test(cases, an_unknown_verb_or_endpoint_is_refused_and_the_connection_goes_on);
    tcase_add_test(cases, each_verb_that_asks_for_a_verdict_gets_one);
    tcase_add_test(cases, the_state_is_told_even_where_an_authority_takes_no_more_calls);
    tcase_add_test(cases, a_question_for_the_state_has_no_body);
    tcase_add_loop_test(cases, calls_above_the_limit_or_past_the_deadline_are_told_to_come_later, 0,
                        2);
    tcase_add_loop_test(cases, idle_connections_are_closed_at_once_and_the_server_ends, 0, 3);
    tcase_add_loop_test(cases, a_call_that_could_be_written_is_answered_while_draining, 0, 10);
}

int main(void)
{
    return run_suite("server", add_tests);
}
