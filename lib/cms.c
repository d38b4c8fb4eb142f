/* CMS as templates of OpenSSL's ASN.1. RFC 5652. */
#include "cms.h"

#include <openssl/asn1t.h>
#include <openssl/objects.h>

/* clang-format off */
ASN1_SEQUENCE(cms_issuer_serial) = {
    ASN1_SIMPLE(cms_issuer_serial, issuer, X509_NAME),
    ASN1_SIMPLE(cms_issuer_serial, serial, ASN1_INTEGER),
} static_ASN1_SEQUENCE_END(cms_issuer_serial)

ASN1_CHOICE(cms_identifier) = {
    ASN1_SIMPLE(cms_identifier, d.issuer_serial, cms_issuer_serial),
    ASN1_IMP(cms_identifier, d.key_id, ASN1_OCTET_STRING, 0),
} static_ASN1_CHOICE_END(cms_identifier)

ASN1_SEQUENCE(cms_signer) = {
    ASN1_EMBED(cms_signer, version, INT32),
    ASN1_SIMPLE(cms_signer, id, cms_identifier),
    ASN1_SIMPLE(cms_signer, digest, X509_ALGOR),
    ASN1_IMP_SET_OF_OPT(cms_signer, attributes, X509_ATTRIBUTE, 0),
    ASN1_SIMPLE(cms_signer, algorithm, X509_ALGOR),
    ASN1_SIMPLE(cms_signer, signature, ASN1_OCTET_STRING),
    ASN1_IMP_SET_OF_OPT(cms_signer, unsigned_attributes, ASN1_ANY, 1),
} ASN1_SEQUENCE_END(cms_signer)

ASN1_ITEM_TEMPLATE(cms_attributes) =
    ASN1_EX_TEMPLATE_TYPE(ASN1_TFLG_SET_OF, 0, cms_attributes, X509_ATTRIBUTE)
ASN1_ITEM_TEMPLATE_END(cms_attributes)

ASN1_SEQUENCE(cms_content) = {
    ASN1_SIMPLE(cms_content, type, ASN1_OBJECT),
    ASN1_EXP_OPT(cms_content, content, ASN1_OCTET_STRING, 0),
} static_ASN1_SEQUENCE_END(cms_content)

ASN1_SEQUENCE(cms_signed) = {
    ASN1_EMBED(cms_signed, version, INT32),
    ASN1_SET_OF(cms_signed, digests, X509_ALGOR),
    ASN1_SIMPLE(cms_signed, content, cms_content),
    ASN1_IMP_SET_OF_OPT(cms_signed, certificates, ASN1_ANY, 0),
    ASN1_IMP_SET_OF_OPT(cms_signed, crls, ASN1_ANY, 1),
    ASN1_SET_OF(cms_signed, signers, ASN1_ANY),
} static_ASN1_SEQUENCE_END(cms_signed)

ASN1_SEQUENCE(cms_degenerate) = {
    ASN1_EMBED(cms_signed, version, INT32),
    ASN1_SET_OF(cms_signed, digests, X509_ALGOR),
    ASN1_SIMPLE(cms_signed, content, cms_content),
    ASN1_IMP_SEQUENCE_OF_OPT(cms_signed, certificates, ASN1_ANY, 0),
    ASN1_IMP_SEQUENCE_OF_OPT(cms_signed, crls, ASN1_ANY, 1),
    ASN1_SET_OF(cms_signed, signers, ASN1_ANY),
} static_ASN1_SEQUENCE_END_name(cms_signed, cms_degenerate)

ASN1_SEQUENCE(cms_signed_info) = {
    ASN1_SIMPLE(cms_signed_info, type, ASN1_OBJECT),
    ASN1_EXP(cms_signed_info, content, cms_signed, 0),
} ASN1_SEQUENCE_END(cms_signed_info)

ASN1_SEQUENCE(cms_degenerate_info) = {
    ASN1_SIMPLE(cms_signed_info, type, ASN1_OBJECT),
    ASN1_EXP(cms_signed_info, content, cms_degenerate, 0),
} ASN1_SEQUENCE_END_name(cms_signed_info, cms_degenerate_info)

ASN1_SEQUENCE(cms_recipient) = {
    ASN1_EMBED(cms_recipient, version, INT32),
    ASN1_SIMPLE(cms_recipient, id, cms_identifier),
    ASN1_SIMPLE(cms_recipient, transport, X509_ALGOR),
    ASN1_SIMPLE(cms_recipient, key, ASN1_OCTET_STRING),
} ASN1_SEQUENCE_END(cms_recipient)

ASN1_SEQUENCE(cms_encrypted) = {
    ASN1_SIMPLE(cms_encrypted, type, ASN1_OBJECT),
    ASN1_SIMPLE(cms_encrypted, cipher, X509_ALGOR),
    ASN1_IMP_OPT(cms_encrypted, content, ASN1_OCTET_STRING, 0),
} static_ASN1_SEQUENCE_END(cms_encrypted)

ASN1_SEQUENCE(cms_enveloped) = {
    ASN1_EMBED(cms_enveloped, version, INT32),
    ASN1_IMP_OPT(cms_enveloped, originator, ASN1_SEQUENCE, 0),
    ASN1_SET_OF(cms_enveloped, recipients, ASN1_ANY),
    ASN1_SIMPLE(cms_enveloped, encrypted, cms_encrypted),
    ASN1_IMP_SET_OF_OPT(cms_enveloped, unprotected_attributes, ASN1_ANY, 1),
} static_ASN1_SEQUENCE_END(cms_enveloped)

ASN1_SEQUENCE(cms_enveloped_info) = {
    ASN1_SIMPLE(cms_enveloped_info, type, ASN1_OBJECT),
    ASN1_EXP(cms_enveloped_info, content, cms_enveloped, 0),
} ASN1_SEQUENCE_END(cms_enveloped_info)
/* clang-format on */

ASN1_STRING *cms_string(int type, scep_bytes bytes, apr_pool_t *p)
{
    ASN1_STRING *string = apr_pcalloc(p, sizeof(*string));

    string->type = type;
    string->data = (unsigned char *)(uintptr_t)bytes.data; /* read only, by i2d */
    string->length = (int)bytes.len;
    return string;
}

ASN1_TYPE *cms_any(int type, scep_bytes bytes, apr_pool_t *p)
{
    ASN1_TYPE *any = apr_pcalloc(p, sizeof(*any));

    any->type = type;
    if (type != V_ASN1_NULL)
        any->value.asn1_string = cms_string(type, bytes, p);
    return any;
}

X509_ALGOR *cms_algorithm(int nid, ASN1_TYPE *parameters, apr_pool_t *p)
{
    X509_ALGOR *algorithm = apr_pcalloc(p, sizeof(*algorithm));

    algorithm->algorithm = OBJ_nid2obj(nid);
    algorithm->parameter = parameters;
    return algorithm;
}

static apr_status_t drop_algorithms(void *stack)
{
    sk_X509_ALGOR_free(stack);
    return APR_SUCCESS;
}

STACK_OF(X509_ALGOR) * cms_algorithms(X509_ALGOR *one, apr_pool_t *p)
{
    STACK_OF(X509_ALGOR) *stack = sk_X509_ALGOR_new_reserve(NULL, 1);

    if (!stack)
        return NULL;
    apr_pool_cleanup_register(p, stack, drop_algorithms, apr_pool_cleanup_null);
    return !one || sk_X509_ALGOR_push(stack, one) ? stack : NULL;
}

static apr_status_t drop(void *stack)
{
    sk_ASN1_TYPE_free(stack);
    return APR_SUCCESS;
}

STACK_OF(ASN1_TYPE) * cms_encoded(const scep_bytes *der, int n, apr_pool_t *p)
{
    STACK_OF(ASN1_TYPE) *stack = sk_ASN1_TYPE_new_reserve(NULL, n > 0 ? n : 1);

    if (!stack)
        return NULL;
    apr_pool_cleanup_register(p, stack, drop, apr_pool_cleanup_null);
    for (int i = 0; i < n; i++)
        if (!sk_ASN1_TYPE_push(stack, cms_any(V_ASN1_SEQUENCE, der[i], p)))
            return NULL;
    return stack;
}
