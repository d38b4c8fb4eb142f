/*
 * The operations that say what stands here. RFC 8894 3.5, 4.2, 4.7. They carry nothing, need no
 * scep-ca once a worker knows its endpoints, and are answered with bytes that were made before.
 */
#include "mod_scep.h"

#include <string.h>

static int nothing_known(request_rec *r, const char *endpoint)
{
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "SCEP0003: NDES-7 nothing is known of the endpoint '%s': scep-ca did not "
                  "accept the present configuration; see its lines at the last restart",
                  endpoint);
    return scep_try_later(r);
}

/* What a client may use is a matter of the configuration: it is told even where scep-ca has never
 * accepted that one. */
int scep_get_ca_caps(request_rec *r)
{
    const char *endpoint = scep_identified_endpoint(r);
    const scep_known *known = scep_known_public(r, endpoint);
    const scep_settings *section = scep_request_settings(r);
    const scep_settings *issuance = scep_endpoint_settings(endpoint);
    const char *caps;

    if (known) {
        caps = known->caps;
    } else {
        scep_accept accept = scep_accepted(section, issuance);
        bool renewal = scep_settings_flag(issuance ? issuance : section, SCEP_SET_Renewal);

        caps = scep_caps_text(&accept, renewal, false, r->pool);
    }
    return scep_send(r, HTTP_OK, "text/plain", scep_bytes_of(caps));
}

int scep_get_ca_cert(request_rec *r)
{
    const char *how = scep_settings_text(scep_request_settings(r), SCEP_SET_CACert);
    const char *endpoint = scep_identified_endpoint(r);
    const scep_known *known = scep_known_public(r, endpoint);

    if (!known)
        return nothing_known(r, endpoint);
    if (!strcmp(how, "ca"))
        return scep_send(r, HTTP_OK, "application/x-x509-ca-cert", known->ca);
    return scep_send(r, HTTP_OK, "application/x-x509-ca-ra-cert",
                     strcmp(how, "chain") ? known->full : known->chain);
}

/* No operation of the RFC: certmonger asks for it, and other servers answer. A client that
 * asks for the chain gets it where GetCACert gives the CA's certificate alone, too. */
int scep_get_ca_cert_chain(request_rec *r)
{
    const char *how = scep_settings_text(scep_request_settings(r), SCEP_SET_CACert);
    const char *endpoint = scep_identified_endpoint(r);
    const scep_known *known = scep_known_public(r, endpoint);

    if (!known)
        return nothing_known(r, endpoint);
    return scep_send(r, HTTP_OK, "application/x-x509-ca-ra-cert-chain",
                     strcmp(how, "chain") ? known->full : known->chain);
}

/* RFC 8894 4.7. A client may ask from time to time, so that "not yet" is no fault. */
static int no_next(request_rec *r, const char *endpoint)
{
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "SCEP0009: no next CA is prepared for the endpoint '%s': 'next' in its section "
                  "of ca.conf names one",
                  endpoint);
    return scep_send(r, HTTP_NOT_FOUND, "text/plain", scep_bytes_of("no next CA\n"));
}

int scep_get_next_ca_cert(request_rec *r)
{
    const char *endpoint = scep_identified_endpoint(r);
    const scep_known *known = scep_known_public(r, endpoint);
    const scep_err *err;
    scep_bytes body;

    if (!known)
        return nothing_known(r, endpoint);
    if (!known->next)
        return no_next(r, endpoint);
    err = scep_known_keys(&known, r, endpoint);
    if (!err && !known->next)
        return no_next(r, endpoint);
    if (!err)
        err = scep_known_next(&body, known, scep_own_digest(scep_request_settings(r)), r->pool);
    if (!err)
        return scep_send(r, HTTP_OK, "application/x-x509-next-ca-cert", body);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "SCEP0010: %sthe certificates of the next CA cannot be signed (endpoint %s): %s; "
                  "see that scep-ca runs and that the RA's signing key is usable (scep-ca check)",
                  scep_event(r, err->code), endpoint, err->detail);
    return err->code == SCEP_UNAVAILABLE ? scep_try_later(r) : HTTP_INTERNAL_SERVER_ERROR;
}
