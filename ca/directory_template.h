/*
 * Certificate templates of Active Directory: attributes of pKICertificateTemplate become facts
 * ([MS-CRTD] section 2). Pure; what it reads may be hostile.
 */
#ifndef CA_DIRECTORY_TEMPLATE_H
#define CA_DIRECTORY_TEMPLATE_H

#include "bytes.h"
#include "conf.h"

/** What a directory says of one object. */
typedef struct directory_attribute {
    const char *name;
    apr_array_header_t *values; /* of scep_bytes, each with a NUL behind it */
} directory_attribute;

typedef struct directory_entry {
    const char *dn;
    apr_array_header_t *attributes; /* of directory_attribute */
} directory_entry;

/** @return its values, of scep_bytes, at least one; NULL: it has none */
const apr_array_header_t *directory_values(const directory_entry *e, const char *name);

/** The first one, if it is text without a NUL in it; NULL: there is none. */
const char *directory_text(const directory_entry *e, const char *name);

typedef struct directory_template {
    const char *name;             /* cn */
    const char *oid;              /* msPKI-Cert-Template-OID; NULL: of the first version */
    int schema;                   /* msPKI-Template-Schema-Version; 1 where it is left out */
    uint32_t major, minor;        /* revision */
    apr_int64_t seconds, overlap; /* pKIExpirationPeriod, pKIOverlapPeriod */
    uint32_t key_usage;           /* KU_… bits; 0: none */
    apr_array_header_t *purposes; /* pKIExtendedKeyUsage: of const char *, OIDs; may be empty */
    uint32_t minimum_bits;
    uint32_t signatures; /* msPKI-RA-Signature */
    uint32_t flags, name_flags, enrollment_flags, key_flags;
    scep_bytes descriptor; /* nTSecurityDescriptor; len 0: not shown */
} directory_template;

/** @return NULL, or CONFIG: an attribute is not what it should be */
SCEP_MUST const scep_err *directory_template_read(directory_template *out, const directory_entry *e,
                                                  apr_pool_t *p);

/**
 * Why SCEP may not use it. NULL: it may.
 * @param agent is there an enrolment agent who signs requests?
 * @param offered the CA's certificateTemplates, of const char *; NULL: it is not known
 */
const char *directory_template_fault(const directory_template *t, bool agent,
                                     const apr_array_header_t *offered, apr_pool_t *p);

/** Give a template of ca.conf what stands there: days, key usage, extended key usage, the larger
 *  minimum, what waits for approval, and no SID where it forbids one.
 *  @return NULL, or CONFIG: it cannot be had here */
SCEP_MUST const scep_err *directory_template_apply(conf_template *to, const directory_template *t,
                                                   apr_pool_t *p);

/** In what both differ that apply() uses, in a word. NULL: in nothing. */
const char *directory_template_change(const directory_template *a, const directory_template *b);

#endif
