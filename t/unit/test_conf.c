/* ca.conf: what is accepted, and the line that is named where it is not. */
#include "conf.h"
#include "suite.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TOP                            \
    "store = sqlite3:state/store.db\n" \
    "store_key = file:store.key\n"
#define AUTHORITY_KEYS                        \
    "connector = local\n"                     \
    "ca_cert = ca.pem\n"                      \
    "ca_key = file:ca.key\n"                  \
    "ra_sign_cert = ra-sign.pem\n"            \
    "ra_sign_key = file:ra-sign.key\n"        \
    "ra_decrypt_cert = /abs/ra-decrypt.pem\n" \
    "ra_decrypt_key = file:/abs/ra-decrypt.key\n"
#define AUTHORITY "[authority default]\n" AUTHORITY_KEYS "templates = A, B\nforeign_crl = none\n"
/* Of a CA elsewhere: its own keys begin in line 12. */
#define REMOTE(kind)                          \
    "[authority a]\n"                         \
    "connector = " kind "\n"                  \
    "ca_cert = ca.pem\n"                      \
    "ra_sign_cert = ra-sign.pem\n"            \
    "ra_sign_key = file:ra-sign.key\n"        \
    "ra_decrypt_cert = /abs/ra-decrypt.pem\n" \
    "ra_decrypt_key = file:ra-decrypt.key\n"  \
    "templates = R\nforeign_crl = none\n"
/* In a section without an RA from files. */
#define NO_RA(kind)          \
    "connector = " kind "\n" \
    "ca_cert = ca.pem\n"     \
    "templates = R\n"        \
    "foreign_crl = none\n"
#define ADCS "server = dc\nca_name = CA\nprincipal = a@B\nkeytab = file:k\n"
#define TEMPLATE_R "[template R]\nca_template = Web Server\n"
#define CMP_URL "url = http://ca.example/pkix\n"
#define EST_URL "url = https://ca.example\n"
#define OTHER AUTHORITY_KEYS "templates = A\nforeign_crl = none\n"
#define TEMPLATE_A "[template A]\ndays = 30\nkey_usage = digitalSignature\n"
#define TEMPLATE_B                                                                  \
    "[template B]\ndays = 36500\nkey_usage = digitalSignature , keyEncipherment\n"  \
    "extended_key_usage = clientAuth, 1.3.6.1.5.5.8.2.2\nminimum_rsa_bits = 3072\n" \
    "subject_required = yes\nallow_sid = yes\ncrl_url = http://a.example/crl\n"     \
    "issuer_url = ldap://a.example/ca\nocsp_url = https://a.example/\n"
#define WHOLE TOP AUTHORITY TEMPLATE_A TEMPLATE_B
#define EVERYTHING                                                                \
    "ctl = state/ctl.sock\n" TOP AUTHORITY                                        \
    "ra_days = 90\nra_renew_days = 9\nrenewal_ca = old.pem\n"                     \
    "crl_file = public/ca.crl\ncrl_days = 3\nnext = heir\n" TEMPLATE_A TEMPLATE_B \
    "approval = enrol\n[authority heir]\n" AUTHORITY_KEYS                         \
    "templates = A\nforeign_crl = file:crl/old.crl\ncrl_file = public/heir.crl\n"

static const char *folder;

static const char *file_with(const void *text, size_t len)
{
    char *made = apr_pstrdup(p, "/tmp/scep-conf-XXXXXX");
    const char *path;
    FILE *file;

    folder = mkdtemp(made);
    ck_assert_ptr_nonnull(folder);
    path = apr_pstrcat(p, folder, "/ca.conf", NULL);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

static const scep_err *load(conf **out, const void *text, size_t len)
{
    const char *path = file_with(text, len);
    const scep_err *err = conf_load(out, path, p);

    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    return err;
}

START_TEST(every_key_is_read)
{
    const conf_authority *a;
    const conf_template *t;
    conf *c;

    assert_ok(load(&c, EVERYTHING, strlen(EVERYTHING)));
    ck_assert_str_eq(c->ctl, apr_pstrcat(p, folder, "/state/ctl.sock", NULL));
    ck_assert_str_eq(c->store, apr_pstrcat(p, "sqlite3:", folder, "/state/store.db", NULL));
    ck_assert_str_eq(c->store_key, apr_pstrcat(p, folder, "/store.key", NULL));
    ck_assert_int_eq(c->authorities->nelts, 2);
    ck_assert_ptr_null(conf_authority_find(c, "other"));
    a = conf_authority_find(c, "default");
    ck_assert_ptr_nonnull(a);
    ck_assert_str_eq(a->connector, "local");
    ck_assert_str_eq(a->ca_cert, apr_pstrcat(p, folder, "/ca.pem", NULL));
    ck_assert_str_eq(a->ca_key, apr_pstrcat(p, folder, "/ca.key", NULL));
    ck_assert_str_eq(a->ra_decrypt_cert, "/abs/ra-decrypt.pem");
    ck_assert_str_eq(a->ra_decrypt_key, "/abs/ra-decrypt.key");
    ck_assert_int_eq(a->templates->nelts, 2);
    ck_assert_ptr_null(conf_template_find(a, "C"));
    t = conf_template_find(a, "B");
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(t->days, 36500);
    ck_assert_uint_eq(t->key_usage, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
    ck_assert_str_eq(t->extended_key_usage, "clientAuth,1.3.6.1.5.5.8.2.2");
    ck_assert_int_eq(t->minimum_rsa_bits, 3072);
    ck_assert(t->subject_required && t->allow_sid);
    ck_assert_str_eq(t->crl_url, "http://a.example/crl");
    ck_assert_str_eq(t->issuer_url, "ldap://a.example/ca");
    ck_assert_str_eq(t->ocsp_url, "https://a.example/");
    ck_assert_str_eq(t->approval, "enrol");
}
END_TEST

START_TEST(every_key_of_renewal_and_roll_over_is_read)
{
    const conf_authority *a, *heir;
    conf *c;

    assert_ok(load(&c, EVERYTHING, strlen(EVERYTHING)));
    a = conf_authority_find(c, "default");
    heir = conf_authority_find(c, "heir");
    ck_assert_int_eq(a->ra_days, 90);
    ck_assert_int_eq(a->ra_renew_days, 9);
    ck_assert_str_eq(a->renewal_ca, apr_pstrcat(p, folder, "/old.pem", NULL));
    ck_assert_str_eq(a->foreign_crl, "none");
    ck_assert_str_eq(heir->foreign_crl, apr_pstrcat(p, folder, "/crl/old.crl", NULL));
    ck_assert_str_eq(a->crl_file, apr_pstrcat(p, folder, "/public/ca.crl", NULL));
    ck_assert_int_eq(a->crl_days, 3);
    ck_assert_str_eq(a->next_name, "heir");
    ck_assert_ptr_eq(a->next, heir);
    ck_assert_ptr_null(heir->next);
}
END_TEST

/* So that the successor of a CA may use its templates. */
START_TEST(an_authoritys_own_addresses_take_the_place_of_its_templates)
{
    static const char more[] =
        "[authority own]\n" AUTHORITY_KEYS "templates = A, B\nforeign_crl = none\n"
        "crl_url = http://own.example/crl\n"
        "ocsp_url = http://own.example/ocsp\n";
    const conf_template *a, *b;
    conf *c;

    assert_ok(load(&c, apr_pstrcat(p, WHOLE, more, NULL), strlen(WHOLE) + strlen(more)));
    a = conf_template_find(conf_authority_find(c, "own"), "A");
    b = conf_template_find(conf_authority_find(c, "own"), "B");
    ck_assert_str_eq(a->crl_url, "http://own.example/crl");
    ck_assert_str_eq(b->crl_url, "http://own.example/crl");
    ck_assert_str_eq(b->issuer_url, "ldap://a.example/ca");
    ck_assert_ptr_null(a->issuer_url);
    ck_assert_str_eq(b->ocsp_url, "http://own.example/ocsp");
    b = conf_template_find(conf_authority_find(c, "default"), "B");
    ck_assert_str_eq(b->crl_url, "http://a.example/crl");
}
END_TEST

START_TEST(what_is_left_out_has_its_default)
{
    const conf_authority *a;
    const conf_template *t;
    conf *c;

    assert_ok(load(&c, WHOLE, strlen(WHOLE)));
    a = conf_authority_find(c, "default");
    ck_assert_ptr_null(c->ctl);
    ck_assert_int_eq(a->ra_days, 365);
    ck_assert_int_eq(a->ra_renew_days, 30);
    ck_assert_int_eq(a->crl_days, 7);
    ck_assert_ptr_null(a->renewal_ca);
    ck_assert_ptr_null(a->crl_file);
    ck_assert_ptr_null(a->next_name);
    ck_assert_ptr_null(a->next);
    t = conf_template_find(a, "A");
    ck_assert_str_eq(t->approval, "no");
    ck_assert_int_eq(t->minimum_rsa_bits, 2048);
    ck_assert(!t->subject_required && !t->allow_sid);
    ck_assert_ptr_null(t->extended_key_usage);
    ck_assert_ptr_null(t->crl_url);
    ck_assert_ptr_null(t->issuer_url);
    ck_assert_ptr_null(t->ocsp_url);
}
END_TEST

/* Users in a template's list, commas between; "": whomever httpd lets in. */
static const struct {
    const char *name, *text, *users;
} enrolling[] = {
    { "no list", "", "" },
    { "users", "enroll = alice, Bob Smith, carol@EXAMPLE.COM\n",
      "alice,Bob Smith,carol@EXAMPLE.COM" },
    { "a user of a domain", "enroll = CORP\\\\alice\n", "CORP\\alice" },
    { "a group", "enroll = @wifi\n[group wifi]\nmembers = bob, CORP\\\\carol\n",
      "bob,CORP\\carol" },
    { "users and groups",
      "enroll = @a, alice, @b\n[group b]\nmembers = y\n[group a]\nmembers = x\n", "x,alice,y" },
};

START_TEST(who_may_enroll_is_read)
{
    const char *text =
        apr_pstrcat(p, TOP AUTHORITY TEMPLATE_B TEMPLATE_A, enrolling[_i].text, NULL);
    const conf_template *t;
    conf *c;

    row = enrolling[_i].name;
    assert_ok(load(&c, text, strlen(text)));
    t = conf_template_find(conf_authority_find(c, "default"), "A");
    if (!*enrolling[_i].users) {
        ck_assert_ptr_null(t->enroll);
        ck_assert(conf_may_enroll(t, "anybody"));
        return;
    }
    ck_assert_str_eq(apr_array_pstrcat(p, t->enroll, ','), enrolling[_i].users);
    for (int i = 0; i < t->enroll->nelts; i++)
        ck_assert(conf_may_enroll(t, APR_ARRAY_IDX(t->enroll, i, const char *)));
    ck_assert(!conf_may_enroll(t, "ALICE"));
    ck_assert(!conf_may_enroll(t, ""));
    ck_assert(!conf_may_enroll(t, "@wifi"));
    ck_assert_ptr_null(conf_template_find(conf_authority_find(c, "default"), "B")->enroll);
}
END_TEST

START_TEST(an_authority_is_found_by_its_configuration)
{
    static const char more[] = "[authority a]\n" OTHER "configuration = HOST\\\\CA one\n";
    conf *c;

    assert_ok(load(&c, apr_pstrcat(p, WHOLE, more, NULL), strlen(WHOLE) + strlen(more)));
    ck_assert_str_eq(conf_authority_find(c, "a")->configuration, "HOST\\CA one");
    ck_assert_ptr_eq(conf_configuration_find(c, "host\\ca ONE"), conf_authority_find(c, "a"));
    ck_assert_ptr_null(conf_configuration_find(c, "host\\CA two"));
    ck_assert_ptr_null(conf_configuration_find(c, ""));
    ck_assert_ptr_null(conf_authority_find(c, "default")->configuration);
}
END_TEST

static const struct {
    const char *name, *text;
} accepted[] = {
    { "comments, quotes, blank lines, CRLF, no newline at the end",
      "# C:\\CA and $HOME may stand in a comment\r\n\r\n" TOP AUTHORITY TEMPLATE_A TEMPLATE_B
      "[ template  C_1.x-y ]  # one more\r\n days=1 # a day\r\nkey_usage = \"digitalSignature\"" },
    { "several authorities share a template", WHOLE "[authority other]\n" OTHER },
    { "three authorities in a row", WHOLE "[authority c]\n" OTHER "[authority a]\n" OTHER
                                          "next = b\n[authority b]\n" OTHER "next = c\n" },
    { "an https URL of a CRL",
      TOP "[authority a]\n" AUTHORITY_KEYS
          "templates = A\nforeign_crl = https://a.example/x.crl\n" TEMPLATE_A },
    { "PostgreSQL",
      "store = pgsql:host=db dbname=scep passfile=/etc/x\nstore_key = file:k\n" AUTHORITY TEMPLATE_A
          TEMPLATE_B },
};

START_TEST(what_is_good_is_accepted)
{
    conf *c;

    row = accepted[_i].name;
    assert_ok(load(&c, accepted[_i].text, strlen(accepted[_i].text)));
}
END_TEST

/* Refused, naming the line and the reason. */
static const struct {
    const char *name, *text;
    int line; /* 0: of no line */
    const char *says;
} refused[] = {
    { "a repeated key", "store = sqlite3:a\nstore_key = file:b\nstore = sqlite3:c\n", 3,
      "line 1 already" },
    { "a repeated section", WHOLE TEMPLATE_A, 26, "line 13 already" },
    { "a repeated template, spelled otherwise", WHOLE "[template  A]\ndays=1\n", 26, "twice" },
    { "a repeated authority, spelled otherwise", WHOLE "[authority  default]\n", 26, "twice" },
    { "an unknown key at the top", "stor = sqlite3:a\n", 1, "store, store_key" },
    { "an unknown key in an authority", TOP "[authority a]\nca_crt = x\n", 4, "ca_cert" },
    { "an unknown key in a template", TOP "[template a]\nday = 1\n", 4, "days" },
    { "a key of another section", WHOLE "store = sqlite3:x\n", 26, "not known here" },
    { "an unknown section", TOP "[authorities]\n", 3, "[authority NAME]" },
    { "OpenSSL's default section", TOP "[default]\n", 3, "[authority NAME]" },
    { "OpenSSL's environment", TOP "[ENV]\n", 3, "[authority NAME]" },
    { "a section without a name", TOP "[template]\n", 3, "[template NAME]" },
    { "empty brackets", TOP "[ ]\n", 3, "between its brackets" },
    { "brackets not closed", TOP "[template A\n", 3, "[NAME]" },
    { "text behind brackets", TOP "[template A] days = 1\n", 3, "[NAME]" },
    { "a backslash", "store = sqlite3:C:\\db\n", 1, "write it twice" },
    { "three backslashes", "store = sqlite3:C:\\\\\\db\n", 1, "write it twice" },
    { "a backslash in quotes", "store = 'sqlite3:C:\\db'\n", 1, "write it twice" },
    { "two at the end of a line", "store = sqlite3:a\\\\\nstore_key = file:b\n", 1, "backslash" },
    { "a configuration without a host", TOP "[authority a]\nconfiguration = CA\n", 4,
      "HOST\\\\NAME" },
    { "a configuration with an empty host", TOP "[authority a]\nconfiguration = \\\\CA\n", 4,
      "HOST\\\\NAME" },
    { "a configuration with an empty name", TOP "[authority a]\nconfiguration = 'HOST\\\\'\n", 4,
      "HOST\\\\NAME" },
    { "a configuration of three parts", TOP "[authority a]\nconfiguration = A\\\\B\\\\C\n", 4,
      "HOST\\\\NAME" },
    { "one configuration for two CAs",
      WHOLE "[authority a]\n" OTHER "configuration = H\\\\C\n[authority b]\n" OTHER
            "configuration = h\\\\c\n",
      0, "[authority a]'s and [authority b]'s" },
    { "an empty list of users", WHOLE "enroll =\n", 26, "names with one comma" },
    { "a user twice", WHOLE "enroll = a, a\n", 26, "a twice" },
    { "a group that is not there", WHOLE "enroll = alice, @wifi\n", 26, "no section [group wifi]" },
    { "a group without a name", WHOLE "enroll = @\n", 26, "no section [group ]" },
    { "a group without members", TOP "[group a]\n", 3, "members is missing in [group a]" },
    { "a group in a group", TOP "[group a]\nmembers = x, @b\n", 4, "has users only" },
    { "a group twice", TOP "[group a]\nmembers = x\n[group  a]\nmembers = y\n", 5, "twice" },
    { "a group of a bad name", TOP "[group a/b]\n", 3, "letters, digits" },
    { "a key of a template in a group", TOP "[group a]\ndays = 1\n", 4, "members" },
    { "a continued line", "store = sqlite3:a \\\nstore_key = file:b\n", 1, "backslash" },
    { "a continued comment", "# a \\\nstore = sqlite3:a\n", 1, "backslash" },
    { "a continued comment, CRLF", "# a \\\r\nstore = sqlite3:a\n", 1, "backslash" },
    { "a variable", "store = sqlite3:$HOME\n", 1, "'$'" },
    { "a variable in quotes", "store = 'sqlite3:$HOME'\n", 1, "'$'" },
    { "an include", ".include /etc/x\n", 1, "are not accepted" },
    { "an include with a sign", "  .include = /etc/x\n", 1, "are not accepted" },
    { "a pragma", ".pragma dollarid:on\n", 1, "are not accepted" },
    { "a key of another section by its path", "default::store = sqlite3:a\n", 1, "no key" },
    { "no equals sign", "store\n", 1, "KEY = VALUE" },
    { "no key", "= x\n", 1, "key is missing" },
    { "an open quote", "store = 'sqlite3:a\n", 1, "not closed" },
    { "no store", "store_key = file:b\n" AUTHORITY TEMPLATE_A TEMPLATE_B, 1, "store is missing" },
    { "no store_key", "store = sqlite3:b\n", 1, "store_key is missing" },
    { "a store of an unknown kind", "store = mysql:x\n", 1, "pgsql:PARAMETERS" },
    { "a store without a path", "store = sqlite3:\n", 1, "sqlite3:PATH" },
    { "a password in the open", "store = pgsql:host=a Password = b\n", 1, "passfile" },
    { "a password in a URI", "store = pgsql:postgresql://u:p@h/d\n", 1, "passfile" },
    { "a secret in the open", "store = sqlite3:a\nstore_key = 0123\n", 2, "file:PATH" },
    { "a key in a token of no module", TOP "[authority a]\nca_key = pkcs11:object=x\n", 4,
      "module-path=" },
    { "no authority", TOP TEMPLATE_A, 0, "[authority default] section is needed" },
    { "an authority without a CA", TOP "[authority a]\nconnector = local\n", 3,
      "ca_cert is missing in [authority a]" },
    { "an authority without a template", TOP "[authority a]\n" AUTHORITY_KEYS, 3,
      "templates is missing" },
    { "an empty list of templates", TOP "[authority a]\n" AUTHORITY_KEYS "templates = \n", 11,
      "names with one comma" },
    { "a list with a gap", TOP "[authority a]\ntemplates = A,,B\n", 4, "one comma" },
    { "a list that ends with a comma", TOP "[authority a]\ntemplates = A,\n", 4, "one comma" },
    { "a template listed twice", TOP "[authority a]\ntemplates = A, A\n", 4, "A twice" },
    { "a template that is not there", TOP AUTHORITY TEMPLATE_A, 0, "[template B]" },
    { "a name with a space", TOP "[authority a b]\n", 3, "letters, digits" },
    { "a name with a slash", TOP "[template a/b]\n", 3, "letters, digits" },
    { "a name of 65",
      TOP "[template aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n", 3,
      "1 to 64" },
    { "no days", TOP "[template a]\ndays = 0\n", 4, "from 1 to 36500" },
    { "a hundred years and a day", TOP "[template a]\ndays = 36501\n", 4, "from 1 to 36500" },
    { "negative days", TOP "[template a]\ndays = -1\n", 4, "from 1 to 36500" },
    { "days and more", TOP "[template a]\ndays = 1d\n", 4, "from 1 to 36500" },
    { "days beyond a number", TOP "[template a]\ndays = 18446744073709551617\n", 4, "36500" },
    { "no value", TOP "[template a]\ndays =\n", 4, "36500" },
    { "days missing", TOP AUTHORITY "[template A]\nkey_usage = digitalSignature\n" TEMPLATE_B, 0,
      "days is missing in [template A], which [authority default] lists" },
    { "key usage missing", TOP AUTHORITY "[template A]\ndays = 1\n" TEMPLATE_B, 0,
      "key_usage is missing in [template A], which [authority default] lists" },
    { "a key usage of a CA", TOP "[template a]\nkey_usage = keyCertSign\n", 4, "keyCertSign" },
    { "an unknown EKU", TOP "[template a]\nextended_key_usage = clientauth\n", 4, "clientauth" },
    { "a name that is no EKU", TOP "[template a]\nextended_key_usage = commonName\n", 4,
      "commonName" },
    { "an OID that ends with a dot", TOP "[template a]\nextended_key_usage = 1.3.6.\n", 4,
      "dotted OIDs" },
    { "a broken OID", TOP "[template a]\nextended_key_usage = 1.3.6..1\n", 4, "dotted OIDs" },
    { "a key too small", TOP "[template a]\nminimum_rsa_bits = 1023\n", 4, "1024 to 8192" },
    { "a key too large", TOP "[template a]\nminimum_rsa_bits = 8193\n", 4, "1024 to 8192" },
    { "on for yes", TOP "[template a]\nallow_sid = on\n", 4, "yes and no" },
    { "a URL without a scheme", TOP "[template a]\ncrl_url = a.example\n", 4, "http://" },
    { "a URL with a space", TOP "[template a]\ncrl_url = http://a b\n", 4, "without spaces" },
    { "no word on the CA's former CRL", TOP "[authority a]\n" AUTHORITY_KEYS "templates = A\n", 3,
      "foreign_crl is missing in [authority a]: " },
    { "no word on it, and what to write", TOP "[authority a]\n" AUTHORITY_KEYS "templates = A\n", 3,
      "foreign_crl = none if there is none" },
    { "an empty word on it", TOP "[authority a]\nforeign_crl =\n", 4, "none, file:PATH" },
    { "a path that may be a word", TOP "[authority a]\nforeign_crl = old.crl\n", 4, "file:PATH" },
    { "a CRL in a directory", TOP "[authority a]\nforeign_crl = ldap://a.example/x\n", 4,
      "https:// URL" },
    { "a CRL's URL with a space", TOP "[authority a]\nforeign_crl = http://a /x\n", 4,
      "without spaces" },
    { "an RA of no days", TOP "[authority a]\nra_days = 0\n", 4, "from 1 to 36500" },
    { "an RA renewed too late", TOP "[authority a]\nra_renew_days = 0\n", 4, "from 1 to 36500" },
    { "a CRL of no days", TOP "[authority a]\ncrl_days = 0\n", 4, "from 1 to 36500" },
    { "an empty path", TOP "[authority a]\ncrl_file =\n", 4, "the path of a file" },
    { "an approval there is not", TOP "[template a]\napproval = yes\n", 4, "no|enrol|always" },
    { "a part of a word", TOP "[template a]\napproval = enr\n", 4, "no|enrol|always" },
    { "a successor that is not there", WHOLE "[authority a]\n" OTHER "next = b\n", 0,
      "[authority a] names next = b, and there is no section [authority b]" },
    { "a CA that follows itself", WHOLE "[authority a]\n" OTHER "next = a\n", 0,
      "leads back to itself" },
    { "a circle of three",
      WHOLE "[authority a]\n" OTHER "next = b\n[authority b]\n" OTHER
            "next = c\n[authority c]\n" OTHER "next = a\n",
      0, "[authority c] with next = a leads back to itself" },
    { "one file for two CRLs",
      WHOLE "[authority a]\n" OTHER "crl_file = x\n[authority b]\n" OTHER "crl_file = ./x\n", 0,
      "[authority a]'s and [authority b]'s" },
    { "a kind of CA that there is not", TOP "[authority a]\nconnector = ldap\n", 4,
      "there is no \"ldap\"; local, adcs, cmp, est and exec are accepted" },
    { "no kind of CA", TOP "[authority a]\nca_cert = ca.pem\n", 3, "connector is missing" },
    { "a key of another kind", TOP REMOTE("exec") "ca_key = file:ca.key\n", 12,
      "ca_key is not known here" },
    { "a local CA does not time out", TOP "[authority a]\n" AUTHORITY_KEYS "timeout = 5\n", 11,
      "timeout is not known here" },
    { "no time at all", TOP REMOTE("exec") "timeout = 0\n", 12, "from 1 to 600" },
    { "nobody to ask", TOP REMOTE("exec") "concurrency = 0\n", 12, "from 1 to 64" },
    { "too many to ask", TOP REMOTE("exec") "concurrency = 65\n", 12, "from 1 to 64" },
    { "polls without an end", TOP REMOTE("exec") "poll = 0\n", 12, "from 1 to 86400" },
    { "no program", TOP REMOTE("exec"), 3, "program is missing" },
    { "no server", TOP REMOTE("adcs") "ca_name = CA\n", 3, "server is missing" },
    { "half an enrolment agent",
      TOP REMOTE("adcs") "server = dc\nca_name = CA\nprincipal = a@B\nkeytab = file:k\n"
                         "agent_cert = agent.pem\n" TEMPLATE_R,
      3, "agent_cert and agent_key go together" },
    { "no RA at all", TOP "[authority a]\n" NO_RA("exec") "program = p\n" TEMPLATE_R, 3,
      "[authority a] has no RA: either ra_sign_cert" },
    { "half of an RA's files",
      TOP "[authority a]\n" NO_RA("adcs") ADCS
      "ra_sign_cert = s.pem\nra_sign_key = file:s\n" TEMPLATE_R,
      3, "ra_sign_cert, ra_sign_key, ra_decrypt_cert and ra_decrypt_key go together" },
    { "half of an RA's templates",
      TOP "[authority a]\n" NO_RA("adcs") ADCS "ra_sign_template = S\n" TEMPLATE_R, 3,
      "ra_sign_template and ra_decrypt_template go together" },
    { "a local CA has no templates of another",
      TOP "[authority a]\n" AUTHORITY_KEYS "ra_subject = CN=a\n", 11,
      "ra_subject is not known here" },
    { "a mechanism there is not", TOP REMOTE("adcs") "mechanism = ntlm\n", 12, "spnego|kerberos" },
    { "nobody whom a CMP server knows", TOP REMOTE("cmp") CMP_URL TEMPLATE_R, 3,
      "either reference and secret or client_cert and client_key" },
    { "one too many whom a CMP server knows",
      TOP REMOTE("cmp") CMP_URL "reference = r\nsecret = file:s\nclient_cert = c.pem\n"
                                "client_key = file:c.key\n" TEMPLATE_R,
      3, "either reference and secret or client_cert and client_key" },
    { "a secret without a reference", TOP REMOTE("cmp") CMP_URL "secret = file:s\n" TEMPLATE_R, 3,
      "reference and secret go together" },
    { "a command of CMP there is not", TOP REMOTE("cmp") CMP_URL "command = kur\n", 13,
      "p10cr|ir|cr" },
    { "EST in clear",
      TOP REMOTE("est") "url = http://a.example\nclient_cert = c\nclient_key = file:k\n" TEMPLATE_R,
      3, "https://HOST[:PORT] is accepted" },
    { "nobody whom an EST server knows", TOP REMOTE("est") EST_URL TEMPLATE_R, 3,
      "say how the CA knows who asks" },
    { "a password that a device could be sent",
      TOP REMOTE("est") EST_URL "user = u\npassword = file:p\n" TEMPLATE_R, 3,
      "user and password need tls_ca" },
    { "a user without a password", TOP REMOTE("est") EST_URL "user = u\n" TEMPLATE_R, 3,
      "user and password go together" },
    { "a scheme alone", TOP "[template a]\nocsp_url = http://\n", 4, "http://" },
};

/* What NDES's RA is made from. */
START_TEST(an_ra_is_made_from_the_templates_that_are_named)
{
    static const char head[] = TOP "[authority a]\n" NO_RA("adcs") ADCS;
    static const char more[] = "ra_sign_template = S\nra_decrypt_template = D\nra_subject = CN=r\n";
    const char *text = apr_pstrcat(p, head, TEMPLATE_R, NULL);
    const conf_authority *a;
    conf *c;

    assert_ok(load(&c, text, strlen(text)));
    a = conf_authority_find(c, "a");
    ck_assert_ptr_null(a->ra_sign_cert);
    ck_assert_str_eq(a->ra_sign_template, "EnrollmentAgentOffline");
    ck_assert_str_eq(a->ra_decrypt_template, "CEPEncryption");
    ck_assert_ptr_null(a->ra_subject);
    text = apr_pstrcat(p, head, more, TEMPLATE_R, NULL);
    assert_ok(load(&c, text, strlen(text)));
    a = conf_authority_find(c, "a");
    ck_assert_str_eq(a->ra_sign_template, "S");
    ck_assert_str_eq(a->ra_decrypt_template, "D");
    ck_assert_str_eq(a->ra_subject, "CN=r");
}
END_TEST

START_TEST(what_is_wrong_is_refused_with_its_line)
{
    const char *place =
        refused[_i].line ? apr_psprintf(p, "/ca.conf:%d: ", refused[_i].line) : "/ca.conf: ";
    const scep_err *err;
    conf *c;

    row = refused[_i].name;
    err = load(&c, refused[_i].text, strlen(refused[_i].text));
    assert_code(SCEP_CONFIG, err);
    ck_assert_msg(strstr(err->detail, place) && strstr(err->detail, refused[_i].says),
                  "%s: line %d and \"%s\" in: %s", row, refused[_i].line, refused[_i].says,
                  err->detail);
}
END_TEST

/* ---- CAs elsewhere ---- */

START_TEST(a_CA_elsewhere_has_its_own_keys_and_defaults_and_templates_without_days)
{
    static const char text[] = TOP REMOTE("exec") "program = /usr/lib/ca-helper\n"
                                                  "arguments = -v --ca\n"
                                                  "[authority b]\n" OTHER TEMPLATE_A TEMPLATE_R;
    const conf_authority *a;
    conf *c;

    assert_ok(load(&c, text, sizeof(text) - 1));
    a = conf_authority_find(c, "a");
    ck_assert_str_eq(a->connector, "exec");
    ck_assert_ptr_null(a->ca_key);
    ck_assert_str_eq(a->exec.program, "/usr/lib/ca-helper");
    ck_assert_str_eq(apr_array_pstrcat(p, a->exec.arguments, ' '), "-v --ca");
    ck_assert_int_eq(a->timeout, 30);
    ck_assert_int_eq(a->concurrency, 8);
    ck_assert_int_eq(a->poll, 60);
    ck_assert_str_eq(conf_template_find(a, "R")->ca_template, "Web Server");
    ck_assert_int_eq(conf_template_find(a, "R")->days, 0);
    ck_assert_str_eq(conf_template_find(conf_authority_find(c, "b"), "A")->ca_template, "A");
}
END_TEST

START_TEST(a_nul_byte_is_refused)
{
    static const char text[] = WHOLE "\0store = sqlite3:other\n";
    conf *c;

    assert_code(SCEP_CONFIG, load(&c, text, sizeof(text) - 1));
}
END_TEST

START_TEST(a_huge_file_and_one_that_is_not_there_are_refused)
{
    size_t len = 1024 * 1024 + 1;
    char *text = apr_palloc(p, len);
    conf *c;

    memset(text, '\n', len);
    assert_code(SCEP_CONFIG, load(&c, text, len));
    assert_code(SCEP_CONFIG, conf_load(&c, "/nowhere/ca.conf", p));
    assert_code(SCEP_CONFIG, conf_load(&c, "/", p));
}
END_TEST

/* Lines longer than OpenSSL's buffer, and one that hides a value behind a comment sign. */
START_TEST(openssl_and_the_strict_pass_see_the_same_lines)
{
    char *text = apr_pstrcat(p, "# ", NULL);
    const conf_template *t;
    conf *c;

    for (int i = 0; i < 7; i++)
        text = apr_pstrcat(p, text, text, "0123456789", NULL);
    text = apr_pstrcat(p, text, "\n", TOP, AUTHORITY, TEMPLATE_A, TEMPLATE_B,
                       "[template C]\ndays = 7 # allow_sid = yes\nkey_usage = keyAgreement\n",
                       "[authority third]\n", AUTHORITY_KEYS, "templates = C\nforeign_crl = none\n",
                       NULL);
    assert_ok(load(&c, text, strlen(text)));
    t = conf_template_find(conf_authority_find(c, "third"), "C");
    ck_assert_ptr_nonnull(t);
    ck_assert_int_eq(t->days, 7);
    ck_assert(!t->allow_sid);
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, every_key_is_read);
    tcase_add_test(cases, every_key_of_renewal_and_roll_over_is_read);
    tcase_add_test(cases, an_authoritys_own_addresses_take_the_place_of_its_templates);
    tcase_add_test(cases, what_is_left_out_has_its_default);
    tcase_add_loop_test(cases, who_may_enroll_is_read, 0, ROWS(enrolling));
    tcase_add_test(cases, an_authority_is_found_by_its_configuration);
    tcase_add_loop_test(cases, what_is_good_is_accepted, 0, ROWS(accepted));
    tcase_add_test(cases, an_ra_is_made_from_the_templates_that_are_named);
    tcase_add_loop_test(cases, what_is_wrong_is_refused_with_its_line, 0, ROWS(refused));
    tcase_add_test(cases, a_CA_elsewhere_has_its_own_keys_and_defaults_and_templates_without_days);
    tcase_add_test(cases, a_nul_byte_is_refused);
    tcase_add_test(cases, a_huge_file_and_one_that_is_not_there_are_refused);
    tcase_add_test(cases, openssl_and_the_strict_pass_see_the_same_lines);
}

int main(void)
{
    return run_suite("conf", add_tests);
}
