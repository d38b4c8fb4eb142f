/*
 * Certificates that will end: from a month before, one line a day for each certificate of a CA's
 * chain and of the RA that is in use, in the log of every node.
 */
#ifndef CA_ENDING_H
#define CA_ENDING_H

#include "office.h"

#define ENDING_DAYS 30

typedef struct ending ending;

/** Remembers what was said, in @a p. */
ending *ending_make(apr_pool_t *p);

/**
 * Warn of what ends within ENDING_DAYS, or has ended, and was not named for a day. One thread.
 * @param p scratch
 * @return NULL, or INTERNAL: a certificate's date or encoding cannot be read
 */
SCEP_MUST const scep_err *ending_warn(ending *e, const office *o, apr_pool_t *p);

#endif
