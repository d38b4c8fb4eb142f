/* A CA that issued without scep-ca, and CRLs of it to order. */
#ifndef FOREIGN_ROOM_H
#define FOREIGN_ROOM_H

#include "fixture.h"
#include "foreign.h"
#include "store_room.h"

#define DAY 86400
#define ROWS(table) ((int)(sizeof(table) / sizeof(*(table))))
#define CA_USAGE (KU_KEY_CERT_SIGN | KU_CRL_SIGN)

/* Seconds; a key of the CA "CN=Foreign CA" and one of somebody else; whose CRLs are believed; the
 * file with the CRL, which is not there yet. */
extern apr_int64_t foreign_now;
extern EVP_PKEY *foreign_ca_key, *foreign_other_key;
extern STACK_OF(X509) * foreign_issuers;
extern const char *foreign_path;

/** Checked fixture; room_down() belongs to it. */
void foreign_up(void);

void foreign_clock_at(apr_int64_t seconds);
X509 *foreign_ca_of(const char *name, EVP_PKEY *key, uint32_t usage);

/** A certificate that the CA of that name and key has issued. */
X509 *foreign_device(long serial, const char *issuer, EVP_PKEY *key);

/* Zeroed: a good CRL without entries. */
typedef struct crl_order {
    const char *issuer;    /* NULL: the CA */
    EVP_PKEY *key;         /* NULL: the CA's */
    const EVP_MD *digest;  /* NULL: SHA-256 */
    long serials[4];       /* revoked; 0 ends */
    int from, to;          /* seconds from foreign_now; to 0: a week */
    bool without_end;      /* no nextUpdate */
    const char *extension; /* OID of one more */
    bool critical;         /* that one is */
    bool in_entry;         /* and stands in the first entry */
    bool version_1;
    bool der;
} crl_order;

X509_CRL *foreign_crl_make(const crl_order *o);
scep_bytes foreign_crl_der(X509_CRL *crl);

/** Renamed into place, as whoever fetches it should. */
void foreign_file_write(const void *bytes, size_t len);
void foreign_file_put(const crl_order *orders, int n);

foreign *foreign_made(const char *where);

/** @param code SCEP_OK: @a status is the answer. @param says in the reason otherwise; NULL: any */
void foreign_expect(foreign *f, X509 *cert, scep_code code, foreign_status status,
                    const char *says);
/** A certificate of the CA with that serial number; any of them. */
void foreign_expect_good(foreign *f, long serial);
void foreign_expect_revoked(foreign *f, long serial);
void foreign_expect_unknown(foreign *f, const char *says);

/** The tests of URLs, a part of foreign_suite(). */
TCase *foreign_url_cases(void);

#endif
