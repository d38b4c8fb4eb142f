/* Whether a certificate may stand for a challenge: every row is one that signed a request. */
#include "renewal.h"
#include "fixture.h"
#include "store_room.h"

#include "certs.h"
#include "clock.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof(*(table))))
#define HOUR 3600

static renewal_trust trust;
static renewal_facts facts;
static const renewal_place here = { "e", "" };

static void up(void)
{
    room_up();
    trust = (renewal_trust){ .issuers = scep_borrowed_stack(room_pool) };
    ck_assert_int_gt(sk_X509_push(trust.issuers, fixture_ca_get()->root), 0);
    ck_assert_ptr_null(foreign_make(&trust.foreign, "none", trust.issuers, room_pool));
}

static void down(void)
{
    scep_clock_set(0);
    room_down();
}

static X509 *device(uint32_t usage)
{
    const fixture_ca *ca = fixture_ca_get();

    return fixture_cert("CN=device", fixture_key(1), ca->root, ca->root_key, false, usage,
                        room_pool);
}

static const scep_err *check(X509 *old)
{
    return renewal_check(&facts, old, &trust, &here, room_store, room_pool);
}

static void expect(const char *what, const scep_err *err, scep_code code, const char *says)
{
    scep_code was = err ? err->code : SCEP_OK;

    ck_assert_msg(was == code, "%s: %s: %s", what, scep_code_describe((int)was)->name,
                  err ? err->detail : "");
    ck_assert_msg(!says || (err && strstr(err->detail, says)), "%s: \"%s\" in: %s", what, says,
                  err ? err->detail : "");
}

/* ---- whose it is ---- */

static X509 *with(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    FIXTURE_MUST(ext && X509_add_ext(cert, ext, -1));
    X509_EXTENSION_free(ext);
    fixture_resign(cert, fixture_ca_get()->root_key);
    return cert;
}

/* Self-signed by @a key, named as the CA is. */
static X509 *in_the_cas_name(EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(fixture_ca_get()->root);
    X509 *cert = fixture_cert("CN=x", key, NULL, NULL, true, 0, room_pool);

    FIXTURE_MUST(X509_set_subject_name(cert, name) && X509_set_issuer_name(cert, name));
    fixture_resign(cert, key);
    return cert;
}

START_TEST(R_105_R_106_S_08_D_02_who_is_no_good_holder_is_refused)
{
    const fixture_ca *ca = fixture_ca_get();
    EVP_PKEY *key = fixture_key(1), *foreigner = fixture_key(3);
    X509 *impostor, *pretender;
    struct {
        const char *name;
        X509 *signer;
        const char *says;
    } rows[9];
    int n = 0;

    impostor = in_the_cas_name(foreigner);
    pretender = in_the_cas_name(key);
#define ROW(...) rows[n++] = (__typeof__(rows[0])){ __VA_ARGS__ }
    ROW("self-signed", fixture_cert("CN=device", key, NULL, NULL, false, 0, room_pool),
        "self-signed");
    ROW("self-signed in the CA's name", pretender, "self-signed");
    ROW("the CA's own certificate", ca->root, "self-signed");
    ROW("another CA of the same name",
        fixture_cert("CN=device", key, impostor, foreigner, false, 0, room_pool), "not issued");
    ROW("the CA's name over another key",
        fixture_cert("CN=device", key, ca->root, foreigner, false, 0, room_pool), "not issued");
    ROW("a CA below the CA",
        fixture_cert("CN=device", key, ca->root, ca->root_key, true, 0, room_pool), "a CA's");
    ROW("may sign certificates, without saying that it is a CA", device(KU_KEY_CERT_SIGN),
        "a CA's");
    ROW("an extension twice",
        with(with(device(0), NID_ext_key_usage, "clientAuth"), NID_ext_key_usage, "clientAuth"),
        "cannot be read");
    ROW("S-08 a certificate request agent, as every RA is",
        with(device(0), NID_ext_key_usage, "clientAuth,1.3.6.1.4.1.311.20.2.1"), "an RA's");
#undef ROW
    for (int i = 0; i < n; i++)
        expect(rows[i].name, check(rows[i].signer), SCEP_REFUSED, rows[i].says);
    /* what one of them lacks is not a matter of the rest */
    expect("a device's", check(device(0)), SCEP_OK, NULL);
}
END_TEST

START_TEST(R_106_out_of_its_time_it_is_refused)
{
    X509 *old = device(0);
    const struct {
        const char *name;
        apr_time_t later;
        bool good;
    } rows[] = {
        { "now", 0, true },
        { "before", -2 * HOUR, false },
        { "in its last hour", 30 * 24 * HOUR - HOUR - HOUR, true },
        { "after", 31 * 24 * HOUR, false },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        scep_clock_set(apr_time_now() + apr_time_from_sec(rows[i].later));
        expect(rows[i].name, check(old), rows[i].good ? SCEP_OK : SCEP_REFUSED,
               rows[i].good ? NULL : "ended or is not valid yet");
        ck_assert_int_eq(renewal_is_issued(old, trust.issuers), rows[i].good);
    }
}
END_TEST

START_TEST(R_104_another_CA_counts_where_it_is_named)
{
    X509 *second = fixture_cert("CN=Second CA", fixture_key(2), NULL, NULL, true, 0, room_pool);
    X509 *old =
        fixture_cert("CN=device", fixture_key(1), second, fixture_key(2), false, 0, room_pool);

    expect("not named", check(old), SCEP_REFUSED, "not issued by this CA or one of renewal_ca");
    ck_assert(!renewal_is_issued(old, trust.issuers));
    ck_assert_int_gt(sk_X509_push(trust.issuers, second), 0);
    expect("named", check(old), SCEP_OK, NULL);
    ck_assert(renewal_is_issued(old, trust.issuers));
}
END_TEST

/* ---- what is known of it ---- */

static const scep_err *record(store_tx *tx, void *baton)
{
    bool done;

    SCEP_TRY(store_certificate_put(tx, baton, &done));
    return done ? NULL : scep_fail(store_tx_pool(tx), INTERNAL, "not recorded");
}

static const scep_err *revoke_in_store(store_tx *tx, void *baton)
{
    bool done;

    SCEP_TRY(store_certificate_revoke(tx, "a", baton, 1, 1, &done));
    return done ? NULL : scep_fail(store_tx_pool(tx), INTERNAL, "not revoked");
}

/* @a as: whose bytes stand under the serial number of @a cert */
static void put(X509 *cert, X509 *as)
{
    store_certificate c = { .authority = "a",
                            .serial = scep_cert_serial(cert, room_pool),
                            .subject = "CN=device",
                            .template_name = "Tunnel",
                            .endpoint = "e",
                            .transaction = "t",
                            .key_hash = "k",
                            .not_before = 1,
                            .not_after = 2,
                            .issued = 1 };

    ck_assert_ptr_null(scep_cert_der(&c.der, as, room_pool));
    ck_assert_ptr_null(store_run(room_store, record, &c, room_pool));
}

START_TEST(a_certificate_of_the_inventory_has_its_template)
{
    X509 *old = device(KU_DIGITAL_SIGNATURE);

    expect("unknown", check(old), SCEP_OK, NULL);
    ck_assert(!facts.known);
    ck_assert_ptr_null(facts.template_name);
    ck_assert_int_eq((int)facts.key_usage, KU_DIGITAL_SIGNATURE);
    put(old, old);
    expect("known", check(old), SCEP_OK, NULL);
    ck_assert(facts.known);
    ck_assert_str_eq(facts.template_name, "Tunnel");
    expect("without key usage", check(device(0)), SCEP_OK, NULL);
    ck_assert_int_eq((int)facts.key_usage, 0);
}
END_TEST

START_TEST(S_08_another_certificate_of_the_same_serial_number_is_not_the_one_of_the_inventory)
{
    X509 *old = device(0), *second = device(KU_DIGITAL_SIGNATURE);

    put(old, second);
    expect("another's row", check(old), SCEP_OK, NULL);
    ck_assert(!facts.known);
}
END_TEST

START_TEST(R_106_S_08_what_was_revoked_here_is_refused)
{
    X509 *old = device(0);

    put(old, old);
    expect("good", check(old), SCEP_OK, NULL);
    ck_assert_ptr_null(
        store_run(room_store, revoke_in_store, scep_cert_serial(old, room_pool), room_pool));
    expect("revoked", check(old), SCEP_REFUSED, "is revoked");
}
END_TEST

/* (r, n - s) is as good an ECDSA signature as (r, s). */
static X509 *with_the_other_signature(X509 *cert)
{
    X509 *twin = scep_X509(room_pool, X509_dup(cert));
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    const ASN1_BIT_STRING *was;
    const unsigned char *at;
    unsigned char *der = NULL;
    ECDSA_SIG *signature;
    BIGNUM *r, *s;
    int len;

    X509_get0_signature(&was, NULL, twin);
    at = ASN1_STRING_get0_data(was);
    signature = d2i_ECDSA_SIG(NULL, &at, ASN1_STRING_length(was));
    FIXTURE_MUST(group && signature);
    r = BN_dup(ECDSA_SIG_get0_r(signature));
    s = BN_new();
    FIXTURE_MUST(r && s && BN_sub(s, EC_GROUP_get0_order(group), ECDSA_SIG_get0_s(signature)) &&
                 ECDSA_SIG_set0(signature, r, s));
    len = i2d_ECDSA_SIG(signature, &der);
    FIXTURE_MUST(len > 0 && ASN1_STRING_set((ASN1_STRING *)(uintptr_t)was, der, len));
    OPENSSL_free(der);
    ECDSA_SIG_free(signature);
    EC_GROUP_free(group);
    return twin;
}

START_TEST(S_08_a_revoked_certificate_stays_so_with_the_other_signature_of_its_CA)
{
    EVP_PKEY *key = fixture_key_make(0, "P-256", room_pool);
    X509 *ca = fixture_cert("CN=Elliptic CA", key, NULL, NULL, true, 0, room_pool);
    X509 *old = fixture_cert("CN=device", fixture_key(1), ca, key, false, 0, room_pool);
    X509 *twin = with_the_other_signature(old);

    ck_assert_int_gt(sk_X509_push(trust.issuers, ca), 0);
    ck_assert_int_eq(X509_verify(twin, key), 1);
    ck_assert_int_ne(X509_cmp(twin, old), 0);
    put(old, old);
    expect("good", check(twin), SCEP_OK, NULL);
    ck_assert(facts.known);
    ck_assert_ptr_null(
        store_run(room_store, revoke_in_store, scep_cert_serial(old, room_pool), room_pool));
    expect("revoked", check(twin), SCEP_REFUSED, "is revoked");
}
END_TEST

START_TEST(S_08_a_certificate_is_renewed_at_its_own_endpoint_or_where_that_is_named)
{
    static const struct {
        renewal_place place;
        bool good;
    } rows[] = {
        { { "e", "" }, true },   { { "E", "" }, true },       { { "f", "" }, false },
        { { "f", "e" }, true },  { { "f", "d E\tg" }, true }, { { "f", " ee e2 2e " }, false },
        { { "ee", "" }, false }, { { "f", "d  e" }, true },
    };
    X509 *old = device(0);

    for (int i = 0; i < ROWS(rows); i++)
        expect("unknown", renewal_check(&facts, old, &trust, &rows[i].place, room_store, room_pool),
               SCEP_OK, NULL);
    put(old, old);
    for (int i = 0; i < ROWS(rows); i++)
        expect(apr_pstrcat(room_pool, rows[i].place.endpoint, ": ", rows[i].place.from, NULL),
               renewal_check(&facts, old, &trust, &rows[i].place, room_store, room_pool),
               rows[i].good ? SCEP_OK : SCEP_REFUSED,
               rows[i].good ? NULL : "is of endpoint e, which SCEPRenewalFrom of endpoint ");
    expect("nothing is renewed", renewal_check(&facts, old, &trust, NULL, room_store, room_pool),
           SCEP_OK, NULL);
}
END_TEST

/* A CRL that cannot be had is no permission; for what is in the inventory none is needed, but where
 * the CA that issued it revokes by itself. */
START_TEST(R_106_S_02_where_revocation_cannot_be_known_nothing_is_decided)
{
    X509 *unknown = device(0), *known = device(0);

    put(known, known);
    ck_assert_ptr_null(foreign_make(&trust.foreign,
                                    apr_pstrcat(room_pool, room_folder, "/none.crl", NULL),
                                    trust.issuers, room_pool));
    expect("unknown", check(unknown), SCEP_UNAVAILABLE, NULL);
    expect("known", check(known), SCEP_OK, NULL);
    trust.elsewhere = true;
    expect("known, of a CA elsewhere", check(known), SCEP_UNAVAILABLE, NULL);
    trust.issuers = scep_borrowed_stack(room_pool);
    FIXTURE_MUST(sk_X509_push(trust.issuers, fixture_cert("CN=CA elsewhere", fixture_key(2), NULL,
                                                          NULL, true, 0, room_pool)) > 0 &&
                 sk_X509_push(trust.issuers, fixture_ca_get()->root) > 0);
    expect("known, of the CA here before", check(known), SCEP_OK, NULL);
}
END_TEST

START_TEST(without_a_store_nothing_is_decided)
{
    store_close(room_store);
    expect("no store", check(device(0)), SCEP_UNAVAILABLE, NULL);
}
END_TEST

static Suite *renewal_suite(void)
{
    Suite *suite = suite_create("renewal");
    TCase *cases = tcase_create("renewal");

    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, R_105_R_106_S_08_D_02_who_is_no_good_holder_is_refused);
    tcase_add_test(cases, R_106_out_of_its_time_it_is_refused);
    tcase_add_test(cases, R_104_another_CA_counts_where_it_is_named);
    tcase_add_test(cases, a_certificate_of_the_inventory_has_its_template);
    tcase_add_test(
        cases, S_08_another_certificate_of_the_same_serial_number_is_not_the_one_of_the_inventory);
    tcase_add_test(cases, R_106_S_08_what_was_revoked_here_is_refused);
    tcase_add_test(cases, S_08_a_revoked_certificate_stays_so_with_the_other_signature_of_its_CA);
    tcase_add_test(cases, S_08_a_certificate_is_renewed_at_its_own_endpoint_or_where_that_is_named);
    tcase_add_test(cases, R_106_S_02_where_revocation_cannot_be_known_nothing_is_decided);
    tcase_add_test(cases, without_a_store_nothing_is_decided);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    Suite *(*const suites[])(void) = { renewal_suite, foreign_suite };

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS);
    fixture_prepare();
    return room_main(suites, ROWS(suites));
}
