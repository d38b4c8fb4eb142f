/* Envelopes: which open, what the others cost, and how little a failure tells. */
#include "counting_key.h"
#include "odd.h"
#include "suite.h"

#include <openssl/err.h>
#include <string.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };

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
    { .name = "what is inside is not looked at",
      .r = { .message_data = { (const unsigned char *)"x", 1 } } },
};

START_TEST(Q_50_Q_52_every_accepted_cipher_and_key_transport_opens)
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

/* What was made ready is used for the key that it was made of, and for no other one. */
START_TEST(R_063_R_090_a_prepared_ra_works_as_any_other_and_never_by_a_key_it_had)
{
    scep_ra ra = fixture_ca_get()->ra;
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    scep_bytes plain, der;
    const char *why = NULL;
    fixture_reply *reply;
    scep_message *m;

    scep_ra_prepare(&ra, p);
    ck_assert(ra.sign.ctx && ra.decrypt.ctx);
    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    for (int i = 0; i < 3; i++) {
        assert_ok(scep_ra_decrypt(&plain, &ra, m, p));
        assert_bytes(plain, sent->csr);
        assert_ok(scep_certrep_pending(&der, m, &ra.sign, p));
        reply = fixture_open(der, NULL, NULL, &why, p);
        ck_assert_msg(reply && reply->verified, "%s", why);
    }
    ra.sign.key = fixture_key(1);
    ra.decrypt.key = counting_key(ra.decrypt.key, p);
    ck_assert_int_eq(counting_key_decryptions(), 0);
    assert_ok(scep_ra_decrypt(&plain, &ra, m, p));
    ck_assert_int_eq(counting_key_decryptions(), 1);
    assert_ok(scep_certrep_pending(&der, m, &ra.sign, p));
    reply = fixture_open(der, NULL, NULL, &why, p);
    ck_assert_msg(!reply || !reply->verified, "signed by the key of before");
    ERR_clear_error();
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

START_TEST(S_15_S_16_whatever_cannot_be_read_has_one_code)
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
START_TEST(S_15_S_16_wrong_rsa_blocks_and_wrong_padding_cannot_be_told_apart)
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

/*
 * What the attack lives on is whether the content was decrypted at all. It always is: a wrong RSA
 * block gives way to a random key, of which one in 256 leaves padding that looks right. (A short
 * RSA key makes that quick.)
 */
START_TEST(S_15_a_wrong_rsa_block_becomes_a_random_key_and_no_answer)
{
    enum { TRIES = 6000 };
    const fixture_ca *ca = fixture_ca_get();
    scep_ra ra = { .sign = ca->ra.sign, .decrypt = { .key = odd_rsa_1024(p) } };
    fixture_request r = { 0 };
    const fixture_sent *sent = NULL;
    scep_bytes plain = { 0 };
    const scep_err *err;
    scep_message *m;
    apr_pool_t *each;
    int opened = 0;

    /* named as the RA, and encrypted to another key */
    ra.decrypt.cert = fixture_cert("CN=Short", ra.decrypt.key, ca->root, ca->root_key, false,
                                   KU_KEY_ENCIPHERMENT, p);
    r.recipient = scep_X509(p, X509_dup(ra.decrypt.cert));
    FIXTURE_MUST(r.recipient && X509_set_pubkey(r.recipient, fixture_key_make(1024, NULL, p)));
    fixture_resign(r.recipient, ca->root_key);
    FIXTURE_MUST(apr_pool_create(&each, p) == APR_SUCCESS);
    for (int i = 0; i < TRIES && !opened; i++) {
        /* where OpenSSL itself makes up what is in the block, it is the same each time, and may be
         * as long as a key */
        if (i % 600 == 0) {
            sent = fixture_build(&r, p);
            assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
        }
        apr_pool_clear(each);
        err = scep_ra_decrypt(&plain, &ra, m, each);
        opened += !err;
    }
    ck_assert_int_eq(opened, 1);
    ck_assert(sent && !scep_bytes_equal(plain, sent->csr));
}
END_TEST

static X509 *other_by_name(apr_pool_t *pool)
{
    return odd_other_certificate(pool);
}

/* Somebody else's name, but encrypted to the RA's own key. */
static X509 *own_key_in_another_name(apr_pool_t *pool)
{
    return fixture_cert("CN=Somebody", fixture_ca_get()->ra.decrypt.key, NULL, NULL, false,
                        KU_KEY_ENCIPHERMENT, pool);
}

static X509 *signing_certificate(apr_pool_t *pool)
{
    (void)pool;
    return fixture_ca_get()->ra.sign.cert;
}

static const struct {
    const char *name;
    fixture_request r;
    X509 *(*recipient)(apr_pool_t *);
    scep_code code;
    bool chance; /* 1 in 256 random keys gives padding that looks right */
} costs[] = {
    { .name = "a good request", .code = SCEP_OK },
    { .name = "a good request by OAEP", .r = { .oaep = true }, .code = SCEP_OK },
    { .name = "to the signing certificate", .recipient = signing_certificate, .code = SCEP_OK },
    { .name = "a wrong RSA block",
      .r = { .spoil_encrypted_key = true },
      .code = SCEP_UNREADABLE,
      .chance = true },
    { .name = "wrong padding", .r = { .spoil_padding = true }, .code = SCEP_UNREADABLE },
    { .name = "R-063 another recipient", .recipient = other_by_name, .code = SCEP_UNREADABLE },
    { .name = "another recipient by key identifier",
      .r = { .recipient_by_key_id = true },
      .recipient = other_by_name,
      .code = SCEP_UNREADABLE },
    { .name = "another recipient with a wrong RSA block",
      .r = { .spoil_encrypted_key = true },
      .recipient = other_by_name,
      .code = SCEP_UNREADABLE },
    { .name = "another recipient, the RA's own key",
      .recipient = own_key_in_another_name,
      .code = SCEP_UNREADABLE },
};

/* What costs another number of private operations can be told apart by a clock. */
START_TEST(S_15_every_envelope_costs_one_private_operation_and_one_only)
{
    scep_ra ra = fixture_ca_get()->ra;
    fixture_request r = costs[_i].r;
    scep_bytes plain = { 0 };
    const scep_err *err;
    scep_message *m;

    row = costs[_i].name;
    r.recipient = costs[_i].recipient ? costs[_i].recipient(p) : NULL;
    ra.sign.key = counting_key(ra.sign.key, p);
    ra.decrypt.key = counting_key(ra.decrypt.key, p);
    assert_ok(scep_message_open(&m, fixture_build(&r, p)->der, &default_accept, p));
    ck_assert_int_eq(counting_key_decryptions(), 0);
    err = scep_ra_decrypt(&plain, &ra, m, p);
    ck_assert_msg(counting_key_decryptions() == 1, "%s: not one private operation", row);
    if (err || !costs[_i].chance)
        assert_code(costs[_i].code, err);
    ck_assert((plain.data != NULL) == !err);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* Single DES is decrypted in a library context apart, by the same rules. */
START_TEST(S_15_S_16_an_envelope_of_old_algorithms_fails_as_any_other)
{
    const scep_accept legacy = { .minimum_hash_bits = 160, .legacy = true };
    const fixture_request requests[] = { { .cipher = EVP_des_cbc(), .spoil_encrypted_key = true },
                                         { .cipher = EVP_des_cbc(), .spoil_padding = true },
                                         { .cipher = EVP_des_cbc(),
                                           .recipient = odd_other_certificate(p) } };
    scep_bytes plain = { 0 };
    scep_message *m;
    scep_csr *csr;
    const scep_err *err;

    for (int i = 0; i < ROWS(requests); i++) {
        assert_ok(scep_message_open(&m, fixture_build(&requests[i], p)->der, &legacy, p));
        err = scep_ra_decrypt(&plain, &fixture_ca_get()->ra, m, p);
        /* with a random key the padding looks right now and then; what is inside does not */
        if (!err)
            err = scep_csr_read(&csr, plain, p);
        assert_code(SCEP_UNREADABLE, err);
        ck_assert_uint_eq(ERR_peek_error(), 0);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, R_063_R_090_a_prepared_ra_works_as_any_other_and_never_by_a_key_it_had);
    tcase_add_loop_test(cases, Q_50_Q_52_every_accepted_cipher_and_key_transport_opens, 0,
                        ROWS(envelopes));
    tcase_add_loop_test(cases, S_15_S_16_whatever_cannot_be_read_has_one_code, 0, ROWS(unreadable));
    tcase_add_test(cases, S_15_S_16_wrong_rsa_blocks_and_wrong_padding_cannot_be_told_apart);
    tcase_add_test(cases, S_15_a_wrong_rsa_block_becomes_a_random_key_and_no_answer);
    tcase_add_loop_test(cases, S_15_every_envelope_costs_one_private_operation_and_one_only, 0,
                        ROWS(costs));
    tcase_add_test(cases, S_15_S_16_an_envelope_of_old_algorithms_fails_as_any_other);
}

int main(void)
{
    return run_suite("ra_decrypt", add_tests);
}
