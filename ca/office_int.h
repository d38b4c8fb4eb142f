/*
 * Inside the office: what its files share. Nobody else includes this.
 */
#ifndef CA_OFFICE_INT_H
#define CA_OFFICE_INT_H

#include "clerks.h"
#include "office.h"
#include "transaction.h"

/*
 * An application for a certificate, by a challenge or by an older certificate: what is known of it
 * by and by. A CertPoll is one that asks again and brings no CSR.
 */
typedef struct application {
    office *o;
    const char *verb; /* "enrol", "renew" or "poll": for the audit line */
    const char *endpoint_name, *peer;
    scep_bytes transaction_id;
    int message_type;
    apr_time_t begin, deadline;
    apr_pool_t *p;

    office_endpoint *endpoint;
    office_authority *authority; /* the endpoint's own, or the one that takes over */
    scep_csr *csr;
    scep_bytes key_hash; /* of the key that signed the request */
    const conf_template *template;
    X509 *old;      /* a renewal: what stands for the challenge */
    bool old_known; /* in the inventory, and the template is its own */

    bool enforced;              /* EnforcePassword */
    const char *challenge_hash; /* NULL: none was sent, or none is looked at */
    bool single; /* it is the endpoint's single password: for all devices, never used up */
    bool challenge_good, uses_challenge, pends;
    policy_binding bound; /* of a good challenge */
    transaction *transaction;
    const scep_err *conflict; /* the transactionID belongs to another key */
    const issued_cert *cert;  /* that was made for this application */
    bool repeated;            /* the answer was there already */
    bool told_pending;        /* the policy module knows that it waits */
    transaction_answer answer;
    const store_request *denied; /* where it was: its row; NULL: it is not kept */
} application;

/** REFUSED: there is no such endpoint. */
SCEP_MUST const scep_err *office_endpoint_wanted(office_endpoint **out, const office *o,
                                                 const char *name, apr_pool_t *p);

/** The endpoint's own authority, or the next one. @param name "": its own. REFUSED: neither */
SCEP_MUST const scep_err *office_authority_wanted(office_authority **out, const office_endpoint *e,
                                                  const char *name, apr_pool_t *p);

/** Where an endpoint's devices renew. */
renewal_place office_renewal_place(const office_endpoint *e);

/** The authority of that section; NULL: none. */
office_authority *office_authority_find(const office *o, const char *name);

/** What holds at one moment: @a next is NULL where no authority takes over. */
typedef struct office_view {
    const identities *own, *next;
} office_view;

office_view office_view_of(const office_endpoint *e);

/**
 * Ask the CA of an authority that is not remote.
 * @return NULL; REFUSED: it denies; UNAVAILABLE: it cannot be asked, or what it sent is of no use
 */
SCEP_MUST const scep_err *office_ask_ca(const issued_cert **out, const office_authority *a,
                                        const conf_template *template, const scep_csr *csr,
                                        apr_pool_t *p);

/** UNAVAILABLE: the CA of that authority, which is elsewhere, is left alone for a while. */
SCEP_MUST const scep_err *office_remote_ready(const office *o, const office_authority *a,
                                              apr_pool_t *p);

/** Have a request of the queue asked about. As clerks_ask(). */
bool office_remote_ask(const office *o, const office_authority *a, const char *id,
                       apr_time_t deadline, bool patient, clerks_leave_fn leaves, void *baton);

/** What is said of a request whose endpoint is not served any more: what that would have asked
 * before a yes counts is not known. @return CONFIG */
SCEP_MUST const scep_err *office_gone(const store_request *r, apr_pool_t *p);

/** The certificate that stands for a renewal may have been revoked, or have ended, while the
 *  request waited. @return NULL; as renewal_check(); CONFIG: the endpoint is gone */
SCEP_MUST const scep_err *office_renewal_again(const office *o, const store_request *r,
                                               apr_pool_t *p);

/** How a request stands. @param out where it was issued, otherwise NULL; der, serial and subject
 *  only */
SCEP_MUST const scep_err *office_remote_outcome(const issued_cert **out, const store_request **row,
                                                const office *o, const char *id, apr_pool_t *p);

/** Open the directories of the authorities, with what needs privileges. @return NULL, or CONFIG */
SCEP_MUST const scep_err *office_directories_load(office *o, apr_pool_t *p);

/** Compare what they publish with ca.conf, and apply their templates; before anybody else reads
 *  templates. @return NULL; CONFIG: a CA certificate or a template is not as it should be;
 *          UNAVAILABLE: no server answers, and templates stand there only */
SCEP_MUST const scep_err *office_directories_look(office *o, apr_pool_t *p);

/** May that user enrol on these templates, as far as the authority's directory is concerned?
 *  @param why not; "": he may, or there is no directory
 *  @return NULL; UNAVAILABLE or CONFIG: it is not known */
SCEP_MUST const scep_err *office_directory_permits(const char **why, const office_authority *a,
                                                   const conf_template *const *templates, int n,
                                                   const char *user, apr_pool_t *p);

/** Does the directory confirm the Microsoft SID that the request claims?
 *  @param why not; "": it does, or none is claimed, or the template does not ask it
 *  @return NULL; UNAVAILABLE or CONFIG: it is not known; BAD_SUBJECT: no SID can be read */
SCEP_MUST const scep_err *office_directory_confirms(const char **why, const office_authority *a,
                                                    const conf_template *template,
                                                    const scep_csr *csr, apr_pool_t *p);

/** The account may have been disabled, or have got other names, while the request waited.
 *  @return NULL; as office_directory_confirms(); REFUSED: the directory does not confirm it now */
SCEP_MUST const scep_err *office_sid_again(const office *o, const store_request *r, apr_pool_t *p);

/** Who denied it and why. @param row NULL: it is not kept */
const char *office_denial(const store_request *row, apr_pool_t *p);

/** The way of an application from its CSR, template and key_hash to the committed answer. */
SCEP_MUST const scep_err *office_apply(application *a);

/** Say what became of it, count what failed, and write the audit line. */
void office_answer(scep_wire_verdict *out, const application *a, const scep_err *err);

/** Was anything decided about the request, or is it the world that failed? */
bool office_is_refusal(scep_code code);

/** Ask the endpoint's policy module, if it has one. CHALLENGE or REFUSED: no; UNAVAILABLE: a
 *  fault. */
SCEP_MUST const scep_err *office_module_verify(const application *a);

/**
 * Tell the endpoint's policy module, if it has one, what became of an application.
 * @param err of the application; NULL: a->answer holds
 * @return @a err; or UNAVAILABLE: there is a certificate and the module did not hear of it
 */
SCEP_MUST const scep_err *office_module_notify(const application *a, const scep_err *err);

/** The same of a certificate that a CertPoll fetches. @param r the request, which waited */
SCEP_MUST const scep_err *office_module_delivered(const application *a, const store_request *r);

/** The same of one that waited, before an administrator's yes counts: another request may have used
 *  its challenge up meanwhile. @param e NULL: is not served any more. @return as
 *  office_module_verify(); CONFIG: as office_gone() */
SCEP_MUST const scep_err *office_module_verify_again(const office_endpoint *e,
                                                     const store_request *r, apr_time_t deadline,
                                                     apr_pool_t *p);

/** The same of what an administrator decided: it stands, whether the module hears of it or not.
 *  @param e NULL: is not served any more; @param cert NULL: denied */
void office_module_decided(const office_endpoint *e, const store_request *r,
                           const issued_cert *cert, apr_pool_t *p);

/** The template by the key usage of an NDESGenerateChallenge. @return NULL; BAD_REQUEST: the
 * endpoint has no policy module, its page was asked for, or params is no UTF-8; CONFIG */
SCEP_MUST const scep_err *office_module_template(const char **out, const office_endpoint *e,
                                                 const scep_wire_mint *in, apr_pool_t *p);

/** A challenge that the endpoint's policy module makes. @return NULL; UNAVAILABLE: a fault */
SCEP_MUST const scep_err *office_module_mint(scep_wire_minted *out, const office_endpoint *e,
                                             const char *template_name, const scep_wire_mint *in,
                                             apr_pool_t *p);

/** At the start, in the log: whose single password the challenge page would not show. */
void office_singles_judge(const office *o, apr_pool_t *p);

/** What an operator typed, for a line of the log and for the store. */
const char *office_typed(const char *text, apr_pool_t *p);

/** A verdict from an error: REFUSED where something was decided, else LATER, with a log line. */
void office_verdict_fail(scep_wire_verdict *out, const scep_err *err);

#endif
