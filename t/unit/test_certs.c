/* What a client learns before it asks for anything: GetCACaps, GetCACert's list, GetNextCACert. */
#include "odd.h"
#include "suite.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <string.h>

/* ---- GetCACaps ---- */

/* RFC 8894 3.5.2, Table 7, and SHA-384, without which strongSwan 5.9.8 does not enrol. */
static const char *const keywords[] = {
    "AES",          "DES3",  "GetNextCACert", "POSTPKIOperation", "Renewal",
    "SCEPStandard", "SHA-1", "SHA-256",       "SHA-384",          "SHA-512"
};

static const int least[] = { 0, 128, 160, 224, 256, 384, 512 };
enum { SWITCHES = 8 }; /* legacy, renewal, next */

static const char *caps_of(int i)
{
    scep_accept accept = { .minimum_hash_bits = least[i / SWITCHES], .legacy = i & 4 };

    row = apr_psprintf(p, "%d bits, legacy %d, renewal %d, next %d", accept.minimum_hash_bits,
                       (i & 4) != 0, (i & 2) != 0, i & 1);
    return scep_caps_text(&accept, i & 2, i & 1, p);
}

static bool has(const char *caps, const char *keyword)
{
    size_t len = strlen(keyword);

    for (const char *line = caps; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, keyword, len) && (line[len] == '\n' || !line[len]))
            return true;
    return false;
}

/* No other keyword: a private one would need a prefix, an empty line would mean them all. */
START_TEST(R_020_R_021_R_026_R_027_Q_03_Q_04_caps_are_keywords_of_the_rfc_a_line_each)
{
    const char *caps = caps_of(_i);
    char *state, *text = apr_pstrdup(p, caps), previous[32] = "";
    size_t lines = 0, length = 0;

    for (char *line = apr_strtok(text, "\n", &state); line; line = apr_strtok(NULL, "\n", &state)) {
        bool known = false;

        for (int i = 0; i < ROWS(keywords); i++)
            known = known || !strcmp(line, keywords[i]);
        ck_assert_msg(known, "%s: %s", row, line);
        ck_assert_msg(strcmp(previous, line) < 0, "%s: %s twice or out of order", row, line);
        apr_cpystrn(previous, line, sizeof(previous));
        lines++;
        length += strlen(line);
    }
    ck_assert_msg(lines >= 4, "%s: %s", row, caps);
    /* apr_strtok() steps over empty lines; they show in the length */
    ck_assert_uint_eq(strlen(caps), length + lines - 1);
    ck_assert_uint_lt(strlen(caps), 1024);
}
END_TEST

START_TEST(R_023_R_024_R_028_Q_02_caps_list_what_works_and_only_that)
{
    const char *caps = caps_of(_i);
    int bits = least[_i / SWITCHES];

    ck_assert(has(caps, "AES") && has(caps, "DES3") && has(caps, "POSTPKIOperation"));
    ck_assert(has(caps, "SHA-512"));
    ck_assert(has(caps, "Renewal") == ((_i & 2) != 0));
    ck_assert(has(caps, "GetNextCACert") == ((_i & 1) != 0));
    ck_assert(has(caps, "SHA-1") == (bits <= 160));
    ck_assert(has(caps, "SHA-256") == (bits <= 256));
    ck_assert(has(caps, "SHA-384") == (bits <= 384));
    /* it promises SHA-256, and stands beside what it comprises, for clients that do not know it */
    ck_assert(has(caps, "SCEPStandard") == (bits <= 256));
}
END_TEST

START_TEST(R_025_R_163_caps_never_offer_md5_or_des_even_where_they_are_accepted)
{
    const char *caps = caps_of(_i);

    ck_assert(!has(caps, "DES") && !has(caps, "MD5") && !strstr(caps, "MD5"));
    ck_assert_ptr_null(strstr(caps, "DES\n"));
}
END_TEST

/* ---- lists of certificates ---- */

static X509_STACK *stack_of(X509 *a, X509 *b, X509 *c)
{
    X509_STACK *certs = scep_borrowed_stack(p);

    FIXTURE_MUST((!a || sk_X509_push(certs, a)) && (!b || sk_X509_push(certs, b)) &&
                 (!c || sk_X509_push(certs, c)));
    return certs;
}

static void assert_same(const X509_STACK *found, const X509_STACK *wanted)
{
    ck_assert_ptr_nonnull(found);
    ck_assert_int_eq(sk_X509_num(found), sk_X509_num(wanted));
    for (int i = 0; i < sk_X509_num(wanted); i++)
        ck_assert_int_eq(X509_cmp(sk_X509_value(found, i), sk_X509_value(wanted, i)), 0);
}

/* fixture_certs() refuses content, signers and CRLs. */
START_TEST(R_032_R_042_a_degenerate_list_has_certificates_in_order_and_nothing_else)
{
    const fixture_ca *ca = fixture_ca_get();
    X509 *certs[] = { ca->ra.sign.cert, ca->ra.decrypt.cert, ca->root };
    X509_STACK *list = stack_of(certs[_i], certs[(_i + 1) % 3], certs[(_i + 2) % 3]);
    scep_bytes der;

    assert_ok(scep_certs_degenerate(&der, list, p));
    assert_same(fixture_certs(der, p), list);
}
END_TEST

/* ---- GetNextCACert ---- */

typedef struct next_ca {
    X509 *root;
    X509 *ra;
} next_ca;

static next_ca next_get(void)
{
    next_ca next;

    next.root =
        fixture_cert("CN=Next CA,O=Fixture", fixture_key(0), NULL, NULL, true, KU_KEY_CERT_SIGN, p);
    next.ra = fixture_cert("CN=Next RA", fixture_key(1), next.root, fixture_key(0), false,
                           KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, p);
    return next;
}

/* As a client: verify with what it has of GetCACert. @return the content, a list */
static scep_bytes verified(CMS_ContentInfo **cms, scep_bytes der, X509 *signer)
{
    const unsigned char *at = der.data;
    X509_STORE *store = X509_STORE_new();
    BIO *plain = scep_BIO(p, BIO_new(BIO_s_mem()));
    unsigned char *data;
    long len;

    *cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)der.len));
    ck_assert(*cms && at == der.data + der.len);
    FIXTURE_MUST(store && plain && X509_STORE_add_cert(store, fixture_ca_get()->root) &&
                 X509_STORE_set_purpose(store, X509_PURPOSE_ANY));
    ck_assert_int_eq(CMS_verify(*cms, stack_of(signer, NULL, NULL), store, NULL, plain,
                                CMS_NOINTERN | CMS_BINARY),
                     1);
    X509_STORE_free(store);
    len = BIO_get_mem_data(plain, &data);
    return scep_bytes_dup(p, (scep_bytes){ data, (size_t)len });
}

static const EVP_MD *(*const digests[])(void) = { EVP_sha256, EVP_sha512 };

START_TEST(R_040_R_041_R_042_D_11_the_next_ca_is_announced_by_the_current_ra)
{
    const fixture_ca *ca = fixture_ca_get();
    next_ca next = next_get();
    X509_STACK *list = stack_of(next.root, next.ra, NULL);
    CMS_ContentInfo *cms;
    X509_ALGOR *digest;
    X509 *signer;
    scep_bytes der, content;

    assert_ok(scep_certs_next(&der, list, &ca->ra.sign, digests[_i](), p));
    content = verified(&cms, der, ca->ra.sign.cert);
    assert_same(fixture_certs(content, p), list);
    ck_assert_int_eq(OBJ_obj2nid(CMS_get0_eContentType(cms)), NID_pkcs7_data);
    ck_assert_int_eq(sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)), 1);
    CMS_SignerInfo_get0_algs(sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0), NULL, &signer,
                             &digest, NULL);
    ck_assert_int_eq(X509_cmp(signer, ca->ra.sign.cert), 0);
    ck_assert_int_eq(OBJ_obj2nid(digest->algorithm), EVP_MD_get_type(digests[_i]()));
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* jscep looks for the next CA in the outer set. A set holds nothing twice. */
START_TEST(Q_43_the_next_certificates_stand_beside_the_signers_too)
{
    const fixture_ca *ca = fixture_ca_get();
    next_ca next = next_get();
    X509_STACK *list = stack_of(next.root, next.ra, next.root), *outer;
    X509 *wanted[] = { next.root, next.ra, ca->ra.sign.cert };
    CMS_ContentInfo *cms;
    scep_bytes der;
    int found = 0;

    FIXTURE_MUST(sk_X509_push(list, ca->ra.sign.cert));
    assert_ok(scep_certs_next(&der, list, &ca->ra.sign, EVP_sha256(), p));
    assert_same(fixture_certs(verified(&cms, der, ca->ra.sign.cert), p), list);
    outer = scep_X509_STACK(p, CMS_get1_certs(cms));
    ck_assert_int_eq(sk_X509_num(outer), 3);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            found += !X509_cmp(sk_X509_value(outer, i), wanted[k]);
    ck_assert_int_eq(found, 3);
}
END_TEST

/* An announcement that nobody signed, or that says nothing, is never made. */
START_TEST(R_045_D_11_no_next_ca_is_announced_without_a_signature)
{
    const fixture_ca *ca = fixture_ca_get();
    const scep_signer signers[] = { { .cert = ca->ra.sign.cert, .key = fixture_key(0) },
                                    { .cert = ca->ra.sign.cert },
                                    { .key = ca->ra.sign.key } };
    X509_STACK *list = stack_of(next_get().root, NULL, NULL);
    scep_bytes der = { 0 };

    for (int i = 0; i < ROWS(signers); i++)
        assert_code(SCEP_INTERNAL, scep_certs_next(&der, list, &signers[i], EVP_sha256(), p));
    assert_code(SCEP_INTERNAL,
                scep_certs_next(&der, stack_of(NULL, NULL, NULL), &ca->ra.sign, EVP_sha256(), p));
    ck_assert_ptr_null(der.data);
}
END_TEST

START_TEST(of_two_times_the_earlier_one_that_is_known_counts)
{
    static const struct {
        uint64_t a, b, earlier;
    } rows[] = { { 0, 0, 0 }, { 0, 7, 7 }, { 7, 0, 7 }, { 7, 8, 7 }, { 8, 7, 7 }, { 7, 7, 7 } };
    uint64_t ends = 0;
    X509 *cert = fixture_ca_get()->root;
    apr_int64_t end;

    for (size_t i = 0; i < ROWS(rows); i++)
        ck_assert_uint_eq(scep_earlier(rows[i].a, rows[i].b), rows[i].earlier);
    assert_ok(scep_time_seconds(&end, X509_get0_notAfter(cert), p));
    assert_ok(scep_cert_ends(&ends, cert, p));
    ck_assert_uint_eq(ends, (uint64_t)end);
    ends = 5;
    assert_ok(scep_cert_ends(&ends, cert, p));
    ck_assert_uint_eq(ends, 5);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, of_two_times_the_earlier_one_that_is_known_counts);
    int all = ROWS(least) * SWITCHES;

    tcase_add_loop_test(
        cases, R_020_R_021_R_026_R_027_Q_03_Q_04_caps_are_keywords_of_the_rfc_a_line_each, 0, all);
    tcase_add_loop_test(cases, R_023_R_024_R_028_Q_02_caps_list_what_works_and_only_that, 0, all);
    tcase_add_loop_test(cases, R_025_R_163_caps_never_offer_md5_or_des_even_where_they_are_accepted,
                        0, all);
    tcase_add_loop_test(
        cases, R_032_R_042_a_degenerate_list_has_certificates_in_order_and_nothing_else, 0, 3);
    tcase_add_loop_test(cases, R_040_R_041_R_042_D_11_the_next_ca_is_announced_by_the_current_ra, 0,
                        ROWS(digests));
    tcase_add_test(cases, Q_43_the_next_certificates_stand_beside_the_signers_too);
    tcase_add_test(cases, R_045_D_11_no_next_ca_is_announced_without_a_signature);
}

int main(void)
{
    return run_suite("certs", add_tests);
}
