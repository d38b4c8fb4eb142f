/* scep-bench's files: numbers of 32 bits, big endian, and strings with their length in front. */
#include "bench.h"

#include <apr_tables.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define BUFFER (1 << 20)

FILE *records_create(const char *path)
{
    FILE *f = fopen(path, "wb");

    if (!f || setvbuf(f, NULL, _IOFBF, BUFFER))
        die(path, strerror(errno));
    return f;
}

/* What could not be written is seen at the end: a stream remembers its failure. */
void records_close(FILE *f, const char *path)
{
    int failed = ferror(f);

    if (fclose(f) || failed)
        die(path, "cannot be written");
}

static void put_number(FILE *f, uint32_t n)
{
    const unsigned char bytes[] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16),
                                    (unsigned char)(n >> 8), (unsigned char)n };

    (void)fwrite(bytes, 1, sizeof(bytes), f);
}

static void put_bytes(FILE *f, scep_bytes b)
{
    put_number(f, (uint32_t)b.len);
    (void)fwrite(b.data, 1, b.len, f);
}

void put_message(FILE *f, const bench_message *m)
{
    put_number(f, m->key);
    put_number(f, m->signer_key);
    put_bytes(f, m->signer);
    put_bytes(f, m->nonce);
    put_bytes(f, m->transaction_id);
    put_bytes(f, m->der);
}

void put_reply(FILE *f, const bench_reply *r)
{
    put_number(f, r->message);
    put_number(f, r->status);
    put_bytes(f, r->body);
}

static bool get_bytes(scep_cursor *c, scep_bytes *out)
{
    uint32_t len;

    return scep_cursor_u32(c, &len) && scep_cursor_take(c, len, out);
}

apr_array_header_t *get_messages(const char *path, apr_pool_t *p)
{
    scep_bytes all = read_file(path, p);
    scep_cursor c = { all.data, all.len };
    apr_array_header_t *list = apr_array_make(p, 4096, sizeof(bench_message));

    while (c.left) {
        bench_message *m = apr_array_push(list);

        if (!scep_cursor_u32(&c, &m->key) || !scep_cursor_u32(&c, &m->signer_key) ||
            !get_bytes(&c, &m->signer) || !get_bytes(&c, &m->nonce) ||
            !get_bytes(&c, &m->transaction_id) || !get_bytes(&c, &m->der))
            die(path, "is no file of requests");
    }
    if (!list->nelts)
        die(path, "holds no request");
    return list;
}

apr_array_header_t *get_replies(const char *path, apr_pool_t *p)
{
    scep_bytes all = read_file(path, p);
    scep_cursor c = { all.data, all.len };
    apr_array_header_t *list = apr_array_make(p, 4096, sizeof(bench_reply));

    while (c.left) {
        bench_reply *r = apr_array_push(list);

        if (!scep_cursor_u32(&c, &r->message) || !scep_cursor_u32(&c, &r->status) ||
            !get_bytes(&c, &r->body))
            die(path, "is no file of answers");
    }
    return list;
}

apr_array_header_t *get_keys(const char *path, apr_pool_t *p)
{
    BIO *bio = scep_BIO(p, BIO_new_file(path, "r"));
    apr_array_header_t *keys = apr_array_make(p, 16, sizeof(EVP_PKEY *));
    EVP_PKEY *key;

    if (!bio)
        die(path, "cannot be opened");
    while ((key = scep_EVP_PKEY(p, PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL))))
        APR_ARRAY_PUSH(keys, EVP_PKEY *) = key;
    ERR_clear_error(); /* the end of the file is an error to it */
    if (!keys->nelts)
        die(path, "holds no private key");
    return keys;
}
