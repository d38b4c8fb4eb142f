/*
 * The workers' socket: accepts, reads frames, runs complete ones on a bounded pool of threads.
 * Idle and slow connections wait in poll and hold no thread.
 */
#ifndef CA_SERVER_H
#define CA_SERVER_H

#include "office.h"

typedef struct server_options {
    int listener;            /* bound and listening; the parent's, shared with a successor */
    int control;             /* the control channel; READY was sent */
    int runner;              /* readable when the runner of programs ended; 0: there is none */
    uid_t worker_uid;        /* SO_PEERCRED must say so */
    scep_bytes enrol_secret; /* SCEP_WIRE_SECRET bytes */
    scep_bytes mint_secret;  /* the same, or len 0: mint is not served */
    int in_flight;           /* frames of one authority queued or running; above: LATER at once */
    apr_interval_time_t timeout; /* a frame's deadline from its last byte; longest drain */
} server_options;

/**
 * Serve until DRAIN (then: accept no more, finish calls, close idle connections, at most timeout),
 * until the control channel ends or SIGTERM (the same, as httpd is gone), or until the runner ends
 * (the same, as httpd then starts another scep-ca, with a runner).
 * @param replaced it was DRAIN, and nothing else since: another scep-ca serves
 * @return NULL when it ended in order
 */
SCEP_MUST const scep_err *server_run(bool *replaced, office *o, const server_options *options,
                                     apr_pool_t *p);

#endif
