/* The questions to a directory, each of one connection. */
#include "directory_int.h"
#include "directory_sd.h"

#include <apr_strings.h>
#include <string.h>

#define PUBLIC_KEY_SERVICES "CN=Public Key Services,CN=Services,"
#define DISABLED 0x2    /* userAccountControl, ADS_UF_ACCOUNTDISABLE */
#define USER_MOST 256   /* bytes of a name */
#define TOKEN_MOST 4096 /* groups */

/* [MS-WCCE] 2.2.2.11 */
static const char *container(const directory_session *s, const char *name, apr_pool_t *p)
{
    return apr_pstrcat(p, "CN=", name, "," PUBLIC_KEY_SERVICES, directory_configuration_dn(s),
                       NULL);
}

static const char *escaped(const char *text, apr_pool_t *p)
{
    return directory_escape(scep_bytes_of(text), p);
}

/* ---- what is published ---- */

static const scep_err *ask_service(directory_question *q, directory_session *s)
{
    static const char *const wanted[] = { "cACertificate", "certificateTemplates", NULL };
    const char *base = container(s, "Enrollment Services", q->p);
    const directory_search search = { base, DIRECTORY_ONE,
                                      apr_pstrcat(q->p, "(&(objectClass=pKIEnrollmentService)(cn=",
                                                  escaped(q->service, q->p), "))", NULL),
                                      wanted, false };
    const apr_array_header_t *certs, *offered;
    apr_array_header_t *found;

    SCEP_TRY(directory_find(&found, s, &search, q->p));
    if (found->nelts != 1)
        return scep_fail(q->p, CONFIG,
                         "there is no pKIEnrollmentService \"%s\" in %s; enrollment_service is the "
                         "name of the CA there",
                         scep_printable(q->p, scep_bytes_of(q->service), 80), base);
    certs = directory_values(&APR_ARRAY_IDX(found, 0, directory_entry), wanted[0]);
    offered = directory_values(&APR_ARRAY_IDX(found, 0, directory_entry), wanted[1]);
    q->view.certs =
        certs ? apr_array_copy(q->p, certs) : apr_array_make(q->p, 1, sizeof(scep_bytes));
    q->view.offered = apr_array_make(q->p, 4, sizeof(const char *));
    for (int i = 0; offered && i < offered->nelts; i++)
        APR_ARRAY_PUSH(q->view.offered, const char *) =
            (const char *)APR_ARRAY_IDX(offered, i, scep_bytes).data;
    return NULL;
}

/* Of the entries, the template of that name; NULL: none. */
static const directory_entry *entry_of(const apr_array_header_t *found, const char *name)
{
    for (int i = 0; i < found->nelts; i++) {
        const directory_entry *e = &APR_ARRAY_IDX(found, i, directory_entry);
        const char *cn = directory_text(e, "cn");

        if (cn && !strcasecmp(cn, name))
            return e;
    }
    return NULL;
}

/* All of them by one search. */
static const scep_err *find_templates(apr_array_header_t **out, directory_question *q,
                                      directory_session *s)
{
    static const char *const wanted[] = { "cn",
                                          "flags",
                                          "revision",
                                          "pKIKeyUsage",
                                          "pKIExpirationPeriod",
                                          "pKIOverlapPeriod",
                                          "pKIExtendedKeyUsage",
                                          "msPKI-Cert-Template-OID",
                                          "msPKI-Template-Schema-Version",
                                          "msPKI-Template-Minor-Revision",
                                          "msPKI-Minimal-Key-Size",
                                          "msPKI-RA-Signature",
                                          "msPKI-Certificate-Name-Flag",
                                          "msPKI-Enrollment-Flag",
                                          "msPKI-Private-Key-Flag",
                                          "nTSecurityDescriptor",
                                          NULL };
    const char *names = "";
    directory_search search = { container(s, "Certificate Templates", q->p), DIRECTORY_ONE, NULL,
                                wanted, true };

    for (int i = 0; i < q->names->nelts; i++)
        names =
            apr_pstrcat(q->p, names,
                        "(cn=", escaped(APR_ARRAY_IDX(q->names, i, const char *), q->p), ")", NULL);
    search.filter =
        apr_pstrcat(q->p, "(&(objectClass=pKICertificateTemplate)(|", names, "))", NULL);
    return directory_find(out, s, &search, q->p);
}

static const scep_err *ask_templates(directory_question *q, directory_session *s)
{
    apr_array_header_t *found;

    q->view.templates = apr_array_make(q->p, q->names->nelts, sizeof(directory_template));
    if (!q->names->nelts)
        return NULL;
    SCEP_TRY(find_templates(&found, q, s));
    for (int i = 0; i < q->names->nelts; i++) {
        const directory_entry *e = entry_of(found, APR_ARRAY_IDX(q->names, i, const char *));
        directory_template *t = apr_array_push(q->view.templates);

        *t = (directory_template){ 0 };
        if (e)
            SCEP_TRY(directory_template_read(t, e, q->p));
    }
    return NULL;
}

const scep_err *directory_ask_view(directory_question *q, directory_session *s)
{
    if (q->service)
        SCEP_TRY(ask_service(q, s));
    return ask_templates(q, s);
}

/* ---- accounts ---- */

/* Is that NetBIOS name the domain's that this server is of? */
static const scep_err *is_own_domain(bool *out, directory_question *q, directory_session *s,
                                     const char *name)
{
    static const char *const wanted[] = { "nCName", NULL };
    const directory_search search = {
        apr_pstrcat(q->p, "CN=Partitions,", directory_configuration_dn(s), NULL), DIRECTORY_ONE,
        apr_pstrcat(q->p, "(&(objectClass=crossRef)(nETBIOSName=", escaped(name, q->p), "))", NULL),
        wanted, false
    };
    apr_array_header_t *found;
    const char *dn;

    SCEP_TRY(directory_find(&found, s, &search, q->p));
    dn = found->nelts == 1 ? directory_text(&APR_ARRAY_IDX(found, 0, directory_entry), wanted[0])
                           : NULL;
    *out = dn && !strcasecmp(dn, directory_domain_dn(s));
    return NULL;
}

/* NAME@REALM may be what is entered as userPrincipalName, or sAMAccountName@domain, which each
 * account has: [MS-ADTS] 5.1.1.1.1. @param out NULL: a name of another domain */
static const scep_err *user_filter(const char **out, directory_question *q, directory_session *s)
{
    const char *at = strrchr(q->user, '@'), *slash = strchr(q->user, '\\');
    const char *user = escaped(q->user, q->p), *name;
    bool own = true;

    *out = NULL;
    if (at && !slash) {
        name = apr_pstrmemdup(q->p, q->user, (size_t)(at - q->user));
        own = directory_domain(s) && !strcasecmp(at + 1, directory_domain(s));
        *out = apr_pstrcat(q->p, "(&(objectClass=user)(|(userPrincipalName=", user, ")",
                           own ? "(sAMAccountName=" : "", own ? escaped(name, q->p) : "",
                           own ? ")" : "", "))", NULL);
        return NULL;
    }
    if (slash)
        SCEP_TRY(
            is_own_domain(&own, q, s, apr_pstrmemdup(q->p, q->user, (size_t)(slash - q->user))));
    name = slash ? escaped(slash + 1, q->p) : user;
    if (own)
        *out = apr_pstrcat(q->p, "(&(objectClass=user)(sAMAccountName=", name, "))", NULL);
    return NULL;
}

static bool is_disabled(const directory_entry *e)
{
    const char *control = directory_text(e, "userAccountControl");

    return !control || apr_atoi64(control) & DISABLED;
}

/* The one account of that name, and its SID. @param out NULL: there is none, as q->why says */
static const scep_err *find_user(const directory_entry **out, directory_question *q,
                                 directory_session *s)
{
    static const char *const wanted[] = { "objectSid", "userAccountControl", NULL };
    directory_search search = { directory_domain_dn(s), DIRECTORY_SUBTREE, NULL, wanted, false };
    apr_array_header_t *found;
    const directory_entry *e;

    *out = NULL;
    q->why = "the directory has no such user";
    if (!*q->user || strlen(q->user) > USER_MOST)
        return NULL;
    SCEP_TRY(user_filter(&search.filter, q, s));
    if (!search.filter)
        return NULL;
    SCEP_TRY(directory_find(&found, s, &search, q->p));
    if (!found->nelts)
        return NULL;
    e = &APR_ARRAY_IDX(found, 0, directory_entry);
    q->why = "the directory has several users of that name";
    if (found->nelts > 1)
        return NULL;
    q->why = "the user's account in the directory is disabled";
    if (!is_disabled(e))
        *out = e;
    return NULL;
}

static const scep_err *add_sids(apr_array_header_t *token, const directory_entry *e,
                                const char *name, apr_pool_t *p)
{
    const apr_array_header_t *values = directory_values(e, name);

    /* each user is in his primary group, so without it a denial would be overlooked */
    if (!values || values->nelts > TOKEN_MOST)
        return scep_fail(p, CONFIG,
                         "%s of %s is not shown; the account that asks has to be a member of "
                         "'Windows Authorization Access Group', or may read it otherwise",
                         name, scep_printable(p, scep_bytes_of(e->dn), 200));
    for (int i = 0; i < values->nelts; i++) {
        const scep_bytes sid = APR_ARRAY_IDX(values, i, scep_bytes);

        if (!directory_sid_is(sid))
            return scep_fail(p, CONFIG, "%s of %s has a value that is no SID", name,
                             scep_printable(p, scep_bytes_of(e->dn), 200));
        APR_ARRAY_PUSH(token, scep_bytes) = sid;
    }
    return NULL;
}

/* The user, all of his groups (by the server, with those that are in groups), Everyone and
 * Authenticated Users: [MS-DTYP] 2.4.2.4 */
static const scep_err *read_token(apr_array_header_t **out, directory_question *q,
                                  directory_session *s, const directory_entry *user)
{
    static const unsigned char everyone[] = { 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 };
    static const unsigned char authenticated[] = { 1, 1, 0, 0, 0, 0, 0, 5, 11, 0, 0, 0 };
    static const char *const wanted[] = { "tokenGroups", NULL };
    const directory_search search = { user->dn, DIRECTORY_BASE, "(objectClass=*)", wanted, false };
    apr_array_header_t *found, *token = apr_array_make(q->p, 32, sizeof(scep_bytes));

    SCEP_TRY(directory_find(&found, s, &search, q->p));
    if (found->nelts != 1)
        return scep_fail(q->p, UNAVAILABLE, "%s was there a moment ago, and is not any more",
                         scep_printable(q->p, scep_bytes_of(user->dn), 200));
    SCEP_TRY(add_sids(token, user, "objectSid", q->p));
    SCEP_TRY(add_sids(token, &APR_ARRAY_IDX(found, 0, directory_entry), "tokenGroups", q->p));
    APR_ARRAY_PUSH(token, scep_bytes) = (scep_bytes){ everyone, sizeof(everyone) };
    APR_ARRAY_PUSH(token, scep_bytes) = (scep_bytes){ authenticated, sizeof(authenticated) };
    *out = token;
    return NULL;
}

/* The first template on which he may not. */
static const char *objection_of(const directory_question *q, const apr_array_header_t *token)
{
    static const char *const words[] = {
        [DIRECTORY_ALLOWED] = NULL,
        [DIRECTORY_DENIED] = "denies this user to enrol",
        [DIRECTORY_NOT_NAMED] = "does not allow this user to enrol",
        [DIRECTORY_UNREADABLE] = "shows no security descriptor",
    };

    for (int i = 0; i < q->names->nelts; i++) {
        const directory_template *t = &APR_ARRAY_IDX(q->view.templates, i, directory_template);
        const char *name = APR_ARRAY_IDX(q->names, i, const char *), *why;

        if (!t->name)
            return apr_psprintf(q->p, "the directory has no template %s", name);
        why = words[directory_sd_enroll(t->descriptor, (const scep_bytes *)token->elts,
                                        (size_t)token->nelts)];
        if (why)
            return apr_psprintf(q->p, "template %s of the directory %s", name, why);
    }
    return "";
}

const scep_err *directory_ask_enroll(directory_question *q, directory_session *s)
{
    const directory_entry *user;
    apr_array_header_t *token;

    SCEP_TRY(find_user(&user, q, s));
    if (!user)
        return NULL;
    SCEP_TRY(read_token(&token, q, s, user));
    SCEP_TRY(ask_templates(q, s));
    q->why = objection_of(q, token);
    return NULL;
}

/* ---- SIDs ---- */

const scep_err *directory_ask_sid(directory_question *q, directory_session *s)
{
    static const char *const wanted[] = { "userPrincipalName", "dNSHostName", "sAMAccountName",
                                          "userAccountControl", NULL };
    const directory_search search = { directory_domain_dn(s), DIRECTORY_SUBTREE,
                                      apr_pstrcat(q->p, "(&(objectClass=user)(objectSid=",
                                                  directory_escape(q->sid, q->p), "))", NULL),
                                      wanted, false };
    apr_array_header_t *found;
    const directory_entry *e;

    q->account = NULL;
    SCEP_TRY(directory_find(&found, s, &search, q->p));
    if (found->nelts != 1)
        return NULL;
    e = &APR_ARRAY_IDX(found, 0, directory_entry);
    q->account = apr_pcalloc(q->p, sizeof(*q->account));
    *q->account = (directory_account){ .upn = directory_text(e, wanted[0]),
                                       .host = directory_text(e, wanted[1]),
                                       .name = directory_text(e, wanted[2]),
                                       .domain = directory_domain(s),
                                       .disabled = is_disabled(e) };
    return NULL;
}
