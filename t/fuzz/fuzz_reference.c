/* lib/reference.h: which certificate a GetCert or GetCRL means. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    scep_reference r;
    const scep_err *err = scep_reference_serial(&r, (scep_bytes){ data, size }, p);

    if (err) {
        FIXTURE_MUST(err->code == SCEP_UNREADABLE);
    } else {
        const char *digits = r.serial + (*r.serial == '-');
        const unsigned char *at = r.issuer_der.data;
        X509_NAME *again = scep_X509_NAME(p, d2i_X509_NAME(NULL, &at, (long)r.issuer_der.len));

        FIXTURE_MUST(again && at == r.issuer_der.data + r.issuer_der.len);
        FIXTURE_MUST(X509_NAME_cmp(again, r.issuer) == 0);
        FIXTURE_MUST(*digits && strlen(digits) <= 128);
        FIXTURE_MUST(strspn(digits, "0123456789ABCDEF") == strlen(digits));
    }
    fuzz_end(p);
    return 0;
}
