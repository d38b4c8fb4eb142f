/*
 * Byte strings, and a bounded cursor over them: every read checks what is left, nothing wraps.
 */
#ifndef SCEP_BYTES_H
#define SCEP_BYTES_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes that somebody else owns. Absent and empty are both len 0; data may then be NULL. */
typedef struct scep_bytes {
    const unsigned char *data;
    size_t len;
} scep_bytes;

/** The bytes of a C string without its NUL; nothing for NULL. */
SCEP_API scep_bytes scep_bytes_of(const char *text);

/** A copy in @a p, with a NUL behind it that is not counted. */
SCEP_API scep_bytes scep_bytes_dup(apr_pool_t *p, scep_bytes b);

/** The same length and content? Time depends on the lengths only. */
SCEP_API bool scep_bytes_equal(scep_bytes a, scep_bytes b);

/** Upper-case hex, NUL-terminated. */
SCEP_API char *scep_hex(apr_pool_t *p, scep_bytes b);

/** Standard base64 with padding and without line breaks (RFC 4648 4), NUL-terminated. */
SCEP_API char *scep_base64(apr_pool_t *p, scep_bytes b);

/** Strict inverse of scep_base64(). @return NULL, or INTERNAL where @a text is not base64 */
SCEP_API SCEP_MUST const scep_err *scep_unbase64(scep_bytes *out, const char *text, apr_pool_t *p);

/** Printable form for a log: control bytes, quotes, backslashes and bytes from 0x7F on as \xNN;
 *  at most @a most input bytes, then "...". No two inputs that are shown whole look the same */
SCEP_API const char *scep_printable(apr_pool_t *p, scep_bytes b, size_t most);

/** The same for what is read by people and stands in no quotes: quotes and backslashes stay, and so
 *  does what was made printable before. */
SCEP_API const char *scep_one_line(apr_pool_t *p, scep_bytes b, size_t most);

/** What scep_one_line() gave, to stand in quotes: quotes and backslashes as \xNN, but for those
 * that begin a \xNN. */
SCEP_API const char *scep_in_quotes(apr_pool_t *p, const char *line, size_t most);

/** Is it UTF-8 (RFC 3629)? @param at offset of what is not */
SCEP_API bool scep_is_utf8(scep_bytes text, size_t *at);

/** SHA-256 over @a n strings, each preceded by its length (8 bytes, big endian), so that two
 *  different lists never give the same input. @param out 32 bytes */
SCEP_API SCEP_MUST const scep_err *scep_sha256(unsigned char out[32], const scep_bytes *parts,
                                               size_t n, apr_pool_t *p);

/** What is left to read. */
typedef struct scep_cursor {
    const unsigned char *at;
    size_t left;
} scep_cursor;

/** Each reads big-endian from the front and advances; false, and nothing moved, if too little is
 *  left. scep_cursor_take gives a view into the same memory. */
SCEP_API bool scep_cursor_u8(scep_cursor *c, uint8_t *out);
SCEP_API bool scep_cursor_u32(scep_cursor *c, uint32_t *out);
SCEP_API bool scep_cursor_u64(scep_cursor *c, uint64_t *out);
SCEP_API bool scep_cursor_take(scep_cursor *c, size_t len, scep_bytes *out);

/**
 * Read one DER element (X.690 10: definite, shortest length; tag numbers below 31).
 * @param tag the identifier byte
 * @param content a view of the contents
 * @return false where what follows is not one whole DER element
 */
SCEP_API bool scep_cursor_der(scep_cursor *c, uint8_t *tag, scep_bytes *content);

#endif
