/* NDR: numbers, byte arrays and wide strings, little-endian. */
#include "ndr.h"

#include <apr_strings.h>
#include <string.h>

/* ---- reading ---- */

ndr_in ndr_open(scep_bytes stub)
{
    return (ndr_in){ { stub.data, stub.len }, 0 };
}

bool ndr_get_raw(ndr_in *in, size_t len, scep_bytes *out)
{
    if (!scep_cursor_take(&in->left, len, out))
        return false;
    in->at += len;
    return true;
}

/* A number of that many bytes, which are its alignment too. */
static bool get_number(ndr_in *in, size_t width, uint32_t *out)
{
    ndr_in at = *in;
    scep_bytes bytes;

    if (!ndr_get_raw(&at, (width - at.at % width) % width, &bytes) ||
        !ndr_get_raw(&at, width, &bytes))
        return false;
    *out = 0;
    for (size_t i = width; i-- > 0;)
        *out = *out << 8 | bytes.data[i];
    *in = at;
    return true;
}

bool ndr_get_u16(ndr_in *in, uint16_t *out)
{
    uint32_t value;

    if (!get_number(in, 2, &value))
        return false;
    *out = (uint16_t)value;
    return true;
}

bool ndr_get_u32(ndr_in *in, uint32_t *out)
{
    return get_number(in, 4, out);
}

bool ndr_get_bytes(ndr_in *in, uint32_t len, scep_bytes *out)
{
    ndr_in at = *in;
    uint32_t count;

    if (!ndr_get_u32(&at, &count) || count != len || !ndr_get_raw(&at, len, out))
        return false;
    *in = at;
    return true;
}

/* ---- writing ---- */

scep_bytes ndr_view(const ndr_out *out)
{
    return (scep_bytes){ out->data, out->len };
}

void ndr_put_raw(ndr_out *out, scep_bytes bytes)
{
    if (out->room - out->len < bytes.len) {
        size_t room = 2 * (out->len + bytes.len) + 64;
        unsigned char *data = apr_palloc(out->p, room);

        if (out->len)
            memcpy(data, out->data, out->len);
        out->data = data;
        out->room = room;
    }
    if (bytes.len)
        memcpy(out->data + out->len, bytes.data, bytes.len);
    out->len += bytes.len;
}

void ndr_align(ndr_out *out, size_t to)
{
    static const unsigned char zeros[16];

    ndr_put_raw(out, (scep_bytes){ zeros, (to - out->len % to) % to });
}

void ndr_put_u16(ndr_out *out, uint16_t value)
{
    const unsigned char bytes[] = { (unsigned char)value, (unsigned char)(value >> 8) };

    ndr_align(out, 2);
    ndr_put_raw(out, (scep_bytes){ bytes, sizeof(bytes) });
}

void ndr_put_u32(ndr_out *out, uint32_t value)
{
    const unsigned char bytes[] = { (unsigned char)value, (unsigned char)(value >> 8),
                                    (unsigned char)(value >> 16), (unsigned char)(value >> 24) };

    ndr_align(out, 4);
    ndr_put_raw(out, (scep_bytes){ bytes, sizeof(bytes) });
}

void ndr_put_bytes(ndr_out *out, scep_bytes bytes)
{
    ndr_put_u32(out, (uint32_t)bytes.len);
    ndr_put_raw(out, bytes);
}

void ndr_put_wide(ndr_out *out, scep_bytes wide)
{
    const uint32_t count = (uint32_t)(wide.len / 2 + 1);

    ndr_put_u32(out, count);
    ndr_put_u32(out, 0); /* the first one that is sent */
    ndr_put_u32(out, count);
    ndr_put_raw(out, wide);
    ndr_put_u16(out, 0);
}

/* ---- UTF-16LE ---- */

/* The next character of text that is UTF-8. */
static uint32_t next_of_utf8(const unsigned char **at)
{
    const unsigned char *s = *at;
    int more = *s < 0x80 ? 0 : *s < 0xE0 ? 1 : *s < 0xF0 ? 2 : 3;
    uint32_t c = more ? *s & (0x3Fu >> more) : *s;

    while (more-- > 0)
        c = c << 6 | (*++s & 0x3F);
    *at = s + 1;
    return c;
}

bool ndr_wide(scep_bytes *out, const char *text, apr_pool_t *p)
{
    scep_bytes utf8 = scep_bytes_of(text);
    const unsigned char *at = utf8.data;
    ndr_out wide = { .p = p };
    size_t wrong;

    if (!scep_is_utf8(utf8, &wrong))
        return false;
    while (at < utf8.data + utf8.len) {
        uint32_t c = next_of_utf8(&at);

        if (c < 0x10000) {
            ndr_put_u16(&wide, (uint16_t)c);
        } else {
            ndr_put_u16(&wide, (uint16_t)(0xD800 | (c - 0x10000) >> 10));
            ndr_put_u16(&wide, (uint16_t)(0xDC00 | (c & 0x3FF)));
        }
    }
    *out = ndr_view(&wide);
    return true;
}

/* The next character; U+FFFD for half of a pair. */
static uint32_t next_of_utf16(ndr_in *in)
{
    uint16_t high, low;
    ndr_in ahead;

    if (!ndr_get_u16(in, &high))
        return 0;
    if (high < 0xD800 || high >= 0xE000)
        return high;
    ahead = *in;
    if (high >= 0xDC00 || !ndr_get_u16(&ahead, &low) || low < 0xDC00 || low >= 0xE000)
        return 0xFFFD;
    *in = ahead;
    return 0x10000 + ((high & 0x3FFu) << 10) + (low & 0x3FFu);
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *to++ = (char)(0xE0 | c >> 12);
        } else {
            *to++ = (char)(0xF0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (c & 0x3F));
    return to;
}

/* C0 and C1, and what a terminal or a log reader may take for the end of a line or turn around. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 ||
           (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

const char *ndr_text(scep_bytes utf16, size_t most, apr_pool_t *p)
{
    size_t units = utf16.len / 2 < most ? utf16.len / 2 : most;
    char *text = apr_palloc(p, 4 * units + 1), *to = text;
    ndr_in in = ndr_open(utf16);
    bool blank = false;

    for (size_t n = 0; n < units; n++) {
        uint32_t c = next_of_utf16(&in);

        if (!c)
            break;
        if (is_control(c) || c == ' ') {
            blank = to > text;
            continue;
        }
        if (blank)
            *to++ = ' ';
        blank = false;
        to = put_utf8(to, c);
    }
    *to = '\0';
    return text;
}
