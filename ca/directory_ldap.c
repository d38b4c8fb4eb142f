/* A connection to a directory server: LDAP v3 (RFC 4511), over TLS (RFC 4513) or sealed by
 * Kerberos, from its beginning to its end within one question. */
#include "directory_int.h"

#include <apr_lib.h>
#include <apr_strings.h>
#define LDAP_DEPRECATED 0
#include <ldap.h>
#include <sasl/sasl.h>
#include <string.h>

#define PAGE 50
#define ENTRIES_MOST 1000
#define INCOMING_MOST ((ber_len_t)4 * 1024 * 1024) /* bytes of one message */
#define SEALED 56 /* of Cyrus SASL's strengths, the least that enciphers */

/* LDAP_SERVER_SD_FLAGS_OID, [MS-ADTS] 3.1.1.3.4.1.11: without it an ordinary account is shown no
 * descriptor at all, and then may do nothing; so it need not be critical. The value:
 * SEQUENCE { INTEGER DACL_SECURITY_INFORMATION } */
#define SD_FLAGS "1.2.840.113556.1.4.801"
static char only_dacl[] = { 0x30, 3, 2, 1, 4 };

struct directory_session {
    LDAP *ld;
    const directory_login *login;
    const char *url;
    moment until;
    apr_pool_t *p;
    const char *domain_dn, *configuration_dn, *domain;
};

const scep_err *directory_library(apr_pool_t *p)
{
    LDAPAPIInfo info = { .ldapai_info_version = LDAP_API_INFO_VERSION };

    if (ldap_get_option(NULL, LDAP_OPT_API_INFO, &info) != LDAP_OPT_SUCCESS)
        return scep_fail(p, CONFIG, "libldap cannot be made ready; is it of another version?");
    ldap_memfree(info.ldapai_vendor_name);
    ldap_memvfree((void **)info.ldapai_extensions);
    return NULL;
}

const char *directory_domain_dn(const directory_session *s)
{
    return s->domain_dn;
}

const char *directory_configuration_dn(const directory_session *s)
{
    return s->configuration_dn;
}

const char *directory_domain(const directory_session *s)
{
    return s->domain;
}

/* ---- faults ---- */

/* What only an administrator can mend. */
static bool is_refusal(int code)
{
    switch (code) {
    case LDAP_AUTH_METHOD_NOT_SUPPORTED:
    case LDAP_STRONG_AUTH_REQUIRED:
    case LDAP_CONFIDENTIALITY_REQUIRED:
    case LDAP_UNAVAILABLE_CRITICAL_EXTENSION:
    case LDAP_INVALID_DN_SYNTAX:
    case LDAP_INAPPROPRIATE_AUTH:
    case LDAP_INVALID_CREDENTIALS:
    case LDAP_INSUFFICIENT_ACCESS:
        return true;
    default:
        return false;
    }
}

static const scep_err *fault(const directory_session *s, const char *what, int code, apr_pool_t *p)
{
    const char *text = ldap_err2string(code), *more = "";
    char *said = NULL;

    if (ldap_get_option(s->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &said) == LDAP_OPT_SUCCESS && said &&
        *said)
        more = apr_pstrcat(p, ": ", scep_printable(p, scep_bytes_of(said), 200), NULL);
    ldap_memfree(said);
    if (is_refusal(code))
        return scep_fail(p, CONFIG, "%s: %s: %s%s", s->url, what, text, more);
    return scep_fail(p, UNAVAILABLE, "%s: %s: %s%s", s->url, what, text, more);
}

static struct timeval left_of(const directory_session *s)
{
    const apr_interval_time_t left = deadline_left(s->until);

    return (struct timeval){ left / APR_USEC_PER_SEC, left % APR_USEC_PER_SEC };
}

static const scep_err *too_late(const directory_session *s, apr_pool_t *p)
{
    return scep_fail(p, UNAVAILABLE, "%s: no answer in time", s->url);
}

/* Whatever the library waits for next: no longer than there is time. */
static const scep_err *limit(directory_session *s, apr_pool_t *p)
{
    const struct timeval left = left_of(s);

    if (deadline_left(s->until) < APR_USEC_PER_SEC / 100)
        return too_late(s, p);
    if (ldap_set_option(s->ld, LDAP_OPT_NETWORK_TIMEOUT, &left) != LDAP_OPT_SUCCESS ||
        ldap_set_option(s->ld, LDAP_OPT_TIMEOUT, &left) != LDAP_OPT_SUCCESS)
        return scep_fail(p, UNAVAILABLE, "out of memory");
    return NULL;
}

/* ---- a connection ---- */

static apr_status_t close_session(void *data)
{
    directory_session *s = data;

    (void)ldap_unbind_ext(s->ld, NULL, NULL);
    return APR_SUCCESS;
}

void directory_close(directory_session *s)
{
    apr_pool_cleanup_run(s->p, s, close_session);
}

typedef struct option {
    int name;
    const void *value;
} option;

static const scep_err *set_all(const directory_session *s, const option *options, size_t n,
                               apr_pool_t *p)
{
    for (size_t i = 0; i < n; i++)
        if (options[i].value &&
            ldap_set_option(s->ld, options[i].name, options[i].value) != LDAP_OPT_SUCCESS)
            return scep_fail(p, CONFIG,
                             "%s: libldap refuses option 0x%x; can tls_ca, tls_cert and tls_key be "
                             "read?",
                             s->url, (unsigned)options[i].name);
    return NULL;
}

#define SET_ALL(s, options, p) set_all(s, options, sizeof(options) / sizeof(*(options)), p)

/* All that an ldap.conf of the system could say otherwise. */
static const scep_err *set_options(const directory_session *s, bool tls, apr_pool_t *p)
{
    static const int version = LDAP_VERSION3, never = LDAP_DEREF_NEVER, most = ENTRIES_MOST;
    static const int demand = LDAP_OPT_X_TLS_DEMAND, least = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
    static const int client = 0, endpoint = LDAP_OPT_X_SASL_CBINDING_TLS_ENDPOINT;
    const directory_login *l = s->login;
    /* a directory takes no second seal below TLS; without TLS there is none but Kerberos' */
    const char *strength = tls ? "noplain,noanonymous,minssf=0,maxssf=0"
                               : "noplain,noanonymous,minssf=" APR_STRINGIFY(SEALED);
    const option all[] = {
        { LDAP_OPT_PROTOCOL_VERSION, &version },
        { LDAP_OPT_DEREF, &never },
        { LDAP_OPT_SIZELIMIT, &most },
    };
    const option sasl[] = {
        { LDAP_OPT_X_SASL_NOCANON, LDAP_OPT_ON },
        { LDAP_OPT_X_SASL_SECPROPS, strength },
    };
    const option enciphered[] = {
        { LDAP_OPT_X_TLS_REQUIRE_CERT, &demand },
        { LDAP_OPT_X_TLS_PROTOCOL_MIN, &least },
        { LDAP_OPT_X_TLS_CACERTFILE, l->tls_ca },
        { LDAP_OPT_X_TLS_CACERTDIR, l->tls_ca ? "" : NULL },
        { LDAP_OPT_X_TLS_CERTFILE, l->tls_cert },
        { LDAP_OPT_X_TLS_KEYFILE, l->tls_key },
        { LDAP_OPT_X_SASL_CBINDING, &endpoint },
        { LDAP_OPT_X_TLS_NEWCTX, &client },
    };
    ber_len_t incoming = INCOMING_MOST;
    Sockbuf *buffer = NULL;

    if (ldap_set_option(s->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) != LDAP_OPT_SUCCESS ||
        ldap_get_option(s->ld, LDAP_OPT_SOCKBUF, &buffer) != LDAP_OPT_SUCCESS || !buffer ||
        ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_MAX_INCOMING, &incoming) != 1)
        return scep_fail(p, CONFIG, "%s: libldap refuses its options", s->url);
    SCEP_TRY(SET_ALL(s, all, p));
    if (l->gssapi)
        SCEP_TRY(SET_ALL(s, sasl, p));
    return tls ? SET_ALL(s, enciphered, p) : NULL;
}

/* The mechanism asks whom to act as: nobody else. It asks before it looks for tickets. */
static int answer_sasl(LDAP *ld, unsigned flags, void *baton, void *prompts)
{
    for (sasl_interact_t *at = prompts; at && at->id != SASL_CB_LIST_END; at++) {
        at->result = "";
        at->len = 0;
    }
    return ldap_set_option(ld, LDAP_OPT_X_SASL_GSS_CREDS, baton) == LDAP_OPT_SUCCESS
               ? LDAP_SUCCESS
               : LDAP_LOCAL_ERROR;
}

static const scep_err *bind_gssapi(directory_session *s, bool tls, apr_pool_t *p)
{
    directory_tickets *tickets;
    ber_len_t strength = 0;
    int code;

    SCEP_TRY(directory_tickets_get(&tickets, s->login, p));
    SCEP_TRY(limit(s, p));
    code = ldap_sasl_interactive_bind_s(s->ld, NULL, "GSSAPI", NULL, NULL, LDAP_SASL_QUIET,
                                        answer_sasl, directory_tickets_credential(tickets));
    if (code != LDAP_SUCCESS) {
        /* perhaps the server has another key than the one its ticket was made for */
        directory_tickets_forget(s->login);
        return scep_fail(
            p, UNAVAILABLE, "%s",
            fault(s, apr_pstrcat(p, "GSSAPI as ", s->login->principal, NULL), code, p)->detail);
    }
    if (tls)
        return NULL;
    if (ldap_get_option(s->ld, LDAP_OPT_X_SASL_SSF, &strength) != LDAP_OPT_SUCCESS ||
        strength < SEALED)
        return scep_fail(p, CONFIG, "%s: Kerberos does not seal this connection; use ldaps://",
                         s->url);
    return NULL;
}

static const scep_err *log_on(directory_session *s, bool tls, apr_pool_t *p)
{
    const directory_login *l = s->login;
    /* never written to: the library takes no const */
    struct berval password = { l->password.len, (char *)(uintptr_t)l->password.data };
    struct berval nobody = { 0, (char *)(uintptr_t) "" };
    const char *what;
    int code;

    if (l->gssapi)
        return bind_gssapi(s, tls, p);
    SCEP_TRY(limit(s, p));
    if (l->simple) {
        what = apr_psprintf(p, "the password of %s", scep_printable(p, scep_bytes_of(l->user), 80));
        code = ldap_sasl_bind_s(s->ld, l->user, LDAP_SASL_SIMPLE, &password, NULL, NULL, NULL);
    } else {
        what = "EXTERNAL, by tls_cert";
        code = ldap_sasl_bind_s(s->ld, NULL, "EXTERNAL", &nobody, NULL, NULL, NULL);
    }
    return code == LDAP_SUCCESS ? NULL : fault(s, what, code, p);
}

/* "DC=corp,DC=example" is corp.example. RFC 2247 */
static const char *domain_of(const char *dn, apr_pool_t *p)
{
    char *domain = NULL;
    const char *copy = NULL;

    if (ldap_dn2domain(dn, &domain) == LDAP_SUCCESS && domain && *domain)
        copy = apr_pstrdup(p, domain);
    ldap_memfree(domain);
    return copy;
}

static const scep_err *read_root(directory_session *s, apr_pool_t *p)
{
    static const char *const wanted[] = { "defaultNamingContext", "configurationNamingContext",
                                          NULL };
    const directory_search search = { "", DIRECTORY_BASE, "(objectClass=*)", wanted, false };
    apr_array_header_t *found;
    const directory_entry *root;

    SCEP_TRY(directory_find(&found, s, &search, p));
    root = found->nelts ? &APR_ARRAY_IDX(found, 0, directory_entry) : NULL;
    s->domain_dn = root ? directory_text(root, wanted[0]) : NULL;
    s->configuration_dn = root ? directory_text(root, wanted[1]) : NULL;
    if (!s->domain_dn || !s->configuration_dn)
        return scep_fail(p, CONFIG,
                         "%s: its root names no defaultNamingContext and "
                         "configurationNamingContext; Active Directory's domain controllers do",
                         s->url);
    s->domain = domain_of(s->domain_dn, p);
    return NULL;
}

const scep_err *directory_connect(directory_session **out, const directory_login *login,
                                  const char *url, moment until, apr_pool_t *p)
{
    directory_session *s = apr_pcalloc(p, sizeof(*s));
    const bool tls = login->starttls || !strncmp(url, "ldaps:", 6);
    int code;

    *s = (directory_session){ .login = login, .url = url, .until = until, .p = p };
    if (ldap_initialize(&s->ld, url) != LDAP_SUCCESS)
        return scep_fail(p, CONFIG, "%s: libldap takes no such URL", url);
    apr_pool_cleanup_register(p, s, close_session, apr_pool_cleanup_null);
    SCEP_TRY(directory_wait_until(s->ld, &s->until, p));
    SCEP_TRY(set_options(s, tls, p));
    if (login->starttls) {
        SCEP_TRY(limit(s, p));
        code = ldap_start_tls_s(s->ld, NULL, NULL);
        if (code != LDAP_SUCCESS)
            return fault(s, "StartTLS", code, p);
    }
    SCEP_TRY(log_on(s, tls, p));
    SCEP_TRY(read_root(s, p));
    *out = s;
    return NULL;
}

/* ---- searches ---- */

const char *directory_escape(scep_bytes value, apr_pool_t *p)
{
    static const char digits[] = "0123456789abcdef";
    char *out = apr_palloc(p, 3 * value.len + 1), *to = out;

    for (size_t i = 0; i < value.len; i++) {
        const unsigned char c = value.data[i];

        if (c < 0x80 && (apr_isalnum(c) || (c && strchr("-_.@ ", c)))) {
            *to++ = (char)c;
            continue;
        }
        *to++ = '\\';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    *to = '\0';
    return out;
}

static apr_status_t drop_message(void *data)
{
    (void)ldap_msgfree(data);
    return APR_SUCCESS;
}

static void take_attribute(directory_entry *e, LDAP *ld, LDAPMessage *m, const char *name,
                           apr_pool_t *p)
{
    struct berval **values = ldap_get_values_len(ld, m, name);
    directory_attribute *a = apr_array_push(e->attributes);

    a->name = apr_pstrdup(p, name);
    a->values = apr_array_make(p, 1, sizeof(scep_bytes));
    for (int i = 0; values && values[i]; i++)
        APR_ARRAY_PUSH(a->values, scep_bytes) = scep_bytes_dup(
            p, (scep_bytes){ (const unsigned char *)values[i]->bv_val, values[i]->bv_len });
    ldap_value_free_len(values);
}

static void take_entry(directory_entry *e, LDAP *ld, LDAPMessage *m, apr_pool_t *p)
{
    BerElement *place = NULL;
    char *dn = ldap_get_dn(ld, m);

    e->dn = apr_pstrdup(p, dn ? dn : "");
    ldap_memfree(dn);
    e->attributes = apr_array_make(p, 8, sizeof(directory_attribute));
    for (char *name = ldap_first_attribute(ld, m, &place); name;
         name = ldap_next_attribute(ld, m, place)) {
        take_attribute(e, ld, m, name, p);
        ldap_memfree(name);
    }
    ber_free(place, 0);
}

/* The mark at which the next page begins; len 0: this was the last one. RFC 2696 */
static const scep_err *next_page(scep_bytes *mark, directory_session *s, LDAPMessage *m,
                                 apr_pool_t *p)
{
    LDAPControl **said = NULL, *page;
    struct berval cookie = { 0, NULL };
    ber_int_t total;
    int code = LDAP_SUCCESS;

    *mark = (scep_bytes){ NULL, 0 };
    if (ldap_parse_result(s->ld, m, NULL, NULL, NULL, NULL, &said, 0) != LDAP_SUCCESS)
        return scep_fail(p, UNAVAILABLE, "%s: an answer cannot be read", s->url);
    page = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, said, NULL);
    if (page)
        code = ldap_parse_pageresponse_control(s->ld, page, &total, &cookie);
    if (code == LDAP_SUCCESS && cookie.bv_len)
        *mark = scep_bytes_dup(p, (scep_bytes){ (unsigned char *)cookie.bv_val, cookie.bv_len });
    ldap_memfree(cookie.bv_val);
    ldap_controls_free(said);
    return code == LDAP_SUCCESS ? NULL
                                : scep_fail(p, UNAVAILABLE, "%s: a page cannot be read", s->url);
}

static int search_page(LDAPMessage **out, directory_session *s, const directory_search *search,
                       scep_bytes mark)
{
    static const int scopes[] = { LDAP_SCOPE_BASE, LDAP_SCOPE_ONELEVEL, LDAP_SCOPE_SUBTREE };
    LDAPControl descriptors = { (char *)(uintptr_t)SD_FLAGS, { sizeof(only_dacl), only_dacl }, 0 };
    struct berval cookie = { mark.len, (char *)(uintptr_t)mark.data };
    LDAPControl *controls[3] = { NULL }, *page = NULL;
    struct timeval left = left_of(s);
    int n = 0, code = LDAP_SUCCESS;

    if (search->descriptors)
        controls[n++] = &descriptors;
    if (search->scope != DIRECTORY_BASE) {
        code = ldap_create_page_control(s->ld, PAGE, mark.len ? &cookie : NULL, 0, &page);
        controls[n++] = page;
    }
    if (code == LDAP_SUCCESS)
        code =
            ldap_search_ext_s(s->ld, search->base, scopes[search->scope], search->filter,
                              (char **)(uintptr_t)search->wanted, 0, controls, NULL, &left, 0, out);
    ldap_control_free(page);
    return code;
}

const scep_err *directory_find(apr_array_header_t **out, directory_session *s,
                               const directory_search *search, apr_pool_t *p)
{
    apr_array_header_t *found = apr_array_make(p, 4, sizeof(directory_entry));
    scep_bytes mark = { NULL, 0 };

    *out = found;
    do {
        LDAPMessage *m = NULL;
        int code;

        SCEP_TRY(limit(s, p));
        code = search_page(&m, s, search, mark);
        if (m)
            apr_pool_cleanup_register(p, m, drop_message, apr_pool_cleanup_null);
        if (code == LDAP_NO_SUCH_OBJECT)
            return NULL;
        if (code != LDAP_SUCCESS)
            return fault(s, apr_psprintf(p, "search in \"%s\"", search->base), code, p);
        for (LDAPMessage *e = ldap_first_entry(s->ld, m); e; e = ldap_next_entry(s->ld, e)) {
            if (found->nelts == ENTRIES_MOST)
                return scep_fail(p, UNAVAILABLE, "%s: more than %d entries in \"%s\"", s->url,
                                 ENTRIES_MOST, search->base);
            take_entry(apr_array_push(found), s->ld, e, p);
        }
        SCEP_TRY(next_page(&mark, s, m, p));
    } while (mark.len);
    return NULL;
}
