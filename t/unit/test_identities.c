/* The life of an RA: who makes the next one, who takes it up, how long the former one is used. */
#include "fixture.h"
#include "identities.h"
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

#define DAY 86400
#define YEARS (3650LL * DAY)
#define RA_NAME "CN=Life RA,O=Example"

static const store_key our_key = { { 42 } };
static const store_key other_key = { { 43 } };
static apr_int64_t now;
static scep_signer ca;
static connector ca_connector;
static conf_authority authority;
static const char *log_path;

/* What the CA is asked for, and what it does. */
static int asked;
static connector_outcome outcome;
static bool is_away;

static const scep_err *submit(connector_answer *out, connector *self, const conf_template *template,
                              const scep_csr *csr, apr_pool_t *p)
{
    const issue_ca *issuer;

    __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
    *out = (connector_answer){ .outcome = outcome, .reason = "not this one" };
    if (is_away || outcome != CONNECTOR_ISSUED)
        return is_away ? scep_fail(p, UNAVAILABLE, "the CA is away") : NULL;
    SCEP_TRY(issue_ca_make(&issuer, ca.cert, ca.key, NULL, p));
    return issue_certificate(&out->cert, issuer, template, csr, p);
}

static void clock_at(apr_int64_t seconds)
{
    now = seconds;
    scep_clock_set(apr_time_from_sec(seconds));
}

static void dates_set(X509 *cert, apr_int64_t from, apr_int64_t to)
{
    FIXTURE_MUST(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from) &&
                 ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)to));
    fixture_resign(cert, ca.key);
}

static void ca_set(apr_int64_t ends)
{
    ca.cert = fixture_cert("CN=Life CA", ca.key, NULL, NULL, true, KU_KEY_CERT_SIGN, room_pool);
    dates_set(ca.cert, now - YEARS, ends);
    ca_connector.chain = scep_borrowed_stack(room_pool);
    FIXTURE_MUST(sk_X509_push(ca_connector.chain, ca.cert));
}

static void up(void)
{
    static const conf_template template = { .name = "T", .crl_url = "http://pki.example/ca.crl" };
    int log;

    room_up();
    log_path = apr_pstrcat(room_pool, room_folder, "/log", NULL);
    log = open(log_path, O_RDWR | O_CREAT | O_APPEND, 0600);
    FIXTURE_MUST(log >= 0 && dup2(log, STDERR_FILENO) >= 0 && close(log) == 0);
    clock_at(1900000000);
    ca.key = fixture_key_make(0, "P-256", room_pool);
    ca_connector = (connector){ .submit = submit, .name = "test" };
    ca_set(now + YEARS);
    authority = (conf_authority){ .name = "default", .ra_days = 365, .ra_renew_days = 30 };
    authority.templates = apr_array_make(room_pool, 1, sizeof(const conf_template *));
    APR_ARRAY_PUSH(authority.templates, const conf_template *) = &template;
    asked = 0;
    outcome = CONNECTOR_ISSUED;
    is_away = false;
}

static scep_signer pair(int which, uint32_t usage, apr_int64_t from, apr_int64_t to)
{
    scep_signer s = { .key = fixture_key(which) };

    s.cert = fixture_cert(RA_NAME, s.key, ca.cert, ca.key, false, usage, room_pool);
    dates_set(s.cert, from, to);
    return s;
}

/* ca.conf's, in seconds from now. */
static scep_ra *first_ra(apr_int64_t from, apr_int64_t to)
{
    scep_ra *ra = apr_pcalloc(room_pool, sizeof(*ra));

    ra->sign = pair(0, KU_DIGITAL_SIGNATURE, now + from, now + to);
    ra->decrypt = pair(1, KU_KEY_ENCIPHERMENT, now + from, now + to);
    return ra;
}

static identities_keeper *keeper(const scep_ra *first)
{
    identities_keeper *k;

    OK(identities_make(&k, &authority, &ca_connector, first, room_pool));
    return k;
}

static const scep_err *keep(identities_keeper *k)
{
    return identities_keep(k, room_store, &our_key, room_pool);
}

static int lines_with(const char *what)
{
    FILE *file = fopen(log_path, "r");
    char line[2048];
    int n = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        n += strstr(line, what) != NULL;
    ck_assert_int_eq(fclose(file), 0);
    return n;
}

static void expect_same(const identities *a, const identities *b)
{
    ck_assert_int_eq(a->n, b->n);
    ck_assert(a->generation == b->generation);
    for (int i = 0; i < a->n; i++) {
        ck_assert_int_eq(X509_cmp(a->ra[i]->sign.cert, b->ra[i]->sign.cert), 0);
        ck_assert_int_eq(X509_cmp(a->ra[i]->decrypt.cert, b->ra[i]->decrypt.cert), 0);
    }
}

START_TEST(an_ra_that_has_time_left_is_left_alone)
{
    scep_ra *first = first_ra(-300 * DAY, 31 * DAY);
    identities_keeper *k = keeper(first);
    const identities *before = identities_now(k);

    ck_assert_int_eq(before->n, 1);
    ck_assert_ptr_eq(before->ra[0], first);
    ck_assert(before->generation != 0);
    OK(keep(k));
    ck_assert_ptr_eq(identities_now(k), before);
    ck_assert_int_eq(asked, 0);
}
END_TEST

START_TEST(Q_37_one_node_makes_the_next_ra_and_the_former_opens_until_its_end)
{
    scep_ra *first = first_ra(-345 * DAY, 20 * DAY);
    identities_keeper *a = keeper(first), *b = keeper(first);
    const identities *at_first = identities_now(a), *both, *after;

    expect_same(at_first, identities_now(b));
    OK(keep(a));
    OK(keep(b));
    ck_assert_int_eq(asked, 2); /* two certificates, once */
    both = identities_now(a);
    expect_same(both, identities_now(b));
    ck_assert_int_eq(both->n, 2);
    ck_assert_ptr_eq(both->ra[1], first);
    ck_assert_int_ne(X509_cmp(both->ra[0]->decrypt.cert, first->decrypt.cert), 0);
    ck_assert(both->generation != at_first->generation);
    ck_assert_int_eq(at_first->n, 1); /* whoever still reads it may */
    clock_at(now + 19 * DAY);
    OK(keep(a));
    ck_assert_ptr_eq(identities_now(a), both);
    clock_at(now + DAY);
    OK(keep(a));
    OK(keep(b));
    after = identities_now(a);
    ck_assert_int_eq(after->n, 1);
    ck_assert_ptr_eq(after->ra[0], both->ra[0]);
    ck_assert(after->generation != both->generation);
    ck_assert(after->generation != at_first->generation);
    expect_same(after, identities_now(b));
    ck_assert_int_eq(asked, 2);
    ck_assert_int_eq(lines_with("SCEP0300: [authority default]: a new RA was made"), 1);
    /* and so on, a year later */
    clock_at(now + 320 * DAY);
    OK(keep(b));
    ck_assert_int_eq(asked, 4);
    ck_assert_int_eq(identities_now(b)->n, 2);
    ck_assert_int_eq(X509_cmp(identities_now(b)->ra[1]->sign.cert, both->ra[0]->sign.cert), 0);
}
END_TEST

START_TEST(a_look_takes_up_another_nodes_ra_and_makes_none)
{
    scep_ra *first = first_ra(-345 * DAY, 20 * DAY);
    identities_keeper *a = keeper(first), *b = keeper(first);

    OK(identities_look(b, room_store, &our_key, room_pool));
    ck_assert_int_eq(asked, 0);
    OK(keep(a));
    OK(identities_look(b, room_store, &our_key, room_pool));
    expect_same(identities_now(a), identities_now(b));
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
    identities_keeper *k = keeper(first_ra(-345 * DAY, 20 * DAY));
    const scep_ra *ra;

    OK(keep(k));
    ra = identities_now(k)->ra[0];
    OK(scep_ra_check(ra, ca.cert, room_pool));
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
        ASN1_TIME_cmp_time_t(X509_get0_notAfter(ra->decrypt.cert), (time_t)(now + 365 * DAY)), 0);
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

    authority.ra_renew_days = times[_i].renew_days;
    k = keeper(first_ra((apr_int64_t)times[_i].from * DAY, (apr_int64_t)times[_i].to * DAY));
    OK(keep(k));
    ck_assert_int_eq(asked, times[_i].due ? 2 : 0);
    OK(scep_ra_check_dates(identities_now(k)->ra[0], room_pool));
}
END_TEST

START_TEST(an_ra_that_ended_is_followed_at_the_start)
{
    identities_keeper *k = keeper(first_ra(-365 * DAY, -DAY)), *later;

    OK(keep(k));
    ck_assert_int_eq(identities_now(k)->n, 1);
    later = keeper(first_ra(-365 * DAY, -DAY)); /* after a restart */
    OK(keep(later));
    ck_assert_int_eq(asked, 2);
    expect_same(identities_now(later), identities_now(k));
}
END_TEST

START_TEST(without_any_ra_there_is_no_start)
{
    identities_keeper *k = keeper(first_ra(-365 * DAY, -DAY));
    const identities *before = identities_now(k);
    const scep_err *err;

    outcome = CONNECTOR_DENIED;
    err = keep(k);
    room_expect(err, SCEP_CONFIG);
    ck_assert_ptr_nonnull(strstr(err->detail, "[authority default]"));
    ck_assert_ptr_nonnull(strstr(err->detail, "not this one"));
    ck_assert_ptr_eq(identities_now(k), before);
    outcome = CONNECTOR_PENDING;
    err = keep(k);
    room_expect(err, SCEP_CONFIG);
    ck_assert_ptr_nonnull(strstr(err->detail, "waits for approval"));
    outcome = CONNECTOR_ISSUED;
    OK(keep(k));
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

    n->err = identities_keep(n->keeper, room_store, &our_key, n->pool);
    return NULL;
}

#define NODES 4

START_TEST(of_many_nodes_that_start_at_once_one_makes_it_and_all_wait)
{
    scep_ra *first = first_ra(-365 * DAY, -DAY);
    pthread_t threads[NODES];
    node nodes[NODES];

    for (int i = 0; i < NODES; i++) {
        nodes[i].keeper = keeper(first);
        FIXTURE_MUST(apr_pool_create(&nodes[i].pool, NULL) == APR_SUCCESS);
    }
    for (int i = 0; i < NODES; i++)
        FIXTURE_MUST(pthread_create(&threads[i], NULL, keep_node, &nodes[i]) == 0);
    for (int i = 0; i < NODES; i++) {
        FIXTURE_MUST(pthread_join(threads[i], NULL) == 0);
        OK(nodes[i].err);
        expect_same(identities_now(nodes[0].keeper), identities_now(nodes[i].keeper));
    }
    ck_assert_int_eq(asked, 2);
    for (int i = 0; i < NODES; i++)
        apr_pool_destroy(nodes[i].pool);
}
END_TEST

static const scep_err *lease_by_another(store_tx *tx, void *baton)
{
    bool *held = baton;

    return store_lease_take(tx, "ra default", "another", now, now + 60, held);
}

START_TEST(while_another_node_makes_it_the_present_one_will_do)
{
    scep_ra *first = first_ra(-345 * DAY, 20 * DAY);
    identities_keeper *k = keeper(first);
    bool held = false;

    OK(store_run(room_store, lease_by_another, &held, room_pool));
    ck_assert(held);
    OK(keep(k));
    ck_assert_int_eq(asked, 0);
    ck_assert_ptr_eq(identities_now(k)->ra[0], first);
    clock_at(now + 61); /* it died */
    OK(keep(k));
    ck_assert_int_eq(asked, 2);
}
END_TEST

START_TEST(a_ca_that_is_away_is_asked_hourly_and_the_end_is_announced_daily)
{
    identities_keeper *k = keeper(first_ra(-345 * DAY, 16 * DAY));

    is_away = true;
    room_expect(keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(asked, 1);
    clock_at(now + 3599);
    OK(keep(k));
    ck_assert_int_eq(asked, 1);
    clock_at(now + 1);
    room_expect(keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(asked, 2);
    ck_assert_int_eq(lines_with("SCEP0302"), 0); /* there is time */
    clock_at(now + 3 * DAY);
    room_expect(keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(lines_with("NDES-10 [authority default]: the RA ends in 12 days"), 1);
    ck_assert_int_eq(lines_with("could not be renewed: the CA is away"), 1);
    clock_at(now + DAY - 1);
    room_expect(keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(lines_with("SCEP0302"), 1);
    clock_at(now + 1);
    OK(keep(k)); /* tried a second ago */
    ck_assert_int_eq(lines_with("SCEP0302"), 2);
    is_away = false;
    clock_at(now + 3600);
    OK(keep(k));
    clock_at(now + DAY);
    OK(keep(k));
    ck_assert_int_eq(lines_with("SCEP0302"), 2);
    ck_assert_int_eq(identities_now(k)->n, 2);
}
END_TEST

START_TEST(an_ra_that_ends_with_its_ca_is_not_made_again_and_again)
{
    identities_keeper *k;

    ca_set(now + 10 * DAY);
    k = keeper(first_ra(-345 * DAY, 10 * DAY));
    room_expect(keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(asked, 0);
    ck_assert_int_eq(lines_with("renew the CA"), 1);
    /* a shorter one gains the rest of the CA's time, once */
    k = keeper(first_ra(-345 * DAY, 5 * DAY));
    OK(keep(k));
    OK(keep(k));
    clock_at(now + 8 * DAY);
    room_expect(keep(k), SCEP_UNAVAILABLE);
    ck_assert_int_eq(asked, 2);
}
END_TEST

START_TEST(a_row_of_another_store_key_is_left_out_and_said_once)
{
    scep_ra *first = first_ra(-345 * DAY, 20 * DAY);
    identities_keeper *foreigner = keeper(first), *k;

    OK(identities_keep(foreigner, room_store, &other_key, room_pool));
    ck_assert_int_eq(asked, 2);
    k = keeper(first_ra(-10 * DAY, 300 * DAY));
    OK(keep(k));
    OK(keep(k));
    ck_assert_int_eq(identities_now(k)->n, 1);
    ck_assert_int_eq(lines_with("SCEP0301: NDES-10 [authority default]"), 1);
    ck_assert_int_eq(lines_with("another store.key"), 1);
}
END_TEST

START_TEST(rows_that_were_exchanged_or_are_another_cas_are_left_out)
{
    scep_ra *first = first_ra(-345 * DAY, 20 * DAY);
    identities_keeper *k = keeper(first);
    other o;

    OK(keep(k));
    o = other_open();
    other_says(&o, "UPDATE scep_ra SET sign_key = decrypt_key");
    other_close(&o);
    k = keeper(first);
    clock_at(now + 61);
    OK(keep(k)); /* a good one is made in its place */
    ck_assert_int_eq(asked, 4);
    ck_assert_int_eq(lines_with("SCEP0301"), 1);
    ca.key = fixture_key_make(0, "P-256", room_pool);
    ca_set(now + YEARS);
    k = keeper(first_ra(-10 * DAY, 300 * DAY));
    OK(keep(k));
    ck_assert_int_eq(identities_now(k)->n, 1);
    ck_assert_int_eq(lines_with("was not signed by the CA"), 1);
}
END_TEST

START_TEST(a_newer_pair_in_ca_conf_takes_over)
{
    identities_keeper *k = keeper(first_ra(-345 * DAY, 20 * DAY));
    scep_ra *newer;

    OK(keep(k));
    clock_at(now + DAY);
    newer = first_ra(-60, 300 * DAY);
    k = keeper(newer);
    OK(keep(k));
    ck_assert_int_eq(identities_now(k)->n, 2);
    ck_assert_ptr_eq(identities_now(k)->ra[0], newer);
    ck_assert_int_eq(asked, 2);
}
END_TEST

START_TEST(a_row_that_was_removed_opens_nothing_any_more)
{
    identities_keeper *k = keeper(first_ra(-10 * DAY, 300 * DAY)), *maker;
    other o;

    maker = keeper(first_ra(-345 * DAY, 20 * DAY));
    OK(keep(maker));
    OK(keep(k));
    ck_assert_int_eq(identities_now(k)->n, 2);
    o = other_open();
    other_says(&o, "DELETE FROM scep_ra");
    other_close(&o);
    OK(keep(k));
    ck_assert_int_eq(identities_now(k)->n, 1);
}
END_TEST

typedef struct rows_job {
    apr_array_header_t *rows;
} rows_job;

static const scep_err *read_rows(store_tx *tx, void *baton)
{
    return store_ra_list(tx, "default", now, &((rows_job *)baton)->rows);
}

START_TEST(keys_are_kept_sealed)
{
    identities_keeper *k = keeper(first_ra(-345 * DAY, 20 * DAY));
    rows_job j = { NULL };
    const store_ra *stored;
    scep_bytes der, opened;

    OK(keep(k));
    OK(store_run(room_store, read_rows, &j, room_pool));
    ck_assert_int_eq(j.rows->nelts, 1);
    stored = &APR_ARRAY_IDX(j.rows, 0, store_ra);
    OK(scep_key_der(&der, identities_now(k)->ra[0]->decrypt.key, room_pool));
    ck_assert_uint_gt(stored->decrypt_key.len, der.len);
    ck_assert_ptr_null(
        memmem(stored->decrypt_key.data, stored->decrypt_key.len, der.data + der.len - 64, 32));
    OK(seal_open(&opened, &our_key,
                 apr_pstrcat(room_pool, "RA default ", stored->id, " opening key", NULL),
                 stored->decrypt_key, room_pool));
    ck_assert(scep_bytes_equal(opened, der));
}
END_TEST

START_TEST(S_14_R_034_the_cas_own_certificate_and_key_are_no_ra)
{
    scep_ra *good = first_ra(-DAY, DAY), ra = *good;
    identities_keeper *k;

    OK(identities_make(&k, &authority, &ca_connector, &ra, room_pool));
    ra.sign = (scep_signer){ .cert = ca.cert, .key = ca.key };
    room_expect(identities_make(&k, &authority, &ca_connector, &ra, room_pool), SCEP_CONFIG);
    /* a certificate of its own for the CA's key is as bad */
    ra.sign.cert =
        fixture_cert(RA_NAME, ca.key, ca.cert, ca.key, false, KU_DIGITAL_SIGNATURE, room_pool);
    room_expect(identities_make(&k, &authority, &ca_connector, &ra, room_pool), SCEP_CONFIG);
    /* a usage is missing */
    ra = *good;
    ra.decrypt.cert = fixture_cert(RA_NAME, ra.decrypt.key, ca.cert, ca.key, false,
                                   KU_DIGITAL_SIGNATURE, room_pool);
    room_expect(identities_make(&k, &authority, &ca_connector, &ra, room_pool), SCEP_CONFIG);
}
END_TEST

START_TEST(where_the_store_is_gone_what_held_goes_on)
{
    identities_keeper *k = keeper(first_ra(-345 * DAY, 20 * DAY));
    const identities *before;

    OK(keep(k));
    before = identities_now(k);
    store_close(room_store);
    room_expect(keep(k), SCEP_UNAVAILABLE);
    ck_assert_ptr_eq(identities_now(k), before);
}
END_TEST

static Suite *identities_suite(void)
{
    Suite *suite = suite_create("identities");
    TCase *cases = tcase_create("identities");

    tcase_add_checked_fixture(cases, up, room_down);
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
    Suite *(*const make[])(void) = { identities_suite, seal_suite };

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS);
    fixture_prepare();
    return room_main(make, 2);
}
