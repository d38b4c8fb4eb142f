/* What GetCert and GetCRL ask for: scep_reference_serial(). */
#include "suite.h"

#include <openssl/err.h>
#include <string.h>

enum { INTEGER = 0x02, SEQUENCE = 0x30 };

static scep_bytes join(scep_bytes a, scep_bytes b)
{
    const scep_bytes parts[] = { a, b };

    return fixture_join(parts, 2, p);
}

static scep_bytes issuer(void)
{
    const unsigned char *der;
    size_t len;

    FIXTURE_MUST(X509_NAME_get0_der(X509_get_subject_name(fixture_ca_get()->root), &der, &len));
    return (scep_bytes){ der, len };
}

static scep_bytes reference(scep_bytes serial)
{
    return fixture_tlv(SEQUENCE, join(issuer(), fixture_tlv(INTEGER, serial, p)), p);
}

#define TEXT(literal)                                         \
    {                                                         \
        (const unsigned char *)(literal), sizeof(literal) - 1 \
    }

static unsigned char of_64_bytes[64], of_65_bytes[65];

static const struct {
    const char *name;
    scep_bytes serial;
    const char *text;
} serials[] = {
    { "one byte", TEXT("\x05"), "05" },
    { "zero", TEXT("\x00"), "00" },
    { "a leading zero for the sign", TEXT("\x00\x8F\x01"), "8F01" },
    { "16 bytes", TEXT("\x12\x34\x56\x78\x9A\xBC\xDE\xF0\x12\x34\x56\x78\x9A\xBC\xDE\xF0"),
      "123456789ABCDEF0123456789ABCDEF0" },
    { "Q-62 a negative one", TEXT("\xFB"), "-05" },
};

START_TEST(Q_62_a_reference_tells_issuer_and_serial_number)
{
    scep_reference r;

    row = serials[_i].name;
    assert_ok(scep_reference_serial(&r, reference(serials[_i].serial), p));
    ck_assert_str_eq(r.serial, serials[_i].text);
    assert_bytes(r.issuer_der, issuer());
    ck_assert_int_eq(X509_NAME_cmp(r.issuer, X509_get_subject_name(fixture_ca_get()->root)), 0);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* A lookup by it must find what was issued. */
START_TEST(a_serial_number_reads_as_a_certificates_own)
{
    const X509 *cert = fixture_ca_get()->ra.sign.cert;
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    unsigned char *der = NULL;
    int len = i2d_ASN1_INTEGER(serial, &der);
    scep_reference r;
    scep_bytes whole;

    FIXTURE_MUST(len > 0);
    whole = fixture_tlv(SEQUENCE, join(issuer(), (scep_bytes){ der, (size_t)len }), p);
    assert_ok(scep_reference_serial(&r, whole, p));
    ck_assert_str_eq(r.serial, scep_cert_serial(cert, p));
    OPENSSL_free(der);
}
END_TEST

START_TEST(Q_63_a_serial_number_may_have_64_bytes)
{
    scep_reference r;

    assert_ok(scep_reference_serial(&r, reference((scep_bytes){ of_64_bytes, 64 }), p));
    ck_assert_uint_eq(strlen(r.serial), 128);
    assert_code(SCEP_UNREADABLE,
                scep_reference_serial(&r, reference((scep_bytes){ of_65_bytes, 65 }), p));
}
END_TEST

/* 21 and 22 with a CSR, with what CertPoll holds, or with anything else. */
START_TEST(R_062_what_is_no_reference_is_unreadable)
{
    const scep_bytes five = TEXT("\x05"), minimal = TEXT("\x00\x05");
    const scep_bytes null = TEXT("\x05\x00"), none = { NULL, 0 };
    scep_bytes good = reference(five), serial = fixture_tlv(INTEGER, five, p);
    const unsigned char wide[] = {
        0x30, 0x84, 0, 0, (unsigned char)((good.len - 2) >> 8), (unsigned char)(good.len - 2)
    };
    const struct {
        const char *name;
        scep_bytes der;
    } rows[] = {
        { "nothing", none },
        { "a CSR", fixture_csr(&(fixture_request){ 0 }, p) },
        { "IssuerAndSubject", fixture_tlv(SEQUENCE, join(issuer(), issuer()), p) },
        { "the issuer alone", fixture_tlv(SEQUENCE, issuer(), p) },
        { "the serial alone", fixture_tlv(SEQUENCE, serial, p) },
        { "the other way round", fixture_tlv(SEQUENCE, join(serial, issuer()), p) },
        { "a byte behind it", join(good, (scep_bytes)TEXT("\0")) },
        { "more inside", fixture_tlv(SEQUENCE, join(join(issuer(), serial), null), p) },
        { "a SET", fixture_tlv(0x31, join(issuer(), serial), p) },
        { "a serial of no bytes", reference(none) },
        { "a serial that is not DER", reference(minimal) },
        { "an issuer that is no name", fixture_tlv(SEQUENCE, join(reference(five), serial), p) },
        { "an indefinite length", fixture_indefinite(good, p) },
        { "a length that is not DER",
          join((scep_bytes){ wide, 6 }, (scep_bytes){ good.data + 2, good.len - 2 }) },
    };
    scep_reference r;

    for (int i = 0; i < ROWS(rows); i++) {
        row = rows[i].name;
        assert_code(SCEP_UNREADABLE, scep_reference_serial(&r, rows[i].der, p));
        ck_assert_uint_eq(ERR_peek_error(), 0);
    }
    for (size_t len = 0; len < good.len; len++)
        assert_code(SCEP_UNREADABLE, scep_reference_serial(&r, (scep_bytes){ good.data, len }, p));
}
END_TEST

static void add_tests(TCase *cases)
{
    memset(of_64_bytes, 0x11, 64);
    memset(of_65_bytes, 0x11, 65);
    tcase_add_loop_test(cases, Q_62_a_reference_tells_issuer_and_serial_number, 0, ROWS(serials));
    tcase_add_test(cases, a_serial_number_reads_as_a_certificates_own);
    tcase_add_test(cases, Q_63_a_serial_number_may_have_64_bytes);
    tcase_add_test(cases, R_062_what_is_no_reference_is_unreadable);
}

int main(void)
{
    return run_suite("reference", add_tests);
}
