/* The envelope of a reply. Private to the library. */
#ifndef SCEP_CERTREP_PARTS_H
#define SCEP_CERTREP_PARTS_H

#include "certrep.h"

/** Encrypt to whoever sent @a request, by an RSA key or by @a challenge, as scep_certrep_success()
 *  says. @param out EnvelopedData in its ContentInfo, DER. @return NULL, or INTERNAL */
SCEP_MUST const scep_err *scep_certrep_envelope(scep_bytes *out, const scep_message *request,
                                                scep_bytes content, scep_bytes challenge,
                                                apr_pool_t *p);

#endif
