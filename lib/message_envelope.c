/* The EnvelopedData of a request. RFC 5652 6.1, RFC 8894 3.1. */
#include "algorithm.h"
#include "asn1.h"
#include "legacy.h"
#include "message_parts.h"

enum { CERTIFICATES_MOST = 16, INTEGER = 0x02, OCTETS = 0x04, OBJECT = 0x06 };
enum { SEQUENCE = 0x30, SET = 0x31 };
enum { FIRST = 0xA0, SECOND = 0xA1, FIRST_PRIMITIVE = 0x80 };

static bool step_over_object(scep_cursor *c, int nid)
{
    scep_cursor at = *c, in;

    if (!scep_ber_step(&at, OBJECT, &in) ||
        !scep_asn1_is((scep_bytes){ in.at, in.left }, OBJ_nid2obj(nid)))
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

/* Views of what was received. RFC 5652 6.1 */
typedef struct parts {
    scep_cursor recipient;
    scep_cursor encrypted; /* of the EncryptedContentInfo, behind its contentType */
} parts;

/*
 * Find out what the envelope is and how much of it there is before anything is decoded. One
 * recipient only: with several, a failed decryption can be told from a good one (S-15). Every other
 * kind of content ends here.
 */
static const scep_err *walk(parts *out, scep_bytes content, apr_pool_t *p)
{
    scep_cursor whole = { content.data, content.len }, outer, info, inner, *c = &inner, in;
    int recipients;

    if (!content.len || !scep_ber_is_bounded(content) || !scep_ber_step(&whole, SEQUENCE, &outer))
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    if (step_over_object(&outer, NID_id_smime_ct_authEnvelopedData))
        return scep_fail(p, BAD_ALG,
                         "the content is an AuthEnvelopedData, which SCEP does not "
                         "know: EnvelopedData with AES-CBC is accepted");
    if (!step_over_object(&outer, NID_pkcs7_enveloped) || !scep_ber_step(&outer, FIRST, &info) ||
        outer.left || !scep_ber_step(&info, SEQUENCE, c) || info.left ||
        !scep_ber_step(c, INTEGER, &in))
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    if (scep_ber_step(c, FIRST, &in) && !is_small_originator(in))
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData's originator is not acceptable");
    if (!scep_ber_step(c, SET, &out->recipient))
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    recipients = scep_ber_count(out->recipient, 1);
    if (recipients != 1)
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData has %s: 1 is accepted",
                         recipients ? "several recipients" : "no recipient");
    if (!scep_ber_step(c, SEQUENCE, &out->encrypted) ||
        !step_over_object(&out->encrypted, NID_pkcs7_data))
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData does not hold encrypted data");
    (void)scep_ber_step(c, SECOND, &in); /* unprotected attributes */
    return c->left ? scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData") : NULL;
}

/* RFC 5652 6.2.1. @return false: not a recipient that uses key transport; the others have tags */
static bool take_recipient(scep_envelope *out, scep_cursor c, apr_pool_t *p)
{
    scep_cursor in;

    if (!scep_ber_step(&c, SEQUENCE, &c) || !scep_ber_step(&c, INTEGER, &in))
        return false;
    if (!scep_ber_next_is(c, SEQUENCE)) {
        if (!scep_asn1_octets(&out->key_id, &c, FIRST_PRIMITIVE, p))
            return false;
    } else if (!scep_ber_step(&c, SEQUENCE, &in) || !scep_ber_take(&in, SEQUENCE, &out->issuer) ||
               !scep_asn1_integer(&out->serial, &in, p) || in.left) {
        return false;
    }
    return scep_asn1_algorithm(&out->transport, NULL, &c, p) &&
           scep_asn1_octets(&out->key, &c, OCTETS, p) && !c.left;
}

/* RFC 5652 6.1. encryptedContent has a tag instead of that of an OCTET STRING. */
static bool take_content(scep_envelope *out, scep_cursor c, apr_pool_t *p)
{
    return scep_asn1_algorithm(&out->cipher, NULL, &c, p) &&
           scep_asn1_octets(&out->content, &c, FIRST_PRIMITIVE, p) && !c.left;
}

static const scep_err *read_parts(scep_message *m, apr_pool_t *p)
{
    scep_envelope *envelope = apr_pcalloc(p, sizeof(*envelope));
    parts found;

    SCEP_TRY(walk(&found, m->content, p));
    if (!take_recipient(envelope, found.recipient, p))
        return scep_fail(p, BAD_REQUEST,
                         "the EnvelopedData's recipient does not use key transport");
    if (!take_content(envelope, found.encrypted, p))
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData does not hold encrypted data");
    m->envelope = envelope;
    return NULL;
}

const scep_err *scep_envelope_read(scep_message *m, const scep_accept *accept, apr_pool_t *p)
{
    scep_oaep oaep;

    SCEP_TRY(read_parts(m, p));
    SCEP_TRY(scep_algorithm_transport(&oaep, m->envelope->transport, p));
    SCEP_TRY(scep_algorithm_cipher(&m->cipher, m->envelope->cipher, accept->legacy, p));
    return EVP_CIPHER_get_nid(m->cipher) == NID_des_cbc ? scep_legacy(&m->context, p) : NULL;
}
