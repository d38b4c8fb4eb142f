/*
 * An independent SCEP client for tests: builds requests, spoils them on demand, opens replies.
 * It shares no code with lib/message.c, lib/csr.c, lib/certrep.c and lib/ra.c, so that a fault
 * there is not mirrored here.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "scep.h"

/** For tests and this fixture: abort with the place and OpenSSL's reason where @a ok is false. */
#define FIXTURE_MUST(ok) ((ok) ? (void)0 : fixture_abort(__FILE__, __LINE__, #ok))
void fixture_abort(const char *file, int line, const char *what) __attribute__((noreturn));

/* ---- identities ---- */

typedef struct fixture_ca {
    X509 *root; /* self-signed CA */
    EVP_PKEY *root_key;
    scep_ra ra; /* its RA: two certificates */
} fixture_ca;

/** A CA with an RA, RSA-2048; made once per process and shared. */
const fixture_ca *fixture_ca_get(void);

/** Fill a name: "CN=a,O=b" in the order written, a bare common name, or "": empty. */
void fixture_set_name(X509_NAME *name, const char *text);

/** A certificate, valid from an hour ago for 30 days, with a subjectKeyIdentifier.
 *  @param cn a name as for fixture_set_name(). @param issuer NULL: self-signed.
 *  @param usage KU bits; 0: no extension */
X509 *fixture_cert(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, bool is_ca,
                   uint32_t usage, apr_pool_t *p);

/** Is the view that very certificate? */
bool fixture_is(const scep_cert *view, const X509 *cert);

/** Sign a certificate again whose members the test has changed. */
void fixture_resign(X509 *cert, EVP_PKEY *issuer_key);

/** One of a few client keys made once per process; i is taken modulo their number. RSA-2048. */
EVP_PKEY *fixture_key(int i);

/** Make the CA and all client keys now, so that tests that fork share them. */
void fixture_prepare(void);

/** A new key: RSA of @a rsa_bits, or on the named curve @a curve where that is not NULL. */
EVP_PKEY *fixture_key_make(int rsa_bits, const char *curve, apr_pool_t *p);

/* ---- requests ---- */

/*
 * What to build. Zeroed: a good PKCSReq; each member changes one thing. Names and values are
 * ASCII.
 */
typedef struct fixture_request {
    /* CSR */
    EVP_PKEY *key;              /* NULL: fixture_key(0) */
    const char *subject;        /* "CN=a,O=b"; NULL: "CN=device"; "": empty */
    const char *challenge;      /* NULL: none */
    scep_bytes challenge_value; /* raw contents instead, with challenge_type; data NULL: unused */
    int challenge_type;         /* ASN.1 string type; 0: PrintableString */
    int challenges;             /* how many attributes; 0: one if there is a challenge */
    const char *san;            /* "DNS:a.example,URI:…"; NULL: none */
    uint32_t key_usage;         /* 0: not asked */
    const char *extensions; /* more, as OpenSSL text "basicConstraints=CA:TRUE;1.2.3=DER:0500" */
    const char *extension_attribute; /* OID of the attribute; NULL: PKCS #9 extensionRequest */
    int extension_attributes;        /* how many times; 0: one */
    const char *other_attribute;     /* OID of another one with them; NULL: none */
    scep_bytes other_extensions;     /* what stands in it, DER; data NULL: the same */
    bool challenge_values;           /* the challenge attribute has two values */
    long csr_version;                /* 0: v1 as RFC 2986 says; 2: as some Apple systems send */
    const EVP_MD *csr_digest;        /* NULL: SHA-256 */
    bool spoil_csr;                  /* wrong CSR signature */
    int csr_attributes;              /* so many more attributes, of unknown types */
    int csr_nested;                  /* one more attribute, nested so deep */
    scep_bytes message_data;         /* instead of a CSR */

    /* signer */
    EVP_PKEY *signer_key;       /* NULL: key */
    X509 *signer;               /* NULL: self-signed with signer_subject */
    const char *signer_subject; /* NULL: as the CSR's */
    bool without_signer;        /* certificate not sent */
    X509 *sent_instead;         /* this certificate is sent instead of the signer's */
    X509 *extra;                /* one more certificate is sent */
    int extras;                 /* so many more certificates are sent */
    int crls;                   /* so many CRLs are sent */
    bool signer_by_key_id;      /* SignerInfo names the signer by subjectKeyIdentifier */

    /* envelope */
    X509 *recipient;          /* NULL: the fixture's RA */
    const EVP_CIPHER *cipher; /* NULL: AES-128-CBC */
    bool oaep;
    const EVP_MD *oaep_digest;      /* NULL: SHA-1 */
    bool recipient_by_key_id;       /* named by subjectKeyIdentifier */
    int recipients;                 /* 0: one; -1: none (nothing is encrypted to anybody) */
    bool password_recipient;        /* PWRI instead of key transport */
    bool key_recipient;             /* KEKRI instead of key transport */
    bool plain;                     /* the CSR itself as content, no envelope */
    bool spoil_encrypted_key;       /* the RSA block is not what the recipient's key made */
    bool spoil_padding;             /* the last byte of the CBC padding is wrong */
    const char *inner_content_type; /* OID inside the envelope; NULL: data */

    /* outer message */
    const char *message_type;   /* NULL: "19"; "": attribute left out */
    int message_type_tag;       /* ASN.1 type; 0: PrintableString */
    const char *transaction_id; /* NULL: hex of the key's hash; "": left out */
    int transaction_id_tag;     /* ASN.1 type; 0: PrintableString */
    int nonce_length;           /* 0: 16; -1: left out */
    const EVP_MD *digest;       /* NULL: SHA-256 */
    bool pss;
    int signers;                     /* 0: one; -1: none; 2: two */
    const char *doubled;             /* dotted OID of a signed attribute to send twice */
    const char *two_values;          /* dotted OID of a signed attribute to give a second value */
    const char *more_attribute;      /* dotted OID of one more signed attribute, an OCTET STRING */
    const char *content_type;        /* OID of the eContentType; NULL: data */
    const char *signature_algorithm; /* OID written into the SignerInfo; NULL: OpenSSL's choice */
    bool without_attributes;         /* no signed attributes at all */
    bool unsigned_attributes;        /* SCEP attributes among the unsigned ones only */
    bool no_content;                 /* no eContent */
    bool ber;                        /* indefinite lengths, content in pieces */
    int nested_attribute;            /* one more signed attribute, nested so deep */
    const char *signing_time;        /* a UTCTime, YYMMDDHHMMSSZ; NULL: now */
} fixture_request;

typedef struct fixture_sent {
    scep_bytes der;
    scep_bytes csr;      /* or message_data */
    scep_bytes envelope; /* as signed; also a part of der, unless ber */
    scep_bytes nonce;
    const char *transaction_id;
    X509 *signer;
    EVP_PKEY *signer_key;
    EVP_PKEY *key;
} fixture_sent;

/** Build; aborts where OpenSSL refuses, as a fixture must not fail silently. */
fixture_sent *fixture_build(const fixture_request *r, apr_pool_t *p);

/** Its CSR alone, for any kind of key. */
scep_bytes fixture_csr(const fixture_request *r, apr_pool_t *p);

/** @a der with byte @a at changed by @a mask. */
scep_bytes fixture_flip(scep_bytes der, size_t at, unsigned char mask, apr_pool_t *p);

/** Where @a part begins in @a der, which must hold it. */
size_t fixture_find(scep_bytes der, scep_bytes part);

/* ---- bytes made by hand (fixture_der.c) ---- */

/** One DER element. */
scep_bytes fixture_tlv(uint8_t tag, scep_bytes content, apr_pool_t *p);

/** @a n strings, one behind the other. */
scep_bytes fixture_join(const scep_bytes *parts, size_t n, apr_pool_t *p);

/** @a depth SEQUENCEs, one inside the other, the innermost empty.
 *  @param indefinite with indefinite lengths */
scep_bytes fixture_nested(int depth, bool indefinite, apr_pool_t *p);

/** @a der with every constructed element in indefinite length. What it says is the same. */
scep_bytes fixture_indefinite(scep_bytes der, apr_pool_t *p);

/** The bytes that hex digits stand for. */
scep_bytes fixture_of_hex(const char *hex, apr_pool_t *p);

/** DER with @a what behind the last element of one that is constructed. @param path which of its
 *  elements, and of that one, n times; n 0: @a der itself */
scep_bytes fixture_behind(scep_bytes der, const int *path, int n, scep_bytes what, apr_pool_t *p);
/** Likewise with a NULL behind it. */
scep_bytes fixture_null_behind(scep_bytes der, const int *path, int n, apr_pool_t *p);

/** @a envelope with another part. @param originator with tag, to be put in; len 0: none.
 *  @param algorithm contentEncryptionAlgorithm with tag; len 0: left as it is */
scep_bytes fixture_envelope(scep_bytes envelope, scep_bytes originator, scep_bytes algorithm,
                            apr_pool_t *p);

/* ---- replies ---- */

typedef struct fixture_reply {
    bool verified; /* signature good by the certificate inside */
    X509 *ra;      /* that certificate */
    const char *message_type, *pki_status, *fail_info, *fail_info_text; /* NULL: absent */
    const char *transaction_id;
    scep_bytes sender_nonce, recipient_nonce;
    int digest_nid, cipher_nid;            /* cipher_nid 0: no content */
    int key_transport_nid;                 /* NID_rsaEncryption, NID_rsaesOaep; 0: no content */
    int signed_version, enveloped_version; /* the CMSVersions; enveloped_version -1: no content */
    int outer_certs;                       /* how many certificates stand beside the signature */
    X509_STACK *certs; /* of the inner degenerate SignedData, in order; NULL: none */
} fixture_reply;

/** Open a reply with an independent reader. @param signer_cert, key whom it was encrypted to.
 *  @return NULL where it is not a well-formed CertRep: then *why says what is wrong. Well-formed:
 *  DER to the last byte; one signer, its certificate sent; each SCEP attribute at most once, with
 *  one value of the type RFC 8894 3.2.1 gives it; content only where it opens and is a degenerate
 *  SignedData without CRLs */
fixture_reply *fixture_open(scep_bytes der, X509 *signer_cert, EVP_PKEY *key, const char **why,
                            apr_pool_t *p);

/** The certificates of a GetCACert body, in order: one certificate, or a degenerate SignedData.
 *  @return NULL where it is neither to the last byte */
X509_STACK *fixture_certs(scep_bytes body, apr_pool_t *p);

#endif
