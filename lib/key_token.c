/* Tokens of PKCS#11: which one a URI names, and the login. */
#include "config.h"

#include "key_parts.h"

#ifdef HAVE_PKCS11

#include <apr_strings.h>
#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ui.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MOST = 64, NAMES_MOST = 8, PIN_MOST = 255 };

/* Of this process; none is ever taken out. */
static scep_token *tokens;
static pthread_mutex_t tokens_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Fields of PKCS#11's structures are padded with blanks. */
static const char *field(const CK_UTF8CHAR *text, size_t size, apr_pool_t *p)
{
    while (size && (text[size - 1] == ' ' || !text[size - 1]))
        size--;
    return scep_printable(p, (scep_bytes){ text, size }, 64);
}

#define FIELD(of, name, p) field((of)->name, sizeof((of)->name), (p))

/* ---- the module ---- */

/* By ourselves: p11-kit loads no p11-kit-proxy.so, and begins without a word about threads. The
 * library stays: there is one in a process. */
static const scep_err *module_load(CK_FUNCTION_LIST **out, const char *path, apr_pool_t *p)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, "C_GetFunctionList") : NULL;
    const char *why = symbol ? NULL : dlerror();
    CK_C_GetFunctionList get;

    if (!symbol)
        return scep_fail(p, CONFIG, "PKCS#11 module %s cannot be loaded: %s", path,
                         why ? why : "it has no C_GetFunctionList");
    memcpy(&get, &symbol, sizeof(get)); /* ISO C has no cast for it */
    if (get(out) == CKR_OK && *out)
        return NULL;
    return scep_fail(p, CONFIG, "PKCS#11 module %s cannot be loaded: it has no functions", path);
}

/* @param began whether it is this call that made it begin: then nobody else has keys in it */
static const scep_err *module_begin(CK_FUNCTION_LIST **out, bool *began, const char *path,
                                    apr_pool_t *p)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK }; /* any thread signs */
    CK_RV rv;

    SCEP_TRY(module_load(out, path, p));
    rv = (*out)->C_Initialize(&args);
    *began = rv == CKR_OK;
    ERR_clear_error(); /* one that is built on OpenSSL leaves its own there */
    if (rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return NULL;
    return scep_fail(p, CONFIG, "PKCS#11 module %s does not start: %s", path, p11_kit_strerror(rv));
}

/* ---- the token ---- */

static bool is_named(const scep_key_uri *uri, CK_SLOT_ID slot, const CK_TOKEN_INFO *info)
{
    CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(uri->parts);

    return (wanted == (CK_SLOT_ID)-1 || wanted == slot) &&
           p11_kit_uri_match_token_info(uri->parts, info);
}

/* What there is instead of what was looked for. */
static const char *name_add(const char *names, int n, const char *label, CK_SLOT_ID slot,
                            apr_pool_t *p)
{
    if (n >= NAMES_MOST)
        return n == NAMES_MOST ? apr_pstrcat(p, names, ", …", NULL) : names;
    return apr_psprintf(p, "%s%s\"%s\" (slot %lu)", names, n ? ", " : "", label, slot);
}

/* The one token that the URI names. */
static const scep_err *slot_find(scep_token *t, const scep_key_uri *uri, apr_pool_t *p)
{
    CK_SLOT_ID slots[SLOTS_MOST];
    CK_ULONG n = SLOTS_MOST;
    const char *names = "", *fitting = "";
    CK_RV rv = t->calls->C_GetSlotList(CK_TRUE, slots, &n);
    int there = 0, found = 0;

    if (rv != CKR_OK)
        return scep_fail(p, CONFIG, "PKCS#11 module %s does not list its slots: %s", uri->module,
                         p11_kit_strerror(rv));
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;

        if (t->calls->C_GetTokenInfo(slots[i], &info) != CKR_OK)
            continue; /* taken out at this moment */
        names = name_add(names, there++, FIELD(&info, label, p), slots[i], p);
        if (!is_named(uri, slots[i], &info))
            continue;
        fitting = name_add(fitting, found++, FIELD(&info, label, p), slots[i], p);
        t->slot = slots[i];
        t->info = info;
    }
    if (found > 1)
        return scep_fail(p, CONFIG,
                         "several tokens of %s are named: %s; add serial= or slot-id=", uri->module,
                         fitting);
    if (found)
        return NULL;
    return scep_fail(p, CONFIG, "PKCS#11 module %s has no token \"%s\"%s%s", uri->module,
                     FIELD(p11_kit_uri_get_token_info(uri->parts), label, p),
                     there ? "; there are " : ", and no other one", names);
}

/* ---- the login ---- */

static const scep_err *pin_load(scep_token *t, const char *path, apr_pool_t *p)
{
    scep_bytes text;

    SCEP_TRY(scep_key_file(&text, "PIN file", path, p));
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    if (!text.len || text.len > PIN_MOST || memchr(text.data, '\0', text.len) ||
        memchr(text.data, '\n', text.len))
        return scep_fail(p, CONFIG, "PIN file %s: one line of 1 to %d bytes is accepted", path,
                         PIN_MOST);
    t->pin = calloc(1, text.len + 1);
    if (!t->pin)
        return scep_fail(p, INTERNAL, "out of memory");
    memcpy(t->pin, text.data, text.len);
    return NULL;
}

/* Tries are counted by the token, and each start of a process is one: the last is left alone. */
static const scep_err *check_tries(const scep_token *t, const char *label, const char *path,
                                   apr_pool_t *p)
{
    if (t->info.flags & CKF_USER_PIN_LOCKED)
        return scep_fail(p, CONFIG, "token \"%s\" (slot %lu): its PIN is locked", label, t->slot);
    if (t->info.flags & CKF_USER_PIN_FINAL_TRY)
        return scep_fail(p, CONFIG,
                         "token \"%s\" (slot %lu): one more wrong PIN locks it, so the one of %s "
                         "is not tried: log in by hand once",
                         label, t->slot, path);
    return NULL;
}

/* A failure of the token's own has judged no PIN: PKCS#11 has other words for that. */
static CK_RV log_in(scep_token *t)
{
    CK_RV rv = CKR_GENERAL_ERROR;

    for (int i = 0; rv == CKR_GENERAL_ERROR && i < SCEP_TOKEN_TRIES; i++) {
        if (i)
            apr_sleep(SCEP_TOKEN_PAUSE);
        rv = t->calls->C_Login(t->session, CKU_USER, (CK_UTF8CHAR *)t->pin, strlen(t->pin));
    }
    return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

static const scep_err *login(scep_token *t, const scep_key_uri *uri, apr_pool_t *p)
{
    const char *label = FIELD(&t->info, label, p);
    const scep_err *err;
    CK_RV rv;

    if (!uri->pin) {
        if (!(t->info.flags & CKF_LOGIN_REQUIRED))
            return NULL;
        return scep_fail(p, CONFIG,
                         "token \"%s\" (slot %lu) wants a PIN: write it into a file (chmod 600) "
                         "and add pin-source=file:/PATH to the URI, behind its '?'",
                         label, t->slot);
    }
    SCEP_TRY(check_tries(t, label, uri->pin, p));
    err = pin_load(t, uri->pin, p);
    if (err)
        return scep_fail(p, CONFIG, "token \"%s\" (slot %lu): %s", label, t->slot, err->detail);
    rv = log_in(t);
    ERR_clear_error();
    if (rv == CKR_OK)
        return NULL;
    return scep_fail(p, CONFIG, "token \"%s\" (slot %lu): no login with the PIN of %s: %s", label,
                     t->slot, uri->pin, p11_kit_strerror(rv));
}

static const scep_err *session_open(scep_token *t, const scep_key_uri *uri, apr_pool_t *p)
{
    CK_RV rv = t->calls->C_OpenSession(t->slot, CKF_SERIAL_SESSION, NULL, NULL, &t->session);
    const scep_err *err;

    if (rv != CKR_OK)
        return scep_fail(p, CONFIG, "token \"%s\" (slot %lu) opens no session: %s",
                         FIELD(&t->info, label, p), t->slot, p11_kit_strerror(rv));
    err = login(t, uri, p);
    if (err)
        (void)t->calls->C_CloseSession(t->session);
    return err;
}

static void token_free(scep_token *t)
{
    if (t->pin)
        OPENSSL_cleanse(t->pin, strlen(t->pin));
    free(t->pin);
    (void)pthread_mutex_destroy(&t->mutex);
    free((char *)t->module);
    free((char *)t->label);
    free(t);
}

/* @param again what is missing may be there in a moment */
static const scep_err *token_try(scep_token **out, bool *again, const scep_key_uri *uri,
                                 apr_pool_t *p)
{
    scep_token *t = calloc(1, sizeof(*t));
    const scep_err *err;
    bool began = false;

    if (!t || pthread_mutex_init(&t->mutex, NULL) != 0) {
        free(t);
        return scep_fail(p, INTERNAL, "out of memory");
    }
    err = module_begin(&t->calls, &began, uri->module, p);
    if (!err) {
        err = slot_find(t, uri, p);
        *again = err && began;
        if (!err)
            err = session_open(t, uri, p);
        t->module = strdup(uri->module);
        t->label = strdup(FIELD(&t->info, label, p));
        if (!err && (!t->module || !t->label))
            err = scep_fail(p, INTERNAL, "out of memory");
        /* a module may look for tokens only when it begins */
        if (err && began)
            (void)t->calls->C_Finalize(NULL);
    }
    if (err)
        token_free(t);
    else
        *out = t;
    return err;
}

static const scep_err *token_open(scep_token **out, const scep_key_uri *uri, apr_pool_t *p)
{
    const scep_err *err = NULL;
    bool again = true;

    for (int i = 0; again && i < SCEP_TOKEN_TRIES; i++) {
        if (i)
            apr_sleep(SCEP_TOKEN_PAUSE);
        again = false;
        err = token_try(out, &again, uri, p);
    }
    return err;
}

static scep_token *token_known(const scep_key_uri *uri)
{
    scep_token *t = tokens;

    while (t && (strcmp(t->module, uri->module) || !is_named(uri, t->slot, &t->info)))
        t = t->next;
    return t;
}

const scep_token *scep_token_of(const scep_key_uri *uri)
{
    const scep_token *found;

    (void)pthread_mutex_lock(&tokens_mutex);
    found = token_known(uri);
    (void)pthread_mutex_unlock(&tokens_mutex);
    return found;
}

/* ---- whether it is still there ---- */

/* @return CKR_USER_NOT_LOGGED_IN: the session is good, and its login has ended */
static CK_RV session_look(const scep_token *t, CK_SESSION_HANDLE session)
{
    CK_SESSION_INFO info = { 0 };
    CK_RV rv = t->calls->C_GetSessionInfo(session, &info);

    if (rv == CKR_OK && t->pin && info.state != CKS_RO_USER_FUNCTIONS &&
        info.state != CKS_RW_USER_FUNCTIONS)
        rv = CKR_USER_NOT_LOGGED_IN;
    return rv;
}

/* With the PIN that was good once; one that was changed since is tried once. */
static CK_RV login_again(scep_token *t, CK_FLAGS flags)
{
    CK_RV rv;

    if (t->pin_refused || flags & (CKF_USER_PIN_LOCKED | CKF_USER_PIN_FINAL_TRY))
        return CKR_USER_NOT_LOGGED_IN;
    rv = log_in(t);
    t->pin_refused = rv == CKR_PIN_INCORRECT || rv == CKR_PIN_EXPIRED || rv == CKR_PIN_LOCKED;
    return rv;
}

/* The old handle is not closed: it may be somebody else's by now. */
static CK_RV session_renew(scep_token *t, CK_RV why, CK_FLAGS flags)
{
    if (why != CKR_USER_NOT_LOGGED_IN) {
        CK_SESSION_HANDLE session;
        CK_RV rv = t->calls->C_OpenSession(t->slot, CKF_SERIAL_SESSION, NULL, NULL, &session);

        if (rv != CKR_OK)
            return rv;
        why = session_look(t, session);
        if (why != CKR_OK && why != CKR_USER_NOT_LOGGED_IN) {
            (void)t->calls->C_CloseSession(session);
            return why;
        }
        t->session = session;
        atomic_fetch_add(&t->sessions, 1);
    }
    if (why != CKR_USER_NOT_LOGGED_IN)
        return why;
    why = login_again(t, flags);
    if (why == CKR_OK)
        atomic_fetch_add(&t->sessions, 1);
    return why;
}

static const scep_err *token_look(scep_token *t, const char *where, apr_pool_t *p)
{
    CK_TOKEN_INFO info;
    CK_RV rv = t->calls->C_GetTokenInfo(t->slot, &info);

    if (rv == CKR_OK && memcmp(info.serialNumber, t->info.serialNumber, sizeof(info.serialNumber)))
        return scep_fail(p, UNAVAILABLE, "%s: there is another token in the slot now", where);
    if (rv == CKR_OK) {
        rv = session_look(t, t->session);
        if (rv != CKR_OK)
            rv = session_renew(t, rv, info.flags);
    }
    ERR_clear_error();
    if (rv == CKR_OK)
        return NULL;
    if (rv == CKR_USER_NOT_LOGGED_IN)
        return scep_fail(p, UNAVAILABLE,
                         "%s: the token has ended the login, and with the PIN of the start none is "
                         "tried: it was refused, or one more wrong PIN locks the token",
                         where);
    return scep_fail(p, UNAVAILABLE, "%s: the token is away: %s", where, p11_kit_strerror(rv));
}

const scep_err *scep_token_away(scep_token *t, const char *where, apr_pool_t *p)
{
    const scep_err *err;

    (void)pthread_mutex_lock(&t->mutex);
    err = token_look(t, where, p);
    (void)pthread_mutex_unlock(&t->mutex);
    return err;
}

const scep_err *scep_token_find(scep_token_key *out, const scep_key_uri *uri, apr_pool_t *p)
{
    const scep_err *err = NULL;
    scep_token *t;

    (void)pthread_mutex_lock(&tokens_mutex);
    t = token_known(uri);
    if (!t) {
        err = token_open(&t, uri, p);
        if (!err) {
            t->next = tokens;
            tokens = t;
        }
    }
    out->token = t;
    if (!err) {
        /* one session, one search at a time */
        (void)pthread_mutex_lock(&t->mutex);
        err = scep_token_key_find(out, uri, p);
        (void)pthread_mutex_unlock(&t->mutex);
    }
    (void)pthread_mutex_unlock(&tokens_mutex);
    return err;
}

/* ---- the PIN, when OpenSSL asks ---- */

static int give_pin(UI *ui, UI_STRING *asked)
{
    const scep_token *t = UI_get0_user_data(ui);

    if (UI_get_string_type(asked) != UIT_PROMPT)
        return 1;
    return t && t->pin && UI_set_result(ui, asked, t->pin) == 0;
}

/* Made once and kept: the engine goes on to refer to it. */
static UI_METHOD *ui;

static void make_ui(void)
{
    ui = UI_create_method("PIN of a PKCS#11 token");
    if (ui && UI_method_set_reader(ui, give_pin) != 0) {
        UI_destroy_method(ui);
        ui = NULL;
    }
}

UI_METHOD *scep_token_ui(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    return pthread_once(&once, make_ui) == 0 ? ui : NULL;
}

#endif
