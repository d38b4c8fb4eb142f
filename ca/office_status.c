/* The office: what it counts, and what the status page tells. */
#include "config.h"

#include "office_int.h"

#include "certs.h"
#include "clock.h"

/* ---- counting ---- */

static void count(_Atomic uint64_t *of)
{
    atomic_fetch_add_explicit(of, 1, memory_order_relaxed);
}

static uint64_t read_count(const _Atomic uint64_t *of)
{
    return atomic_load_explicit(of, memory_order_relaxed);
}

void office_count_answer(office_endpoint *e, const scep_wire_verdict *verdict)
{
    if (!e)
        return;
    switch ((scep_wire_status)verdict->status) {
    case SCEP_STATUS_ISSUED:
        count(&e->counts.issued);
        break;
    case SCEP_STATUS_PENDING:
        count(&e->counts.pending);
        break;
    case SCEP_STATUS_REFUSED:
        count(&e->counts.refused);
        break;
    case SCEP_STATUS_LATER:
        count(&e->counts.later);
        break;
    }
}

void office_count_mint(office_endpoint *e, const scep_wire_minted *minted)
{
    if (e && minted->outcome == SCEP_MINT_DONE && minted->challenge)
        count(&e->counts.minted);
}

/* ---- telling ---- */

/* 0 before 1970: nobody's certificate. */
static uint64_t as_time(apr_int64_t seconds)
{
    return seconds > 0 ? (uint64_t)seconds : 0;
}

static const scep_err *tell_authority(scep_wire_authority_state *out, const office *o,
                                      const office_authority *a, apr_pool_t *p)
{
    const STACK_OF(X509) *chain = a->connector->chain;
    const scep_ra *ra = identities_now(a->identities)->ra[0];
    clerks_state asked = { 0 };

    if (o->clerks)
        (void)clerks_look(o->clerks, a->conf->name, &asked);
    *out = (scep_wire_authority_state){ .name = a->conf->name,
                                        .asks = (uint64_t)(asked.running + asked.queued),
                                        .left_alone = asked.open };
    out->subject = scep_name_line(X509_get_subject_name(sk_X509_value(chain, 0)), p);
    for (int i = 0; i < sk_X509_num(chain); i++)
        SCEP_TRY(scep_cert_ends(&out->ca_ends, sk_X509_value(chain, i), p));
    SCEP_TRY(scep_cert_ends(&out->ra_ends, ra->sign.cert, p));
    return scep_cert_ends(&out->ra_ends, ra->decrypt.cert, p);
}

static void tell_endpoint(scep_wire_endpoint_state *out, const office_endpoint *e)
{
    *out = (scep_wire_endpoint_state){
        .name = e->name,
        .authority = e->authority->conf->name,
        .most = (uint64_t)scep_settings_number(&e->settings, SCEP_SET_PasswordMax),
        .issued = read_count(&e->counts.issued),
        .refused = read_count(&e->counts.refused),
        .pending = read_count(&e->counts.pending),
        .later = read_count(&e->counts.later),
        .minted = read_count(&e->counts.minted),
    };
}

/* Job: what only the store knows. */
static const scep_err *ask_store(store_tx *tx, void *baton)
{
    scep_wire_state *out = baton;
    apr_int64_t now = apr_time_sec(scep_now());

    for (int i = 0; i < out->authorities->nelts; i++) {
        scep_wire_authority_state *a =
            &APR_ARRAY_IDX(out->authorities, i, scep_wire_authority_state);
        store_crl crl = { 0 };

        SCEP_TRY(store_crl_head(tx, a->name, &crl));
        a->crl_number = as_time(crl.number);
        a->crl_next = crl.number ? as_time(crl.next_update) : 0;
    }
    for (int i = 0; i < out->endpoints->nelts; i++) {
        scep_wire_endpoint_state *e = &APR_ARRAY_IDX(out->endpoints, i, scep_wire_endpoint_state);
        apr_int64_t unused, waiting, of_key, of_peer;

        SCEP_TRY(store_challenge_count(tx, e->name, now, &unused));
        SCEP_TRY(store_request_waiting(tx, e->name, "", "", now, &waiting, &of_key, &of_peer));
        e->unused = as_time(unused);
        e->waiting = as_time(waiting);
    }
    return NULL;
}

const scep_err *office_status(scep_wire_state *out, office *o, apr_pool_t *p)
{
    const scep_err *err;

    *out = (scep_wire_state){ .version = PACKAGE_VERSION,
                              .since = as_time(apr_time_sec(o->since)),
                              .detail = "" };
    out->authorities = apr_array_make(p, o->authorities->nelts, sizeof(scep_wire_authority_state));
    out->endpoints = apr_array_make(p, o->endpoints->nelts, sizeof(scep_wire_endpoint_state));
    for (int i = 0; i < o->authorities->nelts; i++)
        SCEP_TRY(tell_authority(apr_array_push(out->authorities), o,
                                APR_ARRAY_IDX(o->authorities, i, office_authority *), p));
    for (int i = 0; i < o->endpoints->nelts; i++)
        tell_endpoint(apr_array_push(out->endpoints),
                      APR_ARRAY_IDX(o->endpoints, i, office_endpoint *));
    /* as one that writes: where nothing can be recorded nothing is issued, though it can be read */
    err = o->store ? store_run(o->store, ask_store, out, p)
                   : scep_fail(p, UNAVAILABLE, "the database is not open");
    out->store = err ? 0 : 1;
    if (err)
        out->detail = err->detail;
    return NULL;
}
