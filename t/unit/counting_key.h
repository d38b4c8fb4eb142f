/* An RSA key that counts what is asked of its private half. */
#ifndef COUNTING_KEY_H
#define COUNTING_KEY_H

#include "fixture.h"

/** The same key, with a count. */
EVP_PKEY *counting_key(EVP_PKEY *rsa, apr_pool_t *p);

/** How many private decryptions all counting keys together have done since the last call. */
int counting_key_decryptions(void);

#endif
