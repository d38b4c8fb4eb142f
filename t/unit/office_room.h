/* An office of its own for each test: a CA made once, a fresh store, the log in a file. */
#ifndef OFFICE_ROOM_H
#define OFFICE_ROOM_H

#include "fixture.h"
#include "office.h"

/* The certificate that the fixture's CA, which is renewal_ca, has revoked. */
#define OFFICE_ROOM_REVOKED 4711

/** Before Check forks: make the CAs that all tests share: "default" and its successor. */
void office_room_prepare(void);
/** The last process: remove it. */
void office_room_done(void);

/** Write a ca.conf, load and open an office in a new folder under the pool @a p. */
office *office_room_up(apr_pool_t *p);
/** Close it, remove the folder. */
void office_room_down(office *o);

/** Another office on the same configuration and database: a second node, or after a restart. */
office *office_room_again(const office *o, apr_pool_t *p);

/** All that was logged since office_room_up(). */
const char *office_room_log(apr_pool_t *p);

/** How many certificates are in the inventory. */
int office_room_count(office *o, apr_pool_t *p);

/** A challenge of @a endpoint. */
const char *office_room_mint(office *o, const char *endpoint, apr_pool_t *p);

/** Enrol a CSR. @param id the transactionID */
scep_wire_verdict office_room_enrol(office *o, const char *endpoint, const char *id, scep_bytes csr,
                                    apr_pool_t *p);
/** The same, enveloped to the RA of @a authority, from @a peer. */
scep_wire_verdict office_room_enrol_at(office *o, const char *endpoint, const char *authority,
                                       const char *peer, const char *id, scep_bytes csr,
                                       apr_pool_t *p);

/** The RA and the CA of an authority: 0 "default", 1 "successor". */
const scep_ra *office_room_ra(const office *o, int authority);
X509 *office_room_ca(const office *o, int authority);

/** What a worker forwards of a message that it has verified.
 *  @param r recipient NULL: the RA of "default" */
scep_wire_renew office_room_forward(const office *o, const char *endpoint, const fixture_request *r,
                                    apr_pool_t *p);

/** Renew. */
scep_wire_verdict office_room_renew(office *o, const char *endpoint, const fixture_request *r,
                                    apr_pool_t *p);

/** SHA-256 of the SubjectPublicKeyInfo. */
scep_bytes office_room_key_hash(const EVP_PKEY *key, apr_pool_t *p);

/** Poll. @param key that signs the CertPoll */
scep_wire_verdict office_room_poll(office *o, const char *endpoint, const char *id,
                                   const EVP_PKEY *key, apr_pool_t *p);

/** Approve or deny the request of that id. */
const scep_err *office_room_decide(office *o, const char *id, bool approve, apr_pool_t *p);

/** The id of the request with that transactionID that waits; NULL: none. */
const char *office_room_waiting(office *o, const char *id, apr_pool_t *p);

/** Revoke for keyCompromise, whatever authority it is of. */
const scep_err *office_room_revoke(office *o, const char *serial, apr_pool_t *p);

#endif
