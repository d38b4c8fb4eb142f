/* Requests that a policy module judges: one challenge gets one certificate, whatever waits, is lost
 * or comes late. The module here does what docs/policy-module.md says. */
#include "office_room.h"
#include "remote_room.h"
#include "suite.h"

#include "clerks.h"
#include "clock.h"
#include "policy_module_int.h"

#include <apr_strings.h>
#include <string.h>

static office *o;

/* What it remembers of its one challenge, and what it was told last. */
static struct {
    bool down, deaf; /* every call fails; notify fails */
    const char *waits, *certificate;
    int verified;
    _Atomic int told, told_issued; /* by any thread */
    remote *hurries;               /* its CA issues while the module hears of PENDING */
    _Atomic bool hangs, hung;      /* while it hears of a certificate */
    const char *heard;             /* dispositions in the order of their ends */
    module_call last;
    apr_pool_t *pool; /* its own: any thread calls it */
} module;

static void await_flag(const _Atomic bool *flag, bool value)
{
    for (int i = 0; i < 500 && *flag != value; i++)
        apr_sleep(20000);
    ck_assert(*flag == value);
}

/* @return what it notes of a notification, after what holds it up */
static const char *hear(const module_call *c)
{
    if (c->disposition == POLICY_MODULE_PENDING && module.hurries) {
        remote_room_does(module.hurries, REMOTE_ISSUES);
        apr_sleep(apr_time_from_msec(500));
    }
    if (c->disposition == POLICY_MODULE_SUCCESS && module.hangs) {
        module.hung = true;
        await_flag(&module.hangs, false);
    }
    return c->disposition == POLICY_MODULE_PENDING ? "pending " : "end ";
}

static const scep_err *claim(const char **what, const char *value, apr_pool_t *pool)
{
    if (!*what)
        *what = apr_pstrdup(module.pool, value);
    return strcmp(*what, value) ? scep_fail(pool, UNAVAILABLE, "another request's") : NULL;
}

static const scep_err *answer(module_answer *out, policy_module *m, const module_call *c,
                              apr_pool_t *pool)
{
    (void)m;
    module.last = *c;
    module.last.transaction_id = apr_pstrdup(module.pool, c->transaction_id);
    module.last.challenge = scep_bytes_dup(module.pool, c->challenge);
    module.last.csr = scep_bytes_dup(module.pool, c->csr);
    out->yes = true;
    if (module.down || (module.deaf && c->kind == MODULE_NOTIFY))
        return scep_fail(pool, UNAVAILABLE, "down");
    if (c->kind == MODULE_GENERATE)
        out->challenge = "made";
    if (c->kind == MODULE_NOTIFY)
        module.heard = apr_pstrcat(module.pool, module.heard ? module.heard : "", hear(c), NULL);
    module.verified += c->kind == MODULE_VERIFY;
    module.told += c->kind == MODULE_NOTIFY;
    module.told_issued += c->kind == MODULE_NOTIFY && c->disposition == POLICY_MODULE_SUCCESS;
    if (c->kind == MODULE_VERIFY)
        out->yes = c->renewal || (c->challenge.len && !module.certificate &&
                                  (!module.waits || !strcmp(module.waits, c->transaction_id)));
    if (c->kind != MODULE_NOTIFY || !c->challenge.len)
        return NULL;
    if (c->disposition == POLICY_MODULE_PENDING)
        return claim(&module.waits, c->transaction_id, pool);
    return c->disposition ? NULL
                          : claim(&module.certificate, scep_base64(pool, c->certificate), pool);
}

static void up(void)
{
    static policy_module fake;

    o = office_room_up(p);
    memset(&module, 0, sizeof(module));
    FIXTURE_MUST(apr_pool_create(&module.pool, NULL) == APR_SUCCESS);
    fake = (policy_module){
        .endpoint = "it", .address = "nowhere", .timeout = apr_time_from_sec(300), .call = answer
    };
    for (int i = 0; i < o->endpoints->nelts; i++)
        APR_ARRAY_IDX(o->endpoints, i, office_endpoint *)->module = &fake;
}

static void down(void)
{
    scep_clock_set(0);
    office_room_down(o);
    apr_pool_destroy(module.pool);
}

/* A request of its own key, named by its number, with the one challenge. */
static scep_wire_verdict enrol(const char *endpoint, int n)
{
    const fixture_request r = { .key = fixture_key(n), .challenge = "one" };

    return office_room_enrol(o, endpoint, apr_itoa(p, n), fixture_csr(&r, p), p);
}

static scep_wire_verdict poll_for(const char *endpoint, int n)
{
    return office_room_poll(o, endpoint, apr_itoa(p, n), fixture_key(n), p);
}

static const scep_err *approve(int n)
{
    return office_room_decide(o, office_room_waiting(o, apr_itoa(p, n), p), true, p);
}

START_TEST(one_challenge_gets_one_certificate_of_requests_that_wait)
{
    module.deaf = true; /* so that all of them get in */
    for (int n = 0; n < 3; n++)
        ck_assert_int_eq(enrol("manual", n).status, SCEP_STATUS_PENDING);
    module.deaf = false;
    ck_assert_int_eq(module.verified, 3);
    assert_ok(approve(1));
    ck_assert_int_eq(module.verified, 4);
    assert_code(SCEP_CHALLENGE, approve(0));
    assert_code(SCEP_CHALLENGE, approve(2));
    ck_assert_int_eq(office_room_count(o, p), 1);
    ck_assert_int_eq(poll_for("manual", 1).status, SCEP_STATUS_ISSUED);
    ck_assert_int_eq(poll_for("manual", 0).status, SCEP_STATUS_PENDING);
    assert_ok(office_room_decide(o, office_room_waiting(o, "0", p), false, p));
}
END_TEST

START_TEST(a_challenge_whose_request_waits_is_no_other_requests)
{
    ck_assert_int_eq(enrol("manual", 0).status, SCEP_STATUS_PENDING);
    ck_assert_int_eq(enrol("manual", 1).code, SCEP_CHALLENGE);
    assert_ok(approve(0));
}
END_TEST

/* "S-1-5-21-1-2-3-1104" */
#define SID_EXTENSION                                                           \
    "1.3.6.1.4.1.311.25.2=DER:3025A023060A2B060104018237190201A0150413532D312D" \
    "352D32312D312D322D332D31313034"

/* Of an authority without a directory none is confirmed. */
START_TEST(a_SID_is_asked_about_only_for_whom_the_module_knows)
{
    fixture_request r = { .key = fixture_key(0), .challenge = "one", .extensions = SID_EXTENSION };
    office_endpoint *e = office_endpoint_find(o, "devices");
    scep_wire_verdict v;

    for (int i = 0; i < e->authority->conf->templates->nelts; i++)
        APR_ARRAY_IDX(e->authority->conf->templates, i, conf_template *)->allow_sid =
            CONF_SID_DIRECTORY;
    module.waits = "another";
    v = office_room_enrol(o, "devices", "0", fixture_csr(&r, p), p);
    ck_assert_msg(v.code == SCEP_CHALLENGE, "%s", v.detail);
    module.waits = NULL;
    v = office_room_enrol(o, "devices", "0", fixture_csr(&r, p), p);
    ck_assert_msg(v.code == SCEP_REFUSED && strstr(v.detail, "no directory to confirm it"), "%s",
                  v.detail);
    ck_assert_int_eq(module.verified, 2);
    ck_assert_int_eq(module.told_issued, 0);
    r.extensions = NULL;
    v = office_room_enrol(o, "devices", "1", fixture_csr(&r, p), p);
    ck_assert_msg(v.status == SCEP_STATUS_ISSUED, "%s", v.detail);
}
END_TEST

START_TEST(a_module_that_is_down_leaves_the_request_waiting)
{
    ck_assert_int_eq(enrol("manual", 0).status, SCEP_STATUS_PENDING);
    module.down = true;
    assert_code(SCEP_UNAVAILABLE, approve(0));
    ck_assert_int_eq(office_room_count(o, p), 0);
    module.down = false;
    assert_ok(approve(0));
    ck_assert_int_eq(office_room_count(o, p), 1);
}
END_TEST

START_TEST(where_the_endpoint_is_gone_nobody_knows_whom_to_ask)
{
    const int n = o->endpoints->nelts;

    ck_assert_int_eq(enrol("manual", 0).status, SCEP_STATUS_PENDING);
    o->endpoints->nelts = 0;
    assert_code(SCEP_CONFIG, approve(0));
    ck_assert_int_eq(office_room_count(o, p), 0);
    o->endpoints->nelts = n;
    assert_ok(approve(0));
}
END_TEST

START_TEST(a_poll_tells_challenge_and_csr_where_the_approval_was_not_heard_of)
{
    scep_bytes csr;

    ck_assert_int_eq(enrol("manual", 0).status, SCEP_STATUS_PENDING);
    csr = module.last.csr;
    module.deaf = true;
    assert_ok(approve(0));
    ck_assert_int_eq(poll_for("manual", 0).status, SCEP_STATUS_LATER);
    ck_assert_ptr_null(module.certificate);
    module.deaf = false;
    ck_assert_int_eq(poll_for("manual", 0).status, SCEP_STATUS_ISSUED);
    ck_assert_int_eq(module.last.disposition, 0);
    assert_bytes(module.last.challenge, scep_bytes_of("one"));
    assert_bytes(module.last.csr, csr);
    ck_assert_ptr_nonnull(module.certificate);
    ck_assert_int_eq(enrol("manual", 1).code, SCEP_CHALLENGE);
}
END_TEST

START_TEST(of_two_certificates_by_one_challenge_one_is_delivered)
{
    module.deaf = true;
    for (int n = 0; n < 2; n++)
        ck_assert_int_eq(enrol("manual", n).status, SCEP_STATUS_PENDING);
    assert_ok(approve(0));
    assert_ok(approve(1));
    module.deaf = false;
    ck_assert_int_eq(office_room_count(o, p), 2);
    ck_assert_int_eq(poll_for("manual", 1).status, SCEP_STATUS_ISSUED);
    ck_assert_int_eq(poll_for("manual", 0).status, SCEP_STATUS_LATER);
    ck_assert_int_eq(enrol("manual", 0).status, SCEP_STATUS_LATER);
    ck_assert_int_eq(poll_for("manual", 1).status, SCEP_STATUS_ISSUED);
}
END_TEST

START_TEST(a_poll_for_a_request_that_is_not_kept_delivers_nothing)
{
    module.deaf = true;
    ck_assert_int_eq(enrol("devices", 0).status, SCEP_STATUS_LATER);
    module.deaf = false;
    ck_assert_int_eq(poll_for("devices", 0).code, SCEP_BAD_CERT_ID);
    ck_assert_int_eq(module.told, 0);
    ck_assert_int_eq(enrol("devices", 0).status, SCEP_STATUS_ISSUED);
    assert_bytes(module.last.challenge, scep_bytes_of("one"));
}
END_TEST

START_TEST(the_transaction_is_told_alike_before_and_after)
{
    const char *id =
        "a\\b\"c\xE9 and so on, well over sixty-four bytes, as a transactionID has any "
        "length up to 255 bytes ......................... end";
    const fixture_request r = { .challenge = "one" };
    const scep_wire_list all = { .state = "", .authority = "", .subject = "", .after = "" };
    scep_wire_request_page page = { 0 };
    const char *first;

    ck_assert_int_eq(office_room_enrol(o, "manual", id, fixture_csr(&r, p), p).status,
                     SCEP_STATUS_PENDING);
    first = module.last.transaction_id;
    ck_assert_str_eq(first, scep_printable(p, scep_bytes_of(id), 255));
    assert_ok(office_requests(&page, o, &all, p));
    ck_assert_int_eq(page.requests->nelts, 1);
    assert_ok(
        office_room_decide(o, APR_ARRAY_IDX(page.requests, 0, scep_wire_request).id, true, p));
    ck_assert_str_eq(module.last.transaction_id, first);
    ck_assert_int_eq(office_room_poll(o, "manual", id, fixture_key(0), p).status,
                     SCEP_STATUS_ISSUED);
    ck_assert_str_eq(module.last.transaction_id, first);
}
END_TEST

/* The module's own time is five minutes here. */
START_TEST(nobody_waits_for_a_module_longer_than_for_the_call)
{
    apr_time_t most;

    ck_assert_int_eq(enrol("manual", 0).status, SCEP_STATUS_PENDING);
    module.down = true;
    assert_code(SCEP_UNAVAILABLE, approve(0));
    most = apr_time_now() + o->timeout;
    ck_assert(module.last.kind == MODULE_VERIFY && module.last.deadline <= most);
    module.down = false;
    assert_ok(approve(0));
    most = apr_time_now() + apr_time_from_sec(10);
    ck_assert(module.last.kind == MODULE_NOTIFY && module.last.deadline <= most);
    ck_assert_int_eq(poll_for("manual", 0).status, SCEP_STATUS_ISSUED);
    most = apr_time_now() + o->timeout;
    ck_assert(module.last.kind == MODULE_NOTIFY && module.last.deadline <= most);
}
END_TEST

static const struct {
    const char *challenge;
    bool text;
} octets[] = {
    { "abc\xFF\xC3", false }, { "\xC3", false },
    { "\xC0\xAF", false },    { "\xED\xA0\x80", false },
    { "caf\xC3\xA9", true },  { "\xF0\x9F\x94\x91", true },
    { "\x80", false },        { "\xF4\x90\x80\x80", false },
};

START_TEST(S_28_a_challenge_that_is_no_utf_8_reaches_no_module)
{
    const fixture_request r = { .challenge_value = scep_bytes_of(octets[_i].challenge),
                                .challenge_type = V_ASN1_OCTET_STRING };
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", fixture_csr(&r, p), p);

    row = apr_itoa(p, _i);
    ck_assert_int_eq(v.code, octets[_i].text ? SCEP_OK : SCEP_CHALLENGE);
    ck_assert_int_eq(module.verified, octets[_i].text);
    ck_assert_int_eq(module.told, 1);
    assert_bytes(module.last.challenge, scep_bytes_of(octets[_i].text ? octets[_i].challenge : ""));
}
END_TEST

START_TEST(params_that_are_no_utf_8_reach_no_module)
{
    scep_wire_mint in = { .endpoint = "devices",
                          .user = "admin",
                          .peer = "192.0.2.1",
                          .generate = 1,
                          .params = "caf\xC3\xA9" };
    scep_wire_minted minted;

    assert_ok(office_mint(&minted, o, &in, p));
    ck_assert_str_eq(minted.challenge, "made");
    memset(&module.last, 0, sizeof(module.last));
    in.params = "caf\xE9";
    assert_code(SCEP_BAD_REQUEST, office_mint(&minted, o, &in, p));
    ck_assert_ptr_null(module.last.name);
}
END_TEST

/* ---- a CA elsewhere ---- */

START_TEST(a_module_hears_once_what_a_CA_elsewhere_decided_at_once)
{
    remote *ca = remote_room_up(o, p);

    ck_assert_int_eq(enrol("open", 0).status, SCEP_STATUS_ISSUED);
    ck_assert_int_eq(module.told, 1);
    ck_assert_int_eq(module.told_issued, 1);
    remote_room_does(ca, REMOTE_DENIES);
    module.certificate = NULL;
    ck_assert_int_eq(enrol("open", 1).status, SCEP_STATUS_REFUSED);
    ck_assert_int_eq(module.told, 2);
    ck_assert_int_eq(module.last.disposition, POLICY_MODULE_FAILURE);
    remote_room_down(o, ca);
}
END_TEST

START_TEST(a_module_hears_once_what_a_CA_elsewhere_decides_when_the_device_has_left)
{
    remote *ca = remote_room_up(o, p);

    o->timeout = apr_time_from_sec(2);
    remote_room_does(ca, REMOTE_HANGS);
    ck_assert_int_eq(enrol("open", 0).status, SCEP_STATUS_PENDING);
    ck_assert_int_eq(module.told, 1); /* that it waits */
    remote_room_does(ca, REMOTE_ISSUES);
    for (int i = 0; i < 500 && !module.told_issued; i++)
        apr_sleep(20000);
    remote_room_down(o, ca);
    ck_assert_int_eq(module.told, 2);
    ck_assert_int_eq(module.told_issued, 1);
    ck_assert_str_eq(module.last.transaction_id, "0");
    ck_assert_int_eq(poll_for("open", 0).status, SCEP_STATUS_ISSUED);
}
END_TEST

START_TEST(a_module_hears_that_a_request_waits_before_it_hears_of_the_end)
{
    remote *ca = remote_room_up(o, p);

    o->timeout = apr_time_from_sec(2);
    remote_room_does(ca, REMOTE_HANGS);
    module.hurries = ca;
    (void)enrol("open", 0);
    for (int i = 0; i < 500 && !module.told_issued; i++)
        apr_sleep(20000);
    remote_room_down(o, ca);
    ck_assert_str_eq(module.heard, "pending end ");
}
END_TEST

START_TEST(a_clerk_that_tells_a_slow_module_is_busy)
{
    remote *ca = remote_room_up(o, p);
    clerks_state is;

    o->timeout = apr_time_from_sec(2);
    remote_room_does(ca, REMOTE_HANGS);
    ck_assert_int_eq(enrol("open", 0).status, SCEP_STATUS_PENDING);
    module.hangs = true;
    remote_room_does(ca, REMOTE_ISSUES);
    await_flag(&module.hung, true);
    ck_assert(clerks_look(o->clerks, "default", &is));
    ck_assert_int_eq(is.running, 1);
    ck_assert_str_eq(remote_room_row(o, "0", p)->state, "issued");
    module.hangs = false;
    for (int i = 0; i < 500 && is.running; i++) {
        apr_sleep(20000);
        ck_assert(clerks_look(o->clerks, "default", &is));
    }
    ck_assert_int_eq(is.running, 0);
    remote_room_down(o, ca);
}
END_TEST

START_TEST(a_module_judges_again_what_a_CA_elsewhere_is_asked_later)
{
    remote *ca = remote_room_up(o, p);

    remote_room_does(ca, REMOTE_IS_DOWN);
    ck_assert_int_eq(enrol("open", 0).status, SCEP_STATUS_PENDING);
    ck_assert_int_eq(module.verified, 1);
    module.down = true;
    remote_room_does(ca, REMOTE_ISSUES);
    scep_clock_set(scep_now() + apr_time_from_sec(30));
    apr_sleep(apr_time_from_sec(2));
    ck_assert_str_eq(remote_room_row(o, "0", p)->state, "queued");
    ck_assert_int_eq(ca->asked, 1);
    module.down = false;
    module.certificate = "of another request";
    scep_clock_set(scep_now() + apr_time_from_sec(30));
    ck_assert(remote_room_is(o, "0", "denied", p));
    ck_assert_int_eq(ca->asked, 1);
    ck_assert_int_eq(poll_for("open", 0).status, SCEP_STATUS_REFUSED);
    remote_room_down(o, ca);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, one_challenge_gets_one_certificate_of_requests_that_wait);
    tcase_add_test(cases, a_challenge_whose_request_waits_is_no_other_requests);
    tcase_add_test(cases, a_SID_is_asked_about_only_for_whom_the_module_knows);
    tcase_add_test(cases, a_module_that_is_down_leaves_the_request_waiting);
    tcase_add_test(cases, where_the_endpoint_is_gone_nobody_knows_whom_to_ask);
    tcase_add_test(cases, a_poll_tells_challenge_and_csr_where_the_approval_was_not_heard_of);
    tcase_add_test(cases, of_two_certificates_by_one_challenge_one_is_delivered);
    tcase_add_test(cases, a_poll_for_a_request_that_is_not_kept_delivers_nothing);
    tcase_add_test(cases, the_transaction_is_told_alike_before_and_after);
    tcase_add_test(cases, nobody_waits_for_a_module_longer_than_for_the_call);
    tcase_add_loop_test(cases, S_28_a_challenge_that_is_no_utf_8_reaches_no_module, 0,
                        ROWS(octets));
    tcase_add_test(cases, params_that_are_no_utf_8_reach_no_module);
    tcase_add_test(cases, a_module_hears_once_what_a_CA_elsewhere_decided_at_once);
    tcase_add_test(cases, a_module_hears_once_what_a_CA_elsewhere_decides_when_the_device_has_left);
    tcase_add_test(cases, a_module_hears_that_a_request_waits_before_it_hears_of_the_end);
    tcase_add_test(cases, a_clerk_that_tells_a_slow_module_is_busy);
    tcase_add_test(cases, a_module_judges_again_what_a_CA_elsewhere_is_asked_later);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office_module", add_tests);
    office_room_done();
    return status;
}
