/* What a CA's rejection means. RFC 4210 5.2.3. */
#include "connector_cmp_int.h"

#include <apr_strings.h>

#define WORDS_MOST 400

/* The CA is not in order, or the exchange was not: the same request may do better. */
#define LATER                                                                         \
    (OSSL_CMP_CTX_FAILINFO_systemUnavail | OSSL_CMP_CTX_FAILINFO_timeNotAvailable |   \
     OSSL_CMP_CTX_FAILINFO_badRecipientNonce | OSSL_CMP_CTX_FAILINFO_badSenderNonce | \
     OSSL_CMP_CTX_FAILINFO_transactionIdInUse)

/* Who asks is not known, not trusted or not allowed to, or asks the wrong one: no request of any
 * device fares better until that is mended. badTime is about the clock (5.1.1). */
#define MEND                                                                           \
    (OSSL_CMP_CTX_FAILINFO_badMessageCheck | OSSL_CMP_CTX_FAILINFO_wrongIntegrity |    \
     OSSL_CMP_CTX_FAILINFO_notAuthorized | OSSL_CMP_CTX_FAILINFO_signerNotTrusted |    \
     OSSL_CMP_CTX_FAILINFO_wrongAuthority | OSSL_CMP_CTX_FAILINFO_unsupportedVersion | \
     OSSL_CMP_CTX_FAILINFO_missingTimeStamp | OSSL_CMP_CTX_FAILINFO_badTime)

cmp_verdict cmp_judge(int fail_info, bool has_proof)
{
    if (fail_info & MEND)
        return CMP_MEND;
    /* ir and cr say that the RA has verified the device's proof: a CA that does not take its word
     * takes it for no device */
    if ((fail_info & OSSL_CMP_CTX_FAILINFO_badPOP) && !has_proof)
        return CMP_MEND;
    if (fail_info & LATER)
        return CMP_LATER;
    return fail_info & OSSL_CMP_CTX_FAILINFO_systemFailure ? CMP_FAILED : CMP_DENIED;
}

const char *cmp_words(const OSSL_CMP_CTX *ctx, apr_pool_t *p)
{
    char *text = apr_pcalloc(p, OSSL_CMP_PKISI_BUFLEN);

    if (!OSSL_CMP_CTX_snprint_PKIStatus(ctx, text, OSSL_CMP_PKISI_BUFLEN))
        return "no words";
    return scep_printable(p, scep_bytes_of(text), WORDS_MOST);
}
