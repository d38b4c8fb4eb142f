/*
 * Work that a library does without a deadline (a name look-up, a Kerberos exchange), done in a
 * thread of its own and waited for until a deadline. Who is late is left behind and cleans up after
 * itself whenever the library lets go of it.
 */
#ifndef CA_ASIDE_H
#define CA_ASIDE_H

#include "deadline.h"

/** A place for one such work at a time: the next waits, within its own deadline, until the one
 *  before is done, late or not. So there is never more than one thread left behind. */
typedef struct aside aside;

typedef struct aside_kind {
    void (*work)(void *what);
    void (*drop)(void *what); /* frees it and all that the work left in it */
} aside_kind;

/** Belongs to @a p; what was left behind may outlive it. @return NULL, or INTERNAL */
SCEP_MUST const scep_err *aside_make(aside **out, apr_pool_t *p);

/**
 * Have @a what worked on. Any thread.
 * @param what malloc()ed, with nothing of any pool in it
 * @return NULL: it is done, and the caller's to drop again. UNAVAILABLE: no time was left, or there
 *         is no thread; @a what is dropped, now or when the work ends
 */
SCEP_MUST const scep_err *aside_do(aside *a, const aside_kind *kind, void *what, moment d,
                                   apr_pool_t *p);

#endif
