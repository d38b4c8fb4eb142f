/*
 * What the fuzz targets share. A target is one function, LLVMFuzzerTestOneInput(): clang's fuzzer
 * calls it with what it makes up (`make fuzz`), replay.c with the seeds (`make check`).
 *
 * A target does more than wait for a crash: it states with FIXTURE_MUST() what has to hold of
 * every result. Keys are fixed, so that an input means the same in every run.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** A pool for one input, with OpenSSL's error queue empty; nothing else outlives the input. */
apr_pool_t *fuzz_begin(void);
void fuzz_end(apr_pool_t *p);

typedef struct fuzz_party {
    X509 *cert;
    EVP_PKEY *key;
} fuzz_party;

typedef struct fuzz_keys {
    scep_ra ra;          /* t/vectors/ra.*: what every recorded request is encrypted to */
    fuzz_party rsa;      /* clients with a self-signed certificate */
    fuzz_party elliptic; /* P-256 */
    fuzz_party ca;       /* P-256 */
    fuzz_party device;   /* issued by ca; the key is rsa's */
} fuzz_keys;

/** Read from files once per process. */
const fuzz_keys *fuzz_keys_get(void);

/**
 * A mutated message fails at its signature, and what is behind that is never reached. So an input
 * may be a recipe instead, of which a signed message is made:
 *
 *   'R' signer(1) digest(1) count(1) { name(1) type(1) length(1) value }* content
 *
 * signer, digest, name and type are indices into lists, taken modulo their length; content is the
 * eContent. Any other first byte (DER begins with 0x30): the input is the message.
 */
scep_bytes fuzz_message(const uint8_t *data, size_t size, apr_pool_t *p);

/** Likewise for a CSR: 'S' and a CertificationRequestInfo, which is signed with the P-256 key. */
scep_bytes fuzz_csr(const uint8_t *data, size_t size, apr_pool_t *p);

/** Is it, to its last byte, the name that OpenSSL read? */
bool fuzz_is_name(scep_bytes der, const X509_NAME *theirs);

#endif
