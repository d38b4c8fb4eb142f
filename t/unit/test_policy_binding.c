/* What a challenge is bound to: how it is written and kept, and what is refused because of it. */
#include "policy.h"
#include "suite.h"

#include "message.h"

#include <apr_strings.h>
#include <string.h>

#define SID_EXTENSION "1.3.6.1.4.1.311.25.2=ASN1:UTF8String:S-1-5-21-1-2-3-500"

static char rdns_32[256], rdns_33[256], long_name[1200];

/* A request with a challenge, bound to something. */
typedef struct judged {
    const char *name;
    fixture_request r;
    scep_code code; /* SCEP_OK: granted */
    const char *says;
    policy_binding bound;
    bool given_back; /* refused for another reason, so that the challenge stays good */
    bool stale;      /* the challenge is not good */
    bool open;       /* EnforcePassword off */
    bool sid;        /* allow_sid */
    int hash_bits;   /* MinimumHash; 0: SHA-1 */
    const char *approval;
} judged;

#define BOUND(...) .bound = { __VA_ARGS__ }
#define GOOD .code = SCEP_OK
#define OTHER(what) SCEP_BAD_SUBJECT, what
#define ASKED .r = { .challenge = "C" }
#define ASKS(...) .r = { .challenge = "C", __VA_ARGS__ }

static const judged rows[] = {
    { "S-04 bound, and the request is that", ASKS(.subject = "O=b,CN=a", .san = "DNS:A.example"),
      GOOD, .bound = { "CN=a,O=b", "DNS:a.example\nDNS:b.example", "T" } },
    { "S-04 another subject", ASKS(.subject = "CN=b"), OTHER("the subject \"CN=a\""),
      BOUND("CN=a", "", "") },
    { "S-04 another subject's letter case", ASKS(.subject = "CN=A"), OTHER("\"CN=a\""),
      BOUND("CN=a", "", "") },
    { "S-04 one part more", ASKS(.subject = "O=b,CN=a"), OTHER("\"CN=a\""), BOUND("CN=a", "", "") },
    { "S-04 the parts in another order", ASKS(.subject = "CN=a,O=b"), OTHER("\"CN=a,O=b\""),
      BOUND("CN=a,O=b", "", "") },
    { "S-04 a comma that is part of the CN", ASKS(.subject = "CN=a\\\\,O=b"), OTHER("\"CN=a,O=b\""),
      BOUND("CN=a,O=b", "", "") },
    { "S-04 no subject at all", ASKS(.subject = "", .san = "DNS:a"), OTHER("the subject"),
      BOUND("CN=a", "DNS:a", "") },
    { "S-04 one name more", ASKS(.subject = "CN=a", .san = "DNS:a.example,DNS:b.example"),
      OTHER("other alternative names than DNS:b.example"), BOUND("CN=a", "DNS:a.example", "") },
    { "S-04 a name that begins like a bound one", ASKS(.san = "DNS:a.exam"), OTHER("DNS:a.exam"),
      BOUND("", "DNS:a.example\nDNS:a", "") },
    { "S-04 a name that begins with a bound one", ASKS(.san = "DNS:a.example.net"),
      OTHER("DNS:a.example.net"), BOUND("", "DNS:a.example", "") },
    { "S-04 the last of the bound names", ASKS(.san = "DNS:b"), GOOD,
      BOUND("", "DNS:a\nDNS:b", "") },
    { "S-04 fewer names", ASKS(.subject = "CN=a"), GOOD, BOUND("CN=a", "DNS:a.example", "") },
    { "S-04 a name where the subject alone is bound", ASKS(.subject = "CN=a", .san = "DNS:a"),
      OTHER("DNS:a"), BOUND("CN=a", "", "") },
    { "S-04 any subject where the names alone are bound", ASKS(.subject = "CN=b", .san = "DNS:a"),
      GOOD, BOUND("", "DNS:a", "") },
    { "S-04 the same text as another kind of name", ASKS(.san = "email:a"), OTHER("email:a"),
      BOUND("", "DNS:a\nURI:a", "") },
    { "S-04 names of all kinds",
      ASKS(.san = "DNS:A,email:A@B.example,IP:192.0.2.1,IP:2001:DB8:0:0::1,URI:tag:A"), GOOD,
      BOUND("", "DNS:a\nemail:A@b.example\nIP:192.0.2.1\nIP:2001:db8::1\nURI:tag:A", "") },
    { "S-04 the letter case of a mailbox", ASKS(.san = "email:a@b.example"),
      OTHER("email:a@b.example"), BOUND("", "email:A@b.example", "") },
    { "S-04 the letter case of a URI", ASKS(.san = "URI:tag:a"), OTHER("URI:tag:a"),
      BOUND("", "URI:tag:A", "") },
    { "S-04 a kind that is never bound",
      ASKS(.san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:a@a.example"), OTHER("never bound"),
      BOUND("", "DNS:a", "") },
    { "S-04 two bound names in one",
      ASKS(.extensions = "2.5.29.17=DER:300D820B444E533A610A444E533A62"), OTHER("never bound"),
      BOUND("", "DNS:DNS:a\nDNS:b", "") },
    { "S-04 an IP address of five bytes", ASKS(.extensions = "2.5.29.17=DER:300787050102030405"),
      OTHER("never bound"), BOUND("", "IP:1.2.3.4", "") },
    { "S-04 a SAN that is no list", ASKS(.extensions = "2.5.29.17=DER:0500"), SCEP_BAD_SUBJECT,
      "cannot be read", BOUND("", "DNS:a", ""), .given_back = true },
    { "S-04 a SID beside the bound names", ASKS(.subject = "CN=a", .extensions = SID_EXTENSION),
      OTHER("without a Microsoft SID"), BOUND("CN=a", "", ""), .sid = true },
    { "a SID where the template alone is bound", ASKS(.extensions = SID_EXTENSION), GOOD,
      BOUND("", "", "T"), .sid = true },
    { "S-04 another template", ASKED, OTHER("template U"), BOUND("", "", "U") },
    { "any names where the template alone is bound", ASKS(.subject = "CN=b", .san = "DNS:b"), GOOD,
      BOUND("", "", "T") },
    { "S-04 contradicted before anything else is judged", ASKED, OTHER("template U"),
      BOUND("", "", "U"), .hash_bits = 512 },
    { "S-04 contradicted where it would wait", ASKED, OTHER("template U"), BOUND("", "", "U"),
      .approval = "always" },
    { "S-04 what is bound does not matter where the challenge is no good", ASKED, SCEP_CHALLENGE,
      "unknown", BOUND("", "", "U"), .given_back = true, .stale = true },
    { "Q-68 bound, where none is enforced", ASKED, GOOD, BOUND("CN=a", "DNS:a", "U"),
      .open = true },
};

static policy_verdict judge_row(const judged *j)
{
    const conf_template template = {
        .name = "T",
        .key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
        .minimum_rsa_bits = 2048,
        .approval = "no",
        .allow_sid = j->sid,
    };
    policy_facts facts = {
        .message_type = SCEP_PKCS_REQ,
        .template = &template,
        .enforce_password = !j->open,
        .challenge_good = !j->stale,
        .bound = j->bound,
        .minimum_hash_bits = j->hash_bits ? j->hash_bits : 160,
        .approval = j->approval ? j->approval : "off",
    };
    scep_csr *csr;

    row = j->name;
    assert_ok(scep_csr_read(&csr, fixture_csr(&j->r, p), p));
    facts.csr = csr;
    return policy_judge(&facts, p);
}

START_TEST(S_04_a_challenge_is_good_for_what_it_is_bound_to)
{
    const judged *j = &rows[_i];
    policy_verdict v = judge_row(j);

    ck_assert_msg(v.code == j->code, "%s: %s instead of %s: %s", row,
                  scep_code_describe((int)v.code)->name, scep_code_describe((int)j->code)->name,
                  v.reason);
    ck_assert_msg((v.outcome == POLICY_DENY) == (j->code != SCEP_OK), "%s: outcome", row);
    ck_assert_msg(!j->says || strstr(v.reason, j->says), "%s: \"%s\" in: %s", row, j->says,
                  v.reason);
    ck_assert_msg(v.uses_challenge == !(j->open || j->given_back), "%s: challenge", row);
    ck_assert_msg(v.uses_challenge == (strstr(v.reason, "it is used up") != NULL) ||
                      v.outcome != POLICY_DENY,
                  "%s: %s", row, v.reason);
}
END_TEST

/* RFC 8894 2.5: a renewal has its certificate instead of a challenge. */
START_TEST(S_04_a_renewal_is_bound_by_its_certificate_alone)
{
    const conf_template template = {
        .name = "T", .key_usage = KU_DIGITAL_SIGNATURE, .minimum_rsa_bits = 2048, .approval = "no"
    };
    const fixture_request r = { .challenge = "C", .subject = "CN=b" };
    policy_facts facts = {
        .message_type = SCEP_RENEWAL_REQ,
        .template = &template,
        .enforce_password = true,
        .challenge_good = true,
        .bound = { "CN=a", "DNS:a", "U" },
        .approval = "off",
        .old = fixture_cert("CN=b", fixture_key(0), NULL, NULL, false, 0, p),
        .old_known = true,
        .renewal = true,
    };
    policy_verdict v;
    scep_csr *csr;

    assert_ok(scep_csr_read(&csr, fixture_csr(&r, p), p));
    facts.csr = csr;
    v = policy_judge(&facts, p);
    ck_assert_msg(v.outcome == POLICY_GRANT, "%s", v.reason);
    ck_assert(!v.uses_challenge);
}
END_TEST

/* What somebody writes, and how it is kept; NULL: it is refused. */
static const struct {
    const char *text, *kept;
} subjects[] = {
    { "CN=a", "CN=a" },
    { "CN=a,O=b", "CN=a,O=b" },
    { " CN = a , O = b c ", "CN=a,O=b c" },
    { "CN=a\\,b,O=c", "CN=a\\,b,O=c" },
    { "CN=a\\2Cb", "CN=a\\,b" },
    { "CN=\\ a\\ ", "CN=\\ a\\ " },
    { "CN=a=b", "CN=a=b" },
    { "CN=\\#a\\+\\\"", "CN=\\#a\\+\\\"" },
    { "CN=Ger\xc3\xa4t", "CN=Ger\\C3\\A4t" },
    { "CN=Ger\\C3\\a4t", "CN=Ger\\C3\\A4t" },
    { "2.5.4.3=a", "CN=a" },
    { "commonName=a,serialNumber=1,DC=b", "CN=a,serialNumber=1,DC=b" },
    { "CN=a,CN=b", "CN=a,CN=b" },
    { "1.2.3.4=a", "1.2.3.4=#0C0161" },
    { "a", NULL },
    { "=a", NULL },
    { "CN=", NULL },
    { "CN=,O=b", NULL },
    { "CN=a,", NULL },
    { ",CN=a", NULL },
    { "CN=a+O=b", NULL },
    { "CN=\"a, b\"", NULL },
    { "CN=a;O=b", NULL },
    { "CN=#0C0161", NULL },
    { "CN=a\\", NULL },
    { "CN=a\\x", NULL },
    { "CN=a\\2", NULL },
    { "CN=a\\00b", NULL },
    { "CN=a\nb", NULL },
    { "CN=a\xff", NULL },
    { "nonsense=a", NULL },
    { " ", NULL },
    { rdns_32, "" },
    { rdns_33, NULL },
};

START_TEST(S_04_a_subject_is_kept_as_the_audit_line_shows_it)
{
    const apr_array_header_t *none = apr_array_make(p, 0, sizeof(const char *));
    const char *kept = subjects[_i].kept;
    policy_binding bound;
    const scep_err *err;

    row = subjects[_i].text;
    err = policy_bind(&bound, row, none, p);
    assert_code(kept ? SCEP_OK : SCEP_BAD_REQUEST, err);
    if (err) {
        ck_assert_msg(!strncmp(err->detail, "the subject ", 12) && !strstr(err->detail, "error:"),
                      "%s: %s", row, err->detail);
        return;
    }
    if (*kept)
        ck_assert_str_eq(bound.subject, kept);
    ck_assert_str_eq(bound.names, "");
    /* what is shown can be written again */
    if (!strchr(bound.subject, '#') || strchr(row, '#')) {
        policy_binding again;

        assert_ok(policy_bind(&again, bound.subject, none, p));
        ck_assert_str_eq(again.subject, bound.subject);
    }
}
END_TEST

static const struct {
    const char *text, *kept;
} names[] = {
    { "DNS:A.Example", "DNS:a.example" },
    { "email:A.B@C.Example", "email:A.B@c.example" },
    { "email:A", "email:A" },
    { "IP:192.0.2.1", "IP:192.0.2.1" },
    { "IP:2001:DB8:0:0:0:0:0:1", "IP:2001:db8::1" },
    { "URI:https://A.example/B", "URI:https://A.example/B" },
    { "DNS:", NULL },
    { "IP:", NULL },
    { "IP:a.example", NULL },
    { "IP:192.0.2.0/24", NULL },
    { "IP:192.0.2.256", NULL },
    { "DNS:a\nDNS:b", NULL },
    { "DNS:b\xc3\xbc.example", NULL },
    { "RID:1.2.3", NULL },
    { "dns:a", NULL },
    { "a.example", NULL },
    { "", NULL },
    { long_name, NULL },
};

START_TEST(S_04_names_are_kept_one_a_line)
{
    apr_array_header_t *asked = apr_array_make(p, 2, sizeof(const char *));
    policy_binding bound;
    const scep_err *err;

    row = names[_i].text;
    APR_ARRAY_PUSH(asked, const char *) = "DNS:First";
    APR_ARRAY_PUSH(asked, const char *) = row;
    err = policy_bind(&bound, "", asked, p);
    assert_code(names[_i].kept ? SCEP_OK : SCEP_BAD_REQUEST, err);
    if (err) {
        ck_assert_msg(!strncmp(err->detail, "name 2 cannot", 13) && !strstr(err->detail, "error:"),
                      "%s: %s", row, err->detail);
        return;
    }
    ck_assert_str_eq(bound.subject, "");
    ck_assert_str_eq(bound.names, apr_pstrcat(p, "DNS:first\n", names[_i].kept, NULL));
}
END_TEST

START_TEST(S_04_at_most_64_names_are_bound)
{
    apr_array_header_t *asked = apr_array_make(p, 65, sizeof(const char *));
    policy_binding bound;

    for (int i = 0; i < 64; i++)
        APR_ARRAY_PUSH(asked, const char *) = "DNS:a";
    assert_ok(policy_bind(&bound, "", asked, p));
    APR_ARRAY_PUSH(asked, const char *) = "DNS:a";
    assert_code(SCEP_BAD_REQUEST, policy_bind(&bound, "", asked, p));
}
END_TEST

static void add_tests(TCase *cases)
{
    for (int i = 0; i < 33; i++) {
        if (i < 32)
            strcat(rdns_32, i ? ",CN=a" : "CN=a");
        strcat(rdns_33, i ? ",CN=a" : "CN=a");
    }
    strcpy(long_name, "DNS:");
    memset(long_name + 4, 'a', 1025);
    tcase_add_loop_test(cases, S_04_a_challenge_is_good_for_what_it_is_bound_to, 0, ROWS(rows));
    tcase_add_test(cases, S_04_a_renewal_is_bound_by_its_certificate_alone);
    tcase_add_loop_test(cases, S_04_a_subject_is_kept_as_the_audit_line_shows_it, 0,
                        ROWS(subjects));
    tcase_add_loop_test(cases, S_04_names_are_kept_one_a_line, 0, ROWS(names));
    tcase_add_test(cases, S_04_at_most_64_names_are_bound);
}

int main(void)
{
    return run_suite("policy: what a challenge is bound to", add_tests);
}
