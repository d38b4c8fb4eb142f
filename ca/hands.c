/* The threads that run whole calls. */
#include "hands.h"

#include "call.h"
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
#define CORES_MOST 256
#define COMPLAIN_EVERY apr_time_from_sec(10)
/* A hand waits for the next call of the worker that it answered at most that long. */
#define KEEPING_TIME 1000 /* milliseconds */

typedef struct queue {
    connection *first, *last;
} queue;

/* An authority's calls that may ask its CA. */
typedef struct asking {
    int running; /* or about to be: in the hands' queue */
    queue waits; /* the others */
} asking;

struct hands {
    office *office;
    int limit;
    apr_interval_time_t timeout;
    atomic_size_t *held;
    int wake;
    int nudge; /* an eventfd: whoever keeps a connection gives it back */
    pthread_t *threads;
    int number, started;
    int of_ca;            /* most hands that one CA holds */
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work;
    queue queue;
    asking *cas; /* of each authority */
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
    /* those that may wait for a policy module have limits of their own */
    what->asks = (what->verb == SCEP_VERB_ENROL || what->verb == SCEP_VERB_RENEW) &&
                 what->module < 0 && what->slot < h->office->authorities->nelts;
}

static void queue_add(queue *q, connection *c)
{
    c->queued = NULL;
    if (q->first)
        q->last->queued = c;
    else
        q->first = c;
    q->last = c;
}

static connection *queue_take(queue *q)
{
    connection *c = q->first;

    if (c)
        q->first = c->queued;
    return c;
}

/* With the lock held. @return whether a hand may run it now; if so, it counts as running */
static bool may_ask(hands *h, const call *what)
{
    asking *ca = what->asks ? &h->cas[what->slot] : NULL;

    if (ca && ca->running >= h->of_ca)
        return false;
    if (ca)
        ca->running++;
    return true;
}

/* With the lock held: @a done is over, so that its CA may be asked by another. Whoever says so
 * looks into the queue next. */
static void next_of_ca(hands *h, const call *done)
{
    asking *ca = done->asks ? &h->cas[done->slot] : NULL;
    connection *next = ca ? queue_take(&ca->waits) : NULL;

    if (ca && !next)
        ca->running--;
    if (!next)
        return;
    queue_add(&h->queue, next);
    h->queued++;
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

    if (c->broken || h->leaving || h->nudged || h->queue.first || h->keeping >= h->number / 2)
        return false;
    h->keeping++;
    pthread_mutex_unlock(&h->lock);
    again = read_next(h, c);
    if (again)
        place(h, &c->call);
    pthread_mutex_lock(&h->lock);
    h->keeping--;
    calm(h);
    if (!again || full(h, &c->call) || !may_ask(h, &c->call))
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
    while (!h->queue.first && !h->stop)
        pthread_cond_wait(&h->work, &h->lock);
    h->free--;
    c = queue_take(&h->queue);
    if (c)
        h->queued--;
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
            call_run(h->office, c);
            done = c->call;
            connection_next(c, h->held);
            pthread_mutex_lock(&h->lock);
            count(h, &done, -1);
            next_of_ca(h, &done);
        } while (keep(h, c));
        give_back(h, c);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static int cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > CORES_MOST ? CORES_MOST : (int)n;
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
    h->of_ca = cores() > HANDS_CA ? cores() : HANDS_CA;
    h->number = HANDS + o->authorities->nelts * h->of_ca;
    h->threads = apr_pcalloc(p, (size_t)h->number * sizeof(*h->threads));
    h->cas = apr_pcalloc(p, (size_t)(o->authorities->nelts + 1) * sizeof(*h->cas));
    h->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->nudge < 0)
        return scep_fail(p, INTERNAL, "no descriptor: %s", strerror(errno));
    if (pthread_mutex_init(&h->lock, NULL) != 0 || pthread_cond_init(&h->work, NULL) != 0)
        return scep_fail(p, INTERNAL, "no mutex");
    while (h->started < h->number && pthread_create(&h->threads[h->started], NULL, work, h) == 0)
        h->started++;
    if (h->started < h->number) {
        hands_stop(h);
        return scep_fail(p, INTERNAL, "cannot start %d threads", h->number);
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

/* With the lock held: for any hand, or until its CA is not asked by so many any more. */
static void line_up(hands *h, connection *c)
{
    if (!may_ask(h, &c->call)) {
        queue_add(&h->cas[c->call.slot].waits, c);
        return;
    }
    queue_add(&h->queue, c);
    h->queued++;
    pthread_cond_signal(&h->work);
    if (h->queued > h->free)
        nudge(h);
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
        line_up(h, c);
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

int hands_number(const hands *h)
{
    return h->number;
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
