/*
 * One call to a certification authority of Active Directory by the rooms dcerpc and icpr, or
 * several over one connection. Options as --name value:
 *
 *   host, authority, principal, keytab    must be given
 *   service, port, map-port, mechanism (spnego, kerberos), deadline (milliseconds)
 *   request FILE, template NAME, format (pkcs10, pkcs7)     ask for a certificate
 *   retrieve ID                                             ask what became of a request
 *   walk ID     ask so of each from ID on until there is none
 *   repeat N    make the call so often over the same connection
 *   reopen N    open so many connections, one after another
 *   threads N   all of this so often at the same time, with one login
 *   cert FILE, chain FILE     where to write what was issued
 *
 * Prints name=value lines. Exit status: 0 issued, 2 denied, 3 pending, 4 the CA has no such
 * request, 5 the CA cannot tell now, 6 no answer, 1 the call could not be made.
 */
#include "icpr.h"

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES(X)                                                                             \
    X(host)                                                                                  \
    X(authority)                                                                             \
    X(principal)                                                                             \
    X(keytab)                                                                                \
    X(service) X(port) X(map_port) X(mechanism) X(deadline) X(request) X(template) X(format) \
        X(retrieve) X(walk) X(repeat) X(reopen) X(threads) X(cert) X(chain)

typedef struct options {
#define X(name) const char *name;
    NAMES(X)
#undef X
} options;

static const char *const outcomes[] = { "issued", "pending", "denied", "none", "unavailable" };
static const int statuses[] = { 0, 3, 2, 4, 5 };

static bool set(options *o, const char *name, const char *value)
{
    char *plain = strdup(name);
    bool known = false;

    for (char *c = plain; c && *c; c++)
        *c = *c == '-' ? '_' : *c;
#define X(member)                               \
    if (plain && strcmp(plain, #member) == 0) { \
        o->member = value;                      \
        known = true;                           \
    }
    NAMES(X)
#undef X
    free(plain);
    return known;
}

static unsigned int number(const char *text)
{
    return text ? (unsigned int)strtoul(text, NULL, 10) : 0;
}

static bool read_file(scep_bytes *out, const char *path, apr_pool_t *p)
{
    apr_finfo_t info;
    apr_file_t *file;
    unsigned char *data;

    if (apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p) != APR_SUCCESS ||
        apr_file_info_get(&info, APR_FINFO_SIZE, file) != APR_SUCCESS)
        return false;
    data = apr_palloc(p, (apr_size_t)info.size + 1);
    *out = (scep_bytes){ data, (size_t)info.size };
    return apr_file_read_full(file, data, (apr_size_t)info.size, NULL) == APR_SUCCESS;
}

static void write_file(const char *path, scep_bytes data)
{
    FILE *out = path && data.len ? fopen(path, "wb") : NULL;

    if (out && (fwrite(data.data, 1, data.len, out) != data.len || fclose(out) != 0))
        perror(path);
}

static int failed(const scep_err *err, int status)
{
    printf("error=%s: %s\n", scep_code_describe(err->code)->name, err->detail);
    return status;
}

static int show(const options *o, const icpr_answer *a)
{
    printf("outcome=%s\nid=%u\nresult=0x%08x\ndisposition=0x%08x\nhresult=0x%08x\nreason=%s\n"
           "said=%s\nchain=%lu\n",
           outcomes[a->outcome], a->request_id, a->result, a->disposition, a->hresult,
           a->reason ? a->reason : "", a->said, (unsigned long)a->chain.len);
    write_file(o->cert, a->cert);
    write_file(o->chain, a->chain);
    return statuses[a->outcome];
}

static moment until(const options *o)
{
    return deadline_in((o->deadline ? number(o->deadline) : 30000) * (apr_interval_time_t)1000);
}

static int call(const options *o, dcerpc *c, apr_pool_t *p)
{
    icpr_request request = { .format = ICPR_PKCS10, .template = o->template };
    const scep_err *err;
    icpr_answer answer;
    bool asked = true;

    if (o->format && strcmp(o->format, "pkcs7") == 0)
        request.format = ICPR_PKCS7;
    if (o->request && !read_file(&request.der, o->request, p)) {
        perror(o->request);
        return 1;
    }
    if (o->request)
        err = icpr_submit(&answer, &asked, c, o->authority, &request, until(o), p);
    else
        err = icpr_retrieve(&answer, c, o->authority, number(o->retrieve), until(o), p);
    printf("asked=%d\nusable=%d\n", asked, dcerpc_is_usable(c));
    return err ? failed(err, err->code == SCEP_UNAVAILABLE ? 6 : 1) : show(o, &answer);
}

/* Requests one after another: what each became of. */
static int walk(const options *o, dcerpc *c, apr_pool_t *p)
{
    for (uint32_t id = number(o->walk);; id++) {
        const scep_err *err;
        icpr_answer answer;

        err = icpr_retrieve(&answer, c, o->authority, id, until(o), p);
        if (err)
            return failed(err, 6);
        printf("walk=%u %s\n", id, outcomes[answer.outcome]);
        if (answer.outcome == ICPR_NONE || answer.outcome == ICPR_UNAVAILABLE)
            return show(o, &answer);
    }
}

static int converse(const options *o, const dcerpc_server *server, apr_pool_t *p)
{
    const scep_err *err;
    int status = 0;
    dcerpc *c;

    err = dcerpc_open(&c, server, &icpr_interface, until(o), p);
    if (err)
        return failed(err, 6);
    printf("port=%u\n", dcerpc_port(c));
    if (o->walk)
        status = walk(o, c, p);
    for (unsigned int i = 0; !o->walk && (i == 0 || i < number(o->repeat)); i++)
        status = call(o, c, p);
    dcerpc_close(c);
    return status;
}

/* What a thread does. */
typedef struct caller {
    const options *o;
    const dcerpc_server *server;
    pthread_t thread;
    int status;
} caller;

static void *converse_apart(void *data)
{
    caller *self = data;
    apr_pool_t *p;

    self->status = 1;
    if (apr_pool_create(&p, NULL) != APR_SUCCESS)
        return NULL;
    for (unsigned int i = 0; i == 0 || i < number(self->o->reopen); i++)
        self->status = converse(self->o, self->server, p);
    apr_pool_destroy(p);
    return NULL;
}

static int run(const options *o, apr_pool_t *p)
{
    const bool kerberos = o->mechanism && strcmp(o->mechanism, "kerberos") == 0;
    const unsigned int threads = o->threads ? number(o->threads) : 1;
    dcerpc_server server = { .target = { .mechanism = kerberos ? DCERPC_KERBEROS : DCERPC_SPNEGO,
                                         .host = o->host,
                                         .service = o->service },
                             .port = number(o->port),
                             .map_port = number(o->map_port) };
    const scep_err *err = dcerpc_login_make(&server.target.login, o->principal, o->keytab, p);
    caller *callers = apr_pcalloc(p, threads * sizeof(*callers));
    int status = 0;

    if (err)
        return failed(err, 1);
    for (unsigned int i = 0; i < threads; i++) {
        callers[i] = (caller){ .o = o, .server = &server };
        if (pthread_create(&callers[i].thread, NULL, converse_apart, &callers[i]) != 0)
            return 1;
    }
    for (unsigned int i = 0; i < threads; i++)
        if (pthread_join(callers[i].thread, NULL) != 0 || callers[i].status)
            status = callers[i].status;
    return status;
}

int main(int argc, char **argv)
{
    options o = { 0 };
    apr_pool_t *p;
    int status;

    for (int i = 1; i < argc; i += 2)
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc || !set(&o, argv[i] + 2, argv[i + 1])) {
            fprintf(stderr, "icpr-call: %s: no such option, or no value\n", argv[i]);
            return 1;
        }
    if (!o.host || !o.authority || !o.principal || !o.keytab ||
        !(o.request || o.retrieve || o.walk)) {
        fprintf(stderr, "icpr-call: an option is missing\n");
        return 1;
    }
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS)
        return 1;
    status = run(&o, p);
    apr_pool_destroy(p);
    apr_terminate();
    return status;
}
