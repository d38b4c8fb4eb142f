/* The query string of a SCEP request, and the base64 that clients put there. */
#include "query.h"
#include "suite.h"

#include <string.h>

/* clang-format off */
static const struct {
    const char *query, *name;
    const char *value; /* NULL: no such parameter */
} parameters[] = {
    { "operation=GetCACaps", "operation", "GetCACaps" },
    { "message=MIIA&operation=PKIOperation", "operation", "PKIOperation" }, /* micromdm's order */
    { "Operation=pkioperation", "operation", "pkioperation" },
    { "operation=a", "OPERATION", "a" },
    { "operation=a&operation=b", "operation", "a" },
    { "operation=a&Operation=b", "Operation", "a" },
    { "operation", "operation", "" },
    { "operation=", "operation", "" },
    { "operation=&message=x", "operation", "" },
    { "&&operation=a&&", "operation", "a" },
    { "=&=x&operation=a", "operation", "a" },
    { "operation=a&message", "message", "" },
    { "operations=a", "operation", NULL },
    { "operatio=a", "operation", NULL },
    { "xoperation=a", "operation", NULL },
    { "a=operation=b", "operation", NULL },
    { "operation%3Da", "operation", NULL },
    { "", "operation", NULL },
    { NULL, "operation", NULL },
    { "&", "operation", NULL },
    /* jscep leaves the base64 as it is, other clients escape parts of it */
    { "message=a+b/c==", "message", "a+b/c==" },
    { "message=a%2Bb%2fc%3D%3d", "message", "a+b/c==" },
    { "message=a%20b", "message", "a b" },
    { "message=a%0Ab%0d", "message", "a\nb\r" },
    { "message=a?b;c", "message", "a?b;c" },
    { "message=%2541", "message", "%41" }, /* decoded once */
    { "message=%zz%4", "message", "%zz%4" },
    { "message=%", "message", "%" },
    { "message=%4&operation=1", "message", "%4" }, /* an escape does not reach past its value */
    { "message=%&41", "message", "%" },
    { "message=%%41", "message", "%A" },
    { "message=a%00b", "message", "ab" },
    { "message=%00", "message", "" },
    { "message=%C3%A9", "message", "\xC3\xA9" },
};

static const struct {
    const char *text;
    const char *bytes; /* NULL: refused */
} messages[] = {
    { "TUlJQQ==", "MIIA" },
    { "TUlJQQ", "MIIA" },
    { "TUlJQQ=", "MIIA" },
    { "TUlJQUI=", "MIIAB" },
    { "TUlJQUI", "MIIAB" },
    { "TUlJQUJD", "MIIABC" },
    { "+/+/", "\xFB\xFF\xBF" },
    { " / /", "\xFB\xFF\xBF" }, /* a proxy made spaces of '+' */
    { "-_-_", "\xFB\xFF\xBF" },
    { "-_+/", "\xFB\xFF\xBF" },
    { "TUlJ\nQUJD\n", "MIIABC" },
    { "\r\nTU\tlJQ\r\nQ=\n=\r\n", "MIIA" },
    { "", NULL },
    { "=", NULL },
    { "====", NULL },
    { "\r\n\t", NULL },
    { "T", NULL },
    { "TUlJQ", NULL },
    { "TUlJQUJD=", NULL },
    { "TUlJQUJD====", NULL },
    { "TUlJQUI==", NULL },
    { "TUlJQQ===", NULL },
    { "TUlJ=UJD", NULL },
    { "TU==TU==", NULL },
    { "TUlJQQ== ", NULL },
    { "TUl%4a", NULL },
    { "TUlJ.UJD", NULL },
    { "TUlJ,UJD", NULL },
    { "TUlJ\x80UJD", NULL },
    { "TUlJ\x0BUJD", NULL },
    { "<html>", NULL },
};
/* clang-format on */

START_TEST(Q_10_Q_13_Q_15_Q_16_a_parameter_is_found_and_percent_decoded)
{
    const char *value = scep_query_get(parameters[_i].query, parameters[_i].name, p);

    ck_assert_msg((value == NULL) == (parameters[_i].value == NULL) &&
                      (!value || !strcmp(value, parameters[_i].value)),
                  "%s of \"%s\" is \"%s\"", parameters[_i].name,
                  parameters[_i].query ? parameters[_i].query : "(none)", value ? value : "(none)");
}
END_TEST

START_TEST(
    R_005_Q_09_Q_11_Q_12_Q_13_Q_14_a_message_is_decoded_as_liberally_as_clients_need_and_no_further)
{
    scep_bytes out = { NULL, 0 };
    const scep_err *err = scep_query_message(&out, messages[_i].text, p);

    if (!messages[_i].bytes) {
        ck_assert_msg(err != NULL, "\"%s\" was accepted", messages[_i].text);
        ck_assert_int_eq(err->code, SCEP_UNDECODABLE);
        return;
    }
    ck_assert_msg(err == NULL, "\"%s\": %s", messages[_i].text, err ? err->detail : "");
    ck_assert_msg(scep_bytes_equal(out, scep_bytes_of(messages[_i].bytes)), "\"%s\" became %s",
                  messages[_i].text, scep_hex(p, out));
}
END_TEST

START_TEST(a_refusal_names_the_odd_character_and_nothing_more)
{
    scep_bytes out;
    const scep_err *err = scep_query_message(&out, "c2VjcmV0\x01", p);

    ck_assert_ptr_nonnull(err);
    ck_assert_ptr_nonnull(strstr(err->detail, "\\x01"));
    ck_assert_ptr_nonnull(strstr(err->detail, "offset 8"));
    ck_assert_ptr_null(strstr(err->detail, "c2Vj"));
}
END_TEST

START_TEST(every_length_of_message_comes_back_whole)
{
    for (size_t len = 1; len < 100; len++) {
        unsigned char *data = apr_palloc(p, len);
        scep_bytes out, in = { data, len };
        char *text;

        for (size_t i = 0; i < len; i++)
            data[i] = (unsigned char)(7 * i + len);
        text = scep_base64(p, in);
        text[strcspn(text, "=")] = '\0';
        assert_ok(scep_query_message(&out, text, p));
        ck_assert(scep_bytes_equal(out, in));
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, Q_10_Q_13_Q_15_Q_16_a_parameter_is_found_and_percent_decoded, 0,
                        ROWS(parameters));
    tcase_add_loop_test(
        cases,
        R_005_Q_09_Q_11_Q_12_Q_13_Q_14_a_message_is_decoded_as_liberally_as_clients_need_and_no_further,
        0, ROWS(messages));
    tcase_add_test(cases, a_refusal_names_the_odd_character_and_nothing_more);
    tcase_add_test(cases, every_length_of_message_comes_back_whole);
}

int main(void)
{
    return run_suite("query", add_tests);
}
