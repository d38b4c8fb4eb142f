/* The connector est: what a server is asked, and what is made of each answer of it. RFC 7030. */
#include "suite.h"

#include "connector.h"
#include "service_room.h"

#include <apr_strings.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CA_USAGE (KU_KEY_CERT_SIGN | KU_CRL_SIGN)

static conf_template wifi = { .name = "WiFi", .ca_template = "wifi" };
static char folder[64];
static service *server;
static service_said says;   /* what the server answers next */
static service_asked heard; /* what it was asked last, in the test's pool */
static conf_authority authority;
static X509 *root, *leaf;
static scep_csr *csr;

static const char *file(const char *name)
{
    return apr_psprintf(p, "%s/%s", folder, name);
}

static void spew(const char *name, const char *text, mode_t mode)
{
    FILE *out = fopen(file(name), "w");

    FIXTURE_MUST(out && fputs(text, out) >= 0 && fclose(out) == 0 && chmod(file(name), mode) == 0);
}

static const char *pem_text(BIO *bio)
{
    char *text;
    long len = BIO_get_mem_data(bio, &text);

    return apr_pstrndup(p, text, (apr_size_t)len);
}

static const char *pem_of(X509 *cert)
{
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_mem()));

    FIXTURE_MUST(bio && PEM_write_bio_X509(bio, cert));
    return pem_text(bio);
}

static const char *pem_of_key(EVP_PKEY *key)
{
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_mem()));

    FIXTURE_MUST(bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    return pem_text(bio);
}

static void answer(service_said *out, const service_asked *asked, void *baton, apr_pool_t *pool)
{
    *out = says;
    heard.head = apr_pstrdup(p, asked->head);
    heard.body = scep_bytes_dup(p, asked->body);
    heard.peer = apr_pstrdup(p, asked->peer);
}

/* The server's name stands in its certificate as RFC 6125 wants it. */
static X509 *tls_cert(void)
{
    X509 *cert = fixture_cert("est.test", fixture_key(2), root, fixture_key(1), false,
                              KU_DIGITAL_SIGNATURE, p);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");

    FIXTURE_MUST(cert && san && X509_add_ext(cert, san, -1));
    X509_EXTENSION_free(san);
    fixture_resign(cert, fixture_key(1));
    return cert;
}

static void begin_room(void)
{
    const fixture_request request = { .challenge = "secret" };

    strcpy(folder, "/tmp/scep-est-XXXXXX");
    FIXTURE_MUST(mkdtemp(folder));
    root = fixture_cert("Root", fixture_key(1), NULL, NULL, true, CA_USAGE, p);
    leaf = fixture_cert("device", fixture_key(0), root, fixture_key(1), false, KU_DIGITAL_SIGNATURE,
                        p);
    spew("ca.pem", pem_of(root), 0644);
    spew("ra.pem",
         pem_of(fixture_cert("RA", fixture_key(3), root, fixture_key(1), false,
                             KU_DIGITAL_SIGNATURE, p)),
         0644);
    spew("ra.key", pem_of_key(fixture_key(3)), 0600);
    spew("stranger.pem",
         pem_of(
             fixture_cert("stranger", fixture_key(3), NULL, NULL, false, KU_DIGITAL_SIGNATURE, p)),
         0644);
    spew("password", "a password\n", 0600);
    assert_ok(scep_csr_read(&csr, fixture_csr(&request, p), p));
    server = service_start(answer, NULL, tls_cert(), fixture_key(2), root, p);
    authority = (conf_authority){ .name = "est",
                                  .connector = "est",
                                  .ca_cert = file("ca.pem"),
                                  .templates = apr_array_make(p, 1, sizeof(conf_template *)) };
    APR_ARRAY_PUSH(authority.templates, const conf_template *) = &wifi;
    authority.est =
        (conf_est){ .url = apr_psprintf(p, "https://127.0.0.1:%d", service_port(server)),
                    .user = "ra",
                    .password = file("password") };
    wifi.ca_template = "wifi";
    heard = (service_asked){ .head = "" };
}

static void end_room(void)
{
    const char *names[] = { "ca.pem", "ra.pem", "ra.key", "password", "stranger.pem" };

    service_stop(server);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        FIXTURE_MUST(unlink(file(names[i])) == 0);
    FIXTURE_MUST(rmdir(folder) == 0);
}

static connector *open_it(void)
{
    connector *c;

    assert_ok(connector_open(&c, &authority, p));
    return c;
}

/* What was kept, as the office does it. */
static const char *kept;
static int kept_before; /* requests that the server had seen by then */

static const scep_err *keep(void *baton, const char *cookie, apr_pool_t *pool)
{
    kept = apr_pstrdup(p, cookie);
    kept_before = service_count(server);
    return NULL;
}

static const scep_err *submit(connector_answer *out, const char *cookie, bool lost)
{
    const bool hangs = says.status < 0;
    connector *c = open_it();
    const connector_ask ask = { .template = &wifi,
                                .csr = csr,
                                .id = "0123456789ABCDEF",
                                .cookie = cookie,
                                .lost = lost,
                                .keep = keep,
                                .until = deadline_in(apr_time_from_sec(hangs ? 3 : 20)) };

    *out = (connector_answer){ .outcome = CONNECTOR_ISSUED };
    return c->submit(out, c, &ask, p);
}

/* A certs-only answer of these certificates, in lines. */
static service_said certs(X509 *first, X509 *second)
{
    STACK_OF(X509) *list = scep_borrowed_stack(p);
    const char *text, *lines = "";
    scep_bytes der;

    FIXTURE_MUST((!first || sk_X509_push(list, first)) && (!second || sk_X509_push(list, second)));
    assert_ok(scep_certs_degenerate(&der, list, p));
    text = scep_base64(p, der);
    for (size_t i = 0; i < strlen(text); i += 64)
        lines = apr_pstrcat(p, lines, apr_pstrndup(p, text + i, 64), "\r\n", NULL);
    return (service_said){ .status = 200,
                           .type = "application/pkcs7-mime; smime-type=certs-only",
                           .body = scep_bytes_of(lines) };
}

static void assert_is(scep_bytes der, const X509 *cert)
{
    scep_bytes wanted;

    assert_ok(scep_cert_der(&wanted, cert, p));
    assert_bytes(der, wanted);
}

/* ---- what is asked ---- */

START_TEST(a_request_is_base64_of_the_csr_to_the_well_known_address)
{
    connector_answer out;
    scep_bytes sent;

    says = certs(leaf, root);
    assert_ok(submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    assert_is(out.der, leaf);
    ck_assert(!strncmp(heard.head, "POST /.well-known/est/simpleenroll HTTP/", 40));
    ck_assert_ptr_nonnull(strstr(heard.head, "\r\nContent-Type: application/pkcs10\r\n"));
    ck_assert_ptr_nonnull(strstr(heard.head, "\r\nContent-Transfer-Encoding: base64\r\n"));
    assert_ok(scep_unbase64(&sent, (const char *)heard.body.data, p));
    assert_bytes(sent, csr->der);
}
END_TEST

START_TEST(what_is_asked_first_is_kept_before)
{
    connector_answer out;

    says = certs(leaf, NULL);
    kept = NULL;
    assert_ok(submit(&out, "", false));
    ck_assert_str_eq(kept, "asked");
    ck_assert_int_eq(kept_before, 0);
    ck_assert_int_eq(service_count(server), 1);
}
END_TEST

START_TEST(a_user_shows_his_password)
{
    connector_answer out;

    says = certs(leaf, NULL);
    assert_ok(submit(&out, "", false));
    /* base64 of "ra:a password" */
    ck_assert_ptr_nonnull(strstr(heard.head, "\r\nAuthorization: Basic cmE6YSBwYXNzd29yZA=="));
}
END_TEST

START_TEST(a_certificate_stands_for_a_user)
{
    connector_answer out;

    authority.est.user = authority.est.password = NULL;
    authority.est.client_cert = file("ra.pem");
    authority.est.client_key = file("ra.key");
    says = certs(leaf, NULL);
    assert_ok(submit(&out, "", false));
    ck_assert_ptr_null(strstr(heard.head, "Authorization"));
    ck_assert_str_eq(heard.peer, "CN=RA");
}
END_TEST

START_TEST(a_server_that_refuses_a_certificate_has_read_nothing)
{
    connector_answer out;
    const scep_err *err;

    authority.est.user = authority.est.password = NULL;
    authority.est.client_cert = file("stranger.pem");
    authority.est.client_key = file("ra.key");
    says = certs(leaf, NULL);
    err = submit(&out, "", false);
    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert_msg(strstr(err->detail, "alert unknown ca") != NULL, "%s", err->detail);
    ck_assert(!out.asked);
    ck_assert_int_eq(service_count(server), 0);
}
END_TEST

START_TEST(a_label_is_a_part_of_the_address)
{
    static const struct {
        const char *label;
        bool profile;
        const char *line;
    } rows[] = { { "devices", false, "POST /.well-known/est/devices/simpleenroll " },
                 { NULL, true, "POST /.well-known/est/wifi/simpleenroll " } };
    connector_answer out;

    row = rows[_i].line;
    authority.est.label = rows[_i].label;
    authority.est.profile = rows[_i].profile;
    authority.est.url = apr_pstrcat(p, authority.est.url, "/", NULL);
    says = certs(leaf, NULL);
    assert_ok(submit(&out, "", false));
    ck_assert_msg(!strncmp(heard.head, row, strlen(row)), "%s", heard.head);
}
END_TEST

START_TEST(a_template_that_is_no_label_is_refused)
{
    connector *c;
    const scep_err *err;

    authority.est.profile = true;
    wifi.ca_template = "wifi/devices";
    err = connector_open(&c, &authority, p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "label"));
}
END_TEST

START_TEST(a_server_that_is_not_trusted_is_asked_nothing)
{
    connector_answer out;

    authority.est.tls_ca = file("ra.pem"); /* which did not sign the server's */
    says = certs(leaf, NULL);
    assert_code(SCEP_UNAVAILABLE, submit(&out, "", false));
    ck_assert(!out.asked);
    ck_assert_int_eq(service_count(server), 0);
}
END_TEST

START_TEST(a_server_of_another_name_is_asked_nothing)
{
    connector_answer out;

    authority.est.url = apr_psprintf(p, "https://localhost:%d", service_port(server));
    says = certs(leaf, NULL);
    assert_code(SCEP_UNAVAILABLE, submit(&out, "", false));
    ck_assert(!out.asked);
    ck_assert_int_eq(service_count(server), 0);
}
END_TEST

/* ---- what came ---- */

START_TEST(the_certificate_with_the_key_is_the_one)
{
    connector_answer out;

    says = certs(root, leaf);
    assert_ok(submit(&out, "", false));
    assert_is(out.der, leaf);
}
END_TEST

START_TEST(without_one_the_first_goes_to_the_office)
{
    connector_answer out;

    says = certs(root, NULL);
    assert_ok(submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    assert_is(out.der, root);
}
END_TEST

START_TEST(later_is_pending_with_its_time)
{
    connector_answer out;

    says = (service_said){ .status = 202, .headers = "Retry-After: 7\r\n" };
    assert_ok(submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_PENDING);
    ck_assert_int_eq(out.after, 7);
    ck_assert_str_eq(out.cookie, "waits");
    says = certs(leaf, NULL);
    kept = NULL;
    assert_ok(submit(&out, out.cookie, false));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    ck_assert_ptr_null(kept);
}
END_TEST

START_TEST(each_answer_has_its_meaning)
{
    static const struct {
        int status;
        const char *type, *body;
        int code; /* -1: an answer */
        bool asked;
        const char *words;
    } rows[] = {
        { 400, "text/plain; charset=utf-8", "no \"such\" device\n", -1, false,
          "HTTP status 400: no \\x22such\\x22 device\\x0A" },
        { 422, "text/html", "<p>no</p>", -1, false, "HTTP status 422" },
        { 409, NULL, "", -1, false, "HTTP status 409" },
        { 401, NULL, "", SCEP_CONFIG, false, "client_cert" },
        { 403, "text/plain", "not you", SCEP_CONFIG, false, "not you" },
        { 404, NULL, "", SCEP_CONFIG, false, "url and label" },
        { 405, NULL, "", SCEP_CONFIG, false, "url and label" },
        { 301, NULL, "", SCEP_CONFIG, false, "url and label" },
        { 429, NULL, "", SCEP_UNAVAILABLE, false, "429" },
        { 503, NULL, "", SCEP_UNAVAILABLE, false, "503" },
        { 500, "text/plain", "broken", SCEP_UNAVAILABLE, true, "HTTP status 500: broken" },
        { 204, NULL, "", SCEP_UNAVAILABLE, true, "204" },
        { 201, NULL, "", SCEP_UNAVAILABLE, true, "201" },
        { 303, NULL, "", SCEP_CONFIG, false, "url and label" },
        { 200, "text/html", "<p>a login page</p>", SCEP_UNAVAILABLE, true, "text/html" },
        { 200, "application/pkcs7-mime", "no base64!", SCEP_UNAVAILABLE, true, "certs-only" },
        { 200, "application/pkcs7-mime", "MAAA", SCEP_UNAVAILABLE, true, "certs-only" },
        { 200, "application/pkcs7-mime", "", SCEP_UNAVAILABLE, true, "certs-only" },
        { 0, NULL, "", SCEP_UNAVAILABLE, true, "" },
    };
    connector_answer out;
    const scep_err *err;

    row = apr_psprintf(p, "%d %s", rows[_i].status, rows[_i].words);
    says = (service_said){ .status = rows[_i].status,
                           .type = rows[_i].type,
                           .headers = rows[_i].status == 301 ? "Location: /\r\n" : NULL,
                           .body = scep_bytes_of(rows[_i].body) };
    err = submit(&out, "", false);
    ck_assert_int_eq(service_count(server), 1);
    if (rows[_i].code < 0) {
        assert_ok(err);
        ck_assert_int_eq(out.outcome, CONNECTOR_DENIED);
        ck_assert_str_eq(out.reason, rows[_i].words);
        return;
    }
    assert_code(rows[_i].code, err);
    ck_assert_msg(strstr(err->detail, rows[_i].words) != NULL, "%s", err->detail);
    ck_assert_int_eq(out.asked, rows[_i].asked);
}
END_TEST

START_TEST(an_answer_without_certificates_is_none)
{
    connector_answer out;

    says = certs(NULL, NULL);
    assert_code(SCEP_UNAVAILABLE, submit(&out, "", false));
    ck_assert(out.asked);
}
END_TEST

START_TEST(an_answer_has_an_end)
{
    unsigned char *text = apr_palloc(p, 300000);
    connector_answer out;
    const scep_err *err;

    memset(text, 'A', 300000);
    says =
        (service_said){ .status = 200, .type = "application/pkcs7-mime", .body = { text, 300000 } };
    err = submit(&out, "", false);
    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "more than 262144 bytes"));
    ck_assert(out.asked);
}
END_TEST

START_TEST(a_server_that_is_silent_is_not_waited_for)
{
    apr_time_t begun = apr_time_now();
    connector_answer out;

    says = (service_said){ .status = -1 };
    assert_code(SCEP_UNAVAILABLE, submit(&out, "", false));
    ck_assert(out.asked);
    ck_assert_int_lt(apr_time_sec(apr_time_now() - begun), 10);
}
END_TEST

START_TEST(nobody_there_was_not_asked)
{
    connector_answer out;

    authority.est.url = "https://127.0.0.1:1";
    assert_code(SCEP_UNAVAILABLE, submit(&out, "", false));
    ck_assert(!out.asked);
}
END_TEST

/* ---- after an answer was lost ---- */

START_TEST(a_lost_answer_is_not_asked_for_again)
{
    static const struct {
        const char *cookie;
        bool resubmit;
        int outcome, requests;
    } rows[] = {
        { "asked", false, CONNECTOR_LOST, 0 },   /* it may have issued */
        { "asked", true, CONNECTOR_ISSUED, 1 },  /* ca.conf says that it does not matter */
        { "waits", false, CONNECTOR_ISSUED, 1 }, /* RFC 7030 4.2.3 */
        { "", false, CONNECTOR_ISSUED, 1 },      /* nothing was kept, so nothing was sent */
    };
    connector_answer out;

    row = rows[_i].cookie;
    authority.est.resubmit = rows[_i].resubmit;
    says = certs(leaf, NULL);
    assert_ok(submit(&out, rows[_i].cookie, true));
    ck_assert_int_eq(out.outcome, rows[_i].outcome);
    ck_assert_int_eq(service_count(server), rows[_i].requests);
    if (out.outcome == CONNECTOR_LOST)
        ck_assert_ptr_nonnull(strstr(out.reason, "CN=device"));
}
END_TEST

START_TEST(a_denial_is_one_unless_an_answer_was_lost)
{
    static const char *const cookies[] = { "waits", "asked", "" };
    bool was_lost = _i % 2;
    connector_answer out;

    row = cookies[_i / 2];
    authority.est.resubmit = true;
    says = (service_said){ .status = 409, .type = "text/plain", .body = scep_bytes_of("again?") };
    assert_ok(submit(&out, row, was_lost));
    ck_assert_int_eq(out.outcome, was_lost && *row ? CONNECTOR_LOST : CONNECTOR_DENIED);
    ck_assert_ptr_nonnull(strstr(out.reason, "again?"));
}
END_TEST

/* ---- check ---- */

START_TEST(check_compares_the_chain)
{
    connector *c = open_it();
    const scep_err *err;

    says = certs(root, NULL);
    assert_ok(c->check(c, deadline_in(apr_time_from_sec(20)), p));
    ck_assert(!strncmp(heard.head, "GET /.well-known/est/cacerts HTTP/", 34));
    says = certs(leaf, NULL);
    err = c->check(c, deadline_in(apr_time_from_sec(20)), p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "CN=Root"));
    ck_assert_ptr_nonnull(strstr(err->detail, "CN=device"));
    says = (service_said){ .status = 404 };
    assert_code(SCEP_CONFIG, c->check(c, deadline_in(apr_time_from_sec(20)), p));
    says = (service_said){ .status = 500 };
    assert_code(SCEP_UNAVAILABLE, c->check(c, deadline_in(apr_time_from_sec(20)), p));
}
END_TEST

/* ---- open ---- */

START_TEST(what_cannot_be_read_is_named)
{
    static const struct {
        const char *name;
        mode_t mode;
        const char *text, *says;
    } rows[] = { { "password", 0644, "a password", "others may read" },
                 { "password", 0600, "\n", "1 to 1024 bytes" } };
    const scep_err *err;
    connector *c;

    row = rows[_i].says;
    spew(rows[_i].name, rows[_i].text, rows[_i].mode);
    err = connector_open(&c, &authority, p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_msg(strstr(err->detail, row) != NULL, "%s", err->detail);
    ck_assert_ptr_nonnull(strstr(err->detail, "[authority est]"));
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_checked_fixture(c, begin_room, end_room);
    tcase_add_test(c, a_request_is_base64_of_the_csr_to_the_well_known_address);
    tcase_add_test(c, what_is_asked_first_is_kept_before);
    tcase_add_test(c, a_user_shows_his_password);
    tcase_add_test(c, a_certificate_stands_for_a_user);
    tcase_add_test(c, a_server_that_refuses_a_certificate_has_read_nothing);
    tcase_add_loop_test(c, a_label_is_a_part_of_the_address, 0, 2);
    tcase_add_test(c, a_template_that_is_no_label_is_refused);
    tcase_add_test(c, a_server_that_is_not_trusted_is_asked_nothing);
    tcase_add_test(c, a_server_of_another_name_is_asked_nothing);
    tcase_add_test(c, the_certificate_with_the_key_is_the_one);
    tcase_add_test(c, without_one_the_first_goes_to_the_office);
    tcase_add_test(c, later_is_pending_with_its_time);
    tcase_add_loop_test(c, each_answer_has_its_meaning, 0, 19);
    tcase_add_test(c, an_answer_without_certificates_is_none);
    tcase_add_test(c, an_answer_has_an_end);
    tcase_add_test(c, a_server_that_is_silent_is_not_waited_for);
    tcase_add_test(c, nobody_there_was_not_asked);
    tcase_add_loop_test(c, a_lost_answer_is_not_asked_for_again, 0, 4);
    tcase_add_loop_test(c, a_denial_is_one_unless_an_answer_was_lost, 0, 6);
    tcase_add_test(c, check_compares_the_chain);
    tcase_add_loop_test(c, what_cannot_be_read_is_named, 0, 2);
}

int main(void)
{
    return run_suite("connector_est", add_tests);
}
