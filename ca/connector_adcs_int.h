/*
 * Inside the connector adcs. What is pure stands first: what is kept of a request between two
 * calls, how one is found again whose answer was lost, what an answer means.
 *
 * ICPR gives a request no name that both sides know before it is sent: the CA counts, and the
 * answer has the number. So the highest number that is known is kept before a request is sent, and
 * where its answer was lost, the numbers behind it are asked for one by one: the certificate with
 * the request's key is the one.
 */
#ifndef CA_CONNECTOR_ADCS_INT_H
#define CA_CONNECTOR_ADCS_INT_H

#include "connector.h"
#include "icpr.h"

/* ---- what is kept: the cookie ---- */

#define ADCS_HELD_MOST 64   /* requests that may be ours and are not decided */
#define ADCS_GAP_MOST 16    /* numbers without a request, one after the other, are the end */
#define ADCS_WALK_MOST 2000 /* numbers that are asked for */
/* How often all is walked through before nothing found means that there is nothing: the CA may
 * still be at work on it. */
#define ADCS_ROUNDS 4

typedef enum adcs_kind {
    ADCS_NOTHING, /* "": it was never asked for */
    ADCS_BLIND,   /* "after=?": it is asked for, and no number is known */
    ADCS_AFTER,   /* "after=N": it is asked for; its number is higher than N */
    ADCS_AT,      /* "id=N": it has that number */
    ADCS_SEEK     /* "seek=BASE next=N round=R held=A,B": it is looked for behind BASE */
} adcs_kind;

typedef struct adcs_note {
    adcs_kind kind;
    uint32_t id;   /* N, or BASE */
    uint32_t next; /* seek: where the round goes on */
    int round;     /* ADCS_ROUNDS: over; only what is held is asked for */
    int n_held;
    uint32_t held[ADCS_HELD_MOST]; /* found in this round; whose they are is not known */
} adcs_note;

/** @return false: it is none */
bool adcs_note_read(adcs_note *out, const char *cookie);
const char *adcs_note_write(const adcs_note *n, apr_pool_t *p);

/* ---- finding one again ---- */

/* What there is under a number. */
typedef enum adcs_sight {
    ADCS_NONE,   /* no request */
    ADCS_OTHERS, /* another's, or decided without a certificate */
    ADCS_HELD,   /* pending, being worked on, or its certificate is not shown: whose it is cannot be
                    told */
    ADCS_OURS
} adcs_sight;

/* Who looks at a number. */
typedef struct adcs_looker {
    /** @return NULL, or UNAVAILABLE: the CA does not tell */
    const scep_err *(*look)(adcs_sight *out, void *baton, uint32_t id, apr_pool_t *p);
    void *baton;
} adcs_looker;

/**
 * The highest number there is: by doubling, then halving. Sound where the CA's numbers are without
 * great gaps below it, which is looked at, too.
 * @param top 0: it cannot be told
 */
SCEP_MUST const scep_err *adcs_top(uint32_t *top, const adcs_looker *l, apr_pool_t *p);

typedef enum adcs_found {
    ADCS_FOUND,   /* note->id is its number */
    ADCS_GO_ON,   /* not yet: ask again with the note */
    ADCS_IS_NONE, /* the CA never got it */
    ADCS_GIVE_UP  /* too many numbers, or too many that are held */
} adcs_found;

/** One more step of the search that @a note is about. @return NULL, or as look(); note then says
 *  how far it came */
SCEP_MUST const scep_err *adcs_seek(adcs_found *out, adcs_note *note, const adcs_looker *l,
                                    apr_pool_t *p);

/* ---- answers ---- */

/** What is seen of the request with @a key in an answer to a question. @return UNAVAILABLE: the
 *  answer is about the CA, not about that number */
SCEP_MUST const scep_err *adcs_see(adcs_sight *out, const icpr_answer *answer, EVP_PKEY *key,
                                   apr_pool_t *p);

/** Is the answer to a question about the CA or the account? Else it is about the number. */
bool adcs_is_of_the_ca(const icpr_answer *answer);

/** Does the CA keep to itself what there is under the number, if anything is? */
bool adcs_is_hidden(const icpr_answer *answer);

/** Does the certificate have that key? */
bool adcs_is_of_key(scep_bytes der, EVP_PKEY *key);

/**
 * The answer to a new request, or, @a id not 0, to a question for that one.
 * @return NULL; UNAVAILABLE; CONFIG: what it says is not about this request but about what an
 *         administrator set up: it will be accepted some day. out->asked as in connector.h
 */
SCEP_MUST const scep_err *adcs_judge(connector_answer *out, const icpr_answer *answer, uint32_t id,
                                     apr_pool_t *p);

/* ---- the CA ---- */

#define ADCS_CLAIMS 1024

/* A number whose request is known: nobody else's. */
typedef struct adcs_claim {
    uint32_t id;
    char owner[20]; /* connector_ask.id */
} adcs_claim;

typedef struct adcs_line adcs_line;

typedef struct adcs {
    const conf_authority *authority;
    dcerpc_server server;
    scep_signer agent; /* key NULL: nobody signs */
    apr_thread_mutex_t *mutex;
    /* of all that follows */
    adcs_line *idle;
    uint32_t known;           /* the highest number that is known; 0: none */
    bool searching, searched; /* now; in vain */
    adcs_claim claims[ADCS_CLAIMS];
    unsigned next_claim;
} adcs;

/** A connection, a kept one where there is one. @return NULL, or UNAVAILABLE */
SCEP_MUST const scep_err *adcs_line_take(adcs_line **out, adcs *a, moment until, apr_pool_t *p);

/** Give it back: kept if it is any good. */
void adcs_line_give(adcs *a, adcs_line *line);

dcerpc *adcs_line_rpc(const adcs_line *line);

/** Number @a id exists, and is @a owner's; NULL: it is not known whose. */
void adcs_remember(adcs *a, uint32_t id, const char *owner);

/** Number @a id was given to @a owner's request, which was sent when @a before was known: a lower
 *  one tells that the CA's database was restored, and what was known of its numbers is forgotten.
 */
void adcs_given(adcs *a, uint32_t id, uint32_t before, const char *owner);

/** Is it known to be another's? */
bool adcs_is_others(adcs *a, uint32_t id, const char *owner);

/** Whose turn it is where the highest number is wanted. */
typedef enum adcs_turn {
    ADCS_TOLD,   /* it is told; 0: it was looked for in vain */
    ADCS_SEARCH, /* the caller's: adcs_search_end() has to follow */
    ADCS_WAIT    /* another thread looks for it */
} adcs_turn;

adcs_turn adcs_known(adcs *a, uint32_t *top);

/** @param done the CA answered all of it */
void adcs_search_end(adcs *a, bool done);

/** What is sent: the CSR, or the enrolment agent's SignedData of it.
 *  @return NULL; CONFIG: the agent's certificate has ended */
SCEP_MUST const scep_err *adcs_request(icpr_request *out, const adcs *a, const connector_ask *ask,
                                       apr_pool_t *p);

/** The agent's certificate and key. @return NULL, or CONFIG */
SCEP_MUST const scep_err *adcs_agent_load(scep_signer *out, const conf_authority *authority,
                                          apr_pool_t *p);

#endif
