/* CertServerRequest: the call, and what its answer means. */
#include "icpr.h"

#include <apr_strings.h>
#include <string.h>

#define OPNUM 0
/* Nothing in the CA's words needs more. */
#define SAID_MOST 1000
#define TEMPLATE_ATTRIBUTE "CertificateTemplate:"

const dcerpc_interface icpr_interface = { "ICertPassage",
                                          { 0x20, 0x60, 0xae, 0x91, 0x3c, 0x9e, 0xcf, 0x11, 0x8d,
                                            0x7c, 0x00, 0xaa, 0x00, 0xc0, 0x91, 0xbe },
                                          0,
                                          0 };

/* CR_DISP_*, [MS-WCCE] 3.2.1.4.2.1: pdwDisposition */
typedef enum disposition {
    DISPOSITION_INCOMPLETE = 0,
    DISPOSITION_ERROR = 1,
    DISPOSITION_DENIED = 2,
    DISPOSITION_ISSUED = 3,
    DISPOSITION_ISSUED_OUT_OF_BAND = 4,
    DISPOSITION_UNDER_SUBMISSION = 5,
    DISPOSITION_REVOKED = 6
} disposition;

/* ---- the request ---- */

/* CERTTRANSBLOB: a count, and a pointer to the bytes, which follow. */
static void put_blob(ndr_out *out, scep_bytes bytes, uint32_t pointer)
{
    ndr_put_u32(out, (uint32_t)bytes.len);
    ndr_put_u32(out, bytes.len ? pointer : 0);
    if (bytes.len)
        ndr_put_bytes(out, bytes);
}

/* A name that stands in a line of attributes: with a line's end in it, it would be two. */
static const scep_err *wide_name(scep_bytes *out, const char *what, const char *name, apr_pool_t *p)
{
    size_t len = name ? strlen(name) : 0;

    if (len == 0 || len > ICPR_TEMPLATE_MOST)
        return scep_fail(p, CONFIG, "the name of the %s is %s", what,
                         len ? "longer than 256 bytes" : "empty");
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            return scep_fail(p, CONFIG, "the name of the %s has a control character", what);
    if (!ndr_wide(out, name, p))
        return scep_fail(p, CONFIG, "the name of the %s is not UTF-8", what);
    return NULL;
}

/* UTF-16LE with its NUL, which counts ([MS-WCCE] 3.2.1.4.2.1: else E_INVALIDARG). */
static const scep_err *put_attributes(scep_bytes *out, const char *template, apr_pool_t *p)
{
    scep_bytes name, label;
    ndr_out text = { .p = p };

    SCEP_TRY(wide_name(&name, "template", template, p));
    if (!ndr_wide(&label, TEMPLATE_ATTRIBUTE, p))
        return scep_fail(p, INTERNAL, "an attribute's name is not UTF-8");
    ndr_put_raw(&text, label);
    ndr_put_raw(&text, name);
    ndr_put_u16(&text, '\n');
    ndr_put_u16(&text, 0);
    *out = ndr_view(&text);
    return NULL;
}

const scep_err *icpr_put_request(scep_bytes *out, const char *authority, uint32_t id,
                                 const icpr_request *request, apr_pool_t *p)
{
    scep_bytes name, attributes = { NULL, 0 }, der = { NULL, 0 };
    ndr_out stub = { .p = p };

    SCEP_TRY(wide_name(&name, "CA", authority, p));
    if (request) {
        if (request->der.len == 0 || request->der.len > ICPR_REQUEST_MOST)
            return scep_fail(p, CONFIG, "a request of %lu bytes; 1 to %u are sent",
                             (unsigned long)request->der.len, ICPR_REQUEST_MOST);
        SCEP_TRY(put_attributes(&attributes, request->template, p));
        der = request->der;
    }
    /* Of a question both blobs are empty: an attribute would be taken for a serial number
     * ([MS-WCCE] 3.2.1.4.2.1.3). The low byte of the flags is the API's own, and 0 here. */
    ndr_put_u32(&stub, request ? (uint32_t)request->format : 0);
    ndr_put_u32(&stub, 0x20000);
    ndr_put_wide(&stub, name);
    ndr_put_u32(&stub, id);
    put_blob(&stub, attributes, 0x20004);
    put_blob(&stub, der, 0x20008);
    *out = ndr_view(&stub);
    return NULL;
}

/* ---- the answer ---- */

static bool get_blob(ndr_in *in, scep_bytes *out)
{
    uint32_t len, pointer;

    *out = (scep_bytes){ NULL, 0 };
    if (!ndr_get_u32(in, &len) || !ndr_get_u32(in, &pointer))
        return false;
    /* no pointer: no bytes, whatever the count says */
    return !pointer || ndr_get_bytes(in, len, out);
}

/* "… 0x80094800 (-2146875392 …)": where a denial is CR_DISP_DENIED alone, the words have the
 * number. */
static uint32_t named_in(const char *said)
{
    for (const char *at = strstr(said, "0x8"); at; at = strstr(at + 1, "0x8")) {
        size_t digits = strspn(at + 2, "0123456789abcdefABCDEF");

        if (digits == 8)
            return (uint32_t)apr_strtoi64(at, NULL, 16);
    }
    return 0;
}

static void set(icpr_answer *out, icpr_outcome outcome, uint32_t hresult, const char *reason)
{
    out->outcome = outcome;
    out->hresult = hresult;
    out->reason = reason;
}

/* A code that says what went wrong, in one of the two places where codes stand. */
static void judge_code(icpr_answer *out, uint32_t code)
{
    const icpr_hresult *known = icpr_hresult_find(code);

    set(out, known->outcome, code, known->text);
}

static void judge_denied(icpr_answer *out)
{
    uint32_t hresult = named_in(out->said);

    set(out, ICPR_DENIED, hresult,
        hresult ? icpr_hresult_find(hresult)->text : "the CA denied the request");
}

/* The call succeeded: the disposition tells. */
static void judge_disposition(icpr_answer *out)
{
    switch (out->disposition) {
    case DISPOSITION_ISSUED:
        set(out, ICPR_ISSUED, 0, NULL);
        return;
    case DISPOSITION_UNDER_SUBMISSION:
        set(out, ICPR_PENDING, 0, "the CA holds the request for its administrator");
        return;
    case DISPOSITION_DENIED:
        judge_denied(out);
        return;
    case DISPOSITION_ISSUED_OUT_OF_BAND:
        set(out, ICPR_DENIED, 0, "the CA gives the certificate out by other means than this");
        return;
    case DISPOSITION_REVOKED:
        set(out, ICPR_DENIED, 0, "the CA issued the certificate and has revoked it since");
        return;
    case DISPOSITION_INCOMPLETE:
    case DISPOSITION_ERROR:
        set(out, ICPR_UNAVAILABLE, 0, "the CA did not finish the request");
        return;
    default:
        judge_code(out, out->disposition);
    }
}

/* What an answer promises has to be there. */
static void judge_parts(icpr_answer *out)
{
    scep_cursor c = { out->cert.data, out->cert.len };
    scep_bytes content;
    uint8_t tag;

    if (out->outcome == ICPR_PENDING && !out->request_id)
        set(out, ICPR_UNAVAILABLE, 0,
            "the CA holds the request and did not say under which number");
    if (out->outcome != ICPR_ISSUED) {
        out->cert = out->chain = (scep_bytes){ NULL, 0 };
        return;
    }
    if (!scep_cursor_der(&c, &tag, &content) || tag != 0x30 || c.left) {
        set(out, ICPR_UNAVAILABLE, 0, "the CA says that it issued a certificate and sent none");
        out->cert = out->chain = (scep_bytes){ NULL, 0 };
    }
}

const scep_err *icpr_get_answer(icpr_answer *out, scep_bytes stub, uint32_t id, apr_pool_t *p)
{
    ndr_in in = ndr_open(stub);
    scep_bytes message;

    *out = (icpr_answer){ 0 };
    if (!ndr_get_u32(&in, &out->request_id) || !ndr_get_u32(&in, &out->disposition) ||
        !get_blob(&in, &out->chain) || !get_blob(&in, &out->cert) || !get_blob(&in, &message) ||
        !ndr_get_u32(&in, &out->result))
        return scep_fail(p, UNAVAILABLE, "the CA's answer cannot be read");
    if (!out->request_id) /* the number goes in and out; where none came out, the question stands */
        out->request_id = id;
    if (id && out->request_id != id)
        return scep_fail(p, UNAVAILABLE, "asked for request %u, the CA answers of %u", id,
                         out->request_id);
    out->said = ndr_text(message, SAID_MOST, p);
    /* both are read: a call that failed has a disposition of no meaning, one that succeeded need
     * not have issued anything */
    if (out->result)
        judge_code(out, out->result);
    else
        judge_disposition(out);
    if (!id && out->outcome == ICPR_NONE) /* that answers a question only */
        out->outcome = ICPR_UNAVAILABLE;
    judge_parts(out);
    return NULL;
}

/* ---- the call ---- */

const scep_err *icpr_submit(icpr_answer *out, bool *asked, dcerpc *c, const char *authority,
                            const icpr_request *request, moment d, apr_pool_t *p)
{
    scep_bytes stub, answer;

    *asked = false;
    SCEP_TRY(icpr_put_request(&stub, authority, 0, request, p));
    SCEP_TRY(dcerpc_call(&answer, asked, c, OPNUM, stub, d, p));
    return icpr_get_answer(out, answer, 0, p);
}

const scep_err *icpr_retrieve(icpr_answer *out, dcerpc *c, const char *authority, uint32_t id,
                              moment d, apr_pool_t *p)
{
    scep_bytes stub, answer;
    bool asked;

    SCEP_TRY(icpr_put_request(&stub, authority, id, NULL, p));
    SCEP_TRY(dcerpc_call(&answer, &asked, c, OPNUM, stub, d, p));
    return icpr_get_answer(out, answer, id, p);
}
