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
    FIXTURE_MUST(m->envelope && m->recipient);
    FIXTURE_MUST(sk_CMS_RecipientInfo_num(CMS_get0_RecipientInfos(m->envelope)) == 1);
    /* the envelope holds no key agreement, no password, no other mode than CBC (S-17, S-32) */
    FIXTURE_MUST(CMS_RecipientInfo_type(m->recipient) == CMS_RECIPINFO_TRANS);
    FIXTURE_MUST(EVP_CIPHER_get_mode(m->cipher) == EVP_CIPH_CBC_MODE);
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
    err = scep_ra_decrypt(&plain, &keys->ra, m, p);
    FIXTURE_MUST(!err || err->code == SCEP_UNREADABLE);
    FIXTURE_MUST(err || plain.len <= der.len);
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
