/* The structure of a request: what stands where, and which bytes are signed. */
#include "odd.h"
#include "proof.h"
#include "suite.h"

#include <openssl/err.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };

static fixture_sent *build(const char *name)
{
    row = name;
    return fixture_build(&(fixture_request){ 0 }, p);
}

/* A message around an envelope made by hand. */
static const scep_err *open_around(scep_bytes envelope)
{
    fixture_request r = { .plain = true, .message_data = envelope };
    scep_message *m;

    return scep_message_open(&m, fixture_build(&r, p)->der, &default_accept, p);
}

/* [0] { [0] certificates, [1] CRLs }, RFC 5652 6.1 */
static scep_bytes originator(int certificates)
{
    scep_bytes list = { NULL, 0 }, parts[2];

    for (int i = 0; i < certificates; i++) {
        X509 *cert = fixture_cert("o", fixture_key(1), NULL, NULL, false, 0, p);

        parts[0] = list;
        assert_ok(scep_cert_der(&parts[1], cert, p));
        list = fixture_join(parts, 2, p);
    }
    return fixture_tlv(0xA0, fixture_tlv(0xA0, list, p), p);
}

START_TEST(S_41_an_envelopes_originator_may_have_16_certificates)
{
    fixture_sent *good = fixture_build(&(fixture_request){ 0 }, p);
    const scep_bytes none = { NULL, 0 };

    row = "originatorInfo";
    assert_ok(open_around(fixture_envelope(good->envelope, none, none, p)));
    assert_ok(open_around(fixture_envelope(good->envelope, originator(16), none, p)));
    assert_code(SCEP_BAD_REQUEST,
                open_around(fixture_envelope(good->envelope, originator(17), none, p)));
}
END_TEST

/* Where an element more stands than the structure has: RFC 5652 3, 5.1, 5.2, 5.3. */
static const struct {
    const char *name;
    int path[5], n;
} longer[] = {
    { "ContentInfo", { 0 }, 0 },
    { "its content", { 1 }, 1 },
    { "SignedData", { 1, 0 }, 2 },
    { "EncapsulatedContentInfo", { 1, 0, 2 }, 3 },
    { "SignerInfo", { 1, 0, 4, 0 }, 4 },
    { "SignerIdentifier", { 1, 0, 4, 0, 1 }, 5 },
    { "the signed attributes", { 1, 0, 4, 0, 3 }, 5 },
    { "signatureAlgorithm", { 1, 0, 4, 0, 4 }, 5 },
};

START_TEST(R_069_a_structure_with_an_element_more_is_not_answerable)
{
    fixture_sent *sent = build(longer[_i].name);
    scep_message *m = (scep_message *)sent;
    scep_bytes der = fixture_null_behind(sent->der, longer[_i].path, longer[_i].n, p);

    assert_code(SCEP_UNDECODABLE, scep_message_open(&m, der, &default_accept, p));
    ck_assert_ptr_null(m);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* Where an element more stands in the envelope: RFC 5652 6.1, 6.2.1. */
static const struct {
    const char *name;
    int path[5], n;
} longer_envelopes[] = {
    { "ContentInfo", { 0 }, 0 },
    { "its content", { 1 }, 1 },
    { "EnvelopedData", { 1, 0 }, 2 },
    { "KeyTransRecipientInfo", { 1, 0, 1, 0 }, 4 },
    { "RecipientIdentifier", { 1, 0, 1, 0, 1 }, 5 },
    { "keyEncryptionAlgorithm", { 1, 0, 1, 0, 2 }, 5 },
    { "EncryptedContentInfo", { 1, 0, 2 }, 3 },
    { "contentEncryptionAlgorithm", { 1, 0, 2, 1 }, 4 },
};

START_TEST(R_061_an_envelope_with_an_element_more_is_refused)
{
    fixture_sent *sent = build(longer_envelopes[_i].name);
    scep_message m = { .content = fixture_null_behind(sent->envelope, longer_envelopes[_i].path,
                                                      longer_envelopes[_i].n, p) };

    assert_code(SCEP_BAD_REQUEST, scep_proof_open(&m, &default_accept, p));
    m = (scep_message){ .content = sent->envelope };
    assert_ok(scep_proof_open(&m, &default_accept, p));
}
END_TEST

/* ---- what is signed ---- */

#define CONTENT_TYPE "\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x09\x03"
#define ATTRIBUTE(text)                                 \
    {                                                   \
        (const unsigned char *)(text), sizeof(text) - 1 \
    }

/* One attribute each, as received. */
static const struct {
    const char *name;
    scep_bytes der;
    bool readable;
} encodings[] = {
    { "plain", ATTRIBUTE("\x30\x10" CONTENT_TYPE "\x31\x03\x04\x01\x61"), true },
    { "a length of three bytes", ATTRIBUTE("\x30\x12" CONTENT_TYPE "\x31\x82\x00\x03\x04\x01\x61"),
      true },
    { "a value in indefinite length",
      ATTRIBUTE("\x30\x14" CONTENT_TYPE "\x31\x07\x30\x80\x02\x01\x05\x00\x00"), true },
    { "a string in pieces",
      ATTRIBUTE("\x30\x15" CONTENT_TYPE "\x31\x08\x24\x06\x04\x01\x61\x04\x01\x62"), true },
    { "values in another order",
      ATTRIBUTE("\x30\x13" CONTENT_TYPE "\x31\x06\x04\x01\x62\x04\x01\x61"), true },
    { "unused bits that are not zero",
      ATTRIBUTE("\x30\x11" CONTENT_TYPE "\x31\x04\x03\x02\x04\xFF"), true },
    { "an odd number", ATTRIBUTE("\x30\x11" CONTENT_TYPE "\x31\x04\x02\x02\x00\x01"), false },
    { "no value", ATTRIBUTE("\x30\x0D" CONTENT_TYPE "\x31\x00"), true },
    { "an OID of no arcs", ATTRIBUTE("\x30\x07\x06\x00\x31\x03\x04\x01\x61"), false },
    { "an OID that is cut off", ATTRIBUTE("\x30\x08\x06\x01\x86\x31\x03\x04\x01\x61"), false },
};

/* RFC 5652 5.4: the message's own attributes and, behind them, that one as OpenSSL encodes it. */
static scep_bytes expected(const scep_message *m, const X509_ATTRIBUTE *more)
{
    scep_cursor c = { m->attributes.data, m->attributes.len };
    unsigned char *again = NULL;
    scep_bytes parts[2];
    uint8_t tag;
    int len = i2d_X509_ATTRIBUTE(more, &again);

    FIXTURE_MUST(len > 0 && scep_cursor_der(&c, &tag, &parts[0]));
    parts[1] = scep_bytes_dup(p, (scep_bytes){ again, (size_t)len });
    OPENSSL_free(again);
    return fixture_tlv(tag, fixture_join(parts, 2, p), p);
}

/* What cannot be decoded is refused; what can is measured by the signature over OpenSSL's encoding,
 * and fails here, as nobody signed it. */
START_TEST(R_058_attributes_are_signed_as_openssl_encodes_them)
{
    const int path[] = { 1, 0, 4, 0, 3 };
    const scep_bytes more = encodings[_i].der;
    const unsigned char *at = more.data;
    X509_ATTRIBUTE *theirs = d2i_X509_ATTRIBUTE(NULL, &at, (long)more.len);
    fixture_sent *sent = build(encodings[_i].name);
    scep_bytes der = fixture_behind(sent->der, path, 5, more, p);
    scep_message *m, *good;
    const scep_err *err;

    ERR_clear_error();
    assert_ok(scep_message_open(&good, sent->der, &default_accept, p));
    err = scep_message_open(&m, der, &default_accept, p);
    ck_assert_int_eq(theirs != NULL, encodings[_i].readable);
    if (theirs) {
        assert_code(SCEP_BAD_MESSAGE, err);
        assert_bytes(m->attributes, expected(good, theirs));
    } else {
        assert_code(SCEP_UNDECODABLE, err);
    }
    X509_ATTRIBUTE_free(theirs);
    ERR_clear_error();
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, S_41_an_envelopes_originator_may_have_16_certificates);
    tcase_add_loop_test(cases, R_069_a_structure_with_an_element_more_is_not_answerable, 0,
                        ROWS(longer));
    tcase_add_loop_test(cases, R_061_an_envelope_with_an_element_more_is_refused, 0,
                        ROWS(longer_envelopes));
    tcase_add_loop_test(cases, R_058_attributes_are_signed_as_openssl_encodes_them, 0,
                        ROWS(encodings));
}

int main(void)
{
    return run_suite("message_structure", add_tests);
}
