/* Inside the connector exec. Nobody else includes this. */
#ifndef CA_CONNECTOR_EXEC_INT_H
#define CA_CONNECTOR_EXEC_INT_H

#include "connector.h"

/** certmonger's variables for an operation.
 *  @param out of scep_wire_word. @param cookie of a POLL; NULL: SUBMIT
 *  @return NULL, or INTERNAL */
SCEP_MUST const scep_err *exec_environment(apr_array_header_t **out, const char *authority,
                                           const connector_ask *ask, const char *cookie,
                                           apr_pool_t *p);

#endif
