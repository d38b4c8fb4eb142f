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

/** How a letter is called that can mean any of many. Behind "PATH:LINE: ". */
#define REGISTRY_NO_CODE_PAGE                                                            \
    "a letter outside ASCII in a REGEDIT4 file, whose code page is not known: UTF-8 is " \
    "expected; export the key anew with 'reg export', which writes version 5.00 in UTF-16"

/** out->settings and out->left, of out->values. */
void registry_map(scep_registry *out, apr_pool_t *p);

#endif
