/*
 * A CA behind scep-ca. One structure of functions per kind; connector_local.c signs itself.
 */
#ifndef CA_CONNECTOR_H
#define CA_CONNECTOR_H

#include "conf.h"
#include "csr.h"
#include "issue.h"
#include "ra.h"

typedef struct connector connector;

/** What a CA said. */
typedef enum connector_outcome {
    CONNECTOR_ISSUED,
    CONNECTOR_PENDING,
    CONNECTOR_DENIED
} connector_outcome;

typedef struct connector_answer {
    connector_outcome outcome;
    const issued_cert
        *cert;          /* where issued; its spki is the one in its der, in whatever encoding */
    const char *reason; /* where denied, for the audit line */
} connector_answer;

struct connector {
    /**
     * Ask for a certificate. Any thread.
     * @return NULL and an answer, or UNAVAILABLE: the CA could not be asked
     */
    const scep_err *(*submit)(connector_answer *out, connector *self, const conf_template *template,
                              const scep_csr *csr, apr_pool_t *p);
    /**
     * Sign a CRL whose issuer, dates, entries and extensions are set. Any thread.
     * NULL: this CA's CRL is not scep-ca's business
     */
    const scep_err *(*sign_crl)(X509_CRL *crl, connector *self, apr_pool_t *p);
    const char *name;
    STACK_OF(X509) * chain; /* issuing CA first, root last */
    void *data;             /* the kind's own */
};

/** Open the connector of an authority: keys are read here, before privileges are dropped.
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *connector_local_open(connector **out, const conf_authority *authority,
                                               apr_pool_t *p);

/** Open the connector that authority->connector names. */
SCEP_MUST const scep_err *connector_open(connector **out, const conf_authority *authority,
                                         apr_pool_t *p);

#endif
