/* The workers' socket: one thread that accepts, reads and sends away, while hands run the calls. */
#include "server.h"

#include "desk.h"
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MOST 4096
#define DESCRIPTORS_ELSEWHERE 64   /* the store, keys, logs */
#define HURRY apr_time_from_sec(5) /* to finish when httpd is gone */
#define GRACE apr_time_from_sec(1) /* a call that ends at its deadline still writes its answer */
#define EVENTS 64

typedef struct server {
    const server_options *options;
    desk desk;
    int wake, signals;
    int connections_most;
    bool deaf;           /* the listener is not watched until the next tick */
    bool replaced;       /* as of server_run() */
    apr_time_t leave_by; /* where the desk is leaving */
    apr_pool_t *pool;    /* of one round */
} server;

/* What an event is about, where it is not a connection. */
static char about_listener, about_control, about_wake, about_signal, about_runner;

static void go_deaf(server *s)
{
    desk_unwatch(&s->desk, s->options->listener);
    s->deaf = true;
}

static void accept_failed(server *s, int why)
{
    if (why == EAGAIN || why == EINTR || why == ECONNABORTED)
        return;
    log_line(LOG_LEVEL_ERROR, "SCEP0222: cannot accept connections for a second: %s",
             strerror(why));
    go_deaf(s);
}

static void accept_one(server *s)
{
    struct ucred peer = { 0 };
    socklen_t len = sizeof(peer);
    int fd;

    if (s->desk.leaving)
        return;
    if (s->desk.count >= s->connections_most && !desk_evict(&s->desk)) {
        go_deaf(s);
        return;
    }
    fd = accept4(s->options->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        accept_failed(s, errno);
        return;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        peer.uid != s->options->worker_uid) {
        desk_complain(&s->desk, "the caller does not run as httpd's workers do");
        close(fd);
        return;
    }
    desk_welcome(&s->desk, fd, s->pool);
}

static void leave(server *s, apr_interval_time_t within)
{
    apr_time_t by = apr_time_now() + within + GRACE;

    if (!s->desk.leaving || by < s->leave_by)
        s->leave_by = by;
    if (s->desk.leaving)
        return;
    if (!s->deaf)
        go_deaf(s);
    office_clerks_leave(s->desk.office);
    desk_leave(&s->desk);
}

static void httpd_is_gone(server *s)
{
    s->replaced = false;
    leave(s, s->options->timeout < HURRY ? s->options->timeout : HURRY);
}

static void read_control(server *s)
{
    scep_bytes body;
    int verb;
    const scep_err *err =
        scep_wire_read(s->options->control, &verb, &body, apr_time_now() + HURRY, s->pool);

    if (!err && verb == SCEP_VERB_DRAIN) {
        s->replaced = true;
        leave(s, s->options->timeout);
        return;
    }
    desk_unwatch(&s->desk, s->options->control);
    httpd_is_gone(s);
}

/* It cannot be started again: this process is nobody who could become its user. */
static void runner_is_gone(server *s)
{
    log_line(LOG_LEVEL_CRIT,
             "SCEP0323: the runner of programs ended or answers no more; scep-ca ends, too, and is "
             "started again");
    desk_unwatch(&s->desk, s->options->runner);
    httpd_is_gone(s);
}

static void read_signal(server *s)
{
    struct signalfd_siginfo info;

    if (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        httpd_is_gone(s);
}

static void read_wake(server *s)
{
    uint64_t n;

    if (read(s->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
        log_line(LOG_LEVEL_ERROR, "SCEP0221: eventfd: %s", strerror(errno));
    desk_take_back(&s->desk);
}

static void dispatch(server *s, void *about)
{
    if (about == &about_listener)
        accept_one(s);
    else if (about == &about_control)
        read_control(s);
    else if (about == &about_wake)
        read_wake(s);
    else if (about == &about_signal)
        read_signal(s);
    else if (about == &about_runner)
        runner_is_gone(s);
    else
        desk_event(&s->desk, about);
}

/* Once a second. */
static void tick(server *s)
{
    desk_hurry(&s->desk);
    if (s->deaf && !s->desk.leaving &&
        !desk_watch(&s->desk, s->options->listener, &about_listener, s->pool))
        s->deaf = false;
}

static const scep_err *open_descriptors(server *s, const sigset_t *term)
{
    const server_options *o = s->options;
    struct rlimit files;
    rlim_t room;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return scep_fail(s->pool, INTERNAL, "getrlimit: %s", strerror(errno));
    room = files.rlim_cur > 2 * DESCRIPTORS_ELSEWHERE ? files.rlim_cur - DESCRIPTORS_ELSEWHERE
                                                      : DESCRIPTORS_ELSEWHERE;
    s->connections_most = room < CONNECTIONS_MOST ? (int)room : CONNECTIONS_MOST;
    s->desk.epoll = epoll_create1(EPOLL_CLOEXEC);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->signals = signalfd(-1, term, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->desk.epoll < 0 || s->wake < 0 || s->signals < 0)
        return scep_fail(s->pool, INTERNAL, "no descriptor: %s", strerror(errno));
    SCEP_TRY(desk_watch(&s->desk, o->listener, &about_listener, s->pool));
    SCEP_TRY(desk_watch(&s->desk, o->control, &about_control, s->pool));
    SCEP_TRY(desk_watch(&s->desk, s->wake, &about_wake, s->pool));
    if (o->runner > 0)
        SCEP_TRY(desk_watch(&s->desk, o->runner, &about_runner, s->pool));
    return desk_watch(&s->desk, s->signals, &about_signal, s->pool);
}

static void close_descriptors(server *s)
{
    const int all[] = { s->desk.epoll, s->wake, s->signals };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i] >= 0)
            close(all[i]);
    }
}

static const scep_err *serve(server *s)
{
    struct epoll_event events[EVENTS];
    apr_time_t next_tick = apr_time_now();

    while (!s->desk.leaving || (s->desk.count && apr_time_now() < s->leave_by)) {
        int n = epoll_wait(s->desk.epoll, events, EVENTS, s->desk.leaving ? 50 : 1000);

        if (n < 0 && errno != EINTR)
            return scep_fail(s->pool, INTERNAL, "epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++)
            dispatch(s, events[i].data.ptr);
        if (apr_time_now() >= next_tick) {
            tick(s);
            next_tick = apr_time_now() + apr_time_from_sec(1);
        }
        desk_bury(&s->desk);
        apr_pool_clear(s->pool);
    }
    return NULL;
}

static void close_all(desk *d)
{
    connection *next;

    for (connection *c = d->first; c; c = next) {
        next = c->next;
        connection_close(c);
    }
    desk_bury(d);
}

const scep_err *server_run(bool *replaced, office *o, const server_options *options, apr_pool_t *p)
{
    server *s = apr_palloc(p, sizeof(*s)); /* hands that are not done in time outlive this call */
    const scep_err *err;
    sigset_t term;

    *s = (server){ .options = options,
                   .desk = { .options = options, .office = o, .epoll = -1 },
                   .wake = -1,
                   .signals = -1 };
    if (apr_pool_create(&s->pool, p) != APR_SUCCESS)
        return scep_fail(p, INTERNAL, "no memory");
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    /* before the threads start, so that all of them have it blocked */
    if (pthread_sigmask(SIG_BLOCK, &term, NULL) != 0)
        return scep_fail(p, INTERNAL, "cannot block SIGTERM");
    err = open_descriptors(s, &term);
    if (!err)
        err = hands_start(&s->desk.hands, o, options, &s->desk.held, s->wake, p);
    if (err) {
        close_descriptors(s);
        return err;
    }
    err = serve(s);
    *replaced = s->replaced;
    if (hands_busy(s->desk.hands) > 0)
        return scep_fail(p, INTERNAL, "%d calls did not end in time", hands_busy(s->desk.hands));
    hands_stop(s->desk.hands);
    close_all(&s->desk);
    close_descriptors(s);
    return err;
}
