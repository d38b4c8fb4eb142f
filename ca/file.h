/* Files that are read whole, while scep-ca may read them, and kept in memory that is wiped. */
#ifndef CA_FILE_H
#define CA_FILE_H

#include "bytes.h"

/** @return NULL, or CONFIG: it cannot be read, or has more than a megabyte */
SCEP_MUST const scep_err *file_read(scep_bytes *out, const char *path, apr_pool_t *p);

/** The same, refused where group or others may read it. */
SCEP_MUST const scep_err *file_read_private(scep_bytes *out, const char *path, apr_pool_t *p);

/** A secret: a private file without the line breaks at its end, which are the editor's. A NUL that
 * is not counted stands behind it.
 *  @return NULL, or CONFIG: also where it has not @a least to @a most bytes */
SCEP_MUST const scep_err *file_secret(scep_bytes *out, const char *path, size_t least, size_t most,
                                      apr_pool_t *p);

#endif
