/* A new RA: keys, certificates from the authority's own CA, and its row in the store. */
#include "identities_int.h"

#include "certs.h"
#include "clock.h"
#include "issue.h"
#include "key.h"

#include <apr_strings.h>
#include <string.h>

/* What NDES's RA has, and what Windows and Apple look for. */
#define REQUEST_AGENT "1.3.6.1.4.1.311.20.2.1"

const scep_err *identities_dates(identities_span *out, const scep_ra *ra, apr_pool_t *p)
{
    identities_span other;

    SCEP_TRY(scep_time_seconds(&out->begins, X509_get0_notBefore(ra->sign.cert), p));
    SCEP_TRY(scep_time_seconds(&out->ends, X509_get0_notAfter(ra->sign.cert), p));
    SCEP_TRY(scep_time_seconds(&other.begins, X509_get0_notBefore(ra->decrypt.cert), p));
    SCEP_TRY(scep_time_seconds(&other.ends, X509_get0_notAfter(ra->decrypt.cert), p));
    out->begins = other.begins > out->begins ? other.begins : out->begins;
    out->ends = other.ends < out->ends ? other.ends : out->ends;
    return NULL;
}

/* The kind of a key in key.h's words, nothing weaker than it. */
static const char *kind_of(const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);

    if (!EVP_PKEY_is_a(key, "RSA"))
        return bits > 256 ? "p384" : "p256";
    return bits > 3072 ? "rsa4096" : bits > 2048 ? "rsa3072" : "rsa2048";
}

const scep_err *identities_key(EVP_PKEY **out, EVP_PKEY *like, apr_pool_t *p)
{
    if (!scep_key_where(like))
        return scep_key_make(out, like ? kind_of(like) : "rsa2048", p);
    if (!EVP_PKEY_up_ref(like))
        return scep_fail(p, INTERNAL, "a key cannot be shared");
    *out = scep_EVP_PKEY(p, like);
    return NULL;
}

const scep_err *identities_csr(scep_csr **out, EVP_PKEY *key, const X509_NAME *subject,
                               apr_pool_t *p)
{
    X509_REQ *req = scep_X509_REQ(p, X509_REQ_new());
    scep_bytes der;

    if (!req || !X509_REQ_set_subject_name(req, subject) || !X509_REQ_set_pubkey(req, key) ||
        !X509_REQ_sign(req, key, issue_digest(key)))
        return scep_fail(p, INTERNAL, "a request for an RA certificate cannot be made");
    SCEP_TRY(SCEP_ITEM_DER(&der, X509_REQ, req, p));
    return scep_csr_read(out, der, p);
}

/* Where revocation is read is the same for all certificates of an authority. */
static conf_template template_of(const conf_authority *a, uint32_t key_usage)
{
    conf_template template = {
        .name = "RA",
        .days = a->ra_days,
        .key_usage = key_usage,
        .extended_key_usage = REQUEST_AGENT,
        .minimum_rsa_bits = 2048,
        .approval = "no",
    };

    if (a->templates && a->templates->nelts) {
        const conf_template *first = APR_ARRAY_IDX(a->templates, 0, const conf_template *);

        template.crl_url = first->crl_url;
        template.issuer_url = first->issuer_url;
        template.ocsp_url = first->ocsp_url;
    }
    return template;
}

static const scep_err *pair_make(scep_signer *out, const conf_authority *a, connector *c,
                                 const scep_signer *like, uint32_t key_usage, apr_pool_t *p)
{
    conf_template template = template_of(a, key_usage);
    connector_ask ask = { .template = &template };
    connector_answer answer = { 0 };
    scep_csr *csr;

    SCEP_TRY(identities_key(&out->key, like->key, p));
    SCEP_TRY(identities_csr(&csr, out->key, X509_get_subject_name(like->cert), p));
    ask.csr = csr;
    SCEP_TRY(c->submit(&answer, c, &ask, p));
    if (answer.outcome != CONNECTOR_ISSUED)
        return scep_fail(p, UNAVAILABLE, "the CA did not issue an RA certificate: %s",
                         answer.outcome == CONNECTOR_PENDING ? "it waits for approval there"
                         : answer.reason                     ? answer.reason
                                                             : "denied");
    return scep_cert_read(&out->cert, answer.cert->der, p);
}

/* What a sealed key belongs to, so that rows cannot be exchanged. */
static const char *about(const store_ra *row, const char *what, apr_pool_t *p)
{
    return apr_pstrcat(p, "RA ", row->authority, " ", row->id, " ", what, " key", NULL);
}

static const scep_err *key_seal(scep_bytes *out, const store_ra *row, const char *what,
                                const EVP_PKEY *pkey, const store_key *key, apr_pool_t *p)
{
    scep_bytes der;

    SCEP_TRY(scep_key_der(&der, pkey, p));
    return seal_close(out, key, about(row, what, p), der, p);
}

const scep_err *identities_close(store_ra *row, const scep_ra *ra, const char *authority,
                                 const store_key *key, apr_pool_t *p)
{
    identities_span span;
    unsigned char hash[32];
    unsigned int len;

    *row = (store_ra){ .authority = authority };
    SCEP_TRY(scep_cert_der(&row->sign_cert, ra->sign.cert, p));
    SCEP_TRY(scep_cert_der(&row->decrypt_cert, ra->decrypt.cert, p));
    if (!X509_digest(ra->decrypt.cert, EVP_sha256(), hash, &len))
        return scep_fail(p, INTERNAL, "an RA certificate cannot be hashed");
    row->id = scep_hex(p, (scep_bytes){ hash, len });
    SCEP_TRY(key_seal(&row->sign_key, row, "signing", ra->sign.key, key, p));
    SCEP_TRY(key_seal(&row->decrypt_key, row, "opening", ra->decrypt.key, key, p));
    SCEP_TRY(identities_dates(&span, ra, p));
    row->created = apr_time_sec(scep_now());
    row->ends = span.ends;
    return NULL;
}

const scep_err *identities_renew(store_ra *out, const conf_authority *a, connector *c,
                                 const scep_ra *like, const store_key *key, apr_pool_t *p)
{
    scep_ra ra;

    if (!X509_cmp(like->sign.cert, like->decrypt.cert)) {
        /* one certificate for both stays one: there are clients that know one only */
        SCEP_TRY(pair_make(&ra.decrypt, a, c, &like->decrypt,
                           KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, p));
        ra.sign = ra.decrypt;
    } else {
        SCEP_TRY(pair_make(&ra.sign, a, c, &like->sign, KU_DIGITAL_SIGNATURE, p));
        SCEP_TRY(pair_make(&ra.decrypt, a, c, &like->decrypt, KU_KEY_ENCIPHERMENT, p));
    }
    SCEP_TRY(scep_ra_check(&ra, sk_X509_value(c->chain, 0), p));
    SCEP_TRY(scep_ra_check_dates(&ra, p));
    return identities_close(out, &ra, a->name, key, p);
}

static const scep_err *pair_open(scep_signer *out, const store_ra *row, const char *what,
                                 scep_bytes cert, scep_bytes sealed, const store_key *key,
                                 apr_pool_t *p)
{
    scep_bytes der;

    SCEP_TRY(scep_cert_read(&out->cert, cert, p));
    SCEP_TRY(seal_open(&der, key, about(row, what, p), sealed, p));
    return scep_key_read(&out->key, der, p);
}

const scep_err *identities_open(scep_ra **out, const store_ra *row, X509 *ca, const store_key *key,
                                apr_pool_t *p)
{
    scep_ra *ra = apr_pcalloc(p, sizeof(*ra));

    SCEP_TRY(pair_open(&ra->sign, row, "signing", row->sign_cert, row->sign_key, key, p));
    SCEP_TRY(pair_open(&ra->decrypt, row, "opening", row->decrypt_cert, row->decrypt_key, key, p));
    SCEP_TRY(scep_ra_check(ra, ca, p));
    *out = ra;
    return NULL;
}
