/* `scep-ca init`: set-up without questions. */
#ifndef CA_INIT_H
#define CA_INIT_H

#include "err.h"

/**
 * scep-ca init [--ca-key KIND] [--ra-key KIND] [--ca-name DN] [--ra-name DN] [--ca-days N]
 * [--ra-days N] [--owner USER] --out FOLDER: writes ca.key, ca.pem, ra-sign.*, ra-decrypt.*,
 * store.key and ca.conf; with --owner as root, the folder's files belong to that user. Refuses an existing FOLDER that is not empty.
 * @return exit status: 0, 1 failed, 2 usage
 */
int init_main(int argc, char **argv, apr_pool_t *p);

#endif
