/* Kerberos for the directory: tickets by a client keytab, kept in this process's memory. */
#include "config.h"

#include "directory_int.h"

#ifdef HAVE_ADCS

#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <string.h>

struct directory_tickets {
    gss_cred_id_t credential;
};

static apr_status_t drop(void *data)
{
    directory_tickets *t = data;
    OM_uint32 minor;

    gss_release_cred(&minor, &t->credential);
    return APR_SUCCESS;
}

/* The library's own words, all of them. */
static const char *said(OM_uint32 status, int type, apr_pool_t *p)
{
    OM_uint32 minor, more = 0;
    const char *text = "";

    do {
        gss_buffer_desc part = GSS_C_EMPTY_BUFFER;

        if (gss_display_status(&minor, status, type, GSS_C_NO_OID, &more, &part) != GSS_S_COMPLETE)
            break;
        text = apr_psprintf(p, "%s: %.*s", text, (int)part.length, (const char *)part.value);
        gss_release_buffer(&minor, &part);
    } while (more);
    return text;
}

static const scep_err *fail(const directory_login *login, OM_uint32 major, OM_uint32 minor,
                            apr_pool_t *p)
{
    /* "unspecified" says nothing beside the mechanism's own words */
    const char *why = minor ? said(minor, GSS_C_MECH_CODE, p) : said(major, GSS_C_GSS_CODE, p);

    return scep_fail(p, UNAVAILABLE, "Kerberos, no ticket for %s%s", login->principal, why);
}

const scep_err *directory_tickets_get(directory_tickets **out, const directory_login *login,
                                      apr_pool_t *p)
{
    gss_key_value_element_desc elements[] = { { "client_keytab", login->keytab },
                                              { "ccache", login->tickets } };
    const gss_key_value_set_desc store = { 2, elements };
    gss_OID_set_desc kerberos = { 1, (gss_OID)gss_mech_krb5 };
    gss_buffer_desc name = { strlen(login->principal), (void *)(uintptr_t)login->principal };
    directory_tickets *t = apr_pcalloc(p, sizeof(*t));
    gss_name_t self = GSS_C_NO_NAME;
    OM_uint32 major, minor, ignored;

    major = gss_import_name(&minor, &name, (gss_OID)GSS_KRB5_NT_PRINCIPAL_NAME, &self);
    if (major != GSS_S_COMPLETE)
        return fail(login, major, minor, p);
    major = gss_acquire_cred_from(&minor, self, GSS_C_INDEFINITE, &kerberos, GSS_C_INITIATE, &store,
                                  &t->credential, NULL, NULL);
    gss_release_name(&ignored, &self);
    if (major != GSS_S_COMPLETE)
        return fail(login, major, minor, p);
    apr_pool_cleanup_register(p, t, drop, apr_pool_cleanup_null);
    *out = t;
    return NULL;
}

void *directory_tickets_credential(const directory_tickets *tickets)
{
    return tickets->credential;
}

void directory_tickets_forget(const directory_login *login)
{
    krb5_context context;
    krb5_ccache cache;

    if (krb5_init_context(&context) != 0)
        return;
    /* whatever else goes wrong, the tickets end by themselves */
    if (krb5_cc_resolve(context, login->tickets, &cache) == 0)
        (void)krb5_cc_destroy(context, cache);
    krb5_free_context(context);
}

const scep_err *directory_tickets_check(apr_pool_t *p)
{
    return NULL;
}

#else

const scep_err *directory_tickets_check(apr_pool_t *p)
{
    return scep_fail(p, CONFIG,
                     "bind = gssapi: this scep-ca was built without MIT Kerberos; bind = simple "
                     "and bind = external are accepted");
}

const scep_err *directory_tickets_get(directory_tickets **out, const directory_login *login,
                                      apr_pool_t *p)
{
    *out = NULL;
    return directory_tickets_check(p);
}

void *directory_tickets_credential(const directory_tickets *tickets)
{
    return NULL;
}

void directory_tickets_forget(const directory_login *login)
{
}

#endif
