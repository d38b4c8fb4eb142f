/*
 * lib/proof.h: the proof of a renewal, as whoever holds the CA's key checks it. Three kinds of
 * input, told by the first byte:
 *
 *   'A' signer(1) digest(1) length(2) attributes content: signed attributes as they stand, signed
 *       with a fixed key, so that what is behind the signature is reached. A digest that the
 *       attributes hold is replaced by that of the content
 *   'W' the body of a RENEW frame: every member of the proof at will
 *   anything else: a message (fuzz.h), of which the proof is taken; it has to prove what it says
 */
#include "fuzz.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <string.h>

static const scep_accept accept_any = { .minimum_hash_bits = 160 };

static void check(const scep_proof *proof, const scep_message *from, apr_pool_t *p)
{
    scep_message *m = NULL;
    const scep_err *err = scep_proof_check(&m, proof, &accept_any, p);

    FIXTURE_MUST(!err == !!m);
    if (from)
        FIXTURE_MUST(!err == (from->message_type == SCEP_RENEWAL_REQ ||
                              from->message_type == SCEP_PKCS_REQ));
    if (!m)
        return;
    FIXTURE_MUST(m->message_type == SCEP_RENEWAL_REQ || m->message_type == SCEP_PKCS_REQ);
    FIXTURE_MUST(m->signer && m->signer_key && m->digest && !m->envelope);
    FIXTURE_MUST(m->transaction_id.len >= 1 && m->transaction_id.len <= 255);
    if (from)
        FIXTURE_MUST(m->message_type == from->message_type &&
                     scep_message_is_self_signed(m) == scep_message_is_self_signed(from) &&
                     m->digest == from->digest &&
                     scep_bytes_equal(m->signer->der, from->signer->der) &&
                     scep_bytes_equal(m->transaction_id, from->transaction_id) &&
                     scep_bytes_equal(m->sender_nonce, from->sender_nonce));
    err = scep_proof_open(m, &accept_any, p);
    FIXTURE_MUST(err ? !from : m->envelope && m->cipher);
}

static void check_message(scep_bytes der, apr_pool_t *p)
{
    scep_message *m = NULL;
    scep_proof proof;

    if (scep_message_open(&m, der, &accept_any, p))
        return;
    FIXTURE_MUST(!scep_proof_take(&proof, m, p));
    check(&proof, m, p);
}

static void check_frame(scep_bytes body, apr_pool_t *p)
{
    scep_wire_renew frame;
    scep_proof proof;

    if (scep_wire_get_renew(&frame, body, p))
        return;
    proof = (scep_proof){ .signer = frame.signer,
                          .attributes = frame.attributes,
                          .digest_algorithm = frame.digest_algorithm,
                          .signature_algorithm = frame.signature_algorithm,
                          .signature = frame.signature,
                          .content = frame.content };
    check(&proof, NULL, p);
}

static scep_bytes algorithm(int nid, apr_pool_t *p)
{
    X509_ALGOR *made = X509_ALGOR_new();
    unsigned char *der = NULL;
    scep_bytes out;
    int len;

    FIXTURE_MUST(made && X509_ALGOR_set0(made, OBJ_nid2obj(nid), V_ASN1_UNDEF, NULL));
    len = i2d_X509_ALGOR(made, &der);
    FIXTURE_MUST(len > 0);
    out = scep_bytes_dup(p, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    X509_ALGOR_free(made);
    return out;
}

static scep_bytes sign(scep_bytes data, EVP_PKEY *key, const EVP_MD *digest, apr_pool_t *p)
{
    size_t len = (size_t)EVP_PKEY_get_size(key);
    unsigned char *out = apr_palloc(p, len);
    EVP_MD_CTX *ctx = scep_EVP_MD_CTX(p, EVP_MD_CTX_new());

    FIXTURE_MUST(ctx && EVP_DigestSignInit(ctx, NULL, digest, NULL, key) == 1 &&
                 EVP_DigestSign(ctx, out, &len, data.data, data.len) == 1);
    return (scep_bytes){ out, len };
}

/* Where messageDigest stands with a value of the digest's length, put the content's there. */
static scep_bytes put_digest(scep_bytes attributes, scep_bytes content, const EVP_MD *digest,
                             apr_pool_t *p)
{
    static const unsigned char oid[] = { 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86,
                                         0xF7, 0x0D, 0x01, 0x09, 0x04, 0x31 };
    unsigned char *copy = apr_pmemdup(p, attributes.data, attributes.len);
    const size_t len = (size_t)EVP_MD_get_size(digest), skip = sizeof(oid) + 3;

    for (size_t at = 0; at + skip + len <= attributes.len; at++)
        if (!memcmp(copy + at, oid, sizeof(oid)) && copy[at + skip - 1] == len)
            FIXTURE_MUST(
                EVP_Digest(content.data, content.len, copy + at + skip, NULL, digest, NULL));
    return (scep_bytes){ copy, attributes.len };
}

static void check_attributes(scep_cursor c, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    const fuzz_party *const signers[] = { &keys->device, &keys->elliptic };
    const struct {
        const EVP_MD *digest;
        int nid, signatures[2];
    } digests[] = {
        { EVP_sha256(), NID_sha256, { NID_sha256WithRSAEncryption, NID_ecdsa_with_SHA256 } },
        { EVP_sha1(), NID_sha1, { NID_sha1WithRSAEncryption, NID_ecdsa_with_SHA1 } },
        { EVP_sha512(), NID_sha512, { NID_sha512WithRSAEncryption, NID_ecdsa_with_SHA512 } },
    };
    uint8_t signer, digest, high, low;
    scep_bytes attributes, content;
    scep_proof proof;

    if (!scep_cursor_u8(&c, &signer) || !scep_cursor_u8(&c, &digest) ||
        !scep_cursor_u8(&c, &high) || !scep_cursor_u8(&c, &low) ||
        !scep_cursor_take(&c, (size_t)high << 8 | low, &attributes))
        return;
    signer %= 2, digest %= 3;
    content = (scep_bytes){ c.at, c.left };
    attributes = put_digest(attributes, content, digests[digest].digest, p);
    FIXTURE_MUST(!scep_cert_der(&proof.signer, signers[signer]->cert, p));
    proof.attributes = attributes;
    proof.digest_algorithm = algorithm(digests[digest].nid, p);
    proof.signature_algorithm = algorithm(digests[digest].signatures[signer], p);
    proof.signature = sign(attributes, signers[signer]->key, digests[digest].digest, p);
    proof.content = content;
    check(&proof, NULL, p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();

    if (size && *data == 'A')
        check_attributes((scep_cursor){ data + 1, size - 1 }, p);
    else if (size && *data == 'W')
        check_frame((scep_bytes){ data + 1, size - 1 }, p);
    else
        check_message(fuzz_message(data, size, p), p);
    ERR_clear_error();
    fuzz_end(p);
    return 0;
}
