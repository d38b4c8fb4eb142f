/* A registry export as a file and as text: UTF-16LE or UTF-8 in, UTF-8 out. */
#include "registry_parts.h"

#include <apr_file_io.h>
#include <string.h>
#include <strings.h>

static unsigned unit_at(scep_bytes b, size_t at)
{
    return (unsigned)b.data[at] | (unsigned)b.data[at + 1] << 8;
}

static char *put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *to++ = (char)(0xE0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        *to++ = (char)(0x80 | (c & 0x3F));
    } else {
        *to++ = (char)(0xF0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3F));
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        *to++ = (char)(0x80 | (c & 0x3F));
    }
    return to;
}

char *registry_utf8(scep_bytes utf16, size_t *len, size_t *at, apr_pool_t *p)
{
    /* two bytes become three at most, and a pair of two becomes four */
    char *text = apr_palloc(p, utf16.len / 2 * 3 + 1), *to = text;
    size_t i;

    for (i = 0; utf16.len - i >= 2; i += 2) {
        unsigned c = unit_at(utf16, i);

        *at = i;
        if (c >= 0xDC00 && c < 0xE000)
            return NULL;
        if (c >= 0xD800 && c < 0xDC00) {
            unsigned low = utf16.len - i >= 4 ? unit_at(utf16, i + 2) : 0;

            if (low < 0xDC00 || low >= 0xE000)
                return NULL;
            c = 0x10000 + ((c & 0x3FF) << 10) + (low & 0x3FF);
            i += 2;
        }
        to = put_utf8(to, c);
    }
    *at = i;
    if (i != utf16.len)
        return NULL;
    *len = (size_t)(to - text);
    *to = '\0';
    return text;
}

/* The line of a byte; @a step: bytes of a character. */
static int line_of(scep_bytes b, size_t at, size_t step)
{
    int line = 1;

    for (size_t i = 0; i + step <= at; i += step)
        if (b.data[i] == '\n' && (step == 1 || !b.data[i + 1]))
            line++;
    return line;
}

static scep_bytes behind(scep_bytes b, size_t n)
{
    return (scep_bytes){ b.data + n, b.len - n };
}

static const scep_err *decode_utf16(char **out, scep_bytes body, const char *path, apr_pool_t *p)
{
    size_t len = 0, at = 0, nul;

    *out = registry_utf8(body, &len, &at, p);
    if (!*out)
        return scep_fail(p, CONFIG,
                         "%s:%d: UTF-16 is expected, but a character is cut in half; export the "
                         "key again",
                         path, line_of(body, at, 2));
    nul = strlen(*out);
    if (nul == len)
        return NULL;
    return scep_fail(p, CONFIG, "%s:%d: text is expected, not a NUL", path,
                     line_of((scep_bytes){ (unsigned char *)*out, len }, nul, 1));
}

/* Windows writes it in the code page of the machine, and does not say which one that is. */
static bool is_regedit4(scep_bytes body)
{
    static const char old[] = "REGEDIT4";

    return body.len >= strlen(old) && !strncasecmp((const char *)body.data, old, strlen(old));
}

static const scep_err *decode_utf8(char **out, scep_bytes body, const char *path, apr_pool_t *p)
{
    size_t at;

    *out = (char *)scep_bytes_dup(p, body).data;
    if (!scep_is_utf8(body, &at))
        return scep_fail(p, CONFIG, "%s:%d: %s", path, line_of(body, at, 1),
                         is_regedit4(body)
                             ? REGISTRY_NO_CODE_PAGE
                             : "UTF-8 or UTF-16LE with a byte order mark is expected; export the "
                               "key anew, or convert the file");
    at = strlen(*out);
    if (at == body.len)
        return NULL;
    return scep_fail(p, CONFIG, "%s:%d: text is expected, not a NUL", path, line_of(body, at, 1));
}

const scep_err *registry_decode(char **out, scep_bytes file, const char *path, apr_pool_t *p)
{
    const unsigned char *b = file.data;

    if (file.len > SCEP_REGISTRY_MAX)
        return scep_fail(p, CONFIG, "%s: larger than %d bytes; export the MSCEP key alone", path,
                         SCEP_REGISTRY_MAX);
    if (file.len >= 2 && b[0] == 0xFE && b[1] == 0xFF)
        return scep_fail(p, CONFIG,
                         "%s:1: UTF-8 or UTF-16LE is expected, this is UTF-16 with the high byte "
                         "first",
                         path);
    if (file.len >= 2 && b[0] == 0xFF && b[1] == 0xFE)
        return decode_utf16(out, behind(file, 2), path, p);
    if (file.len >= 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF)
        return decode_utf8(out, behind(file, 3), path, p);
    /* a file that a tool wrote without its mark begins with "W\0" or "R\0" */
    if (file.len >= 2 && b[0] && !b[1])
        return decode_utf16(out, file, path, p);
    return decode_utf8(out, file, path, p);
}

const scep_err *scep_registry_load(scep_registry *out, const char *path, apr_pool_t *p)
{
    apr_file_t *file;
    apr_status_t rv;
    char *data, why[128];
    apr_size_t len = 0;

    rv = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, p);
    if (rv != APR_SUCCESS)
        return scep_fail(p, CONFIG, "%s: %s", path, apr_strerror(rv, why, sizeof(why)));
    /* one byte more than is accepted: a larger file is seen as such, whatever its size */
    data = apr_palloc(p, SCEP_REGISTRY_MAX + 1);
    rv = apr_file_read_full(file, data, SCEP_REGISTRY_MAX + 1, &len);
    apr_file_close(file);
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv))
        return scep_fail(p, CONFIG, "%s: %s", path, apr_strerror(rv, why, sizeof(why)));
    return scep_registry_read(out, (scep_bytes){ (unsigned char *)data, len }, path, p);
}
