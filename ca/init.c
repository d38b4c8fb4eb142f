/* `scep-ca init`: options in, a folder and what to do next out. */
#include "init.h"

#include "certs.h"
#include "key.h"
#include "office.h"

#include <apr_file_info.h>
#include <apr_strings.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: scep-ca init --out FOLDER [options]\n"
    "Makes a CA, its RA and ca.conf in FOLDER, which must be new or empty.\n"
    "  --out FOLDER        gets mode 0711\n"
    "  --owner USER        whom scep-ca will run as (SCEPCAUser); needed when run as root\n"
    "  --ca-key KIND       rsa2048, rsa3072, rsa4096, p256 or p384; default p256\n"
    "  --ra-key KIND       rsa2048, rsa3072 or rsa4096; default rsa2048\n"
    "  --ca-name NAME      such as \"CN=Example SCEP CA,O=Example\"; default CN=HOST SCEP CA\n"
    "  --ra-name NAME      default CN=HOST-MSCEP-RA\n"
    "  --ca-days N         1 to 36500; default 3650\n"
    "  --ra-days N         1 to 36500, never beyond the CA's end; default 730\n"
    "  --crl-url URL       put into every certificate as CRL distribution point: where httpd\n"
    "                      will serve public/ca.crl\n"
    "  --issuer-url URL    put into every certificate as the place of the CA certificate\n";

enum { OUT = 1, OWNER, CA_KEY, RA_KEY, CA_NAME, RA_NAME, CA_DAYS, RA_DAYS, CRL, ISSUER, HELP };

static const struct option options[] = {
    { "out", required_argument, NULL, OUT },
    { "owner", required_argument, NULL, OWNER },
    { "ca-key", required_argument, NULL, CA_KEY },
    { "ra-key", required_argument, NULL, RA_KEY },
    { "ca-name", required_argument, NULL, CA_NAME },
    { "ra-name", required_argument, NULL, RA_NAME },
    { "ca-days", required_argument, NULL, CA_DAYS },
    { "ra-days", required_argument, NULL, RA_DAYS },
    { "crl-url", required_argument, NULL, CRL },
    { "issuer-url", required_argument, NULL, ISSUER },
    { "help", no_argument, NULL, HELP },
    { 0 },
};

static bool days_read(int *out, const char *text)
{
    size_t digits = strspn(text, "0123456789");

    if (!digits || digits > 5 || text[digits])
        return false;
    *out = atoi(text);
    return *out >= 1 && *out <= 36500;
}

/* It goes into ca.conf, whose syntax has its own ideas about the other characters. */
static bool url_is_plain(const char *url)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-._~:/?&=%@+,;!*()[]";
    bool known =
        !strncmp(url, "http://", 7) || !strncmp(url, "https://", 8) || !strncmp(url, "ldap://", 7);

    return known && !url[strspn(url, plain)];
}

/* @return -1 go on, else the exit status */
static int option_take(init_plan *plan, int option, const char *value)
{
    switch (option) {
    case OUT:
        plan->out = value;
        return -1;
    case OWNER:
        plan->owner = value;
        return -1;
    case CA_KEY:
        plan->ca_key = value;
        return -1;
    case RA_KEY:
        plan->ra_key = value;
        return -1;
    case CA_NAME:
        plan->ca_name = value;
        return -1;
    case RA_NAME:
        plan->ra_name = value;
        return -1;
    case CRL:
    case ISSUER:
        *(option == CRL ? &plan->crl_url : &plan->issuer_url) = value;
        if (url_is_plain(value))
            return -1;
        fprintf(stderr, "scep-ca init: URLs begin with http://, https:// or ldap:// and have no "
                        "spaces, quotes, '#', '$' or backslashes\n");
        return 2;
    case CA_DAYS:
    case RA_DAYS:
        if (days_read(option == CA_DAYS ? &plan->ca_days : &plan->ra_days, value))
            return -1;
        fprintf(stderr, "scep-ca init: days are a number from 1 to 36500\n");
        return 2;
    case HELP:
        fputs(usage, stdout);
        return 0;
    default:
        fputs(usage, stderr);
        return 2;
    }
}

/* The first label of the host's name, short enough for a CN of 64 characters. */
static const char *host_label(apr_pool_t *p)
{
    char name[256] = "";

    if (gethostname(name, sizeof(name) - 1) || !*name)
        return "localhost";
    name[strcspn(name, ".,\\=+")] = '\0';
    return *name ? apr_pstrndup(p, name, 50) : "localhost";
}

static int plan_make(init_plan *plan, int argc, char **argv, apr_pool_t *p)
{
    const char *host = host_label(p);
    char *full;
    int option;

    *plan = (init_plan){
        .ca_key = "p256",
        .ra_key = "rsa2048",
        .ca_days = 3650,
        .ra_days = 730,
        .ca_name = apr_psprintf(p, "CN=%s SCEP CA", host),
        .ra_name = apr_psprintf(p, "CN=%s-MSCEP-RA", host),
    };
    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int status = option_take(plan, option, optarg);

        if (status >= 0)
            return status;
    }
    if (optind != argc || !plan->out || !*plan->out) {
        fputs(usage, stderr);
        return 2;
    }
    if (strncmp(plan->ra_key, "rsa", 3)) {
        fprintf(stderr, "scep-ca init: --ra-key: rsa2048, rsa3072 and rsa4096 are accepted, as "
                        "SCEP transports keys with RSA only\n");
        return 2;
    }
    if (apr_filepath_merge(&full, NULL, plan->out, 0, p) != APR_SUCCESS) {
        fprintf(stderr, "scep-ca init: \"%s\" is no path\n", plan->out);
        return 2;
    }
    plan->out = full;
    return -1;
}

static const scep_err *print_fingerprint(const char *what, const EVP_MD *md, const X509 *cert,
                                         apr_pool_t *p)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int len;

    if (!X509_digest(cert, md, hash, &len))
        return scep_fail(p, INTERNAL, "the %s fingerprint cannot be computed", what);
    printf("  %-8s %s\n", what, scep_hex(p, (scep_bytes){ hash, len }));
    return NULL;
}

/* The CRL is a plain file: httpd serves it where --crl-url says that it is. */
static void print_crl_alias(const init_plan *plan, apr_pool_t *p)
{
    const char *path = plan->crl_url ? strstr(plan->crl_url, "://") : NULL;

    path = path && !strncmp(plan->crl_url, "http", 4) ? strchr(path + 3, '/') : NULL;
    if (!path || !path[1])
        return;
    printf("  Alias \"%s\" %s/public/ca.crl\n"
           "  <Directory %s/public>\n"
           "      AddType application/pkix-crl .crl\n"
           "      Require all granted\n"
           "  </Directory>\n",
           apr_pstrndup(p, path, strcspn(path, "?")), plan->out, plan->out);
}

static void print_next(const init_plan *plan, apr_pool_t *p)
{
    printf("\nNext, in httpd.conf:\n"
           "  LoadModule scep_module " SCEP_MODULE "\n"
           "  LimitRequestLine 65534\n"
           "  SCEPConnector spawn:%s/ca.conf\n",
           plan->out);
    if (plan->owner)
        printf("  SCEPCAUser %s\n", plan->owner);
    printf("  SCEPEngine on\n"
           "  <Location /certsrv/mscep_admin>\n"
           "      AuthType Basic\n"
           "      AuthName \"SCEP\"\n"
           "      AuthUserFile %s/htpasswd\n"
           "      Require valid-user\n"
           "  </Location>\n",
           plan->out);
    print_crl_alias(plan, p);
    printf("then: htpasswd -Bc %s/htpasswd NAME; apachectl configtest\n", plan->out);
    if (!plan->owner && geteuid() == 0)
        printf("No --owner was given: before httpd starts as root, chown -R %s/state and\n"
               "%s/public to the user that SCEPCAUser names.\n",
               plan->out, plan->out);
}

static const scep_err *report(const init_made *made, const init_plan *plan, apr_pool_t *p)
{
    printf("Made in %s:\n"
           "  ca.key ca.pem                  the CA: %s\n"
           "  ra-sign.key ra-sign.pem        the RA that signs answers: %s\n"
           "  ra-decrypt.key ra-decrypt.pem  the RA that opens requests\n"
           "  store.key                      keys the stored challenges; back it up\n"
           "  state/                         the database will be here%s%s\n"
           "  public/                        the CRL will be here, for httpd to serve\n"
           "  ca.conf                        read it\n"
           "Fingerprints of the CA certificate:\n",
           plan->out, scep_name_line(X509_get_subject_name(made->ca.cert), p),
           scep_name_line(X509_get_subject_name(made->ra_sign.cert), p),
           plan->owner ? "; belongs to " : "", plan->owner ? plan->owner : "");
    SCEP_TRY(print_fingerprint("SHA-256", EVP_sha256(), made->ca.cert, p));
    SCEP_TRY(print_fingerprint("SHA-1", EVP_sha1(), made->ca.cert, p));
    SCEP_TRY(print_fingerprint("MD5", EVP_md5(), made->ca.cert, p));
    print_next(plan, p);
    return NULL;
}

/* What was written has to load: the same check that configtest makes. */
static const scep_err *write_all(init_made *made, const init_plan *plan, apr_pool_t *p)
{
    office *o;

    SCEP_TRY(init_files(made, plan, p));
    SCEP_TRY(office_load(&o, apr_pstrcat(p, plan->out, "/ca.conf", NULL), NULL, p));
    return report(made, plan, p);
}

int init_main(int argc, char **argv, apr_pool_t *p)
{
    init_made made = { 0 };
    init_plan plan;
    int status = plan_make(&plan, argc, argv, p);
    const scep_err *err;

    if (status >= 0)
        return status;
    err = init_identities(&made, &plan, p);
    if (err) {
        fprintf(stderr, "scep-ca init: %s\n", err->detail);
        return err->code == SCEP_CONFIG ? 2 : 1; /* a kind or a name of the command line */
    }
    err = write_all(&made, &plan, p);
    if (!err)
        return fflush(stdout) ? 1 : 0;
    fprintf(stderr, "scep-ca init: %s\n", err->detail);
    if (made.touched)
        fprintf(stderr,
                "scep-ca init: what was made in %s is incomplete; remove it before trying "
                "again\n",
                plan.out);
    return 1;
}
