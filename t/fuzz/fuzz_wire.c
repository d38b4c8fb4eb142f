/* lib/wire.h: frames between httpd and scep-ca. What is read is written again as it was. */
#include "fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define X(name, fields)                                                                         \
    static void read_##name(scep_bytes body, apr_pool_t *p)                                     \
    {                                                                                           \
        scep_wire_##name value;                                                                 \
        scep_bytes frame;                                                                       \
                                                                                                \
        if (scep_wire_get_##name(&value, body, p))                                              \
            return;                                                                             \
        frame = scep_wire_put_##name(SCEP_VERB_HELLO, &value, p);                               \
        FIXTURE_MUST(frame.len == SCEP_WIRE_HEADER + body.len);                                 \
        FIXTURE_MUST(!body.len || !memcmp(frame.data + SCEP_WIRE_HEADER, body.data, body.len)); \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

#define X(name, fields) read_##name,
static void (*const readers[])(scep_bytes, apr_pool_t *) = { SCEP_WIRE_STRUCTS(X) };
#undef X

/* The same bytes as they come from a peer that sends them and leaves. What is a frame is sent on.
 */
static void read_stream(scep_bytes stream, apr_pool_t *p)
{
    const apr_time_t deadline = 0; /* all there is has arrived: one try */
    int pair[2], verb = 0;
    scep_bytes body = { 0 }, frame, again;

    FIXTURE_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    FIXTURE_MUST(write(pair[0], stream.data, stream.len) == (ssize_t)stream.len);
    if (stream.len % 2)
        FIXTURE_MUST(shutdown(pair[0], SHUT_WR) == 0);
    if (!scep_wire_read(pair[1], &verb, &body, deadline, p)) {
        frame = (scep_bytes){ stream.data, SCEP_WIRE_HEADER + body.len };
        FIXTURE_MUST(verb && frame.len <= stream.len);
        FIXTURE_MUST(!scep_wire_write(pair[1], frame, deadline, p));
        FIXTURE_MUST(!scep_wire_read(pair[0], &verb, &again, deadline, p));
        FIXTURE_MUST(scep_bytes_equal(body, again));
        if (!body.len)
            FIXTURE_MUST(scep_bytes_equal(frame, scep_wire_put_empty((scep_verb)verb, p)));
    }
    FIXTURE_MUST(close(pair[0]) == 0 && close(pair[1]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    scep_bytes have = { data, size }, body;
    size_t length = 0;
    int verb = 0;

    /* the whole stream, and each beginning of its header */
    for (size_t n = 0; n < size && n < SCEP_WIRE_HEADER; n++)
        if (!scep_wire_header((scep_bytes){ data, n }, &verb, &length, p))
            FIXTURE_MUST(verb == 0);
    if (!scep_wire_header(have, &verb, &length, p) && verb) {
        FIXTURE_MUST(size >= SCEP_WIRE_HEADER && length <= SCEP_WIRE_MAX);
        body = (scep_bytes){ data + SCEP_WIRE_HEADER, size - SCEP_WIRE_HEADER };
        body.len = body.len < length ? body.len : length;
        /* any verb may come with any body: none of the readers may trust that they fit */
        for (size_t i = 0; i < sizeof(readers) / sizeof(*readers); i++) {
            apr_pool_t *one;

            FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
            readers[i](body, one);
            apr_pool_destroy(one);
        }
    }
    if (size <= 16384) /* what a socket holds without a reader */
        read_stream(have, p);
    fuzz_end(p);
    return 0;
}
