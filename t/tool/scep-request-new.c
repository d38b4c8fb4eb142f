/* scep-request new: writes requests, good ones and spoiled ones. */
#include "scep-request.h"

#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static X509 *pick_recipient(const options *o, apr_pool_t *p)
{
    X509_STACK *certs;
    X509 *found = NULL;

    if (o->recipient)
        return read_cert(o->recipient, p);
    if (!o->ca_ra)
        die("new", "needs --recipient or --ca-ra");
    certs = read_ca_ra(o->ca_ra, p);
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        bool encrypts = (X509_get_key_usage(cert) & KU_KEY_ENCIPHERMENT) != 0;

        if (encrypts && (!found || (X509_check_ca(found) && !X509_check_ca(cert))))
            found = cert;
    }
    if (!found)
        die(o->ca_ra, "has no certificate with keyEncipherment");
    return found;
}

static const EVP_CIPHER *pick_cipher(const char *name)
{
    if (!name || strcmp(name, "aes128") == 0)
        return EVP_aes_128_cbc();
    if (strcmp(name, "aes192") == 0)
        return EVP_aes_192_cbc();
    if (strcmp(name, "aes256") == 0)
        return EVP_aes_256_cbc();
    if (strcmp(name, "3des") == 0)
        return EVP_des_ede3_cbc();
    if (strcmp(name, "des") != 0)
        die("--cipher", name);
    load_legacy();
    return EVP_des_cbc();
}

static const EVP_MD *pick_digest(const char *option, const char *name)
{
    const EVP_MD *digest = EVP_get_digestbyname(name ? name : "sha256");

    if (!digest)
        die(option, name);
    return digest;
}

static uint32_t pick_key_usage(const char *name)
{
    if (!name)
        return 0;
    if (strcmp(name, "digitalSignature") == 0)
        return KU_DIGITAL_SIGNATURE;
    if (strcmp(name, "keyEncipherment") == 0)
        return KU_KEY_ENCIPHERMENT;
    if (strcmp(name, "both") != 0)
        die("--key-usage", name);
    return KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT;
}

/* What --spoil does to a request before it is built. */
static void spoil(fixture_request *r, const char *word, apr_pool_t *p)
{
    const struct {
        const char *word;
        bool *flag;
    } flags[] = {
        { "csr", &r->spoil_csr },
        { "encrypted-key", &r->spoil_encrypted_key },
        { "padding", &r->spoil_padding },
        { "no-signer-cert", &r->without_signer },
        { "no-content", &r->no_content },
        { "no-attributes", &r->without_attributes },
        { "unsigned-attributes", &r->unsigned_attributes },
        { "not-enveloped", &r->plain },
        { "password-recipient", &r->password_recipient },
    };

    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
        if (strcmp(word, flags[i].word) == 0) {
            *flags[i].flag = true;
            return;
        }
    }
    if (strcmp(word, "signer-key") == 0)
        r->signer_key = fixture_key_make(2048, NULL, p);
    else if (strcmp(word, "recipient") == 0)
        r->recipient = fixture_cert("stranger", fixture_key(1), NULL, NULL, false, 0, p);
    else if (strcmp(word, "two-signers") == 0)
        r->signers = 2;
    else if (strcmp(word, "no-transaction-id") == 0)
        r->transaction_id = "";
    else if (strcmp(word, "no-nonce") == 0)
        r->nonce_length = -1;
    else if (strcmp(word, "two-challenges") == 0)
        r->challenges = 2;
    else if (strcmp(word, "message-data") == 0)
        r->message_data = scep_bytes_of("this is no certification request");
    else if (strcmp(word, "signature") != 0 && strcmp(word, "content") != 0)
        die("--spoil", word);
}

/* What --spoil does to the finished message. */
static scep_bytes spoil_message(const fixture_sent *sent, const char *word, apr_pool_t *p)
{
    if (word && strcmp(word, "signature") == 0)
        return fixture_flip(sent->der, sent->der.len - 1, 1, p);
    if (word && strcmp(word, "content") == 0)
        return fixture_flip(sent->der,
                            fixture_find(sent->der, sent->envelope) + sent->envelope.len - 1, 1, p);
    return sent->der;
}

static const char *numbered(const char *text, int number, apr_pool_t *p)
{
    const char *at = text ? strstr(text, "{}") : NULL;

    return at ? apr_psprintf(p, "%.*s%d%s", (int)(at - text), text, number, at + 2) : text;
}

/* A UTCTime so many minutes from now. */
static const char *minutes_from_now(const char *minutes, apr_pool_t *p)
{
    time_t when = time(NULL) + 60 * atol(minutes);
    struct tm tm;

    FIXTURE_MUST(gmtime_r(&when, &tm));
    return apr_psprintf(p, "%02d%02d%02d%02d%02d%02dZ", tm.tm_year % 100, tm.tm_mon + 1, tm.tm_mday,
                        tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static EVP_PKEY *make_key(const char *type, apr_pool_t *p)
{
    const struct {
        const char *name, *curve;
    } curves[] = { { "p256", "P-256" }, { "p384", "P-384" }, { "p521", "P-521" } };

    if (!type || strncmp(type, "rsa", 3) == 0)
        return fixture_key_make(type ? atoi(type + 3) : 2048, NULL, p);
    for (size_t i = 0; i < sizeof(curves) / sizeof(*curves); i++) {
        if (strcmp(type, curves[i].name) == 0)
            return fixture_key_make(0, curves[i].curve, p);
    }
    die("--key-type", type);
}

static EVP_PKEY **make_keys(const options *o, int count, int *keys, apr_pool_t *p)
{
    EVP_PKEY **made;

    *keys = o->key ? 1 : o->keys ? atoi(o->keys) : count;
    *keys = *keys < count ? *keys : count;
    if (*keys < 1)
        die("--keys and --count", "are numbers from 1 on");
    made = apr_pcalloc(p, (size_t)*keys * sizeof(EVP_PKEY *));
    for (int i = 0; i < *keys; i++)
        made[i] = o->key ? read_key(o->key, p) : make_key(o->key_type, p);
    return made;
}

static void write_request(const options *o, const fixture_sent *sent, int number, apr_pool_t *p)
{
    X509_STACK *signer = scep_borrowed_stack(p);
    const char *base = apr_psprintf(p, "%s/%04d", o->out, number);
    const char *facts = apr_psprintf(p, "%s\n%s\n", sent->transaction_id, scep_hex(p, sent->nonce));

    FIXTURE_MUST(sk_X509_push(signer, sent->signer));
    write_file(apr_pstrcat(p, base, ".der", NULL), spoil_message(sent, o->spoil, p));
    write_file(apr_pstrcat(p, base, ".csr", NULL), sent->csr);
    write_file(apr_pstrcat(p, base, ".sent", NULL), scep_bytes_of(facts));
    write_key(apr_pstrcat(p, base, ".key", NULL), sent->key, p);
    write_key(apr_pstrcat(p, base, ".signer.key", NULL), sent->signer_key, p);
    write_certs(apr_pstrcat(p, base, ".crt", NULL), signer, 1, p);
    printf("%04d %s\n", number, sent->transaction_id);
}

/* What all requests of this call have in common. */
static fixture_request common(const options *o, const earlier *before, apr_pool_t *p)
{
    fixture_request r = { .recipient = pick_recipient(o, p),
                          .cipher = pick_cipher(o->cipher),
                          .digest = pick_digest("--digest", o->digest),
                          .csr_digest = pick_digest("--csr-digest", o->csr_digest),
                          .key_usage = pick_key_usage(o->key_usage),
                          .extensions = o->ext,
                          .message_type = o->type,
                          .signer_subject = o->signer_subject,
                          .oaep = o->oaep != NULL,
                          .pss = o->pss != NULL,
                          .ber = o->ber != NULL };

    if ((o->signer != NULL) != (o->signer_key != NULL))
        die("--signer", "needs --signer-key, and the other way round");
    if (o->nonce_length)
        r.nonce_length = atoi(o->nonce_length);
    if (o->signing_time)
        r.signing_time = minutes_from_now(o->signing_time, p);
    if (o->signer) {
        r.signer = read_cert(o->signer, p);
        r.signer_key = read_key(o->signer_key, p);
    }
    if (before) {
        r.message_type = o->type ? o->type : "20";
        /* another key or signer was asked for where it was named */
        if (!o->signer && !o->key && !o->key_type) {
            r.signer = before->signer;
            r.signer_key = before->signer_key;
        }
    }
    return r;
}

int command_new(const options *o, apr_pool_t *p)
{
    int count = o->count ? atoi(o->count) : 1;
    earlier former = o->poll ? read_earlier(o->poll, p) : (earlier){ 0 };
    const earlier *before = o->poll ? &former : NULL;
    bool old_key = before && !o->key && !o->key_type;
    int keys = 1;
    EVP_PKEY **key = old_key ? &former.key : make_keys(o, count, &keys, p);
    FILE *challenges = o->challenge_file ? open_challenges(o->challenge_file) : NULL;
    fixture_request base = common(o, before, p);

    if (!o->out)
        die("new", "needs --out");
    for (int i = 1; i <= count; i++) {
        apr_pool_t *one;
        fixture_request r = base;

        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        r.key = key[(i - 1) % keys];
        r.challenge = challenges ? read_challenge(challenges, one) : NULL;
        r.subject = numbered(o->subject, i, one);
        r.san = numbered(o->san, i, one);
        r.message_type = numbered(r.message_type, i, one);
        r.transaction_id =
            o->transaction_id ? numbered(o->transaction_id, i, one) : former.transaction_id;
        r.message_data = make_data(o, before, r.subject, one);
        if (o->spoil)
            spoil(&r, o->spoil, one);
        write_request(o, fixture_build(&r, one), i, one);
        apr_pool_destroy(one);
    }
    if (challenges && challenges != stdin)
        (void)fclose(challenges);
    return 0;
}
