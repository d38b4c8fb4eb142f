/* A worker's calls to scep-ca over kept connections. */
#include "ca_client.h"

#include "own.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* More idle connections than this are closed: a worker process has seldom more threads. */
#define KEPT_MOST 64
/* scep-ca greets at once or is not there; a call's whole time is not spent on finding out. */
#define GREETING_MOST apr_time_from_sec(5)
/* Connections tried for one call, counting those that ended before the call was sent. */
#define TRIES_MOST 4

struct scep_ca_client {
    struct sockaddr_un address;
    scep_bytes enrol_secret, mint_secret;
    apr_interval_time_t timeout;
    apr_thread_mutex_t *lock; /* of all below */
    int kept[KEPT_MOST];
    int kept_count;
};

/* One call: what is sent, what is expected. */
typedef struct call {
    scep_bytes frame;
    scep_verb answer;
    bool repeatable;
    scep_bytes body;          /* of the answer */
    apr_interval_time_t most; /* its longest time; 0: the client's */
} call;

static apr_status_t close_kept(void *data)
{
    scep_ca_client *client = data;

    while (client->kept_count > 0)
        close(client->kept[--client->kept_count]);
    return APR_SUCCESS;
}

static scep_bytes secret_copy(apr_pool_t *p, scep_bytes secret)
{
    unsigned char *copy = scep_secret(p, secret.len);

    if (secret.len)
        memcpy(copy, secret.data, secret.len);
    return (scep_bytes){ copy, secret.len };
}

const scep_err *scep_ca_client_make(scep_ca_client **out, const char *path, scep_bytes enrol_secret,
                                    scep_bytes mint_secret, apr_interval_time_t timeout,
                                    apr_pool_t *p)
{
    scep_ca_client *client = apr_pcalloc(p, sizeof(*client));

    if (strlen(path) >= sizeof(client->address.sun_path))
        return scep_fail(p, CONFIG, "socket path \"%s\" is longer than %d bytes", path,
                         (int)sizeof(client->address.sun_path) - 1);
    client->address.sun_family = AF_UNIX;
    strcpy(client->address.sun_path, path);
    client->enrol_secret = secret_copy(p, enrol_secret);
    client->mint_secret = secret_copy(p, mint_secret);
    client->timeout = timeout;
    if (apr_thread_mutex_create(&client->lock, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS)
        return scep_fail(p, INTERNAL, "no mutex");
    apr_pool_cleanup_register(p, client, close_kept, apr_pool_cleanup_null);
    *out = client;
    return NULL;
}

/* A kept connection that is still open; -1: none. One that reads ready was closed by scep-ca, as
 * it never speaks first. */
static int take_kept(scep_ca_client *client)
{
    for (;;) {
        struct pollfd pfd = { -1, POLLIN, 0 };

        apr_thread_mutex_lock(client->lock);
        if (client->kept_count > 0)
            pfd.fd = client->kept[--client->kept_count];
        apr_thread_mutex_unlock(client->lock);
        if (pfd.fd < 0 || poll(&pfd, 1, 0) == 0)
            return pfd.fd;
        close(pfd.fd);
    }
}

static void keep(scep_ca_client *client, int fd)
{
    apr_thread_mutex_lock(client->lock);
    if (client->kept_count < KEPT_MOST) {
        client->kept[client->kept_count++] = fd;
        fd = -1;
    }
    apr_thread_mutex_unlock(client->lock);
    if (fd >= 0)
        close(fd);
}

static const scep_err *greet(scep_ca_client *client, int fd, apr_time_t deadline, apr_pool_t *p)
{
    scep_wire_hello hello = { client->enrol_secret, client->mint_secret };
    scep_bytes body;
    int verb;

    SCEP_TRY(scep_wire_write(fd, scep_wire_put_hello(SCEP_VERB_HELLO, &hello, p), deadline, p));
    SCEP_TRY(scep_wire_read(fd, &verb, &body, deadline, p));
    if (verb != SCEP_VERB_WELCOME || body.len)
        return scep_fail(p, INTERNAL, "scep-ca answered the greeting with verb %d", verb);
    return NULL;
}

/* A connection to a local socket only waits where the backlog is full; SO_SNDTIMEO bounds that. */
static const scep_err *connect_new(int *out, scep_ca_client *client, apr_time_t deadline,
                                   apr_pool_t *p)
{
    apr_interval_time_t left = deadline - apr_time_now();
    struct timeval wait = { left / APR_USEC_PER_SEC, left % APR_USEC_PER_SEC };
    const scep_err *err;
    int fd;

    if (left <= 0)
        return scep_fail(p, UNAVAILABLE, "no answer in time");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return scep_fail(p, UNAVAILABLE, "no socket: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) != 0 ||
        connect(fd, (const struct sockaddr *)&client->address, sizeof(client->address)) != 0) {
        err = scep_fail(p, UNAVAILABLE, "cannot connect to \"%s\": %s", client->address.sun_path,
                        errno == EAGAIN ? "no answer in time" : strerror(errno));
        close(fd);
        return err;
    }
    *out = fd;
    return NULL;
}

static const scep_err *exchange(call *c, int fd, bool *sent, apr_time_t deadline, apr_pool_t *p)
{
    int verb;

    /* Where the write fails, scep-ca never holds the whole frame, so nothing was asked. */
    SCEP_TRY(scep_wire_write(fd, c->frame, deadline, p));
    *sent = true;
    SCEP_TRY(scep_wire_read(fd, &verb, &c->body, deadline, p));
    if (verb != (int)c->answer && verb != SCEP_VERB_REFUSED)
        return scep_fail(p, INTERNAL, "scep-ca answered with verb %d", verb);
    c->answer = (scep_verb)verb;
    return NULL;
}

/* One try of a call: how far it came. */
typedef struct progress {
    bool kept;  /* over a connection that was kept */
    bool sent;  /* the whole call was sent */
    bool broke; /* the connection ended, and there is time for another */
} progress;

static const scep_err *attempt(scep_ca_client *client, call *c, progress *how, apr_time_t deadline,
                               apr_pool_t *p)
{
    apr_time_t until = apr_time_now() + GREETING_MOST;
    const scep_err *err = NULL;
    int fd = how->kept ? take_kept(client) : -1;

    *how = (progress){ .kept = fd >= 0 };
    if (how->kept || until > deadline)
        until = deadline;
    if (!how->kept) {
        SCEP_TRY(connect_new(&fd, client, until, p));
        err = greet(client, fd, until, p);
    }
    if (!err) {
        until = deadline;
        err = exchange(c, fd, &how->sent, deadline, p);
    }
    how->broke = err && err->code == SCEP_UNAVAILABLE && apr_time_now() < until;
    if (err)
        close(fd);
    else
        keep(client, fd);
    return err;
}

/*
 * A connection that broke is replaced by a new one: freely while the call was not sent, once after
 * it was, if it may be repeated.
 */
static const scep_err *make_call(scep_ca_client *client, call *c, apr_pool_t *p)
{
    apr_time_t deadline = apr_time_now() + (c->most ? c->most : client->timeout);
    bool repeatable = c->repeatable;
    progress how = { .kept = true };

    for (int tries = 1;; tries++) {
        const scep_err *err = attempt(client, c, &how, deadline, p);

        if (!err || !how.broke || tries == TRIES_MOST || (how.sent && !repeatable))
            return err;
        if (how.sent)
            repeatable = false;
        how.kept = false;
    }
}

static const scep_err *refusal(const call *c, apr_pool_t *p)
{
    scep_wire_refused refused;

    if (c->answer != SCEP_VERB_REFUSED)
        return NULL;
    SCEP_TRY(scep_wire_get_refused(&refused, c->body, p));
    if (refused.code == SCEP_OK || refused.code >= SCEP_CODE_COUNT)
        return scep_fail(p, INTERNAL, "scep-ca refused with code %u", refused.code);
    return scep_err_make(p, (scep_code)refused.code, __FILE__, __LINE__, "%s", refused.detail);
}

const scep_err *scep_ca_client_identities(scep_wire_identities *out, scep_ca_client *client,
                                          const char *endpoint, apr_pool_t *p)
{
    scep_wire_endpoint_name name = { endpoint };
    call c = { scep_wire_put_endpoint_name(SCEP_VERB_BUNDLE, &name, p),
               SCEP_VERB_IDENTITIES,
               true,
               { NULL, 0 },
               0 };

    SCEP_TRY(make_call(client, &c, p));
    SCEP_TRY(refusal(&c, p));
    return scep_wire_get_identities(out, c.body, p);
}

const scep_err *scep_ca_client_verdict(scep_wire_verdict *out, scep_ca_client *client,
                                       scep_bytes frame, apr_interval_time_t most, apr_pool_t *p)
{
    call c = { frame, SCEP_VERB_VERDICT, true, { NULL, 0 }, most };

    SCEP_TRY(make_call(client, &c, p));
    SCEP_TRY(refusal(&c, p));
    return scep_wire_get_verdict(out, c.body, p);
}

const scep_err *scep_ca_client_mint(scep_wire_minted *out, scep_ca_client *client,
                                    const scep_wire_mint *request, apr_pool_t *p)
{
    call c = {
        scep_wire_put_mint(SCEP_VERB_MINT, request, p), SCEP_VERB_MINTED, false, { NULL, 0 }, 0
    };

    SCEP_TRY(make_call(client, &c, p));
    SCEP_TRY(refusal(&c, p));
    return scep_wire_get_minted(out, c.body, p);
}

const scep_err *scep_ca_client_status(scep_wire_state *out, scep_ca_client *client,
                                      apr_interval_time_t most, apr_pool_t *p)
{
    call c = { scep_wire_put_empty(SCEP_VERB_STATUS, p), SCEP_VERB_STATE, true, { NULL, 0 }, most };
    const scep_err *err;

    SCEP_TRY(make_call(client, &c, p));
    err = refusal(&c, p);
    if (err && err->code == SCEP_UNAVAILABLE) /* it said so itself, so it is not away */
        return scep_err_make(p, SCEP_TOO_OFTEN, err->file, err->line, "%s", err->detail);
    SCEP_TRY(err);
    return scep_wire_get_state(out, c.body, p);
}
