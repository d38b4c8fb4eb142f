/* An office of its own for each test: a CA made once, a fresh store, the log in a file. */
#ifndef OFFICE_ROOM_H
#define OFFICE_ROOM_H

#include "fixture.h"
#include "office.h"

/** Before Check forks: make the CA that all tests share. */
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

#endif
