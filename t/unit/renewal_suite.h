/* What the suites about renewals share: a device, and what it renews. */
#ifndef RENEWAL_SUITE_H
#define RENEWAL_SUITE_H

#include "office_suite.h"

#define RENEWAL "17"

/* A certificate of "CN=device" for fixture_key(1), issued by a challenge of @a endpoint. */
static X509 *enrolled_at(const char *endpoint, uint32_t key_usage)
{
    const fixture_request r = { .key = fixture_key(1),
                                .key_usage = key_usage,
                                .challenge = office_room_mint(o, endpoint, p) };
    scep_wire_verdict v = office_room_enrol(o, endpoint, "first", fixture_csr(&r, p), p);

    return cert_of(&v);
}

static X509 *enrolled(void)
{
    return enrolled_at("devices", 0);
}

/* A good RenewalReq of @a old for a new key. */
static fixture_request renewal_by(X509 *old)
{
    return (fixture_request){
        .message_type = RENEWAL, .signer = old, .signer_key = fixture_key(1), .key = fixture_key(2)
    };
}

static scep_wire_verdict renew(const char *endpoint, X509 *old)
{
    const fixture_request r = renewal_by(old);

    return office_room_renew(o, endpoint, &r, p);
}

#endif
