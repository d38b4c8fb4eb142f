/*
 * A service that is asked over http or https: one exchange a call, within a deadline and a size.
 *
 * No redirect is followed, no proxy of the environment asked and no .netrc read: what is sent holds
 * secrets, and goes to whom ca.conf names. TLS 1.2 at least, the peer's name and chain checked.
 */
#ifndef CA_HTTP_H
#define CA_HTTP_H

#include "bytes.h"
#include "deadline.h"

/** Whom to speak with, and as whom. Read once, then used by any thread. */
typedef struct http_peer http_peer;

/** What ca.conf says of it; paths, NULL: none. */
typedef struct http_source {
    const char *ca_file;    /* NULL: the system's authorities are trusted */
    const char *cert, *key; /* of the client, go together */
    const char *user;       /* Basic, sent without being asked for */
    scep_bytes password;
    bool plain; /* http:// as well as https:// */
} http_source;

/** Read the files. libcurl is ready as long as @a p lives.
 *  @return NULL, or CONFIG: a sentence with the file's name */
SCEP_MUST const scep_err *http_peer_make(http_peer **out, const http_source *source, apr_pool_t *p);

/** What is sent. */
typedef struct http_ask {
    const char *url;
    const char *type;           /* Content-Type; NULL: a GET without a body */
    const char *const *headers; /* more lines, ended by NULL; NULL: none */
    scep_bytes body;
    size_t most; /* bytes of the answer */
    moment until;
} http_ask;

/** What came. */
typedef struct http_answer {
    long status;
    const char *type; /* Content-Type; "": none was sent */
    scep_bytes body;  /* wiped with the pool */
    int retry_after;  /* seconds; 0: nothing was said of it */
    bool sent;        /* also with an error: something of the request left this process, so that the
                         peer may have acted on it */
} http_answer;

#define HTTP_RETRY_MOST 86400 /* a longer Retry-After counts as this */

/**
 * Ask. Any status is an answer.
 * @param out zeroed by the caller
 * @return NULL, or UNAVAILABLE: no answer came, it was too long, or the peer is not the right one
 */
SCEP_MUST const scep_err *http_call(http_answer *out, const http_peer *peer, const http_ask *ask,
                                    apr_pool_t *p);

#endif
