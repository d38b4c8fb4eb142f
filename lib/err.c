/* Errors and the table of their codes. */
#include "err.h"

#include <apr_strings.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <string.h>

static const scep_code_info codes[SCEP_CODE_COUNT] = { [SCEP_OK] = { "OK", -1, 200, 0, 0, "" },
#define X(name, fail_info, http, event, hresult, text) \
    [SCEP_##name] = { #name, fail_info, http, event, hresult, text },
                                                       SCEP_CODES(X)
#undef X
};

const scep_code_info *scep_code_describe(int code)
{
    if (code < 0 || code >= SCEP_CODE_COUNT)
        code = SCEP_INTERNAL;
    return &codes[code];
}

/* The first error is the one nearest to the cause; the rest of the queue only echoes it. */
static const char *openssl_reason(apr_pool_t *p)
{
    unsigned long first = ERR_get_error();
    char text[256];

    if (!first)
        return "";
    ERR_clear_error();
    ERR_error_string_n(first, text, sizeof(text));
    return apr_pstrcat(p, " (", text, ")", NULL);
}

const scep_err *scep_err_make(apr_pool_t *p, scep_code code, const char *file, int line,
                              const char *fmt, ...)
{
    scep_err *err = apr_palloc(p, sizeof(*err));
    const char *base = strrchr(file, '/');
    va_list ap;

    va_start(ap, fmt);
    err->detail = apr_pvsprintf(p, fmt, ap);
    va_end(ap);
    err->detail = apr_pstrcat(p, err->detail, openssl_reason(p), NULL);
    err->code = code;
    err->file = base ? base + 1 : file;
    err->line = line;
    return err;
}
