/* The signed attributes of a request, read from their DER. RFC 5652 5.3, RFC 8894 3.2.1. */
#include "asn1.h"
#include "clock.h"
#include "der.h"
#include "message_parts.h"
#include "oid.h"

#include <apr_strings.h>
#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <string.h>

enum {
    ATTRIBUTES_MOST = 64,
    TRANSACTION_ID_MOST = 255,
    NONCE_MOST = 64,
    OCTETS = 0x04,
    OBJECT = 0x06,
    UTF8 = 0x0C,
    PRINTABLE = 0x13,
    UTC_TIME = 0x17,
    GENERALIZED_TIME = 0x18,
    SEQUENCE = 0x30,
    SET = 0x31,
    SET_HEADER_MOST = 10
};

/* The contents of one DER element with this tag. */
static bool enter(scep_cursor *c, uint8_t expected, scep_bytes *content)
{
    uint8_t tag;

    return scep_cursor_der(c, &tag, content) && tag == expected;
}

/* ---- what is signed ---- */

/* Is the value one that OpenSSL would write as it stands? */
static bool is_plain(uint8_t tag, scep_bytes content)
{
    switch (tag) {
    case OBJECT:
        return scep_asn1_is_oid(content);
    case OCTETS:
    case UTF8:
    case PRINTABLE:
    case UTC_TIME:
    case GENERALIZED_TIME:
    case SEQUENCE: /* whatever is inside */
        return true;
    default:
        return false;
    }
}

/* One attribute in DER with one value that is plain: several would have to be sorted. */
static bool is_plain_attribute(scep_cursor *c)
{
    scep_bytes one, oid, values, value;
    scep_cursor in;
    uint8_t tag;

    if (!enter(c, SEQUENCE, &one))
        return false;
    in = (scep_cursor){ one.data, one.len };
    if (!enter(&in, OBJECT, &oid) || !scep_asn1_is_oid(oid) || !enter(&in, SET, &values) || in.left)
        return false;
    in = (scep_cursor){ values.data, values.len };
    return scep_cursor_der(&in, &tag, &value) && !in.left && is_plain(tag, value);
}

/* @return false: something in them OpenSSL might write otherwise */
static bool are_plain(scep_bytes sent)
{
    scep_cursor c = { sent.data, sent.len };
    scep_bytes all;
    uint8_t tag;

    if (!scep_cursor_der(&c, &tag, &all) || c.left)
        return false;
    for (c = (scep_cursor){ all.data, all.len }; c.left;)
        if (!is_plain_attribute(&c))
            return false;
    return true;
}

/* clang-format off */
ASN1_ITEM_TEMPLATE(attributes) =
    ASN1_EX_TEMPLATE_TYPE(ASN1_TFLG_SET_OF, 0, attributes, X509_ATTRIBUTE)
static_ASN1_ITEM_TEMPLATE_END(attributes)
    /* clang-format on */

    /*
     * RFC 5652 5.4: what is signed is the DER of the attributes as a SET OF, in the order in which
     * they were sent, as OpenSSL and others do it.
     */
    static const scep_err
    * encode(scep_bytes * out, const STACK_OF(X509_ATTRIBUTE) * list, apr_pool_t *p)
{
    int n = sk_X509_ATTRIBUTE_num(list);
    scep_bytes *one = apr_palloc(p, (size_t)n * sizeof(*one) + 1);
    size_t room = SET_HEADER_MOST;
    scep_der d;

    for (int i = 0; i < n; i++) {
        const X509_ATTRIBUTE *attribute = sk_X509_ATTRIBUTE_value(list, i);

        if (scep_asn1_write(&one[i], ASN1_ITEM_rptr(X509_ATTRIBUTE), attribute, p))
            return scep_fail(p, UNDECODABLE, "a signed attribute cannot be encoded");
        room += one[i].len;
    }
    scep_der_begin(&d, room, p);
    for (int i = n - 1; i >= 0; i--)
        scep_der_put(&d, one[i]);
    scep_der_wrap(&d, SCEP_DER_SET, 0);
    return scep_der_end(out, &d, p);
}

const scep_err *scep_attributes_encode(scep_bytes *out, scep_bytes sent, apr_pool_t *p)
{
    unsigned char *copy = apr_pmemdup(p, sent.data, sent.len);
    const STACK_OF(X509_ATTRIBUTE) * read;

    copy[0] = SET; /* its own tag */
    *out = (scep_bytes){ copy, sent.len };
    if (are_plain(*out))
        return NULL;
    read = scep_asn1_read(ASN1_ITEM_rptr(attributes), *out, p);
    if (!read)
        return scep_fail(p, UNDECODABLE, "the signed attributes cannot be read");
    return encode(out, read, p);
}

/* ---- reading ---- */

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
            if (scep_asn1_is(oid, attribute_oid(name)))
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
        (!type || !scep_asn1_is(*type, OBJ_nid2obj(NID_pkcs7_data))))
        return scep_fail(p, BAD_MESSAGE,
                         "the attribute contentType is missing, doubled or other "
                         "than data");
    if (!EVP_Digest(m->content.data, m->content.len, digest, &len, m->digest, NULL))
        return scep_fail(p, INTERNAL, "the content cannot be hashed");
    if (!sent || !scep_bytes_equal(*sent, (scep_bytes){ digest, len }))
        return scep_fail(p, BAD_MESSAGE, "messageDigest is not the digest of the content");
    return NULL;
}
