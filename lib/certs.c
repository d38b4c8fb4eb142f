/* Certificates in lists: PEM files in, degenerate SignedData out. */
#include "certs.h"

#include <apr_strings.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>

const scep_err *scep_certs_degenerate(scep_bytes *out, const STACK_OF(X509) * certs, apr_pool_t *p)
{
    PKCS7 *list = scep_PKCS7(p, PKCS7_new());
    unsigned char *der = NULL;
    int len;

    if (!list || !PKCS7_set_type(list, NID_pkcs7_signed) ||
        !PKCS7_content_new(list, NID_pkcs7_data) || !PKCS7_set_detached(list, 1))
        return scep_fail(p, INTERNAL, "a certificate list cannot be made");
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (!PKCS7_add_certificate(list, sk_X509_value(certs, i)))
            return scep_fail(p, INTERNAL, "a certificate cannot be put into a list");
    }
    len = i2d_PKCS7(list, NULL);
    if (len > 0) {
        unsigned char *to = der = apr_palloc(p, (size_t)len);

        len = i2d_PKCS7(list, &to);
    }
    if (len <= 0)
        return scep_fail(p, INTERNAL, "a certificate list cannot be encoded");
    *out = (scep_bytes){ der, (size_t)len };
    return NULL;
}

static const scep_err *read_all(STACK_OF(X509) * certs, BIO *file, const char *path, apr_pool_t *p)
{
    static char no_passphrase[] = ""; /* given as user data, so that nobody is ever asked */
    unsigned long last;
    X509 *cert;

    while ((cert = PEM_read_bio_X509(file, NULL, NULL, no_passphrase))) {
        if (!sk_X509_push(certs, cert)) {
            X509_free(cert);
            return scep_fail(p, INTERNAL, "out of memory");
        }
    }
    /* the end of the file looks like a missing start line; any other reason is a broken file */
    last = ERR_peek_last_error();
    if (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
        return scep_fail(p, CONFIG, "%s: certificate %d cannot be read", path,
                         sk_X509_num(certs) + 1);
    ERR_clear_error();
    if (!sk_X509_num(certs))
        return scep_fail(p, CONFIG, "%s holds no certificate in PEM form", path);
    return NULL;
}

const scep_err *scep_certs_load(STACK_OF(X509) * *out, const char *path, apr_pool_t *p)
{
    STACK_OF(X509) *certs = scep_X509_STACK(p, sk_X509_new_null());
    const scep_err *err;
    BIO *file;

    if (!certs)
        return scep_fail(p, INTERNAL, "out of memory");
    file = BIO_new_file(path, "r");
    if (!file)
        return scep_fail(p, CONFIG, "certificate file %s cannot be opened", path);
    err = read_all(certs, file, path, p);
    BIO_free(file); /* the pool may live as long as the process; an open file need not */
    if (err)
        return err;
    *out = certs;
    return NULL;
}

const scep_err *scep_cert_der(scep_bytes *out, const X509 *cert, apr_pool_t *p)
{
    int len = i2d_X509(cert, NULL);
    unsigned char *der = NULL;

    if (len > 0) {
        unsigned char *to = der = apr_palloc(p, (size_t)len);

        len = i2d_X509(cert, &to);
    }
    if (len <= 0)
        return scep_fail(p, INTERNAL, "a certificate cannot be encoded");
    *out = (scep_bytes){ der, (size_t)len };
    return NULL;
}

const scep_err *scep_cert_read(X509 **out, scep_bytes der, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    X509 *cert = NULL;

    if (der.len && der.len <= INT_MAX)
        cert = scep_X509(p, d2i_X509(NULL, &at, (long)der.len));
    if (!cert || at != der.data + der.len)
        return scep_fail(p, INTERNAL, "not one certificate of %lu bytes", (unsigned long)der.len);
    *out = cert;
    return NULL;
}

char *scep_cert_serial(const X509 *cert, apr_pool_t *p)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);

    return scep_hex(
        p, (scep_bytes){ ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial) });
}

char *scep_name_line(const X509_NAME *name, apr_pool_t *p)
{
    BIO *memory = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *text;
    long len;

    if (!memory || X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253) < 0) {
        ERR_clear_error();
        return apr_pstrdup(p, "?");
    }
    len = BIO_get_mem_data(memory, &text);
    /* An empty name leaves no memory at all behind, and apr_pstrndup gives NULL for NULL. */
    return len > 0 ? apr_pstrndup(p, text, (apr_size_t)len) : apr_pstrdup(p, "");
}
