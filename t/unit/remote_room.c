/* A connector that does what a test says. */
#include "remote_room.h"

#include "clock.h"

#include <apr_strings.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BROKEN "no answer in time"
/* More than the ten seconds after which one is asked again whom the clock was put forward for too
 * early. */
#define PATIENCE 15

static const scep_err *issue(connector_answer *out, remote *r, const connector_ask *ask,
                             apr_pool_t *p)
{
    SCEP_TRY(r->real->submit(out, r->real, ask, p));
    out->der = out->cert->der;
    out->cert = NULL;
    pthread_mutex_lock(&r->lock);
    r->issued++;
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* @return what it does when it hangs no more */
static remote_does hang(remote *r, const connector_ask *ask)
{
    remote_does what;

    pthread_mutex_lock(&r->lock);
    r->hanging++;
    pthread_cond_broadcast(&r->changed);
    while (r->does == REMOTE_HANGS && deadline_left(ask->until) > 0) {
        struct timespec at;

        (void)clock_gettime(CLOCK_REALTIME, &at);
        at.tv_nsec += 20 * 1000 * 1000;
        at.tv_sec += at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&r->changed, &r->lock, &at);
    }
    r->hanging--;
    what = r->does == REMOTE_HANGS ? REMOTE_BREAKS : r->does;
    pthread_mutex_unlock(&r->lock);
    return what;
}

static remote_does note(int *n, remote *r, const connector_ask *ask)
{
    remote_does what;

    pthread_mutex_lock(&r->lock);
    *n = ++r->asked;
    apr_cpystrn(r->cookie, ask->cookie, sizeof(r->cookie));
    apr_cpystrn(r->id, ask->id, sizeof(r->id));
    r->lost = ask->lost;
    what = r->does;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return what == REMOTE_HANGS ? hang(r, ask) : what;
}

static const scep_err *submit(connector_answer *out, connector *self, const connector_ask *ask,
                              apr_pool_t *p)
{
    remote *r = (remote *)self;
    int n;

    switch (note(&n, r, ask)) {
    case REMOTE_ISSUES:
        return issue(out, r, ask, p);
    case REMOTE_PENDS:
        *out = (connector_answer){ .outcome = CONNECTOR_PENDING,
                                   .reason = "a manager looks at it",
                                   .cookie = apr_psprintf(p, "c%d", n),
                                   .after = 1 };
        return NULL;
    case REMOTE_DENIES:
        *out = (connector_answer){ .outcome = CONNECTOR_DENIED, .reason = "not on my list" };
        return NULL;
    case REMOTE_LOSES:
        *out = (connector_answer){ .outcome = CONNECTOR_LOST, .reason = "it cannot be known" };
        return NULL;
    case REMOTE_SENDS:
        *out = (connector_answer){ .outcome = CONNECTOR_ISSUED, .der = r->sends };
        return NULL;
    case REMOTE_KEEPS:
        out->asked = true;
        SCEP_TRY(ask->keep(ask->baton, "kept", p));
        return scep_fail(p, UNAVAILABLE, "the connection broke");
    case REMOTE_KEEPS_DOWN:
        SCEP_TRY(ask->keep(ask->baton, "kept", p));
        return scep_fail(p, UNAVAILABLE, "connection refused");
    case REMOTE_IS_DOWN:
        return scep_fail(p, UNAVAILABLE, "connection refused");
    case REMOTE_IS_MISUSED:
        return scep_fail(p, CONFIG, "the CA has no such template");
    case REMOTE_BREAKS:
    case REMOTE_HANGS:
        break;
    }
    out->asked = true;
    return scep_fail(p, UNAVAILABLE, BROKEN);
}

remote *remote_room_up(office *o, apr_pool_t *p)
{
    office_authority *a = APR_ARRAY_IDX(o->authorities, 0, office_authority *);
    remote *r = apr_pcalloc(p, sizeof(*r));

    r->real = a->connector;
    r->authority = a;
    r->base = *r->real;
    r->base.submit = submit;
    r->base.sign_crl = NULL;
    r->base.remote = true;
    FIXTURE_MUST(pthread_mutex_init(&r->lock, NULL) == 0 &&
                 pthread_cond_init(&r->changed, NULL) == 0);
    a->connector = &r->base;
    FIXTURE_MUST(!office_clerks_start(o, p));
    return r;
}

void remote_room_down(office *o, remote *r)
{
    remote_room_does(r, REMOTE_IS_DOWN);
    FIXTURE_MUST(office_clerks_stop(o, apr_time_from_sec(PATIENCE)));
    r->authority->connector = r->real;
}

void remote_room_does(remote *r, remote_does what)
{
    pthread_mutex_lock(&r->lock);
    r->does = what;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

bool remote_room_asked(remote *r, int times)
{
    struct timespec at;
    bool was;

    (void)clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += PATIENCE;
    pthread_mutex_lock(&r->lock);
    while (r->asked < times && pthread_cond_timedwait(&r->changed, &r->lock, &at) == 0)
        continue;
    was = r->asked >= times;
    pthread_mutex_unlock(&r->lock);
    return was;
}

const scep_wire_request *remote_room_row(office *o, const char *id, apr_pool_t *p)
{
    const scep_wire_list in = { .state = "all", .authority = "", .subject = "", .after = "" };
    scep_wire_request_page page = { 0 };

    FIXTURE_MUST(!office_requests(&page, o, &in, p));
    for (int i = 0; i < page.requests->nelts; i++) {
        const scep_wire_request *r = &APR_ARRAY_IDX(page.requests, i, scep_wire_request);

        if (!strcmp(r->transaction_id, id))
            return r;
    }
    return NULL;
}

/* @param reason NULL: any */
static bool is_by_and_by(office *o, const char *id, const char *state, const char *reason,
                         apr_pool_t *p)
{
    for (int i = 0; i < PATIENCE * 50; i++) {
        const scep_wire_request *r = remote_room_row(o, id, p);

        if (r && !strcmp(r->state, state) && (!reason || !strcmp(r->reason, reason)))
            return true;
        usleep(20000);
    }
    return false;
}

bool remote_room_is(office *o, const char *id, const char *state, apr_pool_t *p)
{
    return is_by_and_by(o, id, state, NULL, p);
}

bool remote_room_broke(office *o, const char *id, apr_pool_t *p)
{
    return is_by_and_by(o, id, "asked", BROKEN, p);
}
