/* The runner, scep-ca's side: it is started, and asked. */
#include "runner.h"

#include <apr_strings.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_TIME apr_time_from_sec(10)
#define MARGIN apr_time_from_sec(3) /* for the runner's answer, beyond the program's time */

struct runner {
    int fd;
    pid_t pid;
};

/* ---- start ---- */

static const scep_err *spawn(pid_t *pid, int theirs, const char *user, apr_pool_t *p)
{
    /* No environment of httpd's reaches the programs. */
    char *const environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL
    };
    char *const argv[] = { "scep-ca", "runner", apr_pstrdup(p, user), NULL };
    posix_spawn_file_actions_t actions;
    int why = posix_spawn_file_actions_init(&actions);

    if (why)
        return scep_fail(p, CONFIG, "no memory");
    why = posix_spawn_file_actions_adddup2(&actions, theirs, STDIN_FILENO);
    if (!why)
        why = posix_spawn(pid, "/proc/self/exe", &actions, NULL, argv, environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (why)
        return scep_fail(p, CONFIG, "the runner of programs cannot be started: %s", strerror(why));
    return NULL;
}

static bool wait_readable(int fd)
{
    const apr_time_t until = apr_time_now() + READY_TIME;
    struct pollfd pfd = { fd, POLLIN, 0 };
    int n;

    do {
        apr_interval_time_t left = until - apr_time_now();

        n = left > 0 ? poll(&pfd, 1, (int)apr_time_as_msec(left) + 1) : 0;
    } while (n < 0 && errno == EINTR);
    return n == 1;
}

/* It says "ok", or why not. */
static const scep_err *wait_ready(int fd, apr_pool_t *p)
{
    char text[512];
    ssize_t n = -1;

    if (wait_readable(fd))
        n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    if (!strcmp(text, "ok"))
        return NULL;
    return scep_fail(p, CONFIG, "the runner of programs did not get ready: %s",
                     n > 0 ? text : "it said nothing");
}

/* One that did not get ready. It may hang where not even this signal ends it, such as in a
 * directory of users that does not answer; then it is not waited for. */
static void end_runner(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    for (int i = 0; i < 100 && waitpid(pid, NULL, WNOHANG) == 0; i++)
        (void)poll(NULL, 0, 20);
}

const scep_err *runner_start(runner **out, const char *user, apr_pool_t *p)
{
    const scep_err *err;
    int pair[2];
    pid_t pid = 0;

    if (geteuid() == 0 && (!user || !*user))
        return scep_fail(p, CONFIG,
                         "NDES-53 a policy module is a program, and no user to run it as is given: "
                         "set SCEPExecUser");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return scep_fail(p, CONFIG, "no socket pair: %s", strerror(errno));
    err = spawn(&pid, pair[1], user ? user : "", p);
    (void)close(pair[1]);
    if (!err)
        err = wait_ready(pair[0], p);
    if (err) {
        (void)close(pair[0]);
        if (pid > 0)
            end_runner(pid);
        return err;
    }
    *out = apr_pcalloc(p, sizeof(**out));
    (*out)->fd = pair[0];
    (*out)->pid = pid;
    return NULL;
}

int runner_fd(const runner *r)
{
    return r->fd;
}

/* ---- ask ---- */

/* A program may stop the runner, whose user it shares, and then no endpoint that has a program
 * would ever be answered. Whoever watches the descriptor sees the end; the runner, awake again,
 * sees it as well and ends with all that it started. As it is in the same session the signal
 * reaches it, whoever it is. */
static void abandon(const runner *r)
{
    (void)shutdown(r->fd, SHUT_RDWR);
    (void)kill(r->pid, SIGCONT);
}

static const scep_err *unanswered(const runner *r, apr_time_t deadline, const scep_err *why,
                                  apr_pool_t *p)
{
    if (apr_time_now() >= deadline)
        abandon(r);
    return scep_fail(p, UNAVAILABLE, "the runner of programs does not answer: %s", why->detail);
}

/* One message with one or two descriptors: a place to answer, and what a kept program talks on. A
 * runner that reads nothing lets hundreds wait there; one more would wait without end. */
static const scep_err *hand_over(const runner *r, const int *fds, size_t n, apr_pool_t *p)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = { 0 };
    char byte = 'r';
    struct iovec iov = { &byte, 1 };
    struct msghdr message = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    if (sendmsg(r->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
        return scep_fail(p, UNAVAILABLE, "the runner of programs cannot be reached: %s",
                         strerror(errno));
    return NULL;
}

/* What it is to run, and what it says of that. */
static const scep_err *ask(scep_wire_ran *out, int fd, const scep_wire_run *what,
                           apr_time_t deadline, apr_pool_t *p)
{
    scep_bytes body;
    int verb = 0;

    SCEP_TRY(scep_wire_write(fd, scep_wire_put_run(SCEP_VERB_RUN, what, p), deadline, p));
    SCEP_TRY(scep_wire_read(fd, &verb, &body, deadline, p));
    if (verb != SCEP_VERB_RAN)
        return scep_fail(p, INTERNAL, "verb %d", verb);
    return scep_wire_get_ran(out, body, p);
}

const scep_err *runner_run(scep_wire_ran *out, runner *r, const scep_wire_run *what, apr_pool_t *p)
{
    apr_time_t deadline = apr_time_now() + apr_time_from_msec(what->ms) + MARGIN;
    const scep_err *err;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return scep_fail(p, UNAVAILABLE, "no socket pair: %s", strerror(errno));
    err = hand_over(r, &pair[1], 1, p);
    (void)close(pair[1]);
    if (!err)
        err = ask(out, pair[0], what, deadline, p);
    (void)close(pair[0]);
    return err ? unanswered(r, deadline, err, p) : NULL;
}

/* ---- kept ---- */

/* Its start is waited for: a runner that was stopped would let one after the other look late. */
static const scep_err *keep(const runner *r, int life, const scep_wire_run *what, apr_pool_t *p)
{
    apr_time_t deadline = apr_time_now() + MARGIN;
    scep_wire_ran ran;
    const scep_err *err = ask(&ran, life, what, deadline, p);

    if (err)
        return unanswered(r, deadline, err, p);
    if (ran.outcome != SCEP_RAN_STARTED)
        return scep_fail(p, UNAVAILABLE, "the program %s", runner_describe(&ran, p));
    return NULL;
}

const scep_err *runner_keep(runner_kept *out, runner *r, const scep_wire_run *what, apr_pool_t *p)
{
    const scep_err *err;
    int life[2], talk[2], theirs[2];

    *out = (runner_kept){ -1, -1 };
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, life) != 0)
        return scep_fail(p, UNAVAILABLE, "no socket pair: %s", strerror(errno));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, talk) != 0) {
        err = scep_fail(p, UNAVAILABLE, "no socket pair: %s", strerror(errno));
        (void)close(life[0]);
        (void)close(life[1]);
        return err;
    }
    *out = (runner_kept){ talk[0], life[0] };
    theirs[0] = life[1];
    theirs[1] = talk[1];
    err = hand_over(r, theirs, 2, p);
    (void)close(life[1]);
    (void)close(talk[1]);
    if (!err)
        err = keep(r, life[0], what, p);
    if (err)
        runner_let_go(out);
    return err;
}

void runner_let_go(runner_kept *kept)
{
    if (kept->talk >= 0)
        (void)close(kept->talk);
    if (kept->life >= 0)
        (void)close(kept->life);
    *kept = (runner_kept){ -1, -1 };
}

bool runner_kept_ended(scep_wire_ran *out, const runner_kept *kept, apr_pool_t *p)
{
    struct pollfd pfd = { kept->life, POLLIN, 0 };
    scep_bytes body;
    int verb;

    /* its output may end a moment before the runner hears of it */
    if (kept->life < 0 || poll(&pfd, 1, 200) != 1)
        return false;
    return !scep_wire_read(kept->life, &verb, &body, apr_time_now() + MARGIN, p) &&
           verb == SCEP_VERB_RAN && !scep_wire_get_ran(out, body, p);
}

/* ---- words ---- */

const char *runner_describe(const scep_wire_ran *ran, apr_pool_t *p)
{
    const char *what = "did something unknown";

    switch (ran->outcome) {
    case SCEP_RAN_EXITED:
        what = apr_psprintf(p, "ended with status %u", ran->number);
        break;
    case SCEP_RAN_SIGNALLED:
        what = apr_psprintf(p, "was ended by signal %u", ran->number);
        break;
    case SCEP_RAN_LATE:
        what = "timed out and was killed";
        break;
    case SCEP_RAN_LOUD:
        what = apr_psprintf(p, "printed more than %d bytes and was killed", RUNNER_OUTPUT_MOST);
        break;
    case SCEP_RAN_NOT:
        what = apr_psprintf(p, "cannot be started: %s", strerror((int)ran->number));
        break;
    default:
        break;
    }
    return *ran->complaint ? apr_pstrcat(p, what, ": ", ran->complaint, NULL) : what;
}
