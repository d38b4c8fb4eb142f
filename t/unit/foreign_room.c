/* The room of the tests of foreign CRLs. */
#include "foreign_room.h"

#include "clock.h"

#include <apr_strings.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

apr_int64_t foreign_now;
EVP_PKEY *foreign_ca_key, *foreign_other_key;
STACK_OF(X509) * foreign_issuers;
const char *foreign_path;

void foreign_clock_at(apr_int64_t seconds)
{
    foreign_now = seconds;
    scep_clock_set(apr_time_from_sec(seconds));
}

X509 *foreign_ca_of(const char *name, EVP_PKEY *key, uint32_t usage)
{
    return fixture_cert(name, key, NULL, NULL, true, usage, room_pool);
}

X509 *foreign_device(long serial, const char *issuer, EVP_PKEY *key)
{
    X509 *signer = foreign_ca_of(issuer, key, CA_USAGE);
    X509 *cert = fixture_cert("CN=device", foreign_other_key, signer, key, false, 0, room_pool);

    ck_assert_int_eq(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial), 1);
    fixture_resign(cert, key);
    return cert;
}

void foreign_up(void)
{
    room_up_folder();
    foreign_clock_at(apr_time_sec(apr_time_now()));
    foreign_ca_key = fixture_key_make(0, "P-256", room_pool);
    foreign_other_key = fixture_key_make(0, "P-256", room_pool);
    foreign_issuers = scep_borrowed_stack(room_pool);
    ck_assert_int_eq(
        sk_X509_push(foreign_issuers, foreign_ca_of("CN=Foreign CA", foreign_ca_key, CA_USAGE)), 1);
    foreign_path = apr_pstrcat(room_pool, room_folder, "/foreign.crl", NULL);
}

static X509_EXTENSION *odd_extension(const crl_order *o)
{
    static const unsigned char empty[] = { 0x30, 0x00 };
    ASN1_OBJECT *object = scep_ASN1_OBJECT(room_pool, OBJ_txt2obj(o->extension, 0));
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;

    FIXTURE_MUST(object && value && ASN1_OCTET_STRING_set(value, empty, sizeof(empty)));
    extension = X509_EXTENSION_create_by_OBJ(NULL, object, o->critical, value);
    ASN1_OCTET_STRING_free(value);
    FIXTURE_MUST(extension);
    return extension;
}

static void add_entries(X509_CRL *crl, const crl_order *o)
{
    for (int i = 0; i < ROWS(o->serials) && o->serials[i]; i++) {
        X509_REVOKED *entry = X509_REVOKED_new();
        ASN1_INTEGER *serial = ASN1_INTEGER_new();
        ASN1_TIME *date = ASN1_TIME_set(NULL, (time_t)foreign_now);

        FIXTURE_MUST(entry && serial && date && ASN1_INTEGER_set(serial, o->serials[i]) &&
                     X509_REVOKED_set_serialNumber(entry, serial) &&
                     X509_REVOKED_set_revocationDate(entry, date));
        if (o->extension && o->in_entry && !i) {
            X509_EXTENSION *extension = odd_extension(o);

            FIXTURE_MUST(X509_REVOKED_add_ext(entry, extension, -1));
            X509_EXTENSION_free(extension);
        }
        FIXTURE_MUST(X509_CRL_add0_revoked(crl, entry));
        ASN1_INTEGER_free(serial);
        ASN1_TIME_free(date);
    }
}

X509_CRL *foreign_crl_make(const crl_order *o)
{
    X509_CRL *crl = scep_X509_CRL(room_pool, X509_CRL_new());
    X509_NAME *name = scep_X509_NAME(room_pool, X509_NAME_new());
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(foreign_now + o->from));
    ASN1_TIME *to = ASN1_TIME_set(NULL, (time_t)(foreign_now + (o->to ? o->to : 7 * DAY)));

    FIXTURE_MUST(crl && name && from && to);
    fixture_set_name(name, o->issuer ? o->issuer : "CN=Foreign CA");
    FIXTURE_MUST(X509_CRL_set_version(crl, o->version_1 ? 0 : X509_CRL_VERSION_2) &&
                 X509_CRL_set_issuer_name(crl, name) && X509_CRL_set1_lastUpdate(crl, from) &&
                 (o->without_end || X509_CRL_set1_nextUpdate(crl, to)));
    add_entries(crl, o);
    if (o->extension && !o->in_entry) {
        X509_EXTENSION *extension = odd_extension(o);

        FIXTURE_MUST(X509_CRL_add_ext(crl, extension, -1));
        X509_EXTENSION_free(extension);
    }
    FIXTURE_MUST(
        X509_CRL_sign(crl, o->key ? o->key : foreign_ca_key, o->digest ? o->digest : EVP_sha256()));
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return crl;
}

scep_bytes foreign_crl_der(X509_CRL *crl)
{
    unsigned char *der = NULL;
    int len = i2d_X509_CRL(crl, &der);
    scep_bytes copy;

    FIXTURE_MUST(len > 0);
    copy = scep_bytes_dup(room_pool, (scep_bytes){ der, (size_t)len });
    OPENSSL_free(der);
    return copy;
}

void foreign_file_write(const void *bytes, size_t len)
{
    const char *name = apr_pstrcat(room_pool, foreign_path, ".new", NULL);
    FILE *file = fopen(name, "w");

    FIXTURE_MUST(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
    FIXTURE_MUST(rename(name, foreign_path) == 0);
}

void foreign_file_put(const crl_order *orders, int n)
{
    BIO *memory = scep_BIO(room_pool, BIO_new(BIO_s_mem()));
    char *text;
    long len;

    for (int i = 0; i < n; i++)
        FIXTURE_MUST(orders[i].der ? i2d_X509_CRL_bio(memory, foreign_crl_make(&orders[i]))
                                   : PEM_write_bio_X509_CRL(memory, foreign_crl_make(&orders[i])));
    len = BIO_get_mem_data(memory, &text);
    foreign_file_write(text, (size_t)len);
}

foreign *foreign_made(const char *where)
{
    foreign *f;

    OK(foreign_make(&f, where, foreign_issuers, room_pool));
    return f;
}

void foreign_expect(foreign *f, X509 *cert, scep_code code, foreign_status status, const char *says)
{
    foreign_status found = FOREIGN_GOOD;
    const scep_err *err = foreign_check(&found, f, cert, room_pool);

    room_expect(err, code);
    if (!err)
        ck_assert_int_eq(found, status);
    else if (says)
        ck_assert_msg(strstr(err->detail, says) != NULL, "\"%s\" in: %s", says, err->detail);
}

void foreign_expect_good(foreign *f, long serial)
{
    foreign_expect(f, foreign_device(serial, "CN=Foreign CA", foreign_ca_key), SCEP_OK,
                   FOREIGN_GOOD, NULL);
}

void foreign_expect_revoked(foreign *f, long serial)
{
    foreign_expect(f, foreign_device(serial, "CN=Foreign CA", foreign_ca_key), SCEP_OK,
                   FOREIGN_REVOKED, NULL);
}

void foreign_expect_unknown(foreign *f, const char *says)
{
    foreign_expect(f, foreign_device(1, "CN=Foreign CA", foreign_ca_key), SCEP_UNAVAILABLE,
                   FOREIGN_GOOD, says);
}
