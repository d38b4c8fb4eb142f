/* Keys in PKCS#11 tokens: softhsm2's, and what goes wrong with others. RFC 7512. */
#include "issue.h"
#include "odd.h"
#include "token_suite.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- URIs ---- */

static EVP_PKEY *load(const char *what)
{
    EVP_PKEY *key = NULL;

    assert_ok(scep_key_load(&key, uri(what, token_softhsm, "pin"), p));
    ck_assert_uint_eq(ERR_peek_error(), 0);
    return key;
}

static void expect_words(const scep_err *err, const char *const *words)
{
    assert_code(SCEP_CONFIG, err);
    for (; *words; words++)
        ck_assert_msg(strstr(err->detail, *words) != NULL, "%s: \"%s\" is not in: %s", row, *words,
                      err->detail);
    ck_assert_msg(!strstr(err->detail, TOKEN_PIN), "%s: the PIN is in: %s", row, err->detail);
    ck_assert_msg(!strstr(err->detail, "0000-0000"), "%s: a PIN is in: %s", row, err->detail);
}

static const struct {
    const char *uri, *word;
} refused[] = {
    { "pkcs11:token=a;object=b?pin-value=" TOKEN_PIN "&module-path=/m.so",
      "pin-source=file:/PATH" },
    { "pkcs11:token=a;object=b;pin-value=" TOKEN_PIN "?module-path=/m.so",
      "pin-source=file:/PATH" },
    { "pkcs11:token=a;object=b", "module-path=" },
    { "pkcs11:token=a;object=b?module-path=m.so", "absolute path" },
    { "pkcs11:token=a;object=b?module-path=/m%24x.so", "printable" },
    { "pkcs11:token=a;object=b?module-path=/m%0Ax.so", "printable" },
    { "pkcs11:token=a;object=b?module-name=m", "attribute" },
    { "pkcs11:token=a;object=b?module-path=/m.so&pin-source=pin", "file:/PATH" },
    { "pkcs11:token=a;object=b?module-path=/m.so&pin-source=file:pin", "file:/PATH" },
    { "pkcs11:token=a;object=b?module-path=/m.so&pin-source=|echo%20" TOKEN_PIN, "file:/PATH" },
    { "pkcs11:token=a;object=b;slod-id=1?module-path=/m.so", "attribute" },
    { "pkcs11:token=a;object=b?module-path=/m.so&pinsource=file:/x", "attribute" },
    { "pkcs11:object=b?module-path=/m.so", "which token" },
    { "pkcs11:token=a?module-path=/m.so", "which key" },
    { "pkcs11:token=a;object=b;type=cert?module-path=/m.so", "private" },
    { "pkcs11:token=a;object=%zz?module-path=/m.so", "RFC 7512" },
};

START_TEST(a_uri_that_is_not_whole_or_holds_a_pin_is_refused_and_not_repeated)
{
    const char *words[] = { refused[_i].word, NULL };
    EVP_PKEY *key;

    row = refused[_i].uri;
    expect_words(scep_key_uri_check(refused[_i].uri, p), words);
    expect_words(scep_key_load(&key, refused[_i].uri, p), words);
}
END_TEST

static const char *const accepted[] = {
    "pkcs11:token=a;object=b?module-path=/m.so",
    "pkcs11:token=a%20b;object=c%3Bd;type=private?module-path=/x/m.so&pin-source=file:/x/pin",
    "pkcs11:slot-id=7;id=%01%02?module-path=/m.so",
    "pkcs11:serial=123;manufacturer=m;model=n;id=%01?pin-source=file:/pin&module-path=/m.so",
};

START_TEST(a_uri_that_names_token_key_and_module_is_accepted)
{
    row = accepted[_i];
    assert_ok(scep_key_uri_check(accepted[_i], p));
}
END_TEST

/* ---- what is not found ---- */

static const struct {
    const char *name, *what, *module, *pin;
    const char *words[4];
} missing[] = {
    { "a wrong PIN",
      "token=CA;object=rsa",
      token_softhsm,
      "wrong",
      { "\"CA\" (slot ", "wrong", "PIN" } },
    { "no PIN", "token=CA;object=rsa", token_softhsm, NULL, { "\"CA\" (slot ", "pin-source=" } },
    { "a PIN file that is missing",
      "token=CA;object=rsa",
      token_softhsm,
      "none",
      { "\"CA\" (slot ", "PIN file", "none" } },
    { "a PIN file that others read",
      "token=CA;object=rsa",
      token_softhsm,
      "open",
      { "\"CA\" (slot ", "open to group" } },
    { "an empty PIN file",
      "token=CA;object=rsa",
      token_softhsm,
      "empty",
      { "PIN file", "one line" } },
    { "two lines", "token=CA;object=rsa", token_softhsm, "two", { "PIN file", "one line" } },
    { "another key",
      "token=CA;object=rsb",
      token_softhsm,
      "pin",
      { "\"CA\" (slot ", "no private key \"rsb\"", "\"rsa\"" } },
    { "another id", "token=CA;id=%99", token_softhsm, "pin", { "\"CA\" (slot ", "id 99" } },
    { "two keys",
      "token=CA;object=same",
      token_softhsm,
      "pin",
      { "\"CA\" (slot ", "more than one private key \"same\"", "id=" } },
    { "another token", "token=CB;object=rsa", token_softhsm, "pin", { "\"CB\"", "\"CA\" (slot " } },
    { "two tokens",
      "token=twin;object=rsa",
      token_softhsm,
      "pin",
      { "\"twin\" (slot ", "serial=" } },
    { "another slot",
      "token=CA;slot-id=1;object=rsa",
      token_softhsm,
      "pin",
      { "no token \"CA\"" } },
    { "no module", "token=CA;object=rsa", "/nowhere/m.so", "pin", { "/nowhere/m.so" } },
    { "not a module", "token=CA;object=rsa", "/bin/true", "pin", { "/bin/true" } },
};

START_TEST(what_is_missing_or_wrong_is_said_with_slot_and_label_and_without_pin)
{
    EVP_PKEY *key = NULL;

    row = missing[_i].name;
    expect_words(scep_key_load(&key, uri(missing[_i].what, missing[_i].module, missing[_i].pin), p),
                 missing[_i].words);
    ck_assert_ptr_null(key);
}
END_TEST

static int logins(void)
{
    struct stat st;

    return stat(getenv("HSM_LOGINS"), &st) == 0 ? (int)st.st_size : 0;
}

/* A token counts wrong PINs, and httpd starts scep-ca again and again. */
START_TEST(a_wrong_pin_is_tried_once_and_the_last_try_is_left_alone)
{
    static const char *const says[] = { "final", "locked" };
    EVP_PKEY *key;

    FIXTURE_MUST(setenv("HSM_LOGINS", apr_pstrcat(p, token_folder, "/logins", NULL), 1) == 0);
    for (int i = 0; i < ROWS(says); i++) {
        const char *words[] = { "\"CA\" (slot ", i ? "locked" : "log in by hand", NULL };

        FIXTURE_MUST(setenv("HSM_TOKEN", says[i], 1) == 0);
        expect_words(scep_key_load(&key, uri("token=CA;object=rsa", token_faulty, "pin"), p),
                     words);
        ck_assert_int_eq(logins(), 0);
    }
    FIXTURE_MUST(unsetenv("HSM_TOKEN") == 0);
    assert_code(SCEP_CONFIG,
                scep_key_load(&key, uri("token=CA;object=rsa", token_faulty, "wrong"), p));
    ck_assert_int_eq(logins(), 1);
    assert_ok(scep_key_load(&key, uri("token=CA;object=rsa", token_faulty, "pin"), p));
}
END_TEST

/* As softhsm2's does while another process writes to the token. */
START_TEST(a_login_that_fails_for_no_reason_of_its_own_is_made_again)
{
    EVP_PKEY *key;

    token_write_text("fails", "once", 0600);
    FIXTURE_MUST(setenv("HSM_FAILS", apr_pstrcat(p, token_folder, "/fails", NULL), 1) == 0);
    assert_ok(scep_key_load(&key, uri("token=CA;object=rsa", token_faulty, "pin"), p));
    ck_assert_int_ne(access(getenv("HSM_FAILS"), F_OK), 0);
}
END_TEST

/* ---- keys that work ---- */

static const char *const keys[] = { "token=CA;object=rsa", "token=CA;object=p256",
                                    "token=CA;id=%03;type=private" };

typedef struct caller {
    pthread_t thread;
    const issue_ca *ca;
    const conf_template *template;
    const scep_csr *csr;
    int good;
} caller;

static void *issue_many(void *data)
{
    caller *c = data;

    for (int i = 0; i < 25; i++) {
        const issued_cert *made;
        apr_pool_t *own;
        X509 *cert;

        if (apr_pool_create_unmanaged(&own) != APR_SUCCESS)
            return NULL;
        if (!issue_certificate(&made, c->ca, c->template, c->csr, own) &&
            !scep_cert_read(&cert, made->der, own) &&
            X509_verify(cert, X509_get0_pubkey(c->ca->cert)) == 1)
            c->good++;
        apr_pool_destroy(own);
    }
    return NULL;
}

START_TEST(a_ca_key_in_a_token_issues_from_eight_threads_while_keys_are_loaded_and_signs_crls)
{
    const conf_template template = { .name = "T", .days = 10, .key_usage = KU_DIGITAL_SIGNATURE };
    EVP_PKEY *key = load(keys[_i]);
    X509 *cert = fixture_cert("CN=token CA", key, NULL, key, true, KU_KEY_CERT_SIGN, p);
    X509_CRL *crl = scep_X509_CRL(p, X509_CRL_new());
    caller callers[8];
    const issue_ca *ca;
    scep_csr *csr;

    row = keys[_i];
    ck_assert_int_eq(X509_check_private_key(cert, key), 1);
    assert_ok(scep_csr_read(&csr, fixture_csr(&(fixture_request){ 0 }, p), p));
    assert_ok(issue_ca_make(&ca, cert, key, NULL, p));
    for (int i = 0; i < ROWS(callers); i++) {
        callers[i] = (caller){ .ca = ca, .template = &template, .csr = csr };
        FIXTURE_MUST(pthread_create(&callers[i].thread, NULL, issue_many, &callers[i]) == 0);
    }
    /* as a worker does when there is a new RA, while others use the one before */
    for (int i = 0; i < 60; i++)
        (void)load(keys[i % ROWS(keys)]);
    for (int i = 0; i < ROWS(callers); i++) {
        FIXTURE_MUST(pthread_join(callers[i].thread, NULL) == 0);
        ck_assert_int_eq(callers[i].good, 25);
    }
    FIXTURE_MUST(crl && X509_CRL_set_issuer_name(crl, X509_get_subject_name(cert)) == 1 &&
                 X509_CRL_set1_lastUpdate(crl, X509_get0_notBefore(cert)) == 1);
    ck_assert(X509_CRL_sign(crl, key, issue_digest(key)) > 0);
    ck_assert_int_eq(X509_CRL_verify(crl, X509_get0_pubkey(cert)), 1);
}
END_TEST

START_TEST(a_key_is_handed_on_by_its_uri_and_says_where_it_is)
{
    const char *where = uri("token=CA;object=p256", token_softhsm, "pin"), *token;
    EVP_PKEY *key = load("token=CA;object=p256"), *again = NULL, *file = fixture_key(0);
    scep_bytes handed, der;

    assert_ok(scep_key_der(&handed, key, p));
    assert_bytes(handed, scep_bytes_of(where));
    assert_ok(scep_key_read(&again, handed, p));
    ck_assert_int_eq(EVP_PKEY_eq(key, again), 1);
    ck_assert_msg(strncmp(scep_key_where(key), "key \"p256\" in token \"CA\" (slot ", 30) == 0,
                  "%s", scep_key_where(key));
    assert_ok(scep_key_away(key, p));

    token = scep_key_token(where, p);
    ck_assert_ptr_nonnull(token);
    ck_assert_str_eq(token, scep_key_token(uri("token=CA;id=%01", token_softhsm, NULL), p));
    ck_assert_ptr_null(scep_key_token(uri("token=RA;id=%01", token_softhsm, NULL), p));
    ck_assert_ptr_null(scep_key_token("/etc/ca.key", p));
    ck_assert_ptr_null(scep_key_token(NULL, p));

    ck_assert_ptr_null(scep_key_where(file));
    assert_ok(scep_key_away(file, p));
    assert_ok(scep_key_der(&der, file, p));
    ck_assert_uint_eq(der.data[0], 0x30);
}
END_TEST

START_TEST(the_engine_has_one_module_in_a_process_and_that_is_said)
{
    const char *other = apr_pstrcat(p, token_folder, "/other.so", NULL);
    const char *words[] = { "\"CA\" (slot ", token_softhsm, "p11-kit-proxy.so", NULL };
    EVP_PKEY *key = load(keys[0]);

    token_tool("cp %s %s", token_softhsm, other);
    expect_words(scep_key_load(&key, uri(keys[1], other, "pin"), p), words);
    (void)load(keys[1]);
}
END_TEST

START_TEST(tokens_are_the_same_by_whatever_module_they_are_reached)
{
    const char *other = apr_pstrcat(p, token_folder, "/link.so", NULL);
    const char *by_link = uri(keys[1], other, "pin");
    const char *key = uri(keys[0], token_softhsm, "pin");
    const char *ra = uri("token=RA;object=sign", token_softhsm, "pin");
    EVP_PKEY *loaded;

    (void)load(keys[0]);
    (void)load("token=RA;object=sign");
    ck_assert(!scep_key_same_token(key, by_link, p)); /* nothing was loaded by it */
    FIXTURE_MUST(symlink(token_softhsm, other) == 0);
    /* the engine takes no key of a second module, but the token was found */
    if (scep_key_load(&loaded, by_link, p))
        ERR_clear_error();
    ck_assert_str_ne(scep_key_token(key, p), scep_key_token(by_link, p));
    ck_assert(scep_key_same_token(key, by_link, p) && scep_key_same_token(by_link, key, p));
    ck_assert(scep_key_same_token(key, uri(keys[1], token_softhsm, "pin"), p));
    ck_assert(!scep_key_same_token(ra, by_link, p) && !scep_key_same_token(ra, key, p));
    ck_assert(!scep_key_same_token("/etc/ca.key", key, p) && !scep_key_same_token(key, NULL, p));
    FIXTURE_MUST(unlink(other) == 0);
}
END_TEST

/* What is loaded before a fork is of no use after it; what is loaded after it works in each. */
START_TEST(each_process_of_a_fork_loads_keys_for_itself)
{
    pid_t children[3];
    int status;

    for (int i = 0; i < ROWS(children); i++) {
        children[i] = fork();
        FIXTURE_MUST(children[i] >= 0);
        if (!children[i]) {
            const scep_err *err;
            EVP_PKEY *key;

            err = scep_key_load(&key, uri(keys[i], token_softhsm, "pin"), p);
            if (err)
                printf("# %s\n", err->detail);
            (void)fflush(stdout);
            _exit(err ? 1 : 0);
        }
    }
    for (int i = 0; i < ROWS(children); i++) {
        FIXTURE_MUST(waitpid(children[i], &status, 0) == children[i]);
        ck_assert_int_eq(status, 0);
    }
}
END_TEST

/* ---- an RA with its keys in a token ---- */

static const struct {
    const char *name;
    fixture_request r;
    const EVP_MD *(*digest)(void);
} exchanges[] = {
    { .name = "SHA-256" },
    { .name = "SHA-1", .digest = EVP_sha1 },
    { .name = "SHA-384", .digest = EVP_sha384 },
    { .name = "SHA-512", .digest = EVP_sha512 },
    { .name = "OAEP", .r = { .oaep = true } },
    { .name = "OAEP with SHA-256", .r = { .oaep = true }, .digest = EVP_sha256 },
};

START_TEST(Q_50_Q_52_R_063_R_090_an_ra_in_a_token_opens_requests_and_signs_replies)
{
    scep_ra ra = ra_load(token_softhsm);
    fixture_request r = exchanges[_i].r;
    fixture_reply *reply;
    fixture_sent *sent;
    const char *why = NULL;
    scep_bytes plain, der;
    scep_message *m;

    row = exchanges[_i].name;
    r.digest = exchanges[_i].digest ? exchanges[_i].digest() : NULL;
    r.oaep_digest = r.oaep ? r.digest : NULL;
    sent = fixture_build(&r, p);
    assert_ok(scep_message_open(&m, sent->der, &default_accept, p));
    assert_ok(scep_ra_decrypt(&plain, &ra, m, p));
    assert_bytes(plain, sent->csr);
    assert_ok(scep_certrep_pending(&der, m, &ra.sign, p));
    reply = fixture_open(der, sent->signer, sent->signer_key, &why, p);
    ck_assert_msg(reply && reply->verified, "%s: %s", row, why ? why : "not verified");
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

/* The token judges the RSA block: what it says of it goes no further. */
START_TEST(S_10_S_15_S_16_a_token_that_refuses_an_rsa_block_gives_no_other_answer)
{
    const fixture_request padding = { .spoil_padding = true };
    const fixture_request blocks[] = { { .spoil_encrypted_key = true },
                                       { .spoil_encrypted_key = true, .oaep = true },
                                       { .recipient = odd_other_certificate(p) } };
    scep_ra ra = ra_load(token_softhsm);
    const scep_err *wanted = enrol(&ra, &padding);

    assert_code(SCEP_UNREADABLE, wanted);
    for (int i = 0; i < 2 * 12; i++) {
        const scep_err *err = enrol(&ra, &blocks[i % 2]);

        assert_code(SCEP_UNREADABLE, err);
        /* 1 in 256 random keys gives padding that looks right; then the CSR is what is wrong */
        ck_assert_msg(!strcmp(err->detail, wanted->detail) || !strncmp(err->detail, "CSR: ", 5),
                      "%s", err->detail);
        ck_assert_uint_eq(ERR_peek_error(), 0);
    }
    assert_code(SCEP_UNREADABLE, enrol(&ra, &blocks[2]));
}
END_TEST

/* ---- a token that goes away ---- */

START_TEST(a_token_that_goes_away_is_named_and_is_no_answer_to_a_device)
{
    const conf_template template = { .name = "T", .days = 10, .key_usage = KU_DIGITAL_SIGNATURE };
    scep_ra ra = ra_load(token_faulty);
    const fixture_request good = { 0 }, bad = { .spoil_encrypted_key = true };
    const issued_cert *made;
    const issue_ca *ca;
    const scep_err *err;
    EVP_PKEY *key = NULL;
    scep_csr *csr;
    X509 *cert;

    assert_ok(scep_csr_read(&csr, fixture_csr(&good, p), p));
    assert_ok(scep_key_load(&key, uri("token=CA;object=p256", token_faulty, "pin"), p));
    cert = fixture_cert("CN=token CA", key, NULL, key, true, KU_KEY_CERT_SIGN, p);
    assert_ok(issue_ca_make(&ca, cert, key, NULL, p));
    assert_ok(issue_certificate(&made, ca, &template, csr, p));

    FIXTURE_MUST(setenv("HSM_AWAY", apr_pstrcat(p, token_folder, "/away", NULL), 1) == 0);
    assert_ok(enrol(&ra, &good));
    token_write_text("away", "", 0600);
    ck_assert_ptr_nonnull(issue_certificate(&made, ca, &template, csr, p));
    err = scep_key_away(key, p);
    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert_msg(strstr(err->detail, "key \"p256\" in token \"CA\" (slot ") != NULL, "%s",
                  err->detail);
    err = enrol(&ra, &good);
    assert_code(SCEP_UNAVAILABLE, err);
    ck_assert_msg(strstr(err->detail, "key \"decrypt\" in token \"RA\"") != NULL, "%s",
                  err->detail);
    ck_assert_str_eq(enrol(&ra, &bad)->detail, err->detail);

    FIXTURE_MUST(unlink(getenv("HSM_AWAY")) == 0);
    assert_ok(enrol(&ra, &good));
    assert_ok(issue_certificate(&made, ca, &template, csr, p));
}
END_TEST

/* ---- a provider ---- */

START_TEST(where_openssl_has_a_provider_for_tokens_it_is_used_and_not_the_engine)
{
    EVP_PKEY *own = fixture_key(1), *key = NULL;
    const char *seen;
    scep_bytes der;

    assert_ok(scep_key_der(&der, own, p));
    token_write("provided.der", der.data, der.len, 0600);
    FIXTURE_MUST(setenv("OPENSSL_MODULES", token_modules, 1) == 0 &&
                 setenv("HSM_PIN", TOKEN_PIN, 1) == 0 &&
                 setenv("HSM_KEY", apr_pstrcat(p, token_folder, "/provided.der", NULL), 1) == 0);
    assert_ok(scep_key_load(&key, uri("token=CA;object=rsa", token_softhsm, "pin"), p));
    ck_assert_int_eq(EVP_PKEY_eq(key, own), 1);
    ck_assert_msg(strstr(scep_key_where(key), "key \"rsa\" in token \"CA\"") != NULL, "%s",
                  scep_key_where(key));
    seen = getenv("HSM_SEEN");
    ck_assert_ptr_nonnull(seen);
    ck_assert_msg(!strncmp(seen, token_softhsm, strlen(token_softhsm)) &&
                      strstr(seen, ";token=CA") && strstr(seen, "object=rsa") &&
                      !strstr(seen, "pin"),
                  "%s", seen);
    FIXTURE_MUST(setenv("HSM_PIN", "another", 1) == 0);
    assert_code(SCEP_CONFIG,
                scep_key_load(&key, uri("token=CA;object=rsa", token_softhsm, "pin"), p));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, a_uri_that_is_not_whole_or_holds_a_pin_is_refused_and_not_repeated,
                        0, ROWS(refused));
    tcase_add_loop_test(cases, a_uri_that_names_token_key_and_module_is_accepted, 0,
                        ROWS(accepted));
    tcase_add_loop_test(cases, what_is_missing_or_wrong_is_said_with_slot_and_label_and_without_pin,
                        0, ROWS(missing));
    tcase_add_test(cases, a_wrong_pin_is_tried_once_and_the_last_try_is_left_alone);
    tcase_add_test(cases, a_login_that_fails_for_no_reason_of_its_own_is_made_again);
    tcase_add_loop_test(
        cases, a_ca_key_in_a_token_issues_from_eight_threads_while_keys_are_loaded_and_signs_crls,
        0, ROWS(keys));
    tcase_add_test(cases, a_key_is_handed_on_by_its_uri_and_says_where_it_is);
    tcase_add_test(cases, the_engine_has_one_module_in_a_process_and_that_is_said);
    tcase_add_test(cases, tokens_are_the_same_by_whatever_module_they_are_reached);
    tcase_add_test(cases, each_process_of_a_fork_loads_keys_for_itself);
    tcase_add_loop_test(cases,
                        Q_50_Q_52_R_063_R_090_an_ra_in_a_token_opens_requests_and_signs_replies, 0,
                        ROWS(exchanges));
    tcase_add_test(cases, S_10_S_15_S_16_a_token_that_refuses_an_rsa_block_gives_no_other_answer);
    tcase_add_test(cases, a_token_that_goes_away_is_named_and_is_no_answer_to_a_device);
    tcase_add_test(cases, where_openssl_has_a_provider_for_tokens_it_is_used_and_not_the_engine);
}

int main(void)
{
    return run_token_suite("key_pkcs11", add_tests);
}
