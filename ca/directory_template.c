/* Certificate templates of Active Directory. [MS-CRTD] section 2 */
#include "directory_template.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

#define DAY 86400
#define DAYS_MOST 36500

/* flags, 2.4 */
#define IS_CA 0x80
#define IS_CROSS_CA 0x800
/* msPKI-Certificate-Name-Flag, 2.28 */
#define ENROLLEE_SUPPLIES_SUBJECT 0x1
/* msPKI-Enrollment-Flag, 2.26 */
#define PEND_ALL_REQUESTS 0x2
#define PREVIOUS_APPROVAL 0x40
#define NO_SECURITY_EXTENSION 0x80000
/* msPKI-Private-Key-Flag, 2.27 */
#define REQUIRE_ARCHIVAL 0x1
#define ATTEST_REQUIRED 0x2000

/* What a certificate that is no CA's may have, and scep-ca can put into one. RFC 5280 4.2.1.3 */
#define DEVICE_USAGES                                                                         \
    (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION | KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT | \
     KU_KEY_AGREEMENT)

/* ---- attributes ---- */

const apr_array_header_t *directory_values(const directory_entry *e, const char *name)
{
    for (int i = 0; i < e->attributes->nelts; i++) {
        const directory_attribute *a = &APR_ARRAY_IDX(e->attributes, i, directory_attribute);

        if (!strcasecmp(a->name, name))
            return a->values->nelts ? a->values : NULL;
    }
    return NULL;
}

const char *directory_text(const directory_entry *e, const char *name)
{
    const apr_array_header_t *values = directory_values(e, name);
    const scep_bytes *first = values ? &APR_ARRAY_IDX(values, 0, scep_bytes) : NULL;

    if (!first || !first->len || memchr(first->data, '\0', first->len))
        return NULL;
    return (const char *)first->data;
}

static const scep_err *odd(const directory_entry *e, const char *name, const char *what,
                           apr_pool_t *p)
{
    return scep_fail(p, CONFIG, "%s: %s is not %s", scep_printable(p, scep_bytes_of(e->dn), 200),
                     name, what);
}

/* A flag word is an INTEGER of 32 bits, which LDAP writes with its sign: 0x80000000 is
 * -2147483648. Left out: 0. */
static const scep_err *read_number(uint32_t *out, const directory_entry *e, const char *name,
                                   apr_pool_t *p)
{
    const char *text = directory_text(e, name);
    const char *digits = text && *text == '-' ? text + 1 : text;
    size_t n = digits ? strspn(digits, "0123456789") : 0;
    apr_int64_t number;

    *out = 0;
    if (!directory_values(e, name))
        return NULL;
    if (!n || n > 10 || digits[n])
        return odd(e, name, "a number", p);
    number = apr_atoi64(text);
    if (number < INT32_MIN || number > UINT32_MAX)
        return odd(e, name, "a number of 32 bits", p);
    *out = (uint32_t)number;
    return NULL;
}

/* FILETIME in 8 bytes, negative: a length in steps of 100 ns. [MS-CRTD] 2.9 */
static const scep_err *read_period(apr_int64_t *out, const directory_entry *e, const char *name,
                                   apr_pool_t *p)
{
    const apr_array_header_t *values = directory_values(e, name);
    const scep_bytes *v = values ? &APR_ARRAY_IDX(values, 0, scep_bytes) : NULL;
    uint64_t steps = 0;

    *out = 0;
    if (!v)
        return NULL;
    if (v->len != 8)
        return odd(e, name, "a length of time in 8 bytes", p);
    for (int i = 7; i >= 0; i--)
        steps = steps << 8 | v->data[i];
    if (!(steps >> 63))
        return odd(e, name, "a length of time, which is negative there", p);
    *out = (apr_int64_t)((~steps + 1) / 10000000);
    return NULL;
}

/* The contents of a BIT STRING, one byte or two. [MS-CRTD] 2.8 */
static const scep_err *read_usage(uint32_t *out, const directory_entry *e, apr_pool_t *p)
{
    const apr_array_header_t *values = directory_values(e, "pKIKeyUsage");
    const scep_bytes *v = values ? &APR_ARRAY_IDX(values, 0, scep_bytes) : NULL;

    *out = 0;
    if (!v)
        return NULL;
    if (v->len < 1 || v->len > 2)
        return odd(e, "pKIKeyUsage", "one byte or two", p);
    *out = v->data[0] | (v->len > 1 ? (uint32_t)v->data[1] << 8 : 0);
    return NULL;
}

static bool is_oid(const char *text)
{
    size_t len = strlen(text);

    return len >= 3 && len <= 128 && strspn(text, "0123456789.") == len && apr_isdigit(*text) &&
           apr_isdigit(text[len - 1]) && !strstr(text, "..") && strchr(text, '.');
}

static const scep_err *read_purposes(apr_array_header_t **out, const directory_entry *e,
                                     apr_pool_t *p)
{
    const apr_array_header_t *values = directory_values(e, "pKIExtendedKeyUsage");

    *out = apr_array_make(p, 2, sizeof(const char *));
    for (int i = 0; values && i < values->nelts; i++) {
        const scep_bytes v = APR_ARRAY_IDX(values, i, scep_bytes);
        const char *text = (const char *)v.data;

        if (strlen(text) != v.len || !is_oid(text))
            return odd(e, "pKIExtendedKeyUsage", "an object identifier", p);
        APR_ARRAY_PUSH(*out, const char *) = text;
    }
    return NULL;
}

const scep_err *directory_template_read(directory_template *out, const directory_entry *e,
                                        apr_pool_t *p)
{
    const apr_array_header_t *descriptor = directory_values(e, "nTSecurityDescriptor");
    uint32_t schema;

    *out = (directory_template){ .name = directory_text(e, "cn"),
                                 .oid = directory_text(e, "msPKI-Cert-Template-OID") };
    if (!out->name)
        return odd(e, "cn", "a name", p);
    SCEP_TRY(read_number(&schema, e, "msPKI-Template-Schema-Version", p));
    if (schema > 100)
        return odd(e, "msPKI-Template-Schema-Version", "a version", p);
    out->schema = schema ? (int)schema : 1;
    SCEP_TRY(read_number(&out->major, e, "revision", p));
    SCEP_TRY(read_number(&out->minor, e, "msPKI-Template-Minor-Revision", p));
    SCEP_TRY(read_number(&out->minimum_bits, e, "msPKI-Minimal-Key-Size", p));
    SCEP_TRY(read_number(&out->signatures, e, "msPKI-RA-Signature", p));
    SCEP_TRY(read_number(&out->flags, e, "flags", p));
    SCEP_TRY(read_number(&out->name_flags, e, "msPKI-Certificate-Name-Flag", p));
    SCEP_TRY(read_number(&out->enrollment_flags, e, "msPKI-Enrollment-Flag", p));
    SCEP_TRY(read_number(&out->key_flags, e, "msPKI-Private-Key-Flag", p));
    SCEP_TRY(read_period(&out->seconds, e, "pKIExpirationPeriod", p));
    SCEP_TRY(read_period(&out->overlap, e, "pKIOverlapPeriod", p));
    SCEP_TRY(read_usage(&out->key_usage, e, p));
    SCEP_TRY(read_purposes(&out->purposes, e, p));
    if (descriptor)
        out->descriptor = APR_ARRAY_IDX(descriptor, 0, scep_bytes);
    return NULL;
}

/* ---- may SCEP use it? ---- */

/* Names of templates are compared by Windows without letter case. */
static bool is_offered(const directory_template *t, const apr_array_header_t *offered)
{
    for (int i = 0; i < offered->nelts; i++)
        if (!strcasecmp(APR_ARRAY_IDX(offered, i, const char *), t->name))
            return true;
    return false;
}

const char *directory_template_fault(const directory_template *t, bool agent,
                                     const apr_array_header_t *offered, apr_pool_t *p)
{
    if (!(t->name_flags & ENROLLEE_SUPPLIES_SUBJECT))
        return "the subject is not taken from the request (msPKI-Certificate-Name-Flag): the CA "
               "would write that of the account which asks; choose 'Supply in the request' on its "
               "tab Subject Name";
    if (t->flags & IS_CA)
        return "it makes CA certificates (flags, CT_FLAG_IS_CA)";
    if (t->flags & IS_CROSS_CA)
        return "it makes cross certificates of CAs (flags, CT_FLAG_IS_CROSS_CA)";
    if (t->key_usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN))
        return "its keys may sign certificates or CRLs (pKIKeyUsage)";
    if (t->key_flags & REQUIRE_ARCHIVAL)
        return "it wants the private key archived (msPKI-Private-Key-Flag), and SCEP sends none";
    if (t->key_flags & ATTEST_REQUIRED)
        return "it wants the key attested (msPKI-Private-Key-Flag), and SCEP knows no attestation";
    if (t->signatures && !agent)
        return apr_psprintf(p,
                            "it wants requests signed by %lu enrolment agents "
                            "(msPKI-RA-Signature), and there is no agent_cert",
                            (unsigned long)t->signatures);
    if (t->signatures > 1)
        return apr_psprintf(p,
                            "it wants requests signed by %lu enrolment agents "
                            "(msPKI-RA-Signature), and agent_cert is one",
                            (unsigned long)t->signatures);
    if (offered && !is_offered(t, offered))
        return "the CA does not offer it (certificateTemplates): issue it there";
    return NULL;
}

/* ---- a template of ca.conf ---- */

static const scep_err *cannot(const directory_template *t, const char *why, apr_pool_t *p)
{
    return scep_fail(p, CONFIG, "template %s of the directory: %s",
                     scep_printable(p, scep_bytes_of(t->name), 80), why);
}

const scep_err *directory_template_apply(conf_template *to, const directory_template *t,
                                         apr_pool_t *p)
{
    apr_int64_t days = t->seconds / DAY;

    if (days < 1)
        return cannot(t, "its certificates last less than a day (pKIExpirationPeriod)", p);
    if (!t->key_usage || t->key_usage & ~(uint32_t)DEVICE_USAGES)
        return cannot(t,
                      "of pKIKeyUsage, digitalSignature, nonRepudiation, keyEncipherment, "
                      "dataEncipherment and keyAgreement are accepted, at least one of them",
                      p);
    to->days = days > DAYS_MOST ? DAYS_MOST : (int)days;
    to->key_usage = t->key_usage;
    to->extended_key_usage = t->purposes->nelts ? apr_array_pstrcat(p, t->purposes, ',') : NULL;
    if (t->minimum_bits > (uint32_t)to->minimum_rsa_bits)
        to->minimum_rsa_bits = t->minimum_bits > 65536 ? 65536 : (int)t->minimum_bits;
    if (t->enrollment_flags & PEND_ALL_REQUESTS && strcmp(to->approval, "always"))
        to->approval = t->enrollment_flags & PREVIOUS_APPROVAL ? "enrol" : "always";
    if (t->enrollment_flags & NO_SECURITY_EXTENSION)
        to->allow_sid = CONF_SID_NO;
    return NULL;
}

/* A directory has no order among values, and none of them twice. RFC 4511 4.1.7 */
static bool same_purposes(const apr_array_header_t *a, const apr_array_header_t *b)
{
    bool same = a->nelts == b->nelts;

    for (int i = 0; same && i < a->nelts; i++) {
        int at = 0;

        while (at < b->nelts &&
               strcmp(APR_ARRAY_IDX(a, i, const char *), APR_ARRAY_IDX(b, at, const char *)))
            at++;
        same = at < b->nelts;
    }
    return same;
}

const char *directory_template_change(const directory_template *a, const directory_template *b)
{
    const uint32_t used = PEND_ALL_REQUESTS | PREVIOUS_APPROVAL | NO_SECURITY_EXTENSION;

    if (a->seconds != b->seconds)
        return "pKIExpirationPeriod";
    if (a->key_usage != b->key_usage)
        return "pKIKeyUsage";
    if (!same_purposes(a->purposes, b->purposes))
        return "pKIExtendedKeyUsage";
    if (a->minimum_bits != b->minimum_bits)
        return "msPKI-Minimal-Key-Size";
    if ((a->enrollment_flags ^ b->enrollment_flags) & used)
        return "msPKI-Enrollment-Flag";
    return NULL;
}
