/* The query string of a SCEP request. */
#include "query.h"

#include <apr_strings.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Percent-decoding only: form decoding would turn the '+' of base64 into a space. */
static char *percent_decode(const char *from, size_t len, apr_pool_t *p)
{
    char *text = apr_palloc(p, len + 1);
    char *to = text;

    for (size_t i = 0; i < len; i++) {
        char c = from[i];

        if (c == '%' && len - i > 2 && hex_digit(from[i + 1]) >= 0 && hex_digit(from[i + 2]) >= 0) {
            c = (char)(16 * hex_digit(from[i + 1]) + hex_digit(from[i + 2]));
            i += 2;
        }
        if (c)
            *to++ = c;
    }
    *to = '\0';
    return text;
}

char *scep_query_get(const char *query, const char *name, apr_pool_t *p)
{
    size_t name_len = strlen(name);

    while (query) {
        size_t len = strcspn(query, "&");
        size_t before = strcspn(query, "&=");

        if (before == name_len && !strncasecmp(query, name, name_len)) {
            size_t skip = before < len ? before + 1 : before;

            return percent_decode(query + skip, len - skip, p);
        }
        query = query[len] ? query + len + 1 : NULL;
    }
    return NULL;
}

/* The base64 character that c stands for; 0: none, the character is dropped; -1: not base64. */
static int repair(char c)
{
    switch (c) {
    case '\r':
    case '\n':
    case '\t':
        return 0;
    case ' ': /* what a proxy made of '+' */
    case '-':
        return '+';
    case '_':
        return '/';
    case '+':
    case '/':
    case '=':
        return c;
    default:
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ? c : -1;
    }
}

const scep_err *scep_query_message(scep_bytes *out, const char *text, apr_pool_t *p)
{
    size_t len = strlen(text), digits = 0, padding = 0;
    char *clean = apr_palloc(p, len + 3);
    unsigned char *data;

    for (size_t i = 0; i < len; i++) {
        int c = repair(text[i]);

        if (c < 0)
            return scep_fail(
                p, UNDECODABLE, "message= holds \"%s\" at offset %lu: not base64",
                scep_printable(p, (scep_bytes){ (const unsigned char *)text + i, 1 }, 1),
                (unsigned long)i);
        if (c == '=')
            padding++;
        else if (c && padding)
            return scep_fail(p, UNDECODABLE, "message= goes on behind its padding");
        else if (c)
            clean[digits++] = (char)c;
    }
    /* padding may be missing, but what is there must fit */
    if (!digits || digits > INT_MAX - 2 || digits % 4 == 1 || padding > (4 - digits % 4) % 4)
        return scep_fail(p, UNDECODABLE, "message= is empty, cut short or wrongly padded");
    padding = (4 - digits % 4) % 4;
    memset(clean + digits, '=', padding);
    data = apr_palloc(p, (digits + padding) / 4 * 3);
    if (EVP_DecodeBlock(data, (const unsigned char *)clean, (int)(digits + padding)) < 0)
        return scep_fail(p, UNDECODABLE, "message= is not base64");
    *out = (scep_bytes){ data, (digits + padding) / 4 * 3 - padding };
    return NULL;
}
