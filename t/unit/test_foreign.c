/* A CRL of somebody else: which one is believed, and how long. */
#include "foreign_room.h"

#include <apr_strings.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

START_TEST(none_is_a_decision_and_says_good)
{
    foreign *f = foreign_made("none");

    foreign_expect_good(f, 1);
    OK(foreign_refresh(f, room_pool));
    ck_assert_str_eq(foreign_describe(f, room_pool), "none");
}
END_TEST

static const crl_order forms[] = {
    { .serials = { 5, 200, 70000 } },
    { .serials = { 200, 5 }, .der = true },
    { .serials = { 200 }, .version_1 = true },
    { .serials = { 200 }, .extension = "1.2.3.4" },
    { .serials = { 200 }, .extension = "1.2.3.4", .in_entry = true },
    { .serials = { 200 }, .from = 200 },
};

START_TEST(S_08_what_the_crl_lists_is_revoked_and_nothing_else)
{
    foreign *f = foreign_made(foreign_path);

    foreign_file_put(&forms[_i], 1);
    foreign_expect_revoked(f, 200);
    foreign_expect_good(f, 201);
    foreign_expect_good(f, -200);
}
END_TEST

static const struct {
    const char *says;
    crl_order order;
} unusable[] = {
    { "no good signature", { .digest = NULL, .from = -1 } /* key: see below */ },
    { "is of another CA", { .issuer = "CN=Another CA" } },
    { "delta CRL", { .extension = "2.5.29.27", .critical = true } },
    { "delta CRL", { .extension = "2.5.29.27" } },
    { "issuingDistributionPoint", { .extension = "2.5.29.28", .critical = true } },
    { "issuingDistributionPoint", { .extension = "2.5.29.28" } },
    { "critical extension", { .extension = "1.2.3.4", .critical = true } },
    { "critical extension",
      { .serials = { 9 }, .extension = "1.2.3.4", .critical = true, .in_entry = true } },
    { "critical extension",
      { .serials = { 9 }, .extension = "2.5.29.29", .critical = true, .in_entry = true } },
    { "no nextUpdate", { .without_end = true } },
    { "does not count now", { .from = -DAY, .to = -1 } },
    { "does not count now", { .from = 3600 } },
};

START_TEST(S_08_a_crl_that_cannot_be_believed_is_none)
{
    crl_order order = unusable[_i].order;
    foreign *f = foreign_made(foreign_path);

    if (!_i)
        order.key = foreign_other_key; /* of the same name */
    foreign_file_put(&order, 1);
    foreign_expect_unknown(f, unusable[_i].says);
}
END_TEST

START_TEST(a_crl_signed_with_md5_is_none)
{
    EVP_PKEY *rsa = fixture_key_make(2048, NULL, room_pool);
    crl_order order = { .issuer = "CN=RSA CA", .key = rsa, .digest = EVP_md5() };
    foreign *f;

    ck_assert_int_eq(sk_X509_push(foreign_issuers, foreign_ca_of("CN=RSA CA", rsa, CA_USAGE)), 2);
    f = foreign_made(foreign_path);
    foreign_file_put(&order, 1);
    foreign_expect(f, foreign_device(1, "CN=RSA CA", rsa), SCEP_UNAVAILABLE, FOREIGN_GOOD, "MD5");
    order.digest = EVP_sha1();
    foreign_file_put(&order, 1);
    foreign_expect(f, foreign_device(1, "CN=RSA CA", rsa), SCEP_OK, FOREIGN_GOOD, NULL);
}
END_TEST

START_TEST(a_ca_that_may_not_sign_crls_has_none)
{
    const crl_order order = { .issuer = "CN=Idle" };
    foreign *f;

    ck_assert_int_eq(
        sk_X509_push(foreign_issuers, foreign_ca_of("CN=Idle", foreign_ca_key, KU_KEY_CERT_SIGN)),
        2);
    f = foreign_made(foreign_path);
    foreign_file_put(&order, 1);
    foreign_expect(f, foreign_device(1, "CN=Idle", foreign_ca_key), SCEP_UNAVAILABLE, FOREIGN_GOOD,
                   "signature");
}
END_TEST

START_TEST(what_is_no_crl_is_refused_naming_the_file)
{
    static const char *const texts[] = { "", "hello", "-----BEGIN X509 CRL-----\nAAAA\n" };
    foreign *f = foreign_made(foreign_path);

    foreign_expect_unknown(f, "foreign.crl: No such file");
    for (int i = 0; i < ROWS(texts); i++) {
        foreign_file_write(texts[i], strlen(texts[i]));
        foreign_expect_unknown(f, "holds no CRL");
    }
    FIXTURE_MUST(unlink(foreign_path) == 0);
    foreign_expect_unknown(foreign_made(room_folder), "not a file");
}
END_TEST

START_TEST(a_changed_file_is_read_anew)
{
    const crl_order first = { .serials = { 1 }, .from = -60 }, second = { .serials = { 1, 2 } };
    foreign *f = foreign_made(foreign_path);

    foreign_file_put(&first, 1);
    foreign_expect_good(f, 2);
    foreign_file_put(&second, 1);
    foreign_expect_revoked(f, 2);
}
END_TEST

START_TEST(what_is_worse_does_not_replace_what_is_held)
{
    const crl_order good = { .serials = { 1 } }, older = { .from = -DAY };
    const crl_order forged = { .key = foreign_other_key, .from = 60 };
    foreign *f = foreign_made(foreign_path);

    foreign_file_put(&good, 1);
    OK(foreign_refresh(f, room_pool));
    foreign_file_put(&older, 1); /* a replay would take the revocation back */
    foreign_expect_revoked(f, 1);
    room_expect(foreign_refresh(f, room_pool), SCEP_UNAVAILABLE);
    OK(foreign_refresh(f, room_pool)); /* said once */
    foreign_file_put(&forged, 1);
    foreign_expect_revoked(f, 1);
    foreign_file_write("half", 4);
    foreign_expect_revoked(f, 1);
    FIXTURE_MUST(unlink(foreign_path) == 0);
    foreign_expect_revoked(f, 1);
    room_expect(foreign_refresh(f, room_pool), SCEP_UNAVAILABLE);
    foreign_clock_at(foreign_now + 7 * DAY); /* and not beyond its nextUpdate */
    foreign_expect_unknown(f, "does not count now");
    foreign_expect_unknown(f, "No such file");
}
END_TEST

static foreign *made_for_two_keys(void)
{
    ck_assert_int_eq(
        sk_X509_push(foreign_issuers, foreign_ca_of("CN=Foreign CA", foreign_other_key, CA_USAGE)),
        2);
    return foreign_made(foreign_path);
}

/* Another key of the same name: its CRL speaks for its own certificates. */
START_TEST(a_ca_that_changed_its_key_needs_the_crl_of_each)
{
    crl_order orders[] = { { .serials = { 7 } }, { .key = foreign_other_key, .serials = { 8 } } };
    foreign *f = made_for_two_keys();

    foreign_file_put(&orders[1], 1);
    foreign_expect(f, foreign_device(1, "CN=Foreign CA", foreign_other_key), SCEP_OK, FOREIGN_GOOD,
                   NULL);
    foreign_expect_unknown(f, "no CRL of the key");
    foreign_expect_revoked(f, 8); /* whoever says so */
    foreign_file_put(orders, 2);
    foreign_expect_good(f, 1);
    foreign_expect_revoked(f, 7);
    foreign_expect_revoked(f, 8);
}
END_TEST

START_TEST(what_was_left_out_for_once_is_not_replaced_by_an_older_one)
{
    crl_order orders[] = { { .serials = { 7 } }, { .key = foreign_other_key, .serials = { 8 } } };
    foreign *f = made_for_two_keys();

    foreign_file_put(orders, 2);
    foreign_expect_good(f, 1);
    foreign_file_put(&orders[1], 1);
    foreign_expect_unknown(f, "no CRL of the key");
    orders[0] = (crl_order){ .from = -DAY };
    foreign_file_put(orders, 2);
    foreign_expect_unknown(f, "no CRL of the key");
    orders[0] = (crl_order){ .serials = { 7 } };
    foreign_file_put(orders, 2);
    foreign_expect_good(f, 1);
    foreign_expect_revoked(f, 7);
}
END_TEST

START_TEST(a_certificate_of_nobody_known_is_never_good)
{
    const crl_order order = { 0 };
    foreign *f = foreign_made(foreign_path);

    foreign_file_put(&order, 1);
    foreign_expect(f, foreign_device(1, "CN=Stranger", foreign_other_key), SCEP_UNAVAILABLE,
                   FOREIGN_GOOD, NULL);
    /* the name alone */
    foreign_expect(f, foreign_device(1, "CN=Foreign CA", foreign_other_key), SCEP_UNAVAILABLE,
                   FOREIGN_GOOD, NULL);
}
END_TEST

START_TEST(a_description_says_until_when)
{
    const crl_order order = { 0 };
    foreign *f = foreign_made(foreign_path);

    ck_assert_ptr_nonnull(strstr(foreign_describe(f, room_pool), "No such file"));
    foreign_file_put(&order, 1);
    ck_assert_ptr_nonnull(strstr(foreign_describe(f, room_pool), " until "));
    ck_assert_ptr_nonnull(
        strstr(foreign_describe(foreign_made("http://127.0.0.1:1/x"), room_pool), "fetched while"));
}
END_TEST

typedef struct asker {
    foreign *f;
    X509 *cert;
    volatile int *stop;
    int asked;
} asker;

static void *ask(void *data)
{
    asker *a = data;
    apr_pool_t *p;

    FIXTURE_MUST(apr_pool_create(&p, NULL) == APR_SUCCESS);
    while (!__atomic_load_n(a->stop, __ATOMIC_SEQ_CST) || !a->asked) {
        foreign_status status;

        FIXTURE_MUST(!foreign_check(&status, a->f, a->cert, p) && status == FOREIGN_REVOKED);
        a->asked++;
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

START_TEST(threads_ask_while_the_file_changes)
{
    volatile int stop = 0;
    pthread_t threads[4];
    asker askers[4];
    crl_order order = { .serials = { 3 }, .from = -100 };
    foreign *f = foreign_made(foreign_path);

    foreign_file_put(&order, 1);
    for (int i = 0; i < 4; i++) {
        askers[i] = (asker){ f, foreign_device(3, "CN=Foreign CA", foreign_ca_key), &stop, 0 };
        FIXTURE_MUST(pthread_create(&threads[i], NULL, ask, &askers[i]) == 0);
    }
    for (int i = 0; i < 30; i++) {
        order.from++;
        foreign_file_put(&order, 1);
        OK(foreign_refresh(f, room_pool));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 4; i++)
        FIXTURE_MUST(pthread_join(threads[i], NULL) == 0);
}
END_TEST

Suite *foreign_suite(void)
{
    Suite *suite = suite_create("foreign");
    TCase *cases = tcase_create("foreign");

    tcase_add_checked_fixture(cases, foreign_up, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, none_is_a_decision_and_says_good);
    tcase_add_loop_test(cases, S_08_what_the_crl_lists_is_revoked_and_nothing_else, 0, ROWS(forms));
    tcase_add_loop_test(cases, S_08_a_crl_that_cannot_be_believed_is_none, 0, ROWS(unusable));
    tcase_add_test(cases, a_crl_signed_with_md5_is_none);
    tcase_add_test(cases, a_ca_that_may_not_sign_crls_has_none);
    tcase_add_test(cases, what_is_no_crl_is_refused_naming_the_file);
    tcase_add_test(cases, a_changed_file_is_read_anew);
    tcase_add_test(cases, what_is_worse_does_not_replace_what_is_held);
    tcase_add_test(cases, a_ca_that_changed_its_key_needs_the_crl_of_each);
    tcase_add_test(cases, what_was_left_out_for_once_is_not_replaced_by_an_older_one);
    tcase_add_test(cases, a_certificate_of_nobody_known_is_never_good);
    tcase_add_test(cases, a_description_says_until_when);
    tcase_add_test(cases, threads_ask_while_the_file_changes);
    suite_add_tcase(suite, cases);
    suite_add_tcase(suite, foreign_url_cases());
    return suite;
}
