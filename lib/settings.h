/*
 * Every setting, once. From this list come the enumeration, the checks, httpd's table of
 * directives (each is "SCEP" + name), the lines of conf/mod_scep.conf and the headings of
 * docs/directives.md; `make check` fails where one of them disagrees.
 *
 * Names, units and defaults of the MSCEP registry are kept verbatim, so that an administrator
 * copies values without converting them.
 */
#ifndef SCEP_SETTINGS_H
#define SCEP_SETTINGS_H

#include "err.h"

#include <stdbool.h>

/*
 * name; kind: FLAG (on|off), NUMBER (low..high), WORD (one of `words`), TEXT, TEMPLATE (text, set
 * by SCEPTemplate and not by a directive of its own);
 * scope: SERVER (the main server only), HOST (a server or virtual host), SECTION (also <Location>;
 * concerns how a request is answered), ENDPOINT (also <Location>; concerns issuance: enforced by
 * scep-ca, and all sections of one endpoint must agree).
 */
#define SCEP_SETTINGS(X)                                                                           \
    X(Engine, FLAG, HOST, "off", 0, 0, "", "Answer the NDES addresses in this server")             \
    X(Endpoint, TEXT, SECTION, "", 1, 255, "",                                                     \
      "Name of the endpoint this section belongs to; default the ServerName without port")         \
    X(Authority, TEXT, ENDPOINT, "default", 1, 64, "",                                             \
      "Which [authority NAME] of ca.conf issues for the endpoint")                                 \
    X(Configuration, TEXT, ENDPOINT, "", 1, 255, "",                                               \
      "The CA as NDES's registry names it: the [authority] of ca.conf with the same "              \
      "configuration")                                                                             \
    X(Connector, TEXT, SERVER, "", 1, 4096, "",                                                    \
      "Where certificates come from: spawn:FILE starts scep-ca with that ca.conf")                 \
    X(CAUser, TEXT, SERVER, "", 1, 255, "",                                                        \
      "The user scep-ca runs as; must not be httpd's User; needed when httpd starts as root")      \
    X(CAProgram, TEXT, SERVER, "", 1, 4096, "", "The scep-ca to start; default the installed one") \
    X(ExecUser, TEXT, SERVER, "", 1, 255, "",                                                      \
      "The user that policy modules' and connectors' programs run as; neither scep-ca's nor "      \
      "httpd's")                                                                                   \
    X(CATimeout, NUMBER, SERVER, "30", 1, 600, "",                                                 \
      "Seconds until an answer from scep-ca is given up")                                          \
    X(ConcurrentMax, NUMBER, SERVER, "0", 0, 4096, "",                                             \
      "PKIOperations that all workers together work on at one time; 0: what suits the machine")    \
    X(Admin, FLAG, SERVER, "on", 0, 0, "",                                                         \
      "Serve the challenge page; off: this httpd never learns the secret that mints")              \
    X(MaxMessage, NUMBER, SECTION, "65536", 1024, 1048576, "", "Largest request in bytes, as DER") \
    X(MinimumHash, WORD, ENDPOINT, "sha1", 0, 0, "sha1|sha256|sha384|sha512",                      \
      "Weakest digest accepted in a request's signatures")                                         \
    X(HashAlgorithm, WORD, SECTION, "sha256", 0, 0, "sha1|sha256|sha384|sha512",                   \
      "Digest of an answer where the request dictates none")                                       \
    X(Compatibility, WORD, SECTION, "ndes", 0, 0, "ndes|rfc8894",                                  \
      "Whose habits to follow where NDES and RFC 8894 differ")                                     \
    X(ResponseChain, WORD, SECTION, "none", 0, 0, "none|chain|full",                               \
      "What follows the device's certificate in an answer: nothing, the issuing CA, "              \
      "or the chain with its root")                                                                \
    X(Thumbprint, WORD, SECTION, "md5", 0, 0, "md5|sha1|sha256",                                   \
      "Digest of the CA thumbprint shown on the challenge page")                                   \
    X(PageEncoding, WORD, SECTION, "utf-16le+bom", 0, 0, "utf-16le+bom|utf-16le|utf-8",            \
      "Encoding of the pages; NDES's clients expect UTF-16LE, most of them with a byte order "     \
      "mark")                                                                                      \
    X(Registry, TEXT, HOST, "", 1, 4096, "",                                                       \
      "A registry export of NDES (.reg) to take values from; directives beside it win")            \
    X(PasswordVDir, TEXT, HOST, "CertSrv/mscep_admin", 1, 255, "",                                 \
      "Path of the challenge page, without the leading slash; letter case is ignored")             \
    X(ClientProfile, WORD, ENDPOINT, "none", 0, 0, "none|apple|cisco|juniper|windows",             \
      "Preset for one kind of client: gives other settings a value where none is written")         \
    X(LegacyAlgorithms, FLAG, ENDPOINT, "off", 0, 0, "",                                           \
      "Accept MD5 and single DES too, for clients that know nothing better")                       \
    X(RequireNonce, FLAG, SECTION, "off", 0, 0, "",                                                \
      "Refuse a request without senderNonce, which RFC 8894 demands and some clients leave out")   \
    X(SigningTime, NUMBER, SECTION, "0", 0, 1440, "",                                              \
      "Minutes a request's signingTime may be off; 0: not looked at, devices have no clocks")      \
    X(FailInfoText, FLAG, SECTION, "on", 0, 0, "",                                                 \
      "Say in a few words why a request failed (failInfoText)")                                    \
    X(CACert, WORD, SECTION, "full", 0, 0, "full|chain|ca",                                        \
      "What GetCACert gives: RA and CA certificates up to the root, the same without the root, "   \
      "or the issuing CA's alone")                                                                 \
    X(CAIdentifiers, TEXT, SECTION, "", 1, 1024, "",                                               \
      "IDENTIFIER=ENDPOINT, several with spaces between: message= of GetCACert and its like "      \
      "chooses the endpoint; anything else there is ignored")                                      \
    X(GetCert, FLAG, ENDPOINT, "off", 0, 0, "",                                                    \
      "Let a holder of one of the CA's certificates fetch certificates by GetCert")                \
    X(GetCRL, FLAG, ENDPOINT, "off", 0, 0, "",                                                     \
      "Let a holder of one of the CA's certificates fetch the CRL by GetCRL")                      \
    X(Renewal, FLAG, ENDPOINT, "on", 0, 0, "",                                                     \
      "Let a valid certificate of the CA stand for a challenge in RenewalReq")                     \
    X(RenewalByPKCSReq, FLAG, ENDPOINT, "off", 0, 0, "",                                           \
      "A PKCSReq that is signed by a certificate of the CA is a renewal too (Apple, Cisco)")       \
    X(DisableRenewalSubjectNameMatch, FLAG, ENDPOINT, "off", 0, 0, "",                             \
      "Let a renewal ask for another subject or other alternative names than the certificate has") \
    X(RenewalWindow, NUMBER, ENDPOINT, "0", 0, 3650, "",                                           \
      "Days before a certificate's end in which it may be renewed; 0: any time")                   \
    X(RenewalFrom, TEXT, ENDPOINT, "", 1, 1024, "",                                                \
      "Other endpoints whose certificates may be renewed here, with spaces between")               \
    X(RenewalMinimumHash, WORD, ENDPOINT, "sha256", 0, 0, "sha1|sha256|sha384|sha512",             \
      "Weakest digest accepted in a renewal's signature, which is its only authentication")        \
    X(Approval, WORD, ENDPOINT, "off", 0, 0, "off|enrol|always",                                   \
      "Requests wait for scepctl approve: none, those with a challenge, renewals too")             \
    X(PendingMax, NUMBER, ENDPOINT, "1000", 1, 1000000, "", "Requests that may wait at one time")  \
    X(Refresh, NUMBER, ENDPOINT, "7", 1, 365, "",                                                  \
      "Days a request waits for approval before it is forgotten")                                  \
    X(CacheRequest, NUMBER, ENDPOINT, "20", 1, 525600, "",                                         \
      "Minutes in which a device may poll for a request that was answered at once")                \
    X(FailedMax, NUMBER, ENDPOINT, "20", 1, 1000000, "",                                           \
      "Failed requests a minute from one address before their answer becomes 429; good ones "      \
      "are never refused by it")                                                                   \
    X(MintMax, NUMBER, ENDPOINT, "600", 1, 1000000, "",                                            \
      "Challenges one user may ask for in a minute")                                               \
    X(EnforcePassword, FLAG, ENDPOINT, "on", 0, 0, "",                                             \
      "A challenge is required to enrol. Off lets anybody who reaches the server enrol")           \
    X(UseSinglePassword, FLAG, ENDPOINT, "off", 0, 0, "",                                          \
      "One challenge for all devices that never expires, instead of one-time ones")                \
    X(PasswordMax, NUMBER, ENDPOINT, "5", 1, 1000000, "", "Unused challenges kept at one time")    \
    X(PasswordValidity, NUMBER, ENDPOINT, "60", 1, 525600, "", "Minutes a challenge is good for")  \
    X(PasswordLength, NUMBER, ENDPOINT, "8", 8, 64, "",                                            \
      "Random bytes of a challenge; it is shown as twice as many hex digits")                      \
    X(PolicyModule, TEXT, ENDPOINT, "", 1, 2048, "",                                               \
      "What judges requests in place of the challenges kept here: exec:PROGRAM, prg:PROGRAM or "   \
      "https://HOST/PATH")                                                                         \
    X(PolicyModuleTimeout, NUMBER, ENDPOINT, "10", 1, 300, "",                                     \
      "Seconds until an answer of the policy module is given up")                                  \
    X(SignatureTemplate, TEMPLATE, ENDPOINT, "IPSECIntermediateOffline", 1, 64, "",                \
      "Template for a request whose key usage is digitalSignature alone")                          \
    X(EncryptionTemplate, TEMPLATE, ENDPOINT, "IPSECIntermediateOffline", 1, 64, "",               \
      "Template for a request whose key usage is keyEncipherment alone")                           \
    X(GeneralPurposeTemplate, TEMPLATE, ENDPOINT, "IPSECIntermediateOffline", 1, 64, "",           \
      "Template for every other request")

typedef enum scep_setting {
#define X(name, kind, scope, dflt, low, high, words, says) SCEP_SET_##name,
    SCEP_SETTINGS(X)
#undef X
        SCEP_SET_COUNT
} scep_setting;

typedef enum scep_setting_kind {
    SCEP_KIND_FLAG,
    SCEP_KIND_NUMBER,
    SCEP_KIND_WORD,
    SCEP_KIND_TEXT,
    SCEP_KIND_TEMPLATE
} scep_setting_kind;

typedef enum scep_setting_scope {
    SCEP_SCOPE_SERVER,
    SCEP_SCOPE_HOST,
    SCEP_SCOPE_SECTION,
    SCEP_SCOPE_ENDPOINT
} scep_setting_scope;

typedef struct scep_setting_info {
    const char *name;
    scep_setting_kind kind;
    scep_setting_scope scope;
    const char *dflt;
    long low, high;
    const char *words;
    const char *says;
} scep_setting_info;

/** What was set; NULL: unset. Zeroed memory is a valid, empty set. */
typedef struct scep_settings {
    const char *value[SCEP_SET_COUNT];
} scep_settings;

/** The row of a setting. Static memory. */
SCEP_API const scep_setting_info *scep_setting_describe(scep_setting which);

/** The setting called @a name (letter case ignored, without "SCEP"); SCEP_SET_COUNT: none. */
SCEP_API scep_setting scep_setting_find(const char *name);

/**
 * Check a value and store it in canonical form (flags "on"/"off", words in lower case).
 * @return NULL, or CONFIG naming the setting, the value and what is accepted
 */
SCEP_API SCEP_MUST const scep_err *scep_settings_set(scep_settings *s, scep_setting which,
                                                     const char *value, apr_pool_t *p);

/** @a add over @a base: what is set in @a add wins. @a out may be either. */
SCEP_API void scep_settings_merge(scep_settings *out, const scep_settings *base,
                                  const scep_settings *add);

/**
 * The value: what was written, wherever it came from by scep_settings_merge(); else what the
 * ClientProfile gives; else the default. Never NULL.
 *
 * No profile weakens what guards issuance: LegacyAlgorithms, EnforcePassword, MinimumHash,
 * RenewalMinimumHash, DisableRenewalSubjectNameMatch, GetCert and GetCRL are nobody's but the
 * administrator's to change.
 */
SCEP_API const char *scep_settings_text(const scep_settings *s, scep_setting which);
SCEP_API long scep_settings_number(const scep_settings *s, scep_setting which);
SCEP_API bool scep_settings_flag(const scep_settings *s, scep_setting which);

/** The digest of MinimumHash or HashAlgorithm; its output size in bits. */
SCEP_API int scep_settings_hash_bits(const scep_settings *s, scep_setting which);

#endif
