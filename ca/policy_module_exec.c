/* Policy modules that are programs: started for each call, or kept running. */
#include "policy_module_int.h"

#include "own.h"

#include <apr_strings.h>
#include <errno.h>
#include <openssl/pem.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* ---- a program for each call ---- */

static void add(apr_array_header_t *list, const char *text)
{
    ((scep_wire_word *)apr_array_push(list))->text = text;
}

/* Facts, and never a challenge: other processes of the user may read an environment. */
static apr_array_header_t *environment(const policy_module *m, const module_call *c, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 10, sizeof(scep_wire_word));

    add(list, apr_pstrcat(p, "SCEP_CALL=", c->name, NULL));
    add(list, apr_pstrcat(p, "SCEP_ENDPOINT=", m->endpoint, NULL));
    add(list, apr_pstrcat(p, "SCEP_TEMPLATE=", c->template_name, NULL));
    add(list, apr_pstrcat(p, "SCEP_PEER=", c->peer, NULL));
    if (c->kind == MODULE_GENERATE) {
        add(list, apr_pstrcat(p, "SCEP_PARAMS=", c->params, NULL));
        return list;
    }
    add(list, apr_pstrcat(p, "SCEP_TRANSACTION_ID=", c->transaction_id, NULL));
    add(list, c->renewal ? "SCEP_RENEWAL=1" : "SCEP_RENEWAL=0");
    if (c->kind == MODULE_NOTIFY) {
        add(list, apr_psprintf(p, "SCEP_DISPOSITION=%d", c->disposition));
        add(list, apr_psprintf(p, "SCEP_HRESULT=0x%08x", c->hresult));
    }
    return list;
}

static const scep_err *write_pem(BIO *to, const char *name, scep_bytes der, apr_pool_t *p)
{
    if (der.len && PEM_write_bio(to, name, "", der.data, (long)der.len) <= 0)
        return scep_fail(p, INTERNAL, "no PEM can be made");
    return NULL;
}

/* The challenge is the first line, empty where there is none; what reads PEM skips it. */
static const scep_err *input(scep_bytes *out, const module_call *c, apr_pool_t *p)
{
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_secmem()));
    char *text = NULL;
    unsigned char *copy;
    long len;

    *out = (scep_bytes){ NULL, 0 };
    if (c->kind == MODULE_GENERATE)
        return NULL;
    if (!bio ||
        (c->challenge.len &&
         BIO_write(bio, c->challenge.data, (int)c->challenge.len) != (int)c->challenge.len) ||
        BIO_write(bio, "\n", 1) != 1)
        return scep_fail(p, INTERNAL, "out of memory");
    if (c->kind == MODULE_VERIFY)
        SCEP_TRY(write_pem(bio, PEM_STRING_X509_REQ, c->csr, p));
    SCEP_TRY(write_pem(bio, PEM_STRING_X509, c->certificate, p));
    len = BIO_get_mem_data(bio, &text);
    copy = scep_secret(p, (size_t)len);
    memcpy(copy, text, (size_t)len);
    *out = (scep_bytes){ copy, (size_t)len };
    return NULL;
}

/* Without its end. @param whole whether nothing follows */
static scep_bytes first_line(scep_bytes text, bool *whole)
{
    const unsigned char *end = text.len ? memchr(text.data, '\n', text.len) : NULL;
    size_t len = end ? (size_t)(end - text.data) : text.len;

    *whole = !end || len + 1 == text.len;
    if (len && text.data[len - 1] == '\r')
        len--;
    return (scep_bytes){ text.data, len };
}

static const scep_err *read_answer(module_answer *out, const module_call *c,
                                   const scep_wire_ran *ran, apr_pool_t *p)
{
    bool whole;
    scep_bytes line = first_line(ran->output, &whole);
    char *copy;

    if (ran->outcome != SCEP_RAN_EXITED || ran->number > 1)
        return scep_fail(p, UNAVAILABLE, "the program %s", runner_describe(ran, p));
    out->yes = ran->number == 0;
    /* Python and others end so, too, where nobody catches what went wrong. */
    if (!out->yes && !line.len)
        return scep_fail(p, UNAVAILABLE,
                         "the program gave no reason for a no, as one that crashed: it %s",
                         runner_describe(ran, p));
    if (!out->yes) {
        out->reason = scep_printable(p, line, 200);
        return NULL;
    }
    if (c->kind != MODULE_GENERATE)
        return NULL;
    if (!whole || !module_challenge_fits(line))
        return scep_fail(p, UNAVAILABLE,
                         "the program printed %lu bytes that are no challenge: one line of 1 to %d "
                         "printable characters of ASCII is",
                         (unsigned long)ran->output.len, POLICY_MODULE_CHALLENGE_MOST);
    copy = (char *)scep_secret(p, line.len + 1);
    memcpy(copy, line.data, line.len);
    out->challenge = copy;
    return NULL;
}

const scep_err *module_call_exec(module_answer *out, policy_module *m, const module_call *c,
                                 apr_pool_t *p)
{
    scep_wire_run run = { .program = m->address, .ms = (uint32_t)module_time_left(c) };
    scep_wire_ran ran;

    if (!m->runner)
        return scep_fail(p, UNAVAILABLE, "no runner of programs was started");
    run.arguments = apr_array_make(p, 1, sizeof(scep_wire_word));
    add(run.arguments, c->name);
    run.environment = environment(m, c, p);
    SCEP_TRY(input(&run.input, c, p));
    SCEP_TRY(runner_run(&ran, m->runner, &run, p));
    return read_answer(out, c, &ran, p);
}

/* ---- a program that is kept ---- */

static const scep_err *start(policy_module *m, apr_pool_t *p)
{
    scep_wire_run run = { .program = m->address };
    struct pollfd now[2] = { { m->kept.talk, POLLIN, 0 }, { m->kept.life, POLLIN, 0 } };

    /* One that has ended, or that spoke without being asked, whose next answer would be another
     * question's. */
    if (m->kept.talk >= 0 && poll(now, 2, 0) != 0)
        runner_let_go(&m->kept);
    if (m->kept.talk >= 0)
        return NULL;
    run.environment = apr_array_make(p, 1, sizeof(scep_wire_word));
    add(run.environment, apr_pstrcat(p, "SCEP_ENDPOINT=", m->endpoint, NULL));
    return runner_keep(&m->kept, m->runner, &run, p);
}

static const scep_err *late(apr_pool_t *p)
{
    return scep_fail(p, UNAVAILABLE, "the program timed out and was killed");
}

static const scep_err *wait_for(const policy_module *m, short events, const module_call *c,
                                apr_pool_t *p)
{
    struct pollfd pfd = { m->kept.talk, events, 0 };
    long left = module_time_left(c);

    if (!left || poll(&pfd, 1, (int)left) == 0)
        return late(p);
    return NULL;
}

static const scep_err *ended(const policy_module *m, apr_pool_t *p)
{
    scep_wire_ran ran;

    if (!runner_kept_ended(&ran, &m->kept, p))
        return scep_fail(p, UNAVAILABLE, "the program closed its input or output");
    return scep_fail(p, UNAVAILABLE, "the program %s", runner_describe(&ran, p));
}

static const scep_err *send_line(const policy_module *m, const module_call *c, scep_bytes line,
                                 apr_pool_t *p)
{
    while (line.len) {
        ssize_t n = send(m->kept.talk, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            SCEP_TRY(wait_for(m, POLLOUT, c, p));
            continue;
        }
        if (n < 0)
            return ended(m, p);
        line.data += n;
        line.len -= (size_t)n;
    }
    return NULL;
}

static const scep_err *receive_line(scep_bytes *out, const policy_module *m, const module_call *c,
                                    apr_pool_t *p)
{
    unsigned char *text = scep_secret(p, POLICY_MODULE_ANSWER_MOST);
    size_t len = 0;
    bool whole;

    while (!len || !memchr(text, '\n', len)) {
        ssize_t n;

        if (len == POLICY_MODULE_ANSWER_MOST)
            return scep_fail(p, UNAVAILABLE, "the program answered more than %d bytes",
                             POLICY_MODULE_ANSWER_MOST);
        SCEP_TRY(wait_for(m, POLLIN, c, p));
        n = recv(m->kept.talk, text + len, POLICY_MODULE_ANSWER_MOST - len, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            return ended(m, p);
        len += (size_t)n;
    }
    *out = first_line((scep_bytes){ text, len }, &whole);
    return whole ? NULL : scep_fail(p, UNAVAILABLE, "the program answered more than one line");
}

static const scep_err *converse(module_answer *out, policy_module *m, const module_call *call,
                                apr_pool_t *p)
{
    module_call numbered = *call;
    const module_call *c = &numbered;
    scep_bytes line;

    numbered.id = ++m->asked;
    SCEP_TRY(start(m, p));
    SCEP_TRY(send_line(m, c, module_json_write(m, c, p), p));
    SCEP_TRY(receive_line(&line, m, c, p));
    return module_json_read(out, c, line, p);
}

const scep_err *module_call_kept(module_answer *out, policy_module *m, const module_call *c,
                                 apr_pool_t *p)
{
    const struct timespec until = { .tv_sec = (time_t)apr_time_sec(c->deadline),
                                    .tv_nsec = (long)apr_time_usec(c->deadline) * 1000 };
    const scep_err *err;

    if (!m->runner)
        return scep_fail(p, UNAVAILABLE, "no runner of programs was started");
    if (pthread_mutex_timedlock(&m->lock, &until) != 0)
        return scep_fail(p, UNAVAILABLE, "the program timed out: other calls kept it busy");
    err = converse(out, m, c, p);
    /* Nobody knows what it would say next. */
    if (err)
        runner_let_go(&m->kept);
    (void)pthread_mutex_unlock(&m->lock);
    return err;
}
