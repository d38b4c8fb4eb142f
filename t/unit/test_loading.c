/* What the office loads, and what it hands out: office_load(), hello, bundle, mint. */
#include "init_room.h"
#include "office_room.h"
#include "suite.h"

#include "certs.h"
#include "chores.h"
#include "clock.h"
#include "key.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void up(void)
{
    init_room_up(p);
}

static void down(void)
{
    init_room_down(p);
}

static apr_array_header_t *endpoint(const char *name, const char *setting, const char *value)
{
    apr_array_header_t *list = apr_array_make(p, 1, sizeof(scep_wire_endpoint));
    scep_wire_endpoint *e = apr_array_push(list);

    e->name = name;
    e->settings = apr_array_make(p, 1, sizeof(scep_wire_setting));
    if (setting) {
        scep_wire_setting *s = apr_array_push(e->settings);

        s->name = setting;
        s->value = value;
    }
    return list;
}

static const struct {
    const char *setting, *value;
    const char *says;
} unfit[] = {
    { "Authority", "other", "SCEPAuthority other" },
    { "SignatureTemplate", "Missing", "IPSECIntermediateOffline, WiFiClient" },
    { "EncryptionTemplate", "Missing", "SCEPTemplate EncryptionTemplate Missing" },
    { "GeneralPurposeTemplate", "Missing", "SCEPTemplate GeneralPurposeTemplate Missing" },
    { "PasswordMaximum", "5", "different versions" },
    { "PasswordMax", "0", "PasswordMax" },
    { "EnforcePassword", "maybe", "EnforcePassword" },
};

START_TEST(an_endpoint_that_cannot_work_is_refused)
{
    apr_array_header_t *twice = endpoint("A.example", NULL, NULL);
    const char *said, *path = init_room_path("ca.conf", p);
    office *o;

    ck_assert_int_eq(init_room_run("", &said, p), 0);
    assert_ok(office_load(&o, path, endpoint("a", "GeneralPurposeTemplate", "WiFiClient"), p));
    for (int i = 0; i < ROWS(unfit); i++) {
        const scep_err *err =
            office_load(&o, path, endpoint("a", unfit[i].setting, unfit[i].value), p);

        row = unfit[i].setting;
        assert_code(SCEP_CONFIG, err);
        ck_assert_msg(strstr(err->detail, unfit[i].says), "%s: \"%s\" in: %s", row, unfit[i].says,
                      err->detail);
    }
    apr_array_cat(twice, endpoint("a.EXAMPLE", NULL, NULL));
    assert_code(SCEP_CONFIG, office_load(&o, path, twice, p));
    assert_code(SCEP_CONFIG, office_load(&o, path, endpoint("", NULL, NULL), p));
}
END_TEST

START_TEST(files_that_do_not_fit_each_other_are_refused)
{
    static const struct {
        const char *name, *from, *to; /* @a from takes the place of @a to */
    } swaps[] = {
        { "the RA's keys exchanged", "ra-sign.key", "ra-decrypt.key" },
        { "the CA as RA", "ca.pem", "ra-sign.pem" },
        { "another certificate as CA", "ra-sign.pem", "ca.pem" },
        { "the encryption certificate to sign", "ra-decrypt.pem", "ra-sign.pem" },
        { "a key in place of store.key", "ca.key", "store.key" },
    };
    const char *said;
    office *o;

    ck_assert_int_eq(init_room_run("", &said, p), 0);
    for (int i = 0; i < ROWS(swaps); i++) {
        const char *saved = init_room_path("mine", p);

        row = swaps[i].name;
        ck_assert_int_eq(rename(init_room_path(swaps[i].to, p), saved), 0);
        ck_assert_int_eq(apr_file_copy(init_room_path(swaps[i].from, p),
                                       init_room_path(swaps[i].to, p), APR_FPROT_FILE_SOURCE_PERMS,
                                       p),
                         APR_SUCCESS);
        assert_code(SCEP_CONFIG, office_load(&o, init_room_path("ca.conf", p), NULL, p));
        ck_assert_int_eq(rename(saved, init_room_path(swaps[i].to, p)), 0);
    }
    ck_assert_int_eq(chmod(init_room_path("ca.key", p), 0640), 0);
    assert_code(SCEP_CONFIG, office_load(&o, init_room_path("ca.conf", p), NULL, p));
    ck_assert_int_eq(chmod(init_room_path("ca.key", p), 0600), 0);
    row = "as it was";
    assert_ok(office_load(&o, init_room_path("ca.conf", p), NULL, p));
}
END_TEST

/* ---- what the office hands out ---- */

static const scep_wire_public *public_at(const apr_array_header_t *list, int i)
{
    ck_assert_int_lt(i, list->nelts);
    return &APR_ARRAY_IDX(list, i, scep_wire_public);
}

static const scep_wire_identity *identity_of(const scep_wire_public *e)
{
    ck_assert_int_eq(e->identities->nelts, 1);
    return &APR_ARRAY_IDX(e->identities, 0, scep_wire_identity);
}

static void assert_pair(scep_bytes cert_der, scep_bytes key_der)
{
    EVP_PKEY *key;
    X509 *cert;

    assert_ok(scep_key_read(&key, key_der, p));
    assert_ok(scep_cert_read(&cert, cert_der, p));
    ck_assert_int_eq(X509_check_private_key(cert, key), 1);
}

START_TEST(workers_learn_certificates_from_all_and_keys_with_the_bundle)
{
    const scep_wire_endpoint_name known = { "B.example" }, unknown = { "c.example" };
    apr_array_header_t *two = endpoint("b.example", NULL, NULL);
    const scep_wire_public *first, *bundled;
    const scep_wire_identity *ra;
    const scep_wire_keys *keys;
    scep_wire_identities bundle;
    scep_wire_ready ready;
    const char *said;
    X509 *cert;
    office *o;

    apr_array_cat(two, endpoint("A.example", NULL, NULL));
    ck_assert_int_eq(init_room_run("", &said, p), 0);
    assert_ok(office_load(&o, init_room_path("ca.conf", p), two, p));
    assert_ok(office_hello(&ready, o, p));
    ck_assert_int_eq(ready.endpoints->nelts, 2);
    first = public_at(ready.endpoints, 0);
    ck_assert_str_eq(first->endpoint, "A.example");
    ck_assert(first->generation != 0);
    ra = identity_of(first);
    ck_assert_uint_eq(ra->role, SCEP_ROLE_CURRENT);
    ck_assert_int_eq(ra->chain->nelts, 1);
    assert_ok(scep_cert_read(&cert, APR_ARRAY_IDX(ra->chain, 0, scep_wire_cert).der, p));
    ck_assert_int_eq(X509_cmp(cert, init_room_certificate("ca.pem", p)), 0);
    assert_ok(office_bundle(&bundle, o, &known, p));
    ck_assert_int_eq(bundle.endpoint->nelts, 1);
    bundled = public_at(bundle.endpoint, 0);
    ck_assert(bundled->generation == first->generation);
    assert_bytes(identity_of(bundled)->sign_cert, ra->sign_cert);
    assert_bytes(identity_of(bundled)->decrypt_cert, ra->decrypt_cert);
    ck_assert_int_eq(bundle.keys->nelts, 1);
    keys = &APR_ARRAY_IDX(bundle.keys, 0, scep_wire_keys);
    assert_pair(ra->sign_cert, keys->sign_key);
    assert_pair(ra->decrypt_cert, keys->decrypt_key);
    assert_code(SCEP_REFUSED, office_bundle(&bundle, o, &unknown, p));
}
END_TEST

static uint64_t generation(const office *o)
{
    return identities_now(APR_ARRAY_IDX(o->authorities, 0, office_authority *)->identities)
        ->generation;
}

START_TEST(another_identity_is_another_generation)
{
    uint64_t before;
    const char *said;
    office *o;

    ck_assert_int_eq(init_room_run("", &said, p), 0);
    assert_ok(office_load(&o, init_room_path("ca.conf", p), NULL, p));
    before = generation(o);
    assert_ok(office_load(&o, init_room_path("ca.conf", p), NULL, p));
    ck_assert(before == generation(o));
    for (int i = 0; i < ROWS(init_room_files); i++)
        ck_assert_int_eq(unlink(init_room_path(init_room_files[i], p)), 0);
    for (int i = 0; i < ROWS(init_room_folders); i++)
        ck_assert_int_eq(rmdir(init_room_path(init_room_folders[i], p)), 0);
    ck_assert_int_eq(init_room_run("", &said, p), 0);
    assert_ok(office_load(&o, init_room_path("ca.conf", p), NULL, p));
    ck_assert(before != generation(o));
}
END_TEST

START_TEST(minting_has_its_limits_and_its_line_in_the_log)
{
    office *o = office_room_up(p);
    scep_wire_mint in = { .endpoint = "other.example", .user = "al\"ice", .peer = "192.0.2.1" };
    scep_wire_minted first, minted;
    const char *log;

    assert_ok(office_mint(&first, o, &in, p));
    ck_assert_uint_eq(first.outcome, SCEP_MINT_DONE);
    ck_assert_uint_eq(strlen(first.challenge), 16);
    ck_assert_uint_eq(strspn(first.challenge, "0123456789ABCDEF"), 16);
    ck_assert_uint_eq(first.minutes, 60);
    ck_assert_int_le(llabs((long long)first.expires - apr_time_sec(apr_time_now()) - 3600), 5);
    assert_ok(office_mint(&minted, o, &in, p));
    ck_assert_str_ne(minted.challenge, first.challenge);
    assert_ok(office_mint(&minted, o, &in, p)); /* PasswordMax 2 */
    ck_assert_uint_eq(minted.outcome, SCEP_MINT_FULL);
    ck_assert_ptr_null(minted.challenge);
    in.endpoint = "devices";
    in.user = "";
    assert_ok(office_mint(&minted, o, &in, p));
    ck_assert_uint_eq(minted.outcome, SCEP_MINT_NOT_PERMITTED);
    ck_assert_ptr_null(minted.challenge);
    in.endpoint = "nobody";
    assert_code(SCEP_REFUSED, office_mint(&minted, o, &in, p));
    log = office_room_log(p);
    ck_assert_ptr_nonnull(strstr(log, "SCEP0241: mint endpoint=\"other.example\" verdict=minted "
                                      "reason=\"\" user=\"al\\x22ice\" from=\"192.0.2.1\""));
    ck_assert_ptr_nonnull(strstr(log, "verdict=full"));
    ck_assert_ptr_nonnull(strstr(log, "verdict=not-permitted"));
    ck_assert_ptr_nonnull(strstr(log, "verdict=failed reason=\"there is no endpoint"));
    ck_assert_ptr_null(strstr(log, first.challenge));
    office_room_down(o);
}
END_TEST

/* ---- timed work ---- */

static const scep_err *unused_of(store_tx *tx, void *baton)
{
    return store_unused_get(tx, "devices", baton);
}

/* Chores begin at once, and make keys: a minute at most. @return whether all @a says are there */
static bool logged(const char *const *says, int n)
{
    for (int tries = 0; tries < 3000; tries++) {
        const char *log = office_room_log(p);
        int found = 0;

        while (found < n && strstr(log, says[found]))
            found++;
        if (found == n)
            return true;
        apr_sleep(apr_time_from_msec(20));
    }
    return false;
}

START_TEST(a_chore_that_fails_does_not_stop_the_others)
{
    static const char *const says[] = {
        "SCEP0292: the CRL cannot be kept up to date: crl_file /nowhere/ca.crl",
        "SCEP0293: NDES-8 [authority default]: foreign_crl: http://127.0.0.1:1/x",
        "SCEP0303: [authority default]: CRL number 1 signed",
    };
    office *o = office_room_up(p);
    office_authority *a = APR_ARRAY_IDX(o->authorities, 0, office_authority *);
    conf_authority *section = apr_pmemdup(p, a->conf, sizeof(*section));
    apr_int64_t unused = -1;
    chores *c;

    section->crl_file = "/nowhere/ca.crl";
    a->conf = section;
    ck_assert_int_eq(unsetenv("http_proxy") + unsetenv("all_proxy") + unsetenv("ALL_PROXY"), 0);
    assert_ok(foreign_make(&a->trust.foreign, "http://127.0.0.1:1/x", a->trust.issuers, p));
    ck_assert_ptr_nonnull(office_room_mint(o, "devices", p));
    scep_clock_set(apr_time_now() + apr_time_from_sec(2 * 60 * 60));
    assert_ok(chores_start(&c, o, p));
    ck_assert_msg(logged(says, ROWS(says)), "%s", office_room_log(p));
    chores_stop(c);
    assert_ok(store_run(o->store, unused_of, &unused, p));
    ck_assert_int_eq(unused, 0);
    ck_assert_ptr_null(strstr(office_room_log(p), "SCEP0291"));
    office_room_down(o);
}
END_TEST

/* A CA elsewhere that hangs while its RA is due does not hold up the CRLs of those behind it. */
START_TEST(all_crls_are_signed_before_an_ra_is_renewed)
{
    static const char *const says[] = {
        "SCEP0303: [authority default]: CRL number 1 signed",
        "SCEP0300: [authority successor]: a new RA was made",
        "SCEP0300: [authority default]: a new RA was made",
    };
    office *o = office_room_up(p);
    office_authority *first;
    const char *at, *log;
    chores *c;

    /* the one that signs CRLs comes last */
    first = APR_ARRAY_IDX(o->authorities, 0, office_authority *);
    APR_ARRAY_IDX(o->authorities, 0, office_authority *) =
        APR_ARRAY_IDX(o->authorities, 1, office_authority *);
    APR_ARRAY_IDX(o->authorities, 1, office_authority *) = first;
    scep_clock_set(apr_time_now() + apr_time_from_sec(70 * 24 * 60 * 60));
    assert_ok(chores_start(&c, o, p));
    ck_assert_msg(logged(says, ROWS(says)), "%s", office_room_log(p));
    chores_stop(c);
    at = log = office_room_log(p);
    for (int i = 0; i < ROWS(says); i++) {
        at = strstr(at, says[i]);
        ck_assert_msg(at, "%s is too early in: %s", says[i], log);
    }
    office_room_down(o);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, an_endpoint_that_cannot_work_is_refused);
    tcase_add_test(cases, files_that_do_not_fit_each_other_are_refused);
    tcase_add_test(cases, workers_learn_certificates_from_all_and_keys_with_the_bundle);
    tcase_add_test(cases, another_identity_is_another_generation);
    tcase_add_test(cases, a_chore_that_fails_does_not_stop_the_others);
    tcase_add_test(cases, all_crls_are_signed_before_an_ra_is_renewed);
    tcase_add_test(cases, minting_has_its_limits_and_its_line_in_the_log);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("loading", add_tests);
    office_room_done();
    return status;
}
