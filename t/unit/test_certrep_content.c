/* Replies with content: what a SUCCESS holds, and to whom it is encrypted. */
#include "reply.h"

#include <openssl/provider.h>

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

START_TEST(R_089_R_090_R_091_Q_40_Q_50_Q_52_success_is_for_the_signer_in_its_own_algorithms)
{
    const variant *v = &requests[_i];
    fixture_sent *sent = build(v);
    X509_STACK *certs = scep_borrowed_stack(p);
    X509 *cert = leaf(sent);
    scep_bytes der;
    fixture_reply *reply;

    FIXTURE_MUST(sk_X509_push(certs, cert));
    assert_ok(
        scep_certrep_success(&der, accepted(sent), no_leaf, certs, no_challenge, signer(), p));
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

/* O-14: DER would sort the set by its encoding, so both orders of size are tried. */
START_TEST(D_04_Q_41_Q_42_the_leaf_comes_first_whatever_its_size)
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
    assert_ok(
        scep_certrep_success(&der, accepted(sent), no_leaf, certs, no_challenge, signer(), p));
    reply = open_reply(der, sent);
    ck_assert_int_eq(sk_X509_num(reply->certs), 2);
    ck_assert_int_eq(X509_cmp(sk_X509_value(reply->certs, 0), cert), 0);
    ck_assert_int_eq(X509_cmp(sk_X509_value(reply->certs, 1), ca->root), 0);
}
END_TEST

/* ---- to whom it is encrypted ---- */

static scep_bytes a_success(const scep_message *m)
{
    X509_STACK *certs = scep_borrowed_stack(p);
    scep_bytes der = { 0 };

    FIXTURE_MUST(sk_X509_push(certs, fixture_ca_get()->root));
    assert_ok(scep_certrep_success(&der, m, no_leaf, certs, no_challenge, signer(), p));
    return der;
}

/* The envelope of a SUCCESS. */
static CMS_ContentInfo *envelope_of(scep_bytes der)
{
    CMS_ContentInfo *cms;
    scep_bytes content;

    (void)outer(der, &content);
    cms = outer(content, &content);
    ck_assert_int_eq(OBJ_obj2nid(CMS_get0_type(cms)), NID_pkcs7_enveloped);
    ck_assert_int_eq(sk_CMS_RecipientInfo_num(CMS_get0_RecipientInfos(cms)), 1);
    return cms;
}

/* What CMS_decrypt() and its like have written. */
static PKCS7 *list_in(BIO *plain)
{
    const unsigned char *at;
    unsigned char *data;
    long len = BIO_get_mem_data(plain, &data);
    PKCS7 *list;

    at = data;
    list = scep_PKCS7(p, d2i_PKCS7(NULL, &at, len));
    ck_assert(list && at == data + len && PKCS7_type_is_signed(list));
    ck_assert_ptr_null(list->d.sign->contents->d.data);
    ck_assert_int_le(sk_PKCS7_SIGNER_INFO_num(list->d.sign->signer_info), 0);
    return list;
}

/* sscep's serial numbers have 32 bytes; its answer must name the same. */
START_TEST(R_090_Q_63_the_recipient_is_named_by_the_very_serial_number)
{
    X509 *(*const signers[])(apr_pool_t *) = { odd_long_serial, odd_negative_serial };
    variant v = { .name = "serial", .signer = signers[_i] };
    fixture_sent *sent = build(&v);
    CMS_RecipientInfo *to;
    ASN1_INTEGER *serial = NULL;
    X509_NAME *issuer = NULL;

    to = sk_CMS_RecipientInfo_value(CMS_get0_RecipientInfos(envelope_of(a_success(accepted(sent)))),
                                    0);
    FIXTURE_MUST(CMS_RecipientInfo_ktri_get0_signer_id(to, NULL, &issuer, &serial));
    ck_assert_int_eq(ASN1_STRING_cmp(serial, X509_get0_serialNumber(sent->signer)), 0);
    ck_assert_int_eq(X509_NAME_cmp(issuer, X509_get_issuer_name(sent->signer)), 0);
}
END_TEST

/* UTF-8, a NUL inside, one byte, and as long as an MDM's. */
static const struct {
    const char *name;
    scep_bytes challenge;
    const EVP_CIPHER *(*cipher)(void);
} passwords[] = {
    { "hex digits", { (const unsigned char *)"2F7A1B3C9D0E4455", 16 }, NULL },
    { "UTF-8", { (const unsigned char *)"gr\xC3\xBC\xC3\x9F\x65", 7 }, EVP_aes_256_cbc },
    { "a NUL inside", { (const unsigned char *)"a\0b", 3 }, EVP_des_ede3_cbc },
    { "one byte", { (const unsigned char *)"x", 1 }, EVP_aes_192_cbc },
};

/* RFC 8894 3.1: the challenge stands where key transport cannot. */
START_TEST(R_092_Q_60_an_elliptic_signer_is_answered_by_its_challenge)
{
    fixture_request r = { .key = odd_p256(p),
                          .cipher = passwords[_i].cipher ? passwords[_i].cipher() : NULL };
    fixture_sent *sent = fixture_build(&r, p);
    X509_STACK *certs = scep_borrowed_stack(p);
    BIO *plain = scep_BIO(p, BIO_new(BIO_s_mem()));
    X509 *cert = leaf(sent);
    scep_bytes challenge = passwords[_i].challenge, der;
    CMS_ContentInfo *cms;
    const char *why;
    PKCS7 *list;

    row = passwords[_i].name;
    FIXTURE_MUST(sk_X509_push(certs, cert) && plain);
    assert_ok(scep_certrep_success(&der, accepted(sent), no_leaf, certs, challenge, signer(), p));
    assert_reply(fixture_open(der, NULL, NULL, &why, p), sent, "0", signer());
    cms = envelope_of(der);
    ck_assert_int_eq(
        CMS_RecipientInfo_type(sk_CMS_RecipientInfo_value(CMS_get0_RecipientInfos(cms), 0)),
        CMS_RECIPINFO_PASS);
    ck_assert_int_eq(CMS_decrypt_set1_password(cms, (unsigned char *)"wrong", 5), 0);
    ERR_clear_error();
    ck_assert_int_eq(CMS_decrypt_set1_password(cms, (unsigned char *)challenge.data,
                                               (ossl_ssize_t)challenge.len),
                     1);
    ck_assert_int_eq(CMS_decrypt(cms, NULL, NULL, NULL, plain, CMS_BINARY), 1);
    list = list_in(plain);
    ck_assert_int_eq(sk_X509_num(list->d.sign->cert), 1);
    ck_assert_int_eq(X509_cmp(sk_X509_value(list->d.sign->cert, 0), cert), 0);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

START_TEST(R_092_Q_60_without_a_challenge_an_elliptic_signer_is_told_badalg)
{
    fixture_request r = { .key = odd_p256(p) };
    fixture_sent *sent = fixture_build(&r, p);
    X509_STACK *certs = scep_borrowed_stack(p);
    scep_bytes der = { 0 };

    FIXTURE_MUST(sk_X509_push(certs, leaf(sent)));
    assert_code(SCEP_BAD_ALG, scep_certrep_success(&der, accepted(sent), no_leaf, certs,
                                                   no_challenge, signer(), p));
    assert_code(SCEP_BAD_ALG,
                scep_certrep_crl(&der, accepted(sent), a_crl(), no_challenge, signer(), p));
    ck_assert_ptr_null(der.data);
    assert_ok(scep_certrep_failure(&der, accepted(sent), 0, NULL, EVP_sha256(), signer(), p));
    assert_reply(open_reply(der, sent), sent, "2", signer());
}
END_TEST

/* A challenge is not what an RSA client is answered by, even where there is one. */
START_TEST(R_090_an_rsa_signer_is_answered_by_its_key_even_with_a_challenge)
{
    fixture_sent *sent = fixture_build(&(fixture_request){ .challenge = "secret" }, p);
    X509_STACK *certs = scep_borrowed_stack(p);
    scep_bytes der;

    FIXTURE_MUST(sk_X509_push(certs, leaf(sent)));
    assert_ok(scep_certrep_success(&der, accepted(sent), no_leaf, certs, scep_bytes_of("secret"),
                                   signer(), p));
    ck_assert_int_eq(sk_X509_num(open_reply(der, sent)->certs), 1);
}
END_TEST

/* ---- GetCRL ---- */

START_TEST(R_132_D_04_a_crl_comes_alone)
{
    fixture_sent *sent = fixture_build(&(fixture_request){ .message_type = "22" }, p);
    BIO *plain = scep_BIO(p, BIO_new(BIO_s_mem()));
    scep_bytes crl = a_crl(), der;
    const char *why;
    unsigned char *again = NULL;
    PKCS7 *list;
    int len;

    FIXTURE_MUST(plain);
    assert_ok(scep_certrep_crl(&der, accepted(sent), crl, no_challenge, signer(), p));
    assert_reply(fixture_open(der, NULL, NULL, &why, p), sent, "0", signer());
    ck_assert_int_eq(
        CMS_decrypt(envelope_of(der), sent->signer_key, sent->signer, NULL, plain, CMS_BINARY), 1);
    list = list_in(plain);
    ck_assert_int_le(sk_X509_num(list->d.sign->cert), 0);
    ck_assert_int_eq(sk_X509_CRL_num(list->d.sign->crl), 1);
    len = i2d_X509_CRL(sk_X509_CRL_value(list->d.sign->crl, 0), &again);
    ck_assert(len == (int)crl.len && !memcmp(again, crl.data, crl.len));
    OPENSSL_free(again);
}
END_TEST

START_TEST(R_132_what_is_not_one_crl_is_not_sent)
{
    fixture_sent *sent = fixture_build(&(fixture_request){ .message_type = "22" }, p);
    scep_message *m = accepted(sent);
    scep_bytes crl = a_crl(), der = { 0 }, longer = scep_bytes_dup(p, crl);

    longer.len++; /* with the NUL that stands behind a copy */
    assert_code(SCEP_INTERNAL, scep_certrep_crl(&der, m, longer, no_challenge, signer(), p));
    crl.len--;
    assert_code(SCEP_INTERNAL, scep_certrep_crl(&der, m, crl, no_challenge, signer(), p));
    crl.len = 0;
    assert_code(SCEP_INTERNAL, scep_certrep_crl(&der, m, crl, no_challenge, signer(), p));
    assert_code(SCEP_INTERNAL, scep_certrep_crl(&der, m, sent->csr, no_challenge, signer(), p));
    ck_assert_ptr_null(der.data);
}
END_TEST

/* ---- old algorithms ---- */

static const struct {
    const char *name;
    const EVP_MD *(*digest)(void);
    const EVP_CIPHER *(*cipher)(void);
} old[] = {
    { "Q-46 SHA-1 and DES", EVP_sha1, EVP_des_cbc },
    { "Q-47 MD5 and DES", EVP_md5, EVP_des_cbc },
    { "MD5 and AES-128", EVP_md5, EVP_aes_128_cbc },
    { "SHA-256 and DES", EVP_sha256, EVP_des_cbc },
};

/* What the process's own OpenSSL does not know is done in a library context apart. */
START_TEST(Q_40_Q_46_Q_47_what_was_accepted_of_old_algorithms_is_mirrored)
{
    const scep_accept legacy = { .minimum_hash_bits = 160, .legacy = true };
    fixture_request r = { .digest = old[_i].digest(), .cipher = old[_i].cipher() };
    fixture_sent *sent = fixture_build(&r, p);
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(NULL, "legacy");
    const scep_ra *ra = &fixture_ca_get()->ra;
    fixture_reply *reply;
    scep_bytes der, plain;
    scep_message *m;

    row = old[_i].name;
    /* once for the suite's own loading of it, which this process is a fork of */
    FIXTURE_MUST(provider && OSSL_PROVIDER_unload(provider) && OSSL_PROVIDER_unload(provider) &&
                 !OSSL_PROVIDER_available(NULL, "legacy"));
    assert_ok(scep_message_open(&m, sent->der, &legacy, p));
    ck_assert_ptr_eq(scep_ra_pick(&ra, 1, m), ra);
    assert_ok(scep_ra_decrypt(&plain, ra, m, p));
    assert_bytes(plain, sent->csr);
    der = a_success(m);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    FIXTURE_MUST(OSSL_PROVIDER_load(NULL, "legacy"));
    reply = open_reply(der, sent);
    assert_reply(reply, sent, "0", signer());
    ck_assert_int_eq(reply->digest_nid, EVP_MD_get_type(r.digest));
    ck_assert_int_eq(reply->cipher_nid, EVP_CIPHER_get_nid(r.cipher));
    ck_assert_int_eq(sk_X509_num(reply->certs), 1);
}
END_TEST

/* The same, where no key can receive it. */
START_TEST(R_092_Q_60_a_challenge_serves_an_elliptic_signer_with_des_too)
{
    const scep_accept legacy = { .minimum_hash_bits = 160, .legacy = true };
    fixture_request r = { .key = odd_p256(p), .cipher = EVP_des_cbc() };
    fixture_sent *sent = fixture_build(&r, p);
    X509_STACK *certs = scep_borrowed_stack(p);
    BIO *plain = scep_BIO(p, BIO_new(BIO_s_mem()));
    CMS_ContentInfo *cms;
    scep_message *m;
    scep_bytes der;

    FIXTURE_MUST(sk_X509_push(certs, leaf(sent)) && plain);
    assert_ok(scep_message_open(&m, sent->der, &legacy, p));
    assert_ok(scep_certrep_success(&der, m, no_leaf, certs, scep_bytes_of("secret"), signer(), p));
    cms = envelope_of(der);
    ck_assert_int_eq(CMS_decrypt_set1_password(cms, (unsigned char *)"secret", 6), 1);
    ck_assert_int_eq(CMS_decrypt(cms, NULL, NULL, NULL, plain, CMS_BINARY), 1);
    ck_assert_int_eq(sk_X509_num(list_in(plain)->d.sign->cert), 1);
}
END_TEST

/* ---- whether there can be one ---- */

static const struct {
    const char *name;
    EVP_PKEY *(*key)(apr_pool_t *);
    const EVP_MD *(*oaep)(void); /* NULL: PKCS#1 v1.5 */
    const EVP_CIPHER *(*cipher)(void);
    const char *challenge;
    bool possible;
} answerable[] = {
    { "1024 bits, PKCS#1 v1.5", odd_rsa_1024, NULL, EVP_aes_256_cbc, NULL, true },
    { "1024 bits, OAEP with SHA-256", odd_rsa_1024, EVP_sha256, EVP_aes_256_cbc, NULL, true },
    { "1024 bits, OAEP with SHA-384, AES-128", odd_rsa_1024, EVP_sha384, EVP_aes_128_cbc, NULL,
      true },
    { "1024 bits, OAEP with SHA-384, AES-256", odd_rsa_1024, EVP_sha384, EVP_aes_256_cbc, NULL,
      false },
    { "1024 bits, OAEP with SHA-512", odd_rsa_1024, EVP_sha512, EVP_aes_128_cbc, "secret", false },
    { "2048 bits, OAEP with SHA-512", NULL, EVP_sha512, EVP_aes_256_cbc, NULL, true },
    { "P-256, no challenge", odd_p256, NULL, EVP_aes_128_cbc, NULL, false },
    { "P-256, a challenge", odd_p256, NULL, EVP_aes_128_cbc, "secret", true },
};

/* What cannot be encrypted is known before anything is issued, and nothing else is said so of. */
START_TEST(R_090_Q_52_Q_60_whether_a_success_can_be_encrypted_is_known_beforehand)
{
    fixture_request r = { .key = answerable[_i].key ? answerable[_i].key(p) : NULL,
                          .oaep = answerable[_i].oaep != NULL,
                          .oaep_digest = answerable[_i].oaep ? answerable[_i].oaep() : NULL,
                          .cipher = answerable[_i].cipher() };
    scep_bytes challenge = scep_bytes_of(answerable[_i].challenge), der = { 0 };
    const scep_message *m;
    X509_STACK *certs = scep_borrowed_stack(p);
    fixture_sent *sent = fixture_build(&r, p);

    row = answerable[_i].name;
    m = accepted(sent);
    FIXTURE_MUST(sk_X509_push(certs, leaf(sent)));
    if (answerable[_i].possible) {
        assert_ok(scep_certrep_is_possible(m, challenge, p));
        assert_ok(scep_certrep_success(&der, m, no_leaf, certs, challenge, signer(), p));
    } else {
        assert_code(SCEP_BAD_ALG, scep_certrep_is_possible(m, challenge, p));
        assert_code(SCEP_BAD_ALG,
                    scep_certrep_success(&der, m, no_leaf, certs, challenge, signer(), p));
        ck_assert_ptr_null(der.data);
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(
        cases, R_089_R_090_R_091_Q_40_Q_50_Q_52_success_is_for_the_signer_in_its_own_algorithms, 0,
        ROWS(requests));
    tcase_add_loop_test(cases, D_04_Q_41_Q_42_the_leaf_comes_first_whatever_its_size, 0, 2);
    tcase_add_loop_test(cases, R_090_Q_63_the_recipient_is_named_by_the_very_serial_number, 0, 2);
    tcase_add_loop_test(cases, R_092_Q_60_an_elliptic_signer_is_answered_by_its_challenge, 0,
                        ROWS(passwords));
    tcase_add_test(cases, R_092_Q_60_without_a_challenge_an_elliptic_signer_is_told_badalg);
    tcase_add_test(cases, R_090_an_rsa_signer_is_answered_by_its_key_even_with_a_challenge);
    tcase_add_test(cases, R_132_D_04_a_crl_comes_alone);
    tcase_add_test(cases, R_132_what_is_not_one_crl_is_not_sent);
    tcase_add_loop_test(cases, Q_40_Q_46_Q_47_what_was_accepted_of_old_algorithms_is_mirrored, 0,
                        ROWS(old));
    tcase_add_loop_test(cases,
                        R_090_Q_52_Q_60_whether_a_success_can_be_encrypted_is_known_beforehand, 0,
                        ROWS(answerable));
    tcase_add_test(cases, R_092_Q_60_a_challenge_serves_an_elliptic_signer_with_des_too);
}

int main(void)
{
    return run_suite("certrep_content", add_tests);
}
