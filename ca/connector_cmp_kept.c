/* What is kept of a CMP transaction that waits. */
#include "connector_cmp_int.h"

#include <apr_strings.h>
#include <limits.h>
#include <string.h>

#define SEQUENCE 0x30
#define EXTRA_CERTS 0xA1
#define CERTS_MOST 10 /* so many make a long chain */

/* Tag and length before @a content. */
static scep_bytes wrap(int tag, int class, scep_bytes content, apr_pool_t *p)
{
    int size = ASN1_object_size(1, (int)content.len, tag);
    unsigned char *der = apr_palloc(p, (size_t)size), *to = der;

    ASN1_put_object(&to, 1, (int)content.len, tag, class);
    memcpy(to, content.data, content.len);
    return (scep_bytes){ der, (size_t)size };
}

/* The first n elements, of a SEQUENCE OF within [1]. */
static bool first_certs(scep_bytes *out, scep_bytes tagged, int n, apr_pool_t *p)
{
    scep_cursor c = { tagged.data, tagged.len };
    scep_bytes list, cert;
    uint8_t tag;

    if (!scep_cursor_der(&c, &tag, &list) || tag != SEQUENCE)
        return false;
    c = (scep_cursor){ list.data, list.len };
    while (n-- > 0 && c.left)
        if (!scep_cursor_der(&c, &tag, &cert))
            return false;
    list.len -= c.left;
    *out = wrap(1, V_ASN1_CONTEXT_SPECIFIC, wrap(V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, list, p), p);
    return true;
}

/* RFC 4210 5.1: header, body, protection [0], extraCerts [1]. */
const scep_err *cmp_message_trim(scep_bytes *out, scep_bytes der, int certs, apr_pool_t *p)
{
    scep_cursor c = { der.data, der.len };
    scep_bytes message, part, kept = { NULL, 0 }, rest;
    uint8_t tag = 0;

    if (der.len > INT_MAX || !scep_cursor_der(&c, &tag, &message) || tag != SEQUENCE || c.left)
        return scep_fail(p, INTERNAL, "not one PKIMessage");
    rest = message;
    for (c = (scep_cursor){ message.data, message.len }; c.left;) {
        size_t before = c.left;

        if (!scep_cursor_der(&c, &tag, &part))
            return scep_fail(p, INTERNAL, "not one PKIMessage");
        if (tag != EXTRA_CERTS)
            continue;
        rest.len = message.len - before;
        if (certs > 0 && !first_certs(&kept, part, certs, p))
            return scep_fail(p, INTERNAL, "no certificates in a PKIMessage's extraCerts");
        break;
    }
    message.data = memcpy(apr_palloc(p, rest.len + kept.len), rest.data, rest.len);
    if (kept.len)
        memcpy((unsigned char *)message.data + rest.len, kept.data, kept.len);
    message.len = rest.len + kept.len;
    *out = wrap(V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, message, p);
    return NULL;
}

static const char *id_text(const cmp_kept *kept, apr_pool_t *p)
{
    return scep_hex(p, (scep_bytes){ kept->id, CMP_ID_SIZE });
}

/* The signer's certificate stands in front and what certifies it behind (RFC 4210 5.1, RFC 9483
 * 3.3), so the last ones are left out first. */
static const scep_err *fit(const char **out, const cmp_kept *kept, const char *polled,
                           bool signer_is_known, apr_pool_t *p)
{
    scep_bytes part;

    for (int n = signer_is_known ? 0 : CERTS_MOST; n >= (signer_is_known ? 0 : 1); n--) {
        SCEP_TRY(cmp_message_trim(&part, kept->waits, n, p));
        *out = apr_pstrcat(p, kept->broken ? "b " : "w ", id_text(kept, p), " ",
                           scep_base64(p, part), polled, NULL);
        if (strlen(*out) <= CONNECTOR_COOKIE_MOST)
            return NULL;
    }
    return scep_fail(p, UNAVAILABLE,
                     "the CA says \"waiting\" in a message of %lu bytes, which is too long to be "
                     "kept: %s",
                     (unsigned long)part.len,
                     signer_is_known
                         ? "it has to say less in it"
                         : "name the certificate that signs its answers by server_cert");
}

/* Rather with the last pollRep than with every certificate: a certificate that is missing can be
 * named in ca.conf, but without the pollRep the CA sees a nonce that is one message old, and may
 * end the transaction. Most do not mind, so that is left out at last. */
const scep_err *cmp_kept_write(const char **out, const cmp_kept *kept, bool signer_is_known,
                               apr_pool_t *p)
{
    const char *polled;
    scep_bytes part;

    if (!kept->waits.len) {
        *out = apr_pstrcat(p, "t ", id_text(kept, p), NULL);
        return NULL;
    }
    if (kept->polled.len) {
        SCEP_TRY(cmp_message_trim(&part, kept->polled, 0, p));
        polled = apr_pstrcat(p, " ", scep_base64(p, part), NULL);
        if (!fit(out, kept, polled, signer_is_known, p))
            return NULL;
    }
    return fit(out, kept, "", signer_is_known, p);
}

static bool read_id(cmp_kept *out, const char *text)
{
    if (!text || strlen(text) != 2 * sizeof(out->id))
        return false;
    for (size_t i = 0; i < 2 * sizeof(out->id); i++) {
        int digit = OPENSSL_hexchar2int((unsigned char)text[i]);

        if (digit < 0)
            return false;
        out->id[i / 2] = (unsigned char)((i % 2 ? out->id[i / 2] << 4 : 0) | digit);
    }
    return true;
}

const scep_err *cmp_kept_read(cmp_kept *out, const char *text, apr_pool_t *p)
{
    char *state = NULL, *kind = apr_strtok(apr_pstrdup(p, text), " ", &state);
    const char *waits, *polled;
    bool fits;

    *out = (cmp_kept){ .waits = { NULL, 0 } };
    fits = kind && read_id(out, apr_strtok(NULL, " ", &state));
    waits = fits ? apr_strtok(NULL, " ", &state) : NULL;
    polled = waits ? apr_strtok(NULL, " ", &state) : NULL;
    out->broken = fits && !strcmp(kind, "b");
    if (!fits || (!out->broken && strcmp(kind, waits ? "w" : "t")) || (out->broken && !waits) ||
        (waits && scep_unbase64(&out->waits, waits, p)) ||
        (polled && scep_unbase64(&out->polled, polled, p)))
        return scep_fail(p, CONFIG, "what was kept of a CMP transaction cannot be read: \"%s\"",
                         scep_printable(p, scep_bytes_of(text), 80));
    return NULL;
}
