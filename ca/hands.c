/* The threads that run whole calls. */
#include "hands.h"

#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Whatever is slow, the state is told; but whoever asks for it again and again, where the store
 * hangs, does not hold all of the hands. */
#define STATUS_MOST (HANDS / 2)
#define COMPLAIN_EVERY apr_time_from_sec(10)
/* Hands that wait for the next call of the worker that they answered; each at most that long. */
#define KEEPING_MOST (HANDS / 2)
#define KEEPING_TIME 1000 /* milliseconds */

struct hands {
    office *office;
    int limit;
    apr_interval_time_t timeout;
    atomic_size_t *held;
    int wake;
    int nudge; /* an eventfd: whoever keeps a connection gives it back */
    pthread_t threads[HANDS];
    int started;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work;
    connection *first, *last; /* queue */
    connection *done;
    int busy;
    int queued, free; /* calls; hands that wait for one */
    int keeping;
    int *in_flight; /* of each authority; then: calls to unknown endpoints, questions for the state
                     */
    int *of_module; /* of each endpoint: calls that may wait for its policy module */
    int of_modules; /* the sum */
    bool stop, leaving, nudged;

    /* of the thread that gives */
    apr_time_t complained;
    int unsaid;
};

static int slot_of(const office *o, const call *what)
{
    const office_endpoint *endpoint = what->endpoint;
    int i = 0;

    if (what->verb == SCEP_VERB_STATUS)
        return o->authorities->nelts + 1;
    while (
        i < o->authorities->nelts &&
        !(endpoint && APR_ARRAY_IDX(o->authorities, i, office_authority *) == endpoint->authority))
        i++;
    return i;
}

/* Whoever sends such a call has shown nothing yet, and holds a thread here and a worker of httpd
 * for as long as the module takes. */
static int module_of(const office *o, const call *what)
{
    if (!what->endpoint || !what->endpoint->module || what->verb == SCEP_VERB_BUNDLE ||
        what->verb == SCEP_VERB_FIND)
        return -1;
    for (int i = 0; i < o->endpoints->nelts; i++)
        if (APR_ARRAY_IDX(o->endpoints, i, office_endpoint *) == what->endpoint)
            return i;
    return -1;
}

static scep_bytes refused(const connection *c, const scep_err *err)
{
    return connection_refusal(c, err->code, err->detail);
}

static scep_bytes run_bundle(hands *h, connection *c)
{
    scep_wire_identities out = { 0 };
    const scep_err *err = office_bundle(&out, h->office, &c->call.in.bundle, c->pool);

    return err ? refused(c, err) : scep_wire_put_identities(SCEP_VERB_IDENTITIES, &out, c->pool);
}

/* ENROL, RENEW, POLL or FIND */
static scep_bytes run_verdict(hands *h, connection *c)
{
    scep_wire_verdict out = { 0 };

    if (c->call.verb == SCEP_VERB_ENROL)
        office_enrol(&out, h->office, &c->call.in.enrol, c->call.deadline, c->pool);
    else if (c->call.verb == SCEP_VERB_RENEW)
        office_renew(&out, h->office, &c->call.in.renew, c->call.deadline, c->pool);
    else if (c->call.verb == SCEP_VERB_POLL)
        office_poll(&out, h->office, &c->call.in.poll, c->call.deadline, c->pool);
    else
        office_find(&out, h->office, &c->call.in.find, c->pool);
    return scep_wire_put_verdict(SCEP_VERB_VERDICT, &out, c->pool);
}

static scep_bytes run_mint(hands *h, connection *c)
{
    scep_wire_minted out = { 0 };
    const scep_err *err = office_mint(&out, h->office, &c->call.in.mint, c->pool);

    return err ? refused(c, err) : scep_wire_put_minted(SCEP_VERB_MINTED, &out, c->pool);
}

static scep_bytes run_status(hands *h, connection *c)
{
    scep_wire_state out = { 0 };
    const scep_err *err = office_status(&out, h->office, c->pool);

    return err ? refused(c, err) : scep_wire_put_state(SCEP_VERB_STATE, &out, c->pool);
}

static void run(hands *h, connection *c)
{
    scep_bytes answer;
    const scep_err *err;

    if (apr_time_now() >= c->call.deadline)
        answer = connection_refusal(c, SCEP_UNAVAILABLE, "waited too long in scep-ca's queue");
    else if (c->call.verb == SCEP_VERB_BUNDLE)
        answer = run_bundle(h, c);
    else if (c->call.verb == SCEP_VERB_MINT)
        answer = run_mint(h, c);
    else if (c->call.verb == SCEP_VERB_STATUS)
        answer = run_status(h, c);
    else
        answer = run_verdict(h, c);
    err = scep_wire_write(c->fd, answer, c->call.deadline, c->pool);
    c->broken = err != NULL;
    /* a worker that went away asks again by itself; an answer that is no frame is our fault */
    if (err && err->code == SCEP_INTERNAL)
        log_err(LOG_LEVEL_ERROR, "SCEP0230", "answer to a worker", err);
}

/* With the lock held. */
static void count(hands *h, const call *what, int change)
{
    h->in_flight[what->slot] += change;
    if (what->module < 0)
        return;
    h->of_module[what->module] += change;
    h->of_modules += change;
}

/* The part of the calls that may wait for policy modules. A small httpd has few workers to lose. */
static int share(int full_share, int limit, int part)
{
    int most = limit / part > 1 ? limit / part : 1;

    return most < full_share ? most : full_share;
}

/* With the lock held. */
static const char *full(const hands *h, const call *what)
{
    int limit = what->verb == SCEP_VERB_STATUS ? STATUS_MOST : h->limit;

    if (h->in_flight[what->slot] >= limit)
        return "too many calls at one time";
    if (what->module >= 0 && (h->of_module[what->module] >= share(HANDS_MODULE, h->limit, 4) ||
                              h->of_modules >= share(HANDS_MODULES, h->limit, 2)))
        return "busy: too many calls wait for the policy module at one time";
    return NULL;
}

static void place(const hands *h, call *what)
{
    what->slot = slot_of(h->office, what);
    what->module = module_of(h->office, what);
}

/* @return whether c->call is the next one. Otherwise whatever there is stays in the connection or
 *         its socket, for the desk to find */
static bool read_next(const hands *h, connection *c)
{
    struct pollfd pfd[] = { { c->fd, POLLIN, 0 }, { h->nudge, POLLIN, 0 } };
    connection_step step;
    const scep_err *err;

    if (poll(pfd, 2, KEEPING_TIME) < 1 || !pfd[0].revents)
        return false;
    err = connection_read(&step, c, h->held, CONNECTION_HELD_MOST);
    if (err)
        c->fault = err->detail;
    if (err || step != CONNECTION_FRAME)
        return false;
    return !connection_call(c, h->office, apr_time_now() + h->timeout);
}

/* With the lock held: it stays readable until nobody keeps a connection. */
static void nudge(hands *h)
{
    static const uint64_t one = 1;

    if (h->nudged || h->keeping == 0)
        return;
    h->nudged = write(h->nudge, &one, sizeof(one)) == (ssize_t)sizeof(one);
}

static void calm(hands *h)
{
    uint64_t n;

    if (h->nudged && h->keeping == 0)
        h->nudged = read(h->nudge, &n, sizeof(n)) < 0 && errno != EAGAIN;
}

/* With the lock held. @return whether there is another call to run */
static bool keep(hands *h, connection *c)
{
    bool again;

    if (c->broken || h->leaving || h->nudged || h->first || h->keeping >= KEEPING_MOST)
        return false;
    h->keeping++;
    pthread_mutex_unlock(&h->lock);
    again = read_next(h, c);
    if (again)
        place(h, &c->call);
    pthread_mutex_lock(&h->lock);
    h->keeping--;
    calm(h);
    if (!again || full(h, &c->call))
        return false;
    count(h, &c->call, 1);
    return true;
}

/* With the lock held. */
static void give_back(hands *h, connection *c)
{
    static const uint64_t one = 1;
    bool told = h->done != NULL;

    c->queued = h->done;
    h->done = c;
    /* an eventfd's counter cannot fill up here, and its reader looks once a second anyway */
    if (!told && write(h->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_line(LOG_LEVEL_ERROR, "SCEP0231: eventfd: %s", strerror(errno));
}

/* With the lock held. @return NULL: to be stopped */
static connection *take(hands *h)
{
    connection *c;

    h->free++;
    while (!h->first && !h->stop)
        pthread_cond_wait(&h->work, &h->lock);
    h->free--;
    c = h->first;
    if (c) {
        h->first = c->queued;
        h->queued--;
    }
    return c;
}

static void *work(void *data)
{
    hands *h = data;
    connection *c;

    pthread_mutex_lock(&h->lock);
    while ((c = take(h)) != NULL) {
        do {
            call done;

            pthread_mutex_unlock(&h->lock);
            run(h, c);
            done = c->call;
            connection_next(c, h->held);
            pthread_mutex_lock(&h->lock);
            count(h, &done, -1);
        } while (keep(h, c));
        give_back(h, c);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

const scep_err *hands_start(hands **out, office *o, const server_options *options,
                            atomic_size_t *held, int wake, apr_pool_t *p)
{
    hands *h = apr_pcalloc(p, sizeof(*h));

    h->office = o;
    h->limit = options->in_flight;
    h->timeout = options->timeout;
    h->held = held;
    h->wake = wake;
    h->in_flight = apr_pcalloc(p, (size_t)(o->authorities->nelts + 2) * sizeof(int));
    h->of_module = apr_pcalloc(p, (size_t)(o->endpoints->nelts + 1) * sizeof(int));
    h->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->nudge < 0)
        return scep_fail(p, INTERNAL, "no descriptor: %s", strerror(errno));
    if (pthread_mutex_init(&h->lock, NULL) != 0 || pthread_cond_init(&h->work, NULL) != 0)
        return scep_fail(p, INTERNAL, "no mutex");
    while (h->started < HANDS && pthread_create(&h->threads[h->started], NULL, work, h) == 0)
        h->started++;
    if (h->started < HANDS) {
        hands_stop(h);
        return scep_fail(p, INTERNAL, "cannot start %d threads", HANDS);
    }
    *out = h;
    return NULL;
}

static void complain(hands *h, const call *what, const char *why)
{
    apr_time_t now = apr_time_now();

    if (now - h->complained < COMPLAIN_EVERY) {
        h->unsaid++;
        return;
    }
    log_line(LOG_LEVEL_WARN,
             "SCEP0232: endpoint %s: a call was put off: %s (%d more since the last such line)",
             what->endpoint->name, why, h->unsaid);
    h->complained = now;
    h->unsaid = 0;
}

const char *hands_give(hands *h, connection *c)
{
    const char *why;

    place(h, &c->call);
    pthread_mutex_lock(&h->lock);
    why = full(h, &c->call);
    if (!why) {
        count(h, &c->call, 1);
        h->busy++;
        c->queued = NULL;
        if (h->first)
            h->last->queued = c;
        else
            h->first = c;
        h->last = c;
        h->queued++;
        pthread_cond_signal(&h->work);
        if (h->queued > h->free)
            nudge(h);
    }
    pthread_mutex_unlock(&h->lock);
    if (why && c->call.module >= 0)
        complain(h, &c->call, why);
    return why;
}

connection *hands_done(hands *h)
{
    connection *done;

    pthread_mutex_lock(&h->lock);
    done = h->done;
    h->done = NULL;
    for (const connection *c = done; c; c = c->queued)
        h->busy--;
    pthread_mutex_unlock(&h->lock);
    return done;
}

void hands_leave(hands *h)
{
    pthread_mutex_lock(&h->lock);
    h->leaving = true;
    nudge(h);
    pthread_mutex_unlock(&h->lock);
}

int hands_busy(hands *h)
{
    int busy;

    pthread_mutex_lock(&h->lock);
    busy = h->busy;
    pthread_mutex_unlock(&h->lock);
    return busy;
}

void hands_stop(hands *h)
{
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_broadcast(&h->work);
    pthread_mutex_unlock(&h->lock);
    for (int i = 0; i < h->started; i++)
        (void)pthread_join(h->threads[i], NULL);
    pthread_cond_destroy(&h->work);
    pthread_mutex_destroy(&h->lock);
    close(h->nudge);
}
