/*
 * The wire between httpd and scep-ca: frames, both directions, from one list of fields each.
 *
 * frame := "SCEP" version(1) verb(1) zero(2) length(4) body; numbers big-endian; length <= 2 MiB.
 * A body is its fields in order: U32, U64; TEXT and BYTES with a u32 length before them; LIST: a
 * u32 count and that many structures. A body must be used up to its last byte. TEXT holds no NUL.
 *
 * Three channels speak it: the control channel (httpd's parent and the scep-ca it started), the
 * workers' socket, and the ctl socket of scepctl. A peer that breaks the rules is disconnected; it
 * never ends the process.
 */
#ifndef SCEP_WIRE_H
#define SCEP_WIRE_H

#include "bytes.h"

#define SCEP_WIRE_VERSION 3
#define SCEP_WIRE_HEADER 12
#define SCEP_WIRE_MAX (2u << 20)
#define SCEP_WIRE_SECRET 32 /* bytes of a secret that opens a verb */

typedef enum scep_verb {
    /* control channel: parent -> scep-ca */
    SCEP_VERB_CONFIGURE = 1, /* scep_wire_configure, once, first */
    SCEP_VERB_DRAIN,         /* empty: a newer scep-ca serves; finish and leave */
    /* control channel: scep-ca -> parent */
    SCEP_VERB_READY,  /* scep_wire_ready: listening */
    SCEP_VERB_FAILED, /* scep_wire_failed: will not serve */
    /* workers' socket: worker -> scep-ca */
    SCEP_VERB_HELLO,  /* scep_wire_hello, first on a connection */
    SCEP_VERB_BUNDLE, /* scep_wire_endpoint_name; needs the enrol secret */
    SCEP_VERB_ENROL,  /* scep_wire_enrol; needs the enrol secret */
    SCEP_VERB_RENEW,  /* scep_wire_renew; needs the enrol secret */
    SCEP_VERB_POLL,   /* scep_wire_poll; needs the enrol secret */
    SCEP_VERB_FIND,   /* scep_wire_find; needs the enrol secret */
    SCEP_VERB_MINT,   /* scep_wire_mint; needs the mint secret, or is scepctl's */
    SCEP_VERB_STATUS, /* empty; needs the enrol secret, or is scepctl's */
    /* workers' socket: scep-ca -> worker */
    SCEP_VERB_WELCOME,    /* empty: answers HELLO; a wrong secret is answered by closing */
    SCEP_VERB_IDENTITIES, /* scep_wire_identities: answers BUNDLE */
    SCEP_VERB_VERDICT,    /* scep_wire_verdict: answers ENROL, RENEW, POLL and FIND */
    SCEP_VERB_MINTED,     /* scep_wire_minted: answers MINT */
    SCEP_VERB_STATE,      /* scep_wire_state: answers STATUS */
    SCEP_VERB_REFUSED,    /* scep_wire_refused: unknown verb, endpoint, or not permitted */
    /* ctl socket: scepctl -> scep-ca; REFUSED answers them too */
    SCEP_VERB_REQUESTS,         /* scep_wire_list: answered by REQUEST_PAGE */
    SCEP_VERB_DECIDE,           /* scep_wire_decide: answered by DONE */
    SCEP_VERB_CERTIFICATES,     /* scep_wire_list: answered by CERTIFICATE_PAGE */
    SCEP_VERB_REVOKE,           /* scep_wire_revoke: answered by PROGRESS, any number, and DONE */
    SCEP_VERB_CRL,              /* scep_wire_sign_crl: answered by PROGRESS, any number, and DONE */
    SCEP_VERB_CHALLENGES,       /* scep_wire_challenges_of: answered by CHALLENGE_PAGE */
    SCEP_VERB_REVOKE_CHALLENGE, /* scep_wire_revoke_challenge: answered by DONE */
    /* ctl socket: scep-ca -> scepctl */
    SCEP_VERB_REQUEST_PAGE,     /* scep_wire_request_page */
    SCEP_VERB_CERTIFICATE_PAGE, /* scep_wire_certificate_page */
    SCEP_VERB_CHALLENGE_PAGE,   /* scep_wire_challenge_page */
    SCEP_VERB_PROGRESS,         /* scep_wire_progress */
    SCEP_VERB_DONE,             /* scep_wire_done */
    /* between scep-ca and its runner of programs */
    SCEP_VERB_RUN, /* scep_wire_run */
    SCEP_VERB_RAN  /* scep_wire_ran: answers RUN */
} scep_verb;

/* clang-format off */

/* A "NAME=VALUE" of an endpoint, as in settings.h. */
#define SCEP_WIRE_SETTING(F) F(TEXT, name) F(TEXT, value)

/* An endpoint and its issuance settings, as the parent read them. */
#define SCEP_WIRE_ENDPOINT(F) F(TEXT, name) F(LIST, settings, setting)

#define SCEP_WIRE_ENDPOINT_NAME(F) F(TEXT, endpoint)

/*
 * worker_uid: who may connect; enrol_secret and mint_secret: 32 bytes each, mint_secret empty
 * where no worker may mint; timeout: seconds; in_flight: calls of one authority at one time;
 * respawn: 0 where the parent waits for READY or FAILED; otherwise it does not: scep-ca waits
 * respawn - 1 seconds before it loads anything, and logs and damps a failed start by itself;
 * exec_user: whom programs run as; empty: whoever scep-ca runs as.
 */
#define SCEP_WIRE_CONFIGURE(F)                                                     \
    F(U32, worker_uid) F(TEXT, user) F(BYTES, enrol_secret) F(BYTES, mint_secret)  \
    F(U32, timeout) F(U32, in_flight) F(U32, respawn) F(LIST, endpoints, endpoint) \
    F(TEXT, exec_user)

#define SCEP_WIRE_CERT(F) F(BYTES, der)

/*
 * An RA as everybody may know it. authority: whose it is; role: scep_wire_role; chain: the issuing
 * CA first, the root last.
 */
#define SCEP_WIRE_IDENTITY(F)                                                  \
    F(TEXT, authority) F(U32, role) F(BYTES, sign_cert) F(BYTES, decrypt_cert) \
    F(LIST, chain, cert)

/* What everybody may know of an endpoint. identities: the current one first, then former ones,
 * the newest first, then those of the next CA, its current one first. */
#define SCEP_WIRE_PUBLIC(F) F(TEXT, endpoint) F(U64, generation) F(LIST, identities, identity)

/* No endpoint: as before, which only one that nobody waited for says. */
#define SCEP_WIRE_READY(F) F(LIST, endpoints, public)
#define SCEP_WIRE_FAILED(F) F(TEXT, detail)

/* The secrets are this httpd's: mint_secret is empty on a connection that will not mint. */
#define SCEP_WIRE_HELLO(F) F(BYTES, enrol_secret) F(BYTES, mint_secret)

/* As scep_key_der() gives them: PKCS#8 DER, or the URI of a key in a token. */
#define SCEP_WIRE_KEYS(F) F(BYTES, sign_key) F(BYTES, decrypt_key)

/* One public; keys in the order of its identities. */
#define SCEP_WIRE_IDENTITIES(F) F(LIST, endpoint, public) F(LIST, keys, keys)

/*
 * authority: whose RA the request was enveloped to, which chooses between the CA and its successor
 * (RFC 8894 5.1); peer: the device's address, for the audit line and the limit of failures.
 */
#define SCEP_WIRE_ENROL(F)                                                             \
    F(TEXT, endpoint) F(TEXT, authority) F(U32, message_type) F(BYTES, transaction_id) \
    F(BYTES, csr) F(TEXT, peer)

/* A renewal: the members of a scep_proof (proof.h). unanswerable: 1 where no certificate could be
 * sent to the device, as its key is not RSA and its request has no challenge; scep-ca says so once
 * the renewal is proved, lest anybody learn what an envelope holds. */
#define SCEP_WIRE_RENEW(F)                                                       \
    F(TEXT, endpoint) F(TEXT, authority) F(BYTES, signer) F(BYTES, attributes)   \
    F(BYTES, digest_algorithm) F(BYTES, signature_algorithm) F(BYTES, signature) \
    F(BYTES, content) F(U32, unanswerable) F(TEXT, peer)

/* CertPoll. key_hash: SHA-256 of the signer's SubjectPublicKeyInfo (RFC 8894 3.3.3). */
#define SCEP_WIRE_POLL(F)                                                       \
    F(TEXT, endpoint) F(BYTES, transaction_id) F(BYTES, key_hash) F(TEXT, peer)

/* GetCert and GetCRL. issuer: a Name, DER; serial: upper-case hex; signer: the certificate that
 * signed the request, DER. */
#define SCEP_WIRE_FIND(F)                                                                    \
    F(TEXT, endpoint) F(U32, message_type) F(BYTES, issuer) F(TEXT, serial) F(BYTES, signer) \
    F(BYTES, transaction_id) F(TEXT, peer)

/*
 * status: scep_wire_status; code: a scep_code where refused; detail: for httpd's error log;
 * certificate: DER where issued or found; crl: DER where found; authority: who issued it;
 * generation: of the endpoint's identities now; retry: seconds, where code is TOO_OFTEN.
 */
#define SCEP_WIRE_VERDICT(F)                                                        \
    F(U32, status) F(U32, code) F(TEXT, detail) F(BYTES, certificate) F(BYTES, crl) \
    F(TEXT, authority) F(U64, generation) F(U32, retry)

/* "DNS:a.example" and the like, as whoever asks writes it. */
#define SCEP_WIRE_ALT_NAME(F) F(TEXT, text)

/* subject, names, template_name: what the challenge shall be bound to; empty: not bound. generate: 1
 * where a policy module is to make it (NDESGenerateChallenge), for a template by key_usage and with
 * params, which are the module's business. */
#define SCEP_WIRE_MINT(F)                                                                   \
    F(TEXT, endpoint) F(TEXT, user) F(TEXT, peer) F(TEXT, subject) F(LIST, names, alt_name) \
    F(TEXT, template_name) F(U32, generate) F(U32, key_usage) F(TEXT, params)

/* outcome: scep_wire_mint_outcome; single: 1 where it is the endpoint's single password, which
 * never expires; expires: seconds since 1970, 0: never; minutes: as configured; retry: seconds,
 * where it was too often. */
#define SCEP_WIRE_MINTED(F)                                            \
    F(U32, outcome) F(U32, single) F(TEXT, challenge) F(U64, expires)  \
    F(U32, minutes) F(U32, retry)

/*
 * What the status page tells. Times in seconds since 1970, 0: none. ca_ends: when the first of the
 * CA's chain ends; ra_ends: when the current RA does; crl_next: nextUpdate of the newest CRL. Of a CA
 * elsewhere: asks: what it is being asked, or will be next; left_alone: 1 while it is not asked, as
 * it failed too often.
 */
#define SCEP_WIRE_AUTHORITY_STATE(F)                                                     \
    F(TEXT, name) F(TEXT, subject) F(U64, ca_ends) F(U64, ra_ends) F(U64, crl_number)    \
    F(U64, crl_next) F(U64, asks) F(U32, left_alone)

/* unused, most: challenges out, and how many may be; waiting: requests in the queue; issued,
 * refused, pending, later, minted: answers since `since` of this scep-ca. */
#define SCEP_WIRE_ENDPOINT_STATE(F)                                                      \
    F(TEXT, name) F(TEXT, authority) F(U64, unused) F(U64, most) F(U64, waiting)         \
    F(U64, issued) F(U64, refused) F(U64, pending) F(U64, later) F(U64, minted)

/* store: 1 where the database answers; detail: why not, for the operator. */
#define SCEP_WIRE_STATE(F)                                                               \
    F(TEXT, version) F(U64, since) F(U32, store) F(TEXT, detail)                         \
    F(LIST, authorities, authority_state) F(LIST, endpoints, endpoint_state)

#define SCEP_WIRE_REFUSED(F) F(U32, code) F(TEXT, detail)

/*
 * A page of a list. state: of requests, empty: those that wait, "all": all; authority, subject: of
 * certificates, empty: all; the subject is a part of the name's line, letter case ignored;
 * after: where the page before ended, empty: the first.
 */
#define SCEP_WIRE_LIST(F) F(TEXT, state) F(TEXT, authority) F(TEXT, subject) F(TEXT, after)

/* approve: 1, or 0 to deny with a reason. by: who decides, for the record. */
#define SCEP_WIRE_DECIDE(F) F(TEXT, id) F(U32, approve) F(TEXT, reason) F(TEXT, by)

/* authority: empty where the serial number names one certificate only; reason: CRLReason,
 * RFC 5280 5.3.1. */
#define SCEP_WIRE_REVOKE(F) F(TEXT, authority) F(TEXT, serial) F(U32, reason) F(TEXT, by)

/* authority: empty: all. */
#define SCEP_WIRE_SIGN_CRL(F) F(TEXT, authority) F(TEXT, by)

/* Times in seconds since 1970, 0: not yet. state: pending, issued, denied, expired. */
#define SCEP_WIRE_REQUEST(F)                                                                   \
    F(TEXT, id) F(TEXT, endpoint) F(TEXT, authority) F(TEXT, template_name)                    \
    F(TEXT, transaction_id) F(U32, message_type) F(TEXT, subject) F(TEXT, peer) F(TEXT, state) \
    F(TEXT, reason) F(TEXT, by) F(TEXT, serial) F(U64, created) F(U64, decided) F(U64, ends)

#define SCEP_WIRE_CERTIFICATE(F)                                                                 \
    F(TEXT, authority) F(TEXT, serial) F(TEXT, subject) F(TEXT, template_name) F(TEXT, endpoint) \
    F(U64, not_before) F(U64, not_after) F(U64, issued) F(U64, revoked) F(U32, reason)

/* after: for the next page; empty: this was the last. A page may be empty and not the last. */
#define SCEP_WIRE_REQUEST_PAGE(F) F(LIST, requests, request) F(TEXT, after)
#define SCEP_WIRE_CERTIFICATE_PAGE(F) F(LIST, certificates, certificate) F(TEXT, after)

/* endpoint, user: empty: all; after: as in scep_wire_list. */
#define SCEP_WIRE_CHALLENGES_OF(F) F(TEXT, endpoint) F(TEXT, user) F(TEXT, after)

/*
 * A challenge that is out, without itself. id: names it to REVOKE_CHALLENGE; single: 1 where it is
 * the endpoint's single password; templates: what a request with it may get, commas between;
 * subject, names: what it is bound to, names with newlines between; expires 0: never.
 */
#define SCEP_WIRE_CHALLENGE(F)                                                           \
    F(TEXT, id) F(TEXT, endpoint) F(TEXT, user) F(TEXT, peer) F(TEXT, templates)         \
    F(TEXT, subject) F(TEXT, names) F(U64, created) F(U64, expires) F(U32, single)

#define SCEP_WIRE_CHALLENGE_PAGE(F) F(LIST, challenges, challenge) F(TEXT, after)

/* id: of one; or empty, and the single password of an endpoint. */
#define SCEP_WIRE_REVOKE_CHALLENGE(F) F(TEXT, id) F(TEXT, endpoint) F(TEXT, by)

/* total 0: not known. */
#define SCEP_WIRE_PROGRESS(F) F(TEXT, what) F(U64, done) F(U64, total)

/* text: one line for the operator; serial: of the certificate issued or revoked, else empty. */
#define SCEP_WIRE_DONE(F) F(TEXT, text) F(TEXT, serial)

#define SCEP_WIRE_WORD(F) F(TEXT, text)

/* A program to be run: arguments without the program's own name; environment as NAME=VALUE; input
 * for its standard input; ms until it is killed. */
#define SCEP_WIRE_RUN(F)                                                                 \
    F(TEXT, program) F(LIST, arguments, word) F(LIST, environment, word) F(BYTES, input) \
    F(U32, ms)

/* outcome: scep_wire_run_outcome; number: exit status, signal or errno; complaint: the first line
 * of standard error, escaped. */
#define SCEP_WIRE_RAN(F) F(U32, outcome) F(U32, number) F(BYTES, output) F(TEXT, complaint)

/* clang-format on */

typedef enum scep_wire_run_outcome {
    SCEP_RAN_EXITED = 1,
    SCEP_RAN_SIGNALLED, /* it ended by a signal that was not the runner's */
    SCEP_RAN_LATE,      /* killed, as the time was over */
    SCEP_RAN_LOUD,      /* killed, as it printed too much */
    SCEP_RAN_NOT,       /* it could not be started */
    SCEP_RAN_STARTED    /* one that is kept runs; its end is told by another */
} scep_wire_run_outcome;

typedef enum scep_wire_role {
    SCEP_ROLE_CURRENT = 1, /* what GetCACert gives */
    SCEP_ROLE_FORMER,      /* opens what is still enveloped to it */
    SCEP_ROLE_NEXT         /* of the next CA: what GetNextCACert gives */
} scep_wire_role;

typedef enum scep_wire_status {
    SCEP_STATUS_ISSUED = 1,
    SCEP_STATUS_PENDING,
    SCEP_STATUS_REFUSED,
    SCEP_STATUS_LATER /* nothing decided, nothing used up: the device may ask again */
} scep_wire_status;

typedef enum scep_wire_mint_outcome {
    SCEP_MINT_DONE = 1,
    SCEP_MINT_FULL,          /* PasswordMax unused challenges stand */
    SCEP_MINT_NOT_PERMITTED, /* this user may not enrol */
    SCEP_MINT_TOO_OFTEN      /* SCEPMintMax in a minute */
} scep_wire_mint_outcome;

/* X(name, fields): leaves before those that list them. */
#define SCEP_WIRE_STRUCTS(X)                        \
    X(setting, SCEP_WIRE_SETTING)                   \
    X(endpoint, SCEP_WIRE_ENDPOINT)                 \
    X(endpoint_name, SCEP_WIRE_ENDPOINT_NAME)       \
    X(configure, SCEP_WIRE_CONFIGURE)               \
    X(cert, SCEP_WIRE_CERT)                         \
    X(identity, SCEP_WIRE_IDENTITY)                 \
    X(public, SCEP_WIRE_PUBLIC)                     \
    X(ready, SCEP_WIRE_READY)                       \
    X(failed, SCEP_WIRE_FAILED)                     \
    X(hello, SCEP_WIRE_HELLO)                       \
    X(keys, SCEP_WIRE_KEYS)                         \
    X(identities, SCEP_WIRE_IDENTITIES)             \
    X(enrol, SCEP_WIRE_ENROL)                       \
    X(renew, SCEP_WIRE_RENEW)                       \
    X(poll, SCEP_WIRE_POLL)                         \
    X(find, SCEP_WIRE_FIND)                         \
    X(verdict, SCEP_WIRE_VERDICT)                   \
    X(alt_name, SCEP_WIRE_ALT_NAME)                 \
    X(mint, SCEP_WIRE_MINT)                         \
    X(minted, SCEP_WIRE_MINTED)                     \
    X(refused, SCEP_WIRE_REFUSED)                   \
    X(authority_state, SCEP_WIRE_AUTHORITY_STATE)   \
    X(endpoint_state, SCEP_WIRE_ENDPOINT_STATE)     \
    X(state, SCEP_WIRE_STATE)                       \
    X(challenges_of, SCEP_WIRE_CHALLENGES_OF)       \
    X(challenge, SCEP_WIRE_CHALLENGE)               \
    X(challenge_page, SCEP_WIRE_CHALLENGE_PAGE)     \
    X(revoke_challenge, SCEP_WIRE_REVOKE_CHALLENGE) \
    X(list, SCEP_WIRE_LIST)                         \
    X(decide, SCEP_WIRE_DECIDE)                     \
    X(revoke, SCEP_WIRE_REVOKE)                     \
    X(sign_crl, SCEP_WIRE_SIGN_CRL)                 \
    X(request, SCEP_WIRE_REQUEST)                   \
    X(certificate, SCEP_WIRE_CERTIFICATE)           \
    X(request_page, SCEP_WIRE_REQUEST_PAGE)         \
    X(certificate_page, SCEP_WIRE_CERTIFICATE_PAGE) \
    X(progress, SCEP_WIRE_PROGRESS)                 \
    X(done, SCEP_WIRE_DONE)                         \
    X(word, SCEP_WIRE_WORD)                         \
    X(run, SCEP_WIRE_RUN)                           \
    X(ran, SCEP_WIRE_RAN)

/* struct scep_wire_NAME: U32 uint32_t, U64 uint64_t, TEXT const char * (never NULL after
 * decoding; NULL encodes as empty), BYTES scep_bytes, LIST an apr_array_header_t * of
 * scep_wire_ELEMENT (never NULL after decoding; NULL encodes as empty). */
#define SCEP_WIRE_MEMBER(kind, ...) SCEP_WIRE_MEMBER_##kind(__VA_ARGS__)
#define SCEP_WIRE_MEMBER_U32(name) uint32_t name;
#define SCEP_WIRE_MEMBER_U64(name) uint64_t name;
#define SCEP_WIRE_MEMBER_TEXT(name) const char *name;
#define SCEP_WIRE_MEMBER_BYTES(name) scep_bytes name;
#define SCEP_WIRE_MEMBER_LIST(name, element) apr_array_header_t *name;

#include <apr_tables.h>
#define X(name, fields)               \
    typedef struct scep_wire_##name { \
        fields(SCEP_WIRE_MEMBER)      \
    } scep_wire_##name;
SCEP_WIRE_STRUCTS(X)
#undef X

/**
 * For each structure NAME:
 * scep_wire_put_NAME(verb, value, p): a whole frame, header included, in @a p (wiped with it:
 *   frames carry secrets).
 * scep_wire_get_NAME(out, body, p): INTERNAL where @a body is not exactly such a structure.
 *   Texts are copied into @a p, BYTES are views of @a body.
 */
#define X(name, fields)                                                                     \
    SCEP_API scep_bytes scep_wire_put_##name(scep_verb verb, const scep_wire_##name *value, \
                                             apr_pool_t *p);                                \
    SCEP_API SCEP_MUST const scep_err *scep_wire_get_##name(scep_wire_##name *out,          \
                                                            scep_bytes body, apr_pool_t *p);
SCEP_WIRE_STRUCTS(X)
#undef X

/** A frame without a body. */
SCEP_API scep_bytes scep_wire_put_empty(scep_verb verb, apr_pool_t *p);

/**
 * Look at the start of a stream.
 * @param have what has been received so far
 * @param verb, length set when the header is there: length of the body
 * @return NULL and *verb 0 while fewer than SCEP_WIRE_HEADER bytes are there; NULL and the header;
 *         or INTERNAL: not our magic, another version, too long
 */
SCEP_API SCEP_MUST const scep_err *scep_wire_header(scep_bytes have, int *verb, size_t *length,
                                                    apr_pool_t *p);

/**
 * Write all of @a frame to / read one whole frame from a socket before @a deadline. The socket may
 * be blocking or not. SIGPIPE is not raised.
 * @param deadline apr_time_now()'s clock; the past: one try
 * @param verb, body of the frame read; the body is in @a p and wiped with it
 * @return NULL, or UNAVAILABLE: closed, failed, or the time is over; INTERNAL: not a frame. After a
 *         failed write the other side never holds the whole frame
 */
SCEP_API SCEP_MUST const scep_err *scep_wire_write(int fd, scep_bytes frame, apr_time_t deadline,
                                                   apr_pool_t *p);
SCEP_API SCEP_MUST const scep_err *scep_wire_read(int fd, int *verb, scep_bytes *body,
                                                  apr_time_t deadline, apr_pool_t *p);

#endif
