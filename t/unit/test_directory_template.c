/* Templates as they stand in a directory. */
#include "suite.h"

#include "directory_template.h"

#include <apr_strings.h>
#include <string.h>

static void add(directory_entry *e, const char *name, scep_bytes value)
{
    directory_attribute *a = NULL;

    for (int i = 0; i < e->attributes->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(e->attributes, i, directory_attribute).name, name))
            a = &APR_ARRAY_IDX(e->attributes, i, directory_attribute);
    if (!a) {
        a = apr_array_push(e->attributes);
        a->name = name;
        a->values = apr_array_make(p, 1, sizeof(scep_bytes));
    }
    APR_ARRAY_PUSH(a->values, scep_bytes) = scep_bytes_dup(p, value);
}

#define YEAR "004039872EE1FEFF" /* 365 days */

static directory_entry entry_of(const char *const *pairs)
{
    directory_entry e = { "CN=T,CN=Certificate Templates",
                          apr_array_make(p, 8, sizeof(directory_attribute)) };

    for (; *pairs; pairs += 2)
        add(&e, pairs[0],
            !strncmp(pairs[1], "hex:", 4) ? fixture_of_hex(pairs[1] + 4, p)
                                          : scep_bytes_of(pairs[1]));
    return e;
}

static const char *const whole[] = { "cn",
                                     "Device",
                                     "flags",
                                     "131136",
                                     "revision",
                                     "100",
                                     "pKIKeyUsage",
                                     "hex:A000",
                                     "pKIExpirationPeriod",
                                     "hex:" YEAR,
                                     "pKIOverlapPeriod",
                                     "hex:0080A60AFFDEFFFF",
                                     "pKIExtendedKeyUsage",
                                     "1.3.6.1.5.5.7.3.2",
                                     "pKIExtendedKeyUsage",
                                     "1.3.6.1.5.5.8.2.2",
                                     "msPKI-RA-Signature",
                                     "0",
                                     "msPKI-Enrollment-Flag",
                                     "0",
                                     "msPKI-Private-Key-Flag",
                                     "16842752",
                                     "msPKI-Certificate-Name-Flag",
                                     "1",
                                     "msPKI-Minimal-Key-Size",
                                     "3072",
                                     "msPKI-Template-Schema-Version",
                                     "2",
                                     "msPKI-Template-Minor-Revision",
                                     "3",
                                     "msPKI-Cert-Template-OID",
                                     "1.3.6.1.4.1.311.21.8.1",
                                     NULL };

START_TEST(a_template_is_read)
{
    const directory_entry e = entry_of(whole);
    directory_template t;

    assert_ok(directory_template_read(&t, &e, p));
    ck_assert_str_eq(t.name, "Device");
    ck_assert_str_eq(t.oid, "1.3.6.1.4.1.311.21.8.1");
    ck_assert_int_eq(t.seconds, 365 * 86400);
    ck_assert_int_eq(t.overlap, 42 * 86400);
    ck_assert_uint_eq(t.key_usage, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
    ck_assert_int_eq(t.purposes->nelts, 2);
    ck_assert_uint_eq(t.minimum_bits, 3072);
    ck_assert_uint_eq(t.major, 100);
    ck_assert_uint_eq(t.minor, 3);
    ck_assert_int_eq(t.schema, 2);
    ck_assert_ptr_null(directory_template_fault(&t, false, NULL, p));
}
END_TEST

/* The template above with one attribute that is another one. */
static directory_entry with(const char *name, const char *value)
{
    const char *pairs[40];
    size_t n = 0;

    for (size_t i = 0; whole[i]; i += 2) {
        if (name && !strcmp(whole[i], name))
            continue;
        pairs[n++] = whole[i];
        pairs[n++] = whole[i + 1];
    }
    if (name && value) {
        pairs[n++] = name;
        pairs[n++] = value;
    }
    pairs[n] = NULL;
    return entry_of(pairs);
}

static const struct {
    const char *name, *value;
} odd_values[] = {
    { "cn", NULL },
    { "flags", "" },
    { "flags", "-" },
    { "flags", "0x40" },
    { "flags", "1 " },
    { "flags", "4294967296" },
    { "flags", "-2147483649" },
    { "flags", "99999999999" },
    { "msPKI-RA-Signature", "one" },
    { "msPKI-Template-Schema-Version", "101" },
    { "pKIKeyUsage", "hex:" },
    { "pKIKeyUsage", "hex:A00000" },
    { "pKIExpirationPeriod", "hex:004039872EE1FE" },
    { "pKIExpirationPeriod", "hex:004039872EE1FE7F" },
    { "pKIExtendedKeyUsage", "clientAuth" },
    { "pKIExtendedKeyUsage", "1.3..6" },
    { "pKIExtendedKeyUsage", "1.3.6." },
    { "pKIExtendedKeyUsage", "hex:312E3300" },
};

START_TEST(an_odd_value_of_a_template_is_an_error)
{
    const directory_entry e = with(odd_values[_i].name, odd_values[_i].value);
    directory_template t;

    row = apr_psprintf(p, "%s %s", odd_values[_i].name, odd_values[_i].value);
    assert_code(SCEP_CONFIG, directory_template_read(&t, &e, p));
}
END_TEST

/* Numbers are signed in LDAP, and flag words are not. */
static const struct {
    const char *value;
    uint32_t wanted;
} numbers[] = {
    { "1", 1 },
    { "-2147483647", 0x80000001 },
    { "-1", 0xFFFFFFFF },
    { "2147483649", 0x80000001 },
    { "4294967295", 0xFFFFFFFF },
};

START_TEST(flags_are_32_bits_with_a_sign)
{
    const directory_entry e = with("msPKI-Certificate-Name-Flag", numbers[_i].value);
    directory_template t;

    row = numbers[_i].value;
    assert_ok(directory_template_read(&t, &e, p));
    ck_assert_uint_eq(t.name_flags, numbers[_i].wanted);
}
END_TEST

static const struct {
    const char *name, *value, *says;
    bool agent;
} faults[] = {
    { "msPKI-Certificate-Name-Flag", NULL, "subject is not taken from the request", false },
    { "msPKI-Certificate-Name-Flag", "0", "subject is not taken from the request", false },
    { "msPKI-Certificate-Name-Flag", "-2147483648", "subject is not taken from the request", true },
    { "flags", "131264", "makes CA certificates", false },
    { "flags", "2048", "cross certificates", false },
    { "pKIKeyUsage", "hex:A400", "may sign certificates", false },
    { "pKIKeyUsage", "hex:0200", "may sign certificates", false },
    { "msPKI-Private-Key-Flag", "16842753", "private key archived", false },
    { "msPKI-Private-Key-Flag", "8192", "attested", false },
    { "msPKI-RA-Signature", "1", "there is no agent_cert", false },
    { "msPKI-RA-Signature", "2", "agent_cert is one", true },
    { "cn", "device2", "does not offer it", false },
    { "msPKI-RA-Signature", "1", NULL, true },
    { "msPKI-Certificate-Name-Flag", "-2147483647", NULL, false },
    { "cn", "DEVICE", NULL, false },
    { "msPKI-Template-Schema-Version", NULL, NULL, false },
};

START_TEST(a_template_that_SCEP_must_not_use_is_refused_with_the_reason)
{
    const directory_entry e = with(faults[_i].name, faults[_i].value);
    apr_array_header_t *offered = apr_array_make(p, 1, sizeof(const char *));
    directory_template t;
    const char *why;

    row = apr_psprintf(p, "%s = %s", faults[_i].name, faults[_i].value);
    APR_ARRAY_PUSH(offered, const char *) = "Other";
    APR_ARRAY_PUSH(offered, const char *) = "Device";
    assert_ok(directory_template_read(&t, &e, p));
    why = directory_template_fault(&t, faults[_i].agent, offered, p);
    ck_assert_msg(faults[_i].says ? why && strstr(why, faults[_i].says) : !why, "%s: %s", row,
                  why ? why : "none");
}
END_TEST

static const struct {
    const char *name, *value;
    int days;
    uint32_t usage;
    const char *purposes;
    int bits;
    const char *approval;
    conf_sid sid;
} applied[] = {
    { NULL, NULL, 365, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
      "1.3.6.1.5.5.7.3.2,1.3.6.1.5.5.8.2.2", 3072, "no", CONF_SID_DIRECTORY },
    { "pKIKeyUsage", "hex:F8", 365, 0xF8, "1.3.6.1.5.5.7.3.2,1.3.6.1.5.5.8.2.2", 3072, "no",
      CONF_SID_DIRECTORY },
    { "pKIExtendedKeyUsage", NULL, 365, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, NULL, 3072,
      "no", CONF_SID_DIRECTORY },
    { "msPKI-Minimal-Key-Size", "1024", 365, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
      "1.3.6.1.5.5.7.3.2,1.3.6.1.5.5.8.2.2", 2048, "no", CONF_SID_DIRECTORY },
    { "msPKI-Enrollment-Flag", "2", 365, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
      "1.3.6.1.5.5.7.3.2,1.3.6.1.5.5.8.2.2", 3072, "always", CONF_SID_DIRECTORY },
    { "msPKI-Enrollment-Flag", "66", 365, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
      "1.3.6.1.5.5.7.3.2,1.3.6.1.5.5.8.2.2", 3072, "enrol", CONF_SID_DIRECTORY },
    { "msPKI-Enrollment-Flag", "524288", 365, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
      "1.3.6.1.5.5.7.3.2,1.3.6.1.5.5.8.2.2", 3072, "no", CONF_SID_NO },
    { "pKIExpirationPeriod", "hex:0000000000000080", 36500,
      KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, "1.3.6.1.5.5.7.3.2,1.3.6.1.5.5.8.2.2", 3072, "no",
      CONF_SID_DIRECTORY },
};

START_TEST(a_template_is_applied)
{
    const directory_entry e = with(applied[_i].name, applied[_i].value);
    conf_template to = { .minimum_rsa_bits = 2048,
                         .approval = "no",
                         .allow_sid = CONF_SID_DIRECTORY };
    directory_template t;

    row = applied[_i].name ? applied[_i].name : "as it is";
    assert_ok(directory_template_read(&t, &e, p));
    assert_ok(directory_template_apply(&to, &t, p));
    ck_assert_int_eq(to.days, applied[_i].days);
    ck_assert_uint_eq(to.key_usage, applied[_i].usage);
    ck_assert_int_eq(to.minimum_rsa_bits, applied[_i].bits);
    ck_assert_str_eq(to.approval, applied[_i].approval);
    ck_assert_int_eq(to.allow_sid, applied[_i].sid);
    ck_assert_pstr_eq(to.extended_key_usage, applied[_i].purposes);
}
END_TEST

START_TEST(an_approval_of_ca_conf_is_not_weakened)
{
    const directory_entry e = with("msPKI-Enrollment-Flag", "66");
    conf_template to = { .minimum_rsa_bits = 2048, .approval = "always" };
    directory_template t;

    assert_ok(directory_template_read(&t, &e, p));
    assert_ok(directory_template_apply(&to, &t, p));
    ck_assert_str_eq(to.approval, "always");
}
END_TEST

static const struct {
    const char *name, *value;
} inapplicable[] = {
    { "pKIExpirationPeriod", NULL },
    { "pKIExpirationPeriod", "hex:00A0B7E3E4FFFFFF" }, /* less than a day */
    { "pKIKeyUsage", NULL },
    { "pKIKeyUsage", "hex:01" },
    { "pKIKeyUsage", "hex:8080" },
};

START_TEST(what_cannot_be_applied_is_an_error)
{
    const directory_entry e = with(inapplicable[_i].name, inapplicable[_i].value);
    conf_template to = { .minimum_rsa_bits = 2048, .approval = "no" };
    directory_template t;

    row = apr_psprintf(p, "%s %s", inapplicable[_i].name, inapplicable[_i].value);
    assert_ok(directory_template_read(&t, &e, p));
    assert_code(SCEP_CONFIG, directory_template_apply(&to, &t, p));
}
END_TEST

static const struct {
    const char *name, *value, *wanted;
} changed[] = {
    { "pKIExpirationPeriod", "hex:0080A60AFFDEFFFF", "pKIExpirationPeriod" },
    { "pKIKeyUsage", "hex:80", "pKIKeyUsage" },
    { "pKIExtendedKeyUsage", "1.3.6.1.5.5.7.3.2", "pKIExtendedKeyUsage" },
    { "msPKI-Minimal-Key-Size", "4096", "msPKI-Minimal-Key-Size" },
    { "msPKI-Enrollment-Flag", "2", "msPKI-Enrollment-Flag" },
    { "msPKI-Enrollment-Flag", "32", NULL },
    { "revision", "101", NULL },
    { NULL, NULL, NULL },
};

START_TEST(a_change_of_what_was_applied_is_seen)
{
    const directory_entry before = with(NULL, NULL),
                          after = with(changed[_i].name, changed[_i].value);
    directory_template a, b;

    row = changed[_i].name ? changed[_i].name : "nothing";
    assert_ok(directory_template_read(&a, &before, p));
    assert_ok(directory_template_read(&b, &after, p));
    ck_assert_pstr_eq(directory_template_change(&a, &b), changed[_i].wanted);
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_test(c, a_template_is_read);
    tcase_add_loop_test(c, an_odd_value_of_a_template_is_an_error, 0, ROWS(odd_values));
    tcase_add_loop_test(c, flags_are_32_bits_with_a_sign, 0, ROWS(numbers));
    tcase_add_loop_test(c, a_template_that_SCEP_must_not_use_is_refused_with_the_reason, 0,
                        ROWS(faults));
    tcase_add_loop_test(c, a_template_is_applied, 0, ROWS(applied));
    tcase_add_test(c, an_approval_of_ca_conf_is_not_weakened);
    tcase_add_loop_test(c, what_cannot_be_applied_is_an_error, 0, ROWS(inapplicable));
    tcase_add_loop_test(c, a_change_of_what_was_applied_is_seen, 0, ROWS(changed));
}

int main(void)
{
    return run_suite("directory_template", add_tests);
}
