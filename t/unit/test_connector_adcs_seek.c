/* The connector adcs: what it keeps of a request, and how it finds one again whose answer was
 * lost, at a CA of letters. With a real domain controller: t/84-adcs.t. */
#include "suite.h"

#include "connector_adcs_int.h"

#include <apr_strings.h>
#include <string.h>

/* ---- the cookie ---- */

static const struct {
    const char *text;
    adcs_kind kind;
    uint32_t id;
} notes[] = {
    { "", ADCS_NOTHING, 0 },
    { "after=?", ADCS_BLIND, 0 },
    { "after=0", ADCS_AFTER, 0 },
    { "after=4294967295", ADCS_AFTER, UINT32_MAX },
    { "id=1", ADCS_AT, 1 },
    { "seek=7 next=8 round=0 held=", ADCS_SEEK, 7 },
    { "seek=7 next=19 round=4 held=9,12", ADCS_SEEK, 7 },
};

START_TEST(what_is_kept_is_read_as_it_was_written)
{
    adcs_note n;

    row = notes[_i].text;
    ck_assert(adcs_note_read(&n, row));
    ck_assert_int_eq(n.kind, notes[_i].kind);
    ck_assert_uint_eq(n.id, notes[_i].id);
    ck_assert_str_eq(adcs_note_write(&n, p), row);
}
END_TEST

static const char *const spoilt[] = {
    "after=",
    "after=1x",
    "after=01",
    "after=-1",
    "after=4294967296",
    "after=??",
    "id=0",
    "id=",
    " id=1",
    "id=1 ",
    "seek=7",
    "seek=7 next=7 round=0 held=",
    "seek=7 next=8 round=5 held=",
    "seek=7 next=8 round=0 held=,",
    "seek=7 next=8 round=0 held=1,",
    "nothing",
};

START_TEST(anything_else_is_not_read)
{
    adcs_note n;

    ck_assert_msg(!adcs_note_read(&n, spoilt[_i]), "\"%s\" was read", spoilt[_i]);
}
END_TEST

START_TEST(the_longest_note_is_a_cookie)
{
    adcs_note n = {
        .kind = ADCS_SEEK, .id = UINT32_MAX - 1, .next = UINT32_MAX, .n_held = ADCS_HELD_MOST
    };
    const char *text;

    for (int i = 0; i < ADCS_HELD_MOST; i++)
        n.held[i] = UINT32_MAX;
    text = adcs_note_write(&n, p);
    ck_assert_uint_le(strlen(text), CONNECTOR_COOKIE_MOST);
    ck_assert(adcs_note_read(&n, text));
    ck_assert_int_eq(n.n_held, ADCS_HELD_MOST);
    ck_assert(!adcs_note_read(&n, apr_pstrcat(p, text, ",1", NULL)));
}
END_TEST

/* 23 times seven, with one between. */
#define SEVENS_4 "ooooooo.ooooooo.ooooooo.ooooooo."
#define SEVENS SEVENS_4 SEVENS_4 SEVENS_4 SEVENS_4 SEVENS_4 "ooooooo.ooooooo.ooooooo"

/* ---- a CA of letters: the first one is number 1. '.': none; o: another's; h: held; x: ours;
 * !: no answer ---- */

typedef struct letters {
    const char *text;
    uint32_t from, until; /* these are o, too */
    int asked;
} letters;

static const scep_err *look(adcs_sight *out, void *baton, uint32_t id, apr_pool_t *pool)
{
    letters *l = baton;
    char c = l->text && id <= strlen(l->text) ? l->text[id - 1] : '.';

    l->asked++;
    if (c == '!')
        return scep_fail(pool, UNAVAILABLE, "no answer in time");
    if (id >= l->from && id <= l->until && id)
        c = 'o';
    *out = c == 'x' ? ADCS_OURS : c == 'h' ? ADCS_HELD : c == 'o' ? ADCS_OTHERS : ADCS_NONE;
    return NULL;
}

static const struct {
    const char *name;
    letters ca;
    uint32_t top; /* 0: cannot be told */
} tops[] = {
    { "an empty CA", { .text = "" }, 0 },
    { "one request", { .text = "o" }, 1 },
    { "the first one is gone", { .text = ".o" }, 0 },
    { "two", { .text = "oo" }, 2 },
    { "the first two are gone", { .text = "..oooooooooooooooooo" }, 20 },
    { "many small gaps, of which one is at each power of two", { .text = SEVENS }, 183 },
    { "a few, of every kind", { .text = "ohooho" }, 6 },
    { "many", { .from = 1, .until = 123456 }, 123456 },
    { "a power of two", { .from = 1, .until = 65536 }, 65536 },
    { "one less", { .from = 1, .until = 65535 }, 65535 },
    { "small gaps", { .text = "o.ooo..ooooooo...ooooooooooooo.oo.....o" }, 39 },
    { "a gap at a power of two", { .text = "ooo.ooo" }, 7 },
    { "old ones were deleted", { .from = 190000, .until = 200000 }, 0 },
    { "all but the first of the old ones", { .text = "o", .from = 190000, .until = 200000 }, 1 },
    { "old ones were deleted, and a power of two is there", { .from = 60000, .until = 70000 }, 0 },
    { "every number is denied", { .from = 1, .until = UINT32_MAX }, 0 },
};

START_TEST(the_highest_number_is_found_or_not_told)
{
    letters ca = tops[_i].ca;
    const adcs_looker l = { look, &ca };
    uint32_t top = 99;

    row = tops[_i].name;
    assert_ok(adcs_top(&top, &l, p));
    ck_assert_msg(top == tops[_i].top, "%s: %u", row, top);
    ck_assert_int_lt(ca.asked, 240);
}
END_TEST

START_TEST(a_ca_that_does_not_answer_has_no_highest_number)
{
    letters ca = { .text = "oooo!" };
    const adcs_looker l = { look, &ca };
    uint32_t top;

    assert_code(SCEP_UNAVAILABLE, adcs_top(&top, &l, p));
}
END_TEST

/* Rounds of a search, each on what the CA looks like then; the last one holds on. */
static const struct {
    const char *name;
    uint32_t after;
    const char *cas[8];
    adcs_found found[8];
    uint32_t id; /* found */
} searches[] = {
    { "the next one", 2, { "oox" }, { ADCS_FOUND }, 3 },
    { "behind others", 2, { "ooohox" }, { ADCS_FOUND }, 6 },
    { "across a gap", 1, { "o...............x" }, { ADCS_FOUND }, 17 },
    { "it does not look below",
      3,
      { "xoo" },
      { ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_IS_NONE },
      0 },
    { "the CA was still at work on it",
      1,
      { "o", "o", "ox" },
      { ADCS_GO_ON, ADCS_GO_ON, ADCS_FOUND },
      2 },
    { "at work on it, while others came and went",
      1,
      { "o.o", "o.oo", "oxoo" },
      { ADCS_GO_ON, ADCS_GO_ON, ADCS_FOUND },
      2 },
    { "it never arrived",
      1,
      { "o", "oo", "ooo", "oooo" },
      { ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_IS_NONE },
      0 },
    { "one is held, and is ours",
      1,
      { "oh", "oh", "oh", "oh", "oh", "ox" },
      { ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_FOUND },
      2 },
    { "two are held, and the second is ours",
      1,
      { "ohh", "ohh", "ohh", "ohh", "ooh", "oox" },
      { ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_FOUND },
      3 },
    { "all that are held are others'",
      1,
      { "ohh", "ohh", "ohh", "ohh", "ooh", "ooo" },
      { ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_IS_NONE },
      0 },
    { "what was held is deleted",
      1,
      { "oh", "oh", "oh", "oh", "o" },
      { ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_GO_ON, ADCS_IS_NONE },
      0 },
};

START_TEST(a_lost_answer_is_found_again_or_was_never_given)
{
    adcs_note n = { .kind = ADCS_SEEK, .id = searches[_i].after, .next = searches[_i].after + 1 };

    row = searches[_i].name;
    for (int i = 0; searches[_i].cas[i] || (i && searches[_i].found[i - 1] == ADCS_GO_ON); i++) {
        letters ca = { .text = searches[_i].cas[i] };
        const adcs_looker l = { look, &ca };
        adcs_found found = ADCS_GIVE_UP;

        for (int last = i; !ca.text; last--) /* as it was before */
            ca.text = searches[_i].cas[last];
        assert_ok(adcs_seek(&found, &n, &l, p));
        ck_assert_msg(found == searches[_i].found[i], "%s: %d in step %d", row, found, i);
        if (found == ADCS_FOUND)
            ck_assert_uint_eq(n.id, searches[_i].id);
        for (int at = 1; at < n.n_held; at++) /* each of them once */
            ck_assert_uint_gt(n.held[at], n.held[at - 1]);
        if (found == ADCS_GO_ON) /* it survives a restart */
            ck_assert(adcs_note_read(&n, adcs_note_write(&n, p)));
    }
}
END_TEST

START_TEST(a_search_is_bounded)
{
    letters ca = { .from = 1, .until = UINT32_MAX };
    const adcs_looker l = { look, &ca };
    adcs_note n = { .kind = ADCS_SEEK, .id = 5, .next = 6 };
    adcs_found found = ADCS_GO_ON;
    char many[100];

    row = "too many numbers";
    assert_ok(adcs_seek(&found, &n, &l, p));
    ck_assert_int_eq(found, ADCS_GIVE_UP);
    ck_assert_int_eq(ca.asked, ADCS_WALK_MOST);
    row = "too many that are held";
    memset(many, 'h', sizeof(many));
    many[99] = '\0';
    ca = (letters){ .text = many };
    n = (adcs_note){ .kind = ADCS_SEEK, .id = 5, .next = 6 };
    assert_ok(adcs_seek(&found, &n, &l, p));
    ck_assert_int_eq(found, ADCS_GIVE_UP);
    row = "the end of all numbers";
    ca = (letters){ .text = "" };
    n = (adcs_note){ .kind = ADCS_SEEK, .id = UINT32_MAX - 3, .next = UINT32_MAX - 2 };
    assert_ok(adcs_seek(&found, &n, &l, p));
    ck_assert_int_eq(found, ADCS_GIVE_UP);
}
END_TEST

START_TEST(a_search_goes_on_where_the_time_was_over)
{
    letters ca = { .text = "oohoo!ox" };
    const adcs_looker l = { look, &ca };
    adcs_note n = { .kind = ADCS_SEEK, .id = 1, .next = 2 };
    adcs_found found = ADCS_GO_ON;

    assert_code(SCEP_UNAVAILABLE, adcs_seek(&found, &n, &l, p));
    ck_assert_uint_eq(n.next, 6);
    ck_assert_int_eq(n.n_held, 1);
    ca = (letters){ .text = "ooooooox" };
    assert_ok(adcs_seek(&found, &n, &l, p));
    ck_assert_int_eq(found, ADCS_FOUND);
    ck_assert_int_eq(ca.asked, 3);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, what_is_kept_is_read_as_it_was_written, 0, ROWS(notes));
    tcase_add_loop_test(cases, anything_else_is_not_read, 0, ROWS(spoilt));
    tcase_add_test(cases, the_longest_note_is_a_cookie);
    tcase_add_loop_test(cases, the_highest_number_is_found_or_not_told, 0, ROWS(tops));
    tcase_add_test(cases, a_ca_that_does_not_answer_has_no_highest_number);
    tcase_add_loop_test(cases, a_lost_answer_is_found_again_or_was_never_given, 0, ROWS(searches));
    tcase_add_test(cases, a_search_is_bounded);
    tcase_add_test(cases, a_search_goes_on_where_the_time_was_over);
}

int main(void)
{
    return run_suite("connector_adcs_seek", add_tests);
}
