/* Enrolment, from the CSR to the committed certificate, with a real store and a real CA key. */
#include "office_suite.h"

#include "certs.h"
#include "clock.h"
#include "issue.h"
#include "message.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <string.h>

#define THREADS 16
#define SID "1.3.6.1.4.1.311.25.2=ASN1:UTF8String:S-1-5-21-1"

static scep_bytes csr_of(const char *challenge, const char *subject)
{
    const fixture_request r = { .challenge = challenge, .subject = subject };

    return fixture_csr(&r, p);
}

START_TEST(R_080_R_084_R_162_a_good_challenge_gives_a_certificate)
{
    const char *challenge = office_room_mint(o, "devices", p);
    scep_wire_verdict v =
        office_room_enrol(o, "devices", "id-1", csr_of(challenge, "CN=dev \"1\""), p);
    X509 *cert = cert_of(&v);
    X509 *ca =
        sk_X509_value(APR_ARRAY_IDX(o->authorities, 0, office_authority *)->connector->chain, 0);
    const char *log = office_room_log(p);

    ck_assert_int_eq(X509_verify(cert, X509_get0_pubkey(ca)), 1);
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(cert), fixture_key(0)), 1);
    ck_assert_int_eq(office_room_count(o, p), 1);
    ck_assert(v.generation != 0);
    ck_assert_ptr_nonnull(strstr(log, "SCEP0240: enrol txid=\"id-1\" endpoint=\"devices\" "
                                      "verdict=issued code=OK reason=\"\" "));
    ck_assert_ptr_nonnull(strstr(log, "subject=\"CN=dev \\\"1\\\"\" serial="));
    ck_assert_ptr_nonnull(strstr(log, apr_pstrcat(p, " serial=", scep_cert_serial(cert, p),
                                                  " template=IPSECIntermediateOffline "
                                                  "from=\"192.0.2.9\" ms=",
                                                  NULL)));
    ck_assert_ptr_null(strstr(log, challenge));
}
END_TEST

START_TEST(R_085_a_used_challenge_is_refused)
{
    const char *challenge = office_room_mint(o, "devices", p);
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", csr_of(challenge, "CN=a"), p);
    const char *log;

    cert_of(&v);
    v = office_room_enrol(o, "devices", "2", csr_of(challenge, "CN=b"), p);
    assert_refused(v, SCEP_CHALLENGE);
    ck_assert_int_eq(office_room_count(o, p), 1);
    /* RFC 8894 7.3: it is noticed */
    log = office_room_log(p);
    ck_assert_ptr_nonnull(strstr(log, "verdict=refused code=CHALLENGE reason=\"the challenge "
                                      "password is unknown, used or expired"));
    ck_assert_ptr_null(strstr(log, challenge));
}
END_TEST

START_TEST(S_05_S_27_wrong_used_expired_and_foreign_challenges_are_told_apart_by_nobody)
{
    const char *used = office_room_mint(o, "devices", p);
    const char *elsewhere = office_room_mint(o, "strict", p);
    const char *late = office_room_mint(o, "devices", p);
    const char *bad[] = { used, elsewhere, "0123456789ABCDEF", "x", late };
    scep_wire_verdict v = office_room_enrol(o, "devices", "0", csr_of(used, "CN=first"), p);
    const char *text = NULL;

    cert_of(&v);
    for (int i = 0; i < ROWS(bad); i++) {
        if (bad[i] == late)
            scep_clock_set(apr_time_now() + apr_time_from_sec(61 * 60));
        v = office_room_enrol(o, "devices", apr_itoa(p, i + 1), csr_of(bad[i], "CN=x"), p);
        scep_clock_set(0);
        assert_refused(v, SCEP_CHALLENGE);
        ck_assert_str_eq(v.detail, text ? text : v.detail);
        text = v.detail;
    }
    /* At its own endpoint it is still good. */
    v = office_room_enrol(o, "strict", "9", csr_of(elsewhere, "CN=y"), p);
    cert_of(&v);
}
END_TEST

START_TEST(R_086_S_03_Q_69_an_absent_or_empty_challenge_is_refused)
{
    assert_refused(office_room_enrol(o, "devices", "1", csr_of(NULL, "CN=a"), p),
                   SCEP_CHALLENGE_ABSENT);
    assert_refused(office_room_enrol(o, "devices", "2", csr_of("", "CN=a"), p),
                   SCEP_CHALLENGE_ABSENT);
    ck_assert_int_eq(office_room_count(o, p), 0);
}
END_TEST

START_TEST(R_117_D_09_Q_78_S_23_the_same_request_gets_the_same_certificate)
{
    const char *challenge = office_room_mint(o, "devices", p);
    scep_bytes csr = csr_of(challenge, "CN=a");
    scep_wire_verdict first = office_room_enrol(o, "devices", "1", csr, p);
    scep_wire_verdict again;
    const char *serial = scep_cert_serial(cert_of(&first), p);

    for (int i = 0; i < 3; i++) {
        scep_clock_set(apr_time_now() + apr_time_from_sec(i * 3600));
        again = office_room_enrol(o, "DEVICES", "1", csr, p);
        assert_bytes(again.certificate, first.certificate);
    }
    ck_assert_int_eq(office_room_count(o, p), 1);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "verdict=repeated code=OK"));
    ck_assert_ptr_nonnull(strstr(strstr(office_room_log(p), "verdict=repeated"),
                                 apr_pstrcat(p, "serial=", serial, " ", NULL)));
    /* As another messageType it is not the same. */
    again = (scep_wire_verdict){ 0 };
    office_enrol(&again, o,
                 &(const scep_wire_enrol){ .endpoint = "devices",
                                           .authority = "",
                                           .message_type = SCEP_RENEWAL_REQ,
                                           .transaction_id = scep_bytes_of("1"),
                                           .csr = csr,
                                           .peer = "" },
                 apr_time_now() + o->timeout, p);
    assert_refused(again, SCEP_BAD_REQUEST);
}
END_TEST

START_TEST(a_restart_forgets_nothing)
{
    const char *used = office_room_mint(o, "devices", p);
    const char *kept = office_room_mint(o, "devices", p);
    scep_bytes csr = csr_of(used, "CN=a");
    scep_wire_verdict first = office_room_enrol(o, "devices", "1", csr, p);
    scep_wire_verdict again;
    uint64_t generation = first.generation;

    cert_of(&first);
    store_close(o->store);
    o = office_room_again(o, p);
    again = office_room_enrol(o, "devices", "1", csr, p);
    assert_bytes(again.certificate, first.certificate);
    ck_assert(again.generation == generation);
    assert_refused(office_room_enrol(o, "devices", "2", csr_of(used, "CN=b"), p), SCEP_CHALLENGE);
    again = office_room_enrol(o, "devices", "3", csr_of(kept, "CN=c"), p);
    cert_of(&again);
}
END_TEST

START_TEST(R_119_S_22_a_transaction_of_another_key_gets_nothing_and_keeps_its_challenge)
{
    const char *challenge = office_room_mint(o, "devices", p);
    scep_wire_verdict v =
        office_room_enrol(o, "devices", "1", csr_of(office_room_mint(o, "devices", p), "CN=a"), p);
    const fixture_request other = { .challenge = challenge, .key = fixture_key(1) };
    scep_bytes csr = fixture_csr(&other, p);

    cert_of(&v);
    assert_refused(office_room_enrol(o, "devices", "1", csr, p), SCEP_REFUSED);
    ck_assert_int_eq(office_room_count(o, p), 1);
    v = office_room_enrol(o, "devices", "2", csr, p);
    cert_of(&v);
    /* An endpoint's transactions are its own. */
    v = office_room_enrol(o, "open", "1", csr, p);
    cert_of(&v);
}
END_TEST

START_TEST(R_116_another_csr_in_the_same_transaction_is_a_new_request)
{
    scep_wire_verdict v =
        office_room_enrol(o, "devices", "1", csr_of(office_room_mint(o, "devices", p), "CN=a"), p);
    scep_bytes first = v.certificate;

    cert_of(&v);
    assert_refused(office_room_enrol(o, "devices", "1", csr_of(NULL, "CN=b"), p),
                   SCEP_CHALLENGE_ABSENT);
    v = office_room_enrol(o, "devices", "1", csr_of(office_room_mint(o, "devices", p), "CN=b"), p);
    cert_of(&v);
    ck_assert(!scep_bytes_equal(v.certificate, first));
    ck_assert_int_eq(office_room_count(o, p), 2);
}
END_TEST

/* Each is refused for another reason than its challenge, which stays good. */
static const struct {
    const char *name;
    const char *endpoint;
    fixture_request r;
    const EVP_MD *(*digest)(void);
    scep_code code;
} harmless[] = {
    { "S-12 a SID", "devices", { .extensions = SID }, NULL, SCEP_REFUSED },
    { "a bad CSR signature", "devices", { .spoil_csr = true }, NULL, SCEP_UNREADABLE },
    { "neither subject nor SAN", "devices", { .subject = "" }, NULL, SCEP_BAD_SUBJECT },
    { "SHA-1 below MinimumHash", "strict", { 0 }, EVP_sha1, SCEP_BAD_ALG },
    { "S-20 two challenges", "devices", { .challenges = 2 }, NULL, SCEP_UNREADABLE },
};

START_TEST(R_088_S_12_S_20_a_refusal_gives_the_challenge_back)
{
    fixture_request r = harmless[_i].r;
    const char *challenge = office_room_mint(o, harmless[_i].endpoint, p);
    scep_wire_verdict v;

    row = harmless[_i].name;
    r.challenge = challenge;
    r.csr_digest = harmless[_i].digest ? harmless[_i].digest() : NULL;
    assert_refused(office_room_enrol(o, harmless[_i].endpoint, "1", fixture_csr(&r, p), p),
                   harmless[_i].code);
    ck_assert_int_eq(office_room_count(o, p), 0);
    ck_assert_ptr_null(strstr(office_room_log(p), challenge));
    v = office_room_enrol(o, harmless[_i].endpoint, "1", csr_of(challenge, "CN=a"), p);
    cert_of(&v);
}
END_TEST

START_TEST(a_sid_is_issued_where_the_template_allows_it)
{
    const fixture_request r = { .challenge = office_room_mint(o, "devices", p),
                                .key_usage = KU_KEY_ENCIPHERMENT,
                                .extensions = SID };
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", fixture_csr(&r, p), p);
    ASN1_OBJECT *sid = scep_ASN1_OBJECT(p, OBJ_txt2obj("1.3.6.1.4.1.311.25.2", 1));

    ck_assert_int_ge(X509_get_ext_by_OBJ(cert_of(&v), sid, -1), 0);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "template=Sid "));
}
END_TEST

START_TEST(no_certificate_outlives_the_ca)
{
    const fixture_request r = { .challenge = office_room_mint(o, "devices", p),
                                .key_usage = KU_DIGITAL_SIGNATURE };
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", fixture_csr(&r, p), p);
    office_authority *a = APR_ARRAY_IDX(o->authorities, 0, office_authority *);

    ck_assert_int_eq(ASN1_TIME_compare(X509_get0_notAfter(cert_of(&v)),
                                       X509_get0_notAfter(sk_X509_value(a->connector->chain, 0))),
                     0);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "template=Century "));
}
END_TEST

START_TEST(Q_68_where_no_challenge_is_enforced_one_that_is_sent_is_ignored)
{
    const char *good = office_room_mint(o, "open", p);
    const char *challenges[] = { NULL, "wrong", good, good };

    for (int i = 0; i < ROWS(challenges); i++) {
        scep_bytes csr = csr_of(challenges[i], apr_psprintf(p, "CN=%d", i));
        scep_wire_verdict v = office_room_enrol(o, "open", apr_itoa(p, i), csr, p);

        cert_of(&v);
    }
    ck_assert_int_eq(office_room_count(o, p), ROWS(challenges));
}
END_TEST

START_TEST(an_unknown_endpoint_is_refused)
{
    scep_wire_verdict v = office_room_enrol(o, "nobody\n", "1", csr_of("x", "CN=a"), p);

    assert_refused(v, SCEP_REFUSED);
    ck_assert(v.generation == 0);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "endpoint=\"nobody\\x0A\" verdict=refused"));
}
END_TEST

START_TEST(S_13_S_21_what_a_device_sends_cannot_break_a_log_line)
{
    const char *id = "1\" verdict=issued\n[x] SCEP0240: \x1b[2J";
    const char *log;

    assert_refused(office_room_enrol(o, "devices", id, csr_of("wrong", "CN=a"), p), SCEP_CHALLENGE);
    log = office_room_log(p);
    ck_assert_ptr_nonnull(strstr(log, "txid=\"1\\x22 verdict=issued\\x0A[x] SCEP0240: \\x1B[2J\""));
    ck_assert_ptr_eq(strchr(log, '\n'), log + strlen(log) - 1);
}
END_TEST

/* ---- the world ---- */

static void assert_later(scep_wire_verdict v, const char *says)
{
    ck_assert_msg(v.status == SCEP_STATUS_LATER, "status %u: %s", v.status, v.detail);
    ck_assert_msg(strstr(v.detail, says) != NULL, "\"%s\" in: %s", says, v.detail);
    ck_assert_uint_eq(v.certificate.len, 0);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "SCEP0242: NDES-31 a request is put off: "));
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "verdict=later"));
}

START_TEST(without_a_store_nothing_is_decided)
{
    scep_bytes csr = csr_of(office_room_mint(o, "devices", p), "CN=a");
    scep_wire_verdict v;

    store_close(o->store);
    v = office_room_enrol(o, "devices", "1", csr, p);
    assert_later(v, "");
    o = office_room_again(o, p);
    ck_assert_int_eq(office_room_count(o, p), 0);
    v = office_room_enrol(o, "devices", "1", csr, p);
    cert_of(&v);
}
END_TEST

START_TEST(after_its_deadline_a_request_is_put_off)
{
    scep_bytes csr = csr_of(office_room_mint(o, "devices", p), "CN=a");
    apr_interval_time_t timeout = o->timeout;
    scep_wire_verdict v;

    o->timeout = -apr_time_from_sec(1);
    v = office_room_enrol(o, "devices", "1", csr, p);
    assert_later(v, "deadline");
    ck_assert_int_eq(office_room_count(o, p), 0);
    o->timeout = timeout;
    v = office_room_enrol(o, "devices", "1", csr, p);
    cert_of(&v);
}
END_TEST

/* A CA in front of the real one. */
static const scep_err *(*real_submit)(connector_answer *, connector *, const connector_ask *,
                                      apr_pool_t *);
static office *second_node;
static scep_bytes second_csr;
static scep_wire_verdict second_verdict;
static int submitted;

static connector *connector_of(void)
{
    return APR_ARRAY_IDX(o->authorities, 0, office_authority *)->connector;
}

static const scep_err *submit_other_key(connector_answer *out, connector *self,
                                        const connector_ask *ask, apr_pool_t *pool)
{
    X509_PUBKEY *key = NULL;
    scep_csr other = *ask->csr;
    connector_ask of_other = *ask;

    of_other.csr = &other;
    other.key = fixture_key(2);
    FIXTURE_MUST(X509_PUBKEY_set(&key, other.key) && !scep_spki_of(&other.spki, key, pool));
    X509_PUBKEY_free(key);
    return real_submit(out, self, &of_other, pool);
}

static const scep_err *submit_denied(connector_answer *out, connector *self,
                                     const connector_ask *ask, apr_pool_t *pool)
{
    *out = (connector_answer){ .outcome = CONNECTOR_DENIED, .reason = "by \"law\"\\xC3" };
    return NULL;
}

/* While this node waits for its CA, another one answers. */
static const scep_err *submit_overtaken(connector_answer *out, connector *self,
                                        const connector_ask *ask, apr_pool_t *pool)
{
    submitted++;
    second_verdict = office_room_enrol(second_node, "devices", "1", second_csr, p);
    return real_submit(out, self, ask, pool);
}

START_TEST(R_089_a_certificate_for_another_key_never_leaves)
{
    scep_bytes csr = csr_of(office_room_mint(o, "devices", p), "CN=a");
    scep_wire_verdict v;

    real_submit = connector_of()->submit;
    connector_of()->submit = submit_other_key;
    v = office_room_enrol(o, "devices", "1", csr, p);
    assert_later(v, "another key");
    ck_assert_int_eq(office_room_count(o, p), 0);
    connector_of()->submit = submit_denied;
    v = office_room_enrol(o, "devices", "1", csr, p);
    assert_refused(v, SCEP_REFUSED);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "reason=\"the CA denied: by \\x22law\\x22\\xC3\""));
    connector_of()->submit = real_submit;
    v = office_room_enrol(o, "devices", "1", csr, p);
    cert_of(&v);
}
END_TEST

START_TEST(where_another_node_was_first_its_answer_is_given)
{
    scep_wire_verdict v;

    second_node = office_room_again(o, p);
    second_csr = csr_of(office_room_mint(o, "devices", p), "CN=a");
    real_submit = connector_of()->submit;
    connector_of()->submit = submit_overtaken;
    v = office_room_enrol(o, "devices", "1", second_csr, p);
    cert_of(&second_verdict);
    cert_of(&v);
    ck_assert_int_eq(submitted, 1);
    assert_bytes(v.certificate, second_verdict.certificate);
    ck_assert_int_eq(office_room_count(o, p), 1);
    ck_assert_ptr_nonnull(
        strstr(strstr(office_room_log(p), "verdict=repeated"), scep_cert_serial(cert_of(&v), p)));
    store_close(second_node->store);
}
END_TEST

START_TEST(a_challenge_used_at_another_node_meanwhile_issues_nothing)
{
    const char *challenge = office_room_mint(o, "devices", p);
    scep_wire_verdict v;

    second_node = office_room_again(o, p);
    second_csr = csr_of(challenge, "CN=faster");
    real_submit = connector_of()->submit;
    connector_of()->submit = submit_overtaken;
    v = office_room_enrol(o, "devices", "2", csr_of(challenge, "CN=slower"), p);
    cert_of(&second_verdict);
    assert_refused(v, SCEP_CHALLENGE);
    ck_assert_ptr_nonnull(strstr(v.detail, "is unknown, used or expired"));
    ck_assert_int_eq(submitted, 1);
    ck_assert_int_eq(office_room_count(o, p), 1);
    store_close(second_node->store);
}
END_TEST

/* ---- many at a time ---- */

typedef struct runner {
    apr_thread_t *thread;
    apr_pool_t *pool;
    const char *endpoint;
    const char *id;
    scep_bytes csr;
    scep_wire_verdict verdict;
} runner;

static void *run_one(apr_thread_t *thread, void *data)
{
    runner *r = data;

    r->verdict = office_room_enrol(o, r->endpoint, r->id, r->csr, r->pool);
    return NULL;
}

static void run_all(runner *runners, const char *endpoint)
{
    apr_status_t rv;

    for (int i = 0; i < THREADS; i++) {
        runners[i].endpoint = endpoint;
        ck_assert_int_eq(apr_pool_create(&runners[i].pool, NULL), APR_SUCCESS);
        ck_assert_int_eq(apr_thread_create(&runners[i].thread, NULL, run_one, &runners[i], p),
                         APR_SUCCESS);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(apr_thread_join(&rv, runners[i].thread), APR_SUCCESS);
}

static void end_all(runner *runners)
{
    for (int i = 0; i < THREADS; i++)
        apr_pool_destroy(runners[i].pool);
}

START_TEST(S_07_one_challenge_gives_one_certificate_however_many_ask)
{
    const char *challenge = office_room_mint(o, "devices", p);
    scep_wire_verdict wrong = office_room_enrol(o, "devices", "x", csr_of("wrong", "CN=x"), p);
    runner runners[THREADS] = { 0 };
    int issued = 0;

    for (int i = 0; i < THREADS; i++) {
        runners[i].id = apr_itoa(p, i);
        runners[i].csr = csr_of(challenge, apr_psprintf(p, "CN=%d", i));
    }
    run_all(runners, "devices");
    for (int i = 0; i < THREADS; i++) {
        if (runners[i].verdict.status == SCEP_STATUS_ISSUED) {
            issued++;
            continue;
        }
        assert_refused(runners[i].verdict, SCEP_CHALLENGE);
        ck_assert_str_eq(runners[i].verdict.detail, wrong.detail);
    }
    ck_assert_int_eq(issued, 1);
    ck_assert_int_eq(office_room_count(o, p), 1);
    end_all(runners);
}
END_TEST

START_TEST(an_ignored_challenge_stands_in_nobodys_way)
{
    runner runners[THREADS] = { 0 };

    for (int i = 0; i < THREADS; i++) {
        runners[i].id = apr_itoa(p, i);
        runners[i].csr = csr_of("the same for all", apr_psprintf(p, "CN=%d", i));
    }
    run_all(runners, "open");
    for (int i = 0; i < THREADS; i++)
        cert_of(&runners[i].verdict);
    ck_assert_int_eq(office_room_count(o, p), THREADS);
    end_all(runners);
}
END_TEST

START_TEST(one_request_gives_one_certificate_however_often_it_is_sent)
{
    scep_bytes csr = csr_of(office_room_mint(o, "devices", p), "CN=a");
    runner runners[THREADS] = { 0 };

    for (int i = 0; i < THREADS; i++) {
        runners[i].id = "1";
        runners[i].csr = csr;
    }
    run_all(runners, "devices");
    for (int i = 0; i < THREADS; i++) {
        cert_of(&runners[i].verdict);
        assert_bytes(runners[i].verdict.certificate, runners[0].verdict.certificate);
    }
    ck_assert_int_eq(office_room_count(o, p), 1);
    end_all(runners);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, R_080_R_084_R_162_a_good_challenge_gives_a_certificate);
    tcase_add_test(cases, R_085_a_used_challenge_is_refused);
    tcase_add_test(cases,
                   S_05_S_27_wrong_used_expired_and_foreign_challenges_are_told_apart_by_nobody);
    tcase_add_test(cases, R_086_S_03_Q_69_an_absent_or_empty_challenge_is_refused);
    tcase_add_test(cases, R_117_D_09_Q_78_S_23_the_same_request_gets_the_same_certificate);
    tcase_add_test(cases, a_restart_forgets_nothing);
    tcase_add_test(cases,
                   R_119_S_22_a_transaction_of_another_key_gets_nothing_and_keeps_its_challenge);
    tcase_add_test(cases, R_116_another_csr_in_the_same_transaction_is_a_new_request);
    tcase_add_loop_test(cases, R_088_S_12_S_20_a_refusal_gives_the_challenge_back, 0,
                        ROWS(harmless));
    tcase_add_test(cases, a_sid_is_issued_where_the_template_allows_it);
    tcase_add_test(cases, no_certificate_outlives_the_ca);
    tcase_add_test(cases, Q_68_where_no_challenge_is_enforced_one_that_is_sent_is_ignored);
    tcase_add_test(cases, an_unknown_endpoint_is_refused);
    tcase_add_test(cases, S_13_S_21_what_a_device_sends_cannot_break_a_log_line);
    tcase_add_test(cases, without_a_store_nothing_is_decided);
    tcase_add_test(cases, after_its_deadline_a_request_is_put_off);
    tcase_add_test(cases, R_089_a_certificate_for_another_key_never_leaves);
    tcase_add_test(cases, where_another_node_was_first_its_answer_is_given);
    tcase_add_test(cases, a_challenge_used_at_another_node_meanwhile_issues_nothing);
    tcase_add_test(cases, S_07_one_challenge_gives_one_certificate_however_many_ask);
    tcase_add_test(cases, an_ignored_challenge_stands_in_nobodys_way);
    tcase_add_test(cases, one_request_gives_one_certificate_however_often_it_is_sent);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office", add_tests);
    office_room_done();
    return status;
}
