/* scep-ca as a process. */
#include "config.h"

#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_WANTED 8192

#ifdef HAVE_CLOSE_RANGE
static int close_from(unsigned int first)
{
    return close_range(first, ~0u, 0);
}
#else
static int close_from(unsigned int first)
{
    long most = sysconf(_SC_OPEN_MAX);

    for (int fd = (int)first; fd < most; fd++)
        (void)close(fd);
    return 0;
}
#endif

/* Handlers do not survive an exec, but what httpd ignores would stay ignored here. */
static void reset_signals(void)
{
    struct sigaction action;
    sigset_t none;

    for (int n = 1; n < NSIG; n++) {
        if (sigaction(n, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            (void)signal(n, SIG_DFL);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* As many connections as httpd has workers; less is possible, only slower. */
static void raise_descriptors(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= DESCRIPTORS_WANTED)
        return;
    files.rlim_cur = files.rlim_max < DESCRIPTORS_WANTED ? files.rlim_max : DESCRIPTORS_WANTED;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

static const scep_err *not_dumpable(apr_pool_t *p)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return scep_fail(p, INTERNAL, "PR_SET_DUMPABLE: %s", strerror(errno));
    return NULL;
}

const scep_err *process_begin(apr_pool_t *p)
{
    reset_signals();
    raise_descriptors();
    umask(077);
    return not_dumpable(p);
}

const scep_err *process_close_others(apr_pool_t *p)
{
    if (close_from(3) != 0)
        return scep_fail(p, INTERNAL, "close_range: %s", strerror(errno));
    return NULL;
}

const scep_err *process_detach(apr_pool_t *p)
{
    /* fails only where it leads a session already */
    (void)setsid();
    return process_close_others(p);
}

const scep_err *process_move(int *out, int fd, apr_pool_t *p)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    *out = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (null < 0 || *out < 0 || dup2(null, fd) != fd)
        return scep_fail(p, INTERNAL, "descriptor %d: %s", fd, strerror(errno));
    if (null != fd)
        close(null);
    return NULL;
}

const scep_err *process_peer(pid_t *out, int control, apr_pool_t *p)
{
    struct ucred peer = { 0 };
    socklen_t len = sizeof(peer);

    if (getsockopt(control, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.pid <= 0)
        return scep_fail(p, CONFIG,
                         "descriptor %d is not httpd's control channel: \"run\" is for "
                         "httpd, see SCEPConnector",
                         control);
    *out = peer.pid;
    return NULL;
}

static const scep_err *check_become(const struct passwd *user, apr_pool_t *p)
{
    uid_t real, effective, saved;
    gid_t real_group, effective_group, saved_group;

    if (getresuid(&real, &effective, &saved) != 0 ||
        getresgid(&real_group, &effective_group, &saved_group) != 0 || real != user->pw_uid ||
        effective != user->pw_uid || saved != user->pw_uid || real_group != user->pw_gid ||
        effective_group != user->pw_gid || saved_group != user->pw_gid)
        return scep_fail(p, INTERNAL, "did not become user \"%s\"", user->pw_name);
    if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0)
        return scep_fail(p, INTERNAL, "could become root again after becoming \"%s\"",
                         user->pw_name);
    return NULL;
}

const scep_err *process_become(const char *user, apr_pool_t *p)
{
    const struct passwd *pw;

    if (geteuid() != 0)
        return NULL;
    if (!user || !*user)
        return scep_fail(p, CONFIG,
                         "started as root, but no user to run as is given: set "
                         "SCEPCAUser");
    pw = getpwnam(user);
    if (!pw)
        return scep_fail(p, CONFIG, "there is no user \"%s\"", user);
    if (pw->pw_uid == 0 || pw->pw_gid == 0)
        return scep_fail(p, CONFIG,
                         "\"%s\" is root or in root's group: scep-ca needs a user of "
                         "its own",
                         user);
    if (setgroups(1, &pw->pw_gid) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
        return scep_fail(p, INTERNAL, "cannot become user \"%s\": %s", user, strerror(errno));
    SCEP_TRY(check_become(pw, p));
    /* the change of user may have made it dumpable again (fs.suid_dumpable) */
    return not_dumpable(p);
}

const scep_err *process_follow(pid_t parent, bool *gone, apr_pool_t *p)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return scep_fail(p, INTERNAL, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
    if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0)
        return scep_fail(p, INTERNAL, "PR_SET_PDEATHSIG: %s", strerror(errno));
    /* it may have died before the line above */
    *gone = getppid() != parent;
    return NULL;
}
