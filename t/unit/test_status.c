/* What the office tells of itself, and the warnings before certificates end. */
#include "office_suite.h"

#include "certs.h"
#include "clock.h"
#include "ending.h"
#include "issue.h"

#include <apr_strings.h>
#include <string.h>

/* ---- the state ---- */

static scep_wire_state status(void)
{
    scep_wire_state out;

    assert_ok(office_status(&out, o, p));
    return out;
}

static const scep_wire_endpoint_state *of_endpoint(const scep_wire_state *s, const char *name)
{
    for (int i = 0; i < s->endpoints->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(s->endpoints, i, scep_wire_endpoint_state).name, name))
            return &APR_ARRAY_IDX(s->endpoints, i, scep_wire_endpoint_state);
    ck_abort_msg("no endpoint %s", name);
}

static void assert_counts(const char *endpoint, const uint64_t wanted[7])
{
    scep_wire_state s = status();
    const scep_wire_endpoint_state *e = of_endpoint(&s, endpoint);
    const uint64_t had[7] = { e->unused,  e->waiting, e->issued, e->refused,
                              e->pending, e->later,   e->minted };
    static const char *const names[7] = { "unused",  "waiting", "issued", "refused",
                                          "pending", "later",   "minted" };

    for (int i = 0; i < 7; i++)
        ck_assert_msg(had[i] == wanted[i], "%s: %s: %s is %lu, not %lu", row, endpoint, names[i],
                      (unsigned long)had[i], (unsigned long)wanted[i]);
}

START_TEST(each_answer_is_counted_where_it_was_given)
{
    const char *challenge = office_room_mint(o, "manual", p);
    const fixture_request waits = { .challenge = challenge };
    const fixture_request open = { .challenge = NULL };
    const fixture_request wrong = { .challenge = "wrong" };
    scep_wire_verdict v;

    assert_counts("manual", (const uint64_t[7]){ 1, 0, 0, 0, 0, 0, 1 });
    v = office_room_enrol(o, "manual", "1", fixture_csr(&waits, p), p);
    ck_assert_uint_eq(v.status, SCEP_STATUS_PENDING);
    assert_counts("manual", (const uint64_t[7]){ 0, 1, 0, 0, 1, 0, 1 });
    v = office_room_enrol(o, "manual", "2", fixture_csr(&wrong, p), p);
    ck_assert_uint_eq(v.status, SCEP_STATUS_REFUSED);
    assert_counts("manual", (const uint64_t[7]){ 0, 1, 0, 1, 1, 0, 1 });
    v = office_room_enrol(o, "open", "3", fixture_csr(&open, p), p);
    ck_assert_msg(v.status == SCEP_STATUS_ISSUED, "%s", v.detail);
    assert_counts("open", (const uint64_t[7]){ 0, 0, 1, 0, 0, 0, 0 });
    assert_counts("manual", (const uint64_t[7]){ 0, 1, 0, 1, 1, 0, 1 });
    /* at no endpoint: nobody's answer */
    v = office_room_enrol(o, "nowhere", "4", fixture_csr(&open, p), p);
    ck_assert_uint_eq(v.status, SCEP_STATUS_REFUSED);
    assert_counts("open", (const uint64_t[7]){ 0, 0, 1, 0, 0, 0, 0 });
}
END_TEST

START_TEST(an_expired_challenge_is_not_unused)
{
    (void)office_room_mint(o, "manual", p);
    (void)office_room_mint(o, "manual", p);
    assert_counts("manual", (const uint64_t[7]){ 2, 0, 0, 0, 0, 0, 2 });
    /* nothing has swept them */
    scep_clock_set(apr_time_now() + apr_time_from_sec(DAY));
    assert_counts("manual", (const uint64_t[7]){ 0, 0, 0, 0, 0, 0, 2 });
}
END_TEST

static apr_int64_t end_of(const X509 *cert)
{
    apr_int64_t end;

    assert_ok(scep_time_seconds(&end, X509_get0_notAfter(cert), p));
    return end;
}

START_TEST(the_state_names_each_authority_with_what_will_end)
{
    scep_wire_state s = status();
    const scep_wire_authority_state *a;

    ck_assert_uint_eq(s.store, 1);
    ck_assert_str_eq(s.detail, "");
    ck_assert_str_ne(s.version, "");
    ck_assert_uint_le(s.since, (uint64_t)apr_time_sec(apr_time_now()));
    ck_assert_uint_ge(s.since, (uint64_t)apr_time_sec(apr_time_now()) - 60);
    ck_assert_int_eq(s.authorities->nelts, 2);
    ck_assert_int_eq(s.endpoints->nelts, o->endpoints->nelts);
    a = &APR_ARRAY_IDX(s.authorities, 0, scep_wire_authority_state);
    ck_assert_str_eq(a->name, "default");
    ck_assert_str_eq(a->subject, "CN=Office Test CA");
    ck_assert_uint_eq(a->ca_ends, (uint64_t)end_of(office_room_ca(o, 0)));
    ck_assert_uint_eq(a->ra_ends, (uint64_t)end_of(office_room_ra(o, 0)->sign.cert));
    ck_assert_uint_eq(a->crl_number, 0);
    ck_assert_uint_eq(a->crl_next, 0);
    ck_assert_uint_eq(of_endpoint(&s, "Other.Example")->most, 2);
    ck_assert_str_eq(of_endpoint(&s, "later")->authority, "successor");
}
END_TEST

START_TEST(the_state_tells_the_newest_crl)
{
    const scep_wire_sign_crl in = { .authority = "default", .by = "root" };
    scep_wire_done done;
    scep_wire_state s;

    assert_ok(office_sign_crl(&done, o, &in, NULL, NULL, p));
    s = status();
    ck_assert_uint_eq(APR_ARRAY_IDX(s.authorities, 0, scep_wire_authority_state).crl_number, 1);
    ck_assert_uint_gt(APR_ARRAY_IDX(s.authorities, 0, scep_wire_authority_state).crl_next,
                      (uint64_t)apr_time_sec(apr_time_now()));
}
END_TEST

START_TEST(a_store_that_does_not_answer_is_told_and_the_rest_is_too)
{
    scep_wire_state s;

    (void)office_room_mint(o, "manual", p);
    store_close(o->store);
    s = status();
    ck_assert_uint_eq(s.store, 0);
    ck_assert_str_ne(s.detail, "");
    ck_assert_int_eq(s.authorities->nelts, 2);
    ck_assert_uint_eq(of_endpoint(&s, "manual")->minted, 1);
    ck_assert_uint_eq(of_endpoint(&s, "manual")->unused, 0);
}
END_TEST

/* ---- what will end ---- */

static int lines_with(const char *wanted)
{
    const char *log = office_room_log(p);
    int n = 0;

    while ((log = strstr(log, wanted))) {
        n++;
        log++;
    }
    return n;
}

static void warn_at(ending *e, apr_int64_t seconds)
{
    scep_clock_set(apr_time_from_sec(seconds));
    assert_ok(ending_warn(e, o, p));
}

#define CA_LINE "[authority default]: the certificate of the CA \"CN=Office Test CA\" (serial "

START_TEST(one_line_a_day_from_30_days_before_a_certificate_ends)
{
    apr_int64_t end = end_of(office_room_ca(o, 0));
    ending *e = ending_make(p);
    static const struct {
        const char *name;
        apr_int64_t before; /* seconds before its end */
        int lines;          /* so far */
    } rows[] = {
        { "31 days", 31 * DAY, 0 },
        { "a second more than 30 days", 30 * DAY + 1, 0 },
        { "30 days", 30 * DAY, 1 },
        { "a minute later", 30 * DAY - 60, 1 },
        { "almost a day later", 29 * DAY + 1, 1 },
        { "29 days", 29 * DAY, 2 },
        { "28 days and an hour", 28 * DAY + 3600, 2 },
        { "28 days", 28 * DAY, 3 },
        { "after a pause", 1 * DAY, 4 },
        { "the clock was set back", 5 * DAY, 5 },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        row = rows[i].name;
        warn_at(e, end - rows[i].before);
        ck_assert_msg(lines_with(CA_LINE) == rows[i].lines, "%s: %d lines, not %d: %s", row,
                      lines_with(CA_LINE), rows[i].lines, office_room_log(p));
    }
    ck_assert_int_eq(lines_with(apr_pstrcat(p, CA_LINE, scep_cert_serial(office_room_ca(o, 0), p),
                                            ") ends in 29 days, at ", NULL)),
                     1);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "prepare a CA that takes over"));
}
END_TEST

START_TEST(each_certificate_in_use_is_named)
{
    ending *e = ending_make(p);

    warn_at(e, end_of(office_room_ca(o, 0)) - 60 * DAY);
    ck_assert_int_eq(lines_with("SCEP0294"), 0);
    warn_at(e, end_of(office_room_ca(o, 0)) - 20 * DAY);
    ck_assert_int_eq(lines_with("SCEP0294: [authority default]: the certificate of the CA "), 1);
    ck_assert_int_eq(
        lines_with("SCEP0294: [authority default]: the certificate of the RA (signing) "), 1);
    ck_assert_int_eq(
        lines_with("SCEP0294: [authority default]: the certificate of the RA (encryption) "), 1);
    ck_assert_int_eq(lines_with("SCEP0294: [authority successor]: "), 3);
    ck_assert_int_eq(lines_with("SCEP0294"), 6);
    ck_assert_int_eq(lines_with("[scep:warn]"), 6);
}
END_TEST

START_TEST(where_scep_ca_renews_no_RA_it_says_so)
{
    office_authority *a = APR_ARRAY_IDX(o->authorities, 0, office_authority *);

    a->connector->remote = true;
    warn_at(ending_make(p), end_of(office_room_ca(o, 0)) - 20 * DAY);
    a->connector->remote = false;
    ck_assert_int_eq(lines_with("scep-ca does not renew it: replace the files"), 2);
    ck_assert_int_eq(lines_with("scep-ca renews it by itself"), 2); /* the other authority's */
}
END_TEST

START_TEST(one_that_has_ended_is_an_error_of_its_own)
{
    ending *e = ending_make(p);

    warn_at(e, end_of(office_room_ra(o, 0)->sign.cert) + 1);
    ck_assert_int_eq(lines_with("SCEP0295: NDES-10 [authority default]: the certificate of the RA "
                                "(signing) "),
                     1);
    ck_assert_int_eq(lines_with(") has ended at "), lines_with("[scep:error]"));
}
END_TEST

/* Each node has its own log. */
START_TEST(each_process_warns_for_itself)
{
    apr_int64_t then = end_of(office_room_ca(o, 0)) - 5 * DAY;

    warn_at(ending_make(p), then);
    warn_at(ending_make(p), then);
    ck_assert_int_eq(lines_with(CA_LINE), 2);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, each_answer_is_counted_where_it_was_given);
    tcase_add_test(cases, an_expired_challenge_is_not_unused);
    tcase_add_test(cases, the_state_names_each_authority_with_what_will_end);
    tcase_add_test(cases, the_state_tells_the_newest_crl);
    tcase_add_test(cases, a_store_that_does_not_answer_is_told_and_the_rest_is_too);
    tcase_add_test(cases, one_line_a_day_from_30_days_before_a_certificate_ends);
    tcase_add_test(cases, each_certificate_in_use_is_named);
    tcase_add_test(cases, where_scep_ca_renews_no_RA_it_says_so);
    tcase_add_test(cases, one_that_has_ended_is_an_error_of_its_own);
    tcase_add_test(cases, each_process_warns_for_itself);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("status", add_tests);
    office_room_done();
    return status;
}
