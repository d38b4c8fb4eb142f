/* Names as administrators write them. */
#include "subject.h"

#include "bytes.h"

#include <string.h>

/* RFC 4514 order: the most specific part is written first and encoded last. */
static const scep_err *name_part(X509_NAME *name, char *part, const char *whole, apr_pool_t *p)
{
    char *equals = strchr(part, '=');

    if (equals)
        *equals++ = '\0';
    if (!equals || !*equals || OBJ_txt2nid(part) == NID_undef ||
        !X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8, (unsigned char *)equals, -1, 0, 0))
        return scep_fail(p, CONFIG,
                         "\"%s\" is no name; parts like CN=…, O=…, OU=…, C=XX with commas between "
                         "them are accepted, a comma inside a part as \"\\,\"",
                         whole);
    return NULL;
}

const scep_err *subject_read(X509_NAME **out, const char *text, apr_pool_t *p)
{
    char *part = apr_palloc(p, strlen(text) + 1);
    const char *at = text;

    *out = scep_X509_NAME(p, X509_NAME_new());
    if (!*out)
        return scep_fail(p, INTERNAL, "out of memory");
    for (;;) {
        size_t len = 0;

        at += strspn(at, " ");
        while (*at && *at != ',') {
            if (*at == '\\' && at[1])
                at++;
            part[len++] = *at++;
        }
        part[len] = '\0';
        SCEP_TRY(name_part(*out, part, text, p));
        if (!*at)
            return NULL;
        at++;
    }
}
