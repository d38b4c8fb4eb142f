/* Seeds that are no DER: query strings, frames, texts of ca.conf, registry exports. */
#include "make-seeds.h"

#include <apr_strings.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof(*(table))))

/* ---- query strings ---- */

static void make_queries(apr_pool_t *p)
{
    static const char *const seeds[] = {
        "operation=GetCACaps",
        "operation=GetCACert&message=CAIdentifier",
        "message=MIIA&operation=PKIOperation",
        "Operation=pkioperation&message=TUlJQQ%3D%3D",
        "operation=PKIOperation&message=TUlJ%0AQUJD%0A",
        "operation=PKIOperation&message=+/+/",
        "operation=PKIOperation&message=%2B%2F%20/",
        "operation=PKIOperation&message=-_-_",
        "operation=PKIOperation&message=TUlJQQ",
        "operation=PKIOperation&message=TUlJQQ==;x?y",
        "operation=PKIOperation&message=%zz%4",
        "operation=a&operation=b&message",
        "message=a%00b",
        "message=TUlJ=UJD",
        "message=%2541",
        "&&=&=x&operation",
        "TUlJQUI=",
        "TUl\xFFJQUI=",
    };

    for (int i = 0; i < COUNT(seeds); i++)
        put_seed("query", apr_psprintf(p, "query-%02d", i), scep_bytes_of(seeds[i]), p);
}

/* ---- frames: one of each structure, filled by the list of its fields ---- */

static apr_pool_t *pool;
static unsigned fresh;

#define FILL(kind, ...) FILL_##kind(__VA_ARGS__)
#define FILL_U32(name) v->name = fresh++;
#define FILL_U64(name) v->name = 0x100000000u + fresh++;
#define FILL_TEXT(name) v->name = apr_psprintf(pool, #name " %u", fresh++);
#define FILL_BYTES(name) v->name = scep_bytes_of(apr_psprintf(pool, "%u", fresh++));
#define FILL_LIST(name, element)                                    \
    v->name = apr_array_make(pool, 2, sizeof(scep_wire_##element)); \
    fill_##element((scep_wire_##element *)apr_array_push(v->name)); \
    fill_##element((scep_wire_##element *)apr_array_push(v->name));

#define X(name, fields)                          \
    static void fill_##name(scep_wire_##name *v) \
    {                                            \
        fields(FILL)                             \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

#define X(name, fields)                                                                          \
    static void make_##name(void)                                                                \
    {                                                                                            \
        scep_wire_##name v = { 0 };                                                              \
                                                                                                 \
        put_seed("wire", "empty-" #name, scep_wire_put_##name(SCEP_VERB_HELLO, &v, pool), pool); \
        fill_##name(&v);                                                                         \
        put_seed("wire", #name, scep_wire_put_##name(SCEP_VERB_HELLO, &v, pool), pool);          \
    }
SCEP_WIRE_STRUCTS(X)
#undef X

static void make_frames(void)
{
    static const unsigned char list[] = {
        'S', 'C', 'E', 'P', SCEP_WIRE_VERSION, 1, 0, 0, 0, 0, 0, 4, 0xFF, 0xFF, 0xFF, 0xFF
    };
    static const unsigned char far[] = { 'S', 'C',  'E', 'P', SCEP_WIRE_VERSION, 1, 0, 0,
                                         0,   0x20, 0,   1 };
    static const unsigned char old[] = { 'S', 'C', 'E', 'P', 0, 1, 0, 0, 0, 0, 0, 0 };

#define X(name, fields) make_##name();
    SCEP_WIRE_STRUCTS(X)
#undef X
    put_seed("wire", "fault-endless-list", (scep_bytes){ list, sizeof(list) }, pool);
    put_seed("wire", "fault-too-long", (scep_bytes){ far, sizeof(far) }, pool);
    put_seed("wire", "fault-version", (scep_bytes){ old, sizeof(old) }, pool);
    put_seed("wire", "fault-cut", (scep_bytes){ list, 14 }, pool);
    put_seed("wire", "fault-magic", scep_bytes_of("SCEPTICAL FRAME"), pool);
    put_seed("wire", "fault-even", scep_bytes_of("SCEPTICAL FRAMES"), pool);
    put_seed("wire", "fault-short", (scep_bytes){ list, 7 }, pool);
    put_seed("wire", "empty", scep_wire_put_empty(SCEP_VERB_WELCOME, pool), pool);
}

/* ---- ca.conf ---- */

#define TOP "store = sqlite3:state/store.db\nstore_key = file:store.key\n"
#define KEYS                                                                             \
    "connector = local\nca_cert = ca.pem\nca_key = file:ca.key\n"                        \
    "ra_sign_cert = ra-sign.pem\nra_sign_key = file:ra-sign.key\n"                       \
    "ra_decrypt_cert = /abs/ra-decrypt.pem\nra_decrypt_key = file:/abs/ra-decrypt.key\n" \
    "foreign_crl = none\n"
#define AUTHORITY "[authority default]\n" KEYS "templates = A, B\n"
#define TEMPLATE_A "[template A]\ndays = 30\nkey_usage = digitalSignature\n"
#define TEMPLATE_B                                                                  \
    "[template B]\ndays = 36500\nkey_usage = digitalSignature , keyEncipherment\n"  \
    "extended_key_usage = clientAuth, 1.3.6.1.5.5.8.2.2\nminimum_rsa_bits = 3072\n" \
    "subject_required = yes\nallow_sid = yes\ncrl_url = http://a.example/crl\n"     \
    "issuer_url = ldap://a.example/ca\nocsp_url = https://a.example/\napproval = enrol\n"
#define WHOLE TOP AUTHORITY TEMPLATE_A TEMPLATE_B
#define MORE                                                                        \
    TOP "ctl = state/ctl.sock\n[authority default]\n" KEYS                          \
        "ra_days = 365\nra_renew_days = 30\nrenewal_ca = old.pem\ncrl_file = a/b\n" \
        "crl_days = 7\nnext = later\ntemplates = A\n[authority later]\n" KEYS       \
        "templates = B\n" TEMPLATE_A TEMPLATE_B

static void make_confs(apr_pool_t *p)
{
    static const struct {
        const char *name, *text;
    } seeds[] = {
        { "whole", WHOLE },
        { "more", MORE },
        { "comments",
          "# C:\\CA and $HOME\r\n\r\n" WHOLE
          "[ template  C_1.x-y ]  # more\r\n days=1 # a\r\nkey_usage = \"digitalSignature\"" },
        { "two-authorities", WHOLE "[authority other]\n" KEYS "templates = A\n" },
        { "postgresql",
          "store = pgsql:host=db dbname=scep passfile=/etc/x\nstore_key = file:k\n" AUTHORITY
              TEMPLATE_A TEMPLATE_B },
        { "fault-repeated-key", "store = sqlite3:a\nstore_key = file:b\nstore = sqlite3:c\n" },
        { "fault-repeated-section", WHOLE TEMPLATE_A },
        { "fault-repeated-name", WHOLE "[template  A]\ndays=1\n" },
        { "fault-unknown-key", TOP "[authority a]\nca_crt = x\n" },
        { "fault-unknown-section", TOP "[authorities]\n" },
        { "fault-brackets", TOP "[template A\n" },
        { "fault-behind-brackets", TOP "[template A] days = 1\n" },
        { "fault-backslash", "store = sqlite3:a\\b\n" },
        { "fault-continued", "store = a \\\nstore_key = b\n" },
        { "fault-dollar", "store = sqlite3:$x\n" },
        { "fault-quote", "store = \"sqlite3:a\n" },
        { "fault-include", ".include /etc/passwd\n" },
        { "fault-pragma", ".pragma = dollarid:true\n" },
        { "fault-colon", "a::store = x\n" },
        { "fault-no-equals", "store\n" },
        { "fault-no-value", "store =\n" },
        { "fault-number",
          TOP AUTHORITY "[template A]\ndays = 99999999999\nkey_usage = digitalSignature\n" },
        { "fault-usage", TOP AUTHORITY "[template A]\ndays = 1\nkey_usage = keyCertSign, x,,\n" },
        { "fault-purpose", TOP AUTHORITY
          "[template A]\ndays = 1\nkey_usage = digitalSignature\nextended_key_usage = 1.2.3.x\n" },
        { "fault-flag", TOP AUTHORITY
          "[template A]\ndays = 1\nkey_usage = digitalSignature\nallow_sid = maybe\n" },
        { "fault-url", TOP AUTHORITY
          "[template A]\ndays = 1\nkey_usage = digitalSignature\ncrl_url = file:///x\n" },
        { "fault-store", "store = mysql:x\nstore_key = file:k\n" AUTHORITY },
        { "fault-secret", "store = sqlite3:x\nstore_key = secret\n" },
        { "fault-no-template", TOP AUTHORITY TEMPLATE_A },
        { "fault-no-authority", TOP TEMPLATE_A },
        { "fault-next-missing", TOP "[authority a]\n" KEYS "next = b\ntemplates = A\n" TEMPLATE_A },
        { "fault-next-circle",
          TOP "[authority a]\n" KEYS "next = b\ntemplates = A\n[authority b]\n" KEYS
              "next = a\ntemplates = A\n" TEMPLATE_A },
        { "fault-one-crl",
          TOP "[authority a]\n" KEYS "crl_file = x\ntemplates = A\n[authority b]\n" KEYS
              "crl_file = x\ntemplates = A\n" TEMPLATE_A },
        { "fault-approval", TOP AUTHORITY
          "[template A]\ndays = 1\nkey_usage = digitalSignature\napproval = perhaps\n" },
        { "fault-foreign", TOP "[authority a]\nforeign_crl = ftp://x\n" },
        { "fault-missing-key", TOP "[authority default]\nconnector = local\n" },
    };
    static const unsigned char nul[] = "store = sqlite3:a\0b\n";

    for (int i = 0; i < COUNT(seeds); i++)
        put_seed("conf", seeds[i].name, scep_bytes_of(seeds[i].text), p);
    put_seed("conf", "fault-nul", (scep_bytes){ nul, sizeof(nul) - 1 }, p);
    put_seed("conf", "fault-empty", (scep_bytes){ nul, 0 }, p);
}

/* ---- registry exports ---- */

#define MSCEP "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\\MSCEP"
#define VERSION_5 "Windows Registry Editor Version 5.00\r\n\r\n"
#define SUBKEY(name, data) MSCEP "\\" name "]\r\n\"" name "\"=" data "\r\n\r\n"
#define EXPORT                                                                                 \
    VERSION_5 MSCEP "]\r\n\"SignatureTemplate\"=\"Sig\"\r\n\"EncryptionTemplate\"=\"Enc\"\r\n" \
                    "\"GeneralPurposeTemplate\"=\"All\"\r\n\r\n" MSCEP                         \
                    "\\CAInfo]\r\n\"Configuration\"=\"host\\\\CA\"\r\n\r\n" SUBKEY(            \
                        "EnforcePassword", "dword:00000001")                                   \
                        SUBKEY("PasswordMax", "dword:00000005")                                \
                            SUBKEY("PasswordVDir", "\"CertSrv/mscep_admin\"")                  \
                                SUBKEY("HashAlgorithm", "\"SHA-256\"")                         \
                                    SUBKEY("EncryptedPassword", "hex:01,02,\\\r\n  03,04")     \
                                        SUBKEY("CAType", "dword:1")

/* ASCII only. */
static scep_bytes wide(const char *text, apr_pool_t *p)
{
    size_t n = strlen(text);
    unsigned char *data = apr_pcalloc(p, 2 * n + 2);

    data[0] = 0xFF;
    data[1] = 0xFE;
    for (size_t i = 0; i < n; i++)
        data[2 * i + 2] = (unsigned char)text[i];
    return (scep_bytes){ data, 2 * n + 2 };
}

static void make_registries(apr_pool_t *p)
{
    static const struct {
        const char *name, *text;
    } seeds[] = {
        { "whole", EXPORT },
        { "old", "REGEDIT4\n" MSCEP "]\n\"SignatureTemplate\"=hex(2):41,42,00\n" },
        { "types",
          VERSION_5 MSCEP "]\n\"a\"=hex(1):41,00,3d,d8,00,de,00,00\n"
                          "\"b\"=hex(7):41,00,00,00,42,00,00,00\n\"c\"=hex(b):1,0,0,0,0,0,0,0\n"
                          "\"d\"=hex(5):0,0,0,1\n@=\"\"\n\"PasswordMax\"=hex(4):7,0,0,0\n" },
        { "deletions", EXPORT "\"CAType\"=-\r\n[-HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft"
                              "\\Cryptography\\MSCEP\\PasswordMax]\r\n" },
        { "others", EXPORT "[HKEY_LOCAL_MACHINE\\SYSTEM\\HTTP\\Parameters]\n\"x\"=dword:1\n"
                           "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\ADCS\\NDES]\n\"y\"=\"z\"\n" },
        { "comments", VERSION_5 "; a\n" MSCEP "] ; b\n \"PasswordLength\" = dword:8 ; c\n" },
        { "utf-8", "\xEF\xBB\xBF" VERSION_5 MSCEP
                   "]\n\"SignatureTemplate\"=\"\xC3\xA4\xF0\x9F\x98\x80\"\n" },
        { "fault-first", "REGEDIT5\n" },
        { "fault-key", VERSION_5 MSCEP "\n" },
        { "fault-no-key", VERSION_5 "\"a\"=dword:1\n" },
        { "fault-range", VERSION_5 SUBKEY("Refresh", "dword:ffffffff") },
        { "fault-type", VERSION_5 SUBKEY("SignatureTemplate", "dword:1") },
        { "fault-escape", VERSION_5 MSCEP "]\n\"a\"=\"\\n\"\n" },
        { "fault-dword", VERSION_5 MSCEP "]\n\"a\"=dword:123456789\n" },
        { "fault-hex", VERSION_5 MSCEP "]\n\"a\"=hex(1):41\n" },
        { "fault-continued", VERSION_5 MSCEP "]\n\"a\"=hex:01,\\" },
        { "fault-other", VERSION_5 "[HKEY_CURRENT_USER\\a]\n" },
        { "fault-utf-8", VERSION_5 ";\xC0\x80" },
        { "fault-big-endian", "\xFE\xFF" },
        { "fault-ansi", "REGEDIT4\n" MSCEP "]\n\"SignatureTemplate\"=\"Ger\xE4t\"\n" },
    };
    static const unsigned char half[] = { 0xFF, 0xFE, 'R', 0, 0x3D, 0xD8, 'E' };

    for (int i = 0; i < COUNT(seeds); i++)
        put_seed("registry", seeds[i].name, scep_bytes_of(seeds[i].text), p);
    put_seed("registry", "utf-16", wide(EXPORT, p), p);
    put_seed("registry", "fault-utf-16", (scep_bytes){ half, sizeof(half) }, p);
}

void make_text_seeds(apr_pool_t *p)
{
    pool = p;
    make_queries(p);
    make_frames();
    make_confs(p);
    make_registries(p);
}
