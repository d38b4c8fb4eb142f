/* A proof of renewal. RFC 5652 5.4, RFC 8894 3.3.1. */
#include "proof.h"
#include "algorithm.h"
#include "ber.h"
#include "message_parts.h"

#include <limits.h>

enum { SEQUENCE = 0x30 };

/* ---- the worker's side ---- */

const scep_err *scep_proof_take(scep_proof *out, const scep_message *message, apr_pool_t *p)
{
    if (!message->digest_algorithm.len)
        return scep_fail(p, INTERNAL, "this message is no place to take a proof from");
    out->digest_algorithm = message->digest_algorithm;
    out->signature_algorithm = message->signature_algorithm;
    out->signer = message->signer->der;
    out->signature = message->signature;
    out->attributes = message->attributes;
    out->content = message->content;
    return NULL;
}

/* ---- the side that believes nothing ---- */

static bool is_one_sequence(scep_bytes der)
{
    scep_cursor c = { der.data, der.len };
    scep_bytes content;
    uint8_t tag;

    return der.len <= INT_MAX && scep_cursor_der(&c, &tag, &content) && tag == SEQUENCE &&
           !c.left && scep_ber_is_bounded(der);
}

static const scep_err *read_signer(scep_message *m, scep_bytes der, apr_pool_t *p)
{
    const scep_err *err;
    scep_cert *cert;

    if (!is_one_sequence(der) || scep_cert_look(&cert, der, p))
        return scep_fail(p, BAD_MESSAGE, "proof: the signer's certificate cannot be read");
    err = scep_cert_read_key(cert, p);
    if (err)
        return scep_fail(p, BAD_ALG, "proof: the signer's key is not accepted: %s", err->detail);
    m->signer = cert;
    m->signer_key = cert->key;
    return NULL;
}

/* @return to be freed; NULL: not one in DER to the last byte */
static X509_ALGOR *read_algorithm(scep_bytes der)
{
    const unsigned char *at = der.data;
    X509_ALGOR *algorithm = NULL;

    if (is_one_sequence(der))
        algorithm = d2i_X509_ALGOR(NULL, &at, (long)der.len);
    if (algorithm && at != der.data + der.len) {
        X509_ALGOR_free(algorithm);
        return NULL;
    }
    return algorithm;
}

static const scep_err *read_scheme(scep_scheme *out, const scep_proof *proof,
                                   const scep_accept *accept, apr_pool_t *p)
{
    X509_ALGOR *digest = read_algorithm(proof->digest_algorithm);
    X509_ALGOR *signature = read_algorithm(proof->signature_algorithm);
    const scep_err *err;

    if (digest && signature)
        err = scep_algorithm_signature(out, digest, signature, accept->minimum_hash_bits,
                                       accept->legacy, p);
    else
        err = scep_fail(p, BAD_ALG, "proof: an AlgorithmIdentifier cannot be read");
    X509_ALGOR_free(digest);
    X509_ALGOR_free(signature);
    return err;
}

static const scep_err *check(scep_message *m, const scep_proof *proof, const scep_accept *accept,
                             apr_pool_t *p)
{
    scep_attributes attributes;
    scep_scheme scheme;

    SCEP_TRY(read_scheme(&scheme, proof, accept, p));
    SCEP_TRY(read_signer(m, proof->signer, p));
    SCEP_TRY(scep_algorithm_verify(&scheme, m->signer_key, m->signer->ctx, proof->attributes,
                                   proof->signature, p));
    m->digest = scheme.digest;
    m->content = proof->content;
    SCEP_TRY(scep_attributes_read(&attributes, proof->attributes, p));
    SCEP_TRY(scep_attributes_identify(m, &attributes, p));
    SCEP_TRY(scep_attributes_fit(m, &attributes, true, p));
    SCEP_TRY(scep_attributes_request(m, &attributes, accept, p));
    if (m->message_type != SCEP_RENEWAL_REQ && m->message_type != SCEP_PKCS_REQ)
        return scep_fail(p, BAD_REQUEST, "proof: messageType %d is not that of a renewal",
                         m->message_type);
    return NULL;
}

const scep_err *scep_proof_check(scep_message **out, const scep_proof *proof,
                                 const scep_accept *accept, apr_pool_t *p)
{
    scep_message *m = apr_pcalloc(p, sizeof(*m));

    *out = NULL;
    SCEP_TRY(check(m, proof, accept, p));
    *out = m;
    return NULL;
}

const scep_err *scep_proof_open(scep_message *m, const scep_accept *accept, apr_pool_t *p)
{
    if (m->digest_algorithm.len || m->envelope)
        return scep_fail(p, INTERNAL, "this message is none whose envelope is to be read");
    return scep_envelope_read(m, accept, p);
}
