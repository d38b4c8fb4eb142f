/* The office: what an authority's directory says of its CA, its templates, and who may enrol. */
#include "office_int.h"

#include "directory.h"
#include "log.h"

#include <apr_strings.h>
#include <string.h>

struct office_directory {
    directory *d;
    apr_array_header_t *names; /* of const char *: its templates, in the order of ca.conf */
    directory_view applied;    /* what was read at the start; no templates: it did not answer */
    moment fresh;              /* until then nobody asks again */
};

/* ---- at the start, with privileges ---- */

/* Authorities share a directory. */
static directory *opened(const office *o, const conf_directory *section)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        const office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);

        if (a->directory && a->conf->directory == section)
            return a->directory->d;
    }
    return NULL;
}

const scep_err *office_directories_load(office *o, apr_pool_t *p)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);
        const conf_authority *c = a->conf;
        struct office_directory *own;

        if (!c->directory)
            continue;
        own = apr_pcalloc(p, sizeof(*own));
        own->d = opened(o, c->directory);
        if (!own->d)
            SCEP_TRY(directory_open(&own->d, c->directory, p));
        own->names = apr_array_make(p, c->templates->nelts, sizeof(const char *));
        for (int t = 0; t < c->templates->nelts; t++)
            APR_ARRAY_PUSH(own->names, const char *) =
                APR_ARRAY_IDX(c->templates, t, const conf_template *)->ca_template;
        a->directory = own;
    }
    return NULL;
}

/* ---- what is published ---- */

/* As Windows shows it. */
static const char *thumbprint(scep_bytes der, apr_pool_t *p)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    size_t len = 0;

    if (EVP_Q_digest(NULL, "SHA1", NULL, der.data, der.len, hash, &len) != 1)
        return "?";
    return scep_hex(p, (scep_bytes){ hash, len });
}

static const scep_err *ca_check(const office_authority *a, const directory_view *v, apr_pool_t *p)
{
    const char *published = "no certificate";
    scep_bytes own;

    SCEP_TRY(scep_cert_der(&own, sk_X509_value(a->connector->chain, 0), p));
    for (int i = 0; v->certs && i < v->certs->nelts; i++) {
        const scep_bytes cert = APR_ARRAY_IDX(v->certs, i, scep_bytes);

        if (scep_bytes_equal(cert, own))
            return NULL;
        published = apr_pstrcat(p, "the certificate with thumbprint ", thumbprint(cert, p), NULL);
    }
    if (!v->certs)
        return NULL;
    return scep_fail(
        p, CONFIG,
        "[authority %s]: the directory has %s for the CA \"%s\", and ca_cert begins "
        "with the one with thumbprint %s; was the CA renewed, or is enrollment_service "
        "another one?",
        a->conf->name, published, a->conf->enrollment_service, thumbprint(own, p));
}

static const scep_err *template_check(const office_authority *a, const conf_template *own,
                                      const directory_template *t,
                                      const apr_array_header_t *offered, apr_pool_t *p)
{
    const char *why;

    if (!t->name)
        return scep_fail(p, CONFIG,
                         "[authority %s]: the directory has no template %s; ca_template of "
                         "[template %s] is its name there (not its display name)",
                         a->conf->name, own->ca_template, own->name);
    why = directory_template_fault(t, a->conf->adcs.agent_cert != NULL, offered, p);
    if (why)
        return scep_fail(p, CONFIG, "[authority %s]: template %s is not for SCEP: %s",
                         a->conf->name, own->ca_template, why);
    return NULL;
}

static const scep_err *view_check(const office_authority *a, const directory_view *v, apr_pool_t *p)
{
    SCEP_TRY(ca_check(a, v, p));
    for (int i = 0; i < a->conf->templates->nelts; i++)
        SCEP_TRY(template_check(a, APR_ARRAY_IDX(a->conf->templates, i, const conf_template *),
                                &APR_ARRAY_IDX(v->templates, i, directory_template), v->offered,
                                p));
    return NULL;
}

/* The templates are this authority's own copies, and nobody reads them yet. */
static const scep_err *view_apply(const office_authority *a, const directory_view *v, apr_pool_t *p)
{
    for (int i = 0; i < a->conf->templates->nelts; i++) {
        conf_template *to = APR_ARRAY_IDX(a->conf->templates, i, conf_template *);
        const directory_template *t = &APR_ARRAY_IDX(v->templates, i, directory_template);

        if (to->from_directory)
            SCEP_TRY(directory_template_apply(to, t, p));
    }
    return NULL;
}

static bool wants_attributes(const office_authority *a)
{
    for (int i = 0; i < a->conf->templates->nelts; i++)
        if (APR_ARRAY_IDX(a->conf->templates, i, const conf_template *)->from_directory)
            return true;
    return false;
}

static const scep_err *look(directory_view *out, const office_authority *a, apr_pool_t *p)
{
    SCEP_TRY(
        directory_look(out, a->directory->d, a->conf->enrollment_service, a->directory->names, p));
    return view_check(a, out, p);
}

static moment fresh_of(const struct office_directory *d)
{
    return deadline_in(apr_time_from_sec(directory_cache(d->d)));
}

/* Where all that is needed stands in ca.conf, a directory that is away holds nothing up but what
 * asks it. */
static const scep_err *look_first(office_authority *a, apr_pool_t *p)
{
    const scep_err *err = look(&a->directory->applied, a, p);

    if (!err) {
        a->directory->fresh = fresh_of(a->directory);
        return view_apply(a, &a->directory->applied, p);
    }
    a->directory->applied = (directory_view){ 0 };
    if (err->code != SCEP_UNAVAILABLE || wants_attributes(a))
        return err;
    log_err(LOG_LEVEL_WARN, "SCEP0380",
            apr_psprintf(p, "NDES-8 [authority %s]: its CA and templates are not checked yet",
                         a->conf->name),
            err);
    return NULL;
}

const scep_err *office_directories_look(office *o, apr_pool_t *p)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);

        if (a->directory)
            SCEP_TRY(look_first(a, p));
    }
    return NULL;
}

/* What was applied at the start holds until the next one. */
static const scep_err *changes_check(const office_authority *a, const directory_view *now,
                                     apr_pool_t *p)
{
    const directory_view *v = &a->directory->applied;

    for (int i = 0; v->templates && i < v->templates->nelts; i++) {
        const conf_template *own = APR_ARRAY_IDX(a->conf->templates, i, const conf_template *);
        const char *what =
            directory_template_change(&APR_ARRAY_IDX(v->templates, i, directory_template),
                                      &APR_ARRAY_IDX(now->templates, i, directory_template));

        if (what && own->from_directory)
            return scep_fail(p, CONFIG,
                             "[authority %s]: %s of template %s was changed in the directory; what "
                             "was read at the start holds until httpd is restarted",
                             a->conf->name, what, own->ca_template);
    }
    return NULL;
}

const scep_err *office_directory_refresh(const office_authority *a, apr_pool_t *p)
{
    directory_view now;

    if (!a->directory || deadline_left(a->directory->fresh))
        return NULL;
    SCEP_TRY(look(&now, a, p));
    SCEP_TRY(changes_check(a, &now, p));
    a->directory->fresh = fresh_of(a->directory);
    return NULL;
}

/* ---- who may enrol ---- */

const scep_err *office_directory_permits(const char **why, const office_authority *a,
                                         const conf_template *const *templates, int n,
                                         const char *user, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, n, sizeof(const char *));

    *why = "";
    if (!a->directory)
        return NULL;
    for (int i = 0; i < n; i++)
        APR_ARRAY_PUSH(names, const char *) = templates[i]->ca_template;
    return directory_may_enroll(why, a->directory->d, user, names, p);
}

/* ---- SIDs ---- */

const scep_err *office_directory_confirms(const char **why, const office_authority *a,
                                          const conf_template *template, const scep_csr *csr,
                                          apr_pool_t *p)
{
    directory_claim claim;

    *why = "";
    if (template->allow_sid != CONF_SID_DIRECTORY)
        return NULL;
    SCEP_TRY(directory_claim_read(&claim, csr, p));
    if (!claim.sid.len)
        return NULL;
    *why = "there is no directory to confirm it";
    return a->directory ? directory_confirms_sid(why, a->directory->d, &claim, p) : NULL;
}

const scep_err *office_sid_again(const office *o, const store_request *r, apr_pool_t *p)
{
    const office_authority *a = office_authority_find(o, r->authority);
    const conf_template *template = a ? conf_template_find(a->conf, r->template_name) : NULL;
    const char *why;
    scep_csr *csr;

    if (!template || template->allow_sid != CONF_SID_DIRECTORY)
        return NULL;
    SCEP_TRY(scep_csr_read(&csr, r->csr, p));
    SCEP_TRY(office_directory_confirms(&why, a, template, csr, p));
    return *why ? scep_fail(p, REFUSED, "a Microsoft SID is claimed, and %s", why) : NULL;
}
