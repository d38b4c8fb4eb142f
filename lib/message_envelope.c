/* The EnvelopedData of a request. RFC 5652 6.1, RFC 8894 3.1. */
#include "algorithm.h"
#include "ber.h"
#include "legacy.h"
#include "message_parts.h"

enum { CERTIFICATES_MOST = 16, INTEGER = 0x02, OBJECT = 0x06, SEQUENCE = 0x30, SET = 0x31 };
enum { FIRST = 0xA0, SECOND = 0xA1, FIRST_PRIMITIVE = 0x80 };

static bool step_over_object(scep_cursor *c, int nid)
{
    const ASN1_OBJECT *oid = OBJ_nid2obj(nid);
    scep_cursor at = *c, in;

    if (!scep_ber_step(&at, OBJECT, &in) ||
        !scep_bytes_equal((scep_bytes){ in.at, in.left },
                          (scep_bytes){ OBJ_get0_data(oid), OBJ_length(oid) }))
        return false;
    *c = at;
    return true;
}

/* RFC 5652 6.1: OriginatorInfo is of no use with key transport, but may be sent. */
static bool is_small_originator(scep_cursor in)
{
    scep_cursor list;

    if (scep_ber_step(&in, FIRST, &list) && scep_ber_count(list, CERTIFICATES_MOST) < 0)
        return false;
    if (scep_ber_step(&in, SECOND, &list) && scep_ber_count(list, CERTIFICATES_MOST) < 0)
        return false;
    return !in.left;
}

/*
 * Find out what the envelope is and how much of it there is before OpenSSL decodes it. One
 * recipient only: with several, a failed decryption can be told from a good one (S-15). Every other
 * kind of content, which CMS_decrypt() would open just as well, ends here.
 * @param c left at the encryptedContentInfo's contents
 */
static const scep_err *walk(scep_cursor *c, scep_bytes content, apr_pool_t *p)
{
    scep_cursor in;
    int recipients;

    *c = (scep_cursor){ content.data, content.len };
    if (!content.len || !scep_ber_is_bounded(content) || !scep_ber_step(c, SEQUENCE, c))
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    if (step_over_object(c, NID_id_smime_ct_authEnvelopedData))
        return scep_fail(p, BAD_ALG,
                         "the content is an AuthEnvelopedData, which SCEP does not "
                         "know: EnvelopedData with AES-CBC is accepted");
    if (!step_over_object(c, NID_pkcs7_enveloped) || !scep_ber_step(c, FIRST, c) ||
        !scep_ber_step(c, SEQUENCE, c) || !scep_ber_step(c, INTEGER, &in))
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    if (scep_ber_step(c, FIRST, &in) && !is_small_originator(in))
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData's originator is not acceptable");
    if (!scep_ber_step(c, SET, &in))
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    recipients = scep_ber_count(in, 1);
    if (recipients != 1)
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData has %s: 1 is accepted",
                         recipients ? "several recipients" : "no recipient");
    if (!scep_ber_step(c, SEQUENCE, c) || !step_over_object(c, NID_pkcs7_data))
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData does not hold encrypted data");
    return NULL;
}

/* The contentEncryptionAlgorithm, for which OpenSSL 3.0 has no getter. @return to be freed */
static X509_ALGOR *content_algorithm(scep_cursor c)
{
    const unsigned char *algorithm = c.at;
    scep_cursor in;

    if (!scep_ber_step(&c, SEQUENCE, &in) ||
        (!scep_ber_step(&c, FIRST_PRIMITIVE, &in) && !scep_ber_step(&c, FIRST, &in)))
        return NULL;
    return d2i_X509_ALGOR(NULL, &algorithm, (long)(c.at - algorithm));
}

/* @param context NULL: OpenSSL's own */
static const scep_err *decode(scep_message *m, scep_bytes content, OSSL_LIB_CTX *context,
                              apr_pool_t *p)
{
    CMS_ContentInfo *cms = CMS_ContentInfo_new_ex(context, NULL);
    const unsigned char *at = content.data;
    STACK_OF(CMS_RecipientInfo) * recipients;

    if (!cms)
        return scep_fail(p, INTERNAL, "out of memory");
    /* frees what it was given, and sets it to NULL, where it fails */
    (void)d2i_CMS_ContentInfo(&cms, &at, (long)content.len);
    m->envelope = scep_CMS_ContentInfo(p, cms);
    if (!cms || at != content.data + content.len ||
        OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_enveloped)
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    recipients = CMS_get0_RecipientInfos(cms);
    if (sk_CMS_RecipientInfo_num(recipients) != 1)
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData has not one recipient");
    m->recipient = sk_CMS_RecipientInfo_value(recipients, 0);
    m->context = context;
    return NULL;
}

static const scep_err *encode(scep_bytes *out, const CMS_ContentInfo *cms, apr_pool_t *p)
{
    int len = i2d_CMS_ContentInfo(cms, NULL);
    unsigned char *der = len > 0 ? apr_palloc(p, (size_t)len) : NULL, *to = der;

    if (len <= 0 || i2d_CMS_ContentInfo(cms, &to) != len)
        return scep_fail(p, INTERNAL, "an EnvelopedData cannot be encoded");
    *out = (scep_bytes){ der, (size_t)len };
    return NULL;
}

static const scep_err *accept_cipher(scep_message *m, scep_cursor c, const scep_accept *accept,
                                     apr_pool_t *p)
{
    X509_ALGOR *alg = content_algorithm(c);
    const scep_err *err;

    if (!alg)
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData does not hold encrypted data");
    err = scep_algorithm_cipher(&m->cipher, alg, accept->legacy, p);
    X509_ALGOR_free(alg);
    return err;
}

const scep_err *scep_envelope_read(scep_message *m, const scep_accept *accept, apr_pool_t *p)
{
    OSSL_LIB_CTX *legacy;
    X509_ALGOR *transport;
    scep_mask oaep;
    scep_bytes der;
    scep_cursor c;

    SCEP_TRY(walk(&c, m->content, p));
    SCEP_TRY(decode(m, m->content, NULL, p));
    if (CMS_RecipientInfo_type(m->recipient) != CMS_RECIPINFO_TRANS ||
        !CMS_RecipientInfo_ktri_get0_algs(m->recipient, NULL, NULL, &transport))
        return scep_fail(p, BAD_REQUEST,
                         "the EnvelopedData's recipient does not use key transport");
    SCEP_TRY(scep_algorithm_transport(&oaep, transport, p));
    /* what OpenSSL understood is what is judged, not what the walk found */
    SCEP_TRY(encode(&der, m->envelope, p));
    SCEP_TRY(walk(&c, der, p));
    SCEP_TRY(accept_cipher(m, c, accept, p));
    if (EVP_CIPHER_get_nid(m->cipher) != NID_des_cbc)
        return NULL;
    SCEP_TRY(scep_legacy(&legacy, p));
    return decode(m, der, legacy, p);
}
