/* Transactions and their clean-up. */
#include "certs.h"
#include "challenge.h"
#include "chores.h"
#include "clock.h"
#include "inventory.h"
#include "store_room.h"

#include <apr_strings.h>
#include <string.h>

#define WEEK (7 * ROOM_DAY)
#define HALF 1800 /* of the life of room_certificate() */

static void at(apr_int64_t seconds)
{
    scep_clock_set(ROOM_START + apr_time_from_sec(seconds));
}

static transaction_state found(const char *endpoint, const char *id, char key, char csr)
{
    transaction_answer answer;

    room_expect(room_find(room_request(endpoint, id, key, csr), &answer), SCEP_OK);
    ck_assert_int_eq(answer.certificate.len > 0, answer.state == TRANSACTION_ISSUED);
    return answer.state;
}

static scep_code found_code(const char *id, char key)
{
    transaction_answer answer;
    const scep_err *err = room_find(room_request("e", id, key, 'c'), &answer);

    ck_assert_int_eq(answer.state, TRANSACTION_NEW);
    return err ? err->code : SCEP_OK;
}

static void settled(const char *id, char key, char csr, long serial)
{
    bool done;

    room_expect(room_settle(room_request("e", id, key, csr), room_certificate(serial), &done),
                SCEP_OK);
    ck_assert(done);
}

static void revoke_one(const char *serial)
{
    const store_certificate *row;

    room_expect(inventory_revoke(room_store, "ca", serial, 1, &row, room_pool), SCEP_OK);
}

static bool is_of(transaction_answer answer, X509 *cert)
{
    scep_bytes der;

    room_expect(scep_cert_der(&der, cert, room_pool), SCEP_OK);
    return answer.state == TRANSACTION_ISSUED && scep_bytes_equal(answer.certificate, der) &&
           strcmp(answer.authority, "ca") == 0;
}

START_TEST(R_117_S_23_the_same_request_twice_gives_the_same_certificate)
{
    X509 *cert = room_certificate(0xab);
    transaction_answer answer;
    bool done;

    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_NEW);
    room_expect(room_settle(room_request("e", "id", 'k', 'c'), cert, &done), SCEP_OK);
    ck_assert(done);
    room_expect(room_find(room_request("e", "id", 'k', 'c'), &answer), SCEP_OK);
    ck_assert(is_of(answer, cert));
    ck_assert_str_eq(answer.request, "");

    /* whoever comes second with it changes nothing */
    room_expect(room_settle(room_request("e", "id", 'k', 'c'), room_certificate(0xac), &done),
                SCEP_OK);
    ck_assert(!done);
    room_expect(room_find(room_request("e", "id", 'k', 'c'), &answer), SCEP_OK);
    ck_assert(is_of(answer, cert));
}
END_TEST

START_TEST(R_115_another_transaction_id_or_csr_is_a_new_request)
{
    settled("id", 'k', 'c', 1);
    ck_assert_int_eq(found("e", "id", 'k', 'd'), TRANSACTION_NEW);
    settled("id", 'k', 'd', 2);
    ck_assert_int_eq(found("e", "di", 'k', 'c'), TRANSACTION_NEW);
    settled("di", 'k', 'c', 3);
}
END_TEST

START_TEST(R_119_S_22_the_same_transaction_id_with_another_key_gets_nothing)
{
    bool done;

    settled("id", 'k', 'c', 1);
    ck_assert_int_eq(found_code("id", 'x'), SCEP_REFUSED);
    room_expect(room_settle(room_request("e", "id", 'x', 'c'), room_certificate(2), &done),
                SCEP_REFUSED);
    ck_assert_int_eq(found("f", "id", 'x', 'c'), TRANSACTION_NEW);
    ck_assert_int_eq(found("e", "di", 'x', 'c'), TRANSACTION_NEW);
}
END_TEST

START_TEST(a_proven_renewal_has_answers_of_its_own_beside_another_keys)
{
    transaction *renewal = room_request("e", "id", 'x', 'c');
    X509 *cert = room_certificate(2);
    transaction_answer answer;
    bool done;

    settled("id", 'k', 'c', 1);
    renewal->row.proven = true;
    room_expect(room_find(renewal, &answer), SCEP_OK);
    ck_assert_int_eq(answer.state, TRANSACTION_NEW);
    room_expect(room_settle(renewal, cert, &done), SCEP_OK);
    ck_assert(done);
    room_expect(room_find(renewal, &answer), SCEP_OK);
    ck_assert(is_of(answer, cert));
    ck_assert(is_of(room_poll("e", "id", 'x'), cert));
    ck_assert(!is_of(room_poll("e", "id", 'k'), cert));
    ck_assert_int_eq(found_code("id", 'x'), SCEP_REFUSED); /* it binds nothing */
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_ISSUED);
}
END_TEST

START_TEST(S_22_a_renewal_takes_no_transactionID_from_another_key)
{
    transaction *renewal = room_request("e", "id", 'x', 'c');
    bool done;

    renewal->row.proven = true;
    room_expect(room_settle(renewal, room_certificate(1), &done), SCEP_OK);
    ck_assert(done);
    ck_assert_int_eq(found_code("id", 'k'), SCEP_OK);
    settled("id", 'k', 'c', 2);
    ck_assert_int_eq(room_poll("e", "id", 'x').state, TRANSACTION_ISSUED);
}
END_TEST

START_TEST(R_101_S_23_the_same_csr_signed_by_another_certificate_is_another_renewal)
{
    const scep_csr csr = { .hash = { 7 } };
    X509 *old[] = { room_certificate(1), room_certificate(2) };
    transaction *renewal[] = { room_request("e", "r", 'k', 'c'), room_request("e", "r", 'k', 'c'),
                               room_request("e", "r", 'k', 'c') };

    OK(transaction_prove(renewal[0], &csr, old[0], room_pool));
    OK(transaction_prove(renewal[1], &csr, old[1], room_pool));
    ck_assert_str_ne(renewal[0]->owner, renewal[1]->owner);
    ck_assert_str_ne(renewal[0]->row.csr_hash, renewal[1]->row.csr_hash);
    OK(transaction_prove(renewal[2], &csr, old[0], room_pool));
    ck_assert_str_eq(renewal[0]->owner, renewal[2]->owner);
    ck_assert(renewal[0]->row.proven);
}
END_TEST

START_TEST(every_part_of_the_identity_makes_another_owner)
{
    const transaction *all[] = {
        room_request("e", "id", 'k', 'c'), room_request("f", "id", 'k', 'c'),
        room_request("e", "di", 'k', 'c'), room_request("e", "id", 'l', 'c'),
        room_request("e", "id", 'k', 'd'), room_request("e", "id", 'k', '\0')
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        for (size_t k = 0; k < i; k++)
            ck_assert_str_ne(all[i]->owner, all[k]->owner);
    ck_assert_str_eq(all[0]->owner, room_request("e", "id", 'k', 'c')->owner);
}
END_TEST

START_TEST(S_21_of_a_transaction_id_the_store_keeps_a_hash)
{
    static const char odd[] = "../../x\0'; DROP TABLE scep_meta; --";
    char *long_one = apr_pcalloc(room_pool, 200000);
    unsigned char key[32] = { 'k' };
    scep_csr csr = { .subject = NULL };
    transaction *t;

    memset(long_one, 'x', 200000);
    const scep_bytes ids[] = { { (const unsigned char *)odd, sizeof(odd) },
                               { (unsigned char *)long_one, 200000 } };

    for (size_t i = 0; i < 2; i++) {
        transaction_answer answer;
        bool done;

        room_expect(transaction_make(&t, "e", ids[i], (scep_bytes){ key, 32 }, &csr, room_pool),
                    SCEP_OK);
        ck_assert_uint_eq(strlen(t->row.transaction), 44); /* base64 of SHA-256 */
        room_expect(room_settle(t, room_certificate((long)i + 1), &done), SCEP_OK);
        room_expect(room_find(t, &answer), SCEP_OK);
        ck_assert_int_eq(answer.state, TRANSACTION_ISSUED);
    }
    room_expect(transaction_make(&t, "e", ids[0], (scep_bytes){ key, 31 }, &csr, room_pool),
                SCEP_INTERNAL);
}
END_TEST

START_TEST(S_25_a_serial_number_that_exists_is_refused_and_nothing_of_the_job_stays)
{
    bool done;

    settled("id", 'k', 'c', 7);
    room_expect(room_settle(room_request("e", "di", 'k', 'c'), room_certificate(7), &done),
                SCEP_INTERNAL);
    ck_assert_int_eq(found("e", "di", 'x', 'c'), TRANSACTION_NEW); /* not bound either */
}
END_TEST

static const scep_err *record_wrong(store_tx *tx, void *baton)
{
    return inventory_record(tx, room_issued(room_certificate(8)), baton, "ca", "template");
}

START_TEST(a_transaction_cannot_name_another_certificate)
{
    transaction *t = room_request("e", "id", 'k', 'c');

    transaction_set_issued(t, room_issued(room_certificate(7)), "ca");
    room_expect(store_run(room_store, record_wrong, t, room_pool), SCEP_INTERNAL);
}
END_TEST

START_TEST(R_118_after_half_of_its_life_a_certificate_is_no_answer_but_the_key_stays_bound)
{
    settled("id", 'k', 'c', 1);
    at(HALF - 1);
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_ISSUED);
    at(HALF);
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_NEW);
    ck_assert_int_eq(found_code("id", 'x'), SCEP_REFUSED);
    settled("id", 'k', 'c', 2); /* a new request, and it replaces the former one */
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_NEW); /* of the same hour */
    at(3599);
    ck_assert_int_eq(found_code("id", 'x'), SCEP_REFUSED);
    at(3600);
    ck_assert_int_eq(found_code("id", 'x'), SCEP_OK);
}
END_TEST

START_TEST(R_118_S_23_where_no_challenge_was_used_the_answer_stays_until_the_certificate_ends)
{
    transaction *t = room_request("e", "id", 'k', 'c');
    bool done;

    t->challenged = false;
    room_expect(room_settle(t, room_certificate(1), &done), SCEP_OK);
    at(HALF);
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_ISSUED);
    at(3599);
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_ISSUED);
    at(3600);
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_NEW);
}
END_TEST

START_TEST(R_118_S_23_a_revoked_certificates_request_gets_no_other_one)
{
    bool done;

    settled("id", 'k', 'c', 1);
    revoke_one("01");
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_REVOKED);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_NEW);
    ck_assert_int_eq(found_code("id", 'x'), SCEP_REFUSED);
    room_expect(room_settle(room_request("e", "id", 'k', 'c'), room_certificate(2), &done),
                SCEP_OK);
    ck_assert(!done);
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_REVOKED);
    ck_assert_int_eq(found("e", "id", 'k', 'd'), TRANSACTION_NEW); /* another CSR */
}
END_TEST

START_TEST(R_114_a_poll_is_answered_until_the_certificate_ends_and_again)
{
    X509 *cert = room_certificate(1);
    bool done;

    room_expect(room_settle(room_request("e", "id", 'k', 'c'), cert, &done), SCEP_OK);
    ck_assert(is_of(room_poll("e", "id", 'k'), cert));
    ck_assert(is_of(room_poll("e", "id", 'k'), cert));
    at(3599);
    ck_assert(is_of(room_poll("e", "id", 'k'), cert));
    at(3600);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_NEW);
}
END_TEST

START_TEST(R_114_R_117_CacheRequest_bounds_polls_for_what_was_answered_at_once_and_nothing_else)
{
    transaction *waited = room_request("e", "waited", 'k', 'c');
    X509 *cert = room_certificate(2);
    bool done;

    at(10);
    settled("id", 'k', 'c', 1);
    waited->row.request = "r-1";
    room_expect(room_settle(waited, cert, &done), SCEP_OK);
    at(10 + 20 * 60 - 1);
    ck_assert_int_eq(room_poll_within(20, "e", "id", 'k').state, TRANSACTION_ISSUED);
    at(10 + 20 * 60);
    ck_assert_int_eq(room_poll_within(20, "e", "id", 'k').state, TRANSACTION_NEW);
    ck_assert_int_eq(room_poll_within(21, "e", "id", 'k').state, TRANSACTION_ISSUED);
    /* what waited is answered as ever, and so is the same PKCSReq again */
    ck_assert(is_of(room_poll_within(20, "e", "waited", 'k'), cert));
    ck_assert_int_eq(found("e", "id", 'k', 'c'), TRANSACTION_ISSUED);
}
END_TEST

START_TEST(R_121_S_22_a_poll_of_another_key_finds_what_an_unknown_one_finds)
{
    settled("id", 'k', 'c', 1);
    ck_assert_int_eq(room_poll("e", "id", 'k').state, TRANSACTION_ISSUED);
    ck_assert_int_eq(room_poll("e", "id", 'x').state, TRANSACTION_NEW);
    ck_assert_int_eq(room_poll("e", "unknown", 'k').state, TRANSACTION_NEW); /* */
    ck_assert_int_eq(room_poll("f", "id", 'k').state, TRANSACTION_NEW);
}
END_TEST

START_TEST(R_111_a_poll_names_no_csr_and_means_the_newest_request)
{
    X509 *newer = room_certificate(2);
    bool done;

    settled("id", 'k', 'd', 1);
    at(1);
    room_expect(room_settle(room_request("e", "id", 'k', 'c'), newer, &done), SCEP_OK);
    ck_assert(is_of(room_poll("e", "id", 'k'), newer));
}
END_TEST

typedef struct many_job {
    int n;
    apr_int64_t left;
} many_job;

static const scep_err *put_many(store_tx *tx, void *baton)
{
    many_job *j = baton;
    bool done;

    for (int i = 0; i < j->n; i++) {
        store_transaction t = { .endpoint = "e",
                                .transaction = apr_itoa(store_tx_pool(tx), i),
                                .key_hash = "k",
                                .csr_hash = "c",
                                .state = "issued",
                                .created = 1,
                                .ends = 2,
                                .bound = 3 };

        SCEP_TRY(store_transaction_put(tx, &t, &done));
    }
    return NULL;
}

static const scep_err *count_left(store_tx *tx, void *baton)
{
    many_job *j = baton;
    const store_transaction *row;

    j->left = 0;
    for (int i = 0; i < j->n; i++) {
        store_transaction t = { .endpoint = "e",
                                .transaction = apr_itoa(store_tx_pool(tx), i),
                                .key_hash = "k",
                                .csr_hash = "c",
                                .created = 1 };

        SCEP_TRY(store_transaction_get(tx, &t, &row));
        j->left += row != NULL;
    }
    return NULL;
}

START_TEST(a_sweep_goes_on_until_all_that_ended_is_gone)
{
    many_job j = { .n = 250 };

    room_expect(store_run(room_store, put_many, &j, room_pool), SCEP_OK);
    room_expect(store_run(room_store, count_left, &j, room_pool), SCEP_OK);
    ck_assert_int_eq(j.left, 250);
    for (bool more = true; more;)
        room_expect(transaction_sweep(&more, room_store, WEEK, room_pool), SCEP_OK);
    room_expect(store_run(room_store, count_left, &j, room_pool), SCEP_OK);
    ck_assert_int_eq(j.left, 0);
}
END_TEST

static const scep_err *row_count(store_tx *tx, void *baton)
{
    return store_unused_get(tx, "e", baton);
}

START_TEST(chores_remove_what_ended_and_stop)
{
    static const store_key key = { "0123456789abcdef0123456789abcdef" };
    const challenge_limits limits = { .max = 5, .minutes = 60, .length = 8 };
    const challenge_order order = { .user = "u" };
    office o = { .store = room_store,
                 .authorities = apr_array_make(room_pool, 1, sizeof(office_authority *)) };
    apr_int64_t expires, count = 1;
    const char *challenge, *left = "1";
    chores *c;

    room_expect(
        challenge_mint(&challenge, &expires, room_store, &key, "e", &limits, &order, room_pool),
        SCEP_OK);
    settled("id", 'k', 'c', 1);
    at(3601 + WEEK);
    room_expect(chores_start(&c, &o, room_pool), SCEP_OK);
    for (int i = 0; i < 3000 && (count || *left != '0'); i++) {
        other look = other_open();

        apr_sleep(apr_time_from_msec(10));
        room_expect(store_run(room_store, row_count, &count, room_pool), SCEP_OK);
        left = APR_ARRAY_IDX(other_asks(&look, "SELECT count(*) FROM scep_transaction"), 0,
                             const char *);
        other_close(&look);
    }
    ck_assert_int_eq(count, 0);
    ck_assert_str_eq(left, "0");
    chores_stop(c);
    chores_stop(c);
}
END_TEST

Suite *transaction_suite(void)
{
    Suite *suite = suite_create("transaction");
    TCase *cases = tcase_create("transactions");

    tcase_add_checked_fixture(cases, room_up_at_start, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, R_117_S_23_the_same_request_twice_gives_the_same_certificate);
    tcase_add_test(cases, R_115_another_transaction_id_or_csr_is_a_new_request);
    tcase_add_test(cases, R_119_S_22_the_same_transaction_id_with_another_key_gets_nothing);
    tcase_add_test(cases, a_proven_renewal_has_answers_of_its_own_beside_another_keys);
    tcase_add_test(cases, S_22_a_renewal_takes_no_transactionID_from_another_key);
    tcase_add_test(cases, R_101_S_23_the_same_csr_signed_by_another_certificate_is_another_renewal);
    tcase_add_test(cases, every_part_of_the_identity_makes_another_owner);
    tcase_add_test(cases, S_21_of_a_transaction_id_the_store_keeps_a_hash);
    tcase_add_test(cases, S_25_a_serial_number_that_exists_is_refused_and_nothing_of_the_job_stays);
    tcase_add_test(cases, a_transaction_cannot_name_another_certificate);
    tcase_add_test(cases,
                   R_118_after_half_of_its_life_a_certificate_is_no_answer_but_the_key_stays_bound);
    tcase_add_test(
        cases, R_118_S_23_where_no_challenge_was_used_the_answer_stays_until_the_certificate_ends);
    tcase_add_test(cases, R_118_S_23_a_revoked_certificates_request_gets_no_other_one);
    tcase_add_test(cases, R_114_a_poll_is_answered_until_the_certificate_ends_and_again);
    tcase_add_test(
        cases,
        R_114_R_117_CacheRequest_bounds_polls_for_what_was_answered_at_once_and_nothing_else);
    tcase_add_test(cases, R_121_S_22_a_poll_of_another_key_finds_what_an_unknown_one_finds);
    tcase_add_test(cases, R_111_a_poll_names_no_csr_and_means_the_newest_request);
    tcase_add_test(cases, a_sweep_goes_on_until_all_that_ended_is_gone);
    tcase_add_test(cases, chores_remove_what_ended_and_stop);
    suite_add_tcase(suite, cases);
    return suite;
}
