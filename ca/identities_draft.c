/*
 * An RA from the templates of a CA elsewhere. The CA may hold a request for days, and an answer may
 * be lost; so what there is of the RA is kept in the store, in rows among those of the RAs that no
 * RA's name can have: keys sealed, and for each of the two what the CA said so far. Each step is a
 * new row.
 */
#include "identities_int.h"

#include "certs.h"
#include "clock.h"
#include "key.h"
#include "subject.h"

#include <apr_strings.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define DRAFT_DAYS 30
/* A CA that said no is left alone for so long: httpd starts scep-ca again and again, and each
 * request is a row in the CA's database. Longer where it issued what is of no use. */
#define PATIENCE 300
#define PATIENCE_UNFIT 3600
/* Both together within the lease, lest another node go on with the same draft meanwhile. */
#define PART_SECONDS 25

typedef enum part_state {
    PART_NEW = 'n',
    PART_ASKED = 'a',   /* text: the cookie that was kept before the answer */
    PART_WAITS = 'w',   /* text: the answer's cookie */
    PART_ISSUED = 'i',  /* text: the certificate */
    PART_REFUSED = 'r', /* text: why */
    PART_UNFIT = 'u'    /* text: why */
} part_state;

typedef struct part {
    const char *what; /* "signing" or "opening" */
    conf_template template;
    char state;
    scep_bytes text;
    scep_signer signer;
    scep_bytes sealed; /* its key */
} part;

typedef enum { SIGN, OPEN, PARTS } part_index;

typedef struct draft {
    const conf_authority *authority;
    connector *connector;
    store *store;
    const store_key *key;
    const char *id; /* 16 hex digits; NULL: there is none yet */
    int step;
    part parts[PARTS];
    apr_pool_t *p;
} draft;

#define USED_UP 'd' /* in place of a part's state: of the whole draft */

/* ---- rows ---- */

/* With other templates it is another one. */
static const char *draft_name(const draft *d)
{
    return apr_pstrcat(d->p, d->authority->name, " draft ", d->authority->ra_sign_template, " ",
                       d->authority->ra_decrypt_template, NULL);
}

static const char *about(const draft *d, const part *x)
{
    return apr_pstrcat(d->p, "RA draft ", d->authority->name, " ", d->id, " ", x->what, " key",
                       NULL);
}

/* One letter, and what belongs to it. */
static scep_bytes with_state(char state, scep_bytes text, apr_pool_t *p)
{
    unsigned char *data = apr_palloc(p, text.len + 1);

    data[0] = (unsigned char)state;
    if (text.len)
        memcpy(data + 1, text.data, text.len);
    return (scep_bytes){ data, text.len + 1 };
}

/* @param sign_state of the first part, or USED_UP */
static store_ra row_of(const draft *d, char sign_state)
{
    apr_int64_t now = apr_time_sec(scep_now());
    const part *sign = &d->parts[SIGN], *open = &d->parts[OPEN];

    return (store_ra){
        .authority = draft_name(d),
        .id = apr_psprintf(d->p, "%s-%d", d->id, d->step),
        .sign_cert = with_state(sign_state, sign->text, d->p),
        .decrypt_cert = with_state(open->state, open->text, d->p),
        .sign_key = sign->sealed,
        .decrypt_key = open->sealed,
        .created = now,
        .ends = now + DRAFT_DAYS * 86400,
    };
}

typedef struct row_job {
    store_ra row;
    const char *name;
    apr_int64_t now;
    bool done;
    apr_array_header_t *rows;
} row_job;

static const scep_err *put_row(store_tx *tx, void *baton)
{
    row_job *j = baton;

    return store_ra_put(tx, &j->row, &j->done);
}

static const scep_err *list_rows(store_tx *tx, void *baton)
{
    row_job *j = baton;

    return store_ra_list(tx, j->name, j->now, &j->rows);
}

static const scep_err *save(draft *d)
{
    row_job j = { 0 };

    d->step++;
    j.row = row_of(d, d->parts[SIGN].state);
    SCEP_TRY(store_run(d->store, put_row, &j, d->p));
    if (!j.done)
        return scep_fail(d->p, UNAVAILABLE, "another node makes the RA");
    return NULL;
}

/* ---- the draft ---- */

static int step_of(const store_ra *row)
{
    const char *dash = strchr(row->id, '-');

    return dash ? atoi(dash + 1) : 0;
}

/* Of one draft the later step; of two the later one. */
static bool is_later(const store_ra *a, const store_ra *b)
{
    size_t len = strcspn(a->id, "-");

    if (!strncmp(a->id, b->id, len + 1))
        return step_of(a) > step_of(b);
    return a->created > b->created;
}

/* The last step of the last draft; NULL: none. */
static const store_ra *newest(const apr_array_header_t *rows)
{
    const store_ra *best = NULL;

    for (int i = 0; i < rows->nelts; i++) {
        const store_ra *row = &APR_ARRAY_IDX(rows, i, store_ra);

        if (!best || is_later(row, best))
            best = row;
    }
    return best;
}

static const scep_err *part_load(draft *d, part *x, scep_bytes text, scep_bytes sealed)
{
    scep_bytes der;

    if (!text.len || !strchr("nawiru", text.data[0]))
        return scep_fail(d->p, INTERNAL, "the draft of an RA in the store is spoilt");
    x->state = (char)text.data[0];
    x->text = scep_bytes_dup(d->p, (scep_bytes){ text.data + 1, text.len - 1 });
    x->sealed = sealed;
    SCEP_TRY(seal_open(&der, d->key, about(d, x), sealed, d->p));
    SCEP_TRY(scep_key_read(&x->signer.key, der, d->p));
    if (x->state == PART_ISSUED)
        SCEP_TRY(scep_cert_read(&x->signer.cert, x->text, d->p));
    return NULL;
}

/* A refused part is asked for again in time, with its key. */
static const scep_err *part_retry(const draft *d, part *x, apr_int64_t since)
{
    apr_int64_t left = since - apr_time_sec(scep_now());

    if (x->state != PART_REFUSED && x->state != PART_UNFIT)
        return NULL;
    left += x->state == PART_REFUSED ? PATIENCE : PATIENCE_UNFIT;
    if (left > 0)
        return scep_fail(d->p, UNAVAILABLE, "%.*s; the CA is asked again in %d seconds",
                         (int)x->text.len, (const char *)x->text.data, (int)left);
    x->state = PART_NEW;
    x->text = (scep_bytes){ NULL, 0 };
    return NULL;
}

/* Go on with the one that is kept, if there is one. */
static const scep_err *load(draft *d)
{
    row_job j = { .name = draft_name(d), .now = apr_time_sec(scep_now()) };
    const store_ra *row;

    SCEP_TRY(store_run(d->store, list_rows, &j, d->p));
    row = newest(j.rows);
    if (!row || (row->sign_cert.len && row->sign_cert.data[0] == USED_UP))
        return NULL;
    d->id = apr_pstrndup(d->p, row->id, strcspn(row->id, "-"));
    d->step = step_of(row);
    SCEP_TRY(part_load(d, &d->parts[SIGN], row->sign_cert, row->sign_key));
    SCEP_TRY(part_load(d, &d->parts[OPEN], row->decrypt_cert, row->decrypt_key));
    SCEP_TRY(part_retry(d, &d->parts[SIGN], row->created));
    return part_retry(d, &d->parts[OPEN], row->created);
}

static const scep_err *part_begin(draft *d, part *x, const scep_signer *like)
{
    scep_bytes der;

    x->state = PART_NEW;
    SCEP_TRY(identities_key(&x->signer.key, like ? like->key : NULL, d->p));
    SCEP_TRY(scep_key_der(&der, x->signer.key, d->p));
    return seal_close(&x->sealed, d->key, about(d, x), der, d->p);
}

static const scep_err *begin(draft *d, const scep_ra *like)
{
    unsigned char random[8];

    if (RAND_bytes(random, sizeof(random)) != 1)
        return scep_fail(d->p, INTERNAL, "no random numbers");
    d->id = scep_hex(d->p, (scep_bytes){ random, sizeof(random) });
    SCEP_TRY(part_begin(d, &d->parts[SIGN], like ? &like->sign : NULL));
    SCEP_TRY(part_begin(d, &d->parts[OPEN], like ? &like->decrypt : NULL));
    return save(d);
}

/* Asked anew, but not at once. */
static const scep_err *refuse(draft *d, part *x, const char *reason)
{
    x->state = PART_REFUSED;
    x->text = scep_bytes_of(reason);
    SCEP_TRY(save(d));
    return scep_fail(d->p, UNAVAILABLE, "%s; the CA is asked again in %d seconds", reason,
                     PATIENCE);
}

/* ---- asking ---- */

typedef struct keeping {
    draft *d;
    part *x;
} keeping;

static const scep_err *keep(void *baton, const char *cookie, apr_pool_t *p)
{
    const keeping *k = baton;

    k->x->state = PART_ASKED;
    k->x->text = scep_bytes_of(apr_pstrdup(k->d->p, cookie));
    return save(k->d);
}

static const scep_err *subject_of(const X509_NAME **out, const draft *d, const scep_ra *like)
{
    X509_NAME *name;

    if (like && !d->authority->ra_subject) {
        *out = X509_get_subject_name(like->sign.cert);
        return NULL;
    }
    SCEP_TRY(subject_read(&name,
                          d->authority->ra_subject
                              ? d->authority->ra_subject
                              : apr_psprintf(d->p, "CN=%s-MSCEP-RA", d->authority->name),
                          d->p));
    *out = name;
    return NULL;
}

/* A submission's name for the connector, 16 hex digits, of this draft and part. */
static const scep_err *part_id(const char **out, const draft *d, const part *x)
{
    const scep_bytes about_it[] = { scep_bytes_of(d->id), scep_bytes_of(x->what) };
    unsigned char hash[32];

    SCEP_TRY(scep_sha256(hash, about_it, 2, d->p));
    *out = scep_hex(d->p, (scep_bytes){ hash, 8 });
    return NULL;
}

/* It did not answer: what was not sent is as it was before. A part that the CA may know keeps its
 * cookie, whatever there is to mend: what the CA holds or issued is fetched by nothing else. */
static const scep_err *unanswered(draft *d, part *x, const connector_answer *answer,
                                  const part *before, const scep_err *err)
{
    const char *why = apr_psprintf(d->p, "template %s: %s", x->template.ca_template, err->detail);
    part next = *x;

    if (err->code == SCEP_CONFIG && before->state == PART_NEW && !answer->asked)
        return refuse(d, x, why);
    if (!answer->asked)
        next = *before;
    else if (x->state == PART_NEW)
        next.state = PART_ASKED;
    if (next.state != x->state || !scep_bytes_equal(next.text, x->text)) {
        *x = next;
        SCEP_TRY(save(d));
    }
    return scep_fail(d->p, UNAVAILABLE, "%s", why);
}

/* There is no administrator to decide, as there is for a device's: an RA that is missing stops them
 * all, and a second certificate for its key does no harm. But it is said. */
static const scep_err *lost(draft *d, part *x, const connector_answer *answer)
{
    return refuse(d, x,
                  apr_psprintf(d->p,
                               "template %s: the CA's answer was lost, it may have issued a "
                               "certificate that nobody fetched, and is asked for another one: %s",
                               x->template.ca_template,
                               answer->reason ? answer->reason : "it gave no reason"));
}

static const scep_err *issued(draft *d, part *x, const connector_answer *answer)
{
    scep_bytes der = answer->der;
    const scep_err *err;

    if (answer->cert)
        der = answer->cert->der;
    err = scep_cert_read(&x->signer.cert, der, d->p);
    if (err || X509_check_private_key(x->signer.cert, x->signer.key) != 1)
        return refuse(d, x,
                      apr_psprintf(d->p,
                                   "template %s: the CA sent something else than a certificate "
                                   "for the key",
                                   x->template.ca_template));
    x->state = PART_ISSUED;
    x->text = der;
    return save(d);
}

static const scep_err *waits(draft *d, part *x, const connector_answer *answer)
{
    const scep_bytes cookie = scep_bytes_of(answer->cookie);

    if (x->state != PART_WAITS || !scep_bytes_equal(cookie, x->text)) {
        x->state = PART_WAITS;
        x->text = cookie;
        SCEP_TRY(save(d));
    }
    return scep_fail(
        d->p, UNAVAILABLE, "template %s: the CA has to approve the RA's certificate: %s",
        x->template.ca_template, answer->reason ? answer->reason : "it waits for approval there");
}

static const scep_err *part_enrol(draft *d, part *x, const X509_NAME *subject)
{
    int seconds = d->authority->timeout < PART_SECONDS ? d->authority->timeout : PART_SECONDS;
    const part before = *x;
    keeping k = { d, x };
    connector_ask ask = { .template = &x->template,
                          .lost = before.state == PART_ASKED,
                          .until = deadline_in(apr_time_from_sec(seconds)),
                          .keep = keep,
                          .baton = &k };
    connector_answer answer = { 0 };
    const scep_err *err;
    scep_csr *csr;

    SCEP_TRY(part_id(&ask.id, d, x));
    SCEP_TRY(identities_csr(&csr, x->signer.key, subject, d->p));
    ask.csr = csr;
    ask.cookie = x->text.len ? apr_pstrmemdup(d->p, (const char *)x->text.data, x->text.len) : "";
    err = d->connector->submit(&answer, d->connector, &ask, d->p);
    if (err)
        return unanswered(d, x, &answer, &before, err);
    if (answer.outcome == CONNECTOR_ISSUED)
        return issued(d, x, &answer);
    if (answer.outcome == CONNECTOR_PENDING)
        return waits(d, x, &answer);
    if (answer.outcome == CONNECTOR_LOST)
        return lost(d, x, &answer);
    return refuse(d, x,
                  apr_psprintf(d->p, "template %s: %s", x->template.ca_template,
                               answer.reason ? answer.reason : "denied"));
}

/* ---- the RA ---- */

static const scep_err *check(draft *d, const scep_ra *ra)
{
    const char *why;
    const scep_err *err = scep_ra_check(ra, sk_X509_value(d->connector->chain, 0), d->p);

    if (!err)
        err = scep_ra_check_dates(ra, d->p);
    if (!err)
        return NULL;
    why = apr_psprintf(d->p, "what the CA issued from %s and %s is no RA: %s",
                       d->authority->ra_sign_template, d->authority->ra_decrypt_template,
                       err->detail);
    for (int i = 0; i < PARTS; i++) {
        d->parts[i].state = PART_UNFIT;
        d->parts[i].text = scep_bytes_of(why);
    }
    SCEP_TRY(save(d));
    return scep_fail(d->p, UNAVAILABLE, "%s", why);
}

static part part_of(const char *what, const char *template, const conf_authority *a,
                    uint32_t key_usage)
{
    return (part){ .what = what,
                   .template = { .name = template,
                                 .ca_template = template,
                                 .days = a->ra_days,
                                 .key_usage = key_usage,
                                 .minimum_rsa_bits = 2048,
                                 .approval = "no" } };
}

static const scep_err *enrol(store_ra *out, store_ra *done, draft *d, const scep_ra *like)
{
    const X509_NAME *subject;
    scep_ra ra;

    SCEP_TRY(subject_of(&subject, d, like));
    SCEP_TRY(load(d));
    if (!d->id)
        SCEP_TRY(begin(d, like));
    for (int i = 0; i < PARTS; i++)
        if (d->parts[i].state != PART_ISSUED)
            SCEP_TRY(part_enrol(d, &d->parts[i], subject));
    ra = (scep_ra){ d->parts[SIGN].signer, d->parts[OPEN].signer };
    SCEP_TRY(check(d, &ra));
    d->step++;
    *done = row_of(d, USED_UP);
    return identities_close(out, &ra, d->authority->name, d->key, d->p);
}

const scep_err *identities_enrol(store_ra *out, store_ra *done, const conf_authority *a,
                                 connector *c, const scep_ra *like, store *s, const store_key *key,
                                 apr_pool_t *p)
{
    draft d = { .authority = a, .connector = c, .store = s, .key = key, .p = p };

    if (!a->ra_sign_template)
        return scep_fail(p, UNAVAILABLE,
                         "its certificates come from files: renew them there, or name the CA's "
                         "templates for it by ra_sign_template and ra_decrypt_template");
    d.parts[SIGN] = part_of("signing", a->ra_sign_template, a, KU_DIGITAL_SIGNATURE);
    d.parts[OPEN] = part_of("opening", a->ra_decrypt_template, a, KU_KEY_ENCIPHERMENT);
    return enrol(out, done, &d, like);
}
