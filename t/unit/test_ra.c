/* RA identities: which are taken, which envelopes they open, and how little a failure tells. */
#include "odd.h"
#include "suite.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static const scep_accept default_accept = { 160 };
static const uint32_t both = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT;

/* ---- scep_ra_check ---- */

static scep_signer pair(EVP_PKEY *key, uint32_t usage)
{
    const fixture_ca *ca = fixture_ca_get();

    return (scep_signer){ fixture_cert("ra", key, ca->root, ca->root_key, false, usage, p), key };
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

static const struct {
    const char *name;
    void (*change)(scep_ra *ra);
    scep_code code;
} identities[] = {
    { "two certificates", two_certificates, SCEP_OK },
    { "one certificate for both", one_certificate_for_both, SCEP_OK },
    { "an elliptic signing key", elliptic_signing_key, SCEP_OK },
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
    { "an expired certificate", expired, SCEP_CONFIG },
    { "a certificate that is not valid yet", not_valid_yet, SCEP_CONFIG },
};

START_TEST(an_ra_is_checked_before_it_serves)
{
    scep_ra ra = fixture_ca_get()->ra;

    row = identities[_i].name;
    identities[_i].change(&ra);
    assert_code(identities[_i].code, scep_ra_check(&ra, fixture_ca_get()->root, p));
}
END_TEST

/* ---- scep_ra_decrypt ---- */

static const struct {
    const char *name;
    fixture_request r;
    const EVP_CIPHER *(*cipher)(void);
} envelopes[] = {
    { .name = "AES-128", .r = { .challenge = "secret" } },
    { .name = "AES-192", .cipher = EVP_aes_192_cbc },
    { .name = "AES-256", .cipher = EVP_aes_256_cbc },
    { .name = "3DES", .cipher = EVP_des_ede3_cbc },
    { .name = "Q-52 OAEP", .r = { .oaep = true } },
    { .name = "Q-55 a recipient named by key identifier", .r = { .recipient_by_key_id = true } },
    { .name = "Q-45 BER", .r = { .ber = true } },
    { .name = "S-15 what is inside is not looked at",
      .r = { .message_data = { (const unsigned char *)"x", 1 } } },
};

START_TEST(an_envelope_for_the_ra_opens)
{
    fixture_request r = envelopes[_i].r;
    scep_message *m;
    scep_bytes plain;
    fixture_sent *sent;

    row = envelopes[_i].name;
    r.cipher = envelopes[_i].cipher ? envelopes[_i].cipher() : NULL;
    sent = fixture_build(&r, p);
    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    assert_ok(scep_ra_decrypt(&plain, &fixture_ca_get()->ra, m, p));
    assert_bytes(plain, sent->csr);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* The RA's encryption certificate under another issuer's name. */
static X509 *renamed(const char *issuer)
{
    X509 *cert = scep_X509(p, X509_dup(fixture_ca_get()->ra.decrypt.cert));
    X509_NAME *name = scep_X509_NAME(p, X509_NAME_new());

    FIXTURE_MUST(cert && name);
    fixture_set_name(name, issuer);
    FIXTURE_MUST(X509_set_issuer_name(cert, name));
    fixture_resign(cert, fixture_ca_get()->root_key);
    return cert;
}

/* some clients write the parts of the issuer's name in another order. */
START_TEST(a_reordered_issuer_name_still_finds_the_recipient)
{
    fixture_request r = { .recipient = renamed("O=Fixture,CN=Test CA") };
    fixture_sent *sent = fixture_build(&r, p);
    scep_message *m;
    scep_bytes plain;

    ck_assert_int_ne(X509_NAME_cmp(X509_get_issuer_name(r.recipient),
                                   X509_get_subject_name(fixture_ca_get()->root)),
                     0);
    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    assert_ok(scep_ra_decrypt(&plain, &fixture_ca_get()->ra, m, p));
    assert_bytes(plain, sent->csr);
}
END_TEST

/* ---- S-15, S-16, S-10: everything between a good outer signature and a good CSR is one answer */

static const struct {
    const char *name;
    fixture_request r;
    X509 *(*recipient)(apr_pool_t *);
} unreadable[] = {
    { .name = "R-063 encrypted to somebody else", .recipient = odd_other_certificate },
    { .name = "a wrong RSA block", .r = { .spoil_encrypted_key = true } },
    { .name = "a wrong OAEP block", .r = { .spoil_encrypted_key = true, .oaep = true } },
    { .name = "S-16 wrong padding", .r = { .spoil_padding = true } },
    { .name = "R-062 not a CSR",
      .r = { .message_data = { (const unsigned char *)"0\x03\x02\x01\x05", 5 } } },
    { .name = "text instead of a CSR",
      .r = { .message_data = { (const unsigned char *)"hello", 5 } } },
    { .name = "S-11 a CSR with a wrong signature", .r = { .spoil_csr = true } },
    { .name = "S-20 a CSR with two challenges", .r = { .challenge = "a", .challenges = 2 } },
};

static const scep_err *enrol(const fixture_sent *sent)
{
    scep_message *m;
    scep_bytes plain;
    scep_csr *csr;

    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    SCEP_TRY(scep_ra_decrypt(&plain, &fixture_ca_get()->ra, m, p));
    return scep_csr_read(&csr, plain, p);
}

START_TEST(a_request_that_cannot_be_read_tells_nothing_more)
{
    fixture_request r = unreadable[_i].r;

    row = unreadable[_i].name;
    r.recipient = unreadable[_i].recipient ? unreadable[_i].recipient(p) : NULL;
    assert_code(SCEP_UNREADABLE, enrol(fixture_build(&r, p)));
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* The million message attack changes the RSA block again and again: whether its padding was right
 * must not show, neither in the code nor in the operator's line. */
START_TEST(wrong_rsa_blocks_and_wrong_padding_cannot_be_told_apart)
{
    const fixture_request block = { .spoil_encrypted_key = true },
                          padding = { .spoil_padding = true };
    const char *wrong_padding;
    const scep_err *err = enrol(fixture_build(&padding, p));

    assert_code(SCEP_UNREADABLE, err);
    wrong_padding = err->detail;
    ck_assert_msg(!strstr(wrong_padding, "error:"), "OpenSSL's reason shows: %s", wrong_padding);
    for (int i = 0; i < 20; i++) {
        err = enrol(fixture_build(&block, p));
        assert_code(SCEP_UNREADABLE, err);
        /* 1 in 256 random keys gives padding that looks right; then the CSR is what is wrong */
        ck_assert_msg(strcmp(err->detail, wrong_padding) == 0 ||
                          strncmp(err->detail, "CSR: ", 5) == 0,
                      "%s", err->detail);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, an_ra_is_checked_before_it_serves, 0, ROWS(identities));
    tcase_add_loop_test(cases, an_envelope_for_the_ra_opens, 0, ROWS(envelopes));
    tcase_add_test(cases, a_reordered_issuer_name_still_finds_the_recipient);
    tcase_add_loop_test(cases, a_request_that_cannot_be_read_tells_nothing_more, 0,
                        ROWS(unreadable));
    tcase_add_test(cases, wrong_rsa_blocks_and_wrong_padding_cannot_be_told_apart);
}

int main(void)
{
    return run_suite("ra", add_tests);
}
