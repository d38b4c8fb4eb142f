/* A folder for each test in which scep-ca init makes a CA. */
#ifndef INIT_ROOM_H
#define INIT_ROOM_H

#include "bytes.h"
#include "own.h"

/* What init makes, names below its folder. */
extern const char *const init_room_files[8];
extern const char *const init_room_folders[2];

/** Where init writes to; not there yet. */
extern const char *init_room_out;

void init_room_up(apr_pool_t *p);
void init_room_down(apr_pool_t *p);

/** The path of a file that init makes. */
const char *init_room_path(const char *name, apr_pool_t *p);

/** Run init with "--out OUT" and @a more, a list separated by '|'. @param said both streams
 *  @return its exit status */
int init_room_run(const char *more, const char **said, apr_pool_t *p);

/** Run check in a process of its own, as it drops privileges. */
int init_room_check(const char *more, const char **said, apr_pool_t *p);

/** The same, with @a frame on standard input, where httpd's settings come from. */
int init_room_check_control(const char *more, scep_bytes frame, const char **said, apr_pool_t *p);

/** The text of a file. */
const char *init_room_text(const char *path, apr_pool_t *p);

/** The one certificate of a file that init made. */
X509 *init_room_certificate(const char *name, apr_pool_t *p);

#endif
