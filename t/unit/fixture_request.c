/* Requests of the test client: a CSR, its envelope, the signed message around it. */
#include "fixture.h"

#include <apr_strings.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

#define MESSAGE_TYPE "2.16.840.1.113733.1.9.2"
#define SENDER_NONCE "2.16.840.1.113733.1.9.5"
#define TRANSACTION_ID "2.16.840.1.113733.1.9.7"

static ASN1_OBJECT *object(const char *oid, apr_pool_t *p)
{
    ASN1_OBJECT *made = scep_ASN1_OBJECT(p, OBJ_txt2obj(oid, 1));

    FIXTURE_MUST(made);
    return made;
}

static scep_bytes encoded(unsigned char *der, int len, apr_pool_t *p)
{
    scep_bytes out;

    FIXTURE_MUST(der && len > 0);
    out = scep_bytes_dup(p, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    return out;
}

scep_bytes fixture_flip(scep_bytes der, size_t at, unsigned char mask, apr_pool_t *p)
{
    unsigned char *copy = apr_pmemdup(p, der.data, der.len);

    FIXTURE_MUST(at < der.len);
    copy[at] ^= mask;
    return (scep_bytes){ copy, der.len };
}

size_t fixture_find(scep_bytes der, scep_bytes part)
{
    size_t at = 0;

    while (at + part.len <= der.len && memcmp(der.data + at, part.data, part.len) != 0)
        at++;
    FIXTURE_MUST(at + part.len <= der.len);
    return at;
}

/* ---- CSR ---- */

static void add_named(X509_EXTENSIONS *list, const char *name, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_nconf(NULL, NULL, name, value);

    FIXTURE_MUST(extension && sk_X509_EXTENSION_push(list, extension));
}

static X509_EXTENSIONS *wanted_extensions(const fixture_request *r, apr_pool_t *p)
{
    X509_EXTENSIONS *list = scep_X509_EXTENSIONS(p, sk_X509_EXTENSION_new_null());
    char *copy = apr_pstrdup(p, r->extensions ? r->extensions : "");
    char *state = NULL;

    FIXTURE_MUST(list);
    if (r->key_usage)
        add_named(list, "keyUsage",
                  apr_pstrcat(p, "critical",
                              r->key_usage & KU_DIGITAL_SIGNATURE ? ",digitalSignature" : "",
                              r->key_usage & KU_NON_REPUDIATION ? ",nonRepudiation" : "",
                              r->key_usage & KU_KEY_ENCIPHERMENT ? ",keyEncipherment" : "",
                              r->key_usage & KU_KEY_CERT_SIGN ? ",keyCertSign" : "", NULL));
    if (r->san)
        add_named(list, "subjectAltName", r->san);
    for (char *one = apr_strtok(copy, ";", &state); one; one = apr_strtok(NULL, ";", &state)) {
        char *value = strchr(one, '=');

        FIXTURE_MUST(value);
        *value++ = '\0';
        add_named(list, one, value);
    }
    return list;
}

/* OpenSSL refuses to add an attribute twice: add it under another name, then rename it. */
static void add_csr_attribute(X509_REQ *req, const char *oid, int type, scep_bytes value,
                              apr_pool_t *p)
{
    ASN1_OBJECT *other =
        object(apr_psprintf(p, "1.3.6.1.4.1.32473.%d", X509_REQ_get_attr_count(req) + 1), p);
    X509_ATTRIBUTE *attribute;

    FIXTURE_MUST(X509_REQ_add1_attr_by_OBJ(req, other, type, value.data, (int)value.len));
    attribute = X509_REQ_get_attr(req, X509_REQ_get_attr_count(req) - 1);
    FIXTURE_MUST(X509_ATTRIBUTE_set1_object(attribute, object(oid, p)));
}

static scep_bytes challenge_value(const fixture_request *r, int type, apr_pool_t *p)
{
    unsigned char *wide;
    size_t len;

    if (r->challenge_value.data)
        return r->challenge_value;
    if (type != V_ASN1_BMPSTRING)
        return scep_bytes_of(r->challenge);
    len = strlen(r->challenge);
    wide = apr_pcalloc(p, 2 * len + 1);
    for (size_t i = 0; i < len; i++)
        wide[2 * i + 1] = (unsigned char)r->challenge[i];
    return (scep_bytes){ wide, 2 * len };
}

static void add_challenge(X509_REQ *req, const fixture_request *r, apr_pool_t *p)
{
    int type = r->challenge_type ? r->challenge_type : V_ASN1_PRINTABLESTRING;
    scep_bytes value;

    if (!r->challenge && !r->challenge_value.data)
        return;
    value = challenge_value(r, type, p);
    for (int i = 0; i < (r->challenges ? r->challenges : 1); i++)
        add_csr_attribute(req, "1.2.840.113549.1.9.7", type, value, p);
    if (r->challenge_values)
        FIXTURE_MUST(
            X509_ATTRIBUTE_set1_data(X509_REQ_get_attr(req, 0), type, value.data, (int)value.len));
}

static void add_extension_request(X509_REQ *req, const fixture_request *r, apr_pool_t *p)
{
    X509_EXTENSIONS *wanted = wanted_extensions(r, p);
    const char *oid = r->extension_attribute ? r->extension_attribute : "1.2.840.113549.1.9.14";
    unsigned char *der = NULL;
    scep_bytes value;
    int len;

    if (sk_X509_EXTENSION_num(wanted) == 0)
        return;
    len = i2d_X509_EXTENSIONS(wanted, &der);
    value = encoded(der, len, p);
    for (int i = 0; i < (r->extension_attributes ? r->extension_attributes : 1); i++)
        add_csr_attribute(req, oid, V_ASN1_SEQUENCE, value, p);
    if (r->other_attribute)
        add_csr_attribute(req, r->other_attribute, V_ASN1_SEQUENCE,
                          r->other_extensions.data ? r->other_extensions : value, p);
}

static void add_odd_attributes(X509_REQ *req, const fixture_request *r, apr_pool_t *p)
{
    for (int i = 0; i < r->csr_attributes; i++)
        add_csr_attribute(req, apr_psprintf(p, "1.3.6.1.4.1.32473.1.%d", i + 1),
                          V_ASN1_PRINTABLESTRING, scep_bytes_of("odd"), p);
    if (r->csr_nested)
        add_csr_attribute(req, "1.3.6.1.4.1.32473.2", V_ASN1_SEQUENCE,
                          fixture_nested(r->csr_nested, false, p), p);
}

scep_bytes fixture_csr(const fixture_request *r, apr_pool_t *p)
{
    EVP_PKEY *key = r->key ? r->key : fixture_key(0);
    const EVP_MD *digest = r->csr_digest ? r->csr_digest : EVP_sha256();
    const char *subject = r->subject ? r->subject : "CN=device";
    X509_REQ *req = scep_X509_REQ(p, X509_REQ_new());
    X509_NAME *name = scep_X509_NAME(p, X509_NAME_new());
    unsigned char *der = NULL;
    scep_bytes csr;
    int len;

    FIXTURE_MUST(req && name);
    fixture_set_name(name, subject);
    FIXTURE_MUST(X509_REQ_set_version(req, r->csr_version) &&
                 X509_REQ_set_subject_name(req, name) && X509_REQ_set_pubkey(req, key));
    add_challenge(req, r, p);
    add_extension_request(req, r, p);
    add_odd_attributes(req, r, p);
    FIXTURE_MUST(X509_REQ_sign(req, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : digest) > 0);
    len = i2d_X509_REQ(req, &der);
    csr = encoded(der, len, p);
    /* the last byte belongs to the signature */
    return r->spoil_csr ? fixture_flip(csr, csr.len - 1, 1, p) : csr;
}

/* ---- envelope ---- */

static void add_recipient(CMS_ContentInfo *cms, X509 *to, const fixture_request *r)
{
    unsigned flags = (r->recipient_by_key_id ? CMS_USE_KEYID : 0) | (r->oaep ? CMS_KEY_PARAM : 0);
    CMS_RecipientInfo *ri = CMS_add1_recipient_cert(cms, to, flags);

    FIXTURE_MUST(ri);
    if (r->oaep)
        FIXTURE_MUST(EVP_PKEY_CTX_set_rsa_padding(CMS_RecipientInfo_get0_pkey_ctx(ri),
                                                  RSA_PKCS1_OAEP_PADDING) > 0);
    if (r->oaep_digest)
        FIXTURE_MUST(
            EVP_PKEY_CTX_set_rsa_oaep_md(CMS_RecipientInfo_get0_pkey_ctx(ri), r->oaep_digest) > 0);
}

static void add_recipients(CMS_ContentInfo *cms, const fixture_request *r, apr_pool_t *p)
{
    X509 *to = r->recipient ? r->recipient : fixture_ca_get()->ra.decrypt.cert;
    int count = r->recipients ? r->recipients : 1;

    if (r->password_recipient) {
        unsigned char *password = (unsigned char *)OPENSSL_strdup("password");

        FIXTURE_MUST(password && CMS_add0_recipient_password(cms, -1, NID_id_alg_PWRI_KEK,
                                                             NID_undef, password, 8, NULL));
        return;
    }
    if (r->key_recipient) {
        unsigned char *key = OPENSSL_zalloc(16), *id = OPENSSL_zalloc(4);

        FIXTURE_MUST(key && id &&
                     CMS_add0_recipient_key(cms, NID_undef, key, 16, id, 4, NULL, NULL, NULL));
        return;
    }
    for (int i = 0; i < count; i++)
        add_recipient(
            cms, i == 0 ? to : fixture_cert("other", fixture_key(2), NULL, NULL, false, 0, p), r);
}

static scep_bytes spoil_envelope(scep_bytes envelope, const fixture_request *r, size_t block,
                                 apr_pool_t *p)
{
    /* encryptedKey of RSA-2048 is an OCTET STRING of 256 bytes, the first in the encoding */
    const unsigned char key_header[] = { 0x04, 0x82, 0x01, 0x00 };

    if (r->spoil_encrypted_key)
        envelope = fixture_flip(
            envelope, fixture_find(envelope, (scep_bytes){ key_header, 4 }) + 100, 0x55, p);
    /* encryptedContent stands last: CBC carries a change into the last byte of the plaintext */
    if (r->spoil_padding)
        envelope = fixture_flip(envelope, envelope.len - 1 - block, 0x80, p);
    return envelope;
}

static scep_bytes build_envelope(const fixture_request *r, scep_bytes data, apr_pool_t *p)
{
    const EVP_CIPHER *cipher = r->cipher ? r->cipher : EVP_aes_128_cbc();
    BIO *in = scep_BIO(p, BIO_new_mem_buf(data.data, (int)data.len));
    CMS_ContentInfo *cms =
        scep_CMS_ContentInfo(p, CMS_encrypt(NULL, NULL, cipher, CMS_BINARY | CMS_PARTIAL));
    unsigned char *der = NULL;
    int len;

    FIXTURE_MUST(in && cms);
    add_recipients(cms, r, p);
    if (r->inner_content_type)
        FIXTURE_MUST(CMS_set1_eContentType(cms, object(r->inner_content_type, p)));
    FIXTURE_MUST(CMS_final(cms, in, NULL, CMS_BINARY));
    len = i2d_CMS_ContentInfo(cms, &der);
    return spoil_envelope(encoded(der, len, p), r, (size_t)EVP_CIPHER_get_block_size(cipher), p);
}

/* ---- outer message ---- */

static void add_attribute(CMS_SignerInfo *si, const fixture_request *r, const char *oid, int type,
                          scep_bytes value, apr_pool_t *p)
{
    ASN1_OBJECT *name = object(oid, p);
    X509_ATTRIBUTE *attribute;

    if (r->unsigned_attributes) {
        FIXTURE_MUST(CMS_unsigned_add1_attr_by_OBJ(si, name, type, value.data, (int)value.len));
        return;
    }
    FIXTURE_MUST(CMS_signed_add1_attr_by_OBJ(si, name, type, value.data, (int)value.len));
    attribute = CMS_signed_get_attr(si, CMS_signed_get_attr_count(si) - 1);
    if (r->two_values && strcmp(r->two_values, oid) == 0)
        FIXTURE_MUST(X509_ATTRIBUTE_set1_data(attribute, type, value.data, (int)value.len));
    if (r->doubled && strcmp(r->doubled, oid) == 0) {
        FIXTURE_MUST(CMS_signed_add1_attr_by_OBJ(si, object("1.3.6.1.4.1.32473.1", p), type,
                                                 value.data, (int)value.len));
        attribute = CMS_signed_get_attr(si, CMS_signed_get_attr_count(si) - 1);
        FIXTURE_MUST(X509_ATTRIBUTE_set1_object(attribute, name));
    }
}

static void add_attributes(CMS_SignerInfo *si, const fixture_request *r, fixture_sent *sent,
                           apr_pool_t *p)
{
    const char *type = r->message_type ? r->message_type : "19";
    const int printable = V_ASN1_PRINTABLESTRING;

    if (*type)
        add_attribute(si, r, MESSAGE_TYPE, r->message_type_tag ? r->message_type_tag : printable,
                      scep_bytes_of(type), p);
    if (*sent->transaction_id)
        add_attribute(si, r, TRANSACTION_ID,
                      r->transaction_id_tag ? r->transaction_id_tag : printable,
                      scep_bytes_of(sent->transaction_id), p);
    if (sent->nonce.len)
        add_attribute(si, r, SENDER_NONCE, V_ASN1_OCTET_STRING, sent->nonce, p);
    if (r->signing_time) /* OpenSSL adds one of its own where there is none */
        add_attribute(si, r, "1.2.840.113549.1.9.5", V_ASN1_UTCTIME, scep_bytes_of(r->signing_time),
                      p);
    if (r->more_attribute)
        add_attribute(si, r, r->more_attribute, V_ASN1_OCTET_STRING, scep_bytes_of("more"), p);
    if (r->nested_attribute)
        add_attribute(si, r, "1.3.6.1.4.1.32473.2", V_ASN1_SEQUENCE,
                      fixture_nested(r->nested_attribute, r->ber, p), p);
}

static CMS_SignerInfo *add_signer(CMS_ContentInfo *cms, X509 *cert, EVP_PKEY *key,
                                  const fixture_request *r)
{
    unsigned flags = CMS_PARTIAL | CMS_BINARY | CMS_NOSMIMECAP;
    CMS_SignerInfo *si;

    flags |= r->without_signer || r->sent_instead ? CMS_NOCERTS : 0;
    flags |= r->signer_by_key_id ? CMS_USE_KEYID : 0;
    flags |= r->without_attributes ? CMS_NOATTR : 0;
    flags |= r->pss ? CMS_KEY_PARAM : 0;
    si = CMS_add1_signer(cms, cert, key, r->digest ? r->digest : EVP_sha256(), flags);
    FIXTURE_MUST(si);
    if (r->pss)
        FIXTURE_MUST(EVP_PKEY_CTX_set_rsa_padding(CMS_SignerInfo_get0_pkey_ctx(si),
                                                  RSA_PKCS1_PSS_PADDING) > 0);
    return si;
}

/* The SignerInfo's algorithm identifier is no signed part of it. */
static void rename_algorithm(CMS_SignerInfo *si, const char *oid, apr_pool_t *p)
{
    X509_ALGOR *algorithm;

    CMS_SignerInfo_get0_algs(si, NULL, NULL, NULL, &algorithm);
    FIXTURE_MUST(X509_ALGOR_set0(algorithm, OBJ_dup(object(oid, p)), V_ASN1_NULL, NULL));
}

/* CMS_final() wants a signer. */
static void set_content(CMS_ContentInfo *cms, scep_bytes content)
{
    ASN1_OCTET_STRING *to = *CMS_get0_content(cms);

    FIXTURE_MUST(to && ASN1_OCTET_STRING_set(to, content.data, (int)content.len));
    to->flags &= ~ASN1_STRING_FLAG_CONT;
}

static scep_bytes encode(CMS_ContentInfo *cms, BIO *in, unsigned flags, bool ber, apr_pool_t *p)
{
    BIO *out = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *data;
    long len;

    FIXTURE_MUST(out);
    if (ber)
        FIXTURE_MUST(i2d_CMS_bio_stream(out, cms, in, (int)(flags | CMS_STREAM)));
    else
        FIXTURE_MUST(i2d_CMS_bio(out, cms));
    len = BIO_get_mem_data(out, &data);
    return scep_bytes_dup(p, (scep_bytes){ (unsigned char *)data, (size_t)len });
}

static void add_others(CMS_ContentInfo *cms, const fixture_request *r, apr_pool_t *p)
{
    if (r->sent_instead)
        FIXTURE_MUST(CMS_add1_cert(cms, r->sent_instead));
    if (r->extra)
        FIXTURE_MUST(CMS_add1_cert(cms, r->extra));
    for (int i = 0; i < r->extras; i++)
        FIXTURE_MUST(CMS_add1_cert(
            cms, fixture_cert("one of many", fixture_key(1), NULL, NULL, false, 0, p)));
    for (int i = 0; i < r->crls; i++) {
        X509_CRL *crl = X509_CRL_new();
        ASN1_TIME *now = X509_gmtime_adj(NULL, 0);

        FIXTURE_MUST(crl && now && X509_CRL_set1_lastUpdate(crl, now) &&
                     X509_CRL_sign(crl, fixture_key(1), EVP_sha256()) > 0 &&
                     CMS_add1_crl(cms, crl));
        ASN1_TIME_free(now);
        X509_CRL_free(crl);
    }
}

static scep_bytes build_message(const fixture_request *r, fixture_sent *sent, apr_pool_t *p)
{
    unsigned flags =
        CMS_PARTIAL | CMS_BINARY | (r->no_content ? CMS_DETACHED : 0) | (r->ber ? CMS_STREAM : 0);
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(p, CMS_sign(NULL, NULL, NULL, NULL, flags));
    BIO *in =
        scep_BIO(p, r->no_content ? BIO_new_mem_buf("", 0)
                                  : BIO_new_mem_buf(sent->envelope.data, (int)sent->envelope.len));
    CMS_SignerInfo *si = NULL;

    FIXTURE_MUST(cms && in);
    if (r->content_type)
        FIXTURE_MUST(CMS_set1_eContentType(cms, object(r->content_type, p)));
    for (int i = 0; i < (r->signers ? r->signers : 1); i++) {
        X509 *second = i ? fixture_cert("second", fixture_key(1), NULL, NULL, false, 0, p) : NULL;

        si = add_signer(cms, i ? second : sent->signer, i ? fixture_key(1) : sent->signer_key, r);
        if (!r->without_attributes)
            add_attributes(si, r, sent, p);
    }
    add_others(cms, r, p);
    if (!si)
        set_content(cms, sent->envelope);
    else if (!r->ber)
        FIXTURE_MUST(CMS_final(cms, in, NULL, flags));
    if (si && r->signature_algorithm)
        rename_algorithm(si, r->signature_algorithm, p);
    return encode(cms, in, flags, r->ber, p);
}

static const char *key_hash(const EVP_PKEY *key, apr_pool_t *p)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    scep_bytes spki = encoded(der, len, p);
    unsigned char hash[32];

    FIXTURE_MUST(EVP_Digest(spki.data, spki.len, hash, NULL, EVP_sha256(), NULL));
    return scep_hex(p, (scep_bytes){ hash, 16 });
}

fixture_sent *fixture_build(const fixture_request *r, apr_pool_t *p)
{
    fixture_sent *sent = apr_pcalloc(p, sizeof(*sent));
    const char *subject = r->signer_subject ? r->signer_subject
                          : r->subject      ? r->subject
                                            : "CN=device";
    int nonce_length = r->nonce_length ? r->nonce_length : 16;

    sent->key = r->key ? r->key : fixture_key(0);
    sent->signer_key = r->signer_key ? r->signer_key : sent->key;
    sent->signer = r->signer ? r->signer
                             : fixture_cert(subject, sent->signer_key, NULL, NULL, false,
                                            KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, p);
    sent->transaction_id = r->transaction_id ? r->transaction_id : key_hash(sent->key, p);
    if (nonce_length > 0) {
        unsigned char *nonce = apr_palloc(p, (size_t)nonce_length);

        FIXTURE_MUST(RAND_bytes(nonce, nonce_length) == 1);
        sent->nonce = (scep_bytes){ nonce, (size_t)nonce_length };
    }
    sent->csr = r->message_data.data ? r->message_data : fixture_csr(r, p);
    sent->envelope = r->plain ? sent->csr : build_envelope(r, sent->csr, p);
    sent->der = build_message(r, sent, p);
    return sent;
}
