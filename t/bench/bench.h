/* What the files of scep-bench share. The client itself is t/unit/fixture.h. */
#ifndef SCEP_BENCH_H
#define SCEP_BENCH_H

#include "scep-request.h"

#include <stdio.h>

/* ---- words of the command line: "--name value", all of them known */

typedef struct words {
    int n;
    char **v;
} words;

/** The value of --name; NULL: not given. */
const char *word_of(const words *w, const char *name);
/** The same; dies where it is missing. */
const char *word_must(const words *w, const char *name);
/** A number from @a least on; @a fallback where it is missing. */
long number_of(const words *w, const char *name, long least, long fallback);

/* ---- files of many requests and of many answers */

typedef struct bench_message {
    uint32_t key, signer_key; /* places in the list of keys: the request's, the signer's */
    scep_bytes signer;        /* certificate, DER */
    scep_bytes nonce, transaction_id;
    scep_bytes der; /* the pkiMessage */
} bench_message;

typedef struct bench_reply {
    uint32_t message; /* place in the file of requests */
    uint32_t status;  /* of HTTP; 0: there was no answer */
    scep_bytes body;
} bench_reply;

/** A new file, buffered well; dies where it cannot be. And its end, with every byte written. */
FILE *records_create(const char *path);
void records_close(FILE *f, const char *path);
void put_message(FILE *f, const bench_message *m);
void put_reply(FILE *f, const bench_reply *r);

/** All of a file. @return apr_array_header_t of bench_message, of bench_reply; views of memory of
 *  @a p. Dies where it is damaged */
apr_array_header_t *get_messages(const char *path, apr_pool_t *p);
apr_array_header_t *get_replies(const char *path, apr_pool_t *p);

/** All private keys of a PEM file. @return apr_array_header_t of EVP_PKEY *, at least one */
apr_array_header_t *get_keys(const char *path, apr_pool_t *p);

/* ---- what a right answer is */

typedef struct judge {
    apr_array_header_t *keys, *messages;
    X509_STACK *ca_ra;
    X509 *ca; /* of ca_ra */
} judge;

judge judge_make(const words *w, apr_pool_t *p);

/** Open an answer and judge all of it: the signature and its signer, the attributes, the envelope,
 *  and the certificate: its key, its name, its issuer's signature.
 *  @param leaf the certificate. @return NULL, or what is wrong */
const char *judge_reply(X509 **leaf, const judge *j, const bench_reply *r, apr_pool_t *p);

/* ---- the server's processes */

typedef struct usage {
    double httpd, ca;    /* CPU seconds since they were started, with those of ended children */
    long peak, rss, pss; /* KiB, summed over the processes */
    int processes;
} usage;

/** Let the peak be counted from here on. */
void usage_reset(long httpd, apr_pool_t *p);
/** Of a process and all below it: scep-ca and what it starts by itself, all else as httpd's. */
usage usage_of(long httpd, apr_pool_t *p);
/** CPU seconds that the whole machine was busy. */
double usage_machine(void);

/* ---- HTTP, as far as these servers speak it */

typedef struct http_answer {
    int status;
    bool closes, retry_after;
    scep_bytes body;
} http_answer;

typedef enum http_progress { HTTP_MORE, HTTP_WHOLE, HTTP_ODD } http_progress;

/** @param ended nothing more will come. @return HTTP_ODD: it cannot be understood */
http_progress http_parse(http_answer *out, scep_bytes got, bool ended);

/* ---- the load */

typedef struct load_result {
    size_t good, refused, wrong; /* 200; 503 with Retry-After; all else, or nothing at all */
    size_t missed;               /* connections that were due and found no place */
    uint64_t *latencies;         /* of the good ones, ns, in order of arrival */
    size_t room;
    uint64_t *steady; /* of those that began after --warm */
    size_t steady_count, steady_room;
    double seconds;
} load_result;

/** Print the result, sorted. */
void load_report(load_result *r, const usage *before, const usage *after, double others,
                 double client);

/* ---- the commands. @return the program's exit status */
int command_keys(const words *w, apr_pool_t *p);
int command_make(const words *w, apr_pool_t *p);
int command_renew(const words *w, apr_pool_t *p);
int command_load(const words *w, apr_pool_t *p);
int command_check(const words *w, apr_pool_t *p);
int command_floor(const words *w, apr_pool_t *p);

#endif
