/* The one loader of private keys. */
#include "key.h"
#include "key_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ec.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define URI "pkcs11:"

enum { KEY_FILE_MOST = 65536 };

static const scep_err *check_file(const char *what, const char *path, int fd, off_t *size,
                                  apr_pool_t *p)
{
    struct stat st;

    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return scep_fail(p, CONFIG, "%s %s is not a regular file", what, path);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return scep_fail(p, CONFIG, "%s %s is open to group or others (mode %04o): chmod 600 it",
                         what, path, (unsigned)st.st_mode & 07777u);
    if (st.st_size > KEY_FILE_MOST)
        return scep_fail(p, CONFIG, "%s %s is larger than %d bytes", what, path, KEY_FILE_MOST);
    *size = st.st_size;
    return NULL;
}

/* The whole file into memory that is wiped: stdio's own buffer would keep a copy of the key. */
const scep_err *scep_key_file(scep_bytes *out, const char *what, const char *path, apr_pool_t *p)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    const scep_err *err;
    unsigned char *text;
    size_t have = 0;
    ssize_t got;
    off_t size;

    if (fd < 0)
        return scep_fail(p, CONFIG, "%s %s cannot be opened: %s", what, path, strerror(errno));
    err = check_file(what, path, fd, &size, p);
    if (err) {
        (void)close(fd);
        return err;
    }
    text = scep_secret(p, (size_t)size);
    do {
        got = read(fd, text + have, (size_t)size - have);
        have += got > 0 ? (size_t)got : 0;
    } while (have < (size_t)size && (got > 0 || (got < 0 && errno == EINTR)));
    (void)close(fd); /* opened for reading: nothing can be lost */
    if (have < (size_t)size)
        return scep_fail(p, CONFIG, "%s %s cannot be read", what, path);
    *out = (scep_bytes){ text, have };
    return NULL;
}

/* A server has nobody to ask: the attempt is noted and refused. */
static int refuse_passphrase(char *to, int size, int writing, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static const scep_err *load_file(EVP_PKEY **out, const char *path, apr_pool_t *p)
{
    bool encrypted = false;
    scep_bytes text;
    EVP_PKEY *key;
    BIO *memory;

    SCEP_TRY(scep_key_file(&text, "key file", path, p));
    memory = scep_BIO(p, BIO_new_mem_buf(text.data, (int)text.len));
    if (!memory)
        return scep_fail(p, INTERNAL, "out of memory");
    key = scep_EVP_PKEY(p, PEM_read_bio_PrivateKey(memory, NULL, refuse_passphrase, &encrypted));
    if (encrypted)
        return scep_fail(p, CONFIG,
                         "the key in %s is encrypted and no passphrase is asked for: decrypt it "
                         "(openssl pkey) and protect the file by its mode",
                         path);
    if (!key)
        return scep_fail(p, CONFIG, "%s holds no private key in PEM form", path);
    *out = key;
    return NULL;
}

const scep_err *scep_key_load(EVP_PKEY **out, const char *where, apr_pool_t *p)
{
    if (!strncmp(where, URI, strlen(URI)))
        return scep_key_in_token(out, where, p);
    return load_file(out, strncmp(where, "file:", 5) ? where : where + 5, p);
}

const scep_err *scep_key_der(scep_bytes *out, const EVP_PKEY *key, apr_pool_t *p)
{
    const char *uri = scep_key_uri_of(key);
    PKCS8_PRIV_KEY_INFO *info;
    const scep_err *err;

    if (uri) {
        *out = scep_bytes_dup(p, scep_bytes_of(uri));
        return NULL;
    }
    info = EVP_PKEY2PKCS8(key);
    err = SCEP_ITEM_DER_SECRET(out, PKCS8_PRIV_KEY_INFO, info, p);
    PKCS8_PRIV_KEY_INFO_free(info);
    return err;
}

const scep_err *scep_key_read(EVP_PKEY **out, scep_bytes der, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    PKCS8_PRIV_KEY_INFO *info = NULL;
    EVP_PKEY *key = NULL;

    if (der.len > strlen(URI) && !memcmp(der.data, URI, strlen(URI)))
        return scep_key_in_token(out, (const char *)scep_bytes_dup(p, der).data, p);
    if (der.len && der.len <= INT_MAX)
        info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.len);
    if (info && at == der.data + der.len)
        key = scep_EVP_PKEY(p, EVP_PKCS82PKEY(info));
    PKCS8_PRIV_KEY_INFO_free(info);
    if (!key)
        return scep_fail(p, INTERNAL, "not a private key in PKCS#8 form");
    *out = key;
    return NULL;
}

const scep_err *scep_key_make(EVP_PKEY **out, const char *kind, apr_pool_t *p)
{
    static const struct {
        const char *kind;
        unsigned rsa_bits;
        const char *curve;
    } kinds[] = { { "rsa2048", 2048, NULL },
                  { "rsa3072", 3072, NULL },
                  { "rsa4096", 4096, NULL },
                  { "p256", 0, "P-256" },
                  { "p384", 0, "P-384" } };
    size_t i = 0;

    while (i < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[i].kind, kind))
        i++;
    if (i == sizeof(kinds) / sizeof(kinds[0]))
        return scep_fail(p, CONFIG,
                         "key type %s is not one of rsa2048, rsa3072, rsa4096, p256, p384", kind);
    *out = scep_EVP_PKEY(p, kinds[i].curve ? EVP_EC_gen(kinds[i].curve)
                                           : EVP_RSA_gen((size_t)kinds[i].rsa_bits));
    return *out ? NULL : scep_fail(p, INTERNAL, "a key of type %s cannot be made", kind);
}
