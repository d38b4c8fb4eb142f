/* Databases as former versions left them. */
#include "store_versions.h"
#include "store_room.h"

/* A database as version 1 left it: its tables, and what stands in them. */
static const char *const version_1[] = {
    "CREATE TABLE scep_meta (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",
    "CREATE TABLE scep_endpoint (name TEXT NOT NULL PRIMARY KEY, unused BIGINT NOT NULL)",
    "CREATE TABLE scep_challenge (endpoint TEXT NOT NULL, hash TEXT NOT NULL,"
    " state TEXT NOT NULL, username TEXT NOT NULL, peer TEXT NOT NULL, created BIGINT NOT NULL,"
    " expires BIGINT NOT NULL, PRIMARY KEY (endpoint, hash))",
    "CREATE INDEX scep_challenge_expires ON scep_challenge (endpoint, state, expires)",
    "CREATE TABLE scep_binding (endpoint TEXT NOT NULL, transaction_id TEXT NOT NULL,"
    " key_hash TEXT NOT NULL, ends BIGINT NOT NULL, PRIMARY KEY (endpoint, transaction_id))",
    "CREATE INDEX scep_binding_ends ON scep_binding (ends)",
    "CREATE TABLE scep_transaction (endpoint TEXT NOT NULL, transaction_id TEXT NOT NULL,"
    " key_hash TEXT NOT NULL, csr_hash TEXT NOT NULL, authority TEXT NOT NULL,"
    " serial TEXT NOT NULL, created BIGINT NOT NULL, ends BIGINT NOT NULL,"
    " PRIMARY KEY (endpoint, transaction_id, key_hash, csr_hash))",
    "CREATE INDEX scep_transaction_ends ON scep_transaction (ends)",
    "CREATE TABLE scep_certificate (authority TEXT NOT NULL, serial TEXT NOT NULL,"
    " subject TEXT NOT NULL, template_name TEXT NOT NULL, endpoint TEXT NOT NULL,"
    " transaction_id TEXT NOT NULL, key_hash TEXT NOT NULL, der TEXT NOT NULL,"
    " not_before BIGINT NOT NULL, not_after BIGINT NOT NULL, issued BIGINT NOT NULL,"
    " PRIMARY KEY (authority, serial))",
    "CREATE INDEX scep_certificate_not_after ON scep_certificate (not_after)",

    "INSERT INTO scep_meta VALUES ('schema', 1)",
    "INSERT INTO scep_endpoint VALUES ('e', 1)",
    "INSERT INTO scep_challenge VALUES ('e', 'h', 'fresh', 'admin', 'peer', 1000, 9000)",
    "INSERT INTO scep_binding VALUES ('e', 't', 'k', 3000)",
    "INSERT INTO scep_transaction VALUES ('e', 't', 'k', 'c', 'ca', '0A', 1000, 3000)",
    "INSERT INTO scep_certificate VALUES ('ca', '0A', 'CN=x', 'template', 'e', 't', 'k',"
    " 'ZGVy', 999, 3000, 1000)",
};

/* And what version 2 added to what is read here; the rest is made anew by any version. */
static const char *const to_version_2[] = {
    "ALTER TABLE scep_challenge ADD COLUMN bound_subject TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_challenge ADD COLUMN bound_names TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_challenge ADD COLUMN bound_template TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_transaction ADD COLUMN state TEXT NOT NULL DEFAULT 'issued'",
    "ALTER TABLE scep_transaction ADD COLUMN request_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE scep_transaction ADD COLUMN bound BIGINT NOT NULL DEFAULT 0",
    "UPDATE scep_transaction SET bound = 3000, ends = 2000",
    "DROP INDEX scep_transaction_ends",
    "CREATE INDEX scep_transaction_bound ON scep_transaction (bound)",
    "ALTER TABLE scep_certificate ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE scep_certificate ADD COLUMN reason BIGINT NOT NULL DEFAULT 0",
    "DROP INDEX scep_certificate_not_after",
    "CREATE TABLE scep_request (id TEXT NOT NULL PRIMARY KEY,"
    " endpoint TEXT NOT NULL, authority TEXT NOT NULL, template_name TEXT NOT NULL,"
    " transaction_id TEXT NOT NULL, key_hash TEXT NOT NULL, csr_hash TEXT NOT NULL,"
    " transaction_text TEXT NOT NULL, subject TEXT NOT NULL, peer TEXT NOT NULL,"
    " message_type BIGINT NOT NULL, csr TEXT NOT NULL, old_cert TEXT NOT NULL,"
    " challenged BIGINT NOT NULL, state TEXT NOT NULL,"
    " reason TEXT NOT NULL, decided_by TEXT NOT NULL, serial TEXT NOT NULL,"
    " created BIGINT NOT NULL, ends BIGINT NOT NULL, decided BIGINT NOT NULL)",
    "UPDATE scep_meta SET value = 2 WHERE name = 'schema'",
};

/* What version 3 added, and a renewal, which had no binding, beside a transactionID of another
 * key. */
static const char *const to_version_3[] = {
    "ALTER TABLE scep_challenge ADD COLUMN templates TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX scep_certificate_serial ON scep_certificate (serial)",
    "INSERT INTO scep_transaction (endpoint, transaction_id, key_hash, csr_hash, state, authority,"
    " serial, created, ends, bound) VALUES ('e', 't', 'm', 'd', 'issued', 'ca', '0C', 1100, 3000,"
    " 3000), ('e', 'u', 'm', 'd', 'issued', 'ca', '0D', 1100, 3000, 3000)",
    "UPDATE scep_meta SET value = 3 WHERE name = 'schema'",
};

/* Renewals signed by the key that holds their transactionID: one that was issued, two that wait.
 * Beside them what version 3 made of a request that was issued until 3000 and asked again: its row
 * ends with the waiting, its binding does not. */
static const char *const of_one_key[] = {
    "INSERT INTO scep_transaction (endpoint, transaction_id, key_hash, csr_hash, state, authority,"
    " serial, request_id, created, ends, bound) VALUES"
    " ('e', 't', 'k', 'i', 'issued', 'ca', '0A', '', 1100, 3000, 3000),"
    " ('e', 't', 'k', 'p', 'pending', '', '', 'r1', 1200, 2500, 2500),"
    " ('e', 't', 'k', 'q', 'pending', '', '', 'r2', 1200, 2500, 2500),"
    " ('e', 'b', 'k', 'c', 'pending', '', '', 'r3', 1200, 1400, 1400)",
    "INSERT INTO scep_binding VALUES ('e', 'b', 'k', 3000)",
    "INSERT INTO scep_request (id, endpoint, authority, template_name, transaction_id, key_hash,"
    " csr_hash, transaction_text, subject, peer, message_type, csr, old_cert, challenged, state,"
    " reason, decided_by, serial, created, ends, decided) VALUES"
    " ('r1', 'e', 'ca', 'template', 't', 'k', 'p', 't', 'CN=x', '', 17, 'ZGVy', 'ZGVy', 0,"
    " 'pending', '', '', '', 1200, 2500, 0),"
    " ('r2', 'e', 'ca', 'template', 't', 'k', 'q', 't', 'CN=x', '', 17, 'ZGVy', 'ZGVy', 0,"
    " 'pending', '', '', '', 1200, 2500, 0)",
};

/* What version 4 took away, and requests of each of its states. */
static const char *const to_version_4[] = {
    "UPDATE scep_transaction SET transaction_id = '~' || transaction_id WHERE key_hash = 'm'",
    "DELETE FROM scep_binding",
    "DROP INDEX scep_binding_ends",
    "DROP INDEX scep_certificate_serial",
    "CREATE INDEX scep_request_state ON scep_request (state, id)",
    "CREATE INDEX scep_request_ends ON scep_request (state, ends)",
    "CREATE INDEX scep_request_waiting ON scep_request (endpoint, ends) WHERE state = 'pending'",
    "CREATE INDEX scep_request_key ON scep_request (endpoint, key_hash, ends)"
    " WHERE state = 'pending'",
    "CREATE INDEX scep_request_peer ON scep_request (endpoint, peer, ends)"
    " WHERE state = 'pending'",
    "INSERT INTO scep_request (id, endpoint, authority, template_name, transaction_id, key_hash,"
    " csr_hash, transaction_text, subject, peer, message_type, csr, old_cert, challenged, state,"
    " reason, decided_by, serial, created, ends, decided) VALUES"
    " ('r1', 'e', 'ca', 'template', 't', 'k', 'p', 't', 'CN=x', '', 19, 'ZGVy', '', 1,"
    " 'pending', '', '', '', 1200, 2500, 0),"
    " ('r2', 'e', 'ca', 'template', 't', 'k', 'q', 't', 'CN=x', '', 19, 'ZGVy', '', 1,"
    " 'expired', '', '', '', 1200, 2500, 0),"
    " ('r3', 'e', 'ca', 'template', 't', 'k', 'r', 't', 'CN=x', '', 19, 'ZGVy', '', 1,"
    " 'denied', 'no', 'root', '', 1200, 1300, 1300)",
    "UPDATE scep_meta SET value = 4 WHERE name = 'schema'",
};

static void say_all(const char *const *sql, size_t n)
{
    other o = other_open();

    for (size_t i = 0; i < n; i++)
        other_says(&o, sql[i]);
    other_close(&o);
}

void set_up_version_1(void)
{
    room_up_empty();
    say_all(version_1, sizeof(version_1) / sizeof(*version_1));
}

void set_up_version_2(void)
{
    set_up_version_1();
    say_all(to_version_2, sizeof(to_version_2) / sizeof(*to_version_2));
}

void set_up_version_3(void)
{
    set_up_version_2();
    say_all(to_version_3, sizeof(to_version_3) / sizeof(*to_version_3));
}

void set_up_renewals_of_one_key(void)
{
    say_all(of_one_key, sizeof(of_one_key) / sizeof(*of_one_key));
}

void set_up_version_4(void)
{
    set_up_version_3();
    say_all(to_version_4, sizeof(to_version_4) / sizeof(*to_version_4));
}
