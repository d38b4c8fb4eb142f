/* A reply: CertRep. RFC 8894 3.3.2. */
#include "certrep.h"
#include "algorithm.h"
#include "asn1.h"
#include "certrep_parts.h"
#include "clock.h"
#include "der.h"
#include "legacy.h"
#include "oid.h"

#include <apr_strings.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* RFC 8894 3.2.1.3 */
#define SUCCESS "0"
#define FAILURE "2"
#define PENDING "3"

enum { NONCE_LENGTH = 16, TEXT_MOST = 255, ATTRIBUTES_MOST = 10 };
enum { PRINTABLE = 0x13, UTF8 = 0x0C, UTC_TIME = 0x17, GENERALIZED_TIME = 0x18 };

/* Tags, lengths, object identifiers and small numbers around what varies. */
enum { ATTRIBUTE_ROOM = 64, REPLY_ROOM = 512 };

/* ---- attributes ---- */

/* A reply under way. */
typedef struct reply {
    scep_bytes attributes[ATTRIBUTES_MOST]; /* DER each */
    int count;
    const scep_err *err; /* the first */
    const EVP_MD *digest;
    apr_pool_t *p;
} reply;

/* RFC 5652 5.3 Attribute, with one value */
static void add(reply *r, const ASN1_OBJECT *name, uint8_t tag, scep_bytes value)
{
    scep_der d;

    if (r->err)
        return;
    scep_der_begin(&d, value.len + ATTRIBUTE_ROOM, r->p);
    scep_der_element(&d, tag, value);
    scep_der_wrap(&d, SCEP_DER_SET, 0);
    scep_der_object(&d, name);
    scep_der_wrap(&d, SCEP_DER_SEQUENCE, 0);
    if (r->count == ATTRIBUTES_MOST)
        r->err = scep_fail(r->p, INTERNAL, "a reply has too many attributes");
    else
        r->err = scep_der_end(&r->attributes[r->count++], &d, r->p);
}

/* RFC 5652 11.3: until 2049 a UTCTime. */
static void add_time(reply *r)
{
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)apr_time_sec(scep_now()));
    bool is_utc = now && ASN1_STRING_type(now) == V_ASN1_UTCTIME;

    if (now)
        add(r, OBJ_nid2obj(NID_pkcs9_signingTime), is_utc ? UTC_TIME : GENERALIZED_TIME,
            scep_asn1_bytes(now));
    else
        r->err = scep_fail(r->p, INTERNAL, "there is no time for a reply");
    ASN1_TIME_free(now);
}

/* RFC 5652 11: what a signature with attributes needs, and when it was made. */
static void add_standard(reply *r, scep_bytes content)
{
    const ASN1_OBJECT *data = OBJ_nid2obj(NID_pkcs7_data);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len;

    if (EVP_Digest(content.data, content.len, hash, &len, r->digest, NULL) != 1) {
        r->err = scep_fail(r->p, INTERNAL, "a reply's content cannot be hashed");
        return;
    }
    add(r, OBJ_nid2obj(NID_pkcs9_contentType), SCEP_DER_OBJECT,
        (scep_bytes){ OBJ_get0_data(data), OBJ_length(data) });
    add(r, OBJ_nid2obj(NID_pkcs9_messageDigest), SCEP_DER_OCTETS, (scep_bytes){ hash, len });
    add_time(r);
}

/* RFC 8894 3.2.1: what every CertRep carries. */
static const scep_err *begin(reply *r, const scep_message *request, const char *status,
                             const EVP_MD *digest, apr_pool_t *p)
{
    unsigned char nonce[NONCE_LENGTH];

    *r = (reply){ .digest = digest, .p = p };
    if (RAND_bytes(nonce, sizeof(nonce)) != 1)
        return scep_fail(p, INTERNAL, "no random bytes for a nonce");
    add(r, scep_oid(SCEP_OID_MESSAGE_TYPE), PRINTABLE, scep_bytes_of("3"));
    add(r, scep_oid(SCEP_OID_PKI_STATUS), PRINTABLE, scep_bytes_of(status));
    add(r, scep_oid(SCEP_OID_TRANSACTION_ID), PRINTABLE, request->transaction_id);
    add(r, scep_oid(SCEP_OID_SENDER_NONCE), SCEP_DER_OCTETS, (scep_bytes){ nonce, sizeof(nonce) });
    /* RFC 8894 3.2.1.5: copied as received; there is nothing to copy where none was sent */
    if (request->sender_nonce.len)
        add(r, scep_oid(SCEP_OID_RECIPIENT_NONCE), SCEP_DER_OCTETS, request->sender_nonce);
    return r->err;
}

/* RFC 8894 3.3.2.2 */
static const scep_err *add_failure(reply *r, int fail_info, const char *text)
{
    const char *number = apr_psprintf(r->p, "%d", fail_info);

    add(r, scep_oid(SCEP_OID_FAIL_INFO), PRINTABLE, scep_bytes_of(number));
    if (text && *text)
        add(r, scep_oid(SCEP_OID_FAIL_INFO_TEXT), UTF8, scep_bytes_of(text));
    return r->err;
}

/* X.690 11.6 */
static int compare(const void *one, const void *two)
{
    const scep_bytes *a = one, *b = two;
    int order = memcmp(a->data, b->data, a->len < b->len ? a->len : b->len);

    return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* @param out a SET OF, which is what is signed (RFC 5652 5.4). @param content what is inside */
static const scep_err *join(scep_bytes *out, scep_bytes *content, reply *r)
{
    size_t len = 0;
    scep_der d;

    qsort(r->attributes, (size_t)r->count, sizeof(r->attributes[0]), compare);
    for (int i = 0; i < r->count; i++)
        len += r->attributes[i].len;
    scep_der_begin(&d, len + ATTRIBUTE_ROOM, r->p);
    for (int i = r->count - 1; i >= 0; i--)
        scep_der_put(&d, r->attributes[i]);
    SCEP_TRY(scep_der_end(content, &d, r->p));
    scep_der_wrap(&d, SCEP_DER_SET, 0);
    return scep_der_end(out, &d, r->p);
}

/* ---- signing ---- */

/* MD5 is computed apart from what the process knows (legacy.h). */
static const scep_err *sign_apart(unsigned char *made, size_t *len, const reply *r, scep_bytes what,
                                  EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = scep_EVP_MD_CTX(r->p, EVP_MD_CTX_new());
    const char *name = EVP_MD_get0_name(r->digest);
    OSSL_LIB_CTX *context;

    SCEP_TRY(scep_legacy(&context, r->p));
    if (!ctx || EVP_DigestSignInit_ex(ctx, NULL, name, context, NULL, key, NULL) != 1 ||
        EVP_DigestSign(ctx, made, len, what.data, what.len) != 1)
        return scep_fail(r->p, INTERNAL, "a reply cannot be signed");
    return NULL;
}

/* RFC 5652 5.4. Hashed and signed in two steps, by a context that need not be made each time. */
static const scep_err *sign(scep_bytes *signature, const reply *r, scep_bytes what,
                            const scep_signer *ra)
{
    size_t len = (size_t)EVP_PKEY_get_size(ra->key);
    unsigned char *made = apr_palloc(r->p, len), hash[EVP_MAX_MD_SIZE];
    EVP_PKEY_CTX *ctx;
    unsigned hash_len;

    *signature = (scep_bytes){ made, len };
    if (EVP_MD_is_a(r->digest, SN_md5))
        return sign_apart(made, &signature->len, r, what, ra->key);
    ctx = scep_signer_ctx(ra, r->p);
    if (!ctx || EVP_Digest(what.data, what.len, hash, &hash_len, r->digest, NULL) != 1 ||
        EVP_PKEY_sign_init(ctx) != 1 ||
        /* in a call of its own: an engine's key passes over parameters of the one before */
        EVP_PKEY_CTX_set_signature_md(ctx, r->digest) != 1 ||
        EVP_PKEY_sign(ctx, made, &signature->len, hash, hash_len) != 1)
        return scep_fail(r->p, INTERNAL, "a reply cannot be signed");
    return NULL;
}

/* RFC 3370 3.2, RFC 5754 3.3. */
static const scep_err *put_signature_algorithm(scep_der *d, const reply *r, const EVP_PKEY *key)
{
    bool is_rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
    int nid = NID_rsaEncryption;
    size_t mark = scep_der_mark(d);

    if (!is_rsa &&
        !OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(r->digest), EVP_PKEY_get_base_id(key)))
        return scep_fail(r->p, INTERNAL, "the RA cannot sign a reply with this digest");
    if (is_rsa)
        scep_der_null(d);
    scep_der_object(d, OBJ_nid2obj(nid));
    scep_der_wrap(d, SCEP_DER_SEQUENCE, mark);
    return NULL;
}

/* RFC 5754 2, RFC 3370 2.1: of SHA-2 the parameters are left out, of the older ones NULL. */
static void put_digest_algorithm(scep_der *d, const reply *r)
{
    size_t mark = scep_der_mark(d);

    if (!(EVP_MD_get_flags(r->digest) & EVP_MD_FLAG_DIGALGID_ABSENT))
        scep_der_null(d);
    scep_der_object(d, OBJ_nid2obj(EVP_MD_get_type(r->digest)));
    scep_der_wrap(d, SCEP_DER_SEQUENCE, mark);
}

/* RFC 5652 10.2.4 */
static const scep_err *put_issuer_and_serial(scep_der *d, const X509 *cert, apr_pool_t *p)
{
    size_t mark = scep_der_mark(d);
    scep_bytes issuer, serial;

    SCEP_TRY(
        scep_asn1_write(&serial, ASN1_ITEM_rptr(ASN1_INTEGER), X509_get0_serialNumber(cert), p));
    if (X509_NAME_get0_der(X509_get_issuer_name(cert), &issuer.data, &issuer.len) != 1)
        return scep_fail(p, INTERNAL, "the RA's issuer cannot be named");
    scep_der_put(d, serial);
    scep_der_put(d, issuer);
    scep_der_wrap(d, SCEP_DER_SEQUENCE, mark);
    return NULL;
}

/* RFC 5652 5.3 */
static const scep_err *put_signer(scep_der *d, reply *r, const scep_signer *ra)
{
    scep_bytes attributes, inside, signature;
    size_t mark = scep_der_mark(d);

    SCEP_TRY(join(&attributes, &inside, r));
    SCEP_TRY(sign(&signature, r, attributes, ra));
    scep_der_element(d, SCEP_DER_OCTETS, signature);
    SCEP_TRY(put_signature_algorithm(d, r, ra->key));
    scep_der_element(d, SCEP_DER_TAG_0, inside);
    put_digest_algorithm(d, r);
    SCEP_TRY(put_issuer_and_serial(d, ra->cert, r->p));
    scep_der_small(d, 1);
    scep_der_wrap(d, SCEP_DER_SEQUENCE, mark);
    return NULL;
}

/* RFC 5652 5.2. @param content len 0: none, and eContent is absent */
static void put_content(scep_der *d, scep_bytes content)
{
    size_t mark = scep_der_mark(d);

    if (content.len) {
        scep_der_element(d, SCEP_DER_OCTETS, content);
        scep_der_wrap(d, SCEP_DER_TAG_0, mark);
    }
    scep_der_object(d, OBJ_nid2obj(NID_pkcs7_data));
    scep_der_wrap(d, SCEP_DER_SEQUENCE, mark);
}

/* Enough for what is put into it below. */
static size_t room(const reply *r, scep_bytes content, scep_bytes cert, const scep_signer *ra)
{
    size_t all = REPLY_ROOM + content.len + 2 * cert.len + (size_t)EVP_PKEY_get_size(ra->key);

    for (int i = 0; i < r->count; i++)
        all += r->attributes[i].len;
    return all;
}

/* RFC 5652 5.1, 3 */
static const scep_err *finish(scep_bytes *out, reply *r, scep_bytes content, const scep_signer *ra)
{
    scep_bytes cert;
    size_t mark;
    scep_der d;

    add_standard(r, content);
    if (r->err)
        return r->err;
    SCEP_TRY(scep_cert_der(&cert, ra->cert, r->p));
    scep_der_begin(&d, room(r, content, cert, ra), r->p);
    SCEP_TRY(put_signer(&d, r, ra));
    scep_der_wrap(&d, SCEP_DER_SET, 0);
    scep_der_element(&d, SCEP_DER_TAG_0, cert);
    put_content(&d, content);
    mark = scep_der_mark(&d);
    put_digest_algorithm(&d, r);
    scep_der_wrap(&d, SCEP_DER_SET, mark);
    scep_der_small(&d, 1);
    scep_der_wrap(&d, SCEP_DER_SEQUENCE, 0);
    scep_der_wrap(&d, SCEP_DER_TAG_0, 0);
    scep_der_object(&d, OBJ_nid2obj(NID_pkcs7_signed));
    scep_der_wrap(&d, SCEP_DER_SEQUENCE, 0);
    return scep_der_end(out, &d, r->p);
}

/* ---- which ---- */

/* @param list a degenerate SignedData */
static const scep_err *success(scep_bytes *out, const scep_message *request, scep_bytes list,
                               scep_bytes challenge, const scep_signer *ra, apr_pool_t *p)
{
    scep_bytes envelope;
    reply r;

    SCEP_TRY(scep_certrep_is_possible(request, challenge, p));
    SCEP_TRY(scep_certrep_envelope(&envelope, request, list, challenge, p));
    SCEP_TRY(begin(&r, request, SUCCESS, request->digest, p));
    return finish(out, &r, envelope, ra);
}

const scep_err *scep_certrep_success(scep_bytes *out, const scep_message *request, scep_bytes leaf,
                                     const STACK_OF(X509) * certs, scep_bytes challenge,
                                     const scep_signer *ra, apr_pool_t *p)
{
    scep_bytes list;

    SCEP_TRY(scep_certs_list(&list, leaf, certs, p));
    return success(out, request, list, challenge, ra, p);
}

const scep_err *scep_certrep_crl(scep_bytes *out, const scep_message *request, scep_bytes crl_der,
                                 scep_bytes challenge, const scep_signer *ra, apr_pool_t *p)
{
    scep_bytes list;

    SCEP_TRY(scep_certs_degenerate_crl(&list, crl_der, p));
    return success(out, request, list, challenge, ra, p);
}

const scep_err *scep_certrep_failure(scep_bytes *out, const scep_message *request, int fail_info,
                                     const char *text, const EVP_MD *fallback,
                                     const scep_signer *ra, apr_pool_t *p)
{
    reply r;

    if (fail_info < 0 || fail_info > 4 || (text && strlen(text) > TEXT_MOST))
        return scep_fail(p, INTERNAL, "failInfo %d or its text is out of range", fail_info);
    SCEP_TRY(begin(&r, request, FAILURE, request->digest ? request->digest : fallback, p));
    SCEP_TRY(add_failure(&r, fail_info, text));
    return finish(out, &r, (scep_bytes){ NULL, 0 }, ra);
}

const scep_err *scep_certrep_pending(scep_bytes *out, const scep_message *request,
                                     const scep_signer *ra, apr_pool_t *p)
{
    reply r;

    SCEP_TRY(begin(&r, request, PENDING, request->digest, p));
    return finish(out, &r, (scep_bytes){ NULL, 0 }, ra);
}
