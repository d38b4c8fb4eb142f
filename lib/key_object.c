/* The private keys of a PKCS#11 token: which one a URI names. */
#include "config.h"

#include "key_parts.h"

#ifdef HAVE_PKCS11

#include <apr_strings.h>
#include <stdlib.h>

enum { NAMES_MOST = 8 };

static const char *key_label(const CK_ATTRIBUTE *label, const CK_ATTRIBUTE *id, apr_pool_t *p)
{
    if (label && label->ulValueLen)
        return apr_psprintf(
            p, "\"%s\"", scep_printable(p, (scep_bytes){ label->pValue, label->ulValueLen }, 64));
    return apr_pstrcat(p, "of id ",
                       id ? scep_hex(p, (scep_bytes){ id->pValue, id->ulValueLen }) : "", NULL);
}

static const scep_err *objects_find(CK_OBJECT_HANDLE *out, CK_ULONG *n, const scep_token *t,
                                    CK_ATTRIBUTE *wanted, CK_ULONG wanted_n, apr_pool_t *p)
{
    CK_RV rv = t->calls->C_FindObjectsInit(t->session, wanted, wanted_n);

    if (rv == CKR_OK) {
        rv = t->calls->C_FindObjects(t->session, out, *n, n);
        (void)t->calls->C_FindObjectsFinal(t->session);
    }
    if (rv == CKR_OK)
        return NULL;
    return scep_fail(p, UNAVAILABLE, "token \"%s\" (slot %lu) does not list its keys: %s", t->label,
                     t->slot, p11_kit_strerror(rv));
}

/* @return NULL: it has none */
static const CK_ATTRIBUTE *attribute(const scep_token *t, CK_OBJECT_HANDLE key,
                                     CK_ATTRIBUTE_TYPE type, apr_pool_t *p)
{
    CK_ATTRIBUTE *got = apr_pcalloc(p, sizeof(*got));

    got->type = type;
    if (t->calls->C_GetAttributeValue(t->session, key, got, 1) != CKR_OK ||
        got->ulValueLen == (CK_ULONG)-1 || !got->ulValueLen || got->ulValueLen > 1024)
        return NULL;
    got->pValue = apr_palloc(p, got->ulValueLen);
    return t->calls->C_GetAttributeValue(t->session, key, got, 1) == CKR_OK ? got : NULL;
}

static const char *key_names(const scep_token *t, CK_ATTRIBUTE *class, apr_pool_t *p)
{
    CK_OBJECT_HANDLE keys[NAMES_MOST];
    CK_ULONG n = NAMES_MOST;
    const char *names = "";

    if (objects_find(keys, &n, t, class, 1, p) || !n)
        return "none";
    for (CK_ULONG i = 0; i < n; i++)
        names = apr_pstrcat(
            p, names, i ? ", " : "",
            key_label(attribute(t, keys[i], CKA_LABEL, p), attribute(t, keys[i], CKA_ID, p), p),
            NULL);
    return names;
}

/* A URI of the one key: what was written may name others for those who look elsewhere. */
static const scep_err *name_exactly(scep_token_key *out, CK_OBJECT_HANDLE key, apr_pool_t *p)
{
    const CK_ATTRIBUTE *label = attribute(out->token, key, CKA_LABEL, p);
    const CK_ATTRIBUTE *id = attribute(out->token, key, CKA_ID, p);
    CK_OBJECT_CLASS private = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE class = { CKA_CLASS, &private, sizeof(private) };
    P11KitUri *uri = p11_kit_uri_new();
    char *text = NULL;
    bool good;

    if (!uri)
        return scep_fail(p, INTERNAL, "out of memory");
    *p11_kit_uri_get_token_info(uri) = out->token->info;
    good = p11_kit_uri_set_attribute(uri, &class) == P11_KIT_URI_OK;
    if (label)
        good = good && p11_kit_uri_set_attribute(uri, (CK_ATTRIBUTE *)label) == P11_KIT_URI_OK;
    if (id)
        good = good && p11_kit_uri_set_attribute(uri, (CK_ATTRIBUTE *)id) == P11_KIT_URI_OK;
    good =
        good && p11_kit_uri_format(uri, P11_KIT_URI_FOR_OBJECT_ON_TOKEN, &text) == P11_KIT_URI_OK;
    p11_kit_uri_free(uri);
    if (!good)
        return scep_fail(p, INTERNAL, "a PKCS#11 URI cannot be made");
    out->exact = apr_pstrdup(p, text);
    free(text);
    out->where = apr_psprintf(p, "key %s in token \"%s\" (slot %lu)", key_label(label, id, p),
                              out->token->label, out->token->slot);
    return NULL;
}

const scep_err *scep_token_key_find(scep_token_key *out, const scep_key_uri *uri, apr_pool_t *p)
{
    CK_OBJECT_CLASS private = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE wanted[3] = { { CKA_CLASS, &private, sizeof(private) } };
    const CK_ATTRIBUTE *label = p11_kit_uri_get_attribute(uri->parts, CKA_LABEL);
    const CK_ATTRIBUTE *id = p11_kit_uri_get_attribute(uri->parts, CKA_ID);
    const scep_token *t = out->token;
    CK_ULONG wanted_n = 1, n = 2;
    CK_OBJECT_HANDLE keys[2];

    if (label)
        wanted[wanted_n++] = *label;
    if (id)
        wanted[wanted_n++] = *id;
    SCEP_TRY(objects_find(keys, &n, t, wanted, wanted_n, p));
    if (n == 1)
        return name_exactly(out, keys[0], p);
    return scep_fail(p, CONFIG, "token \"%s\" (slot %lu) has %s private key %s; %s%s", t->label,
                     t->slot, n ? "more than one" : "no", key_label(label, id, p),
                     n ? "name one by id=" : "it has ", n ? "" : key_names(t, wanted, p));
}

#endif
