/* Challenges: minted, checked, used up; and the key under which they are kept. */
#include "challenge.h"
#include "clock.h"
#include "own.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_DIGITS (2 * sizeof(((store_key *)0)->bytes))
#define SWEPT_BY_MINT 100

/* ---- store.key ---- */

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* @param len of what was read: one byte more than a key file has is asked for */
static bool parse_key(store_key *key, const unsigned char *text, size_t len)
{
    if (len != KEY_DIGITS + 1 || text[KEY_DIGITS] != '\n')
        return false;
    for (size_t i = 0; i < sizeof(key->bytes); i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        key->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static const scep_err *read_key(store_key *key, int fd, const char *path, apr_pool_t *p)
{
    unsigned char *text = scep_secret(p, KEY_DIGITS + 2);
    struct stat info;
    size_t len = 0;
    ssize_t got;

    if (fstat(fd, &info) || !S_ISREG(info.st_mode))
        return scep_fail(p, CONFIG, "%s: not a regular file", path);
    if (info.st_mode & (S_IRWXG | S_IRWXO))
        return scep_fail(p, CONFIG, "%s: others may use it: chmod 600 it", path);
    while (len < KEY_DIGITS + 2 &&
           ((got = read(fd, text + len, KEY_DIGITS + 2 - len)) > 0 || (got < 0 && errno == EINTR)))
        len += got > 0 ? (size_t)got : 0;
    if (!parse_key(key, text, len))
        return scep_fail(p, CONFIG,
                         "%s: not a store key: accepted are 64 hex digits and a newline, as "
                         "`scep-ca init` writes them",
                         path);
    return NULL;
}

const scep_err *store_key_load(store_key **out, const char *path, apr_pool_t *p)
{
    const scep_err *err;
    int fd;

    /* O_NONBLOCK: a FIFO must not stop the start */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return scep_fail(p, CONFIG, "%s: cannot be read: %s", path, strerror(errno));
    *out = (store_key *)scep_secret(p, sizeof(**out));
    err = read_key(*out, fd, path, p);
    (void)close(fd);
    return err;
}

/* ---- challenges ---- */

const scep_err *challenge_hash(const char **out, const store_key *key, const char *endpoint,
                               scep_bytes challenge, apr_pool_t *p)
{
    size_t name = strlen(endpoint);
    size_t len = 8 + name + challenge.len;
    unsigned char *input = scep_secret(p, len);
    unsigned char hash[32];
    size_t size = 0;

    /* The length in front: no challenge of one endpoint is one of another. */
    for (int i = 0; i < 8; i++)
        input[i] = (unsigned char)((uint64_t)name >> (56 - 8 * i));
    memcpy(input + 8, endpoint, name);
    if (challenge.len)
        memcpy(input + 8 + name, challenge.data, challenge.len);
    if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key->bytes, sizeof(key->bytes), input, len,
                   hash, sizeof(hash), &size) ||
        size != sizeof(hash))
        return scep_fail(p, INTERNAL, "HMAC-SHA256 failed");
    *out = scep_base64(p, (scep_bytes){ hash, sizeof(hash) });
    return NULL;
}

static apr_int64_t now_seconds(void)
{
    return apr_time_sec(scep_now());
}

typedef struct mint_job {
    store_challenge row;
    apr_int64_t max;
    bool full;
} mint_job;

/*
 * The counter has expired ones in it only where a sweep found as many as it might take. Then it
 * says too much once PasswordMax was lowered, and the index has to tell; otherwise no row is looked
 * at, however many there are.
 */
static const scep_err *is_full(store_tx *tx, mint_job *m, int swept)
{
    apr_int64_t count;

    SCEP_TRY(store_unused_get(tx, m->row.endpoint, &count));
    m->full = count > m->max;
    if (!m->full || swept < SWEPT_BY_MINT)
        return NULL;
    return store_challenge_crowd(tx, m->row.endpoint, m->row.created, m->max, &m->full);
}

/*
 * Counted before it is put: the change of the counter locks its row, so that nodes that share a
 * database cannot both take the last place. What was swept stays swept where there is no place.
 */
static const scep_err *mint_in_store(store_tx *tx, void *baton)
{
    mint_job *m = baton;
    int swept, removed;

    SCEP_TRY(store_challenge_sweep(tx, m->row.endpoint, m->row.created, SWEPT_BY_MINT, &swept,
                                   &removed));
    SCEP_TRY(store_unused_add(tx, m->row.endpoint, 1 - swept));
    SCEP_TRY(is_full(tx, m, swept));
    if (m->full)
        return store_unused_add(tx, m->row.endpoint, -1);
    return store_challenge_put(tx, &m->row);
}

/* Upper-case hex of random bytes; nothing of it is left behind in @a p. */
const scep_err *challenge_random(const char **out, size_t len, apr_pool_t *p)
{
    unsigned char *raw = scep_secret(p, len);
    char *text = (char *)scep_secret(p, 2 * len);
    char *hex;

    if (len > INT32_MAX || RAND_priv_bytes(raw, (int)len) != 1)
        return scep_fail(p, INTERNAL, "no random bytes");
    hex = scep_hex(p, (scep_bytes){ raw, len });
    memcpy(text, hex, 2 * len);
    OPENSSL_cleanse(hex, 2 * len);
    *out = text;
    return NULL;
}

const scep_err *challenge_mint(const char **challenge, apr_int64_t *expires, store *s,
                               const store_key *key, const char *endpoint,
                               const challenge_limits *limits, const challenge_order *order,
                               apr_pool_t *p)
{
    mint_job m = { .max = limits->max };
    const char *fresh = NULL;

    *challenge = NULL;
    SCEP_TRY(challenge_random(&fresh, (size_t)limits->length, p));
    m.row.endpoint = endpoint;
    SCEP_TRY(challenge_hash(&m.row.hash, key, endpoint, scep_bytes_of(fresh), p));
    /* A user's name may be any bytes; PostgreSQL takes UTF-8 only. */
    m.row.user = scep_printable(p, scep_bytes_of(order->user), 256);
    m.row.peer = scep_printable(p, scep_bytes_of(order->peer), 64);
    m.row.bound_subject = order->bound.subject;
    m.row.bound_names = order->bound.names;
    m.row.bound_template = order->bound.template_name;
    m.row.templates = order->templates;
    m.row.created = now_seconds();
    m.row.expires = m.row.created + 60 * (apr_int64_t)limits->minutes;
    SCEP_TRY(store_run(s, mint_in_store, &m, p));
    if (!m.full) {
        *challenge = fresh;
        *expires = m.row.expires;
    }
    return NULL;
}

const scep_err *challenge_check(store_tx *tx, const char *endpoint, const char *hash, bool *good,
                                policy_binding *bound)
{
    const store_challenge *found;

    SCEP_TRY(store_challenge_fresh(tx, endpoint, hash, now_seconds(), &found));
    *good = found != NULL;
    *bound = (policy_binding){ 0 };
    if (found)
        *bound =
            (policy_binding){ found->bound_subject, found->bound_names, found->bound_template };
    return NULL;
}

const scep_err *challenge_use(store_tx *tx, const char *endpoint, const char *hash)
{
    bool done;

    SCEP_TRY(store_challenge_use(tx, endpoint, hash, now_seconds(), &done));
    if (!done)
        return scep_fail(store_tx_pool(tx), CHALLENGE,
                         "the challenge was used up or ended meanwhile");
    return store_unused_add(tx, endpoint, -1);
}

/* ---- taking one back ---- */

static void exchange(char *text, const char *from, const char *to)
{
    for (; *text; text++)
        for (int i = 0; i < 2; i++)
            if (*text == from[i])
                *text = to[i];
}

/* A hash is 32 bytes: 43 digits and one sign of padding. */
const char *challenge_id(const char *hash, apr_pool_t *p)
{
    char *id = apr_pstrmemdup(p, hash, strcspn(hash, "="));

    exchange(id, "+/", "._");
    return id;
}

const char *challenge_id_hash(const char *id, apr_pool_t *p)
{
    char *hash = apr_pstrcat(p, id, "=", NULL);

    exchange(hash, "._", "+/");
    return hash;
}

typedef struct revoke_job {
    const char *hash; /* NULL: the single password of the endpoint */
    const char *endpoint;
    challenge_out *out;
    bool done;
} revoke_job;

static void tell_single(challenge_out *out, const store_single *s)
{
    out->single = true;
    out->row = (store_challenge){
        .endpoint = s->endpoint,
        .hash = s->hash,
        .user = s->user,
        .peer = s->peer,
        .templates = s->templates,
        .created = s->created,
        .fresh = true,
    };
}

static const scep_err *revoke_single(store_tx *tx, revoke_job *j)
{
    apr_array_header_t *all;

    SCEP_TRY(store_single_list(tx, &all));
    for (int i = 0; i < all->nelts && !j->done; i++) {
        const store_single *s = &APR_ARRAY_IDX(all, i, store_single);

        if (j->hash ? strcmp(j->hash, s->hash) : strcmp(j->endpoint, s->endpoint))
            continue;
        tell_single(j->out, s);
        SCEP_TRY(store_single_drop(tx, s->endpoint, s->hash, &j->done));
    }
    return NULL;
}

static const scep_err *revoke_of(store_tx *tx, revoke_job *j, const char *endpoint)
{
    const store_challenge *found;

    SCEP_TRY(store_challenge_get(tx, endpoint, j->hash, &found));
    if (!found)
        return NULL;
    j->out->row = *found;
    SCEP_TRY(store_challenge_drop(tx, endpoint, j->hash, &j->done));
    return j->done ? store_unused_add(tx, endpoint, -1) : NULL;
}

/* An id does not say whose it is, and there are few endpoints. */
static const scep_err *revoke_in_store(store_tx *tx, void *baton)
{
    revoke_job *j = baton;
    apr_array_header_t *names;

    j->done = false;
    *j->out = (challenge_out){ 0 };
    SCEP_TRY(revoke_single(tx, j));
    if (!j->hash || j->done)
        return NULL;
    SCEP_TRY(store_endpoints(tx, &names));
    for (int i = 0; i < names->nelts && !j->done; i++)
        SCEP_TRY(revoke_of(tx, j, APR_ARRAY_IDX(names, i, const char *)));
    return NULL;
}

const scep_err *challenge_revoke(const challenge_out **out, store *s, const char *id,
                                 const char *endpoint, apr_pool_t *p)
{
    challenge_out *was = apr_pcalloc(p, sizeof(*was));
    revoke_job j = { *id ? challenge_id_hash(id, p) : NULL, endpoint, was, false };

    SCEP_TRY(store_run(s, revoke_in_store, &j, p));
    if (!j.done && !*id)
        return scep_fail(p, BAD_CERT_ID, "endpoint %s has no single password", endpoint);
    if (!j.done)
        return scep_fail(p, BAD_CERT_ID,
                         "no unused challenge \"%s\": it was used, revoked, or forgotten after its "
                         "end",
                         scep_printable(p, scep_bytes_of(id), 80));
    *out = was;
    return NULL;
}

/* ---- clean-up ---- */

typedef struct sweep_job {
    apr_array_header_t *endpoints;
    const char *endpoint;
    int most, removed;
} sweep_job;

static const scep_err *list_in_store(store_tx *tx, void *baton)
{
    sweep_job *j = baton;

    return store_endpoints(tx, &j->endpoints);
}

static const scep_err *sweep_in_store(store_tx *tx, void *baton)
{
    sweep_job *j = baton;
    int unused;

    SCEP_TRY(store_challenge_sweep(tx, j->endpoint, now_seconds(), j->most, &unused, &j->removed));
    return unused ? store_unused_add(tx, j->endpoint, -unused) : NULL;
}

const scep_err *challenge_sweep(bool *more, store *s, int most, apr_pool_t *p)
{
    sweep_job j = { .most = most };

    *more = false;
    SCEP_TRY(store_read(s, list_in_store, &j, p));
    /* a job for each, so that an enrolment waits for one at most */
    for (int i = 0; i < j.endpoints->nelts; i++) {
        j.endpoint = APR_ARRAY_IDX(j.endpoints, i, const char *);
        SCEP_TRY(store_run(s, sweep_in_store, &j, p));
        *more = *more || j.removed >= most;
    }
    return NULL;
}
