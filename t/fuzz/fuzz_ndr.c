/* ca/ndr.h: reading a stub by any order of reads, and texts. The first byte says how many bytes are
 * the reads; what follows them is the stub. */
#include "fuzz.h"

#include "ndr.h"

#include <string.h>

/* One read; whatever it gives lies within the stub, and what it could not read it left alone. */
static void read_one(ndr_in *in, scep_bytes stub, uint8_t what, ndr_out *again)
{
    const ndr_in before = *in;
    scep_bytes bytes = { stub.data, 0 };
    uint32_t whole = 0;
    uint16_t half = 0;
    bool good;

    switch (what % 4) {
    case 0:
        good = ndr_get_u16(in, &half);
        if (good)
            ndr_put_u16(again, half);
        break;
    case 1:
        good = ndr_get_u32(in, &whole);
        if (good)
            ndr_put_u32(again, whole);
        break;
    case 2:
        good = ndr_get_raw(in, what / 4, &bytes);
        if (good)
            ndr_put_raw(again, bytes);
        break;
    default:
        good = ndr_get_bytes(in, what / 4, &bytes);
        if (good)
            ndr_put_bytes(again, bytes);
        break;
    }
    FIXTURE_MUST(good || memcmp(in, &before, sizeof(before)) == 0);
    FIXTURE_MUST(in->at + in->left.left == stub.len && in->at == again->len);
    FIXTURE_MUST(!bytes.len ||
                 (bytes.data >= stub.data && bytes.data + bytes.len <= stub.data + stub.len));
}

static void read_text(scep_bytes stub, apr_pool_t *p)
{
    const char *text = ndr_text(stub, 1000, p);
    scep_bytes wide = { NULL, 0 };
    ndr_out out = { .p = p };
    size_t at;

    FIXTURE_MUST(scep_is_utf8(scep_bytes_of(text), &at));
    for (const char *c = text; *c; c++)
        FIXTURE_MUST((unsigned char)*c >= 0x20 && *c != 0x7F);
    FIXTURE_MUST(ndr_wide(&wide, text, p) && wide.len % 2 == 0);
    FIXTURE_MUST(strcmp(ndr_text(wide, wide.len, p), text) == 0);
    ndr_put_wide(&out, wide);
    FIXTURE_MUST(out.len == 14 + wide.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    ndr_out again = { .p = p };
    size_t reads = size ? data[0] : 0;
    scep_bytes stub;
    ndr_in in;

    if (reads + 1 > size)
        reads = size ? size - 1 : 0;
    stub = (scep_bytes){ data + reads + (size > 0), size - reads - (size > 0) };
    in = ndr_open(stub);
    for (size_t i = 0; i < reads; i++)
        read_one(&in, stub, data[1 + i], &again);
    read_text(stub, p);
    fuzz_end(p);
    return 0;
}
