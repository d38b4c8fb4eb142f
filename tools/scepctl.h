/*
 * scepctl: what its files share.
 *
 *   scepctl.c           the command line
 *   scepctl_call.c      calls to scep-ca over its ctl socket
 *   scepctl_show.c      answers, as a table or as JSON
 *   scepctl_challenges.c  challenges that are out, one more, one less
 *   scepctl_status.c    how scep-ca is
 *   scepctl_registry.c  the directives that a registry export of NDES is
 *   scepctl_profile*.c  configurations of clients
 */
#ifndef SCEPCTL_H
#define SCEPCTL_H

#include "wire.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct scepctl {
    const char *socket;
    bool json;
    int fd; /* of the connection; -1: none yet */
    apr_pool_t *p;
} scepctl;

/* Exit statuses. */
enum { DONE_WELL = 0, FAILED = 1, USAGE = 2 };

/* What stands on the command line. */
typedef struct words {
    const char *conf, *socket;
    const char *subject, *authority, *reason, *state;
    const char *user, *template_name;
    bool single;
    const char *url, *ca, *challenge_file, *endpoint;
    bool json, all, help, version;
    int operands;
    const char *command, *operand;
} words;

#define SCEPCTL_CONF "/etc/scep/ca.conf"

/** scep-ca's socket, as the command line or ca.conf names it. @return CONFIG where neither does */
SCEP_MUST const scep_err *find_socket(const char **out, const words *w, apr_pool_t *p);

/** An error on standard error. @return FAILED */
int complain(const scep_err *err);
/** The command line is wrong: @a what, and how it is meant. @return USAGE */
int misuse(const char *what);

/** Who sudo says is at the keyboard; scep-ca adds whom it knows. */
const char *operator_name(void);

/* ---- calls ---- */

/**
 * Send @a frame and wait for its answer; what comes before it is shown as progress.
 * @param expected the verb of the answer
 * @return NULL and the answer's body; or what scep-ca refused with; UNAVAILABLE: it cannot be asked
 */
SCEP_MUST const scep_err *call(scepctl *c, scep_bytes frame, scep_verb expected, scep_bytes *body);

/** A call that is answered by DONE, which is shown. @return exit status */
int do_call(scepctl *c, scep_bytes frame);

/** challenges; challenge: mint one; revoke-challenge ID or --single. @return exit status */
int list_challenges(scepctl *c, const words *w);
int mint_challenge(scepctl *c, const words *w);
int revoke_challenge(scepctl *c, const words *w);

/** import-registry FILE. @return exit status */
int import_registry(scepctl *c, const words *w);

/** profile KIND. @return exit status */
int show_profile(scepctl *c, const words *w);

/** status. @return exit status: FAILED, too, where the store does not answer */
int show_status(scepctl *c, const words *w);

/* ---- answers ---- */

/** RFC 3339, UTC; "": never. */
const char *when(uint64_t seconds, apr_pool_t *p);
/** What may be anybody's text, fit for a terminal. */
const char *clean(const char *text, apr_pool_t *p);
/** null for "": what came from a device is escaped. */
json_t *text_json(const char *text, apr_pool_t *p);
json_t *time_json(uint64_t seconds, apr_pool_t *p);
/** Print and free. @return exit status */
int print_json(json_t *value);

/** Begin, continue and end a list. In JSON it is one array. */
typedef struct list {
    bool json;
    json_t *array; /* where json */
    int rows;
} list;

void list_begin(list *l, bool json);
void list_request(list *l, const scep_wire_request *r, apr_pool_t *p);
void list_challenge(list *l, const scep_wire_challenge *ch, apr_pool_t *p);
void list_certificate(list *l, const scep_wire_certificate *c, apr_pool_t *p);
/** @param nothing what to say where there was no row. @return exit status */
int list_end(list *l, const char *nothing);

/** What was done. @return exit status */
int show_done(const scep_wire_done *done, bool json);

/** "keyCompromise" and its like; -1: not one that is accepted. RFC 5280 5.3.1 */
int reason_number(const char *word);
/** All of them, with commas between. */
const char *reason_words(apr_pool_t *p);

#endif
