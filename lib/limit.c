/* How often something may happen: a token bucket for each key. */
#include "limit.h"
#include "clock.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

enum { SETS = 1024, WAYS = 4, SEED_LENGTH = 32, HASH_LENGTH = 32, MINUTE = 60 };

/* A bucket is known by the moment at which it will be full again: every event moves that on by
 * the time one token takes, and at most one minute ahead of the present. */
typedef struct bucket {
    uint64_t tag;
    apr_time_t full;
} bucket;

struct scep_limit {
    apr_thread_mutex_t *lock;
    unsigned char seed[SEED_LENGTH];
    bucket sets[SETS][WAYS];
};

const scep_err *scep_limit_make(scep_limit **out, apr_pool_t *p)
{
    scep_limit *l = apr_pcalloc(p, sizeof(*l));

    if (apr_thread_mutex_create(&l->lock, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS)
        return scep_fail(p, INTERNAL, "a limiter's lock cannot be made");
    if (RAND_bytes(l->seed, sizeof(l->seed)) != 1)
        return scep_fail(p, INTERNAL, "no random bytes for a limiter");
    *out = l;
    return NULL;
}

/* Without memory for the hash all keys share one bucket, which is still a limit. */
static void hash(uint64_t *set, uint64_t *tag, const scep_limit *l, scep_bytes key)
{
    unsigned char mac[HASH_LENGTH] = { 0 };
    scep_cursor c = { mac, sizeof(mac) };

    if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, l->seed, sizeof(l->seed),
                   key.len ? key.data : (const unsigned char *)"", key.len, mac, sizeof(mac), NULL))
        ERR_clear_error();
    (void)scep_cursor_u64(&c, set);
    (void)scep_cursor_u64(&c, tag);
    *set %= SETS;
}

/* The key's own bucket, or the one that is full soonest, which has the least to forget. */
static bucket *find(bucket *set, uint64_t tag)
{
    bucket *least = set;

    for (int i = 0; i < WAYS; i++) {
        if (set[i].tag == tag)
            return &set[i];
        if (set[i].full < least->full)
            least = &set[i];
    }
    *least = (bucket){ .tag = tag };
    return least;
}

static int take(bucket *b, int per_minute)
{
    apr_time_t now = scep_now(), one = apr_time_from_sec(MINUTE) / per_minute;
    apr_time_t size = one * per_minute, wait;

    if (b->full < now)
        b->full = now;
    if (b->full > now + size) /* the clock was set back */
        b->full = now + size;
    wait = b->full + one - (now + size);
    if (wait > 0)
        return (int)((wait + APR_USEC_PER_SEC - 1) / APR_USEC_PER_SEC);
    b->full += one;
    return 0;
}

int scep_limit_hit(scep_limit *l, scep_bytes key, int per_minute)
{
    uint64_t set, tag;
    int wait;

    hash(&set, &tag, l, key);
    (void)apr_thread_mutex_lock(l->lock);
    wait = take(find(l->sets[set], tag), per_minute);
    (void)apr_thread_mutex_unlock(l->lock);
    return wait;
}

const char *scep_limit_address(const char *ip, apr_pool_t *p)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (inet_pton(AF_INET6, ip, &address) != 1)
        return ip;
    if (IN6_IS_ADDR_V4MAPPED(&address))
        return inet_ntop(AF_INET, &address.s6_addr[12], text, sizeof(text)) ? apr_pstrdup(p, text)
                                                                            : ip;
    memset(&address.s6_addr[8], 0, 8);
    if (!inet_ntop(AF_INET6, &address, text, sizeof(text)))
        return ip;
    return apr_pstrcat(p, text, "/64", NULL);
}
