/* The signed attributes of a request, read from their DER. RFC 5652 5.3, RFC 8894 3.2.1. */
#include "clock.h"
#include "message_parts.h"
#include "oid.h"

#include <openssl/err.h>

enum {
    ATTRIBUTES_MOST = 64,
    TRANSACTION_ID_MOST = 255,
    NONCE_MOST = 64,
    OBJECT = 0x06,
    OCTETS = 0x04,
    PRINTABLE = 0x13,
    UTC_TIME = 0x17,
    GENERALIZED_TIME = 0x18,
    SEQUENCE = 0x30,
    SET = 0x31
};

static const ASN1_OBJECT *attribute_oid(int name)
{
    switch (name) {
    case SCEP_ATTRIBUTE_CONTENT_TYPE:
        return OBJ_nid2obj(NID_pkcs9_contentType);
    case SCEP_ATTRIBUTE_MESSAGE_DIGEST:
        return OBJ_nid2obj(NID_pkcs9_messageDigest);
    case SCEP_ATTRIBUTE_SIGNING_TIME:
        return OBJ_nid2obj(NID_pkcs9_signingTime);
    case SCEP_ATTRIBUTE_MESSAGE_TYPE:
        return scep_oid(SCEP_OID_MESSAGE_TYPE);
    case SCEP_ATTRIBUTE_TRANSACTION_ID:
        return scep_oid(SCEP_OID_TRANSACTION_ID);
    default:
        return scep_oid(SCEP_OID_SENDER_NONCE);
    }
}

static bool is_object(scep_bytes content, const ASN1_OBJECT *oid)
{
    return scep_bytes_equal(content, (scep_bytes){ OBJ_get0_data(oid), OBJ_length(oid) });
}

/* The contents of one DER element with this tag. */
static bool enter(scep_cursor *c, uint8_t expected, scep_bytes *content)
{
    uint8_t tag;

    return scep_cursor_der(c, &tag, content) && tag == expected;
}

static void note(scep_attribute *a, scep_bytes values)
{
    scep_cursor c = { values.data, values.len };

    a->good = !a->found && scep_cursor_der(&c, &a->tag, &a->value) && !c.left;
    a->found = true;
}

const scep_err *scep_attributes_read(scep_attributes *out, scep_bytes set, apr_pool_t *p)
{
    scep_cursor c = { set.data, set.len }, in;
    scep_bytes all, one, oid, values;
    int count = 0;

    *out = (scep_attributes){ 0 };
    if (!enter(&c, SET, &all) || c.left || !all.len)
        return scep_fail(p, UNDECODABLE, "the signed attributes are missing or no SET");
    for (c = (scep_cursor){ all.data, all.len }; c.left; count++) {
        if (!enter(&c, SEQUENCE, &one))
            return scep_fail(p, UNDECODABLE, "signed attribute %d cannot be read", count + 1);
        in = (scep_cursor){ one.data, one.len };
        if (!enter(&in, OBJECT, &oid) || !enter(&in, SET, &values) || in.left)
            return scep_fail(p, UNDECODABLE, "signed attribute %d cannot be read", count + 1);
        if (count == ATTRIBUTES_MOST)
            return scep_fail(p, UNDECODABLE, "more than %d signed attributes", ATTRIBUTES_MOST);
        for (int name = 0; name < SCEP_ATTRIBUTE_COUNT; name++) {
            if (is_object(oid, attribute_oid(name)))
                note(&out->of[name], values);
        }
    }
    return NULL;
}

/* @return NULL: not once, with one value of this type */
static const scep_bytes *value_of(const scep_attributes *a, scep_attribute_name name, uint8_t tag)
{
    const scep_attribute *found = &a->of[name];

    return found->good && found->tag == tag ? &found->value : NULL;
}

const scep_err *scep_attributes_identify(scep_message *m, const scep_attributes *a, apr_pool_t *p)
{
    const scep_bytes *id = value_of(a, SCEP_ATTRIBUTE_TRANSACTION_ID, PRINTABLE);

    if (!id || !id->len || id->len > TRANSACTION_ID_MOST)
        return scep_fail(p, UNDECODABLE,
                         "transactionID is missing, doubled, no PrintableString or not of 1 to %d "
                         "bytes",
                         TRANSACTION_ID_MOST);
    m->transaction_id = *id;
    return NULL;
}

/* Decimal without sign, spaces or leading zeros; 0: anything else. */
static int read_number(scep_bytes text)
{
    int number = 0;

    if (!text.len || text.len > 9 || text.data[0] == '0')
        return 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        number = 10 * number + (text.data[i] - '0');
    }
    return number;
}

static const scep_err *read_message_type(scep_message *m, const scep_attributes *a, apr_pool_t *p)
{
    const scep_bytes *type = value_of(a, SCEP_ATTRIBUTE_MESSAGE_TYPE, PRINTABLE);

    if (!type)
        return scep_fail(p, BAD_REQUEST, "messageType is missing, doubled or no PrintableString");
    m->message_type = read_number(*type);
    switch (m->message_type) {
    case SCEP_RENEWAL_REQ:
    case SCEP_PKCS_REQ:
    case SCEP_CERT_POLL:
    case SCEP_GET_CERT:
    case SCEP_GET_CRL:
        return NULL;
    default:
        return scep_fail(p, BAD_REQUEST, "messageType \"%s\" is not that of a request",
                         scep_printable(p, *type, 16));
    }
}

/* RFC 8894 3.2.1.5 wants one; some clients send none and are answered without recipientNonce. */
static const scep_err *read_sender_nonce(scep_message *m, const scep_attributes *a, bool required,
                                         apr_pool_t *p)
{
    const scep_bytes *nonce = value_of(a, SCEP_ATTRIBUTE_SENDER_NONCE, OCTETS);

    if (!a->of[SCEP_ATTRIBUTE_SENDER_NONCE].found || (nonce && !nonce->len)) {
        if (required)
            return scep_fail(p, BAD_REQUEST,
                             "the request has no senderNonce, which SCEPRequireNonce asks for");
        return NULL;
    }
    if (!nonce || nonce->len > NONCE_MOST)
        return scep_fail(p, BAD_REQUEST, "senderNonce is doubled, no OCTET STRING or over %d bytes",
                         NONCE_MOST);
    m->sender_nonce = *nonce;
    return NULL;
}

/* @return false: no time, or further than @a skew seconds from now */
static bool is_near(const scep_attribute *time, time_t skew)
{
    time_t now = (time_t)apr_time_sec(scep_now());
    ASN1_TIME *at;
    bool near;

    if (!time->good || (time->tag != UTC_TIME && time->tag != GENERALIZED_TIME))
        return false;
    at = ASN1_STRING_type_new(time->tag);
    near = at && ASN1_STRING_set(at, time->value.data, (int)time->value.len) &&
           ASN1_TIME_cmp_time_t(at, now - skew) >= 0 && /* -2: no time */
           ASN1_TIME_cmp_time_t(at, now + skew) <= 0;
    ASN1_STRING_free(at);
    ERR_clear_error();
    return near;
}

/* RFC 5652 11.3. RFC 8894 has failInfo badTime, but asks nobody to send the time. */
static const scep_err *check_signing_time(const scep_attributes *a, int minutes, apr_pool_t *p)
{
    const scep_attribute *time = &a->of[SCEP_ATTRIBUTE_SIGNING_TIME];

    if (minutes > 0 && time->found && !is_near(time, (time_t)minutes * 60))
        return scep_fail(p, BAD_TIME,
                         "signingTime is doubled, no time or more than %d minutes off: set the "
                         "client's clock, or SCEPSigningTime 0",
                         minutes);
    return NULL;
}

const scep_err *scep_attributes_request(scep_message *m, const scep_attributes *a,
                                        const scep_accept *accept, apr_pool_t *p)
{
    SCEP_TRY(read_message_type(m, a, p));
    SCEP_TRY(read_sender_nonce(m, a, accept->nonce_required, p));
    return check_signing_time(a, accept->clock_skew, p);
}

/* CMS_verify() compares messageDigest too, but hashes the content once for each entry of
 * digestAlgorithms, a list of the sender's choice, and never looks at contentType. */
const scep_err *scep_attributes_fit(const scep_message *m, const scep_attributes *a, bool strict,
                                    apr_pool_t *p)
{
    const scep_bytes *type = value_of(a, SCEP_ATTRIBUTE_CONTENT_TYPE, OBJECT);
    const scep_bytes *sent = value_of(a, SCEP_ATTRIBUTE_MESSAGE_DIGEST, OCTETS);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;

    if ((strict || a->of[SCEP_ATTRIBUTE_CONTENT_TYPE].found) &&
        (!type || !is_object(*type, OBJ_nid2obj(NID_pkcs7_data))))
        return scep_fail(p, BAD_MESSAGE,
                         "the attribute contentType is missing, doubled or other "
                         "than data");
    if (!EVP_Digest(m->content.data, m->content.len, digest, &len, m->digest, NULL))
        return scep_fail(p, INTERNAL, "the content cannot be hashed");
    if (!sent || !scep_bytes_equal(*sent, (scep_bytes){ digest, len }))
        return scep_fail(p, BAD_MESSAGE, "messageDigest is not the digest of the content");
    return NULL;
}
