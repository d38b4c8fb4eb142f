/* scep-bench check: opens every answer, with the independent reader of t/unit/fixture.h. */
#include "bench.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <openssl/err.h>
#include <string.h>

judge judge_make(const words *w, apr_pool_t *p)
{
    judge j = { .keys = get_keys(word_must(w, "keys"), p),
                .messages = get_messages(word_must(w, "messages"), p),
                .ca_ra = read_ca_ra(word_must(w, "ca-ra"), p) };

    j.ca = find_ca(j.ca_ra);
    if (!j.ca)
        die(word_must(w, "ca-ra"), "has no certificate of a CA");
    return j;
}

static bool is(const char *text, const char *wanted)
{
    return text && strcmp(text, wanted) == 0;
}

static EVP_PKEY *key_at(const judge *j, uint32_t i)
{
    if (i >= (uint32_t)j->keys->nelts)
        die("--keys", "holds fewer keys than the requests were made with");
    return APR_ARRAY_IDX(j->keys, i, EVP_PKEY *);
}

static const char *judge_envelope(const judge *j, const fixture_reply *reply,
                                  const bench_message *m)
{
    bool known = false;

    for (int i = 0; i < sk_X509_num(j->ca_ra); i++)
        known |= X509_cmp(sk_X509_value(j->ca_ra, i), reply->ra) == 0;
    if (!reply->verified)
        return "the signature does not verify";
    if (!known)
        return "signed by a certificate that GetCACert did not send";
    if (!is(reply->message_type, "3"))
        return "not a CertRep";
    if (!scep_bytes_equal(scep_bytes_of(reply->transaction_id), m->transaction_id))
        return "another transactionID";
    if (!scep_bytes_equal(reply->recipient_nonce, m->nonce))
        return "another recipientNonce";
    if (!reply->sender_nonce.len || scep_bytes_equal(reply->sender_nonce, m->nonce))
        return "no senderNonce of its own";
    if (reply->digest_nid != NID_sha256)
        return "not signed with SHA-256";
    return NULL;
}

static const char *judge_leaf(const judge *j, X509 *leaf, X509 *signer, const bench_message *m)
{
    if (EVP_PKEY_eq(X509_get0_pubkey(leaf), key_at(j, m->key)) != 1)
        return "the certificate has another key";
    if (X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_subject_name(signer)) != 0)
        return "the certificate has another subject";
    if (X509_NAME_cmp(X509_get_issuer_name(leaf), X509_get_subject_name(j->ca)) != 0 ||
        X509_verify(leaf, X509_get0_pubkey(j->ca)) != 1)
        return "the certificate is not the CA's";
    return NULL;
}

const char *judge_reply(X509 **leaf, const judge *j, const bench_reply *r, apr_pool_t *p)
{
    const bench_message *m;
    const unsigned char *at;
    const char *why;
    fixture_reply *reply;
    X509 *signer;

    if (r->message >= (uint32_t)j->messages->nelts)
        die("--replies", "are to other requests");
    if (r->status != 200)
        return apr_psprintf(p, "HTTP status %u", r->status);
    m = &APR_ARRAY_IDX(j->messages, (int)r->message, bench_message);
    at = m->signer.data;
    signer = scep_X509(p, d2i_X509(NULL, &at, (long)m->signer.len));
    FIXTURE_MUST(signer);
    reply = fixture_open(r->body, signer, key_at(j, m->signer_key), &why, p);
    if (!reply)
        return why;
    why = judge_envelope(j, reply, m);
    if (why)
        return why;
    if (!is(reply->pki_status, "0"))
        return apr_psprintf(p, "pkiStatus %s, failInfo %s",
                            reply->pki_status ? reply->pki_status : "none",
                            reply->fail_info ? reply->fail_info : "none");
    if (!reply->certs || sk_X509_num(reply->certs) < 1)
        return "no certificate inside";
    if (reply->cipher_nid != NID_aes_128_cbc)
        return "not encrypted with AES-128";
    *leaf = sk_X509_value(reply->certs, 0);
    why = judge_leaf(j, *leaf, signer, m);
    ERR_clear_error();
    return why;
}

static void print_serial(FILE *to, X509 *leaf, apr_pool_t *p)
{
    const ASN1_INTEGER *number = X509_get0_serialNumber(leaf);

    fprintf(to, "%s\n",
            scep_hex(p, (scep_bytes){ ASN1_STRING_get0_data(number),
                                      (size_t)ASN1_STRING_length(number) }));
}

static void count(apr_hash_t *whys, const char *why, apr_pool_t *p)
{
    int *n = apr_hash_get(whys, why, APR_HASH_KEY_STRING);

    if (!n) {
        n = apr_pcalloc(p, sizeof(*n));
        apr_hash_set(whys, apr_pstrdup(p, why), APR_HASH_KEY_STRING, n);
    }
    ++*n;
}

int command_check(const words *w, apr_pool_t *p)
{
    judge j = judge_make(w, p);
    apr_array_header_t *replies = get_replies(word_must(w, "replies"), p);
    const char *path = word_of(w, "serials");
    FILE *serials = path ? records_create(path) : NULL;
    apr_hash_t *whys = apr_hash_make(p);
    int good = 0;

    for (int i = 0; i < replies->nelts; i++) {
        X509 *leaf = NULL;
        const char *why;
        apr_pool_t *one;

        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        why = judge_reply(&leaf, &j, &APR_ARRAY_IDX(replies, i, bench_reply), one);
        if (why)
            count(whys, why, p);
        else if (serials)
            print_serial(serials, leaf, one);
        good += !why;
        apr_pool_destroy(one);
    }
    if (serials)
        records_close(serials, path);
    printf("replies=%d\ngood=%d\nbad=%d\n", replies->nelts, good, replies->nelts - good);
    for (apr_hash_index_t *i = apr_hash_first(p, whys); i; i = apr_hash_next(i))
        printf("why=%d times: %s\n", *(int *)apr_hash_this_val(i),
               (const char *)apr_hash_this_key(i));
    return good == replies->nelts ? 0 : 1;
}
