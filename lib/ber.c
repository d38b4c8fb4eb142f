/* A walk over BER that decodes nothing. */
#include "ber.h"

enum { SEQUENCE = 0x30, SET = 0x31, CLASS = 0xC0 };
enum { CONSTRUCTED = 0x20, LONG_TAG = 0x1f, LONG_LENGTH = 0x80, INDEFINITE = 0x80 };

typedef struct header {
    uint8_t tag;
    bool indefinite;
    size_t len; /* of the contents, all of which are there; 0 where indefinite */
} header;

/* An element whose end was not met yet. */
typedef struct open_element {
    bool indefinite;
    const unsigned char *end; /* of it, or of the nearest one around it that tells its length */
} open_element;

/* X.690 8.1.3: long forms need not be the shortest. */
static bool take_long(header *out, const unsigned char **at, const unsigned char *end, int width)
{
    if (width > 4 || width > end - *at)
        return false;
    for (; width > 0; width--)
        out->len = out->len << 8 | *(*at)++;
    return true;
}

/* Every element of a message comes by here. */
static bool take_header(scep_cursor *c, header *out)
{
    const unsigned char *at = c->at, *end = c->at + c->left;
    uint8_t first;

    if (c->left < 2)
        return false;
    out->tag = *at++;
    first = *at++;
    if (!out->tag || (out->tag & LONG_TAG) == LONG_TAG)
        return false;
    out->indefinite = first == INDEFINITE;
    out->len = first & LONG_LENGTH ? 0 : first;
    if (out->indefinite && !(out->tag & CONSTRUCTED))
        return false;
    if (first > INDEFINITE && !take_long(out, &at, end, first & ~LONG_LENGTH))
        return false;
    *c = (scep_cursor){ at, (size_t)(end - at) };
    return out->len <= c->left;
}

/* X.690 8.1.5 */
static bool take_end_of_contents(scep_cursor *c)
{
    if (c->left < 2 || c->at[0] || c->at[1])
        return false;
    *c = (scep_cursor){ c->at + 2, c->left - 2 };
    return true;
}

/*
 * Step over one element. What is open is kept in an array, so that depth costs no stack of calls.
 * @param everything look into elements of definite length too
 */
static bool skip(scep_cursor *c, bool everything)
{
    open_element open[SCEP_BER_DEPTH_MOST + 1]; /* to be zeroed would cost more than the walk */
    const unsigned char *end = c->at + c->left;
    int depth = 0;

    open[0] = (open_element){ false, end };
    do {
        scep_cursor at = { c->at, (size_t)(open[depth].end - c->at) };
        scep_bytes contents;
        header h;

        if (open[depth].indefinite && take_end_of_contents(&at)) {
            depth--;
        } else if (!take_header(&at, &h)) {
            return false;
        } else if (h.indefinite || (everything && h.tag & CONSTRUCTED)) {
            if (depth == SCEP_BER_DEPTH_MOST)
                return false;
            open[depth + 1] =
                (open_element){ h.indefinite, h.indefinite ? open[depth].end : at.at + h.len };
            depth++;
        } else {
            (void)scep_cursor_take(&at, h.len, &contents); /* take_header() saw that it is there */
        }
        *c = (scep_cursor){ at.at, (size_t)(end - at.at) };
        while (depth && !open[depth].indefinite && open[depth].end == c->at)
            depth--;
    } while (depth);
    return true;
}

bool scep_ber_is_bounded(scep_bytes ber)
{
    scep_cursor c = { ber.data, ber.len };

    return skip(&c, true) && !c.left;
}

bool scep_ber_is_der(scep_bytes ber)
{
    const unsigned char *end = ber.data + ber.len;
    scep_cursor c = { ber.data, ber.len };
    scep_bytes content;
    uint8_t tag;

    if (!scep_ber_is_bounded(ber))
        return false;
    while (c.left) {
        if (!scep_cursor_der(&c, &tag, &content))
            return false;
        if (!(tag & CONSTRUCTED))
            continue;
        if (!(tag & CLASS) && tag != SEQUENCE && tag != SET) /* X.690 10.2: a string in pieces */
            return false;
        c = (scep_cursor){ content.data, (size_t)(end - content.data) };
    }
    return true;
}

bool scep_ber_step(scep_cursor *c, uint8_t expected, scep_cursor *inside)
{
    scep_cursor at = *c, behind = *c;
    size_t len;
    header h;

    if (!take_header(&at, &h) || h.tag != expected || (h.indefinite && !skip(&behind, false)))
        return false;
    if (!h.indefinite) /* its end is known: nothing need be looked into */
        behind = (scep_cursor){ at.at + h.len, at.left - h.len };
    len = (size_t)(behind.at - at.at) - (h.indefinite ? 2 : 0);
    *c = behind;
    *inside = (scep_cursor){ at.at, len };
    return true;
}

bool scep_ber_take(scep_cursor *c, uint8_t expected, scep_bytes *whole)
{
    const unsigned char *start = c->at;
    scep_cursor inside;

    if (!scep_ber_step(c, expected, &inside))
        return false;
    *whole = (scep_bytes){ start, (size_t)(c->at - start) };
    return true;
}

bool scep_ber_skip(scep_cursor *c)
{
    return skip(c, false);
}

bool scep_ber_next_is(scep_cursor c, uint8_t tag)
{
    return c.left && *c.at == tag;
}

int scep_ber_count(scep_cursor inside, int most)
{
    int count = 0;

    while (inside.left) {
        if (count == most || !skip(&inside, false))
            return -1;
        count++;
    }
    return count;
}
