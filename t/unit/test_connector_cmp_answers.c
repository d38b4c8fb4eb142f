/* The connector cmp: what is refused, what is not believed, and what else is asked. RFC 4210. */
#include "suite.h"

#include "cmp_room.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

static void begin_room(void)
{
    cmp_room_begin(p);
}

/* ---- refused ---- */

START_TEST(each_rejection_has_its_meaning)
{
    static const struct {
        int fail_info;
        const char *command;
        int code; /* -1: denied */
    } rows[] = {
        { 0, "p10cr", -1 },
        { OSSL_CMP_CTX_FAILINFO_badRequest, "p10cr", -1 },
        { OSSL_CMP_CTX_FAILINFO_badCertTemplate, "p10cr", -1 },
        { OSSL_CMP_CTX_FAILINFO_unacceptedPolicy, "p10cr", -1 },
        { OSSL_CMP_CTX_FAILINFO_duplicateCertReq, "p10cr", -1 },
        { OSSL_CMP_CTX_FAILINFO_badPOP, "p10cr", -1 },
        { OSSL_CMP_CTX_FAILINFO_badPOP, "ir", SCEP_CONFIG },
        { OSSL_CMP_CTX_FAILINFO_systemUnavail, "p10cr", SCEP_UNAVAILABLE },
        { OSSL_CMP_CTX_FAILINFO_systemFailure, "p10cr", SCEP_CONFIG },
        { OSSL_CMP_CTX_FAILINFO_systemFailure | OSSL_CMP_CTX_FAILINFO_systemUnavail, "p10cr",
          SCEP_UNAVAILABLE },
        { OSSL_CMP_CTX_FAILINFO_timeNotAvailable, "p10cr", SCEP_UNAVAILABLE },
        { OSSL_CMP_CTX_FAILINFO_notAuthorized, "p10cr", SCEP_CONFIG },
        { OSSL_CMP_CTX_FAILINFO_badMessageCheck, "p10cr", SCEP_CONFIG },
        { OSSL_CMP_CTX_FAILINFO_signerNotTrusted, "p10cr", SCEP_CONFIG },
        { OSSL_CMP_CTX_FAILINFO_badTime, "p10cr", SCEP_CONFIG },
        { OSSL_CMP_CTX_FAILINFO_notAuthorized | OSSL_CMP_CTX_FAILINFO_badRequest, "p10cr",
          SCEP_CONFIG },
    };
    connector_answer out;
    const scep_err *err;

    row = apr_psprintf(p, "%d %s", rows[_i].fail_info, rows[_i].command);
    room.authority.cmp.command = rows[_i].command;
    room.ca.status = OSSL_CMP_PKISTATUS_rejection;
    room.ca.fail_info = rows[_i].fail_info;
    room.ca.text = "it is \"so\"";
    err = cmp_room_submit(&out, "", false);
    ck_assert(!out.asked);
    ck_assert_msg(ERR_peek_error() == 0, "%s: nothing is left for another's error", row);
    if (rows[_i].code < 0) {
        assert_ok(err);
        ck_assert_int_eq(out.outcome, CONNECTOR_DENIED);
        ck_assert_msg(strstr(out.reason, "it is \\x22so\\x22") != NULL, "%s", out.reason);
        return;
    }
    assert_code(rows[_i].code, err);
    ck_assert_msg(strstr(err->detail, "it is \\x22so\\x22") != NULL, "%s", err->detail);
}
END_TEST

/* ---- what is not believed ---- */

START_TEST(an_answer_that_was_changed_decides_nothing)
{
    connector_answer out;

    room.ca.spoil = true;
    if (_i)
        room.ca.status = OSSL_CMP_PKISTATUS_rejection;
    assert_code(SCEP_UNAVAILABLE, cmp_room_submit(&out, "", false));
    ck_assert(out.asked);
    ck_assert_int_eq(room.ca.confirmed, 0);
}
END_TEST

START_TEST(an_error_without_protection_decides_nothing)
{
    connector_answer out;

    room.authority.cmp.secret = cmp_room_file("wrong"); /* so that the CA refuses the message */
    FIXTURE_MUST(OSSL_CMP_SRV_CTX_set_send_unprotected_errors(room.ca.engine, 1));
    assert_code(SCEP_UNAVAILABLE, cmp_room_submit(&out, "", false));
    ck_assert(out.asked);
}
END_TEST

START_TEST(only_the_ca_speaks_for_the_ca)
{
    /* a device of the CA, with a certificate that is as good as the responder's but for its
     * purpose */
    static const struct {
        const char *name, *server_cert, *trusted;
        bool good;
    } rows[] = { { "device", NULL, NULL, false },       { "responder", NULL, NULL, true },
                 { "root", NULL, NULL, true },          { "device", "other.pem", NULL, true },
                 { "device", NULL, "other.pem", true }, { "responder", "other.pem", NULL, false } };
    connector_answer out;
    const scep_err *err;

    row = apr_psprintf(p, "%d %s", _i, rows[_i].name);
    if (!strcmp(rows[_i].name, "device"))
        cmp_room_sign(room.other, fixture_key(2));
    else if (!strcmp(rows[_i].name, "root"))
        cmp_room_sign(room.root, fixture_key(1));
    else
        cmp_room_sign(room.responder, fixture_key(3));
    if (rows[_i].server_cert)
        room.authority.cmp.server_cert = cmp_room_file(rows[_i].server_cert);
    if (rows[_i].trusted)
        room.authority.cmp.trusted = cmp_room_file(rows[_i].trusted);
    err = cmp_room_submit(&out, "", false);
    if (rows[_i].good) {
        assert_ok(err);
        ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
        return;
    }
    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert(out.asked);
    if (!rows[_i].server_cert)
        ck_assert_msg(strstr(err->detail, "CN=other") && strstr(err->detail, "server_cert"), "%s",
                      err->detail);
}
END_TEST

/* ---- transport ---- */

START_TEST(each_status_has_its_meaning)
{
    static const struct {
        int status, code;
        bool asked;
    } rows[] = { { 404, SCEP_CONFIG, false },      { 403, SCEP_CONFIG, false },
                 { 302, SCEP_CONFIG, false },      { 503, SCEP_UNAVAILABLE, false },
                 { 429, SCEP_UNAVAILABLE, false }, { 500, SCEP_UNAVAILABLE, true },
                 { -1, SCEP_UNAVAILABLE, true },   { 201, SCEP_CONFIG, true },
                 { 202, SCEP_CONFIG, true },       { 303, SCEP_CONFIG, false } };
    apr_time_t begun = apr_time_now();
    connector_answer out;

    row = apr_psprintf(p, "%d", rows[_i].status);
    room.ca.http = rows[_i].status;
    assert_code(rows[_i].code, cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.asked, rows[_i].asked);
    ck_assert_int_lt(apr_time_sec(apr_time_now() - begun), 10);
}
END_TEST

START_TEST(over_tls_both_show_who_they_are)
{
    static const struct {
        const char *tls_ca;
        int code;
    } rows[] = { { NULL, SCEP_OK }, { "other.pem", SCEP_UNAVAILABLE } };
    connector_answer out;

    row = rows[_i].tls_ca ? rows[_i].tls_ca : "ca_cert";
    cmp_room_secure();
    room.authority.cmp.tls_ca = rows[_i].tls_ca ? cmp_room_file(rows[_i].tls_ca) : NULL;
    room.authority.cmp.tls_cert = cmp_room_file("ra.pem");
    room.authority.cmp.tls_key = cmp_room_file("ra.key");
    assert_code(rows[_i].code, cmp_room_submit(&out, "", false));
    ck_assert_int_eq(service_count(room.server), rows[_i].code ? 0 : 2);
    if (rows[_i].code)
        ck_assert(!out.asked);
    else
        ck_assert_str_eq(room.ca.peer, "CN=RA");
}
END_TEST

START_TEST(nobody_there_was_not_asked)
{
    connector_answer out;

    room.authority.cmp.url = "http://127.0.0.1:1/";
    assert_code(SCEP_UNAVAILABLE, cmp_room_submit(&out, "", false));
    ck_assert(!out.asked);
}
END_TEST

/* ---- check, revoke ---- */

START_TEST(check_needs_an_answer_that_is_protected)
{
    connector *c = cmp_room_open();

    assert_ok(c->check(c, deadline_in(apr_time_from_sec(20)), p));
    room.authority.cmp.secret = cmp_room_file("wrong");
    c = cmp_room_open();
    FIXTURE_MUST(OSSL_CMP_SRV_CTX_set_send_unprotected_errors(room.ca.engine, 1));
    assert_code(SCEP_UNAVAILABLE, c->check(c, deadline_in(apr_time_from_sec(20)), p));
}
END_TEST

START_TEST(a_revocation_reaches_the_ca)
{
    connector *c = cmp_room_open();
    moment until = deadline_in(apr_time_from_sec(20));
    const scep_err *err;
    scep_bytes der;

    assert_ok(scep_cert_der(&der, room.device, p));
    assert_ok(c->revoke(c, der, CRL_REASON_SUPERSEDED, until, p));
    ck_assert_int_eq(room.ca.revoked, 1);
    room.ca.status = OSSL_CMP_PKISTATUS_rejection;
    room.ca.fail_info = OSSL_CMP_CTX_FAILINFO_badCertId;
    room.ca.text = "no such certificate";
    err = c->revoke(c, der, CRL_REASON_SUPERSEDED, until, p);
    assert_code(SCEP_REFUSED, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "no such certificate"));
    room.ca.fail_info = OSSL_CMP_CTX_FAILINFO_certRevoked;
    assert_ok(c->revoke(c, der, CRL_REASON_SUPERSEDED, until, p));
    room.ca.spoil = true;
    assert_code(SCEP_UNAVAILABLE, c->revoke(c, der, CRL_REASON_SUPERSEDED, until, p));
}
END_TEST

/* ---- pure ---- */

START_TEST(a_recipient_is_a_name)
{
    static const struct {
        const char *text, *name; /* NULL: refused */
    } rows[] = {
        { "/CN=CA", "CN=CA" },
        { "/DC=test/DC=corp/CN=Z\xc3\xbcrich CA", "CN=Z\\C3\\BCrich CA,DC=corp,DC=test" },
        { "/CN=a\\/b", "CN=a/b" },
        { "CN=CA", NULL },
        { "/CN", NULL },
        { "/NOTHING=x", NULL },
        { "", NULL },
        { "/", NULL },
    };
    const X509_NAME *name;

    row = rows[_i].text;
    if (!rows[_i].name) {
        assert_code(SCEP_CONFIG, cmp_name(&name, row, p));
        return;
    }
    assert_ok(cmp_name(&name, row, p));
    ck_assert_str_eq(scep_name_line(name, p), rows[_i].name);
}
END_TEST

/* ---- a name that clerks share ---- */

#define NAMES 10000

static const X509_NAME *names[NAMES];
static atomic_int ready_for[2];

/* Each name at the same time as the other one. */
static void *copy_names(void *data)
{
    const int me = *(int *)data;

    for (int i = 0; i < NAMES; i++) {
        X509_NAME *copy;

        ready_for[me] = i + 1;
        for (int spins = 0; ready_for[!me] < i + 1; spins++)
            if (spins > 1000) /* he may want this processor */
                sched_yield();
        copy = X509_NAME_dup(names[i]);
        FIXTURE_MUST(copy && !X509_NAME_cmp(copy, names[0]));
        X509_NAME_free(copy);
    }
    return NULL;
}

/* OpenSSL encodes a name when it is wanted, and writes into it as it does. */
START_TEST(several_clerks_may_copy_the_recipient)
{
    int numbers[] = { 0, 1 };
    pthread_t threads[2];

    for (int i = 0; i < NAMES; i++)
        assert_ok(cmp_name(&names[i], "/DC=test/O=Example/CN=CA", p));
    for (int i = 0; i < 2; i++)
        FIXTURE_MUST(pthread_create(&threads[i], NULL, copy_names, &numbers[i]) == 0);
    for (int i = 0; i < 2; i++)
        FIXTURE_MUST(pthread_join(threads[i], NULL) == 0);
}
END_TEST

START_TEST(what_has_no_room_is_left_out)
{
    connector_answer out;
    cmp_kept whole, part;
    const char *text;
    unsigned char *more;
    scep_bytes trimmed, again;

    cmp_room_sign(room.responder, fixture_key(3));
    room.ca.waits = 5;
    assert_ok(cmp_room_submit(&out, "", false));
    assert_ok(cmp_kept_read(&whole, out.cookie, p));
    ck_assert_int_gt(whole.waits.len, 0);
    ck_assert_int_gt(whole.polled.len, 0);
    /* with a longer pollRep this is left out */
    more = apr_pcalloc(p, 3000);
    memcpy(more, "\x30\x82\x0b\xb4\x04\x82\x0b\xb0", 8);
    part = whole;
    part.polled = (scep_bytes){ more, 3000 };
    assert_ok(cmp_kept_write(&text, &part, false, p));
    assert_ok(cmp_kept_read(&part, text, p));
    ck_assert_int_eq(part.polled.len, 0);
    assert_bytes(part.waits, whole.waits);
    /* and a signer's certificate that ca.conf names */
    assert_ok(cmp_message_trim(&trimmed, whole.waits, 0, p));
    ck_assert_uint_lt(trimmed.len + 500, whole.waits.len);
    assert_ok(cmp_message_trim(&again, trimmed, 1, p));
    assert_bytes(again, trimmed);
    part.waits = (scep_bytes){ more, 3000 };
    part.polled.len = 0;
    assert_ok(cmp_kept_write(&text, &part, true, p));
    more = apr_pcalloc(p, 4000);
    memcpy(more, "\x30\x82\x0f\x9c\x04\x82\x0f\x98", 8);
    part.waits = (scep_bytes){ more, 4000 };
    assert_code(SCEP_UNAVAILABLE, cmp_kept_write(&text, &part, true, p));
}
END_TEST

/* RFC 9483 3.3: the signer's certificate, and what certifies it behind it. */
START_TEST(certificates_are_kept_as_there_is_room)
{
    connector_answer out;
    cmp_kept whole, part;
    scep_bytes one, all, above;
    const char *text;
    unsigned char *more;

    assert_ok(scep_cert_der(&above, cmp_room_sign_below(), p));
    room.ca.waits = 2;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_PENDING);
    assert_ok(cmp_kept_read(&whole, out.cookie, p));
    assert_ok(cmp_message_trim(&one, whole.waits, 1, p));
    assert_ok(cmp_message_trim(&all, whole.waits, 10, p));
    assert_bytes(whole.waits, all);
    ck_assert_uint_gt(all.len, one.len + above.len - 10);
    /* a pollRep that leaves room for one */
    part = whole;
    part.polled.len = CONNECTOR_COOKIE_MOST / 4 * 3 - one.len - 100;
    more = apr_pcalloc(p, part.polled.len);
    memcpy(more, "\x30\x82\0\0\x04\x82", 6); /* an OCTET STRING in a SEQUENCE */
    more[2] = (unsigned char)((part.polled.len - 4) >> 8);
    more[3] = (unsigned char)(part.polled.len - 4);
    more[6] = (unsigned char)((part.polled.len - 8) >> 8);
    more[7] = (unsigned char)(part.polled.len - 8);
    part.polled.data = more;
    assert_ok(cmp_kept_write(&text, &part, false, p));
    assert_ok(cmp_kept_read(&part, text, p));
    assert_bytes(part.waits, one);
    ck_assert_uint_gt(part.polled.len, 0);
    /* and with the whole of it another process goes on */
    assert_ok(cmp_room_submit(&out, out.cookie, false));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
}
END_TEST

START_TEST(what_is_no_message_is_not_trimmed)
{
    static const char *const rows[] = { "",
                                        "\x30",
                                        "\x30\x03\x02\x01",
                                        "\x04\x01\x41",
                                        "\x30\x04\xa1\x02\x04\x00",
                                        "\x30\x02\xa1\x00" };
    static const size_t lengths[] = { 0, 1, 4, 3, 6, 4 };
    scep_bytes out;

    row = apr_psprintf(p, "%d", _i);
    assert_code(
        SCEP_INTERNAL,
        cmp_message_trim(&out, (scep_bytes){ (const unsigned char *)rows[_i], lengths[_i] }, 1, p));
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_checked_fixture(c, begin_room, cmp_room_end);
    tcase_add_loop_test(c, each_rejection_has_its_meaning, 0, 16);
    tcase_add_loop_test(c, an_answer_that_was_changed_decides_nothing, 0, 2);
    tcase_add_test(c, several_clerks_may_copy_the_recipient);
    tcase_add_test(c, an_error_without_protection_decides_nothing);
    tcase_add_loop_test(c, only_the_ca_speaks_for_the_ca, 0, 6);
    tcase_add_loop_test(c, each_status_has_its_meaning, 0, 10);
    tcase_add_loop_test(c, over_tls_both_show_who_they_are, 0, 2);
    tcase_add_test(c, nobody_there_was_not_asked);
    tcase_add_test(c, check_needs_an_answer_that_is_protected);
    tcase_add_test(c, a_revocation_reaches_the_ca);
    tcase_add_loop_test(c, a_recipient_is_a_name, 0, 8);
    tcase_add_test(c, what_has_no_room_is_left_out);
    tcase_add_test(c, certificates_are_kept_as_there_is_room);
    tcase_add_loop_test(c, what_is_no_message_is_not_trimmed, 0, 6);
}

int main(void)
{
    return run_suite("connector_cmp_answers", add_tests);
}
