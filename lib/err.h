/*
 * Errors: one table gives each code everything that the world outside may learn of it.
 *
 * A function that can fail returns `const scep_err *`; NULL is success. The error and its texts
 * live in the pool given to the function, so nothing is freed. The library never logs: whoever
 * ends the chain logs `detail`, which is for the operator, and shows the client only the table's
 * text. Verdicts that are expected (a refusal, a wait) use the same codes.
 */
#ifndef SCEP_ERR_H
#define SCEP_ERR_H

#include <apr_pools.h>

#define SCEP_API __attribute__((visibility("default")))
#define SCEP_MUST __attribute__((warn_unused_result))

/*
 * code: the name; failInfo: RFC 8894 3.2.1.4, -1 where no CertRep is sent; HTTP: status of the
 * answer where no CertRep is sent, 200 otherwise; event: id of NDES's event log (0: none);
 * hresult: what NDES puts into failInfoText (0: none); text: all that a client ever reads.
 *
 * UNREADABLE is one code for every fault between a good outer signature and an accepted CSR (no
 * recipient, RSA failure, bad padding, not a CSR, bad CSR signature, other key): telling them
 * apart would be a decryption oracle. CHALLENGE is one code for unknown, used, expired and wrong.
 */
#define SCEP_CODES(X)                                                           \
    X(UNDECODABLE, -1, 400, 17, 0, "not a SCEP message")                        \
    X(TOO_LARGE, -1, 413, 16, 0, "message too large")                           \
    X(BAD_ALG, 0, 200, 17, 0, "algorithm not accepted")                         \
    X(BAD_MESSAGE, 1, 200, 17, 0, "message integrity check failed")             \
    X(BAD_REQUEST, 2, 200, 17, 0, "request not supported")                      \
    X(UNREADABLE, 2, 200, 18, 0, "request cannot be read")                      \
    X(CHALLENGE, 2, 200, 29, 0x80070490u, "challenge password not valid")       \
    X(CHALLENGE_ABSENT, 2, 200, 29, 0x80096004u, "challenge password required") \
    X(BAD_SUBJECT, 2, 200, 31, 0x80094001u, "subject name not acceptable")      \
    X(REFUSED, 2, 200, 31, 0, "request not permitted")                          \
    X(BAD_TIME, 3, 200, 17, 0, "signing time too far off")                      \
    X(BAD_CERT_ID, 4, 200, 31, 0, "no such certificate or request")             \
    X(TOO_OFTEN, -1, 429, 31, 0, "too many attempts")                           \
    X(UNAVAILABLE, -1, 503, 31, 0x800706bau, "try again later")                 \
    X(CONFIG, -1, 500, 2, 0, "internal error")                                  \
    X(INTERNAL, -1, 500, 2, 0, "internal error")                                \
    X(SINGLE_PASSWORD, -1, 500, 49, 0, "internal error")

typedef enum scep_code {
    SCEP_OK = 0,
#define X(name, fail_info, http, event, hresult, text) SCEP_##name,
    SCEP_CODES(X)
#undef X
        SCEP_CODE_COUNT
} scep_code;

typedef struct scep_err {
    scep_code code;
    const char *detail; /* one line for the operator; never holds a secret */
    const char *file;   /* where it was raised */
    int line;
} scep_err;

/** One row of the table above. */
typedef struct scep_code_info {
    const char *name;
    int fail_info;
    int http_status;
    int event;
    unsigned int hresult;
    const char *text;
} scep_code_info;

/** The row of @a code; SCEP_INTERNAL's row for a value out of range. Static memory. */
SCEP_API const scep_code_info *scep_code_describe(int code);

/**
 * Make an error. Drains OpenSSL's error queue of this thread into the detail, so that the reason
 * OpenSSL gave reaches the operator and never a later, innocent call.
 * @param fmt printf format of the detail: one impersonal line, no secret
 */
SCEP_API SCEP_MUST const scep_err *scep_err_make(apr_pool_t *p, scep_code code, const char *file,
                                                 int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6), returns_nonnull));

/** scep_fail(p, BAD_ALG, "digest %s", name): the error with this place in it. */
#define scep_fail(p, code, ...) scep_err_make((p), SCEP_##code, __FILE__, __LINE__, __VA_ARGS__)

/** Return from the calling function with the error of @a expr, if it has one. */
#define SCEP_TRY(expr)                         \
    do {                                       \
        const scep_err *scep_try_err = (expr); \
        if (scep_try_err)                      \
            return scep_try_err;               \
    } while (0)

#endif
