/* A request whose answer was lost is found again by its key, number by number. */
#include "connector_adcs_int.h"

#include <string.h>

/* ---- the highest number ---- */

#define MISSES_MOST 3   /* doublings that meet nothing */
#define SAMPLES 8       /* numbers below the highest that are looked at */
#define SAMPLES_LEAST 6 /* of which so many have to be there */

static const scep_err *is_there(bool *out, const adcs_looker *l, uint32_t id, apr_pool_t *p)
{
    adcs_sight sight = ADCS_NONE;

    SCEP_TRY(l->look(&sight, l->baton, id, p));
    *out = sight != ADCS_NONE;
    return NULL;
}

/* The highest power of two that is there; 0: none, or all of them, which cannot be. */
static const scep_err *double_up(uint32_t *out, const adcs_looker *l, apr_pool_t *p)
{
    int misses = 0;

    *out = 0;
    for (int bit = 0; bit < 32 && misses < MISSES_MOST; bit++) {
        bool there = false;

        SCEP_TRY(is_there(&there, l, (uint32_t)1 << bit, p));
        misses = there ? 0 : misses + 1;
        if (there)
            *out = bit < 31 ? (uint32_t)1 << bit : 0;
    }
    return NULL;
}

static const scep_err *halve_down(uint32_t *low, const adcs_looker *l, apr_pool_t *p)
{
    uint32_t high = 2 * *low; /* is not there */

    while (high - *low > 1) {
        uint32_t middle = *low + (high - *low) / 2;
        bool there = false;

        SCEP_TRY(is_there(&there, l, middle, p));
        if (there)
            *low = middle;
        else
            high = middle;
    }
    return NULL;
}

/* Over small gaps, in one of which the halving may have ended. */
static const scep_err *climb(uint32_t *top, const adcs_looker *l, apr_pool_t *p)
{
    uint32_t id = *top;

    for (int gap = 0, steps = 0; gap < ADCS_GAP_MOST; steps++) {
        bool there = false;

        if (steps == ADCS_WALK_MOST) {
            *top = 0;
            return NULL;
        }
        SCEP_TRY(is_there(&there, l, ++id, p));
        gap = there ? 0 : gap + 1;
        if (there)
            *top = id;
    }
    return NULL;
}

/* Where old requests were deleted from the CA's database, the new ones may lie beyond a gap that
 * no doubling jumps over. */
static const scep_err *is_dense(bool *out, const adcs_looker *l, uint32_t top, apr_pool_t *p)
{
    int there = 0;

    for (uint32_t i = 1; i <= SAMPLES; i++) {
        uint32_t id = (uint32_t)((uint64_t)top * i / SAMPLES);
        bool is = false;

        SCEP_TRY(is_there(&is, l, id ? id : 1, p));
        there += is;
    }
    *out = there >= SAMPLES_LEAST;
    return NULL;
}

const scep_err *adcs_top(uint32_t *top, const adcs_looker *l, apr_pool_t *p)
{
    bool dense = false;

    SCEP_TRY(double_up(top, l, p));
    if (*top)
        SCEP_TRY(halve_down(top, l, p));
    if (*top)
        SCEP_TRY(climb(top, l, p));
    if (*top)
        SCEP_TRY(is_dense(&dense, l, *top, p));
    if (!dense)
        *top = 0;
    return NULL;
}

/* ---- the search ---- */

/* Only those are left whose owner is not known yet. */
static const scep_err *ask_held(adcs_found *out, adcs_note *note, const adcs_looker *l,
                                apr_pool_t *p)
{
    int left = 0;

    for (int i = 0; i < note->n_held; i++) {
        adcs_sight sight = ADCS_NONE;

        SCEP_TRY(l->look(&sight, l->baton, note->held[i], p));
        if (sight == ADCS_OURS) {
            note->id = note->held[i];
            *out = ADCS_FOUND;
            return NULL;
        }
        if (sight == ADCS_HELD)
            note->held[left++] = note->held[i];
    }
    note->n_held = left;
    *out = left ? ADCS_GO_ON : ADCS_IS_NONE;
    return NULL;
}

static adcs_found end_round(adcs_note *note)
{
    note->next = note->id + 1;
    note->round++;
    if (note->round < ADCS_ROUNDS) {
        note->n_held = 0; /* the next one finds them again */
        return ADCS_GO_ON;
    }
    return note->n_held ? ADCS_GO_ON : ADCS_IS_NONE;
}

/* @param goes_on whether the walk does; else *out tells */
static void walk_past(adcs_found *out, bool *goes_on, adcs_note *note, uint32_t id,
                      adcs_sight sight)
{
    *goes_on = false;
    if (sight == ADCS_OURS) {
        note->id = id;
        *out = ADCS_FOUND;
        return;
    }
    if (sight == ADCS_HELD && note->n_held == ADCS_HELD_MOST) {
        *out = ADCS_GIVE_UP;
        return;
    }
    if (sight == ADCS_HELD)
        note->held[note->n_held++] = id;
    if (sight != ADCS_NONE)
        note->next = id + 1; /* small gaps are walked through again */
    *goes_on = true;
}

static const scep_err *walk(adcs_found *out, adcs_note *note, const adcs_looker *l, apr_pool_t *p)
{
    for (uint32_t id = note->next; id - note->next < ADCS_GAP_MOST; id++) {
        adcs_sight sight = ADCS_NONE;
        bool goes_on;

        if (id - note->id > ADCS_WALK_MOST || id < note->id) {
            *out = ADCS_GIVE_UP;
            return NULL;
        }
        SCEP_TRY(l->look(&sight, l->baton, id, p));
        walk_past(out, &goes_on, note, id, sight);
        if (!goes_on)
            return NULL;
    }
    *out = end_round(note);
    return NULL;
}

const scep_err *adcs_seek(adcs_found *out, adcs_note *note, const adcs_looker *l, apr_pool_t *p)
{
    return note->round >= ADCS_ROUNDS ? ask_held(out, note, l, p) : walk(out, note, l, p);
}
