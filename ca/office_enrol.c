/* The office: enrolments by a challenge, and what became of requests. */
#include "office_int.h"

#include "message.h"
#include "template.h"

static const scep_err *enrol(application *a, const scep_wire_enrol *in)
{
    SCEP_TRY(office_endpoint_wanted(&a->endpoint, a->o, in->endpoint, a->p));
    SCEP_TRY(office_authority_wanted(&a->authority, a->endpoint, in->authority, a->p));
    /* A remembered answer, too, is for PKCSReq only; policy says the same of new ones. */
    if (in->message_type != SCEP_PKCS_REQ)
        return scep_fail(a->p, BAD_REQUEST,
                         "messageType %u is no enrolment by a challenge; 19 (PKCSReq) is",
                         in->message_type);
    SCEP_TRY(scep_csr_read(&a->csr, in->csr, a->p));
    a->template = template_pick(a->authority->conf, &a->endpoint->settings, a->csr->key_usage);
    if (!a->template)
        return scep_fail(a->p, CONFIG, "the endpoint's template is not there");
    /* The worker saw to it that the CSR's key signed the message; RFC 8894 2.3. */
    a->key_hash = (scep_bytes){ a->csr->key_hash, sizeof(a->csr->key_hash) };
    return office_apply(a);
}

void office_enrol(scep_wire_verdict *out, office *o, const scep_wire_enrol *in, apr_time_t deadline,
                  apr_pool_t *p)
{
    application a = {
        .o = o,
        .verb = "enrol",
        .endpoint_name = in->endpoint,
        .peer = in->peer,
        .transaction_id = in->transaction_id,
        .message_type = (int)in->message_type,
        .begin = apr_time_now(),
        .deadline = deadline,
        .p = p,
    };
    const scep_err *err = enrol(&a, in);

    office_answer(out, &a, err);
}
