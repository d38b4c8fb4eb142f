/*
 * Security identifiers and security descriptors of Windows ([MS-DTYP] 2.4), as far as the right to
 * enrol on a template asks for them. Pure; what it reads may be hostile.
 */
#ifndef CA_DIRECTORY_SD_H
#define CA_DIRECTORY_SD_H

#include "bytes.h"

/** Is it one whole SID? [MS-DTYP] 2.4.2.2: revision 1, at most 15 sub-authorities */
bool directory_sid_is(scep_bytes sid);

/** "S-1-5-21-…". @return NULL: it is none */
const char *directory_sid_text(scep_bytes sid, apr_pool_t *p);

/** The inverse: decimal numbers, no other spelling. @return false: it is none */
bool directory_sid_read(scep_bytes *out, const char *text, apr_pool_t *p);

typedef enum directory_verdict {
    DIRECTORY_ALLOWED,
    DIRECTORY_DENIED,    /* an entry denies */
    DIRECTORY_NOT_NAMED, /* no entry is about any of the SIDs */
    DIRECTORY_UNREADABLE /* no descriptor, a broken one, or one without the part that decides */
} directory_verdict;

/**
 * May whoever has one of these SIDs enrol? Certificate-Enrollment, as a right of its own or among
 * all extended rights ([MS-CRTD] 2.5.1, [MS-ADTS] 5.1.3.2.1). The first entry that is about one of
 * them decides, in the order they stand in. No DACL at all lets everyone in ([MS-DTYP] 2.4.6); one
 * that was not sent lets in nobody. An entry with a condition allows nothing, and denies whatever
 * its condition is.
 * @param sd self-relative @param token SIDs of the user and of all of his groups
 */
directory_verdict directory_sd_enroll(scep_bytes sd, const scep_bytes *token, size_t n);

#endif
