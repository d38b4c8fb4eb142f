/* ca/icpr.h: the stub of an answer of a certification authority, to a request and to a question. */
#include "fuzz.h"

#include "icpr.h"

#include <string.h>

static void judge(scep_bytes stub, uint32_t id, apr_pool_t *p)
{
    const scep_err *err;
    icpr_answer a;
    size_t at;

    err = icpr_get_answer(&a, stub, id, p);
    if (err) {
        FIXTURE_MUST(err->code == SCEP_UNAVAILABLE);
        return;
    }
    FIXTURE_MUST((a.outcome == ICPR_ISSUED) == (a.cert.len > 0));
    FIXTURE_MUST((a.outcome == ICPR_ISSUED) == (a.reason == NULL));
    FIXTURE_MUST(a.outcome != ICPR_ISSUED || (a.result == 0 && a.disposition == 3));
    FIXTURE_MUST(a.outcome != ICPR_PENDING ||
                 (a.result == 0 && a.disposition == 5 && a.request_id));
    FIXTURE_MUST(a.outcome != ICPR_NONE || id);
    FIXTURE_MUST(!id || a.request_id == id);
    FIXTURE_MUST(!a.cert.len || (a.cert.data[0] == 0x30 && a.cert.data >= stub.data &&
                                 a.cert.data + a.cert.len <= stub.data + stub.len));
    FIXTURE_MUST(!a.chain.len ||
                 (a.chain.data >= stub.data && a.chain.data + a.chain.len <= stub.data + stub.len));
    FIXTURE_MUST(a.said && scep_is_utf8(scep_bytes_of(a.said), &at) && !strchr(a.said, '\n'));
}

/* The same input as a template's name: what is sent is one line of attributes. */
static void ask(scep_bytes name, apr_pool_t *p)
{
    const icpr_request request = { ICPR_PKCS10, scep_bytes_of("der"),
                                   (const char *)scep_bytes_dup(p, name).data };
    const scep_err *err;
    scep_bytes stub;

    err = icpr_put_request(&stub, "CA", 0, &request, p);
    FIXTURE_MUST(!err || err->code == SCEP_CONFIG);
    FIXTURE_MUST(err || !strpbrk(request.template, "\r\n"));
    err = icpr_put_request(&stub, request.template, 1, NULL, p);
    FIXTURE_MUST(!err || err->code == SCEP_CONFIG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_begin();
    const scep_bytes stub = { data, size };

    judge(stub, 0, p);
    judge(stub, 9, p);
    ask(stub, p);
    fuzz_end(p);
    return 0;
}
