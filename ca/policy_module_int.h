/* Inside a policy module: what its ways to call share. Nobody else includes this. */
#ifndef CA_POLICY_MODULE_INT_H
#define CA_POLICY_MODULE_INT_H

#include "policy_module.h"

#include <pthread.h>

#define POLICY_MODULE_CHALLENGE_MOST 1024
#define POLICY_MODULE_ANSWER_MOST RUNNER_OUTPUT_MOST

typedef enum module_kind { MODULE_VERIFY, MODULE_GENERATE, MODULE_NOTIFY } module_kind;

/* One call. Texts are never NULL. */
typedef struct module_call {
    module_kind kind;
    const char *name; /* "verify", "generate", "notify" */
    const char *template_name, *peer, *transaction_id, *params;
    bool renewal;
    scep_bytes challenge, csr;
    scep_bytes certificate; /* the one that stands for a renewal; notify: the one that was issued */
    int disposition;
    uint32_t hresult;
    apr_time_t deadline;
    uint64_t id; /* of a line to a kept program, which its answer repeats; 0: none */
} module_call;

typedef struct module_answer {
    bool yes;
    const char *reason;    /* escaped; "": none given */
    const char *challenge; /* of generate */
} module_answer;

typedef struct module_https module_https;

struct policy_module {
    const char *endpoint;
    const char *address; /* PROGRAM or the URL */
    apr_interval_time_t timeout;
    const scep_err *(*call)(module_answer *out, policy_module *m, const module_call *c,
                            apr_pool_t *p);
    runner *runner;
    pthread_mutex_t lock; /* of these two: a call at a time */
    runner_kept kept;
    uint64_t asked; /* the last id */
    module_https *https;
};

/* Each: NULL and an answer, or UNAVAILABLE with what the module did wrong. */
SCEP_MUST const scep_err *module_call_exec(module_answer *out, policy_module *m,
                                           const module_call *c, apr_pool_t *p);
SCEP_MUST const scep_err *module_call_kept(module_answer *out, policy_module *m,
                                           const module_call *c, apr_pool_t *p);
SCEP_MUST const scep_err *module_call_https(module_answer *out, policy_module *m,
                                            const module_call *c, apr_pool_t *p);

/** Milliseconds until the call's deadline. @return 0: it is over */
long module_time_left(const module_call *c);

/** Read what https needs; CONFIG. */
SCEP_MUST const scep_err *module_https_make(module_https **out, const char *url,
                                            const conf_module *section, apr_pool_t *p);

/** The call as JSON, one line with its end, wiped with the pool. */
scep_bytes module_json_write(const policy_module *m, const module_call *c, apr_pool_t *p);

/** @return NULL, or UNAVAILABLE: what is wrong with it */
SCEP_MUST const scep_err *module_json_read(module_answer *out, const module_call *c,
                                           scep_bytes text, apr_pool_t *p);

/** Make jansson wipe what it frees. */
void module_json_begin(void);

/** 1 to 1024 printable characters of ASCII? */
bool module_challenge_fits(scep_bytes text);

#endif
