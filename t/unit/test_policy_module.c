/* Policy modules: what is a yes, and that nothing else is. */
#include "suite.h"

#include "policy_module_int.h"
#include "runner_main.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/scep-module-XXXXXX";
static runner *r;

static void begin_room(void)
{
    strcpy(folder, "/tmp/scep-module-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0755), 0);
    ck_assert(!runner_start(&r, "nobody", p));
}

static const char *program(const char *text, mode_t mode)
{
    const char *path = apr_psprintf(p, "%s/program", folder);
    FILE *out;

    (void)unlink(path);
    out = fopen(path, "w");
    FIXTURE_MUST(out && fprintf(out, "#!/bin/sh\n%s\n", text) > 0 && fclose(out) == 0);
    FIXTURE_MUST(chmod(path, mode) == 0);
    return path;
}

static void end_room(void)
{
    (void)unlink(apr_psprintf(p, "%s/program", folder));
    (void)unlink(apr_psprintf(p, "%s/log", folder));
    FIXTURE_MUST(rmdir(folder) == 0);
}

/* Seconds. */
static long patience = 20;

static const scep_err *make(policy_module **out, const char *text, const conf_module *section)
{
    const policy_module_source source = { .endpoint = "devices",
                                          .text = text,
                                          .seconds = patience,
                                          .conf = section,
                                          .exec_user = "nobody",
                                          .runner = r };

    return policy_module_make(out, &source, p);
}

static policy_module *module(const char *kind, const char *text)
{
    policy_module *m = NULL;

    assert_ok(make(&m, apr_pstrcat(p, kind, program(text, 0755), NULL), NULL));
    return m;
}

/* ---- make ---- */

START_TEST(what_is_no_module_is_refused)
{
    static const char *const texts[] = {
        "",
        "exec",
        "exec:",
        "prg:",
        "exec:relative",
        "exec:/",
        "exec:/no/such/program",
        "http://h/",
        "https://",
        "https://user:word@h/",
        "https://h/ x",
        "ftp://h/",
        "EXEC:/bin/true",
    };
    policy_module *m;
    const scep_err *err;

    row = texts[_i];
    err = make(&m, row, NULL);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "NDES-53"));
}
END_TEST

START_TEST(a_program_that_others_may_write_is_refused)
{
    static const struct {
        mode_t mode;
        const char *says; /* NULL: accepted */
    } rows[] = {
        { 0755, NULL },        { 0555, NULL },         { 0775, "may write" },
        { 0757, "may write" }, { 0644, "executable" }, { 0000, "executable" },
    };
    policy_module *m;
    const scep_err *err =
        make(&m, apr_pstrcat(p, "exec:", program("exit 0", rows[_i].mode), NULL), NULL);

    row = apr_psprintf(p, "%o", (unsigned)rows[_i].mode);
    if (rows[_i].says)
        ck_assert_msg(err && strstr(err->detail, rows[_i].says), "%s: %s", row,
                      err ? err->detail : "");
    else
        assert_ok(err);
}
END_TEST

START_TEST(a_program_of_anybody_but_root_is_refused)
{
    static const uid_t owners[] = { 1, 2, 65534 };
    const char *path = program("exit 0", 0755);
    policy_module *m;
    const scep_err *err;

    if (geteuid() != 0)
        return;
    for (size_t i = 0; i < sizeof(owners) / sizeof(*owners); i++) {
        ck_assert_int_eq(chown(path, owners[i], 0), 0);
        err = make(&m, apr_pstrcat(p, "exec:", path, NULL), NULL);
        assert_code(SCEP_CONFIG, err);
        ck_assert_ptr_nonnull(strstr(err->detail, "give it to root"));
    }
    ck_assert_int_eq(chown(path, 0, 1), 0);
    assert_ok(make(&m, apr_pstrcat(p, "exec:", path, NULL), NULL));
}
END_TEST

START_TEST(a_section_for_a_program_is_refused)
{
    const conf_module section = { .endpoint = "devices" };
    policy_module *m;

    assert_code(SCEP_CONFIG,
                make(&m, apr_pstrcat(p, "exec:", program("exit 0", 0755), NULL), &section));
}
END_TEST

/* ---- verify ---- */

static const scep_bytes nothing;

static policy_module_request request(const char *challenge)
{
    return (policy_module_request){ .template_name = "WiFi",
                                    .peer = "192.0.2.1",
                                    .transaction_id = scep_bytes_of("T1\n"),
                                    .challenge = scep_bytes_of(challenge),
                                    .csr = scep_bytes_of("a CSR") };
}

START_TEST(only_status_0_is_a_yes)
{
    static const struct {
        const char *text;
        scep_code code;
        const char *says;
    } rows[] = {
        { "exit 0", SCEP_OK, "" },
        { "cat >/dev/null; echo yes", SCEP_OK, "" },
        { "exit 1", SCEP_UNAVAILABLE, "no reason for a no" },
        { "echo; echo late; exit 1", SCEP_UNAVAILABLE, "no reason for a no" },
        { "echo Traceback: >&2; echo more >&2; exit 1", SCEP_UNAVAILABLE,
          "ended with status 1: Traceback:" },
        { "echo 'why \"not\"'; echo more; exit 1", SCEP_CHALLENGE, "why \\x22not\\x22" },
        { "exit 2", SCEP_UNAVAILABLE, "status 2" },
        { "echo oops >&2; exit 255", SCEP_UNAVAILABLE, "status 255: oops" },
        { "kill -KILL $$", SCEP_UNAVAILABLE, "signal 9" },
        { "sleep 30", SCEP_UNAVAILABLE, "timed out" },
        { "yes", SCEP_UNAVAILABLE, "65536 bytes" },
        { "test \"$1 $SCEP_CALL $SCEP_ENDPOINT $SCEP_TEMPLATE $SCEP_PEER $SCEP_RENEWAL\" = "
          "\"verify verify devices WiFi 192.0.2.1 0\" || exit 9",
          SCEP_OK, "" },
        { "test \"$SCEP_TRANSACTION_ID\" = 'T1\\x0A' || exit 9", SCEP_OK, "" },
        { "read -r c; test \"$c\" = secret || exit 9; read -r l; test \"$l\" = "
          "'-----BEGIN CERTIFICATE REQUEST-----' || exit 8",
          SCEP_OK, "" },
        { "env | grep secret && exit 9; exit 0", SCEP_OK, "" },
        { "tr '\\0' ' ' < /proc/$$/cmdline | grep secret && exit 9; exit 0", SCEP_OK, "" },
    };
    policy_module_request asked = request("secret");
    policy_module *m;
    const scep_err *err;

    row = rows[_i].text;
    if (strstr(row, "sleep 30"))
        patience = 1;
    m = module("exec:", row);
    err = policy_module_verify(m, &asked, p);
    assert_code(rows[_i].code, err);
    if (err)
        ck_assert_msg(strstr(err->detail, rows[_i].says) != NULL, "%s: %s", row, err->detail);
}
END_TEST

START_TEST(a_program_that_vanishes_is_a_fault)
{
    policy_module_request asked = request("secret");
    policy_module *m = module("exec:", "exit 0");

    assert_ok(policy_module_verify(m, &asked, p));
    ck_assert_int_eq(unlink(m->address), 0);
    assert_code(SCEP_UNAVAILABLE, policy_module_verify(m, &asked, p));
    m->runner = NULL;
    assert_code(SCEP_UNAVAILABLE, policy_module_verify(m, &asked, p));
}
END_TEST

START_TEST(a_challenge_with_a_line_break_is_not_asked_about)
{
    policy_module_request asked = request("a\n-----BEGIN CERTIFICATE REQUEST-----");
    policy_module *m = module("exec:", "exit 0");

    assert_code(SCEP_CHALLENGE, policy_module_verify(m, &asked, p));
    /* and a module that is told of the refusal does not get it */
    m = module("exec:", "read -r c; test -z \"$c\" || exit 9; read -r more && exit 8; exit 0");
    assert_ok(policy_module_notify(m, &asked, POLICY_MODULE_FAILURE, 1, nothing, p));
}
END_TEST

START_TEST(a_deadline_that_is_over_asks_nobody)
{
    policy_module_request asked = request("secret");
    policy_module *m = module("exec:", "exit 0");

    asked.deadline = apr_time_now() - 1;
    assert_code(SCEP_UNAVAILABLE, policy_module_verify(m, &asked, p));
}
END_TEST

/* ---- notify, generate ---- */

START_TEST(a_no_to_what_has_happened_is_a_fault)
{
    policy_module_request told = request("secret");

    assert_code(SCEP_UNAVAILABLE, policy_module_notify(module("exec:", "echo no; exit 1"), &told,
                                                       POLICY_MODULE_SUCCESS, 0, nothing, p));
    assert_ok(policy_module_notify(
        module("exec:", "test \"$1 $SCEP_DISPOSITION $SCEP_HRESULT\" = \"notify 2 0x80070490\""),
        &told, POLICY_MODULE_FAILURE, 0x80070490u, nothing, p));
}
END_TEST

START_TEST(a_challenge_is_one_printable_line)
{
    static const struct {
        const char *text;
        scep_code code;
    } rows[] = {
        { "echo 'A challenge!'", SCEP_OK },
        { "printf 'A challenge!'", SCEP_OK },
        { "printf 'A challenge!\\r\\n'", SCEP_OK },
        { "test \"$SCEP_PARAMS $1\" = 'x=1&y generate' && echo 'A challenge!'", SCEP_OK },
        { "exit 1", SCEP_UNAVAILABLE },
        { "echo no; exit 1", SCEP_REFUSED },
        { "exit 0", SCEP_UNAVAILABLE },
        { "echo", SCEP_UNAVAILABLE },
        { "echo a; echo b", SCEP_UNAVAILABLE },
        { "printf 'a\\tb\\n'", SCEP_UNAVAILABLE },
        { "printf '\\303\\244\\n'", SCEP_UNAVAILABLE },
        { "printf '%1025s\\n' x", SCEP_UNAVAILABLE },
        { "echo 'A challenge!'; exit 3", SCEP_UNAVAILABLE },
    };
    const char *challenge = NULL;

    row = rows[_i].text;
    assert_code(rows[_i].code, policy_module_generate(&challenge, module("exec:", row), "WiFi",
                                                      "x=1&y", "192.0.2.1", p));
    if (rows[_i].code == SCEP_OK)
        ck_assert_str_eq(challenge, "A challenge!");
    else
        ck_assert_ptr_null(challenge);
}
END_TEST

/* ---- kept, JSON ---- */

#define READ_ID                                                            \
    "yes() { printf '{\"id\":%s,\"allow\":true}\\n' \"$1\"; }\n"           \
    "ask() { read -r q || exit 0; id=${q#*\\\"id\\\":}; id=${id%%,*}; }\n" \
    "ask; "

START_TEST(a_kept_program_answers_or_is_replaced)
{
    policy_module_request asked = request("secret");
    policy_module *m = module("prg:", READ_ID "yes $id; read -r q; echo rubbish; sleep 9");

    assert_ok(policy_module_verify(m, &asked, p));
    assert_code(SCEP_UNAVAILABLE, policy_module_verify(m, &asked, p));
    assert_ok(policy_module_verify(m, &asked, p));
    m = module("prg:", "exit 0");
    assert_code(SCEP_UNAVAILABLE, policy_module_verify(m, &asked, p));
    m = module("prg:", "while :; do printf 0123456789; done");
    assert_code(SCEP_UNAVAILABLE, policy_module_verify(m, &asked, p));
}
END_TEST

START_TEST(an_answer_to_another_call_is_a_fault)
{
    static const char *const programs[] = {
        "echo '{\"allow\":true}'; sleep 9", /* before it is asked, so to nothing */
        "read -r q; echo '{\"allow\":true}'; sleep 9",
        READ_ID "yes $((id - 1)); sleep 9",
        READ_ID "yes $((id + 1)); sleep 9",
        READ_ID "yes \\\"$id\\\"; sleep 9",
        READ_ID "yes $id.0; sleep 9",
        READ_ID "yes null; sleep 9",
    };
    policy_module_request asked = request("secret");
    policy_module *m;
    const scep_err *err;

    row = programs[_i];
    m = module("prg:", row);
    err = policy_module_verify(m, &asked, p);
    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "does not repeat the \"id\""));
    ck_assert_int_eq(m->kept.talk, -1); /* it is gone */
}
END_TEST

START_TEST(each_call_of_a_kept_program_has_the_next_id)
{
    policy_module_request asked = request("secret");
    policy_module *m = module("prg:", "n=1; while " READ_ID
                                      "do test $id = $n || exit 1; n=$((n+1)); yes $id; done");

    for (int i = 0; i < 3; i++)
        assert_ok(policy_module_verify(m, &asked, p));
}
END_TEST

START_TEST(only_allow_true_is_a_yes)
{
    static const struct {
        const char *text;
        module_kind kind;
        int yes; /* -1: a fault */
    } rows[] = {
        { "{\"allow\":true}", MODULE_VERIFY, 1 },
        { " {\"allow\": true, \"reason\": \"r\", \"more\": []}\n", MODULE_VERIFY, 1 },
        { "{\"allow\":false}", MODULE_VERIFY, 0 },
        { "{\"allow\":false,\"allow\":true}", MODULE_VERIFY, -1 },
        { "{\"allow\":1}", MODULE_VERIFY, -1 },
        { "{\"allow\":\"true\"}", MODULE_VERIFY, -1 },
        { "{\"allow\":null}", MODULE_VERIFY, -1 },
        { "{\"Allow\":true}", MODULE_VERIFY, -1 },
        { "{\"allow\":true,\"reason\":1}", MODULE_VERIFY, -1 },
        { "{}", MODULE_VERIFY, -1 },
        { "[true]", MODULE_VERIFY, -1 },
        { "true", MODULE_VERIFY, -1 },
        { "", MODULE_VERIFY, -1 },
        { "{\"allow\":true}{", MODULE_VERIFY, -1 },
        { "{}", MODULE_NOTIFY, 1 },
        { "{\"allow\":false}", MODULE_NOTIFY, 0 },
        { "[]", MODULE_NOTIFY, -1 },
        { "{\"challenge\":\"abc\"}", MODULE_GENERATE, 1 },
        { "{\"allow\":false,\"challenge\":\"abc\"}", MODULE_GENERATE, 0 },
        { "{\"challenge\":\"\"}", MODULE_GENERATE, -1 },
        { "{\"challenge\":\"a\\nb\"}", MODULE_GENERATE, -1 },
        { "{\"challenge\":7}", MODULE_GENERATE, -1 },
        { "{}", MODULE_GENERATE, -1 },
    };
    const module_call call = { .kind = rows[_i].kind };
    module_answer answer = { .reason = "" };
    const scep_err *err;

    row = rows[_i].text;
    err = module_json_read(&answer, &call, scep_bytes_of(row), p);
    assert_code(rows[_i].yes < 0 ? SCEP_UNAVAILABLE : SCEP_OK, err);
    if (!err)
        ck_assert_msg(answer.yes == (rows[_i].yes == 1), "%s", row);
}
END_TEST

START_TEST(what_is_sent_is_one_line_of_json)
{
    const policy_module m = { .endpoint = "devices" };
    const module_call call = { .kind = MODULE_VERIFY,
                               .name = "verify",
                               .template_name = "T\"",
                               .peer = "::1",
                               .transaction_id = "x\\y",
                               .challenge = scep_bytes_of("a\"b\xc3\xa4"),
                               .csr = scep_bytes_of("csr") };

    assert_bytes(
        module_json_write(&m, &call, p),
        scep_bytes_of("{\"call\":\"verify\",\"endpoint\":\"devices\",\"template\":\"T\\u0022\","
                      "\"peer\":\"::1\",\"transaction_id\":\"x\\u005cy\",\"renewal\":false,"
                      "\"challenge\":\"a\\u0022b\xc3\xa4\",\"csr\":\"Y3Ny\"}\n"));
}
END_TEST

START_TEST(a_line_to_a_kept_program_has_its_id)
{
    const policy_module m = { .endpoint = "devices" };
    const module_call call = { .kind = MODULE_GENERATE,
                               .name = "generate",
                               .template_name = "T",
                               .peer = "::1",
                               .params = "a=1",
                               .id = 4711 };

    assert_bytes(module_json_write(&m, &call, p),
                 scep_bytes_of("{\"call\":\"generate\",\"id\":4711,\"endpoint\":\"devices\","
                               "\"template\":\"T\",\"peer\":\"::1\",\"params\":\"a=1\"}\n"));
}
END_TEST

/* ---- https ---- */

/* The directory of names does not answer for this one, for a while. */
#define NO_ANSWER "no-answer.invalid"

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    struct pollfd none = { -1, 0, 0 };

    if (node && !strcmp(node, NO_ANSWER))
        (void)poll(&none, 1, 8000);
    return EAI_FAIL;
}

START_TEST(a_resolver_that_does_not_answer_is_not_waited_for)
{
    policy_module_request asked = request("secret");
    apr_time_t begun = apr_time_now();
    policy_module *m;

    patience = 1;
    assert_ok(make(&m, "https://" NO_ANSWER "/", NULL));
    assert_code(SCEP_UNAVAILABLE, policy_module_verify(m, &asked, p));
#if LIBCURL_VERSION_NUM >= 0x075700
    ck_assert_int_lt(apr_time_sec(apr_time_now() - begun), 5);
#else
    ck_assert_int_lt(apr_time_sec(apr_time_now() - begun), 20);
#endif
}
END_TEST

/* Connections wait in its queue; nobody speaks. */
static int silent_port(int *fd)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);

    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FIXTURE_MUST(*fd >= 0 && bind(*fd, (struct sockaddr *)&at, len) == 0 && listen(*fd, 4) == 0 &&
                 getsockname(*fd, (struct sockaddr *)&at, &len) == 0);
    return ntohs(at.sin_port);
}

START_TEST(a_time_that_is_over_is_not_for_ever)
{
    const module_call call = { .kind = MODULE_VERIFY,
                               .name = "verify",
                               .template_name = "T",
                               .peer = "::1",
                               .transaction_id = "1",
                               .deadline = apr_time_now() + 500 };
    module_answer answer;
    policy_module *m;
    const scep_err *err;
    int fd, port = silent_port(&fd);

    assert_ok(make(&m, apr_psprintf(p, "https://127.0.0.1:%d/", port), NULL));
    err = module_call_https(&answer, m, &call, p);
    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "timed out"));
    close(fd);
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_checked_fixture(c, begin_room, end_room);
    tcase_add_loop_test(c, what_is_no_module_is_refused, 0, 13);
    tcase_add_loop_test(c, a_program_that_others_may_write_is_refused, 0, 6);
    tcase_add_test(c, a_program_of_anybody_but_root_is_refused);
    tcase_add_test(c, a_section_for_a_program_is_refused);
    tcase_add_loop_test(c, only_status_0_is_a_yes, 0, 16);
    tcase_add_test(c, a_program_that_vanishes_is_a_fault);
    tcase_add_test(c, a_challenge_with_a_line_break_is_not_asked_about);
    tcase_add_test(c, a_deadline_that_is_over_asks_nobody);
    tcase_add_test(c, a_no_to_what_has_happened_is_a_fault);
    tcase_add_loop_test(c, a_challenge_is_one_printable_line, 0, 13);
    tcase_add_test(c, a_kept_program_answers_or_is_replaced);
    tcase_add_loop_test(c, an_answer_to_another_call_is_a_fault, 0, 7);
    tcase_add_test(c, each_call_of_a_kept_program_has_the_next_id);
    tcase_add_loop_test(c, only_allow_true_is_a_yes, 0, 23);
    tcase_add_test(c, what_is_sent_is_one_line_of_json);
    tcase_add_test(c, a_line_to_a_kept_program_has_its_id);
    tcase_add_test(c, a_resolver_that_does_not_answer_is_not_waited_for);
    tcase_add_test(c, a_time_that_is_over_is_not_for_ever);
}

/* The runner is this program once more. */
int main(int argc, char **argv)
{
    apr_pool_t *pool;

    if (argc < 2 || strcmp(argv[1], "runner"))
        return run_suite("policy module", add_tests);
    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && apr_pool_create(&pool, NULL) == APR_SUCCESS);
    return runner_main(argc - 1, argv + 1, pool);
}
