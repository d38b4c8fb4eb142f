/* A connection of DCE/RPC: binding, and calls in fragments. */
#include "dcerpc_int.h"

#include <poll.h>
#include <string.h>

#define MAP_PORT 135
/* Kerberos takes three, SPNEGO one more at most. */
#define LEGS_MOST 6

/* ---- binding ---- */

/* One leg: what is sent, what comes back. */
static const scep_err *exchange_leg(dcerpc_pdu *pdu, dcerpc *c, bool is_first,
                                    const dcerpc_interface *interface,
                                    const dcerpc_verifier *verifier, scep_bytes token, moment d,
                                    apr_pool_t *p)
{
    size_t send_most;
    scep_bytes bind;

    c->call_id++;
    SCEP_TRY(dcerpc_put_bind(&bind, is_first ? DCERPC_BIND : DCERPC_ALTER_CONTEXT, c->call_id,
                             interface, verifier, token, p));
    SCEP_TRY(dcerpc_send(c, bind, d, p));
    SCEP_TRY(dcerpc_receive(pdu, c, d, p));
    if (pdu->type != (is_first ? DCERPC_BIND_ACK : DCERPC_ALTER_CONTEXT_RESP) ||
        pdu->call_id != c->call_id)
        return dcerpc_get_refusal(pdu, p);
    SCEP_TRY(dcerpc_get_accepted(&send_most, pdu, p));
    if (is_first)
        c->send_most = send_most;
    /* Without it a header could be changed on the way; every Windows since 2003 has it. */
    if (is_first && verifier->type && !(pdu->flags & DCERPC_SIGNS_HEADERS))
        return scep_fail(p, UNAVAILABLE, "the server does not sign headers");
    return NULL;
}

static bool is_of(const dcerpc_pdu *pdu, dcerpc_verifier verifier)
{
    return pdu->token.len && pdu->verifier.type == verifier.type &&
           pdu->verifier.level == verifier.level && pdu->verifier.context == verifier.context;
}

/* The legs after the first go in alter_context, not in auth3: that has no answer, so a server that
 * does not believe the last leg would say so only when it has the request. */
static const scep_err *authenticate(dcerpc *c, const dcerpc_interface *interface,
                                    const dcerpc_target *target, moment d, apr_pool_t *p)
{
    dcerpc_verifier verifier;
    dcerpc_pdu pdu;
    scep_bytes token;

    SCEP_TRY(dcerpc_auth_begin(&c->auth, &token, target, d, c->p, p));
    verifier = dcerpc_auth_verifier(c->auth);
    for (int leg = 0; leg < LEGS_MOST; leg++) {
        SCEP_TRY(exchange_leg(&pdu, c, leg == 0, interface, &verifier, token, d, p));
        if (dcerpc_auth_is_done(c->auth))
            return NULL;
        if (!is_of(&pdu, verifier))
            return scep_fail(p, UNAVAILABLE, "the server sent no token");
        SCEP_TRY(dcerpc_auth_step(&token, c->auth, pdu.token, p));
        if (!token.len) {
            if (dcerpc_auth_is_done(c->auth))
                return NULL;
            return scep_fail(p, UNAVAILABLE, "the authentication ended early");
        }
    }
    return scep_fail(p, UNAVAILABLE, "the authentication does not end");
}

const scep_err *dcerpc_bind(dcerpc *c, const dcerpc_interface *interface,
                            const dcerpc_target *target, moment d, apr_pool_t *p)
{
    const dcerpc_verifier none = { 0, 0, 0 };
    dcerpc_pdu pdu;

    if (target)
        return authenticate(c, interface, target, d, p);
    return exchange_leg(&pdu, c, true, interface, &none, (scep_bytes){ NULL, 0 }, d, p);
}

/* The endpoint mapper asks nobody who he is. Whoever answers in its place can but name a port where
 * the authentication fails. */
static const scep_err *map(unsigned int *port, const dcerpc_server *server,
                           const dcerpc_interface *interface, moment d, apr_pool_t *p)
{
    unsigned int at = server->map_port ? server->map_port : MAP_PORT;
    const scep_err *err;
    scep_bytes answer;
    bool asked;
    dcerpc *c;

    SCEP_TRY(dcerpc_connect(&c, server->target.host, at, dcerpc_login_aside(server->target.login),
                            d, p));
    err = dcerpc_bind(c, &dcerpc_map_interface, NULL, d, p);
    if (!err)
        err = dcerpc_call(&answer, &asked, c, DCERPC_MAP_OPNUM, dcerpc_map_ask(interface, p), d, p);
    dcerpc_close(c);
    return err ? err : dcerpc_map_read(port, answer, interface, p);
}

const scep_err *dcerpc_open(dcerpc **out, const dcerpc_server *server,
                            const dcerpc_interface *interface, moment d, apr_pool_t *p)
{
    unsigned int port = server->port;
    const scep_err *err;
    dcerpc *c;

    if (!port)
        SCEP_TRY(map(&port, server, interface, d, p));
    SCEP_TRY(dcerpc_connect(&c, server->target.host, port, dcerpc_login_aside(server->target.login),
                            d, p));
    err = dcerpc_bind(c, interface, &server->target, d, p);
    if (!err) {
        *out = c;
        return NULL;
    }
    if (c->auth) /* there was a ticket, and it did not do */
        dcerpc_login_forget(server->target.login);
    dcerpc_close(c);
    return err;
}

void dcerpc_close(dcerpc *c)
{
    apr_pool_destroy(c->p);
}

unsigned int dcerpc_port(const dcerpc *c)
{
    return c->port;
}

/* A server never speaks first: a connection that reads ready was closed by it. */
bool dcerpc_is_usable(const dcerpc *c)
{
    struct pollfd pfd = { c->fd, POLLIN, 0 };

    return !c->is_broken && poll(&pfd, 1, 0) == 0 && (!c->auth || dcerpc_auth_lasts(c->auth));
}

/* ---- calling ---- */

static const scep_err *send_request(bool *asked, dcerpc *c, uint16_t opnum, scep_bytes stub,
                                    moment d, apr_pool_t *p)
{
    const dcerpc_verifier none = { 0, 0, 0 };
    const dcerpc_verifier verifier = c->auth ? dcerpc_auth_verifier(c->auth) : none;
    /* whole units, lest padding make a fragment too long */
    const size_t most = (c->send_most - DCERPC_SEALED_MORE) & ~(size_t)15;
    int flags = DCERPC_FIRST;

    for (size_t at = 0; !(flags & DCERPC_LAST); flags &= ~DCERPC_FIRST) {
        const size_t left = stub.len - at;
        const scep_bytes part = { stub.data + at, left < most ? left : most };
        dcerpc_fragment fragment;

        at += part.len;
        if (at == stub.len)
            flags |= DCERPC_LAST;
        fragment = dcerpc_put_request(c->call_id, flags, opnum, left, part, &verifier, p);
        if (c->auth)
            SCEP_TRY(dcerpc_auth_seal(&fragment, c->auth, p));
        /* Until its last byte is on the way, a server has nothing that it could carry out. */
        *asked = (flags & DCERPC_LAST) != 0;
        SCEP_TRY(dcerpc_send(c, ndr_view(&fragment.pdu), d, p));
    }
    return NULL;
}

static const scep_err *receive_answer(ndr_out *answer, dcerpc *c, moment d, apr_pool_t *p)
{
    dcerpc_pdu pdu;

    do {
        const bool is_first = answer->data == NULL;
        scep_bytes stub;

        SCEP_TRY(dcerpc_receive(&pdu, c, d, p));
        if (pdu.type != DCERPC_RESPONSE || pdu.call_id != c->call_id)
            return dcerpc_get_refusal(&pdu, p);
        SCEP_TRY(dcerpc_get_response(&stub, &pdu, p));
        if (c->auth)
            SCEP_TRY(dcerpc_auth_open(&stub, c->auth, &pdu, c->in, p));
        else if (pdu.token.len)
            return scep_fail(p, UNAVAILABLE, "a token where none was agreed upon");
        if (is_first != ((pdu.flags & DCERPC_FIRST) != 0))
            return scep_fail(p, UNAVAILABLE, "the fragments of a response are in disorder");
        if (stub.len == 0 && !(pdu.flags & DCERPC_LAST))
            return scep_fail(p, UNAVAILABLE, "an empty fragment of a response");
        if (answer->len + stub.len > DCERPC_STUB_MOST)
            return scep_fail(p, UNAVAILABLE, "a response of more than %u bytes", DCERPC_STUB_MOST);
        ndr_put_raw(answer, stub);
    } while (!(pdu.flags & DCERPC_LAST));
    return NULL;
}

const scep_err *dcerpc_call(scep_bytes *answer, bool *asked, dcerpc *c, uint16_t opnum,
                            scep_bytes stub, moment d, apr_pool_t *p)
{
    ndr_out whole = { .p = p };
    const scep_err *err;

    *asked = false;
    if (c->is_broken)
        return scep_fail(p, UNAVAILABLE, "the connection broke before");
    if (stub.len > DCERPC_STUB_MOST)
        return scep_fail(p, UNAVAILABLE, "a request of more than %u bytes", DCERPC_STUB_MOST);
    c->call_id++;
    err = send_request(asked, c, opnum, stub, d, p);
    if (!err)
        err = receive_answer(&whole, c, d, p);
    c->is_broken = err != NULL;
    if (!err)
        *answer = ndr_view(&whole);
    return err;
}
