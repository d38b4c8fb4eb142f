/* The CRL of an authority. RFC 5280 5. */
#include "crl.h"

#include "clock.h"
#include "issue.h"
#include "log.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SKEW 300 /* seconds a reader's clock may be behind, as in certificates */
#define DAY 86400
#define PAGE 500 /* entries collected in one job, so that requests need not wait */
#define TRIES 5  /* with other nodes at it at the same time */

typedef struct signing {
    store *store;
    const conf_authority *authority;
    connector *connector;
    crl_progress_fn progress;
    void *baton;
    apr_pool_t *pool;
    store_crl head; /* the newest of the store, before this one */
    X509_CRL *crl;
    apr_int64_t entries;
} signing;

/* ---- what the store has ---- */

typedef struct crl_job {
    const char *authority;
    store_crl crl;
} crl_job;

static const scep_err *head_read(store_tx *tx, void *baton)
{
    crl_job *j = baton;

    return store_crl_head(tx, j->authority, &j->crl);
}

static const scep_err *whole_read(store_tx *tx, void *baton)
{
    crl_job *j = baton;

    return store_crl_get(tx, j->authority, &j->crl);
}

/* Without the CRL itself, of which nobody waits for a long one to be read in vain. */
static const scep_err *head_get(store_crl *out, store *s, const char *authority, apr_pool_t *p)
{
    crl_job j = { .authority = authority };

    SCEP_TRY(store_read(s, head_read, &j, p));
    *out = j.crl;
    return NULL;
}

static const scep_err *whole_get(store_crl *out, store *s, const char *authority, apr_pool_t *p)
{
    crl_job j = { .authority = authority };

    SCEP_TRY(store_read(s, whole_read, &j, p));
    *out = j.crl;
    return NULL;
}

typedef struct page_job {
    const char *authority, *serial;
    apr_int64_t not_after;
    apr_array_header_t *rows;
} page_job;

static const scep_err *page_read(store_tx *tx, void *baton)
{
    page_job *j = baton;

    return store_certificate_revoked(tx, j->authority, j->not_after, j->serial, PAGE, &j->rows);
}

typedef struct put_job {
    const store_crl *crl;
    bool done;
} put_job;

static const scep_err *put(store_tx *tx, void *baton)
{
    put_job *j = baton;

    return store_crl_put(tx, j->crl, &j->done);
}

/* ---- the file ---- */

static const scep_err *unwritten(const char *path, const char *what, apr_pool_t *p)
{
    return scep_fail(p, UNAVAILABLE, "crl_file %s: %s: %s", path, what, strerror(errno));
}

static bool written(int fd, scep_bytes der)
{
    while (der.len) {
        ssize_t n = write(fd, der.data, der.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        der.data += n;
        der.len -= (size_t)n;
    }
    return true;
}

/* The new name has to survive as well. */
static const scep_err *folder_sync(const char *path, apr_pool_t *p)
{
    const char *folder = apr_pstrmemdup(p, path, (apr_size_t)(strrchr(path, '/') - path + 1));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    const scep_err *err = ok ? NULL : unwritten(path, "its folder cannot be synced", p);

    if (fd >= 0)
        (void)close(fd); /* opened to read */
    return err;
}

/* Whoever reads it meets the old one or the new one, whole. */
static const scep_err *file_put(const char *path, scep_bytes der, apr_pool_t *p)
{
    char *name = apr_pstrcat(p, path, ".XXXXXX", NULL);
    int fd = mkostemp(name, O_CLOEXEC);
    const scep_err *err = NULL;
    bool ok;

    if (fd < 0)
        return unwritten(path, "no file can be made beside it", p);
    ok = written(fd, der) && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
    if (!ok)
        err = unwritten(path, "it cannot be written", p);
    if (close(fd) && !err)
        err = unwritten(path, "it cannot be written", p);
    if (!err && rename(name, path))
        err = unwritten(path, "it cannot be renamed into place", p);
    if (!err)
        return folder_sync(path, p);
    (void)unlink(name); /* the reason is known already */
    return err;
}

/* Another node may have signed the newest one, and a file may be lost. */
static bool file_holds(const char *path, scep_bytes der, apr_pool_t *p)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    unsigned char *bytes = apr_palloc(p, der.len);
    struct stat st;
    size_t len = 0;
    ssize_t n = 1;
    bool same;

    if (fd < 0)
        return false;
    same = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size == der.len;
    while (same && len < der.len && (n = read(fd, bytes + len, der.len - len)) > 0)
        len += (size_t)n;
    (void)close(fd); /* opened to read */
    return same && len == der.len && !memcmp(bytes, der.data, der.len);
}

/* ---- the CRL ---- */

static const scep_err *failed(apr_pool_t *p, const char *what)
{
    return scep_fail(p, INTERNAL, "%s cannot be put into a CRL", what);
}

/* A revocation is never left out because of its date. */
static bool put_date(X509_REVOKED *entry, apr_int64_t revoked)
{
    apr_int64_t now = apr_time_sec(scep_now());
    ASN1_TIME *date = ASN1_TIME_set(NULL, (time_t)(revoked > 0 && revoked <= now ? revoked : now));
    bool ok = date && X509_REVOKED_set_revocationDate(entry, date);

    ASN1_TIME_free(date);
    return ok;
}

/* RFC 5280 5.3.1: left out where it is unspecified; 7 is unused, 8 is for delta CRLs. */
static bool put_reason(X509_REVOKED *entry, apr_int64_t reason)
{
    ASN1_ENUMERATED *value;
    bool ok;

    if (reason <= CRL_REASON_UNSPECIFIED || reason == 7 || reason == CRL_REASON_REMOVE_FROM_CRL ||
        reason > CRL_REASON_AA_COMPROMISE)
        return true;
    value = ASN1_ENUMERATED_new();
    ok = value && ASN1_ENUMERATED_set_int64(value, reason) &&
         X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, value, 0, 0) == 1;
    ASN1_ENUMERATED_free(value);
    return ok;
}

static const scep_err *entry_add(signing *s, const store_certificate *row)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *serial = NULL;
    BIGNUM *number = NULL;
    bool ok = entry && BN_hex2bn(&number, row->serial) == (int)strlen(row->serial) &&
              (serial = BN_to_ASN1_INTEGER(number, NULL)) != NULL;

    ok = ok && X509_REVOKED_set_serialNumber(entry, serial) && put_date(entry, row->revoked) &&
         put_reason(entry, row->reason) && X509_CRL_add0_revoked(s->crl, entry);
    BN_free(number);
    ASN1_INTEGER_free(serial);
    if (ok)
        return NULL;
    X509_REVOKED_free(entry);
    return failed(s->pool, apr_psprintf(s->pool, "serial number \"%s\"",
                                        scep_printable(s->pool, scep_bytes_of(row->serial), 80)));
}

static void tell(const signing *s, const char *what, apr_int64_t total)
{
    if (s->progress)
        s->progress(s->baton, what, s->entries, total);
}

/* The next page begins behind this one. */
static void turn_page(page_job *j, apr_pool_t *p)
{
    const store_certificate *last = &APR_ARRAY_IDX(j->rows, j->rows->nelts - 1, store_certificate);

    j->not_after = last->not_after;
    j->serial = apr_pstrdup(p, last->serial);
}

/*
 * RFC 5280 3.3: an entry stays until it was on a CRL that was issued after the certificate's end,
 * so what ended since the CRL before this one is listed once more.
 */
static const scep_err *collect(signing *s, apr_int64_t now)
{
    apr_int64_t from = s->head.number && s->head.this_update < now ? s->head.this_update : now;
    page_job j = { .authority = s->authority->name, .serial = "", .not_after = from + 1 };
    const scep_err *err = NULL;
    apr_pool_t *page;

    if (apr_pool_create(&page, s->pool) != APR_SUCCESS)
        return scep_fail(s->pool, INTERNAL, "out of memory");
    do {
        err = store_read(s->store, page_read, &j, page);
        for (int i = 0; !err && i < j.rows->nelts; i++)
            err = entry_add(s, &APR_ARRAY_IDX(j.rows, i, store_certificate));
        if (err)
            return err;
        s->entries += j.rows->nelts;
        tell(s, "entries collected", 0);
        if (j.rows->nelts < PAGE)
            break;
        turn_page(&j, s->pool);
        apr_pool_clear(page);
    } while (true);
    apr_pool_destroy(page);
    return NULL;
}

static const scep_err *put_dates(signing *s, store_crl *row, apr_int64_t now)
{
    ASN1_TIME *from, *to;
    bool ok;

    row->this_update = now - SKEW;
    row->next_update = now + (apr_int64_t)s->authority->crl_days * DAY;
    from = ASN1_TIME_set(NULL, (time_t)row->this_update);
    to = ASN1_TIME_set(NULL, (time_t)row->next_update);
    ok = from && to && X509_CRL_set1_lastUpdate(s->crl, from) &&
         X509_CRL_set1_nextUpdate(s->crl, to);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return ok ? NULL : failed(s->pool, "the dates");
}

/* RFC 5280 5.2.1, 5.2.3: both have to be in every CRL. */
static const scep_err *put_extensions(signing *s, X509 *ca, apr_int64_t number)
{
    AUTHORITY_KEYID *authority = issue_authority_id(ca);
    ASN1_INTEGER *count = ASN1_INTEGER_new();
    bool ok = authority && count && ASN1_INTEGER_set_int64(count, number) &&
              X509_CRL_add1_ext_i2d(s->crl, NID_authority_key_identifier, authority, 0, 0) == 1 &&
              X509_CRL_add1_ext_i2d(s->crl, NID_crl_number, count, 0, 0) == 1;

    AUTHORITY_KEYID_free(authority);
    ASN1_INTEGER_free(count);
    return ok ? NULL : failed(s->pool, "the CA's key identifier or the number");
}

/* @param done false: another node was faster */
static const scep_err *sign_one(signing *s, bool *done)
{
    X509 *ca = sk_X509_value(s->connector->chain, 0);
    apr_int64_t now = apr_time_sec(scep_now());
    store_crl row = { .authority = s->authority->name };
    put_job j = { .crl = &row };

    SCEP_TRY(head_get(&s->head, s->store, s->authority->name, s->pool));
    s->entries = 0;
    s->crl = scep_X509_CRL(s->pool, X509_CRL_new());
    if (!s->crl || !X509_CRL_set_version(s->crl, X509_CRL_VERSION_2) ||
        !X509_CRL_set_issuer_name(s->crl, X509_get_subject_name(ca)))
        return failed(s->pool, "the issuer");
    row.number = s->head.number + 1;
    row.wanted = row.holds = s->head.wanted;
    SCEP_TRY(put_dates(s, &row, now));
    SCEP_TRY(collect(s, now));
    SCEP_TRY(put_extensions(s, ca, row.number));
    tell(s, "signing", s->entries);
    if (!X509_CRL_sort(s->crl))
        return failed(s->pool, "the order of entries");
    SCEP_TRY(s->connector->sign_crl(s->crl, s->connector, s->pool));
    SCEP_TRY(SCEP_ITEM_DER(&row.der, X509_CRL, s->crl, s->pool));
    SCEP_TRY(store_run(s->store, put, &j, s->pool));
    *done = j.done;
    if (j.done)
        s->head = row;
    return NULL;
}

/* Whoever signed first may get here last: it is always the newest that is written, by one thread at
 * a time. */
static const scep_err *publish(store *s, const conf_authority *a, apr_pool_t *p)
{
    static pthread_mutex_t one_writes = PTHREAD_MUTEX_INITIALIZER;
    const scep_err *err;
    store_crl newest;

    if (!a->crl_file)
        return NULL;
    pthread_mutex_lock(&one_writes);
    err = whole_get(&newest, s, a->name, p);
    if (!err && !file_holds(a->crl_file, newest.der, p))
        err = file_put(a->crl_file, newest.der, p);
    pthread_mutex_unlock(&one_writes);
    return err;
}

const scep_err *crl_sign(store *s, const conf_authority *a, connector *c, crl_progress_fn progress,
                         void *baton, apr_pool_t *p)
{
    signing job = { s, a, c, progress, baton, p, { 0 }, NULL, 0 };
    apr_int64_t wanted = -1;
    bool done = false;

    if (!c->sign_crl)
        return scep_fail(p, CONFIG,
                         "[authority %s]: no CRL is signed for this CA here; crl_file = PATH in "
                         "ca.conf asks for one",
                         a->name);
    for (int i = 0; i < TRIES; i++) {
        SCEP_TRY(sign_one(&job, &done));
        if (done) {
            log_line(LOG_LEVEL_INFO,
                     "SCEP0303: [authority %s]: CRL number %" APR_INT64_T_FMT
                     " signed, entries: %" APR_INT64_T_FMT,
                     a->name, job.head.number, job.entries);
            return publish(s, a, p);
        }
        /* what another node signed meanwhile will do, if it knows of all that was revoked */
        wanted = wanted < 0 ? job.head.wanted : wanted;
        SCEP_TRY(head_get(&job.head, s, a->name, p));
        if (job.head.number && job.head.holds >= wanted)
            return publish(s, a, p);
    }
    return scep_fail(p, UNAVAILABLE,
                     "[authority %s]: other nodes signed CRLs at the same time, %d times in a row",
                     a->name, TRIES);
}

static bool is_due(const store_crl *head, const conf_authority *a)
{
    apr_int64_t third = (apr_int64_t)a->crl_days * DAY / 3;

    return !head->number || head->holds != head->wanted ||
           head->next_update - apr_time_sec(scep_now()) <= third;
}

const scep_err *crl_keep(store *s, const conf_authority *a, connector *c, apr_pool_t *p)
{
    store_crl head;

    if (!c->sign_crl)
        return NULL;
    SCEP_TRY(head_get(&head, s, a->name, p));
    if (is_due(&head, a))
        return crl_sign(s, a, c, NULL, NULL, p);
    return publish(s, a, p);
}

const scep_err *crl_get(scep_bytes *out, store *s, const char *authority, apr_pool_t *p)
{
    store_crl head;

    SCEP_TRY(whole_get(&head, s, authority, p));
    *out = head.number ? head.der : (scep_bytes){ NULL, 0 };
    return NULL;
}
