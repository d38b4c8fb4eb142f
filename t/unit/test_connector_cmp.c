/* The connector cmp: certificates, requests that wait and answers that are lost. RFC 4210, RFC
 * 9483. */
#include "suite.h"

#include "cmp_room.h"

#include <apr_strings.h>
#include <string.h>

static void begin_room(void)
{
    cmp_room_begin(p);
}

static void assert_is(scep_bytes der, const X509 *cert)
{
    scep_bytes wanted;

    assert_ok(scep_cert_der(&wanted, cert, p));
    assert_bytes(der, wanted);
}

/* ---- issued ---- */

START_TEST(each_command_brings_a_certificate_by_either_protection)
{
    static const struct {
        const char *command, *proof;
        bool signs;
    } rows[] = { { "p10cr", "p10cr", false }, { "ir", "crmf", false }, { "cr", "crmf", false },
                 { "p10cr", "p10cr", true },  { "ir", "crmf", true },  { "cr", "crmf", true } };
    connector_answer out;

    row = rows[_i].command;
    if (rows[_i].signs)
        cmp_room_sign(room.responder, fixture_key(3));
    room.authority.cmp.command = rows[_i].command;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    assert_is(out.der, room.device);
    ck_assert_str_eq(room.ca.proof, rows[_i].proof);
    ck_assert_int_eq(room.ca.confirmed, 1);
    ck_assert_int_eq(service_count(room.server), 2);
}
END_TEST

static bool holds(scep_bytes text, scep_bytes what)
{
    for (size_t i = 0; i + what.len <= text.len; i++)
        if (!memcmp(text.data + i, what.data, what.len))
            return true;
    return false;
}

START_TEST(what_the_device_asks_for_arrives)
{
    static const char *const commands[] = { "p10cr", "ir" };
    connector_answer out;

    row = room.authority.cmp.command = commands[_i];
    room.ca.status = OSSL_CMP_PKISTATUS_rejection; /* so that the request is the last message */
    assert_ok(cmp_room_submit(&out, "", false));
    /* in a template its tag is another one */
    ck_assert(holds(room.ca.last, (scep_bytes){ room.csr->spki.data + 1, room.csr->spki.len - 1 }));
    ck_assert(holds(room.ca.last, scep_bytes_of("device.test")));
    /* the CSR as it is, with the device's signature; a template has no challenge in it */
    ck_assert_int_eq(holds(room.ca.last, room.csr->der), !strcmp(row, "p10cr"));
    ck_assert_int_eq(holds(room.ca.last, scep_bytes_of("secret")), !strcmp(row, "p10cr"));
}
END_TEST

START_TEST(nothing_of_the_ras_own_certificate_is_asked_for)
{
    static const struct {
        const char *command, *san;
    } rows[] = { { "ir", NULL }, { "cr", NULL }, { "ir", "DNS:device.test" } };
    const fixture_request request = { .san = rows[_i].san };
    connector_answer out;

    row = apr_psprintf(p, "%s %s", rows[_i].command, rows[_i].san ? rows[_i].san : "-");
    cmp_room_sign_as_host();
    room.authority.cmp.command = rows[_i].command;
    room.ca.status = OSSL_CMP_PKISTATUS_rejection; /* so that the request is the last message */
    assert_ok(scep_csr_read(&room.csr, fixture_csr(&request, p), p));
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_str_eq(room.ca.proof, "crmf");
    ck_assert_int_eq(room.ca.names, rows[_i].san ? 1 : 0);
    ck_assert_str_eq(room.ca.issuer, "CN=Root");
}
END_TEST

START_TEST(the_ca_may_do_without_a_confirmation)
{
    connector_answer out;

    room.authority.cmp.implicit_confirm = true;
    FIXTURE_MUST(OSSL_CMP_SRV_CTX_set_grant_implicit_confirm(room.ca.engine, 1));
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    ck_assert_int_eq(room.ca.confirmed, 0);
    ck_assert_int_eq(service_count(room.server), 1);
}
END_TEST

START_TEST(the_template_goes_as_profile_where_it_is_wanted)
{
    connector_answer out;

    room.authority.cmp.profile = _i;
    room.ca.status = OSSL_CMP_PKISTATUS_rejection;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(holds(room.ca.last, scep_bytes_of("wifi at the CA")), _i);
}
END_TEST

START_TEST(the_transaction_is_kept_before_it_begins)
{
    connector_answer out;
    cmp_kept read;

    room.ca.status = OSSL_CMP_PKISTATUS_rejection;
    assert_ok(cmp_room_submit(&out, "", false));
    assert_ok(cmp_kept_read(&read, room.kept, p));
    ck_assert(holds(room.ca.last, (scep_bytes){ read.id, CMP_ID_SIZE }));
    ck_assert_int_eq(read.waits.len, 0);
}
END_TEST

START_TEST(what_cannot_be_kept_is_not_asked_for)
{
    connector *c = cmp_room_open();
    connector_answer out = { .outcome = CONNECTOR_DENIED };
    const connector_ask ask = { .template = &cmp_room_template,
                                .csr = room.csr,
                                .id = "1",
                                .cookie = "",
                                .keep = cmp_room_keep,
                                .baton = &out,
                                .until = deadline_in(apr_time_from_sec(20)) };

    assert_code(SCEP_UNAVAILABLE, c->submit(&out, c, &ask, p));
    ck_assert(!out.asked);
    ck_assert_int_eq(service_count(room.server), 0);
}
END_TEST

START_TEST(a_certificate_of_another_key_is_refused_and_handed_on)
{
    connector_answer out;

    room.ca.cert = room.other;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    assert_is(out.der, room.other);
    ck_assert_int_eq(room.ca.refused, 1);
    ck_assert_int_eq(room.ca.confirmed, 0);
}
END_TEST

/* ---- waiting ---- */

START_TEST(a_request_that_waits_is_polled_by_any_process)
{
    connector_answer out;

    if (_i >= 1)
        cmp_room_sign(room.responder, fixture_key(3));
    if (_i == 2)
        room.authority.cmp.server_cert = cmp_room_file("responder.pem");
    room.ca.waits = 4;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_PENDING);
    ck_assert_int_eq(out.after, 5);
    ck_assert_ptr_nonnull(strstr(out.reason, "an officer looks at it"));
    ck_assert_int_le((int)strlen(out.cookie), CONNECTOR_COOKIE_MOST);
    ck_assert_int_eq(service_count(room.server), 2);
    for (int polls = 2; polls <= 3; polls++) {
        assert_ok(cmp_room_submit(&out, out.cookie, false));
        ck_assert_int_eq(out.outcome, CONNECTOR_PENDING);
        ck_assert_int_eq(room.ca.polled, polls);
    }
    assert_ok(cmp_room_submit(&out, out.cookie, false));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    assert_is(out.der, room.device);
    ck_assert_int_eq(room.ca.polled, 4);
    ck_assert_int_eq(room.ca.issued, 1);
    ck_assert_int_eq(room.ca.confirmed, 1);
}
END_TEST

START_TEST(a_first_poll_that_breaks_leaves_it_waiting)
{
    connector_answer out;

    room.ca.waits = 2;
    room.ca.drop = 2;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_PENDING);
    ck_assert_int_eq(out.cookie[0], 'b');
    /* its answer could have been the certificate */
    assert_ok(cmp_room_submit(&out, out.cookie, false));
    ck_assert_int_eq(out.outcome, CONNECTOR_LOST);
}
END_TEST

START_TEST(a_poll_that_breaks_is_repeated)
{
    connector_answer out;
    const char *cookie;

    room.ca.waits = 5;
    assert_ok(cmp_room_submit(&out, "", false));
    cookie = out.cookie;
    room.ca.http = 503;
    assert_code(SCEP_UNAVAILABLE, cmp_room_submit(&out, cookie, false));
    ck_assert(!out.asked);
    ck_assert_int_eq(room.kept[0], 'w');
    room.ca.http = 0;
    room.ca.drop = 1;
    assert_code(SCEP_UNAVAILABLE, cmp_room_submit(&out, cookie, false));
    ck_assert(out.asked);
    ck_assert_int_eq(room.kept[0], 'b');
    /* a CA that insists on the nonce of what was lost ends the transaction */
    assert_ok(cmp_room_submit(&out, room.kept, false));
    ck_assert_int_eq(out.outcome, CONNECTOR_LOST);
}
END_TEST

START_TEST(a_rejection_after_waiting_is_one_unless_an_answer_was_lost)
{
    connector_answer out;

    room.ca.waits = 2;
    assert_ok(cmp_room_submit(&out, "", false));
    room.ca.status = OSSL_CMP_PKISTATUS_rejection;
    room.ca.text = "not in the list";
    assert_ok(cmp_room_submit(&out, out.cookie, _i));
    ck_assert_int_eq(out.outcome, _i ? CONNECTOR_LOST : CONNECTOR_DENIED);
    ck_assert_ptr_nonnull(strstr(out.reason, "not in the list"));
}
END_TEST

START_TEST(what_was_kept_is_believed_only_while_it_can_be_checked)
{
    connector_answer out;
    const char *cookie;
    size_t at;
    char *spoilt;

    room.ca.waits = 5;
    assert_ok(cmp_room_submit(&out, "", false));
    cookie = out.cookie;
    room.authority.cmp.secret = cmp_room_file("wrong");
    assert_code(SCEP_CONFIG, cmp_room_submit(&out, cookie, false));
    room.authority.cmp.secret = cmp_room_file("secret");
    spoilt = apr_pstrdup(p, cookie);
    at = strlen("w ") + 2 * CMP_ID_SIZE + 400;
    spoilt[at] = spoilt[at] == 'A' ? 'B' : 'A';
    assert_code(SCEP_CONFIG, cmp_room_submit(&out, spoilt, false));
    assert_code(SCEP_CONFIG, cmp_room_submit(&out, "w 00", false));
    ck_assert_int_eq(room.ca.polled, 1);
}
END_TEST

START_TEST(a_poll_whose_answer_was_changed_leaves_nothing_of_it)
{
    connector_answer out;
    cmp_kept kept;

    room.ca.waits = 5;
    room.ca.spoilt = 2;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_PENDING);
    assert_ok(cmp_kept_read(&kept, out.cookie, p));
    ck_assert_int_gt(kept.waits.len, 0);
    ck_assert_int_eq(kept.polled.len, 0);
    ck_assert(kept.broken);
    /* the CA is asked, and insists on the nonce of what was changed */
    assert_ok(cmp_room_submit(&out, out.cookie, false));
    ck_assert_int_eq(out.outcome, CONNECTOR_LOST);
    ck_assert_int_eq(service_count(room.server), 3);
}
END_TEST

START_TEST(a_ca_out_of_order_after_waiting_is_asked_anew)
{
    connector_answer out;

    room.ca.waits = 1;
    room.ca.status = OSSL_CMP_PKISTATUS_rejection;
    room.ca.fail_info = OSSL_CMP_CTX_FAILINFO_systemUnavail;
    assert_code(SCEP_UNAVAILABLE, cmp_room_submit(&out, "", false));
    ck_assert(!out.asked); /* its word that nothing was issued */
    ck_assert_int_eq(room.ca.polled, 1);
}
END_TEST

/* ---- lost ---- */

START_TEST(what_waits_and_cannot_be_kept_is_not_asked_for_again)
{
    char *text = apr_palloc(p, CONNECTOR_COOKIE_MOST);
    connector_answer out;

    memset(text, 'a', CONNECTOR_COOKIE_MOST - 1);
    text[CONNECTOR_COOKIE_MOST - 1] = '\0';
    if (_i)
        room.authority.cmp.server_cert = cmp_room_file("ca.pem");
    if (_i)
        cmp_room_sign(room.root, fixture_key(1));
    room.ca.waits = 5;
    room.ca.text = text;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_LOST);
    ck_assert_msg(strstr(out.reason, _i ? "say less" : "server_cert") != NULL, "%s", out.reason);
    ck_assert_ptr_nonnull(strstr(out.reason, room.kept + 2));
}
END_TEST

/* RFC 4210 5.3.18 */
START_TEST(an_error_to_a_confirmation_is_no_rejection_of_the_request)
{
    connector_answer out;

    room.ca.errs = true;
    room.ca.waits = _i;
    assert_ok(cmp_room_submit(&out, "", false));
    if (_i == 2) /* not the first look, but the next one brings it */
        assert_ok(cmp_room_submit(&out, out.cookie, false));
    ck_assert_int_eq(room.ca.issued, 1);
    ck_assert_int_eq(out.outcome, CONNECTOR_LOST);
    ck_assert_ptr_nonnull(strstr(out.reason, scep_cert_serial(room.device, p)));
    ck_assert_msg(strstr(out.reason, "error processing message") != NULL, "%s", out.reason);
}
END_TEST

START_TEST(a_lost_answer_is_not_asked_for_again)
{
    connector_answer out;
    const char *id;

    room.ca.drop = 1;
    assert_code(SCEP_UNAVAILABLE, cmp_room_submit(&out, "", false));
    ck_assert(out.asked);
    ck_assert_int_eq(room.ca.issued, 1);
    id = room.kept + 2;
    assert_ok(cmp_room_submit(&out, room.kept, true));
    ck_assert_int_eq(out.outcome, CONNECTOR_LOST);
    ck_assert_ptr_nonnull(strstr(out.reason, id));
    ck_assert_int_eq(service_count(room.server), 1);
    /* nothing was kept, and so nothing was asked */
    assert_ok(cmp_room_submit(&out, "", true));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    room.authority.cmp.resubmit = true;
    assert_ok(cmp_room_submit(&out, "t 00112233445566778899AABBCCDDEEFF", true));
    ck_assert_int_eq(out.outcome, CONNECTOR_ISSUED);
    ck_assert_int_eq(room.ca.issued, 3);
}
END_TEST

START_TEST(a_confirmation_without_an_answer_is_lost)
{
    connector_answer out;

    room.ca.drop = 2;
    assert_ok(cmp_room_submit(&out, "", false));
    ck_assert_int_eq(out.outcome, CONNECTOR_LOST);
    ck_assert_ptr_nonnull(strstr(out.reason, scep_cert_serial(room.device, p)));
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_checked_fixture(c, begin_room, cmp_room_end);
    tcase_add_loop_test(c, each_command_brings_a_certificate_by_either_protection, 0, 6);
    tcase_add_loop_test(c, what_the_device_asks_for_arrives, 0, 2);
    tcase_add_loop_test(c, nothing_of_the_ras_own_certificate_is_asked_for, 0, 3);
    tcase_add_test(c, the_ca_may_do_without_a_confirmation);
    tcase_add_loop_test(c, the_template_goes_as_profile_where_it_is_wanted, 0, 2);
    tcase_add_test(c, the_transaction_is_kept_before_it_begins);
    tcase_add_test(c, what_cannot_be_kept_is_not_asked_for);
    tcase_add_test(c, a_certificate_of_another_key_is_refused_and_handed_on);
    tcase_add_loop_test(c, a_request_that_waits_is_polled_by_any_process, 0, 3);
    tcase_add_test(c, a_first_poll_that_breaks_leaves_it_waiting);
    tcase_add_test(c, a_poll_that_breaks_is_repeated);
    tcase_add_loop_test(c, a_rejection_after_waiting_is_one_unless_an_answer_was_lost, 0, 2);
    tcase_add_test(c, what_was_kept_is_believed_only_while_it_can_be_checked);
    tcase_add_test(c, a_poll_whose_answer_was_changed_leaves_nothing_of_it);
    tcase_add_test(c, a_ca_out_of_order_after_waiting_is_asked_anew);
    tcase_add_loop_test(c, what_waits_and_cannot_be_kept_is_not_asked_for_again, 0, 2);
    tcase_add_loop_test(c, an_error_to_a_confirmation_is_no_rejection_of_the_request, 0, 3);
    tcase_add_test(c, a_lost_answer_is_not_asked_for_again);
    tcase_add_test(c, a_confirmation_without_an_answer_is_lost);
}

int main(void)
{
    return run_suite("connector_cmp", add_tests);
}
