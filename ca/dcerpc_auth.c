/* The security context of a DCE/RPC connection. The first leg may fetch tickets from a KDC, for
 * which libkrb5 takes its time: it is done aside. All others are local. */
#include "dcerpc_auth.h"

#include <apr_strings.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTEXT 1      /* auth_context_id: any number, the same in every PDU */
#define TOKEN_MOST 200 /* of a sealed PDU; Kerberos needs 76 at most */
#define LASTS_LEAST 60 /* seconds */
#define WHY_MOST 400

#define WANTED                                                                       \
    (GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_CONF_FLAG | \
     GSS_C_INTEG_FLAG | GSS_C_DCE_STYLE)

static gss_OID_desc spnego = { 6, "\x2b\x06\x01\x05\x05\x02" };

struct dcerpc_login {
    const char *principal, *keytab;
    const char *cache; /* a name of its own in this process's memory */
    aside *place;
};

/* All of GSS-API's that a context needs; in memory of malloc(), as the first leg may be left
 * behind. */
typedef struct leg {
    char *principal, *keytab, *cache, *target;
    bool is_principal; /* what target is */
    int mechanism;
    gss_cred_id_t credential;
    gss_name_t peer;
    gss_ctx_id_t context;
    gss_buffer_desc token;
    OM_uint32 major, flags;
    char why[WHY_MOST]; /* it failed: why */
} leg;

struct dcerpc_auth {
    leg *leg;
};

const scep_err *dcerpc_login_make(dcerpc_login **out, const char *principal, const char *keytab,
                                  apr_pool_t *p)
{
    dcerpc_login *login = apr_pcalloc(p, sizeof(*login));
    unsigned char name[16];

    if (!principal || !*principal)
        return scep_fail(p, CONFIG, "no principal is named to log on with");
    if (!keytab || access(keytab, R_OK) != 0)
        return scep_fail(p, CONFIG, "the keytab \"%s\" cannot be read", keytab ? keytab : "");
    if (RAND_bytes(name, sizeof(name)) != 1)
        return scep_fail(p, INTERNAL, "no random numbers");
    login->principal = apr_pstrdup(p, principal);
    login->keytab = apr_pstrdup(p, keytab);
    login->cache = apr_pstrcat(p, "MEMORY:", scep_hex(p, (scep_bytes){ name, sizeof(name) }), NULL);
    SCEP_TRY(aside_make(&login->place, p));
    *out = login;
    return NULL;
}

void dcerpc_login_forget(dcerpc_login *login)
{
    krb5_context context;
    krb5_ccache cache;

    if (krb5_init_context(&context) != 0)
        return;
    /* whatever else goes wrong, the tickets end by themselves */
    if (krb5_cc_resolve(context, login->cache, &cache) == 0)
        (void)krb5_cc_destroy(context, cache);
    krb5_free_context(context);
}

aside *dcerpc_login_aside(dcerpc_login *login)
{
    return login->place;
}

/* ---- a leg ---- */

static void drop_leg(void *what)
{
    leg *l = what;
    OM_uint32 minor;

    gss_release_buffer(&minor, &l->token);
    if (l->context != GSS_C_NO_CONTEXT)
        gss_delete_sec_context(&minor, &l->context, GSS_C_NO_BUFFER);
    gss_release_name(&minor, &l->peer);
    gss_release_cred(&minor, &l->credential);
    free(l->principal);
    free(l->keytab);
    free(l->cache);
    free(l->target);
    free(l);
}

static void add_status(leg *l, OM_uint32 status, int type)
{
    OM_uint32 minor, more = 0;

    do {
        gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
        size_t len = strlen(l->why);

        if (gss_display_status(&minor, status, type, GSS_C_NO_OID, &more, &text) != GSS_S_COMPLETE)
            return;
        apr_snprintf(l->why + len, sizeof(l->why) - len, ": %.*s", (int)text.length,
                     (const char *)text.value);
        gss_release_buffer(&minor, &text);
    } while (more);
}

/* What failed, and the libraries' own words. @return false */
static bool give_up(leg *l, const char *what, OM_uint32 minor)
{
    apr_cpystrn(l->why, what, sizeof(l->why));
    if (!minor || GSS_ROUTINE_ERROR(l->major) != GSS_S_FAILURE) /* which says but "unspecified" */
        add_status(l, l->major, GSS_C_GSS_CODE);
    if (minor)
        add_status(l, minor, GSS_C_MECH_CODE);
    return false;
}

static gss_OID mechanism_of(const leg *l)
{
    return l->mechanism == DCERPC_SPNEGO ? &spnego : (gss_OID)gss_mech_krb5;
}

static bool import(leg *l, gss_name_t *out, char *text, gss_OID kind)
{
    gss_buffer_desc buffer = { strlen(text), text };
    OM_uint32 minor;

    l->major = gss_import_name(&minor, &buffer, kind, out);
    return l->major == GSS_S_COMPLETE || give_up(l, text, minor);
}

/* Tickets from the keytab: fetched where the cache has none that last. */
static bool acquire(leg *l)
{
    gss_key_value_element_desc elements[] = { { "client_keytab", l->keytab },
                                              { "ccache", l->cache } };
    const gss_key_value_set_desc store = { 2, elements };
    gss_OID_set_desc wanted = { 1, mechanism_of(l) };
    gss_OID_set_desc kerberos = { 1, (gss_OID)gss_mech_krb5 };
    gss_name_t self = GSS_C_NO_NAME;
    OM_uint32 minor, ignored;

    if (!import(l, &self, l->principal, (gss_OID)GSS_KRB5_NT_PRINCIPAL_NAME))
        return false;
    l->major = gss_acquire_cred_from(&minor, self, GSS_C_INDEFINITE, &wanted, GSS_C_INITIATE,
                                     &store, &l->credential, NULL, NULL);
    gss_release_name(&ignored, &self);
    if (l->major != GSS_S_COMPLETE)
        return give_up(l, "no ticket for the account", minor);
    if (l->mechanism != DCERPC_SPNEGO)
        return true;
    l->major = gss_set_neg_mechs(&minor, l->credential, &kerberos);
    return l->major == GSS_S_COMPLETE || give_up(l, "SPNEGO without Kerberos", minor);
}

static bool negotiate(leg *l, gss_buffer_t in)
{
    gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
    OM_uint32 minor, ignored;

    l->major =
        gss_init_sec_context(&minor, l->credential, &l->context, l->peer, mechanism_of(l), WANTED,
                             0, GSS_C_NO_CHANNEL_BINDINGS, in, NULL, &token, &l->flags, NULL);
    gss_release_buffer(&ignored, &l->token);
    l->token = token;
    if (GSS_ERROR(l->major))
        return give_up(l, in ? "the server's answer is not believed" : "no ticket for the server",
                       minor);
    return true;
}

static void first_leg(void *what)
{
    leg *l = what;

    if (import(l, &l->peer, l->target,
               l->is_principal ? (gss_OID)GSS_KRB5_NT_PRINCIPAL_NAME
                               : GSS_C_NT_HOSTBASED_SERVICE) &&
        acquire(l))
        (void)negotiate(l, GSS_C_NO_BUFFER); /* l->why tells */
}

/* What was granted. A mechanism below SPNEGO is named once the context is complete. */
static const scep_err *judge(const leg *l, apr_pool_t *p)
{
    gss_OID mechanism = GSS_C_NO_OID;
    OM_uint32 minor;

    if (l->major == GSS_S_CONTINUE_NEEDED)
        return NULL;
    if ((l->flags & WANTED) != WANTED)
        return scep_fail(p, UNAVAILABLE,
                         "the server grants no privacy or no mutual authentication (0x%x of 0x%x)",
                         (unsigned)l->flags, (unsigned)WANTED);
    if (gss_inquire_context(&minor, l->context, NULL, NULL, NULL, &mechanism, NULL, NULL, NULL) !=
            GSS_S_COMPLETE ||
        !gss_oid_equal(mechanism, gss_mech_krb5))
        return scep_fail(p, UNAVAILABLE, "the security context is not Kerberos");
    return NULL;
}

static scep_bytes token_of(const leg *l, apr_pool_t *p)
{
    return scep_bytes_dup(p, (scep_bytes){ l->token.value, l->token.length });
}

/* ---- a context ---- */

static apr_status_t drop_auth(void *data)
{
    dcerpc_auth *auth = data;

    drop_leg(auth->leg);
    return APR_SUCCESS;
}

static leg *make_leg(const dcerpc_target *target, apr_pool_t *p)
{
    leg *l = calloc(1, sizeof(*l));
    const char *name =
        target->service ? target->service : apr_pstrcat(p, "host@", target->host, NULL);

    if (!l)
        return NULL;
    l->principal = strdup(target->login->principal);
    l->keytab = strdup(target->login->keytab);
    l->cache = strdup(target->login->cache);
    l->target = strdup(name);
    l->is_principal = target->service != NULL;
    l->mechanism = target->mechanism;
    if (l->principal && l->keytab && l->cache && l->target)
        return l;
    drop_leg(l);
    return NULL;
}

const scep_err *dcerpc_auth_begin(dcerpc_auth **out, scep_bytes *token, const dcerpc_target *target,
                                  moment d, apr_pool_t *life, apr_pool_t *p)
{
    static const aside_kind kind = { first_leg, drop_leg };
    dcerpc_auth *auth = apr_pcalloc(life, sizeof(*auth));
    leg *l = make_leg(target, p);

    if (!l)
        return scep_fail(p, UNAVAILABLE, "out of memory");
    SCEP_TRY(aside_do(target->login->place, &kind, l, d, p));
    auth->leg = l;
    apr_pool_cleanup_register(life, auth, drop_auth, apr_pool_cleanup_null);
    if (*l->why)
        return scep_fail(p, UNAVAILABLE, "Kerberos, %s for %s: %s", l->principal, l->target,
                         l->why);
    SCEP_TRY(judge(l, p));
    *token = token_of(l, p);
    *out = auth;
    return NULL;
}

const scep_err *dcerpc_auth_step(scep_bytes *answer, dcerpc_auth *auth, scep_bytes token,
                                 apr_pool_t *p)
{
    gss_buffer_desc in = { token.len, (void *)(uintptr_t)token.data };

    if (!negotiate(auth->leg, &in))
        return scep_fail(p, UNAVAILABLE, "Kerberos: %s", auth->leg->why);
    SCEP_TRY(judge(auth->leg, p));
    *answer = token_of(auth->leg, p);
    return NULL;
}

bool dcerpc_auth_is_done(const dcerpc_auth *auth)
{
    return auth->leg->major == GSS_S_COMPLETE;
}

bool dcerpc_auth_lasts(const dcerpc_auth *auth)
{
    OM_uint32 minor, seconds = 0;

    return gss_context_time(&minor, auth->leg->context, &seconds) == GSS_S_COMPLETE &&
           seconds > LASTS_LEAST;
}

dcerpc_verifier dcerpc_auth_verifier(const dcerpc_auth *auth)
{
    return (dcerpc_verifier){ (uint8_t)auth->leg->mechanism, DCERPC_LEVEL_PRIVACY, CONTEXT };
}

/* ---- sealing: the stub is encrypted, header and trailer are signed with it ---- */

/* @param pdu header to trailer; the token is elsewhere */
static void lay_out(gss_iov_buffer_desc iov[4], unsigned char *pdu, size_t stub_end,
                    gss_buffer_desc token)
{
    iov[0] = (gss_iov_buffer_desc){ GSS_IOV_BUFFER_TYPE_SIGN_ONLY, { DCERPC_REQUEST_HEADER, pdu } };
    iov[1] =
        (gss_iov_buffer_desc){ GSS_IOV_BUFFER_TYPE_DATA,
                               { stub_end - DCERPC_REQUEST_HEADER, pdu + DCERPC_REQUEST_HEADER } };
    iov[2] =
        (gss_iov_buffer_desc){ GSS_IOV_BUFFER_TYPE_SIGN_ONLY, { DCERPC_TRAILER, pdu + stub_end } };
    iov[3] = (gss_iov_buffer_desc){ GSS_IOV_BUFFER_TYPE_HEADER, token };
}

const scep_err *dcerpc_auth_seal(dcerpc_fragment *fragment, dcerpc_auth *auth, apr_pool_t *p)
{
    gss_buffer_desc none = GSS_C_EMPTY_BUFFER;
    unsigned char token[TOKEN_MOST];
    gss_iov_buffer_desc iov[4];
    int sealed = 0;
    OM_uint32 minor;

    lay_out(iov, fragment->pdu.data, fragment->stub_end, none);
    if (gss_wrap_iov_length(&minor, auth->leg->context, 1, GSS_C_QOP_DEFAULT, &sealed, iov, 4) !=
            GSS_S_COMPLETE ||
        iov[3].buffer.length > sizeof(token))
        return scep_fail(p, UNAVAILABLE, "Kerberos cannot seal a fragment");
    iov[3].buffer.value = token;
    dcerpc_put_lengths(fragment, iov[3].buffer.length);
    if (gss_wrap_iov(&minor, auth->leg->context, 1, GSS_C_QOP_DEFAULT, &sealed, iov, 4) !=
            GSS_S_COMPLETE ||
        !sealed)
        return scep_fail(p, UNAVAILABLE, "Kerberos did not seal a fragment");
    ndr_put_raw(&fragment->pdu, (scep_bytes){ token, iov[3].buffer.length });
    return NULL;
}

const scep_err *dcerpc_auth_open(scep_bytes *stub, dcerpc_auth *auth, const dcerpc_pdu *pdu,
                                 unsigned char *memory, apr_pool_t *p)
{
    const dcerpc_verifier wanted = dcerpc_auth_verifier(auth);
    size_t stub_end = DCERPC_HEADER + pdu->body.len;
    gss_buffer_desc token = { pdu->token.len, memory + stub_end + DCERPC_TRAILER };
    gss_iov_buffer_desc iov[4];
    int sealed = 0;
    OM_uint32 minor;

    if (pdu->verifier.type != wanted.type || pdu->verifier.level != wanted.level ||
        pdu->verifier.context != wanted.context || !pdu->token.len)
        return scep_fail(p, UNAVAILABLE, "a response is not sealed");
    lay_out(iov, memory, stub_end, token);
    /* no supplementary bit either: a PDU that came twice or out of order is none of ours */
    if (gss_unwrap_iov(&minor, auth->leg->context, &sealed, NULL, iov, 4) != GSS_S_COMPLETE ||
        !sealed)
        return scep_fail(p, UNAVAILABLE, "a response was not sealed by the server, or changed");
    *stub = (scep_bytes){ memory + DCERPC_REQUEST_HEADER,
                          stub_end - DCERPC_REQUEST_HEADER - pdu->padding };
    return NULL;
}
