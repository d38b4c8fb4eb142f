/*
 * Writes the seeds of the fuzz targets: make-seeds FOLDER. What real clients sent comes from
 * t/vectors; the rest is built by the unit tests' own client.
 */
#include "make-seeds.h"

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <openssl/provider.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))

static const char *folder;

void put_seed(const char *target, const char *name, scep_bytes data, apr_pool_t *p)
{
    const char *at = apr_pstrcat(p, folder, "/", target, NULL);
    apr_file_t *file;

    FIXTURE_MUST(apr_dir_make_recursive(at, APR_FPROT_OS_DEFAULT, p) == APR_SUCCESS);
    at = apr_pstrcat(p, at, "/", name, NULL);
    FIXTURE_MUST(apr_file_open(&file, at, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_TRUNCATE,
                               APR_FPROT_OS_DEFAULT, p) == APR_SUCCESS);
    FIXTURE_MUST(apr_file_write_full(file, data.data, data.len, NULL) == APR_SUCCESS);
    FIXTURE_MUST(apr_file_close(file) == APR_SUCCESS);
}

/* A file of the source tree as a seed. */
static void copy_seed(const char *target, const char *name, const char *path, apr_pool_t *p)
{
    unsigned char *data = apr_palloc(p, 65536);
    apr_size_t len = 0;
    apr_file_t *file;

    path = apr_pstrcat(p, FUZZ_FOLDER, "/", path, NULL);
    FIXTURE_MUST(apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p) ==
                 APR_SUCCESS);
    FIXTURE_MUST(apr_file_read_full(file, data, 65536, &len) == APR_EOF && len);
    FIXTURE_MUST(apr_file_close(file) == APR_SUCCESS);
    put_seed(target, name, (scep_bytes){ data, len }, p);
}

scep_bytes join_bytes(scep_bytes a, scep_bytes b, apr_pool_t *p)
{
    unsigned char *both = apr_palloc(p, a.len + b.len + 1);

    if (a.len)
        memcpy(both, a.data, a.len);
    if (b.len)
        memcpy(both + a.len, b.data, b.len);
    return (scep_bytes){ both, a.len + b.len };
}

/* ---- recipes (fuzz.h) ---- */

typedef struct recipe {
    unsigned char signer, digest;
    const char *type; /* messageType */
    unsigned char nonce;
    const char *signing_time;
} recipe;

static scep_bytes attribute(unsigned char name, unsigned char type, scep_bytes value, apr_pool_t *p)
{
    const unsigned char head[] = { name, type, (unsigned char)value.len };

    return join_bytes((scep_bytes){ head, sizeof(head) }, value, p);
}

static scep_bytes cook(const recipe *r, scep_bytes content, apr_pool_t *p)
{
    const unsigned char head[] = { 'R', r->signer, r->digest, r->signing_time ? 5 : 4 };
    scep_bytes out = { head, sizeof(head) };

    out = join_bytes(out, attribute(0, 0, scep_bytes_of(r->type), p), p);
    out = join_bytes(out, attribute(1, 0, scep_bytes_of("tid*&_@x"), p), p);
    out = join_bytes(
        out, attribute(2, 1, (scep_bytes){ (const void *)"0123456789abcdefx", r->nonce }, p), p);
    out = join_bytes(out, attribute(6, 1, scep_bytes_of("random"), p), p);
    if (r->signing_time)
        out = join_bytes(out, attribute(3, 2, scep_bytes_of(r->signing_time), p), p);
    return join_bytes(out, content, p);
}

static void make_recipes(scep_bytes envelope, apr_pool_t *p)
{
    const recipe recipes[] = {
        { 0, 0, "19", 16, NULL },  { 1, 0, "19", 16, NULL },
        { 2, 0, "17", 16, NULL },  { 0, 1, "20", 8, NULL },
        { 0, 2, "21", 0, NULL },   { 0, 3, "22", 17, NULL },
        { 0, 4, "18", 16, NULL },  { 0, 5, "19", 16, NULL },
        { 1, 0, "3", 16, NULL },   { 1, 3, "19", 16, "260101000000Z" },
        { 1, 0, "019", 16, NULL }, { 1, 0, "", 16, "9912312359Z" },
    };

    for (int i = 0; i < COUNT(recipes); i++) {
        const char *name = apr_psprintf(p, "recipe-%d", i);
        scep_bytes seed = cook(&recipes[i], envelope, p);
        recipe quick = recipes[i];

        put_seed("certrep", name, seed, p);
        put_seed("proof", name, seed, p);
        /* ECDSA signs faster, and here nobody has to be answered */
        quick.signer = quick.digest == 5 ? quick.signer : 1;
        put_seed("message", name, cook(&quick, envelope, p), p);
    }
    put_seed("message", "recipe-empty", cook(&recipes[1], (scep_bytes){ (const void *)"", 0 }, p),
             p);
}

/* ---- proofs ---- */

/* The signed attributes as they are signed (RFC 5652 5.4): a SET OF. */
static scep_bytes signed_attributes(scep_bytes message, apr_pool_t *p)
{
    const unsigned char *at = message.data;
    CMS_ContentInfo *cms =
        scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)message.len));
    CMS_SignerInfo *si;
    scep_bytes all = { (const void *)"", 0 };
    unsigned char head[] = { 0x31, 0x82, 0, 0 };
    bool is_long;

    FIXTURE_MUST(cms);
    si = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
    for (int i = 0; i < CMS_signed_get_attr_count(si); i++) {
        unsigned char *der = NULL;
        int len = i2d_X509_ATTRIBUTE(CMS_signed_get_attr(si, i), &der);

        FIXTURE_MUST(len > 0);
        all = join_bytes(all, (scep_bytes){ der, (size_t)len }, p);
        OPENSSL_free(der);
    }
    is_long = all.len > 0xFF;
    FIXTURE_MUST(all.len > 0x7F && all.len <= 0xFFFF);
    head[1] = is_long ? 0x82 : 0x81;
    head[2] = (unsigned char)(is_long ? all.len >> 8 : all.len);
    head[3] = (unsigned char)all.len;
    return join_bytes((scep_bytes){ head, is_long ? 4 : 3 }, all, p);
}

static void make_proof(const char *name, const fixture_sent *sent, unsigned char signer,
                       unsigned char digest, apr_pool_t *p)
{
    scep_bytes attributes = signed_attributes(sent->der, p);
    const unsigned char head[] = { 'A', signer, digest, (unsigned char)(attributes.len >> 8),
                                   (unsigned char)attributes.len };
    const scep_accept accept = { .minimum_hash_bits = 160 };
    scep_wire_renew frame = { .endpoint = "default", .authority = "default", .peer = "127.0.0.1" };
    scep_proof proof;
    scep_message *m;
    scep_bytes body;

    put_seed("proof", apr_pstrcat(p, "attributes-", name, NULL),
             join_bytes(join_bytes((scep_bytes){ head, sizeof(head) }, attributes, p),
                        sent->envelope, p),
             p);
    if (scep_message_open(&m, sent->der, &accept, p))
        return;
    FIXTURE_MUST(!scep_proof_take(&proof, m, p));
    frame.signer = proof.signer;
    frame.attributes = proof.attributes;
    frame.digest_algorithm = proof.digest_algorithm;
    frame.signature_algorithm = proof.signature_algorithm;
    frame.signature = proof.signature;
    frame.content = proof.content;
    body = scep_wire_put_renew(SCEP_VERB_RENEW, &frame, p);
    body = (scep_bytes){ body.data + SCEP_WIRE_HEADER, body.len - SCEP_WIRE_HEADER };
    put_seed("proof", apr_pstrcat(p, "frame-", name, NULL), join_bytes(scep_bytes_of("W"), body, p),
             p);
}

/* ---- messages ---- */

typedef struct seed {
    const char *name;
    fixture_request r;
    bool elliptic, device; /* whose key and certificate; neither: rsa's */
    const char *also;      /* further targets */
} seed;

static fixture_sent *build(const seed *s, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    fixture_request r = s->r;

    if (!r.key)
        r.key = s->elliptic ? keys->elliptic.key : keys->rsa.key;
    if (!r.signer && !r.signer_key)
        r.signer = s->elliptic ? keys->elliptic.cert
                   : s->device ? keys->device.cert
                               : keys->rsa.cert;
    r.signer_key = s->elliptic ? keys->elliptic.key : keys->rsa.key;
    if (!r.recipient)
        r.recipient = keys->ra.decrypt.cert;
    return fixture_build(&r, p);
}

/* Builds each for its targets. */
static void put_messages(const seed *seeds, int count, apr_pool_t *p)
{
    for (int i = 0; i < count; i++) {
        const seed *s = &seeds[i];
        fixture_sent *sent = build(s, p);

        put_seed("message", s->name, sent->der, p);
        if (strstr(s->also, "certrep"))
            put_seed("certrep", s->name, sent->der, p);
        if (strstr(s->also, "proof")) {
            put_seed("proof", s->name, sent->der, p);
            make_proof(s->name, sent, s->elliptic, !strcmp(s->name, "3des"), p);
        }
        if (!strcmp(s->name, "aes128"))
            make_recipes(sent->envelope, p);
    }
}

static void make_served(apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    scep_bytes reference = issuer_and_serial(keys->device.cert, "04", p);
    const seed seeds[] = {
        { "aes128", { .challenge = "secret" }, .also = "certrep proof" },
        { "aes192", { .cipher = EVP_aes_192_cbc(), .digest = EVP_sha384() }, .also = "certrep" },
        { "aes256", { .cipher = EVP_aes_256_cbc(), .digest = EVP_sha512() }, .also = "certrep" },
        { "3des", { .cipher = EVP_des_ede3_cbc(), .digest = EVP_sha1() }, .also = "certrep proof" },
        { "sha224", { .digest = EVP_sha224() }, .also = "certrep" },
        { "des", { .cipher = EVP_des_cbc(), .digest = EVP_md5() }, .also = "certrep" },
        { "gcm", { .cipher = EVP_aes_128_gcm() }, .also = "" },
        { "ofb", { .cipher = EVP_aes_128_ofb() }, .also = "" },
        { "oaep", { .oaep = true }, .also = "certrep proof" },
        { "pss", { .pss = true }, .also = "certrep proof" },
        { "elliptic", { .challenge = "secret" }, .elliptic = true, .also = "certrep proof" },
        { "elliptic-sha512", { .digest = EVP_sha512() }, .elliptic = true, .also = "certrep" },
        { "ber", { .ber = true }, .also = "certrep proof" },
        { "renewal", { .message_type = "17" }, .device = true, .also = "certrep proof" },
        { "renewal-pkcsreq", { .message_type = "19" }, .device = true, .also = "proof" },
        { "poll", { .message_type = "20", .message_data = reference }, .also = "certrep proof" },
        { "getcert",
          { .message_type = "21", .message_data = reference },
          .device = true,
          .also = "certrep" },
        { "getcrl",
          { .message_type = "22", .message_data = reference },
          .device = true,
          .also = "certrep" },
        { "update", { .message_type = "18" }, .also = "certrep" },
    };

    put_messages(seeds, COUNT(seeds), p);
}

static void make_odd(apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    const seed seeds[] = {
        { "type-missing", { .message_type = "" }, .also = "certrep" },
        { "type-text", { .message_type = "nineteen" }, .also = "" },
        { "type-octets", { .message_type_tag = V_ASN1_OCTET_STRING }, .also = "" },
        { "type-doubled", { .doubled = "2.16.840.1.113733.1.9.2" }, .also = "" },
        { "type-two-values", { .two_values = "2.16.840.1.113733.1.9.2" }, .also = "" },
        { "transaction-missing", { .transaction_id = "" }, .also = "" },
        { "transaction-utf8", { .transaction_id_tag = V_ASN1_UTF8STRING }, .also = "" },
        { "transaction-odd", { .transaction_id = "../../x\n%s" }, .also = "certrep" },
        { "nonce-missing", { .nonce_length = -1 }, .also = "certrep proof" },
        { "nonce-8", { .nonce_length = 8 }, .also = "" },
        { "nonce-64", { .nonce_length = 64 }, .also = "certrep" },
        { "nonce-65", { .nonce_length = 65 }, .also = "" },
        { "nonce-doubled", { .doubled = "2.16.840.1.113733.1.9.5" }, .also = "" },
        { "more-attribute", { .more_attribute = "1.2.840.113549.1.9.25.3" }, .also = "proof" },
        { "no-signer", { .signers = -1 }, .also = "" },
        { "two-signers", { .signers = 2 }, .also = "" },
        { "no-attributes", { .without_attributes = true }, .also = "" },
        { "unsigned-attributes", { .unsigned_attributes = true }, .also = "" },
        { "no-content", { .no_content = true }, .also = "certrep" },
        { "content-type", { .content_type = "1.2.840.113549.1.7.3" }, .also = "" },
        { "signature-algorithm", { .signature_algorithm = "1.2.840.113549.1.1.11" }, .also = "" },
        { "signature-odd", { .signature_algorithm = "1.2.840.10040.4.3" }, .also = "" },
        { "signer-by-key-id", { .signer_by_key_id = true }, .also = "proof" },
        { "signer-missing", { .without_signer = true }, .also = "certrep" },
        { "signer-other", { .sent_instead = keys->ca.cert }, .also = "" },
        { "signer-extra", { .extra = keys->ca.cert }, .also = "" },
        { "recipient-by-key-id", { .recipient_by_key_id = true }, .also = "" },
        { "recipient-other", { .recipient = keys->rsa.cert }, .also = "" },
        { "recipient-none", { .recipients = -1, .password_recipient = true }, .also = "" },
        { "recipients-two", { .recipients = 2 }, .also = "" },
        { "recipient-elliptic", { .recipient = keys->elliptic.cert }, .also = "" },
        { "inner-type", { .inner_content_type = "1.2.840.113549.1.7.2" }, .also = "" },
        { "plain", { .plain = true }, .also = "" },
        { "bad-key", { .spoil_encrypted_key = true }, .also = "" },
        { "bad-padding", { .spoil_padding = true }, .also = "" },
    };

    put_messages(seeds, COUNT(seeds), p);
}

/* Recorded messages of real clients. */
static void copy_vectors(apr_pool_t *p)
{
    static const char *const vectors[] = {
        "strongswan-5.9.8_PKCSReq_post.der", "sscep-0.10_PKCSReq_post.der",
        "jscep-HEAD_PKCSReq_post_ber.der",   "micromdm-scepclient-2.1.0_PKCSReq_post_des_sha1.der",
        "absent-content_FAILURE.der",        "pwri_enveloped.der",
    };

    for (int i = 0; i < COUNT(vectors); i++) {
        const char *path = apr_pstrcat(p, "../vectors/", vectors[i], NULL);

        copy_seed("message", vectors[i], path, p);
        copy_seed("certrep", vectors[i], path, p);
    }
    copy_seed("query", "sscep.reqline", "../vectors/sscep-0.10_get_wrapped64.reqline", p);
    copy_seed("certrep", "pem", "keys/device.pem", p);
    copy_seed("certrep", "pem-other", "keys/ca.key", p);
}

int main(int argc, char **argv)
{
    OSSL_PROVIDER *dflt = OSSL_PROVIDER_load(NULL, "default");
    OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(NULL, "legacy");
    apr_pool_t *p = fuzz_begin();

    if (argc != 2) {
        fprintf(stderr, "usage: make-seeds FOLDER\n");
        return EXIT_FAILURE;
    }
    FIXTURE_MUST(dflt && legacy);
    folder = argv[1];
    make_reference_seeds(p);
    make_served(p);
    make_odd(p);
    copy_vectors(p);
    make_csr_seeds(p);
    make_key_seeds(p);
    make_text_seeds(p);
    make_rpc_seeds(p);
    make_directory_seeds(p);
    fuzz_end(p);
    return EXIT_SUCCESS;
}
