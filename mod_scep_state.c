/* What httpd's parent knows of scep-ca across restarts. */
#include "mod_scep_state.h"

#include <apr_strings.h>
#include <errno.h>
#include <signal.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixd.h>

#define STATE_KEY "mod_scep: state, version 2"
#define BACKLOG 511
/* One that served for less is started again more and more slowly. */
#define QUICK_DEATH apr_time_from_sec(10)
#define PAUSE_MOST 30
#define LARGEST_PID 4194304 /* Linux: PID_MAX_LIMIT */

scep_state *scep_state_find(server_rec *s)
{
    void *found = NULL;

    (void)apr_pool_userdata_get(&found, STATE_KEY, s->process->pool);
    return found;
}

static const scep_err *make_path(const char **out, pid_t parent, apr_pool_t *p)
{
    *out = ap_runtime_dir_relative(p, apr_psprintf(p, "scep.%" APR_PID_T_FMT ".sock", parent));
    if (!*out || strlen(*out) >= sizeof(((scep_state *)NULL)->path))
        return scep_fail(p, CONFIG,
                         "the path of scep-ca's socket, \"%s\", is longer than %d bytes: set "
                         "DefaultRuntimeDir to a shorter one",
                         *out ? *out : "", (int)sizeof(((scep_state *)NULL)->path) - 1);
    return NULL;
}

const scep_err *scep_state_check(apr_pool_t *p)
{
    const char *path;

    return make_path(&path, LARGEST_PID, p);
}

static const scep_err *set_path(scep_state *st, apr_pool_t *p)
{
    const char *path;

    SCEP_TRY(make_path(&path, st->parent, p));
    strcpy(st->path, path);
    /* left behind by a process that had this one's number */
    if (unlink(path) != 0 && errno != ENOENT)
        return scep_fail(p, CONFIG, "cannot remove \"%s\": %s", path, strerror(errno));
    return NULL;
}

/* Mode 0600: where it is httpd's User's, nobody else's processes can even connect. */
static const scep_err *listen_at(int *out, const char *path, apr_pool_t *p)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const scep_err *err;
    mode_t before;
    int fd, rc;

    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return scep_fail(p, CONFIG, "no socket: %s", strerror(errno));
    before = umask(0177);
    rc = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    (void)umask(before);
    if (rc != 0 || listen(fd, BACKLOG) != 0) {
        err =
            scep_fail(p, CONFIG, "cannot listen at \"%s\": %s; DefaultRuntimeDir names the folder",
                      path, strerror(errno));
        close(fd);
        return err;
    }
    *out = fd;
    return NULL;
}

const scep_err *scep_state_offer(scep_state *st, apr_pool_t *p)
{
    struct stat now;
    int fd;

    /* the scep-ca that has the old listener goes on with the connections that it has */
    if (lstat(st->path, &now) != 0 && errno == ENOENT) {
        SCEP_TRY(listen_at(&fd, st->path, p));
        close(st->listener);
        st->listener = fd;
    }
    if (geteuid() == 0 && lchown(st->path, ap_unixd_config.user_id, (gid_t)-1) != 0)
        return scep_fail(p, CONFIG, "cannot give \"%s\" to httpd's User: %s", st->path,
                         strerror(errno));
    return NULL;
}

const scep_err *scep_state_make(scep_state **out, server_rec *s, apr_pool_t *p)
{
    scep_state *st = apr_pcalloc(s->process->pool, sizeof(*st));

    st->parent = getpid();
    st->listener = -1;
    if (RAND_bytes(st->enrol_secret, sizeof(st->enrol_secret)) != 1)
        return scep_fail(p, CONFIG, "no random bytes");
    SCEP_TRY(set_path(st, p));
    SCEP_TRY(listen_at(&st->listener, st->path, p));
    /* _set copies the key, _setn would keep a pointer into this module */
    if (apr_pool_userdata_set(st, STATE_KEY, NULL, s->process->pool) != APR_SUCCESS)
        return scep_fail(p, CONFIG, "no memory");
    *out = st;
    return NULL;
}

const scep_err *scep_state_set_minting(scep_state *st, bool mints, apr_pool_t *p)
{
    if (mints && !st->mints && RAND_bytes(st->mint_secret, sizeof(st->mint_secret)) != 1)
        return scep_fail(p, CONFIG, "no random bytes");
    if (!mints)
        OPENSSL_cleanse(st->mint_secret, sizeof(st->mint_secret));
    st->mints = mints;
    return NULL;
}

scep_bytes scep_state_enrol_secret(const scep_state *st)
{
    return (scep_bytes){ st->enrol_secret, sizeof(st->enrol_secret) };
}

scep_bytes scep_state_mint_secret(const scep_state *st)
{
    return (scep_bytes){ st->mint_secret, st->mints ? sizeof(st->mint_secret) : 0 };
}

int scep_state_living(const scep_state *st, pid_t pid)
{
    for (int i = 0; i < st->living_count; i++) {
        if (st->living[i].pid == pid)
            return i;
    }
    return -1;
}

void scep_state_forget(scep_state *st, pid_t pid)
{
    int i = scep_state_living(st, pid);

    if (i < 0)
        return;
    close(st->living[i].control);
    st->living[i] = st->living[--st->living_count];
}

uint32_t scep_state_pause(scep_state *st, bool was_ready)
{
    if (was_ready && apr_time_now() - st->started >= QUICK_DEATH)
        st->quick_deaths = 0;
    else if (st->quick_deaths < 6)
        st->quick_deaths++;
    if (!st->quick_deaths)
        return 0;
    return st->quick_deaths == 6 ? PAUSE_MOST : 1u << (st->quick_deaths - 1);
}

void scep_state_drain(scep_state *st, apr_pool_t *p)
{
    scep_bytes frame = scep_wire_put_empty(SCEP_VERB_DRAIN, p);

    for (int i = 0; i < st->living_count; i++) {
        const scep_living *old = &st->living[i];

        if (old->pid == st->current)
            continue;
        /* it is our child until ended() is called, so the number is nobody else's */
        if (scep_wire_write(old->control, frame, 0, p))
            (void)kill(old->pid, SIGTERM);
    }
}

/* At most twice the largest: what is outgrown stays in the process's pool. */
void scep_state_keep_ready(scep_state *st, scep_bytes body, server_rec *s)
{
    if (body.len > st->ready_room) {
        st->ready_room = 2 * body.len;
        st->ready = apr_palloc(s->process->pool, st->ready_room);
    }
    if (body.len)
        memcpy(st->ready, body.data, body.len);
    st->ready_len = body.len;
}

void scep_state_close(scep_state *st)
{
    if (st->listener >= 0)
        close(st->listener);
    st->listener = -1;
    while (st->living_count > 0)
        close(st->living[--st->living_count].control);
}
