/*
 * The office: one function per wire verb. They call the rooms below, in order, and compute nothing.
 */
#ifndef CA_OFFICE_H
#define CA_OFFICE_H

#include "challenge.h"
#include "connector.h"
#include "crl.h"
#include "identities.h"
#include "limit.h"
#include "policy_module.h"
#include "renewal.h"
#include "settings.h"
#include "wire.h"

#include <stdatomic.h>

typedef struct office_authority {
    const conf_authority *conf;
    connector *connector;
    identities_keeper *identities;
    renewal_trust trust;
    struct office_authority *next;      /* takes over; NULL: none is prepared */
    struct office_directory *directory; /* NULL: none */
} office_authority;

/* Answers since this scep-ca was loaded. Any thread counts. */
typedef struct office_counts {
    _Atomic uint64_t issued, refused, pending, later, minted;
} office_counts;

typedef struct office_endpoint {
    const char *name;
    scep_settings settings;
    office_authority *authority;
    office_counts counts;
    policy_module *module; /* NULL: challenges are kept here */
} office_endpoint;

typedef struct office {
    const conf *conf;
    store *store;
    store_key *key;
    reservations *reservations;
    apr_array_header_t *authorities; /* of office_authority * */
    apr_array_header_t *endpoints;   /* of office_endpoint *, sorted by name */
    apr_interval_time_t timeout;     /* SCEPCATimeout */
    scep_limit *failed;              /* challenges, by endpoint and address */
    scep_limit *minted;              /* by endpoint and user */
    apr_time_t since;                /* when it was opened */
    struct clerks *clerks;           /* who ask CAs elsewhere; NULL: nobody does */
} office;

/**
 * Load what needs privileges: ca.conf, store.key, CA and RA keys; check that every RA fits its CA
 * and that every endpoint names an authority and templates that exist. Opens no database.
 * @param endpoints of scep_wire_endpoint; may be empty (`scep-ca check` by hand)
 * @return NULL, or CONFIG with a sentence that says what to do
 */
SCEP_MUST const scep_err *office_load(office **out, const char *conf_path,
                                      const apr_array_header_t *endpoints, apr_pool_t *p);

/**
 * Is there a program to run: do any of @a endpoints (of scep_wire_endpoint) have a policy module
 * that is one, or an authority of ca.conf a connector? Opens no secret.
 * @return NULL, or CONFIG: ca.conf is not readable
 */
SCEP_MUST const scep_err *office_wants_runner(bool *out, const char *conf_path,
                                              const apr_array_header_t *endpoints, apr_pool_t *p);

/** May the programs of connectors be run as this user, SCEPExecUser? With what needs privileges, too.
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *office_programs(const office *o, const char *exec_user, apr_pool_t *p);

/** Load the policy modules of the endpoints, with what needs privileges, too.
 *  @param r NULL: programs are checked and cannot be called. @return NULL, or CONFIG (NDES-53) */
SCEP_MUST const scep_err *office_modules(office *o, runner *r, const char *exec_user,
                                         apr_pool_t *p);

/** Start the connectors, as the user scep-ca runs as. @param r NULL: there is no program to run */
SCEP_MUST const scep_err *office_connect(office *o, runner *r, apr_pool_t *p);

/** Open the store and see that every authority has an RA; as the user scep-ca runs as.
 *  @param serves false: look only, and ask no CA elsewhere for an RA that is not there yet */
SCEP_MUST const scep_err *office_open(office *o, bool serves, apr_pool_t *p);

/** Compare once more what the directory of an authority publishes with ca.conf, where that is due.
 *  @return NULL; CONFIG: something is not as it should be; UNAVAILABLE: no server answers */
SCEP_MUST const scep_err *office_directory_refresh(const office_authority *a, apr_pool_t *p);

/** Whether scep-ca makes and renews the RA of an authority: its own CA does, and one elsewhere that
 *  ca.conf names templates for. Otherwise an administrator replaces its files. */
bool office_makes_ra(const office_authority *a);

/** Start whoever asks CAs elsewhere, among them about what a former process left. */
SCEP_MUST const scep_err *office_clerks_start(office *o, apr_pool_t *p);

/** They look for nothing more in the store. */
void office_clerks_leave(const office *o);

/** Wait at most @a within for what is being asked. @return false: threads go on; nothing may be
 *  freed, and the process is to end */
bool office_clerks_stop(office *o, apr_interval_time_t within);

/** The number of what workers know of an endpoint: its RAs and those of the next CA. */
uint64_t office_generation(const office_endpoint *e);

/** hello: what everybody may know, for READY. */
SCEP_MUST const scep_err *office_hello(scep_wire_ready *out, const office *o, apr_pool_t *p);

/** bundle: an endpoint's identities with their keys. REFUSED: unknown endpoint. */
SCEP_MUST const scep_err *office_bundle(scep_wire_identities *out, const office *o,
                                        const scep_wire_endpoint_name *in, apr_pool_t *p);

/**
 * enrol: the whole way of a request. Never an error: faults are verdicts (LATER where nothing was
 * decided). Writes one audit line. On ISSUED everything is committed.
 * @param deadline apr_time_now()'s clock
 */
void office_enrol(scep_wire_verdict *out, office *o, const scep_wire_enrol *in, apr_time_t deadline,
                  apr_pool_t *p);

/** renew: the same for a request that a certificate stands for; proved here, whatever the worker
 *  says. */
void office_renew(scep_wire_verdict *out, office *o, const scep_wire_renew *in, apr_time_t deadline,
                  apr_pool_t *p);

/** poll: what became of a request (CertPoll). Writes one audit line. @param deadline as above */
void office_poll(scep_wire_verdict *out, office *o, const scep_wire_poll *in, apr_time_t deadline,
                 apr_pool_t *p);

/** find: GetCert and GetCRL. Writes one audit line. */
void office_find(scep_wire_verdict *out, office *o, const scep_wire_find *in, apr_pool_t *p);

/** mint: a challenge for an authenticated user. Writes one audit line, without the challenge.
 *  @return NULL; BAD_REQUEST with a sentence for the user: it cannot be bound to that; … */
SCEP_MUST const scep_err *office_mint(scep_wire_minted *out, office *o, const scep_wire_mint *in,
                                      apr_pool_t *p);

/** The same for scepctl: whoever reaches its socket needs no permission of a template, and no
 *  patience (SCEPMintMax). */
SCEP_MUST const scep_err *office_mint_for_administrator(scep_wire_minted *out, office *o,
                                                        const scep_wire_mint *in, apr_pool_t *p);

/*
 * scepctl's verbs. Each decision writes one audit line. @return NULL, or an error whose detail is
 * for the operator's screen
 */

/** requests: a page of the queue. in->state "all": whatever their state. */
SCEP_MUST const scep_err *office_requests(scep_wire_request_page *out, office *o,
                                          const scep_wire_list *in, apr_pool_t *p);

/** approve (the CA is asked now) or deny one that waits. */
SCEP_MUST const scep_err *office_decide(scep_wire_done *out, office *o, const scep_wire_decide *in,
                                        apr_pool_t *p);

/** certificates: a page of the inventory. */
SCEP_MUST const scep_err *office_certificates(scep_wire_certificate_page *out, office *o,
                                              const scep_wire_list *in, apr_pool_t *p);

/** challenges: a page of those that are out, single passwords first. */
SCEP_MUST const scep_err *office_challenges(scep_wire_challenge_page *out, office *o,
                                            const scep_wire_challenges_of *in, apr_pool_t *p);

/** revoke-challenge: of an id, or the single password of an endpoint. */
SCEP_MUST const scep_err *office_revoke_challenge(scep_wire_done *out, office *o,
                                                  const scep_wire_revoke_challenge *in,
                                                  apr_pool_t *p);

/** revoke, and sign the CRL where the authority has one. */
SCEP_MUST const scep_err *office_revoke(scep_wire_done *out, office *o, const scep_wire_revoke *in,
                                        crl_progress_fn progress, void *baton, apr_pool_t *p);

/** crl: sign one now. */
SCEP_MUST const scep_err *office_sign_crl(scep_wire_done *out, office *o,
                                          const scep_wire_sign_crl *in, crl_progress_fn progress,
                                          void *baton, apr_pool_t *p);

/**
 * status: what the status page tells. Where the store does not answer, out->store is 0, out->detail
 * says why, and what only the store knows is 0.
 * @return NULL, or INTERNAL
 */
SCEP_MUST const scep_err *office_status(scep_wire_state *out, office *o, apr_pool_t *p);

/** Count an answer of @a e; NULL: of no endpoint, which nobody counts. */
void office_count_answer(office_endpoint *e, const scep_wire_verdict *verdict);
void office_count_mint(office_endpoint *e, const scep_wire_minted *minted);

/** The endpoint of that name (letter case ignored); NULL: none. */
office_endpoint *office_endpoint_find(const office *o, const char *name);

#endif
