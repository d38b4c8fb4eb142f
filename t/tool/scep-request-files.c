/* scep-request's files: certificates, keys, challenges, and what a request leaves behind. */
#include "scep-request.h"

#include <apr_strings.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

scep_bytes read_file(const char *path, apr_pool_t *p)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    unsigned char *data;

    if (!f || fstat(fileno(f), &st) != 0)
        die(path, strerror(errno));
    data = apr_palloc(p, (size_t)st.st_size + 1);
    if (fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        die(path, "cannot be read");
    data[st.st_size] = 0;
    (void)fclose(f);
    return (scep_bytes){ data, (size_t)st.st_size };
}

void write_file(const char *path, scep_bytes content)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(content.data, 1, content.len, f) != content.len || fclose(f) != 0)
        die(path, strerror(errno));
}

static BIO *open_bio(const char *path, const char *mode, apr_pool_t *p)
{
    BIO *bio = scep_BIO(p, BIO_new_file(path, mode));

    if (!bio)
        die(path, "cannot be opened");
    return bio;
}

X509 *read_cert(const char *path, apr_pool_t *p)
{
    X509 *cert = scep_X509(p, PEM_read_bio_X509(open_bio(path, "r", p), NULL, NULL, NULL));

    if (!cert)
        die(path, "holds no certificate");
    return cert;
}

EVP_PKEY *read_key(const char *path, apr_pool_t *p)
{
    EVP_PKEY *key =
        scep_EVP_PKEY(p, PEM_read_bio_PrivateKey(open_bio(path, "r", p), NULL, NULL, NULL));

    if (!key)
        die(path, "holds no private key");
    return key;
}

void write_certs(const char *path, X509_STACK *certs, int most, apr_pool_t *p)
{
    BIO *bio = open_bio(path, "w", p);

    for (int i = 0; i < sk_X509_num(certs) && i < most; i++) {
        if (!PEM_write_bio_X509(bio, sk_X509_value(certs, i)))
            die(path, "cannot be written");
    }
}

void write_key(const char *path, EVP_PKEY *key, apr_pool_t *p)
{
    if (!PEM_write_bio_PrivateKey(open_bio(path, "w", p), key, NULL, NULL, 0, NULL, NULL))
        die(path, "cannot be written");
}

X509_STACK *read_ca_ra(const char *path, apr_pool_t *p)
{
    X509_STACK *certs = fixture_certs(read_file(path, p), p);

    if (!certs || sk_X509_num(certs) < 1)
        die(path, "is no answer to GetCACert");
    return certs;
}

X509 *find_ca(X509_STACK *certs)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (X509_check_ca(sk_X509_value(certs, i)) > 0)
            return sk_X509_value(certs, i);
    }
    return NULL;
}

earlier read_earlier(const char *base, apr_pool_t *p)
{
    char *facts = (char *)read_file(apr_pstrcat(p, base, ".sent", NULL), p).data;
    char *nonce = strrchr(facts, '\n');
    earlier before = { 0 };

    /* the transactionID may hold anything, a line end too: the nonce is the last line */
    if (nonce)
        *nonce = '\0';
    nonce = strrchr(facts, '\n');
    if (!nonce)
        die(base, ".sent is damaged");
    *nonce++ = '\0';
    before.transaction_id = facts;
    before.nonce = nonce;
    before.signer = read_cert(apr_pstrcat(p, base, ".crt", NULL), p);
    before.key = read_key(apr_pstrcat(p, base, ".key", NULL), p);
    before.signer_key = read_key(apr_pstrcat(p, base, ".signer.key", NULL), p);
    before.data = read_file(apr_pstrcat(p, base, ".csr", NULL), p);
    return before;
}

FILE *open_challenges(const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");

    if (!f)
        die(path, strerror(errno));
    return f;
}

char *read_challenge(FILE *from, apr_pool_t *p)
{
    char *line = (char *)scep_secret(p, 8192);

    if (!fgets(line, 8192, from))
        die("--challenge-file", "has fewer lines than are needed");
    line[strcspn(line, "\r\n")] = '\0';
    return line;
}

void load_legacy(void)
{
    /* loading a provider unloads the implied default */
    if (!OSSL_PROVIDER_load(NULL, "default") || !OSSL_PROVIDER_load(NULL, "legacy"))
        die("des", "OpenSSL's legacy provider cannot be loaded");
}
