/* What a program is told of a request. */
#include "config.h"

#include "connector_exec_int.h"

#include "certs.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

static void add(apr_array_header_t *list, const char *text)
{
    ((scep_wire_word *)apr_array_push(list))->text = text;
}

/* A name as it stands in a list of lines: one with a control character could pass for two. */
static const char *line_of(scep_bytes text, apr_pool_t *p)
{
    size_t at;

    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            return NULL;
    return text.len && scep_is_utf8(text, &at)
               ? apr_pstrmemdup(p, (const char *)text.data, text.len)
               : NULL;
}

static const char *string_line(const ASN1_STRING *s, apr_pool_t *p)
{
    return line_of((scep_bytes){ ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s) }, p);
}

static const char *address_line(const ASN1_OCTET_STRING *address, apr_pool_t *p)
{
    int len = ASN1_STRING_length(address);
    char text[INET6_ADDRSTRLEN];

    if ((len != 4 && len != 16) || !inet_ntop(len == 4 ? AF_INET : AF_INET6,
                                              ASN1_STRING_get0_data(address), text, sizeof(text)))
        return NULL;
    return apr_pstrdup(p, text);
}

/* Microsoft's user principal name, the one other name that is text. */
static const char *principal_line(const OTHERNAME *other, apr_pool_t *p)
{
    if (OBJ_obj2nid(other->type_id) != NID_ms_upn || !other->value ||
        other->value->type != V_ASN1_UTF8STRING)
        return NULL;
    return string_line(other->value->value.utf8string, p);
}

static const char *name_line(const GENERAL_NAME *name, int type, apr_pool_t *p)
{
    if (name->type != type)
        return NULL;
    switch (type) {
    case GEN_DNS:
        return string_line(name->d.dNSName, p);
    case GEN_EMAIL:
        return string_line(name->d.rfc822Name, p);
    case GEN_IPADD:
        return address_line(name->d.iPAddress, p);
    default:
        return principal_line(name->d.otherName, p);
    }
}

/* The names of one kind, each on a line; nothing where there is none. */
static void add_names(apr_array_header_t *list, const GENERAL_NAMES *names, int type,
                      const char *variable, apr_pool_t *p)
{
    const char *all = NULL;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const char *line = name_line(sk_GENERAL_NAME_value(names, i), type, p);

        if (line)
            all = all ? apr_pstrcat(p, all, "\n", line, NULL) : line;
    }
    if (all)
        add(list, apr_pstrcat(p, variable, "=", all, NULL));
}

static const scep_err *add_csr(apr_array_header_t *list, scep_bytes der, apr_pool_t *p)
{
    static const char variable[] = "CERTMONGER_CSR=";
    BIO *bio = scep_BIO(p, BIO_new(BIO_s_secmem()));
    char *text = NULL, *copy;
    long len;

    if (!bio || BIO_puts(bio, variable) <= 0 ||
        PEM_write_bio(bio, PEM_STRING_X509_REQ, "", der.data, (long)der.len) <= 0)
        return scep_fail(p, INTERNAL, "no PEM can be made of the request");
    len = BIO_get_mem_data(bio, &text);
    copy = (char *)scep_secret(p, (size_t)len + 1);
    memcpy(copy, text, (size_t)len);
    add(list, copy);
    return NULL;
}

/* certmonger's variables, as far as a CSR has what they say: CERTMONGER_SPKAC would need the
 * device's private key. The challenge password is in none of its own; within the CSR, which is
 * signed, it cannot be left out. */
const scep_err *exec_environment(apr_array_header_t **out, const char *authority,
                                 const connector_ask *ask, const char *cookie, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 16, sizeof(scep_wire_word));
    const scep_csr *csr = ask->csr;
    GENERAL_NAMES *names = NULL;

    add(list, cookie ? "CERTMONGER_OPERATION=POLL" : "CERTMONGER_OPERATION=SUBMIT");
    if (cookie)
        add(list, apr_pstrcat(p, "CERTMONGER_CA_COOKIE=", cookie, NULL));
    add(list, apr_pstrcat(p, "CERTMONGER_CA_NICKNAME=", authority, NULL));
    add(list, apr_pstrcat(p, "CERTMONGER_CA_PROFILE=", ask->template->ca_template, NULL));
    SCEP_TRY(add_csr(list, csr->der, p));
    add(list, apr_pstrcat(p, "CERTMONGER_SPKI=", scep_base64(p, csr->spki), NULL));
    add(list,
        EVP_PKEY_is_a(csr->key, "RSA") ? "CERTMONGER_KEY_TYPE=RSA" : "CERTMONGER_KEY_TYPE=EC");
    add(list, apr_pstrcat(p, "CERTMONGER_REQ_SUBJECT=", scep_name_line(csr->subject, p), NULL));
    if (csr->extensions)
        names = scep_GENERAL_NAMES(
            p, X509V3_get_d2i(csr->extensions, NID_subject_alt_name, NULL, NULL));
    ERR_clear_error(); /* whether a CSR's names may stand was judged before */
    add_names(list, names, GEN_DNS, "CERTMONGER_REQ_HOSTNAME", p);
    add_names(list, names, GEN_EMAIL, "CERTMONGER_REQ_EMAIL", p);
    add_names(list, names, GEN_IPADD, "CERTMONGER_REQ_IP_ADDRESS", p);
    add_names(list, names, GEN_OTHERNAME, "CERTMONGER_REQ_PRINCIPAL", p);
    *out = list;
    return NULL;
}
