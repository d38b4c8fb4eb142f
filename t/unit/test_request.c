/* The queue of requests that wait for an administrator. */
#include "request_room.h"

#include "certs.h"
#include "clock.h"
#include "inventory.h"

#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <string.h>

static void refuses_another_key(const char *transaction_id)
{
    const char *id;

    room_expect(pend_from(room_request("e", transaction_id, 'x', 'c'), "192.0.2.1",
                          &request_room_limits, &id),
                SCEP_REFUSED);
}

START_TEST(R_117_a_request_that_waits_is_found_again_and_waits_once)
{
    const char *id = pend("id", 'k', 'c'), *second;
    const store_request *row = row_of(id);

    ck_assert_uint_eq(strlen(id), 16);
    ck_assert_uint_eq(strspn(id, "0123456789ABCDEF"), 16);
    ck_assert_str_eq(row->endpoint, "e");
    ck_assert_str_eq(row->authority, "ca");
    ck_assert_str_eq(row->template_name, "template");
    ck_assert_str_eq(row->transaction_id, "id\\x0A"); /* S-21 */
    ck_assert_str_eq(row->subject, "CN=device");
    ck_assert_str_eq(row->peer, "192.0.2.1");
    ck_assert_str_eq(row->state, "pending");
    ck_assert_int_eq(row->message_type, 19);
    ck_assert_int_eq(row->ends, apr_time_sec(ROOM_START) + WEEK);
    ck_assert(scep_bytes_equal(row->csr, scep_bytes_of("csr")));

    ck_assert_int_eq(found("id", 'k', 'c').state, TRANSACTION_PENDING);
    ck_assert_str_eq(found("id", 'k', 'c').request, id);
    room_expect(
        pend_from(room_request("e", "id", 'k', 'c'), "192.0.2.1", &request_room_limits, &second),
        SCEP_OK);
    ck_assert_ptr_null(second);
    ck_assert_str_eq(found("id", 'k', 'c').request, id);
}
END_TEST

START_TEST(R_115_a_new_transaction_id_waits_beside_the_former_one)
{
    const char *first = pend("id", 'k', 'c'), *second = pend("di", 'k', 'c');

    ck_assert_str_ne(first, second);
    ck_assert_str_eq(room_poll("e", "id", 'k').request, first);
    ck_assert_str_eq(room_poll("e", "di", 'k').request, second);
}
END_TEST

START_TEST(R_119_the_transaction_id_of_one_that_waits_belongs_to_its_key)
{
    pend("id", 'k', 'c');
    refuses_another_key("id");
}
END_TEST

START_TEST(a_proven_renewal_waits_and_is_decided_beside_another_keys_transaction)
{
    pend_job renewal = { .t = room_request("e", "id", 'x', 'c'),
                         .peer = "192.0.2.1",
                         .old = room_certificate(2),
                         .limits = &request_room_limits };
    const char *first = pend("id", 'k', 'c');

    renewal.t->row.proven = true;
    room_expect(store_run(room_store, pend_in_store, &renewal, room_pool), SCEP_OK);
    room_expect(decide(renewal.id, room_certificate(1)), SCEP_OK);
    ck_assert_int_eq(room_poll("e", "id", 'x').state, TRANSACTION_ISSUED);
    ck_assert_str_eq(room_poll("e", "id", 'k').request, first);
    room_expect(decide(first, NULL), SCEP_OK);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_DENIED);
}
END_TEST

/* A renewal waits with the certificate that stands for it, and binds no transactionID. */
START_TEST(S_08_S_22_S_23_a_renewal_that_waits_keeps_its_old_certificate)
{
    X509 *old = room_certificate(1);
    pend_job j = { .t = room_request("e", "id", 'x', 'c'),
                   .peer = "192.0.2.1",
                   .old = old,
                   .limits = &request_room_limits };
    transaction_answer answer;
    transaction *again;
    scep_bytes der;

    j.t->row.proven = true;
    j.t->challenged = false;
    room_expect(store_run(room_store, pend_in_store, &j, room_pool), SCEP_OK);
    room_expect(scep_cert_der(&der, old, room_pool), SCEP_OK);
    ck_assert(scep_bytes_equal(row_of(j.id)->old, der));
    ck_assert(!row_of(j.id)->challenged);
    ck_assert_uint_eq(row_of(pend("di", 'k', 'c'))->old.len, 0);

    room_expect(decide(j.id, room_certificate(2)), SCEP_OK);
    ck_assert_ptr_nonnull(pend("id", 'k', 'c')); /* nobody's transactionID */
    at(1800);
    again = room_request("e", "id", 'x', 'c');
    again->row.proven = true;
    room_expect(room_find(again, &answer), SCEP_OK);
    ck_assert_int_eq(answer.state, TRANSACTION_ISSUED); /* S-23: half of its life is over */
}
END_TEST

START_TEST(R_113_R_114_a_poll_after_approval_gives_the_certificate_again_and_again)
{
    const char *id = pend("id", 'k', 'c');
    X509 *cert = room_certificate(0xab);
    const store_request *row;

    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_PENDING);
    room_expect(decide(id, cert), SCEP_OK);
    for (int i = 0; i < 2; i++) {
        transaction_answer answer = room_poll("e", "id", 'k');
        const unsigned char *der = answer.certificate.data;
        X509 *got;

        ck_assert_int_eq(answer.state, TRANSACTION_ISSUED);
        ck_assert_str_eq(answer.authority, "ca");
        ck_assert_str_eq(answer.request, id);
        got = scep_X509(room_pool, d2i_X509(NULL, &der, (long)answer.certificate.len));
        ck_assert(got && X509_cmp(got, cert) == 0);
    }
    ck_assert_int_eq(found("id", 'k', 'c').state, TRANSACTION_ISSUED);
    row = row_of(id);
    ck_assert_str_eq(row->state, "issued");
    ck_assert_str_eq(row->serial, "AB");
    ck_assert_str_eq(row->by, "root");
    ck_assert_int_eq(row->decided, apr_time_sec(ROOM_START));
}
END_TEST

START_TEST(R_118_what_was_approved_has_the_times_of_its_certificate)
{
    const char *id;

    at(10 - WEEK); /* it would wait until 10 */
    id = pend("id", 'k', 'c');
    at(0);
    room_expect(decide(id, room_certificate(1)), SCEP_OK);
    at(1799);
    ck_assert_int_eq(found("id", 'k', 'c').state, TRANSACTION_ISSUED);
    at(1800);
    ck_assert_int_eq(found("id", 'k', 'c').state, TRANSACTION_NEW);
    at(3599);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_ISSUED);
    refuses_another_key("id");
    at(3600);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_NEW);
    pend("id", 'x', 'c');
}
END_TEST

typedef struct long_job {
    transaction *t;
    issued_cert cert;
} long_job;

static const scep_err *issue_in_store(store_tx *tx, void *baton)
{
    long_job *j = baton;
    bool done;

    SCEP_TRY(transaction_record(tx, j->t, &done));
    ck_assert(done);
    return inventory_record(tx, &j->cert, j->t, "ca", "template");
}

/* At once, for six weeks. */
static void issue_long(const char *transaction_id)
{
    long_job j = { .t = room_request("e", transaction_id, 'k', 'c'),
                   .cert = *room_issued(room_certificate(*transaction_id)) };

    j.cert.ends = apr_time_sec(ROOM_START) + 6 * WEEK;
    transaction_set_issued(j.t, &j.cert, "ca");
    room_expect(store_run(room_store, issue_in_store, &j, room_pool), SCEP_OK);
}

START_TEST(R_118_S_22_what_waits_again_does_not_shorten_what_its_key_holds)
{
    const char *denied;

    issue_long("waits");
    issue_long("denied");
    at(4 * WEEK); /* after half of its life */
    pend("waits", 'k', 'c');
    denied = pend("denied", 'k', 'c');
    room_expect(decide(denied, NULL), SCEP_OK);
    at(6 * WEEK - 1);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "denied" : "waits";

        refuses_another_key(name);
        ck_assert_int_eq(room_poll("e", name, 'k').state, TRANSACTION_NEW); /* */
        ck_assert_int_eq(found(name, 'k', 'c').state, TRANSACTION_NEW);
    }
    at(6 * WEEK);
    pend("waits", 'x', 'c');
    pend("denied", 'x', 'c');
}
END_TEST

START_TEST(R_114_a_certificate_that_ended_answers_no_poll_though_its_request_would_wait_still)
{
    room_expect(decide(pend("id", 'k', 'c'), room_certificate(1)), SCEP_OK);
    at(3599);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_ISSUED);
    at(3600);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_NEW);
}
END_TEST

START_TEST(R_113_a_denial_is_remembered_as_long_as_the_request_would_have_waited)
{
    const char *id = pend("id", 'k', 'c');

    at(100);
    room_expect(decide(id, NULL), SCEP_OK);
    ck_assert_str_eq(row_of(id)->state, "denied");
    ck_assert_str_eq(row_of(id)->reason, "not known here");
    ck_assert_str_eq(row_of(id)->by, "root");
    at(WEEK - 1);
    ck_assert_int_eq(found("id", 'k', 'c').state, TRANSACTION_DENIED);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_DENIED);
    at(WEEK);
    ck_assert_int_eq(found("id", 'k', 'c').state, TRANSACTION_NEW);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_NEW);
    pend("id", 'k', 'c');
}
END_TEST

START_TEST(R_112_what_has_expired_is_unknown_to_a_poll_and_cannot_be_approved)
{
    const char *id = pend("id", 'k', 'c'), *anew;

    at(WEEK - 1);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_PENDING);
    at(WEEK);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_NEW);
    ck_assert_int_eq(room_poll("e", "unknown", 'k').state, TRANSACTION_NEW);
    room_expect(decide(id, room_certificate(1)), SCEP_BAD_CERT_ID);

    anew = pend("id", 'k', 'c');
    ck_assert_str_ne(anew, id);
    ck_assert_str_eq(room_poll("e", "id", 'k').request, anew);
    room_expect(decide(anew, room_certificate(1)), SCEP_OK);
}
END_TEST

START_TEST(R_121_S_22_a_poll_of_another_key_does_not_see_what_waits)
{
    pend("id", 'k', 'c');
    ck_assert_int_eq(room_poll("e", "id", 'x').state, TRANSACTION_NEW);
    ck_assert_int_eq(room_poll("f", "id", 'k').state, TRANSACTION_NEW);
}
END_TEST

START_TEST(R_111_a_poll_means_the_newest_request_though_an_older_one_was_decided_after_it)
{
    const char *older = pend("id", 'k', 'c'), *newer;

    at(1);
    newer = pend("id", 'k', 'd');
    at(2);
    room_expect(decide(older, NULL), SCEP_OK);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_PENDING);
    ck_assert_str_eq(room_poll("e", "id", 'k').request, newer);
}
END_TEST

/* ---- limits ---- */

typedef struct flood {
    const char *what;
    long most;
    bool one_key, one_peer;
    int waiting; /* so many are let in */
} flood;

static const flood floods[] = {
    { "all", 10, false, false, 10 },      { "key", 80, true, false, 8 },
    { "address", 80, false, true, 8 },    { "few for a key", 10, true, false, 5 },
    { "few for all", 3, true, false, 3 }, { "few from an address", 49, false, true, 5 },
};

static const scep_err *pend_of_flood(const flood *f, int i, const char **id)
{
    const request_limits within = { .most = f->most, .days = 1 };
    transaction *t =
        room_request("e", apr_itoa(room_pool, i), f->one_key ? 'k' : (char)(i + 1), 'c');

    return pend_from(t, f->one_peer ? "192.0.2.1" : apr_psprintf(room_pool, "192.0.2.%d", i),
                     &within, id);
}

START_TEST(S_24_no_more_wait_than_may_and_who_was_decided_makes_room)
{
    const flood *f = &floods[_i];
    const char *first = NULL, *id;
    transaction_answer answer;

    for (int i = 0; i < f->waiting; i++) {
        room_expect(pend_of_flood(f, i, &id), SCEP_OK);
        ck_assert_ptr_nonnull(id);
        first = first ? first : id;
    }
    room_expect(pend_of_flood(f, 100, &id), SCEP_REFUSED);
    /* and nothing of it stays: the transactionID is not bound */
    room_expect(room_find(room_request("e", "100", 'x', 'c'), &answer), SCEP_OK);
    ck_assert_int_eq(answer.state, TRANSACTION_NEW);

    room_expect(decide(first, NULL), SCEP_OK);
    room_expect(pend_of_flood(f, 100, &id), SCEP_OK);
    room_expect(pend_of_flood(f, 101, &id), SCEP_REFUSED);
    at(ROOM_DAY); /* what has expired makes room, swept or not */
    room_expect(pend_of_flood(f, 101, &id), SCEP_OK);
}
END_TEST

/* ---- decisions that come too late ---- */

static void sweep(apr_int64_t keep_seconds)
{
    for (bool more = true; more;)
        room_expect(request_sweep(&more, room_store, keep_seconds, room_pool), SCEP_OK);
}

START_TEST(what_cannot_be_decided_says_why)
{
    const char *denied = pend("1", 'k', 'c'), *issued = pend("2", 'k', 'c');
    const char *expired = pend("3", 'k', 'c');
    const struct {
        const char *id, *says;
    } wrong[] = {
        { expired, apr_pstrcat(room_pool, "request ", expired, " has expired", NULL) },
        { expired, apr_pstrcat(room_pool, "request ", expired, " has expired", NULL) },
        { "0123", "there is no request 0123" },
        { "\n", "there is no request \\x0A" },
        { denied, "was denied already, by root" },
        { issued, "was issued already, by root" },
    };

    room_expect(decide(denied, NULL), SCEP_OK);
    room_expect(decide(issued, room_certificate(1)), SCEP_OK);
    at(WEEK);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        const scep_err *err = decide(wrong[i].id, NULL);

        room_expect(err, SCEP_BAD_CERT_ID);
        ck_assert_msg(strstr(err->detail, wrong[i].says), "%s", err->detail);
        sweep(WEEK);
    }
    ck_assert_str_eq(row_of(expired)->state, "expired");
}
END_TEST

START_TEST(a_decision_that_fails_leaves_the_request_waiting)
{
    const char *id = pend("id", 'k', 'c');
    bool done;

    room_expect(room_settle(room_request("e", "di", 'k', 'c'), room_certificate(7), &done),
                SCEP_OK);
    room_expect(decide(id, room_certificate(7)), SCEP_INTERNAL); /* that number exists */
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_PENDING);
    ck_assert_str_eq(row_of(id)->state, "pending");
    room_expect(decide(id, room_certificate(8)), SCEP_OK);
}
END_TEST

static void *APR_THREAD_FUNC decide_it(apr_thread_t *thread, void *data)
{
    decide_job *j = data;

    j->err = store_run(j->store, decide_in_store, j, j->pool);
    return NULL;
}

START_TEST(two_nodes_that_decide_at_once_decide_once)
{
    store *second;

    room_expect(store_open(&second, room_where, room_pool), SCEP_OK);
    for (int round = 0; round < 10; round++) {
        const char *name = apr_itoa(room_pool, round);
        decide_job looked = { .id = pend(name, 'k', (char)(round + 1)) };
        decide_job node[2] = { { .store = room_store }, { .store = second } };
        apr_thread_t *thread[2];
        apr_status_t status;

        room_expect(store_run(room_store, look_up, &looked, room_pool), SCEP_OK);
        node[0].cert = room_certificate(round + 1);
        for (int i = 0; i < 2; i++) {
            node[i].known = looked.known;
            ck_assert_int_eq(apr_pool_create(&node[i].pool, NULL), 0);
            ck_assert_int_eq(apr_thread_create(&thread[i], NULL, decide_it, &node[i], room_pool),
                             0);
        }
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(apr_thread_join(&status, thread[i]), 0);
        ck_assert_int_eq(!node[0].err + !node[1].err, 1);
        room_expect(node[node[0].err ? 0 : 1].err, SCEP_BAD_CERT_ID);
        ck_assert_int_eq(room_poll("e", name, 'k').state,
                         node[0].err ? TRANSACTION_DENIED : TRANSACTION_ISSUED);
        for (int i = 0; i < 2; i++)
            apr_pool_destroy(node[i].pool);
    }
}
END_TEST

static const scep_err *pend_many(store_tx *tx, void *baton)
{
    for (int i = 0; i < 250; i++) {
        store_request r = { .id = apr_itoa(room_pool, i),
                            .endpoint = "e",
                            .authority = "ca",
                            .transaction = "t",
                            .key_hash = "k",
                            .csr_hash = "c",
                            .state = i % 2 ? "pending" : "denied",
                            .decided = i % 2 ? 0 : 1,
                            .ends = 1 };
        bool done;

        SCEP_TRY(store_request_put(tx, &r, &done));
    }
    return NULL;
}

static int rows_where(const char *condition)
{
    other o = other_open();
    apr_array_header_t *cells = other_asks(
        &o, apr_pstrcat(room_pool, "SELECT id FROM scep_request WHERE ", condition, NULL));

    other_close(&o);
    return cells->nelts;
}

START_TEST(S_24_a_sweep_goes_on_until_all_that_ended_is_gone)
{
    room_expect(store_run(room_store, pend_many, NULL, room_pool), SCEP_OK);
    pend("id", 'k', 'c');
    scep_clock_set(apr_time_from_sec(101));
    sweep(100);
    ck_assert_int_eq(rows_where("state = 'expired'"), 125);
    ck_assert_int_eq(rows_where("state = 'denied'"), 125);
    scep_clock_set(apr_time_from_sec(102));
    sweep(100);
    ck_assert_int_eq(rows_where("1 = 1"), 1);
    ck_assert_int_eq(rows_where("state = 'pending'"), 1);
}
END_TEST

static Suite *request_suite(void)
{
    Suite *suite = suite_create("request");
    TCase *cases = tcase_create("queue");

    tcase_add_checked_fixture(cases, room_up_at_start, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, R_117_a_request_that_waits_is_found_again_and_waits_once);
    tcase_add_test(cases, R_115_a_new_transaction_id_waits_beside_the_former_one);
    tcase_add_test(cases, R_119_the_transaction_id_of_one_that_waits_belongs_to_its_key);
    tcase_add_test(cases, a_proven_renewal_waits_and_is_decided_beside_another_keys_transaction);
    tcase_add_test(cases, S_08_S_22_S_23_a_renewal_that_waits_keeps_its_old_certificate);
    tcase_add_test(cases, R_113_R_114_a_poll_after_approval_gives_the_certificate_again_and_again);
    tcase_add_test(cases, R_118_what_was_approved_has_the_times_of_its_certificate);
    tcase_add_test(cases, R_118_S_22_what_waits_again_does_not_shorten_what_its_key_holds);
    tcase_add_test(
        cases, R_114_a_certificate_that_ended_answers_no_poll_though_its_request_would_wait_still);
    tcase_add_test(cases, R_113_a_denial_is_remembered_as_long_as_the_request_would_have_waited);
    tcase_add_test(cases, R_112_what_has_expired_is_unknown_to_a_poll_and_cannot_be_approved);
    tcase_add_test(cases, R_121_S_22_a_poll_of_another_key_does_not_see_what_waits);
    tcase_add_test(cases,
                   R_111_a_poll_means_the_newest_request_though_an_older_one_was_decided_after_it);
    tcase_add_loop_test(cases, S_24_no_more_wait_than_may_and_who_was_decided_makes_room, 0,
                        sizeof(floods) / sizeof(*floods));
    tcase_add_test(cases, what_cannot_be_decided_says_why);
    tcase_add_test(cases, a_decision_that_fails_leaves_the_request_waiting);
    tcase_add_test(cases, two_nodes_that_decide_at_once_decide_once);
    tcase_add_test(cases, S_24_a_sweep_goes_on_until_all_that_ended_is_gone);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    Suite *(*const make[])(void) = { request_suite };

    return room_main(make, 1);
}
