/* scepctl profile: reads, checks and fetches what goes into a client's configuration. */
#include "config.h"

#include "scepctl_profile.h"

#include "certs.h"
#include "conf.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <string.h>
#include <strings.h>

#define CHALLENGE_MOST 256
#define URL_MOST 2048

/* The URL goes unchanged into five syntaxes, so it has the characters of RFC 3986 2 but for those
 * that one of them would take for its own. Clients put the query behind it. */
static const scep_err *check_url(const char *url, apr_pool_t *p)
{
    bool known = !strncasecmp(url, "http://", 7) || !strncasecmp(url, "https://", 8);
    const char *host = known ? strstr(url, "://") + 3 : "";
    size_t len = strspn(url, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                             "-._~:/[]@!()*+,;=%&");

    if (!apr_isalnum(*host) && *host != '[')
        known = false;
    if (!known || url[len] || len > URL_MOST)
        return scep_fail(p, CONFIG,
                         "--url is where devices enrol, as in "
                         "http://HOST/certsrv/mscep/mscep.dll: without a query, and with percent "
                         "signs for unusual characters");
    return NULL;
}

/* ---- the challenge: a secret, so it stands on no command line ---- */

static const scep_err *check_challenge(const char *text, apr_pool_t *p)
{
    size_t len =
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/=");

    if (!len || text[len])
        return scep_fail(p, CONFIG,
                         "a challenge is one line of letters, digits and - _ . + / = only, up to "
                         "%d of them",
                         CHALLENGE_MOST);
    return NULL;
}

static const scep_err *read_challenge(const char **out, const char *path, apr_pool_t *p)
{
    bool standard = !strcmp(path, "-");
    FILE *in = standard ? stdin : fopen(path, "re");
    char *text = (char *)scep_secret(p, CHALLENGE_MOST + 3);
    size_t len;
    bool failed;

    if (!in)
        return scep_fail(p, CONFIG, "%s: %s", path, strerror(errno));
    (void)setvbuf(in, NULL, _IONBF, 0); /* lest a copy stays in a buffer */
    len = fread(text, 1, CHALLENGE_MOST + 2, in);
    failed = ferror(in);
    if (!standard && fclose(in) != 0)
        failed = true;
    if (failed)
        return scep_fail(p, CONFIG, "%s cannot be read", path);
    if (len && text[len - 1] == '\n')
        text[--len] = '\0';
    if (len && text[len - 1] == '\r')
        text[--len] = '\0';
    if (len > CHALLENGE_MOST || strlen(text) != len)
        text[0] = '\0';
    *out = text;
    return check_challenge(text, p);
}

static const scep_err *fetch_challenge(const char **out, scepctl *c, const char *endpoint)
{
    scep_wire_mint in = { .endpoint = endpoint, .user = operator_name() };
    scep_wire_minted minted;
    scep_bytes body;
    char *kept;

    SCEP_TRY(call(c, scep_wire_put_mint(SCEP_VERB_MINT, &in, c->p), SCEP_VERB_MINTED, &body));
    SCEP_TRY(scep_wire_get_minted(&minted, body, c->p));
    if (minted.outcome == SCEP_MINT_FULL)
        return scep_fail(c->p, REFUSED,
                         "SCEPPasswordMax unused challenges of the endpoint are out: raise it, or "
                         "revoke one of them");
    if (minted.outcome != SCEP_MINT_DONE)
        return scep_fail(c->p, REFUSED, "scep-ca gave no challenge; its log says why");
    kept = (char *)scep_secret(c->p, strlen(minted.challenge) + 1);
    memcpy(kept, minted.challenge, strlen(minted.challenge));
    OPENSSL_cleanse((char *)(uintptr_t)minted.challenge, strlen(minted.challenge));
    *out = kept;
    return check_challenge(kept, c->p);
}

/* ---- the CA ---- */

/* @param ra the file of the RA that requests are enveloped to; NULL: not told */
static const scep_err *ca_file(const char **out, const char **ra, const words *w, apr_pool_t *p)
{
    conf *c;
    const conf_authority *a;

    *out = w->ca;
    *ra = NULL;
    if (w->ca)
        return NULL;
    SCEP_TRY(conf_load(&c, w->conf ? w->conf : SCEPCTL_CONF, p));
    a = conf_authority_find(c, w->authority ? w->authority : "default");
    if (!a)
        return scep_fail(p, CONFIG, "%s has no [authority %s]; name one with --authority", c->path,
                         w->authority ? w->authority : "default");
    *out = a->ca_cert;
    *ra = a->ra_decrypt_cert;
    return NULL;
}

static bool is_self_issued(const X509 *cert)
{
    return !X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert));
}

/* The top of the chain that begins with the first certificate. */
static X509 *top_of(const STACK_OF(X509) * chain)
{
    X509 *top = sk_X509_value(chain, 0);

    /* Each step leads to another certificate, so there are fewer than certificates. */
    for (int step = 1; step < sk_X509_num(chain); step++) {
        X509 *issuer = NULL;

        if (is_self_issued(top))
            break;
        for (int i = 0; i < sk_X509_num(chain) && !issuer; i++)
            if (X509_check_issued(sk_X509_value(chain, i), top) == X509_V_OK)
                issuer = sk_X509_value(chain, i);
        if (!issuer)
            break;
        top = issuer;
    }
    return top;
}

static const scep_err *digest_of(scep_bytes *out, const X509 *cert, const char *name, apr_pool_t *p)
{
    unsigned char *digest = apr_palloc(p, EVP_MAX_MD_SIZE);
    EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);
    unsigned len = 0;
    int made = md ? X509_digest(cert, md, digest, &len) : 0;

    EVP_MD_free(md);
    if (made != 1)
        return scep_fail(p, INTERNAL, "no %s fingerprint can be made: OpenSSL has no such digest",
                         name);
    *out = (scep_bytes){ digest, len };
    return NULL;
}

/* What people call the CA: its common name, else its whole name. */
static const char *name_of(const X509 *cert, apr_pool_t *p)
{
    const X509_NAME *name = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    const X509_NAME_ENTRY *entry = at < 0 ? NULL : X509_NAME_get_entry(name, at);
    unsigned char *utf8 = NULL;
    int len = entry ? ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry)) : -1;
    const char *text = len > 0 ? apr_pstrmemdup(p, (const char *)utf8, (apr_size_t)len) : "";

    OPENSSL_free(utf8);
    ERR_clear_error();
    return *text && strlen(text) == (size_t)len && profile_is_text(text) ? text
                                                                         : scep_name_line(name, p);
}

static const scep_err *pem_of(const char **out, X509 *cert, apr_pool_t *p)
{
    BIO *memory = scep_BIO(p, BIO_new(BIO_s_mem()));
    char *text;
    long len;

    if (!memory || PEM_write_bio_X509(memory, cert) != 1)
        return scep_fail(p, INTERNAL, "a certificate cannot be written in PEM form");
    len = BIO_get_mem_data(memory, &text);
    *out = apr_pstrmemdup(p, text, (apr_size_t)len);
    return NULL;
}

/* What a client is to trust, from the file of the CA: the root, the CAs below it, and those that
 * are none, which are RAs. */
static const scep_err *read_trusted(profile *f, const STACK_OF(X509) * certs)
{
    X509 *top = top_of(certs);
    scep_bytes digest;
    const char *pem;

    f->root_pem = NULL;
    SCEP_TRY(pem_of(&f->issuer_pem, sk_X509_value(certs, 0), f->p));
    if (is_self_issued(top))
        SCEP_TRY(pem_of(&f->root_pem, top, f->p));
    f->below_pem = f->ra_sha256 = "";
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);

        if (cert == top)
            continue;
        if (i > 0 && !X509_check_ca(cert)) {
            SCEP_TRY(digest_of(&digest, cert, "SHA256", f->p));
            f->ra_sha256 = apr_pstrcat(f->p, f->ra_sha256, scep_hex(f->p, digest), " ", NULL);
            continue;
        }
        SCEP_TRY(pem_of(&pem, cert, f->p));
        f->below_pem = apr_pstrcat(f->p, f->below_pem, pem, NULL);
    }
    return NULL;
}

/* @param ra as ca_file() gives it */
static const scep_err *read_ca(profile *f, const char *path, const char *ra)
{
    STACK_OF(X509) * chain, *ras;
    scep_bytes sha1, sha256, issuer;

    SCEP_TRY(scep_certs_load(&chain, path, f->p));
    SCEP_TRY(read_trusted(f, chain));
    if (ra) {
        SCEP_TRY(scep_certs_load(&ras, ra, f->p));
        SCEP_TRY(digest_of(&sha256, sk_X509_value(ras, 0), "SHA256", f->p));
        f->ra_sha256 = apr_pstrcat(f->p, f->ra_sha256, scep_hex(f->p, sha256), " ", NULL);
    }
    SCEP_TRY(digest_of(&sha1, top_of(chain), "SHA1", f->p));
    SCEP_TRY(digest_of(&sha256, top_of(chain), "SHA256", f->p));
    SCEP_TRY(digest_of(&issuer, sk_X509_value(chain, 0), "SHA1", f->p));
    f->root_sha1 = scep_hex(f->p, sha1);
    f->root_raw = scep_base64(f->p, sha1);
    f->root_sha256 = scep_hex(f->p, sha256);
    f->issuer_sha1 = scep_hex(f->p, issuer);
    f->ca_name = name_of(sk_X509_value(chain, 0), f->p);
    /* Of the issuing CA: two CAs below one root are two profiles on a device. */
    f->tag = apr_pstrndup(f->p, f->issuer_sha1, 16);
    return NULL;
}

/* RFC 9562 5.4: 122 bits of it are random. */
static const scep_err *make_uuid(const char **out, apr_pool_t *p)
{
    unsigned char b[16];
    const char *hex;

    if (RAND_bytes(b, sizeof(b)) != 1)
        return scep_fail(p, INTERNAL, "OpenSSL gives no random bytes");
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    hex = scep_hex(p, (scep_bytes){ b, sizeof(b) });
    *out = apr_psprintf(p, "%.8s-%.4s-%.4s-%.4s-%s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return NULL;
}

static const scep_err *make(profile *f, scepctl *c, const words *w, const profile_form *form)
{
    const char *file, *ra;

    SCEP_TRY(check_url(w->url, c->p));
    f->subject = apr_array_make(c->p, 1, sizeof(profile_part));
    if (w->subject)
        SCEP_TRY(profile_read_subject(&f->subject, w->subject, c->p));
    SCEP_TRY(ca_file(&file, &ra, w, c->p));
    SCEP_TRY(read_ca(f, file, ra));
    SCEP_TRY(make_uuid(&f->uuid[0], c->p));
    SCEP_TRY(make_uuid(&f->uuid[1], c->p));
    if (form->check)
        SCEP_TRY(form->check(f));
    /* Last, so that no challenge is used up by a mistake. */
    if (w->challenge_file)
        SCEP_TRY(read_challenge(&f->challenge, w->challenge_file, c->p));
    if (!w->endpoint)
        return NULL;
    SCEP_TRY(find_socket(&c->socket, w, c->p));
    return fetch_challenge(&f->challenge, c, w->endpoint);
}

int show_profile(scepctl *c, const words *w)
{
    const profile_form *form = profile_form_find(w->operand);
    profile f = { .url = w->url, .p = c->p };
    const scep_err *err;

    if (!form)
        return misuse("profile needs apple, windows, strongswan, certmonger or cisco");
    if (!w->url)
        return misuse("profile needs --url with the address where devices enrol");
    if (form->subject_needed && !w->subject)
        return misuse("this profile needs --subject, as in --subject \"CN=moon,O=Example\"");
    if (w->ca && w->authority)
        return misuse("--ca and --authority both name the CA: one of them is needed");
    if (w->challenge_file && w->endpoint)
        return misuse("--challenge-file and --endpoint both give a challenge: one at most");
    err = make(&f, c, w, form);
    if (err)
        return complain(err);
    form->print(&f);
    return ferror(stdout) ? FAILED : DONE_WELL;
}
