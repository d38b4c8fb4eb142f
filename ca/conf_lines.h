/* ca.conf as lines: what OpenSSL's reader says, with the line of each value, and nothing that it
 * would have swallowed. */
#ifndef CA_CONF_LINES_H
#define CA_CONF_LINES_H

#include "bytes.h"
#include "own.h"

#include <apr_tables.h>

/* "key = value" of a section. */
typedef struct conf_entry {
    const char *key;
    const char *value; /* as OpenSSL reads it: trimmed, quotes and comments gone */
    int line;
} conf_entry;

typedef struct conf_section {
    const char *title;           /* what stands between the brackets; "" before the first one */
    int line;                    /* 1 for "" */
    apr_array_header_t *entries; /* of conf_entry */
} conf_section;

/** An error about a line: "FILE:LINE: …". */
#define conf_fail(p, path, line, fmt, ...) \
    scep_fail((p), CONFIG, "%s:%d: " fmt, (path), (line), __VA_ARGS__)

/**
 * Read a configuration file.
 * @param sections of conf_section, in order; the first is the part before any bracket
 * @return NULL, or CONFIG: cannot be read, over 1 MiB, a NUL byte, not OpenSSL's syntax; or what
 *         that syntax swallows: a key or section repeated, a single backslash, a '$', a line that
 * begins with '.' (include, pragma), a key with ':', text behind a closing bracket
 */
SCEP_MUST const scep_err *conf_lines_read(apr_array_header_t **sections, const char *path,
                                          apr_pool_t *p);

#endif
