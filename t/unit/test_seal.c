/* Secrets at rest: what opens them, and what does not. */
#include "seal.h"
#include "store_room.h"

#include <apr_strings.h>
#include <string.h>

static const store_key our_key = { { 1, 2, 3 } };
static const store_key other_key = { { 1, 2, 4 } };

static scep_bytes closed(const store_key *key, const char *about, scep_bytes secret)
{
    scep_bytes sealed = { NULL, 0 };
    const scep_err *err = seal_close(&sealed, key, about, secret, room_pool);

    ck_assert_msg(!err, "%s", err ? err->detail : "");
    return sealed;
}

START_TEST(a_secret_comes_back_whatever_its_length)
{
    static const size_t lengths[] = { 0, 1, 15, 16, 17, 32, 1200, 65536 };
    size_t len = lengths[_i];
    unsigned char *bytes = apr_palloc(room_pool, len + 1);
    scep_bytes sealed, opened;
    const scep_err *err;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(i * 7);
    sealed = closed(&our_key, "ra", (scep_bytes){ bytes, len });
    ck_assert_uint_eq(sealed.len, len + 29);
    ck_assert(len < 15 || !memmem(sealed.data, sealed.len, bytes, len));
    err = seal_open(&opened, &our_key, "ra", sealed, room_pool);
    ck_assert_msg(!err, "%s", err ? err->detail : "");
    ck_assert(scep_bytes_equal(opened, (scep_bytes){ bytes, len }));
}
END_TEST

START_TEST(the_same_secret_is_never_sealed_alike)
{
    scep_bytes first = closed(&our_key, "ra", scep_bytes_of("secret"));
    scep_bytes second = closed(&our_key, "ra", scep_bytes_of("secret"));

    ck_assert(!scep_bytes_equal(first, second));
    ck_assert(memcmp(first.data + 1, second.data + 1, 12) != 0);
    ck_assert(memcmp(first.data + 13, second.data + 13, 6) != 0);
}
END_TEST

START_TEST(another_key_and_another_use_do_not_open_it)
{
    scep_bytes sealed = closed(&our_key, "ra default sign", scep_bytes_of("secret")), opened;
    const scep_err *err = seal_open(&opened, &other_key, "ra default sign", sealed, room_pool);

    ck_assert_ptr_nonnull(err);
    ck_assert_int_eq(err->code, SCEP_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err->detail, "another store.key"));
    err = seal_open(&opened, &our_key, "ra default decrypt", sealed, room_pool);
    ck_assert_ptr_nonnull(err);
    ck_assert_ptr_null(seal_open(&opened, &our_key, "ra default sign", sealed, room_pool));
}
END_TEST

START_TEST(a_changed_byte_anywhere_is_noticed)
{
    scep_bytes sealed = closed(&our_key, "ra", scep_bytes_of("secret")), opened;
    unsigned char *copy = apr_pmemdup(room_pool, sealed.data, sealed.len);

    for (size_t i = 0; i < sealed.len; i++) {
        copy[i] ^= 0x10;
        ck_assert_msg(
            seal_open(&opened, &our_key, "ra", (scep_bytes){ copy, sealed.len }, room_pool) != NULL,
            "byte %lu", (unsigned long)i);
        copy[i] ^= 0x10;
    }
    for (size_t len = 0; len < sealed.len; len++)
        ck_assert_msg(seal_open(&opened, &our_key, "ra", (scep_bytes){ copy, len }, room_pool) !=
                          NULL,
                      "%lu bytes of it", (unsigned long)len);
}
END_TEST

Suite *seal_suite(void)
{
    Suite *suite = suite_create("seal");
    TCase *cases = tcase_create("seal");

    tcase_add_checked_fixture(cases, room_up_folder, room_down);
    tcase_add_loop_test(cases, a_secret_comes_back_whatever_its_length, 0, 8);
    tcase_add_test(cases, the_same_secret_is_never_sealed_alike);
    tcase_add_test(cases, another_key_and_another_use_do_not_open_it);
    tcase_add_test(cases, a_changed_byte_anywhere_is_noticed);
    suite_add_tcase(suite, cases);
    return suite;
}
