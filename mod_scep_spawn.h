/* Starting scep-ca as a process of its own. */
#ifndef MOD_SCEP_SPAWN_H
#define MOD_SCEP_SPAWN_H

#include "mod_scep.h"

typedef struct scep_spawn {
    const scep_plan *plan;
    scep_bytes enrol_secret;
    scep_bytes mint_secret; /* len 0: nobody mints */
    int listener;
    uint32_t respawn; /* as in scep_wire_configure */
} scep_spawn;

/**
 * Start `scep-ca run` and send it its settings; does not wait for its answer.
 * @param pid, control the process and the parent's end of its control channel, closed on exec
 * @param p scratch; wiped when it ends, as the settings hold secrets
 * @return NULL, or CONFIG or UNAVAILABLE; then nothing is left open
 */
SCEP_MUST const scep_err *scep_spawn_run(pid_t *pid, int *control, const scep_spawn *how,
                                         apr_pool_t *p);

#endif
