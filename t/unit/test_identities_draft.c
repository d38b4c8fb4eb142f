/* An RA from the templates of a CA elsewhere, which may hold, refuse or lose a request for it. */
#include "identities_room.h"
#include "store_room.h"

#include "certs.h"
#include "clock.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define REMOTES_MOST 16

/* What the CA elsewhere was asked, and what it does with the next questions: a letter for each.
 * i: issues, p: holds, d: denies, c: what is set up is wrong, C: and it may have been heard, l: its
 * answer is lost, g: it is lost for good, f: is not reached, s: issues from a request of its own;
 * behind the last one as the last one. */
static struct {
    const char *plan;
    int n;
    const char *template[REMOTES_MOST], *subject[REMOTES_MOST], *cookie[REMOTES_MOST];
    bool lost[REMOTES_MOST];
    unsigned char key[REMOTES_MOST][32];
} remote;

static const scep_err *remote_issue(connector_answer *out, const connector_ask *ask, apr_pool_t *p)
{
    const issued_cert *cert;
    const issue_ca *issuer;
    conf_template template = *ask->template;

    template.name = "any";
    SCEP_TRY(issue_ca_make(&issuer, life_ca.cert, life_ca.key, NULL, p));
    SCEP_TRY(issue_certificate(&cert, issuer, &template, ask->csr, p));
    out->der = cert->der;
    return NULL;
}

static const scep_err *remote_submit(connector_answer *out, connector *self,
                                     const connector_ask *ask, apr_pool_t *p)
{
    int n = remote.n++;
    char does = remote.plan[(size_t)n < strlen(remote.plan) ? (size_t)n : strlen(remote.plan) - 1];

    ck_assert_int_lt(n, REMOTES_MOST);
    ck_assert_uint_eq(strlen(ask->id), 16);
    ck_assert(deadline_left(ask->until) > 0);
    remote.template[n] = apr_pstrdup(room_pool, ask->template->ca_template);
    remote.subject[n] = scep_name_line(ask->csr->subject, room_pool);
    remote.cookie[n] = apr_pstrdup(room_pool, ask->cookie);
    remote.lost[n] = ask->lost;
    memcpy(remote.key[n], ask->csr->key_hash, 32);
    if (does == 'f')
        return scep_fail(p, UNAVAILABLE, "the CA is away");
    SCEP_TRY(ask->keep(ask->baton, "before", p));
    *out = (connector_answer){ .outcome = CONNECTOR_ISSUED, .asked = does == 'l' || does == 'C' };
    switch (does) {
    case 'l':
        return scep_fail(p, UNAVAILABLE, "no answer in time");
    case 'c':
    case 'C':
        return scep_fail(p, CONFIG, "it needs Read and Enroll");
    case 'p':
        out->outcome = CONNECTOR_PENDING;
        out->cookie = "held";
        out->reason = "request 5";
        return NULL;
    case 'd':
        out->outcome = CONNECTOR_DENIED;
        out->reason = "not this one";
        return NULL;
    case 'g':
        out->outcome = CONNECTOR_LOST;
        out->reason = "nothing to look for";
        return NULL;
    case 's':
        return scep_cert_der(&out->der, life_ca.cert, p);
    default:
        return remote_issue(out, ask, p);
    }
}

static identities_keeper *remote_keeper(const char *plan)
{
    identities_keeper *k;

    life_connector.remote = true;
    life_connector.submit = remote_submit;
    life_authority.timeout = 5;
    life_authority.ra_sign_template = "EnrollmentAgentOffline";
    life_authority.ra_decrypt_template = "CEPEncryption";
    memset(&remote, 0, sizeof(remote));
    remote.plan = plan;
    OK(identities_make(&k, &life_authority, &life_connector, NULL, room_pool));
    ck_assert_ptr_null(identities_now(k));
    return k;
}

static void expect_says(const scep_err *err, const char *words)
{
    room_expect(err, SCEP_CONFIG);
    ck_assert_msg(strstr(err->detail, words) != NULL, "%s", err->detail);
}

START_TEST(R_160_the_first_ra_is_made_from_the_templates_of_a_ca_elsewhere)
{
    identities_keeper *k = remote_keeper("i"), *later;
    const scep_ra *ra;

    OK(life_keep(k));
    ck_assert_int_eq(remote.n, 2);
    ck_assert_str_eq(remote.template[0], "EnrollmentAgentOffline");
    ck_assert_str_eq(remote.template[1], "CEPEncryption");
    ck_assert_str_eq(remote.subject[0], "CN=default-MSCEP-RA");
    ck_assert_int_eq(identities_now(k)->n, 1);
    ra = identities_now(k)->ra[0];
    OK(scep_ra_check(ra, life_ca.cert, room_pool));
    ck_assert_uint_eq(X509_get_key_usage(ra->sign.cert), KU_DIGITAL_SIGNATURE);
    ck_assert_uint_eq(X509_get_key_usage(ra->decrypt.cert), KU_KEY_ENCIPHERMENT);
    ck_assert_int_eq(life_lines_with("SCEP0300"), 1);
    OK(life_keep(k));
    later = remote_keeper("d"); /* after a restart */
    OK(life_keep(later));
    ck_assert_int_eq(remote.n, 0);
    life_expect_same(identities_now(later), identities_now(k));
    /* and in time it is renewed from them */
    life_clock_at(life_now + 340 * DAY);
    later = remote_keeper("i");
    OK(life_keep(later));
    ck_assert_int_eq(remote.n, 2);
    ck_assert_int_eq(identities_now(later)->n, 2);
    ck_assert_int_eq(X509_cmp(identities_now(later)->ra[1]->sign.cert, ra->sign.cert), 0);
}
END_TEST

START_TEST(its_subject_is_as_ca_conf_says)
{
    identities_keeper *k;

    life_authority.ra_subject = "CN=RA of the shop, O=Example";
    k = remote_keeper("i");
    OK(life_keep(k));
    ck_assert_str_eq(remote.subject[1], "CN=RA of the shop,O=Example");
}
END_TEST

START_TEST(an_ra_that_waits_at_the_ca_is_asked_for_once)
{
    identities_keeper *k = remote_keeper("ip");

    expect_says(life_keep(k),
                "CEPEncryption: the CA has to approve the RA's certificate: request 5");
    ck_assert_int_eq(remote.n, 2);
    k = remote_keeper("p"); /* scep-ca is started again, and again */
    expect_says(life_keep(k), "request 5");
    expect_says(life_keep(k), "request 5");
    ck_assert_int_eq(remote.n, 2); /* the first one is there already */
    ck_assert_str_eq(remote.template[0], "CEPEncryption");
    ck_assert_str_eq(remote.cookie[0], "held");
    ck_assert(!remote.lost[0]);
    ck_assert_mem_eq(remote.key[0], remote.key[1], 32);
    k = remote_keeper("i");
    OK(life_keep(k));
    ck_assert_int_eq(remote.n, 1);
    OK(scep_ra_check(identities_now(k)->ra[0], life_ca.cert, room_pool));
}
END_TEST

START_TEST(an_ra_whose_answer_was_lost_is_looked_for)
{
    identities_keeper *k = remote_keeper("l");

    expect_says(life_keep(k), "no answer in time");
    ck_assert_str_eq(remote.cookie[0], "");
    ck_assert(!remote.lost[0]);
    k = remote_keeper("fi");
    expect_says(life_keep(k), "the CA is away");
    OK(life_keep(k));
    ck_assert(remote.lost[0] && remote.lost[1] && !remote.lost[2]);
    ck_assert_str_eq(remote.cookie[1], "before");
    ck_assert_str_eq(remote.cookie[2], "");
    ck_assert_mem_eq(remote.key[0], remote.key[1], 32);
}
END_TEST

static const struct {
    const char *plan; /* the first is heard of, then something has to be mended, then it issues */
    const char *cookie;
    bool lost;
} mended[] = {
    { "pci", "held", false }, /* the CA holds it */
    { "lci", "before", true },
    { "Ci", "before", true },
    { "pCi", "before", true }, /* kept anew, and then it was heard of */
};

START_TEST(an_ra_that_the_ca_may_know_is_not_forgotten_for_what_is_to_be_mended)
{
    int asked = (int)strlen(mended[_i].plan) - 1;
    identities_keeper *k = remote_keeper(mended[_i].plan);

    for (int i = 0; i < asked; i++)
        room_expect(life_keep(k), SCEP_CONFIG);
    ck_assert_int_eq(remote.n, asked);
    life_clock_at(life_now + 301);
    OK(life_keep(k));                      /* from the store */
    ck_assert_int_eq(remote.n, asked + 2); /* and the other one of the two */
    ck_assert_str_eq(remote.cookie[asked], mended[_i].cookie);
    ck_assert(remote.lost[asked] == mended[_i].lost);
    ck_assert_mem_eq(remote.key[0], remote.key[asked], 32);
}
END_TEST

START_TEST(what_is_to_be_mended_is_said_of_an_ra_that_waits)
{
    identities_keeper *k = remote_keeper("pc");

    expect_says(life_keep(k), "request 5");
    expect_says(life_keep(k), "EnrollmentAgentOffline: it needs Read and Enroll");
}
END_TEST

START_TEST(an_ra_that_was_not_asked_for_is_no_lost_one)
{
    identities_keeper *k = remote_keeper("f");

    expect_says(life_keep(k), "the CA is away");
    k = remote_keeper("i");
    OK(life_keep(k));
    ck_assert(!remote.lost[0]);
    ck_assert_int_eq(remote.n, 2);
}
END_TEST

static const struct {
    const char *plan, *says;
} refusals[] = {
    { "id", "CEPEncryption: not this one; the CA is asked again in" },
    { "ic", "CEPEncryption: it needs Read and Enroll; the CA is asked again in" },
    { "is", "something else than a certificate for the key; the CA is asked again in" },
    { "ig",
      "CEPEncryption: the CA's answer was lost, it may have issued a certificate that nobody "
      "fetched, and is asked for another one: nothing to look for; the CA is asked again in" },
};

START_TEST(a_ca_that_refuses_an_ra_is_not_asked_at_each_start)
{
    identities_keeper *k = remote_keeper(refusals[_i].plan);

    expect_says(life_keep(k), refusals[_i].says);
    ck_assert_int_eq(remote.n, 2);
    life_clock_at(life_now + 299);
    k = remote_keeper("i");
    expect_says(life_keep(k), refusals[_i].says);
    ck_assert_int_eq(remote.n, 0);
    life_clock_at(life_now + 1);
    OK(life_keep(k));
    ck_assert_int_eq(remote.n, 1); /* the other one of the two was issued, once */
    ck_assert_str_eq(remote.template[0], "CEPEncryption");
    ck_assert_str_eq(remote.cookie[0], "");
    ck_assert(!remote.lost[0]);
}
END_TEST

START_TEST(certificates_that_are_no_ra_are_not_asked_for_again_and_again)
{
    identities_keeper *k = remote_keeper("i");

    life_ca.key = fixture_key_make(0, "P-256", room_pool); /* another CA than ca_cert says */
    expect_says(life_keep(k),
                "what the CA issued from EnrollmentAgentOffline and CEPEncryption is no "
                "RA: ");
    ck_assert_int_eq(remote.n, 2);
    life_clock_at(life_now + 3599);
    expect_says(life_keep(k), "is no RA");
    ck_assert_int_eq(remote.n, 2);
    life_ca_set(life_now + YEARS);
    life_clock_at(life_now + 1);
    k = remote_keeper("i");
    OK(life_keep(k));
    ck_assert_int_eq(remote.n, 2);
}
END_TEST

START_TEST(with_other_templates_the_ca_is_asked_at_once)
{
    identities_keeper *k = remote_keeper("c");

    expect_says(life_keep(k), "EnrollmentAgentOffline: it needs Read and Enroll");
    k = remote_keeper("i");
    life_authority.ra_sign_template = "Other";
    OK(life_keep(k));
    ck_assert_str_eq(remote.template[0], "Other");
}
END_TEST

START_TEST(an_ra_from_files_of_a_ca_elsewhere_ends_with_a_warning)
{
    identities_keeper *k = remote_keeper("i");
    const scep_err *err;

    life_authority.ra_sign_template = life_authority.ra_decrypt_template = NULL;
    k = life_keeper(life_ra(-345 * DAY, 10 * DAY));
    err = life_keep(k);
    room_expect(err, SCEP_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err->detail, "renew them there"));
    ck_assert_int_eq(remote.n, 0);
    ck_assert_int_eq(life_lines_with("SCEP0302"), 1);
    ck_assert_int_eq(identities_now(k)->n, 1);
}
END_TEST

START_TEST(keys_of_a_draft_are_sealed)
{
    identities_keeper *k = remote_keeper("p");
    other o = other_open();

    expect_says(life_keep(k), "request 5");
    other_says(&o, "UPDATE scep_ra SET sign_key = decrypt_key");
    other_close(&o);
    expect_says(life_keep(k), "another store.key");
    ck_assert_int_eq(remote.n, 1);
}
END_TEST

Suite *draft_suite(void)
{
    Suite *suite = suite_create("identities_draft");
    TCase *cases = tcase_create("identities_draft");

    tcase_add_checked_fixture(cases, life_up, room_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, R_160_the_first_ra_is_made_from_the_templates_of_a_ca_elsewhere);
    tcase_add_test(cases, its_subject_is_as_ca_conf_says);
    tcase_add_test(cases, an_ra_that_waits_at_the_ca_is_asked_for_once);
    tcase_add_test(cases, an_ra_whose_answer_was_lost_is_looked_for);
    tcase_add_loop_test(cases, an_ra_that_the_ca_may_know_is_not_forgotten_for_what_is_to_be_mended,
                        0, (int)(sizeof(mended) / sizeof(*mended)));
    tcase_add_test(cases, what_is_to_be_mended_is_said_of_an_ra_that_waits);
    tcase_add_test(cases, an_ra_that_was_not_asked_for_is_no_lost_one);
    tcase_add_loop_test(cases, a_ca_that_refuses_an_ra_is_not_asked_at_each_start, 0,
                        (int)(sizeof(refusals) / sizeof(*refusals)));
    tcase_add_test(cases, certificates_that_are_no_ra_are_not_asked_for_again_and_again);
    tcase_add_test(cases, with_other_templates_the_ca_is_asked_at_once);
    tcase_add_test(cases, an_ra_from_files_of_a_ca_elsewhere_ends_with_a_warning);
    tcase_add_test(cases, keys_of_a_draft_are_sealed);
    suite_add_tcase(suite, cases);
    return suite;
}
