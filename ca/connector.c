/* Which kind of CA an authority has, and its chain. */
#include "config.h"

#include "connector.h"

#include "certs.h"
#include "clock.h"

#include <string.h>

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

/* Every kind that this scep-ca was built with. */
static const struct {
    const char *name;
    bool remote;
    const scep_err *(*open)(connector *c, const conf_authority *authority, apr_pool_t *p);
} kinds[] = {
    { "local", false, connector_local_open },
#ifdef HAVE_ADCS
    { "adcs", true, connector_adcs_open },
#endif
    { "cmp", true, connector_cmp_open },      { "est", true, connector_est_open },
    { "exec", true, connector_exec_open },
};

const scep_err *connector_open(connector **out, const conf_authority *authority, apr_pool_t *p)
{
    connector *c = apr_pcalloc(p, sizeof(*c));
    size_t n = sizeof(kinds) / sizeof(*kinds), at = 0;

    while (at < n && strcmp(kinds[at].name, authority->connector))
        at++;
    if (at == n)
        return scep_fail(
            p, CONFIG, "[authority %s]: this scep-ca was built without the connector \"%s\"",
            authority->name, scep_printable(p, scep_bytes_of(authority->connector), 80));
    SCEP_TRY(scep_certs_load(&c->chain, authority->ca_cert, p));
    SCEP_TRY(issuer_check(sk_X509_value(c->chain, 0), authority, p));
    SCEP_TRY(chain_check(c->chain, authority, p));
    c->name = kinds[at].name;
    c->remote = kinds[at].remote;
    SCEP_TRY(kinds[at].open(c, authority, p));
    *out = c;
    return NULL;
}
