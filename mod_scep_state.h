/*
 * What httpd's parent knows of scep-ca across restarts: plain data in the process's pool. At a
 * restart this module is unloaded and loaded again at another address, so that nothing there may
 * point into it, and no cleanup may be registered there.
 */
#ifndef MOD_SCEP_STATE_H
#define MOD_SCEP_STATE_H

#include "mod_scep.h"

#include <sys/un.h>

/* Those that serve or still finish calls; more than restarts within SCEPCATimeout. */
#define SCEP_LIVING_MOST 64

typedef struct scep_living {
    pid_t pid;
    int control;
    bool ready;
} scep_living;

/* Its layout changes together with the version in the key of mod_scep_state.c. */
typedef struct scep_state {
    pid_t parent;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    int listener;
    unsigned char enrol_secret[SCEP_WIRE_SECRET];
    unsigned char mint_secret[SCEP_WIRE_SECRET]; /* zero where nobody mints */
    bool mints;
    scep_living living[SCEP_LIVING_MOST];
    int living_count;
    pid_t current;        /* serves, or will; 0: none */
    apr_time_t started;   /* when the last one was, or will be after its pause */
    int quick_deaths;     /* in a row */
    apr_time_t start_at;  /* where none could be started; 0: nothing is put off */
    unsigned char *ready; /* body of the last READY */
    size_t ready_len, ready_room;
    scep_places *places; /* made by who makes the state */
    unsigned long told;  /* of those turned away: what the log has */
    apr_time_t told_at;
} scep_state;

/** NULL: no SCEPEngine was on since httpd was started. */
scep_state *scep_state_find(server_rec *s);

/** Would the socket's path fit, whatever the parent's number? @return NULL, or CONFIG */
SCEP_MUST const scep_err *scep_state_check(apr_pool_t *p);

/** Make it: secret and listener. @return NULL, or CONFIG; then there is none */
SCEP_MUST const scep_err *scep_state_make(scep_state **out, server_rec *s, apr_pool_t *p);

/** Let httpd's workers reach the socket: their User may be another one since, and the socket's
 *  file removed, which is made again. @return NULL, or CONFIG; then the listener is as before */
SCEP_MUST const scep_err *scep_state_offer(scep_state *st, apr_pool_t *p);

/** Make the secret that mints, or wipe it: workers are forked from this process, so what they may
 *  not know must not be here. */
SCEP_MUST const scep_err *scep_state_set_minting(scep_state *st, bool mints, apr_pool_t *p);

scep_bytes scep_state_enrol_secret(const scep_state *st);
scep_bytes scep_state_mint_secret(const scep_state *st);

/** Index into st->living; -1: none of ours. */
int scep_state_living(const scep_state *st, pid_t pid);

/** Take a process off the list and close its control channel. */
void scep_state_forget(scep_state *st, pid_t pid);

/** One that served, or was to, has ended. @return seconds until the next start: 0, or 1, 2, 4, 8,
 * 16, 30 after quick deaths in a row. One that did not get ready died quickly, however long that
 * took */
uint32_t scep_state_pause(scep_state *st, bool was_ready);

/** Tell all but the current one to finish what they do and to leave. @param p scratch */
void scep_state_drain(scep_state *st, apr_pool_t *p);

/** Remember the body of a READY, for a restart whose own scep-ca does not get ready. */
void scep_state_keep_ready(scep_state *st, scep_bytes body, server_rec *s);

/** Close the listener and all control channels. */
void scep_state_close(scep_state *st);

#endif
