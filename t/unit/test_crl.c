/* The CRL: what stands in it, when a new one is due, and where it goes. */
#include "crl.h"
#include "fixture.h"
#include "store_room.h"

#include "clock.h"
#include "file.h"
#include "issue.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY 86400
#define DAYS 9 /* from one CRL to its nextUpdate */
#define ROWS(table) ((int)(sizeof(table) / sizeof(*(table))))

/* An authority that signs by itself; before it signs, what another node does meanwhile. */
static conf_authority authority;
static connector ca;
static EVP_PKEY *key;
static apr_int64_t now;
static int signed_here;
static void (*meanwhile)(void);

static const scep_err *sign(X509_CRL *crl, connector *self, apr_pool_t *p)
{
    void (*first)(void) = meanwhile;

    meanwhile = NULL;
    if (first)
        first();
    signed_here++;
    return X509_CRL_sign(crl, key, issue_digest(key)) ? NULL : scep_fail(p, UNAVAILABLE, "no");
}

static void clock_at(apr_int64_t seconds)
{
    now = seconds;
    scep_clock_set(apr_time_from_sec(seconds));
}

static void up(void)
{
    room_up();
    clock_at(apr_time_sec(apr_time_now()));
    key = fixture_key_make(0, "P-256", room_pool);
    ca = (connector){ .sign_crl = sign, .chain = scep_borrowed_stack(room_pool) };
    ck_assert_int_eq(sk_X509_push(ca.chain, fixture_cert("CN=CRL Test CA,O=x", key, NULL, NULL,
                                                         true, KU_CRL_SIGN, room_pool)),
                     1);
    authority = (conf_authority){ .name = "ca", .crl_days = DAYS };
    authority.crl_file = apr_pstrcat(room_pool, room_folder, "/ca.crl", NULL);
    signed_here = 0;
    meanwhile = NULL;
}

/* ---- the inventory ---- */

typedef struct issue_job {
    const char *serial;
    apr_int64_t ends;
    int reason; /* -1: it is not revoked */
} issue_job;

static const scep_err *put_one(store_tx *tx, void *baton)
{
    const issue_job *j = baton;
    store_certificate c = {
        .authority = "ca",
        .serial = j->serial,
        .subject = "CN=x",
        .template_name = "t",
        .endpoint = "e",
        .transaction = "tx",
        .key_hash = "k",
        .der = scep_bytes_of(j->serial),
        .not_before = now - DAY,
        .not_after = j->ends,
        .issued = now - DAY,
    };
    bool done;

    SCEP_TRY(store_certificate_put(tx, &c, &done));
    ck_assert(done);
    if (j->reason < 0)
        return NULL;
    SCEP_TRY(store_certificate_revoke(tx, "ca", j->serial, now, j->reason, &done));
    ck_assert(done);
    return NULL;
}

static void put(const char *serial, apr_int64_t ends, int reason)
{
    issue_job j = { serial, ends, reason };

    OK(store_run(room_store, put_one, &j, room_pool));
}

static const scep_err *revoke_one(store_tx *tx, void *baton)
{
    bool done;

    SCEP_TRY(store_certificate_revoke(tx, "ca", baton, now, CRL_REASON_SUPERSEDED, &done));
    ck_assert(done);
    return NULL;
}

static void withdraw(const char *serial)
{
    char *copy = apr_pstrdup(room_pool, serial);

    OK(store_run(room_store, revoke_one, copy, room_pool));
}

/* ---- the CRL ---- */

static scep_bytes newest(void)
{
    scep_bytes der = { NULL, 0 };

    OK(crl_get(&der, room_store, "ca", room_pool));
    return der;
}

static X509_CRL *parsed(scep_bytes der)
{
    const unsigned char *at = der.data;
    X509_CRL *crl = scep_X509_CRL(room_pool, d2i_X509_CRL(NULL, &at, (long)der.len));

    ck_assert_ptr_nonnull(crl);
    ck_assert_ptr_eq(at, der.data + der.len);
    ck_assert_int_eq(X509_CRL_verify(crl, key), 1);
    return crl;
}

static long number_of(X509_CRL *crl)
{
    int critical = -1;
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, &critical, NULL);
    long value;

    ck_assert_ptr_nonnull(number);
    ck_assert_int_eq(critical, 0);
    value = ASN1_INTEGER_get(number);
    ASN1_INTEGER_free(number);
    return value;
}

static int entries_of(X509_CRL *crl)
{
    return sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)) > 0
               ? sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl))
               : 0;
}

/* NULL: it is not listed */
static X509_REVOKED *entry_of(X509_CRL *crl, const char *serial)
{
    ASN1_INTEGER *wanted = NULL;
    X509_REVOKED *entry = NULL;
    BIGNUM *value = NULL;

    ck_assert_int_gt(BN_hex2bn(&value, serial), 0);
    wanted = scep_ASN1_INTEGER(room_pool, BN_to_ASN1_INTEGER(value, NULL));
    BN_free(value);
    return X509_CRL_get0_by_serial(crl, &entry, wanted) ? entry : NULL;
}

static void keep(void)
{
    OK(crl_keep(room_store, &authority, &ca, room_pool));
}

static void expect_published(void)
{
    scep_bytes bytes;
    struct stat st;

    OK(file_read(&bytes, authority.crl_file, room_pool));
    ck_assert(newest().len && scep_bytes_equal(bytes, newest()));
    ck_assert_int_eq(stat(authority.crl_file, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0644);
}

START_TEST(R_134_an_authority_that_signs_none_has_none)
{
    const scep_err *err;

    ca.sign_crl = NULL;
    err = crl_sign(room_store, &authority, &ca, NULL, NULL, room_pool);
    room_expect(err, SCEP_CONFIG);
    ck_assert_ptr_nonnull(strstr(err->detail, "crl_file"));
    keep();
    ck_assert_uint_eq(newest().len, 0);
    ck_assert_int_ne(access(authority.crl_file, F_OK), 0);
}
END_TEST

START_TEST(the_first_one_says_that_nothing_is_revoked)
{
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(sk_X509_value(ca.chain, 0));
    AUTHORITY_KEYID *issuer;
    X509_CRL *crl;
    time_t at;

    put("0A", now + DAY, -1);
    keep();
    crl = parsed(newest());
    ck_assert_int_eq((int)X509_CRL_get_version(crl), X509_CRL_VERSION_2);
    ck_assert_int_eq(
        X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(sk_X509_value(ca.chain, 0))),
        0);
    ck_assert_int_eq(number_of(crl), 1);
    ck_assert_int_eq(entries_of(crl), 0);
    at = (time_t)now - 300;
    ck_assert_int_eq(ASN1_TIME_cmp_time_t(X509_CRL_get0_lastUpdate(crl), at), 0);
    at = (time_t)now + DAYS * DAY;
    ck_assert_int_eq(ASN1_TIME_cmp_time_t(X509_CRL_get0_nextUpdate(crl), at), 0);
    issuer = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
    ck_assert_ptr_nonnull(issuer);
    ck_assert_int_eq(ASN1_OCTET_STRING_cmp(issuer->keyid, id), 0);
    AUTHORITY_KEYID_free(issuer);
    expect_published();
}
END_TEST

START_TEST(R_133_after_a_revocation_the_most_recent_one_is_given)
{
    X509_CRL *crl;

    put("0A", now + DAY, -1);
    put("0B", now + DAY, -1);
    keep();
    withdraw("0B");
    ck_assert_int_eq(number_of(parsed(newest())), 1);
    keep();
    crl = parsed(newest());
    ck_assert_int_eq(number_of(crl), 2);
    ck_assert_int_eq(entries_of(crl), 1);
    ck_assert_ptr_null(entry_of(crl, "0A"));
    ck_assert_ptr_nonnull(entry_of(crl, "0B"));
    expect_published();
    keep(); /* nothing was revoked since */
    ck_assert_int_eq(number_of(parsed(newest())), 2);
}
END_TEST

static const struct {
    const char *serial;
    int reason;
    long listed; /* -1: without the extension */
} reasons[] = {
    { "01", CRL_REASON_UNSPECIFIED, -1 },
    { "02", CRL_REASON_KEY_COMPROMISE, CRL_REASON_KEY_COMPROMISE },
    { "7F", CRL_REASON_CERTIFICATE_HOLD, CRL_REASON_CERTIFICATE_HOLD },
    { "80", CRL_REASON_PRIVILEGE_WITHDRAWN, CRL_REASON_PRIVILEGE_WITHDRAWN },
    { "81", CRL_REASON_AA_COMPROMISE, CRL_REASON_AA_COMPROMISE },
    { "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", 7, -1 },
    { "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", CRL_REASON_REMOVE_FROM_CRL, -1 },
    { "0100", 11, -1 },
};

START_TEST(a_reason_stands_beside_an_entry_only_where_there_is_one)
{
    X509_CRL *crl;

    for (int i = 0; i < ROWS(reasons); i++)
        put(reasons[i].serial, now + DAY, reasons[i].reason);
    keep();
    crl = parsed(newest());
    ck_assert_int_eq(entries_of(crl), ROWS(reasons));
    for (int i = 0; i < ROWS(reasons); i++) {
        X509_REVOKED *entry = entry_of(crl, reasons[i].serial);
        ASN1_ENUMERATED *reason;
        int critical = -1;

        ck_assert_msg(entry != NULL, "%s", reasons[i].serial);
        reason = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, &critical, NULL);
        ck_assert_msg((reason ? ASN1_ENUMERATED_get(reason) : -1) == reasons[i].listed, "%s",
                      reasons[i].serial);
        ck_assert(!reason || !critical);
        ck_assert_int_eq(ASN1_TIME_cmp_time_t(X509_REVOKED_get0_revocationDate(entry), (time_t)now),
                         0);
        ASN1_ENUMERATED_free(reason);
    }
}
END_TEST

START_TEST(a_revocation_with_an_impossible_date_is_listed_nevertheless)
{
    static const char *const dates[] = { "9000000000000000000", "99999999999" };

    for (int i = 0; i < ROWS(dates); i++) {
        const char *serial = apr_psprintf(room_pool, "0%d", i + 1);
        X509_REVOKED *entry;
        other o;

        put(serial, now + DAY, 1);
        o = other_open();
        other_says(&o, apr_psprintf(room_pool,
                                    "UPDATE scep_certificate SET revoked = %s WHERE serial = '%s'",
                                    dates[i], serial));
        other_close(&o);
        keep();
        entry = entry_of(parsed(newest()), serial);
        ck_assert_msg(entry != NULL, "%s", dates[i]);
        ck_assert_int_eq(ASN1_TIME_cmp_time_t(X509_REVOKED_get0_revocationDate(entry), (time_t)now),
                         0);
    }
}
END_TEST

/* RFC 5280 3.3 */
START_TEST(what_has_ended_is_listed_once_more_and_then_no_longer)
{
    X509_CRL *crl;

    put("0A", now + DAY, 1);
    put("0B", now + 100 * DAY, 1);
    put("0C", now - 1, 1); /* ended before it was ever listed */
    keep();
    crl = parsed(newest());
    ck_assert_ptr_null(entry_of(crl, "0C"));
    ck_assert_ptr_nonnull(entry_of(crl, "0A"));
    clock_at(now + DAYS * DAY);
    keep();
    crl = parsed(newest());
    ck_assert_ptr_nonnull(entry_of(crl, "0A"));
    clock_at(now + DAYS * DAY);
    keep();
    crl = parsed(newest());
    ck_assert_int_eq(number_of(crl), 3);
    ck_assert_ptr_null(entry_of(crl, "0A"));
    ck_assert_ptr_nonnull(entry_of(crl, "0B"));
}
END_TEST

#define MANY 1201

static const scep_err *put_many(store_tx *tx, void *baton)
{
    for (int i = 1; i <= MANY; i++) {
        issue_job j = { apr_psprintf(store_tx_pool(tx), "%08X", i * 977), now + DAY, 4 };

        SCEP_TRY(put_one(tx, &j));
    }
    return NULL;
}

static apr_int64_t last_done;
static int told;

static void listen_to(void *baton, const char *what, apr_int64_t done, apr_int64_t total)
{
    ck_assert_str_eq(baton, "me");
    ck_assert(*what && (total == 0 || total == done) && done >= last_done);
    last_done = done;
    told++;
}

START_TEST(a_long_one_is_collected_in_pieces_and_tells_how_far_it_is)
{
    char me[] = "me";
    X509_CRL *crl;

    OK(store_run(room_store, put_many, NULL, room_pool));
    OK(crl_sign(room_store, &authority, &ca, listen_to, me, room_pool));
    ck_assert_int_eq(last_done, MANY);
    ck_assert_int_ge(told, 4);
    crl = parsed(newest());
    ck_assert_int_eq(entries_of(crl), MANY);
    for (int i = 1; i <= MANY; i++)
        ck_assert_ptr_nonnull(entry_of(crl, apr_psprintf(room_pool, "%08X", i * 977)));
}
END_TEST

/* The store would not answer its own caller if it were held meanwhile. */
static void enrol_meanwhile(void *baton, const char *what, apr_int64_t done, apr_int64_t total)
{
    int *issued = baton;

    put(apr_psprintf(room_pool, "EE%06X", ++*issued), now + DAY, -1);
}

START_TEST(while_a_long_one_is_made_certificates_are_issued)
{
    int issued = 0;

    OK(store_run(room_store, put_many, NULL, room_pool));
    OK(crl_sign(room_store, &authority, &ca, enrol_meanwhile, &issued, room_pool));
    ck_assert_int_ge(issued, 4); /* after each page, and before it is signed */
    ck_assert_int_eq(entries_of(parsed(newest())), MANY);
}
END_TEST

static const struct {
    int hours;
    long number;
} times[] = { { 0, 1 }, { 1, 1 }, { 6 * 24 - 1, 1 }, { 6 * 24, 2 }, { 40 * 24, 2 } };

START_TEST(a_new_one_is_due_when_a_third_of_its_time_is_left)
{
    keep();
    clock_at(now + (apr_int64_t)times[_i].hours * 3600);
    keep();
    ck_assert_int_eq(number_of(parsed(newest())), times[_i].number);
}
END_TEST

static void revoke_0b(void)
{
    withdraw("0B");
}

START_TEST(what_is_revoked_while_it_is_made_makes_it_due_again)
{
    put("0A", now + DAY, 1);
    put("0B", now + DAY, -1);
    meanwhile = revoke_0b;
    keep();
    ck_assert_ptr_null(entry_of(parsed(newest()), "0B"));
    keep();
    ck_assert_int_eq(number_of(parsed(newest())), 2);
    ck_assert_ptr_nonnull(entry_of(parsed(newest()), "0B"));
}
END_TEST

static void other_node_signs(void)
{
    OK(crl_sign(room_store, &authority, &ca, NULL, NULL, room_pool));
}

START_TEST(of_two_nodes_that_sign_at_once_one_does)
{
    put("0A", now + DAY, 1);
    meanwhile = other_node_signs;
    OK(crl_sign(room_store, &authority, &ca, NULL, NULL, room_pool));
    ck_assert_int_eq(signed_here, 2);
    ck_assert_int_eq(number_of(parsed(newest())), 1);
    ck_assert_ptr_nonnull(entry_of(parsed(newest()), "0A"));
    expect_published();
    keep();
    ck_assert_int_eq(number_of(parsed(newest())), 1);
}
END_TEST

/* ---- two threads of one process ---- */

static pthread_t another;
static bool another_comes; /* before the file is renamed into place */

static void *sign_another(void *pool)
{
    FIXTURE_MUST(!crl_sign(room_store, &authority, &ca, NULL, NULL, pool));
    return NULL;
}

/* The other one may have to wait until the first file is there. */
int rename(const char *from, const char *to)
{
    static apr_pool_t *p;

    if (another_comes) {
        another_comes = false;
        FIXTURE_MUST(!apr_pool_create(&p, NULL) &&
                     !pthread_create(&another, NULL, sign_another, p));
        for (int i = 0; i < 50 && access(to, F_OK) != 0; i++)
            usleep(10000);
    }
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

START_TEST(the_newest_one_stands_in_the_file_whoever_writes_last)
{
    another_comes = true;
    OK(crl_sign(room_store, &authority, &ca, NULL, NULL, room_pool));
    ck_assert_int_eq(pthread_join(another, NULL), 0);
    ck_assert_int_eq(number_of(parsed(newest())), 2);
    expect_published();
}
END_TEST

/* The other node's CRL was collected before 0B was revoked, and arrives first. */
static void other_node_signs_an_older_view(void)
{
    other o;

    other_node_signs();
    o = other_open();
    other_says(&o, "UPDATE scep_crl SET holds = holds - 1");
    other_close(&o);
}

START_TEST(another_nodes_one_that_lacks_a_revocation_is_not_enough)
{
    put("0A", now + DAY, 1);
    put("0B", now + DAY, 1);
    meanwhile = other_node_signs_an_older_view;
    OK(crl_sign(room_store, &authority, &ca, NULL, NULL, room_pool));
    ck_assert_int_eq(number_of(parsed(newest())), 2);
    ck_assert_ptr_nonnull(entry_of(parsed(newest()), "0B"));
}
END_TEST

START_TEST(the_file_is_made_again_where_it_is_missing_or_another)
{
    FILE *file;

    keep();
    ck_assert_int_eq(unlink(authority.crl_file), 0);
    keep();
    expect_published();
    file = fopen(authority.crl_file, "r+");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 20, SEEK_SET), 0);
    ck_assert_int_ge(fputs("another", file), 0);
    ck_assert_int_eq(fclose(file), 0);
    keep();
    expect_published();
    ck_assert_int_eq(signed_here, 1);
}
END_TEST

static int files_in_folder(void)
{
    DIR *dir = opendir(room_folder);
    int n = 0;

    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        n += strncmp(entry->d_name, "ca.crl", 6) == 0;
    ck_assert_int_eq(closedir(dir), 0);
    return n;
}

START_TEST(a_file_that_cannot_be_written_does_not_lose_the_crl)
{
    const char *good = authority.crl_file;
    const scep_err *err;

    authority.crl_file = apr_pstrcat(room_pool, room_folder, "/missing/ca.crl", NULL);
    err = crl_keep(room_store, &authority, &ca, room_pool);
    room_expect(err, SCEP_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err->detail, authority.crl_file));
    ck_assert_int_eq(number_of(parsed(newest())), 1);
    /* a folder in its place: the rename fails, and nothing stays behind */
    authority.crl_file = good;
    ck_assert_int_eq(mkdir(good, 0700), 0);
    room_expect(crl_keep(room_store, &authority, &ca, room_pool), SCEP_UNAVAILABLE);
    ck_assert_int_eq(files_in_folder(), 1);
    ck_assert_int_eq(rmdir(good), 0);
    keep();
    expect_published();
    ck_assert_int_eq(files_in_folder(), 1);
    ck_assert_int_eq(signed_here, 1);
}
END_TEST

static Suite *crl_suite(void)
{
    Suite *suite = suite_create("crl");
    TCase *cases = tcase_create("crl");

    tcase_add_checked_fixture(cases, up, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, R_134_an_authority_that_signs_none_has_none);
    tcase_add_test(cases, the_first_one_says_that_nothing_is_revoked);
    tcase_add_test(cases, R_133_after_a_revocation_the_most_recent_one_is_given);
    tcase_add_test(cases, a_reason_stands_beside_an_entry_only_where_there_is_one);
    tcase_add_test(cases, a_revocation_with_an_impossible_date_is_listed_nevertheless);
    tcase_add_test(cases, what_has_ended_is_listed_once_more_and_then_no_longer);
    tcase_add_test(cases, a_long_one_is_collected_in_pieces_and_tells_how_far_it_is);
    tcase_add_test(cases, while_a_long_one_is_made_certificates_are_issued);
    tcase_add_loop_test(cases, a_new_one_is_due_when_a_third_of_its_time_is_left, 0, ROWS(times));
    tcase_add_test(cases, what_is_revoked_while_it_is_made_makes_it_due_again);
    tcase_add_test(cases, of_two_nodes_that_sign_at_once_one_does);
    tcase_add_test(cases, the_newest_one_stands_in_the_file_whoever_writes_last);
    tcase_add_test(cases, another_nodes_one_that_lacks_a_revocation_is_not_enough);
    tcase_add_test(cases, the_file_is_made_again_where_it_is_missing_or_another);
    tcase_add_test(cases, a_file_that_cannot_be_written_does_not_lose_the_crl);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    Suite *(*const make[])(void) = { crl_suite };

    return room_main(make, 1);
}
