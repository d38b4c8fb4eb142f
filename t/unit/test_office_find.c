/* What became of requests, what is in the inventory, and what workers know of an endpoint. */
#include "office_suite.h"

#include "certs.h"
#include "clock.h"
#include "key.h"
#include "message.h"

#include <apr_strings.h>
#include <string.h>

static scep_wire_verdict enrol(const char *endpoint, const char *authority, const char *id)
{
    const fixture_request r = { .challenge = office_room_mint(o, endpoint, p) };

    return office_room_enrol_at(o, endpoint, authority, "192.0.2.9", id, fixture_csr(&r, p), p);
}

/* ---- poll ---- */

START_TEST(R_112_R_121_D_08_S_22_an_unknown_and_anothers_transaction_are_told_apart_by_nobody)
{
    scep_wire_verdict v = enrol("devices", "", "1"), unknown, foreigner, elsewhere;

    cert_of(&v);
    unknown = office_room_poll(o, "devices", "2", fixture_key(0), p);
    foreigner = office_room_poll(o, "devices", "1", fixture_key(1), p);
    elsewhere = office_room_poll(o, "strict", "1", fixture_key(0), p);
    assert_refused(unknown, SCEP_BAD_CERT_ID);
    assert_refused(foreigner, SCEP_BAD_CERT_ID);
    assert_refused(elsewhere, SCEP_BAD_CERT_ID);
    ck_assert_str_eq(unknown.detail, foreigner.detail);
    ck_assert_str_eq(unknown.detail, elsewhere.detail);
    assert_refused(office_room_poll(o, "nobody", "1", fixture_key(0), p), SCEP_REFUSED);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "SCEP0240: poll txid=\"2\" "));
}
END_TEST

START_TEST(R_113_R_114_what_was_issued_is_given_as_often_as_it_is_asked_for)
{
    scep_wire_verdict first = enrol("devices", "", "1");

    for (int i = 0; i < 3; i++) {
        scep_wire_verdict v = office_room_poll(o, "devices", "1", fixture_key(0), p);

        cert_of(&v);
        assert_bytes(v.certificate, first.certificate);
        ck_assert_str_eq(v.authority, "default");
        scep_clock_set(apr_time_now() + apr_time_from_sec((i + 1) * 9 * (apr_time_t)DAY));
    }
    ck_assert_int_eq(office_room_count(o, p), 1);
}
END_TEST

START_TEST(R_114_R_117_a_poll_for_what_was_issued_at_once_is_answered_within_CacheRequest)
{
    const char *challenge = office_room_mint(o, "strict", p);
    const fixture_request r = { .challenge = challenge };
    scep_bytes csr = fixture_csr(&r, p);
    scep_wire_verdict first = office_room_enrol(o, "strict", "1", csr, p), v;

    cert_of(&first);
    scep_clock_set(apr_time_now() + apr_time_from_sec(19 * 60));
    v = office_room_poll(o, "strict", "1", fixture_key(0), p);
    cert_of(&v);
    scep_clock_set(apr_time_now() + apr_time_from_sec(21 * 60));
    assert_refused(office_room_poll(o, "strict", "1", fixture_key(0), p), SCEP_BAD_CERT_ID);
    v = office_room_enrol(o, "strict", "1", csr, p);
    cert_of(&v);
    assert_bytes(v.certificate, first.certificate);
}
END_TEST

START_TEST(R_118_a_revoked_certificate_is_no_answer_any_more)
{
    const char *challenge = office_room_mint(o, "devices", p);
    const fixture_request r = { .challenge = challenge };
    scep_bytes csr = fixture_csr(&r, p);
    scep_wire_verdict v = office_room_enrol(o, "devices", "1", csr, p);

    assert_ok(office_room_revoke(o, scep_cert_serial(cert_of(&v), p), p));
    assert_refused(office_room_poll(o, "devices", "1", fixture_key(0), p), SCEP_BAD_CERT_ID);
    /* S-23: its request gets no other one, and its challenge is used up */
    assert_refused(office_room_enrol(o, "devices", "1", csr, p), SCEP_REFUSED);
    assert_refused(office_room_enrol(o, "devices", "2", csr, p), SCEP_CHALLENGE);
}
END_TEST

START_TEST(a_poll_of_no_key_is_put_off)
{
    const scep_wire_poll in = { .endpoint = "devices",
                                .transaction_id = scep_bytes_of("1"),
                                .peer = "" };
    scep_wire_verdict v;

    office_poll(&v, o, &in, apr_time_now() + o->timeout, p);
    ck_assert_int_eq((int)v.status, SCEP_STATUS_LATER);
}
END_TEST

/* ---- find ---- */

/* A question of the holder of @a signer. @param issuer a name; NULL: not one */
static scep_wire_verdict ask(const char *endpoint, int type, const X509_NAME *issuer,
                             const char *serial, X509 *signer)
{
    scep_wire_find in = { .endpoint = endpoint,
                          .message_type = (uint32_t)type,
                          .serial = serial,
                          .transaction_id = scep_bytes_of("q"),
                          .peer = "192.0.2.9" };
    const unsigned char *der;
    scep_wire_verdict v;

    in.issuer = scep_bytes_of("no name");
    if (issuer)
        FIXTURE_MUST(X509_NAME_get0_der(issuer, &der, &in.issuer.len));
    if (issuer)
        in.issuer.data = der;
    assert_ok(scep_cert_der(&in.signer, signer, p));
    office_find(&v, o, &in, p);
    return v;
}

static const X509_NAME *ca_name(void)
{
    return X509_get_subject_name(office_room_ca(o, 0));
}

START_TEST(R_130_R_131_a_holder_finds_certificates_of_the_CA)
{
    scep_wire_verdict mine = enrol("devices", "", "1"), v;
    X509 *me = cert_of(&mine);
    const char *serial = scep_cert_serial(me, p);
    X509_NAME *other = scep_X509_NAME(p, X509_NAME_new());

    fixture_set_name(other, "CN=Office Test");
    v = ask("manual", SCEP_GET_CERT, ca_name(), serial, me);
    cert_of(&v);
    assert_bytes(v.certificate, mine.certificate);
    ck_assert_str_eq(v.authority, "default");
    ck_assert(v.generation == office_generation(office_endpoint_find(o, "manual")));
    assert_refused(ask("manual", SCEP_GET_CERT, ca_name(), "0123", me), SCEP_BAD_CERT_ID);
    assert_refused(ask("manual", SCEP_GET_CERT, ca_name(), "-1", me), SCEP_BAD_CERT_ID);
    assert_refused(ask("manual", SCEP_GET_CERT, other, serial, me), SCEP_BAD_CERT_ID);
    assert_refused(ask("manual", SCEP_GET_CERT, NULL, serial, me), SCEP_BAD_CERT_ID);
    assert_refused(ask("manual", SCEP_PKCS_REQ, ca_name(), serial, me), SCEP_BAD_REQUEST);
    ck_assert_ptr_nonnull(
        strstr(office_room_log(p), apr_pstrcat(p,
                                               "SCEP0243: find certificate txid=\"q\" "
                                               "endpoint=\"manual\" verdict=found code=OK "
                                               "reason=\"\" serial=\"",
                                               serial, "\" by=", serial, NULL)));
}
END_TEST

START_TEST(a_certificate_of_the_next_CA_is_found_under_the_same_name)
{
    scep_wire_verdict mine = enrol("devices", "successor", "1"), v;
    X509 *me = cert_of(&mine);

    ck_assert_str_eq(mine.authority, "successor");
    v = ask("manual", SCEP_GET_CERT, ca_name(), scep_cert_serial(me, p), me);
    assert_bytes(v.certificate, mine.certificate);
    ck_assert_str_eq(v.authority, "successor");
}
END_TEST

START_TEST(R_136_S_26_only_a_good_certificate_of_the_CA_may_ask)
{
    const fixture_ca *foreigner = fixture_ca_get();
    scep_wire_verdict v = enrol("devices", "", "1");
    X509 *me = cert_of(&v);
    const char *serial = scep_cert_serial(me, p);
    X509 *bad[] = {
        fixture_cert("CN=device", fixture_key(0), NULL, NULL, false, 0, p),
        fixture_cert("CN=device", fixture_key(0), foreigner->root, foreigner->root_key, false, 0,
                     p),
        fixture_cert("CN=device", fixture_key(0), office_room_ca(o, 0), fixture_key(1), false, 0,
                     p),
        office_room_ca(o, 0),
        me, /* revoked by then */
    };

    for (int i = 0; i < ROWS(bad); i++) {
        row = apr_itoa(p, i);
        if (bad[i] == me)
            assert_ok(office_room_revoke(o, serial, p));
        assert_refused(ask("manual", SCEP_GET_CERT, ca_name(), serial, bad[i]), SCEP_REFUSED);
        assert_refused(ask("manual", SCEP_GET_CRL, ca_name(), serial, bad[i]), SCEP_REFUSED);
    }
}
END_TEST

START_TEST(R_135_S_26_it_is_off_unless_switched_on)
{
    scep_wire_verdict v = enrol("devices", "", "1");
    X509 *me = cert_of(&v);
    const char *serial = scep_cert_serial(me, p);

    assert_refused(ask("devices", SCEP_GET_CERT, ca_name(), serial, me), SCEP_BAD_REQUEST);
    assert_refused(ask("devices", SCEP_GET_CRL, ca_name(), serial, me), SCEP_BAD_REQUEST);
    assert_refused(ask("nobody", SCEP_GET_CRL, ca_name(), serial, me), SCEP_REFUSED);
}
END_TEST

static X509_CRL *crl_of(const scep_wire_verdict *v)
{
    const unsigned char *at = v->crl.data;
    X509_CRL *crl;

    ck_assert_msg(v->status == SCEP_STATUS_ISSUED, "%s: %s", row, v->detail);
    ck_assert_uint_eq(v->certificate.len, 0);
    crl = scep_X509_CRL(p, d2i_X509_CRL(NULL, &at, (long)v->crl.len));
    ck_assert_ptr_nonnull(crl);
    ck_assert_int_eq(X509_CRL_verify(crl, X509_get0_pubkey(office_room_ca(o, 0))), 1);
    return crl;
}

START_TEST(R_132_R_133_R_134_the_newest_CRL_is_found)
{
    scep_wire_verdict mine = enrol("devices", "", "1"), other = enrol("devices", "", "2"), v;
    X509 *me = cert_of(&mine);
    const char *serial = scep_cert_serial(me, p);
    X509_REVOKED *entry;
    X509_NAME *nobody = scep_X509_NAME(p, X509_NAME_new());

    fixture_set_name(nobody, "CN=nobody");
    assert_refused(ask("manual", SCEP_GET_CRL, ca_name(), serial, me), SCEP_BAD_REQUEST);
    assert_ok(office_sign_crl(&(scep_wire_done){ 0 }, o,
                              &(const scep_wire_sign_crl){ .authority = "", .by = "root" }, NULL,
                              NULL, p));
    v = ask("manual", SCEP_GET_CRL, ca_name(), serial, me);
    ck_assert_int_eq(X509_CRL_get0_by_cert(crl_of(&v), &entry, cert_of(&other)), 0);
    assert_ok(office_room_revoke(o, scep_cert_serial(cert_of(&other), p), p));
    v = ask("manual", SCEP_GET_CRL, ca_name(), serial, me);
    ck_assert_int_eq(X509_CRL_get0_by_cert(crl_of(&v), &entry, cert_of(&other)), 1);
    assert_refused(ask("manual", SCEP_GET_CRL, nobody, serial, me), SCEP_BAD_CERT_ID);
}
END_TEST

static const scep_err *put_large_crl(store_tx *tx, void *baton)
{
    const size_t len = 2u << 20;
    const store_crl crl = { .authority = "default",
                            .number = 1,
                            .der = { apr_pcalloc(store_tx_pool(tx), len), len } };
    bool done;

    SCEP_TRY(store_crl_put(tx, &crl, &done));
    return done ? NULL : scep_fail(store_tx_pool(tx), INTERNAL, "not recorded");
}

START_TEST(R_133_a_CRL_that_no_answer_holds_is_where_crl_url_says)
{
    scep_wire_verdict mine = enrol("devices", "", "1"), v;
    X509 *me = cert_of(&mine);

    assert_ok(store_run(o->store, put_large_crl, NULL, p));
    v = ask("manual", SCEP_GET_CRL, ca_name(), scep_cert_serial(me, p), me);
    assert_refused(v, SCEP_BAD_REQUEST);
    ck_assert_ptr_nonnull(strstr(v.detail, "crl_url"));
    ck_assert_uint_lt(scep_wire_put_verdict(SCEP_VERB_VERDICT, &v, p).len, SCEP_WIRE_MAX);
}
END_TEST

START_TEST(R_135_Q_79_a_CRL_is_asked_for_by_a_device_or_by_the_CAs_own_certificate)
{
    scep_wire_verdict v = enrol("devices", "", "1");
    X509 *me = cert_of(&v);
    X509 *ca = office_room_ca(o, 0);
    const struct {
        const char *name;
        const X509_NAME *issuer;
        const char *serial;
    } asked[] = {
        { "its own", X509_get_subject_name(ca), scep_cert_serial(me, p) },
        { "one that is not there", X509_get_subject_name(ca), "0123" },
        { "the CA's own", X509_get_issuer_name(ca), scep_cert_serial(ca, p) },
    };

    assert_ok(office_room_revoke(o, scep_cert_serial(me, p), p));
    v = enrol("devices", "", "2");
    me = cert_of(&v);
    for (int i = 0; i < ROWS(asked); i++) {
        row = asked[i].name;
        v = ask("manual", SCEP_GET_CRL, asked[i].issuer, asked[i].serial, me);
        crl_of(&v);
        ck_assert_str_eq(v.authority, "default");
    }
}
END_TEST

START_TEST(R_135_Q_79_the_certificate_of_an_intermediate_CA_names_the_CA_above)
{
    scep_wire_verdict v = enrol("devices", "", "1");
    X509 *me = cert_of(&v), *ca = office_room_ca(o, 0);
    X509 *below = scep_X509(p, X509_dup(ca));
    X509_NAME *root = scep_X509_NAME(p, X509_NAME_new());
    const char *serial = scep_cert_serial(ca, p);
    STACK_OF(X509) *chain = APR_ARRAY_IDX(o->authorities, 0, office_authority *)->connector->chain;

    assert_ok(office_sign_crl(&(scep_wire_done){ 0 }, o,
                              &(const scep_wire_sign_crl){ .authority = "default", .by = "" }, NULL,
                              NULL, p));
    fixture_set_name(root, "CN=Root");
    FIXTURE_MUST(below && X509_set_issuer_name(below, root));
    sk_X509_set(chain, 0, below);
    v = ask("manual", SCEP_GET_CRL, root, serial, me);
    crl_of(&v);
    assert_refused(ask("manual", SCEP_GET_CRL, root, "0123", me), SCEP_BAD_CERT_ID);
    assert_refused(ask("manual", SCEP_GET_CERT, root, serial, me), SCEP_BAD_CERT_ID);
    sk_X509_set(chain, 0, ca); /* whose owner frees it */
}
END_TEST

/* ---- what workers know, and the CA that takes over ---- */

START_TEST(workers_learn_the_RAs_of_the_CA_and_of_its_successor)
{
    static const struct {
        const char *authority;
        uint32_t role;
    } wanted[] = { { "default", SCEP_ROLE_CURRENT }, { "successor", SCEP_ROLE_NEXT } };
    const scep_wire_endpoint_name name = { "devices" };
    scep_wire_identities bundle = { 0 };
    const scep_wire_public *public;

    assert_ok(office_bundle(&bundle, o, &name, p));
    public = &APR_ARRAY_IDX(bundle.endpoint, 0, scep_wire_public);
    ck_assert(public->generation == office_generation(office_endpoint_find(o, "devices")));
    ck_assert_int_eq(public->identities->nelts, ROWS(wanted));
    ck_assert_int_eq(bundle.keys->nelts, ROWS(wanted));
    for (int i = 0; i < ROWS(wanted); i++) {
        const scep_wire_identity *identity =
            &APR_ARRAY_IDX(public->identities, i, scep_wire_identity);
        const scep_wire_keys *keys = &APR_ARRAY_IDX(bundle.keys, i, scep_wire_keys);
        EVP_PKEY *key;
        X509 *cert;

        ck_assert_str_eq(identity->authority, wanted[i].authority);
        ck_assert_uint_eq(identity->role, wanted[i].role);
        ck_assert_int_eq(identity->chain->nelts, 1);
        assert_ok(scep_cert_read(&cert, identity->decrypt_cert, p));
        assert_ok(scep_key_read(&key, keys->decrypt_key, p));
        ck_assert_int_eq(X509_check_private_key(cert, key), 1);
        ck_assert_int_eq(X509_cmp(cert, office_room_ra(o, i)->decrypt.cert), 0);
    }
}
END_TEST

START_TEST(hello_says_the_same_without_keys)
{
    scep_wire_ready ready = { 0 };
    const scep_wire_public *public;

    assert_ok(office_hello(&ready, o, p));
    ck_assert_int_eq(ready.endpoints->nelts, o->endpoints->nelts);
    for (int i = 0; i < ready.endpoints->nelts; i++) {
        public = &APR_ARRAY_IDX(ready.endpoints, i, scep_wire_public);
        ck_assert(public->generation ==
                  office_generation(office_endpoint_find(o, public->endpoint)));
        ck_assert_int_eq(public->identities->nelts, strcmp(public->endpoint, "later") ? 2 : 1);
    }
}
END_TEST

START_TEST(what_is_enveloped_to_the_next_RA_is_issued_by_the_next_CA)
{
    scep_wire_verdict v = enrol("devices", "successor", "1");

    ck_assert_int_eq(X509_verify(cert_of(&v), X509_get0_pubkey(office_room_ca(o, 1))), 1);
    v = enrol("devices", "default", "2");
    ck_assert_int_eq(X509_verify(cert_of(&v), X509_get0_pubkey(office_room_ca(o, 0))), 1);
    assert_refused(enrol("devices", "nobody", "3"), SCEP_REFUSED);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(
        cases, R_112_R_121_D_08_S_22_an_unknown_and_anothers_transaction_are_told_apart_by_nobody);
    tcase_add_test(cases, R_113_R_114_what_was_issued_is_given_as_often_as_it_is_asked_for);
    tcase_add_test(cases,
                   R_114_R_117_a_poll_for_what_was_issued_at_once_is_answered_within_CacheRequest);
    tcase_add_test(cases, R_118_a_revoked_certificate_is_no_answer_any_more);
    tcase_add_test(cases, a_poll_of_no_key_is_put_off);
    tcase_add_test(cases, R_130_R_131_a_holder_finds_certificates_of_the_CA);
    tcase_add_test(cases, a_certificate_of_the_next_CA_is_found_under_the_same_name);
    tcase_add_test(cases, R_136_S_26_only_a_good_certificate_of_the_CA_may_ask);
    tcase_add_test(cases, R_135_S_26_it_is_off_unless_switched_on);
    tcase_add_test(cases, R_132_R_133_R_134_the_newest_CRL_is_found);
    tcase_add_test(cases, R_133_a_CRL_that_no_answer_holds_is_where_crl_url_says);
    tcase_add_test(cases, R_135_Q_79_a_CRL_is_asked_for_by_a_device_or_by_the_CAs_own_certificate);
    tcase_add_test(cases, R_135_Q_79_the_certificate_of_an_intermediate_CA_names_the_CA_above);
    tcase_add_test(cases, workers_learn_the_RAs_of_the_CA_and_of_its_successor);
    tcase_add_test(cases, hello_says_the_same_without_keys);
    tcase_add_test(cases, what_is_enveloped_to_the_next_RA_is_issued_by_the_next_CA);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office_find", add_tests);
    office_room_done();
    return status;
}
