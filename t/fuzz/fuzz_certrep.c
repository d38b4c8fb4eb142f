/*
 * lib/certrep.h, lib/certs.h: the replies to a client. The input is the client's request; where it
 * is accepted, every reply is built and read back by a reader that shares no code with the library.
 * An input that begins with '-' is a file of certificates instead (PEM).
 */
#include "config.h"
#include "fuzz.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const scep_accept accept_any = { .minimum_hash_bits = 160, .legacy = true };

/* The independent reader speaks of text and of the process's own algorithms. */
static bool is_readable(const scep_message *m)
{
    return !memchr(m->transaction_id.data, 0, m->transaction_id.len) &&
           EVP_CIPHER_get_nid(m->cipher) != NID_des_cbc;
}

/* What every CertRep copies and carries (RFC 8894 3.2.1). NULL: the client's key is not known. */
static const fixture_reply *check(scep_bytes der, const scep_message *m, const char *status,
                                  apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    X509 *signer = NULL;
    /* what OpenSSL does not read in it is no matter for a reply, but for who opens it here */
    bool known =
        EVP_PKEY_eq(m->signer_key, keys->rsa.key) == 1 && !scep_cert_x509(&signer, m->signer, p);
    const char *why = NULL;
    fixture_reply *r =
        fixture_open(der, known ? signer : NULL, known ? keys->rsa.key : NULL, &why, p);

    if (!r)
        fixture_abort(__FILE__, __LINE__, why);
    FIXTURE_MUST(r->verified && X509_cmp(r->ra, keys->ra.sign.cert) == 0);
    FIXTURE_MUST(!strcmp(r->message_type, "3") && !strcmp(r->pki_status, status));
    FIXTURE_MUST(scep_bytes_equal(scep_bytes_of(r->transaction_id), m->transaction_id) &&
                 scep_bytes_equal(r->recipient_nonce, m->sender_nonce) &&
                 r->sender_nonce.len == 16);
    FIXTURE_MUST(r->digest_nid == EVP_MD_get_type(m->digest));
    return known ? r : NULL;
}

/* RFC 8894 3.3.2.1: a CRL instead of certificates. */
static void give_crl(const scep_message *m, apr_pool_t *p)
{
    static unsigned char *der;
    static int len;
    const fuzz_keys *keys = fuzz_keys_get();
    const scep_err *err;
    scep_bytes reply;

    if (!der) {
        X509_CRL *crl = X509_CRL_new();
        ASN1_TIME *now = ASN1_TIME_set(NULL, 0);

        FIXTURE_MUST(crl && now && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
                     X509_CRL_set_issuer_name(crl, X509_get_subject_name(keys->ca.cert)) &&
                     X509_CRL_set1_lastUpdate(crl, now) && X509_CRL_set1_nextUpdate(crl, now) &&
                     X509_CRL_sign(crl, keys->ca.key, EVP_sha256()) > 0);
        len = i2d_X509_CRL(crl, &der);
        FIXTURE_MUST(len > 0);
        ASN1_TIME_free(now);
        X509_CRL_free(crl);
    }
    err = scep_certrep_crl(&reply, m, (scep_bytes){ der, (size_t)len }, scep_bytes_of("challenge"),
                           &keys->ra.sign, p);
    FIXTURE_MUST(!err || err->code == SCEP_BAD_ALG || err->code == SCEP_INTERNAL);
    err = scep_certrep_crl(&reply, m, m->transaction_id, (scep_bytes){ 0 }, &keys->ra.sign, p);
    FIXTURE_MUST(err);
}

/* The client's certificate in the lists that others are given. */
static void list_certs(const scep_message *m, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    X509_STACK *certs = scep_borrowed_stack(p), *read;
    scep_bytes der, list;
    X509 *again;

    if (scep_cert_x509(&again, m->signer, p))
        return;
    FIXTURE_MUST(!scep_cert_der(&der, again, p));
    FIXTURE_MUST(scep_bytes_equal(der, m->signer->der));
    FIXTURE_MUST(scep_cert_serial(again, p) && scep_name_line(X509_get_subject_name(again), p));
    FIXTURE_MUST(sk_X509_push(certs, again) && sk_X509_push(certs, keys->ca.cert));
    FIXTURE_MUST(!scep_certs_degenerate(&list, certs, p));
    read = fixture_certs(list, p);
    FIXTURE_MUST(read && sk_X509_num(read) == 2 && fixture_is(m->signer, sk_X509_value(read, 0)));
    FIXTURE_MUST(!scep_certs_next(&list, certs, &keys->ra.sign, EVP_sha256(), p));
}

static void load_certs(const uint8_t *data, size_t size, apr_pool_t *p)
{
    int fd = memfd_create("certs.pem", MFD_CLOEXEC);
    X509_STACK *certs = NULL;
    const scep_err *err;

    FIXTURE_MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    err = scep_certs_load(&certs, apr_psprintf(p, "/proc/self/fd/%d", fd), p);
    FIXTURE_MUST(err ? err->code == SCEP_CONFIG : sk_X509_num(certs) > 0);
    FIXTURE_MUST(close(fd) == 0);
}

static void succeed(const scep_message *m, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    X509_STACK *certs = scep_borrowed_stack(p);
    const fixture_reply *r;
    scep_bytes der;
    const scep_err *err;

    FIXTURE_MUST(sk_X509_push(certs, keys->device.cert) && sk_X509_push(certs, keys->ca.cert));
    err = scep_certrep_success(&der, m, (scep_bytes){ NULL, 0 }, certs, scep_bytes_of("challenge"),
                               &keys->ra.sign, p);
    /* a certificate with an odd key usage or content is no reason to refuse an RSA key */
    FIXTURE_MUST(!err || err->code == SCEP_BAD_ALG || err->code == SCEP_INTERNAL);
    if (err || EVP_PKEY_get_base_id(m->signer_key) != EVP_PKEY_RSA || !is_readable(m))
        return;
    r = check(der, m, "0", p);
    if (!r)
        return;
    FIXTURE_MUST(!r->fail_info && r->cipher_nid == EVP_CIPHER_get_nid(m->cipher));
    FIXTURE_MUST(sk_X509_num(r->certs) == 2 &&
                 X509_cmp(sk_X509_value(r->certs, 0), keys->device.cert) == 0 &&
                 X509_cmp(sk_X509_value(r->certs, 1), keys->ca.cert) == 0);
}

static void answer_otherwise(const scep_message *m, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    const fixture_reply *r;
    scep_bytes der;

    FIXTURE_MUST(!scep_certrep_pending(&der, m, &keys->ra.sign, p));
    if (is_readable(m) && (r = check(der, m, "3", p)))
        FIXTURE_MUST(!r->fail_info && !r->certs && !r->cipher_nid);
    FIXTURE_MUST(!scep_certrep_failure(&der, m, (int)(m->transaction_id.len % 5),
                                       "request not permitted", EVP_sha256(), &keys->ra.sign, p));
    if (is_readable(m) && (r = check(der, m, "2", p)))
        FIXTURE_MUST(r->fail_info && !strcmp(r->fail_info_text, "request not permitted") &&
                     !r->certs && !r->cipher_nid);
}

/* A request that was not accepted, and of which little may be known, is answered as well. */
static void answer_refused(const scep_message *m, const scep_err *err, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    int fail_info = scep_code_describe(err->code)->fail_info;
    const char *why = NULL;
    const fixture_reply *r;
    scep_bytes der;

    FIXTURE_MUST(!scep_certrep_failure(&der, m, fail_info < 0 ? 2 : fail_info, NULL, EVP_sha256(),
                                       &keys->ra.sign, p));
    if (memchr(m->transaction_id.data, 0, m->transaction_id.len))
        return;
    r = fixture_open(der, NULL, NULL, &why, p);
    if (!r)
        fixture_abort(__FILE__, __LINE__, why);
    FIXTURE_MUST(r->verified && !strcmp(r->pki_status, "2") && !r->fail_info_text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    scep_message *m = NULL;
    const scep_err *err;

    if (size && *data == '-')
        load_certs(data, size, p);
    err = scep_message_open(&m, fuzz_message(data, size, p), &accept_any, p);
    ERR_clear_error();
    if (!err) {
        succeed(m, p);
        answer_otherwise(m, p);
        give_crl(m, p);
        list_certs(m, p);
    } else if (m)
        answer_refused(m, err, p);
    ERR_clear_error();
    fuzz_end(p);
    return 0;
}
