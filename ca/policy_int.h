/*
 * Inside judgement: what the rules of policy.c and those of policy_names.c share. Nobody else
 * includes this.
 */
#ifndef CA_POLICY_INT_H
#define CA_POLICY_INT_H

#include "policy.h"

/* What a rule says where it refuses. */
typedef struct objection {
    scep_code code;
    const char *reason;
    bool uses_challenge; /* all the same */
} objection;

/* A rule says why not, or NULL. */
typedef const objection *(*policy_rule)(const policy_facts *f, apr_pool_t *p);

/** An objection in @a p. @param reason static or in @a p */
const objection *policy_object(apr_pool_t *p, scep_code code, const char *reason);

/** What is wrong with a name, or a name of IA5 characters; NULL: nothing. */
const char *policy_name_fault(const X509_NAME *name, apr_pool_t *p);
const char *policy_ia5_fault(const ASN1_IA5STRING *value);

/** The subjectAltName asked for. @return 1 and the names, 0 none, -1 cannot be read */
int policy_alt_names(GENERAL_NAMES **out, const scep_csr *csr, apr_pool_t *p);

/* What a challenge is bound to (policy_binding.c). */
const objection *policy_judge_binding(const policy_facts *f, apr_pool_t *p);

/* The rules about names: those of every request, and those of a renewal (S-09). */
const objection *policy_judge_subject(const policy_facts *f, apr_pool_t *p);
const objection *policy_judge_alt_names(const policy_facts *f, apr_pool_t *p);
const objection *policy_judge_sid(const policy_facts *f, apr_pool_t *p);
const objection *policy_judge_same_names(const policy_facts *f, apr_pool_t *p);

#endif
