/* The CA that scep-ca is itself: a chain from a file, and its key. */
#include "connector.h"

#include "certs.h"
#include "key.h"

#include <apr_strings.h>
#include <string.h>

/* Behind an error: ", with key …" where it is in a token, which may be away. */
static const char *with_key(const EVP_PKEY *key, apr_pool_t *p)
{
    const char *where = scep_key_where(key);

    return where ? apr_pstrcat(p, ", with ", where, NULL) : "";
}

static const scep_err *local_submit(connector_answer *out, connector *self,
                                    const connector_ask *ask, apr_pool_t *p)
{
    const issue_ca *ca = self->data;
    const scep_err *err;

    *out = (connector_answer){ .outcome = CONNECTOR_ISSUED };
    err = issue_certificate(&out->cert, ca, ask->template, ask->csr, p);
    if (err)
        return scep_fail(p, UNAVAILABLE, "%s%s", err->detail, with_key(ca->key, p));
    return NULL;
}

static const scep_err *local_sign_crl(X509_CRL *crl, connector *self, apr_pool_t *p)
{
    const issue_ca *ca = self->data;

    if (!X509_CRL_sign(crl, ca->key, issue_digest(ca->key)))
        return scep_fail(p, UNAVAILABLE, "the CA key does not sign a CRL%s", with_key(ca->key, p));
    return NULL;
}

/* Only who says where it goes gets one: this CA's CRL may be somebody else's business. */
static const scep_err *crl_wanted(const scep_err *(**out)(X509_CRL *, connector *, apr_pool_t *),
                                  X509 *ca, const conf_authority *a, apr_pool_t *p)
{
    *out = NULL;
    if (!a->crl_file)
        return NULL;
    /* RFC 5280 4.2.1.3 */
    if (!(X509_get_key_usage(ca) & KU_CRL_SIGN))
        return scep_fail(p, CONFIG,
                         "[authority %s]: ca_cert \"%s\" may not sign CRLs (keyUsage cRLSign), and "
                         "crl_file asks for one; leave crl_file out, or renew the CA with that "
                         "usage",
                         a->name, scep_name_line(X509_get_subject_name(ca), p));
    *out = local_sign_crl;
    return NULL;
}

const scep_err *connector_local_open(connector *c, const conf_authority *authority, apr_pool_t *p)
{
    X509 *cert = sk_X509_value(c->chain, 0);
    apr_array_header_t *known = apr_array_make(p, 4, sizeof(const conf_template *));
    const issue_ca *ca;
    EVP_PKEY *key;

    SCEP_TRY(scep_key_load(&key, authority->ca_key, p));
    if (X509_check_private_key(cert, key) != 1)
        return scep_fail(p, CONFIG,
                         "[authority %s]: ca_key %s is not the key of the first certificate in "
                         "ca_cert %s",
                         authority->name, authority->ca_key, authority->ca_cert);
    if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "EC"))
        return scep_fail(p, CONFIG, "[authority %s]: ca_key %s: RSA and EC keys are accepted",
                         authority->name, authority->ca_key);
    SCEP_TRY(crl_wanted(&c->sign_crl, cert, authority, p));
    /* what the directory says is not known yet: those are encoded with each certificate */
    for (int i = 0; authority->templates && i < authority->templates->nelts; i++) {
        const conf_template *t = APR_ARRAY_IDX(authority->templates, i, const conf_template *);

        if (!t->from_directory)
            APR_ARRAY_PUSH(known, const conf_template *) = t;
    }
    SCEP_TRY(issue_ca_make(&ca, cert, key, known, p));
    c->submit = local_submit;
    c->data = (void *)ca;
    return NULL;
}
