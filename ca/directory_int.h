/*
 * Inside of directory: questions, and the connection each of them makes. Nobody else includes this.
 */
#ifndef CA_DIRECTORY_INT_H
#define CA_DIRECTORY_INT_H

#include "deadline.h"
#include "directory.h"

/* With what a server is spoken to. Each question has a copy of its own, as it may be left behind.
 */
typedef struct directory_login {
    apr_array_header_t *urls; /* of const char * */
    bool starttls, gssapi, simple;
    const char *principal, *keytab, *tickets; /* tickets: a cache in this process's memory */
    const char *user;
    scep_bytes password; /* wiped with its pool */
    const char *tls_ca, *tls_cert, *tls_key;
} directory_login;

/* Kerberos, for GSSAPI. NULL: none; opaque, as only directory_gssapi.c knows what it is. */
typedef struct directory_tickets directory_tickets;

/** Tickets of the account, fetched where none are kept. @param out belongs to @a p
 *  @return NULL; UNAVAILABLE with Kerberos' reason; CONFIG: built without Kerberos */
SCEP_MUST const scep_err *directory_tickets_get(directory_tickets **out,
                                                const directory_login *login, apr_pool_t *p);
/** The gss_cred_id_t. */
void *directory_tickets_credential(const directory_tickets *tickets);
/** Forget those that are kept: a server did not believe them. */
void directory_tickets_forget(const directory_login *login);
/** Can there be tickets at all? @return NULL, or CONFIG: built without Kerberos */
SCEP_MUST const scep_err *directory_tickets_check(apr_pool_t *p);

/* Bounds what libldap waits for on a connection. */
typedef struct directory_wait directory_wait;
struct ldap;

/** @param until read at each wait, lives as long as @a ld; so does @a p. @return NULL, or CONFIG */
SCEP_MUST const scep_err *directory_wait_until(struct ldap *ld, const moment *until, apr_pool_t *p);

/* A connection to one server, for one question. */
typedef struct directory_session directory_session;

/** Libraries' global state, while there is one thread only. @return NULL, or CONFIG */
SCEP_MUST const scep_err *directory_library(apr_pool_t *p);

/** Connect, cipher, log on, and read the root. @param out is closed with @a p
 *  @return NULL; UNAVAILABLE; CONFIG: this account is refused */
SCEP_MUST const scep_err *directory_connect(directory_session **out, const directory_login *login,
                                            const char *url, moment until, apr_pool_t *p);

void directory_close(directory_session *s);

/** "DC=corp,DC=example", "CN=Configuration,…" and "corp.example" */
const char *directory_domain_dn(const directory_session *s);
const char *directory_configuration_dn(const directory_session *s);
const char *directory_domain(const directory_session *s);

typedef enum directory_scope { DIRECTORY_BASE, DIRECTORY_ONE, DIRECTORY_SUBTREE } directory_scope;

typedef struct directory_search {
    const char *base;
    directory_scope scope;
    const char *filter;
    const char *const *wanted; /* attributes; NULL at the end */
    bool descriptors;          /* nTSecurityDescriptor, of which the DACL is asked for */
} directory_search;

/** All entries, page by page. @param out of directory_entry; none: there is no such object
 *  @return NULL; UNAVAILABLE; CONFIG: this account may not */
SCEP_MUST const scep_err *directory_find(apr_array_header_t **out, directory_session *s,
                                         const directory_search *search, apr_pool_t *p);

/** A value for a filter: whatever is not a letter, a digit or one of "-_.@ " as \xx (RFC 4515 3).
 */
const char *directory_escape(scep_bytes value, apr_pool_t *p);

/* A question: asked of one server after the other until one answers. In memory of its own. */
typedef struct directory_question {
    apr_pool_t *p; /* its own */
    directory_login *login;
    moment until;
    int first; /* the server that is asked first; then, the one that answered */
    const scep_err *(*ask)(struct directory_question *q, directory_session *s);
    const scep_err *err; /* of the last server; NULL: answered */

    /* what is asked */
    const char *service, *user;
    apr_array_header_t *names; /* of const char * */
    scep_bytes sid;

    /* what is answered */
    directory_view view;
    const char *why;            /* of may_enroll */
    directory_account *account; /* NULL: there is none */
} directory_question;

const scep_err *directory_ask_view(directory_question *q, directory_session *s);
const scep_err *directory_ask_enroll(directory_question *q, directory_session *s);
const scep_err *directory_ask_sid(directory_question *q, directory_session *s);

#endif
