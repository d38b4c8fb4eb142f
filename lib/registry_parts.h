/* What the files of the registry's room share: text, its syntax, and what its values mean. */
#ifndef SCEP_REGISTRY_PARTS_H
#define SCEP_REGISTRY_PARTS_H

#include "registry.h"

/**
 * The file's text as UTF-8 without its byte order mark, with a NUL behind it and none within.
 * @return NULL, or CONFIG
 */
SCEP_MUST const scep_err *registry_decode(char **out, scep_bytes file, const char *path,
                                          apr_pool_t *p);

/** UTF-16LE as UTF-8, NULs included. @param at offset of what is wrong
 *  @return NULL where it is not UTF-16: an odd length, half of a pair */
char *registry_utf8(scep_bytes utf16, size_t *len, size_t *at, apr_pool_t *p);

/** Is it UTF-8 (RFC 3629)? @param at offset of what is not */
bool registry_is_utf8(const char *text, size_t len, size_t *at);

/** out->settings and out->left, of out->values. @return NULL, or CONFIG */
SCEP_MUST const scep_err *registry_map(scep_registry *out, const char *path, apr_pool_t *p);

#endif
