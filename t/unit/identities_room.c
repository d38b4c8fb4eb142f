/* What the suites of an RA's life share. */
#include "identities_room.h"

#include "clock.h"
#include "store_room.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RA_NAME "CN=Life RA,O=Example"

const store_key life_key = { { 42 } };
apr_int64_t life_now;
scep_signer life_ca;
connector life_connector;
conf_authority life_authority;
static const char *log_path;

/* What the CA is asked for, and what it does. */
int life_asked;
connector_outcome life_outcome;
bool life_is_away;

static const scep_err *submit(connector_answer *out, connector *self, const connector_ask *ask,
                              apr_pool_t *p)
{
    const issue_ca *issuer;

    __atomic_add_fetch(&life_asked, 1, __ATOMIC_SEQ_CST);
    *out = (connector_answer){ .outcome = life_outcome, .reason = "not this one" };
    if (life_is_away || life_outcome != CONNECTOR_ISSUED)
        return life_is_away ? scep_fail(p, UNAVAILABLE, "the CA is away") : NULL;
    SCEP_TRY(issue_ca_make(&issuer, life_ca.cert, life_ca.key, NULL, p));
    return issue_certificate(&out->cert, issuer, ask->template, ask->csr, p);
}

void life_clock_at(apr_int64_t seconds)
{
    life_now = seconds;
    scep_clock_set(apr_time_from_sec(seconds));
}

static void dates_set(X509 *cert, apr_int64_t from, apr_int64_t to)
{
    FIXTURE_MUST(ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from) &&
                 ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)to));
    fixture_resign(cert, life_ca.key);
}

void life_ca_set(apr_int64_t ends)
{
    life_ca.cert =
        fixture_cert("CN=Life CA", life_ca.key, NULL, NULL, true, KU_KEY_CERT_SIGN, room_pool);
    dates_set(life_ca.cert, life_now - YEARS, ends);
    life_connector.chain = scep_borrowed_stack(room_pool);
    FIXTURE_MUST(sk_X509_push(life_connector.chain, life_ca.cert));
}

void life_up(void)
{
    static const conf_template template = { .name = "T", .crl_url = "http://pki.example/ca.crl" };
    int log;

    room_up();
    log_path = apr_pstrcat(room_pool, room_folder, "/log", NULL);
    log = open(log_path, O_RDWR | O_CREAT | O_APPEND, 0600);
    FIXTURE_MUST(log >= 0 && dup2(log, STDERR_FILENO) >= 0 && close(log) == 0);
    life_clock_at(1900000000);
    life_ca.key = fixture_key_make(0, "P-256", room_pool);
    life_connector = (connector){ .submit = submit, .name = "test" };
    life_ca_set(life_now + YEARS);
    life_authority = (conf_authority){ .name = "default", .ra_days = 365, .ra_renew_days = 30 };
    life_authority.templates = apr_array_make(room_pool, 1, sizeof(const conf_template *));
    APR_ARRAY_PUSH(life_authority.templates, const conf_template *) = &template;
    life_asked = 0;
    life_outcome = CONNECTOR_ISSUED;
    life_is_away = false;
}

static scep_signer pair(int which, uint32_t usage, apr_int64_t from, apr_int64_t to)
{
    scep_signer s = { .key = fixture_key(which) };

    s.cert = fixture_cert(RA_NAME, s.key, life_ca.cert, life_ca.key, false, usage, room_pool);
    dates_set(s.cert, from, to);
    return s;
}

/* ca.conf's, in seconds from now. */
scep_ra *life_ra(apr_int64_t from, apr_int64_t to)
{
    scep_ra *ra = apr_pcalloc(room_pool, sizeof(*ra));

    ra->sign = pair(0, KU_DIGITAL_SIGNATURE, life_now + from, life_now + to);
    ra->decrypt = pair(1, KU_KEY_ENCIPHERMENT, life_now + from, life_now + to);
    return ra;
}

identities_keeper *life_keeper(const scep_ra *first)
{
    identities_keeper *k;

    OK(identities_make(&k, &life_authority, &life_connector, first, room_pool));
    return k;
}

const scep_err *life_keep(identities_keeper *k)
{
    return identities_keep(k, room_store, &life_key, room_pool);
}

int life_lines_with(const char *what)
{
    FILE *file = fopen(log_path, "r");
    char line[2048];
    int n = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        n += strstr(line, what) != NULL;
    ck_assert_int_eq(fclose(file), 0);
    return n;
}

void life_expect_same(const identities *a, const identities *b)
{
    ck_assert_int_eq(a->n, b->n);
    ck_assert(a->generation == b->generation);
    for (int i = 0; i < a->n; i++) {
        ck_assert_int_eq(X509_cmp(a->ra[i]->sign.cert, b->ra[i]->sign.cert), 0);
        ck_assert_int_eq(X509_cmp(a->ra[i]->decrypt.cert, b->ra[i]->decrypt.cert), 0);
    }
}
