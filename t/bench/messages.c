/* scep-bench keys, make and renew: what is sent is made before the clock runs. */
#include "bench.h"

#include <apr_strings.h>
#include <openssl/pem.h>

#define KEY_AT(keys, i) APR_ARRAY_IDX(keys, (i) % (uint32_t)(keys)->nelts, EVP_PKEY *)

int command_keys(const words *w, apr_pool_t *p)
{
    const char *path = word_must(w, "out");
    long count = number_of(w, "count", 1, 8);
    BIO *bio = scep_BIO(p, BIO_new_file(path, "w"));

    if (!bio)
        die(path, "cannot be written");
    for (long i = 0; i < count; i++) {
        apr_pool_t *one;

        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        if (!PEM_write_bio_PrivateKey(bio, fixture_key_make(2048, NULL, one), NULL, NULL, 0, NULL,
                                      NULL))
            die(path, "cannot be written");
        apr_pool_destroy(one);
    }
    if (BIO_flush(bio) != 1)
        die(path, "cannot be written");
    return 0;
}

/* Whom requests are encrypted to: the RA that decrypts, else a CA that may. */
static X509 *recipient(const words *w, apr_pool_t *p)
{
    X509_STACK *certs = read_ca_ra(word_must(w, "ca-ra"), p);
    X509 *found = NULL;

    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);

        if (X509_get_key_usage(cert) & KU_KEY_ENCIPHERMENT && (!found || X509_check_ca(found)))
            found = cert;
    }
    if (!found)
        die(word_must(w, "ca-ra"), "has no certificate with keyEncipherment");
    return found;
}

/* Distinct, and as long as clients make them: 40 hex digits. */
static const char *transaction_id(const char *name, apr_pool_t *p)
{
    scep_bytes text = scep_bytes_of(name);
    unsigned char hash[EVP_MAX_MD_SIZE];

    FIXTURE_MUST(EVP_Digest(text.data, text.len, hash, NULL, EVP_sha256(), NULL));
    return scep_hex(p, (scep_bytes){ hash, 20 });
}

static void write_one(FILE *out, const fixture_request *r, uint32_t key, uint32_t signer_key,
                      apr_pool_t *p)
{
    const fixture_sent *sent = fixture_build(r, p);
    unsigned char *der = NULL;
    int len = i2d_X509(sent->signer, &der);

    FIXTURE_MUST(len > 0);
    put_message(out, &(bench_message){ .key = key,
                                       .signer_key = signer_key,
                                       .signer = { der, (size_t)len },
                                       .nonce = sent->nonce,
                                       .transaction_id = scep_bytes_of(sent->transaction_id),
                                       .der = sent->der });
    OPENSSL_free(der);
}

int command_make(const words *w, apr_pool_t *p)
{
    const char *path = word_must(w, "out"), *name = word_must(w, "name");
    apr_array_header_t *keys = get_keys(word_must(w, "keys"), p);
    FILE *challenges = open_challenges(word_must(w, "challenges"));
    X509 *to = recipient(w, p);
    long count = number_of(w, "count", 1, 1);
    FILE *out = records_create(path);

    for (long i = 0; i < count; i++) {
        uint32_t key = (uint32_t)(i % keys->nelts);
        fixture_request r = { .recipient = to, .key = KEY_AT(keys, key) };
        apr_pool_t *one;

        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        r.challenge = read_challenge(challenges, one);
        r.subject = apr_psprintf(one, "CN=%s %ld,O=bench", name, i);
        r.transaction_id = transaction_id(r.subject, one);
        write_one(out, &r, key, key, one);
        apr_pool_destroy(one);
    }
    if (challenges != stdin)
        (void)fclose(challenges);
    records_close(out, path);
    return 0;
}

/* The name of a certificate as fixture_set_name() takes it. */
static const char *common_name(X509 *cert, apr_pool_t *p)
{
    char cn[128];

    if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn)) < 1)
        die("renew", "a certificate has no common name");
    return apr_psprintf(p, "CN=%s,O=bench", cn);
}

int command_renew(const words *w, apr_pool_t *p)
{
    const char *path = word_must(w, "out"), *name = word_must(w, "name");
    judge j = judge_make(w, p);
    apr_array_header_t *replies = get_replies(word_must(w, "replies"), p);
    X509 *to = recipient(w, p);
    FILE *out = records_create(path);

    for (int i = 0; i < replies->nelts; i++) {
        const bench_reply *reply = &APR_ARRAY_IDX(replies, i, bench_reply);
        fixture_request r = { .recipient = to, .message_type = "17" };
        uint32_t old;
        const char *why;
        apr_pool_t *one;

        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        why = judge_reply(&r.signer, &j, reply, one);
        if (why)
            die("an answer cannot be renewed", why);
        old = APR_ARRAY_IDX(j.messages, (int)reply->message, bench_message).key;
        r.signer_key = KEY_AT(j.keys, old);
        r.key = KEY_AT(j.keys, old + 1);
        r.subject = common_name(r.signer, one);
        r.transaction_id = transaction_id(apr_psprintf(one, "%s %d", name, i), one);
        write_one(out, &r, (old + 1) % (uint32_t)j.keys->nelts, old, one);
        apr_pool_destroy(one);
    }
    records_close(out, path);
    return 0;
}
