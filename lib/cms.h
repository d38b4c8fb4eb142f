/*
 * CMS as templates of OpenSSL's ASN.1 (RFC 5652), with certificates, CRLs, signers and recipients
 * left encoded: OpenSSL's own decode the key of each certificate, whoever sends it. Private to the
 * library.
 */
#ifndef SCEP_CMS_H
#define SCEP_CMS_H

#include "asn1.h"
#include "own.h"

/* RFC 5652 10.2.4 */
typedef struct cms_issuer_serial {
    X509_NAME *issuer;
    ASN1_INTEGER *serial;
} cms_issuer_serial;

/* RFC 5652 5.3 SignerIdentifier, 6.2.1 RecipientIdentifier */
enum { CMS_BY_ISSUER_SERIAL = 0, CMS_BY_KEY_ID = 1 };
typedef struct cms_identifier {
    int type;
    union {
        cms_issuer_serial *issuer_serial;
        ASN1_OCTET_STRING *key_id;
    } d;
} cms_identifier;

/* RFC 5652 5.3 */
typedef struct cms_signer {
    int32_t version;
    cms_identifier *id;
    X509_ALGOR *digest;
    STACK_OF(X509_ATTRIBUTE) * attributes;
    X509_ALGOR *algorithm;
    ASN1_OCTET_STRING *signature;
    STACK_OF(ASN1_TYPE) * unsigned_attributes;
} cms_signer;

/* RFC 5652 5.2 */
typedef struct cms_content {
    ASN1_OBJECT *type;
    ASN1_OCTET_STRING *content;
} cms_content;

/* RFC 5652 5.1 */
typedef struct cms_signed {
    int32_t version;
    STACK_OF(X509_ALGOR) * digests;
    cms_content *content;
    STACK_OF(ASN1_TYPE) * certificates; /* NULL: absent; so are the others that are optional */
    STACK_OF(ASN1_TYPE) * crls;
    STACK_OF(ASN1_TYPE) * signers;
} cms_signed;

/* RFC 5652 3 */
typedef struct cms_signed_info {
    ASN1_OBJECT *type;
    cms_signed *content;
} cms_signed_info;

/* RFC 5652 6.2.1 */
typedef struct cms_recipient {
    int32_t version;
    cms_identifier *id;
    X509_ALGOR *transport;
    ASN1_OCTET_STRING *key;
} cms_recipient;

/* RFC 5652 6.1 EncryptedContentInfo */
typedef struct cms_encrypted {
    ASN1_OBJECT *type;
    X509_ALGOR *cipher;
    ASN1_OCTET_STRING *content;
} cms_encrypted;

/* RFC 5652 6.1 */
typedef struct cms_enveloped {
    int32_t version;
    ASN1_STRING *originator; /* encoded */
    STACK_OF(ASN1_TYPE) * recipients;
    cms_encrypted *encrypted;
    STACK_OF(ASN1_TYPE) * unprotected_attributes;
} cms_enveloped;

/* RFC 5652 3 */
typedef struct cms_enveloped_info {
    ASN1_OBJECT *type;
    cms_enveloped *content;
} cms_enveloped_info;

/* cms_degenerate_info is a cms_signed_info whose certificates keep their order: a SET OF is sorted
 * (X.690 11.6), and clients take the first certificate as theirs. cms_attributes is what is signed
 * (RFC 5652 5.4), a STACK_OF(X509_ATTRIBUTE). */
const ASN1_ITEM *cms_signed_info_it(void);
const ASN1_ITEM *cms_degenerate_info_it(void);
const ASN1_ITEM *cms_enveloped_info_it(void);
const ASN1_ITEM *cms_signer_it(void);
const ASN1_ITEM *cms_recipient_it(void);
const ASN1_ITEM *cms_attributes_it(void);

/* Parts for a structure that is written only: memory of the pool, whose bytes and objects are
 * borrowed. */
ASN1_STRING *cms_string(int type, scep_bytes bytes, apr_pool_t *p);
ASN1_TYPE *cms_any(int type, scep_bytes bytes, apr_pool_t *p);
/** @param parameters NULL: none */
X509_ALGOR *cms_algorithm(int nid, ASN1_TYPE *parameters, apr_pool_t *p);
/** @param one NULL: none. @return NULL: out of memory */
STACK_OF(X509_ALGOR) * cms_algorithms(X509_ALGOR *one, apr_pool_t *p);
/** A set of encoded elements. @return NULL: out of memory */
STACK_OF(ASN1_TYPE) * cms_encoded(const scep_bytes *der, int n, apr_pool_t *p);

#endif
