/* Whether a certificate may stand for a challenge. */
#include "renewal.h"

#include "certs.h"
#include "clock.h"
#include "oid.h"

#include <openssl/err.h>
#include <string.h>
#include <strings.h>

/* Its issuer's name and the key of the CA of that name: the one without the other is anybody's. */
static bool is_signed_by(X509 *cert, X509 *issuer)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    bool is = key &&
              X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(issuer)) == 0 &&
              X509_verify(cert, key) == 1;

    ERR_clear_error(); /* keys that were tried */
    return is;
}

static bool is_signed_by_one(X509 *cert, const STACK_OF(X509) * issuers)
{
    for (int i = 0; i < sk_X509_num(issuers); i++)
        if (is_signed_by(cert, sk_X509_value(issuers, i)))
            return true;
    return false;
}

static bool is_in_time(const X509 *cert)
{
    time_t now = (time_t)apr_time_sec(scep_now());

    return X509_cmp_time(X509_get0_notBefore(cert), &now) == -1 &&
           X509_cmp_time(X509_get0_notAfter(cert), &now) == 1;
}

bool renewal_is_issued(X509 *cert, const STACK_OF(X509) * issuers)
{
    return is_signed_by_one(cert, issuers) && is_in_time(cert);
}

/* A CA's certificate by what it may do, whichever of the two extensions says so. RFC 5280 4.2.1.9
 */
static bool is_ca(X509 *cert)
{
    uint32_t flags = X509_get_extension_flags(cert);

    return (flags & EXFLAG_CA) ||
           ((flags & EXFLAG_KUSAGE) && (X509_get_key_usage(cert) & KU_KEY_CERT_SIGN));
}

/* RA certificates come from the CA as a device's do, but their keys are in every worker: one that
 * was broken into must not make certificates of them, nor of those of former RAs. */
static bool is_ra(const X509 *cert)
{
    EXTENDED_KEY_USAGE *purposes = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_ASN1_OBJECT_num(purposes); i++)
        found =
            found || !OBJ_cmp(sk_ASN1_OBJECT_value(purposes, i), scep_oid(SCEP_OID_REQUEST_AGENT));
    EXTENDED_KEY_USAGE_free(purposes);
    return found;
}

static const char *fault_of(X509 *old, const STACK_OF(X509) * issuers)
{
    if (is_signed_by(old, old))
        return "the certificate that signed the request is self-signed";
    if (!is_signed_by_one(old, issuers))
        return "the certificate that signed the request was not issued by this CA or one of "
               "renewal_ca";
    if (!is_in_time(old))
        return "the certificate that signed the request has ended or is not valid yet";
    if (X509_get_extension_flags(old) & EXFLAG_INVALID)
        return "the certificate that signed the request has an extension that cannot be read";
    if (is_ca(old))
        return "the certificate that signed the request is a CA's";
    if (is_ra(old))
        return "the certificate that signed the request is an RA's (certificate request agent)";
    return NULL;
}

typedef struct find_job {
    X509 *cert;
    const store_certificate *found;
} find_job;

static const scep_err *find_in_store(store_tx *tx, void *baton)
{
    find_job *j = baton;

    return inventory_find(tx, j->cert, &j->found);
}

/* What is in the inventory is revoked there; a CRL that lists it all the same was signed by its CA.
 * One is needed for what is not known here, and for what a CA elsewhere issued. */
static const scep_err *check_revocation(const store_certificate *known, X509 *old,
                                        const renewal_trust *trust, apr_pool_t *p)
{
    foreign_status status = FOREIGN_REVOKED;
    const scep_err *err = foreign_check(&status, trust->foreign, old, p);

    if (err &&
        (!known || (trust->elsewhere && is_signed_by(old, sk_X509_value(trust->issuers, 0)))))
        return err;
    if ((known && known->revoked) || (!err && status != FOREIGN_GOOD))
        return scep_fail(p, REFUSED, "the certificate that signed the request, %s, is revoked",
                         scep_cert_serial(old, p));
    return NULL;
}

static bool is_listed(const char *name, const char *list)
{
    size_t len;

    for (list += strspn(list, " \t"); *list; list += strspn(list, " \t")) {
        len = strcspn(list, " \t");
        if (len == strlen(name) && !strncasecmp(list, name, len))
            return true;
        list += len;
    }
    return false;
}

/* What an endpoint demands, an administrator's yes for example, is not to be had without it at the
 * next one of the same authority. */
static const scep_err *check_place(const store_certificate *known, const renewal_place *place,
                                   apr_pool_t *p)
{
    if (!known || !place || !strcasecmp(known->endpoint, place->endpoint) ||
        is_listed(known->endpoint, place->from))
        return NULL;
    return scep_fail(p, REFUSED,
                     "the certificate that signed the request, %s, is of endpoint %s, which "
                     "SCEPRenewalFrom of endpoint %s does not name",
                     known->serial, known->endpoint, place->endpoint);
}

const scep_err *renewal_check(renewal_facts *out, X509 *old, const renewal_trust *trust,
                              const renewal_place *place, store *s, apr_pool_t *p)
{
    const char *fault = fault_of(old, trust->issuers);
    find_job j = { .cert = old };

    *out = (renewal_facts){ 0 };
    if (fault)
        return scep_fail(p, REFUSED, "%s", fault);
    SCEP_TRY(store_read(s, find_in_store, &j, p));
    SCEP_TRY(check_revocation(j.found, old, trust, p));
    SCEP_TRY(check_place(j.found, place, p));
    out->known = j.found != NULL;
    out->template_name = j.found ? j.found->template_name : NULL;
    if (X509_get_extension_flags(old) & EXFLAG_KUSAGE)
        out->key_usage = X509_get_key_usage(old);
    return NULL;
}
