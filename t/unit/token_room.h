/* Tokens of softhsm2 in a folder of their own: "CA" with the keys rsa (01), p256 (02), p384 (03)
 * and two of the label same (04, 05); "RA" with the fixture's RA as sign (01) and decrypt (02); and
 * two of the label twin. PINs stand in files of the folder: pin, and wrong, open, empty and two. */
#ifndef TOKEN_ROOM_H
#define TOKEN_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define TOKEN_PIN "4711-0815"

/* softhsm: its module; faulty: that one with faults (t/tool/hsm_module.c), in modules, where the
 * provider of the tests is too */
extern char token_folder[64], token_softhsm[256], token_faulty[640], token_modules[512];

/** Made once, before the tests, by programs: no state of PKCS#11 is there when tests fork.
 *  @return false: softhsm2 or pkcs11-tool is not installed; that is said, and @a status is main's
 */
bool token_room_begin(int *status);
void token_room_end(void);

/** A file of the folder. */
void token_write(const char *name, const void *data, size_t len, mode_t mode);
void token_write_text(const char *name, const char *text, mode_t mode);

/** Run a command; aborts where it fails. */
void token_tool(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
