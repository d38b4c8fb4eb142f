/* How often something may fail, be asked for, or wait. */
#include "office_suite.h"

#include "certs.h"
#include "clock.h"

#include <apr_strings.h>
#include <string.h>

/* From one address; each attempt is a transaction of its own. */
static scep_wire_verdict attempt(const char *endpoint, const char *peer, const char *challenge)
{
    static int n;
    const fixture_request r = { .challenge = challenge };

    return office_room_enrol_at(o, endpoint, "", peer, apr_psprintf(p, "t%d", ++n),
                                fixture_csr(&r, p), p);
}

static void assert_code_of(scep_wire_verdict v, scep_code code)
{
    ck_assert_msg(v.status == SCEP_STATUS_REFUSED, "%s: status %u: %s", row, v.status, v.detail);
    ck_assert_msg(v.code == (uint32_t)code, "%s: %s: %s", row,
                  scep_code_describe((int)v.code)->name, v.detail);
    ck_assert_msg((v.retry != 0) == (code == SCEP_TOO_OFTEN), "%s: retry %u", row, v.retry);
}

/* The clock stands, so that no token comes back meanwhile. */
static void use_up(const char *peer)
{
    scep_clock_set(apr_time_now());
    for (int i = 0; i < 3; i++)
        assert_code_of(attempt("limited", peer, i % 2 ? "wrong" : NULL),
                       i % 2 ? SCEP_CHALLENGE : SCEP_CHALLENGE_ABSENT);
    assert_code_of(attempt("limited", peer, "wrong"), SCEP_TOO_OFTEN);
    assert_code_of(attempt("limited", peer, NULL), SCEP_TOO_OFTEN);
}

START_TEST(S_27_too_many_failed_challenges_are_told_to_wait)
{
    use_up("192.0.2.1");
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "verdict=refused code=TOO_OFTEN "
                                                     "reason=\"over 3 failed challenges a minute"));
    scep_clock_set(scep_now() + apr_time_from_sec(21));
    assert_code_of(attempt("limited", "192.0.2.1", "wrong"), SCEP_CHALLENGE);
    assert_code_of(attempt("limited", "192.0.2.1", "wrong"), SCEP_TOO_OFTEN);
}
END_TEST

/* A site behind one address is not locked out by one broken device of its own. */
START_TEST(S_27_a_good_challenge_is_never_refused_by_the_limit)
{
    const char *good[4];

    for (int i = 0; i < 3; i++)
        good[i] = office_room_mint(o, "limited", p);
    use_up("192.0.2.1");
    for (int i = 0; i < 3; i++) {
        scep_wire_verdict v = attempt("limited", "192.0.2.1", good[i]);

        ck_assert_msg(v.status == SCEP_STATUS_ISSUED, "%s", v.detail);
    }
    assert_code_of(attempt("limited", "192.0.2.1", "wrong"), SCEP_TOO_OFTEN);
}
END_TEST

START_TEST(S_27_each_address_and_each_endpoint_has_a_limit_of_its_own)
{
    use_up("192.0.2.1");
    assert_code_of(attempt("limited", "192.0.2.2", "wrong"), SCEP_CHALLENGE);
    assert_code_of(attempt("devices", "192.0.2.1", "wrong"), SCEP_CHALLENGE);
}
END_TEST

/* What fails for another reason than its challenge proves that the challenge was good. */
START_TEST(only_challenges_are_counted)
{
    const char *challenge = office_room_mint(o, "limited", p);
    const fixture_request r = { .challenge = challenge, .subject = "" };

    scep_clock_set(apr_time_now());
    for (int i = 0; i < 10; i++) {
        scep_wire_verdict v =
            office_room_enrol_at(o, "limited", "", "192.0.2.1", "1", fixture_csr(&r, p), p);

        assert_code_of(v, SCEP_BAD_SUBJECT);
    }
    assert_code_of(attempt("limited", "192.0.2.1", "wrong"), SCEP_CHALLENGE);
}
END_TEST

static scep_wire_minted mint(const char *user)
{
    const scep_wire_mint in = { .endpoint = "limited", .user = user, .peer = "192.0.2.1" };
    scep_wire_minted out;

    assert_ok(office_mint(&out, o, &in, p));
    return out;
}

START_TEST(a_user_may_ask_for_so_many_challenges_a_minute)
{
    scep_wire_minted out;

    scep_clock_set(apr_time_now());
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq((int)mint("alice").outcome, SCEP_MINT_DONE);
    out = mint("alice");
    ck_assert_int_eq((int)out.outcome, SCEP_MINT_TOO_OFTEN);
    ck_assert_uint_ge(out.retry, 1);
    ck_assert_ptr_null(out.challenge);
    out = mint("bob");
    ck_assert_int_eq((int)out.outcome, SCEP_MINT_DONE);
    ck_assert_uint_eq(out.retry, 0);
    ck_assert_int_eq((int)mint("").outcome, SCEP_MINT_NOT_PERMITTED);
    ck_assert_ptr_nonnull(
        strstr(office_room_log(p), "verdict=too-often reason=\"\" user=\"alice\""));
}
END_TEST

/* PendingMax is 50: five for one address, whatever keys it has. */
START_TEST(S_24_one_address_cannot_fill_the_queue)
{
    for (int i = 0; i < 7; i++) {
        const char *challenge = office_room_mint(o, "manual", p);
        const fixture_request r = { .challenge = challenge,
                                    .key = fixture_key_make(0, "P-256", p) };
        scep_wire_verdict v = office_room_enrol_at(
            o, "manual", "", "192.0.2.1", apr_psprintf(p, "q%d", i), fixture_csr(&r, p), p);

        row = apr_itoa(p, i);
        if (i < 5) {
            ck_assert_msg(v.status == SCEP_STATUS_PENDING, "%s: %s", row, v.detail);
            continue;
        }
        assert_code_of(v, SCEP_REFUSED);
        /* nor is its challenge used up: from another address it is good */
        v = attempt("manual", "192.0.2.2", challenge);
        ck_assert_msg(v.status == SCEP_STATUS_PENDING, "%s: %s", row, v.detail);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, S_27_too_many_failed_challenges_are_told_to_wait);
    tcase_add_test(cases, S_27_a_good_challenge_is_never_refused_by_the_limit);
    tcase_add_test(cases, S_27_each_address_and_each_endpoint_has_a_limit_of_its_own);
    tcase_add_test(cases, only_challenges_are_counted);
    tcase_add_test(cases, a_user_may_ask_for_so_many_challenges_a_minute);
    tcase_add_test(cases, S_24_one_address_cannot_fill_the_queue);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office_limits", add_tests);
    office_room_done();
    return status;
}
