/* The allow-list of algorithms: what only a switch opens, the floor of digests, odd parameters. */
#include "suite.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };
static const scep_accept legacy_accept = { .minimum_hash_bits = 160, .legacy = true };

static const scep_bytes nothing;

typedef struct variant {
    const char *name;
    fixture_request r;
    const EVP_MD *(*digest)(void);
    const EVP_CIPHER *(*cipher)(void);
} variant;

static scep_bytes build(const variant *v)
{
    fixture_request r = v->r;

    row = v->name;
    r.digest = v->digest ? v->digest() : NULL;
    r.cipher = v->cipher ? v->cipher() : NULL;
    return fixture_build(&r, p)->der;
}

static const scep_err *open_variant(const variant *v, const scep_accept *accept)
{
    scep_message *m;

    return scep_message_open(&m, build(v), accept, p);
}

/* ---- old algorithms ---- */

static const variant legacy_algorithms[] = {
    { .name = "Q-47 MD5 and AES", .r = { 0 }, .digest = EVP_md5 },
    { .name = "Q-47 SHA-1 and DES", .r = { 0 }, .digest = EVP_sha1, .cipher = EVP_des_cbc },
    { .name = "Q-47 MD5 and DES", .r = { 0 }, .digest = EVP_md5, .cipher = EVP_des_cbc },
    { .name = "md5WithRSAEncryption as signature algorithm",
      .r = { .signature_algorithm = "1.2.840.113549.1.1.4" },
      .digest = EVP_md5 },
    { .name = "DES in BER", .r = { .ber = true }, .cipher = EVP_des_cbc },
    { .name = "DES and OAEP", .r = { .oaep = true }, .cipher = EVP_des_cbc },
    { .name = "what is not old", .r = { 0 } },
};

/* The suite's OpenSSL has single DES, to build requests with; httpd's has not. */
static void forget_des(void)
{
    FIXTURE_MUST(EVP_set_default_properties(NULL, "provider=default"));
    ck_assert_ptr_null(EVP_CIPHER_fetch(NULL, "DES-CBC", NULL));
    ERR_clear_error();
}

START_TEST(Q_47_D_16_old_algorithms_are_accepted_once_switched_on)
{
    const variant *v = &legacy_algorithms[_i];
    scep_bytes der = build(v), plain;
    scep_message *m = NULL;

    forget_des();
    assert_ok(scep_message_open(&m, der, &legacy_accept, p));
    ck_assert_int_eq(EVP_MD_get_type(m->digest),
                     EVP_MD_get_type(v->digest ? v->digest() : EVP_sha256()));
    ck_assert_int_eq(EVP_CIPHER_get_nid(m->cipher),
                     EVP_CIPHER_get_nid(v->cipher ? v->cipher() : EVP_aes_128_cbc()));
    ck_assert_msg((m->context != NULL) == (v->cipher == EVP_des_cbc), "%s: context", row);
    assert_ok(scep_ra_decrypt(&plain, &fixture_ca_get()->ra, m, p));
    ck_assert_uint_eq(ERR_peek_error(), 0);
    /* nor has it after that */
    ck_assert_ptr_null(EVP_CIPHER_fetch(NULL, "DES-CBC", NULL));
    ERR_clear_error();
}
END_TEST

/* The switch is for MD5 and DES, and for nothing else. */
START_TEST(R_064_S_17_S_18_old_algorithms_have_their_limits)
{
    const variant md5 = { .name = "S-18 MD5 under a higher floor", .digest = EVP_md5 };
    const variant rc2 = { .name = "R-064 RC2", .cipher = EVP_rc2_cbc };
    const variant ofb = { .name = "S-17 AES in output feedback", .cipher = EVP_aes_128_ofb };
    const scep_accept strict = { .minimum_hash_bits = 256, .legacy = true };

    assert_code(SCEP_BAD_ALG, open_variant(&md5, &strict));
    assert_code(SCEP_BAD_ALG, open_variant(&rc2, &legacy_accept));
    assert_code(SCEP_BAD_ALG, open_variant(&ofb, &legacy_accept));
}
END_TEST

/* The floor is the administrator's, whatever GetCACaps said. */
START_TEST(S_18_a_digest_below_the_minimum_is_refused)
{
    const scep_accept strict = { .minimum_hash_bits = 256 };
    const variant sha1 = { .name = "SHA-1", .digest = EVP_sha1 };
    const variant sha224 = { .name = "SHA-224", .digest = EVP_sha224 };
    const variant sha256 = { .name = "SHA-256" };

    assert_code(SCEP_BAD_ALG, open_variant(&sha1, &strict));
    assert_code(SCEP_BAD_ALG, open_variant(&sha224, &strict));
    assert_ok(open_variant(&sha256, &strict));
}
END_TEST

/* The operator must be able to act on it. */
START_TEST(R_064_a_refused_algorithm_is_named)
{
    const variant des = { .name = "des", .cipher = EVP_des_cbc };
    const variant md5 = { .name = "md5", .digest = EVP_md5 };
    const variant *const rows[] = { &des, &md5 };

    for (int i = 0; i < ROWS(rows); i++) {
        const scep_err *err = open_variant(rows[i], &default_accept);

        assert_code(SCEP_BAD_ALG, err);
        ck_assert_msg(strcasestr(err->detail, row) != NULL, "%s", err->detail);
        ck_assert_msg(strstr(err->detail, "SCEPLegacyAlgorithms") != NULL, "%s", err->detail);
    }
}
END_TEST

/* ---- algorithms made by hand ---- */

static scep_bytes pair(scep_bytes a, scep_bytes b)
{
    const scep_bytes parts[] = { a, b };

    return fixture_join(parts, 2, p);
}

#define BYTES(array) ((scep_bytes){ (array), sizeof(array) })

static scep_bytes algorithm(scep_bytes oid, scep_bytes parameters)
{
    return fixture_tlv(0x30, pair(fixture_tlv(0x06, oid, p), parameters), p);
}

/* A message around an envelope made by hand. */
static const scep_err *open_around(scep_bytes envelope)
{
    fixture_request r = { .plain = true, .message_data = envelope };
    scep_message *m;

    return scep_message_open(&m, fixture_build(&r, p)->der, &default_accept, p);
}

/* The first would overflow a stack in old OpenSSLs, were it ever decrypted. */
START_TEST(S_34_S_42_odd_parameters_of_the_content_cipher_are_refused)
{
    const unsigned char gcm[] = { 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 6 };
    const unsigned char cbc[] = { 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2 };
    scep_bytes good = fixture_build(&(fixture_request){ 0 }, p)->envelope;
    scep_bytes iv = fixture_tlv(0x04, (scep_bytes){ good.data, 200 }, p);
    const struct {
        const char *name;
        scep_bytes oid, parameters;
        scep_code code;
    } rows[] = {
        { "S-34 GCM with a long IV", BYTES(gcm), fixture_tlv(0x30, iv, p), SCEP_BAD_ALG },
        { "CBC with a long IV", BYTES(cbc), iv, SCEP_BAD_ALG },
        { "CBC without IV", BYTES(cbc), nothing, SCEP_BAD_ALG },
        { "S-42 nested too deep", BYTES(cbc), fixture_nested(30, true, p), SCEP_BAD_REQUEST },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        row = rows[i].name;
        assert_code(rows[i].code,
                    open_around(fixture_envelope(good, nothing,
                                                 algorithm(rows[i].oid, rows[i].parameters), p)));
    }
}
END_TEST

static const unsigned char sha256_algorithm[] = { 0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 1,
                                                  0x65, 3,  4,    2, 1,    0x05, 0 };

static scep_proof proof_of_a_renewal(void)
{
    scep_message *m;
    scep_proof proof;

    assert_ok(
        scep_message_open(&m, fixture_build(&(fixture_request){ 0 }, p)->der, &default_accept, p));
    assert_ok(scep_proof_take(&proof, m, p));
    return proof;
}

static const scep_err *check(const scep_proof *proof, const scep_accept *accept)
{
    scep_message *m;

    return scep_proof_check(&m, proof, accept, p);
}

/* RFC 4055 3.1. @param digest, mask AlgorithmIdentifiers; empty: left out
 * @param salt, trailer negative: left out */
static scep_bytes pss(scep_bytes digest, scep_bytes mask, int salt, int trailer)
{
    static const unsigned char pss_oid[] = { 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 10 };
    static const unsigned char mgf_oid[] = { 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 8 };
    const unsigned char salt_bytes[] = { (unsigned char)(salt >> 8), (unsigned char)salt };
    const scep_bytes salt_value = { salt_bytes + (salt < 0x100), salt < 0x100 ? 1 : 2 };
    const unsigned char trailer_byte = (unsigned char)trailer;
    scep_bytes all[4] = { { NULL, 0 } };

    if (digest.len)
        all[0] = fixture_tlv(0xA0, digest, p);
    if (mask.len)
        all[1] = fixture_tlv(0xA1, algorithm(BYTES(mgf_oid), mask), p);
    if (salt >= 0)
        all[2] = fixture_tlv(0xA2, fixture_tlv(0x02, salt_value, p), p);
    if (trailer >= 0)
        all[3] = fixture_tlv(0xA3, fixture_tlv(0x02, (scep_bytes){ &trailer_byte, 1 }, p), p);
    return algorithm(BYTES(pss_oid), fixture_tlv(0x30, fixture_join(all, 4, p), p));
}

static scep_bytes sign_pss(scep_bytes what, int salt)
{
    EVP_MD_CTX *ctx = scep_EVP_MD_CTX(p, EVP_MD_CTX_new());
    unsigned char *out = apr_palloc(p, 1024);
    EVP_PKEY_CTX *settings;
    size_t len = 1024;

    FIXTURE_MUST(ctx &&
                 EVP_DigestSignInit(ctx, &settings, EVP_sha256(), NULL, fixture_key(0)) == 1 &&
                 EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) > 0 &&
                 EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, salt) > 0 &&
                 EVP_DigestSign(ctx, out, &len, what.data, what.len) == 1);
    return (scep_bytes){ out, len };
}

START_TEST(S_31_rsa_pss_with_odd_parameters_is_refused)
{
    const unsigned char md5[] = {
        0x30, 12, 0x06, 8, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 2, 5, 5, 0
    };
    const unsigned char sha1[] = { 0x30, 9, 0x06, 5, 0x2B, 0x0E, 3, 2, 0x1A, 5, 0 };
    const scep_bytes sha256 = BYTES(sha256_algorithm);
    scep_proof proof = proof_of_a_renewal();
    const struct {
        const char *name;
        scep_bytes algorithm;
        scep_code code;
    } rows[] = {
        { "as RFC 4055 recommends", pss(sha256, sha256, 32, -1), SCEP_OK },
        { "trailer field 1 written out", pss(sha256, sha256, 32, 1), SCEP_OK },
        { "trailer field 2", pss(sha256, sha256, 32, 2), SCEP_BAD_ALG },
        { "another digest than the message's", pss(BYTES(sha1), sha256, 32, -1), SCEP_BAD_ALG },
        { "SHA-1 by leaving it out", pss(nothing, sha256, 32, -1), SCEP_BAD_ALG },
        { "MD5", pss(BYTES(md5), sha256, 32, -1), SCEP_BAD_ALG },
        { "MD5 in the mask", pss(sha256, BYTES(md5), 32, -1), SCEP_BAD_ALG },
        { "a salt of 32767 bytes", pss(sha256, sha256, 0x7FFF, -1), SCEP_BAD_ALG },
        { "a negative salt", pss(sha256, sha256, 0xFF, -1), SCEP_BAD_ALG },
        { "another mask", pss(sha256, BYTES(sha1), 32, -1), SCEP_BAD_MESSAGE },
        { "another salt", pss(sha256, sha256, 31, -1), SCEP_BAD_MESSAGE },
        { "no parameters", fixture_tlv(0x30, nothing, p), SCEP_BAD_ALG },
        { "an OCTET STRING", fixture_tlv(0x04, sha256, p), SCEP_BAD_ALG },
    };

    proof.signature = sign_pss(proof.attributes, 32);
    for (int i = 0; i < ROWS(rows); i++) {
        row = rows[i].name;
        proof.signature_algorithm = rows[i].algorithm;
        assert_code(rows[i].code, check(&proof, &legacy_accept));
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, Q_47_D_16_old_algorithms_are_accepted_once_switched_on, 0,
                        ROWS(legacy_algorithms));
    tcase_add_test(cases, R_064_S_17_S_18_old_algorithms_have_their_limits);
    tcase_add_test(cases, S_18_a_digest_below_the_minimum_is_refused);
    tcase_add_test(cases, R_064_a_refused_algorithm_is_named);
    tcase_add_test(cases, S_34_S_42_odd_parameters_of_the_content_cipher_are_refused);
    tcase_add_test(cases, S_31_rsa_pss_with_odd_parameters_is_refused);
}

int main(void)
{
    return run_suite("algorithm", add_tests);
}
