/* What the suites about keys in tokens share: an RA with its keys there, and a request to it. */
#ifndef TOKEN_SUITE_H
#define TOKEN_SUITE_H

#include "suite.h"
#include "token_room.h"

#include "key.h"

#include <apr_strings.h>

static const scep_accept default_accept = { .minimum_hash_bits = 160 };

/* @param pin the file of the folder where it stands, or NULL */
static const char *uri(const char *what, const char *module, const char *pin)
{
    return apr_psprintf(p, "pkcs11:%s?module-path=%s%s%s%s%s", what, module,
                        pin ? "&pin-source=file:" : "", pin ? token_folder : "", pin ? "/" : "",
                        pin ? pin : "");
}

static scep_ra ra_load(const char *module)
{
    scep_ra ra = fixture_ca_get()->ra;

    assert_ok(scep_key_load(&ra.sign.key, uri("token=RA;object=sign", module, "pin"), p));
    assert_ok(scep_key_load(&ra.decrypt.key, uri("token=RA;object=decrypt", module, "pin"), p));
    ra.sign.ctx = ra.decrypt.ctx = NULL;
    assert_ok(scep_ra_check(&ra, fixture_ca_get()->root, p));
    scep_ra_prepare(&ra, p);
    return ra;
}

static const scep_err *enrol(const scep_ra *ra, const fixture_request *r)
{
    scep_message *m;
    scep_bytes plain;
    scep_csr *csr;

    assert_ok(scep_message_open(&m, fixture_build(r, p)->der, &default_accept, p));
    SCEP_TRY(scep_ra_decrypt(&plain, ra, m, p));
    return scep_csr_read(&csr, plain, p);
}

/* main() of such a suite. */
static int run_token_suite(const char *name, void (*add_tests)(TCase *))
{
    int status;

    if (!token_room_begin(&status))
        return status;
    status = run_suite(name, add_tests);
    token_room_end();
    return status;
}

#endif
