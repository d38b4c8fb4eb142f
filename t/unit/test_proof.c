/* Proofs of renewal: what scep_proof_take() hands over, what scep_proof_check() believes, and what
 * scep_proof_open() reads. */
#include "odd.h"
#include "suite.h"

#include <openssl/err.h>
#include <string.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };

static const scep_bytes nothing;

/* ---- proofs out of messages ---- */

typedef struct variant {
    const char *name;
    fixture_request r;
    const EVP_MD *(*digest)(void);
    const EVP_CIPHER *(*cipher)(void);
    EVP_PKEY *(*signer_key)(apr_pool_t *);
    X509 *(*signer)(apr_pool_t *);
} variant;

static scep_proof proof_of(const variant *v, const scep_accept *accept, fixture_sent **sent)
{
    fixture_request r = v->r;
    scep_message *m;
    scep_proof proof;

    row = v->name;
    r.digest = v->digest ? v->digest() : NULL;
    r.cipher = v->cipher ? v->cipher() : NULL;
    r.signer_key = v->signer_key ? v->signer_key(p) : NULL;
    r.signer = v->signer ? v->signer(p) : NULL;
    *sent = fixture_build(&r, p);
    assert_ok(scep_message_open(&m, (*sent)->der, accept, p));
    assert_ok(scep_proof_take(&proof, m, p));
    return proof;
}

static const variant good[] = {
    { .name = "messageType 19", .r = { 0 } },
    { .name = "messageType 17, signed by an issued certificate",
      .r = { .message_type = "17" },
      .signer = odd_issued },
    { .name = "BER", .r = { .ber = true } },
    { .name = "RSA-PSS", .r = { .pss = true } },
    { .name = "RSA-PSS with SHA-384", .r = { .pss = true }, .digest = EVP_sha384 },
    { .name = "ECDSA", .r = { 0 }, .signer_key = odd_p256 },
    { .name = "SHA-1 and 3DES", .r = { 0 }, .digest = EVP_sha1, .cipher = EVP_des_ede3_cbc },
    { .name = "SHA-512 and AES-256", .digest = EVP_sha512, .cipher = EVP_aes_256_cbc },
    { .name = "sha256WithRSAEncryption", .r = { .signature_algorithm = "1.2.840.113549.1.1.11" } },
    { .name = "OAEP", .r = { .oaep = true } },
    { .name = "no senderNonce", .r = { .nonce_length = -1 } },
    { .name = "CMSAlgorithmProtection", .r = { .more_attribute = "1.2.840.113549.1.9.52" } },
    { .name = "an attribute of many layers in BER", .r = { .nested_attribute = 16, .ber = true } },
};

/* The same facts as from the message, without its SignedData. */
static void is_believed(const variant *v, const scep_accept *accept)
{
    fixture_sent *sent;
    scep_proof proof = proof_of(v, accept, &sent);
    scep_message *m = NULL;
    scep_bytes plain;

    assert_ok(scep_proof_check(&m, &proof, accept, p));
    assert_ok(scep_proof_open(m, accept, p));
    ck_assert_int_eq(m->message_type, v->r.message_type ? 17 : 19);
    assert_bytes(m->transaction_id, scep_bytes_of(sent->transaction_id));
    assert_bytes(m->sender_nonce, sent->nonce);
    ck_assert(fixture_is(m->signer, sent->signer));
    ck_assert_int_eq(EVP_PKEY_eq(m->signer_key, sent->signer_key), 1);
    ck_assert_int_eq(scep_message_is_self_signed(m), v->signer == NULL);
    ck_assert_int_eq(EVP_MD_get_type(m->digest),
                     EVP_MD_get_type(v->digest ? v->digest() : EVP_sha256()));
    ck_assert_int_eq(EVP_CIPHER_get_nid(m->cipher),
                     EVP_CIPHER_get_nid(v->cipher ? v->cipher() : EVP_aes_128_cbc()));
    assert_ok(scep_ra_decrypt(&plain, &fixture_ca_get()->ra, m, p));
    assert_bytes(plain, sent->csr);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

static const scep_err *check(const scep_proof *proof, const scep_accept *accept)
{
    scep_message *m = (scep_message *)1;
    const scep_err *err = scep_proof_check(&m, proof, accept, p);

    ck_assert_msg((m == NULL) == (err != NULL), "%s: out", row);
    if (!err)
        err = scep_proof_open(m, accept, p);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    return err;
}

START_TEST(a_proof_says_what_its_message_said)
{
    is_believed(&good[_i], &default_accept);
}
END_TEST

START_TEST(R_065_D_16_old_algorithms_prove_nothing_unless_they_are_on)
{
    const variant rows[] = {
        { .name = "MD5", .digest = EVP_md5 },
        { .name = "DES", .cipher = EVP_des_cbc },
    };
    const scep_accept legacy = { .minimum_hash_bits = 160, .legacy = true };

    for (int i = 0; i < ROWS(rows); i++) {
        fixture_sent *sent;
        scep_proof proof = proof_of(&rows[i], &legacy, &sent);

        is_believed(&rows[i], &legacy);
        assert_code(SCEP_BAD_ALG, check(&proof, &default_accept));
    }
}
END_TEST

START_TEST(S_18_a_proof_below_the_digest_for_renewals_is_refused)
{
    const variant rows[] = { { .name = "SHA-1", .digest = EVP_sha1 },
                             { .name = "SHA-224", .digest = EVP_sha224 } };
    const scep_accept strict = { .minimum_hash_bits = 256 };

    for (int i = 0; i < ROWS(rows); i++) {
        fixture_sent *sent;
        scep_proof proof = proof_of(&rows[i], &default_accept, &sent);
        scep_message *m;

        assert_code(SCEP_BAD_ALG, scep_proof_check(&m, &proof, &strict, p));
    }
}
END_TEST

START_TEST(other_messages_are_no_proof_of_renewal)
{
    const variant rows[] = { { .name = "20", .r = { .message_type = "20" } },
                             { .name = "21", .r = { .message_type = "21" } },
                             { .name = "22", .r = { .message_type = "22" } } };

    for (int i = 0; i < ROWS(rows); i++) {
        fixture_sent *sent;
        scep_proof proof = proof_of(&rows[i], &default_accept, &sent);
        scep_message *m;

        assert_code(SCEP_BAD_REQUEST, scep_proof_check(&m, &proof, &default_accept, p));
        ck_assert_ptr_null(m);
    }
}
END_TEST

START_TEST(no_proof_comes_out_of_a_proof)
{
    fixture_sent *sent;
    scep_proof proof = proof_of(&good[0], &default_accept, &sent);
    scep_message *m;

    assert_ok(scep_proof_check(&m, &proof, &default_accept, p));
    assert_code(SCEP_INTERNAL, scep_proof_take(&proof, m, p));
    assert_ok(scep_proof_open(m, &default_accept, p));
    assert_code(SCEP_INTERNAL, scep_proof_open(m, &default_accept, p)); /* once */
}
END_TEST

/* ---- attributes made by hand, signed by a good key ---- */

#define OID(...) ((const unsigned char[]){ 0x06, __VA_ARGS__ })
#define SCEP_ARC 0x60, 0x86, 0x48, 1, 0x86, 0xF8, 0x45, 1, 9
#define PKCS9_ARC 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9

typedef enum part { TYPE, DIGEST, MESSAGE_TYPE, ID, NONCE, TIME, OTHER, COUNT } part;
typedef enum way { AS_IS, DROP, TWICE, TWO_VALUES, NO_VALUE, LONG_LENGTH, TRAILING, NO_SET } way;

static const unsigned char data_oid[] = { 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 1 };
static const unsigned char signed_oid[] = { 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 2 };
static const unsigned char sha256_algorithm[] = { 0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 1,
                                                  0x65, 3,  4,    2, 1,    0x05, 0 };
static const unsigned char rsa_algorithm[] = { 0x30, 13,   0x06, 9, 0x2A, 0x86, 0x48, 0x86,
                                               0xF7, 0x0D, 1,    1, 1,    0x05, 0 };

#define BYTES(array) ((scep_bytes){ (array), sizeof(array) })
#define TEXT(literal)                                         \
    {                                                         \
        (const unsigned char *)(literal), sizeof(literal) - 1 \
    }

typedef struct attribute {
    scep_bytes oid;
    uint8_t tag;
    scep_bytes value;
} attribute;

static scep_bytes pair(scep_bytes a, scep_bytes b)
{
    const scep_bytes parts[] = { a, b };

    return fixture_join(parts, 2, p);
}

/* The same element with its length in two more bytes than DER allows. */
static scep_bytes with_long_length(uint8_t tag, scep_bytes content)
{
    const unsigned char header[] = {
        tag, 0x84, 0, 0, (unsigned char)(content.len >> 8), (unsigned char)content.len
    };

    return pair(BYTES(header), content);
}

static scep_bytes encode_attribute(const attribute *a, way how)
{
    scep_bytes value = fixture_tlv(a->tag, a->value, p), oid = fixture_tlv(0x06, a->oid, p), set;

    if (how == LONG_LENGTH)
        value = with_long_length(a->tag, a->value);
    if (how == TWO_VALUES)
        value = pair(value, value);
    set = fixture_tlv(how == NO_SET ? 0x30 : 0x31, how == NO_VALUE ? nothing : value, p);
    if (how == TRAILING)
        set = pair(set, fixture_tlv(0x05, nothing, p));
    return fixture_tlv(0x30, pair(oid, set), p);
}

/* What a test changes in a good set of attributes. */
typedef struct change {
    const char *name;
    part which;
    way how;
    uint8_t tag;      /* 0: as it is */
    scep_bytes value; /* data NULL: as it is */
    scep_code code;
} change;

static scep_bytes encode_attributes(scep_bytes content, const change *c)
{
    unsigned char *hash = apr_palloc(p, 32);
    attribute all[COUNT] = {
        [TYPE] = { { OID(PKCS9_ARC, 3) + 1, 9 }, 0x06, BYTES(data_oid) },
        [DIGEST] = { { OID(PKCS9_ARC, 4) + 1, 9 }, 0x04, { hash, 32 } },
        [MESSAGE_TYPE] = { { OID(SCEP_ARC, 2) + 1, 10 }, 0x13, TEXT("17") },
        [ID] = { { OID(SCEP_ARC, 7) + 1, 10 }, 0x13, TEXT("transaction") },
        [NONCE] = { { OID(SCEP_ARC, 5) + 1, 10 }, 0x04, TEXT("0123456789abcdef") },
        [TIME] = { { OID(PKCS9_ARC, 5) + 1, 9 }, 0x17, TEXT("260615120000Z") },
        [OTHER] = { { OID(SCEP_ARC, 99) + 1, 10 }, 0x13, TEXT("other") },
    };
    scep_bytes list = nothing;

    FIXTURE_MUST(EVP_Digest(content.data, content.len, hash, NULL, EVP_sha256(), NULL));
    if (c->tag)
        all[c->which].tag = c->tag;
    if (c->value.data)
        all[c->which].value = c->value;
    for (int i = 0; i < COUNT; i++) {
        way how = c->which == (part)i ? c->how : AS_IS;
        scep_bytes one = encode_attribute(&all[i], how);

        if (how != DROP)
            list = pair(list, one);
        if (how == TWICE)
            list = pair(list, one);
    }
    return list;
}

static scep_bytes sign(scep_bytes what, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = scep_EVP_MD_CTX(p, EVP_MD_CTX_new());
    unsigned char *out = apr_palloc(p, 1024);
    size_t len = 1024;

    FIXTURE_MUST(ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                 EVP_DigestSign(ctx, out, &len, what.data, what.len) == 1);
    return (scep_bytes){ out, len };
}

static scep_proof signed_proof(scep_bytes attributes, scep_bytes content)
{
    scep_proof proof = { .attributes = attributes, .content = content };

    assert_ok(scep_cert_der(&proof.signer, odd_issued(p), p));
    proof.digest_algorithm = BYTES(sha256_algorithm);
    proof.signature_algorithm = BYTES(rsa_algorithm);
    proof.signature = sign(attributes, fixture_key(0));
    return proof;
}

static const scep_err *check_change(const change *c, const scep_accept *accept)
{
    scep_bytes content = fixture_build(&(fixture_request){ 0 }, p)->envelope;
    scep_proof proof = signed_proof(fixture_tlv(0x31, encode_attributes(content, c), p), content);

    row = c->name;
    return check(&proof, accept);
}

#define NOT(code) 0, { NULL, 0 }, SCEP_##code

static const change harmless[] = {
    { .name = "nothing changed", .which = COUNT },
    { .name = "no senderNonce", .which = NONCE, .how = DROP },
    { .name = "no signingTime", .which = TIME, .how = DROP },
    { .name = "no other attribute", .which = OTHER, .how = DROP },
    { .name = "another one twice", .which = OTHER, .how = TWICE },
    { .name = "another one without value", .which = OTHER, .how = NO_VALUE },
    { .name = "messageType 19", .which = MESSAGE_TYPE, .value = TEXT("19") },
};

static const change harmful[] = {
    { "no contentType", TYPE, DROP, NOT(BAD_MESSAGE) },
    { "contentType twice", TYPE, TWICE, NOT(BAD_MESSAGE) },
    { "contentType with two values", TYPE, TWO_VALUES, NOT(BAD_MESSAGE) },
    { "contentType without value", TYPE, NO_VALUE, NOT(BAD_MESSAGE) },
    { "contentType as PrintableString", TYPE, AS_IS, 0x13, { NULL, 0 }, SCEP_BAD_MESSAGE },
    { "contentType signedData", TYPE, AS_IS, 0, BYTES(signed_oid), SCEP_BAD_MESSAGE },
    { "no messageDigest", DIGEST, DROP, NOT(BAD_MESSAGE) },
    { "messageDigest twice", DIGEST, TWICE, NOT(BAD_MESSAGE) },
    { "messageDigest with two values", DIGEST, TWO_VALUES, NOT(BAD_MESSAGE) },
    { "messageDigest without value", DIGEST, NO_VALUE, NOT(BAD_MESSAGE) },
    { "messageDigest as PrintableString", DIGEST, AS_IS, 0x13, { NULL, 0 }, SCEP_BAD_MESSAGE },
    { "the digest of something else", DIGEST, AS_IS, 0, TEXT("0123456789abcdef0123456789abcdef"),
      SCEP_BAD_MESSAGE },
    { "an empty digest", DIGEST, AS_IS, 0, TEXT(""), SCEP_BAD_MESSAGE },
    { "no messageType", MESSAGE_TYPE, DROP, NOT(BAD_REQUEST) },
    { "messageType twice", MESSAGE_TYPE, TWICE, NOT(BAD_REQUEST) },
    { "messageType with two values", MESSAGE_TYPE, TWO_VALUES, NOT(BAD_REQUEST) },
    { "messageType without value", MESSAGE_TYPE, NO_VALUE, NOT(BAD_REQUEST) },
    { "messageType as INTEGER", MESSAGE_TYPE, AS_IS, 0x02, { NULL, 0 }, SCEP_BAD_REQUEST },
    { "messageType 3", MESSAGE_TYPE, AS_IS, 0, TEXT("3"), SCEP_BAD_REQUEST },
    { "messageType 20", MESSAGE_TYPE, AS_IS, 0, TEXT("20"), SCEP_BAD_REQUEST },
    { "messageType 017", MESSAGE_TYPE, AS_IS, 0, TEXT("017"), SCEP_BAD_REQUEST },
    { "no transactionID", ID, DROP, NOT(UNDECODABLE) },
    { "transactionID twice", ID, TWICE, NOT(UNDECODABLE) },
    { "transactionID with two values", ID, TWO_VALUES, NOT(UNDECODABLE) },
    { "transactionID as UTF8String", ID, AS_IS, 0x0C, { NULL, 0 }, SCEP_UNDECODABLE },
    { "an empty transactionID", ID, AS_IS, 0, TEXT(""), SCEP_UNDECODABLE },
    { "senderNonce twice", NONCE, TWICE, NOT(BAD_REQUEST) },
    { "senderNonce with two values", NONCE, TWO_VALUES, NOT(BAD_REQUEST) },
    { "senderNonce as PrintableString", NONCE, AS_IS, 0x13, { NULL, 0 }, SCEP_BAD_REQUEST },
    { "a length that is not DER", ID, LONG_LENGTH, NOT(UNDECODABLE) },
    { "rubbish behind the values", OTHER, TRAILING, NOT(UNDECODABLE) },
    { "values in a SEQUENCE", OTHER, NO_SET, NOT(UNDECODABLE) },
};

START_TEST(attributes_of_no_interest_do_not_matter)
{
    assert_ok(check_change(&harmless[_i], &default_accept));
}
END_TEST

START_TEST(S_19_attributes_that_are_signed_but_wrong_prove_nothing)
{
    assert_code(harmful[_i].code, check_change(&harmful[_i], &default_accept));
}
END_TEST

/* 2026-06-15 12:00 UTC, as the attribute says */
#define NOON 1781524800

START_TEST(R_056_R_068_a_proof_obeys_the_rules_for_nonce_and_time)
{
    const change no_nonce = { .name = "no nonce", .which = NONCE, .how = DROP };
    const change no_time = { .name = "no time", .which = TIME, .how = DROP };
    const change two_times = { .name = "two times", .which = TIME, .how = TWICE };
    const change none = { .name = "nothing changed", .which = COUNT };
    const scep_accept nonce = { .minimum_hash_bits = 160, .nonce_required = true };
    const scep_accept time = { .minimum_hash_bits = 160, .clock_skew = 5 };

    assert_ok(check_change(&none, &nonce));
    assert_code(SCEP_BAD_REQUEST, check_change(&no_nonce, &nonce));
    scep_clock_set(apr_time_from_sec(NOON + 300));
    assert_ok(check_change(&none, &time));
    assert_ok(check_change(&no_time, &time));
    assert_code(SCEP_BAD_TIME, check_change(&two_times, &time));
    assert_ok(check_change(&two_times, &default_accept));
    scep_clock_set(apr_time_from_sec(NOON + 301));
    assert_code(SCEP_BAD_TIME, check_change(&none, &time));
    scep_clock_set(0);
}
END_TEST

START_TEST(signed_bytes_that_are_no_set_of_attributes_prove_nothing)
{
    const change none = { .which = COUNT };
    scep_bytes content = fixture_build(&(fixture_request){ 0 }, p)->envelope;
    scep_bytes list = encode_attributes(content, &none), set = fixture_tlv(0x31, list, p);
    scep_bytes many = list;
    attribute other = { { OID(SCEP_ARC, 99) + 1, 10 }, 0x13, TEXT("other") };

    for (int i = COUNT; i < 65; i++)
        many = pair(many, encode_attribute(&other, AS_IS));
    {
        const struct {
            const char *name;
            scep_bytes set;
        } rows[] = {
            { "nothing", nothing },
            { "an empty SET", fixture_tlv(0x31, nothing, p) },
            { "a SEQUENCE", fixture_tlv(0x30, list, p) },
            { "the implicit tag", fixture_tlv(0xA0, list, p) },
            { "a length that is not DER", with_long_length(0x31, list) },
            { "an indefinite length", fixture_indefinite(set, p) },
            { "bytes behind it", pair(set, (scep_bytes)TEXT("\0")) },
            { "a byte behind the last attribute",
              fixture_tlv(0x31, pair(list, (scep_bytes)TEXT("\0")), p) },
            { "an attribute without SEQUENCE",
              fixture_tlv(0x31, pair(list, fixture_tlv(0x04, nothing, p)), p) },
            { "65 attributes", fixture_tlv(0x31, many, p) },
        };

        for (int i = 0; i < ROWS(rows); i++) {
            scep_proof proof = signed_proof(rows[i].set, content);

            row = rows[i].name;
            assert_code(SCEP_UNDECODABLE, check(&proof, &default_accept));
        }
    }
}
END_TEST

/* ---- parts that are not what they should be ---- */

static scep_bytes *part_of(scep_proof *proof, int i)
{
    scep_bytes *const parts[] = { &proof->signer,           &proof->attributes,
                                  &proof->digest_algorithm, &proof->signature_algorithm,
                                  &proof->signature,        &proof->content };

    return parts[i];
}

enum { SIGNER, ATTRIBUTES, DIGEST_ALGORITHM, SIGNATURE_ALGORITHM, SIGNATURE, CONTENT, PARTS };

START_TEST(a_part_that_is_longer_or_shorter_proves_nothing)
{
    fixture_sent *sent;
    scep_proof good_proof = proof_of(&good[_i / PARTS ? 5 : 0], &default_accept, &sent);
    scep_bytes whole = *part_of(&good_proof, _i % PARTS);

    assert_ok(check(&good_proof, &default_accept));
    for (size_t len = 0; len <= whole.len; len += len < 16 || len + 16 > whole.len ? 1 : 13) {
        scep_proof proof = good_proof;

        *part_of(&proof, _i % PARTS) =
            len < whole.len ? (scep_bytes){ whole.data, len } : pair(whole, (scep_bytes)TEXT("\0"));
        ck_assert_msg(check(&proof, &default_accept) != NULL, "part %d, %lu bytes of %lu",
                      _i % PARTS, (unsigned long)len, (unsigned long)whole.len);
    }
}
END_TEST

/* What the signature covers, and itself. */
START_TEST(a_part_with_a_byte_changed_proves_nothing)
{
    const int covered[] = { ATTRIBUTES, SIGNATURE, CONTENT };
    fixture_sent *sent;
    scep_proof good_proof = proof_of(&good[0], &default_accept, &sent);
    scep_bytes whole = *part_of(&good_proof, covered[_i]);

    for (size_t at = 0; at < whole.len; at += at < 64 ? 1 : 5) {
        scep_proof proof = good_proof;

        *part_of(&proof, covered[_i]) = fixture_flip(whole, at, (unsigned char)(1 << at % 8), p);
        assert_code(SCEP_BAD_MESSAGE, check(&proof, &default_accept));
    }
}
END_TEST

START_TEST(another_keys_certificate_or_signature_proves_nothing)
{
    fixture_sent *sent;
    scep_proof by_other = proof_of(&good[0], &default_accept, &sent), of_other = by_other;

    assert_ok(scep_cert_der(&of_other.signer, odd_other_certificate(p), p));
    assert_code(SCEP_BAD_MESSAGE, check(&of_other, &default_accept));
    by_other.signature = sign(by_other.attributes, fixture_key(1));
    assert_code(SCEP_BAD_MESSAGE, check(&by_other, &default_accept));
}
END_TEST

START_TEST(S_18_S_31_S_43_a_proof_by_a_bad_key_is_refused)
{
    X509 *(*const signers[])(apr_pool_t *) = { odd_huge_key, odd_edwards_key,
                                               odd_elliptic_recipient };

    for (int i = 0; i < ROWS(signers); i++) {
        fixture_sent *sent;
        scep_proof proof = proof_of(&good[0], &default_accept, &sent);

        assert_ok(scep_cert_der(&proof.signer, signers[i](p), p));
        assert_code(SCEP_BAD_ALG, check(&proof, &default_accept));
    }
}
END_TEST

/* ---- the envelope ---- */

START_TEST(R_061_S_08_S_17_S_32_an_envelope_that_is_not_acceptable_is_refused_once_it_is_read)
{
    const change none = { .which = COUNT };
    const struct {
        const char *name;
        fixture_request r;
        scep_code code;
    } rows[] = {
        { "S-17 AuthEnvelopedData", { .cipher = EVP_aes_128_gcm() }, SCEP_BAD_ALG },
        { "S-17 another mode", { .cipher = EVP_aes_128_ofb() }, SCEP_BAD_ALG },
        { "two recipients", { .recipients = 2 }, SCEP_BAD_REQUEST },
        { "S-32 a password", { .password_recipient = true }, SCEP_BAD_REQUEST },
        { "R-061 not data", { .inner_content_type = "1.2.840.113549.1.7.2" }, SCEP_BAD_REQUEST },
        { "no envelope", { .plain = true }, SCEP_BAD_REQUEST },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        scep_bytes content = fixture_build(&rows[i].r, p)->envelope;
        scep_proof proof =
            signed_proof(fixture_tlv(0x31, encode_attributes(content, &none), p), content);
        scep_message *m;

        row = rows[i].name;
        /* anybody can sign one: the signer is judged before it is looked into */
        assert_ok(scep_proof_check(&m, &proof, &default_accept, p));
        ck_assert_ptr_null(m->envelope);
        ck_assert_ptr_null(m->cipher);
        assert_code(rows[i].code, scep_proof_open(m, &default_accept, p));
        proof.signature = sign(proof.attributes, fixture_key(1));
        assert_code(SCEP_BAD_MESSAGE, check(&proof, &default_accept));
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, a_proof_says_what_its_message_said, 0, ROWS(good));
    tcase_add_test(cases, R_065_D_16_old_algorithms_prove_nothing_unless_they_are_on);
    tcase_add_test(cases, S_18_a_proof_below_the_digest_for_renewals_is_refused);
    tcase_add_test(cases, other_messages_are_no_proof_of_renewal);
    tcase_add_test(cases, no_proof_comes_out_of_a_proof);
    tcase_add_loop_test(cases, attributes_of_no_interest_do_not_matter, 0, ROWS(harmless));
    tcase_add_loop_test(cases, S_19_attributes_that_are_signed_but_wrong_prove_nothing, 0,
                        ROWS(harmful));
    tcase_add_test(cases, R_056_R_068_a_proof_obeys_the_rules_for_nonce_and_time);
    tcase_add_test(cases, signed_bytes_that_are_no_set_of_attributes_prove_nothing);
    tcase_add_loop_test(cases, a_part_that_is_longer_or_shorter_proves_nothing, 0, 2 * PARTS);
    tcase_add_loop_test(cases, a_part_with_a_byte_changed_proves_nothing, 0, 3);
    tcase_add_test(cases, another_keys_certificate_or_signature_proves_nothing);
    tcase_add_test(cases, S_18_S_31_S_43_a_proof_by_a_bad_key_is_refused);
    tcase_add_test(
        cases, R_061_S_08_S_17_S_32_an_envelope_that_is_not_acceptable_is_refused_once_it_is_read);
}

int main(void)
{
    return run_suite("proof", add_tests);
}
