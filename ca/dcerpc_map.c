/* The endpoint mapper: on which TCP port is an interface? ([C706] appendix L, towers; O, ept_map)
 */
#include "dcerpc_int.h"

#include <string.h>

#define TOWERS_MOST 4
#define HANDLE 20 /* bytes of a context handle */
#define FLOOR_UUID 0x0D
#define FLOOR_CONNECTION_ORIENTED 0x0B
#define FLOOR_TCP 0x07
#define FLOOR_IP 0x09

const dcerpc_interface dcerpc_map_interface = { "endpoint mapper",
                                                { 0x08, 0x83, 0xaf, 0xe1, 0x1f, 0x5d, 0xc9, 0x11,
                                                  0x91, 0xa4, 0x08, 0x00, 0x2b, 0x14, 0xa0, 0xfa },
                                                3,
                                                0 };

static const dcerpc_interface ndr_floor = { "NDR",
                                            { 0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f,
                                              0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60 },
                                            2,
                                            0 };

/* ---- asking. A tower is not aligned: its floors follow each other byte by byte ---- */

static void put_short(ndr_out *out, unsigned value)
{
    const unsigned char bytes[] = { (unsigned char)value, (unsigned char)(value >> 8) };

    ndr_put_raw(out, (scep_bytes){ bytes, sizeof(bytes) });
}

static void put_floor(ndr_out *out, unsigned char protocol, scep_bytes left, scep_bytes right)
{
    put_short(out, (unsigned)left.len + 1);
    ndr_put_raw(out, (scep_bytes){ &protocol, 1 });
    ndr_put_raw(out, left);
    put_short(out, (unsigned)right.len);
    ndr_put_raw(out, right);
}

static void put_uuid_floor(ndr_out *out, const dcerpc_interface *interface)
{
    unsigned char left[18];
    const unsigned char minor[] = { (unsigned char)interface->minor,
                                    (unsigned char)(interface->minor >> 8) };

    memcpy(left, interface->uuid, 16);
    left[16] = (unsigned char)interface->major;
    left[17] = (unsigned char)(interface->major >> 8);
    put_floor(out, FLOOR_UUID, (scep_bytes){ left, sizeof(left) },
              (scep_bytes){ minor, sizeof(minor) });
}

scep_bytes dcerpc_map_ask(const dcerpc_interface *interface, apr_pool_t *p)
{
    static const unsigned char zeros[HANDLE];
    const scep_bytes nothing = { NULL, 0 }, two = { zeros, 2 }, four = { zeros, 4 };
    ndr_out tower = { .p = p }, stub = { .p = p };

    put_short(&tower, 5);
    put_uuid_floor(&tower, interface);
    put_uuid_floor(&tower, &ndr_floor);
    put_floor(&tower, FLOOR_CONNECTION_ORIENTED, nothing, two);
    put_floor(&tower, FLOOR_TCP, nothing, two);
    put_floor(&tower, FLOOR_IP, nothing, four);

    ndr_put_u32(&stub, 1); /* a pointer to the object: */
    ndr_put_raw(&stub, (scep_bytes){ zeros, 16 });
    ndr_put_u32(&stub, 2); /* a pointer to the tower: its count, its length, itself */
    ndr_put_u32(&stub, (uint32_t)tower.len);
    ndr_put_bytes(&stub, ndr_view(&tower));
    ndr_align(&stub, 4);
    ndr_put_raw(&stub, (scep_bytes){ zeros, HANDLE });
    ndr_put_u32(&stub, TOWERS_MOST);
    return ndr_view(&stub);
}

/* ---- reading ---- */

static bool get_short(scep_cursor *c, size_t *out)
{
    scep_bytes bytes;

    if (!scep_cursor_take(c, 2, &bytes))
        return false;
    *out = bytes.data[0] | (size_t)bytes.data[1] << 8;
    return true;
}

static bool get_floor(scep_cursor *c, scep_bytes *left, scep_bytes *right)
{
    size_t len;

    return get_short(c, &len) && len > 0 && scep_cursor_take(c, len, left) && get_short(c, &len) &&
           scep_cursor_take(c, len, right);
}

/* The port of a tower that leads to the interface by TCP; 0: it does not. */
static unsigned int port_of(scep_bytes tower, const dcerpc_interface *interface)
{
    scep_cursor c = { tower.data, tower.len };
    scep_bytes left, right;
    size_t floors;
    unsigned int port = 0;

    if (!get_short(&c, &floors))
        return 0;
    for (size_t i = 0; i < floors; i++) {
        if (!get_floor(&c, &left, &right))
            return 0;
        if (i == 0 && (left.len != 19 || left.data[0] != FLOOR_UUID ||
                       memcmp(left.data + 1, interface->uuid, 16) != 0))
            return 0;
        if (left.data[0] == FLOOR_TCP && right.len == 2) /* the one number that is big-endian */
            port = (unsigned)right.data[0] << 8 | right.data[1];
    }
    return port;
}

const scep_err *dcerpc_map_read(unsigned int *port, scep_bytes answer,
                                const dcerpc_interface *interface, apr_pool_t *p)
{
    ndr_in in = ndr_open(answer);
    uint32_t towers, size, offset, count, pointer, length;
    scep_bytes bytes;

    if (!ndr_get_raw(&in, HANDLE, &bytes) || !ndr_get_u32(&in, &towers) ||
        !ndr_get_u32(&in, &size) || !ndr_get_u32(&in, &offset) || !ndr_get_u32(&in, &count) ||
        count > TOWERS_MOST || offset != 0)
        return scep_fail(p, UNAVAILABLE, "the endpoint mapper's answer cannot be read");
    for (uint32_t i = 0; i < count; i++)
        if (!ndr_get_u32(&in, &pointer) || !pointer)
            return scep_fail(p, UNAVAILABLE, "the endpoint mapper's answer cannot be read");
    for (uint32_t i = 0; i < count; i++) {
        /* the count of the structure's array, its length, the array */
        if (!ndr_get_u32(&in, &size) || !ndr_get_u32(&in, &length) || size != length ||
            !ndr_get_raw(&in, length, &bytes))
            return scep_fail(p, UNAVAILABLE, "the endpoint mapper's answer cannot be read");
        *port = port_of(bytes, interface);
        if (*port)
            return NULL;
    }
    return scep_fail(p, UNAVAILABLE,
                     "the endpoint mapper knows no TCP port of the interface %s: is the service "
                     "running?",
                     interface->name);
}
