/* The answer to a PKIOperation: a CertRep wherever one can be signed. RFC 8894 3.3.2, 4.3.1. */
#include "mod_scep_pki.h"

#include "mod_scep_places.h"

#include <apr_strings.h>
#include <string.h>

/* Each fault's log id, and what the operator can do about it. */
static const struct {
    const char *id, *remedy;
} faults[SCEP_CODE_COUNT] = {
    [SCEP_UNDECODABLE] = { "SCEP0020",
                           "check the client's URL and that no proxy changes what it sends" },
    [SCEP_TOO_LARGE] = { "SCEP0021", "raise SCEPMaxMessage if the client has a reason" },
    [SCEP_BAD_ALG] = { "SCEP0022", "set the client to SHA-256, AES and RSA as RFC 8894 wants; for "
                                   "MD5 and single DES, SCEPLegacyAlgorithms on accepts them" },
    [SCEP_BAD_MESSAGE] = { "SCEP0023",
                           "the message was changed on its way, or the client is faulty" },
    [SCEP_BAD_REQUEST] = { "SCEP0024", "the client asks for what is not served here" },
    [SCEP_UNREADABLE] = { "SCEP0025", "if it does not decrypt, let the client fetch the CA "
                                      "certificates again (GetCACert); "
                                      "otherwise its PKCS #10 is at fault" },
    [SCEP_CHALLENGE] = { "SCEP0026", "let the client have a new challenge" },
    [SCEP_CHALLENGE_ABSENT] = { "SCEP0027", "let the client have a challenge" },
    [SCEP_BAD_SUBJECT] = { "SCEP0028", "correct the names that the client asks for" },
    [SCEP_REFUSED] = { "SCEP0029", "see scep-ca's line on this transaction" },
    [SCEP_BAD_TIME] = { "SCEP0033", "set the client's clock, or raise SCEPSigningTime" },
    [SCEP_BAD_CERT_ID] = { "SCEP0034", "the client asks for what it never sent, what was forgotten "
                                       "since, or what this CA did not issue" },
    [SCEP_TOO_OFTEN] = { "SCEP0035", "see what this address sends; SCEPFailedMax is the limit" },
    [SCEP_UNAVAILABLE] = { "SCEP0030", "the device may ask again; see that scep-ca runs, and "
                                       "what it says" },
    [SCEP_CONFIG] = { "SCEP0031", "see what scep-ca says at a restart" },
    [SCEP_INTERNAL] = { "SCEP0032", "see the lines before this one" },
};

const char *scep_event(request_rec *r, int code)
{
    const scep_code_info *row = scep_code_describe(code);

    return apr_psprintf(r->pool, "NDES-%d %s: ", row->event, row->name);
}

static bool as_ndes(const scep_exchange *x)
{
    return !strcmp(scep_settings_text(x->section, SCEP_SET_Compatibility), "ndes");
}

static int send_reply(const scep_exchange *x, scep_bytes der)
{
    return scep_send(x->r, HTTP_OK, "application/x-pki-message", der);
}

/* What an answer without a signature says. NDES's HRESULT stands where a device of Windows looks
 * for it in a signed one. */
static const char *plain_text(const scep_exchange *x, const scep_code_info *row)
{
    if (as_ndes(x) && row->hresult)
        return apr_psprintf(x->r->pool, "%s (0x%08x)\n", row->text, row->hresult);
    return apr_pstrcat(x->r->pool, row->text, "\n", NULL);
}

/* 503 with Retry-After: httpd's own page, or under ndes one that names the HRESULT. */
static int try_later(const scep_exchange *x)
{
    int status = scep_try_later(x->r);

    if (!as_ndes(x))
        return status;
    return scep_send(x->r, status, "text/plain",
                     scep_bytes_of(plain_text(x, scep_code_describe(SCEP_UNAVAILABLE))));
}

/* NDES's own validators take anything but 200 for a broken server. */
static int answer_unsigned(const scep_exchange *x, int code)
{
    const scep_code_info *row = scep_code_describe(code);

    if (code == SCEP_UNDECODABLE)
        return scep_send(x->r, as_ndes(x) ? HTTP_OK : row->http_status, "text/plain",
                         scep_bytes_of(row->text));
    if (row->http_status == HTTP_OK || row->http_status == HTTP_SERVICE_UNAVAILABLE)
        return try_later(x);
    return row->http_status;
}

const EVP_MD *scep_own_digest(const scep_settings *settings)
{
    switch (scep_settings_hash_bits(settings, SCEP_SET_HashAlgorithm)) {
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

/* As it came but for its length and NULs: httpd escapes what it writes to the log. */
static const char *transaction_of(const scep_exchange *x)
{
    const scep_bytes id = x->message ? x->message->transaction_id : (scep_bytes){ NULL, 0 };
    size_t len = id.len < 64 ? id.len : 64;
    char *text = apr_pcalloc(x->r->pool, len + sizeof("..."));

    if (!x->message)
        return "unknown";
    for (size_t i = 0; i < len; i++)
        text[i] = id.data[i] ? (char)id.data[i] : '?';
    if (len < id.len)
        strcpy(text + len, "...");
    return text;
}

/* Was it decided, other than put off or broken? */
static bool is_refusal(int code)
{
    return code != SCEP_UNAVAILABLE && code != SCEP_CONFIG && code != SCEP_INTERNAL;
}

/* NDES has an event of its own for a renewal that failed, whatever the reason was. */
static void log_fault(const scep_exchange *x, int code, const char *detail)
{
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, x->r, "%s: %s%s (transaction %s, endpoint %s%s); %s",
                  faults[code].id, scep_event(x->r, code), detail, transaction_of(x), x->endpoint,
                  x->renews && is_refusal(code) ? ", a renewal: NDES-28" : "", faults[code].remedy);
}

/* ---- notes for CustomLog, which escapes them ---- */

static void note(const scep_exchange *x, const char *status)
{
    if (x->message)
        apr_table_setn(x->r->notes, SCEP_NOTE_TRANSID, transaction_of(x));
    apr_table_set(x->r->notes, SCEP_NOTE_ENDPOINT, x->endpoint);
    apr_table_setn(x->r->notes, SCEP_NOTE_STATUS, status);
}

static void note_fault(const scep_exchange *x, int code)
{
    note(x, is_refusal(code) ? "refused" : code == SCEP_UNAVAILABLE ? "later" : "failed");
}

/* A certificate that leaves: its serial number, even where no answer can be made of it. */
static void note_verdict(const scep_exchange *x, const scep_wire_verdict *verdict)
{
    bool asked_for =
        x->message->message_type == SCEP_GET_CERT || x->message->message_type == SCEP_GET_CRL;
    scep_cert *cert;

    note(x, verdict->status == SCEP_STATUS_PENDING ? "pending" : asked_for ? "found" : "issued");
    if (verdict->status != SCEP_STATUS_ISSUED || !verdict->certificate.len)
        return;
    if (!scep_cert_look(&cert, verdict->certificate, x->r->pool))
        apr_table_setn(x->r->notes, SCEP_NOTE_SERIAL, scep_serial_hex(cert->serial, x->r->pool));
}

/* What a client may read; NULL: nothing. */
static const char *text_of(const scep_exchange *x, const scep_code_info *row)
{
    if (!scep_settings_flag(x->section, SCEP_SET_FailInfoText))
        return NULL;
    if (as_ndes(x) && row->hresult)
        return apr_psprintf(x->r->pool, "%s (0x%08x)", row->text, row->hresult);
    return row->text;
}

/* A reply that its key does not sign: one in a token may do so again, and is named. */
static const scep_err *with_key(const scep_exchange *x, const scep_err *err)
{
    const char *where = err ? scep_key_where(x->identity->ra.sign.key) : NULL;

    if (!where || err->code != SCEP_INTERNAL)
        return err;
    return scep_fail(x->r->pool, UNAVAILABLE, "%s, with %s", err->detail, where);
}

static int refuse_signed(const scep_exchange *x, const scep_code_info *row)
{
    const scep_err *err;
    scep_bytes der;

    err = scep_certrep_failure(&der, x->message, row->fail_info, text_of(x, row),
                               scep_own_digest(x->section), &x->identity->ra.sign, x->r->pool);
    err = with_key(x, err);
    if (!err)
        return send_reply(x, der);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, x->r,
                  "SCEP0011: %sthe refusal cannot be signed: %s; see that the RA's signing "
                  "key is usable (scep-ca check)",
                  scep_event(x->r, err->code), err->detail);
    return err->code == SCEP_UNAVAILABLE ? try_later(x) : HTTP_INTERNAL_SERVER_ERROR;
}

static int refuse_too_often(const scep_exchange *x, const char *detail, unsigned int seconds)
{
    log_fault(x, SCEP_TOO_OFTEN, detail);
    note_fault(x, SCEP_TOO_OFTEN);
    scep_retry_after(x->r, seconds);
    return answer_unsigned(x, SCEP_TOO_OFTEN);
}

static bool is_signed(const scep_exchange *x, int code)
{
    return x->message && x->identity && scep_code_describe(code)->fail_info >= 0;
}

/* What anybody can send as often as he likes, each costing a private operation: a signature, or the
 * decryption of what could then not be read, whatever came of it (S-15, S-27, S-45). Asked after
 * the work was done and for failures only: a good request is never refused. Failed challenges are
 * counted by scep-ca, for all workers. */
static bool is_limited(const scep_exchange *x, int code)
{
    bool at_ca = code == SCEP_CHALLENGE || code == SCEP_CHALLENGE_ABSENT;

    return x->csr_err || (is_signed(x, code) && !at_ca);
}

int scep_refuse(const scep_exchange *x, int code, const char *detail)
{
    if (code <= 0 || code >= SCEP_CODE_COUNT)
        code = SCEP_INTERNAL;
    if (is_limited(x, code)) {
        long most = scep_settings_number(x->issuance, SCEP_SET_FailedMax);
        int seconds = scep_failed_too_often(x->r, x->endpoint, most);

        if (seconds > 0)
            return refuse_too_often(x, detail, (unsigned int)seconds);
    }
    log_fault(x, code, detail);
    note_fault(x, code);
    return is_signed(x, code) ? refuse_signed(x, scep_code_describe(code))
                              : answer_unsigned(x, code);
}

int scep_turn_away(const scep_exchange *x)
{
    scep_places_turned_away(x->r);
    note(x, "later");
    return try_later(x);
}

/* ---- verdicts ---- */

/* The chain of the CA that issued; the request's own RA's where scep-ca names none that is known.
 */
static const STACK_OF(X509) * chain_of(const scep_exchange *x, const char *authority)
{
    for (int i = 0; i < x->known->n; i++) {
        const scep_identity *one = &x->known->identities[i];

        if (!strcmp(one->authority, authority))
            return one->chain;
    }
    return x->identity->chain;
}

/* As much of the certificate's chain as SCEPResponseChain says. */
static const scep_err *list_chain(STACK_OF(X509) * *out, const scep_exchange *x,
                                  const scep_wire_verdict *verdict)
{
    apr_pool_t *p = x->r->pool;
    const char *how = scep_settings_text(x->section, SCEP_SET_ResponseChain);
    const STACK_OF(X509) *chain = chain_of(x, verdict->authority);
    int most = 0;

    *out = scep_borrowed_stack(p);
    if (strcmp(how, "none"))
        most = strcmp(how, "chain") ? sk_X509_num(chain) : 1;
    for (int i = 0; i < most && i < sk_X509_num(chain); i++)
        if (!sk_X509_push(*out, sk_X509_value(chain, i)))
            return scep_fail(p, INTERNAL, "no memory for a list of certificates");
    return NULL;
}

static const scep_err *success(scep_bytes *der, const scep_exchange *x,
                               const scep_wire_verdict *verdict)
{
    const scep_signer *ra = &x->identity->ra.sign;
    STACK_OF(X509) * chain;

    if (verdict->crl.len)
        return scep_certrep_crl(der, x->message, verdict->crl, x->challenge, ra, x->r->pool);
    if (!verdict->certificate.len)
        return scep_fail(x->r->pool, INTERNAL, "scep-ca issued a certificate and did not send it");
    SCEP_TRY(list_chain(&chain, x, verdict));
    return scep_certrep_success(der, x->message, verdict->certificate, chain, x->challenge, ra,
                                x->r->pool);
}

int scep_answer(const scep_exchange *x, const scep_wire_verdict *verdict)
{
    const scep_err *err;
    scep_bytes der;

    if (verdict->status == SCEP_STATUS_ISSUED || verdict->status == SCEP_STATUS_PENDING)
        note_verdict(x, verdict);
    switch (verdict->status) {
    case SCEP_STATUS_ISSUED:
        err = success(&der, x, verdict);
        break;
    case SCEP_STATUS_PENDING:
        err = scep_certrep_pending(&der, x->message, &x->identity->ra.sign, x->r->pool);
        break;
    case SCEP_STATUS_REFUSED:
        if (verdict->code == SCEP_TOO_OFTEN)
            return refuse_too_often(x, verdict->detail, verdict->retry);
        return scep_refuse(x, (int)verdict->code, verdict->detail);
    case SCEP_STATUS_LATER:
        return scep_refuse(x, SCEP_UNAVAILABLE, verdict->detail);
    default:
        return scep_refuse(x, SCEP_INTERNAL, "scep-ca gave a verdict of another version");
    }
    err = with_key(x, err);
    return err ? scep_refuse(x, err->code, err->detail) : send_reply(x, der);
}
