/* Frames: what is written is read back, and nothing else is read. */
#include "suite.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Sanitizers reserve more addresses than any limit allows. */
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

static scep_bytes text(const char *s)
{
    return scep_bytes_of(s);
}

static scep_bytes body_of(scep_bytes frame)
{
    ck_assert_msg(frame.len >= SCEP_WIRE_HEADER, "%s: a frame has a header", row);
    return (scep_bytes){ frame.data + SCEP_WIRE_HEADER, frame.len - SCEP_WIRE_HEADER };
}

/* ---- one of each structure, made and compared by the same lists as the code under test, but
 * field by field ---- */

static int fresh; /* so that no two fields are alike */

#define FILL(kind, ...) FILL_##kind(__VA_ARGS__)
#define FILL_U32(name) v->name = 0x80000001u + (uint32_t)fresh++;
#define FILL_U64(name) v->name = 0x8000000000000001u + (uint64_t)fresh++;
#define FILL_TEXT(name) v->name = apr_psprintf(p, "text %d", fresh++);
#define FILL_BYTES(name) v->name = text(apr_psprintf(p, "bytes %d", fresh++));
#define FILL_LIST(name, element)                                    \
    v->name = apr_array_make(p, 2, sizeof(scep_wire_##element));    \
    fill_##element((scep_wire_##element *)apr_array_push(v->name)); \
    fill_##element((scep_wire_##element *)apr_array_push(v->name));

#define SAME(kind, ...) SAME_##kind(__VA_ARGS__)
#define SAME_U32(name) ck_assert_msg(a->name == b->name, "%s: " #name, row);
#define SAME_U64(name) ck_assert_msg(a->name == b->name, "%s: " #name, row);
#define SAME_TEXT(name) ck_assert_msg(strcmp(a->name, b->name) == 0, "%s: " #name, row);
#define SAME_BYTES(name) ck_assert_msg(scep_bytes_equal(a->name, b->name), "%s: " #name, row);
#define SAME_LIST(name, element)                                                 \
    ck_assert_msg(a->name->nelts == b->name->nelts, "%s: count of " #name, row); \
    for (int i = 0; i < a->name->nelts; i++)                                     \
        same_##element(&APR_ARRAY_IDX(a->name, i, scep_wire_##element),          \
                       &APR_ARRAY_IDX(b->name, i, scep_wire_##element));

#define X(name, fields)                                                           \
    static void fill_##name(scep_wire_##name *v)                                  \
    {                                                                             \
        fields(FILL)                                                              \
    }                                                                             \
    static void same_##name(const scep_wire_##name *a, const scep_wire_##name *b) \
    {                                                                             \
        fields(SAME)                                                              \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

/* One row a structure: its good body, its reader, and a reader's comparison with what was put. */
typedef struct structure {
    const char *name;
    scep_bytes (*frame)(void);
    const scep_err *(*read)(scep_bytes body);
    void (*round_trip)(void);
} structure;

#define X(name, fields)                                               \
    static scep_bytes frame_##name(void)                              \
    {                                                                 \
        scep_wire_##name v = { 0 };                                   \
                                                                      \
        fill_##name(&v);                                              \
        return scep_wire_put_##name(SCEP_VERB_HELLO, &v, p);          \
    }                                                                 \
    static const scep_err *read_##name(scep_bytes body)               \
    {                                                                 \
        scep_wire_##name v;                                           \
                                                                      \
        return scep_wire_get_##name(&v, body, p);                     \
    }                                                                 \
    static void round_trip_##name(void)                               \
    {                                                                 \
        scep_wire_##name v = { 0 }, got;                              \
        scep_bytes body;                                              \
                                                                      \
        fill_##name(&v);                                              \
        body = body_of(scep_wire_put_##name(SCEP_VERB_HELLO, &v, p)); \
        memset(&got, 0xAA, sizeof(got));                              \
        assert_ok(scep_wire_get_##name(&got, body, p));               \
        same_##name(&v, &got);                                        \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

#define X(name, fields) { #name, frame_##name, read_##name, round_trip_##name },
static const structure structures[] = { SCEP_WIRE_STRUCTS(X) };
#undef X

START_TEST(each_structure_is_read_back_as_it_was_written)
{
    row = structures[_i].name;
    structures[_i].round_trip();
}
END_TEST

START_TEST(a_body_cut_anywhere_is_refused)
{
    scep_bytes body = body_of(structures[_i].frame());

    row = structures[_i].name;
    for (size_t len = 0; len < body.len; len++) {
        /* a copy of that length, so that a sanitizer sees every byte read beyond it */
        unsigned char *cut = malloc(len ? len : 1);

        FIXTURE_MUST(cut);
        memcpy(cut, body.data, len);
        assert_code(SCEP_INTERNAL, structures[_i].read((scep_bytes){ cut, len }));
        free(cut);
    }
}
END_TEST

START_TEST(a_byte_after_the_last_field_is_refused)
{
    scep_bytes body = body_of(structures[_i].frame());
    unsigned char *longer = apr_pcalloc(p, body.len + 1);

    row = structures[_i].name;
    memcpy(longer, body.data, body.len);
    assert_code(SCEP_INTERNAL, structures[_i].read((scep_bytes){ longer, body.len + 1 }));
}
END_TEST

START_TEST(absent_values_are_read_as_empty_ones)
{
    scep_wire_endpoint none = { NULL, NULL }, got = { NULL, NULL };
    scep_bytes frame = scep_wire_put_endpoint(SCEP_VERB_HELLO, &none, p);

    assert_ok(scep_wire_get_endpoint(&got, body_of(frame), p));
    ck_assert_str_eq(got.name, "");
    ck_assert_ptr_nonnull(got.settings);
    ck_assert_int_eq(got.settings->nelts, 0);
}
END_TEST

START_TEST(a_text_with_a_nul_in_it_is_refused)
{
    static const unsigned char nul[] = { 0, 0, 0, 3, 'a', 0, 'b' };
    static const unsigned char last[] = { 0, 0, 0, 2, 'a', 0 };
    scep_wire_failed got;

    assert_code(SCEP_INTERNAL, scep_wire_get_failed(&got, (scep_bytes){ nul, sizeof(nul) }, p));
    assert_code(SCEP_INTERNAL, scep_wire_get_failed(&got, (scep_bytes){ last, sizeof(last) }, p));
}
END_TEST

/* Counts that the bytes after them cannot hold; the elements take 16 bytes at least. */
static const struct {
    const char *what;
    unsigned char body[4 + 48];
    size_t len;
} bombs[] = {
    { "2^31", { 0x80, 0, 0, 0 }, 52 },       { "2^32 - 1", { 0xff, 0xff, 0xff, 0xff }, 52 },
    { "2^28", { 0x10, 0, 0, 0 }, 52 },       { "one too many", { 0, 0, 0, 4 }, 52 },
    { "one of nothing", { 0, 0, 0, 1 }, 4 },
};

/* Where memory was taken for them all the same, the test ends here and not the machine. */
#ifndef SANITIZED
static void limit_memory(void)
{
    struct rlimit room = { 256u << 20, 256u << 20 };

    FIXTURE_MUST(setrlimit(RLIMIT_AS, &room) == 0);
}
#else
static void limit_memory(void)
{
}
#endif

START_TEST(a_list_longer_than_its_bytes_is_refused_before_memory_is_taken)
{
    scep_wire_ready got;

    limit_memory();
    row = bombs[_i].what;
    assert_code(SCEP_INTERNAL,
                scep_wire_get_ready(&got, (scep_bytes){ bombs[_i].body, bombs[_i].len }, p));
}
END_TEST

/* ---- headers ---- */

static const struct {
    const char *what;
    unsigned char header[SCEP_WIRE_HEADER];
    scep_code code;
    int verb;
    size_t length;
} headers[] = {
    { "a good one", { 'S', 'C', 'E', 'P', 3, 7, 0, 0, 0, 0, 1, 2 }, SCEP_OK, 7, 258 },
    { "the longest", { 'S', 'C', 'E', 'P', 3, 1, 0, 0, 0, 0x20, 0, 0 }, SCEP_OK, 1, 2u << 20 },
    { "an unknown verb", { 'S', 'C', 'E', 'P', 3, 200, 0, 0, 0, 0, 0, 0 }, SCEP_OK, 200, 0 },
    { "one longer", { 'S', 'C', 'E', 'P', 3, 1, 0, 0, 0, 0x20, 0, 1 }, SCEP_INTERNAL, 0, 0 },
    { "2^32 - 1", { 'S', 'C', 'E', 'P', 3, 1, 0, 0, 255, 255, 255, 255 }, SCEP_INTERNAL, 0, 0 },
    { "other magic", { 'H', 'T', 'T', 'P', 2, 1, 0, 0, 0, 0, 0, 0 }, SCEP_INTERNAL, 0, 0 },
    { "last byte of magic", { 'S', 'C', 'E', 'Q', 2, 1, 0, 0, 0, 0, 0, 0 }, SCEP_INTERNAL, 0, 0 },
    { "version 0", { 'S', 'C', 'E', 'P', 0, 1, 0, 0, 0, 0, 0, 0 }, SCEP_INTERNAL, 0, 0 },
    { "version 2", { 'S', 'C', 'E', 'P', 2, 1, 0, 0, 0, 0, 0, 0 }, SCEP_INTERNAL, 0, 0 },
    { "version 1", { 'S', 'C', 'E', 'P', 1, 1, 0, 0, 0, 0, 0, 0 }, SCEP_INTERNAL, 0, 0 },
    { "verb 0", { 'S', 'C', 'E', 'P', 3, 0, 0, 0, 0, 0, 0, 0 }, SCEP_INTERNAL, 0, 0 },
    { "first zero", { 'S', 'C', 'E', 'P', 3, 1, 1, 0, 0, 0, 0, 0 }, SCEP_INTERNAL, 0, 0 },
    { "second zero", { 'S', 'C', 'E', 'P', 3, 1, 0, 1, 0, 0, 0, 0 }, SCEP_INTERNAL, 0, 0 },
};

START_TEST(headers_are_read_strictly)
{
    scep_bytes all = { headers[_i].header, SCEP_WIRE_HEADER };
    int verb = -1;
    size_t length = 99;

    row = headers[_i].what;
    assert_code(headers[_i].code, scep_wire_header(all, &verb, &length, p));
    ck_assert_int_eq(verb, headers[_i].verb);
    ck_assert_uint_eq(length, headers[_i].length);
    all.len--;
    assert_ok(scep_wire_header(all, &verb, &length, p));
    ck_assert_int_eq(verb, 0);
}
END_TEST

/* ---- over a socket ---- */

static int ends[2];

static void make_ends(void)
{
    FIXTURE_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
}

static void close_ends(void)
{
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
    }
}

static apr_time_t in_ms(int ms)
{
    return apr_time_now() + ms * 1000;
}

static scep_bytes large_frame(void)
{
    scep_wire_cert v = { { apr_pcalloc(p, 2000000), 2000000 } };

    memset((void *)(uintptr_t)v.der.data, 0x5A, v.der.len);
    return scep_wire_put_cert(SCEP_VERB_READY, &v, p);
}

/* Drips a frame into ends[1], a piece at a time. */
static void *drip(void *data)
{
    const scep_bytes *frame = data;

    for (size_t at = 0; at < frame->len;) {
        size_t piece = frame->len - at < 30000 ? 1 : 30000;
        ssize_t n = send(ends[1], frame->data + at, piece, MSG_NOSIGNAL);

        if (n < 0)
            return NULL;
        at += (size_t)n;
    }
    return data;
}

static void *write_large(void *data)
{
    const scep_bytes *frame = data;
    apr_pool_t *own;
    const scep_err *err;

    FIXTURE_MUST(apr_pool_create_ex(&own, NULL, NULL, NULL) == APR_SUCCESS);
    err = scep_wire_write(ends[1], *frame, in_ms(10000), own);
    apr_pool_destroy(own);
    return err ? NULL : data;
}

START_TEST(a_frame_in_pieces_arrives_whole)
{
    scep_bytes frame = large_frame(), body;
    pthread_t thread;
    void *done;
    int verb;

    FIXTURE_MUST(fcntl(ends[0], F_SETFL, _i ? O_NONBLOCK : 0) == 0);
    FIXTURE_MUST(pthread_create(&thread, NULL, _i ? write_large : drip, &frame) == 0);
    assert_ok(scep_wire_read(ends[0], &verb, &body, in_ms(10000), p));
    FIXTURE_MUST(pthread_join(thread, &done) == 0);
    ck_assert_ptr_eq(done, &frame);
    ck_assert_int_eq(verb, SCEP_VERB_READY);
    ck_assert(scep_bytes_equal(body, body_of(frame)));
}
END_TEST

START_TEST(reading_takes_no_byte_of_the_next_frame)
{
    scep_bytes frame = scep_wire_put_empty(SCEP_VERB_DRAIN, p), body;
    int verb;

    assert_ok(scep_wire_write(ends[1], frame, in_ms(1000), p));
    assert_ok(scep_wire_write(ends[1], scep_wire_put_empty(SCEP_VERB_WELCOME, p), 0, p));
    assert_ok(scep_wire_read(ends[0], &verb, &body, in_ms(1000), p));
    ck_assert_int_eq(verb, SCEP_VERB_DRAIN);
    assert_ok(scep_wire_read(ends[0], &verb, &body, 0, p));
    ck_assert_int_eq(verb, SCEP_VERB_WELCOME);
    ck_assert_uint_eq(body.len, 0);
}
END_TEST

START_TEST(reading_and_writing_end_at_the_deadline)
{
    scep_bytes frame = large_frame(), body;
    apr_time_t start = apr_time_now();
    int verb;

    FIXTURE_MUST(send(ends[1], frame.data, 100, 0) == 100);
    assert_code(SCEP_UNAVAILABLE, scep_wire_read(ends[0], &verb, &body, in_ms(200), p));
    ck_assert_int_ge(apr_time_now() - start, 190000);
    assert_code(SCEP_UNAVAILABLE, scep_wire_write(ends[0], frame, in_ms(200), p));
    ck_assert_int_ge(apr_time_now() - start, 390000);
    ck_assert_int_lt(apr_time_now() - start, 5000000);
}
END_TEST

START_TEST(a_closed_socket_is_an_error_and_no_signal)
{
    scep_bytes frame = scep_wire_put_empty(SCEP_VERB_DRAIN, p), body;
    int verb;

    FIXTURE_MUST(send(ends[1], frame.data, SCEP_WIRE_HEADER - 1, 0) == SCEP_WIRE_HEADER - 1);
    close(ends[1]);
    ends[1] = -1;
    assert_code(SCEP_UNAVAILABLE, scep_wire_read(ends[0], &verb, &body, in_ms(1000), p));
    assert_code(SCEP_UNAVAILABLE, scep_wire_write(ends[0], frame, in_ms(1000), p));
}
END_TEST

START_TEST(what_is_no_frame_is_neither_sent_nor_accepted)
{
    scep_bytes frame = scep_wire_put_empty(SCEP_VERB_DRAIN, p), body;
    scep_wire_cert huge = { { apr_pcalloc(p, SCEP_WIRE_MAX), SCEP_WIRE_MAX } };
    int verb;

    assert_code(SCEP_INTERNAL, scep_wire_write(ends[1], (scep_bytes){ frame.data, 11 }, 0, p));
    assert_code(SCEP_INTERNAL,
                scep_wire_write(ends[1], scep_wire_put_cert(SCEP_VERB_READY, &huge, p), 0, p));
    FIXTURE_MUST(send(ends[1], "GET / HTTP/1.0\r\n", 16, 0) == 16);
    assert_code(SCEP_INTERNAL, scep_wire_read(ends[0], &verb, &body, in_ms(1000), p));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_checked_fixture(cases, make_ends, close_ends);
    tcase_add_loop_test(cases, each_structure_is_read_back_as_it_was_written, 0, ROWS(structures));
    tcase_add_loop_test(cases, a_body_cut_anywhere_is_refused, 0, ROWS(structures));
    tcase_add_loop_test(cases, a_byte_after_the_last_field_is_refused, 0, ROWS(structures));
    tcase_add_test(cases, absent_values_are_read_as_empty_ones);
    tcase_add_test(cases, a_text_with_a_nul_in_it_is_refused);
    tcase_add_loop_test(cases, a_list_longer_than_its_bytes_is_refused_before_memory_is_taken, 0,
                        ROWS(bombs));
    tcase_add_loop_test(cases, headers_are_read_strictly, 0, ROWS(headers));
    tcase_add_loop_test(cases, a_frame_in_pieces_arrives_whole, 0, 2);
    tcase_add_test(cases, reading_takes_no_byte_of_the_next_frame);
    tcase_add_test(cases, reading_and_writing_end_at_the_deadline);
    tcase_add_test(cases, a_closed_socket_is_an_error_and_no_signal);
    tcase_add_test(cases, what_is_no_frame_is_neither_sent_nor_accepted);
}

int main(void)
{
    return run_suite("wire", add_tests);
}
