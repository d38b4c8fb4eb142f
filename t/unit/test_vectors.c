/* Recorded requests of real clients (t/vectors): each read as it was meant, and never as anything
 * else once a byte of it has changed. */
#include "suite.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };
static const scep_accept legacy_accept = { .minimum_hash_bits = 160, .legacy = true };

static scep_ra vector_ra;

/* ---- files ---- */

static const char *source_path(const char *name, apr_pool_t *pool)
{
    const char *srcdir = getenv("srcdir");

    return apr_pstrcat(pool, srcdir ? srcdir : ".", "/", name, NULL);
}

static const char *vector_path(const char *name, apr_pool_t *pool)
{
    return source_path(apr_pstrcat(pool, "t/vectors/", name, NULL), pool);
}

static scep_bytes read_path(const char *path)
{
    unsigned char *data = apr_palloc(p, 65536);
    FILE *f = fopen(path, "rb");
    size_t len;

    FIXTURE_MUST(f);
    len = fread(data, 1, 65535, f);
    FIXTURE_MUST(len > 0 && len < 65535 && fclose(f) == 0);
    data[len] = 0;
    return (scep_bytes){ data, len };
}

static scep_bytes read_file(const char *name)
{
    return read_path(vector_path(name, p));
}

static const char *source_text(const char *name)
{
    return (const char *)read_path(source_path(apr_pstrcat(p, "lib/", name, ".c", NULL), p)).data;
}

/* A message as it reached the server: the body of a POST, or the request line of a GET. */
static scep_bytes read_message(const char *name)
{
    scep_bytes file = read_file(name), message;
    char *line = (char *)file.data, *query, *end, *text;

    if (!strstr(name, ".reqline"))
        return file;
    query = strchr(line, '?');
    end = strstr(line, " HTTP/1.");
    FIXTURE_MUST(query && end);
    *end = '\0';
    ck_assert_pstr_eq(scep_query_get(query + 1, "operation", p), "PKIOperation");
    text = scep_query_get(query + 1, "message", p);
    ck_assert_ptr_nonnull(text);
    assert_ok(scep_query_message(&message, text, p));
    return message;
}

static void load_ra(apr_pool_t *pool)
{
    BIO *cert = BIO_new_file(vector_path("ra.pem", pool), "r");
    BIO *key = BIO_new_file(vector_path("ra.key", pool), "r");

    FIXTURE_MUST(cert && key);
    vector_ra.decrypt.cert = scep_X509(pool, PEM_read_bio_X509(cert, NULL, NULL, NULL));
    vector_ra.decrypt.key = scep_EVP_PKEY(pool, PEM_read_bio_PrivateKey(key, NULL, NULL, NULL));
    FIXTURE_MUST(vector_ra.decrypt.cert && vector_ra.decrypt.key);
    vector_ra.sign = vector_ra.decrypt;
    /* not owned by the pool: a forked test's leak checker does not look into pools */
    BIO_free_all(cert);
    BIO_free_all(key);
}

/* ---- what each is ---- */

typedef struct recorded {
    const char *file;
    const char *transaction_id, *subject, *challenge;
    int digest_nid, cipher_nid;
} recorded;

static const recorded good[] = {
    { "strongswan-5.9.8_PKCSReq_post.der", "A9B15D13972839071BC2303D9213FB3F303BE668", "CN=dev1",
      "secret", NID_sha256, NID_aes_128_cbc },
    { "sscep-0.10_PKCSReq_post.der", "A4ACCBF01DBA5206BD1A9D58177F5F89", "CN=dev1", NULL,
      NID_sha512, NID_aes_128_cbc },
    { "jscep-HEAD_PKCSReq_post_ber.der", "66dc324db1d57338da021e13ebfa3c8aa86468ed", "CN=jscep1",
      "secret", NID_sha256, NID_aes_128_cbc },
    { "sscep-0.10_get_wrapped64.reqline", "A4ACCBF01DBA5206BD1A9D58177F5F89", "CN=dev1", NULL,
      NID_sha384, NID_des_ede3_cbc },
    { "jscep_get_literal_plus.reqline", "8602d63320c1ad8712ed1f056ff2cfca01574e13", "CN=jscep1",
      "secret", NID_sha256, NID_aes_128_cbc },
};

/* F-08, F-10, F-12: refused unless old algorithms are switched on. */
static const recorded old[] = {
    { "micromdm-scepclient-2.1.0_PKCSReq_post_des_sha1.der", "9m0LaGFFpVcwg6Q4IqFzK4olp9w=",
      "CN=scepclient,OU=MDM,O=scep-client,C=US", "secret", NID_sha1, NID_des_cbc },
    { "micromdm-scepclient-2.1.0_get_base64url.reqline", "EDeT42IfKVC44Oc8RKXDhk8W+No=",
      "CN=scepclient,OU=MDM,O=scep-client,C=US", "secret", NID_sha1, NID_des_cbc },
    { "jscep_get_emptycaps_md5_des.reqline", "4ef45f3d6fb146a888036e6e40794dcc8f5c1781",
      "CN=jscep1", "secret", NID_md5, NID_des_cbc },
};

static void is_read(const recorded *r, const scep_accept *accept)
{
    scep_bytes der;
    scep_message *m;
    scep_bytes plain;
    scep_csr *csr;

    row = r->file;
    der = read_message(r->file);
    assert_ok(scep_message_open(&m, der, accept, p));
    ck_assert_int_eq(m->message_type, SCEP_PKCS_REQ);
    assert_bytes(m->transaction_id, scep_bytes_of(r->transaction_id));
    ck_assert_uint_eq(m->sender_nonce.len, 16);
    ck_assert(scep_message_is_self_signed(m));
    ck_assert_int_eq(EVP_MD_get_type(m->digest), r->digest_nid);
    ck_assert_int_eq(EVP_CIPHER_get_nid(m->cipher), r->cipher_nid);
    assert_ok(scep_ra_decrypt(&plain, &vector_ra, m, p));
    assert_ok(scep_csr_read(&csr, plain, p));
    ck_assert_str_eq(scep_name_line(csr->subject, p), r->subject);
    assert_bytes(csr->challenge, scep_bytes_of(r->challenge));
    ck_assert_int_eq(EVP_PKEY_eq(csr->key, m->signer_key), 1);
}

/* F-06, F-07, F-09, F-10 */
START_TEST(Q_34_Q_45_Q_48_Q_49_Q_50_Q_63_a_recorded_request_is_read)
{
    is_read(&good[_i], &default_accept);
}
END_TEST

/* The process's own OpenSSL knows no single DES then. */
START_TEST(Q_47_D_16_a_recorded_request_with_old_algorithms_is_read_once_they_are_on)
{
    FIXTURE_MUST(EVP_set_default_properties(NULL, "provider=default"));
    is_read(&old[_i], &legacy_accept);
}
END_TEST

static const struct {
    const char *file;
    scep_code code;
    bool answerable;
    const char *names; /* what the operator's line names */
} bad[] = {
    { "micromdm-scepclient-2.1.0_PKCSReq_post_des_sha1.der", SCEP_BAD_ALG, true, "des" },
    { "micromdm-scepclient-2.1.0_get_base64url.reqline", SCEP_BAD_ALG, true, "des" },
    { "jscep_get_emptycaps_md5_des.reqline", SCEP_BAD_ALG, true, "md5" },
    /* a reply without transactionID: nothing to answer with */
    { "absent-content_FAILURE.der", SCEP_UNDECODABLE, false, "transactionID" },
    { "pwri_enveloped.der", SCEP_UNDECODABLE, false, "SignedData" },
};

/* F-08, F-10, F-12, F-13 */
START_TEST(R_064_R_065_Q_47_D_16_a_recorded_message_that_is_not_acceptable_is_refused)
{
    scep_bytes der;
    scep_message *m;
    const scep_err *err;

    row = bad[_i].file;
    der = read_message(bad[_i].file);
    err = scep_message_open(&m, der, &default_accept, p);
    assert_code(bad[_i].code, err);
    ck_assert_msg((m != NULL) == bad[_i].answerable, "%s: answerable", row);
    ck_assert_msg(strcasestr(err->detail, bad[_i].names) != NULL, "%s: %s", row, err->detail);
}
END_TEST

/* ---- fail closed ---- */

typedef struct reading {
    scep_message *message;
    scep_csr *csr;
} reading;

static const scep_err *read_whole(reading *out, scep_bytes der, const scep_accept *accept,
                                  apr_pool_t *pool)
{
    scep_bytes plain;

    SCEP_TRY(scep_message_open(&out->message, der, accept, pool));
    SCEP_TRY(scep_ra_decrypt(&plain, &vector_ra, out->message, pool));
    return scep_csr_read(&out->csr, plain, pool);
}

/* Some bytes mean nothing (the list of digests, the order of certificates): then what is read is
 * the very same request. A changed certificate is no longer signed by its own key. */
static void assert_same(const reading *was, const reading *is, size_t at)
{
    ck_assert_msg(scep_bytes_equal(was->csr->der, is->csr->der) &&
                      scep_bytes_equal(was->message->transaction_id, is->message->transaction_id) &&
                      scep_bytes_equal(was->message->sender_nonce, is->message->sender_nonce) &&
                      was->message->message_type == is->message->message_type &&
                      EVP_PKEY_eq(was->message->signer_key, is->message->signer_key) == 1,
                  "%s: byte %lu changed and another request was read", row, (unsigned long)at);
    ck_assert_msg(!scep_message_is_self_signed(is->message) ||
                      scep_bytes_equal(was->message->signer->der, is->message->signer->der),
                  "%s: byte %lu changed the signer's certificate and it still counts as "
                  "self-signed",
                  row, (unsigned long)at);
}

static void fails_closed(const char *file, const scep_accept *accept)
{
    scep_bytes der;
    reading was, is;
    const size_t header = 400;
    int tried = 0, refused = 0;

    row = file;
    der = read_message(file);
    assert_ok(read_whole(&was, der, accept, p));
    for (size_t at = 0; at < der.len; at += at < header ? 1 : 3) {
        apr_pool_t *one;
        const scep_err *err;

        tried++;
        FIXTURE_MUST(apr_pool_create(&one, p) == APR_SUCCESS);
        err =
            read_whole(&is, fixture_flip(der, at, (unsigned char)(1 << at % 8), one), accept, one);
        if (err)
            refused++;
        else
            assert_same(&was, &is, at);
        apr_pool_destroy(one);
    }
    /* only the signer's certificate is not covered by the signature */
    ck_assert_int_gt(refused, tried / 2);
}

START_TEST(R_058_a_recorded_request_with_a_byte_changed_fails_closed)
{
    fails_closed(good[_i].file, &default_accept);
}
END_TEST

START_TEST(R_058_an_old_request_with_a_byte_changed_fails_closed)
{
    fails_closed(old[_i].file, &legacy_accept);
}
END_TEST

START_TEST(R_069_a_recorded_request_cut_short_is_refused)
{
    scep_bytes der;
    scep_message *m;

    row = good[_i].file;
    der = read_message(good[_i].file);
    for (size_t len = 0; len < der.len; len += 13)
        assert_code(SCEP_UNDECODABLE,
                    scep_message_open(&m, (scep_bytes){ der.data, len }, &default_accept, p));
}
END_TEST

/* A stranger who wraps a captured envelope in a signature of his own is not its author. */
START_TEST(S_10_R_082_a_captured_envelope_signed_by_another_key_does_not_match_its_csr)
{
    scep_bytes der = read_message(good[0].file);
    reading was, is;
    fixture_request r = { .plain = true };

    assert_ok(read_whole(&was, der, &default_accept, p));
    r.message_data = was.message->content;
    assert_ok(read_whole(&is, fixture_build(&r, p)->der, &default_accept, p));
    assert_bytes(was.csr->der, is.csr->der);
    ck_assert_int_ne(EVP_PKEY_eq(is.csr->key, is.message->signer_key), 1);
}
END_TEST

/*
 * OpenSSL's older reader of the same messages had a fault of its own every year. Replies may be
 * built with it, as it keeps the order of certificates.
 */
START_TEST(S_33_nothing_received_meets_the_functions_of_pkcs7)
{
    const char *const forbidden[] = { "PKCS7_verify",          "PKCS7_decrypt",
                                      "PKCS7_dataDecode",      "PKCS7_dataVerify",
                                      "PKCS7_signatureVerify", "d2i_PKCS7" };
    const char *const files[] = {
        "message", "message_attributes", "message_envelope", "proof", "csr", "reference",
        "ra",      "algorithm"
    };

    for (int i = 0; i < ROWS(files); i++) {
        const char *source = source_text(files[i]);

        row = files[i];
        for (int k = 0; k < ROWS(forbidden); k++)
            ck_assert_msg(!strstr(source, forbidden[k]), "lib/%s.c: %s", row, forbidden[k]);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    static apr_pool_t *pool;

    FIXTURE_MUST(apr_pool_create(&pool, NULL) == APR_SUCCESS);
    load_ra(pool);
    tcase_add_loop_test(cases, Q_34_Q_45_Q_48_Q_49_Q_50_Q_63_a_recorded_request_is_read, 0,
                        ROWS(good));
    tcase_add_loop_test(cases,
                        Q_47_D_16_a_recorded_request_with_old_algorithms_is_read_once_they_are_on,
                        0, ROWS(old));
    tcase_add_loop_test(cases,
                        R_064_R_065_Q_47_D_16_a_recorded_message_that_is_not_acceptable_is_refused,
                        0, ROWS(bad));
    tcase_add_loop_test(cases, R_058_a_recorded_request_with_a_byte_changed_fails_closed, 0,
                        ROWS(good));
    tcase_add_loop_test(cases, R_058_an_old_request_with_a_byte_changed_fails_closed, 0, ROWS(old));
    tcase_add_loop_test(cases, R_069_a_recorded_request_cut_short_is_refused, 0, ROWS(good));
    tcase_add_test(cases,
                   S_10_R_082_a_captured_envelope_signed_by_another_key_does_not_match_its_csr);
    tcase_add_test(cases, S_33_nothing_received_meets_the_functions_of_pkcs7);
}

int main(void)
{
    return run_suite("vectors", add_tests);
}
