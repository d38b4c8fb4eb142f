/* What the files of scep-request share. */
#ifndef SCEP_REQUEST_H
#define SCEP_REQUEST_H

#include "fixture.h"

/* The options: a name with '-' for '_'; those of OPTIONS have a value, those of FLAGS none. */
#define OPTIONS(X)    \
    X(recipient)      \
    X(ca_ra)          \
    X(out)            \
    X(count)          \
    X(challenge_file) \
    X(subject)        \
    X(san)            \
    X(key_usage)      \
    X(ext)            \
    X(cipher)         \
    X(digest)         \
    X(csr_digest)     \
    X(type)           \
    X(transaction_id) \
    X(keys)           \
    X(key)            \
    X(key_type)       \
    X(signer)         \
    X(signer_key)     \
    X(signer_subject) \
    X(signing_time)   \
    X(spoil)          \
    X(poll)           \
    X(data)           \
    X(issuer)         \
    X(serial)         \
    X(nonce_length)   \
    X(request)        \
    X(reply)          \
    X(list)           \
    X(chain)          \
    X(crl)
#define FLAGS(X) X(ber) X(oaep) X(pss)

/* The command line; NULL: not given. A flag that was given is "". */
typedef struct options {
#define X(name) const char *name;
    OPTIONS(X) FLAGS(X)
#undef X
} options;

/* What an earlier request left behind: who sent it, and what it was called. */
typedef struct earlier {
    const char *transaction_id, *nonce; /* the nonce as hex */
    X509 *signer;
    EVP_PKEY *key, *signer_key;
    scep_bytes data; /* its messageData */
} earlier;

/** End the program with a message and what OpenSSL has to say. */
_Noreturn void die(const char *what, const char *which);

/* Each dies where the file is not what it should be. */
scep_bytes read_file(const char *path, apr_pool_t *p);
void write_file(const char *path, scep_bytes content);
X509 *read_cert(const char *path, apr_pool_t *p);
void write_certs(const char *path, X509_STACK *certs, int most, apr_pool_t *p);
EVP_PKEY *read_key(const char *path, apr_pool_t *p);
void write_key(const char *path, EVP_PKEY *key, apr_pool_t *p);
X509_STACK *read_ca_ra(const char *path, apr_pool_t *p);
earlier read_earlier(const char *base, apr_pool_t *p);

/** One line of challenges, without its end. Wiped with the pool. */
char *read_challenge(FILE *from, apr_pool_t *p);
/** A file, or standard input for "-". */
FILE *open_challenges(const char *path);

/** Single DES needs OpenSSL's legacy provider. */
void load_legacy(void);

/** The first certificate of a CA in the list; NULL: none. */
X509 *find_ca(X509_STACK *certs);

/** messageData as --data says; no data: a CSR is to be made. @a subject a name as text, or NULL. */
scep_bytes make_data(const options *o, const earlier *before, const char *subject, apr_pool_t *p);

/* What a reply's envelope holds. */
typedef struct opened {
    bool by_password; /* PasswordRecipientInfo */
    bool oaep;
    int cipher_nid;
    X509_STACK *certs;         /* in order */
    STACK_OF(X509_CRL) * crls; /* NULL: none */
} opened;

/** Open the envelope of a reply.
 *  @param challenge the password of a PasswordRecipientInfo; NULL: none is known
 *  @return NULL, or what is wrong with it */
const char *open_content(opened *out, scep_bytes reply, X509 *signer, EVP_PKEY *key,
                         const char *challenge, apr_pool_t *p);

/** The content of a SignedData; data NULL: there is none, or it is no SignedData. */
scep_bytes signed_content(scep_bytes message, apr_pool_t *p);

/** A degenerate SignedData, with its certificates in order and its CRLs. @return false: no such */
bool read_list(opened *out, scep_bytes der, apr_pool_t *p);

/* The commands. @return the program's exit status */
int command_new(const options *o, apr_pool_t *p);
int command_open(const options *o, apr_pool_t *p);
int command_certs(const options *o, apr_pool_t *p);
int command_next(const options *o, apr_pool_t *p);

#endif
