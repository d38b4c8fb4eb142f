/*
 * ca.conf, in OpenSSL's configuration syntax: the one file of scep-ca.
 *
 *   store     = sqlite3:store.db         [state] where apr_dbd keeps it
 *   store_key = file:store.key
 *   ctl       = state/ctl.sock           scepctl's socket; left out: scepctl is of no use
 *
 *   [authority default]
 *   connector       = local              or adcs, cmp, est, exec: docs/connectors.md has their keys
 *   ca_cert         = ca.pem             issuing CA first, then its chain up to the root
 *   ca_key          = file:ca.key        or a PKCS#11 URI (pkcs11:...), as all keys of CA and RA
 *   ra_sign_cert    = ra-sign.pem        ra_sign_key    = file:ra-sign.key
 *   ra_decrypt_cert = ra-decrypt.pem     ra_decrypt_key = file:ra-decrypt.key
 *   ra_days         = 365                of the RA certificates that scep-ca makes; left out: 365
 *   ra_renew_days   = 30                 before their end; left out: 30
 *   templates       = IPSECIntermediateOffline, WiFiClient
 *   foreign_crl     = none               revoked certificates that this CA issued without scep-ca:
 *                                        none, file:PATH or an http URL; a decision is demanded
 *   renewal_ca      = old-ca.pem         other CAs whose certificates may be renewed here; left
 *                                        out: none
 *   crl_file        = public/ca.crl      the CA's CRL, renamed into place; left out: scep-ca signs
 *                                        no CRL for this authority
 *   crl_days        = 7                  until its nextUpdate; left out: 7
 *   next            = NAME               authority that takes over: GetNextCACert; left out: none
 *   configuration   = HOST\\NAME        as NDES's registry names this CA
 *                                        (CAInfo\Configuration), for SCEPConfiguration; a
 *                                        backslash is written twice here
 *   directory = NAME                     Active Directory, which knows its templates and who may
 *                                        enrol on them; left out: none
 *   enrollment_service                   what it is called there; left out: adcs's ca_name, or it
 *                                        is not looked for
 *   crl_url, issuer_url, ocsp_url        instead of those of its templates, which another authority
 *                                        may use too; left out: the templates' own
 *
 *   [template IPSECIntermediateOffline]
 *   ca_template                          its name at a CA elsewhere; left out: the section's
 *   days, key_usage                      demanded where an authority is local
 *   extended_key_usage                   left out: none
 *   minimum_rsa_bits                     left out: 2048
 *   subject_required                     yes, no; left out: no
 *   allow_sid                            yes, no, or directory: if the authority's directory says
 *                                        that it is the account's SID; left out: no
 *   from_directory                       yes: days, key_usage, extended_key_usage are ca_template's
 *                                        in the authority's directory, and not said here; the
 *                                        larger minimum_rsa_bits counts, and it may bring approval,
 *                                        and allow_sid = no; left out: no
 *   crl_url, issuer_url, ocsp_url        left out: the certificate names none
 *   approval                             no, enrol, always; left out: no
 *   enroll = alice, @wifi                who may fetch a challenge for it: users, and groups behind
 *                                        an @; left out: whomever httpd lets in
 *
 *   [directory corp]                     docs/connectors.md has its keys
 *   url  = ldaps://dc1.corp.example      bind = gssapi, simple or external
 *
 *   [group wifi]
 *   members = bob, CORP\\carol              as httpd knows them, letter case included
 *
 *   [policy_module ENDPOINT]             of an endpoint with SCEPPolicyModule https://…; left out:
 *                                        none
 *   secret      = file:module.secret     signs what is sent (X-SCEP-Signature); left out: unsigned
 *   client_cert = module.pem             client_key = file:module.key
 *   ca_file     = module-ca.pem          trusted to certify the module; left out: what the system
 *                                        does
 *
 * Relative paths start at ca.conf's folder. OpenSSL's syntax eats backslashes and '$' and lets a
 * repeated key win silently; so an unknown or repeated key or section, a single backslash and a
 * '$' are refused, with the line. Secrets stand in files named by "file:", never in ca.conf.
 */
#ifndef CA_CONF_H
#define CA_CONF_H

#include "own.h"

#include <apr_tables.h>
#include <stdbool.h>

/* Who says that a request's Microsoft SID may be copied into the certificate. */
typedef enum conf_sid { CONF_SID_NO, CONF_SID_YES, CONF_SID_DIRECTORY } conf_sid;

/* What a certificate of a template looks like. A CA elsewhere has templates of its own, whose
 * dates and key usage count. */
typedef struct conf_template {
    const char *name;
    const char *ca_template; /* what a CA elsewhere calls it; its own name where nothing is said */
    int days;                /* 0, and key_usage 0: of no local authority */
    uint32_t key_usage;      /* KU_… bits */
    const char *extended_key_usage; /* names or OIDs, comma separated, checked; NULL: none */
    int minimum_rsa_bits;
    bool subject_required; /* a request with an empty subject is refused even if it has a SAN */
    conf_sid allow_sid;    /* Microsoft SID extension and SID URI may be copied from the request */
    bool from_directory;   /* what it looks like is read from the authority's directory at start */
    const char *crl_url, *issuer_url, *ocsp_url; /* NULL: extension left out */
    /* who waits for scepctl approve: "no", "enrol": requests with a challenge, "always": all */
    const char *approval;
    /* of const char *: users, members of groups among them; NULL: all */
    apr_array_header_t *enroll;
} conf_template;

/* How each kind of CA is reached; of all but the authority's own kind, everything is NULL or a
 * default. Paths are absolute. */
typedef struct conf_adcs {
    const char *server;                 /* its host's name, as its certificate of Kerberos has it */
    const char *ca_name;                /* the CA's: the common name in its certificate */
    const char *service;                /* its principal; NULL: host/SERVER in principal's realm */
    const char *principal, *keytab;     /* who asks; NAME@REALM */
    const char *mechanism;              /* "spnego" or "kerberos" */
    int port;                           /* 0: as its endpoint mapper says */
    const char *agent_cert, *agent_key; /* an enrolment agent's, who signs; NULL: nobody does */
} conf_adcs;

typedef struct conf_cmp {
    const char *url;
    const char *command;                  /* "p10cr", "ir" or "cr" */
    const char *recipient;                /* a name as "/CN=…"; NULL: the CA's own subject */
    const char *reference, *secret;       /* MAC protection; or */
    const char *client_cert, *client_key; /* signature protection */
    const char *trusted;                  /* who may have certified the answers; NULL: ca_cert */
    const char *server_cert;              /* the one certificate that signs answers; NULL: any */
    bool implicit_confirm;                /* ask the CA to do without certConf */
    bool profile;                         /* send the template's name as certProfile */
    bool resubmit;                        /* ask anew where an answer was lost */
    const char *tls_ca, *tls_cert, *tls_key;
} conf_cmp;

typedef struct conf_est {
    const char *url;                      /* https://HOST[:PORT] */
    const char *label;                    /* NULL: none */
    bool profile;                         /* the template's name is the label */
    bool resubmit;                        /* ask anew where an answer was lost */
    const char *user, *password;          /* Basic; the password in a file */
    const char *client_cert, *client_key; /* and, or, TLS's */
    const char *tls_ca;                   /* NULL: ca_cert */
} conf_est;

typedef struct conf_exec {
    const char *program;
    apr_array_header_t *arguments; /* of const char *; NULL: none */
} conf_exec;

/* Active Directory, or whatever speaks LDAP like it. Paths are absolute. */
typedef struct conf_directory {
    const char *name;
    apr_array_header_t *urls; /* of const char *: asked in this order */
    bool starttls;
    const char *bind;                        /* "gssapi", "simple" or "external" */
    const char *principal, *keytab;          /* gssapi's; the account, NAME@REALM */
    const char *user, *password;             /* simple's; the password in a file */
    const char *tls_ca, *tls_cert, *tls_key; /* tls_ca NULL: whom the system trusts */
    int timeout;                             /* seconds for a question, whoever answers it */
    int cache;                               /* seconds that an answer holds */
} conf_directory;

typedef struct conf_authority {
    const char *name;
    const char *connector;        /* "local", "adcs", "cmp", "est" or "exec" */
    const char *ca_cert, *ca_key; /* paths, absolute, keys also PKCS#11 URIs (key.h); ca_key NULL:
                                     its CA is elsewhere */
    const char *ra_sign_cert, *ra_sign_key;
    const char *ra_decrypt_cert, *ra_decrypt_key; /* these four NULL: the first RA is made from */
    const char *ra_sign_template, *ra_decrypt_template; /* what the CA elsewhere calls them; NULL:
                                                           it makes no RA */
    const char *ra_subject; /* of an RA from templates, "CN=…, O=…"; NULL: CN=NAME-MSCEP-RA */
    int ra_days, ra_renew_days;
    apr_array_header_t *templates; /* of const conf_template *, with this authority's URLs */
    const char *foreign_crl;       /* "none", an absolute path, "http://…" or "https://…" */
    const char *renewal_ca;        /* path of a PEM file; NULL: none */
    const char *crl_file;          /* path; NULL: no CRL is signed here */
    int crl_days;
    const char *configuration;                   /* "HOST\\NAME"; NULL: none */
    const char *crl_url, *issuer_url, *ocsp_url; /* in place of the templates'; NULL: theirs */
    const char *next_name;                       /* NULL: no roll-over is prepared */
    const struct conf_authority *next;           /* of that name; never leads back here */
    const char *directory_name;                  /* NULL: none */
    const conf_directory *directory;             /* of that name */
    const char *enrollment_service;              /* what it is called there; NULL: nothing */
    int timeout;                                 /* seconds until a CA has answered */
    int concurrency;                             /* calls of it at one time */
    int poll; /* seconds until it is asked again what became of a request */
    conf_adcs adcs;
    conf_cmp cmp;
    conf_est est;
    conf_exec exec;
} conf_authority;

/* What a policy module behind https is spoken to with. NULL: none. */
typedef struct conf_module {
    const char *endpoint;
    const char *secret, *client_cert, *client_key, *ca_file; /* paths, absolute */
} conf_module;

typedef struct conf {
    const char *path;
    const char *store;               /* "sqlite3:/abs/path", "pgsql:params" */
    const char *store_key;           /* path, absolute */
    const char *ctl;                 /* path, absolute; NULL: none */
    apr_array_header_t *authorities; /* of conf_authority * */
    apr_array_header_t *modules;     /* of conf_module * */
    apr_array_header_t *directories; /* of conf_directory * */
} conf;

/** Read and check the text of ca.conf; opens none of the files it names.
 *  @return NULL, or CONFIG: "FILE:LINE: what is wrong and what is accepted" */
SCEP_MUST const scep_err *conf_load(conf **out, const char *path, apr_pool_t *p);

/** The authority with that configuration (letter case ignored); NULL: none. */
const conf_authority *conf_configuration_find(const conf *c, const char *configuration);

/** May that user, as httpd knows it, enrol on that template? */
bool conf_may_enroll(const conf_template *t, const char *user);

/** NULL where there is none. */
const conf_module *conf_module_find(const conf *c, const char *endpoint);
const conf_authority *conf_authority_find(const conf *c, const char *name);
const conf_template *conf_template_find(const conf_authority *a, const char *name);

#endif
