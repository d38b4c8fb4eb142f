/* Judgement: one rule after the other; the first that speaks refuses, and silence grants. */
#include "policy.h"

#include "message.h"
#include "oid.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <string.h>

#define MOST_RDNS 32
#define MOST_VALUE 1024
#define MOST_ALT_NAMES 64

/* Strong certificate mapping of Windows: whoever chooses it logs on as anybody. */
#define SID_URI "tag:microsoft.com,2022-09-14:sid:"
#define SID_OID "1.3.6.1.4.1.311.25.2"

/* A rule says why not, or NULL. */
typedef struct objection {
    scep_code code;
    const char *reason;
} objection;

typedef const objection *(*rule_fn)(const policy_facts *f, apr_pool_t *p);

static const objection *object(apr_pool_t *p, scep_code code, const char *reason)
{
    objection *o = apr_palloc(p, sizeof(*o));

    o->code = code;
    o->reason = reason;
    return o;
}

static const objection *judge_type(const policy_facts *f, apr_pool_t *p)
{
    if (f->message_type == SCEP_PKCS_REQ)
        return NULL;
    return object(
        p, SCEP_BAD_REQUEST,
        apr_psprintf(p, "messageType %d is not served; 19 (PKCSReq) is", f->message_type));
}

static const objection *judge_challenge(const policy_facts *f, apr_pool_t *p)
{
    if (!f->enforce_password)
        return NULL;
    if (!f->csr->challenge.len)
        return object(p, SCEP_CHALLENGE_ABSENT, "the request has no challenge password");
    if (!f->challenge_good)
        return object(p, SCEP_CHALLENGE, "the challenge password is unknown, used or expired");
    return NULL;
}

/* Bits of the digest that an X.509 signature uses; 0: not one that is known. */
static int digest_bits(const X509_REQ *req)
{
    const X509_ALGOR *algorithm = NULL;
    int nid = NID_undef, bits;
    RSA_PSS_PARAMS *pss;
    const EVP_MD *md;

    X509_REQ_get0_signature(req, NULL, &algorithm);
    if (!OBJ_find_sigid_algs(X509_REQ_get_signature_nid(req), &nid, NULL))
        return 0;
    if (nid != NID_undef) {
        md = EVP_get_digestbynid(nid);
        return md ? EVP_MD_get_size(md) * 8 : 0;
    }
    /* RSASSA-PSS names its digest in the parameters, SHA-1 where it names none. RFC 4055 3.1 */
    pss = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm->parameter);
    if (!pss)
        return 0;
    md = pss->hashAlgorithm ? EVP_get_digestbyobj(pss->hashAlgorithm->algorithm) : EVP_sha1();
    bits = md ? EVP_MD_get_size(md) * 8 : 0;
    RSA_PSS_PARAMS_free(pss);
    return bits;
}

static const objection *judge_digest(const policy_facts *f, apr_pool_t *p)
{
    int bits = digest_bits(f->csr->req);

    if (bits >= f->minimum_hash_bits)
        return NULL;
    return object(p, SCEP_BAD_ALG,
                  apr_psprintf(p,
                               "the request is signed with a digest of %d bits; MinimumHash "
                               "asks for %d",
                               bits, f->minimum_hash_bits));
}

static const objection *judge_key(const policy_facts *f, apr_pool_t *p)
{
    int bits = EVP_PKEY_get_bits(f->csr->key);
    uint32_t encipherment = KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT;

    if (EVP_PKEY_is_a(f->csr->key, "RSA")) {
        if (bits >= f->template->minimum_rsa_bits)
            return NULL;
        return object(p, SCEP_REFUSED,
                      apr_psprintf(p, "the RSA key has %d bits; template %s asks for %d", bits,
                                   f->template->name, f->template->minimum_rsa_bits));
    }
    /* RFC 8813 3: an EC key has no encipherment usage, and without any usage it has them all. */
    if (f->template->key_usage & ~encipherment)
        return NULL;
    return object(p, SCEP_REFUSED,
                  apr_psprintf(p, "template %s allows encipherment only, which no EC key can do",
                               f->template->name));
}

/* Is what stands in @a value fit to be shown, compared and logged? NULL: yes */
static const char *text_fault(const ASN1_STRING *value, apr_pool_t *p)
{
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, value);
    const char *fault = NULL;

    if (len < 0)
        return "is no text";
    if (len > MOST_VALUE)
        fault = "is over 1024 bytes";
    for (int i = 0; !fault && i < len; i++) {
        /* C0, DEL; C1 is C2 80 to C2 9F in UTF-8 */
        if (utf8[i] < 0x20 || utf8[i] == 0x7f ||
            (utf8[i] == 0xc2 && i + 1 < len && utf8[i + 1] < 0xa0))
            fault = "holds a control character";
    }
    OPENSSL_free(utf8);
    return fault;
}

/* RDNs in the bytes of the name: OpenSSL's view drops empty ones. -1: there is one of those. */
static int rdn_count(const X509_NAME *name)
{
    const unsigned char *der;
    size_t len;
    scep_cursor c, inner;
    scep_bytes content;
    uint8_t tag;
    int n = 0;

    if (!X509_NAME_get0_der(name, &der, &len))
        return -1;
    c = (scep_cursor){ der, len };
    if (!scep_cursor_der(&c, &tag, &content))
        return -1;
    inner = (scep_cursor){ content.data, content.len };
    for (; inner.left; n++)
        if (!scep_cursor_der(&inner, &tag, &content) || !content.len)
            return -1;
    return n;
}

static const char *name_fault(const X509_NAME *name, apr_pool_t *p)
{
    int rdns = rdn_count(name);

    if (rdns < 0)
        return "has an empty part";
    if (rdns > MOST_RDNS || X509_NAME_entry_count(name) > MOST_RDNS)
        return "has more than 32 parts";
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        const char *fault = text_fault(X509_NAME_ENTRY_get_data(entry), p);

        if (fault)
            return apr_psprintf(p, "has a part that %s", fault);
    }
    return NULL;
}

/* The subjectAltName asked for. @return 1 and the names, 0 none, -1 cannot be read */
static int alt_names(GENERAL_NAMES **out, const scep_csr *csr, apr_pool_t *p)
{
    int critical = -1;

    *out = NULL;
    if (!csr->extensions)
        return 0;
    *out = scep_GENERAL_NAMES(
        p, X509V3_get_d2i(csr->extensions, NID_subject_alt_name, &critical, NULL));
    if (*out)
        return sk_GENERAL_NAME_num(*out) > 0 ? 1 : -1;
    return critical == -1 ? 0 : -1;
}

static const objection *judge_subject(const policy_facts *f, apr_pool_t *p)
{
    const X509_NAME *subject = X509_REQ_get_subject_name(f->csr->req);
    bool empty = X509_NAME_entry_count(subject) == 0;
    const char *fault = name_fault(subject, p);
    GENERAL_NAMES *names;

    if (fault)
        return object(p, SCEP_BAD_SUBJECT, apr_pstrcat(p, "the subject ", fault, NULL));
    if (empty && f->template->subject_required)
        return object(
            p, SCEP_BAD_SUBJECT,
            apr_psprintf(p, "the subject is empty; template %s requires one", f->template->name));
    if (empty && alt_names(&names, f->csr, p) == 0)
        return object(p, SCEP_BAD_SUBJECT, "there is neither a subject nor a subjectAltName");
    return NULL;
}

static const char *other_name_fault(const OTHERNAME *other, apr_pool_t *p)
{
    int type = other->value ? other->value->type : V_ASN1_UNDEF;

    if (type == V_ASN1_UTF8STRING || type == V_ASN1_PRINTABLESTRING || type == V_ASN1_IA5STRING ||
        type == V_ASN1_BMPSTRING)
        return text_fault(other->value->value.asn1_string, p);
    return NULL;
}

static const char *ia5_fault(const ASN1_IA5STRING *value)
{
    const unsigned char *at = ASN1_STRING_get0_data(value);
    int len = ASN1_STRING_length(value);

    if (len < 1 || len > MOST_VALUE)
        return "has not 1 to 1024 bytes";
    for (int i = 0; i < len; i++)
        if (at[i] < 0x20 || at[i] > 0x7e)
            return "holds a control character or one outside ASCII";
    return NULL;
}

static const char *alt_name_fault(const GENERAL_NAME *name, apr_pool_t *p)
{
    int len;

    switch (name->type) {
    case GEN_DNS:
    case GEN_EMAIL:
    case GEN_URI:
        return ia5_fault(name->d.ia5);
    case GEN_IPADD:
        len = ASN1_STRING_length(name->d.iPAddress);
        return len == 4 || len == 16 ? NULL : "is no IP address";
    case GEN_DIRNAME:
        return name_fault(name->d.directoryName, p);
    case GEN_OTHERNAME:
        return other_name_fault(name->d.otherName, p);
    case GEN_RID:
        return NULL;
    default:
        return "is of a kind that is not issued";
    }
}

static const objection *judge_alt_names(const policy_facts *f, apr_pool_t *p)
{
    GENERAL_NAMES *names;
    int there = alt_names(&names, f->csr, p);

    if (there == 0)
        return NULL;
    if (there < 0)
        return object(p, SCEP_BAD_SUBJECT, "the subjectAltName cannot be read or is empty");
    if (sk_GENERAL_NAME_num(names) > MOST_ALT_NAMES)
        return object(p, SCEP_BAD_SUBJECT, "the subjectAltName has more than 64 names");
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const char *fault = alt_name_fault(sk_GENERAL_NAME_value(names, i), p);

        if (fault)
            return object(p, SCEP_BAD_SUBJECT,
                          apr_psprintf(p, "a name in the subjectAltName %s", fault));
    }
    return NULL;
}

static bool is_sid_name(const GENERAL_NAME *name)
{
    size_t len = strlen(SID_URI);
    char dotted[80];

    if (name->type == GEN_URI)
        return (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier) >= len &&
               !strncasecmp((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                            SID_URI, len);
    if (name->type != GEN_OTHERNAME ||
        OBJ_obj2txt(dotted, sizeof(dotted), name->d.otherName->type_id, 1) <= 0)
        return false;
    /* The content of the extension is such a name itself, 1.3.6.1.4.1.311.25.2.1. */
    len = strlen(SID_OID);
    return !strncmp(dotted, SID_OID, len) && (dotted[len] == '\0' || dotted[len] == '.');
}

static const objection *judge_sid(const policy_facts *f, apr_pool_t *p)
{
    GENERAL_NAMES *names;
    bool claimed;

    if (f->template->allow_sid)
        return NULL;
    claimed = X509v3_get_ext_by_OBJ(f->csr->extensions, scep_oid(SCEP_OID_MICROSOFT_SID), -1) >= 0;
    if (alt_names(&names, f->csr, p) == 1)
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
            claimed = claimed || is_sid_name(sk_GENERAL_NAME_value(names, i));
    if (!claimed)
        return NULL;
    return object(p, SCEP_REFUSED,
                  apr_psprintf(p, "a Microsoft SID is claimed; template %s has not allow_sid = yes",
                               f->template->name));
}

policy_verdict policy_judge(const policy_facts *facts, apr_pool_t *p)
{
    /* Who is asking comes first: without a challenge nothing else is told. */
    static const rule_fn rules[] = { judge_type,    judge_challenge, judge_digest, judge_key,
                                     judge_subject, judge_alt_names, judge_sid };

    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
        const objection *o = rules[i](facts, p);

        if (o)
            return (policy_verdict){ POLICY_DENY, o->code, o->reason, false };
    }
    return (policy_verdict){ POLICY_GRANT, SCEP_OK, "every rule is met", facts->enforce_password };
}
