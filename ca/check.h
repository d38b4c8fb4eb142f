/* `scep-ca check`: load everything, say what is there or what is wrong. */
#ifndef CA_CHECK_H
#define CA_CHECK_H

#include "err.h"

/**
 * scep-ca check [--control] [--user USER] CA.CONF
 * --control: httpd's CONFIGURE frame comes on descriptor 0, so that its endpoints are checked too.
 * --user: whom to open the store as when started as root; default the owner of the store's folder.
 * Prints what it found: no secret, and nothing is fetched; an RA that is about to end is renewed,
 * as at every start.
 * @return exit status: 0, 1 something is wrong (one line on standard error), 2 usage, which the
 *         caller prints
 */
int check_main(int argc, char **argv, apr_pool_t *p);

#endif
