/* PKIOperation: from the bytes of a request to the bytes of its CertRep. RFC 8894 3, 4.3. */
#include "mod_scep.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

/* What is known of the request so far. */
typedef struct exchange {
    request_rec *r;
    const scep_settings *settings;
    const char *endpoint;
    scep_message *message; /* NULL: cannot be answered by a CertRep */
    const scep_ra *ra;     /* NULL: nothing can be signed */
} exchange;

/* Each fault's log id, and what the operator can do about it. */
static const struct {
    const char *id, *remedy;
} faults[SCEP_CODE_COUNT] = {
    [SCEP_UNDECODABLE] = { "SCEP0020",
                           "check the client's URL and that no proxy changes what it sends" },
    [SCEP_TOO_LARGE] = { "SCEP0021", "raise SCEPMaxMessage if the client has a reason" },
    [SCEP_BAD_ALG] = { "SCEP0022", "set the client to SHA-256, AES and RSA as RFC 8894 wants" },
    [SCEP_BAD_MESSAGE] = { "SCEP0023",
                           "the message was changed on its way, or the client is faulty" },
    [SCEP_BAD_REQUEST] = { "SCEP0024", "the client asks for what is not served here" },
    [SCEP_UNREADABLE] = { "SCEP0025", "if it does not decrypt, let the client fetch the CA "
                                      "certificates again (GetCACert); "
                                      "otherwise its PKCS #10 is at fault" },
    [SCEP_CHALLENGE] = { "SCEP0026", "fetch a new challenge from the challenge page" },
    [SCEP_CHALLENGE_ABSENT] = { "SCEP0027", "give the client a challenge from the challenge page" },
    [SCEP_BAD_SUBJECT] = { "SCEP0028", "correct the names that the client asks for" },
    [SCEP_REFUSED] = { "SCEP0029", "see scep-ca's line on this transaction" },
    [SCEP_UNAVAILABLE] = { "SCEP0030", "the device may ask again; see that scep-ca runs" },
    [SCEP_CONFIG] = { "SCEP0031", "see what scep-ca says at a restart" },
    [SCEP_INTERNAL] = { "SCEP0032", "see the lines before this one" },
};

const char *scep_event(request_rec *r, int code)
{
    const scep_code_info *row = scep_code_describe(code);

    return apr_psprintf(r->pool, "NDES-%d %s: ", row->event, row->name);
}

static bool as_ndes(const exchange *x)
{
    return !strcmp(scep_settings_text(x->settings, SCEP_SET_Compatibility), "ndes");
}

static int send_reply(const exchange *x, scep_bytes der)
{
    return scep_send(x->r, HTTP_OK, "application/x-pki-message", der);
}

/* NDES's own validators take anything but 200 for a broken server. */
static int answer_unsigned(const exchange *x, int code)
{
    const scep_code_info *row = scep_code_describe(code);

    if (code == SCEP_UNDECODABLE)
        return scep_send(x->r, as_ndes(x) ? HTTP_OK : row->http_status, "text/plain",
                         scep_bytes_of(row->text));
    if (row->http_status == HTTP_OK || row->http_status == HTTP_SERVICE_UNAVAILABLE)
        return scep_try_later(x->r);
    return row->http_status;
}

static const EVP_MD *fallback_digest(const exchange *x)
{
    switch (scep_settings_hash_bits(x->settings, SCEP_SET_HashAlgorithm)) {
    case 160:
        return EVP_sha1();
    case 384:
        return EVP_sha384();
    case 512:
        return EVP_sha512();
    default:
        return EVP_sha256();
    }
}

/* All that is wrong ends here: one line for the operator, and the table's text for the client. */
static int refuse(const exchange *x, int code, const char *detail)
{
    request_rec *r = x->r;
    const scep_code_info *row = scep_code_describe(code);
    const char *text = row->text;
    const scep_err *err;
    scep_bytes der;

    if (code <= 0 || code >= SCEP_CODE_COUNT)
        code = SCEP_INTERNAL;
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "%s: %s%s (transaction %s, endpoint %s); %s",
                  faults[code].id, scep_event(r, code), detail,
                  x->message ? scep_printable(r->pool, x->message->transaction_id, 64) : "unknown",
                  x->endpoint, faults[code].remedy);
    if (!x->message || !x->ra || row->fail_info < 0)
        return answer_unsigned(x, code);
    if (as_ndes(x) && row->hresult)
        text = apr_psprintf(r->pool, "%s (0x%08x)", text, row->hresult);
    err = scep_certrep_failure(&der, x->message, row->fail_info, text, fallback_digest(x),
                               &x->ra->sign, r->pool);
    if (err) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SCEP0011: %sthe refusal cannot be signed: %s; see that the RA's signing "
                      "key is usable (scep-ca check)",
                      scep_event(r, err->code), err->detail);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return send_reply(x, der);
}

/* ---- the bytes ---- */

/* Keep what a bucket holds, in a buffer that doubles up to the limit. */
static bool keep(unsigned char **buffer, size_t *room, size_t *have, const char *data, size_t len,
                 size_t limit, apr_pool_t *p)
{
    if (len > limit - *have)
        return false;
    if (len > *room - *have) {
        size_t larger = *room * 2 > *have + len ? *room * 2 : *have + len;
        unsigned char *moved = apr_palloc(p, larger);

        memcpy(moved, *buffer, *have);
        *buffer = moved;
        *room = larger;
    }
    memcpy(*buffer + *have, data, len);
    *have += len;
    return true;
}

/* APR_BRIGADE_SENTINEL, which subtracts null pointers and so does not compile everywhere. */
static const apr_bucket *end_of(const apr_bucket_brigade *bb)
{
    return (const apr_bucket *)((const char *)&bb->list - offsetof(apr_bucket, link));
}

/* Append one brigade. @return OK, DONE at the end of the body, or an HTTP status */
static int take(apr_bucket_brigade *bb, unsigned char **buffer, size_t *room, size_t *have,
                size_t limit, apr_pool_t *p)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != end_of(bb); b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t len;

        if (APR_BUCKET_IS_EOS(b))
            return DONE;
        if (APR_BUCKET_IS_METADATA(b))
            continue;
        if (apr_bucket_read(b, &data, &len, APR_BLOCK_READ) != APR_SUCCESS)
            return HTTP_BAD_REQUEST;
        if (!keep(buffer, room, have, data, len, limit, p))
            return HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    return OK;
}

/* Never more than @a limit is read or kept, whether a length is announced or the body comes in
 * chunks. */
static int read_body(scep_bytes *out, request_rec *r, size_t limit)
{
    const char *announced = apr_table_get(r->headers_in, "Content-Length");
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    size_t room = 4096, have = 0;
    unsigned char *buffer = apr_palloc(r->pool, room);
    int status = OK;
    apr_off_t length;

    if (announced && ap_parse_strict_length(&length, announced) && length > (apr_off_t)limit)
        return HTTP_REQUEST_ENTITY_TOO_LARGE;
    while (status == OK) {
        apr_status_t rv =
            ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, 8192);

        if (rv != APR_SUCCESS)
            return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        status = take(bb, &buffer, &room, &have, limit, r->pool);
        apr_brigade_cleanup(bb);
    }
    out->data = buffer;
    out->len = have;
    return status == DONE ? OK : status;
}

/*
 * The DER of a POST or a GET.
 * @param status OK, or what the handler returns because the body did not arrive
 * @return NULL, or UNDECODABLE or TOO_LARGE
 */
static const scep_err *receive(scep_bytes *der, int *status, const exchange *x)
{
    request_rec *r = x->r;
    size_t limit = (size_t)scep_settings_number(x->settings, SCEP_SET_MaxMessage);

    *status = OK;
    if (r->method_number == M_POST) {
        *status = read_body(der, r, limit);
    } else {
        const char *text = scep_query_get(r->args, "message", r->pool);

        SCEP_TRY(scep_query_message(der, text ? text : "", r->pool));
    }
    if (*status == HTTP_REQUEST_ENTITY_TOO_LARGE || (*status == OK && der->len > limit))
        return scep_fail(r->pool, TOO_LARGE, "more than SCEPMaxMessage's %lu bytes",
                         (unsigned long)limit);
    if (*status != OK)
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "SCEP0012: the request's body did not arrive whole: the client went away or "
                      "sent broken chunks");
    return NULL;
}

/* ---- one enrolment ---- */

/* What can be known before scep-ca is asked; cheap first, then the RA's key. */
static const scep_err *read_request(scep_csr **csr, const exchange *x)
{
    apr_pool_t *p = x->r->pool;
    scep_bytes plain;

    if (x->message->message_type != SCEP_PKCS_REQ)
        return scep_fail(p, BAD_REQUEST, "messageType %d is not served; PKCSReq (19) is",
                         x->message->message_type);
    /* Here, not when the certificate is there: it could then not be delivered. */
    if (EVP_PKEY_get_base_id(x->message->signer_key) != EVP_PKEY_RSA)
        return scep_fail(p, BAD_ALG,
                         "the client's key is not RSA, so that no answer can be encrypted to it");
    SCEP_TRY(scep_ra_decrypt(&plain, x->ra, x->message, p));
    SCEP_TRY(scep_csr_read(csr, plain, p));
    /* RFC 8894 2.3: whoever signs asks for a certificate of the very key. */
    if (EVP_PKEY_eq(x->message->signer_key, (*csr)->key) != 1)
        return scep_fail(p, UNREADABLE, "the message is signed by another key than the CSR's");
    return NULL;
}

/* The certificate, and as much of its chain as SCEPResponseChain says. Leaf first. */
static const scep_err *list_certificates(STACK_OF(X509) * *out, const exchange *x, scep_bytes leaf)
{
    apr_pool_t *p = x->r->pool;
    const char *how = scep_settings_text(x->settings, SCEP_SET_ResponseChain);
    const scep_public *known = scep_ca_public(x->r, x->endpoint);
    int i, most = 0;
    X509 *cert;

    *out = scep_borrowed_stack(p);
    SCEP_TRY(scep_cert_read(&cert, leaf, p));
    if (!sk_X509_push(*out, cert))
        return scep_fail(p, INTERNAL, "no memory for a list of certificates");
    if (known && strcmp(how, "none"))
        most = strcmp(how, "chain") ? sk_X509_num(known->chain) : 1;
    for (i = 0; i < most && i < sk_X509_num(known->chain); i++)
        if (!sk_X509_push(*out, sk_X509_value(known->chain, i)))
            return scep_fail(p, INTERNAL, "no memory for a list of certificates");
    return NULL;
}

static int answer_issued(const exchange *x, scep_bytes leaf)
{
    STACK_OF(X509) * certs;
    scep_bytes der;
    const scep_err *err = list_certificates(&certs, x, leaf);

    if (!err)
        err = scep_certrep_success(&der, x->message, certs, &x->ra->sign, x->r->pool);
    return err ? refuse(x, err->code, err->detail) : send_reply(x, der);
}

static int answer_pending(const exchange *x)
{
    scep_bytes der;
    const scep_err *err = scep_certrep_pending(&der, x->message, &x->ra->sign, x->r->pool);

    return err ? refuse(x, err->code, err->detail) : send_reply(x, der);
}

static int enrol(const exchange *x)
{
    scep_wire_verdict verdict;
    scep_wire_enrol request = { .endpoint = x->endpoint, .peer = x->r->useragent_ip };
    scep_csr *csr;
    const scep_err *err = read_request(&csr, x);

    if (err)
        return refuse(x, err->code, err->detail);
    request.message_type = (uint32_t)x->message->message_type;
    request.transaction_id = x->message->transaction_id;
    request.csr = csr->der;
    err = scep_ca_enrol(&verdict, x->r, &request);
    if (err)
        return refuse(x, err->code, err->detail);
    switch (verdict.status) {
    case SCEP_STATUS_ISSUED:
        return answer_issued(x, verdict.certificate);
    case SCEP_STATUS_PENDING:
        return answer_pending(x);
    case SCEP_STATUS_REFUSED:
        return refuse(x, (int)verdict.code, verdict.detail);
    case SCEP_STATUS_LATER:
        return refuse(x, SCEP_UNAVAILABLE, verdict.detail);
    default:
        return refuse(x, SCEP_INTERNAL, "scep-ca gave a verdict of another version");
    }
}

int scep_pki_operation(request_rec *r)
{
    exchange x = { .r = r,
                   .settings = scep_request_settings(r),
                   .endpoint = scep_request_endpoint(r) };
    const scep_settings *issuance = scep_endpoint_settings(x.endpoint);
    const scep_err *err, *wrong;
    scep_accept accept;
    scep_bytes der;
    int status;

    scep_no_store(r);
    accept.minimum_hash_bits =
        scep_settings_hash_bits(issuance ? issuance : x.settings, SCEP_SET_MinimumHash);
    err = receive(&der, &status, &x);
    if (err)
        return refuse(&x, err->code, err->detail);
    if (status != OK)
        return status;
    wrong = scep_message_open(&x.message, der, &accept, r->pool);
    if (wrong && !x.message)
        return refuse(&x, wrong->code, wrong->detail);
    err = scep_ca_identity(&x.ra, r, x.endpoint);
    if (err)
        return refuse(&x, err->code, err->detail);
    return wrong ? refuse(&x, wrong->code, wrong->detail) : enrol(&x);
}
