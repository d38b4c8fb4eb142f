/* What the connector adcs has kept of a request between two calls: one line of text. */
#include "connector_adcs_int.h"

#include <apr_strings.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number from 0 to UINT32_MAX, as it is written here: without leading zeros. */
static bool take_number(const char **at, uint32_t *out)
{
    uint64_t value = 0;
    const char *c = *at;

    if (!is_digit(*c) || (*c == '0' && is_digit(c[1])))
        return false;
    for (; is_digit(*c); c++) {
        value = value * 10 + (uint64_t)(*c - '0');
        if (value > UINT32_MAX)
            return false;
    }
    *at = c;
    *out = (uint32_t)value;
    return true;
}

static bool take_word(const char **at, const char *word)
{
    size_t len = strlen(word);

    if (strncmp(*at, word, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool take_held(const char **at, adcs_note *n)
{
    if (!**at)
        return true;
    do {
        if (n->n_held == ADCS_HELD_MOST || !take_number(at, &n->held[n->n_held++]))
            return false;
    } while (take_word(at, ","));
    return true;
}

static bool take_seek(const char **at, adcs_note *n)
{
    uint32_t round;

    if (!take_number(at, &n->id) || !take_word(at, " next=") || !take_number(at, &n->next) ||
        !take_word(at, " round=") || !take_number(at, &round) || !take_word(at, " held="))
        return false;
    n->round = round <= ADCS_ROUNDS ? (int)round : -1;
    return n->round >= 0 && n->next > n->id && take_held(at, n);
}

bool adcs_note_read(adcs_note *out, const char *cookie)
{
    const char *at = cookie;
    bool good = true;

    *out = (adcs_note){ 0 };
    if (!*at)
        return true;
    if (!strcmp(at, "after=?")) {
        out->kind = ADCS_BLIND;
        return true;
    }
    if (take_word(&at, "after=")) {
        out->kind = ADCS_AFTER;
        good = take_number(&at, &out->id);
    } else if (take_word(&at, "id=")) {
        out->kind = ADCS_AT;
        good = take_number(&at, &out->id) && out->id != 0;
    } else {
        out->kind = ADCS_SEEK;
        good = take_word(&at, "seek=") && take_seek(&at, out);
    }
    return good && !*at;
}

static const char *write_seek(const adcs_note *n, apr_pool_t *p)
{
    const char *text = apr_psprintf(p, "seek=%u next=%u round=%d held=", n->id, n->next, n->round);

    for (int i = 0; i < n->n_held; i++)
        text = apr_psprintf(p, "%s%s%u", text, i ? "," : "", n->held[i]);
    return text;
}

const char *adcs_note_write(const adcs_note *n, apr_pool_t *p)
{
    switch (n->kind) {
    case ADCS_NOTHING:
        break;
    case ADCS_BLIND:
        return "after=?";
    case ADCS_AFTER:
        return apr_psprintf(p, "after=%u", n->id);
    case ADCS_AT:
        return apr_psprintf(p, "id=%u", n->id);
    case ADCS_SEEK:
        return write_seek(n, p);
    }
    return "";
}
