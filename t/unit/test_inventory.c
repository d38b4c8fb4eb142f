/* The inventory: what it records, what it finds, what it revokes. */
#include "inventory.h"
#include "store_room.h"

#include <string.h>

START_TEST(R_162_the_inventory_tells_what_the_certificate_says_and_for_which_transaction)
{
    apr_array_header_t *cells;
    transaction *t = room_request("e", "id", 'k', 'c');
    X509 *cert = room_certificate(0xab);
    unsigned char *der = NULL, hash[32];
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    bool done;
    other o;

    ck_assert(len > 0 && EVP_Digest(der, (size_t)len, hash, NULL, EVP_sha256(), NULL));
    OPENSSL_free(der);
    room_expect(room_settle(t, cert, &done), SCEP_OK);
    o = other_open();
    cells = other_asks(&o, "SELECT serial, subject, not_before, not_after, template_name, endpoint,"
                           " transaction_id, key_hash, revoked FROM scep_certificate");
    other_close(&o);
    {
        const char *const expected[] = {
            "AB",
            "CN=device,O=\\C3\\84\\0A",
            "1700000000",
            "1700003600",
            "template",
            "e",
            t->row.transaction,
            scep_base64(room_pool, (scep_bytes){ hash, 32 }), /* not the signer's */
            "0",
        };

        ck_assert_int_eq(cells->nelts, 9);
        for (int i = 0; i < 9; i++)
            ck_assert_str_eq(APR_ARRAY_IDX(cells, i, const char *), expected[i]);
    }
}
END_TEST

typedef struct find_job {
    X509 *cert;
    const store_certificate *row;
} find_job;

static const scep_err *find_cert(store_tx *tx, void *baton)
{
    find_job *j = baton;

    return inventory_find(tx, j->cert, &j->row);
}

START_TEST(the_inventory_finds_that_very_certificate)
{
    X509 *mine = room_certificate(1);
    find_job j = { .cert = mine };
    bool done;

    room_expect(room_settle(room_request("e", "id", 'k', 'c'), mine, &done), SCEP_OK);
    room_expect(store_run(room_store, find_cert, &j, room_pool), SCEP_OK);
    ck_assert_str_eq(j.row->authority, "ca");
    ck_assert_str_eq(j.row->template_name, "template");
    j.cert = room_certificate(1); /* the same serial number, another certificate */
    room_expect(store_run(room_store, find_cert, &j, room_pool), SCEP_OK);
    ck_assert_ptr_null(j.row);
}
END_TEST

typedef struct record_job {
    const char *authority;
    const transaction *t;
} record_job;

static const scep_err *record_there(store_tx *tx, void *baton)
{
    record_job *j = baton;

    return inventory_record(tx, room_issued(room_certificate(1)), j->t, j->authority, "template");
}

START_TEST(a_revocation_names_one_certificate_that_is_not_revoked)
{
    static const struct {
        const char *authority, *serial, *says;
    } wrong[] = {
        { "", "02", "there is no certificate 02" },
        { "ca", "02", "authority ca has no certificate 02" },
        { "c", "01", "authority c has no certificate 01" },
        { "", "01", "name one of them: ca, cb" },
        { "", "", "there is no certificate" },
    };
    const transaction *t = room_request("e", "id", 'k', 'c');
    record_job ca = { "ca", t }, cb = { "cb", t };
    const store_certificate *row = NULL;
    const scep_err *err;

    room_expect(store_run(room_store, record_there, &ca, room_pool), SCEP_OK);
    room_expect(store_run(room_store, record_there, &cb, room_pool), SCEP_OK);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        err = inventory_revoke(room_store, wrong[i].authority, wrong[i].serial, 1, &row, room_pool);
        room_expect(err, SCEP_BAD_CERT_ID);
        ck_assert_msg(strstr(err->detail, wrong[i].says), "%s", err->detail);
        ck_assert_ptr_null(row);
    }
    room_expect(inventory_revoke(room_store, "cb", "01", 4, &row, room_pool), SCEP_OK);
    ck_assert_str_eq(row->authority, "cb");
    ck_assert_str_eq(row->serial, "01");
    ck_assert_int_eq(row->revoked, apr_time_sec(ROOM_START));
    ck_assert_int_eq(row->reason, 4);
    ck_assert_uint_gt(row->der.len, 0);
    err = inventory_revoke(room_store, "cb", "01", 1, &row, room_pool);
    room_expect(err, SCEP_BAD_CERT_ID);
    ck_assert_ptr_nonnull(strstr(err->detail, "revoked already"));
}
END_TEST

START_TEST(of_one_authority_a_revocation_needs_the_serial_number_only)
{
    const store_certificate *row;
    bool done;

    room_expect(room_settle(room_request("e", "id", 'k', 'c'), room_certificate(1), &done),
                SCEP_OK);
    room_expect(inventory_revoke(room_store, "", "01", 0, &row, room_pool), SCEP_OK);
    ck_assert_str_eq(row->authority, "ca");
    ck_assert_int_eq(row->reason, 0);
}
END_TEST

Suite *inventory_suite(void)
{
    Suite *suite = suite_create("inventory");
    TCase *cases = tcase_create("inventory");

    tcase_add_checked_fixture(cases, room_up_at_start, room_down);
    tcase_add_test(cases,
                   R_162_the_inventory_tells_what_the_certificate_says_and_for_which_transaction);
    tcase_add_test(cases, the_inventory_finds_that_very_certificate);
    tcase_add_test(cases, a_revocation_names_one_certificate_that_is_not_revoked);
    tcase_add_test(cases, of_one_authority_a_revocation_needs_the_serial_number_only);
    suite_add_tcase(suite, cases);
    return suite;
}
