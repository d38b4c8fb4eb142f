/* What a request claims to be, and the account that the directory has. */
#include "suite.h"

#include "directory_claim.h"
#include "directory_sd.h"

#include <apr_strings.h>
#include <string.h>

static const directory_account alice = { .upn = "alice@corp.example",
                                         .name = "alice",
                                         .domain = "corp.test" };
static const directory_account machine = { .host = "ws1.corp.test",
                                           .name = "WS1$",
                                           .domain = "corp.test" };
static const directory_account nameless = { .domain = "corp.test" };
static const directory_account former = { .upn = "alice@corp.example", .disabled = true };

static const struct {
    const char *name;
    const directory_account *account;
    const char *upns[3], *hosts[3], *common_name;
    bool fits;
} claims[] = {
    { "his UPN", &alice, { "alice@corp.example" }, { NULL }, NULL, true },
    { "his UPN in capitals", &alice, { "ALICE@Corp.Example" }, { NULL }, "bob", true },
    { "the name that each account has", &alice, { "alice@corp.test" }, { NULL }, NULL, true },
    { "both", &alice, { "alice@corp.test", "alice@corp.example" }, { NULL }, NULL, true },
    { "another's UPN", &alice, { "bob@corp.example" }, { NULL }, NULL, false },
    { "his and another's", &alice, { "alice@corp.test", "bob@corp.test" }, { NULL }, NULL, false },
    { "his in another domain", &alice, { "alice@other.test" }, { NULL }, "alice", false },
    { "the beginning of his", &alice, { "alic@corp.test" }, { NULL }, NULL, false },
    { "his and more", &alice, { "alice2@corp.test" }, { NULL }, NULL, false },
    { "no UPN, and his common name", &alice, { NULL }, { NULL }, "alice", true },
    { "his UPN as common name", &alice, { NULL }, { NULL }, "alice@corp.example", true },
    { "another's common name", &alice, { NULL }, { NULL }, "bob", false },
    { "no name at all", &alice, { NULL }, { NULL }, NULL, false },
    { "a host that he is not", &alice, { "alice@corp.test" }, { "ws1.corp.test" }, NULL, false },
    { "its DNS name", &machine, { NULL }, { "WS1.corp.test" }, NULL, true },
    { "its DNS name and another's",
      &machine,
      { NULL },
      { "ws1.corp.test", "dc1.corp.test" },
      NULL,
      false },
    { "its DNS name as common name", &machine, { NULL }, { NULL }, "ws1.corp.test", true },
    { "an account without names", &nameless, { "@corp.test" }, { NULL }, NULL, false },
    { "one without names, and an empty name", &nameless, { NULL }, { NULL }, "", false },
    { "a disabled account", &former, { "alice@corp.example" }, { NULL }, NULL, false },
};

START_TEST(S_12_a_claim_fits_the_account_or_does_not)
{
    directory_claim claim = { .upns = apr_array_make(p, 2, sizeof(const char *)),
                              .hosts = apr_array_make(p, 2, sizeof(const char *)),
                              .common_name = claims[_i].common_name };

    row = claims[_i].name;
    for (int i = 0; claims[_i].upns[i]; i++)
        APR_ARRAY_PUSH(claim.upns, const char *) = claims[_i].upns[i];
    for (int i = 0; claims[_i].hosts[i]; i++)
        APR_ARRAY_PUSH(claim.hosts, const char *) = claims[_i].hosts[i];
    ck_assert_msg(!directory_claim_fault(&claim, claims[_i].account) == claims[_i].fits, "%s", row);
}
END_TEST

#define SID "S-1-5-21-1-2-3-1104"
#define EXTENSION(oid, kind, text)                                                \
    "1.3.6.1.4.1.311.25.2", "ASN1:SEQUENCE:s|[s]\nn=IMP:0,SEQ:o\n[o]\nt=OID:" oid \
                            "\nv=EXP:0,FORMAT:ASCII," kind ":" text "\n"

static X509_EXTENSION *extension_of(const char *name, const char *value)
{
    const char *bar = strchr(value, '|');
    CONF *sections = NULL;
    X509_EXTENSION *made;
    X509V3_CTX ctx;
    BIO *text;
    long line;

    X509V3_set_ctx(&ctx, NULL, NULL, NULL, NULL, 0);
    sections = NCONF_new(NULL);
    text = BIO_new_mem_buf(bar ? bar + 1 : "", -1);
    FIXTURE_MUST(sections && text && NCONF_load_bio(sections, text, &line) > 0);
    X509V3_set_nconf(&ctx, sections);
    made = X509V3_EXT_nconf(sections, &ctx, name,
                            bar ? apr_pstrmemdup(p, value, (size_t)(bar - value)) : value);
    BIO_free(text);
    NCONF_free(sections);
    FIXTURE_MUST(made);
    return made;
}

static const struct {
    const char *name;
    scep_code code;
    const char *sid; /* NULL: none */
    int upns, hosts;
    const char *extensions[6]; /* name, value */
} requests[] = {
    { "none", SCEP_OK, NULL, 0, 0, { NULL } },
    { "the extension", SCEP_OK, SID, 0, 0, { EXTENSION("1.3.6.1.4.1.311.25.2.1", "OCT", SID) } },
    { "the URI",
      SCEP_OK,
      SID,
      0,
      0,
      { "subjectAltName", "@s|[s]\nURI=\"tag:microsoft.com,2022-09-14:sid:" SID "\"\n" } },
    { "the URI in capitals",
      SCEP_OK,
      SID,
      0,
      0,
      { "subjectAltName", "@s|[s]\nURI=\"TAG:Microsoft.com,2022-09-14:SID:" SID "\"\n" } },
    { "both, the same",
      SCEP_OK,
      SID,
      0,
      1,
      { EXTENSION("1.3.6.1.4.1.311.25.2.1", "OCT", SID), "subjectAltName",
        "@s|[s]\nDNS=a.test\nURI=\"tag:microsoft.com,2022-09-14:sid:" SID "\"\n" } },
    { "both, another one",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { EXTENSION("1.3.6.1.4.1.311.25.2.1", "OCT", SID), "subjectAltName",
        "@s|[s]\nURI=\"tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1105\"\n" } },
    { "the extension twice, another one",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { EXTENSION("1.3.6.1.4.1.311.25.2.1", "OCT", SID),
        EXTENSION("1.3.6.1.4.1.311.25.2.1", "OCT", "S-1-5-21-1-2-3-500") } },
    { "an otherName of it in the subjectAltName",
      SCEP_OK,
      SID,
      0,
      0,
      { "subjectAltName", "@s|[s]\notherName=1.3.6.1.4.1.311.25.2.1;FORMAT:ASCII,OCT:" SID "\n" } },
    { "a UPN and names",
      SCEP_OK,
      NULL,
      1,
      2,
      { "subjectAltName",
        "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:alice@corp.test,DNS:a.test,DNS:b.test" } },
    { "other names and URIs",
      SCEP_OK,
      NULL,
      0,
      0,
      { "subjectAltName", "URI:http://a.test/,email:a@b.test,IP:127.0.0.1,"
                          "otherName:1.3.6.1.4.1.311.25.20;UTF8:x" } },
    { "an extension of another form",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { EXTENSION("1.3.6.1.4.1.311.25.2.2", "OCT", SID) } },
    { "an extension with text instead of bytes",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { EXTENSION("1.3.6.1.4.1.311.25.2.1", "UTF8", SID) } },
    { "an extension that is no list",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { "1.3.6.1.4.1.311.25.2", "DER:0403010203" } },
    { "an extension with something behind it",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { "1.3.6.1.4.1.311.25.2", "DER:30000500" } },
    { "no SID in the extension",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { EXTENSION("1.3.6.1.4.1.311.25.2.1", "OCT", "alice") } },
    { "no SID in the URI",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { "subjectAltName", "@s|[s]\nURI=\"tag:microsoft.com,2022-09-14:sid:\"\n" } },
    { "an unknown otherName of the arc",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { "subjectAltName", "@s|[s]\notherName=1.3.6.1.4.1.311.25.2.9;FORMAT:ASCII,OCT:" SID "\n" } },
    { "a UPN with a NUL",
      SCEP_BAD_SUBJECT,
      NULL,
      0,
      0,
      { "subjectAltName", "DER:3015A013060A2B060104018237140203A0050C03616C00" } },
};

START_TEST(S_12_what_a_request_claims_is_read)
{
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    scep_csr csr = { .subject = scep_X509_NAME(p, X509_NAME_new()), .extensions = extensions };
    directory_claim claim;

    row = requests[_i].name;
    for (int i = 0; requests[_i].extensions[i]; i += 2)
        FIXTURE_MUST(sk_X509_EXTENSION_push(
            extensions, extension_of(requests[_i].extensions[i], requests[_i].extensions[i + 1])));
    assert_code(requests[_i].code, directory_claim_read(&claim, &csr, p));
    if (requests[_i].code == SCEP_OK) {
        ck_assert_pstr_eq(directory_sid_text(claim.sid, p), requests[_i].sid);
        ck_assert_int_eq(claim.upns->nelts, requests[_i].upns);
        ck_assert_int_eq(claim.hosts->nelts, requests[_i].hosts);
    }
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}
END_TEST

static const struct {
    const char *const names[3];
    const char *wanted;
} subjects[] = {
    { { "alice" }, "alice" }, { { NULL }, NULL }, { { "alice", "bob" }, NULL }, { { "" }, NULL }
};

START_TEST(S_12_one_common_name_counts_and_two_do_not)
{
    X509_NAME *subject = scep_X509_NAME(p, X509_NAME_new());
    const scep_csr csr = { .subject = subject };
    directory_claim claim;

    for (int i = 0; subjects[_i].names[i]; i++)
        FIXTURE_MUST(X509_NAME_add_entry_by_txt(subject, "CN", V_ASN1_UTF8STRING,
                                                (const unsigned char *)subjects[_i].names[i], -1,
                                                -1, 0));
    assert_ok(directory_claim_read(&claim, &csr, p));
    ck_assert_pstr_eq(claim.common_name, subjects[_i].wanted);
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_loop_test(c, S_12_a_claim_fits_the_account_or_does_not, 0, ROWS(claims));
    tcase_add_loop_test(c, S_12_what_a_request_claims_is_read, 0, ROWS(requests));
    tcase_add_loop_test(c, S_12_one_common_name_counts_and_two_do_not, 0, ROWS(subjects));
}

int main(void)
{
    return run_suite("directory_claim", add_tests);
}
