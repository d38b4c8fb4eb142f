/*
 * A certification authority that speaks CMP, for the demo: a CGI program that answers one
 * PKIMessage by OpenSSL's own CMP server. RFC 4210, RFC 6712. It issues what is asked for; nothing
 * is kept from one message to the next, so clients have to do with implicit confirmation.
 *
 *   cmp-ca CA.pem CA.key REFERENCE SECRET-FILE
 */
#include <openssl/cmp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MOST (256 * 1024)
#define DAYS 365

typedef struct authority {
    X509 *cert;
    EVP_PKEY *key;
} authority;

static X509 *cert_load(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    X509 *cert = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;

    BIO_free(in);
    return cert;
}

static EVP_PKEY *key_load(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;

    BIO_free(in);
    return key;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;
    bool added;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    added = ext && X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return added;
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[16];
    BIGNUM *n =
        RAND_bytes(bytes, sizeof(bytes)) == 1 ? BN_bin2bn(bytes, sizeof(bytes), NULL) : NULL;
    bool set = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));

    BN_free(n);
    return set;
}

static X509 *issue(const authority *ca, const X509_NAME *subject, EVP_PKEY *key)
{
    X509 *cert = X509_new();

    if (cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
        X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) &&
        X509_set_subject_name(cert, subject) && X509_set_pubkey(cert, key) &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -300) &&
        X509_time_adj_ex(X509_getm_notAfter(cert), DAYS, 0, NULL) &&
        add_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
        add_extension(cert, ca->cert, NID_ext_key_usage, "clientAuth") &&
        add_extension(cert, ca->cert, NID_subject_key_identifier, "hash") &&
        add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid") &&
        X509_sign(cert, ca->key, EVP_sha256()))
        return cert;
    X509_free(cert);
    return NULL;
}

static OSSL_CMP_PKISI *refuse(const char *why)
{
    return OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_rejection,
                                   1 << OSSL_CMP_PKIFAILUREINFO_badCertTemplate, why);
}

/* ir and cr are p10cr's elder sisters: this CA wants a PKCS#10, whose signature proves the key. */
static OSSL_CMP_PKISI *on_request(OSSL_CMP_SRV_CTX *server, const OSSL_CMP_MSG *request, int id,
                                  const OSSL_CRMF_MSG *crm, const X509_REQ *p10, X509 **out,
                                  STACK_OF(X509) * *chain, STACK_OF(X509) * *more)
{
    const authority *ca = OSSL_CMP_SRV_CTX_get0_custom_ctx(server);
    X509_REQ *csr = (X509_REQ *)p10;

    if (!p10 || X509_REQ_verify(csr, X509_REQ_get0_pubkey(csr)) != 1)
        return refuse("a PKCS#10 that its key has signed is accepted");
    *out = issue(ca, X509_REQ_get_subject_name(csr), X509_REQ_get0_pubkey(csr));
    return *out ? OSSL_CMP_STATUSINFO_new(OSSL_CMP_PKISTATUS_accepted, 0, NULL)
                : refuse("the certificate cannot be made");
}

static OSSL_CMP_MSG *message_read(FILE *in)
{
    unsigned char *text = malloc(MESSAGE_MOST);
    const unsigned char *at = text;
    size_t len = text ? fread(text, 1, MESSAGE_MOST, in) : 0;
    OSSL_CMP_MSG *m = len ? d2i_OSSL_CMP_MSG(NULL, &at, (long)len) : NULL;

    free(text);
    return m;
}

/* A secret's last line break is the editor's. */
static bool set_secret(OSSL_CMP_CTX *cmp, const char *reference, const char *path)
{
    char secret[256] = "";
    FILE *in = fopen(path, "r");
    bool set = in && fgets(secret, sizeof(secret), in);

    if (in)
        (void)fclose(in);
    secret[strcspn(secret, "\r\n")] = '\0';
    return set &&
           OSSL_CMP_CTX_set1_referenceValue(cmp, (const unsigned char *)reference,
                                            (int)strlen(reference)) &&
           OSSL_CMP_CTX_set1_secretValue(cmp, (const unsigned char *)secret, (int)strlen(secret));
}

static bool answer(OSSL_CMP_SRV_CTX *server, authority *ca, char **argv)
{
    OSSL_CMP_CTX *cmp = OSSL_CMP_SRV_CTX_get0_cmp_ctx(server);
    OSSL_CMP_MSG *request, *reply = NULL;
    bool sent;

    if (!OSSL_CMP_SRV_CTX_init(server, ca, on_request, NULL, NULL, NULL, NULL, NULL) ||
        !OSSL_CMP_SRV_CTX_set_grant_implicit_confirm(server, 1) ||
        !set_secret(cmp, argv[3], argv[4]) ||
        !OSSL_CMP_CTX_set1_subjectName(cmp, X509_get_subject_name(ca->cert)))
        return false;
    request = message_read(stdin);
    reply = request ? OSSL_CMP_SRV_process_request(server, request) : NULL;
    (void)printf("Content-Type: application/pkixcmp\r\n\r\n");
    (void)fflush(stdout);
    sent = reply && i2d_OSSL_CMP_MSG(reply, NULL) > 0;
    if (sent) {
        BIO *out = BIO_new_fp(stdout, BIO_NOCLOSE);

        sent = out && i2d_OSSL_CMP_MSG_bio(out, reply);
        BIO_free(out);
    }
    OSSL_CMP_MSG_free(request);
    OSSL_CMP_MSG_free(reply);
    return sent;
}

int main(int argc, char **argv)
{
    authority ca = { NULL, NULL };
    OSSL_CMP_SRV_CTX *server = OSSL_CMP_SRV_CTX_new(NULL, NULL);
    bool done = false;

    if (argc == 5 && server) {
        ca.cert = cert_load(argv[1]);
        ca.key = key_load(argv[2]);
        done = ca.cert && ca.key && answer(server, &ca, argv);
    }
    if (!done)
        ERR_print_errors_fp(stderr);
    OSSL_CMP_SRV_CTX_free(server);
    X509_free(ca.cert);
    EVP_PKEY_free(ca.key);
    return done ? 0 : 1;
}
