/* The EnvelopedData of a request. RFC 5652 6.1, RFC 8894 3.1. */
#include "algorithm.h"
#include "ber.h"
#include "cms.h"
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
 * kind of content ends here.
 */
static const scep_err *walk(scep_bytes content, apr_pool_t *p)
{
    scep_cursor at = { content.data, content.len }, *c = &at, in;
    int recipients;

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

/* @return NULL: not one that uses key transport */
static const cms_recipient *read_recipient(const cms_enveloped *read, apr_pool_t *p)
{
    const ASN1_TYPE *one;

    if (sk_ASN1_TYPE_num(read->recipients) != 1)
        return NULL;
    one = sk_ASN1_TYPE_value(read->recipients, 0);
    if (ASN1_TYPE_get(one) != V_ASN1_SEQUENCE) /* RFC 5652 6.2: the others have tags */
        return NULL;
    return scep_asn1_read(cms_recipient_it(), scep_asn1_bytes(one->value.sequence), p);
}

static const scep_err *decode(scep_message *m, apr_pool_t *p)
{
    const cms_enveloped_info *info = scep_asn1_read(cms_enveloped_info_it(), m->content, p);
    scep_envelope *envelope = apr_pcalloc(p, sizeof(*envelope));
    const cms_recipient *to;
    const cms_encrypted *in;

    if (!info || OBJ_obj2nid(info->type) != NID_pkcs7_enveloped)
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    to = read_recipient(info->content, p);
    if (!to)
        return scep_fail(p, BAD_REQUEST,
                         "the EnvelopedData's recipient does not use key transport");
    in = info->content->encrypted;
    if (OBJ_obj2nid(in->type) != NID_pkcs7_data || !in->content)
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData does not hold encrypted data");
    if (to->id->type == CMS_BY_ISSUER_SERIAL) {
        envelope->issuer = to->id->d.issuer_serial->issuer;
        envelope->serial = to->id->d.issuer_serial->serial;
    } else {
        envelope->key_id = to->id->d.key_id;
    }
    envelope->transport = to->transport;
    envelope->key = scep_asn1_bytes(to->key);
    envelope->cipher = in->cipher;
    envelope->content = scep_asn1_bytes(in->content);
    m->envelope = envelope;
    return NULL;
}

const scep_err *scep_envelope_read(scep_message *m, const scep_accept *accept, apr_pool_t *p)
{
    scep_oaep oaep;

    SCEP_TRY(walk(m->content, p));
    SCEP_TRY(decode(m, p));
    SCEP_TRY(scep_algorithm_transport(&oaep, m->envelope->transport, p));
    SCEP_TRY(scep_algorithm_cipher(&m->cipher, m->envelope->cipher, accept->legacy, p));
    return EVP_CIPHER_get_nid(m->cipher) == NID_des_cbc ? scep_legacy(&m->context, p) : NULL;
}
