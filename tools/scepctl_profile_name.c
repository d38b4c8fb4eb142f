/* scepctl profile: the subject, read once and written as each client wants it. */
#include "config.h"

#include "scepctl_profile.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <openssl/asn1.h>
#include <string.h>
#include <strings.h>

#define PARTS_MOST 16
#define VALUE_MOST 64 /* RFC 5280, appendix A.1: ub-common-name and its like */

static const char *const types[] = { "C", "ST", "L", "O", "OU", "CN" };

bool profile_is_text(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    int left = (int)strlen(text);

    while (left > 0) {
        unsigned long c = 0;
        int n = UTF8_getc(at, left, &c);

        if (n <= 0 || c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0xd800 && c <= 0xdfff) ||
            c == 0xfffe || c == 0xffff || c > 0x10ffff)
            return false;
        at += n;
        left -= n;
    }
    return true;
}

static const char *known_type(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strlen(types[i]) == len && strncasecmp(types[i], name, len) == 0)
            return types[i];
    return NULL;
}

/* A value up to the comma behind it; a backslash takes the next character as it is (RFC 4514 3).
 * None begins or ends with a space, which clients disagree about. */
static const scep_err *read_value(const char **out, const char **at, apr_pool_t *p)
{
    const char *from = *at;
    char *value = apr_pcalloc(p, strlen(from) + 1);
    size_t n = 0, kept = 0;

    for (; *from && *from != ','; from++) {
        if (*from == '+' || *from == ';' || *from == '"' || *from == '<' || *from == '>')
            return scep_fail(p, CONFIG, "--subject: write \\%c for a %c within a value", *from,
                             *from);
        if (*from == '\\') {
            from++;
            if (!*from || !strchr("\\,+;\"<>=#", *from))
                return scep_fail(p, CONFIG,
                                 "--subject: behind a backslash stands one of \\ , + ; \" < > = #");
        }
        value[n++] = *from;
        if (*from != ' ')
            kept = n;
    }
    value[kept] = '\0'; /* spaces before the comma are not the value's */
    *at = from;
    if (!kept || kept > VALUE_MOST || !profile_is_text(value))
        return scep_fail(p, CONFIG,
                         "--subject: each value has 1 to %d bytes of UTF-8 without control "
                         "characters",
                         VALUE_MOST);
    *out = value;
    return NULL;
}

const scep_err *profile_read_subject(apr_array_header_t **out, const char *text, apr_pool_t *p)
{
    const char *at = text;

    *out = apr_array_make(p, 4, sizeof(profile_part));
    for (;;) {
        profile_part part;
        size_t len;

        at += strspn(at, " ");
        len = strcspn(at, "=,");
        part.type = at[len] == '=' ? known_type(at, len) : NULL;
        if (!part.type || (*out)->nelts == PARTS_MOST)
            return scep_fail(p, CONFIG,
                             "--subject is TYPE=VALUE, up to %d with commas between, where TYPE is "
                             "C, ST, L, O, OU or CN, as in \"CN=moon,O=Example\"",
                             PARTS_MOST);
        at += len + 1;
        at += strspn(at, " ");
        SCEP_TRY(read_value(&part.value, &at, p));
        APR_ARRAY_PUSH(*out, profile_part) = part;
        if (!*at)
            return NULL;
        at++;
    }
}

static const profile_part *part_of(const profile *f, int i)
{
    return &APR_ARRAY_IDX(f->subject, i, profile_part);
}

/* Does any value hold one of these? */
static bool holds(const profile *f, const char *characters)
{
    for (int i = 0; i < f->subject->nelts; i++)
        if (strpbrk(part_of(f, i)->value, characters))
            return true;
    return false;
}

/* A separator ends a value, and it is the name's first character that chooses which: so a value may
 * hold commas or slashes. */
const scep_err *profile_name_strongswan(profile *f)
{
    bool slashes = holds(f, ",");
    const char *name = "";

    if (slashes && holds(f, "/"))
        return scep_fail(f->p, CONFIG,
                         "strongSwan cannot be told of a subject that holds a comma and a slash; "
                         "leave one of them out");
    /* In the order of encoding, the other way round. */
    for (int i = f->subject->nelts - 1; i >= 0; i--)
        name = apr_pstrcat(f->p, name,
                           slashes ? "/"
                           : *name ? ", "
                                   : "",
                           part_of(f, i)->type, "=", part_of(f, i)->value, NULL);
    f->name = name;
    return NULL;
}

/* Each of @a special with @a escape before it. */
static const char *escaped(const char *value, const char *special, char escape, apr_pool_t *p)
{
    char *text = apr_palloc(p, 2 * strlen(value) + 1), *to = text;

    for (; *value; value++) {
        if (strchr(special, *value))
            *to++ = escape;
        *to++ = *value;
    }
    *to = '\0';
    return text;
}

/* It takes what it cannot read for a common name as a whole, without a word. */
const scep_err *profile_name_certmonger(profile *f)
{
    const char *name = "";

    if (!f->root_pem)
        return scep_fail(
            f->p, CONFIG,
            "certmonger trusts a root only, and the CA's file ends below it: name with "
            "--ca a file that has the chain up to the self-signed certificate");
    /* In the order of encoding, the other way round. */
    for (int i = f->subject->nelts - 1; i >= 0; i--) {
        const profile_part *part = part_of(f, i);

        name = apr_pstrcat(f->p, name, *name ? "," : "", part->type, "=",
                           escaped(part->value, "\\,+\"<>;=#", '\\', f->p), NULL);
    }
    f->name = name;
    return NULL;
}

static const char *joined(const profile *f)
{
    const char *name = "";

    for (int i = 0; i < f->subject->nelts; i++) {
        const char *value = part_of(f, i)->value;

        if (strpbrk(value, ",+=\"<>#;"))
            value = apr_pstrcat(f->p, "\"", escaped(value, "\"", '"', f->p), "\"", NULL);
        name = apr_pstrcat(f->p, name, i ? "," : "", part_of(f, i)->type, "=", value, NULL);
    }
    return name;
}

const scep_err *profile_name_windows(profile *f)
{
    f->name = joined(f);
    return NULL;
}

const scep_err *profile_name_cisco(profile *f)
{
    for (int i = 0; i < f->subject->nelts; i++)
        for (const char *at = part_of(f, i)->value; *at; at++)
            if (!apr_isalnum(*at) && !strchr(" .-_@:()'", *at))
                return scep_fail(f->p, CONFIG,
                                 "for cisco a subject's values hold letters, digits, spaces and "
                                 ". - _ @ : ( ) ' only");
    f->name = joined(f);
    return NULL;
}
