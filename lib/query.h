/*
 * The query string of a SCEP request, read as liberally as deployed clients need
 * (base64 with literal '+', spaces, line breaks, base64url, missing padding).
 */
#ifndef SCEP_QUERY_H
#define SCEP_QUERY_H

#include "bytes.h"

/**
 * The value of the first parameter called @a name (letter case ignored), percent-decoded.
 * '+' stays '+': SCEP's messages are base64 and no form decoding is ever applied to them.
 * @param query as received, may be NULL
 * @return NUL-terminated, in @a p; NULL where there is no such parameter. An odd escape ("%zz")
 *         is kept as it stands, and a NUL that was escaped ends nothing: it is dropped
 */
SCEP_API char *scep_query_get(const char *query, const char *name, apr_pool_t *p);

/**
 * Decode the message= of a GET (RFC 8894 4.1), after scep_query_get(). Space counts as '+', '-'
 * and '_' as '+' and '/', CR LF TAB are dropped, padding may be missing.
 * @return NULL, or UNDECODABLE for any other character, misplaced '=' or an empty result
 */
SCEP_API SCEP_MUST const scep_err *scep_query_message(scep_bytes *out, const char *text,
                                                      apr_pool_t *p);

#endif
