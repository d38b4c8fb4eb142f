/* Lines for httpd's error log. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LINE_MOST 2048

static const char *const level_names[] = {
    [LOG_LEVEL_CRIT] = "crit",
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
};

/* httpd's own form: [Thu Nov 21 22:30:00.123456 2024] [scep:warn] [pid 1:tid 2] */
static size_t put_prefix(char *line, size_t room, log_level level)
{
    char day[32] = "", year[8] = "";
    struct timeval now = { 0, 0 };
    struct tm tm;
    int n;

    if (gettimeofday(&now, NULL) == 0 && localtime_r(&now.tv_sec, &tm)) {
        if (!strftime(day, sizeof(day), "%a %b %d %H:%M:%S", &tm) ||
            !strftime(year, sizeof(year), "%Y", &tm))
            day[0] = 0;
    }
    n = snprintf(line, room, "[%s.%06ld %s] [scep:%s] [pid %ld:tid %ld] ", day, (long)now.tv_usec,
                 year, level_names[level], (long)getpid(), (long)syscall(SYS_gettid));
    return n > 0 ? (size_t)n : 0;
}

void log_line(log_level level, const char *fmt, ...)
{
    char line[LINE_MOST];
    size_t len = put_prefix(line, sizeof(line), level);
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
    va_end(ap);
    if (n > 0)
        len += (size_t)n < sizeof(line) - len ? (size_t)n : sizeof(line) - len - 1;
    line[len++] = '\n';
    /* One write, so that lines of several processes do not mix. Where the log itself cannot be
     * written there is nobody to tell. */
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}

void log_err(log_level level, const char *id, const char *what, const scep_err *err)
{
    log_line(level, "%s: %s: %s", id, what, err->detail);
}
