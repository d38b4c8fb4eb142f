/* The runner as a process: one thread, one poll. */
#include "runner_main.h"

#include "log.h"
#include "process.h"
#include "runner_main_job.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define JOBS_MOST 128
#define DESCRIPTORS_MOST 1024 /* four for each job, and what programs are used to */

typedef struct workshop {
    int control, signals;
    job *jobs;
    int count;
    bool leaving;
    apr_pool_t *p;
} workshop;

/* ---- asked for ---- */

/* It is told that nothing was started, so that it may be asked for again. */
static void refuse(const int *fds, size_t n)
{
    const scep_wire_ran ran = { .outcome = SCEP_RAN_NOT, .number = EAGAIN };
    const scep_err *err = NULL;
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) == APR_SUCCESS) {
        err = scep_wire_write(fds[0], scep_wire_put_ran(SCEP_VERB_RAN, &ran, p), apr_time_now(), p);
        (void)err; /* whoever asked is gone, or reads the end of the connection */
        apr_pool_destroy(p);
    }
    for (size_t i = 0; i < n; i++)
        (void)close(fds[i]);
}

static void add(workshop *w, const int *fds, size_t n)
{
    job *j;

    if (w->count == JOBS_MOST) {
        refuse(fds, n);
        return;
    }
    j = job_make(fds, n);
    if (!j)
        return;
    j->next = w->jobs;
    w->jobs = j;
    w->count++;
}

static void receive(workshop *w)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    char byte;
    struct iovec iov = { &byte, 1 };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    ssize_t got = recvmsg(w->control, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *c;
    int fds[2];
    size_t n;

    if (got < 0 && (errno == EAGAIN || errno == EINTR || errno == EMFILE))
        return;
    if (got <= 0) { /* scep-ca is gone */
        w->leaving = true;
        return;
    }
    c = CMSG_FIRSTHDR(&message);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return;
    n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (n < 1 || n > 2)
        return;
    memcpy(fds, CMSG_DATA(c), n * sizeof(int));
    add(w, fds, n);
}

static void read_signals(workshop *w)
{
    struct signalfd_siginfo info;

    while (read(w->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        w->leaving = w->leaving || info.ssi_signo != SIGCHLD;
    for (job *j = w->jobs; j; j = j->next)
        job_reap(j);
}

/* ---- the loop ---- */

static void sweep(workshop *w)
{
    job **at = &w->jobs;

    for (job *j = w->jobs; j; j = j->next)
        job_hurry(j);
    while (*at) {
        job *j = *at;

        if (!job_is_over(j)) {
            at = &j->next;
            continue;
        }
        *at = j->next;
        job_free(j);
        w->count--;
    }
}

/* Milliseconds until the first deadline. */
static int time_left(const workshop *w)
{
    moment first = { 0 };
    apr_interval_time_t left;

    for (const job *j = w->jobs; j; j = j->next)
        if (j->deadline.at && j->fd[JOB_ANSWER] >= 0)
            first = first.at ? deadline_earlier(first, j->deadline) : j->deadline;
    if (!first.at)
        return -1;
    left = deadline_left(first);
    return left ? (int)apr_time_as_msec(left) + 1 : 0;
}

static void loop(workshop *w)
{
    struct pollfd *fds = apr_pcalloc(w->p, (2 + JOBS_MOST * RUNNER_MAIN_JOB_FDS) * sizeof(*fds));

    while (!w->leaving) {
        nfds_t n = 2;

        fds[0] = (struct pollfd){ w->control, POLLIN, 0 };
        fds[1] = (struct pollfd){ w->signals, POLLIN, 0 };
        for (job *j = w->jobs; j; j = j->next, n += RUNNER_MAIN_JOB_FDS)
            job_poll(j, fds + n);
        if (poll(fds, n, time_left(w)) < 0 && errno != EINTR)
            break;
        n = 2;
        for (job *j = w->jobs; j; j = j->next, n += RUNNER_MAIN_JOB_FDS)
            job_event(j, fds + n);
        if (fds[1].revents)
            read_signals(w);
        if (fds[0].revents)
            receive(w);
        sweep(w);
    }
    for (job *j = w->jobs; j; j = j->next)
        job_kill(j);
}

/* ---- start ---- */

/* SELinux may not let the hard limit of httpd's domain be changed; the other is what counts. */
static bool lower(int which, rlim_t most)
{
    struct rlimit limit;

    if (getrlimit(which, &limit) != 0)
        return false;
    if (limit.rlim_cur > most)
        limit.rlim_cur = most;
    if (setrlimit(which, &limit) != 0)
        return false;
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    (void)setrlimit(which, &limit);
    return true;
}

/* Programs inherit these. scep-ca's number of descriptors is none of theirs, and many close or
 * visit all that they might have; a core would hold challenges. */
static const scep_err *limit_programs(apr_pool_t *p)
{
    if (!lower(RLIMIT_NOFILE, DESCRIPTORS_MOST) || !lower(RLIMIT_CORE, 0))
        return scep_fail(p, INTERNAL, "setrlimit: %s", strerror(errno));
    return NULL;
}

static const scep_err *begin(workshop *w, const char *user, apr_pool_t *p)
{
    bool gone = false;
    sigset_t set;
    pid_t parent;

    SCEP_TRY(process_begin(p));
    /* scep-ca's session, so that it can wake this process, but a group of its own */
    SCEP_TRY(process_close_others(p));
    if (setpgid(0, 0) != 0)
        return scep_fail(p, INTERNAL, "setpgid: %s", strerror(errno));
    SCEP_TRY(limit_programs(p));
    SCEP_TRY(process_peer(&parent, STDIN_FILENO, p));
    SCEP_TRY(process_move(&w->control, STDIN_FILENO, p));
    SCEP_TRY(process_become(user, p));
    SCEP_TRY(process_follow(parent, &gone, p));
    if (gone)
        return scep_fail(p, INTERNAL, "scep-ca is gone");
    if (chdir("/") != 0)
        return scep_fail(p, CONFIG, "chdir /: %s", strerror(errno));
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP); /* wakes it where it was stopped when scep-ca ended */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return scep_fail(p, INTERNAL, "sigprocmask: %s", strerror(errno));
    w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (w->signals < 0)
        return scep_fail(p, INTERNAL, "signalfd: %s", strerror(errno));
    return NULL;
}

static bool say(const workshop *w, const char *text)
{
    return send(w->control, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

int runner_main(int argc, char **argv, apr_pool_t *p)
{
    workshop w = { .control = -1, .p = p };
    const scep_err *err;

    if (argc != 2)
        return 2;
    err = begin(&w, argv[1], p);
    if (err && (w.control < 0 || !say(&w, err->detail)))
        log_err(LOG_LEVEL_CRIT, "SCEP0320", "the runner of programs cannot start", err);
    if (err || !say(&w, "ok"))
        return 1;
    loop(&w);
    return 0;
}
