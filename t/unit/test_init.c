/* Set-up, loading, and what the office hands out: scep-ca init, office_load(), bundle, mint. */
#include "init.h"
#include "office_room.h"
#include "suite.h"

#include "certs.h"
#include "key.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const made_files[] = {
    "ca.key",         "ca.pem",         "ra-sign.key", "ra-sign.pem",
    "ra-decrypt.key", "ra-decrypt.pem", "store.key",   "ca.conf",
};
static const char *const key_files[] = { "ca.key", "ra-sign.key", "ra-decrypt.key", "store.key" };

static const char *folder; /* exists; init writes into its "ca" */
static const char *out;

static void up(void)
{
    char *made = apr_pstrdup(p, "/tmp/scep-init-XXXXXX");

    folder = mkdtemp(made);
    ck_assert_ptr_nonnull(folder);
    out = apr_pstrcat(p, folder, "/ca", NULL);
}

static const char *in_out(const char *name)
{
    return apr_pstrcat(p, out, "/", name, NULL);
}

static void down(void)
{
    for (int i = 0; i < ROWS(made_files); i++)
        (void)unlink(in_out(made_files[i])); /* a refused set-up made none */
    (void)unlink(in_out("mine"));
    (void)rmdir(in_out("state"));
    (void)rmdir(out);
    (void)unlink(apr_pstrcat(p, folder, "/said", NULL));
    ck_assert_int_eq(rmdir(folder), 0);
}

/* Run init with "--out OUT" and @a more, a list separated by '|'; @a said: both streams. */
static int run_init(const char *more, const char **said)
{
    const char *path = apr_pstrcat(p, folder, "/said", NULL);
    char *argv[24] = { apr_pstrdup(p, "init"), apr_pstrdup(p, "--out"), apr_pstrdup(p, out) };
    int argc = 3, status, file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    int streams[2] = { dup(STDOUT_FILENO), dup(STDERR_FILENO) };
    char *state, *text = apr_pcalloc(p, 8192);

    for (char *arg = apr_strtok(apr_pstrdup(p, more), "|", &state); arg;
         arg = apr_strtok(NULL, "|", &state))
        argv[argc++] = arg;
    FIXTURE_MUST(file >= 0 && fflush(stdout) == 0);
    FIXTURE_MUST(dup2(file, STDOUT_FILENO) >= 0 && dup2(file, STDERR_FILENO) >= 0);
    status = init_main(argc, argv, p);
    FIXTURE_MUST(fflush(stdout) == 0 && fflush(stderr) == 0);
    FIXTURE_MUST(dup2(streams[0], STDOUT_FILENO) >= 0 && dup2(streams[1], STDERR_FILENO) >= 0);
    FIXTURE_MUST(pread(file, text, 8191, 0) >= 0);
    FIXTURE_MUST(close(file) == 0 && close(streams[0]) == 0 && close(streams[1]) == 0);
    *said = text;
    return status;
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    ck_assert_msg(stat(path, &st) == 0, "%s is not there", path);
    return (unsigned)st.st_mode & 07777u;
}

static X509 *certificate(const char *name)
{
    STACK_OF(X509) * certs;

    assert_ok(scep_certs_load(&certs, in_out(name), p));
    ck_assert_int_eq(sk_X509_num(certs), 1);
    return sk_X509_value(certs, 0);
}

START_TEST(a_set_up_is_whole_and_closed)
{
    const char *said;

    ck_assert_int_eq(run_init("", &said), 0);
    ck_assert_uint_eq(mode_of(out), 0711);
    ck_assert_uint_eq(mode_of(in_out("state")), 0700);
    for (int i = 0; i < ROWS(made_files); i++)
        ck_assert_uint_eq(mode_of(in_out(made_files[i])) & 0600, 0600);
    for (int i = 0; i < ROWS(key_files); i++)
        ck_assert_uint_eq(mode_of(in_out(key_files[i])), 0600);
    ck_assert_uint_eq(mode_of(in_out("ca.pem")), 0644);
    ck_assert_ptr_nonnull(
        strstr(said, apr_pstrcat(p, "SCEPConnector spawn:", out, "/ca.conf", NULL)));
    ck_assert_ptr_nonnull(strstr(said, "SHA-256"));
    ck_assert_ptr_nonnull(strstr(said, "MD5"));
}
END_TEST

START_TEST(the_ca_and_its_ra_have_the_usages_that_clients_look_for)
{
    const char *said;
    X509 *ca, *ra_sign, *ra_decrypt;

    ck_assert_int_eq(run_init("--ca-name|CN=A\\, B,O=C|--ra-name|CN=R", &said), 0);
    ca = certificate("ca.pem");
    ra_sign = certificate("ra-sign.pem");
    ra_decrypt = certificate("ra-decrypt.pem");
    ck_assert_str_eq(scep_name_line(X509_get_subject_name(ca), p), "CN=A\\, B,O=C");
    ck_assert_str_eq(scep_name_line(X509_get_subject_name(ra_sign), p), "CN=R");
    ck_assert_int_eq(X509_check_ca(ca), 1);
    ck_assert_int_eq((int)X509_get_pathlen(ca), 0);
    ck_assert_uint_eq(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    ck_assert_int_eq(EVP_PKEY_get_bits(X509_get0_pubkey(ca)), 256);
    /* Q-73 */
    ck_assert_uint_eq(X509_get_key_usage(ra_sign), KU_DIGITAL_SIGNATURE);
    ck_assert_uint_eq(X509_get_key_usage(ra_decrypt), KU_KEY_ENCIPHERMENT);
    ck_assert_int_ge(X509_get_ext_by_NID(ra_sign, NID_ext_key_usage, -1), 0);
    ck_assert_int_eq(X509_check_ca(ra_sign), 0);
    ck_assert_int_eq(X509_verify(ra_sign, X509_get0_pubkey(ca)), 1);
    ck_assert_int_eq(X509_verify(ra_decrypt, X509_get0_pubkey(ca)), 1);
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(ra_sign), X509_get0_pubkey(ra_decrypt)), 0);
}
END_TEST

START_TEST(the_state_and_nothing_else_belongs_to_the_owner)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("nobody") : getpwuid(geteuid());
    const char *said;
    struct stat st;

    ck_assert_ptr_nonnull(user);
    ck_assert_msg(run_init(apr_pstrcat(p, "--owner|", user->pw_name, NULL), &said) == 0, "%s",
                  said);
    ck_assert_ptr_nonnull(strstr(said, apr_pstrcat(p, "SCEPCAUser ", user->pw_name, NULL)));
    ck_assert_int_eq(stat(in_out("state"), &st), 0);
    ck_assert_uint_eq(st.st_uid, user->pw_uid);
    ck_assert_uint_eq(st.st_gid, user->pw_gid);
    for (int i = 0; i < ROWS(made_files); i++) {
        ck_assert_int_eq(stat(in_out(made_files[i]), &st), 0);
        ck_assert_uint_eq(st.st_uid, geteuid());
    }
}
END_TEST

static const struct {
    const char *name, *options;
    int bits, nid; /* of the CA's key and signature */
} kinds[] = {
    { "RSA 2048", "--ca-key|rsa2048", 2048, NID_sha256WithRSAEncryption },
    { "P-384", "--ca-key|p384|--ca-days|20|--ra-days|36500", 384, NID_ecdsa_with_SHA384 },
    { "URLs", "--crl-url|http://a.example/x.crl|--issuer-url|https://a.example/?a=b&c=%20", 256,
      NID_ecdsa_with_SHA256 },
};

START_TEST(options_are_obeyed)
{
    const char *said;
    X509 *ca;

    row = kinds[_i].name;
    ck_assert_msg(run_init(kinds[_i].options, &said) == 0, "%s", said);
    ca = certificate("ca.pem");
    ck_assert_int_eq(EVP_PKEY_get_bits(X509_get0_pubkey(ca)), kinds[_i].bits);
    ck_assert_int_eq(X509_get_signature_nid(ca), kinds[_i].nid);
    ck_assert_int_le(
        ASN1_TIME_compare(X509_get0_notAfter(certificate("ra-sign.pem")), X509_get0_notAfter(ca)),
        0);
}
END_TEST

static const struct {
    const char *name, *options;
    int status;
    const char *says;
} refusals[] = {
    { "an unknown option", "--ca-kind|p256", 2, "usage: scep-ca init" },
    { "an argument too many", "x", 2, "usage: scep-ca init" },
    { "no days", "--ca-days|0", 2, "1 to 36500" },
    { "too many days", "--ra-days|36501", 2, "1 to 36500" },
    { "an EC key for the RA", "--ra-key|p256", 2, "RSA only" },
    { "a kind there is not", "--ca-key|rsa1024", 1, "rsa1024 is not one of" },
    { "a name without a type", "--ca-name|Example", 1, "is no name" },
    { "a name of an unknown type", "--ra-name|CN=a,XX=b", 1, "is no name" },
    { "an empty name", "--ca-name|CN=", 1, "is no name" },
    { "a name that ends with a comma", "--ca-name|CN=a,", 1, "is no name" },
    { "a user there is not", "--owner|nobody-of-that-name", 1, "useradd" },
    { "a URL that ca.conf would cut", "--crl-url|http://a/#x", 2, "'#'" },
    { "a URL of two lines", "--issuer-url|http://a/\nallow_sid=yes", 2, "URLs begin with" },
};

START_TEST(a_bad_option_makes_nothing)
{
    const char *said;

    row = refusals[_i].name;
    ck_assert_msg(run_init(refusals[_i].options, &said) == refusals[_i].status, "%s: %s", row,
                  said);
    ck_assert_msg(strstr(said, refusals[_i].says), "%s: \"%s\" in: %s", row, refusals[_i].says,
                  said);
    ck_assert_msg(access(out, F_OK) != 0, "%s: something was made", row);
}
END_TEST

START_TEST(help_is_given_on_standard_output)
{
    const char *said;

    ck_assert_int_eq(run_init("--help", &said), 0);
    for (const char *const *o =
             (const char *const[]){ "--owner", "--ca-key", "--ra-key", "--ca-name", "--ra-name",
                                    "--ca-days", "--ra-days", "--crl-url", "--issuer-url", NULL };
         *o; o++)
        ck_assert_msg(strstr(said, *o), "%s is not in --help", *o);
}
END_TEST

START_TEST(a_folder_that_is_not_empty_is_left_alone)
{
    const char *said;
    FILE *file;

    ck_assert_int_eq(mkdir(out, 0700), 0);
    file = fopen(in_out("mine"), "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(run_init("", &said), 1);
    ck_assert_ptr_nonnull(strstr(said, "is not empty"));
    ck_assert_ptr_null(strstr(said, "remove it"));
    ck_assert_uint_eq(mode_of(out), 0700);
    ck_assert_int_ne(access(in_out("ca.key"), F_OK), 0);
    ck_assert_int_eq(unlink(in_out("mine")), 0);
    ck_assert_int_eq(run_init("", &said), 0);
    ck_assert_int_eq(run_init("", &said), 1);
}
END_TEST

/* ---- office_load() ---- */

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
    const char *said, *path = in_out("ca.conf");
    office *o;

    ck_assert_int_eq(run_init("", &said), 0);
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

    ck_assert_int_eq(run_init("", &said), 0);
    for (int i = 0; i < ROWS(swaps); i++) {
        const char *saved = in_out("mine");

        row = swaps[i].name;
        ck_assert_int_eq(rename(in_out(swaps[i].to), saved), 0);
        ck_assert_int_eq(apr_file_copy(in_out(swaps[i].from), in_out(swaps[i].to),
                                       APR_FPROT_FILE_SOURCE_PERMS, p),
                         APR_SUCCESS);
        assert_code(SCEP_CONFIG, office_load(&o, in_out("ca.conf"), NULL, p));
        ck_assert_int_eq(rename(saved, in_out(swaps[i].to)), 0);
    }
    ck_assert_int_eq(chmod(in_out("ca.key"), 0640), 0);
    assert_code(SCEP_CONFIG, office_load(&o, in_out("ca.conf"), NULL, p));
    ck_assert_int_eq(chmod(in_out("ca.key"), 0600), 0);
    row = "as it was";
    assert_ok(office_load(&o, in_out("ca.conf"), NULL, p));
}
END_TEST

/* ---- what the office hands out ---- */

START_TEST(workers_learn_certificates_from_all_and_keys_with_the_bundle)
{
    const scep_wire_endpoint_name known = { "B.example" }, unknown = { "c.example" };
    apr_array_header_t *two = endpoint("b.example", NULL, NULL);
    const scep_wire_public *first, *bundled;
    scep_wire_identities identities;
    scep_wire_ready ready;
    EVP_PKEY *key;
    const char *said;
    X509 *cert;
    office *o;

    apr_array_cat(two, endpoint("A.example", NULL, NULL));
    ck_assert_int_eq(run_init("", &said), 0);
    assert_ok(office_load(&o, in_out("ca.conf"), two, p));
    assert_ok(office_hello(&ready, o, p));
    ck_assert_int_eq(ready.endpoints->nelts, 2);
    first = &APR_ARRAY_IDX(ready.endpoints, 0, scep_wire_public);
    ck_assert_str_eq(first->endpoint, "A.example");
    ck_assert(first->generation != 0);
    ck_assert_int_eq(first->chain->nelts, 1);
    assert_ok(scep_cert_read(&cert, APR_ARRAY_IDX(first->chain, 0, scep_wire_cert).der, p));
    ck_assert_int_eq(X509_cmp(cert, certificate("ca.pem")), 0);
    assert_ok(office_bundle(&identities, o, &known, p));
    ck_assert_int_eq(identities.endpoint->nelts, 1);
    bundled = &APR_ARRAY_IDX(identities.endpoint, 0, scep_wire_public);
    ck_assert(bundled->generation == first->generation);
    assert_bytes(bundled->sign_cert, first->sign_cert);
    assert_bytes(bundled->decrypt_cert, first->decrypt_cert);
    assert_ok(scep_key_read(&key, identities.sign_key, p));
    assert_ok(scep_cert_read(&cert, bundled->sign_cert, p));
    ck_assert_int_eq(X509_check_private_key(cert, key), 1);
    assert_ok(scep_key_read(&key, identities.decrypt_key, p));
    assert_ok(scep_cert_read(&cert, bundled->decrypt_cert, p));
    ck_assert_int_eq(X509_check_private_key(cert, key), 1);
    assert_code(SCEP_REFUSED, office_bundle(&identities, o, &unknown, p));
}
END_TEST

START_TEST(another_identity_is_another_generation)
{
    uint64_t before;
    const char *said;
    office *o;

    ck_assert_int_eq(run_init("", &said), 0);
    assert_ok(office_load(&o, in_out("ca.conf"), NULL, p));
    before = APR_ARRAY_IDX(o->authorities, 0, office_authority *)->generation;
    assert_ok(office_load(&o, in_out("ca.conf"), NULL, p));
    ck_assert(before == APR_ARRAY_IDX(o->authorities, 0, office_authority *)->generation);
    for (int i = 0; i < ROWS(made_files); i++)
        ck_assert_int_eq(unlink(in_out(made_files[i])), 0);
    ck_assert_int_eq(rmdir(in_out("state")), 0);
    ck_assert_int_eq(run_init("", &said), 0);
    assert_ok(office_load(&o, in_out("ca.conf"), NULL, p));
    ck_assert(before != APR_ARRAY_IDX(o->authorities, 0, office_authority *)->generation);
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

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, a_set_up_is_whole_and_closed);
    tcase_add_test(cases, the_ca_and_its_ra_have_the_usages_that_clients_look_for);
    tcase_add_test(cases, the_state_and_nothing_else_belongs_to_the_owner);
    tcase_add_loop_test(cases, options_are_obeyed, 0, ROWS(kinds));
    tcase_add_loop_test(cases, a_bad_option_makes_nothing, 0, ROWS(refusals));
    tcase_add_test(cases, help_is_given_on_standard_output);
    tcase_add_test(cases, a_folder_that_is_not_empty_is_left_alone);
    tcase_add_test(cases, an_endpoint_that_cannot_work_is_refused);
    tcase_add_test(cases, files_that_do_not_fit_each_other_are_refused);
    tcase_add_test(cases, workers_learn_certificates_from_all_and_keys_with_the_bundle);
    tcase_add_test(cases, another_identity_is_another_generation);
    tcase_add_test(cases, minting_has_its_limits_and_its_line_in_the_log);
}

int main(void)
{
    int status;

    office_room_prepare();
    status = run_suite("init", add_tests);
    office_room_done();
    return status;
}
