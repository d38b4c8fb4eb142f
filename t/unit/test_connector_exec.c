/* The connector exec: what a program is told, and what is made of each answer of it. */
#include "suite.h"

#include "connector.h"
#include "runner_main.h"

#include <apr_strings.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CA_USAGE (KU_KEY_CERT_SIGN | KU_CRL_SIGN)

static const conf_template wifi = { .name = "WiFi", .ca_template = "wifi at the CA" };
static char folder[64];
static runner *r;
static X509 *root;

static const char *file(const char *name)
{
    return apr_psprintf(p, "%s/%s", folder, name);
}

static void spew(const char *path, const char *text, mode_t mode)
{
    FILE *out;

    (void)unlink(path);
    out = fopen(path, "w");
    FIXTURE_MUST(out && fputs(text, out) >= 0 && fclose(out) == 0 && chmod(path, mode) == 0);
}

static const char *pem_of(X509 *cert)
{
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *text;
    long len;

    FIXTURE_MUST(bio && PEM_write_bio_X509(bio, cert));
    len = BIO_get_mem_data(bio, &text);
    return apr_pstrndup(p, text, (apr_size_t)len);
}

/* The runner's user may write into notes, and reads what begin_room() puts beside. */
static void begin_room(void)
{
    strcpy(folder, "/tmp/scep-exec-XXXXXX");
    FIXTURE_MUST(mkdtemp(folder) && chmod(folder, 0755) == 0);
    FIXTURE_MUST(mkdir(file("notes"), 0777) == 0 && chmod(file("notes"), 0777) == 0);
    root = fixture_cert("Root", fixture_key(1), NULL, NULL, true, CA_USAGE, p);
    spew(file("ca.pem"), pem_of(root), 0644);
    spew(file("leaf.pem"),
         pem_of(fixture_cert("device", fixture_key(0), root, fixture_key(1), false,
                             KU_DIGITAL_SIGNATURE, p)),
         0644);
    spew(file("other.pem"),
         pem_of(fixture_cert("other", fixture_key(2), root, fixture_key(1), false,
                             KU_DIGITAL_SIGNATURE, p)),
         0644);
    ck_assert(!runner_start(&r, "nobody", p));
}

static void end_room(void)
{
    static const char *const files[] = { "ca.pem",  "leaf.pem",  "other.pem",
                                         "program", "notes/env", "notes/count" };

    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        (void)unlink(file(files[i]));
    FIXTURE_MUST(rmdir(file("notes")) == 0 && rmdir(folder) == 0);
}

static const scep_err *open_program(connector **out, const char *path)
{
    conf_authority *a = apr_pcalloc(p, sizeof(*a));

    a->name = "branch";
    a->connector = "exec";
    a->ca_cert = file("ca.pem");
    a->exec.program = path;
    a->exec.arguments = apr_array_make(p, 2, sizeof(const char *));
    APR_ARRAY_PUSH(a->exec.arguments, const char *) = folder;
    APR_ARRAY_PUSH(a->exec.arguments, const char *) = folder;
    return connector_open(out, a, p);
}

/* One that is a line of shell, in which $1 is the folder. */
static connector *program(const char *text)
{
    connector *c = NULL;

    spew(file("program"), apr_pstrcat(p, "#!/bin/sh\n", text, "\n", NULL), 0755);
    assert_ok(open_program(&c, file("program")));
    assert_ok(c->start(c, r, p));
    return c;
}

static const scep_csr *csr_of(const fixture_request *request)
{
    scep_csr *csr;

    assert_ok(scep_csr_read(&csr, fixture_csr(request, p), p));
    return csr;
}

static connector_ask ask(const char *cookie)
{
    static const fixture_request request = { .subject = "CN=device" };

    return (connector_ask){ .template = &wifi,
                            .csr = csr_of(&request),
                            .id = "0123456789abcdef",
                            .cookie = cookie,
                            .until = deadline_in(apr_time_from_sec(20)) };
}

/* ---- open ---- */

START_TEST(what_is_no_safe_program_is_refused)
{
    static const struct {
        const char *path; /* NULL: the room's */
        mode_t mode;
        const char *says; /* NULL: accepted */
    } rows[] = {
        { "bin/true", 0, "absolute path" },
        { "/no/such/program", 0, "No such file" },
        { "/", 0, "no file" },
        { NULL, 0644, "not executable" },
        { NULL, 0775, "may write" },
        { NULL, 0757, "may write" },
        { NULL, 0755, NULL },
    };
    connector *c;
    const scep_err *err;

    row = rows[_i].says ? rows[_i].says : "accepted";
    spew(file("program"), "#!/bin/sh\nexit 0\n", rows[_i].mode);
    err = open_program(&c, rows[_i].path ? rows[_i].path : file("program"));
    if (!rows[_i].says) {
        assert_ok(err);
        ck_assert(c->remote);
        ck_assert_str_eq(c->name, "exec");
        return;
    }
    assert_code(SCEP_CONFIG, err);
    ck_assert_msg(strstr(err->detail, "[authority branch]: program ") && /* whose it is */
                      strstr(err->detail, rows[_i].says),
                  "%s", err->detail);
}
END_TEST

START_TEST(a_program_of_anybody_but_root_is_refused)
{
    connector *c;
    const scep_err *err;

    if (geteuid() != 0)
        return;
    spew(file("program"), "#!/bin/sh\nexit 0\n", 0755);
    FIXTURE_MUST(chown(file("program"), 65534, 0) == 0);
    err = open_program(&c, file("program"));
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "give it to root"));
}
END_TEST

START_TEST(without_a_runner_nothing_starts)
{
    connector *c = program("exit 0");
    connector *other;
    connector_ask asked = ask("");
    connector_answer answer = { 0 };

    assert_code(SCEP_CONFIG, c->start(c, NULL, p));
    assert_ok(open_program(&other, file("program")));
    assert_code(SCEP_UNAVAILABLE, other->submit(&answer, other, &asked, p));
    ck_assert(!answer.asked);
}
END_TEST

/* ---- what it is told ---- */

START_TEST(a_program_is_told_what_certmonger_tells)
{
    static const fixture_request request = {
        .subject = "CN=moon,O=Example",
        .challenge = "the-challenge",
        .san = "DNS:moon.example,DNS:b.example,email:a@b.c,IP:192.0.2.1,IP:2001:db8::1,"
               "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:moon@EX.ORG,URI:https://ex.org/"
    };
    static const char *const rows[] = {
        "CERTMONGER_OPERATION=SUBMIT",
        "CERTMONGER_CA_NICKNAME=branch",
        "CERTMONGER_CA_PROFILE=wifi at the CA",
        "CERTMONGER_REQ_SUBJECT=O=Example,CN=moon",
        "CERTMONGER_REQ_HOSTNAME=moon.example|b.example",
        "CERTMONGER_REQ_EMAIL=a@b.c",
        "CERTMONGER_REQ_IP_ADDRESS=192.0.2.1|2001:db8::1",
        "CERTMONGER_REQ_PRINCIPAL=moon@EX.ORG",
        "CERTMONGER_KEY_TYPE=RSA",
        "CERTMONGER_CSR=-----BEGIN CERTIFICATE REQUEST-----|MII",
        "CERTMONGER_SPKI=MII",
        "arguments=2 same",
    };
    connector *c =
        program("{ env -0 | tr '\\n\\0' '|\\n'; [ \"$1\" = \"$2\" ] && echo arguments=$# "
                "same; } > $1/notes/env; cat $1/leaf.pem");
    connector_ask asked = ask("");
    connector_answer answer = { 0 };
    char text[8192] = "\n";
    FILE *in;

    asked.csr = csr_of(&request);
    assert_ok(c->submit(&answer, c, &asked, p));
    in = fopen(file("notes/env"), "r");
    FIXTURE_MUST(in && fread(text + 1, 1, sizeof(text) - 2, in) > 0 && fclose(in) == 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        ck_assert_msg(strstr(text, apr_pstrcat(p, "\n", rows[i], NULL)) != NULL, "%s in %s",
                      rows[i], text);
    ck_assert_ptr_null(strstr(text, "CA_COOKIE"));
    /* in no variable of its own, nor as it stands */
    ck_assert_ptr_null(strstr(text, "the-challenge"));
    ck_assert_ptr_null(strstr(text, "ex.org"));
}
END_TEST

START_TEST(the_request_is_the_one_that_the_device_signed)
{
    connector *c = program("printf '%s\\n' \"$CERTMONGER_CSR\" | openssl req -verify -noout "
                           "2>/dev/null >/dev/null || exit 9; cat $1/leaf.pem");
    connector_ask asked = ask("");
    connector_answer answer = { 0 };

    assert_ok(c->submit(&answer, c, &asked, p));
    ck_assert_int_eq(answer.outcome, CONNECTOR_ISSUED);
}
END_TEST

START_TEST(a_cookie_is_what_it_polls_with)
{
    connector *c =
        program("case $CERTMONGER_OPERATION in SUBMIT) printf 'a cookie = 7\\n'; exit 1;; "
                "POLL) [ \"$CERTMONGER_CA_COOKIE\" = 'a cookie = 7' ] && [ -n "
                "\"$CERTMONGER_CSR\" ] && exec cat $1/leaf.pem;; esac; exit 9");
    connector_ask asked = ask("");
    connector_answer answer = { 0 };

    assert_ok(c->submit(&answer, c, &asked, p));
    ck_assert_int_eq(answer.outcome, CONNECTOR_PENDING);
    for (int i = 0; i < 2; i++) { /* whatever became of the answer to the first poll */
        asked = ask(answer.cookie);
        asked.lost = i == 1;
        answer = (connector_answer){ .cookie = answer.cookie };
        assert_ok(c->submit(&answer, c, &asked, p));
        ck_assert_int_eq(answer.outcome, CONNECTOR_ISSUED);
    }
}
END_TEST

START_TEST(what_may_have_been_issued_is_not_asked_for_twice)
{
    connector *c = program("echo x >> $1/notes/count; cat $1/leaf.pem");
    static const char *const cookies[] = { "", "submit" };

    for (int i = 0; i < 2; i++) {
        connector_ask asked = ask(cookies[i]);
        connector_answer answer = { 0 };

        asked.lost = true;
        assert_ok(c->submit(&answer, c, &asked, p));
        ck_assert_int_eq(answer.outcome, CONNECTOR_LOST);
        ck_assert_ptr_nonnull(strstr(answer.reason, "second certificate"));
    }
    ck_assert_int_ne(access(file("notes/count"), F_OK), 0);
}
END_TEST

/* ---- what it says ---- */

START_TEST(the_certificate_of_the_requests_key_is_taken)
{
    static const struct {
        const char *text, *is;
    } rows[] = {
        { "cat $1/leaf.pem", "leaf.pem" },
        { "cat $1/leaf.pem $1/ca.pem", "leaf.pem" },
        { "cat $1/ca.pem $1/leaf.pem", "leaf.pem" },
        { "echo issued; openssl x509 -text -in $1/leaf.pem; echo bye", "leaf.pem" },
        /* what is received is judged elsewhere */
        { "cat $1/other.pem", "other.pem" },
        { "cat $1/other.pem $1/ca.pem", "other.pem" },
    };
    connector *c = program(rows[_i].text);
    connector_ask asked = ask("");
    connector_answer answer = { 0 };
    FILE *in = fopen(file(rows[_i].is), "r");
    X509 *is = in ? scep_X509(p, PEM_read_X509(in, NULL, NULL, NULL)) : NULL;
    unsigned char *der = NULL;
    int len = i2d_X509(is, &der);

    row = rows[_i].text;
    FIXTURE_MUST(is && len > 0 && fclose(in) == 0);
    assert_ok(c->submit(&answer, c, &asked, p));
    ck_assert_int_eq(answer.outcome, CONNECTOR_ISSUED);
    assert_bytes(answer.der, ((scep_bytes){ der, (size_t)len }));
    OPENSSL_free(der);
}
END_TEST

START_TEST(each_answer_is_what_certmonger_takes_it_for)
{
    static const struct {
        const char *text, *cookie;
        connector_outcome outcome;
        const char *keeps; /* the answer's cookie, or a part of its reason */
        int after;
    } rows[] = {
        { "echo c1; exit 1", "", CONNECTOR_PENDING, "poll:c1", 0 },
        { "printf 'c1\\r\\n'; exit 1", "", CONNECTOR_PENDING, "poll:c1", 0 },
        { "printf c2; exit 1", "poll:c1", CONNECTOR_PENDING, "poll:c2", 0 },
        { "printf '90\\nc1\\n'; exit 5", "", CONNECTOR_PENDING, "poll:c1", 90 },
        { "printf '90\\r\\nc1\\r\\n'; exit 5", "", CONNECTOR_PENDING, "poll:c1", 90 },
        { "printf '000000007\\nc1'; exit 5", "poll:c0", CONNECTOR_PENDING, "poll:c1", 7 },
        { "echo 30; exit 5", "", CONNECTOR_PENDING, "submit", 30 },
        { "printf 30; exit 5", "submit", CONNECTOR_PENDING, "submit", 30 },
        { "head -c 4091 /dev/zero | tr '\\0' x; exit 1", "", CONNECTOR_PENDING, NULL, 0 },
        { "exit 1", "", CONNECTOR_LOST, "not what certmonger takes", 0 },
        /* what asks with this is a request anew */
        { "exit 1", "submit", CONNECTOR_LOST, "not what certmonger takes", 0 },
        { "exit 9", "submit", CONNECTOR_LOST, "status 9", 0 },
        { "echo; exit 1", "", CONNECTOR_LOST, "it gave no reason", 0 },
        { "echo Traceback >&2; exit 1", "", CONNECTOR_LOST, "Traceback", 0 },
        { "printf 'a\\nb\\n'; exit 1", "", CONNECTOR_LOST, "one line", 0 },
        { "printf 'a\\tb\\n'; exit 1", "", CONNECTOR_LOST, "printable", 0 },
        { "printf 'a\\303\\244\\n'; exit 1", "", CONNECTOR_LOST, "ASCII", 0 },
        { "head -c 4092 /dev/zero | tr '\\0' x; exit 1", "", CONNECTOR_LOST, "4091", 0 },
        { "printf '90 \\nc1\\n'; exit 5", "", CONNECTOR_LOST, "a line of digits", 0 },
        { "printf 'c1\\n'; exit 5", "", CONNECTOR_LOST, "a line of digits", 0 },
        { "exit 5", "", CONNECTOR_LOST, "a line of digits", 0 },
        { "printf '\\nc1\\n'; exit 5", "", CONNECTOR_LOST, "a line of digits", 0 },
        { "printf '%s\\nc1\\n' -1; exit 5", "", CONNECTOR_LOST, "a line of digits", 0 },
        { "printf '1234567890\\nc1'; exit 5", "", CONNECTOR_LOST, "a line of digits", 0 },
        { "echo 'not you'; echo more; exit 2", "", CONNECTOR_DENIED, "not you", 0 },
        { "printf '\\n\\r\\n  not you\\r\\n'; exit 2", "poll:c", CONNECTOR_DENIED, "not you", 0 },
        { "printf 'a\\033b'; exit 2", "", CONNECTOR_DENIED, "a\\x1Bb", 0 },
        { "echo usage >&2; exit 2", "", CONNECTOR_DENIED, "usage", 0 },
        { "exit 2", "", CONNECTOR_DENIED, "it gave no reason", 0 },
        { "head -c 60000 /dev/zero | tr '\\0' x; exit 2", "", CONNECTOR_DENIED, "xxx...", 0 },
    };
    connector *c = program(rows[_i].text);
    connector_ask asked = ask(rows[_i].cookie);
    connector_answer answer = { 0 };

    row = rows[_i].text;
    assert_ok(c->submit(&answer, c, &asked, p));
    ck_assert_msg(answer.outcome == rows[_i].outcome, "%s: outcome %d", row, (int)answer.outcome);
    ck_assert_msg(answer.after == rows[_i].after, "%s: after %d", row, answer.after);
    if (answer.outcome == CONNECTOR_PENDING) {
        ck_assert_uint_le(strlen(answer.cookie), CONNECTOR_COOKIE_MOST);
        ck_assert_msg(!rows[_i].keeps || !strcmp(answer.cookie, rows[_i].keeps), "%s: %s", row,
                      answer.cookie);
        return;
    }
    ck_assert_msg(strstr(answer.reason, rows[_i].keeps) && !strchr(answer.reason, '\n') &&
                      strlen(answer.reason) < 700,
                  "%s: %s", row, answer.reason);
}
END_TEST

START_TEST(what_is_no_answer_is_an_error)
{
    static const struct {
        const char *text, *cookie;
        scep_code code;
        bool asked;
        const char *says;
    } rows[] = {
        { "exit 0", "", SCEP_UNAVAILABLE, true, "0 bytes of output hold no certificate" },
        { "echo done; exit 0", "", SCEP_UNAVAILABLE, true, "no certificate" },
        { "sed s/MII/MI/ $1/leaf.pem | head -n 5", "", SCEP_UNAVAILABLE, true, "no certificate" },
        { "echo down; exit 3", "", SCEP_UNAVAILABLE, false,
          "cannot reach its CA (status 3): down" },
        { "echo down; exit 3", "poll:c", SCEP_UNAVAILABLE, false, "down" },
        { "echo no key; exit 4", "", SCEP_CONFIG, false, "lacks configuration (status 4): no key" },
        { "echo what; exit 6", "", SCEP_CONFIG, false, "does not know the operation SUBMIT" },
        { "echo what; exit 6", "poll:c", SCEP_CONFIG, false, "does not know the operation POLL" },
        { "exit 16", "", SCEP_CONFIG, false, "another helper is needed" },
        { "exit 17", "", SCEP_CONFIG, false, "another helper is needed" },
        { "echo oops >&2; exit 7", "", SCEP_UNAVAILABLE, true, "status 7: oops" },
        { "exit 15", "", SCEP_UNAVAILABLE, true, "status 15" },
        { "exit 127", "", SCEP_UNAVAILABLE, true, "status 127" },
        { "exit 255", "", SCEP_UNAVAILABLE, true, "status 255" },
        { "kill -KILL $$; sleep 9", "", SCEP_UNAVAILABLE, true, "signal 9" },
        { "cat $1/leaf.pem; exec sleep 30", "", SCEP_UNAVAILABLE, true, "timed out" },
        { "cat $1/leaf.pem; exec yes", "", SCEP_UNAVAILABLE, true, "65536 bytes" },
        /* it waits with the former cookie, which is good */
        { "exit 1", "poll:c", SCEP_UNAVAILABLE, true, "says wait" },
    };
    connector *c = program(rows[_i].text);
    connector_ask asked = ask(rows[_i].cookie);
    connector_answer answer = { 0 };
    const scep_err *err;

    row = rows[_i].text;
    if (strstr(row, "sleep 30"))
        asked.until = deadline_in(apr_time_from_msec(400));
    err = c->submit(&answer, c, &asked, p);
    assert_code(rows[_i].code, err);
    ck_assert_msg(strstr(err->detail, rows[_i].says) != NULL, "%s: %s", row, err->detail);
    ck_assert_msg(answer.asked == rows[_i].asked, "%s: asked %d", row, (int)answer.asked);
}
END_TEST

START_TEST(what_was_not_started_was_not_asked)
{
    connector *c = program("exit 0");
    connector_ask asked = ask("");
    connector_answer answer = { .asked = true };

    asked.until = deadline_in(0);
    assert_code(SCEP_UNAVAILABLE, c->submit(&answer, c, &asked, p));
    answer.asked = true;
    FIXTURE_MUST(unlink(file("program")) == 0);
    asked = ask("");
    assert_code(SCEP_CONFIG, c->submit(&answer, c, &asked, p)); /* somebody has to mend that */
    ck_assert(!answer.asked);
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_checked_fixture(c, begin_room, end_room);
    tcase_add_loop_test(c, what_is_no_safe_program_is_refused, 0, 7);
    tcase_add_test(c, a_program_of_anybody_but_root_is_refused);
    tcase_add_test(c, without_a_runner_nothing_starts);
    tcase_add_test(c, a_program_is_told_what_certmonger_tells);
    tcase_add_test(c, the_request_is_the_one_that_the_device_signed);
    tcase_add_test(c, a_cookie_is_what_it_polls_with);
    tcase_add_test(c, what_may_have_been_issued_is_not_asked_for_twice);
    tcase_add_loop_test(c, the_certificate_of_the_requests_key_is_taken, 0, 6);
    tcase_add_loop_test(c, each_answer_is_what_certmonger_takes_it_for, 0, 30);
    tcase_add_loop_test(c, what_is_no_answer_is_an_error, 0, 18);
    tcase_add_test(c, what_was_not_started_was_not_asked);
}

/* The runner is this program once more. */
int main(int argc, char **argv)
{
    apr_pool_t *pool;

    if (argc < 2 || strcmp(argv[1], "runner"))
        return run_suite("connector exec", add_tests);
    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && apr_pool_create(&pool, NULL) == APR_SUCCESS);
    return runner_main(argc - 1, argv + 1, pool);
}
