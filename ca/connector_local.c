/* The CA that scep-ca is itself: a key and a chain from files. */
#include "connector.h"

#include "certs.h"
#include "clock.h"
#include "key.h"

#include <string.h>

static const scep_err *local_submit(connector_answer *out, connector *self,
                                    const conf_template *template, const scep_csr *csr,
                                    apr_pool_t *p)
{
    const scep_err *err;

    *out = (connector_answer){ .outcome = CONNECTOR_ISSUED };
    err = issue_certificate(&out->cert, self->data, template, csr, p);
    if (err)
        return scep_fail(p, UNAVAILABLE, "%s", err->detail);
    return NULL;
}

static const scep_err *local_sign_crl(X509_CRL *crl, connector *self, apr_pool_t *p)
{
    const issue_ca *ca = self->data;

    if (!X509_CRL_sign(crl, ca->key, issue_digest(ca->key)))
        return scep_fail(p, UNAVAILABLE, "the CA key does not sign a CRL");
    return NULL;
}

static const scep_err *issuer_check(X509 *cert, const conf_authority *a, apr_pool_t *p)
{
    time_t now = (time_t)apr_time_sec(scep_now());
    const char *name = scep_name_line(X509_get_subject_name(cert), p);
    uint32_t flags = X509_get_extension_flags(cert);

    if (!(flags & EXFLAG_CA) || (flags & EXFLAG_INVALID))
        return scep_fail(p, CONFIG,
                         "[authority %s]: ca_cert %s begins with \"%s\", which is no CA "
                         "certificate (basicConstraints CA:TRUE); the issuing CA stands first",
                         a->name, a->ca_cert, name);
    if (!(X509_get_key_usage(cert) & KU_KEY_CERT_SIGN))
        return scep_fail(p, CONFIG,
                         "[authority %s]: ca_cert \"%s\" may not sign certificates (keyUsage "
                         "keyCertSign)",
                         a->name, name);
    if (X509_cmp_time(X509_get0_notBefore(cert), &now) != -1)
        return scep_fail(p, CONFIG,
                         "[authority %s]: ca_cert \"%s\" is not valid yet; set the clock", a->name,
                         name);
    if (X509_cmp_time(X509_get0_notAfter(cert), &now) != 1)
        return scep_fail(p, CONFIG, "[authority %s]: ca_cert \"%s\" has ended; renew the CA",
                         a->name, name);
    return NULL;
}

/* Did the key of @a issuer sign @a cert? */
static bool is_signed_by(X509 *cert, X509 *issuer)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);

    return key && !X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(issuer)) &&
           X509_verify(cert, key) == 1;
}

/* The thumbprint of the root is on the challenge page, so the chain has to reach it. */
static const scep_err *chain_check(const STACK_OF(X509) * chain, const conf_authority *a,
                                   apr_pool_t *p)
{
    X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);

    for (int i = 0; i + 1 < sk_X509_num(chain); i++)
        if (!is_signed_by(sk_X509_value(chain, i), sk_X509_value(chain, i + 1)))
            return scep_fail(
                p, CONFIG,
                "[authority %s]: in ca_cert %s, \"%s\" is not signed by what follows it, \"%s\"; "
                "the issuing CA stands first, each next one signed the one before, the root "
                "stands last",
                a->name, a->ca_cert,
                scep_name_line(X509_get_subject_name(sk_X509_value(chain, i)), p),
                scep_name_line(X509_get_subject_name(sk_X509_value(chain, i + 1)), p));
    if (!is_signed_by(last, last))
        return scep_fail(p, CONFIG,
                         "[authority %s]: ca_cert %s ends with \"%s\", which is not self-signed; "
                         "append the certificates up to the root, \"%s\" next",
                         a->name, a->ca_cert, scep_name_line(X509_get_subject_name(last), p),
                         scep_name_line(X509_get_issuer_name(last), p));
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

const scep_err *connector_local_open(connector **out, const conf_authority *authority,
                                     apr_pool_t *p)
{
    connector *c = apr_pcalloc(p, sizeof(*c));
    const issue_ca *ca;
    EVP_PKEY *key;
    X509 *cert;

    SCEP_TRY(scep_certs_load(&c->chain, authority->ca_cert, p));
    SCEP_TRY(scep_key_load(&key, authority->ca_key, p));
    cert = sk_X509_value(c->chain, 0);
    SCEP_TRY(issuer_check(cert, authority, p));
    SCEP_TRY(chain_check(c->chain, authority, p));
    if (X509_check_private_key(cert, key) != 1)
        return scep_fail(p, CONFIG,
                         "[authority %s]: ca_key %s is not the key of the first certificate in "
                         "ca_cert %s",
                         authority->name, authority->ca_key, authority->ca_cert);
    if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "EC"))
        return scep_fail(p, CONFIG, "[authority %s]: ca_key %s: RSA and EC keys are accepted",
                         authority->name, authority->ca_key);
    SCEP_TRY(crl_wanted(&c->sign_crl, cert, authority, p));
    SCEP_TRY(issue_ca_make(&ca, cert, key, authority->templates, p));
    c->submit = local_submit;
    c->name = "local";
    c->data = (void *)ca;
    *out = c;
    return NULL;
}
