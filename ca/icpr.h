/*
 * Requests to an Active Directory certification authority: CertServerRequest of ICertPassage
 * ([MS-ICPR] 3.2.4.1.1, with the rules of [MS-WCCE] 3.2.1.4.2.1 and 3.2.2.6.2).
 *
 * Everything here says what the CA said, whatever that is, in an icpr_answer; an error is
 * UNAVAILABLE and means that it did not answer (dcerpc.h), or CONFIG, where a name or a request is
 * none that can be sent: then nothing was. Only ISSUED, PENDING and DENIED are decisions.
 *
 * Not checked here: whether a certificate has the request's key, who signed it, its dates. Whoever
 * hands it on has to.
 */
#ifndef CA_ICPR_H
#define CA_ICPR_H

#include "dcerpc.h"

extern const dcerpc_interface icpr_interface;

#define ICPR_REQUEST_MOST (256u << 10) /* bytes of a request */
#define ICPR_TEMPLATE_MOST 256         /* bytes of a template's name */

typedef enum icpr_outcome {
    ICPR_ISSUED,
    ICPR_PENDING,
    ICPR_DENIED,     /* a decision on this very request: asking again changes nothing */
    ICPR_NONE,       /* the CA has no request of the number that was asked for */
    ICPR_UNAVAILABLE /* it cannot tell now, or its or our configuration is wrong: try later */
} icpr_outcome;

typedef struct icpr_answer {
    icpr_outcome outcome;
    uint32_t request_id;  /* the CA's number of it; 0: it gave none */
    scep_bytes cert;      /* issued: DER of one certificate */
    scep_bytes chain;     /* issued: a CMS with its chain, as the CA sent it; len 0: none */
    uint32_t result;      /* the call's HRESULT, 0 where it succeeded */
    uint32_t disposition; /* CR_DISP_*, or an HRESULT */
    uint32_t hresult;   /* the one that tells: of these two, or named in the CA's words; 0: none */
    const char *reason; /* what that means, one sentence; NULL where issued */
    const char *said;   /* the CA's own words, one line of UTF-8, "" where it said none */
} icpr_answer;

typedef enum icpr_format {
    ICPR_PKCS10 = 0x100, /* a device's request as it is */
    ICPR_PKCS7 = 0x300   /* signed by an enrolment agent */
} icpr_format;

typedef struct icpr_request {
    icpr_format format;
    scep_bytes der;
    const char *template; /* the cn of the template, not its display name */
} icpr_request;

/**
 * Ask for a certificate.
 * @param authority the CA's name: the common name in its certificate
 * @param asked as dcerpc_call(): false means that the CA cannot have made anything of it
 * @return NULL and an answer; UNAVAILABLE, as dcerpc_call(); CONFIG: the template's or the CA's
 * name is none (empty, too long, not UTF-8, a control character), or the request is empty or too
 * long, before anything was sent
 */
SCEP_MUST const scep_err *icpr_submit(icpr_answer *out, bool *asked, dcerpc *c,
                                      const char *authority, const icpr_request *request, moment d,
                                      apr_pool_t *p);

/**
 * Ask what became of request @a id, which changes nothing: of one that was pending, or, after a
 * crash, of one whose answer was lost. For the latter, walk on from the highest id that was known
 * before it was sent: the key of each certificate tells whose it is; ICPR_NONE tells that there is
 * no such request.
 *
 * The CA knows its requests by their numbers only, so an answer may be another client's: only one
 * whose certificate has the key of the request may be handed on. Of a request that is pending or
 * was denied nothing tells whose it is. A CA that keeps others' requests to itself answers
 * UNAVAILABLE with E_ACCESSDENIED, which is no end of a walk; one that still works on it, with
 * CERTSRV_E_BAD_REQUESTSTATUS or no such request.
 * @param authority as of icpr_submit()
 * @return NULL and an answer; UNAVAILABLE, as dcerpc_call(); CONFIG: the CA's name is none, before
 * anything was sent
 */
SCEP_MUST const scep_err *icpr_retrieve(icpr_answer *out, dcerpc *c, const char *authority,
                                        uint32_t id, moment d, apr_pool_t *p);

/* ---- the two halves of a call, pure ---- */

/** The stub of a request; @a request NULL: of a question for @a id. @return NULL, or CONFIG */
SCEP_MUST const scep_err *icpr_put_request(scep_bytes *out, const char *authority, uint32_t id,
                                           const icpr_request *request, apr_pool_t *p);

/** @param id the request that was asked for; 0: a new one was sent
 *  @return NULL and views of @a stub, or UNAVAILABLE: this is no answer, or one of another request
 */
SCEP_MUST const scep_err *icpr_get_answer(icpr_answer *out, scep_bytes stub, uint32_t id,
                                          apr_pool_t *p);

/* ---- HRESULTs ---- */

typedef struct icpr_hresult {
    uint32_t code;
    icpr_outcome outcome; /* ICPR_DENIED, ICPR_NONE or ICPR_UNAVAILABLE */
    const char *name;     /* as in Microsoft's headers */
    const char *text;     /* one sentence, and what an administrator can do */
} icpr_hresult;

/** What an HRESULT of a CA means. Never NULL: of an unknown one, "try later", unless it is one of
 * the certificate services' own, which they give to requests they have judged. */
const icpr_hresult *icpr_hresult_find(uint32_t code);

#endif
