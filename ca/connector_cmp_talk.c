/* One exchange with a CA by CMP: OpenSSL's client, with a transport of its own. */
#include "connector_cmp_int.h"

#include "certs.h"
#include "own.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#define ANSWER_MOST (256 * 1024)

/* PKIBody, RFC 4210 5.1.2 */
enum { BODY_IP = 1, BODY_CP = 3, BODY_POLL_REP = 26 };

/* ---- transport, RFC 6712 ---- */

static const scep_err *judge_status(const http_answer *answer, cmp_talk *t)
{
    long status = answer->status;

    if (status == 200)
        return NULL;
    /* it was taken, or broke the server; else it was turned away unread */
    t->sent = status < 300 || (status >= 500 && status != 503);
    if (status >= 500 || status == 408 || status == 429)
        return scep_fail(t->p, UNAVAILABLE, "HTTP status %ld instead of 200", status);
    return scep_fail(t->p, CONFIG,
                     "HTTP status %ld instead of 200: is url the address for CMP, and may this "
                     "host use it?",
                     status);
}

static const scep_err *decode(OSSL_CMP_MSG **out, scep_bytes der, cmp_talk *t)
{
    const unsigned char *at = der.data;
    OSSL_CMP_MSG *message = der.len ? d2i_OSSL_CMP_MSG(NULL, &at, (long)der.len) : NULL;

    if (!message || at != der.data + der.len) {
        OSSL_CMP_MSG_free(message);
        return scep_fail(t->p, UNAVAILABLE, "what came is no CMP message (%lu bytes)",
                         (unsigned long)der.len);
    }
    *out = message;
    return NULL;
}

static const scep_err *exchange(OSSL_CMP_MSG **out, cmp_talk *t, const OSSL_CMP_MSG *message)
{
    http_ask ask = { .url = t->ca->conf->url,
                     .type = "application/pkixcmp",
                     .most = ANSWER_MOST,
                     .until = t->until };
    http_answer answer = { .status = 0 };
    const scep_err *err;
    bool before = t->sent;

    t->exchanged = true;
    SCEP_TRY(SCEP_ITEM_DER_SECRET(&ask.body, OSSL_CMP_MSG, message, t->p));
    err = http_call(&answer, t->ca->peer, &ask, t->p);
    t->sent = answer.sent;
    if (!err)
        err = judge_status(&answer, t);
    t->sent = t->sent || before;
    return err ? err : decode(out, answer.body, t);
}

/* The CA's own words of some time ago, which answered a request with a nonce of its own. */
static const scep_err *play(OSSL_CMP_MSG **out, cmp_talk *t, scep_bytes der)
{
    OSSL_CMP_MSG *message;
    ASN1_OCTET_STRING *nonce;

    SCEP_TRY(decode(&message, der, t));
    nonce = OSSL_CMP_HDR_get0_recipNonce(OSSL_CMP_MSG_get0_header(message));
    if (!nonce || !OSSL_CMP_CTX_set1_senderNonce(t->ctx, nonce)) {
        OSSL_CMP_MSG_free(message);
        return scep_fail(t->p, INTERNAL, "a CMP message that was kept has no recipNonce");
    }
    *out = message;
    return NULL;
}

/* OpenSSL checks it only after the transport has handed it over. */
static const scep_err *hear(cmp_talk *t, const OSSL_CMP_MSG *message)
{
    t->heard_body = OSSL_CMP_MSG_get_bodytype(message);
    if (t->heard_body != BODY_POLL_REP && t->heard_body != BODY_IP && t->heard_body != BODY_CP)
        return NULL;
    return SCEP_ITEM_DER_SECRET(&t->heard, OSSL_CMP_MSG, message, t->p);
}

void cmp_talk_believe(cmp_talk *t)
{
    if (!t->heard.len)
        return;
    if (t->heard_body == BODY_POLL_REP) {
        t->kept.polled = t->heard;
    } else {
        t->kept.waits = t->heard;
        t->kept.polled.len = 0;
    }
    t->heard.len = 0;
}

static OSSL_CMP_MSG *transfer(OSSL_CMP_CTX *ctx, const OSSL_CMP_MSG *request)
{
    cmp_talk *t = OSSL_CMP_CTX_get_transfer_cb_arg(ctx);
    scep_bytes played = t->replay[0];
    OSSL_CMP_MSG *answer = NULL;
    const scep_err *err;

    cmp_talk_believe(t);
    t->replay[0] = t->replay[1];
    t->replay[1] = (scep_bytes){ NULL, 0 };
    err = played.len ? play(&answer, t, played) : exchange(&answer, t, request);
    if (!err)
        err = hear(t, answer);
    /* generalInfo is the request's alone: what follows belongs to the transaction */
    if (!err && !OSSL_CMP_CTX_reset_geninfo_ITAVs(ctx))
        err = scep_fail(t->p, INTERNAL, "out of memory");
    t->failure = err;
    if (!err)
        return answer;
    OSSL_CMP_MSG_free(answer);
    return NULL;
}

/* ---- who may sign an answer ---- */

/* The extended key usages of RFC 9480 2.2. Whoever is certified by the CA could else sign in its
 * name, each of its devices too. */
static bool is_for_answers(X509 *cert)
{
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_ASN1_OBJECT_num(usages) && !found; i++) {
        int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(usages, i));

        found = nid == NID_cmcCA || nid == NID_cmcRA;
    }
    EXTENDED_KEY_USAGE_free(usages);
    return found;
}

static bool is_listed(const STACK_OF(X509) * certs, const X509 *cert)
{
    for (int i = 0; i < sk_X509_num(certs); i++)
        if (!X509_cmp(sk_X509_value(certs, i), cert))
            return true;
    return false;
}

static int check_signer(int good, X509_STORE_CTX *store)
{
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    cmp_talk *t = X509_STORE_get_ex_data(X509_STORE_CTX_get0_store(store), 0);

    if (!good || X509_STORE_CTX_get_error_depth(store) > 0 || is_listed(t->ca->trusted, cert) ||
        is_listed(t->ca->chain, cert) || is_for_answers(cert))
        return good;
    t->stranger = scep_name_line(X509_get_subject_name(cert), t->p);
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* One for each context, as OpenSSL puts the caPubs of an answer into it. */
static X509_STORE *make_store(cmp_talk *t)
{
    X509_STORE *store = X509_STORE_new();
    bool made = store && X509_STORE_set_ex_data(store, 0, t) &&
                X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);

    for (int i = 0; made && i < sk_X509_num(t->ca->trusted); i++)
        made = X509_STORE_add_cert(store, sk_X509_value(t->ca->trusted, i)) == 1;
    if (made) {
        X509_STORE_set_verify_cb(store, check_signer);
        return store;
    }
    X509_STORE_free(store);
    return NULL;
}

/* ---- the context ---- */

/* What a CA confirms or takes back is judged by the office; a wrong key is worth a word to the CA,
 * which else holds the certificate to be in use. */
static int confirm(OSSL_CMP_CTX *ctx, X509 *cert, int fail_info, const char **text)
{
    cmp_talk *t = OSSL_CMP_CTX_get_certConf_cb_arg(ctx);
    EVP_PKEY *key = X509_get0_pubkey(cert);

    if (key && t->csr && EVP_PKEY_eq(key, t->csr->key) == 1)
        return fail_info;
    t->wrong_key = true;
    *text = "the certificate is not of the requested key";
    return OSSL_CMP_CTX_FAILINFO_incorrectData;
}

/* Else OpenSSL would print errors to where others write. */
static int say_nothing(const char *function, const char *file, int line, OSSL_CMP_severity level,
                       const char *text)
{
    return 1;
}

static bool set_protection(OSSL_CMP_CTX *ctx, const cmp_ca *ca)
{
    const char *reference = ca->conf->reference;

    if (ca->secret.len)
        return OSSL_CMP_CTX_set1_referenceValue(ctx, (const unsigned char *)reference,
                                                (int)strlen(reference)) &&
               OSSL_CMP_CTX_set1_secretValue(ctx, ca->secret.data, (int)ca->secret.len);
    return OSSL_CMP_CTX_set1_cert(ctx, sk_X509_value(ca->own, 0)) &&
           OSSL_CMP_CTX_set1_pkey(ctx, ca->key) && OSSL_CMP_CTX_set1_untrusted(ctx, ca->own);
}

/* Else OpenSSL takes what a CertTemplate may hold besides the CSR from the RA's own certificate:
 * its subjectAltName, which no policy has seen, even next to the CSR's own, and its issuer. */
static bool set_template(OSSL_CMP_CTX *ctx, const cmp_ca *ca)
{
    const X509_NAME *issuer = X509_get_subject_name(sk_X509_value(ca->chain, 0));

    return OSSL_CMP_CTX_set_option(ctx, OSSL_CMP_OPT_POPO_METHOD, OSSL_CRMF_POPO_RAVERIFIED) &&
           OSSL_CMP_CTX_set_option(ctx, OSSL_CMP_OPT_SUBJECTALTNAME_NODEFAULT, 1) &&
           OSSL_CMP_CTX_set1_issuer(ctx, issuer);
}

static bool set_request(OSSL_CMP_CTX *ctx, const cmp_ca *ca, const scep_csr *csr)
{
    const unsigned char *at = csr->der.data;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)csr->der.len);
    bool set = request && OSSL_CMP_CTX_set1_p10CSR(ctx, request);

    X509_REQ_free(request);
    return set &&
           OSSL_CMP_CTX_set_option(ctx, OSSL_CMP_OPT_IMPLICIT_CONFIRM,
                                   ca->conf->implicit_confirm) &&
           (ca->command == OSSL_CMP_P10CR || set_template(ctx, ca));
}

static bool set_trust(OSSL_CMP_CTX *ctx, cmp_talk *t)
{
    X509_STORE *store;

    if (t->ca->server_cert && !OSSL_CMP_CTX_set1_srvCert(ctx, t->ca->server_cert))
        return false;
    store = make_store(t);
    if (store && OSSL_CMP_CTX_set0_trustedStore(ctx, store))
        return true;
    X509_STORE_free(store);
    return false;
}

static apr_status_t drop(void *ctx)
{
    OSSL_CMP_CTX_free(ctx);
    return APR_SUCCESS;
}

const scep_err *cmp_talk_begin(cmp_talk **out, const cmp_ca *ca, const scep_csr *csr, moment until,
                               apr_pool_t *p)
{
    OSSL_CMP_CTX *ctx = OSSL_CMP_CTX_new(NULL, NULL);
    cmp_talk *t = apr_pcalloc(p, sizeof(*t));

    if (!ctx)
        return scep_fail(p, INTERNAL, "out of memory");
    apr_pool_cleanup_register(p, ctx, drop, apr_pool_cleanup_null);
    *t = (cmp_talk){ .ca = ca, .ctx = ctx, .csr = csr, .until = until, .p = p };
    /* unprotected errors decide nothing: OSSL_CMP_OPT_UNPROTECTED_ERRORS stays off; the total time
     * is the transport's business */
    if (!OSSL_CMP_CTX_set_log_cb(ctx, say_nothing) || !set_protection(ctx, ca) ||
        !set_trust(ctx, t) || !OSSL_CMP_CTX_set1_recipient(ctx, ca->recipient) ||
        !OSSL_CMP_CTX_set_transfer_cb(ctx, transfer) || !OSSL_CMP_CTX_set_transfer_cb_arg(ctx, t) ||
        !OSSL_CMP_CTX_set_certConf_cb(ctx, confirm) || !OSSL_CMP_CTX_set_certConf_cb_arg(ctx, t) ||
        (csr && !set_request(ctx, ca, csr)))
        return scep_fail(p, INTERNAL, "a CMP request cannot be prepared");
    *out = t;
    return NULL;
}

const scep_err *cmp_talk_name(cmp_talk *t, const unsigned char id[CMP_ID_SIZE])
{
    ASN1_OCTET_STRING *name = ASN1_OCTET_STRING_new();
    bool set = name && ASN1_OCTET_STRING_set(name, id, CMP_ID_SIZE) &&
               OSSL_CMP_CTX_set1_transactionID(t->ctx, name);

    ASN1_OCTET_STRING_free(name);
    memcpy(t->kept.id, id, CMP_ID_SIZE);
    return set ? NULL : scep_fail(t->p, INTERNAL, "out of memory");
}

const scep_err *cmp_talk_error(const cmp_talk *t)
{
    if (t->failure) {
        ERR_clear_error(); /* OpenSSL knows only that nothing came */
        return t->failure;
    }
    if (t->stranger)
        return scep_fail(t->p, UNAVAILABLE,
                         "the answer is signed by \"%s\", which is neither the CA nor has an "
                         "extended key usage for that (cmcCA, cmcRA): name it by server_cert if it "
                         "may",
                         t->stranger);
    if (!t->exchanged)
        return scep_fail(t->p, CONFIG, "nothing can be asked");
    return scep_fail(t->p, UNAVAILABLE, "the answer cannot be believed");
}

/* CertProfileValue ::= SEQUENCE SIZE (1..MAX) OF UTF8String */
static ASN1_TYPE *profile_value(const char *name, apr_pool_t *p)
{
    int len = (int)strlen(name), inner = ASN1_object_size(0, len, V_ASN1_UTF8STRING);
    int size = ASN1_object_size(1, inner, V_ASN1_SEQUENCE);
    unsigned char *der = apr_palloc(p, (size_t)size), *to = der;
    const unsigned char *at = der;

    ASN1_put_object(&to, 1, inner, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
    ASN1_put_object(&to, 0, len, V_ASN1_UTF8STRING, V_ASN1_UNIVERSAL);
    memcpy(to, name, (size_t)len);
    return d2i_ASN1_TYPE(NULL, &at, size);
}

const scep_err *cmp_talk_profile(cmp_talk *t, const char *name)
{
    ASN1_OBJECT *type = OBJ_txt2obj("1.3.6.1.5.5.7.4.21", 1);
    ASN1_TYPE *value = profile_value(name, t->p);
    OSSL_CMP_ITAV *line = type && value ? OSSL_CMP_ITAV_create(type, value) : NULL;

    if (line && OSSL_CMP_CTX_push0_geninfo_ITAV(t->ctx, line))
        return NULL;
    OSSL_CMP_ITAV_free(line);
    if (!line) {
        ASN1_OBJECT_free(type);
        ASN1_TYPE_free(value);
    }
    return scep_fail(t->p, INTERNAL, "out of memory");
}
