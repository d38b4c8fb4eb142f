/*
 * What the files of the module share. The module is glue: HTTP in, bytes out.
 *
 *   mod_scep.c             module record, hooks, which operation a request asks for
 *   mod_scep_discovery.c   GetCACaps, GetCACert, GetCACertChain, GetNextCACert
 *   mod_scep_pki.c         PKIOperation: what a request asks of scep-ca
 *   mod_scep_body.c        … the bytes of a request
 *   mod_scep_addressee.c   … the RA that its envelope names
 *   mod_scep_reply.c       … and its answer
 *   mod_scep_config.c      directives (from lib/settings.h) and the settings of a request
 *   mod_scep_identifiers.c SCEPCAIdentifiers: several endpoints behind one address
 *   mod_scep_paths.c       NDES's addresses in any letter case
 *   mod_scep_sections.c    all sections together: endpoints, and what is refused at start
 *   mod_scep_plan.c        … how scep-ca is to be started
 *   mod_scep_notices.c     … and what the log says of a configuration at each start
 *   mod_scep_pages.c       the pages of mscep and mscep_admin
 *   mod_scep_text.c        … their HTML and encoding, and how an answer is sent
 *   mod_scep_challenge.c   … who may have a challenge
 *   mod_scep_bound.c       … bound to what
 *   mod_scep_json.c        … and the same answers for programs
 *   mod_scep_module.c      what is answered where a policy module judges
 *   mod_scep_ca.c          start and supervise scep-ca
 *   mod_scep_call.c        a worker's calls to it
 *   mod_scep_status.c      the status page, and what mod_status shows
 *   mod_scep_status_look.c … and what there is to show: asks scep-ca, keeps its answer for a second
 *   mod_scep_places.c      … and how many requests are worked on at one time
 *   mod_scep_known.c       what a worker knows of its endpoints
 *   mod_scep_bodies.c      … and the bodies made of it
 */
#ifndef MOD_SCEP_H
#define MOD_SCEP_H

#include "scep.h"

#include <ap_mpm.h>
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
    bool weak[SCEP_SET_COUNT];         /* from SCEPRegistry: a directive beside it wins */
    const scep_registry *registry;     /* what SCEPRegistry of this very section read; NULL: none */
} scep_section;

extern const command_rec scep_commands[];
void *scep_section_create(apr_pool_t *p, char *path);
void *scep_section_merge(apr_pool_t *p, void *base, void *add);

/** The settings in force for a request: its section's, with the ClientProfile of its endpoint even
 *  where another section of that endpoint names it. */
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
    const char *exec_user;         /* NULL: the same, or there is no program to run */
    long timeout;                  /* seconds */
    bool admin;                    /* this httpd may mint */
    apr_array_header_t *endpoints; /* of scep_wire_endpoint: issuance settings of each */
} scep_plan;

/**
 * Gather the endpoints of all sections and check what can be known at configuration time: sections
 * of one endpoint agree (both lines are named where not), SCEPConnector is there, SCEPCAUser is
 * there and sensible when started as root, no section matches a spelling of an SCEP address but not
 * its canonical path, scep-ca can write to the error log.
 * @return NULL, or CONFIG
 */
SCEP_MUST const scep_err *scep_config_plan(scep_plan *out, server_rec *main_server, apr_pool_t *p);

/** The part of scep_config_plan() that concerns the process: files, users, the log. @return as it
 */
SCEP_MUST const scep_err *scep_plan_process(scep_plan *out, server_rec *main_server,
                                            apr_hash_t *endpoints, apr_pool_t *p);

/** Log what holds, but should be known: LimitRequestLine too small for GET, legacy algorithms, open
 *  endpoints, values of a registry export that are not carried over. */
void scep_notices(server_rec *main_server, apr_hash_t *endpoints, apr_pool_t *p);

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

/* How many requests are worked on (mod_scep_places.h). */
typedef struct scep_places scep_places;

/* What workers inherit by fork: everything needed to call, and the public bundle of READY. */
typedef struct scep_inheritance {
    const char *socket; /* path of the workers' socket */
    scep_bytes enrol_secret;
    scep_bytes mint_secret; /* len 0: this httpd may not mint */
    long timeout;           /* seconds */
    const scep_wire_ready *ready;
    scep_places *places;
} scep_inheritance;

/**
 * In a new worker: close what is the parent's (not under -X, where it is the same process).
 * @return NULL where no SCEPEngine is on
 */
const scep_inheritance *scep_ca_inherit(apr_pool_t *pchild, server_rec *s);

/** The monitor hook's part: starts a scep-ca again whose respawn was put off. */
void scep_ca_monitor(apr_pool_t *p, server_rec *s);

/* ---- how many requests are worked on (mod_scep_places.c) ---- */

/** The child_status hook, in httpd's parent: what a process that is gone held is free. */
void scep_places_child_status(server_rec *s, pid_t pid, ap_generation_t gen, int slot,
                              mpm_child_status state);

/** The monitor hook's part: one line a minute at most on what was turned away. */
void scep_places_monitor(server_rec *s);

/* ---- several endpoints behind one address (mod_scep_identifiers.c) ---- */

typedef struct scep_identifier {
    const char *name;     /* as written; letter case is ignored */
    const char *endpoint; /* in lower case */
} scep_identifier;

/**
 * Read the text of SCEPCAIdentifiers.
 * @param out of scep_identifier; empty where the text is
 * @return NULL, or CONFIG: a part is not IDENTIFIER=ENDPOINT, or an identifier stands there twice
 */
SCEP_MUST const scep_err *scep_identifiers_read(apr_array_header_t **out, const char *text,
                                                apr_pool_t *p);

/**
 * At configuration time, once all endpoints are known: can each request to this section be told to
 * whom it belongs?
 * @param endpoints as in scep_server
 * @param own the section's own endpoint
 * @return NULL, or CONFIG: not to be read, an endpoint that does not exist, or two of them with
 *         one authority, whose RA a device would encrypt to for either
 */
SCEP_MUST const scep_err *scep_identifiers_check(apr_hash_t *endpoints, const char *own,
                                                 const scep_section *section, apr_pool_t *p);

/** The endpoint that message= of a request chooses; the section's own where it names none. */
const char *scep_identified_endpoint(request_rec *r);

/** Endpoints whose requests are served at this address: the section's own one first. Of
 *  const char *. */
apr_array_header_t *scep_endpoints_served(request_rec *r);

/* ---- what a worker knows of its endpoints (mod_scep_known.c) ---- */

/* An RA, of the CA or of the one that follows it. */
typedef struct scep_identity {
    const char *authority;
    int role;               /* scep_wire_role */
    scep_ra ra;             /* keys NULL while only what is public is known */
    STACK_OF(X509) * chain; /* issuing CA first, root last */
} scep_identity;

/* What is known at one time. Bodies are made once: nothing is computed for a request. */
typedef struct scep_known {
    const char *endpoint;
    uint64_t generation;
    bool has_keys;
    const scep_identity *identities; /* the current one first */
    int n;                           /* at least 1 */
    const scep_identity *next;       /* of the next CA; NULL: none is prepared */
    const char *caps;                /* GetCACaps */
    scep_bytes full;  /* RA, then the CA up to its root, as a degenerate SignedData */
    scep_bytes chain; /* the same without the root */
    scep_bytes ca;    /* the issuing CA's certificate alone, DER */
} scep_known;

/**
 * The newest that this worker knows, asking scep-ca where that was long ago: one thread asks, the
 * others go on with what is known, and so do all while scep-ca is away.
 * @return NULL: no such endpoint. Holds until @a r ends, as with all that follow
 */
const scep_known *scep_known_public(request_rec *r, const char *endpoint);

/** The top of its chain, whose fingerprint stands in a device's profile. */
X509 *scep_known_top(const scep_known *known);

/** The same with the RAs' keys. @return NULL, or UNAVAILABLE, or what scep-ca refused with */
SCEP_MUST const scep_err *scep_known_keys(const scep_known **out, request_rec *r,
                                          const char *endpoint);

/**
 * The same, fetched anew: another node, or another worker's answer to GetCACert, may have shown a
 * device an RA that this worker has not seen yet. At most once in two seconds for each endpoint.
 * @return false: nothing newer was fetched
 */
bool scep_known_anew(const scep_known **out, request_rec *r, const char *endpoint);

/**
 * The body of GetNextCACert, signed by the current RA, made once for each digest.
 * @param known with keys and a next CA
 * @return NULL, or INTERNAL
 */
SCEP_MUST const scep_err *scep_known_next(scep_bytes *out, const scep_known *known,
                                          const EVP_MD *digest, apr_pool_t *p);

/* ---- scep-ca, a worker's side (mod_scep_call.c) ---- */

/** In a new worker, after scep_ca_inherit(): make the client. Connects to nothing. */
void scep_call_child_init(const scep_inheritance *from, apr_pool_t *pchild, server_rec *s);

/** scep_ca_client_verdict() and _mint() for this worker; a verdict's generation is noticed. */
SCEP_MUST const scep_err *scep_ca_verdict(scep_wire_verdict *out, request_rec *r,
                                          const char *endpoint, scep_bytes frame);
SCEP_MUST const scep_err *scep_ca_mint(scep_wire_minted *out, request_rec *r,
                                       const scep_wire_mint *request);

/** The state of scep-ca, within two seconds, whatever SCEPCATimeout is. @return NULL; TOO_OFTEN: it
 *  is there, but too busy to tell; or why it cannot be told */
SCEP_MUST const scep_err *scep_ca_status(scep_wire_state *out, request_rec *r);

/** Count a failed request of @a r's address, in this process. @return 0: within SCEPFailedMax; else
 *  the seconds until one would be */
int scep_failed_too_often(request_rec *r, const char *endpoint, long per_minute);

/* ---- pages (mod_scep_pages.c) ---- */

/** GET without an operation on a device address: NDES's information page. */
int scep_page_info(request_rec *r);

/** mscep_admin: the challenge page and its error pages, or the same as JSON. */
int scep_page_admin(request_rec *r);

/* ---- how an answer is sent (mod_scep_text.c) ---- */

/** Send @a body with exactly this Content-Type (no charset is ever added) and a Content-Length.
 *  HEAD sends no body. */
int scep_send(request_rec *r, int status, const char *content_type, scep_bytes body);

/** Send a page of HTML, in SCEPPageEncoding. @param parts what stands between the heading and the
 *  foot: ASCII, a challenge among it; NULL at the end */
int scep_send_page(request_rec *r, const char *const *parts);

/** @a parts, NULL at the end, one after the other in memory that is wiped. */
scep_bytes scep_joined(apr_pool_t *p, const char *const *parts);

/** @a text for a page: escaped, and ASCII. */
const char *scep_html(request_rec *r, const char *text);

/** A digest of @a cert in upper-case hex, with a space after each @a group bytes (not 0).
 *  @return NULL: OpenSSL has no such digest (MD5 under FIPS) */
const char *scep_thumbprint(apr_pool_t *p, X509 *cert, const EVP_MD *md, unsigned int group);

/** The same by the digest of SCEPThumbprint. */
const char *scep_usual_thumbprint(request_rec *r, X509 *cert, unsigned int group);

/** Whatever the answer becomes, an error page of httpd's included: Cache-Control: no-store. */
void scep_no_store(request_rec *r);

/** 503 with Retry-After, which httpd sends. Logging is the caller's. */
int scep_try_later(request_rec *r);

/** Retry-After, for whatever the answer becomes. @param seconds 0 counts as 1 */
void scep_retry_after(request_rec *r, unsigned int seconds);

/** Begin of a log line on a fault: "NDES-<event> <code>: ". */
const char *scep_event(request_rec *r, int code);

/* ---- who may have a challenge (mod_scep_challenge.c) ---- */

/** May this request ask for one? Logs why not. @return OK, or the status of the refusal */
int scep_may_ask(request_rec *r);

/** Why @a minted holds no challenge, in the error log; nothing where it does. */
void scep_log_unminted(request_rec *r, const char *endpoint, const scep_wire_minted *minted);

/** No challenge for a reason that is not the user's. Logs. @return what a handler returns */
int scep_no_challenge(request_rec *r, const scep_err *err);

/* ---- challenges bound to a name (mod_scep_bound.c) ---- */

/** Is @a r a POST of JSON? */
bool scep_bound_is_wanted(request_rec *r);

/** Read the body of such a POST: the subject, names and template to bind a challenge to.
 *  @return NULL, or a sentence: what is wrong */
const char *scep_bound_read(scep_wire_mint *out, request_rec *r);

/** 400 for an order that cannot be understood. Logs. @return what a handler returns */
int scep_bound_refuse(request_rec *r, const char *sentence);

/* ---- answers as JSON (mod_scep_json.c) ---- */

#define SCEP_JSON_TYPE "application/json"

/** Does Accept of @a r name JSON? Anything that matches all types does not. */
bool scep_json_is_wanted(request_rec *r);

/** The challenge of @a minted, or why there is none. @param top the top of the CA's chain */
int scep_json_send(request_rec *r, const scep_wire_minted *minted, X509 *top);

/** {"error": sentence} */
int scep_json_error(request_rec *r, int status, const char *sentence);

/* ---- the status page (mod_scep_status.c) ---- */

/** Handler "scep-status": HTML, or JSON where the query has "auto"; 503 where scep-ca or its store
 *  does not answer. DECLINED: another handler is asked for. */
int scep_status_page(request_rec *r);

/** Hang the section of this module into mod_status's page. */
void scep_register_status_hooks(apr_pool_t *p);

/* Notes for CustomLog, as %{scep-transid}n: see docs/operations.md, "Watching it". */
#define SCEP_NOTE_TRANSID "scep-transid"
#define SCEP_NOTE_STATUS "scep-status"
#define SCEP_NOTE_SERIAL "scep-serial"
#define SCEP_NOTE_ENDPOINT "scep-endpoint"

/* ---- endpoints with a policy module (mod_scep_module.c) ---- */

bool scep_module_is_there(request_rec *r);

/** In place of scep_page_info(): 403. */
int scep_module_info(request_rec *r);

/** In place of scep_page_admin(): NDESGenerateChallenge and NDESGetCACertThumbprint, and no page.
 */
int scep_module_admin(request_rec *r);

/* ---- operations ---- */

/** GetCACaps, GetCACert, GetCACertChain and GetNextCACert (mod_scep_discovery.c).
 *  @return what a handler returns */
int scep_get_ca_caps(request_rec *r);
int scep_get_ca_cert(request_rec *r);
int scep_get_ca_cert_chain(request_rec *r);
int scep_get_next_ca_cert(request_rec *r);

/** The digest of an answer to which no request dictates one: SCEPHashAlgorithm. */
const EVP_MD *scep_own_digest(const scep_settings *settings);

/** GET or POST of a pkiMessage (mod_scep_pki.c). @return what a handler returns */
int scep_pki_operation(request_rec *r);

/** What a section and an endpoint accept. @param issuance of the endpoint; NULL: the section's */
scep_accept scep_accepted(const scep_settings *section, const scep_settings *issuance);

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
