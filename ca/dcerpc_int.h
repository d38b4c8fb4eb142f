/* What the files of the room dcerpc share. */
#ifndef CA_DCERPC_INT_H
#define CA_DCERPC_INT_H

#include "dcerpc.h"

struct dcerpc {
    apr_pool_t *p; /* its own */
    int fd;
    unsigned int port;
    uint32_t call_id;
    size_t send_most;  /* bytes of a PDU */
    dcerpc_auth *auth; /* NULL: the endpoint mapper, whose word is believed by nobody */
    bool is_broken;
    unsigned char in[DCERPC_FRAGMENT_MOST]; /* one PDU */
};

/* ---- dcerpc_socket.c ---- */

/** Connect. @param out in a pool of its own below @a p */
SCEP_MUST const scep_err *dcerpc_connect(dcerpc **out, const char *host, unsigned int port,
                                         aside *place, moment d, apr_pool_t *p);

SCEP_MUST const scep_err *dcerpc_send(dcerpc *c, scep_bytes pdu, moment d, apr_pool_t *p);

/** One PDU, which is gone with the next one. */
SCEP_MUST const scep_err *dcerpc_receive(dcerpc_pdu *out, dcerpc *c, moment d, apr_pool_t *p);

/* ---- dcerpc_map.c: the endpoint mapper ([C706] appendix O) ---- */

extern const dcerpc_interface dcerpc_map_interface;
#define DCERPC_MAP_OPNUM 3 /* ept_map */

/** The stub that asks where @a interface is, by TCP. */
scep_bytes dcerpc_map_ask(const dcerpc_interface *interface, apr_pool_t *p);

/** @return NULL, or UNAVAILABLE: it is nowhere, or this is no answer */
SCEP_MUST const scep_err *dcerpc_map_read(unsigned int *port, scep_bytes answer,
                                          const dcerpc_interface *interface, apr_pool_t *p);

/* ---- dcerpc.c ---- */

/** Bind, with the legs of authentication where @a target is not NULL. */
SCEP_MUST const scep_err *dcerpc_bind(dcerpc *c, const dcerpc_interface *interface,
                                      const dcerpc_target *target, moment d, apr_pool_t *p);

#endif
