/* Seeds of what a certification authority of Active Directory, and whoever is on the way, can say.
 */
#include "make-seeds.h"

#include "ndr.h"

#include <apr_strings.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))

static scep_bytes text(const char *data, size_t len)
{
    return (scep_bytes){ (const unsigned char *)data, len };
}
#define TEXT(literal) text(literal, sizeof(literal) - 1)

/* ---- answers to CertServerRequest ---- */

static void put_blob(ndr_out *out, scep_bytes bytes)
{
    ndr_put_u32(out, (uint32_t)bytes.len);
    ndr_put_u32(out, bytes.len ? 0x20000 : 0);
    if (bytes.len)
        ndr_put_bytes(out, bytes);
}

static void make_answers(apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    static const struct {
        const char *name, *message;
        uint32_t id, disposition, result;
        bool cert;
    } seeds[] = {
        { "issued", "Issued", 9, 3, 0, true },
        { "issued-nothing", "Issued", 9, 3, 0, false },
        { "pending", "Taken Under Submission", 9, 5, 0, false },
        { "pending-no-number", NULL, 0, 5, 0, false },
        { "denied", "Denied by Policy Module  0x80094802, \xe2\x80\x9eT\xe2\x80\x9c\r\n", 9, 2, 0,
          false },
        { "denied-hresult", "", 9, 0x80094012, 0, false },
        { "empty", NULL, 9, 0, 0x80094004, false },
        { "other-number", NULL, 8, 5, 0, false },
        { "revoked", NULL, 9, 6, 0, true },
        { "other-means", NULL, 9, 4, 0, false },
        { "incomplete", NULL, 9, 0, 0, false },
        { "asn1", NULL, 9, 0x8009310b, 0, false },
        { "unknown-denial", NULL, 9, 0x80094ffe, 0, false },
        { "unknown", NULL, 9, 0x8abcdef0, 0, false },
    };

    for (int i = 0; i < COUNT(seeds); i++) {
        scep_bytes cert = { NULL, 0 }, message = { NULL, 0 };
        ndr_out out = { .p = p };

        if (seeds[i].cert)
            FIXTURE_MUST(!scep_cert_der(&cert, keys->device.cert, p));
        if (seeds[i].message)
            FIXTURE_MUST(ndr_wide(&message, seeds[i].message, p));
        ndr_put_u32(&out, seeds[i].id);
        ndr_put_u32(&out, seeds[i].disposition);
        put_blob(&out, cert);
        put_blob(&out, cert);
        put_blob(&out, message);
        ndr_put_u32(&out, seeds[i].result);
        put_seed("icpr", seeds[i].name, ndr_view(&out), p);
    }
    put_seed("icpr", "name", scep_bytes_of("Device"), p);
    put_seed("icpr", "name-lines", scep_bytes_of("Device\nSAN:dns=a"), p);
    put_seed("icpr", "name-umlaut", scep_bytes_of("Ger\xc3\xa4te"), p);
    put_seed("icpr", "name-latin", scep_bytes_of("Ger\xe4te"), p);
}

/* ---- PDUs ---- */

static scep_bytes pdu(unsigned char type, unsigned char flags, unsigned char call_id,
                      unsigned char token, scep_bytes body, apr_pool_t *p)
{
    const size_t len = 16 + body.len;
    const unsigned char header[] = {
        5,     0, type,    flags, 0x10, 0, 0, 0, (unsigned char)len, (unsigned char)(len >> 8),
        token, 0, call_id, 0,     0,    0
    };

    return join_bytes((scep_bytes){ header, sizeof(header) }, body, p);
}

#define NDR_UUID "\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60"
#define ACCEPTED                       \
    "\xd0\x16\xd0\x16\x34\x12\0\0\4\0" \
    "135\0\0\0\1\0\0\0\0\0\0\0" NDR_UUID "\2\0\0\0"
#define TOWER                                                    \
    "\5\0\x13\0\x0d\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0" \
    "\x13\0\x0d" NDR_UUID "\2\0\2\0\0\0\1\0\x0b\2\0\0\0\1\0\7\2\0\xc0\0\1\0\x09\4\0\x7f\0\0\1"
#define HINT "\0\0\0\0\0\0\0\0"

static scep_bytes map_answer(apr_pool_t *p)
{
    const scep_bytes tower = TEXT(TOWER);
    ndr_out out = { .p = p };

    for (int i = 0; i < 5; i++)
        ndr_put_u32(&out, 0);
    ndr_put_u32(&out, 1);
    ndr_put_u32(&out, 4);
    ndr_put_u32(&out, 0);
    ndr_put_u32(&out, 1);
    ndr_put_u32(&out, 3);
    ndr_put_u32(&out, (uint32_t)tower.len);
    ndr_put_bytes(&out, tower);
    ndr_put_u32(&out, 0);
    return ndr_view(&out);
}

static void make_pdus(apr_pool_t *p)
{
    const scep_bytes ack = pdu(12, 3, 1, 0, TEXT(ACCEPTED), p), answer = map_answer(p);
    const scep_bytes hint = TEXT(HINT);
    const scep_bytes first = join_bytes(hint, (scep_bytes){ answer.data, 40 }, p);
    const scep_bytes rest = join_bytes(hint, (scep_bytes){ answer.data + 40, answer.len - 40 }, p);
    const struct {
        const char *name;
        scep_bytes pdu;
        bool alone; /* not behind a bind_ack */
    } seeds[] = {
        { "ack", ack, true },
        { "rejected",
          pdu(12, 3, 1, 0,
              TEXT("\xd0\x16\xd0\x16\x34\x12\0\0\0\0\0\0\1\0\0\0\2\0\1\0" NDR_UUID "\0\0\0\0"), p),
          true },
        { "nak", pdu(13, 3, 1, 0, TEXT("\x09\0\1\5\0"), p), true },
        { "sealed", pdu(2, 3, 2, 5, TEXT(HINT "stub\x10\6\4\0\1\0\0\0token"), p), true },
        { "response", pdu(2, 3, 2, 0, join_bytes(hint, answer, p), p), false },
        { "fragments", join_bytes(pdu(2, 1, 2, 0, first, p), pdu(2, 2, 2, 0, rest, p), p), false },
        { "first-twice", join_bytes(pdu(2, 1, 2, 0, first, p), pdu(2, 3, 2, 0, rest, p), p),
          false },
        { "empty-fragment", pdu(2, 1, 2, 0, hint, p), false },
        { "fault", pdu(3, 3, 2, 0, TEXT("\0\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0"), p), false },
        { "fault-cut", pdu(3, 3, 2, 0, TEXT("\0\0\0\0\0\0"), p), false },
        { "other-call", pdu(2, 3, 3, 0, join_bytes(hint, answer, p), p), false },
        { "no-tower", pdu(2, 3, 2, 0, join_bytes(hint, text((const char *)answer.data, 20), p), p),
          false },
    };

    for (int i = 0; i < COUNT(seeds); i++)
        put_seed("dcerpc", seeds[i].name,
                 seeds[i].alone ? seeds[i].pdu : join_bytes(ack, seeds[i].pdu, p), p);
    put_seed("dcerpc", "http", scep_bytes_of("HTTP/1.1 400 Bad Request\r\n\r\n"), p);
    put_seed("dcerpc", "nothing", TEXT(""), p);
}

/* ---- NDR ---- */

void make_rpc_seeds(apr_pool_t *p)
{
    static const char pair[] = "\0\x3d\xd8\x11\xddZ\0\xfc\0\xac\x20";

    put_seed("ndr", "numbers",
             TEXT("\4\0\1\0\1"
                  "abcdefghijklmnop"),
             p);
    put_seed("ndr", "raw",
             TEXT("\3\x0a\1\x0e"
                  "abcdefghijklmnop"),
             p);
    put_seed("ndr", "bytes",
             TEXT("\2\x0f\x13"
                  "\3\0\0\0abc\0\4\0\0\0abcd"),
             p);
    put_seed("ndr", "bytes-more",
             TEXT("\1\x0f"
                  "\4\0\0\0abc"),
             p);
    put_seed("ndr", "bytes-cut",
             TEXT("\1\x0f"
                  "\3\0\0\0ab"),
             p);
    put_seed("ndr", "text", text(pair, sizeof(pair) - 1), p);
    put_seed("ndr", "text-controls",
             TEXT("\0a\0\r\0\n\0\x1b\0 \0b\0\x2e\x20"
                  "c\0\0\0d\0"),
             p);
    put_seed("ndr", "text-half",
             TEXT("\0\x3d\xd8"
                  "a\0\x11\xdd"),
             p);
    put_seed("ndr", "nothing", TEXT(""), p);
    make_pdus(p);
    make_answers(p);
}
