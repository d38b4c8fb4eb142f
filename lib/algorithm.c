/* The allow-list of algorithms and keys. */
#include "algorithm.h"
#include "fetched.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#define SAY_DIGEST "have the client use SHA-256 (RFC 8894 2.9)"
#define SAY_CIPHER "have the client use AES (RFC 8894 2.9)"
#define SAY_LEGACY ", or set SCEPLegacyAlgorithms on"

/* The floor that lets SHA-1 pass lets MD5 pass too, once that is switched on. */
enum { SHA1_BITS = 160 };

/* In bytes; the key of 8192 bits has no more. */
enum { SALT_MOST = 1024 };

static const ASN1_OBJECT *algorithm_oid(const X509_ALGOR *alg)
{
    const ASN1_OBJECT *oid;

    X509_ALGOR_get0(&oid, NULL, NULL, alg);
    return oid;
}

static const char *algorithm_name(const X509_ALGOR *alg, apr_pool_t *p)
{
    char name[80];

    if (OBJ_obj2txt(name, sizeof(name), algorithm_oid(alg), 0) <= 0)
        return "(unreadable OID)";
    return scep_printable(p, scep_bytes_of(name), sizeof(name));
}

/* @param alg where @a nid was found, for its name */
static const scep_err *accept_digest(const EVP_MD **out, int nid, const X509_ALGOR *alg, int least,
                                     bool legacy, apr_pool_t *p)
{
    const EVP_MD *md = scep_fetched_digest(nid);

    if (nid == NID_md5 && legacy && least <= SHA1_BITS) {
        *out = EVP_md5();
        return NULL;
    }
    if (!md)
        return scep_fail(p, BAD_ALG, "digest algorithm %s is not accepted: " SAY_DIGEST "%s",
                         algorithm_name(alg, p), nid == NID_md5 && !legacy ? SAY_LEGACY : "");
    if (EVP_MD_get_size(md) * 8 < least)
        return scep_fail(p, BAD_ALG,
                         "digest algorithm %s is weaker than the %d bits of SCEPMinimumHash, or of "
                         "SCEPRenewalMinimumHash: " SAY_DIGEST,
                         algorithm_name(alg, p), least);
    *out = md;
    return NULL;
}

const scep_err *scep_algorithm_digest(const EVP_MD **out, const X509_ALGOR *digest, int least,
                                      bool legacy, apr_pool_t *p)
{
    return accept_digest(out, OBJ_obj2nid(algorithm_oid(digest)), digest, least, legacy, p);
}

/* The parameters' bytes where they are a SEQUENCE. */
static bool sequence_parameters(scep_bytes *out, const X509_ALGOR *alg)
{
    const void *value;
    int type;

    X509_ALGOR_get0(NULL, &type, &value, alg);
    if (type != V_ASN1_SEQUENCE)
        return false;
    *out = (scep_bytes){ ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value) };
    return true;
}

/* RFC 4055 2.2, 3.1, 4.1: absent means SHA-1, and MGF1 is the only mask generation there is. */
static const scep_err *accept_mask(scep_mask *out, const X509_ALGOR *digest, const X509_ALGOR *mgf,
                                   int least, apr_pool_t *p)
{
    const scep_err *err;
    X509_ALGOR *inner;
    scep_bytes der;

    *out = (scep_mask){ scep_fetched_digest(NID_sha1), scep_fetched_digest(NID_sha1) };
    if (!digest && least > 160)
        return scep_fail(p, BAD_ALG,
                         "digest algorithm sha1 inside RSA-PSS is weaker than the %d "
                         "bits of SCEPMinimumHash, or of SCEPRenewalMinimumHash: " SAY_DIGEST,
                         least);
    if (digest)
        SCEP_TRY(scep_algorithm_digest(&out->digest, digest, least, false, p));
    if (!mgf)
        return NULL;
    if (OBJ_obj2nid(algorithm_oid(mgf)) != NID_mgf1 || !sequence_parameters(&der, mgf))
        return scep_fail(p, BAD_ALG, "mask generation %s is not accepted: MGF1 is",
                         algorithm_name(mgf, p));
    inner = d2i_X509_ALGOR(NULL, &der.data, (long)der.len);
    if (!inner)
        return scep_fail(p, BAD_ALG, "the parameters of MGF1 cannot be read");
    /* MGF1 needs no collision resistance: SHA-1 is common there whatever the digest is */
    err = scep_algorithm_digest(&out->mask, inner, 0, false, p);
    X509_ALGOR_free(inner);
    return err;
}

/* RFC 4055 3.1, 3.3. Nothing says how long the salt may be; what does not fit, does not verify. */
static const scep_err *fit_pss(scep_scheme *s, const RSA_PSS_PARAMS *pss, int least, apr_pool_t *p)
{
    int64_t salt = 20, trailer = 1;

    SCEP_TRY(accept_mask(&s->pss, pss->hashAlgorithm, pss->maskGenAlgorithm, least, p));
    if (EVP_MD_get_type(s->pss.digest) != EVP_MD_get_type(s->digest))
        return scep_fail(p, BAD_ALG, "RSA-PSS with another digest than the message's");
    if ((pss->saltLength && !ASN1_INTEGER_get_int64(&salt, pss->saltLength)) || salt < 0 ||
        salt > SALT_MOST)
        return scep_fail(p, BAD_ALG, "RSA-PSS with a salt other than of 0 to %d bytes", SALT_MOST);
    if ((pss->trailerField && !ASN1_INTEGER_get_int64(&trailer, pss->trailerField)) || trailer != 1)
        return scep_fail(p, BAD_ALG, "RSA-PSS with another trailer field than 1");
    s->salt_length = (int)salt;
    return NULL;
}

static const scep_err *accept_pss(scep_scheme *s, const X509_ALGOR *signature, int least,
                                  apr_pool_t *p)
{
    RSA_PSS_PARAMS *pss = NULL;
    const scep_err *err;
    scep_bytes der;

    if (sequence_parameters(&der, signature))
        pss = d2i_RSA_PSS_PARAMS(NULL, &der.data, (long)der.len);
    if (!pss)
        return scep_fail(p, BAD_ALG, "the parameters of RSA-PSS are missing or cannot be read");
    err = fit_pss(s, pss, least, p);
    RSA_PSS_PARAMS_free(pss);
    return err;
}

const scep_err *scep_algorithm_signature(scep_scheme *out, const X509_ALGOR *digest,
                                         const X509_ALGOR *signature, int least, bool legacy,
                                         apr_pool_t *p)
{
    int nid = OBJ_obj2nid(algorithm_oid(signature));
    int digest_nid, key_nid;
    const EVP_MD *named;

    *out = (scep_scheme){ .key_type = EVP_PKEY_RSA };
    SCEP_TRY(scep_algorithm_digest(&out->digest, digest, least, legacy, p));
    if (nid == NID_rsaEncryption)
        return NULL;
    if (nid == NID_rsassaPss)
        return accept_pss(out, signature, least, p);
    if (!OBJ_find_sigid_algs(nid, &digest_nid, &key_nid) ||
        (key_nid != NID_rsaEncryption && key_nid != NID_X9_62_id_ecPublicKey))
        return scep_fail(p, BAD_ALG,
                         "signature algorithm %s is not accepted: RSA PKCS#1 v1.5, RSA-PSS and "
                         "ECDSA are",
                         algorithm_name(signature, p));
    out->key_type = key_nid == NID_rsaEncryption ? EVP_PKEY_RSA : EVP_PKEY_EC;
    /* the digest is that of digestAlgorithm (RFC 5652 5.4); but what is named must be good too */
    return accept_digest(&named, digest_nid, signature, least, legacy, p);
}

const scep_err *scep_algorithm_cipher(const EVP_CIPHER **out, const X509_ALGOR *cipher, bool legacy,
                                      apr_pool_t *p)
{
    int nid = OBJ_obj2nid(algorithm_oid(cipher));
    const EVP_CIPHER *found = scep_fetched_cipher(nid);
    const void *iv;
    int type;

    if (nid == NID_des_cbc && legacy)
        found = EVP_des_cbc();
    if (!found)
        return scep_fail(p, BAD_ALG, "content cipher %s is not accepted: " SAY_CIPHER "%s",
                         algorithm_name(cipher, p), nid == NID_des_cbc ? SAY_LEGACY : "");
    X509_ALGOR_get0(NULL, &type, &iv, cipher);
    if (type != V_ASN1_OCTET_STRING || ASN1_STRING_length(iv) != EVP_CIPHER_get_iv_length(found))
        return scep_fail(p, BAD_ALG, "content cipher %s came without an IV of %d bytes",
                         algorithm_name(cipher, p), EVP_CIPHER_get_iv_length(found));
    *out = found;
    return NULL;
}

/* RFC 8017 A.2.1 */
static const scep_err *accept_label(scep_bytes *label, const X509_ALGOR *source, apr_pool_t *p)
{
    const void *value;
    int type;

    if (!source)
        return NULL;
    X509_ALGOR_get0(NULL, &type, &value, source);
    if (OBJ_obj2nid(algorithm_oid(source)) != NID_pSpecified || type != V_ASN1_OCTET_STRING)
        return scep_fail(p, BAD_ALG, "label source %s of RSA-OAEP is not accepted: pSpecified is",
                         algorithm_name(source, p));
    *label = scep_bytes_dup(
        p, (scep_bytes){ ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value) });
    return NULL;
}

const scep_err *scep_algorithm_transport(scep_oaep *oaep, const X509_ALGOR *transport,
                                         apr_pool_t *p)
{
    int nid = OBJ_obj2nid(algorithm_oid(transport));
    RSA_OAEP_PARAMS *params = NULL;
    const scep_err *err;
    scep_bytes der;

    *oaep = (scep_oaep){ { NULL, NULL }, { NULL, 0 } };
    if (nid == NID_rsaEncryption)
        return NULL;
    if (nid != NID_rsaesOaep)
        return scep_fail(p, BAD_ALG,
                         "key transport %s is not accepted: RSA PKCS#1 v1.5 and OAEP are",
                         algorithm_name(transport, p));
    /* RFC 4055 4.1: always present; OpenSSL has crashed over their absence */
    if (sequence_parameters(&der, transport))
        params = d2i_RSA_OAEP_PARAMS(NULL, &der.data, (long)der.len);
    if (!params)
        return scep_fail(p, BAD_ALG, "the parameters of RSA-OAEP are missing or cannot be read");
    err = accept_mask(&oaep->mask, params->hashFunc, params->maskGenFunc, 0, p);
    if (!err)
        err = accept_label(&oaep->label, params->pSourceFunc, p);
    RSA_OAEP_PARAMS_free(params);
    return err;
}

static const char *rsa_fault(const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    unsigned char e[64 / 8] = { 0 };
    OSSL_PARAM params[] = { OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e, sizeof(e)),
                            OSSL_PARAM_construct_end() };
    uint64_t number;

    if (bits < 1024 || bits > 8192)
        return "an RSA key must have 1024 to 8192 bits";
    /* a huge exponent makes every verification dear; 1 and even ones are no RSA */
    if (!EVP_PKEY_get_params(key, params) || !OSSL_PARAM_modified(params) ||
        !OSSL_PARAM_get_uint64(params, &number) || number % 2 == 0 || number == 1)
        return "an RSA key must have an odd exponent from 3 to 64 bits";
    return NULL;
}

static const char *ec_fault(const EVP_PKEY *key)
{
    int by_parameters = 0;
    char group[32];
    size_t len;

    if (!EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                                &by_parameters) ||
        by_parameters || !EVP_PKEY_get_group_name(key, group, sizeof(group), &len) ||
        (strcmp(group, SN_X9_62_prime256v1) && strcmp(group, SN_secp384r1) &&
         strcmp(group, SN_secp521r1)))
        return SCEP_FAULT_EC;
    return NULL;
}

const char *scep_algorithm_key_fault(const EVP_PKEY *key)
{
    const char *fault = "a key must be RSA or EC";

    if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
        fault = rsa_fault(key);
    else if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
        fault = ec_fault(key);
    if (fault)
        ERR_clear_error(); /* the sentence says it */
    return fault;
}
