/*
 * A request's claim to be an account of Active Directory: Microsoft's SID in its extension or its
 * subjectAltName, and the names beside it. Pure; what it reads is hostile.
 */
#ifndef CA_DIRECTORY_CLAIM_H
#define CA_DIRECTORY_CLAIM_H

#include "csr.h"

#include <apr_tables.h>

typedef struct directory_claim {
    scep_bytes sid;            /* len 0: none is claimed */
    apr_array_header_t *upns;  /* of const char *: user principal names */
    apr_array_header_t *hosts; /* of const char *: DNS names */
    const char *common_name;   /* the only one; NULL: none, or several */
} directory_claim;

/** What a directory knows of the account with that SID. NULL: it has none. */
typedef struct directory_account {
    const char *upn;
    const char *host;   /* dNSHostName */
    const char *name;   /* sAMAccountName */
    const char *domain; /* the directory's, "corp.example" */
    bool disabled;
} directory_account;

/** @return NULL; BAD_SUBJECT: a SID that cannot be read, or two different ones */
SCEP_MUST const scep_err *directory_claim_read(directory_claim *out, const scep_csr *csr,
                                               apr_pool_t *p);

/**
 * Why the request is not that account's. NULL: it is. Each UPN has to be the account's (its own, or
 * sAMAccountName@domain) and each DNS name its dNSHostName; where there is neither, the common name
 * has to be one of them or sAMAccountName. Letter case is nothing.
 */
const char *directory_claim_fault(const directory_claim *claim, const directory_account *account);

#endif
