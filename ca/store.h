/*
 * All that must survive: the only SQL of the project, on apr_dbd, in words that SQLite and
 * PostgreSQL both take.
 *
 * One connection. Of the callers that wait at one time, the first one leads: it takes all their
 * jobs, BEGINs, runs them, COMMITs and wakes the others: a job that returned NULL is durable when
 * store_run() returns. Reasons, measured: docs/architecture.md, "State".
 *
 * Outcomes come from affected-row counts, never from error codes. Binary is base64 text, time is
 * seconds since 1970.
 */
#ifndef CA_STORE_H
#define CA_STORE_H

#include "bytes.h"

#include <apr_tables.h>
#include <apr_time.h>
#include <stdbool.h>

typedef struct store store;
typedef struct store_tx store_tx;

/**
 * Open the database, create or upgrade its schema.
 * @param where "sqlite3:/path" or "pgsql:conninfo"
 * @return NULL, or CONFIG (unknown driver, driver not installed, cannot open, schema of a newer
 *         version)
 */
SCEP_MUST const scep_err *store_open(store **out, const char *where, apr_pool_t *p);

/** Wait until what is queued has run, and close. Also done when the pool ends. A second time does
 *  nothing. */
void store_close(store *s);

/**
 * A job. Works in @a baton and the pool of the caller, who waits meanwhile; so it may use both.
 * It runs on the thread of any caller. With an error nothing of it happens, and store_run() returns
 * that.
 *
 * It may be run twice or three times: where another job of its group has an error, and where the
 * database fails, the handle is opened anew and every job of the group is run once more. So a job
 * sets its results from what it reads, and nothing outside the database is changed in it. Rarely
 * the first commit has happened although its answer was lost (PostgreSQL only); then the second run
 * meets its own rows: "there already" is therefore looked at before "used up". It must not call
 * store_run() or store_close().
 */
typedef const scep_err *(*store_job_fn)(store_tx *tx, void *baton);

/**
 * Run @a fn in the next commit group and wait until that is durable.
 * @return NULL: committed; the job's own error: nothing of it happened; UNAVAILABLE: the database
 *         failed (after the handle was opened anew and the job run once more), or the store closes
 */
SCEP_MUST const scep_err *store_run(store *s, store_job_fn fn, void *baton, apr_pool_t *p);

/**
 * The same for a job that changes nothing (INTERNAL where it would): it waits for nobody's commit
 * but the one that goes on when it comes, meets what is committed, one state of it, and is not to
 * be durable.
 */
SCEP_MUST const scep_err *store_read(store *s, store_job_fn fn, void *baton, apr_pool_t *p);

/** The pool of the caller of store_run(), for results. */
apr_pool_t *store_tx_pool(store_tx *tx);

/*
 * Words for jobs. Each returns NULL or UNAVAILABLE; "not there" is an outcome, not an error. After
 * UNAVAILABLE a job has nothing left to do but to return it. Texts are UTF-8.
 * Strings returned are in the caller's pool.
 */

typedef struct store_challenge {
    const char *endpoint;
    const char *hash;             /* keyed hash, base64 (challenge.h) */
    const char *user;             /* who asked */
    const char *peer;             /* from where */
    apr_int64_t created, expires; /* seconds */
    /* what it is bound to, as policy compares it (policy.h); NULL and "": to nothing */
    const char *bound_subject, *bound_names, *bound_template;
    const char *templates; /* what a request with it could get when it was made, ", " between */
    bool fresh;            /* as it was read: not used; it may have expired */
} store_challenge;

SCEP_MUST const scep_err *store_challenge_put(store_tx *tx, const store_challenge *c);

/** A fresh one that expires after @a now: what it is bound to. @param found NULL: there is none */
SCEP_MUST const scep_err *store_challenge_fresh(store_tx *tx, const char *endpoint,
                                                const char *hash, apr_int64_t now,
                                                const store_challenge **found);

/** Use it up: fresh and unexpired becomes used. @param done whether exactly one row changed */
SCEP_MUST const scep_err *store_challenge_use(store_tx *tx, const char *endpoint, const char *hash,
                                              apr_int64_t now, bool *done);

/** One of any state. @param found NULL: none */
SCEP_MUST const scep_err *store_challenge_get(store_tx *tx, const char *endpoint, const char *hash,
                                              const store_challenge **found);
/** At most @a most of any state in the order of (endpoint, hash), behind those two ("": from the
 *  start). @param rows of store_challenge */
SCEP_MUST const scep_err *store_challenge_list(store_tx *tx, const char *endpoint, const char *hash,
                                               int most, apr_array_header_t **rows);
/** Forget an unused one. @param done whether there was one */
SCEP_MUST const scep_err *store_challenge_drop(store_tx *tx, const char *endpoint, const char *hash,
                                               bool *done);

/** Remove at most @a most fresh but expired ones, and used ones that would have expired.
 *  @param unused how many of those @a removed had not been used */
SCEP_MUST const scep_err *store_challenge_sweep(store_tx *tx, const char *endpoint, apr_int64_t now,
                                                int most, int *unused, int *removed);

/** Do @a most fresh ones or more (1 or more) expire after @a now? For where the counter below says
 *  so with expired ones in it: reads so many entries of an index. */
SCEP_MUST const scep_err *store_challenge_crowd(store_tx *tx, const char *endpoint, apr_int64_t now,
                                                apr_int64_t most, bool *crowd);

/** How many fresh ones expire after @a now: the counter below without those that are not swept
 *  yet. Reads as many entries of an index as there are of these; where they are many, of those that
 *  it counts. */
SCEP_MUST const scep_err *store_challenge_count(store_tx *tx, const char *endpoint, apr_int64_t now,
                                                apr_int64_t *count);

/* The one challenge of an endpoint that is good for all devices and has no end. */
typedef struct store_single {
    const char *endpoint;
    scep_bytes sealed; /* seal.h */
    const char *hash;  /* as a challenge's */
    const char *user, *peer, *templates;
    apr_int64_t created; /* seconds */
} store_single;

/** @param done false: the endpoint has one; nothing changed */
SCEP_MUST const scep_err *store_single_put(store_tx *tx, const store_single *s, bool *done);
/** @param found NULL: none. @return also INTERNAL: the row is spoilt */
SCEP_MUST const scep_err *store_single_get(store_tx *tx, const char *endpoint,
                                           const store_single **found);
/** All of them. @param rows of store_single, without sealed */
SCEP_MUST const scep_err *store_single_list(store_tx *tx, apr_array_header_t **rows);
/** @param done whether there was one with that hash */
SCEP_MUST const scep_err *store_single_drop(store_tx *tx, const char *endpoint, const char *hash,
                                            bool *done);

/** The endpoint's number of unused challenges, expired ones that are not swept yet among them: read
 *  it, change it by @a delta. */
SCEP_MUST const scep_err *store_unused_get(store_tx *tx, const char *endpoint, apr_int64_t *count);
SCEP_MUST const scep_err *store_unused_add(store_tx *tx, const char *endpoint, int delta);

/** Names of all endpoints that have a row of their own, as const char *. */
SCEP_MUST const scep_err *store_endpoints(store_tx *tx, apr_array_header_t **names);

/* What was answered to a request. All hashes base64. */
typedef struct store_transaction {
    const char *endpoint;
    const char *transaction; /* SHA-256 of the transactionID */
    const char *key_hash; /* of the key that signed the request, to which answers are encrypted */
    const char *csr_hash;
    const char *state;              /* "issued", "pending" or "denied" */
    const char *authority, *serial; /* of its certificate; "": none */
    const char *request;            /* id of its row in the queue; "": it never waited */
    apr_int64_t created, ends;      /* seconds; ends: from then on the same request is a new one */
    apr_int64_t bound;              /* until then the transactionID belongs to the key */
    bool proven; /* it belongs to no key: a certificate stands for it; not known where a row was
                    asked for whatever the CSR */
} store_transaction;

/**
 * The key that a transactionID belongs to: that of the transactions which are not proven and bound.
 * @param key its created: now. @param bound NULL: to none, or no longer
 */
SCEP_MUST const scep_err *store_binding_get(store_tx *tx, const store_transaction *key,
                                            const char **bound);

/**
 * @param t one that ended by t->created is replaced: the request is new then; it stays bound as
 *        long as it was, at least
 * @param done false: (endpoint, transaction, key_hash, csr_hash) is there already; nothing changed
 */
SCEP_MUST const scep_err *store_transaction_put(store_tx *tx, const store_transaction *t,
                                                bool *done);
/**
 * @param key endpoint, transaction, key_hash, and created: now. csr_hash NULL: whatever the CSR,
 *        the newest of those that have not ended, or were issued and are bound still (a CertPoll
 *        names none, and asks for what was answered)
 * @param found NULL: no such transaction, or it has ended
 */
SCEP_MUST const scep_err *store_transaction_get(store_tx *tx, const store_transaction *key,
                                                const store_transaction **found);
/** What waited is decided: the "pending" row of @a t's identity and request gets t's state,
 *  authority, serial, ends, and its bound where that is later.
 *  @param done whether exactly one row changed */
SCEP_MUST const scep_err *store_transaction_decide(store_tx *tx, const store_transaction *t,
                                                   bool *done);
/** Remove at most @a most transactions that bound nobody any more before @a before. */
SCEP_MUST const scep_err *store_transaction_sweep(store_tx *tx, apr_int64_t before, int most,
                                                  int *removed);

/*
 * A request that waits, or waited: for an administrator ("pending", "lost", "withheld") or for a CA
 * elsewhere ("queued", "asked", "waits"; submission.h). Then "issued", "denied" or "expired".
 */
typedef struct store_request {
    const char *id; /* 16 hex digits */
    const char *endpoint, *authority, *template_name;
    const char *transaction; /* these three: its transaction */
    const char *key_hash, *csr_hash;
    const char *transaction_id; /* printable */
    const char *subject, *peer;
    apr_int64_t message_type;
    scep_bytes csr;
    scep_bytes old;                     /* a renewal: the certificate that stands for it, DER */
    bool challenged;                    /* a challenge was used up for it */
    const char *state;                  /* one of the words above */
    const char *reason, *by;            /* of the decision; or why it is where it is */
    const char *serial;                 /* "issued" */
    apr_int64_t created, ends, decided; /* seconds; decided 0: not yet */
    const char *cookie;                 /* of its connector; "": none */
    apr_int64_t next_ask;               /* when the CA is to be asked, seconds; 0: not at all */
    scep_bytes answer;                  /* "withheld": what the CA sent, DER; "asked": whose claim */
} store_request;

/** @param done false: that id exists; nothing changed */
SCEP_MUST const scep_err *store_request_put(store_tx *tx, const store_request *r, bool *done);
/** @param found NULL: none */
SCEP_MUST const scep_err *store_request_get(store_tx *tx, const char *id,
                                            const store_request **found);
/**
 * The undecided row @a from gets @a to's state, reason, by, serial, decided, ends, cookie, next_ask
 * and answer.
 * @param from its id; its state and next_ask, as they were read: whoever changed them was faster
 * @param done whether exactly one row changed: it may have ended by @a now, too
 */
SCEP_MUST const scep_err *store_request_turn(store_tx *tx, const store_request *from,
                                             const store_request *to, apr_int64_t now, bool *done);
/** At most @a most ids of those that @a authority is to be asked about by @a now, the longest due
 *  first. @param ids of const char * */
SCEP_MUST const scep_err *store_request_due(store_tx *tx, const char *authority, apr_int64_t now,
                                            int most, apr_array_header_t **ids);
/** How many are undecided @a now at @a endpoint; and of those, of the same key, and from the same
 *  peer. */
SCEP_MUST const scep_err *store_request_waiting(store_tx *tx, const char *endpoint,
                                                const char *key_hash, const char *peer,
                                                apr_int64_t now, apr_int64_t *all,
                                                apr_int64_t *of_key, apr_int64_t *of_peer);
/** At most @a most of a state ("": any; STORE_REQUEST_STUCK), by id, after the id @a after ("":
 *  from the start). @param rows of store_request, without csr, old, challenged and answer */
#define STORE_REQUEST_STUCK "stuck" /* those that an administrator has to decide */
SCEP_MUST const scep_err *store_request_list(store_tx *tx, const char *state, const char *after,
                                             int most, apr_array_header_t **rows);
/** Undecided ones that ended by @a now become "expired"; decided ones that ended before @a before
 *  are removed; at most @a most of each. */
SCEP_MUST const scep_err *store_request_sweep(store_tx *tx, apr_int64_t now, apr_int64_t before,
                                              int most, int *changed);

/* A certificate. */
typedef struct store_certificate {
    const char *authority;
    const char *serial;  /* upper-case hex */
    const char *subject; /* one line */
    const char *template_name;
    const char *endpoint;
    const char *transaction; /* SHA-256 of the transactionID, base64 */
    const char *key_hash;    /* of its own key */
    scep_bytes der;
    apr_int64_t not_before, not_after, issued; /* seconds */
    apr_int64_t revoked;                       /* seconds; 0: it is not */
    apr_int64_t reason;                        /* CRLReason, RFC 5280 5.3.1 */
} store_certificate;

/** @param done false: (authority, serial) is there already; nothing changed */
SCEP_MUST const scep_err *store_certificate_put(store_tx *tx, const store_certificate *c,
                                                bool *done);
/** @param found NULL: no such certificate. @return also INTERNAL: the row is spoilt */
SCEP_MUST const scep_err *store_certificate_get(store_tx *tx, const char *authority,
                                                const char *serial,
                                                const store_certificate **found);
/** All certificates of that serial number, whoever issued them. @param rows of store_certificate */
SCEP_MUST const scep_err *store_certificate_of_serial(store_tx *tx, const char *serial,
                                                      apr_array_header_t **rows);
/** At most @a most in the order of (authority, serial), behind those two ("": from the start).
 *  @param rows of store_certificate, without der */
SCEP_MUST const scep_err *store_certificate_list(store_tx *tx, const char *authority,
                                                 const char *serial, int most,
                                                 apr_array_header_t **rows);
/** @param done false: no such certificate, or it is revoked already; nothing changed. Where done,
 *  the authority's CRL is wanted anew */
SCEP_MUST const scep_err *store_certificate_revoke(store_tx *tx, const char *authority,
                                                   const char *serial, apr_int64_t now, int reason,
                                                   bool *done);
/** At most @a most revoked ones of @a authority in the order of (notAfter, serial), behind those
 * two: what ended long ago is not read. @param rows of store_certificate: serial, revoked, reason
 * and not_after only */
SCEP_MUST const scep_err *store_certificate_revoked(store_tx *tx, const char *authority,
                                                    apr_int64_t not_after, const char *serial,
                                                    int most, apr_array_header_t **rows);
/** How many there are, for tests and status. */
SCEP_MUST const scep_err *store_certificate_count(store_tx *tx, apr_int64_t *count);

/* The newest CRL of an authority. */
typedef struct store_crl {
    const char *authority;
    apr_int64_t wanted; /* grows with each revocation */
    apr_int64_t holds;  /* what `wanted` was when its entries were collected */
    apr_int64_t number; /* cRLNumber; 0: none was signed yet */
    apr_int64_t this_update, next_update;
    scep_bytes der;
} store_crl;

/** Never NULL: an authority without a row has number 0. */
SCEP_MUST const scep_err *store_crl_get(store_tx *tx, const char *authority, store_crl *out);
/** The same without der, which may be long. */
SCEP_MUST const scep_err *store_crl_head(store_tx *tx, const char *authority, store_crl *out);
/** Replace the one of number c->number - 1. @param done false: another node was faster */
SCEP_MUST const scep_err *store_crl_put(store_tx *tx, const store_crl *c, bool *done);

/* An RA that scep-ca made; keys sealed (seal.h). Drafts of one that a CA elsewhere is asked for
 * (identities_draft.c) share the table, by the name of no authority: there the id is that of a
 * step, and in place of a certificate stands what the CA said so far. */
typedef struct store_ra {
    const char *authority;
    const char *id;                     /* SHA-256 of the encryption certificate, hex */
    scep_bytes sign_cert, decrypt_cert; /* DER */
    scep_bytes sign_key, decrypt_key;   /* sealed PKCS#8 */
    apr_int64_t created, ends;
} store_ra;

SCEP_MUST const scep_err *store_ra_put(store_tx *tx, const store_ra *ra, bool *done);
/** Those that end after @a now, the newest first. @param rows of store_ra */
SCEP_MUST const scep_err *store_ra_list(store_tx *tx, const char *authority, apr_int64_t now,
                                        apr_array_header_t **rows);
SCEP_MUST const scep_err *store_ra_sweep(store_tx *tx, apr_int64_t before, int most, int *removed);

/**
 * Timed work that one node does: take or keep the lease @a name.
 * @param holder names this process
 * @param held false: another holds it beyond @a now
 */
SCEP_MUST const scep_err *store_lease_take(store_tx *tx, const char *name, const char *holder,
                                           apr_int64_t now, apr_int64_t until, bool *held);

#endif
