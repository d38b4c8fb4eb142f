/* The one list of settings: what is accepted, how it is kept, what holds where nothing was set. */
#include "settings.h"
#include "bytes.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const scep_setting_info rows[SCEP_SET_COUNT] = {
#define X(name, kind, scope, dflt, low, high, words, says) \
    { #name, SCEP_KIND_##kind, SCEP_SCOPE_##scope, dflt, low, high, words, says },
    SCEP_SETTINGS(X)
#undef X
};

/*
 * What a ClientProfile gives, where nothing is written. What such a client needs stands here even
 * where it is the default: the preset is complete by itself, whatever the defaults become.
 */
static const struct {
    const char *profile;
    scep_setting which;
    const char *value;
} presets[] = {
    /* takes the certificate alone and trusts the top of one chain; renews by a
     * PKCSReq that the old certificate signs */
    { "apple", SCEP_SET_ResponseChain, "none" },
    { "apple", SCEP_SET_CACert, "full" },
    { "apple", SCEP_SET_RenewalByPKCSReq, "on" },
    /* wants the CA's certificate behind its own; renews as Apple does */
    { "cisco", SCEP_SET_ResponseChain, "chain" },
    { "cisco", SCEP_SET_CACert, "full" },
    { "cisco", SCEP_SET_RenewalByPKCSReq, "on" },
    /* takes the certificate alone; keeps each CA in a profile of its own, so that the root
     * does not belong to the issuing CA's */
    { "juniper", SCEP_SET_ResponseChain, "none" },
    { "juniper", SCEP_SET_CACert, "chain" },
    /* looks for the root in GetCACert and shows its thumbprint, reads HRESULTs in failInfoText, and
     * renews by 17 or 19 */
    { "windows", SCEP_SET_Compatibility, "ndes" },
    { "windows", SCEP_SET_FailInfoText, "on" },
    { "windows", SCEP_SET_ResponseChain, "none" },
    { "windows", SCEP_SET_CACert, "full" },
    { "windows", SCEP_SET_Thumbprint, "md5" },
    { "windows", SCEP_SET_RenewalByPKCSReq, "on" },
};

const scep_setting_info *scep_setting_describe(scep_setting which)
{
    return &rows[which];
}

scep_setting scep_setting_find(const char *name)
{
    int i;

    for (i = 0; i < SCEP_SET_COUNT; i++)
        if (!strcasecmp(rows[i].name, name))
            break;
    return (scep_setting)i;
}

/* The digits 1 and 0 are what the MSCEP registry has. */
static const char *canonical_flag(const char *value)
{
    if (!strcasecmp(value, "on") || !strcmp(value, "1"))
        return "on";
    if (!strcasecmp(value, "off") || !strcmp(value, "0"))
        return "off";
    return NULL;
}

/* Digits only: strtol alone takes blanks, signs and what stands behind the number. */
static const char *canonical_number(const scep_setting_info *row, const char *value, apr_pool_t *p)
{
    long number;

    if (!*value || strspn(value, "0123456789") != strlen(value))
        return NULL;
    /* too many digits give LONG_MAX, which is above every range */
    number = strtol(value, NULL, 10);
    if (number < row->low || number > row->high)
        return NULL;
    return apr_ltoa(p, number);
}

static const char *canonical_word(const scep_setting_info *row, const char *value, apr_pool_t *p)
{
    const char *word = row->words;
    size_t len = strlen(value);

    while (len) {
        const char *end = strchr(word, '|');
        size_t n = end ? (size_t)(end - word) : strlen(word);

        if (n == len && !strncasecmp(word, value, n))
            return apr_pstrmemdup(p, word, n);
        if (!end)
            break;
        word = end + 1;
    }
    return NULL;
}

/* Values travel in logs, on the wire and in pages: no control characters. */
static const char *canonical_text(const scep_setting_info *row, const char *value, apr_pool_t *p)
{
    long len = (long)strlen(value);
    const char *c;

    if (len < row->low || len > row->high)
        return NULL;
    for (c = value; *c; c++)
        if (apr_iscntrl(*c))
            return NULL;
    return apr_pstrdup(p, value);
}

static const char *canonical(const scep_setting_info *row, const char *value, apr_pool_t *p)
{
    switch (row->kind) {
    case SCEP_KIND_FLAG:
        return canonical_flag(value);
    case SCEP_KIND_NUMBER:
        return canonical_number(row, value, p);
    case SCEP_KIND_WORD:
        return canonical_word(row, value, p);
    case SCEP_KIND_TEXT:
    case SCEP_KIND_TEMPLATE:
        return canonical_text(row, value, p);
    }
    return NULL;
}

static const char *accepted(const scep_setting_info *row, apr_pool_t *p)
{
    switch (row->kind) {
    case SCEP_KIND_FLAG:
        return "on or off";
    case SCEP_KIND_NUMBER:
        return apr_psprintf(p, "a whole number from %ld to %ld", row->low, row->high);
    case SCEP_KIND_WORD:
        return apr_psprintf(p, "one of %s", row->words);
    case SCEP_KIND_TEXT:
    case SCEP_KIND_TEMPLATE:
        return apr_psprintf(p, "%ld to %ld characters, none of them a control character", row->low,
                            row->high);
    }
    return "";
}

const scep_err *scep_settings_set(scep_settings *s, scep_setting which, const char *value,
                                  apr_pool_t *p)
{
    const scep_setting_info *row = &rows[which];
    const char *kept = canonical(row, value, p);

    if (!kept)
        return scep_fail(p, CONFIG, "SCEP%s: '%s' is not %s", row->name,
                         scep_printable(p, scep_bytes_of(value), 64), accepted(row, p));
    s->value[which] = kept;
    return NULL;
}

void scep_settings_merge(scep_settings *out, const scep_settings *base, const scep_settings *add)
{
    int i;

    for (i = 0; i < SCEP_SET_COUNT; i++)
        out->value[i] = add->value[i] ? add->value[i] : base->value[i];
}

const char *scep_settings_text(const scep_settings *s, scep_setting which)
{
    const char *profile = s->value[SCEP_SET_ClientProfile];

    if (s->value[which])
        return s->value[which];
    for (size_t i = 0; profile && i < sizeof(presets) / sizeof(*presets); i++)
        if (presets[i].which == which && !strcmp(presets[i].profile, profile))
            return presets[i].value;
    return rows[which].dflt;
}

long scep_settings_number(const scep_settings *s, scep_setting which)
{
    return strtol(scep_settings_text(s, which), NULL, 10);
}

bool scep_settings_flag(const scep_settings *s, scep_setting which)
{
    return !strcmp(scep_settings_text(s, which), "on");
}

int scep_settings_hash_bits(const scep_settings *s, scep_setting which)
{
    int bits = atoi(scep_settings_text(s, which) + strlen("sha"));

    return bits == 1 ? 160 : bits;
}
