/* The PDUs of DCE/RPC and the endpoint mapper's answers, against bytes made by hand. */
#include "suite.h"

#include "rpc_room.h"

#include <apr_strings.h>
#include <string.h>

static const dcerpc_interface some = {
    "some", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }, 7, 0
};
static const dcerpc_verifier none = { 0, 0, 0 };
static const dcerpc_verifier kerberos = { 16, 6, 1 };

/* ---- writing ---- */

START_TEST(a_bind_is_written_as_it_should_be)
{
    static const unsigned char wanted[] = {
        5,    0,    11,   7,    0x10, 0,    0,    0,    83, 0,  3,  0,
        9,    0,    0,    0,                         /* header */
        0xD0, 0x16, 0xD0, 0x16, 0,    0,    0,    0, /* fragments, association */
        1,    0,    0,    0,    0,    0,    1,    0, /* one context, one syntax */
        1,    2,    3,    4,    5,    6,    7,    8,    9,  10, 11, 12,
        13,   14,   15,   16,                                          /* the interface */
        7,    0,    0,    0,                                           /* its version */
        0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11,                /* NDR */
        0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60, 2,  0,  0,  0, /* its version */
        16,   6,    0,    0,    1,    0,    0,    0,                   /* Kerberos, privacy */
        't',  'o',  'k'
    };
    scep_bytes out;

    row = "bind";
    assert_ok(dcerpc_put_bind(&out, DCERPC_BIND, 9, &some, &kerberos, scep_bytes_of("tok"), p));
    assert_bytes(out, ((scep_bytes){ wanted, sizeof(wanted) }));
    assert_ok(dcerpc_put_bind(&out, DCERPC_BIND, 9, &some, &none, (scep_bytes){ NULL, 0 }, p));
    ck_assert_uint_eq(out.len, sizeof(wanted) - 11);
    ck_assert_uint_eq(out.data[3], 3); /* nothing to sign */
}
END_TEST

START_TEST(a_ticket_that_does_not_fit_is_said)
{
    scep_bytes out, large = { apr_pcalloc(p, 70000), 65455 };

    row = "the largest";
    assert_ok(dcerpc_put_bind(&out, DCERPC_BIND, 1, &some, &kerberos, large, p));
    large.len++;
    assert_says("too many groups",
                dcerpc_put_bind(&out, DCERPC_BIND, 1, &some, &kerberos, large, p));
}
END_TEST

START_TEST(a_fragment_is_padded_and_its_lengths_are_put_last)
{
    static const unsigned char wanted[] = { 5,   0,   0,   1, 0x10, 0, 0,  0, 54, 0, 6, 0,
                                            9,   0,   0,   0, 99,   0, 0,  0, 0,  0, 4, 0,
                                            'a', 'b', 'c', 0, 0,    0, 0,  0, 0,  0, 0, 0,
                                            0,   0,   0,   0, 16,   6, 13, 0, 1,  0, 0, 0 };
    dcerpc_fragment fragment =
        dcerpc_put_request(9, DCERPC_FIRST, 4, 99, scep_bytes_of("abc"), &kerberos, p);

    row = "fragment";
    ck_assert_uint_eq(fragment.stub_end, 40);
    dcerpc_put_lengths(&fragment, 6);
    assert_bytes(ndr_view(&fragment.pdu), ((scep_bytes){ wanted, sizeof(wanted) }));
    fragment =
        dcerpc_put_request(9, DCERPC_LAST, 4, 16, scep_bytes_of("0123456789abcdef"), &kerberos, p);
    ck_assert_uint_eq(fragment.stub_end, 40); /* whole units get no padding */
    ck_assert_uint_eq(fragment.pdu.data[42], 0);
    fragment = dcerpc_put_request(9, DCERPC_LAST, 4, 3, scep_bytes_of("abc"), &none, p);
    ck_assert_uint_eq(fragment.pdu.len, 27);
    ck_assert_uint_eq(fragment.pdu.data[8], 27);
}
END_TEST

/* ---- reading ---- */

START_TEST(a_header_that_lies_is_no_pdu)
{
    static const struct {
        const char *name;
        int at, value;
        const char *says; /* NULL: accepted */
    } rows[] = {
        { "as it is", 0, 5, NULL },
        { "minor version 1", 1, 1, NULL },
        { "version 4", 0, 4, "does not speak DCE/RPC" },
        { "minor version 2", 1, 2, "does not speak DCE/RPC" },
        { "HTTP", 0, 'H', "does not speak DCE/RPC" },
        { "big-endian", 4, 0x00, "little-endian" },
        { "EBCDIC", 4, 0x11, "little-endian" },
        { "shorter than a header", 8, 15, "15 bytes" },
        { "longer than it is", 8, 64, "states 64" },
        { "longer than was offered", 9, 0x17, "5840 are accepted" },
        { "a token longer than the PDU", 11, 1, "not within it" },
        { "a token that leaves no room for its trailer", 10, 40, "not within it" },
        { "a token without a kind", 10, 16, "not within it" },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        text body = response("0123456789abcdef0123456789abcdef"), t;
        dcerpc_pdu pdu;

        row = rows[i].name;
        memset(body.data + 16, 0, 8); /* where a trailer of a token of 16 would be */
        t = pdu_of(DCERPC_RESPONSE, 3, 1, &body);
        t.data[rows[i].at] = (unsigned char)rows[i].value;
        if (rows[i].says)
            assert_says(rows[i].says, dcerpc_get(&pdu, view(&t), p));
        else
            assert_ok(dcerpc_get(&pdu, view(&t), p));
    }
}
END_TEST

START_TEST(a_token_and_its_padding_are_cut_off)
{
    static const unsigned char trailer[] = { 9, 6, 5, 0, 0x44, 0x33, 0x22, 0x11 };
    text body = response("stub....."), t;
    dcerpc_pdu pdu;
    scep_bytes stub;

    add(&body, trailer, sizeof(trailer));
    add(&body, "token", 5);
    t = pdu_of(DCERPC_RESPONSE, 3, 0x01020304, &body);
    t.data[10] = 5;
    row = "token";
    assert_ok(dcerpc_get(&pdu, view(&t), p));
    ck_assert_uint_eq(pdu.call_id, 0x01020304);
    ck_assert_uint_eq(pdu.verifier.type, 9);
    ck_assert_uint_eq(pdu.verifier.level, 6);
    ck_assert_uint_eq(pdu.verifier.context, 0x11223344);
    ck_assert_uint_eq(pdu.padding, 5);
    assert_bytes(pdu.token, scep_bytes_of("token"));
    assert_ok(dcerpc_get_response(&stub, &pdu, p));
    assert_bytes(stub, scep_bytes_of("stub....."));
    t.data[t.len - 5 - 8 + 2] = 10; /* more padding than stub */
    assert_ok(dcerpc_get(&pdu, view(&t), p));
    assert_says("not of the context", dcerpc_get_response(&stub, &pdu, p));
    t.data[t.len - 5 - 8 + 2] = 18; /* than body */
    assert_says("not within it", dcerpc_get(&pdu, view(&t), p));
}
END_TEST

START_TEST(only_an_accepted_context_is_accepted)
{
    static const struct {
        const char *name;
        unsigned takes, results, result, reason;
        const char *says;
        size_t send_most;
    } rows[] = {
        { "accepted", 4280, 1, 0, 0, NULL, 4280 },
        { "takes more than we send", 65535, 1, 0, 0, NULL, 5840 },
        { "the least", 1432, 1, 0, 0, NULL, 1432 },
        { "takes too little", 1431, 1, 0, 0, "less than 1432", 0 },
        { "no interface", 4280, 1, 2, 1, "the interface is not there", 0 },
        { "no NDR", 4280, 1, 2, 2, "does not speak NDR", 0 },
        { "for its own reasons", 4280, 1, 2, 77, "for its own reasons", 0 },
        { "rejected by the user", 4280, 1, 1, 1, "for its own reasons", 0 },
        { "no result", 4280, 0, 0, 0, "0 results", 0 },
        { "two results", 4280, 2, 0, 0, "2 results", 0 },
        { "what is reserved does not count", 4280, 0x55667701, 0, 0, NULL, 4280 },
    };

    for (int i = 0; i < ROWS(rows); i++) {
        text body = accepted(rows[i].takes, rows[i].results, rows[i].result, rows[i].reason);
        text t = pdu_of(DCERPC_BIND_ACK, 7, 1, &body);
        size_t send_most = 0;
        dcerpc_pdu pdu;

        row = rows[i].name;
        assert_ok(dcerpc_get(&pdu, view(&t), p));
        if (rows[i].says) {
            assert_says(rows[i].says, dcerpc_get_accepted(&send_most, &pdu, p));
            continue;
        }
        assert_ok(dcerpc_get_accepted(&send_most, &pdu, p));
        ck_assert_msg(send_most == rows[i].send_most, "%s: %lu", row, (unsigned long)send_most);
    }
}
END_TEST

START_TEST(a_cut_answer_to_a_bind_is_none)
{
    text whole = accepted(4280, 1, 0, 0);
    size_t send_most;
    dcerpc_pdu pdu;

    for (size_t len = 0; len < whole.len; len++) {
        text body = whole, t;

        body.len = len;
        t = pdu_of(DCERPC_BIND_ACK, 7, 1, &body);
        row = apr_psprintf(p, "%lu bytes", (unsigned long)len);
        assert_ok(dcerpc_get(&pdu, view(&t), p));
        if (len < whole.len - 4) /* the version of the syntax is not looked at */
            assert_says("cut short", dcerpc_get_accepted(&send_most, &pdu, p));
    }
    whole.data[24] ^= 1;
    {
        text t = pdu_of(DCERPC_BIND_ACK, 7, 1, &whole);

        row = "another syntax";
        assert_ok(dcerpc_get(&pdu, view(&t), p));
        assert_says("not offered", dcerpc_get_accepted(&send_most, &pdu, p));
    }
}
END_TEST

START_TEST(a_refusal_says_try_later_and_why)
{
    static const struct {
        const char *name;
        int type;
        uint32_t code;
        const char *says;
    } rows[] = {
        { "access denied", DCERPC_FAULT, 5, "0x00000005: access denied" },
        { "too busy", DCERPC_FAULT, 0x1c010014, "too busy" },
        { "an unknown fault", DCERPC_FAULT, 0x12345678, "0x12345678: its meaning is not known" },
        { "authentication not known", DCERPC_BIND_NAK, 8, "does not know this kind" },
        { "ticket not believed", DCERPC_BIND_NAK, 9, "does not believe the ticket" },
        { "no reason", DCERPC_BIND_NAK, 77, "reason 77" },
        { "something else", DCERPC_BIND_ACK, 0, "type 12" },
    };
    dcerpc_pdu pdu;

    for (int i = 0; i < ROWS(rows); i++) {
        text body = fault(rows[i].code), t;

        if (rows[i].type == DCERPC_BIND_NAK) {
            body.len = 0;
            add16(&body, rows[i].code);
        }
        t = pdu_of(rows[i].type, 3, 1, &body);
        row = rows[i].name;
        assert_ok(dcerpc_get(&pdu, view(&t), p));
        assert_says(rows[i].says, dcerpc_get_refusal(&pdu, p));
        t.len = 17;
        t.data[8] = 17;
        assert_ok(dcerpc_get(&pdu, view(&t), p));
        assert_says("was not expected", dcerpc_get_refusal(&pdu, p));
    }
}
END_TEST

START_TEST(nothing_that_a_server_says_does_harm)
{
    text body = accepted(4280, 1, 0, 0), broken = fault(5);
    text pdus[] = { with_token(reply(3, 7, "stub stub stub")), pdu_of(DCERPC_BIND_ACK, 7, 7, &body),
                    pdu_of(DCERPC_FAULT, 3, 7, &broken) };

    for (int i = 0; i < ROWS(pdus); i++)
        for (size_t bit = 0; bit < 8 * pdus[i].len; bit++) {
            unsigned char *data = apr_pmemdup(p, pdus[i].data, pdus[i].len);
            const scep_bytes all = { data, pdus[i].len };
            scep_bytes stub;
            size_t send_most;
            dcerpc_pdu pdu;

            data[bit / 8] ^= (unsigned char)(1 << bit % 8);
            if (dcerpc_get(&pdu, all, p))
                continue;
            ck_assert(pdu.body.data >= data && pdu.body.data + pdu.body.len <= data + all.len);
            ck_assert(!pdu.token.len || pdu.token.data + pdu.token.len == data + all.len);
            if (!dcerpc_get_response(&stub, &pdu, p))
                ck_assert(stub.len >= pdu.padding && stub.data + stub.len <= data + all.len);
            if (!dcerpc_get_accepted(&send_most, &pdu, p))
                ck_assert(send_most >= 1432 && send_most <= DCERPC_FRAGMENT_MOST);
            assert_code(SCEP_UNAVAILABLE, dcerpc_get_refusal(&pdu, p));
        }
}
END_TEST

/* ---- the endpoint mapper ---- */

static void add_floor(text *t, const void *left, size_t left_len, const void *right,
                      size_t right_len)
{
    add16(t, (unsigned)left_len);
    add(t, left, left_len);
    add16(t, (unsigned)right_len);
    add(t, right, right_len);
}

static text tower_to(const dcerpc_interface *to, unsigned port)
{
    const unsigned char number[] = { (unsigned char)(port >> 8), (unsigned char)port };
    unsigned char uuid[19] = { 13 };
    text t = { .len = 0 };

    memcpy(uuid + 1, to->uuid, 16);
    add16(&t, 5);
    add_floor(&t, uuid, 19, "\0\0", 2);
    uuid[17] = 2;
    memcpy(uuid + 1, ndr_uuid, 16);
    add_floor(&t, uuid, 19, "\0\0", 2);
    add_floor(&t, "\x0b", 1, "\0\0", 2);
    add_floor(&t, "\x07", 1, number, 2);
    add_floor(&t, "\x09", 1, "\x7f\0\0\1", 4);
    return t;
}

/* An answer of ept_map with these towers. */
static text map_answer(const text *towers, unsigned count)
{
    text t = { .len = 0 };

    add(&t, (const unsigned char[20]){ 0 }, 20);
    add32(&t, count);
    add32(&t, 4);
    add32(&t, 0);
    add32(&t, count);
    for (unsigned i = 0; i < count; i++)
        add32(&t, 3 + i);
    for (unsigned i = 0; i < count; i++) {
        while (t.len % 4)
            add(&t, "", 1);
        add32(&t, (uint32_t)towers[i].len);
        add32(&t, (uint32_t)towers[i].len);
        add(&t, towers[i].data, towers[i].len);
    }
    while (t.len % 4)
        add(&t, "", 1);
    add32(&t, 0);
    return t;
}

START_TEST(the_endpoint_mapper_is_asked_for_a_tower)
{
    text tower = tower_to(&some, 0), wanted = { .len = 0 };

    tower.data[tower.len - 1] = tower.data[tower.len - 4] = 0; /* at no address */
    tower.data[2 + 2 + 17] = 7;                                /* version 7 */
    add32(&wanted, 1);
    add(&wanted, (const unsigned char[16]){ 0 }, 16);
    add32(&wanted, 2);
    add32(&wanted, (uint32_t)tower.len);
    add32(&wanted, (uint32_t)tower.len);
    add(&wanted, tower.data, tower.len);
    while (wanted.len % 4)
        add(&wanted, "", 1);
    add(&wanted, (const unsigned char[20]){ 0 }, 20);
    add32(&wanted, 4);
    row = "ept_map";
    assert_bytes(dcerpc_map_ask(&some, p), view(&wanted));
}
END_TEST

START_TEST(its_answer_has_a_port_or_none)
{
    static const dcerpc_interface other = { "other", { 99 }, 0, 0 };
    text towers[] = { tower_to(&other, 1111), tower_to(&some, 49152), tower_to(&some, 0) };
    unsigned int port = 0;
    text t;

    row = "the second of three";
    t = map_answer(towers, 3);
    assert_ok(dcerpc_map_read(&port, view(&t), &some, p));
    ck_assert_uint_eq(port, 49152);
    row = "none of it";
    t = map_answer(towers, 1);
    assert_says("is the service running", dcerpc_map_read(&port, view(&t), &some, p));
    row = "no tower";
    t = map_answer(towers, 0);
    assert_says("is the service running", dcerpc_map_read(&port, view(&t), &some, p));
    row = "port 0";
    t = map_answer(towers + 2, 1);
    assert_says("is the service running", dcerpc_map_read(&port, view(&t), &some, p));
}
END_TEST

START_TEST(an_answer_of_the_endpoint_mapper_that_lies_is_none)
{
    text tower = tower_to(&some, 49152), whole = map_answer(&tower, 1);
    const size_t needed = 20 + 5 * 4 + 8 + tower.len;
    unsigned int port;

    for (size_t len = 0; len < needed; len++) {
        const scep_bytes cut = { apr_pmemdup(p, whole.data, len + 1), len };

        row = apr_psprintf(p, "%lu bytes", (unsigned long)len);
        assert_code(SCEP_UNAVAILABLE, dcerpc_map_read(&port, cut, &some, p));
    }
    for (size_t at = 20; at < needed; at++) {
        text t = whole;

        t.data[at] ^= 0xFF;
        row = apr_psprintf(p, "byte %lu", (unsigned long)at);
        port = 0;
        if (!dcerpc_map_read(&port, view(&t), &some, p))
            ck_assert_msg(port > 0 && port < 65536, "%s: port %u", row, port);
    }
}
END_TEST

static void add_tests(TCase *cases)
{
    tcase_add_test(cases, a_bind_is_written_as_it_should_be);
    tcase_add_test(cases, a_ticket_that_does_not_fit_is_said);
    tcase_add_test(cases, a_fragment_is_padded_and_its_lengths_are_put_last);
    tcase_add_test(cases, a_header_that_lies_is_no_pdu);
    tcase_add_test(cases, a_token_and_its_padding_are_cut_off);
    tcase_add_test(cases, only_an_accepted_context_is_accepted);
    tcase_add_test(cases, a_cut_answer_to_a_bind_is_none);
    tcase_add_test(cases, a_refusal_says_try_later_and_why);
    tcase_add_test(cases, nothing_that_a_server_says_does_harm);
    tcase_add_test(cases, the_endpoint_mapper_is_asked_for_a_tower);
    tcase_add_test(cases, its_answer_has_a_port_or_none);
    tcase_add_test(cases, an_answer_of_the_endpoint_mapper_that_lies_is_none);
}

int main(void)
{
    return run_suite("dcerpc_pdu", add_tests);
}
