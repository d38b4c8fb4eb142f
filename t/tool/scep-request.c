/*
 * A SCEP client for tests, without HTTP: writes requests to files, opens the replies.
 * Challenges come from a file or standard input, never from the command line.
 */
#include "scep-request.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "usage: scep-request new --recipient PEM | --ca-ra FILE --out DIR [--count N]\n"
    "           [--challenge-file FILE|-] [--subject DN] [--san SAN]\n"
    "           [--key-usage digitalSignature|keyEncipherment|both] [--ext NAME=VALUE;...]\n"
    "           [--cipher aes128|aes192|aes256|3des|des]\n"
    "           [--digest sha1|sha256|sha384|sha512|md5] [--type N] [--transaction-id T]\n"
    "           [--keys N] [--key PEM] [--signer PEM --signer-key PEM] [--spoil WORD] [--ber]\n"
    "       scep-request open --request DIR/NNNN --reply FILE [--ca-ra FILE] [--out PEM]\n"
    "       scep-request certs --ca-ra FILE\n"
    "In --subject, --san and --transaction-id {} stands for the number of the request.\n";

_Noreturn void die(const char *what, const char *which)
{
    fprintf(stderr, "scep-request: %s: %s\n", what, which);
    ERR_print_errors_fp(stderr);
    (void)fflush(stdout);
    _exit(2); /* at once: nothing is cleaned up, and no leak checker shall change the status */
}

/* ---- files ---- */

scep_bytes read_file(const char *path, apr_pool_t *p)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    unsigned char *data;

    if (!f || fstat(fileno(f), &st) != 0)
        die(path, strerror(errno));
    data = apr_palloc(p, (size_t)st.st_size + 1);
    if (fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        die(path, "cannot be read");
    data[st.st_size] = 0;
    (void)fclose(f);
    return (scep_bytes){ data, (size_t)st.st_size };
}

void write_file(const char *path, scep_bytes content)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(content.data, 1, content.len, f) != content.len || fclose(f) != 0)
        die(path, strerror(errno));
}

static BIO *open_bio(const char *path, const char *mode, apr_pool_t *p)
{
    BIO *bio = scep_BIO(p, BIO_new_file(path, mode));

    if (!bio)
        die(path, "cannot be opened");
    return bio;
}

X509 *read_cert(const char *path, apr_pool_t *p)
{
    X509 *cert = scep_X509(p, PEM_read_bio_X509(open_bio(path, "r", p), NULL, NULL, NULL));

    if (!cert)
        die(path, "holds no certificate");
    return cert;
}

EVP_PKEY *read_key(const char *path, apr_pool_t *p)
{
    EVP_PKEY *key =
        scep_EVP_PKEY(p, PEM_read_bio_PrivateKey(open_bio(path, "r", p), NULL, NULL, NULL));

    if (!key)
        die(path, "holds no private key");
    return key;
}

void write_cert(const char *path, X509 *cert, apr_pool_t *p)
{
    if (!PEM_write_bio_X509(open_bio(path, "w", p), cert))
        die(path, "cannot be written");
}

void write_key(const char *path, EVP_PKEY *key, apr_pool_t *p)
{
    if (!PEM_write_bio_PrivateKey(open_bio(path, "w", p), key, NULL, NULL, 0, NULL, NULL))
        die(path, "cannot be written");
}

X509_STACK *read_ca_ra(const char *path, apr_pool_t *p)
{
    X509_STACK *certs = fixture_certs(read_file(path, p), p);

    if (!certs || sk_X509_num(certs) < 1)
        die(path, "is no answer to GetCACert");
    return certs;
}

/* ---- open, certs ---- */

static const char *name_text(const X509_NAME *name, apr_pool_t *p)
{
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *data;
    long len;

    FIXTURE_MUST(bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0);
    len = BIO_get_mem_data(bio, &data);
    return apr_pstrmemdup(p, data, (size_t)len);
}

static const char *serial_text(const X509 *cert, apr_pool_t *p)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);

    return scep_hex(
        p, (scep_bytes){ ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial) });
}

static const char *time_text(const ASN1_TIME *time, apr_pool_t *p)
{
    struct tm tm;

    FIXTURE_MUST(ASN1_TIME_to_tm(time, &tm));
    return apr_psprintf(p, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static const char *or_nothing(const char *text)
{
    return text ? text : "";
}

static void print_leaf(const options *o, const fixture_reply *reply, EVP_PKEY *key,
                       X509_STACK *ca_ra, apr_pool_t *p)
{
    X509 *leaf = sk_X509_value(reply->certs, 0);
    int issued = 0;

    for (int i = 0; ca_ra && i < sk_X509_num(ca_ra); i++) {
        X509 *ca = sk_X509_value(ca_ra, i);

        issued |= X509_check_ca(ca) && X509_verify(leaf, X509_get0_pubkey(ca)) == 1;
    }
    ERR_clear_error();
    printf("serial=%s\n", serial_text(leaf, p));
    printf("subject=%s\n", name_text(X509_get_subject_name(leaf), p));
    printf("issuer=%s\n", name_text(X509_get_issuer_name(leaf), p));
    printf("not_before=%s\n", time_text(X509_get0_notBefore(leaf), p));
    printf("not_after=%s\n", time_text(X509_get0_notAfter(leaf), p));
    printf("key_matches=%d\n", EVP_PKEY_eq(X509_get0_pubkey(leaf), key) == 1);
    printf("issued_by_ca_ra=%d\n", issued);
    if (o->out)
        write_cert(o->out, leaf, p);
}

static void print_reply(const fixture_reply *reply, const char *request, X509_STACK *ca_ra,
                        apr_pool_t *p)
{
    char *facts = (char *)read_file(apr_pstrcat(p, request, ".sent", NULL), p).data;
    char *nonce = strchr(facts, '\n');
    int known = 0;

    if (!nonce)
        die(request, ".sent is damaged");
    *nonce++ = '\0';
    nonce[strcspn(nonce, "\n")] = '\0';
    for (int i = 0; ca_ra && i < sk_X509_num(ca_ra); i++)
        known |= X509_cmp(sk_X509_value(ca_ra, i), reply->ra) == 0;
    printf("verified=%d\n", reply->verified);
    printf("signer_in_ca_ra=%d\n", known);
    printf("message_type=%s\n", or_nothing(reply->message_type));
    printf("status=%s\n", or_nothing(reply->pki_status));
    printf("fail_info=%s\n", or_nothing(reply->fail_info));
    printf("fail_info_text=%s\n", or_nothing(reply->fail_info_text));
    printf("transaction_id=%s\n", or_nothing(reply->transaction_id));
    printf("transaction_id_matches=%d\n", strcmp(or_nothing(reply->transaction_id), facts) == 0);
    printf("recipient_nonce_matches=%d\n", strcmp(scep_hex(p, reply->recipient_nonce), nonce) == 0);
    printf("sender_nonce=%s\n", scep_hex(p, reply->sender_nonce));
    printf("digest=%s\n", OBJ_nid2sn(reply->digest_nid));
    printf("cipher=%s\n", reply->cipher_nid ? OBJ_nid2sn(reply->cipher_nid) : "");
    printf("certs=%d\n", reply->certs ? sk_X509_num(reply->certs) : 0);
}

static int command_open(const options *o, apr_pool_t *p)
{
    X509_STACK *ca_ra = o->ca_ra ? read_ca_ra(o->ca_ra, p) : NULL;
    const char *why;
    fixture_reply *reply;

    if (!o->request || !o->reply)
        die("open", "needs --request and --reply");
    reply =
        fixture_open(read_file(o->reply, p), read_cert(apr_pstrcat(p, o->request, ".crt", NULL), p),
                     read_key(apr_pstrcat(p, o->request, ".signer.key", NULL), p), &why, p);
    if (!reply) {
        fprintf(stderr, "scep-request: %s: %s\n", o->reply, why);
        return 1;
    }
    print_reply(reply, o->request, ca_ra, p);
    if (reply->certs && sk_X509_num(reply->certs) > 0)
        print_leaf(o, reply, read_key(apr_pstrcat(p, o->request, ".key", NULL), p), ca_ra, p);
    return 0;
}

static int command_certs(const options *o, apr_pool_t *p)
{
    X509_STACK *certs;

    if (!o->ca_ra)
        die("certs", "needs --ca-ra");
    certs = read_ca_ra(o->ca_ra, p);
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        uint32_t ku = X509_get_key_usage(cert);
        unsigned char md5[EVP_MAX_MD_SIZE];
        unsigned len;

        FIXTURE_MUST(X509_digest(cert, EVP_md5(), md5, &len));
        ku = ku == UINT32_MAX ? 0 : ku;
        printf("subject=%s\tissuer=%s\tserial=%s\tkey_usage=%s%s%s%s\tca=%d\tmd5=%s\n",
               name_text(X509_get_subject_name(cert), p), name_text(X509_get_issuer_name(cert), p),
               serial_text(cert, p), ku & KU_DIGITAL_SIGNATURE ? "digitalSignature " : "",
               ku & KU_KEY_ENCIPHERMENT ? "keyEncipherment " : "",
               ku & KU_KEY_CERT_SIGN ? "keyCertSign " : "", ku & KU_CRL_SIGN ? "cRLSign " : "",
               X509_check_ca(cert) > 0, scep_hex(p, (scep_bytes){ md5, len }));
    }
    return 0;
}

/* ---- command line ---- */

static void parse(options *o, int argc, char **argv)
{
    const struct {
        const char *name;
        const char **value;
    } known[] = {
        { "--recipient", &o->recipient },
        { "--ca-ra", &o->ca_ra },
        { "--out", &o->out },
        { "--count", &o->count },
        { "--challenge-file", &o->challenge_file },
        { "--subject", &o->subject },
        { "--san", &o->san },
        { "--key-usage", &o->key_usage },
        { "--ext", &o->ext },
        { "--cipher", &o->cipher },
        { "--digest", &o->digest },
        { "--type", &o->type },
        { "--transaction-id", &o->transaction_id },
        { "--keys", &o->keys },
        { "--key", &o->key },
        { "--signer", &o->signer },
        { "--signer-key", &o->signer_key },
        { "--spoil", &o->spoil },
        { "--request", &o->request },
        { "--reply", &o->reply },
        { "--ber", &o->ber },
    };

    for (int i = 2; i < argc; i++) {
        size_t k = 0;

        while (k < sizeof(known) / sizeof(*known) && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == sizeof(known) / sizeof(*known))
            die("no such option", argv[i]);
        if (known[k].value == &o->ber)
            o->ber = "";
        else if (++i < argc)
            *known[k].value = argv[i];
        else
            die("needs a value", known[k].name);
    }
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    options o = { 0 };
    apr_pool_t *pool;
    int status = 2;

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && apr_pool_create(&pool, NULL) == APR_SUCCESS);
    (void)umask(077);
    parse(&o, argc, argv);
    if (strcmp(command, "new") == 0)
        status = command_new(&o, pool);
    else if (strcmp(command, "open") == 0)
        status = command_open(&o, pool);
    else if (strcmp(command, "certs") == 0)
        status = command_certs(&o, pool);
    else
        fputs(usage, stderr);
    apr_pool_destroy(pool);
    apr_terminate();
    return status;
}
