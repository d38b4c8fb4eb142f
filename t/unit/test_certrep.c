/* Replies: what a client finds in what scep_certrep_*() made. */
#include "odd.h"
#include "suite.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static const scep_accept default_accept = { 160 };

typedef struct variant {
    const char *name;
    fixture_request r;
    const EVP_MD *(*digest)(void);
    const EVP_CIPHER *(*cipher)(void);
    X509 *(*signer)(apr_pool_t *);
} variant;

static fixture_sent *build(const variant *v)
{
    fixture_request r = v->r;

    row = v->name ? v->name : "";
    r.digest = v->digest ? v->digest() : NULL;
    r.cipher = v->cipher ? v->cipher() : NULL;
    r.signer = v->signer ? v->signer(p) : NULL;
    return fixture_build(&r, p);
}

static scep_message *accepted(const fixture_sent *sent)
{
    scep_message *m = NULL;

    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    return m;
}

static fixture_reply *open_reply(scep_bytes der, const fixture_sent *sent)
{
    const char *why;
    fixture_reply *reply = fixture_open(der, sent->signer, sent->signer_key, &why, p);

    ck_assert_msg(reply != NULL, "%s: %s", row, why);
    return reply;
}

/* true of every reply. */
static void assert_reply(const fixture_reply *reply, const fixture_sent *sent, const char *status,
                         const scep_signer *ra)
{
    ck_assert(reply->verified);
    ck_assert_int_eq(X509_cmp(reply->ra, ra->cert), 0);
    ck_assert_int_eq(reply->outer_certs, 1);
    ck_assert_int_eq(reply->signed_version, 1);
    ck_assert_pstr_eq(reply->message_type, "3");
    ck_assert_pstr_eq(reply->pki_status, status);
    ck_assert_pstr_eq(reply->transaction_id, sent->transaction_id);
    ck_assert_uint_eq(reply->sender_nonce.len, 16);
    assert_bytes(reply->recipient_nonce, sent->nonce);
    ck_assert(!scep_bytes_equal(reply->sender_nonce, sent->nonce));
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

static X509 *leaf(const fixture_sent *sent)
{
    const fixture_ca *ca = fixture_ca_get();

    return fixture_cert("CN=device", sent->key, ca->root, ca->root_key, false, 0, p);
}

static const scep_signer *signer(void)
{
    return &fixture_ca_get()->ra.sign;
}

/* ---- SUCCESS ---- */

static const variant requests[] = {
    { .name = "R-066 SHA-256 and AES-128", .r = { 0 } },
    { .name = "R-067 SHA-1 and 3DES", .digest = EVP_sha1, .cipher = EVP_des_ede3_cbc },
    { .name = "SHA-224", .digest = EVP_sha224 },
    { .name = "SHA-384 and AES-192", .digest = EVP_sha384, .cipher = EVP_aes_192_cbc },
    { .name = "SHA-512 and AES-256", .digest = EVP_sha512, .cipher = EVP_aes_256_cbc },
    { .name = "Q-52 OAEP", .r = { .oaep = true } },
    { .name = "Q-33 no senderNonce", .r = { .nonce_length = -1 } },
    { .name = "R-057 a senderNonce of 8 bytes", .r = { .nonce_length = 8 } },
    { .name = "a senderNonce of 64 bytes", .r = { .nonce_length = 64 } },
    { .name = "Q-34 an odd transactionID", .r = { .transaction_id = "tid*&_@x ../=" } },
    { .name = "Q-61 another subject", .r = { .signer_subject = "CN=SCEP SIGNER" } },
    { .name = "Q-62 a negative serial", .signer = odd_negative_serial },
    { .name = "Q-63 a serial of 32 bytes", .signer = odd_long_serial },
    { .name = "Q-64 version 1", .signer = odd_version_1 },
    { .name = "R-070 an expired signer", .signer = odd_expired },
    { .name = "R-070 a signer for certificates only", .signer = odd_for_certificates_only },
    { .name = "Q-45 BER", .r = { .ber = true } },
};

/* encrypted to the signer, with the algorithms it used. */
START_TEST(success_brings_the_certificate_in_the_requests_own_algorithms)
{
    const variant *v = &requests[_i];
    fixture_sent *sent = build(v);
    X509_STACK *certs = scep_borrowed_stack(p);
    X509 *cert = leaf(sent);
    scep_bytes der;
    fixture_reply *reply;

    FIXTURE_MUST(sk_X509_push(certs, cert));
    assert_ok(scep_certrep_success(&der, accepted(sent), certs, signer(), p));
    reply = open_reply(der, sent);
    assert_reply(reply, sent, "0", signer());
    ck_assert_ptr_null(reply->fail_info);
    ck_assert_ptr_null(reply->fail_info_text);
    ck_assert_int_eq(reply->digest_nid, EVP_MD_get_type(v->digest ? v->digest() : EVP_sha256()));
    ck_assert_int_eq(reply->cipher_nid,
                     EVP_CIPHER_get_nid(v->cipher ? v->cipher() : EVP_aes_128_cbc()));
    ck_assert_int_eq(reply->key_transport_nid, v->r.oaep ? NID_rsaesOaep : NID_rsaEncryption);
    ck_assert_int_eq(reply->enveloped_version, 0);
    ck_assert_int_eq(sk_X509_num(reply->certs), 1);
    ck_assert_int_eq(X509_cmp(sk_X509_value(reply->certs, 0), cert), 0);
}
END_TEST

/* D-04, Q-42, O-14: DER would sort the set by its encoding, so both orders of size are tried. */
START_TEST(the_leaf_comes_first_whatever_its_size)
{
    const char *names[] = { "CN=d", "CN=device,O=An organisation with a name of many words,"
                                    "OU=A unit with a long name,L=A place with a long name" };
    const fixture_ca *ca = fixture_ca_get();
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    X509 *cert = fixture_cert(names[_i], sent->key, ca->root, ca->root_key, false,
                              _i ? KU_DIGITAL_SIGNATURE : 0, p);
    X509_STACK *certs = scep_borrowed_stack(p);
    scep_bytes der;
    fixture_reply *reply;

    ck_assert((i2d_X509(cert, NULL) > i2d_X509(ca->root, NULL)) == (_i == 1));
    FIXTURE_MUST(sk_X509_push(certs, cert) && sk_X509_push(certs, ca->root));
    assert_ok(scep_certrep_success(&der, accepted(sent), certs, signer(), p));
    reply = open_reply(der, sent);
    ck_assert_int_eq(sk_X509_num(reply->certs), 2);
    ck_assert_int_eq(X509_cmp(sk_X509_value(reply->certs, 0), cert), 0);
    ck_assert_int_eq(X509_cmp(sk_X509_value(reply->certs, 1), ca->root), 0);
}
END_TEST

/* no silent key agreement. */
START_TEST(an_elliptic_signer_cannot_be_answered_with_success)
{
    fixture_request r = { .key = odd_p256(p) };
    fixture_sent *sent = fixture_build(&r, p);
    X509_STACK *certs = scep_borrowed_stack(p);
    scep_bytes der = { 0 };

    FIXTURE_MUST(sk_X509_push(certs, leaf(sent)));
    assert_code(SCEP_BAD_ALG, scep_certrep_success(&der, accepted(sent), certs, signer(), p));
    ck_assert_ptr_null(der.data);
    assert_ok(scep_certrep_failure(&der, accepted(sent), 0, NULL, EVP_sha256(), signer(), p));
    assert_reply(open_reply(der, sent), sent, "2", signer());
}
END_TEST

START_TEST(an_elliptic_ra_signs_replies)
{
    const fixture_ca *ca = fixture_ca_get();
    scep_signer ra = { .key = odd_p384(p) };
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    X509_STACK *certs = scep_borrowed_stack(p);
    scep_bytes der;

    ra.cert = fixture_cert("ec", ra.key, ca->root, ca->root_key, false, KU_DIGITAL_SIGNATURE, p);
    FIXTURE_MUST(sk_X509_push(certs, leaf(sent)));
    assert_ok(scep_certrep_success(&der, accepted(sent), certs, &ra, p));
    assert_reply(open_reply(der, sent), sent, "0", &ra);
}
END_TEST

/* ---- FAILURE and PENDING ---- */

static char text_of_255[256], text_of_256[257];

/* */
START_TEST(failure_says_why_and_holds_nothing)
{
    const char *texts[] = { NULL, "request not permitted", "gr\xC3\xBC\xC3\x9F\x65", text_of_255,
                            "0x80070490" };
    const char digits[5][2] = { "0", "1", "2", "3", "4" };
    fixture_sent *sent = fixture_build(&(fixture_request){ .nonce_length = _i ? 16 : -1 }, p);
    scep_bytes der;
    fixture_reply *reply;

    assert_ok(scep_certrep_failure(&der, accepted(sent), _i, texts[_i], EVP_sha512(), signer(), p));
    reply = open_reply(der, sent);
    assert_reply(reply, sent, "2", signer());
    ck_assert_pstr_eq(reply->fail_info, digits[_i]);
    ck_assert_pstr_eq(reply->fail_info_text, texts[_i]);
    ck_assert_int_eq(reply->cipher_nid, 0);
    ck_assert_ptr_null(reply->certs);
    ck_assert_int_eq(reply->digest_nid, NID_sha256);
}
END_TEST

START_TEST(a_failure_out_of_range_is_not_sent)
{
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    scep_message *m = accepted(sent);
    scep_bytes der;

    assert_code(SCEP_INTERNAL, scep_certrep_failure(&der, m, -1, NULL, EVP_sha256(), signer(), p));
    assert_code(SCEP_INTERNAL, scep_certrep_failure(&der, m, 5, NULL, EVP_sha256(), signer(), p));
    assert_code(SCEP_INTERNAL,
                scep_certrep_failure(&der, m, 2, text_of_256, EVP_sha256(), signer(), p));
}
END_TEST

static const struct {
    variant v;
    scep_code code;
    int digest_nid; /* of the reply */
} refused[] = {
    { { .name = "MD5 is answered with the fallback", .digest = EVP_md5 },
      SCEP_BAD_ALG,
      NID_sha384 },
    { { .name = "DES is answered with the request's digest",
        .cipher = EVP_des_cbc,
        .digest = EVP_sha1 },
      SCEP_BAD_ALG,
      NID_sha1 },
    { { .name = "an unknown messageType", .r = { .message_type = "18" } }, SCEP_BAD_REQUEST, 0 },
    { { .name = "a doubled senderNonce", .r = { .doubled = "2.16.840.1.113733.1.9.5" } },
      SCEP_BAD_REQUEST,
      0 },
    { { .name = "no signer certificate", .r = { .without_signer = true } }, SCEP_BAD_MESSAGE, 0 },
    { { .name = "no envelope", .r = { .plain = true } }, SCEP_BAD_REQUEST, 0 },
    { { .name = "no content", .r = { .no_content = true } }, SCEP_BAD_REQUEST, 0 },
};

/* Whatever could be read of the request is enough for a signed FAILURE. */
START_TEST(a_request_that_was_refused_is_answerable)
{
    fixture_sent *sent = build(&refused[_i].v);
    scep_message *m = NULL;
    fixture_reply *reply;
    scep_bytes der;

    assert_code(refused[_i].code, scep_message_open(&m, sent->der, &default_accept, p));
    ck_assert_ptr_nonnull(m);
    assert_ok(scep_certrep_failure(&der, m, 2, "text", EVP_sha384(), signer(), p));
    reply = open_reply(der, sent);
    ck_assert(reply->verified);
    ck_assert_pstr_eq(reply->pki_status, "2");
    ck_assert_pstr_eq(reply->transaction_id, sent->transaction_id);
    if (m->sender_nonce.len)
        assert_bytes(reply->recipient_nonce, sent->nonce);
    else
        ck_assert_uint_eq(reply->recipient_nonce.len, 0);
    if (refused[_i].digest_nid)
        ck_assert_int_eq(reply->digest_nid, refused[_i].digest_nid);
}
END_TEST

/* */
START_TEST(pending_holds_nothing_and_gives_no_reason)
{
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    scep_bytes der;
    fixture_reply *reply;

    assert_ok(scep_certrep_pending(&der, accepted(sent), signer(), p));
    reply = open_reply(der, sent);
    assert_reply(reply, sent, "3", signer());
    ck_assert_ptr_null(reply->fail_info);
    ck_assert_ptr_null(reply->fail_info_text);
    ck_assert_ptr_null(reply->certs);
    ck_assert_int_eq(reply->cipher_nid, 0);
}
END_TEST

/* some clients refuse a senderNonce they have seen. */
START_TEST(every_reply_has_a_nonce_of_its_own)
{
    enum { REPLIES = 200 };
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    scep_message *m = accepted(sent);
    scep_bytes nonces[REPLIES], der;

    for (int i = 0; i < REPLIES; i++) {
        assert_ok(scep_certrep_failure(&der, m, 2, NULL, EVP_sha256(), signer(), p));
        nonces[i] = open_reply(der, sent)->sender_nonce;
        for (int k = 0; k < i; k++)
            ck_assert(!scep_bytes_equal(nonces[i], nonces[k]));
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    memset(text_of_255, 't', 255);
    memset(text_of_256, 't', 256);
    tcase_add_loop_test(cases, success_brings_the_certificate_in_the_requests_own_algorithms, 0,
                        ROWS(requests));
    tcase_add_loop_test(cases, the_leaf_comes_first_whatever_its_size, 0, 2);
    tcase_add_test(cases, an_elliptic_signer_cannot_be_answered_with_success);
    tcase_add_test(cases, an_elliptic_ra_signs_replies);
    tcase_add_loop_test(cases, failure_says_why_and_holds_nothing, 0, 5);
    tcase_add_test(cases, a_failure_out_of_range_is_not_sent);
    tcase_add_loop_test(cases, a_request_that_was_refused_is_answerable, 0, ROWS(refused));
    tcase_add_test(cases, pending_holds_nothing_and_gives_no_reason);
    tcase_add_test(cases, every_reply_has_a_nonce_of_its_own);
}

int main(void)
{
    return run_suite("certrep", add_tests);
}
