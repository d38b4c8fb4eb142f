/* What is sent to the CA: a device's request as it is, or signed by an enrolment agent ([MS-WCCE]
 * 3.2.2.6.2.1.2.1): SignedData whose content is the PKCS#10. */
#include "connector_adcs_int.h"

#include "certs.h"
#include "clock.h"
#include "key.h"

#define AGENT_PURPOSE "1.3.6.1.4.1.311.20.2.1"

static bool has_purpose(X509 *cert)
{
    EXTENDED_KEY_USAGE *list = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    ASN1_OBJECT *wanted = OBJ_txt2obj(AGENT_PURPOSE, 1);
    bool found = false;

    for (int i = 0; wanted && i < sk_ASN1_OBJECT_num(list) && !found; i++)
        found = OBJ_cmp(sk_ASN1_OBJECT_value(list, i), wanted) == 0;
    ASN1_OBJECT_free(wanted);
    sk_ASN1_OBJECT_pop_free(list, ASN1_OBJECT_free);
    return found;
}

const scep_err *adcs_agent_load(scep_signer *out, const conf_authority *authority, apr_pool_t *p)
{
    STACK_OF(X509) * certs;

    if (!authority->adcs.agent_cert)
        return NULL;
    SCEP_TRY(scep_certs_load(&certs, authority->adcs.agent_cert, p));
    out->cert = sk_X509_value(certs, 0);
    SCEP_TRY(scep_key_load(&out->key, authority->adcs.agent_key, p));
    if (X509_check_private_key(out->cert, out->key) != 1)
        return scep_fail(p, CONFIG,
                         "[authority %s]: agent_key %s is not the key of the first certificate in "
                         "agent_cert %s",
                         authority->name, authority->adcs.agent_key, authority->adcs.agent_cert);
    if (!has_purpose(out->cert))
        return scep_fail(p, CONFIG,
                         "[authority %s]: agent_cert %s is no enrolment agent's: the purpose "
                         "Certificate Request Agent (" AGENT_PURPOSE ") is missing",
                         authority->name, authority->adcs.agent_cert);
    return NULL;
}

static const scep_err *agent_sign(scep_bytes *out, const scep_signer *agent, scep_bytes csr,
                                  apr_pool_t *p)
{
    const unsigned int flags = CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP;
    BIO *content = scep_BIO(p, BIO_new_mem_buf(csr.data, (int)csr.len));
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(p, CMS_sign(NULL, NULL, NULL, NULL, flags));

    /* the digest is said, as a key's own default may be another one */
    if (!content || !cms || !CMS_add1_signer(cms, agent->cert, agent->key, EVP_sha256(), flags) ||
        !CMS_final(cms, content, NULL, CMS_BINARY))
        return scep_fail(p, CONFIG, "agent_key does not sign a request");
    return scep_cms_der(out, cms, p);
}

const scep_err *adcs_request(icpr_request *out, const adcs *a, const connector_ask *ask,
                             apr_pool_t *p)
{
    time_t now = (time_t)apr_time_sec(scep_now());

    *out = (icpr_request){ ICPR_PKCS10, ask->csr->der, ask->template->ca_template };
    if (!a->agent.key)
        return NULL;
    if (X509_cmp_time(X509_get0_notAfter(a->agent.cert), &now) != 1)
        return scep_fail(p, CONFIG, "the enrolment agent's certificate, agent_cert %s, has ended",
                         a->authority->adcs.agent_cert);
    out->format = ICPR_PKCS7;
    return agent_sign(&out->der, &a->agent, ask->csr->der, p);
}
