/* The runner as a process: `scep-ca runner USER`, started by runner_start() only. */
#ifndef CA_RUNNER_MAIN_H
#define CA_RUNNER_MAIN_H

#include <apr_pools.h>

/** @return the exit status; 2: wrong arguments */
int runner_main(int argc, char **argv, apr_pool_t *p);

#endif
