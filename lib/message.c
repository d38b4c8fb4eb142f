/* A request taken apart and verified. RFC 8894 3.1, 3.2. */
#include "message.h"
#include "algorithm.h"
#include "asn1.h"
#include "message_parts.h"

#include <limits.h>
#include <openssl/err.h>

enum { CERTIFICATES_MOST = 16 };
enum { INTEGER = 0x02, OCTETS = 0x04, OBJECT = 0x06, SEQUENCE = 0x30, SET = 0x31 };
enum { FIRST = 0xA0, FIRST_PRIMITIVE = 0x80, SECOND = 0xA1 };

/* Views of what was received. RFC 5652 5.1 */
typedef struct signed_data {
    scep_bytes content_type; /* contents of the object identifier */
    scep_cursor content;     /* of eContent's [0]; at NULL: absent */
    scep_cursor certificates;
    int certificate_count;
    scep_cursor signers;
} signed_data;

/* RFC 5652 5.3 */
typedef struct signer_info {
    scep_bytes issuer; /* a Name; len 0: the signer is named by its key_id */
    const ASN1_INTEGER *serial;
    scep_bytes key_id;
    const X509_ALGOR *digest, *algorithm;
    scep_bytes digest_der, algorithm_der; /* as received */
    scep_bytes attributes;                /* with tag [0] and length, as received */
    scep_bytes signature;
} signer_info;

static bool step_over(scep_cursor *c, uint8_t tag)
{
    scep_cursor in;

    return scep_ber_step(c, tag, &in);
}

/* RFC 5652 3. @return false: not a ContentInfo of this type to its last byte */
static bool enter_content_info(scep_cursor *inside, scep_bytes ber, int nid)
{
    scep_cursor c = { ber.data, ber.len }, type;

    return scep_ber_step(&c, SEQUENCE, &c) && scep_ber_step(&c, OBJECT, &type) &&
           scep_asn1_is((scep_bytes){ type.at, type.left }, OBJ_nid2obj(nid)) &&
           scep_ber_step(&c, FIRST, inside) && !c.left;
}

/* RFC 5652 5.2 */
static bool take_content(signed_data *out, scep_cursor *c)
{
    scep_cursor inside, type;

    if (!scep_ber_step(c, SEQUENCE, &inside) || !scep_ber_step(&inside, OBJECT, &type))
        return false;
    out->content_type = (scep_bytes){ type.at, type.left };
    out->content = (scep_cursor){ NULL, 0 };
    return !inside.left || (scep_ber_step(&inside, FIRST, &out->content) && !inside.left);
}

/* @return how many; 0: absent; -1: too many */
static int take_set(scep_cursor *inside, scep_cursor *c, uint8_t tag)
{
    *inside = (scep_cursor){ NULL, 0 };
    return scep_ber_step(c, tag, inside) ? scep_ber_count(*inside, CERTIFICATES_MOST) : 0;
}

/*
 * Step through ContentInfo and SignedData (RFC 5652 3, 5.1). Everything else is read of views of
 * what is found here: nothing is decoded that nobody asks for.
 */
static bool walk(signed_data *out, scep_bytes ber)
{
    scep_cursor info, c, crls;

    if (!ber.len || ber.len > INT_MAX || !scep_ber_is_bounded(ber) ||
        !enter_content_info(&info, ber, NID_pkcs7_signed))
        return false;
    if (!scep_ber_step(&info, SEQUENCE, &c) || info.left || !step_over(&c, INTEGER) ||
        !step_over(&c, SET) || !take_content(out, &c))
        return false;
    out->certificate_count = take_set(&out->certificates, &c, FIRST);
    return out->certificate_count >= 0 && take_set(&crls, &c, SECOND) >= 0 &&
           scep_ber_step(&c, SET, &out->signers) && !c.left;
}

/* RFC 5652 5.3 */
static bool take_identifier(signer_info *out, scep_cursor *c, apr_pool_t *p)
{
    scep_cursor inside;

    if (!scep_ber_next_is(*c, SEQUENCE))
        return scep_asn1_octets(&out->key_id, c, FIRST_PRIMITIVE, p);
    return scep_ber_step(c, SEQUENCE, &inside) && scep_ber_take(&inside, SEQUENCE, &out->issuer) &&
           scep_asn1_integer(&out->serial, &inside, p) && !inside.left;
}

/* @return false: it cannot be read, and is no signer */
static bool read_signer(signer_info *out, scep_cursor signers, apr_pool_t *p)
{
    scep_cursor c;

    *out = (signer_info){ 0 };
    if (!scep_ber_step(&signers, SEQUENCE, &c) || !step_over(&c, INTEGER) ||
        !take_identifier(out, &c, p) || !scep_asn1_algorithm(&out->digest, &out->digest_der, &c, p))
        return false;
    (void)scep_ber_take(&c, FIRST, &out->attributes);
    if (!scep_asn1_algorithm(&out->algorithm, &out->algorithm_der, &c, p) ||
        !scep_asn1_octets(&out->signature, &c, OCTETS, p))
        return false;
    (void)step_over(&c, SECOND); /* unsigned attributes, which mean nothing */
    return !c.left;
}

static bool is_named(const signer_info *by, const scep_cert *cert, apr_pool_t *p)
{
    const ASN1_OCTET_STRING *key_id;
    X509 *whole;

    if (by->issuer.len)
        return !ASN1_INTEGER_cmp(by->serial, cert->serial) &&
               scep_asn1_same_name(by->issuer, cert->issuer);
    /* RFC 5652 5.3: the value of its subjectKeyIdentifier; seldom met, so OpenSSL looks for it */
    if (scep_cert_x509(&whole, cert, p))
        return false;
    key_id = X509_get0_subject_key_id(whole);
    return key_id && scep_bytes_equal(by->key_id, scep_asn1_bytes(key_id));
}

/* RFC 5652 5.3: by issuer and serial number or by key identifier, never by position. Of the
 * certificates that are not meant nothing is decoded. */
static const scep_err *find_signer(scep_message *m, const signed_data *cms,
                                   const signer_info *signer, apr_pool_t *p)
{
    scep_cursor certificates = cms->certificates;
    scep_cert *found = NULL, *one;
    const scep_err *err;
    scep_bytes sent;

    for (int i = 0; i < cms->certificate_count && !found; i++) {
        if (!scep_ber_take(&certificates, SEQUENCE, &sent)) {
            (void)scep_ber_skip(&certificates); /* of another kind: RFC 5652 10.2.2 */
            continue;
        }
        if (!scep_cert_look(&one, sent, p) && is_named(signer, one, p))
            found = one;
    }
    ERR_clear_error();
    if (!found)
        return scep_fail(p, BAD_MESSAGE,
                         "the signer's certificate is not among the %d sent with the message",
                         cms->certificate_count);
    err = scep_cert_read_key(found, p);
    if (err)
        return scep_fail(p, BAD_ALG, "the signer's key is not accepted: %s", err->detail);
    m->signer = found;
    m->signer_key = found->key;
    return NULL;
}

bool scep_message_is_self_signed(const scep_message *m)
{
    return scep_asn1_same_name(m->signer->issuer, m->signer->subject) &&
           scep_cert_is_signed_by(m->signer, m->signer_key);
}

static const scep_err *read_content(scep_message *m, const signed_data *cms, apr_pool_t *p)
{
    scep_cursor c = cms->content;

    if (!scep_asn1_is(cms->content_type, OBJ_nid2obj(NID_pkcs7_data)) || !c.at ||
        !scep_asn1_octets(&m->content, &c, OCTETS, p) || c.left)
        return scep_fail(p, BAD_REQUEST, "the message has no content of type data");
    return NULL;
}

/* Everything after the transactionID, from here on answerable. */
static const scep_err *read_request(scep_message *m, const signed_data *cms,
                                    const signer_info *signer, const scep_attributes *a,
                                    const scep_accept *accept, apr_pool_t *p)
{
    scep_scheme scheme;
    const scep_err *err;

    SCEP_TRY(scep_attributes_request(m, a, accept, p));
    err = scep_algorithm_signature(&scheme, signer->digest, signer->algorithm,
                                   accept->minimum_hash_bits, accept->legacy, p);
    m->digest = scheme.digest; /* good or not, the answer may use it */
    SCEP_TRY(err);
    SCEP_TRY(find_signer(m, cms, signer, p));
    SCEP_TRY(read_content(m, cms, p));
    SCEP_TRY(scep_envelope_read(m, accept, p));
    SCEP_TRY(scep_attributes_fit(m, a, false, p));
    return scep_algorithm_verify(&scheme, m->signer_key, m->signer->ctx, m->attributes,
                                 m->signature, p);
}

/* What a proof of renewal hands on is DER (proof.h). */
static const scep_err *algorithm_der(scep_bytes *out, scep_bytes received, const X509_ALGOR *read,
                                     apr_pool_t *p)
{
    *out = received;
    return scep_ber_is_der(received) ? NULL
                                     : scep_asn1_write(out, ASN1_ITEM_rptr(X509_ALGOR), read, p);
}

const scep_err *scep_message_open(scep_message **out, scep_bytes der, const scep_accept *accept,
                                  apr_pool_t *p)
{
    scep_message *m = apr_pcalloc(p, sizeof(*m));
    scep_attributes attributes;
    signer_info signer;
    signed_data cms;
    int signers;

    *out = NULL;
    if (!walk(&cms, der))
        return scep_fail(p, UNDECODABLE,
                         "not one CMS SignedData of %lu bytes with at most %d certificates",
                         (unsigned long)der.len, CERTIFICATES_MOST);
    signers = scep_ber_count(cms.signers, 1);
    if (signers != 1)
        return scep_fail(p, UNDECODABLE, "the message has %s: 1 is accepted",
                         signers ? "several signers" : "no signer");
    if (!read_signer(&signer, cms.signers, p))
        return scep_fail(p, UNDECODABLE, "the message's SignerInfo cannot be read");
    if (!signer.attributes.len)
        return scep_fail(p, UNDECODABLE, "the message has no signed attributes");
    m->signature = signer.signature;
    SCEP_TRY(algorithm_der(&m->digest_algorithm, signer.digest_der, signer.digest, p));
    SCEP_TRY(algorithm_der(&m->signature_algorithm, signer.algorithm_der, signer.algorithm, p));
    SCEP_TRY(scep_attributes_encode(&m->attributes, signer.attributes, p));
    SCEP_TRY(scep_attributes_read(&attributes, m->attributes, p));
    SCEP_TRY(scep_attributes_identify(m, &attributes, p));
    *out = m;
    return read_request(m, &cms, &signer, &attributes, accept, p);
}
