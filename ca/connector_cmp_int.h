/* Inside the connector cmp: what its files share. Nobody else includes this. */
#ifndef CA_CONNECTOR_CMP_INT_H
#define CA_CONNECTOR_CMP_INT_H

#include "connector.h"
#include "http.h"

#include <openssl/cmp.h>

/** The CA of an authority; read once, then used by any thread. */
typedef struct cmp_ca {
    const char *authority;
    const conf_cmp *conf;
    int command; /* OSSL_CMP_P10CR, …_IR, …_CR */
    http_peer *peer;
    const X509_NAME *recipient;
    scep_bytes secret;        /* len 0: what is sent is signed */
    EVP_PKEY *key;            /* of own's first; NULL: there is a secret */
    STACK_OF(X509) * own;     /* its chain behind it */
    STACK_OF(X509) * trusted; /* who may have certified the signer of an answer */
    X509 *server_cert;        /* the one signer; NULL: any that is trusted */
    STACK_OF(X509) * chain;
} cmp_ca;

/* ---- what is kept of a transaction ---- */

#define CMP_ID_SIZE 16 /* RFC 4210 5.1.1: 128 bits */

/**
 * OpenSSL has no way to go on with a transaction of another process: so what the CA said last is
 * kept, and is played to a new context, which checks it as if it had come just now, and then knows
 * the nonce that the CA's next answer depends on. A restart loses nothing.
 *
 * As text "t HEX", "w HEX BASE64 [BASE64]" or, where an answer to a poll was lost since, "b"
 * instead of "w".
 */
typedef struct cmp_kept {
    unsigned char id[CMP_ID_SIZE]; /* transactionID */
    scep_bytes waits;              /* the ip or cp that says "waiting"; len 0: the CA was asked, and
                                      no more is known */
    scep_bytes polled;             /* the last pollRep; len 0: none, or no room */
    bool broken;                   /* the answer to a poll after it was lost */
} cmp_kept;

/**
 * As many of the extraCerts as there is room for stay with it, of which one is the signer's.
 * @param signer_is_known none of them is needed
 * @return UNAVAILABLE: even without what can be left out it has no room
 */
SCEP_MUST const scep_err *cmp_kept_write(const char **out, const cmp_kept *kept,
                                         bool signer_is_known, apr_pool_t *p);

/** @return NULL, or CONFIG: not what cmp_kept_write() wrote */
SCEP_MUST const scep_err *cmp_kept_read(cmp_kept *out, const char *text, apr_pool_t *p);

/** A PKIMessage with its first @a certs extraCerts only, which no protection covers. */
SCEP_MUST const scep_err *cmp_message_trim(scep_bytes *out, scep_bytes der, int certs,
                                           apr_pool_t *p);

/* ---- one call ---- */

/** What the functions that OpenSSL calls back work with. */
typedef struct cmp_talk {
    const cmp_ca *ca;
    OSSL_CMP_CTX *ctx; /* freed with the pool */
    const scep_csr *csr;
    moment until;
    apr_pool_t *p;
    scep_bytes replay[2];    /* to be played in place of asking; len 0: none (any more) */
    cmp_kept kept;           /* what came, or was played, last, and was believed */
    scep_bytes heard;        /* what came after it, and nobody has checked yet; len 0: nothing that
                                is kept */
    int heard_body;          /* its PKIBody */
    const scep_err *failure; /* why nothing came */
    bool exchanged;          /* something was to be sent, and nothing played */
    bool sent;               /* the CA may have got it */
    bool resumed;            /* the CA said "waiting" some time ago */
    bool was_broken;         /* and the answer to a poll after it was lost */
    bool wrong_key;          /* the certificate is of another key, and was refused therefore */
    const char *stranger;    /* who signed an answer and may not */
} cmp_talk;

/** A new context, ready for a request. @param csr NULL: of none
 *  @return NULL, or INTERNAL */
SCEP_MUST const scep_err *cmp_talk_begin(cmp_talk **out, const cmp_ca *ca, const scep_csr *csr,
                                         moment until, apr_pool_t *p);

/** What becomes of the next request goes by this id; cmp_kept_write() of talk->kept keeps it. */
SCEP_MUST const scep_err *cmp_talk_name(cmp_talk *talk, const unsigned char id[CMP_ID_SIZE]);

/** OpenSSL went on after what came last, so that it has checked it: talk->kept takes it over. */
void cmp_talk_believe(cmp_talk *talk);

/** Why the call failed, as far as it is no answer. Never NULL. */
SCEP_MUST const scep_err *cmp_talk_error(const cmp_talk *talk);

/** "/CN=a/O=b", a backslash before what is meant literally. @return NULL, or CONFIG */
SCEP_MUST const scep_err *cmp_name(const X509_NAME **out, const char *text, apr_pool_t *p);

/** Send the name of a template along. id-it-certProfile of RFC 9480. @return NULL, or INTERNAL */
SCEP_MUST const scep_err *cmp_talk_profile(cmp_talk *talk, const char *name);

/* ---- what a rejection means ---- */

typedef enum cmp_verdict {
    CMP_DENIED, /* a decision on this request */
    CMP_LATER,  /* the CA is not in order */
    CMP_FAILED, /* the CA fails at this request: of others it says nothing */
    CMP_MEND    /* this service may not ask, or asks in a way the CA does not take */
} cmp_verdict;

/** @param fail_info bits of PKIFailureInfo; 0: none was sent
 *  @param has_proof the device's signature went along (p10cr) */
cmp_verdict cmp_judge(int fail_info, bool has_proof);

/** What the CA said, on one line, escaped. */
const char *cmp_words(const OSSL_CMP_CTX *ctx, apr_pool_t *p);

#endif
