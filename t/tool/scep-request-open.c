/* scep-request open: what a reply says, word by word. */
#include "scep-request.h"

#include <apr_strings.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

static const char *name_text(const X509_NAME *name, apr_pool_t *p)
{
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *data;
    long len;

    FIXTURE_MUST(bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0);
    len = BIO_get_mem_data(bio, &data);
    return apr_pstrmemdup(p, data, (size_t)len);
}

static const char *number_text(const ASN1_INTEGER *number, apr_pool_t *p)
{
    return scep_hex(
        p, (scep_bytes){ ASN1_STRING_get0_data(number), (size_t)ASN1_STRING_length(number) });
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

static void print_leaf(const options *o, X509_STACK *certs, EVP_PKEY *key, X509_STACK *ca_ra,
                       apr_pool_t *p)
{
    X509 *leaf = sk_X509_value(certs, 0);
    int issued = 0;

    for (int i = 0; ca_ra && i < sk_X509_num(ca_ra); i++) {
        X509 *ca = sk_X509_value(ca_ra, i);

        issued |= X509_check_ca(ca) && X509_verify(leaf, X509_get0_pubkey(ca)) == 1;
    }
    ERR_clear_error();
    printf("serial=%s\n", number_text(X509_get0_serialNumber(leaf), p));
    printf("subject=%s\n", name_text(X509_get_subject_name(leaf), p));
    printf("issuer=%s\n", name_text(X509_get_issuer_name(leaf), p));
    printf("not_before=%s\n", time_text(X509_get0_notBefore(leaf), p));
    printf("not_after=%s\n", time_text(X509_get0_notAfter(leaf), p));
    printf("key_matches=%d\n", EVP_PKEY_eq(X509_get0_pubkey(leaf), key) == 1);
    printf("issued_by_ca_ra=%d\n", issued);
    if (o->out)
        write_certs(o->out, certs, 1, p);
    if (o->chain)
        write_certs(o->chain, certs, INT_MAX, p);
}

/* The CRL, with the serial numbers it holds: "A1=1 B2=-1", a CRLReason each, -1 without one. */
static void print_crl(const options *o, X509_CRL *crl, X509_STACK *ca_ra, apr_pool_t *p)
{
    X509 *ca = ca_ra ? find_ca(ca_ra) : NULL;
    STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(crl);
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    int good = ca && X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1;

    ERR_clear_error();
    printf("crl_issuer=%s\n", name_text(X509_CRL_get_issuer(crl), p));
    printf("crl_issued_by_ca_ra=%d\n", good);
    printf("crl_number=%s\n", number ? number_text(number, p) : "");
    ASN1_INTEGER_free(number);
    printf("crl_revoked=");
    for (int i = 0; i < sk_X509_REVOKED_num(revoked); i++) {
        X509_REVOKED *one = sk_X509_REVOKED_value(revoked, i);
        ASN1_ENUMERATED *reason = X509_REVOKED_get_ext_d2i(one, NID_crl_reason, NULL, NULL);

        printf("%s%s=%ld", i ? " " : "", number_text(X509_REVOKED_get0_serialNumber(one), p),
               reason ? ASN1_ENUMERATED_get(reason) : -1);
        ASN1_ENUMERATED_free(reason);
    }
    printf("\n");
    if (o->crl) {
        BIO *bio = scep_BIO(p, BIO_new_file(o->crl, "w"));

        if (!bio || !PEM_write_bio_X509_CRL(bio, crl))
            die(o->crl, "cannot be written");
    }
}

static void print_reply(const fixture_reply *reply, const earlier *asked, X509_STACK *ca_ra,
                        apr_pool_t *p)
{
    int known = 0;

    for (int i = 0; ca_ra && i < sk_X509_num(ca_ra); i++)
        known |= X509_cmp(sk_X509_value(ca_ra, i), reply->ra) == 0;
    printf("verified=%d\n", reply->verified);
    printf("signer_in_ca_ra=%d\n", known);
    printf("message_type=%s\n", or_nothing(reply->message_type));
    printf("status=%s\n", or_nothing(reply->pki_status));
    printf("fail_info=%s\n", or_nothing(reply->fail_info));
    printf("fail_info_text=%s\n", or_nothing(reply->fail_info_text));
    printf("transaction_id=%s\n", or_nothing(reply->transaction_id));
    printf("transaction_id_matches=%d\n",
           strcmp(or_nothing(reply->transaction_id), asked->transaction_id) == 0);
    printf("recipient_nonce_matches=%d\n",
           strcmp(scep_hex(p, reply->recipient_nonce), asked->nonce) == 0);
    printf("sender_nonce=%s\n", scep_hex(p, reply->sender_nonce));
    printf("digest=%s\n", OBJ_nid2sn(reply->digest_nid));
    printf("outer_certs=%d\n", reply->outer_certs);
}

static void print_content(const opened *inside)
{
    bool some = inside->certs != NULL;

    printf("cipher=%s\n", some ? OBJ_nid2sn(inside->cipher_nid) : "");
    printf("recipient=%s\n", !some                 ? ""
                             : inside->by_password ? "password"
                             : inside->oaep        ? "rsaesOaep"
                                                   : "rsaEncryption");
    printf("certs=%d\n", some ? sk_X509_num(inside->certs) : 0);
    printf("crls=%d\n", some && inside->crls ? sk_X509_CRL_num(inside->crls) : 0);
}

static const char *challenge_of(const options *o, apr_pool_t *p)
{
    FILE *from = o->challenge_file ? open_challenges(o->challenge_file) : NULL;
    char *line = from ? read_challenge(from, p) : NULL;

    if (from && from != stdin)
        (void)fclose(from);
    return line;
}

/* One reply. @return NULL, or why it is none */
static const char *open_one(const options *o, const char *request, const char *file,
                            X509_STACK *ca_ra, apr_pool_t *p)
{
    opened inside = { 0 };
    earlier asked = read_earlier(request, p);
    scep_bytes der = read_file(file, p);
    const char *why;
    fixture_reply *reply = fixture_open(der, NULL, NULL, &why, p);

    if (reply && signed_content(der, p).data)
        why = open_content(&inside, der, asked.signer, asked.signer_key, challenge_of(o, p), p);
    if (why)
        return why;
    print_reply(reply, &asked, ca_ra, p);
    print_content(&inside);
    if (inside.certs && sk_X509_num(inside.certs) > 0)
        print_leaf(o, inside.certs, asked.key, ca_ra, p);
    if (inside.crls && sk_X509_CRL_num(inside.crls) > 0)
        print_crl(o, sk_X509_CRL_value(inside.crls, 0), ca_ra, p);
    return NULL;
}

/* Many replies, since starting a program takes longer than opening one: an empty line ends each. */
static int open_list(const options *o, X509_STACK *ca_ra, apr_pool_t *p)
{
    FILE *list = strcmp(o->list, "-") == 0 ? stdin : fopen(o->list, "r");
    char line[1024];

    if (!list)
        die(o->list, "cannot be read");
    while (fgets(line, sizeof(line), list)) {
        char *file = strchr(line, ' ');
        const char *why;
        apr_pool_t *one;

        if (!file)
            die(o->list, "has a line that is not: DIR/NNNN FILE");
        *file++ = '\0';
        file[strcspn(file, "\n")] = '\0';
        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        why = open_one(o, line, file, ca_ra, one);
        if (why)
            printf("why=%s\n", why);
        printf("\n");
        apr_pool_destroy(one);
    }
    if (list != stdin)
        (void)fclose(list);
    return 0;
}

int command_open(const options *o, apr_pool_t *p)
{
    X509_STACK *ca_ra = o->ca_ra ? read_ca_ra(o->ca_ra, p) : NULL;
    const char *why;

    if (!o->list && (!o->request || !o->reply))
        die("open", "needs --request and --reply, or --list");
    load_legacy();
    if (o->list)
        return open_list(o, ca_ra, p);
    why = open_one(o, o->request, o->reply, ca_ra, p);
    if (!why)
        return 0;
    fprintf(stderr, "scep-request: %s: %s\n", o->reply, why);
    return 1;
}

int command_certs(const options *o, apr_pool_t *p)
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
               number_text(X509_get0_serialNumber(cert), p),
               ku & KU_DIGITAL_SIGNATURE ? "digitalSignature " : "",
               ku & KU_KEY_ENCIPHERMENT ? "keyEncipherment " : "",
               ku & KU_KEY_CERT_SIGN ? "keyCertSign " : "", ku & KU_CRL_SIGN ? "cRLSign " : "",
               X509_check_ca(cert) > 0, scep_hex(p, (scep_bytes){ md5, len }));
    }
    return 0;
}
