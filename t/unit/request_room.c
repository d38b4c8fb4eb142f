/* A queue to put requests into and to decide them. */
#include "request_room.h"

#include "clock.h"
#include "inventory.h"

const request_limits request_room_limits = { .most = 100, .days = 7 };

void at(apr_int64_t seconds)
{
    scep_clock_set(ROOM_START + apr_time_from_sec(seconds));
}

/* ---- putting into the queue ---- */

const scep_err *pend_in_store(store_tx *tx, void *baton)
{
    pend_job *j = baton;
    const scep_csr csr = { .der = scep_bytes_of("csr") };
    const request_facts facts = { .authority = "ca",
                                  .template_name = "template",
                                  .peer = j->peer,
                                  .subject = "CN=device",
                                  .transaction_id = scep_bytes_of("id\n"),
                                  .message_type = 19,
                                  .csr = &csr,
                                  .old = j->old };

    return request_pend(tx, j->t, &facts, j->limits, &j->id, &j->done);
}

const scep_err *pend_from(transaction *t, const char *peer, const request_limits *within,
                          const char **id)
{
    pend_job j = { .t = t, .peer = peer, .limits = within };
    const scep_err *err = store_run(room_store, pend_in_store, &j, room_pool);

    ck_assert(err || j.done == (j.id != NULL));
    *id = err ? NULL : j.id;
    return err;
}

const char *pend(const char *transaction_id, char key, char csr)
{
    const char *id;

    room_expect(pend_from(room_request("e", transaction_id, key, csr), "192.0.2.1",
                          &request_room_limits, &id),
                SCEP_OK);
    ck_assert_ptr_nonnull(id);
    return id;
}

transaction_answer found(const char *transaction_id, char key, char csr)
{
    transaction_answer answer;

    room_expect(room_find(room_request("e", transaction_id, key, csr), &answer), SCEP_OK);
    return answer;
}

/* ---- deciding ---- */

const scep_err *look_up(store_tx *tx, void *baton)
{
    decide_job *j = baton;

    return request_waiting(tx, j->id, &j->known);
}

const scep_err *decide_in_store(store_tx *tx, void *baton)
{
    decide_job *j = baton;
    apr_pool_t *p = store_tx_pool(tx);
    transaction *t;

    if (!j->cert)
        return request_denied(tx, j->known, "not known here", "root");
    SCEP_TRY(request_transaction(&t, j->known, p));
    transaction_set_issued(t, room_issued(j->cert), j->known->authority);
    SCEP_TRY(request_issued(tx, j->known, t, "root"));
    return inventory_record(tx, room_issued(j->cert), t, j->known->authority,
                            j->known->template_name);
}

const scep_err *decide(const char *id, X509 *cert)
{
    decide_job j = { .id = id, .cert = cert };

    SCEP_TRY(store_run(room_store, look_up, &j, room_pool));
    return store_run(room_store, decide_in_store, &j, room_pool);
}

static const scep_err *get_in_store(store_tx *tx, void *baton)
{
    decide_job *j = baton;

    return store_request_get(tx, j->id, &j->known);
}

const store_request *row_of(const char *id)
{
    decide_job j = { .id = id };

    room_expect(store_run(room_store, get_in_store, &j, room_pool), SCEP_OK);
    return j.known;
}
