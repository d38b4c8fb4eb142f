/* The connector adcs: what the CA's answers become, what is sent, what is refused at the start.
 * With a real domain controller: t/84-adcs.t. */
#include "suite.h"

#include "connector_adcs_int.h"

#include "certs.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- answers ---- */

static const struct {
    const char *name;
    icpr_answer answer;
    uint32_t id; /* that was asked for; 0: a new one */
    scep_code code;
    connector_outcome outcome;
    bool asked;
    const char *says;
} answers[] = {
    { "issued",
      { .outcome = ICPR_ISSUED, .request_id = 5, .said = "Issued" },
      0,
      SCEP_OK,
      CONNECTOR_ISSUED,
      false,
      NULL },
    { "pending",
      { .outcome = ICPR_PENDING, .request_id = 5, .reason = "held", .said = "Taken Under" },
      0,
      SCEP_OK,
      CONNECTOR_PENDING,
      false,
      "held; the CA's request 5: \"Taken Under\"" },
    { "denied",
      { .outcome = ICPR_DENIED, .hresult = 0x80094811, .reason = "short key", .said = "" },
      0,
      SCEP_OK,
      CONNECTOR_DENIED,
      false,
      "short key (0x80094811)" },
    { "denied without a reason",
      { .outcome = ICPR_DENIED, .reason = "denied", .said = "" },
      0,
      SCEP_OK,
      CONNECTOR_DENIED,
      false,
      "denied" },
    { "the template is denied to the account",
      { .outcome = ICPR_DENIED, .hresult = 0x80094012, .reason = "Read and Enroll", .said = "" },
      0,
      SCEP_CONFIG,
      0,
      false,
      "Read and Enroll" },
    { "the CA does not offer the template",
      { .outcome = ICPR_DENIED, .hresult = 0x80094800, .reason = "no template", .said = "" },
      0,
      SCEP_CONFIG,
      0,
      false,
      "no template" },
    { "an enrolment agent is wanted",
      { .outcome = ICPR_DENIED, .hresult = 0x80094809, .reason = "agent", .said = "" },
      0,
      SCEP_CONFIG,
      0,
      false,
      "agent" },
    { "of one that was pending it is a decision",
      { .outcome = ICPR_DENIED, .hresult = 0x80094012, .reason = "no", .said = "" },
      5,
      SCEP_OK,
      CONNECTOR_DENIED,
      false,
      "no" },
    { "the question for it is denied to the account",
      { .outcome = ICPR_DENIED,
        .result = 0x80094011,
        .hresult = 0x80094011,
        .reason = "right",
        .said = "" },
      5,
      SCEP_CONFIG,
      0,
      false,
      "right" },
    { "the question for it fails by a code that denies",
      { .outcome = ICPR_DENIED,
        .result = 0x80094816,
        .hresult = 0x80094816,
        .reason = "no",
        .said = "" },
      5,
      SCEP_UNAVAILABLE,
      0,
      true,
      "no" },
    { "an administrator denied it",
      { .outcome = ICPR_DENIED, .hresult = 0x80094014, .reason = "an administrator", .said = "" },
      5,
      SCEP_OK,
      CONNECTOR_DENIED,
      false,
      "an administrator" },
    { "it is gone",
      { .outcome = ICPR_NONE, .reason = "none", .said = "" },
      5,
      SCEP_OK,
      CONNECTOR_LOST,
      false,
      "number 5" },
    { "the CA's name is wrong",
      { .outcome = ICPR_UNAVAILABLE, .hresult = 0x80070057, .reason = "name", .said = "" },
      0,
      SCEP_CONFIG,
      0,
      false,
      "name" },
    { "access is denied",
      { .outcome = ICPR_UNAVAILABLE, .hresult = 0x80070005, .reason = "right", .said = "" },
      0,
      SCEP_CONFIG,
      0,
      false,
      "right" },
    { "the service does not run",
      { .outcome = ICPR_UNAVAILABLE, .hresult = 0x800706ba, .reason = "off", .said = "" },
      0,
      SCEP_UNAVAILABLE,
      0,
      false,
      "off" },
    { "the CA failed in the midst",
      { .outcome = ICPR_UNAVAILABLE, .hresult = 0x8000ffff, .reason = "failed", .said = "" },
      0,
      SCEP_UNAVAILABLE,
      0,
      true,
      "failed" },
    { "it says issued and sends nothing",
      { .outcome = ICPR_UNAVAILABLE, .request_id = 5, .reason = "sent none", .said = "" },
      0,
      SCEP_UNAVAILABLE,
      0,
      true,
      "sent none; the CA's request 5" },
};

START_TEST(an_answer_is_a_decision_a_fault_or_something_to_mend)
{
    connector_answer out = { 0 };
    const scep_err *err = adcs_judge(&out, &answers[_i].answer, answers[_i].id, p);
    const char *says = err ? err->detail : out.reason;

    row = answers[_i].name;
    ck_assert_msg((err ? err->code : SCEP_OK) == answers[_i].code, "%s: %s", row,
                  err ? err->detail : "accepted");
    ck_assert_msg(out.outcome == answers[_i].outcome, "%s: %d", row, out.outcome);
    ck_assert_msg(out.asked == answers[_i].asked, "%s: asked", row);
    if (answers[_i].says)
        ck_assert_msg(says && strstr(says, answers[_i].says), "%s: %s", row, says);
    if (out.outcome == CONNECTOR_PENDING)
        ck_assert_str_eq(out.cookie, "id=5");
}
END_TEST

static scep_bytes cert_of(EVP_PKEY *key)
{
    scep_bytes der;

    FIXTURE_MUST(!scep_cert_der(&der, fixture_cert("CN=d", key, NULL, NULL, false, 0, p), p));
    return der;
}

START_TEST(only_the_key_tells_whose_a_certificate_is)
{
    icpr_answer a = { .outcome = ICPR_ISSUED, .said = "" };
    adcs_sight sight = ADCS_NONE;

    a.cert = cert_of(fixture_key(0));
    assert_ok(adcs_see(&sight, &a, fixture_key(0), p));
    ck_assert_int_eq(sight, ADCS_OURS);
    assert_ok(adcs_see(&sight, &a, fixture_key(1), p));
    ck_assert_int_eq(sight, ADCS_OTHERS);
    a.cert.len--;
    assert_ok(adcs_see(&sight, &a, fixture_key(0), p));
    ck_assert_int_eq(sight, ADCS_OTHERS);
    a.outcome = ICPR_PENDING;
    assert_ok(adcs_see(&sight, &a, fixture_key(0), p));
    ck_assert_int_eq(sight, ADCS_HELD);
    a.outcome = ICPR_DENIED;
    assert_ok(adcs_see(&sight, &a, fixture_key(0), p));
    ck_assert_int_eq(sight, ADCS_OTHERS);
    a.outcome = ICPR_NONE;
    assert_ok(adcs_see(&sight, &a, fixture_key(0), p));
    ck_assert_int_eq(sight, ADCS_NONE);
}
END_TEST

static const struct {
    const char *name;
    icpr_outcome outcome;
    uint32_t result, disposition, hresult;
    int sight; /* -1: no answer */
    bool of_ca;
} sights[] = {
    { "a failure that is kept", ICPR_UNAVAILABLE, 0, 0x800b0101, 0x800b0101, ADCS_OTHERS, false },
    { "an unknown one", ICPR_UNAVAILABLE, 0, 0x8abcdef0, 0x8abcdef0, ADCS_OTHERS, false },
    { "one of the CA's, kept", ICPR_UNAVAILABLE, 0, 0x800706ba, 0x800706ba, ADCS_OTHERS, false },
    { "a wrong name, kept", ICPR_UNAVAILABLE, 0, 0x80070057, 0x80070057, ADCS_OTHERS, false },
    { "an error", ICPR_UNAVAILABLE, 0, 1, 0, ADCS_OTHERS, false },
    { "no disposition", ICPR_UNAVAILABLE, 0, 99, 99, ADCS_OTHERS, false },
    { "incomplete", ICPR_UNAVAILABLE, 0, 0, 0, ADCS_HELD, false },
    { "issued, and not sent", ICPR_UNAVAILABLE, 0, 3, 0, ADCS_HELD, false },
    { "at work on it", ICPR_UNAVAILABLE, 0, 0x80094003, 0x80094003, ADCS_HELD, false },
    { "at work on it, by the result", ICPR_UNAVAILABLE, 0x80094003, 0, 0x80094003, ADCS_HELD,
      false },
    { "kept to itself", ICPR_UNAVAILABLE, 0, 0x80070005, 0x80070005, ADCS_OTHERS, true },
    { "access denied", ICPR_UNAVAILABLE, 0x80070005, 0, 0x80070005, ADCS_OTHERS, true },
    { "the call failed", ICPR_UNAVAILABLE, 0x8000ffff, 0, 0x8000ffff, -1, true },
    { "the call failed, as a request may", ICPR_UNAVAILABLE, 0x800b0101, 3, 0x800b0101, -1, true },
    { "suspended", ICPR_UNAVAILABLE, 0, 0x80094006, 0x80094006, -1, true },
    { "a busy database", ICPR_UNAVAILABLE, 0, 0x8009400f, 0x8009400f, -1, true },
    { "the account may not enrol", ICPR_DENIED, 0x80094011, 0, 0x80094011, -1, true },
    { "denied", ICPR_DENIED, 0, 2, 0, ADCS_OTHERS, false },
    { "denied, with a number in its words", ICPR_DENIED, 0, 2, 0x80094003, ADCS_OTHERS, false },
    { "denied, with no access in its words", ICPR_DENIED, 0, 2, 0x80070005, ADCS_OTHERS, false },
    { "denied by an HRESULT", ICPR_DENIED, 0, 0x80094012, 0x80094012, ADCS_OTHERS, false },
    { "none, by the result", ICPR_NONE, 0x80094004, 0, 0x80094004, ADCS_NONE, false },
    { "none", ICPR_NONE, 0, 0x80094004, 0x80094004, ADCS_NONE, false },
};

START_TEST(what_is_kept_under_a_number_is_no_fault_of_the_ca)
{
    const icpr_answer a = { .outcome = sights[_i].outcome,
                            .result = sights[_i].result,
                            .disposition = sights[_i].disposition,
                            .hresult = sights[_i].hresult,
                            .reason = "r",
                            .said = "" };
    adcs_sight sight = ADCS_OURS;
    const scep_err *err = adcs_see(&sight, &a, fixture_key(0), p);

    row = sights[_i].name;
    if (sights[_i].sight < 0)
        ck_assert_msg(err && err->code == SCEP_UNAVAILABLE, "%s: %d", row, sight);
    else
        ck_assert_msg(!err && (int)sight == sights[_i].sight, "%s: %d", row, err ? -1 : (int)sight);
    ck_assert_msg(adcs_is_of_the_ca(&a) == sights[_i].of_ca, "%s: the CA", row);
    /* of which it is not known that there is one */
    ck_assert_msg(adcs_is_hidden(&a) ==
                      (!strcmp(row, "kept to itself") || !strcmp(row, "access denied")),
                  "%s: hidden", row);
}
END_TEST

/* ---- what is known of numbers ---- */

START_TEST(a_number_that_was_answered_is_nobody_elses)
{
    adcs a = { 0 };
    uint32_t top;

    FIXTURE_MUST(!apr_thread_mutex_create(&a.mutex, APR_THREAD_MUTEX_DEFAULT, p));
    /* one looks, the others wait; what failed is tried again */
    ck_assert_int_eq(adcs_known(&a, &top), ADCS_SEARCH);
    ck_assert_int_eq(adcs_known(&a, &top), ADCS_WAIT);
    adcs_search_end(&a, false);
    ck_assert_int_eq(adcs_known(&a, &top), ADCS_SEARCH);
    adcs_search_end(&a, true);
    ck_assert_int_eq(adcs_known(&a, &top), ADCS_TOLD);
    ck_assert_uint_eq(top, 0);
    adcs_remember(&a, 7, "00000000000000AA");
    adcs_remember(&a, 9, NULL);
    adcs_remember(&a, 8, NULL);
    adcs_remember(&a, 0, "00000000000000BB");
    ck_assert_int_eq(adcs_known(&a, &top), ADCS_TOLD);
    ck_assert_uint_eq(top, 9);
    ck_assert(!adcs_is_others(&a, 7, "00000000000000AA"));
    ck_assert(adcs_is_others(&a, 7, "00000000000000BB"));
    ck_assert(!adcs_is_others(&a, 9, "00000000000000BB"));
    for (uint32_t id = 10; id < 10 + ADCS_CLAIMS; id++)
        adcs_remember(&a, id, "00000000000000CC");
    ck_assert(!adcs_is_others(&a, 7, "00000000000000BB")); /* forgotten, and that is safe */
    ck_assert(adcs_is_others(&a, 10, "00000000000000BB"));
}
END_TEST

START_TEST(a_ca_that_was_restored_goes_on_at_lower_numbers)
{
    adcs a = { 0 };
    uint32_t top;

    FIXTURE_MUST(!apr_thread_mutex_create(&a.mutex, APR_THREAD_MUTEX_DEFAULT, p));
    adcs_given(&a, 7, 6, "00000000000000AA");
    adcs_given(&a, 9, 7, "00000000000000BB");
    row = "overtaken by one that was sent later";
    adcs_given(&a, 8, 7, "00000000000000CC");
    ck_assert_int_eq(adcs_known(&a, &top), ADCS_TOLD);
    ck_assert_uint_eq(top, 9);
    ck_assert(adcs_is_others(&a, 7, "00000000000000DD"));
    row = "no number";
    adcs_given(&a, 0, 9, "00000000000000DD");
    adcs_known(&a, &top);
    ck_assert_uint_eq(top, 9);
    row = "restored";
    adcs_given(&a, 5, 9, "00000000000000DD");
    ck_assert_int_eq(adcs_known(&a, &top), ADCS_TOLD);
    ck_assert_uint_eq(top, 5);
    ck_assert(adcs_is_others(&a, 5, "00000000000000AA"));
    ck_assert(!adcs_is_others(&a, 7, "00000000000000DD"));
    row = "the same number again";
    adcs_given(&a, 5, 5, "00000000000000EE");
    ck_assert(adcs_is_others(&a, 5, "00000000000000DD"));
}
END_TEST

/* ---- opening ---- */

static const char *folder;

static const char *file_of(const char *name, mode_t mode)
{
    const char *path = apr_pstrcat(p, folder, "/", name, NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    FIXTURE_MUST(fd >= 0 && fchmod(fd, mode) == 0 && close(fd) == 0);
    return path;
}

static const char *cert_file(const char *name, X509 *cert)
{
    const char *path = file_of(name, 0600);
    BIO *out = BIO_new_file(path, "w");

    FIXTURE_MUST(out && PEM_write_bio_X509(out, cert) && BIO_free(out));
    return path;
}

static const char *key_file(const char *name, EVP_PKEY *key)
{
    const char *path = file_of(name, 0600);
    BIO *out = BIO_new_file(path, "w");

    FIXTURE_MUST(out && PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) &&
                 BIO_free(out));
    return path;
}

static X509 *agent_cert(EVP_PKEY *key, const char *purpose)
{
    X509 *cert = fixture_cert("CN=agent", key, NULL, NULL, false, KU_DIGITAL_SIGNATURE, p);
    X509_EXTENSION *usage =
        purpose ? X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, purpose) : NULL;

    if (usage)
        FIXTURE_MUST(X509_add_ext(cert, usage, -1));
    X509_EXTENSION_free(usage);
    fixture_resign(cert, key);
    return cert;
}

static conf_authority authority_of(void)
{
    char *name = apr_pstrdup(p, "/tmp/scep-adcs-XXXXXX");

    folder = mkdtemp(name);
    FIXTURE_MUST(folder);
    return (conf_authority){ .name = "a",
                             .timeout = 10,
                             .adcs = { .server = "ca1.corp.test",
                                       .ca_name = "Test CA",
                                       .principal = "ndes@CORP.TEST",
                                       .keytab = file_of("keytab", 0600),
                                       .mechanism = "spnego" } };
}

START_TEST(the_cas_principal_is_its_hosts_in_the_accounts_realm)
{
    conf_authority a = authority_of();
    connector c = { 0 };
    const adcs *data;

    assert_ok(connector_adcs_open(&c, &a, p));
    data = c.data;
    ck_assert_str_eq(data->server.target.service, "host/ca1.corp.test@CORP.TEST");
    ck_assert_int_eq(data->server.target.mechanism, DCERPC_SPNEGO);
    ck_assert_uint_eq(data->server.port, 0);
    a.adcs.service = "host/other@CORP.TEST";
    a.adcs.mechanism = "kerberos";
    a.adcs.port = 4000;
    assert_ok(connector_adcs_open(&c, &a, p));
    data = c.data;
    ck_assert_str_eq(data->server.target.service, "host/other@CORP.TEST");
    ck_assert_int_eq(data->server.target.mechanism, DCERPC_KERBEROS);
    ck_assert_uint_eq(data->server.port, 4000);
    row = "start";
    assert_ok(c.start(&c, NULL, p));
}
END_TEST

static void expect_refused(const conf_authority *a, const char *says)
{
    connector c = { 0 };
    const scep_err *err = connector_adcs_open(&c, a, p);

    ck_assert_msg(err && err->code == SCEP_CONFIG && strstr(err->detail, says), "%s: %s", row,
                  err ? err->detail : "accepted");
}

START_TEST(what_cannot_work_is_refused_at_the_start)
{
    conf_authority a = authority_of();

    row = "no realm";
    a.adcs.principal = "ndes";
    expect_refused(&a, "NAME@REALM");
    a.adcs.principal = "ndes@";
    expect_refused(&a, "NAME@REALM");
    a.adcs.principal = "ndes@CORP.TEST";
    row = "a keytab for everybody";
    a.adcs.keytab = file_of("open", 0644);
    expect_refused(&a, "by everybody");
    row = "no keytab";
    a.adcs.keytab = "/nonexistent/keytab";
    expect_refused(&a, "cannot be read");
    a.adcs.keytab = file_of("keytab", 0600);
    row = "an agent's key that is another's";
    a.adcs.agent_key = key_file("agent.key", fixture_key(1));
    a.adcs.agent_cert =
        cert_file("agent.pem", agent_cert(fixture_key(0), "1.3.6.1.4.1.311.20.2.1"));
    expect_refused(&a, "is not the key");
    row = "an agent without the purpose";
    a.adcs.agent_cert = cert_file("agent.pem", agent_cert(fixture_key(1), "clientAuth"));
    expect_refused(&a, "1.3.6.1.4.1.311.20.2.1");
    a.adcs.agent_cert = cert_file("agent.pem", agent_cert(fixture_key(1), NULL));
    expect_refused(&a, "Certificate Request Agent");
}
END_TEST

static scep_csr some_csr(void)
{
    static const unsigned char der[] = { 0x30, 3, 2, 1, 5 };

    return (scep_csr){ .der = { der, sizeof(der) }, .key = fixture_key(2) };
}

static void agent_ends_at(X509 *cert, time_t end)
{
    FIXTURE_MUST(ASN1_TIME_set(X509_getm_notAfter(cert), end));
}

START_TEST(an_enrolment_agent_signs_the_request_as_it_is)
{
    const conf_template t = { .name = "T", .ca_template = "Device" };
    const scep_csr csr = some_csr();
    const connector_ask ask = { .template = &t, .csr = &csr };
    conf_authority authority = authority_of();
    adcs a = { .authority = &authority };
    BIO *content = scep_BIO(p, BIO_new(BIO_s_mem()));
    const ASN1_OBJECT *type;
    CMS_ContentInfo *cms;
    icpr_request request;
    char *data;

    assert_ok(adcs_request(&request, &a, &ask, p));
    ck_assert_int_eq(request.format, ICPR_PKCS10);
    ck_assert_ptr_eq(request.der.data, csr.der.data);
    ck_assert_str_eq(request.template, "Device");
    a.agent = (scep_signer){ .cert = agent_cert(fixture_key(1), "1.3.6.1.4.1.311.20.2.1"),
                             .key = fixture_key(1) };
    assert_ok(adcs_request(&request, &a, &ask, p));
    ck_assert_int_eq(request.format, ICPR_PKCS7);
    cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL,
                                                      &(const unsigned char *){ request.der.data },
                                                      (long)request.der.len));
    ck_assert_ptr_nonnull(cms);
    ck_assert_int_eq(
        CMS_verify(cms, NULL, NULL, NULL, content, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY), 1);
    ck_assert_int_eq(BIO_get_mem_data(content, &data), (long)csr.der.len);
    ck_assert_mem_eq(data, csr.der.data, csr.der.len);
    type = CMS_get0_eContentType(cms);
    ck_assert_int_eq(OBJ_obj2nid(type), NID_pkcs7_data);
    a.authority = &authority;
    agent_ends_at(a.agent.cert, 1000000000);
    assert_code(SCEP_CONFIG, adcs_request(&request, &a, &ask, p));
}
END_TEST

/* ---- a CA that is not there ---- */

START_TEST(nothing_was_asked_where_the_ca_is_not_reached)
{
    const conf_template t = { .name = "T", .ca_template = "Device" };
    const scep_csr csr = some_csr();
    connector_ask ask = { .template = &t,
                          .csr = &csr,
                          .id = "00000000000000AA",
                          .cookie = "id=5",
                          .until = deadline_in(apr_time_from_msec(300)) };
    conf_authority a = authority_of();
    connector_answer out = { 0 };
    connector c = { 0 };

    a.adcs.server = "127.0.0.1";
    a.adcs.port = 1;
    assert_ok(connector_adcs_open(&c, &a, p));
    assert_code(SCEP_UNAVAILABLE, c.submit(&out, &c, &ask, p));
    ck_assert(!out.asked);
    row = "a note that cannot be read";
    ask.cookie = "id=";
    assert_ok(c.submit(&out, &c, &ask, p));
    ck_assert_int_eq(out.outcome, CONNECTOR_LOST);
    row = "check";
    assert_code(SCEP_UNAVAILABLE, c.check(&c, ask.until, p));
    FIXTURE_MUST(unlink(a.adcs.keytab) == 0);
    row = "a keytab that went away";
    assert_code(SCEP_CONFIG, c.check(&c, ask.until, p));
    assert_code(SCEP_CONFIG, c.start(&c, NULL, p));
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, an_answer_is_a_decision_a_fault_or_something_to_mend, 0,
                        ROWS(answers));
    tcase_add_test(cases, only_the_key_tells_whose_a_certificate_is);
    tcase_add_loop_test(cases, what_is_kept_under_a_number_is_no_fault_of_the_ca, 0, ROWS(sights));
    tcase_add_test(cases, a_number_that_was_answered_is_nobody_elses);
    tcase_add_test(cases, a_ca_that_was_restored_goes_on_at_lower_numbers);
    tcase_add_test(cases, the_cas_principal_is_its_hosts_in_the_accounts_realm);
    tcase_add_test(cases, what_cannot_work_is_refused_at_the_start);
    tcase_add_test(cases, an_enrolment_agent_signs_the_request_as_it_is);
    tcase_add_test(cases, nothing_was_asked_where_the_ca_is_not_reached);
}

int main(void)
{
    return run_suite("connector_adcs", add_tests);
}
