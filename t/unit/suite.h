/* What the suites of libscep's rooms share: a pool for each test, errors that explain themselves.
 */
#ifndef SUITE_H
#define SUITE_H

#include "fixture.h"

#include <apr_general.h>
#include <check.h>
#include <openssl/provider.h>
#include <stdlib.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof(*(table))))

#define assert_ok(expr)                                                     \
    do {                                                                    \
        const scep_err *ok_err = (expr);                                    \
        ck_assert_msg(!ok_err, "%s: %s: %s", row,                           \
                      ok_err ? scep_code_describe(ok_err->code)->name : "", \
                      ok_err ? ok_err->detail : "");                        \
    } while (0)

#define assert_code(wanted, expr)                                                           \
    do {                                                                                    \
        const scep_err *code_err = (expr);                                                  \
        int code_was = code_err ? (int)code_err->code : (int)SCEP_OK;                       \
        ck_assert_msg(code_was == (int)(wanted), "%s: %s instead of %s (%s)", row,          \
                      scep_code_describe(code_was)->name, scep_code_describe(wanted)->name, \
                      code_err ? code_err->detail : "accepted");                            \
    } while (0)

#define assert_bytes(a, b)                                                               \
    ck_assert_msg(scep_bytes_equal((a), (b)), "%s: %s: %s is not %s", row, #a " == " #b, \
                  scep_printable(p, (a), 80), scep_printable(p, (b), 80))

/* The test's pool, and the row of its table that is under test. */
static apr_pool_t *p;
static const char *row = "";

static void begin(void)
{
    FIXTURE_MUST(apr_pool_create(&p, NULL) == APR_SUCCESS);
    /* a pool's memory is freed when it ends, so that a sanitizer sees who still reads it */
    apr_allocator_max_free_set(apr_pool_allocator_get(p), 1);
}

static void end(void)
{
    apr_pool_destroy(p);
}

/* Run the tests that add_tests() adds. The keys are made before Check forks. Single DES needs the
 * legacy provider: with it loaded, only our own allow-list stands in its way. */
static int run_suite(const char *name, void (*add_tests)(TCase *))
{
    Suite *suite = suite_create(name);
    TCase *cases = tcase_create(name);
    SRunner *srunner = srunner_create(suite);
    OSSL_PROVIDER *dflt = OSSL_PROVIDER_load(NULL, "default");
    OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(NULL, "legacy");
    int failed;

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && dflt && legacy);
    fixture_prepare();
    tcase_add_checked_fixture(cases, begin, end);
    tcase_set_timeout(cases, 60);
    add_tests(cases);
    suite_add_tcase(suite, cases);
    srunner_set_tap(srunner, "-");
    srunner_run_all(srunner, CK_SILENT);
    failed = srunner_ntests_failed(srunner) + (srunner_ntests_run(srunner) == 0);
    srunner_free(srunner);
    FIXTURE_MUST(OSSL_PROVIDER_unload(legacy) && OSSL_PROVIDER_unload(dflt));
    apr_terminate();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
