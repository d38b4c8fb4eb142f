/* Renewals by whoever should have none: what was captured, squatted, carried to another endpoint.
 * And what a CA sends that is not what was asked for. */
#include "renewal_suite.h"

#include "certs.h"
#include "clock.h"
#include "message.h"

#include <apr_strings.h>
#include <string.h>

/* Whoever captured the request has it as well as the device. */
START_TEST(R_118_S_23_what_was_renewed_and_revoked_is_not_renewed_again_by_the_same_request)
{
    fixture_request r = renewal_by(enrolled());
    const scep_wire_renew in = office_room_forward(o, "devices", &r, p);
    scep_wire_verdict first, again;

    office_renew(&first, o, &in, apr_time_now() + o->timeout, p);
    scep_clock_set(apr_time_now() + apr_time_from_sec(20 * (apr_time_t)DAY));
    office_renew(&again, o, &in, apr_time_now() + o->timeout, p);
    assert_bytes(again.certificate, first.certificate); /* half of its life is over */
    assert_ok(office_room_revoke(o, scep_cert_serial(cert_of(&first), p), p));
    office_renew(&again, o, &in, apr_time_now() + o->timeout, p);
    assert_refused(again, SCEP_REFUSED);
    ck_assert_ptr_nonnull(strstr(again.detail, "was revoked; the device must make a new request"));
    ck_assert_int_eq(office_room_count(o, p), 2);
    r.transaction_id = "a new request"; /* of the old certificate, which is good */
    again = office_room_renew(o, "devices", &r, p);
    cert_of(&again);
}
END_TEST

START_TEST(S_22_a_renewal_takes_no_transactionID_from_an_enrolment)
{
    fixture_request r = renewal_by(enrolled());
    const fixture_request victim = { .challenge = office_room_mint(o, "devices", p) };
    scep_wire_verdict v;

    r.transaction_id = "of another device";
    v = office_room_renew(o, "devices", &r, p);
    cert_of(&v);
    v = office_room_enrol(o, "devices", r.transaction_id, fixture_csr(&victim, p), p);
    cert_of(&v);
}
END_TEST

START_TEST(S_08_a_certificate_is_renewed_where_it_was_issued)
{
    X509 *old = enrolled();
    scep_wire_verdict v;

    assert_refused(renew("Other.Example", old), SCEP_REFUSED);
    assert_refused(renew("open", old), SCEP_REFUSED);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "is of endpoint devices, which "
                                                     "SCEPRenewalFrom of endpoint open does not"));
    ck_assert_int_eq(office_room_count(o, p), 1);
    v = renew("DEVICES", old);
    cert_of(&v);
    v = renew("loose", old); /* names it */
    cert_of(&v);
}
END_TEST

/* A certificate of the fixture's CA, which is renewal_ca and whose CRL lists it. */
static X509 *revoked_by_its_ca(void)
{
    const fixture_ca *ca = fixture_ca_get();
    X509 *cert = fixture_cert("CN=device", fixture_key(1), ca->root, ca->root_key, false,
                              KU_DIGITAL_SIGNATURE, p);

    FIXTURE_MUST(ASN1_INTEGER_set(X509_get_serialNumber(cert), OFFICE_ROOM_REVOKED));
    fixture_resign(cert, ca->root_key);
    return cert;
}

static const scep_err *put_in_store(store_tx *tx, void *baton)
{
    bool done;

    SCEP_TRY(store_certificate_put(tx, baton, &done));
    return done ? NULL : scep_fail(store_tx_pool(tx), INTERNAL, "not recorded");
}

START_TEST(R_106_S_08_what_its_CA_revoked_is_revoked_whatever_the_inventory_says)
{
    X509 *old = revoked_by_its_ca();
    store_certificate c = { .authority = "default",
                            .serial = scep_cert_serial(old, p),
                            .subject = "CN=device",
                            .template_name = "Century",
                            .endpoint = "devices",
                            .transaction = "t",
                            .key_hash = "k" };

    assert_ok(scep_cert_der(&c.der, old, p));
    assert_ok(store_run(o->store, put_in_store, &c, p));
    assert_refused(renew("devices", old), SCEP_REFUSED);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "is revoked"));
}
END_TEST

/* Anybody can sign anything with a certificate of his own: it is not looked into. */
START_TEST(S_08_S_15_nothing_is_said_of_an_envelope_whose_signer_is_no_good)
{
    fixture_request r = { .message_type = RENEWAL, .key = fixture_key(2) };
    const EVP_CIPHER *ciphers[] = { EVP_aes_128_cbc(), EVP_des_cbc() };

    for (uint32_t i = 0; i < 4; i++) {
        scep_wire_renew in;
        scep_wire_verdict v;

        r.cipher = ciphers[i % 2];
        in = office_room_forward(o, "devices", &r, p);
        in.unanswerable = i / 2;
        office_renew(&v, o, &in, apr_time_now() + o->timeout, p);
        assert_refused(v, SCEP_REFUSED);
        ck_assert_str_eq(v.detail, "the certificate that signed the request is self-signed");
    }
    r = renewal_by(enrolled());
    r.cipher = EVP_des_cbc();
    assert_refused(office_room_renew(o, "devices", &r, p), SCEP_BAD_ALG);
}
END_TEST

START_TEST(S_15_what_could_not_be_answered_is_refused_once_it_is_proved)
{
    fixture_request r = renewal_by(enrolled());
    scep_wire_renew in = office_room_forward(o, "devices", &r, p);
    scep_wire_verdict v;

    in.unanswerable = 1;
    office_renew(&v, o, &in, apr_time_now() + o->timeout, p);
    assert_refused(v, SCEP_BAD_ALG);
    ck_assert_ptr_nonnull(strstr(v.detail, "no answer can be encrypted"));
    ck_assert_int_eq(office_room_count(o, p), 1);
    in.unanswerable = 0;
    office_renew(&v, o, &in, apr_time_now() + o->timeout, p);
    cert_of(&v);
}
END_TEST

/* ---- what a CA sends ---- */

static const scep_err *(*real_submit)(connector_answer *, connector *, const connector_ask *,
                                      apr_pool_t *);

/* The right key in another encoding, as of a CA that leaves the parameters of rsaEncryption out
 * (RFC 3279 2.3.1 wants NULL). */
static const scep_err *submit_encoded_anew(connector_answer *out, connector *self,
                                           const connector_ask *ask, apr_pool_t *pool)
{
    static const unsigned char before[] = { 0x30, 0x82, 0x01, 0x22, 0x30, 0x0d };
    static const unsigned char after[] = { 0x30, 0x82, 0x01, 0x20, 0x30, 0x0b };
    const scep_csr *csr = ask->csr;
    unsigned char *spki = apr_palloc(pool, csr->spki.len);
    issued_cert *cert;

    FIXTURE_MUST(!real_submit(out, self, ask, pool));
    /* of a key with 2048 bits: the NULL is two bytes behind the object identifier's eleven */
    FIXTURE_MUST(csr->spki.len == 294 && !memcmp(csr->spki.data, before, sizeof(before)));
    memcpy(spki, after, sizeof(after));
    memcpy(spki + 6, csr->spki.data + 6, 11);
    memcpy(spki + 17, csr->spki.data + 19, 294 - 19);
    cert = apr_pmemdup(pool, out->cert, sizeof(*cert));
    cert->spki = (scep_bytes){ spki, 292 };
    out->cert = cert;
    return NULL;
}

static const scep_err *submit_nothing(connector_answer *out, connector *self,
                                      const connector_ask *ask, apr_pool_t *pool)
{
    *out = (connector_answer){ .outcome = CONNECTOR_ISSUED };
    return NULL;
}

START_TEST(R_089_a_key_that_the_ca_encodes_in_another_way_is_the_same_key)
{
    connector *ca = APR_ARRAY_IDX(o->authorities, 0, office_authority *)->connector;
    const fixture_request r = { .challenge = office_room_mint(o, "devices", p) };
    scep_bytes csr = fixture_csr(&r, p);
    scep_wire_verdict v;

    real_submit = ca->submit;
    ca->submit = submit_nothing;
    v = office_room_enrol(o, "devices", "1", csr, p);
    ck_assert_int_eq((int)v.status, SCEP_STATUS_LATER);
    ck_assert_int_eq(office_room_count(o, p), 0);
    ca->submit = submit_encoded_anew;
    v = office_room_enrol(o, "devices", "1", csr, p);
    cert_of(&v);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, R_089_a_key_that_the_ca_encodes_in_another_way_is_the_same_key);
    tcase_add_test(cases, R_106_S_08_what_its_CA_revoked_is_revoked_whatever_the_inventory_says);
    tcase_add_test(
        cases, R_118_S_23_what_was_renewed_and_revoked_is_not_renewed_again_by_the_same_request);
    tcase_add_test(cases, S_22_a_renewal_takes_no_transactionID_from_an_enrolment);
    tcase_add_test(cases, S_08_a_certificate_is_renewed_where_it_was_issued);
    tcase_add_test(cases, S_08_S_15_nothing_is_said_of_an_envelope_whose_signer_is_no_good);
    tcase_add_test(cases, S_15_what_could_not_be_answered_is_refused_once_it_is_proved);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office_guards", add_tests);
    office_room_done();
    return status;
}
