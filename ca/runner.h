/*
 * Programs that others wrote, run apart: scep-ca starts one small process, the runner, before it
 * reads a key. The runner becomes SCEPExecUser and then starts what it is asked to start, so that
 * no program ever shares a user, a descriptor or a byte of memory with the store.
 */
#ifndef CA_RUNNER_H
#define CA_RUNNER_H

#include "wire.h"

#define RUNNER_OUTPUT_MOST 65536 /* bytes of standard output */
#define RUNNER_INPUT_MOST (1u << 20)

typedef struct runner runner;

/** A program that is kept: what is written to @a talk is its input, what is read there its output.
 *  @a life ends when it does. Either is -1 where there is none. */
typedef struct runner_kept {
    int talk, life;
} runner_kept;

/**
 * Start the runner, this same program with the argument "runner", and wait until it is ready.
 * @param user whom it becomes where this process is root; else it stays who it is
 * @return NULL, or CONFIG
 */
SCEP_MUST const scep_err *runner_start(runner **out, const char *user, apr_pool_t *p);

/** Programs run as somebody else where this process is root. @param user "" or NULL: not given
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *runner_check_user(const char *user, apr_pool_t *p);

/**
 * May this program be run? It must be an absolute path of a file that @a user may execute, that
 * belongs to root (or to who this is) and that group and others may not write.
 * @param user whom programs run as; NULL or "": not known here
 * @return NULL, or CONFIG: what is wrong and what to do, without the path
 */
SCEP_MUST const scep_err *runner_check(const char *program, const char *user, apr_pool_t *p);

/** A descriptor that becomes readable when the runner ends, and when it left a call unanswered
 *  beyond all time: it was stopped, and nothing is run any more. */
int runner_fd(const runner *r);

/**
 * Run a program to its end, killed after what->ms. It gets the arguments, what->environment and a
 * PATH, the input, no other descriptor, a process group of its own: whatever is left of that is
 * killed when the program ends. Any thread may call.
 * @param out after an error its outcome is SCEP_RAN_NOT where the program was not started for
 *        certain, and 0 where it may have been
 * @return NULL and what became of it; UNAVAILABLE: the runner does not answer
 */
SCEP_MUST const scep_err *runner_run(scep_wire_ran *out, runner *r, const scep_wire_run *what,
                                     apr_pool_t *p);

/** Start a program and keep it, until runner_let_go() or until it ends. what->input and what->ms
 *  do not count. @return NULL, or UNAVAILABLE: it cannot be started, or as for runner_run() */
SCEP_MUST const scep_err *runner_keep(runner_kept *out, runner *r, const scep_wire_run *what,
                                      apr_pool_t *p);

/** Kill it, with its process group, and close both. */
void runner_let_go(runner_kept *kept);

/** What became of a kept program that has ended. @return false: nothing is known of it (yet) */
bool runner_kept_ended(scep_wire_ran *out, const runner_kept *kept, apr_pool_t *p);

/** In words, for the operator: "was ended by signal 11", … */
const char *runner_describe(const scep_wire_ran *ran, apr_pool_t *p);

#endif
