/* RA identities: which are taken, and whose envelope is whose. */
#include "odd.h"
#include "suite.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };
static const uint32_t both = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT;

/* ---- scep_ra_check ---- */

static scep_signer pair(EVP_PKEY *key, uint32_t usage)
{
    const fixture_ca *ca = fixture_ca_get();

    return (scep_signer){ .cert = fixture_cert("ra", key, ca->root, ca->root_key, false, usage, p),
                          .key = key };
}

static void dates(X509 *cert, long from, long to)
{
    FIXTURE_MUST(X509_gmtime_adj(X509_getm_notBefore(cert), from) &&
                 X509_gmtime_adj(X509_getm_notAfter(cert), to));
    fixture_resign(cert, fixture_ca_get()->root_key);
}

static void two_certificates(scep_ra *ra)
{
    (void)ra;
}

static void one_certificate_for_both(scep_ra *ra)
{
    ra->sign = ra->decrypt = pair(fixture_key(0), both);
}

static void elliptic_signing_key(scep_ra *ra)
{
    ra->sign = pair(odd_p256(p), KU_DIGITAL_SIGNATURE);
}

static void edwards_signing_key(scep_ra *ra)
{
    ra->sign = pair(odd_ed25519(p), KU_DIGITAL_SIGNATURE);
}

static void other_signing_key(scep_ra *ra)
{
    ra->sign.key = fixture_key(1);
}

static void other_decryption_key(scep_ra *ra)
{
    ra->decrypt.key = fixture_key(1);
}

static void swapped(scep_ra *ra)
{
    scep_signer sign = ra->sign;

    ra->sign = ra->decrypt;
    ra->decrypt = sign;
}

static void no_signing_usage(scep_ra *ra)
{
    ra->sign = pair(fixture_key(0), 0);
}

static void no_encryption_usage(scep_ra *ra)
{
    ra->decrypt = pair(fixture_key(0), KU_DIGITAL_SIGNATURE);
}

static void elliptic_decryption_key(scep_ra *ra)
{
    ra->decrypt = pair(odd_p256(p), KU_KEY_ENCIPHERMENT);
}

static void short_decryption_key(scep_ra *ra)
{
    ra->decrypt = pair(odd_rsa_1024(p), KU_KEY_ENCIPHERMENT);
}

static void ca_itself_decrypts(scep_ra *ra)
{
    ra->decrypt = pair(fixture_ca_get()->root_key, KU_KEY_ENCIPHERMENT);
}

static void ca_itself_signs(scep_ra *ra)
{
    ra->sign = pair(fixture_ca_get()->root_key, KU_DIGITAL_SIGNATURE);
}

static void of_another_ca(scep_ra *ra)
{
    ra->decrypt.cert =
        fixture_cert("ra", ra->decrypt.key, NULL, NULL, false, KU_KEY_ENCIPHERMENT, p);
}

static void names_the_ca_only(scep_ra *ra)
{
    fixture_resign(ra->sign.cert = X509_dup(ra->sign.cert), fixture_key(2));
    (void)scep_X509(p, ra->sign.cert);
}

static const struct {
    const char *name;
    void (*change)(scep_ra *ra);
    scep_code code;
} identities[] = {
    { "two certificates", two_certificates, SCEP_OK },
    { "one certificate for both", one_certificate_for_both, SCEP_OK },
    { "an elliptic signing key", elliptic_signing_key, SCEP_OK },
    { "a signing key that no SCEP client verifies", edwards_signing_key, SCEP_CONFIG },
    { "another signing key", other_signing_key, SCEP_CONFIG },
    { "another decryption key", other_decryption_key, SCEP_CONFIG },
    { "the certificates swapped", swapped, SCEP_CONFIG },
    { "no key usage to sign", no_signing_usage, SCEP_CONFIG },
    { "no key usage to encrypt", no_encryption_usage, SCEP_CONFIG },
    { "an elliptic decryption key", elliptic_decryption_key, SCEP_CONFIG },
    { "a decryption key of 1024 bits", short_decryption_key, SCEP_CONFIG },
    { "S-14 R-160 the CA's key decrypts", ca_itself_decrypts, SCEP_CONFIG },
    { "S-14 the CA's key signs", ca_itself_signs, SCEP_CONFIG },
    { "another CA's certificate", of_another_ca, SCEP_CONFIG },
    { "the CA's name, another key's signature", names_the_ca_only, SCEP_CONFIG },
};

/* Two certificates as NDES has them, or one; usages by which clients choose among them. */
START_TEST(S_14_R_160_Q_73_Q_76_an_ra_has_keys_of_its_own_and_a_usage_for_each)
{
    scep_ra ra = fixture_ca_get()->ra;

    row = identities[_i].name;
    identities[_i].change(&ra);
    assert_code(identities[_i].code, scep_ra_check(&ra, fixture_ca_get()->root, p));
}
END_TEST

static void expired(scep_ra *ra)
{
    ra->sign = pair(fixture_key(0), KU_DIGITAL_SIGNATURE);
    dates(ra->sign.cert, -7200, -60);
}

static void not_valid_yet(scep_ra *ra)
{
    ra->decrypt = pair(fixture_key(0), KU_KEY_ENCIPHERMENT);
    dates(ra->decrypt.cert, 3600, 7200);
}

static void encryption_expired(scep_ra *ra)
{
    ra->decrypt = pair(fixture_key(0), KU_KEY_ENCIPHERMENT);
    dates(ra->decrypt.cert, -7200, -1);
}

static const struct {
    const char *name;
    void (*change)(scep_ra *ra);
    const char *says; /* NULL: valid now */
} times[] = {
    { "valid now", two_certificates, NULL },
    { "the signing certificate is expired", expired, "RA signing certificate is expired" },
    { "the encryption certificate is expired", encryption_expired,
      "RA encryption certificate is expired" },
    { "the encryption certificate begins in an hour", not_valid_yet,
      "RA encryption certificate is not valid yet" },
};

/* An RA that is replaced or announced is one although its time is over or has not come. */
START_TEST(the_dates_of_an_ra_are_judged_apart_from_the_rest)
{
    scep_ra ra = fixture_ca_get()->ra;
    const scep_err *err;

    row = times[_i].name;
    times[_i].change(&ra);
    assert_ok(scep_ra_check(&ra, fixture_ca_get()->root, p));
    err = scep_ra_check_dates(&ra, p);
    assert_code(times[_i].says ? (int)SCEP_CONFIG : (int)SCEP_OK, err);
    if (err)
        ck_assert_str_eq(err->detail, times[_i].says);
}
END_TEST

/* ---- scep_ra_pick ---- */

/* Of other RAs: a key identifier is made of the key, so that no key may be in two places. */
static EVP_PKEY *keys[4];

/* Another RA of the same CA, as a next (0) or a former one (1) is. */
static scep_ra *another_ra(int which)
{
    scep_ra *ra = apr_palloc(p, sizeof(*ra));

    ra->sign = pair(keys[2 * which], KU_DIGITAL_SIGNATURE);
    ra->decrypt = pair(keys[2 * which + 1], KU_KEY_ENCIPHERMENT);
    return ra;
}

static scep_message *message_to(X509 *recipient, bool by_key_id, const fixture_sent **sent)
{
    fixture_request r = { .recipient = recipient, .recipient_by_key_id = by_key_id };
    scep_message *m = NULL;

    *sent = fixture_build(&r, p);
    assert_ok(scep_message_open(&m, (*sent)->der, &default_accept, p));
    return m;
}

/* @a cert under another issuer's name, signed by the CA. */
static X509 *renamed(const X509 *cert, const char *issuer)
{
    X509 *copy = scep_X509(p, X509_dup(cert));
    X509_NAME *name = scep_X509_NAME(p, X509_NAME_new());

    FIXTURE_MUST(copy && name);
    fixture_set_name(name, issuer);
    FIXTURE_MUST(X509_set_issuer_name(copy, name));
    fixture_resign(copy, fixture_ca_get()->root_key);
    return copy;
}

static const struct {
    const char *name;
    bool of_next, of_signing, by_key_id, reordered;
} recipients[] = {
    { .name = "the encryption certificate" },
    { .name = "R-044 the next RA's", .of_next = true },
    { .name = "Q-55 by key identifier", .by_key_id = true },
    { .name = "Q-55 the next RA's by key identifier", .by_key_id = true, .of_next = true },
    { .name = "Q-53 the other one of two certificates", .of_signing = true },
    { .name = "Q-53 the other one, by key identifier", .of_signing = true, .by_key_id = true },
    { .name = "Q-53 the next RA's other one", .of_signing = true, .of_next = true },
    { .name = "Q-54 another order of the issuer's name", .reordered = true },
    { .name = "Q-54 the next RA's, in another order", .reordered = true, .of_next = true },
    { .name = "Q-53 Q-54 the other one in another order", .reordered = true, .of_signing = true },
};

/* Current RA, next RA and a former one: whichever certificate a client took of what it was shown.
 */
START_TEST(Q_53_Q_54_Q_55_whichever_certificate_a_client_takes_its_envelope_opens)
{
    const scep_ra *list[] = { &fixture_ca_get()->ra, another_ra(0), another_ra(1) };
    const scep_ra *wanted = list[recipients[_i].of_next];
    const scep_signer *pair = recipients[_i].of_signing ? &wanted->sign : &wanted->decrypt;
    const fixture_sent *sent;
    scep_message *m;
    scep_bytes plain;

    row = recipients[_i].name;
    m = message_to(recipients[_i].reordered ? renamed(pair->cert, "O=Fixture,CN=Test CA")
                                            : pair->cert,
                   recipients[_i].by_key_id, &sent);
    ck_assert_ptr_eq(scep_ra_pick(list, 3, m), wanted);
    ck_assert_ptr_null(scep_ra_pick(list + 2, 1, m));
    ck_assert_uint_eq(ERR_peek_error(), 0);
    assert_ok(scep_ra_decrypt(&plain, wanted, m, p));
    assert_bytes(plain, sent->csr);
}
END_TEST

/* A serial number alone is a poor name: any RA that bears the whole name comes first. */
START_TEST(Q_54_the_whole_name_goes_before_the_serial_number)
{
    const scep_ra *honest = another_ra(0);
    scep_ra same_serial = *another_ra(1);
    const scep_ra *list[] = { &same_serial, honest };
    const fixture_sent *sent;

    same_serial.decrypt.cert = renamed(honest->decrypt.cert, "CN=Another CA");
    same_serial.decrypt.key = honest->decrypt.key;
    ck_assert_ptr_eq(scep_ra_pick(list, 2, message_to(honest->decrypt.cert, false, &sent)), honest);
    ck_assert_ptr_eq(scep_ra_pick(list, 2, message_to(same_serial.decrypt.cert, false, &sent)),
                     &same_serial);
    ck_assert_ptr_eq(
        scep_ra_pick(list, 2, message_to(renamed(honest->decrypt.cert, "CN=x"), false, &sent)),
        &same_serial);
}
END_TEST

START_TEST(R_063_an_envelope_for_nobody_here_is_given_to_nobody)
{
    const scep_ra *list[] = { &fixture_ca_get()->ra, another_ra(0) };
    const fixture_sent *sent;

    ck_assert_ptr_null(scep_ra_pick(list, 2, message_to(odd_other_certificate(p), false, &sent)));
    ck_assert_ptr_null(scep_ra_pick(list, 2, message_to(odd_other_certificate(p), true, &sent)));
    ck_assert_ptr_null(scep_ra_pick(list, 0, message_to(list[0]->decrypt.cert, false, &sent)));
    ck_assert_ptr_null(scep_ra_pick(list, 2, &(scep_message){ 0 }));
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* An EC key cannot open anything: its certificate is not taken for a recipient. */
START_TEST(Q_53_an_elliptic_signing_certificate_is_no_recipient)
{
    scep_ra ra = { .sign = pair(odd_p256(p), KU_DIGITAL_SIGNATURE),
                   .decrypt = fixture_ca_get()->ra.decrypt };
    const scep_ra *list[] = { &ra };
    X509 *recipient = scep_X509(p, X509_dup(ra.sign.cert));
    const fixture_sent *sent;
    scep_message *m;
    scep_bytes plain;

    /* named as it is, with a key that can receive */
    FIXTURE_MUST(recipient && X509_set_pubkey(recipient, keys[0]));
    fixture_resign(recipient, fixture_ca_get()->root_key);
    m = message_to(recipient, false, &sent);
    ck_assert_ptr_null(scep_ra_pick(list, 1, m));
    assert_code(SCEP_UNREADABLE, scep_ra_decrypt(&plain, &ra, m, p));
}
END_TEST

START_TEST(an_ra_is_picked_without_its_private_keys)
{
    scep_ra ra = { .sign = { .cert = fixture_ca_get()->ra.sign.cert },
                   .decrypt = { .cert = fixture_ca_get()->ra.decrypt.cert } };
    const scep_ra *list[] = { &ra };
    const fixture_sent *sent;

    ck_assert_ptr_eq(scep_ra_pick(list, 1, message_to(ra.decrypt.cert, false, &sent)), &ra);
    ck_assert_ptr_eq(scep_ra_pick(list, 1, message_to(ra.sign.cert, false, &sent)), &ra);
}
END_TEST

static void add_tests(TCase *cases)
{
    for (int i = 0; i < ROWS(keys); i++)
        FIXTURE_MUST((keys[i] = EVP_RSA_gen(2048)));
    tcase_add_loop_test(cases, S_14_R_160_Q_73_Q_76_an_ra_has_keys_of_its_own_and_a_usage_for_each,
                        0, ROWS(identities));
    tcase_add_loop_test(cases, the_dates_of_an_ra_are_judged_apart_from_the_rest, 0, ROWS(times));
    tcase_add_loop_test(cases,
                        Q_53_Q_54_Q_55_whichever_certificate_a_client_takes_its_envelope_opens, 0,
                        ROWS(recipients));
    tcase_add_test(cases, Q_54_the_whole_name_goes_before_the_serial_number);
    tcase_add_test(cases, R_063_an_envelope_for_nobody_here_is_given_to_nobody);
    tcase_add_test(cases, an_ra_is_picked_without_its_private_keys);
    tcase_add_test(cases, Q_53_an_elliptic_signing_certificate_is_no_recipient);
}

int main(void)
{
    return run_suite("ra", add_tests);
}
