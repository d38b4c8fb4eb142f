/* A certificate named by issuer and serial number. RFC 5652 10.2.4. */
#include "reference.h"

#include <apr_strings.h>

enum { INTEGER = 0x02, SEQUENCE = 0x30, SERIAL_MOST = 64 };

/* One element with this tag, whole: tag, length and contents. */
static bool take(scep_cursor *c, uint8_t expected, scep_bytes *whole)
{
    const unsigned char *begin = c->at;
    scep_bytes content;
    uint8_t tag;

    if (!scep_cursor_der(c, &tag, &content) || tag != expected)
        return false;
    *whole = (scep_bytes){ begin, (size_t)(c->at - begin) };
    return true;
}

/* @return NULL: no INTEGER */
static const char *serial_text(scep_bytes der, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    ASN1_INTEGER *serial = scep_ASN1_INTEGER(p, d2i_ASN1_INTEGER(NULL, &at, (long)der.len));
    const char *sign;

    if (!serial || at != der.data + der.len || ASN1_STRING_length(serial) > SERIAL_MOST)
        return NULL;
    sign = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER ? "-" : "";
    return apr_pstrcat(p, sign,
                       scep_hex(p, (scep_bytes){ ASN1_STRING_get0_data(serial),
                                                 (size_t)ASN1_STRING_length(serial) }),
                       NULL);
}

static bool read_reference(scep_reference *out, scep_bytes der, apr_pool_t *p)
{
    scep_cursor c = { der.data, der.len };
    const unsigned char *at;
    scep_bytes content, serial;
    uint8_t tag;

    if (!scep_cursor_der(&c, &tag, &content) || tag != SEQUENCE || c.left)
        return false;
    c = (scep_cursor){ content.data, content.len };
    if (!take(&c, SEQUENCE, &out->issuer_der) || !take(&c, INTEGER, &serial) || c.left)
        return false;
    at = out->issuer_der.data;
    out->issuer = scep_X509_NAME(p, d2i_X509_NAME(NULL, &at, (long)out->issuer_der.len));
    if (!out->issuer || at != out->issuer_der.data + out->issuer_der.len)
        return false;
    out->serial = serial_text(serial, p);
    return out->serial;
}

const scep_err *scep_reference_serial(scep_reference *out, scep_bytes der, apr_pool_t *p)
{
    if (!read_reference(out, der, p))
        return scep_fail(p, UNREADABLE,
                         "the envelope does not hold one IssuerAndSerialNumber, which GetCert and "
                         "GetCRL send");
    return NULL;
}
