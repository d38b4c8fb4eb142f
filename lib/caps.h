/* What GetCACaps says. RFC 8894 3.5.2. */
#ifndef SCEP_CAPS_H
#define SCEP_CAPS_H

#include "message.h"

/**
 * The body of GetCACaps: only what works, one keyword a line, LF between them, no empty line
 * and none at the end (strongSwan takes an empty line for every capability; it also insists on
 * SHA-384, which is no keyword of the RFC). DES and MD5 are never listed, whatever is accepted
 * (RFC 8894 2.9): nobody is to choose them.
 * @param renewal RenewalReq is served
 * @param next there is a next CA, so that GetNextCACert is answered
 * @return memory of @a p, well under the 1024 bytes that certmonger reads
 */
SCEP_API const char *scep_caps_text(const scep_accept *accept, bool renewal, bool next,
                                    apr_pool_t *p);

#endif
