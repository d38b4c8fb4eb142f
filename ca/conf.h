/*
 * ca.conf, in OpenSSL's configuration syntax: the one file of scep-ca.
 *
 *   store     = sqlite3:store.db         [state] where apr_dbd keeps it
 *   store_key = file:store.key
 *   ctl       = state/ctl.sock           scepctl's socket; left out: scepctl is of no use
 *
 *   [authority default]
 *   connector       = local
 *   ca_cert         = ca.pem             issuing CA first, then its chain up to the root
 *   ca_key          = file:ca.key
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
 *   crl_url, issuer_url, ocsp_url        instead of those of its templates, which another authority
 *                                        may use too; left out: the templates' own
 *
 *   [template IPSECIntermediateOffline]
 *   days, key_usage                      demanded
 *   extended_key_usage                   left out: none
 *   minimum_rsa_bits                     left out: 2048
 *   subject_required, allow_sid          yes, no; left out: no
 *   crl_url, issuer_url, ocsp_url        left out: the certificate names none
 *   approval                             no, enrol, always; left out: no
 *   enroll = alice, @wifi                who may fetch a challenge for it: users, and groups behind
 *                                        an @; left out: whomever httpd lets in
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

/* What a certificate of a template looks like. */
typedef struct conf_template {
    const char *name;
    int days;
    uint32_t key_usage;             /* KU_… bits */
    const char *extended_key_usage; /* names or OIDs, comma separated, checked; NULL: none */
    int minimum_rsa_bits;
    bool subject_required; /* a request with an empty subject is refused even if it has a SAN */
    bool allow_sid;        /* Microsoft SID extension and SID URI may be copied from the request */
    const char *crl_url, *issuer_url, *ocsp_url; /* NULL: extension left out */
    /* who waits for scepctl approve: "no", "enrol": requests with a challenge, "always": all */
    const char *approval;
    /* of const char *: users, members of groups among them; NULL: all */
    apr_array_header_t *enroll;
} conf_template;

typedef struct conf_authority {
    const char *name;
    const char *connector;        /* "local" */
    const char *ca_cert, *ca_key; /* paths, absolute */
    const char *ra_sign_cert, *ra_sign_key;
    const char *ra_decrypt_cert, *ra_decrypt_key;
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
