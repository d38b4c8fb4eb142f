/* SIDs and security descriptors. The descriptors are put together by hand, byte by byte, as
 * [MS-DTYP] 2.4 has them. */
#include "suite.h"

#include "directory_sd.h"

#include <apr_strings.h>
#include <string.h>

/* ---- SIDs ---- */

static const struct {
    const char *name, *text, *hex;
} sids[] = {
    { "Everyone", "S-1-1-0", "010100000000000100000000" },
    { "Authenticated Users", "S-1-5-11", "01010000000000050B000000" },
    { "a user of a domain", "S-1-5-21-1004336348-1177238915-682003330-1104",
      "010500000000000515000000DCF4DC3B833D2B46828BA62850040000" },
    { "the largest numbers", "S-1-4294967295-4294967295", "01010000FFFFFFFFFFFFFFFF" },
    { "no sub-authority", "S-1-5", "0100000000000005" },
    { "fifteen of them", "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15",
      "010F0000000000050100000002000000030000000400000005000000060000000700000008000000"
      "090000000A0000000B0000000C0000000D0000000E0000000F000000" },
};

START_TEST(a_SID_is_read_and_written)
{
    scep_bytes sid = { NULL, 0 };

    row = sids[_i].name;
    ck_assert_str_eq(directory_sid_text(fixture_of_hex(sids[_i].hex, p), p), sids[_i].text);
    ck_assert(directory_sid_read(&sid, sids[_i].text, p));
    assert_bytes(sid, fixture_of_hex(sids[_i].hex, p));
}
END_TEST

static const char *const no_sid_texts[] = {
    "",
    "S-1",
    "S-1-",
    "S-2-5-11",
    "s-1-5-11",
    "S-1-5-11 ",
    " S-1-5-11",
    "S-1-5-",
    "S-1-5--1",
    "S-1-5-4294967296",
    "S-1-5-01",
    "S-1-+5-11",
    "S-1-5-x",
    "S-1-0x5-11",
    "S-1-5-11\n",
    "S-1-99999999999-1",
    "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16",
};

START_TEST(what_is_no_SID_in_text_is_refused)
{
    scep_bytes sid;

    row = no_sid_texts[_i];
    ck_assert_msg(!directory_sid_read(&sid, row, p), "%s", row);
}
END_TEST

static const char *const no_sids[] = { "",
                                       "01",
                                       "02010000000000050B000000",
                                       "01010000000000050B0000",
                                       "01010000000000050B00000000",
                                       "01100000000000050B000000" };

START_TEST(what_is_no_SID_in_bytes_has_no_text)
{
    row = no_sids[_i];
    ck_assert(!directory_sid_is(fixture_of_hex(row, p)));
    ck_assert_ptr_null(directory_sid_text(fixture_of_hex(row, p), p));
}
END_TEST

/* ---- security descriptors ---- */

/* Whoever is asked for is ALICE, in the group STAFF; Everyone and Authenticated Users, too. */
#define ALICE "010500000000000515000000DCF4DC3B833D2B46828BA62850040000"
#define STAFF "010500000000000515000000DCF4DC3B833D2B46828BA62851040000"
#define OTHER "010500000000000515000000DCF4DC3B833D2B46828BA62852040000"
#define EVERYONE "010100000000000100000000"
#define ENROLL "68C9100EFB78D21190D400C04F79DC55"
#define AUTO_ENROLL "B25C0BA0BC170248A710E7C15AB866A2"

/* An entry: type, flags, mask (little endian), and what follows it. */
#define ACE(type, flags, mask, rest) type "|" flags "|" mask "|" rest
#define CONTROL "00010000"
#define FULL "FF010F00"
#define READ "94000200"
#define NO_TYPE "00000000"
#define TYPE(guid) "01000000" guid
#define INHERITED(guid) "02000000" guid
#define BOTH(guid, inherited) "03000000" guid inherited

static const struct {
    const char *name;
    directory_verdict wanted;
    const char *aces[4];
} decisions[] = {
    { "no entry", DIRECTORY_NOT_NAMED, { NULL } },
    { "the user may enrol", DIRECTORY_ALLOWED, { ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE) } },
    { "his group may", DIRECTORY_ALLOWED, { ACE("05", "00", CONTROL, TYPE(ENROLL) STAFF) } },
    { "everyone may", DIRECTORY_ALLOWED, { ACE("05", "00", CONTROL, TYPE(ENROLL) EVERYONE) } },
    { "somebody else may", DIRECTORY_NOT_NAMED, { ACE("05", "00", CONTROL, TYPE(ENROLL) OTHER) } },
    { "another right, AutoEnroll",
      DIRECTORY_NOT_NAMED,
      { ACE("05", "00", CONTROL, TYPE(AUTO_ENROLL) ALICE) } },
    { "all extended rights", DIRECTORY_ALLOWED, { ACE("05", "00", CONTROL, NO_TYPE ALICE) } },
    { "all of them, in an entry without types",
      DIRECTORY_ALLOWED,
      { ACE("00", "00", CONTROL, ALICE) } },
    { "full control", DIRECTORY_ALLOWED, { ACE("00", "00", FULL, STAFF) } },
    { "generic all", DIRECTORY_ALLOWED, { ACE("00", "00", "00000010", STAFF) } },
    { "read only", DIRECTORY_NOT_NAMED, { ACE("00", "00", READ, ALICE) } },
    { "the right, but another access of it",
      DIRECTORY_NOT_NAMED,
      { ACE("05", "00", "10000000", TYPE(ENROLL) ALICE) } },
    { "only for what inherits",
      DIRECTORY_NOT_NAMED,
      { ACE("05", "08", CONTROL, TYPE(ENROLL) ALICE) } },
    { "inherited itself", DIRECTORY_ALLOWED, { ACE("05", "12", CONTROL, TYPE(ENROLL) ALICE) } },
    { "with an inherited type, too",
      DIRECTORY_ALLOWED,
      { ACE("05", "00", CONTROL, BOTH(ENROLL, AUTO_ENROLL) ALICE) } },
    { "with an inherited type only",
      DIRECTORY_ALLOWED,
      { ACE("05", "00", CONTROL, INHERITED(AUTO_ENROLL) ALICE) } },
    { "a denial before",
      DIRECTORY_DENIED,
      { ACE("06", "00", CONTROL, TYPE(ENROLL) STAFF),
        ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE) } },
    { "a denial behind, which Windows would not write",
      DIRECTORY_ALLOWED,
      { ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE),
        ACE("06", "00", CONTROL, TYPE(ENROLL) STAFF) } },
    { "a denial of everything",
      DIRECTORY_DENIED,
      { ACE("01", "00", FULL, EVERYONE), ACE("00", "00", FULL, ALICE) } },
    { "a denial of something else",
      DIRECTORY_ALLOWED,
      { ACE("06", "00", CONTROL, TYPE(AUTO_ENROLL) ALICE),
        ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE) } },
    { "a denial of somebody else",
      DIRECTORY_ALLOWED,
      { ACE("06", "00", CONTROL, TYPE(ENROLL) OTHER),
        ACE("05", "00", CONTROL, TYPE(ENROLL) STAFF) } },
    { "a denial for what inherits only",
      DIRECTORY_ALLOWED,
      { ACE("06", "08", CONTROL, TYPE(ENROLL) ALICE),
        ACE("05", "00", CONTROL, TYPE(ENROLL) STAFF) } },
    { "a permission with a condition",
      DIRECTORY_NOT_NAMED,
      { ACE("0B", "00", CONTROL, TYPE(ENROLL) ALICE "61727478") } },
    { "one without types and with a condition",
      DIRECTORY_NOT_NAMED,
      { ACE("09", "00", FULL, ALICE "61727478") } },
    { "a denial with a condition",
      DIRECTORY_DENIED,
      { ACE("0C", "00", CONTROL, TYPE(ENROLL) ALICE "61727478"),
        ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE) } },
    { "an audit before",
      DIRECTORY_ALLOWED,
      { ACE("02", "C0", FULL, EVERYONE), ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE) } },
    { "an entry of an unknown kind before",
      DIRECTORY_ALLOWED,
      { ACE("7F", "00", FULL, "0000"), ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE) } },
    /* broken ones: nothing in such a list decides */
    { "a SID that is cut off",
      DIRECTORY_UNREADABLE,
      { ACE("00", "00", FULL, "0105000000000005") } },
    { "no SID", DIRECTORY_UNREADABLE, { ACE("00", "00", FULL, "") } },
    { "a type that is cut off",
      DIRECTORY_UNREADABLE,
      { ACE("05", "00", CONTROL, "0100000068C9100E") } },
    { "no flags of types", DIRECTORY_UNREADABLE, { ACE("05", "00", CONTROL, "0000") } },
    { "an inherited type that is cut off",
      DIRECTORY_UNREADABLE,
      { ACE("05", "00", CONTROL, "0200000068C9100E") } },
    { "a broken one behind the one that decides",
      DIRECTORY_UNREADABLE,
      { ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE), ACE("00", "00", FULL, "01") } },
};

static const char *le16(size_t n)
{
    return apr_psprintf(p, "%02X%02X", (unsigned)(n & 255), (unsigned)(n >> 8));
}

/* type|flags|mask|rest with its size. */
static const char *ace_hex(const char *ace)
{
    const char *rest = ace + 5 + 1 + 8 + 1;
    const size_t size = 8 + strlen(rest) / 2;

    return apr_psprintf(p, "%.2s%.2s%s%.8s%s", ace, ace + 3, le16(size), ace + 6, rest);
}

/* Owner, group and SACL are left out; the DACL follows the header. */
static scep_bytes descriptor(const char *const *aces, size_t n)
{
    const char *list = "";
    size_t there = 0;

    for (size_t i = 0; i < n && aces[i]; i++, there++)
        list = apr_pstrcat(p, list, ace_hex(aces[i]), NULL);
    return fixture_of_hex(apr_pstrcat(p, "01000484", "00000000", "00000000", "00000000", "14000000",
                                      "0400", le16(8 + strlen(list) / 2), le16(there), "0000", list,
                                      NULL),
                          p);
}

static directory_verdict judge(scep_bytes sd)
{
    const scep_bytes token[] = { fixture_of_hex(ALICE, p), fixture_of_hex(STAFF, p),
                                 fixture_of_hex(EVERYONE, p) };

    return directory_sd_enroll(sd, token, 3);
}

START_TEST(the_first_entry_about_the_user_decides)
{
    row = decisions[_i].name;
    ck_assert_msg(judge(descriptor(decisions[_i].aces, 4)) == decisions[_i].wanted, "%s: %d", row,
                  (int)judge(descriptor(decisions[_i].aces, 4)));
}
END_TEST

#define GOOD ACE("05", "00", CONTROL, TYPE(ENROLL) ALICE)

/* Bytes of a good descriptor that are written over. */
static const struct {
    const char *name;
    size_t at;
    const char *hex;
    directory_verdict wanted;
} changes[] = {
    { "as it is", 0, "01", DIRECTORY_ALLOWED },
    { "of another revision", 0, "02", DIRECTORY_UNREADABLE },
    { "not in one piece", 2, "0400", DIRECTORY_UNREADABLE },
    { "whose DACL was not sent", 2, "0080", DIRECTORY_UNREADABLE },
    { "with no DACL at all: everyone", 16, "00000000", DIRECTORY_ALLOWED },
    { "with no DACL, and not sent", 2, "0080000000000000000000000000000000000000",
      DIRECTORY_UNREADABLE },
    { "whose DACL is in the header", 16, "08000000", DIRECTORY_UNREADABLE },
    { "whose DACL is behind its end", 16, "FF000000", DIRECTORY_UNREADABLE },
    { "whose DACL is far behind it", 16, "FFFFFFFF", DIRECTORY_UNREADABLE },
    { "whose DACL has no header", 16, "4C000000", DIRECTORY_UNREADABLE },
    { "with a list that is too long", 22, "FF00", DIRECTORY_UNREADABLE },
    { "with a list shorter than its header", 22, "0400", DIRECTORY_UNREADABLE },
    { "with a list that ends within the entry", 22, "2000", DIRECTORY_UNREADABLE },
    { "with more entries than there are", 24, "0200", DIRECTORY_UNREADABLE },
    { "with many more", 24, "FFFF", DIRECTORY_UNREADABLE },
    { "with fewer", 24, "0000", DIRECTORY_NOT_NAMED },
    { "with an entry of size 0", 30, "0000", DIRECTORY_UNREADABLE },
    { "with an entry that is too long", 30, "FF00", DIRECTORY_UNREADABLE },
    { "with an entry shorter than its SID", 30, "2C00", DIRECTORY_UNREADABLE },
};

START_TEST(a_broken_descriptor_lets_nobody_in)
{
    const char *const aces[] = { GOOD };
    const scep_bytes good = descriptor(aces, 1), over = fixture_of_hex(changes[_i].hex, p);

    row = changes[_i].name;
    memcpy((unsigned char *)(uintptr_t)good.data + changes[_i].at, over.data, over.len);
    ck_assert_msg(judge(good) == changes[_i].wanted, "%s: %d", row, (int)judge(good));
}
END_TEST

START_TEST(a_descriptor_that_is_cut_off_lets_nobody_in)
{
    const char *const aces[] = { GOOD };
    const scep_bytes good = descriptor(aces, 1);

    for (size_t len = 0; len < good.len; len++) {
        /* on the heap, so that a sanitizer sees what is read behind it */
        unsigned char *cut = malloc(len + 1);

        FIXTURE_MUST(cut);
        memcpy(cut, good.data, len);
        ck_assert_msg(judge((scep_bytes){ cut, len }) == DIRECTORY_UNREADABLE, "%lu",
                      (unsigned long)len);
        free(cut);
    }
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_loop_test(c, a_SID_is_read_and_written, 0, ROWS(sids));
    tcase_add_loop_test(c, what_is_no_SID_in_text_is_refused, 0, ROWS(no_sid_texts));
    tcase_add_loop_test(c, what_is_no_SID_in_bytes_has_no_text, 0, ROWS(no_sids));
    tcase_add_loop_test(c, the_first_entry_about_the_user_decides, 0, ROWS(decisions));
    tcase_add_loop_test(c, a_broken_descriptor_lets_nobody_in, 0, ROWS(changes));
    tcase_add_test(c, a_descriptor_that_is_cut_off_lets_nobody_in);
}

int main(void)
{
    return run_suite("directory_sd", add_tests);
}
