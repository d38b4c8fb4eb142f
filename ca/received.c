/* The one judge of certificates that came from elsewhere. RFC 5280 6.1 */
#include "received.h"

#include "certs.h"
#include "clock.h"
#include "spki.h"

#include <apr_strings.h>

/* As much as the dates of certificates that are issued here forgive the clocks of devices. */
#define SKEW (5 * 60)
/* No MD5, no SHA-1, no RSA below 1024 bits in any signature up to the root. */
#define SECURITY_LEVEL 1

/* The same bytes are the same key; a CA may have encoded it anew. */
bool received_is_for(scep_bytes spki, const scep_csr *csr, apr_pool_t *p)
{
    EVP_PKEY *key;
    scep_bytes der;

    return scep_bytes_equal(spki, csr->spki) ||
           (!scep_spki_read(&key, &der, spki, p) && EVP_PKEY_eq(key, csr->key) == 1);
}

static const scep_err *read_one(X509 **out, scep_bytes der, apr_pool_t *p)
{
    const scep_err *err = der.len ? scep_cert_read(out, der, p) : NULL;
    scep_bytes again;

    if (!der.len)
        return scep_fail(p, REFUSED, "the CA sent no certificate");
    if (err)
        return scep_fail(p, REFUSED, "what the CA sent is not one certificate: %s", err->detail);
    SCEP_TRY(scep_cert_der(&again, *out, p));
    /* what is stored and sent on are these bytes, and every reader has to find the same in them */
    if (!scep_bytes_equal(again, der))
        return scep_fail(p, REFUSED, "what the CA sent is a certificate that is not in DER");
    return NULL;
}

static issued_cert *describe(X509 *cert, scep_bytes der, scep_bytes spki,
                             const unsigned char hash[SCEP_KEY_HASH], apr_pool_t *p)
{
    issued_cert *c = apr_pcalloc(p, sizeof(*c));

    c->der = (scep_bytes){ apr_pmemdup(p, der.data, der.len), der.len };
    c->spki = spki;
    c->key_hash = scep_base64(p, (scep_bytes){ hash, SCEP_KEY_HASH });
    c->serial = scep_cert_serial(cert, p);
    c->subject = scep_name_line(X509_get_subject_name(cert), p);
    return c;
}

static const scep_err *check_dates(const issued_cert *c, apr_int64_t now, apr_pool_t *p)
{
    if (c->begins > now + SKEW)
        return scep_fail(p, REFUSED,
                         "certificate %s is not valid before another %ld seconds: compare the "
                         "clocks",
                         c->serial, (long)(c->begins - now));
    if (c->ends <= now)
        return scep_fail(p, REFUSED, "certificate %s has ended already", c->serial);
    return NULL;
}

static bool prepare(X509_STORE *store, X509_STORE_CTX *ctx, X509 *cert, const connector *c,
                    apr_int64_t at)
{
    X509 *root = sk_X509_value(c->chain, sk_X509_num(c->chain) - 1);
    X509_VERIFY_PARAM *param;

    /* the root alone is trusted: a chain that ends before it is none */
    if (!X509_STORE_add_cert(store, root) || !X509_STORE_CTX_init(ctx, store, cert, c->chain))
        return false;
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)at);
    X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
    /* what its own relying parties must understand is not for us to judge */
    return X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_IGNORE_CRITICAL) == 1;
}

static const scep_err *verify(X509_STORE_CTX *ctx, const connector *c, const issued_cert *cert,
                              apr_pool_t *p)
{
    const STACK_OF(X509) * built;
    X509 *issuer;

    if (X509_verify_cert(ctx) != 1)
        return scep_fail(p, REFUSED, "certificate %s does not chain to the authority: %s",
                         cert->serial,
                         X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    built = X509_STORE_CTX_get0_chain(ctx);
    issuer = sk_X509_num(built) > 1 ? sk_X509_value(built, 1) : NULL;
    /* renewal, revocation and what devices were told of the CA all mean the first one */
    if (!issuer || X509_cmp(issuer, sk_X509_value(c->chain, 0)) != 0)
        return scep_fail(p, REFUSED,
                         "certificate %s was issued by another CA than the first one of ca_cert",
                         cert->serial);
    return NULL;
}

static const scep_err *check_chain(X509 *cert, const connector *c, const issued_cert *about,
                                   apr_int64_t at, apr_pool_t *p)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    const scep_err *err;

    if (store && ctx && prepare(store, ctx, cert, c, at))
        err = verify(ctx, c, about, p);
    else
        err = scep_fail(p, INTERNAL, "a certificate cannot be verified: no memory");
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return err;
}

const scep_err *received_check(const issued_cert **out, scep_bytes der, const connector *c,
                               const scep_csr *csr, apr_pool_t *p)
{
    apr_int64_t now = apr_time_sec(scep_now());
    unsigned char hash[SCEP_KEY_HASH];
    scep_bytes spki;
    issued_cert *got;
    X509 *cert;

    SCEP_TRY(read_one(&cert, der, p));
    SCEP_TRY(scep_spki_of(&spki, X509_get_X509_PUBKEY(cert), p));
    SCEP_TRY(scep_spki_hash(hash, spki, p));
    got = describe(cert, der, spki, hash, p);
    if (!received_is_for(spki, csr, p))
        return scep_fail(p, REFUSED, "certificate %s is for another key than the request's",
                         got->serial);
    if (X509_check_ca(cert))
        return scep_fail(p, REFUSED, "certificate %s is a CA's", got->serial);
    if (scep_time_seconds(&got->begins, X509_get0_notBefore(cert), p) ||
        scep_time_seconds(&got->ends, X509_get0_notAfter(cert), p))
        return scep_fail(p, REFUSED, "certificate %s has no dates that can be read", got->serial);
    SCEP_TRY(check_dates(got, now, p));
    SCEP_TRY(check_chain(cert, c, got, got->begins > now ? got->begins : now, p));
    *out = got;
    return NULL;
}
