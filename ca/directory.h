/*
 * Active Directory by LDAP: which templates there are and what they say, which CA is published, who
 * may enrol, and whether a SID is the account's that a request names.
 *
 * A question goes to the servers of ca.conf one after the other, beginning with the one that
 * answered last, and ends with its time (`timeout`), whatever hangs: it is asked in a thread of its
 * own (aside.h). While no server answers, all questions but one in five seconds are refused at
 * once, and never are more than eight asked at one time, so that a directory that hangs holds up
 * few threads. Who may enrol is remembered for `cache` seconds: a yes only, and within them it
 * holds also while no server answers. Any thread may ask.
 */
#ifndef CA_DIRECTORY_H
#define CA_DIRECTORY_H

#include "conf.h"
#include "directory_claim.h"
#include "directory_template.h"

typedef struct directory directory;

/** Read the files that need privileges (the password) and check the others. Asks nobody.
 *  @return NULL, or CONFIG */
SCEP_MUST const scep_err *directory_open(directory **out, const conf_directory *section,
                                         apr_pool_t *p);

/** What is published of a CA and of templates. */
typedef struct directory_view {
    apr_array_header_t *certs;     /* of scep_bytes, DER: the CA's; NULL: it was not asked for */
    apr_array_header_t *offered;   /* of const char *: certificateTemplates; NULL: likewise */
    apr_array_header_t *templates; /* of directory_template; one without name was not found */
} directory_view;

/**
 * @param service the CA's pKIEnrollmentService; NULL: not asked for
 * @param names of const char *: cn of templates
 * @return NULL; CONFIG: there is no such service, a template cannot be read, or the account is
 *         refused; UNAVAILABLE: no server answers
 */
SCEP_MUST const scep_err *directory_look(directory_view *out, directory *d, const char *service,
                                         const apr_array_header_t *names, apr_pool_t *p);

/**
 * May that user enrol on each of these templates?
 * @param why not: for the audit line; "" where he may
 * @param user as httpd knows him: NAME@REALM, DOMAIN\NAME or NAME
 * @param names of const char *: cn of templates
 * @return NULL; UNAVAILABLE: no server answers, and no answer is remembered; CONFIG
 */
SCEP_MUST const scep_err *directory_may_enroll(const char **why, directory *d, const char *user,
                                               const apr_array_header_t *names, apr_pool_t *p);

/** Is the account with the claim's SID the one that its names say?
 *  @param why not: for the audit line; "" where it is. @return as directory_may_enroll() */
SCEP_MUST const scep_err *directory_confirms_sid(const char **why, directory *d,
                                                 const directory_claim *claim, apr_pool_t *p);

/** Seconds that what was read holds. */
int directory_cache(const directory *d);

#endif
