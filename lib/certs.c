/* Certificates in lists: PEM files in, SignedData out. */
#include "certs.h"
#include "der.h"

#include <apr_strings.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <time.h>

enum {
    SEQUENCE = 0x30,
    FRAME = 128 /* bytes around the certificates, and some more */
};

/*
 * RFC 8894 3.4: no content, no signer; RFC 5652 5.1: then it is of version 1. Certificates keep
 * their order, although a SET OF is sorted (X.690 11.6): clients take the first one as theirs.
 * @param crl len 0: none
 */
static const scep_err *degenerate(scep_bytes *out, const scep_bytes *certs, int n, scep_bytes crl,
                                  apr_pool_t *p)
{
    const scep_bytes nothing = { NULL, 0 };
    size_t room = FRAME + crl.len, mark;
    scep_der d;

    for (int i = 0; i < n; i++)
        room += certs[i].len;
    scep_der_begin(&d, room, p);
    scep_der_element(&d, SCEP_DER_SET, nothing); /* signers */
    if (crl.len)
        scep_der_element(&d, SCEP_DER_TAG_1, crl);
    mark = scep_der_mark(&d);
    for (int i = n - 1; i >= 0; i--)
        scep_der_put(&d, certs[i]);
    if (n > 0)
        scep_der_wrap(&d, SCEP_DER_TAG_0, mark);
    mark = scep_der_mark(&d);
    scep_der_object(&d, OBJ_nid2obj(NID_pkcs7_data));
    scep_der_wrap(&d, SCEP_DER_SEQUENCE, mark);
    scep_der_element(&d, SCEP_DER_SET, nothing); /* digests */
    scep_der_small(&d, 1);
    scep_der_wrap(&d, SCEP_DER_SEQUENCE, 0);
    scep_der_wrap(&d, SCEP_DER_TAG_0, 0);
    scep_der_object(&d, OBJ_nid2obj(NID_pkcs7_signed));
    scep_der_wrap(&d, SCEP_DER_SEQUENCE, 0);
    return scep_der_end(out, &d, p);
}

const scep_err *scep_certs_list(scep_bytes *out, scep_bytes leaf, const STACK_OF(X509) * certs,
                                apr_pool_t *p)
{
    int n = sk_X509_num(certs) > 0 ? sk_X509_num(certs) : 0, first = leaf.len ? 1 : 0;
    scep_bytes *der = apr_palloc(p, (size_t)(n + 1) * sizeof(*der)), content;
    scep_cursor c = { leaf.data, leaf.len };
    uint8_t tag;

    if (leaf.len && (!scep_cursor_der(&c, &tag, &content) || c.left || tag != SEQUENCE))
        return scep_fail(p, INTERNAL, "not one certificate of %lu bytes", (unsigned long)leaf.len);
    der[0] = leaf;
    for (int i = 0; i < n; i++)
        SCEP_TRY(scep_cert_der(&der[first + i], sk_X509_value(certs, i), p));
    return degenerate(out, der, first + n, (scep_bytes){ NULL, 0 }, p);
}

const scep_err *scep_certs_degenerate(scep_bytes *out, const STACK_OF(X509) * certs, apr_pool_t *p)
{
    return scep_certs_list(out, (scep_bytes){ NULL, 0 }, certs, p);
}

const scep_err *scep_certs_degenerate_crl(scep_bytes *out, scep_bytes crl_der, apr_pool_t *p)
{
    const unsigned char *at = crl_der.data;
    X509_CRL *crl = NULL;

    if (crl_der.len && crl_der.len <= INT_MAX)
        crl = scep_X509_CRL(p, d2i_X509_CRL(NULL, &at, (long)crl_der.len));
    if (!crl || at != crl_der.data + crl_der.len)
        return scep_fail(p, INTERNAL, "not one CRL of %lu bytes", (unsigned long)crl_der.len);
    return degenerate(out, NULL, 0, crl_der, p);
}

/* A set: the signer's certificate is in it already, and chains may share their root. */
static const scep_err *add_once(CMS_ContentInfo *cms, const STACK_OF(X509) * certs,
                                const X509 *signer, apr_pool_t *p)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        bool known = !X509_cmp(cert, signer);

        for (int k = 0; k < i && !known; k++)
            known = !X509_cmp(cert, sk_X509_value(certs, k));
        if (!known && !CMS_add1_cert(cms, cert))
            return scep_fail(p, INTERNAL, "a certificate cannot be put beside a signature");
    }
    return NULL;
}

const scep_err *scep_certs_next(scep_bytes *out, const STACK_OF(X509) * next,
                                const scep_signer *signer, const EVP_MD *digest, apr_pool_t *p)
{
    unsigned flags = CMS_PARTIAL | CMS_BINARY;
    CMS_ContentInfo *cms;
    scep_bytes list;
    BIO *content;

    if (sk_X509_num(next) <= 0)
        return scep_fail(p, INTERNAL, "there is no next CA to announce");
    SCEP_TRY(scep_certs_degenerate(&list, next, p));
    content = scep_BIO(p, BIO_new_mem_buf(list.data, (int)list.len));
    cms = scep_CMS_ContentInfo(p, CMS_sign(NULL, NULL, NULL, NULL, flags));
    /* CMS_add1_signer() also refuses a key that is not the certificate's */
    if (!cms || !content ||
        !CMS_add1_signer(cms, signer->cert, signer->key, digest, flags | CMS_NOSMIMECAP))
        return scep_fail(p, INTERNAL, "the RA cannot sign for the next CA");
    SCEP_TRY(add_once(cms, next, signer->cert, p));
    if (!CMS_final(cms, content, NULL, CMS_BINARY))
        return scep_fail(p, INTERNAL, "the next CA's certificates cannot be signed");
    return scep_cms_der(out, cms, p);
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
    return SCEP_ITEM_DER(out, X509, cert, p);
}

const scep_err *scep_cms_der(scep_bytes *out, const CMS_ContentInfo *cms, apr_pool_t *p)
{
    return SCEP_ITEM_DER(out, CMS_ContentInfo, cms, p);
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

char *scep_serial_hex(const ASN1_INTEGER *serial, apr_pool_t *p)
{
    return scep_hex(
        p, (scep_bytes){ ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial) });
}

const scep_err *scep_time_seconds(apr_int64_t *out, const ASN1_TIME *time, apr_pool_t *p)
{
    struct tm parts;

    if (!ASN1_TIME_to_tm(time, &parts))
        return scep_fail(p, INTERNAL, "a certificate's validity cannot be read");
    *out = (apr_int64_t)timegm(&parts);
    return NULL;
}

uint64_t scep_earlier(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

const scep_err *scep_cert_ends(uint64_t *ends, const X509 *cert, apr_pool_t *p)
{
    apr_int64_t end;

    SCEP_TRY(scep_time_seconds(&end, X509_get0_notAfter(cert), p));
    /* one before 1970 has ended, too */
    *ends = scep_earlier(*ends, end > 0 ? (uint64_t)end : 1);
    return NULL;
}

char *scep_cert_serial(const X509 *cert, apr_pool_t *p)
{
    return scep_serial_hex(X509_get0_serialNumber(cert), p);
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
