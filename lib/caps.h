/* What GetCACaps says. RFC 8894 3.5.2. */
#ifndef SCEP_CAPS_H
#define SCEP_CAPS_H

#include "message.h"

/**
 * The body of GetCACaps: only what works, one keyword a line, LF between them, no empty line
 * and none at the end (strongSwan takes an empty line for every capability; it also insists on
 * SHA-384, which is no keyword of the RFC).
 * @return static memory; depends on whether @a accept still takes SHA-1
 */
SCEP_API const char *scep_caps_text(const scep_accept *accept);

#endif
