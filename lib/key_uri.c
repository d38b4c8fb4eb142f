/* PKCS#11 URIs, as keys are named by them. RFC 7512. */
#include "config.h"

#include "key.h"
#include "key_parts.h"

#ifdef HAVE_PKCS11

#include <apr_strings.h>
#include <string.h>

static apr_status_t drop_uri(void *data)
{
    p11_kit_uri_free(data);
    return APR_SUCCESS;
}

/* It becomes part of OpenSSL's configuration, whose syntax acts upon some characters. */
static bool is_plain_path(const char *path)
{
    for (const char *at = path; *at; at++)
        if (*at <= ' ' || *at > '~' || strchr("\\\"'`#$;", *at))
            return false;
    return path[0] == '/' && path[1];
}

static const scep_err *module_read(scep_key_uri *out, apr_pool_t *p)
{
    const char *path = p11_kit_uri_get_module_path(out->parts);

    if (!path)
        return scep_fail(p, CONFIG,
                         "a PKCS#11 URI needs the path of the token's module: "
                         "module-path=/PATH/MODULE.so behind a '?'");
    if (!is_plain_path(path))
        return scep_fail(p, CONFIG,
                         "module-path of a PKCS#11 URI: an absolute path is accepted, of printable "
                         "ASCII without blanks, quotes, '\\', '#', '$' and ';'");
    out->module = apr_pstrdup(p, path);
    return NULL;
}

/* RFC 7512 2.4: a file, or whatever an implementation takes; a program is not taken here. */
static const scep_err *pin_read(scep_key_uri *out, apr_pool_t *p)
{
    const char *source = p11_kit_uri_get_pin_source(out->parts);

    if (p11_kit_uri_get_pin_value(out->parts))
        return scep_fail(p, CONFIG,
                         "a PIN does not stand in a URI, which others may read: write it into a "
                         "file (chmod 600) and name that by pin-source=file:/PATH instead of "
                         "pin-value");
    if (!source)
        return NULL;
    if (strncmp(source, "file:/", 6))
        return scep_fail(p, CONFIG,
                         "pin-source of a PKCS#11 URI: file:/PATH is accepted, an absolute path");
    out->pin = apr_pstrdup(p, source + 5);
    return NULL;
}

/* Which token, and which key of it. */
static const scep_err *check_object(const scep_key_uri *uri, apr_pool_t *p)
{
    const CK_TOKEN_INFO *token = p11_kit_uri_get_token_info(uri->parts);
    const CK_ATTRIBUTE *class = p11_kit_uri_get_attribute(uri->parts, CKA_CLASS);

    if (!*token->label && !*token->serialNumber &&
        p11_kit_uri_get_slot_id(uri->parts) == (CK_SLOT_ID)-1)
        return scep_fail(p, CONFIG,
                         "a PKCS#11 URI has to say which token: token=LABEL, serial=NUMBER or "
                         "slot-id=NUMBER");
    if (!p11_kit_uri_get_attribute(uri->parts, CKA_LABEL) &&
        !p11_kit_uri_get_attribute(uri->parts, CKA_ID))
        return scep_fail(p, CONFIG,
                         "a PKCS#11 URI has to say which key: object=LABEL or id=%%HH%%HH");
    if (class && (class->ulValueLen != sizeof(CK_OBJECT_CLASS) ||
                  *(const CK_OBJECT_CLASS *)class->pValue != CKO_PRIVATE_KEY))
        return scep_fail(p, CONFIG, "type of a PKCS#11 URI: private is accepted");
    return NULL;
}

/* Of those behind the '?', p11-kit takes every name. RFC 7512 2.3 */
static bool is_query_known(const char *text)
{
    static const char *const names[] = { "module-path=", "pin-source=", "pin-value=" };
    const char *at = strchr(text, '?');
    bool known = true;

    for (; known && at; at = strchr(at + 1, '&')) {
        known = false;
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
            known = known || !strncmp(at + 1, names[i], strlen(names[i]));
    }
    return known;
}

const scep_err *scep_key_uri_read(scep_key_uri *out, const char *text, apr_pool_t *p)
{
    P11KitUri *parts = p11_kit_uri_new();
    int wrong;

    if (!parts)
        return scep_fail(p, INTERNAL, "out of memory");
    apr_pool_cleanup_register(p, parts, drop_uri, apr_pool_cleanup_null);
    wrong = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, parts);
    *out = (scep_key_uri){ .text = apr_pstrdup(p, text), .parts = parts };
    /* what was written is not repeated: it may hold a PIN */
    if (wrong)
        return scep_fail(p, CONFIG, "not a PKCS#11 URI (RFC 7512): %s", p11_kit_uri_message(wrong));
    SCEP_TRY(pin_read(out, p));
    if (p11_kit_uri_any_unrecognized(parts) || !is_query_known(text))
        return scep_fail(p, CONFIG,
                         "a PKCS#11 URI with an attribute that is not known here; accepted are "
                         "token, serial, manufacturer, model, slot-id, object, id and type, and "
                         "module-path and pin-source behind a '?'");
    SCEP_TRY(module_read(out, p));
    return check_object(out, p);
}

const scep_err *scep_key_uri_check(const char *uri, apr_pool_t *p)
{
    scep_key_uri read;

    return scep_key_uri_read(&read, uri, p);
}

#else

const scep_err *scep_key_uri_check(const char *uri, apr_pool_t *p)
{
    return scep_fail(p, CONFIG,
                     "keys in PKCS#11 tokens are not part of this build: it was made without "
                     "p11-kit's development files; name a PEM file instead");
}

#endif
