/* What the suites about an office share: one for each test, and what it answers. */
#ifndef OFFICE_SUITE_H
#define OFFICE_SUITE_H

#include "office_room.h"
#include "suite.h"

#include "certs.h"
#include "clock.h"

#define DAY 86400

static office *o;

static void up(void)
{
    o = office_room_up(p);
}

static void down(void)
{
    scep_clock_set(0);
    office_room_down(o);
}

/* inline, as not every suite asks for both */
static inline X509 *cert_of(const scep_wire_verdict *v)
{
    X509 *cert;

    ck_assert_msg(v->status == SCEP_STATUS_ISSUED, "%s: %s", row, v->detail);
    ck_assert_str_eq(v->detail, "");
    assert_ok(scep_cert_read(&cert, v->certificate, p));
    return cert;
}

static inline void assert_refused(scep_wire_verdict v, scep_code code)
{
    ck_assert_msg(v.status == SCEP_STATUS_REFUSED, "%s: status %u: %s", row, v.status, v.detail);
    ck_assert_msg(v.code == (uint32_t)code, "%s: %s: %s", row,
                  scep_code_describe((int)v.code)->name, v.detail);
    ck_assert_uint_eq(v.certificate.len, 0);
    ck_assert_uint_eq(v.crl.len, 0);
    ck_assert_str_ne(v.detail, "");
}

#endif
