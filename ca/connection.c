/* A worker's connection. */
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A greeting's body: two secrets, each after its length. */
#define GREETING_MOST ((size_t)2 * (4 + SCEP_WIRE_SECRET))

connection *connection_make(int fd)
{
    connection *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    /* a pool without a parent: connections come and go on the server's thread, while hands use
     * others */
    if (apr_pool_create_ex(&c->pool, NULL, NULL, NULL) != APR_SUCCESS) {
        free(c);
        return NULL;
    }
    c->fd = fd;
    c->since = apr_time_now();
    return c;
}

void connection_close(connection *c)
{
    close(c->fd);
    apr_pool_destroy(c->pool);
    free(c);
}

/* c->length is what counts in *held, so it stays 0 where the body is refused. */
static const scep_err *read_header(connection *c, atomic_size_t *held, size_t most)
{
    size_t length, before;

    SCEP_TRY(scep_wire_header((scep_bytes){ c->header, c->have }, &c->verb, &length, c->pool));
    if (!c->welcomed && length > GREETING_MOST)
        return scep_fail(c->pool, INTERNAL, "%lu bytes announced before the greeting",
                         (unsigned long)length);
    before = atomic_fetch_add(held, length);
    if (length > most || before > most - length) {
        atomic_fetch_sub(held, length);
        return scep_fail(c->pool, UNAVAILABLE, "%lu bytes of requests are held already",
                         (unsigned long)before);
    }
    c->length = length;
    c->body = scep_secret(c->pool, length);
    return NULL;
}

const scep_err *connection_read(connection_step *step, connection *c, atomic_size_t *held,
                                size_t most)
{
    *step = CONNECTION_WAITS;
    for (;;) {
        bool in_header = c->have < SCEP_WIRE_HEADER;
        unsigned char *to =
            in_header ? c->header + c->have : c->body + (c->have - SCEP_WIRE_HEADER);
        size_t want = (in_header ? 0 : c->length) + SCEP_WIRE_HEADER - c->have;
        ssize_t n;

        if (want == 0) {
            *step = CONNECTION_FRAME;
            return NULL;
        }
        n = recv(c->fd, to, want, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return NULL;
        if (n <= 0) {
            *step = CONNECTION_ENDED;
            return NULL;
        }
        if (c->have == 0)
            c->since = apr_time_now();
        c->have += (size_t)n;
        if (in_header && c->have == SCEP_WIRE_HEADER)
            SCEP_TRY(read_header(c, held, most));
    }
}

void connection_next(connection *c, atomic_size_t *held)
{
    if (c->have >= SCEP_WIRE_HEADER)
        atomic_fetch_sub(held, c->length);
    c->have = 0;
    c->length = 0;
    c->verb = 0;
    c->body = NULL;
    memset(&c->call, 0, sizeof(c->call));
    apr_pool_clear(c->pool);
    c->since = apr_time_now();
}

static scep_bytes body_of(const connection *c)
{
    return (scep_bytes){ c->body, c->length };
}

const scep_err *connection_hello(bool *mint_denied, connection *c, scep_bytes enrol_secret,
                                 scep_bytes mint_secret)
{
    scep_wire_hello hello;

    *mint_denied = false;
    if (c->verb != SCEP_VERB_HELLO)
        return scep_fail(c->pool, INTERNAL, "verb %d before the greeting", c->verb);
    SCEP_TRY(scep_wire_get_hello(&hello, body_of(c), c->pool));
    if (enrol_secret.len != SCEP_WIRE_SECRET || !scep_bytes_equal(hello.enrol_secret, enrol_secret))
        return scep_fail(c->pool, REFUSED, "wrong secret");
    if (mint_secret.len == SCEP_WIRE_SECRET && hello.mint_secret.len > 0) {
        c->may_mint = scep_bytes_equal(hello.mint_secret, mint_secret);
        *mint_denied = !c->may_mint;
    }
    c->welcomed = true;
    return NULL;
}

/* @param name of the endpoint that it is about; stays where it is about none */
static const scep_err *decode(const char **name, connection *c)
{
    call *in = &c->call;
    scep_bytes body = body_of(c);

    switch (in->verb) {
    case SCEP_VERB_BUNDLE:
        SCEP_TRY(scep_wire_get_endpoint_name(&in->in.bundle, body, c->pool));
        *name = in->in.bundle.endpoint;
        return NULL;
    case SCEP_VERB_ENROL:
        SCEP_TRY(scep_wire_get_enrol(&in->in.enrol, body, c->pool));
        *name = in->in.enrol.endpoint;
        return NULL;
    case SCEP_VERB_RENEW:
        SCEP_TRY(scep_wire_get_renew(&in->in.renew, body, c->pool));
        *name = in->in.renew.endpoint;
        return NULL;
    case SCEP_VERB_POLL:
        SCEP_TRY(scep_wire_get_poll(&in->in.poll, body, c->pool));
        *name = in->in.poll.endpoint;
        return NULL;
    case SCEP_VERB_FIND:
        SCEP_TRY(scep_wire_get_find(&in->in.find, body, c->pool));
        *name = in->in.find.endpoint;
        return NULL;
    case SCEP_VERB_MINT:
        SCEP_TRY(scep_wire_get_mint(&in->in.mint, body, c->pool));
        *name = in->in.mint.endpoint;
        return NULL;
    case SCEP_VERB_STATUS:
        if (body.len)
            return scep_fail(c->pool, INTERNAL, "a question for the state has a body");
        return NULL;
    default:
        return scep_fail(c->pool, REFUSED, "verb %d is not for workers", c->verb);
    }
}

const scep_err *connection_call(connection *c, const office *o, apr_time_t deadline)
{
    const char *name = NULL;

    c->call.verb = (scep_verb)c->verb;
    c->call.deadline = deadline;
    SCEP_TRY(decode(&name, c));
    if (c->verb == SCEP_VERB_MINT && !c->may_mint)
        return scep_fail(c->pool, REFUSED, "this httpd may not mint challenges");
    c->call.endpoint = name ? office_endpoint_find(o, name) : NULL;
    return NULL;
}

static bool is_answered_by_verdict(int verb)
{
    return verb == SCEP_VERB_ENROL || verb == SCEP_VERB_RENEW || verb == SCEP_VERB_POLL ||
           verb == SCEP_VERB_FIND;
}

scep_bytes connection_refusal(const connection *c, scep_code code, const char *detail)
{
    const office_endpoint *endpoint = c->call.endpoint;

    if (is_answered_by_verdict(c->verb) && code == SCEP_UNAVAILABLE) {
        scep_wire_verdict later = { .status = SCEP_STATUS_LATER,
                                    .code = SCEP_UNAVAILABLE,
                                    .detail = detail,
                                    .generation = endpoint ? office_generation(endpoint) : 0 };

        return scep_wire_put_verdict(SCEP_VERB_VERDICT, &later, c->pool);
    }
    return scep_wire_put_refused(SCEP_VERB_REFUSED, &(scep_wire_refused){ code, detail }, c->pool);
}
