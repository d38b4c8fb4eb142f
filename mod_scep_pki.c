/* PKIOperation: what a request asks of scep-ca. RFC 8894 3, 4.3 to 4.6. */
#include "mod_scep_pki.h"

#include "mod_scep_places.h"

#include <apr_strings.h>
#include <string.h>

/* ---- what is accepted ---- */

scep_accept scep_accepted(const scep_settings *section, const scep_settings *issuance)
{
    if (!issuance)
        issuance = section;
    return (scep_accept){
        .minimum_hash_bits = scep_settings_hash_bits(issuance, SCEP_SET_MinimumHash),
        .legacy = scep_settings_flag(issuance, SCEP_SET_LegacyAlgorithms),
        .nonce_required = scep_settings_flag(section, SCEP_SET_RequireNonce),
        .clock_skew = (int)scep_settings_number(section, SCEP_SET_SigningTime),
    };
}

/* Whom a request is for is known only once it was taken apart: what any of them accepts. */
static scep_accept widest(const scep_exchange *x, const apr_array_header_t *served)
{
    scep_accept all = scep_accepted(x->section, x->issuance);

    for (int i = 1; i < served->nelts; i++) {
        scep_accept one =
            scep_accepted(x->section, scep_issuance_of(x, APR_ARRAY_IDX(served, i, const char *)));

        if (one.minimum_hash_bits < all.minimum_hash_bits)
            all.minimum_hash_bits = one.minimum_hash_bits;
        all.legacy = all.legacy || one.legacy;
    }
    return all;
}

/* ---- what it asks for ---- */

static const scep_err *open_csr(scep_exchange *x)
{
    apr_pool_t *p = x->r->pool;
    scep_bytes plain;

    SCEP_TRY(scep_ra_decrypt(&plain, &x->identity->ra, x->message, p));
    /* Where the answer depends on what stands in there before scep-ca has verified it (renew()), a
     * request that somebody else made and a third one changed must not be told from rubbish (S-15)
     */
    if (EVP_PKEY_get_base_id(x->message->signer_key) != EVP_PKEY_RSA)
        SCEP_TRY(scep_csr_read(&x->csr, plain, p));
    else
        SCEP_TRY(scep_csr_look(&x->csr, plain, x->message->signer, p));
    x->challenge = x->csr->challenge;
    return NULL;
}

/* A private operation is spent on it once, whoever wants to know it. */
static const scep_err *read_csr(scep_exchange *x)
{
    if (!x->csr && !x->csr_err)
        x->csr_err = open_csr(x);
    return x->csr_err;
}

/* Said here, not when the certificate is there: it could then not be delivered. */
static const scep_err *check_answerable(const scep_exchange *x)
{
    return scep_certrep_is_possible(x->message, x->challenge, x->r->pool);
}

static int ask(const scep_exchange *x, scep_bytes frame)
{
    scep_wire_verdict verdict;
    const scep_err *err = scep_ca_verdict(&verdict, x->r, x->endpoint, frame);

    return err ? scep_refuse(x, err->code, err->detail) : scep_answer(x, &verdict);
}

static int enrol(const scep_exchange *x)
{
    const scep_wire_enrol request = {
        .endpoint = x->endpoint,
        .authority = x->identity->authority,
        .message_type = (uint32_t)x->message->message_type,
        .transaction_id = x->message->transaction_id,
        .csr = x->csr->der,
        .peer = x->r->useragent_ip,
    };
    const scep_err *err = check_answerable(x);

    if (err)
        return scep_refuse(x, err->code, err->detail);
    return ask(x, scep_wire_put_enrol(SCEP_VERB_ENROL, &request, x->r->pool));
}

static const scep_err *put_renewal(scep_bytes *frame, const scep_exchange *x, bool unanswerable)
{
    scep_wire_renew request = { .endpoint = x->endpoint,
                                .authority = x->identity->authority,
                                .unanswerable = unanswerable ? 1 : 0,
                                .peer = x->r->useragent_ip };
    scep_proof proof;

    SCEP_TRY(scep_proof_take(&proof, x->message, x->r->pool));
    request.signer = proof.signer;
    request.attributes = proof.attributes;
    request.digest_algorithm = proof.digest_algorithm;
    request.signature_algorithm = proof.signature_algorithm;
    request.signature = proof.signature;
    request.content = proof.content;
    *frame = scep_wire_put_renew(SCEP_VERB_RENEW, &request, x->r->pool);
    return NULL;
}

/*
 * Whether the signer's certificate may stand for a challenge is found out by scep-ca, before it
 * opens the envelope by itself: what is inside is no business of this process, except for a client
 * that can only be answered by its challenge (RFC 8894 3.1), which stands there. Where none is
 * found, for whatever reason, scep-ca is told, and says so only to whom the renewal is proved:
 * whoever holds no certificate learns nothing of an envelope (S-15).
 */
static int renew(scep_exchange *x)
{
    bool unanswerable = x->addressed && check_answerable(x) && (read_csr(x) || check_answerable(x));
    const scep_err *err = x->addressed ? NULL : read_csr(x);
    scep_bytes frame;

    x->renews = true;
    if (!err)
        err = put_renewal(&frame, x, unanswerable);
    return err ? scep_refuse(x, err->code, err->detail) : ask(x, frame);
}

/* By the CA's key, not by its name alone. */
static bool is_from_known_ca(const scep_exchange *x)
{
    bool found = false;

    for (int i = 0; i < x->known->n && !found; i++) {
        X509 *ca = sk_X509_value(x->known->identities[i].chain, 0);

        found = scep_cert_names_issuer(x->message->signer, X509_get_subject_name(ca)) &&
                scep_cert_is_signed_by(x->message->signer, X509_get0_pubkey(ca));
    }
    return found;
}

/*
 * RFC 8894 2.3: whoever signs a PKCSReq asks for a certificate of the very key. Where the signer's
 * certificate is not self-signed it may be a renewal of older clients (draft-23, Appendix D;
 *
 *   - with SCEPRenewalByPKCSReq, one from this CA is a renewal, whatever is inside;
 *   - a request for the signer's own key is an enrolment with all that this takes, whoever issued
 *     that certificate: it proves possession of the key and nothing else is believed of it;
 *   - everything else is a renewal with SCEPRenewalByPKCSReq, as scep-ca may trust further CAs, and
 *     otherwise as unreadable as an envelope that was stolen from somebody else (S-10). Which of
 *     the two it is does not depend on what is inside (S-15).
 */
static int pkcs_req(scep_exchange *x)
{
    bool self_signed, may_renew;
    const scep_err *err;

    if (scep_settings_flag(x->issuance, SCEP_SET_RenewalByPKCSReq) && is_from_known_ca(x) &&
        !scep_message_is_self_signed(x->message))
        return renew(x);
    err = read_csr(x);
    if (!err && EVP_PKEY_eq(x->message->signer_key, x->csr->key) == 1)
        return enrol(x);
    self_signed = scep_message_is_self_signed(x->message);
    may_renew = !self_signed && scep_settings_flag(x->issuance, SCEP_SET_RenewalByPKCSReq);
    if (!err)
        err = scep_fail(x->r->pool, UNREADABLE,
                        "the message is signed by another key than the CSR's%s",
                        self_signed || may_renew
                            ? ""
                            : "; if it is a renewal by an older client, SCEPRenewalByPKCSReq on "
                              "takes it as one");
    return may_renew ? renew(x) : scep_refuse(x, err->code, err->detail);
}

/* RFC 8894 3.3.3: the transactionID and who signed say which request is meant; what is inside does
 * not matter and is not even decrypted. */
static int poll_outcome(const scep_exchange *x)
{
    scep_wire_poll request = { .endpoint = x->endpoint,
                               .transaction_id = x->message->transaction_id,
                               .peer = x->r->useragent_ip };
    unsigned char hash[SCEP_KEY_HASH];
    const scep_err *err = scep_spki_hash(hash, x->message->signer->spki, x->r->pool);

    if (err)
        return scep_refuse(x, err->code, err->detail);
    request.key_hash = (scep_bytes){ hash, sizeof(hash) };
    return ask(x, scep_wire_put_poll(SCEP_VERB_POLL, &request, x->r->pool));
}

/* Nothing is decrypted for a service that is off (S-26, D-17). */
static const scep_err *put_search(scep_bytes *frame, const scep_exchange *x)
{
    scep_setting which =
        x->message->message_type == SCEP_GET_CRL ? SCEP_SET_GetCRL : SCEP_SET_GetCert;
    scep_wire_find request = { .endpoint = x->endpoint,
                               .message_type = (uint32_t)x->message->message_type,
                               .transaction_id = x->message->transaction_id,
                               .peer = x->r->useragent_ip };
    apr_pool_t *p = x->r->pool;
    scep_reference wanted;
    scep_bytes plain;

    if (!scep_settings_flag(x->issuance, which))
        return scep_fail(p, BAD_REQUEST,
                         "messageType %d asks for a service that is off; SCEP%s on "
                         "offers it",
                         x->message->message_type, scep_setting_describe(which)->name);
    SCEP_TRY(check_answerable(x));
    SCEP_TRY(scep_ra_decrypt(&plain, &x->identity->ra, x->message, p));
    SCEP_TRY(scep_reference_serial(&wanted, plain, p));
    request.issuer = wanted.issuer_der;
    request.serial = wanted.serial;
    request.signer = x->message->signer->der;
    *frame = scep_wire_put_find(SCEP_VERB_FIND, &request, p);
    return NULL;
}

static int search(const scep_exchange *x)
{
    scep_bytes frame;
    const scep_err *err = put_search(&frame, x);

    return err ? scep_refuse(x, err->code, err->detail) : ask(x, frame);
}

/* Whatever is not named here is refused (S-01). */
static int serve(scep_exchange *x)
{
    switch (x->message->message_type) {
    case SCEP_PKCS_REQ:
        return pkcs_req(x);
    case SCEP_RENEWAL_REQ:
        return renew(x);
    case SCEP_CERT_POLL:
        return poll_outcome(x);
    case SCEP_GET_CERT:
    case SCEP_GET_CRL:
        return search(x);
    default:
        return scep_refuse(x, SCEP_BAD_REQUEST,
                           apr_psprintf(x->r->pool,
                                        "messageType %d is not served; 17, 19, 20, 21 and 22 are",
                                        x->message->message_type));
    }
}

/* One that was taken apart by what several endpoints accept is held to the rules of its own. */
static const scep_err *open_again(scep_exchange *x, scep_bytes der, const scep_accept *before)
{
    scep_accept accept = scep_accepted(x->section, x->issuance);
    const scep_err *wrong;
    scep_message *again;

    if (accept.minimum_hash_bits == before->minimum_hash_bits && accept.legacy == before->legacy)
        return NULL;
    wrong = scep_message_open(&again, der, &accept, x->r->pool);
    if (again)
        x->message = again;
    return wrong;
}

static int serve_message(scep_exchange *x, scep_bytes der, const apr_array_header_t *served)
{
    scep_accept accept = widest(x, served);
    const scep_err *err, *wrong;

    wrong = scep_message_open(&x->message, der, &accept, x->r->pool);
    if (!x->message)
        return scep_refuse(x, wrong->code, wrong->detail);
    err = scep_find_addressee(x, served);
    if (err)
        return scep_refuse(x, err->code, err->detail);
    if (!wrong)
        wrong = open_again(x, der, &accept);
    return wrong ? scep_refuse(x, wrong->code, wrong->detail) : serve(x);
}

/* A place is taken when the body is here: whoever sends it slowly, or not at all, has none. */
int scep_pki_operation(request_rec *r)
{
    const apr_array_header_t *served = scep_endpoints_served(r);
    scep_exchange x = { .r = r,
                        .section = scep_request_settings(r),
                        .endpoint = APR_ARRAY_IDX(served, 0, const char *) };
    const scep_err *err;
    scep_bytes der;
    int status;
    bool mine;

    scep_no_store(r);
    if (scep_places_are_full(r))
        return scep_turn_away(&x);
    x.issuance = scep_issuance_of(&x, x.endpoint);
    err = scep_receive(&der, &status, &x);
    if (err)
        return scep_refuse(&x, err->code, err->detail);
    if (status != OK)
        return status;
    if (!scep_place_take(&mine, r, SCEP_PLACE_OPERATION))
        return scep_turn_away(&x);
    scep_seat_take(r);
    status = serve_message(&x, der, served);
    scep_place_give(r);
    return status;
}
