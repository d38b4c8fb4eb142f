/* Set-up and its check: scep-ca init, scep-ca check. */
#include "init_room.h"
#include "suite.h"

#include "certs.h"
#include "wire.h"

#include <apr_strings.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const key_files[] = { "ca.key", "ra-sign.key", "ra-decrypt.key", "store.key" };

static void up(void)
{
    init_room_up(p);
}

static void down(void)
{
    init_room_down(p);
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    ck_assert_msg(stat(path, &st) == 0, "%s is not there", path);
    return (unsigned)st.st_mode & 07777u;
}

START_TEST(a_set_up_is_whole_and_closed)
{
    const char *said;

    ck_assert_int_eq(init_room_run("", &said, p), 0);
    ck_assert_uint_eq(mode_of(init_room_out), 0711);
    ck_assert_uint_eq(mode_of(init_room_path("state", p)), 0700);
    ck_assert_uint_eq(mode_of(init_room_path("public", p)), 0755);
    for (int i = 0; i < ROWS(init_room_files); i++)
        ck_assert_uint_eq(mode_of(init_room_path(init_room_files[i], p)) & 0600, 0600);
    for (int i = 0; i < ROWS(key_files); i++)
        ck_assert_uint_eq(mode_of(init_room_path(key_files[i], p)), 0600);
    ck_assert_uint_eq(mode_of(init_room_path("ca.pem", p)), 0644);
    ck_assert_ptr_nonnull(
        strstr(said, apr_pstrcat(p, "SCEPConnector spawn:", init_room_out, "/ca.conf", NULL)));
    ck_assert_ptr_nonnull(strstr(said, "SHA-256"));
    ck_assert_ptr_nonnull(strstr(said, "MD5"));
}
END_TEST

START_TEST(Q_73_Q_76_the_ca_and_its_ra_have_the_usages_that_clients_look_for)
{
    const char *said;
    X509 *ca, *ra_sign, *ra_decrypt;

    ck_assert_int_eq(init_room_run("--ca-name|CN=A\\, B,O=C|--ra-name|CN=R", &said, p), 0);
    ca = init_room_certificate("ca.pem", p);
    ra_sign = init_room_certificate("ra-sign.pem", p);
    ra_decrypt = init_room_certificate("ra-decrypt.pem", p);
    ck_assert_str_eq(scep_name_line(X509_get_subject_name(ca), p), "CN=A\\, B,O=C");
    ck_assert_str_eq(scep_name_line(X509_get_subject_name(ra_sign), p), "CN=R");
    ck_assert_int_eq(X509_check_ca(ca), 1);
    ck_assert_int_eq((int)X509_get_pathlen(ca), 0);
    ck_assert_uint_eq(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    ck_assert_int_eq(EVP_PKEY_get_bits(X509_get0_pubkey(ca)), 256);
    ck_assert_uint_eq(X509_get_key_usage(ra_sign), KU_DIGITAL_SIGNATURE);
    ck_assert_uint_eq(X509_get_key_usage(ra_decrypt), KU_KEY_ENCIPHERMENT);
    ck_assert_int_ge(X509_get_ext_by_NID(ra_sign, NID_ext_key_usage, -1), 0);
    ck_assert_int_eq(X509_check_ca(ra_sign), 0);
    ck_assert_int_eq(X509_verify(ra_sign, X509_get0_pubkey(ca)), 1);
    ck_assert_int_eq(X509_verify(ra_decrypt, X509_get0_pubkey(ca)), 1);
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(ra_sign), X509_get0_pubkey(ra_decrypt)), 0);
}
END_TEST

START_TEST(state_and_public_and_nothing_else_belong_to_the_owner)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("nobody") : getpwuid(geteuid());
    const char *said;
    struct stat st;

    ck_assert_ptr_nonnull(user);
    ck_assert_msg(init_room_run(apr_pstrcat(p, "--owner|", user->pw_name, NULL), &said, p) == 0,
                  "%s", said);
    ck_assert_ptr_nonnull(strstr(said, apr_pstrcat(p, "SCEPCAUser ", user->pw_name, NULL)));
    for (int i = 0; i < ROWS(init_room_folders); i++) {
        ck_assert_int_eq(stat(init_room_path(init_room_folders[i], p), &st), 0);
        ck_assert_uint_eq(st.st_uid, user->pw_uid);
        ck_assert_uint_eq(st.st_gid, user->pw_gid);
    }
    for (int i = 0; i < ROWS(init_room_files); i++) {
        ck_assert_int_eq(stat(init_room_path(init_room_files[i], p), &st), 0);
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
    ck_assert_msg(init_room_run(kinds[_i].options, &said, p) == 0, "%s", said);
    ca = init_room_certificate("ca.pem", p);
    ck_assert_int_eq(EVP_PKEY_get_bits(X509_get0_pubkey(ca)), kinds[_i].bits);
    ck_assert_int_eq(X509_get_signature_nid(ca), kinds[_i].nid);
    ck_assert_int_le(ASN1_TIME_compare(X509_get0_notAfter(init_room_certificate("ra-sign.pem", p)),
                                       X509_get0_notAfter(ca)),
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
    { "a kind there is not", "--ca-key|rsa1024", 2, "rsa1024 is not one of" },
    { "a name without a type", "--ca-name|Example", 2, "is no name" },
    { "a name of an unknown type", "--ra-name|CN=a,XX=b", 2, "is no name" },
    { "an empty name", "--ca-name|CN=", 2, "is no name" },
    { "a name that ends with a comma", "--ca-name|CN=a,", 2, "is no name" },
    { "a user there is not", "--owner|nobody-of-that-name", 1, "useradd" },
    { "a URL that ca.conf would cut", "--crl-url|http://a/#x", 2, "'#'" },
    { "a URL of two lines", "--issuer-url|http://a/\nallow_sid=yes", 2, "URLs begin with" },
};

START_TEST(a_bad_option_makes_nothing)
{
    const char *said;

    row = refusals[_i].name;
    ck_assert_msg(init_room_run(refusals[_i].options, &said, p) == refusals[_i].status, "%s: %s",
                  row, said);
    ck_assert_msg(strstr(said, refusals[_i].says), "%s: \"%s\" in: %s", row, refusals[_i].says,
                  said);
    ck_assert_msg(access(init_room_out, F_OK) != 0, "%s: something was made", row);
}
END_TEST

START_TEST(help_is_given_on_standard_output)
{
    const char *said;

    ck_assert_int_eq(init_room_run("--help", &said, p), 0);
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

    ck_assert_int_eq(mkdir(init_room_out, 0700), 0);
    file = fopen(init_room_path("mine", p), "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(init_room_run("", &said, p), 1);
    ck_assert_ptr_nonnull(strstr(said, "is not empty"));
    ck_assert_ptr_null(strstr(said, "remove it"));
    ck_assert_uint_eq(mode_of(init_room_out), 0700);
    ck_assert_int_ne(access(init_room_path("ca.key", p), F_OK), 0);
    ck_assert_int_eq(unlink(init_room_path("mine", p)), 0);
    ck_assert_int_eq(init_room_run("", &said, p), 0);
    ck_assert_int_eq(init_room_run("", &said, p), 1);
}
END_TEST

/* Q-74: Apple compares with the root, whose fingerprint is told */
START_TEST(Q_74_the_fingerprint_told_is_the_roots)
{
    unsigned char hash[32];
    unsigned int len;
    const char *said;

    ck_assert_int_eq(init_room_run("", &said, p), 0);
    ck_assert_int_eq(X509_digest(init_room_certificate("ca.pem", p), EVP_sha256(), hash, &len), 1);
    ck_assert_ptr_nonnull(strstr(said, scep_hex(p, (scep_bytes){ hash, len })));
    ck_assert_int_eq(X509_self_signed(init_room_certificate("ca.pem", p), 1), 1);
}
END_TEST

START_TEST(what_was_written_decides_what_has_to_be_decided)
{
    static const char *const lines[] = {
        "\nctl       = state/ctl.sock\n",      "\nforeign_crl     = none\n",
        "\ncrl_file        = public/ca.crl\n", "\ncrl_days        = 7\n",
        "\nra_days         = 730\n",           "\nra_renew_days   = 30\n",
    };
    const char *said, *text;

    ck_assert_int_eq(init_room_run("", &said, p), 0);
    text = init_room_text(init_room_path("ca.conf", p), p);
    for (int i = 0; i < ROWS(lines); i++)
        ck_assert_msg(strstr(text, lines[i]), "%s", lines[i]);
    ck_assert_ptr_null(strstr(text, "\ncrl_url "));
    ck_assert_ptr_null(strstr(said, "Alias"));
}
END_TEST

START_TEST(a_crl_url_is_where_httpd_is_told_to_serve_the_file)
{
    const char *said;

    ck_assert_int_eq(init_room_run("--crl-url|http://pki.example:8080/a/ca.crl?x=1", &said, p), 0);
    ck_assert_ptr_nonnull(strstr(
        said, apr_pstrcat(p, "Alias \"/a/ca.crl\" ", init_room_out, "/public/ca.crl\n", NULL)));
    ck_assert_ptr_nonnull(
        strstr(said, apr_pstrcat(p, "<Directory ", init_room_out, "/public>\n", NULL)));
    ck_assert_ptr_nonnull(strstr(init_room_text(init_room_path("ca.conf", p), p),
                                 "\ncrl_url            = http://pki.example:8080/a/ca.crl?x=1\n"));
}
END_TEST

/* ---- scep-ca check ---- */

static const char *owned_init(const char *more)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("nobody") : getpwuid(geteuid());
    const char *said;

    ck_assert_ptr_nonnull(user);
    ck_assert_int_eq(init_room_run(apr_pstrcat(p, "--owner|", user->pw_name, more, NULL), &said, p),
                     0);
    return init_room_path("ca.conf", p);
}

START_TEST(a_check_says_what_it_found)
{
    const char *conf_path = owned_init("");
    const char *const says[] = {
        ": ok\n",
        "CN=",
        "RA renewal  for 730 days, 30 days before the end\n",
        apr_pstrcat(p, "CRL         ", init_room_out, "/public/ca.crl, for 7 days\n", NULL),
        "foreign CRL none\n",
        "next        none\n",
        "templates   IPSECIntermediateOffline WiFiClient\n",
        apr_pstrcat(p, "scepctl ", init_room_out, "/state/ctl.sock\n", NULL),
    };
    const char *said;

    ck_assert_msg(init_room_check(conf_path, &said, p) == 0, "%s", said);
    for (int i = 0; i < ROWS(says); i++)
        ck_assert_msg(strstr(said, says[i]), "\"%s\" in: %s", says[i], said);
    ck_assert_int_ne(access(init_room_path("public/ca.crl", p), F_OK), 0);
}
END_TEST

START_TEST(a_check_tells_a_fault_from_wrong_usage)
{
    const char *conf_path = owned_init("");
    const char *said;

    ck_assert_int_eq(init_room_check("", &said, p), 2);
    ck_assert_int_eq(init_room_check("--conf|x", &said, p), 2);
    ck_assert_int_eq(init_room_check(apr_pstrcat(p, conf_path, "|x", NULL), &said, p), 2);
    ck_assert_int_eq(init_room_check("/nowhere/ca.conf", &said, p), 1);
    ck_assert_ptr_nonnull(strstr(said, "/nowhere/ca.conf"));
    /* what scep-ca would fail to make */
    ck_assert_int_eq(rmdir(init_room_path("public", p)), 0);
    ck_assert_int_eq(init_room_check(conf_path, &said, p), 1);
    ck_assert_msg(strstr(said, "crl_file = ") && strstr(said, "nothing can be made in"), "%s",
                  said);
    ck_assert_int_eq(unlink(init_room_path("ra-sign.key", p)), 0);
    ck_assert_int_eq(init_room_check(conf_path, &said, p), 1);
    ck_assert_ptr_nonnull(strstr(said, "ra-sign.key"));
}
END_TEST

static scep_bytes settings_of(int endpoints)
{
    scep_wire_configure c = {
        .user = "",
        .timeout = 30,
        .in_flight = 8,
        .endpoints = apr_array_make(p, endpoints, sizeof(scep_wire_endpoint)),
    };

    for (int i = 0; i < endpoints; i++) {
        scep_wire_endpoint *e = apr_array_push(c.endpoints);

        e->name = apr_psprintf(p, "e%d.example", i);
        e->settings = apr_array_make(p, 1, sizeof(scep_wire_setting));
    }
    return scep_wire_put_configure(SCEP_VERB_CONFIGURE, &c, p);
}

START_TEST(a_check_for_httpd_refuses_more_endpoints_than_httpd_can_take)
{
    const char *conf_path = owned_init("");
    const char *said;

    ck_assert_msg(init_room_check_control(conf_path, settings_of(500), &said, p) == 0, "%s", said);
    ck_assert_int_eq(init_room_check_control(conf_path, settings_of(2000), &said, p), 1);
    ck_assert_ptr_nonnull(strstr(said, "2000 endpoints"));
    ck_assert_ptr_nonnull(strstr(said, "share a SCEPEndpoint"));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, up, down);
    tcase_add_test(cases, a_set_up_is_whole_and_closed);
    tcase_add_test(cases, Q_73_Q_76_the_ca_and_its_ra_have_the_usages_that_clients_look_for);
    tcase_add_test(cases, state_and_public_and_nothing_else_belong_to_the_owner);
    tcase_add_loop_test(cases, options_are_obeyed, 0, ROWS(kinds));
    tcase_add_loop_test(cases, a_bad_option_makes_nothing, 0, ROWS(refusals));
    tcase_add_test(cases, help_is_given_on_standard_output);
    tcase_add_test(cases, a_folder_that_is_not_empty_is_left_alone);
    tcase_add_test(cases, Q_74_the_fingerprint_told_is_the_roots);
    tcase_add_test(cases, what_was_written_decides_what_has_to_be_decided);
    tcase_add_test(cases, a_crl_url_is_where_httpd_is_told_to_serve_the_file);
    tcase_add_test(cases, a_check_says_what_it_found);
    tcase_add_test(cases, a_check_for_httpd_refuses_more_endpoints_than_httpd_can_take);
    tcase_add_test(cases, a_check_tells_a_fault_from_wrong_usage);
}

int main(void)
{
    return run_suite("init", add_tests);
}
