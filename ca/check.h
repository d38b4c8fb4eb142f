/* `scep-ca check`: load everything, say what is there or what is wrong. */
#ifndef CA_CHECK_H
#define CA_CHECK_H

#include "err.h"

/**
 * scep-ca check [--control] [--user USER] CA.CONF
 * --control: httpd's CONFIGURE frame comes on descriptor 0, so that its endpoints are checked too.
 * --user: whom to open the store as when started as root; default the owner of an SQLite store's
 * folder, who must not be root, else of store.key: if that is root, it stays root.
 * Prints what it found: no secret, and no CRL is fetched. By hand each CA elsewhere is asked
 * whether it can be reached. An RA of a local CA that is about to end is renewed, as at every
 * start; one of a CA elsewhere is neither enrolled nor renewed.
 * @return exit status: 0, 1 something is wrong (one line on standard error), 2 usage, which the
 *         caller prints
 */
int check_main(int argc, char **argv, apr_pool_t *p);

#endif
