/* Public keys and certificates read by templates: they say what OpenSSL's own readers say. */
#include "odd.h"
#include "suite.h"

#include <apr_strings.h>
#include <ctype.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <string.h>

typedef struct variant {
    const char *name;
    EVP_PKEY *(*key)(apr_pool_t *);
    const char *form; /* of an EC point; NULL: OpenSSL's choice */
    scep_bytes (*spoil)(scep_bytes der);
} variant;

static scep_bytes spki_of(const variant *v)
{
    EVP_PKEY *key = v->key(p);
    unsigned char *der = NULL;
    scep_bytes out;
    int len;

    row = v->name;
    if (v->form)
        FIXTURE_MUST(EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                                    v->form));
    len = i2d_PUBKEY(key, &der);
    FIXTURE_MUST(len > 0);
    out = scep_bytes_dup(p, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    return v->spoil ? v->spoil(out) : out;
}

static EVP_PKEY *rsa_2048(apr_pool_t *pool)
{
    return fixture_key(0);
}

/* ---- what is accepted ---- */

static scep_bytes piece(scep_bytes der, size_t at, size_t len)
{
    FIXTURE_MUST(at + len <= der.len);
    return (scep_bytes){ der.data + at, len };
}

/* The AlgorithmIdentifier ends in a NULL, two bytes, behind a header of 4 + 2 and an OID of 11. */
static scep_bytes without_parameters(scep_bytes der)
{
    const scep_bytes oid = piece(der, 6, 11), key = piece(der, 19, der.len - 19);
    const scep_bytes parts[] = { fixture_tlv(0x30, oid, p), key };

    return fixture_tlv(0x30, fixture_join(parts, 2, p), p);
}

static scep_bytes indefinite(scep_bytes der)
{
    return fixture_indefinite(der, p);
}

static const variant accepted[] = {
    { "RSA 2048", rsa_2048, NULL, NULL },
    { "Q-56 RSA 1024", odd_rsa_1024, NULL, NULL },
    { "RSA without parameters", rsa_2048, NULL, without_parameters },
    { "Q-45 RSA in BER", rsa_2048, NULL, indefinite },
    { "P-256", odd_p256, "uncompressed", NULL },
    { "P-256 compressed", odd_p256, "compressed", NULL },
    { "P-384", odd_p384, NULL, NULL },
    { "P-521", odd_p521, NULL, NULL },
    { "P-521 compressed", odd_p521, "compressed", NULL },
};

static EVP_PKEY *theirs_of(scep_bytes der)
{
    const unsigned char *at = der.data;

    return scep_EVP_PKEY(p, d2i_PUBKEY(NULL, &at, (long)der.len));
}

START_TEST(Q_45_Q_56_an_accepted_key_is_the_one_that_openssl_reads)
{
    scep_bytes der = spki_of(&accepted[_i]), spki;
    EVP_PKEY *key, *theirs = theirs_of(der);

    assert_ok(scep_spki_read(&key, &spki, der, p));
    ck_assert_ptr_nonnull(theirs);
    ck_assert_int_eq(EVP_PKEY_eq(key, theirs), 1);
    ck_assert_int_eq(EVP_PKEY_get_base_id(key), EVP_PKEY_get_base_id(theirs));
    if (accepted[_i].spoil != indefinite)
        assert_bytes(spki, der);
    else
        assert_bytes(spki, spki_of(&accepted[0]));
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

START_TEST(a_key_is_put_into_a_certificate_as_it_is)
{
    scep_bytes der = spki_of(&accepted[_i]), spki, again;
    X509 *cert = scep_X509(p, X509_new());
    EVP_PKEY *key;

    assert_ok(scep_spki_read(&key, &spki, der, p));
    assert_ok(scep_spki_put(cert, spki, p));
    assert_ok(scep_spki_of(&again, X509_get_X509_PUBKEY(cert), p));
    assert_bytes(again, spki);
}
END_TEST

/* ---- what is refused ---- */

static scep_bytes byte_behind(scep_bytes der)
{
    unsigned char *longer = apr_pcalloc(p, der.len + 1);

    memcpy(longer, der.data, der.len);
    return (scep_bytes){ longer, der.len + 1 };
}

static scep_bytes cut(scep_bytes der)
{
    return (scep_bytes){ der.data, der.len - 1 };
}

/* In an RSA key of 2048 bits the BIT STRING is at 19, with a header of 4 and the unused bits; the
 * key in it has a header of 4, and n one of 4 with a zero in front. */
enum { UNUSED = 23, N = 32, E = 291 };

static scep_bytes unused_bits(scep_bytes der)
{
    return fixture_flip(der, UNUSED, 1, p);
}

static scep_bytes negative_modulus(scep_bytes der)
{
    return fixture_flip(der, N, 0x80, p);
}

static scep_bytes even_exponent(scep_bytes der)
{
    return fixture_flip(der, der.len - 1, 1, p);
}

static scep_bytes infinity(scep_bytes der)
{
    const scep_bytes parts[] = { piece(der, 2, 21),
                                 { (const unsigned char *)"\x03\x02\x00\x00", 4 } };

    return fixture_tlv(0x30, fixture_join(parts, 2, p), p);
}

static scep_bytes off_the_curve(scep_bytes der)
{
    return fixture_flip(der, der.len - 1, 1, p);
}

static scep_bytes pss_algorithm(scep_bytes der)
{
    return fixture_flip(der, 16, 1 ^ 10, p); /* rsaEncryption becomes id-RSASSA-PSS */
}

static scep_bytes parameters_of_tag_0(scep_bytes der)
{
    return fixture_flip(der, 17, 5, p); /* NULL is of tag 5 */
}

static scep_bytes nothing(scep_bytes der)
{
    return (scep_bytes){ der.data, 0 };
}

static scep_bytes longer_info(scep_bytes der)
{
    return fixture_null_behind(der, NULL, 0, p);
}

static scep_bytes longer_algorithm(scep_bytes der)
{
    const int path[] = { 0 };

    return fixture_null_behind(der, path, 1, p);
}

/* The key with a byte of zeros more before its modulus, which already begins with one. */
static scep_bytes long_modulus(scep_bytes der)
{
    static const unsigned char zero = 0;
    scep_cursor c = { der.data, der.len };
    scep_bytes parts[2], inside, algorithm, bits, key, modulus;
    uint8_t tag;

    FIXTURE_MUST(scep_cursor_der(&c, &tag, &inside));
    c = (scep_cursor){ inside.data, inside.len };
    algorithm.data = c.at;
    FIXTURE_MUST(scep_cursor_der(&c, &tag, &key));
    algorithm.len = (size_t)(c.at - algorithm.data);
    FIXTURE_MUST(scep_cursor_der(&c, &tag, &bits));
    c = (scep_cursor){ bits.data + 1, bits.len - 1 };
    FIXTURE_MUST(scep_cursor_der(&c, &tag, &key));
    c = (scep_cursor){ key.data, key.len };
    FIXTURE_MUST(scep_cursor_der(&c, &tag, &modulus) && !modulus.data[0]);
    parts[0] = (scep_bytes){ &zero, 1 };
    parts[1] = modulus;
    parts[0] = fixture_tlv(0x02, fixture_join(parts, 2, p), p);
    parts[1] = (scep_bytes){ c.at, c.left };
    parts[1] = fixture_tlv(0x30, fixture_join(parts, 2, p), p);
    parts[0] = (scep_bytes){ &zero, 1 };
    parts[1] = fixture_tlv(0x03, fixture_join(parts, 2, p), p);
    parts[0] = algorithm;
    return fixture_tlv(0x30, fixture_join(parts, 2, p), p);
}

static const variant refused[] = {
    { "nothing", rsa_2048, NULL, nothing },
    { "a byte behind", rsa_2048, NULL, byte_behind },
    { "cut off", rsa_2048, NULL, cut },
    { "a BIT STRING with unused bits", rsa_2048, NULL, unused_bits },
    { "an element more in the key's info", rsa_2048, NULL, longer_info },
    { "an element more in its algorithm", rsa_2048, NULL, longer_algorithm },
    { "RSA with a modulus that is not in DER", rsa_2048, NULL, long_modulus },
    { "RSA with a modulus below zero", rsa_2048, NULL, negative_modulus },
    { "S-43 RSA with an even exponent", rsa_2048, NULL, even_exponent },
    { "S-43 RSA 768", odd_rsa_768, NULL, NULL },
    { "S-43 an exponent of 65 bits", odd_long_exponent, NULL, NULL },
    { "RSA for PSS only", rsa_2048, NULL, pss_algorithm },
    { "RSA with parameters of tag 0", rsa_2048, NULL, parameters_of_tag_0 },
    { "S-43 a curve that is not NIST's", odd_secp256k1, NULL, NULL },
    { "S-43 a curve without a name", odd_explicit_curve, NULL, NULL },
    { "S-43 a point in hybrid form", odd_p256, "hybrid", NULL },
    { "S-43 a point that is not on the curve", odd_p256, "uncompressed", off_the_curve },
    { "S-43 the point at infinity", odd_p256, "uncompressed", infinity },
    { "S-31 Ed25519", odd_ed25519, NULL, NULL },
};

START_TEST(S_31_S_43_any_other_key_is_refused)
{
    scep_bytes der = spki_of(&refused[_i]), spki;
    EVP_PKEY *key;

    ERR_clear_error();
    assert_code(SCEP_BAD_ALG, scep_spki_read(&key, &spki, der, p));
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* ---- certificates ---- */

static X509 *of_the_fixture(apr_pool_t *pool)
{
    return fixture_ca_get()->ra.sign.cert;
}

static X509 *(*const certificates[])(apr_pool_t *) = {
    of_the_fixture,         odd_expired,
    odd_negative_serial,    odd_long_serial,
    odd_version_1,          odd_signed_with_md5,
    odd_badly_signed,       odd_issued,
    odd_elliptic_recipient, odd_for_certificates_only,
    odd_other_certificate,
};

static scep_bytes name_der(const X509_NAME *name)
{
    scep_bytes der;

    FIXTURE_MUST(X509_NAME_get0_der(name, &der.data, &der.len) == 1);
    return der;
}

/* The same name by the rules of RFC 5280 7.1, in another string type and in capitals. */
static X509_NAME *capital_name(const X509_NAME *name)
{
    X509_NAME *made = scep_X509_NAME(p, X509_NAME_new());

    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *one = X509_NAME_get_entry(name, i);
        const ASN1_STRING *value = X509_NAME_ENTRY_get_data(one);
        unsigned char *text =
            apr_pmemdup(p, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
        int type = ASN1_STRING_type(value) == V_ASN1_UTF8STRING ? V_ASN1_PRINTABLESTRING
                                                                : V_ASN1_UTF8STRING;

        for (int n = 0; n < ASN1_STRING_length(value); n++)
            text[n] = (unsigned char)toupper(text[n]);
        FIXTURE_MUST(X509_NAME_add_entry_by_OBJ(made, X509_NAME_ENTRY_get_object(one), type, text,
                                                ASN1_STRING_length(value), -1, 0));
    }
    return made;
}

static X509_NAME *other_name(void)
{
    X509_NAME *name = scep_X509_NAME(p, X509_NAME_new());

    fixture_set_name(name, "CN=nobody");
    return name;
}

static const scep_err *view_of(scep_cert **out, scep_bytes der, apr_pool_t *pool)
{
    SCEP_TRY(scep_cert_look(out, der, pool));
    return scep_cert_read_key(*out, pool);
}

START_TEST(Q_62_Q_63_Q_64_a_certificate_says_what_openssl_reads)
{
    const X509 *cert = certificates[_i](p);
    scep_cert *view;
    scep_bytes der;
    X509 *again;

    assert_ok(scep_cert_der(&der, cert, p));
    assert_ok(view_of(&view, der, p));
    assert_bytes(view->issuer, name_der(X509_get_issuer_name(cert)));
    assert_bytes(view->subject, name_der(X509_get_subject_name(cert)));
    ck_assert(scep_cert_names_issuer(view, X509_get_issuer_name(cert)));
    ck_assert(scep_cert_names_issuer(view, capital_name(X509_get_issuer_name(cert))));
    ck_assert(!scep_cert_names_issuer(view, other_name()));
    ck_assert_int_eq(ASN1_INTEGER_cmp(view->serial, X509_get0_serialNumber(cert)), 0);
    ck_assert_int_eq(EVP_PKEY_eq(view->key, X509_get0_pubkey(cert)), 1);
    for (int i = 0; i < 3; i++) {
        EVP_PKEY *by = i == 2 ? fixture_ca_get()->root_key : fixture_key(i);
        scep_bytes spki;
        X509 *theirs;

        assert_ok(scep_cert_x509(&theirs, view, p));
        ck_assert_int_eq(scep_cert_is_signed_by(view, by), X509_verify(theirs, by) == 1);
        assert_ok(scep_spki_of(&spki, X509_get_X509_PUBKEY(theirs), p));
        assert_bytes(view->spki, spki);
        ERR_clear_error();
    }
    assert_ok(scep_cert_x509(&again, view, p));
    ck_assert_int_eq(X509_cmp(again, cert), 0);
}
END_TEST

START_TEST(S_11_a_certificate_with_any_byte_changed_is_not_signed)
{
    const fixture_ca *ca = fixture_ca_get();
    scep_cert *view;
    scep_bytes der;

    assert_ok(scep_cert_der(&der, ca->ra.sign.cert, p));
    assert_ok(view_of(&view, der, p));
    ck_assert(scep_cert_is_signed_by(view, ca->root_key));
    for (size_t at = 0; at < der.len; at++) {
        apr_pool_t *one;
        scep_bytes changed;

        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        changed = fixture_flip(der, at, (unsigned char)(1 << at % 8), one);
        ck_assert_msg(scep_cert_look(&view, changed, one) ||
                          !scep_cert_is_signed_by(view, ca->root_key),
                      "byte %lu", (unsigned long)at);
        apr_pool_destroy(one);
    }
    ERR_clear_error();
}
END_TEST

START_TEST(what_is_no_certificate_to_the_last_byte_is_refused)
{
    const int tbs = 0;
    scep_cert *view;
    scep_bytes der;

    assert_ok(scep_cert_der(&der, fixture_ca_get()->root, p));
    assert_code(SCEP_BAD_MESSAGE, view_of(&view, byte_behind(der), p));
    assert_code(SCEP_BAD_MESSAGE, view_of(&view, cut(der), p));
    assert_code(SCEP_BAD_MESSAGE, view_of(&view, nothing(der), p));
    assert_code(SCEP_BAD_MESSAGE, view_of(&view, spki_of(&accepted[0]), p));
    assert_code(SCEP_BAD_MESSAGE, view_of(&view, fixture_null_behind(der, NULL, 0, p), p));
    assert_code(SCEP_BAD_MESSAGE, view_of(&view, fixture_null_behind(der, &tbs, 1, p), p));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, Q_45_Q_56_an_accepted_key_is_the_one_that_openssl_reads, 0,
                        ROWS(accepted));
    tcase_add_loop_test(cases, a_key_is_put_into_a_certificate_as_it_is, 0, ROWS(accepted));
    tcase_add_loop_test(cases, S_31_S_43_any_other_key_is_refused, 0, ROWS(refused));
    tcase_add_loop_test(cases, Q_62_Q_63_Q_64_a_certificate_says_what_openssl_reads, 0,
                        ROWS(certificates));
    tcase_add_test(cases, S_11_a_certificate_with_any_byte_changed_is_not_signed);
    tcase_add_test(cases, what_is_no_certificate_to_the_last_byte_is_refused);
}

int main(void)
{
    return run_suite("spki", add_tests);
}
