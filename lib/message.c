/* A request taken apart and verified. RFC 8894 3.1, 3.2. */
#include "message.h"
#include "algorithm.h"
#include "oid.h"

#include <limits.h>
#include <openssl/err.h>

enum { TRANSACTION_ID_MOST = 255, NONCE_MOST = 64 };

/* One whole ContentInfo, BER allowed; NULL: anything else, bytes behind it included. */
static CMS_ContentInfo *read_content_info(scep_bytes der, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    CMS_ContentInfo *cms = NULL;

    if (der.len && der.len <= INT_MAX)
        cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)der.len));
    return cms && at == der.data + der.len ? cms : NULL;
}

static scep_bytes string_bytes(const ASN1_STRING *s)
{
    return (scep_bytes){ ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s) };
}

/* RFC 8894 3.2.1: an attribute stands once, with one value, of one type. Anything else is NULL.
 * Unsigned attributes are never looked at. */
static const ASN1_STRING *signed_attribute(const CMS_SignerInfo *si, const ASN1_OBJECT *oid,
                                           int type)
{
    const int once_with_one_value = -3;

    return CMS_signed_get0_data_by_OBJ(si, oid, once_with_one_value, type);
}

static const scep_err *read_transaction_id(scep_message *m, const CMS_SignerInfo *si, apr_pool_t *p)
{
    const ASN1_STRING *id =
        signed_attribute(si, scep_oid(SCEP_OID_TRANSACTION_ID), V_ASN1_PRINTABLESTRING);

    if (!id || !ASN1_STRING_length(id) || ASN1_STRING_length(id) > TRANSACTION_ID_MOST)
        return scep_fail(p, UNDECODABLE,
                         "transactionID is missing, doubled, no PrintableString or not of 1 to %d "
                         "bytes",
                         TRANSACTION_ID_MOST);
    m->transaction_id = string_bytes(id);
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

static const scep_err *read_message_type(scep_message *m, const CMS_SignerInfo *si, apr_pool_t *p)
{
    const ASN1_STRING *type =
        signed_attribute(si, scep_oid(SCEP_OID_MESSAGE_TYPE), V_ASN1_PRINTABLESTRING);

    if (!type)
        return scep_fail(p, BAD_REQUEST, "messageType is missing, doubled or no PrintableString");
    m->message_type = read_number(string_bytes(type));
    switch (m->message_type) {
    case SCEP_RENEWAL_REQ:
    case SCEP_PKCS_REQ:
    case SCEP_CERT_POLL:
    case SCEP_GET_CERT:
    case SCEP_GET_CRL:
        return NULL;
    default:
        return scep_fail(p, BAD_REQUEST, "messageType \"%s\" is not that of a request",
                         scep_printable(p, string_bytes(type), 16));
    }
}

/* The RFC wants one; some clients send none and are answered without a recipientNonce. */
static const scep_err *read_sender_nonce(scep_message *m, const CMS_SignerInfo *si, apr_pool_t *p)
{
    const ASN1_OBJECT *oid = scep_oid(SCEP_OID_SENDER_NONCE);
    const ASN1_STRING *nonce;

    if (CMS_signed_get_attr_by_OBJ(si, oid, -1) < 0)
        return NULL;
    nonce = signed_attribute(si, oid, V_ASN1_OCTET_STRING);
    if (!nonce || ASN1_STRING_length(nonce) > NONCE_MOST)
        return scep_fail(p, BAD_REQUEST, "senderNonce is doubled, no OCTET STRING or over %d bytes",
                         NONCE_MOST);
    m->sender_nonce = string_bytes(nonce);
    return NULL;
}

/* RFC 5652 5.3: by issuer and serial number or by key identifier, never by position. */
static const scep_err *find_signer(scep_message *m, CMS_SignerInfo *si, CMS_ContentInfo *cms,
                                   apr_pool_t *p)
{
    const STACK_OF(X509) *sent = scep_X509_STACK(p, CMS_get1_certs(cms));
    const char *fault;

    for (int i = 0; i < sk_X509_num(sent) && !m->signer; i++) {
        if (!CMS_SignerInfo_cert_cmp(si, sk_X509_value(sent, i)))
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

static const scep_err *accept_signature(scep_message *m, CMS_SignerInfo *si, CMS_ContentInfo *cms,
                                        const scep_accept *accept, apr_pool_t *p)
{
    X509_ALGOR *digest, *signature;
    int key_type;

    CMS_SignerInfo_get0_algs(si, NULL, NULL, &digest, &signature);
    SCEP_TRY(scep_algorithm_digest(&m->digest, digest, accept->minimum_hash_bits, p));
    SCEP_TRY(scep_algorithm_signature(&key_type, signature, accept->minimum_hash_bits, p));
    SCEP_TRY(find_signer(m, si, cms, p));
    if (EVP_PKEY_get_base_id(m->signer_key) != key_type)
        return scep_fail(p, BAD_ALG, "the signature algorithm does not fit the signer's key");
    return NULL;
}

/* Step over one DER element. @param inside its contents; may be the cursor itself: step into it */
static bool step(scep_cursor *c, uint8_t expected, scep_cursor *inside)
{
    scep_cursor at = *c;
    scep_bytes content;
    uint8_t tag;

    if (!scep_cursor_der(&at, &tag, &content) || tag != expected)
        return false;
    *c = at;
    *inside = (scep_cursor){ content.data, content.len };
    return true;
}

/*
 * The contentEncryptionAlgorithm, for which OpenSSL 3.0 has no getter. The envelope is encoded
 * anew, so that indefinite lengths are gone, and walked (RFC 5652 6.1).
 * @return to be freed; NULL: the structure is another, or what is inside is not data
 */
static X509_ALGOR *content_algorithm(const CMS_ContentInfo *envelope, apr_pool_t *p)
{
    enum { INTEGER = 0x02, OID = 0x06, SEQUENCE = 0x30, SET = 0x31, FIRST = 0xA0, TEXT = 0x80 };
    static const unsigned char data[] = { 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 1 };
    int len = i2d_CMS_ContentInfo(envelope, NULL);
    unsigned char *der = len > 0 ? apr_palloc(p, (size_t)len) : NULL, *to = der;
    const unsigned char *algorithm;
    scep_cursor c, in;

    if (len <= 0 || i2d_CMS_ContentInfo(envelope, &to) != len)
        return NULL;
    c = (scep_cursor){ der, (size_t)len };
    if (!step(&c, SEQUENCE, &c) || !step(&c, OID, &in) || !step(&c, FIRST, &c) ||
        !step(&c, SEQUENCE, &c) || !step(&c, INTEGER, &in))
        return NULL;
    (void)step(&c, FIRST, &in); /* originatorInfo, optional and of no use with key transport */
    if (!step(&c, SET, &in) || !step(&c, SEQUENCE, &c) || !step(&c, OID, &in) ||
        !scep_bytes_equal((scep_bytes){ in.at, in.left }, (scep_bytes){ data, sizeof(data) }))
        return NULL;
    algorithm = c.at;
    if (!step(&c, SEQUENCE, &in) || !step(&c, TEXT, &in))
        return NULL;
    return d2i_X509_ALGOR(NULL, &algorithm, (long)(in.at - algorithm));
}

static const scep_err *accept_content_cipher(scep_message *m, apr_pool_t *p)
{
    X509_ALGOR *alg = content_algorithm(m->envelope, p);
    const scep_err *err;

    if (!alg)
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData does not hold encrypted data");
    err = scep_algorithm_cipher(&m->cipher, alg, p);
    X509_ALGOR_free(alg);
    return err;
}

/*
 * RFC 8894 3.1: the content is an EnvelopedData. One recipient only: with several, a failed
 * decryption can be told from a good one. Authenticated and other kinds of content, which
 * CMS_decrypt() would open just as well, end here.
 */
static const scep_err *read_envelope(scep_message *m, scep_bytes content, apr_pool_t *p)
{
    STACK_OF(CMS_RecipientInfo) * recipients;
    X509_ALGOR *transport;
    scep_mask oaep;

    m->envelope = read_content_info(content, p);
    if (!m->envelope || OBJ_obj2nid(CMS_get0_type(m->envelope)) != NID_pkcs7_enveloped)
        return scep_fail(p, BAD_REQUEST, "the content is not an EnvelopedData");
    recipients = CMS_get0_RecipientInfos(m->envelope);
    if (sk_CMS_RecipientInfo_num(recipients) != 1)
        return scep_fail(p, BAD_REQUEST, "the EnvelopedData has %d recipients: 1 is accepted",
                         sk_CMS_RecipientInfo_num(recipients));
    m->recipient = sk_CMS_RecipientInfo_value(recipients, 0);
    if (CMS_RecipientInfo_type(m->recipient) != CMS_RECIPINFO_TRANS ||
        !CMS_RecipientInfo_ktri_get0_algs(m->recipient, NULL, NULL, &transport))
        return scep_fail(p, BAD_REQUEST,
                         "the EnvelopedData's recipient does not use key transport");
    SCEP_TRY(scep_algorithm_transport(&oaep, transport, p));
    return accept_content_cipher(m, p);
}

/*
 * RFC 5652 5.4, 5.6: the signed attributes are signed, and one of them is the content's digest.
 * CMS_verify() does the same, but hashes the content once for each entry of digestAlgorithms,
 * a list of the sender's choice.
 */
static const scep_err *verify(const scep_message *m, CMS_SignerInfo *si, scep_bytes content,
                              apr_pool_t *p)
{
    const ASN1_STRING *sent =
        signed_attribute(si, OBJ_nid2obj(NID_pkcs9_messageDigest), V_ASN1_OCTET_STRING);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;

    if (!EVP_Digest(content.data, content.len, digest, &len, m->digest, NULL))
        return scep_fail(p, INTERNAL, "the content cannot be hashed");
    if (!sent || !scep_bytes_equal(string_bytes(sent), (scep_bytes){ digest, len }))
        return scep_fail(p, BAD_MESSAGE, "messageDigest is not the digest of the content");
    CMS_SignerInfo_set1_signer_cert(si, m->signer);
    if (CMS_SignerInfo_verify(si) <= 0)
        return scep_fail(p, BAD_MESSAGE, "the signature does not verify");
    return NULL;
}

/* By names and key, whatever the extensions say: SCEP's throw-away certificates carry odd ones. */
static bool is_self_signed(const scep_message *m)
{
    bool self = !X509_NAME_cmp(X509_get_issuer_name(m->signer), X509_get_subject_name(m->signer)) &&
                X509_verify(m->signer, m->signer_key) == 1;

    ERR_clear_error();
    return self;
}

/* Everything after the transactionID, from here on answerable. */
static const scep_err *read_request(scep_message *m, CMS_ContentInfo *cms, CMS_SignerInfo *si,
                                    const scep_accept *accept, apr_pool_t *p)
{
    ASN1_OCTET_STRING **content = CMS_get0_content(cms);

    SCEP_TRY(read_message_type(m, si, p));
    SCEP_TRY(read_sender_nonce(m, si, p));
    SCEP_TRY(accept_signature(m, si, cms, accept, p));
    if (OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data || !content || !*content)
        return scep_fail(p, BAD_REQUEST, "the message has no content of type data");
    SCEP_TRY(read_envelope(m, string_bytes(*content), p));
    SCEP_TRY(verify(m, si, string_bytes(*content), p));
    m->self_signed = is_self_signed(m);
    return NULL;
}

const scep_err *scep_message_open(scep_message **out, scep_bytes der, const scep_accept *accept,
                                  apr_pool_t *p)
{
    scep_message *m = apr_pcalloc(p, sizeof(*m));
    STACK_OF(CMS_SignerInfo) * signers;
    CMS_ContentInfo *cms;
    CMS_SignerInfo *si;

    *out = NULL;
    cms = read_content_info(der, p);
    if (!cms || OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
        return scep_fail(p, UNDECODABLE, "not one CMS SignedData of %lu bytes",
                         (unsigned long)der.len);
    signers = CMS_get0_SignerInfos(cms);
    if (sk_CMS_SignerInfo_num(signers) != 1)
        return scep_fail(p, UNDECODABLE, "the message has %d signers: 1 is accepted",
                         signers ? sk_CMS_SignerInfo_num(signers) : 0);
    si = sk_CMS_SignerInfo_value(signers, 0);
    if (CMS_signed_get_attr_count(si) <= 0)
        return scep_fail(p, UNDECODABLE, "the message has no signed attributes");
    SCEP_TRY(read_transaction_id(m, si, p));
    *out = m;
    return read_request(m, cms, si, accept, p);
}
