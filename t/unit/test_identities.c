/* The life of an RA: who makes the next one, who takes it up, how long the former one is used. */
#include "identities_room.h"
#include "store_room.h"

#include "certs.h"
#include "clock.h"
#include "key.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RA_NAME "CN=Life RA,O=Example"

static const store_key other_key = { { 43 } };

START_TEST(an_ra_that_has_time_left_is_left_alone)
{
    scep_ra *first = life_ra(-300 * DAY, 31 * DAY);
    identities_keeper *k = life_keeper(first);
    const identities *before = identities_now(k);

    ck_assert_int_eq(before->n, 1);
    ck_assert_ptr_eq(before->ra[0], first);
    ck_assert(before->generation != 0);
    OK(life_keep(k));
    ck_assert_ptr_eq(identities_now(k), before);
    ck_assert_int_eq(life_asked, 0);
}
END_TEST

START_TEST(Q_37_one_node_makes_the_next_ra_and_the_former_opens_until_its_end)
{
    scep_ra *first = life_ra(-345 * DAY, 20 * DAY);
    identities_keeper *a = life_keeper(first), *b = life_keeper(first);
    const identities *at_first = identities_now(a), *both, *after;

    life_expect_same(at_first, identities_now(b));
    OK(life_keep(a));
    OK(life_keep(b));
    ck_assert_int_eq(life_asked, 2); /* two certificates, once */
    both = identities_now(a);
    life_expect_same(both, identities_now(b));
    ck_assert_int_eq(both->n, 2);
    ck_assert_ptr_eq(both->ra[1], first);
    ck_assert_int_ne(X509_cmp(both->ra[0]->decrypt.cert, first->decrypt.cert), 0);
    ck_assert(both->generation != at_first->generation);
    ck_assert_int_eq(at_first->n, 1); /* whoever still reads it may */
    life_clock_at(life_now + 19 * DAY);
    OK(life_keep(a));
    ck_assert_ptr_eq(identities_now(a), both);
    life_clock_at(life_now + DAY);
    OK(life_keep(a));
    OK(life_keep(b));
    after = identities_now(a);
    ck_assert_int_eq(after->n, 1);
    ck_assert_ptr_eq(after->ra[0], both->ra[0]);
    ck_assert(after->generation != both->generation);
    ck_assert(after->generation != at_first->generation);
    life_expect_same(after, identities_now(b));
    ck_assert_int_eq(life_asked, 2);
    ck_assert_int_eq(life_lines_with("SCEP0300: [authority default]: a new RA was made"), 1);
    /* and so on, a year later */
    life_clock_at(life_now + 320 * DAY);
    OK(life_keep(b));
    ck_assert_int_eq(life_asked, 4);
    ck_assert_int_eq(identities_now(b)->n, 2);
    ck_assert_int_eq(X509_cmp(identities_now(b)->ra[1]->sign.cert, both->ra[0]->sign.cert), 0);
}
END_TEST

START_TEST(a_look_takes_up_another_nodes_ra_and_makes_none)
{
    scep_ra *first = life_ra(-345 * DAY, 20 * DAY);
    identities_keeper *a = life_keeper(first), *b = life_keeper(first);

    OK(identities_look(b, room_store, &life_key, room_pool));
    ck_assert_int_eq(life_asked, 0);
    OK(life_keep(a));
    OK(identities_look(b, room_store, &life_key, room_pool));
    life_expect_same(identities_now(a), identities_now(b));
    ck_assert_int_eq(identities_now(b)->n, 2);
}
END_TEST

static bool has_purpose(X509 *cert, const char *oid)
{
    EXTENDED_KEY_USAGE *list = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    bool found = false;
    char text[80];

    for (int i = 0; i < sk_ASN1_OBJECT_num(list); i++)
        found = found || (OBJ_obj2txt(text, sizeof(text), sk_ASN1_OBJECT_value(list, i), 1) > 0 &&
                          !strcmp(text, oid));
    sk_ASN1_OBJECT_pop_free(list, ASN1_OBJECT_free);
    return found;
}

START_TEST(Q_73_Q_76_R_160_a_new_ra_is_a_pair_as_clients_know_it)
{
    identities_keeper *k = life_keeper(life_ra(-345 * DAY, 20 * DAY));
    const scep_ra *ra;

    OK(life_keep(k));
    ra = identities_now(k)->ra[0];
    OK(scep_ra_check(ra, life_ca.cert, room_pool));
    ck_assert_uint_eq(X509_get_key_usage(ra->sign.cert), KU_DIGITAL_SIGNATURE);
    ck_assert_uint_eq(X509_get_key_usage(ra->decrypt.cert), KU_KEY_ENCIPHERMENT);
    ck_assert(has_purpose(ra->sign.cert, "1.3.6.1.4.1.311.20.2.1"));
    ck_assert(has_purpose(ra->decrypt.cert, "1.3.6.1.4.1.311.20.2.1"));
    ck_assert(EVP_PKEY_is_a(ra->sign.key, "RSA") && EVP_PKEY_get_bits(ra->sign.key) == 2048);
    ck_assert(EVP_PKEY_is_a(ra->decrypt.key, "RSA") && EVP_PKEY_get_bits(ra->decrypt.key) == 2048);
    ck_assert_int_ne(EVP_PKEY_eq(ra->sign.key, ra->decrypt.key), 1);
    ck_assert_int_ne(EVP_PKEY_eq(ra->decrypt.key, fixture_key(1)), 1);
    ck_assert_str_eq(scep_name_line(X509_get_subject_name(ra->sign.cert), room_pool),
                     "O=Example,CN=Life RA");
    ck_assert_int_eq(X509_NAME_cmp(X509_get_subject_name(ra->sign.cert),
                                   X509_get_subject_name(ra->decrypt.cert)),
                     0);
    ck_assert_int_eq(
        ASN1_TIME_cmp_time_t(X509_get0_notAfter(ra->decrypt.cert), (time_t)(life_now + 365 * DAY)),
        0);
    ck_assert_int_ge(X509_get_ext_by_NID(ra->sign.cert, NID_crl_distribution_points, -1), 0);
}
END_TEST

static const struct {
    int renew_days, from, to; /* days from now, of ca.conf's RA */
    bool due;
} times[] = {
    { 30, -335, 31, false }, { 30, -335, 30, true }, { 30, -40, 21, false }, /* a third of its life
                                                                              */
    { 30, -40, 20, true },   { 3, -335, 4, false },  { 3, -335, 3, true },   { 30, -335, -1, true },
    { 30, 1, 300, true }, /* not valid yet, so nothing is */
};

START_TEST(an_ra_is_renewed_in_time)
{
    identities_keeper *k;

    life_authority.ra_renew_days = times[_i].renew_days;
    k = life_keeper(life_ra((apr_int64_t)times[_i].from * DAY, (apr_int64_t)times[_i].to * DAY));
    OK(life_keep(k));
    ck_assert_int_eq(life_asked, times[_i].due ? 2 : 0);
    OK(scep_ra_check_dates(identities_now(k)->ra[0], room_pool));
}
END_TEST

START_TEST(an_ra_that_ended_is_followed_at_the_start)
{
    identities_keeper *k = life_keeper(life_ra(-365 * DAY, -DAY)), *later;

    OK(life_keep(k));
    ck_assert_int_eq(identities_now(k)->n, 1);
    later = life_keeper(life_ra(-365 * DAY, -DAY)); /* after a restart */
    OK(life_keep(later));
    ck_assert_int_eq(life_asked, 2);
    life_expect_same(identities_now(later), identities_now(k));
}
END_TEST

START_TEST(without_any_ra_there_is_no_start)
{
    identities_keeper *k = life_keeper(life_ra(-365 * DAY, -DAY));
    const identities *before = identities_now(k);
    const scep_err *err;

    life_outcome = CONNECTOR_DENIED;
    err = life_keep(k);
    room_expect(err, SCEP_CONFIG);
    ck_assert_ptr_nonnull(strstr(err->detail, "[authority default]"));
    ck_assert_ptr_nonnull(strstr(err->detail, "not this one"));
    ck_assert_ptr_eq(identities_now(k), before);
    life_outcome = CONNECTOR_PENDING;
    err = life_keep(k);
    room_expect(err, SCEP_CONFIG);
    ck_assert_ptr_nonnull(strstr(err->detail, "waits for approval"));
    life_outcome = CONNECTOR_ISSUED;
    OK(life_keep(k));
}
END_TEST

typedef struct node {
    identities_keeper *keeper;
    apr_pool_t *pool;
    const scep_err *err;
} node;

static void *keep_node(void *data)
{
    node *n = data;

    n->err = identities_keep(n->keeper, room_store, &life_key, n->pool);
    return NULL;
}

#define NODES 4

START_TEST(of_many_nodes_that_start_at_once_one_makes_it_and_all_wait)
{
    scep_ra *first = life_ra(-365 * DAY, -DAY);
    pthread_t threads[NODES];
    node nodes[NODES];

    for (int i = 0; i < NODES; i++) {
        nodes[i].keeper = life_keeper(first);
        FIXTURE_MUST(apr_pool_create(&nodes[i].pool, NULL) == APR_SUCCESS);
    }
    for (int i = 0; i < NODES; i++)
        FIXTURE_MUST(pthread_create(&threads[i], NULL, keep_node, &nodes[i]) == 0);
    for (int i = 0; i < NODES; i++) {
        FIXTURE_MUST(pthread_join(threads[i], NULL) == 0);
        OK(nodes[i].err);
        life_expect_same(identities_now(nodes[0].keeper), identities_now(nodes[i].keeper));
    }
    ck_assert_int_eq(life_asked, 2);
    for (int i = 0; i < NODES; i++)
        apr_pool_destroy(nodes[i].pool);
}
END_TEST

static const scep_err *lease_by_another(store_tx *tx, void *baton)
{
    bool *held = baton;

    return store_lease_take(tx, "ra default", "another", life_now, life_now + 60, held);
}

START_TEST(while_another_node_makes_it_the_present_one_will_do)
{
    scep_ra *first = life_ra(-345 * DAY, 20 * DAY);
    identities_keeper *k = life_keeper(first);
    bool held = false;

    OK(store_run(room_store, lease_by_another, &held, room_pool));
    ck_assert(held);
    OK(life_keep(k));
    ck_assert_int_eq(life_asked, 0);
    ck_assert_ptr_eq(identities_now(k)->ra[0], first);
    life_clock_at(life_now + 61); /* it died */
    OK(life_keep(k));
    ck_assert_int_eq(life_asked, 2);
}
END_TEST

START_TEST(a_ca_that_is_away_is_asked_hourly_and_the_end_is_announced_daily)
{
    identities_keeper *k = life_keeper(life_ra(-345 * DAY, 16 * DAY));

    life_is_away = true;
    room_expect(life_keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(life_asked, 1);
    life_clock_at(life_now + 3599);
    OK(life_keep(k));
    ck_assert_int_eq(life_asked, 1);
    life_clock_at(life_now + 1);
    room_expect(life_keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(life_asked, 2);
    ck_assert_int_eq(life_lines_with("SCEP0302"), 0); /* there is time */
    life_clock_at(life_now + 3 * DAY);
    room_expect(life_keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(life_lines_with("NDES-10 [authority default]: the RA ends in 12 days"), 1);
    ck_assert_int_eq(life_lines_with("could not be renewed: the CA is away"), 1);
    life_clock_at(life_now + DAY - 1);
    room_expect(life_keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(life_lines_with("SCEP0302"), 1);
    life_clock_at(life_now + 1);
    OK(life_keep(k)); /* tried a second ago */
    ck_assert_int_eq(life_lines_with("SCEP0302"), 2);
    life_is_away = false;
    life_clock_at(life_now + 3600);
    OK(life_keep(k));
    life_clock_at(life_now + DAY);
    OK(life_keep(k));
    ck_assert_int_eq(life_lines_with("SCEP0302"), 2);
    ck_assert_int_eq(identities_now(k)->n, 2);
}
END_TEST

START_TEST(an_ra_that_ends_with_its_ca_is_not_made_again_and_again)
{
    identities_keeper *k;

    life_ca_set(life_now + 10 * DAY);
    k = life_keeper(life_ra(-345 * DAY, 10 * DAY));
    room_expect(life_keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(life_asked, 0);
    ck_assert_int_eq(life_lines_with("renew the CA"), 1);
    /* a shorter one gains the rest of the CA's time, once */
    k = life_keeper(life_ra(-345 * DAY, 5 * DAY));
    OK(life_keep(k));
    OK(life_keep(k));
    life_clock_at(life_now + 8 * DAY);
    room_expect(life_keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(life_asked, 2);
}
END_TEST

START_TEST(a_row_of_another_store_key_is_left_out_and_said_once)
{
    scep_ra *first = life_ra(-345 * DAY, 20 * DAY);
    identities_keeper *foreigner = life_keeper(first), *k;

    OK(identities_keep(foreigner, room_store, &other_key, room_pool));
    ck_assert_int_eq(life_asked, 2);
    k = life_keeper(life_ra(-10 * DAY, 300 * DAY));
    OK(life_keep(k));
    OK(life_keep(k));
    ck_assert_int_eq(identities_now(k)->n, 1);
    ck_assert_int_eq(life_lines_with("SCEP0301: NDES-10 [authority default]"), 1);
    ck_assert_int_eq(life_lines_with("another store.key"), 1);
}
END_TEST

START_TEST(rows_that_were_exchanged_or_are_another_cas_are_left_out)
{
    scep_ra *first = life_ra(-345 * DAY, 20 * DAY);
    identities_keeper *k = life_keeper(first);
    other o;

    OK(life_keep(k));
    o = other_open();
    other_says(&o, "UPDATE scep_ra SET sign_key = decrypt_key");
    other_close(&o);
    k = life_keeper(first);
    life_clock_at(life_now + 61);
    OK(life_keep(k)); /* a good one is made in its place */
    ck_assert_int_eq(life_asked, 4);
    ck_assert_int_eq(life_lines_with("SCEP0301"), 1);
    life_ca.key = fixture_key_make(0, "P-256", room_pool);
    life_ca_set(life_now + YEARS);
    k = life_keeper(life_ra(-10 * DAY, 300 * DAY));
    OK(life_keep(k));
    ck_assert_int_eq(identities_now(k)->n, 1);
    ck_assert_int_eq(life_lines_with("was not signed by the CA"), 1);
}
END_TEST

START_TEST(a_newer_pair_in_ca_conf_takes_over)
{
    identities_keeper *k = life_keeper(life_ra(-345 * DAY, 20 * DAY));
    scep_ra *newer;

    OK(life_keep(k));
    life_clock_at(life_now + DAY);
    newer = life_ra(-60, 300 * DAY);
    k = life_keeper(newer);
    OK(life_keep(k));
    ck_assert_int_eq(identities_now(k)->n, 2);
    ck_assert_ptr_eq(identities_now(k)->ra[0], newer);
    ck_assert_int_eq(life_asked, 2);
}
END_TEST

START_TEST(a_row_that_was_removed_opens_nothing_any_more)
{
    identities_keeper *k = life_keeper(life_ra(-10 * DAY, 300 * DAY)), *maker;
    other o;

    maker = life_keeper(life_ra(-345 * DAY, 20 * DAY));
    OK(life_keep(maker));
    OK(life_keep(k));
    ck_assert_int_eq(identities_now(k)->n, 2);
    o = other_open();
    other_says(&o, "DELETE FROM scep_ra");
    other_close(&o);
    OK(life_keep(k));
    ck_assert_int_eq(identities_now(k)->n, 1);
}
END_TEST

typedef struct rows_job {
    apr_array_header_t *rows;
} rows_job;

static const scep_err *read_rows(store_tx *tx, void *baton)
{
    return store_ra_list(tx, "default", life_now, &((rows_job *)baton)->rows);
}

START_TEST(keys_are_kept_sealed)
{
    identities_keeper *k = life_keeper(life_ra(-345 * DAY, 20 * DAY));
    rows_job j = { NULL };
    const store_ra *stored;
    scep_bytes der, opened;

    OK(life_keep(k));
    OK(store_run(room_store, read_rows, &j, room_pool));
    ck_assert_int_eq(j.rows->nelts, 1);
    stored = &APR_ARRAY_IDX(j.rows, 0, store_ra);
    OK(scep_key_der(&der, identities_now(k)->ra[0]->decrypt.key, room_pool));
    ck_assert_uint_gt(stored->decrypt_key.len, der.len);
    ck_assert_ptr_null(
        memmem(stored->decrypt_key.data, stored->decrypt_key.len, der.data + der.len - 64, 32));
    OK(seal_open(&opened, &life_key,
                 apr_pstrcat(room_pool, "RA default ", stored->id, " opening key", NULL),
                 stored->decrypt_key, room_pool));
    ck_assert(scep_bytes_equal(opened, der));
}
END_TEST

START_TEST(S_14_R_034_the_cas_own_certificate_and_key_are_no_ra)
{
    scep_ra *good = life_ra(-DAY, DAY), ra = *good;
    identities_keeper *k;

    OK(identities_make(&k, &life_authority, &life_connector, &ra, room_pool));
    ra.sign = (scep_signer){ .cert = life_ca.cert, .key = life_ca.key };
    room_expect(identities_make(&k, &life_authority, &life_connector, &ra, room_pool), SCEP_CONFIG);
    /* a certificate of its own for the CA's key is as bad */
    ra.sign.cert = fixture_cert(RA_NAME, life_ca.key, life_ca.cert, life_ca.key, false,
                                KU_DIGITAL_SIGNATURE, room_pool);
    room_expect(identities_make(&k, &life_authority, &life_connector, &ra, room_pool), SCEP_CONFIG);
    /* a usage is missing */
    ra = *good;
    ra.decrypt.cert = fixture_cert(RA_NAME, ra.decrypt.key, life_ca.cert, life_ca.key, false,
                                   KU_DIGITAL_SIGNATURE, room_pool);
    room_expect(identities_make(&k, &life_authority, &life_connector, &ra, room_pool), SCEP_CONFIG);
}
END_TEST

START_TEST(where_the_store_is_gone_what_held_goes_on)
{
    identities_keeper *k = life_keeper(life_ra(-345 * DAY, 20 * DAY));
    const identities *before;

    OK(life_keep(k));
    before = identities_now(k);
    store_close(room_store);
    room_expect(life_keep(k), SCEP_UNAVAILABLE);
    ck_assert_ptr_eq(identities_now(k), before);
}
END_TEST

static Suite *identities_suite(void)
{
    Suite *suite = suite_create("identities");
    TCase *cases = tcase_create("identities");

    tcase_add_checked_fixture(cases, life_up, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, an_ra_that_has_time_left_is_left_alone);
    tcase_add_test(cases, Q_37_one_node_makes_the_next_ra_and_the_former_opens_until_its_end);
    tcase_add_test(cases, a_look_takes_up_another_nodes_ra_and_makes_none);
    tcase_add_test(cases, Q_73_Q_76_R_160_a_new_ra_is_a_pair_as_clients_know_it);
    tcase_add_loop_test(cases, an_ra_is_renewed_in_time, 0, (int)(sizeof(times) / sizeof(*times)));
    tcase_add_test(cases, an_ra_that_ended_is_followed_at_the_start);
    tcase_add_test(cases, without_any_ra_there_is_no_start);
    tcase_add_test(cases, of_many_nodes_that_start_at_once_one_makes_it_and_all_wait);
    tcase_add_test(cases, while_another_node_makes_it_the_present_one_will_do);
    tcase_add_test(cases, a_ca_that_is_away_is_asked_hourly_and_the_end_is_announced_daily);
    tcase_add_test(cases, an_ra_that_ends_with_its_ca_is_not_made_again_and_again);
    tcase_add_test(cases, a_row_of_another_store_key_is_left_out_and_said_once);
    tcase_add_test(cases, rows_that_were_exchanged_or_are_another_cas_are_left_out);
    tcase_add_test(cases, a_newer_pair_in_ca_conf_takes_over);
    tcase_add_test(cases, a_row_that_was_removed_opens_nothing_any_more);
    tcase_add_test(cases, keys_are_kept_sealed);
    tcase_add_test(cases, S_14_R_034_the_cas_own_certificate_and_key_are_no_ra);
    tcase_add_test(cases, where_the_store_is_gone_what_held_goes_on);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    Suite *(*const make[])(void) = { identities_suite, draft_suite, seal_suite };

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS);
    fixture_prepare();
    return room_main(make, 3);
}
