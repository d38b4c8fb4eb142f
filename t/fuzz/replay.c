/*
 * Runs a fuzz target over the files of folders, by default its seeds. A seed that a target does
 * not survive ends the program, which the test driver reports; no seeds at all are a failure too.
 */
#include "fuzz.h"

#include <apr_file_info.h>
#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the files of a folder, sorted. */
static apr_array_header_t *list_files(const char *folder, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 64, sizeof(const char *));
    apr_finfo_t info;
    apr_dir_t *dir;

    if (apr_dir_open(&dir, folder, p) != APR_SUCCESS)
        return names;
    while (apr_dir_read(&info, APR_FINFO_NAME | APR_FINFO_TYPE, dir) == APR_SUCCESS)
        if (info.filetype == APR_REG && *info.name != '.')
            APR_ARRAY_PUSH(names, const char *) = apr_pstrdup(p, info.name);
    FIXTURE_MUST(apr_dir_close(dir) == APR_SUCCESS);
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    return names;
}

static void run_file(const char *path, apr_pool_t *p)
{
    apr_file_t *file;
    apr_finfo_t info;
    unsigned char *data;
    size_t len;

    FIXTURE_MUST(apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p) ==
                     APR_SUCCESS &&
                 apr_file_info_get(&info, APR_FINFO_SIZE, file) == APR_SUCCESS);
    len = (size_t)info.size;
    /* exactly as long as the input, so that a sanitizer sees a step beyond it */
    data = malloc(len ? len : 1);
    FIXTURE_MUST(data && (!len || apr_file_read_full(file, data, len, NULL) == APR_SUCCESS));
    FIXTURE_MUST(apr_file_close(file) == APR_SUCCESS);
    FIXTURE_MUST(LLVMFuzzerTestOneInput(data, len) == 0);
    free(data);
}

int main(int argc, char **argv)
{
    const char *seeds[] = { FUZZ_FOLDER "/seeds/" FUZZ_TARGET };
    const char *const *folders = argc > 1 ? (const char *const *)argv + 1 : seeds;
    int count = argc > 1 ? argc - 1 : 1, done = 0;
    apr_pool_t *p;

    FIXTURE_MUST(apr_initialize() == APR_SUCCESS && apr_pool_create(&p, NULL) == APR_SUCCESS);
    for (int i = 0; i < count; i++) {
        apr_array_header_t *names = list_files(folders[i], p);

        for (int n = 0; n < names->nelts; n++) {
            const char *name = APR_ARRAY_IDX(names, n, const char *);

            fprintf(stderr, "# %s\n", name); /* the last one is the one that ended it */
            run_file(apr_pstrcat(p, folders[i], "/", name, NULL), p);
            printf("ok %d - S-48: " FUZZ_TARGET " survives %s\n", ++done, name);
        }
    }
    printf("%sok %d - S-48: seeds of " FUZZ_TARGET " were replayed\n1..%d\n", done ? "" : "not ",
           done + 1, done + 1);
    apr_pool_destroy(p);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
