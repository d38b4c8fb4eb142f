/* Authorities whose CA is elsewhere: what is answered while the store is away, what is settled
 * twice, and what is judged again. */
#include "remote_suite.h"
#include "store_int.h"
#include "submission.h"

#include <apr_dbd.h>
#include <apr_strings.h>

/* ---- a store that is away ---- */

typedef struct other {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
} other;

static void other_says(const other *db, const char *sql)
{
    int rows;

    ck_assert_msg(apr_dbd_query(db->driver, db->handle, &rows, sql) == 0, "%s", sql);
}

static other other_open(void)
{
    other db;

    ck_assert_int_eq(apr_dbd_get_driver(p, "sqlite3", &db.driver), 0);
    ck_assert_int_eq(apr_dbd_open(db.driver, p, o->conf->store + strlen("sqlite3:"), &db.handle),
                     0);
    return db;
}

START_TEST(a_certificate_in_hand_waits_for_a_store_that_is_away)
{
    other db = other_open();

    o->timeout = apr_time_from_sec(2);
    remote_room_does(ca, REMOTE_HANGS);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    ck_assert(remote_room_asked(ca, 1));
    store_patience_set(o->store, 0);
    other_says(&db, "BEGIN IMMEDIATE");
    remote_room_does(ca, REMOTE_ISSUES);
    await_lines("SCEP0281", 1);
    other_says(&db, "ROLLBACK");
    ck_assert_int_eq(apr_dbd_close(db.driver, db.handle), 0);
    ck_assert(remote_room_is(o, "1", "issued", p));
    ck_assert_int_eq(ca->asked, 1);
    ck_assert_int_eq(office_room_count(o, p), 1);
    ck_assert_int_eq(lines_of("SCEP0256"), 0);
    await_lines("SCEP0250: ask", 1);
}
END_TEST

/* What the CA would send. */
static const issued_cert *made_for(const store_request *queued)
{
    const connector_ask ask = { .template =
                                    conf_template_find(ca->authority->conf, queued->template_name),
                                .id = queued->id,
                                .cookie = "",
                                .until = deadline_in(apr_time_from_sec(5)) };
    connector_ask asked = ask;
    connector_answer got = { 0 };
    scep_csr *csr;

    assert_ok(scep_csr_read(&csr, queued->csr, p));
    asked.csr = csr;
    assert_ok(ca->real->submit(&got, ca->real, &asked, p));
    return got.cert;
}

static submission *claimed(const char *id)
{
    submission *m;

    remote_room_does(ca, REMOTE_IS_DOWN);
    assert_status(enrol(id), SCEP_STATUS_PENDING);
    ck_assert(office_clerks_stop(o, apr_time_from_sec(5)));
    assert_ok(submission_claim(&m, o->store, remote_room_row(o, id, p)->id, 35, p));
    ck_assert_ptr_nonnull(m);
    assert_ok(office_clerks_start(o, p));
    return m;
}

/* As where a commit's acknowledgement was lost, and what it holds is done once more. */
START_TEST(what_is_settled_twice_is_held_twice_and_happens_once)
{
    submission *m = claimed("1"), *denied = claimed("2"), *waits = claimed("3");
    submission first = *m;
    const issued_cert *cert = made_for(m->row), *another = made_for(m->row);
    bool held;

    assert_ok(submission_keep(m, o->store, "kept", p));
    assert_ok(submission_keep(&first, o->store, "kept", p));
    for (int i = 0; i < 2; i++) {
        assert_ok(submission_issued(&held, m, o->store, cert, p));
        ck_assert(held);
        assert_ok(submission_denied(&held, denied, o->store, "no", p));
        ck_assert(held);
        assert_ok(submission_waits(&held, waits, o->store, "c", "", 600, p));
        ck_assert(held);
    }
    ck_assert_int_eq(office_room_count(o, p), 1);
    assert_ok(submission_issued(&held, m, o->store, another, p));
    ck_assert(!held);
    assert_ok(submission_denied(&held, m, o->store, "no", p));
    ck_assert(!held);
    assert_ok(submission_denied(&held, denied, o->store, "never", p));
    ck_assert(!held);
    assert_ok(submission_waits(&held, waits, o->store, "d", "", 600, p));
    ck_assert(!held);
    ck_assert_int_eq(office_room_count(o, p), 1);
    assert_issued(poll("1"), 0);
}
END_TEST

/* ---- judged again ---- */

START_TEST(S_08_a_renewal_that_is_asked_later_is_not_asked_where_its_certificate_was_revoked)
{
    scep_wire_verdict v = enrol("1");
    fixture_request r = { .message_type = "17",
                          .transaction_id = "2",
                          .signer_key = fixture_key(0),
                          .key = fixture_key(2) };

    assert_issued(v, 0);
    assert_ok(scep_cert_read(&r.signer, v.certificate, p));
    remote_room_does(ca, REMOTE_IS_DOWN);
    assert_status(office_room_renew(o, "open", &r, p), SCEP_STATUS_PENDING);
    r.transaction_id = "3";
    r.key = fixture_key(3);
    assert_status(office_room_renew(o, "open", &r, p), SCEP_STATUS_PENDING);
    ck_assert_int_eq(ca->asked, 3);
    remote_room_does(ca, REMOTE_BREAKS);
    later(30);
    ck_assert(remote_room_broke(o, "2", p));
    ck_assert(remote_room_broke(o, "3", p));
    remote_room_does(ca, REMOTE_ISSUES);
    later(30); /* it was good when the CA was asked */
    ck_assert(remote_room_is(o, "2", "issued", p));
    ck_assert(remote_room_is(o, "3", "issued", p));
    remote_room_does(ca, REMOTE_KEEPS_DOWN); /* what it wants kept has nobody heard of */
    r.transaction_id = "4";
    r.key = fixture_key(4);
    assert_status(office_room_renew(o, "open", &r, p), SCEP_STATUS_PENDING);
    assert_ok(office_room_revoke(o, scep_cert_serial(r.signer, p), p));
    remote_room_does(ca, REMOTE_ISSUES);
    later(30);
    ck_assert(remote_room_is(o, "4", "denied", p));
    ck_assert_str_eq(remote_room_row(o, "4", p)->by, "scep-ca");
    ck_assert_ptr_nonnull(strstr(remote_room_row(o, "4", p)->reason, "is revoked"));
    v = office_room_poll(o, "open", "4", fixture_key(0), p);
    assert_status(v, SCEP_STATUS_REFUSED);
    ck_assert_ptr_nonnull(strstr(v.detail, "is revoked"));
    ck_assert_int_eq(ca->issued, 3);
}
END_TEST

START_TEST(who_is_leaving_looks_for_nothing_more_and_serves_who_calls)
{
    remote_room_does(ca, REMOTE_IS_DOWN);
    assert_status(enrol("1"), SCEP_STATUS_PENDING);
    office_clerks_leave(o);
    remote_room_does(ca, REMOTE_ISSUES);
    later(30);
    apr_sleep(apr_time_from_sec(2));
    ck_assert_str_eq(remote_room_row(o, "1", p)->state, "queued");
    assert_issued(enrol("2"), 0);
    ck_assert_int_eq(ca->asked, 2);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, a_certificate_in_hand_waits_for_a_store_that_is_away);
    tcase_add_test(cases, what_is_settled_twice_is_held_twice_and_happens_once);
    tcase_add_test(
        cases, S_08_a_renewal_that_is_asked_later_is_not_asked_where_its_certificate_was_revoked);
    tcase_add_test(cases, who_is_leaving_looks_for_nothing_more_and_serves_who_calls);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office_settle", add_tests);
    office_room_done();
    return status;
}
