/* scep-ca as a process: forked, executed, and told its settings over the control channel. */
#include "mod_scep_spawn.h"
#include "mod_scep_state.h"

#include <ap_mpm.h>
#include <apr_portable.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <unixd.h>

/* The callbacks of httpd's main loop wait for this at most: scep-ca reads at once. */
#define WRITE_TIME apr_time_from_sec(1)
/* `scep-ca check` may have to wait for a database. */
#define CHECK_TIME apr_time_from_sec(60)
#define OUTPUT_MOST 4096

static uint32_t worker_uid(void)
{
    uid_t own = geteuid();

    return own == 0 ? ap_unixd_config.user_id : own;
}

/* Well below the number of workers, so that a slow CA never holds all of them. */
static uint32_t in_flight(void)
{
    int daemons = 1, threads = 1;

    if (ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &daemons) != APR_SUCCESS || daemons < 1)
        daemons = 1;
    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS || threads < 1)
        threads = 1;
    daemons = (int)((int64_t)daemons * threads * 3 / 4);
    return daemons < 2 ? 2 : (uint32_t)daemons;
}

static scep_bytes settings_frame(const scep_spawn *how, apr_pool_t *p)
{
    const scep_wire_configure configure = {
        .worker_uid = worker_uid(),
        .user = how->plan->ca_user,
        .enrol_secret = how->enrol_secret,
        .mint_secret = how->mint_secret,
        .timeout = (uint32_t)how->plan->timeout,
        .in_flight = in_flight(),
        .respawn = how->respawn,
        .endpoints = how->plan->endpoints,
        .exec_user = how->plan->exec_user,
    };

    return scep_wire_put_configure(SCEP_VERB_CONFIGURE, &configure, p);
}

/* @param in, out, err the child's 0, 1 and 2; err -1: httpd's own, the error log */
static const scep_err *start(apr_proc_t *proc, const char *const *argv, int in, int out, int err,
                             apr_pool_t *p)
{
    apr_file_t *in_file = NULL, *out_file = NULL, *err_file = NULL;
    apr_procattr_t *attr;
    apr_status_t rv = apr_procattr_create(&attr, p);
    char text[128];

    if (rv == APR_SUCCESS)
        rv = apr_procattr_cmdtype_set(attr, APR_PROGRAM_ENV);
    if (rv == APR_SUCCESS)
        rv = apr_procattr_error_check_set(attr, 1);
    if (rv == APR_SUCCESS)
        rv = apr_os_file_put(&in_file, &in, APR_FOPEN_READ | APR_FOPEN_WRITE, p);
    if (rv == APR_SUCCESS)
        rv = apr_os_file_put(&out_file, &out, APR_FOPEN_READ | APR_FOPEN_WRITE, p);
    if (rv == APR_SUCCESS)
        rv = apr_procattr_child_in_set(attr, in_file, NULL);
    if (rv == APR_SUCCESS)
        rv = apr_procattr_child_out_set(attr, out_file, NULL);
    if (rv == APR_SUCCESS && err >= 0)
        rv = apr_os_file_put(&err_file, &err, APR_FOPEN_WRITE, p);
    if (rv == APR_SUCCESS && err >= 0)
        rv = apr_procattr_child_err_set(attr, err_file, NULL);
    if (rv == APR_SUCCESS)
        rv = apr_proc_create(proc, argv[0], argv, NULL, attr, p);
    if (rv != APR_SUCCESS)
        return scep_fail(p, CONFIG, "cannot start \"%s\": %s", argv[0],
                         apr_strerror(rv, text, sizeof(text)));
    return NULL;
}

/* Start @a argv with a control channel on descriptor 0, and send it its settings. */
static const scep_err *start_told(apr_proc_t *proc, int *control, const char *const *argv,
                                  const scep_spawn *how, int out, int err_fd, apr_pool_t *p)
{
    const scep_err *err;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return scep_fail(p, UNAVAILABLE, "no socket pair: %s", strerror(errno));
    err = start(proc, argv, pair[1], out, err_fd, p);
    close(pair[1]);
    if (err) {
        close(pair[0]);
        return err;
    }
    /* Where this fails, scep-ca has ended or will: its side of the story says more. */
    err = scep_wire_write(pair[0], settings_frame(how, p), apr_time_now() + WRITE_TIME, p);
    if (err && err->code == SCEP_INTERNAL) {
        close(pair[0]);
        (void)kill(proc->pid, SIGTERM);
        return err;
    }
    *control = pair[0];
    return NULL;
}

const scep_err *scep_spawn_run(pid_t *pid, int *control, const scep_spawn *how, apr_pool_t *p)
{
    const char *argv[] = { how->plan->program, "run", how->plan->ca_conf, NULL };
    apr_proc_t proc;

    SCEP_TRY(start_told(&proc, control, argv, how, how->listener, -1, p));
    *pid = proc.pid;
    return NULL;
}

/* ---- check ---- */

/* What it says until it closes the pipe. @return false: not in time */
static bool read_output(int fd, char *to, size_t room)
{
    apr_time_t deadline = apr_time_now() + CHECK_TIME;
    size_t have = 0;

    for (;;) {
        struct pollfd pfd = { fd, POLLIN, 0 };
        apr_interval_time_t left = deadline - apr_time_now();
        char rest[256];
        bool full = have + 1 >= room;
        ssize_t n;

        if (left <= 0 || (poll(&pfd, 1, (int)(left / 1000) + 1) < 0 && errno != EINTR))
            break;
        if (!pfd.revents)
            continue;
        n = full ? read(fd, rest, sizeof(rest)) : read(fd, to + have, room - have - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += full ? 0 : (size_t)n;
        to[have] = 0;
    }
    to[have] = 0;
    return apr_time_now() < deadline;
}

/* One line of a log. */
static void flatten(char *text)
{
    size_t len = strlen(text);

    while (len && (unsigned char)text[len - 1] <= ' ')
        text[--len] = 0;
    for (; *text; text++) {
        if ((unsigned char)*text < ' ')
            *text = ' ';
    }
}

static const scep_err *judge(apr_proc_t *proc, int output, apr_pool_t *p)
{
    char *said = apr_pcalloc(p, OUTPUT_MOST);
    bool in_time = read_output(output, said, OUTPUT_MOST);
    apr_exit_why_e why = APR_PROC_EXIT;
    apr_status_t rv;
    int code = 0;

    if (!in_time)
        (void)kill(proc->pid, SIGKILL);
    rv = apr_proc_wait(proc, &code, &why, APR_WAIT);
    flatten(said);
    if (!in_time)
        return scep_fail(p, CONFIG, "scep-ca check did not end within %d seconds",
                         (int)apr_time_sec(CHECK_TIME));
    if (rv != APR_CHILD_DONE)
        return scep_fail(p, CONFIG, "scep-ca check was lost");
    if (!APR_PROC_CHECK_EXIT(why))
        return scep_fail(p, CONFIG, "scep-ca check was ended by signal %d: %s", code, said);
    if (code != 0)
        return scep_fail(p, CONFIG, "%s", *said ? said : "scep-ca check failed without a word");
    return NULL;
}

const scep_err *scep_ca_check(const scep_plan *plan, server_rec *s, apr_pool_t *ptemp)
{
    const scep_spawn how = { .plan = plan, .listener = -1 };
    const char *argv[7] = { plan->program, "check", "--control" };
    const scep_err *err;
    apr_proc_t proc;
    int n = 3, output[2], control;

    if (plan->ca_user) {
        argv[n++] = "--user";
        argv[n++] = plan->ca_user;
    }
    argv[n] = plan->ca_conf;
    SCEP_TRY(scep_state_check(ptemp));
    if (pipe2(output, O_CLOEXEC) != 0)
        return scep_fail(ptemp, CONFIG, "no pipe: %s", strerror(errno));
    err = start_told(&proc, &control, argv, &how, output[1], output[1], ptemp);
    close(output[1]);
    if (!err) {
        err = judge(&proc, output[0], ptemp);
        close(control);
    }
    close(output[0]);
    return err;
}
