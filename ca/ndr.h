/*
 * NDR, the transfer syntax of DCE/RPC ([C706] 14, transfer syntax version 2.0), as far as the
 * interfaces called here need it: numbers, byte arrays, wide strings; little-endian, which every
 * answer has to be too. A number is aligned to its own size, counted from the beginning of the
 * stub.
 *
 * Reading never trusts a length: each is compared with what is there, and nothing is allocated.
 * Also UTF-16LE, in which Windows has its texts.
 */
#ifndef CA_NDR_H
#define CA_NDR_H

#include "bytes.h"

/** What is left of a stub, and where it stands in it. */
typedef struct ndr_in {
    scep_cursor left;
    size_t at;
} ndr_in;

ndr_in ndr_open(scep_bytes stub);

/** Each aligns and reads; false, and nothing moved, if too little is left. */
bool ndr_get_u16(ndr_in *in, uint16_t *out);
bool ndr_get_u32(ndr_in *in, uint32_t *out);

/** Bytes without any alignment, such as a UUID's. @param out a view of the stub */
bool ndr_get_raw(ndr_in *in, size_t len, scep_bytes *out);

/** A conformant array of bytes: its count, which has to be @a len, and so many bytes. A view. */
bool ndr_get_bytes(ndr_in *in, uint32_t len, scep_bytes *out);

/** A stub that grows. Made of zeroes and a pool. */
typedef struct ndr_out {
    apr_pool_t *p;
    unsigned char *data;
    size_t len, room;
} ndr_out;

scep_bytes ndr_view(const ndr_out *out);

void ndr_align(ndr_out *out, size_t to);
void ndr_put_u16(ndr_out *out, uint16_t value);
void ndr_put_u32(ndr_out *out, uint32_t value);
void ndr_put_raw(ndr_out *out, scep_bytes bytes);

/** A conformant array of bytes: its count, aligned, and the bytes. */
void ndr_put_bytes(ndr_out *out, scep_bytes bytes);

/** A conformant and varying string of 16-bit characters with its NUL: [string] wchar_t *.
 *  @param wide UTF-16LE without the NUL, as ndr_wide() makes it */
void ndr_put_wide(ndr_out *out, scep_bytes wide);

/** UTF-8 as UTF-16LE without a NUL. @return false: @a text is not UTF-8 */
bool ndr_wide(scep_bytes *out, const char *text, apr_pool_t *p);

/**
 * UTF-16LE as UTF-8 for the log: ends at the first NUL or after @a most characters; what is half a
 * character becomes U+FFFD; a run of blanks and control characters becomes one blank, none at
 * either end. So it is one line. Never NULL.
 */
const char *ndr_text(scep_bytes utf16, size_t most, apr_pool_t *p);

#endif
