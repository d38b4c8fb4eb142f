/* A directory: its servers, how often it is asked, and what is remembered. */
#include "directory_int.h"

#include "aside.h"
#include "file.h"

#include <apr_strings.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define PASSWORD_MOST 1024
#define PLACES 4
#define ASKING_MOST 8
#define RETRY apr_time_from_sec(5)
#define GRACE apr_time_from_msec(500) /* for a question that is over to say why */
#define REMEMBERED 4096
#define HASH_SIZE 32

/* Somebody may enrol; a hash instead of his name and the templates'. */
typedef struct permission {
    unsigned char hash[HASH_SIZE];
    moment until; /* at 0: none */
} permission;

struct directory {
    const conf_directory *conf;
    directory_login login;
    aside *places[PLACES];
    pthread_mutex_t lock; /* of all below */
    unsigned turn;        /* which place is next */
    int last;             /* the server that answered last */
    int asking;
    bool down; /* no server answered */
    moment again;
    char why[300];
    permission *permissions;
};

/* ---- open ---- */

static apr_status_t drop_lock(void *data)
{
    pthread_mutex_destroy(data);
    return APR_SUCCESS;
}

static const scep_err *readable(const conf_directory *c, const char *key, const char *path,
                                apr_pool_t *p)
{
    if (!path || access(path, R_OK) == 0)
        return NULL;
    return scep_fail(p, CONFIG, "[directory %s]: %s %s cannot be read", c->name, key, path);
}

static const scep_err *make_login(directory_login *l, const conf_directory *c, apr_pool_t *p)
{
    unsigned char name[16];

    *l = (directory_login){ .urls = c->urls,
                            .starttls = c->starttls,
                            .gssapi = !strcmp(c->bind, "gssapi"),
                            .simple = !strcmp(c->bind, "simple"),
                            .principal = c->principal,
                            .keytab = c->keytab,
                            .user = c->user,
                            .tls_ca = c->tls_ca,
                            .tls_cert = c->tls_cert,
                            .tls_key = c->tls_key };
    SCEP_TRY(readable(c, "keytab", c->keytab, p));
    SCEP_TRY(readable(c, "tls_ca", c->tls_ca, p));
    SCEP_TRY(readable(c, "tls_cert", c->tls_cert, p));
    SCEP_TRY(readable(c, "tls_key", c->tls_key, p));
    if (l->gssapi)
        SCEP_TRY(directory_tickets_check(p));
    /* RFC 4513 5.1.2: an empty password would be no authentication at all, and succeed */
    if (l->simple)
        SCEP_TRY(file_secret(&l->password, c->password, 1, PASSWORD_MOST, p));
    if (RAND_bytes(name, sizeof(name)) != 1)
        return scep_fail(p, INTERNAL, "no random numbers");
    l->tickets = apr_pstrcat(p, "MEMORY:", scep_hex(p, (scep_bytes){ name, sizeof(name) }), NULL);
    return NULL;
}

const scep_err *directory_open(directory **out, const conf_directory *section, apr_pool_t *p)
{
    directory *d = apr_pcalloc(p, sizeof(*d));

    d->conf = section;
    SCEP_TRY(make_login(&d->login, section, p));
    SCEP_TRY(directory_library(p));
    for (int i = 0; i < PLACES; i++)
        SCEP_TRY(aside_make(&d->places[i], p));
    if (pthread_mutex_init(&d->lock, NULL) != 0)
        return scep_fail(p, INTERNAL, "out of memory");
    apr_pool_cleanup_register(p, &d->lock, drop_lock, apr_pool_cleanup_null);
    d->permissions = apr_pcalloc(p, REMEMBERED * sizeof(*d->permissions));
    *out = d;
    return NULL;
}

int directory_cache(const directory *d)
{
    return d->conf->cache;
}

/* ---- questions ---- */

static void drop_question(void *what)
{
    directory_question *q = what;

    apr_pool_destroy(q->p);
}

static apr_status_t drop_answered(void *data)
{
    drop_question(data);
    return APR_SUCCESS;
}

static const char *copied(const char *text, apr_pool_t *p)
{
    return text ? apr_pstrdup(p, text) : NULL;
}

static apr_array_header_t *copied_names(const apr_array_header_t *names, apr_pool_t *p)
{
    apr_array_header_t *copy = apr_array_make(p, names->nelts, sizeof(const char *));

    for (int i = 0; i < names->nelts; i++)
        APR_ARRAY_PUSH(copy, const char *) = apr_pstrdup(p, APR_ARRAY_IDX(names, i, const char *));
    return copy;
}

static directory_login *copied_login(const directory_login *l, apr_pool_t *p)
{
    directory_login *copy = apr_pmemdup(p, l, sizeof(*l));
    unsigned char *password = scep_secret(p, l->password.len + 1);

    if (l->password.len)
        memcpy(password, l->password.data, l->password.len);
    copy->password.data = password;
    copy->urls = copied_names(l->urls, p);
    copy->principal = copied(l->principal, p);
    copy->keytab = copied(l->keytab, p);
    copy->tickets = copied(l->tickets, p);
    copy->user = copied(l->user, p);
    copy->tls_ca = copied(l->tls_ca, p);
    copy->tls_cert = copied(l->tls_cert, p);
    copy->tls_key = copied(l->tls_key, p);
    return copy;
}

/* Nothing in it is of any other pool: it may be left behind. */
static const scep_err *make_question(directory_question **out, directory *d, apr_pool_t *p)
{
    directory_question *q;
    apr_pool_t *own;

    if (apr_pool_create_unmanaged_ex(&own, NULL, NULL) != APR_SUCCESS)
        return scep_fail(p, UNAVAILABLE, "out of memory");
    q = apr_pcalloc(own, sizeof(*q));
    q->p = own;
    q->login = copied_login(&d->login, own);
    q->names = apr_array_make(own, 1, sizeof(const char *));
    *out = q;
    return NULL;
}

/* Each server has its share of the time that is left. What a server says is the answer, also where
 * it is that something is not as it should be; who does not say anything is passed over. */
static void work(void *what)
{
    directory_question *q = what;
    const int n = q->login->urls->nelts;

    for (int i = 0; i < n; i++) {
        const int at = (q->first + i) % n;
        const moment share = deadline_in(deadline_left(q->until) / (n - i));
        directory_session *s;
        bool connected;

        q->err = directory_connect(&s, q->login, APR_ARRAY_IDX(q->login->urls, at, const char *),
                                   share, q->p);
        connected = !q->err;
        if (connected) {
            q->err = q->ask(q, s);
            directory_close(s);
        }
        if (connected && (!q->err || q->err->code != SCEP_UNAVAILABLE)) {
            q->first = at;
            return;
        }
    }
}

/* @return false: it is not to be asked now */
static bool enter(directory *d, directory_question *q, aside **place, const char **why,
                  apr_pool_t *p)
{
    bool in;

    pthread_mutex_lock(&d->lock);
    in = (!d->down || !deadline_left(d->again)) && d->asking < ASKING_MOST;
    *why = d->asking < ASKING_MOST ? apr_pstrdup(p, d->why) : "too many questions wait for it";
    if (in) {
        d->asking++;
        /* one looks whether it is back */
        d->again = deadline_in(RETRY + apr_time_from_sec(d->conf->timeout));
        *place = d->places[d->turn++ % PLACES];
        q->first = d->last;
    }
    pthread_mutex_unlock(&d->lock);
    return in;
}

/* @param err NULL: it was answered by @a server */
static void leave(directory *d, const scep_err *err, int server)
{
    const bool down = err && err->code == SCEP_UNAVAILABLE;

    pthread_mutex_lock(&d->lock);
    d->asking--;
    d->down = down;
    if (down) {
        d->again = deadline_in(RETRY);
        apr_cpystrn(d->why, err->detail, sizeof(d->why));
    } else if (!err) {
        d->last = server;
    }
    pthread_mutex_unlock(&d->lock);
}

static const scep_err *say(const directory *d, const scep_err *err, apr_pool_t *p)
{
    return scep_err_make(p, err->code, err->file, err->line, "[directory %s]: %s", d->conf->name,
                         err->detail);
}

/* @param q dropped where there is an error; else with @a p */
static const scep_err *ask(directory_question *q, directory *d, apr_pool_t *p)
{
    static const aside_kind kind = { work, drop_question };
    const scep_err *err;
    const char *why;
    aside *place;

    if (!enter(d, q, &place, &why, p)) {
        drop_question(q);
        return scep_fail(p, UNAVAILABLE, "[directory %s]: %s", d->conf->name, why);
    }
    q->until = deadline_in(apr_time_from_sec(d->conf->timeout));
    err = aside_do(place, &kind, q, deadline_in(apr_time_from_sec(d->conf->timeout) + GRACE), p);
    if (err) { /* q is left behind, or gone */
        leave(d, err, 0);
        return say(d, err, p);
    }
    leave(d, q->err, q->first);
    if (q->err) {
        err = say(d, q->err, p);
        drop_question(q);
        return err;
    }
    apr_pool_cleanup_register(p, q, drop_answered, apr_pool_cleanup_null);
    return NULL;
}

const scep_err *directory_look(directory_view *out, directory *d, const char *service,
                               const apr_array_header_t *names, apr_pool_t *p)
{
    directory_question *q;

    SCEP_TRY(make_question(&q, d, p));
    q->ask = directory_ask_view;
    q->service = copied(service, q->p);
    q->names = copied_names(names, q->p);
    SCEP_TRY(ask(q, d, p));
    *out = q->view;
    return NULL;
}

/* ---- permissions ---- */

static const scep_err *hash_of(unsigned char hash[HASH_SIZE], const char *user,
                               const apr_array_header_t *names, apr_pool_t *p)
{
    const size_t n = (size_t)names->nelts;
    scep_bytes *parts = apr_palloc(p, (n + 1) * sizeof(*parts));

    parts[0] = scep_bytes_of(user);
    for (size_t i = 0; i < n; i++)
        parts[i + 1] = scep_bytes_of(APR_ARRAY_IDX(names, (int)i, const char *));
    return scep_sha256(hash, parts, n + 1, p);
}

static permission *place_of(const directory *d, const unsigned char hash[HASH_SIZE])
{
    return &d->permissions[(hash[0] << 8 | hash[1]) % REMEMBERED];
}

static bool is_remembered(directory *d, const unsigned char hash[HASH_SIZE])
{
    const permission *at = place_of(d, hash);
    bool is;

    pthread_mutex_lock(&d->lock);
    is = at->until.at && deadline_left(at->until) && !memcmp(at->hash, hash, HASH_SIZE);
    pthread_mutex_unlock(&d->lock);
    return is;
}

/* @param until from when it was asked, not from when it was answered; past: forget */
static void remember(directory *d, const unsigned char hash[HASH_SIZE], moment until)
{
    permission *at = place_of(d, hash);

    pthread_mutex_lock(&d->lock);
    memcpy(at->hash, hash, HASH_SIZE);
    at->until = until;
    pthread_mutex_unlock(&d->lock);
}

const scep_err *directory_may_enroll(const char **why, directory *d, const char *user,
                                     const apr_array_header_t *names, apr_pool_t *p)
{
    const moment until = deadline_in(apr_time_from_sec(d->conf->cache));
    unsigned char hash[HASH_SIZE];
    directory_question *q;

    *why = "";
    SCEP_TRY(hash_of(hash, user, names, p));
    if (is_remembered(d, hash))
        return NULL;
    SCEP_TRY(make_question(&q, d, p));
    q->ask = directory_ask_enroll;
    q->user = copied(user, q->p);
    q->names = copied_names(names, q->p);
    SCEP_TRY(ask(q, d, p));
    *why = q->why;
    if (!*q->why)
        remember(d, hash, until);
    return NULL;
}

/* ---- SIDs ---- */

const scep_err *directory_confirms_sid(const char **why, directory *d, const directory_claim *claim,
                                       apr_pool_t *p)
{
    directory_question *q;

    SCEP_TRY(make_question(&q, d, p));
    q->ask = directory_ask_sid;
    q->sid = scep_bytes_dup(q->p, claim->sid);
    SCEP_TRY(ask(q, d, p));
    *why = "the directory has no account with that SID";
    if (q->account)
        *why = directory_claim_fault(claim, q->account);
    if (!*why)
        *why = "";
    return NULL;
}
