/*
 * What is asked of a CA elsewhere, as the queue's row of a request (request.h): committed before
 * the CA is asked, completed when it answers. Whatever process or node of a database ends in
 * between, another one finds the row and what its connector wanted kept.
 *
 *   queued    is to be asked for the first time, or anew
 *   asked     is being asked, until next_ask: the claim of whoever asks. After that nobody knows
 *             what the CA heard
 *   waits     the CA decides some day; it is asked again at next_ask, with the cookie
 *   lost      nobody can know whether the CA issued: an administrator decides
 *   withheld  what the CA sent is unfit (received.h), and kept; an administrator decides
 *
 * A row is settled by whoever holds its claim, and by nobody twice.
 */
#ifndef CA_SUBMISSION_H
#define CA_SUBMISSION_H

#include "request.h"

/* Who decides where no administrator did: store_request.by */
#define SUBMISSION_THE_CA "the CA"
#define SUBMISSION_SCEP_CA "scep-ca"

typedef struct submission {
    const store_request *row; /* as it stands in the store: "asked" */
    bool lost;                /* connector_ask.lost */
    bool polled;              /* the cookie is of an answer: asking again changes nothing there */
    /* before the claim, and so again where nothing is sent: */
    const char *cookie;
    bool waited;
} submission;

/**
 * Claim a request, so that its CA is asked by nobody else for @a seconds.
 * @param out NULL: there is nothing to ask: it was decided, or another has the claim
 */
SCEP_MUST const scep_err *submission_claim(submission **out, store *s, const char *id, int seconds,
                                           apr_pool_t *p);

/** Commit another cookie. @return NULL; UNAVAILABLE: the store failed, or the claim is gone */
SCEP_MUST const scep_err *submission_keep(submission *m, store *s, const char *cookie,
                                          apr_pool_t *p);

/*
 * What became of it. @param held false: the claim was gone, so that nothing changed: another node
 * asks, or an administrator has decided. Once more after UNAVAILABLE: what was committed
 * nevertheless is held
 */

/** The certificate goes to the inventory, the transaction to "issued". @return also REFUSED: the
 *  inventory has that serial number already, for another request; nothing changed */
SCEP_MUST const scep_err *submission_issued(bool *held, const submission *m, store *s,
                                            const issued_cert *cert, apr_pool_t *p);

/** The CA denied; its reason is remembered. */
SCEP_MUST const scep_err *submission_denied(bool *held, const submission *m, store *s,
                                            const char *reason, apr_pool_t *p);

/** Denied before the CA was asked. */
SCEP_MUST const scep_err *submission_refused(bool *held, const submission *m, store *s,
                                             const char *reason, apr_pool_t *p);

/** The CA decides later: to be asked again in @a after seconds. @param reason NULL: none */
SCEP_MUST const scep_err *submission_waits(bool *held, const submission *m, store *s,
                                           const char *cookie, const char *reason, int after,
                                           apr_pool_t *p);

/** It is not known whether the CA issued. */
SCEP_MUST const scep_err *submission_lost(bool *held, const submission *m, store *s,
                                          const char *reason, apr_pool_t *p);

/** @param der what the CA sent */
SCEP_MUST const scep_err *submission_withheld(bool *held, const submission *m, store *s,
                                              const char *reason, scep_bytes der, apr_pool_t *p);

/** The CA did not answer: to be asked again in @a after seconds. @param asked it may have heard */
SCEP_MUST const scep_err *submission_again(bool *held, const submission *m, store *s,
                                           const char *reason, int after, bool asked,
                                           apr_pool_t *p);

/** In a job: an administrator lets the CA be asked (anew), and the clerks of this process are about
 *  to do so. @param r as it was read. @return NULL, or BAD_CERT_ID: it was decided meanwhile */
SCEP_MUST const scep_err *submission_queue(store_tx *tx, const store_request *r, const char *by);

/** Whom @a authority is to be asked about now. @param ids of const char *, at most @a most */
SCEP_MUST const scep_err *submission_due(apr_array_header_t **ids, store *s, const char *authority,
                                         int most, apr_pool_t *p);

/** How it stands now. @param out NULL: it is not kept any more */
SCEP_MUST const scep_err *submission_look(const store_request **out, store *s, const char *id,
                                          apr_pool_t *p);

#endif
