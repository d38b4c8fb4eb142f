/* DER written from its end to its beginning. */
#include "der.h"

#include <openssl/objects.h>
#include <string.h>

void scep_der_begin(scep_der *d, size_t room, apr_pool_t *p)
{
    unsigned char *first = apr_palloc(p, room);

    *d = (scep_der){ first, first + room, first + room, false };
}

size_t scep_der_mark(const scep_der *d)
{
    return (size_t)(d->end - d->at);
}

void scep_der_put(scep_der *d, scep_bytes bytes)
{
    if ((size_t)(d->at - d->first) < bytes.len) {
        d->full = true;
        return;
    }
    d->at -= bytes.len;
    if (bytes.len)
        memcpy(d->at, bytes.data, bytes.len);
}

/* X.690 10.1: the shortest form. */
void scep_der_wrap(scep_der *d, uint8_t tag, size_t mark)
{
    unsigned char header[2 + sizeof(size_t)];
    size_t len = scep_der_mark(d) - mark;
    unsigned char *to = header + sizeof(header);
    int width = 0;

    for (size_t rest = len; rest && len >= 0x80; rest >>= 8, width++)
        *--to = (unsigned char)rest;
    *--to = (unsigned char)(width ? 0x80 | width : (int)len);
    *--to = tag;
    scep_der_put(d, (scep_bytes){ to, (size_t)(header + sizeof(header) - to) });
}

void scep_der_element(scep_der *d, uint8_t tag, scep_bytes content)
{
    size_t mark = scep_der_mark(d);

    scep_der_put(d, content);
    scep_der_wrap(d, tag, mark);
}

void scep_der_object(scep_der *d, const ASN1_OBJECT *oid)
{
    scep_der_element(d, SCEP_DER_OBJECT, (scep_bytes){ OBJ_get0_data(oid), OBJ_length(oid) });
}

void scep_der_small(scep_der *d, uint8_t number)
{
    scep_der_element(d, SCEP_DER_INTEGER, (scep_bytes){ &number, 1 });
}

void scep_der_null(scep_der *d)
{
    scep_der_element(d, SCEP_DER_NULL, (scep_bytes){ NULL, 0 });
}

const scep_err *scep_der_end(scep_bytes *out, const scep_der *d, apr_pool_t *p)
{
    if (d->full)
        return scep_fail(p, INTERNAL, "a structure is larger than the room for it");
    *out = (scep_bytes){ d->at, scep_der_mark(d) };
    return NULL;
}
