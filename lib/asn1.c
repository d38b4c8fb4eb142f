/* Structures read and written by OpenSSL's ASN.1 templates. */
#include "asn1.h"

#include <limits.h>
#include <openssl/err.h>

typedef struct owned {
    const ASN1_ITEM *item;
    ASN1_VALUE *value;
} owned;

static apr_status_t drop(void *data)
{
    owned *o = data;

    ASN1_item_free(o->value, o->item);
    return APR_SUCCESS;
}

static void *own(const ASN1_ITEM *item, ASN1_VALUE *value, apr_pool_t *p)
{
    owned *o = apr_palloc(p, sizeof(*o));

    *o = (owned){ item, value };
    apr_pool_cleanup_register(p, o, drop, apr_pool_cleanup_null);
    return value;
}

void *scep_asn1_read(const ASN1_ITEM *item, scep_bytes ber, apr_pool_t *p)
{
    const unsigned char *at = ber.data;
    ASN1_VALUE *value = NULL;

    if (ber.len && ber.len <= INT_MAX)
        value = ASN1_item_d2i(NULL, &at, (long)ber.len, item);
    if (!value)
        return NULL;
    (void)own(item, value, p);
    return at == ber.data + ber.len ? value : NULL;
}

const scep_err *scep_asn1_write(scep_bytes *out, const ASN1_ITEM *item, const void *value,
                                apr_pool_t *p)
{
    int len = ASN1_item_i2d(value, NULL, item);
    unsigned char *der = len > 0 ? apr_palloc(p, (size_t)len) : NULL, *to = der;

    if (len <= 0 || ASN1_item_i2d(value, &to, item) != len)
        return scep_fail(p, INTERNAL, "a structure cannot be encoded");
    *out = (scep_bytes){ der, (size_t)len };
    return NULL;
}

scep_bytes scep_asn1_bytes(const ASN1_STRING *string)
{
    if (!string)
        return (scep_bytes){ NULL, 0 };
    return (scep_bytes){ ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string) };
}

ASN1_STRING *scep_asn1_string(int type, scep_bytes bytes, apr_pool_t *p)
{
    ASN1_STRING *string = apr_pcalloc(p, sizeof(*string));

    string->type = type;
    string->data = (unsigned char *)(uintptr_t)bytes.data; /* read only */
    string->length = (int)bytes.len;
    return string;
}

ASN1_TYPE *scep_asn1_any(int type, scep_bytes bytes, apr_pool_t *p)
{
    ASN1_TYPE *any = apr_pcalloc(p, sizeof(*any));

    any->type = type;
    if (type != V_ASN1_NULL)
        any->value.asn1_string = scep_asn1_string(type, bytes, p);
    return any;
}
