/* The room of the tests of scep-ca init, and of what it made. */
#include "init_room.h"

#include "certs.h"
#include "check.h"
#include "fixture.h"
#include "init.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MOST 16384

const char *const init_room_files[8] = {
    "ca.key",         "ca.pem",         "ra-sign.key", "ra-sign.pem",
    "ra-decrypt.key", "ra-decrypt.pem", "store.key",   "ca.conf",
};
const char *const init_room_folders[2] = { "state", "public" };
const char *init_room_out;

static const char *folder; /* exists; init writes into its "ca" */

void init_room_up(apr_pool_t *p)
{
    char *made = apr_pstrdup(p, "/tmp/scep-init-XXXXXX");

    folder = mkdtemp(made);
    FIXTURE_MUST(folder);
    init_room_out = apr_pstrcat(p, folder, "/ca", NULL);
}

const char *init_room_path(const char *name, apr_pool_t *p)
{
    return apr_pstrcat(p, init_room_out, "/", name, NULL);
}

void init_room_down(apr_pool_t *p)
{
    static const char *const more[] = {
        "mine", "state/store.db", "state/store.db-wal", "state/store.db-shm", "public/ca.crl",
    };

    for (size_t i = 0; i < sizeof(init_room_files) / sizeof(*init_room_files); i++)
        (void)unlink(init_room_path(init_room_files[i], p)); /* a refused set-up made none */
    for (size_t i = 0; i < sizeof(more) / sizeof(*more); i++)
        (void)unlink(init_room_path(more[i], p)); /* a check made some */
    for (size_t i = 0; i < sizeof(init_room_folders) / sizeof(*init_room_folders); i++)
        (void)rmdir(init_room_path(init_room_folders[i], p));
    (void)rmdir(init_room_out);
    (void)unlink(apr_pstrcat(p, folder, "/said", NULL));
    FIXTURE_MUST(rmdir(folder) == 0);
}

const char *init_room_text(const char *path, apr_pool_t *p)
{
    FILE *file = fopen(path, "r");
    char *text = apr_pcalloc(p, TEXT_MOST);

    FIXTURE_MUST(file && fread(text, 1, TEXT_MOST - 1, file) < TEXT_MOST - 1 && fclose(file) == 0);
    return text;
}

/* @param argv begins with the command. @return how many there are */
static int split(char **argv, const char *more, apr_pool_t *p)
{
    int argc = 0;
    char *state;

    while (argv[argc])
        argc++;
    for (char *arg = apr_strtok(apr_pstrdup(p, more), "|", &state); arg;
         arg = apr_strtok(NULL, "|", &state))
        argv[argc++] = arg;
    return argc;
}

static int said_open(const char **path, apr_pool_t *p)
{
    int file;

    *path = apr_pstrcat(p, folder, "/said", NULL);
    file = open(*path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    FIXTURE_MUST(file >= 0 && fflush(stdout) == 0);
    return file;
}

int init_room_run(const char *more, const char **said, apr_pool_t *p)
{
    char *argv[24] = { apr_pstrdup(p, "init"), apr_pstrdup(p, "--out"),
                       apr_pstrdup(p, init_room_out) };
    int streams[2] = { dup(STDOUT_FILENO), dup(STDERR_FILENO) };
    const char *path;
    int file = said_open(&path, p), status;

    FIXTURE_MUST(dup2(file, STDOUT_FILENO) >= 0 && dup2(file, STDERR_FILENO) >= 0);
    status = init_main(split(argv, more, p), argv, p);
    FIXTURE_MUST(fflush(stdout) == 0 && fflush(stderr) == 0);
    FIXTURE_MUST(dup2(streams[0], STDOUT_FILENO) >= 0 && dup2(streams[1], STDERR_FILENO) >= 0);
    FIXTURE_MUST(close(file) == 0 && close(streams[0]) == 0 && close(streams[1]) == 0);
    *said = init_room_text(path, p);
    return status;
}

static int check_run(const char *more, int input, const char **said, apr_pool_t *p)
{
    char *argv[8] = { apr_pstrdup(p, "check") };
    const char *path;
    int file = said_open(&path, p), status;
    pid_t child;

    FIXTURE_MUST(chmod(folder, 0711) == 0);
    child = fork();
    FIXTURE_MUST(child >= 0);
    if (!child) {
        if (dup2(input, STDIN_FILENO) < 0 || dup2(file, STDOUT_FILENO) < 0 ||
            dup2(file, STDERR_FILENO) < 0)
            _exit(99);
        status = check_main(split(argv, more, p), argv, p);
        _exit(fflush(stdout) ? 98 : status);
    }
    FIXTURE_MUST(waitpid(child, &status, 0) == child && WIFEXITED(status) && close(file) == 0);
    *said = init_room_text(path, p);
    return WEXITSTATUS(status);
}

int init_room_check(const char *more, const char **said, apr_pool_t *p)
{
    return check_run(more, STDIN_FILENO, said, p);
}

int init_room_check_control(const char *more, scep_bytes frame, const char **said, apr_pool_t *p)
{
    int ends[2], status;

    /* small enough to be written before anybody reads */
    FIXTURE_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    FIXTURE_MUST(send(ends[0], frame.data, frame.len, MSG_DONTWAIT) == (ssize_t)frame.len);
    status = check_run(apr_pstrcat(p, "--control|", more, NULL), ends[1], said, p);
    FIXTURE_MUST(close(ends[0]) == 0 && close(ends[1]) == 0);
    return status;
}

X509 *init_room_certificate(const char *name, apr_pool_t *p)
{
    STACK_OF(X509) * certs;

    FIXTURE_MUST(!scep_certs_load(&certs, init_room_path(name, p), p));
    FIXTURE_MUST(sk_X509_num(certs) == 1);
    return sk_X509_value(certs, 0);
}
