/*
 * What scep-ca writes to standard error, which is httpd's error log. One line each, in the shape of
 * httpd's own lines; the id (SCEP0301) is unique in the project and explained in
 * docs/operations.md.
 */
#ifndef CA_LOG_H
#define CA_LOG_H

#include "err.h"

typedef enum log_level {
    LOG_LEVEL_CRIT,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO
} log_level;

/** @param fmt begins with the id: "SCEP0301: …". Arguments are escaped by the caller
 *  (scep_printable). At most 2048 bytes, written in one go. */
void log_line(log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** The same for an error: "ID: what: detail". */
void log_err(log_level level, const char *id, const char *what, const scep_err *err);

#endif
