/* What an administrator decides: requests that wait, the inventory, revocation. */
#include "office_suite.h"

#include "certs.h"
#include "clock.h"
#include "message.h"

#include <apr_strings.h>
#include <string.h>

static void assert_pending(scep_wire_verdict v)
{
    ck_assert_msg(v.status == SCEP_STATUS_PENDING, "%s: status %u: %s", row, v.status, v.detail);
    ck_assert_int_eq((int)v.code, SCEP_OK);
    ck_assert_uint_eq(v.certificate.len, 0);
}

static scep_bytes csr_with(const char *challenge, const char *subject)
{
    const fixture_request r = { .challenge = challenge, .subject = subject };

    return fixture_csr(&r, p);
}

static scep_bytes waiting_csr(const char *id)
{
    scep_bytes csr = csr_with(office_room_mint(o, "manual", p), "CN=waits");

    assert_pending(office_room_enrol(o, "manual", id, csr, p));
    return csr;
}

static scep_wire_verdict poll(const char *id)
{
    return office_room_poll(o, "manual", id, fixture_key(0), p);
}

/* ---- waiting ---- */

START_TEST(R_087_R_110_R_113_Q_77_approval_issues_what_waited)
{
    scep_bytes csr = waiting_csr("1");
    const char *id = office_room_waiting(o, "1", p);
    scep_wire_verdict v, again;

    ck_assert_ptr_nonnull(id);
    assert_pending(poll("1"));
    ck_assert_int_eq(office_room_count(o, p), 0);
    ck_assert_ptr_nonnull(
        strstr(office_room_log(p), apr_pstrcat(p,
                                               "verdict=pending code=OK reason=\"it waits for "
                                               "approval as request ",
                                               id, NULL)));
    assert_ok(office_room_decide(o, id, true, p));
    v = poll("1");
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(cert_of(&v)), fixture_key(0)), 1);
    again = office_room_enrol(o, "manual", "1", csr, p);
    assert_bytes(again.certificate, v.certificate);
    ck_assert_int_eq(office_room_count(o, p), 1);
    ck_assert_ptr_nonnull(strstr(
        office_room_log(p),
        apr_pstrcat(p, "SCEP0244: approve id=\"", id,
                    "\" txid=\"1\" verdict=issued code=OK reason=\"\" subject=\"CN=waits\" serial=",
                    scep_cert_serial(cert_of(&v), p), " by=\"root\"", NULL)));
}
END_TEST

START_TEST(R_110_R_117_what_waits_waits_on_when_it_is_sent_again_and_uses_one_challenge)
{
    const char *challenge = office_room_mint(o, "manual", p);
    scep_bytes csr = csr_with(challenge, "CN=waits");

    for (int i = 0; i < 3; i++)
        assert_pending(office_room_enrol(o, "manual", "1", csr, p));
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "verdict=repeated"));
    /* S-07: the place in the queue is what it paid for */
    assert_refused(office_room_enrol(o, "manual", "2", csr_with(challenge, "CN=b"), p),
                   SCEP_CHALLENGE);
}
END_TEST

START_TEST(R_086_approval_is_no_challenge)
{
    assert_refused(office_room_enrol(o, "manual", "1", csr_with(NULL, "CN=a"), p),
                   SCEP_CHALLENGE_ABSENT);
    assert_refused(office_room_enrol(o, "manual", "1", csr_with("wrong", "CN=a"), p),
                   SCEP_CHALLENGE);
    ck_assert_ptr_null(office_room_waiting(o, "1", p));
}
END_TEST

START_TEST(R_113_what_was_denied_stays_denied)
{
    scep_bytes csr = waiting_csr("1");
    const char *id = office_room_waiting(o, "1", p);

    assert_code(SCEP_BAD_REQUEST,
                office_decide(&(scep_wire_done){ 0 }, o,
                              &(const scep_wire_decide){ .id = id, .reason = "", .by = "" }, p));
    assert_ok(office_room_decide(o, id, false, p));
    assert_refused(poll("1"), SCEP_REFUSED);
    assert_refused(office_room_enrol(o, "manual", "1", csr, p), SCEP_REFUSED);
    assert_code(SCEP_BAD_CERT_ID, office_room_decide(o, id, true, p));
    ck_assert_int_eq(office_room_count(o, p), 0);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "verdict=denied code=OK reason=\"not one of "
                                                     "ours\" subject=\"CN=waits\""));
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "reason=\"denied by the administrator\""));
}
END_TEST

START_TEST(R_115_a_new_transaction_of_the_same_device_waits_beside_the_old_one)
{
    waiting_csr("1");
    waiting_csr("2");
    ck_assert_str_ne(office_room_waiting(o, "1", p), office_room_waiting(o, "2", p));
    assert_ok(office_room_decide(o, office_room_waiting(o, "2", p), true, p));
    assert_pending(poll("1"));
    ck_assert_int_eq((int)poll("2").status, SCEP_STATUS_ISSUED);
}
END_TEST

START_TEST(R_119_S_22_another_key_gets_no_place_in_a_transaction_that_waits)
{
    const fixture_request other = { .challenge = office_room_mint(o, "manual", p),
                                    .key = fixture_key(1) };

    waiting_csr("1");
    assert_refused(office_room_enrol(o, "manual", "1", fixture_csr(&other, p), p), SCEP_REFUSED);
    assert_refused(office_room_poll(o, "manual", "1", fixture_key(1), p), SCEP_BAD_CERT_ID);
    /* nor has it cost the challenge */
    assert_pending(office_room_enrol(o, "manual", "2", fixture_csr(&other, p), p));
}
END_TEST

/* ---- what may go wrong at approval ---- */

static const scep_err *(*real_submit)(connector_answer *, connector *, const connector_ask *,
                                      apr_pool_t *);
static office *second_node;

static connector *connector_of(void)
{
    return APR_ARRAY_IDX(o->authorities, 0, office_authority *)->connector;
}

static const scep_err *submit_away(connector_answer *out, connector *self, const connector_ask *ask,
                                   apr_pool_t *pool)
{
    return scep_fail(pool, UNAVAILABLE, "the CA is away");
}

/* While the CA signs, somebody else denies. */
static const scep_err *submit_overtaken(connector_answer *out, connector *self,
                                        const connector_ask *ask, apr_pool_t *pool)
{
    FIXTURE_MUST(
        !office_room_decide(second_node, office_room_waiting(second_node, "1", pool), false, pool));
    return real_submit(out, self, ask, pool);
}

/* What stood for a challenge when the request came may be worth nothing when it is decided. */
START_TEST(R_106_S_08_a_renewal_whose_certificate_was_revoked_meanwhile_cannot_be_approved)
{
    const fixture_request first = { .challenge = office_room_mint(o, "devices", p) };
    scep_wire_verdict v = office_room_enrol(o, "devices", "0", fixture_csr(&first, p), p);
    X509 *old = cert_of(&v);
    const fixture_request r = { .message_type = "17",
                                .transaction_id = "1",
                                .signer = old,
                                .signer_key = fixture_key(0),
                                .key = fixture_key(2) };
    const scep_err *err;
    const char *id;

    assert_pending(office_room_renew(o, "always", &r, p));
    id = office_room_waiting(o, "1", p);
    assert_ok(office_room_revoke(o, scep_cert_serial(old, p), p));
    err = office_room_decide(o, id, true, p);
    assert_code(SCEP_REFUSED, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "is revoked"));
    assert_pending(office_room_poll(o, "always", "1", fixture_key(0), p));
    ck_assert_int_eq(office_room_count(o, p), 1);
    assert_ok(office_room_decide(o, id, false, p));
    assert_refused(office_room_poll(o, "always", "1", fixture_key(0), p), SCEP_REFUSED);
}
END_TEST

START_TEST(a_CA_that_fails_leaves_the_request_waiting)
{
    const char *id;

    waiting_csr("1");
    id = office_room_waiting(o, "1", p);
    real_submit = connector_of()->submit;
    connector_of()->submit = submit_away;
    assert_code(SCEP_UNAVAILABLE, office_room_decide(o, id, true, p));
    assert_pending(poll("1"));
    connector_of()->submit = real_submit;
    assert_ok(office_room_decide(o, id, true, p));
    ck_assert_int_eq((int)poll("1").status, SCEP_STATUS_ISSUED);
}
END_TEST

/* A CA that were asked would put it off. */
START_TEST(R_119_S_22_for_another_keys_transaction_no_CA_is_asked)
{
    const fixture_request other = { .challenge = office_room_mint(o, "devices", p),
                                    .key = fixture_key(1) };
    scep_bytes csr = csr_with(office_room_mint(o, "devices", p), "CN=a");

    ck_assert_int_eq((int)office_room_enrol(o, "devices", "1", csr, p).status, SCEP_STATUS_ISSUED);
    connector_of()->submit = submit_away;
    assert_refused(office_room_enrol(o, "devices", "1", fixture_csr(&other, p), p), SCEP_REFUSED);
}
END_TEST

START_TEST(where_somebody_else_decided_meanwhile_the_certificate_never_leaves)
{
    const char *id;

    waiting_csr("1");
    id = office_room_waiting(o, "1", p);
    second_node = office_room_again(o, p);
    real_submit = connector_of()->submit;
    connector_of()->submit = submit_overtaken;
    assert_code(SCEP_BAD_CERT_ID, office_room_decide(o, id, true, p));
    assert_refused(poll("1"), SCEP_REFUSED);
    ck_assert_int_eq(office_room_count(o, p), 0);
    store_close(second_node->store);
}
END_TEST

START_TEST(where_the_template_is_gone_the_administrator_is_told)
{
    const scep_err *err;
    const char *id;

    waiting_csr("1");
    id = office_room_waiting(o, "1", p);
    apr_array_clear(APR_ARRAY_IDX(o->authorities, 0, office_authority *)->conf->templates);
    err = office_room_decide(o, id, true, p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "deny the request"));
    assert_code(SCEP_BAD_CERT_ID, office_room_decide(o, "0000000000000000", true, p));
    assert_ok(office_room_decide(o, id, false, p));
}
END_TEST

/* ---- lists ---- */

static scep_wire_request_page requests(const char *state, const char *after)
{
    const scep_wire_list in = { .state = state, .authority = "", .subject = "", .after = after };
    scep_wire_request_page page = { 0 };

    assert_ok(office_requests(&page, o, &in, p));
    return page;
}

START_TEST(the_queue_is_listed_by_state)
{
    static const struct {
        const char *state;
        int n;
    } wanted[] = { { "", 1 }, { "pending", 1 }, { "issued", 1 }, { "denied", 1 }, { "all", 3 } };
    const scep_wire_list bad = { .state = "odd", .authority = "", .subject = "", .after = "" };
    scep_wire_request_page page;
    const scep_wire_request *r;

    waiting_csr("1");
    waiting_csr("2");
    waiting_csr("3");
    assert_ok(office_room_decide(o, office_room_waiting(o, "2", p), true, p));
    assert_ok(office_room_decide(o, office_room_waiting(o, "3", p), false, p));
    for (int i = 0; i < ROWS(wanted); i++) {
        row = wanted[i].state;
        page = requests(wanted[i].state, "");
        ck_assert_msg(page.requests->nelts == wanted[i].n, "%s: %d", row, page.requests->nelts);
        ck_assert_str_eq(page.after, "");
    }
    assert_code(SCEP_BAD_REQUEST, office_requests(&page, o, &bad, p));
    page = requests("denied", "");
    r = &APR_ARRAY_IDX(page.requests, 0, scep_wire_request);
    ck_assert_str_eq(r->transaction_id, "3");
    ck_assert_str_eq(r->endpoint, "manual");
    ck_assert_str_eq(r->authority, "default");
    ck_assert_str_eq(r->template_name, "IPSECIntermediateOffline");
    ck_assert_str_eq(r->subject, "CN=waits");
    ck_assert_str_eq(r->peer, "192.0.2.9");
    ck_assert_str_eq(r->reason, "not one of ours");
    ck_assert_str_eq(r->by, "root");
    ck_assert_uint_eq(r->message_type, SCEP_PKCS_REQ);
    ck_assert(r->created && r->decided >= r->created);
}
END_TEST

static scep_wire_certificate_page certificates(const char *authority, const char *subject,
                                               const char *after)
{
    const scep_wire_list in = { "", authority, subject, after };
    scep_wire_certificate_page page = { 0 };

    assert_ok(office_certificates(&page, o, &in, p));
    return page;
}

/* Rows as the database may have them after years. */
static const scep_err *put_rows(store_tx *tx, void *baton)
{
    char *subject = baton;
    store_certificate c = { .authority = "other",
                            .subject = subject,
                            .template_name = "t",
                            .endpoint = "e",
                            .transaction = "x",
                            .key_hash = "k",
                            .der = scep_bytes_of("der"),
                            .not_before = 1,
                            .not_after = 2,
                            .issued = 1 };
    bool done;

    for (int i = 0; i < 450; i++) {
        c.serial = apr_psprintf(store_tx_pool(tx), "%04X", i);
        SCEP_TRY(store_certificate_put(tx, &c, &done));
    }
    return NULL;
}

/* All pages of a list. @return how many rows */
static int count_all(const char *authority, const char *subject, int most)
{
    const char *after = "";
    int rows = 0;

    for (int pages = 0; pages < most; pages++) {
        scep_wire_certificate_page page = certificates(authority, subject, after);

        ck_assert_int_le(page.certificates->nelts, 200);
        rows += page.certificates->nelts;
        after = page.after;
        if (!*after)
            return rows;
    }
    ck_abort_msg("the list has no end");
    return -1;
}

START_TEST(the_inventory_is_listed_by_pages)
{
    static const struct {
        const char *authority, *subject;
        int rows;
    } asked[] = {
        { "", "", 452 },     { "other", "", 450 },  { "default", "", 2 },
        { "nobody", "", 0 }, { "", "GERÄT", 0 },    { "", "Gerät", 1 },
        { "", "gerät", 1 },  { "", "CN=plain", 1 }, { "default", "cn=", 2 },
    };
    scep_bytes csr = csr_with(office_room_mint(o, "devices", p), "CN=Plain");
    fixture_request german = { .challenge = office_room_mint(o, "devices", p),
                               .subject = "CN=Ger\xc3\xa4t" };
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", csr, p);
    scep_wire_certificate_page page;

    cert_of(&v);
    v = office_room_enrol(o, "devices", "2", fixture_csr(&german, p), p);
    cert_of(&v);
    assert_ok(store_run(o->store, put_rows, apr_pstrdup(p, "OU=bulk"), p));
    for (int i = 0; i < ROWS(asked); i++) {
        row = apr_pstrcat(p, asked[i].authority, " ", asked[i].subject, NULL);
        ck_assert_msg(count_all(asked[i].authority, asked[i].subject, 5) == asked[i].rows, "%s: %d",
                      row, count_all(asked[i].authority, asked[i].subject, 5));
    }
    page = certificates("default", "plain", "");
    ck_assert_str_eq(APR_ARRAY_IDX(page.certificates, 0, scep_wire_certificate).subject,
                     "CN=Plain");
    assert_code(SCEP_BAD_REQUEST,
                office_certificates(&page, o, &(const scep_wire_list){ "", "", "", "odd" }, p));
}
END_TEST

/* A frame has room for less than 200 of the longest names. */
START_TEST(a_page_of_long_subjects_fits_its_frame)
{
    char *subject = apr_palloc(p, 100001);
    scep_wire_certificate_page page;

    memset(subject, 'a', 100000);
    subject[100000] = '\0';
    assert_ok(store_run(o->store, put_rows, subject, p));
    page = certificates("", "", "");
    ck_assert_int_gt(page.certificates->nelts, 1);
    ck_assert_uint_le(scep_wire_put_certificate_page(SCEP_VERB_CERTIFICATE_PAGE, &page, p).len,
                      SCEP_WIRE_HEADER + SCEP_WIRE_MAX);
    ck_assert_int_eq(count_all("", "", 100), 450);
}
END_TEST

/* ---- revocation ---- */

static const scep_err *revoke_as(const char *serial, uint32_t reason, const char *authority)
{
    const scep_wire_revoke in = {
        .authority = authority, .serial = serial, .reason = reason, .by = "root"
    };
    scep_wire_done done;

    return office_revoke(&done, o, &in, NULL, NULL, p);
}

/* As openssl x509 writes it. */
static const char *with_colons(const char *serial)
{
    const char *out = "";

    for (; *serial; serial += 2)
        out = apr_psprintf(p, "%s%s%c%c", out, *out ? ":" : "", serial[0] | 0x20, serial[1] | 0x20);
    return out;
}

START_TEST(of_a_ca_here_without_a_crl_nobody_is_sent_elsewhere)
{
    scep_bytes csr = csr_with(office_room_mint(o, "devices", p), "CN=lost");
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", csr, p);
    const char *serial = scep_cert_serial(cert_of(&v), p);
    const scep_wire_revoke in = { .authority = "", .serial = serial, .reason = 1, .by = "root" };
    scep_wire_done done;

    APR_ARRAY_IDX(o->authorities, 0, office_authority *)->connector->sign_crl = NULL;
    assert_ok(office_revoke(&done, o, &in, NULL, NULL, p));
    ck_assert_str_eq(done.text, apr_psprintf(p, "certificate %s was revoked", serial));
}
END_TEST

START_TEST(a_certificate_is_revoked_once_and_for_good)
{
    scep_bytes csr = csr_with(office_room_mint(o, "devices", p), "CN=lost");
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", csr, p);
    const char *serial = scep_cert_serial(cert_of(&v), p);
    const scep_wire_certificate *c;
    scep_wire_certificate_page page;

    assert_code(SCEP_BAD_REQUEST, revoke_as(serial, 6, ""));
    assert_code(SCEP_BAD_REQUEST, revoke_as(serial, 7, ""));
    assert_code(SCEP_BAD_REQUEST, revoke_as(serial, 8, ""));
    assert_code(SCEP_BAD_REQUEST, revoke_as(serial, 11, ""));
    assert_code(SCEP_BAD_REQUEST, revoke_as("no serial", 1, ""));
    assert_code(SCEP_BAD_REQUEST, revoke_as("", 1, ""));
    assert_code(SCEP_BAD_CERT_ID, revoke_as("01", 1, ""));
    assert_code(SCEP_BAD_CERT_ID, revoke_as(serial, 1, "successor"));
    assert_ok(revoke_as(with_colons(serial), 4, "default"));
    assert_code(SCEP_BAD_CERT_ID, revoke_as(serial, 1, ""));
    page = certificates("default", "lost", "");
    c = &APR_ARRAY_IDX(page.certificates, 0, scep_wire_certificate);
    ck_assert_uint_eq(c->reason, 4);
    ck_assert(c->revoked != 0);
    ck_assert_ptr_nonnull(
        strstr(office_room_log(p), apr_pstrcat(p, "SCEP0245: revoke serial=\"", serial,
                                               "\" authority=\"default\" verdict=revoked code=OK "
                                               "detail=\"\" reason=4 subject=\"CN=lost\" "
                                               "by=\"root\"",
                                               NULL)));
}
END_TEST

START_TEST(a_CRL_that_cannot_be_signed_does_not_undo_the_revocation)
{
    scep_bytes csr = csr_with(office_room_mint(o, "devices", p), "CN=lost");
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", csr, p);
    const char *serial = scep_cert_serial(cert_of(&v), p);
    conf_authority *a = apr_pmemdup(p, APR_ARRAY_IDX(o->authorities, 0, office_authority *)->conf,
                                    sizeof(conf_authority));
    const scep_wire_revoke in = { .authority = "", .serial = serial, .by = "root" };
    scep_wire_done done;

    a->crl_file = "/nowhere/ca.crl";
    APR_ARRAY_IDX(o->authorities, 0, office_authority *)->conf = a;
    assert_ok(office_revoke(&done, o, &in, NULL, NULL, p));
    ck_assert_str_eq(done.serial, serial);
    ck_assert_ptr_nonnull(strstr(done.text, "its CRL is not"));
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "SCEP0246: "));
    assert_code(SCEP_BAD_CERT_ID, revoke_as(serial, 1, ""));
}
END_TEST

static int told;

static void tell(void *baton, const char *what, apr_int64_t done, apr_int64_t total)
{
    told++;
}

START_TEST(a_CRL_is_signed_for_each_authority_that_has_one)
{
    const struct {
        const char *authority;
        scep_code code;
    } asked[] = { { "", SCEP_OK },
                  { "default", SCEP_OK },
                  { "successor", SCEP_CONFIG },
                  { "nobody", SCEP_BAD_REQUEST } };
    scep_wire_done done;

    for (int i = 0; i < ROWS(asked); i++) {
        const scep_wire_sign_crl in = { .authority = asked[i].authority, .by = "root" };

        row = asked[i].authority;
        assert_code(asked[i].code, office_sign_crl(&done, o, &in, tell, NULL, p));
        if (asked[i].code == SCEP_OK)
            ck_assert_str_eq(done.text, "CRL signed: default");
    }
    ck_assert_int_gt(told, 0);
    ck_assert_ptr_nonnull(
        strstr(office_room_log(p), "SCEP0247: crl authority=\"default\" verdict=signed"));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, R_087_R_110_R_113_Q_77_approval_issues_what_waited);
    tcase_add_test(cases,
                   R_110_R_117_what_waits_waits_on_when_it_is_sent_again_and_uses_one_challenge);
    tcase_add_test(cases, R_086_approval_is_no_challenge);
    tcase_add_test(cases, R_113_what_was_denied_stays_denied);
    tcase_add_test(cases, R_115_a_new_transaction_of_the_same_device_waits_beside_the_old_one);
    tcase_add_test(cases, R_119_S_22_another_key_gets_no_place_in_a_transaction_that_waits);
    tcase_add_test(cases,
                   R_106_S_08_a_renewal_whose_certificate_was_revoked_meanwhile_cannot_be_approved);
    tcase_add_test(cases, a_CA_that_fails_leaves_the_request_waiting);
    tcase_add_test(cases, R_119_S_22_for_another_keys_transaction_no_CA_is_asked);
    tcase_add_test(cases, where_somebody_else_decided_meanwhile_the_certificate_never_leaves);
    tcase_add_test(cases, where_the_template_is_gone_the_administrator_is_told);
    tcase_add_test(cases, the_queue_is_listed_by_state);
    tcase_add_test(cases, the_inventory_is_listed_by_pages);
    tcase_add_test(cases, a_page_of_long_subjects_fits_its_frame);
    tcase_add_test(cases, of_a_ca_here_without_a_crl_nobody_is_sent_elsewhere);
    tcase_add_test(cases, a_certificate_is_revoked_once_and_for_good);
    tcase_add_test(cases, a_CRL_that_cannot_be_signed_does_not_undo_the_revocation);
    tcase_add_test(cases, a_CRL_is_signed_for_each_authority_that_has_one);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office_ctl", add_tests);
    office_room_done();
    return status;
}
