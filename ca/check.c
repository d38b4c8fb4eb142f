/* `scep-ca check`. */
#include "check.h"

#include "certs.h"
#include "office.h"
#include "process.h"

#include <apr_strings.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTROL_TIME apr_time_from_sec(10)
#define ASK_TIME apr_time_from_sec(10) /* for one CA */

typedef struct check_options {
    bool control;
    const char *user;
    const char *conf;
} check_options;

static bool read_options(check_options *o, int argc, char **argv)
{
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "--control"))
            o->control = true;
        else if (!strcmp(argv[i], "--user") && i + 1 < argc)
            o->user = argv[++i];
        else
            return false;
    }
    o->conf = i + 1 == argc ? argv[i] : NULL;
    return o->conf != NULL;
}

/* The owner of the folder of an SQLite store, of store.key otherwise; NULL where the latter is
 * root's. */
static const scep_err *store_owner(const char **out, const conf *c, apr_pool_t *p)
{
    const char *colon = strchr(c->store, ':');
    const char *slash = strrchr(c->store, '/');
    const char *path = c->store_key;
    const struct passwd *pw;
    struct stat st;
    bool is_file = !strncmp(c->store, "sqlite3:", 8) && slash > colon;

    if (is_file)
        path = slash == colon + 1 ? "/" : apr_pstrmemdup(p, colon + 1, (size_t)(slash - colon - 1));
    if (stat(path, &st) != 0)
        return scep_fail(p, CONFIG, "%s: %s", path, strerror(errno));
    pw = getpwuid(st.st_uid);
    if (!pw)
        return scep_fail(p, CONFIG, "%s belongs to user %lu, who has no name: give --user", path,
                         (unsigned long)st.st_uid);
    /* opened by root, the store would be a file that scep-ca's own user cannot open */
    if (pw->pw_uid == 0 && is_file)
        return scep_fail(p, CONFIG,
                         "%s belongs to root: give it to the user that scep-ca runs as (chown -R "
                         "USER %s), or name that user with --user",
                         path, path);
    *out = pw->pw_uid == 0 ? NULL : apr_pstrdup(p, pw->pw_name);
    return NULL;
}

static const scep_err *endpoints_of_httpd(const apr_array_header_t **out, const char **exec_user,
                                          apr_pool_t *p)
{
    scep_wire_configure configure;
    scep_bytes body;
    int verb;

    SCEP_TRY(scep_wire_read(STDIN_FILENO, &verb, &body, apr_time_now() + CONTROL_TIME, p));
    if (verb != SCEP_VERB_CONFIGURE)
        return scep_fail(p, INTERNAL, "httpd sent verb %d instead of its settings", verb);
    SCEP_TRY(scep_wire_get_configure(&configure, body, p));
    *out = configure.endpoints;
    *exec_user = configure.exec_user;
    return NULL;
}

/* What can be asked whether it answers; a program is run by scep-ca only. */
static const scep_err *connect_all(const office *o, apr_pool_t *p)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        connector *c = APR_ARRAY_IDX(o->authorities, i, office_authority *)->connector;

        if (c->start && c->check)
            SCEP_TRY(c->start(c, NULL, p));
    }
    return NULL;
}

static const scep_err *load(office **out, const check_options *options, apr_pool_t *p)
{
    const apr_array_header_t *endpoints = apr_array_make(p, 1, sizeof(scep_wire_endpoint));
    const char *user = options->user, *exec_user = "";
    office *o;

    SCEP_TRY(process_begin(p));
    if (options->control)
        SCEP_TRY(endpoints_of_httpd(&endpoints, &exec_user, p));
    SCEP_TRY(office_load(&o, options->conf, endpoints, p));
    SCEP_TRY(office_modules(o, NULL, exec_user, p));
    /* by hand SCEPExecUser is not known */
    if (options->control)
        SCEP_TRY(office_programs(o, exec_user, p));
    if (!user && geteuid() == 0)
        SCEP_TRY(store_owner(&user, o->conf, p));
    if (user)
        SCEP_TRY(process_become(user, p));
    SCEP_TRY(connect_all(o, p));
    SCEP_TRY(office_open(o, false, p));
    *out = o;
    return NULL;
}

static const scep_err *print_cert(const char *what, const X509 *cert, apr_pool_t *p)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    struct tm end;

    if (!X509_digest(cert, EVP_sha256(), hash, &len) ||
        !ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end))
        return scep_fail(p, INTERNAL, "certificate without fingerprint or end");
    printf("  %-11s %s\n              until %04d-%02d-%02d, SHA-256 %s\n", what,
           scep_name_line(X509_get_subject_name(cert), p), end.tm_year + 1900, end.tm_mon + 1,
           end.tm_mday, scep_hex(p, (scep_bytes){ hash, len }));
    return NULL;
}

static const scep_err *print_ras(const office_authority *a, apr_pool_t *p)
{
    const identities *now = identities_now(a->identities);

    if (!now) {
        printf("  %-11s none yet; the CA is asked for one when scep-ca starts\n", "RA");
        return NULL;
    }
    SCEP_TRY(print_cert("RA signing", now->ra[0]->sign.cert, p));
    SCEP_TRY(print_cert("RA opening", now->ra[0]->decrypt.cert, p));
    if (now->n > 1)
        printf("  %-11s %d, which still open requests\n", "former RAs", now->n - 1);
    if (!office_makes_ra(a))
        printf("  %-11s none: replace its files before the end\n", "RA renewal");
    else if (a->connector->remote)
        printf("  %-11s %d days before the end\n", "RA renewal", a->conf->ra_renew_days);
    else
        printf("  %-11s for %d days, %d days before the end\n", "RA renewal", a->conf->ra_days,
               a->conf->ra_renew_days);
    return NULL;
}

static void print_crl(const office_authority *a)
{
    if (a->connector->sign_crl)
        printf("  %-11s %s, for %d days\n", "CRL", a->conf->crl_file, a->conf->crl_days);
    else
        printf("  %-11s not signed here\n", "CRL");
}

/* Does the CA elsewhere answer? Only where somebody looks at what is printed: httpd starts without
 * it. */
static bool ask_ca(const office_authority *a, apr_pool_t *p)
{
    connector *c = a->connector;
    const scep_err *err;

    if (!c->check)
        return true;
    err = c->check(c, deadline_in(ASK_TIME), p);
    printf("  %-11s %s%s\n", "reached", err ? "no: " : "yes", err ? err->detail : "");
    return err == NULL;
}

static const scep_err *print_authority(const office_authority *a, apr_pool_t *p)
{
    const apr_array_header_t *templates = a->conf->templates;

    printf("authority %s, connector %s\n", a->conf->name, a->conf->connector);
    SCEP_TRY(print_cert("CA", sk_X509_value(a->connector->chain, 0), p));
    SCEP_TRY(print_ras(a, p));
    print_crl(a);
    printf("  %-11s %s\n", "foreign CRL", foreign_describe(a->trust.foreign, p));
    printf("  %-11s %s\n", "next", a->conf->next_name ? a->conf->next_name : "none");
    printf("  %-11s", "templates");
    for (int i = 0; i < templates->nelts; i++)
        printf(" %s", APR_ARRAY_IDX(templates, i, const conf_template *)->name);
    printf("\n");
    return NULL;
}

/* With an RA that ended scep-ca starts only where it makes another one. */
static const scep_err *ras_last(const office *o, apr_pool_t *p)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        const office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);
        const identities *now = identities_now(a->identities);
        const scep_err *err =
            now && !office_makes_ra(a) ? scep_ra_check_dates(now->ra[0], p) : NULL;

        if (err)
            return scep_fail(p, CONFIG,
                             "[authority %s]: %s; scep-ca makes no RA here: replace the files of "
                             "ra_sign_* and ra_decrypt_*",
                             a->conf->name, err->detail);
    }
    return NULL;
}

/* httpd takes it in one frame when scep-ca gets ready; configtest is the time to hear of it. */
static const scep_err *endpoints_fit(const office *o, apr_pool_t *p)
{
    scep_wire_ready ready = { 0 };
    size_t len;

    for (int i = 0; i < o->authorities->nelts; i++)
        if (!identities_now(APR_ARRAY_IDX(o->authorities, i, office_authority *)->identities))
            return NULL; /* how long its RA's certificates are is not known yet */
    SCEP_TRY(office_hello(&ready, o, p));
    len = scep_wire_put_ready(SCEP_VERB_READY, &ready, p).len - SCEP_WIRE_HEADER;
    if (len <= SCEP_WIRE_MAX)
        return NULL;
    return scep_fail(p, CONFIG,
                     "%d endpoints and their certificates are %lu bytes, httpd takes at most %u: "
                     "let sections share a SCEPEndpoint, or use several httpd",
                     ready.endpoints->nelts, (unsigned long)len, SCEP_WIRE_MAX);
}

/* By the user that scep-ca runs as, whom this process has become. */
static const scep_err *folder_takes(const char *file, const char *key, apr_pool_t *p)
{
    const char *folder = apr_pstrndup(p, file, (apr_size_t)(strrchr(file, '/') - file + 1));

    if (access(folder, W_OK | X_OK) == 0)
        return NULL;
    return scep_fail(p, CONFIG,
                     "%s = %s: nothing can be made in %s: %s; scep-ca's user must be able to write "
                     "there",
                     key, file, folder, strerror(errno));
}

/* What scep-ca will make at its start, or soon after. */
static const scep_err *folders_check(const office *o, apr_pool_t *p)
{
    if (o->conf->ctl)
        SCEP_TRY(folder_takes(o->conf->ctl, "ctl", p));
    for (int i = 0; i < o->authorities->nelts; i++) {
        const office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);

        if (a->connector->sign_crl)
            SCEP_TRY(folder_takes(a->conf->crl_file, "crl_file", p));
    }
    return NULL;
}

static const scep_err *check(const check_options *options, apr_pool_t *p)
{
    office *o = NULL;
    int unreached = 0;

    SCEP_TRY(load(&o, options, p));
    SCEP_TRY(ras_last(o, p));
    SCEP_TRY(endpoints_fit(o, p));
    SCEP_TRY(folders_check(o, p));
    printf("%s: ok\n", options->conf);
    printf("store %s\n", o->conf->store);
    printf("scepctl %s\n", o->conf->ctl ? o->conf->ctl : "has no socket (ctl = PATH makes one)");
    for (int i = 0; i < o->authorities->nelts; i++) {
        const office_authority *a = APR_ARRAY_IDX(o->authorities, i, office_authority *);

        SCEP_TRY(print_authority(a, p));
        if (!options->control)
            unreached += !ask_ca(a, p);
    }
    store_close(o->store);
    if (unreached)
        return scep_fail(p, UNAVAILABLE, "%d of %d authorities could not reach their CA", unreached,
                         o->authorities->nelts);
    return NULL;
}

int check_main(int argc, char **argv, apr_pool_t *p)
{
    check_options options = { 0 };
    const scep_err *err;

    if (!read_options(&options, argc, argv))
        return 2;
    err = check(&options, p);
    if (!err)
        return 0;
    fprintf(stderr, "%s\n", err->detail);
    return 1;
}
