/* The PDUs of connection-oriented DCE/RPC. */
#include "dcerpc_pdu.h"

#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* The least that any side has to take ([C706] 12.6.3.1: MustRecvFragSize). */
#define FRAGMENT_LEAST 1432
#define PDU_MOST 0xFFFF
/* Sealed data is padded to this, which suits every cipher of Kerberos. */
#define SEALED_UNIT 16

static const dcerpc_interface ndr_syntax = { "NDR",
                                             { 0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f,
                                               0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60 },
                                             2,
                                             0 };

/* ---- writing ---- */

static void put_byte(ndr_out *out, unsigned value)
{
    const unsigned char byte = (unsigned char)value;

    ndr_put_raw(out, (scep_bytes){ &byte, 1 });
}

/* The two lengths are not known yet. */
static void put_header(ndr_out *out, dcerpc_type type, int flags, uint32_t call_id)
{
    static const unsigned char little_endian[] = { 0x10, 0, 0, 0 };

    put_byte(out, 5);
    put_byte(out, 0);
    put_byte(out, type);
    put_byte(out, (unsigned)flags);
    ndr_put_raw(out, (scep_bytes){ little_endian, sizeof(little_endian) });
    ndr_put_u16(out, 0);
    ndr_put_u16(out, 0);
    ndr_put_u32(out, call_id);
}

static void put_lengths(ndr_out *out, size_t all, size_t token)
{
    out->data[8] = (unsigned char)all;
    out->data[9] = (unsigned char)(all >> 8);
    out->data[10] = (unsigned char)token;
    out->data[11] = (unsigned char)(token >> 8);
}

static void put_syntax(ndr_out *out, const dcerpc_interface *interface)
{
    ndr_put_raw(out, (scep_bytes){ interface->uuid, sizeof(interface->uuid) });
    ndr_put_u16(out, interface->major);
    ndr_put_u16(out, interface->minor);
}

static void put_trailer(ndr_out *out, const dcerpc_verifier *verifier, size_t padding)
{
    put_byte(out, verifier->type);
    put_byte(out, verifier->level);
    put_byte(out, (unsigned)padding);
    put_byte(out, 0);
    ndr_put_u32(out, verifier->context);
}

const scep_err *dcerpc_put_bind(scep_bytes *out, dcerpc_type type, uint32_t call_id,
                                const dcerpc_interface *interface, const dcerpc_verifier *verifier,
                                scep_bytes token, apr_pool_t *p)
{
    ndr_out pdu = { .p = p };

    put_header(&pdu, type, DCERPC_FIRST | DCERPC_LAST | (verifier->type ? DCERPC_SIGNS_HEADERS : 0),
               call_id);
    ndr_put_u16(&pdu, DCERPC_FRAGMENT_MOST);
    ndr_put_u16(&pdu, DCERPC_FRAGMENT_MOST);
    ndr_put_u32(&pdu, 0); /* no association to join */
    ndr_put_u32(&pdu, 1); /* one context: */
    ndr_put_u16(&pdu, 0); /* its number */
    ndr_put_u16(&pdu, 1); /* one transfer syntax */
    put_syntax(&pdu, interface);
    put_syntax(&pdu, &ndr_syntax);
    if (verifier->type) {
        put_trailer(&pdu, verifier, 0);
        ndr_put_raw(&pdu, token);
    }
    if (pdu.len > PDU_MOST)
        return scep_fail(
            p, UNAVAILABLE,
            "a ticket of %lu bytes does not fit into a bind: the account is in too many "
            "groups",
            (unsigned long)token.len);
    put_lengths(&pdu, pdu.len, token.len);
    *out = ndr_view(&pdu);
    return NULL;
}

dcerpc_fragment dcerpc_put_request(uint32_t call_id, int flags, uint16_t opnum, size_t hint,
                                   scep_bytes stub, const dcerpc_verifier *verifier, apr_pool_t *p)
{
    dcerpc_fragment fragment = { .pdu = { .p = p } };
    ndr_out *pdu = &fragment.pdu;
    size_t padding = 0;

    put_header(pdu, DCERPC_REQUEST, flags, call_id);
    ndr_put_u32(pdu, (uint32_t)hint);
    ndr_put_u16(pdu, 0);
    ndr_put_u16(pdu, opnum);
    ndr_put_raw(pdu, stub);
    if (verifier->type) {
        static const unsigned char zeros[SEALED_UNIT];

        padding = (SEALED_UNIT - stub.len % SEALED_UNIT) % SEALED_UNIT;
        ndr_put_raw(pdu, (scep_bytes){ zeros, padding });
    }
    fragment.stub_end = pdu->len;
    if (verifier->type)
        put_trailer(pdu, verifier, padding);
    dcerpc_put_lengths(&fragment, 0);
    return fragment;
}

void dcerpc_put_lengths(dcerpc_fragment *fragment, size_t token)
{
    put_lengths(&fragment->pdu, fragment->pdu.len + token, token);
}

/* ---- reading ---- */

static unsigned u16_at(scep_bytes b, size_t at)
{
    return b.data[at] | (unsigned)b.data[at + 1] << 8;
}

const scep_err *dcerpc_get_length(size_t *out, scep_bytes header, apr_pool_t *p)
{
    /* Minor version 1 is what some servers answer with; its PDUs are the same. */
    if (header.len < DCERPC_HEADER || header.data[0] != 5 || header.data[1] > 1)
        return scep_fail(p, UNAVAILABLE, "what answers there does not speak DCE/RPC 5.0");
    if (header.data[4] != 0x10)
        return scep_fail(p, UNAVAILABLE, "the answer is not little-endian");
    *out = u16_at(header, 8);
    if (*out < DCERPC_HEADER || *out > DCERPC_FRAGMENT_MOST)
        return scep_fail(p, UNAVAILABLE, "a PDU of %d bytes; %d to %d are accepted", (int)*out,
                         DCERPC_HEADER, DCERPC_FRAGMENT_MOST);
    return NULL;
}

/* sec_trailer and token are the last bytes of a PDU. */
static bool split(dcerpc_pdu *out)
{
    size_t token = u16_at(out->all, 10), end = out->all.len;
    const unsigned char *trailer;

    if (token == 0)
        return true;
    if (token > end - DCERPC_HEADER || end - DCERPC_HEADER - token < DCERPC_TRAILER)
        return false;
    end -= token + DCERPC_TRAILER;
    trailer = out->all.data + end;
    out->token = (scep_bytes){ trailer + DCERPC_TRAILER, token };
    out->verifier =
        (dcerpc_verifier){ trailer[0], trailer[1],
                           trailer[4] | (uint32_t)trailer[5] << 8 | (uint32_t)trailer[6] << 16 |
                               (uint32_t)trailer[7] << 24 };
    out->padding = trailer[2];
    out->body.len = end - DCERPC_HEADER;
    return out->verifier.type != 0 && out->padding <= out->body.len;
}

const scep_err *dcerpc_get(dcerpc_pdu *out, scep_bytes all, apr_pool_t *p)
{
    size_t length;

    SCEP_TRY(dcerpc_get_length(&length, all, p));
    if (length != all.len)
        return scep_fail(p, UNAVAILABLE, "a PDU of %lu bytes states %lu", (unsigned long)all.len,
                         (unsigned long)length);
    *out = (dcerpc_pdu){ .type = all.data[2],
                         .flags = all.data[3],
                         .call_id = u16_at(all, 12) | (uint32_t)u16_at(all, 14) << 16,
                         .all = all,
                         .body = { all.data + DCERPC_HEADER, all.len - DCERPC_HEADER } };
    if (!split(out))
        return scep_fail(p, UNAVAILABLE, "a PDU whose token is not within it");
    return NULL;
}

static const char *rejection(unsigned result, unsigned reason)
{
    static const char *const reasons[] = {
        "for no stated reason",
        "as the interface is not there: is this the CA's port?",
        "as it does not speak NDR",
        "as it has too many of them",
    };

    return result == 2 && reason < COUNT(reasons) ? reasons[reason] : "for its own reasons";
}

const scep_err *dcerpc_get_accepted(size_t *send_most, const dcerpc_pdu *pdu, apr_pool_t *p)
{
    uint16_t sends, takes, len, result, reason;
    ndr_in in = ndr_open(pdu->body);
    scep_bytes address, syntax;
    uint32_t group, count;

    if (!ndr_get_u16(&in, &sends) || !ndr_get_u16(&in, &takes) || !ndr_get_u32(&in, &group) ||
        !ndr_get_u16(&in, &len) || !ndr_get_raw(&in, len, &address) || !ndr_get_u32(&in, &count) ||
        !ndr_get_u16(&in, &result) || !ndr_get_u16(&in, &reason) ||
        !ndr_get_raw(&in, sizeof(ndr_syntax.uuid), &syntax))
        return scep_fail(p, UNAVAILABLE, "the answer to a bind is cut short");
    if ((count & 0xFF) != 1) /* the other three bytes are reserved */
        return scep_fail(p, UNAVAILABLE, "%d results for one presentation context",
                         (int)(count & 0xFF));
    if (result != 0)
        return scep_fail(p, UNAVAILABLE, "the server rejects the presentation context %s",
                         rejection(result, reason));
    if (memcmp(syntax.data, ndr_syntax.uuid, syntax.len) != 0)
        return scep_fail(p, UNAVAILABLE, "the server chose a transfer syntax that was not offered");
    if (takes < FRAGMENT_LEAST)
        return scep_fail(p, UNAVAILABLE, "the server takes fragments of %d bytes, less than %d",
                         takes, FRAGMENT_LEAST);
    *send_most = takes < DCERPC_FRAGMENT_MOST ? takes : DCERPC_FRAGMENT_MOST;
    return NULL;
}

const scep_err *dcerpc_get_response(scep_bytes *stub, const dcerpc_pdu *pdu, apr_pool_t *p)
{
    ndr_in in = ndr_open(pdu->body);
    uint16_t context, rest;
    uint32_t hint;

    /* the hint is nothing to rely on: what has come is counted */
    if (!ndr_get_u32(&in, &hint) || !ndr_get_u16(&in, &context) || !ndr_get_u16(&in, &rest) ||
        context != 0 || pdu->padding > in.left.left)
        return scep_fail(p, UNAVAILABLE, "a response is not of the context that was called");
    *stub = (scep_bytes){ in.left.at, in.left.left };
    return NULL;
}

/* ---- what a refusal means ---- */

typedef struct meaning {
    uint32_t code;
    const char *text;
} meaning;

static const char *look_up(const meaning *table, size_t count, uint32_t code)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].code == code)
            return table[i].text;
    return NULL;
}

static const char *nak_text(uint32_t reason)
{
    static const meaning table[] = {
        { 1, "it is too busy" },
        { 2, "it has no room for more clients" },
        { 4, "it does not speak this version of the protocol" },
        { 8, "it does not know this kind of authentication" },
        { 9, "it does not believe the ticket: are the service's principal and the clocks right?" },
    };
    const char *text = look_up(table, COUNT(table), reason);

    return text ? text : "it gives no reason";
}

/* [C706] appendix E, [MS-ERREF] 2.2, [MS-RPCE] 3. */
static const char *fault_text(uint32_t status)
{
    static const meaning table[] = {
        { 0x00000005, "access denied: may the account use this interface?" },
        { 0x000006ba, "the service behind it is not available" },
        { 0x000006bb, "it is too busy" },
        { 0x000006d1, "it has no such procedure" },
        { 0x000006f7, "it cannot read the parameters" },
        { 0x00000721, "it cannot open what was sealed" },
        { 0x1c010002, "it has no such procedure" },
        { 0x1c010003, "it has no such interface" },
        { 0x1c010014, "it is too busy" },
        { 0x1c01000b, "it sees the protocol broken" },
        { 0x1c00001b, "it has no memory left" },
    };
    const char *text = look_up(table, COUNT(table), status);

    return text ? text : "its meaning is not known here";
}

const scep_err *dcerpc_get_refusal(const dcerpc_pdu *pdu, apr_pool_t *p)
{
    ndr_in in = ndr_open(pdu->body);
    uint32_t hint, rest, status = 0;
    uint16_t reason = 0;

    switch (pdu->type) {
    case DCERPC_BIND_NAK:
        if (!ndr_get_u16(&in, &reason))
            break;
        return scep_fail(p, UNAVAILABLE, "the server refuses to talk (reason %d): %s", reason,
                         nak_text(reason));
    case DCERPC_FAULT:
        if (!ndr_get_u32(&in, &hint) || !ndr_get_u32(&in, &rest) || !ndr_get_u32(&in, &status))
            break;
        return scep_fail(p, UNAVAILABLE, "the server answers with fault 0x%08x: %s", status,
                         fault_text(status));
    default:
        break;
    }
    return scep_fail(p, UNAVAILABLE, "a PDU of type %d, or one of another call, was not expected",
                     pdu->type);
}
