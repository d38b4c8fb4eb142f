/* What GetCACaps says. */
#include "caps.h"

#include <apr_strings.h>

const char *scep_caps_text(const scep_accept *accept, bool renewal, bool next, apr_pool_t *p)
{
    int least = accept->minimum_hash_bits;

    /* RFC 8894 3.5.2: a client takes the best that is listed, so what is refused is not listed.
     * SCEPStandard promises SHA-256 among others. */
    return apr_pstrcat(p, "AES\nDES3", next ? "\nGetNextCACert" : "", "\nPOSTPKIOperation",
                       renewal ? "\nRenewal" : "", least <= 256 ? "\nSCEPStandard" : "",
                       least <= 160 ? "\nSHA-1" : "", least <= 256 ? "\nSHA-256" : "",
                       least <= 384 ? "\nSHA-384" : "", "\nSHA-512", NULL);
}
