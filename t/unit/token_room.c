/* Tokens of softhsm2, made by its own tools and OpenSC's. */
#include "token_room.h"

#include "fixture.h"

#include <apr_general.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char token_folder[64] = "/tmp/scep-token-XXXXXX";
char token_softhsm[256], token_faulty[640], token_modules[512];

void token_write(const char *name, const void *data, size_t len, mode_t mode)
{
    char path[256];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", token_folder, name);
    file = fopen(path, "wb");
    FIXTURE_MUST(file && fwrite(data, 1, len, file) == len && fclose(file) == 0 &&
                 chmod(path, mode) == 0);
}

void token_write_text(const char *name, const char *text, mode_t mode)
{
    token_write(name, text, strlen(text), mode);
}

void token_tool(const char *fmt, ...)
{
    char command[1024], quiet[1200];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    (void)snprintf(quiet, sizeof(quiet), "%s >%s/tool.log 2>&1", command, token_folder);
    if (system(quiet) != 0) {
        printf("# %s failed, see %s/tool.log\n", command, token_folder);
        fixture_abort(__FILE__, __LINE__, "a tool");
    }
}

static void token_make(const char *label)
{
    token_tool("softhsm2-util --init-token --free --label '%s' --so-pin 12345678 --pin " TOKEN_PIN,
               label);
}

static void key_make(const char *token, const char *label, const char *id, const char *kind)
{
    token_tool("pkcs11-tool --module %s --token-label '%s' --login --pin " TOKEN_PIN
               " --keypairgen --key-type %s --label '%s' --id %s",
               token_softhsm, token, kind, label, id);
}

static void key_import(const char *token, const char *label, const char *id, EVP_PKEY *key)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/import.pem", token_folder);
    file = fopen(path, "w");
    FIXTURE_MUST(file && PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                 fclose(file) == 0);
    token_tool("softhsm2-util --import %s --token '%s' --pin " TOKEN_PIN " --label '%s' --id %s",
               path, token, label, id);
}

static void tokens_make(void)
{
    const fixture_ca *ca = fixture_ca_get();

    token_make("CA");
    key_make("CA", "rsa", "01", "rsa:2048");
    key_make("CA", "p256", "02", "EC:prime256v1");
    key_make("CA", "p384", "03", "EC:secp384r1");
    key_make("CA", "same", "04", "EC:prime256v1");
    key_make("CA", "same", "05", "EC:prime256v1");
    token_make("RA");
    key_import("RA", "sign", "01", ca->ra.sign.key);
    key_import("RA", "decrypt", "02", ca->ra.decrypt.key);
    token_make("twin");
    token_make("twin");
}

/* Where the distributions have it. */
static bool is_found(void)
{
    static const char *const paths[] = {
        "/usr/lib/softhsm/libsofthsm2.so",       "/usr/lib64/softhsm/libsofthsm.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",      "/usr/lib/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        if (access(paths[i], R_OK) == 0)
            (void)snprintf(token_softhsm, sizeof(token_softhsm), "%s", paths[i]);
    return *token_softhsm && system("command -v pkcs11-tool softhsm2-util >/dev/null 2>&1") == 0;
}

static void make_tokens(void)
{
    const char *build = getenv("builddir");
    char path[256], text[512], here[256];

    FIXTURE_MUST(mkdtemp(token_folder));
    (void)snprintf(path, sizeof(path), "%s/tokens", token_folder);
    FIXTURE_MUST(mkdir(path, 0700) == 0);
    (void)snprintf(text, sizeof(text),
                   "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n",
                   path);
    token_write_text("softhsm2.conf", text, 0600);
    token_write_text("pin", TOKEN_PIN "\n", 0600);
    token_write_text("wrong", "0000-0000\n", 0600);
    token_write_text("open", TOKEN_PIN "\n", 0640);
    token_write_text("empty", "\n", 0600);
    token_write_text("two", TOKEN_PIN "\n" TOKEN_PIN "\n", 0600);
    (void)snprintf(path, sizeof(path), "%s/softhsm2.conf", token_folder);
    (void)snprintf(token_modules, sizeof(token_modules), "%s/t/tool/.libs",
                   build ? build : getcwd(here, sizeof(here)));
    (void)snprintf(token_faulty, sizeof(token_faulty), "%s/hsm_module.so", token_modules);
    FIXTURE_MUST(access(token_faulty, R_OK) == 0);
    FIXTURE_MUST(setenv("SOFTHSM2_CONF", path, 1) == 0 &&
                 setenv("HSM_REAL", token_softhsm, 1) == 0);
    tokens_make();
}

void token_room_end(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf %s", token_folder);
    FIXTURE_MUST(system(command) == 0);
    apr_terminate();
}

bool token_room_begin(int *status)
{
    if (!is_found()) {
        printf("1..0 # SKIP softhsm2 and pkcs11-tool (OpenSC) are not installed\n");
        *status = getenv("CI") ? EXIT_FAILURE : EXIT_SUCCESS;
        return false;
    }
    FIXTURE_MUST(apr_initialize() == APR_SUCCESS);
    fixture_prepare();
    make_tokens();
    return true;
}
