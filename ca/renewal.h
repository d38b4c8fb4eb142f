/*
 * Whether a certificate may stand for a challenge (RFC 8894 2.3, 2.4; S-08): issued by a key that
 * this authority trusts, a device's and not a CA's, valid now, not revoked. Names and windows are
 * policy's.
 */
#ifndef CA_RENEWAL_H
#define CA_RENEWAL_H

#include "foreign.h"
#include "inventory.h"

/* Whose certificates an authority renews. */
typedef struct renewal_trust {
    STACK_OF(X509) * issuers; /* issuing CAs: its own, its successor's, renewal_ca's */
    foreign *foreign;         /* CRLs, asked of every certificate; one has to count for what is not
                                 in the inventory */
    bool elsewhere;           /* the first issuer revokes by itself: for what it issued and is in
                                 there, too */
} renewal_trust;

/* Where a certificate shall be renewed. */
typedef struct renewal_place {
    const char *endpoint;
    const char *from; /* RenewalFrom: other endpoints, with blanks between; "": none */
} renewal_place;

/** What is known of a certificate that may be renewed. */
typedef struct renewal_facts {
    bool known;                /* in the inventory */
    const char *template_name; /* of the inventory; NULL: not known */
    uint32_t key_usage;        /* KU_… bits of the certificate; 0: it has none */
} renewal_facts;

/**
 * Judge the certificate that signed a renewal. Looks the inventory up in the store. What is in
 * there is renewed where it was issued, or where RenewalFrom names that endpoint; where the
 * inventory does not know it, there is no such rule.
 * @param place NULL: nothing shall be renewed, any endpoint's will do
 * @return NULL, or REFUSED with the reason; UNAVAILABLE: its revocation cannot be known now
 */
SCEP_MUST const scep_err *renewal_check(renewal_facts *out, X509 *old, const renewal_trust *trust,
                                        const renewal_place *place, store *s, apr_pool_t *p);

/** Was @a cert issued by one of @a issuers, by their keys and not by name alone, and is it valid
 *  now? For GetCert and GetCRL too. */
bool renewal_is_issued(X509 *cert, const STACK_OF(X509) * issuers);

#endif
