/*
 * A SCEP client for tests, without HTTP: writes requests to files, opens the replies.
 * Challenges come from a file or standard input, never from the command line.
 */
#include "scep-request.h"

#include <apr_general.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
    "usage: scep-request new --recipient PEM | --ca-ra FILE --out DIR [--count N]\n"
    "           [--challenge-file FILE|-] [--subject DN] [--san SAN]\n"
    "           [--key-usage digitalSignature|keyEncipherment|both] [--ext NAME=VALUE;...]\n"
    "           [--cipher aes128|aes192|aes256|3des|des] [--oaep]\n"
    "           [--digest sha1|sha224|sha256|sha384|sha512|md5] [--pss] [--csr-digest NAME]\n"
    "           [--key PEM | --key-type rsaBITS|p256|p384|p521] [--keys N]\n"
    "           [--signer PEM --signer-key PEM] [--signer-subject DN]\n"
    "           [--type N] [--transaction-id T] [--signing-time MINUTES] [--ber] [--spoil WORD]\n"
    "           [--nonce-length BYTES]\n"
    "           [--poll DIR/NNNN] [--data WORD] [--issuer PEM] [--serial HEX]\n"
    "       scep-request open --request DIR/NNNN --reply FILE [--ca-ra FILE]\n"
    "           [--challenge-file FILE|-] [--out PEM] [--chain PEM] [--crl PEM]\n"
    "       scep-request open --list FILE|- [--ca-ra FILE]\n"
    "       scep-request next --reply FILE --ca-ra FILE --out FILE\n"
    "       scep-request certs --ca-ra FILE\n"
    "In --subject, --san, --type and --transaction-id {} is the number of the request.\n"
    "--type 17 with --signer is a renewal; --poll asks for the outcome of an earlier request, "
    "with\n"
    "its transactionID, its key and its signer. messageData is, by --data: csr (the default),\n"
    "issuer-and-subject (with --poll), swapped (the same, subject first), issuer-and-serial (with\n"
    "--serial), nonsense or empty; --issuer is the certificate whose subject is the issuer.\n"
    "open writes the first certificate to --out, all of them in order to --chain; lines of --list\n"
    "are: DIR/NNNN FILE. next writes what can be given as --ca-ra.\n";

_Noreturn void die(const char *what, const char *which)
{
    fprintf(stderr, "scep-request: %s: %s\n", what, which);
    ERR_print_errors_fp(stderr);
    (void)fflush(stdout);
    _exit(2); /* at once: nothing is cleaned up, and no leak checker shall change the status */
}

typedef struct option {
    const char *name;
    const char **value;
    bool flag;
} option;

/* Is @a word "--" and this name with '-' for '_'? */
static bool is_option(const char *word, const char *name)
{
    if (strncmp(word, "--", 2) != 0 || strlen(word + 2) != strlen(name))
        return false;
    word += 2;
    while (*name && (*word == *name || (*word == '-' && *name == '_'))) {
        word++;
        name++;
    }
    return !*name;
}

static void parse(options *o, int argc, char **argv)
{
#define WITH_VALUE(name) { #name, &o->name, false },
#define WITHOUT_VALUE(name) { #name, &o->name, true },
    const option known[] = { OPTIONS(WITH_VALUE) FLAGS(WITHOUT_VALUE) };
#undef WITH_VALUE
#undef WITHOUT_VALUE

    for (int i = 2; i < argc; i++) {
        size_t k = 0;

        while (k < sizeof(known) / sizeof(*known) && !is_option(argv[i], known[k].name))
            k++;
        if (k == sizeof(known) / sizeof(*known))
            die("no such option", argv[i]);
        if (known[k].flag)
            *known[k].value = "";
        else if (++i < argc)
            *known[k].value = argv[i];
        else
            die("needs a value", argv[i - 1]);
    }
}

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        int (*run)(const options *o, apr_pool_t *p);
    } commands[] = { { "new", command_new },
                     { "open", command_open },
                     { "next", command_next },
                     { "certs", command_certs } };
    options o = { 0 };
    apr_pool_t *pool;
    int status = -1;

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && apr_pool_create(&pool, NULL) == APR_SUCCESS);
    (void)umask(077);
    parse(&o, argc, argv);
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
        if (argc > 1 && strcmp(argv[1], commands[i].name) == 0)
            status = commands[i].run(&o, pool);
    }
    if (status < 0) {
        fputs(usage, stderr);
        status = 2;
    }
    apr_pool_destroy(pool);
    apr_terminate();
    return status;
}
