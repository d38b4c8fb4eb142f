/* PDUs of DCE/RPC made by hand. */
#include "rpc_room.h"

#include <string.h>

const char ndr_uuid[17] = "\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60";

void add(text *t, const void *data, size_t len)
{
    FIXTURE_MUST(t->len + len <= sizeof(t->data));
    memcpy(t->data + t->len, data, len);
    t->len += len;
}

void add16(text *t, unsigned value)
{
    add(t, (const unsigned char[]){ (unsigned char)value, (unsigned char)(value >> 8) }, 2);
}

void add32(text *t, uint32_t value)
{
    add16(t, value & 0xFFFF);
    add16(t, value >> 16);
}

scep_bytes view(const text *t)
{
    return (scep_bytes){ t->data, t->len };
}

text pdu_of(int type, int flags, uint32_t call_id, const text *body)
{
    text t = { .len = 0 };

    add(&t,
        (const unsigned char[]){ 5, 0, (unsigned char)type, (unsigned char)flags, 0x10, 0, 0, 0 },
        8);
    add16(&t, (unsigned)(16 + body->len));
    add16(&t, 0);
    add32(&t, call_id);
    add(&t, body->data, body->len);
    return t;
}

/* A bind_ack's body. */
text accepted(unsigned takes, unsigned results, unsigned result, unsigned reason)
{
    text t = { .len = 0 };

    add16(&t, 5840);
    add16(&t, takes);
    add32(&t, 0x1234);
    add16(&t, 4);
    add(&t, "135\0\xEE\xEE", 6); /* aligned for the counts */
    add32(&t, results);
    add16(&t, result);
    add16(&t, reason);
    add(&t, ndr_uuid, 16);
    add32(&t, 2);
    return t;
}

text response(const char *stub)
{
    text t = { .len = 0 };

    add32(&t, 0xFFFFFFFF); /* the hint is believed by nobody */
    add32(&t, 0);
    add(&t, stub, strlen(stub));
    return t;
}

text fault(uint32_t status)
{
    text t = { .len = 0 };

    add32(&t, 0);
    add32(&t, 0);
    add32(&t, status);
    add32(&t, 0);
    return t;
}

text with_token(text t)
{
    add(&t, "\x10\x06\0\0\1\0\0\0token", 13);
    t.data[8] = (unsigned char)t.len;
    t.data[10] = 5;
    return t;
}

text reply(int flags, uint32_t call_id, const char *stub)
{
    text body = response(stub);

    return pdu_of(DCERPC_RESPONSE, flags, call_id, &body);
}
