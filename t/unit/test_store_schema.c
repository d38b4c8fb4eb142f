/* The schema: made, brought up from versions 1 to 4, refused. */
#include "clock.h"
#include "request.h"
#include "store_room.h"
#include "store_versions.h"

#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODES 4

static const store_transaction *get(store_tx *tx, const char *id, const char *csr, apr_int64_t now)
{
    store_transaction key = {
        .endpoint = "e", .transaction = id, .key_hash = "k", .csr_hash = csr, .created = now
    };
    const store_transaction *found;

    OK(store_transaction_get(tx, &key, &found));
    return found;
}

static const scep_err *read_upgraded(store_tx *tx, void *baton)
{
    const store_transaction *t = get(tx, "t", "c", 1999);
    const store_certificate *c;
    const char *bound;
    const store_challenge *fresh;
    apr_int64_t count;

    ck_assert_ptr_nonnull(t);
    ck_assert_str_eq(t->state, "issued");
    ck_assert_str_eq(t->request, "");
    ck_assert_str_eq(t->authority, "ca");
    ck_assert_str_eq(t->serial, "0A");
    ck_assert_int_eq(t->created, 1000);
    ck_assert_int_eq(t->bound, 3000);
    ck_assert_int_eq(t->ends, 2000);
    ck_assert_ptr_null(get(tx, "t", "c", 2000));
    ck_assert_ptr_nonnull(get(tx, "t", NULL, 2999));
    ck_assert_ptr_null(get(tx, "t", NULL, 3000));
    OK(store_binding_get(tx, t, &bound));
    ck_assert_str_eq(bound, "k");

    OK(store_certificate_get(tx, "ca", "0A", &c));
    ck_assert(scep_bytes_equal(c->der, scep_bytes_of("der")));
    ck_assert_str_eq(c->subject, "CN=x");
    ck_assert_int_eq(c->not_after, 3000);
    ck_assert_int_eq(c->revoked, 0);

    OK(store_challenge_fresh(tx, "e", "h", 8999, &fresh));
    ck_assert_ptr_nonnull(fresh);
    ck_assert_str_eq(fresh->bound_subject, "");
    ck_assert_str_eq(fresh->bound_names, "");
    ck_assert_str_eq(fresh->bound_template, "");
    OK(store_challenge_get(tx, "e", "h", &fresh));
    ck_assert(fresh->fresh);
    ck_assert_str_eq(fresh->user, "admin");
    ck_assert_str_eq(fresh->templates, "");
    OK(store_unused_get(tx, "e", &count));
    ck_assert_int_eq(count, 1);
    return NULL;
}

static void expect_version(const char *version)
{
    other o = other_open();
    apr_array_header_t *cells = other_asks(&o, "SELECT value FROM scep_meta");

    other_close(&o);
    ck_assert_int_eq(cells->nelts, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(cells, 0, const char *), version);
}

START_TEST(R_118_what_version_1_recorded_is_issued_and_bound_until_its_certificate_ends)
{
    room_open();
    room_job_of(read_upgraded);
    expect_version("5");
    store_close(room_store);
    room_open(); /* and once only */
    room_job_of(read_upgraded);
}
END_TEST

static const scep_err *use_what_is_new(store_tx *tx, void *baton)
{
    store_request r = { .id = "1",
                        .endpoint = "e",
                        .authority = "ca",
                        .transaction = "t",
                        .key_hash = "k",
                        .csr_hash = "c",
                        .state = "pending",
                        .ends = 9 };
    store_challenge bound = { .endpoint = "e",
                              .hash = "i",
                              .expires = 9,
                              .bound_subject = "CN=a",
                              .bound_names = "DNS:a\nDNS:b",
                              .bound_template = "T",
                              .templates = "T" };
    store_single single = { .endpoint = "e", .sealed = scep_bytes_of("x"), .hash = "h" };
    const store_single *found;
    const store_challenge *fresh;
    store_crl crl;
    bool done;

    OK(store_challenge_put(tx, &bound));
    OK(store_challenge_fresh(tx, "e", "i", 1, &fresh));
    ck_assert_str_eq(fresh->bound_subject, bound.bound_subject);
    ck_assert_str_eq(fresh->bound_names, bound.bound_names);
    ck_assert_str_eq(fresh->bound_template, bound.bound_template);
    OK(store_challenge_get(tx, "e", "i", &fresh));
    ck_assert_str_eq(fresh->templates, "T");
    OK(store_single_put(tx, &single, &done));
    ck_assert(done);
    OK(store_single_get(tx, "e", &found));
    ck_assert_str_eq(found->hash, "h");
    OK(store_certificate_revoke(tx, "ca", "0A", 2000, 1, &done));
    ck_assert(done);
    OK(store_crl_get(tx, "ca", &crl));
    ck_assert_int_eq(crl.wanted, 1);
    OK(store_request_put(tx, &r, &done));
    ck_assert(done);
    OK(store_lease_take(tx, "work", "me", 1, 2, &done));
    ck_assert(done);
    return NULL;
}

/* The names of all tables and indexes but of the one that was left for nodes of version 3. */
static char *names_in_database(void)
{
    const char *ask = strncmp(room_where, "sqlite3:", 8) == 0
                          ? "SELECT name FROM sqlite_master WHERE name LIKE 'scep%'"
                            " AND name NOT LIKE 'scep_binding%' ORDER BY name"
                          : "SELECT relname FROM pg_class WHERE relname LIKE 'scep%'"
                            " AND relname NOT LIKE 'scep_binding%'"
                            " ORDER BY relname";
    other o = other_open();
    char *names = strdup(apr_array_pstrcat(room_pool, other_asks(&o, ask), ' '));

    other_close(&o);
    ck_assert(names && strstr(names, "scep_lease"));
    return names;
}

START_TEST(an_upgraded_database_has_all_that_a_new_one_has)
{
    char *upgraded, *made;

    room_open();
    room_job_of(use_what_is_new);
    upgraded = names_in_database();
    store_close(room_store);
    room_empty();
    room_open();
    made = names_in_database();
    ck_assert_str_eq(upgraded, made);
    free(upgraded);
    free(made);
}
END_TEST

/* In a process of its own, as nodes are: the driver has one lock for a whole process. */
static void be_a_node(int gate)
{
    const scep_err *err;
    char byte;

    if (read(gate, &byte, 1) != 0)
        _exit(2);
    err = store_open(&room_store, room_where, room_pool);
    if (err)
        (void)fprintf(stderr, "%s\n", err->detail);
    _exit(err ? 1 : 0);
}

static void nodes_open_at_once(void)
{
    int gate[2], status;
    pid_t child[NODES];

    ck_assert_int_eq(pipe(gate), 0);
    for (int i = 0; i < NODES; i++) {
        child[i] = fork();
        ck_assert_int_ge(child[i], 0);
        if (child[i] == 0) {
            close(gate[1]);
            be_a_node(gate[0]);
        }
    }
    close(gate[0]);
    close(gate[1]); /* all of them go */
    for (int i = 0; i < NODES; i++) {
        ck_assert_int_eq(waitpid(child[i], &status, 0), child[i]);
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), 0);
    }
}

START_TEST(nodes_that_upgrade_at_once_do_it_once)
{
    nodes_open_at_once();
    room_open();
    room_job_of(read_upgraded);
}
END_TEST

START_TEST(nodes_that_make_the_schema_at_once_all_open)
{
    nodes_open_at_once();
    room_open();
    ck_assert_ptr_null(room_put_one("1", room_pool));
    expect_version("5");
}
END_TEST

static const scep_err *read_of_version_1(store_tx *tx, void *baton)
{
    int removed;

    OK(store_transaction_sweep(tx, 5000, 100, &removed));
    ck_assert_int_eq(removed, 1);
    ck_assert_ptr_nonnull(get(tx, "late", "c", 5999));
    ck_assert_ptr_nonnull(get(tx, "late", NULL, 5999));
    OK(store_transaction_sweep(tx, 6001, 100, &removed));
    ck_assert_int_eq(removed, 1);
    return NULL;
}

START_TEST(what_a_node_of_version_1_that_was_not_stopped_writes_does_not_fail)
{
    other o;

    room_open();
    o = other_open();
    other_says(&o, "INSERT INTO scep_transaction (endpoint, transaction_id, key_hash, csr_hash,"
                   " authority, serial, created, ends)"
                   " VALUES ('e', 'late', 'k', 'c', 'ca', '0B', 1500, 6000)");
    other_says(&o, "INSERT INTO scep_challenge (endpoint, hash, state, username, peer, created,"
                   " expires) VALUES ('e', 'late', 'fresh', '', '', 1, 2)");
    other_says(&o, "INSERT INTO scep_certificate (authority, serial, subject, template_name,"
                   " endpoint, transaction_id, key_hash, der, not_before, not_after, issued)"
                   " VALUES ('ca', '0B', '', '', 'e', 'late', 'k', 'ZGVy', 1, 2, 3)");
    other_close(&o);
    room_job_of(read_of_version_1);
}
END_TEST

START_TEST(what_version_2_recorded_stays_as_it_is)
{
    room_open();
    room_job_of(read_upgraded);
    expect_version("5");
    store_close(room_store);
    room_open(); /* and once only */
    room_job_of(read_upgraded);
}
END_TEST

START_TEST(what_a_node_of_version_2_that_was_not_stopped_writes_does_not_fail)
{
    other o;

    room_open();
    o = other_open();
    other_says(&o, "INSERT INTO scep_challenge (endpoint, hash, state, username, peer, created,"
                   " expires, bound_subject, bound_names, bound_template)"
                   " VALUES ('e', 'late', 'fresh', '', '', 1, 2, '', '', '')");
    ck_assert_int_eq(
        other_asks(&o, "SELECT 1 FROM scep_challenge WHERE templates = '' AND hash = 'late'")
            ->nelts,
        1);
    other_close(&o);
}
END_TEST

static const scep_err *read_renewals(store_tx *tx, void *baton)
{
    store_transaction key = { .endpoint = "e", .key_hash = "m", .created = 1999, .proven = true };
    const store_transaction *found;
    const char *bound;

    for (int i = 0; i < 2; i++) {
        key.transaction = i ? "u" : "t";
        key.csr_hash = "d";
        OK(store_transaction_get(tx, &key, &found));
        ck_assert_ptr_nonnull(found);
        ck_assert_str_eq(found->serial, i ? "0D" : "0C");
        key.csr_hash = NULL;
        OK(store_transaction_get(tx, &key, &found));
        ck_assert_ptr_nonnull(found);
        OK(store_binding_get(tx, &key, &bound));
        if (i)
            ck_assert_ptr_null(bound);
        else
            ck_assert_str_eq(bound, "k");
    }
    return NULL;
}

START_TEST(S_22_a_renewal_of_version_3_holds_no_transaction_id_and_keeps_its_answer)
{
    room_open();
    room_job_of(read_upgraded);
    room_job_of(read_renewals);
    expect_version("5");
    store_close(room_store);
    room_open(); /* and once only */
    room_job_of(read_renewals);
}
END_TEST

static void expect_answer(store_tx *tx, const char *csr, transaction_state state)
{
    const transaction t = { .row = { .endpoint = "e",
                                     .transaction = "t",
                                     .key_hash = "k",
                                     .csr_hash = csr,
                                     .created = 1999,
                                     .proven = true } };
    transaction_answer answer;

    OK(transaction_find(tx, &t, &answer));
    ck_assert_int_eq(answer.state, state);
}

static const scep_err *settle_renewals(store_tx *tx, void *baton)
{
    const store_request *r;
    transaction *t;

    expect_answer(tx, "i", TRANSACTION_ISSUED);
    expect_answer(tx, "p", TRANSACTION_PENDING);

    OK(request_waiting(tx, "r1", &r));
    OK(request_transaction(&t, r, store_tx_pool(tx)));
    ck_assert(t->row.proven);
    t->row.state = "issued";
    t->row.authority = "ca";
    t->row.serial = "0A";
    t->row.ends = t->row.bound = 3000;
    OK(request_issued(tx, r, t, "root"));
    expect_answer(tx, "p", TRANSACTION_ISSUED);

    OK(request_waiting(tx, "r2", &r));
    OK(request_denied(tx, r, "no", "root"));
    expect_answer(tx, "q", TRANSACTION_DENIED);
    return NULL;
}

START_TEST(S_23_a_renewal_of_version_3_by_the_key_of_its_transactionID_is_found_and_decided)
{
    set_up_renewals_of_one_key();
    scep_clock_set(apr_time_from_sec(1500));
    room_open();
    room_job_of(settle_renewals);
}
END_TEST

static const scep_err *read_binding(store_tx *tx, void *baton)
{
    store_transaction key = {
        .endpoint = "e", .transaction = "b", .key_hash = "k", .created = 2999
    };
    const store_transaction *found;
    const char *bound;

    OK(store_binding_get(tx, &key, &bound));
    ck_assert_ptr_nonnull(bound);
    ck_assert_str_eq(bound, "k");
    OK(store_transaction_get(tx, &key, &found));
    ck_assert_ptr_null(found); /* it waits no longer */
    key.created = 3000;
    OK(store_binding_get(tx, &key, &bound));
    ck_assert_ptr_null(bound);
    return NULL;
}

START_TEST(S_22_a_binding_of_version_3_lasts_as_long_as_it_did)
{
    set_up_renewals_of_one_key();
    room_open();
    room_job_of(read_binding);
}
END_TEST

/* Its words about bindings, as it had prepared them. */
START_TEST(what_a_node_of_version_3_that_was_not_stopped_writes_does_not_fail)
{
    other o;

    room_open();
    o = other_open();
    ck_assert_int_eq(other_asks(&o, "SELECT key_hash FROM scep_binding")->nelts, 0);
    other_says(&o, "INSERT INTO scep_binding (endpoint, transaction_id, key_hash, ends)"
                   " VALUES ('e', 'late', 'k', 9) ON CONFLICT (endpoint, transaction_id)"
                   " DO UPDATE SET key_hash = excluded.key_hash, ends = excluded.ends"
                   " WHERE scep_binding.ends <= 1");
    other_says(&o, "DELETE FROM scep_binding WHERE (endpoint, transaction_id) IN (SELECT endpoint,"
                   " transaction_id FROM scep_binding WHERE ends < 10 ORDER BY ends LIMIT 1)");
    ck_assert_int_eq(other_asks(&o, "SELECT key_hash FROM scep_binding")->nelts, 0);
    other_close(&o);
}
END_TEST

static const scep_err *read_requests(store_tx *tx, void *baton)
{
    static const char *const states[] = { "pending", "expired", "denied" };
    static const apr_int64_t decided[] = { 0, 2500, 1300 };
    apr_int64_t all, of_key, of_peer;
    apr_array_header_t *rows;

    OK(store_request_list(tx, "", "", 9, &rows));
    ck_assert_int_eq(rows->nelts, 3);
    for (int i = 0; i < rows->nelts; i++) {
        const store_request *r = &APR_ARRAY_IDX(rows, i, store_request);

        ck_assert_str_eq(r->state, states[i]);
        ck_assert_int_eq(r->decided, decided[i]);
        ck_assert_str_eq(r->cookie, "");
        ck_assert_int_eq(r->next_ask, 0);
    }
    OK(store_request_waiting(tx, "e", "k", "", 1500, &all, &of_key, &of_peer));
    ck_assert_int_eq(all, 1);
    ck_assert_int_eq(of_key, 1);
    ck_assert_int_eq(of_peer, 1);
    return NULL;
}

START_TEST(what_waited_in_version_4_waits_on_and_what_was_decided_is)
{
    room_open();
    room_job_of(read_requests);
    room_job_of(read_upgraded);
    room_job_of(read_renewals);
    expect_version("5");
    store_close(room_store);
    room_open(); /* and once only */
    room_job_of(read_requests);
}
END_TEST

/* Its words about requests, as it had prepared them. */
START_TEST(what_a_node_of_version_4_that_was_not_stopped_writes_does_not_fail)
{
    other o;

    room_open();
    o = other_open();
    other_says(&o, "INSERT INTO scep_request (id, endpoint, authority, template_name,"
                   " transaction_id, key_hash, csr_hash, transaction_text, subject, peer,"
                   " message_type, state, reason, decided_by, serial, created, ends, decided, csr,"
                   " old_cert, challenged) VALUES ('late', 'e', 'ca', 'template', 't', 'k', 's',"
                   " 't', 'CN=x', '', 19, 'pending', '', '', '', 1, 2, 0, 'ZGVy', '', 1)");
    other_says(&o, "UPDATE scep_request SET state = 'expired' WHERE id IN"
                   " (SELECT id FROM scep_request WHERE state = 'pending' AND ends <= 3"
                   " ORDER BY ends LIMIT 9)");
    ck_assert_int_eq(other_asks(&o, "SELECT id FROM scep_request WHERE id = 'late'"
                                    " AND state = 'expired' AND next_ask = 0")
                         ->nelts,
                     1);
    other_close(&o);
}
END_TEST

/* With something in the database's way, nothing of it is changed. */
static void expect_failure(const char *in_the_way, const char *version)
{
    const scep_err *err;
    other o = other_open();

    other_says(&o, in_the_way);
    other_close(&o);
    err = store_open(&room_store, room_where, room_pool);
    room_expect(err, SCEP_CONFIG);
    ck_assert_ptr_nonnull(strstr(
        err->detail, apr_pstrcat(room_pool, "cannot be upgraded from version ", version, NULL)));
    expect_version(version);
}

static void expect_one(const char *question)
{
    other o = other_open();

    ck_assert_int_eq(other_asks(&o, question)->nelts, 1);
    other_close(&o);
}

START_TEST(an_upgrade_that_fails_leaves_version_4)
{
    expect_failure("ALTER TABLE scep_request ADD COLUMN answer TEXT NOT NULL DEFAULT 'x'", "4");
    expect_one("SELECT id FROM scep_request WHERE state = 'expired' AND decided = 0");
}
END_TEST

START_TEST(an_upgrade_that_fails_leaves_version_3)
{
    expect_failure("DROP TABLE scep_binding", "3");
}
END_TEST

START_TEST(an_upgrade_that_fails_leaves_version_2)
{
    expect_failure("ALTER TABLE scep_challenge ADD COLUMN templates TEXT NOT NULL DEFAULT 'x'",
                   "2");
}
END_TEST

START_TEST(an_upgrade_that_fails_leaves_version_1)
{
    expect_failure("ALTER TABLE scep_certificate ADD COLUMN reason BIGINT NOT NULL DEFAULT 7", "1");
    expect_one("SELECT ends FROM scep_transaction WHERE ends = 3000");
}
END_TEST

START_TEST(schema_of_another_version_is_refused)
{
    static const char *const versions[] = { "6", "0", "-1" };

    store_close(room_store);
    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        other o = other_open();
        const scep_err *err;

        other_says(&o, apr_pstrcat(room_pool, "UPDATE scep_meta SET value = ", versions[i], NULL));
        other_close(&o);
        err = store_open(&room_store, room_where, room_pool);
        room_expect(err, SCEP_CONFIG);
        ck_assert_ptr_nonnull(
            strstr(err->detail, apr_pstrcat(room_pool, "schema version ", versions[i], NULL)));
    }
}
END_TEST

Suite *store_schema_suite(void)
{
    Suite *suite = suite_create("store schema");
    TCase *upgrade = tcase_create("upgrade"), *from_2 = tcase_create("from 2"),
          *from_3 = tcase_create("from 3"), *from_4 = tcase_create("from 4"),
          *fresh = tcase_create("fresh");
    TCase *open = tcase_create("open");

    tcase_add_checked_fixture(upgrade, set_up_version_1, room_down);
    tcase_set_timeout(upgrade, 60);
    tcase_add_test(upgrade,
                   R_118_what_version_1_recorded_is_issued_and_bound_until_its_certificate_ends);
    tcase_add_test(upgrade, an_upgraded_database_has_all_that_a_new_one_has);
    tcase_add_test(upgrade, nodes_that_upgrade_at_once_do_it_once);
    tcase_add_test(upgrade, what_a_node_of_version_1_that_was_not_stopped_writes_does_not_fail);
    tcase_add_test(upgrade, an_upgrade_that_fails_leaves_version_1);
    suite_add_tcase(suite, upgrade);

    tcase_add_checked_fixture(from_2, set_up_version_2, room_down);
    tcase_set_timeout(from_2, 60);
    tcase_add_test(from_2, what_version_2_recorded_stays_as_it_is);
    tcase_add_test(from_2, an_upgraded_database_has_all_that_a_new_one_has);
    tcase_add_test(from_2, nodes_that_upgrade_at_once_do_it_once);
    tcase_add_test(from_2, what_a_node_of_version_2_that_was_not_stopped_writes_does_not_fail);
    tcase_add_test(from_2, an_upgrade_that_fails_leaves_version_2);
    suite_add_tcase(suite, from_2);

    tcase_add_checked_fixture(from_3, set_up_version_3, room_down);
    tcase_set_timeout(from_3, 60);
    tcase_add_test(from_3,
                   S_22_a_renewal_of_version_3_holds_no_transaction_id_and_keeps_its_answer);
    tcase_add_test(
        from_3, S_23_a_renewal_of_version_3_by_the_key_of_its_transactionID_is_found_and_decided);
    tcase_add_test(from_3, S_22_a_binding_of_version_3_lasts_as_long_as_it_did);
    tcase_add_test(from_3, an_upgraded_database_has_all_that_a_new_one_has);
    tcase_add_test(from_3, nodes_that_upgrade_at_once_do_it_once);
    tcase_add_test(from_3, what_a_node_of_version_3_that_was_not_stopped_writes_does_not_fail);
    tcase_add_test(from_3, an_upgrade_that_fails_leaves_version_3);
    suite_add_tcase(suite, from_3);

    tcase_add_checked_fixture(from_4, set_up_version_4, room_down);
    tcase_set_timeout(from_4, 60);
    tcase_add_test(from_4, what_waited_in_version_4_waits_on_and_what_was_decided_is);
    tcase_add_test(from_4, an_upgraded_database_has_all_that_a_new_one_has);
    tcase_add_test(from_4, nodes_that_upgrade_at_once_do_it_once);
    tcase_add_test(from_4, what_a_node_of_version_4_that_was_not_stopped_writes_does_not_fail);
    tcase_add_test(from_4, an_upgrade_that_fails_leaves_version_4);
    suite_add_tcase(suite, from_4);

    tcase_add_checked_fixture(fresh, room_up_empty, room_down);
    tcase_set_timeout(fresh, 60);
    tcase_add_test(fresh, nodes_that_make_the_schema_at_once_all_open);
    suite_add_tcase(suite, fresh);

    tcase_add_checked_fixture(open, room_up_portable, room_down);
    tcase_add_test(open, schema_of_another_version_is_refused);
    suite_add_tcase(suite, open);
    return suite;
}
