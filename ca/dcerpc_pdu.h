/*
 * The PDUs of connection-oriented DCE/RPC ([C706] 12.6, [MS-RPCE] 2.2.2) as a client writes and
 * reads them: little-endian, version 5.0, one presentation context, NDR. Pure: bytes in, bytes out.
 */
#ifndef CA_DCERPC_PDU_H
#define CA_DCERPC_PDU_H

#include "ndr.h"

#define DCERPC_HEADER 16          /* of every PDU */
#define DCERPC_REQUEST_HEADER 24  /* of a request or a response: the stub begins here */
#define DCERPC_TRAILER 8          /* sec_trailer, before a token */
#define DCERPC_FRAGMENT_MOST 5840 /* what is offered in both directions, as Windows does */
#define DCERPC_LEVEL_PRIVACY 6    /* RPC_C_AUTHN_LEVEL_PKT_PRIVACY; no other is ever asked for */

typedef enum dcerpc_type {
    DCERPC_REQUEST = 0,
    DCERPC_RESPONSE = 2,
    DCERPC_FAULT = 3,
    DCERPC_BIND = 11,
    DCERPC_BIND_ACK = 12,
    DCERPC_BIND_NAK = 13,
    DCERPC_ALTER_CONTEXT = 14,
    DCERPC_ALTER_CONTEXT_RESP = 15
} dcerpc_type;

typedef enum dcerpc_flag {
    DCERPC_FIRST = 0x01,
    DCERPC_LAST = 0x02,
    DCERPC_SIGNS_HEADERS = 0x04 /* in bind and bind_ack: PFC_SUPPORT_HEADER_SIGN */
} dcerpc_flag;

/** How a PDU is authenticated. */
typedef struct dcerpc_verifier {
    uint8_t type, level; /* type 0: not at all */
    uint32_t context;
} dcerpc_verifier;

typedef struct dcerpc_interface {
    const char *name;       /* for the log */
    unsigned char uuid[16]; /* as on the wire: the first three parts little-endian */
    uint16_t major, minor;
} dcerpc_interface;

/* ---- writing ---- */

/** A bind, or an alter_context. @param token len 0 where there is no verifier
 *  @return NULL, or UNAVAILABLE: the token is larger than a PDU can be */
SCEP_MUST const scep_err *dcerpc_put_bind(scep_bytes *out, dcerpc_type type, uint32_t call_id,
                                          const dcerpc_interface *interface,
                                          const dcerpc_verifier *verifier, scep_bytes token,
                                          apr_pool_t *p);

/** A fragment of a request, while its token is not made. */
typedef struct dcerpc_fragment {
    ndr_out pdu;     /* whole but for its token: header, stub, padding, sec_trailer */
    size_t stub_end; /* behind the padding: what is sealed is from DCERPC_REQUEST_HEADER to here */
} dcerpc_fragment;

/**
 * @param flags DCERPC_FIRST, DCERPC_LAST, both or none
 * @param hint how much of the stub is still to come, this fragment counted
 */
dcerpc_fragment dcerpc_put_request(uint32_t call_id, int flags, uint16_t opnum, size_t hint,
                                   scep_bytes stub, const dcerpc_verifier *verifier, apr_pool_t *p);

/** Say in a fragment's header how long it is, and how long its token: both are signed, so this
 * comes before the token is made. */
void dcerpc_put_lengths(dcerpc_fragment *fragment, size_t token);

/* ---- reading: every fault is UNAVAILABLE, as none of it says anything of the request ---- */

/** The length that a header states. @param header DCERPC_HEADER bytes
 *  @return NULL and a length from DCERPC_HEADER to DCERPC_FRAGMENT_MOST, or UNAVAILABLE */
SCEP_MUST const scep_err *dcerpc_get_length(size_t *out, scep_bytes header, apr_pool_t *p);

/** A PDU; all views of the bytes it was read from. */
typedef struct dcerpc_pdu {
    uint8_t type, flags; /* dcerpc_type, dcerpc_flag */
    uint32_t call_id;
    scep_bytes all;
    scep_bytes body; /* behind the header, with a token's padding, without its trailer */
    dcerpc_verifier verifier;
    uint8_t padding; /* bytes at the end of the body; no more than those behind a header */
    scep_bytes token;
} dcerpc_pdu;

/** @param all as long as its header says */
SCEP_MUST const scep_err *dcerpc_get(dcerpc_pdu *out, scep_bytes all, apr_pool_t *p);

/** What a bind_ack or alter_context_resp grants: that the one context that was asked for is
 * accepted with NDR. @param send_most the longest PDU the server takes, never above
 * DCERPC_FRAGMENT_MOST */
SCEP_MUST const scep_err *dcerpc_get_accepted(size_t *send_most, const dcerpc_pdu *pdu,
                                              apr_pool_t *p);

/** A response's place in the stub, sealed or not, with its padding: from DCERPC_REQUEST_HEADER of
 *  pdu->all on. @return NULL, or UNAVAILABLE: not of the one presentation context */
SCEP_MUST const scep_err *dcerpc_get_response(scep_bytes *stub, const dcerpc_pdu *pdu,
                                              apr_pool_t *p);

/**
 * What a bind_nak, a fault, or a PDU that is none of those expected says, as an error.
 * @return always UNAVAILABLE: neither is authenticated, so neither may decide anything
 */
SCEP_MUST const scep_err *dcerpc_get_refusal(const dcerpc_pdu *pdu, apr_pool_t *p)
    __attribute__((returns_nonnull));

#endif
