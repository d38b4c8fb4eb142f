/* The syntax of a registry export. */
#include "registry_parts.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define MSCEP "\\Cryptography\\MSCEP"
#define BLANKS " \t"

typedef struct reader {
    const char *path;
    apr_pool_t *p;
    char *next; /* the rest of the text */
    int line;   /* of what was read last */
    bool wide;  /* version 5: texts in hex are UTF-16LE */

    const char *key; /* as in scep_registry_value; NULL: none yet */
    bool mscep, any_mscep;
    scep_registry *out;
} reader;

/* What every error of this room looks like. */
#define expected(r, ...) \
    scep_fail((r)->p, CONFIG, "%s:%d: %s", (r)->path, (r)->line, apr_psprintf((r)->p, __VA_ARGS__))

static const char *shown(const reader *r, const char *text)
{
    return scep_printable(r->p, scep_bytes_of(text), 64);
}

/* The next line without its end, and without blanks before it; NULL: there is none. */
static char *next_line(reader *r)
{
    char *line = r->next, *end;
    size_t len;

    if (!line)
        return NULL;
    end = strchr(line, '\n');
    len = end ? (size_t)(end - line) : strlen(line);
    r->next = end ? end + 1 : NULL;
    if (len && line[len - 1] == '\r')
        len--;
    line[len] = '\0';
    r->line++;
    return line + strspn(line, BLANKS);
}

static const scep_err *read_first(reader *r)
{
    static const char modern[] = "Windows Registry Editor Version 5.00", old[] = "REGEDIT4";
    char *line = next_line(r);
    size_t len = line ? strlen(line) : 0;

    while (len && strchr(BLANKS, line[len - 1]))
        line[--len] = '\0';
    r->wide = len && !strcasecmp(line, modern);
    if (r->wide || (len && !strcasecmp(line, old)))
        return NULL;
    return expected(r, "'%s' or '%s' is expected, not '%s'", modern, old,
                    line ? shown(r, line) : "");
}

/* Nothing but a comment may follow. */
static const scep_err *read_end(const reader *r, const char *rest)
{
    rest += strspn(rest, BLANKS);
    if (!*rest || *rest == ';')
        return NULL;
    return expected(r, "the end of the line is expected, not '%s'", shown(r, rest));
}

/* ---- keys ---- */

/* Where the name of the MSCEP key ends in a path; NULL: it is another key. */
static const char *below_mscep(const char *path)
{
    size_t len = strlen(MSCEP);

    for (const char *at = strchr(path, '\\'); at; at = strchr(at + 1, '\\'))
        if (!strncasecmp(at, MSCEP, len) && (!at[len] || at[len] == '\\'))
            return at + len + (at[len] == '\\');
    return NULL;
}

/* Is the key of a value @a key itself or below it? */
static bool is_at_or_below(const scep_registry_value *v, const char *key)
{
    size_t len = strlen(key);

    return !strncasecmp(v->key, key, len) && (!len || !v->key[len] || v->key[len] == '\\');
}

/* [-KEY]: whatever was read of it is gone. */
static void delete_key(reader *r, bool mscep, const char *key)
{
    apr_array_header_t *values = r->out->values;
    int kept = 0;

    for (int i = 0; i < values->nelts; i++) {
        const scep_registry_value v = APR_ARRAY_IDX(values, i, scep_registry_value);

        if (v.mscep != mscep || !is_at_or_below(&v, key))
            APR_ARRAY_IDX(values, kept++, scep_registry_value) = v;
    }
    values->nelts = kept;
}

static const scep_err *read_key(reader *r, char *line)
{
    char *end = strrchr(line, ']');
    const char *below;
    bool deletion = line[1] == '-';
    char *path = line + 1 + deletion;

    if (!end)
        return expected(r, "']' is expected at the end of '%s'", shown(r, line));
    SCEP_TRY(read_end(r, end + 1));
    *end = '\0';
    if (path >= end || !strchr(path, '\\'))
        return expected(r, "the path of a key is expected, such as "
                           "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\MSCEP]");
    below = below_mscep(path);
    if (deletion) {
        delete_key(r, below != NULL, below ? below : path);
        r->key = NULL;
        return NULL;
    }
    r->mscep = below != NULL;
    r->any_mscep |= r->mscep;
    r->key = below ? below : path;
    return NULL;
}

/* ---- values ---- */

static scep_registry_value *find_value(const reader *r, const char *name)
{
    for (int i = 0; i < r->out->values->nelts; i++) {
        scep_registry_value *v = &APR_ARRAY_IDX(r->out->values, i, scep_registry_value);

        if (v->mscep == r->mscep && !strcasecmp(v->key, r->key) && !strcasecmp(v->name, name))
            return v;
    }
    return NULL;
}

/* A text in quotes, at @a *at. @param at then behind it */
static const scep_err *read_quoted(const reader *r, char **at, const char **out)
{
    char *from = *at + 1, *to = from;

    *out = to;
    for (; *from && *from != '"'; from++) {
        if (*from == '\\' && from[1] != '\\' && from[1] != '"')
            return expected(r, "a backslash is written twice: '\\\\' or '\\\"' is expected at '%s'",
                            shown(r, from));
        from += *from == '\\';
        *to++ = *from;
    }
    if (!*from)
        return expected(r, "a '\"' is expected at the end of the text");
    *to = '\0';
    *at = from + 1;
    return NULL;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Up to @a most hex digits at @a *at. @return how many there are */
static int read_digits(const char **at, int most, unsigned *out)
{
    int n = 0;

    for (*out = 0; n < most && hex_digit(**at) >= 0; n++)
        *out = *out * 16 + (unsigned)hex_digit(*(*at)++);
    return n;
}

static const scep_err *read_dword(const reader *r, const char *text, scep_registry_value *v)
{
    const char *at = text;
    unsigned number;

    if (!read_digits(&at, 8, &number) || hex_digit(*at) >= 0)
        return expected(r, "one to eight hex digits are expected behind dword:, not '%s'",
                        shown(r, text));
    v->type = SCEP_REGISTRY_NUMBER;
    v->text = apr_psprintf(r->p, "%u", number);
    return read_end(r, at);
}

/* One line of bytes. @param more it ends with a backslash: there is another one */
static const scep_err *read_bytes(const reader *r, const char *at, apr_array_header_t *out,
                                  bool *more)
{
    *more = false;
    for (at += strspn(at, BLANKS); *at && *at != ';' && *at != '\\';) {
        unsigned byte;

        if (!read_digits(&at, 2, &byte))
            return expected(r, "bytes of two hex digits with commas between are expected at '%s'",
                            shown(r, at));
        APR_ARRAY_PUSH(out, unsigned char) = (unsigned char)byte;
        at += strspn(at, BLANKS);
        if (*at != ',')
            break;
        at++;
        at += strspn(at, BLANKS);
    }
    if (*at != '\\')
        return read_end(r, at);
    *more = true;
    return read_end(r, at + 1);
}

/* What REG_SZ and its like hold: NULs end it, and stand between the texts of a REG_MULTI_SZ. */
static const scep_err *text_of_bytes(const reader *r, scep_bytes b, scep_registry_value *v)
{
    size_t len = b.len, at = 0;
    char *text = r->wide ? registry_utf8(b, &len, &at, r->p) : (char *)scep_bytes_dup(r->p, b).data;
    char *to, *from;

    if (r->wide && !text)
        return expected(r, "these bytes are expected to be a text in UTF-16LE");
    if (!text || !scep_is_utf8((scep_bytes){ (unsigned char *)text, len }, &at))
        return expected(r, REGISTRY_NO_CODE_PAGE);
    while (len && !text[len - 1])
        len--;
    /* room for ", " in place of each NUL */
    v->text = to = apr_palloc(r->p, 2 * len + 1);
    for (from = text; from < text + len; from++) {
        *to++ = *from ? *from : ',';
        if (!*from)
            *to++ = ' ';
    }
    *to = '\0';
    v->type = SCEP_REGISTRY_TEXT;
    return NULL;
}

/* The types of winnt.h that a value of NDES can have. */
static const scep_err *value_of_bytes(const reader *r, unsigned type, scep_bytes b,
                                      scep_registry_value *v)
{
    apr_uint64_t number = 0;
    size_t size = type == 11 ? 8 : 4;

    v->type = SCEP_REGISTRY_BINARY;
    v->text = "";
    switch (type) {
    case 1: /* REG_SZ */
    case 2: /* REG_EXPAND_SZ */
    case 7: /* REG_MULTI_SZ */
        return text_of_bytes(r, b, v);
    case 4:  /* REG_DWORD */
    case 5:  /* REG_DWORD_BIG_ENDIAN */
    case 11: /* REG_QWORD */
        if (b.len != size)
            return expected(r, "%d bytes are expected for hex(%x):, not %d", (int)size, type,
                            (int)b.len);
        for (size_t i = 0; i < size; i++)
            number = number << 8 | b.data[type == 5 ? i : size - 1 - i];
        v->type = SCEP_REGISTRY_NUMBER;
        v->text = apr_psprintf(r->p, "%" APR_UINT64_T_FMT, number);
        return NULL;
    default:
        return NULL;
    }
}

/* hex: or hex(TYPE):, which may go on in the next lines. */
static const scep_err *read_hex(reader *r, const char *at, scep_registry_value *v)
{
    apr_array_header_t *bytes = apr_array_make(r->p, 64, 1);
    unsigned type = 3; /* REG_BINARY */
    bool more;

    if (*at == '(') {
        at++;
        if (!read_digits(&at, 8, &type) || *at != ')')
            return expected(r, "the number of a type is expected, such as hex(2):");
        at++;
    }
    if (*at != ':')
        return expected(r, "':' is expected behind hex");
    for (at++;; at = next_line(r)) {
        if (!at)
            return expected(r, "another line of bytes is expected behind the backslash");
        SCEP_TRY(read_bytes(r, at, bytes, &more));
        if (!more)
            break;
    }
    return value_of_bytes(r, type,
                          (scep_bytes){ (unsigned char *)bytes->elts, (size_t)bytes->nelts }, v);
}

static const scep_err *read_data(reader *r, char *at, scep_registry_value *v)
{
    if (*at == '"') {
        v->type = SCEP_REGISTRY_TEXT;
        SCEP_TRY(read_quoted(r, &at, &v->text));
        return read_end(r, at);
    }
    if (!strncasecmp(at, "dword:", strlen("dword:")))
        return read_dword(r, at + strlen("dword:"), v);
    if (!strncasecmp(at, "hex", strlen("hex")))
        return read_hex(r, at + strlen("hex"), v);
    return expected(r, "\"text\", dword:, hex: or - is expected behind '=', not '%s'",
                    shown(r, at));
}

static const scep_err *read_value(reader *r, char *line)
{
    scep_registry_value v = { .key = r->key, .mscep = r->mscep, .line = r->line, .name = "" };
    scep_registry_value *former;
    char *at = line + 1;

    if (!r->key)
        return expected(r, "a key in brackets is expected before its values");
    if (*line == '"') {
        at = line;
        SCEP_TRY(read_quoted(r, &at, &v.name));
    }
    at += strspn(at, BLANKS);
    if (*at != '=')
        return expected(r, "'=' is expected behind the name of a value");
    at++;
    at += strspn(at, BLANKS);
    former = find_value(r, v.name);
    if (*at == '-') {
        SCEP_TRY(read_end(r, at + 1));
        if (former)
            *former = APR_ARRAY_IDX(r->out->values, --r->out->values->nelts, scep_registry_value);
        return NULL;
    }
    SCEP_TRY(read_data(r, at, &v));
    if (!former && r->out->values->nelts >= SCEP_REGISTRY_VALUES)
        return expected(r, "%d values at most are expected; export the MSCEP key alone",
                        SCEP_REGISTRY_VALUES);
    if (former)
        *former = v;
    else
        APR_ARRAY_PUSH(r->out->values, scep_registry_value) = v;
    return NULL;
}

static const scep_err *read_line(reader *r, char *line)
{
    switch (*line) {
    case '\0':
    case ';':
        return NULL;
    case '[':
        return read_key(r, line);
    case '"':
    case '@':
        return read_value(r, line);
    default:
        return expected(r,
                        "[KEY], \"NAME\"=VALUE, @=VALUE or a comment behind ; is expected, "
                        "not '%s'",
                        shown(r, line));
    }
}

const scep_err *scep_registry_read(scep_registry *out, scep_bytes file, const char *path,
                                   apr_pool_t *p)
{
    reader r = { .path = path, .p = p, .out = out };
    char *line;

    out->values = apr_array_make(p, 16, sizeof(scep_registry_value));
    SCEP_TRY(registry_decode(&r.next, file, path, p));
    SCEP_TRY(read_first(&r));
    while ((line = next_line(&r)))
        SCEP_TRY(read_line(&r, line));
    if (!r.any_mscep)
        return expected(&r, "the file ends, and a key that ends in Cryptography\\MSCEP is "
                            "expected: export "
                            "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\MSCEP");
    registry_map(out, p);
    return NULL;
}
