/* `scep-ca init`: the folder and its files, none of which is ever overwritten. */
#include "init.h"

#include <apr_strings.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const scep_err *folder_is_empty(const char *path, apr_pool_t *p)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool empty = true;

    if (!dir)
        return scep_fail(p, CONFIG, "%s: %s", path, strerror(errno));
    while ((entry = readdir(dir)) != NULL)
        empty = empty && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."));
    if (closedir(dir))
        return scep_fail(p, CONFIG, "%s: %s", path, strerror(errno));
    if (!empty)
        return scep_fail(p, CONFIG, "%s is not empty; name a new folder", path);
    return NULL;
}

/* 0711: scep-ca's user has to get through to state/ and httpd to public/, and nobody has to see
 * what is here. */
static const scep_err *folder_make(init_made *made, const char *path, mode_t mode, apr_pool_t *p)
{
    if (mkdir(path, mode) && errno != EEXIST)
        return scep_fail(p, CONFIG, "%s cannot be made: %s", path, strerror(errno));
    SCEP_TRY(folder_is_empty(path, p));
    made->touched = true;
    if (chmod(path, mode))
        return scep_fail(p, CONFIG, "%s: its mode cannot be set: %s", path, strerror(errno));
    return NULL;
}

static const scep_err *written(const char *path, BIO *file, int ok, apr_pool_t *p)
{
    int fd = -1;

    ok = ok && BIO_flush(file) == 1 && BIO_get_fd(file, &fd) >= 0 && fsync(fd) == 0;
    if (!ok)
        return scep_fail(p, CONFIG, "%s cannot be written: %s", path, strerror(errno));
    return NULL;
}

static const scep_err *file_make(BIO **out, const char **path, const char *name, mode_t mode,
                                 const init_plan *plan, apr_pool_t *p)
{
    int fd;

    *path = apr_pstrcat(p, plan->out, "/", name, NULL);
    fd = open(*path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return scep_fail(p, CONFIG, "%s cannot be made: %s", *path, strerror(errno));
    *out = scep_BIO(p, BIO_new_fd(fd, BIO_CLOSE));
    if (!*out || fchmod(fd, mode)) {
        if (!*out)
            (void)close(fd);
        return scep_fail(p, CONFIG, "%s: its mode cannot be set", *path);
    }
    return NULL;
}

static const scep_err *key_write(const char *name, EVP_PKEY *key, const init_plan *plan,
                                 apr_pool_t *p)
{
    const char *path;
    BIO *file;

    SCEP_TRY(file_make(&file, &path, name, 0600, plan, p));
    return written(path, file, PEM_write_bio_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), p);
}

static const scep_err *cert_write(const char *name, X509 *cert, const init_plan *plan,
                                  apr_pool_t *p)
{
    const char *path;
    BIO *file;

    SCEP_TRY(file_make(&file, &path, name, 0644, plan, p));
    return written(path, file, PEM_write_bio_X509(file, cert), p);
}

/* Keys the hashes of challenges; nodes that share a database share it. */
static const scep_err *store_key_write(const init_plan *plan, apr_pool_t *p)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char *bytes = scep_secret(p, 32);
    char *text = (char *)scep_secret(p, 65);
    const char *path;
    BIO *file;

    if (RAND_priv_bytes(bytes, 32) != 1)
        return scep_fail(p, INTERNAL, "no random bytes");
    for (int i = 0; i < 32; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[64] = '\n';
    SCEP_TRY(file_make(&file, &path, "store.key", 0600, plan, p));
    return written(path, file, BIO_write(file, text, 65) == 65, p);
}

static const char conf_head[] =
    "# scep-ca's only file. Paths start at this folder. Unknown and repeated keys are refused;\n"
    "# so are single backslashes and dollar signs, which the syntax would swallow. Secrets stand "
    "in "
    "files\n"
    "# of their own, named by \"file:\". After a change: scep-ca check, then a graceful restart.\n"
    "\n"
    "# Challenges, answered requests and issued certificates. Several nodes share one database:\n"
    "# pgsql:host=db dbname=scep passfile=/etc/scep/pgpass, and then the same store.key.\n"
    "store     = sqlite3:state/store.db\n"
    "store_key = file:store.key\n"
    "# The socket of scepctl, which approves, revokes and lists. Left out: none.\n"
    "ctl       = state/ctl.sock\n"
    "\n"
    "# SCEPAuthority in httpd.conf picks one of these; \"default\" serves where it is not set.\n"
    "[authority default]\n"
    "# local: the CA is scep-ca itself. adcs, cmp, est and exec ask one elsewhere, and have keys\n"
    "# of their own in place of ca_key: docs/connectors.md.\n"
    "connector       = local\n"
    "# The issuing CA first, then its chain up to the root.\n"
    "ca_cert         = ca.pem\n"
    "ca_key          = file:ca.key\n"
    "# The RA signs answers with one key and opens requests with the other, which must be RSA.\n"
    "ra_sign_cert    = ra-sign.pem\n"
    "ra_sign_key     = file:ra-sign.key\n"
    "ra_decrypt_cert = ra-decrypt.pem\n"
    "ra_decrypt_key  = file:ra-decrypt.key\n"
    "# Before these end, scep-ca makes the next RA and keeps it in the store, sealed with "
    "store.key.\n"
    "ra_days         = %d\n"
    "ra_renew_days   = 30\n"
    "templates       = IPSECIntermediateOffline, WiFiClient\n"
    "# A certificate that this CA issued without scep-ca may be renewed here as well. Where is it\n"
    "# said that it was revoked? none: nowhere, the CA is new; or file:PATH or an http URL of the\n"
    "# CA's own CRL.\n"
    "foreign_crl     = none\n"
    "# Other CAs whose certificates are renewed here, in PEM form. Left out: none.\n"
    "#renewal_ca     = old-ca.pem\n"
    "# The CRL that scep-ca signs, for httpd to serve. Left out: it signs none.\n"
    "crl_file        = public/ca.crl\n"
    "crl_days        = 7\n"
    "# Which [authority NAME] takes over when this CA ends (GetNextCACert). Left out: none.\n"
    "#next           = successor\n"
    "# What certificates of this CA name in place of the addresses of its templates. Left out: "
    "those.\n"
    "#crl_url        = http://pki.example.com/ca.crl\n"
    "#issuer_url     = http://pki.example.com/ca.cer\n"
    "#ocsp_url       = http://pki.example.com/ocsp\n"
    "# How the registry of NDES names this CA, for SCEPRegistry and SCEPConfiguration. Left out:\n"
    "# neither finds it.\n"
    "#configuration  = ca.example.com\\\\Example CA\n"
    "# A section [directory NAME], Active Directory by LDAP: docs/connectors.md. Left out: none.\n"
    "#directory      = corp\n"
    "#enrollment_service = Example CA\n"
    "\n"
    "# What certificates look like; SCEPTemplate in httpd.conf picks one. Subject and\n"
    "# subjectAltName come from the request, all else from here, or from a CA that is elsewhere.\n"
    "#   ca_template         its name at a CA elsewhere; left out: the section's own\n"
    "#   from_directory      yes: the directory has days, key_usage and extended_key_usage, which\n"
    "#                       are left out here; the larger minimum_rsa_bits counts, and it may\n"
    "#                       bring approval, and allow_sid = no; left out: no\n"
    "#   days                1 to 36500, never beyond the CA's own end\n"
    "#   key_usage           digitalSignature, nonRepudiation, keyEncipherment, dataEncipherment,\n"
    "#                       keyAgreement\n"
    "#   extended_key_usage  names or dotted OIDs; left out: none\n"
    "#   minimum_rsa_bits    1024 to 8192; left out: 2048\n"
    "#   subject_required    yes: a request with a subjectAltName only is refused; left out: no\n"
    "#   allow_sid           yes: whoever enrols may claim any Windows account; directory: the\n"
    "#                       one that it knows by the request's names; left out: no\n"
    "#   crl_url, issuer_url, ocsp_url   left out: the certificate does not name one\n"
    "#   approval            who waits for scepctl approve: no, enrol (requests with a "
    "challenge),\n"
    "#                       always (renewals too); left out: no\n"
    "#   enroll              who may fetch a challenge for it: alice, CORP\\\\bob, @wifi; left "
    "out:\n"
    "#                       whomever httpd lets in\n"
    "#\n"
    "# The group behind @wifi:\n"
    "#[group wifi]\n"
    "#members = carol, CORP\\\\dave\n"
    "#\n"
    "# What an https policy module (SCEPPolicyModule) of the endpoint scep.example needs:\n"
    "#[policy_module scep.example]\n"
    "#secret      = file:module.secret\n"
    "#client_cert = module.pem\n"
    "#client_key  = file:module.key\n"
    "#ca_file     = module-ca.pem\n"
    "\n";

static const char *template_text(const char *head, const init_plan *plan, apr_pool_t *p)
{
    return apr_pstrcat(
        p, head, plan->crl_url ? "crl_url            = " : "", plan->crl_url ? plan->crl_url : "",
        plan->crl_url ? "\n" : "", plan->issuer_url ? "issuer_url         = " : "",
        plan->issuer_url ? plan->issuer_url : "", plan->issuer_url ? "\n" : "", NULL);
}

static const scep_err *conf_write(const init_plan *plan, apr_pool_t *p)
{
    const char *text = apr_pstrcat(
        p, apr_psprintf(p, conf_head, plan->ra_days),
        template_text(
            "# NDES's default: IPsec gateways and everything that asks for nothing else.\n"
            "[template IPSECIntermediateOffline]\n"
            "days               = 730\n"
            "key_usage          = digitalSignature, keyEncipherment\n"
            "extended_key_usage = 1.3.6.1.5.5.8.2.2\n",
            plan, p),
        template_text("\n# Devices that log on to Wi-Fi (802.1X) or a VPN.\n"
                      "[template WiFiClient]\n"
                      "days               = 365\n"
                      "key_usage          = digitalSignature, keyEncipherment\n"
                      "extended_key_usage = clientAuth\n",
                      plan, p),
        NULL);
    const char *path;
    BIO *file;

    SCEP_TRY(file_make(&file, &path, "ca.conf", 0644, plan, p));
    return written(path, file, BIO_puts(file, text) == (int)strlen(text), p);
}

/* The two places that scep-ca writes to after it dropped privileges. */
static const scep_err *folder_give(init_made *made, const char *name, mode_t mode,
                                   const init_plan *plan, apr_pool_t *p)
{
    const char *path = apr_pstrcat(p, plan->out, "/", name, NULL);
    struct passwd *user;

    SCEP_TRY(folder_make(made, path, mode, p));
    if (!plan->owner)
        return NULL;
    user = getpwnam(plan->owner);
    if (!user)
        return scep_fail(p, CONFIG, "there is no user \"%s\"", plan->owner);
    if (chown(path, user->pw_uid, user->pw_gid))
        return scep_fail(p, CONFIG, "%s cannot be given to %s: %s", path, plan->owner,
                         strerror(errno));
    return NULL;
}

const scep_err *init_files(init_made *made, const init_plan *plan, apr_pool_t *p)
{
    if (plan->owner && !getpwnam(plan->owner))
        return scep_fail(p, CONFIG,
                         "there is no user \"%s\"; useradd --system --no-create-home --shell "
                         "/usr/sbin/nologin %s makes it",
                         plan->owner, plan->owner);
    SCEP_TRY(folder_make(made, plan->out, 0711, p));
    SCEP_TRY(key_write("ca.key", made->ca.key, plan, p));
    SCEP_TRY(cert_write("ca.pem", made->ca.cert, plan, p));
    SCEP_TRY(key_write("ra-sign.key", made->ra_sign.key, plan, p));
    SCEP_TRY(cert_write("ra-sign.pem", made->ra_sign.cert, plan, p));
    SCEP_TRY(key_write("ra-decrypt.key", made->ra_decrypt.key, plan, p));
    SCEP_TRY(cert_write("ra-decrypt.pem", made->ra_decrypt.cert, plan, p));
    SCEP_TRY(store_key_write(plan, p));
    /* the database and scepctl's socket; and what httpd serves */
    SCEP_TRY(folder_give(made, "state", 0700, plan, p));
    SCEP_TRY(folder_give(made, "public", 0755, plan, p));
    return conf_write(plan, p);
}
