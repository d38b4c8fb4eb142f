/* `scep-ca init`: set-up without questions. */
#ifndef CA_INIT_H
#define CA_INIT_H

#include "certrep.h"

#include <stdbool.h>

/**
 * scep-ca init --out FOLDER [--ca-key KIND] [--ra-key KIND] [--ca-name DN] [--ra-name DN]
 * [--ca-days N] [--ra-days N] [--owner USER] [--crl-url URL] [--issuer-url URL]: writes ca.key,
 * ca.pem, ra-sign.*, ra-decrypt.*, store.key, ca.conf and the folders state/ and public/, which
 * belong to USER: all else is opened before scep-ca drops privileges, and httpd reads public/ only.
 * Refuses a FOLDER that is not empty.
 * @param argv "init" is argv[0]
 * @return exit status: 0, 1 failed, 2 usage
 */
int init_main(int argc, char **argv, apr_pool_t *p);

/* What to make. */
typedef struct init_plan {
    const char *out;               /* absolute */
    const char *ca_key, *ra_key;   /* kinds, as in key.h */
    const char *ca_name, *ra_name; /* "CN=a,O=b" */
    int ca_days, ra_days;
    const char *owner;   /* of state/ and public/; NULL: who runs this */
    const char *crl_url; /* NULL: none */
    const char *issuer_url;
} init_plan;

/* What was made. */
typedef struct init_made {
    bool touched; /* something is in the folder now */
    scep_signer ca, ra_sign, ra_decrypt;
} init_made;

/** Keys and certificates, in memory. @return NULL, or CONFIG: a name or kind is not acceptable */
SCEP_MUST const scep_err *init_identities(init_made *out, const init_plan *plan, apr_pool_t *p);

/** The folder and all its files. @return NULL, or CONFIG; made->touched says what is left */
SCEP_MUST const scep_err *init_files(init_made *made, const init_plan *plan, apr_pool_t *p);

#endif
