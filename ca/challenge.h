/*
 * Challenges: one-time passwords of an endpoint. Kept as HMAC-SHA256 under store.key, never in
 * clear, never logged; used up in the transaction that records the certificate.
 */
#ifndef CA_CHALLENGE_H
#define CA_CHALLENGE_H

#include "policy.h"
#include "store.h"

/* The key of store.key. */
typedef struct store_key {
    unsigned char bytes[32];
} store_key;

/** Read store.key: 64 hex digits and a newline, readable by its owner only.
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *store_key_load(store_key **out, const char *path, apr_pool_t *p);

/** The keyed hash under which a challenge of @a endpoint is stored. */
SCEP_MUST const scep_err *challenge_hash(const char **out, const store_key *key,
                                         const char *endpoint, scep_bytes challenge, apr_pool_t *p);

typedef struct challenge_limits {
    long max;     /* PasswordMax */
    long minutes; /* PasswordValidity */
    long length;  /* PasswordLength, bytes */
} challenge_limits;

typedef struct challenge_order {
    const char *user, *peer; /* who asks, from where */
    policy_binding bound;    /* to what: policy_bind(), and a template's name */
    const char *templates;   /* what a request with it may get, for the list; NULL: not said */
} challenge_order;

/**
 * Make one, unless @a limits->max unused and unexpired ones stand. Removes at most 100 expired
 * ones on the way.
 * @param challenge upper-case hex, wiped with @a p; NULL: the endpoint is full
 * @param expires seconds since 1970
 */
SCEP_MUST const scep_err *challenge_mint(const char **challenge, apr_int64_t *expires, store *s,
                                         const store_key *key, const char *endpoint,
                                         const challenge_limits *limits,
                                         const challenge_order *order, apr_pool_t *p);

/** In a job: would it be accepted now, and what is it bound to? */
SCEP_MUST const scep_err *challenge_check(store_tx *tx, const char *endpoint, const char *hash,
                                          bool *good, policy_binding *bound);

/** In the job that records the certificate, or a contradicted binding: use it up, and count it.
 *  @return NULL, or CHALLENGE: it is not fresh any more */
SCEP_MUST const scep_err *challenge_use(store_tx *tx, const char *endpoint, const char *hash);

/** Upper-case hex of @a len random bytes, wiped with @a p. */
SCEP_MUST const scep_err *challenge_random(const char **out, size_t len, apr_pool_t *p);

/** Of unused one-time challenges and single passwords: one row each for who looks after them. */
typedef struct challenge_out {
    store_challenge row; /* expires 0: never */
    bool single;
} challenge_out;

/** What a challenge is called where it may be seen: its hash in base64 without padding, with
 *  "._" in place of "+/", so that no command line takes one for an option; and back. */
const char *challenge_id(const char *hash, apr_pool_t *p);
const char *challenge_id_hash(const char *id, apr_pool_t *p);

/**
 * Take one back: it is no good any more, and has no place of PasswordMax.
 * @param id its id; "": the single password of @a endpoint
 * @param out what it was
 * @return NULL, or BAD_CERT_ID: there is none that is out
 */
SCEP_MUST const scep_err *challenge_revoke(const challenge_out **out, store *s, const char *id,
                                           const char *endpoint, apr_pool_t *p);

/** Remove at most @a most expired ones of every endpoint. @param more may stand at one of them */
SCEP_MUST const scep_err *challenge_sweep(bool *more, store *s, int most, apr_pool_t *p);

/*
 * Reservations: in memory, held by the request that is being issued, so that a second, different
 * request with the same challenge is refused before anything is signed, and the same request
 * again waits for the first one's outcome.
 */
typedef struct reservations reservations;

SCEP_MUST const scep_err *reservations_make(reservations **out, apr_pool_t *p);

/**
 * Take the names for @a owner; waits while the same owner holds them.
 * @param name the challenge's hash; NULL: only the owner is reserved
 * @param owner identity of the request (transaction_owner()); at most one request at a time
 * @return NULL: taken; CHALLENGE: another request holds the challenge; UNAVAILABLE: deadline over
 */
SCEP_MUST const scep_err *reservation_take(reservations *r, const char *name, const char *owner,
                                           apr_time_t deadline, apr_pool_t *p);
void reservation_drop(reservations *r, const char *name, const char *owner);

#endif
