/* Byte strings and the bounded cursor. */
#include "bytes.h"

#include <apr_strings.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define BASE64_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

scep_bytes scep_bytes_of(const char *text)
{
    return (scep_bytes){ (const unsigned char *)text, text ? strlen(text) : 0 };
}

scep_bytes scep_bytes_dup(apr_pool_t *p, scep_bytes b)
{
    unsigned char *copy = apr_palloc(p, b.len + 1);

    if (b.len)
        memcpy(copy, b.data, b.len);
    copy[b.len] = 0;
    return (scep_bytes){ copy, b.len };
}

bool scep_bytes_equal(scep_bytes a, scep_bytes b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}

char *scep_hex(apr_pool_t *p, scep_bytes b)
{
    static const char digits[] = "0123456789ABCDEF";
    char *hex = apr_palloc(p, 2 * b.len + 1);

    for (size_t i = 0; i < b.len; i++) {
        hex[2 * i] = digits[b.data[i] >> 4];
        hex[2 * i + 1] = digits[b.data[i] & 15];
    }
    hex[2 * b.len] = '\0';
    return hex;
}

char *scep_base64(apr_pool_t *p, scep_bytes b)
{
    char *text = apr_palloc(p, 4 * ((b.len + 2) / 3) + 1);

    text[EVP_EncodeBlock((unsigned char *)text, b.data, (int)b.len)] = '\0';
    return text;
}

const scep_err *scep_unbase64(scep_bytes *out, const char *text, apr_pool_t *p)
{
    size_t len = strlen(text);
    unsigned char *data = apr_palloc(p, len / 4 * 3 + 1);
    size_t padding = 0;

    if (len % 4 || len > INT32_MAX)
        return scep_fail(p, INTERNAL, "not base64");
    while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
        padding++;
    /* OpenSSL takes '=' for a zero anywhere and white space at both ends */
    if (strspn(text, BASE64_DIGITS) != len - padding ||
        EVP_DecodeBlock(data, (const unsigned char *)text, (int)len) < 0)
        return scep_fail(p, INTERNAL, "not base64");
    *out = (scep_bytes){ data, len / 4 * 3 - padding };
    return NULL;
}

/* \xNN, as it is written here. */
static bool is_escape(const unsigned char *text, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";

    return len >= 4 && text[0] == '\\' && text[1] == 'x' && text[2] && text[3] &&
           strchr(digits, text[2]) && strchr(digits, text[3]);
}

/* @param special escaped, too, @param again but for those that begin an escape */
static const char *escape(apr_pool_t *p, scep_bytes b, size_t most, const char *special, bool again)
{
    size_t shown = b.len < most ? b.len : most;
    char *text = apr_palloc(p, 4 * shown + 4);
    char *to = text;

    for (size_t i = 0; i < shown; i++) {
        unsigned char c = b.data[i];
        bool plain = !strchr(special, c) || (again && is_escape(b.data + i, shown - i));

        if (c >= 0x20 && c < 0x7f && plain)
            *to++ = (char)c;
        else
            to += apr_snprintf(to, 5, "\\x%02X", c);
    }
    strcpy(to, shown < b.len ? "..." : "");
    return text;
}

const char *scep_printable(apr_pool_t *p, scep_bytes b, size_t most)
{
    return escape(p, b, most, "\\\"", false);
}

const char *scep_one_line(apr_pool_t *p, scep_bytes b, size_t most)
{
    return escape(p, b, most, "", false);
}

const char *scep_in_quotes(apr_pool_t *p, const char *line, size_t most)
{
    return escape(p, scep_bytes_of(line), most, "\\\"", true);
}

/* How many bytes follow a first one, and the least value that needs as many; -1: not a first one.
 */
static int follow(unsigned char first, unsigned *least)
{
    *least = 0;
    if (first < 0x80)
        return 0;
    *least = 0x80;
    if ((first & 0xE0) == 0xC0)
        return 1;
    *least = 0x800;
    if ((first & 0xF0) == 0xE0)
        return 2;
    *least = 0x10000;
    return (first & 0xF8) == 0xF0 ? 3 : -1;
}

bool scep_is_utf8(scep_bytes text, size_t *at)
{
    const unsigned char *b = text.data;

    for (*at = 0; *at < text.len;) {
        unsigned least;
        int more = follow(b[*at], &least);
        unsigned c = more > 0 ? b[*at] & (0x3Fu >> more) : b[*at];

        if (more < 0 || (size_t)more >= text.len - *at)
            return false;
        for (int i = 1; i <= more; i++) {
            if ((b[*at + (size_t)i] & 0xC0) != 0x80)
                return false;
            c = c << 6 | (b[*at + (size_t)i] & 0x3F);
        }
        if (c < least || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
            return false;
        *at += (size_t)more + 1;
    }
    return true;
}

const scep_err *scep_sha256(unsigned char out[32], const scep_bytes *parts, size_t n, apr_pool_t *p)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);

    for (size_t i = 0; ok && i < n; i++) {
        unsigned char len[8];

        for (int k = 0; k < 8; k++)
            len[k] = (unsigned char)((uint64_t)parts[i].len >> (56 - 8 * k));
        ok = EVP_DigestUpdate(ctx, len, sizeof(len)) &&
             EVP_DigestUpdate(ctx, parts[i].data, parts[i].len);
    }
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL);
    EVP_MD_CTX_free(ctx);
    return ok ? NULL : scep_fail(p, INTERNAL, "SHA-256 failed");
}

bool scep_cursor_take(scep_cursor *c, size_t len, scep_bytes *out)
{
    if (c->left < len)
        return false;
    *out = (scep_bytes){ c->at, len };
    c->at += len;
    c->left -= len;
    return true;
}

static bool take_number(scep_cursor *c, size_t width, uint64_t *out)
{
    scep_bytes b;

    if (!scep_cursor_take(c, width, &b))
        return false;
    *out = 0;
    for (size_t i = 0; i < width; i++)
        *out = *out << 8 | b.data[i];
    return true;
}

bool scep_cursor_u8(scep_cursor *c, uint8_t *out)
{
    uint64_t v;

    if (!take_number(c, 1, &v))
        return false;
    *out = (uint8_t)v;
    return true;
}

bool scep_cursor_u32(scep_cursor *c, uint32_t *out)
{
    uint64_t v;

    if (!take_number(c, 4, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

bool scep_cursor_u64(scep_cursor *c, uint64_t *out)
{
    return take_number(c, 8, out);
}

bool scep_cursor_der(scep_cursor *c, uint8_t *tag, scep_bytes *content)
{
    scep_cursor at = *c;
    uint8_t first;
    uint64_t len;

    if (!scep_cursor_u8(&at, tag) || (*tag & 0x1f) == 0x1f || !scep_cursor_u8(&at, &first))
        return false;
    len = first;
    if (first & 0x80) {
        size_t width = first & 0x7f;

        /* no indefinite length, no leading zero, no long form where the short one serves */
        if (width == 0 || width > 4 || !take_number(&at, width, &len) || len < 0x80 ||
            len >> (8 * (width - 1)) == 0)
            return false;
    }
    if (!scep_cursor_take(&at, (size_t)len, content))
        return false;
    *c = at;
    return true;
}
