/* What stands within a reply: its envelope, opened with a key or a password, and the list in it. */
#include "scep-request.h"

#include <openssl/err.h>
#include <string.h>

static CMS_ContentInfo *read_cms(scep_bytes der, int type, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)der.len));

    ERR_clear_error();
    return cms && at == der.data + der.len && OBJ_obj2nid(CMS_get0_type(cms)) == type ? cms : NULL;
}

scep_bytes signed_content(scep_bytes message, apr_pool_t *p)
{
    CMS_ContentInfo *cms = read_cms(message, NID_pkcs7_signed, p);
    ASN1_OCTET_STRING **content = cms ? CMS_get0_content(cms) : NULL;

    if (!content || !*content)
        return (scep_bytes){ 0 };
    return (scep_bytes){ ASN1_STRING_get0_data(*content), (size_t)ASN1_STRING_length(*content) };
}

bool read_list(opened *out, scep_bytes der, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    /* PKCS7_* keeps the order in which the certificates were sent */
    PKCS7 *list = scep_PKCS7(p, d2i_PKCS7(NULL, &at, (long)der.len));

    ERR_clear_error();
    if (!list || at != der.data + der.len || !PKCS7_type_is_signed(list) ||
        !PKCS7_type_is_data(list->d.sign->contents) || list->d.sign->contents->d.data ||
        sk_PKCS7_SIGNER_INFO_num(list->d.sign->signer_info) > 0)
        return false;
    out->crls = list->d.sign->crl;
    out->certs = scep_borrowed_stack(p);
    for (int i = 0; i < sk_X509_num(list->d.sign->cert); i++)
        FIXTURE_MUST(sk_X509_push(out->certs, sk_X509_value(list->d.sign->cert, i)));
    return true;
}

/* One element of this tag; into its contents, or past it. */
static bool enter(scep_cursor *c, uint8_t tag)
{
    uint8_t found;
    scep_bytes inside;

    if (!scep_cursor_der(c, &found, &inside) || found != tag)
        return false;
    *c = (scep_cursor){ inside.data, inside.len };
    return true;
}

static bool skip(scep_cursor *c, uint8_t tag)
{
    uint8_t found;
    scep_bytes inside;

    return scep_cursor_der(c, &found, &inside) && found == tag;
}

/* OpenSSL gives no access to contentEncryptionAlgorithm. RFC 5652 6.1. */
static bool read_cipher(int *nid, scep_bytes envelope)
{
    scep_cursor c = { envelope.data, envelope.len };
    const unsigned char *at;
    ASN1_OBJECT *cipher;

    if (!enter(&c, 0x30) || !skip(&c, 0x06) || !enter(&c, 0xA0) || !enter(&c, 0x30) ||
        !skip(&c, 0x02) || !skip(&c, 0x31) || !enter(&c, 0x30) || !skip(&c, 0x06) ||
        !enter(&c, 0x30))
        return false;
    at = c.at;
    cipher = d2i_ASN1_OBJECT(NULL, &at, (long)c.left);
    *nid = OBJ_obj2nid(cipher);
    ASN1_OBJECT_free(cipher);
    return *nid != NID_undef;
}

static const char *use_key(CMS_ContentInfo *cms, CMS_RecipientInfo *to, opened *out, X509 *signer,
                           EVP_PKEY *key)
{
    X509_ALGOR *transport;

    if (CMS_RecipientInfo_ktri_get0_algs(to, NULL, NULL, &transport) != 1)
        return "key transport without an algorithm";
    out->oaep = OBJ_obj2nid(transport->algorithm) == NID_rsaesOaep;
    if (CMS_RecipientInfo_ktri_cert_cmp(to, signer) != 0)
        return "encrypted to another certificate";
    return CMS_decrypt_set1_pkey(cms, key, signer) == 1 ? NULL : "the key does not fit";
}

static const char *use_password(CMS_ContentInfo *cms, opened *out, const char *challenge)
{
    size_t len = challenge ? strlen(challenge) : 0;

    out->by_password = true;
    if (!len)
        return "encrypted by a password, and no challenge is known";
    /* OpenSSL takes the password as bytes it may change */
    if (CMS_decrypt_set1_password(cms, (unsigned char *)(uintptr_t)challenge, (ossl_ssize_t)len) !=
        1)
        return "encrypted by another password";
    return NULL;
}

const char *open_content(opened *out, scep_bytes reply, X509 *signer, EVP_PKEY *key,
                         const char *challenge, apr_pool_t *p)
{
    scep_bytes envelope = signed_content(reply, p);
    CMS_ContentInfo *cms = read_cms(envelope, NID_pkcs7_enveloped, p);
    STACK_OF(CMS_RecipientInfo) *recipients = cms ? CMS_get0_RecipientInfos(cms) : NULL;
    BIO *plain = scep_BIO(p, BIO_new(BIO_s_mem()));
    CMS_RecipientInfo *to;
    const char *why;
    char *data;
    long len;

    if (!cms || sk_CMS_RecipientInfo_num(recipients) != 1)
        return "content is not an EnvelopedData with one recipient";
    if (!read_cipher(&out->cipher_nid, envelope))
        return "EnvelopedData is not DER";
    to = sk_CMS_RecipientInfo_value(recipients, 0);
    switch (CMS_RecipientInfo_type(to)) {
    case CMS_RECIPINFO_TRANS:
        why = use_key(cms, to, out, signer, key);
        break;
    case CMS_RECIPINFO_PASS:
        why = use_password(cms, out, challenge);
        break;
    default:
        return "recipient is neither of key transport nor of a password";
    }
    FIXTURE_MUST(plain);
    if (why)
        return why;
    if (CMS_decrypt(cms, NULL, NULL, NULL, plain, CMS_BINARY) != 1)
        return "content does not decrypt";
    len = BIO_get_mem_data(plain, &data);
    return read_list(out, (scep_bytes){ (unsigned char *)data, (size_t)len }, p)
               ? NULL
               : "messageData is not a degenerate SignedData";
}
