/* What a policy module that speaks JSON is told, and says. */
#include "policy_module_int.h"

#include "own.h"

#include <apr_strings.h>
#include <jansson.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* Answers hold challenges. */
static void wiping_free(void *at)
{
    if (at)
        OPENSSL_cleanse(at, malloc_usable_size(at));
    free(at);
}

void module_json_begin(void)
{
    json_set_alloc_funcs(malloc, wiping_free);
}

/* ---- write: not by jansson, so that the whole line is in one place that is wiped ---- */

typedef struct writer {
    unsigned char *text; /* NULL: only counted */
    size_t len;
} writer;

static void put(writer *w, const char *text, size_t len)
{
    if (w->text && len)
        memcpy(w->text + w->len, text, len);
    w->len += len;
}

static void put_text(writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_string(writer *w, scep_bytes s)
{
    static const char hex[] = "0123456789abcdef";

    put(w, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = s.data[i];
        char escaped[] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

        if (c < ' ' || c == '"' || c == '\\' || c == 0x7f)
            put(w, escaped, sizeof(escaped));
        else
            put(w, (const char *)&s.data[i], 1);
    }
    put(w, "\"", 1);
}

static void member(writer *w, const char *name, scep_bytes value)
{
    put_text(w, ",\"");
    put_text(w, name);
    put_text(w, "\":");
    put_string(w, value);
}

static void member_text(writer *w, const char *name, const char *value)
{
    member(w, name, scep_bytes_of(value));
}

/* @param csr, certificate in base64 */
static void write_call(writer *w, const policy_module *m, const module_call *c, const char *csr,
                       const char *certificate, apr_pool_t *p)
{
    put_text(w, "{\"call\":");
    put_string(w, scep_bytes_of(c->name));
    if (c->id)
        put_text(w, apr_psprintf(p, ",\"id\":%" APR_UINT64_T_FMT, c->id));
    member_text(w, "endpoint", m->endpoint);
    member_text(w, "template", c->template_name);
    member_text(w, "peer", c->peer);
    if (c->kind == MODULE_GENERATE) {
        member_text(w, "params", c->params);
        put_text(w, "}\n");
        return;
    }
    member_text(w, "transaction_id", c->transaction_id);
    put_text(w, c->renewal ? ",\"renewal\":true" : ",\"renewal\":false");
    member(w, "challenge", c->challenge);
    if (*csr)
        member_text(w, "csr", csr);
    if (*certificate)
        member_text(w, c->kind == MODULE_VERIFY ? "signing_certificate" : "certificate",
                    certificate);
    if (c->kind == MODULE_NOTIFY) {
        put_text(w, apr_psprintf(p, ",\"disposition\":%d", c->disposition));
        member_text(w, "hresult", apr_psprintf(p, "0x%08x", c->hresult));
    }
    put_text(w, "}\n");
}

scep_bytes module_json_write(const policy_module *m, const module_call *c, apr_pool_t *p)
{
    const char *csr = c->csr.len ? scep_base64(p, c->csr) : "";
    const char *certificate = c->certificate.len ? scep_base64(p, c->certificate) : "";
    writer w = { NULL, 0 };

    write_call(&w, m, c, csr, certificate, p);
    w.text = scep_secret(p, w.len);
    w.len = 0;
    write_call(&w, m, c, csr, certificate, p);
    return (scep_bytes){ w.text, w.len };
}

/* ---- read ---- */

static scep_bytes string_of(const json_t *value)
{
    return (scep_bytes){ (const unsigned char *)json_string_value(value),
                         json_string_length(value) };
}

static const scep_err *take(module_answer *out, const module_call *c, const json_t *answer,
                            apr_pool_t *p)
{
    const json_t *allow = json_object_get(answer, "allow");
    const json_t *reason = json_object_get(answer, "reason");
    const json_t *challenge = json_object_get(answer, "challenge");
    const json_t *id = json_object_get(answer, "id");
    char *copy;

    if (!json_is_object(answer))
        return scep_fail(p, UNAVAILABLE, "the answer is no JSON object");
    if (c->id && (!json_is_integer(id) || (uint64_t)json_integer_value(id) != c->id))
        return scep_fail(p, UNAVAILABLE, "the answer does not repeat the \"id\" of the call");
    if ((allow && !json_is_boolean(allow)) || (reason && !json_is_string(reason)))
        return scep_fail(p, UNAVAILABLE, "\"allow\" is no boolean, or \"reason\" no string");
    if (!allow && c->kind == MODULE_VERIFY)
        return scep_fail(p, UNAVAILABLE, "the answer has no \"allow\"");
    out->yes = !json_is_false(allow);
    out->reason = scep_printable(p, string_of(reason), 200);
    if (!out->yes || c->kind != MODULE_GENERATE)
        return NULL;
    if (!json_is_string(challenge) || !module_challenge_fits(string_of(challenge)))
        return scep_fail(p, UNAVAILABLE,
                         "\"challenge\" is no string of 1 to %d printable characters of ASCII",
                         POLICY_MODULE_CHALLENGE_MOST);
    copy = (char *)scep_secret(p, json_string_length(challenge) + 1);
    memcpy(copy, json_string_value(challenge), json_string_length(challenge));
    out->challenge = copy;
    return NULL;
}

const scep_err *module_json_read(module_answer *out, const module_call *c, scep_bytes text,
                                 apr_pool_t *p)
{
    json_error_t error;
    const scep_err *err;
    json_t *answer;

    answer = json_loadb(text.len ? (const char *)text.data : "", text.len, JSON_REJECT_DUPLICATES,
                        &error);
    if (!answer)
        return scep_fail(p, UNAVAILABLE, "the answer of %lu bytes is no JSON",
                         (unsigned long)text.len);
    err = take(out, c, answer, p);
    json_decref(answer);
    return err;
}
