/* Names of certificates, as administrators write them. */
#ifndef CA_SUBJECT_H
#define CA_SUBJECT_H

#include "own.h"

/** Read a name in the order of RFC 4514, "CN=…, O=…", a comma inside of a part as "\,".
 *  @param out belongs to @a p. @return NULL, or CONFIG: it is none */
SCEP_MUST const scep_err *subject_read(X509_NAME **out, const char *text, apr_pool_t *p);

#endif
