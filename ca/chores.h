/* Timed work: expired challenges and ended transactions are removed, a hundred at a time. */
#ifndef CA_CHORES_H
#define CA_CHORES_H

#include "office.h"

typedef struct chores chores;

/** Start the thread; it works once a minute. */
SCEP_MUST const scep_err *chores_start(chores **out, office *o, apr_pool_t *p);

/** Stop and join it. */
void chores_stop(chores *c);

#endif
