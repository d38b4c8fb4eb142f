/*
 * Judgement: facts in, verdict out. Pure: no clock, no store, no key.
 */
#ifndef CA_POLICY_H
#define CA_POLICY_H

#include "conf.h"
#include "csr.h"

typedef struct policy_facts {
    int message_type;
    const scep_csr *csr;
    const conf_template *template;
    bool enforce_password; /* EnforcePassword */
    bool challenge_good;   /* the store says so; meaningless where none was sent */
    int minimum_hash_bits; /* MinimumHash */
} policy_facts;

typedef enum policy_outcome { POLICY_GRANT, POLICY_DENY } policy_outcome;

typedef struct policy_verdict {
    policy_outcome outcome;
    scep_code code;      /* where denied; a code with a failInfo */
    const char *reason;  /* for the audit line; static or in @a p */
    bool uses_challenge; /* where granted: a challenge is to be used up */
} policy_verdict;

/**
 * Deny is the answer unless every rule grants: messageType 19 only; a challenge where it is
 * enforced (one that is sent where none is required is ignored, Q-68); subject or SAN present,
 * without control characters or NUL, at most 32 RDNs and 1024 bytes a value; key size of the
 * template; CSR signature digest not below the minimum; Microsoft SID claims (extension
 * 1.3.6.1.4.1.311.25.2 and SAN URI tag:microsoft.com,2022-09-14:sid:) only where the template
 * allows them. What else the request asks for (basicConstraints, key usage, EKU, policies, name
 * constraints) is not copied, so not judged.
 */
policy_verdict policy_judge(const policy_facts *facts, apr_pool_t *p);

#endif
