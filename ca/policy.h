/*
 * Judgement: facts in, verdict out. Pure: no clock, no store, no key.
 */
#ifndef CA_POLICY_H
#define CA_POLICY_H

#include "conf.h"
#include "csr.h"

/*
 * What a challenge is bound to (S-04), in the canonical text in which it is stored and compared;
 * NULL and "": to nothing. A request with such a challenge has exactly this subject, no alternative
 * name that is not among these, and this template. Where only the subject is bound there may be no
 * alternative name at all; where either is bound, no Microsoft SID outside of them.
 */
typedef struct policy_binding {
    const char *subject;       /* scep_name_line() */
    const char *names;         /* "DNS:a.example", with a newline between any two */
    const char *template_name; /* the template that the request gets */
} policy_binding;

/**
 * Bring what somebody wrote into canonical text.
 * @param out its subject and names
 * @param subject of RFC 4514, most specific part first ("CN=a,O=b", as the audit line shows it),
 *        one value in each part; "": not bound
 * @param names of const char *: "DNS:…", "email:…", "IP:…", "URI:…", at most 64; letter case
 *        counts neither in a DNS name nor behind the @ of an email address
 * @return NULL, or BAD_REQUEST with a sentence for whoever asks
 */
SCEP_MUST const scep_err *policy_bind(policy_binding *out, const char *subject,
                                      const apr_array_header_t *names, apr_pool_t *p);

typedef struct policy_facts {
    int message_type;
    const scep_csr *csr;
    const conf_template *template;
    bool enforce_password; /* EnforcePassword */
    const char *sid_doubt; /* why the directory does not confirm a SID that is claimed; "": it does,
                              NULL: it was not asked. Of a template with allow_sid = directory */
    bool challenge_good;   /* the store says so; meaningless where none was sent */
    policy_binding bound;  /* of a good challenge */
    int minimum_hash_bits; /* MinimumHash */
    bool legacy;           /* LegacyAlgorithms: a CSR may be signed with MD5 */
    const char *approval;  /* Approval of the endpoint: "off", "enrol", "always" */

    /* a renewal: a certificate that renewal_check() has accepted; NULL: none */
    X509 *old;
    bool old_known;                 /* in the inventory, so that @a template is the old one's */
    bool renewal;                   /* Renewal; off: none by 19 either */
    bool renewal_by_pkcs_req;       /* RenewalByPKCSReq */
    bool other_names;               /* DisableRenewalSubjectNameMatch */
    long window_days;               /* RenewalWindow; 0: any time */
    apr_int64_t now, old_not_after; /* seconds */
} policy_facts;

typedef enum policy_outcome { POLICY_GRANT, POLICY_PEND, POLICY_DENY } policy_outcome;

typedef struct policy_verdict {
    policy_outcome outcome;
    scep_code code;      /* where denied; a code with a failInfo */
    const char *reason;  /* for the audit line; static or in @a p */
    bool uses_challenge; /* a challenge is to be used up: where granted or pended, and where its
                            binding was contradicted, so that guessing ends */
} policy_verdict;

/**
 * Deny is the answer unless every rule grants: messageType 19, or 17 with an old certificate
 * (RFC 8894 2.5), or 19 with one where RenewalByPKCSReq is on too; a renewal needs no challenge,
 * has the old certificate's subject, letter case included, and no alternative name or SID that it
 * has not (unless other_names; S-09), and comes within the window; its template is no wider in
 * extended key usage than the old certificate where that is not known: each of the template's
 * purposes is named in it, and a template without any needs a certificate without any; a challenge
 * where it is enforced (one that is sent where none is required is ignored, Q-68), whose binding
 * the request does not contradict (S-04; BAD_SUBJECT); subject or SAN
 * present, without control characters or NUL, at most 32 RDNs, 64 alternative names and 1024 bytes
 * a value; key size of the template; CSR signature digest not below the minimum; Microsoft SID
 * claims (extension 1.3.6.1.4.1.311.25.2 and SAN URI tag:microsoft.com,2022-09-14:sid:) only where
 * the template allows them. What else the request asks for (basicConstraints, key usage, EKU,
 * policies, name constraints) is not copied, so not judged. What is granted waits where the
 * endpoint's or the template's approval says so.
 */
policy_verdict policy_judge(const policy_facts *facts, apr_pool_t *p);

#endif
