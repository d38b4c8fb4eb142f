/*
 * Asks a directory of a ca.conf as scep-ca does, and prints what came of it: for t/86-directory.t.
 *
 *   directory-ask CA.CONF DIRECTORY QUESTION...
 *   may USER TEMPLATE[,TEMPLATE...]      look SERVICE|- TEMPLATE[,TEMPLATE...]
 *   sid SID NAME...                      NAME: upn:a@b, dns:host, cn:text
 *   sleep MILLISECONDS                   between two questions
 *   together N                           the next question by so many threads at one time
 */
#include "directory.h"
#include "directory_sd.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MOST 64

typedef struct question {
    directory *d;
    char **words;
    pthread_mutex_t *printing;
} question;

static apr_array_header_t *list(const char *words, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 4, sizeof(const char *));
    char *state = NULL;

    for (char *name = apr_strtok(apr_pstrdup(p, words), ",", &state); name;
         name = apr_strtok(NULL, ",", &state))
        APR_ARRAY_PUSH(names, const char *) = name;
    return names;
}

static void show(const directory_view *v)
{
    for (int i = 0; v->certs && i < v->certs->nelts; i++)
        printf("certificate=%lu\n", (unsigned long)APR_ARRAY_IDX(v->certs, i, scep_bytes).len);
    for (int i = 0; v->offered && i < v->offered->nelts; i++)
        printf("offered=%s\n", APR_ARRAY_IDX(v->offered, i, const char *));
    for (int i = 0; i < v->templates->nelts; i++) {
        const directory_template *t = &APR_ARRAY_IDX(v->templates, i, directory_template);

        if (t->name)
            printf("template=%s seconds=%" APR_INT64_T_FMT " usage=%x bits=%u purposes=%d "
                   "descriptor=%d\n",
                   t->name, t->seconds, (unsigned)t->key_usage, (unsigned)t->minimum_bits,
                   t->purposes->nelts, t->descriptor.len > 0);
        else
            printf("template=\n");
    }
}

static const scep_err *ask_sid(const char **why, const question *q, apr_pool_t *p)
{
    directory_claim claim = { .upns = apr_array_make(p, 1, sizeof(const char *)),
                              .hosts = apr_array_make(p, 1, sizeof(const char *)) };

    if (!directory_sid_read(&claim.sid, q->words[1], p))
        return scep_fail(p, BAD_REQUEST, "no SID");
    for (char **word = q->words + 2; *word; word++) {
        if (!strncmp(*word, "upn:", 4))
            APR_ARRAY_PUSH(claim.upns, const char *) = *word + 4;
        if (!strncmp(*word, "dns:", 4))
            APR_ARRAY_PUSH(claim.hosts, const char *) = *word + 4;
        if (!strncmp(*word, "cn:", 3))
            claim.common_name = *word + 3;
    }
    return directory_confirms_sid(why, q->d, &claim, p);
}

static void *ask(void *data)
{
    const question *q = data;
    const apr_time_t begin = apr_time_now();
    directory_view view = { 0 };
    const char *why = "";
    const scep_err *err;
    apr_pool_t *p;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS)
        return NULL;
    if (!strcmp(q->words[0], "may"))
        err = directory_may_enroll(&why, q->d, q->words[1], list(q->words[2], p), p);
    else if (!strcmp(q->words[0], "look"))
        err = directory_look(&view, q->d, strcmp(q->words[1], "-") ? q->words[1] : NULL,
                             list(q->words[2], p), p);
    else
        err = ask_sid(&why, q, p);
    pthread_mutex_lock(q->printing);
    if (err)
        printf("error=%s: %s\n", scep_code_describe(err->code)->name, err->detail);
    else if (view.templates)
        show(&view);
    else
        printf("%s%s\n", *why ? "no=" : "yes", why);
    printf("ms=%" APR_TIME_T_FMT "\n", apr_time_as_msec(apr_time_now() - begin));
    pthread_mutex_unlock(q->printing);
    apr_pool_destroy(p);
    return NULL;
}

static int run(question *q, int threads)
{
    pthread_t all[THREADS_MOST];
    int n = 0;

    for (; n < threads && n < THREADS_MOST; n++)
        if (pthread_create(&all[n], NULL, ask, q) != 0)
            break;
    for (int i = 0; i < n; i++)
        (void)pthread_join(all[i], NULL);
    return n == threads;
}

static int ask_all(directory *d, char **words)
{
    pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;
    int threads = 1;

    while (*words) {
        question q = { d, words, &printing };
        int used = 2;

        if (!strcmp(words[0], "sleep") && words[1]) {
            apr_sleep(atoi(words[1]) * 1000);
        } else if (!strcmp(words[0], "together") && words[1]) {
            threads = atoi(words[1]);
        } else if (words[1] && words[2]) {
            /* the names of a SID are the rest */
            for (used = 3; !strcmp(words[0], "sid") && words[used];)
                used++;
            if (!run(&q, threads))
                return 0;
            threads = 1;
        } else {
            return 0;
        }
        words += used;
    }
    return 1;
}

static int use(int argc, char **argv, apr_pool_t *p)
{
    const conf_directory *section = NULL;
    const scep_err *err;
    directory *d;
    conf *c;

    err = conf_load(&c, argv[1], p);
    for (int i = 0; !err && i < c->directories->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(c->directories, i, conf_directory *)->name, argv[2]))
            section = APR_ARRAY_IDX(c->directories, i, conf_directory *);
    if (!err && !section)
        return 2;
    if (!err)
        err = directory_open(&d, section, p);
    if (!err)
        return ask_all(d, argv + 3) ? 0 : 2;
    printf("error=%s: %s\n", scep_code_describe(err->code)->name, err->detail);
    return 1;
}

int main(int argc, char **argv)
{
    apr_pool_t *p;
    int status;

    if (argc < 5 || apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS)
        return 2;
    status = use(argc, argv, p);
    apr_terminate();
    return status;
}
