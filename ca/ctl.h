/*
 * scepctl's socket: 0600, in a folder of scep-ca's user; root and that user may speak. A few
 * threads, a caller each, so that the state is told while an approval waits for a policy module.
 */
#ifndef CA_CTL_H
#define CA_CTL_H

#include "office.h"

typedef struct ctl ctl;

/** Bind conf.ctl (over a former scep-ca's socket, atomically) and serve it. Without conf.ctl
 *  nothing is started. @param out may become NULL */
SCEP_MUST const scep_err *ctl_start(ctl **out, office *o, apr_pool_t *p);

/** Stop and join; removes the socket only if it is still this process's own. NULL: nothing */
void ctl_stop(ctl *c);

#endif
