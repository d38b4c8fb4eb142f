/* Judgement: every row is a request and what is said of it. */
#include "policy_suite.h"

#include "template.h"

#include <apr_strings.h>
#include <openssl/rsa.h>
#include <string.h>

#define SID_EXTENSION "1.3.6.1.4.1.311.25.2=ASN1:UTF8String:S-1-5-21-1-2-3-500"

/* subjectAltName: URI:tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-500 */
#define SID_URI                                                    \
    "3031862F7461673A6D6963726F736F66742E636F6D2C323032322D30392D" \
    "31343A7369643A532D312D352D32312D312D353030"
/* DNS:a, URI:TAG:Microsoft.com,2022-09-14:SID:S-1-5-21-1-500 */
#define SID_URI_SECOND                                             \
    "3034820161862F5441473A4D6963726F736F66742E636F6D2C323032322D" \
    "30392D31343A5349443A532D312D352D32312D312D353030"

static const conf_template plain = {
    .name = "T",
    .days = 30,
    .key_usage = KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT,
    .minimum_rsa_bits = 2048,
    .approval = "no",
};

/* How a row differs from a good request with a good challenge. */
typedef struct judged {
    const char *name;
    fixture_request r;
    scep_code code; /* SCEP_OK: granted */
    const char *says;
    int message_type;   /* 0: 19 */
    bool stale;         /* the challenge is not good */
    bool open;          /* EnforcePassword off */
    bool subject;       /* subject_required */
    conf_sid sid;       /* allow_sid */
    const char *doubt;  /* of the directory; NULL: it was not asked */
    int rsa_bits;       /* minimum_rsa_bits; 0: 2048 */
    uint32_t key_usage; /* of the template; 0: both */
    int hash_bits;      /* MinimumHash; 0: SHA-1 */
    const EVP_MD *(*digest)(void);
    const char *curve; /* an EC key */
    int bits;          /* an RSA key of another size than 2048 */
    void (*spoil)(X509_REQ *req);
    bool legacy;                              /* LegacyAlgorithms */
    const char *approval, *template_approval; /* NULL: none */
} judged;

static char rdns_32[256], rdns_33[256];
static char alt_64[2048], alt_65[2048], alt_long[1200];

/* ---- subjects that text cannot say ---- */

static void put_cn(X509_REQ *req, int type, const char *bytes, int len)
{
    X509_NAME *name = X509_NAME_new();

    FIXTURE_MUST(name &&
                 X509_NAME_add_entry_by_NID(name, NID_commonName, type,
                                            (const unsigned char *)bytes, len, -1, 0) &&
                 X509_REQ_set_subject_name(req, name));
    X509_NAME_free(name);
}

static void cn_with_nul(X509_REQ *req)
{
    put_cn(req, V_ASN1_UTF8STRING, "a.com\0.evil", 11);
}

static void cn_with_newline(X509_REQ *req)
{
    put_cn(req, V_ASN1_UTF8STRING, "a\nverdict=issued", 16);
}

static void cn_with_delete(X509_REQ *req)
{
    put_cn(req, V_ASN1_PRINTABLESTRING, "a\x7f", 2);
}

static void cn_with_c1(X509_REQ *req)
{
    put_cn(req, V_ASN1_UTF8STRING, "a\xc2\x9b[1m", 6);
}

static void cn_with_wide_nul(X509_REQ *req)
{
    put_cn(req, V_ASN1_BMPSTRING, "\0a\0\0\0b", 6);
}

static char long_text[1026];

static void cn_of_1024(X509_REQ *req)
{
    put_cn(req, V_ASN1_UTF8STRING, long_text, 1024);
}

static void cn_of_1025(X509_REQ *req)
{
    put_cn(req, V_ASN1_UTF8STRING, long_text, 1025);
}

static void cn_in_german(X509_REQ *req)
{
    put_cn(req, V_ASN1_UTF8STRING, "Ger\xc3\xa4t", 6);
}

/* A name of given bytes: OpenSSL's own functions make none like these. */
static void put_name_der(X509_REQ *req, const char *der, long len)
{
    const unsigned char *at = (const unsigned char *)der;
    X509_NAME *name = d2i_X509_NAME(NULL, &at, len);

    FIXTURE_MUST(name && X509_REQ_set_subject_name(req, name));
    X509_NAME_free(name);
}

static void empty_rdn(X509_REQ *req)
{
    put_name_der(req, "\x30\x02\x31\x00", 4);
}

static void empty_rdn_behind_a_cn(X509_REQ *req)
{
    put_name_der(req, "\x30\x0e\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01\x61\x31\x00", 16);
}

#define GOOD .code = SCEP_OK
/* RSASSA-PSS keeps its digest in the parameters of the algorithm. */
static void sign_pss(X509_REQ *req, const EVP_MD *md)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *key = NULL;

    FIXTURE_MUST(ctx && EVP_DigestSignInit(ctx, &key, md, NULL, fixture_key(0)) == 1 &&
                 EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) == 1 &&
                 X509_REQ_sign_ctx(req, ctx) > 0);
    EVP_MD_CTX_free(ctx);
}

static void pss_sha1(X509_REQ *req)
{
    sign_pss(req, EVP_sha1());
}

static void pss_sha384(X509_REQ *req)
{
    sign_pss(req, EVP_sha384());
}

#define ASKED .r = { .challenge = "C" }
#define ASKS(...) .r = { .challenge = "C", __VA_ARGS__ }

static const judged rows[] = {
    { "R-084 a good challenge", ASKED, GOOD },
    { "R-084 a challenge that is not good", ASKED, SCEP_CHALLENGE, "unknown, used or expired",
      .stale = true },
    { "R-086 no challenge", .r = { 0 }, SCEP_CHALLENGE_ABSENT, "no challenge" },
    { "Q-69 an empty challenge is none", .r = { .challenge = "" }, SCEP_CHALLENGE_ABSENT,
      "no challenge" },
    { "Q-68 no challenge where none is enforced", .r = { 0 }, GOOD, .open = true },
    { "Q-68 a stale challenge where none is enforced", ASKED, GOOD, .open = true, .stale = true },
    { "S-01 messageType 3", ASKED, SCEP_BAD_REQUEST, "messageType 3", .message_type = 3 },
    { "S-01 messageType 17 without an old certificate", ASKED, SCEP_BAD_REQUEST,
      "without a certificate", .message_type = 17 },
    { "S-01 messageType 17 where no challenge is enforced", .r = { 0 }, SCEP_BAD_REQUEST,
      "without a certificate", .message_type = 17, .open = true },
    { "S-01 messageType 18", ASKED, SCEP_BAD_REQUEST, "messageType 18", .message_type = 18 },
    { "S-01 messageType 20", ASKED, SCEP_BAD_REQUEST, "messageType 20", .message_type = 20 },
    { "S-01 messageType 275, which is 19 in eight bits", ASKED, SCEP_BAD_REQUEST, "messageType 275",
      .message_type = 275 },
    { "S-01 messageType 18 where no challenge is enforced", .r = { 0 }, SCEP_BAD_REQUEST,
      "messageType 18", .message_type = 18, .open = true },

    { "R-083 neither subject nor SAN", ASKS(.subject = ""), SCEP_BAD_SUBJECT, "neither" },
    { "Q-72 unstructuredName and serialNumber",
      ASKS(.subject = "CN=a,unstructuredName=r1.example,serialNumber=FTX1"), GOOD },
    { "Q-72 a placeholder that no MDM replaced", ASKS(.subject = "CN=$UDID"), GOOD },
    { "R-083 Q-72 a SAN alone", ASKS(.subject = "", .san = "DNS:a.example"), GOOD },
    { "R-083 a SAN alone where a subject is required", ASKS(.subject = "", .san = "DNS:a.example"),
      SCEP_BAD_SUBJECT, "requires", .subject = true },
    { "a subject where it is required", ASKED, GOOD, .subject = true },
    { "S-13 NUL in the CN", ASKED, SCEP_BAD_SUBJECT, "control", .spoil = cn_with_nul },
    { "S-13 NUL in a BMPString", ASKED, SCEP_BAD_SUBJECT, "control", .spoil = cn_with_wide_nul },
    { "S-13 a new line", ASKED, SCEP_BAD_SUBJECT, "control", .spoil = cn_with_newline },
    { "S-13 DEL", ASKED, SCEP_BAD_SUBJECT, "control", .spoil = cn_with_delete },
    { "S-13 a C1 control", ASKED, SCEP_BAD_SUBJECT, "control", .spoil = cn_with_c1 },
    { "an umlaut", ASKED, GOOD, .spoil = cn_in_german },
    { "S-13 an empty RDN", ASKED, SCEP_BAD_SUBJECT, "empty part", .spoil = empty_rdn },
    { "S-13 an empty RDN behind another", ASKED, SCEP_BAD_SUBJECT, "empty part",
      .spoil = empty_rdn_behind_a_cn },
    { "S-13 two CNs", ASKS(.subject = "CN=a,CN=b"), GOOD },
    { "1024 bytes", ASKED, GOOD, .spoil = cn_of_1024 },
    { "S-13 1025 bytes", ASKED, SCEP_BAD_SUBJECT, "1024", .spoil = cn_of_1025 },
    { "32 RDNs", ASKS(.subject = rdns_32), GOOD },
    { "S-13 33 RDNs", ASKS(.subject = rdns_33), SCEP_BAD_SUBJECT, "32" },

    { "names of every kind",
      ASKS(.san = "DNS:a.example,email:a@a.example,URI:https://a.example/x,IP:192.0.2.1,"
                  "IP:2001:db8::1,RID:1.2.3,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:a@a.example"),
      GOOD },
    { "S-44 64 names", ASKS(.san = alt_64), GOOD },
    { "S-44 65 names", ASKS(.san = alt_65), SCEP_BAD_SUBJECT, "64" },
    { "S-44 a name of over 1024 bytes", ASKS(.san = alt_long), SCEP_BAD_SUBJECT, "1024" },
    { "a SAN that is no list", ASKS(.extensions = "2.5.29.17=DER:0500"), SCEP_BAD_SUBJECT,
      "cannot be read" },
    { "an empty SAN", ASKS(.subject = "", .extensions = "2.5.29.17=DER:3000"), SCEP_BAD_SUBJECT,
      "empty" },
    { "NUL in a DNS name", ASKS(.extensions = "2.5.29.17=DER:30058203610062"), SCEP_BAD_SUBJECT,
      "control" },
    { "a new line in a URI", ASKS(.extensions = "2.5.29.17=DER:30048602610A"), SCEP_BAD_SUBJECT,
      "control" },
    { "an empty DNS name", ASKS(.extensions = "2.5.29.17=DER:30028200"), SCEP_BAD_SUBJECT,
      "1 to 1024" },
    { "an IP address of five bytes", ASKS(.extensions = "2.5.29.17=DER:300787050102030405"),
      SCEP_BAD_SUBJECT, "IP address" },
    { "an EDI party name", ASKS(.extensions = "2.5.29.17=DER:3007A505A1030C0161"), SCEP_BAD_SUBJECT,
      "kind" },
    { "NUL in a UPN",
      ASKS(.extensions = "2.5.29.17=DER:3013A011060A2B060104018237140203A0030C0100"),
      SCEP_BAD_SUBJECT, "control" },
    { "a directory name with NUL",
      ASKS(.extensions = "2.5.29.17=DER:3012A410300E310C300A06035504030C03610062"),
      SCEP_BAD_SUBJECT, "control" },

    { "S-12 the SID extension", ASKS(.extensions = SID_EXTENSION), SCEP_REFUSED, "SID" },
    { "S-12 the SID extension, allowed", ASKS(.extensions = SID_EXTENSION), GOOD, .sid = true },
    { "S-12 the SID extension, which the directory confirms", ASKS(.extensions = SID_EXTENSION),
      GOOD, .sid = CONF_SID_DIRECTORY, .doubt = "" },
    { "S-12 the SID URI, which the directory confirms",
      ASKS(.extensions = "2.5.29.17=DER:" SID_URI), GOOD, .sid = CONF_SID_DIRECTORY, .doubt = "" },
    { "S-12 the SID extension, which the directory does not confirm",
      ASKS(.extensions = SID_EXTENSION), SCEP_REFUSED, "claimed, and it is another's",
      .sid = CONF_SID_DIRECTORY, .doubt = "it is another's" },
    { "S-12 the SID extension, and the directory was not asked", ASKS(.extensions = SID_EXTENSION),
      SCEP_REFUSED, "SID", .sid = CONF_SID_DIRECTORY },
    { "S-12 the SID extension, confirmed, where none is allowed", ASKS(.extensions = SID_EXTENSION),
      SCEP_REFUSED, "SID", .doubt = "" },
    { "no SID, and the directory was not asked", ASKS(.subject = "CN=a"), GOOD,
      .sid = CONF_SID_DIRECTORY },
    { "S-12 the SID URI", ASKS(.extensions = "2.5.29.17=DER:" SID_URI), SCEP_REFUSED, "SID" },
    { "S-12 the SID URI in capitals behind a DNS name",
      ASKS(.extensions = "2.5.29.17=DER:" SID_URI_SECOND), SCEP_REFUSED, "SID" },
    { "the SID URI, allowed", ASKS(.extensions = "2.5.29.17=DER:" SID_URI), GOOD, .sid = true },
    { "a URI of another tag", ASKS(.san = "URI:tag:microsoft.com"), GOOD },
    { "S-12 the SID as an otherName", ASKS(.san = "otherName:1.3.6.1.4.1.311.25.2.1;UTF8:S-1-5-21"),
      SCEP_REFUSED, "SID" },
    { "an otherName beside the SID's arc", ASKS(.san = "otherName:1.3.6.1.4.1.311.25.20;UTF8:x"),
      GOOD },
    { "S-12 what is not copied is not judged",
      ASKS(.extensions = "basicConstraints=critical,CA:TRUE;extendedKeyUsage=anyExtendedKeyUsage;"
                         "2.5.29.30=DER:3007A0053003820161",
           .key_usage = KU_KEY_CERT_SIGN),
      GOOD },

    { "a key below the template's", ASKED, SCEP_REFUSED, "2048 bits; template T asks for 2049",
      .rsa_bits = 2049 },
    { "a key of 1024 bits", ASKED, SCEP_REFUSED, "1024 bits", .bits = 1024 },
    { "a key of 1024 bits, allowed", ASKED, GOOD, .bits = 1024, .rsa_bits = 1024 },
    { "an EC key", ASKED, GOOD, .curve = "P-256" },
    { "an EC key for encipherment only", ASKED, SCEP_REFUSED, "EC key", .curve = "P-256",
      .key_usage = KU_KEY_ENCIPHERMENT },
    { "an RSA key for encipherment only", ASKED, GOOD, .key_usage = KU_KEY_ENCIPHERMENT },
    { "SHA-1 at the floor", ASKED, GOOD, .digest = EVP_sha1 },
    { "SHA-1 below the floor", ASKED, SCEP_BAD_ALG, "160 bits; SCEPMinimumHash asks for 256",
      .digest = EVP_sha1, .hash_bits = 256 },
    { "SHA-256 at the floor", ASKED, GOOD, .hash_bits = 256 },
    { "PSS with SHA-1 below the floor", ASKED, SCEP_BAD_ALG, "160 bits", .hash_bits = 256,
      .spoil = pss_sha1 },
    { "PSS with SHA-1 at the floor", ASKED, GOOD, .spoil = pss_sha1 },
    { "PSS with SHA-384 at the floor", ASKED, GOOD, .hash_bits = 384, .spoil = pss_sha384 },
    { "PSS with SHA-384 below the floor", ASKED, SCEP_BAD_ALG, "384 bits", .hash_bits = 512,
      .spoil = pss_sha384 },
    { "MD5", ASKED, SCEP_BAD_ALG, "128 bits", .digest = EVP_md5 },
    { "MD5 with LegacyAlgorithms", ASKED, GOOD, .digest = EVP_md5, .legacy = true },
    { "SHA-1 below the floor with LegacyAlgorithms", ASKED, SCEP_BAD_ALG, "160 bits",
      .digest = EVP_sha1, .hash_bits = 256, .legacy = true },
    { "R-087 Q-77 approval", ASKED, GOOD, .approval = "enrol" },
    { "R-087 approval of everything", ASKED, GOOD, .approval = "always" },
    { "R-087 approval that the template demands", ASKED, GOOD, .template_approval = "enrol" },
    { "R-087 approval of everything that the template demands", ASKED, GOOD,
      .template_approval = "always" },
    { "R-087 approval where no challenge is enforced", .r = { 0 }, GOOD, .approval = "enrol",
      .open = true },
    { "R-086 approval instead of a challenge", .r = { 0 }, SCEP_CHALLENGE_ABSENT, "no challenge",
      .approval = "always" },
    { "approval of what is refused", ASKED, SCEP_CHALLENGE, "unknown", .approval = "always",
      .stale = true },
    { "SHA-512 on P-384", ASKED, GOOD, .digest = EVP_sha512, .curve = "P-384", .hash_bits = 512 },
};

static policy_verdict judge_row(const judged *j)
{
    fixture_request r = j->r;
    conf_template template = plain;
    policy_facts facts = { .template = &template };
    scep_csr csr = { 0 };
    scep_bytes der;
    const unsigned char *at;
    X509_REQ *req;

    row = j->name;
    r.csr_digest = j->digest ? j->digest() : NULL;
    if (j->curve || j->bits)
        r.key = fixture_key_make(j->bits, j->curve, p);
    der = fixture_csr(&r, p);
    at = der.data;
    /* Read here and not by scep_csr_read(), which refuses some of these before policy sees them. */
    req = scep_X509_REQ(p, d2i_X509_REQ(NULL, &at, (long)der.len));
    ck_assert_ptr_nonnull(req);
    csr.key = X509_REQ_get0_pubkey(req);
    csr.extensions = scep_X509_EXTENSIONS(p, X509_REQ_get_extensions(req));
    csr.challenge = scep_bytes_of(r.challenge);
    if (j->spoil)
        j->spoil(req);
    csr.subject = X509_REQ_get_subject_name(req);
    X509_REQ_get0_signature(req, NULL, &csr.signature);
    template.allow_sid = j->sid;
    facts.sid_doubt = j->doubt;
    template.subject_required = j->subject;
    template.minimum_rsa_bits = j->rsa_bits ? j->rsa_bits : 2048;
    template.key_usage = j->key_usage ? j->key_usage : plain.key_usage;
    facts.csr = &csr;
    facts.message_type = j->message_type ? j->message_type : SCEP_PKCS_REQ;
    facts.enforce_password = !j->open;
    facts.challenge_good = !j->stale;
    facts.minimum_hash_bits = j->hash_bits ? j->hash_bits : 160;
    facts.legacy = j->legacy;
    facts.approval = j->approval ? j->approval : "off";
    template.approval = j->template_approval ? j->template_approval : "no";
    facts.renewal = facts.renewal_by_pkcs_req = true;
    return policy_judge(&facts, p);
}

static void judge(int i)
{
    const judged *j = &rows[i];
    policy_verdict v = judge_row(j);

    assert_judged(v, j->code, j->says,
                  j->approval || j->template_approval ? POLICY_PEND : POLICY_GRANT);
    ck_assert_msg(v.uses_challenge == (j->code == SCEP_OK && !j->open), "%s: challenge", row);
}

static const char *name_of(int i)
{
    return i < ROWS(rows) ? rows[i].name : NULL;
}

START_TEST(a_request_is_judged)
{
    judge(_i);
}
END_TEST

START_TEST(R_083_a_request_has_a_subject_or_a_san)
{
    judge_all("R-083");
}
END_TEST

START_TEST(R_084_a_challenge_has_to_be_good)
{
    judge_all("R-084");
}
END_TEST

START_TEST(R_086_without_a_challenge_nothing_goes_and_nothing_waits)
{
    judge_all("R-086");
}
END_TEST

START_TEST(R_087_what_needs_approval_waits)
{
    judge_all("R-087");
}
END_TEST

START_TEST(Q_68_a_challenge_that_nobody_asked_for_is_ignored)
{
    judge_all("Q-68");
}
END_TEST

START_TEST(Q_69_an_empty_challenge_is_none)
{
    judge_all("Q-69");
}
END_TEST

START_TEST(Q_72_odd_subjects_are_taken)
{
    judge_all("Q-72");
}
END_TEST

START_TEST(Q_77_a_manual_endpoint_lets_requests_wait)
{
    judge_all("Q-77");
}
END_TEST

START_TEST(S_12_nothing_is_smuggled_in_by_extensions)
{
    judge_all("S-12");
}
END_TEST

START_TEST(S_13_tricks_with_the_subject_are_refused)
{
    judge_all("S-13");
}
END_TEST

START_TEST(S_44_names_are_counted)
{
    judge_all("S-44");
}
END_TEST

/* Default deny: with each messageType there is, and no challenge, nothing is granted. */
START_TEST(S_01_no_message_type_goes_without_a_challenge)
{
    for (int type = 0; type < 256; type++) {
        judged j = { .name = apr_psprintf(p, "S-01 messageType %d", type),
                     .message_type = type ? type : -1 };

        ck_assert_msg(judge_row(&j).outcome == POLICY_DENY, "%s", row);
    }
}
END_TEST

START_TEST(the_key_usage_picks_the_template)
{
    static const conf_template s = { .name = "S" }, e = { .name = "E" }, g = { .name = "G" };
    static const struct {
        uint32_t asked;
        const conf_template *gets;
    } picks[] = {
        { KU_DIGITAL_SIGNATURE, &s },
        { KU_KEY_ENCIPHERMENT, &e },
        { KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, &g },
        { 0, &g },
        { KU_KEY_AGREEMENT, &g },
        { KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION, &g },
        { KU_KEY_CERT_SIGN, &g },
    };
    conf_authority a = { .templates = apr_array_make(p, 3, sizeof(const conf_template *)) };
    scep_settings settings = { 0 };

    APR_ARRAY_PUSH(a.templates, const conf_template *) = &g;
    APR_ARRAY_PUSH(a.templates, const conf_template *) = &s;
    APR_ARRAY_PUSH(a.templates, const conf_template *) = &e;
    assert_ok(scep_settings_set(&settings, SCEP_SET_SignatureTemplate, "S", p));
    assert_ok(scep_settings_set(&settings, SCEP_SET_EncryptionTemplate, "E", p));
    ck_assert_ptr_null(template_pick(&a, &settings, 0)); /* the default is not there */
    assert_ok(scep_settings_set(&settings, SCEP_SET_GeneralPurposeTemplate, "G", p));
    for (int i = 0; i < ROWS(picks); i++)
        ck_assert_str_eq(template_pick(&a, &settings, picks[i].asked)->name, picks[i].gets->name);
}
END_TEST

static void prepare(void)
{
    memset(long_text, 'a', sizeof(long_text) - 1);
    for (int i = 0; i < 33; i++) {
        if (i < 32)
            strcat(rdns_32, i ? ",OU=x" : "OU=x");
        strcat(rdns_33, i ? ",OU=x" : "OU=x");
    }
    for (int i = 0; i < 65; i++) {
        if (i < 64)
            strcat(alt_64, i ? ",DNS:a.example" : "DNS:a.example");
        strcat(alt_65, i ? ",DNS:a.example" : "DNS:a.example");
    }
    strcpy(alt_long, "DNS:");
    memset(alt_long + 4, 'a', 1025);
}

static void add_tests(TCase *cases)
{
    prepare();
    tcase_add_loop_test(cases, a_request_is_judged, 0, ROWS(rows));
    tcase_add_test(cases, R_083_a_request_has_a_subject_or_a_san);
    tcase_add_test(cases, R_084_a_challenge_has_to_be_good);
    tcase_add_test(cases, R_086_without_a_challenge_nothing_goes_and_nothing_waits);
    tcase_add_test(cases, R_087_what_needs_approval_waits);
    tcase_add_test(cases, Q_68_a_challenge_that_nobody_asked_for_is_ignored);
    tcase_add_test(cases, Q_69_an_empty_challenge_is_none);
    tcase_add_test(cases, Q_72_odd_subjects_are_taken);
    tcase_add_test(cases, Q_77_a_manual_endpoint_lets_requests_wait);
    tcase_add_test(cases, S_12_nothing_is_smuggled_in_by_extensions);
    tcase_add_test(cases, S_13_tricks_with_the_subject_are_refused);
    tcase_add_test(cases, S_44_names_are_counted);
    tcase_add_test(cases, S_01_no_message_type_goes_without_a_challenge);
    tcase_add_test(cases, the_key_usage_picks_the_template);
}

int main(void)
{
    return run_suite("policy", add_tests);
}
