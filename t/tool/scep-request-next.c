/* scep-request next: the answer to GetNextCACert. RFC 8894 4.7.1; scep.md. */
#include "scep-request.h"

#include <openssl/err.h>
#include <stdio.h>

/* Whether one of the current certificates signed it; that one is then in *signer. */
static bool signed_by_one(CMS_ContentInfo *cms, X509_STACK *current, X509 **signer, apr_pool_t *p)
{
    BIO *out = scep_BIO(p, BIO_new(BIO_s_mem()));
    /* CMS_NOINTERN: the certificates sent along do not count, those known already do */
    bool good = CMS_verify(cms, current, NULL, NULL, out,
                           CMS_NOINTERN | CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) == 1;

    *signer = NULL;
    ERR_clear_error();
    if (good)
        CMS_SignerInfo_get0_algs(sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0), NULL,
                                 signer, NULL, NULL);
    return good;
}

static bool holds(const X509_STACK *certs, const X509 *cert)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (X509_cmp(sk_X509_value(certs, i), cert) == 0)
            return true;
    }
    return false;
}

static int count_in(const X509_STACK *wanted, const X509_STACK *in)
{
    int found = 0;

    for (int i = 0; i < sk_X509_num(wanted); i++)
        found += holds(in, sk_X509_value(wanted, i));
    return found;
}

/* The next CA's certificates, as from GetCACert; NULL and *why where it is no such answer. */
static X509_STACK *read_next(scep_bytes der, X509_STACK *current, const char **why, apr_pool_t *p)
{
    const unsigned char *at = der.data;
    CMS_ContentInfo *cms = scep_CMS_ContentInfo(p, d2i_CMS_ContentInfo(NULL, &at, (long)der.len));
    X509_STACK *outer = cms ? scep_X509_STACK(p, CMS_get1_certs(cms)) : NULL;
    X509_STACK *next;
    X509 *signer;

    ERR_clear_error();
    *why = "not a SignedData to the last byte";
    if (!cms || at != der.data + der.len || OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
        return NULL;
    *why = "not one signer";
    if (sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) != 1)
        return NULL;
    *why = "not signed by a current certificate";
    if (!signed_by_one(cms, current, &signer, p))
        return NULL;
    *why = "content is not a degenerate SignedData with certificates";
    next = fixture_certs(signed_content(der, p), p);
    if (!next || sk_X509_num(next) < 1)
        return NULL;
    *why = NULL;
    printf("content_type=%s\n", OBJ_nid2sn(OBJ_obj2nid(CMS_get0_eContentType(cms))));
    printf("signer_is_ca=%d\n", X509_check_ca(signer) > 0);
    printf("signer_sent=%d\n", holds(outer, signer));
    printf("certs=%d\n", sk_X509_num(next));
    printf("outer_certs=%d\n", outer ? sk_X509_num(outer) : 0);
    printf("next_in_outer=%d\n", count_in(next, outer));
    return next;
}

int command_next(const options *o, apr_pool_t *p)
{
    const char *why;
    scep_bytes der;

    if (!o->reply || !o->ca_ra || !o->out)
        die("next", "needs --reply, --ca-ra and --out");
    der = read_file(o->reply, p);
    if (!read_next(der, read_ca_ra(o->ca_ra, p), &why, p)) {
        fprintf(stderr, "scep-request: %s: %s\n", o->reply, why);
        return 1;
    }
    write_file(o->out, signed_content(der, p));
    return 0;
}
