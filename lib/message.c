/* A request taken apart and verified. RFC 8894 3.1, 3.2. */
#include "message.h"
#include "algorithm.h"
#include "ber.h"
#include "message_parts.h"

#include <limits.h>
#include <openssl/err.h>
#include <string.h>

enum { CERTIFICATES_MOST = 16 };
enum { INTEGER = 0x02, OBJECT = 0x06, SEQUENCE = 0x30, SET = 0x31, FIRST = 0xA0, SECOND = 0xA1 };

static scep_bytes string_bytes(const ASN1_STRING *s)
{
    return (scep_bytes){ ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s) };
}

/*
 * Step through ContentInfo and SignedData (RFC 5652 3, 5.1) before OpenSSL decodes them: decoding
 * takes a tenth of a millisecond for each certificate, whoever sends them.
 */
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
static CMS_ContentInfo *read_signed_data(scep_bytes ber, apr_pool_t *p)
{
    const unsigned char *at = ber.data;
    CMS_ContentInfo *cms;

    if (!is_small_signed_data(ber))
        return NULL;
    cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)ber.len));
    if (!cms || at != ber.data + ber.len || OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
        return NULL;
    return cms;
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
static const scep_err *encode_attributes(scep_bytes *out, const CMS_SignerInfo *si, apr_pool_t *p)
{
    int count = CMS_signed_get_attr_count(si), one;
    unsigned char header[6], *der, *to;
    size_t len = 0, before;

    for (int i = 0; i < count; i++) {
        one = i2d_X509_ATTRIBUTE(CMS_signed_get_attr(si, i), NULL);
        if (one <= 0)
            return scep_fail(p, UNDECODABLE, "a signed attribute cannot be encoded");
        len += (size_t)one;
    }
    before = put_set_header(header, len);
    der = apr_palloc(p, before + len);
    memcpy(der, header, before);
    to = der + before;
    for (int i = 0; i < count; i++) {
        if (i2d_X509_ATTRIBUTE(CMS_signed_get_attr(si, i), &to) <= 0)
            return scep_fail(p, UNDECODABLE, "a signed attribute cannot be encoded");
    }
    *out = (scep_bytes){ der, before + len };
    return NULL;
}

/* RFC 5652 5.3: by issuer and serial number or by key identifier, never by position. */
static const scep_err *find_signer(scep_message *m, CMS_ContentInfo *cms, apr_pool_t *p)
{
    const STACK_OF(X509) *sent = scep_X509_STACK(p, CMS_get1_certs(cms));
    const char *fault;

    for (int i = 0; i < sk_X509_num(sent) && !m->signer; i++) {
        if (!CMS_SignerInfo_cert_cmp(m->info, sk_X509_value(sent, i)))
            m->signer = sk_X509_value(sent, i);
    }
    if (!m->signer)
        return scep_fail(p, BAD_MESSAGE,
                         "the signer's certificate is not among the %d sent with the message",
                         sent ? sk_X509_num(sent) : 0);
    m->signer_key = X509_get0_pubkey(m->signer);
    fault = scep_algorithm_key_fault(m->signer_key);
    if (fault)
        return scep_fail(p, BAD_ALG, "the signer's key is not accepted: %s", fault);
    return NULL;
}

bool scep_message_is_self_signed(const scep_message *m)
{
    bool self = !X509_NAME_cmp(X509_get_issuer_name(m->signer), X509_get_subject_name(m->signer)) &&
                X509_verify(m->signer, m->signer_key) == 1;

    ERR_clear_error();
    return self;
}

static const scep_err *read_content(scep_message *m, CMS_ContentInfo *cms, apr_pool_t *p)
{
    ASN1_OCTET_STRING **content = CMS_get0_content(cms);

    if (OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data || !content || !*content)
        return scep_fail(p, BAD_REQUEST, "the message has no content of type data");
    m->content = string_bytes(*content);
    return NULL;
}

/* Everything after the transactionID, from here on answerable. */
static const scep_err *read_request(scep_message *m, CMS_ContentInfo *cms, const scep_attributes *a,
                                    const scep_accept *accept, apr_pool_t *p)
{
    X509_ALGOR *digest, *signature;
    scep_scheme scheme;
    const scep_err *err;

    SCEP_TRY(scep_attributes_request(m, a, accept, p));
    CMS_SignerInfo_get0_algs(m->info, NULL, NULL, &digest, &signature);
    err = scep_algorithm_signature(&scheme, digest, signature, accept->minimum_hash_bits,
                                   accept->legacy, p);
    m->digest = scheme.digest; /* good or not, the answer may use it */
    SCEP_TRY(err);
    SCEP_TRY(find_signer(m, cms, p));
    SCEP_TRY(read_content(m, cms, p));
    SCEP_TRY(scep_envelope_read(m, accept, p));
    SCEP_TRY(scep_attributes_fit(m, a, false, p));
    SCEP_TRY(scep_algorithm_verify(&scheme, m->signer_key, m->attributes,
                                   string_bytes(CMS_SignerInfo_get0_signature(m->info)), p));
    m->self_signed = scep_message_is_self_signed(m);
    return NULL;
}

const scep_err *scep_message_open(scep_message **out, scep_bytes der, const scep_accept *accept,
                                  apr_pool_t *p)
{
    scep_message *m = apr_pcalloc(p, sizeof(*m));
    CMS_ContentInfo *cms = read_signed_data(der, p);
    STACK_OF(CMS_SignerInfo) * signers;
    scep_attributes attributes;

    *out = NULL;
    if (!cms)
        return scep_fail(p, UNDECODABLE,
                         "not one CMS SignedData of %lu bytes with at most %d certificates",
                         (unsigned long)der.len, CERTIFICATES_MOST);
    signers = CMS_get0_SignerInfos(cms);
    if (sk_CMS_SignerInfo_num(signers) != 1)
        return scep_fail(p, UNDECODABLE, "the message has %d signers: 1 is accepted",
                         signers ? sk_CMS_SignerInfo_num(signers) : 0);
    m->info = sk_CMS_SignerInfo_value(signers, 0);
    if (CMS_signed_get_attr_count(m->info) <= 0)
        return scep_fail(p, UNDECODABLE, "the message has no signed attributes");
    SCEP_TRY(encode_attributes(&m->attributes, m->info, p));
    SCEP_TRY(scep_attributes_read(&attributes, m->attributes, p));
    SCEP_TRY(scep_attributes_identify(m, &attributes, p));
    *out = m;
    return read_request(m, cms, &attributes, accept, p);
}
