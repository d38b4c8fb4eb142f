/*
 * scep-ca as a process: what it inherits, whom it runs as, and whose end it shares.
 */
#ifndef CA_PROCESS_H
#define CA_PROCESS_H

#include "err.h"

#include <stdbool.h>
#include <sys/types.h>

/**
 * First of all: default signal dispositions (but a lost log must not end it: SIGPIPE is ignored),
 * an empty signal mask, umask 077, not dumpable, room for descriptors.
 */
SCEP_MUST const scep_err *process_begin(apr_pool_t *p);

/** A session of its own and nothing open but 0, 1 and 2, so that neither httpd's terminal nor its
 *  descriptors reach scep-ca. */
SCEP_MUST const scep_err *process_detach(apr_pool_t *p);

/** The latter alone. */
SCEP_MUST const scep_err *process_close_others(apr_pool_t *p);

/** Move descriptor @a fd to a new one, closed on exec, and leave /dev/null in its place. */
SCEP_MUST const scep_err *process_move(int *out, int fd, apr_pool_t *p);

/** Who made the socket pair that @a control is an end of: httpd's parent. */
SCEP_MUST const scep_err *process_peer(pid_t *out, int control, apr_pool_t *p);

/**
 * As root: become @a user for good, with that user's primary group alone. Otherwise nothing.
 * @return NULL, or CONFIG: no user given, no such user, root itself; INTERNAL
 */
SCEP_MUST const scep_err *process_become(const char *user, apr_pool_t *p);

/**
 * No new privileges; SIGTERM when @a parent dies. After process_become(), which would undo it.
 * @param gone the parent died already
 */
SCEP_MUST const scep_err *process_follow(pid_t parent, bool *gone, apr_pool_t *p);

#endif
