/* Authorities whose CA is elsewhere: what is recorded, asked, answered, found again. */
#include "breaker.h"
#include "remote_suite.h"
#include "submission.h"

#include <apr_strings.h>

/* ---- the straight way ---- */

START_TEST(a_CA_elsewhere_is_asked_once_and_its_certificate_leaves)
{
    scep_bytes csr = csr_with(office_room_mint(o, "strict", p), 0);
    scep_wire_verdict v = office_room_enrol(o, "strict", "1", csr, p), again;

    assert_issued(v, 0);
    ck_assert_str_eq(v.authority, "default");
    ck_assert_int_eq(office_room_count(o, p), 1);
    ck_assert_str_eq(remote_room_row(o, "1", p)->state, "issued");
    ck_assert_str_eq(remote_room_row(o, "1", p)->by, "the CA");
    ck_assert_str_eq(ca->cookie, "");
    ck_assert_str_eq(ca->id, remote_room_row(o, "1", p)->id);
    ck_assert(!ca->lost);
    again = office_room_enrol(o, "strict", "1", csr, p); /* */
    assert_bytes(again.certificate, v.certificate);
    ck_assert_int_eq(ca->asked, 1);
    ck_assert_int_eq(lines_of("SCEP0250"), 0); /* the device's own line says it */
    ck_assert_int_eq(lines_of("verdict=issued"), 1);
}
END_TEST

START_TEST(R_110_R_113_a_CA_that_decides_later_is_asked_again_with_its_cookie)
{
    later(0); /* the clock stands: nothing is due by itself */
    remote_room_does(ca, REMOTE_PENDS);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert_str_eq(remote_room_row(o, "1", p)->state, "waits");
    ck_assert_str_eq(remote_room_row(o, "1", p)->reason, "a manager looks at it");
    assert_status(poll("1"), SCEP_STATUS_PENDING);
    ck_assert_int_eq(ca->asked, 1);
    later(1); /* the second that it wanted */
    ck_assert(remote_room_asked(ca, 2));
    ck_assert_str_eq(ca->cookie, "c1");
    ck_assert(!ca->lost);
    remote_room_does(ca, REMOTE_ISSUES);
    ck_assert(remote_room_is(o, "1", "waits", p));
    later(1);
    ck_assert(remote_room_is(o, "1", "issued", p));
    assert_issued(poll("1"), 0);
    ck_assert_int_eq(office_room_count(o, p), 1);
    await_lines("SCEP0250: ask", 1);
}
END_TEST

START_TEST(R_113_what_the_CA_denies_stays_denied_with_its_reason)
{
    const char *challenge = office_room_mint(o, "strict", p);
    scep_wire_verdict v;

    remote_room_does(ca, REMOTE_DENIES);
    v = office_room_enrol(o, "strict", "1", csr_with(challenge, 0), p);
    assert_status(v, SCEP_STATUS_REFUSED);
    ck_assert_int_eq((int)v.code, SCEP_REFUSED);
    ck_assert_str_eq(v.detail, "the CA denied: not on my list");
    v = office_room_poll(o, "strict", "1", fixture_key(0), p);
    assert_status(v, SCEP_STATUS_REFUSED);
    ck_assert_str_eq(v.detail, "the CA denied: not on my list");
    /* S-07: the ask is what it paid for */
    v = office_room_enrol(o, "strict", "2", csr_with(challenge, 0), p);
    ck_assert_int_eq((int)v.code, SCEP_CHALLENGE);
    ck_assert_int_eq(ca->asked, 1);
}
END_TEST

/* ---- what fails ---- */

START_TEST(a_CA_that_was_not_reached_is_asked_again_as_if_for_the_first_time)
{
    remote_room_does(ca, REMOTE_IS_DOWN);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert_str_eq(remote_room_row(o, "1", p)->state, "queued");
    remote_room_does(ca, REMOTE_ISSUES);
    later(30);
    ck_assert(remote_room_is(o, "1", "issued", p));
    ck_assert(!ca->lost);
    assert_issued(poll("1"), 0);
    ck_assert_int_ge(lines_of("SCEP0253"), 1);
}
END_TEST

START_TEST(a_CA_that_may_have_heard_is_told_so_when_it_is_asked_again)
{
    remote_room_does(ca, REMOTE_BREAKS);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert_str_eq(remote_room_row(o, "1", p)->state, "asked");
    remote_room_does(ca, REMOTE_ISSUES);
    later(30);
    ck_assert(remote_room_is(o, "1", "issued", p));
    ck_assert(ca->lost);
}
END_TEST

START_TEST(what_a_connector_has_kept_before_it_broke_is_there_again)
{
    remote_room_does(ca, REMOTE_KEEPS);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    remote_room_does(ca, REMOTE_ISSUES);
    later(30);
    ck_assert(remote_room_is(o, "1", "issued", p));
    ck_assert_str_eq(ca->cookie, "kept");
    ck_assert(ca->lost);
}
END_TEST

START_TEST(what_a_connector_has_kept_for_an_ask_that_was_not_sent_is_void)
{
    remote_room_does(ca, REMOTE_KEEPS_DOWN);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert_str_eq(remote_room_row(o, "1", p)->state, "queued");
    remote_room_does(ca, REMOTE_PENDS);
    later(30);
    ck_assert(remote_room_is(o, "1", "waits", p));
    ck_assert_str_eq(ca->cookie, "");
    remote_room_does(ca, REMOTE_KEEPS_DOWN);
    later(30);
    ck_assert(remote_room_asked(ca, 3));
    ck_assert_str_eq(ca->cookie, "c2");
    ck_assert(remote_room_is(o, "1", "waits", p));
    remote_room_does(ca, REMOTE_ISSUES);
    later(30);
    ck_assert(remote_room_is(o, "1", "issued", p));
    ck_assert_str_eq(ca->cookie, "c2");
    ck_assert(!ca->lost);
}
END_TEST

START_TEST(a_poll_that_failed_changes_nothing)
{
    later(0); /* the clock stands: nothing is due by itself */
    remote_room_does(ca, REMOTE_PENDS);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    remote_room_does(ca, REMOTE_BREAKS);
    later(1);
    ck_assert(remote_room_asked(ca, 2));
    remote_room_does(ca, REMOTE_ISSUES);
    ck_assert(remote_room_is(o, "1", "waits", p));
    later(30);
    ck_assert(remote_room_is(o, "1", "issued", p));
    ck_assert_str_eq(ca->cookie, "c1");
    ck_assert(!ca->lost);
}
END_TEST

static void lose(const char *id)
{
    remote_room_does(ca, REMOTE_LOSES);
    assert_status(enrol(id), SCEP_STATUS_PENDING);
    ck_assert_str_eq(remote_room_row(o, id, p)->state, "lost");
    /* among those that an administrator has to decide */
    ck_assert_ptr_nonnull(office_room_waiting(o, id, p));
}

START_TEST(what_is_lost_when_it_is_asked_again_says_how_that_began)
{
    remote_room_does(ca, REMOTE_BREAKS);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    remote_room_does(ca, REMOTE_LOSES);
    later(30);
    ck_assert(remote_room_is(o, "1", "lost", p));
    ck_assert_str_eq(remote_room_row(o, "1", p)->reason,
                     "it cannot be known; before that: no answer in time");
}
END_TEST

START_TEST(what_is_lost_is_said_once_and_approved_or_denied)
{
    const char *id;

    lose("1");
    lose("2");
    later(3600);
    assert_status(poll("1"), SCEP_STATUS_PENDING);
    ck_assert_int_eq(lines_of("SCEP0255"), 2);
    ck_assert_int_eq(ca->asked, 2); /* nobody asks by himself */
    remote_room_does(ca, REMOTE_ISSUES);
    id = office_room_waiting(o, "1", p);
    assert_ok(office_room_decide(o, id, true, p));
    ck_assert(!ca->lost);
    ck_assert_str_eq(ca->cookie, "");
    assert_issued(poll("1"), 0);
    ck_assert_str_eq(remote_room_row(o, "1", p)->by, "root");
    assert_code(SCEP_BAD_CERT_ID, office_room_decide(o, id, true, p));
    assert_ok(office_room_decide(o, office_room_waiting(o, "2", p), false, p));
    ck_assert_str_eq(poll("2").detail, "denied by the administrator");
}
END_TEST

START_TEST(five_failures_in_a_row_and_the_CA_is_left_alone_before_a_challenge_is_used)
{
    const char *challenge = office_room_mint(o, "strict", p);
    scep_wire_verdict v;

    remote_room_does(ca, REMOTE_IS_DOWN);
    for (int i = 0; i < BREAKER_FAILURES; i++)
        assert_status(enrol(apr_itoa(p, i)), SCEP_STATUS_PENDING);
    v = office_room_enrol(o, "strict", "x", csr_with(challenge, 0), p);
    assert_status(v, SCEP_STATUS_LATER);
    ck_assert_int_eq((int)v.code, SCEP_UNAVAILABLE);
    ck_assert_ptr_null(remote_room_row(o, "x", p));
    ck_assert_int_eq(ca->asked, BREAKER_FAILURES);
    ck_assert_int_eq(lines_of("SCEP0251"), 1);
    /* the other authority does not notice */
    assert_issued(
        office_room_enrol(o, "later", "y", csr_with(office_room_mint(o, "later", p), 1), p), 1);
}
END_TEST

START_TEST(what_an_administrator_has_to_mend_is_no_fault_of_the_CAs_and_not_asked_every_moment)
{
    remote_room_does(ca, REMOTE_IS_MISUSED);
    for (int i = 0; i <= BREAKER_FAILURES; i++)
        assert_status(enrol(apr_itoa(p, i)), SCEP_STATUS_PENDING);
    ck_assert_int_eq(lines_of("SCEP0251"), 0);
    ck_assert_int_eq(lines_of("SCEP0253"), BREAKER_FAILURES + 1);
    remote_room_does(ca, REMOTE_ISSUES);
    later(290);
    assert_issued(enrol("x"), 0); /* of another template, say */
    apr_sleep(apr_time_from_sec(2));
    ck_assert_int_eq(ca->asked, BREAKER_FAILURES + 2);
    later(15);
    for (int i = 0; i <= BREAKER_FAILURES; i++)
        ck_assert(remote_room_is(o, apr_itoa(p, i), "issued", p));
}
END_TEST

/* ---- a CA that hangs ---- */

START_TEST(a_CA_that_hangs_keeps_nobody_waiting)
{
    apr_time_t begin = apr_time_now();

    o->timeout = apr_time_from_sec(4);
    remote_room_does(ca, REMOTE_HANGS);
    assert_status(enrol("1"), SCEP_STATUS_PENDING); /* within its deadline */
    ck_assert_int_lt(apr_time_now() - begin, apr_time_from_sec(10));
    begin = apr_time_now();
    for (int i = 2; i < 20; i++)
        assert_status(enrol(apr_itoa(p, i)), SCEP_STATUS_PENDING); /* at once */
    ck_assert_int_lt(apr_time_now() - begin, apr_time_from_sec(10));
    ck_assert_int_le(ca->hanging, ca->authority->conf->concurrency);
    remote_room_does(ca, REMOTE_ISSUES);
    for (int i = 1; i < 20; i++)
        ck_assert(remote_room_is(o, apr_itoa(p, i), "issued", p));
    ck_assert_int_eq(ca->issued, 19);
    ck_assert_int_eq(office_room_count(o, p), 19);
    assert_issued(poll("1"), 0);
    await_lines("SCEP0250: ask", 19);
}
END_TEST

/* ---- what is unfit ---- */

static scep_bytes send_of(int which)
{
    X509 *root = office_room_ca(o, 0);
    EVP_PKEY *own = fixture_key(0);
    const fixture_ca *other = fixture_ca_get();
    scep_bytes der;
    X509 *cert;

    if (which == 0)
        return scep_bytes_of("no certificate");
    if (which == 1) /* of the right CA, for another key */
        cert = office_room_ra(o, 0)->sign.cert;
    else if (which == 2) /* of another CA */
        cert = fixture_cert("CN=device", own, other->root, other->root_key, false, 0, p);
    else /* the CA's own */
        cert = root;
    assert_ok(scep_cert_der(&der, cert, p));
    return der;
}

START_TEST(R_089_an_unfit_certificate_is_withheld_and_an_administrator_decides)
{
    static const char *const why[] = { "not one certificate", "another key", "does not chain",
                                       "another key" };

    remote_room_does(ca, REMOTE_SENDS);
    for (int i = 0; i < ROWS(why); i++) {
        const char *id = apr_itoa(p, i);

        row = why[i];
        ca->sends = send_of(i);
        assert_status(enrol(id), SCEP_STATUS_PENDING);
        ck_assert_str_eq(remote_room_row(o, id, p)->state, "withheld");
        ck_assert_msg(strstr(remote_room_row(o, id, p)->reason, why[i]) != NULL, "%s: %s", row,
                      remote_room_row(o, id, p)->reason);
        assert_status(poll(id), SCEP_STATUS_PENDING);
    }
    ck_assert_int_eq(office_room_count(o, p), 0);
    ck_assert_int_eq(lines_of("SCEP0254"), ROWS(why));
    remote_room_does(ca, REMOTE_ISSUES);
    assert_ok(office_room_decide(o, office_room_waiting(o, "2", p), true, p));
    assert_issued(poll("2"), 0);
    assert_ok(office_room_decide(o, office_room_waiting(o, "1", p), false, p));
    assert_status(poll("1"), SCEP_STATUS_REFUSED);
}
END_TEST

START_TEST(R_089_a_certificate_that_another_request_got_already_is_withheld)
{
    scep_wire_verdict first = enrol("1");

    assert_issued(first, 0);
    remote_room_does(ca, REMOTE_SENDS);
    ca->sends = first.certificate;
    assert_status(enrol("2"), SCEP_STATUS_PENDING);
    ck_assert_str_eq(remote_room_row(o, "2", p)->state, "withheld");
    ck_assert_int_eq(office_room_count(o, p), 1);
}
END_TEST

/* ---- approval ---- */

static scep_wire_verdict enrol_manual(const char *id)
{
    return office_room_enrol(o, "manual", id, csr_with(office_room_mint(o, "manual", p), 0), p);
}

static scep_wire_done approve(const char *id)
{
    const scep_wire_decide in = {
        .id = office_room_waiting(o, id, p), .approve = 1, .reason = "", .by = "root"
    };
    scep_wire_done done = { 0 };

    assert_ok(office_decide(&done, o, &in, p));
    return done;
}

START_TEST(what_an_administrator_approves_goes_to_the_CA_then)
{
    scep_wire_done done;

    assert_status(enrol_manual("1"), SCEP_STATUS_PENDING);
    assert_status(enrol_manual("2"), SCEP_STATUS_PENDING);
    ck_assert_int_eq(ca->asked, 0);
    done = approve("1");
    ck_assert_int_gt((int)strlen(done.serial), 0);
    assert_issued(office_room_poll(o, "manual", "1", fixture_key(0), p), 0);
    remote_room_does(ca, REMOTE_PENDS);
    done = approve("2");
    ck_assert_str_eq(done.serial, "");
    ck_assert_ptr_nonnull(strstr(done.text, "was given to the CA: a manager looks at it"));
    ck_assert_ptr_null(office_room_waiting(o, "2", p)); /* it is the CA's turn */
    assert_code(SCEP_BAD_CERT_ID, office_room_decide(o, remote_room_row(o, "2", p)->id, true, p));
    remote_room_does(ca, REMOTE_ISSUES);
    ck_assert(remote_room_is(o, "2", "issued", p));
    ck_assert_str_eq(remote_room_row(o, "2", p)->by, "root");
}
END_TEST

START_TEST(what_waits_at_the_CA_can_be_denied_and_its_certificate_never_leaves)
{
    remote_room_does(ca, REMOTE_HANGS);
    o->timeout = apr_time_from_sec(2);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert(remote_room_asked(ca, 1));
    assert_ok(office_room_decide(o, remote_room_row(o, "1", p)->id, false, p));
    remote_room_does(ca, REMOTE_ISSUES);
    await_lines("SCEP0256", 1);
    ck_assert_int_eq(office_room_count(o, p), 0);
    assert_status(poll("1"), SCEP_STATUS_REFUSED);
}
END_TEST

/* ---- revocation ---- */

static int told;

static const scep_err *refuse_to_revoke(connector *self, scep_bytes der, int reason, moment until,
                                        apr_pool_t *pool)
{
    told++;
    return scep_fail(pool, REFUSED, "not by you");
}

static const scep_err *do_revoke(connector *self, scep_bytes der, int reason, moment until,
                                 apr_pool_t *pool)
{
    X509 *cert;

    told++;
    ck_assert_int_eq(reason, 1);
    ck_assert_int_gt(deadline_left(until), 0);
    return scep_cert_read(&cert, der, pool);
}

START_TEST(a_CA_elsewhere_is_told_before_a_certificate_is_revoked_and_may_refuse)
{
    scep_wire_verdict v = enrol("1");
    const char *serial;
    X509 *cert;

    assert_issued(v, 0);
    assert_ok(scep_cert_read(&cert, v.certificate, p));
    serial = scep_cert_serial(cert, p);
    ca->base.revoke = refuse_to_revoke;
    assert_code(SCEP_REFUSED, office_room_revoke(o, serial, p));
    assert_issued(poll("1"), 0); /* it is good still */
    ca->base.revoke = do_revoke;
    assert_ok(office_room_revoke(o, serial, p));
    ck_assert_int_eq(told, 2);
    assert_status(poll("1"), SCEP_STATUS_REFUSED);
    assert_code(SCEP_BAD_CERT_ID, office_room_revoke(o, serial, p));
    ck_assert_int_eq(told, 2); /* it knows */
}
END_TEST

START_TEST(whoever_revokes_is_told_where_the_CA_elsewhere_was_not)
{
    scep_wire_verdict v = enrol("1");
    scep_wire_revoke in = { .authority = "", .reason = 1, .by = "root" };
    scep_wire_done done;
    X509 *cert;

    assert_issued(v, 0);
    assert_ok(scep_cert_read(&cert, v.certificate, p));
    in.serial = scep_cert_serial(cert, p);
    ca->base.revoke = NULL;
    assert_ok(office_revoke(&done, o, &in, NULL, NULL, p));
    ck_assert_msg(strstr(done.text, "the CA was not told: revoke it there as well") != NULL, "%s",
                  done.text);
}
END_TEST

/* ---- other processes ---- */

START_TEST(who_leaves_does_not_wait_for_a_CA_that_hangs)
{
    o->timeout = apr_time_from_sec(2);
    remote_room_does(ca, REMOTE_HANGS);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert(remote_room_asked(ca, 1));
    ck_assert(!office_clerks_stop(o, apr_time_from_msec(200)));
    remote_room_does(ca, REMOTE_ISSUES);
    ck_assert(office_clerks_stop(o, apr_time_from_sec(10)));
    ck_assert_str_eq(remote_room_row(o, "1", p)->state, "issued");
    /* nobody is there any more: nothing is recorded */
    ck_assert_int_eq((int)enrol("2").code, SCEP_UNAVAILABLE);
    ck_assert_ptr_null(remote_room_row(o, "2", p));
    assert_ok(office_clerks_start(o, p));
}
END_TEST

START_TEST(what_a_killed_process_was_asking_about_is_asked_again_when_its_claim_ends)
{
    submission *m;

    ck_assert(office_clerks_stop(o, apr_time_from_sec(5)));
    o->clerks = NULL;
    ck_assert_ptr_nonnull(ca);
    remote_room_does(ca, REMOTE_IS_DOWN);
    assert_ok(office_clerks_start(o, p));
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert(office_clerks_stop(o, apr_time_from_sec(5)));
    later(0); /* the clock stands */
    /* as a process that died would leave it */
    assert_ok(submission_claim(&m, o->store, remote_room_row(o, "1", p)->id, 35, p));
    ck_assert_ptr_nonnull(m);
    assert_ok(submission_keep(m, o->store, "kept", p));
    remote_room_does(ca, REMOTE_ISSUES);
    assert_ok(office_clerks_start(o, p));
    later(30);
    apr_sleep(apr_time_from_sec(2));
    ck_assert_int_eq(ca->asked, 1); /* somebody may still ask */
    later(10);
    ck_assert(remote_room_is(o, "1", "issued", p));
    ck_assert_int_eq(ca->asked, 2);
    ck_assert(ca->lost);
    ck_assert_str_eq(ca->cookie, "kept");
    assert_issued(poll("1"), 0);
}
END_TEST

START_TEST(a_claim_that_was_taken_over_settles_nothing)
{
    submission *first, *second;
    bool held = true;

    remote_room_does(ca, REMOTE_IS_DOWN);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert(office_clerks_stop(o, apr_time_from_sec(5)));
    assert_ok(submission_claim(&first, o->store, remote_room_row(o, "1", p)->id, 35, p));
    assert_ok(submission_claim(&second, o->store, first->row->id, 35, p));
    ck_assert_ptr_null(second);
    later(36);
    assert_ok(submission_claim(&second, o->store, first->row->id, 35, p));
    ck_assert_ptr_nonnull(second);
    ck_assert(second->lost);
    assert_ok(submission_denied(&held, first, o->store, "no", p));
    ck_assert(!held);
    assert_code(SCEP_UNAVAILABLE, submission_keep(first, o->store, "x", p));
    assert_ok(submission_waits(&held, first, o->store, "x", "", 1, p));
    ck_assert(!held);
    ck_assert_str_eq(remote_room_row(o, "1", p)->state, "asked");
    assert_ok(submission_denied(&held, second, o->store, "no", p));
    ck_assert(held);
    assert_ok(office_clerks_start(o, p));
}
END_TEST

START_TEST(two_nodes_ask_about_each_request_once)
{
    office *other = office_room_again(o, p);
    remote *theirs = remote_room_up(other, p);

    remote_room_does(ca, REMOTE_HANGS);
    remote_room_does(theirs, REMOTE_ISSUES);
    o->timeout = apr_time_from_sec(1);
    for (int i = 0; i < 40; i++)
        assert_status(enrol(apr_itoa(p, i)), SCEP_STATUS_PENDING);
    remote_room_does(ca, REMOTE_ISSUES);
    later(10); /* due for all */
    for (int i = 0; i < 40; i++)
        ck_assert(remote_room_is(o, apr_itoa(p, i), "issued", p));
    ck_assert_int_eq(ca->issued + theirs->issued, 40);
    ck_assert_int_eq(office_room_count(o, p), 40);
    remote_room_down(other, theirs);
    store_close(other->store);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, a_CA_elsewhere_is_asked_once_and_its_certificate_leaves);
    tcase_add_test(cases, R_110_R_113_a_CA_that_decides_later_is_asked_again_with_its_cookie);
    tcase_add_test(cases, R_113_what_the_CA_denies_stays_denied_with_its_reason);
    tcase_add_test(cases, a_CA_that_was_not_reached_is_asked_again_as_if_for_the_first_time);
    tcase_add_test(cases, a_CA_that_may_have_heard_is_told_so_when_it_is_asked_again);
    tcase_add_test(cases, what_a_connector_has_kept_before_it_broke_is_there_again);
    tcase_add_test(cases, what_a_connector_has_kept_for_an_ask_that_was_not_sent_is_void);
    tcase_add_test(cases, a_poll_that_failed_changes_nothing);
    tcase_add_test(cases, what_is_lost_when_it_is_asked_again_says_how_that_began);
    tcase_add_test(cases, what_is_lost_is_said_once_and_approved_or_denied);
    tcase_add_test(cases,
                   five_failures_in_a_row_and_the_CA_is_left_alone_before_a_challenge_is_used);
    tcase_add_test(
        cases, what_an_administrator_has_to_mend_is_no_fault_of_the_CAs_and_not_asked_every_moment);
    tcase_add_test(cases, a_CA_that_hangs_keeps_nobody_waiting);
    tcase_add_test(cases, R_089_an_unfit_certificate_is_withheld_and_an_administrator_decides);
    tcase_add_test(cases, R_089_a_certificate_that_another_request_got_already_is_withheld);
    tcase_add_test(cases, what_an_administrator_approves_goes_to_the_CA_then);
    tcase_add_test(cases, what_waits_at_the_CA_can_be_denied_and_its_certificate_never_leaves);
    tcase_add_test(cases, a_CA_elsewhere_is_told_before_a_certificate_is_revoked_and_may_refuse);
    tcase_add_test(cases, whoever_revokes_is_told_where_the_CA_elsewhere_was_not);
    tcase_add_test(cases, who_leaves_does_not_wait_for_a_CA_that_hangs);
    tcase_add_test(cases,
                   what_a_killed_process_was_asking_about_is_asked_again_when_its_claim_ends);
    tcase_add_test(cases, a_claim_that_was_taken_over_settles_nothing);
    tcase_add_test(cases, two_nodes_ask_about_each_request_once);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office_remote", add_tests);
    office_room_done();
    return status;
}
