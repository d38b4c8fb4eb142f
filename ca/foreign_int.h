/* Where the bytes of a foreign CRL come from. Private to foreign*.c. */
#ifndef CA_FOREIGN_INT_H
#define CA_FOREIGN_INT_H

#include "bytes.h"
#include "foreign.h"

#include <time.h>

#define FOREIGN_MOST (16 * 1024 * 1024)

/* What tells one state of a file from another. Zeroed: it is not there. */
typedef struct foreign_stamp {
    unsigned long long device, inode, size;
    struct timespec modified, changed;
} foreign_stamp;

void foreign_stamp_get(foreign_stamp *out, const char *path);
bool foreign_stamp_same(const foreign_stamp *a, const foreign_stamp *b);

/** Read a file of at most FOREIGN_MOST bytes, and say what it was then. @return NULL, or
 *  UNAVAILABLE */
SCEP_MUST const scep_err *foreign_read(scep_bytes *out, foreign_stamp *stamp, const char *path,
                                       apr_pool_t *p);

/** libcurl, for as long as @a p lives. Before there are threads. */
SCEP_MUST const scep_err *foreign_begin(apr_pool_t *p);

/** Fetch over http or https. @return NULL, or UNAVAILABLE */
SCEP_MUST const scep_err *foreign_fetch(scep_bytes *out, const char *url, apr_pool_t *p);

#endif
