/* What the files of key.h share: a URI that was read, a token that a process is logged in to. */
#ifndef SCEP_KEY_PARTS_H
#define SCEP_KEY_PARTS_H

#include "bytes.h"
#include "own.h"

/** A file that nobody but its owner may read, whole, in memory that is wiped.
 *  @param what it is, for the error @return NULL, or CONFIG */
SCEP_MUST const scep_err *scep_key_file(scep_bytes *out, const char *what, const char *path,
                                        apr_pool_t *p);

/** scep_key_load() of a PKCS#11 URI. */
SCEP_MUST const scep_err *scep_key_in_token(EVP_PKEY **out, const char *uri, apr_pool_t *p);

/** The URI that @a key was loaded by; NULL: it is in memory. */
const char *scep_key_uri_of(const EVP_PKEY *key);

#ifdef HAVE_PKCS11

#include <apr_time.h>
#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* How often a token is looked for, and a login is made that fails for no reason of its own.
 * softhsm2 leaves a token out, does not read it, or fails, while another process writes to it, as
 * each login does. */
#define SCEP_TOKEN_TRIES 4
#define SCEP_TOKEN_PAUSE apr_time_from_msec(50)

/* As demanded by scep_key_uri_check(). */
typedef struct scep_key_uri {
    const char *text;   /* whole, as it was written */
    P11KitUri *parts;   /* of the pool */
    const char *module; /* path of the PKCS#11 module */
    const char *pin;    /* path of the file with the PIN; NULL: none is named */
} scep_key_uri;

/** @return NULL, or CONFIG: what scep_key_uri_check() refuses */
SCEP_MUST const scep_err *scep_key_uri_read(scep_key_uri *out, const char *text, apr_pool_t *p);

/*
 * A token, found and logged in to once in a process, for as long as that lives: PKCS#11's own state
 * is one for each process and module. The PIN stays in memory, as a session may have to be opened
 * anew, and as there are keys that ask for it at each use (CKA_ALWAYS_AUTHENTICATE).
 */
typedef struct scep_token {
    struct scep_token *next;
    const char *module, *label; /* printable */
    CK_FUNCTION_LIST *calls;
    CK_SLOT_ID slot;
    CK_TOKEN_INFO info;
    pthread_mutex_t mutex;     /* of what follows */
    CK_SESSION_HANDLE session; /* its login counts for all of the process's */
    atomic_uint sessions;      /* how many there were: see scep_key_session() */
    char *pin;
    bool pin_refused; /* not tried again: tries are counted */
} scep_token;

/* A key that was found in it. */
typedef struct scep_token_key {
    scep_token *token;
    const char *exact; /* the URI of this key and no other, without module and PIN */
    const char *where; /* 'key "a" in token "b" (slot 1)' */
} scep_token_key;

/** @return NULL; CONFIG: no such module, token or key, several of them, or a PIN that is not
 *  right; the detail names slot and label */
SCEP_MUST const scep_err *scep_token_find(scep_token_key *out, const scep_key_uri *uri,
                                          apr_pool_t *p);

/** The key in out->token; the caller sees to it that nobody else uses the token's session. */
SCEP_MUST const scep_err *scep_token_key_find(scep_token_key *out, const scep_key_uri *uri,
                                              apr_pool_t *p);

/** scep_key_away() of its keys, without the use. */
SCEP_MUST const scep_err *scep_token_away(scep_token *t, const char *where, apr_pool_t *p);

/** The token of this process that a URI names; NULL: it was not found yet. */
const scep_token *scep_token_of(const scep_key_uri *uri);

/** How OpenSSL asks for the PIN: of a scep_token, which is the callback's data. NULL: no memory. */
UI_METHOD *scep_token_ui(void);

/** By OpenSSL's provider "pkcs11". @param out NULL where there is no such provider */
SCEP_MUST const scep_err *scep_provider_key(EVP_PKEY **out, const scep_token_key *key,
                                            apr_pool_t *p);

/** By OpenSSL's engine "pkcs11". */
SCEP_MUST const scep_err *scep_engine_key(EVP_PKEY **out, const scep_token_key *key, apr_pool_t *p);

#endif
#endif
