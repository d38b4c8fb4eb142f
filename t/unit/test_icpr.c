/* ICPR: what is asked, byte by byte, and what every kind of answer means. The call itself, against
 * a real domain controller: t/80-adcs-rpc.t. */
#include "suite.h"

#include "icpr.h"

#include <apr_strings.h>
#include <string.h>

/* ---- an answer by hand ---- */

static void add16(ndr_out *t, unsigned value)
{
    const unsigned char bytes[] = { (unsigned char)value, (unsigned char)(value >> 8) };

    ndr_put_raw(t, (scep_bytes){ bytes, 2 });
}

static void add32(ndr_out *t, uint32_t value)
{
    add16(t, value & 0xFFFF);
    add16(t, value >> 16);
}

static void add_blob(ndr_out *t, scep_bytes b)
{
    add32(t, (uint32_t)b.len);
    add32(t, b.len ? 0x20000 : 0);
    if (!b.len)
        return;
    add32(t, (uint32_t)b.len);
    ndr_put_raw(t, b);
    while (t->len % 4)
        ndr_put_raw(t, (scep_bytes){ (const unsigned char *)"\xEE", 1 });
}

static scep_bytes wide(const char *ascii)
{
    ndr_out t = { .p = p };

    for (; *ascii; ascii++)
        add16(&t, (unsigned char)*ascii);
    add16(&t, 0);
    return ndr_view(&t);
}

static scep_bytes answer_of(uint32_t id, uint32_t disposition, scep_bytes chain, scep_bytes cert,
                            const char *message, uint32_t result)
{
    const scep_bytes nothing = { NULL, 0 };
    ndr_out t = { .p = p };

    add32(&t, id);
    add32(&t, disposition);
    add_blob(&t, chain);
    add_blob(&t, cert);
    add_blob(&t, message ? wide(message) : nothing);
    add32(&t, result);
    return ndr_view(&t);
}

static scep_bytes some_cert(void)
{
    static const unsigned char der[] = { 0x30, 3, 2, 1, 5 };

    return (scep_bytes){ der, sizeof(der) };
}

/* ---- what is asked ---- */

START_TEST(a_request_is_written_as_it_should_be)
{
    static const char attributes[] = "CertificateTemplate:T\n";
    const icpr_request request = { ICPR_PKCS7, scep_bytes_of("der"), "T" };
    ndr_out wanted = { .p = p };
    scep_bytes stub;

    add32(&wanted, 0x300);
    add32(&wanted, 0x20000);
    add32(&wanted, 3);
    add32(&wanted, 0);
    add32(&wanted, 3);
    ndr_put_raw(&wanted, wide("CA"));
    add16(&wanted, 0); /* to the next number */
    add32(&wanted, 0); /* a new one */
    add32(&wanted, 2 * (sizeof(attributes)));
    add32(&wanted, 0x20004);
    add32(&wanted, 2 * (sizeof(attributes)));
    ndr_put_raw(&wanted, wide(attributes));
    while (wanted.len % 4)
        add16(&wanted, 0);
    add32(&wanted, 3);
    add32(&wanted, 0x20008);
    add32(&wanted, 3);
    ndr_put_raw(&wanted, scep_bytes_of("der"));
    row = "request";
    assert_ok(icpr_put_request(&stub, "CA", 0, &request, p));
    assert_bytes(stub, ndr_view(&wanted));
}
END_TEST

START_TEST(a_question_has_neither_request_nor_attributes)
{
    ndr_out wanted = { .p = p };
    scep_bytes stub;

    add32(&wanted, 0);
    add32(&wanted, 0x20000);
    add32(&wanted, 3);
    add32(&wanted, 0);
    add32(&wanted, 3);
    ndr_put_raw(&wanted, wide("CA"));
    add16(&wanted, 0);
    add32(&wanted, 77);
    for (int i = 0; i < 4; i++)
        add32(&wanted, 0);
    row = "question";
    assert_ok(icpr_put_request(&stub, "CA", 77, NULL, p));
    assert_bytes(stub, ndr_view(&wanted));
}
END_TEST

START_TEST(names_that_would_say_more_than_a_name_are_refused)
{
    static char longest[ICPR_TEMPLATE_MOST + 1], longer[ICPR_TEMPLATE_MOST + 2];
    struct {
        const char *name;
        bool good;
    } rows[] = {
        { "Device", true },
        { "Ger\xc3\xa4te", true },
        { longest, true },
        { longer, false },
        { "", false },
        { NULL, false },
        { "Device\nSAN:dns=dc1.corp.test", false },
        { "Device\r", false },
        { "a\tb", false },
        { "a\x7f", false },
        { "\xff", false },
    };
    scep_bytes stub;

    memset(longest, 'x', sizeof(longest) - 1);
    memset(longer, 'x', sizeof(longer) - 1);
    for (int i = 0; i < ROWS(rows); i++) {
        icpr_request request = { ICPR_PKCS10, scep_bytes_of("der"), rows[i].name };
        const scep_code wanted = rows[i].good ? SCEP_OK : SCEP_CONFIG;

        row = rows[i].name ? rows[i].name : "NULL";
        assert_code(wanted, icpr_put_request(&stub, "CA", 0, &request, p));
        request.template = "T";
        assert_code(wanted, icpr_put_request(&stub, rows[i].name, 0, &request, p));
        assert_code(wanted, icpr_put_request(&stub, rows[i].name, 5, NULL, p));
    }
}
END_TEST

START_TEST(a_request_has_a_size)
{
    static unsigned char large[ICPR_REQUEST_MOST + 1];
    icpr_request request = { ICPR_PKCS10, { large, ICPR_REQUEST_MOST }, "T" };
    scep_bytes stub;

    row = "the largest";
    assert_ok(icpr_put_request(&stub, "CA", 0, &request, p));
    ck_assert_uint_lt(stub.len, DCERPC_STUB_MOST);
    request.der.len++;
    assert_code(SCEP_CONFIG, icpr_put_request(&stub, "CA", 0, &request, p));
    request.der.len = 0;
    assert_code(SCEP_CONFIG, icpr_put_request(&stub, "CA", 0, &request, p));
}
END_TEST

/* ---- what is answered ---- */

static const struct {
    const char *name;
    uint32_t result, disposition;
    const char *message;
    bool cert;
    icpr_outcome outcome;
    uint32_t hresult;
    const char *reason; /* NULL: none at all */
} judged[] = {
    { "issued", 0, 3, "Issued", true, ICPR_ISSUED, 0, NULL },
    { "issued, but nothing came", 0, 3, "Issued", false, ICPR_UNAVAILABLE, 0, "sent none" },
    { "issued, but the call failed", 0x80004005, 3, "", true, ICPR_UNAVAILABLE, 0x80004005,
      "failed without a reason" },
    { "under submission", 0, 5, "Taken Under Submission", false, ICPR_PENDING, 0, "holds" },
    { "denied", 0, 2, "Denied", false, ICPR_DENIED, 0, "the CA denied the request" },
    { "denied, the words name why", 0, 2, "Denied by Policy Module  0x80094811, The public key",
      false, ICPR_DENIED, 0x80094811, "shorter than the template wants" },
    { "denied, the words name no HRESULT", 0, 2, "0x8 0x80 0x800948111 of 0x8", false, ICPR_DENIED,
      0, "the CA denied the request" },
    { "denied, whatever the words' HRESULT else means", 0, 2, "0x80094004", false, ICPR_DENIED,
      0x80094004, "no such request" },
    { "denied by HRESULT", 0, 0x80094012, "no", false, ICPR_DENIED, 0x80094012, "Read and Enroll" },
    { "denied by result", 0x80094800, 0, NULL, false, ICPR_DENIED, 0x80094800,
      "does not offer the template" },
    { "denied by an administrator", 0, 0x80094014, "", false, ICPR_DENIED, 0x80094014,
      "administrator" },
    { "denied by an unknown one of the CA's", 0, 0x800948fe, "", false, ICPR_DENIED, 0x800948fe,
      "reason of its own" },
    { "cannot be decoded", 0, 0x8009310b, "", false, ICPR_DENIED, 0x8009310b,
      "cannot read the request" },
    { "issued by other means", 0, 4, "", false, ICPR_DENIED, 0, "other means" },
    { "revoked since", 0, 6, "", true, ICPR_DENIED, 0, "revoked" },
    { "incomplete", 0, 0, "", false, ICPR_UNAVAILABLE, 0, "did not finish" },
    { "an error", 0, 1, "", false, ICPR_UNAVAILABLE, 0, "did not finish" },
    { "a disposition of no meaning", 0, 7, "", false, ICPR_UNAVAILABLE, 7, "not known here" },
    { "suspended", 0, 0x80094006, "", false, ICPR_UNAVAILABLE, 0x80094006, "suspended" },
    { "access denied", 0x80070005, 0, "", false, ICPR_UNAVAILABLE, 0x80070005,
      "may not ask this CA" },
    { "wrong name of the CA", 0x80070057, 0, "", false, ICPR_UNAVAILABLE, 0x80070057,
      "configured name" },
    { "switched off", 0x800706ba, 0, "", false, ICPR_UNAVAILABLE, 0x800706ba,
      "IF_NORPCICERTREQUEST" },
    { "an unknown failure", 0x8abcdef0, 0, "", false, ICPR_UNAVAILABLE, 0x8abcdef0,
      "not known here" },
    { "no such request, of a new one", 0, 0x80094004, "", false, ICPR_UNAVAILABLE, 0x80094004,
      "no such request" },
};

START_TEST(result_and_disposition_are_judged_together)
{
    for (int i = 0; i < ROWS(judged); i++) {
        const scep_bytes nothing = { NULL, 0 };
        const scep_bytes cert = judged[i].cert ? some_cert() : nothing;
        const scep_bytes chain = judged[i].cert ? scep_bytes_of("chain") : nothing;
        icpr_answer a;

        row = judged[i].name;
        assert_ok(icpr_get_answer(
            &a,
            answer_of(9, judged[i].disposition, chain, cert, judged[i].message, judged[i].result),
            0, p));
        ck_assert_msg(a.outcome == judged[i].outcome, "%s: %d", row, a.outcome);
        ck_assert_msg(a.hresult == judged[i].hresult, "%s: 0x%08x", row, a.hresult);
        ck_assert_msg(a.request_id == 9, "%s: id %u", row, a.request_id);
        ck_assert_msg(judged[i].reason ? a.reason && strstr(a.reason, judged[i].reason) : !a.reason,
                      "%s: \"%s\"", row, a.reason ? a.reason : "");
        if (a.outcome == ICPR_ISSUED) {
            assert_bytes(a.cert, some_cert());
            assert_bytes(a.chain, scep_bytes_of("chain"));
        } else {
            ck_assert_msg(!a.cert.len && !a.chain.len, "%s: a certificate all the same", row);
        }
    }
}
END_TEST

START_TEST(a_number_is_asked_for_and_answered)
{
    const scep_bytes nothing = { NULL, 0 };
    static const struct {
        const char *name;
        uint32_t asked, answered, disposition;
        icpr_outcome outcome;
    } rows[] = {
        { "held", 0, 7, 5, ICPR_PENDING },
        { "held without a number", 0, 0, 5, ICPR_UNAVAILABLE },
        { "still held", 7, 7, 5, ICPR_PENDING },
        { "still held, the number not repeated", 7, 0, 5, ICPR_PENDING },
        { "no such request", 7, 7, 0x80094004, ICPR_NONE },
        { "no such request, in other words", 7, 0, 0x80094002, ICPR_NONE },
    };
    icpr_answer a;

    for (int i = 0; i < ROWS(rows); i++) {
        row = rows[i].name;
        assert_ok(icpr_get_answer(
            &a, answer_of(rows[i].answered, rows[i].disposition, nothing, nothing, NULL, 0),
            rows[i].asked, p));
        ck_assert_msg(a.outcome == rows[i].outcome, "%s: %d", row, a.outcome);
        ck_assert_msg(!rows[i].asked || a.request_id == rows[i].asked, "%s", row);
    }
    row = "no such request, by the result";
    assert_ok(icpr_get_answer(&a, answer_of(7, 0, nothing, nothing, NULL, 0x80094004), 7, p));
    ck_assert_int_eq(a.outcome, ICPR_NONE);
    row = "another one's";
    assert_code(SCEP_UNAVAILABLE,
                icpr_get_answer(&a, answer_of(8, 3, nothing, some_cert(), NULL, 0), 7, p));
}
END_TEST

START_TEST(what_is_called_a_certificate_is_one_element)
{
    static const struct {
        const char *name;
        unsigned char der[6];
        size_t len;
    } rows[] = {
        { "a byte behind", { 0x30, 3, 2, 1, 5, 0 }, 6 },
        { "cut", { 0x30, 3, 2, 1 }, 4 },
        { "not a SEQUENCE", { 0x04, 3, 2, 1, 5 }, 5 },
        { "indefinite", { 0x30, 0x80, 2, 1, 0, 0 }, 6 },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        icpr_answer a;

        row = rows[i].name;
        assert_ok(icpr_get_answer(&a,
                                  answer_of(1, 3, (scep_bytes){ NULL, 0 },
                                            (scep_bytes){ rows[i].der, rows[i].len }, NULL, 0),
                                  0, p));
        ck_assert_msg(a.outcome == ICPR_UNAVAILABLE && !a.cert.len, "%s", row);
    }
}
END_TEST

START_TEST(an_answer_that_is_cut_or_lies_is_none)
{
    scep_bytes whole = answer_of(9, 3, scep_bytes_of("chain"), some_cert(), "Issued", 0);
    icpr_answer a;

    for (size_t len = 0; len < whole.len; len++) {
        const scep_bytes cut = { apr_pmemdup(p, whole.data, len + 1), len };

        row = apr_psprintf(p, "%lu bytes", (unsigned long)len);
        assert_code(SCEP_UNAVAILABLE, icpr_get_answer(&a, cut, 0, p));
    }
    for (size_t bit = 0; bit < 8 * whole.len; bit++) {
        unsigned char *data = apr_pmemdup(p, whole.data, whole.len);

        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        row = apr_psprintf(p, "bit %lu", (unsigned long)bit);
        if (icpr_get_answer(&a, (scep_bytes){ data, whole.len }, 0, p))
            continue;
        ck_assert_msg(a.said && (a.outcome == ICPR_ISSUED) == (a.cert.len > 0), "%s", row);
        ck_assert_msg(a.outcome == ICPR_ISSUED || a.reason, "%s", row);
    }
}
END_TEST

START_TEST(a_count_without_a_pointer_is_nothing)
{
    ndr_out t = { .p = p };
    icpr_answer a;

    add32(&t, 9);
    add32(&t, 5);
    for (int i = 0; i < 3; i++) {
        add32(&t, 0xFFFFFFFF);
        add32(&t, 0);
    }
    add32(&t, 0);
    row = "no pointer";
    assert_ok(icpr_get_answer(&a, ndr_view(&t), 0, p));
    ck_assert_int_eq(a.outcome, ICPR_PENDING);
    ck_assert_str_eq(a.said, "");
}
END_TEST

START_TEST(an_hresult_has_a_meaning)
{
    static const struct {
        uint32_t code;
        icpr_outcome outcome;
        const char *name;
    } rows[] = {
        { 0x80094001, ICPR_DENIED, "CERTSRV_E_BAD_REQUESTSUBJECT" },
        { 0x80094004, ICPR_NONE, "CERTSRV_E_PROPERTY_EMPTY" },
        { 0x80094009, ICPR_UNAVAILABLE, "CERTSRV_E_RESTRICTEDOFFICER" },
        { 0x8009400f, ICPR_UNAVAILABLE, "CERTSRV_E_NO_DB_SESSIONS" },
        { 0x80094011, ICPR_DENIED, "CERTSRV_E_ENROLL_DENIED" },
        { 0x80094809, ICPR_DENIED, "CERTSRV_E_SIGNATURE_POLICY_REQUIRED" },
        { 0x8009480a, ICPR_DENIED, "CERTSRV_E_SIGNATURE_COUNT" },
        { 0x80092013, ICPR_UNAVAILABLE, "CRYPT_E_REVOCATION_OFFLINE" },
        { 0x80093100, ICPR_DENIED, "CRYPT_E_ASN1_*" },
        { 0x80094fff, ICPR_DENIED, "CERTSRV_E_*" },
        { 0x80095000, ICPR_UNAVAILABLE, "" },
        { 0x80092fff, ICPR_UNAVAILABLE, "" },
        { 0, ICPR_UNAVAILABLE, "" },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        const icpr_hresult *found = icpr_hresult_find(rows[i].code);

        row = apr_psprintf(p, "0x%08x", rows[i].code);
        ck_assert_msg(found->outcome == rows[i].outcome, "%s: %d", row, found->outcome);
        ck_assert_msg(strcmp(found->name, rows[i].name) == 0, "%s: %s", row, found->name);
        ck_assert_msg(*found->text && !strchr(found->text, '\n'), "%s", row);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, a_request_is_written_as_it_should_be);
    tcase_add_test(cases, a_question_has_neither_request_nor_attributes);
    tcase_add_test(cases, names_that_would_say_more_than_a_name_are_refused);
    tcase_add_test(cases, a_request_has_a_size);
    tcase_add_test(cases, result_and_disposition_are_judged_together);
    tcase_add_test(cases, a_number_is_asked_for_and_answered);
    tcase_add_test(cases, what_is_called_a_certificate_is_one_element);
    tcase_add_test(cases, an_answer_that_is_cut_or_lies_is_none);
    tcase_add_test(cases, a_count_without_a_pointer_is_nothing);
    tcase_add_test(cases, an_hresult_has_a_meaning);
}

int main(void)
{
    return run_suite("icpr", add_tests);
}
