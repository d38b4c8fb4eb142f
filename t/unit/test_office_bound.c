/* Challenges that are bound to a name when they are minted (S-04, CERT VU#971035). */
#include "office_suite.h"

#include "certs.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <string.h>

#define THREADS 2

/* What is sent to be bound. */
typedef struct wanted {
    const char *subject, *names[3], *template_name;
} wanted;

static const scep_err *ask(scep_wire_minted *out, const char *endpoint, wanted w)
{
    scep_wire_mint in = { .endpoint = endpoint,
                          .user = "admin",
                          .peer = "192.0.2.1",
                          .subject = w.subject,
                          .template_name = w.template_name,
                          .names = apr_array_make(p, 3, sizeof(scep_wire_alt_name)) };

    for (int i = 0; i < ROWS(w.names) && w.names[i]; i++)
        APR_ARRAY_PUSH(in.names, scep_wire_alt_name) = (scep_wire_alt_name){ w.names[i] };
    return office_mint(out, o, &in, p);
}

static const char *mint(const char *endpoint, wanted w)
{
    scep_wire_minted minted;

    assert_ok(ask(&minted, endpoint, w));
    ck_assert_int_eq(minted.outcome, SCEP_MINT_DONE);
    return minted.challenge;
}

static scep_wire_verdict enrol(const char *id, const char *challenge, const char *subject,
                               const char *san)
{
    const fixture_request r = { .challenge = challenge, .subject = subject, .san = san };

    return office_room_enrol(o, "devices", id, fixture_csr(&r, p), p);
}

static void assert_issued(scep_wire_verdict v, int certificates)
{
    ck_assert_msg(v.status == SCEP_STATUS_ISSUED, "%s: %s", row, v.detail);
    ck_assert_int_eq(office_room_count(o, p), certificates);
}

static void assert_refused_for(scep_wire_verdict v, scep_code code, const char *says)
{
    assert_refused(v, code);
    ck_assert_msg(strstr(v.detail, says) != NULL, "%s: \"%s\" in: %s", row, says, v.detail);
}

static const wanted device = { "CN=a,O=b", { "DNS:A.example", "email:a@B.example" }, NULL };

START_TEST(S_04_a_bound_challenge_gives_what_it_is_bound_to)
{
    const char *challenge = mint("devices", device);
    scep_wire_verdict v = enrol("1", challenge, "O=b,CN=a", "DNS:a.EXAMPLE");
    const char *log = office_room_log(p);

    assert_issued(v, 1);
    ck_assert_ptr_nonnull(strstr(log, " subject=\"CN=a,O=b\" names=\"DNS:a.example,"
                                      "email:a@b.example\" template=\"\"\n"));
    ck_assert_ptr_null(strstr(log, challenge));
    /* the same request again gets the same certificate, as with any challenge */
    v = enrol("1", challenge, "O=b,CN=a", "DNS:a.EXAMPLE");
    assert_issued(v, 1);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "verdict=repeated"));
}
END_TEST

/* Each contradicts what the challenge is bound to. */
static const struct {
    const char *name, *subject, *san, *says;
} contradictions[] = {
    { "S-04 another CN", "O=b,CN=b", NULL, "bound to the subject \"CN=a,O=b\"" },
    { "S-04 an extra SAN", "O=b,CN=a", "DNS:a.example,DNS:x.example", "names than DNS:x.example" },
};

START_TEST(S_04_S_23_a_contradicted_challenge_is_gone)
{
    const char *challenge = mint("devices", device), *log;

    row = contradictions[_i].name;
    for (int again = 0; again < 2; again++) {
        scep_wire_verdict v =
            enrol("1", challenge, contradictions[_i].subject, contradictions[_i].san);

        if (again)
            assert_refused_for(v, SCEP_CHALLENGE, "unknown, used or expired");
        else
            assert_refused_for(v, SCEP_BAD_SUBJECT, contradictions[_i].says);
    }
    assert_refused_for(enrol("2", challenge, "O=b,CN=a", NULL), SCEP_CHALLENGE, "unknown, used");
    ck_assert_int_eq(office_room_count(o, p), 0);
    log = office_room_log(p);
    ck_assert_ptr_nonnull(strstr(log, "verdict=refused code=BAD_SUBJECT reason=\"the challenge is "
                                      "bound to "));
    /* durable, and its place among the unused ones is free */
    store_close(o->store);
    o = office_room_again(o, p);
    assert_refused_for(enrol("3", challenge, "O=b,CN=a", NULL), SCEP_CHALLENGE, "unknown, used");
}
END_TEST

START_TEST(S_04_a_contradicted_challenge_makes_room_for_another)
{
    const fixture_request r = { .challenge = mint("Other.Example", device), .subject = "CN=b" };
    scep_wire_minted minted;

    (void)mint("Other.Example", device);
    assert_ok(ask(&minted, "Other.Example", device));
    ck_assert_int_eq(minted.outcome, SCEP_MINT_FULL);
    assert_refused_for(office_room_enrol(o, "Other.Example", "1", fixture_csr(&r, p), p),
                       SCEP_BAD_SUBJECT, "bound");
    (void)mint("Other.Example", device);
}
END_TEST

START_TEST(S_04_fewer_names_are_granted)
{
    assert_issued(enrol("1", mint("devices", device), "O=b,CN=a", "email:a@b.example"), 1);
    assert_issued(enrol("2", mint("devices", device), "O=b,CN=a", NULL), 2);
}
END_TEST

START_TEST(S_04_a_template_is_bound)
{
    const wanted century = { .template_name = "Century" };
    fixture_request r = { .challenge = mint("devices", century),
                          .key_usage = KU_DIGITAL_SIGNATURE };

    assert_issued(office_room_enrol(o, "devices", "1", fixture_csr(&r, p), p), 1);
    assert_refused_for(enrol("2", mint("devices", century), "CN=a", NULL), SCEP_BAD_SUBJECT,
                       "bound to template Century");
}
END_TEST

START_TEST(R_088_another_refusal_gives_a_bound_challenge_back)
{
    const wanted none = { .subject = "CN=a" };
    fixture_request r = { .challenge = mint("strict", none),
                          .subject = "CN=a",
                          .csr_digest = EVP_sha1() };

    assert_refused_for(office_room_enrol(o, "strict", "1", fixture_csr(&r, p), p), SCEP_BAD_ALG,
                       "160");
    r.csr_digest = EVP_sha256();
    assert_issued(office_room_enrol(o, "strict", "2", fixture_csr(&r, p), p), 1);
}
END_TEST

START_TEST(S_04_a_contradicted_request_does_not_wait)
{
    const fixture_request r = { .challenge = mint("manual", device), .subject = "CN=b" };

    assert_refused_for(office_room_enrol(o, "manual", "1", fixture_csr(&r, p), p), SCEP_BAD_SUBJECT,
                       "bound");
    ck_assert_ptr_null(office_room_waiting(o, "1", p));
}
END_TEST

START_TEST(S_04_without_a_store_a_contradiction_decides_nothing)
{
    const char *challenge = mint("devices", device);
    scep_wire_verdict v;

    store_close(o->store);
    v = enrol("1", challenge, "CN=b", NULL);
    ck_assert_int_eq(v.status, SCEP_STATUS_LATER);
    o = office_room_again(o, p);
    assert_issued(enrol("2", challenge, "O=b,CN=a", NULL), 1);
}
END_TEST

/* What cannot be bound mints nothing. */
static const struct {
    const char *name;
    wanted w;
    const char *says;
} refused[] = {
    { "a subject that is none", { .subject = "a" }, "the subject cannot be read" },
    { "a name that is none", { .names = { "DNS:a", "b" } }, "name 2 cannot be read" },
    { "a template of nobody", { .template_name = "No\n" }, "no template \"No\\x0A\"" },
    { "a template that the endpoint does not pick", { .template_name = "Client" }, "no template" },
};

START_TEST(S_04_what_cannot_be_bound_is_refused)
{
    scep_wire_minted minted;
    const scep_err *err;

    row = refused[_i].name;
    err = ask(&minted, "devices", refused[_i].w);
    assert_code(SCEP_BAD_REQUEST, err);
    ck_assert_msg(strstr(err->detail, refused[_i].says) != NULL, "%s: %s", row, err->detail);
    ck_assert_ptr_null(minted.challenge);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "verdict=failed reason=\""));
}
END_TEST

/* ---- two at a time ---- */

typedef struct runner {
    apr_thread_t *thread;
    apr_pool_t *pool;
    const char *id;
    scep_bytes csr;
    scep_wire_verdict verdict;
} runner;

static void *run_one(apr_thread_t *thread, void *data)
{
    runner *r = data;

    r->verdict = office_room_enrol(o, "devices", r->id, r->csr, r->pool);
    return NULL;
}

/* Whichever comes first, the challenge is used once: for the certificate or for the refusal. */
START_TEST(S_04_a_right_and_a_wrong_request_at_once_use_it_once)
{
    static const char *const subjects[THREADS] = { "O=b,CN=a", "CN=b" };
    const char *challenge = mint("devices", device);
    runner runners[THREADS] = { 0 };
    bool issued, contradicted;
    apr_status_t rv;

    for (int i = 0; i < THREADS; i++) {
        const fixture_request r = { .challenge = challenge, .subject = subjects[i] };

        runners[i].id = subjects[i];
        runners[i].csr = fixture_csr(&r, p);
        ck_assert_int_eq(apr_pool_create(&runners[i].pool, NULL), APR_SUCCESS);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(apr_thread_create(&runners[i].thread, NULL, run_one, &runners[i], p), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(apr_thread_join(&rv, runners[i].thread), APR_SUCCESS);
    issued = runners[0].verdict.status == SCEP_STATUS_ISSUED;
    contradicted = runners[1].verdict.code == SCEP_BAD_SUBJECT;
    ck_assert_msg(issued != contradicted, "issued %d, contradicted %d", issued, contradicted);
    assert_refused_for(runners[issued].verdict, SCEP_CHALLENGE, "unknown");
    ck_assert_int_eq(office_room_count(o, p), issued);
    for (int i = 0; i < THREADS; i++)
        apr_pool_destroy(runners[i].pool);
}
END_TEST

/* ---- another node ---- */

static office *second_node;
static const char *second_challenge;
static const scep_err *(*real_submit)(connector_answer *, connector *, const connector_ask *,
                                      apr_pool_t *);

/* While this node waits for its CA, the same challenge is contradicted at another one. */
static const scep_err *submit_overtaken(connector_answer *out, connector *self,
                                        const connector_ask *ask, apr_pool_t *pool)
{
    const fixture_request r = { .challenge = second_challenge, .subject = "CN=b" };

    assert_refused_for(office_room_enrol(second_node, "devices", "2", fixture_csr(&r, p), p),
                       SCEP_BAD_SUBJECT, "bound");
    return real_submit(out, self, ask, pool);
}

START_TEST(S_04_a_challenge_contradicted_at_another_node_issues_nothing)
{
    connector *ca = APR_ARRAY_IDX(o->authorities, 0, office_authority *)->connector;

    second_node = office_room_again(o, p);
    second_challenge = mint("devices", device);
    real_submit = ca->submit;
    ca->submit = submit_overtaken;
    assert_refused_for(enrol("1", second_challenge, "O=b,CN=a", NULL), SCEP_CHALLENGE, "unknown");
    ck_assert_int_eq(office_room_count(o, p), 0);
    store_close(second_node->store);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, S_04_a_bound_challenge_gives_what_it_is_bound_to);
    tcase_add_loop_test(cases, S_04_S_23_a_contradicted_challenge_is_gone, 0, ROWS(contradictions));
    tcase_add_test(cases, S_04_a_contradicted_challenge_makes_room_for_another);
    tcase_add_test(cases, S_04_fewer_names_are_granted);
    tcase_add_test(cases, S_04_a_template_is_bound);
    tcase_add_test(cases, R_088_another_refusal_gives_a_bound_challenge_back);
    tcase_add_test(cases, S_04_a_contradicted_request_does_not_wait);
    tcase_add_test(cases, S_04_without_a_store_a_contradiction_decides_nothing);
    tcase_add_loop_test(cases, S_04_what_cannot_be_bound_is_refused, 0, ROWS(refused));
    tcase_add_test(cases, S_04_a_right_and_a_wrong_request_at_once_use_it_once);
    tcase_add_test(cases, S_04_a_challenge_contradicted_at_another_node_issues_nothing);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office: bound challenges", add_tests);
    office_room_done();
    return status;
}
