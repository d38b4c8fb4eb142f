/* scep-ca: run for httpd, check ca.conf, or set up. */
#include "config.h"

#include "check.h"
#include "chores.h"
#include "ctl.h"
#include "init.h"
#include "log.h"
#include "process.h"
#include "runner_main.h"
#include "server.h"

#include <apr_general.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_TIME apr_time_from_sec(10)
/* A scep-ca that cannot start would otherwise be started again and again by httpd. */
#define DAMPING 10
#define PAUSE_MOST 600
/* A control channel's buffer holds this much that httpd has not read yet. */
#define UNREAD_MOST 65536
/* What a CA elsewhere is asked about when this process leaves stands in the store; it is waited for
 * because not every CA can be asked again: for so long, and for so many seconds more where another
 * scep-ca serves already. */
#define LEAVING apr_time_from_sec(5)
#define LEAVING_MORE 60

typedef struct running {
    int control, listener;
    pid_t parent;
    bool orphaned; /* httpd is gone */
    scep_wire_configure configure;
    runner *runner; /* NULL: there is no program to run */
    office *office;
    chores *chores;
    ctl *ctl;
} running;

static const scep_err *read_configure(running *r, apr_pool_t *p)
{
    scep_bytes body;
    int verb;

    SCEP_TRY(scep_wire_read(r->control, &verb, &body, apr_time_now() + CONTROL_TIME, p));
    if (verb != SCEP_VERB_CONFIGURE)
        return scep_fail(p, INTERNAL, "httpd sent verb %d instead of its settings", verb);
    return scep_wire_get_configure(&r->configure, body, p);
}

/* Damping; ends at once when httpd says or shows that this process is not wanted any more.
 * @return whether it still is */
static bool pause_for(const running *r, uint32_t seconds)
{
    struct pollfd control = { r->control, POLLIN, 0 };

    return poll(&control, 1, seconds > PAUSE_MOST ? PAUSE_MOST * 1000 : (int)seconds * 1000) == 0;
}

static const scep_err *block_term(apr_pool_t *p)
{
    sigset_t term;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &term, NULL) != 0)
        return scep_fail(p, INTERNAL, "cannot block SIGTERM");
    return NULL;
}

/* Keys are read as root, the database is opened as the user. */
static const scep_err *open_office(running *r, const char *conf_path, apr_pool_t *p)
{
    bool programs;

    SCEP_TRY(read_configure(r, p));
    r->orphaned = r->configure.respawn > 1 && !pause_for(r, r->configure.respawn - 1);
    if (r->orphaned)
        return NULL;
    /* before anything secret is in this process's memory */
    SCEP_TRY(office_wants_runner(&programs, conf_path, r->configure.endpoints, p));
    if (programs)
        SCEP_TRY(runner_start(&r->runner, r->configure.exec_user, p));
    SCEP_TRY(office_load(&r->office, conf_path, r->configure.endpoints, p));
    SCEP_TRY(office_modules(r->office, r->runner, r->configure.exec_user, p));
    SCEP_TRY(office_programs(r->office, r->configure.exec_user, p));
    r->office->timeout = apr_time_from_sec(r->configure.timeout);
    SCEP_TRY(process_become(r->configure.user, p));
    SCEP_TRY(process_follow(r->parent, &r->orphaned, p));
    if (r->orphaned)
        return NULL;
    /* from here on there are threads, and only the server's may be told to end */
    SCEP_TRY(block_term(p));
    SCEP_TRY(office_connect(r->office, r->runner, p));
    SCEP_TRY(office_open(r->office, true, p));
    SCEP_TRY(office_clerks_start(r->office, p));
    return chores_start(&r->chores, r->office, p);
}

/* Where httpd does not wait, it reads seconds later; one that waited for it would not serve. */
static const scep_err *make_ready(scep_bytes *out, const running *r, apr_pool_t *p)
{
    scep_wire_ready ready = { 0 };
    scep_bytes frame;

    SCEP_TRY(office_hello(&ready, r->office, p));
    frame = scep_wire_put_ready(SCEP_VERB_READY, &ready, p);
    if (frame.len > SCEP_WIRE_HEADER + SCEP_WIRE_MAX)
        return scep_fail(p, CONFIG,
                         "%d endpoints and their certificates are %lu bytes, httpd takes at most "
                         "%u: let sections share a SCEPEndpoint, or use several httpd",
                         ready.endpoints->nelts, (unsigned long)(frame.len - SCEP_WIRE_HEADER),
                         SCEP_WIRE_MAX);
    if (r->configure.respawn && frame.len > UNREAD_MOST)
        frame = scep_wire_put_ready(SCEP_VERB_READY, &(scep_wire_ready){ NULL }, p);
    *out = frame;
    return NULL;
}

/* The administrator's socket is taken over last: until then a former scep-ca serves it. */
static const scep_err *say_ready(running *r, apr_pool_t *p)
{
    scep_bytes frame;

    SCEP_TRY(make_ready(&frame, r, p));
    SCEP_TRY(ctl_start(&r->ctl, r->office, p));
    r->orphaned = scep_wire_write(r->control, frame, apr_time_now() + CONTROL_TIME, p) != NULL;
    if (r->orphaned)
        ctl_stop(r->ctl);
    return NULL;
}

static const scep_err *serve(bool *replaced, const running *r, apr_pool_t *p)
{
    const server_options options = {
        .listener = r->listener,
        .control = r->control,
        .runner = r->runner ? runner_fd(r->runner) : 0,
        .worker_uid = (uid_t)r->configure.worker_uid,
        .enrol_secret = r->configure.enrol_secret,
        .mint_secret = r->configure.mint_secret,
        .in_flight = (int)r->configure.in_flight,
        .timeout = apr_time_from_sec(r->configure.timeout),
    };

    return server_run(replaced, r->office, &options, p);
}

/* httpd logs what it waited for; where it does not wait, the line is written here. */
static int failed(running *r, const scep_err *err, apr_pool_t *p)
{
    scep_wire_failed detail = { err->detail };
    const scep_err *unsaid = scep_wire_write(
        r->control, scep_wire_put_failed(SCEP_VERB_FAILED, &detail, p), apr_time_now(), p);

    if (!r->configure.respawn)
        return 1;
    log_err(LOG_LEVEL_CRIT, "SCEP0200", "NDES-2 scep-ca cannot start", err);
    if (!unsaid)
        (void)pause_for(r, DAMPING);
    return 1;
}

/* What httpd says any more (to leave, at each further restart) is known already.
 * @return whether it is there still, a second from now */
static bool httpd_stays(const running *r)
{
    struct pollfd control = { r->control, 0, 0 };

    return poll(&control, 1, 1000) == 0;
}

/* @return false: CAs are still being asked */
static bool end_clerks(const running *r, bool replaced)
{
    bool ended = office_clerks_stop(r->office, LEAVING);

    for (int i = 0; !ended && replaced && i < LEAVING_MORE && httpd_stays(r); i++)
        ended = office_clerks_stop(r->office, 0);
    return ended;
}

static int run_main(int argc, char **argv, apr_pool_t *p)
{
    running r = { 0 };
    const scep_err *err;
    bool replaced = false;

    if (argc != 2)
        return 2;
    err = process_begin(p);
    if (!err)
        err = process_detach(p);
    if (!err)
        err = process_peer(&r.parent, STDIN_FILENO, p);
    if (!err)
        err = process_move(&r.control, STDIN_FILENO, p);
    if (!err)
        err = process_move(&r.listener, STDOUT_FILENO, p);
    if (err) {
        log_err(LOG_LEVEL_CRIT, "SCEP0201", "NDES-2 scep-ca cannot start", err);
        return 1;
    }
    err = open_office(&r, argv[1], p);
    if (!err && !r.orphaned)
        err = say_ready(&r, p);
    if (err)
        return failed(&r, err, p);
    if (r.orphaned)
        return 1;
    log_line(LOG_LEVEL_INFO, "SCEP0203: NDES-1 scep-ca %s serves; endpoints: %d", PACKAGE_VERSION,
             r.office->endpoints->nelts);
    err = serve(&replaced, &r, p);
    if (err)
        log_err(LOG_LEVEL_ERROR, "SCEP0202", "NDES-4 scep-ca ends out of order", err);
    else {
        ctl_stop(r.ctl);
        chores_stop(r.chores);
        if (!end_clerks(&r, replaced)) {
            log_line(LOG_LEVEL_WARN, "SCEP0259: NDES-3 scep-ca ends while CAs are being asked; the "
                                     "next one looks into what became of that");
            _exit(0); /* threads hold what the pools own */
        }
        store_close(r.office->store);
        log_line(LOG_LEVEL_INFO, "SCEP0204: NDES-3 scep-ca has stopped");
    }
    return err ? 1 : 0;
}

static int usage(FILE *to, int status)
{
    fprintf(to, "usage: scep-ca check [--control] [--user USER] CA.CONF\n"
                "       scep-ca init [OPTIONS] --out FOLDER\n"
                "       scep-ca run CA.CONF          (started by httpd, see SCEPConnector)\n"
                "       scep-ca --help | --version\n");
    return status;
}

static int command(int argc, char **argv, apr_pool_t *p)
{
    int status = 2;

    if (argc < 2)
        return usage(stderr, 2);
    if (!strcmp(argv[1], "init")) {
        argv[1] = "scep-ca init"; /* getopt's messages begin with it */
        return init_main(argc - 1, argv + 1, p);
    }
    if (!strcmp(argv[argc - 1], "--help"))
        return usage(stdout, 0);
    if (!strcmp(argv[1], "--version")) {
        printf("scep-ca %s\n", PACKAGE_VERSION);
        return 0;
    }
    if (!strcmp(argv[1], "run"))
        status = run_main(argc - 1, argv + 1, p);
    if (!strcmp(argv[1], "runner"))
        status = runner_main(argc - 1, argv + 1, p);
    if (!strcmp(argv[1], "check"))
        status = check_main(argc - 1, argv + 1, p);
    return status == 2 ? usage(stderr, 2) : status;
}

int main(int argc, char **argv)
{
    apr_pool_t *p;
    int status;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        fprintf(stderr, "scep-ca: no memory\n");
        return 1;
    }
#ifdef __SANITIZE_ADDRESS__
    /* what a pool had is freed with it, so that whoever still reads it is seen */
    apr_allocator_max_free_set(apr_pool_allocator_get(p), 1);
#endif
    status = command(argc, argv, p);
    if (fflush(stdout) != 0)
        status = 1;
    /* Threads may still hold what the pools own where a run ended out of order; the process's end
     * frees it all. Secrets are wiped where nothing runs any more. */
    if (status == 0)
        apr_pool_destroy(p);
    _exit(status);
}
