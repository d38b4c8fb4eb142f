/* The schema: made, and brought up from versions 1 to 4. */
#include "store_int.h"

#include <apr_strings.h>

#define ASK_VERSION "SELECT value FROM scep_meta WHERE name = 'schema'"

/*
 * "transaction", "user", "key", "by" and "number" are words of SQL somewhere: columns are called
 * otherwise. An enrolment writes into every index of its three tables, so there is none more than
 * the statements need; those with a WHERE cost it nothing.
 */
static const char *const schema[] = {
    "CREATE TABLE IF NOT EXISTS scep_meta (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",

    "CREATE TABLE IF NOT EXISTS scep_endpoint (name TEXT NOT NULL PRIMARY KEY,"
    " unused BIGINT NOT NULL)",

    "CREATE TABLE IF NOT EXISTS scep_challenge (endpoint TEXT NOT NULL, hash TEXT NOT NULL,"
    " state TEXT NOT NULL, username TEXT NOT NULL, peer TEXT NOT NULL, created BIGINT NOT NULL,"
    " expires BIGINT NOT NULL, bound_subject TEXT NOT NULL DEFAULT '',"
    " bound_names TEXT NOT NULL DEFAULT '', bound_template TEXT NOT NULL DEFAULT '',"
    " templates TEXT NOT NULL DEFAULT '', PRIMARY KEY (endpoint, hash))",
    "CREATE INDEX IF NOT EXISTS scep_challenge_expires"
    " ON scep_challenge (endpoint, state, expires)",

    "CREATE TABLE IF NOT EXISTS scep_single_password (endpoint TEXT NOT NULL PRIMARY KEY,"
    " sealed TEXT NOT NULL, hash TEXT NOT NULL, username TEXT NOT NULL, peer TEXT NOT NULL,"
    " templates TEXT NOT NULL, created BIGINT NOT NULL)",

    "CREATE TABLE IF NOT EXISTS scep_transaction (endpoint TEXT NOT NULL,"
    " transaction_id TEXT NOT NULL, key_hash TEXT NOT NULL, csr_hash TEXT NOT NULL,"
    " authority TEXT NOT NULL, serial TEXT NOT NULL, created BIGINT NOT NULL,"
    " ends BIGINT NOT NULL, state TEXT NOT NULL DEFAULT 'issued',"
    " request_id TEXT NOT NULL DEFAULT '', bound BIGINT NOT NULL DEFAULT 0,"
    " PRIMARY KEY (endpoint, transaction_id, key_hash, csr_hash))",
    "CREATE INDEX IF NOT EXISTS scep_transaction_bound ON scep_transaction (bound)",

    "CREATE TABLE IF NOT EXISTS scep_certificate (authority TEXT NOT NULL,"
    " serial TEXT NOT NULL, subject TEXT NOT NULL, template_name TEXT NOT NULL,"
    " endpoint TEXT NOT NULL, transaction_id TEXT NOT NULL, key_hash TEXT NOT NULL,"
    " der TEXT NOT NULL, not_before BIGINT NOT NULL, not_after BIGINT NOT NULL,"
    " issued BIGINT NOT NULL, revoked BIGINT NOT NULL DEFAULT 0,"
    " reason BIGINT NOT NULL DEFAULT 0, PRIMARY KEY (authority, serial))",
    "CREATE INDEX IF NOT EXISTS scep_certificate_revoked ON scep_certificate"
    " (authority, not_after, serial, revoked, reason) WHERE revoked > 0",

    "CREATE TABLE IF NOT EXISTS scep_request (id TEXT NOT NULL PRIMARY KEY,"
    " endpoint TEXT NOT NULL, authority TEXT NOT NULL, template_name TEXT NOT NULL,"
    " transaction_id TEXT NOT NULL, key_hash TEXT NOT NULL, csr_hash TEXT NOT NULL,"
    " transaction_text TEXT NOT NULL, subject TEXT NOT NULL, peer TEXT NOT NULL,"
    " message_type BIGINT NOT NULL, csr TEXT NOT NULL, old_cert TEXT NOT NULL,"
    " challenged BIGINT NOT NULL, state TEXT NOT NULL,"
    " reason TEXT NOT NULL, decided_by TEXT NOT NULL, serial TEXT NOT NULL,"
    " created BIGINT NOT NULL, ends BIGINT NOT NULL, decided BIGINT NOT NULL,"
    " cookie TEXT NOT NULL DEFAULT '', next_ask BIGINT NOT NULL DEFAULT 0,"
    " answer TEXT NOT NULL DEFAULT '')",
    "CREATE INDEX IF NOT EXISTS scep_request_state ON scep_request (state, id)",
    "CREATE INDEX IF NOT EXISTS scep_request_ends ON scep_request (state, ends)",
    "CREATE INDEX IF NOT EXISTS scep_request_waiting ON scep_request (endpoint, ends)"
    " WHERE decided = 0",
    "CREATE INDEX IF NOT EXISTS scep_request_key ON scep_request (endpoint, key_hash, ends)"
    " WHERE decided = 0",
    "CREATE INDEX IF NOT EXISTS scep_request_peer ON scep_request (endpoint, peer, ends)"
    " WHERE decided = 0",
    "CREATE INDEX IF NOT EXISTS scep_request_due ON scep_request (authority, next_ask)"
    " WHERE next_ask > 0",

    "CREATE TABLE IF NOT EXISTS scep_crl (authority TEXT NOT NULL PRIMARY KEY,"
    " wanted BIGINT NOT NULL, holds BIGINT NOT NULL, crl_number BIGINT NOT NULL,"
    " this_update BIGINT NOT NULL, next_update BIGINT NOT NULL, der TEXT NOT NULL)",

    "CREATE TABLE IF NOT EXISTS scep_ra (authority TEXT NOT NULL, id TEXT NOT NULL,"
    " sign_cert TEXT NOT NULL, sign_key TEXT NOT NULL, decrypt_cert TEXT NOT NULL,"
    " decrypt_key TEXT NOT NULL, created BIGINT NOT NULL, ends BIGINT NOT NULL,"
    " PRIMARY KEY (authority, id))",

    "CREATE TABLE IF NOT EXISTS scep_lease (name TEXT NOT NULL PRIMARY KEY,"
    " holder TEXT NOT NULL, ends BIGINT NOT NULL)",
};

/*
 * From version 1, before the list above makes what is new. What was recorded then was issued, and
 * "ends" was the end of its certificate: now half of its life, for which the time of
 * issuance has to stand for notBefore. Defaults are for a node of version 1 that was not
 * stopped.
 */
static const char *const from_1[] = {
    "ALTER TABLE scep_challenge ADD COLUMN bound_subject TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_challenge ADD COLUMN bound_names TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_challenge ADD COLUMN bound_template TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_transaction ADD COLUMN state TEXT NOT NULL DEFAULT 'issued'",
    "ALTER TABLE scep_transaction ADD COLUMN request_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_transaction ADD COLUMN bound BIGINT NOT NULL DEFAULT 0",
    "UPDATE scep_transaction SET bound = ends, ends = created + (ends - created) / 2",
    "DROP INDEX IF EXISTS scep_transaction_ends",
    "ALTER TABLE scep_certificate ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE scep_certificate ADD COLUMN reason BIGINT NOT NULL DEFAULT 0",
    "DROP INDEX IF EXISTS scep_certificate_not_after",
};

/* From version 2, and from 1 after what stands above. */
static const char *const from_2[] = {
    "ALTER TABLE scep_challenge ADD COLUMN templates TEXT NOT NULL DEFAULT ''",
};

/*
 * From version 3, and from older ones after what stands above. Bindings had a table of their own: a
 * transaction of a key without one was proven by a certificate. Of a key that has one it may have
 * been proven too: nothing in its row tells, so it is left as it is, and looked up there
 * (store_int.h). A row may have ended before its binding did.
 *
 * The table stays, without its rows, so that a node of an older version that was not stopped meets
 * no errors. Right it is not: it sees no binding of before, so that another key may take a
 * transactionID; it finds no renewal that has its STORE_PROVEN; and its own renewals hold their
 * transactionID. Hence docs/operations.md has such nodes stopped first.
 */
#define OF_ITS_BINDING                                                   \
    " FROM scep_binding"                                                 \
    " WHERE scep_binding.endpoint = scep_transaction.endpoint"           \
    " AND scep_binding.transaction_id = scep_transaction.transaction_id" \
    " AND scep_binding.key_hash = scep_transaction.key_hash"
static const char *const from_3[] = {
    "UPDATE scep_transaction SET transaction_id = '" STORE_PROVEN "' || transaction_id"
    " WHERE NOT EXISTS (SELECT scep_binding.ends" OF_ITS_BINDING ")",
    "UPDATE scep_transaction SET bound = (SELECT scep_binding.ends" OF_ITS_BINDING ")"
    " WHERE EXISTS (SELECT scep_binding.ends" OF_ITS_BINDING
    " AND scep_binding.ends > scep_transaction.bound)",
    "DELETE FROM scep_binding",
    "DROP INDEX IF EXISTS scep_binding_ends",
    "DROP INDEX IF EXISTS scep_certificate_serial",
    "DROP INDEX IF EXISTS scep_certificate_revoked",
};

/*
 * From version 4, and from older ones after what stands above (those before 2 have no table of
 * requests yet: the one that is made then has all columns). A node of version 4 that was not
 * stopped lets its requests wait as ever, and counts its own only.
 */
static const char *const from_4[] = {
    "ALTER TABLE scep_request ADD COLUMN cookie TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_request ADD COLUMN next_ask BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE scep_request ADD COLUMN answer TEXT NOT NULL DEFAULT ''",
    "UPDATE scep_request SET decided = ends WHERE state = 'expired'",
    "DROP INDEX IF EXISTS scep_request_waiting",
    "DROP INDEX IF EXISTS scep_request_key",
    "DROP INDEX IF EXISTS scep_request_peer",
};
#define REMEMBER_VERSION "UPDATE scep_meta SET value = %d WHERE name = 'schema'"

static bool run_all(store_conn *c, const char *const *sql, size_t n, apr_pool_t *p)
{
    bool done = true;

    for (size_t i = 0; done && i < n; i++)
        done = store_conn_exec(c, sql[i], p);
    return done;
}

static bool make(store_conn *c, apr_pool_t *p)
{
    return run_all(c, schema, sizeof(schema) / sizeof(*schema), p);
}

static const scep_err *create(store_conn *c, apr_pool_t *p)
{
    const char *remember = apr_psprintf(p,
                                        "INSERT INTO scep_meta (name, value) VALUES ('schema', %d)"
                                        " ON CONFLICT DO NOTHING",
                                        STORE_SCHEMA);

    if (store_conn_exec(c, c->begin, p) && make(c, p) && store_conn_exec(c, remember, p) &&
        store_conn_exec(c, c->commit, p))
        return NULL;
    return scep_fail(p, CONFIG, "the schema cannot be created: %s", c->why);
}

/* A version that can be brought up. */
static bool is_older(const char *version)
{
    return apr_atoi64(version) >= 1 && apr_atoi64(version) < STORE_SCHEMA;
}

#define STEP(c, from, p) run_all((c), (from), sizeof(from) / sizeof(*(from)), (p))

static bool bring_up(store_conn *c, apr_int64_t version, apr_pool_t *p)
{
    return (version > 1 || STEP(c, from_1, p)) && (version > 2 || STEP(c, from_2, p)) &&
           (version > 3 || STEP(c, from_3, p)) && (version < 2 || STEP(c, from_4, p));
}

/* The row is locked before its value is believed: where another node was faster, there is nothing
 * left to do. */
static bool upgrade_in_transaction(store_conn *c, apr_pool_t *p)
{
    const char *value = NULL;

    if (!store_conn_exec(c, "UPDATE scep_meta SET value = value WHERE name = 'schema'", p))
        return false;
    if (!store_conn_text(c, ASK_VERSION, &value, p)) {
        store_conn_fault(c, 1, p);
        return false;
    }
    if (!is_older(value))
        return true;
    return bring_up(c, apr_atoi64(value), p) && make(c, p) &&
           store_conn_exec(c, apr_psprintf(p, REMEMBER_VERSION, STORE_SCHEMA), p);
}

static const scep_err *upgrade(store_conn *c, const char *from, apr_pool_t *p)
{
    if (store_conn_exec(c, c->begin, p) && upgrade_in_transaction(c, p) &&
        store_conn_exec(c, c->commit, p))
        return NULL;
    return scep_fail(p, CONFIG,
                     "the schema cannot be upgraded from version %s, it is as it was: %s", from,
                     c->why);
}

const scep_err *store_schema_ready(store_conn *c, apr_pool_t *p)
{
    const char *value = NULL;

    if (!store_conn_text(c, ASK_VERSION, &value, p))
        SCEP_TRY(create(c, p));
    else if (is_older(value))
        SCEP_TRY(upgrade(c, value, p));
    if (!store_conn_text(c, ASK_VERSION, &value, p))
        return scep_fail(p, CONFIG, "the schema's version cannot be read: %s",
                         apr_dbd_error(c->driver, c->handle, 1));
    if (apr_atoi64(value) != STORE_SCHEMA)
        return scep_fail(p, CONFIG,
                         "the database has schema version %s, this scep-ca knows %d: run the "
                         "version of mod_scep that wrote it, or a newer one",
                         value, STORE_SCHEMA);
    return NULL;
}
