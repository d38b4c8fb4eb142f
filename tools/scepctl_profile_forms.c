/* scepctl profile: the configurations themselves. */
#include "config.h"

#include "scepctl_profile.h"

#include <apr_strings.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

/* What the device asks for: digitalSignature and keyEncipherment, which is
 * SCEPTemplate GeneralPurpose. */
#define KEY_BITS "2048"

static void say(const char *text)
{
    (void)fputs(text, stdout); /* standard output is asked once, at the end */
}

/* Several, with NULL behind the last. */
static void say_all(const char *text, ...)
{
    va_list more;

    va_start(more, text);
    for (; text; text = va_arg(more, const char *))
        say(text);
    va_end(more);
}

/* XML 1.0 2.4. */
static void say_xml(const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            say("&amp;");
        else if (*text == '<')
            say("&lt;");
        else if (*text == '>')
            say("&gt;");
        else
            (void)putchar(*text);
    }
}

/* Between apostrophes a shell takes everything as it is. */
static void say_shell(const char *text)
{
    say("'");
    for (; *text; text++) {
        if (*text == '\'')
            say("'\\''");
        else
            (void)putchar(*text);
    }
    say("'");
}

/* ---- Apple: a configuration profile ---- */

static void plist_string(int depth, const char *key, const char *value)
{
    for (int i = 0; i < depth; i++)
        say("\t");
    if (key)
        say_all("<key>", key, "</key>", NULL);
    say("<string>");
    say_xml(value);
    say("</string>\n");
}

/* The Subject is a list of RDNs, each a list of pairs, in the order of encoding. */
static void plist_subject(const profile *f)
{
    say("\t\t\t\t<key>Subject</key>\n\t\t\t\t<array>\n");
    for (int i = f->subject->nelts - 1; i >= 0; i--) {
        const profile_part *part = &APR_ARRAY_IDX(f->subject, i, profile_part);

        say("\t\t\t\t\t<array>\n\t\t\t\t\t\t<array>\n");
        plist_string(7, NULL, part->type);
        plist_string(7, NULL, part->value);
        say("\t\t\t\t\t\t</array>\n\t\t\t\t\t</array>\n");
    }
    say("\t\t\t\t</array>\n");
}

static void plist_scep(const profile *f)
{
    say("\t\t\t<key>PayloadContent</key>\n\t\t\t<dict>\n");
    plist_string(4, "URL", f->url);
    plist_string(4, "Name", f->ca_name);
    if (f->subject->nelts)
        plist_subject(f);
    if (f->challenge)
        plist_string(4, "Challenge", f->challenge);
    say("\t\t\t\t<key>Keysize</key><integer>" KEY_BITS "</integer>\n");
    plist_string(4, "Key Type", "RSA");
    say("\t\t\t\t<key>Key Usage</key><integer>5</integer>\n");
    /* Compared with the top of the chain; 20 bytes are taken for SHA-1. */
    say_all("\t\t\t\t<key>CAFingerprint</key><data>", f->root_raw, "</data>\n\t\t\t</dict>\n",
            NULL);
}

static void apple(const profile *f)
{
    const char *id = apr_pstrcat(f->p, "scep.", f->tag, NULL);

    say("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
        "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
        "<plist version=\"1.0\">\n<dict>\n\t<key>PayloadContent</key>\n\t<array>\n\t\t<dict>\n");
    plist_scep(f);
    plist_string(3, "PayloadType", "com.apple.security.scep");
    say("\t\t\t<key>PayloadVersion</key><integer>1</integer>\n");
    plist_string(3, "PayloadIdentifier", apr_pstrcat(f->p, id, ".certificate", NULL));
    plist_string(3, "PayloadUUID", f->uuid[0]);
    plist_string(3, "PayloadDisplayName", apr_pstrcat(f->p, "SCEP: ", f->ca_name, NULL));
    say("\t\t</dict>\n\t</array>\n");
    plist_string(1, "PayloadType", "Configuration");
    say("\t<key>PayloadVersion</key><integer>1</integer>\n");
    plist_string(1, "PayloadIdentifier", id);
    plist_string(1, "PayloadUUID", f->uuid[1]);
    plist_string(1, "PayloadDisplayName", apr_pstrcat(f->p, "Certificate of ", f->ca_name, NULL));
    say("</dict>\n</plist>\n");
}

/* ---- Windows: SyncML for the ClientCertificateInstall CSP ---- */

static int syncml_item(const profile *f, int id, const char *command, const char *node,
                       const char *format, const char *value)
{
    const char *number = apr_itoa(f->p, id);

    say_all("  <", command, ">\n    <CmdID>", number,
            "</CmdID>\n    <Item>\n      <Target><LocURI>",
            "./Device/Vendor/MSFT/ClientCertificateInstall/SCEP/scep-", f->tag, node,
            "</LocURI></Target>\n", NULL);
    if (format)
        say_all("      <Meta><Format xmlns=\"syncml:metinf\">", format, "</Format></Meta>\n", NULL);
    if (value) {
        say("      <Data>");
        say_xml(value);
        say("</Data>\n");
    }
    say_all("    </Item>\n  </", command, ">\n", NULL);
    return id + 1;
}

static void windows(const profile *f)
{
    const struct {
        const char *node, *format, *value;
    } nodes[] = {
        { "", "node", NULL },
        { "/Install/ServerURL", "chr", f->url },
        { "/Install/Challenge", "chr", f->challenge },
        { "/Install/EKUMapping", "chr", "1.3.6.1.5.5.7.3.2" },
        { "/Install/KeyUsage", "int", "160" },
        { "/Install/SubjectName", "chr", f->name },
        { "/Install/KeyLength", "int", KEY_BITS },
        { "/Install/HashAlgorithm", "chr", "SHA-2" },
        { "/Install/CAThumbprint", "chr", f->root_sha1 },
    };
    int id = 2;

    say("<Atomic>\n  <CmdID>1</CmdID>\n");
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        if (i == 0 || nodes[i].value)
            id = syncml_item(f, id, "Add", nodes[i].node, nodes[i].format, nodes[i].value);
    (void)syncml_item(f, id, "Exec", "/Install/Enroll", NULL, NULL);
    say("</Atomic>\n");
}

/* ---- strongSwan and certmonger: shell scripts ---- */

static void say_assignment(const char *name, const char *value)
{
    say_all(name, "=", NULL);
    say_shell(value);
    say("\n");
}

/* The challenge goes into the shell's variable, or is asked for. */
static void say_challenge(const profile *f)
{
    if (f->challenge)
        say_assignment("challenge", f->challenge);
    else
        say("printf 'Challenge: ' >&2\nIFS= read -r challenge\n");
}

/* Devices have certificates of the same CA: an RA is one by its extended key usage, which NDES's
 * and scep-ca's have, or is known. */
static void say_is_ra(const profile *f)
{
    say_all("\nmay() { openssl x509 -in \"$1\" -noout -ext keyUsage | grep -q \"$2\"; }\n"
            "# An RA's certificate? The CA gives others to devices. $2...: for openssl verify.\n"
            "is_ra() {\n"
            "    cert=$1\n"
            "    shift\n"
            "    openssl verify \"$@\" \"$cert\" > /dev/null 2>&1 || return 1\n"
            "    got=$(openssl x509 -in \"$cert\" -noout -fingerprint -sha256 | tr -d :)\n"
            "    case ' ",
            f->ra_sha256,
            "' in *\" ${got#*=} \"*) return 0 ;; esac\n"
            "    openssl x509 -in \"$cert\" -noout -ext extendedKeyUsage 2> /dev/null |\n"
            "        tr -d ' ' | tr , '\\n' | grep -qx '1\\.3\\.6\\.1\\.4\\.1\\.311\\.20\\.2\\.1'\n"
            "}\n",
            NULL);
}

static void strongswan(const profile *f)
{
    say("#!/bin/sh\n"
        "# Enrols with strongSwan's pki. Makes the folder scep here, with key.pem and cert.pem in\n"
        "# it; needs openssl, too. A challenge may stand below: keep this file to yourself.\n"
        "set -eu\numask 077\n");
    say_assignment("url", f->url);
    say_assignment("dn", f->name);
    say_all("root_sha256=", f->root_sha256, "\n", NULL);
    say_challenge(f);
    say("\nfail() { echo \"$1\" >&2; exit 1; }");
    say_is_ra(f);
    say("\nmkdir scep && cd scep\n"
        "pki --scepca --url \"$url\" --caout ca.pem --raout ra.pem --outform pem\n"
        "\n# What came over the network counts once its root is the right one.\n"
        "root=\n"
        "for file in ca*.pem; do\n"
        "    got=$(openssl x509 -in \"$file\" -noout -fingerprint -sha256 | tr -d :)\n"
        "    if [ \"${got#*=}\" = \"$root_sha256\" ]; then root=$file; fi\n"
        "done\n"
        "[ -n \"$root\" ] || fail 'the CA has another fingerprint: do not go on'\n"
        "trap 'rm -f options chain' EXIT\n"
        "cat ca*.pem > chain\n"
        "sign= encrypt=\n"
        "for file in ra*.pem; do\n"
        "    openssl verify -CAfile \"$root\" -untrusted chain \"$file\"\n"
        "    if may \"$file\" 'Digital Signature'; then sign=$file; fi\n"
        "    if may \"$file\" 'Key Encipherment'; then encrypt=$file; fi\n"
        "done\n"
        "[ -n \"$sign\" ] && [ -n \"$encrypt\" ] || fail 'the RA certificates are missing'\n"
        "is_ra \"$encrypt\" -CAfile \"$root\" -untrusted chain ||\n"
        "    fail 'what is to be encrypted to is no RA certificate: do not go on'\n"
        "set --\n"
        "for file in ca*.pem; do set -- \"$@\" --cacert \"$file\"; done\n"
        "\n# In a file, as every user may read a command line.\n"
        "printf -- '--password %s\\n' \"$challenge\" > options\n"
        "pki --gen --type rsa --size " KEY_BITS " --outform pem > key.pem\n"
        "pki --scep --options options --url \"$url\" --in key.pem --dn \"$dn\" \\\n"
        "    --cacert-enc \"$encrypt\" --cacert-sig \"$sign\" \"$@\" --outform pem > cert.pem\n"
        "openssl verify -CAfile \"$root\" -untrusted chain cert.pem\n");
}

static void say_file(const char *name, const char *pem)
{
    say_all("cat > \"$work/", name, "\" <<'END'\n", pem, "END\n", NULL);
}

/* What is trusted stands in the script, but for the RA, which may be another one by then: from the
 * network comes nothing but a certificate of this CA's that is an RA's. */
static void certmonger_trust(const profile *f, bool https)
{
    say("\nwork=$(mktemp -d)\ntrap 'rm -rf \"$work\"' EXIT\n");
    say_file("root.pem", f->root_pem);
    say_file("issuing.pem", f->issuer_pem);
    if (*f->below_pem)
        say_file("chain.pem", f->below_pem);
    if (https)
        say("cp \"${2-$work/root.pem}\" \"$work/web.pem\"\n");
    say_all(
        "\ncurl -fgsS ", https ? "--cacert \"$work/web.pem\" " : "",
        "\"$url?operation=GetCACert\" -o \"$work/all.p7\"\n"
        "openssl pkcs7 -inform der -in \"$work/all.p7\" -print_certs -out \"$work/all.pem\" ||\n"
        "    fail 'GetCACert gives no list with RA certificates'\n"
        "awk -v out=\"$work/\" '/BEGIN CERT/ { file = out (++n) } file { print > file }\n"
        "    /END CERT/ { close(file); file = \"\" }' \"$work/all.pem\"\n"
        "ra=\n"
        "for file in \"$work\"/[0-9]*; do\n"
        "    if [ -z \"$ra\" ] && is_ra \"$file\" -partial_chain -trusted \"$work/issuing.pem\" "
        "&&\n"
        "        may \"$file\" 'Key Encipherment'; then ra=$file; fi\n"
        "done\n"
        "[ -n \"$ra\" ] || fail 'the server gives no RA certificate of this CA: do not go on'\n"
        "\n# certmonger reads them each time.\n"
        "cp \"$work/root.pem\" ",
        *f->below_pem ? "\"$work/chain.pem\" " : "", https ? "\"$work/web.pem\" " : "",
        "\"$folder\"\ncp \"$ra\" \"$folder/ra.pem\"\n", NULL);
}

static void certmonger_request(const profile *f)
{
    say_challenge(f);
    say("# It stays where certmonger finds it when it makes the request.\n"
        "printf '%s\\n' \"$challenge\" > \"$folder/challenge\"\n"
        "getcert request -c \"$ca\" -k \"$folder/key.pem\" -f \"$folder/cert.pem\" -g " KEY_BITS
        " \\\n"
        "    -l \"$folder/challenge\" -w");
    if (f->subject->nelts) {
        say(" -N ");
        say_shell(f->name);
    }
    say_all("\nopenssl verify -CAfile \"$folder/root.pem\" ",
            *f->below_pem ? "-untrusted \"$folder/chain.pem\" " : "", "\"$folder/cert.pem\"\n",
            NULL);
}

static void certmonger(const profile *f)
{
    bool https = !strncasecmp(f->url, "https:", 6);

    say_all(
        "#!/bin/sh\n"
        "# Has certmonger enrol, and renew. Usage: sh FILE FOLDER",
        https ? " [WEB.pem]" : "",
        "; key.pem, cert.pem and what is\n"
        "# trusted go into FOLDER, which certmonger must be allowed to write (SELinux: cert_t).\n",
        https
            ? "# WEB.pem: whom the web server's certificate is by, where that is not this CA. The "
              "system\n"
              "# must trust it as well: certmonger 0.79 asks the system when it sends a request.\n"
            : "",
        "# Run again it tells certmonger of a new RA, and asks for nothing. Needs curl and "
        "openssl,\n"
        "# too. A challenge may stand below: keep this file to yourself.\n"
        "set -eu\numask 077\nfail() { echo \"$1\" >&2; exit 1; }\n"
        "folder=$(cd \"$1\" && pwd)\n"
        "# certmonger would split it.\n"
        "case $folder in\n"
        "    *[!A-Za-z0-9/._-]*) fail 'FOLDER may have letters, digits and . _ - in its path' ;;\n"
        "esac\n",
        NULL);
    say_assignment("url", f->url);
    say_all("ca=scep-", f->tag, "-$(printf %s \"$url $folder\" | cksum | cut -d ' ' -f 1)\n", NULL);
    say_is_ra(f);
    certmonger_trust(f, https);
    say_all(
        "if getcert list-cas -c \"$ca\" | grep -q \"'$ca'\"; then getcert refresh-ca -c \"$ca\"\n"
        "else\n"
        "    # -r is whom requests are encrypted to, -N whom answers are to be by.\n"
        "    getcert add-scep-ca -c \"$ca\" -u \"$url\" -r \"$folder/ra.pem\" -N "
        "\"$folder/root.pem\"",
        *f->below_pem ? " \\\n        -I \"$folder/chain.pem\"" : "",
        https ? " \\\n        -R \"$folder/web.pem\"" : "",
        "\nfi\n"
        "if [ -e \"$folder/cert.pem\" ]; then exit; fi\n\n",
        NULL);
    certmonger_request(f);
}

/* ---- Cisco IOS ---- */

static void cisco(const profile *f)
{
    say_all("crypto pki trustpoint SCEP\n enrollment mode ra\n enrollment url ", f->url, "\n",
            NULL);
    if (*f->name)
        say_all(" subject-name ", f->name, "\n", NULL);
    say_all(" fingerprint ", f->issuer_sha1, "\n", NULL);
    if (f->challenge)
        say_all(" password ", f->challenge, "\n", NULL);
    say(" hash sha256\n rsakeypair SCEP " KEY_BITS "\n exit\n"
        "crypto pki authenticate SCEP\ncrypto pki enroll SCEP\n");
}

const profile_form *profile_form_find(const char *kind)
{
    static const profile_form forms[] = {
        { "apple", false, NULL, apple },
        { "windows", true, profile_name_windows, windows },
        { "strongswan", true, profile_name_strongswan, strongswan },
        { "certmonger", false, profile_name_certmonger, certmonger },
        { "cisco", false, profile_name_cisco, cisco },
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (!strcmp(forms[i].kind, kind))
            return &forms[i];
    return NULL;
}
