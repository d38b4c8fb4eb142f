/* The runner, scep-ca's side: it is started, and asked. */
#include "runner.h"

#include "deadline.h"

#include <apr_strings.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_TIME apr_time_from_sec(10)
#define MARGIN apr_time_from_sec(3) /* for the runner's answer, beyond the program's time */

struct runner {
    int fd;
    pid_t pid;
};

/* ---- what may be run ---- */

/* Whoever may write the program decides who gets certificates, and its owner may give himself leave
 * at any time. */
static const scep_err *check_writers(const struct stat *st, const char *user, apr_pool_t *p)
{
    const char *name = user && *user ? user : NULL;
    const struct passwd *entry = name && geteuid() == 0 ? getpwnam(name) : NULL;

    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return scep_fail(p, CONFIG, "group or others may write the program: chmod go-w it");
    if (name && geteuid() == 0 && !entry)
        return scep_fail(p, CONFIG, "there is no user \"%s\" (SCEPExecUser)", name);
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return scep_fail(p, CONFIG,
                         "the program belongs to user %lu, who could change it: give it to root",
                         (unsigned long)st->st_uid);
    if (entry && !(st->st_mode & (st->st_gid == entry->pw_gid ? S_IXGRP : S_IXOTH)))
        return scep_fail(p, CONFIG,
                         "\"%s\" (SCEPExecUser) may not execute the program: chmod a+rx it", name);
    return NULL;
}

const scep_err *runner_check_user(const char *user, apr_pool_t *p)
{
    if (geteuid() != 0 || (user && *user))
        return NULL;
    return scep_fail(p, CONFIG,
                     "NDES-53 a policy module or a connector is a program, and no user to run it as "
                     "is given: set SCEPExecUser");
}

const scep_err *runner_check(const char *program, const char *user, apr_pool_t *p)
{
    struct stat st;

    if (*program != '/')
        return scep_fail(p, CONFIG, "an absolute path is accepted");
    if (stat(program, &st) != 0)
        return scep_fail(p, CONFIG, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return scep_fail(p, CONFIG, "this is no file");
    if (!(st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) || access(program, X_OK) != 0)
        return scep_fail(p, CONFIG, "the file is not executable: chmod a+rx it");
    return check_writers(&st, user, p);
}

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

/* It says "ok", or why not. */
static const scep_err *wait_ready(int fd, apr_pool_t *p)
{
    char text[512];
    ssize_t n = -1;

    if (!deadline_wait(fd, POLLIN, deadline_in(READY_TIME), p))
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

    SCEP_TRY(runner_check_user(user, p));
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

static const scep_err *unanswered(const runner *r, moment deadline, const scep_err *why,
                                  apr_pool_t *p)
{
    if (!deadline_left(deadline))
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

/* For frames, whose deadlines are of the other clock. */
static apr_time_t by_clock(moment deadline)
{
    return apr_time_now() + deadline_left(deadline);
}

/* What it is to run, and what it says of that. A request that did not arrive whole is not run. */
static const scep_err *ask(scep_wire_ran *out, int fd, const scep_wire_run *what, moment deadline,
                           apr_pool_t *p)
{
    scep_wire_ran ran;
    scep_bytes body;
    int verb = 0;

    *out = (scep_wire_ran){ .outcome = SCEP_RAN_NOT };
    SCEP_TRY(scep_wire_write(fd, scep_wire_put_run(SCEP_VERB_RUN, what, p), by_clock(deadline), p));
    out->outcome = 0;
    SCEP_TRY(deadline_wait(fd, POLLIN, deadline, p));
    SCEP_TRY(scep_wire_read(fd, &verb, &body, by_clock(deadline), p));
    if (verb != SCEP_VERB_RAN)
        return scep_fail(p, INTERNAL, "verb %d", verb);
    SCEP_TRY(scep_wire_get_ran(&ran, body, p));
    *out = ran;
    return NULL;
}

const scep_err *runner_run(scep_wire_ran *out, runner *r, const scep_wire_run *what, apr_pool_t *p)
{
    moment deadline = deadline_in(apr_time_from_msec(what->ms) + MARGIN);
    const scep_err *err;
    int pair[2];

    *out = (scep_wire_ran){ .outcome = SCEP_RAN_NOT };
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
    moment deadline = deadline_in(MARGIN);
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
