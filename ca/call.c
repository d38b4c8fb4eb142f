/* A call is run: the office is asked, and its answer written. */
#include "call.h"

#include "log.h"

#include <openssl/err.h>

static scep_bytes refused(const connection *c, const scep_err *err)
{
    return connection_refusal(c, err->code, err->detail);
}

static scep_bytes run_bundle(office *o, connection *c)
{
    scep_wire_identities out = { 0 };
    const scep_err *err = office_bundle(&out, o, &c->call.in.bundle, c->pool);

    return err ? refused(c, err) : scep_wire_put_identities(SCEP_VERB_IDENTITIES, &out, c->pool);
}

/* ENROL, RENEW, POLL or FIND */
static scep_bytes run_verdict(office *o, connection *c)
{
    scep_wire_verdict out = { 0 };

    if (c->call.verb == SCEP_VERB_ENROL)
        office_enrol(&out, o, &c->call.in.enrol, c->call.deadline, c->pool);
    else if (c->call.verb == SCEP_VERB_RENEW)
        office_renew(&out, o, &c->call.in.renew, c->call.deadline, c->pool);
    else if (c->call.verb == SCEP_VERB_POLL)
        office_poll(&out, o, &c->call.in.poll, c->call.deadline, c->pool);
    else
        office_find(&out, o, &c->call.in.find, c->pool);
    return scep_wire_put_verdict(SCEP_VERB_VERDICT, &out, c->pool);
}

static scep_bytes run_mint(office *o, connection *c)
{
    scep_wire_minted out = { 0 };
    const scep_err *err = office_mint(&out, o, &c->call.in.mint, c->pool);

    return err ? refused(c, err) : scep_wire_put_minted(SCEP_VERB_MINTED, &out, c->pool);
}

static scep_bytes run_status(office *o, connection *c)
{
    scep_wire_state out = { 0 };
    const scep_err *err = office_status(&out, o, c->pool);

    return err ? refused(c, err) : scep_wire_put_state(SCEP_VERB_STATE, &out, c->pool);
}

void call_run(office *o, connection *c)
{
    scep_bytes answer;
    const scep_err *err;

    /* what another call left in this thread's queue is no reason of this one's */
    ERR_clear_error();
    if (apr_time_now() >= c->call.deadline)
        answer = connection_refusal(c, SCEP_UNAVAILABLE, "waited too long in scep-ca's queue");
    else if (c->call.verb == SCEP_VERB_BUNDLE)
        answer = run_bundle(o, c);
    else if (c->call.verb == SCEP_VERB_MINT)
        answer = run_mint(o, c);
    else if (c->call.verb == SCEP_VERB_STATUS)
        answer = run_status(o, c);
    else
        answer = run_verdict(o, c);
    err = scep_wire_write(c->fd, answer, c->call.deadline, c->pool);
    c->broken = err != NULL;
    /* a worker that went away asks again by itself; an answer that is no frame is our fault */
    if (err && err->code == SCEP_INTERNAL)
        log_err(LOG_LEVEL_ERROR, "SCEP0230", "answer to a worker", err);
}
