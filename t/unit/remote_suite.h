/* What the suites about a CA elsewhere share: an office with one, and what is asked of it. */
#ifndef REMOTE_SUITE_H
#define REMOTE_SUITE_H

#include "remote_room.h"
#include "suite.h"

#include "certs.h"
#include "clock.h"

#include <string.h>

static office *o;
static remote *ca;

static void up(void)
{
    o = office_room_up(p);
    ca = remote_room_up(o, p);
}

static void down(void)
{
    remote_room_down(o, ca);
    scep_clock_set(0);
    office_room_down(o);
}

static scep_bytes csr_with(const char *challenge, int key)
{
    const fixture_request r = { .challenge = challenge, .key = fixture_key(key) };

    return fixture_csr(&r, p);
}

static scep_wire_verdict enrol(const char *id)
{
    return office_room_enrol(o, "open", id, csr_with(NULL, 0), p);
}

static scep_wire_verdict poll(const char *id)
{
    return office_room_poll(o, "open", id, fixture_key(0), p);
}

static void assert_status(scep_wire_verdict v, scep_wire_status status)
{
    ck_assert_msg(v.status == status, "%s: status %u: %s", row, v.status, v.detail);
}

static void assert_issued(scep_wire_verdict v, int key)
{
    X509 *cert;

    assert_status(v, SCEP_STATUS_ISSUED);
    assert_ok(scep_cert_read(&cert, v.certificate, p));
    ck_assert_int_eq(EVP_PKEY_eq(X509_get0_pubkey(cert), fixture_key(key)), 1);
}

/* A minute or more later, for what is due. */
static void later(int seconds)
{
    scep_clock_set(scep_now() + apr_time_from_sec(seconds));
}

static int lines_of(const char *id)
{
    int n = 0;

    for (const char *at = office_room_log(p); (at = strstr(at, id)) != NULL; at++)
        n++;
    return n;
}

/* A clerk writes its line after what it tells of can be seen. */
static void await_lines(const char *id, int n)
{
    for (int i = 0; i < 1500 && lines_of(id) < n; i++)
        apr_sleep(20000);
    ck_assert_int_eq(lines_of(id), n);
}

#endif
