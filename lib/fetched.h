/*
 * Digests and ciphers, looked up once per process. EVP_sha256() and its like are looked up again at
 * each use, under a lock, which costs more than to hash a few hundred bytes. Never freed, as
 * threads may outlive any moment at which they could be. Private to the library.
 */
#ifndef SCEP_FETCHED_H
#define SCEP_FETCHED_H

#include <openssl/evp.h>

/** SHA-1/224/256/384/512 by NID. @return NULL: another one */
const EVP_MD *scep_fetched_digest(int nid);

/** AES-128/192/256-CBC and 3DES by NID. @return NULL: another one */
const EVP_CIPHER *scep_fetched_cipher(int nid);

#endif
