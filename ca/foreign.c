/* What a CA revoked that it had issued without scep-ca. RFC 5280 5, 6.3. */
#include "foreign.h"

#include "certs.h"
#include "clock.h"
#include "foreign_int.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define SKEW 300        /* seconds that the CA's clock may be ahead */
#define HOUR 3600       /* between two fetches */
#define NEAR_PERIOD 600 /* the same, in the last hour before nextUpdate */
#define RETRY 300       /* after a failure */

typedef enum kind { NONE, A_FILE, A_URL } kind;

struct foreign {
    kind kind;
    const char *where;
    const STACK_OF(X509) * issuers;
    apr_thread_mutex_t *mutex; /* of all that follows */
    X509_CRL **crls;           /* one for each of the issuers; NULL: none */
    X509_CRL **latest;         /* likewise: what was accepted last, even if it is not held now */
    foreign_stamp stamp;       /* of the file, when it was read */
    bool looked;               /* it was read, or fetched, or that was tried */
    apr_int64_t due;           /* seconds: of the next fetch */
    char why[512];             /* the last attempt failed; "": it did not */
    bool unsaid;               /* nobody was told of it yet */
};

static int issuers_of(const foreign *f)
{
    return sk_X509_num(f->issuers);
}

static apr_status_t foreign_drop(void *data)
{
    foreign *f = data;

    for (int i = 0; i < issuers_of(f); i++) {
        X509_CRL_free(f->crls[i]);
        X509_CRL_free(f->latest[i]);
    }
    return APR_SUCCESS;
}

const scep_err *foreign_make(foreign **out, const char *where, const STACK_OF(X509) * issuers,
                             apr_pool_t *p)
{
    foreign *f = apr_pcalloc(p, sizeof(*f));

    f->kind = !strcmp(where, "none") ? NONE : *where == '/' ? A_FILE : A_URL;
    f->where = apr_pstrdup(p, where);
    f->issuers = issuers;
    f->crls = apr_pcalloc(p, (apr_size_t)(issuers_of(f) + 1) * sizeof(*f->crls));
    f->latest = apr_pcalloc(p, (apr_size_t)(issuers_of(f) + 1) * sizeof(*f->latest));
    if (apr_thread_mutex_create(&f->mutex, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS)
        return scep_fail(p, CONFIG, "out of memory");
    if (f->kind == A_URL)
        SCEP_TRY(foreign_begin(p));
    apr_pool_cleanup_register(p, f, foreign_drop, apr_pool_cleanup_null);
    *out = f;
    return NULL;
}

/* ---- which CRL is accepted ---- */

/* Numbers, reasons and dates are understood; what else is critical is not. RFC 5280 5.2, 5.3 */
static bool extensions_known(const STACK_OF(X509_EXTENSION) * list)
{
    for (int i = 0; i < X509v3_get_ext_count(list); i++) {
        X509_EXTENSION *extension = X509v3_get_ext(list, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));

        if (X509_EXTENSION_get_critical(extension) && nid != NID_authority_key_identifier &&
            nid != NID_crl_number && nid != NID_crl_reason && nid != NID_invalidity_date)
            return false;
    }
    return true;
}

static bool entries_known(X509_CRL *crl)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);

    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++)
        if (!extensions_known(X509_REVOKED_get0_extensions(sk_X509_REVOKED_value(entries, i))))
            return false;
    return true;
}

static bool digest_is_weak(const X509_CRL *crl)
{
    int digest = NID_undef;

    return OBJ_find_sigid_algs(X509_CRL_get_signature_nid(crl), &digest, NULL) &&
           (digest == NID_md2 || digest == NID_md4 || digest == NID_md5);
}

/* @return what is wrong with a CRL whoever signed it; NULL: nothing */
static const char *crl_fault(X509_CRL *crl)
{
    if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
        return "is a delta CRL; the whole one is accepted";
    if (X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) >= 0)
        return "holds a part of what was revoked only (issuingDistributionPoint); a CRL of all "
               "certificates is accepted";
    if (!extensions_known(X509_CRL_get0_extensions(crl)) || !entries_known(crl))
        return "has a critical extension that is not known";
    if (!X509_CRL_get0_nextUpdate(crl))
        return "has no nextUpdate, so nobody knows how long it counts";
    if (digest_is_weak(crl))
        return "is signed with MD5 or older";
    return NULL;
}

/* By its key and not by name alone; a CA without key usage may sign all. RFC 5280 6.3.3 (f) */
static bool is_signed_by(X509_CRL *crl, X509 *issuer)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);

    return key && (X509_get_key_usage(issuer) & KU_CRL_SIGN) && X509_CRL_verify(crl, key) == 1;
}

static bool is_older(const X509_CRL *crl, const X509_CRL *than)
{
    return than &&
           ASN1_TIME_compare(X509_CRL_get0_lastUpdate(crl), X509_CRL_get0_lastUpdate(than)) < 0;
}

/*
 * Put one into the places of those who signed it.
 * @param found as f->crls, of this reading
 * @return why not; NULL: it is used
 */
static const char *crl_place(foreign *f, X509_CRL **found, X509_CRL *crl)
{
    const char *fault = "is of another CA than those whose certificates are renewed";

    for (int i = 0; i < issuers_of(f); i++) {
        X509 *issuer = sk_X509_value(f->issuers, i);

        if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(issuer)))
            continue;
        fault = crl_fault(crl);
        if (fault)
            return fault;
        fault = "has no good signature of its CA";
        if (!is_signed_by(crl, issuer))
            continue;
        /* whoever replays an old one takes no revocation back */
        fault = "is older than one that was used";
        if (is_older(crl, f->latest[i]) || is_older(crl, found[i]) || !X509_CRL_up_ref(crl))
            continue;
        X509_CRL_free(found[i]);
        found[i] = crl;
        return NULL;
    }
    return fault;
}

/* Each CRL of the bytes is handed to @a found. @return why the last one was not used, or NULL */
static const char *crls_find(foreign *f, X509_CRL **found, scep_bytes bytes, apr_pool_t *p)
{
    static char no_passphrase[] = ""; /* so that nobody is ever asked */
    const unsigned char *at = bytes.data;
    const char *why = "holds no CRL in DER or PEM form";
    BIO *memory = scep_BIO(p, BIO_new_mem_buf(bytes.data, (int)bytes.len));
    X509_CRL *crl = scep_X509_CRL(p, d2i_X509_CRL(NULL, &at, (long)bytes.len));
    const char *fault;

    if (crl && at == bytes.data + bytes.len)
        return crl_place(f, found, crl);
    while (memory && (crl = PEM_read_bio_X509_CRL(memory, NULL, NULL, no_passphrase)) != NULL) {
        fault = crl_place(f, found, crl);
        why = fault ? fault : why;
        X509_CRL_free(crl);
    }
    return why;
}

/* @return NULL: at least one is used; what was held of other issuers goes */
static const scep_err *crls_take(foreign *f, scep_bytes bytes, apr_pool_t *p)
{
    X509_CRL **found = apr_pcalloc(p, (apr_size_t)(issuers_of(f) + 1) * sizeof(X509_CRL *));
    const char *why = crls_find(f, found, bytes, p);
    bool any = false;

    ERR_clear_error(); /* the end of PEM text, and signatures that were tried */
    for (int i = 0; i < issuers_of(f); i++)
        any = any || found[i];
    if (!any)
        return scep_fail(p, UNAVAILABLE, "%s %s", f->where, why ? why : "is not used");
    for (int i = 0; i < issuers_of(f); i++) {
        X509_CRL_free(f->crls[i]);
        f->crls[i] = found[i];
        if (found[i] && X509_CRL_up_ref(found[i])) {
            X509_CRL_free(f->latest[i]);
            f->latest[i] = found[i];
        }
    }
    return NULL;
}

/* ---- reading it anew ---- */

static const scep_err *outcome(foreign *f, const scep_err *err)
{
    f->looked = true;
    f->unsaid = err != NULL;
    apr_cpystrn(f->why, err ? err->detail : "", sizeof(f->why));
    return err;
}

static void file_look(foreign *f, apr_pool_t *p)
{
    foreign_stamp stamp;
    scep_bytes bytes = { NULL, 0 };
    const scep_err *err;

    foreign_stamp_get(&stamp, f->where);
    if (f->looked && foreign_stamp_same(&stamp, &f->stamp))
        return;
    err = foreign_read(&bytes, &f->stamp, f->where, p);
    if (!err)
        err = crls_take(f, bytes, p);
    (void)outcome(f, err); /* kept for whoever asks */
}

/* When the first of them ends, in seconds; 0: there is none. */
static apr_int64_t first_end(const foreign *f, apr_pool_t *p)
{
    uint64_t first = 0;

    for (int i = 0; i < issuers_of(f); i++) {
        apr_int64_t at;

        if (f->crls[i] && !scep_time_seconds(&at, X509_CRL_get0_nextUpdate(f->crls[i]), p))
            first = scep_earlier(first, (uint64_t)at);
    }
    return (apr_int64_t)first;
}

/* Only the chores fetch, one at a time; devices are answered meanwhile. */
static const scep_err *url_look(foreign *f, apr_pool_t *p)
{
    apr_int64_t now = apr_time_sec(scep_now());
    scep_bytes bytes = { NULL, 0 };
    const scep_err *err;

    if (f->looked && now < f->due)
        return NULL;
    err = foreign_fetch(&bytes, f->where, p);
    apr_thread_mutex_lock(f->mutex);
    if (!err)
        err = crls_take(f, bytes, p);
    f->due = now + (err ? RETRY : first_end(f, p) - now < HOUR ? NEAR_PERIOD : HOUR);
    (void)outcome(f, err);
    f->unsaid = false;
    apr_thread_mutex_unlock(f->mutex);
    return err;
}

const scep_err *foreign_refresh(foreign *f, apr_pool_t *p)
{
    const scep_err *err = NULL;

    if (f->kind == A_URL)
        return url_look(f, p);
    if (f->kind == NONE)
        return NULL;
    apr_thread_mutex_lock(f->mutex);
    file_look(f, p);
    if (f->unsaid)
        err = scep_fail(p, UNAVAILABLE, "%s", f->why);
    f->unsaid = false;
    apr_thread_mutex_unlock(f->mutex);
    return err;
}

/* ---- asking ---- */

/* References to the CRLs of a name, so that a refresh does not free what is being read. */
static void crls_hold(foreign *f, X509_CRL **held, X509 *cert)
{
    for (int i = 0; i < issuers_of(f); i++)
        if (f->crls[i] &&
            !X509_NAME_cmp(X509_get_issuer_name(cert),
                           X509_get_subject_name(sk_X509_value(f->issuers, i))) &&
            X509_CRL_up_ref(f->crls[i]))
            held[i] = f->crls[i];
}

/* Under the mutex as well, so that the last one to read is seen to come before whoever frees. */
static void crls_release(foreign *f, X509_CRL *const *held)
{
    apr_thread_mutex_lock(f->mutex);
    for (int i = 0; i < issuers_of(f); i++)
        X509_CRL_free(held[i]);
    apr_thread_mutex_unlock(f->mutex);
}

static bool is_usable_now(const X509_CRL *crl)
{
    time_t now = (time_t)apr_time_sec(scep_now()), soon = now + SKEW;

    return X509_cmp_time(X509_CRL_get0_lastUpdate(crl), &soon) == -1 &&
           X509_cmp_time(X509_CRL_get0_nextUpdate(crl), &now) == 1;
}

/*
 * Revoked by any of the name's CRLs is revoked; good needs the one of the key that signed the
 * certificate, as a CA that changed its key may have one for each.
 */
static const char *judge(foreign_status *out, const foreign *f, X509_CRL *const *held, X509 *cert)
{
    const char *why = "there is no CRL of the key that signed it";
    bool good = false;

    *out = FOREIGN_GOOD;
    for (int i = 0; i < issuers_of(f); i++) {
        X509_REVOKED *entry;

        if (!held[i])
            continue;
        if (!is_usable_now(held[i])) {
            why = "the CRL of its issuer does not count now (thisUpdate, nextUpdate)";
            continue;
        }
        if (X509_CRL_get0_by_cert(held[i], &entry, cert)) {
            *out = FOREIGN_REVOKED;
            return NULL;
        }
        good = good || X509_verify(cert, X509_get0_pubkey(sk_X509_value(f->issuers, i))) == 1;
    }
    ERR_clear_error(); /* keys that were tried */
    return good ? NULL : why;
}

const scep_err *foreign_check(foreign_status *out, foreign *f, X509 *cert, apr_pool_t *p)
{
    X509_CRL **held = apr_pcalloc(p, (apr_size_t)(issuers_of(f) + 1) * sizeof(*held));
    const char *why, *last;

    *out = FOREIGN_GOOD;
    if (f->kind == NONE)
        return NULL;
    apr_thread_mutex_lock(f->mutex);
    if (f->kind == A_FILE)
        file_look(f, p);
    crls_hold(f, held, cert);
    last = f->looked ? apr_pstrdup(p, f->why) : "it was not fetched yet";
    apr_thread_mutex_unlock(f->mutex);
    why = judge(out, f, held, cert);
    crls_release(f, held);
    if (!why)
        return NULL;
    return scep_fail(p, UNAVAILABLE, "foreign_crl %s: %s%s%s", f->where, why, *last ? "; " : "",
                     last);
}

const char *foreign_describe(foreign *f, apr_pool_t *p)
{
    char text[APR_RFC822_DATE_LEN] = "";
    apr_int64_t end;
    const char *says;

    if (f->kind == NONE)
        return "none";
    if (f->kind == A_URL)
        return apr_pstrcat(p, f->where, ", fetched while scep-ca runs", NULL);
    apr_thread_mutex_lock(f->mutex);
    file_look(f, p);
    end = first_end(f, p);
    (void)apr_rfc822_date(text, apr_time_from_sec(end));
    says = *f->why ? apr_pstrdup(p, f->why) : apr_pstrcat(p, f->where, " until ", text, NULL);
    apr_thread_mutex_unlock(f->mutex);
    return says;
}
