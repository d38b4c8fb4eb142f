/* Replies: the signed frame of each, and what FAILURE and PENDING say. */
#include "reply.h"

/* ---- what every kind of reply has ---- */

static scep_bytes make_success(const scep_message *m)
{
    X509_STACK *certs = scep_borrowed_stack(p);
    scep_bytes der = { 0 };

    FIXTURE_MUST(sk_X509_push(certs, fixture_ca_get()->root));
    assert_ok(scep_certrep_success(&der, m, no_leaf, certs, no_challenge, signer(), p));
    return der;
}

static scep_bytes make_crl(const scep_message *m)
{
    scep_bytes der = { 0 };

    assert_ok(scep_certrep_crl(&der, m, a_crl(), no_challenge, signer(), p));
    return der;
}

static scep_bytes make_failure(const scep_message *m)
{
    scep_bytes der = { 0 };

    assert_ok(scep_certrep_failure(&der, m, 2, "text", EVP_sha256(), signer(), p));
    return der;
}

static scep_bytes make_pending(const scep_message *m)
{
    scep_bytes der = { 0 };

    assert_ok(scep_certrep_pending(&der, m, signer(), p));
    return der;
}

static const struct {
    const char *name;
    scep_bytes (*make)(const scep_message *m);
    const char *status;
    bool content;
} kinds[] = {
    { "SUCCESS", make_success, "0", true },
    { "SUCCESS with a CRL", make_crl, "0", true },
    { "FAILURE", make_failure, "2", false },
    { "PENDING", make_pending, "3", false },
};

/* fixture_open() demands DER to the last byte, and of each attribute one value of its type. A
 * client that knows GetCACert's certificates verifies it with them. */
START_TEST(R_140_R_141_R_146_R_147_R_149_Q_32_Q_35_Q_37_Q_38_D_05_every_reply_has_this_frame)
{
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    X509_STACK *known = scep_borrowed_stack(p);
    X509_STORE *store = X509_STORE_new();
    const char *why = NULL;
    fixture_reply *reply;
    CMS_ContentInfo *cms;
    scep_bytes der, content;
    BIO *empty = scep_BIO(p, BIO_new_mem_buf("", 0));

    row = kinds[_i].name;
    der = kinds[_i].make(accepted(sent));
    reply = fixture_open(der, NULL, NULL, &why, p);
    ck_assert_msg(reply != NULL, "%s: %s", row, why);
    assert_reply(reply, sent, kinds[_i].status, signer());
    ck_assert_ptr_eq(reply->fail_info ? reply : NULL, strcmp(row, "FAILURE") ? NULL : reply);
    cms = outer(der, &content);
    ck_assert((content.len > 0) == kinds[_i].content);
    FIXTURE_MUST(store && X509_STORE_add_cert(store, fixture_ca_get()->root) &&
                 sk_X509_push(known, signer()->cert) && empty &&
                 X509_STORE_set_purpose(store, X509_PURPOSE_ANY));
    ck_assert_int_eq(
        CMS_verify(cms, known, store, content.len ? NULL : empty, NULL, CMS_NOINTERN | CMS_BINARY),
        1);
    X509_STORE_free(store);
}
END_TEST

/* iOS ends where digestAlgorithm is a signature's, or contentType is missing. */
START_TEST(R_141_Q_39_the_digest_is_named_as_one_and_contenttype_is_signed)
{
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    CMS_ContentInfo *cms;
    CMS_SignerInfo *si;
    X509_ALGOR *digest, *signature;
    scep_bytes content;

    row = kinds[_i].name;
    cms = outer(kinds[_i].make(accepted(sent)), &content);
    ck_assert_int_eq(sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)), 1);
    si = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
    CMS_SignerInfo_get0_algs(si, NULL, NULL, &digest, &signature);
    ck_assert_int_eq(OBJ_obj2nid(digest->algorithm), NID_sha256);
    ck_assert_int_eq(OBJ_obj2nid(signature->algorithm), NID_rsaEncryption);
    ck_assert_ptr_nonnull(
        CMS_signed_get0_data_by_OBJ(si, OBJ_nid2obj(NID_pkcs9_contentType), -3, V_ASN1_OBJECT));
    ck_assert_ptr_nonnull(CMS_signed_get0_data_by_OBJ(si, OBJ_nid2obj(NID_pkcs9_messageDigest), -3,
                                                      V_ASN1_OCTET_STRING));
    ck_assert_int_eq(OBJ_obj2nid(CMS_get0_eContentType(cms)), NID_pkcs7_data);
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
    assert_ok(scep_certrep_success(&der, accepted(sent), no_leaf, certs, no_challenge, &ra, p));
    assert_reply(open_reply(der, sent), sent, "0", &ra);
}
END_TEST

/* ---- FAILURE and PENDING ---- */

static char text_of_255[256], text_of_256[257];

START_TEST(R_142_R_143_R_144_failure_says_why_and_holds_nothing)
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

/* What a client reads of an error is the table's text: fixed, short, and no matter of the request.
 */
START_TEST(S_29_failinfotext_tells_nothing_of_what_went_wrong_inside)
{
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    const scep_err *err = scep_fail(p, UNREADABLE, "/etc/scep/ra.key: padding of %s", "secret");
    const scep_code_info *info = scep_code_describe(err->code);
    scep_bytes der;

    assert_ok(scep_certrep_failure(&der, accepted(sent), info->fail_info, info->text, EVP_sha256(),
                                   signer(), p));
    ck_assert_str_eq(open_reply(der, sent)->fail_info_text, "request cannot be read");
    for (size_t i = 0; i + 6 <= der.len; i++)
        ck_assert(memcmp(der.data + i, "secret", 6) && memcmp(der.data + i, "ra.key", 6));
}
END_TEST

START_TEST(R_143_R_144_a_failure_out_of_range_is_not_sent)
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

START_TEST(R_110_pending_holds_nothing_and_gives_no_reason)
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

/* Some clients refuse a senderNonce they have seen. An EC key signs so many quickly. */
START_TEST(R_145_Q_36_every_reply_has_a_nonce_of_its_own)
{
    enum { REPLIES = 1000 };
    const fixture_ca *ca = fixture_ca_get();
    scep_signer ra = { .key = odd_p256(p) };
    fixture_sent *sent = fixture_build(&(fixture_request){ 0 }, p);
    scep_message *m = accepted(sent);
    scep_bytes nonces[REPLIES], der;

    ra.cert = fixture_cert("ec", ra.key, ca->root, ca->root_key, false, KU_DIGITAL_SIGNATURE, p);
    for (int i = 0; i < REPLIES; i++) {
        assert_ok(scep_certrep_failure(&der, m, 2, NULL, EVP_sha256(), &ra, p));
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
    tcase_add_loop_test(
        cases, R_140_R_141_R_146_R_147_R_149_Q_32_Q_35_Q_37_Q_38_D_05_every_reply_has_this_frame, 0,
        ROWS(kinds));
    tcase_add_loop_test(cases, R_141_Q_39_the_digest_is_named_as_one_and_contenttype_is_signed, 0,
                        ROWS(kinds));
    tcase_add_test(cases, an_elliptic_ra_signs_replies);
    tcase_add_loop_test(cases, R_142_R_143_R_144_failure_says_why_and_holds_nothing, 0, 5);
    tcase_add_test(cases, S_29_failinfotext_tells_nothing_of_what_went_wrong_inside);
    tcase_add_test(cases, R_143_R_144_a_failure_out_of_range_is_not_sent);
    tcase_add_loop_test(cases, a_request_that_was_refused_is_answerable, 0, ROWS(refused));
    tcase_add_test(cases, R_110_pending_holds_nothing_and_gives_no_reason);
    tcase_add_test(cases, R_145_Q_36_every_reply_has_a_nonce_of_its_own);
}

int main(void)
{
    return run_suite("certrep", add_tests);
}
