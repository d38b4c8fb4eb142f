/* Seeds of what is inside an envelope: CSRs, and what names a certificate. */
#include "make-seeds.h"

#include <apr_strings.h>
#include <openssl/core_names.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))

/* ---- what GetCert, GetCRL and CertPoll carry ---- */

scep_bytes issuer_and_serial(const X509 *cert, const char *hex, apr_pool_t *p)
{
    PKCS7_ISSUER_AND_SERIAL *ias = PKCS7_ISSUER_AND_SERIAL_new();
    unsigned char *der = NULL;
    BIGNUM *number = NULL;
    scep_bytes out;
    int len;

    FIXTURE_MUST(ias && X509_NAME_set(&ias->issuer, X509_get_issuer_name(cert)));
    FIXTURE_MUST(BN_hex2bn(&number, hex) && BN_to_ASN1_INTEGER(number, ias->serial));
    len = i2d_PKCS7_ISSUER_AND_SERIAL(ias, &der);
    FIXTURE_MUST(len > 0);
    out = scep_bytes_dup(p, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    BN_free(number);
    PKCS7_ISSUER_AND_SERIAL_free(ias);
    return out;
}

void make_reference_seeds(apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    const char *const serials[] = {
        "04",
        "00",
        "-04",
        "80",
        "-80",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
        "4134414343424630314442413532303642443141394435383137374635463830",
        "-1234567890ABCDEF"
    };
    scep_bytes one = issuer_and_serial(keys->device.cert, "04", p);
    static const unsigned char empty_name[] = { 0x30, 0x05, 0x30, 0x00, 0x02, 0x01, 0x01 };
    static const unsigned char padded[] = { 0x30, 0x07, 0x30, 0x00, 0x02, 0x03, 0x00, 0x00, 0x01 };
    static const unsigned char no_serial[] = { 0x30, 0x04, 0x30, 0x00, 0x02, 0x00 };

    for (int i = 0; i < COUNT(serials); i++)
        put_seed("reference", apr_psprintf(p, "serial-%d", i),
                 issuer_and_serial(keys->device.cert, serials[i], p), p);
    put_seed("reference", "empty-name", (scep_bytes){ empty_name, sizeof(empty_name) }, p);
    put_seed("reference", "padded-serial", (scep_bytes){ padded, sizeof(padded) }, p);
    put_seed("reference", "no-serial", (scep_bytes){ no_serial, sizeof(no_serial) }, p);
    put_seed("reference", "byte-behind", join_bytes(one, scep_bytes_of("x"), p), p);
    put_seed("reference", "cut", (scep_bytes){ one.data, one.len - 1 }, p);
    put_seed("reference", "nothing", (scep_bytes){ one.data, 0 }, p);
}

/* ---- CSRs ---- */

/* The CertificationRequestInfo of a CSR: its first element. */
static scep_bytes to_be_signed(scep_bytes csr)
{
    scep_cursor c = { csr.data, csr.len }, in;
    scep_bytes content;
    uint8_t tag;

    FIXTURE_MUST(scep_cursor_der(&c, &tag, &content));
    c = in = (scep_cursor){ content.data, content.len };
    FIXTURE_MUST(scep_cursor_der(&in, &tag, &content));
    return (scep_bytes){ c.at, (size_t)(in.at - c.at) };
}

void make_csr_seeds(apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    static const struct {
        const char *name;
        fixture_request r;
    } seeds[] = {
        { "plain", { 0 } },
        { "challenge", { .challenge = "secret" } },
        { "challenge-utf8", { .challenge = "secret", .challenge_type = V_ASN1_UTF8STRING } },
        { "challenge-bmp", { .challenge = "secret", .challenge_type = V_ASN1_BMPSTRING } },
        { "challenge-t61", { .challenge = "secret", .challenge_type = V_ASN1_T61STRING } },
        { "challenge-octets", { .challenge = "secret", .challenge_type = V_ASN1_OCTET_STRING } },
        { "challenge-sequence",
          { .challenge_value = { (const unsigned char *)"\x30\x00", 2 },
            .challenge_type = V_ASN1_SEQUENCE } },
        { "challenge-empty", { .challenge = "" } },
        { "challenge-nul", { .challenge_value = { (const unsigned char *)"a\0b", 3 } } },
        { "challenge-doubled", { .challenge = "secret", .challenges = 2 } },
        { "challenge-values", { .challenge = "secret", .challenge_values = true } },
        { "usage", { .key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT } },
        { "san", { .san = "DNS:a.example,email:a@b.example,IP:127.0.0.1,URI:http://a" } },
        { "san-sid",
          { .extensions = "2.5.29.17=DER:3031862F7461673A6D6963726F736F66742E636F6D2C323032322D30"
                          "392D31343A7369643A532D312D352D32312D312D353030" } },
        { "san-old", { .san = "DNS:device.example" } },
        { "san-added", { .san = "DNS:device.example,DNS:other.example" } },
        { "san-alone", { .subject = "", .san = "DNS:a.example" } },
        { "subject-empty", { .subject = "" } },
        { "subject-long", { .subject = "C=DE,O=Example,OU=One,OU=Two,CN=a,CN=b" } },
        { "microsoft",
          { .san = "DNS:a.example", .extension_attribute = "1.3.6.1.4.1.311.2.1.14" } },
        { "verisign",
          { .san = "DNS:a.example", .extension_attribute = "2.16.840.1.113733.1.9.8" } },
        { "extensions-doubled", { .san = "DNS:a", .extension_attributes = 2 } },
        { "smuggled",
          { .extensions = "basicConstraints=critical,CA:TRUE;extendedKeyUsage=anyExtendedKeyUsage;"
                          "1.3.6.1.4.1.311.25.2=DER:0403010203" } },
        { "extension-twice", { .extensions = "1.2.3=DER:0500;1.2.3=DER:0500" } },
        { "version-3", { .csr_version = 2 } },
        { "spoilt", { .spoil_csr = true } },
    };

    for (int i = 0; i < COUNT(seeds); i++) {
        fixture_request r = seeds[i].r;
        scep_bytes csr;

        r.key = keys->elliptic.key;
        csr = fixture_csr(&r, p);
        put_seed("csr", apr_pstrcat(p, "signed-", seeds[i].name, NULL),
                 join_bytes(scep_bytes_of("S"), to_be_signed(csr), p), p);
        put_seed("csr", seeds[i].name, csr, p);
    }
    put_seed("csr", "rsa", fixture_csr(&(fixture_request){ .key = keys->rsa.key }, p), p);
    put_seed("csr", "sha1",
             fixture_csr(&(fixture_request){ .key = keys->rsa.key, .csr_digest = EVP_sha1() }, p),
             p);
}

/* ---- public keys and certificates ---- */

static void put_key(const char *name, EVP_PKEY *key, const char *form, apr_pool_t *p)
{
    unsigned char *der = NULL;
    int len;

    if (form)
        FIXTURE_MUST(
            EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, form));
    len = i2d_PUBKEY(key, &der);
    FIXTURE_MUST(len > 0);
    put_seed("spki", name, (scep_bytes){ der, (size_t)len }, p);
    OPENSSL_free(der);
}

void make_key_seeds(apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    const struct {
        const char *name, *curve, *form;
    } curves[] = {
        { "p256", "P-256", "uncompressed" },
        { "p256-compressed", "P-256", "compressed" },
        { "p256-hybrid", "P-256", "hybrid" },
        { "p384", "P-384", NULL },
        { "p521", "P-521", NULL },
        { "secp256k1", "secp256k1", NULL },
    };
    X509 *const certs[] = { keys->ca.cert, keys->rsa.cert, keys->device.cert, keys->ra.sign.cert };
    scep_bytes der;

    for (int i = 0; i < COUNT(curves); i++)
        put_key(curves[i].name, fixture_key_make(0, curves[i].curve, p), curves[i].form, p);
    put_key("rsa", keys->rsa.key, NULL, p);
    put_key("rsa-768", fixture_key_make(768, NULL, p), NULL, p);
    put_key("ed25519", scep_EVP_PKEY(p, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")), NULL, p);
    for (int i = 0; i < COUNT(certs); i++) {
        FIXTURE_MUST(!scep_cert_der(&der, certs[i], p));
        put_seed("spki", apr_psprintf(p, "certificate-%d", i), der, p);
    }
}
