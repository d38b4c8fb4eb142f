/* ca/directory_sd.h: a security descriptor as a directory sends it, and its SIDs as texts. The
 * first byte says how many of the bytes behind it are a SID in the user's token. */
#include "fuzz.h"

#include "directory_sd.h"

#include <string.h>

/* A SID that can be read has one text, and that text has one SID. */
static void read_sid(scep_bytes sid, apr_pool_t *p)
{
    const char *text = directory_sid_text(sid, p);
    scep_bytes again;

    FIXTURE_MUST((text != NULL) == directory_sid_is(sid));
    /* above 2^32 the authority is written in another way, which is not read */
    if (text && strncmp(text, "S-1-0x", 6))
        FIXTURE_MUST(directory_sid_read(&again, text, p) && scep_bytes_equal(again, sid));
    if (directory_sid_read(&again, (const char *)scep_bytes_dup(p, sid).data, p))
        FIXTURE_MUST(directory_sid_is(again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char everyone[] = { 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 };
    apr_pool_t *p = fuzz_begin();
    size_t own = size ? data[0] : 0;
    scep_bytes token[2] = { { everyone, sizeof(everyone) } }, sd;
    directory_verdict all, none, alone;

    if (own + 1 > size)
        own = size ? size - 1 : 0;
    token[1] = (scep_bytes){ data + (size > 0), own };
    sd = (scep_bytes){ data + (size > 0) + own, size - own - (size > 0) };
    read_sid(token[1], p);
    all = directory_sd_enroll(sd, token, 2);
    none = directory_sd_enroll(sd, token, 0);
    alone = directory_sd_enroll(sd, token, 1);
    /* whether it can be read is not the reader's business */
    FIXTURE_MUST((all == DIRECTORY_UNREADABLE) == (none == DIRECTORY_UNREADABLE));
    FIXTURE_MUST((all == DIRECTORY_UNREADABLE) == (alone == DIRECTORY_UNREADABLE));
    /* nobody is let in only where there is no list at all, and then everybody is */
    FIXTURE_MUST(none != DIRECTORY_DENIED);
    FIXTURE_MUST(none != DIRECTORY_ALLOWED || all == DIRECTORY_ALLOWED);
    /* who is named by nothing of more SIDs is named by nothing of fewer */
    FIXTURE_MUST(all != DIRECTORY_NOT_NAMED || alone == DIRECTORY_NOT_NAMED);
    fuzz_end(p);
    return 0;
}
