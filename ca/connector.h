/*
 * A CA behind scep-ca. One structure of functions for each kind: connector_local.c signs itself,
 * the others ask a CA elsewhere.
 *
 * A CA elsewhere is asked by the clerks of its authority (clerks.h), never by the thread of a
 * device's call, and only after what is asked for was recorded (submission.h). What it sends is
 * checked in one place (received.h): a connector hands on what came, and judges no certificate.
 */
#ifndef CA_CONNECTOR_H
#define CA_CONNECTOR_H

#include "conf.h"
#include "csr.h"
#include "deadline.h"
#include "issue.h"
#include "ra.h"
#include "runner.h"

typedef struct connector connector;

/** What is asked of a CA. Everything is the caller's, and lives as long as the call. */
typedef struct connector_ask {
    const conf_template *template;
    const scep_csr *csr;
    const char *id;     /* of the submission, 16 hex digits: for a CA that takes a name of ours */
    const char *cookie; /* what the connector wanted kept at its last answer; "": nothing, it is
                           asked for the first time */
    bool lost;          /* it was asked before, and nobody knows what it heard or said: without a
                           cookie of an answer, or after a call that broke */
    moment until;       /* the call ends by then */
    /**
     * Commit another cookie before going on, as what the CA is about to do cannot be found again
     * without it. NULL for a connector that is not remote.
     * @return NULL; UNAVAILABLE: it is not kept, so the CA must not be asked
     */
    const scep_err *(*keep)(void *baton, const char *cookie, apr_pool_t *p);
    void *baton;
} connector_ask;

/** What a CA said. */
typedef enum connector_outcome {
    CONNECTOR_ISSUED,
    CONNECTOR_PENDING, /* it decides some day: ask again with the cookie */
    CONNECTOR_DENIED,  /* a decision on this very request, for good */
    CONNECTOR_LOST     /* it may have issued, cannot be asked whether, and asking anew could issue
                          twice: an administrator has to decide */
} connector_outcome;

/** Everything in the caller's pool. */
typedef struct connector_answer {
    connector_outcome outcome;
    const issued_cert *cert; /* issued here (not remote): its spki is the one in its der */
    scep_bytes der;          /* issued elsewhere: DER of one certificate, unchecked */
    const char *reason; /* denied, lost: for the log and the operator, one line. Pending: the CA's
                           words, or NULL */
    const char *cookie; /* pending: what to ask with, at most CONNECTOR_COOKIE_MOST characters of
                           printable ASCII */
    int after;          /* pending: seconds until it wants to be asked again; 0: as ca.conf says */
    bool asked;         /* with an error: the CA may have got the request. false: it cannot have */
} connector_answer;

#define CONNECTOR_COOKIE_MOST 4096

struct connector {
    /**
     * Ask for a certificate. Any thread, several at one time.
     * @param out zeroed by the caller
     * @return NULL and an answer; UNAVAILABLE: the CA could not be asked or did not answer, try
     *         again; CONFIG: it is never going to work until an administrator mends something,
     *         which is said (a template the CA does not have, a right that is missing, a request
     *         that the CA fails at), and says nothing about other requests. After an error
     *         out->asked tells whether the CA may have got it
     */
    const scep_err *(*submit)(connector_answer *out, connector *self, const connector_ask *ask,
                              apr_pool_t *p);
    /**
     * May its program be run as this user? With what needs privileges, before they are dropped.
     * NULL: it has none.
     * @param user SCEPExecUser; NULL or "": none was given. @return NULL, or CONFIG
     */
    const scep_err *(*may_run)(connector *self, const char *user, apr_pool_t *p);
    /**
     * After privileges were dropped and before the first submit(), in the process that serves:
     * libraries that keep threads or tickets are started here. NULL: nothing to do.
     * @param r runs programs; NULL: no authority has any. @param p as long as the process
     */
    const scep_err *(*start)(connector *self, runner *r, apr_pool_t *p);
    /**
     * Can the CA be reached and does it know us? For `scep-ca check`; asks for nothing.
     * NULL: nothing to ask. @return NULL, UNAVAILABLE, or CONFIG
     */
    const scep_err *(*check)(connector *self, moment until, apr_pool_t *p);
    /**
     * Tell the CA that a certificate of its is revoked, before the inventory says so. NULL: this
     * CA is told by other means.
     * @param reason CRLReason
     * @return NULL; REFUSED: it does not want to, with its reason; UNAVAILABLE
     */
    const scep_err *(*revoke)(connector *self, scep_bytes der, int reason, moment until,
                              apr_pool_t *p);
    /**
     * Sign a CRL whose issuer, dates, entries and extensions are set. Any thread.
     * NULL: this CA's CRL is not scep-ca's business
     */
    const scep_err *(*sign_crl)(X509_CRL *crl, connector *self, apr_pool_t *p);
    const char *name;
    bool remote;            /* asked over a network or a program: by clerks, with a record */
    STACK_OF(X509) * chain; /* issuing CA first, root last: ca_cert of ca.conf */
    void *data;             /* the kind's own */
};

/*
 * One for each kind. Keys and files are read here, before privileges are dropped; no network, no
 * thread. The chain was loaded and checked by connector_open().
 * @param c zeroed but for chain, to be filled
 * @return NULL, or CONFIG: a sentence that says what to do
 */
#define CONNECTOR_OPEN(kind)                           \
    SCEP_MUST const scep_err *connector_##kind##_open( \
        connector *c, const conf_authority *authority, apr_pool_t *p)
CONNECTOR_OPEN(local);
CONNECTOR_OPEN(adcs);
CONNECTOR_OPEN(cmp);
CONNECTOR_OPEN(est);
CONNECTOR_OPEN(exec);

/** Load and check the chain, and open the connector that authority->connector names. */
SCEP_MUST const scep_err *connector_open(connector **out, const conf_authority *authority,
                                         apr_pool_t *p);

#endif
