/* Digests and ciphers, looked up once per process. */
#include "fetched.h"

#include <openssl/crypto.h>
#include <openssl/objects.h>
#include <stdlib.h>

static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;

static struct {
    int nid;
    const EVP_MD *(*plain)(void);
    const EVP_MD *found;
} digests[] = { { NID_sha256, EVP_sha256, NULL },
                { NID_sha1, EVP_sha1, NULL },
                { NID_sha224, EVP_sha224, NULL },
                { NID_sha384, EVP_sha384, NULL },
                { NID_sha512, EVP_sha512, NULL } };

static struct {
    int nid;
    const EVP_CIPHER *(*plain)(void);
    const EVP_CIPHER *found;
} ciphers[] = { { NID_aes_128_cbc, EVP_aes_128_cbc, NULL },
                { NID_aes_192_cbc, EVP_aes_192_cbc, NULL },
                { NID_aes_256_cbc, EVP_aes_256_cbc, NULL },
                { NID_des_ede3_cbc, EVP_des_ede3_cbc, NULL } };

enum {
    DIGESTS = sizeof(digests) / sizeof(digests[0]),
    CIPHERS = sizeof(ciphers) / sizeof(ciphers[0])
};

/* What this process's OpenSSL does not offer keeps its plain name: its use fails, as it must. */
static void fetch(void)
{
    for (int i = 0; i < DIGESTS; i++) {
        digests[i].found = EVP_MD_fetch(NULL, OBJ_nid2sn(digests[i].nid), NULL);
        if (!digests[i].found)
            digests[i].found = digests[i].plain();
    }
    for (int i = 0; i < CIPHERS; i++) {
        ciphers[i].found = EVP_CIPHER_fetch(NULL, OBJ_nid2sn(ciphers[i].nid), NULL);
        if (!ciphers[i].found)
            ciphers[i].found = ciphers[i].plain();
    }
}

static void be_ready(void)
{
    if (!CRYPTO_THREAD_run_once(&once, fetch))
        abort(); /* no lock could be taken */
}

const EVP_MD *scep_fetched_digest(int nid)
{
    be_ready();
    for (int i = 0; i < DIGESTS; i++)
        if (digests[i].nid == nid)
            return digests[i].found;
    return NULL;
}

const EVP_CIPHER *scep_fetched_cipher(int nid)
{
    be_ready();
    for (int i = 0; i < CIPHERS; i++)
        if (ciphers[i].nid == nid)
            return ciphers[i].found;
    return NULL;
}
