/* Calls to scep-ca. */
#include "scepctl.h"

#include <apr_strings.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The longest silence: scep-ca tells of progress in between. */
#define PATIENCE apr_time_from_sec(120)

static const scep_err *connect_to(scepctl *c)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int why;

    if (strlen(c->socket) >= sizeof(at.sun_path))
        return scep_fail(c->p, CONFIG, "%s is too long for a socket's path", c->socket);
    apr_cpystrn(at.sun_path, c->socket, sizeof(at.sun_path));
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&at, sizeof(at)) == 0)
        return NULL;
    why = errno;
    if (why == EACCES)
        return scep_fail(c->p, UNAVAILABLE,
                         "%s: permission denied: run scepctl as root or as the "
                         "user of scep-ca",
                         c->socket);
    return scep_fail(c->p, UNAVAILABLE, "%s: %s: see that httpd runs, and scep-ca with it",
                     c->socket, strerror(why));
}

/* One line that is written over on a terminal; elsewhere one line each. */
static void show_progress(const scepctl *c, const scep_wire_progress *progress)
{
    const char *end = isatty(STDERR_FILENO) ? "\r" : "\n";

    if (c->json)
        return;
    if (progress->total)
        fprintf(stderr, "%s: %" APR_UINT64_T_FMT " of %" APR_UINT64_T_FMT "%s", progress->what,
                (apr_uint64_t)progress->done, (apr_uint64_t)progress->total, end);
    else
        fprintf(stderr, "%s: %" APR_UINT64_T_FMT "%s", progress->what, (apr_uint64_t)progress->done,
                end);
    (void)fflush(stderr);
}

const scep_err *call(scepctl *c, scep_bytes frame, scep_verb expected, scep_bytes *body)
{
    scep_wire_progress progress;
    scep_wire_refused refused;
    int verb;

    if (c->fd < 0)
        SCEP_TRY(connect_to(c));
    SCEP_TRY(scep_wire_write(c->fd, frame, apr_time_now() + PATIENCE, c->p));
    for (;;) {
        SCEP_TRY(scep_wire_read(c->fd, &verb, body, apr_time_now() + PATIENCE, c->p));
        if (verb == (int)expected)
            return NULL;
        if (verb != SCEP_VERB_PROGRESS)
            break;
        SCEP_TRY(scep_wire_get_progress(&progress, *body, c->p));
        show_progress(c, &progress);
    }
    if (verb != SCEP_VERB_REFUSED)
        return scep_fail(c->p, INTERNAL,
                         "scep-ca answered with verb %d; scepctl and scep-ca are of different "
                         "versions",
                         verb);
    SCEP_TRY(scep_wire_get_refused(&refused, *body, c->p));
    return scep_err_make(c->p,
                         refused.code < SCEP_CODE_COUNT ? (scep_code)refused.code : SCEP_INTERNAL,
                         __FILE__, __LINE__, "%s", refused.detail);
}
