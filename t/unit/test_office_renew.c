/* Renewals: messages as a worker forwards them, with real signers, envelopes and a real store. */
#include "renewal_suite.h"

#include "certs.h"
#include "clock.h"
#include "message.h"

#include <apr_strings.h>
#include <string.h>

/* ---- who may renew ---- */

START_TEST(R_100_R_109_Q_66_a_valid_certificate_renews_itself_for_a_new_key)
{
    X509 *old = enrolled();
    scep_wire_verdict v = renew("devices", old);
    X509 *cert = cert_of(&v);
    const char *log = office_room_log(p);

    ck_assert_int_eq(X509_verify(cert, X509_get0_pubkey(office_room_ca(o, 0))), 1);
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(cert), fixture_key(2)), 1);
    ck_assert_str_eq(v.authority, "default");
    ck_assert(v.generation == office_generation(office_endpoint_find(o, "devices")));
    ck_assert_int_eq(office_room_count(o, p), 2);
    /* the audit line */
    log = strstr(log, "SCEP0240: renew txid=\"");
    ck_assert_ptr_nonnull(log);
    ck_assert_ptr_nonnull(strstr(log, apr_pstrcat(p, "serial=", scep_cert_serial(cert, p),
                                                  " template=IPSECIntermediateOffline", NULL)));
}
END_TEST

START_TEST(R_101_the_old_key_may_be_kept)
{
    X509 *old = enrolled();
    fixture_request r = renewal_by(old);
    scep_wire_verdict v;

    r.key = fixture_key(1);
    v = office_room_renew(o, "devices", &r, p);
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(cert_of(&v)), fixture_key(1)), 1);
}
END_TEST

START_TEST(R_102_a_used_challenge_does_a_renewal_no_harm)
{
    const char *used = office_room_mint(o, "devices", p);
    const char *fresh = office_room_mint(o, "devices", p);
    const fixture_request first = { .challenge = used };
    X509 *old = enrolled();
    const char *sent[] = { used, "wrong", fresh };
    scep_wire_verdict v = office_room_enrol(o, "devices", "0", fixture_csr(&first, p), p);

    cert_of(&v);
    for (int i = 0; i < ROWS(sent); i++) {
        fixture_request r = renewal_by(old);

        r.challenge = sent[i];
        r.transaction_id = apr_psprintf(p, "r%d", i);
        v = office_room_renew(o, "devices", &r, p);
        cert_of(&v);
    }
    ck_assert_ptr_null(strstr(office_room_log(p), fresh));
    /* nor is a good one used up */
    v = office_room_enrol(o, "devices", "9",
                          fixture_csr(&(const fixture_request){ .challenge = fresh }, p), p);
    cert_of(&v);
}
END_TEST

/* A device that hashes the new key into the transactionID has it signed by two keys in turn. */
START_TEST(a_transactionID_of_an_earlier_renewal_binds_no_certificate)
{
    fixture_request r = renewal_by(enrolled());
    scep_wire_verdict first, second;

    r.transaction_id = "hash of key 2";
    first = office_room_renew(o, "devices", &r, p);
    r.signer = cert_of(&first);
    r.signer_key = fixture_key(2);
    second = office_room_renew(o, "devices", &r, p);
    cert_of(&second);
    ck_assert(!scep_bytes_equal(first.certificate, second.certificate));
    r.subject = "CN=device";
    r.challenge = "another CSR";
    second = office_room_renew(o, "always", &r, p);
    ck_assert_msg(second.status == SCEP_STATUS_PENDING, "%s", second.detail);
    assert_ok(office_room_decide(o, office_room_waiting(o, "hash of key 2", p), true, p));
}
END_TEST

START_TEST(R_117_D_09_the_same_renewal_gets_the_same_certificate)
{
    X509 *old = enrolled();
    const fixture_request r = renewal_by(old);
    const scep_wire_renew in = office_room_forward(o, "devices", &r, p);
    scep_wire_verdict first, again;

    office_renew(&first, o, &in, apr_time_now() + o->timeout, p);
    office_renew(&again, o, &in, apr_time_now() + o->timeout, p);
    cert_of(&first);
    assert_bytes(again.certificate, first.certificate);
    ck_assert_int_eq(office_room_count(o, p), 2);
}
END_TEST

/* A certificate of the fixture's CA, which is renewal_ca and issued it before mod_scep came. */
static X509 *before_mod_scep(long serial)
{
    const fixture_ca *ca = fixture_ca_get();
    X509 *cert = fixture_cert("CN=device", fixture_key(1), ca->root, ca->root_key, false,
                              KU_DIGITAL_SIGNATURE, p);

    if (serial) {
        FIXTURE_MUST(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial));
        fixture_resign(cert, ca->root_key);
    }
    return cert;
}

START_TEST(R_104_a_certificate_from_before_mod_scep_is_renewed_unless_its_CA_revoked_it)
{
    scep_wire_verdict v = renew("devices", before_mod_scep(0));

    ck_assert_int_eq(X509_verify(cert_of(&v), X509_get0_pubkey(office_room_ca(o, 0))), 1);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "template=Century"));
    assert_refused(renew("devices", before_mod_scep(OFFICE_ROOM_REVOKED)), SCEP_REFUSED);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "is revoked"));
}
END_TEST

START_TEST(R_106_S_08_D_02_what_is_no_good_certificate_of_the_CA_renews_nothing)
{
    const fixture_ca *own = fixture_ca_get();
    X509 *ca = office_room_ca(o, 0);
    EVP_PKEY *key = fixture_key(1);
    X509 *impostor = fixture_cert("CN=Office Test CA", fixture_key(3), NULL, NULL, true, 0, p);
    const struct {
        const char *name;
        X509 *signer;
    } bad[] = {
        { "R-105 self-signed", fixture_cert("CN=device", key, NULL, NULL, false, 0, p) },
        { "R-105 self-signed as the CA",
          fixture_cert("CN=Office Test CA", key, NULL, NULL, false, 0, p) },
        { "R-106 another CA of the same name",
          fixture_cert("CN=device", key, impostor, fixture_key(3), false, 0, p) },
        { "R-106 pretending to be issued by the CA",
          fixture_cert("CN=device", key, ca, fixture_key(3), false, 0, p) },
        { "R-106 a CA certificate",
          fixture_cert("CN=device", key, own->root, own->root_key, true, 0, p) },
        { "R-106 one that may sign certificates",
          fixture_cert("CN=device", key, own->root, own->root_key, false, KU_KEY_CERT_SIGN, p) },
    };

    for (int i = 0; i < ROWS(bad); i++) {
        row = bad[i].name;
        assert_refused(renew("loose", bad[i].signer), SCEP_REFUSED);
    }
    ck_assert_int_eq(office_room_count(o, p), 0);
}
END_TEST

START_TEST(R_106_an_ended_or_a_revoked_certificate_renews_nothing)
{
    X509 *old = enrolled();
    scep_wire_verdict v;

    scep_clock_set(apr_time_now() + apr_time_from_sec(31 * (apr_time_t)DAY));
    assert_refused(renew("devices", old), SCEP_REFUSED);
    scep_clock_set(apr_time_now() - apr_time_from_sec(3600));
    assert_refused(renew("devices", old), SCEP_REFUSED);
    scep_clock_set(0);
    v = renew("devices", old);
    cert_of(&v);
    assert_ok(office_room_revoke(o, scep_cert_serial(old, p), p));
    assert_refused(renew("devices", old), SCEP_REFUSED);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "is revoked"));
}
END_TEST

/* A worker that was broken into has the RA's keys. */
START_TEST(S_08_an_RA_certificate_renews_nothing)
{
    for (int i = 3; i >= 0; i--) {
        const scep_ra *ra = office_room_ra(o, i / 2);
        const scep_signer *which = i % 2 ? &ra->decrypt : &ra->sign;
        const fixture_request r = { .message_type = RENEWAL,
                                    .signer = which->cert,
                                    .signer_key = which->key,
                                    .recipient = ra->decrypt.cert };
        scep_wire_verdict v = office_room_renew(o, i / 2 ? "later" : "loose", &r, p);

        assert_refused(v, SCEP_REFUSED);
        ck_assert_msg(strstr(v.detail, "is an RA's") != NULL, "%s", v.detail);
    }
    ck_assert_int_eq(office_room_count(o, p), 0);
}
END_TEST

/* ---- what a renewal may ask for ---- */

START_TEST(R_108_S_09_other_names_are_refused_unless_allowed)
{
    const struct {
        const char *subject, *san, *extensions;
        scep_code code;
    } asked[] = {
        { "CN=other", NULL, NULL, SCEP_BAD_SUBJECT },
        { "CN=device", "DNS:admin.example", NULL, SCEP_BAD_SUBJECT },
        { "CN=device", NULL, "1.3.6.1.4.1.311.25.2=ASN1:UTF8String:S-1-5-21-1", SCEP_REFUSED },
    };
    X509 *old = enrolled_at("devices", KU_KEY_ENCIPHERMENT); /* template Sid */
    scep_wire_verdict v;

    for (int i = 0; i < ROWS(asked); i++) {
        fixture_request r = renewal_by(old);

        row = asked[i].subject;
        r.subject = asked[i].subject;
        r.san = asked[i].san;
        r.extensions = asked[i].extensions;
        r.transaction_id = apr_itoa(p, i);
        assert_refused(office_room_renew(o, "devices", &r, p), asked[i].code);
        v = office_room_renew(o, "loose", &r, p);
        cert_of(&v);
    }
}
END_TEST

START_TEST(S_09_the_template_and_the_dates_are_the_templates)
{
    X509 *old = enrolled_at("devices", KU_DIGITAL_SIGNATURE); /* template Century */
    fixture_request r = renewal_by(old);
    scep_wire_verdict v;
    X509 *cert;

    r.key_usage = KU_KEY_ENCIPHERMENT;
    r.extensions = "basicConstraints=critical,CA:TRUE;extendedKeyUsage=anyExtendedKeyUsage";
    v = office_room_renew(o, "devices", &r, p);
    cert = cert_of(&v);
    ck_assert_int_eq((int)X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
    ck_assert_int_eq((int)(X509_get_extension_flags(cert) & EXFLAG_CA), 0);
    ck_assert_int_lt(X509_get_ext_by_NID(cert, NID_ext_key_usage, -1), 0);
    ck_assert_int_eq(
        ASN1_TIME_compare(X509_get0_notAfter(cert), X509_get0_notAfter(office_room_ca(o, 0))), 0);
}
END_TEST

/* The template of a certificate that scep-ca did not issue comes from its key usage, and gives no
 * extended key usage that it has not. */
START_TEST(S_09_an_unknown_certificate_gets_no_wider_purposes)
{
    assert_refused(renew("client", before_mod_scep(0)), SCEP_REFUSED);
    ck_assert_ptr_nonnull(strstr(office_room_log(p), "template Client has the extended key usage"));
}
END_TEST

START_TEST(R_107_outside_the_window_a_renewal_is_refused)
{
    X509 *old = enrolled_at("window", 0);
    scep_wire_verdict v;

    assert_refused(renew("window", old), SCEP_REFUSED);
    scep_clock_set(apr_time_now() + apr_time_from_sec(21 * (apr_time_t)DAY));
    v = renew("window", old);
    cert_of(&v);
}
END_TEST

START_TEST(R_109_S_11_the_CSR_is_signed_by_its_own_key)
{
    X509 *old = enrolled();
    fixture_request r = renewal_by(old);

    r.spoil_csr = true;
    assert_refused(office_room_renew(o, "devices", &r, p), SCEP_UNREADABLE);
    ck_assert_int_eq(office_room_count(o, p), 1);
}
END_TEST

START_TEST(R_166_S_18_a_renewal_is_signed_with_SHA_256_or_better)
{
    X509 *old = enrolled();
    const struct {
        const char *endpoint;
        const EVP_MD *digest;
        bool good;
    } signatures[] = {
        { "devices", EVP_sha1(), false }, { "devices", EVP_sha256(), true },
        { "strict", EVP_sha1(), false },  { "legacy", EVP_md5(), false },
        { "legacy", EVP_sha1(), false },  { "loose", EVP_md5(), false },
        { "loose", EVP_sha1(), true },
    };

    for (int i = 0; i < ROWS(signatures); i++) {
        fixture_request r = renewal_by(old);
        scep_wire_verdict v;

        row = apr_psprintf(p, "%s %s", signatures[i].endpoint,
                           EVP_MD_get0_name(signatures[i].digest));
        r.digest = signatures[i].digest;
        v = office_room_renew(o, signatures[i].endpoint, &r, p);
        if (signatures[i].good)
            cert_of(&v);
        else
            assert_refused(v, SCEP_BAD_ALG);
    }
}
END_TEST

/* ---- what is forwarded is proved here ---- */

static scep_bytes spoilt(scep_bytes part)
{
    return fixture_flip(part, part.len - 1, 1, p);
}

START_TEST(the_workers_word_counts_for_nothing)
{
    X509 *old = enrolled();
    X509 *other = fixture_cert("CN=device", fixture_key(1), NULL, NULL, false, 0, p);
    const fixture_request r = renewal_by(old);
    scep_wire_renew good = office_room_forward(o, "devices", &r, p);
    scep_wire_verdict v;

    for (int i = 0; i < 6; i++) {
        scep_wire_renew in = good;

        row = apr_itoa(p, i);
        if (i == 0)
            in.content = spoilt(in.content);
        else if (i == 1)
            in.signature = spoilt(in.signature);
        else if (i == 2)
            in.attributes = spoilt(in.attributes);
        else if (i == 3)
            assert_ok(scep_cert_der(&in.signer, other, p));
        else if (i == 4)
            in.authority = "nobody";
        else
            in.endpoint = "nobody";
        office_renew(&v, o, &in, apr_time_now() + o->timeout, p);
        ck_assert_msg(v.status == SCEP_STATUS_REFUSED, "%s: status %u: %s", row, v.status,
                      v.detail);
    }
    ck_assert_int_eq(office_room_count(o, p), 1);
    office_renew(&v, o, &good, apr_time_now() + o->timeout, p);
    cert_of(&v);
}
END_TEST

START_TEST(an_envelope_for_nobody_here_is_unreadable)
{
    X509 *old = enrolled();
    fixture_request r = renewal_by(old);

    r.recipient = fixture_ca_get()->ra.decrypt.cert;
    assert_refused(office_room_renew(o, "devices", &r, p), SCEP_UNREADABLE);
    r.recipient = NULL;
    r.message_data = scep_bytes_of("no CSR");
    assert_refused(office_room_renew(o, "devices", &r, p), SCEP_UNREADABLE);
}
END_TEST

/* ---- PKCSReq as a renewal ---- */

START_TEST(R_094_R_103_S_06_D_01_Q_65_a_PKCSReq_of_a_certificate_renews_where_it_is_switched_on)
{
    X509 *old = enrolled();
    const char *challenge = office_room_mint(o, "devices", p);
    fixture_request r = renewal_by(old);
    scep_wire_verdict v;

    r.message_type = "19";
    r.challenge = "";
    v = office_room_renew(o, "apple", &r, p);
    cert_of(&v);
    r.challenge = challenge;
    assert_refused(office_room_renew(o, "devices", &r, p), SCEP_UNREADABLE);
    assert_refused(office_room_renew(o, "closed", &r, p), SCEP_UNREADABLE);
    r.message_type = RENEWAL;
    assert_refused(office_room_renew(o, "closed", &r, p), SCEP_REFUSED);
    /* S-10: nothing was used up */
    v = office_room_enrol(o, "devices", "9",
                          fixture_csr(&(const fixture_request){ .challenge = challenge }, p), p);
    cert_of(&v);
}
END_TEST

/* S-15: one answer for an envelope that was signed again, whatever is in it. */
START_TEST(R_105_S_10_a_PKCSReq_signed_again_tells_nothing)
{
    const char *challenge = office_room_mint(o, "devices", p);
    fixture_request r = { .challenge = challenge,
                          .key = fixture_key(2),
                          .signer_key = fixture_key(3) };
    scep_wire_verdict v = office_room_renew(o, "apple", &r, p);
    const char *text = v.detail;

    assert_refused(v, SCEP_UNREADABLE);
    r.message_data = scep_bytes_of("no CSR");
    v = office_room_renew(o, "apple", &r, p);
    assert_refused(v, SCEP_UNREADABLE);
    ck_assert_str_eq(v.detail, text);
    v = office_room_enrol(o, "devices", "9",
                          fixture_csr(&(const fixture_request){ .challenge = challenge }, p), p);
    cert_of(&v);
}
END_TEST

START_TEST(S_01_other_message_types_are_no_renewals)
{
    X509 *old = enrolled();
    const char *types[] = { "3", "18", "20", "21", "22" };

    for (int i = 0; i < ROWS(types); i++) {
        const fixture_request good = renewal_by(old);
        scep_wire_renew in = office_room_forward(o, "devices", &good, p);
        scep_bytes at = scep_bytes_dup(p, in.attributes);
        scep_wire_verdict v;

        row = types[i];
        in.attributes = at;
        if (strlen(types[i]) == 2)
            memcpy((unsigned char *)(uintptr_t)at.data + fixture_find(at, scep_bytes_of(RENEWAL)),
                   types[i], 2);
        else
            in.attributes = spoilt(at);
        office_renew(&v, o, &in, apr_time_now() + o->timeout, p);
        ck_assert_msg(v.status == SCEP_STATUS_REFUSED, "%s: %s", row, v.detail);
    }
    ck_assert_int_eq(office_room_count(o, p), 1);
}
END_TEST

/* ---- approval, and the CA that takes over ---- */

START_TEST(R_087_approval_of_enrolments_lets_renewals_pass_and_of_everything_does_not)
{
    X509 *old = enrolled();
    fixture_request r = renewal_by(old);
    scep_wire_verdict v;

    v = office_room_renew(o, "manual", &r, p);
    cert_of(&v);
    r.transaction_id = "w";
    v = office_room_renew(o, "always", &r, p);
    ck_assert_msg(v.status == SCEP_STATUS_PENDING, "%s", v.detail);
    /* the CertPoll is signed by the old key, as the renewal was */
    v = office_room_poll(o, "always", "w", fixture_key(1), p);
    ck_assert_int_eq((int)v.status, SCEP_STATUS_PENDING);
    assert_ok(office_room_decide(o, office_room_waiting(o, "w", p), true, p));
    v = office_room_poll(o, "always", "w", fixture_key(1), p);
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(cert_of(&v)), fixture_key(2)), 1);
    assert_refused(office_room_poll(o, "always", "w", fixture_key(2), p), SCEP_BAD_CERT_ID);
}
END_TEST

START_TEST(what_is_enveloped_to_the_next_RA_is_renewed_by_the_next_CA)
{
    X509 *old = enrolled();
    fixture_request r = renewal_by(old);
    scep_wire_verdict v;
    X509 *cert;

    r.recipient = office_room_ra(o, 1)->decrypt.cert;
    v = office_room_renew(o, "devices", &r, p);
    cert = cert_of(&v);
    ck_assert_str_eq(v.authority, "successor");
    ck_assert_int_eq(X509_verify(cert, X509_get0_pubkey(office_room_ca(o, 1))), 1);
    /* and the next CA's own certificate renews in turn */
    r = renewal_by(cert);
    r.signer_key = fixture_key(2);
    v = office_room_renew(o, "devices", &r, p);
    ck_assert_str_eq(v.authority, "default");
    cert_of(&v);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, R_100_R_109_Q_66_a_valid_certificate_renews_itself_for_a_new_key);
    tcase_add_test(cases, R_101_the_old_key_may_be_kept);
    tcase_add_test(cases, R_102_a_used_challenge_does_a_renewal_no_harm);
    tcase_add_test(cases, a_transactionID_of_an_earlier_renewal_binds_no_certificate);
    tcase_add_test(cases, R_117_D_09_the_same_renewal_gets_the_same_certificate);
    tcase_add_test(cases,
                   R_104_a_certificate_from_before_mod_scep_is_renewed_unless_its_CA_revoked_it);
    tcase_add_test(cases, R_106_S_08_D_02_what_is_no_good_certificate_of_the_CA_renews_nothing);
    tcase_add_test(cases, R_106_an_ended_or_a_revoked_certificate_renews_nothing);
    tcase_add_test(cases, S_08_an_RA_certificate_renews_nothing);
    tcase_add_test(cases, R_108_S_09_other_names_are_refused_unless_allowed);
    tcase_add_test(cases, S_09_the_template_and_the_dates_are_the_templates);
    tcase_add_test(cases, S_09_an_unknown_certificate_gets_no_wider_purposes);
    tcase_add_test(cases, R_107_outside_the_window_a_renewal_is_refused);
    tcase_add_test(cases, R_109_S_11_the_CSR_is_signed_by_its_own_key);
    tcase_add_test(cases, R_166_S_18_a_renewal_is_signed_with_SHA_256_or_better);
    tcase_add_test(cases, the_workers_word_counts_for_nothing);
    tcase_add_test(cases, an_envelope_for_nobody_here_is_unreadable);
    tcase_add_test(
        cases,
        R_094_R_103_S_06_D_01_Q_65_a_PKCSReq_of_a_certificate_renews_where_it_is_switched_on);
    tcase_add_test(cases, R_105_S_10_a_PKCSReq_signed_again_tells_nothing);
    tcase_add_test(cases, S_01_other_message_types_are_no_renewals);
    tcase_add_test(cases,
                   R_087_approval_of_enrolments_lets_renewals_pass_and_of_everything_does_not);
    tcase_add_test(cases, what_is_enveloped_to_the_next_RA_is_renewed_by_the_next_CA);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("office_renew", add_tests);
    office_room_done();
    return status;
}
