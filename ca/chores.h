/*
 * Timed work: what expired is removed, in short jobs with enrolments in between; RAs are renewed
 * and those of other nodes taken up; CRLs are signed and fetched; the log warns of certificates
 * that will end. One chore that fails does not stop the others.
 */
#ifndef CA_CHORES_H
#define CA_CHORES_H

#include "office.h"

typedef struct chores chores;

/** Start the thread; it works once a minute, and on where much has expired. */
SCEP_MUST const scep_err *chores_start(chores **out, office *o, apr_pool_t *p);

/** Stop and join it. */
void chores_stop(chores *c);

#endif
