/* The office: renewals. A worker's word about a signer counts for nothing: what it forwards is
 * verified here, with the CA's own keys and lists. RFC 8894 2.3, 2.5 */
#include "office_int.h"

#include "proof.h"
#include "template.h"

#include <apr_strings.h>

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* The signature is all that authenticates a renewal, so its digest has a floor of its own
 * (RFC 8894 7.9) that not even LegacyAlgorithms lowers. */
static scep_accept accepted(const scep_settings *s)
{
    return (scep_accept){
        .minimum_hash_bits = larger(scep_settings_hash_bits(s, SCEP_SET_MinimumHash),
                                    scep_settings_hash_bits(s, SCEP_SET_RenewalMinimumHash)),
        .legacy = scep_settings_flag(s, SCEP_SET_LegacyAlgorithms),
    };
}

static const scep_err *prove(scep_message **out, const application *a, const scep_accept *accept,
                             const scep_wire_renew *in)
{
    const scep_proof proof = {
        .signer = in->signer,
        .attributes = in->attributes,
        .digest_algorithm = in->digest_algorithm,
        .signature_algorithm = in->signature_algorithm,
        .signature = in->signature,
        .content = in->content,
    };

    SCEP_TRY(scep_proof_check(out, &proof, accept, a->p));
    if (EVP_MD_get_size((*out)->digest) * 8 < accept->minimum_hash_bits)
        return scep_fail(a->p, BAD_ALG,
                         "a renewal is signed with a digest of %d bits; SCEPMinimumHash and "
                         "SCEPRenewalMinimumHash ask for %d",
                         EVP_MD_get_size((*out)->digest) * 8, accept->minimum_hash_bits);
    return NULL;
}

/*
 * Before anything else is judged. A PKCSReq that is no renewal gets the one answer of everything
 * unreadable: whoever signs a captured envelope again with a key of his own would otherwise learn
 * that it opens (S-10, S-15).
 */
static const scep_err *check_kind(const application *a, const scep_message *m)
{
    const scep_settings *s = &a->endpoint->settings;
    bool renewal = scep_settings_flag(s, SCEP_SET_Renewal);

    if (m->message_type == SCEP_RENEWAL_REQ && !renewal)
        return scep_fail(a->p, REFUSED, "a RenewalReq; Renewal is off");
    if (m->message_type == SCEP_RENEWAL_REQ)
        return NULL;
    if (scep_message_is_self_signed(m))
        return scep_fail(a->p, UNREADABLE,
                         "a PKCSReq was signed by another key than the one in its CSR");
    if (!renewal || !scep_settings_flag(s, SCEP_SET_RenewalByPKCSReq))
        return scep_fail(a->p, UNREADABLE,
                         "a PKCSReq was signed by a certificate that is not self-signed; "
                         "SCEPRenewalByPKCSReq or SCEPRenewal is off");
    return NULL;
}

/* An RA of ca.conf that says in no extended key usage what it is (renewal.h knows the others). */
static bool is_ra(const office *o, const EVP_PKEY *key)
{
    for (int i = 0; i < o->authorities->nelts; i++) {
        const identities *now =
            identities_now(APR_ARRAY_IDX(o->authorities, i, office_authority *)->identities);

        for (int n = 0; n < now->n; n++)
            if (EVP_PKEY_eq(X509_get0_pubkey(now->ra[n]->sign.cert), key) == 1 ||
                EVP_PKEY_eq(X509_get0_pubkey(now->ra[n]->decrypt.cert), key) == 1)
                return true;
    }
    return false;
}

/*
 * Whether the certificate stands for a challenge, before anything looks into the envelope: whoever
 * signs with a certificate of his own learns nothing of what is in it, and puts no CMS before
 * OpenSSL beside the CA's key.
 */
static const scep_err *check_signer(application *a, renewal_facts *facts, X509 *signer,
                                    bool unanswerable)
{
    const renewal_trust *trust = &a->endpoint->authority->trust;
    const renewal_place place = office_renewal_place(a->endpoint);

    if (is_ra(a->o, X509_get0_pubkey(signer)))
        return scep_fail(a->p, REFUSED, "the certificate that signed the request is an RA's");
    SCEP_TRY(renewal_check(facts, signer, trust, &place, a->o->store, a->p));
    if (unanswerable)
        return scep_fail(a->p, BAD_ALG,
                         "no answer can be encrypted to the certificate that signed the request: "
                         "its key is not RSA, and there is no challenge to encrypt it with");
    a->old = signer;
    return NULL;
}

/* The envelope names an RA, and the RA an authority: RFC 8894 5.1. */
static const scep_err *open_envelope(scep_bytes *plain, application *a, const scep_message *m)
{
    const office_view view = office_view_of(a->endpoint);
    int own = view.own->n, all = own + (view.next ? view.next->n : 0);
    const scep_ra **list = apr_palloc(a->p, (size_t)all * sizeof(*list));
    const scep_ra *picked;

    for (int i = 0; i < all; i++)
        list[i] = i < own ? view.own->ra[i] : view.next->ra[i - own];
    picked = scep_ra_pick(list, all, m);
    a->authority = a->endpoint->authority;
    for (int i = own; i < all; i++)
        if (list[i] == picked)
            a->authority = a->endpoint->authority->next;
    return scep_ra_decrypt(plain, picked ? picked : list[0], m, a->p);
}

/* The old certificate's own template where it is known and still there; else by what the old
 * certificate may do, not by what the request asks for. */
static const scep_err *find_template(application *a, const renewal_facts *facts)
{
    if (facts->template_name)
        a->template = conf_template_find(a->authority->conf, facts->template_name);
    a->old_known = a->template != NULL;
    if (!a->template)
        a->template = template_pick(a->authority->conf, &a->endpoint->settings, facts->key_usage);
    return a->template ? NULL : scep_fail(a->p, CONFIG, "the endpoint's template is not there");
}

static const scep_err *renew(application *a, const scep_wire_renew *in)
{
    unsigned char *hash = apr_palloc(a->p, SCEP_KEY_HASH);
    scep_accept accept;
    scep_message *m;
    renewal_facts facts;
    scep_bytes csr;
    X509 *signer;

    SCEP_TRY(office_endpoint_wanted(&a->endpoint, a->o, in->endpoint, a->p));
    SCEP_TRY(office_authority_wanted(&a->authority, a->endpoint, in->authority, a->p));
    accept = accepted(&a->endpoint->settings);
    SCEP_TRY(prove(&m, a, &accept, in));
    a->transaction_id = m->transaction_id;
    a->message_type = m->message_type;
    SCEP_TRY(check_kind(a, m));
    SCEP_TRY(scep_cert_x509(&signer, m->signer, a->p));
    SCEP_TRY(check_signer(a, &facts, signer, in->unanswerable != 0));
    SCEP_TRY(scep_proof_open(m, &accept, a->p));
    SCEP_TRY(open_envelope(&csr, a, m));
    SCEP_TRY(scep_csr_read(&a->csr, csr, a->p));
    SCEP_TRY(find_template(a, &facts));
    a->key_hash = (scep_bytes){ hash, SCEP_KEY_HASH };
    SCEP_TRY(scep_spki_hash(hash, m->signer->spki, a->p));
    return office_apply(a);
}

void office_renew(scep_wire_verdict *out, office *o, const scep_wire_renew *in, apr_time_t deadline,
                  apr_pool_t *p)
{
    application a = {
        .o = o,
        .verb = "renew",
        .endpoint_name = in->endpoint,
        .peer = in->peer,
        .begin = apr_time_now(),
        .deadline = deadline,
        .p = p,
    };
    const scep_err *err = renew(&a, in);

    office_answer(out, &a, err);
}
