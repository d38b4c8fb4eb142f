/*
 * A worker's calls to scep-ca: each with a deadline, over connections that are kept.
 */
#ifndef SCEP_CA_CLIENT_H
#define SCEP_CA_CLIENT_H

#include "wire.h"

typedef struct scep_ca_client scep_ca_client;

/**
 * Prepare to call; connects to nothing. Used from many threads at once.
 * @param path the workers' socket; copied
 * @param enrol_secret SCEP_WIRE_SECRET bytes, copied
 * @param mint_secret the same, or len 0 where this httpd never mints
 * @param timeout a call's longest time
 * @param p the process's pool; the client lives and dies with it
 */
SCEP_API SCEP_MUST const scep_err *scep_ca_client_make(scep_ca_client **out, const char *path,
                                                       scep_bytes enrol_secret,
                                                       scep_bytes mint_secret,
                                                       apr_interval_time_t timeout, apr_pool_t *p);

/**
 * Each call: @param p where the answer lives.
 * @return NULL and the answer; UNAVAILABLE: scep-ca is away, busy or too slow (nothing is known of
 *         the outcome; an enrolment may be repeated safely); or the code scep-ca refused with.
 * verdict and identities are repeated once where a kept or new connection breaks: what they ask is
 * idempotent. mint is sent once only.
 */
SCEP_API SCEP_MUST const scep_err *scep_ca_client_identities(scep_wire_identities *out,
                                                             scep_ca_client *client,
                                                             const char *endpoint, apr_pool_t *p);
/** @param frame of ENROL, RENEW, POLL or FIND
 *  @param most its longest time; 0: the client's timeout */
SCEP_API SCEP_MUST const scep_err *scep_ca_client_verdict(scep_wire_verdict *out,
                                                          scep_ca_client *client, scep_bytes frame,
                                                          apr_interval_time_t most, apr_pool_t *p);
SCEP_API SCEP_MUST const scep_err *scep_ca_client_mint(scep_wire_minted *out,
                                                       scep_ca_client *client,
                                                       const scep_wire_mint *request,
                                                       apr_pool_t *p);
/** @param most its longest time, whatever the client's timeout is
 *  @return as above, but TOO_OFTEN where scep-ca is there and too busy to tell */
SCEP_API SCEP_MUST const scep_err *scep_ca_client_status(scep_wire_state *out,
                                                         scep_ca_client *client,
                                                         apr_interval_time_t most, apr_pool_t *p);

#endif
