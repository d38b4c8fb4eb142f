/* ca.conf: [directory NAME], and what authorities and templates say of one. */
#include "suite.h"

#include "conf.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TOP                            \
    "store = sqlite3:state/store.db\n" \
    "store_key = file:store.key\n"
#define AUTHORITY                   \
    "[authority default]\n"         \
    "connector = local\n"           \
    "ca_cert = ca.pem\n"            \
    "ca_key = file:ca.key\n"        \
    "ra_sign_cert = a.pem\n"        \
    "ra_sign_key = file:a.key\n"    \
    "ra_decrypt_cert = b.pem\n"     \
    "ra_decrypt_key = file:b.key\n" \
    "foreign_crl = none\n"          \
    "templates = T\n"
#define ADCS                        \
    "[authority default]\n"         \
    "connector = adcs\n"            \
    "ca_cert = ca.pem\n"            \
    "ra_sign_cert = a.pem\n"        \
    "ra_sign_key = file:a.key\n"    \
    "ra_decrypt_cert = b.pem\n"     \
    "ra_decrypt_key = file:b.key\n" \
    "foreign_crl = none\n"          \
    "templates = T\n"               \
    "server = ca1.corp.test\n"      \
    "ca_name = Corp CA\n"           \
    "principal = ndes@CORP.TEST\n"  \
    "keytab = file:ndes.keytab\n"
#define TEMPLATE "[template T]\ndays = 30\nkey_usage = digitalSignature\n"
#define FROM "[template T]\nfrom_directory = yes\n"
#define GSSAPI                     \
    "[directory corp]\n"           \
    "url = ldap://dc1.corp.test\n" \
    "bind = gssapi\n"              \
    "principal = ndes@CORP.TEST\n" \
    "keytab = file:ndes.keytab\n"
#define SIMPLE(url)                \
    "[directory corp]\nurl = " url \
    "\nbind = simple\nuser = ndes@corp.test\npassword = file:secret\n"

static const scep_err *load(conf **out, const char *text)
{
    char folder[] = "/tmp/scep-conf-XXXXXX";
    const scep_err *err;
    const char *path;
    FILE *file;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    path = apr_pstrcat(p, folder, "/ca.conf", NULL);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    err = conf_load(out, path, p);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    return err;
}

START_TEST(every_key_of_a_directory_is_read)
{
    const conf_directory *d;
    const conf_authority *a;
    conf *c;

    assert_ok(load(&c, TOP AUTHORITY
                   "directory = corp\nenrollment_service = Corp CA 2\n" FROM
                   "allow_sid = directory\n"
                   "[directory corp]\nurl = ldap://dc1.corp.test, ldap://[::1]:3268\n"
                   "starttls = yes\nbind = simple\nuser = CN=a,DC=b\npassword = file:secret\n"
                   "tls_ca = tls-ca.pem\ntls_cert = c.pem\ntls_key = file:c.key\n"
                   "timeout = 3\ncache = 0\n"));
    a = conf_authority_find(c, "default");
    d = a->directory;
    ck_assert_ptr_nonnull(d);
    ck_assert_str_eq(d->name, "corp");
    ck_assert_int_eq(d->urls->nelts, 2);
    ck_assert_str_eq(APR_ARRAY_IDX(d->urls, 1, const char *), "ldap://[::1]:3268");
    ck_assert(d->starttls);
    ck_assert_str_eq(d->bind, "simple");
    ck_assert_str_eq(d->user, "CN=a,DC=b");
    ck_assert(*d->password == '/' && strstr(d->password, "/secret"));
    ck_assert(*d->tls_ca == '/' && *d->tls_cert == '/' && *d->tls_key == '/');
    ck_assert_int_eq(d->timeout, 3);
    ck_assert_int_eq(d->cache, 0);
    ck_assert_str_eq(a->enrollment_service, "Corp CA 2");
    ck_assert(conf_template_find(a, "T")->from_directory);
    ck_assert_int_eq(conf_template_find(a, "T")->allow_sid, CONF_SID_DIRECTORY);
}
END_TEST

START_TEST(what_is_left_out_has_a_default)
{
    const conf_authority *a;
    conf *c;

    assert_ok(load(&c, TOP AUTHORITY "directory = corp\n" TEMPLATE GSSAPI));
    a = conf_authority_find(c, "default");
    ck_assert_int_eq(a->directory->timeout, 10);
    ck_assert_int_eq(a->directory->cache, 300);
    ck_assert(!a->directory->starttls);
    ck_assert_ptr_null(a->directory->tls_ca);
    ck_assert_ptr_null(a->enrollment_service);
    ck_assert(!conf_template_find(a, "T")->from_directory);
    assert_ok(load(&c, TOP ADCS "directory = corp\n" TEMPLATE GSSAPI));
    ck_assert_str_eq(conf_authority_find(c, "default")->enrollment_service, "Corp CA");
    assert_ok(load(&c, TOP ADCS TEMPLATE));
    ck_assert_ptr_null(conf_authority_find(c, "default")->directory);
}
END_TEST

static const char *const accepted[] = {
    TOP AUTHORITY "directory = corp\n" TEMPLATE SIMPLE("ldaps://dc1.corp.test"),
    TOP AUTHORITY "directory = corp\n" TEMPLATE SIMPLE("ldaps://dc1.corp.test:636"),
    TOP AUTHORITY "directory = corp\n" TEMPLATE SIMPLE("ldap://127.0.0.1:389") "starttls = yes\n",
    TOP AUTHORITY "directory = corp\n" TEMPLATE
                  "[directory corp]\nurl = ldaps://a\nbind = external\ntls_cert = c.pem\n"
                  "tls_key = file:c.key\n",
    TOP AUTHORITY TEMPLATE GSSAPI,
};

START_TEST(each_way_of_logging_on_is_accepted)
{
    conf *c;

    row = accepted[_i];
    assert_ok(load(&c, accepted[_i]));
}
END_TEST

static const struct {
    const char *name, *text, *says;
} refused[] = {
    { "simple without TLS",
      TOP AUTHORITY "directory = corp\n" TEMPLATE SIMPLE("ldap://dc1.corp.test"),
      "bind = simple needs TLS" },
    { "simple where one server has no TLS",
      TOP AUTHORITY "directory = corp\n" TEMPLATE SIMPLE("ldaps://a, ldap://b"),
      "bind = simple needs TLS" },
    { "StartTLS within TLS", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://a") "starttls = yes\n",
      "exclude each other" },
    { "external without TLS",
      TOP AUTHORITY TEMPLATE "[directory corp]\nurl = ldap://a\nbind = external\n"
                             "tls_cert = c.pem\ntls_key = file:c.key\n",
      "bind = external needs TLS" },
    { "external without a certificate",
      TOP AUTHORITY TEMPLATE "[directory corp]\nurl = ldaps://a\nbind = external\n",
      "bind = external needs tls_cert and tls_key" },
    { "simple without a password",
      TOP AUTHORITY TEMPLATE "[directory corp]\nurl = ldaps://a\nbind = simple\nuser = x\n",
      "bind = simple needs user and password" },
    { "gssapi without a keytab",
      TOP AUTHORITY TEMPLATE "[directory corp]\nurl = ldaps://a\nbind = gssapi\nprincipal = x\n",
      "bind = gssapi needs principal and keytab" },
    { "a password that is not used", TOP AUTHORITY TEMPLATE GSSAPI "user = x\n",
      "user and password belong to bind = simple" },
    { "a password in ca.conf",
      TOP AUTHORITY TEMPLATE "[directory corp]\nurl = ldaps://a\nbind = simple\nuser = x\n"
                             "password = secret\n",
      "file:PATH" },
    { "a key without a certificate", TOP AUTHORITY TEMPLATE GSSAPI "tls_key = file:x\n",
      "go together" },
    { "no way of logging on", TOP AUTHORITY TEMPLATE "[directory corp]\nurl = ldaps://a\n",
      "bind is missing" },
    { "an unknown one", TOP AUTHORITY TEMPLATE "[directory corp]\nurl = ldaps://a\nbind = ntlm\n",
      "gssapi|simple|external" },
    { "no server", TOP AUTHORITY TEMPLATE "[directory corp]\nbind = gssapi\n", "url is missing" },
    { "another scheme", TOP AUTHORITY TEMPLATE SIMPLE("https://a"), "is none" },
    { "a URL with a base", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://a/DC=b"), "is none" },
    { "a URL without a host", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://"), "is none" },
    { "a URL of a port only", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://:636"), "is none" },
    { "port 0", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://a:0"), "is none" },
    { "a port too large", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://a:65536"), "is none" },
    { "a port and more", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://a:636x"), "is none" },
    { "half an address", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://[::1"), "is none" },
    { "a user in a URL", TOP AUTHORITY TEMPLATE SIMPLE("ldaps://a@b"), "is none" },
    { "no time at all", TOP AUTHORITY TEMPLATE GSSAPI "timeout = 0\n", "1 to 120" },
    { "a cache of more than a day", TOP AUTHORITY TEMPLATE GSSAPI "cache = 86401\n", "0 to 86400" },
    { "an unknown key", TOP AUTHORITY TEMPLATE GSSAPI "base = DC=a\n", "base is not known here" },
    { "one that is not there", TOP AUTHORITY "directory = other\n" TEMPLATE GSSAPI,
      "there is no section [directory other]" },
    { "twice", TOP AUTHORITY TEMPLATE GSSAPI "[directory  corp]\nurl = ldaps://a\n",
      "directory corp is there twice" },
    { "a name that is none", TOP AUTHORITY TEMPLATE "[directory a b]\n", "as a name" },
    { "a service without a directory", TOP AUTHORITY "enrollment_service = x\n" TEMPLATE,
      "directory = NAME is missing" },
    { "attributes without a directory", TOP AUTHORITY FROM,
      "from_directory = yes needs a directory" },
    { "a SID without a directory", TOP AUTHORITY TEMPLATE "allow_sid = directory\n",
      "allow_sid = directory needs a directory" },
    { "attributes twice", TOP AUTHORITY "directory = corp\n" FROM "days = 3\n" GSSAPI,
      "leave them out" },
    { "a key usage twice",
      TOP AUTHORITY "directory = corp\n" FROM "key_usage = digitalSignature\n" GSSAPI,
      "leave them out" },
    { "another word for the SID", TOP AUTHORITY TEMPLATE "allow_sid = maybe\n",
      "yes and no are accepted, and directory" },
};

START_TEST(what_is_wrong_with_a_directory_is_refused)
{
    const scep_err *err;
    conf *c;

    row = refused[_i].name;
    err = load(&c, refused[_i].text);
    assert_code(SCEP_CONFIG, err);
    ck_assert_msg(strstr(err->detail, refused[_i].says) != NULL, "%s: %s", row, err->detail);
}
END_TEST

static void add_tests(TCase *c)
{
    tcase_add_test(c, every_key_of_a_directory_is_read);
    tcase_add_test(c, what_is_left_out_has_a_default);
    tcase_add_loop_test(c, each_way_of_logging_on_is_accepted, 0, ROWS(accepted));
    tcase_add_loop_test(c, what_is_wrong_with_a_directory_is_refused, 0, ROWS(refused));
}

int main(void)
{
    return run_suite("conf_directory", add_tests);
}
