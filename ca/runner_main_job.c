/* Inside the runner: one program. */
#include "runner_main_job.h"

#include "own.h"
#include "runner.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST_TIME apr_time_from_sec(10) /* for the request itself to arrive */
#define CLEAN_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void drop(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static bool unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

job *job_make(const int *fds, size_t n)
{
    apr_pool_t *pool;
    job *j;

    if (!unblock(fds[0]) || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        for (size_t i = 0; i < n; i++)
            (void)close(fds[i]);
        return NULL;
    }
    j = apr_pcalloc(pool, sizeof(*j));
    j->pool = pool;
    j->fd[JOB_ANSWER] = fds[0];
    j->fd[JOB_IN] = j->fd[JOB_OUT] = j->fd[JOB_ERR] = -1;
    j->kept = n == 2;
    j->talk = j->kept ? fds[1] : -1;
    j->deadline = deadline_in(REQUEST_TIME);
    return j;
}

void job_free(job *j)
{
    for (int i = 0; i < RUNNER_MAIN_JOB_FDS; i++)
        drop(&j->fd[i]);
    drop(&j->talk);
    apr_pool_destroy(j->pool);
}

bool job_is_over(const job *j)
{
    return j->fd[JOB_ANSWER] < 0 && !j->pid;
}

void job_kill(const job *j)
{
    if (!j->pid)
        return;
    /* Not reaped yet, so the number is still its own; it may have gone to another group. */
    (void)kill(-j->pid, SIGKILL);
    (void)kill(j->pid, SIGKILL);
}

/* Whoever asked may be gone. */
static void say(job *j, uint32_t outcome, int number)
{
    const char *said =
        scep_printable(j->pool, (scep_bytes){ (unsigned char *)j->complaint, j->complaint_len },
                       RUNNER_MAIN_COMPLAINT);
    const scep_wire_ran ran = { .outcome = outcome,
                                .number = (uint32_t)number,
                                .output = { j->output, j->output_len },
                                .complaint = said };
    scep_bytes frame = scep_wire_put_ran(SCEP_VERB_RAN, &ran, j->pool);
    const scep_err *err = NULL;

    if (j->fd[JOB_ANSWER] >= 0)
        err = scep_wire_write(j->fd[JOB_ANSWER], frame, apr_time_now(), j->pool);
    (void)err; /* then he reads the end of the connection, which is a fault to him as well */
}

/* Say what became of it. What still runs is waited for without him. */
static void answer(job *j, uint32_t outcome, int number)
{
    say(j, outcome, number);
    for (int i = 0; i < RUNNER_MAIN_JOB_FDS; i++)
        drop(&j->fd[i]);
    drop(&j->talk);
}

/* ---- start ---- */

static char **words(const char *first, const apr_array_header_t *list, apr_pool_t *p)
{
    char **all = apr_pcalloc(p, ((size_t)list->nelts + 2) * sizeof(*all));

    all[0] = apr_pstrdup(p, first);
    for (int i = 0; i < list->nelts; i++)
        all[i + 1] = apr_pstrdup(p, APR_ARRAY_IDX(list, i, scep_wire_word).text);
    return all;
}

/* Default signals, none blocked, a process group of its own, and these three descriptors: all
 * others are closed on exec. */
static int spawn(job *j, const scep_wire_run *run, const int child[3])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    int why;

    sigfillset(&all);
    sigemptyset(&none);
    why = posix_spawn_file_actions_init(&actions);
    if (why)
        return why;
    why = posix_spawnattr_init(&attributes);
    if (why) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return why;
    }
    for (int i = 0; i < 3 && !why; i++)
        why = posix_spawn_file_actions_adddup2(&actions, child[i], i);
    if (!why)
        why = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!why)
        why = posix_spawnattr_setsigmask(&attributes, &none);
    if (!why)
        why = posix_spawnattr_setpgroup(&attributes, 0);
    if (!why)
        why = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                                        POSIX_SPAWN_SETSIGMASK);
    if (!why)
        why = posix_spawn(&j->pid, run->program, &actions, &attributes,
                          words(run->program, run->arguments, j->pool),
                          words(CLEAN_PATH, run->environment, j->pool));
    if (why)
        j->pid = 0;
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    return why;
}

/* Pipes, of which the runner's ends never block. @return errno */
static int pipes(int ours[3], int child[3], const job *j)
{
    for (int i = 0; i < 3; i++) {
        int pair[2];

        if (i < 2 && j->kept) {
            child[i] = j->talk;
            continue;
        }
        if (pipe2(pair, O_CLOEXEC) != 0)
            return errno;
        ours[i] = pair[i == 0 ? 1 : 0];
        child[i] = pair[i == 0 ? 0 : 1];
        if (!unblock(ours[i]))
            return errno;
    }
    return 0;
}

static void start(job *j, const scep_wire_run *run)
{
    int ours[3] = { -1, -1, -1 }, child[3] = { -1, -1, -1 };
    int why = pipes(ours, child, j);

    j->input = run->input;
    j->output = scep_secret(j->pool, RUNNER_OUTPUT_MOST + 1);
    if (!why)
        why = spawn(j, run, child);
    for (int i = 0; i < 3; i++)
        if (child[i] != j->talk)
            drop(&child[i]);
    drop(&j->talk);
    for (int i = 0; i < 3; i++)
        j->fd[JOB_IN + i] = ours[i];
    if (why) {
        answer(j, SCEP_RAN_NOT, why);
        return;
    }
    j->deadline = j->kept ? (moment){ 0 } : deadline_in(apr_time_from_msec(run->ms));
    if (j->kept)
        say(j, SCEP_RAN_STARTED, 0);
    else if (!j->input.len)
        drop(&j->fd[JOB_IN]);
}

/* ---- the request ---- */

static void give_up(job *j)
{
    drop(&j->fd[JOB_ANSWER]);
    job_kill(j);
}

static void grow(job *j, size_t room)
{
    unsigned char *more = scep_secret(j->pool, room);

    if (j->request_len)
        memcpy(more, j->request, j->request_len);
    j->request = more;
    j->request_room = room;
}

static void read_request(job *j)
{
    scep_wire_run run;
    size_t length = 0;
    int verb = 0;
    ssize_t n;

    if (!j->request_room)
        grow(j, SCEP_WIRE_HEADER);
    n = read(j->fd[JOB_ANSWER], j->request + j->request_len, j->request_room - j->request_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        give_up(j);
        return;
    }
    j->request_len += (size_t)n;
    if (scep_wire_header((scep_bytes){ j->request, j->request_len }, &verb, &length, j->pool) ||
        (verb && verb != SCEP_VERB_RUN)) {
        give_up(j);
        return;
    }
    if (!verb)
        return;
    if (j->request_room == SCEP_WIRE_HEADER && length)
        grow(j, SCEP_WIRE_HEADER + length);
    if (j->request_len < SCEP_WIRE_HEADER + length)
        return;
    if (scep_wire_get_run(&run, (scep_bytes){ j->request + SCEP_WIRE_HEADER, length }, j->pool))
        give_up(j);
    else
        start(j, &run);
}

/* ---- what runs ---- */

static void write_input(job *j)
{
    ssize_t n = write(j->fd[JOB_IN], j->input.data, j->input.len);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        j->input.data += n;
        j->input.len -= (size_t)n;
    }
    /* A program need not read all that it is given. */
    if (n < 0 || !j->input.len)
        drop(&j->fd[JOB_IN]);
}

/* @return whether there may be more at once */
static bool read_output(job *j)
{
    size_t room = RUNNER_OUTPUT_MOST + 1 - j->output_len;
    ssize_t n = room ? read(j->fd[JOB_OUT], j->output + j->output_len, room) : 0;

    if (n > 0)
        j->output_len += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        drop(&j->fd[JOB_OUT]);
    return n > 0;
}

/* The first line is kept, the rest is read only so that the program does not wait. */
static bool read_complaint(job *j)
{
    char text[1024];
    ssize_t n = read(j->fd[JOB_ERR], text, sizeof(text));

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        drop(&j->fd[JOB_ERR]);
    for (ssize_t i = 0; i < n && !j->complaint_ended; i++) {
        j->complaint_ended = text[i] == '\n' || j->complaint_len == sizeof(j->complaint);
        if (!j->complaint_ended)
            j->complaint[j->complaint_len++] = text[i];
    }
    return n > 0;
}

static void check_loud(job *j)
{
    if (j->output_len <= RUNNER_OUTPUT_MOST)
        return;
    job_kill(j);
    j->output_len = 0;
    answer(j, SCEP_RAN_LOUD, 0);
}

void job_poll(const job *j, struct pollfd out[RUNNER_MAIN_JOB_FDS])
{
    for (int i = 0; i < RUNNER_MAIN_JOB_FDS; i++)
        out[i] = (struct pollfd){ j->fd[i], POLLIN, 0 };
    out[JOB_IN].events = POLLOUT;
    /* Nothing is said there any more: whoever closes it calls the program off. */
    if (j->pid)
        out[JOB_ANSWER].events = 0;
}

void job_event(job *j, const struct pollfd at[RUNNER_MAIN_JOB_FDS])
{
    if (at[JOB_ANSWER].revents && j->pid) {
        give_up(j);
        return;
    }
    if (at[JOB_ANSWER].revents) {
        read_request(j);
        return;
    }
    if (at[JOB_IN].revents && j->fd[JOB_IN] >= 0)
        write_input(j);
    if (at[JOB_ERR].revents && j->fd[JOB_ERR] >= 0)
        (void)read_complaint(j);
    if (at[JOB_OUT].revents && j->fd[JOB_OUT] >= 0 && read_output(j))
        check_loud(j);
}

void job_reap(job *j)
{
    siginfo_t info = { 0 };
    int status = 0;

    if (!j->pid || waitid(P_PID, (id_t)j->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid != j->pid)
        return;
    /* Its children may hold the pipes: what it said itself is in there by now. At most a few reads,
     * as they may go on writing. */
    for (int i = 0; i < 64 && j->fd[JOB_ERR] >= 0 && read_complaint(j); i++)
        ;
    while (j->fd[JOB_OUT] >= 0 && read_output(j))
        ;
    job_kill(j);
    (void)waitpid(j->pid, &status, 0);
    j->pid = 0;
    check_loud(j);
    if (j->fd[JOB_ANSWER] < 0)
        return;
    if (WIFSIGNALED(status))
        answer(j, SCEP_RAN_SIGNALLED, WTERMSIG(status));
    else
        answer(j, SCEP_RAN_EXITED, WEXITSTATUS(status));
}

void job_hurry(job *j)
{
    if (!j->deadline.at || deadline_left(j->deadline) || j->fd[JOB_ANSWER] < 0)
        return;
    if (!j->pid) {
        give_up(j);
        return;
    }
    job_kill(j);
    j->output_len = 0;
    answer(j, SCEP_RAN_LATE, 0);
}
