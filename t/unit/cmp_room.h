/* What the suites of the connector cmp share: a CA that is OpenSSL's CMP server, in a thread, and
 * an authority of ca.conf that is asked for it. */
#ifndef CMP_ROOM_H
#define CMP_ROOM_H

#include "connector_cmp_int.h"
#include "service_room.h"

#define CMP_ROOM_SECRET "a shared secret"

/** What the CA does, set by a test, and what it saw. */
typedef struct cmp_room_ca {
    OSSL_CMP_SRV_CTX *engine;
    int waits;             /* so many polls are answered with "waiting" */
    int status, fail_info; /* of a PKIStatusInfo */
    const char *text;
    X509 *cert; /* what it issues; NULL: room.device */
    bool spoil; /* the answer is changed on its way */
    int spoilt; /* so is the n-th one from now on; 0: none */
    bool errs;  /* at a confirmation */
    int drop;   /* the answer to the n-th request from now on is dropped; 0: none */
    int http;   /* status instead of 200; -1: it hangs */
    OSSL_CMP_MSG *asked;
    int issued, confirmed, refused, revoked, polled;
    char peer[80];
    const char *proof;  /* "p10cr", "crmf" */
    int names;          /* subjectAltNames in a CertTemplate */
    const char *issuer; /* in a CertTemplate; NULL: none */
    scep_bytes last;    /* request, as received */
} cmp_room_ca;

typedef struct cmp_room {
    cmp_room_ca ca;
    service *server;
    conf_authority authority;
    X509 *root, *device, *other, *responder;
    scep_csr *csr;
    const char *kept; /* by the connector, last */
} cmp_room;

extern cmp_room room;
extern const conf_template cmp_room_template;

/** A CA with a shared secret, and an authority that knows it. */
void cmp_room_begin(apr_pool_t *p);
void cmp_room_end(void);

/** Signatures in place of the secret, and who signs for the CA. */
void cmp_room_sign(X509 *signer, EVP_PKEY *key);

/** Then a certificate of the RA that is a host's, with a name of its own, and of no CA. */
void cmp_room_sign_as_host(void);

/** Then a signer below an intermediate, which goes along. @return the intermediate */
X509 *cmp_room_sign_below(void);

/** The same CA, over TLS. */
void cmp_room_secure(void);

/** A file of the room: ca.pem, ra.pem, ra.key, responder.pem, other.pem, secret, wrong. */
const char *cmp_room_file(const char *name);

/** The connector of room.authority, made anew. */
connector *cmp_room_open(void);

/** For connector_ask.keep: into room.kept. It fails where there is a baton. */
const scep_err *cmp_room_keep(void *baton, const char *cookie, apr_pool_t *p);

/** Ask by a connector made anew, as if scep-ca had begun anew. */
const scep_err *cmp_room_submit(connector_answer *out, const char *cookie, bool lost);

#endif
