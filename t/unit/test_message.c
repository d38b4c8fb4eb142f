/* Requests taken apart: what scep_message_open() accepts, refuses, and reports. */
#include "odd.h"
#include "suite.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <string.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };

/* One request that differs from a good one in what its members say. */
typedef struct variant {
    const char *name;
    fixture_request r;
    const EVP_MD *(*digest)(void);
    const EVP_CIPHER *(*cipher)(void);
    EVP_PKEY *(*signer_key)(apr_pool_t *);
    X509 *(*signer)(apr_pool_t *);
    X509 *(*sent_instead)(apr_pool_t *);
    X509 *(*recipient)(apr_pool_t *);
    scep_code code;  /* of the refusal */
    bool answerable; /* the message is returned together with the error */
} variant;

static fixture_sent *build(const variant *v)
{
    fixture_request r = v->r;

    row = v->name ? v->name : "";
    r.digest = v->digest ? v->digest() : NULL;
    r.cipher = v->cipher ? v->cipher() : NULL;
    r.signer_key = v->signer_key ? v->signer_key(p) : NULL;
    r.signer = v->signer ? v->signer(p) : NULL;
    r.sent_instead = v->sent_instead ? v->sent_instead(p) : NULL;
    r.recipient = v->recipient ? v->recipient(p) : NULL;
    return fixture_build(&r, p);
}

/* ---- what is accepted ---- */

static char transaction_id_of_255[256], transaction_id_of_256[257], type_of_10000[10001];

static const variant good_algorithms[] = {
    { .name = "R-066 SHA-256 and AES-128", .r = { 0 } },
    { .name = "R-067 SHA-1 and 3DES", .r = { 0 }, .digest = EVP_sha1, .cipher = EVP_des_ede3_cbc },
    { .name = "SHA-224", .r = { 0 }, .digest = EVP_sha224 },
    { .name = "SHA-384 and AES-192", .r = { 0 }, .digest = EVP_sha384, .cipher = EVP_aes_192_cbc },
    { .name = "Q-50 SHA-512 and AES-256",
      .r = { 0 },
      .digest = EVP_sha512,
      .cipher = EVP_aes_256_cbc },
    { .name = "an RSA-PSS signature", .r = { .pss = true } },
    { .name = "an RSA-PSS signature with SHA-512", .r = { .pss = true }, .digest = EVP_sha512 },
    { .name = "Q-52 OAEP key transport", .r = { .oaep = true } },
    { .name = "an ECDSA signature", .r = { 0 }, .signer_key = odd_p256 },
    { .name = "an RSA key of 1024 bits", .r = { 0 }, .signer_key = odd_rsa_1024 },
    { .name = "Q-48 sha256WithRSAEncryption as signature algorithm",
      .r = { .signature_algorithm = "1.2.840.113549.1.1.11" } },
};

static const variant good_forms[] = {
    { .name = "Q-45 BER with indefinite lengths", .r = { .ber = true } },
    { .name = "Q-49 CMSAlgorithmProtection", .r = { .more_attribute = "1.2.840.113549.1.9.52" } },
    { .name = "Q-49 randomNonce", .r = { .more_attribute = "1.2.840.113549.1.9.25.3" } },
    { .name = "a signer named by key identifier", .r = { .signer_by_key_id = true } },
    { .name = "Q-55 a recipient named by key identifier", .r = { .recipient_by_key_id = true } },
    { .name = "S-41 16 CRLs", .r = { .crls = 16 } },
    { .name = "S-42 an attribute nested 24 deep", .r = { .nested_attribute = 16 } },
    { .name = "S-42 the same in BER", .r = { .nested_attribute = 16, .ber = true } },
};

static const variant good_attributes[] = {
    { .name = "R-056 no senderNonce", .r = { .nonce_length = -1 } },
    { .name = "R-057 a senderNonce of 8 bytes", .r = { .nonce_length = 8 } },
    { .name = "R-057 a senderNonce of 32 bytes", .r = { .nonce_length = 32 } },
    { .name = "a senderNonce of 64 bytes", .r = { .nonce_length = 64 } },
    { .name = "messageType 17", .r = { .message_type = "17" } },
    { .name = "messageType 20", .r = { .message_type = "20" } },
    { .name = "messageType 21", .r = { .message_type = "21" } },
    { .name = "messageType 22", .r = { .message_type = "22" } },
    { .name = "a signingTime of long ago", .r = { .signing_time = "700101000000Z" } },
};

static const variant good_transaction_ids[] = {
    { .name = "Q-34 a transactionID no PrintableString may hold",
      .r = { .transaction_id = "tid*&_@x" } },
    { .name = "Q-34 a transactionID in base64",
      .r = { .transaction_id = "9m0LaGFFpVcwg6Q4IqFzK4olp9w=" } },
    { .name = "Q-34 a transactionID with a space",
      .r = { .transaction_id = "SSCEP transactionId" } },
    { .name = "D-06 a transactionID that is a number", .r = { .transaction_id = "42" } },
    { .name = "S-21 a transactionID that looks like a path",
      .r = { .transaction_id = "../../etc/x" } },
    { .name = "a transactionID of one byte", .r = { .transaction_id = "1" } },
    { .name = "a transactionID of 255 bytes", .r = { .transaction_id = transaction_id_of_255 } },
};

static const variant good_signers[] = {
    { .name = "R-070 an expired signer", .r = { 0 }, .signer = odd_expired },
    { .name = "R-070 a signer that is not valid yet", .r = { 0 }, .signer = odd_not_yet_valid },
    { .name = "D-12 R-070 a signer whose key usage does not fit",
      .r = { 0 },
      .signer = odd_for_certificates_only },
    { .name = "Q-61 a signer with another subject", .r = { .signer_subject = "CN=SCEP SIGNER" } },
    { .name = "Q-62 a signer with a negative serial", .r = { 0 }, .signer = odd_negative_serial },
    { .name = "Q-63 a signer with a serial of 32 bytes", .r = { 0 }, .signer = odd_long_serial },
    { .name = "Q-64 a signer certificate of version 1", .r = { 0 }, .signer = odd_version_1 },
    { .name = "Q-64 a signer certificate signed with MD5",
      .r = { 0 },
      .signer = odd_signed_with_md5 },
};

static void is_accepted(const variant *v, const scep_accept *accept)
{
    fixture_sent *sent = build(v);
    const char *type = v->r.message_type ? v->r.message_type : "19";
    scep_message *m = NULL;

    assert_ok(scep_message_open(&m, sent->der, accept, p));
    ck_assert_int_eq(m->message_type, atoi(type));
    assert_bytes(m->transaction_id, scep_bytes_of(sent->transaction_id));
    assert_bytes(m->sender_nonce, sent->nonce);
    ck_assert(fixture_is(m->signer, sent->signer));
    ck_assert_int_eq(EVP_PKEY_eq(m->signer_key, sent->signer_key), 1);
    ck_assert(scep_message_is_self_signed(m));
    ck_assert_int_eq(EVP_MD_get_type(m->digest),
                     EVP_MD_get_type(v->digest ? v->digest() : EVP_sha256()));
    ck_assert_int_eq(EVP_CIPHER_get_nid(m->cipher),
                     EVP_CIPHER_get_nid(v->cipher ? v->cipher() : EVP_aes_128_cbc()));
    ck_assert_ptr_nonnull(m->envelope);
    ck_assert_int_eq(OBJ_obj2nid(m->envelope->cipher->algorithm), EVP_CIPHER_get_nid(m->cipher));
    ck_assert_ptr_null(m->context);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

START_TEST(R_066_R_067_Q_48_Q_50_Q_52_acceptable_algorithms_are_accepted)
{
    is_accepted(&good_algorithms[_i], &default_accept);
}
END_TEST

START_TEST(Q_45_Q_49_Q_55_S_41_S_42_other_forms_of_a_message_are_accepted)
{
    is_accepted(&good_forms[_i], &default_accept);
}
END_TEST

START_TEST(R_056_R_057_Q_33_nonces_and_message_types_are_accepted)
{
    is_accepted(&good_attributes[_i], &default_accept);
}
END_TEST

START_TEST(Q_34_D_06_S_21_a_transaction_id_is_taken_verbatim)
{
    is_accepted(&good_transaction_ids[_i], &default_accept);
}
END_TEST

START_TEST(
    R_070_R_081_D_03_D_12_Q_61_Q_62_Q_63_Q_64_what_a_signers_certificate_says_does_not_matter)
{
    is_accepted(&good_signers[_i], &default_accept);
}
END_TEST

/* Every constructed element has indefinite length, the certificate included. */
START_TEST(Q_45_a_message_with_indefinite_lengths_throughout_is_read)
{
    fixture_sent *sent = build(&(variant){ .name = "indefinite lengths throughout" });
    scep_message *m = NULL;

    assert_ok(scep_message_open(&m, fixture_indefinite(sent->der, p), &default_accept, p));
    assert_bytes(m->transaction_id, scep_bytes_of(sent->transaction_id));
    ck_assert_int_eq(EVP_PKEY_eq(m->signer_key, sent->signer_key), 1);
}
END_TEST

/* the DER order of the set puts either certificate first. */
START_TEST(Q_51_the_signer_is_found_among_several_certificates)
{
    X509 *longer = fixture_cert("CN=a,O=a certificate that is longer than the signer's,OU=x",
                                fixture_key(1), NULL, NULL, false, KU_KEY_CERT_SIGN, p);
    X509 *shorter = odd_version_1(p);
    fixture_request r = { .extra = _i ? longer : shorter };
    fixture_sent *sent = fixture_build(&r, p);
    scep_message *m = NULL;

    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    ck_assert(fixture_is(m->signer, sent->signer));
}
END_TEST

/* ---- what is refused ---- */

#define MESSAGE_TYPE "2.16.840.1.113733.1.9.2"
#define SENDER_NONCE "2.16.840.1.113733.1.9.5"
#define TRANSACTION_ID "2.16.840.1.113733.1.9.7"

#define TYPE(text)                                                                          \
    {                                                                                       \
        "R-054 messageType '" text "'", { .message_type = text }, .code = SCEP_BAD_REQUEST, \
                                                                  .answerable = true        \
    }

#define REFUSED(wanted, ...) .r = { __VA_ARGS__ }, .code = SCEP_##wanted, .answerable = true
#define UNANSWERABLE(...) .r = { __VA_ARGS__ }, .code = SCEP_UNDECODABLE

static const variant bad_attributes[] = {
    TYPE("0"),
    TYPE("1"),
    TYPE("2"),
    TYPE("3"),
    TYPE("4"),
    TYPE("16"),
    TYPE("18"),
    TYPE("23"),
    TYPE("99"),
    TYPE("019"),
    TYPE("19 "),
    TYPE(" 19"),
    TYPE("+19"),
    TYPE("-1"),
    TYPE("19x"),
    TYPE("1 9"),
    TYPE("4294967315"),
    TYPE("18446744073709551635"),
    { "R-054 a messageType of 10000 digits", REFUSED(BAD_REQUEST, .message_type = type_of_10000) },
    { "R-053 no messageType", REFUSED(BAD_REQUEST, .message_type = "") },
    { "R-053 messageType twice", REFUSED(BAD_REQUEST, .doubled = MESSAGE_TYPE) },
    { "R-053 messageType with two values", REFUSED(BAD_REQUEST, .two_values = MESSAGE_TYPE) },
    { "R-053 messageType as UTF8String",
      REFUSED(BAD_REQUEST, .message_type_tag = V_ASN1_UTF8STRING) },
    { "S-19 senderNonce twice", REFUSED(BAD_REQUEST, .doubled = SENDER_NONCE) },
    { "S-19 senderNonce with two values", REFUSED(BAD_REQUEST, .two_values = SENDER_NONCE) },
    { "R-057 a senderNonce of 65 bytes", REFUSED(BAD_REQUEST, .nonce_length = 65) },
};

static const variant bad_contents[] = {
    { "R-050 Q-44 eContentType envelopedData",
      REFUSED(BAD_REQUEST, .content_type = "1.2.840.113549.1.7.3") },
    { "R-051 no eContent", REFUSED(BAD_REQUEST, .no_content = true) },
    { "R-061 something else than data in the envelope",
      REFUSED(BAD_REQUEST, .inner_content_type = "1.2.840.113549.1.7.2") },
    { "R-093 a CSR without an envelope", REFUSED(BAD_REQUEST, .plain = true) },
    { "S-15 two recipients", REFUSED(BAD_REQUEST, .recipients = 2) },
    { "no recipient", REFUSED(BAD_REQUEST, .recipients = -1) },
    { "S-32 a password recipient", REFUSED(BAD_REQUEST, .password_recipient = true) },
    { "S-32 a recipient with a key of its own", REFUSED(BAD_REQUEST, .key_recipient = true) },
    { "S-32 a key-agreement recipient", REFUSED(BAD_REQUEST, 0),
      .recipient = odd_elliptic_recipient },
};

static const variant bad_algorithms[] = {
    { "S-17 AuthEnvelopedData", REFUSED(BAD_ALG, 0), .cipher = EVP_aes_128_gcm },
    { "S-17 AES in output feedback", REFUSED(BAD_ALG, 0), .cipher = EVP_aes_128_ofb },
    { "S-17 AES in cipher feedback", REFUSED(BAD_ALG, 0), .cipher = EVP_aes_256_cfb },
    { "R-065 single DES", REFUSED(BAD_ALG, 0), .cipher = EVP_des_cbc },
    { "R-064 RC2", REFUSED(BAD_ALG, 0), .cipher = EVP_rc2_cbc },
    { "R-065 MD5", REFUSED(BAD_ALG, 0), .digest = EVP_md5 },
    { "D-16 MD5 and DES", REFUSED(BAD_ALG, 0), .digest = EVP_md5, .cipher = EVP_des_cbc },
    { "S-31 md5WithRSAEncryption over SHA-256",
      REFUSED(BAD_ALG, .signature_algorithm = "1.2.840.113549.1.1.4") },
    { "S-31 DSA named over an RSA key",
      REFUSED(BAD_ALG, .signature_algorithm = "2.16.840.1.101.3.4.3.2") },
    { "S-31 ECDSA named over an RSA key",
      REFUSED(BAD_ALG, .signature_algorithm = "1.2.840.10045.4.3.2") },
    { "S-31 Ed25519 named over an RSA key",
      REFUSED(BAD_ALG, .signature_algorithm = "1.3.101.112") },
    { "S-31 RSA-PSS without parameters",
      REFUSED(BAD_ALG, .signature_algorithm = "1.2.840.113549.1.1.10") },
    { "S-31 an unknown signature algorithm", REFUSED(BAD_ALG, .signature_algorithm = "1.2.3.4") },
};

static const variant bad_keys[] = {
    { "S-18 an RSA key of 768 bits", REFUSED(BAD_ALG, 0), .signer_key = odd_rsa_768 },
    { "S-43 an RSA exponent of 65 bits", REFUSED(BAD_ALG, 0), .signer_key = odd_long_exponent },
    { "S-43 a curve that is not NIST's", REFUSED(BAD_ALG, 0), .signer_key = odd_secp256k1 },
    { "S-43 a curve without a name", REFUSED(BAD_ALG, 0), .signer_key = odd_explicit_curve },
    { "S-43 an RSA key of 16384 bits", REFUSED(BAD_ALG, 0), .signer = odd_long_serial,
      .sent_instead = odd_huge_key },
    { "S-31 an Ed25519 key", REFUSED(BAD_ALG, 0), .signer = odd_long_serial,
      .sent_instead = odd_edwards_key },
    { "R-059 no signer certificate", REFUSED(BAD_MESSAGE, .without_signer = true) },
    { "R-059 another certificate", REFUSED(BAD_MESSAGE, 0), .sent_instead = odd_other_certificate },
    { "the signer's name over another key", REFUSED(BAD_MESSAGE, 0), .signer = odd_long_serial,
      .sent_instead = odd_same_name_other_key },
};

static const variant unanswerable[] = {
    { "R-052 no signed attributes", UNANSWERABLE(.without_attributes = true) },
    { "S-19 the attributes are unsigned", UNANSWERABLE(.unsigned_attributes = true) },
    { "R-055 no transactionID", UNANSWERABLE(.transaction_id = "") },
    { "S-19 transactionID twice", UNANSWERABLE(.doubled = TRANSACTION_ID) },
    { "S-19 transactionID with two values", UNANSWERABLE(.two_values = TRANSACTION_ID) },
    { "transactionID as UTF8String", UNANSWERABLE(.transaction_id_tag = V_ASN1_UTF8STRING) },
    { "S-21 a transactionID of 256 bytes", UNANSWERABLE(.transaction_id = transaction_id_of_256) },
    { "R-060 no signer", UNANSWERABLE(.signers = -1) },
    { "R-060 two signers", UNANSWERABLE(.signers = 2) },
    { "S-41 17 CRLs", UNANSWERABLE(.crls = 17) },
    { "S-42 an attribute nested 25 deep", UNANSWERABLE(.nested_attribute = 17) },
    { "S-42 the same in BER", UNANSWERABLE(.nested_attribute = 17, .ber = true) },
};

static void is_refused(const variant *v, const scep_accept *accept)
{
    fixture_sent *sent = build(v);
    scep_message *m = (scep_message *)sent;

    assert_code(v->code, scep_message_open(&m, sent->der, accept, p));
    ck_assert_msg((m != NULL) == v->answerable, "%s: answerable", v->name);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    if (m)
        assert_bytes(m->transaction_id, scep_bytes_of(sent->transaction_id));
}

START_TEST(R_053_R_054_R_057_S_19_bad_attributes_are_refused)
{
    is_refused(&bad_attributes[_i], &default_accept);
}
END_TEST

START_TEST(R_050_R_051_R_061_R_093_Q_44_S_15_S_32_other_contents_are_refused)
{
    is_refused(&bad_contents[_i], &default_accept);
}
END_TEST

START_TEST(R_064_R_065_D_16_S_17_S_31_other_algorithms_are_refused)
{
    is_refused(&bad_algorithms[_i], &default_accept);
}
END_TEST

START_TEST(R_059_S_18_S_31_S_43_bad_keys_and_certificates_are_refused)
{
    is_refused(&bad_keys[_i], &default_accept);
}
END_TEST

START_TEST(R_052_R_055_R_060_S_19_S_21_S_41_S_42_what_cannot_be_answered_is_refused)
{
    is_refused(&unanswerable[_i], &default_accept);
}
END_TEST

START_TEST(R_056_a_request_without_a_nonce_is_refused_where_one_is_required)
{
    const scep_accept strict = { .minimum_hash_bits = 160, .nonce_required = true };
    const variant none = { "R-056 no nonce", REFUSED(BAD_REQUEST, .nonce_length = -1) };
    const variant one = { .name = "a nonce" };

    is_refused(&none, &strict);
    is_accepted(&one, &strict);
}
END_TEST

/* 2026-06-15 12:00 UTC */
#define NOON 1781524800

START_TEST(R_068_a_signing_time_too_far_off_is_refused_where_time_is_looked_at)
{
    const struct {
        const char *time;
        bool good;
    } times[] = {
        { "260615120000Z", true },     { "260615115000Z", true },
        { "260615121000Z", true },     { "260615114959Z", false },
        { "260615121001Z", false },    { "250615120000Z", false },
        { "not a time", false },       { "2606151200", false },
        { "260615140000+0200", true }, { "", false },
        { "260615125900+0100", true },
    };
    const scep_accept strict = { .minimum_hash_bits = 160, .clock_skew = 10 };

    scep_clock_set(apr_time_from_sec(NOON));
    for (int i = 0; i < ROWS(times); i++) {
        variant v = { times[i].time, REFUSED(BAD_TIME, .signing_time = times[i].time) };
        scep_message *m;

        if (times[i].good)
            assert_ok(scep_message_open(&m, build(&v)->der, &strict, p));
        else
            is_refused(&v, &strict);
        assert_ok(scep_message_open(&m, build(&v)->der, &default_accept, p));
    }
    scep_clock_set(0);
}
END_TEST

/* S-41: decoding one takes a tenth of a millisecond, whoever sends it. */
START_TEST(S_41_at_most_16_certificates_are_decoded)
{
    const bool indefinite = _i;
    scep_message *m;

    for (int extras = 15; extras <= 17; extras++) {
        variant v = { .name = "many certificates", .r = { .extras = extras } };
        scep_bytes der = build(&v)->der;

        if (indefinite)
            der = fixture_indefinite(der, p);
        if (extras == 15)
            assert_ok(scep_message_open(&m, der, &default_accept, p));
        else
            assert_code(SCEP_UNDECODABLE, scep_message_open(&m, der, &default_accept, p));
    }
}
END_TEST

START_TEST(R_058_a_changed_message_fails_its_signature)
{
    fixture_sent *sent = build(&(variant){ .name = "changed" });
    size_t content = fixture_find(sent->der, sent->envelope) + sent->envelope.len - 1;
    size_t nonce = fixture_find(sent->der, sent->nonce);
    size_t id = fixture_find(sent->der, scep_bytes_of(sent->transaction_id));
    const size_t at[] = { sent->der.len - 1, sent->der.len - 200, content, nonce, id };
    scep_message *m;

    for (int i = 0; i < ROWS(at); i++) {
        assert_code(SCEP_BAD_MESSAGE, scep_message_open(&m, fixture_flip(sent->der, at[i], 1, p),
                                                        &default_accept, p));
        ck_assert_ptr_nonnull(m);
    }
}
END_TEST

/* S-45: the allow-list comes before the signature, which costs more. */
START_TEST(S_45_algorithms_are_checked_before_the_signature)
{
    const variant des = { .cipher = EVP_des_cbc };
    fixture_sent *sent = build(&des);
    scep_message *m;

    assert_code(SCEP_BAD_ALG,
                scep_message_open(&m, fixture_flip(sent->der, sent->der.len - 1, 1, p),
                                  &default_accept, p));
}
END_TEST

START_TEST(R_069_what_is_no_pkimessage_is_not_answerable)
{
    fixture_sent *sent = build(&(variant){ .name = "no message" });
    unsigned char *longer = apr_pcalloc(p, sent->der.len + 1);
    const scep_bytes bodies[] = {
        { NULL, 0 },
        scep_bytes_of("hello"),
        scep_bytes_of("MIIJLgYJKoZIhvcNAQcCoIIJHzCCCRsCAQEx"),
        sent->csr,
        sent->envelope,
        { sent->der.data, sent->der.len - 1 },
        { sent->der.data, sent->der.len / 2 },
        { sent->der.data + 1, sent->der.len - 1 },
        { longer, sent->der.len + 1 },
    };
    scep_message *m = (scep_message *)sent;

    memcpy(longer, sent->der.data, sent->der.len);
    for (int i = 0; i < ROWS(bodies); i++) {
        assert_code(SCEP_UNDECODABLE, scep_message_open(&m, bodies[i], &default_accept, p));
        ck_assert_ptr_null(m);
        ck_assert_uint_eq(ERR_peek_error(), 0);
    }
}
END_TEST

/* Self-signed is what its own key signed, not what names say. */
START_TEST(S_08_self_signed_is_proved_by_the_signature)
{
    const variant pretended = { .signer = odd_badly_signed }, by_ca = { .signer = odd_issued };
    scep_message *m;

    assert_ok(scep_message_open(&m, build(&pretended)->der, &default_accept, p));
    ck_assert(!scep_message_is_self_signed(m));
    assert_ok(scep_message_open(&m, build(&by_ca)->der, &default_accept, p));
    ck_assert(!scep_message_is_self_signed(m));
}
END_TEST

static void add_tests(TCase *cases)
{
    memset(transaction_id_of_255, 'T', 255);
    memset(transaction_id_of_256, 'T', 256);
    memset(type_of_10000, '1', 10000);
    tcase_add_loop_test(cases, R_066_R_067_Q_48_Q_50_Q_52_acceptable_algorithms_are_accepted, 0,
                        ROWS(good_algorithms));
    tcase_add_loop_test(cases, Q_45_Q_49_Q_55_S_41_S_42_other_forms_of_a_message_are_accepted, 0,
                        ROWS(good_forms));
    tcase_add_loop_test(cases, R_056_R_057_Q_33_nonces_and_message_types_are_accepted, 0,
                        ROWS(good_attributes));
    tcase_add_loop_test(cases, Q_34_D_06_S_21_a_transaction_id_is_taken_verbatim, 0,
                        ROWS(good_transaction_ids));
    tcase_add_loop_test(
        cases,
        R_070_R_081_D_03_D_12_Q_61_Q_62_Q_63_Q_64_what_a_signers_certificate_says_does_not_matter,
        0, ROWS(good_signers));
    tcase_add_loop_test(cases, R_053_R_054_R_057_S_19_bad_attributes_are_refused, 0,
                        ROWS(bad_attributes));
    tcase_add_loop_test(cases, R_050_R_051_R_061_R_093_Q_44_S_15_S_32_other_contents_are_refused, 0,
                        ROWS(bad_contents));
    tcase_add_loop_test(cases, R_064_R_065_D_16_S_17_S_31_other_algorithms_are_refused, 0,
                        ROWS(bad_algorithms));
    tcase_add_loop_test(cases, R_059_S_18_S_31_S_43_bad_keys_and_certificates_are_refused, 0,
                        ROWS(bad_keys));
    tcase_add_loop_test(cases,
                        R_052_R_055_R_060_S_19_S_21_S_41_S_42_what_cannot_be_answered_is_refused, 0,
                        ROWS(unanswerable));
    tcase_add_test(cases, Q_45_a_message_with_indefinite_lengths_throughout_is_read);
    tcase_add_loop_test(cases, Q_51_the_signer_is_found_among_several_certificates, 0, 2);
    tcase_add_test(cases, R_056_a_request_without_a_nonce_is_refused_where_one_is_required);
    tcase_add_test(cases, R_068_a_signing_time_too_far_off_is_refused_where_time_is_looked_at);
    tcase_add_loop_test(cases, S_41_at_most_16_certificates_are_decoded, 0, 2);
    tcase_add_test(cases, R_058_a_changed_message_fails_its_signature);
    tcase_add_test(cases, S_45_algorithms_are_checked_before_the_signature);
    tcase_add_test(cases, R_069_what_is_no_pkimessage_is_not_answerable);
    tcase_add_test(cases, S_08_self_signed_is_proved_by_the_signature);
}

int main(void)
{
    return run_suite("message", add_tests);
}
