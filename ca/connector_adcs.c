/* A certification authority of Active Directory, asked by RPC. */
#include "connector_adcs_int.h"

#include <apr_strings.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_PAUSE apr_time_from_msec(20)

/* ---- looking at numbers ---- */

typedef struct looking {
    adcs *a;
    adcs_line *line;
    const connector_ask *ask;
    apr_pool_t *p, *scratch; /* scratch: of one number */
    scep_bytes found;        /* the certificate, in p */
    bool learns;             /* what is there is behind a number that is known for certain */
} looking;

static const scep_err *look_at(adcs_sight *out, void *baton, uint32_t id, apr_pool_t *p)
{
    looking *l = baton;
    const scep_err *err;
    icpr_answer answer;

    *out = ADCS_OTHERS;
    if (adcs_is_others(l->a, id, l->ask->id))
        return NULL;
    apr_pool_clear(l->scratch);
    err = icpr_retrieve(&answer, adcs_line_rpc(l->line), l->a->authority->adcs.ca_name, id,
                        l->ask->until, l->scratch);
    if (!err)
        err = adcs_see(out, &answer, l->ask->csr->key, l->scratch);
    if (err)
        return scep_fail(p, UNAVAILABLE, "%s", err->detail);
    if (l->learns && *out != ADCS_NONE && !adcs_is_hidden(&answer))
        adcs_remember(l->a, id, *out == ADCS_OURS ? l->ask->id : NULL);
    if (*out == ADCS_OURS)
        l->found = scep_bytes_dup(l->p, answer.cert);
    return NULL;
}

static const scep_err *looking_begin(looking *l, adcs *a, adcs_line *line, const connector_ask *ask,
                                     apr_pool_t *p)
{
    *l = (looking){ .a = a, .line = line, .ask = ask, .p = p };
    if (apr_pool_create(&l->scratch, p) != APR_SUCCESS)
        return scep_fail(p, UNAVAILABLE, "out of memory");
    return NULL;
}

/* ---- a new request ---- */

static const scep_err *search(uint32_t *top, adcs *a, adcs_line *line, const connector_ask *ask,
                              apr_pool_t *p)
{
    looking l;
    const adcs_looker looker = { look_at, &l };

    SCEP_TRY(looking_begin(&l, a, line, ask, p));
    SCEP_TRY(adcs_top(top, &looker, p));
    if (*top)
        adcs_remember(a, *top, NULL);
    return NULL;
}

/* What will be needed to find it again. One thread searches, and the others wait for it: together
 * they would be slower than each alone. */
static const scep_err *note_before(adcs_note *note, adcs *a, adcs_line *line,
                                   const connector_ask *ask, apr_pool_t *p)
{
    const scep_err *err;
    adcs_turn turn;
    uint32_t top;

    while ((turn = adcs_known(a, &top)) == ADCS_WAIT) {
        if (deadline_left(ask->until) == 0)
            return scep_fail(p, UNAVAILABLE, "the CA's requests were not counted in time");
        apr_sleep(WAIT_PAUSE);
    }
    if (turn == ADCS_SEARCH) {
        err = search(&top, a, line, ask, p);
        adcs_search_end(a, !err);
        if (err)
            return err;
    }
    *note = (adcs_note){ .kind = top ? ADCS_AFTER : ADCS_BLIND, .id = top };
    return NULL;
}

static const scep_err *send_new(connector_answer *out, adcs *a, adcs_line *line,
                                const connector_ask *ask, apr_pool_t *p)
{
    icpr_request request;
    icpr_answer answer;
    adcs_note note = { .kind = ADCS_BLIND };

    SCEP_TRY(adcs_request(&request, a, ask, p));
    if (ask->keep) {
        SCEP_TRY(note_before(&note, a, line, ask, p));
        SCEP_TRY(ask->keep(ask->baton, adcs_note_write(&note, p), p));
    }
    SCEP_TRY(icpr_submit(&answer, &out->asked, adcs_line_rpc(line), a->authority->adcs.ca_name,
                         &request, ask->until, p));
    adcs_given(a, answer.request_id, note.id, ask->id);
    return adcs_judge(out, &answer, 0, p);
}

/* ---- one that has a number ---- */

static const scep_err *poll_id(connector_answer *out, adcs *a, adcs_line *line, uint32_t id,
                               const connector_ask *ask, apr_pool_t *p)
{
    icpr_answer answer;

    SCEP_TRY(
        icpr_retrieve(&answer, adcs_line_rpc(line), a->authority->adcs.ca_name, id, ask->until, p));
    if (answer.outcome == ICPR_ISSUED && !adcs_is_of_key(answer.cert, ask->csr->key)) {
        out->outcome = CONNECTOR_LOST;
        out->reason = apr_psprintf(p,
                                   "the CA held the request under number %u and has the "
                                   "certificate of another key there: was the CA restored?",
                                   id);
        return NULL;
    }
    if (answer.outcome != ICPR_NONE)
        adcs_remember(a, id, ask->id);
    return adcs_judge(out, &answer, id, p);
}

/* ---- one whose answer was lost ---- */

static void wait_more(connector_answer *out, const adcs *a, const adcs_note *note, apr_pool_t *p)
{
    int pause = a->authority->timeout / (ADCS_ROUNDS - 1);

    out->outcome = CONNECTOR_PENDING;
    out->cookie = adcs_note_write(note, p);
    if (note->round < ADCS_ROUNDS) {
        out->after = pause > 0 ? pause : 1;
        out->reason = "its answer was lost, and it is looked for among the CA's requests";
        return;
    }
    out->reason = apr_psprintf(p,
                               "its answer was lost; it may be one of %d requests that wait at the "
                               "CA, the first of them number %u",
                               note->n_held, note->held[0]);
}

/* Where the time was over and something was learned, it goes on from there. */
static const scep_err *interrupted(connector_answer *out, const adcs *a, const adcs_note *note,
                                   uint32_t next_before, const scep_err *err, apr_pool_t *p)
{
    if (note->round >= ADCS_ROUNDS || note->next == next_before)
        return err;
    wait_more(out, a, note, p);
    return NULL;
}

static const scep_err *seek(connector_answer *out, adcs *a, adcs_line *line, adcs_note *note,
                            const connector_ask *ask, apr_pool_t *p)
{
    looking l;
    const adcs_looker looker = { look_at, &l };
    const uint32_t next_before = note->next;
    adcs_found found = ADCS_GO_ON;
    const scep_err *err;

    adcs_remember(a, note->id, NULL); /* it was known before it was kept */
    SCEP_TRY(looking_begin(&l, a, line, ask, p));
    l.learns = true;
    err = adcs_seek(&found, note, &looker, p);
    if (err)
        return interrupted(out, a, note, next_before, err, p);
    switch (found) {
    case ADCS_FOUND:
        out->outcome = CONNECTOR_ISSUED;
        out->der = l.found;
        return NULL;
    case ADCS_GO_ON:
        wait_more(out, a, note, p);
        return NULL;
    case ADCS_IS_NONE:
        return send_new(out, a, line, ask, p);
    case ADCS_GIVE_UP:
        break;
    }
    out->outcome = CONNECTOR_LOST;
    out->reason = apr_psprintf(p,
                               "the CA's answer was lost, and behind its request %u there are too "
                               "many to look for it: has it issued a certificate with this key?",
                               note->id);
    return NULL;
}

/* ---- the one call ---- */

static const scep_err *lost_blind(connector_answer *out)
{
    out->outcome = CONNECTOR_LOST;
    out->reason = "the CA's answer was lost, and no number of its requests was known before it was "
                  "asked: has it issued a certificate with this key?";
    return NULL;
}

static const scep_err *go_on(connector_answer *out, adcs *a, adcs_line *line, adcs_note *note,
                             const connector_ask *ask, apr_pool_t *p)
{
    switch (note->kind) {
    case ADCS_NOTHING: /* nothing is sent before something was kept */
        return send_new(out, a, line, ask, p);
    case ADCS_BLIND:
        return ask->lost ? lost_blind(out) : send_new(out, a, line, ask, p);
    case ADCS_AFTER:
        if (!ask->lost)
            return send_new(out, a, line, ask, p);
        note->kind = ADCS_SEEK;
        note->next = note->id + 1;
        return seek(out, a, line, note, ask, p);
    case ADCS_AT:
        return poll_id(out, a, line, note->id, ask, p);
    case ADCS_SEEK:
        break;
    }
    return seek(out, a, line, note, ask, p);
}

static const scep_err *adcs_submit(connector_answer *out, connector *self, const connector_ask *ask,
                                   apr_pool_t *p)
{
    adcs *a = self->data;
    const scep_err *err;
    adcs_line *line;
    adcs_note note;

    if (!adcs_note_read(&note, ask->cookie)) {
        out->outcome = CONNECTOR_LOST;
        out->reason = "what was kept of the CA's answer cannot be read";
        return NULL;
    }
    SCEP_TRY(adcs_line_take(&line, a, ask->until, p));
    err = go_on(out, a, line, &note, ask, p);
    adcs_line_give(a, line);
    return err;
}

/* ---- start and check ---- */

/* As the user that fetches the tickets. */
static const scep_err *keytab_check(const adcs *a, apr_pool_t *p)
{
    if (access(a->authority->adcs.keytab, R_OK) == 0)
        return NULL;
    return scep_fail(p, CONFIG,
                     "[authority %s]: keytab %s cannot be read by scep-ca's user; give it to that "
                     "user (SCEPCAUser), mode 0400",
                     a->authority->name, a->authority->adcs.keytab);
}

static const scep_err *adcs_start(connector *self, runner *r, apr_pool_t *p)
{
    return keytab_check(self->data, p);
}

/* A question for a number: it changes nothing, and tells whether the CA knows its name. */
static const scep_err *adcs_check(connector *self, moment until, apr_pool_t *p)
{
    connector_answer unused = { 0 };
    adcs *a = self->data;
    const scep_err *err;
    icpr_answer answer;
    adcs_line *line;

    SCEP_TRY(keytab_check(a, p));
    SCEP_TRY(adcs_line_take(&line, a, until, p));
    err = icpr_retrieve(&answer, adcs_line_rpc(line), a->authority->adcs.ca_name, 1, until, p);
    adcs_line_give(a, line);
    if (err)
        return err;
    return adcs_is_of_the_ca(&answer) ? adcs_judge(&unused, &answer, 1, p) : NULL;
}

/* ---- opening ---- */

static const scep_err *keytab_guarded(const conf_authority *authority, apr_pool_t *p)
{
    struct stat st;

    if (stat(authority->adcs.keytab, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)))
        return scep_fail(p, CONFIG,
                         "[authority %s]: keytab %s can be read or written by everybody: chmod "
                         "0400 %s",
                         authority->name, authority->adcs.keytab, authority->adcs.keytab);
    return NULL;
}

static const scep_err *server_make(dcerpc_server *out, const conf_authority *authority,
                                   apr_pool_t *p)
{
    const conf_adcs *c = &authority->adcs;
    const char *realm = strrchr(c->principal, '@');
    const scep_err *err;

    if (!realm || realm == c->principal || !realm[1])
        return scep_fail(p, CONFIG,
                         "[authority %s]: principal %s: NAME@REALM is accepted, the realm in "
                         "capital letters",
                         authority->name, c->principal);
    SCEP_TRY(keytab_guarded(authority, p));
    *out = (dcerpc_server){
        .target = { .mechanism = strcmp(c->mechanism, "kerberos") ? DCERPC_SPNEGO : DCERPC_KERBEROS,
                    .host = c->server,
                    .service =
                        c->service ? c->service : apr_psprintf(p, "host/%s%s", c->server, realm) },
        .port = (unsigned int)c->port,
    };
    err = dcerpc_login_make(&out->target.login, c->principal, c->keytab, p);
    return err ? scep_fail(p, CONFIG, "[authority %s]: %s", authority->name, err->detail) : NULL;
}

const scep_err *connector_adcs_open(connector *c, const conf_authority *authority, apr_pool_t *p)
{
    adcs *a = apr_pcalloc(p, sizeof(*a));

    a->authority = authority;
    SCEP_TRY(server_make(&a->server, authority, p));
    SCEP_TRY(adcs_agent_load(&a->agent, authority, p));
    if (apr_thread_mutex_create(&a->mutex, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS)
        return scep_fail(p, INTERNAL, "out of memory");
    c->submit = adcs_submit;
    c->start = adcs_start;
    c->check = adcs_check;
    c->data = a;
    return NULL;
}
