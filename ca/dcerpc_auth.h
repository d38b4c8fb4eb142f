/*
 * The security context of a DCE/RPC connection: Kerberos by GSS-API, alone or in SPNEGO, in the
 * three legs of DCE, with packet privacy and signed headers ([MS-RPCE] 2.2.2.11
 * to 2.2.2.13, 3.3.1.5.2).
 *
 * There is no NTLM: SPNEGO offers Kerberos only, and a context that turns out to be anything else,
 * or to lack confidentiality, integrity, mutual authentication or DCE's style, is refused.
 */
#ifndef CA_DCERPC_AUTH_H
#define CA_DCERPC_AUTH_H

#include "aside.h"
#include "dcerpc_pdu.h"

typedef enum dcerpc_mechanism {
    DCERPC_SPNEGO = 9,   /* RPC_C_AUTHN_GSS_NEGOTIATE, what Windows itself uses */
    DCERPC_KERBEROS = 16 /* RPC_C_AUTHN_GSS_KERBEROS */
} dcerpc_mechanism;

/** Who calls. Any number of threads share one. */
typedef struct dcerpc_login dcerpc_login;

/**
 * @param principal the account in Kerberos, "ndes@CORP.TEST"
 * @param keytab its keys: a file that this process can read whenever a ticket is fetched. No kinit
 * is needed: tickets are fetched as needed and kept in memory, never in a file
 * @return NULL; CONFIG: the principal is empty or the keytab cannot be read
 */
SCEP_MUST const scep_err *dcerpc_login_make(dcerpc_login **out, const char *principal,
                                            const char *keytab, apr_pool_t *p);

/** Forget its tickets: the next context begins with new ones. For a server that did not believe
 * one: its key may have changed since. */
void dcerpc_login_forget(dcerpc_login *login);

/** Where the login's calls of libraries without a deadline wait for each other. */
aside *dcerpc_login_aside(dcerpc_login *login);

typedef struct dcerpc_auth dcerpc_auth;

/** Whom a context is made with. */
typedef struct dcerpc_target {
    dcerpc_login *login;
    dcerpc_mechanism mechanism;
    const char *host;
    const char *service; /* its principal, "host/ca1.corp.test@CORP.TEST"; NULL: host@ the host */
} dcerpc_target;

/**
 * Begin a context: fetches tickets where none are kept.
 * @param out belongs to @a life, the connection's pool
 * @param token what goes into the bind
 * @return NULL; UNAVAILABLE with Kerberos' reason: no ticket
 */
SCEP_MUST const scep_err *dcerpc_auth_begin(dcerpc_auth **out, scep_bytes *token,
                                            const dcerpc_target *target, moment d, apr_pool_t *life,
                                            apr_pool_t *p);

/** The next leg. @param token what the server said. @param answer len 0: nothing more to send.
 *  @return NULL, or UNAVAILABLE: the server is not who it should be, or grants too little */
SCEP_MUST const scep_err *dcerpc_auth_step(scep_bytes *answer, dcerpc_auth *auth, scep_bytes token,
                                           apr_pool_t *p);

/** Is it complete: both sides known, and all that is wanted granted? */
bool dcerpc_auth_is_done(const dcerpc_auth *auth);

/** Has it more than a minute to live? */
bool dcerpc_auth_lasts(const dcerpc_auth *auth);

/** Seal the stub of a fragment and sign all of it; its token is put behind. The whole never exceeds
 *  the stub's padded length by more than DCERPC_SEALED_MORE. */
#define DCERPC_SEALED_MORE (DCERPC_REQUEST_HEADER + DCERPC_TRAILER + 200)
SCEP_MUST const scep_err *dcerpc_auth_seal(dcerpc_fragment *fragment, dcerpc_auth *auth,
                                           apr_pool_t *p);

/**
 * Check a response and open what is sealed in it, in place.
 * @param pdu read from @a memory
 * @param stub what dcerpc_get_response() gave; shortened by the padding
 * @return NULL, or UNAVAILABLE: not sealed by the server for this place in the conversation
 */
SCEP_MUST const scep_err *dcerpc_auth_open(scep_bytes *stub, dcerpc_auth *auth,
                                           const dcerpc_pdu *pdu, unsigned char *memory,
                                           apr_pool_t *p);

/** The verifier of every PDU of this context. */
dcerpc_verifier dcerpc_auth_verifier(const dcerpc_auth *auth);

#endif
