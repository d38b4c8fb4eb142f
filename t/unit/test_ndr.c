/* NDR: numbers are aligned, lengths are compared with what is there, texts come out clean. */
#include "suite.h"

#include "ndr.h"

#include <string.h>

static scep_bytes bytes_of(const void *data, size_t len)
{
    return (scep_bytes){ data, len };
}

START_TEST(numbers_are_aligned_to_their_size_from_the_beginning)
{
    static const unsigned char stub[] = { 1, 0xEE, 2, 3, 0xEE, 0xEE, 0xEE, 0xEE, 4, 5, 6, 0x87 };
    ndr_in in = ndr_open(bytes_of(stub, sizeof(stub)));
    scep_bytes raw;
    uint16_t half;
    uint32_t whole;

    ck_assert(ndr_get_raw(&in, 1, &raw) && raw.len == 1 && raw.data[0] == 1);
    ck_assert(ndr_get_u16(&in, &half) && half == 0x0302);
    ck_assert(ndr_get_raw(&in, 1, &raw));
    ck_assert(ndr_get_u32(&in, &whole) && whole == 0x87060504);
    ck_assert_uint_eq(in.left.left, 0);
    ck_assert_uint_eq(in.at, sizeof(stub));
}
END_TEST

START_TEST(what_is_not_there_is_not_read)
{
    static const unsigned char stub[] = { 1, 2, 3, 4, 5, 6 };
    ndr_in in = ndr_open(bytes_of(stub, sizeof(stub))), before;
    scep_bytes raw;
    uint16_t half;
    uint32_t whole;

    ck_assert(ndr_get_u32(&in, &whole));
    before = in;
    ck_assert(!ndr_get_u32(&in, &whole));
    ck_assert(!ndr_get_raw(&in, 3, &raw));
    ck_assert(memcmp(&in, &before, sizeof(in)) == 0);
    ck_assert(ndr_get_raw(&in, 1, &raw));
    before = in;
    ck_assert(!ndr_get_u16(&in, &half)); /* one byte is left, and it would be skipped */
    ck_assert(memcmp(&in, &before, sizeof(in)) == 0);
}
END_TEST

START_TEST(an_array_has_as_many_bytes_as_both_counts_say)
{
    static const struct {
        const char *name;
        unsigned char stub[8];
        size_t len;
        uint32_t wanted;
        bool good;
    } rows[] = {
        { "as it should be", { 3, 0, 0, 0, 'a', 'b', 'c' }, 7, 3, true },
        { "empty", { 0, 0, 0, 0 }, 4, 0, true },
        { "fewer than wanted", { 2, 0, 0, 0, 'a', 'b', 'c' }, 7, 3, false },
        { "more than wanted", { 4, 0, 0, 0, 'a', 'b', 'c', 'd' }, 8, 3, false },
        { "cut", { 3, 0, 0, 0, 'a', 'b' }, 6, 3, false },
        { "all that counts can say", { 0xFF, 0xFF, 0xFF, 0xFF, 'a' }, 5, 0xFFFFFFFF, false },
        { "no count", { 3, 0, 0 }, 3, 3, false },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        ndr_in in = ndr_open(bytes_of(rows[i].stub, rows[i].len));
        scep_bytes out = { NULL, 0 };

        row = rows[i].name;
        ck_assert_msg(ndr_get_bytes(&in, rows[i].wanted, &out) == rows[i].good, "%s", row);
        ck_assert_msg(rows[i].good || (in.at == 0 && in.left.left == rows[i].len),
                      "%s: moved by %lu", row, (unsigned long)in.at);
        if (rows[i].good)
            ck_assert_msg(out.len == rows[i].wanted && out.data == rows[i].stub + 4, "%s", row);
    }
}
END_TEST

START_TEST(what_is_written_is_aligned_likewise)
{
    static const unsigned char wanted[] = { 'x', 0, 2, 1, 4, 3, 2, 1, 1, 0, 0, 0, 'y', 0, 0, 0,
                                            2,   0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 'w', 0, 0, 0 };
    ndr_out out = { .p = p };
    scep_bytes wide;

    ndr_put_raw(&out, scep_bytes_of("x"));
    ndr_put_u16(&out, 0x0102);
    ndr_put_u32(&out, 0x01020304);
    ndr_put_bytes(&out, scep_bytes_of("y"));
    ck_assert(ndr_wide(&wide, "w", p));
    ndr_put_wide(&out, wide);
    row = "all of it";
    assert_bytes(ndr_view(&out), bytes_of(wanted, sizeof(wanted)));
}
END_TEST

START_TEST(a_stub_grows_as_it_has_to)
{
    ndr_out out = { .p = p };

    for (uint32_t i = 0; i < 100000; i++)
        ndr_put_u32(&out, i);
    ck_assert_uint_eq(out.len, 400000);
    for (uint32_t i = 0; i < 100000; i++)
        ck_assert(memcmp(out.data + 4 * (size_t)i, &i, 4) == 0); /* on a little-endian machine */
}
END_TEST

START_TEST(text_becomes_wide_and_back)
{
    static const struct {
        const char *utf8;
        const char *wide; /* NULL: it is not UTF-8 */
        size_t len;
    } rows[] = {
        { "", "", 0 },
        { "CA", "C\0A\0", 4 },
        { "Z\xc3\xbcrich", "Z\0\xfc\0r\0i\0c\0h\0", 12 },
        { "\xe2\x82\xac", "\xac\x20", 2 },
        { "\xf0\x9f\x94\x91", "\x3d\xd8\x11\xdd", 4 },
        { "\xff", NULL, 0 },
        { "\xed\xa0\x80", NULL, 0 }, /* half of a pair */
        { "\xc3", NULL, 0 },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        scep_bytes wide;

        row = rows[i].utf8;
        ck_assert_msg(ndr_wide(&wide, rows[i].utf8, p) == (rows[i].wide != NULL), "%s", row);
        if (!rows[i].wide)
            continue;
        assert_bytes(wide, bytes_of(rows[i].wide, rows[i].len));
        ck_assert_str_eq(ndr_text(wide, 100, p), rows[i].utf8);
    }
}
END_TEST

START_TEST(the_words_of_another_machine_become_one_clean_line)
{
    static const struct {
        const char *name, *wide;
        size_t len, most;
        const char *text;
    } rows[] = {
        { "ends at the NUL", "a\0\0\0b\0", 6, 100, "a" },
        { "lines", "a\0\r\0\n\0b\0", 8, 100, "a b" },
        { "blanks", " \0a\0 \0\t\0 \0b\0 \0", 14, 100, "a b" },
        { "escape", "\x1b\0[\0", 4, 100, "[" },
        { "C1", "a\0\x85\0b\0", 6, 100, "a b" },
        { "line separator",
          "a\0\x28\x20"
          "b\0",
          6, 100, "a b" },
        { "right to left",
          "a\0\x2e\x20"
          "b\0",
          6, 100, "a b" },
        { "high half alone",
          "\x3d\xd8"
          "a\0",
          4, 100,
          "\xef\xbf\xbd"
          "a" },
        { "high half at the end", "\x3d\xd8", 2, 100, "\xef\xbf\xbd" },
        { "low half alone", "\x11\xdd", 2, 100, "\xef\xbf\xbd" },
        { "half a character", "a\0b", 3, 100, "a" },
        { "bounded", "a\0b\0c\0", 6, 2, "ab" },
        { "nothing", "", 0, 100, "" },
        { "blanks only", " \0 \0", 4, 100, "" },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        const char *text = ndr_text(bytes_of(rows[i].wide, rows[i].len), rows[i].most, p);

        ck_assert_msg(strcmp(text, rows[i].text) == 0, "%s: \"%s\"", rows[i].name, text);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, numbers_are_aligned_to_their_size_from_the_beginning);
    tcase_add_test(cases, what_is_not_there_is_not_read);
    tcase_add_test(cases, an_array_has_as_many_bytes_as_both_counts_say);
    tcase_add_test(cases, what_is_written_is_aligned_likewise);
    tcase_add_test(cases, a_stub_grows_as_it_has_to);
    tcase_add_test(cases, text_becomes_wide_and_back);
    tcase_add_test(cases, the_words_of_another_machine_become_one_clean_line);
}

int main(void)
{
    return run_suite("ndr", add_tests);
}
