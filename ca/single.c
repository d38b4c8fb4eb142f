/* The single password of an endpoint. */
#include "single.h"

#include "clock.h"
#include "own.h"
#include "seal.h"

#include <apr_strings.h>
#include <string.h>

#define REMEDY \
    "scepctl revoke-challenge --endpoint %s --single removes it, and the next visit makes another"

static const char *about(const char *endpoint, apr_pool_t *p)
{
    return apr_pstrcat(p, "single password of ", endpoint, NULL);
}

typedef struct single_job {
    store_single made; /* to be put where there is none; endpoint alone: only looked for */
    const store_single *found;
} single_job;

/* Whichever node was first, what is in the store is the password. */
static const scep_err *single_in_store(store_tx *tx, void *baton)
{
    single_job *j = baton;
    bool done;

    if (j->made.hash)
        SCEP_TRY(store_single_put(tx, &j->made, &done));
    return store_single_get(tx, j->made.endpoint, &j->found);
}

static const scep_err *single_make(single_job *j, const store_key *key, long length,
                                   const challenge_order *order, apr_pool_t *p)
{
    const char *fresh;

    SCEP_TRY(challenge_random(&fresh, (size_t)length, p));
    SCEP_TRY(challenge_hash(&j->made.hash, key, j->made.endpoint, scep_bytes_of(fresh), p));
    SCEP_TRY(seal_close(&j->made.sealed, key, about(j->made.endpoint, p), scep_bytes_of(fresh), p));
    /* A user's name may be any bytes; PostgreSQL takes UTF-8 only. */
    j->made.user = scep_printable(p, scep_bytes_of(order->user), 256);
    j->made.peer = scep_printable(p, scep_bytes_of(order->peer), 64);
    j->made.templates = order->templates;
    j->made.created = apr_time_sec(scep_now());
    return NULL;
}

static const scep_err *single_open(const char **out, const store_single *s, const store_key *key,
                                   long length, apr_pool_t *p)
{
    scep_bytes text;
    char *copy;

    if (seal_open(&text, key, about(s->endpoint, p), s->sealed, p))
        return scep_fail(p, SINGLE_PASSWORD,
                         "the single password of endpoint %s cannot be decrypted, as store.key is "
                         "another one or its row was changed: " REMEDY,
                         s->endpoint, s->endpoint);
    if (text.len != 2 * (size_t)length)
        return scep_fail(p, SINGLE_PASSWORD,
                         "the single password of endpoint %s has %d bytes and not the %ld of "
                         "SCEPPasswordLength, so it is not shown any more, while devices that "
                         "have it still enrol: " REMEDY,
                         s->endpoint, (int)(text.len / 2), length, s->endpoint);
    copy = (char *)scep_secret(p, text.len + 1);
    memcpy(copy, text.data, text.len);
    *out = copy;
    return NULL;
}

const scep_err *single_password(const char **out, store *s, const store_key *key,
                                const char *endpoint, long length, const challenge_order *order,
                                apr_pool_t *p)
{
    single_job j = { .made.endpoint = endpoint };

    SCEP_TRY(store_run(s, single_in_store, &j, p));
    if (!j.found) {
        SCEP_TRY(single_make(&j, key, length, order, p));
        SCEP_TRY(store_run(s, single_in_store, &j, p));
    }
    if (!j.found)
        return scep_fail(p, UNAVAILABLE, "another node removed the single password");
    return single_open(out, j.found, key, length, p);
}

const scep_err *single_password_fits(store *s, const store_key *key, const char *endpoint,
                                     long length, apr_pool_t *p)
{
    single_job j = { .made.endpoint = endpoint };
    const char *text;

    SCEP_TRY(store_run(s, single_in_store, &j, p));
    return j.found ? single_open(&text, j.found, key, length, p) : NULL;
}

const scep_err *single_password_check(store_tx *tx, const char *endpoint, const char *hash,
                                      bool *good)
{
    const store_single *found;

    SCEP_TRY(store_single_get(tx, endpoint, &found));
    *good = found && scep_bytes_equal(scep_bytes_of(found->hash), scep_bytes_of(hash));
    return NULL;
}

typedef struct is_job {
    const char *endpoint, *hash;
    bool good;
} is_job;

static const scep_err *is_in_store(store_tx *tx, void *baton)
{
    is_job *j = baton;

    return single_password_check(tx, j->endpoint, j->hash, &j->good);
}

const scep_err *single_password_is(bool *good, store *s, const char *endpoint, const char *hash,
                                   apr_pool_t *p)
{
    is_job j = { endpoint, hash, false };

    SCEP_TRY(store_read(s, is_in_store, &j, p));
    *good = j.good;
    return NULL;
}
