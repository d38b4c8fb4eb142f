/* Judgement of renewals: every row is a request, an old certificate, and what is said of them. */
#include "policy_suite.h"

#include "message.h"

#include <apr_strings.h>
#include <string.h>

#define DAY 86400
#define SID(of) "1.3.6.1.4.1.311.25.2=ASN1:UTF8String:S-1-5-21-1-2-3-" of

/* How a row differs from a good RenewalReq of a known certificate. Extensions of both sides are
 * OpenSSL text, "name=value" with semicolons between them. */
typedef struct renewed {
    const char *name;
    scep_code code; /* SCEP_OK: granted */
    const char *says;
    int message_type; /* 0: 17 */
    const char *old_subject, *subject;
    const char *old_san, *san;
    const char *old_eku, *eku; /* of the certificate, and of the template */
    const char *old_sid, *sid;
    const char *asked;      /* further extensions of the request */
    const char *challenge;  /* sent, and not good */
    bool without_old;       /* a certificate was found that does not count */
    bool unknown;           /* it is not in the inventory */
    bool off, off_for_pkcs; /* Renewal, RenewalByPKCSReq */
    bool other_names;       /* DisableRenewalSubjectNameMatch */
    bool allow_sid;         /* of the template */
    bool pends;             /* instead of being granted */
    long window, left;      /* RenewalWindow; days to the end, 0: 20 */
    const char *approval, *template_approval;
} renewed;

static const renewed rows[] = {
    { "R-100 D-01 Q-66 a RenewalReq without a challenge", .code = SCEP_OK },
    { "R-102 Q-66 a RenewalReq with a stale challenge", SCEP_OK, .challenge = "used" },
    { "Q-69 a RenewalReq with an empty challenge", SCEP_OK, .challenge = "" },
    { "a RenewalReq where Renewal is off", SCEP_REFUSED, "Renewal is off", .off = true },
    { "R-103 R-094 D-01 Q-65 a PKCSReq that a certificate signed", SCEP_OK, .message_type = 19 },
    { "R-103 D-01 Q-69 the same with an empty challenge", SCEP_OK, .message_type = 19,
      .challenge = "" },
    { "S-06 R-094 a PKCSReq that a certificate signed, with a stale challenge", SCEP_REFUSED,
      "SCEPRenewalByPKCSReq is off", .message_type = 19, .challenge = "used",
      .off_for_pkcs = true },
    { "S-06 R-103 a PKCSReq that a certificate signed, not switched on", SCEP_REFUSED,
      "SCEPRenewalByPKCSReq is off", .message_type = 19, .off_for_pkcs = true },
    { "S-06 a PKCSReq that a certificate signed, all renewals off", SCEP_REFUSED, "Renewal is off",
      .message_type = 19, .off = true },
    { "S-06 a PKCSReq whose certificate does not count", SCEP_CHALLENGE_ABSENT, "no challenge",
      .message_type = 19, .without_old = true },
    { "R-105 a RenewalReq whose certificate does not count", SCEP_BAD_REQUEST,
      "without a certificate", .without_old = true },
    { "S-01 messageType 18 with a certificate", SCEP_BAD_REQUEST, "messageType 18",
      .message_type = 18 },
    { "S-01 messageType 20 with a certificate", SCEP_BAD_REQUEST, "messageType 20",
      .message_type = 20 },
    { "S-01 messageType 273, which is 17 in eight bits", SCEP_BAD_REQUEST, "messageType 273",
      .message_type = 273 },

    { "R-107 before the window", SCEP_REFUSED, "in the last 10", .window = 10, .left = 11 },
    { "R-107 at the begin of the window", SCEP_OK, .window = 10, .left = 10 },
    { "R-107 within the window", SCEP_OK, .window = 10, .left = 1 },
    { "R-107 without a window", SCEP_OK, .left = 3650 },

    { "R-108 S-09 another subject", SCEP_BAD_SUBJECT, "another subject", .subject = "CN=other" },
    { "R-108 S-09 another letter case", SCEP_BAD_SUBJECT, "another subject",
      .subject = "CN=DEVICE" },
    { "R-108 S-09 one part more", SCEP_BAD_SUBJECT, "another subject",
      .subject = "CN=device,OU=admins" },
    { "R-108 S-09 one part less", SCEP_BAD_SUBJECT, "another subject",
      .old_subject = "CN=device,OU=x" },
    { "R-108 S-09 another order", SCEP_BAD_SUBJECT, "another subject",
      .old_subject = "CN=device,OU=x", .subject = "OU=x,CN=device" },
    { "R-108 S-09 another kind of part", SCEP_BAD_SUBJECT, "another subject",
      .subject = "OU=device" },
    { "R-108 S-09 an empty subject", SCEP_BAD_SUBJECT, "another subject", .subject = "",
      .san = "DNS:a.example", .old_san = "DNS:a.example" },
    { "R-108 another subject, allowed", SCEP_OK, .subject = "CN=other", .other_names = true },
    { "R-108 S-09 a SAN where there was none", SCEP_BAD_SUBJECT, "subjectAltName",
      .san = "DNS:a.example" },
    { "R-108 S-09 one more SAN", SCEP_BAD_SUBJECT, "subjectAltName", .old_san = "DNS:a.example",
      .san = "DNS:a.example,DNS:b.example" },
    { "R-108 S-09 the same name of another type", SCEP_BAD_SUBJECT, "subjectAltName",
      .old_san = "DNS:a.example", .san = "email:a.example" },
    { "R-108 S-09 another UPN", SCEP_BAD_SUBJECT, "subjectAltName",
      .old_san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:a@a.example",
      .san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin@a.example" },
    { "R-108 the same UPN", SCEP_OK, .old_san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:a@a.example",
      .san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:a@a.example" },
    { "R-108 the same directoryName", SCEP_OK,
      .old_san = "DER:3010A40E300C310A300806035504030C0161",
      .san = "DER:3010A40E300C310A300806035504030C0161" },
    { "S-09 a directoryName in other letters", SCEP_BAD_SUBJECT, "subjectAltName",
      .old_san = "DER:3010A40E300C310A300806035504030C0161",
      .san = "DER:3010A40E300C310A300806035504030C0141" },
    { "R-108 the same SANs in another order", SCEP_OK, .old_san = "DNS:a.example,IP:192.0.2.1",
      .san = "IP:192.0.2.1,DNS:a.example" },
    { "R-108 one SAN less", SCEP_OK, .old_san = "DNS:a.example,IP:192.0.2.1",
      .san = "DNS:a.example" },
    { "R-108 no SAN any more", SCEP_OK, .old_san = "DNS:a.example" },
    { "R-108 another SAN, allowed", SCEP_OK, .san = "DNS:a.example", .other_names = true },
    { "S-09 a SAN that is no list", SCEP_BAD_SUBJECT, "cannot be read",
      .asked = "2.5.29.17=DER:0500" },

    { "S-09 a SID where there was none", SCEP_REFUSED, "SID", .sid = SID("500"),
      .allow_sid = true },
    { "S-09 another SID", SCEP_REFUSED, "SID", .old_sid = SID("1104"), .sid = SID("500"),
      .allow_sid = true },
    { "S-09 the same SID", SCEP_OK, .old_sid = SID("1104"), .sid = SID("1104"), .allow_sid = true },
    { "S-12 S-09 the same SID where the template allows none", SCEP_REFUSED, "allow_sid",
      .old_sid = SID("1104"), .sid = SID("1104") },
    { "S-09 what is not copied is not judged", SCEP_OK,
      .asked = "basicConstraints=critical,CA:TRUE;extendedKeyUsage=anyExtendedKeyUsage" },

    { "S-09 S-08 a wider EKU than an unknown certificate's", SCEP_REFUSED, "clientAuth",
      .unknown = true, .old_eku = "serverAuth", .eku = "serverAuth,clientAuth" },
    { "S-09 an EKU where an unknown certificate has none", SCEP_REFUSED, "clientAuth",
      .unknown = true, .eku = "clientAuth" },
    { "S-09 no EKU, which is any, where an unknown certificate has one", SCEP_REFUSED, "any",
      .unknown = true, .old_eku = "clientAuth" },
    { "S-09 any EKU is none of those that have names", SCEP_REFUSED, "clientAuth", .unknown = true,
      .old_eku = "anyExtendedKeyUsage", .eku = "clientAuth" },
    { "S-09 an EKU by its number", SCEP_REFUSED, "1.3.6.1.4.1.311.20.2.2", .unknown = true,
      .old_eku = "clientAuth", .eku = "clientAuth,1.3.6.1.4.1.311.20.2.2" },
    { "the same EKU as an unknown certificate's", SCEP_OK, .unknown = true,
      .old_eku = "clientAuth,serverAuth", .eku = "serverAuth,clientAuth" },
    { "a narrower EKU than an unknown certificate's", SCEP_OK, .unknown = true,
      .old_eku = "clientAuth,serverAuth", .eku = "clientAuth" },
    { "no EKU on either side", SCEP_OK, .unknown = true },
    { "the template of a known certificate has changed its EKU", SCEP_OK, .old_eku = "serverAuth",
      .eku = "clientAuth" },

    { "approval of enrolments lets renewals pass", SCEP_OK, .approval = "enrol",
      .template_approval = "enrol" },
    { "R-087 approval of everything", SCEP_OK, .approval = "always", .pends = true },
    { "R-087 the template demands it", SCEP_OK, .template_approval = "always", .pends = true },
};

static void put(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    if (!value)
        return;
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    FIXTURE_MUST(ext && X509_add_ext(cert, ext, -1));
    X509_EXTENSION_free(ext);
}

/* "OID=ASN1:…" */
static void put_text(X509 *cert, const char *text)
{
    char *oid, *value;
    X509_EXTENSION *ext;

    if (!text)
        return;
    oid = apr_pstrdup(p, text);
    value = strchr(oid, '=');
    *value++ = '\0';
    ext = X509V3_EXT_conf(NULL, NULL, oid, value);
    FIXTURE_MUST(ext && X509_add_ext(cert, ext, -1));
    X509_EXTENSION_free(ext);
}

static X509 *old_of(const renewed *r)
{
    const fixture_ca *ca = fixture_ca_get();
    X509 *old = fixture_cert(r->old_subject ? r->old_subject : "CN=device", fixture_key(1),
                             ca->root, ca->root_key, false, 0, p);

    put(old, NID_subject_alt_name, r->old_san);
    put(old, NID_ext_key_usage, r->old_eku);
    put_text(old, r->old_sid);
    fixture_resign(old, ca->root_key);
    return old;
}

static scep_csr *csr_of(const renewed *r)
{
    const fixture_request asked = { .subject = r->subject ? r->subject : "CN=device",
                                    .san = r->san,
                                    .challenge = r->challenge,
                                    .extensions = r->asked ? r->asked : r->sid };
    scep_csr *csr;

    assert_ok(scep_csr_read(&csr, fixture_csr(&asked, p), p));
    return csr;
}

static policy_verdict judge_row(const renewed *r)
{
    const conf_template template = {
        .name = "T",
        .days = 30,
        .key_usage = KU_DIGITAL_SIGNATURE,
        .minimum_rsa_bits = 2048,
        .extended_key_usage = r->eku,
        .allow_sid = r->allow_sid,
        .approval = r->template_approval ? r->template_approval : "no",
    };
    const policy_facts facts = {
        .message_type = r->message_type ? r->message_type : SCEP_RENEWAL_REQ,
        .csr = csr_of(r),
        .template = &template,
        .enforce_password = true,
        .minimum_hash_bits = 160,
        .approval = r->approval ? r->approval : "off",
        .old = r->without_old ? NULL : old_of(r),
        .old_known = !r->unknown,
        .renewal = !r->off,
        .renewal_by_pkcs_req = !r->off_for_pkcs,
        .other_names = r->other_names,
        .window_days = r->window,
        .now = 1000 * (apr_int64_t)DAY,
        .old_not_after = (1000 + (apr_int64_t)(r->left ? r->left : 20)) * DAY,
    };

    row = r->name;
    return policy_judge(&facts, p);
}

static void judge(int i)
{
    const renewed *r = &rows[i];
    policy_verdict v = judge_row(r);

    assert_judged(v, r->code, r->says, r->pends ? POLICY_PEND : POLICY_GRANT);
    ck_assert_msg(!v.uses_challenge, "%s: challenge", row);
}

static const char *name_of(int i)
{
    return i < ROWS(rows) ? rows[i].name : NULL;
}

START_TEST(a_renewal_is_judged)
{
    judge(_i);
}
END_TEST

START_TEST(R_100_R_102_Q_66_a_renewal_needs_no_challenge_and_a_stale_one_does_no_harm)
{
    judge_all("R-100");
    judge_all("R-102");
    judge_all("Q-66");
}
END_TEST

START_TEST(R_094_R_103_S_06_D_01_Q_65_a_PKCSReq_is_a_renewal_only_where_it_is_switched_on)
{
    judge_all("R-094");
    judge_all("R-103");
    judge_all("S-06");
    judge_all("D-01");
    judge_all("Q-65");
}
END_TEST

START_TEST(R_105_a_certificate_that_does_not_count_stands_for_nothing)
{
    judge_all("R-105");
}
END_TEST

START_TEST(R_107_a_renewal_comes_within_the_window)
{
    judge_all("R-107");
}
END_TEST

START_TEST(R_108_a_renewal_has_the_names_of_its_certificate)
{
    judge_all("R-108");
}
END_TEST

START_TEST(S_09_a_renewal_never_gives_more_than_there_was)
{
    judge_all("S-09");
}
END_TEST

/* Default deny: whatever the messageType, a certificate alone opens two of them. */
START_TEST(S_01_a_certificate_stands_for_17_and_19_only)
{
    for (int type = -1; type < 512; type++) {
        renewed r = { .name = apr_psprintf(p, "messageType %d", type),
                      .message_type = type ? type : 512 };
        bool granted = judge_row(&r).outcome == POLICY_GRANT;

        ck_assert_msg(granted == (type == 17 || type == 19), "%s", row);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_loop_test(cases, a_renewal_is_judged, 0, ROWS(rows));
    tcase_add_test(cases,
                   R_100_R_102_Q_66_a_renewal_needs_no_challenge_and_a_stale_one_does_no_harm);
    tcase_add_test(cases,
                   R_094_R_103_S_06_D_01_Q_65_a_PKCSReq_is_a_renewal_only_where_it_is_switched_on);
    tcase_add_test(cases, R_105_a_certificate_that_does_not_count_stands_for_nothing);
    tcase_add_test(cases, R_107_a_renewal_comes_within_the_window);
    tcase_add_test(cases, R_108_a_renewal_has_the_names_of_its_certificate);
    tcase_add_test(cases, S_09_a_renewal_never_gives_more_than_there_was);
    tcase_add_test(cases, S_01_a_certificate_stands_for_17_and_19_only);
}

int main(void)
{
    return run_suite("policy_renewal", add_tests);
}
