/* Inside the runner: one program, from the request that names it to its end. */
#ifndef CA_RUNNER_MAIN_JOB_H
#define CA_RUNNER_MAIN_JOB_H

#include "deadline.h"
#include "wire.h"

#include <poll.h>
#include <sys/types.h>

#define RUNNER_MAIN_JOB_FDS 4
#define RUNNER_MAIN_COMPLAINT 200

/* Which of a job's descriptors; -1 where it is not open. */
enum { JOB_ANSWER, JOB_IN, JOB_OUT, JOB_ERR };

typedef struct job {
    int fd[RUNNER_MAIN_JOB_FDS];
    int talk; /* of a program that is kept, until it has it; -1: none */
    bool kept;
    apr_pool_t *pool;
    moment deadline; /* 0: none */
    unsigned char *request;
    size_t request_len, request_room;
    scep_bytes input; /* what is left of it */
    pid_t pid;        /* 0: not started, or gone */
    unsigned char *output;
    size_t output_len;
    char complaint[RUNNER_MAIN_COMPLAINT];
    size_t complaint_len;
    bool complaint_ended; /* the first line is whole */
    struct job *next;
} job;

/** @param fds one or two: where to answer, and what a kept program talks on; owned by the job.
 *  @return NULL: no memory, and both are closed */
job *job_make(const int *fds, size_t n);

/** What it waits for, in the order of its descriptors. */
void job_poll(const job *j, struct pollfd out[RUNNER_MAIN_JOB_FDS]);

/** The same, as poll() left it. */
void job_event(job *j, const struct pollfd at[RUNNER_MAIN_JOB_FDS]);

/** A child of this process ended: was it this one's? */
void job_reap(job *j);

/** Its time may be over. */
void job_hurry(job *j);

/** Kill what runs. */
void job_kill(const job *j);

/** Nothing runs and nobody waits. */
bool job_is_over(const job *j);
void job_free(job *j);

#endif
