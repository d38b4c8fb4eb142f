/*
 * The object identifiers of SCEP. Made once per process and never registered with OBJ_create():
 * OpenSSL's table is global, other modules may register the same names, and httpd reads its
 * configuration twice. Source: RFC 8894 3.2.1, 3.5.2; PKCS #9; draft-nourse-scep-23 Appendix A.
 */
#ifndef SCEP_OID_H
#define SCEP_OID_H

#include "err.h"

#include <openssl/objects.h>

#define SCEP_OIDS(X)                                         \
    X(MESSAGE_TYPE, "2.16.840.1.113733.1.9.2")               \
    X(PKI_STATUS, "2.16.840.1.113733.1.9.3")                 \
    X(FAIL_INFO, "2.16.840.1.113733.1.9.4")                  \
    X(SENDER_NONCE, "2.16.840.1.113733.1.9.5")               \
    X(RECIPIENT_NONCE, "2.16.840.1.113733.1.9.6")            \
    X(TRANSACTION_ID, "2.16.840.1.113733.1.9.7")             \
    X(VERISIGN_EXTENSION_REQUEST, "2.16.840.1.113733.1.9.8") \
    X(FAIL_INFO_TEXT, "1.3.6.1.5.5.7.24.1")                  \
    X(MICROSOFT_SID, "1.3.6.1.4.1.311.25.2")                 \
    X(REQUEST_AGENT, "1.3.6.1.4.1.311.20.2.1")               \
    X(MICROSOFT_NAME_VALUE, "1.3.6.1.4.1.311.13.2.1")

typedef enum scep_oid_name {
#define X(name, dotted) SCEP_OID_##name,
    SCEP_OIDS(X)
#undef X
        SCEP_OID_COUNT
} scep_oid_name;

/** The object; static for the life of the process, shared by all threads. Never NULL. */
SCEP_API const ASN1_OBJECT *scep_oid(scep_oid_name name);

#endif
