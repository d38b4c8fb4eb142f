/*
 * scep-bench floor: the cryptography that one enrolment cannot do without, and nothing else: no
 * ASN.1, no HTTP, no store. Keys are objects already; lengths are those of a usual enrolment.
 */
#include "bench.h"

#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>
#include <time.h>

#define CLIENTS 8
#define WARM_UP 64

enum {
    CSR = 640,
    CSR_SIGNED = 360,
    REQUEST_CONTENT = 1080,
    REQUEST_ATTRIBUTES = 200,
    CERTIFICATE_SIGNED = 620,
    CERTIFICATES = 940,
    REPLY_CONTENT = 1340,
    REPLY_ATTRIBUTES = 260
};

/* What a device has sent. */
typedef struct device {
    EVP_PKEY *key;
    unsigned char attributes_signature[256], csr_signature[256];
    unsigned char content_key[16], iv[16], encrypted_key[256], encrypted_csr[CSR + 16];
} device;

typedef struct rooms {
    EVP_PKEY *ra_sign, *ra_decrypt, *ca;
    device devices[CLIENTS];
    unsigned char text[2048], out[2048];
} rooms;

static size_t sign(EVP_PKEY *key, const unsigned char *data, size_t len, unsigned char *out)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    size_t size = 256;

    FIXTURE_MUST(c && EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
                 EVP_DigestSign(c, out, &size, data, len) == 1);
    EVP_MD_CTX_free(c);
    return size;
}

static void verify(EVP_PKEY *key, const unsigned char *data, size_t len,
                   const unsigned char *signature)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();

    FIXTURE_MUST(c && EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, key) == 1 &&
                 EVP_DigestVerify(c, signature, 256, data, len) == 1);
    EVP_MD_CTX_free(c);
}

static void digest(const unsigned char *data, size_t len)
{
    unsigned char hash[EVP_MAX_MD_SIZE];

    FIXTURE_MUST(EVP_Digest(data, len, hash, NULL, EVP_sha256(), NULL));
}

static void wrap(EVP_PKEY *key, const unsigned char *content_key, unsigned char *out)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
    size_t size = 256;

    FIXTURE_MUST(c && EVP_PKEY_encrypt_init(c) == 1 &&
                 EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
                 EVP_PKEY_encrypt(c, out, &size, content_key, 16) == 1);
    EVP_PKEY_CTX_free(c);
}

static void unwrap(EVP_PKEY *key, const unsigned char *in, unsigned char content_key[256])
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
    size_t size = 256;

    FIXTURE_MUST(c && EVP_PKEY_decrypt_init(c) == 1 &&
                 EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
                 EVP_PKEY_decrypt(c, content_key, &size, in, 256) == 1 && size == 16);
    EVP_PKEY_CTX_free(c);
}

static int apply_cipher(int encrypt, const unsigned char *key, const unsigned char *iv,
                        const unsigned char *in, int len, unsigned char *out)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int some = 0, rest = 0;

    FIXTURE_MUST(c && EVP_CipherInit_ex2(c, EVP_aes_128_cbc(), key, iv, encrypt, NULL) == 1 &&
                 EVP_CipherUpdate(c, out, &some, in, len) == 1 &&
                 EVP_CipherFinal_ex(c, out + some, &rest) == 1);
    EVP_CIPHER_CTX_free(c);
    return some + rest;
}

static void prepare(rooms *r, const char *ca, apr_pool_t *p)
{
    if (strcmp(ca, "rsa2048") != 0 && strcmp(ca, "p256") != 0)
        die("--ca", "is rsa2048 or p256");
    r->ca = fixture_key_make(2048, strcmp(ca, "p256") == 0 ? "P-256" : NULL, p);
    r->ra_sign = fixture_key_make(2048, NULL, p);
    r->ra_decrypt = fixture_key_make(2048, NULL, p);
    FIXTURE_MUST(RAND_bytes(r->text, sizeof(r->text)) == 1);
    for (int i = 0; i < CLIENTS; i++) {
        device *d = &r->devices[i];

        d->key = fixture_key_make(2048, NULL, p);
        FIXTURE_MUST(RAND_bytes(d->content_key, 16) == 1 && RAND_bytes(d->iv, 16) == 1);
        (void)sign(d->key, r->text, REQUEST_ATTRIBUTES, d->attributes_signature);
        (void)sign(d->key, r->text, CSR_SIGNED, d->csr_signature);
        wrap(r->ra_decrypt, d->content_key, d->encrypted_key);
        FIXTURE_MUST(apply_cipher(1, d->content_key, d->iv, r->text, CSR, d->encrypted_csr) ==
                     CSR + 16);
    }
}

static void enrol(rooms *r, const device *d)
{
    unsigned char key[256], iv[16], signature[256];

    digest(r->text, REQUEST_CONTENT);
    verify(d->key, r->text, REQUEST_ATTRIBUTES, d->attributes_signature);
    unwrap(r->ra_decrypt, d->encrypted_key, key);
    FIXTURE_MUST(apply_cipher(0, key, d->iv, d->encrypted_csr, CSR + 16, r->out) == CSR);
    verify(d->key, r->text, CSR_SIGNED, d->csr_signature);
    (void)sign(r->ca, r->text, CERTIFICATE_SIGNED, signature);
    FIXTURE_MUST(RAND_bytes(key, 16) == 1 && RAND_bytes(iv, 16) == 1);
    (void)apply_cipher(1, key, iv, r->text, CERTIFICATES, r->out);
    wrap(d->key, key, signature);
    digest(r->text, REPLY_CONTENT);
    (void)sign(r->ra_sign, r->text, REPLY_ATTRIBUTES, signature);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;

    FIXTURE_MUST(clock_gettime(clock, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int command_floor(const words *w, apr_pool_t *p)
{
    rooms *r = apr_pcalloc(p, sizeof(*r));
    double until, cpu;
    unsigned n = 0;

    prepare(r, word_must(w, "ca"), p);
    for (int i = 0; i < WARM_UP; i++)
        enrol(r, &r->devices[i % CLIENTS]);
    until = seconds_of(CLOCK_MONOTONIC) + (double)number_of(w, "seconds", 1, 3);
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    do
        enrol(r, &r->devices[n++ % CLIENTS]);
    while (seconds_of(CLOCK_MONOTONIC) < until);
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("enrolments=%u\ncpu_us=%.1f\n", n, cpu * 1e6 / n);
    return 0;
}
