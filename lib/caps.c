/* What GetCACaps says. */
#include "caps.h"

#define CIPHERS_AND_TRANSPORT "AES\nDES3\nPOSTPKIOperation\nSCEPStandard"

const char *scep_caps_text(const scep_accept *accept)
{
    /* RFC 8894 3.5.2: a client takes the best that is listed, so what is refused is not listed */
    if (accept->minimum_hash_bits <= 160)
        return CIPHERS_AND_TRANSPORT "\nSHA-1\nSHA-256\nSHA-384\nSHA-512";
    if (accept->minimum_hash_bits <= 256)
        return CIPHERS_AND_TRANSPORT "\nSHA-256\nSHA-384\nSHA-512";
    if (accept->minimum_hash_bits <= 384)
        return CIPHERS_AND_TRANSPORT "\nSHA-384\nSHA-512";
    return CIPHERS_AND_TRANSPORT "\nSHA-512";
}
