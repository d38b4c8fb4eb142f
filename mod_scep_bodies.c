/* What scep-ca says of an endpoint, read, and the bodies that are made of it. RFC 8894 3.4, 4.2. */
#include "mod_scep_worker.h"

#include <apr_strings.h>

static const scep_err *push(STACK_OF(X509) * to, X509 *cert, apr_pool_t *p)
{
    if (!sk_X509_push(to, cert))
        return scep_fail(p, INTERNAL, "no memory for a list of certificates");
    return NULL;
}

static const scep_err *read_identity(scep_identity *out, const scep_wire_identity *in,
                                     apr_pool_t *p)
{
    out->authority = apr_pstrdup(p, in->authority);
    out->role = (int)in->role;
    out->chain = scep_borrowed_stack(p);
    SCEP_TRY(scep_cert_read(&out->ra.sign.cert, in->sign_cert, p));
    SCEP_TRY(scep_cert_read(&out->ra.decrypt.cert, in->decrypt_cert, p));
    for (int i = 0; i < in->chain->nelts; i++) {
        X509 *cert;

        SCEP_TRY(scep_cert_read(&cert, APR_ARRAY_IDX(in->chain, i, scep_wire_cert).der, p));
        SCEP_TRY(push(out->chain, cert, p));
    }
    if (in->chain->nelts == 0)
        return scep_fail(p, INTERNAL, "authority \"%s\" has no CA certificate", in->authority);
    return NULL;
}

/* One in a token is loaded by its URI, in this very process, which has a login of its own. */
static const scep_err *read_key(EVP_PKEY **out, scep_bytes key, apr_pool_t *p)
{
    const scep_err *err = scep_key_read(out, key, p);

    if (!err || err->code == SCEP_INTERNAL)
        return err;
    return scep_fail(p, CONFIG, "httpd's user cannot use a key of the RA: %s", err->detail);
}

static const scep_err *read_keys(scep_ra *ra, const scep_wire_keys *keys, apr_pool_t *p)
{
    SCEP_TRY(read_key(&ra->sign.key, keys->sign_key, p));
    SCEP_TRY(read_key(&ra->decrypt.key, keys->decrypt_key, p));
    if (X509_check_private_key(ra->sign.cert, ra->sign.key) != 1 ||
        X509_check_private_key(ra->decrypt.cert, ra->decrypt.key) != 1)
        return scep_fail(p, INTERNAL, "an RA key does not belong to its certificate");
    scep_ra_prepare(ra, p);
    return NULL;
}

/* RFC 8894 3.4: who signs, who is encrypted to, then the CA and its chain, always in this order.
 * @param most certificates of the chain */
static const scep_err *list_identity(STACK_OF(X509) * to, const scep_identity *id, int most,
                                     apr_pool_t *p)
{
    SCEP_TRY(push(to, id->ra.sign.cert, p));
    if (X509_cmp(id->ra.sign.cert, id->ra.decrypt.cert))
        SCEP_TRY(push(to, id->ra.decrypt.cert, p));
    for (int i = 0; i < most; i++)
        SCEP_TRY(push(to, sk_X509_value(id->chain, i), p));
    return NULL;
}

static const scep_err *make_bodies(scep_known *known, apr_pool_t *p)
{
    const scep_settings none = { { NULL } };
    const scep_settings *issuance = scep_endpoint_settings(known->endpoint);
    const scep_identity *current = &known->identities[0];
    X509 *root = sk_X509_value(current->chain, sk_X509_num(current->chain) - 1);
    STACK_OF(X509) *full = scep_borrowed_stack(p), *shorter = scep_borrowed_stack(p);
    int most = sk_X509_num(current->chain), without = most;
    scep_accept accept;

    if (!issuance)
        issuance = &none;
    accept = scep_accepted(issuance, issuance);
    known->caps = scep_caps_text(&accept, scep_settings_flag(issuance, SCEP_SET_Renewal),
                                 known->next != NULL, p);
    /* a CA that is its own root is the issuing CA, which stays */
    if (most > 1 && !X509_NAME_cmp(X509_get_issuer_name(root), X509_get_subject_name(root)))
        without--;
    SCEP_TRY(list_identity(full, current, most, p));
    SCEP_TRY(list_identity(shorter, current, without, p));
    SCEP_TRY(scep_certs_degenerate(&known->full, full, p));
    SCEP_TRY(scep_certs_degenerate(&known->chain, shorter, p));
    return scep_cert_der(&known->ca, sk_X509_value(current->chain, 0), p);
}

const scep_err *scep_known_read(scep_known *out, const scep_wire_public *public,
                                const apr_array_header_t *keys, apr_pool_t *p)
{
    int n = public->identities->nelts;
    scep_identity *all = apr_pcalloc(p, sizeof(*all) * (size_t)(n > 0 ? n : 1));

    if (n == 0 || (keys && keys->nelts != n))
        return scep_fail(p, INTERNAL, "endpoint \"%s\": %d RAs and %d pairs of keys",
                         public->endpoint, n, keys ? keys->nelts : 0);
    *out = (scep_known){ .endpoint = apr_pstrdup(p, public->endpoint),
                         .generation = public->generation,
                         .has_keys = keys != NULL,
                         .identities = all,
                         .n = n };
    for (int i = 0; i < n; i++) {
        SCEP_TRY(
            read_identity(&all[i], &APR_ARRAY_IDX(public->identities, i, scep_wire_identity), p));
        if (keys)
            SCEP_TRY(read_keys(&all[i].ra, &APR_ARRAY_IDX(keys, i, scep_wire_keys), p));
        if (!out->next && all[i].role == SCEP_ROLE_NEXT)
            out->next = &all[i];
    }
    return make_bodies(out, p);
}

const scep_err *scep_known_list_next(STACK_OF(X509) * to, const scep_identity *next, apr_pool_t *p)
{
    for (int i = 0; i < sk_X509_num(next->chain); i++)
        SCEP_TRY(push(to, sk_X509_value(next->chain, i), p));
    return list_identity(to, next, 0, p);
}
