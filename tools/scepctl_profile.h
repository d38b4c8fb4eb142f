/*
 * scepctl profile: what its files share.
 *
 *   scepctl_profile.c        the command: reads, checks and fetches what goes in
 *   scepctl_profile_name.c   the subject, read once and written as each client wants it
 *   scepctl_profile_forms.c  the configurations themselves
 *
 * Everything is checked before the first byte is printed, so that a form only writes.
 */
#ifndef SCEPCTL_PROFILE_H
#define SCEPCTL_PROFILE_H

#include "scepctl.h"

#include <openssl/x509.h>

/* One part of a subject: type is C, ST, L, O, OU or CN. */
typedef struct profile_part {
    const char *type, *value;
} profile_part;

typedef struct profile {
    const char *url;
    const char *challenge;       /* a secret; NULL: none */
    apr_array_header_t *subject; /* of profile_part, the last encoded first (RFC 4514); may be
                                  * empty */
    const char *ca_name;         /* what to call the CA on a screen; never empty */
    const char *root_sha1, *root_sha256, *issuer_sha1; /* fingerprints, upper-case hex */
    const char *root_raw;                              /* SHA-1 of the root, base64 */
    const char *root_pem;                              /* NULL: what is given ends below the root */
    const char *issuer_pem;                            /* the issuing CA */
    const char *below_pem; /* the issuing CA and what is between it and the root; "": it is one */
    const char *ra_sha256; /* fingerprints of RAs that are known, each with a space behind it */
    const char *tag;       /* of this CA: 16 hex digits */
    const char *uuid[2];   /* fresh ones */
    const char *name;      /* the subject as the client writes it */
    apr_pool_t *p;
} profile;

/* ---- scepctl_profile_name.c ---- */

/** Printable UTF-8 without control characters? XML 1.0 2.2 knows no others. */
bool profile_is_text(const char *text);

/** Read "CN=moon,O=Example" (RFC 4514, the six types above, one to a part).
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *profile_read_subject(apr_array_header_t **out, const char *text,
                                               apr_pool_t *p);

/**
 * Write the subject into @a f->name as a client takes it:
 * strongswan: pki --dn, which knows no quoting; CONFIG where a value cannot be said there;
 * certmonger: getcert -N, in the order of encoding, with backslashes; CONFIG without a root;
 * windows: CertStrToName, a quote within quotes is doubled;
 * cisco: IOS; CONFIG where a value holds what its command line would eat.
 */
SCEP_MUST const scep_err *profile_name_strongswan(profile *f);
SCEP_MUST const scep_err *profile_name_certmonger(profile *f);
SCEP_MUST const scep_err *profile_name_windows(profile *f);
SCEP_MUST const scep_err *profile_name_cisco(profile *f);

/* ---- scepctl_profile_forms.c ---- */

typedef struct profile_form {
    const char *kind;
    bool subject_needed;
    const scep_err *(*check)(profile *f); /* makes f->name; NULL: nothing to check */
    void (*print)(const profile *f);      /* on standard output, which is asked at the end */
} profile_form;

/** The form of that kind; NULL: none. */
const profile_form *profile_form_find(const char *kind);

#endif
