/* A line a day for what will end. */
#include "ending.h"

#include "certs.h"
#include "clock.h"
#include "log.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <stdlib.h>

#define DAY (24 * 60 * 60)

struct ending {
    apr_pool_t *pool;
    apr_hash_t *said; /* SHA-256 of a certificate -> apr_int64_t, when it was named last */
};

/* A certificate in use: of which authority, in which part, and what is to be done in time. */
typedef struct subject {
    const char *authority, *part, *remedy;
    X509 *cert;
    apr_int64_t ends;
} subject;

ending *ending_make(apr_pool_t *p)
{
    ending *e = apr_palloc(p, sizeof(*e));

    /* its own: whoever made it goes on using @a p while a thread names certificates */
    if (apr_pool_create(&e->pool, p) != APR_SUCCESS)
        abort(); /* as pools do */
    e->said = apr_hash_make(e->pool);
    return e;
}

/* Was it named for less than a day? Where not, it is about to be. A clock that was set back counts
 * as a new day. */
static const scep_err *was_said(bool *out, ending *e, X509 *cert, apr_int64_t now, apr_pool_t *p)
{
    unsigned char hash[32];
    apr_int64_t *when;
    scep_bytes der;

    SCEP_TRY(scep_cert_der(&der, cert, p));
    SCEP_TRY(scep_sha256(hash, &der, 1, p));
    when = apr_hash_get(e->said, hash, sizeof(hash));
    *out = when && now >= *when && now - *when < DAY;
    if (*out)
        return NULL;
    if (!when) {
        when = apr_palloc(e->pool, sizeof(*when));
        apr_hash_set(e->said, apr_pmemdup(e->pool, hash, sizeof(hash)), sizeof(hash), when);
    }
    *when = now;
    return NULL;
}

/* RFC 3339, UTC. */
static const char *date_text(apr_int64_t seconds, apr_pool_t *p)
{
    apr_time_exp_t t = { 0 };

    (void)apr_time_exp_gmt(&t, apr_time_from_sec(seconds));
    return apr_psprintf(p, "%04d-%02d-%02dT%02d:%02d:%02dZ", t.tm_year + 1900, t.tm_mon + 1,
                        t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

/* NDES's event 10 is of a certificate that cannot be used. */
static void say(const subject *s, apr_int64_t now, apr_pool_t *p)
{
    const char *name = scep_name_line(X509_get_subject_name(s->cert), p);
    const char *date = date_text(s->ends, p);
    long days = (long)((s->ends - now) / DAY);

    if (s->ends > now)
        log_line(LOG_LEVEL_WARN,
                 "SCEP0294: [authority %s]: the certificate of the %s \"%.300s\" (serial %s) ends "
                 "in %ld day%s, at %s: %s",
                 s->authority, s->part, name, scep_cert_serial(s->cert, p), days,
                 days == 1 ? "" : "s", date, s->remedy);
    else
        log_line(LOG_LEVEL_ERROR,
                 "SCEP0295: NDES-10 [authority %s]: the certificate of the %s \"%.300s\" (serial "
                 "%s) has ended at %s: %s",
                 s->authority, s->part, name, scep_cert_serial(s->cert, p), date, s->remedy);
}

static const scep_err *look_at(ending *e, subject s, apr_pool_t *p)
{
    apr_int64_t now = apr_time_sec(scep_now());
    bool said;

    SCEP_TRY(scep_time_seconds(&s.ends, X509_get0_notAfter(s.cert), p));
    if (s.ends - now > (apr_int64_t)ENDING_DAYS * DAY)
        return NULL;
    SCEP_TRY(was_said(&said, e, s.cert, now, p));
    if (!said)
        say(&s, now, p);
    return NULL;
}

static const scep_err *look_at_authority(ending *e, const office_authority *a, apr_pool_t *p)
{
    static const char renew_ra[] = "scep-ca renews it by itself (ra_renew_days); where it cannot, "
                                   "a line of its own says why";
    static const char renew_ca[] = "prepare a CA that takes over, or renew this one and replace "
                                   "ca_cert, before then";
    static const char renew_above[] = "have it renewed, and replace it in ca_cert, before then";
    static const char replace_ra[] =
        "scep-ca does not renew it: replace the files of ra_sign_* and ra_decrypt_*, or name "
        "ra_sign_template and ra_decrypt_template, and restart httpd gracefully";
    const STACK_OF(X509) *chain = a->connector->chain;
    const scep_ra *ra = identities_now(a->identities)->ra[0];
    const char *remedy = office_makes_ra(a) ? renew_ra : replace_ra;
    const char *name = a->conf->name;

    for (int i = 0; i < sk_X509_num(chain); i++)
        SCEP_TRY(look_at(e,
                         (subject){ name, i ? "CA above" : "CA", i ? renew_above : renew_ca,
                                    sk_X509_value(chain, i), 0 },
                         p));
    SCEP_TRY(look_at(e, (subject){ name, "RA (signing)", remedy, ra->sign.cert, 0 }, p));
    return look_at(e, (subject){ name, "RA (encryption)", remedy, ra->decrypt.cert, 0 }, p);
}

const scep_err *ending_warn(ending *e, const office *o, apr_pool_t *p)
{
    for (int i = 0; i < o->authorities->nelts; i++)
        SCEP_TRY(look_at_authority(e, APR_ARRAY_IDX(o->authorities, i, office_authority *), p));
    return NULL;
}
