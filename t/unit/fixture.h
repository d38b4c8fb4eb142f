/*
 * An independent SCEP client for tests: builds requests, spoils them on demand, opens replies.
 * It shares no code with lib/message.c, lib/csr.c, lib/certrep.c and lib/ra.c, so that a fault
 * there is not mirrored here.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "scep.h"

/* ---- identities ---- */

typedef struct fixture_ca {
    X509 *root;             /* self-signed CA */
    EVP_PKEY *root_key;
    scep_ra ra;             /* its RA: two certificates */
} fixture_ca;

/** A CA with an RA, RSA-2048; made once per process and shared. */
const fixture_ca *fixture_ca_get(void);

/** A certificate. @param issuer NULL: self-signed. @param usage KU bits; 0: no extension */
X509 *fixture_cert(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, bool is_ca,
                   uint32_t usage, apr_pool_t *p);

/** One of a few client keys made once per process; i is taken modulo their number. RSA-2048. */
EVP_PKEY *fixture_key(int i);

/* ---- requests ---- */

/*
 * What to build. Zeroed: a good PKCSReq; each member changes one thing. Names and values are
 * ASCII.
 */
typedef struct fixture_request {
    /* CSR */
    EVP_PKEY *key;            /* NULL: fixture_key(0) */
    const char *subject;      /* "CN=a,O=b"; NULL: "CN=device"; "": empty */
    const char *challenge;    /* NULL: none */
    int challenge_type;       /* ASN.1 string type; 0: PrintableString */
    int challenges;           /* how many attributes; 0: one if there is a challenge */
    const char *san;          /* "DNS:a.example,URI:…"; NULL: none */
    uint32_t key_usage;       /* 0: not asked */
    const char *extensions;   /* more, as OpenSSL text "basicConstraints=CA:TRUE;1.2.3=DER:0500" */
    const char *extension_attribute; /* OID of the attribute; NULL: PKCS #9 extensionRequest */
    const EVP_MD *csr_digest; /* NULL: SHA-256 */
    bool spoil_csr;           /* wrong CSR signature */
    scep_bytes message_data;  /* instead of a CSR */

    /* signer */
    EVP_PKEY *signer_key;     /* NULL: key */
    X509 *signer;             /* NULL: self-signed with signer_subject */
    const char *signer_subject; /* NULL: as the CSR's */
    bool without_signer;      /* certificate not sent */

    /* envelope */
    X509 *recipient;          /* NULL: the fixture's RA */
    const EVP_CIPHER *cipher; /* NULL: AES-128-CBC */
    bool oaep;
    int recipients;           /* 0: one */
    bool password_recipient;  /* PWRI instead of key transport */
    bool plain;               /* the CSR itself as content, no envelope */

    /* outer message */
    const char *message_type;   /* NULL: "19"; "": attribute left out */
    int message_type_tag;       /* ASN.1 type; 0: PrintableString */
    const char *transaction_id; /* NULL: hex of the key's hash; "": left out */
    int nonce_length;           /* 0: 16; -1: left out */
    const EVP_MD *digest;       /* NULL: SHA-256 */
    bool pss;
    int signers;                /* 0: one; -1: none; 2: two */
    const char *doubled;        /* dotted OID of a signed attribute to send twice */
    bool unsigned_attributes;   /* SCEP attributes among the unsigned ones only */
    bool no_content;            /* no eContent */
} fixture_request;

typedef struct fixture_sent {
    scep_bytes der;
    scep_bytes csr;
    scep_bytes nonce;
    const char *transaction_id;
    X509 *signer;
    EVP_PKEY *signer_key;
    EVP_PKEY *key;
} fixture_sent;

/** Build; aborts where OpenSSL refuses, as a fixture must not fail silently. */
fixture_sent *fixture_build(const fixture_request *r, apr_pool_t *p);

/** @a der with byte @a at changed by @a mask. */
scep_bytes fixture_flip(scep_bytes der, size_t at, unsigned char mask, apr_pool_t *p);

/* ---- replies ---- */

typedef struct fixture_reply {
    bool verified;            /* signature good by the certificate inside */
    X509 *ra;                 /* that certificate */
    const char *message_type, *pki_status, *fail_info, *fail_info_text; /* NULL: absent */
    const char *transaction_id;
    scep_bytes sender_nonce, recipient_nonce;
    int digest_nid, cipher_nid; /* cipher_nid 0: no content */
    STACK_OF(X509) *certs;    /* of the inner degenerate SignedData, in order; NULL: none */
} fixture_reply;

/** Open a reply with an independent reader. @param signer_cert, key whom it was encrypted to.
 *  @return NULL where it is not a well-formed CertRep: then *why says what is wrong */
fixture_reply *fixture_open(scep_bytes der, X509 *signer_cert, EVP_PKEY *key, const char **why,
                            apr_pool_t *p);

#endif
