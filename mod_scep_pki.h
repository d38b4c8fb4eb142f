/* What the files of PKIOperation share: mod_scep_pki.c, _body.c, _addressee.c, _reply.c. */
#ifndef MOD_SCEP_PKI_H
#define MOD_SCEP_PKI_H

#include "mod_scep.h"

/* What is known of a request so far. */
typedef struct scep_exchange {
    request_rec *r;
    const scep_settings *section;
    const char *endpoint;          /* it belongs to: one of those that are served at the address */
    const scep_settings *issuance; /* of the endpoint; the section's where scep-ca knows none */
    scep_message *message;         /* NULL: cannot be answered by a CertRep */
    const scep_known *known;       /* of the endpoint; NULL: nothing can be signed */
    const scep_identity *identity; /* whose RA answers, with known */
    bool addressed;                /* the envelope is meant for that one */
    bool renews;                   /* a certificate stands for the challenge, or should */
    scep_csr *csr;                 /* where it had to be read */
    const scep_err *csr_err;       /* why it could not be */
    scep_bytes challenge;          /* of the CSR; len 0: none, or not read */
} scep_exchange;

/**
 * The DER of a POST or a GET.
 * @param status OK, or what the handler returns because the body did not arrive
 * @return NULL, or UNDECODABLE or TOO_LARGE
 */
SCEP_MUST const scep_err *scep_receive(scep_bytes *der, int *status, const scep_exchange *x);

/** The issuance settings of an endpoint that is served at this address. */
const scep_settings *scep_issuance_of(const scep_exchange *x, const char *endpoint);

/**
 * The RA that the request is enveloped to, and with it the endpoint and the CA (RFC 8894 5.1,
 * Figure 9): that one answers. The current one where it is nobody's.
 * @param served as scep_endpoints_served()
 * @return NULL, or why nothing can be signed
 */
SCEP_MUST const scep_err *scep_find_addressee(scep_exchange *x, const apr_array_header_t *served);

/** All that is wrong ends here: one line for the operator, and the table's text for the client.
 *  @return what a handler returns */
int scep_refuse(const scep_exchange *x, int code, const char *detail);

/** 503 with Retry-After, before anything was done: all places are taken. Counted, and logged by
 *  httpd's parent. @return what a handler returns */
int scep_turn_away(const scep_exchange *x);

/** What scep-ca decided. @return what a handler returns */
int scep_answer(const scep_exchange *x, const scep_wire_verdict *verdict);

#endif
