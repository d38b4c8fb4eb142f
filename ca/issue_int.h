/*
 * Inside of issue: certificates put together from bytes, as most of each is known beforehand or
 * was received. Nobody else includes this.
 */
#ifndef CA_ISSUE_INT_H
#define CA_ISSUE_INT_H

#include "issue.h"

/* X.690 8.1.2, 8.14 */
enum {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_OID = 0x06,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_TAG = 0x80,  /* | n: [n] IMPLICIT of a primitive type */
    DER_WRAP = 0xA0, /* | n: [n] of a constructed one, or EXPLICIT */
};

/** The parts, one behind the other. */
scep_bytes issue_joined(const scep_bytes *parts, size_t n, apr_pool_t *p);

/** One element: its tag, its length, and the parts one behind the other. X.690 8.1, 10.1 */
scep_bytes issue_der(uint8_t tag, const scep_bytes *parts, size_t n, apr_pool_t *p);

/* The same with the parts as arguments. */
#define DER(p, tag, ...)                                \
    issue_der(tag, (const scep_bytes[]){ __VA_ARGS__ }, \
              sizeof((const scep_bytes[]){ __VA_ARGS__ }) / sizeof(scep_bytes), p)

/* What a template says, encoded. */
struct issue_profile {
    const conf_template *template;
    scep_bytes rsa, ec; /* basicConstraints, keyUsage, extKeyUsage: by the kind of the key */
    scep_bytes places;  /* cRLDistributionPoints, authorityInfoAccess */
};

SCEP_MUST const scep_err *issue_profile_make(issue_profile *out, const conf_template *template,
                                             apr_pool_t *p);

/** authorityKeyIdentifier of what @a ca signs. */
SCEP_MUST const scep_err *issue_authority(scep_bytes *out, X509 *ca, apr_pool_t *p);

/** extensions [3] of a certificate. */
SCEP_MUST const scep_err *issue_extensions(scep_bytes *out, const issue_ca *ca,
                                           const issue_profile *profile, const scep_csr *csr,
                                           apr_pool_t *p);

#endif
