/*
 * A policy module, what INDESPolicy is to NDES: somebody else's program or service that makes an
 * endpoint's challenges, says yes or no to its requests, and is told what became of them.
 *
 *   verify    may this request be granted? It uses nothing up: the same may be asked again
 *   generate  a challenge for a template
 *   notify    what became of a request; this is where a module uses a challenge up. It may come
 *             more than once for one request
 *
 * It fails closed: an error is never a yes. Each fault and each no is a line of the log. Any thread
 * may call. docs/policy-module.md is the protocol.
 */
#ifndef CA_POLICY_MODULE_H
#define CA_POLICY_MODULE_H

#include "conf.h"
#include "csr.h"
#include "runner.h"

#include <apr_time.h>

typedef struct policy_module policy_module;

/* Where a module comes from. */
typedef struct policy_module_source {
    const char *endpoint;
    const char *text;        /* PolicyModule: exec:PROGRAM, prg:PROGRAM, https://… */
    long seconds;            /* PolicyModuleTimeout */
    const conf_module *conf; /* its section of ca.conf; NULL: none */
    const char *exec_user;   /* ExecUser; NULL or "": none */
    runner *runner;          /* NULL: programs are only checked, as for configtest */
} policy_module_source;

/** Does @a text need a runner? */
bool policy_module_is_program(const char *text);

/**
 * Check and load: the program must be an absolute path of a file that the user may execute, that
 * belongs to root (or to who this is) and that group and others may not write; secrets and keys are
 * read here, while scep-ca may. jansson's memory is wiped when it is freed from here on, in the
 * whole process.
 * @return NULL, or CONFIG with "NDES-53 …"
 */
SCEP_MUST const scep_err *policy_module_make(policy_module **out,
                                             const policy_module_source *source, apr_pool_t *p);

/* A request, as a module hears of it. */
typedef struct policy_module_request {
    const char *template_name, *peer;
    scep_bytes transaction_id;
    scep_bytes challenge; /* len 0: none is known */
    scep_bytes csr;       /* DER; len 0: not known any more */
    const X509 *old;      /* that stands for a renewal; NULL: none */
    apr_time_t deadline;  /* 0: none beside the module's own */
} policy_module_request;

/** @return NULL: yes; CHALLENGE: no (REFUSED for a renewal), or the challenge holds control
 *  characters; UNAVAILABLE: a fault, nothing was decided */
SCEP_MUST const scep_err *policy_module_verify(policy_module *m, const policy_module_request *r,
                                               apr_pool_t *p);

/**
 * @param challenge 1 to 1024 printable characters of ASCII, wiped with the pool
 * @return NULL; REFUSED: it makes none; UNAVAILABLE: a fault
 */
SCEP_MUST const scep_err *policy_module_generate(const char **challenge, policy_module *m,
                                                 const char *template_name, const char *params,
                                                 const char *peer, apr_pool_t *p);

/* NDES's X509SCEPDisposition. */
typedef enum policy_module_disposition {
    POLICY_MODULE_SUCCESS = 0,
    POLICY_MODULE_FAILURE = 2,
    POLICY_MODULE_PENDING = 3
} policy_module_disposition;

/** @param certificate DER; len 0: none. @return NULL, or UNAVAILABLE: it did not take it */
SCEP_MUST const scep_err *policy_module_notify(policy_module *m, const policy_module_request *r,
                                               policy_module_disposition disposition,
                                               uint32_t hresult, scep_bytes certificate,
                                               apr_pool_t *p);

#endif
