/* Certificates in lists: PEM files in, SignedData out. Degenerate ones: RFC 8894 3.4. */
#ifndef SCEP_CERTS_H
#define SCEP_CERTS_H

#include "bytes.h"
#include "own.h"

/** Who signs. */
typedef struct scep_signer {
    X509 *cert;
    EVP_PKEY *key;
    EVP_PKEY_CTX *ctx; /* of key, to be duplicated; NULL, or of another key: not prepared */
} scep_signer;

/**
 * A degenerate SignedData (no signer, no content; RFC 8894 3.4) of @a certs in the given order:
 * not sorted as a set is, as clients take the first certificate as theirs.
 */
SCEP_API SCEP_MUST const scep_err *
scep_certs_degenerate(scep_bytes *out, const STACK_OF(X509) * certs, apr_pool_t *p);

/** Likewise of a certificate in DER, which is not looked into, and others behind it.
 *  @param leaf len 0: none */
SCEP_API SCEP_MUST const scep_err *scep_certs_list(scep_bytes *out, scep_bytes leaf,
                                                   const STACK_OF(X509) * certs, apr_pool_t *p);

/** A degenerate SignedData of one CRL and no certificate, which is what GetCRL gives.
 *  @param crl_der one CRL to the last byte. @return NULL, or INTERNAL where it is none */
SCEP_API SCEP_MUST const scep_err *scep_certs_degenerate_crl(scep_bytes *out, scep_bytes crl_der,
                                                             apr_pool_t *p);

/**
 * The body of GetNextCACert (RFC 8894 4.7.1): a SignedData whose content is a degenerate
 * SignedData of @a next, in that order. The same certificates stand in the outer set beside the
 * signer's, where some clients look for them. It is never made without a signature: the
 * roll-over is believed for it alone.
 * @param next the next CA's certificate, its chain, and the next RA's certificates; not empty
 * @param signer the current RA (or CA): whose certificate GetCACert gives
 * @return NULL, or INTERNAL
 */
SCEP_API SCEP_MUST const scep_err *scep_certs_next(scep_bytes *out, const STACK_OF(X509) * next,
                                                   const scep_signer *signer, const EVP_MD *digest,
                                                   apr_pool_t *p);

/** Read all certificates of a PEM file. @param out never empty; certificates and stack belong to
 *  @a p. @return NULL, or CONFIG naming the file and what is wrong */
SCEP_API SCEP_MUST const scep_err *scep_certs_load(STACK_OF(X509) * *out, const char *path,
                                                   apr_pool_t *p);

/** DER of one certificate. */
SCEP_API SCEP_MUST const scep_err *scep_cert_der(scep_bytes *out, const X509 *cert, apr_pool_t *p);

/** The certificate of @a der, all of it. @return NULL, or INTERNAL */
SCEP_API SCEP_MUST const scep_err *scep_cert_read(X509 **out, scep_bytes der, apr_pool_t *p);

/** DER of a finished CMS structure. @return NULL, or INTERNAL */
SCEP_API SCEP_MUST const scep_err *scep_cms_der(scep_bytes *out, const CMS_ContentInfo *cms,
                                                apr_pool_t *p);

/** In seconds since 1970. @return NULL, or INTERNAL: no time */
SCEP_API SCEP_MUST const scep_err *scep_time_seconds(apr_int64_t *out, const ASN1_TIME *time,
                                                     apr_pool_t *p);

/** The earlier of two times in seconds; 0: not known. */
SCEP_API uint64_t scep_earlier(uint64_t a, uint64_t b);

/** Bring @a ends forward to the end of @a cert: scep_earlier(). @return NULL, or INTERNAL */
SCEP_API SCEP_MUST const scep_err *scep_cert_ends(uint64_t *ends, const X509 *cert, apr_pool_t *p);

/** Upper-case hex of the serial number, without sign or leading zeros beyond whole bytes. */
SCEP_API char *scep_serial_hex(const ASN1_INTEGER *serial, apr_pool_t *p);
SCEP_API char *scep_cert_serial(const X509 *cert, apr_pool_t *p);

/** The subject as one line in RFC 2253 order with UTF-8 escaped; safe to log. */
SCEP_API char *scep_name_line(const X509_NAME *name, apr_pool_t *p);

#endif
