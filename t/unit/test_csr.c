/* Certification requests: what scep_csr_read() reports of good ones and refuses in bad ones. */
#include "odd.h"
#include "suite.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <string.h>

#define MICROSOFT "1.3.6.1.4.1.311.2.1.14"
#define VERISIGN "2.16.840.1.113733.1.9.8"
#define NAME_VALUE "1.3.6.1.4.1.311.13.2.1"

typedef struct variant {
    const char *name;
    fixture_request r;
    const EVP_MD *(*digest)(void);
    EVP_PKEY *(*key)(apr_pool_t *);
    scep_bytes (*value)(void); /* raw contents of the challenge */
    int extensions;            /* how many are found */
} variant;

static scep_bytes build(const variant *v)
{
    fixture_request r = v->r;

    row = v->name;
    r.csr_digest = v->digest ? v->digest() : NULL;
    r.key = v->key ? v->key(p) : NULL;
    if (v->value)
        r.challenge_value = v->value();
    return fixture_csr(&r, p);
}

static const scep_bytes no_bytes;

/* ---- what is accepted ---- */

static char challenge_of_8192[8193], challenge_of_8193[8194];
static char extensions_64[2048], extensions_65[2048];
static char extension_of_64000[128020], extension_of_65500[131020];

static const variant accepted[] = {
    { .name = "RSA 2048, no challenge, no extension", .r = { 0 } },
    { .name = "R-083 an empty subject is policy's business", .r = { .subject = "" } },
    { .name = "Q-56 an RSA key of 1024 bits", .key = odd_rsa_1024 },
    { .name = "Q-56 version 3", .r = { .csr_version = 2 } },
    { .name = "Q-56 a SHA-1 signature", .digest = EVP_sha1 },
    { .name = "P-256", .key = odd_p256 },
    { .name = "P-384", .key = odd_p384 },
    { .name = "P-521", .key = odd_p521 },
    { .name = "Q-67 a PrintableString challenge", .r = { .challenge = "secret" } },
    { .name = "Q-67 a UTF8String challenge",
      .r = { .challenge = "secret", .challenge_type = V_ASN1_UTF8STRING } },
    { .name = "Q-67 an IA5String challenge",
      .r = { .challenge = "secret", .challenge_type = V_ASN1_IA5STRING } },
    { .name = "Q-67 a T61String challenge",
      .r = { .challenge = "secret", .challenge_type = V_ASN1_T61STRING } },
    { .name = "Q-67 a BMPString challenge",
      .r = { .challenge = "secret", .challenge_type = V_ASN1_BMPSTRING } },
    { .name = "Q-67 an OCTET STRING challenge",
      .r = { .challenge = "secret", .challenge_type = V_ASN1_OCTET_STRING } },
    { .name = "Q-69 an empty challenge is none", .r = { .challenge = "" } },
    { .name = "a challenge of 8192 bytes", .r = { .challenge = challenge_of_8192 } },
    { .name = "Q-70 PKCS #9 extensions", .r = { .san = "DNS:a.example" }, .extensions = 1 },
    { .name = "Q-70 Microsoft's attribute",
      .r = { .san = "DNS:a.example", .extension_attribute = MICROSOFT },
      .extensions = 1 },
    { .name = "Q-70 Verisign's attribute",
      .r = { .san = "DNS:a.example", .extension_attribute = VERISIGN },
      .extensions = 1 },
    { .name = "Q-70 two attributes that say the same",
      .r = { .san = "DNS:a.example", .other_attribute = MICROSOFT },
      .extensions = 1 },
    { .name = "a key usage",
      .r = { .key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT },
      .extensions = 1 },
    { .name = "S-12 what policy will refuse is reported",
      .r = { .extensions = "basicConstraints=CA:TRUE;1.2.3.4=DER:0500" },
      .extensions = 2 },
    { .name = "64 extensions", .r = { .extensions = extensions_64 }, .extensions = 64 },
    { .name = "Q-47 an MD5 signature is policy's business", .digest = EVP_md5 },
    { .name = "Q-71 a template's name and more usages",
      .r = { .extensions = "1.3.6.1.4.1.311.20.2=DER:1E0000;1.3.6.1.4.1.311.21.10=DER:3000;"
                           "extendedKeyUsage=clientAuth" },
      .extensions = 3 },
    { .name = "Q-71 Microsoft's own URI among the names",
      .r = { .extensions = "subjectAltName=DER:302B86297461673A6D6963726F736F66742E636F"
                           "6D2C323032322D30392D31343A7369643A532D312D352D3231" },
      .extensions = 1 },
    { .name = "S-44 32 attributes", .r = { .csr_attributes = 32 } },
    { .name = "S-42 an attribute nested 24 deep", .r = { .csr_nested = 19 } },
    { .name = "S-44 a CSR of just under 64 KiB",
      .r = { .extensions = extension_of_64000 },
      .extensions = 1 },
};

START_TEST(Q_47_Q_56_Q_67_Q_69_Q_70_Q_71_D_13_S_12_S_42_S_44_a_good_csr_tells_its_facts)
{
    const variant *v = &accepted[_i];
    scep_bytes der = build(v);
    const unsigned char *at = der.data;
    X509_REQ *req = scep_X509_REQ(p, d2i_X509_REQ(NULL, &at, (long)der.len));
    unsigned char hash[32], *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &spki);
    scep_csr *csr = NULL;

    assert_ok(scep_csr_read(&csr, der, p));
    assert_bytes(csr->challenge, scep_bytes_of(v->r.challenge));
    ck_assert_ptr_eq(csr->der.data, der.data);
    ck_assert_uint_eq(csr->der.len, der.len);
    ck_assert_int_eq(X509_NAME_cmp(csr->subject, X509_REQ_get_subject_name(req)), 0);
    ck_assert_int_eq(EVP_PKEY_eq(csr->key, X509_REQ_get0_pubkey(req)), 1);
    ck_assert_uint_eq(csr->key_usage, v->r.key_usage);
    ck_assert_int_eq(csr->extensions ? sk_X509_EXTENSION_num(csr->extensions) : 0, v->extensions);
    FIXTURE_MUST(len > 0 && EVP_Digest(spki, (size_t)len, hash, NULL, EVP_sha256(), NULL));
    ck_assert_mem_eq(csr->key_hash, hash, 32);
    FIXTURE_MUST(EVP_Digest(der.data, der.len, hash, NULL, EVP_sha256(), NULL));
    ck_assert_mem_eq(csr->hash, hash, 32);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    OPENSSL_free(spki);
}
END_TEST

START_TEST(a_look_tells_the_same_key_and_challenge_and_nothing_else)
{
    scep_bytes der = build(&accepted[_i]);
    scep_csr *whole, *look;

    assert_ok(scep_csr_read(&whole, der, p));
    assert_ok(scep_csr_look(&look, der, NULL, p));
    assert_bytes(look->challenge, whole->challenge);
    assert_bytes(look->spki, whole->spki);
    ck_assert_int_eq(EVP_PKEY_eq(look->key, whole->key), 1);
    ck_assert_ptr_eq(look->der.data, der.data);
    ck_assert_ptr_null(look->subject);
    ck_assert_ptr_null(look->extensions);
    ck_assert_uint_eq(look->key_usage, 0);
}
END_TEST

/* all types say the same; characters beyond ASCII come out as UTF-8. */
START_TEST(Q_67_a_challenge_is_converted_to_utf8)
{
    const unsigned char utf8[] = { 0xC3, 0xA9, 0xE2, 0x82, 0xAC };
    const unsigned char bmp[] = { 0x00, 0xE9, 0x20, 0xAC };
    const fixture_request rows[] = {
        { .challenge_value = { utf8, 5 }, .challenge_type = V_ASN1_UTF8STRING },
        { .challenge_value = { bmp, 4 }, .challenge_type = V_ASN1_BMPSTRING },
    };
    scep_csr *csr;

    for (int i = 0; i < ROWS(rows); i++) {
        assert_ok(scep_csr_read(&csr, fixture_csr(&rows[i], p), p));
        assert_bytes(csr->challenge, ((scep_bytes){ utf8, 5 }));
    }
}
END_TEST

/* ---- what is refused ---- */

static scep_bytes nul_inside(void)
{
    return (scep_bytes){ (const unsigned char *)"sec\0ret", 7 };
}

static scep_bytes wide_nul_inside(void)
{
    return (scep_bytes){ (const unsigned char *)"\0s\0\0\0t", 6 };
}

static scep_bytes broken_utf8(void)
{
    return (scep_bytes){ (const unsigned char *)"ab\xC3(", 4 };
}

static scep_bytes number(void)
{
    return (scep_bytes){ (const unsigned char *)"\x05", 1 };
}

static const variant refused[] = {
    { .name = "S-11 R-088 a wrong signature", .r = { .spoil_csr = true } },
    { .name = "an RSA key of 768 bits", .key = odd_rsa_768 },
    { .name = "S-43 an RSA exponent of 65 bits", .key = odd_long_exponent },
    { .name = "S-43 a curve that is not NIST's", .key = odd_secp256k1 },
    { .name = "S-43 a curve without a name", .key = odd_explicit_curve },
    { .name = "an Ed25519 key", .key = odd_ed25519 },
    { .name = "S-20 two challenges", .r = { .challenge = "secret", .challenges = 2 } },
    { .name = "S-20 a challenge with two values",
      .r = { .challenge = "secret", .challenge_values = true } },
    { .name = "Q-67 S-13 a NUL in a challenge", .value = nul_inside },
    { .name = "Q-67 S-13 a NUL in a UTF8String challenge",
      .r = { .challenge_type = V_ASN1_UTF8STRING },
      .value = nul_inside },
    { .name = "Q-67 S-13 a NUL in a BMPString challenge",
      .r = { .challenge_type = V_ASN1_BMPSTRING },
      .value = wide_nul_inside },
    { .name = "S-13 a NUL in an OCTET STRING challenge",
      .r = { .challenge_type = V_ASN1_OCTET_STRING },
      .value = nul_inside },
    { .name = "a UTF8String challenge that is not UTF-8",
      .r = { .challenge_type = V_ASN1_UTF8STRING },
      .value = broken_utf8 },
    { .name = "a challenge that is a number",
      .r = { .challenge_type = V_ASN1_INTEGER },
      .value = number },
    { .name = "a challenge of 8193 bytes", .r = { .challenge = challenge_of_8193 } },
    { .name = "Q-70 the extension request twice",
      .r = { .san = "DNS:a.example", .extension_attributes = 2 } },
    { .name = "Q-70 Microsoft's attribute twice",
      .r = { .san = "DNS:a.example",
             .extension_attribute = MICROSOFT,
             .extension_attributes = 2 } },
    { .name = "Q-70 Verisign's attribute twice",
      .r = { .san = "DNS:a.example", .extension_attribute = VERISIGN, .extension_attributes = 2 } },
    /* a CA that is handed the CSR may read the one that nobody judged */
    { .name = "S-12 Q-70 two attributes that do not say the same",
      .r = { .san = "DNS:a.example",
             .other_attribute = MICROSOFT,
             .other_extensions = { (const unsigned char *)"\x30", 2 } } },
    { .name = "S-12 Q-70 two others that do not",
      .r = { .san = "DNS:a.example",
             .extension_attribute = MICROSOFT,
             .other_attribute = VERISIGN,
             .other_extensions = { (const unsigned char *)"\x30", 2 } } },
    /* SEQUENCE { BMPString "SAN", BMPString "dns=b" }, which Microsoft's CA may follow */
    { .name = "S-12 a name in an attribute for Microsoft's CA",
      .r = { .san = "DNS:a.example",
             .other_attribute = NAME_VALUE,
             .other_extensions = { (const unsigned char *)"\x30\x14\x1E\x06\0S\0A\0N"
                                                          "\x1E\x0A\0d\0n\0s\0=\0b",
                                   22 } } },
    { .name = "S-12 the same extension twice",
      .r = { .extensions = "subjectAltName=DNS:a.example;subjectAltName=DNS:b.example" } },
    { .name = "S-44 65 extensions", .r = { .extensions = extensions_65 } },
    { .name = "S-44 33 attributes", .r = { .csr_attributes = 33 } },
    { .name = "S-42 an attribute nested 25 deep", .r = { .csr_nested = 20 } },
    { .name = "S-44 a CSR of over 64 KiB", .r = { .extensions = extension_of_65500 } },
};

/* S-15: one code for all, so that nothing can be learned from the answer. */
START_TEST(S_11_S_12_S_13_S_20_S_42_S_43_S_44_R_088_Q_70_a_bad_csr_is_unreadable)
{
    scep_csr *csr;

    assert_code(SCEP_UNREADABLE, scep_csr_read(&csr, build(&refused[_i]), p));
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* What a GetCert holds: RFC 8894 3.3.4. */
static scep_bytes issuer_and_serial(void)
{
    const X509 *cert = fixture_ca_get()->root;
    scep_bytes parts[2];
    size_t len;

    FIXTURE_MUST(X509_NAME_get0_der(X509_get_issuer_name(cert), &parts[0].data, &len));
    parts[0].len = len;
    parts[1] = fixture_tlv(0x02, (scep_bytes){ (const unsigned char *)"\5", 1 }, p);
    return fixture_tlv(0x30, fixture_join(parts, 2, p), p);
}

START_TEST(R_062_what_is_no_csr_to_the_last_byte_is_unreadable)
{
    scep_bytes good = fixture_csr(&(fixture_request){ 0 }, p);
    unsigned char *longer = apr_pcalloc(p, good.len + 1);
    const scep_bytes bodies[] = {
        no_bytes,
        scep_bytes_of("-----BEGIN CERTIFICATE REQUEST-----"),
        { good.data, good.len - 1 },
        { good.data, 4 },
        { longer, good.len + 1 },
        issuer_and_serial(),
    };
    scep_csr *csr;

    memcpy(longer, good.data, good.len);
    for (int i = 0; i < ROWS(bodies); i++)
        assert_code(SCEP_UNREADABLE, scep_csr_read(&csr, bodies[i], p));
}
END_TEST

/* S-11: the signature covers every byte before it, and is checked over the bytes received. */
START_TEST(S_11_a_csr_with_any_byte_changed_is_unreadable)
{
    scep_bytes good = fixture_csr(&(fixture_request){ .challenge = "secret" }, p);
    scep_csr *csr;

    for (size_t at = 0; at < good.len; at++) {
        apr_pool_t *one;

        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        assert_code(
            SCEP_UNREADABLE,
            scep_csr_read(&csr, fixture_flip(good, at, (unsigned char)(1 << at % 8), one), one));
        apr_pool_destroy(one);
    }
}
END_TEST

/* A secret must not come back in an error's text. */
START_TEST(a_refusal_does_not_repeat_the_challenge)
{
    const fixture_request rows[] = {
        { .challenge = "Tr0ub4dor", .challenges = 2 },
        { .challenge = "Tr0ub4dor", .spoil_csr = true },
        { .challenge_value = { (const unsigned char *)"Tr0ub4dor\0", 10 } },
    };
    scep_csr *csr;

    for (int i = 0; i < ROWS(rows); i++) {
        const scep_err *err = scep_csr_read(&csr, fixture_csr(&rows[i], p), p);

        assert_code(SCEP_UNREADABLE, err);
        ck_assert_ptr_null(strstr(err->detail, "Tr0ub4dor"));
    }
}
END_TEST

static char *many_extensions(char *out, size_t size, int count)
{
    size_t used = 0;

    for (int i = 0; i < count; i++)
        used += (size_t)apr_snprintf(out + used, size - used, "%s1.2.3.%d=DER:0500", i ? ";" : "",
                                     i + 1);
    return out;
}

/* An OCTET STRING of @a len bytes and its header of 4. */
static void big_extension(char *out, int len)
{
    int used = apr_snprintf(out, 20, "1.2.3=DER:0482%04X", len);

    memset(out + used, 'A', 2 * (size_t)len);
}

static void add_tests(TCase *cases)
{
    memset(challenge_of_8192, 'c', 8192);
    memset(challenge_of_8193, 'c', 8193);
    big_extension(extension_of_64000, 64000);
    big_extension(extension_of_65500, 65500);
    (void)many_extensions(extensions_64, sizeof(extensions_64), 64);
    (void)many_extensions(extensions_65, sizeof(extensions_65), 65);
    tcase_add_loop_test(
        cases, Q_47_Q_56_Q_67_Q_69_Q_70_Q_71_D_13_S_12_S_42_S_44_a_good_csr_tells_its_facts, 0,
        ROWS(accepted));
    tcase_add_loop_test(cases, a_look_tells_the_same_key_and_challenge_and_nothing_else, 0,
                        ROWS(accepted));
    tcase_add_test(cases, Q_67_a_challenge_is_converted_to_utf8);
    tcase_add_loop_test(cases,
                        S_11_S_12_S_13_S_20_S_42_S_43_S_44_R_088_Q_70_a_bad_csr_is_unreadable, 0,
                        ROWS(refused));
    tcase_add_test(cases, R_062_what_is_no_csr_to_the_last_byte_is_unreadable);
    tcase_add_test(cases, S_11_a_csr_with_any_byte_changed_is_unreadable);
    tcase_add_test(cases, a_refusal_does_not_repeat_the_challenge);
}

int main(void)
{
    return run_suite("csr", add_tests);
}
