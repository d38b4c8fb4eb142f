/* A request taken apart and verified. RFC 8894 3.1, 3.2. */
#include "message.h"
#include "algorithm.h"
#include "ber.h"
#include "cms.h"
#include "message_parts.h"

#include <limits.h>
#include <openssl/err.h>
#include <string.h>

enum { CERTIFICATES_MOST = 16 };
enum { INTEGER = 0x02, OBJECT = 0x06, SEQUENCE = 0x30, SET = 0x31, FIRST = 0xA0, SECOND = 0xA1 };

/* Step through ContentInfo and SignedData (RFC 5652 3, 5.1) before OpenSSL decodes them, to bound
 * what it takes memory for. */
static bool is_small_signed_data(scep_bytes ber)
{
    scep_cursor c = { ber.data, ber.len }, in;

    if (!ber.len || ber.len > INT_MAX || !scep_ber_is_bounded(ber) ||
        !scep_ber_step(&c, SEQUENCE, &c) || !scep_ber_step(&c, OBJECT, &in) ||
        !scep_ber_step(&c, FIRST, &c) || !scep_ber_step(&c, SEQUENCE, &c) ||
        !scep_ber_step(&c, INTEGER, &in) || !scep_ber_step(&c, SET, &in) ||
        !scep_ber_step(&c, SEQUENCE, &in))
        return false;
    if (scep_ber_step(&c, FIRST, &in) && scep_ber_count(in, CERTIFICATES_MOST) < 0)
        return false;
    if (scep_ber_step(&c, SECOND, &in) && scep_ber_count(in, CERTIFICATES_MOST) < 0)
        return false;
    return scep_ber_step(&c, SET, &in) && !c.left;
}

/* @return NULL: not one SignedData to the last byte */
static const cms_signed *read_signed_data(scep_bytes ber, apr_pool_t *p)
{
    const cms_signed_info *info = NULL;

    if (is_small_signed_data(ber))
        info = scep_asn1_read(cms_signed_info_it(), ber, p);
    return info && OBJ_obj2nid(info->type) == NID_pkcs7_signed ? info->content : NULL;
}

/* @return NULL: it cannot be read, and is no signer */
static const cms_signer *read_signer(const ASN1_TYPE *encoded, apr_pool_t *p)
{
    if (ASN1_TYPE_get(encoded) != V_ASN1_SEQUENCE)
        return NULL;
    return scep_asn1_read(cms_signer_it(), scep_asn1_bytes(encoded->value.sequence), p);
}

/* Tag and length of a SET. @return how many bytes */
static size_t put_set_header(unsigned char header[6], size_t len)
{
    int width = len < 0x80 ? 0 : 1;

    for (size_t rest = len >> 8; width && rest; rest >>= 8)
        width++;
    header[0] = SET;
    header[1] = (unsigned char)(width ? 0x80 | width : (int)len);
    for (int i = 0; i < width; i++)
        header[2 + i] = (unsigned char)(len >> 8 * (width - 1 - i));
    return 2 + (size_t)width;
}

/*
 * RFC 5652 5.4: what is signed is the DER of the attributes as a SET OF, in the order in which
 * they were sent, as OpenSSL and others do it.
 */
static const scep_err *encode_attributes(scep_bytes *out, const cms_signer *signer, apr_pool_t *p)
{
    int count = sk_X509_ATTRIBUTE_num(signer->attributes), one;
    unsigned char header[6], *der, *to;
    size_t len = 0, before;

    for (int i = 0; i < count; i++) {
        one = i2d_X509_ATTRIBUTE(sk_X509_ATTRIBUTE_value(signer->attributes, i), NULL);
        if (one <= 0)
            return scep_fail(p, UNDECODABLE, "a signed attribute cannot be encoded");
        len += (size_t)one;
    }
    before = put_set_header(header, len);
    der = apr_palloc(p, before + len);
    memcpy(der, header, before);
    to = der + before;
    for (int i = 0; i < count; i++) {
        if (i2d_X509_ATTRIBUTE(sk_X509_ATTRIBUTE_value(signer->attributes, i), &to) <= 0)
            return scep_fail(p, UNDECODABLE, "a signed attribute cannot be encoded");
    }
    *out = (scep_bytes){ der, before + len };
    return NULL;
}

static bool is_named(const cms_identifier *id, const scep_cert *cert, apr_pool_t *p)
{
    X509 *whole;

    if (id->type == CMS_BY_ISSUER_SERIAL)
        return !ASN1_INTEGER_cmp(id->d.issuer_serial->serial, cert->serial) &&
               !X509_NAME_cmp(id->d.issuer_serial->issuer, cert->issuer);
    /* RFC 5652 5.3: the value of its subjectKeyIdentifier; seldom met, so OpenSSL looks for it */
    return !scep_cert_x509(&whole, cert, p) && X509_get0_subject_key_id(whole) &&
           !ASN1_OCTET_STRING_cmp(id->d.key_id, X509_get0_subject_key_id(whole));
}

/* RFC 5652 5.3: by issuer and serial number or by key identifier, never by position. Nothing of
 * the certificates that are not meant is decoded but their names. */
static const scep_err *find_signer(scep_message *m, const cms_signed *cms, const cms_signer *signer,
                                   apr_pool_t *p)
{
    scep_cert *found = NULL, *one;
    const scep_err *err;

    for (int i = 0; i < sk_ASN1_TYPE_num(cms->certificates) && !found; i++) {
        const ASN1_TYPE *sent = sk_ASN1_TYPE_value(cms->certificates, i);

        if (ASN1_TYPE_get(sent) == V_ASN1_SEQUENCE &&
            !scep_cert_look(&one, scep_asn1_bytes(sent->value.sequence), p) &&
            is_named(signer->id, one, p))
            found = one;
    }
    ERR_clear_error();
    if (!found)
        return scep_fail(p, BAD_MESSAGE,
                         "the signer's certificate is not among the %d sent with the message",
                         cms->certificates ? sk_ASN1_TYPE_num(cms->certificates) : 0);
    err = scep_cert_read_key(found, p);
    if (err)
        return scep_fail(p, BAD_ALG, "the signer's key is not accepted: %s", err->detail);
    m->signer = found;
    m->signer_key = found->key;
    return NULL;
}

bool scep_message_is_self_signed(const scep_message *m)
{
    return !X509_NAME_cmp(m->signer->issuer, m->signer->subject) &&
           scep_cert_is_signed_by(m->signer, m->signer_key);
}

static const scep_err *read_content(scep_message *m, const cms_signed *cms, apr_pool_t *p)
{
    if (OBJ_obj2nid(cms->content->type) != NID_pkcs7_data || !cms->content->content)
        return scep_fail(p, BAD_REQUEST, "the message has no content of type data");
    m->content = scep_asn1_bytes(cms->content->content);
    return NULL;
}

/* Everything after the transactionID, from here on answerable. */
static const scep_err *read_request(scep_message *m, const cms_signed *cms,
                                    const cms_signer *signer, const scep_attributes *a,
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
    return scep_algorithm_verify(&scheme, m->signer_key, m->attributes, m->signature, p);
}

const scep_err *scep_message_open(scep_message **out, scep_bytes der, const scep_accept *accept,
                                  apr_pool_t *p)
{
    scep_message *m = apr_pcalloc(p, sizeof(*m));
    const cms_signed *cms = read_signed_data(der, p);
    const cms_signer *signer;
    scep_attributes attributes;

    *out = NULL;
    if (!cms)
        return scep_fail(p, UNDECODABLE,
                         "not one CMS SignedData of %lu bytes with at most %d certificates",
                         (unsigned long)der.len, CERTIFICATES_MOST);
    if (sk_ASN1_TYPE_num(cms->signers) != 1)
        return scep_fail(p, UNDECODABLE, "the message has %d signers: 1 is accepted",
                         cms->signers ? sk_ASN1_TYPE_num(cms->signers) : 0);
    signer = read_signer(sk_ASN1_TYPE_value(cms->signers, 0), p);
    if (!signer)
        return scep_fail(p, UNDECODABLE, "the message's SignerInfo cannot be read");
    if (sk_X509_ATTRIBUTE_num(signer->attributes) <= 0)
        return scep_fail(p, UNDECODABLE, "the message has no signed attributes");
    m->digest_algorithm = signer->digest;
    m->signature_algorithm = signer->algorithm;
    m->signature = scep_asn1_bytes(signer->signature);
    SCEP_TRY(encode_attributes(&m->attributes, signer, p));
    SCEP_TRY(scep_attributes_read(&attributes, m->attributes, p));
    SCEP_TRY(scep_attributes_identify(m, &attributes, p));
    *out = m;
    return read_request(m, cms, signer, &attributes, accept, p);
}
