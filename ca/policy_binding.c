/*
 * What a challenge is bound to (S-04, CERT VU#971035): made canonical when it is minted, compared
 * when it comes back.
 */
#include "policy_int.h"

#include "certs.h"
#include "oid.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <openssl/err.h>
#include <string.h>

#define MOST_NAMES 64

/* ---- a subject: RFC 4514 ---- */

#define SUBJECT_WANTED                                                                           \
    "parts like CN=…, OU=…, O=… with commas between them are accepted, the most specific " \
    "first, one value each, and one of , + \" \\ < > ; inside a value behind a backslash"

/* "\," stands for a comma, "\C3" for a byte (RFC 4514 2.4). */
static bool read_escaped(unsigned char *out, const char **at)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    const char *c = *at + 1;
    const char *high, *low;

    if (*c && strchr(",+\"\\<>;=# ", *c)) {
        *out = (unsigned char)*c;
        *at += 2;
        return true;
    }
    high = *c ? strchr(digits, *c) : NULL;
    low = high && c[1] ? strchr(digits, c[1]) : NULL;
    if (!low)
        return false;
    *out = (unsigned char)((high - digits) % 16 << 4 | (low - digits) % 16);
    *at += 3;
    return true;
}

static bool is_utf8(const unsigned char *text, int len)
{
    unsigned long character;

    for (int n; len > 0; text += n, len -= n) {
        n = UTF8_getc(text, len, &character);
        if (n <= 0)
            return false;
    }
    return true;
}

/* Up to a comma or the end. Blanks around a value are no part of it unless they are escaped. */
static bool read_value(unsigned char *value, int *len, const char **at)
{
    int kept = 0;

    *len = 0;
    *at += strspn(*at, " ");
    if (**at == '#')
        return false;
    while (**at && **at != ',') {
        bool escaped = **at == '\\';

        if (escaped ? !read_escaped(&value[*len], at) : strchr("+\"<>;", **at) != NULL)
            return false;
        if (!escaped)
            value[*len] = (unsigned char)*(*at)++;
        (*len)++;
        if (escaped || value[*len - 1] != ' ')
            kept = *len;
    }
    *len = kept;
    return kept > 0 && is_utf8(value, kept);
}

/* The part written first is encoded last. */
static bool read_part(X509_NAME *name, const char **at, apr_pool_t *p)
{
    unsigned char *value = apr_palloc(p, strlen(*at) + 1);
    ASN1_OBJECT *type;
    size_t len;
    int size;

    *at += strspn(*at, " ");
    len = strcspn(*at, "=, ");
    type = scep_ASN1_OBJECT(p, OBJ_txt2obj(apr_pstrndup(p, *at, len), 0));
    *at += len + strspn(*at + len, " ");
    if (!type || **at != '=')
        return false;
    ++*at;
    /* Not as MBSTRING: what OpenSSL's table of lengths refuses, devices send all the same. */
    return read_value(value, &size, at) &&
           X509_NAME_add_entry_by_OBJ(name, type, V_ASN1_UTF8STRING, value, size, 0, 0);
}

static const scep_err *bind_subject(const char **out, const char *text, apr_pool_t *p)
{
    X509_NAME *name = scep_X509_NAME(p, X509_NAME_new());
    const char *at = text;
    const char *fault;
    bool more = true;

    if (!name)
        return scep_fail(p, INTERNAL, "out of memory");
    while (more) {
        if (!read_part(name, &at, p)) {
            ERR_clear_error(); /* whoever asks reads the sentence alone */
            return scep_fail(p, BAD_REQUEST, "the subject cannot be read: " SUBJECT_WANTED);
        }
        more = *at == ',';
        at += more;
    }
    fault = policy_name_fault(name, p);
    if (fault)
        return scep_fail(p, BAD_REQUEST, "the subject %s", fault);
    *out = scep_name_line(name, p);
    return NULL;
}

/* ---- alternative names ---- */

static void lower(char *at)
{
    for (; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
}

static const char *ia5_line(int kind, const ASN1_IA5STRING *value, apr_pool_t *p)
{
    const char *at = (const char *)ASN1_STRING_get0_data(value);
    char *text, *domain;

    if (policy_ia5_fault(value))
        return NULL;
    text = apr_pstrndup(p, at, (apr_size_t)ASN1_STRING_length(value));
    domain = strrchr(text, '@');
    if (kind == GEN_DNS)
        lower(text);
    if (kind == GEN_EMAIL && domain)
        lower(domain);
    return apr_pstrcat(p,
                       kind == GEN_DNS     ? "DNS:"
                       : kind == GEN_EMAIL ? "email:"
                                           : "URI:",
                       text, NULL);
}

static const char *ip_line(const ASN1_OCTET_STRING *value, apr_pool_t *p)
{
    int len = ASN1_STRING_length(value);
    char text[INET6_ADDRSTRLEN];

    if ((len != 4 && len != 16) ||
        !inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), text, sizeof(text)))
        return NULL;
    return apr_pstrcat(p, "IP:", text, NULL);
}

/* A name as it is stored and compared: one line of ASCII. NULL: no challenge is bound to such. */
static const char *canonical(const GENERAL_NAME *name, apr_pool_t *p)
{
    switch (name->type) {
    case GEN_DNS:
    case GEN_EMAIL:
    case GEN_URI:
        return ia5_line(name->type, name->d.ia5, p);
    case GEN_IPADD:
        return ip_line(name->d.iPAddress, p);
    default:
        return NULL;
    }
}

/* NULL: not to be read. */
static const char *bind_name(const char *text, apr_pool_t *p)
{
    static const struct {
        const char *kind;
        int type;
    } kinds[] = {
        { "DNS:", GEN_DNS }, { "email:", GEN_EMAIL }, { "IP:", GEN_IPADD }, { "URI:", GEN_URI }
    };
    const char *line = NULL;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        size_t len = strlen(kinds[i].kind);
        GENERAL_NAME *name = NULL;

        if (!strncmp(text, kinds[i].kind, len))
            name = a2i_GENERAL_NAME(NULL, NULL, NULL, kinds[i].type, text + len, 0);
        if (name)
            line = canonical(name, p);
        GENERAL_NAME_free(name);
    }
    return line;
}

static const scep_err *bind_names(const char **out, const apr_array_header_t *names, apr_pool_t *p)
{
    apr_array_header_t *lines = apr_array_make(p, names->nelts, sizeof(const char *));

    if (names->nelts > MOST_NAMES)
        return scep_fail(p, BAD_REQUEST, "there are %d names, %d are accepted", names->nelts,
                         MOST_NAMES);
    for (int i = 0; i < names->nelts; i++) {
        const char *line = bind_name(APR_ARRAY_IDX(names, i, const char *), p);

        if (!line) {
            ERR_clear_error();
            return scep_fail(p, BAD_REQUEST,
                             "name %d cannot be read: \"DNS:…\", \"email:…\", \"IP:…\" and "
                             "\"URI:…\" are accepted, in printable ASCII of at most 1024 bytes",
                             i + 1);
        }
        APR_ARRAY_PUSH(lines, const char *) = line;
    }
    *out = apr_array_pstrcat(p, lines, '\n');
    return NULL;
}

const scep_err *policy_bind(policy_binding *out, const char *subject,
                            const apr_array_header_t *names, apr_pool_t *p)
{
    out->subject = out->names = "";
    if (*subject)
        SCEP_TRY(bind_subject(&out->subject, subject, p));
    return names->nelts ? bind_names(&out->names, names, p) : NULL;
}

/* ---- a request ---- */

static bool is_bound(const char *text)
{
    return text && *text;
}

static const char *other_subject(const policy_facts *f, apr_pool_t *p)
{
    const X509_NAME *subject = f->csr->subject;

    if (!is_bound(f->bound.subject) || !strcmp(scep_name_line(subject, p), f->bound.subject))
        return NULL;
    return apr_psprintf(p, "the subject \"%s\"", f->bound.subject);
}

/* Is it one of the lines? A canonical name holds no newline. */
static bool is_among(const char *name, const char *lines)
{
    size_t len = strlen(name);

    for (const char *at = lines; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (!strncmp(at, name, len) && (at[len] == '\n' || !at[len]))
            return true;
    }
    return false;
}

/* A name that cannot be read is left to the rule about those; it is issued in no case. */
static const char *other_names(const policy_facts *f, apr_pool_t *p)
{
    const char *lines = is_bound(f->bound.names) ? f->bound.names : "";
    GENERAL_NAMES *names;

    if (!*lines && !is_bound(f->bound.subject))
        return NULL;
    if (X509v3_get_ext_by_OBJ(f->csr->extensions, scep_oid(SCEP_OID_MICROSOFT_SID), -1) >= 0)
        return "names without a Microsoft SID";
    if (policy_alt_names(&names, f->csr, p) != 1)
        return NULL;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const char *name = canonical(sk_GENERAL_NAME_value(names, i), p);

        if (!name || !is_among(name, lines))
            return apr_psprintf(p, "other alternative names than %s",
                                name ? name : "one of a kind that is never bound");
    }
    return NULL;
}

static const char *other_template(const policy_facts *f, apr_pool_t *p)
{
    const char *bound = f->bound.template_name;

    if (!is_bound(bound) || !strcmp(bound, f->template->name))
        return NULL;
    return apr_psprintf(p, "template %s", bound);
}

/* A renewal has no challenge, and where none is enforced none is looked at. */
const objection *policy_judge_binding(const policy_facts *f, apr_pool_t *p)
{
    static const char *(*const rules[])(const policy_facts *, apr_pool_t *) = {
        other_subject,
        other_names,
        other_template,
    };
    const char *bound = NULL;
    objection *o;

    if (!f->enforce_password || f->old)
        return NULL;
    for (size_t i = 0; !bound && i < sizeof(rules) / sizeof(*rules); i++)
        bound = rules[i](f, p);
    if (!bound)
        return NULL;
    o = apr_palloc(p, sizeof(*o));
    *o = (objection){
        SCEP_BAD_SUBJECT,
        apr_psprintf(p, "the challenge is bound to %s; it is used up", bound),
        true,
    };
    return o;
}
