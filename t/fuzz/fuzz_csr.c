/* lib/csr.h, ca/policy.h, ca/issue.h: a CSR is read, judged, and turned into a certificate. */
#include "fuzz.h"

#include "certs.h"
#include "issue.h"
#include "policy.h"

#include <openssl/err.h>
#include <string.h>

static const conf_template template = {
    .name = "fuzz",
    .days = 30,
    .key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
    .extended_key_usage = "clientAuth",
    .minimum_rsa_bits = 1024,
    .allow_sid = true,
    .crl_url = "http://ca.example/crl",
    .issuer_url = "http://ca.example/ca",
    .approval = "no",
};

static void check(const scep_csr *csr)
{
    FIXTURE_MUST(csr->subject && csr->key && csr->challenge.len <= 8192);
    FIXTURE_MUST(!csr->challenge.len || !memchr(csr->challenge.data, 0, csr->challenge.len));
    FIXTURE_MUST(!csr->extensions || (sk_X509_EXTENSION_num(csr->extensions) > 0 &&
                                      sk_X509_EXTENSION_num(csr->extensions) <= 64));
}

/* What was accepted OpenSSL reads as the same, and verifies it. */
static void compare(const scep_csr *csr, apr_pool_t *p)
{
    const unsigned char *at = csr->der.data;
    X509_REQ *req = scep_X509_REQ(p, d2i_X509_REQ(NULL, &at, (long)csr->der.len));
    X509_EXTENSIONS *extensions = scep_X509_EXTENSIONS(p, X509_REQ_get_extensions(req));
    const X509_ALGOR *algorithm;
    scep_bytes spki;

    FIXTURE_MUST(req && at == csr->der.data + csr->der.len);
    FIXTURE_MUST(EVP_PKEY_eq(X509_REQ_get0_pubkey(req), csr->key) == 1);
    FIXTURE_MUST(X509_REQ_verify(req, csr->key) == 1);
    FIXTURE_MUST(!X509_NAME_cmp(X509_REQ_get_subject_name(req), csr->subject));
    X509_REQ_get0_signature(req, NULL, &algorithm);
    FIXTURE_MUST(!X509_ALGOR_cmp(algorithm, csr->signature));
    FIXTURE_MUST(!scep_spki_of(&spki, X509_REQ_get_X509_PUBKEY(req), p) &&
                 scep_bytes_equal(spki, csr->spki));
    /* X509_REQ_get_extensions() does not know Verisign's attribute */
    FIXTURE_MUST(sk_X509_EXTENSION_num(extensions) <= 0 ||
                 sk_X509_EXTENSION_num(extensions) == sk_X509_EXTENSION_num(csr->extensions));
}

/* S-12: whatever was asked for, the certificate is the template's. */
static void issue(const scep_csr *csr, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    const issue_ca *ca;
    const issued_cert *cert;
    const unsigned char *at;
    X509 *again;

    FIXTURE_MUST(!issue_ca_make(&ca, keys->ca.cert, keys->ca.key, NULL, p));
    if (issue_certificate(&cert, ca, &template, csr, p))
        return;
    at = cert->der.data;
    again = scep_X509(p, d2i_X509(NULL, &at, (long)cert->der.len));
    FIXTURE_MUST(again && at == cert->der.data + cert->der.len);
    FIXTURE_MUST(!X509_NAME_cmp(X509_get_subject_name(again), csr->subject));
    FIXTURE_MUST(!strcmp(cert->serial, scep_cert_serial(again, p)));
    FIXTURE_MUST(X509_verify(again, keys->ca.key) == 1);
    FIXTURE_MUST(X509_check_ca(again) == 0);
    FIXTURE_MUST(EVP_PKEY_eq(X509_get0_pubkey(again), csr->key) == 1);
    /* the template's at most: an EC key cannot encipher keys */
    FIXTURE_MUST((X509_get_key_usage(again) & ~template.key_usage) == 0);
}

/* Every alternative name that is asked for stands in the old certificate. */
static bool has_no_new_name(const scep_csr *csr, const X509 *old)
{
    GENERAL_NAMES *asked = X509V3_get_d2i(csr->extensions, NID_subject_alt_name, NULL, NULL);
    GENERAL_NAMES *had = X509_get_ext_d2i(old, NID_subject_alt_name, NULL, NULL);
    bool good = true;

    for (int i = 0; i < sk_GENERAL_NAME_num(asked); i++) {
        bool found = false;

        for (int n = 0; n < sk_GENERAL_NAME_num(had); n++)
            found = found || !GENERAL_NAME_cmp(sk_GENERAL_NAME_value(asked, i),
                                               sk_GENERAL_NAME_value(had, n));
        good = good && found;
    }
    GENERAL_NAMES_free(asked);
    GENERAL_NAMES_free(had);
    return good;
}

/* The same CSR as an enrolment with a good challenge, and as a renewal (S-09). */
static void judge(const scep_csr *csr, apr_pool_t *p)
{
    const fuzz_keys *keys = fuzz_keys_get();
    policy_facts facts = { .message_type = SCEP_PKCS_REQ,
                           .csr = csr,
                           .template = &template,
                           .challenge_good = true,
                           .minimum_hash_bits = 160,
                           .approval = "off" };
    policy_verdict verdict;

    facts.enforce_password = csr->challenge.len > 0;
    verdict = policy_judge(&facts, p);
    if (verdict.outcome == POLICY_GRANT)
        issue(csr, p);
    else
        FIXTURE_MUST(verdict.outcome == POLICY_DENY && verdict.reason &&
                     scep_code_describe(verdict.code)->fail_info >= 0);
    facts.message_type = SCEP_RENEWAL_REQ;
    facts.old = keys->device.cert;
    facts.renewal = true;
    verdict = policy_judge(&facts, p);
    if (verdict.outcome != POLICY_DENY)
        FIXTURE_MUST(!X509_NAME_cmp(csr->subject, X509_get_subject_name(facts.old)) &&
                     has_no_new_name(csr, facts.old));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    scep_csr *csr;

    if (!scep_csr_read(&csr, fuzz_csr(data, size, p), p)) {
        check(csr);
        compare(csr, p);
        judge(csr, p);
    }
    ERR_clear_error();
    fuzz_end(p);
    return 0;
}
