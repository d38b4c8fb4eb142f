/*
 * A walk over BER (X.690 8) that decodes nothing: it finds where elements end, so that an encoding
 * can be counted and bounded before a decoder spends time on it. What it cannot follow it refuses.
 * Private to the library.
 */
#ifndef SCEP_BER_H
#define SCEP_BER_H

#include "bytes.h"

enum { SCEP_BER_DEPTH_MOST = 24 };

/** One element and no byte behind it, each constructed one inside made of whole elements, nested
 *  at most SCEP_BER_DEPTH_MOST deep, tag numbers below 31. Strings are not looked into. */
bool scep_ber_is_bounded(scep_bytes ber);

/** Bounded as above, each length definite and in its shortest form, and no string in pieces
 *  (X.690 10.1, 10.2). Whether sets are sorted and values canonical is not asked. */
bool scep_ber_is_der(scep_bytes ber);

/**
 * Step over one element, of definite or indefinite length.
 * @param expected its identifier byte
 * @param inside its contents, without the end-of-contents octets; may be @a c itself: step into it
 * @return false, and nothing moved, where another or no whole element follows
 */
bool scep_ber_step(scep_cursor *c, uint8_t expected, scep_cursor *inside);

/** Likewise. @param whole the element with its tag and length */
bool scep_ber_take(scep_cursor *c, uint8_t expected, scep_bytes *whole);

/** Step over one element of any kind. */
bool scep_ber_skip(scep_cursor *c);

/** Does an element with this identifier byte seem to follow? */
bool scep_ber_next_is(scep_cursor c, uint8_t tag);

/** How many elements stand in @a inside; -1: no whole ones, or over @a most. */
int scep_ber_count(scep_cursor inside, int most);

#endif
