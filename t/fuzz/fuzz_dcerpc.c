/* ca/dcerpc_pdu.h, and a connection to a server that says anything: the input is all it says. */
#include "fuzz.h"

#include "dcerpc_int.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_within(scep_bytes part, scep_bytes all)
{
    return !part.len || (part.data >= all.data && part.data + part.len <= all.data + all.len);
}

static void must_be_later(const scep_err *err)
{
    FIXTURE_MUST(err && err->code == SCEP_UNAVAILABLE);
}

static void read_pdu(scep_bytes all, apr_pool_t *p)
{
    const scep_err *err;
    size_t send_most;
    scep_bytes stub;
    dcerpc_pdu pdu;

    err = dcerpc_get(&pdu, all, p);
    if (err) {
        must_be_later(err);
        return;
    }
    FIXTURE_MUST(is_within(pdu.body, all) && is_within(pdu.token, all));
    FIXTURE_MUST(pdu.padding <= pdu.body.len);
    err = dcerpc_get_response(&stub, &pdu, p);
    FIXTURE_MUST(err ? err->code == SCEP_UNAVAILABLE
                     : is_within(stub, pdu.body) && stub.len >= pdu.padding);
    err = dcerpc_get_accepted(&send_most, &pdu, p);
    FIXTURE_MUST(err ? err->code == SCEP_UNAVAILABLE
                     : send_most >= 1432 && send_most <= DCERPC_FRAGMENT_MOST);
    must_be_later(dcerpc_get_refusal(&pdu, p));
}

/* As the endpoint mapper: a bind, a call, and what the answer says. */
static void converse(scep_bytes said, apr_pool_t *p)
{
    static const dcerpc_interface some = { "some", { 1 }, 0, 0 };
    const moment over = { 0 }; /* all there is has arrived: one try */
    dcerpc *c = apr_pcalloc(p, sizeof(*c));
    unsigned int port = 0;
    scep_bytes answer;
    bool asked = false;
    int pair[2];

    FIXTURE_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    FIXTURE_MUST(write(pair[1], said.data, said.len) == (ssize_t)said.len);
    c->fd = pair[0];
    if (!dcerpc_bind(c, &dcerpc_map_interface, NULL, over, p) &&
        !dcerpc_call(&answer, &asked, c, DCERPC_MAP_OPNUM, dcerpc_map_ask(&some, p), over, p)) {
        FIXTURE_MUST(asked && answer.len <= said.len && !c->is_broken);
        if (!dcerpc_map_read(&port, answer, &some, p))
            FIXTURE_MUST(port > 0 && port < 65536);
    } else {
        FIXTURE_MUST(!c->send_most || c->is_broken);
    }
    FIXTURE_MUST(close(pair[0]) == 0 && close(pair[1]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    const scep_bytes all = { data, size };

    read_pdu(all, p);
    if (size && size <= 16384) /* what a socket holds without a reader */
        converse(all, p);
    fuzz_end(p);
    return 0;
}
