/* A key in a token, as an EVP_PKEY that knows where it is. */
#include "config.h"

#include "key.h"
#include "key_parts.h"

#ifdef HAVE_PKCS11

#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <string.h>

/* What goes with a key. */
typedef struct place {
    scep_token *token;
    const char *where;   /* behind the URI */
    atomic_uint session; /* the one of its token that the key was last seen to work in */
    char uri[];
} place;

static int place_index = -1;

static void drop_place(void *parent, void *data, CRYPTO_EX_DATA *all, int index, long argl,
                       void *argp)
{
    OPENSSL_free(data);
}

static void make_index(void)
{
    place_index =
        CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_EVP_PKEY, 0, NULL, NULL, NULL, drop_place);
}

static bool has_index(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    return pthread_once(&once, make_index) == 0 && place_index >= 0;
}

static place *place_of(const EVP_PKEY *key)
{
    return key && has_index() ? EVP_PKEY_get_ex_data(key, place_index) : NULL;
}

static bool place_make(EVP_PKEY *key, const char *uri, const scep_token_key *found)
{
    size_t uri_size = strlen(uri) + 1, where_size = strlen(found->where) + 1;
    place *made = OPENSSL_malloc(sizeof(*made) + uri_size + where_size);

    if (!made)
        return false;
    made->token = found->token;
    atomic_init(&made->session, atomic_load(&found->token->sessions));
    made->where = memcpy(made->uri + uri_size, found->where, where_size);
    memcpy(made->uri, uri, uri_size);
    if (has_index() && EVP_PKEY_set_ex_data(key, place_index, made))
        return true;
    OPENSSL_free(made);
    return false;
}

/* The engine gives one EVP_PKEY for a key however often it is loaded: the place that it has stays,
 * for others read it. */
static const scep_err *place_set(EVP_PKEY *key, const char *uri, const scep_token_key *found,
                                 apr_pool_t *p)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    place *has;
    bool done;

    (void)pthread_mutex_lock(&mutex);
    has = place_of(key);
    if (has)
        atomic_store(&has->session, atomic_load(&found->token->sessions));
    done = has || place_make(key, uri, found);
    (void)pthread_mutex_unlock(&mutex);
    return done ? NULL : scep_fail(p, INTERNAL, "out of memory");
}

const char *scep_key_uri_of(const EVP_PKEY *key)
{
    const place *at = place_of(key);

    return at ? at->uri : NULL;
}

const char *scep_key_where(const EVP_PKEY *key)
{
    const place *at = place_of(key);

    return at ? at->where : NULL;
}

unsigned scep_key_session(const EVP_PKEY *key)
{
    place *at = place_of(key);

    return at ? atomic_load(&at->token->sessions) : 0;
}

static const scep_token *token_at(const char *where, apr_pool_t *p)
{
    scep_key_uri uri;

    if (!where || strncmp(where, "pkcs11:", 7) || scep_key_uri_read(&uri, where, p))
        return NULL;
    return scep_token_of(&uri);
}

#define SAME(a, b, name) !memcmp((a)->info.name, (b)->info.name, sizeof((a)->info.name))

bool scep_key_same_token(const char *a, const char *b, apr_pool_t *p)
{
    const scep_token *x = token_at(a, p), *y = token_at(b, p);

    return x && y &&
           (x == y || (SAME(x, y, manufacturerID) && SAME(x, y, model) &&
                       SAME(x, y, serialNumber) && SAME(x, y, label)));
}

const char *scep_key_token(const char *where, apr_pool_t *p)
{
    const scep_token *t = token_at(where, p);

    if (!t)
        return NULL;
    return apr_psprintf(p, "token \"%s\" (slot %lu) of %s", t->label, t->slot, t->module);
}

/* ---- one use, to see that it works ---- */

static const unsigned char sample[] = "a use of the key, to see that it works";

static bool signs(EVP_PKEY *key, apr_pool_t *p)
{
    EVP_MD_CTX *signing = scep_EVP_MD_CTX(p, EVP_MD_CTX_new());
    EVP_MD_CTX *verifying = scep_EVP_MD_CTX(p, EVP_MD_CTX_new());
    size_t len = (size_t)EVP_PKEY_get_size(key);
    unsigned char *signature = apr_palloc(p, len + 1);

    return signing && verifying && len &&
           EVP_DigestSignInit(signing, NULL, EVP_sha256(), NULL, key) == 1 &&
           EVP_DigestSign(signing, signature, &len, sample, sizeof(sample)) == 1 &&
           EVP_DigestVerifyInit(verifying, NULL, EVP_sha256(), NULL, key) == 1 &&
           EVP_DigestVerify(verifying, signature, len, sample, sizeof(sample)) == 1;
}

/* A key may be for this only. */
static bool opens(EVP_PKEY *key, apr_pool_t *p)
{
    EVP_PKEY_CTX *closing = scep_EVP_PKEY_CTX(p, EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL));
    EVP_PKEY_CTX *opening = scep_EVP_PKEY_CTX(p, EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL));
    size_t size = (size_t)EVP_PKEY_get_size(key), closed_len = size, opened_len = size;
    unsigned char *closed = apr_palloc(p, size + 1), *opened = apr_palloc(p, size + 1);

    return closing && opening && size && EVP_PKEY_encrypt_init(closing) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(closing, RSA_PKCS1_PADDING) == 1 &&
           EVP_PKEY_encrypt(closing, closed, &closed_len, sample, sizeof(sample)) == 1 &&
           EVP_PKEY_decrypt_init(opening) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(opening, RSA_PKCS1_PADDING) == 1 &&
           EVP_PKEY_decrypt(opening, opened, &opened_len, closed, closed_len) == 1 &&
           opened_len == sizeof(sample) && !memcmp(opened, sample, sizeof(sample));
}

static const scep_err *try_key(EVP_PKEY *key, const char *where, apr_pool_t *p)
{
    if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "EC"))
        return scep_fail(p, CONFIG, "%s: RSA and EC keys are accepted", where);
    if (signs(key, p))
        return NULL;
    if (EVP_PKEY_is_a(key, "RSA") && opens(key, p)) {
        ERR_clear_error();
        return NULL;
    }
    return scep_fail(p, CONFIG,
                     "%s cannot be used: it neither signs nor decrypts, or is not the key of the "
                     "public key beside it",
                     where);
}

/* OpenSSL's side may hold on to what ended with a session; only a use shows it. */
const scep_err *scep_key_away(EVP_PKEY *key, apr_pool_t *p)
{
    place *at = place_of(key);
    unsigned now;

    if (!at)
        return NULL;
    SCEP_TRY(scep_token_away(at->token, at->where, p));
    now = atomic_load(&at->token->sessions);
    if (atomic_load(&at->session) == now)
        return NULL;
    if (try_key(key, at->where, p)) {
        ERR_clear_error();
        return scep_fail(p, UNAVAILABLE,
                         "%s: its token's session ended, and it cannot be used in another one: "
                         "restart httpd",
                         at->where);
    }
    atomic_store(&at->session, now);
    return NULL;
}

const scep_err *scep_key_in_token(EVP_PKEY **out, const char *uri, apr_pool_t *p)
{
    EVP_PKEY *key = NULL;
    scep_token_key found;
    scep_key_uri read;

    SCEP_TRY(scep_key_uri_read(&read, uri, p));
    SCEP_TRY(scep_token_find(&found, &read, p));
    SCEP_TRY(scep_provider_key(&key, &found, p));
    if (!key)
        SCEP_TRY(scep_engine_key(&key, &found, p));
    SCEP_TRY(try_key(key, found.where, p));
    SCEP_TRY(place_set(key, uri, &found, p));
    *out = key;
    return NULL;
}

#else

const scep_err *scep_key_in_token(EVP_PKEY **out, const char *uri, apr_pool_t *p)
{
    return scep_key_uri_check(uri, p);
}

const char *scep_key_uri_of(const EVP_PKEY *key)
{
    return NULL;
}

const char *scep_key_where(const EVP_PKEY *key)
{
    return NULL;
}

const scep_err *scep_key_away(EVP_PKEY *key, apr_pool_t *p)
{
    return NULL;
}

unsigned scep_key_session(const EVP_PKEY *key)
{
    return 0;
}

bool scep_key_same_token(const char *a, const char *b, apr_pool_t *p)
{
    return false;
}

const char *scep_key_token(const char *where, apr_pool_t *p)
{
    return NULL;
}

#endif
