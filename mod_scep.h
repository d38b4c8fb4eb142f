/*
 * What the files of the module share. The module is glue: HTTP in, bytes out.
 *
 *   mod_scep.c           module record, hooks, which operation a request asks for
 *   mod_scep_pki.c       PKIOperation
 *   mod_scep_config.c    directives (from lib/settings.h) and the settings of a request
 *   mod_scep_paths.c     NDES's addresses in any letter case
 *   mod_scep_sections.c  all sections together: endpoints, and what is refused at start
 *   mod_scep_pages.c     the pages of mscep and mscep_admin
 *   mod_scep_ca.c        start and supervise scep-ca
 *   mod_scep_call.c      a worker's calls to it, and what it remembers of the answers
 */
#ifndef MOD_SCEP_H
#define MOD_SCEP_H

#include "scep.h"

#include <apr_hash.h>
#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>

extern module AP_MODULE_DECLARE_DATA scep_module;
APLOG_USE_MODULE(scep);

/* ---- configuration (mod_scep_config.c) ---- */

/* What one section (server, virtual host or <Location>) says: its per-directory configuration.
 * httpd merges the server's into the Location's, so a request sees one whole set. */
typedef struct scep_section {
    scep_settings settings;
    const char *where[SCEP_SET_COUNT]; /* "FILE:LINE" of each value set here */
} scep_section;

extern const command_rec scep_commands[];
void *scep_section_create(apr_pool_t *p, char *path);
void *scep_section_merge(apr_pool_t *p, void *base, void *add);

/** The settings in force for a request. */
const scep_settings *scep_request_settings(request_rec *r);
/** The settings of a server, outside any <Location>. */
const scep_settings *scep_server_settings(server_rec *s);
/** The endpoint of a section of @a s: SCEPEndpoint or the ServerName, in lower case. Never NULL. */
const char *scep_endpoint_name(const scep_settings *settings, server_rec *s, apr_pool_t *p);
/** The endpoint a request belongs to. Never NULL. */
const char *scep_request_endpoint(request_rec *r);

/* The module's per-server configuration; the main server's is used, filled by scep_config_plan().
 */
typedef struct scep_server {
    apr_hash_t *endpoints; /* name -> scep_section: what all of its sections say of issuance */
} scep_server;

void *scep_server_create(apr_pool_t *p, server_rec *s);

/**
 * What all sections of an endpoint say together: its ENDPOINT settings. A request's own section
 * may leave out what another section of the same endpoint sets. NULL: no such endpoint.
 */
const scep_settings *scep_endpoint_settings(const char *endpoint);

/* What scep-ca has to know, gathered from all sections. */
typedef struct scep_plan {
    bool wanted;                   /* an SCEPEngine is on somewhere */
    const char *ca_conf;           /* absolute; from SCEPConnector spawn:FILE */
    const char *program;           /* SCEPCAProgram or the installed scep-ca */
    const char *ca_user;           /* NULL: httpd did not start as root */
    long timeout;                  /* seconds */
    bool admin;                    /* this httpd may mint */
    apr_array_header_t *endpoints; /* of scep_wire_endpoint: issuance settings of each */
} scep_plan;

/**
 * Gather the endpoints of all sections and check what can be known at configuration time: sections
 * of one endpoint agree (both lines are named where not), SCEPConnector is there, SCEPCAUser is
 * there and sensible when started as root, no section matches a spelling of an SCEP address but not
 * its canonical path, scep-ca can write to the error log. Warns where LimitRequestLine is too small
 * for GET.
 * @return NULL, or CONFIG
 */
SCEP_MUST const scep_err *scep_config_plan(scep_plan *out, server_rec *main_server, apr_pool_t *p);

/* ---- scep-ca, the parent's side (mod_scep_ca.c) ---- */

/** Run `scep-ca check` with @a plan and wait. @return NULL, or CONFIG with what it said */
SCEP_MUST const scep_err *scep_ca_check(const scep_plan *plan, server_rec *s, apr_pool_t *ptemp);

/**
 * post_config's second part: create secrets and the listener once, register living scep-ca
 * processes again, start a new one and wait until it is ready, then let the old ones drain.
 * At a restart a failure is logged and the old one keeps serving.
 * @return NULL, or CONFIG: first start only
 */
SCEP_MUST const scep_err *scep_ca_start(const scep_plan *plan, server_rec *s, apr_pool_t *pconf);

/* What workers inherit by fork: everything needed to call, and the public bundle of READY. */
typedef struct scep_inheritance {
    const char *socket; /* path of the workers' socket */
    scep_bytes enrol_secret;
    scep_bytes mint_secret; /* len 0: this httpd may not mint */
    long timeout;           /* seconds */
    const scep_wire_ready *ready;
} scep_inheritance;

/**
 * In a new worker: close what is the parent's (not under -X, where it is the same process).
 * @return NULL where no SCEPEngine is on
 */
const scep_inheritance *scep_ca_inherit(apr_pool_t *pchild, server_rec *s);

/** The monitor hook's part: starts a scep-ca again whose respawn was put off. */
void scep_ca_monitor(apr_pool_t *p, server_rec *s);

/* ---- scep-ca, a worker's side (mod_scep_call.c) ---- */

/** In a new worker, after scep_ca_inherit(): make the client. Connects to nothing. */
void scep_call_child_init(const scep_inheritance *from, apr_pool_t *pchild, server_rec *s);

/* What everybody may know of an endpoint, ready to be sent. Lives as long as the process. */
typedef struct scep_public {
    const char *endpoint;
    uint64_t generation;
    scep_bytes ca_cert_body; /* GetCACert: application/x-x509-ca-ra-cert */
    X509 *ca;                /* issuing CA */
    X509 *root;              /* last of the chain; its thumbprint is on the challenge page */
    STACK_OF(X509) * chain;  /* issuing CA first, root last */
} scep_public;

/** From memory: the newest that this worker knows. NULL: no such endpoint. Holds until @a r ends.
 */
const scep_public *scep_ca_public(request_rec *r, const char *endpoint);

/**
 * The RA of an endpoint, fetched at the first use and whenever scep-ca has named a newer
 * generation. Holds until @a r ends.
 * @return NULL, or UNAVAILABLE, or what scep-ca refused with
 */
SCEP_MUST const scep_err *scep_ca_identity(const scep_ra **out, request_rec *r,
                                           const char *endpoint);

/** scep_ca_client_enrol() and _mint() for this worker; enrol notices a newer generation. */
SCEP_MUST const scep_err *scep_ca_enrol(scep_wire_verdict *out, request_rec *r,
                                        const scep_wire_enrol *request);
SCEP_MUST const scep_err *scep_ca_mint(scep_wire_minted *out, request_rec *r,
                                       const scep_wire_mint *request);

/* ---- pages (mod_scep_pages.c) ---- */

/** GET without an operation on a device address: NDES's information page. */
int scep_page_info(request_rec *r);

/** mscep_admin: the challenge page and its error pages. */
int scep_page_admin(request_rec *r);

/** Send @a body with exactly this Content-Type (no charset is ever added) and a Content-Length.
 *  HEAD sends no body. */
int scep_send(request_rec *r, int status, const char *content_type, scep_bytes body);

/** Whatever the answer becomes, an error page of httpd's included: Cache-Control: no-store. */
void scep_no_store(request_rec *r);

/** 503 with Retry-After, which httpd sends. Logging is the caller's. */
int scep_try_later(request_rec *r);

/** Begin of a log line on a fault: "NDES-<event> <code>: ". */
const char *scep_event(request_rec *r, int code);

/* ---- PKIOperation (mod_scep_pki.c) ---- */

/** GET or POST of a pkiMessage. @return what a handler returns */
int scep_pki_operation(request_rec *r);

/* ---- addresses (mod_scep_paths.c) ---- */

/** The address of the challenge page of @a s: "/", SCEPPasswordVDir in lower case. */
const char *scep_admin_path(server_rec *s, apr_pool_t *p);

/** Does @a path, apart from letter case, equal an SCEP address of @a s or a folder above one,
 *  and does it stand in another case than the canonical address? Such a <Location> never holds. */
bool scep_path_never_matches(const char *path, server_rec *s, apr_pool_t *p);

/**
 * A <Location> with a wildcard or a regular expression that matches a spelling of an SCEP address
 * of @a s, apart from letter case, but not its canonical path would not hold where it is meant to.
 * @return that canonical path, and the @a folder that a section may name instead; or NULL
 */
const char *scep_path_missed(const char **folder, const core_dir_config *section, server_rec *s,
                             apr_pool_t *p);

/** Did a .htaccess take part in what holds for @a r? From fixups on. */
bool scep_path_under_htaccess(request_rec *r);

/** Is @a folder, without its leading slash, where the devices go? */
bool scep_path_is_for_devices(const char *folder);

void scep_register_path_hooks(apr_pool_t *p);

#endif
