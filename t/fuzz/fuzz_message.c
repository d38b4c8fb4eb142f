/* lib/message.h, lib/algorithm.h, lib/ra.h: a request is taken apart and its envelope opened. */
#include "fuzz.h"

#include <openssl/err.h>

static const scep_accept accepts[] = {
    { .minimum_hash_bits = 160 },
    { .minimum_hash_bits = 256, .nonce_required = true, .clock_skew = 5 },
    { .minimum_hash_bits = 160, .legacy = true },
};

static void check_accepted(const scep_message *m)
{
    FIXTURE_MUST(m->message_type == SCEP_PKCS_REQ || m->message_type == SCEP_RENEWAL_REQ ||
                 m->message_type == SCEP_CERT_POLL || m->message_type == SCEP_GET_CERT ||
                 m->message_type == SCEP_GET_CRL);
    FIXTURE_MUST(m->signer && m->signer_key && m->digest && m->cipher);
    /* the envelope holds no key agreement, no password, no other mode than CBC (S-17, S-32) */
    FIXTURE_MUST(m->envelope && !m->envelope->issuer.len == !m->envelope->serial &&
                 (!m->envelope->issuer.len || !m->envelope->key_id.len));
    FIXTURE_MUST(EVP_CIPHER_get_mode(m->cipher) == EVP_CIPH_CBC_MODE);
}

static X509 *signer_of(CMS_ContentInfo *cms, CMS_SignerInfo *info, apr_pool_t *p)
{
    const X509_STACK *sent = scep_X509_STACK(p, CMS_get1_certs(cms));

    for (int i = 0; i < sk_X509_num(sent); i++)
        if (!CMS_SignerInfo_cert_cmp(info, sk_X509_value(sent, i)))
            return sk_X509_value(sent, i);
    return NULL;
}

/* OpenSSL's CMS says the same of it, where it reads it: it decodes each certificate beside the
 * signer's too. */
static void compare(const scep_message *m, scep_bytes der, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)der.len));
    STACK_OF(CMS_SignerInfo) *infos = cms ? CMS_get0_SignerInfos(cms) : NULL;
    ASN1_OCTET_STRING **content = cms ? CMS_get0_content(cms) : NULL;
    CMS_SignerInfo *info;
    X509 *signer;

    if (!cms)
        return;
    FIXTURE_MUST(sk_CMS_SignerInfo_num(infos) == 1 && content && *content);
    info = sk_CMS_SignerInfo_value(infos, 0);
    signer = signer_of(cms, info, p);
    FIXTURE_MUST(signer && EVP_PKEY_eq(X509_get0_pubkey(signer), m->signer_key) == 1);
    FIXTURE_MUST(fuzz_is_name(m->signer->subject, X509_get_subject_name(signer)));
    FIXTURE_MUST(scep_cert_names_issuer(m->signer, X509_get_issuer_name(signer)));
    CMS_SignerInfo_set1_signer_cert(info, signer);
    FIXTURE_MUST(CMS_SignerInfo_verify(info) == 1);
    FIXTURE_MUST(
        scep_bytes_equal(m->content, (scep_bytes){ ASN1_STRING_get0_data(*content),
                                                   (size_t)ASN1_STRING_length(*content) }));
}

/* A content key that does not open is replaced by a random one (S-15), under which one envelope in
 * 256 has good padding: then the next time it has not, or holds something else. */
static bool opens_again(const scep_message *m, scep_bytes plain, apr_pool_t *p)
{
    scep_bytes again;

    return !scep_ra_decrypt(&again, &fuzz_keys_get()->ra, m, p) && scep_bytes_equal(again, plain);
}

/* CMS_decrypt() opens it to the same bytes. */
static void compare_plain(const scep_message *m, scep_bytes plain, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    const unsigned char *at = m->content.data;
    CMS_ContentInfo *cms =
        scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)m->content.len));
    BIO *out = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *data;
    long len;

    /* named by its certificate: another name for it is none to OpenSSL */
    if (!cms || !CMS_decrypt_set1_pkey(cms, keys->ra.decrypt.key, keys->ra.decrypt.cert))
        return;
    FIXTURE_MUST(out && CMS_decrypt(cms, NULL, NULL, NULL, out, CMS_BINARY) == 1);
    len = BIO_get_mem_data(out, &data);
    FIXTURE_MUST(scep_bytes_equal(plain, (scep_bytes){ (unsigned char *)data, (size_t)len }));
}

/* @return may it be told apart by what is accepted? What cannot be decoded is so for all. */
static bool open_message(scep_bytes der, const scep_accept *accept, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    scep_message *m = NULL;
    const scep_err *err = scep_message_open(&m, der, accept, p);
    scep_bytes plain;

    /* what cannot be answered has no transactionID, and the other way round */
    FIXTURE_MUST(
        !m == (err && scep_code_describe(err->code)->fail_info < 0 && err->code != SCEP_INTERNAL));
    if (m) {
        FIXTURE_MUST(m->transaction_id.len >= 1 && m->transaction_id.len <= 255);
        FIXTURE_MUST(m->sender_nonce.len <= 64);
    }
    if (err)
        return m != NULL;
    check_accepted(m);
    FIXTURE_MUST(!accept->nonce_required || m->sender_nonce.len);
    if (accept != accepts)
        return true;
    compare(m, der, p);
    err = scep_ra_decrypt(&plain, &keys->ra, m, p);
    FIXTURE_MUST(!err || err->code == SCEP_UNREADABLE);
    FIXTURE_MUST(err || plain.len <= der.len);
    if (!err && opens_again(m, plain, p))
        compare_plain(m, plain, p);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    scep_bytes der = fuzz_message(data, size, p);

    for (size_t i = 0; i < sizeof(accepts) / sizeof(*accepts); i++)
        if (!open_message(der, &accepts[i], p))
            break;
    /* the reason of a refusal belongs to that refusal and stays in no queue */
    ERR_clear_error();
    fuzz_end(p);
    return 0;
}
