/* Security identifiers and descriptors, and who may enrol. [MS-DTYP] 2.4 */
#include "directory_sd.h"

#include <apr_strings.h>
#include <string.h>

#define SID_HEADER 8
#define SID_PARTS 15
#define SD_HEADER 20
#define ACL_HEADER 8
#define ACE_HEADER 8 /* and the mask */
#define GUID_SIZE 16

#define DACL_PRESENT 0x0004
#define SELF_RELATIVE 0x8000

#define INHERIT_ONLY 0x08
#define HAS_OBJECT_TYPE 0x1
#define HAS_INHERITED_TYPE 0x2

#define CONTROL_ACCESS 0x00000100 /* ADS_RIGHT_DS_CONTROL_ACCESS */
#define GENERIC_ALL 0x10000000

/* Certificate-Enrollment, 0e10c968-78fb-11d2-90d4-00c04f79dc55. [MS-CRTD] 2.5.1 */
static const unsigned char enrollment[GUID_SIZE] = {
    0x68, 0xc9, 0x10, 0x0e, 0xfb, 0x78, 0xd2, 0x11, 0x90, 0xd4, 0x00, 0xc0, 0x4f, 0x79, 0xdc, 0x55
};

static uint32_t le16(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static uint32_t le32(const unsigned char *at)
{
    return le16(at) | le16(at + 2) << 16;
}

/* ---- SIDs ---- */

/* Bytes of the SID that begins there; 0: there is no whole one. */
static size_t sid_length(scep_bytes b)
{
    size_t len;

    if (b.len < SID_HEADER || b.data[0] != 1 || b.data[1] > SID_PARTS)
        return 0;
    len = SID_HEADER + 4 * (size_t)b.data[1];
    return len <= b.len ? len : 0;
}

bool directory_sid_is(scep_bytes sid)
{
    return sid.len && sid_length(sid) == sid.len;
}

const char *directory_sid_text(scep_bytes sid, apr_pool_t *p)
{
    apr_uint64_t authority = 0;
    const char *text;

    if (!directory_sid_is(sid))
        return NULL;
    for (int i = 2; i < SID_HEADER; i++)
        authority = authority << 8 | sid.data[i];
    /* [MS-DTYP] 2.4.2.1: from 2^32 on in hexadecimal digits */
    text = authority >> 32 ? apr_psprintf(p, "S-1-0x%012" APR_UINT64_T_HEX_FMT, authority)
                           : apr_psprintf(p, "S-1-%" APR_UINT64_T_FMT, authority);
    for (int i = 0; i < sid.data[1]; i++)
        text = apr_psprintf(p, "%s-%lu", text,
                            (unsigned long)le32(sid.data + SID_HEADER + 4 * (size_t)i));
    return text;
}

/* "-" and a number of 32 bits, without zeros before it. */
static bool take_number(const char **at, uint32_t *out)
{
    size_t digits = **at == '-' ? strspn(*at + 1, "0123456789") : 0;
    uint64_t number = 0;

    if (!digits || digits > 10 || (digits > 1 && (*at)[1] == '0'))
        return false;
    for (size_t i = 1; i <= digits; i++)
        number = number * 10 + (uint64_t)((*at)[i] - '0');
    *at += digits + 1;
    *out = (uint32_t)number;
    return number <= UINT32_MAX;
}

bool directory_sid_read(scep_bytes *out, const char *text, apr_pool_t *p)
{
    unsigned char *sid = apr_pcalloc(p, SID_HEADER + 4 * SID_PARTS);
    uint32_t number;

    if (strncmp(text, "S-1", 3))
        return false;
    text += 3;
    if (!take_number(&text, &number))
        return false;
    sid[0] = 1;
    for (int i = 0; i < 4; i++)
        sid[7 - i] = (unsigned char)(number >> 8 * i);
    while (*text) {
        size_t at = SID_HEADER + 4 * (size_t)sid[1];

        if (sid[1] == SID_PARTS || !take_number(&text, &number))
            return false;
        for (int i = 0; i < 4; i++)
            sid[at + (size_t)i] = (unsigned char)(number >> 8 * i);
        sid[1]++;
    }
    *out = (scep_bytes){ sid, SID_HEADER + 4 * (size_t)sid[1] };
    return true;
}

/* ---- entries ---- */

typedef struct entry {
    bool denies, conditional, applies; /* applies: to enrolment on this very object */
    scep_bytes sid;
} entry;

/* [MS-DTYP] 2.4.4.1 */
enum { ALLOWED = 0, DENIED = 1, ALLOWED_OBJECT = 5, DENIED_OBJECT = 6 };
enum { ALLOWED_IF = 9, DENIED_IF = 10, ALLOWED_OBJECT_IF = 11, DENIED_OBJECT_IF = 12 };

/* ObjectType and InheritedObjectType of an object's entry. @return false: it is cut off */
static bool read_types(scep_bytes ace, size_t *at, bool *applies)
{
    uint32_t there;

    if (ace.len < *at + 4)
        return false;
    there = le32(ace.data + *at);
    *at += 4;
    if (there & HAS_OBJECT_TYPE) {
        if (ace.len < *at + GUID_SIZE)
            return false;
        *applies = *applies && memcmp(ace.data + *at, enrollment, GUID_SIZE) == 0;
        *at += GUID_SIZE;
    }
    if (there & HAS_INHERITED_TYPE)
        *at += GUID_SIZE;
    return *at <= ace.len;
}

/* @return false: it is broken */
static bool read_entry(entry *out, scep_bytes ace)
{
    const unsigned type = ace.data[0], flags = ace.data[1];
    const bool object = type == ALLOWED_OBJECT || type == DENIED_OBJECT ||
                        type == ALLOWED_OBJECT_IF || type == DENIED_OBJECT_IF;
    size_t at = ACE_HEADER;

    *out = (entry){ 0 };
    if (!object && type != ALLOWED && type != DENIED && type != ALLOWED_IF && type != DENIED_IF)
        return true; /* audits and the like decide nothing */
    out->denies =
        type == DENIED || type == DENIED_OBJECT || type == DENIED_IF || type == DENIED_OBJECT_IF;
    out->conditional = type >= ALLOWED_IF;
    out->applies =
        !(flags & INHERIT_ONLY) && (le32(ace.data + 4) & (CONTROL_ACCESS | GENERIC_ALL)) != 0;
    if (object && !read_types(ace, &at, &out->applies))
        return false;
    out->sid = (scep_bytes){ ace.data + at, ace.len - at };
    out->sid.len = sid_length(out->sid);
    return out->sid.len != 0;
}

static bool is_among(scep_bytes sid, const scep_bytes *token, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (token[i].len == sid.len && !memcmp(token[i].data, sid.data, sid.len))
            return true;
    return false;
}

/* All entries are read, also behind the one that decides: a list that is broken decides nothing. */
static directory_verdict walk(scep_bytes acl, const scep_bytes *token, size_t n)
{
    directory_verdict verdict = DIRECTORY_NOT_NAMED;
    const uint32_t entries = le16(acl.data + 4);
    size_t at = ACL_HEADER;

    for (uint32_t i = 0; i < entries; i++) {
        scep_bytes ace = { acl.data + at, 0 };
        entry e;

        if (acl.len - at < ACE_HEADER)
            return DIRECTORY_UNREADABLE;
        ace.len = le16(ace.data + 2);
        if (ace.len < ACE_HEADER || ace.len > acl.len - at || !read_entry(&e, ace))
            return DIRECTORY_UNREADABLE;
        at += ace.len;
        if (verdict == DIRECTORY_NOT_NAMED && e.applies && (e.denies || !e.conditional) &&
            is_among(e.sid, token, n))
            verdict = e.denies ? DIRECTORY_DENIED : DIRECTORY_ALLOWED;
    }
    return verdict;
}

directory_verdict directory_sd_enroll(scep_bytes sd, const scep_bytes *token, size_t n)
{
    uint32_t control, offset;
    scep_bytes acl;

    if (sd.len < SD_HEADER || sd.data[0] != 1)
        return DIRECTORY_UNREADABLE;
    control = le16(sd.data + 2);
    offset = le32(sd.data + 16);
    /* without DACL_PRESENT the DACL was not asked for, or is not shown to this account */
    if (!(control & SELF_RELATIVE) || !(control & DACL_PRESENT))
        return DIRECTORY_UNREADABLE;
    if (offset == 0)
        return DIRECTORY_ALLOWED;
    if (offset < SD_HEADER || offset > sd.len || sd.len - offset < ACL_HEADER)
        return DIRECTORY_UNREADABLE;
    acl = (scep_bytes){ sd.data + offset, le16(sd.data + offset + 2) };
    if (acl.len < ACL_HEADER || acl.len > sd.len - offset)
        return DIRECTORY_UNREADABLE;
    return walk(acl, token, n);
}
