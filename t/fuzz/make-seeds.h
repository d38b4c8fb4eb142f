/* Writes the seeds of the fuzz targets. */
#ifndef MAKE_SEEDS_H
#define MAKE_SEEDS_H

#include "fuzz.h"

/** Write a seed: FOLDER/TARGET/NAME. */
void put_seed(const char *target, const char *name, scep_bytes data, apr_pool_t *p);

scep_bytes join_bytes(scep_bytes a, scep_bytes b, apr_pool_t *p);

/** What a GetCert carries. */
scep_bytes issuer_and_serial(const X509 *cert, const char *hex, apr_pool_t *p);

void make_reference_seeds(apr_pool_t *p);
void make_csr_seeds(apr_pool_t *p);

/** Public keys, and the certificates that they are in. */
void make_key_seeds(apr_pool_t *p);

/** Query strings, frames, texts of ca.conf and registry exports. */
void make_text_seeds(apr_pool_t *p);

/** What a certification authority of Active Directory can say. */
void make_rpc_seeds(apr_pool_t *p);

/** Security descriptors of Active Directory's templates. */
void make_directory_seeds(apr_pool_t *p);

#endif
