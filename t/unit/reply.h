/* What the suites about replies share. */
#ifndef REPLY_H
#define REPLY_H

#include "odd.h"
#include "suite.h"

#include <openssl/err.h>
#include <string.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };
static const scep_bytes no_challenge = { NULL, 0 }, no_leaf = { NULL, 0 };

typedef struct variant {
    const char *name;
    fixture_request r;
    const EVP_MD *(*digest)(void);
    const EVP_CIPHER *(*cipher)(void);
    X509 *(*signer)(apr_pool_t *);
} variant;

static inline fixture_sent *build(const variant *v)
{
    fixture_request r = v->r;

    row = v->name ? v->name : "";
    r.digest = v->digest ? v->digest() : NULL;
    r.cipher = v->cipher ? v->cipher() : NULL;
    r.signer = v->signer ? v->signer(p) : NULL;
    return fixture_build(&r, p);
}

static inline scep_message *accepted(const fixture_sent *sent)
{
    scep_message *m = NULL;

    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    return m;
}

static inline fixture_reply *open_reply(scep_bytes der, const fixture_sent *sent)
{
    const char *why;
    fixture_reply *reply = fixture_open(der, sent->signer, sent->signer_key, &why, p);

    ck_assert_msg(reply != NULL, "%s: %s", row, why);
    return reply;
}

/* What is true of every reply. */
static inline void assert_reply(const fixture_reply *reply, const fixture_sent *sent,
                                const char *status, const scep_signer *ra)
{
    ck_assert(reply->verified);
    ck_assert_int_eq(X509_cmp(reply->ra, ra->cert), 0);
    ck_assert_int_eq(reply->outer_certs, 1);
    ck_assert_int_eq(reply->signed_version, 1);
    ck_assert_pstr_eq(reply->message_type, "3");
    ck_assert_pstr_eq(reply->pki_status, status);
    ck_assert_pstr_eq(reply->transaction_id, sent->transaction_id);
    ck_assert_uint_eq(reply->sender_nonce.len, 16);
    assert_bytes(reply->recipient_nonce, sent->nonce);
    ck_assert(!scep_bytes_equal(reply->sender_nonce, sent->nonce));
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

static inline X509 *leaf(const fixture_sent *sent)
{
    const fixture_ca *ca = fixture_ca_get();

    return fixture_cert("CN=device", sent->key, ca->root, ca->root_key, false, 0, p);
}

static const scep_signer *signer(void)
{
    return &fixture_ca_get()->ra.sign;
}

static inline scep_bytes a_crl(void)
{
    const fixture_ca *ca = fixture_ca_get();
    X509_CRL *crl = scep_X509_CRL(p, X509_CRL_new());
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0), *next = X509_gmtime_adj(NULL, 86400);
    unsigned char *der, *to;
    int len;

    FIXTURE_MUST(crl && now && next && X509_CRL_set_version(crl, X509_CRL_VERSION_2));
    FIXTURE_MUST(X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->root)) &&
                 X509_CRL_set1_lastUpdate(crl, now) && X509_CRL_set1_nextUpdate(crl, next) &&
                 X509_CRL_sign(crl, ca->root_key, EVP_sha256()) > 0);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    len = i2d_X509_CRL(crl, NULL);
    FIXTURE_MUST(len > 0);
    der = to = apr_palloc(p, (size_t)len);
    FIXTURE_MUST(i2d_X509_CRL(crl, &to) == len);
    return (scep_bytes){ der, (size_t)len };
}

/* A reply taken apart with OpenSSL alone. @param content of the SignedData; NULL data: none */
static inline CMS_ContentInfo *outer(scep_bytes der, scep_bytes *content)
{
    const unsigned char *at = der.data;
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)der.len));
    ASN1_OCTET_STRING **octets = cms ? CMS_get0_content(cms) : NULL;

    ck_assert(cms && at == der.data + der.len);
    *content = octets && *octets ? (scep_bytes){ ASN1_STRING_get0_data(*octets),
                                                 (size_t)ASN1_STRING_length(*octets) }
                                 : no_challenge;
    return cms;
}

#endif
