/* Answers of HTTP/1.1, as far as these servers send them: with a length, or until the end. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The value of a header line, or NULL: it is another. */
static const char *value_of(const char *line, const char *name)
{
    size_t len = strlen(name);

    return strncasecmp(line, name, len) == 0 && line[len] == ':' ? line + len + 1 : NULL;
}

/* Where the headers end a NUL stands behind @a got, or an empty line. */
http_progress http_parse(http_answer *out, scep_bytes got, bool ended)
{
    const char *text = (const char *)got.data;
    const char *end = got.len ? strstr(text, "\r\n\r\n") : NULL;
    const char *value;
    size_t head, length = 0;
    bool has_length = false;

    if (!end)
        return ended ? HTTP_ODD : HTTP_MORE;
    head = (size_t)(end - text) + 4;
    if (strncmp(text, "HTTP/1.", 7) != 0 || head < 16)
        return HTTP_ODD;
    *out = (http_answer){ .status = atoi(text + 9), .closes = text[7] == '0' };
    for (const char *line = strstr(text, "\r\n"); line < end; line = strstr(line, "\r\n")) {
        line += 2;
        if ((value = value_of(line, "Content-Length"))) {
            length = strtoul(value, NULL, 10);
            has_length = true;
        } else if ((value = value_of(line, "Connection"))) {
            out->closes |= strncasecmp(value + strspn(value, " "), "close", 5) == 0;
        } else if (value_of(line, "Retry-After")) {
            out->retry_after = true;
        } else if (value_of(line, "Transfer-Encoding")) {
            return HTTP_ODD;
        }
    }
    out->closes |= ended || !has_length;
    if (!has_length && !ended)
        return HTTP_MORE;
    if (has_length && got.len - head < length)
        return ended ? HTTP_ODD : HTTP_MORE;
    out->body = (scep_bytes){ got.data + head, has_length ? length : got.len - head };
    return HTTP_WHOLE;
}
