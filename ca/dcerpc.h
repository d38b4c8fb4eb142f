/*
 * Calls to a Windows service: connection-oriented DCE/RPC over TCP, with the endpoint mapper.
 *
 * Always with packet privacy (RPC_C_AUTHN_LEVEL_PKT_PRIVACY), signed headers and Kerberos in both
 * directions: there is nothing to set lower. Errors are UNAVAILABLE: a connection that breaks and a
 * fault, which anybody on the way can make, say "try later" and decide nothing. CONFIG: only from
 * making things.
 *
 * Every wait ends at the deadline that the call is given, by the monotonic clock; what libraries do
 * without one is done aside (aside.h).
 */
#ifndef CA_DCERPC_H
#define CA_DCERPC_H

#include "dcerpc_auth.h"

/** The longest stub, sent or received. */
#define DCERPC_STUB_MOST (1u << 20)

/** A service; copied nowhere, so it must outlive its connections' opening only. */
typedef struct dcerpc_server {
    dcerpc_target target;
    unsigned int port;     /* 0: as the endpoint mapper says */
    unsigned int map_port; /* the endpoint mapper's; 0: 135 */
} dcerpc_server;

/** A connection: authenticated, kept, used by one thread at a time. */
typedef struct dcerpc dcerpc;

/** Ask the endpoint mapper, connect, bind. @param p the connection ends with it, or before by
 *  dcerpc_close() */
SCEP_MUST const scep_err *dcerpc_open(dcerpc **out, const dcerpc_server *server,
                                      const dcerpc_interface *interface, moment d, apr_pool_t *p);

/** End it. Not to be used any more. */
void dcerpc_close(dcerpc *c);

/** The port that it is connected to. */
unsigned int dcerpc_port(const dcerpc *c);

/** May it be called again? No: something failed, the server closed it, or its tickets end. */
bool dcerpc_is_usable(const dcerpc *c);

/**
 * One call. After an error the connection cannot be used again.
 * @param answer the stub that came back, in @a p; what its parameters mean is the caller's to judge
 * @param asked true where the server may have got the whole request, whatever was returned: it may
 *              have carried it out. false: it cannot have, and the call may be made anew
 * @return NULL, or UNAVAILABLE
 */
SCEP_MUST const scep_err *dcerpc_call(scep_bytes *answer, bool *asked, dcerpc *c, uint16_t opnum,
                                      scep_bytes stub, moment d, apr_pool_t *p);

#endif
