/* Judgement: one rule after the other; the first that speaks refuses, and silence grants. */
#include "policy_int.h"

#include "message.h"

#include <apr_strings.h>
#include <openssl/rsa.h>
#include <string.h>

const objection *policy_object(apr_pool_t *p, scep_code code, const char *reason)
{
    objection *o = apr_pcalloc(p, sizeof(*o));

    o->code = code;
    o->reason = reason;
    return o;
}

/* Which kind of request may stand for itself by which means (RFC 8894 2.4, 2.5). Everything that
 * is not named here is refused (S-01). */
static const objection *judge_type(const policy_facts *f, apr_pool_t *p)
{
    if (f->message_type == SCEP_PKCS_REQ && !f->old)
        return NULL;
    if (f->message_type != SCEP_PKCS_REQ && f->message_type != SCEP_RENEWAL_REQ)
        return policy_object(p, SCEP_BAD_REQUEST,
                             apr_psprintf(p,
                                          "messageType %d is not served; 19 (PKCSReq) and 17 "
                                          "(RenewalReq) are",
                                          f->message_type));
    if (!f->old)
        return policy_object(p, SCEP_BAD_REQUEST,
                             "a RenewalReq without a certificate that stands for it");
    if (!f->renewal)
        return policy_object(p, SCEP_REFUSED, "a renewal; Renewal is off");
    if (f->message_type == SCEP_PKCS_REQ && !f->renewal_by_pkcs_req)
        return policy_object(p, SCEP_REFUSED,
                             "a PKCSReq that a certificate signed; SCEPRenewalByPKCSReq is off");
    return NULL;
}

/* A renewal has its certificate instead; what it sends beside that is not looked at. */
static const objection *judge_challenge(const policy_facts *f, apr_pool_t *p)
{
    if (!f->enforce_password || f->old)
        return NULL;
    if (!f->csr->challenge.len)
        return policy_object(p, SCEP_CHALLENGE_ABSENT, "the request has no challenge password");
    if (!f->challenge_good)
        return policy_object(p, SCEP_CHALLENGE,
                             "the challenge password is unknown, used or expired");
    return NULL;
}

static const objection *judge_window(const policy_facts *f, apr_pool_t *p)
{
    apr_int64_t begins = f->old_not_after - (apr_int64_t)f->window_days * 86400;

    if (!f->old || !f->window_days || f->now >= begins)
        return NULL;
    return policy_object(p, SCEP_REFUSED,
                         apr_psprintf(p,
                                      "the certificate ends in %" APR_INT64_T_FMT
                                      " days; SCEPRenewalWindow allows its renewal in the last %ld",
                                      (f->old_not_after - f->now) / 86400, f->window_days));
}

/* The digest that an X.509 signature names by its own; NID_undef: it is in the parameters, or
 * there is none that is known. */
static int digest_nid(const X509_ALGOR *signature)
{
    int nid = NID_undef;

    return OBJ_find_sigid_algs(OBJ_obj2nid(signature->algorithm), &nid, NULL) ? nid : NID_undef;
}

/* Bits of the digest that an X.509 signature uses; 0: not one that is known. */
static int digest_bits(const X509_ALGOR *signature)
{
    int nid = digest_nid(signature), bits;
    RSA_PSS_PARAMS *pss;
    const EVP_MD *md;

    if (nid != NID_undef) {
        md = EVP_get_digestbynid(nid);
        return md ? EVP_MD_get_size(md) * 8 : 0;
    }
    if (OBJ_obj2nid(signature->algorithm) != NID_rsassaPss)
        return 0;
    /* RSASSA-PSS names its digest in the parameters, SHA-1 where it names none. RFC 4055 3.1 */
    pss = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), signature->parameter);
    if (!pss)
        return 0;
    md = pss->hashAlgorithm ? EVP_get_digestbyobj(pss->hashAlgorithm->algorithm) : EVP_sha1();
    bits = md ? EVP_MD_get_size(md) * 8 : 0;
    RSA_PSS_PARAMS_free(pss);
    return bits;
}

static const objection *judge_digest(const policy_facts *f, apr_pool_t *p)
{
    int bits = digest_bits(f->csr->signature);

    if (bits >= f->minimum_hash_bits || (f->legacy && digest_nid(f->csr->signature) == NID_md5))
        return NULL;
    return policy_object(
        p, SCEP_BAD_ALG,
        apr_psprintf(p,
                     "the request is signed with a digest of %d bits; SCEPMinimumHash "
                     "asks for %d",
                     bits, f->minimum_hash_bits));
}

static const objection *judge_key(const policy_facts *f, apr_pool_t *p)
{
    int bits = EVP_PKEY_get_bits(f->csr->key);
    uint32_t encipherment = KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT;

    if (EVP_PKEY_is_a(f->csr->key, "RSA")) {
        if (bits >= f->template->minimum_rsa_bits)
            return NULL;
        return policy_object(p, SCEP_REFUSED,
                             apr_psprintf(p, "the RSA key has %d bits; template %s asks for %d",
                                          bits, f->template->name, f->template->minimum_rsa_bits));
    }
    /* RFC 8813 3: an EC key has no encipherment usage, and without any usage it has them all. */
    if (f->template->key_usage & ~encipherment)
        return NULL;
    return policy_object(
        p, SCEP_REFUSED,
        apr_psprintf(p, "template %s allows encipherment only, which no EC key can do",
                     f->template->name));
}

/* ---- the template of a certificate that scep-ca does not know ---- */

static bool purposes_have(const EXTENDED_KEY_USAGE *had, const char *name)
{
    ASN1_OBJECT *wanted = OBJ_txt2obj(name, 0);
    bool found = false;

    for (int i = 0; wanted && !found && i < sk_ASN1_OBJECT_num(had); i++)
        found = OBJ_cmp(sk_ASN1_OBJECT_value(had, i), wanted) == 0;
    ASN1_OBJECT_free(wanted);
    return found;
}

/* A certificate without extended key usage is good for everything: so a template without is wider
 * than any old certificate that has it. The other way round a certificate without is no licence for
 * purposes that have to be named, such as logging on with a smart card (S-08, S-09). */
static const objection *judge_purposes(const policy_facts *f, apr_pool_t *p)
{
    const char *purposes = f->template->extended_key_usage;
    EXTENDED_KEY_USAGE *had;
    const char *wider = NULL;
    char *state = NULL;

    if (!f->old || f->old_known)
        return NULL;
    had = X509_get_ext_d2i(f->old, NID_ext_key_usage, NULL, NULL);
    if (!purposes && X509_get_ext_by_NID(f->old, NID_ext_key_usage, -1) >= 0)
        wider = "any";
    for (char *name = purposes ? apr_strtok(apr_pstrdup(p, purposes), ",", &state) : NULL;
         name && !wider; name = apr_strtok(NULL, ",", &state))
        wider = purposes_have(had, name) ? NULL : name;
    sk_ASN1_OBJECT_pop_free(had, ASN1_OBJECT_free);
    if (!wider)
        return NULL;
    return policy_object(p, SCEP_REFUSED,
                         apr_psprintf(p,
                                      "template %s has the extended key usage %s, which the "
                                      "certificate to renew has not; scep-ca did not issue it",
                                      f->template->name, wider));
}

/* The stricter of the endpoint and the template. */
static bool is_pended(const policy_facts *f)
{
    if (!strcmp(f->approval, "always") || !strcmp(f->template->approval, "always"))
        return true;
    return !f->old && (!strcmp(f->approval, "enrol") || !strcmp(f->template->approval, "enrol"));
}

policy_verdict policy_judge(const policy_facts *facts, apr_pool_t *p)
{
    /* Who is asking comes first: without a challenge nothing else is told. */
    static const policy_rule rules[] = {
        judge_type,
        judge_challenge,
        policy_judge_binding, /* nor may names be tried one after the other */
        judge_window,
        judge_digest,
        judge_key,
        policy_judge_subject,
        policy_judge_alt_names,
        policy_judge_sid,
        policy_judge_same_names,
        judge_purposes,
    };
    bool uses_challenge = facts->enforce_password && !facts->old;

    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
        const objection *o = rules[i](facts, p);

        if (o)
            return (policy_verdict){ POLICY_DENY, o->code, o->reason, o->uses_challenge };
    }
    if (is_pended(facts))
        return (policy_verdict){ POLICY_PEND, SCEP_OK, "it waits for approval", uses_challenge };
    return (policy_verdict){ POLICY_GRANT, SCEP_OK, "every rule is met", uses_challenge };
}
