/* Bytes made by hand, for what OpenSSL would not make. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

enum { CONSTRUCTED = 0x20, SEQUENCE = 0x30 };

scep_bytes fixture_join(const scep_bytes *parts, size_t n, apr_pool_t *p)
{
    unsigned char *all, *to;
    size_t len = 0;

    for (size_t i = 0; i < n; i++)
        len += parts[i].len;
    all = to = apr_palloc(p, len + 1);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len)
            memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
    return (scep_bytes){ all, len };
}

scep_bytes fixture_tlv(uint8_t tag, scep_bytes content, apr_pool_t *p)
{
    unsigned char header[4] = { tag };
    size_t width = content.len < 0x80 ? 0 : content.len < 0x100 ? 1 : 2;
    scep_bytes parts[2] = { { header, 2 + width }, content };

    FIXTURE_MUST(content.len < 0x10000);
    header[1] = (unsigned char)(width ? 0x80 | width : content.len);
    for (size_t i = 0; i < width; i++)
        header[2 + i] = (unsigned char)(content.len >> 8 * (width - 1 - i));
    return fixture_join(parts, 2, p);
}

/* The same in indefinite length. */
static scep_bytes open_ended(uint8_t tag, scep_bytes content, apr_pool_t *p)
{
    const unsigned char header[2] = { tag, 0x80 }, end[2] = { 0, 0 };
    const scep_bytes parts[] = { { header, 2 }, content, { end, 2 } };

    return fixture_join(parts, 3, p);
}

scep_bytes fixture_nested(int depth, bool indefinite, apr_pool_t *p)
{
    scep_bytes b = { NULL, 0 };

    for (int i = 0; i < depth; i++)
        b = indefinite ? open_ended(SEQUENCE, b, p) : fixture_tlv(SEQUENCE, b, p);
    return b;
}

scep_bytes fixture_indefinite(scep_bytes der, apr_pool_t *p)
{
    scep_cursor c = { der.data, der.len };
    scep_bytes out = { NULL, 0 };

    while (c.left) {
        scep_bytes parts[2] = { out }, content;
        const unsigned char *begin = c.at;
        uint8_t tag;

        FIXTURE_MUST(scep_cursor_der(&c, &tag, &content));
        if (tag & CONSTRUCTED)
            parts[1] = open_ended(tag, fixture_indefinite(content, p), p);
        else
            parts[1] = (scep_bytes){ begin, (size_t)(c.at - begin) };
        out = fixture_join(parts, 2, p);
    }
    return out;
}

/* The next element, whole; its contents in *inside. */
static scep_bytes take(scep_cursor *c, uint8_t expected, scep_cursor *inside)
{
    const unsigned char *begin = c->at;
    scep_bytes content;
    uint8_t tag;

    FIXTURE_MUST(scep_cursor_der(c, &tag, &content) && tag == expected);
    *inside = (scep_cursor){ content.data, content.len };
    return (scep_bytes){ begin, (size_t)(c->at - begin) };
}

scep_bytes fixture_envelope(scep_bytes envelope, scep_bytes originator, scep_bytes algorithm,
                            apr_pool_t *p)
{
    scep_cursor all = { envelope.data, envelope.len }, data, encrypted, in;
    scep_bytes outer[2], inner[4], content[3];

    (void)take(&all, 0x30, &all);
    outer[0] = take(&all, 0x06, &in);
    (void)take(&all, 0xA0, &data);
    (void)take(&data, 0x30, &data);
    inner[0] = take(&data, 0x02, &in);
    inner[1] = originator;
    inner[2] = take(&data, 0x31, &in);
    (void)take(&data, 0x30, &encrypted);
    content[0] = take(&encrypted, 0x06, &in);
    content[1] = take(&encrypted, 0x30, &in);
    content[2] = (scep_bytes){ encrypted.at, encrypted.left };
    if (algorithm.len)
        content[1] = algorithm;
    inner[3] = fixture_tlv(0x30, fixture_join(content, 3, p), p);
    outer[1] = fixture_tlv(0xA0, fixture_tlv(0x30, fixture_join(inner, 4, p), p), p);
    return fixture_tlv(0x30, fixture_join(outer, 2, p), p);
}

scep_bytes fixture_behind(scep_bytes der, const int *path, int n, scep_bytes what, apr_pool_t *p)
{
    scep_bytes parts[16], whole, inside, one;
    scep_cursor c = { der.data, der.len };
    uint8_t tag, kind;
    size_t count = 0;

    FIXTURE_MUST(scep_cursor_der(&c, &tag, &inside) && !c.left);
    for (c = (scep_cursor){ inside.data, inside.len }; c.left; count++) {
        whole.data = c.at;
        FIXTURE_MUST(count < 15 && scep_cursor_der(&c, &kind, &one));
        whole.len = (size_t)(c.at - whole.data);
        parts[count] = n > 0 && (size_t)path[0] == count
                           ? fixture_behind(whole, path + 1, n - 1, what, p)
                           : whole;
    }
    FIXTURE_MUST(n == 0 || (size_t)path[0] < count);
    if (n == 0)
        parts[count++] = what;
    return fixture_tlv(tag, fixture_join(parts, count, p), p);
}

scep_bytes fixture_null_behind(scep_bytes der, const int *path, int n, apr_pool_t *p)
{
    return fixture_behind(der, path, n, (scep_bytes){ (const unsigned char *)"\x05", 2 }, p);
}

scep_bytes fixture_of_hex(const char *hex, apr_pool_t *p)
{
    const size_t len = strlen(hex) / 2;
    unsigned char *bytes = apr_pcalloc(p, len + 1);

    for (size_t i = 0; i < len; i++) {
        const char digits[] = { hex[2 * i], hex[2 * i + 1], '\0' };

        bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return (scep_bytes){ bytes, len };
}
