/*
 * A PKCS#11 module for tests: the one that HSM_REAL names, with the faults that a file cannot have.
 * HSM_TOKEN says what each token's information adds: "final", its PIN has one more try; "locked".
 * While the file HSM_AWAY exists, every token is away. Logins are counted in the file HSM_LOGINS,
 * questions for a token's information in HSM_LOOKS. Where the file HSM_FAILS is found, it is taken
 * away, and one login fails for no reason of its own. Where the file HSM_ENDED is found, it is
 * taken away, and the sessions that were open by then have ended.
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST *real, ours;

static int is_away(void)
{
    const char *file = getenv("HSM_AWAY");

    return file && access(file, F_OK) == 0;
}

static void count(const char *variable)
{
    const char *file = getenv(variable);
    FILE *to = file ? fopen(file, "a") : NULL;

    if (to) {
        (void)fputc('.', to);
        (void)fclose(to);
    }
}

/* softhsm2 gives each session a higher number. */
static CK_SESSION_HANDLE newest, ended;

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session)
{
    CK_RV rv = real->C_OpenSession(slot, flags, application, notify, session);

    if (rv == CKR_OK && *session > newest)
        newest = *session;
    return rv;
}

static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
    const char *file = getenv("HSM_ENDED");

    if (file && unlink(file) == 0)
        ended = newest;
    return session <= ended ? CKR_SESSION_HANDLE_INVALID : real->C_GetSessionInfo(session, info);
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    const char *says = getenv("HSM_TOKEN");
    CK_RV rv = is_away() ? CKR_DEVICE_REMOVED : real->C_GetTokenInfo(slot, info);

    count("HSM_LOOKS");
    if (rv == CKR_OK && says && !strcmp(says, "final"))
        info->flags |= CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY;
    if (rv == CKR_OK && says && !strcmp(says, "locked"))
        info->flags |= CKF_USER_PIN_LOCKED;
    return rv;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
    const char *file = getenv("HSM_FAILS");

    count("HSM_LOGINS");
    if (file && unlink(file) == 0)
        return CKR_GENERAL_ERROR;
    return real->C_Login(session, user, pin, len);
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *how, CK_OBJECT_HANDLE key)
{
    return is_away() ? CKR_DEVICE_REMOVED : real->C_SignInit(session, how, key);
}

static CK_RV decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *how, CK_OBJECT_HANDLE key)
{
    return is_away() ? CKR_DEVICE_REMOVED : real->C_DecryptInit(session, how, key);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    const char *path = getenv("HSM_REAL");
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList get;
    CK_RV rv;

    if (!module)
        return CKR_GENERAL_ERROR;
    *(void **)&get = dlsym(module, "C_GetFunctionList");
    rv = get ? get(&real) : CKR_GENERAL_ERROR;
    if (rv != CKR_OK)
        return rv;
    ours = *real;
    ours.C_GetFunctionList = C_GetFunctionList;
    ours.C_GetTokenInfo = get_token_info;
    ours.C_OpenSession = open_session;
    ours.C_GetSessionInfo = get_session_info;
    ours.C_Login = login;
    ours.C_SignInit = sign_init;
    ours.C_DecryptInit = decrypt_init;
    *list = &ours;
    return CKR_OK;
}
