/* How many requests are worked on at one time, by all of httpd's processes. */
#include "mod_scep_places.h"

#include "mod_scep_state.h"
#include "mod_scep_worker.h"

#include <ap_mpm.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HELD_KEY "mod_scep: place"
/* Enough that nobody is turned away for a moment's unevenness, few enough that the last of them is
 * served well within a second by a machine that manages some hundred on each core. */
#define PLACES_PER_CORE 48
/* One more than cores, for the moments between two. */
#define SEATS_MORE 1
/* While no more than these are worked on, the kernel shares the cores well enough, and seats would
 * only cost their waking. */
#define UNSEATED_PER_CORE 8
#define SEAT_WAIT 1 /* seconds */
#define LINE_EVERY apr_time_from_sec(60)

/* In a request's pool. */
typedef struct held {
    int place, seat; /* -1: none */
} held;

/* ---- what is shared ---- */

/* @param protocol PTHREAD_PRIO_INHERIT: the kernel hands a seat to whoever waits for it longest;
 *  without it a newcomer may take it before him */
static bool make_seats(scep_places *all, int protocol)
{
    pthread_mutexattr_t how;
    bool good;

    if (pthread_mutexattr_init(&how) != 0)
        return false;
    good = pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED) == 0 &&
           pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST) == 0 &&
           pthread_mutexattr_setprotocol(&how, protocol) == 0;
    for (int i = 0; i < SCEP_SEATS_MOST && good; i++)
        good = pthread_mutex_init(&all->seat[i], &how) == 0;
    (void)pthread_mutexattr_destroy(&how);
    return good;
}

/* An anonymous mapping needs no name, no owner and no removal: it ends with the last process. */
const scep_err *scep_places_make(scep_places **out, apr_pool_t *p)
{
    void *made = mmap(NULL, sizeof(scep_places), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0); /* zeroed */

    if (made == MAP_FAILED)
        return scep_fail(p, CONFIG, "no memory to share with httpd's workers: %s", strerror(errno));
    if (!make_seats(made, PTHREAD_PRIO_INHERIT) && !make_seats(made, PTHREAD_PRIO_NONE)) {
        (void)munmap(made, sizeof(scep_places));
        return scep_fail(p, CONFIG, "no robust mutex to share with httpd's workers");
    }
    *out = made;
    return NULL;
}

/* ---- how many ---- */

static long workers(void)
{
    int processes = 1, threads = 1;

    if (ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &processes) != APR_SUCCESS || processes < 1)
        processes = 1;
    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS || threads < 1)
        threads = 1;
    return (long)processes * threads;
}

/* @return n, or what is next to it within these bounds */
static long within(long n, long low, long high)
{
    return n < low ? low : n > high ? high : n;
}

static long cores(void)
{
    return within(sysconf(_SC_NPROCESSORS_ONLN), 1, SCEP_PLACES_MOST);
}

/* A quarter of the workers is left to all else. */
static long fitting(void)
{
    return within(cores() * PLACES_PER_CORE, 1, workers() * 3 / 4);
}

int scep_seats_count(void)
{
    return (int)within(cores() + SEATS_MORE, 1, SCEP_SEATS_MOST);
}

int scep_places_unseated(void)
{
    return (int)within(cores() * UNSEATED_PER_CORE, 0, SCEP_PLACES_MOST);
}

int scep_places_count(server_rec *s, scep_place_kind kind)
{
    long written = scep_settings_number(scep_server_settings(s), SCEP_SET_ConcurrentMax);
    long count = within(written ? written : fitting(), 1, SCEP_PLACES_MOST);

    /* half of those that are left */
    if (kind == SCEP_PLACE_CALL && workers() > count)
        count = within(count + (workers() - count) / 2, 1, SCEP_PLACES_MOST);
    return (int)count;
}

/* ---- in a worker ---- */

static bool is_free(const scep_places *all, int i)
{
    return atomic_load_explicit(&all->holder[i], memory_order_relaxed) == 0;
}

/* Taken by a process's number, which its parent finds when it is gone. */
static bool take(scep_places *all, int i)
{
    int nobody = 0;

    return is_free(all, i) &&
           atomic_compare_exchange_strong(&all->holder[i], &nobody, (int)getpid());
}

bool scep_places_are_full(request_rec *r)
{
    const scep_worker *w = scep_worker_find(r->server);

    if (!w)
        return false;
    for (int i = 0; i < w->operations; i++)
        if (is_free(w->places, i))
            return false;
    return true;
}

static int take_any(scep_worker *w, scep_place_kind kind)
{
    if (kind == SCEP_PLACE_OPERATION) {
        for (int i = 0; i < w->operations; i++)
            if (take(w->places, i))
                return i;
    } else { /* those that are not for operations first */
        for (int i = w->calls - 1; i >= 0; i--)
            if (take(w->places, i))
                return i;
    }
    return -1;
}

static held *held_by(request_rec *r)
{
    void *found = NULL;

    (void)apr_pool_userdata_get(&found, HELD_KEY, r->pool);
    return found;
}

bool scep_place_take(bool *mine, request_rec *r, scep_place_kind kind)
{
    scep_worker *w = scep_worker_find(r->server);
    held *h = held_by(r);

    *mine = false;
    if (!w || (h && h->place >= 0))
        return true;
    if (!h) {
        h = apr_palloc(r->pool, sizeof(*h));
        (void)apr_pool_userdata_setn(h, HELD_KEY, NULL, r->pool);
    }
    *h = (held){ .place = take_any(w, kind), .seat = -1 };
    *mine = h->place >= 0;
    return *mine;
}

void scep_place_give(request_rec *r)
{
    scep_worker *w = scep_worker_find(r->server);
    held *h = held_by(r);

    (void)scep_seat_give(r);
    if (!w || !h || h->place < 0)
        return;
    atomic_store(&w->places->holder[h->place], 0);
    h->place = -1;
}

/* ---- seats ---- */

/* @param rc of an attempt to lock */
static bool is_seated(pthread_mutex_t *seat, int rc)
{
    /* whoever died here left nothing behind but the seat */
    return rc == 0 || (rc == EOWNERDEAD && pthread_mutex_consistent(seat) == 0);
}

/* One that is free, or the one whose turn it is: so those who wait are spread over all of them. */
static int sit(scep_places *all, unsigned int seats)
{
    unsigned int first = atomic_fetch_add(&all->came, 1) % seats;
    struct timespec until;

    for (unsigned int k = 0; k < seats; k++) {
        unsigned int i = (first + k) % seats;

        if (is_seated(&all->seat[i], pthread_mutex_trylock(&all->seat[i])))
            return (int)i;
    }
    if (clock_gettime(CLOCK_REALTIME, &until) != 0)
        return -1;
    until.tv_sec += SEAT_WAIT;
    return is_seated(&all->seat[first], pthread_mutex_timedlock(&all->seat[first], &until))
               ? (int)first
               : -1;
}

/* Are more requests worked on than do well without seats? */
static bool is_crowded(const scep_worker *w)
{
    int taken = 0;

    for (int i = 0; i < w->calls && taken <= w->unseated; i++)
        taken += !is_free(w->places, i);
    return taken > w->unseated;
}

void scep_seat_take(request_rec *r)
{
    scep_worker *w = scep_worker_find(r->server);
    held *h = held_by(r);

    if (w && h && h->place >= 0 && h->seat < 0 && is_crowded(w))
        h->seat = sit(w->places, (unsigned int)w->seats);
}

bool scep_seat_give(request_rec *r)
{
    scep_worker *w = scep_worker_find(r->server);
    held *h = held_by(r);

    if (!w || !h || h->seat < 0)
        return false;
    (void)pthread_mutex_unlock(&w->places->seat[h->seat]);
    h->seat = -1;
    return true;
}

/* ---- those turned away ---- */

void scep_places_turned_away(request_rec *r)
{
    scep_worker *w = scep_worker_find(r->server);

    if (w)
        (void)atomic_fetch_add(&w->places->turned_away, 1);
}

unsigned long scep_places_turned(server_rec *s)
{
    scep_worker *w = scep_worker_find(s);

    return w ? atomic_load(&w->places->turned_away) : 0;
}

/* ---- in httpd's parent ---- */

/* It was waited for just now and nobody was forked since, so that the number is nobody else's. */
void scep_places_child_status(server_rec *s, pid_t pid, ap_generation_t gen, int slot,
                              mpm_child_status state)
{
    scep_state *st = scep_state_find(s);

    if (state != MPM_CHILD_EXITED || !st)
        return;
    for (int i = 0; i < SCEP_PLACES_MOST; i++) {
        int gone = (int)pid;

        (void)atomic_compare_exchange_strong(&st->places->holder[i], &gone, 0);
    }
}

void scep_places_monitor(server_rec *s)
{
    scep_state *st = scep_state_find(s);
    unsigned long now = st ? atomic_load(&st->places->turned_away) : 0;

    if (!st || now == st->told || apr_time_now() - st->told_at < LINE_EVERY)
        return;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "SCEP0106: NDES-31 UNAVAILABLE: %lu requests were turned away by 503 with "
                 "Retry-After, since %d were in progress; where the machine has time left and "
                 "scep-ca waits for others, raise SCEPConcurrentMax",
                 now - st->told, scep_places_count(s, SCEP_PLACE_OPERATION));
    st->told = now;
    st->told_at = apr_time_now();
}
