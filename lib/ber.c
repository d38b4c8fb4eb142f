/* A walk over BER that decodes nothing. */
#include "ber.h"

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
static bool take_header(scep_cursor *c, header *out)
{
    uint8_t first, byte;

    if (!scep_cursor_u8(c, &out->tag) || !out->tag || (out->tag & LONG_TAG) == LONG_TAG ||
        !scep_cursor_u8(c, &first))
        return false;
    out->indefinite = first == INDEFINITE;
    out->len = first & LONG_LENGTH ? 0 : first;
    if (out->indefinite)
        return (out->tag & CONSTRUCTED) != 0;
    if (first & LONG_LENGTH) {
        int width = first & ~LONG_LENGTH;

        if (width > 4)
            return false;
        for (; width > 0; width--) {
            if (!scep_cursor_u8(c, &byte))
                return false;
            out->len = out->len << 8 | byte;
        }
    }
    return out->len <= c->left;
}

/* X.690 8.1.5 */
static bool take_end_of_contents(scep_cursor *c)
{
    scep_cursor at = *c;
    uint8_t tag, len;

    if (!scep_cursor_u8(&at, &tag) || !scep_cursor_u8(&at, &len) || tag || len)
        return false;
    *c = at;
    return true;
}

/*
 * Step over one element. What is open is kept in an array, so that depth costs no stack of calls.
 * @param everything look into elements of definite length too
 */
static bool skip(scep_cursor *c, bool everything)
{
    open_element open[SCEP_BER_DEPTH_MOST + 1] = { { false, c->at + c->left } };
    const unsigned char *end = c->at + c->left;
    int depth = 0;

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

bool scep_ber_step(scep_cursor *c, uint8_t expected, scep_cursor *inside)
{
    scep_cursor at = *c, behind = *c;
    size_t len;
    header h;

    if (!take_header(&at, &h) || h.tag != expected || !skip(&behind, false))
        return false;
    len = (size_t)(behind.at - at.at) - (h.indefinite ? 2 : 0);
    *c = behind;
    *inside = (scep_cursor){ at.at, len };
    return true;
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
