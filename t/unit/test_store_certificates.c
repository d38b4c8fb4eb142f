/* The words of the store for certificates, revocation and CRLs: each outcome, on whichever
 * database. */
#include "store_room.h"

#include <apr_strings.h>
#include <string.h>

static const scep_err *certificate_words(store_tx *tx, void *baton)
{
    unsigned char bytes[256];
    store_certificate c = { .authority = "a'; DROP TABLE scep_certificate; --",
                            .serial = "01",
                            .endpoint = "e",
                            .transaction = "t",
                            .key_hash = "k",
                            .der = { bytes, sizeof(bytes) },
                            .not_before = -1,
                            .not_after = APR_INT64_MAX,
                            .issued = 0 };
    apr_int64_t count;
    const store_certificate *found;
    bool done;

    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    OK(store_certificate_get(tx, c.authority, "01", &found));
    ck_assert_ptr_null(found);
    OK(store_certificate_put(tx, &c, &done));
    ck_assert(done);
    bytes[0] = 1;
    OK(store_certificate_put(tx, &c, &done));
    ck_assert(!done);
    bytes[0] = 0;
    OK(store_certificate_get(tx, c.authority, "01", &found));
    ck_assert_uint_eq(found->der.len, sizeof(bytes));
    ck_assert_mem_eq(found->der.data, bytes, sizeof(bytes));
    ck_assert_str_eq(found->authority, c.authority);
    ck_assert_str_eq(found->subject, "");
    ck_assert_str_eq(found->key_hash, "k");
    ck_assert_int_eq(found->not_before, -1);
    ck_assert_int_eq(found->not_after, APR_INT64_MAX);
    ck_assert_int_eq(found->revoked, 0);
    c.authority = "b";
    OK(store_certificate_put(tx, &c, &done));
    ck_assert(done);
    OK(store_certificate_count(tx, &count));
    ck_assert_int_eq(count, 2);
    return NULL;
}

START_TEST(a_serial_number_is_put_once_for_each_authority)
{
    room_job_of(certificate_words);
}
END_TEST

/* ---- certificates that were revoked ---- */

static void put_certificate(store_tx *tx, const char *authority, const char *serial,
                            apr_int64_t not_after)
{
    store_certificate c = { .authority = authority,
                            .serial = serial,
                            .subject = "CN=x",
                            .endpoint = "e",
                            .transaction = "t",
                            .key_hash = "k",
                            .der = scep_bytes_of(serial),
                            .not_after = not_after };
    bool done;

    OK(store_certificate_put(tx, &c, &done));
    ck_assert(done);
}

/* "a:01 a:02": rows in their order; an authority may be absent. */
static const char *line_of(const apr_array_header_t *rows)
{
    const char *line = "";

    for (int i = 0; i < rows->nelts; i++) {
        const store_certificate *c = &APR_ARRAY_IDX(rows, i, store_certificate);

        line = apr_pstrcat(room_pool, line, i ? " " : "", c->authority ? c->authority : "", ":",
                           c->serial, NULL);
    }
    return line;
}

static bool revoke_it(store_tx *tx, const char *authority, const char *serial, apr_int64_t now)
{
    bool done;

    OK(store_certificate_revoke(tx, authority, serial, now, 4, &done));
    return done;
}

static const scep_err *revoke_words(store_tx *tx, void *baton)
{
    const store_certificate *found;
    apr_array_header_t *rows;
    store_crl crl;

    for (int i = 1; i <= 5; i++)
        put_certificate(tx, "a", apr_psprintf(room_pool, "0%d", i), 100 + i);
    put_certificate(tx, "b", "01", 100);
    ck_assert(!revoke_it(tx, "a", "09", 7));
    ck_assert(!revoke_it(tx, "c", "01", 7));
    OK(store_crl_get(tx, "a", &crl));
    ck_assert_int_eq(crl.wanted, 0);
    for (int i = 1; i <= 4; i++)
        ck_assert(revoke_it(tx, "a", apr_psprintf(room_pool, "0%d", i), 7 + i));
    ck_assert(!revoke_it(tx, "a", "01", 99));
    OK(store_crl_get(tx, "a", &crl));
    ck_assert_int_eq(crl.wanted, 4);
    OK(store_crl_get(tx, "b", &crl));
    ck_assert_int_eq(crl.wanted, 0);

    OK(store_certificate_get(tx, "a", "01", &found));
    ck_assert_int_eq(found->revoked, 8); /* as it was first */
    ck_assert_int_eq(found->reason, 4);
    OK(store_certificate_revoked(tx, "a", 102, "", 2, &rows));
    ck_assert_str_eq(line_of(rows), ":02 :03"); /* 01 has ended */
    ck_assert_int_eq(APR_ARRAY_IDX(rows, 0, store_certificate).revoked, 9);
    ck_assert_int_eq(APR_ARRAY_IDX(rows, 0, store_certificate).reason, 4);
    OK(store_certificate_revoked(tx, "a", 103, "03", 2, &rows));
    ck_assert_str_eq(line_of(rows), ":04");
    OK(store_certificate_revoked(tx, "b", 0, "", 2, &rows));
    ck_assert_str_eq(line_of(rows), "");
    return NULL;
}

START_TEST(a_certificate_is_revoked_once_and_a_crl_is_wanted)
{
    room_job_of(revoke_words);
}
END_TEST

static const scep_err *list_words(store_tx *tx, void *baton)
{
    apr_array_header_t *rows;

    OK(store_certificate_list(tx, "", "", 9, &rows));
    ck_assert_int_eq(rows->nelts, 0);
    put_certificate(tx, "b", "01", 1);
    put_certificate(tx, "a", "02", 1);
    put_certificate(tx, "a", "01", 1);
    put_certificate(tx, "b", "03", 1);
    OK(store_certificate_list(tx, "", "", 3, &rows));
    ck_assert_str_eq(line_of(rows), "a:01 a:02 b:01");
    ck_assert_uint_eq(APR_ARRAY_IDX(rows, 0, store_certificate).der.len, 0);
    ck_assert_str_eq(APR_ARRAY_IDX(rows, 0, store_certificate).subject, "CN=x");
    OK(store_certificate_list(tx, "b", "01", 3, &rows));
    ck_assert_str_eq(line_of(rows), "b:03");
    OK(store_certificate_of_serial(tx, "01", &rows));
    ck_assert_str_eq(line_of(rows), "a:01 b:01");
    ck_assert_uint_eq(APR_ARRAY_IDX(rows, 1, store_certificate).der.len, 2);
    OK(store_certificate_of_serial(tx, "09", &rows));
    ck_assert_int_eq(rows->nelts, 0);
    return NULL;
}

START_TEST(certificates_are_listed_in_pages_and_by_serial_number)
{
    room_job_of(list_words);
}
END_TEST

static const scep_err *get_spoilt(store_tx *tx, void *baton)
{
    const store_certificate *found;

    return store_certificate_get(tx, "a", "1", &found);
}

START_TEST(a_spoilt_certificate_is_an_error_and_no_answer)
{
    other o;

    OK(room_put_one("1", room_pool));
    o = other_open();
    other_says(&o, "UPDATE scep_certificate SET der = 'no base64'");
    other_close(&o);
    room_expect(store_run(room_store, get_spoilt, NULL, room_pool), SCEP_INTERNAL);
}
END_TEST

/* ---- CRLs ---- */

static bool put_crl(store_tx *tx, apr_int64_t number, const char *der)
{
    store_crl c = { .authority = "a",
                    .wanted = 0,
                    .holds = number * 10,
                    .number = number,
                    .this_update = 5,
                    .next_update = 6,
                    .der = scep_bytes_of(der) };
    bool done;

    OK(store_crl_put(tx, &c, &done));
    return done;
}

static const scep_err *crl_words(store_tx *tx, void *baton)
{
    bool after_a_revocation = *(bool *)baton;
    store_crl crl;

    OK(store_crl_get(tx, "a", &crl));
    ck_assert_int_eq(crl.number, 0);
    ck_assert_uint_eq(crl.der.len, 0);
    put_certificate(tx, "a", "01", 100);
    put_certificate(tx, "a", "02", 100);
    ck_assert(!after_a_revocation || revoke_it(tx, "a", "01", 7));
    ck_assert(!put_crl(tx, 2, "second"));
    ck_assert(put_crl(tx, 1, "first"));
    ck_assert(!put_crl(tx, 1, "first of another node"));
    ck_assert(revoke_it(tx, "a", "02", 7));
    ck_assert(put_crl(tx, 2, "second"));
    ck_assert(!put_crl(tx, 2, "second of another node"));
    OK(store_crl_get(tx, "a", &crl));
    ck_assert_str_eq(crl.authority, "a");
    ck_assert_int_eq(crl.wanted, after_a_revocation ? 2 : 1); /* no CRL takes it back */
    ck_assert_int_eq(crl.holds, 20);
    ck_assert_int_eq(crl.number, 2);
    ck_assert_int_eq(crl.this_update, 5);
    ck_assert_int_eq(crl.next_update, 6);
    ck_assert(scep_bytes_equal(crl.der, scep_bytes_of("second")));
    OK(store_crl_head(tx, "a", &crl));
    ck_assert_str_eq(crl.authority, "a");
    ck_assert_int_eq(crl.number, 2);
    ck_assert_int_eq(crl.next_update, 6);
    ck_assert_uint_eq(crl.der.len, 0);
    OK(store_crl_get(tx, "b", &crl));
    ck_assert_int_eq(crl.number, 0);
    OK(store_crl_head(tx, "b", &crl));
    ck_assert_int_eq(crl.number, 0);
    return NULL;
}

START_TEST(a_crl_follows_the_one_before)
{
    bool after_a_revocation = _i;

    OK(store_run(room_store, crl_words, &after_a_revocation, room_pool));
}
END_TEST

Suite *store_certificates_suite(void)
{
    Suite *suite = suite_create("store certificates");
    TCase *words = tcase_create("words");

    tcase_add_checked_fixture(words, room_up_portable, room_down);
    tcase_add_test(words, a_serial_number_is_put_once_for_each_authority);
    tcase_add_test(words, a_certificate_is_revoked_once_and_a_crl_is_wanted);
    tcase_add_test(words, certificates_are_listed_in_pages_and_by_serial_number);
    tcase_add_test(words, a_spoilt_certificate_is_an_error_and_no_answer);
    tcase_add_loop_test(words, a_crl_follows_the_one_before, 0, 2);
    suite_add_tcase(suite, words);
    return suite;
}
