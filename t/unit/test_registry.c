/* Registry exports of NDES: what is read of them, what is carried over, what is refused. */
#include "registry.h"

#include "suite.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define V5 "Windows Registry Editor Version 5.00\n"
#define KEY "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\MSCEP"
#define TOP V5 KEY "]\n"
/* ndes.md 1: a subkey with a value of the same name */
#define SUB(name, data) KEY "\\" name "]\n\"" name "\"=" data "\n"

/* ---- one value each, and the setting it is ---- */

/* clang-format off */
static const struct {
    const char *text;
    scep_setting which;
    const char *value;
} carried[] = {
    { TOP "\"SignatureTemplate\"=\"Sig\"", SCEP_SET_SignatureTemplate, "Sig" },
    { TOP "\"EncryptionTemplate\"=\"Enc \\\"x\\\" \\\\ y\"", SCEP_SET_EncryptionTemplate, "Enc \"x\" \\ y" },
    { TOP "\"GeneralPurposeTemplate\"=\"W\xC3\xA4hler\"", SCEP_SET_GeneralPurposeTemplate, "W\xC3\xA4hler" },
    { V5 KEY "\\CAInfo]\n\"Configuration\"=\"ca01.corp.example\\\\Corp CA\"", SCEP_SET_Configuration, "ca01.corp.example\\Corp CA" },
    { V5 SUB("EnforcePassword", "dword:00000000"), SCEP_SET_EnforcePassword, "off" },
    { V5 SUB("UseSinglePassword", "dword:00000001"), SCEP_SET_UseSinglePassword, "on" },
    { V5 SUB("PasswordLength", "dword:00000010"), SCEP_SET_PasswordLength, "16" },
    { V5 SUB("PasswordMax", "dword:000003e8"), SCEP_SET_PasswordMax, "1000" },
    { V5 SUB("PasswordValidity", "dword:0000003C"), SCEP_SET_PasswordValidity, "60" },
    { V5 SUB("PasswordVDir", "\"CertSrv/other\""), SCEP_SET_PasswordVDir, "CertSrv/other" },
    { V5 SUB("PasswordVDir", "\"\\\\CertSrv\\\\other\\\\\""), SCEP_SET_PasswordVDir, "CertSrv/other" },
    { V5 SUB("CacheRequest", "dword:1e"), SCEP_SET_CacheRequest, "30" },
    { V5 SUB("Refresh", "dword:00000003"), SCEP_SET_Refresh, "3" },
    { V5 SUB("HashAlgorithm", "\"SHA512\""), SCEP_SET_HashAlgorithm, "sha512" },
    { V5 SUB("HashAlgorithm", "\"SHA-256\""), SCEP_SET_HashAlgorithm, "sha256" },
    { V5 SUB("DisableRenewalSubjectNameMatch", "dword:1"), SCEP_SET_DisableRenewalSubjectNameMatch, "on" },
    /* in the MSCEP key itself, too */
    { TOP "\"PasswordMax\"=dword:00000007", SCEP_SET_PasswordMax, "7" },
    /* any hive, any letter case, 32-bit Windows' view */
    { V5 "[hklm\\software\\wow6432node\\MICROSOFT\\cryptography\\mscep\\passwordmax]\n\"PASSWORDMAX\"=DWORD:00000009",
      SCEP_SET_PasswordMax, "9" },
    { V5 "[HKEY_USERS\\x\\Cryptography\\MSCEP\\PasswordMax]\n\"PasswordMax\"=dword:9", SCEP_SET_PasswordMax, "9" },
    /* the other forms of data */
    { V5 SUB("PasswordMax", "hex(4):08,00,00,00"), SCEP_SET_PasswordMax, "8" },
    { V5 SUB("PasswordMax", "hex(5):00,00,00,08"), SCEP_SET_PasswordMax, "8" },
    { V5 SUB("PasswordMax", "hex(b):08,00,00,00,00,00,00,00"), SCEP_SET_PasswordMax, "8" },
    { V5 SUB("PasswordMax", "\"12\""), SCEP_SET_PasswordMax, "12" },
    { TOP "\"SignatureTemplate\"=hex(1):41,00,42,00,00,00", SCEP_SET_SignatureTemplate, "AB" },
    { TOP "\"SignatureTemplate\"=hex(2):41,00,\\\n  3d,d8,00,de,\\\n  00,00", SCEP_SET_SignatureTemplate, "A\xF0\x9F\x98\x80" },
    { TOP "\"SignatureTemplate\"=hex(7):41,00,00,00,42,00,00,00,00,00", SCEP_SET_SignatureTemplate, "A, B" },
    { "REGEDIT4\n" KEY "]\n\"SignatureTemplate\"=hex(2):41,42,00", SCEP_SET_SignatureTemplate, "AB" },
    { "REGEDIT4\n\n" KEY "]\n\"SignatureTemplate\"=\"Old\"", SCEP_SET_SignatureTemplate, "Old" },
    { "REGEDIT4\n\n" KEY "]\n\"SignatureTemplate\"=\"Ger\xC3\xA4t\"", SCEP_SET_SignatureTemplate, "Ger\xC3\xA4t" },
    { "REGEDIT4\n" KEY "]\n\"SignatureTemplate\"=hex(2):47,c3,a4,00", SCEP_SET_SignatureTemplate, "G\xC3\xA4" },
    /* blanks, comments, other line ends, no line end at all */
    { "Windows Registry Editor Version 5.00 \r\n\r\n; who\r\n  " KEY "] ; why\r\n"
      " \"SignatureTemplate\" = \"S\" ; a comment\r\n", SCEP_SET_SignatureTemplate, "S" },
    { V5 SUB("PasswordMax", "dword:5;five"), SCEP_SET_PasswordMax, "5" },
    { V5 SUB("PasswordMax", "hex(4): 05, 00 ,00,00 ; five"), SCEP_SET_PasswordMax, "5" },
    /* what stands there again wins, wherever it does, and what was deleted meanwhile is not former */
    { V5 SUB("PasswordMax", "dword:5") SUB("PasswordMax", "dword:6"), SCEP_SET_PasswordMax, "6" },
    { TOP "\"PasswordMax\"=dword:5\n" SUB("PasswordMax", "dword:6"), SCEP_SET_PasswordMax, "6" },
    { V5 "[-" "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\MSCEP]\n" SUB("PasswordMax", "dword:6"), SCEP_SET_PasswordMax, "6" },
    { V5 "[HKEY_LOCAL_MACHINE\\a\\Cryptography\\MSCEP]\n" SUB("PasswordMax", "dword:5") "\"x\"=-\n", SCEP_SET_PasswordMax, "5" },
};

/* ---- what has no setting ---- */

static const struct {
    const char *text, *name, *why;
    int line;
} left[] = {
    { V5 SUB("CAType", "dword:00000001"), "CAType\\CAType", "ca.conf", 3 },
    { V5 SUB("CertsInMYStore", "dword:00000001"), "CertsInMYStore\\CertsInMYStore", "ca.conf", 3 },
    { V5 SUB("EncryptedPassword", "hex:01,02,\\\n  03"), "EncryptedPassword\\EncryptedPassword", "UseSinglePassword 1", 3 },
    { V5 KEY "\\Modules]\n\"Policy\"=\"NDESPolicy.OTA.1\"", "Modules\\Policy", "policy module", 3 },
    { V5 KEY "\\Modules\\NDESPolicy]\n\n\"NDESCertThumbprint\"=\"ab\"", "Modules\\NDESPolicy\\NDESCertThumbprint", "policy module", 4 },
    { TOP "\"Unknown\"=dword:1", "Unknown", "no such setting", 3 },
    { TOP "@=\"x\"", "@", "no such setting", 3 },
    /* names of settings that NDES has not, and of other places */
    { TOP "\"MaxMessage\"=dword:1", "MaxMessage", "no such setting", 3 },
    { TOP "\"Configuration\"=\"a\\\\b\"", "Configuration", "no such setting", 3 },
    { V5 KEY "\\CAInfo]\n\"PasswordMax\"=dword:1", "CAInfo\\PasswordMax", "no such setting", 3 },
    { V5 KEY "\\PasswordMax\\PasswordMax]\n\"PasswordMax\"=dword:1", "PasswordMax\\PasswordMax\\PasswordMax", "no such setting", 3 },
    { V5 SUB("PasswordVDir", "\"/\""), "PasswordVDir\\PasswordVDir", "empty", 3 },
    { TOP "\"SignatureTemplate\"=\"\"", "SignatureTemplate", "empty", 3 },
    /* other keys */
    { TOP "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\HTTP\\Parameters]\n\"MaxFieldLength\"=dword:0000fffe",
      "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\HTTP\\Parameters\\MaxFieldLength", "LimitRequestLine", 4 },
    { TOP "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\ADCS\\NDES]\n\"ConfigurationStatus\"=dword:2",
      "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\ADCS\\NDES\\ConfigurationStatus", "Server Manager", 4 },
    { TOP "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\MSCEPTIC]\n\"PasswordMax\"=dword:2",
      "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\MSCEPTIC\\PasswordMax", "not of the MSCEP key", 4 },
};

/* ---- nothing at all, without a fault ---- */

static const char *const nothing[] = {
    TOP,
    TOP ";\"PasswordMax\"=dword:5\n",
    TOP "\"PasswordMax\"=dword:5\n\"PasswordMax\"=-\n",
    V5 SUB("PasswordMax", "dword:5") "[-HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\MSCEP\\PasswordMax]\n",
    V5 SUB("PasswordMax", "dword:5") "[-hkey_local_machine\\software\\microsoft\\cryptography\\mscep]\n",
};

/* ---- malformed ---- */

static const struct {
    const char *text;
    int line;
    const char *says;
} faults[] = {
    { "", 1, "'Windows Registry Editor Version 5.00' or 'REGEDIT4' is expected" },
    { "\n" TOP, 1, "REGEDIT4" },
    { "REGEDIT5\n", 1, "not 'REGEDIT5'" },
    { KEY "]\n", 1, "REGEDIT4" },
    { V5, 2, "a key that ends in Cryptography\\MSCEP is expected" },
    { V5 "[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\n\"a\"=\"b\"\n", 4, "a key that ends in Cryptography\\MSCEP is expected" },
    { V5 "\"PasswordMax\"=dword:5\n", 2, "a key in brackets is expected" },
    { TOP "[-HKEY_LOCAL_MACHINE\\a]\n\"x\"=-\n", 4, "a key in brackets is expected" },
    { V5 "\n" KEY "\n", 3, "']' is expected" },
    { V5 KEY "] x\n", 2, "the end of the line is expected, not 'x'" },
    { V5 "[]\n", 2, "the path of a key is expected" },
    { V5 "[MSCEP]\n", 2, "the path of a key is expected" },
    { TOP "PasswordMax=dword:5\n", 3, "\"NAME\"=VALUE" },
    { TOP "\"PasswordMax\n", 3, "a '\"' is expected" },
    { TOP "\"PasswordMax\"\n", 3, "'=' is expected" },
    { TOP "\"PasswordMax\" dword:5\n", 3, "'=' is expected" },
    { TOP "@dword:5\n", 3, "'=' is expected" },
    { TOP "\"PasswordMax\"=\n", 3, "\"text\", dword:, hex: or - is expected" },
    { TOP "\"PasswordMax\"=5\n", 3, "not '5'" },
    { TOP "\"PasswordMax\"=-5\n", 3, "the end of the line is expected" },
    { TOP "\"PasswordMax\"=dword:\n", 3, "one to eight hex digits" },
    { TOP "\"PasswordMax\"=dword:5g\n", 3, "the end of the line is expected" },
    { TOP "\"PasswordMax\"=dword:000000005\n", 3, "one to eight hex digits" },
    { TOP "\"PasswordMax\"=dword:-1\n", 3, "one to eight hex digits" },
    { TOP "\"x\"=\"a\\nb\"\n", 3, "a backslash is written twice" },
    { TOP "\"x\"=\"a\\\n", 3, "a backslash is written twice" },
    { TOP "\"x\"=\"a\\\"\n", 3, "a '\"' is expected at the end" },
    { TOP "\"x\"=\"a\"b\n", 3, "the end of the line is expected" },
    { TOP "\"x\"=hex\n", 3, "':' is expected behind hex" },
    { TOP "\"x\"=hex(2)01\n", 3, "':' is expected behind hex" },
    { TOP "\"x\"=hex():01\n", 3, "the number of a type" },
    { TOP "\"x\"=hex(2:01\n", 3, "the number of a type" },
    { TOP "\"x\"=hex(123456789):01\n", 3, "the number of a type" },
    { TOP "\"x\"=hex:0x\n", 3, "the end of the line is expected" },
    { TOP "\"x\"=hex:01,,02\n", 3, "bytes of two hex digits" },
    { TOP "\"x\"=hex:001\n", 3, "the end of the line is expected" },
    { TOP "\"x\"=hex:01,\\\n  02,zz\n", 4, "bytes of two hex digits" },
    { TOP "\"x\"=hex:01,\\ 02\n", 3, "the end of the line is expected" },
    { TOP "\"x\"=hex:01,\\", 3, "another line of bytes" },
    { TOP "\"x\"=hex(4):01,02\n", 3, "4 bytes are expected for hex(4):, not 2" },
    { TOP "\"x\"=hex(b):01,02\n", 3, "8 bytes are expected for hex(b):, not 2" },
    { TOP "\"x\"=hex(1):41\n", 3, "text in UTF-16LE" },
    { TOP "\"x\"=hex(1):00,dc\n", 3, "text in UTF-16LE" },
    { "REGEDIT4\n" KEY "]\n\"x\"=hex(1):ff\n", 3, "UTF-8 is expected" },
    /* no text */
    { V5 "; caf\xE9\n" KEY "]\n", 2, "UTF-8 or UTF-16LE" },
    { V5 "; \xC0\x80\n", 2, "UTF-8 or UTF-16LE" },
    { V5 "; \xED\xA0\x80\n", 2, "UTF-8 or UTF-16LE" },
    { V5 "; \xF4\x90\x80\x80\n", 2, "UTF-8 or UTF-16LE" },
    { V5 "; \xE2\x82", 2, "UTF-8 or UTF-16LE" },
    { "\xFE\xFF", 1, "the high byte first" },
    /* ANSI, of a code page that the file does not name */
    { "REGEDIT4\r\n\r\n" KEY "]\r\n\"SignatureTemplate\"=\"Ger\xE4t\"\r\n", 4, "a letter outside ASCII in a REGEDIT4 file" },
    { "regedit4\n; caf\xE9\n" KEY "]\n", 2, "whose code page is not known" },
    { "REGEDIT4\n" KEY "]\n\"x\"=hex(1):47,e4,00\n", 3, "export the key anew with 'reg export'" },
};

/* ---- well-formed, and out of range ---- */

static const struct {
    const char *text;
    int line;
    const char *says;
} fatal[] = {
    { V5 "\n" SUB("PasswordLength", "dword:00000007"), 4, "SCEPPasswordLength: '7' is not a whole number from 8 to 64" },
    { V5 SUB("PasswordMax", "dword:00000000"), 3, "SCEPPasswordMax: '0' is not a whole number from 1 to 1000000" },
    { V5 SUB("PasswordMax", "hex(b):08,00,00,00,01,00,00,00"), 3, "'4294967304' is not a whole number from 1 to" },
    { V5 SUB("Refresh", "dword:ffffffff"), 3, "'4294967295' is not a whole number from 1 to 365" },
    { V5 SUB("EnforcePassword", "dword:00000002"), 3, "SCEPEnforcePassword: '2' is not on or off" },
    { V5 SUB("HashAlgorithm", "\"MD5\""), 3, "SCEPHashAlgorithm: 'MD5' is not one of sha1|" },
    { V5 SUB("PasswordMax", "hex:05"), 3, "PasswordMax: dword: is expected" },
    { TOP "\"SignatureTemplate\"=dword:00000001", 3, "SignatureTemplate: a text in quotes is expected" },
    { TOP "\"SignatureTemplate\"=\"a\x01\"", 3, "none of them a control character" },
};
/* clang-format on */

static const scep_err *read_text(scep_registry *out, const char *text)
{
    return scep_registry_read(out, scep_bytes_of(text), "a.reg", p);
}

static void assert_fault(const scep_err *err, int line, const char *says)
{
    const char *place = apr_psprintf(p, "a.reg:%d: ", line);

    assert_code(SCEP_CONFIG, err);
    ck_assert_msg(!strncmp(err->detail, place, strlen(place)), "%s: not %s: %s", row, place,
                  err->detail);
    ck_assert_msg(strstr(err->detail, says), "%s: no \"%s\" in: %s", row, says, err->detail);
}

START_TEST(each_value_of_the_MSCEP_key_is_carried_over)
{
    scep_registry r;
    const scep_registry_setting *s;

    row = carried[_i].text;
    assert_ok(read_text(&r, row));
    ck_assert_int_eq(r.settings->nelts, 1);
    s = &APR_ARRAY_IDX(r.settings, 0, scep_registry_setting);
    ck_assert_msg(s->which == carried[_i].which, "%s: %s", row,
                  scep_setting_describe(s->which)->name);
    ck_assert_msg(!strcmp(s->value, carried[_i].value), "%s: '%s'", row, s->value);
    ck_assert_int_eq(r.left->nelts, 0);
}
END_TEST

START_TEST(each_other_value_is_named_with_its_line_and_the_reason)
{
    scep_registry r;
    const scep_registry_left *l;

    row = left[_i].text;
    assert_ok(read_text(&r, row));
    ck_assert_int_eq(r.settings->nelts, 0);
    ck_assert_int_eq(r.left->nelts, 1);
    l = &APR_ARRAY_IDX(r.left, 0, scep_registry_left);
    ck_assert_str_eq(l->name, left[_i].name);
    ck_assert_msg(strstr(l->why, left[_i].why), "%s: %s", row, l->why);
    ck_assert_int_eq(l->line, left[_i].line);
    ck_assert(!l->fatal);
    assert_ok(scep_registry_check(&r, "a.reg", p));
}
END_TEST

START_TEST(a_value_out_of_range_is_left_with_the_range_and_the_check_refuses_it)
{
    scep_registry r;
    const scep_registry_left *l;

    row = fatal[_i].text;
    assert_ok(read_text(&r, row));
    ck_assert_int_eq(r.settings->nelts, 0);
    ck_assert_int_eq(r.left->nelts, 1);
    l = &APR_ARRAY_IDX(r.left, 0, scep_registry_left);
    ck_assert(l->fatal);
    ck_assert_int_eq(l->line, fatal[_i].line);
    ck_assert_msg(strstr(l->why, fatal[_i].says), "%s: %s", row, l->why);
    assert_fault(scep_registry_check(&r, "a.reg", p), fatal[_i].line, fatal[_i].says);
}
END_TEST

START_TEST(beside_values_out_of_range_everything_else_is_read)
{
    static const char text[] = V5 SUB("Refresh", "dword:3") SUB("PasswordLength", "dword:4")
        SUB("CAType", "dword:1") SUB("CacheRequest", "dword:0") SUB("HashAlgorithm", "\"MD5\"")
            SUB("PasswordMax", "dword:7");
    scep_registry r;

    row = text;
    assert_ok(read_text(&r, text));
    ck_assert_int_eq(r.settings->nelts, 2);
    ck_assert_int_eq(APR_ARRAY_IDX(r.settings, 0, scep_registry_setting).which, SCEP_SET_Refresh);
    ck_assert_int_eq(APR_ARRAY_IDX(r.settings, 1, scep_registry_setting).which,
                     SCEP_SET_PasswordMax);
    ck_assert_int_eq(r.left->nelts, 4);
    for (int i = 0; i < r.left->nelts; i++)
        ck_assert_int_eq(APR_ARRAY_IDX(r.left, i, scep_registry_left).fatal, i != 1);
    assert_fault(scep_registry_check(&r, "a.reg", p), 5, "'4' is not a whole number from 8 to 64");
    assert_fault(scep_registry_check(&r, "a.reg", p), 5, "out of range beside it: 2;");
}
END_TEST

START_TEST(comments_and_deletions_leave_nothing_behind)
{
    scep_registry r;

    row = nothing[_i];
    assert_ok(read_text(&r, row));
    ck_assert_int_eq(r.values->nelts + r.settings->nelts + r.left->nelts, 0);
}
END_TEST

START_TEST(what_is_malformed_is_named_with_its_line_and_what_was_expected)
{
    scep_registry r;

    row = faults[_i].text;
    assert_fault(read_text(&r, row), faults[_i].line, faults[_i].says);
}
END_TEST

/* ---- encodings ---- */

/* ASCII and U+00E4, and one character of two units. */
static scep_bytes utf16(const char *text, bool mark)
{
    size_t n = strlen(text), len = 0;
    unsigned char *to = apr_palloc(p, 2 * n + 2);

    if (mark) {
        to[len++] = 0xFF;
        to[len++] = 0xFE;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == 0xC3)
            c = (unsigned char)((unsigned char)text[++i] + 0x40);
        to[len++] = c;
        to[len++] = 0;
    }
    return (scep_bytes){ to, len };
}

START_TEST(an_export_is_read_in_each_of_its_encodings)
{
    static const char text[] = "Windows Registry Editor Version 5.00\r\n\r\n" KEY
                               "]\r\n\"SignatureTemplate\"=\"Ger\xC3\xA4t\"\r\n";
    const scep_bytes files[] = { utf16(text, true), utf16(text, false), scep_bytes_of(text),
                                 scep_bytes_of(apr_pstrcat(p, "\xEF\xBB\xBF", text, NULL)) };

    for (int i = 0; i < ROWS(files); i++) {
        scep_registry r;
        const scep_registry_setting *s;

        row = apr_itoa(p, i);
        assert_ok(scep_registry_read(&r, files[i], "a.reg", p));
        ck_assert_int_eq(r.settings->nelts, 1);
        s = &APR_ARRAY_IDX(r.settings, 0, scep_registry_setting);
        ck_assert_str_eq(s->value, "Ger\xC3\xA4t");
        ck_assert_int_eq(s->line, 4);
    }
}
END_TEST

START_TEST(broken_utf16_is_refused_with_its_line)
{
    static const char lone_high[] = "\x3D\xD8\x41\x00", lone_low[] = "\x00\xDC";
    scep_bytes whole = utf16(TOP, true);
    unsigned char *data = apr_palloc(p, whole.len + 8);
    scep_registry r;

    memcpy(data, whole.data, whole.len);
    memcpy(data + whole.len, lone_high, 4);
    assert_fault(scep_registry_read(&r, (scep_bytes){ data, whole.len + 4 }, "a.reg", p), 3,
                 "cut in half");
    assert_fault(scep_registry_read(&r, (scep_bytes){ data, whole.len + 2 }, "a.reg", p), 3,
                 "cut in half");
    assert_fault(scep_registry_read(&r, (scep_bytes){ data, whole.len + 1 }, "a.reg", p), 3,
                 "cut in half");
    memcpy(data + whole.len, lone_low, 2);
    assert_fault(scep_registry_read(&r, (scep_bytes){ data, whole.len + 2 }, "a.reg", p), 3,
                 "cut in half");
    memcpy(data + whole.len, "\0\0", 2);
    assert_fault(scep_registry_read(&r, (scep_bytes){ data, whole.len + 2 }, "a.reg", p), 3,
                 "not a NUL");
}
END_TEST

START_TEST(a_nul_in_utf8_is_refused_with_its_line)
{
    static const char text[] = TOP "\"a\"=\"b\0c\"\n";
    scep_registry r;

    assert_fault(scep_registry_read(
                     &r, (scep_bytes){ (const unsigned char *)text, sizeof(text) - 1 }, "a.reg", p),
                 3, "not a NUL");
}
END_TEST

/* ---- sizes and files ---- */

START_TEST(a_file_is_bounded_in_size_and_values)
{
    unsigned char *data = apr_palloc(p, SCEP_REGISTRY_MAX + 1);
    const char *text = TOP;
    scep_registry r;
    const scep_err *err;

    memset(data, '\n', SCEP_REGISTRY_MAX + 1);
    memcpy(data, text, strlen(text));
    assert_ok(scep_registry_read(&r, (scep_bytes){ data, SCEP_REGISTRY_MAX }, "a.reg", p));
    err = scep_registry_read(&r, (scep_bytes){ data, SCEP_REGISTRY_MAX + 1 }, "a.reg", p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "larger than 1048576 bytes"));

    for (int i = 0; i < SCEP_REGISTRY_VALUES; i++)
        text = apr_pstrcat(p, i % 64 ? "" : text, i % 64 ? text : "", "\"", apr_itoa(p, i),
                           "\"=\"\"\n", NULL);
    assert_ok(read_text(&r, text));
    ck_assert_int_eq(r.values->nelts, SCEP_REGISTRY_VALUES);
    text = apr_pstrcat(p, text, "\"more\"=\"\"\n", NULL);
    assert_fault(read_text(&r, text), SCEP_REGISTRY_VALUES + 3, "4096 values at most");
}
END_TEST

START_TEST(a_file_is_loaded_or_named)
{
    char path[] = "/tmp/scep-registry-XXXXXX";
    int fd = mkstemp(path);
    scep_registry r;
    const scep_err *err;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, TOP "x", strlen(TOP "x")), (int)strlen(TOP "x"));
    err = scep_registry_load(&r, path, p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, apr_pstrcat(p, path, ":3: ", NULL)));
    ck_assert_int_eq(ftruncate(fd, (off_t)strlen(TOP)), 0);
    assert_ok(scep_registry_load(&r, path, p));
    ck_assert_int_eq(ftruncate(fd, SCEP_REGISTRY_MAX + 1), 0);
    err = scep_registry_load(&r, path, p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "larger than"));
    ck_assert_int_eq(close(fd) + unlink(path), 0);
    err = scep_registry_load(&r, path, p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, path));
    assert_code(SCEP_CONFIG, scep_registry_load(&r, "/tmp", p));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, each_value_of_the_MSCEP_key_is_carried_over, 0, ROWS(carried));
    tcase_add_loop_test(cases, each_other_value_is_named_with_its_line_and_the_reason, 0,
                        ROWS(left));
    tcase_add_loop_test(cases, a_value_out_of_range_is_left_with_the_range_and_the_check_refuses_it,
                        0, ROWS(fatal));
    tcase_add_test(cases, beside_values_out_of_range_everything_else_is_read);
    tcase_add_loop_test(cases, comments_and_deletions_leave_nothing_behind, 0, ROWS(nothing));
    tcase_add_loop_test(cases, what_is_malformed_is_named_with_its_line_and_what_was_expected, 0,
                        ROWS(faults));
    tcase_add_test(cases, an_export_is_read_in_each_of_its_encodings);
    tcase_add_test(cases, broken_utf16_is_refused_with_its_line);
    tcase_add_test(cases, a_nul_in_utf8_is_refused_with_its_line);
    tcase_add_test(cases, a_file_is_bounded_in_size_and_values);
    tcase_add_test(cases, a_file_is_loaded_or_named);
}

int main(void)
{
    return run_suite("registry", add_tests);
}
