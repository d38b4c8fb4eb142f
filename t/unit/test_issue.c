/* Certificates as they are issued: what stands in them, and what never does. */
#include "issue.h"
#include "suite.h"

#include "certs.h"
#include "clock.h"
#include "connector.h"

#include <apr_strings.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY 86400
#define SERIALS 200

static const conf_template plain = {
    .name = "T",
    .days = 10,
    .key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
    .minimum_rsa_bits = 2048,
};

static scep_csr *csr_of(const fixture_request *r)
{
    scep_csr *csr;

    assert_ok(scep_csr_read(&csr, fixture_csr(r, p), p));
    return csr;
}

static const issue_ca *ca_of(X509 *cert, EVP_PKEY *key)
{
    const issue_ca *ca;

    assert_ok(issue_ca_make(&ca, cert, key, NULL, p));
    return ca;
}

/* It was put together from bytes: OpenSSL, which encodes it anew, gives the same ones. */
static void expect_der(const issued_cert *made, X509 *cert)
{
    unsigned char *tbs = NULL;
    int len = i2d_re_X509_tbs(cert, &tbs);
    scep_cursor c = { made->der.data, made->der.len };
    scep_bytes content;
    uint8_t tag;

    ck_assert(scep_cursor_der(&c, &tag, &content) && c.left == 0 && len > 0);
    ck_assert_uint_gt(content.len, (size_t)len);
    ck_assert_mem_eq(content.data, tbs, (size_t)len);
    OPENSSL_free(tbs);
}

/* As whoever gets it; what is told of it stands in it. */
static X509 *read_issued(const issued_cert *made)
{
    unsigned char hash[SCEP_KEY_HASH];
    apr_int64_t begins, ends;
    scep_bytes again;
    X509 *cert;

    assert_ok(scep_cert_read(&cert, made->der, p));
    assert_ok(scep_spki_of(&again, X509_get_X509_PUBKEY(cert), p));
    assert_bytes(made->spki, again);
    assert_ok(scep_spki_hash(hash, again, p));
    ck_assert_str_eq(made->key_hash, scep_base64(p, (scep_bytes){ hash, sizeof(hash) }));
    ck_assert_str_eq(made->serial, scep_cert_serial(cert, p));
    ck_assert_str_eq(made->subject, scep_name_line(X509_get_subject_name(cert), p));
    assert_ok(scep_time_seconds(&begins, X509_get0_notBefore(cert), p));
    assert_ok(scep_time_seconds(&ends, X509_get0_notAfter(cert), p));
    ck_assert(made->begins == begins && made->ends == ends);
    expect_der(made, cert);
    assert_ok(scep_cert_read(&cert, made->der, p)); /* as that one counts as changed */
    return cert;
}

static X509 *issue_by(const issue_ca *ca, const conf_template *template, const scep_csr *csr)
{
    const issued_cert *made;

    assert_ok(issue_certificate(&made, ca, template, csr, p));
    return read_issued(made);
}

static X509 *issue(const conf_template *template, const fixture_request *r)
{
    const fixture_ca *f = fixture_ca_get();

    return issue_by(ca_of(f->root, f->root_key), template, csr_of(r));
}

/* An extension as OpenSSL prints it; NULL: it is not there. */
static const char *extension(const X509 *cert, int nid, int *critical)
{
    int at = X509_get_ext_by_NID(cert, nid, -1);
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *text;
    long len;

    if (at < 0)
        return NULL;
    if (critical)
        *critical = X509_EXTENSION_get_critical(X509_get_ext(cert, at));
    ck_assert_int_eq(X509V3_EXT_print(bio, X509_get_ext(cert, at), 0, 0), 1);
    len = BIO_get_mem_data(bio, &text);
    return apr_pstrndup(p, text, (apr_size_t)len);
}

START_TEST(a_certificate_says_what_template_and_request_say)
{
    const conf_template template = {
        .name = "T",
        .days = 10,
        .key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT,
        .extended_key_usage = "clientAuth,1.3.6.1.5.5.8.2.2",
        .crl_url = "http://pki.example/ca.crl",
        .issuer_url = "http://pki.example/ca.cer",
        .ocsp_url = "http://ocsp.example/",
    };
    const fixture_request r = { .subject = "CN=device,O=Example",
                                .san = "DNS:device.example,IP:192.0.2.7" };
    const fixture_ca *f = fixture_ca_get();
    X509 *cert = issue(&template, &r);
    int critical;

    ck_assert_int_eq(X509_get_version(cert), X509_VERSION_3);
    ck_assert_int_eq(X509_verify(cert, f->root_key), 1);
    ck_assert_int_eq(X509_get_signature_nid(cert), NID_sha256WithRSAEncryption);
    ck_assert_int_eq(X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(f->root)), 0);
    ck_assert_str_eq(scep_name_line(X509_get_subject_name(cert), p), "O=Example,CN=device");
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(cert), fixture_key(0)), 1);
    ck_assert_str_eq(extension(cert, NID_basic_constraints, &critical), "CA:FALSE");
    ck_assert_int_eq(critical, 1);
    ck_assert_str_eq(extension(cert, NID_key_usage, &critical),
                     "Digital Signature, Key Encipherment, Key Agreement");
    ck_assert_int_eq(critical, 1);
    ck_assert_str_eq(extension(cert, NID_ext_key_usage, &critical),
                     "TLS Web Client Authentication, 1.3.6.1.5.5.8.2.2");
    ck_assert_int_eq(critical, 0);
    ck_assert_str_eq(extension(cert, NID_subject_alt_name, &critical),
                     "DNS:device.example, IP Address:192.0.2.7");
    ck_assert_int_eq(critical, 0);
    ck_assert_ptr_nonnull(strstr(extension(cert, NID_crl_distribution_points, &critical),
                                 "URI:http://pki.example/ca.crl"));
    ck_assert_ptr_nonnull(strstr(extension(cert, NID_info_access, NULL),
                                 "CA Issuers - URI:http://pki.example/ca.cer"));
    ck_assert_ptr_nonnull(
        strstr(extension(cert, NID_info_access, NULL), "OCSP - URI:http://ocsp.example/"));
    ck_assert_int_eq(X509_get_ext_count(cert), 8);
}
END_TEST

static scep_bytes extensions_of(const X509 *cert)
{
    int len = i2d_X509_EXTENSIONS(X509_get0_extensions(cert), NULL);
    unsigned char *der = apr_palloc(p, (size_t)len), *to = der;

    return (scep_bytes){ der, (size_t)i2d_X509_EXTENSIONS(X509_get0_extensions(cert), &to) };
}

START_TEST(a_template_that_the_ca_knows_beforehand_gives_the_same)
{
    const conf_template known = { .name = "K",
                                  .days = 10,
                                  .key_usage = KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT,
                                  .extended_key_usage = "clientAuth",
                                  .crl_url = "http://pki.example/ca.crl",
                                  .ocsp_url = "http://ocsp.example/" };
    conf_template same = known;
    apr_array_header_t *templates = apr_array_make(p, 2, sizeof(const conf_template *));
    EVP_PKEY *keys[] = { fixture_key(0), fixture_key_make(0, "P-256", p) };
    const fixture_ca *f = fixture_ca_get();
    const issue_ca *ca;

    APR_ARRAY_PUSH(templates, const conf_template *) = &plain;
    APR_ARRAY_PUSH(templates, const conf_template *) = &known;
    assert_ok(issue_ca_make(&ca, f->root, f->root_key, templates, p));
    for (size_t i = 0; i < ROWS(keys); i++) {
        const fixture_request r = { .key = keys[i], .san = "DNS:device.example" };
        scep_csr *csr = csr_of(&r);

        assert_bytes(extensions_of(issue_by(ca, &known, csr)),
                     extensions_of(issue_by(ca, &same, csr)));
    }
}
END_TEST

START_TEST(what_a_template_leaves_out_is_not_there)
{
    const fixture_request r = { 0 };
    X509 *cert = issue(&plain, &r);

    ck_assert_int_eq(X509_get_ext_count(cert), 4);
    ck_assert_ptr_nonnull(extension(cert, NID_basic_constraints, NULL));
    ck_assert_ptr_nonnull(extension(cert, NID_key_usage, NULL));
    ck_assert_ptr_nonnull(extension(cert, NID_subject_key_identifier, NULL));
    ck_assert_ptr_nonnull(extension(cert, NID_authority_key_identifier, NULL));
}
END_TEST

START_TEST(key_identifiers_are_the_keys_own)
{
    const fixture_request r = { 0 };
    const fixture_ca *f = fixture_ca_get();
    X509 *cert = issue(&plain, &r);
    unsigned char hash[20];
    unsigned int len;

    ck_assert_int_eq(X509_pubkey_digest(cert, EVP_sha1(), hash, &len), 1);
    ck_assert_int_eq(ASN1_STRING_length(X509_get0_subject_key_id(cert)), 20);
    ck_assert_mem_eq(ASN1_STRING_get0_data(X509_get0_subject_key_id(cert)), hash, 20);
    ck_assert_int_eq(
        ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(cert), X509_get0_subject_key_id(f->root)),
        0);
}
END_TEST

START_TEST(a_ca_without_an_identifier_gets_one_of_its_key)
{
    const fixture_request r = { 0 };
    X509 *root = fixture_cert("Old", fixture_key(1), NULL, NULL, true, KU_KEY_CERT_SIGN, p);
    X509_EXTENSION *ski =
        X509_delete_ext(root, X509_get_ext_by_NID(root, NID_subject_key_identifier, -1));
    unsigned char hash[20];
    unsigned int len;
    X509 *cert;

    ck_assert_ptr_nonnull(ski);
    X509_EXTENSION_free(ski);
    fixture_resign(root, fixture_key(1));
    cert = issue_by(ca_of(root, fixture_key(1)), &plain, csr_of(&r));
    ck_assert_int_eq(X509_pubkey_digest(root, EVP_sha1(), hash, &len), 1);
    ck_assert_mem_eq(ASN1_STRING_get0_data(X509_get0_authority_key_id(cert)), hash, 20);
}
END_TEST

START_TEST(S_12_nothing_is_smuggled_in)
{
    const fixture_request r = {
        .key_usage = KU_KEY_CERT_SIGN | KU_DIGITAL_SIGNATURE,
        .extensions = "basicConstraints=critical,CA:TRUE;extendedKeyUsage=anyExtendedKeyUsage;"
                      "2.5.29.32=DER:3006300406022A03;2.5.29.30=DER:3007A0053003820161;"
                      "subjectKeyIdentifier=0102;1.2.3.4=DER:0500;"
                      "1.3.6.1.4.1.311.25.2=ASN1:UTF8String:S-1-5-21-1",
    };
    X509 *cert = issue(&plain, &r);

    ck_assert_int_eq(X509_get_ext_count(cert), 4);
    ck_assert_str_eq(extension(cert, NID_basic_constraints, NULL), "CA:FALSE");
    ck_assert_str_eq(extension(cert, NID_key_usage, NULL), "Digital Signature, Key Encipherment");
    ck_assert_int_eq(ASN1_STRING_length(X509_get0_subject_key_id(cert)), 20);
}
END_TEST

START_TEST(a_san_is_critical_where_there_is_no_subject)
{
    const fixture_request r = { .subject = "", .san = "DNS:device.example" };
    X509 *cert = issue(&plain, &r);
    int critical = 0;

    ck_assert_str_eq(extension(cert, NID_subject_alt_name, &critical), "DNS:device.example");
    ck_assert_int_eq(critical, 1);
    ck_assert_int_eq(X509_NAME_entry_count(X509_get_subject_name(cert)), 0);
}
END_TEST

START_TEST(a_sid_is_copied_where_the_template_allows_it)
{
    const fixture_request r = { .extensions = "1.3.6.1.4.1.311.25.2=ASN1:UTF8String:S-1-5-21-1;"
                                              "1.2.3.4=DER:0500" };
    conf_template template = plain;
    ASN1_OBJECT *sid = scep_ASN1_OBJECT(p, OBJ_txt2obj("1.3.6.1.4.1.311.25.2", 1));
    X509 *cert;

    template.allow_sid = true;
    cert = issue(&template, &r);
    ck_assert_int_eq(X509_get_ext_count(cert), 5);
    ck_assert_int_ge(X509_get_ext_by_OBJ(cert, sid, -1), 0);
}
END_TEST

START_TEST(an_ec_key_is_not_for_encipherment)
{
    fixture_request r = { .key = fixture_key_make(0, "P-256", p) };

    ck_assert_str_eq(extension(issue(&plain, &r), NID_key_usage, NULL), "Digital Signature");
}
END_TEST

static apr_int64_t seconds(const ASN1_TIME *time)
{
    apr_int64_t out = 0;

    assert_ok(scep_time_seconds(&out, time, p));
    return out;
}

/* A CA valid from @a from to @a to, in seconds from now. */
static const issue_ca *ca_valid(apr_int64_t now, apr_int64_t from, apr_int64_t to)
{
    X509 *root = fixture_cert("Dated", fixture_key(1), NULL, NULL, true, KU_KEY_CERT_SIGN, p);

    ck_assert_ptr_nonnull(ASN1_TIME_set(X509_getm_notBefore(root), (time_t)(now + from)));
    ck_assert_ptr_nonnull(ASN1_TIME_set(X509_getm_notAfter(root), (time_t)(now + to)));
    fixture_resign(root, fixture_key(1));
    return ca_of(root, fixture_key(1));
}

static const struct {
    const char *name;
    apr_int64_t ca_from, ca_to; /* seconds from now */
    int days;
    apr_int64_t from, to; /* of the certificate; both 0: none is issued */
} dates[] = {
    { "well inside", -DAY, 100 * DAY, 10, -300, 10 * DAY },
    { "never beyond the CA's end", -DAY, 5 * DAY, 10, -300, 5 * DAY },
    { "the CA's last second but one", -DAY, 1, 10, -300, 1 },
    { "the CA has ended", -DAY, 0, 10, 0, 0 },
    { "never before the CA's begin", -60, 100 * DAY, 10, -60, 10 * DAY },
    { "the CA begins tomorrow", DAY, 100 * DAY, 10, 0, 0 },
    { "a hundred years, across 2050", -DAY, 40000LL * DAY, 36500, -300, 36500LL * DAY },
};

START_TEST(validity_stays_inside_the_cas)
{
    apr_int64_t now = 1900000000; /* 2030 */
    const fixture_request r = { 0 };
    const issue_ca *ca = ca_valid(now, dates[_i].ca_from, dates[_i].ca_to);
    conf_template template = plain;
    const issued_cert *made;
    X509 *cert;

    row = dates[_i].name;
    template.days = dates[_i].days;
    scep_clock_set(apr_time_from_sec(now));
    if (!dates[_i].from) {
        assert_code(SCEP_INTERNAL, issue_certificate(&made, ca, &template, csr_of(&r), p));
        return;
    }
    cert = issue_by(ca, &template, csr_of(&r));
    ck_assert_int_eq(seconds(X509_get0_notBefore(cert)) - now, dates[_i].from);
    ck_assert_int_eq(seconds(X509_get0_notAfter(cert)) - now, dates[_i].to);
}
END_TEST

static const struct {
    int bits;
    const char *curve;
    int nid;
} digests[] = {
    { 2048, NULL, NID_sha256WithRSAEncryption },
    { 0, "P-256", NID_ecdsa_with_SHA256 },
    { 0, "P-384", NID_ecdsa_with_SHA384 },
    { 0, "P-521", NID_ecdsa_with_SHA512 },
};

START_TEST(the_cas_key_picks_the_digest)
{
    EVP_PKEY *key = fixture_key_make(digests[_i].bits, digests[_i].curve, p);
    X509 *root = fixture_cert("Root", key, NULL, NULL, true, KU_KEY_CERT_SIGN, p);
    const issue_ca *ca = ca_of(root, key);
    const fixture_request r = { 0 };
    X509 *cert;

    cert = issue_by(ca, &plain, csr_of(&r));
    ck_assert_int_eq(X509_get_signature_nid(cert), digests[_i].nid);
    ck_assert_int_eq(X509_verify(cert, key), 1);
}
END_TEST

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

START_TEST(S_25_serials_are_positive_long_and_never_the_same)
{
    EVP_PKEY *key = fixture_key_make(0, "P-256", p);
    X509 *root = fixture_cert("Root", key, NULL, NULL, true, KU_KEY_CERT_SIGN, p);
    const issue_ca *ca = ca_of(root, key);
    const fixture_request r = { 0 };
    scep_csr *csr = csr_of(&r);
    const char *serials[SERIALS];
    int longest = 0;

    for (int i = 0; i < SERIALS; i++) {
        BIGNUM *serial;
        X509 *cert;

        cert = issue_by(ca, &plain, csr);
        serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
        ck_assert_ptr_nonnull(serial);
        ck_assert(!BN_is_negative(serial) && !BN_is_zero(serial));
        ck_assert_int_le(BN_num_bits(serial), 159);
        ck_assert_int_ge(BN_num_bits(serial), 100); /* one in 2^59 has fewer */
        longest = BN_num_bits(serial) > longest ? BN_num_bits(serial) : longest;
        BN_free(serial);
        serials[i] = scep_cert_serial(cert, p);
    }
    ck_assert_int_eq(longest, 159);
    qsort(serials, SERIALS, sizeof(*serials), by_text);
    for (int i = 1; i < SERIALS; i++)
        ck_assert_str_ne(serials[i - 1], serials[i]);
}
END_TEST

/* ---- connector_local ---- */

static const char *folder;

static const char *write_file(const char *name, X509 *const *certs, int n, EVP_PKEY *key)
{
    const char *path = apr_pstrcat(p, folder, "/", name, NULL);
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(PEM_write_X509(file, certs[i]), 1);
    FIXTURE_MUST(!key || PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    FIXTURE_MUST(fclose(file) == 0 && chmod(path, 0600) == 0);
    return path;
}

/* Write a chain and a key, open them, remove the files. @param crl_file NULL: no CRL is wanted */
static const scep_err *open_with_crl(connector **out, X509 *const *chain, int n, EVP_PKEY *key,
                                     const char *crl_file)
{
    char *made = apr_pstrdup(p, "/tmp/scep-local-XXXXXX");
    conf_authority a = { .name = "default", .connector = "local", .crl_file = crl_file };
    const scep_err *err;

    folder = mkdtemp(made);
    ck_assert_ptr_nonnull(folder);
    a.ca_cert = write_file("ca.pem", chain, n, NULL);
    a.ca_key = write_file("ca.key", NULL, 0, key);
    err = connector_open(out, &a, p);
    ck_assert_int_eq(unlink(a.ca_cert), 0);
    ck_assert_int_eq(unlink(a.ca_key), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    return err;
}

static const scep_err *open_local(connector **out, X509 *const *chain, int n, EVP_PKEY *key)
{
    return open_with_crl(out, chain, n, key, NULL);
}

#define CA_USAGE (KU_KEY_CERT_SIGN | KU_CRL_SIGN)

START_TEST(a_chain_up_to_the_root_is_opened_and_issues)
{
    X509 *root = fixture_cert("Root", fixture_key(1), NULL, NULL, true, CA_USAGE, p);
    X509 *middle = fixture_cert("Middle", fixture_key(2), root, fixture_key(1), true, CA_USAGE, p);
    X509 *chain[] = { middle, root };
    const fixture_request r = { 0 };
    const connector_ask ask = { .template = &plain, .csr = csr_of(&r) };
    connector_answer answer = { 0 };
    connector *c;

    assert_ok(open_local(&c, chain, 2, fixture_key(2)));
    ck_assert_str_eq(c->name, "local");
    ck_assert_int_eq(sk_X509_num(c->chain), 2);
    ck_assert_int_eq(X509_cmp(sk_X509_value(c->chain, 0), middle), 0);
    assert_ok(c->submit(&answer, c, &ask, p));
    ck_assert_int_eq(answer.outcome, CONNECTOR_ISSUED);
    ck_assert_int_eq(X509_verify(read_issued(answer.cert), fixture_key(2)), 1);
}
END_TEST

START_TEST(a_ca_that_has_ended_meanwhile_is_unavailable)
{
    X509 *root = fixture_cert("Root", fixture_key(1), NULL, NULL, true, CA_USAGE, p);
    const fixture_request r = { 0 };
    const connector_ask ask = { .template = &plain, .csr = csr_of(&r) };
    connector_answer answer = { 0 };
    connector *c;

    assert_ok(open_local(&c, &root, 1, fixture_key(1)));
    scep_clock_set(apr_time_now() + apr_time_from_sec(31 * DAY));
    assert_code(SCEP_UNAVAILABLE, c->submit(&answer, c, &ask, p));
}
END_TEST

/* Each refused opening says what to do. */
static void refused(const char *says, X509 *const *chain, int n, EVP_PKEY *key)
{
    connector *c;
    const scep_err *err = open_local(&c, chain, n, key);

    row = says;
    assert_code(SCEP_CONFIG, err);
    ck_assert_msg(strstr(err->detail, says), "\"%s\" in: %s", says, err->detail);
}

START_TEST(a_chain_that_does_not_hold_is_refused)
{
    X509 *root = fixture_cert("Root", fixture_key(1), NULL, NULL, true, CA_USAGE, p);
    X509 *other = fixture_cert("Root", fixture_key(0), NULL, NULL, true, CA_USAGE, p);
    X509 *middle = fixture_cert("Middle", fixture_key(2), root, fixture_key(1), true, CA_USAGE, p);
    X509 *leaf = fixture_cert("Leaf", fixture_key(2), root, fixture_key(1), false, 0, p);
    X509 *idle = fixture_cert("Idle", fixture_key(1), NULL, NULL, true, KU_CRL_SIGN, p);
    X509 *whole[] = { middle, root };
    X509 *turned[] = { root, middle };
    X509 *wrong[] = { middle, other };
    X509 *under[] = { leaf, root };

    refused("append the certificates up to the root, \"CN=Root\" next", whole, 1, fixture_key(2));
    refused("is not signed by what follows it", turned, 2, fixture_key(1));
    refused("is not signed by what follows it", wrong, 2, fixture_key(2));
    refused("basicConstraints CA:TRUE", under, 2, fixture_key(2));
    refused("keyCertSign", &idle, 1, fixture_key(1));
    refused("is not the key of the first certificate", whole, 2, fixture_key(1));
    refused("no certificate", NULL, 0, fixture_key(1));
    scep_clock_set(apr_time_now() + apr_time_from_sec(31 * DAY));
    refused("has ended", whole, 2, fixture_key(2));
    scep_clock_set(apr_time_now() - apr_time_from_sec(DAY));
    refused("not valid yet", whole, 2, fixture_key(2));
}
END_TEST

static const struct {
    const char *name;
    uint32_t usage;
    const char *crl_file;
    const char *says; /* NULL: it opens */
    bool signs;
} crls[] = {
    { "none is wanted", CA_USAGE, NULL, NULL, false },
    { "one is wanted", CA_USAGE, "/nowhere/ca.crl", NULL, true },
    { "the CA may not, and none is wanted", KU_KEY_CERT_SIGN, NULL, NULL, false },
    { "the CA may not", KU_KEY_CERT_SIGN, "/nowhere/ca.crl", "cRLSign", false },
};

START_TEST(a_crl_is_signed_where_it_is_wanted_and_the_ca_may)
{
    EVP_PKEY *key = fixture_key_make(0, "P-384", p);
    X509 *root = fixture_cert("Root", key, NULL, NULL, true, crls[_i].usage, p);
    X509_CRL *crl = scep_X509_CRL(p, X509_CRL_new());
    const scep_err *err;
    connector *c;

    row = crls[_i].name;
    err = open_with_crl(&c, &root, 1, key, crls[_i].crl_file);
    if (crls[_i].says) {
        assert_code(SCEP_CONFIG, err);
        ck_assert_ptr_nonnull(strstr(err->detail, crls[_i].says));
        return;
    }
    assert_ok(err);
    ck_assert((c->sign_crl != NULL) == crls[_i].signs);
    if (!crls[_i].signs)
        return;
    ck_assert_int_eq(X509_CRL_set_issuer_name(crl, X509_get_subject_name(root)), 1);
    assert_ok(c->sign_crl(crl, c, p));
    ck_assert_int_eq(X509_CRL_verify(crl, key), 1);
    /* the digest of certificates */
    ck_assert_int_eq(X509_CRL_get_signature_nid(crl), NID_ecdsa_with_SHA384);
}
END_TEST

START_TEST(a_connector_that_is_not_built_in_is_refused)
{
    const conf_authority a = { .name = "default", .connector = "fax" };
    const scep_err *err;
    connector *c;

    err = connector_open(&c, &a, p);
    assert_code(SCEP_CONFIG, err);
    ck_assert_ptr_nonnull(strstr(err->detail, "without the connector \"fax\""));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, a_certificate_says_what_template_and_request_say);
    tcase_add_test(cases, a_template_that_the_ca_knows_beforehand_gives_the_same);
    tcase_add_test(cases, what_a_template_leaves_out_is_not_there);
    tcase_add_test(cases, key_identifiers_are_the_keys_own);
    tcase_add_test(cases, a_ca_without_an_identifier_gets_one_of_its_key);
    tcase_add_test(cases, S_12_nothing_is_smuggled_in);
    tcase_add_test(cases, a_san_is_critical_where_there_is_no_subject);
    tcase_add_test(cases, a_sid_is_copied_where_the_template_allows_it);
    tcase_add_test(cases, an_ec_key_is_not_for_encipherment);
    tcase_add_loop_test(cases, validity_stays_inside_the_cas, 0, ROWS(dates));
    tcase_add_loop_test(cases, the_cas_key_picks_the_digest, 0, ROWS(digests));
    tcase_add_test(cases, S_25_serials_are_positive_long_and_never_the_same);
    tcase_add_test(cases, a_chain_up_to_the_root_is_opened_and_issues);
    tcase_add_test(cases, a_ca_that_has_ended_meanwhile_is_unavailable);
    tcase_add_test(cases, a_chain_that_does_not_hold_is_refused);
    tcase_add_loop_test(cases, a_crl_is_signed_where_it_is_wanted_and_the_ca_may, 0, ROWS(crls));
    tcase_add_test(cases, a_connector_that_is_not_built_in_is_refused);
}

int main(void)
{
    return run_suite("issue", add_tests);
}
