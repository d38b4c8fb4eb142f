/* Sessions and logins of PKCS#11 tokens that end, and what a device may learn of that: nothing. */
#include "odd.h"
#include "token_suite.h"

#include <apr_strings.h>
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int logins(void)
{
    struct stat st;

    return stat(getenv("HSM_LOGINS"), &st) == 0 ? (int)st.st_size : 0;
}

static int looks(void)
{
    struct stat st;
    int n = stat(getenv("HSM_LOOKS"), &st) == 0 ? (int)st.st_size : 0;

    (void)unlink(getenv("HSM_LOOKS"));
    return n;
}

static void watch(const char *variable, const char *name)
{
    const char *path = apr_pstrcat(p, token_folder, "/", name, NULL);

    (void)unlink(path);
    FIXTURE_MUST(setenv(variable, path, 1) == 0);
}

/* Each call is some milliseconds of a token on a network. */
START_TEST(S_10_S_15_a_token_is_asked_as_much_after_good_padding_as_after_bad)
{
    static const fixture_request good = { 0 }, block = { .spoil_encrypted_key = true },
                                 padding = { .spoil_padding = true };
    const fixture_request *all[] = { &good, &block, &padding };
    scep_ra ra = ra_load(token_faulty);

    watch("HSM_LOOKS", "looks");
    for (int i = 0; i < ROWS(all); i++) {
        const scep_err *err = enrol(&ra, all[i]);

        ck_assert_int_eq(err == NULL, i == 0);
        ck_assert_int_eq(looks(), 1);
    }
}
END_TEST

/* OpenSSL's side opens sessions for itself: a good request goes through, so a bad one must not get
 * another answer than before. */
START_TEST(S_15_a_session_of_a_token_that_ended_is_opened_anew_and_answers_as_before)
{
    const fixture_request good = { 0 }, block = { .spoil_encrypted_key = true },
                          padding = { .spoil_padding = true };
    scep_ra ra = ra_load(token_faulty);
    const char *words = enrol(&ra, &padding)->detail;

    watch("HSM_ENDED", "ended");
    for (int i = 0; i < 4; i++) {
        const scep_err *err;
        unsigned before = scep_key_session(ra.decrypt.key);

        token_write_text("ended", "", 0600);
        err = enrol(&ra, i % 2 ? &good : &block);
        ck_assert_int_ne(access(getenv("HSM_ENDED"), F_OK), 0);
        ck_assert_uint_ne(scep_key_session(ra.decrypt.key), before);
        if (i % 2)
            assert_ok(err);
        else
            assert_code(SCEP_UNREADABLE, err);
        ck_assert_msg(!err || !strcmp(err->detail, words) || !strncmp(err->detail, "CSR: ", 5),
                      "%s", err ? err->detail : "");
    }
}
END_TEST

/* As another program of this process may do it: for all sessions of each token. */
static void log_out(void)
{
    void *module = dlopen(token_softhsm, RTLD_NOW | RTLD_LOCAL);
    CK_FUNCTION_LIST *calls = NULL;
    CK_C_GetFunctionList get;
    CK_SLOT_ID slots[16];
    CK_ULONG n = ROWS(slots);

    FIXTURE_MUST(module != NULL);
    *(void **)&get = dlsym(module, "C_GetFunctionList");
    FIXTURE_MUST(get && get(&calls) == CKR_OK &&
                 calls->C_GetSlotList(CK_TRUE, slots, &n) == CKR_OK);
    for (CK_ULONG i = 0; i < n; i++) {
        CK_SESSION_HANDLE session;

        if (calls->C_OpenSession(slots[i], CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
            continue;                   /* the slot for a new token */
        (void)calls->C_Logout(session); /* there may be no login */
        (void)calls->C_CloseSession(session);
    }
}

START_TEST(S_15_where_a_login_ended_the_last_try_is_left_alone_and_all_requests_get_one_answer)
{
    const fixture_request good = { 0 }, block = { .spoil_encrypted_key = true };
    scep_ra ra = ra_load(token_faulty);

    watch("HSM_LOGINS", "logins");
    for (int i = 0; i < 2; i++) {
        const scep_err *err;

        FIXTURE_MUST(i ? unsetenv("HSM_TOKEN") == 0 : setenv("HSM_TOKEN", "final", 1) == 0);
        log_out();
        err = enrol(&ra, &good);
        if (!i || err)
            assert_code(SCEP_UNAVAILABLE, err);
        for (int again = 0; again < 3; again++) {
            const scep_err *bad = enrol(&ra, &block);

            assert_code(err ? SCEP_UNAVAILABLE : SCEP_UNREADABLE, bad);
            if (err)
                ck_assert_str_eq(bad->detail, err->detail);
        }
        ck_assert_int_eq(logins(), i);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, S_10_S_15_a_token_is_asked_as_much_after_good_padding_as_after_bad);
    tcase_add_test(cases,
                   S_15_a_session_of_a_token_that_ended_is_opened_anew_and_answers_as_before);
    tcase_add_test(
        cases, S_15_where_a_login_ended_the_last_try_is_left_alone_and_all_requests_get_one_answer);
}

int main(void)
{
    return run_token_suite("key_session", add_tests);
}
