/* What an answer of the CA means for a request. */
#include "connector_adcs_int.h"

#include "certs.h"

#include <apr_strings.h>
#include <openssl/err.h>

#define E_ACCESSDENIED 0x80070005u
#define E_INVALIDARG 0x80070057u
#define BAD_REQUESTSTATUS 0x80094003u
#define SERVER_SUSPENDED 0x80094006u
#define NO_DB_SESSIONS 0x8009400fu

/* Dispositions of a request whose end is not seen. */
#define INCOMPLETE 0
#define ISSUED 3

/* The CA says it of a request, and means the template, the account's rights or the enrolment
 * agent: another request would hear the same. It issued nothing, and the row that it keeps of it is
 * a failure that nobody can approve; so a device waits, and the request is sent anew when the
 * fault is mended. */
static bool is_set_up_wrong(uint32_t hresult)
{
    static const uint32_t codes[] = {
        E_ACCESSDENIED, E_INVALIDARG, /* the CA's name */
        0x80094009,                   /* CERTSRV_E_RESTRICTEDOFFICER */
        0x8009400a,                   /* CERTSRV_E_KEY_ARCHIVAL_NOT_CONFIGURED */
        0x80094011,                   /* CERTSRV_E_ENROLL_DENIED */
        0x80094012,                   /* CERTSRV_E_TEMPLATE_DENIED */
        0x80094017,                   /* CERTSRV_E_KEY_ATTESTATION_NOT_SUPPORTED */
        0x80094018,                   /* CERTSRV_E_ENCRYPTION_CERT_REQUIRED */
        0x80094800,                   /* CERTSRV_E_UNSUPPORTED_CERT_TYPE */
        0x80094801,                   /* CERTSRV_E_NO_CERT_TYPE */
        0x80094803,                   /* CERTSRV_E_SUBJECT_ALT_NAME_REQUIRED */
        0x80094804,                   /* CERTSRV_E_ARCHIVED_KEY_REQUIRED */
        0x80094805,                   /* CERTSRV_E_SMIME_REQUIRED */
        0x80094808,                   /* CERTSRV_E_TEMPLATE_POLICY_REQUIRED */
        0x80094809,                   /* CERTSRV_E_SIGNATURE_POLICY_REQUIRED */
        0x8009480a,                   /* CERTSRV_E_SIGNATURE_COUNT */
        0x8009480b,                   /* CERTSRV_E_SIGNATURE_REJECTED */
        0x8009480c,                   /* CERTSRV_E_ISSUANCE_POLICY_REQUIRED */
        0x8009480d,                   /* CERTSRV_E_SUBJECT_UPN_REQUIRED */
        0x8009480e,                   /* CERTSRV_E_SUBJECT_DIRECTORY_GUID_REQUIRED */
        0x8009480f,                   /* CERTSRV_E_SUBJECT_DNS_REQUIRED */
        0x80094812,                   /* CERTSRV_E_SUBJECT_EMAIL_REQUIRED */
        0x80094813,                   /* CERTSRV_E_UNKNOWN_CERT_TYPE */
        0x80094814,                   /* CERTSRV_E_CERT_TYPE_OVERLAP */
        0x80094815,                   /* CERTSRV_E_TOO_MANY_SIGNATURES */
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        if (codes[i] == hresult)
            return true;
    return false;
}

/* The CA turned the call away before it looked at what was in it. */
static bool is_turned_away(uint32_t hresult)
{
    return hresult == 0x000006ba || hresult == 0x800706ba || /* RPC_S_SERVER_UNAVAILABLE */
           hresult == 0x800706bb ||                          /* RPC_S_SERVER_TOO_BUSY */
           hresult == SERVER_SUSPENDED;
}

/* One line with all that helps to find it at the CA. */
static const char *in_words(const icpr_answer *answer, apr_pool_t *p)
{
    const char *text = answer->reason ? answer->reason : "the CA issued it";

    if (answer->hresult)
        text = apr_psprintf(p, "%s (0x%08x)", text, answer->hresult);
    if (answer->request_id)
        text = apr_psprintf(p, "%s; the CA's request %u", text, answer->request_id);
    return *answer->said ? apr_psprintf(p, "%s: \"%s\"", text, answer->said) : text;
}

static const scep_err *unavailable(connector_answer *out, const icpr_answer *answer, apr_pool_t *p)
{
    const char *words = in_words(answer, p);

    out->asked = !is_set_up_wrong(answer->hresult) && !is_turned_away(answer->hresult);
    if (is_set_up_wrong(answer->hresult))
        return scep_fail(p, CONFIG, "%s", words);
    return scep_fail(p, UNAVAILABLE, "%s", words);
}

static const scep_err *denied(connector_answer *out, const icpr_answer *answer, uint32_t id,
                              apr_pool_t *p)
{
    /* one that was pending has been judged by an administrator, who says it of this request; a
     * question that the CA turned down says nothing of it */
    if (id ? answer->result != 0 : is_set_up_wrong(answer->hresult))
        return unavailable(out, answer, p);
    out->outcome = CONNECTOR_DENIED;
    out->reason = in_words(answer, p);
    return NULL;
}

const scep_err *adcs_judge(connector_answer *out, const icpr_answer *answer, uint32_t id,
                           apr_pool_t *p)
{
    const adcs_note at = { .kind = ADCS_AT, .id = answer->request_id };

    switch (answer->outcome) {
    case ICPR_ISSUED:
        out->outcome = CONNECTOR_ISSUED;
        out->der = answer->cert;
        return NULL;
    case ICPR_PENDING:
        out->outcome = CONNECTOR_PENDING;
        out->reason = in_words(answer, p);
        out->cookie = adcs_note_write(&at, p);
        return NULL;
    case ICPR_DENIED:
        return denied(out, answer, id, p);
    case ICPR_NONE:
        out->outcome = CONNECTOR_LOST;
        out->reason = apr_psprintf(p,
                                   "the CA held the request under number %u and has no such "
                                   "request any more: was it deleted, or the CA restored?",
                                   id);
        return NULL;
    case ICPR_UNAVAILABLE:
        break;
    }
    return unavailable(out, answer, p);
}

bool adcs_is_of_key(scep_bytes der, EVP_PKEY *key)
{
    const unsigned char *at = der.data;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    bool is = cert && X509_get0_pubkey(cert) && EVP_PKEY_eq(X509_get0_pubkey(cert), key) == 1;

    X509_free(cert);
    ERR_clear_error(); /* an answer that is no certificate is not ours */
    return is;
}

/* A call that succeeded says what the CA keeps under the number. That may be a failure, by any
 * code, which it then says forever: but for codes of which no request can be kept, and the one by
 * which a CA keeps others' requests to itself. */
bool adcs_is_of_the_ca(const icpr_answer *answer)
{
    if (answer->outcome != ICPR_DENIED && answer->outcome != ICPR_UNAVAILABLE)
        return false;
    if (answer->result)
        return answer->result != BAD_REQUESTSTATUS;
    return answer->disposition == SERVER_SUSPENDED || answer->disposition == NO_DB_SESSIONS ||
           answer->disposition == E_ACCESSDENIED;
}

bool adcs_is_hidden(const icpr_answer *answer)
{
    return (answer->result ? answer->result : answer->disposition) == E_ACCESSDENIED;
}

/* There is a request, and the CA has issued for it or still may, as far as this answer tells. */
static bool is_open(const icpr_answer *answer)
{
    if (answer->outcome != ICPR_UNAVAILABLE)
        return false;
    return answer->hresult == BAD_REQUESTSTATUS ||
           (!answer->result &&
            (answer->disposition == INCOMPLETE || answer->disposition == ISSUED));
}

const scep_err *adcs_see(adcs_sight *out, const icpr_answer *answer, EVP_PKEY *key, apr_pool_t *p)
{
    switch (answer->outcome) {
    case ICPR_ISSUED:
        *out = adcs_is_of_key(answer->cert, key) ? ADCS_OURS : ADCS_OTHERS;
        return NULL;
    case ICPR_PENDING:
        *out = ADCS_HELD;
        return NULL;
    case ICPR_NONE:
        *out = ADCS_NONE;
        return NULL;
    case ICPR_DENIED:
    case ICPR_UNAVAILABLE:
        break;
    }
    /* what the account asked for it may see */
    if (adcs_is_of_the_ca(answer) && !adcs_is_hidden(answer))
        return scep_fail(p, UNAVAILABLE, "%s", in_words(answer, p));
    *out = is_open(answer) ? ADCS_HELD : ADCS_OTHERS;
    return NULL;
}
