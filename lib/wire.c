/* Frames between httpd and scep-ca. Every structure is written and read by its list of fields. */
#include "wire.h"

#include "own.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static const unsigned char magic[4] = { 'S', 'C', 'E', 'P' };

/* ---- writing: once to count the bytes, once to store them ---- */

typedef struct writer {
    unsigned char *to; /* NULL: count only */
    size_t len;
} writer;

static void write_raw(writer *w, const void *data, size_t len)
{
    if (w->to && len)
        memcpy(w->to + w->len, data, len);
    w->len += len;
}

static void write_number(writer *w, uint64_t value, size_t width)
{
    unsigned char bytes[8];

    for (size_t i = 0; i < width; i++)
        bytes[i] = (unsigned char)(value >> (8 * (width - 1 - i)));
    write_raw(w, bytes, width);
}

static void write_bytes(writer *w, scep_bytes b)
{
    write_number(w, b.len, 4);
    write_raw(w, b.data, b.len);
}

static void write_header(writer *w, scep_verb verb, size_t length)
{
    write_raw(w, magic, sizeof(magic));
    write_number(w, SCEP_WIRE_VERSION, 1);
    write_number(w, verb, 1);
    write_number(w, 0, 2);
    write_number(w, length, 4);
}

#define WRITE(kind, ...) WRITE_##kind(__VA_ARGS__)
#define WRITE_U32(name) write_number(w, v->name, 4);
#define WRITE_U64(name) write_number(w, v->name, 8);
#define WRITE_TEXT(name) write_bytes(w, scep_bytes_of(v->name));
#define WRITE_BYTES(name) write_bytes(w, v->name);
#define WRITE_LIST(name, element)                               \
    write_number(w, v->name ? (uint32_t)v->name->nelts : 0, 4); \
    for (int i = 0; v->name && i < v->name->nelts; i++)         \
        write_##element(w, &APR_ARRAY_IDX(v->name, i, scep_wire_##element));

#define X(name, fields)                                            \
    static void write_##name(writer *w, const scep_wire_##name *v) \
    {                                                              \
        fields(WRITE)                                              \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

#define X(name, fields)                                                                           \
    scep_bytes scep_wire_put_##name(scep_verb verb, const scep_wire_##name *value, apr_pool_t *p) \
    {                                                                                             \
        writer body = { NULL, 0 };                                                                \
        writer frame = { NULL, 0 };                                                               \
                                                                                                  \
        write_##name(&body, value);                                                               \
        frame.to = scep_secret(p, SCEP_WIRE_HEADER + body.len);                                   \
        write_header(&frame, verb, body.len);                                                     \
        write_##name(&frame, value);                                                              \
        return (scep_bytes){ frame.to, frame.len };                                               \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

scep_bytes scep_wire_put_empty(scep_verb verb, apr_pool_t *p)
{
    writer frame = { apr_palloc(p, SCEP_WIRE_HEADER), 0 };

    write_header(&frame, verb, 0);
    return (scep_bytes){ frame.to, frame.len };
}

/* ---- reading ---- */

/* The fewest bytes a structure takes, so that a list's count is checked before memory is taken. */
#define LEAST(kind, ...) LEAST_##kind(__VA_ARGS__)
#define LEAST_U32(name) +4
#define LEAST_U64(name) +8
#define LEAST_TEXT(name) +4
#define LEAST_BYTES(name) +4
#define LEAST_LIST(name, element) +4
#define X(name, fields) LEAST_OF_##name = 0 fields(LEAST),
enum { SCEP_WIRE_STRUCTS(X) };
#undef X

static bool read_bytes(scep_cursor *c, scep_bytes *out)
{
    uint32_t len;

    return scep_cursor_u32(c, &len) && scep_cursor_take(c, len, out);
}

/* A challenge or a user's name may be among the texts, so all of them are wiped with the pool. */
static bool read_text(scep_cursor *c, const char **out, apr_pool_t *p)
{
    scep_bytes b;
    unsigned char *text;

    if (!read_bytes(c, &b) || (b.len && memchr(b.data, 0, b.len)))
        return false;
    text = scep_secret(p, b.len + 1);
    if (b.len)
        memcpy(text, b.data, b.len);
    *out = (const char *)text;
    return true;
}

static bool read_count(scep_cursor *c, size_t least, int *out)
{
    uint32_t count;

    if (!scep_cursor_u32(c, &count) || count > c->left / least)
        return false;
    *out = (int)count;
    return true;
}

#define READ(kind, ...) READ_##kind(__VA_ARGS__)
#define READ_U32(name)                 \
    if (!scep_cursor_u32(c, &v->name)) \
        return false;
#define READ_U64(name)                 \
    if (!scep_cursor_u64(c, &v->name)) \
        return false;
#define READ_TEXT(name)             \
    if (!read_text(c, &v->name, p)) \
        return false;
#define READ_BYTES(name)          \
    if (!read_bytes(c, &v->name)) \
        return false;
#define READ_LIST(name, element)                                     \
    if (!read_count(c, LEAST_OF_##element, &count))                  \
        return false;                                                \
    v->name = apr_array_make(p, count, sizeof(scep_wire_##element)); \
    for (int i = 0; i < count; i++) {                                \
        if (!read_##element(c, apr_array_push(v->name), p))          \
            return false;                                            \
    }

#define X(name, fields)                                                         \
    static bool read_##name(scep_cursor *c, scep_wire_##name *v, apr_pool_t *p) \
    {                                                                           \
        int count = 0;                                                          \
                                                                                \
        (void)count;                                                            \
        fields(READ) return true;                                               \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

#define X(name, fields)                                                                           \
    const scep_err *scep_wire_get_##name(scep_wire_##name *out, scep_bytes body, apr_pool_t *p)   \
    {                                                                                             \
        scep_cursor c = { body.data, body.len };                                                  \
                                                                                                  \
        if (!read_##name(&c, out, p) || c.left)                                                   \
            return scep_fail(p, INTERNAL, "malformed \"" #name "\" of %" APR_SIZE_T_FMT " bytes", \
                             body.len);                                                           \
        return NULL;                                                                              \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

const scep_err *scep_wire_header(scep_bytes have, int *verb, size_t *length, apr_pool_t *p)
{
    scep_cursor c = { have.data, have.len };
    scep_bytes start, zero;
    uint8_t version, what;
    uint32_t len;

    *verb = 0;
    *length = 0;
    if (have.len < SCEP_WIRE_HEADER)
        return NULL;
    if (!scep_cursor_take(&c, sizeof(magic), &start) || memcmp(start.data, magic, sizeof(magic)))
        return scep_fail(p, INTERNAL, "not a frame of scep-ca's protocol");
    if (!scep_cursor_u8(&c, &version) || version != SCEP_WIRE_VERSION)
        return scep_fail(p, INTERNAL, "protocol version %d, this side speaks %d", have.data[4],
                         SCEP_WIRE_VERSION);
    if (!scep_cursor_u8(&c, &what) || !what || !scep_cursor_take(&c, 2, &zero) || zero.data[0] ||
        zero.data[1] || !scep_cursor_u32(&c, &len))
        return scep_fail(p, INTERNAL, "malformed frame header");
    if (len > SCEP_WIRE_MAX)
        return scep_fail(p, INTERNAL, "frame of %u bytes, at most %u are accepted", len,
                         SCEP_WIRE_MAX);
    *verb = what;
    *length = len;
    return NULL;
}

/* ---- whole frames over a socket ---- */

static const scep_err *wait_for(int fd, short what, apr_time_t deadline, apr_pool_t *p)
{
    for (;;) {
        struct pollfd pfd = { fd, what, 0 };
        apr_interval_time_t left = deadline - apr_time_now();
        int n;

        if (left <= 0)
            return scep_fail(p, UNAVAILABLE, "no answer in time");
        /* rounded up, lest the last millisecond be spent spinning */
        n = poll(&pfd, 1, left > apr_time_from_sec(60) ? 60000 : (int)((left + 999) / 1000));
        if (n > 0)
            return NULL;
        if (n < 0 && errno != EINTR)
            return scep_fail(p, UNAVAILABLE, "poll: %s", strerror(errno));
    }
}

const scep_err *scep_wire_write(int fd, scep_bytes frame, apr_time_t deadline, apr_pool_t *p)
{
    int verb;
    size_t length, sent = 0;

    SCEP_TRY(scep_wire_header(frame, &verb, &length, p));
    if (!verb || frame.len != SCEP_WIRE_HEADER + length)
        return scep_fail(p, INTERNAL, "not one whole frame");
    while (sent < frame.len) {
        ssize_t n = send(fd, frame.data + sent, frame.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            SCEP_TRY(wait_for(fd, POLLOUT, deadline, p));
        else if (errno != EINTR)
            return scep_fail(p, UNAVAILABLE, "cannot write: %s", strerror(errno));
    }
    return NULL;
}

static const scep_err *read_exactly(int fd, unsigned char *to, size_t len, apr_time_t deadline,
                                    apr_pool_t *p)
{
    size_t have = 0;

    while (have < len) {
        ssize_t n = recv(fd, to + have, len - have, MSG_DONTWAIT);

        if (n > 0)
            have += (size_t)n;
        else if (n == 0)
            return scep_fail(p, UNAVAILABLE, "closed by the other side");
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            SCEP_TRY(wait_for(fd, POLLIN, deadline, p));
        else if (errno != EINTR)
            return scep_fail(p, UNAVAILABLE, "cannot read: %s", strerror(errno));
    }
    return NULL;
}

const scep_err *scep_wire_read(int fd, int *verb, scep_bytes *body, apr_time_t deadline,
                               apr_pool_t *p)
{
    unsigned char header[SCEP_WIRE_HEADER];
    unsigned char *data;
    size_t length;

    SCEP_TRY(read_exactly(fd, header, sizeof(header), deadline, p));
    SCEP_TRY(scep_wire_header((scep_bytes){ header, sizeof(header) }, verb, &length, p));
    data = scep_secret(p, length);
    SCEP_TRY(read_exactly(fd, data, length, deadline, p));
    *body = (scep_bytes){ data, length };
    return NULL;
}
