/* PDUs of DCE/RPC made by hand, byte by byte, and what is expected of errors. For suites (suite.h).
 */
#ifndef RPC_ROOM_H
#define RPC_ROOM_H

#include "fixture.h"

#include "dcerpc_int.h"

/** NDR's UUID as on the wire. */
extern const char ndr_uuid[17];

typedef struct text {
    unsigned char data[DCERPC_FRAGMENT_MOST];
    size_t len;
} text;

void add(text *t, const void *data, size_t len);
void add16(text *t, unsigned value);
void add32(text *t, uint32_t value);
scep_bytes view(const text *t);

/** A PDU without a token. */
text pdu_of(int type, int flags, uint32_t call_id, const text *body);

/** The same with a token of 5 bytes, for Kerberos and privacy. */
text with_token(text pdu);

/** Bodies: of a bind_ack, a response, a fault. */
text accepted(unsigned takes, unsigned results, unsigned result, unsigned reason);
text response(const char *stub);
text fault(uint32_t status);

/** A whole response. */
text reply(int flags, uint32_t call_id, const char *stub);

#define assert_says(words, expr)                                                                 \
    do {                                                                                         \
        const scep_err *says_err = (expr);                                                       \
        ck_assert_msg(                                                                           \
            says_err && says_err->code == SCEP_UNAVAILABLE && strstr(says_err->detail, (words)), \
            "%s: %s instead of \"%s\"", row, says_err ? says_err->detail : "accepted", (words)); \
    } while (0)

#endif
