/* Who gets a challenge, the single password, and what is out and taken back. */
#include "chores.h"
#include "office_int.h"
#include "office_suite.h"

#include <apr_strings.h>
#include <string.h>

static const scep_err *ask(scep_wire_minted *out, const char *endpoint, const char *user,
                           const char *template_name)
{
    const scep_wire_mint in = {
        .endpoint = endpoint, .user = user, .peer = "192.0.2.1", .template_name = template_name
    };

    return office_mint(out, o, &in, p);
}

static scep_wire_minted minted(const char *endpoint, const char *user)
{
    scep_wire_minted out;

    assert_ok(ask(&out, endpoint, user, ""));
    return out;
}

static const char *mint(const char *endpoint, const char *user)
{
    scep_wire_minted out = minted(endpoint, user);

    ck_assert_int_eq(out.outcome, SCEP_MINT_DONE);
    return out.challenge;
}

static scep_wire_verdict enrol(const char *endpoint, const char *id, const char *challenge)
{
    const fixture_request r = { .challenge = challenge, .subject = "CN=a" };

    return office_room_enrol(o, endpoint, id, fixture_csr(&r, p), p);
}

static void assert_issued(scep_wire_verdict v)
{
    ck_assert_msg(v.status == SCEP_STATUS_ISSUED, "%s", v.detail);
}

static void assert_no_good(scep_wire_verdict v)
{
    ck_assert_int_eq(v.status, SCEP_STATUS_REFUSED);
    ck_assert_int_eq(v.code, SCEP_CHALLENGE);
}

static bool logged(const char *text)
{
    return strstr(office_room_log(p), text) != NULL;
}

/* ---- who may ---- */

static const struct {
    const char *name, *endpoint, *user, *template_name;
    bool may;
    const char *template_that_refuses;
} asking[] = {
    { "on all templates", "shut", "alice", "", true, NULL },
    { "on one of them only", "shut", "bob", "", false, "Alice" },
    { "bound to that one", "shut", "bob", "Both", true, NULL },
    { "bound to the one for everybody", "shut", "bob", "IPSECIntermediateOffline", true, NULL },
    { "bound to another one", "shut", "bob", "Alice", false, "Alice" },
    { "of a domain", "shut", "CORP\\carol", "Both", true, NULL },
    { "without the domain", "shut", "carol", "Both", false, "Both" },
    { "in other letters", "shut", "Alice", "", false, "Alice" },
    { "a part of a name", "shut", "alic", "", false, "Alice" },
    { "the name of a group", "shut", "@wifi", "Both", false, "Both" },
    { "where no template names anybody", "devices", "zoe", "", true, NULL },
};

START_TEST(a_user_gets_a_challenge_for_templates_that_name_it)
{
    scep_wire_minted out;

    row = asking[_i].name;
    assert_ok(ask(&out, asking[_i].endpoint, asking[_i].user, asking[_i].template_name));
    ck_assert_msg(out.outcome == (asking[_i].may ? SCEP_MINT_DONE : SCEP_MINT_NOT_PERMITTED),
                  "%s: %u", row, out.outcome);
    ck_assert_msg(!out.challenge == !asking[_i].may, "%s", row);
    if (!asking[_i].may)
        ck_assert_msg(logged(apr_psprintf(p,
                                          "verdict=not-permitted reason=\"template %s does not "
                                          "name this user in its enroll\"",
                                          asking[_i].template_that_refuses)),
                      "%s: %s", row, office_room_log(p));
}
END_TEST

START_TEST(an_administrator_needs_no_permission_and_no_patience)
{
    scep_wire_mint in = { .endpoint = "shut", .user = "root for bob", .peer = "scepctl" };
    scep_wire_minted out;

    assert_ok(office_mint_for_administrator(&out, o, &in, p));
    ck_assert_int_eq(out.outcome, SCEP_MINT_DONE);
    in.endpoint = "limited";
    for (int i = 0; i < 5; i++) {
        assert_ok(office_mint_for_administrator(&out, o, &in, p));
        ck_assert_int_eq(out.outcome, SCEP_MINT_DONE);
    }
    assert_ok(office_mint_for_administrator(&out, o, &in, p));
    ck_assert_int_eq(out.outcome, SCEP_MINT_FULL);
    ck_assert(logged("user=\"root for bob\" from=\"scepctl\""));
}
END_TEST

/* ---- the single password ---- */

START_TEST(a_single_password_is_for_all_devices_and_has_no_end)
{
    scep_wire_minted out = minted("single", "admin");
    office *other;

    ck_assert_int_eq(out.single, 1);
    ck_assert_uint_eq(out.expires, 0);
    ck_assert_uint_eq(strlen(out.challenge), 16);
    for (int i = 0; i < 3; i++)
        assert_issued(enrol("single", apr_itoa(p, i), out.challenge));
    ck_assert_str_eq(mint("single", "another"), out.challenge);
    assert_no_good(enrol("devices", "4", out.challenge));
    other = office_room_again(o, p);
    store_close(o->store);
    o = other;
    ck_assert_str_eq(mint("Single", "admin"), out.challenge);
    assert_issued(enrol("single", "5", out.challenge));
}
END_TEST

START_TEST(S_28_a_single_password_is_in_no_log)
{
    const char *single = mint("single", "admin");

    assert_issued(enrol("single", "1", single));
    ck_assert(!logged(single));
}
END_TEST

/* As while another device's request is at the CA. */
START_TEST(a_single_password_is_not_reserved_by_one_device)
{
    const char *single = mint("single", "admin"), *hash;

    assert_ok(challenge_hash(&hash, o->key, "single", scep_bytes_of(single), p));
    assert_ok(reservation_take(o->reservations, hash, "another device", apr_time_now(), p));
    assert_issued(enrol("single", "1", single));
    reservation_drop(o->reservations, hash, "another device");
}
END_TEST

static const scep_err *take_back(const char *id, const char *endpoint)
{
    const scep_wire_revoke_challenge in = { id, endpoint, "root for eve" };
    scep_wire_done done = { 0 };

    return office_revoke_challenge(&done, o, &in, p);
}

static void use_single(const char *endpoint, const char *flag)
{
    assert_ok(scep_settings_set(&office_endpoint_find(o, endpoint)->settings,
                                SCEP_SET_UseSinglePassword, flag, p));
}

START_TEST(what_was_out_before_stays_good_and_one_time)
{
    const char *one_time, *single;

    use_single("single", "off");
    one_time = mint("single", "admin");
    ck_assert_int_eq(minted("single", "admin").outcome, SCEP_MINT_FULL);
    use_single("single", "on");
    single = mint("single", "admin"); /* it needs no place */
    assert_issued(enrol("single", "1", one_time));
    assert_no_good(enrol("single", "2", one_time));
    assert_issued(enrol("single", "3", single));
    use_single("single", "off");
    assert_no_good(enrol("single", "4", single));
}
END_TEST

START_TEST(switched_off_and_on_the_single_password_is_the_same_unless_it_was_revoked)
{
    const char *first = mint("single", "admin"), *second;

    use_single("single", "off");
    use_single("single", "on");
    assert_issued(enrol("single", "1", first));
    ck_assert_str_eq(mint("single", "admin"), first);
    use_single("single", "off");
    assert_ok(take_back("", "single"));
    use_single("single", "on");
    assert_no_good(enrol("single", "2", first));
    second = mint("single", "admin");
    ck_assert_str_ne(second, first);
    assert_issued(enrol("single", "3", second));
}
END_TEST

START_TEST(a_single_password_cannot_be_bound)
{
    scep_wire_mint in = { .endpoint = "single", .user = "admin", .peer = "192.0.2.1" };
    scep_wire_minted out;

    in.subject = "CN=a";
    assert_code(SCEP_BAD_REQUEST, office_mint(&out, o, &in, p));
    in.subject = "";
    in.template_name = "IPSECIntermediateOffline";
    assert_code(SCEP_BAD_REQUEST, office_mint(&out, o, &in, p));
    ck_assert(logged("turn SCEPUseSinglePassword off"));
}
END_TEST

static void set_length(const char *bytes)
{
    assert_ok(scep_settings_set(&office_endpoint_find(o, "single")->settings,
                                SCEP_SET_PasswordLength, bytes, p));
}

static void assert_says_how(const scep_err *err)
{
    assert_code(SCEP_SINGLE_PASSWORD, err);
    ck_assert_ptr_nonnull(
        strstr(err->detail, "scepctl revoke-challenge --endpoint single --single"));
    ck_assert_int_eq(scep_code_describe(err->code)->event, 49);
}

START_TEST(one_that_cannot_be_opened_or_is_too_short_is_an_error_that_says_what_to_do)
{
    scep_wire_minted out;
    store_key *key = o->key, another = *key;

    (void)mint("single", "admin");
    another.bytes[0] ^= 1;
    o->key = &another;
    assert_says_how(ask(&out, "single", "admin", ""));
    o->key = key;
    set_length("16");
    assert_says_how(ask(&out, "single", "admin", ""));
    ck_assert_ptr_null(out.challenge);
}
END_TEST

static int warnings(void)
{
    int n = 0;

    office_singles_judge(o, p);
    for (const char *at = office_room_log(p); (at = strstr(at, "SCEP0297: ")); at++)
        n++;
    return n;
}

START_TEST(the_start_names_a_single_password_that_does_not_fit_and_it_enrols_until_it_is_revoked)
{
    store_key *key = o->key, another = *key;
    const char *kept;

    set_length("16");
    ck_assert_int_eq(warnings(), 0); /* there is none yet */
    set_length("8");
    kept = mint("single", "admin");
    ck_assert_int_eq(warnings(), 0);
    set_length("16");
    ck_assert_int_eq(warnings(), 1);
    ck_assert(logged("NDES-49"));
    ck_assert(logged("8 bytes and not the 16 of SCEPPasswordLength"));
    ck_assert(logged("scepctl revoke-challenge --endpoint single --single"));
    ck_assert(!logged(kept));
    assert_issued(enrol("single", "1", kept));
    use_single("single", "off");
    ck_assert_int_eq(warnings(), 1); /* it is good for nobody */
    use_single("single", "on");
    o->key = &another;
    another.bytes[0] ^= 1;
    ck_assert_int_eq(warnings(), 2);
    ck_assert(logged("cannot be decrypted"));
    o->key = key;
    assert_ok(take_back("", "single"));
    ck_assert_int_eq(warnings(), 2);
    assert_no_good(enrol("single", "2", kept));
    ck_assert_uint_eq(strlen(mint("single", "admin")), 32);
    ck_assert_int_eq(warnings(), 2);
}
END_TEST

/* ---- what is out ---- */

static scep_wire_challenge_page page(const char *endpoint, const char *user, const char *after)
{
    const scep_wire_challenges_of in = { endpoint, user, after };
    scep_wire_challenge_page out = { 0 };

    assert_ok(office_challenges(&out, o, &in, p));
    return out;
}

static scep_wire_challenge only(scep_wire_challenge_page of)
{
    ck_assert_int_eq(of.challenges->nelts, 1);
    return APR_ARRAY_IDX(of.challenges, 0, scep_wire_challenge);
}

START_TEST(each_challenge_says_who_asked_from_where_and_for_which_template)
{
    scep_wire_minted out;
    scep_wire_challenge c;

    (void)mint("shut", "alice");
    assert_ok(ask(&out, "shut", "bob", "Both"));
    c = only(page("SHUT", "alice", ""));
    ck_assert_str_eq(c.endpoint, "shut");
    ck_assert_str_eq(c.peer, "192.0.2.1");
    ck_assert_str_eq(c.templates, "Alice, Both, IPSECIntermediateOffline");
    ck_assert_uint_ge(c.expires, c.created + 3600);
    ck_assert_int_eq(c.single, 0);
    c = only(page("", "bob", ""));
    ck_assert_str_eq(c.templates, "Both");
    ck_assert_uint_eq(c.expires, out.expires);
    ck_assert_int_eq(page("", "", "").challenges->nelts, 2);
    ck_assert_int_eq(page("devices", "", "").challenges->nelts, 0);
}
END_TEST

START_TEST(a_used_one_is_not_out_and_a_single_password_is)
{
    const char *single = mint("single", "admin");
    scep_wire_challenge c;

    assert_issued(enrol("devices", "1", mint("devices", "admin")));
    assert_issued(enrol("single", "2", single));
    c = only(page("", "", ""));
    ck_assert_int_eq(c.single, 1);
    ck_assert_uint_eq(c.expires, 0);
    ck_assert_str_eq(c.endpoint, "single");
    ck_assert_ptr_null(strstr(c.id, single));
    ck_assert_int_eq(page("devices", "", "").challenges->nelts, 0);
    ck_assert_int_eq(page("", "alice", "").challenges->nelts, 0);
}
END_TEST

START_TEST(many_come_in_pages_each_once)
{
    const char *seen = " ";
    scep_wire_challenge_page at = { .after = "" };
    int n = 0, pages = 0;

    assert_ok(scep_settings_set(&office_endpoint_find(o, "devices")->settings, SCEP_SET_PasswordMax,
                                "1000", p));
    for (int i = 0; i < 205; i++)
        (void)mint("devices", i % 2 ? "alice" : "bob");
    (void)mint("manual", "alice");
    do {
        at = page("devices", "alice", at.after);
        pages++;
        for (int i = 0; i < at.challenges->nelts; i++, n++) {
            const char *id = APR_ARRAY_IDX(at.challenges, i, scep_wire_challenge).id;

            ck_assert_ptr_null(strstr(seen, id));
            ck_assert_uint_eq(strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                         "0123456789._"),
                              43);
            seen = apr_pstrcat(p, seen, id, " ", NULL);
        }
    } while (*at.after && pages < 10);
    ck_assert_int_eq(n, 102);
    ck_assert_int_eq(pages, 2);
    assert_code(SCEP_BAD_REQUEST,
                office_challenges(&at, o, &(scep_wire_challenges_of){ "", "", "x" }, p));
}
END_TEST

/* ---- taken back ---- */

START_TEST(a_revoked_challenge_is_no_good_and_gives_its_place_back)
{
    const char *first = mint("Other.Example", "admin"), *id;

    id = only(page("", "", "")).id;
    (void)mint("Other.Example", "bob");
    ck_assert_int_eq(minted("Other.Example", "admin").outcome, SCEP_MINT_FULL);
    assert_ok(take_back(id, ""));
    assert_no_good(enrol("Other.Example", "1", first));
    ck_assert_str_eq(only(page("", "", "")).user, "bob");
    (void)mint("Other.Example", "admin");
    ck_assert_int_eq(minted("Other.Example", "admin").outcome, SCEP_MINT_FULL);
    assert_code(SCEP_BAD_CERT_ID, take_back(id, ""));
    ck_assert_int_eq(minted("Other.Example", "admin").outcome, SCEP_MINT_FULL);
    ck_assert(logged(apr_psprintf(p,
                                  "SCEP0249: revoke-challenge id=\"%s\" endpoint=\"Other.Example\" "
                                  "verdict=revoked code=OK detail=\"\" single=no user=\"admin\" "
                                  "from=\"192.0.2.1\" by=\"root for eve\"",
                                  id)));
    ck_assert(logged("verdict=failed code=BAD_CERT_ID"));
}
END_TEST

START_TEST(a_used_one_cannot_be_revoked)
{
    const char *challenge = mint("devices", "admin");
    const char *id = only(page("", "", "")).id;

    assert_issued(enrol("devices", "1", challenge));
    assert_code(SCEP_BAD_CERT_ID, take_back(id, ""));
    assert_code(SCEP_BAD_CERT_ID, take_back("x", ""));
}
END_TEST

START_TEST(a_revoked_single_password_is_followed_by_another)
{
    const char *first = mint("single", "admin"), *second, *third;

    assert_ok(take_back("", "SINGLE"));
    assert_code(SCEP_BAD_CERT_ID, take_back("", "single"));
    assert_no_good(enrol("single", "1", first));
    second = mint("single", "admin");
    ck_assert_str_ne(first, second);
    assert_no_good(enrol("single", "2", first));
    assert_issued(enrol("single", "3", second));
    assert_ok(take_back(only(page("single", "", "")).id, ""));
    third = mint("single", "admin");
    ck_assert_str_ne(second, third);
    ck_assert(logged("single=yes user=\"admin\""));
}
END_TEST

/* ---- clean-up ---- */

#define EXPIRED 2500

static const scep_err *put_expired(store_tx *tx, void *baton)
{
    for (int i = 0; i < EXPIRED; i++) {
        store_challenge c = {
            .endpoint = "devices", .hash = apr_itoa(p, i), .created = 1, .expires = 2
        };

        SCEP_TRY(store_challenge_put(tx, &c));
    }
    return store_unused_add(tx, "devices", EXPIRED);
}

static const scep_err *left_of_them(store_tx *tx, void *baton)
{
    return store_unused_get(tx, "devices", baton);
}

START_TEST(all_that_expired_together_are_removed_in_one_round)
{
    apr_int64_t left = EXPIRED;
    chores *c;

    assert_ok(store_run(o->store, put_expired, NULL, p));
    assert_ok(chores_start(&c, o, p));
    /* a round is a minute after the other */
    for (int i = 0; left && i < 600; i++) {
        apr_sleep(apr_time_from_msec(50));
        assert_ok(store_run(o->store, left_of_them, &left, p));
    }
    chores_stop(c);
    ck_assert_int_eq(left, 0);
    ck_assert(!logged("SCEP0290"));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_loop_test(cases, a_user_gets_a_challenge_for_templates_that_name_it, 0, ROWS(asking));
    tcase_add_test(cases, an_administrator_needs_no_permission_and_no_patience);
    tcase_add_test(cases, a_single_password_is_for_all_devices_and_has_no_end);
    tcase_add_test(cases, S_28_a_single_password_is_in_no_log);
    tcase_add_test(cases, a_single_password_is_not_reserved_by_one_device);
    tcase_add_test(cases, what_was_out_before_stays_good_and_one_time);
    tcase_add_test(cases,
                   switched_off_and_on_the_single_password_is_the_same_unless_it_was_revoked);
    tcase_add_test(
        cases,
        the_start_names_a_single_password_that_does_not_fit_and_it_enrols_until_it_is_revoked);
    tcase_add_test(cases, a_single_password_cannot_be_bound);
    tcase_add_test(cases,
                   one_that_cannot_be_opened_or_is_too_short_is_an_error_that_says_what_to_do);
    tcase_add_test(cases, each_challenge_says_who_asked_from_where_and_for_which_template);
    tcase_add_test(cases, a_used_one_is_not_out_and_a_single_password_is);
    tcase_add_test(cases, many_come_in_pages_each_once);
    tcase_add_test(cases, a_revoked_challenge_is_no_good_and_gives_its_place_back);
    tcase_add_test(cases, a_used_one_cannot_be_revoked);
    tcase_add_test(cases, a_revoked_single_password_is_followed_by_another);
    tcase_add_test(cases, all_that_expired_together_are_removed_in_one_round);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office: challenges", add_tests);
    office_room_done();
    return status;
}
