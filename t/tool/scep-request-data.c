/* messageData of the messages that carry no CSR. RFC 8894 3.3.3 to 3.3.5. */
#include "scep-request.h"

#include <apr_strings.h>
#include <openssl/bn.h>
#include <string.h>

static X509_NAME *name_of(const char *text, apr_pool_t *p)
{
    X509_NAME *name = scep_X509_NAME(p, X509_NAME_new());

    FIXTURE_MUST(name);
    fixture_set_name(name, text);
    return name;
}

/* Who issues: --issuer's subject, or the CA of --ca-ra. */
static const X509_NAME *issuer_name(const options *o, apr_pool_t *p)
{
    X509 *ca = o->issuer  ? read_cert(o->issuer, p)
               : o->ca_ra ? find_ca(read_ca_ra(o->ca_ra, p))
                          : NULL;

    if (!ca)
        die("--data", "needs --issuer, or --ca-ra with a CA's certificate");
    return X509_get_subject_name(ca);
}

static const X509_NAME *subject_of_csr(scep_bytes der, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    X509_REQ *csr = scep_X509_REQ(p, d2i_X509_REQ(NULL, &at, (long)der.len));

    if (!csr)
        die("--poll", "the earlier request held no CSR: --subject is needed");
    return X509_REQ_get_subject_name(csr);
}

/* IssuerAndSubject ::= SEQUENCE { issuer Name, subject Name } */
static scep_bytes two_names(const X509_NAME *first, const X509_NAME *second, apr_pool_t *p)
{
    int len = i2d_X509_NAME(first, NULL) + i2d_X509_NAME(second, NULL);
    int whole = ASN1_object_size(1, len, V_ASN1_SEQUENCE);
    unsigned char *der = apr_palloc(p, (size_t)whole), *at = der;

    ASN1_put_object(&at, 1, len, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
    FIXTURE_MUST(i2d_X509_NAME(first, &at) > 0 && i2d_X509_NAME(second, &at) > 0);
    FIXTURE_MUST(at == der + whole);
    return (scep_bytes){ der, (size_t)whole };
}

static scep_bytes issuer_and_serial(const options *o, apr_pool_t *p)
{
    PKCS7_ISSUER_AND_SERIAL *made = PKCS7_ISSUER_AND_SERIAL_new();
    BIGNUM *serial = NULL;
    unsigned char *der = NULL;
    scep_bytes out;
    int len;

    if (!o->serial || !BN_hex2bn(&serial, o->serial))
        die("--serial", "is needed, in hex");
    FIXTURE_MUST(made && X509_NAME_set(&made->issuer, issuer_name(o, p)) &&
                 BN_to_ASN1_INTEGER(serial, made->serial));
    len = i2d_PKCS7_ISSUER_AND_SERIAL(made, &der);
    FIXTURE_MUST(len > 0);
    out = scep_bytes_dup(p, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    BN_free(serial);
    PKCS7_ISSUER_AND_SERIAL_free(made);
    return out;
}

scep_bytes make_data(const options *o, const earlier *before, const char *subject, apr_pool_t *p)
{
    const char *word = o->data     ? o->data
                       : before    ? "issuer-and-subject"
                       : o->serial ? "issuer-and-serial"
                                   : "csr";
    bool swapped = strcmp(word, "swapped") == 0;

    if (strcmp(word, "csr") == 0)
        return (scep_bytes){ 0 };
    if (strcmp(word, "nonsense") == 0)
        return scep_bytes_of("neither a name nor a number");
    if (strcmp(word, "empty") == 0)
        return scep_bytes_of("");
    if (strcmp(word, "issuer-and-serial") == 0)
        return issuer_and_serial(o, p);
    if (!swapped && strcmp(word, "issuer-and-subject") != 0)
        die("--data", word);
    {
        const X509_NAME *issuer = issuer_name(o, p);
        const X509_NAME *asked = subject  ? name_of(subject, p)
                                 : before ? subject_of_csr(before->data, p)
                                          : name_of("CN=device", p);

        return swapped ? two_names(asked, issuer, p) : two_names(issuer, asked, p);
    }
}
