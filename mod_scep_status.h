/* What the status page tells, and where from: mod_scep_status.c shows it, mod_scep_status_look.c
 * asks for it. */
#ifndef MOD_SCEP_STATUS_H
#define MOD_SCEP_STATUS_H

#include "mod_scep.h"

typedef struct scep_status_view {
    scep_wire_state state;
    bool answers; /* scep-ca does, be it that it is busy */
    bool counted; /* `state` is scep-ca's own; else what this worker knows: nothing is counted */
    const char *detail;        /* why not, or what its store says; "": all is well */
    unsigned long turned_away; /* by all workers, since httpd was started */
    const char *word;          /* ok, degraded, busy, down */
} scep_status_view;

/**
 * How scep-ca is. It is asked once a second at most in each process, by one thread: the others see
 * what it answered last, which is never older than two seconds, except for the numbers beside
 * "busy". Waits for two seconds at most.
 * @param out lives in @a r's pool
 */
void scep_status_look(scep_status_view *out, request_rec *r);

#endif
