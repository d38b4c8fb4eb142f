/*
 * What a CA elsewhere sent: checked here before anything else is done with it, whichever connector
 * brought it.
 */
#ifndef CA_RECEIVED_H
#define CA_RECEIVED_H

#include "connector.h"

/** Is this the key, in whatever encoding? @param spki of a certificate */
bool received_is_for(scep_bytes spki, const scep_csr *csr, apr_pool_t *p);

/**
 * Is it fit for the device: DER of one certificate and nothing else, for the CSR's own key, issued
 * by the first CA of the connector's chain and verified up to the root, within its time now (of a
 * notBefore that the CA's clock has set too late, five minutes are forgiven), not a CA's own?
 * @param out the certificate, as if it had been issued here; in @a p
 * @return NULL; REFUSED with one sentence: it is unfit; INTERNAL
 */
SCEP_MUST const scep_err *received_check(const issued_cert **out, scep_bytes der,
                                         const connector *c, const scep_csr *csr, apr_pool_t *p);

#endif
