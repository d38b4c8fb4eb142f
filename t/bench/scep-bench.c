/*
 * What `make bench` measures with: makes many requests before the clock runs, sends them over
 * loopback, and opens every answer afterwards; and measures the floor, the cryptography alone.
 */
#include "bench.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name, *words; /* with a blank on both sides of each */
    int (*run)(const words *w, apr_pool_t *p);
} commands[] = {
    { "keys", " count out ", command_keys },
    { "make", " keys ca-ra challenges count name out ", command_make },
    { "renew", " keys ca-ra messages replies name out ", command_renew },
    { "load", " url messages replies clients arrivals seconds warm pid refusals ", command_load },
    { "check", " keys ca-ra messages replies serials ", command_check },
    { "floor", " ca seconds ", command_floor },
};

static const char usage_text[] =
    "usage: scep-bench keys --count N --out KEYS\n"
    "       scep-bench make --keys KEYS --ca-ra FILE --challenges FILE|- --count N --name NAME\n"
    "           --out MESSAGES\n"
    "       scep-bench renew --keys KEYS --ca-ra FILE --messages OLD --replies REPLIES\n"
    "           --name NAME --out MESSAGES\n"
    "       scep-bench load --url URL [--messages MESSAGES --replies REPLIES] [--clients N]\n"
    "           [--arrivals N] [--seconds N] [--warm N] [--pid HTTPD]\n"
    "           [--refusals again]\n"
    "       scep-bench check --keys KEYS --ca-ra FILE --messages MESSAGES --replies REPLIES\n"
    "           [--serials FILE]\n"
    "       scep-bench floor --ca rsa2048|p256 [--seconds N]\n"
    "load sends each message once, or the URL by GET until the seconds are over. --clients are\n"
    "connections that are kept; with --arrivals so many new ones come each second, --clients of\n"
    "them at one time at the most. --refusals again: 503 with Retry-After is no wrong answer, the\n"
    "message is sent again. steady_p99_ms is of what began after --warm seconds. What load and "
    "check find is printed as NAME=VALUE; check ends with 1\n"
    "where an answer is wrong. Keys are written in clear: for tests only.\n";

_Noreturn void die(const char *what, const char *which)
{
    fprintf(stderr, "scep-bench: %s: %s\n", what, which);
    ERR_print_errors_fp(stderr);
    (void)fflush(stdout);
    _exit(2); /* as scep-request does: nothing is cleaned up */
}

const char *word_of(const words *w, const char *name)
{
    for (int i = 0; i + 1 < w->n; i += 2) {
        if (strcmp(w->v[i] + 2, name) == 0)
            return w->v[i + 1];
    }
    return NULL;
}

const char *word_must(const words *w, const char *name)
{
    const char *value = word_of(w, name);

    if (!value)
        die("an option is missing", name);
    return value;
}

long number_of(const words *w, const char *name, long least, long fallback)
{
    const char *value = word_of(w, name);
    char *end;
    long number;

    if (!value)
        return fallback;
    number = strtol(value, &end, 10);
    if (*end || end == value || number < least || number > 100000000)
        die(name, "is not a number in its range");
    return number;
}

static void must_know(const words *w, const char *known)
{
    for (int i = 0; i < w->n; i += 2) {
        char name[32];

        if (strncmp(w->v[i], "--", 2) != 0 || strlen(w->v[i]) > 20)
            die("no such option", w->v[i]);
        (void)apr_snprintf(name, sizeof(name), " %s ", w->v[i] + 2);
        if (!strstr(known, name))
            die("no such option", w->v[i]);
        if (i + 1 == w->n)
            die("needs a value", w->v[i]);
    }
}

int main(int argc, char **argv)
{
    words w = { argc - 2, argv + 2 };
    apr_pool_t *pool;
    int status = -1;

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && apr_pool_create(&pool, NULL) == APR_SUCCESS);
    (void)umask(077);
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            must_know(&w, commands[i].words);
            status = commands[i].run(&w, pool);
        }
    }
    if (status < 0) {
        fputs(usage_text, stderr);
        status = 2;
    }
    apr_pool_destroy(pool);
    apr_terminate();
    return status;
}
