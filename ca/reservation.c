/* Reservations: who is working on which challenge, in memory, for as long as a request takes. */
#include "challenge.h"

#include <apr_hash.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <stdlib.h>
#include <string.h>

/* On the heap, one block with its texts: pools do not give back. */
typedef struct holder {
    const char *name; /* NULL: only the owner is reserved */
    char owner[];
} holder;

struct reservations {
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *dropped;
    apr_hash_t *by_owner; /* of holder; grows to the most that were held at one time */
    apr_hash_t *by_name;
};

static apr_status_t free_holders(void *data)
{
    reservations *r = data;

    for (apr_hash_index_t *i = apr_hash_first(NULL, r->by_owner); i; i = apr_hash_next(i))
        free(apr_hash_this_val(i));
    return APR_SUCCESS;
}

const scep_err *reservations_make(reservations **out, apr_pool_t *p)
{
    reservations *r = apr_pcalloc(p, sizeof(*r));
    apr_pool_t *own;

    /* the tables grow under the mutex, from a pool that nobody else uses */
    if (apr_pool_create(&own, p) ||
        apr_thread_mutex_create(&r->mutex, APR_THREAD_MUTEX_DEFAULT, own) ||
        apr_thread_cond_create(&r->dropped, own))
        return scep_fail(p, INTERNAL, "the locks of the reservations cannot be made");
    r->by_owner = apr_hash_make(own);
    r->by_name = apr_hash_make(own);
    apr_pool_pre_cleanup_register(p, r, free_holders);
    *out = r;
    return NULL;
}

static holder *make_holder(const char *name, const char *owner)
{
    size_t owner_size = strlen(owner) + 1;
    size_t name_size = name ? strlen(name) + 1 : 0;
    holder *h = malloc(sizeof(*h) + owner_size + name_size);

    if (!h)
        abort(); /* as pools do */
    memcpy(h->owner, owner, owner_size);
    h->name = NULL;
    if (name) {
        memcpy(h->owner + owner_size, name, name_size);
        h->name = h->owner + owner_size;
    }
    return h;
}

/* Under the mutex: wait until nobody works for this owner. @return false: the time is over */
static bool wait_for_owner(reservations *r, const char *owner, apr_time_t deadline)
{
    while (apr_hash_get(r->by_owner, owner, APR_HASH_KEY_STRING)) {
        apr_interval_time_t left = deadline - apr_time_now();

        if (left <= 0)
            return false;
        (void)apr_thread_cond_timedwait(r->dropped, r->mutex, left);
    }
    return true;
}

static const scep_err *take(reservations *r, const char *name, const char *owner,
                            apr_time_t deadline, apr_pool_t *p)
{
    holder *h;

    if (!wait_for_owner(r, owner, deadline))
        return scep_fail(p, UNAVAILABLE, "the same request is being worked on for too long");
    if (name && apr_hash_get(r->by_name, name, APR_HASH_KEY_STRING))
        return scep_fail(p, CHALLENGE, "another request with this challenge is being worked on");
    h = make_holder(name, owner);
    apr_hash_set(r->by_owner, h->owner, APR_HASH_KEY_STRING, h);
    if (h->name)
        apr_hash_set(r->by_name, h->name, APR_HASH_KEY_STRING, h);
    return NULL;
}

const scep_err *reservation_take(reservations *r, const char *name, const char *owner,
                                 apr_time_t deadline, apr_pool_t *p)
{
    const scep_err *err;

    apr_thread_mutex_lock(r->mutex);
    err = take(r, name, owner, deadline, p);
    apr_thread_mutex_unlock(r->mutex);
    return err;
}

void reservation_drop(reservations *r, const char *name, const char *owner)
{
    holder *h;

    apr_thread_mutex_lock(r->mutex);
    h = apr_hash_get(r->by_owner, owner, APR_HASH_KEY_STRING);
    if (h) {
        apr_hash_set(r->by_owner, h->owner, APR_HASH_KEY_STRING, NULL);
        if (h->name)
            apr_hash_set(r->by_name, h->name, APR_HASH_KEY_STRING, NULL);
        free(h);
        apr_thread_cond_broadcast(r->dropped);
    }
    apr_thread_mutex_unlock(r->mutex);
}
