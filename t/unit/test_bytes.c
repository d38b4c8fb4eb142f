/* The ground floor: byte strings and the cursor, errors, ownership by pools, the clock. */
#include "bytes.h"
#include "clock.h"
#include "own.h"
#include "suite.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <string.h>

#define BYTES(text) ((scep_bytes){ (const unsigned char *)(text), sizeof(text) - 1 })

/* ---- byte strings ---- */

START_TEST(bytes_of_no_text_are_none)
{
    ck_assert_uint_eq(scep_bytes_of(NULL).len, 0);
    ck_assert_uint_eq(scep_bytes_of("").len, 0);
    ck_assert_uint_eq(scep_bytes_of("abc").len, 3);
}
END_TEST

START_TEST(a_copy_is_separate_and_ends_with_an_uncounted_nul)
{
    unsigned char text[] = { 'a', 0, 'b' };
    scep_bytes copy = scep_bytes_dup(p, (scep_bytes){ text, 3 });

    text[0] = 'x';
    assert_bytes(copy, BYTES("a\0b"));
    ck_assert_uint_eq(copy.data[3], 0);
    copy = scep_bytes_dup(p, (scep_bytes){ NULL, 0 });
    ck_assert_uint_eq(copy.len, 0);
    ck_assert_uint_eq(copy.data[0], 0);
}
END_TEST

START_TEST(equal_means_the_same_length_and_content)
{
    scep_bytes none = { NULL, 0 };

    ck_assert(scep_bytes_equal(BYTES("abc"), BYTES("abc")));
    ck_assert(scep_bytes_equal(none, BYTES("")));
    ck_assert(!scep_bytes_equal(BYTES("abc"), BYTES("abd")));
    ck_assert(!scep_bytes_equal(BYTES("xbc"), BYTES("abc")));
    ck_assert(!scep_bytes_equal(BYTES("abc"), BYTES("ab")));
    ck_assert(!scep_bytes_equal(none, BYTES("a")));
    ck_assert(!scep_bytes_equal(BYTES("a\0b"), BYTES("a\0c")));
}
END_TEST

START_TEST(hex_is_upper_case_and_complete)
{
    ck_assert_str_eq(scep_hex(p, BYTES("\x00\x0F\xA9\xFF")), "000FA9FF");
    ck_assert_str_eq(scep_hex(p, BYTES("")), "");
}
END_TEST

/* RFC 4648 10 */
static const struct {
    const char *plain, *text;
} base64[] = {
    { "", "" },
    { "f", "Zg==" },
    { "fo", "Zm8=" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" },
    { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" },
    { "\xFB\xFF\xBF", "+/+/" },
};

START_TEST(base64_is_that_of_the_rfc_and_comes_back)
{
    scep_bytes plain = scep_bytes_of(base64[_i].plain), back = { NULL, 99 };

    ck_assert_str_eq(scep_base64(p, plain), base64[_i].text);
    assert_ok(scep_unbase64(&back, base64[_i].text, p));
    assert_bytes(back, plain);
}
END_TEST

START_TEST(long_base64_has_no_line_breaks)
{
    unsigned char *data = apr_pcalloc(p, 5000);
    char *text = scep_base64(p, (scep_bytes){ data, 5000 });

    ck_assert_uint_eq(strlen(text), 6668);
    ck_assert_ptr_null(strpbrk(text, "\r\n"));
}
END_TEST

static const char *const not_base64[] = {
    "Z",     "Zg",   "Zg=",    "Zg==Zg",  "Zm9v\n", " Zm9v", "Zm9v Zm9v", "Zm9-", "Zm9_",
    "Zm9v=", "Zm9*", "\nZm9v", "Zm9vZm9", "Zg=v",   "=Zg=",  "Z===",      "====",
};

START_TEST(what_is_not_strictly_base64_is_refused)
{
    scep_bytes out;
    const scep_err *err = scep_unbase64(&out, not_base64[_i], p);

    ck_assert_msg(err != NULL, "\"%s\" was accepted", not_base64[_i]);
    ck_assert_int_eq(err->code, SCEP_INTERNAL);
}
END_TEST

START_TEST(a_log_line_holds_no_control_bytes_quotes_or_backslashes)
{
    ck_assert_str_eq(scep_printable(p, BYTES("CN=a b~"), 100), "CN=a b~");
    ck_assert_str_eq(scep_printable(p, BYTES("a\n\"\\\x7F\xC3\xA9\0"), 100),
                     "a\\x0A\\x22\\x5C\\x7F\\xC3\\xA9\\x00");
    ck_assert_str_eq(scep_printable(p, BYTES("abcdef"), 6), "abcdef");
    ck_assert_str_eq(scep_printable(p, BYTES("abcdef"), 5), "abcde...");
    ck_assert_str_eq(scep_printable(p, BYTES("\xFF\xFF\xFF"), 2), "\\xFF\\xFF...");
    ck_assert_str_eq(scep_printable(p, BYTES("abc"), 0), "...");
    ck_assert_str_eq(scep_printable(p, (scep_bytes){ NULL, 0 }, 10), "");
}
END_TEST

START_TEST(a_line_of_its_own_holds_no_control_bytes)
{
    ck_assert_str_eq(scep_one_line(p, BYTES("O=Example\\, \"Inc\"\n\x1B[2J\xC3\xA9\0"), 100),
                     "O=Example\\, \"Inc\"\\x0A\\x1B[2J\\xC3\\xA9\\x00");
    ck_assert_str_eq(scep_one_line(p, BYTES("abcdef"), 5), "abcde...");
    ck_assert_str_eq(scep_one_line(p, (scep_bytes){ NULL, 0 }, 10), "");
}
END_TEST

START_TEST(what_is_printable_is_escaped_once)
{
    const char *line = scep_one_line(p, BYTES("a\\b\"\n\xC3"), 100);
    const char *quoted = scep_in_quotes(p, line, 100);

    ck_assert_str_eq(line, "a\\b\"\\x0A\\xC3");
    ck_assert_str_eq(scep_one_line(p, scep_bytes_of(line), 100), line);
    ck_assert_str_eq(quoted, "a\\x5Cb\\x22\\x0A\\xC3");
    ck_assert_str_eq(scep_in_quotes(p, quoted, 100), quoted);
    ck_assert_str_eq(scep_one_line(p, scep_bytes_of(quoted), 100), quoted);
    /* not as it is written here, or not whole */
    ck_assert_str_eq(scep_in_quotes(p, "\\xab \\X0A \\xG0 \\x0g \\x0", 100),
                     "\\x5Cxab \\x5CX0A \\x5CxG0 \\x5Cx0g \\x5Cx0");
    ck_assert_str_eq(scep_in_quotes(p, "\\x0A", 3), "\\x5Cx0...");
    ck_assert_str_eq(scep_in_quotes(p, "a\nb", 100), "a\\x0Ab");
}
END_TEST

START_TEST(two_inputs_never_look_the_same)
{
    ck_assert_str_ne(scep_printable(p, BYTES("\""), 100), scep_printable(p, BYTES("\\x22"), 100));
}
END_TEST

/* Made with: printf '\0\0\0\0\0\0\0\3abc\0\0\0\0\0\0\0\0' | sha256sum */
#define ABC_AND_NOTHING "F5A934B5AB96157B46905E4DEC48FF8175FE8926C36EC293B98C8FBD0886171B"

static const struct {
    const char *text;
    int wrong; /* where; -1: nowhere */
} texts[] = {
    { "", -1 },
    { "plain", -1 },
    { "caf\xC3\xA9", -1 },
    { "\xE2\x82\xAC\xF0\x9F\x94\x91", -1 },
    { "\xF4\x8F\xBF\xBF", -1 },
    { "abc\xFF\xC3", 3 },
    { "ab\xC3", 2 },
    { "a\xC0\xAF", 1 },
    { "\xE0\x80\xAF", 0 },
    { "\xED\xA0\x80", 0 },
    { "\xF4\x90\x80\x80", 0 },
    { "\xF0\x9F\x94z", 0 },
    { "a\x80", 1 },
};

START_TEST(utf_8_is_that_of_the_rfc)
{
    size_t at = 0;
    bool good = scep_is_utf8(scep_bytes_of(texts[_i].text), &at);

    ck_assert_int_eq(good, texts[_i].wrong < 0);
    ck_assert_uint_eq(at, good ? strlen(texts[_i].text) : (size_t)texts[_i].wrong);
}
END_TEST

START_TEST(different_lists_never_hash_alike)
{
    const scep_bytes lists[][2] = {
        { BYTES("abc"), BYTES("") },
        { BYTES("ab"), BYTES("c") },
        { BYTES(""), BYTES("abc") },
        { BYTES("abc"), BYTES("c") },
    };
    unsigned char hashes[ROWS(lists) + 1][32];

    for (int i = 0; i < ROWS(lists); i++)
        assert_ok(scep_sha256(hashes[i], lists[i], 2, p));
    assert_ok(scep_sha256(hashes[ROWS(lists)], lists[0], 1, p));
    for (int i = 0; i <= ROWS(lists); i++) {
        for (int k = 0; k < i; k++)
            ck_assert_msg(memcmp(hashes[i], hashes[k], 32), "lists %d and %d", i, k);
    }
    ck_assert_str_eq(scep_hex(p, (scep_bytes){ hashes[0], 32 }), ABC_AND_NOTHING);
}
END_TEST

/* ---- the cursor ---- */

START_TEST(numbers_are_big_endian)
{
    scep_bytes b = BYTES("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\xFF");
    scep_cursor c = { b.data, b.len };
    uint8_t u8;
    uint32_t u32;
    uint64_t u64;

    ck_assert(scep_cursor_u32(&c, &u32) && u32 == 0x01020304u);
    ck_assert(scep_cursor_u64(&c, &u64) && u64 == 0x05060708090A0B0Cu);
    ck_assert(scep_cursor_u8(&c, &u8) && u8 == 0xFF);
    ck_assert(!scep_cursor_u8(&c, &u8));
}
END_TEST

START_TEST(a_read_past_the_end_fails_and_moves_nothing)
{
    scep_bytes b = BYTES("\x01\x02\x03"), out;
    scep_cursor c = { b.data, b.len };
    uint32_t u32;
    uint64_t u64;

    ck_assert(!scep_cursor_u32(&c, &u32) && !scep_cursor_u64(&c, &u64));
    ck_assert(!scep_cursor_take(&c, 4, &out) && !scep_cursor_take(&c, SIZE_MAX, &out));
    ck_assert(c.at == b.data && c.left == 3);
    ck_assert(scep_cursor_take(&c, 3, &out) && out.data == b.data && out.len == 3 && !c.left);
    ck_assert(scep_cursor_take(&c, 0, &out) && out.len == 0);
}
END_TEST

static const struct {
    const char *what;
    scep_bytes in;
    int tag; /* -1: refused */
    size_t len, left;
} elements[] = {
    { "short form", BYTES("\x04\x02hi."), 0x04, 2, 1 },
    { "no contents", BYTES("\x05\x00"), 0x05, 0, 0 },
    { "highest tag", BYTES("\xBE\x01x"), 0xBE, 1, 0 },
    { "nothing at all", BYTES(""), -1, 0, 0 },
    { "no length", BYTES("\x04"), -1, 0, 1 },
    { "cut short", BYTES("\x04\x03hi"), -1, 0, 4 },
    { "tag number 31", BYTES("\x1F\x01x"), -1, 0, 3 },
    { "constructed tag number 31", BYTES("\xBF\x01x"), -1, 0, 3 },
    { "indefinite length", BYTES("\x30\x80\x00\x00"), -1, 0, 4 },
    { "long form where the short one serves", BYTES("\x04\x81\x01x"), -1, 0, 4 },
    { "a length of no bytes that follow", BYTES("\x04\x81"), -1, 0, 2 },
    { "leading zero", BYTES("\x04\x82\x00\x80"), -1, 0, 4 },
    { "four bytes of length, none of contents", BYTES("\x04\x84\xFF\xFF\xFF\xFF"), -1, 0, 6 },
    { "five bytes of length", BYTES("\x04\x85\x01\x00\x00\x00\x00"), -1, 0, 7 },
    { "eight bytes of length", BYTES("\x04\x88\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), -1, 0, 10 },
    { "reserved length", BYTES("\x04\xFFxx"), -1, 0, 4 },
};

START_TEST(an_element_is_read_whole_or_not_at_all)
{
    scep_cursor c = { elements[_i].in.data, elements[_i].in.len };
    scep_bytes content = { NULL, 0 };
    uint8_t tag = 0;
    bool ok = scep_cursor_der(&c, &tag, &content);

    ck_assert_msg(ok == (elements[_i].tag >= 0), "%s", elements[_i].what);
    ck_assert_msg(c.left == elements[_i].left, "%s: %zu left", elements[_i].what, c.left);
    if (!ok) {
        ck_assert_msg(c.at == elements[_i].in.data, "%s: moved", elements[_i].what);
        return;
    }
    ck_assert_msg(tag == elements[_i].tag && content.len == elements[_i].len &&
                      content.data + content.len == c.at,
                  "%s", elements[_i].what);
}
END_TEST

START_TEST(long_lengths_are_read_where_they_are_needed)
{
    const size_t lengths[] = { 127, 128, 255, 256, 65535, 65536 };

    for (int i = 0; i < ROWS(lengths); i++) {
        unsigned char *der = apr_pcalloc(p, lengths[i] + 8);
        ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
        unsigned char *end = der;
        scep_bytes content;
        scep_cursor c;
        uint8_t tag;

        ck_assert(s && ASN1_STRING_set(s, der, (int)lengths[i]));
        c = (scep_cursor){ der, (size_t)i2d_ASN1_OCTET_STRING(s, &end) };
        ASN1_OCTET_STRING_free(s);
        ck_assert(scep_cursor_der(&c, &tag, &content));
        ck_assert_uint_eq(content.len, lengths[i]);
        ck_assert_uint_eq(c.left, 0);
    }
}
END_TEST

/* ---- errors ---- */

START_TEST(every_code_says_what_the_outside_may_learn)
{
    const scep_code_info *info = scep_code_describe(_i);

    ck_assert_ptr_nonnull(info->name);
    ck_assert_int_ge(info->fail_info, -1);
    ck_assert_int_le(info->fail_info, 4);
    /* a CertRep goes out with 200; where none can be sent, the status is the message */
    ck_assert_msg(_i == SCEP_OK || (info->fail_info >= 0) == (info->http_status == 200), "%s: %d",
                  info->name, info->http_status);
    ck_assert(_i == SCEP_OK || *info->text);
}
END_TEST

START_TEST(a_code_out_of_range_is_an_internal_error)
{
    const int odd[] = { -1, SCEP_CODE_COUNT, 1000000 };

    for (int i = 0; i < ROWS(odd); i++)
        ck_assert_str_eq(scep_code_describe(odd[i])->name, "INTERNAL");
}
END_TEST

START_TEST(an_error_carries_its_place_and_the_reason_openssl_gave)
{
    const scep_err *err;

    ERR_raise_data(ERR_LIB_USER, 42, "first");
    ERR_raise_data(ERR_LIB_USER, 43, "second");
    err = scep_fail(p, BAD_ALG, "digest %s", "md5");
    ck_assert_int_eq(err->code, SCEP_BAD_ALG);
    ck_assert_str_eq(err->file, "test_bytes.c");
    ck_assert_int_eq(err->line, __LINE__ - 3);
    ck_assert(!strncmp(err->detail, "digest md5 (", 12));
    ck_assert_ptr_nonnull(strstr(err->detail, "reason(42)"));
    ck_assert_ptr_null(strstr(err->detail, "reason(43)"));
    ck_assert_uint_eq(ERR_peek_error(), 0);
    err = scep_fail(p, BAD_ALG, "digest %s", "md5");
    ck_assert_str_eq(err->detail, "digest md5");
}
END_TEST

static const scep_err *tries(const scep_err *first, bool *went_on)
{
    SCEP_TRY(first);
    *went_on = true;
    return NULL;
}

START_TEST(try_returns_an_error_and_goes_on_without_one)
{
    const scep_err *err = scep_fail(p, INTERNAL, "x");
    bool went_on = false;

    ck_assert_ptr_eq(tries(err, &went_on), err);
    ck_assert(!went_on);
    ck_assert_ptr_null(tries(NULL, &went_on));
    ck_assert(went_on);
}
END_TEST

/* ---- ownership ---- */

static int freed;

static long count_frees(BIO *bio, int oper, const char *text, size_t len, int number, long more,
                        int ret, size_t *processed)
{
    if (oper == BIO_CB_FREE)
        freed++;
    return ret;
}

START_TEST(a_pool_frees_what_it_adopted_once)
{
    BIO *bio = BIO_new(BIO_s_mem());
    apr_pool_t *child;

    ck_assert(bio && apr_pool_create(&child, p) == APR_SUCCESS);
    BIO_set_callback_ex(bio, count_frees);
    freed = 0;
    ck_assert_ptr_eq(scep_BIO(child, bio), bio);
    ck_assert_int_eq(freed, 0);
    apr_pool_clear(child);
    ck_assert_int_eq(freed, 1);
    apr_pool_destroy(child);
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(a_pool_gives_back_its_own_reference_only)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    apr_pool_t *child;

    ck_assert(key && EVP_PKEY_up_ref(key) && apr_pool_create(&child, p) == APR_SUCCESS);
    ck_assert_ptr_eq(scep_EVP_PKEY(child, key), key);
    apr_pool_destroy(child);
    ck_assert_int_eq(EVP_PKEY_get_bits(key), 256);
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(nothing_can_be_adopted)
{
#define X(T) ck_assert_ptr_null(scep_##T(p, NULL));
    SCEP_ADOPTED(X)
#undef X
}
END_TEST

START_TEST(a_borrowed_stack_leaves_its_certificates_alone)
{
    X509 *cert = scep_X509(p, X509_new());
    apr_pool_t *child;

    ck_assert(cert && apr_pool_create(&child, p) == APR_SUCCESS);
    ck_assert_int_eq(sk_X509_push(scep_borrowed_stack(child), cert), 1);
    apr_pool_destroy(child);
    ck_assert(X509_set_version(cert, X509_VERSION_3));
}
END_TEST

static unsigned char *watched;
static unsigned char seen[4];

static apr_status_t look(void *unused)
{
    memcpy(seen, watched, sizeof(seen));
    return APR_SUCCESS;
}

START_TEST(a_secret_is_wiped_when_its_pool_is_cleared)
{
    apr_pool_t *child;

    ck_assert_int_eq(apr_pool_create(&child, p), APR_SUCCESS);
    /* registered first, so run last: after the wiping, before the memory is given back */
    apr_pool_cleanup_register(child, NULL, look, apr_pool_cleanup_null);
    watched = scep_secret(child, 4);
    ck_assert_int_eq(memcmp(watched, "\0\0\0\0", 4), 0);
    memcpy(watched, "pass", 4);
    memset(seen, 'x', sizeof(seen));
    apr_pool_clear(child);
    ck_assert_int_eq(memcmp(seen, "\0\0\0\0", 4), 0);
    ck_assert_ptr_nonnull(scep_secret(child, 0));
}
END_TEST

/* ---- the clock ---- */

START_TEST(the_clock_can_be_set_and_given_back)
{
    apr_time_t before = apr_time_now();

    ck_assert_int_ge(scep_now(), before);
    scep_clock_set(apr_time_from_sec(1000));
    ck_assert_int_eq(scep_now(), apr_time_from_sec(1000));
    ck_assert_int_eq(scep_now(), apr_time_from_sec(1000));
    scep_clock_set(0);
    ck_assert_int_ge(scep_now(), before);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, bytes_of_no_text_are_none);
    tcase_add_test(cases, a_copy_is_separate_and_ends_with_an_uncounted_nul);
    tcase_add_test(cases, equal_means_the_same_length_and_content);
    tcase_add_test(cases, hex_is_upper_case_and_complete);
    tcase_add_loop_test(cases, base64_is_that_of_the_rfc_and_comes_back, 0, ROWS(base64));
    tcase_add_test(cases, long_base64_has_no_line_breaks);
    tcase_add_loop_test(cases, what_is_not_strictly_base64_is_refused, 0, ROWS(not_base64));
    tcase_add_test(cases, a_log_line_holds_no_control_bytes_quotes_or_backslashes);
    tcase_add_test(cases, a_line_of_its_own_holds_no_control_bytes);
    tcase_add_test(cases, what_is_printable_is_escaped_once);
    tcase_add_test(cases, two_inputs_never_look_the_same);
    tcase_add_loop_test(cases, utf_8_is_that_of_the_rfc, 0, ROWS(texts));
    tcase_add_test(cases, different_lists_never_hash_alike);
    tcase_add_test(cases, numbers_are_big_endian);
    tcase_add_test(cases, a_read_past_the_end_fails_and_moves_nothing);
    tcase_add_loop_test(cases, an_element_is_read_whole_or_not_at_all, 0, ROWS(elements));
    tcase_add_test(cases, long_lengths_are_read_where_they_are_needed);
    tcase_add_loop_test(cases, every_code_says_what_the_outside_may_learn, 0, SCEP_CODE_COUNT);
    tcase_add_test(cases, a_code_out_of_range_is_an_internal_error);
    tcase_add_test(cases, an_error_carries_its_place_and_the_reason_openssl_gave);
    tcase_add_test(cases, try_returns_an_error_and_goes_on_without_one);
    tcase_add_test(cases, a_pool_frees_what_it_adopted_once);
    tcase_add_test(cases, a_pool_gives_back_its_own_reference_only);
    tcase_add_test(cases, nothing_can_be_adopted);
    tcase_add_test(cases, a_borrowed_stack_leaves_its_certificates_alone);
    tcase_add_test(cases, a_secret_is_wiped_when_its_pool_is_cleared);
    tcase_add_test(cases, the_clock_can_be_set_and_given_back);
}

int main(void)
{
    return run_suite("bytes", add_tests);
}
