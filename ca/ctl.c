/* scepctl's socket, and the threads that serve it. */
#include "ctl.h"

#include "log.h"

#include <apr_strings.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CALLER_TIME apr_time_from_sec(10) /* for a frame, and between two of them */
#define BACKLOG 8
/* An approval waits for a CA and for a policy module; the state is told meanwhile. */
#define CALLERS 4

/* A thread, and whom it serves. */
typedef struct clerk {
    struct ctl *ctl;
    pthread_t thread;
    bool started;
    int caller; /* -1: none; under the lock */
} clerk;

struct ctl {
    office *office;
    const char *path;
    int listener, stop; /* stop: an eventfd */
    dev_t device;       /* of the socket, to know whether it is still ours */
    ino_t inode;
    clerk clerks[CALLERS];
    pthread_mutex_t lock; /* of clerks' callers and of what is below */
    bool stopping;
};

typedef struct caller {
    int fd;
    const char *name;
    apr_pool_t *pool; /* of one call */
} caller;

/* Who decides, for the record: what the kernel says, and what root says of itself. */
static const char *name_of(const struct ucred *peer, apr_pool_t *p)
{
    char text[1024];
    struct passwd entry, *found = NULL;

    if (getpwuid_r(peer->uid, &entry, text, sizeof(text), &found) == 0 && found)
        return apr_pstrdup(p, entry.pw_name);
    return apr_psprintf(p, "uid %lu", (unsigned long)peer->uid);
}

static const char *decided_by(const caller *c, const char *claimed)
{
    if (!*claimed || !strcmp(claimed, c->name))
        return c->name;
    return apr_psprintf(c->pool, "%s for %s", c->name,
                        scep_printable(c->pool, scep_bytes_of(claimed), 64));
}

/* A caller that went away does not stop the work that it began. */
static void show_progress(void *baton, const char *what, apr_int64_t done, apr_int64_t total)
{
    const caller *c = baton;
    const scep_wire_progress progress = { what, (uint64_t)done, (uint64_t)total };
    const scep_err *err =
        scep_wire_write(c->fd, scep_wire_put_progress(SCEP_VERB_PROGRESS, &progress, c->pool),
                        apr_time_now() + CALLER_TIME, c->pool);

    (void)err;
}

static const scep_err *serve_requests(scep_bytes *answer, office *o, const caller *c,
                                      scep_bytes body)
{
    scep_wire_request_page page = { 0 };
    scep_wire_list in;

    SCEP_TRY(scep_wire_get_list(&in, body, c->pool));
    SCEP_TRY(office_requests(&page, o, &in, c->pool));
    *answer = scep_wire_put_request_page(SCEP_VERB_REQUEST_PAGE, &page, c->pool);
    return NULL;
}

static const scep_err *serve_certificates(scep_bytes *answer, office *o, const caller *c,
                                          scep_bytes body)
{
    scep_wire_certificate_page page = { 0 };
    scep_wire_list in;

    SCEP_TRY(scep_wire_get_list(&in, body, c->pool));
    SCEP_TRY(office_certificates(&page, o, &in, c->pool));
    *answer = scep_wire_put_certificate_page(SCEP_VERB_CERTIFICATE_PAGE, &page, c->pool);
    return NULL;
}

static const scep_err *serve_status(scep_bytes *answer, office *o, const caller *c, scep_bytes body)
{
    scep_wire_state state = { 0 };

    if (body.len)
        return scep_fail(c->pool, INTERNAL, "a question for the state has a body");
    SCEP_TRY(office_status(&state, o, c->pool));
    *answer = scep_wire_put_state(SCEP_VERB_STATE, &state, c->pool);
    return NULL;
}

static const scep_err *serve_challenges(scep_bytes *answer, office *o, const caller *c,
                                        scep_bytes body)
{
    scep_wire_challenge_page page = { 0 };
    scep_wire_challenges_of in;

    SCEP_TRY(scep_wire_get_challenges_of(&in, body, c->pool));
    SCEP_TRY(office_challenges(&page, o, &in, c->pool));
    *answer = scep_wire_put_challenge_page(SCEP_VERB_CHALLENGE_PAGE, &page, c->pool);
    return NULL;
}

static const scep_err *serve_mint(scep_bytes *answer, office *o, const caller *c, scep_bytes body)
{
    scep_wire_minted minted = { 0 };
    scep_wire_mint in;

    SCEP_TRY(scep_wire_get_mint(&in, body, c->pool));
    in.user = decided_by(c, in.user);
    in.peer = "scepctl";
    SCEP_TRY(office_mint_for_administrator(&minted, o, &in, c->pool));
    *answer = scep_wire_put_minted(SCEP_VERB_MINTED, &minted, c->pool);
    return NULL;
}

static const scep_err *serve_revoke_challenge(scep_wire_done *done, office *o, caller *c,
                                              scep_bytes body)
{
    scep_wire_revoke_challenge in;

    SCEP_TRY(scep_wire_get_revoke_challenge(&in, body, c->pool));
    in.by = decided_by(c, in.by);
    return office_revoke_challenge(done, o, &in, c->pool);
}

static const scep_err *serve_decide(scep_wire_done *done, office *o, caller *c, scep_bytes body)
{
    scep_wire_decide in;

    SCEP_TRY(scep_wire_get_decide(&in, body, c->pool));
    in.by = decided_by(c, in.by);
    return office_decide(done, o, &in, c->pool);
}

static const scep_err *serve_revoke(scep_wire_done *done, office *o, caller *c, scep_bytes body)
{
    scep_wire_revoke in;

    SCEP_TRY(scep_wire_get_revoke(&in, body, c->pool));
    in.by = decided_by(c, in.by);
    return office_revoke(done, o, &in, show_progress, c, c->pool);
}

static const scep_err *serve_crl(scep_wire_done *done, office *o, caller *c, scep_bytes body)
{
    scep_wire_sign_crl in;

    SCEP_TRY(scep_wire_get_sign_crl(&in, body, c->pool));
    in.by = decided_by(c, in.by);
    return office_sign_crl(done, o, &in, show_progress, c, c->pool);
}

static const scep_err *dispatch(scep_bytes *answer, office *o, caller *c, int verb, scep_bytes body)
{
    scep_wire_done done = { 0 };

    switch (verb) {
    case SCEP_VERB_REQUESTS:
        return serve_requests(answer, o, c, body);
    case SCEP_VERB_CERTIFICATES:
        return serve_certificates(answer, o, c, body);
    case SCEP_VERB_CHALLENGES:
        return serve_challenges(answer, o, c, body);
    case SCEP_VERB_MINT:
        return serve_mint(answer, o, c, body);
    case SCEP_VERB_STATUS:
        return serve_status(answer, o, c, body);
    case SCEP_VERB_DECIDE:
        SCEP_TRY(serve_decide(&done, o, c, body));
        break;
    case SCEP_VERB_REVOKE_CHALLENGE:
        SCEP_TRY(serve_revoke_challenge(&done, o, c, body));
        break;
    case SCEP_VERB_REVOKE:
        SCEP_TRY(serve_revoke(&done, o, c, body));
        break;
    case SCEP_VERB_CRL:
        SCEP_TRY(serve_crl(&done, o, c, body));
        break;
    default:
        return scep_fail(c->pool, REFUSED, "verb %d is not for scepctl", verb);
    }
    *answer = scep_wire_put_done(SCEP_VERB_DONE, &done, c->pool);
    return NULL;
}

/* Calls one after the other, until the caller goes or is too slow. */
static void serve_caller(office *o, caller *c)
{
    const scep_err *err = NULL;

    while (!err) {
        scep_bytes body, answer;
        int verb;

        err = scep_wire_read(c->fd, &verb, &body, apr_time_now() + CALLER_TIME, c->pool);
        if (err)
            return;
        err = dispatch(&answer, o, c, verb, body);
        if (err)
            answer = scep_wire_put_refused(SCEP_VERB_REFUSED,
                                           &(scep_wire_refused){ (uint32_t)err->code, err->detail },
                                           c->pool);
        err = scep_wire_write(c->fd, answer, apr_time_now() + CALLER_TIME, c->pool);
        apr_pool_clear(c->pool);
    }
}

/* @param fd -1: it went. @return false: this process is to stop */
static bool set_caller(clerk *k, int fd)
{
    bool go_on;

    pthread_mutex_lock(&k->ctl->lock);
    go_on = !k->ctl->stopping;
    k->caller = go_on ? fd : -1;
    pthread_mutex_unlock(&k->ctl->lock);
    return go_on;
}

static void welcome(clerk *k, int fd, apr_pool_t *p)
{
    struct ucred peer = { 0 };
    socklen_t len = sizeof(peer);
    caller who = { .fd = fd };

    /* the socket's mode says so already */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        (peer.uid != 0 && peer.uid != geteuid())) {
        log_line(LOG_LEVEL_WARN, "SCEP0310: scepctl of uid %lu was turned away",
                 (unsigned long)peer.uid);
        return;
    }
    if (apr_pool_create(&who.pool, p) != APR_SUCCESS)
        return;
    who.name = name_of(&peer, p);
    if (set_caller(k, fd))
        serve_caller(k->ctl->office, &who);
    (void)set_caller(k, -1);
}

static void *work(void *data)
{
    clerk *k = data;
    const ctl *c = k->ctl;
    apr_pool_t *p;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS)
        return NULL;
    for (;;) {
        struct pollfd both[] = { { c->listener, POLLIN, 0 }, { c->stop, POLLIN, 0 } };
        int fd;

        if (poll(both, 2, -1) < 0 && errno != EINTR)
            break;
        if (both[1].revents)
            break;
        fd = both[0].revents ? accept4(c->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd < 0) {
            /* of too many descriptors: whoever waits stays there to be accepted */
            if (errno == EMFILE || errno == ENFILE)
                (void)poll(&both[1], 1, 1000);
            continue;
        }
        welcome(k, fd, p);
        close(fd);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

/* Bound under another name first: whoever connects to the path finds one that listens. */
static const scep_err *bind_socket(ctl *c, apr_pool_t *p)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    const char *aside = apr_psprintf(p, "%s.%ld", c->path, (long)getpid());
    struct stat st;

    if (strlen(aside) >= sizeof(at.sun_path))
        return scep_fail(p, CONFIG, "ctl: %s is too long for a socket: %d bytes are accepted",
                         c->path, (int)sizeof(at.sun_path) - 12);
    apr_cpystrn(at.sun_path, aside, sizeof(at.sun_path));
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listener < 0)
        return scep_fail(p, INTERNAL, "socket: %s", strerror(errno));
    (void)unlink(aside);
    /* umask 077 makes it 0600 from the first moment */
    if (bind(c->listener, (struct sockaddr *)&at, sizeof(at)) != 0)
        return scep_fail(p, CONFIG,
                         "ctl: cannot make the socket %s: %s; scep-ca's user must be able to write "
                         "to its folder",
                         c->path, strerror(errno));
    if (chmod(aside, 0600) != 0 || stat(aside, &st) != 0 || listen(c->listener, BACKLOG) != 0 ||
        rename(aside, c->path) != 0) {
        int why = errno;

        (void)unlink(aside);
        return scep_fail(p, CONFIG, "ctl: cannot listen on %s: %s", c->path, strerror(why));
    }
    c->device = st.st_dev;
    c->inode = st.st_ino;
    return NULL;
}

static const scep_err *start_threads(ctl *c, apr_pool_t *p)
{
    sigset_t all, before;
    bool started = true;

    sigfillset(&all);
    if (pthread_sigmask(SIG_BLOCK, &all, &before) != 0)
        return scep_fail(p, INTERNAL, "cannot block signals");
    for (clerk *k = c->clerks; k < c->clerks + CALLERS && started; k++)
        k->started = started = pthread_create(&k->thread, NULL, work, k) == 0;
    if (pthread_sigmask(SIG_SETMASK, &before, NULL) != 0)
        return scep_fail(p, INTERNAL, "cannot set the signal mask");
    return started ? NULL : scep_fail(p, INTERNAL, "the threads for scepctl cannot be started");
}

const scep_err *ctl_start(ctl **out, office *o, apr_pool_t *p)
{
    ctl *c = apr_pcalloc(p, sizeof(*c));
    const scep_err *err;

    *out = NULL;
    if (!o->conf->ctl)
        return NULL;
    c->office = o;
    c->path = o->conf->ctl;
    c->listener = -1;
    for (int i = 0; i < CALLERS; i++)
        c->clerks[i] = (clerk){ .ctl = c, .caller = -1 };
    c->stop = eventfd(0, EFD_CLOEXEC);
    if (c->stop < 0 || pthread_mutex_init(&c->lock, NULL) != 0)
        return scep_fail(p, INTERNAL, "no descriptor or mutex for scepctl");
    err = bind_socket(c, p);
    if (!err)
        err = start_threads(c, p);
    if (err) {
        ctl_stop(c);
        return err;
    }
    *out = c;
    return NULL;
}

/* A successor may have renamed its own socket over this one. */
static void remove_own(const ctl *c)
{
    struct stat st;

    if (c->inode && stat(c->path, &st) == 0 && st.st_dev == c->device && st.st_ino == c->inode)
        (void)unlink(c->path);
}

void ctl_stop(ctl *c)
{
    const uint64_t one = 1;

    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    for (int i = 0; i < CALLERS; i++)
        if (c->clerks[i].caller >= 0)
            (void)shutdown(c->clerks[i].caller, SHUT_RD); /* what runs is finished and answered */
    pthread_mutex_unlock(&c->lock);
    if (write(c->stop, &one, sizeof(one)) != (ssize_t)sizeof(one))
        log_line(LOG_LEVEL_ERROR, "SCEP0311: eventfd: %s", strerror(errno));
    for (int i = 0; i < CALLERS; i++)
        if (c->clerks[i].started)
            (void)pthread_join(c->clerks[i].thread, NULL);
    if (c->listener >= 0) {
        remove_own(c);
        close(c->listener);
    }
    close(c->stop);
    pthread_mutex_destroy(&c->lock);
}
