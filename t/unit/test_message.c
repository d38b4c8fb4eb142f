/* Requests taken apart: what scep_message_open() accepts, refuses, and reports. */
#include "odd.h"
#include "suite.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <string.h>

static const scep_accept default_accept = { 160 };

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

static const variant accepted[] = {
    { .name = "R-066 SHA-256 and AES-128", .r = { 0 } },
    { .name = "R-067 SHA-1 and 3DES", .r = { 0 }, .digest = EVP_sha1, .cipher = EVP_des_ede3_cbc },
    { .name = "SHA-224", .r = { 0 }, .digest = EVP_sha224 },
    { .name = "SHA-384 and AES-192", .r = { 0 }, .digest = EVP_sha384, .cipher = EVP_aes_192_cbc },
    { .name = "Q-50 SHA-512 and AES-256",
      .r = { 0 },
      .digest = EVP_sha512,
      .cipher = EVP_aes_256_cbc },
    { .name = "an RSA-PSS signature", .r = { .pss = true } },
    { .name = "Q-52 OAEP key transport", .r = { .oaep = true } },
    { .name = "an ECDSA signature", .r = { 0 }, .signer_key = odd_p256 },
    { .name = "an RSA key of 1024 bits", .r = { 0 }, .signer_key = odd_rsa_1024 },
    { .name = "Q-45 BER with indefinite lengths", .r = { .ber = true } },
    { .name = "Q-48 sha256WithRSAEncryption as signature algorithm",
      .r = { .signature_algorithm = "1.2.840.113549.1.1.11" } },
    { .name = "Q-49 CMSAlgorithmProtection", .r = { .more_attribute = "1.2.840.113549.1.9.52" } },
    { .name = "Q-49 randomNonce", .r = { .more_attribute = "1.2.840.113549.1.9.25.3" } },
    { .name = "a signer named by key identifier", .r = { .signer_by_key_id = true } },
    { .name = "Q-55 a recipient named by key identifier", .r = { .recipient_by_key_id = true } },
    { .name = "R-056 no senderNonce", .r = { .nonce_length = -1 } },
    { .name = "R-057 a senderNonce of 8 bytes", .r = { .nonce_length = 8 } },
    { .name = "R-057 a senderNonce of 32 bytes", .r = { .nonce_length = 32 } },
    { .name = "a senderNonce of 64 bytes", .r = { .nonce_length = 64 } },
    { .name = "messageType 17", .r = { .message_type = "17" } },
    { .name = "messageType 20", .r = { .message_type = "20" } },
    { .name = "messageType 21", .r = { .message_type = "21" } },
    { .name = "messageType 22", .r = { .message_type = "22" } },
    { .name = "Q-34 a transactionID no PrintableString may hold",
      .r = { .transaction_id = "tid*&_@x" } },
    { .name = "Q-34 a transactionID in base64",
      .r = { .transaction_id = "9m0LaGFFpVcwg6Q4IqFzK4olp9w=" } },
    { .name = "Q-34 a transactionID with a space",
      .r = { .transaction_id = "SSCEP transactionId" } },
    { .name = "S-21 a transactionID that looks like a path",
      .r = { .transaction_id = "../../etc/x" } },
    { .name = "a transactionID of one byte", .r = { .transaction_id = "1" } },
    { .name = "a transactionID of 255 bytes", .r = { .transaction_id = transaction_id_of_255 } },
    { .name = "R-070 an expired signer", .r = { 0 }, .signer = odd_expired },
    { .name = "R-070 a signer that is not valid yet", .r = { 0 }, .signer = odd_not_yet_valid },
    { .name = "R-070 a signer whose key usage does not fit",
      .r = { 0 },
      .signer = odd_for_certificates_only },
    { .name = "Q-61 a signer with another subject", .r = { .signer_subject = "CN=SCEP SIGNER" } },
    { .name = "Q-62 a signer with a negative serial", .r = { 0 }, .signer = odd_negative_serial },
    { .name = "Q-63 a signer with a serial of 32 bytes", .r = { 0 }, .signer = odd_long_serial },
    { .name = "Q-64 a signer certificate of version 1", .r = { 0 }, .signer = odd_version_1 },
};

START_TEST(an_acceptable_request_is_taken_apart)
{
    const variant *v = &accepted[_i];
    fixture_sent *sent = build(v);
    const char *type = v->r.message_type ? v->r.message_type : "19";
    scep_message *m = NULL;

    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    ck_assert_int_eq(m->message_type, atoi(type));
    assert_bytes(m->transaction_id, scep_bytes_of(sent->transaction_id));
    assert_bytes(m->sender_nonce, sent->nonce);
    ck_assert_int_eq(X509_cmp(m->signer, sent->signer), 0);
    ck_assert_int_eq(EVP_PKEY_eq(m->signer_key, sent->signer_key), 1);
    ck_assert(m->self_signed);
    ck_assert_int_eq(EVP_MD_get_type(m->digest),
                     EVP_MD_get_type(v->digest ? v->digest() : EVP_sha256()));
    ck_assert_int_eq(EVP_CIPHER_get_nid(m->cipher),
                     EVP_CIPHER_get_nid(v->cipher ? v->cipher() : EVP_aes_128_cbc()));
    ck_assert_ptr_nonnull(m->envelope);
    ck_assert_int_eq(CMS_RecipientInfo_type(m->recipient), CMS_RECIPINFO_TRANS);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* the DER order of the set puts either certificate first. */
START_TEST(the_signer_is_found_among_several_certificates)
{
    X509 *longer = fixture_cert("CN=a,O=a certificate that is longer than the signer's,OU=x",
                                fixture_key(1), NULL, NULL, false, KU_KEY_CERT_SIGN, p);
    X509 *shorter = odd_version_1(p);
    fixture_request r = { .extra = _i ? longer : shorter };
    fixture_sent *sent = fixture_build(&r, p);
    scep_message *m = NULL;

    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    ck_assert_int_eq(X509_cmp(m->signer, sent->signer), 0);
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

static const variant refused[] = {
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
    { "R-050 eContentType envelopedData",
      REFUSED(BAD_REQUEST, .content_type = "1.2.840.113549.1.7.3") },
    { "R-051 no eContent", REFUSED(BAD_REQUEST, .no_content = true) },
    { "R-061 something else than data in the envelope",
      REFUSED(BAD_REQUEST, .inner_content_type = "1.2.840.113549.1.7.2") },
    { "R-093 a CSR without an envelope", REFUSED(BAD_REQUEST, .plain = true) },
    { "S-15 two recipients", REFUSED(BAD_REQUEST, .recipients = 2) },
    { "no recipient", REFUSED(BAD_REQUEST, .recipients = -1) },
    { "S-32 a password recipient", REFUSED(BAD_REQUEST, .password_recipient = true) },
    { "S-32 a key-agreement recipient", REFUSED(BAD_REQUEST, 0),
      .recipient = odd_elliptic_recipient },
    { "S-17 AuthEnvelopedData", REFUSED(BAD_REQUEST, 0), .cipher = EVP_aes_128_gcm },
    { "S-17 AES in output feedback", REFUSED(BAD_ALG, 0), .cipher = EVP_aes_128_ofb },
    { "S-17 AES in cipher feedback", REFUSED(BAD_ALG, 0), .cipher = EVP_aes_256_cfb },
    { "R-065 single DES", REFUSED(BAD_ALG, 0), .cipher = EVP_des_cbc },
    { "R-064 RC2", REFUSED(BAD_ALG, 0), .cipher = EVP_rc2_cbc },
    { "R-065 MD5", REFUSED(BAD_ALG, 0), .digest = EVP_md5 },
    { "S-31 md5WithRSAEncryption over SHA-256",
      REFUSED(BAD_ALG, .signature_algorithm = "1.2.840.113549.1.1.4") },
    { "S-31 DSA named over an RSA key",
      REFUSED(BAD_ALG, .signature_algorithm = "2.16.840.1.101.3.4.3.2") },
    { "S-31 ECDSA named over an RSA key",
      REFUSED(BAD_ALG, .signature_algorithm = "1.2.840.10045.4.3.2") },
    { "S-31 an unknown signature algorithm", REFUSED(BAD_ALG, .signature_algorithm = "1.2.3.4") },
    { "S-18 an RSA key of 768 bits", REFUSED(BAD_ALG, 0), .signer_key = odd_rsa_768 },
    { "S-43 an RSA exponent of 65 bits", REFUSED(BAD_ALG, 0), .signer_key = odd_long_exponent },
    { "S-43 a curve that is not NIST's", REFUSED(BAD_ALG, 0), .signer_key = odd_secp256k1 },
    { "S-43 a curve without a name", REFUSED(BAD_ALG, 0), .signer_key = odd_explicit_curve },
    { "S-43 an RSA key of 16384 bits", REFUSED(BAD_ALG, 0), .signer = odd_long_serial,
      .sent_instead = odd_huge_key },
    { "R-059 no signer certificate", REFUSED(BAD_MESSAGE, .without_signer = true) },
    { "R-059 another certificate", REFUSED(BAD_MESSAGE, 0), .sent_instead = odd_other_certificate },
    { "the signer's name over another key", REFUSED(BAD_MESSAGE, 0), .signer = odd_long_serial,
      .sent_instead = odd_same_name_other_key },
    { "R-052 no signed attributes", UNANSWERABLE(.without_attributes = true) },
    { "S-19 the attributes are unsigned", UNANSWERABLE(.unsigned_attributes = true) },
    { "R-055 no transactionID", UNANSWERABLE(.transaction_id = "") },
    { "S-19 transactionID twice", UNANSWERABLE(.doubled = TRANSACTION_ID) },
    { "S-19 transactionID with two values", UNANSWERABLE(.two_values = TRANSACTION_ID) },
    { "transactionID as UTF8String", UNANSWERABLE(.transaction_id_tag = V_ASN1_UTF8STRING) },
    { "S-21 a transactionID of 256 bytes", UNANSWERABLE(.transaction_id = transaction_id_of_256) },
    { "R-060 no signer", UNANSWERABLE(.signers = -1) },
    { "R-060 two signers", UNANSWERABLE(.signers = 2) },
};

START_TEST(an_unacceptable_request_is_refused)
{
    const variant *v = &refused[_i];
    fixture_sent *sent = build(v);
    scep_message *m = (scep_message *)sent;

    assert_code(v->code, scep_message_open(&m, sent->der, &default_accept, p));
    ck_assert_msg((m != NULL) == v->answerable, "%s: answerable", v->name);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    if (m)
        assert_bytes(m->transaction_id, scep_bytes_of(sent->transaction_id));
}
END_TEST

/* S-18: the floor is the administrator's, whatever GetCACaps said. */
START_TEST(a_digest_below_the_minimum_is_refused)
{
    const scep_accept strict = { 256 };
    const variant sha1 = { .digest = EVP_sha1 }, sha224 = { .digest = EVP_sha224 };
    scep_message *m;

    assert_code(SCEP_BAD_ALG, scep_message_open(&m, build(&sha1)->der, &strict, p));
    assert_code(SCEP_BAD_ALG, scep_message_open(&m, build(&sha224)->der, &strict, p));
    assert_ok(scep_message_open(&m, build(&accepted[0])->der, &strict, p));
}
END_TEST

/* The operator must be able to act on it. */
START_TEST(a_refused_algorithm_is_named)
{
    const variant des = { .cipher = EVP_des_cbc }, md5 = { .digest = EVP_md5 };
    scep_message *m;
    const scep_err *err = scep_message_open(&m, build(&des)->der, &default_accept, p);

    assert_code(SCEP_BAD_ALG, err);
    ck_assert_msg(strcasestr(err->detail, "des") != NULL, "%s", err->detail);
    err = scep_message_open(&m, build(&md5)->der, &default_accept, p);
    assert_code(SCEP_BAD_ALG, err);
    ck_assert_msg(strcasestr(err->detail, "md5") != NULL, "%s", err->detail);
}
END_TEST

/* */
START_TEST(a_changed_message_fails_its_signature)
{
    fixture_sent *sent = build(&accepted[0]);
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
START_TEST(algorithms_are_checked_before_the_signature)
{
    const variant des = { .cipher = EVP_des_cbc };
    fixture_sent *sent = build(&des);
    scep_message *m;

    assert_code(SCEP_BAD_ALG,
                scep_message_open(&m, fixture_flip(sent->der, sent->der.len - 1, 1, p),
                                  &default_accept, p));
}
END_TEST

/* */
START_TEST(what_is_no_pkimessage_is_not_answerable)
{
    fixture_sent *sent = build(&accepted[0]);
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

/* Self-signed is what its own key signed, not what names say (S-08). */
START_TEST(self_signed_is_proved_by_the_signature)
{
    const variant pretended = { .signer = odd_badly_signed }, by_ca = { .signer = odd_issued };
    scep_message *m;

    assert_ok(scep_message_open(&m, build(&pretended)->der, &default_accept, p));
    ck_assert(!m->self_signed);
    assert_ok(scep_message_open(&m, build(&by_ca)->der, &default_accept, p));
    ck_assert(!m->self_signed);
}
END_TEST

static void add_tests(TCase *cases)
{
    memset(transaction_id_of_255, 'T', 255);
    memset(transaction_id_of_256, 'T', 256);
    memset(type_of_10000, '1', 10000);
    tcase_add_loop_test(cases, an_acceptable_request_is_taken_apart, 0, ROWS(accepted));
    tcase_add_loop_test(cases, the_signer_is_found_among_several_certificates, 0, 2);
    tcase_add_loop_test(cases, an_unacceptable_request_is_refused, 0, ROWS(refused));
    tcase_add_test(cases, a_digest_below_the_minimum_is_refused);
    tcase_add_test(cases, a_refused_algorithm_is_named);
    tcase_add_test(cases, a_changed_message_fails_its_signature);
    tcase_add_test(cases, algorithms_are_checked_before_the_signature);
    tcase_add_test(cases, what_is_no_pkimessage_is_not_answerable);
    tcase_add_test(cases, self_signed_is_proved_by_the_signature);
}

int main(void)
{
    return run_suite("message", add_tests);
}
