/* What the two files of scep-request share. */
#ifndef SCEP_REQUEST_H
#define SCEP_REQUEST_H

#include "fixture.h"

/* The command line; NULL: not given. */
typedef struct options {
    const char *recipient, *ca_ra, *out, *challenge_file, *subject, *san, *key_usage, *ext;
    const char *cipher, *digest, *type, *transaction_id, *key, *signer, *signer_key, *spoil;
    const char *request, *reply, *count, *keys, *ber;
} options;

/** End the program with a message and what OpenSSL has to say. */
_Noreturn void die(const char *what, const char *which);

/* Each dies where the file is not what it should be. */
scep_bytes read_file(const char *path, apr_pool_t *p);
void write_file(const char *path, scep_bytes content);
X509 *read_cert(const char *path, apr_pool_t *p);
void write_cert(const char *path, X509 *cert, apr_pool_t *p);
EVP_PKEY *read_key(const char *path, apr_pool_t *p);
void write_key(const char *path, EVP_PKEY *key, apr_pool_t *p);
X509_STACK *read_ca_ra(const char *path, apr_pool_t *p);

/** Write requests. @return the program's exit status */
int command_new(const options *o, apr_pool_t *p);

#endif
