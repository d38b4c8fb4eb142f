/* The one list of settings. */
#include "settings.h"
#include "suite.h"

#include <apr_strings.h>
#include <string.h>

/* clang-format off */
static const struct {
    scep_setting which;
    const char *value;
    const char *kept;    /* NULL: refused */
    const char *mention; /* what the refusal says is accepted */
} values[] = {
    { SCEP_SET_PasswordMax, "1", "1", NULL },
    { SCEP_SET_PasswordMax, "1000000", "1000000", NULL },
    { SCEP_SET_PasswordMax, "007", "7", NULL },
    { SCEP_SET_PasswordMax, "0", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, "1000001", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, "", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, "-1", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, "+5", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, " 5", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, "5 ", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, "5m", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, "0x3C", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordMax, "99999999999999999999999999", NULL, "1 to 1000000" },
    { SCEP_SET_PasswordLength, "7", NULL, "8 to 64" },
    { SCEP_SET_PasswordLength, "64", "64", NULL },
    { SCEP_SET_EnforcePassword, "On", "on", NULL },
    { SCEP_SET_EnforcePassword, "OFF", "off", NULL },
    { SCEP_SET_EnforcePassword, "1", "on", NULL },
    { SCEP_SET_EnforcePassword, "0", "off", NULL },
    { SCEP_SET_EnforcePassword, "yes", NULL, "on or off" },
    { SCEP_SET_EnforcePassword, "", NULL, "on or off" },
    { SCEP_SET_EnforcePassword, "on ", NULL, "on or off" },
    { SCEP_SET_HashAlgorithm, "SHA1", "sha1", NULL },
    { SCEP_SET_HashAlgorithm, "sha512", "sha512", NULL },
    { SCEP_SET_HashAlgorithm, "md5", NULL, "sha1|sha256|sha384|sha512" },
    { SCEP_SET_HashAlgorithm, "sha", NULL, "sha1|sha256|sha384|sha512" },
    { SCEP_SET_HashAlgorithm, "sha1|sha256", NULL, "sha1|sha256|sha384|sha512" },
    { SCEP_SET_HashAlgorithm, "", NULL, "sha1|sha256|sha384|sha512" },
    { SCEP_SET_ClientProfile, "Cisco", "cisco", NULL },
    { SCEP_SET_ClientProfile, "android", NULL, "none|apple|cisco|juniper|windows" },
    { SCEP_SET_RenewalMinimumHash, "md5", NULL, "sha1|sha256|sha384|sha512" },
    { SCEP_SET_CACert, "chain", "chain", NULL },
    { SCEP_SET_CACert, "none", NULL, "full|chain|ca" },
    { SCEP_SET_Approval, "Always", "always", NULL },
    { SCEP_SET_Approval, "on", NULL, "off|enrol|always" },
    { SCEP_SET_SigningTime, "0", "0", NULL },
    { SCEP_SET_SigningTime, "1441", NULL, "0 to 1440" },
    { SCEP_SET_FailedMax, "0", NULL, "1 to 1000000" },
    { SCEP_SET_Authority, "Branch CA", "Branch CA", NULL },
    { SCEP_SET_Authority, "", NULL, "1 to 64" },
    { SCEP_SET_Authority, "a\nb", NULL, "control character" },
    { SCEP_SET_Authority, "a\x7f", NULL, "control character" },
    { SCEP_SET_SignatureTemplate, "WiFi", "WiFi", NULL },
    { SCEP_SET_SignatureTemplate,
      "12345678901234567890123456789012345678901234567890123456789012345", NULL, "1 to 64" },
};
/* clang-format on */

START_TEST(a_value_is_kept_in_canonical_form_or_refused_with_what_is_accepted)
{
    const char *name = scep_setting_describe(values[_i].which)->name;
    scep_settings s = { { NULL } };
    const scep_err *err = scep_settings_set(&s, values[_i].which, values[_i].value, p);

    if (values[_i].kept) {
        ck_assert_msg(!err, "%s refused '%s'", name, values[_i].value);
        ck_assert_str_eq(s.value[values[_i].which], values[_i].kept);
        return;
    }
    ck_assert_msg(err != NULL, "%s took '%s'", name, values[_i].value);
    ck_assert_int_eq(err->code, SCEP_CONFIG);
    ck_assert_ptr_null(s.value[values[_i].which]);
    ck_assert_ptr_nonnull(strstr(err->detail, apr_pstrcat(p, "SCEP", name, ": '", NULL)));
    ck_assert_ptr_nonnull(strstr(err->detail, values[_i].mention));
}
END_TEST

START_TEST(a_refused_value_leaves_the_former_one)
{
    scep_settings s = { { NULL } };

    assert_ok(scep_settings_set(&s, SCEP_SET_PasswordMax, "9", p));
    ck_assert_ptr_nonnull(scep_settings_set(&s, SCEP_SET_PasswordMax, "0", p));
    ck_assert_int_eq(scep_settings_number(&s, SCEP_SET_PasswordMax), 9);
}
END_TEST

START_TEST(every_default_is_a_value_that_may_be_set)
{
    const scep_setting_info *info = scep_setting_describe((scep_setting)_i);
    scep_settings s = { { NULL } };
    const scep_err *err;

    if (!*info->dflt) /* nothing set is something that cannot be written down */
        return;
    err = scep_settings_set(&s, (scep_setting)_i, info->dflt, p);
    ck_assert_msg(!err, "%s", err ? err->detail : "");
    ck_assert_str_eq(s.value[_i], info->dflt);
}
END_TEST

START_TEST(every_setting_is_found_by_its_name_in_any_letter_case)
{
    char *name = apr_pstrdup(p, scep_setting_describe((scep_setting)_i)->name);
    char *c;

    ck_assert_int_eq(scep_setting_find(name), _i);
    for (c = name; *c; c++)
        *c = (char)(*c | 0x20);
    ck_assert_int_eq(scep_setting_find(name), _i);
    ck_assert_int_eq(scep_setting_find(apr_pstrcat(p, name, "s", NULL)), SCEP_SET_COUNT);
    ck_assert_int_eq(scep_setting_find(apr_pstrcat(p, "SCEP", name, NULL)), SCEP_SET_COUNT);
}
END_TEST

START_TEST(what_is_not_set_has_the_default_of_the_registry)
{
    static const struct {
        scep_setting which;
        const char *dflt;
    } registry[] = {
        { SCEP_SET_EnforcePassword, "on" },
        { SCEP_SET_PasswordMax, "5" },
        { SCEP_SET_PasswordValidity, "60" },
        { SCEP_SET_PasswordLength, "8" },
        { SCEP_SET_PasswordVDir, "CertSrv/mscep_admin" },
        { SCEP_SET_SignatureTemplate, "IPSECIntermediateOffline" },
        { SCEP_SET_EncryptionTemplate, "IPSECIntermediateOffline" },
        { SCEP_SET_GeneralPurposeTemplate, "IPSECIntermediateOffline" },
    };
    static const scep_settings none;
    size_t i;

    for (i = 0; i < sizeof(registry) / sizeof(*registry); i++)
        ck_assert_str_eq(scep_settings_text(&none, registry[i].which), registry[i].dflt);
    ck_assert_int_eq(scep_settings_number(&none, SCEP_SET_PasswordValidity), 60);
    ck_assert(scep_settings_flag(&none, SCEP_SET_EnforcePassword));
    ck_assert(!scep_settings_flag(&none, SCEP_SET_Engine));
}
END_TEST

START_TEST(the_inner_section_wins_and_says_nothing_of_what_it_does_not_set)
{
    scep_settings base = { { NULL } }, add = { { NULL } }, out;

    assert_ok(scep_settings_set(&base, SCEP_SET_PasswordMax, "10", p));
    assert_ok(scep_settings_set(&base, SCEP_SET_PasswordValidity, "20", p));
    assert_ok(scep_settings_set(&add, SCEP_SET_PasswordMax, "11", p));
    scep_settings_merge(&out, &base, &add);
    ck_assert_int_eq(scep_settings_number(&out, SCEP_SET_PasswordMax), 11);
    ck_assert_int_eq(scep_settings_number(&out, SCEP_SET_PasswordValidity), 20);
    ck_assert_ptr_null(out.value[SCEP_SET_PasswordLength]);
    scep_settings_merge(&base, &base, &add);
    ck_assert_mem_eq(&base, &out, sizeof(out));
}
END_TEST

START_TEST(hash_names_have_the_bits_of_their_output)
{
    static const struct {
        const char *word;
        int bits;
    } hashes[] = { { "sha1", 160 }, { "sha256", 256 }, { "sha384", 384 }, { "sha512", 512 } };
    scep_settings s = { { NULL } };
    size_t i;

    ck_assert_int_eq(scep_settings_hash_bits(&s, SCEP_SET_MinimumHash), 160);
    ck_assert_int_eq(scep_settings_hash_bits(&s, SCEP_SET_HashAlgorithm), 256);
    for (i = 0; i < sizeof(hashes) / sizeof(*hashes); i++) {
        assert_ok(scep_settings_set(&s, SCEP_SET_MinimumHash, hashes[i].word, p));
        ck_assert_int_eq(scep_settings_hash_bits(&s, SCEP_SET_MinimumHash), hashes[i].bits);
    }
}
END_TEST

/* ---- profiles ---- */

static const struct {
    const char *profile;
    struct {
        scep_setting which;
        const char *value;
    } gives[6];
} profiles[] = {
    { "none",
      { { SCEP_SET_ResponseChain, "none" },
        { SCEP_SET_CACert, "full" },
        { SCEP_SET_RenewalByPKCSReq, "off" },
        { SCEP_SET_Compatibility, "ndes" } } },
    { "apple",
      { { SCEP_SET_ResponseChain, "none" },
        { SCEP_SET_CACert, "full" },
        { SCEP_SET_RenewalByPKCSReq, "on" } } },
    { "cisco",
      { { SCEP_SET_ResponseChain, "chain" },
        { SCEP_SET_CACert, "full" },
        { SCEP_SET_RenewalByPKCSReq, "on" } } },
    { "juniper",
      { { SCEP_SET_ResponseChain, "none" },
        { SCEP_SET_CACert, "chain" },
        { SCEP_SET_RenewalByPKCSReq, "off" } } },
    { "windows",
      { { SCEP_SET_Compatibility, "ndes" },
        { SCEP_SET_FailInfoText, "on" },
        { SCEP_SET_ResponseChain, "none" },
        { SCEP_SET_CACert, "full" },
        { SCEP_SET_Thumbprint, "md5" },
        { SCEP_SET_RenewalByPKCSReq, "on" } } },
};
enum { PROFILES = sizeof(profiles) / sizeof(*profiles) };

static scep_settings profiled(int i)
{
    scep_settings s = { { NULL } };

    assert_ok(scep_settings_set(&s, SCEP_SET_ClientProfile, profiles[i].profile, p));
    return s;
}

START_TEST(Q_25_Q_41_Q_65_Q_74_a_profile_gives_what_its_clients_need)
{
    scep_settings s = profiled(_i);

    for (size_t i = 0; i < 6 && profiles[_i].gives[i].value; i++) {
        scep_setting which = profiles[_i].gives[i].which;

        ck_assert_msg(!strcmp(scep_settings_text(&s, which), profiles[_i].gives[i].value),
                      "%s: %s is %s", profiles[_i].profile, scep_setting_describe(which)->name,
                      scep_settings_text(&s, which));
    }
    ck_assert_str_eq(scep_settings_text(&s, SCEP_SET_ClientProfile), profiles[_i].profile);
}
END_TEST

/* Every word of ClientProfile is in the table above, which is what the administrator is told. */
START_TEST(every_profile_that_may_be_written_is_tested)
{
    const char *words = scep_setting_describe(SCEP_SET_ClientProfile)->words;
    size_t found = 0;

    for (int i = 0; i < PROFILES; i++) {
        ck_assert_ptr_nonnull(strstr(words, profiles[i].profile));
        found += strlen(profiles[i].profile) + 1;
    }
    ck_assert_uint_eq(found, strlen(words) + 1);
}
END_TEST

START_TEST(a_profile_gives_only_values_that_could_be_written)
{
    scep_settings s = profiled(_i);

    for (int i = 0; i < SCEP_SET_COUNT; i++) {
        const char *value = scep_settings_text(&s, (scep_setting)i);
        scep_settings other = { { NULL } };

        if (!*value)
            continue;
        assert_ok(scep_settings_set(&other, (scep_setting)i, value, p));
        ck_assert_str_eq(other.value[i], value);
    }
}
END_TEST

START_TEST(what_is_written_wins_over_the_profile_wherever_it_stands)
{
    scep_settings outer = { { NULL } }, inner = profiled(2), s;

    ck_assert_str_eq(scep_settings_text(&inner, SCEP_SET_ResponseChain), "chain");
    assert_ok(scep_settings_set(&outer, SCEP_SET_ResponseChain, "full", p));
    scep_settings_merge(&s, &outer, &inner);
    ck_assert_str_eq(scep_settings_text(&s, SCEP_SET_ResponseChain), "full");
    ck_assert(scep_settings_flag(&s, SCEP_SET_RenewalByPKCSReq));
    assert_ok(scep_settings_set(&s, SCEP_SET_RenewalByPKCSReq, "off", p));
    ck_assert(!scep_settings_flag(&s, SCEP_SET_RenewalByPKCSReq));
    /* "none" inside takes an outer profile back */
    scep_settings_merge(&s, &inner, &(scep_settings){ .value[SCEP_SET_ClientProfile] = "none" });
    ck_assert_str_eq(scep_settings_text(&s, SCEP_SET_ResponseChain), "none");
}
END_TEST

/* A preset is for convenience: what guards issuance is decided by name or not at all. Written so
 * that a setting which is new is guarded until somebody says otherwise here. */
START_TEST(S_03_S_06_S_18_no_profile_switches_a_guard_off)
{
    static const scep_setting free_to_give[] = {
        SCEP_SET_ClientProfile, SCEP_SET_ResponseChain, SCEP_SET_CACert,
        SCEP_SET_Thumbprint,    SCEP_SET_Compatibility, SCEP_SET_RenewalByPKCSReq,
        SCEP_SET_FailInfoText,
    };
    scep_settings s = profiled(_i);

    for (int i = 0; i < SCEP_SET_COUNT; i++) {
        const scep_setting_info *info = scep_setting_describe((scep_setting)i);
        bool free = false;

        for (size_t k = 0; k < sizeof(free_to_give) / sizeof(*free_to_give); k++)
            free = free || (int)free_to_give[k] == i;
        ck_assert_msg(free || !strcmp(scep_settings_text(&s, (scep_setting)i), info->dflt),
                      "%s changes SCEP%s", profiles[_i].profile, info->name);
    }
    ck_assert(scep_settings_flag(&s, SCEP_SET_EnforcePassword));
    ck_assert(!scep_settings_flag(&s, SCEP_SET_LegacyAlgorithms));
    ck_assert_int_eq(scep_settings_hash_bits(&s, SCEP_SET_RenewalMinimumHash), 256);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, a_value_is_kept_in_canonical_form_or_refused_with_what_is_accepted,
                        0, ROWS(values));
    tcase_add_test(cases, a_refused_value_leaves_the_former_one);
    tcase_add_loop_test(cases, every_default_is_a_value_that_may_be_set, 0, SCEP_SET_COUNT);
    tcase_add_loop_test(cases, every_setting_is_found_by_its_name_in_any_letter_case, 0,
                        SCEP_SET_COUNT);
    tcase_add_test(cases, what_is_not_set_has_the_default_of_the_registry);
    tcase_add_test(cases, the_inner_section_wins_and_says_nothing_of_what_it_does_not_set);
    tcase_add_test(cases, hash_names_have_the_bits_of_their_output);
    tcase_add_loop_test(cases, Q_25_Q_41_Q_65_Q_74_a_profile_gives_what_its_clients_need, 0,
                        PROFILES);
    tcase_add_test(cases, every_profile_that_may_be_written_is_tested);
    tcase_add_loop_test(cases, a_profile_gives_only_values_that_could_be_written, 0, PROFILES);
    tcase_add_test(cases, what_is_written_wins_over_the_profile_wherever_it_stands);
    tcase_add_loop_test(cases, S_03_S_06_S_18_no_profile_switches_a_guard_off, 0, PROFILES);
}

int main(void)
{
    return run_suite("settings", add_tests);
}
